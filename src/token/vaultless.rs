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

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Token, VaultlessFormat};
use crate::card::packed::{Field, Packed, join, spread};
use crate::card::{PAN_MAX_DIGITS, PAN_MIN_DIGITS, Pan, TruncationFormat};
use crate::ff1::{FF1_LANES, Ff1, Item, Lane, Numbers, Shape};
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
        self.0.one::<Tokenizing>(pan)
    }

    /// The tokens of `pans`, many side by side. Calls `each` once for every index, those of one
    /// length that fit the format in order; takes about 8 KiB of stack.
    pub fn tokenize_batch(
        &self,
        pans: &[Pan],
        each: impl FnMut(usize, Result<Token, TokenizeError>),
    ) {
        self.0.batch::<Tokenizing>(pans, each);
    }

    /// What may be the card of `token`. Constant time for one length, but for the kept digits.
    ///
    /// # Errors
    /// [`OpenError`] if `token` is none of this format and generation.
    #[inline]
    pub fn open(&self, token: &Token) -> Result<Candidate, OpenError> {
        self.0.one::<Opening>(token)
    }

    /// What may be the cards of `tokens`, many side by side. Calls `each` once for every index,
    /// those of one length that fit the format in order; takes about 8 KiB of stack.
    pub fn open_batch(
        &self,
        tokens: &[Token],
        each: impl FnMut(usize, Result<Candidate, OpenError>),
    ) {
        self.0.batch::<Opening>(tokens, each);
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
        self.0.one::<Opening>(token)
    }

    /// As [`Vaultless::open_batch`].
    pub fn open_batch(
        &self,
        tokens: &[Token],
        each: impl FnMut(usize, Result<Candidate, OpenError>),
    ) {
        self.0.batch::<Opening>(tokens, each);
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
    residue: u64,
    /// For numbers of 8 digits and more; none for those that are too short.
    layouts: [Option<Layout>; LENGTHS],
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
        let layouts = array::from_fn(|index| Layout::new(&ff1, format, PAN_MIN_DIGITS + index));
        Self {
            ff1,
            format,
            generation,
            residue: residue_of_generation(generation),
            layouts,
        }
    }

    #[inline]
    fn layout(&self, len: usize) -> Option<&Layout> {
        let index = len.checked_sub(PAN_MIN_DIGITS)?;
        self.layouts.get(index)?.as_ref()
    }

    #[inline]
    fn one<D: Direction>(&self, input: &D::Input) -> Result<D::Output, D::Error> {
        let (digits, len) = D::digits(self, input)?;
        D::check(self, digits.luhn_residue())?;
        let layout = self.layout(len).ok_or(D::short(len))?;
        let mut item = Item::from(layout.lane(digits));
        D::run_one(&self.ff1, &layout.shape, &mut item);
        let output = layout.joined(digits, item.halves(), D::residue(self));
        Ok(D::output(output, len))
    }

    fn batch<D: Direction>(
        &self,
        inputs: &[D::Input],
        mut each: impl FnMut(usize, Result<D::Output, D::Error>),
    ) {
        let mut rows = Rows::new();
        for len in lengths(inputs.iter().map(D::digit_count)) {
            let of_len = inputs.iter().enumerate();
            let mut of_len = of_len.filter(|(_, input)| D::digit_count(input) == len);
            let Some(layout) = self.layout(len) else {
                for (at, input) in of_len {
                    each(at, D::digits(self, input).and(Err(D::short(len))));
                }
                continue;
            };
            let mut more = true;
            while more {
                more = rows.fill(of_len.by_ref().filter_map(|(at, input)| {
                    match D::digits(self, input) {
                        Ok((digits, _)) => Some((digits, at)),
                        Err(error) => {
                            each(at, Err(error));
                            None
                        }
                    }
                }));
                let residue = D::residue(self);
                let rows_of_len = &mut RowsOfLen {
                    layout,
                    residue,
                    rows: &mut rows,
                };
                D::run(&self.ff1, &layout.shape, rows_of_len);
                for (digits, residue, at) in rows.done() {
                    each(at, D::check(self, residue).map(|()| D::output(digits, len)));
                }
            }
        }
    }
}

/// One of the two ways between card numbers and tokens.
trait Direction {
    type Input;
    type Output;
    type Error;

    /// How many digits the input has; 0 if it has none.
    fn digit_count(input: &Self::Input) -> usize;

    /// The digits, if the format allows them.
    fn digits(core: &Core, input: &Self::Input) -> Result<(Packed, usize), Self::Error>;

    /// Whether the input has the right Luhn residue.
    fn check(core: &Core, residue: u64) -> Result<(), Self::Error>;

    /// The error for inputs with too few digits.
    fn short(digits: usize) -> Self::Error;

    fn run_one(ff1: &Ff1, shape: &Shape, item: &mut Item);
    fn run(ff1: &Ff1, shape: &Shape, rows: &mut RowsOfLen<'_>);

    /// The Luhn residue of the outputs.
    fn residue(core: &Core) -> u64;

    fn output(digits: Packed, len: usize) -> Self::Output;
}

/// From card numbers to tokens.
struct Tokenizing;

impl Direction for Tokenizing {
    type Input = Pan;
    type Output = Token;
    type Error = TokenizeError;

    #[inline]
    fn digit_count(pan: &Pan) -> usize {
        pan.digit_count()
    }

    #[inline]
    fn digits(core: &Core, pan: &Pan) -> Result<(Packed, usize), TokenizeError> {
        core.format.check(pan)?;
        Ok((pan.digits().packed(), pan.digit_count()))
    }

    #[inline]
    fn check(_: &Core, residue: u64) -> Result<(), TokenizeError> {
        if residue != 0 {
            return Err(TokenizeError::FailsLuhn);
        }
        Ok(())
    }

    #[inline]
    fn short(digits: usize) -> TokenizeError {
        TokenizeError::Short { digits }
    }

    #[inline]
    fn run_one(ff1: &Ff1, shape: &Shape, item: &mut Item) {
        ff1.encrypt_item(shape, item);
    }

    #[inline]
    fn run(ff1: &Ff1, shape: &Shape, rows: &mut RowsOfLen<'_>) {
        ff1.encrypt_numbers(shape, rows);
    }

    #[inline]
    fn residue(core: &Core) -> u64 {
        core.residue
    }

    #[inline]
    fn output(digits: Packed, len: usize) -> Token {
        Token::of_digits(digits, len)
    }
}

/// From tokens to card numbers.
struct Opening;

impl Direction for Opening {
    type Input = Token;
    type Output = Candidate;
    type Error = OpenError;

    #[inline]
    fn digit_count(token: &Token) -> usize {
        token.digit_count().unwrap_or(0)
    }

    #[inline]
    fn digits(core: &Core, token: &Token) -> Result<(Packed, usize), OpenError> {
        let (digits, len) = token.digits().ok_or(OpenError::Kind)?;
        if len < core.format.shortest() {
            return Err(Self::short(len));
        }
        Ok((digits, len))
    }

    #[inline]
    fn check(core: &Core, residue: u64) -> Result<(), OpenError> {
        // A token is no secret, nor is its residue.
        if residue != core.residue {
            let residue = u32::try_from(residue).unwrap_or(0);
            return Err(OpenError::Generation { residue });
        }
        Ok(())
    }

    #[inline]
    fn short(digits: usize) -> OpenError {
        OpenError::Short { digits }
    }

    #[inline]
    fn run_one(ff1: &Ff1, shape: &Shape, item: &mut Item) {
        ff1.decrypt_item(shape, item);
    }

    #[inline]
    fn run(ff1: &Ff1, shape: &Shape, rows: &mut RowsOfLen<'_>) {
        ff1.decrypt_numbers(shape, rows);
    }

    #[inline]
    fn residue(_: &Core) -> u64 {
        0
    }

    #[inline]
    fn output(digits: Packed, len: usize) -> Candidate {
        Candidate(Pan::from_packed(digits, len))
    }
}

/// What stands where in numbers of one length.
struct Layout {
    shape: Shape,
    /// The halves that FF1 changes.
    halves: [Field; 2],
    /// What is kept at the front and at the end.
    kept: [Field; 2],
    /// The digit that gives the residue. Its place is an even one from the right (0 or 4), which
    /// the Luhn sum does not double.
    balance: Field,
    /// The tweak's first three bytes, at the top.
    tweak: u64,
}

impl Layout {
    /// `None` if numbers of `len` digits are too short.
    fn new(ff1: &Ff1, format: VaultlessFormat, len: usize) -> Option<Self> {
        let (first, last) = (format.first().digits(), format.last().digits());
        let (front, end) = (usize::from(first), usize::from(last));
        let shape = ff1
            .shape(len.checked_sub(front + end + 1)?, TWEAK_LEN)
            .ok()?;
        let [u, v] = shape.half_digits();
        let lengths = [TWEAK_FORMAT, u8::try_from(len).ok()?, first << 4 | last];
        (len >= format.shortest()).then(|| Self {
            halves: [Field::new(u, end + 1 + v), Field::new(v, end + 1)],
            kept: [Field::new(front, len - front), Field::new(end, 0)],
            balance: Field::new(1, end),
            tweak: lengths
                .iter()
                .rev()
                .fold(0, |tweak, byte| tweak >> 8 | u64::from(*byte) << 56),
            shape,
        })
    }

    /// The free digits less the last one, ready for FF1.
    #[inline(always)]
    fn lane(&self, digits: Packed) -> Lane {
        let [front, end] = self.kept.map(|field| field.nibbles(digits));
        // The nine bytes of the tweak, from the top of a block down.
        let tweak = [self.tweak | front << 8 | end >> 8, end << 56];
        let halves = self.halves.map(|half| join(half.nibbles(digits)));
        Lane::new(&self.shape, tweak, halves)
    }

    /// The halves between the kept digits, with the digit that gives the residue.
    #[inline(always)]
    fn joined(&self, digits: Packed, [left, right]: [u64; 2], residue: u64) -> Packed {
        let [front, end] = self.kept.map(|field| field.place(field.nibbles(digits)));
        let [left_half, right_half] = self.halves;
        let halves = left_half
            .place(spread(left))
            .with(right_half.place(spread(right)));
        let digits = front.with(halves).with(end);
        let missing = residue + 10 - digits.luhn_residue();
        let tens = u64::from(missing > 9);
        digits.with(self.balance.place(missing - 10 * tens))
    }
}

/// At most [`FF1_LANES`] numbers of one length, with their places in the batch. Wiped when
/// dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Rows {
    high: [u64; FF1_LANES],
    low: [u64; FF1_LANES],
    /// The Luhn residues that the numbers came with.
    residues: [u64; FF1_LANES],
    places: [usize; FF1_LANES],
    count: usize,
}

impl Rows {
    const fn new() -> Self {
        Self {
            high: [0; FF1_LANES],
            low: [0; FF1_LANES],
            residues: [0; FF1_LANES],
            places: [0; FF1_LANES],
            count: 0,
        }
    }

    /// Takes what `numbers` gives until it is full: then the answer is true.
    #[inline]
    fn fill(&mut self, numbers: impl Iterator<Item = (Packed, usize)>) -> bool {
        self.count = 0;
        let slots = self
            .high
            .iter_mut()
            .zip(&mut self.low)
            .zip(&mut self.places);
        for (((high, low), place), (digits, at)) in slots.zip(numbers) {
            (*high, *low, *place) = (digits.high, digits.low, at);
            self.count += 1;
        }
        self.count == FF1_LANES
    }

    /// The digits, the residues that they came with, and the places.
    fn done(&self) -> impl Iterator<Item = (Packed, u64, usize)> {
        let digits = self.high.iter().zip(&self.low);
        let numbers = digits
            .zip(&self.residues)
            .zip(&self.places)
            .take(self.count);
        numbers.map(|(((&high, &low), &residue), &at)| (Packed { high, low }, residue, at))
    }
}

/// Rows on their way through FF1.
struct RowsOfLen<'a> {
    layout: &'a Layout,
    /// The Luhn residue of what comes out.
    residue: u64,
    rows: &'a mut Rows,
}

impl Numbers for RowsOfLen<'_> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.rows.count
    }

    #[inline(always)]
    fn load<const N: usize>(&self, start: usize) -> impl Iterator<Item = Lane> {
        let [high, low] = [&self.rows.high, &self.rows.low].map(|row| chunk::<N>(row, start));
        let digits = high.iter().zip(low);
        digits.map(|(&high, &low)| self.layout.lane(Packed { high, low }))
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, start: usize, halves: impl Iterator<Item = [u64; 2]>) {
        let rows = &mut *self.rows;
        let (Some(high), Some(low), Some(residues)) = (
            chunk_mut::<N>(&mut rows.high, start),
            chunk_mut::<N>(&mut rows.low, start),
            chunk_mut::<N>(&mut rows.residues, start),
        ) else {
            return;
        };
        for (((high, low), residue), halves) in high.iter_mut().zip(low).zip(residues).zip(halves) {
            let digits = Packed {
                high: *high,
                low: *low,
            };
            *residue = digits.luhn_residue();
            Packed {
                high: *high,
                low: *low,
            } = self.layout.joined(digits, halves, self.residue);
        }
    }
}

/// `N` elements of a row. With their count known, the compiler needs no loop for a remainder.
#[inline(always)]
fn chunk<const N: usize>(row: &[u64; FF1_LANES], start: usize) -> &[u64; N] {
    row.get(start..)
        .and_then(<[u64]>::first_chunk)
        .unwrap_or(&[0; N])
}

/// As [`chunk`]; always `Some` for a multiple of `N`.
#[inline(always)]
fn chunk_mut<const N: usize>(row: &mut [u64; FF1_LANES], start: usize) -> Option<&mut [u64; N]> {
    row.get_mut(start..)?.first_chunk_mut()
}

/// The different values of `lens`, each below 32.
fn lengths(lens: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
    let seen = lens.fold(0_u32, |seen, len| seen | 1 << (len & 31));
    (0..32).filter(move |&len| seen >> len & 1 == 1)
}

/// The number of a generation is public, and so is a division of it.
#[inline(never)]
const fn residue_of_generation(generation: u32) -> u64 {
    1 + (generation.wrapping_sub(1) % VAULTLESS_RESIDUES) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::digits::Digits;
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
        let number = value * 10 * unit + end;
        let residue = u64::from(Digits::from_number(number, len).luhn_residue());
        let digits = Digits::from_number(number + (10 - residue) % 10 * unit, len);
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
            core.batch::<Tokenizing>(&pans, |at, token| {
                assert_eq!(at, tokens.len());
                tokens.push(token.unwrap());
            });
            for token in &tokens {
                let (digits, _) = token.digits().unwrap();
                assert_eq!(digits.luhn_residue(), core.residue);
                let digits = Digits::from_packed(digits, len);
                assert_ne!(digits.luhn_residue(), 0);
                assert_eq!(token.digit_count(), Some(len));
                assert_eq!(digits.number(len - places, len), end.unwrap_or(0));
                let slot = &mut seen[usize::try_from(digits.number(0, len - places - 1)).unwrap()];
                assert!(!*slot, "two cards with one token");
                *slot = true;
            }
            let mut opened = 0;
            core.batch::<Opening>(&tokens, |at, candidate| {
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
    #[cfg(not(debug_assertions))]
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
        core.batch::<Tokenizing>(&pans, |at, token| {
            assert!(tokens[at].replace(token).is_none());
        });
        let tokens: Vec<_> = tokens.into_iter().map(Option::unwrap).collect();
        let (mut made, mut refused) = (Vec::new(), 0);
        for (pan, token) in pans.iter().zip(&tokens) {
            assert_eq!(*token, core.one::<Tokenizing>(pan));
            match token {
                Ok(token) => made.push(*token),
                Err(_) => refused += 1,
            }
        }
        assert!(made.len() > 500 && refused > 300);
        made.insert(3, Token::new(crate::token::TokenKind::Opaque, &[7; 16]));
        made.insert(9, *made.last().unwrap());
        let mut seen = 0;
        core.batch::<Opening>(&made, |at, result| {
            seen += 1;
            match (result, core.one::<Opening>(&made[at])) {
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
        core.batch::<Tokenizing>(&[], |_, _| panic!("nothing was asked"));
    }

    #[test]
    fn each_generation_opens_its_own_tokens_alone() {
        let pan = Pan::parse(b"4111111111111111").unwrap();
        for generation in 1..=20 {
            let maker = core(KeepFirst::None, KeepLast::Four, 16, generation);
            let token = maker.one::<Tokenizing>(&pan).unwrap();
            let residue = (generation - 1) % 9 + 1;
            assert_eq!(token.digits().unwrap().0.luhn_residue(), u64::from(residue));
            let next = core(KeepFirst::None, KeepLast::Four, 16, generation + 1);
            assert_eq!(
                next.one::<Opening>(&token).err(),
                Some(OpenError::Generation { residue })
            );
        }
    }
}
