//! Expiry date, PAN sequence number and service code: what may be kept beside a card number.
#![forbid(unsafe_code)]

use core::fmt;

/// The last month in which a card is valid. The century is not on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expiry {
    year: u8,
    month: u8,
}

impl Expiry {
    /// `year` 0 to 99, `month` 1 to 12.
    ///
    /// # Errors
    /// [`ExpiryError`] if either is out of range.
    pub const fn new(year: u8, month: u8) -> Result<Self, ExpiryError> {
        if year > 99 {
            return Err(ExpiryError::Year);
        }
        if month < 1 || month > 12 {
            return Err(ExpiryError::Month);
        }
        Ok(Self { year, month })
    }

    /// Reads `YYMM` as on tracks and in ISO 8583 field 14.
    ///
    /// # Errors
    /// [`ExpiryError`] if a byte is no digit or the month is not 1 to 12.
    pub fn from_yymm(ascii: [u8; 4]) -> Result<Self, ExpiryError> {
        let [y1, y2, m1, m2] = ascii.map(|byte| byte.wrapping_sub(b'0'));
        if [y1, y2, m1, m2].iter().any(|&digit| digit > 9) {
            return Err(ExpiryError::Digit);
        }
        Self::new(10 * y1 + y2, 10 * m1 + m2)
    }

    /// The year, 0 to 99.
    #[must_use]
    pub const fn year(self) -> u8 {
        self.year
    }

    /// The month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// `YYMM` in packed BCD, as in EMV tag 5F24 and in the card record.
    pub(crate) const fn to_bcd(self) -> [u8; 2] {
        [bcd(self.year), bcd(self.month)]
    }

    pub(crate) fn from_bcd([year, month]: [u8; 2]) -> Result<Self, ExpiryError> {
        let year = from_bcd(year).ok_or(ExpiryError::Digit)?;
        let month = from_bcd(month).ok_or(ExpiryError::Digit)?;
        Self::new(year, month)
    }
}

impl fmt::Display for Expiry {
    /// `MM/YY`, as printed on the card.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}/{:02}", self.month, self.year)
    }
}

/// Why an expiry date was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpiryError {
    /// A character is no digit.
    Digit,
    /// The year is not 0 to 99.
    Year,
    /// The month is not 1 to 12.
    Month,
}

impl fmt::Display for ExpiryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Digit => "expiry has a character that is no digit",
            Self::Year => "expiry year is not 0 to 99",
            Self::Month => "expiry month is not 1 to 12",
        })
    }
}

impl core::error::Error for ExpiryError {}

/// The PAN sequence number (EMV tag 5F34), 0 to 99: tells cards of one number apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PanSequence(u8);

impl PanSequence {
    /// `number` 0 to 99; `None` above.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number > 99 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number, 0 to 99.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    pub(crate) const fn to_bcd(self) -> u8 {
        bcd(self.0)
    }

    pub(crate) fn from_bcd(byte: u8) -> Option<Self> {
        from_bcd(byte).map(Self)
    }
}

/// The three-digit service code of a track (ISO/IEC 7813): where and how a card may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceCode(u16);

impl ServiceCode {
    /// `code` 0 to 999; `None` above.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code > 999 { None } else { Some(Self(code)) }
    }

    /// The code, 0 to 999.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ServiceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

/// A number below 100 as two BCD digits. Neither dates nor sequence numbers are secret.
const fn bcd(number: u8) -> u8 {
    (number / 10) << 4 | (number % 10)
}

const fn from_bcd(byte: u8) -> Option<u8> {
    if byte >> 4 > 9 || byte & 0xf > 9 {
        return None;
    }
    Some(10 * (byte >> 4) + (byte & 0xf))
}
