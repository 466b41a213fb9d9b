//! The ledger's promises, over both stores: what it finds, what it refuses, that no refund is
//! given twice or too much, and that no changed or swapped row goes unnoticed.
#![cfg(feature = "vault")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation
)]

#[macro_use]
#[path = "support/forward.rs"]
mod forward;
#[path = "support/ledger/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use cardvault::card::TruncationFormat;
use cardvault::journal::{
    BATTERY_LEN, BatteryState, Entry, FRAME_MAX_LEN, Journal, MemoryFlash, Position, Reading,
};
use cardvault::keys::{Domain, KeyUse};
use cardvault::ledger::{
    Answer, BlockingLedger, Change, EntryError, Happened, ImportEntry, Ledger, LedgerError, Lookup,
    MAX_ENTRIES, NewPayment, PaymentId, Source, WhyUnapplied,
};
use cardvault::payment::{
    BatchNumber, ClearingDate, Date, OrderNumber, OriginalVoucher, PAYMENT_FIELDS_MAX_LEN,
    PaymentKind, Reference, ResponseCode, Voucher,
};
use cardvault::refund::{
    Action, CardMatch, Deadlines, PaidBy, PaymentEvent, PaymentState, RefundEvent, RefundStatus,
    Refusal, Request, Step,
};
use cardvault::token::Token;
use cardvault::vault::{
    Guard, IndexKey, LineLog, Memory, Row, RowKey, Store, StoreError, Tokenize, Vault, VaultError,
    Write, WriteOutcome,
};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use support::desks::desks_at_once;
use support::model::{Tally, follow};
use support::{
    START, access, add, ask, card, cny, date, id, in_doubt, memory, merchant, number, open, policy,
    ring, rrn, sale, shop, terminal,
};

const VISA: &str = "4111111111111111";
const MASTERCARD: &str = "5555555555554444";

fn all_rows(store: &impl Store) -> Vec<(RowKey, Row)> {
    block_on(store.scan(None, None, 10_000)).unwrap()
}

/// The ledger's rows, of all kinds.
fn ledger_rows(store: &impl Store) -> Vec<(RowKey, Row)> {
    let rows = all_rows(store).into_iter();
    rows.filter(|(key, _)| key.as_bytes()[0] >= 0x40).collect()
}

fn put(store: &impl Store, key: RowKey, old: &Row, new: &Row) {
    let write = Write::Replace {
        token: key,
        expected: old.clone(),
        row: new.clone(),
    };
    let outcome = block_on(store.write(None, vec![write])).unwrap();
    assert_eq!(outcome, [WriteOutcome::Replaced]);
}

#[test]
fn records_once_and_finds_by_everything() {
    let (_, ledger) = memory();
    let token = block_on(ledger.ledger().vault().tokenize(
        &shop(),
        &card(VISA),
        &Tokenize::convergent(),
    ));
    let mut new = sale(1, 1000);
    new.token = Some(token.unwrap().token);
    new.fields.order = Some("ORDER-1".parse::<OrderNumber>().unwrap());
    new.fields.clearing = Some(ClearingDate(date().plus_days(1).unwrap()));
    let first = ledger.record(&shop(), &new, Source::Centre).unwrap();
    assert_eq!(first.state, PaymentState::Captured);
    assert_eq!((first.fields, first.token), (new.fields, new.token));
    assert_eq!(ledger.record(&shop(), &new, Source::Centre), Ok(first));
    let mut other = new;
    other.fields.amount = cny(1001);
    assert_eq!(
        ledger.record(&shop(), &other, Source::Centre),
        Err(LedgerError::OtherContent { at: 0 })
    );
    // Others, that no look-up below may find.
    ledger
        .record(&shop(), &sale(2, 500), Source::Centre)
        .unwrap();
    let elsewhere: Domain = "shop-2".parse().unwrap();
    ledger.record(&elsewhere, &new, Source::Centre).unwrap();
    let fields = new.fields;
    for by in [
        Lookup::Token(new.token.unwrap()),
        Lookup::Rrn(rrn(1), date()),
        Lookup::Rrn(rrn(1), date().plus_days(1).unwrap()),
        Lookup::Voucher(fields.terminal, fields.batch, fields.voucher),
        Lookup::Order(fields.order.unwrap()),
    ] {
        let page = ledger.find(&shop(), &by, None, 10).unwrap();
        assert_eq!(page.items, [first], "{by:?}");
        assert_eq!(page.next, None);
    }
    for by in [
        Lookup::Rrn(rrn(1), date().plus_days(2).unwrap()),
        Lookup::Rrn(rrn(3), date()),
        Lookup::Voucher(fields.terminal, BatchNumber::FIRST, fields.voucher),
        Lookup::Order("ORDER-2".parse().unwrap()),
        Lookup::InDoubt,
    ] {
        assert_eq!(ledger.find(&shop(), &by, None, 10).unwrap().items, []);
    }
    let by_card = |digits: &str| ledger.find_card(&access(), &shop(), &card(digits).pan, 10);
    assert_eq!(by_card(VISA), Ok(vec![first]));
    assert_eq!(by_card(MASTERCARD), Ok(vec![]));
    assert_eq!(ledger.payment(&shop(), &id(1)), Ok(first));
    assert_eq!(
        ledger.payment(&shop(), &id(9)),
        Err(LedgerError::UnknownPayment)
    );
    let compare =
        |digits: &str| ledger.compare(&access(), &shop(), &id(1), &card(digits).pan, None);
    assert_eq!(compare(VISA), Ok(CardMatch::Same));
    assert_eq!(compare(MASTERCARD), Ok(CardMatch::Different));
    // The vault counts its own rows alone.
    let stats = block_on(ledger.ledger().vault().stats()).unwrap();
    assert_eq!((stats.tokens, stats.unreadable), (1, 0));
    let moved = block_on(ledger.ledger().vault().rewrap(None, 100)).unwrap();
    assert_eq!((moved.seen, moved.left), (1, 0));
}

#[test]
fn pages_by_time_and_by_token() {
    let (_, ledger) = memory();
    let token = Token::parse("tok_0000000000000000000000000008k");
    let token = token.unwrap_or_else(|_| Token::opaque(&mut SystemRandom).unwrap());
    let payments: Vec<_> = (0..250)
        .map(|n| NewPayment {
            token: Some(token),
            ..sale(n, 100)
        })
        .collect();
    let count = ledger.record_batch(&shop(), &payments, Source::Centre);
    assert_eq!(count, Ok(250));
    let too_many: Vec<_> = (0..=MAX_ENTRIES as u64).map(|n| sale(n, 100)).collect();
    assert_eq!(
        ledger.record_batch(&shop(), &too_many, Source::Centre),
        Err(LedgerError::TooMany {
            len: MAX_ENTRIES + 1
        })
    );
    let at = |n: u64| UnixSeconds(START + n);
    for (from, until) in [(0, 250), (0, 1), (10, 10), (10, 61), (249, 1000), (60, 10)] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = ledger
                .payments(&shop(), at(from), at(until), after, 7)
                .unwrap();
            seen.extend(page.items.iter().map(|payment| payment.time.0 - START));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (from..until.min(250)).collect::<Vec<_>>());
    }
    let last = UnixSeconds(u64::MAX);
    let all = ledger.payments(&shop(), UnixSeconds(0), last, None, 1000);
    assert_eq!(all.unwrap().items.len(), 250);
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = ledger
            .find(&shop(), &Lookup::Token(token), after, 60)
            .unwrap();
        seen += page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 250);
}

#[test]
fn voucher_numbers_roll_over_and_reference_numbers_come_again() {
    let (_, ledger) = memory();
    let voucher = |n| Voucher::new(n).unwrap();
    let mut last = sale(1, 100);
    last.fields.voucher = voucher(999_999);
    let mut first = sale(2, 200);
    first.fields.voucher = last.fields.voucher.next();
    // The same voucher number in a later batch, and the same reference number on another day.
    let mut later = sale(3, 300);
    later.fields.voucher = voucher(1);
    later.fields.batch = BatchNumber::new(8).unwrap();
    later.fields.rrn = last.fields.rrn;
    later.date = date().plus_days(1).unwrap();
    later.fields.clearing = Some(ClearingDate(later.date));
    for payment in [last, first, later] {
        ledger.record(&shop(), &payment, Source::Centre).unwrap();
    }
    for payment in [last, first, later] {
        let fields = payment.fields;
        for by in [
            Lookup::Voucher(fields.terminal, fields.batch, fields.voucher),
            Lookup::Rrn(fields.rrn.unwrap(), payment.date),
        ] {
            let found = ledger.find(&shop(), &by, None, 10).unwrap().items;
            assert_eq!(found.len(), 1, "{by:?}");
            assert_eq!(found[0].id, payment.id);
        }
    }
}

#[test]
fn two_hundred_desks_in_memory() {
    desks_at_once(&[memory().1]);
}

#[cfg(feature = "embedded")]
#[test]
fn two_hundred_desks_on_disk() {
    use cardvault::vault::{Embedded, EmbeddedOptions};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let options = EmbeddedOptions::default();
    desks_at_once(&[open(Embedded::create(&path, &options).unwrap())]);
    // Nothing of it was only in memory.
    let ledger = open(Embedded::open(&path, &options).unwrap());
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(payment.refunds.counted(), Ok(cny(1000)));
}

#[test]
fn a_double_click_refunds_once() {
    let (store, ledger) = memory();
    ledger
        .record(&shop(), &sale(1, 1000), Source::Centre)
        .unwrap();
    ledger
        .record(&shop(), &sale(2, 1000), Source::Centre)
        .unwrap();
    let request = ask(Action::Refund, 400, "R-1");
    let send = |id: &PaymentId, request: &Request| ledger.request(&shop(), id, &policy(), request);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let clicks: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| send(&id(1), &request).unwrap()))
            .collect();
        clicks
            .into_iter()
            .map(|click| click.join().unwrap())
            .collect()
    });
    let first = answers.iter().filter(|answer| !answer.repeated).count();
    assert_eq!(first, 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.record == answers[0].record)
    );
    let before = all_rows(&*store);
    // Later, and whatever happened since, the first answer; and nothing is written.
    assert!(send(&id(1), &request).unwrap().repeated);
    assert_eq!(all_rows(&*store), before);
    // The same number for something else.
    for (payment, request) in [
        (2, request),
        (1, ask(Action::Refund, 401, "R-1")),
        (1, ask(Action::Void, 400, "R-1")),
    ] {
        assert_eq!(
            send(&id(payment), &request),
            Err(LedgerError::Refused(Refusal::NumberReused))
        );
    }
    // A definite failure may be tried again under its number.
    let tell = |event| {
        ledger.progress(
            &shop(),
            &merchant(),
            &number("R-1"),
            event,
            Source::Centre,
            Some(rrn(77)),
        )
    };
    tell(RefundEvent::Failed).unwrap();
    assert_eq!(
        ledger.payment(&shop(), &id(1)).unwrap().refunds.counted(),
        Ok(cny(0))
    );
    let again = send(&id(1), &request).unwrap();
    assert!(!again.repeated);
    assert_eq!(
        (again.record.tries, again.record.status),
        (2, RefundStatus::Requested)
    );
    assert_eq!(tell(RefundEvent::Accepted).unwrap().rrn, Some(rrn(77)));
    let settled = tell(RefundEvent::Settled).unwrap();
    assert_eq!(tell(RefundEvent::Settled), Ok(settled));
    assert_eq!(tell(RefundEvent::Failed), Err(LedgerError::Transition));
    assert_eq!(tell(RefundEvent::Resubmitted), Err(LedgerError::Transition));
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(payment.refunds.accepted, cny(400));
    assert_eq!(
        ledger.request_of(&shop(), &merchant(), &number("R-2")),
        Err(LedgerError::UnknownRequest)
    );
}

#[test]
fn voids_completions_disputes_and_batches() {
    let (_, ledger) = memory();
    for n in 1..=3 {
        ledger
            .record(&shop(), &sale(n, 1000), Source::Centre)
            .unwrap();
    }
    let mut hold = sale(4, 1000);
    hold.fields.kind = PaymentKind::PreAuthorization;
    assert_eq!(
        ledger.record(&shop(), &hold, Source::Centre).unwrap().state,
        PaymentState::Held
    );
    let send = |n, request: &Request| ledger.request(&shop(), &id(n), &policy(), request);
    let tell = |text: &str, event| {
        let number = number(text);
        ledger.progress(&shop(), &merchant(), &number, event, Source::Centre, None)
    };
    let state = |n| ledger.payment(&shop(), &id(n)).unwrap().state;
    // A void under way keeps everything else out; failed it does not.
    send(1, &ask(Action::Void, 1000, "V-1")).unwrap();
    assert_eq!(
        send(1, &ask(Action::Refund, 1, "R-1")),
        Err(LedgerError::Refused(Refusal::Pending {
            action: Action::Void
        }))
    );
    tell("V-1", RefundEvent::Failed).unwrap();
    send(1, &ask(Action::Void, 1000, "V-1")).unwrap();
    tell("V-1", RefundEvent::Accepted).unwrap();
    assert_eq!(state(1), PaymentState::Voided);
    assert_eq!(
        tell("V-1", RefundEvent::Failed),
        Err(LedgerError::Transition)
    );
    assert_eq!(
        send(1, &ask(Action::Refund, 1, "R-1")),
        Err(LedgerError::Refused(Refusal::AlreadyVoided))
    );
    // A completion, undone, and again.
    send(4, &ask(Action::Completion, 1100, "C-1")).unwrap();
    tell("C-1", RefundEvent::Accepted).unwrap();
    assert_eq!(state(4), PaymentState::Captured);
    let undone = ledger.change(&shop(), &id(4), Change::CompletionUndone, Source::Operator);
    assert_eq!(undone.unwrap().state, PaymentState::Held);
    // Neither waits for anything.
    let due = ledger.due(
        &shop(),
        &Deadlines::DEFAULT,
        UnixSeconds(u64::MAX),
        None,
        10,
    );
    assert_eq!(due.unwrap().items, []);
    // Settled batches take no void.
    let settle = || {
        ledger.settle_batch(
            &shop(),
            &terminal(),
            BatchNumber::new(7).unwrap(),
            Source::Journal,
        )
    };
    assert_eq!(settle(), Ok(4));
    assert_eq!(settle(), Ok(0));
    assert_eq!(
        send(2, &ask(Action::Void, 1000, "V-2")),
        Err(LedgerError::Refused(Refusal::BatchSettled))
    );
    // Disputes.
    send(2, &ask(Action::Refund, 300, "R-2")).unwrap();
    let disputed = ledger.change(&shop(), &id(2), Change::Disputed, Source::Operator);
    assert_eq!(disputed.unwrap().state, PaymentState::Disputed);
    assert_eq!(
        send(2, &ask(Action::Refund, 300, "R-3")),
        Err(LedgerError::Refused(Refusal::Disputed))
    );
    tell("R-2", RefundEvent::Settled).unwrap();
    let won = ledger.change(&shop(), &id(2), Change::DisputeWon, Source::Operator);
    assert_eq!(won.unwrap().state, PaymentState::PartlyRefunded);
    assert_eq!(
        ledger.change(&shop(), &id(1), Change::Disputed, Source::Operator),
        Err(LedgerError::Transition)
    );
    for n in 1..=4 {
        ledger.audit(&shop(), &id(n)).unwrap();
    }
}

#[test]
fn a_payment_in_doubt_is_resolved_and_its_history_tells_it() {
    let (_, ledger) = memory();
    for n in 1..=3 {
        let payment = ledger.record(&shop(), &in_doubt(n, 1000), Source::Journal);
        assert_eq!(payment.unwrap().state, PaymentState::InDoubt);
    }
    let doubt = || {
        ledger
            .find(&shop(), &Lookup::InDoubt, None, 10)
            .unwrap()
            .items
    };
    assert_eq!(doubt().len(), 3);
    assert_eq!(
        ledger.request(
            &shop(),
            &id(1),
            &policy(),
            &ask(Action::Refund, 1000, "R-1")
        ),
        Err(LedgerError::Refused(Refusal::InDoubt))
    );
    let answer = |code: &[u8]| Answer {
        response: ResponseCode::parse(code).unwrap(),
        rrn: Some(rrn(55)),
        approval: None,
        clearing: Some(ClearingDate(date())),
    };
    let resolve = |n, code| ledger.resolve(&shop(), &id(n), &answer(code), Source::Inquiry);
    let found = resolve(1, b"00").unwrap();
    assert_eq!(found.state, PaymentState::Captured);
    assert_eq!(resolve(1, b"00"), Ok(found));
    assert_eq!(resolve(1, b"51"), Err(LedgerError::Transition));
    assert_eq!(
        resolve(2, b"51").unwrap().state,
        PaymentState::NeverApproved
    );
    // What the inquiry found out is found by.
    let by = Lookup::Rrn(rrn(55), date());
    assert_eq!(ledger.find(&shop(), &by, None, 10).unwrap().items.len(), 2);
    let reverse = ask(Action::Reversal, 1000, "X-1");
    ledger
        .request(&shop(), &id(3), &policy(), &reverse)
        .unwrap();
    let tell =
        |event, source| ledger.progress(&shop(), &merchant(), &number("X-1"), event, source, None);
    tell(RefundEvent::NoAnswer, Source::Centre).unwrap();
    tell(RefundEvent::Accepted, Source::Inquiry).unwrap();
    assert_eq!(doubt(), []);
    let history = ledger.history(&shop(), &id(3)).unwrap();
    let story: Vec<_> = history
        .iter()
        .map(|event| (event.what, event.source, event.state))
        .collect();
    let (doubted, reversed) = (PaymentState::InDoubt, PaymentState::Reversed);
    assert_eq!(
        story,
        [
            (Happened::Recorded, Source::Journal, doubted),
            (Happened::Requested, Source::Desk, doubted),
            (
                Happened::Request(RefundEvent::NoAnswer),
                Source::Centre,
                doubted
            ),
            (
                Happened::Request(RefundEvent::Accepted),
                Source::Inquiry,
                reversed
            ),
            (
                Happened::Payment(PaymentEvent::Reversed),
                Source::Inquiry,
                reversed
            ),
        ]
    );
    let statuses: Vec<_> = history
        .iter()
        .filter_map(|event| event.request.map(|request| request.status))
        .collect();
    let expected = [
        RefundStatus::Requested,
        RefundStatus::InDoubt,
        RefundStatus::Accepted,
    ];
    assert_eq!(statuses, expected);
}

#[test]
fn due_and_overdue() {
    static LATER: AtomicU64 = AtomicU64::new(START);
    let clock = || UnixSeconds(LATER.load(Ordering::Relaxed));
    let log = LineLog::new(std::io::sink());
    let vault = Vault::open_with(Memory::new(), ring(), log, || SystemRandom, clock);
    let ledger = Ledger::new(Arc::new(block_on(vault).unwrap())).blocking();
    ledger
        .record(&shop(), &sale(1, 1000), Source::Centre)
        .unwrap();
    for n in 0..5 {
        LATER.store(START + 100 * n, Ordering::Relaxed);
        let request = ask(Action::Refund, 10, &format!("R-{n}"));
        ledger
            .request(&shop(), &id(1), &policy(), &request)
            .unwrap();
    }
    let tell = |n: u64, event| {
        let number = number(&format!("R-{n}"));
        ledger.progress(&shop(), &merchant(), &number, event, Source::Centre, None)
    };
    tell(0, RefundEvent::Accepted).unwrap();
    tell(1, RefundEvent::Settled).unwrap();
    tell(2, RefundEvent::NoAnswer).unwrap();
    let deadlines = Deadlines::DEFAULT;
    let due = |until| {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = ledger
                .due(&shop(), &deadlines, UnixSeconds(until), after, 2)
                .unwrap();
            seen.extend(page.items.into_iter().map(|item| {
                let number = item.record.number;
                let n: u64 = number.as_str().strip_prefix("R-").unwrap().parse().unwrap();
                (n, item.due.step, item.overdue)
            }));
            after = page.next;
            if after.is_none() {
                return seen;
            }
        }
    };
    let (review, completion) = (Step::Review, Step::Completion);
    let all = |late: [bool; 4]| {
        vec![
            (0, completion, late[0]),
            (2, review, late[1]),
            (3, review, late[2]),
            (4, review, late[3]),
        ]
    };
    assert_eq!(due(u64::MAX), all([false; 4]));
    assert_eq!(due(START + 300), all([false; 4])[..2]);
    // The accepted one's time began at the acceptance, 400 seconds in.
    LATER.store(START + 300 + 48 * 3600, Ordering::Relaxed);
    assert_eq!(due(u64::MAX), all([false, true, false, false]));
    LATER.store(START + 401 + 72 * 3600, Ordering::Relaxed);
    assert_eq!(due(u64::MAX), all([true; 4]));
    let at = |n: u64| UnixSeconds(START + n);
    let between = ledger
        .requests_between(&shop(), at(100), at(300), None, 10)
        .unwrap();
    let numbers: Vec<_> = between
        .items
        .iter()
        .map(|r| r.number.as_str().to_owned())
        .collect();
    assert_eq!(numbers, ["R-1", "R-2"]);
}

/// A ledger with a payment, a request and their events.
fn small_ledger() -> (Arc<Memory>, BlockingLedger<Arc<Memory>>) {
    let (store, ledger) = memory();
    let mut new = sale(1, 1000);
    new.token = Some(Token::opaque(&mut SystemRandom).unwrap());
    ledger.record(&shop(), &new, Source::Centre).unwrap();
    let request = ask(Action::Refund, 400, "R-1");
    ledger
        .request(&shop(), &id(1), &policy(), &request)
        .unwrap();
    let number = number("R-1");
    let accepted = RefundEvent::Accepted;
    ledger
        .progress(
            &shop(),
            &merchant(),
            &number,
            accepted,
            Source::Centre,
            None,
        )
        .unwrap();
    (store, ledger)
}

/// Whether anything that uses this row says that it was tampered with.
fn is_noticed<S: Store>(ledger: &BlockingLedger<S>, n: u64) -> bool {
    let tampered = Some(LedgerError::Tampered);
    ledger.audit(&shop(), &id(n)).err() == tampered
}

#[test]
fn every_flipped_bit_of_a_row_is_noticed() {
    let (store, ledger) = small_ledger();
    let rows = ledger_rows(&*store);
    assert_eq!(rows.len(), 1 + 1 + 4);
    let mut flips = 0;
    for (key, row) in &rows {
        for bit in 0..row.as_bytes().len() * 8 {
            let mut bytes = row.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = Row::new(&bytes).unwrap();
            put(&*store, *key, row, &changed);
            assert!(is_noticed(&ledger, 1), "bit {bit} of a {key:?}");
            put(&*store, *key, &changed, row);
            flips += 1;
        }
        // Shorter, longer, gone.
        let bytes = row.as_bytes();
        for changed in [
            &bytes[..bytes.len() - 1],
            &bytes[..40],
            &[],
            &[bytes, &[0]].concat(),
        ] {
            let changed = Row::new(changed).unwrap();
            put(&*store, *key, row, &changed);
            assert!(is_noticed(&ledger, 1));
            put(&*store, *key, &changed, row);
        }
    }
    let bits: usize = rows.iter().map(|(_, row)| row.as_bytes().len() * 8).sum();
    assert_eq!(flips, bits);
    assert!(!is_noticed(&ledger, 1));
    // A request that is acted on, too.
    let (key, row) = &rows[5];
    assert_eq!(key.as_bytes()[0], 0x43);
    let mut bytes = row.as_bytes().to_vec();
    bytes[7] ^= 6;
    put(&*store, *key, row, &Row::new(&bytes).unwrap());
    let settle = ledger.progress(
        &shop(),
        &merchant(),
        &number("R-1"),
        RefundEvent::Settled,
        Source::Centre,
        None,
    );
    assert_eq!(settle, Err(LedgerError::Tampered));
}

#[test]
fn swapped_missing_and_older_rows_are_noticed() {
    let (store, ledger) = small_ledger();
    let old = ledger_rows(&*store);
    ledger
        .record(&shop(), &sale(2, 1000), Source::Centre)
        .unwrap();
    let request = ask(Action::Refund, 400, "R-2");
    ledger
        .request(&shop(), &id(2), &policy(), &request)
        .unwrap();
    ledger
        .request(&shop(), &id(1), &policy(), &ask(Action::Refund, 1, "R-3"))
        .unwrap();
    let rows = ledger_rows(&*store);
    for (one, first) in &rows {
        for (other, second) in &rows {
            if one >= other || first == second {
                continue;
            }
            put(&*store, *one, first, second);
            put(&*store, *other, second, first);
            assert!(is_noticed(&ledger, 1) || is_noticed(&ledger, 2));
            put(&*store, *one, second, first);
            put(&*store, *other, first, second);
        }
    }
    assert!(!is_noticed(&ledger, 1) && !is_noticed(&ledger, 2));
    // An older row of the payment under its newer history, and an event that is gone.
    let (key, older) = &old[0];
    let newer = rows.iter().find(|(known, _)| known == key).unwrap();
    put(&*store, *key, &newer.1, older);
    assert!(is_noticed(&ledger, 1));
    put(&*store, *key, older, &newer.1);
    let event = rows
        .iter()
        .find(|(key, _)| key.as_bytes()[0] == 0x42)
        .unwrap();
    let delete = Write::Delete {
        token: event.0,
        expected: event.1.clone(),
        index: vec![],
    };
    block_on(store.write(None, vec![delete])).unwrap();
    assert_eq!(ledger.history(&shop(), &id(1)), Err(LedgerError::Tampered));
}

/// A copy of the store in which something else happened has rows that are bound as well.
#[test]
fn an_event_of_another_course_of_things_is_noticed() {
    let course = |text: &str| {
        let (store, ledger) = memory();
        ledger
            .record(&shop(), &sale(1, 1000), Source::Centre)
            .unwrap();
        for name in [text, "R-last"] {
            let request = ask(Action::Refund, 10, name);
            ledger
                .request(&shop(), &id(1), &policy(), &request)
                .unwrap();
        }
        (store, ledger)
    };
    let (store, ledger) = course("R-1");
    let (other, _) = course("R-2");
    for ((key, row), (same, foreign)) in ledger_rows(&*store).iter().zip(&ledger_rows(&*other)) {
        if key.as_bytes()[0] == 0x42 && row != foreign {
            assert_eq!(key, same);
            put(&*store, *key, row, foreign);
            assert!(is_noticed(&ledger, 1));
            put(&*store, *key, foreign, row);
        }
    }
    assert!(!is_noticed(&ledger, 1));
}

#[test]
fn an_index_entry_of_another_payment_is_noticed() {
    let (store, ledger) = memory();
    for n in 1..=2 {
        ledger
            .record(&shop(), &sale(n, 1000), Source::Centre)
            .unwrap();
    }
    let fields = sale(1, 1000).fields;
    let by = Lookup::Voucher(fields.terminal, fields.batch, fields.voucher);
    assert_eq!(ledger.find(&shop(), &by, None, 9).unwrap().items.len(), 1);
    let domain = shop();
    let index = [
        &[0x53, domain.as_bytes().len() as u8],
        domain.as_bytes(),
        fields.terminal.as_bytes(),
        &fields.batch.get().to_be_bytes(),
        &fields.voucher.get().to_be_bytes(),
    ]
    .concat();
    let payments: Vec<_> = ledger_rows(&*store)
        .into_iter()
        .filter(|(key, _)| key.as_bytes()[0] == 0x41)
        .collect();
    let link = |key: RowKey, there: bool| {
        let index = vec![IndexKey::new(&index).unwrap()];
        let (add, remove) = if there {
            (index, vec![])
        } else {
            (vec![], index)
        };
        let write = Write::Link {
            token: key,
            add,
            remove,
        };
        block_on(store.write(None, vec![write])).unwrap();
    };
    link(payments[1].0, true);
    let found = ledger.find(&shop(), &by, None, 9);
    assert_eq!(found, Err(LedgerError::Tampered));
    // One that was taken away hides the payment there, but not from its identity and its time.
    link(payments[1].0, false);
    link(payments[0].0, false);
    assert_eq!(ledger.find(&shop(), &by, None, 9).unwrap().items, []);
    ledger.audit(&shop(), &id(1)).unwrap();
    // An identity that leads to another's row.
    let identity = |n: u64| {
        let mut bytes = vec![0x50, domain.as_bytes().len() as u8];
        bytes.extend_from_slice(domain.as_bytes());
        bytes.push(1);
        bytes.extend_from_slice(fields.terminal.as_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 1]);
        bytes.extend_from_slice(&n.to_be_bytes());
        IndexKey::new(&bytes).unwrap()
    };
    let (first, second) = (&payments[0], &payments[1]);
    let delete = |(key, row): &(RowKey, Row), n| Write::Delete {
        token: *key,
        expected: row.clone(),
        index: vec![identity(n)],
    };
    let insert = Write::Insert {
        token: second.0,
        row: second.1.clone(),
        index: vec![identity(1)],
        unique: true,
    };
    let swap = vec![delete(first, 1), delete(second, 2), insert];
    let outcomes = block_on(store.write(None, swap)).unwrap();
    assert!(outcomes.iter().all(WriteOutcome::is_applied));
    let found = ledger.payment(&shop(), &id(1));
    assert_eq!(found, Err(LedgerError::Tampered));
}

#[test]
fn rows_hold_no_card_number() {
    let (store, ledger) = memory();
    let entry = ImportEntry {
        payment: sale(1, 1000),
        card: Some(card(VISA)),
    };
    ledger.import(&shop(), &[entry]).unwrap();
    let bcd = [0x41, 0x11, 0x11, 0x11];
    for (key, row) in ledger_rows(&*store) {
        for bytes in [key.as_bytes(), row.as_bytes()] {
            assert!(!bytes.windows(8).any(|part| part == b"41111111"));
            assert!(!bytes.windows(4).any(|part| part == bcd));
        }
    }
}

#[test]
fn keys_rotate_and_retired_ones_still_check() {
    let (store, ledger) = small_ledger();
    let mut newer = ring();
    add(
        &mut newer,
        KeyUse::Ledger,
        &mut ChaCha20Rng::from_seed([9; 32]),
    );
    block_on(ledger.ledger().vault().set_ring(newer)).unwrap();
    ledger.audit(&shop(), &id(1)).unwrap();
    ledger
        .request(&shop(), &id(1), &policy(), &ask(Action::Refund, 1, "R-9"))
        .unwrap();
    ledger.audit(&shop(), &id(1)).unwrap();
    let versions: std::collections::BTreeSet<_> = ledger_rows(&*store)
        .iter()
        .map(|(_, row)| row.as_bytes()[5])
        .collect();
    assert_eq!(versions.into_iter().collect::<Vec<_>>(), [1, 2]);
}

fn upload() -> Vec<ImportEntry> {
    let entry = |payment, digits: Option<&str>| ImportEntry {
        payment,
        card: digits.map(card),
    };
    let mut void = sale(3, 500);
    void.fields.kind = PaymentKind::SaleVoid;
    void.fields.original = Some(Reference::Voucher(OriginalVoucher {
        batch: Some(sale(2, 0).fields.batch),
        voucher: Some(sale(2, 0).fields.voucher),
        ..OriginalVoucher::default()
    }));
    let mut refund = sale(4, 300);
    refund.fields.kind = PaymentKind::Refund;
    refund.fields.original = Some(Reference::Rrn {
        rrn: rrn(1),
        date: date().month_day(),
    });
    refund.fields.refund = Some(number("T-R-1"));
    let mut lost = sale(6, 300);
    lost.fields.kind = PaymentKind::SaleVoid;
    let mut over = refund;
    over.id = id(7);
    over.fields.amount = cny(701);
    over.fields.refund = Some(number("T-R-2"));
    vec![
        entry(sale(1, 1000), Some(VISA)),
        entry(sale(2, 500), Some(MASTERCARD)),
        entry(void, Some(MASTERCARD)),
        entry(refund, Some(VISA)),
        entry(in_doubt(5, 800), Some(VISA)),
        entry(lost, None),
        entry(over, Some(VISA)),
    ]
}

#[test]
fn an_import_is_whole_and_the_second_changes_nothing() {
    let (store, ledger) = memory();
    let imported = ledger.import(&shop(), &upload()).unwrap();
    assert_eq!(
        (imported.new, imported.known, imported.new_cards),
        (7, 0, 2)
    );
    let why: Vec<_> = imported.unapplied.iter().map(|u| (u.at, u.why)).collect();
    assert_eq!(
        why,
        [
            (5, WhyUnapplied::NoOriginal),
            (6, WhyUnapplied::TotalExceeded)
        ]
    );
    let state = |n| ledger.audit(&shop(), &id(n)).unwrap().state;
    assert_eq!(state(1), PaymentState::PartlyRefunded);
    assert_eq!(state(2), PaymentState::Voided);
    assert_eq!(state(5), PaymentState::InDoubt);
    let by_card = ledger
        .find_card(&access(), &shop(), &card(VISA).pan, 10)
        .unwrap();
    assert_eq!(by_card.len(), 4);
    assert_eq!(by_card[0].last_four, Some(1111));
    let before = all_rows(&*store);
    let again = ledger.import(&shop(), &upload()).unwrap();
    assert_eq!((again.new, again.known, again.new_cards), (0, 7, 0));
    assert_eq!(again.unapplied, imported.unapplied);
    assert_eq!(all_rows(&*store), before);
    // Part of it again, with more behind it.
    let mut more = upload();
    more.push(ImportEntry {
        payment: sale(8, 10),
        card: Some(card(VISA)),
    });
    let third = ledger.import(&shop(), &more).unwrap();
    assert_eq!((third.new, third.known, third.new_cards), (1, 7, 0));
    // One entry with another content, and nothing of the upload is there.
    let before = all_rows(&*store);
    let mut bad = vec![ImportEntry {
        payment: sale(9, 10),
        card: Some(card("378282246310005")),
    }];
    let mut other = upload();
    other[1].payment.fields.amount = cny(1);
    bad.extend(other);
    assert_eq!(
        ledger.import(&shop(), &bad),
        Err(LedgerError::OtherContent { at: 2 })
    );
    assert_eq!(all_rows(&*store), before);
    // Two uploads of the same at once.
    let (store, ledger) = memory();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ledger.import(&shop(), &upload()).unwrap());
        }
    });
    assert_eq!(all_rows(&*store).len(), before.len() - 2);
    for n in 1..=7 {
        ledger.audit(&shop(), &id(n)).unwrap();
    }
}

/// What becomes of an entry with these payment fields and this token, in the journal of `journal`.
fn entry_of(
    journal: &[u8],
    payment: &[u8],
    token: &[u8],
) -> Result<Option<ImportEntry>, EntryError> {
    let ring = ring();
    let key = ring.journal_key(&shop(), UnixSeconds(START)).unwrap();
    let key = key.chain_key(journal, 3).unwrap();
    let identity = *key.identity();
    let mut battery = [0; BATTERY_LEN];
    let mut flash = [0xFF; 8192];
    let flash = MemoryFlash::<4, 4096>::new(&mut flash);
    let mut journal = Journal::create(flash, BatteryState::new(&mut battery), key).unwrap();
    let at = UnixSeconds(START + 5);
    journal.checkpoint(at, &mut SystemRandom).unwrap();
    let card = card(VISA);
    let entry = Entry {
        time: at,
        payment,
        truncated: Some(card.pan.truncate(TruncationFormat::FIRST_6_LAST_4).unwrap()),
        token,
        card: token.is_empty().then_some(&card),
    };
    journal.append(&entry, &mut SystemRandom).unwrap();
    let (mut sent, mut item) = (Vec::new(), [0; FRAME_MAX_LEN]);
    let mut upload = journal.upload().unwrap();
    while let Some(len) = upload.next(&mut item).unwrap() {
        sent.extend_from_slice(&item[..len]);
    }
    let key = ring.journal_key_of(&shop(), 1).unwrap();
    let mut reading = Reading::new(&key, &identity, &Position::START, &sent[..]).unwrap();
    let notice = reading.next().unwrap().unwrap();
    assert!(ImportEntry::of(&identity, notice, 480).unwrap().is_none());
    let frame = reading.next().unwrap().unwrap();
    ImportEntry::of(&identity, frame, 480)
}

#[test]
fn a_verified_frame_is_an_entry_of_its_terminal() {
    let mut bytes = [0; PAYMENT_FIELDS_MAX_LEN];
    let fields = sale(1, 1000).fields;
    let len = fields.write(&mut bytes).unwrap();
    let payment = &bytes[..len];
    let entry = entry_of(b"T0000001", payment, b"").unwrap().unwrap();
    let PaymentId::Journal {
        epoch, sequence, ..
    } = entry.payment.id
    else {
        panic!("{:?}", entry.payment.id);
    };
    assert_eq!((epoch, sequence, entry.payment.date), (3, 1, date()));
    assert_eq!(
        (entry.payment.fields, entry.payment.last_four),
        (fields, Some(1111))
    );
    assert_eq!(entry.payment.paid_by, PaidBy::Card);
    assert_eq!(entry.card.unwrap().pan.mask().as_str(), "411111******1111");
    // By token, without a card.
    let token = Token::parse("cvt_10nn0apsqkyyx4vggebh5yanhybg").unwrap();
    let entry = entry_of(b"T0000001", payment, token.as_bytes())
        .unwrap()
        .unwrap();
    assert_eq!(
        (entry.payment.token, entry.card.is_none()),
        (Some(token), true)
    );
    for (journal, payment, token, error) in [
        (&b"T0000002"[..], payment, &b""[..], EntryError::Terminal),
        (b"T0000001-TOO-LONG", payment, b"", EntryError::Terminal),
        (b"T0000001", payment, b"no token", EntryError::Token),
    ] {
        let journal = &journal[..journal.len().min(16)];
        assert_eq!(entry_of(journal, payment, token).err(), Some(error));
    }
    let cut = entry_of(b"T0000001", &payment[..len - 1], b"");
    assert!(matches!(cut, Err(EntryError::Fields(_))));
}

#[test]
fn the_terminal_tells_how_a_request_of_the_host_ended() {
    let (_, ledger) = memory();
    let mut first = upload();
    first.truncate(1);
    ledger.import(&shop(), &first).unwrap();
    let mut request = ask(Action::Refund, 300, "T-R-1");
    request.card = CardMatch::NotPresented;
    ledger
        .request(&shop(), &id(1), &policy(), &request)
        .unwrap();
    let imported = ledger.import(&shop(), &upload()).unwrap();
    assert_eq!(imported.unapplied.len(), 2);
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(payment.refunds.accepted, cny(300));
    assert_eq!(payment.refunds.count, 1);
    let record = ledger.request_of(&shop(), &merchant(), &number("T-R-1"));
    assert_eq!(record.unwrap().status, RefundStatus::Accepted);
}

/// A store that fails a write now and then: before it is done, or after, as a lost commit does.
struct Failing {
    store: Memory,
    countdown: AtomicUsize,
    applies: AtomicBool,
}

impl Store for Failing {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let left = self.countdown.load(Ordering::Relaxed);
        self.countdown
            .store(left.saturating_sub(1), Ordering::Relaxed);
        if left != 1 {
            return self.store.write(under, writes).await;
        }
        if self.applies.load(Ordering::Relaxed) {
            self.store.write(under, writes).await?;
        }
        Err(StoreError::Full)
    }
    forward!(rows find others scan guard count);
}

#[test]
fn a_failed_commit_leaves_all_or_nothing_and_can_be_repeated() {
    let full = Err(LedgerError::Vault(VaultError::Store(StoreError::Full)));
    for applies in [false, true] {
        let store = Arc::new(Failing {
            store: Memory::new(),
            countdown: AtomicUsize::new(0),
            applies: AtomicBool::new(applies),
        });
        let ledger = open(Arc::clone(&store));
        let fail = || store.countdown.store(1, Ordering::Relaxed);
        fail();
        assert_eq!(ledger.import(&shop(), &upload()).map(|_| ()), full);
        let expected = if applies { (0, 7) } else { (7, 0) };
        assert_eq!(all_rows(&*store).is_empty(), !applies);
        let again = ledger.import(&shop(), &upload()).unwrap();
        assert_eq!((again.new, again.known), expected);
        fail();
        let request = ask(Action::Refund, 100, "R-1");
        let send = || ledger.request(&shop(), &id(1), &policy(), &request);
        assert_eq!(send().map(|_| ()), full);
        // Whatever became of it, the retry is right, and it counts once.
        assert_eq!(send().unwrap().repeated, applies);
        assert!(send().unwrap().repeated);
        fail();
        let number = number("R-1");
        let tell = || {
            let event = RefundEvent::Accepted;
            ledger.progress(&shop(), &merchant(), &number, event, Source::Centre, None)
        };
        assert_eq!(tell().map(|_| ()), full);
        assert_eq!(tell().unwrap().status, RefundStatus::Accepted);
        let payment = ledger.audit(&shop(), &id(1)).unwrap();
        assert_eq!(payment.refunds.accepted, cny(400));
    }
}

#[test]
fn agrees_with_a_slow_simple_model() {
    let config = ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    let result = runner.run(&bytes, |bytes| {
        follow(&bytes);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Long stories by a fixed seed, and that they come to every kind of answer.
#[test]
fn long_stories_agree_with_the_model() {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let mut all = Tally::default();
    for _ in 0..60 {
        let mut bytes = [0; 600];
        rng.fill_bytes(&mut bytes);
        let tally = follow(&bytes);
        all.granted += tally.granted;
        all.repeated += tally.repeated;
        all.refused += tally.refused;
        all.told += tally.told;
        all.emptied += tally.emptied;
    }
    assert!(all.granted > 200 && all.told > 200, "{all:?}");
    assert!(all.repeated > 50 && all.refused > 1_000, "{all:?}");
    assert!(all.emptied > 5, "{all:?}");
}

mod reconciliation {
    use cardvault::ledger::reconcile::{
        Difference, Disagreement, JournalLine, SettlementRow, with_journal, with_settlement,
    };

    use super::*;

    fn names(differences: &[Difference]) -> Vec<(&'static str, Option<usize>)> {
        let name = |difference: &Difference| (difference.what.name(), difference.row);
        differences.iter().map(name).collect()
    }

    #[test]
    fn each_difference_to_a_journal_is_named() {
        let (_, ledger) = memory();
        let new: Vec<_> = (0..10).map(|n| sale(n, 100 + n)).collect();
        ledger.record_batch(&shop(), &new, Source::Journal).unwrap();
        let mut host = sale(10, 5);
        host.id = PaymentId::Host([1; 16]);
        ledger.record(&shop(), &host, Source::Centre).unwrap();
        ledger
            .record(&shop(), &in_doubt(11, 5), Source::Centre)
            .unwrap();
        let until = UnixSeconds(u64::MAX);
        let page = ledger.payments(&shop(), UnixSeconds(0), until, None, 100);
        let payments = page.unwrap().items;
        let line = |new: &NewPayment| JournalLine {
            id: new.id,
            fields: new.fields,
        };
        let mut journal: Vec<_> = new.iter().map(line).collect();
        journal.push(line(&in_doubt(11, 5)));
        assert_eq!(with_journal(&payments, &journal), []);
        // Row 9 is left out; the others are changed one by one.
        journal.truncate(9);
        journal[0].fields.amount = cny(1);
        journal[1].fields.merchant = "M2".parse().unwrap();
        journal[2].fields.terminal = "T2".parse().unwrap();
        journal[3].fields.batch = BatchNumber::FIRST;
        journal[4].fields.rrn = Some(rrn(99));
        journal[5].fields.clearing = Some(ClearingDate(Date::new(2030, 1, 1).unwrap()));
        journal[6].fields.response = Some(ResponseCode::parse(b"51").unwrap());
        journal[7].fields.kind = PaymentKind::QrPayment;
        journal[8].fields.rrn = None;
        journal.push(journal[8]);
        journal.push(line(&sale(12, 1)));
        journal.push(line(&sale(11, 5)));
        let found = with_journal(&payments, &journal);
        let expected = [
            ("amount", Some(0)),
            ("merchant", Some(1)),
            ("terminal", Some(2)),
            ("numbers", Some(3)),
            ("reference-number", Some(4)),
            ("clearing-date", Some(5)),
            ("outcome", Some(6)),
            ("kind", Some(7)),
            ("duplicate", Some(9)),
            ("missing-in-ledger", Some(10)),
            ("in-doubt", Some(11)),
            ("missing-in-journal", None),
        ];
        assert_eq!(names(&found), expected);
        let amounts = Disagreement::Amount {
            ledger: cny(100),
            other: cny(1),
        };
        assert_eq!(found[0].what, amounts);
        assert_eq!(found[11].payment, Some(id(9)));
    }

    #[test]
    fn each_difference_to_a_settlement_file_is_named() {
        let (_, ledger) = memory();
        for n in 0..6 {
            ledger
                .record(&shop(), &sale(n, 100), Source::Centre)
                .unwrap();
        }
        ledger
            .record(&shop(), &in_doubt(6, 100), Source::Centre)
            .unwrap();
        let mut declined = sale(7, 100);
        declined.fields.response = Some(ResponseCode::parse(b"51").unwrap());
        ledger.record(&shop(), &declined, Source::Centre).unwrap();
        for (n, text) in [(0, "R-0"), (1, "R-1"), (2, "R-2"), (3, "R-3")] {
            let request = ask(Action::Refund, 10, text);
            ledger
                .request(&shop(), &id(n), &policy(), &request)
                .unwrap();
        }
        for (text, event) in [
            ("R-0", RefundEvent::Settled),
            ("R-1", RefundEvent::Accepted),
            ("R-2", RefundEvent::Failed),
            ("R-3", RefundEvent::Settled),
        ] {
            let number = number(text);
            ledger
                .progress(&shop(), &merchant(), &number, event, Source::Centre, None)
                .unwrap();
        }
        let last = UnixSeconds(u64::MAX);
        let payments = ledger
            .payments(&shop(), UnixSeconds(0), last, None, 100)
            .unwrap()
            .items;
        let requests = ledger
            .requests_between(&shop(), UnixSeconds(0), last, None, 100)
            .unwrap()
            .items;
        let paid = |n: u64| SettlementRow {
            kind: PaymentKind::Sale,
            amount: cny(100),
            merchant: merchant(),
            terminal: terminal(),
            voucher: Some((sale(n, 1).fields.batch, sale(n, 1).fields.voucher)),
            rrn: None,
            order: None,
            refund: None,
            clearing: ClearingDate(date()),
        };
        let refunded = |text| SettlementRow {
            kind: PaymentKind::Refund,
            amount: cny(10),
            voucher: None,
            refund: Some(number(text)),
            ..paid(0)
        };
        let by_rrn = SettlementRow {
            voucher: None,
            rrn: Some(rrn(5)),
            ..paid(5)
        };
        let mut rows: Vec<_> = (0..5).map(paid).collect();
        rows.extend([by_rrn, refunded("R-0"), refunded("R-1"), refunded("R-3")]);
        let found = with_settlement(&payments, &requests, &rows);
        assert_eq!(names(&found), [("not-settled-yet", Some(7))]);
        rows[0].amount = cny(99);
        rows[1].merchant = "M2".parse().unwrap();
        rows[2].clearing = ClearingDate(date().plus_days(1).unwrap());
        rows[3] = paid(0);
        rows[6].amount = cny(11);
        rows[8] = refunded("R-2");
        rows.extend([paid(6), paid(7), paid(8), refunded("R-9")]);
        let found = with_settlement(&payments, &requests, &rows);
        let expected = [
            ("amount", Some(0)),
            ("merchant", Some(1)),
            ("clearing-date", Some(2)),
            ("duplicate", Some(3)),
            ("amount", Some(6)),
            ("not-settled-yet", Some(7)),
            ("moved-money", Some(8)),
            ("in-doubt", Some(9)),
            ("moved-money", Some(10)),
            ("missing-in-ledger", Some(11)),
            ("missing-in-ledger", Some(12)),
            ("missing-in-file", None),
            ("missing-in-file", None),
        ];
        assert_eq!(names(&found), expected);
        assert_eq!(found[11].payment, Some(id(3)));
        assert_eq!(found[12].refund, Some(number("R-3")));
    }
}
