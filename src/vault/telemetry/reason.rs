//! What became of a call, in words that stay: for labels and fields.
//!
//! A call is *refused* when the caller asked for what there is not or what is not allowed, and
//! *failed* when the vault, its ring or its store is not as it should be: somebody should look.
#![forbid(unsafe_code)]

use std::io::ErrorKind;

use super::super::error::VaultError;
use super::super::store::StoreError;
use crate::keys::KeyError;

/// Why a call gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// The reason, in lower case with hyphens.
    pub(crate) name: &'static str,
    /// Whether something is wrong, and not only the question.
    pub(crate) failed: bool,
}

impl Reason {
    pub(crate) const fn refused(name: &'static str) -> Self {
        Self {
            name,
            failed: false,
        }
    }

    pub(crate) const fn failed(name: &'static str) -> Self {
        Self { name, failed: true }
    }
}

/// A result of one thing or of many.
pub(crate) trait Told {
    /// Tells of each result how it ended; of one that stands for `items` things at once, of all of
    /// them together.
    fn tell(&self, items: usize, each: impl FnMut(usize, Option<Reason>));
}

impl<T, E: Copy + Into<Reason>> Told for Result<T, E> {
    fn tell(&self, items: usize, mut each: impl FnMut(usize, Option<Reason>)) {
        each(items, reason_of(self));
    }
}

impl<T, E: Copy + Into<Reason>> Told for Vec<Result<T, E>> {
    fn tell(&self, _: usize, mut each: impl FnMut(usize, Option<Reason>)) {
        // Neighbours that ended alike are counted at once.
        for alike in self.chunk_by(|one, next| reason_of(one) == reason_of(next)) {
            each(alike.len(), alike.first().and_then(reason_of));
        }
    }
}

fn reason_of<T, E: Copy + Into<Reason>>(result: &Result<T, E>) -> Option<Reason> {
    result.as_ref().err().map(|error| (*error).into())
}

impl From<VaultError> for Reason {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::UnknownToken => Self::refused("unknown-token"),
            VaultError::Expired => Self::refused("expired"),
            VaultError::OtherFormat => Self::refused("other-format"),
            VaultError::Conflict => Self::refused("conflict"),
            VaultError::TokensUsedUp => Self::failed("tokens-used-up"),
            VaultError::Token(_) => Self::refused("no-token-for-card"),
            VaultError::Tampered => Self::failed("tampered"),
            VaultError::NewerFormat { .. } => Self::failed("newer-format"),
            VaultError::Unopenable { .. } => Self::failed("key-gone"),
            VaultError::OtherRing => Self::failed("other-ring"),
            VaultError::StaleRing { .. } => Self::failed("stale-ring"),
            VaultError::ForkedRing { .. } => Self::failed("forked-ring"),
            VaultError::IndexNotFilled { .. } => Self::failed("index-not-filled"),
            VaultError::NotFilling => Self::refused("not-filling"),
            VaultError::FillUnfinished { .. } => Self::refused("fill-unfinished"),
            VaultError::OtherToken { .. } => Self::failed("other-token"),
            VaultError::RestoreUnfinished => Self::failed("restore-unfinished"),
            VaultError::Broken => Self::failed("broken"),
            VaultError::Key(error) => error.into(),
            VaultError::Seal(_) => Self::failed("seal"),
            VaultError::Random(_) => Self::failed("random"),
            VaultError::Store(error) => error.into(),
            VaultError::KeyNeeded { .. } => Self::refused("key-needed"),
            VaultError::KeyElsewhere { .. } => Self::refused("key-elsewhere"),
            VaultError::Retention(_) => Self::refused("retention"),
            VaultError::Refused(refusal) => Self::refused(refusal.as_str()),
            VaultError::Log(_) => Self::failed("log"),
        }
    }
}

impl From<KeyError> for Reason {
    fn from(error: KeyError) -> Self {
        Self::failed(match error {
            KeyError::UnknownKey | KeyError::UnknownVersion { .. } | KeyError::Destroyed { .. } => {
                "key-gone"
            }
            KeyError::NoActive { .. } => "no-active-key",
            KeyError::CryptoperiodOver { .. } => "cryptoperiod-over",
            _ => "key",
        })
    }
}

impl From<StoreError> for Reason {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::GuardChanged => Self::refused("guard-changed"),
            StoreError::Size { .. } => Self::refused("size"),
            StoreError::Full => Self::failed("store-full"),
            StoreError::Io(ErrorKind::TimedOut) => Self::failed("store-slow"),
            StoreError::Io(ErrorKind::NotConnected) => Self::failed("store-lost"),
            StoreError::Io(ErrorKind::WouldBlock) => Self::failed("store-conflict"),
            StoreError::Io(ErrorKind::ReadOnlyFilesystem) => Self::failed("store-read-only"),
            StoreError::Io(_) => Self::failed("store-io"),
            StoreError::Poisoned => Self::failed("store-poisoned"),
            StoreError::Closed => Self::failed("store-closed"),
            StoreError::Corrupt => Self::failed("store-corrupt"),
            StoreError::Refused { .. } => Self::failed("store-refused"),
            StoreError::AlreadyOpen
            | StoreError::AlreadyExists
            | StoreError::NewerFormat { .. }
            | StoreError::NotAVault
            | StoreError::BadSetting
            | StoreError::NoTls
            | StoreError::Untrusted => Self::failed("store-not-opened"),
        }
    }
}
