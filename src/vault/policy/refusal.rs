//! Why a policy says no.
#![forbid(unsafe_code)]

use core::fmt;

use crate::payment::Date;
use crate::time::UnixSeconds;

/// Why a policy refused an access. Nothing was read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyRefusal {
    /// The policy does not grant this operation to this actor, for this purpose, in this domain.
    NotGranted,
    /// The actor has used up the operation's budget.
    BudgetUsedUp {
        /// From when on some of it is there again.
        renews: UnixSeconds,
    },
}

impl PolicyRefusal {
    /// Which refusal it is.
    #[must_use]
    pub const fn reason(self) -> PolicyReason {
        match self {
            Self::NotGranted => PolicyReason::NotGranted,
            Self::BudgetUsedUp { .. } => PolicyReason::BudgetUsedUp,
        }
    }

    /// The refusal's name, as it stands in the access log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.reason().as_str()
    }
}

/// A [`PolicyRefusal`] as it is logged.
///
/// It has no field: one that is unused in most events would hold whatever lay there before, and
/// beside a card that was just opened that is a part of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyReason {
    /// See [`PolicyRefusal::NotGranted`].
    NotGranted,
    /// See [`PolicyRefusal::BudgetUsedUp`].
    BudgetUsedUp,
}

impl PolicyReason {
    /// The name, as it stands in the access log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotGranted => "not-granted",
            Self::BudgetUsedUp => "budget-used-up",
        }
    }
}

impl fmt::Display for PolicyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("the policy does not grant this"),
            Self::BudgetUsedUp { renews } => {
                f.write_str("the budget is used up; it renews at ")?;
                let Some(day) = Date::of(*renews, 0) else {
                    return write!(f, "{} (Unix seconds)", renews.0);
                };
                let minutes = renews.0 / 60;
                let (hour, minute, second) = (minutes / 60 % 24, minutes % 60, renews.0 % 60);
                write!(f, "{day} {hour:02}:{minute:02}:{second:02} UTC")
            }
        }
    }
}

impl core::error::Error for PolicyRefusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_budget_renews_is_a_time_that_a_person_reads() {
        let told = |seconds| {
            let renews = UnixSeconds(seconds);
            PolicyRefusal::BudgetUsedUp { renews }.to_string()
        };
        let text = told(1_799_971_200 + 3_600 * 17 + 61);
        assert_eq!(
            text,
            "the budget is used up; it renews at 2027-01-15 17:01:01 UTC"
        );
        assert!(told(u64::MAX).ends_with("(Unix seconds)"));
    }
}
