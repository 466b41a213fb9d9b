//! Key rotation: records move to the active version, what is urgent first, from any stop on, and
//! beside others; a version goes only when nothing needs it.
#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[macro_use]
#[path = "support/forward.rs"]
mod forward;
#[path = "support/lines.rs"]
mod lines;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyError, KeyName, KeyRing, KeyUse, RingMark};
use cardvault::token::Token;
use cardvault::vault::{
    Access, BlockingVault, Elsewhere, Guard, LineLog, MAX_REWRAP_CURSOR, Memory, RewrapPace,
    Rewrapping, Row, RowKey, Store, StoreError, Tokenize, Vault, VaultError, Write, WriteOutcome,
};
#[cfg(feature = "embedded")]
use cardvault::vault::{Embedded, EmbeddedOptions};
use cardvault::{SystemRandom, UnixSeconds};
use lines::Lines;
use pollster::block_on;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

type Shared<S = Memory> = BlockingVault<Arc<S>, SystemRandom>;

fn key(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn add(ring: &mut KeyRing, usage: KeyUse, rng: &mut ChaCha20Rng) -> KeyName {
    let period = Cryptoperiod::default_of(usage);
    let name = ring.add(usage, period, NOW, rng).unwrap();
    ring.activate(name, NOW).unwrap();
    name
}

/// One ring with so many card versions, the last one active; the same each time.
fn ring(cards: u8) -> KeyRing {
    let mut rng = rng(1);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for usage in KeyUse::ALL {
        add(&mut ring, usage, &mut rng);
    }
    for _ in 1..cards {
        add(&mut ring, KeyUse::Card, &mut rng);
    }
    ring
}

fn open<S: Store>(store: &Arc<S>, ring: KeyRing) -> Result<Shared<S>, VaultError> {
    let log = LineLog::new(std::io::sink());
    BlockingVault::open_with(Arc::clone(store), ring, log, || SystemRandom, || NOW)
}

fn domain(number: usize) -> Domain {
    format!("shop-{number}").parse().unwrap()
}

/// Card numbers that pass Luhn.
fn card(number: usize) -> CardRecord {
    let body = format!("4{number:014}");
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| match (at % 2, u32::from(byte - b'0')) {
            (0, digit @ 5..) => 2 * digit - 9,
            (0, digit) => 2 * digit,
            (_, digit) => digit,
        })
        .sum();
    let text = format!("{body}{}", (10 - sum % 10) % 10);
    CardRecord {
        pan: Pan::parse(text.as_bytes()).unwrap(),
        expiry: None,
        sequence: None,
    }
}

fn access() -> Access {
    Access::new("custodian-1", "rotation", "host-1").unwrap()
}

fn shown(record: &CardRecord) -> String {
    record.pan.mask().to_string()
}

fn by_key<S: Store>(vault: &Shared<S>) -> Vec<String> {
    let by_key = vault.stats().unwrap().by_key;
    by_key
        .into_iter()
        .map(|(key, count)| format!("{key}:{count}"))
        .collect()
}

/// A vault whose card `n` is under version `versions[n]`, in one of three domains.
fn vault_of(versions: &[u8]) -> (Arc<Memory>, Shared, Vec<Token>) {
    let store = Arc::new(Memory::new());
    let mut tokens = vec![None; versions.len()];
    let last = versions.iter().copied().max().unwrap_or(1);
    for version in 1..=last {
        let vault = open(&store, ring(version)).unwrap();
        for (n, _) in versions
            .iter()
            .enumerate()
            .filter(|(_, of)| **of == version)
        {
            let token = vault.tokenize(&domain(n % 3), &card(n), &Tokenize::convergent());
            tokens[n] = Some(token.unwrap().token);
        }
    }
    let vault = open(&store, ring(last)).unwrap();
    (
        store,
        vault,
        tokens.into_iter().map(Option::unwrap).collect(),
    )
}

fn whole<S: Store>(vault: &Shared<S>) -> Rewrapping {
    let mut rewrapping = Rewrapping::new(RewrapPace::FULL);
    vault
        .rewrap_all(&mut rewrapping, |_| ControlFlow::Continue(()))
        .unwrap();
    assert!(rewrapping.is_done());
    rewrapping
}

type Hook = Box<dyn Fn(&[Write]) + Send + Sync>;
/// A vault that a hook is given once it is there.
type Later<S> = Mutex<Option<Arc<Vault<Arc<S>, SystemRandom>>>>;

/// A store that does something before each write, and gives at most `page` rows a scan.
struct Hooked {
    store: Arc<Memory>,
    page: usize,
    before: Hook,
}

impl Store for Hooked {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        (self.before)(&writes);
        self.store.write(under, writes).await
    }
    async fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        assert!(limit <= self.page, "a scan of {limit} rows");
        self.store.scan(after, end, limit).await
    }
    forward!(rows find others guard count);
}

/// What happens between two steps.
#[derive(Clone, Debug)]
enum Between {
    Delete(usize),
    Expire(usize),
    Card(usize),
    Rotate,
    /// The process ends and another one goes on by the cursor.
    Restart,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        (0..40_usize).prop_map(Between::Delete),
        (0..40_usize).prop_map(Between::Expire),
        (100..120_usize).prop_map(Between::Card),
        Just(Between::Rotate),
        Just(Between::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens meanwhile: at the end all is under the active version, every token gives
    /// its card, what was changed stays changed and what was deleted deleted.
    #[test]
    fn a_rewrap_ends_with_everything_under_the_active_version(
        versions in prop::collection::vec(1..=3_u8, 1..40),
        compromised in prop::option::of(1..=2_u8),
        events in prop::collection::vec(between(), 0..12),
        limit in 1..9_u32,
    ) {
        let mut versions = versions;
        versions.push(3);
        let (store, mut vault, tokens) = vault_of(&versions);
        let make = |cards: u8| {
            let mut ring = ring(cards);
            if let Some(version) = compromised {
                let name = KeyName::new(KeyUse::Card, version.into());
                ring.compromise(name, NOW).unwrap();
            }
            ring
        };
        let mut cards = 3;
        vault.set_ring(make(cards)).unwrap();
        let mut there: BTreeMap<(usize, Token), (String, Option<UnixSeconds>)> = BTreeMap::new();
        for (n, token) in tokens.iter().enumerate() {
            there.insert((n % 3, *token), (shown(&card(n)), None));
        }
        let rate = std::num::NonZeroU32::new(limit).unwrap();
        let pace = RewrapPace::FULL.at_most(rate);
        let mut rewrapping = Rewrapping::new(pace);
        let mut events = events.into_iter();
        while block_on(rewrapping.step(vault.vault())).unwrap() {
            match events.next() {
                Some(Between::Delete(n)) => {
                    let token = tokens.get(n).filter(|token| there.remove(&(n % 3, **token)).is_some());
                    if let Some(token) = token {
                        vault.delete(&access(), &domain(n % 3), token).unwrap();
                    }
                }
                Some(Between::Expire(n)) if n < tokens.len() => {
                    if let Some((_, expires)) = there.get_mut(&(n % 3, tokens[n])) {
                        *expires = Some(NOW.plus(1000));
                        vault.set_expiry(&domain(n % 3), &tokens[n], *expires).unwrap();
                    }
                }
                Some(Between::Card(n)) => {
                    let made = vault.tokenize(&domain(n % 3), &card(n), &Tokenize::fresh());
                    there.insert((n % 3, made.unwrap().token), (shown(&card(n)), None));
                }
                Some(Between::Rotate) => {
                    cards += 1;
                    vault.set_ring(make(cards)).unwrap();
                }
                Some(Between::Restart) => {
                    let cursor = rewrapping.cursor();
                    assert!(cursor.len() <= MAX_REWRAP_CURSOR);
                    vault = open(&store, make(cards)).unwrap();
                    rewrapping = Rewrapping::resume(pace, &cursor).unwrap();
                }
                _ => {}
            }
        }
        let under = by_key(&vault);
        let all = format!("card-{cards}:{}", there.len());
        prop_assert_eq!(&under, &if there.is_empty() { vec![] } else { vec![all] });
        prop_assert_eq!(rewrapping.progress().left, 0);
        prop_assert_eq!(rewrapping.progress().total, rewrapping.progress().seen);
        for ((shop, token), (mask, expires)) in &there {
            let record = vault.detokenize(&access(), &domain(*shop), token).unwrap();
            prop_assert_eq!(&shown(&record), mask);
            let metadata = vault.metadata(&access(), &domain(*shop), token).unwrap();
            prop_assert_eq!(metadata.expires, *expires);
        }
        prop_assert_eq!(vault.stats().unwrap().tokens, there.len() as u64);
    }
}

#[test]
fn what_is_compromised_goes_first() {
    let (_, vault, _) = vault_of(&[1, 2, 1, 2, 1, 2, 3, 2, 2, 1]);
    let mut compromised = ring(3);
    compromised.compromise(key("card-1"), NOW).unwrap();
    vault.set_ring(compromised).unwrap();
    let mut rewrapping = Rewrapping::new(RewrapPace::FULL.at_most(2.try_into().unwrap()));
    let mut at_the_turn = None;
    while block_on(rewrapping.step(vault.vault())).unwrap() {
        let progress = rewrapping.progress();
        if progress.urgent {
            assert_eq!(progress.total, 20);
        } else if at_the_turn.is_none() {
            at_the_turn = Some(by_key(&vault));
        }
    }
    assert_eq!(at_the_turn.unwrap(), ["card-2:5", "card-3:5"]);
    assert_eq!(by_key(&vault), ["card-3:10"]);

    // One that becomes compromised while the others are moved.
    let (_, vault, _) = vault_of(&[1, 1, 1, 2, 2, 2, 3, 3, 3]);
    let mut rewrapping = Rewrapping::new(RewrapPace::FULL.at_most(2.try_into().unwrap()));
    assert!(block_on(rewrapping.step(vault.vault())).unwrap());
    assert!(!rewrapping.progress().urgent);
    let mut compromised = ring(3);
    compromised.compromise(key("card-2"), NOW).unwrap();
    vault.set_ring(compromised).unwrap();
    assert!(block_on(rewrapping.step(vault.vault())).unwrap());
    assert!(rewrapping.progress().urgent);
    assert_eq!(rewrapping.progress().seen, 2);
}

const fn moves(writes: &[Write]) -> bool {
    matches!(writes, [Write::Replace { .. }, ..])
}

#[test]
fn rows_that_change_within_a_step_keep_their_change() {
    let (store, desk, tokens) = vault_of(&[1, 1, 1, 1, 2]);
    let (expires, times) = (Some(NOW.plus(77)), AtomicUsize::new(0));
    let (first, second) = (tokens[0], tokens[1]);
    let hooked = Arc::new(Hooked {
        store,
        page: 1000,
        before: Box::new(move |writes| {
            if moves(writes) && times.fetch_add(1, Ordering::Relaxed) == 0 {
                desk.set_expiry(&domain(0), &first, expires).unwrap();
                desk.delete(&access(), &domain(1), &second).unwrap();
            }
        }),
    });
    let vault = open(&hooked, ring(2)).unwrap();
    let step = vault.rewrap(None, 10).unwrap();
    assert_eq!((step.seen, step.moved, step.left), (5, 2, 0));
    assert_eq!(
        vault
            .metadata(&access(), &domain(0), &tokens[0])
            .unwrap()
            .expires,
        expires
    );
    assert_eq!(vault.exists(&access(), &domain(1), &tokens[1]), Ok(false));
    assert_eq!(by_key(&vault), ["card-2:4"]);
}

#[test]
fn a_ring_that_changes_within_a_step_takes_its_rows_along() {
    let (store, other, _) = vault_of(&[1, 1, 1, 2]);
    let vault: Arc<Later<Hooked>> = Arc::default();
    let (hand, times) = (Arc::clone(&vault), AtomicUsize::new(0));
    let hooked = Arc::new(Hooked {
        store,
        page: 1000,
        before: Box::new(move |writes| {
            if moves(writes) && times.fetch_add(1, Ordering::Relaxed) == 0 {
                other.set_ring(ring(3)).unwrap();
                let vault = hand.lock().unwrap().take().unwrap();
                block_on(vault.set_ring(ring(3))).unwrap();
            }
        }),
    });
    let rewrapping = open(&hooked, ring(2)).unwrap();
    *vault.lock().unwrap() = Some(Arc::clone(rewrapping.vault()));
    let step = rewrapping.rewrap(None, 10).unwrap();
    assert_eq!((step.moved, step.left), (4, 0));
    assert_eq!(by_key(&rewrapping), ["card-3:4"]);
}

#[test]
fn a_step_is_bounded_and_rows_that_do_not_open_are_counted_once() {
    let (store, plain, tokens) = vault_of(&[1; 100]);
    let damaged = block_on(store.scan(None, None, 3)).unwrap();
    for (key, row) in &damaged {
        let mut bytes = row.as_bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let write = Write::Replace {
            token: *key,
            expected: row.clone(),
            row: Row::new(&bytes).unwrap(),
        };
        block_on(store.write(None, vec![write])).unwrap();
    }
    drop(plain);
    let mut ring = ring(2);
    ring.compromise(key("card-1"), NOW).unwrap();
    let hooked = Arc::new(Hooked {
        store,
        page: 1000,
        before: Box::new(|writes| assert!(writes.len() <= 7)),
    });
    let vault = open(&hooked, ring).unwrap();
    let mut rewrapping = Rewrapping::new(RewrapPace::FULL.at_most(7.try_into().unwrap()));
    while block_on(rewrapping.step(vault.vault())).unwrap() {}
    let progress = rewrapping.progress();
    assert_eq!((progress.seen, progress.moved, progress.left), (200, 97, 3));
    assert_eq!(vault.needed(key("card-1")).unwrap().rows, Some(3));
    assert_eq!(tokens.len(), 100);
}

/// Cards for a rewrap of several transactions.
fn many<S: Store>(store: &Arc<S>) -> (Shared<S>, usize) {
    const ROWS: usize = 9_001;
    let vault = open(store, ring(1)).unwrap();
    let cards: Vec<_> = (0..ROWS).map(card).collect();
    for (n, cards) in cards.chunks(3_000).enumerate() {
        let made = vault.tokenize_batch(&domain(n), cards, &Tokenize::fresh());
        assert!(made.iter().all(Result::is_ok));
    }
    (vault, ROWS)
}

#[cfg(feature = "embedded")]
#[test]
fn a_step_of_several_transactions_moves_each_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::create(folder.path(), &EmbeddedOptions::default()).unwrap();
    let (vault, rows) = many(&Arc::new(store));
    vault.set_ring(ring(2)).unwrap();
    let progress = *whole(&vault).progress();
    let rows = rows as u64;
    assert_eq!((progress.seen, progress.moved), (rows, rows));
    assert_eq!((progress.total, progress.left), (rows, 0));
    assert_eq!(by_key(&vault), [format!("card-2:{rows}")]);
    // As many as are asked for, and the cursor behind them.
    vault.set_ring(ring(3)).unwrap();
    let step = vault.rewrap(None, 4_500).unwrap();
    assert_eq!((step.seen, step.moved), (4_500, 4_500));
    let step = vault.rewrap(step.cursor, 10_000).unwrap();
    assert_eq!((step.seen, step.moved), (4_501, 4_501));
    assert_eq!(step.cursor, None);
    assert_eq!(by_key(&vault), [format!("card-3:{rows}")]);
}

#[test]
fn a_step_that_fails_between_its_transactions_is_done_again() {
    let store = Arc::new(Memory::new());
    let (_, rows) = many(&store);
    let writes = AtomicUsize::new(0);
    let hooked = Arc::new(Hooked {
        store,
        page: 4_000,
        before: Box::new(move |written| {
            assert!(written.len() <= 4_000);
            if moves(written) && writes.fetch_add(1, Ordering::Relaxed) == 1 {
                std::panic::panic_any("the second transaction");
            }
        }),
    });
    let vault = open(&hooked, ring(2)).unwrap();
    let mut rewrapping = Rewrapping::new(RewrapPace::FULL);
    let step = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        block_on(rewrapping.step(vault.vault()))
    }));
    assert!(step.is_err());
    assert_eq!(by_key(&vault), ["card-1:5001", "card-2:4000"]);
    while block_on(rewrapping.step(vault.vault())).unwrap() {}
    let progress = rewrapping.progress();
    assert_eq!((progress.seen, progress.moved), (rows as u64, 5_001));
    assert_eq!(by_key(&vault), [format!("card-2:{rows}")]);
}

#[test]
fn rows_of_a_newer_ring_are_not_taken_for_broken() {
    let (store, first, _) = vault_of(&[1, 1]);
    let log = || LineLog::new(std::io::sink());
    let open_behind = || {
        let store = Arc::clone(&store);
        let vault = Vault::open_with(store, ring(1), log(), || SystemRandom, || NOW);
        block_on(vault).unwrap()
    };
    let alone = open_behind().blocking();
    let with_source = open_behind().with_ring_source(|| Some(ring(2))).blocking();
    first.set_ring(ring(2)).unwrap();
    assert_eq!(whole(&first).progress().moved, 2);
    // All rows are under a version that the ring behind does not have.
    assert!(matches!(
        alone.rewrap(None, 10),
        Err(VaultError::StaleRing { .. })
    ));
    let step = with_source.rewrap(None, 10).unwrap();
    assert_eq!((step.seen, step.moved, step.left), (2, 0, 0));
}

#[test]
fn a_ring_that_is_behind_counts_nothing() {
    let (store, first, _) = vault_of(&[1]);
    let behind = open(&store, ring(1)).unwrap();
    first.set_ring(ring(2)).unwrap();
    let (mut at_hand, name) = (ring(1), key("card-1"));
    for refused in [
        behind.needed(name).err(),
        behind
            .destroy_key(&mut at_hand, name, Elsewhere::Unknown)
            .err(),
    ] {
        assert!(
            matches!(refused, Some(VaultError::StaleRing { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_record_that_was_moved_is_in_its_next_revision() {
    let (store, vault, _) = vault_of(&[1, 1, 2]);
    whole(&vault);
    let rows = block_on(store.scan(None, None, 10)).unwrap();
    let mut revisions: Vec<_> = rows
        .iter()
        .map(|(_, row)| &row.as_bytes()[26..30])
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 2]]);
}

#[test]
fn two_rewraps_at_once_move_each_record_once() {
    let (store, first, _) = vault_of(&[&[1; 600][..], &[2]].concat());
    let second = open(&store, ring(2)).unwrap();
    let start = Barrier::new(2);
    let run = |vault: &Shared| {
        start.wait();
        let mut rewrapping = Rewrapping::new(RewrapPace::FULL.at_most(50.try_into().unwrap()));
        while block_on(rewrapping.step(vault.vault())).unwrap() {}
        (rewrapping.progress().moved, rewrapping.progress().left)
    };
    let (a, b) = thread::scope(|scope| {
        let other = scope.spawn(|| run(&second));
        (run(&first), other.join().unwrap())
    });
    assert_eq!((a.0 + b.0, a.1 + b.1), (600, 0));
    assert_eq!(by_key(&first), ["card-2:601"]);
}

#[test]
fn of_two_rotations_at_once_one_wins_and_nothing_is_lost() {
    for round in 0..20 {
        let (store, _, tokens) = vault_of(&[1; 30]);
        let vaults = [0, 1].map(|_| open(&store, ring(1)).unwrap());
        let start = Barrier::new(2);
        let rotate = |(n, vault): (u8, &Shared)| {
            let mut ring = ring(1);
            // Each draws a key of its own.
            add(&mut ring, KeyUse::Card, &mut rng(100 + 2 * round + n));
            start.wait();
            vault.set_ring(ring)?;
            Ok(whole(vault).progress().moved)
        };
        let [a, b] = &vaults;
        let ends: [Result<u64, VaultError>; 2] = thread::scope(|scope| {
            let other = scope.spawn(|| rotate((1, b)));
            [rotate((0, a)), other.join().unwrap()]
        });
        let winner = ends.iter().position(Result::is_ok).unwrap();
        assert_eq!(ends[winner], Ok(30));
        let loser = 1 - winner;
        let generation = ring(1).generation() + 2;
        assert_eq!(ends[loser], Err(VaultError::ForkedRing { generation }));
        // The loser writes nothing any more, and the winner has all.
        let stale = vaults[loser].tokenize(&domain(0), &card(1), &Tokenize::fresh());
        assert!(
            matches!(stale, Err(VaultError::StaleRing { .. })),
            "{stale:?}"
        );
        assert_eq!(by_key(&vaults[winner]), ["card-2:30"]);
        for (n, token) in tokens.iter().enumerate() {
            let record = vaults[winner].detokenize(&access(), &domain(n % 3), token);
            assert_eq!(shown(&record.unwrap()), shown(&card(n)));
        }
    }
}

#[test]
fn a_key_is_destroyed_when_nothing_needs_it() {
    let (store, vault, _) = vault_of(&[1, 1, 1, 2]);
    let mut at_hand = ring(2);
    let destroy = |vault: &Shared, ring: &mut KeyRing, name: &str| {
        vault.destroy_key(ring, key(name), Elsewhere::Unknown)
    };
    let needed = |rows| {
        let name = key("card-1");
        Err(VaultError::KeyNeeded { name, rows })
    };
    let generation = at_hand.generation();
    assert_eq!(destroy(&vault, &mut at_hand, "card-1"), needed(3));
    vault.rewrap(None, 3).unwrap();
    assert_eq!(destroy(&vault, &mut at_hand, "card-1"), needed(1));
    // The versions in use.
    for name in ["card-2", "index-1", "ledger-1"] {
        let refused = destroy(&vault, &mut at_hand, name);
        let transition = matches!(refused, Err(VaultError::Key(KeyError::Transition { .. })));
        assert!(transition, "{name}: {refused:?}");
    }
    let unknown = destroy(&vault, &mut at_hand, "card-9");
    let name = key("card-9");
    assert_eq!(unknown, Err(KeyError::UnknownVersion { name }.into()));
    // Rings that are not the one in use.
    let stale = destroy(&vault, &mut ring(1), "card-1");
    assert!(
        matches!(stale, Err(VaultError::StaleRing { .. })),
        "{stale:?}"
    );
    // Out of use in a ring that no other writer knows of.
    let mut ahead = ring(2);
    ahead.deactivate(key("card-2"), NOW).unwrap();
    let refused = destroy(&vault, &mut ahead, "card-2");
    let transition = matches!(refused, Err(VaultError::Key(KeyError::Transition { .. })));
    assert!(transition, "{refused:?}");
    assert_eq!(at_hand.generation(), generation);

    whole(&vault);
    assert_eq!(vault.needed(key("card-1")).unwrap().rows, Some(0));
    destroy(&vault, &mut at_hand, "card-1").unwrap();
    vault.set_ring(at_hand).unwrap();
    assert_eq!(by_key(&vault), ["card-2:4"]);
    // A vault with the ring of before does not bring the key back.
    let old = open(&store, ring(2)).err();
    assert!(matches!(old, Some(VaultError::StaleRing { .. })), "{old:?}");

    // A version that was never in use, and those whose data lies elsewhere.
    let (_, vault, _) = vault_of(&[1]);
    let rotated = || {
        let (mut ring, mut rng) = (ring(1), rng(8));
        for usage in [KeyUse::Journal, KeyUse::Archive, KeyUse::Vaultless] {
            add(&mut ring, usage, &mut rng);
        }
        let period = Cryptoperiod::default_of(KeyUse::Journal);
        ring.add(KeyUse::Journal, period, NOW, &mut rng).unwrap();
        ring
    };
    vault.set_ring(rotated()).unwrap();
    let mut at_hand = rotated();
    destroy(&vault, &mut at_hand, "journal-3").unwrap();
    for name in ["journal-1", "archive-1", "vaultless-1"] {
        let refused = destroy(&vault, &mut at_hand, name);
        assert_eq!(refused, Err(VaultError::KeyElsewhere { name: key(name) }));
        vault
            .destroy_key(&mut at_hand, key(name), Elsewhere::Unneeded)
            .unwrap();
    }
}

#[test]
fn what_is_under_a_version_is_listed_and_logged_first() {
    static LOG: Lines = Lines(Mutex::new(Some(Vec::new())));
    let (store, _, tokens) = vault_of(&[1, 2, 1, 2, 1, 1]);
    let vault = BlockingVault::open_with(store, ring(2), &LOG, || SystemRandom, || NOW).unwrap();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = vault.list_under(&access(), 1, after, 2).unwrap();
        assert!(page.seen <= 2);
        listed.extend(page.tokens);
        after = page.cursor;
        if after.is_none() {
            break;
        }
    }
    let mut wanted: Vec<_> = [0, 2, 4, 5].map(|n| (domain(n % 3), tokens[n])).into();
    wanted.sort_by_key(|(domain, token)| (domain.to_string(), token.to_string()));
    listed.sort_by_key(|(domain, token)| (domain.to_string(), token.to_string()));
    assert_eq!(listed, wanted);
    let lines = LOG.0.lock().unwrap().take().unwrap();
    for (domain, token) in &wanted {
        let named = format!("domain=\"{domain}\" token={token} key=card-1");
        let named = lines.iter().filter(|line| line.ends_with(&named));
        assert_eq!(named.count(), 1, "{lines:?}");
    }
    assert!(
        lines
            .iter()
            .all(|line| line.contains("operation=list outcome=granted"))
    );
    let refused = vault.list_under(&access(), 1, None, 10).err();
    assert!(matches!(refused, Some(VaultError::Log(_))));
    let unknown = vault.list_under(&access(), 7, None, 10).err();
    assert!(matches!(
        unknown,
        Some(VaultError::Key(KeyError::UnknownVersion { .. }))
    ));
}
