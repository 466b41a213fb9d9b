//! Why a request was refused, and what the clerk can do about it.
#![forbid(unsafe_code)]

use core::fmt;

use super::request::{Action, Authority};
use crate::payment::{Amount, Date};

/// The one reason for which a request was refused. `Display` says what is wrong,
/// [`Refusal::advice`] what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The refund number was used for something else.
    NumberReused,
    /// The request names no payment that the ledger knows.
    NoOriginal,
    /// The original is itself a refund.
    RefundOfRefund,
    /// The original is a void or a reversal.
    NotAPayment,
    /// The original was paid to another merchant.
    OtherMerchant,
    /// The request is in another currency than the original.
    MixedCurrency,
    /// The request is for nothing.
    ZeroAmount,
    /// Today is before the day of the original.
    BeforeOriginal,
    /// The original was declined: no money was taken.
    NeverApproved,
    /// Nobody knows yet whether the original took money.
    InDoubt,
    /// The original was voided.
    AlreadyVoided,
    /// The original was reversed.
    AlreadyReversed,
    /// The original was given back as a whole.
    AlreadyRefunded,
    /// The cardholder disputes the original: the issuer may give the money back.
    Disputed,
    /// The original only holds the amount: no money was taken.
    NotCaptured,
    /// The pre-authorization was completed.
    AlreadyCompleted,
    /// The original is no pre-authorization.
    NotAHold,
    /// The outcome of the original is known.
    NotInDoubt,
    /// Another request for the whole original has no outcome yet.
    Pending {
        /// What was requested.
        action: Action,
    },
    /// Another card than the one that paid.
    WrongCard,
    /// A card was presented, but a phone paid.
    PresentPhone,
    /// A void or reversal is for the whole amount only.
    NotWhole {
        /// The whole amount.
        whole: Amount,
    },
    /// Refunds of the original were made or are under way: it can no longer be voided.
    RefundsStand,
    /// The batch is settled or the clearing day is over: it can no longer be voided.
    BatchSettled,
    /// The void was asked for at another terminal.
    OtherTerminal,
    /// The original can still be voided as a whole.
    VoidInstead,
    /// It is too late for a refund.
    WindowOver {
        /// The last day on which one could be asked for.
        last: Date,
    },
    /// Only the whole amount can be refunded.
    PartialNotAllowed {
        /// The whole amount.
        whole: Amount,
    },
    /// The original has as many refunds as are allowed.
    TooManyRefunds {
        /// How many are allowed.
        most: u32,
    },
    /// With this refund, more than the original would be given back.
    TotalExceeded {
        /// What is left to refund.
        left: Amount,
        /// What is requested or in doubt, and would be left again if it failed.
        open: Amount,
    },
    /// It is too late for a completion.
    CompletionWindowOver {
        /// The last day on which it was possible.
        last: Date,
    },
    /// The completion is too large for the amount held.
    CompletionTooLarge {
        /// The largest completion.
        most: Amount,
    },
    /// The sums recorded for the original are no amounts.
    Overflow,
    /// Who asks may not.
    Authority {
        /// Who may.
        needed: Authority,
    },
}

impl Refusal {
    /// What the clerk can do, in one sentence.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NumberReused => "Use a new refund number; keep this one for retries only.",
            Self::NoOriginal => {
                "Find the payment by its voucher, reference or order number, token or card."
            }
            Self::RefundOfRefund => "Take a new payment; a refund cannot be given back.",
            Self::NotAPayment => "Find the payment itself; voids and reversals move no money.",
            Self::OtherMerchant => "Send the customer to the merchant named on the receipt.",
            Self::MixedCurrency => "Enter the amount in the currency of the payment.",
            Self::ZeroAmount => "Enter an amount above zero.",
            Self::BeforeOriginal => "Set the terminal's date, then ask again.",
            Self::NeverApproved => "Nothing to give back; show the customer the declined receipt.",
            Self::InDoubt => "Inquire for the outcome, or reverse the payment; do not refund it.",
            Self::AlreadyVoided => "Nothing to do; print the void's receipt again.",
            Self::AlreadyReversed => "Nothing to do; show the customer the reversal.",
            Self::AlreadyRefunded => "Nothing to do; print the refunds' receipts again.",
            Self::Disputed => "Answer the dispute; the issuer gives the money back, not the shop.",
            Self::NotCaptured => "Void the pre-authorization, or complete it for less.",
            Self::AlreadyCompleted => "Find the completion and void or refund that.",
            Self::NotAHold => "Find the pre-authorization; only that can be completed.",
            Self::NotInDoubt => "Void the payment, or refund it once its batch is settled.",
            Self::Pending { .. } => "Inquire for the outcome of that request first.",
            Self::WrongCard => {
                "Present the card that paid; without it, refund to that card by its token."
            }
            Self::PresentPhone => "Present the phone or watch that paid, not the plastic card.",
            Self::NotWhole { .. } => "Ask for the whole amount; give a part back by a refund.",
            Self::RefundsStand => "Refund what is left instead of voiding.",
            Self::BatchSettled => "Refund the payment instead of voiding it.",
            Self::OtherTerminal => "Void at the terminal named on the receipt.",
            Self::VoidInstead => "Void the payment; its batch is still open.",
            Self::WindowOver { .. } => "Ask the acquirer; give the money back in another way.",
            Self::PartialNotAllowed { .. } => "Refund the whole amount.",
            Self::TooManyRefunds { .. } => "Ask the acquirer for the rest.",
            Self::TotalExceeded { open, .. } => {
                if open.is_zero() {
                    "Refund at most what is left."
                } else {
                    "Refund at most what is left, or inquire for the open refunds first."
                }
            }
            Self::CompletionWindowOver { .. } => "Take a new payment; the hold has run out.",
            Self::CompletionTooLarge { .. } => {
                "Complete at most the amount named, and take the rest as a new payment."
            }
            Self::Overflow => "Call the acquirer: the payment's record does not add up.",
            Self::Authority { needed } => match needed {
                Authority::Clerk => "A clerk has to confirm.",
                Authority::Supervisor => "A supervisor has to confirm.",
                Authority::HostOperator => "Call the acquirer: its operator has to confirm.",
            },
        }
    }

    /// The reason's name in records and interfaces, such as `total-exceeded`. Never changes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NumberReused => "number-reused",
            Self::NoOriginal => "no-original",
            Self::RefundOfRefund => "refund-of-refund",
            Self::NotAPayment => "not-a-payment",
            Self::OtherMerchant => "other-merchant",
            Self::MixedCurrency => "mixed-currency",
            Self::ZeroAmount => "zero-amount",
            Self::BeforeOriginal => "before-original",
            Self::NeverApproved => "never-approved",
            Self::InDoubt => "in-doubt",
            Self::AlreadyVoided => "already-voided",
            Self::AlreadyReversed => "already-reversed",
            Self::AlreadyRefunded => "already-refunded",
            Self::Disputed => "disputed",
            Self::NotCaptured => "not-captured",
            Self::AlreadyCompleted => "already-completed",
            Self::NotAHold => "not-a-hold",
            Self::NotInDoubt => "not-in-doubt",
            Self::Pending { .. } => "pending",
            Self::WrongCard => "wrong-card",
            Self::PresentPhone => "present-phone",
            Self::NotWhole { .. } => "not-whole",
            Self::RefundsStand => "refunds-stand",
            Self::BatchSettled => "batch-settled",
            Self::OtherTerminal => "other-terminal",
            Self::VoidInstead => "void-instead",
            Self::WindowOver { .. } => "window-over",
            Self::PartialNotAllowed { .. } => "partial-not-allowed",
            Self::TooManyRefunds { .. } => "too-many-refunds",
            Self::TotalExceeded { .. } => "total-exceeded",
            Self::CompletionWindowOver { .. } => "completion-window-over",
            Self::CompletionTooLarge { .. } => "completion-too-large",
            Self::Overflow => "overflow",
            Self::Authority { .. } => "authority",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NumberReused => f.write_str("the refund number was used for something else"),
            Self::NoOriginal => f.write_str("no such payment is known"),
            Self::RefundOfRefund => f.write_str("the original is itself a refund"),
            Self::NotAPayment => f.write_str("the original is a void or a reversal"),
            Self::OtherMerchant => f.write_str("paid to another merchant"),
            Self::MixedCurrency => f.write_str("not the currency of the payment"),
            Self::ZeroAmount => f.write_str("the amount is zero"),
            Self::BeforeOriginal => f.write_str("today is before the day of the payment"),
            Self::NeverApproved => f.write_str("the payment was never approved"),
            Self::InDoubt => f.write_str("the outcome of the payment is unknown"),
            Self::AlreadyVoided => f.write_str("already voided"),
            Self::AlreadyReversed => f.write_str("already reversed"),
            Self::AlreadyRefunded => f.write_str("already refunded in full"),
            Self::Disputed => f.write_str("the cardholder disputes the payment"),
            Self::NotCaptured => f.write_str("the amount is only held"),
            Self::AlreadyCompleted => f.write_str("the pre-authorization is completed"),
            Self::NotAHold => f.write_str("the payment is no pre-authorization"),
            Self::NotInDoubt => f.write_str("the outcome of the payment is known"),
            Self::Pending { action } => write!(f, "a {action} of the payment is under way"),
            Self::WrongCard => f.write_str("not the card that paid"),
            Self::PresentPhone => f.write_str("a phone paid, not this card"),
            Self::NotWhole { whole } => write!(f, "only the whole amount, {whole}"),
            Self::RefundsStand => f.write_str("refunds were made or are under way"),
            Self::BatchSettled => f.write_str("too late for a void: the batch is settled"),
            Self::OtherTerminal => f.write_str("paid at another terminal"),
            Self::VoidInstead => f.write_str("the payment can still be voided"),
            Self::WindowOver { last } => write!(f, "refunds ended on {last}"),
            Self::PartialNotAllowed { whole } => {
                write!(f, "no partial refunds, only the whole amount, {whole}")
            }
            Self::TooManyRefunds { most } => write!(f, "no more than {most} refunds"),
            Self::TotalExceeded { left, open } if open.is_zero() => {
                write!(f, "more than is left: {left}")
            }
            Self::TotalExceeded { left, open } => {
                write!(f, "more than is left: {left}, with {open} still open")
            }
            Self::CompletionWindowOver { last } => write!(f, "completions ended on {last}"),
            Self::CompletionTooLarge { most } => write!(f, "completions are at most {most}"),
            Self::Overflow => f.write_str("the recorded sums are no amounts"),
            Self::Authority { needed } => write!(f, "needs a {needed}"),
        }
    }
}

impl core::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Currency;

    /// Every reason once, in the order of the enum.
    fn all() -> Vec<Refusal> {
        let whole = Amount::new(1234, Currency::CNY).unwrap();
        let nothing = Amount::zero(Currency::CNY);
        let last = Date::new(2026, 12, 31).unwrap();
        vec![
            Refusal::NumberReused,
            Refusal::NoOriginal,
            Refusal::RefundOfRefund,
            Refusal::NotAPayment,
            Refusal::OtherMerchant,
            Refusal::MixedCurrency,
            Refusal::ZeroAmount,
            Refusal::BeforeOriginal,
            Refusal::NeverApproved,
            Refusal::InDoubt,
            Refusal::AlreadyVoided,
            Refusal::AlreadyReversed,
            Refusal::AlreadyRefunded,
            Refusal::Disputed,
            Refusal::NotCaptured,
            Refusal::AlreadyCompleted,
            Refusal::NotAHold,
            Refusal::NotInDoubt,
            Refusal::Pending {
                action: Action::Void,
            },
            Refusal::WrongCard,
            Refusal::PresentPhone,
            Refusal::NotWhole { whole },
            Refusal::RefundsStand,
            Refusal::BatchSettled,
            Refusal::OtherTerminal,
            Refusal::VoidInstead,
            Refusal::WindowOver { last },
            Refusal::PartialNotAllowed { whole },
            Refusal::TooManyRefunds { most: 50 },
            Refusal::TotalExceeded {
                left: whole,
                open: nothing,
            },
            Refusal::CompletionWindowOver { last },
            Refusal::CompletionTooLarge { most: whole },
            Refusal::Overflow,
            Refusal::Authority {
                needed: Authority::Supervisor,
            },
        ]
    }

    #[test]
    fn every_reason_is_its_own_and_has_advice() {
        let distinct = |texts: Vec<String>| {
            let all: std::collections::BTreeSet<_> = texts.iter().cloned().collect();
            assert_eq!(all.len(), texts.len());
        };
        distinct(
            all()
                .iter()
                .map(|refusal| refusal.name().to_owned())
                .collect(),
        );
        distinct(all().iter().map(ToString::to_string).collect());
        distinct(
            all()
                .iter()
                .map(|refusal| refusal.advice().to_owned())
                .collect(),
        );
        for refusal in all() {
            let advice = refusal.advice();
            assert!(advice.is_ascii() && advice.ends_with('.'), "{advice}");
            assert!(advice.starts_with(|first: char| first.is_ascii_uppercase()));
            let name = refusal.name();
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            );
            let text = refusal.to_string();
            assert!(!text.ends_with('.') && text.is_ascii(), "{text}");
        }
    }

    #[test]
    fn the_manual_lists_every_reason_with_its_advice() {
        let manual = include_str!("../manual/ledger.md");
        for refusal in all() {
            let (name, advice) = (refusal.name(), refusal.advice());
            let told = manual.lines().any(|line| {
                line.starts_with(&format!("| `{name}` |"))
                    && line.ends_with(&format!("| {advice} |"))
            });
            assert!(told, "{name}: {advice}");
        }
    }

    #[test]
    fn tells_what_is_left() {
        let left = Amount::new(1234, Currency::CNY).unwrap();
        let refusal = |open| Refusal::TotalExceeded { left, open };
        let done = refusal(Amount::zero(Currency::CNY));
        assert_eq!(done.to_string(), "more than is left: 12.34 CNY");
        assert_eq!(done.advice(), "Refund at most what is left.");
        assert!(refusal(left).advice().contains("inquire"));
    }
}
