//! The ledger at its edges: amounts, references, days and clocks that go wrong, and ledger keys
//! that are replaced.
#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[macro_use]
#[path = "support/forward.rs"]
mod forward;
#[path = "support/ledger/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cardvault::keys::{Domain, KeyError, KeyName, KeyRing, KeyUse};
use cardvault::ledger::reconcile::{Disagreement, SettlementRow, with_settlement};
use cardvault::ledger::{
    Answer, BlockingLedger, Change, Cursor, ImportEntry, Imported, Ledger, LedgerError, Lookup,
    NewPayment, Source, WhyUnapplied,
};
use cardvault::payment::{
    AMOUNT_MAX, Amount, BatchNumber, ClearingDate, Currency, Date, OriginalVoucher, PaymentKind,
    Reference, ResponseCode, Voucher,
};
use cardvault::refund::{
    Action, Authority, CardMatch, Deadlines, PaidBy, PaymentState, Policy, RefundEvent,
    RefundStatus, Refusal, Request,
};
use cardvault::vault::{
    Elsewhere, Found, Guard, IndexKey, LineLog, Memory, Row, RowKey, Store, StoreError, Vault,
    VaultError, Write, WriteOutcome,
};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use support::{
    START, add, ask, cny, date, id, in_doubt, memory, merchant, number, policy, ring, rrn, sale,
    shop, terminal,
};

type InMemory = BlockingLedger<Arc<Memory>>;

fn all_rows(store: &impl Store) -> Vec<(RowKey, Row)> {
    block_on(store.scan(None, None, 10_000)).unwrap()
}

fn day(text: &str) -> Date {
    Date::parse(text.as_bytes()).unwrap()
}

/// A sale on another day.
fn sale_on(n: u64, minor: u64, date: Date) -> NewPayment {
    let mut payment = sale(n, minor);
    payment.date = date;
    payment.fields.clearing = Some(ClearingDate(date));
    payment
}

/// What a terminal did to the payment that `original` names.
fn act(n: u64, kind: PaymentKind, minor: u64, original: Reference) -> NewPayment {
    let mut payment = sale(n, minor);
    payment.fields.kind = kind;
    payment.fields.original = Some(original);
    payment
}

fn by_rrn(n: u64, date: Date) -> Reference {
    Reference::Rrn {
        rrn: rrn(n),
        date: date.month_day(),
    }
}

fn import(ledger: &InMemory, payments: &[NewPayment]) -> Imported {
    let entries: Vec<_> = payments
        .iter()
        .map(|payment| ImportEntry {
            payment: *payment,
            card: None,
        })
        .collect();
    ledger.import(&shop(), &entries).unwrap()
}

fn refusal(ledger: &InMemory, n: u64, policy: &Policy, request: &Request) -> Refusal {
    match ledger.request(&shop(), &id(n), policy, request) {
        Err(LedgerError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn zero_too_much_and_mixed_amounts_write_nothing() {
    let (store, ledger) = memory();
    for (n, minor) in [(1, 1000), (2, AMOUNT_MAX), (3, 0)] {
        ledger
            .record(&shop(), &sale(n, minor), Source::Centre)
            .unwrap();
    }
    // All but one unit of the largest payment is asked back already.
    let most = ask(Action::Refund, AMOUNT_MAX - 1, "R-most");
    ledger.request(&shop(), &id(2), &policy(), &most).unwrap();
    let before = all_rows(&*store);
    let zero = |action| ask(action, 0, "R-1");
    for action in [Action::Refund, Action::Void] {
        assert_eq!(
            refusal(&ledger, 1, &policy(), &zero(action)),
            Refusal::ZeroAmount
        );
        assert_eq!(
            refusal(&ledger, 3, &policy(), &zero(action)),
            Refusal::ZeroAmount
        );
    }
    let (left, open) = (cny(1), cny(AMOUNT_MAX - 1));
    for minor in [2, AMOUNT_MAX] {
        assert_eq!(
            refusal(&ledger, 2, &policy(), &ask(Action::Refund, minor, "R-2")),
            Refusal::TotalExceeded { left, open }
        );
    }
    assert_eq!(
        refusal(&ledger, 3, &policy(), &ask(Action::Refund, 1, "R-3")),
        Refusal::TotalExceeded {
            left: cny(0),
            open: cny(0)
        }
    );
    for currency in [Currency::USD, Currency::JPY] {
        let other = Request {
            amount: Amount::new(10, currency).unwrap(),
            ..ask(Action::Refund, 10, "R-4")
        };
        assert_eq!(
            refusal(&ledger, 1, &policy(), &other),
            Refusal::MixedCurrency
        );
    }
    assert_eq!(all_rows(&*store), before);
    // A terminal's word is checked alike: the entry is there, the payment is as it was.
    let totals = |n| ledger.audit(&shop(), &id(n)).unwrap().refunds;
    let untouched = (totals(1), totals(2));
    let mut foreign = act(13, PaymentKind::Refund, 10, by_rrn(1, date()));
    foreign.fields.amount = Amount::new(10, Currency::USD).unwrap();
    let imported = import(
        &ledger,
        &[
            act(11, PaymentKind::Refund, 1001, by_rrn(1, date())),
            act(12, PaymentKind::Refund, AMOUNT_MAX, by_rrn(2, date())),
            foreign,
        ],
    );
    assert_eq!(imported.new, 3);
    let why: Vec<_> = imported.unapplied.iter().map(|entry| entry.why).collect();
    let exceeded = WhyUnapplied::TotalExceeded;
    assert_eq!(why, [exceeded, exceeded, WhyUnapplied::Amount]);
    assert_eq!((totals(1), totals(2)), untouched);
}

#[test]
fn a_terminal_s_zero_amounts_and_partial_voids_change_no_payment() {
    let (_, ledger) = memory();
    ledger
        .record(&shop(), &sale(1, 1000), Source::Centre)
        .unwrap();
    let before = ledger.payment(&shop(), &id(1)).unwrap();
    let voucher = Reference::Voucher(OriginalVoucher {
        batch: Some(before.fields.batch),
        voucher: Some(before.fields.voucher),
        ..OriginalVoucher::default()
    });
    let imported = import(
        &ledger,
        &[
            act(11, PaymentKind::Refund, 0, by_rrn(1, date())),
            act(12, PaymentKind::SaleVoid, 999, voucher),
            act(13, PaymentKind::SaleVoid, 1001, voucher),
        ],
    );
    let why: Vec<_> = imported.unapplied.iter().map(|entry| entry.why).collect();
    assert_eq!(why, [WhyUnapplied::Amount; 3]);
    assert_eq!(ledger.audit(&shop(), &id(1)), Ok(before));
}

#[test]
fn a_refund_of_a_refund_is_refused() {
    let (_, ledger) = memory();
    let mut refund = act(2, PaymentKind::Refund, 400, by_rrn(1, date()));
    refund.fields.refund = Some(number("T-R-1"));
    import(&ledger, &[sale(1, 1000), refund]);
    assert_eq!(
        ledger.audit(&shop(), &id(1)).unwrap().refunds.accepted,
        cny(400)
    );
    // The refund has a record of its own, found by its own number: it gives nothing back.
    assert_eq!(
        refusal(&ledger, 2, &policy(), &ask(Action::Refund, 100, "R-2")),
        Refusal::RefundOfRefund
    );
    assert_eq!(
        refusal(&ledger, 2, &policy(), &ask(Action::Void, 400, "R-3")),
        Refusal::RefundOfRefund
    );
    let imported = import(
        &ledger,
        &[act(3, PaymentKind::Refund, 100, by_rrn(2, date()))],
    );
    assert_eq!(imported.unapplied[0].why, WhyUnapplied::NoOriginal);
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(payment.refunds.accepted, cny(400));
}

#[test]
fn a_voucher_that_came_round_with_its_batch_is_ambiguous() {
    let (_, ledger) = memory();
    // 999999 payments later the numbers begin again; here the batch numbers have, too.
    let numbered = |n, minor, batch| {
        let mut payment = sale(n, minor);
        payment.fields.voucher = Voucher::new(999_999).unwrap().next();
        payment.fields.batch = BatchNumber::new(batch).unwrap();
        payment
    };
    import(
        &ledger,
        &[
            numbered(1, 100, 7),
            numbered(2, 200, 7),
            numbered(3, 300, 8),
        ],
    );
    let voucher = Voucher::new(1).unwrap();
    let at = |batch| Lookup::Voucher(terminal(), BatchNumber::new(batch).unwrap(), voucher);
    let found = |batch| ledger.find(&shop(), &at(batch), None, 10).unwrap().items;
    assert_eq!((found(7).len(), found(8).len()), (2, 1));
    let void = |n, minor, batch| {
        let original = OriginalVoucher {
            batch: Some(BatchNumber::new(batch).unwrap()),
            voucher: Some(voucher),
            ..OriginalVoucher::default()
        };
        act(
            n,
            PaymentKind::SaleVoid,
            minor,
            Reference::Voucher(original),
        )
    };
    let imported = import(&ledger, &[void(11, 300, 7), void(12, 300, 8)]);
    let why: Vec<_> = imported.unapplied.iter().map(|u| (u.at, u.why)).collect();
    assert_eq!(why, [(0, WhyUnapplied::Ambiguous)]);
    let state = |n| ledger.audit(&shop(), &id(n)).unwrap().state;
    assert_eq!(
        [state(1), state(2), state(3)],
        [
            PaymentState::Captured,
            PaymentState::Captured,
            PaymentState::Voided
        ]
    );
}

/// A refund names its payment by a day without a year.
#[test]
fn days_without_a_year_find_the_payment_across_new_year_and_leap_day() {
    let (_, ledger) = memory();
    // One reference number, used again and again.
    let days = ["20271231", "20280101", "20280228", "20280229", "20280301"];
    let payments: Vec<_> = (1..)
        .zip(days)
        .map(|(n, text)| {
            let mut payment = sale_on(n, 1000, day(text));
            payment.fields.rrn = Some(rrn(77));
            payment
        })
        .collect();
    import(&ledger, &payments);
    for (n, text) in (1..).zip(days) {
        let by = Lookup::Rrn(rrn(77), day(text));
        let found = ledger.find(&shop(), &by, None, 10).unwrap().items;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id, found[0].date), (id(n), day(text)));
    }
    for (n, asked, of, hit) in [
        // On New Year's Day "1231" is the day before, and "0101" is today.
        (11, "20280101", "20271231", Some(1)),
        (12, "20280101", "20280101", Some(2)),
        // From the leap day, until the day before the next one.
        (13, "20280229", "20280229", Some(4)),
        (14, "20280301", "20280228", Some(3)),
        (15, "20320228", "20280229", Some(4)),
        // By then "0301" is the one of a year in which there was no such payment.
        (16, "20320301", "20280301", None),
        (17, "20281231", "20271231", None),
    ] {
        let mut refund = act(n, PaymentKind::Refund, 10, by_rrn(77, day(of)));
        refund.date = day(asked);
        let applied = |n| ledger.audit(&shop(), &id(n)).unwrap().refunds.accepted;
        let before: Vec<_> = (1..=5).map(applied).collect();
        let imported = import(&ledger, &[refund]);
        let after: Vec<_> = (1..=5).map(applied).collect();
        for (at, (before, after)) in (1..).zip(before.into_iter().zip(after)) {
            let more = if hit == Some(at) { 10 } else { 0 };
            assert_eq!(after.minor() - before.minor(), more, "{n}: payment {at}");
        }
        let why: Vec<_> = imported.unapplied.iter().map(|entry| entry.why).collect();
        let expected = if hit.is_none() {
            vec![WhyUnapplied::NoOriginal]
        } else {
            vec![]
        };
        assert_eq!(why, expected, "{n}");
    }
}

#[test]
fn windows_count_days_across_new_year_and_leap_day() {
    let (_, ledger) = memory();
    for (n, text) in [(1, "20271231"), (2, "20280229"), (3, "20281231")] {
        let payment = sale_on(n, 1000, day(text));
        ledger.record(&shop(), &payment, Source::Centre).unwrap();
    }
    let policy = Policy {
        refund_days: 366,
        ..policy()
    };
    let on = |n: u64, text: &str, name: &str| {
        let request = Request {
            today: day(text),
            clearing: ClearingDate(day(text)),
            ..ask(Action::Refund, 1, &format!("R-{n}-{name}"))
        };
        let asked = ledger.request(&shop(), &id(n), &policy, &request);
        asked.map(|asked| asked.record.amount)
    };
    let refused = |refusal| Err(LedgerError::Refused(refusal));
    let over = |text: &str| refused(Refusal::WindowOver { last: day(text) });
    // 2028 has 366 days, 2029 has 365.
    assert_eq!(on(1, "20281231", "last"), Ok(cny(1)));
    assert_eq!(on(1, "20290101", "late"), over("20281231"));
    assert_eq!(on(2, "20290301", "last"), Ok(cny(1)));
    assert_eq!(on(2, "20290302", "late"), over("20290301"));
    assert_eq!(on(3, "20300101", "last"), Ok(cny(1)));
    assert_eq!(on(3, "20300102", "late"), over("20300101"));
    // The terminal's calendar went back.
    assert_eq!(on(1, "20271230", "early"), refused(Refusal::BeforeOriginal));
    assert_eq!(on(2, "20280228", "early"), refused(Refusal::BeforeOriginal));
}

#[test]
fn a_clock_that_goes_back_loses_nothing_and_makes_nothing_late() {
    static CLOCK: AtomicU64 = AtomicU64::new(START);
    let clock = || UnixSeconds(CLOCK.load(Ordering::Relaxed));
    let set = |seconds| CLOCK.store(seconds, Ordering::Relaxed);
    let log = LineLog::new(std::io::sink());
    let vault = Vault::open_with(Memory::new(), ring(), log, || SystemRandom, clock);
    let ledger = Ledger::new(Arc::new(block_on(vault).unwrap())).blocking();
    // The terminal's clock went back as well: a later entry has an earlier time.
    let (first, mut second) = (sale(1, 1000), sale(2, 1000));
    second.time = UnixSeconds(START - 500);
    for payment in [first, second] {
        ledger.record(&shop(), &payment, Source::Journal).unwrap();
    }
    let times = ledger.payments(&shop(), UnixSeconds(0), UnixSeconds(START + 100), None, 10);
    let order: Vec<_> = times
        .unwrap()
        .items
        .iter()
        .map(|payment| payment.id)
        .collect();
    assert_eq!(order, [id(2), id(1)]);
    let request = |text: &str| {
        let request = ask(Action::Refund, 100, text);
        ledger.request(&shop(), &id(1), &policy(), &request)
    };
    let tell = |text: &str, event| {
        ledger.progress(
            &shop(),
            &merchant(),
            &number(text),
            event,
            Source::Centre,
            None,
        )
    };
    request("R-1").unwrap();
    set(START - 3600);
    request("R-2").unwrap();
    // The first is known as before, its time included.
    let again = request("R-1").unwrap();
    assert!(again.repeated);
    assert_eq!(again.record.requested, UnixSeconds(START));
    tell("R-1", RefundEvent::NoAnswer).unwrap();
    let due = ledger
        .due(
            &shop(),
            &Deadlines::DEFAULT,
            UnixSeconds(u64::MAX),
            None,
            10,
        )
        .unwrap();
    let due: Vec<_> = due
        .items
        .iter()
        .map(|due| (due.record.number, due.overdue))
        .collect();
    assert_eq!(due, [(number("R-2"), false), (number("R-1"), false)]);
    set(START - 7200);
    tell("R-1", RefundEvent::Failed).unwrap();
    assert_eq!(
        request("R-1").unwrap().record.status,
        RefundStatus::Requested
    );
    tell("R-1", RefundEvent::Accepted).unwrap();
    // The story is told in its order, whatever the clock said.
    let history = ledger.history(&shop(), &id(1)).unwrap();
    let revisions: Vec<_> = history.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=8).collect::<Vec<_>>());
    assert!(history[7].time < history[1].time);
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(
        (payment.refunds.accepted, payment.refunds.requested),
        (cny(100), cny(100))
    );
}

#[test]
fn qr_payments_are_found_and_refunded_by_their_order() {
    let (_, ledger) = memory();
    let qr = |n, order: &str| {
        let mut payment = sale(n, 1000);
        payment.fields.kind = PaymentKind::QrPayment;
        payment.fields.order = Some(order.parse().unwrap());
        payment.fields.rrn = None;
        payment.paid_by = PaidBy::Qr;
        payment.last_four = None;
        payment
    };
    let long = "Q".repeat(64);
    let refund = |n, order: &str, text: &str| {
        let reference = Reference::Order(order.parse().unwrap());
        let mut refund = act(n, PaymentKind::QrRefund, 300, reference);
        refund.fields.refund = Some(number(text));
        refund.fields.rrn = None;
        refund
    };
    let imported = import(
        &ledger,
        &[
            qr(1, "ORDER-1"),
            qr(2, "ORDER-10"),
            qr(3, &long),
            refund(11, "ORDER-1", "T-1"),
            refund(12, &long, "T-2"),
            refund(13, "ORDER-2", "T-3"),
        ],
    );
    let why: Vec<_> = imported.unapplied.iter().map(|u| (u.at, u.why)).collect();
    assert_eq!(why, [(5, WhyUnapplied::NoOriginal)]);
    for (n, order, accepted) in [(1, "ORDER-1", 300), (2, "ORDER-10", 0), (3, &long, 300)] {
        let by = Lookup::Order(order.parse().unwrap());
        let found = ledger.find(&shop(), &by, None, 10).unwrap().items;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id, id(n));
        assert_eq!(found[0].refunds.accepted, cny(accepted));
    }
    // No card is asked for, and a supervisor is all that a refund needs.
    let mut request = ask(Action::Refund, 1000, "R-1");
    request.card = CardMatch::NotPresented;
    let policy = Policy::QR_WALLET;
    ledger.request(&shop(), &id(2), &policy, &request).unwrap();
}

/// A journal does not say who stood behind what a terminal did.
#[test]
fn a_request_says_where_the_ledger_knows_it_from() {
    let (_, ledger) = memory();
    let mut told = act(2, PaymentKind::Refund, 400, by_rrn(1, date()));
    told.fields.refund = Some(number("T-R-1"));
    import(&ledger, &[sale(1, 1000), told]);
    ledger
        .request(&shop(), &id(1), &policy(), &ask(Action::Refund, 100, "R-1"))
        .unwrap();
    let of = |text: &str| {
        let record = ledger
            .request_of(&shop(), &merchant(), &number(text))
            .unwrap();
        (record.source, record.authority)
    };
    assert_eq!(of("T-R-1"), (Source::Journal, Authority::Clerk));
    assert_eq!(of("R-1"), (Source::Desk, Authority::Supervisor));
}

/// A completion is a payment of its own; its hold is told when it is undone.
#[test]
fn an_undone_completion_holds_the_amount_again() {
    let (_, ledger) = memory();
    let mut hold = sale(1, 1000);
    hold.fields.kind = PaymentKind::PreAuthorization;
    let mut completion = act(2, PaymentKind::Completion, 900, by_rrn(1, date()));
    completion.fields.refund = Some(number("C-1"));
    import(&ledger, &[hold, completion]);
    let state = |n| ledger.audit(&shop(), &id(n)).unwrap().state;
    let both = || (state(1), state(2));
    let captured = PaymentState::Captured;
    assert_eq!(both(), (captured, captured));
    let undo = |n| ledger.change(&shop(), &id(n), Change::CompletionUndone, Source::Operator);
    // Voiding the completion does not tell the hold.
    ledger
        .request(&shop(), &id(2), &policy(), &ask(Action::Void, 900, "V-1"))
        .unwrap();
    let accepted = RefundEvent::Accepted;
    ledger
        .progress(
            &shop(),
            &merchant(),
            &number("V-1"),
            accepted,
            Source::Centre,
            None,
        )
        .unwrap();
    assert_eq!(both(), (captured, PaymentState::Voided));
    assert_eq!(undo(2), Err(LedgerError::Transition));
    undo(1).unwrap();
    assert_eq!(both(), (PaymentState::Held, PaymentState::Voided));
    assert_eq!(undo(1), Err(LedgerError::Transition));
    // The old number has its answer; a new one completes anew.
    let complete = |text: &str| {
        let request = ask(Action::Completion, 900, text);
        ledger
            .request(&shop(), &id(1), &policy(), &request)
            .unwrap()
    };
    assert!(complete("C-1").repeated);
    assert!(!complete("C-2").repeated);
}

/// An outcome as the centre tells it.
fn tell(ledger: &InMemory, text: &str, event: RefundEvent) -> Result<RefundStatus, LedgerError> {
    let told = ledger.progress(
        &shop(),
        &merchant(),
        &number(text),
        event,
        Source::Centre,
        None,
    );
    told.map(|record| record.status)
}

/// The issuer took the rest back: what becomes of the refunds leaves nothing to refund.
#[test]
fn a_lost_dispute_leaves_nothing_to_refund() {
    let (_, ledger) = memory();
    ledger
        .record(&shop(), &sale(1, 1000), Source::Centre)
        .unwrap();
    let request = |minor, text: &str| {
        let request = ask(Action::Refund, minor, text);
        ledger.request(&shop(), &id(1), &policy(), &request)
    };
    request(600, "R-1").unwrap();
    for change in [Change::Disputed, Change::DisputeLost] {
        ledger
            .change(&shop(), &id(1), change, Source::Operator)
            .unwrap();
    }
    for event in [RefundEvent::Accepted, RefundEvent::Failed] {
        tell(&ledger, "R-1", event).unwrap();
        let payment = ledger.audit(&shop(), &id(1)).unwrap();
        assert_eq!(payment.state, PaymentState::Refunded);
        assert_eq!(
            request(400, "R-2"),
            Err(LedgerError::Refused(Refusal::AlreadyRefunded))
        );
    }
}

/// What the centre did with a request can be told after the payment has ended in another way.
#[test]
fn an_outcome_is_recorded_after_the_payment_has_ended_otherwise() {
    let (_, ledger) = memory();
    for payment in [sale(1, 1000), in_doubt(2, 1000)] {
        ledger.record(&shop(), &payment, Source::Centre).unwrap();
    }
    let asked = [
        (1, Action::Refund, 600, "R-1"),
        (2, Action::Reversal, 1000, "B-1"),
    ];
    for (n, action, minor, text) in asked {
        ledger
            .request(&shop(), &id(n), &policy(), &ask(action, minor, text))
            .unwrap();
    }
    // Meanwhile the terminal voided the one, and an inquiry finds that the other was declined.
    let original = Reference::Voucher(OriginalVoucher {
        batch: Some(sale(1, 1).fields.batch),
        voucher: Some(sale(1, 1).fields.voucher),
        ..OriginalVoucher::default()
    });
    let void = act(3, PaymentKind::SaleVoid, 1000, original);
    assert_eq!(import(&ledger, &[void]).unapplied, []);
    let answer = Answer {
        response: ResponseCode::parse(b"51").unwrap(),
        rrn: None,
        approval: None,
        clearing: None,
    };
    ledger
        .resolve(&shop(), &id(2), &answer, Source::Inquiry)
        .unwrap();
    for (text, n, state) in [
        ("R-1", 1, PaymentState::Voided),
        ("B-1", 2, PaymentState::NeverApproved),
    ] {
        let told = tell(&ledger, text, RefundEvent::Accepted);
        assert_eq!(told, Ok(RefundStatus::Accepted));
        let payment = ledger.audit(&shop(), &id(n)).unwrap();
        assert_eq!((payment.state, payment.pending), (state, None));
    }
    let payment = ledger.payment(&shop(), &id(1)).unwrap();
    assert_eq!(payment.refunds.accepted, cny(600));
    assert_eq!(
        tell(&ledger, "R-1", RefundEvent::Failed),
        Ok(RefundStatus::Failed)
    );
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(payment.state, PaymentState::Voided);
}

/// A refund at one terminal can be uploaded before the payment at another one.
#[test]
fn what_came_before_its_payment_is_applied_when_it_comes_again() {
    let (store, ledger) = memory();
    let refunds = [
        act(2, PaymentKind::Refund, 300, by_rrn(1, date())),
        act(3, PaymentKind::Refund, 800, by_rrn(1, date())),
    ];
    let why = |imported: Imported| {
        let why = imported.unapplied.iter().map(|entry| entry.why);
        why.collect::<Vec<_>>()
    };
    assert_eq!(
        why(import(&ledger, &refunds)),
        [WhyUnapplied::NoOriginal; 2]
    );
    let before = all_rows(&*store);
    assert_eq!(
        why(import(&ledger, &refunds)),
        [WhyUnapplied::NoOriginal; 2]
    );
    assert_eq!(all_rows(&*store), before);

    import(&ledger, &[sale(1, 1000)]);
    let applied = import(&ledger, &refunds);
    assert_eq!((applied.new, applied.known), (0, 2));
    assert_eq!(why(applied), [WhyUnapplied::TotalExceeded]);
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(payment.refunds.accepted, cny(300));
    assert_eq!(payment.state, PaymentState::PartlyRefunded);
    let before = all_rows(&*store);
    assert_eq!(
        why(import(&ledger, &refunds)),
        [WhyUnapplied::TotalExceeded]
    );
    assert_eq!(all_rows(&*store), before);
}

/// Reference numbers come again on another day, and with each try.
#[test]
fn a_reference_number_of_two_refunds_is_ambiguous_and_a_failed_try_s_is_forgotten() {
    let (_, ledger) = memory();
    ledger
        .record(&shop(), &sale(1, 1000), Source::Centre)
        .unwrap();
    let request = |text: &str| {
        let request = ask(Action::Refund, 100, text);
        let asked = ledger.request(&shop(), &id(1), &policy(), &request);
        asked.unwrap().record
    };
    let accept = |text: &str| {
        let (event, source) = (RefundEvent::Accepted, Source::Centre);
        ledger
            .progress(
                &shop(),
                &merchant(),
                &number(text),
                event,
                source,
                Some(rrn(5)),
            )
            .unwrap()
    };
    for text in ["R-1", "R-2"] {
        request(text);
    }
    let requests = ["R-1", "R-2"].map(accept);
    let row = SettlementRow {
        kind: PaymentKind::Refund,
        amount: cny(100),
        merchant: merchant(),
        terminal: terminal(),
        voucher: None,
        rrn: Some(rrn(5)),
        order: None,
        refund: None,
        clearing: ClearingDate(date()),
    };
    let found = with_settlement(&[], &requests, &[row]);
    assert_eq!(found[0].what, Disagreement::Ambiguous);
    tell(&ledger, "R-1", RefundEvent::Failed).unwrap();
    assert_eq!(request("R-1").rrn, None);
}

/// A void changes no sum: only the history tells that the payment's row is an older one.
#[test]
fn an_older_row_of_a_voided_payment_is_noticed() {
    let (store, ledger) = memory();
    let payment = sale(1, 1000);
    ledger.record(&shop(), &payment, Source::Centre).unwrap();
    let is_payment = |(key, _): &(RowKey, Row)| key.as_bytes()[0] == 0x41;
    let row = || all_rows(&*store).into_iter().find(is_payment).unwrap();
    let (key, older) = row();
    ledger
        .request(&shop(), &id(1), &policy(), &ask(Action::Void, 1000, "V-1"))
        .unwrap();
    tell(&ledger, "V-1", RefundEvent::Accepted).unwrap();
    let newer = row().1;
    let replace = Write::Replace {
        token: key,
        expected: newer,
        row: older,
    };
    block_on(store.write(None, vec![replace])).unwrap();
    let noticed = LedgerError::Tampered;
    assert_eq!(ledger.history(&shop(), &id(1)), Err(noticed));
    assert_eq!(ledger.audit(&shop(), &id(1)), Err(noticed));
}

/// The versions of the ledger keys that rows are bound under.
fn versions(store: &impl Store) -> BTreeSet<u8> {
    let rows = all_rows(store).into_iter();
    let rows = rows.filter(|(key, _)| key.as_bytes()[0] >= 0x40);
    rows.map(|(_, row)| row.as_bytes()[5]).collect()
}

fn some_history(ledger: &InMemory) -> Vec<(Domain, u64)> {
    let mut payments = Vec::new();
    for name in ["shop-1", "shop-2"] {
        let domain: Domain = name.parse().unwrap();
        for n in 1..=3 {
            let new = sale(n, 1000);
            ledger.record(&domain, &new, Source::Centre).unwrap();
            payments.push((domain, n));
        }
        for (text, event) in [
            ("R-1", RefundEvent::Accepted),
            ("R-2", RefundEvent::NoAnswer),
            ("R-3", RefundEvent::Failed),
        ] {
            let request = ask(Action::Refund, 100, text);
            ledger
                .request(&domain, &id(1), &policy(), &request)
                .unwrap();
            ledger
                .progress(
                    &domain,
                    &merchant(),
                    &number(text),
                    event,
                    Source::Centre,
                    None,
                )
                .unwrap();
        }
    }
    payments
}

/// Goes through the ledger in steps; how many were moved, and how many left.
fn rebind(ledger: &InMemory, limit: usize) -> (u64, u64) {
    let (mut cursor, mut moved, mut left) = (None, 0, 0);
    loop {
        let step = ledger.rebind(cursor, limit).unwrap();
        assert!(step.seen <= limit as u64);
        moved += step.moved;
        left += step.left;
        let Some(next) = step.cursor else {
            return (moved, left);
        };
        // As after a restart.
        cursor = Some(Cursor::from_bytes(next.as_bytes()).unwrap());
    }
}

/// The ring with a second ledger key, which is active.
fn second_ring() -> KeyRing {
    let mut ring = ring();
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    add(&mut ring, KeyUse::Ledger, &mut rng);
    ring
}

/// And without the first.
fn ring_without_the_first() -> KeyRing {
    let mut ring = second_ring();
    let first = KeyName::new(KeyUse::Ledger, 1);
    ring.destroy(first, UnixSeconds(START)).unwrap();
    ring
}

fn use_ring(ledger: &InMemory, ring: KeyRing) {
    block_on(ledger.ledger().vault().set_ring(ring)).unwrap();
}

#[test]
fn rows_are_bound_anew_and_the_old_key_can_be_destroyed() {
    for limit in [1, 2, 5, 1000] {
        let (store, ledger) = memory();
        let payments = some_history(&ledger);
        let told = |ledger: &InMemory| -> Vec<_> {
            let mut told = Vec::new();
            for (domain, n) in &payments {
                let history = ledger.history(domain, &id(*n)).unwrap();
                let payment = ledger.audit(domain, &id(*n)).unwrap();
                let requests = ledger.requests(domain, &id(*n), None).unwrap().items;
                told.push((history, payment.original().state, payment.refunds, requests));
            }
            told
        };
        let before = told(&ledger);
        use_ring(&ledger, second_ring());
        // Part of it happens under the new key: some histories are under both.
        ledger
            .request(&shop(), &id(2), &policy(), &ask(Action::Refund, 1, "R-9"))
            .unwrap();
        assert_eq!(versions(&*store), [1, 2].into());
        let mut at_hand = second_ring();
        let first = KeyName::new(KeyUse::Ledger, 1);
        let needed = ledger.needed(first).unwrap().rows.unwrap();
        let counted = all_rows(&*store);
        let counted = counted
            .iter()
            .filter(|(_, row)| row.as_bytes()[2..6] == [0, 0, 0, 1]);
        assert_eq!(needed, counted.count() as u64);
        let refused = ledger.destroy_key(&mut at_hand, first, Elsewhere::Unneeded);
        let refusal = VaultError::KeyNeeded {
            name: first,
            rows: needed,
        };
        assert_eq!(refused, Err(LedgerError::Vault(refusal)));
        // Six payments and six requests of the old key; the new request is there already.
        assert_eq!(rebind(&ledger, limit), (12, 0));
        assert_eq!(versions(&*store), [2].into());
        let bound = all_rows(&*store);
        assert_eq!(rebind(&ledger, limit), (0, 0));
        assert_eq!(all_rows(&*store), bound);
        // The old version is not needed any more.
        ledger
            .destroy_key(&mut at_hand, first, Elsewhere::Unknown)
            .unwrap();
        use_ring(&ledger, at_hand);
        let after = told(&ledger);
        for (at, (before, after)) in before.iter().zip(&after).enumerate() {
            if at != 1 {
                assert_eq!(before, after);
            }
        }
        assert_eq!(after[1].2.requested, cny(1));
        // And it goes on.
        ledger
            .request(&shop(), &id(1), &policy(), &ask(Action::Refund, 1, "R-10"))
            .unwrap();
        ledger.audit(&shop(), &id(1)).unwrap();
    }
}

#[test]
fn without_it_a_destroyed_key_is_named() {
    let (_, ledger) = memory();
    some_history(&ledger);
    use_ring(&ledger, ring_without_the_first());
    let found = ledger.payment(&shop(), &id(1));
    assert!(
        matches!(
            found,
            Err(LedgerError::Vault(VaultError::Key(
                KeyError::Destroyed { .. }
            )))
        ),
        "{found:?}"
    );
    assert_eq!(rebind(&ledger, 2), (0, 12));
}

/// What was changed gets no good tag, whichever row of a payment it is.
#[test]
fn a_changed_row_is_left_and_stays_noticed() {
    let (store, ledger) = memory();
    ledger
        .record(&shop(), &sale(1, 1000), Source::Centre)
        .unwrap();
    ledger
        .request(&shop(), &id(1), &policy(), &ask(Action::Refund, 400, "R-1"))
        .unwrap();
    use_ring(&ledger, second_ring());
    let whole = all_rows(&*store);
    let put = |key: &RowKey, old: &Row, new: &Row| {
        let write = Write::Replace {
            token: *key,
            expected: old.clone(),
            row: new.clone(),
        };
        let outcomes = block_on(store.write(None, vec![write])).unwrap();
        assert!(outcomes[0].is_applied());
    };
    for (key, row) in &whole {
        let mut bytes = row.as_bytes().to_vec();
        // In a request the last byte of its amount.
        bytes[17] ^= 1;
        let changed = Row::new(&bytes).unwrap();
        put(key, row, &changed);
        assert_eq!(rebind(&ledger, 10), (1, 1), "{key:?}");
        assert_eq!(ledger.audit(&shop(), &id(1)), Err(LedgerError::Tampered));
        // Back to what was, for the next.
        let now = all_rows(&*store);
        for ((key, now), (_, was)) in now.iter().zip(&whole) {
            if now != was {
                put(key, now, was);
            }
        }
        ledger.audit(&shop(), &id(1)).unwrap();
    }
    assert_eq!(rebind(&ledger, 10), (2, 0));
}

#[test]
fn desks_go_on_while_rows_are_bound_anew() {
    const DESKS: u64 = 40;
    let (store, ledger) = memory();
    for n in 1..=4 {
        ledger
            .record(&shop(), &sale(n, 1000), Source::Centre)
            .unwrap();
    }
    use_ring(&ledger, second_ring());
    std::thread::scope(|scope| {
        for desk in 0..DESKS {
            let ledger = &ledger;
            scope.spawn(move || {
                let (n, text) = (desk % 4 + 1, format!("R-{desk}"));
                let request = ask(Action::Refund, 10, &text);
                ledger
                    .request(&shop(), &id(n), &policy(), &request)
                    .unwrap();
                ledger.audit(&shop(), &id(n)).unwrap();
                let accepted = RefundEvent::Accepted;
                ledger
                    .progress(
                        &shop(),
                        &merchant(),
                        &number(&text),
                        accepted,
                        Source::Centre,
                        None,
                    )
                    .unwrap();
            });
        }
        for _ in 0..4 {
            scope.spawn(|| rebind(&ledger, 3));
        }
    });
    assert_eq!(rebind(&ledger, 3).1, 0);
    assert_eq!(versions(&*store), [2].into());
    for n in 1..=4 {
        let payment = ledger.audit(&shop(), &id(n)).unwrap();
        assert_eq!(payment.refunds.accepted, cny(10 * DESKS / 4));
    }
}

/// A store in which something happens between two reads.
#[derive(Default)]
struct Between {
    store: Memory,
    /// Done once, before the next read of rows, or of the index.
    before_rows: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    before_find: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

fn happen(what: &Mutex<Option<Box<dyn FnOnce() + Send>>>) {
    let what = what.lock().unwrap().take();
    if let Some(what) = what {
        what();
    }
}

impl Store for Between {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        self.store.write(under, writes).await
    }
    async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Option<Row>>, StoreError> {
        happen(&self.before_rows);
        self.store.rows(keys).await
    }
    async fn find(&self, keys: Vec<IndexKey>) -> Result<Vec<Found>, StoreError> {
        happen(&self.before_find);
        self.store.find(keys).await
    }
    forward!(others scan guard count);
}

/// Who reads while the ring changes and rows are bound anew sees no tampering.
#[test]
fn what_is_bound_anew_between_two_reads_is_not_taken_for_changed() {
    let store = Arc::new(Between::default());
    let ledger = Arc::new(support::open(Arc::clone(&store)));
    for n in 1..=2 {
        ledger
            .record(&shop(), &sale(n, 1000), Source::Centre)
            .unwrap();
    }
    let before = ledger.history(&shop(), &id(1)).unwrap();
    let bind = |ledger: &BlockingLedger<Arc<Between>>| {
        assert_eq!(ledger.rebind(None, 10).unwrap().left, 0);
    };
    // The ring moves on and the payment is bound anew, after the ring was looked at.
    let other = Arc::clone(&ledger);
    *store.before_find.lock().unwrap() = Some(Box::new(move || {
        block_on(other.ledger().vault().set_ring(second_ring())).unwrap();
        bind(&other);
    }));
    assert_eq!(ledger.payment(&shop(), &id(1)).unwrap().revision, 1);
    assert!(store.before_find.lock().unwrap().is_none());
    // The payment was read, and its events are bound anew before they are.
    let mut third = second_ring();
    add(
        &mut third,
        KeyUse::Ledger,
        &mut ChaCha20Rng::from_seed([10; 32]),
    );
    block_on(ledger.ledger().vault().set_ring(third)).unwrap();
    let other = Arc::clone(&ledger);
    *store.before_rows.lock().unwrap() = Some(Box::new(move || bind(&other)));
    assert_eq!(ledger.history(&shop(), &id(1)), Ok(before));
    assert_eq!(versions(&store.store), [3].into());
}
