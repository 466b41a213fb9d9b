//! Which tokens can be had, what a card-shaped one keeps, and what is left of a number then.
#![forbid(unsafe_code)]

use core::fmt;

use super::TokenizeError;
use crate::card::{PAN_MAX_DIGITS, PAN_MIN_DIGITS, Pan, TRUNCATION_MIN_REMOVED, truncation_limit};
use crate::ff1::FF1_MIN_DIGITS;

/// How many digits a vaultless token encrypts at least: 10^6 values (SP 800-38G Revision 1).
pub const VAULTLESS_MIN_DIGITS: usize = FF1_MIN_DIGITS;

/// How many leading digits a card-shaped token keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeepFirst {
    /// None.
    None,
    /// Six: a 6-digit IIN.
    Six,
    /// Eight: an 8-digit IIN.
    Eight,
}

/// How many trailing digits a card-shaped token keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeepLast {
    /// None.
    None,
    /// The last four.
    Four,
}

impl KeepFirst {
    /// As a count.
    #[must_use]
    pub const fn digits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Six => 6,
            Self::Eight => 8,
        }
    }
}

impl KeepLast {
    /// As a count.
    #[must_use]
    pub const fn digits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Four => 4,
        }
    }
}

/// What a card-shaped token keeps, and of which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) first: KeepFirst,
    pub(super) last: KeepLast,
    pub(super) shortest: u8,
}

impl Shape {
    fn new(first: KeepFirst, last: KeepLast, shortest: usize) -> Result<Self, FormatError> {
        if !(PAN_MIN_DIGITS..=PAN_MAX_DIGITS).contains(&shortest) {
            return Err(FormatError::Shortest { digits: shortest });
        }
        Ok(Self {
            first,
            last,
            shortest: u8::try_from(shortest).unwrap_or(0),
        })
    }

    /// How many digits of a number of `len` are not kept.
    const fn free(self, len: usize) -> usize {
        len.saturating_sub((self.first.digits() + self.last.digits()) as usize)
    }

    /// Whether `pan` may become a token that keeps this much.
    #[inline]
    pub(super) fn check(self, pan: &Pan) -> Result<(), TokenizeError> {
        let len = pan.digit_count();
        if len < usize::from(self.shortest) {
            return Err(TokenizeError::Short { digits: len });
        }
        if self.first == KeepFirst::None {
            // Every brand allows the last four.
            return Ok(());
        }
        let limit = truncation_limit(pan.brand(), len);
        if self.first.digits() > limit.first() || self.last.digits() > limit.last() {
            return Err(TokenizeError::Truncation { limit });
        }
        Ok(())
    }
}

/// A card-shaped format whose cards the vault keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VaultedFormat(Shape);

impl VaultedFormat {
    /// Tokens that keep `first` and `last` digits of numbers of at least `shortest` digits.
    ///
    /// # Errors
    /// [`FormatError::Shortest`] if `shortest` is no length of a card number,
    /// [`FormatError::TooFewRemoved`] if the shortest number would lose fewer than
    /// [`TRUNCATION_MIN_REMOVED`] digits.
    pub fn new(first: KeepFirst, last: KeepLast, shortest: usize) -> Result<Self, FormatError> {
        let shape = Shape::new(first, last, shortest)?;
        let removed = shape.free(shortest);
        if removed < usize::from(TRUNCATION_MIN_REMOVED) {
            return Err(FormatError::TooFewRemoved { removed });
        }
        Ok(Self(shape))
    }

    /// How many leading digits are kept.
    #[must_use]
    pub const fn first(&self) -> KeepFirst {
        self.0.first
    }

    /// How many trailing digits are kept.
    #[must_use]
    pub const fn last(&self) -> KeepLast {
        self.0.last
    }

    /// The shortest number that it takes, in digits.
    #[must_use]
    pub const fn shortest(&self) -> usize {
        self.0.shortest as usize
    }

    pub(super) fn check(&self, pan: &Pan) -> Result<(), TokenizeError> {
        self.0.check(pan)
    }
}

/// A card-shaped format without a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VaultlessFormat(Shape);

impl VaultlessFormat {
    /// Tokens that keep `first` and `last` digits of numbers of at least `shortest` digits.
    ///
    /// ```
    /// use cardvault::token::{FormatError, KeepFirst, KeepLast, VaultlessFormat};
    ///
    /// assert!(VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).is_ok());
    /// let six_and_four = VaultlessFormat::new(KeepFirst::Six, KeepLast::Four, 16);
    /// assert_eq!(six_and_four, Err(FormatError::TooFewValues { power: 5 }));
    /// ```
    ///
    /// # Errors
    /// [`FormatError::Shortest`] if `shortest` is no length of a card number,
    /// [`FormatError::TooFewValues`] if the shortest number leaves fewer than 10^6 values.
    pub fn new(first: KeepFirst, last: KeepLast, shortest: usize) -> Result<Self, FormatError> {
        let shape = Shape::new(first, last, shortest)?;
        // One free digit is spent on the Luhn residue.
        let power = shape.free(shortest).saturating_sub(1);
        if power < VAULTLESS_MIN_DIGITS {
            return Err(FormatError::TooFewValues { power });
        }
        Ok(Self(shape))
    }

    /// How many leading digits are kept.
    #[must_use]
    pub const fn first(&self) -> KeepFirst {
        self.0.first
    }

    /// How many trailing digits are kept.
    #[must_use]
    pub const fn last(&self) -> KeepLast {
        self.0.last
    }

    /// The shortest number that it takes, in digits.
    #[must_use]
    pub const fn shortest(&self) -> usize {
        self.0.shortest as usize
    }

    #[inline]
    pub(super) fn check(&self, pan: &Pan) -> Result<(), TokenizeError> {
        self.0.check(pan)?;
        if self.0.first != KeepFirst::None && pan.in_luhn_exempt_range() {
            return Err(TokenizeError::ExemptIin);
        }
        Ok(())
    }
}

/// A format of tokens, as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFormat {
    /// 128 random bits.
    Opaque,
    /// Random digits; the vault keeps the card.
    Vaulted(VaultedFormat),
    /// Encrypted digits; nothing is kept.
    Vaultless(VaultlessFormat),
    /// A keyed hash.
    Irreversible,
}

impl TokenFormat {
    /// Whether the card number can be got back.
    #[must_use]
    pub const fn is_reversible(&self) -> bool {
        !matches!(self, Self::Irreversible)
    }

    /// Whether one card number has one token in a domain by the format alone. Where it has not,
    /// the vault can still give the same token again.
    #[must_use]
    pub const fn is_deterministic(&self) -> bool {
        matches!(self, Self::Vaultless(_) | Self::Irreversible)
    }

    /// Whether the vault must keep the card.
    #[must_use]
    pub const fn needs_storage(&self) -> bool {
        matches!(self, Self::Opaque | Self::Vaulted(_))
    }

    /// What becomes of a token when the keys are rotated.
    #[must_use]
    pub const fn rotation(&self) -> Rotation {
        match self {
            Self::Opaque | Self::Vaulted(_) => Rotation::Stays,
            Self::Vaultless(_) => Rotation::OneGeneration,
            Self::Irreversible => Rotation::Never,
        }
    }

    /// How many tokens there are for card numbers of `digits` digits with the same kept digits.
    #[must_use]
    pub const fn values(&self, digits: usize) -> TokenValues {
        let (factor, base, exponent) = match self {
            Self::Opaque => (1, 2, 8 * super::OPAQUE_LEN),
            Self::Irreversible => (1, 2, 8 * super::IRREVERSIBLE_LEN),
            // One in ten passes Luhn.
            Self::Vaulted(format) => (9, 10, format.0.free(digits).saturating_sub(1)),
            Self::Vaultless(format) => (1, 10, format.0.free(digits).saturating_sub(1)),
        };
        TokenValues {
            factor,
            base,
            exponent,
        }
    }

    /// The table of this module's documentation.
    #[must_use]
    pub fn table() -> impl fmt::Display {
        Table
    }
}

/// What becomes of tokens when the keys are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rotation {
    /// The token stays: only the record behind it is sealed anew.
    Stays,
    /// The token opens while its generation of the key is live, beside the next one.
    OneGeneration,
    /// The key does not rotate: another key makes other tokens.
    Never,
}

/// A count of tokens: `factor` * `base` ^ `exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenValues {
    /// The factor.
    pub factor: u32,
    /// The base.
    pub base: u32,
    /// The exponent.
    pub exponent: usize,
}

impl fmt::Display for TokenValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.factor != 1 {
            write!(f, "{} * ", self.factor)?;
        }
        write!(f, "{}^{}", self.base, self.exponent)
    }
}

struct Table;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| format | card number | digits free | values | reversible | deterministic \
             | needs storage | survives rotation |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        write!(f, "| opaque | any | - ")?;
        answers(f, PAN_MIN_DIGITS, &TokenFormat::Opaque)?;
        write!(f, "| irreversible | any | - ")?;
        answers(f, PAN_MIN_DIGITS, &TokenFormat::Irreversible)?;
        for (first, last) in [
            (KeepFirst::None, KeepLast::None),
            (KeepFirst::None, KeepLast::Four),
            (KeepFirst::Six, KeepLast::Four),
            (KeepFirst::Eight, KeepLast::Four),
        ] {
            for len in [14, 15, 16, 19] {
                if first == KeepFirst::Eight && len != 16 {
                    // The truncation rule allows eight for 16 digits alone.
                    continue;
                }
                let kept = (first.digits(), last.digits());
                let vaulted = VaultedFormat::new(first, last, len).ok();
                card_row(f, "vaulted", kept, len, vaulted.map(TokenFormat::Vaulted))?;
                let vaultless = VaultlessFormat::new(first, last, len).ok();
                card_row(
                    f,
                    "vaultless",
                    kept,
                    len,
                    vaultless.map(TokenFormat::Vaultless),
                )?;
            }
        }
        Ok(())
    }
}

fn card_row(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    (first, last): (u8, u8),
    len: usize,
    format: Option<TokenFormat>,
) -> fmt::Result {
    let free = len.saturating_sub(usize::from(first + last));
    write!(
        f,
        "| {name}, keeps {first} + {last} | {len} digits | {free} "
    )?;
    match format {
        Some(format) => answers(f, len, &format),
        None => writeln!(f, "| too few: refused | | | | |"),
    }
}

fn answers(f: &mut fmt::Formatter<'_>, len: usize, format: &TokenFormat) -> fmt::Result {
    let answer = |yes| if yes { "yes" } else { "no" };
    let rotation = match format.rotation() {
        Rotation::Stays => "yes",
        Rotation::OneGeneration => "one generation",
        Rotation::Never => "no",
    };
    writeln!(
        f,
        "| {} | {} | {} | {} | {rotation} |",
        format.values(len),
        answer(format.is_reversible()),
        answer(format.is_deterministic()),
        answer(format.needs_storage()),
    )
}

/// Why a format cannot be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// The shortest number is not 8 to 19 digits long.
    Shortest {
        /// The length that was named.
        digits: usize,
    },
    /// A vaultless format would leave fewer than 10^6 values: the vaulted card-shaped format that
    /// keeps the same digits is the one to use, or a vaultless one that keeps fewer.
    TooFewValues {
        /// It leaves 10 to this power.
        power: usize,
    },
    /// Fewer digits would be removed than every truncation removes: the opaque format is the one
    /// to use, or one that keeps fewer digits.
    TooFewRemoved {
        /// How many would be removed.
        removed: usize,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shortest { digits } => write!(
                f,
                "a card number has {PAN_MIN_DIGITS} to {PAN_MAX_DIGITS} digits, not {digits}"
            ),
            Self::TooFewValues { power } => write!(
                f,
                "a vaultless token would be one of 10^{power}, fewer than 10^{VAULTLESS_MIN_DIGITS}: \
                 use the vaulted card-shaped format, or keep fewer digits"
            ),
            Self::TooFewRemoved { removed } => write!(
                f,
                "a token would hide {removed} digits, fewer than {TRUNCATION_MIN_REMOVED}: \
                 use the opaque format, or keep fewer digits"
            ),
        }
    }
}

impl core::error::Error for FormatError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_what_the_code_says() {
        let documented = include_str!("formats.md");
        let table = TokenFormat::table().to_string();
        assert!(
            documented.contains(&table),
            "formats.md must hold:\n{table}"
        );
    }

    #[test]
    fn small_vaultless_formats_are_refused() {
        use KeepFirst::{Eight, None, Six};
        let power = |first, last, len| VaultlessFormat::new(first, last, len).err();
        let too_few = |power| Some(FormatError::TooFewValues { power });
        assert_eq!(power(Six, KeepLast::Four, 16), too_few(5));
        assert_eq!(power(Six, KeepLast::Four, 15), too_few(4));
        assert_eq!(power(Eight, KeepLast::Four, 16), too_few(3));
        assert_eq!(power(Six, KeepLast::Four, 17), Option::None);
        assert_eq!(power(None, KeepLast::Four, 16), Option::None);
        assert_eq!(power(None, KeepLast::Four, 10), too_few(5));
        assert_eq!(power(None, KeepLast::None, 8), Option::None);
        assert_eq!(power(Eight, KeepLast::Four, 8), too_few(0));
        for len in [0, 7, 20, usize::MAX] {
            assert_eq!(
                power(None, KeepLast::None, len),
                Some(FormatError::Shortest { digits: len })
            );
        }
        let text = FormatError::TooFewValues { power: 5 }.to_string();
        assert!(text.contains("vaulted card-shaped"), "{text}");
        let vaulted = VaultedFormat::new(Eight, KeepLast::Four, 15);
        assert_eq!(vaulted, Err(FormatError::TooFewRemoved { removed: 3 }));
    }
}
