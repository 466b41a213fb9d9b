//! EMV data objects that hold a card number: tag 57 (track 2 equivalent), tag 5A, and a walk
//! through BER-TLV data such as ISO 8583 field 55 (EMV Book 3, Annex B).
#![forbid(unsafe_code)]

use subtle::ConstantTimeEq;

use super::brand::Brand;
use super::data::{CardData, CardDataError, PanAscii};
use super::expiry::{Expiry, PanSequence, ServiceCode};

/// Tag 57's length at most, in bytes.
pub const TAG57_MAX_LEN: usize = 19;
/// Tag 5A's length at most, in bytes.
pub const TAG5A_MAX_LEN: usize = 10;
/// The longest data that [`CardData::from_emv`] walks through, in bytes.
pub const EMV_MAX_LEN: usize = 4096;
/// How deep templates may stand in each other.
pub const EMV_MAX_DEPTH: usize = 8;

impl CardData {
    /// Reads tag 57: PAN, `D`, YYMM, service code, discretionary data, in nibbles padded with `F`.
    ///
    /// # Errors
    /// [`CardDataError`] with the offset in bytes of what is wrong.
    pub fn from_tag57(value: &[u8], exempt: &[Brand]) -> Result<Self, CardDataError> {
        if value.len() > TAG57_MAX_LEN {
            return Err(CardDataError::TooLong { bytes: value.len() });
        }
        let mut nibbles = nibbles(value);
        let mut pan = PanAscii::new();
        loop {
            match nibbles.next() {
                Some((_, 0xd)) => break,
                Some((at, digit)) if digit <= 9 => {
                    pan.push(b'0' + digit).ok_or(CardDataError::Byte { at })?;
                }
                Some((at, _)) => return Err(CardDataError::Byte { at }),
                None => return Err(CardDataError::Truncated { at: value.len() }),
            }
        }
        let pan = pan.parse(exempt)?;
        let mut field = |digits: &mut [u8]| {
            let mut first = value.len();
            for (place, slot) in digits.iter_mut().enumerate() {
                let (at, digit) = nibbles
                    .next()
                    .ok_or(CardDataError::Truncated { at: value.len() })?;
                if digit > 9 {
                    return Err(CardDataError::Byte { at });
                }
                if place == 0 {
                    first = at;
                }
                *slot = digit;
            }
            Ok(first)
        };
        let mut yymm = [0; 4];
        let at = field(&mut yymm)?;
        let expiry = Expiry::from_yymm(yymm.map(|digit| b'0' + digit))
            .map_err(|_| CardDataError::Expiry { at })?;
        let mut code = [0; 3];
        field(&mut code)?;
        let [a, b, c] = code.map(u16::from);
        let service_code = ServiceCode::new(100 * a + 10 * b + c);
        // Discretionary digits, then padding.
        let mut padded = false;
        for (at, digit) in nibbles {
            if digit == 0xf {
                padded = true;
            } else if digit > 9 || padded {
                return Err(CardDataError::Byte { at });
            }
        }
        Ok(Self {
            pan,
            expiry: Some(expiry),
            sequence: None,
            service_code,
        })
    }

    /// Reads tag 5A: the PAN in packed BCD padded with `F`.
    ///
    /// # Errors
    /// [`CardDataError`] with the offset in bytes of what is wrong.
    pub fn from_tag5a(value: &[u8], exempt: &[Brand]) -> Result<Self, CardDataError> {
        if value.len() > TAG5A_MAX_LEN {
            return Err(CardDataError::TooLong { bytes: value.len() });
        }
        let mut pan = PanAscii::new();
        let mut padded = false;
        for (at, digit) in nibbles(value) {
            match digit {
                0xf => padded = true,
                0..=9 if !padded => pan.push(b'0' + digit).ok_or(CardDataError::Byte { at })?,
                _ => return Err(CardDataError::Byte { at }),
            }
        }
        let pan = pan.parse(exempt)?;
        Ok(Self {
            pan,
            expiry: None,
            sequence: None,
            service_code: None,
        })
    }

    /// Finds tags 57, 5A, 5F24 (expiry) and 5F34 (sequence number) in BER-TLV data, templates
    /// included. Tags that hold the same thing must agree. All other tags are passed over.
    ///
    /// # Errors
    /// [`CardDataError`] with the offset in bytes of what is wrong, `NoPan` if neither 57 nor 5A
    /// is there, `Contradiction` if they differ.
    pub fn from_emv(tlv: &[u8], exempt: &[Brand]) -> Result<Self, CardDataError> {
        if tlv.len() > EMV_MAX_LEN {
            return Err(CardDataError::TooLong { bytes: tlv.len() });
        }
        let mut found = Found::default();
        walk(tlv, 0, 0, &mut |tag, value, at| {
            found.take(tag, value, at, exempt)
        })?;
        found.finish()
    }
}

/// What has been found so far.
#[derive(Default)]
struct Found {
    card: Option<CardData>,
    expiry: Option<Expiry>,
    sequence: Option<PanSequence>,
}

impl Found {
    fn take(
        &mut self,
        tag: u32,
        value: &[u8],
        at: usize,
        exempt: &[Brand],
    ) -> Result<(), CardDataError> {
        match tag {
            0x57 => self.merge(CardData::from_tag57(value, exempt).map_err(|e| moved(e, at))?),
            0x5a => self.merge(CardData::from_tag5a(value, exempt).map_err(|e| moved(e, at))?),
            0x5f24 => {
                let &[year, month, _day] = value else {
                    return Err(CardDataError::Expiry { at });
                };
                let expiry =
                    Expiry::from_bcd([year, month]).map_err(|_| CardDataError::Expiry { at })?;
                self.agree_on_expiry(expiry)
            }
            0x5f34 => {
                let sequence = match *value {
                    [byte] => PanSequence::from_bcd(byte),
                    _ => None,
                };
                let sequence = sequence.ok_or(CardDataError::Byte { at })?;
                if self.sequence.is_some_and(|other| other != sequence) {
                    return Err(CardDataError::Contradiction);
                }
                self.sequence = Some(sequence);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn merge(&mut self, card: CardData) -> Result<(), CardDataError> {
        if let Some(expiry) = card.expiry {
            self.agree_on_expiry(expiry)?;
        }
        if let Some(known) = &mut self.card {
            if !bool::from(known.pan.ct_eq(&card.pan)) {
                return Err(CardDataError::Contradiction);
            }
            known.service_code = known.service_code.or(card.service_code);
        } else {
            self.card = Some(card);
        }
        Ok(())
    }

    fn agree_on_expiry(&mut self, expiry: Expiry) -> Result<(), CardDataError> {
        if self.expiry.is_some_and(|other| other != expiry) {
            return Err(CardDataError::Contradiction);
        }
        self.expiry = Some(expiry);
        Ok(())
    }

    fn finish(self) -> Result<CardData, CardDataError> {
        let card = self.card.ok_or(CardDataError::NoPan)?;
        Ok(CardData {
            expiry: self.expiry,
            sequence: self.sequence,
            ..card
        })
    }
}

/// Takes a tag, its value and the value's offset.
type Visit<'a> = dyn FnMut(u32, &[u8], usize) -> Result<(), CardDataError> + 'a;

/// Calls `visit` with tag, value and the value's offset for each primitive data object.
fn walk(tlv: &[u8], base: usize, depth: usize, visit: &mut Visit<'_>) -> Result<(), CardDataError> {
    let mut at = 0;
    while let Some(&first) = tlv.get(at) {
        let start = base + at;
        // Zero bytes between data objects are padding.
        if first == 0 {
            at += 1;
            continue;
        }
        let truncated = CardDataError::Truncated { at: start };
        let mut next = || {
            let byte = tlv.get(at).copied();
            at += 1;
            byte.ok_or(truncated)
        };
        let mut tag = u32::from(next()?);
        if tag & 0x1f == 0x1f {
            loop {
                let byte = next()?;
                tag = tag
                    .checked_mul(0x100)
                    .ok_or(CardDataError::Byte { at: start })?
                    | u32::from(byte);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        let len = match next()? {
            short @ 0..=0x7f => usize::from(short),
            0x81 => usize::from(next()?),
            0x82 => usize::from(u16::from_be_bytes([next()?, next()?])),
            _ => return Err(CardDataError::Byte { at: start }),
        };
        let value = tlv.get(at..at + len).ok_or(truncated)?;
        if first & 0x20 == 0 {
            visit(tag, value, base + at)?;
        } else if depth < EMV_MAX_DEPTH {
            walk(value, base + at, depth + 1, visit)?;
        } else {
            return Err(CardDataError::Byte { at: start });
        }
        at += len;
    }
    Ok(())
}

/// An error inside a value, with its offset counted from the data's beginning.
const fn moved(error: CardDataError, by: usize) -> CardDataError {
    match error {
        CardDataError::Truncated { at } => CardDataError::Truncated { at: at + by },
        CardDataError::Byte { at } => CardDataError::Byte { at: at + by },
        CardDataError::Expiry { at } => CardDataError::Expiry { at: at + by },
        other => other,
    }
}

/// Each nibble with the offset of its byte.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    bytes
        .iter()
        .enumerate()
        .flat_map(|(at, byte)| [(at, byte >> 4), (at, byte & 0xf)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    fn digits(card: &CardData) -> String {
        card.pan.expose(str::to_owned)
    }

    #[test]
    fn reads_tags_57_and_5a() {
        let card = CardData::from_tag57(&hex("4111111111111111D3012201F123456789"), &[]);
        assert_eq!(card.unwrap_err(), CardDataError::Byte { at: 12 });
        let card = CardData::from_tag57(&hex("4111111111111111D3012201123456789F"), &[]).unwrap();
        assert_eq!(digits(&card), "4111111111111111");
        assert_eq!(card.expiry, Some(Expiry::new(30, 12).unwrap()));
        assert_eq!(card.service_code, ServiceCode::new(201));
        let card = CardData::from_tag5a(&hex("378282246310005F"), &[]).unwrap();
        assert_eq!(digits(&card), "378282246310005");
        let card = CardData::from_tag5a(&hex("4111111111111111FFFF"), &[]).unwrap();
        assert_eq!(digits(&card), "4111111111111111");
        assert!(CardData::from_tag5a(&hex("411111111111F111"), &[]).is_err());
        assert!(CardData::from_tag5a(&hex("41111111111111A1"), &[]).is_err());
    }

    #[test]
    fn finds_the_card_in_templates() {
        let tlv =
            hex("70 1E 57 0D 4111111111111111D3012201 0F 5F24 03 301231 5F34 01 07 9F10 01 AA");
        assert!(CardData::from_emv(&tlv, &[]).is_err());
        let tlv = hex(
            "70 19 57 0C 4111111111111111D3012201 5F24 03 301231 5F34 01 07 00 5A 08 4111111111111111",
        );
        let card = CardData::from_emv(&tlv, &[]).unwrap();
        assert_eq!(digits(&card), "4111111111111111");
        assert_eq!(card.sequence, PanSequence::new(7));
        assert_eq!(card.expiry, Some(Expiry::new(30, 12).unwrap()));
    }

    #[test]
    fn names_contradictions_and_gaps() {
        let read = |text| CardData::from_emv(&hex(text), &[]).map(drop).unwrap_err();
        assert_eq!(
            read("5A 08 4111111111111111 57 0C 4012888888881881D3012201"),
            CardDataError::Contradiction
        );
        assert_eq!(
            read("5F24 03 301131 57 0C 4111111111111111D3012201"),
            CardDataError::Contradiction
        );
        assert_eq!(read("5F34 01 07"), CardDataError::NoPan);
        assert_eq!(read("5A 08 4111"), CardDataError::Truncated { at: 0 });
        assert_eq!(
            read("5F34 01 07 57 0C 4111111111111111D3013201"),
            CardDataError::Expiry { at: 14 }
        );
        assert_eq!(
            read("5A 84 00000008 4111111111111111"),
            CardDataError::Byte { at: 0 }
        );
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = CardData::from_emv(&bytes, &[]);
            let _ = CardData::from_tag57(&bytes, &[]);
            let _ = CardData::from_tag5a(&bytes, &[]);
        }
    }
}
