//! Cards read back under a policy, each batch logged: the vault against the bare engine that reads
//! as many rows and appends and syncs as many bytes, in one run.
//!
//! Contenders take turns, so that a slow moment of the disk meets both; read the ratio.
//! `CARDVAULT_BENCH_ROWS` is the number of cards (100,000), `CARDVAULT_BENCH_ROUNDS` the number of
//! turns (300).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

mod support;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use cardvault::audit::{AuditLog, AuditOptions};
use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::token::Token;
use cardvault::vault::{
    Access, AccessPolicy, Budget, Embedded, EmbeddedOptions, Grant, Operation, ROW_LEN, Tokenize,
    Vault,
};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::support::{card, fill, median, new_vault_with, number, rate};

const DOMAIN: &str = "merchant";
/// A vault's row key in this domain: its name behind its length, and an opaque token.
const ROW_KEY_LEN: usize = 1 + DOMAIN.len() + 17;
const BATCH: usize = 100;
/// Batches of one turn.
const TURN: usize = 5;
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

fn main() {
    let rows = usize::try_from(number("CARDVAULT_BENCH_ROWS", 100_000)).unwrap();
    let rounds = number("CARDVAULT_BENCH_ROUNDS", 300);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = Embedded::create(&path("vault"), &EmbeddedOptions::default()).unwrap();
    let vault = new_vault_with(store, audit_log(&path("audit")));
    // A short bench: it fills one file.
    let log = path("audit/00000000.cva");
    let domain: Domain = DOMAIN.parse().unwrap();
    let access = Access::new("desk-3", "chargeback 000123", "10.0.0.7").unwrap();
    let tokens = fill_vault(&vault, &domain, rows);
    vault.set_policy(&access, policy(&domain), &[]).unwrap();
    let bare = Bare::new(&path("bare.redb"), rows);

    let mut picks = Picks(1);
    let mut picked = || -> Vec<usize> { (0..BATCH).map(|_| picks.below(rows)).collect() };
    let read = |picked: &[usize]| {
        let asked: Vec<_> = picked.iter().map(|n| tokens[*n]).collect();
        let cards = block_on(vault.detokenize_batch(&access, &domain, &asked));
        assert!(cards.iter().all(Result::is_ok));
    };
    let len = || std::fs::metadata(&log).unwrap().len();
    let before = len();
    read(&picked());
    let line = usize::try_from(len() - before).unwrap();
    let bytes = vec![b'x'; line];
    let mut bare_log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path("bare.log"))
        .unwrap();

    let (mut ours, mut engines, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let batches: Vec<_> = (0..TURN).map(|_| picked()).collect();
        ours.push(cards_rate(&batches, &read));
        engines.push(cards_rate(&batches, |picked| {
            bare.read(picked);
            append(&bare_log, &bytes);
        }));
        reads.push(cards_rate(&batches, |picked| bare.read(picked)));
    }
    bare_log.flush().unwrap();
    let [ours, engines, reads] = [ours, engines, reads].map(median);
    println!("{rows} cards, batches of {BATCH}, {line} bytes logged for each, {rounds} turns");
    println!("{:>9.0} cards/s  vault under a policy, logged", ours);
    println!(
        "{:>9.0} cards/s  bare engine, with an append and a sync",
        engines
    );
    println!("{:>9.0} cards/s  bare engine, its reads alone", reads);
    println!("ratio {:.2} (at least 0.7)", ours / engines);
}

/// The log of a writer, of a ring that the auditor has.
fn audit_log(folder: &Path) -> AuditLog {
    let now = UnixSeconds::now();
    let mut ring = KeyRing::new(RingMark::Development, &mut SystemRandom).unwrap();
    let period = Cryptoperiod::default_of(KeyUse::Audit);
    let name = ring.add(KeyUse::Audit, period, now, &mut SystemRandom);
    ring.activate(name.unwrap(), now).unwrap();
    let key = ring.audit_key(now).unwrap().writer_key("bench", 1).unwrap();
    AuditLog::create(folder, key, &AuditOptions::default()).unwrap()
}

/// Grants and budgets that all of this passes.
fn policy(domain: &Domain) -> AccessPolicy {
    let mut policy = AccessPolicy::new();
    for n in 0..100 {
        let actor = format!("desk-{n}");
        let looking = Grant::new(&[Operation::Find, Operation::Masked]).unwrap();
        policy.grant(&actor, looking).unwrap();
        let opening = Grant::new(&[Operation::Detokenize]).unwrap();
        let opening = opening.in_domains(&[*domain]).unwrap();
        let opening = opening.for_purposes(&["chargeback *"]).unwrap();
        policy.grant(&actor, opening).unwrap();
        let budget = Budget::new(u32::MAX, 24 * 60 * 60).unwrap();
        policy
            .budget(&actor, Operation::Detokenize, budget)
            .unwrap();
    }
    policy
}

fn fill_vault(vault: &Vault<Embedded>, domain: &Domain, rows: usize) -> Vec<Token> {
    let cards: Vec<_> = (0..rows as u64).map(card).collect();
    let given = block_on(vault.tokenize_batch(domain, &cards, &Tokenize::convergent()));
    given
        .into_iter()
        .map(|given| given.unwrap().token)
        .collect()
}

/// Cards a second.
fn cards_rate(batches: &[Vec<usize>], read: impl FnMut(&[usize])) -> f64 {
    let cards = (batches.len() * BATCH) as u64;
    rate(cards, || batches.iter().map(Vec::as_slice).for_each(read))
}

fn append(mut log: &File, bytes: &[u8]) {
    log.write_all(bytes).unwrap();
    log.sync_data().unwrap();
}

/// The engine without the vault, over rows of the same lengths.
struct Bare(Database);

impl Bare {
    fn new(path: &Path, rows: usize) -> Self {
        let cache = EmbeddedOptions::default().cache;
        let made = Database::builder().set_cache_size(cache).create(path);
        let bare = Self(made.unwrap());
        let transaction = bare.0.begin_write().unwrap();
        {
            let mut table = transaction.open_table(ROWS).unwrap();
            for n in 0..rows {
                let mut row = [0; ROW_LEN];
                fill(n as u64, &mut row);
                table.insert(&key(n)[..], &row[..]).unwrap();
            }
        }
        transaction.commit().unwrap();
        bare
    }

    fn read(&self, picked: &[usize]) {
        let transaction = self.0.begin_read().unwrap();
        let table = transaction.open_table(ROWS).unwrap();
        for n in picked {
            let row = table.get(&key(*n)[..]).unwrap().unwrap();
            assert_eq!(row.value().to_vec().len(), ROW_LEN);
        }
    }
}

fn key(n: usize) -> [u8; ROW_KEY_LEN] {
    let mut key = [b'd'; ROW_KEY_LEN];
    fill(n as u64 + 1, &mut key[ROW_KEY_LEN - 16..]);
    key
}

/// A linear congruential generator: any spread will do.
struct Picks(u64);

impl Picks {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}
