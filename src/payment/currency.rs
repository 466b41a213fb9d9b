//! ISO 4217 currencies and how many decimals their amounts have.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

use super::error::{Field, FieldError};

/// A currency of ISO 4217: it is in the table, so its decimals are known.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency {
    alpha: [u8; 3],
    numeric: u16,
    decimals: u8,
}

impl Currency {
    /// Yuan renminbi.
    pub const CNY: Self = Self::known(*b"CNY", 156, 2);
    /// Euro.
    pub const EUR: Self = Self::known(*b"EUR", 978, 2);
    /// Hong Kong dollar.
    pub const HKD: Self = Self::known(*b"HKD", 344, 2);
    /// Yen, without decimals.
    pub const JPY: Self = Self::known(*b"JPY", 392, 0);
    /// Kuwaiti dinar, with three decimals.
    pub const KWD: Self = Self::known(*b"KWD", 414, 3);
    /// US dollar.
    pub const USD: Self = Self::known(*b"USD", 840, 2);

    /// The currency of a numeric code, as in ISO 8583 field 49.
    ///
    /// # Errors
    /// [`CurrencyError`] if the table has no such currency.
    pub fn from_numeric(numeric: u16) -> Result<Self, CurrencyError> {
        find(|currency| currency.numeric == numeric)
    }

    /// The currency of an alphabetic code in upper case.
    ///
    /// # Errors
    /// [`CurrencyError`] if the table has no such currency.
    pub fn from_alpha(alpha: [u8; 3]) -> Result<Self, CurrencyError> {
        find(|currency| currency.alpha == alpha)
    }

    /// Reads field 49: three digits, or three letters in upper case.
    ///
    /// # Errors
    /// [`FieldError`] if these are not three such characters or no currency of the table.
    pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
        let &[a, b, c] = text else {
            return Err(FieldError::length(Field::Currency, text.len()));
        };
        find(|currency| {
            currency.alpha == [a, b, c] || currency.numeric_text().as_slice() == [a, b, c]
        })
        .map_err(|_| FieldError::range(Field::Currency, 0))
    }

    /// The numeric code, 1 to 999.
    #[must_use]
    pub const fn numeric(self) -> u16 {
        self.numeric
    }

    /// The numeric code as field 49 shows it.
    #[must_use]
    pub fn numeric_text(self) -> [u8; 3] {
        super::error::to_digits(u64::from(self.numeric))
    }

    /// The alphabetic code.
    #[must_use]
    pub fn alpha(&self) -> &str {
        core::str::from_utf8(&self.alpha).unwrap_or_default()
    }

    /// Decimals of an amount: 2 where the minor unit is a hundredth. 0 to 4.
    #[must_use]
    pub const fn decimals(self) -> u8 {
        self.decimals
    }

    /// Every currency of the table, by alphabetic code.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.chunks(ROW).filter_map(row)
    }

    const fn known(alpha: [u8; 3], numeric: u16, decimals: u8) -> Self {
        Self {
            alpha,
            numeric,
            decimals,
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.alpha())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.alpha())
    }
}

impl FromStr for Currency {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        Self::parse(text.as_bytes())
    }
}

/// The code is none of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencyError;

impl fmt::Display for CurrencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the currency code is not in the table")
    }
}

impl core::error::Error for CurrencyError {}

fn find(wanted: impl Fn(&Currency) -> bool) -> Result<Currency, CurrencyError> {
    Currency::all().find(wanted).ok_or(CurrencyError)
}

fn row(row: &[u8]) -> Option<Currency> {
    let &[a, b, c, n1, n2, n3, decimals, ..] = row else {
        return None;
    };
    let numeric = [n1, n2, n3]
        .iter()
        .fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    Some(Currency::known([a, b, c], numeric, decimals - b'0'))
}

/// Bytes of a row of the table: three letters, three digits, the decimals, a blank.
const ROW: usize = 8;

/// ISO 4217 list one of 2026-01-01: what has a minor unit and is no fund. A withdrawn code
/// stays, so that old records can be read.
const TABLE: &[u8] = b"\
    AED7842 AFN9712 ALL0082 AMD0512 AOA9732 ARS0322 AUD0362 AWG5332 AZN9442 BAM9772 BBD0522 \
    BDT0502 BHD0483 BIF1080 BMD0602 BND0962 BOB0682 BRL9862 BSD0442 BTN0642 BWP0722 BYN9332 \
    BZD0842 CAD1242 CDF9762 CHF7562 CLP1520 CNY1562 COP1702 CRC1882 CUP1922 CVE1322 CZK2032 \
    DJF2620 DKK2082 DOP2142 DZD0122 EGP8182 ERN2322 ETB2302 EUR9782 FJD2422 FKP2382 GBP8262 \
    GEL9812 GHS9362 GIP2922 GMD2702 GNF3240 GTQ3202 GYD3282 HKD3442 HNL3402 HTG3322 HUF3482 \
    IDR3602 ILS3762 INR3562 IQD3683 IRR3642 ISK3520 JMD3882 JOD4003 JPY3920 KES4042 KGS4172 \
    KHR1162 KMF1740 KPW4082 KRW4100 KWD4143 KYD1362 KZT3982 LAK4182 LBP4222 LKR1442 LRD4302 \
    LSL4262 LYD4343 MAD5042 MDL4982 MGA9692 MKD8072 MMK1042 MNT4962 MOP4462 MRU9292 MUR4802 \
    MVR4622 MWK4542 MXN4842 MYR4582 MZN9432 NAD5162 NGN5662 NIO5582 NOK5782 NPR5242 NZD5542 \
    OMR5123 PAB5902 PEN6042 PGK5982 PHP6082 PKR5862 PLN9852 PYG6000 QAR6342 RON9462 RSD9412 \
    RUB6432 RWF6460 SAR6822 SBD0902 SCR6902 SDG9382 SEK7522 SGD7022 SHP6542 SLE9252 SOS7062 \
    SRD9682 SSP7282 STN9302 SVC2222 SYP7602 SZL7482 THB7642 TJS9722 TMT9342 TND7883 TOP7762 \
    TRY9492 TTD7802 TWD9012 TZS8342 UAH9802 UGX8000 USD8402 UYU8582 UYW9274 UZS8602 VED9262 \
    VES9282 VND7040 VUV5480 WST8822 XAD3962 XAF9500 XCD9512 XCG5322 XOF9520 XPF9530 YER8862 \
    ZAR7102 ZMW9672 ZWG9242 ";

// What `row` reads without checking: only digits stand where digits are expected.
const _: () = {
    assert!(TABLE.len().is_multiple_of(ROW), "rows are of one length");
    let mut rest = TABLE;
    while let [a, b, c, n1, n2, n3, d, b' ', tail @ ..] = rest {
        assert!(a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_uppercase());
        assert!(n1.is_ascii_digit() && n2.is_ascii_digit() && n3.is_ascii_digit());
        assert!(*d >= b'0' && *d <= b'4', "at most four decimals");
        rest = tail;
    }
    assert!(rest.is_empty(), "every row is well formed");
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_constants() {
        assert_eq!(Currency::all().count(), 157);
        for known in [
            Currency::CNY,
            Currency::EUR,
            Currency::HKD,
            Currency::JPY,
            Currency::KWD,
            Currency::USD,
        ] {
            assert_eq!(Currency::from_numeric(known.numeric()), Ok(known));
        }
        for currency in Currency::all() {
            assert_eq!(Currency::from_numeric(currency.numeric), Ok(currency));
            assert_eq!(Currency::from_alpha(currency.alpha), Ok(currency));
            assert_eq!(Currency::parse(&currency.numeric_text()), Ok(currency));
            assert_eq!(currency.to_string().parse(), Ok(currency));
        }
        assert_eq!(
            Currency::parse(b"008").map(|c| c.to_string()),
            Ok("ALL".into())
        );
        for bad in ["", "CN", "cny", "CNYX", "000", "8", "999", "XAU"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
        assert_eq!(Currency::from_numeric(0), Err(CurrencyError));
    }
}
