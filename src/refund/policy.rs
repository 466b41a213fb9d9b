//! What a merchant's acquirer allows, as values.
#![forbid(unsafe_code)]

use super::deadline::Deadlines;
use super::request::{Action, Authority};

/// The limits that [`decide`](super::decide) applies. Start from a preset and change what the
/// acquirer's contract says.
///
/// What no policy changes: the total never exceeds the original, every request names an
/// original, a void or reversal is for the whole amount. A hold, which is in no batch, can be
/// voided at any time and at any of the merchant's terminals: a choice of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Days after the payment on which a refund can still be asked for.
    pub refund_days: u32,
    /// The most refunds of one payment, failed ones left out.
    pub max_refunds: u32,
    /// Whether less than the whole amount can be refunded.
    pub partial: bool,
    /// Whether an untouched payment that can still be voided is voided, not refunded in full.
    pub void_first: bool,
    /// Whether only the original's terminal can void.
    pub void_at_original_terminal: bool,
    /// The largest completion, in hundredths of the amount held.
    pub completion_percent: u16,
    /// Days after the pre-authorization on which it can still be completed.
    pub completion_days: u32,
    /// Who may void.
    pub void_by: Authority,
    /// Who may refund.
    pub refund_by: Authority,
    /// Who may reverse a payment in doubt.
    pub reversal_by: Authority,
    /// Who may complete.
    pub completion_by: Authority,
    /// Who may do either of these, reversals left out, when no card is presented. Not asked
    /// of QR payments, which have none.
    pub without_card_by: Authority,
    /// How long the steps of a request may take.
    pub deadlines: Deadlines,
}

impl Policy {
    /// UnionPay, card present: void on the same day in the open batch at the same terminal,
    /// later refunds, several and partial ones, a supervisor for both; completion up to 115 %
    /// within 30 days (UnionPay terminal specification). 330 days stand for the 11 months of
    /// its online refunds. It names no largest count: 50 is a choice of ours.
    pub const UNIONPAY_CARD_PRESENT: Self = Self {
        refund_days: 330,
        max_refunds: 50,
        partial: true,
        void_first: true,
        void_at_original_terminal: true,
        completion_percent: 115,
        completion_days: 30,
        void_by: Authority::Supervisor,
        refund_by: Authority::Supervisor,
        reversal_by: Authority::Clerk,
        completion_by: Authority::Clerk,
        without_card_by: Authority::Supervisor,
        deadlines: Deadlines::DEFAULT,
    };

    /// Payments by QR code: 365 days and 50 partial refunds, as WeChat Pay has them. They are
    /// known by their order number, so that any of the merchant's terminals can act.
    pub const QR_WALLET: Self = Self {
        refund_days: 365,
        max_refunds: 50,
        void_first: false,
        void_at_original_terminal: false,
        ..Self::UNIONPAY_CARD_PRESENT
    };

    /// Where nothing else is agreed: 90 days, at most 10 refunds, completions up to the amount
    /// held within 7 days, a supervisor for whatever moves money. Limits of ours.
    pub const CONSERVATIVE: Self = Self {
        refund_days: 90,
        max_refunds: 10,
        completion_percent: 100,
        completion_days: 7,
        completion_by: Authority::Supervisor,
        ..Self::UNIONPAY_CARD_PRESENT
    };

    /// Who may do `action` with the card at hand.
    #[must_use]
    pub const fn authority(&self, action: Action) -> Authority {
        match action {
            Action::Void => self.void_by,
            Action::Refund => self.refund_by,
            Action::Reversal => self.reversal_by,
            Action::Completion => self.completion_by,
        }
    }
}

impl Default for Policy {
    /// [`Policy::CONSERVATIVE`].
    fn default() -> Self {
        Self::CONSERVATIVE
    }
}
