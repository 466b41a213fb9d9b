//! A journal of 200 entries: every flipped bit, every swap, drop, duplication and truncation is
//! noticed, and named.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation
)]

#[path = "support/journal.rs"]
mod support;

use cardvault::journal::{
    BATTERY_LEN, BatteryState, Cause, FaultKind, Identity, Journal, JournalError, MemoryFlash,
    Position, Reading, Recovery,
};
use support::{Host, NOW, Read, card, crc32, entry, items, report, rng};

const ENTRIES: usize = 200;

type Flash<'a> = MemoryFlash<'a, 16, 4096>;

struct Medium {
    flash: Vec<u8>,
    battery: [u8; BATTERY_LEN],
}

impl Medium {
    fn new() -> Self {
        Self {
            flash: vec![0xFF; 4096 * 16],
            battery: [0; BATTERY_LEN],
        }
    }

    fn create(&mut self, host: &Host, epoch: u32) -> Terminal<'_> {
        let flash = Flash::new(&mut self.flash);
        let store = BatteryState::new(&mut self.battery);
        Journal::create(flash, store, host.chain_key(epoch)).unwrap()
    }

    fn open(&mut self) -> Terminal<'_> {
        let flash = Flash::new(&mut self.flash);
        Journal::open(flash, BatteryState::new(&mut self.battery)).unwrap()
    }
}

type Terminal<'a> = Journal<Flash<'a>, BatteryState<&'a mut [u8; BATTERY_LEN]>>;

/// Entries with and without card, of different lengths; a checkpoint among them.
fn fill(journal: &mut Terminal<'_>, count: usize, seed: u8) {
    let mut rng = rng(seed);
    for at in 0..count {
        if at % 67 == 66 {
            journal.checkpoint(NOW, &mut rng).unwrap();
            continue;
        }
        let payment = vec![at as u8; at % 60];
        let record = card(at);
        let record = (at % 5 != 0).then_some(&record);
        journal.append(&entry(&payment, record), &mut rng).unwrap();
    }
}

/// Header, 200 frames, trailer.
fn journal(host: &Host) -> Vec<Vec<u8>> {
    let mut medium = Medium::new();
    let mut journal = medium.create(host, 1);
    fill(&mut journal, ENTRIES, 3);
    let items = items(&mut journal);
    assert_eq!(items.len(), ENTRIES + 2);
    items
}

fn read(host: &Host, items: &[Vec<u8>]) -> Read {
    host.read(1, &Position::START, &items.concat())
}

fn first(read: &Read) -> FaultKind {
    assert!(!read.is_clean());
    read.faults.first().unwrap().kind
}

/// The upload from each frame on, and the position that it is held against.
fn tails(host: &Host, whole: &[Vec<u8>]) -> Vec<(Position, Vec<Vec<u8>>)> {
    let mut medium = Medium::new();
    let mut journal = medium.create(host, 1);
    let mut tails = Vec::new();
    let mut rng = rng(3);
    for at in 0..ENTRIES {
        let mut since = Position::START;
        let mut header = whole[0].clone();
        if at > 0 {
            let sent = items(&mut journal).concat();
            let outcome = host.read(1, &Position::START, &sent).outcome.unwrap();
            since = outcome.position;
            let mut upload = journal.upload_from(at as u64).unwrap();
            let mut out = [0; cardvault::journal::FRAME_MAX_LEN];
            let len = upload.next(&mut out).unwrap().unwrap();
            header = out[..len].to_vec();
        }
        let mut tail = vec![header];
        tail.extend_from_slice(&whole[at + 1..]);
        tails.push((since, tail));
        // As in `fill`, so that the frames are the same bytes.
        if at % 67 == 66 {
            journal.checkpoint(NOW, &mut rng).unwrap();
        } else {
            let payment = vec![at as u8; at % 60];
            let record = card(at);
            let record = (at % 5 != 0).then_some(&record);
            journal.append(&entry(&payment, record), &mut rng).unwrap();
        }
    }
    tails
}

#[test]
fn untouched_it_reads() {
    let host = Host::new(1);
    let items = journal(&host);
    let read = read(&host, &items);
    assert!(read.is_clean(), "{:?}", read.faults);
    assert_eq!(read.frames.len(), ENTRIES);
    for (at, seen) in read.frames.iter().enumerate() {
        assert_eq!(seen.sequence, at as u64);
        assert!(!seen.again);
        match &seen.payment {
            Ok(payment) => assert_eq!(*payment, vec![at as u8; at % 60]),
            Err(notice) => assert_eq!(notice.cause, Cause::Checkpoint),
        }
        let expected = (at % 5 != 0 && at % 67 != 66).then(|| card(at).pan.mask());
        assert_eq!(
            seen.card.as_deref(),
            expected.as_ref().map(|mask| mask.as_str())
        );
    }
    let since = read.outcome.unwrap().position;
    assert_eq!(Position::from_bytes(&since.to_bytes()), since);
}

/// The first frame of an upload stands for all that follow: so each frame is read first in the
/// upload that begins with it, against the position that the host had there.
#[test]
fn every_flipped_bit_is_noticed() {
    let host = Host::new(1);
    let items = journal(&host);
    let tails = tails(&host, &items);
    let flips: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let tails = &tails;
                scope.spawn(move || {
                    let host = Host::new(1);
                    let mut flips = 0;
                    for (at, (since, tail)) in tails.iter().enumerate() {
                        if at % 2 == thread {
                            flips += flip_all(&host, at, since, tail);
                        }
                    }
                    flips
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    let bits: usize = items[1..=ENTRIES].iter().map(|item| item.len() * 8).sum();
    assert_eq!(flips, bits);
    report(&format!(
        "{flips} bits of {ENTRIES} frames flipped, each noticed"
    ));
}

fn flip_all(host: &Host, at: usize, since: &Position, tail: &[Vec<u8>]) -> usize {
    let mut upload = tail.concat();
    let untouched = host.read(1, since, &upload);
    assert!(untouched.is_clean(), "{:?}", untouched.faults);
    // What follows the next frame plays no part.
    let frames = tail[0].len()..tail[0].len() + tail[1].len();
    upload.truncate(frames.end + tail.get(2).map_or(0, Vec::len));
    let identity = Host::identity(1);
    let key = host.reading_key();
    let mut flips = 0;
    for byte in frames.clone() {
        for bit in 0..8 {
            upload[byte] ^= 1 << bit;
            let mut reading = Reading::new(&key, &identity, since, &upload[..]).unwrap();
            let fault = match reading.next().unwrap() {
                Err(cardvault::journal::ReadError::Fault(fault)) => fault,
                other => panic!("frame {at}, byte {byte}, bit {bit}: {other:?}"),
            };
            assert_eq!(
                (fault.sequence, fault.offset),
                (at as u64, frames.start as u64),
                "byte {byte}, bit {bit}"
            );
            assert_eq!(fault.kind, FaultKind::Flipped, "byte {byte}, bit {bit}");
            upload[byte] ^= 1 << bit;
            flips += 1;
        }
    }
    flips
}

#[test]
fn every_flipped_bit_of_header_and_trailer_is_noticed() {
    let host = Host::new(1);
    let good = journal(&host);
    let (since, tail) = tails(&host, &good).pop().unwrap();
    let header = (Position::START, good, 0, FaultKind::Header);
    let trailer = (since, tail, 2, FaultKind::Truncated);
    for (since, mut upload, item, kind) in [header, trailer] {
        assert!(host.read(1, &since, &upload.concat()).is_clean());
        for bit in 0..8 * upload[item].len() {
            upload[item][bit / 8] ^= 1 << (bit % 8);
            assert_eq!(first(&host.read(1, &since, &upload.concat())), kind);
            upload[item][bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// A gap is a fault by itself; a changed one is another.
#[test]
fn every_flipped_bit_of_a_gap_is_noticed() {
    let host = Host::new(1);
    let mut medium = Medium::new();
    let mut journal = medium.create(&host, 1);
    fill(&mut journal, ENTRIES, 3);
    medium.flash[..4096].fill(0);
    let mut upload = items(&mut medium.open());
    let lost = first(&read(&host, &upload));
    assert!(matches!(lost, FaultKind::Lost { .. }), "{lost:?}");
    for bit in 0..8 * upload[1].len() {
        upload[1][bit / 8] ^= 1 << (bit % 8);
        assert_eq!(first(&read(&host, &upload)), FaultKind::Flipped, "{bit}");
        upload[1][bit / 8] ^= 1 << (bit % 8);
    }
}

/// A state with a flipped bit is none: the terminal says so and writes nothing.
#[test]
fn every_flipped_bit_of_the_state_is_noticed() {
    let host = Host::new(1);
    let mut medium = Medium::new();
    let mut journal = medium.create(&host, 1);
    fill(&mut journal, 20, 3);
    let sound = (medium.flash.clone(), medium.battery);
    let used = (0..BATTERY_LEN).filter(|at| at / 256 == usize::from(sound.1[..256] == [0; 256]));
    for bit in used.flat_map(|at| (0..8).map(move |bit| (at, 1 << bit))) {
        (medium.flash, medium.battery) = sound.clone();
        medium.battery[bit.0] ^= bit.1;
        let flash = Flash::new(&mut medium.flash);
        let opened = Journal::open(flash, BatteryState::new(&mut medium.battery));
        assert_eq!(opened.err(), Some(JournalError::NotProvisioned), "{bit:?}");
        assert!(medium.flash == sound.0);
    }
}

/// Page headers are not uploaded: the terminal notices, and still finds every frame.
#[test]
fn every_flipped_bit_of_a_page_header_is_noticed() {
    let host = Host::new(1);
    let mut medium = Medium::new();
    let mut journal = medium.create(&host, 1);
    fill(&mut journal, ENTRIES, 3);
    assert_eq!(medium.open().recovery(), Recovery::default());
    let pages = medium
        .flash
        .chunks(4096)
        .filter(|page| page[0] != 0xFF)
        .count();
    assert!(pages > 5);
    for page in 0..pages {
        for bit in 0..32 * 8 {
            let byte = page * 4096 + bit / 8;
            medium.flash[byte] ^= 1 << (bit % 8);
            let mut journal = medium.open();
            assert_eq!(journal.recovery().damaged_pages, 1, "{page} {bit}");
            if bit % 16 == 3 {
                let read = host.read(1, &Position::START, &items(&mut journal).concat());
                assert!(read.is_clean(), "{:?}", read.faults);
            }
            medium.flash[byte] ^= 1 << (bit % 8);
        }
    }
}

/// With the CRC put right: what an attacker does, who knows that there is one.
#[test]
fn every_flipped_bit_under_a_right_crc_is_noticed() {
    let host = Host::new(1);
    let mut medium = Medium::new();
    let mut journal = medium.create(&host, 1);
    fill(&mut journal, 3, 3);
    let good = items(&mut journal);
    assert!(read(&host, &good).is_clean());
    for item in 0..good.len() {
        for byte in 0..good[item].len() - 4 {
            for bit in 0..8 {
                let mut items = good.clone();
                items[item][byte] ^= 1 << bit;
                let end = items[item].len() - 4;
                let crc = crc32(&items[item][..end]);
                items[item][end..].copy_from_slice(&crc.to_be_bytes());
                let _ = first(&read(&host, &items));
            }
        }
    }
}

#[test]
fn every_drop_is_noticed_and_named() {
    let host = Host::new(1);
    let good = journal(&host);
    for at in 1..=ENTRIES {
        let mut items = good.clone();
        items.remove(at);
        let read = read(&host, &items);
        let expected = if at == ENTRIES {
            FaultKind::Truncated
        } else {
            FaultKind::Dropped { count: 1 }
        };
        assert_eq!(first(&read), expected, "{at}");
        assert_eq!(read.faults[0].sequence, at as u64 - 1);
        let offset: usize = good[..at].iter().map(Vec::len).sum();
        assert_eq!(read.faults[0].offset, offset as u64);
    }
    // Several at once, the header, the trailer.
    let mut items = good.clone();
    items.drain(50..60);
    assert_eq!(
        first(&read(&host, &items)),
        FaultKind::Dropped { count: 10 }
    );
    assert_eq!(first(&read(&host, &good[1..])), FaultKind::Header);
    assert_eq!(first(&read(&host, &good[..=ENTRIES])), FaultKind::Truncated);
}

#[test]
fn every_swap_is_noticed_and_named() {
    let host = Host::new(1);
    let good = journal(&host);
    let mut swaps = 0;
    for one in 1..=ENTRIES {
        // Neighbours, and a stride that differs from frame to frame.
        for other in [one + 1, one + 2, one + 7, one + 1 + one * 31 % ENTRIES] {
            if other > ENTRIES {
                continue;
            }
            let mut items = good.clone();
            items.swap(one, other);
            let read = read(&host, &items);
            assert_eq!(first(&read), FaultKind::Swapped, "{one} {other}");
            assert_eq!(read.faults[0].sequence, one as u64 - 1);
            swaps += 1;
        }
    }
    report(&format!("{swaps} swaps, each noticed"));
}

/// Every pair of 200, with a check of the first fault alone.
#[test]
fn all_pairs_swapped_are_noticed() {
    let host = Host::new(1);
    let good = journal(&host);
    let tails = tails(&host, &good);
    let key = host.reading_key();
    let identity = Host::identity(1);
    let mut swaps = 0;
    for (one, (since, tail)) in tails.iter().enumerate() {
        for other in 2..tail.len() - 1 {
            // The swapped frame stands first; the one behind it decides the fault's name.
            let next = if other == 2 { 1 } else { 2 };
            let upload = [&tail[0][..], &tail[other], &tail[next]].concat();
            let mut reading = Reading::new(&key, &identity, since, &upload[..]).unwrap();
            let fault = match reading.next().unwrap() {
                Err(cardvault::journal::ReadError::Fault(fault)) => fault,
                other => panic!("{other:?}"),
            };
            assert_eq!(fault.kind, FaultKind::Swapped);
            assert_eq!(fault.sequence, one as u64);
            swaps += 1;
        }
    }
    assert_eq!(swaps, ENTRIES * (ENTRIES - 1) / 2);
    report(&format!("{swaps} pairs swapped, each noticed"));
}

/// The first fault in `upload`, which ends behind what decides its name.
fn first_of(host: &Host, since: &Position, upload: &[&[u8]]) -> (FaultKind, u64) {
    let read = host.read(1, since, &upload.concat());
    let fault = read.faults.first().unwrap();
    (fault.kind, fault.sequence)
}

/// Every run of frames, of every length.
#[test]
fn every_run_of_frames_dropped_is_noticed() {
    let host = Host::new(1);
    let good = journal(&host);
    let mut drops = 0;
    for (from, (since, tail)) in tails(&host, &good).iter().enumerate() {
        for to in from + 1..=ENTRIES {
            let next = good.get(to + 2).map_or(&[][..], Vec::as_slice);
            let found = first_of(&host, since, &[&tail[0], &good[to + 1], next]);
            let kind = if to == ENTRIES {
                FaultKind::Truncated
            } else {
                let count = (to - from) as u64;
                FaultKind::Dropped { count }
            };
            assert_eq!(found, (kind, from as u64), "{from} {to}");
            drops += 1;
        }
    }
    assert_eq!(drops, ENTRIES * (ENTRIES + 1) / 2);
    report(&format!("{drops} runs dropped, each noticed"));
}

/// Every frame once more, before every other; the place behind the last one has a test of its own.
#[test]
fn every_duplicate_at_every_place_is_noticed() {
    let host = Host::new(1);
    let good = journal(&host);
    let mut duplicates = 0;
    for (place, (since, tail)) in tails(&host, &good).iter().enumerate() {
        for (at, again) in good[1..=ENTRIES].iter().enumerate() {
            let found = first_of(&host, since, &[&tail[0], again, &tail[1], &tail[2]]);
            // Before itself, it is the second that comes again.
            let expected = match at.cmp(&place) {
                std::cmp::Ordering::Less => (FaultKind::Replayed, place as u64),
                std::cmp::Ordering::Equal => (FaultKind::Replayed, place as u64 + 1),
                std::cmp::Ordering::Greater => (FaultKind::Swapped, place as u64),
            };
            assert_eq!(found, expected, "{at} {place}");
            duplicates += 1;
        }
    }
    assert_eq!(duplicates, ENTRIES * ENTRIES);
    report(&format!("{duplicates} duplicates, each noticed"));
}

#[test]
fn every_duplicate_is_noticed_and_named() {
    let host = Host::new(1);
    let good = journal(&host);
    for at in 1..=ENTRIES {
        // Behind itself, and at the end.
        for place in [at + 1, ENTRIES + 1] {
            let mut items = good.clone();
            items.insert(place, good[at].clone());
            assert_eq!(
                first(&read(&host, &items)),
                FaultKind::Replayed,
                "{at} {place}"
            );
        }
        // Before its time.
        if at > 1 {
            let mut items = good.clone();
            items.insert(at - 1, good[at].clone());
            assert_eq!(first(&read(&host, &items)), FaultKind::Swapped, "{at}");
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let host = Host::new(1);
    let good = journal(&host);
    let whole = good.concat();
    let tails = tails(&host, &good);
    let mut cuts = 0;
    // Inside each frame, read from that frame on.
    for (since, tail) in &tails {
        let head = tail[0].len();
        let upload = [&tail[0][..], &tail[1]].concat();
        for len in head..upload.len() {
            let read = host.read(1, since, &upload[..len]);
            assert_eq!(first(&read), FaultKind::Truncated, "{len}");
            cuts += 1;
        }
    }
    for len in whole.len() - good[ENTRIES + 1].len()..whole.len() {
        let read = host.read(1, &Position::START, &whole[..len]);
        assert_eq!(first(&read), FaultKind::Truncated);
        cuts += 1;
    }
    for len in 0..good[0].len() {
        assert_eq!(
            first(&host.read(1, &Position::START, &whole[..len])),
            FaultKind::Header
        );
        cuts += 1;
    }
    assert_eq!(cuts, whole.len());
    // Fewer frames, and the trailer made to say so.
    let mut items = good.clone();
    for keep in [0, 1, 100, ENTRIES - 1] {
        items.truncate(1 + keep);
        let mut trailer = good[ENTRIES + 1].clone();
        trailer[12..20].copy_from_slice(&(keep as u64).to_be_bytes());
        let end = trailer.len() - 4;
        let crc = crc32(&trailer[..end]);
        trailer[end..].copy_from_slice(&crc.to_be_bytes());
        let mut items: Vec<_> = good[..=keep].to_vec();
        items.push(trailer);
        assert_eq!(first(&read(&host, &items)), FaultKind::Truncated, "{keep}");
    }
}

#[test]
fn what_is_inserted_or_anothers_is_named() {
    let host = Host::new(1);
    let good = journal(&host);
    let insert = |place: usize, item: &[u8]| {
        let mut items = good.clone();
        items.insert(place, item.to_vec());
        first(&read(&host, &items))
    };
    assert_eq!(insert(5, b"junk"), FaultKind::Inserted);
    assert_eq!(insert(5, &[0; 20_000]), FaultKind::Inserted);
    assert_eq!(insert(ENTRIES + 2, b"junk"), FaultKind::Inserted);
    assert_eq!(insert(5, &good[0]), FaultKind::Inserted);
    // A made-up frame with a right CRC: the genuine one follows.
    let mut made_up = good[5].clone();
    made_up[25] ^= 1;
    let end = made_up.len() - 4;
    let crc = crc32(&made_up[..end]);
    made_up[end..].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(insert(5, &made_up), FaultKind::Inserted);
    // Sequence numbers far ahead cost a bounded walk.
    made_up[12..20].copy_from_slice(&u64::MAX.to_be_bytes());
    let crc = crc32(&made_up[..end]);
    made_up[end..].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(insert(5, &made_up), FaultKind::Inserted);

    // Another terminal's, another epoch's, another base key's.
    let mut medium = Medium::new();
    let mut other = medium.create(&host, 2);
    fill(&mut other, 20, 4);
    let others = items(&mut other);
    assert_eq!(insert(5, &others[5]), FaultKind::OtherJournal);
    let mut items = good.clone();
    items[5].clone_from(&others[5]);
    assert_eq!(first(&read(&host, &items)), FaultKind::OtherJournal);
    assert_eq!(first(&read(&host, &others)), FaultKind::OtherJournal);
    assert!(host.read(2, &Position::START, &others.concat()).is_clean());
    let stranger = Host::new(2);
    assert_eq!(first(&read(&stranger, &good)), FaultKind::WrongKey);
    let version = Identity::new(b"T0000001", 1, 2).unwrap();
    let read = host.read_as(&version, &Position::START, &good.concat(), false);
    assert_eq!(first(&read), FaultKind::WrongKey);
    let terminal = Identity::new(b"T0000002", 1, 1).unwrap();
    let read = host.read_as(&terminal, &Position::START, &good.concat(), false);
    assert_eq!(first(&read), FaultKind::OtherJournal);
}

#[test]
fn an_older_image_is_named() {
    let host = Host::new(1);
    let mut medium = Medium::new();
    let mut journal = medium.create(&host, 1);
    fill(&mut journal, 10, 3);
    let image = (medium.flash.clone(), medium.battery);
    let mut journal = medium.open();
    fill(&mut journal, 10, 5);
    let new = items(&mut journal).concat();
    let known = host.read(1, &Position::START, &new);
    assert!(known.is_clean());
    let since = known.outcome.unwrap().position;
    assert_eq!(since.count(), 20);
    // The same upload again is no fault and says so.
    let again = host.read(1, &since, &new);
    assert!(again.is_clean(), "{:?}", again.faults);
    assert!(again.frames.iter().all(|seen| seen.again));

    (medium.flash, medium.battery) = image;
    let mut journal = medium.open();
    let old = items(&mut journal).concat();
    assert_eq!(first(&host.read(1, &since, &old)), FaultKind::RolledBack);
    // It goes on, up to and beyond what the host has seen.
    for (more, seed) in [(5, 6), (5, 7), (7, 8)] {
        fill(&mut medium.open(), more, seed);
        let mut journal = medium.open();
        let sent = items(&mut journal).concat();
        assert_eq!(first(&host.read(1, &since, &sent)), FaultKind::RolledBack);
    }
    // Confirmed in between, so that the upload begins later: the end does not fit.
    let mut journal = medium.open();
    let mut upload = journal.upload_from(15).unwrap();
    let mut out = [0; cardvault::journal::FRAME_MAX_LEN];
    let mut sent = Vec::new();
    while let Some(len) = upload.next(&mut out).unwrap() {
        sent.extend_from_slice(&out[..len]);
    }
    assert_eq!(first(&host.read(1, &since, &sent)), FaultKind::RolledBack);
}

#[test]
fn a_lost_page_is_named_and_read_behind() {
    let host = Host::new(1);
    let mut medium = Medium::new();
    let mut journal = medium.create(&host, 1);
    fill(&mut journal, ENTRIES, 3);
    // A page in the middle wears out.
    medium.flash[2 * 4096..3 * 4096].fill(0);
    let mut journal = medium.open();
    journal.checkpoint(NOW, &mut rng(9)).unwrap();
    let sent = items(&mut journal).concat();
    let read = host.read_as(&Host::identity(1), &Position::START, &sent, true);
    let [fault] = read.faults[..] else {
        panic!("{:?}", read.faults);
    };
    let FaultKind::Lost { count } = fault.kind else {
        panic!("{fault}");
    };
    assert_eq!(read.frames.len() as u64 + count, journal.count());
    // The checkpoint carries the aggregate: the end is verified although there is a hole.
    let outcome = read.outcome.unwrap();
    assert!(!outcome.clean);
    assert_eq!(outcome.position.count(), journal.count());
    journal.confirm(&outcome.receipt).unwrap();
    assert_eq!(journal.uploaded(), journal.count());

    // The end of the log: a loss notice says so at once.
    let mut medium = Medium::new();
    let mut journal = medium.create(&host, 3);
    fill(&mut journal, 10, 3);
    let at = medium.flash.iter().rposition(|&byte| byte != 0xFF).unwrap();
    medium.flash[at - 300..=at].fill(0);
    let mut journal = medium.open();
    let (first_lost, lost) = journal.recovery().lost.unwrap();
    assert_eq!(first_lost + lost, 10);
    fill(&mut journal, 1, 4);
    let sent = items(&mut journal).concat();
    let read = host.read_as(&Host::identity(3), &Position::START, &sent, true);
    assert_eq!(first(&read), FaultKind::Lost { count: lost });
    let notice = read
        .frames
        .iter()
        .find_map(|seen| seen.payment.clone().err());
    let notice = notice.unwrap();
    assert_eq!(
        (notice.cause, notice.first, notice.count),
        (Cause::Loss, first_lost, lost)
    );
    assert!(!medium.open().recovery().torn);
}

#[test]
fn reading_goes_on_behind_each_fault() {
    let host = Host::new(1);
    let good = journal(&host);
    let go_on = |items: &[Vec<u8>]| {
        host.read_as(&Host::identity(1), &Position::START, &items.concat(), true)
    };
    // One flip: one fault, and every other frame is read.
    for at in [1, 2, 100, ENTRIES - 1, ENTRIES] {
        let mut items = good.clone();
        items[at][60] ^= 1;
        let read = go_on(&items);
        assert_eq!(read.faults.len(), 1, "{:?}", read.faults);
        assert_eq!(read.frames.len(), ENTRIES - 1);
        assert!(read.outcome.is_some_and(|outcome| !outcome.clean));
    }
    let mut items = good.clone();
    items.remove(77);
    let read = go_on(&items);
    assert_eq!(read.faults.len(), 1);
    assert_eq!(read.frames.len(), ENTRIES - 1);
    let mut items = good.clone();
    items.insert(9, b"xyz".to_vec());
    let read = go_on(&items);
    assert_eq!((read.faults.len(), read.frames.len()), (1, ENTRIES));
    let mut items = good;
    items.swap(20, 40);
    let read = go_on(&items);
    assert_eq!(first(&read), FaultKind::Swapped);
    assert!(read.frames.len() >= ENTRIES - 2);
}
