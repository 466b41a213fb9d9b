//! The refund rules against a slow and obvious model. Any bytes are a story of one payment.
#![forbid(unsafe_code)]

use cardvault::payment::{
    Amount, ClearingDate, Currency, Date, MerchantId, PaymentKind, RefundNumber, TerminalId,
};
use cardvault::refund::{
    Action, Authority, BatchState, CardMatch, Decision, Earlier, Original, PaidBy, PaymentEvent,
    PaymentState, Policy, RefundEvent, RefundStatus, RefundTotals, Request, decide,
};

/// What a story came to, so that a test can see that stories are worth telling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Requests that were approved.
    pub(crate) approved: usize,
    /// Requests that got the first answer again.
    pub(crate) repeated: usize,
    /// Requests that were refused.
    pub(crate) refused: usize,
    /// Stories that gave back exactly the whole amount in parts.
    pub(crate) emptied: usize,
}

/// Tells the story that `bytes` say, asking the rules and the model at every step.
///
/// # Panics
/// If they disagree, if more is given back than was paid, or if an event that the rules led to
/// is no legal transition.
pub(crate) fn follow(bytes: &[u8]) -> Tally {
    let mut bytes = bytes.iter().copied();
    let mut next = move || bytes.next();
    let mut tally = Tally::default();
    let Some(mut story) = Story::begin(&mut next) else {
        return tally;
    };
    while story.step(&mut next, &mut tally).is_some() {
        story.check();
    }
    let refunds = story
        .tries
        .iter()
        .filter(|entry| entry.action == Action::Refund);
    let counted = refunds.filter(|entry| entry.status != RefundStatus::Failed);
    tally.emptied = usize::from(counted.clone().count() > 1 && story.given_back() == story.paid);
    tally
}

/// One request that was approved.
struct Try {
    number: u8,
    action: Action,
    amount: u64,
    status: RefundStatus,
}

struct Story {
    policy: Policy,
    kind: PaymentKind,
    state: PaymentState,
    paid: u64,
    paid_by: PaidBy,
    paid_on: u32,
    cleared_on: Option<u32>,
    batch: BatchState,
    today: u32,
    clearing_today: u32,
    tries: Vec<Try>,
}

/// What the model says to a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    Again(RefundStatus),
    No,
}

const AUTHORITIES: [Authority; 4] = [
    Authority::Clerk,
    Authority::Supervisor,
    Authority::Supervisor,
    Authority::HostOperator,
];
const FIRST_DAY: u32 = 20_818; // 2026-12-31

impl Story {
    fn begin(next: &mut impl FnMut() -> Option<u8>) -> Option<Self> {
        let presets = [
            Policy::UNIONPAY_CARD_PRESENT,
            Policy::QR_WALLET,
            Policy::CONSERVATIVE,
        ];
        let limits = next()?;
        let policy = Policy {
            refund_days: u32::from(limits & 3) + 1,
            completion_days: u32::from(limits >> 2 & 3),
            max_refunds: u32::from(limits >> 4 & 3) + 2,
            partial: limits >> 6 != 1,
            ..*pick(&presets, next()?)
        };
        let kind = *pick(&PaymentKind::ALL, next()?);
        let answer = *pick(
            &[Some(true), Some(true), Some(true), Some(false), None],
            next()?,
        );
        let cleared = next()? & 1 == 1;
        Some(Self {
            policy,
            kind,
            state: PaymentState::first(kind, answer),
            paid: u64::from(next()? % 12) + 1,
            paid_by: *pick(&[PaidBy::Card, PaidBy::Phone, PaidBy::Qr], next()?),
            paid_on: FIRST_DAY,
            cleared_on: cleared.then_some(FIRST_DAY),
            batch: BatchState::Open,
            today: FIRST_DAY,
            clearing_today: FIRST_DAY,
            tries: Vec::new(),
        })
    }

    fn step(&mut self, next: &mut impl FnMut() -> Option<u8>, tally: &mut Tally) -> Option<()> {
        match next()? % 8 {
            0..=3 => self.ask(next, tally)?,
            4..=6 => self.answer(next()?, next()?),
            _ => match next()? {
                rare @ 0..16 => self.time_passes(rare),
                rare @ 16..32 => self.happen(rare),
                _ => {}
            },
        }
        Some(())
    }

    fn ask(&mut self, next: &mut impl FnMut() -> Option<u8>, tally: &mut Tally) -> Option<()> {
        // Refunds are the most frequent, so that stories get far.
        let actions = [
            Action::Refund,
            Action::Refund,
            Action::Refund,
            Action::Refund,
            Action::Refund,
            Action::Void,
            Action::Completion,
            Action::Reversal,
        ];
        let action = *pick(&actions, next()?);
        let who = next()?;
        let mut amount = u64::from(next()? % 16);
        if who & 0x80 != 0 {
            amount = self.paid;
        }
        let currency = if who & 0x70 == 0x70 {
            Currency::USD
        } else {
            Currency::CNY
        };
        let odd = next()?;
        let cards = [
            CardMatch::Same,
            CardMatch::Same,
            CardMatch::ParSame,
            CardMatch::ParSame,
            CardMatch::NotPresented,
            CardMatch::NotPresented,
            CardMatch::Different,
            CardMatch::ParDifferent,
        ];
        let number = next()? % 6;
        let request = Request {
            action,
            amount: Amount::new(amount, currency).unwrap(),
            number: number_of(number),
            merchant: if odd & 0xf0 == 0xf0 {
                merchant("M2")
            } else {
                merchant("M1")
            },
            terminal: if odd & 3 == 3 {
                terminal("T2")
            } else {
                terminal("T1")
            },
            card: *pick(&cards, next()?),
            authority: *pick(&AUTHORITIES, who & 7),
            today: day(self.today),
            clearing: ClearingDate(day(self.clearing_today)),
        };
        let before = self.tries.iter().position(|entry| entry.number == number);
        let earlier = before
            .and_then(|at| self.tries.get(at))
            .map(|entry| Earlier {
                action: entry.action,
                amount: cny(entry.amount),
                same_original: true,
                status: entry.status,
            });
        let expected = self.model(&request, number);
        let decided = decide(
            &self.policy,
            Some(&self.original()),
            &request,
            earlier.as_ref(),
        );
        match decided {
            Ok(Decision::Approved(approved)) => {
                assert_eq!(expected, Answer::Yes);
                assert_eq!(approved.amount(), request.amount);
                tally.approved += 1;
                let entry = Try {
                    number,
                    action: approved.action(),
                    amount,
                    status: RefundStatus::Requested,
                };
                match before.and_then(|at| self.tries.get_mut(at)) {
                    Some(failed) => {
                        assert!(approved.resubmitted());
                        let again = failed.status.after(failed.action, RefundEvent::Resubmitted);
                        failed.status = again.unwrap();
                    }
                    None => self.tries.push(entry),
                }
                if request.action == Action::Refund {
                    assert_eq!(approved.left(), cny(self.paid - self.given_back()));
                }
            }
            Ok(Decision::Repeat(status)) => {
                assert_eq!(expected, Answer::Again(status));
                tally.repeated += 1;
            }
            Err(refusal) => {
                assert_eq!(expected, Answer::No, "{refusal}");
                tally.refused += 1;
            }
        }
        Some(())
    }

    /// The rules once more, as plain sentences.
    fn model(&self, request: &Request, number: u8) -> Answer {
        let amount = request.amount.minor();
        for entry in &self.tries {
            if entry.number == number {
                if entry.action != request.action || cny(entry.amount) != request.amount {
                    return Answer::No;
                }
                if entry.status != RefundStatus::Failed {
                    return Answer::Again(entry.status);
                }
            }
        }
        let under_way = self.tries.iter().any(|entry| {
            let open = [RefundStatus::Requested, RefundStatus::InDoubt].contains(&entry.status);
            entry.action != Action::Refund && open
        });
        let taking = [
            PaymentKind::Sale,
            PaymentKind::Completion,
            PaymentKind::QrPayment,
        ];
        let captured = taking.contains(&self.kind) && self.state == PaymentState::Captured;
        let partly = taking.contains(&self.kind) && self.state == PaymentState::PartlyRefunded;
        let held = self.kind == PaymentKind::PreAuthorization && self.state == PaymentState::Held;
        let payment = taking.contains(&self.kind) || self.kind == PaymentKind::PreAuthorization;
        let doubt = payment && self.state == PaymentState::InDoubt;

        let whole = amount == self.paid;
        let same_day = self.cleared_on.is_none_or(|day| day == self.clearing_today);
        let here = request.terminal == terminal("T1") || !self.policy.void_at_original_terminal;
        let window = self.batch == BatchState::Open && same_day && here;
        let untouched = self.given_back() == 0;
        let voidable = (captured && window && untouched) || (held && untouched);
        let age = self.today - self.paid_on;
        let counted = self
            .tries
            .iter()
            .filter(|entry| entry.action == Action::Refund && entry.status != RefundStatus::Failed);
        let may = match request.action {
            Action::Void => voidable && whole,
            Action::Reversal => doubt && whole,
            Action::Completion => {
                let most = self.paid * u64::from(self.policy.completion_percent) / 100;
                held && amount <= most && age <= self.policy.completion_days
            }
            Action::Refund => {
                (captured || partly)
                    && age <= self.policy.refund_days
                    && self.given_back() + amount <= self.paid
                    && counted.count() < usize::try_from(self.policy.max_refunds).unwrap()
                    && (whole || self.policy.partial)
                    && !(self.policy.void_first && whole && window)
            }
        };

        let match_needed = self.paid_by != PaidBy::Qr && request.action != Action::Reversal;
        let wrong = [CardMatch::Different, CardMatch::ParDifferent].contains(&request.card);
        let absent = request.card == CardMatch::NotPresented;
        let mut needed = vec![match request.action {
            Action::Void => self.policy.void_by,
            Action::Refund => self.policy.refund_by,
            Action::Reversal => self.policy.reversal_by,
            Action::Completion => self.policy.completion_by,
        }];
        if match_needed && absent {
            needed.push(self.policy.without_card_by);
        }
        let allowed = may
            && !under_way
            && amount > 0
            && request.amount.currency() == Currency::CNY
            && request.merchant == merchant("M1")
            && !(match_needed && wrong)
            && needed.iter().all(|needed| request.authority >= *needed);
        if allowed { Answer::Yes } else { Answer::No }
    }

    /// An answer, a settlement, a failure or silence for one of the requests.
    fn answer(&mut self, which: u8, event: u8) {
        let events = [
            RefundEvent::Accepted,
            RefundEvent::Settled,
            RefundEvent::Failed,
            RefundEvent::NoAnswer,
        ];
        let len = self.tries.len().max(1);
        let Some(entry) = self.tries.get_mut(usize::from(which) % len) else {
            return;
        };
        let before = entry.status;
        let Ok(after) = before.after(entry.action, *pick(&events, event)) else {
            return;
        };
        entry.status = after;
        let done = |status| [RefundStatus::Accepted, RefundStatus::Settled].contains(&status);
        if done(before) == done(after) {
            return;
        }
        let event = match entry.action {
            Action::Void => PaymentEvent::Voided,
            Action::Reversal => PaymentEvent::Reversed,
            Action::Completion => PaymentEvent::Completed,
            Action::Refund => PaymentEvent::Refunds(self.totals().level(cny(self.paid))),
        };
        // Whatever the rules let happen is a legal transition.
        self.state = self.state.after(self.kind, event).unwrap();
    }

    fn time_passes(&mut self, how: u8) {
        match how % 3 {
            0 => self.today += 1,
            1 => self.clearing_today += 1,
            _ => self.batch = BatchState::Settled,
        }
    }

    /// What comes from outside: inquiry results and disputes.
    fn happen(&mut self, what: u8) {
        let level = self.totals().level(cny(self.paid));
        let events = [
            PaymentEvent::FoundApproved,
            PaymentEvent::FoundDeclined,
            PaymentEvent::Disputed,
            PaymentEvent::DisputeWon(level),
            PaymentEvent::DisputeLost,
        ];
        let under_way = self.original().pending.is_some();
        if let Ok(state) = self.state.after(self.kind, *pick(&events, what))
            && !under_way
        {
            self.state = state;
        }
    }

    fn original(&self) -> Original {
        let pending = self.tries.iter().find(|entry| {
            let unknown = entry.status.is_open() && entry.status != RefundStatus::Accepted;
            entry.action != Action::Refund && unknown
        });
        Original {
            kind: self.kind,
            state: self.state,
            amount: cny(self.paid),
            refunds: self.totals(),
            pending: pending.map(|entry| entry.action),
            merchant: merchant("M1"),
            terminal: terminal("T1"),
            batch: self.batch,
            clearing: self.cleared_on.map(|number| ClearingDate(day(number))),
            date: day(self.paid_on),
            paid_by: self.paid_by,
        }
    }

    fn totals(&self) -> RefundTotals {
        let refunds = self
            .tries
            .iter()
            .filter(|entry| entry.action == Action::Refund);
        refunds.fold(RefundTotals::none(cny(self.paid)), |totals, entry| {
            totals.with(cny(entry.amount), entry.status).unwrap()
        })
    }

    fn given_back(&self) -> u64 {
        let refunds = self
            .tries
            .iter()
            .filter(|entry| entry.action == Action::Refund);
        let counted = refunds.filter(|entry| entry.status != RefundStatus::Failed);
        counted.map(|entry| entry.amount).sum()
    }

    /// What must hold whatever happened.
    fn check(&self) {
        assert!(
            self.given_back() <= self.paid,
            "more was given back than was paid"
        );
        let standing = |action| {
            let entries = self
                .tries
                .iter()
                .filter(move |entry| entry.action == action);
            entries
                .filter(|entry| entry.status != RefundStatus::Failed)
                .count()
        };
        assert!(standing(Action::Void) <= 1, "voided twice");
        assert!(standing(Action::Completion) <= 1, "completed twice");
        if standing(Action::Void) == 1 {
            assert_eq!(self.given_back(), 0, "voided and refunded");
            assert_eq!(standing(Action::Completion), 0, "voided and completed");
        }
    }
}

fn pick<T>(choices: &[T], byte: u8) -> &T {
    &choices[usize::from(byte) % choices.len()]
}

fn cny(minor: u64) -> Amount {
    Amount::new(minor, Currency::CNY).unwrap()
}

fn day(number: u32) -> Date {
    Date::from_days(number).unwrap()
}

fn merchant(text: &str) -> MerchantId {
    text.parse().unwrap()
}

fn terminal(text: &str) -> TerminalId {
    text.parse().unwrap()
}

fn number_of(number: u8) -> RefundNumber {
    format!("R{number}").parse().unwrap()
}
