//! Why a policy says no.
#![forbid(unsafe_code)]

use core::fmt;

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
            Self::BudgetUsedUp { renews } => write!(
                f,
                "the budget is used up; it renews at {} (Unix seconds)",
                renews.0
            ),
        }
    }
}

impl core::error::Error for PolicyRefusal {}
