//! What keys are called: their use and their version.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

/// What a key of the ring is for. Each use has versions of its own, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyUse {
    /// Seals card records.
    Card,
    /// Fingerprints card numbers for the index.
    Index,
    /// Makes and opens vaultless tokens.
    Vaultless,
    /// Makes irreversible tokens.
    Irreversible,
    /// Gives terminals the chain keys of their journals, and reads the journals.
    Journal,
    /// Binds the rows of the ledger.
    Ledger,
    /// Seals archives of a whole store.
    Archive,
    /// Gives writers the chain keys of their audit logs, and verifies logs and checkpoints.
    Audit,
}

impl KeyUse {
    /// Every use, in the order of the ring.
    pub const ALL: [Self; 8] = [
        Self::Card,
        Self::Index,
        Self::Vaultless,
        Self::Irreversible,
        Self::Journal,
        Self::Ledger,
        Self::Archive,
        Self::Audit,
    ];

    /// The name in lower case, as in `card-1`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Index => "index",
            Self::Vaultless => "vaultless",
            Self::Irreversible => "irreversible",
            Self::Journal => "journal",
            Self::Ledger => "ledger",
            Self::Archive => "archive",
            Self::Audit => "audit",
        }
    }

    /// The number of the use in byte formats and derivations: 1 to 8.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Card => 1,
            Self::Index => 2,
            Self::Vaultless => 3,
            Self::Irreversible => 4,
            Self::Journal => 5,
            Self::Ledger => 6,
            Self::Archive => 7,
            Self::Audit => 8,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|usage| usage.number() == number)
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One key of the ring: `card-1`, `index-2`. A version is never used again for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    /// What the key is for.
    pub usage: KeyUse,
    /// Its version within that use, from 1.
    pub version: u32,
}

impl KeyName {
    /// The key of `usage` with this version.
    #[must_use]
    pub const fn new(usage: KeyUse, version: u32) -> Self {
        Self { usage, version }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.usage, self.version)
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    /// Reads what `Display` writes and nothing else: no sign, no leading zero.
    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let (usage, version) = text.split_once('-').ok_or(KeyNameError)?;
        let usage = KeyUse::ALL
            .into_iter()
            .find(|known| known.as_str() == usage)
            .ok_or(KeyNameError)?;
        if !version.starts_with(|first: char| matches!(first, '1'..='9')) {
            return Err(KeyNameError);
        }
        let version = version.parse().map_err(|_| KeyNameError)?;
        Ok(Self { usage, version })
    }
}

/// A text is no key name such as `card-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyNameError;

impl fmt::Display for KeyNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a key name is card, index, vaultless, irreversible, journal, ledger, archive or audit, \
             a dash and a version from 1",
        )
    }
}

impl core::error::Error for KeyNameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form() {
        for usage in KeyUse::ALL {
            for version in [1, 2, 10, u32::MAX] {
                let name = KeyName::new(usage, version);
                assert_eq!(name.to_string().parse(), Ok(name));
            }
        }
        assert_eq!(KeyName::new(KeyUse::Card, 1).to_string(), "card-1");
        for bad in [
            "",
            "card",
            "card-",
            "card-0",
            "card-01",
            "card-+1",
            "card--1",
            "Card-1",
            "card-1 ",
            "card-4294967296",
            "pin-1",
            "-1",
            "card-\u{661}",
        ] {
            assert_eq!(bad.parse::<KeyName>(), Err(KeyNameError), "{bad}");
        }
    }
}
