//! Looks for clear card numbers in files, in every form in which one could have slipped in.
//!
//! One pass over each file: the hash of four bytes tells whether any needle begins there.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

/// A form in which a number may stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Text,
    Spaced,
    Dashed,
    Reversed,
    /// Two digits a byte, the first one in the upper half.
    Bcd,
    /// The same, shifted by half a byte.
    BcdShifted,
    /// The ASCII text's bytes in hexadecimal digits.
    Hex,
    Utf16Little,
    Utf16Big,
    /// The ASCII text in base64, behind a multiple of three bytes.
    Base64,
    /// The same, one byte later.
    Base64Shifted1,
    /// The same, two bytes later.
    Base64Shifted2,
}

impl Form {
    pub(super) const ALL: [Self; 12] = [
        Self::Text,
        Self::Spaced,
        Self::Dashed,
        Self::Reversed,
        Self::Bcd,
        Self::BcdShifted,
        Self::Hex,
        Self::Utf16Little,
        Self::Utf16Big,
        Self::Base64,
        Self::Base64Shifted1,
        Self::Base64Shifted2,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Spaced => "spaced",
            Self::Dashed => "dashed",
            Self::Reversed => "reversed",
            Self::Bcd => "BCD",
            Self::BcdShifted => "BCD +4 bits",
            Self::Hex => "hex",
            Self::Utf16Little => "UTF-16 LE",
            Self::Utf16Big => "UTF-16 BE",
            Self::Base64 => "base64",
            Self::Base64Shifted1 => "base64 +1",
            Self::Base64Shifted2 => "base64 +2",
        }
    }

    /// Those bytes of the form that are the number's alone, whatever stands around it.
    fn needle(self, number: &str) -> Vec<u8> {
        let text = number.as_bytes();
        match self {
            Self::Text => text.to_vec(),
            Self::Spaced => grouped(text, b' '),
            Self::Dashed => grouped(text, b'-'),
            Self::Reversed => text.iter().rev().copied().collect(),
            Self::Bcd => bcd(text),
            Self::BcdShifted => bcd(text.get(1..).unwrap_or_default()),
            Self::Hex => text
                .iter()
                .flat_map(|byte| [b'0' + (byte >> 4), b'0' + (byte & 0xf)])
                .collect(),
            Self::Utf16Little => text.iter().flat_map(|&byte| [byte, 0]).collect(),
            Self::Utf16Big => text.iter().flat_map(|&byte| [0, byte]).collect(),
            Self::Base64 => base64(text, 0),
            Self::Base64Shifted1 => base64(text, 1),
            Self::Base64Shifted2 => base64(text, 2),
        }
    }

    /// The number as it would stand in a file in this form, for the control.
    fn planted(self, number: &str) -> Vec<u8> {
        match self {
            Self::BcdShifted => {
                let mut shifted = b"0".to_vec();
                shifted.extend_from_slice(number.as_bytes());
                bcd(&shifted)
            }
            Self::Base64Shifted1 => base64(format!("#{number}").as_bytes(), 0),
            Self::Base64Shifted2 => base64(format!("##{number}").as_bytes(), 0),
            other => other.needle(number),
        }
    }
}

/// A file with `number` in each form and other bytes between them, and where each form stands.
pub(super) fn control(number: &str) -> (Vec<u8>, Vec<(Form, Range<usize>)>) {
    let mut bytes = b"control\n".to_vec();
    let mut places = Vec::new();
    for form in Form::ALL {
        let start = bytes.len();
        bytes.extend(form.planted(number));
        places.push((form, start..bytes.len()));
        bytes.extend_from_slice(b"\n~\n");
    }
    (bytes, places)
}

/// All numbers in all forms.
pub(super) struct Search {
    needles: Vec<Needle>,
    /// Whether any needle's first four bytes have this hash.
    begins: Vec<bool>,
    by_start: BTreeMap<[u8; 4], Vec<usize>>,
    /// How many needles say nothing and are not looked for.
    vague: usize,
}

struct Needle {
    /// Which number, in the order in which they were given.
    number: usize,
    form: Form,
    bytes: Vec<u8>,
}

/// Where each number stood in each form: the number's place among those given, and offsets.
pub(super) type Found = BTreeMap<(usize, Form), Vec<usize>>;

impl Search {
    pub(super) fn new(numbers: &[&str]) -> Self {
        let mut search = Self {
            needles: Vec::new(),
            begins: vec![false; 1 << HASH_BITS],
            by_start: BTreeMap::new(),
            vague: 0,
        };
        for (number, text) in numbers.iter().enumerate() {
            for form in Form::ALL {
                let bytes = form.needle(text);
                let Some(start) = bytes.first_chunk::<4>().filter(|_| is_telling(&bytes)) else {
                    search.vague += 1;
                    continue;
                };
                if let Some(begins) = search.begins.get_mut(hash(*start)) {
                    *begins = true;
                }
                let place = search.needles.len();
                search.by_start.entry(*start).or_default().push(place);
                search.needles.push(Needle {
                    number,
                    form,
                    bytes,
                });
            }
        }
        search
    }

    /// How many needles there are.
    pub(super) const fn len(&self) -> usize {
        self.needles.len()
    }

    /// How many numbers are not looked for in a form of BCD: see [`is_telling`].
    pub(super) const fn vague(&self) -> usize {
        self.vague
    }

    pub(super) fn run(&self, bytes: &[u8]) -> Found {
        let mut found = Found::new();
        for (at, start) in bytes.array_windows::<4>().enumerate() {
            if self.begins.get(hash(*start)) != Some(&true) {
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            for place in self.by_start.get(start).into_iter().flatten() {
                if let Some(needle) = self.needles.get(*place)
                    && rest.starts_with(&needle.bytes)
                {
                    let places = found.entry((needle.number, needle.form));
                    places.or_default().push(at);
                }
            }
        }
        found
    }
}

/// Test numbers such as 5 and 18 zeros are, in BCD, what any counter in a binary file looks like:
/// half of the bytes must be other than zero.
fn is_telling(needle: &[u8]) -> bool {
    let zeros = needle.iter().filter(|&&byte| byte == 0).count();
    2 * zeros <= needle.len()
}

const HASH_BITS: u32 = 16;

/// Multiplicative hashing.
fn hash(start: [u8; 4]) -> usize {
    let mixed = u32::from_le_bytes(start).wrapping_mul(0x9e37_79b1);
    usize::try_from(mixed >> (32 - HASH_BITS)).unwrap_or(0)
}

/// Groups of four, as on a card.
fn grouped(text: &[u8], separator: u8) -> Vec<u8> {
    text.chunks(4).collect::<Vec<_>>().join(&separator)
}

/// Whole bytes alone: a last odd digit shares its byte with what follows.
fn bcd(text: &[u8]) -> Vec<u8> {
    text.as_chunks::<2>()
        .0
        .iter()
        .map(|[high, low]| ((high - b'0') << 4) | (low - b'0'))
        .collect()
}

/// Base64 of `text` behind `before` bytes of something else, without the symbols that are shared
/// with what stands around it.
fn base64(text: &[u8], before: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(text);
    let shared = (8 * before).div_ceil(6);
    (shared..8 * bytes.len() / 6)
        .map(|symbol| {
            let bit = |at: usize| {
                let byte = bytes.get(at / 8).copied().unwrap_or(0);
                usize::from(byte >> (7 - at % 8) & 1)
            };
            let value = (0..6).fold(0, |value, at| value << 1 | bit(6 * symbol + at));
            ALPHABET.get(value).copied().unwrap_or(b'=')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_published_vectors() {
        // RFC 4648, section 10, without the symbols that the padding shares.
        assert_eq!(base64(b"foobar", 0), b"Zm9vYmFy");
        assert_eq!(base64(b"fooba", 0), b"Zm9vYm");
        assert_eq!(base64(b"oobar", 1), b"9vYmFy");
        assert_eq!(base64(b"obar", 2), b"vYmFy");
    }

    #[test]
    fn each_form_is_found_and_nothing_else() {
        let numbers = ["4508750015741019", "5060990580000217499", "76009244561"];
        let search = Search::new(&numbers);
        for (at, number) in numbers.iter().enumerate() {
            let (bytes, places) = control(number);
            let found = search.run(&bytes);
            for (form, place) in places {
                let [offset] = found[&(at, form)][..] else {
                    panic!("{number} {form:?}: {found:?}");
                };
                assert!(place.contains(&offset), "{number} {form:?}");
            }
            assert!(found.keys().all(|(number, _)| *number == at));
        }
        let text = b"masked 450875******1019, last four 1019, BIN 45087500, 4508750015741018";
        assert!(search.run(text).is_empty());
        assert!(search.run(b"").is_empty());
    }

    #[test]
    fn alignment_does_not_hide_a_number() {
        let number = "4508750015741019";
        let search = Search::new(&[number]);
        for before in 0..8 {
            let mut bytes = vec![0xa5; before];
            bytes.extend_from_slice(number.as_bytes());
            assert_eq!(search.run(&bytes).len(), 1);
            let encoded = base64(&bytes, 0);
            assert_eq!(search.run(&encoded).len(), 1, "{before}");
        }
    }
}
