//! Key check values: whether two people hold the same key, without showing it.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

use aes::Aes256;
use cmac::{Cmac, KeyInit, Mac};

use crate::secret::Secret;

/// Length of a check value, in bytes.
pub const CHECK_VALUE_LEN: usize = 3;

/// The leftmost 3 bytes of AES-256-CMAC over 16 zero bytes under a key. Not secret.
///
/// Shown as six upper-case hexadecimal digits. It finds typing errors and the wrong key, each with
/// a chance of 1 in 2^24 to be missed; it protects nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckValue([u8; CHECK_VALUE_LEN]);

impl CheckValue {
    /// The check value of `key`. Constant time.
    #[must_use]
    pub fn of(key: &Secret<32>) -> Self {
        let mut cmac = Cmac::<Aes256>::new(key.expose().into());
        cmac.update(&[0; 16]);
        let [first, second, third, ..] = <[u8; 16]>::from(cmac.finalize().into_bytes());
        Self([first, second, third])
    }

    /// A check value that was written down.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; CHECK_VALUE_LEN]) -> Self {
        Self(bytes)
    }

    /// The three bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; CHECK_VALUE_LEN] {
        self.0
    }
}

impl fmt::Display for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = self.0;
        write!(f, "{first:02X}{second:02X}{third:02X}")
    }
}

impl fmt::Debug for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckValue({self})")
    }
}

impl FromStr for CheckValue {
    type Err = CheckValueError;

    /// Reads six upper-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, CheckValueError> {
        let digits: &[u8; 2 * CHECK_VALUE_LEN] =
            text.as_bytes().try_into().map_err(|_| CheckValueError)?;
        let mut bytes = [0; CHECK_VALUE_LEN];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair.map(upper_hex_digit);
            *byte = (high.ok_or(CheckValueError)? << 4) | low.ok_or(CheckValueError)?;
        }
        Ok(Self(bytes))
    }
}

/// A text is not six upper-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckValueError;

impl fmt::Display for CheckValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a check value is six upper-case hexadecimal digits")
    }
}

impl core::error::Error for CheckValueError {}

const fn upper_hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmac_of_zeros_under_the_zero_aes_128_key() {
        let mut cmac = Cmac::<aes::Aes128>::new(&[0; 16].into());
        cmac.update(&[0; 16]);
        assert_eq!(cmac.finalize().into_bytes()[..3], [0x76, 0x3c, 0xbc]);
    }

    #[test]
    fn text_form() {
        let value = CheckValue::from_bytes([0x0A, 0xF1, 0x00]);
        assert_eq!(value.to_string(), "0AF100");
        assert_eq!("0AF100".parse(), Ok(value));
        for bad in ["", "0AF10", "0af100", "0AF1000", "0AF10G", " 0AF10"] {
            assert_eq!(bad.parse::<CheckValue>(), Err(CheckValueError), "{bad}");
        }
    }
}
