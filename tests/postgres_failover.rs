//! Nothing acknowledged is lost: processes tokenize, record payments and refund while the primary
//! is killed, its synchronous standby promoted, and some of the processes killed too. Afterwards
//! every acknowledged token, payment and refund is there once, and the ledger balances.
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
#[path = "support/ledger/mod.rs"]
mod ledger;
#[path = "support/worker.rs"]
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cardvault::SystemRandom;
use cardvault::card::{CardRecord, Pan, luhn};
use cardvault::ledger::{Ledger, LedgerError, Source};
use cardvault::refund::{Action, Refusal};
use cardvault::token::Token;
use cardvault::vault::{LineLog, Postgres, PostgresOptions, Tokenize, Vault};
use pollster::block_on;

use crate::cluster::Cluster;
use crate::ledger::{access, ask, clock, cny, id, merchant, number, policy, ring, sale, shop};
use crate::worker::{Worker, say};

const WORKERS: u64 = 4;
/// Cards that all processes meet.
const CARDS: u64 = 40;
/// The payment that all processes refund from, and each refund of it.
const SHARED: u64 = 1;
const WHOLE: u64 = 100_000;
const PART: u64 = 10;

#[test]
fn nothing_acknowledged_is_lost() {
    if worker::told().is_some() {
        return;
    }
    let Some(primary) = Cluster::start() else {
        return;
    };
    let standby = primary.standby();
    let connection = format!(
        "host=127.0.0.1,127.0.0.1 port={},{} user=cardvault dbname=postgres \
         target_session_attrs=read-write",
        primary.port, standby.port
    );
    let (vault, ledger) = open(&connection);
    ledger
        .record(&shop(), &sale(SHARED, WHOLE), Source::Centre)
        .unwrap();
    drop((vault, ledger));

    let mut workers: Vec<Worker> = (1..=WORKERS).map(|n| start(n, &connection)).collect();
    let mut heard = Heard::default();
    heard.until(&workers, 40);
    // Processes at random moments; the last of them start anew.
    workers[0].kill();
    heard.until(&workers[1..], 20);
    workers[1].kill();
    let before = heard.all();
    primary.kill();
    thread::sleep(Duration::from_millis(300));
    standby.promote();
    workers.push(start(WORKERS + 1, &connection));
    heard.until(&workers[2..], 60);
    let after = heard.all();
    for worker in &mut workers {
        worker.stop();
    }
    heard.rest(&workers);
    println!(
        "{before} acknowledged before the primary was killed, {} after",
        after - before
    );

    let (vault, ledger) = open(&connection);
    for (card, tokens) in &heard.tokens {
        assert_eq!(tokens.len(), 1, "one token of each card");
        for token in tokens {
            let token: Token = token.parse().unwrap();
            let record = block_on(vault.detokenize(&access(), &shop(), &token)).unwrap();
            assert_eq!(record.pan.mask(), test_card(*card).pan.mask());
        }
    }
    for payment in &heard.payments {
        ledger.audit(&shop(), &id(*payment)).unwrap();
    }
    for name in &heard.refunds {
        let request = ledger.request_of(&shop(), &merchant(), &number(name));
        assert!(request.is_ok(), "{name}");
    }
    // Each request counts once: those of processes that were killed may be there unheard.
    let shared = ledger.audit(&shop(), &id(SHARED)).unwrap();
    let mut requests = 0;
    let mut after = None;
    loop {
        let page = ledger.requests(&shop(), &id(SHARED), after).unwrap();
        requests += page.items.len() as u64;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(requests >= heard.refunds.len() as u64);
    assert_eq!(shared.refunds.counted(), Ok(cny(requests * PART)));
    println!(
        "{} tokens, {} payments, {requests} refunds",
        heard.tokens.len(),
        heard.payments.len()
    );
}

/// The work of one process: what is acknowledged goes to standard output, a line each.
#[test]
fn at_work() {
    let Some(told) = worker::told() else {
        return;
    };
    let (own, connection) = told.split_once(' ').unwrap();
    let own: u64 = own.parse().unwrap();
    let (vault, ledger) = open(connection);
    for n in 0.. {
        let card = (n * 7 + own) % CARDS;
        let token = block_on(vault.tokenize(&shop(), &test_card(card), &Tokenize::convergent()));
        say(&format!("token {card} {}", token.unwrap().token));
        let payment = own * 1_000_000 + n;
        let answer = ledger.record(&shop(), &sale(payment, 500), Source::Centre);
        assert!(answer.is_ok(), "{answer:?}");
        say(&format!("payment {payment}"));
        let name = format!("R-{own}-{n}");
        match ledger.request(
            &shop(),
            &id(SHARED),
            &policy(),
            &ask(Action::Refund, PART, &name),
        ) {
            Ok(answer) if !answer.repeated => say(&format!("refund {name}")),
            Err(LedgerError::Refused(
                Refusal::TotalExceeded { .. } | Refusal::TooManyRefunds { .. },
            )) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A process with this number.
fn start(number: u64, connection: &str) -> Worker {
    Worker::start("at_work", format!("{number} {connection}"))
}

type Vaults = (
    Arc<Vault<Postgres>>,
    cardvault::ledger::BlockingLedger<Postgres>,
);

fn open(connection: &str) -> Vaults {
    let options = PostgresOptions::new(connection)
        .unwrap()
        .connections(3)
        .timeouts(Duration::from_secs(5), Duration::from_secs(60));
    let store = Postgres::open_or_create(&options).unwrap();
    let log = LineLog::new(std::io::sink());
    let vault = Vault::open_with(store, ring(), log, || SystemRandom, clock);
    let vault = Arc::new(block_on(vault).unwrap());
    (Arc::clone(&vault), Ledger::new(vault).blocking())
}

/// A well-formed number of no issuer, by its number.
fn test_card(n: u64) -> CardRecord {
    let digits = format!("400000{n:09}");
    let check = luhn::check_digit(digits.as_bytes()).unwrap();
    let digits = format!("{digits}{check}");
    CardRecord::new(Pan::parse(digits.as_bytes()).unwrap())
}

/// What was acknowledged.
#[derive(Default)]
struct Heard {
    tokens: BTreeMap<u64, BTreeSet<String>>,
    payments: BTreeSet<u64>,
    refunds: BTreeSet<String>,
}

impl Heard {
    fn all(&self) -> usize {
        self.tokens.len() + self.payments.len() + self.refunds.len()
    }

    /// Listens until every one of these workers has been heard `more` times.
    fn until(&mut self, workers: &[Worker], more: usize) {
        let start = Instant::now();
        for worker in workers {
            for _ in 0..more {
                let left = Duration::from_secs(90).saturating_sub(start.elapsed());
                let line = worker.lines.recv_timeout(left);
                self.take(&line.expect("a worker stopped or hangs"));
            }
        }
    }

    /// What is left to hear of workers that have ended.
    fn rest(&mut self, workers: &[Worker]) {
        for worker in workers {
            while let Ok(line) = worker.lines.recv() {
                self.take(&line);
            }
        }
    }

    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("token"), Some(card), Some(token)) => {
                let tokens = self.tokens.entry(card.parse().unwrap()).or_default();
                tokens.insert(token.to_owned());
            }
            (Some("payment"), Some(payment), None) => {
                self.payments.insert(payment.parse().unwrap());
            }
            (Some("refund"), Some(name), None) => {
                self.refunds.insert(name.to_owned());
            }
            other => panic!("{other:?}"),
        }
    }
}
