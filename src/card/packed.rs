//! Up to 19 decimal digits as nibbles of one machine number: the form in which digits are cut,
//! counted and put together. Free of branches and indices that depend on a digit's value.
#![forbid(unsafe_code)]

use super::digits::{PAN_MAX_DIGITS, PAN_MIN_DIGITS};

/// Bytes of the binary form: 20 nibbles.
pub(crate) const PAN_BCD_LEN: usize = 10;

/// The most nibbles of padding: those behind 8 digits.
const MAX_PADDING: usize = 2 * PAN_BCD_LEN - PAN_MIN_DIGITS;
/// Bits of one digit.
const NIBBLE: usize = 4;
/// The lower nibble of every byte.
const LOWER: u64 = 0x0f0f_0f0f_0f0f_0f0f;
/// 1 in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The lower byte of every two.
const LANES_16: u64 = 0x00ff_00ff_00ff_00ff;

/// Packed BCD, the last digit in the lowest bits, behind zeros.
///
/// Two words, so that many numbers can be worked on side by side. A value in passing, not wiped:
/// what keeps digits is [`super::digits::Digits`].
#[derive(Clone, Copy)]
pub(crate) struct Packed {
    /// The digits before the last 16.
    pub(crate) high: u64,
    /// The last 16 digits.
    pub(crate) low: u64,
}

impl Packed {
    /// Reads BCD from the left, padded with `F`, and how many digits there are; `None` without
    /// digits, with more than 19, or with a nibble that is neither.
    #[inline]
    pub(crate) const fn from_bytes(bcd: &[u8; PAN_BCD_LEN]) -> Option<(Self, usize)> {
        let [front @ .., b8, b9] = *bcd;
        let front = u64::from_be_bytes(front);
        let low = front << 16 | u16::from_be_bytes([b8, b9]) as u64;
        // At most 12 nibbles are padding, as a number has 8 digits; more are refused below.
        let padding = low.trailing_ones() as usize / NIBBLE;
        if padding == 0 || padding > MAX_PADDING {
            return None;
        }
        let shift = NIBBLE * padding;
        let padded_high = front >> 48;
        let digits = Self {
            high: padded_high >> shift,
            low: padded_high << (64 - shift) | low >> shift,
        };
        if not_digits(digits.high) | not_digits(digits.low) != 0 {
            return None;
        }
        Some((digits, 2 * PAN_BCD_LEN - padding))
    }

    /// BCD of the last `len` digits, 8 to 19, from the left, padded with `F`.
    #[inline]
    pub(crate) const fn to_bytes(self, len: usize) -> [u8; PAN_BCD_LEN] {
        let shift = NIBBLE * (2 * PAN_BCD_LEN).saturating_sub(len) % 64;
        let low = self.low << shift | ((1 << shift) - 1);
        let high = self.high << shift | (self.low >> 1) >> (63 - shift);
        let [b0, b1, b2, b3, b4, b5, b6, b7] = (high << 48 | low >> 16).to_be_bytes();
        let [.., b8, b9] = low.to_be_bytes();
        [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9]
    }

    /// The digits of both, where one has zeros.
    #[inline(always)]
    pub(crate) const fn with(self, other: Self) -> Self {
        Self {
            high: self.high | other.high,
            low: self.low | other.low,
        }
    }

    /// The Luhn sum modulo 10: 0 for a number that passes (ISO/IEC 7812-1 Annex B).
    /// Constant time for every length.
    #[inline(always)]
    pub(crate) const fn luhn_residue(self) -> u64 {
        let sum = luhn_sums(self.low) + luhn_sums(self.high);
        // Added up to one lane: at most 171.
        let sum = (sum & LANES_16) + (sum >> 8 & LANES_16);
        let sum = sum + (sum >> 32);
        let total = (sum + (sum >> 16)) & 0xff;
        // The product with 205/2048 is the exact quotient by 10.
        total - 10 * ((total * 205) >> 11)
    }
}

/// Where some digits stand: at most 16 of them, in all numbers of one length.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    shift: u32,
    mask: u64,
}

impl Field {
    /// `count` digits with `behind` digits after them, at most 15 each; none where they do not
    /// fit.
    pub(crate) const fn new(count: usize, behind: usize) -> Self {
        if count > 15 || behind > 15 || count + behind > PAN_MAX_DIGITS {
            return Self { shift: 0, mask: 0 };
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 60")]
        Self {
            shift: (NIBBLE * behind) as u32,
            mask: (1 << (NIBBLE * count)) - 1,
        }
    }

    /// The field's digits as nibbles.
    #[inline(always)]
    pub(crate) const fn nibbles(self, digits: Packed) -> u64 {
        // In two steps, so that no shift is as wide as the word.
        ((digits.high << 1) << (63 - self.shift) | digits.low >> self.shift) & self.mask
    }

    /// `nibbles` at the field's place in a number, between zeros.
    #[inline(always)]
    pub(crate) const fn place(self, nibbles: u64) -> Packed {
        Packed {
            high: (nibbles >> 1) >> (63 - self.shift),
            low: nibbles << self.shift,
        }
    }
}

/// At most 16 nibbles as a number.
#[inline(always)]
pub(crate) const fn join(nibbles: u64) -> u64 {
    // Each step makes pairs of lanes one lane: the upper is worth less than its place says.
    let twos = nibbles - (16 - 10) * (nibbles >> 4 & LOWER);
    let fours = twos - (256 - 100) * (twos >> 8 & LANES_16);
    let eights = fours - (65_536 - 10_000) * (fours >> 16 & 0x0000_ffff_0000_ffff);
    eights - ((1 << 32) - 100_000_000) * (eights >> 32)
}

/// The inverse of [`join`] for numbers below 10^9, by multiplication: no division on a secret.
#[inline(always)]
pub(crate) const fn spread(number: u64) -> u64 {
    // Each step splits lanes by the product with a rounded-up reciprocal, exact in its range.
    let top = (number * 1_441_151_881) >> 57; // / 10^8, below 2^30
    let eight = number - top * 100_000_000;
    let high = (eight * 3_518_437_209) >> 45; // / 10^4, below 2^32
    let fours = eight + high * ((1 << 32) - 10_000);
    let hundreds = (fours * 10_486) >> 20 & 0x0000_007f_0000_007f; // / 100, below 10^4
    let twos = fours + hundreds * ((1 << 16) - 100);
    let tens = (twos * 103) >> 10 & 0x000f_000f_000f_000f; // / 10, below 100
    let bytes = twos + tens * (16 - 10);
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    top << 32 | (pairs | pairs >> 16) & 0xffff_ffff
}

/// Non-zero if a nibble is above 9: 8 with 4 or 2.
#[inline]
const fn not_digits(word: u64) -> u64 {
    word & (word << 1 | word << 2) & 0x8888_8888_8888_8888
}

/// The digits' parts of the Luhn sum, two in each byte.
#[inline(always)]
const fn luhn_sums(word: u64) -> u64 {
    let plain = word & LOWER;
    let doubled = word >> 4 & LOWER;
    // 1 in each lane whose digit is 5 or more: its double loses 9.
    let carry = (doubled + 0x7b * ONES) >> 7 & ONES;
    plain + 2 * doubled - 9 * carry
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_become_nibbles_and_return() {
        let edges = (0..9).flat_map(|power| {
            let ten = 10_u64.pow(power);
            (1..10).flat_map(move |by| [by * ten - 1, by * ten, by * ten + 1])
        });
        for number in edges.chain([999_999_999]) {
            let text = u64::from_str_radix(&number.to_string(), 16).unwrap();
            assert_eq!(spread(number), text);
            assert_eq!(join(text), number);
        }
    }

    proptest! {
        #[test]
        fn nibbles_agree_with_text(number in 0_u64..1_000_000_000, long in 0_u64..10_u64.pow(16)) {
            let nibbles = |number: u64| u64::from_str_radix(&number.to_string(), 16).unwrap();
            prop_assert_eq!(spread(number), nibbles(number));
            prop_assert_eq!(join(nibbles(long)), long);
        }
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn every_number_of_eight_digits_becomes_nibbles() {
        // And the same behind a ninth digit.
        let correct = |number| not_digits(spread(number)) == 0 && join(spread(number)) == number;
        assert!((0..100_000_000).all(|number| correct(number) && correct(number + 900_000_000)));
    }
}
