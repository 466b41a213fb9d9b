//! An index version is filled, read and dropped while others read and write: every card keeps its
//! token and is found, whoever asks with whatever ring, and whatever fails in between.
#![cfg(all(feature = "vault", feature = "embedded"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

#[cfg(feature = "postgres")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/desk.rs"]
mod desk;
#[macro_use]
#[path = "support/forward.rs"]
mod forward;
#[cfg(feature = "postgres")]
#[path = "support/worker.rs"]
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use cardvault::SystemRandom;
use cardvault::archive::restore_blocking;
use cardvault::keys::{Cryptoperiod, Domain, KeyName, KeyRing, KeyUse};
use cardvault::ledger::ImportEntry;
use cardvault::token::{KeepFirst, KeepLast, Token, VaultedFormat};
use cardvault::vault::{
    BlockingVault, Embedded, EmbeddedOptions, Guard, IndexFill, Item, LineLog, Memory,
    SnapshotStore, Store, StoreError, Tokenize, Vault, VaultError, Write, WriteOutcome,
};
use desk::{
    NOW, access, add, card, check_all, clock, everything, ledger_of, ring, rng, sale, shop,
};
use pollster::block_on;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

type Shared<S> = BlockingVault<Arc<S>>;

fn index(version: u32) -> KeyName {
    KeyName::new(KeyUse::Index, version)
}

/// Adds an index version and begins to fill it.
fn begin(ring: &mut KeyRing, seed: u8) -> KeyName {
    let period = Cryptoperiod::default_of(KeyUse::Index);
    let name = ring.add(KeyUse::Index, period, NOW, &mut rng(seed));
    let name = name.unwrap();
    ring.begin_filling(name).unwrap();
    name
}

/// Raises the generation and changes nothing that a vault uses.
fn pass_time(ring: &mut KeyRing, seed: u8) {
    let period = Cryptoperiod::default_of(KeyUse::Irreversible);
    let added = ring.add(KeyUse::Irreversible, period, NOW, &mut rng(seed));
    added.unwrap();
}

/// The ring after so many steps. Each rotation is two: a version is filled, and then it is read.
fn ring_at(steps: u64) -> KeyRing {
    let mut ring = ring();
    for step in 0..steps {
        let version = u32::try_from(step / 2 + 2).unwrap();
        if step % 2 == 0 {
            begin(&mut ring, 100 + u8::try_from(version).unwrap());
        } else {
            ring.activate(index(version), NOW).unwrap();
        }
    }
    ring
}

fn open_at<S: Store>(store: &Arc<S>, steps: u64) -> Result<Shared<S>, VaultError> {
    desk::open_with(Arc::clone(store), ring_at(steps))
}

/// A vault that takes newer rings from where `steps` says how far the ring is.
fn open_with_source<S: Store>(
    store: &Arc<S>,
    steps: &Arc<AtomicU64>,
) -> Result<Shared<S>, VaultError> {
    let ring = ring_at(steps.load(Ordering::SeqCst));
    let log = LineLog::new(io::sink());
    let vault = Vault::open_with(Arc::clone(store), ring, log, || SystemRandom, clock);
    let steps = Arc::clone(steps);
    let source = move || Some(ring_at(steps.load(Ordering::SeqCst)));
    Ok(block_on(vault)?.with_ring_source(source).blocking())
}

fn fill_all<S: Store>(vault: &BlockingVault<S>, limit: usize) -> IndexFill {
    loop {
        let step = vault.fill_index(limit).unwrap();
        if step.done {
            return step;
        }
    }
}

/// How many rows were moved and how many left.
fn drop_all<S: Store>(vault: &BlockingVault<S>, limit: usize) -> (u64, usize) {
    let (mut after, mut moved, mut left) = (None, 0, 0);
    loop {
        let step = vault.drop_index(after, limit).unwrap();
        moved += step.moved;
        left += step.left.len();
        after = step.cursor;
        if after.is_none() {
            return (moved, left);
        }
    }
}

/// The index versions that the store has entries of.
fn standing(store: &impl SnapshotStore) -> Vec<u32> {
    let mut versions = BTreeSet::new();
    for item in everything(store, 100).1 {
        let (Item::Unique(key, _) | Item::Other(key, _)) = item else {
            continue;
        };
        let len = usize::from(key.as_bytes()[0]);
        if len <= 32 {
            let version = key.as_bytes()[1 + len..5 + len].try_into().unwrap();
            versions.insert(u32::from_be_bytes(version));
        }
    }
    versions.into_iter().collect()
}

fn tokenize<S: Store>(vault: &BlockingVault<S>, n: u64) -> Token {
    let how = Tokenize::convergent();
    vault.tokenize(&shop(), &card(n), &how).unwrap().token
}

fn tokens_of<S: Store>(vault: &BlockingVault<S>, n: u64) -> Vec<Token> {
    let found = vault.find(&access(), &shop(), &card(n).pan).unwrap();
    assert!(found.unopenable.is_empty());
    found.tokens
}

const NOT_FILLED: Option<VaultError> = Some(VaultError::IndexNotFilled {
    reads: 2,
    filled: 1,
});

#[test]
fn a_rotation_from_begin_to_end() {
    for destroyed_early in [false, true] {
        let store = Arc::new(Memory::new());
        let vault = open_at(&store, 0).unwrap();
        let other: Domain = "another shop".parse().unwrap();
        let format = VaultedFormat::new(KeepFirst::Six, KeepLast::Four, 16).unwrap();
        let shaped = Tokenize::fresh().card_shaped(format);
        let mut kept = Vec::new();
        for n in 0..8 {
            for domain in [shop(), other] {
                for how in [Tokenize::convergent(), Tokenize::fresh(), shaped] {
                    let token = vault.tokenize(&domain, &card(n), &how).unwrap().token;
                    kept.push((domain, n, token));
                }
            }
        }
        let take_out = |kept: &mut Vec<(Domain, u64, Token)>, at| {
            let (domain, _, token) = kept.swap_remove(at);
            vault.delete(&access(), &domain, &token).unwrap();
        };
        let whole = |kept: &[(Domain, u64, Token)]| {
            for n in 0..10 {
                for domain in [shop(), other] {
                    let of = |kept: &&(Domain, u64, Token)| (kept.0, kept.1) == (domain, n);
                    let expected: BTreeSet<_> = kept.iter().filter(of).collect();
                    let expected: BTreeSet<_> = expected
                        .into_iter()
                        .map(|kept| kept.2.to_string())
                        .collect();
                    let found = vault.find(&access(), &domain, &card(n).pan).unwrap();
                    let found: BTreeSet<_> = found.tokens.iter().map(Token::to_string).collect();
                    assert_eq!(found, expected, "card {n}");
                }
            }
            let rows = u64::try_from(kept.len()).unwrap();
            assert_eq!(check_all(&vault), (rows, 0));
        };
        assert_eq!(vault.fill_index(3), Err(VaultError::NotFilling));
        vault.set_ring(ring_at(1)).unwrap();
        assert_eq!(vault.set_ring(ring_at(2)).err(), NOT_FILLED);
        let step = vault.fill_index(7).unwrap();
        assert_eq!((step.version, step.seen, step.seen_in_all), (2, 7, 7));
        assert!(!step.done && !step.filled);
        let unfinished = Err(VaultError::FillUnfinished { left: 0 });
        assert_eq!(vault.fill_leaving(0), unfinished);
        assert_eq!(vault.set_ring(ring_at(2)).err(), NOT_FILLED);
        // Rows before and behind the place where the filling stands.
        for at in [40, 23, 11, 2] {
            take_out(&mut kept, at);
        }
        for (domain, _, token) in &kept {
            let expires = Some(NOW.plus(1_000));
            vault.set_expiry(domain, token, expires).unwrap();
        }
        kept.push((shop(), 9, tokenize(&vault, 9)));
        whole(&kept);
        let end = fill_all(&vault, 7);
        assert!(end.filled && end.left_in_all == 0);
        assert_eq!(standing(&*store), [1, 2]);
        take_out(&mut kept, 5);
        kept.push((other, 9, {
            let how = Tokenize::convergent();
            vault.tokenize(&other, &card(9), &how).unwrap().token
        }));
        whole(&kept);
        vault.set_ring(ring_at(2)).unwrap();
        take_out(&mut kept, 8);
        whole(&kept);
        assert_eq!(vault.fill_index(3), Err(VaultError::NotFilling));
        let rows = u64::try_from(kept.len()).unwrap();
        assert_eq!(
            vault.index_rows().unwrap(),
            BTreeMap::from([(index(1), rows)])
        );
        let mut destroyed = ring_at(2);
        destroyed.destroy(index(1), NOW).unwrap();
        if destroyed_early {
            vault.set_ring(destroyed).unwrap();
            assert_eq!(drop_all(&vault, 7), (rows, 0));
        } else {
            assert_eq!(drop_all(&vault, 7), (rows, 0));
            vault.set_ring(destroyed).unwrap();
        }
        assert_eq!(standing(&*store), [2]);
        assert_eq!(
            vault.index_rows().unwrap(),
            BTreeMap::from([(index(2), rows)])
        );
        // Nothing but the rows is left.
        assert_eq!(vault.count(), Ok(rows));
        assert_eq!(drop_all(&vault, 7), (0, 0));
        whole(&kept);
        for (domain, n, token) in &kept {
            let opened = vault.detokenize(&access(), domain, token).unwrap();
            assert_eq!(opened.pan.mask(), card(*n).pan.mask());
            vault.delete(&access(), domain, token).unwrap();
        }
        assert!(standing(&*store).is_empty());
    }
}

#[test]
fn rows_of_an_older_version_move_along() {
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 0).unwrap();
    let tokens: Vec<_> = (0..5).map(|n| tokenize(&vault, n)).collect();
    for steps in 1..6 {
        vault.set_ring(ring_at(steps)).unwrap();
        if steps % 2 == 1 {
            assert!(fill_all(&vault, 2).filled);
        }
    }
    // Nothing was dropped, and yet no row stands under more than it has to.
    assert_eq!(standing(&*store), [3, 4]);
    vault.set_ring(ring_at(6)).unwrap();
    drop_all(&vault, 2);
    assert_eq!(standing(&*store), [4]);
    for (n, token) in (0..).zip(&tokens) {
        assert_eq!(tokens_of(&vault, n), [*token]);
        assert_eq!(tokenize(&vault, n), *token);
    }
}

#[test]
fn two_rotations_at_once_and_rings_that_go_back() {
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 0).unwrap();
    let token = tokenize(&vault, 1);
    let generation = ring_at(1).generation();
    vault.set_ring(ring_at(1)).unwrap();
    // Another copy of the ring, whose version of the same number is another key.
    let mut fork = ring();
    begin(&mut fork, 200);
    let mut other = ring();
    begin(&mut other, 200);
    pass_time(&mut other, 201);
    assert_eq!(
        vault.set_ring(fork).err(),
        Some(VaultError::ForkedRing { generation })
    );
    assert_eq!(
        vault.set_ring(other).err(),
        Some(VaultError::ForkedRing {
            generation: generation + 1
        })
    );
    let stale = |steps| {
        let open = open_at(&store, steps).err();
        assert!(matches!(open, Some(VaultError::StaleRing { .. })));
    };
    stale(0);
    assert!(fill_all(&vault, 10).filled);
    stale(0);
    vault.set_ring(ring_at(2)).unwrap();
    stale(0);
    stale(1);
    // The other way round: what is read would be another key.
    let mut fork = ring();
    begin(&mut fork, 200);
    fork.activate(index(2), NOW).unwrap();
    pass_time(&mut fork, 201);
    assert!(matches!(
        vault.set_ring(fork).err(),
        Some(VaultError::ForkedRing { .. })
    ));
    assert_eq!(tokenize(&vault, 1), token);
}

/// Who filled before others wrote without the new version has to begin anew.
#[test]
fn a_filling_that_was_interrupted_begins_anew() {
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 0).unwrap();
    for n in 0..10 {
        tokenize(&vault, n);
    }
    vault.set_ring(ring_at(1)).unwrap();
    for _ in 0..2 {
        vault.fill_index(4).unwrap();
    }
    // A copy of the ring that was changed apart, and does not fill.
    let mut apart = ring();
    for seed in 50..54 {
        pass_time(&mut apart, seed);
    }
    vault.set_ring(apart).unwrap();
    let late: Vec<_> = (10..40).map(|n| tokenize(&vault, n)).collect();
    // And the first copy again.
    let mut again = ring_at(1);
    for seed in 60..66 {
        pass_time(&mut again, seed);
    }
    vault.set_ring(again).unwrap();
    let step = vault.fill_index(4).unwrap();
    assert_eq!((step.seen, step.seen_in_all), (4, 4));
    let end = fill_all(&vault, 4);
    assert!(end.filled && end.seen_in_all == 40);
    // The guard keeps what is filled when the ring goes on in other ways.
    let mut next = ring_at(1);
    for seed in 60..68 {
        pass_time(&mut next, seed);
    }
    next.activate(index(2), NOW).unwrap();
    vault.set_ring(next).unwrap();
    for (n, token) in (10..40).zip(late) {
        assert_eq!(tokens_of(&vault, n), [token]);
    }
    // A version that is given up counts for nothing.
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 0).unwrap();
    tokenize(&vault, 1);
    vault.set_ring(ring_at(1)).unwrap();
    assert!(fill_all(&vault, 4).filled);
    let given_up = || {
        let mut ring = ring_at(1);
        ring.destroy(index(2), NOW).unwrap();
        ring
    };
    vault.set_ring(given_up()).unwrap();
    assert_eq!(vault.fill_index(4), Err(VaultError::NotFilling));
    let mut third = given_up();
    begin(&mut third, 103);
    vault.set_ring(third).unwrap();
    let step = vault.fill_index(4).unwrap();
    assert_eq!((step.version, step.seen, step.filled), (3, 1, true));
}

#[test]
fn rows_that_do_not_open_are_left_and_named() {
    let rings = || {
        let mut ring = ring();
        let second = |ring: &mut KeyRing| add(ring, KeyUse::Card, &mut rng(70));
        second(&mut ring);
        ring
    };
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 0).unwrap();
    let lost: Vec<_> = (0..3).map(|n| tokenize(&vault, n)).collect();
    vault.set_ring(rings()).unwrap();
    let kept: Vec<_> = (3..9).map(|n| tokenize(&vault, n)).collect();
    let destroyed = || {
        let mut ring = rings();
        ring.destroy(KeyName::new(KeyUse::Card, 1), NOW).unwrap();
        begin(&mut ring, 102);
        ring
    };
    vault.set_ring(destroyed()).unwrap();
    let mut named = BTreeSet::new();
    let end = loop {
        let step = vault.fill_index(4).unwrap();
        for left in &step.left {
            let (domain, token) = left.token.unwrap();
            assert_eq!(
                (domain, left.why),
                (shop(), VaultError::Unopenable { token })
            );
            named.insert(token.to_string());
        }
        if step.done {
            break step;
        }
    };
    assert!(!end.filled);
    assert_eq!(end.left_in_all, 3);
    assert_eq!(named, lost.iter().map(Token::to_string).collect());
    let switched = || {
        let mut ring = destroyed();
        ring.activate(index(2), NOW).unwrap();
        ring
    };
    assert_eq!(vault.set_ring(switched()).err(), NOT_FILLED);
    for wrong in [0, 2, 4] {
        let unfinished = Err(VaultError::FillUnfinished { left: 3 });
        assert_eq!(vault.fill_leaving(wrong), unfinished);
    }
    // Two are deleted; another pass finds one, which is left for good.
    for token in &lost[..2] {
        vault.delete(&access(), &shop(), token).unwrap();
    }
    let step = vault.fill_index(4).unwrap();
    assert_eq!(step.seen_in_all, 4);
    let end = fill_all(&vault, 4);
    assert_eq!((end.filled, end.left_in_all), (false, 1));
    vault.fill_leaving(1).unwrap();
    vault.set_ring(switched()).unwrap();
    assert_eq!(drop_all(&vault, 4), (6, 1));
    let old = BTreeMap::from([(index(1), 1), (index(2), 6)]);
    assert_eq!(vault.index_rows().unwrap(), old);
    assert_ne!(tokenize(&vault, 2), lost[2]);
    vault.delete(&access(), &shop(), &lost[2]).unwrap();
    assert_eq!(standing(&*store), [2]);
    for (n, token) in (3..9).zip(kept) {
        assert_eq!(tokenize(&vault, n), token);
    }
}

/// Of a vault whose ring is behind.
#[test]
fn a_ring_that_is_behind_is_noticed_by_every_look_up() {
    let store = Arc::new(Memory::new());
    let steps = Arc::new(AtomicU64::new(0));
    let operator = open_at(&store, 0).unwrap();
    let how = Tokenize::fresh();
    let mut tokens = vec![tokenize(&operator, 1)];
    for _ in 0..5 {
        tokens.push(operator.tokenize(&shop(), &card(1), &how).unwrap().token);
    }
    let behind = open_at(&store, 0).unwrap();
    let sourced = open_with_source(&store, &steps).unwrap();
    operator.set_ring(ring_at(1)).unwrap();
    fill_all(&operator, 3);
    operator.set_ring(ring_at(2)).unwrap();
    let stale = |error: Option<VaultError>| {
        let stale = matches!(error, Some(VaultError::StaleRing { .. }));
        assert!(stale, "{error:?}");
    };
    stale(behind.drop_index(None, 10).err());
    // What was sealed under a newer card key is not called lost.
    let mut newest = ring_at(2);
    add(&mut newest, KeyUse::Card, &mut rng(71));
    operator.set_ring(newest).unwrap();
    operator.rewrap(None, 100).unwrap();
    stale(behind.detokenize(&access(), &shop(), &tokens[0]).err());
    let convergent = Tokenize::convergent();
    stale(behind.tokenize(&shop(), &card(1), &convergent).err());
    let imported = ledger_of(&behind).import(&shop(), &[entry(1, 1)]);
    let imported = imported.err();
    let is_stale = format!("{imported:?}").contains("StaleRing");
    assert!(is_stale, "{imported:?}");
    // Some of the card's entries are gone from the index that the others read.
    operator.drop_index(None, 3).unwrap();
    let look = |vault: &Shared<Memory>, n| vault.find(&access(), &shop(), &card(n).pan);
    stale(look(&behind, 1).err());
    stale(look(&behind, 7).err());
    stale(behind.tokenize(&shop(), &card(7), &how).err());
    stale(behind.check(None, 10).err());
    stale(behind.fill_index(1).err());
    stale(behind.delete(&access(), &shop(), &tokens[0]).err());
    // A source that is behind too.
    stale(look(&sourced, 1).err());
}

/// A call that meets a newer ring takes it from the source and goes on.
#[test]
fn with_a_source_nothing_fails() {
    type Call = fn(&Shared<Memory>, &Token);
    let calls: [Call; 10] = [
        |vault, token| assert_eq!(tokenize(vault, 1), *token),
        |vault, _| assert_eq!(tokenize(vault, 50), tokenize(vault, 50)),
        |vault, token| assert_eq!(tokens_of(vault, 1), [*token]),
        |vault, _| assert!(tokens_of(vault, 51).is_empty()),
        |vault, token| drop(vault.detokenize(&access(), &shop(), token).unwrap()),
        |vault, token| vault.set_expiry(&shop(), token, None).unwrap(),
        |vault, token| vault.delete(&access(), &shop(), token).unwrap(),
        |vault, _| assert_eq!(vault.check(None, 100).map(|step| step.unopenable), Ok(0)),
        |vault, _| drop(ledger_of(vault).import(&shop(), &[entry(1, 1)]).unwrap()),
        |vault, _| drop(vault.drop_index(None, 10).unwrap()),
    ];
    for call in calls {
        for dropped in [false, true] {
            let store = Arc::new(Memory::new());
            let steps = Arc::new(AtomicU64::new(0));
            let operator = open_at(&store, 0).unwrap();
            let tokens: Vec<_> = (0..4).map(|n| tokenize(&operator, n)).collect();
            let sourced = open_with_source(&store, &steps).unwrap();
            operator.set_ring(ring_at(1)).unwrap();
            fill_all(&operator, 10);
            steps.store(2, Ordering::SeqCst);
            operator.set_ring(ring_at(2)).unwrap();
            if dropped {
                drop_all(&operator, 10);
            }
            call(&sourced, &tokens[1]);
            assert_eq!(tokenize(&operator, 2), tokens[2]);
            assert_eq!(tokens_of(&sourced, 3), [tokens[3]]);
        }
    }
}

fn entry(payment: u64, n: u64) -> ImportEntry {
    ImportEntry {
        payment: sale(payment, 1000),
        card: Some(card(n)),
    }
}

#[test]
fn a_ledger_finds_its_payments_through_a_rotation() {
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 0).unwrap();
    let ledger = ledger_of(&vault);
    for steps in 0..5 {
        let mut ring = ring_at(steps);
        if steps > 0 {
            if steps == 4 {
                ring.destroy(index(1), NOW).unwrap();
                ring.destroy(index(2), NOW).unwrap();
            }
            vault.set_ring(ring).unwrap();
        }
        ledger.import(&shop(), &[entry(steps, 1)]).unwrap();
        if steps % 2 == 1 {
            fill_all(&vault, 1);
        } else {
            drop_all(&vault, 1);
        }
        let found = ledger.find_card(&access(), &shop(), &card(1).pan, 100);
        let found = found.unwrap();
        assert_eq!(found.len() as u64, steps + 1);
        assert!(found.iter().all(|payment| payment.token == found[0].token));
        for payment in &found {
            let compared = ledger.compare(&access(), &shop(), &payment.id, &card(1).pan, None);
            assert_eq!(compared, Ok(cardvault::refund::CardMatch::Same));
            ledger.audit(&shop(), &payment.id).unwrap();
        }
    }
    assert_eq!(standing(&*store), [3]);
}

#[test]
fn an_archive_of_a_vault_that_fills_goes_on_filling() {
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 0).unwrap();
    let tokens: Vec<_> = (0..9).map(|n| tokenize(&vault, n)).collect();
    vault.set_ring(ring_at(1)).unwrap();
    vault.fill_index(4).unwrap();
    let mut export = vault.export(&access(), None).unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = export.next().unwrap() {
        bytes.extend_from_slice(part);
    }
    let restored = Arc::new(Memory::new());
    restore_blocking(io::Cursor::new(&bytes), &ring_at(1), &*restored).unwrap();
    let vault = open_at(&restored, 1).unwrap();
    assert_eq!(vault.set_ring(ring_at(2)).err(), NOT_FILLED);
    let step = vault.fill_index(4).unwrap();
    assert_eq!((step.seen, step.seen_in_all), (4, 8));
    assert!(fill_all(&vault, 4).filled);
    vault.set_ring(ring_at(2)).unwrap();
    for (n, token) in (0..).zip(tokens) {
        assert_eq!(tokenize(&vault, n), token);
    }
}

/// A store whose writes fail from one on: before they are done, or behind that.
struct Faulty {
    store: Arc<Memory>,
    left: AtomicI64,
    done: bool,
}

impl Store for Faulty {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        let fault = Err(StoreError::Io(io::ErrorKind::Other));
        if left < 0 || (left == 0 && !self.done) {
            return fault;
        }
        let outcomes = self.store.write(under, writes).await;
        if left == 0 { fault } else { outcomes }
    }
    forward!(rows find others scan guard count);
}

#[test]
fn after_a_failure_at_any_write_the_rotation_goes_on() {
    for done in [false, true] {
        for left in 0.. {
            let store = Arc::new(Memory::new());
            let vault = open_at(&store, 0).unwrap();
            let tokens: Vec<_> = (0..8).map(|n| tokenize(&vault, n)).collect();
            let faulty = Faulty {
                store: Arc::clone(&store),
                left: AtomicI64::new(left),
                done,
            };
            let rotate = || {
                let vault = desk::open_with(faulty, ring_at(1))?;
                while !vault.fill_index(3)?.done {}
                vault.set_ring(ring_at(2))?;
                let mut after = None;
                loop {
                    after = vault.drop_index(after, 3)?.cursor;
                    if after.is_none() {
                        return Ok::<_, VaultError>(());
                    }
                }
            };
            let whole = rotate().is_ok();
            // Another process goes on.
            let vault = match open_at(&store, 1) {
                Ok(vault) => {
                    assert_eq!(tokenize(&vault, 3), tokens[3]);
                    vault.delete(&access(), &shop(), &tokens[7]).unwrap();
                    assert!(fill_all(&vault, 3).filled);
                    vault.set_ring(ring_at(2)).unwrap();
                    vault
                }
                Err(VaultError::StaleRing { .. }) => {
                    let vault = open_at(&store, 2).unwrap();
                    vault.delete(&access(), &shop(), &tokens[7]).unwrap();
                    vault
                }
                Err(error) => panic!("{error:?}"),
            };
            for dropped in [false, true] {
                if dropped {
                    drop_all(&vault, 3);
                }
                for (n, token) in (0..7).zip(&tokens) {
                    assert_eq!(tokens_of(&vault, n), [*token]);
                    assert_eq!(tokenize(&vault, n), *token);
                }
            }
            assert_ne!(tokenize(&vault, 7), tokens[7]);
            assert_eq!(standing(&*store), [2]);
            assert_eq!(vault.count(), Ok(8));
            if whole {
                assert!(left > 8);
                break;
            }
        }
    }
}

/// A store in which something happens just before rows are moved for the first time.
struct Meddling {
    store: Arc<Memory>,
    meddle: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Store for Meddling {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let moves = |write: &Write| matches!(write, Write::Reindex { .. });
        if writes.iter().any(moves)
            && let Some(meddle) = self.meddle.lock().unwrap().take()
        {
            meddle();
        }
        self.store.write(under, writes).await
    }
    forward!(rows find others scan guard count);
}

/// A store in which something happens just before the guard is raised.
struct Raced {
    store: Arc<Memory>,
    meddle: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Store for Raced {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        if under.is_none()
            && let Some(meddle) = self.meddle.lock().unwrap().take()
        {
            meddle();
        }
        self.store.write(under, writes).await
    }
    forward!(rows find others scan guard count);
}

#[test]
fn an_empty_vault_gets_its_first_card_while_another_index_is_let_in() {
    let store = Arc::new(Memory::new());
    let other = open_at(&store, 0).unwrap();
    let late = open_at(&store, 0).unwrap();
    let raced = Raced {
        store: Arc::clone(&store),
        meddle: Mutex::new(Some(Box::new(move || {
            tokenize(&late, 1);
        }))),
    };
    let refused = desk::open_with(Arc::new(raced), ring_at(2));
    assert_eq!(refused.err(), NOT_FILLED);
    // The card is found, and the vault goes on.
    let found = tokens_of(&other, 1);
    assert_eq!(found, [tokenize(&other, 1)]);
    other.delete(&access(), &shop(), &found[0]).unwrap();
    open_at(&store, 2).unwrap();
}

#[test]
fn a_source_is_asked_when_the_vault_is_opened() {
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 1).unwrap();
    let token = tokenize(&vault, 1);
    let open = |ring, newest: Option<u64>| {
        let log = LineLog::new(io::sink());
        let source = move || newest.map(ring_at);
        let store = Arc::clone(&store);
        let opening =
            Vault::open_with_source(store, ring_at(ring), source, log, || SystemRandom, clock);
        block_on(opening).map(Vault::blocking)
    };
    let stale = |opened: Result<Shared<_>, _>| {
        matches!(opened.map(drop), Err(VaultError::StaleRing { .. }))
    };
    assert!(stale(open(0, None)));
    assert!(stale(open(0, Some(0))));
    assert_eq!(tokenize(&open(0, Some(1)).unwrap(), 1), token);
    // Later, too.
    let late = open(1, Some(2)).unwrap();
    assert!(fill_all(&vault, 10).filled);
    vault.set_ring(ring_at(2)).unwrap();
    assert_eq!(tokenize(&late, 1), token);
}

#[test]
fn rows_that_change_meanwhile_are_moved_as_they_are_then() {
    let store = Arc::new(Memory::new());
    let other = open_at(&store, 0).unwrap();
    let tokens: Vec<_> = (0..6).map(|n| tokenize(&other, n)).collect();
    let at = Some(NOW.plus(1_000));
    for steps in [1, 2] {
        other.set_ring(ring_at(steps)).unwrap();
        let (late, others) = (tokens.clone(), open_at(&store, steps).unwrap());
        let meddle = move || {
            for token in &late[..3] {
                let at = if steps == 1 { at } else { None };
                others.set_expiry(&shop(), token, at).unwrap();
            }
            let gone = &late[if steps == 1 { 5 } else { 4 }];
            others.delete(&access(), &shop(), gone).unwrap();
        };
        let meddling = Meddling {
            store: Arc::clone(&store),
            meddle: Mutex::new(Some(Box::new(meddle))),
        };
        let vault = desk::open_with(meddling, ring_at(steps)).unwrap();
        if steps == 1 {
            assert!(fill_all(&vault, 100).filled);
        } else {
            assert_eq!(drop_all(&vault, 100), (4, 0));
        }
        for token in &tokens[..3] {
            let kept = other.metadata(&access(), &shop(), token).unwrap().expires;
            assert_eq!(kept, if steps == 1 { at } else { None });
        }
    }
    assert_eq!(standing(&*store), [2]);
    for (n, token) in (0..4).zip(&tokens) {
        assert_eq!(tokens_of(&other, n), [*token]);
    }
    assert_eq!(other.count(), Ok(4));
}

/// A row that was left behind and can be opened again does not take its card back.
#[test]
fn a_row_that_comes_back_is_named_beside_the_token_that_its_card_got() {
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, 0).unwrap();
    let first = tokenize(&vault, 1);
    let (key, good) = block_on(store.scan(None, None, 1)).unwrap().remove(0);
    let mut bytes = good.as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let bad = cardvault::vault::Row::new(&bytes).unwrap();
    let put = |expected: &cardvault::vault::Row, row: &cardvault::vault::Row| {
        let write = Write::Replace {
            token: key,
            expected: expected.clone(),
            row: row.clone(),
        };
        let outcome = block_on(store.write(None, vec![write])).unwrap();
        assert_eq!(outcome, [WriteOutcome::Replaced]);
    };
    put(&good, &bad);
    vault.set_ring(ring_at(1)).unwrap();
    let step = vault.fill_index(10).unwrap();
    assert_eq!(
        (step.left[0].key, step.left[0].why),
        (key, VaultError::Tampered)
    );
    vault.fill_leaving(1).unwrap();
    vault.set_ring(ring_at(2)).unwrap();
    let second = tokenize(&vault, 1);
    assert_ne!(second, first);
    put(&bad, &good);
    vault.set_ring(ring_at(3)).unwrap();
    for _ in 0..2 {
        let end = fill_all(&vault, 10);
        assert_eq!((end.filled, end.left_in_all), (false, 1));
        let why = VaultError::OtherToken { token: second };
        assert_eq!(
            (end.left[0].token, end.left[0].why),
            (Some((shop(), first)), why)
        );
        assert_eq!(tokenize(&vault, 1), second);
    }
    vault.delete(&access(), &shop(), &first).unwrap();
    assert!(fill_all(&vault, 10).filled);
    assert_eq!(tokens_of(&vault, 1), [second]);
}

/// What a vault should hold, and three vaults on one store: two take newer rings from a source, one
/// of which turns the ring, the third is opened anew when its ring is behind.
struct World<S, F> {
    random: ChaCha20Rng,
    reopen: F,
    store: Option<Arc<S>>,
    vaults: Vec<Shared<S>>,
    steps: Arc<AtomicU64>,
    filled: bool,
    cursor: Option<cardvault::vault::RowKey>,
    /// The card of each token, and whether convergent calls give it.
    tokens: BTreeMap<String, (u64, bool, Token)>,
}

const MODEL_CARDS: u64 = 12;
const MODEL_STEPS: u64 = 8;

impl<S: SnapshotStore, F: FnMut() -> Arc<S>> World<S, F> {
    fn new(seed: u64, mut reopen: F) -> Self {
        let store = reopen();
        let mut world = Self {
            random: ChaCha20Rng::seed_from_u64(seed),
            reopen,
            store: Some(store),
            vaults: Vec::new(),
            steps: Arc::default(),
            filled: false,
            cursor: None,
            tokens: BTreeMap::new(),
        };
        world.open_all();
        world
    }

    fn open_all(&mut self) {
        self.vaults = (0..3).map(|who| self.open(who)).collect();
    }

    fn open(&self, who: usize) -> Shared<S> {
        let store = self.store.as_ref().unwrap();
        if who == 2 {
            open_at(store, self.steps.load(Ordering::SeqCst)).unwrap()
        } else {
            open_with_source(store, &self.steps).unwrap()
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    fn limit(&mut self) -> usize {
        usize::try_from(1 + self.below(5)).unwrap()
    }

    fn any_token(&mut self) -> Option<(u64, bool, Token)> {
        let count = u64::try_from(self.tokens.len()).unwrap();
        let at = usize::try_from(self.below(count.max(1))).unwrap();
        self.tokens.values().nth(at).copied()
    }

    /// A call by one of the vaults; none if its ring was behind and it may be.
    fn call<T>(&mut self, call: impl Fn(&Shared<S>) -> Result<T, VaultError>) -> Option<T> {
        let who = usize::try_from(self.below(3)).unwrap();
        match call(&self.vaults[who]) {
            Err(VaultError::StaleRing { .. }) if who == 2 => {
                self.vaults[who] = self.open(who);
                None
            }
            result => Some(result.unwrap()),
        }
    }

    fn convergent(&self, n: u64) -> Option<Token> {
        let mut of = self
            .tokens
            .values()
            .filter(|known| (known.0, known.1) == (n, true));
        of.next().map(|known| known.2)
    }

    fn step(&mut self) {
        let n = self.below(MODEL_CARDS);
        let limit = self.limit();
        let steps = self.steps.load(Ordering::SeqCst);
        match self.below(100) {
            0..25 => {
                let how = Tokenize::convergent();
                let done = self.call(|vault| vault.tokenize(&shop(), &card(n), &how));
                if let Some(done) = done {
                    let known = self.convergent(n);
                    assert_eq!(done.existing, known.is_some());
                    assert_eq!(done.token, known.unwrap_or(done.token));
                    let name = done.token.to_string();
                    self.tokens.insert(name, (n, true, done.token));
                }
            }
            25..35 => {
                let how = Tokenize::fresh();
                if let Some(done) = self.call(|vault| vault.tokenize(&shop(), &card(n), &how)) {
                    let name = done.token.to_string();
                    self.tokens.insert(name, (n, false, done.token));
                }
            }
            35..55 => self.find(n),
            55..62 => {
                if let Some((_, _, token)) = self.any_token()
                    && self
                        .call(|vault| vault.delete(&access(), &shop(), &token))
                        .is_some()
                {
                    self.tokens.remove(&token.to_string());
                }
            }
            62..67 => {
                if let Some((_, _, token)) = self.any_token() {
                    let at = Some(NOW.plus(1_000 + n));
                    self.call(|vault| vault.set_expiry(&shop(), &token, at));
                }
            }
            67..82 if steps % 2 == 1 => {
                self.vaults[0].set_ring(ring_at(steps)).unwrap();
                let step = self.call(|vault| vault.fill_index(limit));
                self.filled |= step.is_some_and(|step| step.filled);
            }
            67..88 => {
                let cursor = self.cursor;
                let step = self.call(|vault| vault.drop_index(cursor, limit));
                self.cursor = step.and_then(|step| {
                    assert!(step.left.is_empty());
                    step.cursor
                });
            }
            88..94 if steps == MODEL_STEPS => {}
            88..94 if steps.is_multiple_of(2) || self.filled => {
                self.filled = false;
                self.steps.store(steps + 1, Ordering::SeqCst);
                // Sooner or later somebody meets it.
                if self.below(2) == 0 {
                    self.vaults[0].set_ring(ring_at(steps + 1)).unwrap();
                }
            }
            // An empty vault has nothing to lose by it.
            88..94 if self.tokens.is_empty() => {}
            88..94 => {
                let refused = self.vaults[0].set_ring(ring_at(steps + 1));
                assert!(matches!(refused, Err(VaultError::IndexNotFilled { .. })));
            }
            94..98 => {
                let who = usize::try_from(self.below(3)).unwrap();
                self.vaults[who] = self.open(who);
            }
            _ => {
                self.vaults.clear();
                self.store = None;
                self.store = Some((self.reopen)());
                self.open_all();
            }
        }
    }

    fn find(&mut self, n: u64) {
        if let Some(found) = self.call(|vault| vault.find(&access(), &shop(), &card(n).pan)) {
            let found: BTreeSet<_> = found.tokens.iter().map(Token::to_string).collect();
            let known = self.tokens.iter().filter(|(_, known)| known.0 == n);
            let known: BTreeSet<_> = known.map(|(name, _)| name.clone()).collect();
            assert_eq!(found, known, "card {n}");
        }
    }

    fn end(&mut self) {
        for n in (0..MODEL_CARDS).chain(0..MODEL_CARDS) {
            self.find(n);
        }
        let steps = self.steps.load(Ordering::SeqCst);
        self.vaults[0].set_ring(ring_at(steps)).unwrap();
        if steps % 2 == 1 {
            assert!(fill_all(&self.vaults[0], 5).filled);
            self.steps.store(steps + 1, Ordering::SeqCst);
        }
        let steps = self.steps.load(Ordering::SeqCst);
        self.vaults[0].set_ring(ring_at(steps)).unwrap();
        assert_eq!(drop_all(&self.vaults[0], 5).1, 0);
        let rows = u64::try_from(self.tokens.len()).unwrap();
        assert_eq!(check_all(&self.vaults[1]), (rows, 0));
        for n in 0..MODEL_CARDS {
            self.find(n);
        }
        if rows > 0 {
            let version = u32::try_from(steps / 2 + 1).unwrap();
            assert_eq!(standing(&**self.store.as_ref().unwrap()), [version]);
        }
    }
}

#[test]
fn any_order_of_calls_gives_one_token_a_card() {
    for seed in 0..60 {
        let store = Arc::new(Memory::new());
        let mut world = World::new(seed, || Arc::clone(&store));
        for _ in 0..200 {
            world.step();
        }
        world.end();
    }
}

#[test]
fn any_order_of_calls_on_disk_too() {
    for seed in 100..103 {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("vault");
        let options = EmbeddedOptions::default();
        drop(Embedded::create(&place, &options).unwrap());
        let reopen = || Arc::new(Embedded::open(&place, &options).unwrap());
        let mut world = World::new(seed, reopen);
        for _ in 0..120 {
            world.step();
        }
        world.end();
    }
}

const THREADS: u64 = 6;
const THREAD_CARDS: u64 = 25;

/// One of many that tokenize and look up; every second one has no source of rings.
fn work<S: Store>(
    own: u64,
    store: &Arc<S>,
    steps: &Arc<AtomicU64>,
    go_on: &AtomicBool,
    heard: &Mutex<BTreeMap<u64, BTreeSet<String>>>,
) {
    let plain = own % 2 == 1;
    let open = || loop {
        let opened = if plain {
            open_at(store, steps.load(Ordering::SeqCst))
        } else {
            open_with_source(store, steps)
        };
        match opened {
            // The ring moved on while it was opened.
            Err(VaultError::StaleRing { .. }) => {}
            opened => return opened.unwrap(),
        }
    };
    let mut vault = open();
    let mut random = ChaCha20Rng::seed_from_u64(own);
    while go_on.load(Ordering::SeqCst) {
        let n = random.next_u64() % THREAD_CARDS;
        let how = match random.next_u64() % 40 {
            0 => Tokenize::fresh(),
            _ => Tokenize::convergent(),
        };
        let once = |vault: &Shared<S>| {
            let token = vault.tokenize(&shop(), &card(n), &how)?.token;
            let found = vault.find(&access(), &shop(), &card(n).pan)?;
            assert!(found.more || found.tokens.contains(&token), "card {n}");
            Ok(token)
        };
        match once(&vault) {
            Ok(token) if how_is_convergent(&how) => {
                let mut heard = heard.lock().unwrap();
                heard.entry(n).or_default().insert(token.to_string());
            }
            Ok(_) => {}
            Err(VaultError::StaleRing { .. }) if plain => vault = open(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn how_is_convergent(how: &Tokenize) -> bool {
    format!("{how:?}").contains("convergent: true")
}

fn threads_with_mixed_rings<S: SnapshotStore>(store: &Arc<S>) {
    let steps = Arc::new(AtomicU64::new(0));
    let go_on = AtomicBool::new(true);
    let heard = Mutex::new(BTreeMap::new());
    let operator = open_at(store, 0).unwrap();
    thread::scope(|scope| {
        for own in 0..THREADS {
            let (steps, go_on, heard) = (&steps, &go_on, &heard);
            scope.spawn(move || work(own, store, steps, go_on, heard));
        }
        let rotate = || {
            for rotation in 0..3 {
                let pause = || thread::sleep(std::time::Duration::from_millis(30));
                pause();
                steps.store(2 * rotation + 1, Ordering::SeqCst);
                operator.set_ring(ring_at(2 * rotation + 1)).unwrap();
                assert!(fill_all(&operator, 40).filled);
                steps.store(2 * rotation + 2, Ordering::SeqCst);
                operator.set_ring(ring_at(2 * rotation + 2)).unwrap();
                pause();
                drop_all(&operator, 40);
            }
        };
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(rotate));
        go_on.store(false, Ordering::SeqCst);
        rotated.unwrap();
    });
    let heard = heard.into_inner().unwrap();
    assert!(!heard.is_empty());
    for (n, tokens) in heard {
        assert_eq!(tokens.len(), 1, "card {n}");
    }
    check_all(&operator);
    assert_eq!(standing(&**store), [4]);
}

#[test]
fn threads_with_mixed_rings_in_memory() {
    threads_with_mixed_rings(&Arc::new(Memory::new()));
}

#[test]
fn threads_with_mixed_rings_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("vault");
    let store = Embedded::create(&place, &EmbeddedOptions::default()).unwrap();
    threads_with_mixed_rings(&Arc::new(store));
}

/// Many processes on one database, with mixed rings, while two rotations run.
#[cfg(feature = "postgres")]
mod many_processes {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use cardvault::vault::{Postgres, PostgresOptions};

    use super::*;
    use crate::cluster::Cluster;
    use crate::worker::{Worker, say, told};

    const WORKERS: u64 = 4;
    const CARDS: u64 = 30;

    fn store(connection: &str) -> Arc<Postgres> {
        let options = PostgresOptions::new(connection).unwrap().connections(2);
        Arc::new(Postgres::open_or_create(&options).unwrap())
    }

    /// How far the ring is, as a file tells.
    fn steps_in(file: &Path) -> u64 {
        std::fs::read_to_string(file).unwrap().parse().unwrap()
    }

    fn put_steps(file: &Path, steps: u64) {
        let new = file.with_extension("new");
        std::fs::write(&new, steps.to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    #[test]
    fn one_token_of_each_card() {
        if told().is_some() {
            return;
        }
        let Some(cluster) = Cluster::shared() else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("steps");
        put_steps(&file, 0);
        let connection = cluster.connection();
        let store = store(&connection);
        let operator = open_at(&store, 0).unwrap();
        let mut heard: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for n in 0..CARDS / 2 {
            heard.insert(n, BTreeSet::from([tokenize(&operator, n).to_string()]));
        }
        let mut workers: Vec<_> = (0..WORKERS)
            .map(|own| {
                let told = format!("{own} {} {connection}", file.display());
                Worker::start("many_processes::at_work", told)
            })
            .collect();
        let mut hear = |workers: &[Worker], each: usize| {
            let start = Instant::now();
            for (own, worker) in workers.iter().enumerate() {
                for _ in 0..each {
                    let left = Duration::from_secs(60).saturating_sub(start.elapsed());
                    let line = worker.lines.recv_timeout(left);
                    let line = line.unwrap_or_else(|_| panic!("worker {own} stopped or hangs"));
                    let (n, token) = line.split_once(' ').unwrap();
                    let tokens = heard.entry(n.parse().unwrap()).or_default();
                    tokens.insert(token.to_owned());
                }
            }
        };
        hear(&workers, 10);
        for rotation in 0..2 {
            put_steps(&file, 2 * rotation + 1);
            operator.set_ring(ring_at(2 * rotation + 1)).unwrap();
            while !operator.fill_index(6).unwrap().done {
                hear(&workers, 2);
            }
            put_steps(&file, 2 * rotation + 2);
            operator.set_ring(ring_at(2 * rotation + 2)).unwrap();
            hear(&workers, 10);
            let mut after = None;
            loop {
                after = operator.drop_index(after, 20).unwrap().cursor;
                hear(&workers, 2);
                if after.is_none() {
                    break;
                }
            }
        }
        hear(&workers, 10);
        for worker in &mut workers {
            worker.stop();
        }
        for worker in &workers {
            while let Ok(line) = worker.lines.recv() {
                let (n, token) = line.split_once(' ').unwrap();
                let tokens = heard.entry(n.parse().unwrap()).or_default();
                tokens.insert(token.to_owned());
            }
        }
        for (n, tokens) in &heard {
            assert_eq!(tokens.len(), 1, "card {n}");
            let found = tokens_of(&operator, *n);
            let found: BTreeSet<_> = found.iter().map(Token::to_string).collect();
            assert_eq!(found, *tokens);
        }
        // Some were written and not heard of.
        let (rows, unopenable) = check_all(&operator);
        assert!(rows >= heard.len() as u64 && rows >= CARDS && unopenable == 0);
        assert_eq!(standing(&*store), [3]);
    }

    /// The work of one process: even ones have a source of rings, odd ones open anew.
    #[test]
    fn at_work() {
        let Some(told) = told() else {
            return;
        };
        let mut words = told.splitn(3, ' ');
        let mut word = || words.next().unwrap().to_owned();
        let own: u64 = word().parse().unwrap();
        let file = std::path::PathBuf::from(word());
        let store = store(&word());
        let plain = own % 2 == 1;
        let open = || loop {
            let ring = ring_at(steps_in(&file));
            let log = LineLog::new(io::sink());
            let vault = Vault::open_with(Arc::clone(&store), ring, log, || SystemRandom, clock);
            let vault = match block_on(vault) {
                Err(VaultError::StaleRing { .. }) => continue,
                opened => opened.unwrap(),
            };
            if plain {
                return vault.blocking();
            }
            let file = file.clone();
            let source = move || Some(ring_at(steps_in(&file)));
            return vault.with_ring_source(source).blocking();
        };
        let mut vault = open();
        let mut random = ChaCha20Rng::seed_from_u64(own);
        let mut turns = 0;
        loop {
            // There are new cards all the time.
            turns += 1;
            let n = random.next_u64() % (CARDS + turns / 4);
            let once = |vault: &Shared<Postgres>| {
                let how = Tokenize::convergent();
                let token = vault.tokenize(&shop(), &card(n), &how)?.token;
                let found = vault.find(&access(), &shop(), &card(n).pan)?;
                assert_eq!(found.tokens, [token]);
                Ok(token)
            };
            match once(&vault) {
                Ok(token) => say(&format!("{n} {token}")),
                Err(VaultError::StaleRing { .. }) if plain => vault = open(),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}
