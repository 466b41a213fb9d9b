//! Amounts in minor units of one currency. No floating point, no silent mixing or wrapping.
#![forbid(unsafe_code)]

use core::cmp::Ordering;
use core::fmt;

use super::currency::Currency;
use super::error::{self, Field, FieldError};

/// Digits of an amount in ISO 8583 field 4.
pub const AMOUNT_DIGITS: usize = 12;
/// The largest amount in minor units: what `n12` holds.
pub const AMOUNT_MAX: u64 = 999_999_999_999;

/// An amount of money in minor units: `1234` with [`Currency::CNY`] is 12.34 yuan. At most
/// [`AMOUNT_MAX`], never negative. May be zero.
///
/// `PartialOrd` orders amounts of one currency; two currencies have no order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: u64,
    currency: Currency,
}

impl Amount {
    /// `minor` units of `currency`.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] above [`AMOUNT_MAX`].
    pub const fn new(minor: u64, currency: Currency) -> Result<Self, AmountError> {
        if minor > AMOUNT_MAX {
            return Err(AmountError::Overflow);
        }
        Ok(Self { minor, currency })
    }

    /// Nothing, in `currency`.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// Reads field 4: exactly twelve digits of minor units.
    ///
    /// # Errors
    /// [`FieldError`] if these are not twelve digits.
    pub fn from_n12(text: &[u8], currency: Currency) -> Result<Self, FieldError> {
        if text.len() != AMOUNT_DIGITS {
            return Err(FieldError::length(Field::Amount, text.len()));
        }
        let minor = error::digits(Field::Amount, 0, text)?;
        Ok(Self { minor, currency })
    }

    /// The twelve digits of field 4.
    #[must_use]
    pub fn to_n12(self) -> [u8; AMOUNT_DIGITS] {
        error::to_digits(self.minor)
    }

    /// Reads an amount as people write it: `12.34`, or `12` for whole units. No sign, no
    /// grouping, at most the currency's decimals, no leading zero before another digit.
    ///
    /// # Errors
    /// [`FieldError`] with the place of the first character that does not fit.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, FieldError> {
        let decimals = usize::from(currency.decimals());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let point = whole.len();
        if whole.is_empty() || whole.len() > AMOUNT_DIGITS {
            return Err(FieldError::length(Field::Amount, text.len()));
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(FieldError::character(Field::Amount, 0));
        }
        if (point < text.len() && fraction.is_empty()) || fraction.len() > decimals {
            let at = text
                .len()
                .min(point.saturating_add(1).saturating_add(decimals));
            return Err(FieldError::character(Field::Amount, at));
        }
        let mut minor = error::digits(Field::Amount, 0, whole.as_bytes())?;
        for place in 0..decimals {
            let digit = match fraction.as_bytes().get(place..=place) {
                Some(byte) => {
                    let base = point.saturating_add(1).saturating_add(place);
                    error::digits(Field::Amount, base, byte)?
                }
                None => 0,
            };
            // At most 12 + 4 digits: fits.
            minor = minor * 10 + digit;
        }
        Self::new(minor, currency).map_err(|_| FieldError::range(Field::Amount, 0))
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(self) -> u64 {
        self.minor
    }

    /// Its currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`AmountError::Mixed`] for two currencies, [`AmountError::Overflow`] above
    /// [`AMOUNT_MAX`].
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        // Both are at most AMOUNT_MAX: their sum fits.
        Self::new(self.minor + other.minor, self.currency)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`AmountError::Mixed`] for two currencies, [`AmountError::Negative`] if `other` is
    /// larger.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        let minor = self
            .minor
            .checked_sub(other.minor)
            .ok_or(AmountError::Negative)?;
        Ok(Self { minor, ..self })
    }

    /// `percent` hundredths of this amount, rounded down to whole minor units.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] above [`AMOUNT_MAX`].
    pub const fn percent(self, percent: u16) -> Result<Self, AmountError> {
        // 10^12 * 65535 is below 2^56.
        Self::new(self.minor * percent as u64 / 100, self.currency)
    }

    fn same_currency(self, other: Self) -> Result<(), AmountError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(AmountError::Mixed)
        }
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.currency == other.currency).then(|| self.minor.cmp(&other.minor))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Amount {
    /// `12.34 CNY`, with the currency's decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = u32::from(self.currency.decimals());
        let unit = 10_u64.pow(decimals);
        write!(f, "{}", self.minor / unit)?;
        if decimals > 0 {
            let width = usize::from(self.currency.decimals());
            write!(f, ".{:0width$}", self.minor % unit)?;
        }
        write!(f, " {}", self.currency)
    }
}

/// Why amounts do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AmountError {
    /// Two currencies.
    Mixed,
    /// More than [`AMOUNT_MAX`].
    Overflow,
    /// Less than nothing.
    Negative,
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mixed => "amounts are of two currencies",
            Self::Overflow => "amount has more than 12 digits",
            Self::Negative => "amount would be less than nothing",
        })
    }
}

impl core::error::Error for AmountError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::FieldProblem;

    fn cny(minor: u64) -> Amount {
        Amount::new(minor, Currency::CNY).unwrap()
    }

    #[test]
    fn adds_within_bounds_and_one_currency() {
        assert_eq!(
            Amount::new(AMOUNT_MAX + 1, Currency::CNY),
            Err(AmountError::Overflow)
        );
        assert_eq!(cny(1).checked_add(cny(2)), Ok(cny(3)));
        assert_eq!(
            cny(AMOUNT_MAX).checked_add(cny(1)),
            Err(AmountError::Overflow)
        );
        assert_eq!(
            cny(AMOUNT_MAX).checked_add(cny(AMOUNT_MAX)),
            Err(AmountError::Overflow)
        );
        assert_eq!(cny(1).checked_sub(cny(2)), Err(AmountError::Negative));
        let usd = Amount::zero(Currency::USD);
        assert_eq!(cny(1).checked_add(usd), Err(AmountError::Mixed));
        assert_eq!(cny(1).checked_sub(usd), Err(AmountError::Mixed));
        assert_eq!(cny(1).partial_cmp(&usd), None);
        assert!(cny(1) < cny(2));
        assert_eq!(cny(199).percent(115), Ok(cny(228)));
        assert_eq!(cny(AMOUNT_MAX).percent(115), Err(AmountError::Overflow));
    }

    #[test]
    fn texts() {
        let yen = |minor| Amount::new(minor, Currency::JPY).unwrap();
        let dinar = |minor| Amount::new(minor, Currency::KWD).unwrap();
        assert_eq!(cny(5).to_string(), "0.05 CNY");
        assert_eq!(yen(1200).to_string(), "1200 JPY");
        assert_eq!(dinar(1_050).to_string(), "1.050 KWD");
        assert_eq!(Amount::parse("12.3", Currency::CNY), Ok(cny(1230)));
        assert_eq!(Amount::parse("12", Currency::CNY), Ok(cny(1200)));
        assert_eq!(Amount::parse("0.001", Currency::KWD), Ok(dinar(1)));
        assert_eq!(Amount::parse("7", Currency::JPY), Ok(yen(7)));
        assert_eq!(
            Amount::parse("9999999999.99", Currency::CNY),
            Ok(cny(AMOUNT_MAX))
        );
        assert_eq!(cny(1234).to_n12(), *b"000000001234");
        for (bad, at) in [
            ("12.345", 5),
            ("12.", 3),
            ("1.2.", 3),
            ("12.3x", 4),
            ("1,2", 1),
            ("-1", 0),
            ("+1", 0),
            ("01", 0),
            ("1.\u{661}", 2),
            (" 1", 0),
        ] {
            let error = Amount::parse(bad, Currency::CNY).unwrap_err();
            assert_eq!(error.problem, FieldProblem::Character { at }, "{bad}");
        }
        for bad in [
            "",
            ".5",
            "9999999999999",
            "10000000000.00",
            "99999999999.99",
        ] {
            assert!(Amount::parse(bad, Currency::CNY).is_err(), "{bad}");
        }
        assert!(Amount::parse("1.5", Currency::JPY).is_err());
        assert!(Amount::from_n12(b"00000000123", Currency::CNY).is_err());
        assert!(Amount::from_n12(b"0000000012 4", Currency::CNY).is_err());
    }

    proptest::proptest! {
        #[test]
        fn text_forms_read_back(minor in 0..=AMOUNT_MAX, row in 0..157_usize) {
            let currency = Currency::all().nth(row).unwrap();
            let amount = Amount::new(minor, currency).unwrap();
            let text = amount.to_string();
            let (number, code) = text.split_once(' ').unwrap();
            let back = Amount::parse(number, code.parse().unwrap());
            proptest::prop_assert_eq!(back, Ok(amount));
            proptest::prop_assert_eq!(Amount::from_n12(&amount.to_n12(), currency), Ok(amount));
        }

        #[test]
        fn sums_as_integers_do(a in 0..=AMOUNT_MAX, b in 0..=AMOUNT_MAX) {
            let sum = cny(a).checked_add(cny(b)).map(Amount::minor).ok();
            proptest::prop_assert_eq!(sum, Some(a + b).filter(|&sum| sum <= AMOUNT_MAX));
            let difference = cny(a).checked_sub(cny(b)).map(Amount::minor).ok();
            proptest::prop_assert_eq!(difference, a.checked_sub(b));
        }
    }
}
