//! The states of a payment and what leads from one to another.
#![forbid(unsafe_code)]

use core::fmt;

use super::IllegalTransition;
use crate::payment::PaymentKind;

/// Where a sale, a pre-authorization, a completion or a QR payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaymentState {
    /// A pre-authorization was approved: the amount is held, nothing was taken.
    Held,
    /// The money was taken. Of a pre-authorization: its completion took it.
    Captured,
    /// Taken back as a whole before settlement.
    Voided,
    /// Undone because its outcome was unknown.
    Reversed,
    /// Part of the amount was given back.
    PartlyRefunded,
    /// The whole amount was given back.
    Refunded,
    /// The cardholder disputes it at the issuer, who may take the money back.
    Disputed,
    /// No answer came: the money may have been taken or not.
    InDoubt,
    /// The issuer declined, or never saw it.
    NeverApproved,
}

impl PaymentState {
    /// Every state, in the order of its codes.
    pub const ALL: [Self; 9] = [
        Self::Held,
        Self::Captured,
        Self::Voided,
        Self::Reversed,
        Self::PartlyRefunded,
        Self::Refunded,
        Self::Disputed,
        Self::InDoubt,
        Self::NeverApproved,
    ];

    /// The first state of a payment of `kind`: `answer` is whether it was approved, `None`
    /// while no answer came.
    #[must_use]
    pub const fn first(kind: PaymentKind, answer: Option<bool>) -> Self {
        match (answer, kind) {
            (Some(true), PaymentKind::PreAuthorization) => Self::Held,
            (Some(true), _) => Self::Captured,
            (Some(false), _) => Self::NeverApproved,
            (None, _) => Self::InDoubt,
        }
    }

    /// The state of a payment of `kind` after `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] if the event cannot follow, and for kinds that act on a payment
    /// instead of being one: those have a [`RefundStatus`](super::RefundStatus).
    pub const fn after(
        self,
        kind: PaymentKind,
        event: PaymentEvent,
    ) -> Result<Self, IllegalTransition> {
        use PaymentEvent as Event;
        if kind.has_original() && !matches!(kind, PaymentKind::Completion) {
            return Err(IllegalTransition);
        }
        let hold = matches!(kind, PaymentKind::PreAuthorization);
        let refundable = kind.refund().is_some();
        Ok(match (self, event) {
            (Self::InDoubt, Event::FoundApproved) => Self::first(kind, Some(true)),
            (Self::InDoubt, Event::FoundDeclined) => Self::NeverApproved,
            (Self::InDoubt, Event::Reversed) => Self::Reversed,
            // The terminal had no answer and reverses what the host had approved.
            (Self::Held, Event::Reversed) if hold => Self::Reversed,
            (Self::Captured, Event::Reversed) if !hold => Self::Reversed,
            (Self::Held, Event::Voided) if hold => Self::Voided,
            (Self::Captured, Event::Voided) if !hold => Self::Voided,
            (Self::Held, Event::Completed) if hold => Self::Captured,
            (Self::Captured, Event::CompletionUndone) if hold => Self::Held,
            (Self::Captured | Self::PartlyRefunded | Self::Refunded, Event::Refunds(level))
                if refundable =>
            {
                level.state()
            }
            // An answer to a refund that was sent before the dispute.
            (Self::Disputed, Event::Refunds(_)) if refundable => Self::Disputed,
            (Self::Captured | Self::PartlyRefunded | Self::Refunded, Event::Disputed)
                if refundable =>
            {
                Self::Disputed
            }
            (Self::Disputed, Event::DisputeWon(level)) if refundable => level.state(),
            (Self::Disputed, Event::DisputeLost) if refundable => Self::Refunded,
            _ => return Err(IllegalTransition),
        })
    }

    /// Whether money of the merchant's customer is with the merchant or may be.
    #[must_use]
    pub const fn may_hold_money(self) -> bool {
        matches!(
            self,
            Self::Held | Self::Captured | Self::PartlyRefunded | Self::Disputed | Self::InDoubt
        )
    }

    /// The state's code in byte formats, 1 to 9. Never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Held => 1,
            Self::Captured => 2,
            Self::Voided => 3,
            Self::Reversed => 4,
            Self::PartlyRefunded => 5,
            Self::Refunded => 6,
            Self::Disputed => 7,
            Self::InDoubt => 8,
            Self::NeverApproved => 9,
        }
    }

    /// The state of a code; `None` if no state has it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Reversed => "reversed",
            Self::PartlyRefunded => "partly refunded",
            Self::Refunded => "refunded",
            Self::Disputed => "disputed",
            Self::InDoubt => "in doubt",
            Self::NeverApproved => "never approved",
        }
    }
}

impl fmt::Display for PaymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happens to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PaymentEvent {
    /// An inquiry or a settlement file shows that it was approved.
    FoundApproved,
    /// An inquiry or a settlement file shows that it was declined or never seen.
    FoundDeclined,
    /// A reversal was accepted.
    Reversed,
    /// A void was accepted.
    Voided,
    /// The completion of this pre-authorization was accepted.
    Completed,
    /// That completion was voided or reversed: the amount is held again.
    CompletionUndone,
    /// The accepted refunds changed and now come to this much.
    Refunds(RefundLevel),
    /// The cardholder disputes it.
    Disputed,
    /// The dispute ended for the merchant; the accepted refunds come to this much.
    DisputeWon(RefundLevel),
    /// The dispute ended against the merchant: the issuer took the rest back.
    DisputeLost,
}

impl PaymentEvent {
    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FoundApproved => "found approved",
            Self::FoundDeclined => "found declined",
            Self::Reversed => "reversed",
            Self::Voided => "voided",
            Self::Completed => "completed",
            Self::CompletionUndone => "completion undone",
            Self::Refunds(RefundLevel::None) => "nothing refunded",
            Self::Refunds(RefundLevel::Part) => "refunded in part",
            Self::Refunds(RefundLevel::All) => "refunded in full",
            Self::Disputed => "disputed",
            Self::DisputeWon(_) => "dispute won",
            Self::DisputeLost => "dispute lost",
        }
    }
}

impl fmt::Display for PaymentEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much of a payment its accepted refunds give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefundLevel {
    /// Nothing.
    None,
    /// Some.
    Part,
    /// All.
    All,
}

impl RefundLevel {
    const fn state(self) -> PaymentState {
        match self {
            Self::None => PaymentState::Captured,
            Self::Part => PaymentState::PartlyRefunded,
            Self::All => PaymentState::Refunded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [PaymentEvent; 14] = [
        PaymentEvent::FoundApproved,
        PaymentEvent::FoundDeclined,
        PaymentEvent::Reversed,
        PaymentEvent::Voided,
        PaymentEvent::Completed,
        PaymentEvent::CompletionUndone,
        PaymentEvent::Refunds(RefundLevel::None),
        PaymentEvent::Refunds(RefundLevel::Part),
        PaymentEvent::Refunds(RefundLevel::All),
        PaymentEvent::Disputed,
        PaymentEvent::DisputeWon(RefundLevel::None),
        PaymentEvent::DisputeWon(RefundLevel::Part),
        PaymentEvent::DisputeWon(RefundLevel::All),
        PaymentEvent::DisputeLost,
    ];

    /// One row for each state, one letter for each event: the state that follows, or a dot.
    /// H held, C captured, V voided, R reversed, P partly refunded, F refunded, D disputed,
    /// I in doubt, N never approved.
    const TAKING: [(char, &str); 9] = [
        ('H', ".............."),
        ('C', "..RV..CPFD...."),
        ('V', ".............."),
        ('R', ".............."),
        ('P', "......CPFD...."),
        ('F', "......CPFD...."),
        ('D', "......DDD.CPFF"),
        ('I', "CNR..........."),
        ('N', ".............."),
    ];
    const HOLDING: [(char, &str); 9] = [
        ('H', "..RVC........."),
        ('C', ".....H........"),
        ('V', ".............."),
        ('R', ".............."),
        ('P', ".............."),
        ('F', ".............."),
        ('D', ".............."),
        ('I', "HNR..........."),
        ('N', ".............."),
    ];

    #[test]
    fn every_transition() {
        for kind in PaymentKind::ALL {
            let table = match kind {
                PaymentKind::Sale | PaymentKind::Completion | PaymentKind::QrPayment => {
                    Some(TAKING)
                }
                PaymentKind::PreAuthorization => Some(HOLDING),
                _ => None,
            };
            for (row, state) in PaymentState::ALL.into_iter().enumerate() {
                for (column, event) in EVENTS.into_iter().enumerate() {
                    let expected = table.and_then(|table| {
                        let (name, letters) = table[row];
                        assert_eq!(name, "HCVRPFDIN".chars().nth(row).unwrap());
                        let letter = letters.chars().nth(column).unwrap();
                        let next = "HCVRPFDIN".chars().position(|known| known == letter);
                        next.map(|next| PaymentState::ALL[next])
                    });
                    let found = state.after(kind, event).ok();
                    assert_eq!(found, expected, "{kind}: {state} after {event:?}");
                }
            }
        }
    }

    #[test]
    fn first_states() {
        use PaymentKind::{PreAuthorization, Sale};
        assert_eq!(
            PaymentState::first(Sale, Some(true)),
            PaymentState::Captured
        );
        assert_eq!(
            PaymentState::first(PreAuthorization, Some(true)),
            PaymentState::Held
        );
        assert_eq!(
            PaymentState::first(Sale, Some(false)),
            PaymentState::NeverApproved
        );
        assert_eq!(PaymentState::first(Sale, None), PaymentState::InDoubt);
    }

    #[test]
    fn codes() {
        for (code, state) in (1..).zip(PaymentState::ALL) {
            assert_eq!(state.code(), code);
            assert_eq!(PaymentState::from_code(code), Some(state));
        }
        assert_eq!(PaymentState::from_code(0), None);
        assert_eq!(PaymentState::from_code(10), None);
    }
}
