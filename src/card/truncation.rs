//! What of a card number may be stored: the truncation table of the brands (PCI SSC FAQ 1091).
//!
//! Use one format in one environment: several truncations of one number can be put together.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

use super::brand::{Brand, brand_of};
use super::digits::{PAN_MAX_DIGITS, PAN_MIN_DIGITS};
use super::mask::MaskedPan;
use super::pan::Pan;

/// The most leading digits that any rule keeps.
pub const TRUNCATION_MAX_FIRST: u8 = 8;
/// The most trailing digits that any rule keeps.
pub const TRUNCATION_MAX_LAST: u8 = 4;
/// How many digits are removed at least, whatever the brand's rule says.
pub const TRUNCATION_MIN_REMOVED: u8 = 4;

/// How many digits are kept at each end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TruncationFormat {
    first: u8,
    last: u8,
}

impl TruncationFormat {
    /// The last four alone: allowed for every brand.
    pub const LAST_4: Self = Self { first: 0, last: 4 };
    /// First six and last four: allowed for every brand from 14 digits on.
    pub const FIRST_6_LAST_4: Self = Self { first: 6, last: 4 };
    /// First eight and last four: allowed for 16-digit numbers of five brands.
    pub const FIRST_8_LAST_4: Self = Self { first: 8, last: 4 };

    /// Keeps `first` (0 to 8) leading and `last` (0 to 4) trailing digits; `None` beyond.
    #[must_use]
    pub const fn new(first: u8, last: u8) -> Option<Self> {
        if first > TRUNCATION_MAX_FIRST || last > TRUNCATION_MAX_LAST {
            return None;
        }
        Some(Self { first, last })
    }

    /// How many leading digits are kept.
    #[must_use]
    pub const fn first(self) -> u8 {
        self.first
    }

    /// How many trailing digits are kept.
    #[must_use]
    pub const fn last(self) -> u8 {
        self.last
    }
}

/// The most that may be kept of a number of this brand with this count of digits
/// (PCI SSC FAQ 1091; where it is silent, first six and last four, and four digits removed).
#[must_use]
pub fn truncation_limit(brand: Brand, digits: usize) -> TruncationFormat {
    let eight = matches!(
        brand,
        Brand::Discover | Brand::Jcb | Brand::Mastercard | Brand::UnionPay | Brand::Visa
    );
    if digits == 16 && eight {
        return TruncationFormat::FIRST_8_LAST_4;
    }
    let digits = u8::try_from(digits).unwrap_or(u8::MAX);
    let room = digits.saturating_sub(TRUNCATION_MAX_LAST + TRUNCATION_MIN_REMOVED);
    TruncationFormat {
        first: room.min(6),
        last: 4,
    }
}

/// A card number of which only the ends were kept, such as `411111******1111`: for storage.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TruncatedPan {
    ascii: [u8; PAN_MAX_DIGITS],
    len: u8,
    format: TruncationFormat,
}

impl Pan {
    /// Keeps the ends that `format` names and drops the rest.
    ///
    /// # Errors
    /// [`TruncationError::Forbidden`] if the brand's rule allows less, with what it allows.
    pub fn truncate(&self, format: TruncationFormat) -> Result<TruncatedPan, TruncationError> {
        let limit = truncation_limit(self.brand(), self.digit_count());
        if format.first > limit.first || format.last > limit.last {
            return Err(TruncationError::Forbidden { limit });
        }
        let ascii = self.kept_ascii(usize::from(format.first), usize::from(format.last));
        Ok(TruncatedPan {
            ascii,
            len: self.digits().len_u8(),
            format,
        })
    }
}

impl TruncatedPan {
    /// The text: kept digits, and `*` for each that was removed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.ascii.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// How many digits the number had.
    #[must_use]
    pub const fn digit_count(&self) -> usize {
        self.len as usize
    }

    /// What was kept.
    #[must_use]
    pub const fn format(&self) -> TruncationFormat {
        self.format
    }
}

impl FromStr for TruncatedPan {
    type Err = TruncationError;

    /// Reads the form that [`TruncatedPan::as_str`] writes.
    fn from_str(text: &str) -> Result<Self, TruncationError> {
        let bytes = text.as_bytes();
        if !(PAN_MIN_DIGITS..=PAN_MAX_DIGITS).contains(&bytes.len()) {
            return Err(TruncationError::Length {
                characters: bytes.len(),
            });
        }
        let fill = MaskedPan::FILL;
        let kept = |digits: usize| u8::try_from(digits).unwrap_or(u8::MAX);
        let first = text.bytes().take_while(u8::is_ascii_digit).count();
        let removed = text.chars().skip(first).take_while(|&c| c == fill).count();
        let last = bytes.len() - first - removed;
        if let Some(at) = text
            .bytes()
            .skip(first + removed)
            .position(|b| !b.is_ascii_digit())
        {
            return Err(TruncationError::Byte {
                at: first + removed + at,
            });
        }
        let limit = limit_of_kept(bytes, first);
        let format = TruncationFormat::new(kept(first), kept(last))
            .filter(|_| removed >= usize::from(TRUNCATION_MIN_REMOVED))
            .filter(|format| format.first <= limit.first && format.last <= limit.last)
            .ok_or(TruncationError::TooMuchKept)?;
        let mut ascii = [0; PAN_MAX_DIGITS];
        for (to, from) in ascii.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(Self {
            ascii,
            len: kept(bytes.len()),
            format,
        })
    }
}

impl fmt::Display for TruncatedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TruncatedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TruncatedPan({})", self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for TruncatedPan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a number was not truncated, or a text is no truncated number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TruncationError {
    /// The brand's rule lets less be kept.
    Forbidden {
        /// The most that it allows.
        limit: TruncationFormat,
    },
    /// A truncated number has 8 to 19 characters.
    Length {
        /// How many there are.
        characters: usize,
    },
    /// The byte at this offset is out of place.
    Byte {
        /// Offset in bytes.
        at: usize,
    },
    /// The text keeps more digits than any rule allows.
    TooMuchKept,
}

impl fmt::Display for TruncationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { limit } => write!(
                f,
                "this card number may be stored with at most its first {} and last {} digits",
                limit.first, limit.last
            ),
            Self::Length { characters } => {
                write!(
                    f,
                    "truncated card number has {characters} characters, not 8 to 19"
                )
            }
            Self::Byte { at } => {
                write!(
                    f,
                    "truncated card number has an unexpected byte at offset {at}"
                )
            }
            Self::TooMuchKept => {
                f.write_str("truncated card number keeps more digits than any rule allows")
            }
        }
    }
}

impl core::error::Error for TruncationError {}

/// The most that may be kept of a truncated number that still shows its first `first` digits, by
/// the brand that these digits name.
fn limit_of_kept(text: &[u8], first: usize) -> TruncationFormat {
    let shown = text.iter().take(first).map(|digit| u64::from(digit - b'0'));
    let padded = shown.chain(core::iter::repeat(0)).take(PAN_MIN_DIGITS);
    let iin8 = padded.fold(0, |iin, digit| 10 * iin + digit);
    truncation_limit(brand_of(iin8, text.len()), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brand, number, most that may be kept: the rows of the FAQ's table.
    const ROWS: [(&str, u8, u8); 9] = [
        ("4111111111111111", 8, 4),
        ("5555555555554444", 8, 4),
        ("6011111111111117", 8, 4),
        ("3530111333300000", 8, 4),
        ("6200000000000005", 8, 4),
        ("378282246310005", 6, 4),
        ("30569309025904", 6, 4),
        ("5019717010103742", 6, 4),
        ("4222222222222", 5, 4),
    ];

    #[test]
    fn keeps_what_the_table_allows_and_no_digit_more() {
        for (clear, first, last) in ROWS {
            let pan = Pan::parse(clear.as_bytes()).unwrap();
            for asked in 0..=TRUNCATION_MAX_FIRST {
                let format = TruncationFormat::new(asked, last).unwrap();
                let result = pan.truncate(format);
                assert_eq!(result.is_ok(), asked <= first, "{} {asked}", pan.brand());
                let Ok(stored) = result else { continue };
                let removed = clear.len() - usize::from(asked + last);
                let expected = [
                    &clear[..usize::from(asked)],
                    &"*".repeat(removed),
                    &clear[clear.len() - usize::from(last)..],
                ]
                .concat();
                assert_eq!(stored.as_str(), expected);
                assert_eq!(stored.as_str().parse(), Ok(stored));
            }
        }
        assert_eq!(TruncationFormat::new(9, 4), None);
        assert_eq!(TruncationFormat::new(6, 5), None);
    }

    #[test]
    fn short_numbers_lose_at_least_four_digits() {
        for digits in PAN_MIN_DIGITS..=PAN_MAX_DIGITS {
            let limit = truncation_limit(Brand::Unknown, digits);
            assert!(usize::from(limit.first + limit.last) + 4 <= digits);
        }
    }

    #[test]
    fn reads_only_what_it_writes() {
        for text in [
            "",
            "411111",
            "411111111111",
            "411111***11111",
            "41*111****1111",
            "4111*****x111",
            "3782822****0005",
            "3782822*****0005",
            "50000000*******0005",
        ] {
            assert!(text.parse::<TruncatedPan>().is_err(), "{text}");
        }
    }
}
