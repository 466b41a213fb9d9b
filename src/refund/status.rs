//! The status of a request to give money back, and what leads from one to another.
#![forbid(unsafe_code)]

use core::fmt;

use super::IllegalTransition;
use super::request::Action;

/// Where a void, a refund, a reversal or a completion stands. Acceptance of a refund is not yet
/// success: only [`RefundStatus::Settled`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefundStatus {
    /// Recorded, and sent or about to be.
    Requested,
    /// The centre took it on.
    Accepted,
    /// The money moved. The last status.
    Settled,
    /// It definitely did not happen. It may be submitted again under its number.
    Failed,
    /// No answer came: it may have happened or not.
    InDoubt,
}

impl RefundStatus {
    /// Every status, in the order of its codes.
    pub const ALL: [Self; 5] = [
        Self::Requested,
        Self::Accepted,
        Self::Settled,
        Self::Failed,
        Self::InDoubt,
    ];

    /// Whether the amount counts against the original: only a definite failure frees it.
    #[must_use]
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Failed)
    }

    /// Whether an outcome is still to come.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Settled | Self::Failed)
    }

    /// The status of a request for `action` after `event`. Acceptance is the outcome of a void,
    /// a reversal and a completion; a refund can fail after it.
    ///
    /// # Errors
    /// [`IllegalTransition`] if the event cannot follow.
    pub const fn after(
        self,
        action: Action,
        event: RefundEvent,
    ) -> Result<Self, IllegalTransition> {
        use RefundEvent as Event;
        Ok(match (self, event) {
            (Self::Requested | Self::InDoubt, Event::Accepted) => Self::Accepted,
            (Self::Requested, Event::NoAnswer) => Self::InDoubt,
            // A settlement file may know before the answer does.
            (Self::Requested | Self::InDoubt | Self::Accepted, Event::Settled) => Self::Settled,
            (Self::Requested | Self::InDoubt, Event::Failed) => Self::Failed,
            (Self::Accepted, Event::Failed) if matches!(action, Action::Refund) => Self::Failed,
            (Self::Failed, Event::Resubmitted) => Self::Requested,
            _ => return Err(IllegalTransition),
        })
    }

    /// The status's code in byte formats, 1 to 5. Never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Requested => 1,
            Self::Accepted => 2,
            Self::Settled => 3,
            Self::Failed => 4,
            Self::InDoubt => 5,
        }
    }

    /// The status of a code; `None` if no status has it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Accepted => "accepted",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::InDoubt => "in doubt",
        }
    }
}

impl fmt::Display for RefundStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefundEvent {
    /// The centre took it on.
    Accepted,
    /// The money moved.
    Settled,
    /// It was refused, or an inquiry shows that it never happened.
    Failed,
    /// No answer came in time.
    NoAnswer,
    /// It is sent again after a failure, under the same refund number.
    Resubmitted,
}

impl RefundEvent {
    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::NoAnswer => "no answer",
            Self::Resubmitted => "resubmitted",
        }
    }
}

impl fmt::Display for RefundEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition() {
        use RefundStatus::{Accepted, Failed, InDoubt, Requested, Settled};
        let events = [
            RefundEvent::Accepted,
            RefundEvent::Settled,
            RefundEvent::Failed,
            RefundEvent::NoAnswer,
            RefundEvent::Resubmitted,
        ];
        let table = [
            (
                Requested,
                [
                    Some(Accepted),
                    Some(Settled),
                    Some(Failed),
                    Some(InDoubt),
                    None,
                ],
            ),
            (Accepted, [None, Some(Settled), Some(Failed), None, None]),
            (Settled, [None; 5]),
            (Failed, [None, None, None, None, Some(Requested)]),
            (
                InDoubt,
                [Some(Accepted), Some(Settled), Some(Failed), None, None],
            ),
        ];
        for action in Action::ALL {
            for (status, row) in table {
                for (event, expected) in events.into_iter().zip(row) {
                    let final_once_accepted = status == Accepted && action != Action::Refund;
                    let expected = expected.filter(|&next| !final_once_accepted || next != Failed);
                    let found = status.after(action, event).ok();
                    assert_eq!(found, expected, "{action}: {status} after {event:?}");
                }
            }
        }
    }

    #[test]
    fn only_a_definite_failure_frees_the_amount() {
        for (code, status) in (1..).zip(RefundStatus::ALL) {
            assert_eq!(status.counts(), status != RefundStatus::Failed);
            assert_eq!(
                (status.code(), RefundStatus::from_code(code)),
                (code, Some(status))
            );
        }
        assert_eq!(RefundStatus::from_code(0), None);
        assert_eq!(RefundStatus::from_code(6), None);
        assert!(RefundStatus::InDoubt.is_open() && !RefundStatus::Settled.is_open());
    }
}
