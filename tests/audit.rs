//! The audit log's promises: what was recorded is read again, and no changed, moved, repeated,
//! dropped or cut off part of a log, a checkpoint or a vault's rows goes unnoticed.
#![cfg(feature = "vault")]
#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation
)]

#[path = "support/golden.rs"]
mod golden;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cardvault::audit::{
    AuditError, AuditLog, AuditOptions, CLOCK_SLACK, Checkpoint, Finding, LogPosition, LoggedEvent,
    RowFault, RowFinding, Severity, Told, Verified, WriterKey, compare_rows, verify,
    write_checkpoint,
};
use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyName, KeyRing, KeyUse, RingMark};
use cardvault::token::Token;
use cardvault::vault::{
    Access, AccessEvent, AccessLog, BlockingVault, Item, Memory, Operation, Row, RowKey, Store,
    Tokenize, Vault, Write,
};
use cardvault::{SystemRandom, UnixSeconds};
use golden::assert_golden;
use pollster::block_on;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn ring() -> KeyRing {
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, NOW, &mut rng).unwrap();
        ring.activate(name, NOW).unwrap();
    }
    ring
}

/// The ring, made once.
fn the_ring() -> &'static KeyRing {
    static RING: OnceLock<KeyRing> = OnceLock::new();
    RING.get_or_init(ring)
}

fn key(name: &str, epoch: u32) -> WriterKey {
    let base = the_ring().audit_key(NOW).unwrap();
    base.writer_key(name, epoch).unwrap()
}

fn options() -> AuditOptions {
    AuditOptions {
        clock: || NOW,
        ..AuditOptions::default()
    }
}

/// A folder that is deleted when the test ends.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn access() -> Access {
    Access::new("desk-3", "refund 17", "host-a").unwrap()
}

fn shop() -> Domain {
    "shop-1".parse().unwrap()
}

fn token(n: u8) -> Token {
    let mut rng = ChaCha20Rng::from_seed([n; 32]);
    Token::opaque(&mut rng).unwrap()
}

fn event<'a>(access: &'a Access, domain: &'a Domain, n: u8) -> AccessEvent<'a> {
    AccessEvent {
        time: NOW.plus(u64::from(n)),
        access,
        operation: Operation::Detokenize,
        domain: Some(domain),
        token: Some(token(n)),
        key: None,
        granted: !n.is_multiple_of(3),
        refusal: None,
    }
}

/// Records `n` single accesses, numbered from `first`.
fn record(log: &AuditLog, first: u8, n: u8) {
    let (access, shop) = (access(), shop());
    for n in first..first + n {
        log.record(&[event(&access, &shop, n)]).unwrap();
    }
}

/// A new log of `w` in its first epoch, with `n` single accesses.
fn log_of(path: &Path, n: u8) -> AuditLog {
    let log = AuditLog::create(path, key("w", 1), &options()).unwrap();
    record(&log, 0, n);
    log
}

/// What verification tells.
#[derive(Default)]
struct Read {
    events: Vec<LoggedEvent>,
    findings: Vec<Finding>,
    verified: Verified,
}

impl Read {
    fn faults(&self) -> Vec<&Finding> {
        let faults = self.findings.iter();
        faults
            .filter(|finding| finding.severity() == Severity::Fault)
            .collect()
    }
}

fn read_against(folder: &Path, against: &[LogPosition]) -> Read {
    let (mut events, mut findings) = (Vec::new(), Vec::new());
    let verified = verify(folder, the_ring(), against, &mut |told| match told {
        Told::Event(_, event) => events.push(event),
        Told::Finding(finding) => findings.push(finding),
        _ => {}
    })
    .unwrap();
    Read {
        events,
        findings,
        verified,
    }
}

fn read(folder: &Path) -> Read {
    read_against(folder, &[])
}

/// A log with `n` accesses, ended in order.
fn written(folder: &Path, n: u8) -> PathBuf {
    let path = folder.join("w");
    let log = AuditLog::create(&path, key("switch-1", 1), &options()).unwrap();
    record(&log, 0, n);
    log.close().unwrap();
    path
}

fn file(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.cva"))
}

/// Where the frames of a file begin, and its end.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut at = 38 + usize::from(bytes[37]);
    let mut frames = vec![at];
    while at < bytes.len() {
        at += u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        frames.push(at);
    }
    frames
}

#[test]
fn what_was_recorded_is_read_again() {
    let folder = folder();
    let path = folder.path().join("audit/switch-1.1");
    let (access, shop) = (access(), shop());
    let other = Access::new("ops", "rotation", "host-b").unwrap();
    let log = AuditLog::create(&path, key("switch-1", 1), &options()).unwrap();
    let events = [
        event(&access, &shop, 1),
        event(&access, &shop, 2),
        AccessEvent {
            operation: Operation::Export,
            domain: None,
            token: None,
            ..event(&other, &shop, 3)
        },
        AccessEvent {
            operation: Operation::DestroyKey,
            domain: None,
            token: None,
            key: Some(KeyName::new(KeyUse::Card, 2)),
            refusal: Some(cardvault::vault::PolicyReason::NotGranted),
            ..event(&other, &shop, 3)
        },
    ];
    log.record(&events).unwrap();
    log.record(&events[..1]).unwrap();
    drop(log);
    // Going on needs no key.
    let log = AuditLog::open(&path, &options()).unwrap();
    assert_eq!(log.writer().name(), "switch-1");
    log.record(&events[1..2]).unwrap();
    log.close().unwrap();
    let read = read(&folder.path().join("audit"));
    assert_eq!(read.findings, []);
    let shown: Vec<_> = read.events.iter().map(LoggedEvent::to_string).collect();
    let expected = events.iter().chain(&events[..1]).chain(&events[1..2]);
    let expected: Vec<_> = expected.map(AccessEvent::to_string).collect();
    assert_eq!(shown, expected);
    let counts = (
        read.verified.logs,
        read.verified.frames,
        read.verified.events,
    );
    assert_eq!(counts, (1, 7, 6));
    assert_eq!(read.verified.positions[0].frames, 7);
}

#[test]
fn a_batch_longer_than_a_frame_is_kept_whole() {
    let folder = folder();
    let path = folder.path().join("w");
    let log = AuditLog::create(&path, key("w", 1), &options()).unwrap();
    let (access, shop) = (access(), shop());
    let one = event(&access, &shop, 1);
    let events = vec![one; 40_000];
    log.record(&events).unwrap();
    log.record(&[]).unwrap();
    drop(log);
    let read = read(&path);
    assert_eq!((read.findings.len(), read.events.len()), (0, 40_000));
    assert!(read.verified.frames > 3);
}

#[test]
fn a_log_is_begun_once_and_written_by_one() {
    let folder = folder();
    let path = folder.path().join("w");
    let error = AuditLog::open(&path, &options()).unwrap_err();
    assert_eq!(error, AuditError::NoLog);
    let log = AuditLog::create(&path, key("w", 1), &options()).unwrap();
    let again = || AuditLog::create(&path, key("w", 2), &options()).unwrap_err();
    assert_eq!(again(), AuditError::AlreadyOpen);
    let error = AuditLog::open(&path, &options()).unwrap_err();
    assert_eq!(error, AuditError::AlreadyOpen);
    drop(log);
    assert_eq!(again(), AuditError::Exists);
    for name in ["", "a b", "a/b", &"x".repeat(33)] {
        let base = the_ring().audit_key(NOW).unwrap();
        assert_eq!(base.writer_key(name, 1).unwrap_err(), AuditError::Writer);
    }
}

#[test]
fn files_follow_each_other() {
    let folder = folder();
    let path = folder.path().join("w");
    let small = AuditOptions {
        file_len: 400,
        unsaved: 300,
        ..options()
    };
    let mut log = AuditLog::create(&path, key("w", 1), &small).unwrap();
    for at in 0..5 {
        record(&log, 10 * at, 10);
        drop(log);
        log = AuditLog::open(&path, &small).unwrap();
    }
    drop(log);
    let read = read(&path);
    assert_eq!((read.findings.len(), read.events.len()), (0, 50));
    assert!(file(&path, 12).exists());
    for number in 0..12 {
        let len = fs::metadata(file(&path, number)).unwrap().len();
        assert!(len <= 400, "{len}");
    }
    // A file that is gone, first, middle and last but one.
    for number in [0, 5, 11] {
        let whole = fs::read(file(&path, number)).unwrap();
        fs::remove_file(file(&path, number)).unwrap();
        let found = self::read(&path).findings;
        assert!(
            matches!(found[0], Finding::FilesMissing { files: 1, .. }),
            "{found:?}"
        );
        assert!(matches!(found[1], Finding::Missing { .. }), "{found:?}");
        fs::write(file(&path, number), whole).unwrap();
    }
    // Two files swapped.
    let (one, two) = (file(&path, 3), file(&path, 4));
    let kept = fs::read(&one).unwrap();
    fs::copy(&two, &one).unwrap();
    fs::write(&two, kept).unwrap();
    assert!(!self::read(&path).faults().is_empty());
}

#[test]
fn every_changed_bit_is_found() {
    let folder = folder();
    let path = written(folder.path(), 2);
    let file = file(&path, 0);
    let good = fs::read(&file).unwrap();
    assert_eq!(read(&path).findings, []);
    // In place: a file that is written anew each time costs a sync.
    let mut file = File::options().write(true).open(&file).unwrap();
    let mut put = |at: usize, byte: u8| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[byte]).unwrap();
    };
    for (at, byte) in good.into_iter().enumerate() {
        for bit in 0..8 {
            put(at, byte ^ 1 << bit);
            let read = read(&path);
            assert!(!read.faults().is_empty(), "byte {at} bit {bit}");
            assert_eq!(read.verified.positions, []);
        }
        put(at, byte);
    }
    assert_eq!(read(&path).findings, []);
}

#[test]
fn moved_repeated_and_dropped_frames_are_found_and_reading_goes_on() {
    let folder = folder();
    let path = written(folder.path(), 5);
    let file = file(&path, 0);
    let good = fs::read(&file).unwrap();
    let edges = frames(&good);
    let part = |n: usize| &good[edges[n]..edges[n + 1]];
    let head = &good[..edges[0]];
    let count = edges.len() - 1;
    let write = |order: &[usize]| {
        let mut bytes = head.to_vec();
        for &n in order {
            bytes.extend_from_slice(part(n));
        }
        fs::write(&file, bytes).unwrap();
        read(&path)
    };
    let order: Vec<usize> = (0..count).collect();
    for one in 0..count {
        for other in one + 1..count {
            let mut swapped = order.clone();
            swapped.swap(one, other);
            let read = write(&swapped);
            let moved = |finding: &&Finding| matches!(finding, Finding::OutOfPlace { .. });
            assert!(read.faults().iter().any(moved), "{one} {other}");
        }
        let mut repeated = order.clone();
        repeated.insert(one, one);
        let read = write(&repeated);
        let Finding::OutOfPlace { place, found } = read.faults()[0] else {
            panic!("{:?}", read.findings);
        };
        assert_eq!((place.sequence, *found), (one as u64 + 1, one as u64));
        assert_eq!(read.events.len(), 5);
        let mut dropped = order.clone();
        dropped.remove(one);
        let read = write(&dropped);
        if one + 1 < count {
            let Finding::Missing { place, frames } = read.faults()[0] else {
                panic!("{:?}", read.findings);
            };
            assert_eq!((place.sequence, *frames), (one as u64, 1));
            assert_eq!(read.verified.frames, count as u64 - 1);
        }
    }
    // Damage in the middle: what stands behind it is read.
    let mut bad = good.clone();
    bad[edges[2] + 30] ^= 1;
    fs::write(&file, bad).unwrap();
    let read = self::read(&path);
    assert_eq!(read.events.len(), 4);
    let Finding::Damaged { place, bytes } = read.faults()[0] else {
        panic!("{:?}", read.findings);
    };
    assert_eq!((place.sequence, place.at as usize), (2, edges[2]));
    assert_eq!(*bytes as usize, edges[3] - edges[2]);
}

#[test]
fn a_frame_of_another_log_is_found() {
    let folder = folder();
    let (one, other) = (folder.path().join("1"), folder.path().join("2"));
    for (path, epoch) in [(&one, 1), (&other, 2)] {
        let log = AuditLog::create(path, key("w", epoch), &options()).unwrap();
        record(&log, 0, 3);
    }
    let good = fs::read(file(&one, 0)).unwrap();
    let foreign = fs::read(file(&other, 0)).unwrap();
    let edges = frames(&good);
    let mut bad = good.clone();
    bad[edges[1]..edges[2]].copy_from_slice(&foreign[edges[1]..edges[2]]);
    fs::write(file(&one, 0), &bad).unwrap();
    assert!(matches!(read(&one).faults()[0], Finding::Damaged { .. }));
    // The whole of another epoch's log under this one's name is that epoch's log, twice.
    fs::write(file(&one, 0), &foreign).unwrap();
    let gone = read_against(folder.path(), &[position(&good, folder.path())]);
    assert!(matches!(
        gone.faults()[..],
        [Finding::Twice { .. }, Finding::LogMissing { .. }]
    ));
    assert_eq!(gone.verified.positions, []);
}

/// The position of a log with this one file.
fn position(bytes: &[u8], folder: &Path) -> LogPosition {
    let apart = folder.join("apart");
    fs::create_dir(&apart).unwrap();
    fs::write(file(&apart, 0), bytes).unwrap();
    let read = read(&apart);
    fs::remove_dir_all(&apart).unwrap();
    read.verified.positions[0].clone()
}

#[test]
fn what_was_cut_off_or_rolled_back_is_found_against_a_checkpoint() {
    let folder = folder();
    let path = folder.path().join("w");
    let log = log_of(&path, 3);
    drop(log);
    let old: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let log = AuditLog::open(&path, &options()).unwrap();
    record(&log, 3, 3);
    drop(log);
    let seen = read(&path).verified.positions;
    assert_eq!(read_against(&path, &seen).findings, []);
    // It may grow.
    let log = AuditLog::open(&path, &options()).unwrap();
    record(&log, 6, 1);
    drop(log);
    assert_eq!(read_against(&path, &seen).findings, []);
    // Cut at each frame: without a checkpoint nothing tells.
    let good = fs::read(file(&path, 0)).unwrap();
    let edges = frames(&good);
    for (frames, &edge) in edges.iter().enumerate() {
        fs::write(file(&path, 0), &good[..edge]).unwrap();
        assert_eq!(read(&path).findings, []);
        let faults = read_against(&path, &seen);
        if (frames as u64) < seen[0].frames {
            let expected = Finding::Truncated {
                writer: seen[0].writer.clone(),
                frames: frames as u64,
                seen: seen[0].frames,
            };
            assert_eq!(faults.findings, [expected]);
        } else {
            assert_eq!(faults.findings, []);
        }
    }
    // The writer does not go on with a log that was cut below what it had saved.
    fs::write(file(&path, 0), &good[..edges[3]]).unwrap();
    let error = AuditLog::open(&path, &options()).unwrap_err();
    assert!(matches!(error, AuditError::Damaged { file: 0, .. }));
    // An older copy of the whole folder, written on.
    for (path, bytes) in &old {
        fs::write(path, bytes).unwrap();
    }
    let log = AuditLog::open(&path, &options()).unwrap();
    record(&log, 40, 20);
    drop(log);
    assert_eq!(read(&path).findings, []);
    let found = read_against(&path, &seen).findings;
    assert!(
        matches!(&found[..], [Finding::Rewritten { seen: 10, .. }]),
        "{found:?}"
    );
}

#[test]
fn an_opening_leaves_out_nothing_that_a_checkpoint_saw() {
    let folder = folder();
    let path = folder.path().join("w");
    let log = log_of(&path, 3);
    drop(log);
    let kept = |name: &str| fs::read(path.join(name)).unwrap();
    let (state, old) = (kept("state.cvs"), kept("00000000.cva"));
    let log = AuditLog::open(&path, &options()).unwrap();
    record(&log, 3, 3);
    drop(log);
    let seen = read(&path).verified.positions;
    // An older copy, with an unfinished write behind it that seems to have had many frames.
    for frames in [1, 3, 5, 6, 100] {
        fs::write(path.join("state.cvs"), &state).unwrap();
        let rest = vec![7; 38 * frames];
        fs::write(file(&path, 0), [&old[..], &rest].concat()).unwrap();
        let log = AuditLog::open(&path, &options()).unwrap();
        record(&log, 9, 1);
        drop(log);
        assert_eq!(read(&path).faults().len(), 0);
        let found = read_against(&path, &seen);
        let expected = if frames == 1 {
            // It was rolled back to before that, and not written on as far.
            Finding::Truncated {
                writer: seen[0].writer.clone(),
                frames: 9,
                seen: 10,
            }
        } else {
            Finding::Rewritten {
                writer: seen[0].writer.clone(),
                seen: 10,
            }
        };
        assert_eq!(found.faults(), [&expected], "{frames}");
    }
}

#[test]
fn what_is_put_in_before_a_write_does_not_make_it_an_unfinished_one() {
    let folder = folder();
    let path = folder.path().join("w");
    let log = log_of(&path, 3);
    let kept = |name: &str| fs::read(path.join(name)).unwrap();
    let (state, good) = (kept("state.cvs"), kept("00000000.cva"));
    drop(log);
    let edges = frames(&good);
    // What seems to be frames from far ahead, until nobody can search on.
    let mut bad = good[..edges[3]].to_vec();
    for _ in 0..40 {
        bad.extend_from_slice(&[0, 0, 0, 38, 1, 1]);
        bad.extend_from_slice(&4_000_u64.to_be_bytes());
        bad.extend_from_slice(&[0; 24]);
    }
    bad.extend_from_slice(&good[edges[3]..]);
    fs::write(path.join("state.cvs"), &state).unwrap();
    fs::write(file(&path, 0), &bad).unwrap();
    let error = AuditLog::open(&path, &options()).unwrap_err();
    let at = edges[3] as u64;
    assert_eq!(error, AuditError::Damaged { file: 0, at });
    assert_eq!(fs::read(file(&path, 0)).unwrap(), bad);
}

#[test]
fn a_copy_of_a_log_is_found() {
    let folder = folder();
    let path = written(folder.path(), 2);
    let copy = folder.path().join("x");
    fs::create_dir(&copy).unwrap();
    fs::copy(file(&path, 0), file(&copy, 0)).unwrap();
    let read = read(folder.path());
    assert!(matches!(read.faults()[..], [Finding::Twice { .. }]));
    assert_eq!(read.verified.positions, []);
}

#[test]
fn a_log_is_verified_while_it_is_written() {
    let folder = folder();
    let path = folder.path().join("w");
    let small = AuditOptions {
        file_len: 60_000,
        ..options()
    };
    let log = AuditLog::create(&path, key("w", 1), &small).unwrap();
    let path = &path;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let (access, shop) = (access(), shop());
            let events = vec![event(&access, &shop, 1); 500];
            for _ in 0..60 {
                log.record(&events).unwrap();
            }
            log
        });
        let mut before = 0;
        while !writing.is_finished() {
            let read = read(path);
            assert_eq!(read.findings, []);
            assert!(read.events.len() >= before);
            before = read.events.len();
        }
        assert_eq!(read(path).events.len(), 30_000);
        drop(writing.join().unwrap());
    });
}

#[test]
fn a_write_under_way_is_seen_to_its_end() {
    let folder = folder();
    let path = folder.path().join("w");
    let log = log_of(&path, 2);
    let good = fs::read(file(&path, 0)).unwrap();
    fs::write(file(&path, 0), &good[..good.len() - 20]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(60));
            fs::write(file(&path, 0), &good).unwrap();
        });
        let read = read(&path);
        assert_eq!((read.findings.len(), read.events.len()), (0, 2));
    });
    drop(log);
}

#[test]
fn accesses_of_one_call_keep_their_domains() {
    let folder = folder();
    let path = folder.path().join("w");
    let (access, one, other) = (access(), shop(), "shop-2".parse().unwrap());
    let log = AuditLog::create(&path, key("w", 1), &options()).unwrap();
    let events = [event(&access, &one, 1), event(&access, &other, 2)];
    log.record(&events).unwrap();
    drop(log);
    let domains: Vec<_> = read(&path).events.into_iter().map(|at| at.domain).collect();
    assert_eq!(domains, [Some(one), Some(other)]);
}

#[test]
fn a_torn_write_is_dropped_and_said() {
    let folder = folder();
    let path = folder.path().join("w");
    let log = log_of(&path, 3);
    // As if the process had been killed: what it holds is forgotten without a word.
    let kept = |name: &str| fs::read(path.join(name)).unwrap();
    let (state, good) = (kept("state.cvs"), kept("00000000.cva"));
    drop(log);
    let edges = frames(&good);
    for cut in edges[3]..good.len() {
        fs::write(path.join("state.cvs"), &state).unwrap();
        fs::write(file(&path, 0), &good[..cut]).unwrap();
        let log = AuditLog::open(&path, &options()).unwrap();
        record(&log, 9, 1);
        drop(log);
        let read = read(&path);
        assert_eq!((read.faults().len(), read.events.len()), (0, 3), "{cut}");
        let rest = (cut - edges[3]) as u64;
        match &read.findings[..] {
            [Finding::NotClosed { .. }] if rest == 0 => {}
            [Finding::Dropped { bytes, .. }] if *bytes == rest => {}
            found => panic!("{cut}: {found:?}"),
        }
        assert_eq!(read.verified.positions.len(), 1);
    }
    // What was changed before the last write is no torn write.
    let mut bad = good.clone();
    bad[edges[2] + 30] ^= 1;
    fs::write(path.join("state.cvs"), &state).unwrap();
    fs::write(file(&path, 0), &bad).unwrap();
    let error = AuditLog::open(&path, &options()).unwrap_err();
    let at = edges[2] as u64;
    assert_eq!(error, AuditError::Damaged { file: 0, at });
    assert_eq!(fs::read(file(&path, 0)).unwrap(), bad);
    fs::write(path.join("state.cvs"), [0; 1024]).unwrap();
    let error = AuditLog::open(&path, &options()).unwrap_err();
    assert_eq!(error, AuditError::State);
}

#[test]
fn the_writer_holds_no_key_of_what_it_wrote() {
    let folder = folder();
    let path = folder.path().join("w");
    let log = log_of(&path, 3);
    drop(log);
    let saved = fs::read(path.join("state.cvs")).unwrap();
    // One slot is in use, the other one is wiped.
    let zeros = |slot: &[u8]| slot.iter().all(|byte| *byte == 0);
    assert_eq!(saved.len(), 1024);
    assert_ne!(zeros(&saved[..512]), zeros(&saved[512..]));
    // Nowhere does the chain key stand that the log was begun with.
    let secret = *key("w", 1).expose();
    assert!(!saved.windows(32).any(|window| window == secret));
    // With the saved state the next frame can be forged, and none before it: a log that is
    // written anew from an earlier place differs from what a checkpoint saw.
    let log = AuditLog::open(&path, &options()).unwrap();
    drop(log);
    let saved_then = fs::read(path.join("state.cvs")).unwrap();
    assert_ne!(saved, saved_then);
}

#[test]
fn many_threads_share_a_log() {
    let folder = folder();
    let path = folder.path().join("w");
    let log = Arc::new(AuditLog::create(&path, key("w", 1), &options()).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let log = &log;
            scope.spawn(move || {
                let purpose = format!("thread {thread}");
                let access = Access::new("desk", &purpose, "host").unwrap();
                let shop = shop();
                for n in 0..25 {
                    log.record(&[event(&access, &shop, n)]).unwrap();
                }
            });
        }
    });
    drop(log);
    let read = read(&path);
    assert_eq!((read.findings.len(), read.events.len()), (0, 200));
    // Each caller's accesses stand in their order.
    for thread in 0..8 {
        let purpose = format!("thread {thread}");
        let own = read.events.iter().filter(|event| event.purpose == purpose);
        let times: Vec<_> = own.map(|event| event.time).collect();
        assert!(times.is_sorted() && times.len() == 25);
    }
}

#[test]
fn a_clock_that_goes_back_is_told_and_is_no_fault() {
    let folder = folder();
    let path = folder.path().join("w");
    let options = AuditOptions { clock, ..options() };
    TIME.set(NOW.0 + 100);
    let log = AuditLog::create(&path, key("w", 1), &options).unwrap();
    record(&log, 0, 1);
    TIME.set(NOW.0 + 40);
    record(&log, 1, 1);
    drop(log);
    let read = read(&path);
    assert_eq!(read.faults().len(), 0);
    assert!(matches!(
        &read.findings[..],
        [Finding::ClockBack { seconds: 60, .. }]
    ));
}

#[test]
fn a_log_needs_its_ring() {
    let folder = folder();
    let path = written(folder.path(), 2);
    let mut rng = ChaCha20Rng::from_seed([6; 32]);
    let mut other = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    let found = |ring: &KeyRing| {
        let mut findings = Vec::new();
        verify(&path, ring, &[], &mut |told| {
            if let Told::Finding(finding) = told {
                findings.push(finding);
            }
        })
        .unwrap();
        findings
    };
    assert!(matches!(&found(&other)[..], [Finding::NoKey { .. }]));
    let period = Cryptoperiod::default_of(KeyUse::Audit);
    let name = other.add(KeyUse::Audit, period, NOW, &mut rng).unwrap();
    other.activate(name, NOW).unwrap();
    assert!(matches!(found(&other)[0], Finding::Head { .. }));
}

// ---- checkpoints and rows

type Shared = BlockingVault<Arc<Memory>>;

/// A vault with its log in a folder.
struct Bench {
    folder: tempfile::TempDir,
    store: Arc<Memory>,
    vault: Shared,
}

thread_local! {
    /// The time that the vault and the log of one test see.
    static TIME: Cell<u64> = const { Cell::new(NOW.0) };
}

fn clock() -> UnixSeconds {
    UnixSeconds(TIME.get())
}

fn wait(seconds: u64) {
    TIME.set(TIME.get() + seconds);
}

fn card(n: u64) -> CardRecord {
    let mut digits = format!("4{n:014}").into_bytes();
    digits.push(b'0' + cardvault::card::luhn::check_digit(&digits).unwrap());
    CardRecord::new(Pan::parse(&digits).unwrap())
}

impl Bench {
    fn new() -> Self {
        let folder = folder();
        let path = folder.path().join("w");
        let options = AuditOptions { clock, ..options() };
        let log = AuditLog::create(&path, key("w", 1), &options).unwrap();
        let store = Arc::new(Memory::new());
        let vault = Vault::open_with(Arc::clone(&store), ring(), log, || SystemRandom, clock);
        let vault = block_on(vault).unwrap().blocking();
        Self {
            folder,
            store,
            vault,
        }
    }

    fn add(&self, n: u64) -> Token {
        let how = Tokenize::convergent();
        self.vault.tokenize(&shop(), &card(n), &how).unwrap().token
    }

    fn checkpoint(&self) -> Vec<u8> {
        let logs = read(self.folder.path()).verified.positions;
        let store = Some(&self.store);
        let written = write_checkpoint(Vec::new(), the_ring(), clock(), logs, store);
        block_on(written).unwrap().0
    }

    /// What is found against a checkpoint; the logs are as they should be.
    fn compare(&self, checkpoint: &[u8]) -> Vec<(Token, RowFault)> {
        let mut checkpoint = Checkpoint::open(checkpoint, the_ring()).unwrap();
        let logs = checkpoint.logs().unwrap();
        assert_eq!(read_against(self.folder.path(), &logs).faults().len(), 0);
        let mut found = Vec::new();
        let mut sink = |finding: RowFinding| found.push((finding.row.unwrap().1, finding.fault));
        let path = self.folder.path();
        let compared = compare_rows(&self.store, &mut checkpoint, path, the_ring(), &mut sink);
        let compared = block_on(compared).unwrap();
        assert_eq!(compared.faults, found.len() as u64);
        found
    }

    fn row(&self, token: &Token) -> (RowKey, Row) {
        let rows = block_on(self.store.scan(None, None, 1000)).unwrap();
        let of = |(key, _): &(RowKey, Row)| key.as_bytes().ends_with(token.as_bytes());
        rows.into_iter().find(of).unwrap()
    }

    /// By hand, past the vault.
    fn put(&self, key: RowKey, row: &Row) {
        let put = Write::Put(Item::Row(key, row.clone()));
        block_on(self.store.write(None, vec![put])).unwrap();
    }

    fn take_out(&self, (token, expected): (RowKey, Row)) {
        let index = Vec::new();
        let delete = Write::Delete {
            token,
            expected,
            index,
        };
        block_on(self.store.write(None, vec![delete])).unwrap();
    }
}

#[test]
fn rows_that_are_gone_back_or_older_are_found_against_a_checkpoint() {
    let bench = Bench::new();
    let tokens: Vec<Token> = (0..8).map(|n| bench.add(n)).collect();
    let all: Vec<_> = tokens.iter().map(|token| bench.row(token)).collect();
    wait(5_000);
    bench.vault.delete(&access(), &shop(), &tokens[7]).unwrap();
    let renewed = bench.row(&tokens[5]).1;
    bench
        .vault
        .set_expiry(&shop(), &tokens[5], Some(NOW.plus(1 << 30)))
        .unwrap();
    let checkpoint = bench.checkpoint();
    assert_eq!(bench.compare(&checkpoint), []);
    wait(5_000);
    // What may happen: a new card, a renewal, a deletion.
    let new = bench.add(100);
    bench
        .vault
        .set_expiry(&shop(), &tokens[0], Some(NOW.plus(1 << 30)))
        .unwrap();
    bench.vault.delete(&access(), &shop(), &tokens[1]).unwrap();
    assert_eq!(bench.compare(&checkpoint), []);
    // By hand: deleted.
    bench.take_out(bench.row(&tokens[2]));
    let expected = vec![(tokens[2], RowFault::Deleted)];
    assert_eq!(bench.compare(&checkpoint), expected);
    bench.put(all[2].0, &all[2].1);
    // Put back after a deletion that was logged since, and one from before the checkpoint.
    bench.put(all[1].0, &all[1].1);
    let deleted = clock();
    let expected = vec![(tokens[1], RowFault::Back { deleted })];
    assert_eq!(bench.compare(&checkpoint), expected);
    bench.take_out(bench.row(&tokens[1]));
    bench.put(all[7].0, &all[7].1);
    let found = bench.compare(&checkpoint);
    assert!(matches!(found[..], [(token, RowFault::Back { .. })] if token == tokens[7]));
    bench.take_out(bench.row(&tokens[7]));
    // An old row that no checkpoint and no log knows.
    let stranger = Bench::new();
    TIME.set(NOW.0 + 100);
    let put_in = stranger.add(55);
    TIME.set(NOW.0 + 10_000);
    let row = stranger.row(&put_in);
    bench.put(row.0, &row.1);
    let created = NOW.plus(100);
    let expected = vec![(put_in, RowFault::PutIn { created })];
    assert_eq!(bench.compare(&checkpoint), expected);
    bench.take_out(row);
    // Rolled back, and changed in its revision.
    let (key, now) = bench.row(&tokens[5]);
    bench.put(key, &renewed);
    let rolled = RowFault::RolledBack {
        revision: 1,
        seen: 2,
    };
    assert_eq!(bench.compare(&checkpoint), [(tokens[5], rolled)]);
    let mut bytes = now.as_bytes().to_vec();
    bytes[100] ^= 1;
    bench.put(key, &Row::new(&bytes).unwrap());
    let changed = RowFault::Changed { revision: 2 };
    assert_eq!(bench.compare(&checkpoint), [(tokens[5], changed)]);
    bench.put(key, &Row::new(b"x").unwrap());
    assert_eq!(
        bench.compare(&checkpoint),
        [(tokens[5], RowFault::Unreadable)]
    );
    bench.put(key, &now);
    assert_eq!(bench.compare(&checkpoint), []);
    let card_now = bench.vault.detokenize(&access(), &shop(), &new).unwrap();
    assert_eq!(card_now.pan.last_four(), card(100).pan.last_four());
}

#[test]
fn a_deletion_excuses_only_what_was_there_at_the_checkpoint() {
    let bench = Bench::new();
    let token = bench.add(1);
    let row = bench.row(&token);
    wait(10);
    bench.vault.delete(&access(), &shop(), &token).unwrap();
    // Put back, and a checkpoint long after, that takes it for granted: the log does not.
    bench.put(row.0, &row.1);
    wait(CLOCK_SLACK + 20);
    let checkpoint = bench.checkpoint();
    let found = bench.compare(&checkpoint);
    assert!(matches!(found[..], [(_, RowFault::Back { .. })]));
    // Taken out by hand then: the old deletion is no excuse.
    bench.take_out(bench.row(&token));
    assert_eq!(bench.compare(&checkpoint), [(token, RowFault::Deleted)]);
}

#[test]
fn a_purge_that_was_taken_back_is_none() {
    let bench = Bench::new();
    let tokens: Vec<Token> = (0..8).map(|n| bench.add(n)).collect();
    let checkpoint = bench.checkpoint();
    wait(5_000);
    let (access, shop) = (access(), shop());
    let log = |name: &str, said: &[(Operation, bool, usize)]| {
        let path = bench.folder.path().join(name);
        let log = AuditLog::create(&path, key(name, 1), &options()).unwrap();
        for &(operation, granted, n) in said {
            let event = AccessEvent {
                time: clock(),
                operation,
                granted,
                token: Some(tokens[n]),
                ..event(&access, &shop, 0)
            };
            log.record(&[event]).unwrap();
        }
    };
    let (purge, delete) = (Operation::Purge, Operation::Delete);
    let first = [
        (purge, true, 0),
        (purge, false, 0),
        (purge, true, 1),
        (purge, true, 2),
        (purge, false, 2),
        (purge, true, 3),
        (purge, true, 4),
        (delete, false, 4),
        (purge, true, 5),
        (purge, true, 5),
        (purge, false, 5),
        (delete, true, 6),
        (purge, true, 6),
        (purge, false, 6),
        (delete, false, 7),
    ];
    log("x", &first);
    log("y", &[(purge, true, 3), (purge, false, 3)]);
    // 0 stayed, 1 is there though it was purged, 2 stayed and was taken out by hand, 3 was purged
    // by one process when the other came too late, 4 is there though it was purged, of 5 one of
    // two calls came too late, 6 is there though it was deleted, 7 was taken out by hand when its
    // deletion was refused.
    for gone in [2, 3, 5, 7] {
        bench.take_out(bench.row(&tokens[gone]));
    }
    let deleted = clock();
    let mut expected = vec![
        (tokens[1], RowFault::Back { deleted }),
        (tokens[2], RowFault::Deleted),
        (tokens[4], RowFault::Back { deleted }),
        (tokens[6], RowFault::Back { deleted }),
        (tokens[7], RowFault::Deleted),
    ];
    expected.sort_by_key(|(token, _)| token.as_bytes().to_vec());
    assert_eq!(bench.compare(&checkpoint), expected);
}

#[test]
fn every_changed_bit_and_every_cut_of_a_checkpoint_is_found() {
    let bench = Bench::new();
    for n in 0..3 {
        bench.add(n);
    }
    let good = bench.checkpoint();
    let read = |bytes: &[u8]| -> Result<u64, AuditError> {
        let mut checkpoint = Checkpoint::open(bytes, the_ring())?;
        let mut items = 0;
        while checkpoint.next()?.is_some() {
            items += 1;
        }
        Ok(items)
    };
    assert_eq!(read(&good), Ok(4));
    for at in 0..good.len() {
        assert!(read(&good[..at]).is_err(), "{at}");
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(read(&bad).is_err(), "byte {at} bit {bit}");
        }
    }
    let longer = [&good[..], b"x"].concat();
    assert_eq!(read(&longer), Err(AuditError::Content { part: 1 }));
}

#[test]
fn a_checkpoint_of_many_rows_is_written_and_read_in_parts() {
    let bench = Bench::new();
    let rows = 5_000;
    let cards: Vec<_> = (0..rows).map(card).collect();
    let how = Tokenize::convergent();
    for made in bench.vault.tokenize_batch(&shop(), &cards, &how) {
        made.unwrap();
    }
    let good = bench.checkpoint();
    assert!(good.len() > 3 * 65_536 && good.len() < 60 * rows as usize);
    assert_eq!(bench.compare(&good), []);
    // Parts that are swapped.
    let len =
        |at: usize| 37 + u32::from_be_bytes(good[at + 1..at + 5].try_into().unwrap()) as usize;
    let one = 47;
    let two = one + len(one);
    let end = two + len(two);
    let swapped = [&good[..one], &good[two..end], &good[one..two], &good[end..]].concat();
    let mut checkpoint = Checkpoint::open(&swapped[..], the_ring()).unwrap();
    assert_eq!(checkpoint.next(), Err(AuditError::Changed { part: 0 }));
}

/// What was written then is read: one log of six frames in two files, and a checkpoint of it.
#[test]
fn formats_are_as_they_were() {
    let folder = folder();
    let path = folder.path().join("w");
    let (access, shop) = (access(), shop());
    let small = AuditOptions {
        file_len: 300,
        ..options()
    };
    let log = AuditLog::create(&path, key("switch-1", 7), &small).unwrap();
    log.record(&[event(&access, &shop, 1), event(&access, &shop, 2)])
        .unwrap();
    let export = AccessEvent {
        operation: Operation::DestroyKey,
        domain: None,
        token: None,
        key: Some(KeyName::new(KeyUse::Card, 1)),
        ..event(&access, &shop, 3)
    };
    log.record(&[export]).unwrap();
    drop(log);
    assert_golden("audit-0.hex", &fs::read(file(&path, 0)).unwrap());
    assert_golden("audit-1.hex", &fs::read(file(&path, 1)).unwrap());
    let logs = read(&path).verified.positions;
    let checkpoint = write_checkpoint::<Memory, _>(Vec::new(), the_ring(), NOW, logs, None);
    let (checkpoint, _) = block_on(checkpoint).unwrap();
    assert_golden("audit-checkpoint.hex", &checkpoint);
    assert_golden("audit-chain-key.hex", key("switch-1", 7).expose());
}
