//! What is wrong with a policy.
#![forbid(unsafe_code)]

use core::fmt;

use super::budget::MAX_BUDGET_SECONDS;
use super::{MAX_POLICY_ACTORS, Operation};
use crate::keys::DomainError;
use crate::vault::access::AccessError;

/// Why a policy, or a part of one, was refused. Its text says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyFault {
    /// An actor's name is empty, too long, not printable ASCII, or looks like a card number.
    Actor,
    /// A purpose is.
    Purpose,
    /// A list names nothing.
    Empty,
    /// A budget of nothing, or in no time.
    ZeroBudget,
    /// A budget in more than [`MAX_BUDGET_SECONDS`].
    LongBudget,
    /// A budget for what the actor is not granted.
    BudgetWithoutGrant,
    /// Two budgets of one actor for one operation.
    BudgetTwice,
    /// More than [`MAX_POLICY_ACTORS`] actors.
    TooManyActors,
    /// No budget is written like this.
    Budget,
    /// There is no such operation.
    UnknownOperation,
    /// No domain is written like this.
    Domain(DomainError),
    /// The file is longer than it may be, in bytes.
    TooLong {
        /// The most.
        most: usize,
    },
    /// What stands there is not TOML.
    Syntax,
    /// A field is there twice.
    FieldTwice,
    /// An actor is there twice.
    ActorTwice,
    /// There is no such field.
    UnknownField {
        /// Those that there are.
        known: &'static str,
    },
    /// A field is missing.
    MissingField {
        /// Which.
        name: &'static str,
    },
    /// Something else must stand there.
    Kind {
        /// What.
        wanted: &'static str,
    },
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Actor => AccessError::Actor.fmt(f),
            Self::Purpose => AccessError::Purpose.fmt(f),
            Self::Empty => f.write_str("the list names nothing: name something or leave it out"),
            Self::ZeroBudget => {
                f.write_str("a budget of zero: to refuse an operation do not grant it")
            }
            Self::LongBudget => write!(
                f,
                "a budget is for at most {} days",
                MAX_BUDGET_SECONDS / (24 * 60 * 60)
            ),
            Self::BudgetWithoutGrant => {
                f.write_str("a budget for what is not granted: grant it or leave the budget out")
            }
            Self::BudgetTwice => f.write_str("the operation has a budget already: keep one"),
            Self::TooManyActors => write!(f, "a policy names at most {MAX_POLICY_ACTORS} actors"),
            Self::Budget => f.write_str(
                "no budget: write a number and a time, such as \"500 per day\" or \
                 \"20 per 5 minutes\"",
            ),
            Self::UnknownOperation => {
                f.write_str("no such operation: write ")?;
                for operation in Operation::ALL {
                    write!(f, "{}, ", operation.as_str())?;
                }
                f.write_str("or keys for all that are about keys")
            }
            Self::Domain(error) => write!(f, "no domain: {error}"),
            Self::TooLong { most } => write!(f, "a policy has at most {most} bytes"),
            Self::Syntax => f.write_str(
                "not TOML: texts stand in double quotes, lists in square brackets, a field is \
                 name = value",
            ),
            Self::FieldTwice => f.write_str("the field is there twice: keep one"),
            Self::ActorTwice => f.write_str("the actor is there twice: put its grants together"),
            Self::UnknownField { known } => write!(f, "no such field: there are {known}"),
            Self::MissingField { name } => write!(f, "{name} is missing"),
            Self::Kind { wanted } => write!(f, "write {wanted}"),
        }
    }
}

impl core::error::Error for PolicyFault {}
