//! Up to 19 decimal digits in three machine words: what card numbers and card-shaped tokens are
//! made of. Everything here is free of branches and indices that depend on a digit's value.
#![forbid(unsafe_code)]

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::packed::{PAN_BCD_LEN, Packed};

/// The longest card number, in digits (ISO/IEC 7812-1).
pub const PAN_MAX_DIGITS: usize = 19;
/// The shortest card number, in digits (ISO/IEC 7812-1).
pub const PAN_MIN_DIGITS: usize = 8;

/// Bytes of the right-aligned form.
const WIDTH: usize = 24;
/// Digits in one word.
const WORD: usize = 8;

const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const LANES: u64 = 0x00ff_00ff_00ff_00ff;

/// Digit values 0-9, right-aligned in 24 bytes behind zeros; byte 0 is the lowest byte of word 0.
///
/// The count of digits is not secret; the digits are.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Digits {
    words: [u64; 3],
    /// A whole word: bytes of padding would be copied one by one, and slowly.
    len: usize,
}

impl Digits {
    /// Reads `ascii`, which must be 8 to 19 ASCII digits and nothing else.
    // One copy where flash is short.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub(crate) fn from_ascii(ascii: &[u8]) -> Option<Self> {
        let len = ascii.len();
        let last = ascii.last_chunk::<WORD>()?;
        let first = u64::from_le_bytes(*ascii.first_chunk::<WORD>()?) ^ ASCII_ZEROS;
        let last = u64::from_le_bytes(*last) ^ ASCII_ZEROS;
        // The leading digits that fill no whole word, pushed against the word's end.
        let words = match len {
            8 => [0, 0, last],
            9..16 => [0, first << (8 * (16 - len)), last],
            16 => [0, first, last],
            17..=PAN_MAX_DIGITS => {
                let (_, tail) = ascii.split_at_checked(len.wrapping_sub(16))?;
                let middle = u64::from_le_bytes(*tail.first_chunk::<WORD>()?) ^ ASCII_ZEROS;
                [first << (8 * (24 - len)), middle, last]
            }
            _ => return None,
        };
        let bad = words.iter().fold(0, |bad, &word| bad | not_digits(word));
        (bad == 0).then_some(Self { words, len })
    }

    /// Reads digit values; `None` if there are none, more than 19, or one above 9.
    pub(crate) fn from_values(values: &[u8]) -> Option<Self> {
        let mut bytes = [0; WIDTH];
        let start = WIDTH.checked_sub(values.len())?;
        bytes.get_mut(start..)?.copy_from_slice(values);
        if values.is_empty() || values.len() > PAN_MAX_DIGITS {
            bytes.zeroize();
            return None;
        }
        let digits = Self::from_bytes(&bytes, values.len());
        bytes.zeroize();
        let bad = digits
            .words
            .iter()
            .fold(0, |bad, &word| bad | not_digits(word));
        (bad == 0).then_some(digits)
    }

    /// The number `value` as exactly `len` digits, leading zeros kept; what does not fit is cut.
    #[inline]
    pub(crate) fn from_number(value: u64, len: usize) -> Self {
        // value = high * 10^16 + middle * 10^8 + low
        let (rest, low) = div_rem_1e8(value);
        let (high, middle) = div_rem_1e8(rest);
        let words = [spread_8(high), spread_8(middle), spread_8(low)];
        let cut = Self { words, len: 0 }.low_digits(len);
        Self {
            words: cut,
            len: len.min(PAN_MAX_DIGITS),
        }
    }

    /// How many digits there are.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most 19")]
    pub(crate) const fn len_u8(&self) -> u8 {
        self.len as u8
    }

    /// The digits `from..to`, counted from the left, as a number; 0 where the range is empty or
    /// reaches past the end.
    #[inline]
    pub(crate) fn number(&self, from: usize, to: usize) -> u64 {
        if from >= to || to > self.len() {
            return 0;
        }
        let words = shift_right(&self.words, self.len() - to);
        let [.., low] = words;
        if to - from <= WORD {
            return join_8(last_of_word(low, to - from));
        }
        let [high, middle, low] = Self { words, len: 0 }.low_digits(to - from);
        (join_8(high) * 100_000_000 + join_8(middle)) * 100_000_000 + join_8(low)
    }

    /// The digits of `self` followed by those of `other`; `None` beyond 19.
    pub(crate) fn joined(&self, other: &Self) -> Option<Self> {
        let len = self.len() + other.len();
        if len > PAN_MAX_DIGITS {
            return None;
        }
        let mut words = shift_left(&self.words, other.len());
        for (word, more) in words.iter_mut().zip(other.words) {
            *word |= more;
        }
        Some(Self { words, len })
    }

    /// The digit values, right-aligned behind zeros.
    #[inline]
    pub(crate) fn right_aligned(&self) -> [u8; WIDTH] {
        let mut bytes = [0; WIDTH];
        for (part, word) in bytes.chunks_exact_mut(WORD).zip(self.words) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Writes the digits as ASCII to the front of `out`; returns how many.
    #[inline]
    pub(crate) fn write_ascii(&self, out: &mut [u8; PAN_MAX_DIGITS]) -> usize {
        let left = shift_left(&self.words, WIDTH - self.len());
        let mut bytes = [0; WIDTH];
        for (part, word) in bytes.chunks_exact_mut(WORD).zip(left) {
            part.copy_from_slice(&(word | ASCII_ZEROS).to_le_bytes());
        }
        for (to, from) in out.iter_mut().zip(bytes).take(self.len()) {
            *to = from;
        }
        bytes.zeroize();
        self.len()
    }

    /// The digits as nibbles.
    #[inline]
    pub(crate) fn packed(&self) -> Packed {
        let [high, middle, low] = self.words;
        Packed {
            // Most numbers have none so far up.
            high: if self.len > 2 * WORD { pack_8(high) } else { 0 },
            low: pack_8(middle) << 32 | pack_8(low),
        }
    }

    /// The last `len` digits of `packed`, the only ones above 0.
    #[inline]
    pub(crate) const fn from_packed(packed: Packed, len: usize) -> Self {
        let words = [
            unpack_8(packed.high),
            unpack_8(packed.low >> 32),
            unpack_8(packed.low),
        ];
        Self { words, len }
    }

    /// Packed BCD from the left, padded with `F`.
    #[inline]
    pub(crate) fn to_bcd(&self) -> [u8; PAN_BCD_LEN] {
        self.packed().to_bytes(self.len)
    }

    /// Reads packed BCD padded with `F`; `None` if it is not 8 to 19 digits.
    #[inline]
    pub(crate) fn from_bcd(bcd: &[u8; PAN_BCD_LEN]) -> Option<Self> {
        let (packed, len) = Packed::from_bytes(bcd)?;
        Some(Self::from_packed(packed, len))
    }

    /// The Luhn sum modulo 10: 0 for a number that passes (ISO/IEC 7812-1 Annex B).
    /// Constant time for every length.
    #[inline]
    pub(crate) fn luhn_residue(&self) -> u32 {
        let mut sum = 0;
        for word in self.words {
            let plain = (word >> 8) & LANES;
            let doubled = word & LANES;
            // 1 in each lane whose digit is 5 or more: its double loses 9.
            let carry = ((doubled + 0x007b_007b_007b_007b) >> 7) & 0x0001_0001_0001_0001;
            sum += plain + 2 * doubled - 9 * carry;
        }
        let total = sum.wrapping_mul(0x0001_0001_0001_0001) >> 48;
        // At most 171: the product with 205/2048 is the exact quotient by 10.
        let residue = total - 10 * ((total * 205) >> 11);
        (residue & 0xf) as u32
    }

    fn from_bytes(bytes: &[u8; WIDTH], len: usize) -> Self {
        let mut words = [0; 3];
        for (word, part) in words.iter_mut().zip(bytes.as_chunks::<WORD>().0) {
            *word = u64::from_le_bytes(*part);
        }
        Self { words, len }
    }

    /// The last `count` digits, all others zero.
    #[inline]
    fn low_digits(&self, count: usize) -> [u64; 3] {
        let gone = WIDTH.saturating_sub(count);
        let mask = shift_left(&shift_right_ones(gone), 0);
        [
            self.words[0] & mask[0],
            self.words[1] & mask[1],
            self.words[2] & mask[2],
        ]
    }
}

impl ConstantTimeEq for Digits {
    /// Constant time for numbers of one length; the length is not secret.
    #[inline]
    fn ct_eq(&self, other: &Self) -> Choice {
        self.words.ct_eq(&other.words) & self.len.ct_eq(&other.len)
    }
}

/// Non-zero if a byte is above 9.
#[inline]
const fn not_digits(word: u64) -> u64 {
    (word.wrapping_add(0x7676_7676_7676_7676) | word) & HIGH_BITS
}

/// The last `count` digits of a word, 1 to 8, all others zero.
#[inline]
const fn last_of_word(word: u64, count: usize) -> u64 {
    let gone = 8 * (WORD.saturating_sub(count) % WORD);
    word >> gone << gone
}

/// Moves every digit `by` places to the right; those that leave the end are lost.
#[inline]
fn shift_right(words: &[u64; 3], by: usize) -> [u64; 3] {
    let [a, b, c] = *words;
    let bits = 8 * (by % WORD);
    let [a, b, c] = match by / WORD {
        0 => [a, b, c],
        1 => [0, a, b],
        2 => [0, 0, a],
        _ => [0, 0, 0],
    };
    if bits == 0 {
        return [a, b, c];
    }
    [
        a << bits,
        (b << bits) | (a >> (64 - bits)),
        (c << bits) | (b >> (64 - bits)),
    ]
}

/// Moves every digit `by` places to the left; those that leave the front are lost.
#[inline]
fn shift_left(words: &[u64; 3], by: usize) -> [u64; 3] {
    let [a, b, c] = *words;
    let bits = 8 * (by % WORD);
    let [a, b, c] = match by / WORD {
        0 => [a, b, c],
        1 => [b, c, 0],
        2 => [c, 0, 0],
        _ => [0, 0, 0],
    };
    if bits == 0 {
        return [a, b, c];
    }
    [
        (a >> bits) | (b << (64 - bits)),
        (b >> bits) | (c << (64 - bits)),
        c >> bits,
    ]
}

/// All ones but for the first `by` bytes.
#[inline]
fn shift_right_ones(by: usize) -> [u64; 3] {
    shift_right(&[u64::MAX; 3], by)
}

/// Eight digit values, the first in the lowest byte, as a number below 10^8.
#[inline]
const fn join_8(word: u64) -> u64 {
    let pairs = (word & LANES) * 10 + ((word >> 8) & LANES);
    let fours = (pairs & 0x0000_ffff_0000_ffff) * 100 + ((pairs >> 16) & 0x0000_ffff_0000_ffff);
    (fours & 0xffff_ffff) * 10_000 + (fours >> 32)
}

/// The inverse of [`join_8`] for `value` below 10^8.
#[inline]
const fn spread_8(value: u64) -> u64 {
    // Each step splits a lane by multiplying with a rounded-up reciprocal, exact in its range.
    let high = (value * 3_518_437_209) >> 45; // / 10^4, exact below 2^32
    let fours = high | ((value - high * 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f; // / 100, below 10^4
    let pairs = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f; // / 10, below 100
    tens | ((pairs - tens * 10) << 8)
}

/// Eight digit values, the first in the lowest byte, as eight nibbles, the first on top.
#[inline]
const fn pack_8(word: u64) -> u64 {
    let pairs = word.swap_bytes();
    let pairs = (pairs | pairs >> 4) & LANES;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    (fours | fours >> 16) & 0xffff_ffff
}

/// The inverse of [`pack_8`], of the lowest eight nibbles.
#[inline]
const fn unpack_8(nibbles: u64) -> u64 {
    let fours = nibbles & 0xffff_ffff;
    let fours = (fours | fours << 16) & 0x0000_ffff_0000_ffff;
    let pairs = (fours | fours << 8) & LANES;
    ((pairs | pairs << 4) & 0x0f0f_0f0f_0f0f_0f0f).swap_bytes()
}

/// Quotient and remainder by 10^8, by multiplication: no division on a secret.
#[inline]
const fn div_rem_1e8(value: u64) -> (u64, u64) {
    // ceil(2^90 / 10^8): exact for every u64, since its excess times 2^64 stays under 2^90 / 10^8.
    const RECIPROCAL: u128 = (1_u128 << 90) / 100_000_000 + 1;
    let quotient = ((value as u128 * RECIPROCAL) >> 90) as u64;
    (quotient, value - quotient * 100_000_000)
}
