//! Tokens: what stands for a card number where the number itself must not be.
//!
//! No token passes the Luhn check, so none can be taken for a card number.
//!
#![doc = include_str!("formats.md")]
#![forbid(unsafe_code)]

mod format;
mod irreversible;
mod random;
mod text;
mod vaultless;

use core::fmt;
use core::str::FromStr;

use crate::card::PAN_MAX_DIGITS;
use crate::card::digits::Digits;
use crate::card::packed::{PAN_BCD_LEN, Packed};

pub use format::{
    FormatError, KeepFirst, KeepLast, Rotation, TokenFormat, TokenValues, VAULTLESS_MIN_DIGITS,
    VaultedFormat, VaultlessFormat,
};
pub use irreversible::Irreversible;
pub use random::TOKEN_MAX_DRAWS;
pub use vaultless::{Candidate, OpenError, TokenizeError, Vaultless, VaultlessOpener};

/// The longest binary form, in bytes.
pub const TOKEN_MAX_LEN: usize = 1 + IRREVERSIBLE_LEN;
/// The longest text, in characters.
pub const TOKEN_MAX_TEXT: usize = PREFIX_LEN + IRREVERSIBLE_SYMBOLS;
/// Random bytes in an opaque token.
pub const OPAQUE_LEN: usize = 16;
/// Bytes of the keyed hash in an irreversible token: 160 bits, so that 2^80 cards have to be
/// hashed before two of them meet, and the text is shorter than 40 characters.
pub const IRREVERSIBLE_LEN: usize = 20;

const OPAQUE_PREFIX: &str = "cvt_";
const IRREVERSIBLE_PREFIX: &str = "cvh_";
const PREFIX_LEN: usize = OPAQUE_PREFIX.len();
const OPAQUE_SYMBOLS: usize = 26 + text::CHECK_SYMBOLS;
const IRREVERSIBLE_SYMBOLS: usize = 32 + text::CHECK_SYMBOLS;

/// A token. Not secret.
///
/// | kind | text | binary form |
/// |---|---|---|
/// | opaque | `cvt_`, 26 symbols, 2 of check | `01`, 16 bytes |
/// | card-shaped | 8 to 19 digits that fail Luhn | `02`, 10 bytes of BCD padded with `F` |
/// | irreversible | `cvh_`, 32 symbols, 2 of check | `03`, 20 bytes |
///
/// Symbols are Crockford's base32 in lower case, the payload being one number with the highest
/// bit first. The check, a CRC-10, notices every single wrong symbol and every exchange of two
/// neighbours. No text but a card-shaped one has eight digits in a row. Each token has one text
/// and one binary form; every other is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The binary form, behind it zeros.
    bytes: [u8; TOKEN_MAX_LEN],
}

/// What kind a token is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TokenKind {
    /// 128 random bits; the vault knows the card.
    Opaque,
    /// Digits, like a card number; from the vault, or vaultless.
    CardShaped,
    /// A keyed hash; nobody gets the card from it.
    Irreversible,
}

impl Token {
    /// Reads a token's text.
    ///
    /// # Errors
    /// [`TokenError`], with the offset in bytes where one character is wrong.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > TOKEN_MAX_TEXT {
            return Err(TokenError::Length { len: text.len() });
        }
        if let Some(symbols) = text.strip_prefix(OPAQUE_PREFIX) {
            Self::read_symbols::<OPAQUE_LEN>(TokenKind::Opaque, symbols, OPAQUE_SYMBOLS)
        } else if let Some(symbols) = text.strip_prefix(IRREVERSIBLE_PREFIX) {
            let kind = TokenKind::Irreversible;
            Self::read_symbols::<IRREVERSIBLE_LEN>(kind, symbols, IRREVERSIBLE_SYMBOLS)
        } else if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_digit()) {
            Err(TokenError::Symbol { at })
        } else {
            let digits = Digits::from_ascii(text.as_bytes());
            let digits = digits.ok_or(TokenError::Length { len: text.len() })?;
            Self::card_shaped(digits.packed(), digits.len())
        }
    }

    /// Reads a token's binary form.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        let length = TokenError::Length { len: bytes.len() };
        let (kind, payload) = bytes.split_first().ok_or(length)?;
        let kind = TokenKind::of_byte(*kind).ok_or(TokenError::Kind)?;
        if payload.len() != kind.payload_len() {
            return Err(length);
        }
        let token = Self::new(kind, payload);
        match kind {
            TokenKind::CardShaped => {
                let (digits, len) = token.digits().ok_or(TokenError::Digits)?;
                Self::card_shaped(digits, len)
            }
            _ if token.text().has_digit_run() => Err(TokenError::DigitRun),
            _ => Ok(token),
        }
    }

    /// The binary form, 11 to [`TOKEN_MAX_LEN`] bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = 1 + self.kind().payload_len();
        self.bytes.get(..len).unwrap_or_default()
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> TokenText {
        let mut text = TokenText {
            ascii: [0; TOKEN_MAX_TEXT],
            len: 0,
        };
        let symbols = match self.kind() {
            TokenKind::Opaque => OPAQUE_SYMBOLS,
            TokenKind::Irreversible => IRREVERSIBLE_SYMBOLS,
            TokenKind::CardShaped => {
                let mut digits = [0; PAN_MAX_DIGITS];
                let len = self.digits().map_or(0, |(packed, len)| {
                    Digits::from_packed(packed, len).write_ascii(&mut digits)
                });
                text.push(digits.get(..len).unwrap_or_default());
                return text;
            }
        };
        text.push(self.kind().prefix().as_bytes());
        let mut encoded = [0; IRREVERSIBLE_SYMBOLS];
        if let Some(encoded) = encoded.get_mut(..symbols) {
            text::encode(self.payload(), encoded);
            text.push(encoded);
        }
        text
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        let [kind, ..] = self.bytes;
        TokenKind::of_byte(kind).unwrap_or(TokenKind::Opaque)
    }

    /// For a card-shaped token, how many digits it has.
    #[must_use]
    #[inline]
    pub fn digit_count(&self) -> Option<usize> {
        self.digits().map(|(_, len)| len)
    }

    /// `payload` must have the kind's length.
    fn new(kind: TokenKind, payload: &[u8]) -> Self {
        let mut bytes = [0; TOKEN_MAX_LEN];
        let (first, rest) = bytes.split_at_mut(1);
        first.fill(kind.byte());
        for (to, from) in rest.iter_mut().zip(payload) {
            *to = *from;
        }
        Self { bytes }
    }

    /// The token of these digits.
    #[inline]
    fn card_shaped(digits: Packed, len: usize) -> Result<Self, TokenError> {
        if digits.luhn_residue() == 0 {
            return Err(TokenError::PassesLuhn);
        }
        Ok(Self::of_digits(digits, len))
    }

    /// The token of digits that are known to fail Luhn.
    #[inline]
    fn of_digits(digits: Packed, len: usize) -> Self {
        let mut bytes = [0; TOKEN_MAX_LEN];
        let [kind, place @ .., _, _, _, _, _, _, _, _, _, _] = &mut bytes;
        *kind = TokenKind::CardShaped.byte();
        *place = digits.to_bytes(len);
        Self { bytes }
    }

    /// The digits of a card-shaped token, and how many they are.
    #[inline]
    fn digits(&self) -> Option<(Packed, usize)> {
        let [kind, payload @ .., _, _, _, _, _, _, _, _, _, _] = &self.bytes;
        if *kind != TokenKind::CardShaped.byte() {
            return None;
        }
        Packed::from_bytes(payload)
    }

    fn payload(&self) -> &[u8] {
        self.as_bytes().get(1..).unwrap_or_default()
    }

    fn read_symbols<const N: usize>(
        kind: TokenKind,
        symbols: &str,
        count: usize,
    ) -> Result<Self, TokenError> {
        if symbols.len() != count {
            let len = PREFIX_LEN + symbols.len();
            return Err(TokenError::Length { len });
        }
        let mut payload = [0; N];
        text::decode(symbols.as_bytes(), PREFIX_LEN, &mut payload)?;
        Ok(Self::new(kind, &payload))
    }
}

impl TokenKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Opaque => 1,
            Self::CardShaped => 2,
            Self::Irreversible => 3,
        }
    }

    const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Opaque),
            2 => Some(Self::CardShaped),
            3 => Some(Self::Irreversible),
            _ => None,
        }
    }

    const fn payload_len(self) -> usize {
        match self {
            Self::Opaque => OPAQUE_LEN,
            Self::CardShaped => PAN_BCD_LEN,
            Self::Irreversible => IRREVERSIBLE_LEN,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Opaque => OPAQUE_PREFIX,
            Self::CardShaped => "",
            Self::Irreversible => IRREVERSIBLE_PREFIX,
        }
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::parse(text)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text().as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.text().as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Token;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the text of a token")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Token, E> {
                Token::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// A token's text, without a heap.
#[derive(Clone, Copy)]
pub struct TokenText {
    ascii: [u8; TOKEN_MAX_TEXT],
    len: usize,
}

impl TokenText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.ascii.get(..self.len).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    fn push(&mut self, part: &[u8]) {
        let free = self.ascii.get_mut(self.len..).unwrap_or_default();
        for (to, from) in free.iter_mut().zip(part) {
            *to = *from;
            self.len += 1;
        }
    }

    fn has_digit_run(&self) -> bool {
        text::has_digit_run(self.as_str().as_bytes())
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Why something is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// No kind of token has this length, or not the kind that it begins like.
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// A character may not stand there.
    Symbol {
        /// Its offset in bytes.
        at: usize,
    },
    /// The check symbols do not fit: a typing error.
    Check,
    /// Bits that no token uses are set.
    UnusedBits,
    /// Eight digits stand in a row, as in no token that was given out.
    DigitRun,
    /// The digits pass the Luhn check: a card number, and no token.
    PassesLuhn,
    /// The first byte of the binary form names no kind.
    Kind,
    /// The binary form of a card-shaped token is not 8 to 19 padded digits.
    Digits,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { len } => write!(f, "no such token has {len} bytes"),
            Self::Symbol { at } => write!(f, "token has an unexpected byte at offset {at}"),
            Self::Check => f.write_str("the token's check symbols do not fit"),
            Self::UnusedBits => f.write_str("the token's unused bits are not zero"),
            Self::DigitRun => f.write_str("the token has eight digits in a row"),
            Self::PassesLuhn => f.write_str("the digits pass the Luhn check, as no token does"),
            Self::Kind => f.write_str("the token's first byte names no kind"),
            Self::Digits => f.write_str("the token's digits are not 8 to 19 in padded BCD"),
        }
    }
}

impl core::error::Error for TokenError {}
