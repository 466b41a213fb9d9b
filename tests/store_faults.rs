//! What was acknowledged is there after power cuts, failing disks and kill -9; what was not is
//! there as a whole or not at all.
#![cfg(feature = "embedded")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::panic,
    unreachable_pub,
    missing_docs
)]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/disk.rs"]
mod disk;

use core::task::{Context, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, HashSet};
use std::env;
use std::future::Future;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use cardvault::ledger::{BlockingLedger, ImportEntry, Imported, Source};
use cardvault::refund::RefundEvent;
use cardvault::vault::{
    BlockingVault, Embedded, EmbeddedOptions, Guard, IndexKey, Row, RowKey, Store, StoreError,
    Write, WriteOutcome,
};
use desk::shop;
use disk::{Call, Cuts, Disk, Fault, Unsynced, below};
use pollster::block_on;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[test]
fn power_cuts() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    // A store is put in its place when it is complete, so that no cut meets a half-made one.
    let made = disk.position();
    let start = replay(&disk, made);
    let mut states = vec![(made, Contents::default())];
    for _ in 0..30 {
        let (writes, next) = states.last().unwrap().1.random_batch(&mut random, 12);
        block_on(store.write(None, writes)).unwrap();
        states.push((disk.position(), next));
    }
    drop(store);

    let mut cuts = Cuts::new(start, disk.log().split_off(made));
    let (mut count, mut ahead) = (0, 0);
    let mut check = |cuts: &Cuts, at: usize, random: &mut ChaCha8Rng| {
        let acknowledged = states.partition_point(|(position, _)| *position <= made + at) - 1;
        let ways: &[Unsynced] = if cuts.has_unsynced() {
            &[
                Unsynced::Dropped,
                Unsynced::Kept,
                Unsynced::Shuffled,
                Unsynced::Shuffled,
            ]
        } else {
            &[Unsynced::Dropped]
        };
        for way in ways {
            let store = open(&Disk::new(cuts.image(*way, random)))
                .unwrap_or_else(|error| panic!("cut {at}, {way:?}: {error}"));
            let found = Contents::read(&store);
            let next = states.get(acknowledged + 1);
            if next.is_some_and(|(_, next)| found == *next) {
                ahead += 1;
            } else {
                assert_eq!(found, states[acknowledged].1, "cut {at}, {way:?}");
            }
            // And it goes on from there.
            let (writes, next) = found.random_batch(random, 3);
            block_on(store.write(None, writes)).unwrap();
            assert_eq!(Contents::read(&store), next);
            count += 1;
        }
    };
    check(&cuts, 0, &mut random);
    while let Some(at) = cuts.step() {
        check(&cuts, at, &mut random);
    }
    println!("power cuts: {count}, of which {ahead} kept the unacknowledged batch as a whole");
    assert!(count > 1000 && ahead > 0);
}

#[test]
fn a_crash_leaves_nothing_to_repair() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    block_on(store.write(None, vec![insert(key(1), row(1), &[index(1)], true)])).unwrap();
    // The disk as it is while the store is open.
    let crashed = replay(&disk, disk.position());
    let mut engine = redb::Builder::new();
    engine.set_repair_callback(|_| panic!("the whole file would be walked through"));
    drop(engine.create_with_backend(Disk::new(crashed)).unwrap());
}

#[test]
fn failing_disks() {
    let faults = [
        (
            Call::Sync,
            ErrorKind::Other,
            StoreError::Io(ErrorKind::Other),
        ),
        (
            Call::Write,
            ErrorKind::Other,
            StoreError::Io(ErrorKind::Other),
        ),
        (Call::Write, ErrorKind::StorageFull, StoreError::Full),
        (Call::Write, ErrorKind::QuotaExceeded, StoreError::Full),
        (Call::SetLen, ErrorKind::StorageFull, StoreError::Full),
        (Call::Sync, ErrorKind::StorageFull, StoreError::Full),
    ];
    let mut tried = 0;
    for (call, kind, expected) in faults {
        let mut hits = 0;
        let mut nth = 0;
        loop {
            let mut random = ChaCha8Rng::seed_from_u64(nth as u64);
            let disk = Disk::new(Vec::new());
            let store = open(&disk).unwrap();
            let made = disk.position();
            let start = replay(&disk, made);
            disk.set_fault(Fault { call, nth, kind });
            let mut acknowledged = Contents::default();
            let mut failed = None;
            for _ in 0..12 {
                // The file must grow, where growing is what fails.
                let most = if call == Call::SetLen { 4000 } else { 200 };
                let (writes, next) = acknowledged.random_batch(&mut random, most);
                match block_on(store.write(None, writes)) {
                    Ok(_) => acknowledged = next,
                    Err(error) => {
                        assert_eq!(error, expected, "{call:?} {nth}");
                        failed = Some(next);
                        break;
                    }
                }
            }
            let Some(next) = failed else {
                drop(store);
                break;
            };
            // Nothing is believed until it is opened again, though the disk has recovered.
            assert!(disk.clear_fault() > 0);
            let again = vec![insert(key(0), row(0), &[index(0)], false)];
            assert_eq!(
                block_on(store.write(None, again)),
                Err(StoreError::Poisoned)
            );
            assert_eq!(
                block_on(store.rows(vec![key(0)])),
                Err(StoreError::Poisoned)
            );
            assert_eq!(block_on(store.count()), Err(StoreError::Poisoned));
            drop(store);
            // The disk may have kept any part of what it failed to sync.
            let mut cuts = Cuts::new(start, disk.log().split_off(made));
            while cuts.step().is_some() {}
            for way in [Unsynced::Kept, Unsynced::Dropped, Unsynced::Shuffled] {
                let store = open(&Disk::new(cuts.image(way, &mut random))).unwrap();
                let found = Contents::read(&store);
                if found != next {
                    assert_eq!(found, acknowledged, "{call:?} {nth} {way:?}");
                }
                tried += 1;
            }
            hits += 1;
            // Each of the first calls, then ever fewer.
            nth += 1 + nth / 3;
        }
        assert!(hits > 0, "{call:?} never failed");
    }
    println!("failing disks: {tried} reopened");
}

#[test]
fn reads_fail_by_name() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    let writes = (0..2000)
        .map(|n| insert(key(n), row(n), &[index(n)], true))
        .collect();
    block_on(store.write(None, writes)).unwrap();
    drop(store);
    let options = EmbeddedOptions {
        cache: 0,
        ..EmbeddedOptions::default()
    };
    let store = Embedded::on_backend(disk.clone(), &options).unwrap();
    disk.set_fault(Fault {
        call: Call::Read,
        nth: 0,
        kind: ErrorKind::Other,
    });
    let keys = (0..2000).map(key).collect();
    assert_eq!(
        block_on(store.rows(keys)),
        Err(StoreError::Io(ErrorKind::Other))
    );
}

/// Polls each once, so that all are queued.
macro_rules! queued {
    ($futures:expr) => {
        let mut context = Context::from_waker(Waker::noop());
        for future in $futures.iter_mut() {
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
    };
}

#[test]
fn callers_share_one_commit_and_its_failure() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    let before = disk.syncs();
    let single = |n| store.write(None, vec![insert(key(n), row(n), &[index(n)], true)]);
    block_on(single(0)).unwrap();
    let syncs_of_one = disk.syncs() - before;

    // One is held in its sync while a hundred queue behind it.
    disk.hold_syncs();
    let mut first = Box::pin(single(1));
    queued!([&mut first]);
    disk.wait_for_held();
    let mut group: Vec<_> = (100..200).map(|n| Box::pin(single(n))).collect();
    queued!(group);
    let before = disk.syncs();
    disk.release();
    assert_eq!(block_on(first), Ok(vec![WriteOutcome::Inserted]));
    for future in group {
        assert_eq!(block_on(future), Ok(vec![WriteOutcome::Inserted]));
    }
    assert_eq!(disk.syncs() - before, 2 * syncs_of_one);

    // The same with a sync that fails: nobody of the group is told that it was done.
    disk.hold_syncs();
    let mut first = Box::pin(single(2));
    queued!([&mut first]);
    disk.wait_for_held();
    let mut group: Vec<_> = (200..300).map(|n| Box::pin(single(n))).collect();
    queued!(group);
    let nth = syncs_of_one - 1;
    disk.set_fault(Fault {
        call: Call::Sync,
        nth,
        kind: ErrorKind::Other,
    });
    disk.release();
    assert_eq!(block_on(first), Ok(vec![WriteOutcome::Inserted]));
    for future in group {
        assert_eq!(block_on(future), Err(StoreError::Io(ErrorKind::Other)));
    }
    assert_eq!(block_on(single(3)), Err(StoreError::Poisoned));
    disk.clear_fault();
    drop(store);

    let store = open(&Disk::new(replay(&disk, disk.position()))).unwrap();
    let found = Contents::read(&store);
    for n in (0..3).chain(100..200) {
        assert!(found.rows.contains_key(&key(n)), "{n}");
    }
    let group = (200..300)
        .filter(|n| found.rows.contains_key(&key(*n)))
        .count();
    assert!(group == 0 || group == 100, "{group}");
}

fn damage_entry(disk: &Disk, index: &IndexKey) {
    const INDEX: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("index");
    let db = redb::Builder::new()
        .create_with_backend(disk.clone())
        .unwrap();
    let transaction = db.begin_write().unwrap();
    let bytes = index.as_bytes();
    let entry = [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let mut table = transaction.open_table(INDEX).unwrap();
    table.insert(entry.as_slice(), [].as_slice()).unwrap();
    drop(table);
    transaction.commit().unwrap();
}

#[test]
fn a_refused_caller_does_not_disturb_its_group() {
    let disk = Disk::new(Vec::new());
    drop(open(&disk).unwrap());
    // An index entry that names nothing, as no store writes it.
    damage_entry(&disk, &index(5));
    let store = open(&disk).unwrap();
    let single = |n| store.write(None, vec![insert(key(n), row(n), &[index(n)], true)]);

    disk.hold_syncs();
    let mut first = Box::pin(single(1));
    queued!([&mut first]);
    disk.wait_for_held();
    let damaged = vec![
        insert(key(7), row(7), &[index(7)], true),
        insert(key(6), row(6), &[index(5)], true),
    ];
    let set = Write::Guard {
        expected: None,
        guard: Guard::new(b"g").unwrap(),
    };
    let late = vec![insert(key(8), row(8), &[index(7)], true)];
    let mut group = [
        store.write(None, vec![set]),
        single(2),
        store.write(None, damaged),
        store.write(Some(Guard::new(b"stale").unwrap()), late.clone()),
        store.write(Some(Guard::new(b"g").unwrap()), late),
        single(3),
    ]
    .map(Box::pin);
    queued!(group);
    disk.release();
    block_on(first).unwrap();
    let answers = group.map(block_on);
    let inserted = Ok(vec![WriteOutcome::Inserted]);
    let expected = [
        Ok(vec![WriteOutcome::Guarded]),
        inserted.clone(),
        Err(StoreError::Corrupt),
        Err(StoreError::GuardChanged),
        // Nothing is left of the damaged batch that came before.
        inserted.clone(),
        inserted,
    ];
    assert_eq!(answers, expected);
    assert_eq!(
        block_on(store.rows(vec![key(6), key(7)])),
        Ok(vec![None, None])
    );
    assert_eq!(block_on(store.count()), Ok(4));
}

#[test]
fn what_is_known_costs_no_sync() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    let same = || store.write(None, vec![insert(key(1), row(1), &[index(1)], true)]);
    block_on(same()).unwrap();
    let before = disk.position();
    let exists = WriteOutcome::Exists {
        token: key(1),
        row: row(1),
    };
    assert_eq!(block_on(same()), Ok(vec![exists]));
    assert_eq!(disk.position(), before);
}

#[test]
fn dropping_the_store_commits_what_is_queued() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    disk.hold_syncs();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for n in 0..8 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                block_on(store.write(None, vec![insert(key(n), row(n), &[index(n)], true)]))
                    .unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        disk.wait_for_held();
        disk.release();
    });
    assert_eq!(store.close(), Ok(()));
    assert_eq!(done.load(Ordering::Relaxed), 8);
    assert_eq!(block_on(open(&disk).unwrap().count()), Ok(8));
}

#[test]
fn flipped_bits_are_errors_not_panics() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    for n in 0..20 {
        let some = |m| insert(key(n * 20 + m), row(m), &[index(n * 20 + m)], m % 2 == 0);
        block_on(store.write(None, (0..20).map(some).collect())).unwrap();
    }
    store.close().unwrap();
    let good = replay(&disk, disk.position());
    let used: Vec<usize> = (0..good.len()).filter(|at| good[*at] != 0).collect();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut noticed, mut opened) = (0, 0);
    for n in 0..400 {
        let mut bytes = good.clone();
        // Half of them in what the engine keeps in front.
        let at = used[below(&mut random, if n % 2 == 0 { used.len() } else { 300 })];
        bytes[at] ^= 1 << below(&mut random, 8);
        let check = n % 4 == 0;
        let options = EmbeddedOptions {
            check,
            ..EmbeddedOptions::default()
        };
        let Ok(store) = Embedded::on_backend(Disk::new(bytes), &options) else {
            noticed += 1;
            continue;
        };
        opened += 1;
        let _ = block_on(store.scan(None, None, 10_000));
        for n in 0..400 {
            let _ = block_on(store.rows(vec![key(n)]));
            let _ = block_on(store.find(vec![index(n)]));
        }
        let _ = block_on(store.write(None, vec![insert(key(9999), row(1), &[index(9999)], true)]));
        let _ = store.close();
    }
    println!("flipped bits: {noticed} refused at the door, {opened} opened");
    assert!(noticed > 0 && opened > 0);
}

/// The `n`-th of the uploads that a terminal sends: four sales with cards.
fn upload(n: u64) -> Vec<ImportEntry> {
    let entry = |n| ImportEntry {
        payment: desk::sale(n, 1000),
        card: Some(desk::card(n / 2)),
    };
    (4 * n..4 * n + 4).map(entry).collect()
}

/// Imports an upload and refunds parts of its first payment: what a host acknowledges, one by one.
fn work<S: Store>(ledger: &BlockingLedger<S>, n: u64, mut acknowledged: impl FnMut()) {
    let imported = ledger.import(&shop(), &upload(n)).unwrap();
    assert_eq!((imported.new, imported.known), (4, 0));
    acknowledged();
    for part in [2 * n, 2 * n + 1] {
        let request = desk::refund(part, 400);
        let id = desk::payment_id(4 * n);
        ledger
            .request(&shop(), &id, &desk::policy(), &request)
            .unwrap();
        acknowledged();
    }
    let request = desk::refund(2 * n, 400);
    let (merchant, number) = (&request.merchant, &request.number);
    let event = RefundEvent::Accepted;
    ledger
        .progress(&shop(), merchant, number, event, Source::Centre, None)
        .unwrap();
    acknowledged();
}

/// The ledger balances, every card opens, and an upload is there once: as a whole, or not.
fn balances<S: Store>(vault: &BlockingVault<S>) -> usize {
    let stats = vault.stats().unwrap();
    assert_eq!(desk::check_all(vault), (stats.tokens, 0));
    let audited = desk::audit_all(vault);
    assert!(audited.is_multiple_of(4), "half an upload: {audited}");
    audited
}

#[test]
fn power_cuts_of_ledger_groups() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let disk = Disk::new(Vec::new());
    let store = Arc::new(open(&disk).unwrap());
    let vault = desk::open(Arc::clone(&store));
    let ledger = desk::ledger_of(&vault);
    let made = disk.position();
    let start = replay(&disk, made);
    let mut states = vec![(made, desk::everything(&store, 1000))];
    for n in 0..3 {
        work(&ledger, n, || {
            states.push((disk.position(), desk::everything(&store, 1000)));
        });
    }
    drop((ledger, vault, store));

    let mut cuts = Cuts::new(start, disk.log().split_off(made));
    let (mut count, mut ahead, mut balanced) = (0, 0, 0);
    while let Some(at) = cuts.step() {
        let acknowledged = states.partition_point(|(position, _)| *position <= made + at) - 1;
        let ways: &[Unsynced] = if cuts.has_unsynced() {
            &[Unsynced::Kept, Unsynced::Shuffled]
        } else {
            &[Unsynced::Dropped]
        };
        for way in ways {
            let image = cuts.image(*way, &mut random);
            let store = Arc::new(open(&Disk::new(image)).unwrap());
            // All of it: rows of vault and ledger, the index, the guard.
            let found = desk::everything(&store, 1000);
            let next = states.get(acknowledged + 1);
            let is_next = next.is_some_and(|(_, next)| found == *next);
            assert!(
                is_next || found == states[acknowledged].1,
                "cut {at}, {way:?}: half a group, or one that was acknowledged is gone"
            );
            ahead += usize::from(is_next);
            count += 1;
            if count % 20 == 0 {
                let vault = desk::open(store);
                balances(&vault);
                // And the same uploads again change nothing that is known.
                let ledger = desk::ledger_of(&vault);
                let uploads = (0..3).map(|n| ledger.import(&shop(), &upload(n)).unwrap());
                let new: usize = uploads.map(|imported| imported.new).sum();
                assert_eq!(balances(&vault), 12, "{new} new");
                balanced += 1;
            }
        }
    }
    println!("power cuts of groups: {count}, {ahead} ahead, {balanced} ledgers balanced");
    assert!(count > 100 && ahead > 0 && balanced > 5);
}

#[test]
fn kill_9_of_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("vault");
    let options = EmbeddedOptions::default();
    Embedded::create(&folder, &options)
        .unwrap()
        .close()
        .unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let mut acknowledged = HashSet::new();
    let kills = 6;
    for kill in 0..kills {
        let after = random.next_u64() % 80;
        run_and_kill(
            "kill_9_ledger_child",
            &folder,
            kill,
            after,
            &mut acknowledged,
        );
        let vault = desk::open(Embedded::open(&folder, &options).unwrap());
        let ledger = desk::ledger_of(&vault);
        balances(&vault);
        for n in &acknowledged {
            let n = *n as u64;
            let again = ledger.import(&shop(), &upload(n)).unwrap();
            let known = Imported {
                known: 4,
                ..Imported::default()
            };
            assert_eq!(again, known, "kill {kill} lost upload {n}");
            let payment = ledger.payment(&shop(), &desk::payment_id(4 * n)).unwrap();
            let refunds = payment.refunds;
            assert_eq!(
                (refunds.accepted, refunds.requested, refunds.count),
                (desk::cny(400), desk::cny(400), 2),
                "kill {kill}, upload {n}"
            );
        }
    }
    println!(
        "kills of a ledger: {kills}, acknowledged: {}",
        acknowledged.len()
    );
    assert!(acknowledged.len() > kills);
}

#[test]
fn kill_9_ledger_child() {
    let Ok(task) = env::var(CHILD) else { return };
    let (round, folder) = task.split_once(' ').unwrap();
    let base = round.parse::<u64>().unwrap() * 1000;
    let vault = desk::open(Embedded::open(Path::new(folder), &EmbeddedOptions::default()).unwrap());
    let ledger = desk::ledger_of(&vault);
    thread::scope(|scope| {
        for desk in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for n in (base + desk..base + 1000).step_by(4) {
                    work(ledger, n, || {});
                    println!("\nack {n}");
                }
            });
        }
    });
}

const CHILD: &str = "CARDVAULT_STORE_CHILD";
const KILLS: &str = "CARDVAULT_STORE_KILLS";

#[test]
fn kill_9() {
    let kills = env::var(KILLS).map_or(20, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("vault");
    Embedded::create(&folder, &EmbeddedOptions::default())
        .unwrap()
        .close()
        .unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut acknowledged = HashSet::new();
    let mut ahead = 0;
    for kill in 0..kills {
        let after = random.next_u64() % 120;
        run_and_kill("kill_9_child", &folder, kill, after, &mut acknowledged);
        let store = Embedded::open(&folder, &EmbeddedOptions::default()).unwrap();
        let rows = Contents::read(&store).rows;
        for n in &acknowledged {
            assert_eq!(rows.get(&key(*n)), Some(&row(*n)), "kill {kill} lost {n}");
        }
        ahead = rows.len() - acknowledged.len();
    }
    println!(
        "kills: {kills}, acknowledged: {}, beyond: {ahead}",
        acknowledged.len()
    );
    assert!(acknowledged.len() > kills);
}

/// Runs the test `name` in a process of its own and kills it some time after its first
/// acknowledgement.
fn run_and_kill(
    name: &str,
    folder: &Path,
    round: usize,
    after: u64,
    acknowledged: &mut HashSet<usize>,
) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{round} {}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut since = None;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).unwrap() == 0 {
            break;
        }
        // A line without its end was torn by the kill.
        let Some((_, number)) = line
            .strip_suffix('\n')
            .and_then(|line| line.split_once("ack "))
        else {
            continue;
        };
        acknowledged.insert(number.parse().unwrap());
        let since: &Instant = since.get_or_insert_with(Instant::now);
        if since.elapsed() > Duration::from_millis(after) {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(since.is_some(), "the child acknowledged nothing");
}

#[test]
fn kill_9_child() {
    let Ok(task) = env::var(CHILD) else { return };
    let (round, folder) = task.split_once(' ').unwrap();
    let base = round.parse::<usize>().unwrap() * 1_000_000;
    let store = Embedded::open(Path::new(folder), &EmbeddedOptions::default()).unwrap();
    thread::scope(|scope| {
        for caller in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in (base + caller..base + 1_000_000).step_by(4) {
                    let keys = [index(2 * n), index(2 * n + 1)];
                    let write = insert(key(n), row(n), &keys, n % 3 != 0);
                    let outcome = block_on(store.write(None, vec![write]));
                    assert_eq!(outcome, Ok(vec![WriteOutcome::Inserted]));
                    println!("\nack {n}");
                }
            });
        }
    });
}

fn open(disk: &Disk) -> Result<Embedded, StoreError> {
    Embedded::on_backend(disk.clone(), &EmbeddedOptions::default())
}

/// The disk after its first `position` calls.
fn replay(disk: &Disk, position: usize) -> Vec<u8> {
    let mut log = disk.log();
    log.truncate(position);
    let mut cuts = Cuts::new(Vec::new(), log);
    while cuts.step().is_some() {}
    cuts.image(Unsynced::Kept, &mut ChaCha8Rng::seed_from_u64(0))
}

fn key(n: usize) -> RowKey {
    // Spread over the table.
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    RowKey::new(format!("domain {spread:016x} {n:010}").as_bytes()).unwrap()
}

fn index(n: usize) -> IndexKey {
    let spread = n.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    IndexKey::new(format!("domain v1 {spread:016x} {n:010}").as_bytes()).unwrap()
}

fn row(n: usize) -> Row {
    Row::new(&n.to_be_bytes().repeat(20)).unwrap()
}

fn insert(token: RowKey, row: Row, index: &[IndexKey], unique: bool) -> Write {
    Write::Insert {
        token,
        row,
        index: index.to_vec(),
        unique,
    }
}

/// All that a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Contents {
    rows: BTreeMap<RowKey, Row>,
    /// By row: the number of its index key, and whether it is unique there.
    entries: BTreeMap<RowKey, (usize, bool)>,
    guard: Option<Guard>,
    /// One more than the highest number there is.
    next: usize,
}

impl Contents {
    /// Reads everything, and checks that each row is in the index and that it is counted.
    fn read(store: &Embedded) -> Self {
        let mut contents = Self {
            guard: block_on(store.guard()).unwrap(),
            ..Self::default()
        };
        let mut after = None;
        loop {
            let page = block_on(store.scan(after, None, 1000)).unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            contents.rows.extend(page);
        }
        assert_eq!(block_on(store.count()), Ok(contents.rows.len() as u64));
        for key_ in contents.rows.keys() {
            let text = std::str::from_utf8(key_.as_bytes()).unwrap();
            let n: usize = text.rsplit(' ').next().unwrap().parse().unwrap();
            contents.next = contents.next.max(n + 1);
            // Either index scheme: one key of the same number, or two of twice the number.
            let found = block_on(store.find(vec![index(n), index(2 * n), index(2 * n + 1)]));
            let found = found.unwrap();
            let there = |at: usize| {
                let unique = found[at]
                    .unique
                    .as_ref()
                    .is_some_and(|(token, _)| token == key_);
                unique || found[at].others.contains(key_)
            };
            assert!(
                there(0) || (there(1) && there(2)),
                "row {n} is not in the index"
            );
            let unique = found[0]
                .unique
                .as_ref()
                .is_some_and(|(token, _)| token == key_);
            contents.entries.insert(*key_, (n, unique));
        }
        contents
    }

    /// A batch of at most `most` changes, all of which succeed, and what they lead to.
    fn random_batch(&self, random: &mut ChaCha8Rng, most: usize) -> (Vec<Write>, Self) {
        let mut next = self.clone();
        let mut number = self.next;
        let mut writes = Vec::new();
        for _ in 0..=below(random, most) {
            let from = key(random.next_u32() as usize);
            let picked = next.rows.range(from..).next().map(|(token, _)| *token);
            let new_row = row(random.next_u32() as usize);
            match (below(random, 10), picked) {
                (0, Some(token)) => {
                    let expected = next.rows.remove(&token).unwrap();
                    let (n, _) = next.entries.remove(&token).unwrap();
                    writes.push(Write::Delete {
                        token,
                        expected,
                        index: vec![index(n)],
                    });
                }
                (1 | 2, Some(token)) => {
                    let expected = next.rows.insert(token, new_row.clone()).unwrap();
                    writes.push(Write::Replace {
                        token,
                        expected,
                        row: new_row,
                    });
                }
                (3, _) => {
                    let guard = Guard::new(&random.next_u64().to_be_bytes()).unwrap();
                    let expected = next.guard.replace(guard.clone());
                    writes.push(Write::Guard { expected, guard });
                }
                _ => {
                    let n = number;
                    number += 1;
                    let unique = n.is_multiple_of(2);
                    next.rows.insert(key(n), new_row.clone());
                    next.entries.insert(key(n), (n, unique));
                    writes.push(insert(key(n), new_row, &[index(n)], unique));
                }
            }
        }
        next.next = next.entries.values().map(|(n, _)| n + 1).max().unwrap_or(0);
        (writes, next)
    }
}
