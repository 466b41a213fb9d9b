//! What of a card number may be displayed (PCI DSS v4.0.1, 3.4.1): at most BIN and last four.
#![forbid(unsafe_code)]

use core::fmt;

use super::digits::PAN_MAX_DIGITS;
use super::pan::Pan;

/// How many digits a mask hides at least; shorter numbers show less of their BIN.
pub const MASK_MIN_HIDDEN: usize = 4;

/// How many last digits a mask shows.
pub const MASK_LAST: usize = 4;

/// Which leading digits a mask shows. The last four are always shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MaskBin {
    /// None.
    Hidden,
    /// The six digits of a 6-digit BIN.
    #[default]
    Six,
    /// The eight digits of an 8-digit BIN.
    Eight,
}

impl MaskBin {
    const fn digits(self) -> usize {
        match self {
            Self::Hidden => 0,
            Self::Six => 6,
            Self::Eight => 8,
        }
    }
}

/// A card number for display, such as `411111******1111`.
///
/// For screens and receipts. What is stored is a [`super::TruncatedPan`]: its rules are stricter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaskedPan {
    ascii: [u8; PAN_MAX_DIGITS],
    len: u8,
}

impl MaskedPan {
    /// The hidden digit's stand-in.
    pub const FILL: char = '*';

    /// The text: as many characters as the number has digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.ascii.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl Pan {
    /// The number for display: the 6-digit BIN and the last four.
    ///
    /// At least [`MASK_MIN_HIDDEN`] digits are hidden: a number of fewer than 14 digits shows
    /// less of its BIN.
    ///
    /// ```
    /// use cardvault::card::Pan;
    ///
    /// assert_eq!(Pan::parse(b"4111111111111111")?.mask().as_str(), "411111******1111");
    /// assert_eq!(Pan::parse(b"4222222222222")?.mask().as_str(), "42222****2222");
    /// # Ok::<(), cardvault::card::PanError>(())
    /// ```
    #[must_use]
    pub fn mask(&self) -> MaskedPan {
        self.mask_with(MaskBin::default())
    }

    /// The number for display with as much of its BIN as `bin` says.
    #[must_use]
    pub fn mask_with(&self, bin: MaskBin) -> MaskedPan {
        let len = self.digit_count();
        let first = bin
            .digits()
            .min(len.saturating_sub(MASK_LAST + MASK_MIN_HIDDEN));
        MaskedPan {
            ascii: self.kept_ascii(first, MASK_LAST),
            len: self.digits().len_u8(),
        }
    }
}

impl fmt::Display for MaskedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for MaskedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaskedPan({})", self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for MaskedPan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn hides_at_least_four_and_shows_at_most_bin_and_last_four(body in "[0-9]{7,18}") {
            let check = super::super::luhn::check_digit(body.as_bytes()).unwrap();
            let clear = format!("{body}{check}");
            let pan = Pan::parse(clear.as_bytes()).unwrap();
            for (bin, most) in [(MaskBin::Hidden, 0), (MaskBin::Six, 6), (MaskBin::Eight, 8)] {
                let mask = pan.mask_with(bin);
                let shown = mask.as_str();
                assert_eq!(shown.len(), clear.len());
                assert!(shown.matches('*').count() >= MASK_MIN_HIDDEN);
                let front = shown.find('*').unwrap();
                assert!(front <= most);
                assert_eq!(&shown[..front], &clear[..front]);
                assert_eq!(shown.rfind('*').unwrap(), clear.len() - 5);
                assert_eq!(&shown[clear.len() - 4..], &clear[clear.len() - 4..]);
            }
        }
    }
}
