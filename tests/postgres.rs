//! The store on PostgreSQL: what every store must do, and what only a shared one meets.
#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/conformance.rs"]
mod conformance;

#[path = "support/proxy.rs"]
mod proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::ledger::Ledger;
use cardvault::payment::Date;
use cardvault::vault::{
    Access, ApprovedPurge, BlockingVault, Guard, Item, KeepRule, LineLog, Postgres,
    PostgresOptions, Retention, Row, RowKey, Store, StoreError, Tokenize, Vault, Verdict, Write,
    WriteOutcome,
};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;

use crate::cluster::Cluster;
use crate::conformance::{index, insert, row, token};
use crate::proxy::Proxy;

/// A schema that no other test has.
fn schema() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Options for a schema of its own.
fn options(cluster: &Cluster) -> PostgresOptions {
    PostgresOptions::new(&cluster.connection())
        .unwrap()
        .in_schema(&schema())
        .connections(6)
}

mod suite {
    use super::*;

    fn make() -> Arc<Postgres> {
        let cluster = Cluster::shared().expect("install PostgreSQL, or leave the feature out");
        Arc::new(Postgres::create(&options(cluster)).unwrap())
    }

    conformance_suite!(make);
    snapshot_suite!(make);
}

#[test]
fn a_store_is_made_once() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let options = options(cluster);
    assert_eq!(Postgres::open(&options).err(), Some(StoreError::NotAVault));
    // Processes that start together.
    let stores: Vec<Postgres> = thread::scope(|scope| {
        let starts: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| Postgres::open_or_create(&options).unwrap()))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let first = insert(token(1), row("r"), &[index(1)], true);
    assert_eq!(
        block_on(stores[0].write(None, vec![first])),
        Ok(vec![WriteOutcome::Inserted])
    );
    for store in &stores {
        assert_eq!(block_on(store.count()), Ok(1));
    }
    drop(stores);
    assert_eq!(
        Postgres::create(&options).err(),
        Some(StoreError::AlreadyExists)
    );
    let again = Postgres::open(&options).unwrap();
    assert_eq!(
        block_on(again.rows(vec![token(1)])),
        Ok(vec![Some(row("r"))])
    );
    let bad = options.in_schema("Robert'); DROP TABLE students;--");
    assert_eq!(Postgres::open(&bad).err(), Some(StoreError::BadSetting));
}

/// One connection writes, one reads: a page that has nothing to move and does not open asks for the
/// guard, and the next page is read by the same connection.
#[test]
fn a_rewrap_needs_no_more_connections_than_there_are() {
    const CARDS: u64 = 4_100;
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let patience = Duration::from_secs(20);
    let two = options(cluster).connections(2).timeouts(patience, patience);
    let store = Arc::new(Postgres::create(&two).unwrap());
    let (now, mut rng) = (UnixSeconds::now(), SystemRandom);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for usage in [KeyUse::Card, KeyUse::Index] {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut rng).unwrap();
        ring.activate(name, now).unwrap();
    }
    let log = LineLog::new(std::io::sink());
    let vault = block_on(Vault::open(Arc::clone(&store), ring, log)).unwrap();
    // One number in ten passes.
    let numbers = (0..10 * CARDS).map(|n| format!("4{n:015}"));
    let cards: Vec<_> = numbers
        .filter_map(|number| Pan::parse(number.as_bytes()).ok())
        .map(CardRecord::new)
        .collect();
    let shop: Domain = "shop-1".parse().unwrap();
    let given = block_on(vault.tokenize_batch(&shop, &cards, &Tokenize::convergent()));
    assert!(given.iter().all(Result::is_ok));
    let (key, row) = block_on(store.scan(None, None, 1)).unwrap().remove(0);
    let mut bytes = row.as_bytes().to_vec();
    // The id of its key.
    bytes[63] ^= 1;
    let broken = Write::Put(Item::Row(key, Row::new(&bytes).unwrap()));
    block_on(store.write(None, vec![broken])).unwrap();
    let begun = std::time::Instant::now();
    let step = block_on(vault.rewrap(None, 10_000)).unwrap();
    assert_eq!((step.seen, step.moved, step.left), (CARDS, 0, 1));
    assert!(begun.elapsed() < patience);
}

#[test]
fn other_schemas_are_named() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let open = |sql: &str| {
        let schema = schema();
        cluster.sql(&sql.replace('@', &schema));
        let options = PostgresOptions::new(&cluster.connection()).unwrap();
        Postgres::open_or_create(&options.in_schema(&schema)).err()
    };
    let made = "CREATE SCHEMA @; CREATE TABLE @.store (one boolean, format smallint, \
                guard bytea, row_count bigint); INSERT INTO @.store VALUES (true, ";
    assert_eq!(
        open(&format!("{made} 2, NULL, 0)")),
        Some(StoreError::NewerFormat { found: 2 })
    );
    for format in [0, -1] {
        assert_eq!(
            open(&format!("{made} {format}, NULL, 0)")),
            Some(StoreError::NotAVault)
        );
    }
    // Another program's table of this name.
    let other = "CREATE SCHEMA @; CREATE TABLE @.store (name text)";
    assert!(open(other).is_some());

    // A program that was left running when a newer one came.
    let options = options(cluster);
    let store = Postgres::create(&options).unwrap();
    cluster.sql(&format!(
        "UPDATE {}.store SET format = 9",
        name_of(&options)
    ));
    let write = insert(token(1), row("r"), &[index(1)], true);
    assert_eq!(
        block_on(store.write(None, vec![write])),
        Err(StoreError::NewerFormat { found: 9 })
    );
}

/// The schema, as `Debug` shows it.
fn name_of(options: &PostgresOptions) -> String {
    let shown = format!("{options:?}");
    let (_, rest) = shown.split_once("schema: \"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[test]
fn a_row_that_was_changed_by_hand_is_refused_alone() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let options = options(cluster);
    let store = Postgres::create(&options).unwrap();
    let writes = (1..=2).map(|n| insert(token(n), row("r"), &[index(n)], true));
    block_on(store.write(None, writes.collect())).unwrap();
    cluster.sql(&format!(
        "UPDATE {}.vault_row SET content = decode(repeat('00', 600), 'hex') WHERE token = '{}'",
        name_of(&options),
        "domain/token-00000001"
    ));
    let replace = |n| Write::Replace {
        token: token(n),
        expected: row("r"),
        row: row("s"),
    };
    let (damaged, whole) = (
        store.write(None, vec![replace(1)]),
        store.write(None, vec![replace(2)]),
    );
    assert_eq!(block_on(damaged), Err(StoreError::Corrupt));
    assert_eq!(block_on(whole), Ok(vec![WriteOutcome::Replaced]));
    assert_eq!(
        block_on(store.rows(vec![token(1)])),
        Err(StoreError::Corrupt)
    );
}

/// Many processes meet the same new cards: each has its own connections and its own queue.
#[test]
fn one_card_gets_one_token_in_all_processes() {
    const PROCESSES: usize = 4;
    const CALLERS: usize = 8;
    const CARDS: usize = 60;
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let options = options(cluster);
    let stores: Vec<_> = (0..PROCESSES)
        .map(|_| Postgres::open_or_create(&options).unwrap())
        .collect();
    let guard = Guard::new(b"ring").unwrap();
    let set = Write::Guard {
        expected: None,
        guard: guard.clone(),
    };
    block_on(stores[0].write(None, vec![set])).unwrap();
    let inserted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (process, store) in stores.iter().enumerate() {
            for caller in 0..CALLERS {
                let (inserted, guard) = (&inserted, &guard);
                scope.spawn(move || {
                    for card in 0..CARDS {
                        let own = card * 1000 + process * CALLERS + caller;
                        let write = insert(token(own), row("r"), &[index(card)], true);
                        let outcome = block_on(store.write(Some(guard.clone()), vec![write]));
                        match outcome.unwrap().remove(0) {
                            WriteOutcome::Inserted => {
                                inserted.fetch_add(1, Ordering::Relaxed);
                            }
                            WriteOutcome::Exists { .. } => {}
                            other => panic!("{other:?}"),
                        }
                    }
                });
            }
        }
    });
    assert_eq!(inserted.into_inner(), CARDS);
    assert_eq!(block_on(stores[1].count()), Ok(CARDS as u64));
    // A writer whose ring is behind is refused in the same transaction.
    let next = Guard::new(b"next ring").unwrap();
    let turn = Write::Guard {
        expected: Some(guard.clone()),
        guard: next,
    };
    block_on(stores[2].write(None, vec![turn])).unwrap();
    let late = insert(token(1), row("r"), &[index(999)], true);
    assert_eq!(
        block_on(stores[3].write(Some(guard), vec![late])),
        Err(StoreError::GuardChanged)
    );
}

fn counter(n: u64) -> Row {
    Row::new(&n.to_be_bytes()).unwrap()
}

/// Counts up under compare-and-swap: a commit that happened twice, or happened but was reported as
/// lost, breaks the count.
fn count_up(store: &Postgres, key: RowKey, steps: u64) {
    let first = insert(key, counter(0), &[], false);
    assert_eq!(
        block_on(store.write(None, vec![first])),
        Ok(vec![WriteOutcome::Inserted])
    );
    for n in 0..steps {
        let step = Write::Replace {
            token: key,
            expected: counter(n),
            row: counter(n + 1),
        };
        assert_eq!(
            block_on(store.write(None, vec![step])),
            Ok(vec![WriteOutcome::Replaced]),
            "step {n}"
        );
    }
}

/// The connection is cut again and again, often between a commit and its answer.
#[test]
fn a_lost_connection_has_no_double_effect() {
    const STEPS: u64 = 60;
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let proxy = Proxy::start(cluster.port, 12);
    let direct = options(cluster);
    let through = PostgresOptions::new(&cluster.connection_by(proxy.port()))
        .unwrap()
        .in_schema(&name_of(&direct))
        .timeouts(Duration::from_secs(5), Duration::from_secs(60));
    let made = Postgres::create(&direct).unwrap();
    let store = Postgres::open(&through).unwrap();
    thread::scope(|scope| {
        for caller in 0..4 {
            let store = &store;
            scope.spawn(move || count_up(store, token(caller), STEPS));
        }
    });
    for caller in 0..4 {
        let stored = block_on(made.rows(vec![token(caller)])).unwrap();
        assert_eq!(stored, [Some(counter(STEPS))]);
    }
    let cuts = proxy.cuts();
    println!("{cuts} connections cut");
    assert!(cuts > 20, "{cuts}");
}

/// Every connection of the store is ended by the server, again and again.
#[test]
fn ended_sessions_have_no_double_effect() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let options = options(cluster);
    let store = Postgres::create(&options).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let ender = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                cluster.sql(&format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE pid <> pg_backend_pid() AND query LIKE '%{}%'",
                    name_of(&options)
                ));
                rounds += 1;
                thread::sleep(Duration::from_millis(20));
            }
            rounds
        });
        count_up(&store, token(1), 200);
        done.store(true, Ordering::Relaxed);
        assert!(ender.join().unwrap() > 3);
    });
}

#[test]
fn a_database_that_is_gone_is_named() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let short =
        |options: PostgresOptions| options.timeouts(Duration::from_secs(1), Duration::from_secs(2));
    let nobody = PostgresOptions::new("host=127.0.0.1 port=1 user=cardvault").unwrap();
    let gone = StoreError::Io(std::io::ErrorKind::NotConnected);
    assert_eq!(Postgres::open(&short(nobody)).err(), Some(gone));
    // One that takes connections and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = PostgresOptions::new(&cluster.connection_by(port)).unwrap();
    let late = StoreError::Io(std::io::ErrorKind::TimedOut);
    assert_eq!(Postgres::open(&short(silent)).err(), Some(late));
    // One that may be read only.
    let options = short(options(cluster));
    drop(Postgres::create(&options).unwrap());
    let connection = cluster.connection() + " options='-c default_transaction_read_only=on'";
    let reader = PostgresOptions::new(&connection).unwrap();
    let reader = short(reader.in_schema(&name_of(&options)));
    let refused = StoreError::Io(std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(Postgres::open(&reader).err(), Some(refused));
    let stranger = cluster
        .connection()
        .replace("user=cardvault", "user=nobody");
    let refused = Postgres::open(&PostgresOptions::new(&stranger).unwrap()).err();
    assert_eq!(refused, Some(StoreError::Refused { code: *b"28000" }));
}

#[test]
fn two_purges_and_a_renewal_at_once() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let options = options(cluster);
    let day = 24 * 60 * 60;
    let mut ring = KeyRing::new(RingMark::Development, &mut SystemRandom).unwrap();
    let now = UnixSeconds::now();
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut SystemRandom).unwrap();
        ring.activate(name, now).unwrap();
    }
    let store = Arc::new(Postgres::create(&options).unwrap());
    let log = || LineLog::new(std::io::sink());
    let vault = BlockingVault::open(Arc::clone(&store), ring, log()).unwrap();
    let shop: Domain = "shop-1".parse().unwrap();
    let access = Access::new("officer", "retention", "test").unwrap();
    let cards: Vec<_> = (0..60)
        .flat_map(|n| (0..10).map(move |check| format!("4{n:014}{check}")))
        .filter_map(|number| Pan::parse(number.as_bytes()).ok())
        .map(CardRecord::new)
        .collect();
    let expired = Tokenize::convergent().expiring(UnixSeconds(now.0 - 2 * day));
    let tokens: Vec<_> = vault
        .tokenize_batch(&shop, &cards, &expired)
        .into_iter()
        .map(|result| result.unwrap().token)
        .collect();
    let rule = KeepRule {
        expired_days: Some(1),
        settled_days: Some(400),
        ..KeepRule::FOREVER
    };
    let retention = Retention::new(rule).unwrap();
    let ledger = || Ledger::new(Arc::clone(vault.vault())).blocking();
    let approve = || {
        let ledger = ledger();
        let mut survey = ledger.survey(retention.clone()).unwrap();
        while !survey.is_done() {
            ledger.survey_step(&mut survey, 7).unwrap();
        }
        assert_eq!(survey.tally().of(Verdict::Expired), 60);
        let today = Date::of(survey.as_of(), 0);
        survey.approve(today).unwrap()
    };
    let approvals = [approve(), approve()];
    let purge = |approved: &ApprovedPurge| {
        let (mut after, mut gone) = (None, 0);
        loop {
            let step = ledger().purge(&access, approved, after, 7).unwrap();
            gone += step.tally.going();
            after = step.cursor;
            if after.is_none() {
                return gone;
            }
        }
    };
    let renewed = &cards[..20];
    let (gone, results) = thread::scope(|scope| {
        let purges: Vec<_> = approvals
            .iter()
            .map(|approved| scope.spawn(|| purge(approved)))
            .collect();
        let alive = Tokenize::convergent().expiring(UnixSeconds(now.0 + day));
        let renewals = renewed
            .iter()
            .map(|card| vault.tokenize(&shop, card, &alive).unwrap())
            .collect::<Vec<_>>();
        let gone: u64 = purges.into_iter().map(|purge| purge.join().unwrap()).sum();
        (gone, renewals)
    });
    // Each of them went once or was renewed; who was renewed has that very token.
    let kept = results.iter().filter(|result| result.existing).count();
    assert_eq!(gone, 60 - u64::try_from(kept).unwrap());
    for (card, result) in renewed.iter().zip(&results) {
        let found = vault.find(&access, &shop, &card.pan).unwrap();
        assert_eq!(found.tokens, [result.token]);
        assert!(vault.detokenize(&access, &shop, &result.token).is_ok());
    }
    for token in &tokens[20..] {
        assert_eq!(vault.exists(&access, &shop, token), Ok(false));
    }
    assert_eq!(vault.count(), Ok(20));
}
