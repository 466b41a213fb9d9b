//! What can go wrong with a vault.
#![forbid(unsafe_code)]

use core::fmt;

use super::access::AccessLogError;
use super::policy::PolicyRefusal;
use super::retention::RetentionError;
use super::store::StoreError;
use crate::keys::{KeyError, KeyName};
use crate::seal::SealError;
use crate::secret::RandomError;
use crate::token::{Token, TokenizeError};

/// Why the vault did not do what it was asked. Nothing was changed, unless it is a
/// [`StoreError`] of a failed commit, after which all of a batch may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultError {
    /// The domain has no such token.
    UnknownToken,
    /// The token has expired.
    Expired,
    /// The card has a token in this domain already, of another shape: opaque, or card-shaped with
    /// other digits kept.
    OtherFormat,
    /// The row under this token is not what the vault wrote there.
    Tampered,
    /// A newer version of this crate wrote the row, the record in it or the guard; or its version
    /// byte was changed, which the seal of a version that is not known cannot tell.
    NewerFormat {
        /// The version.
        found: u8,
    },
    /// The card has this token in the domain, but no key of the ring opens its record any more.
    /// Delete the token; then the card gets a new one.
    Unopenable {
        /// The token.
        token: Token,
    },
    /// No free token was found in the format's range: it is nearly used up.
    TokensUsedUp,
    /// The row was changed by somebody else meanwhile; try again.
    Conflict,
    /// The vault belongs to another key ring, or to one of the other mark.
    OtherRing,
    /// The vault has seen a newer generation of this key ring: load that one.
    StaleRing {
        /// The generation of the ring at hand.
        ring: u64,
        /// The newest generation that the vault has seen.
        seen: u64,
    },
    /// The vault has seen another key ring of this generation: two copies of one ring were changed
    /// apart from each other.
    ForkedRing {
        /// The generation of both.
        generation: u64,
    },
    /// The ring reads an index version that the vault's rows do not stand under, so that no card
    /// would be found again.
    IndexNotFilled {
        /// The version that the ring reads.
        reads: u32,
        /// The version that the rows stand under.
        filled: u32,
    },
    /// The ring fills no index version.
    NotFilling,
    /// The filling of an index version has not come to its end, or left another number of rows than
    /// were to be left.
    FillUnfinished {
        /// How many rows it has left so far.
        left: u64,
    },
    /// The card of this row has another token that convergent calls give.
    OtherToken {
        /// The other token.
        token: Token,
    },
    /// The key version is not destroyed: rows of the store need it.
    KeyNeeded {
        /// The version.
        name: KeyName,
        /// How many rows.
        rows: u64,
    },
    /// The key version is not destroyed: what lies outside of the store may need it, and the
    /// caller did not say that nothing does.
    KeyElsewhere {
        /// The version.
        name: KeyName,
    },
    /// The store is being filled from an archive, or that was interrupted: restore the same archive
    /// again, or begin anew with an empty store.
    RestoreUnfinished,
    /// A thread died while it held this vault's state.
    Broken,
    /// The key ring gave no key.
    Key(KeyError),
    /// A record could not be sealed or opened.
    Seal(SealError),
    /// No token could be made.
    Token(TokenizeError),
    /// The random generator failed.
    Random(RandomError),
    /// The store failed.
    Store(StoreError),
    /// The policy refused the access.
    Refused(PolicyRefusal),
    /// The access could not be logged, so nothing is handed out.
    Log(AccessLogError),
    /// The retention policy, or a purge under it, was refused.
    Retention(RetentionError),
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownToken => f.write_str("no such token in this domain"),
            Self::Expired => f.write_str("the token has expired"),
            Self::OtherFormat => {
                f.write_str("the card has a token of another format in this domain")
            }
            Self::Tampered => f.write_str("the row is not what the vault wrote"),
            Self::NewerFormat { found } => {
                write!(
                    f,
                    "version {found} of the format is newer than this release"
                )
            }
            Self::Unopenable { .. } => f.write_str(
                "no key of the ring opens the record under the card's token: delete the token",
            ),
            Self::TokensUsedUp => f.write_str("the token format has no free token left"),
            Self::Conflict => f.write_str("the row was changed meanwhile; try again"),
            Self::OtherRing => f.write_str("the vault belongs to another key ring"),
            Self::StaleRing { ring, seen } => {
                write!(
                    f,
                    "key ring generation {ring} is behind {seen}, which the vault has seen"
                )
            }
            Self::ForkedRing { generation } => write!(
                f,
                "the vault has seen another key ring of generation {generation}"
            ),
            Self::IndexNotFilled { reads, filled } => write!(
                f,
                "the key ring reads index version {reads}, the vault's rows stand under {filled}"
            ),
            Self::NotFilling => f.write_str("the key ring fills no index version"),
            Self::FillUnfinished { left } => write!(
                f,
                "the index version is not filled to the end, or {left} rows are left"
            ),
            Self::OtherToken { .. } => {
                f.write_str("the card has another token that convergent calls give")
            }
            Self::KeyNeeded { name, rows: 1 } => write!(f, "1 row needs {name}"),
            Self::KeyNeeded { name, rows } => write!(f, "{rows} rows need {name}"),
            Self::KeyElsewhere { name } => {
                write!(f, "what lies outside of the vault may need {name}")
            }
            Self::RestoreUnfinished => {
                f.write_str("the restore of an archive into this vault has not ended")
            }
            Self::Broken => f.write_str("a thread died while it held the vault"),
            Self::Key(error) => error.fmt(f),
            Self::Seal(error) => error.fmt(f),
            Self::Token(error) => error.fmt(f),
            Self::Random(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::Retention(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for VaultError {}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {$(
        impl From<$error> for VaultError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

from!(
    KeyError => Key,
    SealError => Seal,
    TokenizeError => Token,
    RandomError => Random,
    StoreError => Store,
    PolicyRefusal => Refused,
    AccessLogError => Log,
    RetentionError => Retention
);
