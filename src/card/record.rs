//! The card record: what is sealed of a card, in exactly one cipher block.
//!
//! | bytes | field | encoding |
//! |---|---|---|
//! | 0 | version | 1 |
//! | 1..11 | PAN | packed BCD from the left, padded with `F` |
//! | 11..13 | expiry | packed BCD `YYMM`; `FFFF` if absent |
//! | 13 | PAN sequence number | packed BCD; `FF` if absent |
//! | 14..16 | flags | big-endian; bit 0: the number fails the Luhn check; all others 0 |
//!
//! Each card has one encoding: any other is refused.
#![forbid(unsafe_code)]

use core::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::digits::Digits;
use super::expiry::{Expiry, PanSequence};
use super::pan::Pan;
use crate::secret::Secret;

/// The record's length in bytes: one AES block, so that ciphertexts of all cards look alike.
pub const CARD_RECORD_LEN: usize = 16;

/// The layout's version.
const VERSION: u8 = 1;
const ABSENT: u8 = 0xff;
const FLAG_FAILS_LUHN: u16 = 1;

/// A card number with the expiry and sequence number that belong to it: what may be kept of a
/// card after authorization (PCI DSS v4.0.1, 3.3.1), and nothing else.
#[derive(Clone, Debug)]
pub struct CardRecord {
    /// The card number.
    pub pan: Pan,
    /// The expiry, where it is known.
    pub expiry: Option<Expiry>,
    /// The PAN sequence number, where it is known.
    pub sequence: Option<PanSequence>,
}

impl CardRecord {
    /// The record of a number alone.
    #[must_use]
    pub const fn new(pan: Pan) -> Self {
        Self {
            pan,
            expiry: None,
            sequence: None,
        }
    }

    /// The 16 bytes to seal. Constant time.
    #[must_use]
    #[inline]
    pub fn to_bytes(&self) -> Secret<CARD_RECORD_LEN> {
        let mut pan = self.pan.digits().to_bcd();
        let [e1, e2] = self.expiry.map_or([ABSENT; 2], Expiry::to_bcd);
        let sequence = self.sequence.map_or(ABSENT, PanSequence::to_bcd);
        let [f1, f2] = flags(&self.pan).to_be_bytes();
        let [p0, p1, p2, p3, p4, p5, p6, p7, p8, p9] = pan;
        pan.zeroize();
        Secret::new([
            VERSION, p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, e1, e2, sequence, f1, f2,
        ])
    }

    /// Reads what [`CardRecord::to_bytes`] wrote. Constant time for numbers of one length that
    /// are accepted.
    ///
    /// # Errors
    /// [`RecordError`] for a newer version and for every encoding that `to_bytes` never writes.
    #[inline]
    pub fn from_bytes(bytes: &Secret<CARD_RECORD_LEN>) -> Result<Self, RecordError> {
        let [version, pan @ .., e1, e2, sequence, f1, f2] = bytes.expose();
        if *version != VERSION {
            return Err(RecordError::Version { found: *version });
        }
        let digits = Digits::from_bcd(pan).ok_or(RecordError::Pan)?;
        let pan = Pan::from_digits(digits).ok_or(RecordError::Pan)?;
        let expiry = match [*e1, *e2] {
            [ABSENT, ABSENT] => None,
            bcd => Some(Expiry::from_bcd(bcd).map_err(|_| RecordError::Expiry)?),
        };
        let sequence = match *sequence {
            ABSENT => None,
            bcd => Some(PanSequence::from_bcd(bcd).ok_or(RecordError::Sequence)?),
        };
        if u16::from_be_bytes([*f1, *f2]) != flags(&pan) {
            return Err(RecordError::Flags);
        }
        Ok(Self {
            pan,
            expiry,
            sequence,
        })
    }
}

// The number wipes itself; the rest is no secret.
impl ZeroizeOnDrop for CardRecord where Pan: ZeroizeOnDrop {}

impl ConstantTimeEq for CardRecord {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.to_bytes().ct_eq(&other.to_bytes())
    }
}

#[inline]
fn flags(pan: &Pan) -> u16 {
    u16::from(!pan.passes_luhn()) * FLAG_FAILS_LUHN
}

/// Why 16 bytes are no card record. Names the field, never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The layout's version is not one that this crate reads.
    Version {
        /// The version found.
        found: u8,
    },
    /// The card number is not 8 to 19 digits padded with `F`.
    Pan,
    /// The expiry is neither a date nor absent.
    Expiry,
    /// The sequence number is neither two digits nor absent.
    Sequence,
    /// A flag is set that the number does not call for, or the other way round.
    Flags,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { found } => write!(f, "card record has version {found}, not {VERSION}"),
            Self::Pan => f.write_str("card record holds no card number"),
            Self::Expiry => f.write_str("card record holds no valid expiry"),
            Self::Sequence => f.write_str("card record holds no valid sequence number"),
            Self::Flags => f.write_str("card record has flags that do not fit its number"),
        }
    }
}

impl core::error::Error for RecordError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Brand;

    fn pan(text: &str) -> Pan {
        Pan::parse_exempting(text.as_bytes(), &Brand::LUHN_EXEMPT).unwrap()
    }

    /// The layout by another way: text of nibbles.
    fn model(digits: &str, expiry: &str, sequence: &str, flags: &str) -> Vec<u8> {
        let nibbles = format!("01{digits:F<20}{expiry}{sequence}{flags}");
        (0..16)
            .map(|i| u8::from_str_radix(&nibbles[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn is_frozen() {
        let mut record = CardRecord::new(pan("4111111111111111"));
        let bytes = record.to_bytes();
        assert_eq!(
            bytes.expose()[..],
            model("4111111111111111", "FFFF", "FF", "0000")
        );
        record.expiry = Some(Expiry::new(30, 12).unwrap());
        record.sequence = PanSequence::new(7);
        let bytes = record.to_bytes();
        assert_eq!(
            bytes.expose()[..],
            model("4111111111111111", "3012", "07", "0000")
        );
        let record = CardRecord::new(pan("6200000000000004"));
        let bytes = record.to_bytes();
        assert_eq!(
            bytes.expose()[..],
            model("6200000000000004", "FFFF", "FF", "0001")
        );
    }

    proptest::proptest! {
        #[test]
        fn reads_back_every_card(
            body in "[0-9]{7,18}",
            expiry in proptest::option::of((0_u8..100, 1_u8..13)),
            sequence in proptest::option::of(0_u8..100),
        ) {
            let check = super::super::luhn::check_digit(body.as_bytes()).unwrap();
            let clear = format!("{body}{check}");
            let record = CardRecord {
                pan: pan(&clear),
                expiry: expiry.map(|(year, month)| Expiry::new(year, month).unwrap()),
                sequence: sequence.map(|number| PanSequence::new(number).unwrap()),
            };
            let bytes = record.to_bytes();
            let expiry = expiry.map_or("FFFF".into(), |(y, m)| format!("{y:02}{m:02}"));
            let sequence = sequence.map_or("FF".into(), |number| format!("{number:02}"));
            proptest::prop_assert_eq!(&bytes.expose()[..], model(&clear, &expiry, &sequence, "0000"));
            let back = CardRecord::from_bytes(&bytes).unwrap();
            proptest::prop_assert!(bool::from(back.ct_eq(&record)));
            proptest::prop_assert_eq!((back.expiry, back.sequence), (record.expiry, record.sequence));
        }

        #[test]
        fn accepts_only_what_it_writes(bytes: [u8; 16], version in proptest::bool::ANY) {
            let mut bytes = bytes;
            if version {
                bytes[0] = VERSION;
            }
            let bytes = Secret::new(bytes);
            if let Ok(record) = CardRecord::from_bytes(&bytes) {
                proptest::prop_assert!(bool::from(record.to_bytes().ct_eq(&bytes)));
            }
        }
    }

    #[test]
    fn every_changed_nibble_is_another_card_or_refused() {
        let record = CardRecord::new(pan("4111111111111111"));
        let good = *record.to_bytes().expose();
        let mut accepted = 0;
        for place in 0..16 {
            for value in 0..=255 {
                let mut bytes = good;
                bytes[place] = value;
                let bytes = Secret::new(bytes);
                if let Ok(other) = CardRecord::from_bytes(&bytes) {
                    accepted += 1;
                    assert!(bool::from(other.to_bytes().ct_eq(&bytes)));
                }
            }
        }
        assert!(accepted > 16);
    }
}
