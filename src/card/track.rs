//! Magnetic-stripe tracks 1 and 2 (ISO/IEC 7813): what may be kept is read, the rest is dropped.
#![forbid(unsafe_code)]

use super::brand::Brand;
use super::data::{CardData, CardDataError, PanAscii};
use super::expiry::{Expiry, ServiceCode};

/// Track 1's length at most, in characters, with sentinels and check character.
pub const TRACK1_MAX_LEN: usize = 79;
/// Track 2's length at most, in characters, with sentinels and check character.
pub const TRACK2_MAX_LEN: usize = 40;
/// The cardholder name's length on track 1, in characters.
pub const NAME_LEN: core::ops::RangeInclusive<usize> = 2..=26;

impl CardData {
    /// Reads track 1, format B: `%B` PAN `^` name `^` YYMM service code, discretionary data `?`.
    ///
    /// Sentinels may be missing, both or the last; a check character behind the end sentinel is
    /// checked. A `^` stands for a missing expiry or service code. Brands in `exempt` may fail
    /// the Luhn check.
    ///
    /// # Errors
    /// [`CardDataError`] with the offset of what is wrong.
    pub fn from_track1(track: &[u8], exempt: &[Brand]) -> Result<Self, CardDataError> {
        let mut cursor = Cursor::open(track, &TRACK1)?;
        let at = cursor.at;
        if cursor.next()? != b'B' {
            return Err(CardDataError::Byte { at });
        }
        let pan = cursor.pan()?.parse(exempt)?;
        let name_at = cursor.at;
        let mut name = 0;
        while cursor.next()? != TRACK1.separator {
            name += 1;
        }
        if !NAME_LEN.contains(&name) {
            return Err(CardDataError::Byte { at: name_at });
        }
        cursor.rest(pan)
    }

    /// Reads track 2: `;` PAN `=` YYMM service code, discretionary data `?`.
    ///
    /// Sentinels may be missing, both or the last; a check character behind the end sentinel is
    /// checked. A `=` stands for a missing expiry or service code. Brands in `exempt` may fail
    /// the Luhn check.
    ///
    /// ```
    /// use cardvault::card::CardData;
    ///
    /// let card = CardData::from_track2(b";4111111111111111=30121011234567890?", &[])?;
    /// assert_eq!(card.pan.mask().as_str(), "411111******1111");
    /// assert_eq!(card.expiry.map(|expiry| expiry.month()), Some(12));
    /// # Ok::<(), cardvault::card::CardDataError>(())
    /// ```
    ///
    /// # Errors
    /// [`CardDataError`] with the offset of what is wrong.
    pub fn from_track2(track: &[u8], exempt: &[Brand]) -> Result<Self, CardDataError> {
        let mut cursor = Cursor::open(track, &TRACK2)?;
        let pan = cursor.pan()?.parse(exempt)?;
        cursor.rest(pan)
    }
}

/// What tells the two tracks apart.
struct Format {
    start: u8,
    separator: u8,
    max_len: usize,
    /// The lowest and highest character of the alphabet; a character's value is its distance
    /// from the lowest.
    alphabet: (u8, u8),
}

const TRACK1: Format = Format {
    start: b'%',
    separator: b'^',
    max_len: TRACK1_MAX_LEN,
    alphabet: (b' ', b'_'),
};
const TRACK2: Format = Format {
    start: b';',
    separator: b'=',
    max_len: TRACK2_MAX_LEN,
    alphabet: (b'0', b'?'),
};
const END: u8 = b'?';

struct Cursor<'a> {
    /// From the first character to the last before the end sentinel.
    track: &'a [u8],
    at: usize,
    format: &'static Format,
}

impl<'a> Cursor<'a> {
    /// Checks alphabet, sentinels and check character.
    fn open(track: &'a [u8], format: &'static Format) -> Result<Self, CardDataError> {
        if track.len() > format.max_len {
            return Err(CardDataError::TooLong { bytes: track.len() });
        }
        let (lowest, highest) = format.alphabet;
        if let Some(at) = track
            .iter()
            .position(|byte| !(lowest..=highest).contains(byte))
        {
            return Err(CardDataError::Byte { at });
        }
        let started = track.first() == Some(&format.start);
        let end = track.iter().position(|&byte| byte == END);
        let (body, behind) = track.split_at(end.unwrap_or(track.len()));
        match behind {
            [] | [END] => {}
            [END, check] => {
                let mut sum = check - lowest;
                for byte in body.iter().chain(&[END]) {
                    sum ^= byte - lowest;
                }
                if !started || sum != 0 {
                    return Err(CardDataError::CheckCharacter);
                }
            }
            _ => return Err(CardDataError::Byte { at: body.len() + 2 }),
        }
        Ok(Self {
            track: body,
            at: usize::from(started),
            format,
        })
    }

    fn next(&mut self) -> Result<u8, CardDataError> {
        let byte = self
            .peek()
            .ok_or(CardDataError::Truncated { at: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.track.get(self.at).copied()
    }

    fn pan(&mut self) -> Result<PanAscii, CardDataError> {
        let mut pan = PanAscii::new();
        loop {
            let at = self.at;
            match self.next()? {
                byte if byte == self.format.separator => return Ok(pan),
                byte @ b'0'..=b'9' => pan.push(byte).ok_or(CardDataError::Byte { at })?,
                _ => return Err(CardDataError::Byte { at }),
            }
        }
    }

    /// Digits of a field, or `None` where a separator stands in its place.
    fn digits<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CardDataError> {
        if self.peek() == Some(self.format.separator) {
            self.at += 1;
            return Ok(None);
        }
        let mut digits = [0; N];
        for digit in &mut digits {
            let at = self.at;
            *digit = self.next()?;
            if !digit.is_ascii_digit() {
                return Err(CardDataError::Byte { at });
            }
        }
        Ok(Some(digits))
    }

    /// Expiry and service code; what follows is discretionary and dropped.
    fn rest(mut self, pan: super::Pan) -> Result<CardData, CardDataError> {
        let at = self.at;
        let expiry = match self.digits::<4>()? {
            Some(yymm) => Some(Expiry::from_yymm(yymm).map_err(|_| CardDataError::Expiry { at })?),
            None => None,
        };
        let service_code = self.digits::<3>()?.and_then(|digits| {
            let [a, b, c] = digits.map(|digit| u16::from(digit - b'0'));
            ServiceCode::new(100 * a + 10 * b + c)
        });
        Ok(CardData {
            pan,
            expiry,
            sequence: None,
            service_code,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use subtle::ConstantTimeEq;

    const VISA: &[u8] = b"4111111111111111";

    fn is_visa(card: &CardData) -> bool {
        card.pan
            .ct_eq(&super::super::Pan::parse(VISA).unwrap())
            .into()
    }

    #[test]
    fn reads_both_tracks_in_each_form() {
        for track in [
            &b";4111111111111111=30121011234567890?"[..],
            b";4111111111111111=30121011234567890",
            b"4111111111111111=3012101",
        ] {
            let card = CardData::from_track2(track, &[]).unwrap();
            assert!(is_visa(&card));
            assert_eq!(card.expiry, Some(Expiry::new(30, 12).unwrap()));
            assert_eq!(card.service_code, ServiceCode::new(101));
        }
        for track in [
            &b"%B4111111111111111^DOE/JANE^30121011234567890?"[..],
            b"B4111111111111111^DOE/JANE^3012101",
        ] {
            let card = CardData::from_track1(track, &[]).unwrap();
            assert!(is_visa(&card));
            assert_eq!(card.service_code, ServiceCode::new(101));
        }
        let card = CardData::from_track2(b";4111111111111111===123?", &[]).unwrap();
        assert_eq!((card.expiry, card.service_code), (None, None));
        let card = CardData::from_track1(b"%B4111111111111111^DOE/JANE^^101X?", &[]).unwrap();
        assert_eq!(
            (card.expiry, card.service_code),
            (None, ServiceCode::new(101))
        );
        assert!(CardData::from_track2(b";6200000000000004=3012101?", &[]).is_err());
        CardData::from_track2(b";6200000000000004=3012101?", &[Brand::UnionPay]).unwrap();
    }

    #[test]
    fn checks_the_check_character() {
        let body = b";4111111111111111=30121011234567890?";
        let check = body.iter().fold(0, |sum, byte| sum ^ (byte - b'0'));
        let mut right = 0;
        for value in 0..16 {
            let mut track = body.to_vec();
            track.push(b'0' + value);
            match CardData::from_track2(&track, &[]) {
                Ok(_) => {
                    right += 1;
                    assert_eq!(value, check);
                }
                Err(error) => assert_eq!(error, CardDataError::CheckCharacter),
            }
        }
        assert_eq!(right, 1);
    }

    #[test]
    fn says_where_a_track_is_wrong() {
        use CardDataError as E;
        let read = |track: &[u8]| CardData::from_track2(track, &[]).map(drop).unwrap_err();
        assert_eq!(read(b""), E::Truncated { at: 0 });
        assert_eq!(read(b";4111111111111111"), E::Truncated { at: 17 });
        assert_eq!(read(b";41111111111111112222=3012101?"), E::Byte { at: 20 });
        assert_eq!(read(b";4111111111111111=3013101?"), E::Expiry { at: 18 });
        assert_eq!(read(b";4111111111111111=30x2101?"), E::Byte { at: 20 });
        assert_eq!(read(b";4111111111111111=301210"), E::Truncated { at: 24 });
        assert_eq!(
            read(b";4111111111111112=3012101?"),
            E::Pan(super::super::PanError::Luhn)
        );
        assert_eq!(
            read(b";4111111111111111=3012101?99"),
            E::Byte { at: 28 - 2 + 1 }
        );
        assert_eq!(read(&[b'1'; 41]), E::TooLong { bytes: 41 });
        let read = |track: &[u8]| CardData::from_track1(track, &[]).map(drop).unwrap_err();
        assert_eq!(
            read(b"%A4111111111111111^DOE/JANE^3012101?"),
            E::Byte { at: 1 }
        );
        assert_eq!(read(b"%B4111111111111111^D^3012101?"), E::Byte { at: 19 });
        assert_eq!(read(b"%B4111111111111111^DOE"), E::Truncated { at: 22 });
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>, track in "[;%]?B?[0-9]{0,20}[=^]{0,2}[0-9A-Z/^=]{0,30}[?]?.?") {
            for input in [&bytes[..], track.as_bytes()] {
                let _ = CardData::from_track1(input, &[]);
                let _ = CardData::from_track2(input, &[]);
            }
        }
    }
}
