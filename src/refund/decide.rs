//! The one place where a request to give money back is approved or refused.
#![forbid(unsafe_code)]

use super::policy::Policy;
use super::refusal::Refusal;
use super::request::{
    Action, Authority, BatchState, CardMatch, Earlier, Original, PaidBy, Request,
};
use super::state::PaymentState;
use super::status::RefundStatus;
use crate::payment::{AMOUNT_MAX, Amount, Date, PaymentKind, RefundNumber};

/// Decides on `request`.
///
/// `original` is the payment that it names, `None` if the ledger knows none: there are no
/// refunds without one. `earlier` is what the ledger has under the request's refund number,
/// which is looked up within the merchant. Both must come from the transaction that records the
/// answer, so that two desks cannot both be given what is left.
///
/// The same request under the same number is a retry: it gets the first answer, whatever
/// happened since, and only after a definite failure is it decided anew. A refusal for want of
/// authority comes last: who is called to confirm can then do so.
///
/// # Errors
/// The one [`Refusal`] that comes first in the order above.
pub fn decide(
    policy: &Policy,
    original: Option<&Original>,
    request: &Request,
    earlier: Option<&Earlier>,
) -> Result<Decision, Refusal> {
    if let Some(earlier) = earlier {
        if !is_retry(earlier, request) {
            return Err(Refusal::NumberReused);
        }
        if earlier.status != RefundStatus::Failed {
            return Ok(Decision::Repeat(earlier.status));
        }
    }
    let original = original.ok_or(Refusal::NoOriginal)?;
    check_request(original, request)?;
    check_state(original, request)?;
    let presented = check_card(original, request)?;
    let (kind, left) = match request.action {
        Action::Void => check_void(policy, original, request)?,
        Action::Refund => check_refund(policy, original, request)?,
        Action::Reversal => check_reversal(original, request)?,
        Action::Completion => check_completion(policy, original, request)?,
    };
    let mut needed = policy.authority(request.action);
    if !presented {
        needed = needed.max(policy.without_card_by);
    }
    if request.authority < needed {
        return Err(Refusal::Authority { needed });
    }
    Ok(Decision::Approved(Approved {
        action: request.action,
        kind,
        amount: request.amount,
        left,
        number: request.number,
        authority: request.authority,
        resubmitted: earlier.is_some(),
    }))
}

/// The answer to a request that is not refused.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// Record it and send it.
    Approved(Approved),
    /// It was asked before: answer with where that request stands, and send nothing.
    Repeat(RefundStatus),
}

/// The proof that [`decide`] approved a request. Nothing else makes one, and it cannot be
/// copied: what records a request takes it.
///
/// ```compile_fail
/// use cardvault::refund::Approved;
/// fn twice(approved: Approved) -> (Approved, Approved) {
///     (approved.clone(), approved)
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Approved {
    action: Action,
    kind: PaymentKind,
    amount: Amount,
    left: Amount,
    number: RefundNumber,
    authority: Authority,
    resubmitted: bool,
}

impl Approved {
    /// What to do.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The kind of the message to send.
    #[must_use]
    pub const fn kind(&self) -> PaymentKind {
        self.kind
    }

    /// How much.
    #[must_use]
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// What of the original can be refunded after this: nothing, unless this is a refund.
    #[must_use]
    pub const fn left(&self) -> Amount {
        self.left
    }

    /// The number under which it is done once.
    #[must_use]
    pub const fn number(&self) -> RefundNumber {
        self.number
    }

    /// Who stands behind it.
    #[must_use]
    pub const fn authority(&self) -> Authority {
        self.authority
    }

    /// Whether it was tried before under this number and failed.
    #[must_use]
    pub const fn resubmitted(&self) -> bool {
        self.resubmitted
    }
}

fn is_retry(earlier: &Earlier, request: &Request) -> bool {
    earlier.same_original && earlier.action == request.action && earlier.amount == request.amount
}

/// What holds for every action.
fn check_request(original: &Original, request: &Request) -> Result<(), Refusal> {
    if original.kind.is_refund() {
        return Err(Refusal::RefundOfRefund);
    }
    if original.kind.is_void() || original.kind == PaymentKind::Reversal {
        return Err(Refusal::NotAPayment);
    }
    if request.merchant != original.merchant {
        return Err(Refusal::OtherMerchant);
    }
    if request.amount.currency() != original.amount.currency() {
        return Err(Refusal::MixedCurrency);
    }
    if request.amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    if request.today < original.date {
        return Err(Refusal::BeforeOriginal);
    }
    Ok(())
}

/// Whether the original is in a state for the action.
fn check_state(original: &Original, request: &Request) -> Result<(), Refusal> {
    let action = request.action;
    if action == Action::Completion && original.kind != PaymentKind::PreAuthorization {
        return Err(Refusal::NotAHold);
    }
    match (original.state, action) {
        (PaymentState::NeverApproved, _) => return Err(Refusal::NeverApproved),
        (PaymentState::Voided, _) => return Err(Refusal::AlreadyVoided),
        (PaymentState::Reversed, _) => return Err(Refusal::AlreadyReversed),
        (PaymentState::Disputed, _) => return Err(Refusal::Disputed),
        (PaymentState::InDoubt, Action::Reversal) => {}
        (PaymentState::InDoubt, _) => return Err(Refusal::InDoubt),
        (_, Action::Reversal) => return Err(Refusal::NotInDoubt),
        (PaymentState::Refunded, _) => return Err(Refusal::AlreadyRefunded),
        (PaymentState::Held, Action::Refund) => return Err(Refusal::NotCaptured),
        (PaymentState::Held, Action::Void | Action::Completion) => {}
        (PaymentState::Captured | PaymentState::PartlyRefunded, _) => {
            if original.kind == PaymentKind::PreAuthorization {
                return Err(Refusal::AlreadyCompleted);
            }
        }
    }
    match original.pending {
        Some(action) => Err(Refusal::Pending { action }),
        None => Ok(()),
    }
}

/// Whether what paid is at hand; an error if something else is.
fn check_card(original: &Original, request: &Request) -> Result<bool, Refusal> {
    if original.paid_by == PaidBy::Qr || request.action == Action::Reversal {
        return Ok(true);
    }
    match (request.card, original.paid_by) {
        (CardMatch::Same | CardMatch::ParSame, _) => Ok(true),
        (CardMatch::NotPresented, _) => Ok(false),
        (CardMatch::Different, PaidBy::Phone) => Err(Refusal::PresentPhone),
        (CardMatch::Different | CardMatch::ParDifferent, _) => Err(Refusal::WrongCard),
    }
}

fn check_void(
    policy: &Policy,
    original: &Original,
    request: &Request,
) -> Result<(PaymentKind, Amount), Refusal> {
    let kind = original.kind.void().ok_or(Refusal::NotAPayment)?;
    let counted = original.refunds.counted().map_err(|_| Refusal::Overflow)?;
    if !counted.is_zero() || original.state == PaymentState::PartlyRefunded {
        return Err(Refusal::RefundsStand);
    }
    check_void_window(policy, original, request)?;
    check_whole(original, request)?;
    Ok((kind, Amount::zero(original.amount.currency())))
}

/// Same batch, same clearing day, same terminal. A hold is in no batch: it can be given up at
/// any time and at any of the merchant's terminals.
fn check_void_window(
    policy: &Policy,
    original: &Original,
    request: &Request,
) -> Result<(), Refusal> {
    if original.state == PaymentState::Held {
        return Ok(());
    }
    let other_day = original
        .clearing
        .is_some_and(|clearing| clearing != request.clearing);
    if original.batch == BatchState::Settled || other_day {
        return Err(Refusal::BatchSettled);
    }
    if policy.void_at_original_terminal && request.terminal != original.terminal {
        return Err(Refusal::OtherTerminal);
    }
    Ok(())
}

fn check_refund(
    policy: &Policy,
    original: &Original,
    request: &Request,
) -> Result<(PaymentKind, Amount), Refusal> {
    let kind = original.kind.refund().ok_or(Refusal::NotCaptured)?;
    let refunds = original.refunds;
    let counted = refunds.counted().map_err(|_| Refusal::Overflow)?;
    let open = refunds.open().map_err(|_| Refusal::Overflow)?;
    let left = original
        .amount
        .checked_sub(counted)
        .map_err(|_| Refusal::Overflow)?;
    if is_late(original.date, policy.refund_days, request.today) {
        let last = last_day(original.date, policy.refund_days);
        return Err(Refusal::WindowOver { last });
    }
    let rest = left
        .checked_sub(request.amount)
        .map_err(|_| Refusal::TotalExceeded { left, open })?;
    let whole = original.amount;
    if !policy.partial && request.amount != whole {
        return Err(Refusal::PartialNotAllowed { whole });
    }
    if refunds.count >= policy.max_refunds {
        let most = policy.max_refunds;
        return Err(Refusal::TooManyRefunds { most });
    }
    if policy.void_first
        && request.amount == whole
        && check_void_window(policy, original, request).is_ok()
    {
        return Err(Refusal::VoidInstead);
    }
    Ok((kind, rest))
}

fn check_reversal(
    original: &Original,
    request: &Request,
) -> Result<(PaymentKind, Amount), Refusal> {
    check_whole(original, request)?;
    Ok((
        PaymentKind::Reversal,
        Amount::zero(original.amount.currency()),
    ))
}

fn check_completion(
    policy: &Policy,
    original: &Original,
    request: &Request,
) -> Result<(PaymentKind, Amount), Refusal> {
    if is_late(original.date, policy.completion_days, request.today) {
        let last = last_day(original.date, policy.completion_days);
        return Err(Refusal::CompletionWindowOver { last });
    }
    let currency = original.amount.currency();
    let most = original
        .amount
        .percent(policy.completion_percent)
        .or_else(|_| Amount::new(AMOUNT_MAX, currency))
        .map_err(|_| Refusal::Overflow)?;
    if request.amount.minor() > most.minor() {
        return Err(Refusal::CompletionTooLarge { most });
    }
    Ok((PaymentKind::Completion, Amount::zero(currency)))
}

fn check_whole(original: &Original, request: &Request) -> Result<(), Refusal> {
    let whole = original.amount;
    if request.amount == whole {
        Ok(())
    } else {
        Err(Refusal::NotWhole { whole })
    }
}

/// Whether more than `days` days have passed since `start`.
fn is_late(start: Date, days: u32, today: Date) -> bool {
    today.days_since(start).is_none_or(|passed| passed > days)
}

/// For the refusal's text; the calendar's end is beyond any window.
fn last_day(start: Date, days: u32) -> Date {
    start.plus_days(days).unwrap_or(start)
}
