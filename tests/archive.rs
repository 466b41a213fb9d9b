//! Archives: what is restored is what was there; every change of an archive is noticed and named;
//! nothing is restored by halves.
#![cfg(feature = "embedded")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::cast_possible_truncation
)]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/golden.rs"]
mod golden;
#[path = "support/lines.rs"]
mod lines;

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardvault::SystemRandom;
use cardvault::archive::{
    ArchiveError, ArchiveHeader, ArchiveId, CHUNK_TEXT_MAX, Contents, restore_blocking, verify,
};
use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Component, Domain, Kek, KeyError, KeyName, KeyRing, KeyUse, RingMark};
use cardvault::ledger::{HistoryEntry, ImportEntry, Ledger, LedgerError, PaymentId, Source};
use cardvault::refund::{RefundEvent, Refusal};
use cardvault::seal::{MAX_SEALED_RING, open_ring_with_kek, seal_ring_with_kek};
use cardvault::token::Token;
use cardvault::vault::{
    AccessLogError, BlockingVault, Embedded, EmbeddedOptions, IndexKey, Item, LineLog, Memory, Row,
    RowKey, SnapshotStore, Store, Tokenize, Vault, VaultError, Write, WriteOutcome,
};
use desk::{
    NOW, access, add, audit_all, card, check_all, clock, cny, everything, ledger_of, open,
    open_with, payment_id, policy, refund, ring, ring_of, rng, sale,
};
use golden::{assert_golden, golden};
use lines::Lines;
use pollster::block_on;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

/// A chunk's head and tag: see the manual.
const HEAD: usize = 53;
const TAG: usize = 16;

fn seeded() -> ChaCha20Rng {
    rng(42)
}

fn kek() -> Kek {
    let components = [
        "0001 0203 0405 0607 0809 0A0B 0C0D 0E0F 1011 1213 1415 1617 1819 1A1B 1C1D 1E1F / 377822",
        "8087 8E95 9CA3 AAB1 B8BF C6CD D4DB E2E9 F0F7 FE05 0C13 1A21 282F 363D 444B 5259 / 957740",
    ];
    let components = components.map(|text| Component::parse(text.as_bytes()).unwrap());
    Kek::combine(&components, None).unwrap()
}

fn sealed(ring: &KeyRing) -> Vec<u8> {
    let mut out = vec![0; MAX_SEALED_RING];
    let len = seal_ring_with_kek(ring, &kek(), &mut rng(9), &mut out).unwrap();
    out.truncate(len);
    out
}

fn shops() -> [Domain; 2] {
    ["shop-1", "shop-2"].map(|name| name.parse().unwrap())
}

/// What a store was filled with, by those who got it.
struct Filled {
    tokens: Vec<(Domain, Token, CardRecord)>,
    histories: Vec<(Domain, PaymentId, Vec<HistoryEntry>)>,
}

/// Cards under convergent and other tokens, payments of them, and refunds in several states.
fn fill<S: Store>(vault: &BlockingVault<S>, count: u64) -> Filled {
    let ledger = ledger_of(vault);
    let mut filled = Filled {
        tokens: Vec::new(),
        histories: Vec::new(),
    };
    for domain in shops() {
        for n in 0..count {
            let how = if n % 3 == 0 {
                Tokenize::fresh()
            } else {
                Tokenize::convergent().expiring(NOW.plus(1000))
            };
            let token = vault.tokenize(&domain, &card(n % 4), &how).unwrap().token;
            filled.tokens.push((domain, token, card(n % 4)));
        }
        let entries: Vec<_> = (0..count)
            .map(|n| ImportEntry {
                payment: sale(n, 1000),
                card: (n % 2 == 0).then(|| card(n)),
            })
            .collect();
        ledger.import(&domain, &entries).unwrap();
        for n in 0..count {
            let ask = |number, minor| {
                ledger.request(&domain, &payment_id(n), &policy(), &refund(number, minor))
            };
            let asked = ask(10 * n, 300).unwrap().record;
            let events = [
                RefundEvent::Accepted,
                RefundEvent::NoAnswer,
                RefundEvent::Failed,
            ];
            let (merchant, number) = (&asked.merchant, &asked.number);
            if let Some(event) = events.get(n as usize % 4) {
                let source = Source::Centre;
                let moved = ledger.progress(&domain, merchant, number, *event, source, None);
                moved.unwrap();
            }
            let history = ledger.history(&domain, &payment_id(n)).unwrap();
            filled.histories.push((domain, payment_id(n), history));
        }
    }
    filled
}

fn assert_filled<S: Store>(vault: &BlockingVault<S>, filled: &Filled) {
    for (domain, token, card) in &filled.tokens {
        let opened = vault.detokenize(&access(), domain, token).unwrap();
        assert!(same(&opened.pan, &card.pan));
    }
    let ledger = ledger_of(vault);
    for (domain, id, history) in &filled.histories {
        assert_eq!(ledger.history(domain, id).unwrap(), *history);
    }
    assert_eq!(check_all(vault), (vault.stats().unwrap().tokens, 0));
    assert_eq!(audit_all(vault), filled.histories.len());
}

fn same(one: &Pan, other: &Pan) -> bool {
    one.expose(|one| other.expose(|other| one == other))
}

fn export_with<S: SnapshotStore>(vault: &BlockingVault<S>, ring: Option<&[u8]>) -> Vec<u8> {
    let mut export = vault.export(&access(), ring).unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = export.next().unwrap() {
        bytes.extend_from_slice(part);
    }
    assert_eq!(export.next(), Ok(None));
    bytes
}

fn export<S: SnapshotStore>(vault: &BlockingVault<S>) -> Vec<u8> {
    export_with(vault, None)
}

fn restore_into<S: Store>(archive: &[u8], store: &S) -> Result<Contents, ArchiveError> {
    restore_blocking(Cursor::new(archive), &ring(), store)
}

fn is_empty(store: &impl SnapshotStore) -> bool {
    everything(store, 10) == (None, Vec::new())
}

fn embedded() -> (tempfile::TempDir, Arc<Embedded>) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("vault");
    let store = Embedded::create(&place, &EmbeddedOptions::default()).unwrap();
    (folder, Arc::new(store))
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new())
}

/// Exports from one store and restores into another: everything is there again.
fn there_and_back<S: SnapshotStore, T: SnapshotStore>(from: Arc<S>, to: Arc<T>) {
    let vault = open(Arc::clone(&from));
    let filled = fill(&vault, 12);
    let ring = ring();
    let archive = export_with(&vault, Some(&sealed(&ring)));
    let contents = verify(&archive[..], &ring).unwrap();
    let before = everything(&from, 1000);
    let rows = before.1.iter().filter(|item| matches!(item, Item::Row(..)));
    assert_eq!(contents.rows, rows.count() as u64);
    assert_eq!(contents.rows + contents.entries, before.1.len() as u64);
    assert_eq!(contents.bytes, archive.len() as u64);
    assert_eq!(
        (contents.time, contents.generation),
        (NOW, ring.generation())
    );

    // All that is needed is in the archive, but what opens the ring.
    let header = ArchiveHeader::read(&mut &archive[..]).unwrap();
    assert_eq!(header.id, contents.id);
    let carried = open_ring_with_kek(&header.sealed_ring.unwrap(), &kek()).unwrap();
    let restored = restore_blocking(Cursor::new(&archive), &carried, &to);
    assert_eq!(restored, Ok(contents));
    assert!(everything(&to, 1000) == before, "the store is another");
    assert!(everything(&to, 3) == before, "pages of another size");
    let again = open_with(Arc::clone(&to), carried).unwrap();
    assert_filled(&again, &filled);
    // And it goes on from there: the card is known, the refund is counted.
    let [shop, _] = shops();
    let known = again.tokenize(&shop, &card(1), &Tokenize::convergent());
    assert!(known.unwrap().existing);
    let ledger = ledger_of(&again);
    let refused = ledger.request(&shop, &payment_id(0), &policy(), &refund(999, 701));
    assert!(matches!(
        refused,
        Err(LedgerError::Refused(Refusal::TotalExceeded { left, .. })) if left == cny(700)
    ));
}

#[test]
fn memory_to_disk() {
    let (_folder, disk) = embedded();
    there_and_back(memory(), disk);
}

#[test]
fn disk_to_memory() {
    let (_folder, disk) = embedded();
    there_and_back(disk, memory());
}

/// An archive with a ring in it, of a small store.
fn small() -> Vec<u8> {
    let vault = open(memory());
    fill(&vault, 1);
    export_with(&vault, Some(&sealed(&ring())))
}

/// Where each chunk begins, and at last the end.
fn chunks(archive: &[u8]) -> Vec<usize> {
    let guard = usize::from(archive[78]);
    let ring = &archive[79 + guard..81 + guard];
    let mut at = 81 + guard + usize::from(u16::from_be_bytes(ring.try_into().unwrap()));
    let mut found = vec![at];
    while at < archive.len() {
        let len = u32::from_be_bytes(archive[at + 1..at + 5].try_into().unwrap());
        at += HEAD + len as usize + TAG;
        found.push(at);
    }
    found
}

#[test]
fn every_bit_is_noticed() {
    let (archive, ring) = (small(), ring());
    let chunks = chunks(&archive);
    let mut changed = archive.clone();
    for at in 0..archive.len() {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            let error = verify(&changed[..], &ring).unwrap_err();
            // In the text or the tag of a chunk: that chunk, and where it begins.
            let of = chunks.iter().rposition(|start| *start <= at);
            if let Some(of) = of.filter(|of| at >= chunks[*of] + 29) {
                let (chunk, at) = (of as u64, chunks[of] as u64);
                assert_eq!(error, ArchiveError::Damaged { chunk, at });
            }
            changed[at] ^= 1 << bit;
        }
    }
    assert!(verify(&changed[..], &ring).is_ok());
    println!("bits flipped: {}", 8 * archive.len());
}

#[test]
fn every_truncation_is_noticed_and_what_is_left_over() {
    let (archive, ring) = (small(), ring());
    let first = chunks(&archive)[0];
    for len in 0..archive.len() {
        let error = verify(&archive[..len], &ring).unwrap_err();
        if len >= first {
            assert!(
                matches!(error, ArchiveError::Truncated { at, .. } if at == len as u64),
                "{len}: {error}"
            );
        }
    }
    let mut longer = archive.clone();
    longer.push(0);
    let at = archive.len() as u64;
    assert_eq!(
        verify(&longer[..], &ring),
        Err(ArchiveError::Trailing { at })
    );
    let twice = archive.repeat(2);
    assert_eq!(
        verify(&twice[..], &ring),
        Err(ArchiveError::Trailing { at })
    );
}

fn key(n: u64) -> RowKey {
    RowKey::new(format!("\x08domain-1{n:016}").as_bytes()).unwrap()
}

fn index(n: u64) -> IndexKey {
    IndexKey::new(format!("\x08domain-1 index {n:08}").as_bytes()).unwrap()
}

fn put_all(store: &impl Store, items: &[Item]) {
    for items in items.chunks(5000) {
        let writes: Vec<_> = items.iter().cloned().map(Write::Put).collect();
        let outcomes = block_on(store.write(None, writes)).unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Put));
    }
}

/// Rows of no meaning, that take several chunks.
fn large() -> BlockingVault<Arc<Memory>> {
    large_in(memory())
}

fn large_in(store: Arc<Memory>) -> BlockingVault<Arc<Memory>> {
    let vault = open(Arc::clone(&store));
    let row = Row::new(&[7; 300]).unwrap();
    let rows = (0..1000).map(|n| Item::Row(key(n), row.clone()));
    let entries = (0..1000).map(|n| Item::Unique(index(n), key(n)));
    put_all(&*store, &rows.chain(entries).collect::<Vec<_>>());
    vault
}

#[test]
fn chunks_stay_in_their_places() {
    let vault = large();
    let (archive, other) = (export(&vault), export(&vault));
    let ring = ring();
    let starts = chunks(&archive);
    let count = starts.len() - 1;
    assert!(count > 5, "{count} chunks");
    let part = |of: &[u8], n: usize| of[starts[n]..starts[n + 1]].to_vec();
    let build = |order: &[usize]| {
        let mut built = archive[..starts[0]].to_vec();
        order.iter().for_each(|n| built.extend(part(&archive, *n)));
        verify(&built[..], &ring)
    };
    let renumbered = |order: &[usize]| {
        let mut built = archive[..starts[0]].to_vec();
        for (number, n) in (0_u64..).zip(order) {
            let mut chunk = part(&archive, *n);
            chunk[5..13].copy_from_slice(&number.to_be_bytes());
            built.extend(chunk);
        }
        verify(&built[..], &ring)
    };
    let whole: Vec<_> = (0..count).collect();
    assert!(build(&whole).is_ok());
    for at in 0..count {
        let place = starts[at] as u64;
        let out_of_place = |found: usize| {
            Err(ArchiveError::OutOfPlace {
                chunk: at as u64,
                found: found as u64,
                at: place,
            })
        };
        for other in at + 1..count {
            let mut swapped = whole.clone();
            swapped.swap(at, other);
            assert_eq!(build(&swapped), out_of_place(other));
            // The same with numbers that fit.
            let chunk = at as u64;
            let damaged = ArchiveError::Damaged { chunk, at: place };
            assert_eq!(renumbered(&swapped), Err(damaged));
        }
        let mut dropped = whole.clone();
        dropped.remove(at);
        if at + 1 == count {
            let cut = ArchiveError::Truncated {
                chunk: at as u64,
                at: place,
            };
            assert_eq!(build(&dropped), Err(cut));
        } else {
            assert_eq!(build(&dropped), out_of_place(at + 1));
            let chunk = at as u64;
            let damaged = ArchiveError::Damaged { chunk, at: place };
            assert_eq!(renumbered(&dropped), Err(damaged));
        }
        let mut repeated = whole.clone();
        repeated.insert(at + 1, at);
        assert!(build(&repeated).is_err());
        assert!(renumbered(&repeated).is_err());
        // A chunk of another archive of the same store, as it is and under this archive's id.
        let mut spliced = archive.clone();
        let theirs = part(&other, at);
        spliced[starts[at]..starts[at + 1]].copy_from_slice(&theirs);
        let chunk = at as u64;
        let error = Err(ArchiveError::OtherArchive { chunk, at: place });
        assert_eq!(verify(&spliced[..], &ring), error);
        spliced[starts[at] + 13..starts[at] + 29].copy_from_slice(&archive[34..50]);
        let error = Err(ArchiveError::Damaged { chunk, at: place });
        assert_eq!(verify(&spliced[..], &ring), error);
    }
    // The head of one archive and the chunks of another.
    let mut headed = archive[..starts[0]].to_vec();
    headed.extend_from_slice(&other[starts[0]..]);
    let at = starts[0] as u64;
    let error = Err(ArchiveError::OtherArchive { chunk: 0, at });
    assert_eq!(verify(&headed[..], &ring), error);
}

#[test]
fn a_damaged_archive_writes_nothing() {
    let vault = large();
    let archive = export(&vault);
    let store = memory();
    for at in [40, 100, 5000, archive.len() - 1] {
        let mut changed = archive.clone();
        changed[at] ^= 1;
        assert!(restore_into(&changed, &store).is_err());
        assert!(restore_into(&archive[..at], &store).is_err());
        assert!(is_empty(&store));
    }
    restore_into(&archive, &store).unwrap();
}

#[test]
fn other_rings_are_refused() {
    let archive = small();
    let error = |ring: &KeyRing| verify(&archive[..], ring).unwrap_err();
    let development = ring_of(RingMark::Development, 1);
    let archive_mark = RingMark::Production;
    let other_mark = ArchiveError::OtherMark {
        archive: archive_mark,
    };
    assert_eq!(error(&development), other_mark);
    let into = memory();
    let refused = restore_blocking(Cursor::new(&archive), &development, &into);
    assert_eq!(refused, Err(other_mark));
    assert!(is_empty(&into));
    assert_eq!(
        error(&ring_of(RingMark::Production, 2)),
        ArchiveError::OtherRing
    );

    // An archive of a development ring into production.
    let vault = open_with(memory(), ring_of(RingMark::Development, 1)).unwrap();
    let mark = RingMark::Development;
    assert_eq!(
        verify(&export(&vault)[..], &ring()),
        Err(ArchiveError::OtherMark { archive: mark })
    );

    // An older ring, and a newer one with and without the archive's key.
    let mut newer = ring();
    let name = add(&mut newer, KeyUse::Archive, &mut rng(3));
    let vault = open_with(memory(), ring()).unwrap();
    let before = export(&vault);
    assert!(verify(&before[..], &newer).is_ok());
    let mut newest = ring();
    add(&mut newest, KeyUse::Archive, &mut rng(3));
    vault.set_ring(newest).unwrap();
    let after = export(&vault);
    let stale = VaultError::StaleRing {
        ring: ring().generation(),
        seen: newer.generation(),
    };
    assert_eq!(verify(&after[..], &ring()), Err(ArchiveError::Vault(stale)));
    assert!(verify(&after[..], &newer).is_ok());
    newer
        .destroy(KeyName::new(KeyUse::Archive, 1), NOW)
        .unwrap();
    let destroyed = KeyError::Destroyed {
        name: KeyName::new(KeyUse::Archive, 1),
    };
    assert_eq!(
        verify(&before[..], &newer),
        Err(ArchiveError::Vault(VaultError::Key(destroyed)))
    );
    assert!(verify(&after[..], &newer).is_ok());
    // A copy of the ring that was changed apart.
    let mut forked = ring();
    add(&mut forked, KeyUse::Archive, &mut rng(4));
    assert!(verify(&after[..], &forked).is_err());
    // A retired key seals no archive.
    newer.deactivate(name, NOW).unwrap();
    let vault = open_with(memory(), newer).unwrap();
    let usage = KeyUse::Archive;
    let none = ArchiveError::Vault(VaultError::Key(KeyError::NoActive { usage }));
    assert_eq!(vault.export(&access(), None).unwrap_err(), none);
}

#[test]
fn a_ring_from_before_archives_says_what_is_missing() {
    let mut rng = rng(1);
    let mut ring = KeyRing::new(RingMark::Production, &mut rng).unwrap();
    let usage = KeyUse::Archive;
    for usage in KeyUse::ALL.into_iter().filter(|one| *one != usage) {
        add(&mut ring, usage, &mut rng);
    }
    let vault = open_with(memory(), ring).unwrap();
    let refused = vault.export(&access(), None).unwrap_err();
    assert_eq!(
        refused,
        ArchiveError::Vault(VaultError::Key(KeyError::NoActive { usage }))
    );
    assert_eq!(refused.to_string(), "no archive key is active");
}

#[test]
fn the_ring_that_goes_along_is_the_one_in_use() {
    let vault = open(memory());
    let other = sealed(&ring_of(RingMark::Production, 2));
    let refused = vault.export(&access(), Some(&other)).unwrap_err();
    assert_eq!(refused, ArchiveError::OtherSealedRing);
    let mut newer = ring();
    add(&mut newer, KeyUse::Card, &mut rng(3));
    let refused = vault.export(&access(), Some(&sealed(&newer))).unwrap_err();
    assert_eq!(refused, ArchiveError::OtherSealedRing);
    let refused = vault.export(&access(), Some(b"no ring")).unwrap_err();
    assert!(matches!(refused, ArchiveError::SealedRing(_)));
}

#[test]
fn only_an_empty_store_is_filled() {
    let archive = small();
    let store = memory();
    open(Arc::clone(&store));
    let refused = Err(ArchiveError::NotEmpty);
    assert_eq!(restore_into(&archive, &store), refused);
    let store = memory();
    put_all(&*store, &[Item::Row(key(1), Row::new(b"x").unwrap())]);
    assert_eq!(restore_into(&archive, &store), refused);
    // Also one that was restored.
    let store = memory();
    restore_into(&archive, &store).unwrap();
    assert_eq!(restore_into(&archive, &store), refused);
}

/// Fails after so many bytes.
struct Breaks {
    inner: Cursor<Vec<u8>>,
    left: usize,
}

impl Read for Breaks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(self.left);
        if len == 0 && !out.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let read = self.inner.read(&mut out[..len])?;
        self.left -= read;
        Ok(read)
    }
}

impl Seek for Breaks {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn an_interrupted_restore_is_noticed_and_goes_on() {
    let from = memory();
    let vault = large_in(Arc::clone(&from));
    let (archive, other) = (export(&vault), export(&vault));
    let whole = everything(&from, 1000);
    let (_folder, store) = embedded();
    // The header is read three times, the rest twice: it breaks in the second half of the last.
    let header = chunks(&archive)[0];
    let broken = Breaks {
        left: 2 * header + archive.len() + archive.len() * 9 / 10,
        inner: Cursor::new(archive.clone()),
    };
    let reset = ArchiveError::Io(io::ErrorKind::ConnectionReset);
    assert_eq!(restore_blocking(broken, &ring(), &store), Err(reset));
    assert!(block_on(store.count()).unwrap() > 0 || block_on(store.guard()).unwrap().is_some());
    let unfinished = open_with(Arc::clone(&store), ring()).err();
    assert_eq!(unfinished, Some(VaultError::RestoreUnfinished));
    assert_eq!(
        restore_into(&other, &store),
        Err(ArchiveError::OtherRestore)
    );
    // Something else that writes between is noticed.
    let stray = [Item::Row(key(100_000), Row::new(b"stray").unwrap())];
    put_all(&*store, &stray);
    assert_eq!(
        restore_into(&archive, &store),
        Err(ArchiveError::StoreChanged)
    );
    let unfinished = open_with(Arc::clone(&store), ring()).err();
    assert_eq!(unfinished, Some(VaultError::RestoreUnfinished));
    let Item::Row(token, expected) = stray[0].clone() else {
        return;
    };
    let delete = Write::Delete {
        token,
        expected,
        index: Vec::new(),
    };
    block_on(store.write(None, vec![delete])).unwrap();
    restore_into(&archive, &store).unwrap();
    assert!(everything(&store, 1000) == whole);
    open(store);
}

#[test]
fn an_export_is_logged_before_its_first_byte() {
    static LINES: Lines = Lines(Mutex::new(Some(Vec::new())));
    let vault = BlockingVault::open_with(memory(), ring(), &LINES, || SystemRandom, clock);
    let vault = vault.unwrap();
    let export = vault.export(&access(), None).unwrap();
    let line = "time=1800000000 operation=export outcome=granted actor=\"backup\" \
                purpose=\"nightly\" origin=\"host-1\" domain=*";
    assert_eq!(*LINES.0.lock().unwrap(), Some(vec![line.to_owned()]));
    drop(export);
    let refused = vault.export(&access(), Some(b"no ring"));
    assert!(refused.is_err());
    let line = line.replace("granted", "refused");
    assert_eq!(LINES.0.lock().unwrap().as_ref().unwrap()[1], line);
    *LINES.0.lock().unwrap() = None;
    let refused = vault.export(&access(), None).unwrap_err();
    assert_eq!(
        refused,
        ArchiveError::Vault(VaultError::Log(AccessLogError))
    );
}

/// Exports again and again while others tokenize and refund: each archive is one moment.
fn while_others_write<S: SnapshotStore>(from: Arc<S>) {
    let vault = open(Arc::clone(&from));
    let [shop, _] = shops();
    let ledger = ledger_of(&vault);
    let entries: Vec<_> = (0..20).map(|n| sale(n, 1_000_000)).collect();
    ledger
        .record_batch(&shop, &entries, Source::Centre)
        .unwrap();
    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(1000));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let how = Tokenize::convergent();
                    vault.tokenize(&shop, &card(n), &how).unwrap();
                    let request = refund(n, 1);
                    let id = payment_id(n % 20);
                    ledger.request(&shop, &id, &policy(), &request).unwrap();
                    let (merchant, number) = (&request.merchant, &request.number);
                    let event = RefundEvent::Accepted;
                    let moved =
                        ledger.progress(&shop, merchant, number, event, Source::Centre, None);
                    moved.unwrap();
                    // Histories that are not too long to be audited.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let mut sizes: Vec<u64> = Vec::new();
        for _ in 0..4 {
            let before = block_on(from.count()).unwrap();
            let archive = export(&vault);
            let store = memory();
            let contents = restore_into(&archive, &store).unwrap();
            assert!(contents.rows >= before, "what was there before is missing");
            let restored = open(store);
            let stats = restored.stats().unwrap();
            assert_eq!(check_all(&restored), (stats.tokens, 0));
            assert_eq!(audit_all(&restored), 20);
            sizes.push(contents.rows);
            while block_on(from.count()).unwrap() <= contents.rows {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        println!("rows while others wrote: {sizes:?}");
        assert!(sizes.is_sorted_by(|one, next| one < next), "nobody wrote");
    });
}

#[test]
fn export_from_memory_while_others_write() {
    while_others_write(memory());
}

#[test]
fn export_from_disk_while_others_write() {
    let (_folder, disk) = embedded();
    while_others_write(disk);
}

fn short_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0_u8..3, 1..4),
        prop::collection::vec(any::<u8>(), 1..=80),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let key = || short_bytes().prop_map(|bytes| RowKey::new(&bytes).unwrap());
    let index = || short_bytes().prop_map(|bytes| IndexKey::new(&bytes).unwrap());
    let row = prop::collection::vec(any::<u8>(), 0..=512);
    prop_oneof![
        (key(), row).prop_map(|(key, row)| Item::Row(key, Row::new(&row).unwrap())),
        (index(), key()).prop_map(|(index, key)| Item::Unique(index, key)),
        (index(), key()).prop_map(|(index, key)| Item::Other(index, key)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_store_there_and_back(items in prop::collection::vec(item(), 0..300)) {
        let (from, to) = (memory(), memory());
        let vault = open(Arc::clone(&from));
        put_all(&*from, &items);
        let archive = export(&vault);
        let contents = restore_into(&archive, &to).unwrap();
        let before = everything(&from, 1000);
        prop_assert!(before.1.windows(2).all(|pair| pair[1].follows(&pair[0])));
        prop_assert_eq!(contents.rows + contents.entries, before.1.len() as u64);
        prop_assert!(everything(&to, 11) == before);
        // The text depends on what is in the store alone.
        let again = export(&open(to));
        prop_assert_eq!(again.len(), archive.len());
    }
}

/// The archive of the golden file: everything of it is seeded.
fn golden_archive() -> Vec<u8> {
    let log = LineLog::new(io::sink());
    let vault = block_on(Vault::open_with(memory(), ring(), log, seeded, clock)).unwrap();
    let vault = Arc::new(vault);
    let [shop, _] = shops();
    let how = Tokenize::convergent();
    block_on(vault.tokenize(&shop, &card(1), &how)).unwrap();
    let ledger = Ledger::new(Arc::clone(&vault)).blocking();
    ledger
        .record(&shop, &sale(1, 1000), Source::Centre)
        .unwrap();
    let ring = sealed(&ring());
    block_on(async {
        let mut export = vault.export(&access(), Some(&ring)).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(part) = export.next().await.unwrap() {
            bytes.extend_from_slice(part);
        }
        bytes
    })
}

#[test]
fn the_format_is_frozen() {
    assert_golden("archive-guard-2.hex", &golden_archive());
    // The vault's guard in the older one has version 1.
    for golden in ["archive.hex", "archive-guard-2.hex"].map(golden) {
        let store = memory();
        let contents = restore_into(&golden, &store).unwrap();
        assert_eq!(
            contents.id,
            ArchiveId::from_bytes(golden[34..50].try_into().unwrap())
        );
        let restored = open(store);
        assert_eq!((check_all(&restored), audit_all(&restored)), ((1, 0), 1));
    }
}

#[test]
fn any_bytes_are_refused() {
    let ring = ring();
    let mut random = rng(5);
    assert_eq!(verify(&[][..], &ring), Err(ArchiveError::NotAnArchive));
    for len in 0..300 {
        let mut bytes = vec![0; len];
        random.fill_bytes(&mut bytes);
        assert_eq!(verify(&bytes[..], &ring), Err(ArchiveError::NotAnArchive));
        let magic = [b"CVARCH\r\n\x01\x01", &bytes[..]].concat();
        assert!(verify(&magic[..], &ring).is_err());
    }
    let newer = b"CVARCH\r\n\x02";
    assert_eq!(
        verify(&newer[..], &ring),
        Err(ArchiveError::Version { found: 2 })
    );
    const { assert!(CHUNK_TEXT_MAX == 65_536) };
}
