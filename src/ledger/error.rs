//! What can go wrong with a ledger.
#![forbid(unsafe_code)]

use core::fmt;

use crate::keys::KeyError;
use crate::payment::AmountError;
use crate::refund::{IllegalTransition, Refusal};
#[cfg(any(feature = "metrics", feature = "tracing"))]
use crate::vault::telemetry::Reason;
use crate::vault::{StoreError, VaultError};

/// Why the ledger did not do what it was asked. Nothing was changed, unless it is a
/// [`StoreError`] of a failed commit, after which all of the change may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerError {
    /// There is no such payment.
    UnknownPayment,
    /// The merchant has no request under this number.
    UnknownRequest,
    /// This identity stands for another payment already.
    OtherContent {
        /// The place among the entries of the call, from 0.
        at: usize,
    },
    /// A row is not what the ledger wrote there, or the index leads to a wrong one.
    Tampered,
    /// Others changed the payment at every try.
    Conflict,
    /// The rules refuse the request.
    Refused(Refusal),
    /// The event cannot follow on the recorded state.
    Transition,
    /// Sums that are no amount.
    Amount(AmountError),
    /// More items in one call than the ledger takes.
    TooMany {
        /// How many.
        len: usize,
    },
    /// The vault, its ring or its store failed.
    Vault(VaultError),
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPayment => f.write_str("no such payment"),
            Self::UnknownRequest => f.write_str("no request under this number"),
            Self::OtherContent { at } => {
                write!(f, "entry {at} has the identity of another payment")
            }
            Self::Tampered => f.write_str("a row is not what the ledger wrote"),
            Self::Conflict => f.write_str("others changed the payment meanwhile; try again"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Transition => IllegalTransition.fmt(f),
            Self::Amount(error) => error.fmt(f),
            Self::TooMany { len } => write!(f, "{len} items in one call"),
            Self::Vault(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LedgerError {}

impl From<VaultError> for LedgerError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Vault(VaultError::Store(error))
    }
}

impl From<KeyError> for LedgerError {
    fn from(error: KeyError) -> Self {
        Self::Vault(VaultError::Key(error))
    }
}

impl From<Refusal> for LedgerError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<IllegalTransition> for LedgerError {
    fn from(_: IllegalTransition) -> Self {
        Self::Transition
    }
}

impl From<AmountError> for LedgerError {
    fn from(error: AmountError) -> Self {
        Self::Amount(error)
    }
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
impl From<LedgerError> for Reason {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::UnknownPayment => Self::refused("unknown-payment"),
            LedgerError::UnknownRequest => Self::refused("unknown-request"),
            LedgerError::OtherContent { .. } => Self::refused("other-content"),
            LedgerError::Tampered => Self::failed("tampered"),
            LedgerError::Conflict => Self::refused("conflict"),
            LedgerError::Refused(_) => Self::refused("rules"),
            LedgerError::Transition => Self::refused("transition"),
            LedgerError::Amount(_) => Self::refused("amount"),
            LedgerError::TooMany { .. } => Self::refused("size"),
            LedgerError::Vault(error) => error.into(),
        }
    }
}
