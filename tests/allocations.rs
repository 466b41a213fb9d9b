//! The core's calls allocate nothing, counted by the global allocator.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use cardvault::card::{
    Brand, CardData, CardRecord, Expiry, MaskBin, Pan, TruncatedPan, TruncationFormat, luhn,
};
use cardvault::ff1::Ff1;
use cardvault::fingerprint::Fingerprinter;
use cardvault::keys::{Component, Cryptoperiod, Domain, Kek, KeyRing, KeyUse, RingMark};
use cardvault::seal::{
    Binding, MAX_SEALED_RING, NonceSource, Opener, SEALED_RECORD_LEN, Sealer, open_ring_with_kek,
    seal_ring_with_kek,
};
use cardvault::token::{
    Irreversible, KeepFirst, KeepLast, Token, VaultedFormat, Vaultless, VaultlessFormat,
};
use cardvault::{Secret, UnixSeconds};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use subtle::ConstantTimeEq;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and says how often it allocated.
fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    let result = work();
    let after = ALLOCATIONS.with(Cell::get);
    black_box(result);
    after - before
}

#[track_caller]
fn none<T>(work: impl FnOnce() -> T) {
    assert_eq!(allocations(work), 0);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| vec![1_u8]), 1);
    assert_eq!(allocations(|| "4111".to_owned() + "1111"), 2);
}

#[test]
fn the_card_core_allocates_nothing() {
    let exempt = &Brand::LUHN_EXEMPT;
    for input in [
        &b"4111111111111111"[..],
        b"4111 1111 1111 1111",
        b"4111-1111-1111-1112",
        b"378282246310005",
        b"6799990100000000019",
        b"6200000000000004",
        b"",
        b"41x1",
        &[b'1'; 100],
    ] {
        none(|| Pan::parse(input));
        none(|| Pan::parse_exempting(input, exempt));
        none(|| luhn::passes(input));
        none(|| luhn::check_digit(input));
        none(|| CardData::from_track1(input, exempt));
        none(|| CardData::from_tag5a(input, exempt));
    }
    none(|| {
        CardData::from_track1(b"%B4111111111111111^DOE/JANE^30121011234567890?", exempt).unwrap()
    });
    none(|| CardData::from_track2(b";4111111111111111=30121011234567890?", exempt).unwrap());
    let tag57 = b"\x41\x11\x11\x11\x11\x11\x11\x11\xd3\x01\x22\x01\x12\x34\x56\x78\x9f";
    none(|| CardData::from_tag57(tag57, exempt).unwrap());
    let emv = b"\x70\x0a\x5a\x08\x41\x11\x11\x11\x11\x11\x11\x11";
    none(|| CardData::from_emv(emv, exempt).unwrap());
    let pan = common::pan("4111111111111111");
    none(|| pan.brand());
    none(|| (pan.last_four(), pan.passes_luhn()));
    none(|| pan.mask());
    none(|| pan.mask_with(MaskBin::Eight));
    none(|| pan.truncate(TruncationFormat::FIRST_6_LAST_4).unwrap());
    none(|| "411111******1111".parse::<TruncatedPan>().unwrap());
    none(|| pan.expose(str::len));
    none(|| pan.clone().ct_eq(&pan));
    let record = CardRecord {
        expiry: Some(Expiry::new(30, 12).unwrap()),
        ..CardRecord::new(pan.clone())
    };
    none(|| CardRecord::from_bytes(&record.to_bytes()).unwrap());
}

#[test]
fn ff1_allocates_nothing() {
    let key = Secret::new([7; 32]);
    none(|| Ff1::new(&key));
    let ff1 = Ff1::new(&key);
    let mut digits = [4; 16];
    none(|| ff1.encrypt(&[9; 64], &mut digits).unwrap());
    none(|| ff1.decrypt(&[9; 64], &mut digits).unwrap());
    none(|| ff1.encrypt(&[9; 65], &mut digits).unwrap_err());
    let shape = ff1.shape(16, 11).unwrap();
    let mut items: Vec<_> = (0..300)
        .map(|n| ff1.item(&shape, &[3; 11], [n, 2 * n]).unwrap())
        .collect();
    none(|| ff1.encrypt_items(&shape, &mut items));
    none(|| ff1.decrypt_items(&shape, &mut items));
}

#[test]
fn keys_allocate_nothing() {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let now = UnixSeconds(1_800_000_000);
    none(|| {
        let domain = Domain::new(b"merchant-7").unwrap();
        let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
        let period = Cryptoperiod::default_of(KeyUse::Card);
        let name = ring.add(KeyUse::Card, period, now, &mut rng).unwrap();
        ring.activate(name, now).unwrap();
        let key = ring.card_key(&domain, now).unwrap();
        ring.card_key_for(&domain, key.id()).unwrap();
        ring.due(now, 1).count();
        ring.destroy(name, now).unwrap_err();
    });
    none(|| {
        let components = [
            Component::random(&mut rng).unwrap(),
            Component::random(&mut rng).unwrap(),
        ];
        let text = components[0].expose_text(|text| Component::parse(text.as_bytes()));
        text.unwrap();
        Kek::combine(&components, None).unwrap()
    });
}

#[test]
fn sealing_and_tokens_allocate_nothing() {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let now = UnixSeconds(1_800_000_000);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut rng).unwrap();
        ring.activate(name, now).unwrap();
    }
    let domain = Domain::new(b"merchant-7").unwrap();
    let pan = common::pan("4111111111111111");
    let pans = vec![pan.clone(); 100];
    none(|| {
        let components = [
            Component::random(&mut rng).unwrap(),
            Component::random(&mut rng).unwrap(),
        ];
        let kek = Kek::combine(&components, None).unwrap();
        let mut sealed = [0; MAX_SEALED_RING];
        let len = seal_ring_with_kek(&ring, &kek, &mut rng, &mut sealed).unwrap();
        open_ring_with_kek(&sealed[..len], &kek).unwrap();
        open_ring_with_kek(&sealed[..len - 1], &kek).unwrap_err();
    });
    none(|| {
        let key = ring.card_key(&domain, now).unwrap();
        let record = CardRecord::new(pan.clone());
        let mut nonces = NonceSource::new(&mut rng);
        let binding = Binding::default();
        let mut out = [[0; SEALED_RECORD_LEN]; 8];
        let sealer = Sealer::new(&key);
        sealer
            .seal(&record, &binding, now, &mut nonces, &mut out[0])
            .unwrap();
        let opener = Opener::new(&ring.card_key_for(&domain, key.id()).unwrap());
        opener.open(&out[0], &binding).unwrap();
        opener.open(&out[1], &binding).unwrap_err();
        let records = [(&record, binding); 8];
        sealer
            .seal_batch(&records, now, &mut nonces, &mut out)
            .unwrap();
    });
    none(|| {
        let key = ring.fingerprint_key(&domain, 1).unwrap();
        Fingerprinter::new(&key).fingerprint(&pan)
    });
    none(|| {
        let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).unwrap();
        let vaultless = Vaultless::new(format, &ring.vaultless_key(&domain, now).unwrap());
        let token = vaultless.tokenize(&pan).unwrap();
        vaultless.open(&token).unwrap();
        vaultless.tokenize_batch(&pans, |_, token| {
            black_box(token.unwrap());
        });
        Token::parse(token.text().as_str()).unwrap();
        Token::parse("4111").unwrap_err();
    });
    none(|| {
        let key = ring.irreversible_key(&domain, now).unwrap();
        Irreversible::new(&key).tokenize(&pan).unwrap();
        Token::opaque(&mut rng).unwrap();
        let format = VaultedFormat::new(KeepFirst::Six, KeepLast::Four, 16).unwrap();
        Token::card_shaped_for(&pan, &format, &mut rng).unwrap();
    });
}
