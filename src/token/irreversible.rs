//! Irreversible tokens: a keyed hash of the card number.
#![forbid(unsafe_code)]

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{IRREVERSIBLE_LEN, Token, TokenKind, TokenizeError};
use crate::card::Pan;
use crate::keys::IrreversibleKey;
use crate::mac::Mac;
use crate::secret::Secret;

/// The version of the hashed bytes.
const VERSION: u8 = 1;

/// Makes irreversible tokens of one domain: the first 20 bytes of HMAC-SHA256 over
///
/// ```text
/// 1 version (1) | 1 attempt | 10 card number in BCD padded with F
/// ```
///
/// The attempt is 0; it is counted up while the text has eight digits in a row. One card number
/// has one token, under one key, for ever: these tokens do not rotate.
pub struct Irreversible {
    mac: Mac,
}

impl ZeroizeOnDrop for Irreversible where Mac: ZeroizeOnDrop {}

impl Irreversible {
    /// Prepares the key of a domain.
    #[must_use]
    pub fn new(key: &IrreversibleKey) -> Self {
        Self::from_secret(key.secret())
    }

    /// The token of `pan`. Constant time for one length of number, up to the attempts, which
    /// depend on the tokens alone.
    ///
    /// # Errors
    /// [`TokenizeError::Draws`] if 256 attempts in a row have eight digits in a row.
    pub fn tokenize(&self, pan: &Pan) -> Result<Token, TokenizeError> {
        let mut bcd = pan.digits().to_bcd();
        let mut result = Err(TokenizeError::Draws);
        for attempt in 0..=u8::MAX {
            let tag = self.mac.tag(&[&[VERSION, attempt], &bcd]);
            let payload = tag.first_chunk::<IRREVERSIBLE_LEN>().unwrap_or(&[0; 20]);
            let token = Token::new(TokenKind::Irreversible, payload);
            if !token.text().has_digit_run() {
                result = Ok(token);
                break;
            }
        }
        bcd.zeroize();
        result
    }

    fn from_secret(key: &Secret<32>) -> Self {
        Self { mac: Mac::new(key) }
    }
}

impl fmt::Debug for Irreversible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Irreversible(HMAC-SHA256)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::digits::Digits;

    #[test]
    fn is_the_documented_hash() {
        let maker = Irreversible::from_secret(&Secret::new([3; 32]));
        let pan = Pan::parse(b"4111111111111111").unwrap();
        let token = maker.tokenize(&pan).unwrap();
        // Python: hmac.new(b'\3' * 32, bytes.fromhex('01004111111111111111ffff'), 'sha256')
        let expected = [
            0x03, 0x2d, 0x0f, 0x20, 0xce, 0xa6, 0x81, 0x20, 0x04, 0x31, 0x2e, 0x45, 0xe3, 0xa6,
            0xc2, 0x45, 0x4f, 0x26, 0xad, 0xa0, 0x16,
        ];
        assert_eq!(token.as_bytes(), expected);
        assert!(token.text().as_str().starts_with("cvh_"));
        assert_eq!(Token::parse(token.text().as_str()), Ok(token));
    }

    #[test]
    fn no_token_has_eight_digits_in_a_row() {
        let maker = Irreversible::from_secret(&Secret::new([3; 32]));
        let mut again = 0;
        for number in 0..20_000_u64 {
            let pan = Pan::from_digits(Digits::from_number(number, 16)).unwrap();
            let token = maker.tokenize(&pan).unwrap();
            assert!(!token.text().has_digit_run());
            let first = maker.mac.tag(&[&[VERSION, 0], &pan.digits().to_bcd()]);
            again += usize::from(first[..20] != token.as_bytes()[1..]);
        }
        assert!(
            again > 10,
            "only {again} second attempts: the rule was not tried"
        );
    }
}
