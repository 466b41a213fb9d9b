//! Up to 19 decimal digits as nibbles of one machine number: the form in which digits are cut,
//! counted and put together. Free of branches and indices that depend on a digit's value.
#![forbid(unsafe_code)]

use super::digits::PAN_MAX_DIGITS;

/// Bytes of the binary form: 20 nibbles.
pub(crate) const PAN_BCD_LEN: usize = 10;

/// Bits of one digit.
const NIBBLE: usize = 4;
/// The lower nibble of every byte.
const LOWER: u64 = 0x0f0f_0f0f_0f0f_0f0f;
/// 1 in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The top bit of every nibble.
const TOP_BITS: u128 = 0x8888_8888_8888_8888_8888_8888_8888_8888;

/// Packed BCD, the last digit in the lowest bits, behind zeros.
///
/// A value in passing, not wiped: what keeps digits is [`super::digits::Digits`].
#[derive(Clone, Copy)]
pub(crate) struct Packed {
    nibbles: u128,
    /// The count of digits, which is not secret.
    len: usize,
}

impl Packed {
    /// No digits.
    pub(crate) const EMPTY: Self = Self { nibbles: 0, len: 0 };

    /// The digits of `nibbles`, each at most 9 and none but the last `len` above 0.
    #[inline]
    pub(crate) const fn new(nibbles: u128, len: usize) -> Self {
        Self { nibbles, len }
    }

    /// Reads BCD from the left, padded with `F`; `None` without digits, with more than 19, or
    /// with a nibble that is neither.
    #[inline]
    pub(crate) fn from_bytes(bcd: &[u8; PAN_BCD_LEN]) -> Option<Self> {
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9] = *bcd;
        let padded =
            u128::from_be_bytes([0, 0, 0, 0, 0, 0, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9]);
        let padding = padded.trailing_ones() as usize / NIBBLE;
        let len = (2 * PAN_BCD_LEN).checked_sub(padding)?;
        if len == 0 || len > PAN_MAX_DIGITS {
            return None;
        }
        let nibbles = padded >> (NIBBLE * padding);
        // Above 9 is 8 with 4 or 2.
        let bad = nibbles & (nibbles << 1 | nibbles << 2) & TOP_BITS;
        (bad == 0).then_some(Self { nibbles, len })
    }

    /// BCD from the left, padded with `F`.
    #[inline]
    pub(crate) const fn to_bytes(self) -> [u8; PAN_BCD_LEN] {
        let padding = NIBBLE * (2 * PAN_BCD_LEN).saturating_sub(self.len);
        let padded = (self.nibbles << padding) | ((1 << padding) - 1);
        let [_, _, _, _, _, _, bcd @ ..] = padded.to_be_bytes();
        bcd
    }

    /// The nibbles, right-aligned.
    #[inline]
    pub(crate) const fn nibbles(self) -> u128 {
        self.nibbles
    }

    /// How many digits there are.
    #[inline]
    pub(crate) const fn len(self) -> usize {
        self.len
    }

    /// The digits outside `fields` replaced by zeros.
    #[inline]
    pub(crate) fn only(self, fields: [Field; 2]) -> Self {
        let mask = fields.map(|field| u128::from(field.mask) << field.shift);
        Self {
            nibbles: self.nibbles & (mask[0] | mask[1]),
            len: self.len,
        }
    }

    /// The Luhn sum modulo 10: 0 for a number that passes (ISO/IEC 7812-1 Annex B).
    /// Constant time for every length.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the words of a number")]
    pub(crate) const fn luhn_residue(self) -> u32 {
        let sum = luhn_sums(self.nibbles as u64) + luhn_sums((self.nibbles >> 64) as u64);
        let total = sum.wrapping_mul(ONES) >> 56;
        // At most 171: the product with 205/2048 is the exact quotient by 10.
        (total - 10 * ((total * 205) >> 11)) as u32
    }
}

/// Where some digits stand: at most 16 of them, in all numbers of one length.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    shift: u32,
    mask: u64,
}

impl Field {
    /// `count` digits with `behind` digits after them; none where they do not fit.
    pub(crate) const fn new(count: usize, behind: usize) -> Self {
        if count > 16 || count + behind > PAN_MAX_DIGITS {
            return Self { shift: 0, mask: 0 };
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 76")]
        Self {
            shift: (NIBBLE * behind) as u32,
            mask: ((1_u128 << (NIBBLE * count)) - 1) as u64,
        }
    }

    /// The field's digits as nibbles.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "cut to the field")]
    pub(crate) const fn nibbles(self, digits: Packed) -> u64 {
        (digits.nibbles >> self.shift) as u64 & self.mask
    }

    /// The field's digits as a number.
    #[inline]
    pub(crate) const fn number(self, digits: Packed) -> u64 {
        join(self.nibbles(digits))
    }

    /// `nibbles` at the field's place in a number, between zeros.
    #[inline]
    pub(crate) const fn place(self, nibbles: u64) -> u128 {
        (nibbles as u128) << self.shift
    }
}

/// At most 16 nibbles as a number.
#[inline]
pub(crate) const fn join(nibbles: u64) -> u64 {
    // Each step makes pairs of lanes one lane: the upper is worth less than its place says.
    let twos = nibbles - (16 - 10) * (nibbles >> 4 & LOWER);
    let fours = twos - (256 - 100) * (twos >> 8 & 0x00ff_00ff_00ff_00ff);
    let eights = fours - (65_536 - 10_000) * (fours >> 16 & 0x0000_ffff_0000_ffff);
    eights - ((1 << 32) - 100_000_000) * (eights >> 32)
}

/// The inverse of [`join`] for numbers below 10^9, by multiplication: no division on a secret.
#[inline]
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

/// The digits' parts of the Luhn sum, two in each byte.
#[inline]
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
    fn every_number_of_nine_digits_returns() {
        assert!((0..1_000_000_000).all(|number| join(spread(number)) == number));
    }
}
