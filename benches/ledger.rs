//! Look-ups in ledgers of growing size, on disk: the ledger, and the bare engine doing the same
//! reads in the same file, in one run.
//!
//! The sizes are 10000, 100000, ... payments, up to `LEDGER_PAYMENTS` (1000000). 10000000 take
//! some 10 minutes and 15 GB in the temporary folder. `LEDGER_CACHE_MIB` is the memory for pages
//! of each (256, the store's default), `LEDGER_READS` how many look-ups are timed (50000).
//!
//! "Page reads" are the read calls to the system for one look-up (Linux): pages that the engine's
//! cache did not hold. The engine finds the row key in the index and gets the row: it checks no tag and decodes
//! nothing. Payments are met in a random order over all, so that no neighbour's pages help, or, as
//! "recent", over the last 10000, as a refund desk does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs
)]

use std::env;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::ledger::{
    BlockingLedger, Ledger, Lookup, MAX_ENTRIES, NewPayment, PaymentId, Source,
};
use cardvault::payment::{
    Amount, BatchNumber, Currency, Date, PaymentFields, PaymentKind, ResponseCode, Rrn, Stan,
    TerminalId, Voucher,
};
use cardvault::refund::PaidBy;
use cardvault::vault::{DEFAULT_CACHE, Embedded, EmbeddedOptions, LineLog, Vault};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use redb::{Database, ReadableDatabase, TableDefinition};

const START: u64 = 1_800_000_000;
const DOMAIN: &str = "shop-1";
/// How many of the newest payments count as recent.
const RECENT: u64 = 10_000;
/// Callers that fill together, so that their commits are one.
const FILLERS: u64 = 8;

fn main() {
    let most = number("LEDGER_PAYMENTS", 1_000_000);
    let cache = number("LEDGER_CACHE_MIB", (DEFAULT_CACHE >> 20) as u64) << 20;
    let cache = usize::try_from(cache).unwrap();
    let reads = usize::try_from(number("LEDGER_READS", 50_000)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let options = EmbeddedOptions {
        cache,
        ..EmbeddedOptions::default()
    };
    drop(Embedded::create(&path, &options).unwrap());
    println!(
        "microseconds: p50 and p99 of {reads} look-ups, {} MiB of cache",
        cache >> 20
    );
    println!(
        "  payments  file MiB  look-up           page reads      ledger          engine  ratio"
    );
    let (mut there, mut size) = (0, 10_000);
    while size <= most {
        let ledger = open(&path, &options);
        fill(&ledger, there..size);
        there = size;
        // Both are measured as freshly opened.
        drop(ledger);
        let ledger = open(&path, &options);
        let shop: Domain = DOMAIN.parse().unwrap();
        let by_rrn = |n| {
            let by = Lookup::Rrn(rrn(n), date());
            let page = ledger.find(&shop, &by, None, 10).unwrap();
            assert_eq!(page.items.len(), 1);
            black_box(page);
        };
        let ours = [
            time(reads, RECENT.min(size), |n| by_rrn(size - 1 - n)),
            time(reads, size, by_rrn),
            time(reads, size, |n| {
                black_box(ledger.payment(&shop, &payment(n).id).unwrap());
            }),
            time(reads, size, |n| {
                let (from, until) = (UnixSeconds(START + n), UnixSeconds(START + n + 10));
                black_box(ledger.payments(&shop, from, until, None, 10).unwrap());
            }),
        ];
        drop(ledger);
        let engine = Engine::open(&path, cache);
        let bare = [
            time(reads, RECENT.min(size), |n| {
                assert!(engine.by_rrn(size - 1 - n));
            }),
            time(reads, size, |n| assert!(engine.by_rrn(n))),
            time(reads, size, |n| assert!(engine.by_identity(n))),
            time(reads, size, |n| assert!(engine.range(n, size))),
        ];
        drop(engine);
        let mib = std::fs::metadata(path.join("vault.redb")).unwrap().len() >> 20;
        let names = [
            "number, recent",
            "reference number",
            "identity",
            "time range of 10",
        ];
        for (name, (ours, bare)) in names.into_iter().zip(ours.into_iter().zip(bare)) {
            println!(
                "{size:>10}  {mib:>8}  {name:<16}  {:>10.2} {:>6.1} {:>6.1}  {:>6.1} {:>6.1} {:>6.2}",
                ours.page_reads,
                ours.p50,
                ours.p99,
                bare.p50,
                bare.p99,
                ours.p50 / bare.p50
            );
        }
        size *= 10;
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

struct Timed {
    /// Microseconds.
    p50: f64,
    p99: f64,
    /// For one look-up.
    page_reads: f64,
}

/// Times look-ups after as many that fill the caches.
fn time(reads: usize, size: u64, read: impl Fn(u64)) -> Timed {
    let pick = |n: usize| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % size;
    (0..reads).for_each(|n| read(pick(n)));
    let before = read_calls();
    let mut nanos: Vec<f64> = (reads..2 * reads)
        .map(|n| {
            let picked = pick(n);
            let start = Instant::now();
            read(picked);
            start.elapsed().as_nanos() as f64
        })
        .collect();
    let calls = read_calls() - before;
    nanos.sort_by(f64::total_cmp);
    let micros = |part: usize| nanos[reads * part / 100] / 1000.0;
    Timed {
        p50: micros(50),
        p99: micros(99),
        page_reads: calls / reads as f64,
    }
}

/// How often this process asked the system to read; 0 where nobody counts.
fn read_calls() -> f64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("syscr: "));
    line.map_or(0.0, |count| count.parse().unwrap())
}

fn fill(ledger: &BlockingLedger<Embedded>, range: core::ops::Range<u64>) {
    let shop: Domain = DOMAIN.parse().unwrap();
    let each = (MAX_ENTRIES as u64).min((range.end - range.start).div_ceil(FILLERS));
    for start in range.clone().step_by((FILLERS * each).try_into().unwrap()) {
        thread::scope(|scope| {
            for filler in 0..FILLERS {
                let first = (start + filler * each).min(range.end);
                let payments: Vec<_> = (first..(first + each).min(range.end))
                    .map(payment)
                    .collect();
                let shop = &shop;
                scope.spawn(move || {
                    let written = ledger.record_batch(shop, &payments, Source::Centre);
                    assert_eq!(written, Ok(payments.len()));
                });
            }
        });
    }
}

fn payment(n: u64) -> NewPayment {
    let number = u32::try_from(n % 999_999 + 1).unwrap();
    let numbers = (
        Stan::new(number).unwrap(),
        Voucher::new(number).unwrap(),
        BatchNumber::new(u32::try_from(n / 999_999 + 1).unwrap()).unwrap(),
    );
    let amount = Amount::new(1_000, Currency::CNY).unwrap();
    let merchant = "M1".parse().unwrap();
    let mut fields = PaymentFields::new(PaymentKind::Sale, amount, numbers, terminal(), merchant);
    fields.rrn = Some(rrn(n));
    fields.response = Some(ResponseCode::APPROVED);
    NewPayment {
        id: PaymentId::Journal {
            terminal: terminal(),
            epoch: 1,
            sequence: n,
        },
        time: UnixSeconds(START + n),
        date: date(),
        paid_by: PaidBy::Card,
        fields,
        token: None,
        last_four: None,
    }
}

fn terminal() -> TerminalId {
    "T0000001".parse().unwrap()
}

fn rrn(n: u64) -> Rrn {
    format!("{n:012}").parse().unwrap()
}

fn date() -> Date {
    Date::of(UnixSeconds(START), 480).unwrap()
}

/// The ledger over the store in `folder`, under a ring that is the same at each opening.
fn open(folder: &Path, options: &EmbeddedOptions) -> BlockingLedger<Embedded> {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    let now = UnixSeconds(START);
    for usage in KeyUse::ALL {
        let name = ring.add(usage, Cryptoperiod::default_of(usage), now, &mut rng);
        ring.activate(name.unwrap(), now).unwrap();
    }
    let store = Embedded::open(folder, options).unwrap();
    let log = LineLog::new(std::io::sink());
    let vault = Vault::open_with(store, ring, log, || SystemRandom, || UnixSeconds(START));
    Ledger::new(Arc::new(block_on(vault).unwrap())).blocking()
}

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const INDEX: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("index");

/// The engine without store and ledger, over the same file.
struct Engine(Database);

impl Engine {
    fn open(folder: &Path, cache: usize) -> Self {
        let file = folder.join("vault.redb");
        Self(
            Database::builder()
                .set_cache_size(cache)
                .open(file)
                .unwrap(),
        )
    }

    fn by_rrn(&self, n: u64) -> bool {
        let days = date().days().to_be_bytes();
        let prefix = entry(0x52, &[&days, rrn(n).as_bytes()]);
        let transaction = self.0.begin_read().unwrap();
        let index = transaction.open_table(INDEX).unwrap();
        let rows = transaction.open_table(ROWS).unwrap();
        let mut range = index.range(&prefix[..]..).unwrap();
        let (key, _) = range.next().unwrap().unwrap();
        let key = key.value().strip_prefix(&prefix[..]).unwrap();
        rows.get(key).unwrap().is_some()
    }

    fn by_identity(&self, n: u64) -> bool {
        let sequence = n.to_be_bytes();
        let parts: [&[u8]; 4] = [&[1], terminal_bytes(), &[0, 0, 0, 1], &sequence];
        let key = entry(0x50, &parts);
        let transaction = self.0.begin_read().unwrap();
        let index = transaction.open_table(INDEX).unwrap();
        let rows = transaction.open_table(ROWS).unwrap();
        let key = index.get(&key[..]).unwrap().unwrap();
        rows.get(key.value()).unwrap().is_some()
    }

    fn range(&self, n: u64, size: u64) -> bool {
        let at = |n: u64| entry(0x41, &[&(START + n).to_be_bytes()])[1..].to_vec();
        let transaction = self.0.begin_read().unwrap();
        let rows = transaction.open_table(ROWS).unwrap();
        let range = rows.range(&at(n)[..]..&at(n + 10)[..]).unwrap();
        let found: Vec<_> = range
            .map(|entry| entry.unwrap().1.value().to_vec())
            .collect();
        found.len() as u64 == 10.min(size - n)
    }
}

const fn terminal_bytes() -> &'static [u8; 8] {
    b"T0000001"
}

/// A key of the ledger in this domain, behind its length.
fn entry(space: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = u8::try_from(DOMAIN.len()).unwrap();
    let key = [&[space, len], DOMAIN.as_bytes(), &parts.concat()].concat();
    let len = u8::try_from(key.len()).unwrap();
    [&[len], &key[..]].concat()
}
