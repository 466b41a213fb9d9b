//! What benches of stores share: settings, cards, bytes and a vault.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "each bench uses its part")]

use std::env;
use std::time::Instant;

use cardvault::card::{CardRecord, Pan, luhn};
use cardvault::keys::{Cryptoperiod, KeyRing, KeyUse, RingMark};
use cardvault::vault::{AccessLog, LineLog, Store, Vault};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;

/// A number of the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A vault with a new ring and no access log.
pub(crate) fn new_vault<S: Store>(store: S) -> Vault<S> {
    new_vault_with(store, LineLog::new(std::io::sink()))
}

/// A vault with a new ring.
pub(crate) fn new_vault_with<S: Store>(store: S, log: impl AccessLog) -> Vault<S> {
    let now = UnixSeconds::now();
    let mut ring = KeyRing::new(RingMark::Development, &mut SystemRandom).unwrap();
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut SystemRandom).unwrap();
        ring.activate(name, now).unwrap();
    }
    block_on(Vault::open(store, ring, log)).unwrap()
}

/// The card of this number: a 16-digit one that passes Luhn.
pub(crate) fn card(n: u64) -> CardRecord {
    let mut digits = format!("4{n:014}").into_bytes();
    digits.push(b'0' + luhn::check_digit(&digits).unwrap());
    CardRecord::new(Pan::parse(&digits).unwrap())
}

/// How many of `count` in a second.
pub(crate) fn rate(count: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}

pub(crate) fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Splitmix64.
pub(crate) fn fill(seed: u64, out: &mut [u8]) {
    let mut state = seed.wrapping_mul(0xD134_2543_DE82_EF95);
    for chunk in out.chunks_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        chunk.copy_from_slice(&(x ^ (x >> 31)).to_le_bytes()[..chunk.len()]);
    }
}
