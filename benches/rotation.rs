//! Key rotation: a rewrap against the bare engine that reads and writes the same rows, and the
//! latency of other callers with and without a rewrap beside them.
//!
//! Contenders take turns, so that a slow moment of the disk meets all of them; read the ratios.
//! `CARDVAULT_BENCH_ROWS` is the number of rows (100,000), `CARDVAULT_BENCH_ROUNDS` the number of
//! turns (4), `CARDVAULT_BENCH_SECONDS` how long each turn of the callers lasts (10).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

mod support;

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cardvault::UnixSeconds;
use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::token::Token;
use cardvault::vault::{
    Access, BlockingVault, Embedded, EmbeddedOptions, LineLog, ROW_LEN, RewrapPace, Rewrapping,
    Tokenize, Vault,
};
use pollster::block_on;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::support::{card, fill, median, number, rate};

const DOMAIN: &str = "merchant";
/// Rows of a batch of the bare engine, as many as a rewrap at full pace takes.
const BATCH: usize = 4_000;
/// The length of a vault's row keys in this domain: its name behind its length, and an opaque token.
const KEY_LEN: usize = 1 + DOMAIN.len() + 17;

fn main() {
    let rows = number("CARDVAULT_BENCH_ROWS", 100_000);
    let rounds = number("CARDVAULT_BENCH_ROUNDS", 4);
    let turn = Duration::from_secs(number("CARDVAULT_BENCH_SECONDS", 10));
    let folder = tempfile::tempdir().unwrap();
    let mut vault = Rotating::new(&folder.path().join("vault"), rows);
    let bare = Bare::new(&folder.path().join("bare.redb"), rows);

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        theirs.push(rate(rows, || assert_eq!(bare.pass(round), rows)));
        vault.rotate();
        ours.push(rate(rows, || {
            assert_eq!(vault.rewrap(RewrapPace::FULL, || false), rows);
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("{rows} rows, {rounds} turns");
    println!("{theirs:>10.0}/s  bare engine, rows read and written in batches of {BATCH}");
    println!("{ours:>10.0}/s  rewrap at full pace");
    println!("ratio {:.2} (at least 0.7)", ours / theirs);

    let mut alone = Latencies::default();
    let mut beside = Latencies::default();
    let moved = AtomicU64::new(0);
    for _ in 0..rounds {
        callers(&vault, turn, &mut alone, |_| {});
        vault.rotate();
        callers(&vault, turn, &mut beside, |over| {
            let seen = vault.rewrap(RewrapPace::BESIDE_OTHERS, || over.load(Ordering::Acquire));
            moved.fetch_add(seen, Ordering::Relaxed);
        });
    }
    let seconds = turn.as_secs_f64() * rounds as f64;
    let rate = moved.load(Ordering::Relaxed) as f64 / seconds;
    println!("others at a fixed pace, {rounds} turns of {turn:?}; rewrap beside them: {rate:.0}/s");
    for (name, alone, beside) in [
        ("tokenize", alone.tokenize, beside.tokenize),
        ("detokenize", alone.detokenize, beside.detokenize),
    ] {
        let (alone, beside) = (percentiles(alone), percentiles(beside));
        println!(
            "{:>9.0} us p50 {:>9.0} us p99  {name}, alone",
            alone.0, alone.1
        );
        println!(
            "{:>9.0} us p50 {:>9.0} us p99  {name}, beside a rewrap",
            beside.0, beside.1
        );
        println!("ratio of p99 {:.2} (at most 2)", beside.1 / alone.1);
    }
}

/// The 50th and the 99th, in microseconds.
fn percentiles(mut of: Vec<Duration>) -> (f64, f64) {
    of.sort();
    let at = |part: usize| of[of.len() * part / 100].as_secs_f64() * 1e6;
    (at(50), at(99))
}

/// A vault whose card key is replaced again and again.
struct Rotating {
    vault: BlockingVault<Embedded>,
    tokens: Vec<Token>,
    versions: u32,
    now: UnixSeconds,
    next: AtomicU64,
}

impl Rotating {
    fn new(folder: &Path, rows: u64) -> Self {
        let store = Embedded::create(folder, &EmbeddedOptions::default()).unwrap();
        let now = UnixSeconds::now();
        let log = LineLog::new(std::io::sink());
        let vault = block_on(Vault::open(store, ring(1, now), log))
            .unwrap()
            .blocking();
        let mut tokens = Vec::new();
        for start in (0..rows).step_by(10_000) {
            let cards: Vec<_> = (start..rows.min(start + 10_000)).map(card).collect();
            let made = vault.tokenize_batch(&domain(), &cards, &Tokenize::convergent());
            tokens.extend(made.into_iter().map(|made| made.unwrap().token));
        }
        Self {
            vault,
            tokens,
            versions: 1,
            now,
            next: AtomicU64::new(rows),
        }
    }

    fn rotate(&mut self) {
        self.versions += 1;
        self.vault.set_ring(ring(self.versions, self.now)).unwrap();
    }

    /// Rewraps, and then again as a later pass would, until `over`. Gives the rows moved.
    fn rewrap(&self, pace: RewrapPace, over: impl Fn() -> bool) -> u64 {
        let mut rewrapping = Rewrapping::new(pace);
        let done = self.vault.rewrap_all(&mut rewrapping, |_| match over() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        done.unwrap();
        rewrapping.progress().moved
    }
}

fn domain() -> Domain {
    DOMAIN.parse().unwrap()
}

/// One ring with so many card versions, the same each time.
fn ring(cards: u32, now: UnixSeconds) -> KeyRing {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    let further = (1..cards).map(|_| KeyUse::Card);
    for usage in KeyUse::ALL.into_iter().chain(further) {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut rng).unwrap();
        ring.activate(name, now).unwrap();
    }
    ring
}

#[derive(Default)]
struct Latencies {
    tokenize: Vec<Duration>,
    detokenize: Vec<Duration>,
}

/// A caller that tokenizes new cards and one that detokenizes, each at a fixed pace, beside `work`.
fn callers(
    vault: &Rotating,
    turn: Duration,
    into: &mut Latencies,
    work: impl FnOnce(&AtomicBool) + Send,
) {
    let over = AtomicBool::new(false);
    let domain = domain();
    let access = Access::new("bench", "latency", "host").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| work(&over));
        let tokenizing = scope.spawn(|| {
            paced(turn, Duration::from_millis(20), |_| {
                let n = vault.next.fetch_add(1, Ordering::Relaxed);
                let made = vault
                    .vault
                    .tokenize(&domain, &card(n), &Tokenize::convergent());
                assert!(!made.unwrap().existing);
            })
        });
        let detokenizing = scope.spawn(|| {
            paced(turn, Duration::from_millis(5), |n| {
                let picked = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % vault.tokens.len() as u64;
                let token = &vault.tokens[usize::try_from(picked).unwrap()];
                vault.vault.detokenize(&access, &domain, token).unwrap();
            })
        });
        into.tokenize.extend(tokenizing.join().unwrap());
        into.detokenize.extend(detokenizing.join().unwrap());
        over.store(true, Ordering::Release);
    });
}

/// Calls at fixed times; how long after its time each call had ended.
fn paced(turn: Duration, every: Duration, call: impl Fn(u64)) -> Vec<Duration> {
    let start = Instant::now();
    let mut took = Vec::new();
    for n in 0.. {
        let due = start + every * n;
        if due >= start + turn {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        call(n.into());
        took.push(due.elapsed());
    }
    took
}

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// The engine without the store, with the rows of a vault.
struct Bare(Database);

impl Bare {
    fn new(path: &Path, rows: u64) -> Self {
        let cache = EmbeddedOptions::default().cache;
        let db = Database::builder()
            .set_cache_size(cache)
            .create(path)
            .unwrap();
        for start in (0..rows).step_by(10_000) {
            let writing = db.begin_write().unwrap();
            {
                let mut table = writing.open_table(ROWS).unwrap();
                for n in start..rows.min(start + 10_000) {
                    let (mut key, mut row) = ([b'd'; KEY_LEN], [0; ROW_LEN]);
                    fill(2 * n, &mut key[KEY_LEN - 16..]);
                    fill(2 * n + 1, &mut row);
                    table.insert(&key[..], &row[..]).unwrap();
                }
            }
            writing.commit().unwrap();
        }
        Self(db)
    }

    /// Reads every row and writes another in its place, batch by batch.
    fn pass(&self, round: u64) -> u64 {
        let (mut after, mut seen) = (Vec::new(), 0);
        loop {
            let reading = self.0.begin_read().unwrap();
            let table = reading.open_table(ROWS).unwrap();
            let from = (Bound::Excluded(&after[..]), Bound::Unbounded);
            let page: Vec<_> = table
                .range::<&[u8]>(from)
                .unwrap()
                .take(BATCH)
                .map(|item| item.unwrap())
                .map(|(key, row)| (key.value().to_vec(), row.value().to_vec()))
                .collect();
            drop(table);
            drop(reading);
            let mut writing = self.0.begin_write().unwrap();
            writing.set_quick_repair(true);
            {
                let mut table = writing.open_table(ROWS).unwrap();
                for (key, row) in &page {
                    let mut row = row.clone();
                    row[0] = row[0].wrapping_add(round as u8 + 1);
                    table.insert(&key[..], &row[..]).unwrap();
                }
            }
            writing.commit().unwrap();
            seen += page.len() as u64;
            let Some((key, _)) = page.last() else {
                return seen;
            };
            after = key.clone();
            if page.len() < BATCH {
                return seen;
            }
        }
    }
}
