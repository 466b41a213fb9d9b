//! Which network a card number belongs to: a table of IIN ranges, the longest prefix wins.
#![forbid(unsafe_code)]

use core::fmt;

use super::pan::{Pan, PanError};

/// How many leading digits the table looks at (ISO/IEC 7812-1: an IIN has 8).
pub const IIN_DIGITS: u8 = 8;

/// A card network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Brand {
    /// No range in the table fits.
    Unknown,
    /// Visa.
    Visa,
    /// Mastercard.
    Mastercard,
    /// American Express.
    AmericanExpress,
    /// Discover.
    Discover,
    /// Diners Club.
    DinersClub,
    /// JCB.
    Jcb,
    /// UnionPay. Some issued cards fail the Luhn check.
    UnionPay,
    /// Maestro.
    Maestro,
    /// RuPay.
    RuPay,
    /// Mir.
    Mir,
    /// Elo.
    Elo,
    /// Troy.
    Troy,
    /// Verve.
    Verve,
    /// Dankort.
    Dankort,
    /// UATP.
    Uatp,
    /// Hipercard.
    Hipercard,
    /// Hiper.
    Hiper,
    /// InterPayment.
    InterPayment,
    /// InstaPayment.
    InstaPayment,
    /// PayPak.
    PayPak,
    /// Humo.
    Humo,
    /// Uzcard.
    Uzcard,
    /// enRoute, defunct. Its cards had no check digit.
    EnRoute,
    /// A range that the caller added, by the caller's own number, 0 to 127.
    Domestic(u8),
}

/// Codes from here on are the caller's domestic brands.
const DOMESTIC_CODE: u8 = 128;

const NAMED: [(Brand, &str); 24] = [
    (Brand::Unknown, "unknown"),
    (Brand::Visa, "Visa"),
    (Brand::Mastercard, "Mastercard"),
    (Brand::AmericanExpress, "American Express"),
    (Brand::Discover, "Discover"),
    (Brand::DinersClub, "Diners Club"),
    (Brand::Jcb, "JCB"),
    (Brand::UnionPay, "UnionPay"),
    (Brand::Maestro, "Maestro"),
    (Brand::RuPay, "RuPay"),
    (Brand::Mir, "Mir"),
    (Brand::Elo, "Elo"),
    (Brand::Troy, "Troy"),
    (Brand::Verve, "Verve"),
    (Brand::Dankort, "Dankort"),
    (Brand::Uatp, "UATP"),
    (Brand::Hipercard, "Hipercard"),
    (Brand::Hiper, "Hiper"),
    (Brand::InterPayment, "InterPayment"),
    (Brand::InstaPayment, "InstaPayment"),
    (Brand::PayPak, "PayPak"),
    (Brand::Humo, "Humo"),
    (Brand::Uzcard, "Uzcard"),
    (Brand::EnRoute, "enRoute"),
];

impl Brand {
    /// The networks that issued cards which fail the Luhn check.
    pub const LUHN_EXEMPT: [Self; 2] = [Self::UnionPay, Self::EnRoute];

    /// The network's name; `domestic` for a caller's own range.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMED
            .iter()
            .find(|(brand, _)| *brand == self)
            .map_or("domestic", |(_, name)| name)
    }

    /// One byte that names the brand in stored forms; it never changes its meaning.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Domestic(number) => DOMESTIC_CODE | number,
            named => (0..DOMESTIC_CODE)
                .zip(NAMED)
                .find(|(_, (brand, _))| *brand == named)
                .map_or(0, |(code, _)| code),
        }
    }

    /// The brand that [`Brand::code`] gave this byte; `None` for a byte that it never gives.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        if code >= DOMESTIC_CODE {
            return Some(Self::Domestic(code - DOMESTIC_CODE));
        }
        NAMED.get(usize::from(code)).map(|(brand, _)| *brand)
    }

    /// Whether cards of this network may fail the Luhn check.
    #[must_use]
    pub fn may_fail_luhn(self) -> bool {
        Self::LUHN_EXEMPT.contains(&self)
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domestic(number) => write!(f, "domestic {number}"),
            named => f.pad(named.name()),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Brand {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A range of leading digits that belongs to one brand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IinRange {
    /// The first and last eight-digit IIN, both included.
    first: u32,
    last: u32,
    /// Bit n - 8: numbers of n digits.
    lengths: u16,
    /// How many digits the range was written with: the longest wins.
    prefix_digits: u8,
    brand: Brand,
}

impl IinRange {
    /// The numbers whose leading `prefix_digits` (1 to 8) digits lie in `first..=last` and whose
    /// count of digits is one of `lengths` (each 8 to 19).
    ///
    /// # Errors
    /// [`IinRangeError`] if a bound has more digits than that, the bounds are the wrong way
    /// round, a length is not a card number's, or a domestic brand's number is over 127.
    pub const fn new(
        first: u32,
        last: u32,
        prefix_digits: u8,
        lengths: &[u8],
        brand: Brand,
    ) -> Result<Self, IinRangeError> {
        if prefix_digits == 0 || prefix_digits > IIN_DIGITS {
            return Err(IinRangeError::PrefixDigits);
        }
        let span = 10_u32.pow((IIN_DIGITS - prefix_digits) as u32);
        if first > last || last >= 10_u32.pow(prefix_digits as u32) {
            return Err(IinRangeError::Bounds);
        }
        if matches!(brand, Brand::Domestic(number) if number >= DOMESTIC_CODE) {
            return Err(IinRangeError::DomesticNumber);
        }
        let mut mask = 0;
        let mut rest = lengths;
        while let [length, more @ ..] = rest {
            if *length < 8 || *length > 19 {
                return Err(IinRangeError::Length);
            }
            mask |= 1 << (*length - 8);
            rest = more;
        }
        if mask == 0 {
            return Err(IinRangeError::Length);
        }
        Ok(Self {
            first: first * span,
            last: last * span + (span - 1),
            lengths: mask,
            prefix_digits,
            brand,
        })
    }

    #[inline]
    const fn covers(&self, iin8: u32, length_bit: u16) -> bool {
        self.first <= iin8 && iin8 <= self.last && self.lengths & length_bit != 0
    }
}

/// What is wrong with an [`IinRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IinRangeError {
    /// The prefix has not 1 to 8 digits.
    PrefixDigits,
    /// A bound has more digits than the prefix, or the first bound is above the last.
    Bounds,
    /// No length is given, or one that is not 8 to 19.
    Length,
    /// The number of a domestic brand is over 127.
    DomesticNumber,
}

impl fmt::Display for IinRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrefixDigits => "an IIN prefix has 1 to 8 digits",
            Self::Bounds => "the bounds of an IIN range must fit the prefix and be in order",
            Self::Length => "a card number has 8 to 19 digits",
            Self::DomesticNumber => "a domestic brand's number is at most 127",
        })
    }
}

impl core::error::Error for IinRangeError {}

/// The built-in table, extended by the caller's domestic ranges.
///
/// ```
/// use cardvault::card::{Brand, BrandTable, IinRange, Pan};
///
/// const LOYALTY: [IinRange; 1] = match IinRange::new(9001, 9009, 4, &[16], Brand::Domestic(1)) {
///     Ok(range) => [range],
///     Err(_) => panic!("checked when compiled"),
/// };
/// let table = BrandTable::with_domestic(&LOYALTY);
/// assert_eq!(table.brand(&Pan::parse(b"9001000000000000")?), Brand::Domestic(1));
/// # Ok::<(), cardvault::card::PanError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BrandTable<'a> {
    domestic: &'a [IinRange],
}

impl<'a> BrandTable<'a> {
    /// The built-in table and `domestic`, which wins where prefixes are equally long.
    #[must_use]
    pub const fn with_domestic(domestic: &'a [IinRange]) -> Self {
        Self { domestic }
    }

    /// Reads a card number as [`Pan::parse_exempting`] does, with brands by this table: a domestic
    /// brand can be among those whose numbers may fail the Luhn check.
    ///
    /// # Errors
    /// As [`Pan::parse`].
    pub fn parse(&self, input: &[u8], exempt: &[Brand]) -> Result<Pan, PanError> {
        Pan::read(input)?.admitted(|pan| exempt.contains(&self.brand(pan)))
    }

    /// The brand with the longest prefix that fits the number and its length.
    ///
    /// Not constant time in the first eight digits, which are not secret.
    #[must_use]
    pub fn brand(&self, pan: &Pan) -> Brand {
        let Some((iin8, length_bit)) = key(pan.iin8(), pan.digit_count()) else {
            return Brand::Unknown;
        };
        let built_in = built_in_range(iin8, length_bit);
        let mut best = built_in;
        for range in self
            .domestic
            .iter()
            .filter(|range| range.covers(iin8, length_bit))
        {
            if best.is_none_or(|best| {
                range.prefix_digits > best.prefix_digits
                    || (range.prefix_digits == best.prefix_digits && built_in == Some(best))
            }) {
                best = Some(range);
            }
        }
        best.map_or(Brand::Unknown, |range| range.brand)
    }
}

/// The built-in brand of a number with these first eight digits and this count of digits.
#[inline]
pub(crate) fn brand_of(iin8: u64, digits: usize) -> Brand {
    key(iin8, digits)
        .and_then(|(iin8, length_bit)| built_in_range(iin8, length_bit))
        .map_or(Brand::Unknown, |range| range.brand)
}

/// Whether any built-in range of a brand whose cards may fail Luhn covers these digits, also one
/// that a longer prefix of another brand lies in.
pub(crate) fn in_luhn_exempt_range(iin8: u64, digits: usize) -> bool {
    key(iin8, digits).is_some_and(|(iin8, length_bit)| {
        let mut ranges = RANGES.iter();
        ranges.any(|range| range.brand.may_fail_luhn() && range.covers(iin8, length_bit))
    })
}

#[inline]
fn key(iin8: u64, digits: usize) -> Option<(u32, u16)> {
    let bit = u32::try_from(digits.checked_sub(8)?).ok()?;
    Some((u32::try_from(iin8).ok()?, 1_u16.checked_shl(bit)?))
}

#[inline]
fn built_in_range(iin8: u32, length_bit: u16) -> Option<&'static IinRange> {
    let bucket = (iin8 / 1_000_000) as usize;
    let start = usize::from(*STARTS.get(bucket)?);
    let end = usize::from(*STARTS.get(bucket + 1)?);
    ORDER
        .get(start..end)?
        .iter()
        .filter_map(|&index| RANGES.get(usize::from(index)))
        .find(|range| range.covers(iin8, length_bit))
}

/// How many ranges there are per pair of leading digits, added up.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const STARTS: [u8; 101] = {
    let mut starts = [0; 101];
    let mut bucket = 0;
    let mut total = 0;
    while bucket < 100 {
        starts[bucket] = total;
        let mut index = 0;
        while index < RANGES.len() {
            if touches(&RANGES[index], bucket) {
                total += 1;
            }
            index += 1;
        }
        bucket += 1;
    }
    starts[100] = total;
    starts
};

/// Indices into [`RANGES`] by pair of leading digits, the longest prefix first.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const ORDER: [u8; STARTS[100] as usize] = {
    let mut order = [0; STARTS[100] as usize];
    let mut at = 0;
    let mut bucket = 0;
    while bucket < 100 {
        let mut digits = IIN_DIGITS;
        while digits > 0 {
            let mut index: u8 = 0;
            while (index as usize) < RANGES.len() {
                let range = &RANGES[index as usize];
                if range.prefix_digits == digits && touches(range, bucket) {
                    order[at] = index;
                    at += 1;
                }
                index += 1;
            }
            digits -= 1;
        }
        bucket += 1;
    }
    order
};

#[expect(clippy::cast_possible_truncation, reason = "a bucket is below 100")]
const fn touches(range: &IinRange, bucket: usize) -> bool {
    let first = bucket as u32 * 1_000_000;
    range.first <= first + 999_999 && first <= range.last
}

#[expect(clippy::panic, reason = "evaluated when compiled")]
const fn range(first: u32, last: u32, prefix_digits: u8, lengths: &[u8], brand: Brand) -> IinRange {
    match IinRange::new(first, last, prefix_digits, lengths, brand) {
        Ok(range) => range,
        Err(_) => panic!("the built-in table is checked when compiled"),
    }
}

const ELO: &[u8] = &[16];
const FROM_16: &[u8] = &[16, 17, 18, 19];
const FROM_14: &[u8] = &[14, 15, 16, 17, 18, 19];
const FROM_12: &[u8] = &[12, 13, 14, 15, 16, 17, 18, 19];
const DINERS: &[u8] = &[14, 16, 19];
const VERVE: &[u8] = &[16, 18, 19];

/// From public tables; unofficial. Where networks share a range, the one that settles it.
const RANGES: [IinRange; 62] = [
    range(4, 4, 1, &[13, 16, 18, 19], Brand::Visa),
    range(51, 55, 2, &[16], Brand::Mastercard),
    range(222_100, 272_099, 6, &[16], Brand::Mastercard),
    range(34, 34, 2, &[15], Brand::AmericanExpress),
    range(37, 37, 2, &[15], Brand::AmericanExpress),
    range(6011, 6011, 4, FROM_16, Brand::Discover),
    range(644, 649, 3, FROM_16, Brand::Discover),
    range(65, 65, 2, FROM_16, Brand::Discover),
    range(300, 305, 3, DINERS, Brand::DinersClub),
    range(36, 36, 2, DINERS, Brand::DinersClub),
    range(38, 39, 2, DINERS, Brand::DinersClub),
    range(3528, 3589, 4, FROM_16, Brand::Jcb),
    range(1800, 1800, 4, &[15], Brand::Jcb),
    range(2131, 2131, 4, &[15], Brand::Jcb),
    range(62, 62, 2, FROM_14, Brand::UnionPay),
    range(81, 81, 2, FROM_14, Brand::UnionPay),
    range(50, 50, 2, FROM_12, Brand::Maestro),
    range(56, 59, 2, FROM_12, Brand::Maestro),
    range(6, 6, 1, FROM_12, Brand::Maestro),
    range(6061, 6069, 4, &[16], Brand::RuPay),
    range(607, 608, 3, &[16], Brand::RuPay),
    range(8170, 8202, 4, &[16], Brand::RuPay),
    range(2200, 2204, 4, FROM_16, Brand::Mir),
    range(401_178, 401_179, 6, ELO, Brand::Elo),
    range(438_935, 438_935, 6, ELO, Brand::Elo),
    range(457_631, 457_632, 6, ELO, Brand::Elo),
    range(504_175, 504_175, 6, ELO, Brand::Elo),
    range(506_699, 506_778, 6, ELO, Brand::Elo),
    range(509_000, 509_999, 6, ELO, Brand::Elo),
    range(627_780, 627_780, 6, ELO, Brand::Elo),
    range(636_297, 636_297, 6, ELO, Brand::Elo),
    range(636_368, 636_368, 6, ELO, Brand::Elo),
    range(650_031, 650_033, 6, ELO, Brand::Elo),
    range(650_035, 650_051, 6, ELO, Brand::Elo),
    range(650_405, 650_439, 6, ELO, Brand::Elo),
    range(650_485, 650_538, 6, ELO, Brand::Elo),
    range(650_541, 650_598, 6, ELO, Brand::Elo),
    range(650_700, 650_718, 6, ELO, Brand::Elo),
    range(650_720, 650_727, 6, ELO, Brand::Elo),
    range(650_901, 650_978, 6, ELO, Brand::Elo),
    range(651_652, 651_679, 6, ELO, Brand::Elo),
    range(655_000, 655_019, 6, ELO, Brand::Elo),
    range(655_021, 655_058, 6, ELO, Brand::Elo),
    range(9792, 9792, 4, &[16], Brand::Troy),
    range(506_099, 506_198, 6, VERVE, Brand::Verve),
    range(507_865, 507_964, 6, VERVE, Brand::Verve),
    range(650_002, 650_027, 6, VERVE, Brand::Verve),
    range(5019, 5019, 4, &[16], Brand::Dankort),
    range(1, 1, 1, &[15], Brand::Uatp),
    range(606_282, 606_282, 6, &[16], Brand::Hipercard),
    range(384, 384, 3, &[16], Brand::Hipercard),
    range(637_095, 637_095, 6, &[16], Brand::Hiper),
    range(637_568, 637_568, 6, &[16], Brand::Hiper),
    range(637_599, 637_599, 6, &[16], Brand::Hiper),
    range(636, 636, 3, FROM_16, Brand::InterPayment),
    range(637, 639, 3, &[16], Brand::InstaPayment),
    range(2205, 2205, 4, &[16], Brand::PayPak),
    range(9860, 9860, 4, &[16], Brand::Humo),
    range(8600, 8600, 4, &[16], Brand::Uzcard),
    range(5614, 5614, 4, &[16], Brand::Uzcard),
    range(2014, 2014, 4, &[15], Brand::EnRoute),
    range(2149, 2149, 4, &[15], Brand::EnRoute),
];
