//! The store on PostgreSQL where things go wrong: TLS, a server that waits for no standby, is slow,
//! full, read-only, out of connections or gone for a moment, clocks that jump, desks that race.
#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/ledger/mod.rs"]
mod ledger;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/tls.rs"]
mod tls;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cardvault::vault::{
    IndexKey, LineLog, Postgres, PostgresOptions, Row, RowKey, Store, StoreError, Tokenize, Vault,
    VaultError, Write, WriteOutcome,
};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;

use crate::cluster::Cluster;
use crate::ledger::{START, access, card, desks, ring, shop};
use crate::proxy::Proxy;
use crate::tls::{Certificates, trusting};

/// A server that speaks TLS as `right.test`, and whose settings a test may change.
struct Own {
    cluster: Cluster,
    certificates: Certificates,
    /// Of another authority.
    strangers: Certificates,
    _folder: tempfile::TempDir,
}

/// One test at a time.
fn own() -> Option<MutexGuard<'static, Own>> {
    static OWN: OnceLock<Option<Mutex<Own>>> = OnceLock::new();
    let own = OWN.get_or_init(|| start().map(Mutex::new)).as_ref()?;
    Some(own.lock().unwrap_or_else(PoisonError::into_inner))
}

fn start() -> Option<Own> {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path(), "right", "right.test");
    let strangers = Certificates::make(folder.path(), "other", "right.test");
    // Segments of 1 MiB: see `a_full_disk_is_named`.
    let cluster = Cluster::start_with(&["--wal-segsize=1"], |data| {
        for (from, to) in [
            (&certificates.server, "s.pem"),
            (&certificates.key, "s.key"),
        ] {
            std::fs::copy(from, data.join(to)).unwrap();
            cluster::give(&data.join(to));
        }
        let file = data.join("pg_hba.conf");
        let rules = std::fs::read_to_string(&file).unwrap();
        let secure = "hostssl all secure all trust\nhostnossl all secure all reject\n";
        std::fs::write(&file, format!("{secure}{rules}")).unwrap();
        ["ssl=on", "ssl_cert_file=s.pem", "ssl_key_file=s.key"]
            .map(str::to_owned)
            .to_vec()
    })?;
    cluster.sql("CREATE ROLE secure LOGIN; GRANT CREATE ON DATABASE postgres TO secure");
    Some(Own {
        cluster,
        certificates,
        strangers,
        _folder: folder,
    })
}

/// How long a store that is to give up tries: long beside what a busy machine needs for an exchange.
const PATIENCE: Duration = Duration::from_secs(3);

fn schema() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("faults_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn options(connection: &str, schema: &str) -> PostgresOptions {
    PostgresOptions::new(connection)
        .unwrap()
        .in_schema(schema)
        .connections(4)
        .timeouts(Duration::from_secs(5), Duration::from_secs(30))
}

fn token(n: u64) -> RowKey {
    RowKey::new(format!("domain/token-{n:08}").as_bytes()).unwrap()
}

fn insert(n: u64, row: &[u8]) -> Write {
    Write::Insert {
        token: token(n),
        row: Row::new(row).unwrap(),
        index: vec![IndexKey::new(format!("domain/index-{n:08}").as_bytes()).unwrap()],
        unique: true,
    }
}

/// Which of these rows are there.
fn there(store: &Postgres, range: std::ops::Range<u64>) -> Vec<bool> {
    let rows = block_on(store.rows(range.map(token).collect())).unwrap();
    rows.iter().map(Option::is_some).collect()
}

fn counter(n: u64) -> Row {
    Row::new(&n.to_be_bytes()).unwrap()
}

/// Counts a row up under compare-and-swap until `done`: a step that is lost, or happens twice,
/// breaks the count.
fn count_up(store: &Postgres, n: u64, done: &AtomicBool) -> u64 {
    block_on(store.write(None, vec![insert(n, counter(0).as_bytes())])).unwrap();
    let mut count = 0;
    while !done.load(Ordering::Relaxed) {
        let step = Write::Replace {
            token: token(n),
            expected: counter(count),
            row: counter(count + 1),
        };
        let outcome = block_on(store.write(None, vec![step]));
        assert_eq!(outcome, Ok(vec![WriteOutcome::Replaced]), "step {count}");
        count += 1;
    }
    assert_eq!(
        block_on(store.rows(vec![token(n)])),
        Ok(vec![Some(counter(count))])
    );
    count
}

#[test]
fn tls_trusts_whom_it_was_told_to() {
    let Some(own) = own() else { return };
    let Own { cluster, .. } = &*own;
    let at = |host: &str, user: &str| {
        format!(
            "host={host} hostaddr=127.0.0.1 port={} user={user} dbname=postgres \
             application_name=by_tls",
            cluster.port
        )
    };
    let schema = schema();
    let open = |host: &str, authority| {
        let options = options(&at(host, "secure"), &schema).tls(trusting(authority));
        Postgres::open_or_create(&options)
    };
    let store = open("right.test", &own.certificates.authority).unwrap();
    let outcome = block_on(store.write(None, vec![insert(1, b"row")]));
    assert_eq!(outcome, Ok(vec![WriteOutcome::Inserted]));
    assert_eq!(there(&store, 0..2), [false, true]);
    let sessions = "SELECT count(*) > 1 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity \
                    USING (pid) WHERE application_name = 'by_tls'";
    assert_eq!(cluster.sql(sessions), "t");

    // At once, though the time for all tries is not over.
    let begun = Instant::now();
    let refused = |host: &str, authority| open(host, authority).map(|_| ()).err();
    assert_eq!(
        refused("right.test", &own.strangers.authority),
        Some(StoreError::Untrusted)
    );
    assert_eq!(
        refused("other.test", &own.certificates.authority),
        Some(StoreError::Untrusted)
    );
    assert!(begun.elapsed() < Duration::from_secs(25));
    // The server takes this user by TLS alone.
    let plain = options(&at("right.test", "secure"), &schema);
    assert_eq!(Postgres::open(&plain).err(), Some(StoreError::NoTls));
    let plain = options(&(at("right.test", "secure") + " sslmode=disable"), &schema);
    assert_eq!(
        Postgres::open(&plain).err(),
        Some(StoreError::Refused { code: *b"28000" })
    );
    // A server that speaks none.
    let Some(without) = Cluster::shared() else {
        return;
    };
    let options =
        options(&without.connection(), &schema).tls(trusting(&own.certificates.authority));
    assert_eq!(Postgres::open(&options).err(), Some(StoreError::NoTls));
}

#[test]
fn a_line_under_tls_that_breaks_has_no_double_effect() {
    let Some(own) = own() else { return };
    let proxy = Proxy::start(own.cluster.port, 20);
    let at = |port| {
        format!("host=right.test hostaddr=127.0.0.1 port={port} user=secure dbname=postgres")
    };
    let schema = schema();
    let open = |port| {
        let options = options(&at(port), &schema).tls(trusting(&own.certificates.authority));
        Postgres::open_or_create(&options).unwrap()
    };
    let (direct, through) = (open(own.cluster.port), open(proxy.port()));
    let done = AtomicBool::new(false);
    let count = thread::scope(|scope| {
        let counting = scope.spawn(|| count_up(&through, 1, &done));
        let begun = Instant::now();
        while proxy.cuts() < 6 && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(20));
        }
        done.store(true, Ordering::Relaxed);
        counting.join().unwrap()
    });
    assert!(proxy.cuts() >= 6);
    assert_eq!(
        block_on(direct.rows(vec![token(1)])),
        Ok(vec![Some(counter(count))])
    );
}

/// A database and a role whose default is to acknowledge what is not on a disk yet: the store's
/// commits wait for the standby all the same, and are not acknowledged before.
#[test]
fn synchronous_commit_is_set_back_to_on() {
    let Some(own) = own() else { return };
    let Own { cluster, .. } = &*own;
    cluster.sql("ALTER ROLE cardvault SET synchronous_commit = off");
    cluster.sql("ALTER DATABASE postgres SET synchronous_commit = off");
    let name = "application_name=waits";
    let connection = format!("{} {name}", cluster.connection());
    let store = Postgres::create(&options(&connection, &schema())).unwrap();
    block_on(store.write(None, vec![insert(1, b"row")])).unwrap();
    // A standby that is not there.
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    cluster.sql("SELECT pg_reload_conf()");
    let acknowledged = AtomicBool::new(false);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let outcome = block_on(store.write(None, vec![insert(2, b"row")]));
            acknowledged.store(true, Ordering::SeqCst);
            outcome
        });
        let waits = "SELECT count(*) FROM pg_stat_activity \
                     WHERE application_name = 'waits' AND wait_event = 'SyncRep'";
        let begun = Instant::now();
        let mut waiting = false;
        while !waiting && begun.elapsed() < Duration::from_secs(20) {
            waiting = cluster.sql(waits) == "1";
        }
        let early = acknowledged.load(Ordering::SeqCst);
        cluster.sql("ALTER SYSTEM RESET synchronous_standby_names");
        cluster.sql("SELECT pg_reload_conf()");
        assert_eq!(writing.join().unwrap(), Ok(vec![WriteOutcome::Inserted]));
        cluster.sql("ALTER ROLE cardvault RESET synchronous_commit");
        cluster.sql("ALTER DATABASE postgres RESET synchronous_commit");
        assert!(waiting && !early, "a commit did not wait for the standby");
    });
}

#[test]
fn a_slow_database_is_named_and_leaves_nothing_half_done() {
    const BATCH: u64 = 50;
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let schema = schema();
    let proxy = Proxy::whole(cluster.port);
    let direct = Postgres::create(&options(&cluster.connection(), &schema)).unwrap();
    let through = options(&cluster.connection_by(proxy.port()), &schema);
    let batch = |from: u64| (from..from + BATCH).map(|n| insert(n, b"row")).collect();
    let late = StoreError::Io(ErrorKind::TimedOut);

    // Slow, but in time.
    proxy.delay(Duration::from_millis(50));
    let patient = Postgres::open(&through).unwrap();
    assert!(block_on(patient.write(None, batch(0))).is_ok());
    assert_eq!(there(&patient, 0..BATCH), [true; BATCH as usize]);
    drop(patient);
    proxy.delay(Duration::ZERO);
    let store = Postgres::open(&through.timeouts(PATIENCE, PATIENCE)).unwrap();
    block_on(store.write(None, vec![insert(999, b"row")])).unwrap();
    // Each exchange is in time, both together are not: the commit is there when patience ends, or
    // on a machine that is slow itself nothing of it.
    proxy.delay(2 * PATIENCE / 3);
    assert!(late.may_be_applied());
    let mut from = BATCH;
    loop {
        assert_eq!(block_on(store.write(None, batch(from))), Err(late));
        let there = there(&direct, from..from + BATCH);
        assert!(there.iter().all(|it| *it == there[0]), "{there:?}");
        if there[0] {
            break;
        }
        from += BATCH;
        assert!(from < 6 * BATCH, "no commit came through");
        proxy.delay(Duration::ZERO);
        let _ = block_on(store.count());
        block_on(store.write(None, vec![insert(999, b"row")])).unwrap();
        proxy.delay(2 * PATIENCE / 3);
    }
    // No answer at all.
    proxy.delay(4 * PATIENCE);
    let unheard = 10 * BATCH;
    assert_eq!(block_on(store.write(None, batch(unheard))), Err(late));
    assert_eq!(block_on(store.count()), Err(late));
    assert_eq!(
        there(&direct, unheard..unheard + BATCH),
        [false; BATCH as usize]
    );
    // Nobody else waits for the lock of who is gone.
    let begun = Instant::now();
    assert!(block_on(direct.write(None, vec![insert(999, b"row")])).is_ok());
    assert!(begun.elapsed() < 4 * PATIENCE);
    // The same again once it is fast: what is there is found.
    proxy.delay(Duration::ZERO);
    for from in [from, unheard] {
        let again = block_on(store.write(None, batch(from))).unwrap();
        assert_eq!(again.len(), BATCH as usize);
        assert!(again.windows(2).all(|two| match (&two[0], &two[1]) {
            (WriteOutcome::Inserted, other) => *other == WriteOutcome::Inserted,
            (first, other) => {
                matches!(first, WriteOutcome::Exists { .. })
                    && matches!(other, WriteOutcome::Exists { .. })
            }
        }));
    }
    assert_eq!(block_on(direct.count()), Ok(3 * BATCH + 1));
}

/// The sessions of a server get a limit on the size of their files, which ends a write in the middle
/// of a page, as a full disk does.
#[test]
fn a_full_disk_is_named_and_leaves_nothing_half_done() {
    const BATCH: u64 = 200;
    const LIMIT: u64 = 128 * 8192 + 4096;
    let Some(own) = own() else { return };
    let Own { cluster, .. } = &*own;
    let connection = format!("{} application_name=full", cluster.connection());
    let store = Postgres::create(&options(&connection, &schema())).unwrap();
    let limit = |bytes: &str| {
        let sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'full'";
        for session in cluster.sql(sessions).lines() {
            // The soft one: an ordinary user may raise it again.
            let set = cluster::ordinary(Path::new("prlimit"))
                .args(["--pid", session, &format!("--fsize={bytes}:")])
                .status();
            assert!(set.unwrap().success());
        }
    };
    let batch = |number: u64| {
        let range = number * BATCH..(number + 1) * BATCH;
        range.map(|n| insert(n, &[7; 500])).collect()
    };
    block_on(store.write(None, batch(0))).unwrap();
    limit(&LIMIT.to_string());
    let mut number = 1;
    let error = loop {
        match block_on(store.write(None, batch(number))) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 20, "the disk is never full");
    };
    assert_eq!(error, StoreError::Full);
    assert_eq!(block_on(store.count()), Ok(number * BATCH));
    let refused = number * BATCH..(number + 1) * BATCH;
    assert_eq!(there(&store, refused), [false; BATCH as usize]);
    assert_eq!(there(&store, 0..BATCH), [true; BATCH as usize]);
    // Room was made.
    limit("unlimited");
    let outcomes = block_on(store.write(None, batch(number))).unwrap();
    assert!(outcomes.iter().all(|it| *it == WriteOutcome::Inserted));
    assert_eq!(block_on(store.count()), Ok((number + 1) * BATCH));
}

/// It becomes read-only under a program that runs, and is writable again later.
#[test]
fn a_read_only_database_is_named() {
    let Some(own) = own() else { return };
    let Own { cluster, .. } = &*own;
    let set = |to: &str| {
        cluster.sql(&format!(
            "ALTER SYSTEM SET default_transaction_read_only = {to}"
        ));
        cluster.sql("SELECT pg_reload_conf()");
    };
    let options = options(&cluster.connection(), &schema()).timeouts(PATIENCE, PATIENCE);
    let store = Postgres::create(&options).unwrap();
    block_on(store.write(None, vec![insert(1, b"row")])).unwrap();
    set("on");
    let begun = Instant::now();
    let refused = loop {
        // The reload takes a moment.
        let n = 2 + u64::try_from(begun.elapsed().as_micros()).unwrap();
        if let Err(error) = block_on(store.write(None, vec![insert(n, b"row")])) {
            break (n, error);
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    };
    let before = block_on(store.count());
    assert_eq!(refused.1, StoreError::Io(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(there(&store, 1..2), [true]);
    assert_eq!(there(&store, refused.0..refused.0 + 1), [false]);
    cluster.sql("ALTER SYSTEM RESET default_transaction_read_only");
    cluster.sql("SELECT pg_reload_conf()");
    let begun = Instant::now();
    while block_on(store.write(None, vec![insert(refused.0, b"row")])).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    assert_eq!(block_on(store.count()), before.map(|count| count + 1));
}

#[test]
fn used_up_connections_are_named() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    cluster.sql("CREATE ROLE crowded LOGIN CONNECTION LIMIT 2");
    cluster.sql("GRANT CREATE ON DATABASE postgres TO crowded");
    let connection = cluster.connection().replace("=cardvault", "=crowded");
    let schema = schema();
    let short = |connections| {
        let options = PostgresOptions::new(&connection).unwrap();
        let options = options.in_schema(&schema).connections(connections);
        options.timeouts(PATIENCE, PATIENCE)
    };
    let first = Postgres::create(&short(2)).unwrap();
    block_on(first.write(None, vec![insert(1, b"row")])).unwrap();
    assert_eq!(there(&first, 1..2), [true]);
    let refused = StoreError::Refused { code: *b"53300" };
    assert_eq!(Postgres::open(&short(2)).err(), Some(refused));
    // The first goes on, and the second comes once there is room.
    block_on(first.write(None, vec![insert(2, b"row")])).unwrap();
    drop(first);
    let begun = Instant::now();
    let second = loop {
        match Postgres::open(&short(2)) {
            Ok(store) => break store,
            Err(error) => assert_eq!(error, refused),
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    };
    assert_eq!(block_on(second.count()), Ok(2));
}

/// A role that may do all but put rows.
#[test]
fn a_refusal_is_named_and_leaves_nothing_half_done() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let schema = schema();
    let made = Postgres::create(&options(&cluster.connection(), &schema)).unwrap();
    cluster.sql(&format!(
        "CREATE ROLE half LOGIN; GRANT USAGE ON SCHEMA {schema} TO half; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO half; \
         REVOKE INSERT ON {schema}.vault_row FROM half"
    ));
    let connection = cluster.connection().replace("=cardvault", "=half");
    let store = Postgres::open(&options(&connection, &schema)).unwrap();
    let begun = Instant::now();
    let outcome = block_on(store.write(None, vec![insert(1, b"row")]));
    let refused = StoreError::Refused { code: *b"42501" };
    assert_eq!(outcome, Err(refused));
    assert!(!refused.may_be_applied() && begun.elapsed() < Duration::from_secs(20));
    assert_eq!(there(&made, 1..2), [false]);
    assert_eq!(block_on(made.count()), Ok(0));
    cluster.sql(&format!("GRANT INSERT ON {schema}.vault_row TO half"));
    let outcome = block_on(store.write(None, vec![insert(1, b"row")]));
    assert_eq!(outcome, Ok(vec![WriteOutcome::Inserted]));
}

#[test]
fn another_programs_tables_are_no_vault() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    for made in [
        "CREATE TABLE @.store (name text, price money)",
        "CREATE TABLE @.store (format text); INSERT INTO @.store VALUES ('1')",
        "CREATE TABLE @.store (format smallint)",
        "CREATE VIEW @.store AS SELECT 'x'::text AS format",
        "CREATE TABLE @.store (format smallint); INSERT INTO @.store VALUES (1)",
    ] {
        let schema = schema();
        cluster.sql(&format!(
            "CREATE SCHEMA {schema}; {}",
            made.replace('@', &schema)
        ));
        let options = options(&cluster.connection(), &schema);
        let error = Postgres::open_or_create(&options).err();
        assert_eq!(error, Some(StoreError::NotAVault), "{made}");
        let left =
            format!("SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace");
        assert_eq!(cluster.sql(&left), "1", "something was made beside: {made}");
    }
}

/// Killed and started again, twice, while callers count.
#[test]
fn a_server_that_restarts_is_waited_for() {
    let Some(own) = own() else { return };
    let store = Postgres::create(&options(&own.cluster.connection(), &schema())).unwrap();
    let done = AtomicBool::new(false);
    let counts: Vec<u64> = thread::scope(|scope| {
        let counting: Vec<_> = (0..3)
            .map(|n| {
                let (store, done) = (&store, &done);
                scope.spawn(move || count_up(store, n, done))
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        own.cluster.kill();
        own.cluster.restart();
        thread::sleep(Duration::from_millis(200));
        own.cluster.restart();
        thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
        counting.into_iter().map(|it| it.join().unwrap()).collect()
    });
    println!("{counts:?} steps");
    assert!(counts.iter().all(|count| *count > 3), "{counts:?}");
}

static CLOCK: AtomicU64 = AtomicU64::new(START);

fn jumping() -> UnixSeconds {
    UnixSeconds(CLOCK.load(Ordering::SeqCst))
}

/// One process has the right time, the other's jumps.
#[test]
fn a_clock_that_jumps_loses_nothing() {
    const YEAR: u64 = 365 * 24 * 60 * 60;
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let options = options(&cluster.connection(), &schema());
    let open = |clock| {
        let store = Postgres::open_or_create(&options).unwrap();
        let log = LineLog::new(std::io::sink());
        block_on(Vault::open_with(store, ring(), log, || SystemRandom, clock)).unwrap()
    };
    let (right, wrong) = (open(ledger::clock), open(jumping));
    let how = Tokenize::convergent();
    let tokenize = |vault: &Vault<Postgres>, digits: &str| {
        block_on(vault.tokenize(&shop(), &card(digits), &how))
    };
    let first = tokenize(&right, "4111111111111111").unwrap().token;
    for jump in [START + 50 * YEAR, START - 10 * YEAR, 0, u64::MAX, START] {
        CLOCK.store(jump, Ordering::SeqCst);
        // A key outside its period is named; within it the card is found.
        for digits in ["4111111111111111", "5555555555554444"] {
            match tokenize(&wrong, digits) {
                Ok(found) if digits.starts_with('4') => assert_eq!(found.token, first),
                Ok(_) => {}
                Err(error) => assert!(matches!(error, VaultError::Key(_)), "{error:?} at {jump}"),
            }
        }
        assert_eq!(tokenize(&right, "4111111111111111").unwrap().token, first);
        let opened = block_on(right.detokenize(&access(), &shop(), &first)).unwrap();
        assert_eq!(opened.pan.mask(), card("4111111111111111").pan.mask());
    }
    // Back in time: both see the same two cards.
    let second = tokenize(&wrong, "5555555555554444").unwrap().token;
    assert_eq!(tokenize(&right, "5555555555554444").unwrap().token, second);
    assert_eq!(block_on(right.count()), Ok(2));
}

/// Desks of two processes.
#[test]
fn two_hundred_desks_on_one_database() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let options = options(&cluster.connection(), &schema());
    let desk = || ledger::open(Postgres::open_or_create(&options).unwrap());
    desks::desks_at_once(&[desk(), desk()]);
}
