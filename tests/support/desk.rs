//! A vault, a ledger and what happens at a desk, for tests of whole stores.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

#[path = "ledger/mod.rs"]
mod support;

use std::io;
use std::sync::Arc;

use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, KeyName, KeyRing, KeyUse, RingMark};
use cardvault::ledger::{BlockingLedger, Ledger, NewPayment};
use cardvault::refund::{Action, Policy, Request};
use cardvault::vault::{
    Access, BlockingVault, Guard, Item, LineLog, Snapshot, SnapshotStore, Store, VaultError,
};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
pub(crate) use support::{cny, id as payment_id, shop};

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
pub(crate) fn clock() -> UnixSeconds {
    NOW
}

pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub(crate) fn add(ring: &mut KeyRing, usage: KeyUse, rng: &mut ChaCha20Rng) -> KeyName {
    let period = Cryptoperiod::default_of(usage);
    let name = ring.add(usage, period, NOW, rng).unwrap();
    ring.activate(name, NOW).unwrap();
    name
}

/// A ring with one active version of each use, from a fixed seed.
pub(crate) fn ring_of(mark: RingMark, seed: u8) -> KeyRing {
    let mut rng = rng(seed);
    let mut ring = KeyRing::new(mark, &mut rng).unwrap();
    for usage in KeyUse::ALL {
        add(&mut ring, usage, &mut rng);
    }
    ring
}

pub(crate) fn ring() -> KeyRing {
    ring_of(RingMark::Production, 1)
}

pub(crate) fn open_with<S: Store>(store: S, ring: KeyRing) -> Result<BlockingVault<S>, VaultError> {
    let log = LineLog::new(io::sink());
    BlockingVault::open_with(store, ring, log, || SystemRandom, clock)
}

pub(crate) fn open<S: Store>(store: S) -> BlockingVault<S> {
    open_with(store, ring()).unwrap()
}

pub(crate) fn ledger_of<S: Store>(vault: &BlockingVault<S>) -> BlockingLedger<S> {
    Ledger::new(Arc::clone(vault.vault())).blocking()
}

pub(crate) fn access() -> Access {
    Access::new("backup", "nightly", "host-1").unwrap()
}

pub(crate) fn card(n: u64) -> CardRecord {
    let body = format!("4{n:014}");
    let number = (0..10).map(|check| format!("{body}{check}"));
    let pan = number.filter_map(|number| Pan::parse(number.as_bytes()).ok());
    CardRecord::new({ pan }.next().unwrap())
}

pub(crate) fn sale(n: u64, minor: u64) -> NewPayment {
    NewPayment {
        last_four: None,
        ..support::sale(n, minor)
    }
}

pub(crate) fn refund(n: u64, minor: u64) -> Request {
    support::ask(Action::Refund, minor, &format!("R-{n}"))
}

pub(crate) fn policy() -> Policy {
    Policy {
        max_refunds: 1_000_000,
        ..support::policy()
    }
}

/// How many rows were seen, and how many have no key.
pub(crate) fn check_all<S: Store>(vault: &BlockingVault<S>) -> (u64, u64) {
    let (mut after, mut seen, mut unopenable) = (None, 0, 0);
    loop {
        let step = vault.check(after, 7).unwrap();
        seen += step.seen;
        unopenable += step.unopenable;
        after = step.cursor;
        if after.is_none() {
            return (seen, unopenable);
        }
    }
}

pub(crate) fn audit_all<S: Store>(vault: &BlockingVault<S>) -> usize {
    let ledger = ledger_of(vault);
    let (mut after, mut audited) = (None, 0);
    loop {
        let page = ledger.audit_page(after, 7).unwrap();
        audited += page.items.len();
        after = page.next;
        if after.is_none() {
            return audited;
        }
    }
}

/// All that a store holds, read in pages of `limit`.
pub(crate) fn everything(store: &impl SnapshotStore, limit: usize) -> (Option<Guard>, Vec<Item>) {
    let mut snapshot = block_on(store.snapshot()).unwrap();
    let mut items = Vec::new();
    loop {
        let page = block_on(snapshot.next(limit)).unwrap();
        let end = page.len() < limit;
        items.extend(page);
        if end {
            return (block_on(snapshot.guard()).unwrap(), items);
        }
    }
}
