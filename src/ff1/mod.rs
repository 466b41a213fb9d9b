//! FF1 format-preserving encryption (NIST SP 800-38G) with AES-256 over 6 to 19 decimal digits.
//!
//! No big integers, no floating point, no division: the halves of a number are machine words, and
//! sums are reduced by multiplication. Everything but the count of digits and the length of the
//! tweak is treated as secret and takes constant time.
#![forbid(unsafe_code)]

mod modulus;
mod rounds;

use core::fmt;

use aes::Aes256Enc;
use cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::card::digits::Digits;
use crate::secret::Secret;
use modulus::Modulus;
pub(crate) use rounds::Numbers;
use rounds::{Many, One, join, split};

/// The shortest number, in digits: SP 800-38G Revision 1 demands 1,000,000 values.
pub const FF1_MIN_DIGITS: usize = 6;
/// The longest number, in digits: the longest card number.
pub const FF1_MAX_DIGITS: usize = 19;
/// The longest tweak, in bytes.
pub const FF1_MAX_TWEAK: usize = 64;
/// How many numbers a batch runs side by side. Multiples of it go fastest.
pub const FF1_LANES: usize = rounds::LANES;

/// FF1 under one AES-256 key, radix 10.
///
/// ```
/// use cardvault::{Secret, ff1::Ff1};
///
/// let ff1 = Ff1::new(&Secret::new([7; 32]));
/// let mut digits = [4, 1, 1, 1, 1, 1, 1, 1];
/// ff1.encrypt(b"tweak", &mut digits)?;
/// ff1.decrypt(b"tweak", &mut digits)?;
/// assert_eq!(digits, [4, 1, 1, 1, 1, 1, 1, 1]);
/// # Ok::<(), cardvault::ff1::Ff1Error>(())
/// ```
pub struct Ff1 {
    cipher: Aes256Enc,
}

impl ZeroizeOnDrop for Ff1 {}

impl Ff1 {
    /// Expands `key`. The round keys are wiped when the value is dropped.
    #[must_use]
    pub fn new(key: &Secret<32>) -> Self {
        Self {
            cipher: Aes256Enc::new(key.expose().into()),
        }
    }

    /// Encrypts digit values 0 to 9 in place (SP 800-38G Algorithm 7). Constant time for one
    /// count of digits and one length of tweak.
    ///
    /// # Errors
    /// [`Ff1Error`] if the digits or the tweak are out of range; `digits` is left as it was.
    pub fn encrypt(&self, tweak: &[u8], digits: &mut [u8]) -> Result<(), Ff1Error> {
        self.run_digits(tweak, digits, Self::encrypt_item)
    }

    /// Decrypts digit values 0 to 9 in place (SP 800-38G Algorithm 8). Constant time for one
    /// count of digits and one length of tweak.
    ///
    /// # Errors
    /// [`Ff1Error`] if the digits or the tweak are out of range; `digits` is left as it was.
    pub fn decrypt(&self, tweak: &[u8], digits: &mut [u8]) -> Result<(), Ff1Error> {
        self.run_digits(tweak, digits, Self::decrypt_item)
    }

    /// What numbers of `digits` digits under tweaks of `tweak_len` bytes have in common. Made
    /// once, it saves one AES call for each number.
    ///
    /// # Errors
    /// [`Ff1Error::Digits`] and [`Ff1Error::Tweak`] if a length is out of range.
    pub fn shape(&self, digits: usize, tweak_len: usize) -> Result<Shape, Ff1Error> {
        let tweak_error = Ff1Error::Tweak { bytes: tweak_len };
        if tweak_len > FF1_MAX_TWEAK {
            return Err(tweak_error);
        }
        let t = u8::try_from(tweak_len).map_err(|_| tweak_error)?;
        let digits_error = Ff1Error::Digits { digits };
        if !(FF1_MIN_DIGITS..=FF1_MAX_DIGITS).contains(&digits) {
            return Err(digits_error);
        }
        let n = u8::try_from(digits).map_err(|_| digits_error)?;
        // 1. Let u = floor(n / 2); v = n - u.
        let u = n / 2;
        let v = n - u;
        let left = Modulus::power(u.into()).ok_or(digits_error)?;
        let right = Modulus::power(v.into()).ok_or(digits_error)?;
        // 3. Let b = ceil(ceil(v * log2(10)) / 8), the bytes that hold 10^v - 1.
        let b = (right.value() - 1).checked_ilog2().unwrap_or(0) / 8 + 1;
        // 4. Let d = 4 * ceil(b / 4) + 4: 8, or 12 where b is 5.
        let wide = b > 4;
        // 5. Let P = 1, 2, 1, the radix in 3 bytes, 10, u mod 256, n and t in 4 bytes each.
        let mut block = [1, 2, 1, 0, 0, 10, 10, u, 0, 0, 0, n, 0, 0, 0, t].into();
        self.cipher.encrypt_block(&mut block);
        Ok(Shape {
            left,
            right,
            wide,
            mark_shift: 8 * b,
            digits: n,
            tweak_len: t,
            chain: split(&block),
        })
    }

    /// One number of the given shape under its tweak: its first half and its second half, as
    /// numbers (see [`Shape::half_digits`]).
    ///
    /// # Errors
    /// [`Ff1Error::Tweak`] if the tweak has another length than the shape says,
    /// [`Ff1Error::Half`] if a half has more digits than the shape says.
    #[inline]
    pub fn item(&self, shape: &Shape, tweak: &[u8], halves: [u64; 2]) -> Result<Item, Ff1Error> {
        if tweak.len() != usize::from(shape.tweak_len) {
            return Err(Ff1Error::Tweak { bytes: tweak.len() });
        }
        Item::new(shape, halves, self.prefix(shape, tweak))
    }

    /// Encrypts one number. Constant time.
    #[inline]
    pub fn encrypt_item(&self, shape: &Shape, item: &mut Item) {
        self.cipher
            .encrypt_with_backend(One::<false> { shape, item });
    }

    /// Decrypts one number. Constant time.
    #[inline]
    pub fn decrypt_item(&self, shape: &Shape, item: &mut Item) {
        self.cipher
            .encrypt_with_backend(One::<true> { shape, item });
    }

    /// Encrypts many numbers of one shape, [`FF1_LANES`] side by side. Constant time for one
    /// count of numbers; takes about 5 KiB of stack.
    pub fn encrypt_items(&self, shape: &Shape, items: &mut [Item]) {
        self.encrypt_numbers(shape, items);
    }

    /// [`Ff1::encrypt_items`] for numbers that are kept in another form.
    pub(crate) fn encrypt_numbers(&self, shape: &Shape, numbers: &mut (impl Numbers + ?Sized)) {
        self.cipher
            .encrypt_with_backend(Many::<_, false> { shape, numbers });
    }

    /// Decrypts many numbers of one shape, [`FF1_LANES`] side by side. Constant time for one
    /// count of numbers; takes about 5 KiB of stack.
    pub fn decrypt_items(&self, shape: &Shape, items: &mut [Item]) {
        self.decrypt_numbers(shape, items);
    }

    /// [`Ff1::decrypt_items`] for numbers that are kept in another form.
    pub(crate) fn decrypt_numbers(&self, shape: &Shape, numbers: &mut (impl Numbers + ?Sized)) {
        self.cipher
            .encrypt_with_backend(Many::<_, true> { shape, numbers });
    }

    /// What all ten rounds feed to the cipher's last call: the chained blocks of P || Q so far,
    /// xor the part of Q's last block that the rounds share.
    #[inline]
    fn prefix(&self, shape: &Shape, tweak: &[u8]) -> [u64; 2] {
        let [mut high, mut low] = shape.chain;
        // Q = T || 0^((-t-b-1) mod 16) || i || B: the last 1 + b bytes are the round's.
        let mut rest = tweak;
        while rest.len() > shape.tweak_room() {
            let (part, later) = rest.split_at(rest.len().min(16));
            let [a, b] = padded(part);
            let mut block = join(high ^ a, low ^ b);
            self.cipher.encrypt_block(&mut block);
            [high, low] = split(&block);
            rest = later;
        }
        let [a, b] = padded(rest);
        [high ^ a, low ^ b]
    }

    fn run_digits(
        &self,
        tweak: &[u8],
        digits: &mut [u8],
        run: impl FnOnce(&Self, &Shape, &mut Item),
    ) -> Result<(), Ff1Error> {
        let shape = self.shape(digits.len(), tweak.len())?;
        let Some(plain) = Digits::from_values(digits) else {
            let at = digits.iter().position(|&digit| digit > 9);
            return Err(Ff1Error::Digit {
                at: at.unwrap_or_default(),
            });
        };
        // 2. Let A = X[1..u]; B = X[u + 1..n].
        let [u, v] = shape.half_digits();
        let halves = [plain.number(0, u), plain.number(u, u + v)];
        let mut item = self.item(&shape, tweak, halves)?;
        run(self, &shape, &mut item);
        // 7. Return A || B.
        let [left, right] = item.halves();
        let joined = Digits::from_number(left, u).joined(&Digits::from_number(right, v));
        let mut bytes = joined.ok_or(Ff1Error::Half)?.right_aligned();
        if let Some(result) = bytes.last_chunk::<FF1_MAX_DIGITS>() {
            let skip = FF1_MAX_DIGITS.saturating_sub(digits.len());
            for (to, from) in digits.iter_mut().zip(result.iter().skip(skip)) {
                *to = *from;
            }
        }
        bytes.zeroize();
        Ok(())
    }
}

impl fmt::Debug for Ff1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ff1(AES-256)")
    }
}

/// What numbers of one length under tweaks of one length have in common, under one key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Shape {
    /// 10^u.
    #[zeroize(skip)]
    left: &'static Modulus,
    /// 10^v.
    #[zeroize(skip)]
    right: &'static Modulus,
    /// Whether S has 12 bytes instead of 8.
    wide: bool,
    /// 8 * b: where the round's number stands in the last 8 bytes of Q.
    mark_shift: u32,
    digits: u8,
    tweak_len: u8,
    /// The cipher's output for P.
    chain: [u64; 2],
}

impl Shape {
    /// How many digits the numbers have.
    #[must_use]
    pub const fn digits(&self) -> usize {
        self.digits as usize
    }

    /// How many bytes the tweaks have.
    #[must_use]
    pub const fn tweak_len(&self) -> usize {
        self.tweak_len as usize
    }

    /// How many digits the first and the second half have: u and v in the standard.
    #[must_use]
    pub const fn half_digits(&self) -> [usize; 2] {
        let left = self.digits as usize / 2;
        [left, self.digits as usize - left]
    }

    /// How many bytes of a tweak stand before the round's bytes in Q's last block.
    #[inline(always)]
    const fn tweak_room(&self) -> usize {
        16 - 1 - (self.mark_shift / 8) as usize
    }

    /// The byte \[i\] of Q, in the block's last 8 bytes.
    #[inline(always)]
    const fn round_mark(&self, round: usize) -> u64 {
        (round as u64) << self.mark_shift
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            digits, tweak_len, ..
        } = self;
        write!(f, "Shape({digits} digits, tweak of {tweak_len} bytes)")
    }
}

/// One number on its way through FF1. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Item(Lane);

impl Item {
    #[inline]
    fn new(shape: &Shape, halves: [u64; 2], prefix: [u64; 2]) -> Result<Self, Ff1Error> {
        // A negative difference has its top bit set.
        let [left, right] = halves;
        let fits = left.wrapping_sub(shape.left.value()) & right.wrapping_sub(shape.right.value());
        if (fits & !left & !right) >> 63 == 0 {
            return Err(Ff1Error::Half);
        }
        Ok(Self(Lane { halves, prefix }))
    }

    /// The first and the second half, as numbers.
    #[must_use]
    #[inline]
    pub const fn halves(&self) -> [u64; 2] {
        self.0.halves
    }
}

impl From<Lane> for Item {
    #[inline]
    fn from(lane: Lane) -> Self {
        Self(lane)
    }
}

/// What an [`Item`] holds, in passing and not wiped.
#[derive(Clone, Copy, Zeroize)]
pub(crate) struct Lane {
    halves: [u64; 2],
    prefix: [u64; 2],
}

impl Lane {
    /// [`Ff1::item`] for halves that are known to fit the shape, and a tweak that fits Q's block
    /// beside the round's bytes, given as two big-endian numbers with zeros behind it.
    #[inline(always)]
    pub(crate) const fn new(shape: &Shape, [high, low]: [u64; 2], halves: [u64; 2]) -> Self {
        let [a, b] = shape.chain;
        Self {
            halves,
            prefix: [a ^ high, b ^ low],
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Item(..)")
    }
}

/// Why FF1 refuses its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ff1Error {
    /// The count of digits is not [`FF1_MIN_DIGITS`] to [`FF1_MAX_DIGITS`].
    Digits {
        /// How many there are.
        digits: usize,
    },
    /// A value is above 9.
    Digit {
        /// Its index.
        at: usize,
    },
    /// The tweak is longer than [`FF1_MAX_TWEAK`] bytes, or not as long as the shape says.
    Tweak {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A half has more digits than the shape says.
    Half,
}

impl fmt::Display for Ff1Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits { digits } => write!(
                f,
                "FF1 takes {FF1_MIN_DIGITS} to {FF1_MAX_DIGITS} digits, not {digits}"
            ),
            Self::Digit { at } => write!(f, "the value at index {at} is no digit"),
            Self::Tweak { bytes } => write!(f, "FF1 takes no tweak of {bytes} bytes here"),
            Self::Half => f.write_str("a half of the number has too many digits"),
        }
    }
}

impl core::error::Error for Ff1Error {}

/// At most 16 bytes, filled up with zeros, as two big-endian numbers.
#[inline]
fn padded(part: &[u8]) -> [u64; 2] {
    let mut block = [0; 16];
    for (to, from) in block.iter_mut().zip(part) {
        *to = *from;
    }
    split(&block.into())
}
