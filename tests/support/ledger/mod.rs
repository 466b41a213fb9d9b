//! A ledger in memory and the payments and requests that its tests make.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![forbid(unsafe_code)]

pub(crate) mod desks;
pub(crate) mod model;

use std::sync::Arc;

use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::ledger::{BlockingLedger, Ledger, NewPayment, PaymentId};
use cardvault::payment::{
    Amount, BatchNumber, ClearingDate, Currency, Date, MerchantId, PaymentFields, PaymentKind,
    RefundNumber, ResponseCode, Rrn, Stan, TerminalId, Voucher,
};
use cardvault::refund::{Action, Authority, CardMatch, PaidBy, Policy, Request};
use cardvault::vault::{Access, LineLog, Memory, Store, Vault};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;

pub(crate) const START: u64 = 1_800_000_000;

/// The time that ledgers see.
pub(crate) fn clock() -> UnixSeconds {
    UnixSeconds(START)
}

pub(crate) fn ring() -> KeyRing {
    use rand_chacha::rand_core::SeedableRng;
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([1; 32]);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for usage in KeyUse::ALL {
        add(&mut ring, usage, &mut rng);
    }
    ring
}

pub(crate) fn add(ring: &mut KeyRing, usage: KeyUse, rng: &mut rand_chacha::ChaCha20Rng) {
    let period = Cryptoperiod::default_of(usage);
    let name = ring.add(usage, period, UnixSeconds(START), rng).unwrap();
    ring.activate(name, UnixSeconds(START)).unwrap();
}

pub(crate) fn open<S: Store>(store: S) -> BlockingLedger<S> {
    let log = LineLog::new(std::io::sink());
    let vault = Vault::open_with(store, ring(), log, || SystemRandom, clock);
    Ledger::new(Arc::new(block_on(vault).unwrap())).blocking()
}

pub(crate) fn memory() -> (Arc<Memory>, BlockingLedger<Arc<Memory>>) {
    let store = Arc::new(Memory::new());
    (Arc::clone(&store), open(store))
}

pub(crate) fn shop() -> Domain {
    "shop-1".parse().unwrap()
}

pub(crate) fn access() -> Access {
    Access::new("desk-3", "refund", "10.0.0.7").unwrap()
}

pub(crate) fn card(digits: &str) -> CardRecord {
    CardRecord::new(Pan::parse(digits.as_bytes()).unwrap())
}

pub(crate) fn cny(minor: u64) -> Amount {
    Amount::new(minor, Currency::CNY).unwrap()
}

pub(crate) fn terminal() -> TerminalId {
    "T0000001".parse().unwrap()
}

pub(crate) fn merchant() -> MerchantId {
    "M1".parse().unwrap()
}

pub(crate) fn date() -> Date {
    Date::of(UnixSeconds(START), 480).unwrap()
}

pub(crate) fn id(n: u64) -> PaymentId {
    PaymentId::Journal {
        terminal: terminal(),
        epoch: 1,
        sequence: n,
    }
}

pub(crate) fn rrn(n: u64) -> Rrn {
    Rrn::parse(format!("{n:012}").as_bytes()).unwrap()
}

pub(crate) fn number(text: &str) -> RefundNumber {
    text.parse().unwrap()
}

/// An approved sale of `minor` with numbers made of `n`.
pub(crate) fn sale(n: u64, minor: u64) -> NewPayment {
    let small = u32::try_from(n % 999_999).unwrap() + 1;
    let numbers = (
        Stan::new(small).unwrap(),
        Voucher::new(small).unwrap(),
        BatchNumber::new(7).unwrap(),
    );
    let mut fields = PaymentFields::new(
        PaymentKind::Sale,
        cny(minor),
        numbers,
        terminal(),
        merchant(),
    );
    fields.rrn = Some(rrn(n));
    fields.response = Some(ResponseCode::APPROVED);
    fields.clearing = Some(ClearingDate(date()));
    NewPayment {
        id: id(n),
        time: UnixSeconds(START + n),
        date: date(),
        paid_by: PaidBy::Card,
        fields,
        token: None,
        last_four: Some(1111),
    }
}

pub(crate) fn in_doubt(n: u64, minor: u64) -> NewPayment {
    let mut payment = sale(n, minor);
    payment.fields.response = None;
    payment.fields.rrn = None;
    payment
}

pub(crate) fn ask(action: Action, minor: u64, text: &str) -> Request {
    Request {
        action,
        amount: cny(minor),
        number: number(text),
        merchant: merchant(),
        terminal: terminal(),
        card: CardMatch::Same,
        authority: Authority::Supervisor,
        today: date(),
        clearing: ClearingDate(date()),
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        void_first: false,
        max_refunds: 1000,
        ..Policy::UNIONPAY_CARD_PRESENT
    }
}
