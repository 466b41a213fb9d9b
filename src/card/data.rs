//! What a reader hands over, reduced to what may be kept; and a holder for what may not.
#![forbid(unsafe_code)]

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::digits::PAN_MAX_DIGITS;
use super::expiry::{Expiry, PanSequence, ServiceCode};
use super::pan::{Pan, PanError};
use super::record::CardRecord;

/// Card data as it may be kept after authorization (PCI DSS v4.0.1, 3.2.1 and 3.3.1).
///
/// The readers of tracks and EMV tags return this: discretionary data, names, PIN data and
/// verification codes are checked for form and have no place here.
#[derive(Clone, Debug)]
pub struct CardData {
    /// The card number.
    pub pan: Pan,
    /// The expiry, if the source holds one.
    pub expiry: Option<Expiry>,
    /// The PAN sequence number, if the source holds one.
    pub sequence: Option<PanSequence>,
    /// The service code, if the source holds one.
    pub service_code: Option<ServiceCode>,
}

impl CardData {
    /// What of it is sealed: all but the service code.
    #[must_use]
    pub fn into_record(self) -> CardRecord {
        CardRecord {
            pan: self.pan,
            expiry: self.expiry,
            sequence: self.sequence,
        }
    }
}

// The number wipes itself; the rest is no secret.
impl ZeroizeOnDrop for CardData where Pan: ZeroizeOnDrop {}

/// The longest [`SensitiveData`], in bytes: track 1 with its sentinels and check character.
pub const SENSITIVE_MAX_LEN: usize = 80;

/// Sensitive authentication data on its way to the authorization: a track, a verification code,
/// a PIN block.
///
/// Lives in memory until the answer is there and is wiped when dropped. It has no storable form:
/// no `Serialize`, no `Clone`, no encoding, and no sealing function takes it
/// (PCI DSS v4.0.1, 3.3.1).
///
/// ```compile_fail
/// fn storable<T: serde::Serialize>(_: T) {}
/// storable(cardvault::card::SensitiveData::new(b"123"));
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SensitiveData {
    bytes: [u8; SENSITIVE_MAX_LEN],
    len: usize,
}

impl SensitiveData {
    /// Takes a copy of `bytes`, at most [`SENSITIVE_MAX_LEN`]; `None` beyond. The caller wipes
    /// its own.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut held = Self {
            bytes: [0; SENSITIVE_MAX_LEN],
            len: bytes.len(),
        };
        held.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(held)
    }

    /// The bytes, for the authorization request.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for SensitiveData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SensitiveData(..)")
    }
}

/// Which part of a track or of EMV data is wrong. Holds offsets, never content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CardDataError {
    /// The data is longer than its kind can be.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The data ends inside the field that begins at this offset.
    Truncated {
        /// Offset in bytes.
        at: usize,
    },
    /// The byte at this offset may not stand there.
    Byte {
        /// Offset in bytes.
        at: usize,
    },
    /// The card number is wrong.
    Pan(PanError),
    /// The expiry at this offset has no valid month.
    Expiry {
        /// Offset in bytes.
        at: usize,
    },
    /// The check character at the end does not fit.
    CheckCharacter,
    /// Two tags hold different card numbers or expiries.
    Contradiction,
    /// No tag holds a card number.
    NoPan,
}

impl fmt::Display for CardDataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "card data has {bytes} bytes, too many"),
            Self::Truncated { at } => write!(f, "card data ends inside the field at byte {at}"),
            Self::Byte { at } => write!(f, "card data has an unexpected byte at offset {at}"),
            Self::Pan(error) => error.fmt(f),
            Self::Expiry { at } => write!(f, "card data has no valid expiry at offset {at}"),
            Self::CheckCharacter => f.write_str("the track's check character does not fit"),
            Self::Contradiction => f.write_str("two tags hold different card numbers or expiries"),
            Self::NoPan => f.write_str("no tag holds a card number"),
        }
    }
}

impl core::error::Error for CardDataError {}

/// The digits of a card number, wiped when dropped: what a reader collects before [`Pan`] checks.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct PanAscii {
    ascii: [u8; PAN_MAX_DIGITS],
    len: usize,
}

impl PanAscii {
    pub(super) const fn new() -> Self {
        Self {
            ascii: [0; PAN_MAX_DIGITS],
            len: 0,
        }
    }

    /// Adds an ASCII digit; `None` beyond 19.
    pub(super) fn push(&mut self, digit: u8) -> Option<()> {
        *self.ascii.get_mut(self.len)? = digit;
        self.len += 1;
        Some(())
    }

    pub(super) fn parse(&self, exempt: &[super::Brand]) -> Result<Pan, CardDataError> {
        let ascii = self.ascii.get(..self.len).unwrap_or_default();
        Pan::parse_exempting(ascii, exempt).map_err(CardDataError::Pan)
    }
}
