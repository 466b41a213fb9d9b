//! Six-digit numbers that a terminal counts up: trace, voucher and batch numbers.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

use super::error::{self, Field, FieldError};

/// Digits of each of these numbers.
pub const NUMBER_DIGITS: usize = 6;
/// The largest of these numbers.
pub const NUMBER_MAX: u32 = 999_999;

number_field! {
    /// The system trace audit number (field 11, n6) of one message, 0 to 999999. A reversal
    /// keeps its original's.
    Stan, Field::Stan, true
}

number_field! {
    /// The voucher number on the receipt, 000001 to 999999. After 999999 comes 000001: it names
    /// a payment only together with the terminal and the batch.
    Voucher, Field::Voucher, false
}

number_field! {
    /// The number of a terminal's batch, 000001 to 999999, closed by a settlement.
    BatchNumber, Field::Batch, false
}

/// A number of six digits, 000000 among them or not.
macro_rules! number_field {
    ($(#[$doc:meta])* $name:ident, $field:expr, $zero:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The first of these numbers.
            pub const FIRST: Self = Self(1);

            /// The number; `None` if it is out of range.
            #[must_use]
            pub const fn new(number: u32) -> Option<Self> {
                if number > NUMBER_MAX || (number == 0 && !$zero) {
                    return None;
                }
                Some(Self(number))
            }

            /// Reads exactly six digits.
            ///
            /// # Errors
            /// [`FieldError`] for a wrong length, a character that is no digit, or 000000
            /// where it is no number.
            pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
                if text.len() != NUMBER_DIGITS {
                    return Err(FieldError::length($field, text.len()));
                }
                let number = error::digits($field, 0, text)?;
                let number = u32::try_from(number).ok().and_then(Self::new);
                number.ok_or(FieldError::range($field, 0))
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// The six digits.
            #[must_use]
            pub fn to_digits(self) -> [u8; NUMBER_DIGITS] {
                error::to_digits(u64::from(self.0))
            }

            /// The number that follows: 000001 after 999999.
            #[must_use]
            pub const fn next(self) -> Self {
                if self.0 == NUMBER_MAX {
                    Self::FIRST
                } else {
                    Self(self.0 + 1)
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:06}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:06})", stringify!($name), self.0)
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
use number_field;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::FieldProblem;

    #[test]
    fn rolls_over_to_one() {
        let last = Voucher::new(NUMBER_MAX).unwrap();
        assert_eq!(last.next(), Voucher::FIRST);
        assert_eq!(last.next().to_string(), "000001");
        assert_eq!(Voucher::new(1).unwrap().next().get(), 2);
        assert_eq!(
            BatchNumber::new(NUMBER_MAX).unwrap().next(),
            BatchNumber::FIRST
        );
        let mut stan = Stan::FIRST;
        for _ in 0..NUMBER_MAX {
            stan = stan.next();
            assert!(Stan::new(stan.get()).is_some() && stan.get() > 0);
        }
        assert_eq!(stan, Stan::FIRST);
    }

    #[test]
    fn six_digits_and_no_zero() {
        assert_eq!("000000".parse::<Stan>().unwrap().get(), 0);
        assert_eq!(Voucher::new(0), None);
        assert_eq!(Voucher::new(NUMBER_MAX + 1), None);
        assert_eq!(
            "000000".parse::<Voucher>().unwrap_err().problem,
            FieldProblem::Range { at: 0 }
        );
        assert_eq!(
            "00012x".parse::<BatchNumber>().unwrap_err().problem,
            FieldProblem::Character { at: 5 }
        );
        for bad in ["", "12345", "1234567"] {
            let found = bad.len();
            let problem = Stan::parse(bad.as_bytes()).unwrap_err().problem;
            assert_eq!(problem, FieldProblem::Length { found });
        }
        assert_eq!("000123".parse::<Voucher>().unwrap().to_digits(), *b"000123");
    }
}
