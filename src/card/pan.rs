//! The card number: one door in, no text out but on demand.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::brand::{Brand, brand_of, in_luhn_exempt_range};
use super::digits::{Digits, PAN_MAX_DIGITS, PAN_MIN_DIGITS};
use super::packed::Packed;

/// The longest input that [`Pan::parse`] reads, in bytes: every digit with a separator before it.
pub const PAN_MAX_INPUT: usize = 2 * PAN_MAX_DIGITS - 1;

/// A clear primary account number of 8 to 19 digits (ISO/IEC 7812-1).
///
/// Wiped when dropped. There is no `Serialize`, no `Display`, and `Debug` shows nothing of it.
/// Equality is [`ConstantTimeEq`].
///
/// ```
/// use cardvault::card::{Brand, Pan};
///
/// let pan = Pan::parse(b"4111 1111 1111 1111")?;
/// assert_eq!(pan.brand(), Brand::Visa);
/// assert_eq!(format!("{pan:?}"), "Pan(..)");
/// # Ok::<(), cardvault::card::PanError>(())
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Pan(Digits);

impl Pan {
    /// Reads a card number that passes the Luhn check.
    ///
    /// Takes 8 to 19 ASCII digits, plain, or with single spaces or single dashes (not both)
    /// between digits.
    ///
    /// Constant time for accepted input of one length and spacing.
    ///
    /// # Errors
    /// [`PanError`] with the offset in bytes of the first byte that is wrong.
    #[inline]
    pub fn parse(input: &[u8]) -> Result<Self, PanError> {
        Self::read(input)?.admitted(|_| false)
    }

    /// Like [`Pan::parse`], but lets a number of one of the `exempt` brands fail the Luhn check.
    ///
    /// For networks that issued such cards: [`Brand::LUHN_EXEMPT`]. Use it only where a
    /// card-shaped token cannot come in: tokens fail Luhn by design.
    ///
    /// # Errors
    /// As [`Pan::parse`].
    pub fn parse_exempting(input: &[u8], exempt: &[Brand]) -> Result<Self, PanError> {
        Self::read(input)?.admitted(|pan| exempt.contains(&pan.brand()))
    }

    /// How many digits the number has: 8 to 19. Not secret.
    #[must_use]
    pub const fn digit_count(&self) -> usize {
        self.0.len()
    }

    /// Whether the number passes the Luhn check. Constant time for every length.
    #[must_use]
    #[inline]
    pub fn passes_luhn(&self) -> bool {
        self.0.luhn_residue() == 0
    }

    /// The brand whose range in the built-in table fits best.
    #[must_use]
    #[inline]
    pub fn brand(&self) -> Brand {
        brand_of(self.iin8(), self.digit_count())
    }

    /// The first eight digits as a number. Of a short number this is nearly all.
    #[inline]
    pub(super) fn iin8(&self) -> u64 {
        self.0.number(0, PAN_MIN_DIGITS)
    }

    /// The last four digits as a number, 0 to 9999. Not secret.
    #[must_use]
    pub fn last_four(&self) -> u16 {
        let len = self.0.len();
        u16::try_from(self.0.number(len.saturating_sub(4), len)).unwrap_or(0)
    }

    /// Hands the clear digits, as ASCII, to `use_them`, and wipes them afterwards.
    ///
    /// The one way to the clear number: a message to the host, an embosser, a reversal.
    pub fn expose<T>(&self, use_them: impl FnOnce(&str) -> T) -> T {
        let mut ascii = Zeroizing::new([0; PAN_MAX_DIGITS]);
        let len = self.0.write_ascii(&mut ascii);
        let text = ascii
            .get(..len)
            .and_then(|part| core::str::from_utf8(part).ok());
        use_them(text.unwrap_or_default())
    }

    /// The first and last digits as ASCII, `*` in place of the others.
    pub(super) fn kept_ascii(&self, first: usize, last: usize) -> [u8; PAN_MAX_DIGITS] {
        let mut ascii = [0; PAN_MAX_DIGITS];
        let len = self.0.write_ascii(&mut ascii);
        let hidden = first..len.saturating_sub(last);
        for (place, byte) in ascii.iter_mut().enumerate() {
            if hidden.contains(&place) {
                *byte = b'*';
            }
        }
        ascii
    }

    /// The digits, for this crate's own constructions.
    #[inline]
    pub(crate) const fn digits(&self) -> &Digits {
        &self.0
    }

    /// A number that came out of a sealed record; `None` if it is too short.
    #[inline]
    pub(crate) fn from_digits(digits: Digits) -> Option<Self> {
        (digits.len() >= PAN_MIN_DIGITS).then_some(Self(digits))
    }

    /// The number that came out of a token: `len` digits, 8 to 19.
    #[inline]
    pub(crate) const fn from_packed(digits: Packed, len: usize) -> Self {
        Self(Digits::from_packed(digits, len))
    }

    /// Whether digits that fail Luhn are a number of a brand whose cards may.
    pub(crate) fn in_luhn_exempt_range(&self) -> bool {
        in_luhn_exempt_range(self.iin8(), self.digit_count())
    }

    /// This number, if it passes Luhn or is exempt from it.
    #[inline]
    pub(super) fn admitted(self, exempt: impl FnOnce(&Self) -> bool) -> Result<Self, PanError> {
        if self.passes_luhn() || exempt(&self) {
            Ok(self)
        } else {
            Err(PanError::Luhn)
        }
    }

    #[inline]
    pub(super) fn read(input: &[u8]) -> Result<Self, PanError> {
        match Digits::from_ascii(input) {
            Some(digits) => Ok(Self(digits)),
            None => Self::read_separated(input),
        }
    }

    /// The slow way: separators, or the position of what is wrong.
    #[cold]
    fn read_separated(input: &[u8]) -> Result<Self, PanError> {
        let mut ascii = [0; PAN_MAX_DIGITS];
        let result = collect_digits(input, &mut ascii).and_then(|len| {
            let digits = ascii.get(..len).and_then(Digits::from_ascii);
            digits.map(Self).ok_or(PanError::Length { digits: len })
        });
        ascii.zeroize();
        result
    }
}

impl ConstantTimeEq for Pan {
    /// Constant time for numbers of one length.
    #[inline]
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl FromStr for Pan {
    type Err = PanError;

    fn from_str(text: &str) -> Result<Self, PanError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pan(..)")
    }
}

/// Why an input is no card number. Holds positions and counts, never content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanError {
    /// Nothing was given.
    Empty,
    /// The input is longer than [`PAN_MAX_INPUT`] bytes.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A byte is neither a digit nor a separator that may stand there.
    Byte {
        /// Its offset in bytes.
        at: usize,
    },
    /// The count of digits is not 8 to 19.
    Length {
        /// How many digits there are.
        digits: usize,
    },
    /// The check digit does not fit the others.
    Luhn,
}

impl fmt::Display for PanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("card number is empty"),
            Self::TooLong { bytes } => {
                write!(
                    f,
                    "card number has {bytes} bytes, more than {PAN_MAX_INPUT}"
                )
            }
            Self::Byte { at } => write!(f, "card number has an unexpected byte at offset {at}"),
            Self::Length { digits } => write!(
                f,
                "card number has {digits} digits, not {PAN_MIN_DIGITS} to {PAN_MAX_DIGITS}"
            ),
            Self::Luhn => f.write_str("card number fails the Luhn check"),
        }
    }
}

impl core::error::Error for PanError {}

/// Copies the digits of a separated number to the front of `ascii`.
fn collect_digits(input: &[u8], ascii: &mut [u8; PAN_MAX_DIGITS]) -> Result<usize, PanError> {
    if input.is_empty() {
        return Err(PanError::Empty);
    }
    if input.len() > PAN_MAX_INPUT {
        return Err(PanError::TooLong { bytes: input.len() });
    }
    let mut count = 0;
    let mut separator = None;
    let mut after_digit = false;
    for (at, &byte) in input.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if let Some(slot) = ascii.get_mut(count) {
                    *slot = byte;
                }
                count += 1;
                after_digit = true;
            }
            b' ' | b'-' if after_digit && separator.is_none_or(|first| first == byte) => {
                separator = Some(byte);
                after_digit = false;
            }
            _ => return Err(PanError::Byte { at }),
        }
    }
    if !after_digit {
        return Err(PanError::Byte {
            at: input.len() - 1,
        });
    }
    if !(PAN_MIN_DIGITS..=PAN_MAX_DIGITS).contains(&count) {
        return Err(PanError::Length { digits: count });
    }
    Ok(count)
}
