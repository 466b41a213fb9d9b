//! Vaultless card-shaped tokens: FF1 over the digits that are not kept, less one.
//!
//! The digit that is left out, the last one before the kept end, is chosen such that the token's
//! Luhn sum modulo 10 is 1 + (generation - 1) mod 9. It is never 0, so that no token is a card
//! number, and it names the generation of the key. Card numbers that pass Luhn and tokens of one
//! generation are the same many, and each belongs to one: the way back chooses the digit such
//! that the sum is 0.
//!
//! ```text
//! tweak: 1 format (1) | 1 count of digits | 1 kept at the front << 4 | kept at the end
//!        | 4 kept at the front, BCD | 2 kept at the end, BCD        (numbers, big-endian)
//! ```
#![forbid(unsafe_code)]

use core::array;
use core::fmt;

use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Token, VaultlessFormat};
use crate::card::digits::Digits;
use crate::card::{PAN_MAX_DIGITS, PAN_MIN_DIGITS, Pan, TruncationFormat};
use crate::ff1::{FF1_LANES, Ff1, Item, Shape};
use crate::keys::{VAULTLESS_RESIDUES, VaultlessKey, VaultlessOpeningKey};
use crate::secret::{RandomError, Secret};

const TWEAK_LEN: usize = 9;
const TWEAK_FORMAT: u8 = 1;
const LENGTHS: usize = PAN_MAX_DIGITS - PAN_MIN_DIGITS + 1;

/// Makes and opens the vaultless tokens of one domain under the active key.
pub struct Vaultless(Core);

/// Opens the vaultless tokens of one domain under a key of a live generation.
pub struct VaultlessOpener(Core);

impl Vaultless {
    /// Prepares the key of a domain for a format.
    #[must_use]
    pub fn new(format: VaultlessFormat, key: &VaultlessKey) -> Self {
        Self(Core::new(format, key.secret(), key.generation()))
    }

    /// The token of `pan`. Constant time for one length, but for the kept digits.
    ///
    /// # Errors
    /// [`TokenizeError`] if `pan` does not fit the format or fails Luhn.
    #[inline]
    pub fn tokenize(&self, pan: &Pan) -> Result<Token, TokenizeError> {
        self.0.tokenize(pan)
    }

    /// The tokens of `pans`, many side by side. Calls `each` once for every index, those of one
    /// length in order; takes about 8 KiB of stack.
    pub fn tokenize_batch(
        &self,
        pans: &[Pan],
        each: impl FnMut(usize, Result<Token, TokenizeError>),
    ) {
        self.0.tokenize_batch(pans, each);
    }

    /// What may be the card of `token`. Constant time for one length, but for the kept digits.
    ///
    /// # Errors
    /// [`OpenError`] if `token` is none of this format and generation.
    #[inline]
    pub fn open(&self, token: &Token) -> Result<Candidate, OpenError> {
        self.0.open(token)
    }

    /// What may be the cards of `tokens`, many side by side. Calls `each` once for every index,
    /// those of one length in order; takes about 8 KiB of stack.
    pub fn open_batch(
        &self,
        tokens: &[Token],
        each: impl FnMut(usize, Result<Candidate, OpenError>),
    ) {
        self.0.open_batch(tokens, each);
    }

    /// The generation of the key.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.0.generation
    }
}

impl VaultlessOpener {
    /// Prepares the key of a domain for a format.
    #[must_use]
    pub fn new(format: VaultlessFormat, key: &VaultlessOpeningKey) -> Self {
        Self(Core::new(format, key.secret(), key.generation()))
    }

    /// As [`Vaultless::open`].
    ///
    /// # Errors
    /// [`OpenError`] if `token` is none of this format and generation.
    #[inline]
    pub fn open(&self, token: &Token) -> Result<Candidate, OpenError> {
        self.0.open(token)
    }

    /// As [`Vaultless::open_batch`].
    pub fn open_batch(
        &self,
        tokens: &[Token],
        each: impl FnMut(usize, Result<Candidate, OpenError>),
    ) {
        self.0.open_batch(tokens, each);
    }

    /// The generation of the key.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.0.generation
    }
}

// Their parts wipe themselves.
impl ZeroizeOnDrop for Vaultless where Core: ZeroizeOnDrop {}
impl ZeroizeOnDrop for VaultlessOpener where Core: ZeroizeOnDrop {}
impl ZeroizeOnDrop for Candidate where Pan: ZeroizeOnDrop {}

impl fmt::Debug for Vaultless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vaultless(generation {})", self.0.generation)
    }
}

impl fmt::Debug for VaultlessOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultlessOpener(generation {})", self.0.generation)
    }
}

/// What a vaultless token may stand for. A token is not authenticated: any digits with the right
/// Luhn residue open to some card number. It becomes a [`Pan`] only when something that knows the
/// card agrees.
pub struct Candidate(Pan);

impl Candidate {
    /// The card number, if `agrees` says that it is the one of a stored fingerprint or of an
    /// entry in the ledger, compared in constant time.
    #[must_use]
    pub fn confirm(self, agrees: impl FnOnce(&Pan) -> bool) -> Option<Pan> {
        agrees(&self.0).then_some(self.0)
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Candidate(..)")
    }
}

/// Why a card number gets no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenizeError {
    /// The number is shorter than the format says.
    Short {
        /// How many digits it has.
        digits: usize,
    },
    /// The format keeps more digits than the brand's truncation rule allows.
    Truncation {
        /// The most that it allows.
        limit: TruncationFormat,
    },
    /// The number fails Luhn: it can have an opaque token and no card-shaped one.
    FailsLuhn,
    /// The format keeps the IIN, and the brand's cards may fail Luhn: a token could be taken for
    /// one of them.
    ExemptIin,
    /// The random generator cannot be used.
    Random(RandomError),
    /// Every token that was drawn was one that may not be used.
    Draws,
}

impl From<RandomError> for TokenizeError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl fmt::Display for TokenizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { digits } => {
                write!(f, "{digits} digits are fewer than the token format takes")
            }
            Self::Truncation { limit } => write!(
                f,
                "the token format keeps more than the first {} and last {} digits",
                limit.first(),
                limit.last()
            ),
            Self::FailsLuhn => {
                f.write_str("the card number fails the Luhn check: use the opaque format")
            }
            Self::ExemptIin => f.write_str(
                "cards of this brand may fail the Luhn check: use a format that keeps no IIN",
            ),
            Self::Random(error) => error.fmt(f),
            Self::Draws => f.write_str("no token that may be used was drawn"),
        }
    }
}

impl core::error::Error for TokenizeError {}

/// Why a token is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The token is not card-shaped.
    Kind,
    /// The token is shorter than the format says.
    Short {
        /// How many digits it has.
        digits: usize,
    },
    /// The token's Luhn residue names another generation of the key.
    Generation {
        /// The residue, 1 to 9: that of the generations 1 to 9, 10 to 18, and so on.
        residue: u32,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("the token is not card-shaped"),
            Self::Short { digits } => {
                write!(f, "{digits} digits are fewer than the token format has")
            }
            Self::Generation { residue } => {
                write!(f, "the token is of a key generation with residue {residue}")
            }
        }
    }
}

impl core::error::Error for OpenError {}

struct Core {
    ff1: Ff1,
    format: VaultlessFormat,
    generation: u32,
    /// The Luhn residue of the tokens.
    residue: u32,
    /// For numbers of 8 digits and more; none for those that are too short.
    shapes: [Option<Shape>; LENGTHS],
}

impl ZeroizeOnDrop for Core
where
    Ff1: ZeroizeOnDrop,
    Shape: ZeroizeOnDrop,
{
}

impl Core {
    fn new(format: VaultlessFormat, key: &Secret<32>, generation: u32) -> Self {
        let ff1 = Ff1::new(key);
        let kept = usize::from(format.first().digits() + format.last().digits());
        let shapes = array::from_fn(|index| {
            let len = PAN_MIN_DIGITS + index;
            let encrypted = len.checked_sub(kept + 1)?;
            (len >= format.shortest())
                .then(|| ff1.shape(encrypted, TWEAK_LEN).ok())
                .flatten()
        });
        Self {
            ff1,
            format,
            generation,
            residue: residue_of_generation(generation),
            shapes,
        }
    }

    #[inline]
    fn tokenize(&self, pan: &Pan) -> Result<Token, TokenizeError> {
        self.format.check(pan)?;
        let digits = pan.digits();
        let too_short = TokenizeError::Short {
            digits: digits.len(),
        };
        let shape = self.shape(digits.len()).ok_or(too_short)?;
        let mut item = self.item(shape, digits).ok_or(too_short)?;
        self.ff1.encrypt_item(shape, &mut item);
        Ok(Token::of_digits(&self.assemble(
            digits,
            &item,
            self.residue,
        )))
    }

    #[inline]
    fn open(&self, token: &Token) -> Result<Candidate, OpenError> {
        let digits = self.check(token)?;
        let too_short = OpenError::Short {
            digits: digits.len(),
        };
        let shape = self.shape(digits.len()).ok_or(too_short)?;
        let mut item = self.item(shape, &digits).ok_or(too_short)?;
        self.ff1.decrypt_item(shape, &mut item);
        candidate(self.assemble(&digits, &item, 0))
    }

    fn tokenize_batch(
        &self,
        pans: &[Pan],
        mut each: impl FnMut(usize, Result<Token, TokenizeError>),
    ) {
        let mut lanes = Group::new();
        for len in lengths(pans.iter().map(Pan::digit_count)) {
            let mut of_len = pans
                .iter()
                .enumerate()
                .filter(|(_, pan)| pan.digit_count() == len);
            let mut more = true;
            while more {
                more = lanes.fill(|| {
                    let (at, pan) = of_len.next()?;
                    let digits = pan.digits();
                    let short = TokenizeError::Short { digits: len };
                    let item = self.format.check(pan).and_then(|()| {
                        let shape = self.shape(len).ok_or(short)?;
                        self.item(shape, digits).ok_or(short)
                    });
                    Some((at, item.map_err(|error| each(at, Err(error))).ok()))
                });
                let Some(shape) = self.shape(len) else {
                    continue;
                };
                self.ff1.encrypt_items(shape, lanes.items_mut());
                for (at, item) in lanes.done() {
                    if let Some(pan) = pans.get(at) {
                        let digits = self.assemble(pan.digits(), item, self.residue);
                        each(at, Ok(Token::of_digits(&digits)));
                    }
                }
            }
        }
    }

    fn open_batch(
        &self,
        tokens: &[Token],
        mut each: impl FnMut(usize, Result<Candidate, OpenError>),
    ) {
        let mut lanes = Group::new();
        let len_of = |token: &Token| token.digit_count().unwrap_or(0);
        for len in lengths(tokens.iter().map(len_of)) {
            let mut of_len = tokens
                .iter()
                .enumerate()
                .filter(|(_, token)| len_of(token) == len);
            let mut more = true;
            while more {
                more = lanes.fill(|| {
                    let (at, token) = of_len.next()?;
                    let short = OpenError::Short { digits: len };
                    let item = self.check(token).and_then(|digits| {
                        let shape = self.shape(len).ok_or(short)?;
                        self.item(shape, &digits).ok_or(short)
                    });
                    Some((at, item.map_err(|error| each(at, Err(error))).ok()))
                });
                let Some(shape) = self.shape(len) else {
                    continue;
                };
                self.ff1.decrypt_items(shape, lanes.items_mut());
                for (at, item) in lanes.done() {
                    if let Some(digits) = tokens.get(at).and_then(Token::digits) {
                        each(at, candidate(self.assemble(&digits, item, 0)));
                    }
                }
            }
        }
    }

    #[inline]
    fn check(&self, token: &Token) -> Result<Digits, OpenError> {
        let digits = token.digits().ok_or(OpenError::Kind)?;
        if digits.len() < self.format.shortest() {
            return Err(OpenError::Short {
                digits: digits.len(),
            });
        }
        // A token is no secret, nor is its residue.
        let residue = digits.luhn_residue();
        if residue != self.residue {
            return Err(OpenError::Generation { residue });
        }
        Ok(digits)
    }

    #[inline]
    fn shape(&self, len: usize) -> Option<&Shape> {
        let index = len.checked_sub(PAN_MIN_DIGITS)?;
        self.shapes.get(index)?.as_ref()
    }

    /// The free digits less the last one, ready for FF1.
    #[inline]
    fn item(&self, shape: &Shape, digits: &Digits) -> Option<Item> {
        let first = usize::from(self.format.first().digits());
        let last = usize::from(self.format.last().digits());
        let len = digits.len();
        let [u, v] = shape.half_digits();
        let halves = [
            digits.number(first, first + u),
            digits.number(first + u, first + u + v),
        ];
        let counts = self.format.first().digits() << 4 | self.format.last().digits();
        let front = u64::from(digits.bcd_number(0, first));
        let end = u64::from(digits.bcd_number(len - last, len));
        // The nine bytes of the tweak, from the top of a block down.
        let high = u64::from(TWEAK_FORMAT) << 56
            | u64::from(digits.len_u8()) << 48
            | u64::from(counts) << 40
            | front << 8
            | end >> 8;
        Ff1::item_of_block(shape, [high, end << 56], halves).ok()
    }

    /// The kept digits of `kept` around the halves, with the digit that gives the residue.
    #[inline]
    fn assemble(&self, kept: &Digits, item: &Item, residue: u32) -> Digits {
        let len = kept.len();
        let first = usize::from(self.format.first().digits());
        let last = usize::from(self.format.last().digits());
        let [left, right] = item.halves();
        let left_len = (len - first - last - 1) / 2;
        let number = Zeroizing::new(
            kept.number(0, first) * power_of_ten(len - first)
                + left * power_of_ten(len - first - left_len)
                + right * power_of_ten(last + 1)
                + kept.number(len - last, len),
        );
        let mut digits = Digits::from_fitting_number(*number, len);
        // The place is an even one from the right (0 or 4), which the Luhn sum does not double.
        let digit = residue + 10 - digits.luhn_residue();
        let tens = u32::from(digit > 9);
        digits.put(last, digit - 10 * tens);
        digits
    }
}

#[inline]
fn candidate(digits: Digits) -> Result<Candidate, OpenError> {
    let len = digits.len();
    let pan = Pan::from_digits(digits).ok_or(OpenError::Short { digits: len })?;
    Ok(Candidate(pan))
}

/// At most [`FF1_LANES`] numbers of one length, with their places in the batch.
struct Group {
    items: [Item; FF1_LANES],
    places: [usize; FF1_LANES],
    count: usize,
}

impl Group {
    fn new() -> Self {
        Self {
            items: array::from_fn(|_| Item::EMPTY),
            places: [0; FF1_LANES],
            count: 0,
        }
    }

    /// Takes what `next` gives until it is full, or `next` has no more: then the answer is false.
    #[inline]
    fn fill(&mut self, mut next: impl FnMut() -> Option<(usize, Option<Item>)>) -> bool {
        self.count = 0;
        let mut slots = self.items.iter_mut().zip(&mut self.places);
        let Some(mut slot) = slots.next() else {
            return false;
        };
        while let Some((at, item)) = next() {
            let Some(item) = item else { continue };
            *slot.0 = item;
            *slot.1 = at;
            self.count += 1;
            match slots.next() {
                Some(free) => slot = free,
                None => return true,
            }
        }
        false
    }

    fn items_mut(&mut self) -> &mut [Item] {
        self.items.get_mut(..self.count).unwrap_or_default()
    }

    fn done(&self) -> impl Iterator<Item = (usize, &Item)> {
        self.places
            .iter()
            .copied()
            .zip(&self.items)
            .take(self.count)
    }
}

/// The different values of `lens`, each below 32.
fn lengths(lens: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
    let seen = lens.fold(0_u32, |seen, len| seen | 1 << (len & 31));
    (0..32).filter(move |&len| seen >> len & 1 == 1)
}

/// 10^exponent, for at most 19.
#[inline]
fn power_of_ten(exponent: usize) -> u64 {
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiling")]
    const POWERS: [u64; 20] = {
        let mut powers = [1; 20];
        let mut at = 1;
        while at < 20 {
            powers[at] = 10 * powers[at - 1];
            at += 1;
        }
        powers
    };
    POWERS.get(exponent).copied().unwrap_or(0)
}

/// The number of a generation is public, and so is a division of it.
#[inline(never)]
const fn residue_of_generation(generation: u32) -> u32 {
    1 + generation.wrapping_sub(1) % VAULTLESS_RESIDUES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{KeepFirst, KeepLast};

    fn core(first: KeepFirst, last: KeepLast, shortest: usize, generation: u32) -> Core {
        let format = VaultlessFormat::new(first, last, shortest).unwrap();
        Core::new(format, &Secret::new([5; 32]), generation)
    }

    /// The card number of `len` digits that ends in the four of `end`, or in a check digit if
    /// there is no such end, and has `value` before the digit that makes it pass Luhn.
    fn card(value: u64, len: usize, end: Option<u64>) -> Pan {
        let (places, end) = end.map_or((0, 0), |end| (4, end));
        let unit = 10_u64.pow(places);
        let mut digits = Digits::from_number(value * 10 * unit + end, len);
        let residue = digits.luhn_residue();
        digits.put(usize::try_from(places).unwrap(), (10 - residue) % 10);
        assert_eq!(digits.luhn_residue(), 0);
        Pan::from_digits(digits).unwrap()
    }

    /// Every card number of this shape gets a token of its own with the right residue, and every
    /// token opens to it.
    fn is_a_bijection(core: &Core, len: usize, end: Option<u64>, values: u64) {
        let mut seen = vec![false; usize::try_from(values).unwrap()];
        let places = end.map_or(0, |_| 4);
        for start in (0..values).step_by(1_000) {
            let pans: Vec<Pan> = (start..start + 1_000)
                .map(|value| card(value, len, end))
                .collect();
            let mut tokens = Vec::new();
            core.tokenize_batch(&pans, |at, token| {
                assert_eq!(at, tokens.len());
                tokens.push(token.unwrap());
            });
            for token in &tokens {
                let digits = token.digits().unwrap();
                assert_ne!(digits.luhn_residue(), 0);
                assert_eq!(digits.luhn_residue(), core.residue);
                assert_eq!(digits.len(), len);
                assert_eq!(digits.number(len - places, len), end.unwrap_or(0));
                let slot = &mut seen[usize::try_from(digits.number(0, len - places - 1)).unwrap()];
                assert!(!*slot, "two cards with one token");
                *slot = true;
            }
            let mut opened = 0;
            core.open_batch(&tokens, |at, candidate| {
                let same = candidate
                    .unwrap()
                    .confirm(|pan| pan.digits().number(0, len) == pans[at].digits().number(0, len));
                assert!(same.is_some());
                opened += 1;
            });
            assert_eq!(opened, 1_000);
        }
        assert!(seen.iter().all(|&taken| taken));
    }

    #[test]
    fn all_cards_of_11_digits_with_one_end() {
        is_a_bijection(
            &core(KeepFirst::None, KeepLast::Four, 11, 4),
            11,
            Some(4_321),
            1_000_000,
        );
    }

    #[test]
    #[cfg_attr(debug_assertions, ignore = "ten million numbers: in release builds")]
    fn all_cards_of_8_digits() {
        is_a_bijection(
            &core(KeepFirst::None, KeepLast::None, 8, 9),
            8,
            None,
            10_000_000,
        );
    }

    #[test]
    fn a_batch_does_what_single_calls_do() {
        let core = core(KeepFirst::None, KeepLast::Four, 12, 2);
        // Lengths 8 to 19 mixed, some too short, some that fail Luhn.
        let pans: Vec<Pan> = (0..1_000_u64)
            .map(|i| {
                let len = 8 + usize::try_from(i * 7 % 12).unwrap();
                if i % 13 == 0 {
                    return Pan::from_digits(Digits::from_number(1 + 10 * i, len)).unwrap();
                }
                card(i * 7_919 % 1_000, len, Some(i % 10_000))
            })
            .collect();
        let mut tokens = vec![None; pans.len()];
        core.tokenize_batch(&pans, |at, token| {
            assert!(tokens[at].replace(token).is_none());
        });
        let tokens: Vec<_> = tokens.into_iter().map(Option::unwrap).collect();
        let (mut made, mut refused) = (Vec::new(), 0);
        for (pan, token) in pans.iter().zip(&tokens) {
            assert_eq!(*token, core.tokenize(pan));
            match token {
                Ok(token) => made.push(*token),
                Err(_) => refused += 1,
            }
        }
        assert!(made.len() > 500 && refused > 300);
        made.insert(3, Token::new(crate::token::TokenKind::Opaque, &[7; 16]));
        made.insert(9, *made.last().unwrap());
        let mut seen = 0;
        core.open_batch(&made, |at, result| {
            seen += 1;
            match (result, core.open(&made[at])) {
                (Ok(one), Ok(other)) => {
                    let digits = |candidate: Candidate| candidate.0.digits().number(0, 19);
                    let len = one.0.digit_count();
                    assert_eq!(
                        one.0.digits().number(0, len),
                        other.0.digits().number(0, len)
                    );
                    assert_eq!(digits(one), digits(other));
                }
                (one, other) => assert_eq!(one.err(), other.err()),
            }
        });
        assert_eq!(seen, made.len());
        core.tokenize_batch(&[], |_, _| panic!("nothing was asked"));
    }

    #[test]
    fn each_generation_opens_its_own_tokens_alone() {
        let pan = Pan::parse(b"4111111111111111").unwrap();
        for generation in 1..=20 {
            let maker = core(KeepFirst::None, KeepLast::Four, 16, generation);
            let token = maker.tokenize(&pan).unwrap();
            let residue = (generation - 1) % 9 + 1;
            assert_eq!(token.digits().unwrap().luhn_residue(), residue);
            let next = core(KeepFirst::None, KeepLast::Four, 16, generation + 1);
            assert_eq!(
                next.open(&token).err(),
                Some(OpenError::Generation { residue })
            );
        }
    }
}
