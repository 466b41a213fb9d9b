//! What a vault is asked for and what it answers.
#![forbid(unsafe_code)]

use core::fmt;
use std::collections::BTreeMap;

use rand_core::TryCryptoRng;

use super::error::VaultError;
use super::row::ShapeCode;
use crate::card::{Brand, Pan};
use crate::keys::{Domain, KeyName};
use crate::time::UnixSeconds;
use crate::token::{Token, TokenizeError, VaultedFormat};

/// How a card is to be tokenized.
///
/// ```
/// use cardvault::{UnixSeconds, vault::Tokenize};
///
/// let forever = Tokenize::convergent();
/// let for_a_day = Tokenize::fresh().expiring(UnixSeconds::now().plus(24 * 60 * 60));
/// # let _ = (forever, for_a_day);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tokenize {
    pub(super) shape: Shape,
    pub(super) convergent: bool,
    pub(super) expires: Option<UnixSeconds>,
}

impl Tokenize {
    /// The same token for the same card, each time, within a domain. Opaque, without expiry.
    ///
    /// Leaks to those who see tokens which payments were made with one card. The domain's first
    /// shape for a card stays its shape. Of a card that is known, what is given replaces what is
    /// kept: an expiry or sequence number that is present and another, and the expiry of the
    /// token if this request has one. A token that had expired is renewed.
    #[must_use]
    pub const fn convergent() -> Self {
        Self {
            shape: Shape::Opaque,
            convergent: true,
            expires: None,
        }
    }

    /// Another token each time. Opaque, without expiry.
    #[must_use]
    pub const fn fresh() -> Self {
        Self {
            shape: Shape::Opaque,
            convergent: false,
            expires: None,
        }
    }

    /// As random digits of this format, in place of an opaque token.
    #[must_use]
    pub const fn card_shaped(self, format: VaultedFormat) -> Self {
        Self {
            shape: Shape::Card(format),
            ..self
        }
    }

    /// Until this second; from then on the token is refused.
    #[must_use]
    pub const fn expiring(self, at: UnixSeconds) -> Self {
        Self {
            expires: Some(at),
            ..self
        }
    }
}

/// What a new token looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Opaque,
    Card(VaultedFormat),
}

impl Shape {
    pub(super) fn draw<R: TryCryptoRng + ?Sized>(
        &self,
        pan: &Pan,
        rng: &mut R,
    ) -> Result<Token, TokenizeError> {
        match self {
            Self::Opaque => Token::opaque(rng),
            Self::Card(format) => Token::card_shaped_for(pan, format, rng),
        }
    }

    pub(super) const fn code(&self) -> ShapeCode {
        match self {
            Self::Opaque => ShapeCode::OPAQUE,
            Self::Card(format) => ShapeCode::card(format),
        }
    }
}

/// A card's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokenized {
    /// The token.
    pub token: Token,
    /// Whether the card had it before: who may call learns whether the domain knows a card. Always
    /// false where the policy hides it ([`AccessPolicy::hide_existing`](super::AccessPolicy::hide_existing));
    /// but then too the token is that of earlier calls, and a new card takes longer.
    pub existing: bool,
}

/// The tokens of one card in one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardTokens {
    /// The one that convergent calls give, first, and the others in the order of their bytes.
    pub tokens: Vec<Token>,
    /// Those that the index names for the card and whose rows do not open: the key is gone, or
    /// the row was changed. They can be deleted.
    pub unopenable: Vec<Token>,
    /// Whether there are more than [`super::MAX_FOUND`] others; those are not listed before some
    /// of the listed ones are deleted.
    pub more: bool,
}

/// What a vault keeps in the clear of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The card's brand.
    pub brand: Brand,
    /// Its last four digits, as a number.
    pub last_four: u16,
    /// When the token was made.
    pub created: UnixSeconds,
    /// From when on it is refused.
    pub expires: Option<UnixSeconds>,
    /// Whether it is what convergent calls give for the card.
    pub convergent: bool,
}

/// What a vault holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultStats {
    /// How many tokens there are, expired ones included.
    pub tokens: u64,
    /// How many of them have expired.
    pub expired: u64,
    /// How many of them convergent calls give.
    pub convergent: u64,
    /// How many there are of each brand.
    pub by_brand: BTreeMap<Brand, u64>,
    /// How many records are sealed under each key version.
    pub by_key: BTreeMap<KeyName, u64>,
    /// How many there are in each domain.
    pub by_domain: BTreeMap<Domain, u64>,
    /// How many were written under each index version.
    pub by_index: BTreeMap<u32, u64>,
    /// How many rows no key of the ring opens, or that are no rows of this version. The former are
    /// in the counts above too, but for [`VaultStats::by_key`].
    pub unreadable: u64,
}

/// What one step of a rewrap did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// How many rows were looked at.
    pub seen: u64,
    /// How many records were sealed anew under the active version.
    pub moved: u64,
    /// How many could not be: they do not open, or others changed them again and again.
    pub left: u64,
    /// Where the next step goes on; none at the end.
    pub cursor: Option<super::RowKey>,
}

/// What one step of filling an index version did, and how far the whole has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexFill {
    /// The index version that is being filled.
    pub version: u32,
    /// How many rows this step looked at.
    pub seen: u64,
    /// The rows of this step that could not be put under the version.
    pub left: Vec<LeftRow>,
    /// How many rows the pass has looked at, in all of its steps.
    pub seen_in_all: u64,
    /// How many of them were left.
    pub left_in_all: u64,
    /// Whether the pass has ended. If it left rows, the next step begins another one.
    pub done: bool,
    /// Whether every row stands under the version now, so that it may be activated.
    pub filled: bool,
}

/// What one step of dropping old index versions did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexDropped {
    /// How many rows were looked at.
    pub seen: u64,
    /// How many stand no longer under an old version.
    pub moved: u64,
    /// Those that still do.
    pub left: Vec<LeftRow>,
    /// Where the next step goes on; none at the end.
    pub cursor: Option<super::RowKey>,
}

/// A row that could not be moved to another index version, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftRow {
    /// Its key in the store.
    pub key: super::RowKey,
    /// The domain and the token, by which it can be deleted; none if its key is no token's.
    pub token: Option<(Domain, Token)>,
    /// Why: [`VaultError::Tampered`], [`VaultError::NewerFormat`], [`VaultError::OtherToken`],
    /// [`VaultError::Conflict`], or [`VaultError::Unopenable`] if its key is destroyed.
    pub why: VaultError,
}

/// A page of the tokens whose records are under one key version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderKey {
    /// How many rows were looked at.
    pub seen: u64,
    /// The tokens with their domains.
    pub tokens: Vec<(Domain, Token)>,
    /// Where the next page goes on; none at the end.
    pub cursor: Option<super::RowKey>,
}

/// What needs a key version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needed {
    /// The version.
    pub name: KeyName,
    /// How many rows of the store; none if what it protects lies outside of it, where nobody can
    /// count.
    pub rows: Option<u64>,
}

impl Needed {
    pub(crate) const fn of(name: KeyName, rows: Option<u64>) -> Self {
        Self { name, rows }
    }
}

/// What the caller knows of a key's uses outside of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// There may be some.
    Unknown,
    /// There are none any more.
    Unneeded,
}

/// What one step of a check saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many rows were looked at.
    pub seen: u64,
    /// How many of them the ring has no key for: it was destroyed.
    pub unopenable: u64,
    /// Where the next step goes on; none at the end.
    pub cursor: Option<super::RowKey>,
}

impl fmt::Display for VaultStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>12}", "tokens", self.tokens)?;
        writeln!(f, "{:<24} {:>12}", "  convergent", self.convergent)?;
        writeln!(f, "{:<24} {:>12}", "  expired", self.expired)?;
        for (brand, count) in &self.by_brand {
            writeln!(f, "  {:<22} {count:>12}", brand.to_string())?;
        }
        for (key, count) in &self.by_key {
            writeln!(f, "  under {:<16} {count:>12}", key.to_string())?;
        }
        write!(f, "{:<24} {:>12}", "  unreadable", self.unreadable)
    }
}
