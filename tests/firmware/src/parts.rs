//! The parts of the library whose size is measured, each as a terminal calls it. Whatever goes
//! in is unknown to the compiler.

use core::hint::black_box;

use cardvault::card::{CardData, CardRecord, Pan, TruncationFormat};
use cardvault::journal::{
    ChainKey, Entry, FRAME_MAX_LEN, FlashState, Identity, Journal, MemoryFlash,
};
use cardvault::keys::{Component, Domain, Kek, KeyRing};
use cardvault::seal::{
    Binding, NonceSource, Opener, SEALED_RECORD_LEN, Sealer, open_ring_with_kek_into,
};
use cardvault::token::{KeepFirst, KeepLast, Vaultless, VaultlessFormat};
use cardvault::{Secret, UnixSeconds};

use rand_core::TryRng;

use crate::machine;
use crate::random::Sequence;

/// Bytes that only the running machine knows.
fn unknown<const N: usize>() -> [u8; N] {
    black_box([machine::unknown_zero().to_le_bytes()[0]; N])
}

/// At most `N` such bytes.
struct Input<const N: usize>([u8; N]);

impl<const N: usize> Input<N> {
    fn new() -> Self {
        Self(unknown())
    }

    fn bytes(&self) -> &[u8] {
        self.0.get(..black_box(N)).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.get_mut(..black_box(N)).unwrap_or_default()
    }
}

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// What the device brings along: a generator.
#[inline(never)]
pub fn device() -> Option<()> {
    let mut drawn = unknown::<24>();
    let mut generator = Sequence(u64::from(machine::unknown_zero()));
    generator.try_fill_bytes(black_box(&mut drawn)).ok()?;
    black_box(drawn);
    Some(())
}

/// Validation, mask and track parsing.
#[inline(never)]
pub fn card() -> Option<CardRecord> {
    let pan = Pan::parse(Input::<16>::new().bytes()).ok()?;
    black_box(pan.mask().as_str());
    let card = CardData::from_track2(Input::<37>::new().bytes(), &[]).ok()?;
    black_box(card.pan.mask().as_str());
    Some(card.into_record())
}

/// Sealing and opening a card record under a key from a ring, which is opened into `ring`.
#[inline(never)]
pub fn seal(record: &CardRecord, ring: &mut KeyRing) -> Option<()> {
    let components = [
        Component::parse(Input::<64>::new().bytes()).ok()?,
        Component::parse(Input::<64>::new().bytes()).ok()?,
    ];
    let kek = Kek::combine(&components, None).ok()?;
    open_ring_with_kek_into(Input::<300>::new().bytes_mut(), &kek, ring).ok()?;
    let domain = Domain::new(b"terminal-1").ok()?;
    let key = ring.card_key(&domain, NOW).ok()?;
    let mut sealed = [0; SEALED_RECORD_LEN];
    let mut nonces = NonceSource::new(Sequence(1));
    Sealer::new(&key)
        .seal(record, &Binding::default(), NOW, &mut nonces, &mut sealed)
        .ok()?;
    let opener = Opener::new(&ring.card_key_for(&domain, key.id()).ok()?);
    black_box(opener.open(&sealed, &Binding::default()).ok()?);
    Some(())
}

/// The journal at the terminal: creation, recovery, pending slot, writing, upload.
#[inline(never)]
pub fn journal(card: &CardRecord) -> Option<()> {
    let identity = Identity::new(Input::<8>::new().bytes(), 1, 1).ok()?;
    let key = ChainKey::new(Secret::new(unknown()), identity);
    let mut log = unknown::<8192>();
    let mut state = unknown::<4096>();
    let log = MemoryFlash::<4, 4096>::new(&mut log);
    let state = FlashState::new(MemoryFlash::<4, 2048>::new(&mut state)).ok()?;
    let (log, state) = Journal::create(log, state, key).ok()?.into_parts();
    let mut journal = Journal::open(log, state).ok()?;
    let mut rng = Sequence(2);
    journal.open_pending(card, &mut rng).ok()?;
    black_box(journal.pending().ok()??);
    let (payment, token) = (Input::<60>::new(), Input::<20>::new());
    let entry = Entry {
        time: NOW,
        payment: payment.bytes(),
        truncated: card.pan.truncate(TruncationFormat::FIRST_6_LAST_4).ok(),
        token: token.bytes(),
        card: Some(card),
    };
    journal.append(&entry, &mut rng).ok()?;
    let mut item = [0; FRAME_MAX_LEN];
    let mut upload = journal.upload().ok()?;
    while let Some(len) = upload.next(&mut item).ok()? {
        black_box(item.get(..len)?);
    }
    Some(())
}

/// Vaultless tokens under a key from a ring.
#[inline(never)]
pub fn vaultless(card: &CardRecord, ring: &KeyRing) -> Option<()> {
    let domain = Domain::new(b"terminal-1").ok()?;
    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).ok()?;
    let vaultless = Vaultless::new(format, &ring.vaultless_key(&domain, NOW).ok()?);
    let token = vaultless.tokenize(&card.pan).ok()?;
    black_box(token.text().as_str());
    black_box(vaultless.open(&token).ok()?);
    Some(())
}
