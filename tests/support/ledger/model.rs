//! The ledger against a slow and obvious model. Any bytes are a story of three payments.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use cardvault::ledger::{Answer, BlockingLedger, Change, LedgerError, Source};
use cardvault::payment::ResponseCode;
use cardvault::refund::{Action, PaymentState, RefundEvent, RefundStatus};
use cardvault::vault::Store;

use super::{ask, id, in_doubt, memory, merchant, number, policy, sale, shop};

/// What a story came to, so that a test can see that stories are worth telling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Requests that were granted.
    pub(crate) granted: usize,
    /// Requests that got the first answer again.
    pub(crate) repeated: usize,
    /// Requests that were refused.
    pub(crate) refused: usize,
    /// Outcomes that were taken.
    pub(crate) told: usize,
    /// Payments that were given back whole.
    pub(crate) emptied: usize,
}

/// Tells the story that `bytes` say to a ledger in memory and to the model.
///
/// # Panics
/// If they disagree at any step, or if more is given back than was paid.
pub(crate) fn follow(bytes: &[u8]) -> Tally {
    let (_, ledger) = memory();
    let mut model = Model::default();
    let mut tally = Tally::default();
    let mut bytes = bytes.iter().copied();
    while let Some(step) = Do::next(&mut || bytes.next()) {
        model.perform(&ledger, step, &mut tally);
        model.compare(&ledger);
    }
    let whole = |n: &u64| model.payments[n].state == PaymentState::Refunded;
    tally.emptied = model.payments.keys().filter(|n| whole(n)).count();
    tally
}

/// One step of a desk, over few payments and few numbers, so that they meet.
#[derive(Clone, Copy, Debug)]
enum Do {
    Record {
        n: u64,
        minor: u64,
        answered: bool,
    },
    Ask {
        n: u64,
        minor: u64,
        number: u8,
        action: Action,
    },
    /// The same request once more.
    Again {
        number: u8,
    },
    Tell {
        number: u8,
        event: RefundEvent,
    },
    Resolve {
        n: u64,
        approved: bool,
    },
    Dispute {
        n: u64,
        change: Change,
    },
}

impl Do {
    fn next(next: &mut impl FnMut() -> Option<u8>) -> Option<Self> {
        let events = [
            RefundEvent::Accepted,
            RefundEvent::Settled,
            RefundEvent::Failed,
            RefundEvent::NoAnswer,
        ];
        let actions = [
            Action::Refund,
            Action::Refund,
            Action::Refund,
            Action::Void,
            Action::Reversal,
        ];
        let changes = [Change::Disputed, Change::DisputeWon, Change::DisputeLost];
        let what = next()? % 16;
        let which = next()?;
        let n = u64::from(which % 3);
        Some(match what {
            0..2 => Self::Record {
                n,
                minor: 10 * u64::from(next()? % 3 + 1),
                answered: which & 0x80 == 0,
            },
            2 => Self::Again { number: which % 8 },
            3..8 => {
                let action = *pick(&actions, next()?);
                let minor = u64::from(next()?);
                let whole = action != Action::Refund;
                Self::Ask {
                    n,
                    minor: if whole {
                        10 * (minor % 3 + 1)
                    } else {
                        minor % 14 + 1
                    },
                    number: next()? % 8,
                    action,
                }
            }
            8..14 => Self::Tell {
                number: which % 8,
                event: *pick(&events, next()?),
            },
            14 => Self::Resolve {
                n,
                approved: which & 0x80 == 0,
            },
            _ => Self::Dispute {
                n,
                change: *pick(&changes, next()?),
            },
        })
    }
}

fn pick<T>(choices: &[T], byte: u8) -> &T {
    &choices[usize::from(byte) % choices.len()]
}

/// A payment as the model has it: only what was recorded, and whether it is over.
#[derive(Clone, Debug)]
struct Plain {
    minor: u64,
    answered: bool,
    state: PaymentState,
}

/// The ledger as two maps; every sum is counted anew each time.
#[derive(Default)]
struct Model {
    payments: BTreeMap<u64, Plain>,
    requests: BTreeMap<u8, (u64, u64, Action, RefundStatus)>,
}

impl Model {
    fn sum(&self, n: u64, statuses: &[RefundStatus]) -> u64 {
        self.requests
            .values()
            .filter(|r| r.0 == n && r.2 == Action::Refund && statuses.contains(&r.3))
            .map(|r| r.1)
            .sum()
    }

    fn counted(&self, n: u64) -> u64 {
        use RefundStatus::{Accepted, InDoubt, Requested, Settled};
        self.sum(n, &[Accepted, InDoubt, Requested, Settled])
    }

    fn level(&self, n: u64) -> PaymentState {
        let accepted = self.sum(n, &[RefundStatus::Accepted, RefundStatus::Settled]);
        match accepted {
            0 => PaymentState::Captured,
            all if all >= self.payments[&n].minor => PaymentState::Refunded,
            _ => PaymentState::PartlyRefunded,
        }
    }

    /// Whether it ended, and not by its refunds alone.
    fn is_over(&self, n: u64) -> bool {
        use PaymentState::{NeverApproved, Refunded, Reversed, Voided};
        let state = self.payments[&n].state;
        matches!(state, NeverApproved | Reversed | Voided)
            || state == Refunded && self.level(n) != Refunded
    }

    fn pending(&self, n: u64) -> bool {
        let open = [RefundStatus::Requested, RefundStatus::InDoubt];
        self.requests
            .values()
            .any(|r| r.0 == n && r.2 != Action::Refund && open.contains(&r.3))
    }

    /// Whether the request may be granted; `None` for a repetition.
    fn ask(&mut self, n: u64, minor: u64, number: u8, action: Action) -> Option<bool> {
        use PaymentState::{Captured, InDoubt, PartlyRefunded};
        if let Some(earlier) = self.requests.get(&number) {
            if (earlier.0, earlier.1, earlier.2) != (n, minor, action) {
                return Some(false);
            }
            if earlier.3 != RefundStatus::Failed {
                return None;
            }
        }
        let Some(payment) = self.payments.get(&n) else {
            return Some(false);
        };
        let granted = !self.pending(n)
            && match action {
                Action::Refund => {
                    matches!(payment.state, Captured | PartlyRefunded)
                        && self.counted(n) + minor <= payment.minor
                }
                Action::Void => {
                    payment.state == Captured && self.counted(n) == 0 && minor == payment.minor
                }
                _ => payment.state == InDoubt && minor == payment.minor,
            };
        if granted {
            self.requests
                .insert(number, (n, minor, action, RefundStatus::Requested));
        }
        Some(granted)
    }

    fn tell(&mut self, number: u8, event: RefundEvent) -> bool {
        use PaymentState::{Captured, Disputed, InDoubt, Reversed, Voided};
        use RefundStatus::{Accepted, Failed, Requested, Settled};
        let Some(&(n, minor, action, status)) = self.requests.get(&number) else {
            return false;
        };
        let target = match event {
            RefundEvent::Accepted => Accepted,
            RefundEvent::Settled => Settled,
            RefundEvent::Failed => Failed,
            _ => RefundStatus::InDoubt,
        };
        if status == target {
            return true;
        }
        let open = matches!(status, Requested | RefundStatus::InDoubt);
        let follows = match event {
            RefundEvent::Accepted => open,
            RefundEvent::NoAnswer => status == Requested,
            _ => open || status == Accepted,
        };
        let state = self.payments[&n].state;
        let done = |status| matches!(status, Accepted | Settled);
        let (was, is) = (done(status), done(target));
        let over = self.is_over(n);
        let possible = match action {
            Action::Refund => true,
            _ if !was && is && over => true,
            Action::Void if !was && is => state == Captured,
            Action::Reversal if !was && is => matches!(state, InDoubt | Captured),
            _ => !was || is,
        };
        if !follows || !possible {
            return false;
        }
        self.requests.insert(number, (n, minor, action, target));
        let after = self.level(n);
        let sums_change = action == Action::Refund && was != is;
        let payment = self.payments.get_mut(&n).unwrap();
        match action {
            _ if over => {}
            Action::Refund if sums_change && state != Disputed => payment.state = after,
            Action::Void if !was && is => payment.state = Voided,
            Action::Reversal if !was && is => payment.state = Reversed,
            _ => {}
        }
        true
    }
}

impl Model {
    /// Performs a step on both; they must agree on whether it succeeds.
    fn perform<S: Store>(&mut self, ledger: &BlockingLedger<S>, step: Do, tally: &mut Tally) {
        match step {
            Do::Record { n, minor, answered } => {
                let new = if answered {
                    sale(n, minor)
                } else {
                    in_doubt(n, minor)
                };
                let known = self.payments.get(&n);
                let good = known.is_none_or(|p| p.minor == minor && p.answered == answered);
                let result = ledger.record(&shop(), &new, Source::Centre);
                assert_eq!(result.is_ok(), good, "{step:?}: {result:?}");
                let state = if answered {
                    PaymentState::Captured
                } else {
                    PaymentState::InDoubt
                };
                self.payments.entry(n).or_insert(Plain {
                    minor,
                    answered,
                    state,
                });
            }
            Do::Ask {
                n,
                minor,
                number,
                action,
            } => self.request(ledger, (n, minor, number, action), tally),
            Do::Again { number } => {
                if let Some(&(n, minor, action, _)) = self.requests.get(&number) {
                    self.request(ledger, (n, minor, number, action), tally);
                }
            }
            Do::Tell { number: of, event } => {
                let of_text = number(&format!("N-{of}"));
                let result =
                    ledger.progress(&shop(), &merchant(), &of_text, event, Source::Centre, None);
                let told = self.tell(of, event);
                assert_eq!(result.is_ok(), told, "{step:?}: {result:?}");
                tally.told += usize::from(told);
            }
            Do::Resolve { n, approved } => self.resolve(ledger, n, approved),
            Do::Dispute { n, change } => {
                let result = ledger.change(&shop(), &id(n), change, Source::Operator);
                let next = self.disputed(n, change);
                assert_eq!(result.is_ok(), next.is_some(), "{step:?}: {result:?}");
                if let (Some(next), Some(payment)) = (next, self.payments.get_mut(&n)) {
                    payment.state = next;
                }
            }
        }
    }

    fn request<S: Store>(
        &mut self,
        ledger: &BlockingLedger<S>,
        (n, minor, number, action): (u64, u64, u8, Action),
        tally: &mut Tally,
    ) {
        let request = ask(action, minor, &format!("N-{number}"));
        let result = ledger.request(&shop(), &id(n), &policy(), &request);
        let granted = self.ask(n, minor, number, action);
        if granted == Some(false) {
            let refused = matches!(result, Err(LedgerError::Refused(_)));
            assert!(refused, "{request:?}: {result:?}");
            tally.refused += 1;
            return;
        }
        let answer = result.unwrap_or_else(|error| panic!("{request:?}: {error}"));
        assert_eq!(answer.repeated, granted.is_none(), "{request:?}");
        tally.granted += usize::from(!answer.repeated);
        tally.repeated += usize::from(answer.repeated);
    }

    fn resolve<S: Store>(&mut self, ledger: &BlockingLedger<S>, n: u64, approved: bool) {
        let code: &[u8] = if approved { b"00" } else { b"51" };
        let answer = Answer {
            response: ResponseCode::parse(code).unwrap(),
            rrn: None,
            approval: None,
            clearing: None,
        };
        let before = ledger.payment(&shop(), &id(n)).ok();
        let told = before.is_some_and(|p| p.fields.response == Some(answer.response));
        let result = ledger.resolve(&shop(), &id(n), &answer, Source::Inquiry);
        let payment = self.payments.get_mut(&n);
        match payment.filter(|p| p.state == PaymentState::InDoubt) {
            Some(payment) => {
                assert!(result.is_ok(), "{n} {approved}: {result:?}");
                payment.state = if approved {
                    PaymentState::Captured
                } else {
                    PaymentState::NeverApproved
                };
            }
            None => assert_eq!(result.is_ok(), told, "{n} {approved}: {result:?}"),
        }
    }

    fn disputed(&self, n: u64, change: Change) -> Option<PaymentState> {
        use PaymentState::{Captured, Disputed, PartlyRefunded, Refunded};
        match (self.payments.get(&n)?.state, change) {
            (Captured | PartlyRefunded | Refunded, Change::Disputed) => Some(Disputed),
            (Disputed, Change::DisputeWon) => Some(self.level(n)),
            (Disputed, Change::DisputeLost) => Some(Refunded),
            _ => None,
        }
    }

    /// Every payment as the ledger has it, its row and history checked, against the model.
    fn compare<S: Store>(&self, ledger: &BlockingLedger<S>) {
        for (n, plain) in &self.payments {
            let payment = ledger.audit(&shop(), &id(*n)).unwrap();
            assert_eq!(payment.state, plain.state);
            let counted = payment.refunds.counted().unwrap().minor();
            assert_eq!(counted, self.counted(*n));
            assert!(counted <= plain.minor, "more was given back than was paid");
            assert_eq!(payment.pending.is_some(), self.pending(*n));
        }
    }
}
