//! When a request to give money back should have come further.
#![forbid(unsafe_code)]

use super::status::RefundStatus;
use crate::time::UnixSeconds;

/// The default time for an answer: 48 hours. A choice of ours, no standard's.
pub const REVIEW_SECONDS: u64 = 48 * 3600;
/// The default time from acceptance to settlement: 72 hours. A choice of ours, no standard's.
pub const COMPLETION_SECONDS: u64 = 72 * 3600;
/// Waits before the inquiries after an outcome that is unknown, in seconds, one after the other
/// (UnionPay online refunds).
pub const INQUIRY_DELAYS_SECONDS: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// How long the steps of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Seconds from the request to an answer.
    pub review_seconds: u64,
    /// Seconds from the acceptance to the settlement.
    pub completion_seconds: u64,
}

impl Deadlines {
    /// 48 and 72 hours.
    pub const DEFAULT: Self = Self {
        review_seconds: REVIEW_SECONDS,
        completion_seconds: COMPLETION_SECONDS,
    };

    /// The step that a request waits for and when that should be done; `None` if it is over.
    ///
    /// `since` is when it was requested, or for an accepted one when it was accepted. Doubt
    /// does not start the time anew.
    #[must_use]
    pub const fn due(&self, status: RefundStatus, since: UnixSeconds) -> Option<Due> {
        match status {
            RefundStatus::Requested | RefundStatus::InDoubt => Some(Due {
                step: Step::Review,
                at: since.plus(self.review_seconds),
            }),
            RefundStatus::Accepted => Some(Due {
                step: Step::Completion,
                at: since.plus(self.completion_seconds),
            }),
            RefundStatus::Settled | RefundStatus::Failed => None,
        }
    }

    /// The step that is late at `now`; `None` if none is. At the deadline itself it is not yet.
    #[must_use]
    pub fn overdue(
        &self,
        status: RefundStatus,
        since: UnixSeconds,
        now: UnixSeconds,
    ) -> Option<Step> {
        let due = self.due(status, since)?;
        (now > due.at).then_some(due.step)
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A step that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The step.
    pub step: Step,
    /// When it should be done.
    pub at: UnixSeconds,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The centre's answer, or an inquiry's result.
    Review,
    /// The settlement.
    Completion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_and_overdue() {
        let start = UnixSeconds(1_800_000_000);
        let deadlines = Deadlines::DEFAULT;
        for (status, step, seconds) in [
            (RefundStatus::Requested, Step::Review, 172_800),
            (RefundStatus::InDoubt, Step::Review, 172_800),
            (RefundStatus::Accepted, Step::Completion, 259_200),
        ] {
            let at = start.plus(seconds);
            assert_eq!(deadlines.due(status, start), Some(Due { step, at }));
            assert_eq!(deadlines.overdue(status, start, at), None);
            assert_eq!(deadlines.overdue(status, start, at.plus(1)), Some(step));
            // A clock that went back makes nothing late.
            assert_eq!(deadlines.overdue(status, start, UnixSeconds(0)), None);
            assert_eq!(deadlines.overdue(status, UnixSeconds(u64::MAX), at), None);
        }
        for status in [RefundStatus::Settled, RefundStatus::Failed] {
            assert_eq!(deadlines.due(status, start), None);
            assert_eq!(
                deadlines.overdue(status, start, UnixSeconds(u64::MAX)),
                None
            );
        }
    }
}
