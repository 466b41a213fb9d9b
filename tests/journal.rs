//! The journal's face: frozen bytes, limits, pages that come round again, files, arbitrary bytes.
#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation
)]

#[path = "support/golden.rs"]
mod golden;
#[path = "support/journal.rs"]
mod support;

use cardvault::card::CardRecord;
use cardvault::journal::{
    BATTERY_LEN, BatteryState, Body, Cause, Entry, FRAME_MAX_LEN, FlashState, Frame, FromRead,
    Identity, Journal, JournalError, MemoryFlash, PAYMENT_MAX_LEN, Position, Reading, Receipt,
    TOKEN_MAX_LEN, upload_identity,
};
use cardvault::keys::{Component, Kek, KeyError};
use cardvault::seal::{MAX_SEALED_RING, seal_ring_with_kek};
use cardvault::{RandomError, UnixSeconds};
use golden::{assert_golden, golden};
use proptest::prelude::*;
use subtle::ConstantTimeEq;
use support::{Host, NOW, card, crc32, entry, items, rng, try_items};

/// The components of `ring-kek.hex`.
const COMPONENTS: [&str; 2] = [
    "0001 0203 0405 0607 0809 0A0B 0C0D 0E0F 1011 1213 1415 1617 1819 1A1B 1C1D 1E1F / 377822",
    "8087 8E95 9CA3 AAB1 B8BF C6CD D4DB E2E9 F0F7 FE05 0C13 1A21 282F 363D 444B 5259 / 957740",
];

type Flash<'a> = MemoryFlash<'a, 4, 4096>;
type Battery<'a> = BatteryState<&'a mut [u8; BATTERY_LEN]>;

fn create<'a>(
    flash: &'a mut [u8],
    battery: &'a mut [u8; BATTERY_LEN],
    host: &Host,
) -> Journal<Flash<'a>, Battery<'a>> {
    let flash = Flash::new(flash);
    Journal::create(flash, BatteryState::new(battery), host.chain_key(1)).unwrap()
}

fn open<'a>(
    flash: &'a mut [u8],
    battery: &'a mut [u8; BATTERY_LEN],
) -> Journal<Flash<'a>, Battery<'a>> {
    Journal::open(Flash::new(flash), BatteryState::new(battery)).unwrap()
}

/// A card, no card, a checkpoint, a start, a card again, an open payment; then all of it.
fn frozen(flash: &mut [u8], battery: &mut [u8; BATTERY_LEN]) -> Vec<u8> {
    let host = Host::new(1);
    let mut rng = rng(2);
    let mut journal = create(flash, battery, &host);
    journal
        .append(&entry(b"first", Some(&card(0))), &mut rng)
        .unwrap();
    journal.append(&entry(b"second", None), &mut rng).unwrap();
    journal.checkpoint(NOW, &mut rng).unwrap();
    let mut journal = open(flash, battery);
    let sealed = card(1);
    journal
        .append(&entry(&[7; PAYMENT_MAX_LEN], Some(&sealed)), &mut rng)
        .unwrap();
    journal.open_pending(&card(2), &mut rng).unwrap();
    items(&mut journal).concat()
}

#[test]
fn the_format_is_frozen() {
    let mut flash = [0xFF; 8192];
    let mut battery = [0; BATTERY_LEN];
    let sent = frozen(&mut flash, &mut battery);
    let chain_key = Host::new(1).chain_key(1);
    assert_golden("journal-chain-key.hex", chain_key.expose());
    assert_golden("journal-upload.hex", &sent);
    let end = flash.iter().rposition(|&byte| byte != 0xFF).unwrap();
    assert_golden("journal-page.hex", &flash[..=end]);
    let state = if battery[..256] == [0; 256] {
        &battery[256..]
    } else {
        &battery[..256]
    };
    assert_golden("journal-state.hex", state);
}

/// The host's ring as it is stored: programs in other languages read the upload with it.
#[test]
fn the_host_of_the_frozen_bytes_is_stored() {
    let components = COMPONENTS.map(|text| Component::parse(text.as_bytes()).unwrap());
    let kek = Kek::combine(&components, None).unwrap();
    let mut sealed = [0; MAX_SEALED_RING];
    let ring = Host::new(1).into_ring();
    let len = seal_ring_with_kek(&ring, &kek, &mut rng(3), &mut sealed).unwrap();
    assert_golden("journal-ring.hex", &sealed[..len]);
}

#[test]
fn a_generator_that_stands_still_opens_no_slot() {
    struct Still;

    impl rand_core::TryRng for Still {
        type Error = core::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(1)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(1)
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            for (byte, value) in out.iter_mut().zip(1..) {
                *byte = value;
            }
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for Still {}

    let mut flash = [0xFF; 8192];
    let mut battery = [0; BATTERY_LEN];
    let mut journal = create(&mut flash, &mut battery, &Host::new(1));
    let opened = journal.open_pending(&card(0), &mut Still);
    assert_eq!(
        opened,
        Err(JournalError::Random(RandomError::Repeated)),
        "the same key would lock two cards"
    );
    assert!(journal.pending().unwrap().is_none());
    journal.open_pending(&card(0), &mut rng(1)).unwrap();
}

/// An entry; then a batch with two entries, one without card, a checkpoint and an open payment.
fn frozen_batch<'a>(
    flash: &'a mut [u8],
    battery: &'a mut [u8; BATTERY_LEN],
) -> Journal<Flash<'a>, Battery<'a>> {
    let mut rng = rng(4);
    let mut journal = create(flash, battery, &Host::new(1));
    let cards = [card(0), card(1), card(3)];
    journal
        .append(&entry(b"before", Some(&cards[0])), &mut rng)
        .unwrap();
    journal.open_batch(&mut rng).unwrap();
    journal
        .append(&entry(b"first", Some(&cards[1])), &mut rng)
        .unwrap();
    journal.append(&entry(b"second", None), &mut rng).unwrap();
    journal.checkpoint(NOW, &mut rng).unwrap();
    journal
        .append(&entry(b"third", Some(&cards[2])), &mut rng)
        .unwrap();
    journal.open_pending(&card(2), &mut rng).unwrap();
    journal
}

#[test]
fn the_format_of_a_batch_is_frozen() {
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = frozen_batch(&mut flash, &mut battery);
    assert_golden("journal-batch-upload.hex", &items(&mut journal).concat());
    let end = flash.iter().rposition(|&byte| byte != 0xFF).unwrap();
    assert_golden("journal-batch-page.hex", &flash[..=end]);
    let state = if battery[..256] == [0; 256] {
        &battery[256..]
    } else {
        &battery[..256]
    };
    assert_golden("journal-batch-state.hex", state);
}

#[test]
fn a_frozen_batch_reads_back() {
    let mut flash = [0xFF; 8192];
    let page = golden("journal-batch-page.hex");
    flash[..page.len()].copy_from_slice(&page);
    let mut battery = [0; BATTERY_LEN];
    battery[..256].copy_from_slice(&golden("journal-batch-state.hex"));
    let mut journal = open(&mut flash, &mut battery);
    assert_eq!(journal.batch(), Some(1));
    let opened = |opened: Option<CardRecord>, at| bool::from(opened.unwrap().ct_eq(&card(at)));
    assert!(opened(journal.batch_card(1).unwrap(), 1));
    assert!(opened(journal.batch_card(4).unwrap(), 3));
    assert!(opened(journal.pending().unwrap(), 2));
    let read = Host::new(1).read(1, &Position::START, &golden("journal-batch-upload.hex"));
    assert!(read.is_clean(), "{:?}", read.faults);
    assert_eq!(read.frames.len(), 5);
}

/// Voids without the card and a batch upload, and what is refused around them.
#[test]
fn the_terminal_opens_the_cards_of_its_open_batch_alone() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = frozen_batch(&mut flash, &mut battery);
    let mut rng = rng(9);
    let masks = |journal: &mut Journal<Flash<'_>, Battery<'_>>| {
        (0..journal.count() + 1)
            .map(|at| {
                let card = journal.batch_card(at).unwrap()?;
                Some(card.pan.mask().as_str().to_owned())
            })
            .collect::<Vec<_>>()
    };
    let mask = |at: usize| Some(card(at).pan.mask().as_str().to_owned());
    let open = [None, mask(1), None, None, mask(3), None];
    assert_eq!(masks(&mut journal), open);

    // The upload says nothing of it: its items are those of any journal.
    let sent = items(&mut journal);
    let kinds: Vec<_> = sent.iter().map(|item| item[1]).collect();
    assert_eq!(kinds, [3, 1, 1, 1, 2, 1, 4]);
    let read = host.read(1, &Position::START, &sent.concat());
    assert!(read.is_clean(), "{:?}", read.faults);
    let cards: Vec<_> = read.frames.iter().map(|seen| seen.card.clone()).collect();
    assert_eq!(cards, [mask(0), mask(1), None, None, mask(3)]);
    journal.confirm(&read.outcome.unwrap().receipt).unwrap();
    assert_eq!(masks(&mut journal), open);

    // Neither the batch nor the epoch ends with an open payment, nor the epoch with an open batch.
    assert_eq!(journal.close_batch(), Err(JournalError::PendingOpen));
    assert_eq!(journal.open_batch(&mut rng), Err(JournalError::BatchOpen));
    journal.clear_pending().unwrap();
    assert_eq!(masks(&mut journal), open);
    assert_eq!(journal.close(NOW, &mut rng), Err(JournalError::BatchOpen));
    let (flash, mut store) = journal.into_parts();
    let refused = Journal::create(flash, &mut store, host.chain_key(2));
    assert_eq!(refused.err(), Some(JournalError::InUse));
}

/// The torn or unanswered payment is written first; the reversal still has the card.
#[test]
fn an_entry_in_doubt_keeps_the_pending_slot() {
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut rng = rng(9);
    let record = card(1);
    let mut journal = create(&mut flash, &mut battery, &Host::new(1));
    journal.open_pending(&record, &mut rng).unwrap();
    let sale = entry(b"sale", Some(&record));
    journal.append_in_doubt(&sale, &mut rng).unwrap();
    let mut journal = open(&mut flash, &mut battery);
    let kept = journal.pending().unwrap().unwrap();
    assert!(bool::from(kept.ct_eq(&record)));
    let reversal = entry(b"reversal", Some(&kept));
    journal.append(&reversal, &mut rng).unwrap();
    assert!(journal.pending().unwrap().is_none());
    let journal = open(&mut flash, &mut battery);
    assert!(journal.pending().unwrap().is_none());
    assert_eq!(journal.count(), 2);
}

#[test]
fn a_closed_batch_opens_no_more_and_the_next_one_has_its_own_key() {
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = frozen_batch(&mut flash, &mut battery);
    let mut rng = rng(9);
    journal.clear_pending().unwrap();
    journal.close_batch().unwrap();
    journal.close_batch().unwrap();
    assert_eq!(journal.batch(), None);
    assert!(journal.batch_card(1).unwrap().is_none());
    // A payment in between has the slot's own key again; then the next batch.
    journal.open_pending(&card(0), &mut rng).unwrap();
    assert_eq!(journal.open_batch(&mut rng), Err(JournalError::PendingOpen));
    let record = card(2);
    journal
        .append(&entry(b"between", Some(&record)), &mut rng)
        .unwrap();
    journal.open_batch(&mut rng).unwrap();
    assert_eq!(journal.batch(), Some(6));
    let next = journal
        .append(&entry(b"next", Some(&record)), &mut rng)
        .unwrap();
    assert!((0..next).all(|at| journal.batch_card(at).unwrap().is_none()));
    let opened = journal.batch_card(next).unwrap().unwrap();
    assert!(bool::from(opened.ct_eq(&record)));
}

/// Every flipped bit of a copy, and the copies of two entries swapped.
#[test]
fn a_changed_copy_does_not_open() {
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    drop(frozen_batch(&mut flash, &mut battery));
    let copies: Vec<usize> = (0..8192 - 4)
        .step_by(4)
        .filter(|&at| flash[at..at + 4] == [1, 7, 0, 56])
        .collect();
    let [one, other] = copies[..] else {
        panic!("{copies:?}");
    };
    let refused = |flash: &mut [u8], battery: &mut [u8; BATTERY_LEN], sequence| {
        let result = open(flash, battery).batch_card(sequence);
        assert_eq!(result.unwrap_err(), JournalError::Copy { sequence });
    };
    for bit in 0..56 * 8 {
        flash[one + bit / 8] ^= 1 << (bit % 8);
        refused(&mut flash, &mut battery, 1);
        flash[one + bit / 8] ^= 1 << (bit % 8);
    }
    for at in 0..56 {
        flash.swap(one + at, other + at);
    }
    refused(&mut flash, &mut battery, 1);
    refused(&mut flash, &mut battery, 4);
}

#[test]
fn no_page_of_the_open_batch_is_reclaimed() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 2 * 4096], [0; BATTERY_LEN]);
    let mut journal = create(&mut flash, &mut battery, &host);
    let mut rng = rng(1);
    let record = card(1);
    let entry = entry(b"sale", Some(&record));
    journal.append(&entry, &mut rng).unwrap();
    journal.open_batch(&mut rng).unwrap();
    while journal.append(&entry, &mut rng) != Err(JournalError::Full) {}
    let read = host.read(1, &Position::START, &items(&mut journal).concat());
    journal.confirm(&read.outcome.unwrap().receipt).unwrap();
    assert_eq!(journal.append(&entry, &mut rng), Err(JournalError::Full));
    for at in 1..journal.count() {
        assert!(journal.batch_card(at).unwrap().is_some(), "{at}");
    }
    journal.close_batch().unwrap();
    journal.append(&entry, &mut rng).unwrap();

    // Pages that hold an entry, but not with the copy of its card.
    let (mut flash, mut battery) = ([0xFF; 4 * 576], [0; BATTERY_LEN]);
    let flash = MemoryFlash::<4, 576>::new(&mut flash);
    let store = BatteryState::new(&mut battery);
    let mut journal = Journal::create(flash, store, host.chain_key(1)).unwrap();
    assert_eq!(journal.open_batch(&mut rng), Err(JournalError::Geometry));
    journal.append(&entry, &mut rng).unwrap();
}

/// A terminal's clock may stand anywhere: order is by sequence numbers, and the host gets the
/// times as they were written.
#[test]
fn a_clock_that_goes_back_changes_no_order() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = create(&mut flash, &mut battery, &host);
    let times = [NOW.0, NOW.0 - 86_400, 0, u64::MAX, NOW.0, 1];
    for (at, time) in (0..).zip(times) {
        let entry = Entry {
            time: UnixSeconds(time),
            ..entry(b"sale", None)
        };
        assert_eq!(journal.append(&entry, &mut rng(at)).unwrap(), u64::from(at));
    }
    journal.checkpoint(UnixSeconds(0), &mut rng(9)).unwrap();
    let sent = items(&mut journal).concat();
    assert!(host.read(1, &Position::START, &sent).is_clean());
    let (key, identity) = (host.reading_key(), Host::identity(1));
    let mut reading = Reading::new(&key, &identity, &Position::START, &sent[..]).unwrap();
    let mut read = Vec::new();
    while let Some(verified) = reading.next() {
        read.push(verified.unwrap().frame.time.0);
    }
    assert_eq!(read, [&times[..], &[0]].concat());
}

/// A state with values that no terminal has, under a right CRC.
#[test]
fn a_state_that_no_terminal_writes_is_refused() {
    let sound = golden("journal-state.hex");
    let opened = |state: &[u8]| {
        let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
        battery[..252].copy_from_slice(&state[..252]);
        let crc = crc32(&state[..252]);
        battery[252..256].copy_from_slice(&crc.to_be_bytes());
        let flash = Flash::new(&mut flash);
        match Journal::open(flash, BatteryState::new(&mut battery)) {
            Ok(mut journal) => {
                let _ = journal.append(&entry(b"x", None), &mut rng(1));
                try_items(&mut journal).unwrap();
                true
            }
            Err(JournalError::State) => false,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(opened(&sound));
    // Offsets as in the manual, behind the generation: flags, length of the terminal id, zeros,
    // the batch, the end, what is uploaded.
    let cases: [(usize, &[u8]); 9] = [
        (0, &[2]),
        (1, &[0x12]),
        (1, &[0]),
        (2, &[17]),
        (19, &[1]),
        (36, &[1]),
        (48, &[1]),
        (128, &[0xFF; 8]),
        (140, &[0xFF; 8]),
    ];
    for (at, bytes) in cases {
        let mut state = sound.clone();
        state[8 + at..8 + at + bytes.len()].copy_from_slice(bytes);
        assert!(!opened(&state), "{at}: {bytes:?}");
    }
    // A page number near the end, and counts that nothing could hold: the calls end.
    for (at, bytes) in [
        (128, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE]),
        (56, &[0xFF; 8]),
    ] {
        let mut state = sound.clone();
        state[8 + at..16 + at].copy_from_slice(bytes);
        assert!(opened(&state), "{at}");
    }
}

#[test]
fn frozen_bytes_read_back() {
    let host = Host::new(1);
    let read = host.read(1, &Position::START, &golden("journal-upload.hex"));
    assert!(read.is_clean(), "{:?}", read.faults);
    let cards: Vec<_> = read.frames.iter().map(|seen| seen.card.clone()).collect();
    let mask = |at: usize| Some(card(at).pan.mask().as_str().to_owned());
    assert_eq!(cards, [mask(0), None, None, mask(1)]);

    // The terminal goes on from yesterday's flash and state.
    let mut flash = [0xFF; 8192];
    let page = golden("journal-page.hex");
    flash[..page.len()].copy_from_slice(&page);
    let mut battery = [0; BATTERY_LEN];
    battery[..256].copy_from_slice(&golden("journal-state.hex"));
    let mut journal = open(&mut flash, &mut battery);
    assert!(bool::from(
        journal.pending().unwrap().unwrap().ct_eq(&card(2))
    ));
    journal
        .append(&entry(b"outcome", None), &mut rng(3))
        .unwrap();
    assert!(journal.pending().unwrap().is_none());
    let read = host.read(1, &Position::START, &items(&mut journal).concat());
    assert!(read.is_clean());
    assert_eq!(read.frames.len(), 5);
}

#[test]
fn the_terminal_reads_what_is_clear() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = create(&mut flash, &mut battery, &host);
    for at in 0..20_u8 {
        journal
            .append(&entry(&[at], Some(&card(0))), &mut rng(at))
            .unwrap();
    }
    let mut buffer = [0; FRAME_MAX_LEN];
    for at in 0..20_u8 {
        let frame = journal.read(u64::from(at), &mut buffer).unwrap().unwrap();
        assert_eq!((frame.sequence, frame.time), (u64::from(at), NOW));
        let Body::Payment(part) = frame.body else {
            panic!("{frame:?}");
        };
        assert_eq!((part.payment, part.token), (&[at][..], &b"cvt_1"[..]));
        assert_eq!(part.truncated.unwrap().as_str(), "411111******1111");
        assert!(part.has_card);
        assert!(!format!("{frame:?}").contains("4111111111111111"));
    }
    assert!(journal.read(20, &mut buffer).unwrap().is_none());
}

#[test]
fn limits_are_checked_before_anything_is_written() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = create(&mut flash, &mut battery, &host);
    let mut rng = rng(1);
    let long = [0; PAYMENT_MAX_LEN + 1];
    assert_eq!(
        journal.append(&entry(&long, None), &mut rng),
        Err(JournalError::Payment {
            bytes: PAYMENT_MAX_LEN + 1
        })
    );
    let mut wrong = entry(b"", None);
    wrong.token = &long[..=TOKEN_MAX_LEN];
    assert_eq!(
        journal.append(&wrong, &mut rng),
        Err(JournalError::Token { bytes: 33 })
    );
    // The longest of everything fits.
    let sealed = card(1);
    let mut longest = entry(&long[..PAYMENT_MAX_LEN], Some(&sealed));
    longest.token = &long[..TOKEN_MAX_LEN];
    journal.append(&longest, &mut rng).unwrap();
    assert_eq!(journal.count(), 1);
    assert!(
        host.read(1, &Position::START, &items(&mut journal).concat())
            .is_clean()
    );
}

#[test]
fn geometry_is_checked() {
    let host = Host::new(1);
    fn refused<const WORD: usize, const PAGE: usize>(host: &Host, len: usize) {
        let (mut flash, mut battery) = (vec![0xFF; len], [0; BATTERY_LEN]);
        let flash = MemoryFlash::<WORD, PAGE>::new(&mut flash);
        let result = Journal::create(flash, BatteryState::new(&mut battery), host.chain_key(1));
        assert_eq!(result.err(), Some(JournalError::Geometry));
    }
    refused::<4, 4096>(&host, 4096);
    refused::<4, 256>(&host, 4096);
    refused::<64, 4096>(&host, 8192);
    refused::<3, 4096>(&host, 8192);
    let mut small = [0xFF; 512];
    assert!(FlashState::new(MemoryFlash::<4, 512>::new(&mut small)).is_err());
    let mut short = [0xFF; 512];
    assert!(FlashState::new(MemoryFlash::<4, 128>::new(&mut short)).is_err());
}

#[test]
fn pages_come_round_only_when_the_host_has_them() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 3 * 4096], [0; BATTERY_LEN]);
    let mut journal = create(&mut flash, &mut battery, &host);
    let mut rng = rng(1);
    let mut since = Position::START;
    let mut written = 0_u64;
    let mut rounds = 0;
    while rounds < 6 {
        let payment = written.to_be_bytes();
        match journal.append(&entry(&payment, Some(&card(0))), &mut rng) {
            Ok(sequence) => {
                assert_eq!(sequence, written);
                written += 1;
            }
            Err(JournalError::Full) => {
                rounds += 1;
                assert_eq!(journal.count(), written);
                // Full again, and nothing lost by trying.
                assert_eq!(
                    journal.append(&entry(&payment, None), &mut rng),
                    Err(JournalError::Full)
                );
                let read = host.read(1, &since, &items(&mut journal).concat());
                assert!(read.is_clean(), "{:?}", read.faults);
                let outcome = read.outcome.unwrap();
                // Another receipt confirms nothing.
                let mut forged = outcome.receipt;
                forged.proof[3] ^= 1;
                assert_eq!(journal.confirm(&forged), Err(JournalError::Receipt));
                forged = Receipt {
                    count: outcome.receipt.count - 1,
                    ..outcome.receipt
                };
                assert_eq!(journal.confirm(&forged), Err(JournalError::Receipt));
                assert_eq!(
                    journal.append(&entry(&payment, None), &mut rng),
                    Err(JournalError::Full)
                );
                since = outcome.position;
                journal.confirm(&outcome.receipt).unwrap();
                assert_eq!(journal.uploaded(), written);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written > 100);
}

#[test]
fn a_receipt_is_for_the_last_trailer_alone() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = create(&mut flash, &mut battery, &host);
    let mut rng = rng(1);
    journal.append(&entry(b"1", None), &mut rng).unwrap();
    let read = host.read(1, &Position::START, &items(&mut journal).concat());
    let receipt = read.outcome.unwrap().receipt;
    journal.append(&entry(b"2", None), &mut rng).unwrap();
    assert_eq!(journal.confirm(&receipt), Err(JournalError::Receipt));
    items(&mut journal);
    assert_eq!(journal.confirm(&receipt), Err(JournalError::Receipt));
    assert_eq!(journal.uploaded(), 0);
}

#[test]
fn an_epoch_ends_with_its_closing_entry() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = create(&mut flash, &mut battery, &host);
    let mut rng = rng(1);
    journal.append(&entry(b"1", None), &mut rng).unwrap();
    journal.open_pending(&card(0), &mut rng).unwrap();
    assert_eq!(journal.close(NOW, &mut rng), Err(JournalError::PendingOpen));
    assert_eq!(
        journal.open_pending(&card(0), &mut rng),
        Err(JournalError::PendingOpen)
    );
    journal.clear_pending().unwrap();
    journal.close(NOW, &mut rng).unwrap();
    assert!(journal.is_closed());
    assert_eq!(
        journal.append(&entry(b"2", None), &mut rng),
        Err(JournalError::Closed)
    );
    let (flash, mut store) = journal.into_parts();
    // Not before the host has it.
    let refused = Journal::create(flash, &mut store, host.chain_key(2));
    assert_eq!(refused.err(), Some(JournalError::InUse));
    let mut flash = [0xFF; 8192];
    let mut journal = Journal::open(Flash::new(&mut flash), &mut store).unwrap();
    let mut upload = journal.upload().unwrap();
    let mut out = [0; FRAME_MAX_LEN];
    while upload.next(&mut out).unwrap().is_some() {}
    assert!(journal.is_closed());
}

#[test]
fn a_closed_journal_is_read_to_its_end() {
    let host = Host::new(1);
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let mut journal = create(&mut flash, &mut battery, &host);
    journal.close(NOW, &mut rng(1)).unwrap();
    let sent = items(&mut journal).concat();
    let (identity, first) = upload_identity(&sent).unwrap();
    assert_eq!((identity, first), (Host::identity(1), 0));
    let read = host.read(1, &Position::START, &sent);
    assert!(read.is_clean());
    assert_eq!(
        read.frames[0].payment.clone().unwrap_err().cause,
        Cause::Closing
    );
    journal.confirm(&read.outcome.unwrap().receipt).unwrap();
    let (flash, store) = journal.into_parts();
    Journal::create(flash, store, host.chain_key(2)).unwrap();
}

#[test]
fn a_retired_base_key_reads_and_gives_no_chain_key() {
    use cardvault::keys::{Cryptoperiod, KeyName, KeyRing, KeyUse, RingMark};
    let mut rng = rng(1);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    let domain = "fleet-1".parse().unwrap();
    let period = Cryptoperiod::default_of(KeyUse::Journal);
    let name = ring.add(KeyUse::Journal, period, NOW, &mut rng).unwrap();
    assert_eq!(name, KeyName::new(KeyUse::Journal, 1));
    assert_eq!(name.to_string(), "journal-1");
    assert!(ring.journal_key_of(&domain, 1).is_err());
    ring.activate(name, NOW).unwrap();
    assert_eq!(ring.journal_key(&domain, NOW).unwrap().name(), name);
    ring.deactivate(name, NOW).unwrap();
    assert!(matches!(
        ring.journal_key(&domain, NOW),
        Err(KeyError::NoActive { .. })
    ));
    ring.journal_key_of(&domain, 1).unwrap();
    ring.destroy(name, NOW).unwrap();
    assert!(ring.journal_key_of(&domain, 1).is_err());
}

#[cfg(feature = "std")]
#[test]
fn journal_and_state_in_files() {
    use cardvault::journal::FileFlash;
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(1);
    let log = || FileFlash::open(folder.path().join("log"), 4).unwrap();
    let state = || {
        let file = FileFlash::open(folder.path().join("state"), 2).unwrap();
        FlashState::new(file).unwrap()
    };
    drop(Journal::create(log(), state(), host.chain_key(1)).unwrap());
    for at in 0..5_u8 {
        let mut journal = Journal::open(log(), state()).unwrap();
        assert!(
            FileFlash::open(folder.path().join("log"), 4).is_err(),
            "not locked"
        );
        journal
            .append(&entry(&[at], Some(&card(0))), &mut rng(at))
            .unwrap();
    }
    let mut journal = Journal::open(log(), state()).unwrap();
    let sent = items(&mut journal).concat();
    let key = host.reading_key();
    let identity = Host::identity(1);
    let source = FromRead(std::io::Cursor::new(&sent));
    let mut reading = Reading::new(&key, &identity, &Position::START, source).unwrap();
    let mut count = 0;
    while let Some(verified) = reading.next() {
        verified.unwrap();
        count += 1;
    }
    assert_eq!(count, 5);
    assert!(reading.outcome().unwrap().clean);
}

#[test]
fn nothing_secret_is_shown() {
    let host = Host::new(1);
    let key = host.chain_key(1);
    assert_eq!(
        format!("{key:?}"),
        "ChainKey(Identity(T0000001, epoch 1, journal-1))"
    );
    let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
    let journal = create(&mut flash, &mut battery, &host);
    assert_eq!(
        format!("{journal:?}"),
        "Journal { identity: Identity(T0000001, epoch 1, journal-1), count: 0, uploaded: 0, .. }"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any bytes as upload: named, and bounded.
    #[test]
    fn any_upload_is_read_or_refused(bytes: Vec<u8>, go_on: bool) {
        let host = Host::new(1);
        host.read_as(&Host::identity(1), &Position::START, &bytes, go_on);
        let _ = upload_identity(&bytes);
        let _ = Frame::parse(&bytes);
    }

    /// A good upload with a few bytes changed, cut, moved.
    #[test]
    fn a_mangled_upload_is_never_clean(
        changes in proptest::collection::vec((0_usize..4, any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let host = Host::new(1);
        let good = golden("journal-upload.hex");
        let mut bytes = good.clone();
        for (what, at, value) in changes {
            let at = at.index(bytes.len().max(1));
            match what {
                0 if at < bytes.len() => bytes[at] = value,
                1 => bytes.truncate(at),
                2 => bytes.insert(at.min(bytes.len()), value),
                _ if at < bytes.len() => {
                    let tail = bytes.split_off(at);
                    bytes.extend_from_slice(&tail[..tail.len() / 2]);
                    bytes.extend_from_slice(&tail);
                }
                _ => {}
            }
        }
        for go_on in [false, true] {
            let read = host.read_as(&Host::identity(1), &Position::START, &bytes, go_on);
            prop_assert_eq!(read.is_clean(), bytes == good);
        }
    }

    /// Any flash under a good state, and any state: opening, appending and uploading end.
    #[test]
    fn any_flash_image_is_recovered_or_refused(
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..200),
        state in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        all: bool,
        batch: bool,
        right_crc: bool,
    ) {
        let (mut flash, mut battery) = ([0xFF; 8192], [0; BATTERY_LEN]);
        if batch {
            drop(frozen_batch(&mut flash, &mut battery));
        } else {
            frozen(&mut flash, &mut battery);
        }
        if all {
            let mut noise = noise.iter().cycle();
            flash.fill_with(|| noise.next().map_or(0, |(_, byte)| *byte));
        } else {
            for (at, byte) in &noise {
                flash[at.index(8192)] = *byte;
            }
        }
        for (at, byte) in &state {
            battery[at.index(BATTERY_LEN)] = *byte;
        }
        if right_crc {
            // Past the CRC, into the fields.
            for slot in battery.chunks_mut(256) {
                let crc = crc32(&slot[..252]);
                slot[252..].copy_from_slice(&crc.to_be_bytes());
            }
        }
        let flash = Flash::new(&mut flash);
        if let Ok(mut journal) = Journal::open(flash, BatteryState::new(&mut battery)) {
            let _ = (journal.batch_card(1), journal.pending(), journal.close_batch());
            let _ = journal.append(&entry(b"x", None), &mut rng(1));
            if let Ok(mut upload) = journal.upload() {
                let mut out = [0; FRAME_MAX_LEN];
                for _ in 0..20 {
                    if !matches!(upload.next(&mut out), Ok(Some(_))) {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn terminals_of_any_name(terminal in proptest::collection::vec(any::<u8>(), 0..20), epoch: u32) {
        let host = Host::new(1);
        let key = host.key().chain_key(&terminal, epoch);
        prop_assert_eq!(key.is_ok(), (1..=16).contains(&terminal.len()));
        if let Ok(key) = key {
            prop_assert_eq!(*key.identity(), Identity::new(&terminal, epoch, 1).unwrap());
        }
    }
}
