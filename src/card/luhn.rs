//! The Luhn check (ISO/IEC 7812-1 Annex B) over plain ASCII digits.
#![forbid(unsafe_code)]

use super::digits::Digits;

/// Whether `ascii` is two or more ASCII digits of which the last is the right check digit.
///
/// Constant time for digits of one length.
///
/// ```
/// assert!(cardvault::card::luhn::passes(b"4111111111111111"));
/// assert!(!cardvault::card::luhn::passes(b"4111111111111112"));
/// ```
#[must_use]
#[inline]
pub fn passes(ascii: &[u8]) -> bool {
    match Digits::from_ascii(ascii) {
        Some(digits) => digits.luhn_residue() == 0,
        None => ascii.len() >= 2 && residue(ascii, 0) == Some(0),
    }
}

/// The check digit, 0 to 9, that makes `payload` pass when it is put behind it; `None` if
/// `payload` is empty or holds anything but ASCII digits.
///
/// Constant time for digits of one length.
///
/// ```
/// assert_eq!(cardvault::card::luhn::check_digit(b"411111111111111"), Some(1));
/// ```
#[must_use]
pub fn check_digit(payload: &[u8]) -> Option<u8> {
    if payload.is_empty() {
        return None;
    }
    let residue = residue(payload, 1)?;
    Some((10 - residue) & above(0, residue))
}

/// The Luhn sum modulo 10 of `ascii` with `behind` places to its right; `None` for other bytes.
fn residue(ascii: &[u8], behind: usize) -> Option<u8> {
    let mut sum = 0;
    let mut bad = 0;
    for (place, byte) in ascii.iter().rev().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        bad |= above(9, digit);
        let digit = digit & 0xf;
        let double = if (place + behind) % 2 == 1 {
            u8::MAX
        } else {
            0
        };
        sum += digit + (digit & double);
        sum -= 9 & double & above(4, digit);
        sum -= 10 & above(9, sum);
        sum -= 10 & above(9, sum);
    }
    (bad == 0).then_some(sum)
}

/// All ones if `value` is above `limit`, else zero, without a branch.
const fn above(limit: u8, value: u8) -> u8 {
    let [_, borrow] = (limit as u16).wrapping_sub(value as u16).to_le_bytes();
    borrow
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule as a clerk would compute it.
    fn model(ascii: &[u8]) -> bool {
        let sum: u32 = ascii
            .iter()
            .rev()
            .enumerate()
            .map(|(place, byte)| {
                let digit = u32::from(byte - b'0') * if place % 2 == 1 { 2 } else { 1 };
                digit / 10 + digit % 10
            })
            .sum();
        sum.is_multiple_of(10)
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_model(text in "[0-9]{2,40}") {
            proptest::prop_assert_eq!(passes(text.as_bytes()), model(text.as_bytes()));
        }

        #[test]
        fn exactly_one_check_digit_fits(text in "[0-9]{1,40}") {
            let digit = check_digit(text.as_bytes()).unwrap();
            for other in 0..10 {
                let full = format!("{text}{other}");
                proptest::prop_assert_eq!(passes(full.as_bytes()), other == digit);
            }
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for input in [
            &b""[..],
            b"0",
            b"4111-1111",
            b"411111111111111x",
            "\u{ff11}1".as_bytes(),
        ] {
            assert!(!passes(input));
        }
        assert_eq!(check_digit(b""), None);
        assert_eq!(check_digit(b"41x"), None);
    }
}
