//! What [`decide`](super::decide) looks at: the original payment and the request.
#![forbid(unsafe_code)]

use core::fmt;

use super::state::{PaymentState, RefundLevel};
use super::status::RefundStatus;
use crate::payment::{
    Amount, AmountError, ClearingDate, Date, MerchantId, PaymentKind, RefundNumber, TerminalId,
};

/// What the ledger knows of a payment.
#[derive(Clone, Copy, Debug)]
pub struct Original {
    /// What it is.
    pub kind: PaymentKind,
    /// Where it stands.
    pub state: PaymentState,
    /// Its whole amount.
    pub amount: Amount,
    /// What was asked back of it so far.
    pub refunds: RefundTotals,
    /// A void, reversal or completion of it that is requested or in doubt.
    pub pending: Option<Action>,
    /// The merchant.
    pub merchant: MerchantId,
    /// The terminal.
    pub terminal: TerminalId,
    /// Whether its batch is settled.
    pub batch: BatchState,
    /// The clearing date that the centre gave it, if it is known.
    pub clearing: Option<ClearingDate>,
    /// The merchant's calendar day of the payment.
    pub date: Date,
    /// How it was paid.
    pub paid_by: PaidBy,
}

/// The sums of a payment's refunds, failed ones left out. All three count against the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundTotals {
    /// Accepted and settled ones.
    pub accepted: Amount,
    /// Requested ones without an answer yet.
    pub requested: Amount,
    /// Those in doubt.
    pub in_doubt: Amount,
    /// How many refunds these are.
    pub count: u32,
}

impl RefundTotals {
    /// No refund of a payment of `amount`.
    #[must_use]
    pub const fn none(amount: Amount) -> Self {
        let zero = Amount::zero(amount.currency());
        Self {
            accepted: zero,
            requested: zero,
            in_doubt: zero,
            count: 0,
        }
    }

    /// The totals with one more refund; a failed one changes nothing.
    ///
    /// # Errors
    /// [`AmountError`] for another currency or a sum that no amount holds.
    pub fn with(self, amount: Amount, status: RefundStatus) -> Result<Self, AmountError> {
        let mut totals = self;
        let sum = match status {
            RefundStatus::Accepted | RefundStatus::Settled => &mut totals.accepted,
            RefundStatus::Requested => &mut totals.requested,
            RefundStatus::InDoubt => &mut totals.in_doubt,
            RefundStatus::Failed => return Ok(self),
        };
        *sum = sum.checked_add(amount)?;
        totals.count = totals.count.checked_add(1).ok_or(AmountError::Overflow)?;
        Ok(totals)
    }

    /// What has no outcome yet: requested and in doubt.
    ///
    /// # Errors
    /// [`AmountError`] if the sums are of two currencies or too large.
    pub fn open(self) -> Result<Amount, AmountError> {
        self.requested.checked_add(self.in_doubt)
    }

    /// All that counts against the payment.
    ///
    /// # Errors
    /// [`AmountError`] if the sums are of two currencies or too large.
    pub fn counted(self) -> Result<Amount, AmountError> {
        self.open()?.checked_add(self.accepted)
    }

    /// How much of a payment of `amount` the accepted ones give back.
    #[must_use]
    pub fn level(self, amount: Amount) -> RefundLevel {
        if self.accepted.is_zero() {
            RefundLevel::None
        } else if self.accepted < amount {
            RefundLevel::Part
        } else {
            RefundLevel::All
        }
    }
}

/// How a payment was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaidBy {
    /// With the card.
    Card,
    /// With a phone or watch: its card number is not the one on the plastic card.
    Phone,
    /// With a QR code: there is no card number.
    Qr,
}

/// Whether a terminal's batch can still take a void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// Open.
    Open,
    /// Settled.
    Settled,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// How much. A void and a reversal name the whole amount.
    pub amount: Amount,
    /// The merchant's own number of this request: it is done once.
    pub number: RefundNumber,
    /// The merchant who asks.
    pub merchant: MerchantId,
    /// The terminal at which it is asked.
    pub terminal: TerminalId,
    /// What comparing the presented card with the original gave.
    pub card: CardMatch,
    /// Who asks.
    pub authority: Authority,
    /// The merchant's calendar day.
    pub today: Date,
    /// The centre's current clearing date.
    pub clearing: ClearingDate,
}

/// What can be done to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take the whole payment back before settlement.
    Void,
    /// Give money back, all or a part.
    Refund,
    /// Undo a payment whose outcome is unknown.
    Reversal,
    /// Take the final amount of a pre-authorization.
    Completion,
}

impl Action {
    /// Every action, in the order of its codes.
    pub const ALL: [Self; 4] = [Self::Void, Self::Refund, Self::Reversal, Self::Completion];

    /// The action's code in byte formats, 1 to 4. Never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Void => 1,
            Self::Refund => 2,
            Self::Reversal => 3,
            Self::Completion => 4,
        }
    }

    /// The action of a code; `None` if no action has it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.code() == code)
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Refund => "refund",
            Self::Reversal => "reversal",
            Self::Completion => "completion",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What comparing the presented card or phone with the original gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CardMatch {
    /// The card numbers' fingerprints agree.
    Same,
    /// The fingerprints differ, and there are no payment account references to compare.
    Different,
    /// The payment account references agree: one account, whatever the card numbers.
    ParSame,
    /// The payment account references differ.
    ParDifferent,
    /// Nothing was presented.
    NotPresented,
}

/// Who stands behind a request. Each may do what those before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authority {
    /// The clerk at the terminal.
    Clerk,
    /// The shop's supervisor.
    Supervisor,
    /// The acquirer's operator at the host.
    HostOperator,
}

impl Authority {
    /// Every level, lowest first.
    pub const ALL: [Self; 3] = [Self::Clerk, Self::Supervisor, Self::HostOperator];

    /// The level's code in byte formats, 1 to 3. Never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Clerk => 1,
            Self::Supervisor => 2,
            Self::HostOperator => 3,
        }
    }

    /// The level of a code; `None` if no level has it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.code() == code)
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clerk => "clerk",
            Self::Supervisor => "supervisor",
            Self::HostOperator => "host operator",
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the ledger has under the request's refund number, which is unique within a merchant.
#[derive(Clone, Copy, Debug)]
pub struct Earlier {
    /// What was asked for.
    pub action: Action,
    /// How much.
    pub amount: Amount,
    /// Whether it was for the same original payment.
    pub same_original: bool,
    /// Where it stands.
    pub status: RefundStatus,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{AMOUNT_MAX, Currency};

    fn cny(minor: u64) -> Amount {
        Amount::new(minor, Currency::CNY).unwrap()
    }

    #[test]
    fn totals_count_all_but_failures() {
        let mut totals = RefundTotals::none(cny(1000));
        for (part, status) in [1, 20, 300, 4000, 50000].into_iter().zip(RefundStatus::ALL) {
            totals = totals.with(cny(part), status).unwrap();
        }
        // Requested 1, accepted 20, settled 300, failed 4000, in doubt 50000.
        assert_eq!(totals.accepted, cny(320));
        assert_eq!(totals.open(), Ok(cny(50_001)));
        assert_eq!(totals.counted(), Ok(cny(50_321)));
        assert_eq!(totals.count, 4);
        assert_eq!(totals.level(cny(321)), RefundLevel::Part);
        assert_eq!(totals.level(cny(320)), RefundLevel::All);
        assert_eq!(RefundTotals::none(cny(1)).level(cny(1)), RefundLevel::None);
        let usd = Amount::zero(Currency::USD);
        assert_eq!(
            totals.with(usd, RefundStatus::Accepted),
            Err(AmountError::Mixed)
        );
        let much = cny(AMOUNT_MAX);
        assert_eq!(
            totals.with(much, RefundStatus::InDoubt),
            Err(AmountError::Overflow)
        );
    }

    #[test]
    fn codes() {
        for (code, action) in (1..).zip(Action::ALL) {
            assert_eq!(
                (action.code(), Action::from_code(code)),
                (code, Some(action))
            );
        }
        for (code, level) in (1..).zip(Authority::ALL) {
            assert_eq!(
                (level.code(), Authority::from_code(code)),
                (code, Some(level))
            );
        }
        assert_eq!((Action::from_code(0), Action::from_code(5)), (None, None));
        assert_eq!(
            (Authority::from_code(0), Authority::from_code(4)),
            (None, None)
        );
        assert!(Authority::Clerk < Authority::Supervisor);
        assert!(Authority::Supervisor < Authority::HostOperator);
    }
}
