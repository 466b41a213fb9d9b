//! A vault, a ledger and what happens at a desk, for tests of whole stores.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::io;
use std::sync::Arc;

use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, KeyName, KeyRing, KeyUse, RingMark};
use cardvault::ledger::{BlockingLedger, Ledger, NewPayment, PaymentId};
use cardvault::payment::{
    Amount, BatchNumber, ClearingDate, Currency, Date, PaymentFields, PaymentKind, ResponseCode,
    Rrn, Stan, Voucher,
};
use cardvault::refund::{Action, Authority, CardMatch, PaidBy, Policy, Request};
use cardvault::vault::{
    Access, BlockingVault, Guard, Item, LineLog, Snapshot, SnapshotStore, Store, VaultError,
};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

pub const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
pub fn clock() -> UnixSeconds {
    NOW
}

pub fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub fn add(ring: &mut KeyRing, usage: KeyUse, rng: &mut ChaCha20Rng) -> KeyName {
    let period = Cryptoperiod::default_of(usage);
    let name = ring.add(usage, period, NOW, rng).unwrap();
    ring.activate(name, NOW).unwrap();
    name
}

/// A ring with one active version of each use, from a fixed seed.
pub fn ring_of(mark: RingMark, seed: u8) -> KeyRing {
    let mut rng = rng(seed);
    let mut ring = KeyRing::new(mark, &mut rng).unwrap();
    for usage in KeyUse::ALL {
        add(&mut ring, usage, &mut rng);
    }
    ring
}

pub fn ring() -> KeyRing {
    ring_of(RingMark::Production, 1)
}

pub fn open_with<S: Store>(store: S, ring: KeyRing) -> Result<BlockingVault<S>, VaultError> {
    let log = LineLog::new(io::sink());
    BlockingVault::open_with(store, ring, log, || SystemRandom, clock)
}

pub fn open<S: Store>(store: S) -> BlockingVault<S> {
    open_with(store, ring()).unwrap()
}

pub fn ledger_of<S: Store>(vault: &BlockingVault<S>) -> BlockingLedger<S> {
    Ledger::new(Arc::clone(vault.vault())).blocking()
}

pub fn access() -> Access {
    Access::new("backup", "nightly").unwrap()
}

pub fn card(n: u64) -> CardRecord {
    let body = format!("4{n:014}");
    let number = (0..10).map(|check| format!("{body}{check}"));
    let pan = number.filter_map(|number| Pan::parse(number.as_bytes()).ok());
    CardRecord::new({ pan }.next().unwrap())
}

pub fn cny(minor: u64) -> Amount {
    Amount::new(minor, Currency::CNY).unwrap()
}

pub fn payment_id(n: u64) -> PaymentId {
    PaymentId::Journal {
        terminal: "T0000001".parse().unwrap(),
        epoch: 1,
        sequence: n,
    }
}

pub fn sale(n: u64, minor: u64) -> NewPayment {
    let small = u32::try_from(n % 999_999).unwrap() + 1;
    let numbers = (
        Stan::new(small).unwrap(),
        Voucher::new(small).unwrap(),
        BatchNumber::new(7).unwrap(),
    );
    let (terminal, merchant) = ("T0000001".parse().unwrap(), "M1".parse().unwrap());
    let mut fields = PaymentFields::new(PaymentKind::Sale, cny(minor), numbers, terminal, merchant);
    fields.rrn = Some(Rrn::parse(format!("{n:012}").as_bytes()).unwrap());
    fields.response = Some(ResponseCode::APPROVED);
    let date = Date::of(NOW, 480).unwrap();
    fields.clearing = Some(ClearingDate(date));
    NewPayment {
        id: payment_id(n),
        time: NOW.plus(n),
        date,
        paid_by: PaidBy::Card,
        fields,
        token: None,
        last_four: None,
    }
}

pub fn refund(n: u64, minor: u64) -> Request {
    let date = Date::of(NOW, 480).unwrap();
    Request {
        action: Action::Refund,
        amount: cny(minor),
        number: format!("R-{n}").parse().unwrap(),
        merchant: "M1".parse().unwrap(),
        terminal: "T0000001".parse().unwrap(),
        card: CardMatch::Same,
        authority: Authority::Supervisor,
        today: date,
        clearing: ClearingDate(date),
    }
}

pub fn policy() -> Policy {
    Policy {
        void_first: false,
        max_refunds: 1_000_000,
        ..Policy::UNIONPAY_CARD_PRESENT
    }
}

/// How many rows were seen, and how many have no key.
pub fn check_all<S: Store>(vault: &BlockingVault<S>) -> (u64, u64) {
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

pub fn audit_all<S: Store>(vault: &BlockingVault<S>) -> usize {
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
pub fn everything(store: &impl SnapshotStore, limit: usize) -> (Option<Guard>, Vec<Item>) {
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
