//! Addition and subtraction modulo 10^m on secret numbers, without division and without branches.
#![forbid(unsafe_code)]

/// 10^m for one m of 3 to 10, with what reduces 64 or 96 bits modulo it.
///
/// 10^m is 2^m * 5^m, so the low m bits of a number pass through, and only the rest is reduced
/// modulo 5^m, which has at most 24 bits. So every product has factors of 32 bits: cheap on a
/// small processor, and a large one does several side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Modulus {
    /// m.
    bits: u32,
    /// 10^m.
    ten: u64,
    /// 5^m.
    five: u64,
    /// 2^32 mod 5^m.
    fold: u64,
    /// 2^64 mod 5^m.
    fold_twice: u64,
    /// floor(2^(cut + shift) / 5^m), which has 32 bits.
    reciprocal: u64,
    /// How many low bits the quotient's estimate leaves out.
    cut: u32,
    /// What is left of the reciprocal's scale after the cut.
    shift: u32,
}

const LOW_32: u64 = 0xffff_ffff;

impl Modulus {
    /// m = 3, the half of six digits.
    const SMALLEST: u32 = 3;
    /// m = 10, the longer half of 19 digits.
    const LARGEST: u32 = 10;

    const TABLE: &'static [Self; 8] = &[
        Self::new(3),
        Self::new(4),
        Self::new(5),
        Self::new(6),
        Self::new(7),
        Self::new(8),
        Self::new(9),
        Self::new(10),
    ];

    /// 10^m; `None` if m is not 3 to 10.
    pub(super) fn power(m: usize) -> Option<&'static Self> {
        let index = m.checked_sub(Self::SMALLEST as usize)?;
        Self::TABLE.get(index)
    }

    /// 10^m as a number.
    pub(super) const fn value(&self) -> u64 {
        self.ten
    }

    /// (a + y) mod 10^m, for a below 10^m. With `WIDE`, y is `top` * 2^64 + `y`, else `y` alone.
    #[inline(always)]
    pub(super) const fn add<const WIDE: bool>(&self, a: u64, top: u32, y: u64) -> u64 {
        let sum = a + self.residue::<WIDE>(top, y);
        let once = subtract_if_not_less(sum, self.ten);
        subtract_if_not_less(once, self.ten)
    }

    /// (a - y) mod 10^m, for a below 10^m. With `WIDE`, y is `top` * 2^64 + `y`, else `y` alone.
    #[inline(always)]
    pub(super) const fn subtract<const WIDE: bool>(&self, a: u64, top: u32, y: u64) -> u64 {
        let difference = a.wrapping_sub(self.residue::<WIDE>(top, y));
        let once = add_if_negative(difference, self.ten);
        add_if_negative(once, self.ten)
    }

    /// A number below 2 * 10^m that is y modulo 10^m.
    #[inline(always)]
    const fn residue<const WIDE: bool>(&self, top: u32, y: u64) -> u64 {
        let low = y & ((1 << self.bits) - 1);
        let upper = y >> self.bits;
        // Below 2^32 * 5^m / 2^m + 2^32, so that x >> cut has 32 bits.
        let x = if WIDE {
            // The top word enters the 64 bits above the low m from above.
            let top = top as u64;
            let upper = upper | (top << (64 - self.bits));
            let top = top >> self.bits;
            let x = top * self.fold_twice + (upper >> 32) * self.fold + (upper & LOW_32);
            (x >> 32) * self.fold + (x & LOW_32)
        } else {
            (upper >> 32) * self.fold + (upper & LOW_32)
        };
        // The estimate is the quotient or one less.
        let quotient = ((x >> self.cut) * self.reciprocal) >> self.shift;
        let remainder = x - quotient * self.five;
        (remainder << self.bits) | low
    }

    const fn new(m: u32) -> Self {
        assert!(m >= Self::SMALLEST && m <= Self::LARGEST);
        let five = 5_u64.pow(m);
        let fold = (1 << 32) % five;
        let fold_twice = (fold << 32) % five;
        // The largest x: of the narrow form, and of the wide form after its second fold.
        let narrow = ((1 << (32 - m)) - 1) * fold + LOW_32;
        let wide = ((1 << (32 - m)) - 1) * fold_twice + LOW_32 * fold + LOW_32;
        let wide = (wide >> 32) * fold + LOW_32;
        // The wide form is for 19 digits only, whose halves have 9 and 10.
        let largest = if m >= 9 && wide > narrow {
            wide
        } else {
            narrow
        };
        let cut = (64 - largest.leading_zeros()).saturating_sub(32);
        let scale = 31 + five.ilog2();
        let reciprocal = (1 << scale) / five;
        assert!(largest >> cut <= LOW_32 && reciprocal <= LOW_32);
        // x / 5^m exceeds the estimate by less than 1 + 2^cut / 5^m + x / 2^scale: under 2.
        assert!((1 << cut) * (1 << (scale - five.ilog2())) / 2 + largest < (1 << scale));
        Self {
            bits: m,
            ten: 10_u64.pow(m),
            five,
            fold,
            fold_twice,
            reciprocal,
            cut,
            shift: scale - cut,
        }
    }
}

/// x - p if that is not negative, else x; both below 2^63.
#[inline(always)]
const fn subtract_if_not_less(x: u64, p: u64) -> u64 {
    add_if_negative(x.wrapping_sub(p), p)
}

/// x + p if x, taken as signed, is negative, else x.
#[inline(always)]
const fn add_if_negative(x: u64, p: u64) -> u64 {
    let negative = 0_u64.wrapping_sub(x >> 63);
    x.wrapping_add(p & negative)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers at which a reduction that is off by one shows itself.
    fn edges(modulus: u128, top: u128) -> impl Iterator<Item = u128> {
        (0..200_u128).flat_map(move |k| {
            let multiple = (top / modulus).saturating_sub(k * k * k) * modulus;
            [k, k * modulus, multiple, top - k]
                .into_iter()
                .flat_map(move |n| [n.saturating_sub(1), n, n + 1])
                .filter(move |&n| n <= top)
        })
    }

    fn check(m: usize, a: u64, y: u128) {
        let modulus = Modulus::power(m).unwrap();
        let p = u128::from(modulus.ten);
        let a = a % modulus.ten;
        let (top, low) = (
            u32::try_from(y >> 64).unwrap(),
            u64::try_from(y & u128::from(u64::MAX)).unwrap(),
        );
        let narrow = u128::from(low);
        let minus = |y: u128| (u128::from(a) + p - y % p) % p;
        assert_eq!(
            u128::from(modulus.add::<false>(a, top, low)),
            (u128::from(a) + narrow) % p
        );
        assert_eq!(
            u128::from(modulus.subtract::<false>(a, top, low)),
            minus(narrow)
        );
        if m >= 9 {
            assert_eq!(
                u128::from(modulus.add::<true>(a, top, low)),
                (u128::from(a) + y) % p
            );
            assert_eq!(u128::from(modulus.subtract::<true>(a, top, low)), minus(y));
        }
    }

    #[test]
    fn agrees_with_division_at_the_edges() {
        for m in 3..=10 {
            let p = Modulus::power(m).unwrap().ten;
            for top in [u128::from(u64::MAX), (1 << 96) - 1] {
                for y in edges(u128::from(p), top) {
                    check(m, 0, y);
                    check(m, p - 1, y);
                }
            }
        }
        assert!(Modulus::power(2).is_none() && Modulus::power(11).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn agrees_with_division(m in 3_usize..=10, a: u64, y in 0_u128..1 << 96) {
            check(m, a, y);
        }
    }
}
