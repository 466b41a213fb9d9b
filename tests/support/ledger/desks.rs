//! Two desks and more at one payment: never too much, whatever the store.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use cardvault::ledger::{BlockingLedger, LedgerError, Source};
use cardvault::refund::{Action, PaymentState, RefundEvent, RefundStatus, Refusal};
use cardvault::vault::Store;

use super::{ask, cny, id, merchant, number, policy, sale, shop};

/// Many desks refund parts of one payment at once, each by one of these handles on one ledger; some
/// answers never come, some fail.
pub(crate) fn desks_at_once<S: Store>(ledgers: &[BlockingLedger<S>]) {
    const DESKS: usize = 200;
    const PART: u64 = 7;
    const WHOLE: u64 = 1000;
    let ledger = &ledgers[0];
    ledger
        .record(&shop(), &sale(1, WHOLE), Source::Centre)
        .unwrap();
    let granted = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for desk in 0..DESKS {
            let (granted, refused) = (&granted, &refused);
            let ledger = &ledgers[desk % ledgers.len()];
            scope.spawn(move || {
                let name = format!("R-{desk}");
                let request = ask(Action::Refund, PART, &name);
                match ledger.request(&shop(), &id(1), &policy(), &request) {
                    Ok(answer) => {
                        assert!(!answer.repeated);
                        granted.fetch_add(1, Ordering::Relaxed);
                        let event = match desk % 3 {
                            0 => RefundEvent::NoAnswer,
                            1 => RefundEvent::Accepted,
                            _ => return,
                        };
                        let number = number(&name);
                        ledger
                            .progress(&shop(), &merchant(), &number, event, Source::Centre, None)
                            .unwrap();
                    }
                    Err(LedgerError::Refused(Refusal::TotalExceeded { left, .. })) => {
                        assert!(left.minor() < PART);
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => panic!("{error}"),
                }
            });
        }
    });
    let granted = granted.into_inner();
    assert_eq!(granted as u64, WHOLE / PART);
    assert_eq!(granted + refused.into_inner(), DESKS);
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(payment.refunds.counted(), Ok(cny(WHOLE / PART * PART)));
    assert!(!payment.refunds.in_doubt.is_zero() && !payment.refunds.accepted.is_zero());
    assert_eq!(payment.state, PaymentState::PartlyRefunded);
    // What fails is free again, and not a unit more.
    let mut freed = 0;
    for record in ledger.requests(&shop(), &id(1), None).unwrap().items {
        if record.status == RefundStatus::InDoubt {
            freed += record.amount.minor();
            let failed = RefundEvent::Failed;
            ledger
                .progress(
                    &shop(),
                    &merchant(),
                    &record.number,
                    failed,
                    Source::Inquiry,
                    None,
                )
                .unwrap();
        }
    }
    let left = WHOLE % PART + freed;
    let over = ask(Action::Refund, left + 1, "over");
    assert_eq!(
        ledger.request(&shop(), &id(1), &policy(), &over),
        Err(LedgerError::Refused(Refusal::TotalExceeded {
            left: cny(left),
            open: ledger
                .payment(&shop(), &id(1))
                .unwrap()
                .refunds
                .open()
                .unwrap(),
        }))
    );
    let rest = ask(Action::Refund, left, "rest");
    ledger.request(&shop(), &id(1), &policy(), &rest).unwrap();
    let payment = ledger.audit(&shop(), &id(1)).unwrap();
    assert_eq!(payment.refunds.counted(), Ok(cny(WHOLE)));
}
