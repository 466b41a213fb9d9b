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
/// ```compile_fail,E0599
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{AMOUNT_MAX, ClearingDate, Currency};
    use crate::refund::RefundTotals;

    fn cny(minor: u64) -> Amount {
        Amount::new(minor, Currency::CNY).unwrap()
    }

    fn date(text: &str) -> Date {
        Date::parse(text.as_bytes()).unwrap()
    }

    /// 100.00 yuan, sold with a card on 31 December, its batch settled.
    fn original() -> Original {
        Original {
            kind: PaymentKind::Sale,
            state: PaymentState::Captured,
            amount: cny(10_000),
            refunds: RefundTotals::none(cny(10_000)),
            pending: None,
            merchant: "M1".parse().unwrap(),
            terminal: "T1".parse().unwrap(),
            batch: BatchState::Settled,
            clearing: Some(ClearingDate(date("20261231"))),
            date: date("20261231"),
            paid_by: PaidBy::Card,
        }
    }

    /// All of it back, on the next day, with the card and a supervisor.
    fn request(action: Action) -> Request {
        Request {
            action,
            amount: cny(10_000),
            number: "R1".parse().unwrap(),
            merchant: "M1".parse().unwrap(),
            terminal: "T1".parse().unwrap(),
            card: CardMatch::Same,
            authority: Authority::Supervisor,
            today: date("20270101"),
            clearing: ClearingDate(date("20270101")),
        }
    }

    const POLICY: Policy = Policy::UNIONPAY_CARD_PRESENT;

    fn ask(original: &Original, request: &Request) -> Result<Approved, Refusal> {
        ask_under(&POLICY, original, request)
    }

    fn ask_under(
        policy: &Policy,
        original: &Original,
        request: &Request,
    ) -> Result<Approved, Refusal> {
        match decide(policy, Some(original), request, None)? {
            Decision::Approved(approved) => Ok(approved),
            Decision::Repeat(_) => panic!("nothing was asked before"),
        }
    }

    fn refused(original: &Original, request: &Request) -> Refusal {
        ask(original, request).expect_err("refused")
    }

    /// The payment of the kind in its open batch, on the day.
    fn same_day(kind: PaymentKind, state: PaymentState) -> (Original, Request) {
        let original = Original {
            kind,
            state,
            batch: BatchState::Open,
            ..original()
        };
        let request = Request {
            today: original.date,
            clearing: original.clearing.unwrap(),
            ..request(Action::Void)
        };
        (original, request)
    }

    /// Every kind in every state, asked for every action: as one letter for each.
    #[test]
    fn every_kind_state_and_action() {
        use PaymentKind as Kind;
        // Rows: kinds. Columns: held, captured, voided, reversed, partly refunded, refunded,
        // disputed, in doubt, never approved. + approved; C not captured, M completed, V voided,
        // R reversed, F refunded, D disputed, I in doubt, N never approved, S refunds stand,
        // H no hold, K known, E refund of a refund, P no payment, B the batch.
        let table = |action: Action, kind: Kind| match (action, kind) {
            (_, Kind::Refund | Kind::QrRefund) => "EEEEEEEEE",
            (_, Kind::SaleVoid | Kind::PreAuthorizationVoid | Kind::CompletionVoid) => "PPPPPPPPP",
            (_, Kind::Reversal | Kind::QrVoid) => "PPPPPPPPP",
            (Action::Void, Kind::PreAuthorization) => "+MVRMFDIN",
            (Action::Void, _) => "++VRSFDIN",
            (Action::Refund, Kind::PreAuthorization) => "CMVRMFDIN",
            (Action::Refund, _) => "C+VR+FDIN",
            (Action::Reversal, _) => "KKVRKKD+N",
            (Action::Completion, Kind::PreAuthorization) => "+MVRMFDIN",
            (Action::Completion, _) => "HHHHHHHHH",
        };
        for action in Action::ALL {
            for kind in Kind::ALL {
                for (column, state) in PaymentState::ALL.into_iter().enumerate() {
                    let (mut original, mut asked) = same_day(kind, state);
                    asked.action = action;
                    if action == Action::Refund {
                        original.batch = BatchState::Settled;
                    }
                    let letter = match ask(&original, &asked) {
                        Ok(_) => '+',
                        Err(Refusal::NotCaptured) => 'C',
                        Err(Refusal::AlreadyCompleted) => 'M',
                        Err(Refusal::AlreadyVoided) => 'V',
                        Err(Refusal::AlreadyReversed) => 'R',
                        Err(Refusal::AlreadyRefunded) => 'F',
                        Err(Refusal::Disputed) => 'D',
                        Err(Refusal::InDoubt) => 'I',
                        Err(Refusal::NeverApproved) => 'N',
                        Err(Refusal::RefundsStand) => 'S',
                        Err(Refusal::NotAHold) => 'H',
                        Err(Refusal::NotInDoubt) => 'K',
                        Err(Refusal::RefundOfRefund) => 'E',
                        Err(Refusal::NotAPayment) => 'P',
                        Err(other) => panic!("{action} of {kind} {state}: {other}"),
                    };
                    let expected = table(action, kind).chars().nth(column).unwrap();
                    assert_eq!(letter, expected, "{action} of {kind}, {state}");
                }
            }
        }
    }

    #[test]
    fn what_is_approved() {
        let approved = ask(
            &original(),
            &Request {
                amount: cny(2_500),
                ..request(Action::Refund)
            },
        )
        .unwrap();
        assert_eq!(approved.action(), Action::Refund);
        assert_eq!(approved.kind(), PaymentKind::Refund);
        assert_eq!(
            (approved.amount(), approved.left()),
            (cny(2_500), cny(7_500))
        );
        assert_eq!(approved.number().as_str(), "R1");
        assert_eq!(approved.authority(), Authority::Supervisor);
        assert!(!approved.resubmitted());
        for (kind, void) in [
            (PaymentKind::Sale, PaymentKind::SaleVoid),
            (PaymentKind::Completion, PaymentKind::CompletionVoid),
            (PaymentKind::QrPayment, PaymentKind::QrVoid),
        ] {
            let (original, request) = same_day(kind, PaymentState::Captured);
            let approved = ask(&original, &request).unwrap();
            assert_eq!((approved.kind(), approved.left()), (void, cny(0)));
        }
    }

    #[test]
    fn one_reason_each() {
        let refund = request(Action::Refund);
        let sale = original();
        let other = |change: fn(&mut Request)| {
            let mut request = refund;
            change(&mut request);
            refused(&sale, &request)
        };
        let merchant = other(|request| request.merchant = "M2".parse().unwrap());
        assert_eq!(merchant, Refusal::OtherMerchant);
        let usd = other(|request| request.amount = Amount::new(1, Currency::USD).unwrap());
        assert_eq!(usd, Refusal::MixedCurrency);
        assert_eq!(
            other(|request| request.amount = cny(0)),
            Refusal::ZeroAmount
        );
        let before = other(|request| request.today = date("20261230"));
        assert_eq!(before, Refusal::BeforeOriginal);
        let wrong = other(|request| request.card = CardMatch::Different);
        assert_eq!(wrong, Refusal::WrongCard);
        let account = other(|request| request.card = CardMatch::ParDifferent);
        assert_eq!(account, Refusal::WrongCard);
        let clerk = other(|request| request.authority = Authority::Clerk);
        let needed = Authority::Supervisor;
        assert_eq!(clerk, Refusal::Authority { needed });
        for action in Action::ALL {
            let pending = Original {
                pending: Some(action),
                ..sale
            };
            assert_eq!(refused(&pending, &refund), Refusal::Pending { action });
        }
        let unknown = decide(&POLICY, None, &refund, None);
        assert_eq!(unknown.expect_err("refused"), Refusal::NoOriginal);
    }

    #[test]
    fn a_phone_is_compared_by_its_account() {
        use CardMatch::{Different, NotPresented, ParDifferent, ParSame, Same};
        for (paid_by, card, expected) in [
            (PaidBy::Card, Same, None),
            (PaidBy::Card, ParSame, None),
            (PaidBy::Card, NotPresented, None),
            (PaidBy::Card, Different, Some(Refusal::WrongCard)),
            (PaidBy::Card, ParDifferent, Some(Refusal::WrongCard)),
            (PaidBy::Phone, Same, None),
            (PaidBy::Phone, ParSame, None),
            (PaidBy::Phone, NotPresented, None),
            (PaidBy::Phone, Different, Some(Refusal::PresentPhone)),
            (PaidBy::Phone, ParDifferent, Some(Refusal::WrongCard)),
            (PaidBy::Qr, Same, None),
            (PaidBy::Qr, ParSame, None),
            (PaidBy::Qr, NotPresented, None),
            (PaidBy::Qr, Different, None),
            (PaidBy::Qr, ParDifferent, None),
        ] {
            let original = Original {
                paid_by,
                ..original()
            };
            let request = Request {
                card,
                ..request(Action::Refund)
            };
            let found = ask(&original, &request).err();
            assert_eq!(found, expected, "{paid_by:?} {card:?}");
        }
    }

    /// Every action, with and without the card, under a policy that names each level.
    #[test]
    fn authority() {
        for level in Authority::ALL {
            for without in Authority::ALL {
                let policy = Policy {
                    void_by: level,
                    refund_by: level,
                    reversal_by: level,
                    completion_by: level,
                    without_card_by: without,
                    ..POLICY
                };
                let hold = same_day(PaymentKind::PreAuthorization, PaymentState::Held);
                let sale = same_day(PaymentKind::Sale, PaymentState::Captured);
                let doubt = same_day(PaymentKind::Sale, PaymentState::InDoubt);
                for (action, (original, request)) in [
                    (Action::Void, sale),
                    (
                        Action::Refund,
                        (super::tests::original(), request(Action::Refund)),
                    ),
                    (Action::Reversal, doubt),
                    (Action::Completion, hold),
                ] {
                    for card in [CardMatch::Same, CardMatch::NotPresented] {
                        let needed = match card {
                            CardMatch::NotPresented if action != Action::Reversal => {
                                level.max(without)
                            }
                            _ => level,
                        };
                        for authority in Authority::ALL {
                            let request = Request {
                                action,
                                card,
                                authority,
                                ..request
                            };
                            let found = ask_under(&policy, &original, &request).err();
                            let refusal = Refusal::Authority { needed };
                            let expected = (authority < needed).then_some(refusal);
                            assert_eq!(found, expected, "{action} {card:?} {authority}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn voids() {
        let (original, void) = same_day(PaymentKind::Sale, PaymentState::Captured);
        let settled = Original {
            batch: BatchState::Settled,
            ..original
        };
        assert_eq!(refused(&settled, &void), Refusal::BatchSettled);
        // The batch stays open over midnight, the clearing day does not.
        let midnight = Request {
            today: date("20270101"),
            ..void
        };
        assert!(ask(&original, &midnight).is_ok());
        let next_day = Request {
            clearing: ClearingDate(date("20270101")),
            ..void
        };
        assert_eq!(refused(&original, &next_day), Refusal::BatchSettled);
        let elsewhere = Request {
            terminal: "T2".parse().unwrap(),
            ..void
        };
        assert_eq!(refused(&original, &elsewhere), Refusal::OtherTerminal);
        let qr = ask_under(&Policy::QR_WALLET, &original, &elsewhere);
        assert!(qr.is_ok());
        let part = Request {
            amount: cny(9_999),
            ..void
        };
        let whole = cny(10_000);
        assert_eq!(refused(&original, &part), Refusal::NotWhole { whole });
        for status in [
            RefundStatus::Requested,
            RefundStatus::Accepted,
            RefundStatus::InDoubt,
        ] {
            let mut refunded = original;
            refunded.refunds = refunded.refunds.with(cny(1), status).unwrap();
            assert_eq!(refused(&refunded, &void), Refusal::RefundsStand);
        }
        // A hold is given up at any time, anywhere in the shop.
        let hold = Original {
            kind: PaymentKind::PreAuthorization,
            state: PaymentState::Held,
            ..settled
        };
        let approved = ask(&hold, &Request { ..elsewhere }).unwrap();
        assert_eq!(approved.kind(), PaymentKind::PreAuthorizationVoid);
    }

    #[test]
    fn an_open_batch_is_voided_first() {
        let (original, mut request) = same_day(PaymentKind::Sale, PaymentState::Captured);
        request.action = Action::Refund;
        assert_eq!(refused(&original, &request), Refusal::VoidInstead);
        let policy = Policy {
            void_first: false,
            ..POLICY
        };
        assert!(ask_under(&policy, &original, &request).is_ok());
        // What could not be voided is refunded.
        let part = Request {
            amount: cny(1),
            ..request
        };
        assert!(ask(&original, &part).is_ok());
        let elsewhere = Request {
            terminal: "T2".parse().unwrap(),
            ..request
        };
        assert!(ask(&original, &elsewhere).is_ok());
        let unknown = Original {
            clearing: None,
            ..original
        };
        assert_eq!(refused(&unknown, &request), Refusal::VoidInstead);
    }

    #[test]
    fn the_total_counts_what_may_have_happened() {
        let mut sale = original();
        sale.refunds = sale
            .refunds
            .with(cny(4_000), RefundStatus::Accepted)
            .unwrap();
        sale.refunds = sale
            .refunds
            .with(cny(3_000), RefundStatus::Requested)
            .unwrap();
        sale.refunds = sale
            .refunds
            .with(cny(2_000), RefundStatus::InDoubt)
            .unwrap();
        sale.state = PaymentState::PartlyRefunded;
        let refund = |minor| Request {
            amount: cny(minor),
            ..request(Action::Refund)
        };
        assert_eq!(ask(&sale, &refund(1_000)).unwrap().left(), cny(0));
        let refusal = refused(&sale, &refund(1_001));
        let (left, open) = (cny(1_000), cny(5_000));
        assert_eq!(refusal, Refusal::TotalExceeded { left, open });
        assert_eq!(
            refusal.to_string(),
            "more than is left: 10.00 CNY, with 50.00 CNY still open"
        );
        // Sums that no ledger of ours writes.
        for (accepted, in_doubt) in [
            (cny(10_001), cny(0)),
            (cny(AMOUNT_MAX), cny(1)),
            (cny(AMOUNT_MAX), cny(AMOUNT_MAX)),
            (Amount::zero(Currency::USD), cny(1)),
        ] {
            let mut broken = original();
            broken.refunds.accepted = accepted;
            broken.refunds.in_doubt = in_doubt;
            assert_eq!(refused(&broken, &refund(1)), Refusal::Overflow);
        }
    }

    #[test]
    fn limits_of_the_policy() {
        let mut sale = original();
        for _ in 0..POLICY.max_refunds - 1 {
            sale.refunds = sale.refunds.with(cny(1), RefundStatus::Settled).unwrap();
        }
        let one = Request {
            amount: cny(1),
            ..request(Action::Refund)
        };
        assert!(ask(&sale, &one).is_ok());
        sale.refunds = sale.refunds.with(cny(1), RefundStatus::Failed).unwrap();
        assert!(ask(&sale, &one).is_ok());
        sale.refunds = sale.refunds.with(cny(1), RefundStatus::InDoubt).unwrap();
        let most = POLICY.max_refunds;
        assert_eq!(refused(&sale, &one), Refusal::TooManyRefunds { most });
        let policy = Policy {
            partial: false,
            ..POLICY
        };
        let whole = cny(10_000);
        let found = ask_under(&policy, &original(), &one).expect_err("refused");
        assert_eq!(found, Refusal::PartialNotAllowed { whole });
        assert!(ask_under(&policy, &original(), &request(Action::Refund)).is_ok());
    }

    #[test]
    fn windows_cross_years_and_leap_days() {
        let policy = |days| Policy {
            refund_days: days,
            completion_days: days,
            ..POLICY
        };
        for (paid, days, last, late) in [
            ("20261231", 1, "20270101", "20270102"),
            ("20261231", 0, "20261231", "20270101"),
            ("20280228", 1, "20280229", "20280301"),
            ("20270228", 1, "20270301", "20270302"),
            ("20280229", 365, "20290228", "20290301"),
            ("20280229", 366, "20290301", "20290302"),
            ("20260131", 330, "20261227", "20261228"),
        ] {
            let mut sale = original();
            sale.date = date(paid);
            let mut hold = sale;
            hold.kind = PaymentKind::PreAuthorization;
            hold.state = PaymentState::Held;
            let policy = policy(days);
            let at = |action, today| Request {
                today: date(today),
                ..request(action)
            };
            assert!(
                ask_under(&policy, &sale, &at(Action::Refund, last)).is_ok(),
                "{paid}"
            );
            assert!(ask_under(&policy, &hold, &at(Action::Completion, last)).is_ok());
            let refusal = ask_under(&policy, &sale, &at(Action::Refund, late));
            let last = date(last);
            assert_eq!(refusal.expect_err("late"), Refusal::WindowOver { last });
            let refusal = ask_under(&policy, &hold, &at(Action::Completion, late));
            assert_eq!(
                refusal.expect_err("late"),
                Refusal::CompletionWindowOver { last }
            );
        }
        let mut sale = original();
        sale.date = date("99991231");
        let today = date("99991231");
        let request = Request {
            today,
            ..request(Action::Refund)
        };
        assert!(ask_under(&policy(u32::MAX), &sale, &request).is_ok());
    }

    #[test]
    fn completions() {
        let (mut hold, mut request) = same_day(PaymentKind::PreAuthorization, PaymentState::Held);
        request.action = Action::Completion;
        for (minor, fits) in [(1, true), (10_000, true), (11_500, true), (11_501, false)] {
            request.amount = cny(minor);
            let found = ask(&hold, &request);
            let most = cny(11_500);
            let expected = (!fits).then_some(Refusal::CompletionTooLarge { most });
            assert_eq!(found.err(), expected, "{minor}");
        }
        hold.amount = cny(AMOUNT_MAX);
        hold.refunds = RefundTotals::none(hold.amount);
        request.amount = cny(AMOUNT_MAX);
        assert!(ask(&hold, &request).is_ok());
    }

    #[test]
    fn reversals() {
        let (original, mut reversal) = same_day(PaymentKind::Sale, PaymentState::InDoubt);
        reversal.action = Action::Reversal;
        reversal.card = CardMatch::NotPresented;
        reversal.authority = Authority::Clerk;
        let approved = ask(&original, &reversal).unwrap();
        assert_eq!(approved.kind(), PaymentKind::Reversal);
        reversal.amount = cny(1);
        let whole = cny(10_000);
        assert_eq!(refused(&original, &reversal), Refusal::NotWhole { whole });
    }

    #[test]
    fn one_number_is_done_once() {
        let asked = request(Action::Refund);
        let first = Earlier {
            action: Action::Refund,
            amount: asked.amount,
            same_original: true,
            status: RefundStatus::Requested,
        };
        // A retry gets the first answer, also when it could no longer be given.
        let refunded = Original {
            state: PaymentState::Refunded,
            ..original()
        };
        for status in RefundStatus::ALL {
            let earlier = Earlier { status, ..first };
            for known in [Some(&refunded), None] {
                let found = decide(&POLICY, known, &asked, Some(&earlier));
                match (status, known) {
                    (RefundStatus::Failed, Some(_)) => {
                        assert_eq!(found.expect_err("refused"), Refusal::AlreadyRefunded);
                    }
                    (RefundStatus::Failed, None) => {
                        assert_eq!(found.expect_err("refused"), Refusal::NoOriginal);
                    }
                    _ => assert!(matches!(found, Ok(Decision::Repeat(now)) if now == status)),
                }
            }
            let others = [
                Earlier {
                    action: Action::Void,
                    ..earlier
                },
                Earlier {
                    amount: cny(9_999),
                    ..earlier
                },
                Earlier {
                    same_original: false,
                    ..earlier
                },
            ];
            for other in others {
                let found = decide(&POLICY, Some(&original()), &asked, Some(&other));
                assert_eq!(found.expect_err("refused"), Refusal::NumberReused);
            }
        }
        let failed = Earlier {
            status: RefundStatus::Failed,
            ..first
        };
        let again = decide(&POLICY, Some(&original()), &asked, Some(&failed));
        assert!(matches!(again, Ok(Decision::Approved(approved)) if approved.resubmitted()));
    }

    #[test]
    fn presets() {
        let (sale, void) = same_day(PaymentKind::Sale, PaymentState::Captured);
        for policy in [
            Policy::UNIONPAY_CARD_PRESENT,
            Policy::QR_WALLET,
            Policy::CONSERVATIVE,
        ] {
            assert!(ask_under(&policy, &sale, &void).is_ok());
            assert!(ask_under(&policy, &original(), &request(Action::Refund)).is_ok());
            let clerk = Request {
                authority: Authority::Clerk,
                card: CardMatch::NotPresented,
                ..request(Action::Refund)
            };
            assert!(ask_under(&policy, &original(), &clerk).is_err());
        }
        assert_eq!(Policy::default(), Policy::CONSERVATIVE);
    }
}
