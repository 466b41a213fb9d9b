//! What it costs to be watched: single calls of a vault in memory.
//!
//! Run it twice, with `--features vault` and with `--features vault,metrics,tracing`: the first is
//! the vault without any of it, the second first with nobody who looks, then with a recorder and a
//! subscriber that wants what is of level info. `CARDVAULT_BENCH_CALLS` is the number of calls of a
//! turn (20,000), `CARDVAULT_BENCH_ROUNDS` the number of turns (9), of which the best counts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

mod support;

use std::time::{Duration, Instant};

use cardvault::card::CardRecord;
use cardvault::keys::Domain;
use cardvault::token::Token;
use cardvault::vault::{Access, Memory, Tokenize, Vault};
use pollster::block_on;

use crate::support::{card, new_vault, number};

fn main() {
    turns(if cfg!(all(feature = "metrics", feature = "tracing")) {
        "nobody looks"
    } else {
        "not compiled in"
    });
    #[cfg(all(feature = "metrics", feature = "tracing"))]
    {
        use metrics_util::debugging::DebuggingRecorder;
        use tracing_subscriber::filter::LevelFilter;
        use tracing_subscriber::layer::SubscriberExt as _;
        use tracing_subscriber::util::SubscriberInitExt as _;

        DebuggingRecorder::new().install().unwrap();
        tracing_subscriber::registry()
            .with(LevelFilter::INFO)
            .init();
        turns("recorder and subscriber");
    }
}

fn turns(how: &str) {
    let calls = number("CARDVAULT_BENCH_CALLS", 20_000);
    let domain: Domain = "merchant".parse().unwrap();
    let access = Access::new("bench", "bench", "bench").unwrap();
    let cards: Vec<CardRecord> = (0..calls).map(card).collect();
    let (mut tokenize, mut detokenize) = (Duration::MAX, Duration::MAX);
    for _ in 0..number("CARDVAULT_BENCH_ROUNDS", 9) {
        let vault: Vault<Memory> = new_vault(Memory::new());
        let start = Instant::now();
        let tokens: Vec<Token> = cards
            .iter()
            .map(|card| {
                block_on(vault.tokenize(&domain, card, &Tokenize::fresh()))
                    .unwrap()
                    .token
            })
            .collect();
        tokenize = tokenize.min(start.elapsed());
        let start = Instant::now();
        for token in &tokens {
            block_on(vault.detokenize(&access, &domain, token)).unwrap();
        }
        detokenize = detokenize.min(start.elapsed());
    }
    for (name, took) in [("tokenize", tokenize), ("detokenize", detokenize)] {
        let each = took.as_secs_f64() / calls as f64 * 1e6;
        println!("{how:<24} {name:<10} {each:>7.3} us a call");
    }
}
