//! What an operator sees of a vault and a ledger at work: spans and events, metrics, and no card.
#![cfg(all(feature = "embedded", feature = "metrics", feature = "tracing"))]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

#[path = "support/desk.rs"]
mod desk;
#[path = "support/watcher.rs"]
mod watcher;

use core::future::{Future, pending};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Context, Waker};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use cardvault::SystemRandom;
use cardvault::card::CardRecord;
use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::ledger::{Ledger, LedgerError, Source};
use cardvault::token::Token;
use cardvault::vault::{
    Access, AccessEvent, AccessLog, AccessLogError, BlockingVault, Embedded, EmbeddedOptions,
    Found, Guard, IndexKey, Item, LineLog, METRICS, Memory, MetricKind, Row, RowKey, Store,
    StoreError, Tokenize, Vault, VaultError, Write, WriteOutcome, describe_metrics, metric_names,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use pollster::block_on;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::watcher::Watcher;

const DAY: u64 = 24 * 60 * 60;
const ACTOR: &str = "clerk-Ottoline";
const PURPOSE: &str = "chargeback-Peregrine";
const ORIGIN: &str = "desk-Quillfeather";

fn access() -> Access {
    Access::new(ACTOR, PURPOSE, ORIGIN).unwrap()
}

fn shop() -> Domain {
    "shop-1".parse().unwrap()
}

/// A ring of what a vault and a ledger need.
fn ring() -> KeyRing {
    let mut rng = desk::rng(1);
    let mut ring = KeyRing::new(RingMark::Production, &mut rng).unwrap();
    for usage in [KeyUse::Card, KeyUse::Index, KeyUse::Ledger] {
        desk::add(&mut ring, usage, &mut rng);
    }
    ring
}

/// A log that can be made to fail.
#[derive(Clone, Default)]
struct Failing(Arc<AtomicBool>);

impl AccessLog for Failing {
    fn record(&self, _: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        if self.0.load(Ordering::Relaxed) {
            Err(AccessLogError)
        } else {
            Ok(())
        }
    }
}

/// A store whose writes never end once `stuck` is set.
#[derive(Default)]
struct Stuck {
    memory: Memory,
    stuck: AtomicBool,
}

impl Store for Stuck {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        if self.stuck.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        self.memory.write(under, writes).await
    }

    async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Option<Row>>, StoreError> {
        self.memory.rows(keys).await
    }

    async fn find(&self, keys: Vec<IndexKey>) -> Result<Vec<Found>, StoreError> {
        self.memory.find(keys).await
    }

    async fn others(
        &self,
        key: IndexKey,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<RowKey>, StoreError> {
        self.memory.others(key, after, end, limit).await
    }

    async fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        self.memory.scan(after, end, limit).await
    }

    async fn guard(&self) -> Result<Option<Guard>, StoreError> {
        self.memory.guard().await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.memory.count().await
    }
}

/// What was measured: a line for each, of a histogram how often.
fn measured(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let snapshot = snapshotter.snapshot().into_vec();
    let lines = snapshot.into_iter().map(|(key, _, _, value)| {
        let labels: Vec<_> = key
            .key()
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.0,
            DebugValue::Histogram(values) => values.len() as f64,
        };
        let name = key.key().name();
        let place = [vec![name.to_owned()], labels].concat().join(" ");
        (place, value)
    });
    lines.collect()
}

/// Everything that a day brings, good and bad. What must not be seen: cards and tokens.
fn story() -> (Vec<CardRecord>, Vec<Token>) {
    let domain = shop();
    // A caller that goes away.
    let (how, card) = (Tokenize::convergent(), desk::card(0));
    let stuck = Arc::new(Stuck::default());
    let quiet = LineLog::new(io::sink());
    let open = Vault::open_with(
        Arc::clone(&stuck),
        ring(),
        quiet,
        || SystemRandom,
        desk::clock,
    );
    let gone = block_on(open).unwrap();
    stuck.stuck.store(true, Ordering::Relaxed);
    {
        let call = pin!(gone.tokenize(&domain, &card, &how));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.poll(&mut context).is_pending());
    }

    let folder = tempfile::tempdir().unwrap();
    let (access, log) = (access(), Failing::default());
    let store = Embedded::create(folder.path(), &EmbeddedOptions::default()).unwrap();
    let mut rng = desk::rng(2);
    let open =
        |store| BlockingVault::open_with(store, ring(), log.clone(), || SystemRandom, desk::clock);
    let vault = open(store).unwrap();
    let cards: Vec<_> = (0..12).map(desk::card).collect();

    let first = vault.tokenize(&domain, &cards[0], &how).unwrap().token;
    assert!(vault.tokenize(&domain, &cards[0], &how).unwrap().existing);
    let given = vault.tokenize_batch(&domain, &cards[1..11], &how);
    let mut tokens: Vec<_> = given
        .into_iter()
        .map(|given| given.unwrap().token)
        .collect();
    tokens.push(first);
    let old = Tokenize::fresh().expiring(desk::NOW);
    let expired = vault.tokenize(&domain, &cards[11], &old).unwrap().token;
    tokens.push(expired);

    let other: Domain = "shop-2".parse().unwrap();
    vault.detokenize(&access, &domain, &first).unwrap();
    let missing = vault.detokenize(&access, &other, &first);
    assert_eq!(missing.err(), Some(VaultError::UnknownToken));
    let over = vault.detokenize(&access, &domain, &expired);
    assert_eq!(over.err(), Some(VaultError::Expired));
    let asked = [tokens[0], tokens[1], expired];
    let batch = vault.detokenize_batch(&access, &domain, &asked);
    assert!(batch[1].is_ok() && batch[2].is_err());
    log.0.store(true, Ordering::Relaxed);
    let unlogged = vault.detokenize(&access, &domain, &first);
    assert!(matches!(unlogged.err(), Some(VaultError::Log(_))));
    log.0.store(false, Ordering::Relaxed);
    let found = vault.find(&access, &domain, &cards[0].pan).unwrap();
    assert_eq!(found.tokens, [first]);
    vault.set_expiry(&domain, &first, None).unwrap();
    assert!(vault.exists(&access, &domain, &first).unwrap());
    vault.metadata(&access, &domain, &first).unwrap();
    vault.delete(&access, &domain, &expired).unwrap();
    assert_eq!(vault.count().unwrap(), 11);

    // A new key, and what was sealed under the old one.
    let mut newer = ring();
    let period = Cryptoperiod::new(100 * DAY, 400 * DAY).unwrap();
    let name = newer
        .add(KeyUse::Card, period, desk::NOW, &mut rng)
        .unwrap();
    newer.activate(name, desk::NOW).unwrap();
    vault.set_ring(newer).unwrap();
    assert_eq!(vault.rewrap(None, 100).unwrap().moved, 11);
    assert_eq!(vault.rewrap(None, 100).unwrap().moved, 0);
    assert_eq!(vault.check(None, 100).unwrap().seen, 11);
    assert_eq!(vault.stats().unwrap().tokens, 11);
    let stale = vault.set_ring(ring());
    assert!(matches!(stale, Err(VaultError::StaleRing { .. })));

    let ledger = Ledger::new(Arc::clone(vault.vault())).blocking();
    let sale = desk::sale(1, 5_000);
    ledger.record(&domain, &sale, Source::Centre).unwrap();
    let policy = desk::policy();
    let too_much = ledger.request(&domain, &sale.id, &policy, &desk::refund(1, 5_001));
    assert!(matches!(too_much, Err(LedgerError::Refused(_))));
    ledger
        .request(&domain, &sale.id, &policy, &desk::refund(2, 5_000))
        .unwrap();
    let nothing = ledger.payment(&domain, &desk::payment_id(9));
    assert_eq!(nothing.err(), Some(LedgerError::UnknownPayment));
    drop(ledger);
    (cards, tokens)
}

/// One test, because the recorder and the subscriber are the process's.
#[test]
fn a_day_is_told_whole_and_without_cards() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    describe_metrics();
    let watcher = Watcher::default();
    tracing_subscriber::registry().with(watcher.clone()).init();

    let (cards, tokens) = story();
    let measured = measured(&snapshotter);
    let told = watcher.lines();

    // Exactly this. How often the store is asked is its and the vault's own business.
    let inner = |line: &str| line.contains("part=store") || line.contains("_commit");
    let lines: String = measured
        .iter()
        .fold(String::new(), |mut text, (line, value)| {
            let value = if inner(line) {
                "*".to_owned()
            } else {
                value.to_string()
            };
            writeln!(text, "{line} {value}").unwrap();
            text
        });
    same("metrics.txt", &lines);
    let outer = told.iter().filter(|line| !line.starts_with("TRACE"));
    let spans: String = outer.flat_map(|line| [line.as_str(), "\n"]).collect();
    same("spans.txt", &spans);
    for inside in ["find in tokenize", "write in record", "scan in rewrap"] {
        let inside = format!("TRACE cardvault::store {inside}");
        assert!(
            told.iter().any(|line| line.starts_with(&inside)),
            "no {inside}"
        );
    }

    each_is_in_the_table(&measured);
    no_card_is_told(&(lines + &told.join("\n")), &cards, &tokens);
}

/// # Panics
/// If the golden file is another text; says what it should be.
fn same(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(golden == text, "{name} is now:\n{text}");
}

/// Every name has its place in the table, with the labels that it says.
fn each_is_in_the_table(measured: &BTreeMap<String, f64>) {
    let mut seen = BTreeSet::new();
    for line in measured.keys() {
        let mut parts = line.split(' ');
        let name = parts.next().unwrap();
        let metric = METRICS.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is not in the table"));
        let labels: Vec<_> = parts.map(|part| part.split_once('=').unwrap().0).collect();
        assert_eq!(labels, metric.labels, "{name}");
        assert_eq!(
            name.ends_with("_total"),
            metric.kind == MetricKind::Counter,
            "{name}"
        );
        seen.insert(name);
    }
    let unseen: Vec<_> = METRICS
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !seen.contains(name))
        .collect();
    // Tested where there is a database, and with two vaults.
    assert_eq!(unseen, [metric_names::RETRIES, metric_names::GUARD_MOVES]);
    let page = include_str!("../src/manual/operations.md");
    for metric in METRICS {
        assert!(
            page.contains(&format!("`{}`", metric.name)),
            "{} is not in the manual",
            metric.name
        );
    }
}

fn no_card_is_told(text: &str, cards: &[CardRecord], tokens: &[Token]) {
    for card in cards {
        card.pan.expose(|digits| {
            for part in digits.as_bytes().windows(8) {
                let part = core::str::from_utf8(part).unwrap();
                assert!(!text.contains(part), "eight digits of a card in {text}");
            }
        });
    }
    for token in tokens {
        let token = token.to_string();
        assert!(
            !text.contains(token.get(4..12).unwrap()),
            "a token in {text}"
        );
    }
    for word in [
        ACTOR,
        PURPOSE,
        ORIGIN,
        "Ottoline",
        "Peregrine",
        "Quillfeather",
        "R-1",
    ] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

/// Does `work` with a recorder of its own, and told to nobody: the subscriber is another test's.
fn alone(recorder: &DebuggingRecorder, work: impl FnOnce()) {
    let nobody = tracing::subscriber::NoSubscriber::default();
    tracing::subscriber::with_default(nobody, || metrics::with_local_recorder(recorder, work));
}

/// A domain may be any bytes, and spans tell it.
#[test]
fn a_domain_that_is_a_card_number_is_not_told() {
    let watcher = Watcher::default();
    let subscriber = tracing_subscriber::registry().with(watcher.clone());
    tracing::subscriber::with_default(subscriber, || {
        metrics::with_local_recorder(&DebuggingRecorder::new(), || {
            let vault = desk::open_with(Memory::new(), ring()).unwrap();
            let given = vault.tokenize(&shop(), &desk::card(1), &Tokenize::fresh());
            let token = given.unwrap().token;
            for domain in [
                "4539148803436467",
                "x4539-1488-0343-6467",
                "merchant-7",
                "123456789012345",
            ] {
                let domain: Domain = domain.parse().unwrap();
                assert_eq!(vault.exists(&access(), &domain, &token), Ok(false));
            }
        });
    });
    let told = watcher.lines().join("\n");
    assert_eq!(told.matches("(a card number)").count(), 2, "{told}");
    for domain in ["merchant-7", "123456789012345"] {
        assert!(told.contains(domain), "{told}");
    }
    for part in ["4539", "6467"] {
        assert!(!told.contains(part), "{told}");
    }
}

/// Two vaults of one store: one goes on with a newer ring, the other learns of it.
#[test]
fn a_guard_that_moved_on_is_told() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let store = Arc::new(Memory::new());
    alone(&recorder, || {
        let ours = desk::open_with(Arc::clone(&store), ring()).unwrap();
        let theirs = desk::open_with(Arc::clone(&store), ring()).unwrap();
        let mut newer = ring();
        let period = Cryptoperiod::default_of(KeyUse::Card);
        newer
            .add(KeyUse::Card, period, desk::NOW, &mut desk::rng(2))
            .unwrap();
        theirs.set_ring(newer).unwrap();
        let stale = ours.tokenize(&shop(), &desk::card(1), &Tokenize::fresh());
        assert!(matches!(stale, Err(VaultError::StaleRing { .. })));
    });
    let measured = measured(&snapshotter);
    assert_eq!(measured[metric_names::GUARD_MOVES], 1.0);
    let failed = "cardvault_failed_total part=vault call=tokenize reason=stale-ring";
    assert_eq!(measured[failed], 1.0);
}

/// Of a call with several endings the gravest counts, wherever it stands.
#[test]
fn one_failure_among_refusals_makes_a_call_fail() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let store = Arc::new(Memory::new());
    alone(&recorder, || {
        let vault = desk::open_with(Arc::clone(&store), ring()).unwrap();
        let token = |n, how: &Tokenize| vault.tokenize(&shop(), &desk::card(n), how).unwrap().token;
        let over = token(1, &Tokenize::fresh().expiring(desk::NOW));
        let (good, bad) = (token(2, &Tokenize::fresh()), token(3, &Tokenize::fresh()));
        for (key, row) in block_on(store.scan(None, None, 10)).unwrap() {
            if key.as_bytes().ends_with(bad.as_bytes()) {
                let mut bytes = row.as_bytes().to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                let row = Row::new(&bytes).unwrap();
                let write = vec![Write::Put(Item::Row(key, row))];
                block_on(store.write(None, write)).unwrap();
            }
        }
        for asked in [[good, over, bad], [bad, over, good], [over, bad, over]] {
            let cards = vault.detokenize_batch(&access(), &shop(), &asked);
            for (card, token) in cards.iter().zip(asked) {
                assert_eq!(card.is_ok(), token == good);
            }
        }
        let refused = vault.detokenize_batch(&access(), &shop(), &[over, good]);
        assert!(refused[0].is_err() && refused[1].is_ok());
    });
    let measured = measured(&snapshotter);
    let calls = "cardvault_calls_total part=vault call=detokenize_batch outcome=";
    assert_eq!(measured[&format!("{calls}failed")], 3.0);
    assert_eq!(measured[&format!("{calls}refused")], 1.0);
}

/// Ages grow, and what is left shrinks to less than nothing.
#[test]
fn keys_are_measured_when_asked() {
    static LATER: AtomicU64 = AtomicU64::new(0);
    let clock = || desk::NOW.plus(LATER.load(Ordering::Relaxed) * DAY);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    alone(&recorder, || {
        let log = LineLog::new(io::sink());
        let open = Vault::open_with(Memory::new(), ring(), log, || SystemRandom, clock);
        let vault = block_on(open).unwrap();
        for (later, age, seals, opens) in [
            (0, 0, 365, 1460),
            (10, 10, 355, 1450),
            (1500, 1500, -1135, -40),
        ] {
            LATER.store(later, Ordering::Relaxed);
            vault.measure_keys().unwrap();
            let measured = measured(&snapshotter);
            let days = |name: &str| (measured[&format!("{name} use=card")] / DAY as f64) as i64;
            assert_eq!(days(metric_names::KEY_AGE), age);
            assert_eq!(days(metric_names::KEY_SEALS_FOR), seals);
            assert_eq!(days(metric_names::KEY_OPENS_FOR), opens);
        }
    });
}
