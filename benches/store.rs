//! New durable mappings: the vault and its embedded store against the bare engine, in one run.
//!
//! The bare engine writes the same tables and bytes with the same settings. Contenders take turns,
//! so that a slow moment of the disk meets all of them; read the ratios. `CARDVAULT_BENCH_ROWS` is
//! the number of mappings that are there before (100,000), `CARDVAULT_BENCH_ROUNDS` the number of
//! turns (8). Then one vault grows tenfold from 10,000 to `CARDVAULT_BENCH_MOST` (100,000), and its
//! rates at each size stand beside the engine's; `CARDVAULT_BENCH_ROUNDS=0` does that alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

mod support;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use cardvault::keys::Domain;
use cardvault::token::Token;
use cardvault::vault::{
    Access, Embedded, EmbeddedOptions, IndexKey, ROW_LEN, Row, RowKey, Store, Tokenize, Vault,
    Write, WriteOutcome,
};
use pollster::block_on;
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::support::{card, fill, median, new_vault, number, rate};

const CALLERS: usize = 256;
const DOMAIN: &str = "merchant";
/// The lengths of a vault's keys in this domain: its name behind its length, and an opaque token;
/// or an index version and a fingerprint.
const ROW_KEY_LEN: usize = 1 + DOMAIN.len() + 17;
const INDEX_KEY_LEN: usize = 1 + DOMAIN.len() + 4 + 32;
/// Mappings of one turn.
const TURN: u64 = 20_000;

fn main() {
    let rows = number("CARDVAULT_BENCH_ROWS", 100_000);
    let rounds = number("CARDVAULT_BENCH_ROUNDS", 8);
    let folder = tempfile::tempdir().unwrap();
    if rounds > 0 {
        race(folder.path(), rows, rounds);
    }
    grow(folder.path(), number("CARDVAULT_BENCH_MOST", 100_000));
}

fn race(folder: &Path, rows: u64, rounds: u64) {
    let embedded =
        |name: &str| Embedded::create(&folder.join(name), &EmbeddedOptions::default()).unwrap();
    let bare = |name: &str| Bare::new(&folder.join(name));

    let (hundreds, bulk_engine) = (bare("hundreds.redb"), bare("bulk.redb"));
    let (threads, tasks, batches_store) =
        (embedded("threads"), embedded("tasks"), embedded("batches"));
    let (vault_threads, vault_tasks, vault_batches) = (
        new_vault(embedded("vault-threads")),
        new_vault(embedded("vault-tasks")),
        new_vault(embedded("vault-batches")),
    );
    let mut contenders = [
        Contender::new("bare engine, transactions of 100", |range| {
            hundreds.insert(range, 100)
        }),
        Contender::new("256 threads, one mapping each", |range| {
            by_threads(range, |n| block_on(insert_one(&threads, n)));
        }),
        Contender::new("256 tasks on a thread, one mapping each", |range| {
            by_tasks(range, |n| insert_one(&tasks, n));
        }),
        Contender::new("bare engine, transactions of 10,000", |range| {
            bulk_engine.insert(range, 10_000)
        }),
        Contender::new("batches of 10,000", |range| {
            insert_batches(&batches_store, range, 10_000)
        }),
        Contender::new("vault, 256 threads, one card each", |range| {
            by_threads(range, |n| block_on(tokenize_one(&vault_threads, n)));
        }),
        Contender::new("vault, 256 tasks on a thread, one card each", |range| {
            by_tasks(range, |n| tokenize_one(&vault_tasks, n));
        }),
        Contender::new("vault, batches of 10,000", |range| {
            tokenize_batches(&vault_batches, range, 10_000)
        }),
    ];
    hundreds.insert(0..rows, 10_000);
    bulk_engine.insert(0..rows, 10_000);
    for store in [&threads, &tasks, &batches_store] {
        insert_batches(store, 0..rows, 10_000);
    }
    for vault in [&vault_threads, &vault_tasks, &vault_batches] {
        tokenize_batches(vault, 0..rows, 10_000);
    }
    for round in 0..rounds {
        let start = rows + round * TURN;
        for contender in &mut contenders {
            contender.turn(start..start + TURN);
        }
    }
    println!("new durable mappings over {rows} that are there, {rounds} turns of {TURN}");
    for contender in &contenders {
        println!("{:>10.0}/s  {}", contender.rate(), contender.name);
    }
    let [hundreds, threads, tasks, bulk, batches, ..] = &contenders;
    let [.., vault_by_threads, vault_by_tasks, vault_in_batches] = &contenders;
    for singles in [threads, tasks, vault_by_threads, vault_by_tasks] {
        ratio(singles, hundreds, 0.5);
    }
    for bulks in [batches, vault_in_batches] {
        ratio(bulks, bulk, 0.8);
    }
    drop(contenders);

    let end = rows + rounds * TURN;
    latency("store, find by index", end, |n| {
        let Write::Insert { token, index, .. } = mapping(n) else {
            return;
        };
        let found = block_on(batches_store.find(index)).unwrap();
        assert!(
            found[0]
                .unique
                .as_ref()
                .is_some_and(|(found, _)| *found == token)
        );
    });
    latency("store, row by token", end, |n| {
        let Write::Insert { token, row, .. } = mapping(n) else {
            return;
        };
        assert_eq!(
            block_on(batches_store.rows(vec![token])).unwrap(),
            [Some(row)]
        );
    });
    latency("bare engine, row by index", end, |n| {
        assert!(bulk_engine.find(n))
    });
}

/// What a card costs in a vault of each size: it should be the same in all.
fn grow(folder: &Path, most: u64) {
    const BATCH: u64 = 1_000;
    const SINGLES: u64 = 50;
    const READ: usize = 100;
    const ROUNDS: usize = 20;
    let store = Embedded::create(&folder.join("grown"), &EmbeddedOptions::default()).unwrap();
    let (vault, bare) = (new_vault(store), Bare::new(&folder.join("grown.redb")));
    let domain: Domain = DOMAIN.parse().unwrap();
    let access = Access::new("bench", "sizes", "host").unwrap();
    let mut tokens: Vec<Token> = Vec::new();
    let insert = |count: u64, tokens: &mut Vec<Token>| {
        let there = tokens.len() as u64;
        let range = there..there + count;
        let ours = rate(count, || {
            let cards: Vec<_> = range.clone().map(card).collect();
            let given = block_on(vault.tokenize_batch(&domain, &cards, &Tokenize::convergent()));
            tokens.extend(given.into_iter().map(|given| given.unwrap().token));
        });
        (ours, rate(count, || bare.insert(range, 10_000)))
    };
    let mut picked = 0_u64;
    let mut size = 10_000;
    while size <= most {
        while (tokens.len() as u64) < size {
            insert((size - tokens.len() as u64).min(10_000), &mut tokens);
        }
        let mut rates: [Vec<f64>; 6] = Default::default();
        for _ in 0..ROUNDS {
            let (ours, theirs) = insert(BATCH, &mut tokens);
            rates[0].push(ours);
            rates[1].push(theirs);
            let mut singles = (0.0, 0.0);
            for _ in 0..SINGLES {
                let (ours, theirs) = insert(1, &mut tokens);
                singles = (singles.0 + 1.0 / ours, singles.1 + 1.0 / theirs);
            }
            rates[2].push(SINGLES as f64 / singles.0);
            rates[3].push(SINGLES as f64 / singles.1);
            let picks: Vec<_> = (0..READ)
                .map(|_| {
                    picked = picked.wrapping_add(0x9E37_79B9_7F4A_7C15);
                    ((u128::from(picked) * tokens.len() as u128) >> 64) as usize
                })
                .collect();
            let asked: Vec<_> = picks.iter().map(|n| tokens[*n]).collect();
            rates[4].push(rate(READ as u64, || {
                let cards = block_on(vault.detokenize_batch(&access, &domain, &asked));
                assert!(cards.iter().all(Result::is_ok));
            }));
            rates[5].push(rate(READ as u64, || bare.read(&picks)));
        }
        let [
            batches,
            bare_batches,
            singles,
            bare_singles,
            reads,
            bare_reads,
        ] = rates.map(median);
        println!(
            "from {size:>8} on: batches of {BATCH} {batches:.0}/s (bare {bare_batches:.0}/s), one \
             caller {singles:.0}/s (bare {bare_singles:.0}/s), cards in batches of {READ} \
             {reads:.0}/s (bare {bare_reads:.0}/s)"
        );
        size *= 10;
    }
}

fn latency(name: &str, rows: u64, read: impl Fn(u64)) {
    const READS: usize = 50_000;
    let mut nanos = Vec::with_capacity(READS);
    for n in 0..READS as u64 {
        let picked = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % rows;
        let start = Instant::now();
        read(picked);
        nanos.push(start.elapsed().as_nanos() as f64);
    }
    nanos.sort_by(f64::total_cmp);
    let micros = |part: usize| nanos[READS * part / 100] / 1000.0;
    println!(
        "{:>7.1} us p50 {:>7.1} us p99  {name}",
        micros(50),
        micros(99)
    );
}

fn ratio(ours: &Contender<'_>, bare: &Contender<'_>, least: f64) {
    let ratio = ours.rate() / bare.rate();
    println!(
        "ratio {ratio:.2} (at least {least}): {} to {}",
        ours.name, bare.name
    );
}

/// One way to insert the mappings of a range, and the rates of its turns.
struct Contender<'a> {
    name: &'static str,
    insert: Box<dyn Fn(core::ops::Range<u64>) + 'a>,
    rates: Vec<f64>,
}

impl<'a> Contender<'a> {
    fn new(name: &'static str, insert: impl Fn(core::ops::Range<u64>) + 'a) -> Self {
        Self {
            name,
            insert: Box::new(insert),
            rates: Vec::new(),
        }
    }

    fn turn(&mut self, range: core::ops::Range<u64>) {
        let count = range.end - range.start;
        self.rates.push(rate(count, || (self.insert)(range)));
    }

    /// The median.
    fn rate(&self) -> f64 {
        median(self.rates.clone())
    }
}

/// Calls `one` for each number from 256 threads.
fn by_threads(range: core::ops::Range<u64>, one: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(range.start);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= range.end {
                        break;
                    }
                    one(n);
                }
            });
        }
    });
}

/// Runs `one` for each number, 256 at a time, on this thread.
fn by_tasks<F: Future<Output = ()>>(range: core::ops::Range<u64>, one: impl Fn(u64) -> F) {
    let next = RefCell::new(range);
    let ready = Arc::new(Ready::default());
    let caller = || async {
        loop {
            let n = next.borrow_mut().next();
            let Some(n) = n else { break };
            one(n).await;
        }
    };
    let mut tasks: Vec<Option<Pin<Box<dyn Future<Output = ()> + '_>>>> = Vec::new();
    let mut wakers = Vec::new();
    for n in 0..CALLERS {
        tasks.push(Some(Box::pin(caller())));
        let waker = Arc::new(Task {
            number: n,
            ready: Arc::clone(&ready),
        });
        waker.wake_by_ref();
        wakers.push(Waker::from(waker));
    }
    let mut running = CALLERS;
    while running > 0 {
        let number = ready.take();
        let Some(task) = &mut tasks[number] else {
            continue;
        };
        if let Poll::Ready(()) = task
            .as_mut()
            .poll(&mut Context::from_waker(&wakers[number]))
        {
            tasks[number] = None;
            running -= 1;
        }
    }
}

#[derive(Default)]
struct Ready {
    queue: Mutex<VecDeque<usize>>,
    any: Condvar,
}

impl Ready {
    fn take(&self) -> usize {
        let mut queue = self.queue.lock().unwrap();
        loop {
            match queue.pop_front() {
                Some(number) => return number,
                None => queue = self.any.wait(queue).unwrap(),
            }
        }
    }
}

struct Task {
    number: usize,
    ready: Arc<Ready>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.ready.queue.lock().unwrap().push_back(self.number);
        self.ready.any.notify_one();
    }
}

async fn insert_one(store: &Embedded, n: u64) {
    let outcome = store.write(None, vec![mapping(n)]).await.unwrap();
    assert_eq!(outcome, [WriteOutcome::Inserted]);
}

fn insert_batches(store: &Embedded, range: core::ops::Range<u64>, per: u64) {
    for start in range.clone().step_by(usize::try_from(per).unwrap()) {
        let writes = (start..range.end.min(start + per)).map(mapping).collect();
        let outcomes = block_on(store.write(None, writes)).unwrap();
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == WriteOutcome::Inserted)
        );
    }
}

async fn tokenize_one(vault: &Vault<Embedded>, n: u64) {
    let domain: Domain = DOMAIN.parse().unwrap();
    let tokenized = vault
        .tokenize(&domain, &card(n), &Tokenize::convergent())
        .await;
    assert!(!tokenized.unwrap().existing);
}

fn tokenize_batches(vault: &Vault<Embedded>, range: core::ops::Range<u64>, per: u64) {
    let domain: Domain = DOMAIN.parse().unwrap();
    for start in range.clone().step_by(usize::try_from(per).unwrap()) {
        let cards: Vec<_> = (start..range.end.min(start + per)).map(card).collect();
        let results = block_on(vault.tokenize_batch(&domain, &cards, &Tokenize::convergent()));
        assert!(results.iter().all(|result| !result.unwrap().existing));
    }
}

fn mapping(n: u64) -> Write {
    let Bytes { token, row, index } = Bytes::new(n);
    Write::Insert {
        token: RowKey::new(&token).unwrap(),
        row: Row::new(&row).unwrap(),
        index: vec![IndexKey::new(&index).unwrap()],
        unique: true,
    }
}

/// A mapping as a vault has it: random tokens, fingerprints and sealed records under one domain.
struct Bytes {
    token: [u8; ROW_KEY_LEN],
    row: [u8; ROW_LEN],
    index: [u8; INDEX_KEY_LEN],
}

impl Bytes {
    fn new(n: u64) -> Self {
        let mut bytes = Self {
            token: [b'd'; ROW_KEY_LEN],
            row: [0; ROW_LEN],
            index: [b'd'; INDEX_KEY_LEN],
        };
        fill(3 * n, &mut bytes.token[ROW_KEY_LEN - 16..]);
        fill(3 * n + 1, &mut bytes.row);
        fill(3 * n + 2, &mut bytes.index[INDEX_KEY_LEN - 32..]);
        bytes
    }

    /// The index key as the store keeps it: behind its length.
    fn entry(&self) -> Vec<u8> {
        let len = u8::try_from(INDEX_KEY_LEN).unwrap();
        [&[len], &self.index[..]].concat()
    }
}

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const INDEX: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("index");

/// The engine without the store.
struct Bare(Database);

impl Bare {
    fn new(path: &Path) -> Self {
        let cache = EmbeddedOptions::default().cache;
        Self(
            Database::builder()
                .set_cache_size(cache)
                .create(path)
                .unwrap(),
        )
    }

    fn find(&self, n: u64) -> bool {
        let bytes = Bytes::new(n);
        let transaction = self.0.begin_read().unwrap();
        let index = transaction.open_table(INDEX).unwrap();
        let rows = transaction.open_table(ROWS).unwrap();
        let token = index.get(&bytes.entry()[..]).unwrap().unwrap();
        rows.get(token.value()).unwrap().unwrap().value() == bytes.row
    }

    fn read(&self, picks: &[usize]) {
        let transaction = self.0.begin_read().unwrap();
        let rows = transaction.open_table(ROWS).unwrap();
        for n in picks {
            let token = Bytes::new(*n as u64).token;
            let row = rows.get(&token[..]).unwrap().unwrap();
            assert_eq!(row.value().to_vec().len(), ROW_LEN);
        }
    }

    fn insert(&self, range: core::ops::Range<u64>, per: usize) {
        for start in range.clone().step_by(per) {
            let mut transaction = self.0.begin_write().unwrap();
            transaction.set_quick_repair(true);
            {
                let mut rows = transaction.open_table(ROWS).unwrap();
                let mut index = transaction.open_table(INDEX).unwrap();
                for n in start..range.end.min(start + per as u64) {
                    let bytes = Bytes::new(n);
                    rows.insert(&bytes.token[..], &bytes.row[..]).unwrap();
                    index.insert(&bytes.entry()[..], &bytes.token[..]).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
    }
}
