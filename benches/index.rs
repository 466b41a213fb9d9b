//! Filling and dropping an index version on disk, against the bare engine doing the same reads and
//! writes with the same settings, in one run.
//!
//! `CARDVAULT_BENCH_ROWS` is the number of cards (100,000).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

mod support;

use std::ops::Bound;
use std::path::Path;
use std::time::Instant;

use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::vault::{BlockingVault, Embedded, EmbeddedOptions, LineLog, ROW_LEN, Tokenize};
use cardvault::{SystemRandom, UnixSeconds};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::support::{card, fill, number};

/// Rows of one step.
const STEP: usize = 1_000;
/// The lengths of a vault's keys in a domain of eight letters.
const ROW_KEY_LEN: usize = 26;
const INDEX_KEY_LEN: usize = 46;

fn main() {
    let rows = number("CARDVAULT_BENCH_ROWS", 100_000);
    let folder = tempfile::tempdir().unwrap();
    let filling = Bare::new(&folder.path().join("bare.redb"), rows);
    let (fill_bare, drop_bare) = (filling.fill(), filling.drop());
    let (fill_vault, drop_vault) = vault(&folder.path().join("vault"), rows);
    println!("{rows} cards, {STEP} rows a step, rows a second:");
    for (name, vault, bare) in [
        ("fill_index", fill_vault, fill_bare),
        ("drop_index", drop_vault, drop_bare),
    ] {
        let rate = |seconds: f64| rows as f64 / seconds;
        let (of_vault, of_bare) = (rate(vault), rate(bare));
        println!(
            "{name:<12} {of_vault:>9.0}   bare {of_bare:>9.0}   {:.2}",
            bare / vault
        );
    }
}

/// The seconds that filling and dropping take.
fn vault(path: &Path, rows: u64) -> (f64, f64) {
    let now = UnixSeconds::now();
    let seed = RingMark::Development;
    let mut ring = KeyRing::new(seed, &mut SystemRandom).unwrap();
    for usage in [KeyUse::Card, KeyUse::Index] {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut SystemRandom).unwrap();
        ring.activate(name, now).unwrap();
    }
    let period = Cryptoperiod::default_of(KeyUse::Index);
    let next = ring
        .add(KeyUse::Index, period, now, &mut SystemRandom)
        .unwrap();
    let copy = || {
        let mut bytes = vec![0; cardvault::seal::MAX_SEALED_RING];
        let len = cardvault::seal::seal_ring_with_kek(&ring, &kek(), &mut SystemRandom, &mut bytes);
        cardvault::seal::open_ring_with_kek(bytes.get(..len.unwrap()).unwrap(), &kek()).unwrap()
    };
    let (mut filling, mut read) = (copy(), copy());
    filling.begin_filling(next).unwrap();
    read.begin_filling(next).unwrap();
    read.activate(next, now).unwrap();
    let store = Embedded::create(path, &EmbeddedOptions::default()).unwrap();
    let log = LineLog::new(std::io::sink());
    let vault = BlockingVault::open(store, copy(), log).unwrap();
    let domain: Domain = "merchant".parse().unwrap();
    for start in (0..rows).step_by(10_000) {
        let cards: Vec<_> = (start..rows.min(start + 10_000)).map(card).collect();
        let results = vault.tokenize_batch(&domain, &cards, &Tokenize::convergent());
        assert!(results.iter().all(Result::is_ok));
    }
    vault.set_ring(filling).unwrap();
    let begin = Instant::now();
    while !vault.fill_index(STEP).unwrap().done {}
    let filled = begin.elapsed().as_secs_f64();
    vault.set_ring(read).unwrap();
    let begin = Instant::now();
    let mut after = None;
    loop {
        after = vault.drop_index(after, STEP).unwrap().cursor;
        if after.is_none() {
            return (filled, begin.elapsed().as_secs_f64());
        }
    }
}

fn kek() -> cardvault::keys::Kek {
    let components = [
        "0001 0203 0405 0607 0809 0A0B 0C0D 0E0F 1011 1213 1415 1617 1819 1A1B 1C1D 1E1F / 377822",
        "8087 8E95 9CA3 AAB1 B8BF C6CD D4DB E2E9 F0F7 FE05 0C13 1A21 282F 363D 444B 5259 / 957740",
    ];
    let parse = |text: &str| cardvault::keys::Component::parse(text.as_bytes()).unwrap();
    cardvault::keys::Kek::combine(&components.map(parse), None).unwrap()
}

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const INDEX: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("index");

/// The engine without vault and store.
struct Bare(Database);

impl Bare {
    fn new(path: &Path, rows: u64) -> Self {
        let cache = EmbeddedOptions::default().cache;
        let database = Database::builder().set_cache_size(cache).create(path);
        let bare = Self(database.unwrap());
        for start in (0..rows).step_by(10_000) {
            bare.write(|table, index| {
                for n in start..rows.min(start + 10_000) {
                    let token = bytes::<ROW_KEY_LEN>(n, 0);
                    table
                        .insert(&token[..], &bytes::<ROW_LEN>(n, 1)[..])
                        .unwrap();
                    index
                        .insert(&bytes::<INDEX_KEY_LEN>(n, 2)[..], &token[..])
                        .unwrap();
                }
            });
        }
        bare
    }

    /// Each row and the new entry are looked at, the entry is written, and then the note.
    fn fill(&self) -> f64 {
        let mut at = 0;
        self.steps(|page| {
            self.write(|rows, index| {
                for (token, _) in page {
                    let key = bytes::<INDEX_KEY_LEN>(at, 3);
                    assert!(rows.get(&token[..]).unwrap().is_some());
                    assert!(index.get(&key[..]).unwrap().is_none());
                    index.insert(&key[..], &token[..]).unwrap();
                    at += 1;
                }
            });
            self.write(|rows, _| drop(rows.insert(&b"\xff"[..], &[0; 60][..]).unwrap()));
        })
    }

    /// Each row and its entries are looked at, the row is written, the old entry taken away.
    fn drop(&self) -> f64 {
        let mut at = 0;
        self.steps(|page| {
            self.write(|rows, index| {
                for (token, row) in page {
                    let (old, new) = (bytes::<INDEX_KEY_LEN>(at, 2), bytes::<INDEX_KEY_LEN>(at, 3));
                    assert!(rows.get(&token[..]).unwrap().is_some());
                    drop(index.get(&new[..]).unwrap());
                    rows.insert(&token[..], &row[..]).unwrap();
                    index.remove(&old[..]).unwrap();
                    at += 1;
                }
            });
        })
    }

    /// The seconds that a pass over all rows takes.
    fn steps(&self, mut step: impl FnMut(&[(Vec<u8>, Vec<u8>)])) -> f64 {
        let begin = Instant::now();
        let mut after = Vec::new();
        loop {
            let transaction = self.0.begin_read().unwrap();
            let rows = transaction.open_table(ROWS).unwrap();
            let range = (Bound::Excluded(&after[..]), Bound::Excluded(&b"\xff"[..]));
            let range = rows.range::<&[u8]>(range).unwrap().take(STEP);
            let page: Vec<_> = range
                .map(|entry| entry.unwrap())
                .map(|(key, row)| (key.value().to_vec(), row.value().to_vec()))
                .collect();
            let Some((last, _)) = page.last() else {
                return begin.elapsed().as_secs_f64();
            };
            after.clone_from(last);
            step(&page);
        }
    }

    fn write(
        &self,
        work: impl FnOnce(
            &mut redb::Table<'_, &'static [u8], &'static [u8]>,
            &mut redb::Table<'_, &'static [u8], &'static [u8]>,
        ),
    ) {
        let mut transaction = self.0.begin_write().unwrap();
        transaction.set_quick_repair(true);
        {
            let mut rows = transaction.open_table(ROWS).unwrap();
            let mut index = transaction.open_table(INDEX).unwrap();
            work(&mut rows, &mut index);
        }
        transaction.commit().unwrap();
    }
}

/// Bytes as a vault has them, random but for a domain in front.
fn bytes<const N: usize>(n: u64, kind: u64) -> [u8; N] {
    let mut bytes = [b'd'; N];
    if let Some(random) = bytes.get_mut(9..) {
        fill(4 * n + kind, random);
    }
    bytes
}
