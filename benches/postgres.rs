//! The store on PostgreSQL against the bare engine doing the same reads and writes, in one run, on
//! a server of the bench's own.
//!
//! Contenders take turns, so that a slow moment of the disk meets all of them; read the ratios.
//! `CARDVAULT_BENCH_ROWS` is the number of mappings that are there before (20,000),
//! `CARDVAULT_BENCH_ROUNDS` the number of turns (10). Then one store grows tenfold from 10,000 to
//! `CARDVAULT_BENCH_MOST` (100,000), and its rates at each size stand beside the engine's.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

#[path = "../tests/support/cluster.rs"]
mod cluster;
mod support;

use core::ops::Range;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use cardvault::keys::Domain;
use cardvault::vault::{
    IndexKey, Postgres, PostgresOptions, ROW_LEN, Row, RowKey, Store, Tokenize, Vault, Write,
    WriteOutcome,
};
use pollster::block_on;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, Statement};

use crate::cluster::Cluster;
use crate::support::{card, fill, median, new_vault, number, rate};

/// Mappings of one batch, as asked for.
const BATCH: u64 = 1000;
/// Mappings of one turn of batches, and of single callers.
const BATCHES: u64 = 5 * BATCH;
const SINGLES: u64 = 640;
const CALLERS: usize = 64;
/// Tokens of one read.
const READ: u64 = 100;

fn main() {
    let rows = number("CARDVAULT_BENCH_ROWS", 20_000);
    let rounds = number("CARDVAULT_BENCH_ROUNDS", 10);
    // As somebody would set it up for this: room for the rows, and no checkpoint in each round,
    // behind which every page that is touched is logged as a whole.
    let settings = [
        "shared_buffers=2GB",
        "max_wal_size=8GB",
        "checkpoint_timeout=30min",
    ];
    let Some(cluster) = Cluster::start_with(&[], |_| settings.map(str::to_owned).to_vec()) else {
        return;
    };
    let store = |schema: &str| {
        let options = PostgresOptions::new(&cluster.connection()).unwrap();
        Postgres::create(&options.in_schema(schema)).unwrap()
    };
    let (batches_store, one_store, many_store) = (store("batches"), store("one"), store("many"));
    let vault_store = new_vault(store("vault"));
    drop((store("bare"), store("blind")));
    let (bare, blind) = (Bare::new(&cluster, "bare"), Bare::new(&cluster, "blind"));

    for start in (0..rows).step_by(10_000) {
        let range = start..rows.min(start + 10_000);
        bare.insert(range.clone(), true);
        blind.insert(range.clone(), false);
        for store in [&batches_store, &one_store, &many_store] {
            insert(store, range.clone());
        }
        tokenize(&vault_store, range);
    }
    cluster.sql("VACUUM ANALYZE");

    let mut rates: [Vec<f64>; 8] = Default::default();
    for round in 0..rounds {
        let from = rows + round * BATCHES;
        let in_batches = |work: &dyn Fn(Range<u64>)| {
            rate(BATCHES, || {
                for start in (from..from + BATCHES).step_by(BATCH as usize) {
                    work(start..start + BATCH);
                }
            })
        };
        rates[0].push(in_batches(&|range| bare.insert(range, true)));
        rates[1].push(in_batches(&|range| blind.insert(range, false)));
        rates[2].push(in_batches(&|range| insert(&batches_store, range)));
        rates[3].push(in_batches(&|range| tokenize(&vault_store, range)));
        let from = rows + round * SINGLES;
        let singles = from..from + SINGLES / 8;
        rates[4].push(rate(SINGLES / 8, || {
            singles.for_each(|n| insert(&one_store, n..n + 1))
        }));
        let next = AtomicU64::new(from);
        rates[5].push(rate(SINGLES, || {
            thread::scope(|scope| {
                for _ in 0..CALLERS {
                    scope.spawn(|| {
                        loop {
                            let n = next.fetch_add(1, Ordering::Relaxed);
                            if n >= from + SINGLES {
                                break;
                            }
                            insert(&many_store, n..n + 1);
                        }
                    });
                }
            });
        }));
        let start = Cell::new(round * 17 % rows);
        let next = || {
            let from = start.replace((start.get() + 7 * READ) % (rows - READ));
            from..from + READ
        };
        rates[6].push(rate(100, || (0..100).for_each(|_| bare.read(next()))));
        rates[7].push(rate(100, || {
            (0..100).for_each(|_| read(&batches_store, next()))
        }));
    }
    let [bare, blind, batches, vault, one, many, bare_reads, reads] = rates.map(median);
    println!("over {rows} mappings that are there, {rounds} turns");
    for (rate, name) in [
        (bare, "bare engine, batches of 1,000, the same reads"),
        (blind, "bare engine, batches of 1,000, no reads"),
        (batches, "store, batches of 1,000"),
        (vault, "vault, batches of 1,000 new cards"),
        (one, "store, one caller"),
        (many, "store, 64 callers"),
        (bare_reads, "bare engine, reads of 100 tokens"),
        (reads, "store, reads of 100 tokens"),
    ] {
        println!("{rate:>10.0}/s  {name}");
    }
    for (ours, other, least, name) in [
        (batches, bare, 0.8, "store to bare engine, batches"),
        (vault, bare, 0.8, "vault to bare engine, batches"),
        (
            vault,
            blind,
            0.0,
            "vault to bare engine that reads nothing, batches",
        ),
        (many, one, 5.0, "64 callers to one"),
        (reads, bare_reads, 0.8, "store to bare engine, reads"),
    ] {
        println!("ratio {:.2} (at least {least}): {name}", ours / other);
    }
    drop((batches_store, one_store, many_store, vault_store));
    grow(&cluster, number("CARDVAULT_BENCH_MOST", 100_000), rounds);
}

/// What a mapping costs in a store of each size: it should be the same in all.
fn grow(cluster: &Cluster, most: u64, rounds: u64) {
    let options = PostgresOptions::new(&cluster.connection()).unwrap();
    let store = Postgres::create(&options.in_schema("grown")).unwrap();
    let options = PostgresOptions::new(&cluster.connection()).unwrap();
    drop(Postgres::create(&options.in_schema("grown_bare")).unwrap());
    let bare = Bare::new(cluster, "grown_bare");
    let mut there = 0;
    let mut size = 10_000;
    while size <= most {
        while there < size {
            let range = there..size.min(there + 10_000);
            insert(&store, range.clone());
            bare.insert(range.clone(), true);
            there = range.end;
        }
        cluster.sql("VACUUM ANALYZE");
        let mut rates: [Vec<f64>; 5] = Default::default();
        for round in 0..rounds {
            let range = there..there + BATCH;
            rates[0].push(rate(BATCH, || bare.insert(range.clone(), true)));
            rates[1].push(rate(BATCH, || insert(&store, range.clone())));
            let singles = range.end..range.end + SINGLES / 16;
            rates[2].push(rate(SINGLES / 16, || {
                singles.clone().for_each(|n| insert(&store, n..n + 1));
            }));
            bare.insert(singles.clone(), true);
            there = singles.end;
            let reads = |work: &dyn Fn(Range<u64>)| {
                rate(20, || {
                    for n in 0..20 {
                        // Far apart, so that each is another page.
                        let from = (round * 20 + n) * 7919 * READ % (there - READ);
                        work(from..from + READ);
                    }
                })
            };
            rates[3].push(reads(&|range| bare.read(range)));
            rates[4].push(reads(&|range| read(&store, range)));
        }
        let [bare_batches, batches, one, bare_reads, reads] = rates.map(median);
        println!(
            "{size:>10} there: batches {batches:.0}/s (bare {bare_batches:.0}/s), one caller \
             {one:.0}/s, reads of 100 {reads:.0}/s (bare {bare_reads:.0}/s)"
        );
        size *= 10;
    }
}

fn insert(store: &Postgres, range: Range<u64>) {
    let writes = range.map(|n| {
        let bytes = Bytes::new(n);
        Write::Insert {
            token: RowKey::new(&bytes.token).unwrap(),
            row: Row::new(&bytes.row).unwrap(),
            index: vec![IndexKey::new(&bytes.index).unwrap()],
            unique: true,
        }
    });
    let outcomes = block_on(store.write(None, writes.collect())).unwrap();
    assert!(outcomes.iter().all(|it| *it == WriteOutcome::Inserted));
}

fn read(store: &Postgres, range: Range<u64>) {
    let keys = range.map(|n| RowKey::new(&Bytes::new(n).token).unwrap());
    let rows = block_on(store.rows(keys.collect())).unwrap();
    assert!(rows.iter().all(Option::is_some));
}

fn tokenize(vault: &Vault<Postgres>, range: Range<u64>) {
    let domain: Domain = "merchant".parse().unwrap();
    let cards: Vec<_> = range.map(card).collect();
    let results = block_on(vault.tokenize_batch(&domain, &cards, &Tokenize::convergent()));
    assert!(results.iter().all(|result| !result.unwrap().existing));
}

/// A mapping of the lengths that a vault's have.
struct Bytes {
    token: [u8; 26],
    row: [u8; ROW_LEN],
    index: [u8; 45],
}

impl Bytes {
    fn new(n: u64) -> Self {
        let mut bytes = Self {
            token: [b'd'; 26],
            row: [0; ROW_LEN],
            index: [b'd'; 45],
        };
        fill(3 * n, &mut bytes.token[10..]);
        fill(3 * n + 1, &mut bytes.row);
        fill(3 * n + 2, &mut bytes.index[13..]);
        bytes
    }
}

/// The engine without the store, on tables of the same form.
struct Bare {
    runtime: Runtime,
    client: Client,
    entries: Statement,
    rows: Statement,
    put_rows: Statement,
    put_entries: Statement,
}

impl Bare {
    fn new(cluster: &Cluster, schema: &str) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&cluster.connection(), NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client
        });
        let prepare = |sql: &str| {
            let sql = sql.replace('@', schema);
            runtime.block_on(client.prepare(&sql)).unwrap()
        };
        Self {
            entries: prepare(
                "SELECT e.index_key, e.token, r.content FROM @.unique_entry e
                LEFT JOIN @.vault_row r ON r.token = e.token WHERE e.index_key = ANY($1)",
            ),
            rows: prepare("SELECT token, content FROM @.vault_row WHERE token = ANY($1)"),
            put_rows: prepare(
                "INSERT INTO @.vault_row SELECT * FROM unnest($1::bytea[], $2::bytea[])
                ON CONFLICT (token) DO UPDATE SET content = EXCLUDED.content",
            ),
            put_entries: prepare(
                "INSERT INTO @.unique_entry SELECT * FROM unnest($1::bytea[], $2::bytea[])
                ON CONFLICT (index_key) DO UPDATE SET token = EXCLUDED.token",
            ),
            runtime,
            client,
        }
    }

    fn insert(&self, range: Range<u64>, reading: bool) {
        let bytes: Vec<_> = range.map(Bytes::new).collect();
        let tokens: Vec<&[u8]> = bytes.iter().map(|it| &it.token[..]).collect();
        let contents: Vec<&[u8]> = bytes.iter().map(|it| &it.row[..]).collect();
        let keys: Vec<&[u8]> = bytes.iter().map(|it| &it.index[..]).collect();
        self.runtime.block_on(async {
            let client = &self.client;
            client.batch_execute("BEGIN").await.unwrap();
            if reading {
                client.query(&self.entries, &[&keys]).await.unwrap();
                client.query(&self.rows, &[&tokens]).await.unwrap();
            }
            client
                .execute(&self.put_rows, &[&tokens, &contents])
                .await
                .unwrap();
            client
                .execute(&self.put_entries, &[&keys, &tokens])
                .await
                .unwrap();
            client.batch_execute("COMMIT").await.unwrap();
        });
    }

    fn read(&self, range: Range<u64>) {
        let bytes: Vec<_> = range.map(Bytes::new).collect();
        let tokens: Vec<&[u8]> = bytes.iter().map(|it| &it.token[..]).collect();
        let rows = self
            .runtime
            .block_on(self.client.query(&self.rows, &[&tokens]));
        assert_eq!(rows.unwrap().len(), bytes.len());
    }
}
