//! Fields that are short texts of a fixed or bounded length: ids, codes and reference numbers.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

use super::error::{Field, FieldError};

/// Characters of a retrieval reference number, field 37.
pub const RRN_LEN: usize = 12;
/// Characters of a terminal id, field 41.
pub const TERMINAL_ID_LEN: usize = 8;
/// Characters of a merchant id, field 42.
pub const MERCHANT_ID_LEN: usize = 15;
/// Characters of an approval code, field 38.
pub const APPROVAL_CODE_LEN: usize = 6;
/// Characters of a response code, field 39.
pub const RESPONSE_CODE_LEN: usize = 2;
/// Digits of a message type indicator.
pub const MTI_LEN: usize = 4;
/// Digits of an institution's identification code.
pub const INSTITUTION_LEN: usize = 11;
/// Characters of a payment account reference, EMV tag 9F24.
pub const PAR_LEN: usize = 29;
/// The most characters of an order number.
pub const ORDER_NUMBER_MAX_LEN: usize = 64;
/// The most characters of a refund number.
pub const REFUND_NUMBER_MAX_LEN: usize = 64;

text_field! {
    /// The retrieval reference number (field 37, an12): set by the centre, unique within a
    /// clearing day, so that it names a payment only together with a date.
    Rrn, RRN_LEN, Field::Rrn, Fill::None, |_, byte| byte.is_ascii_alphanumeric()
}

text_field! {
    /// The terminal's id (field 41, ans8), unique within an acquirer. Shorter ids are filled
    /// with blanks on the right, which are no part of the id.
    TerminalId, TERMINAL_ID_LEN, Field::Terminal, Fill::Right, blank_filled
}

text_field! {
    /// The merchant's id (field 42, ans15). Shorter ids are filled with blanks on the right,
    /// which are no part of the id.
    MerchantId, MERCHANT_ID_LEN, Field::Merchant, Fill::Right, blank_filled
}

text_field! {
    /// The issuer's approval code (field 38, an6).
    ApprovalCode, APPROVAL_CODE_LEN, Field::Approval, Fill::None,
    |_, byte| byte.is_ascii_alphanumeric()
}

text_field! {
    /// The response code (field 39, an2).
    ResponseCode, RESPONSE_CODE_LEN, Field::Response, Fill::None,
    |_, byte| byte.is_ascii_alphanumeric()
}

text_field! {
    /// The message type indicator (n4), as in `0200`.
    Mti, MTI_LEN, Field::Mti, Fill::None, |_, byte| byte.is_ascii_digit()
}

text_field! {
    /// An institution's identification code (fields 32 and 33, n11). Shorter codes are filled
    /// with zeros on the left, as in fields 61 and 90, where all zeros are no code.
    Institution, INSTITUTION_LEN, Field::Institution, Fill::Left, |_, byte| byte.is_ascii_digit()
}

text_field! {
    /// The payment account reference (EMV tag 9F24): 29 upper case letters and digits that one
    /// account keeps on its card and on every phone. It is no card number and opens none.
    Par, PAR_LEN, Field::Par, Fill::None,
    |_, byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

bounded_field! {
    /// The merchant's order number, by which a QR payment is known: 1 to 64 visible ASCII
    /// characters, no blanks. 64 is what the widest of the wallets' interfaces takes.
    OrderNumber, ORDER_NUMBER_MAX_LEN, Field::Order
}

bounded_field! {
    /// The merchant's own number of a refund: 1 to 64 visible ASCII characters, no blanks. One
    /// number refunds once.
    RefundNumber, REFUND_NUMBER_MAX_LEN, Field::Refund
}

impl ResponseCode {
    /// `00`, approved.
    pub const APPROVED: Self = Self(*b"00");

    /// Whether a payment with this answer was approved: `00` alone.
    #[must_use]
    pub fn is_approved(self) -> bool {
        self == Self::APPROVED
    }

    /// Whether a reversal with this answer is done: `00` approved, `12` and `25` no such
    /// original, so nothing is left to reverse (UnionPay terminal specification).
    #[must_use]
    pub fn is_reversed(self) -> bool {
        matches!(&self.0, b"00" | b"12" | b"25")
    }
}

/// How a text that is shorter than its field is filled up.
enum Fill {
    /// Not at all: the length is exact.
    None,
    /// With blanks behind it.
    Right,
    /// With zeros before it.
    Left,
}

/// Visible characters, blanks among them and behind them but not first.
const fn blank_filled(at: usize, byte: u8) -> bool {
    byte.is_ascii_graphic() || (byte == b' ' && at > 0)
}

fn fixed<const N: usize>(
    field: Field,
    fill: &Fill,
    text: &[u8],
    allowed: impl Fn(usize, u8) -> bool,
) -> Result<[u8; N], FieldError> {
    let fits = match fill {
        Fill::None => text.len() == N,
        Fill::Right | Fill::Left => (1..=N).contains(&text.len()),
    };
    if !fits {
        return Err(FieldError::length(field, text.len()));
    }
    if let Some(at) = refused(text, allowed) {
        return Err(FieldError::character(field, at));
    }
    let (mut out, start) = match fill {
        Fill::None | Fill::Right => ([b' '; N], 0),
        Fill::Left => ([b'0'; N], N.saturating_sub(text.len())),
    };
    for (place, byte) in out.iter_mut().skip(start).zip(text) {
        *place = *byte;
    }
    // All zeros mean in messages that the field is absent.
    if matches!(fill, Fill::Left) && out == [b'0'; N] {
        return Err(FieldError::range(field, 0));
    }
    Ok(out)
}

fn refused(text: &[u8], allowed: impl Fn(usize, u8) -> bool) -> Option<usize> {
    let mut places = text.iter().enumerate();
    places.find_map(|(at, &byte)| (!allowed(at, byte)).then_some(at))
}

/// A field of exactly so many characters, filled up where it may be.
macro_rules! text_field {
    ($(#[$doc:meta])* $name:ident, $len:ident, $field:expr, $fill:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Reads the field's characters.
            ///
            /// # Errors
            /// [`FieldError`] for a wrong length or the first character that is not allowed.
            pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
                fixed($field, &$fill, text, $allowed).map(Self)
            }

            /// The characters in full length, as messages carry them.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The text, without the blanks that fill it up.
            #[must_use]
            pub fn as_str(&self) -> &str {
                // The bytes are ASCII: every constructor has checked them.
                core::str::from_utf8(&self.0).unwrap_or_default().trim_end()
            }
        }

        text_traits!($name);
    };
}
use text_field;

/// A field of one to so many visible characters.
macro_rules! bounded_field {
    ($(#[$doc:meta])* $name:ident, $max:ident, $field:expr) => {
        $(#[$doc])*
        // Bytes behind the length are zero, so that derived comparisons hold.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            bytes: [u8; $max],
            len: u8,
        }

        impl $name {
            /// Reads the characters.
            ///
            /// # Errors
            /// [`FieldError`] for a wrong length or the first character that is not allowed.
            pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
                if !(1..=$max).contains(&text.len()) {
                    return Err(FieldError::length($field, text.len()));
                }
                if let Some(at) = refused(text, |_, byte| byte.is_ascii_graphic()) {
                    return Err(FieldError::character($field, at));
                }
                let mut bytes = [0; $max];
                for (place, byte) in bytes.iter_mut().zip(text) {
                    *place = *byte;
                }
                let len = u8::try_from(text.len())
                    .map_err(|_| FieldError::length($field, text.len()))?;
                Ok(Self { bytes, len })
            }

            /// The characters.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.bytes.get(..usize::from(self.len)).unwrap_or_default()
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                core::str::from_utf8(self.as_bytes()).unwrap_or_default()
            }
        }

        text_traits!($name);
    };
}
use bounded_field;

macro_rules! text_traits {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = FieldError;

            fn from_str(text: &str) -> Result<Self, FieldError> {
                Self::parse(text.as_bytes())
            }
        }
    };
}
use text_traits;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::FieldProblem;

    fn character(at: usize) -> FieldProblem {
        FieldProblem::Character { at }
    }

    fn length(found: usize) -> FieldProblem {
        FieldProblem::Length { found }
    }

    #[test]
    fn exact_lengths() {
        assert_eq!(
            Rrn::parse(b"25112100001A").unwrap().to_string(),
            "25112100001A"
        );
        assert_eq!(Rrn::parse(b"25112100001").unwrap_err().problem, length(11));
        assert_eq!(
            Rrn::parse(b"25112100001 ").unwrap_err().problem,
            character(11)
        );
        assert_eq!(
            ApprovalCode::parse(b"A1b2C3").unwrap().as_bytes(),
            b"A1b2C3"
        );
        assert_eq!(
            ApprovalCode::parse(b"1234567").unwrap_err().problem,
            length(7)
        );
        assert_eq!(ResponseCode::parse(b"").unwrap_err().problem, length(0));
        let par = b"500183QK0VQ1J9OB05EBDTQHRHD8L";
        assert_eq!(Par::parse(par).unwrap().as_str().len(), PAR_LEN);
        let mut small = *par;
        small[28] = b'l';
        assert_eq!(Par::parse(&small).unwrap_err().problem, character(28));
    }

    #[test]
    fn filled_fields_have_one_form() {
        let short = TerminalId::parse(b"T1").unwrap();
        assert_eq!(short.as_bytes(), b"T1      ");
        assert_eq!(TerminalId::parse(b"T1      "), Ok(short));
        assert_eq!(short.to_string(), "T1");
        assert_eq!(
            MerchantId::parse(b"A B").unwrap().as_bytes(),
            b"A B            "
        );
        assert_eq!(TerminalId::parse(b" T1").unwrap_err().problem, character(0));
        assert_eq!(
            TerminalId::parse(b"        ").unwrap_err().problem,
            character(0)
        );
        assert_eq!(TerminalId::parse(b"").unwrap_err().problem, length(0));
        assert_eq!(
            TerminalId::parse(b"T1\n").unwrap_err().problem,
            character(2)
        );
        assert_eq!(
            TerminalId::parse(b"123456789").unwrap_err().problem,
            length(9)
        );
        assert_eq!(
            Institution::parse(b"48021000").unwrap().as_bytes(),
            b"00048021000"
        );
        assert!(Institution::parse(b"000").is_err());
        assert_eq!(
            Institution::parse(b"4802100x").unwrap_err().problem,
            character(7)
        );
    }

    #[test]
    fn bounded_fields() {
        let long = [b'a'; 64];
        assert_eq!(OrderNumber::parse(&long).unwrap().as_bytes(), long);
        assert_eq!(
            OrderNumber::parse(&[b'a'; 65]).unwrap_err().problem,
            length(65)
        );
        assert_eq!(RefundNumber::parse(b"").unwrap_err().problem, length(0));
        assert_eq!(
            RefundNumber::parse(b"R 1").unwrap_err().problem,
            character(1)
        );
        assert_eq!(
            OrderNumber::parse("\u{e9}".as_bytes()).unwrap_err().problem,
            character(0)
        );
        assert_eq!("R-1".parse::<RefundNumber>().unwrap().to_string(), "R-1");
    }

    #[test]
    fn answers() {
        let code = |text: &str| text.parse::<ResponseCode>().unwrap();
        for tens in 0..100 {
            let text = format!("{tens:02}");
            assert_eq!(code(&text).is_approved(), tens == 0);
            assert_eq!(code(&text).is_reversed(), [0, 12, 25].contains(&tens));
        }
        assert!(!code("A0").is_approved());
    }

    #[test]
    fn errors_name_no_content() {
        let error = OrderNumber::parse(b"4111 1111").unwrap_err();
        assert_eq!(
            error.to_string(),
            "order number has a character at 4 that is not allowed"
        );
    }
}
