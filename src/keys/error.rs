//! What can go wrong with keys.
#![forbid(unsafe_code)]

use core::fmt;

use super::name::{KeyName, KeyUse};
use super::ring::{MAX_KEYS, VAULTLESS_GENERATIONS};
use super::state::KeyState;
use crate::secret::RandomError;

/// Why the key ring does not give a key or does not make a change. The ring is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The ring has no such version.
    UnknownVersion {
        /// The version asked for.
        name: KeyName,
    },
    /// No key of the ring that can be derived has this id: another domain or ring, a damaged
    /// record, or a version that was destroyed.
    UnknownKey,
    /// No version of this use is active.
    NoActive {
        /// The use.
        usage: KeyUse,
    },
    /// The version is in a state that does not allow the use asked for.
    State {
        /// The version.
        name: KeyName,
        /// Its state.
        state: KeyState,
    },
    /// The version was destroyed; nobody can derive its keys.
    Destroyed {
        /// The version.
        name: KeyName,
    },
    /// The table of [`KeyState::may_become`] has no such transition.
    Transition {
        /// The version.
        name: KeyName,
        /// Its state.
        from: KeyState,
        /// The state asked for.
        to: KeyState,
    },
    /// The time in which the version may protect new data is over: activate a new one.
    CryptoperiodOver {
        /// The version.
        name: KeyName,
    },
    /// The clock is behind the time at which the version was made.
    Clock {
        /// The version.
        name: KeyName,
    },
    /// The originator period is zero, or the recipient period is shorter.
    Cryptoperiod,
    /// The ring holds [`MAX_KEYS`] versions and none of them is destroyed.
    Full,
    /// Versions of this use are counted to the end.
    VersionsOver {
        /// The use.
        usage: KeyUse,
    },
    /// The ring's generation is counted to the end.
    GenerationsOver,
    /// An index version is not filled beside the active one, so that look-ups under it would miss
    /// the cards of before: [`KeyRing::begin_filling`](super::KeyRing::begin_filling) comes first.
    NotFilled {
        /// The version.
        name: KeyName,
    },
    /// Another index version is being filled, or this one is not before its activation.
    Filling {
        /// The version that stands in the way.
        name: KeyName,
    },
    /// Two generations of the vaultless key are live: destroy the oldest before the next one
    /// becomes active.
    GenerationsLive {
        /// The oldest of them.
        oldest: KeyName,
    },
    /// Tokens of this live version could not be told from those of the new one: their numbers
    /// differ by a multiple of 9. Destroy one of them, or add one version more.
    Residue {
        /// The live version.
        name: KeyName,
    },
    /// The generator failed.
    Random(RandomError),
    /// A derivation was asked for more than HKDF gives. Not reached.
    Derivation,
    /// No ring was opened into this one, or the last one was not opened.
    Blank,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion { name } => write!(f, "the key ring has no {name}"),
            Self::UnknownKey => f.write_str(
                "no key of the ring fits: another domain or ring, damage, or a destroyed version",
            ),
            Self::NoActive { usage } => write!(f, "no {usage} key is active"),
            Self::State { name, state } => write!(f, "{name} is {state}"),
            Self::Destroyed { name } => write!(f, "{name} was destroyed"),
            Self::Transition { name, from, to } => {
                write!(f, "{name} is {from} and cannot become {to}")
            }
            Self::CryptoperiodOver { name } => {
                write!(
                    f,
                    "the cryptoperiod of {name} is over: activate a new version"
                )
            }
            Self::Clock { name } => {
                write!(f, "the clock is behind the time at which {name} was made")
            }
            Self::Cryptoperiod => f.write_str(
                "the originator period is zero or the recipient period is shorter than it",
            ),
            Self::Full => write!(
                f,
                "the key ring holds {MAX_KEYS} versions and none of them is destroyed"
            ),
            Self::VersionsOver { usage } => write!(f, "no version of {usage} is left"),
            Self::GenerationsOver => f.write_str("no generation of the key ring is left"),
            Self::NotFilled { name } => {
                write!(f, "{name} was not filled beside the active index key")
            }
            Self::Filling { name } => write!(f, "{name} stands in the way of filling an index"),
            Self::GenerationsLive { oldest } => write!(
                f,
                "{VAULTLESS_GENERATIONS} vaultless generations are live: destroy {oldest} first"
            ),
            Self::Residue { name } => write!(
                f,
                "tokens of {name}, which is live, could not be told from those of the new version"
            ),
            Self::Random(error) => error.fmt(f),
            Self::Derivation => f.write_str("a key derivation was too long"),
            Self::Blank => f.write_str("the key ring is not open"),
        }
    }
}

impl core::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Random(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RandomError> for KeyError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}
