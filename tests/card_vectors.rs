//! Card numbers against published cards, a slow obvious brand table, and laws.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic
)]

mod common;

use cardvault::card::{
    Brand, BrandTable, CardData, CardRecord, Expiry, MaskBin, PAN_MAX_INPUT, Pan, PanError,
    PanSequence, ServiceCode, TruncatedPan, TruncationFormat, luhn, truncation_limit,
};
use common::{FAIL_LUHN, luhn_model, passing, with_check_digit};
use proptest::prelude::*;
use subtle::ConstantTimeEq;

#[test]
fn published_cards_pass_both_doors() {
    let mut count = 0;
    for (brand, digits) in passing() {
        count += 1;
        assert!(
            luhn_model(digits) && luhn::passes(digits.as_bytes()),
            "{digits}"
        );
        for pan in [
            Pan::parse(digits.as_bytes()).unwrap(),
            Pan::parse_exempting(digits.as_bytes(), &Brand::LUHN_EXEMPT).unwrap(),
            digits.parse().unwrap(),
        ] {
            assert_eq!(pan.brand(), brand, "{digits}");
            assert_eq!(BrandTable::default().brand(&pan), brand);
            assert_eq!(pan.expose(str::to_owned), digits);
            assert_eq!(pan.digit_count(), digits.len());
            assert_eq!(
                pan.last_four(),
                digits[digits.len() - 4..].parse::<u16>().unwrap()
            );
            assert_eq!(pan.mask().as_str(), mask_model(digits, 6));
            assert_eq!(
                pan.mask_with(MaskBin::Eight).as_str(),
                mask_model(digits, 8)
            );
            assert_eq!(
                pan.mask_with(MaskBin::Hidden).as_str(),
                mask_model(digits, 0)
            );
        }
    }
    assert_eq!(count, 74);
}

#[test]
fn published_cards_that_fail_luhn_need_the_second_door() {
    let brands = [Brand::Unknown, Brand::Unknown, Brand::PayPak];
    for (digits, brand) in FAIL_LUHN.iter().zip(brands) {
        assert!(!luhn_model(digits));
        assert_eq!(Pan::parse(digits.as_bytes()).unwrap_err(), PanError::Luhn);
        // On nobody's list of exemptions, and on a list that names the brand.
        let exempt = Pan::parse_exempting(digits.as_bytes(), &Brand::LUHN_EXEMPT);
        assert_eq!(exempt.unwrap_err(), PanError::Luhn);
        let pan = Pan::parse_exempting(digits.as_bytes(), &[brand]).unwrap();
        assert!(!pan.passes_luhn());
        assert_eq!(pan.brand(), brand);
    }
    for digits in ["6200000000000004", "201400000000008"] {
        assert_eq!(Pan::parse(digits.as_bytes()).unwrap_err(), PanError::Luhn);
        Pan::parse_exempting(digits.as_bytes(), &Brand::LUHN_EXEMPT).unwrap();
        assert!(Pan::parse_exempting(digits.as_bytes(), &[Brand::Visa]).is_err());
    }
}

#[test]
fn bad_input_is_refused_with_its_place() {
    let cases: [(&[u8], PanError); 13] = [
        (b"", PanError::Empty),
        (b"4", PanError::Length { digits: 1 }),
        (b"4111111", PanError::Length { digits: 7 }),
        (b"41111111111111111111", PanError::Length { digits: 20 }),
        (&[b'4'; 38], PanError::TooLong { bytes: 38 }),
        (b"4111x11111111111", PanError::Byte { at: 4 }),
        (b"4111\x0011111111111", PanError::Byte { at: 4 }),
        (b" 4111111111111111", PanError::Byte { at: 0 }),
        (b"4111111111111111\n", PanError::Byte { at: 16 }),
        (b"4111  111111111111", PanError::Byte { at: 5 }),
        (b"4111 1111-11111111", PanError::Byte { at: 9 }),
        (b"4111-1111-1111-1111-", PanError::Byte { at: 19 }),
        (
            "\u{ff14}111111111111111".as_bytes(),
            PanError::Byte { at: 0 },
        ),
    ];
    for (input, error) in cases {
        assert_eq!(Pan::parse(input).unwrap_err(), error);
        assert_eq!(
            Pan::parse_exempting(input, &[Brand::Unknown]).unwrap_err(),
            error
        );
    }
}

/// First and last prefix, lengths: the networks' ranges as they are written in public tables.
const MODEL: [(Brand, &str, &str, &[usize]); 62] = [
    (Brand::Visa, "4", "4", &[13, 16, 18, 19]),
    (Brand::Mastercard, "51", "55", &[16]),
    (Brand::Mastercard, "222100", "272099", &[16]),
    (Brand::AmericanExpress, "34", "34", &[15]),
    (Brand::AmericanExpress, "37", "37", &[15]),
    (Brand::Discover, "6011", "6011", &[16, 17, 18, 19]),
    (Brand::Discover, "644", "649", &[16, 17, 18, 19]),
    (Brand::Discover, "65", "65", &[16, 17, 18, 19]),
    (Brand::DinersClub, "300", "305", &[14, 16, 19]),
    (Brand::DinersClub, "36", "36", &[14, 16, 19]),
    (Brand::DinersClub, "38", "39", &[14, 16, 19]),
    (Brand::Jcb, "3528", "3589", &[16, 17, 18, 19]),
    (Brand::Jcb, "1800", "1800", &[15]),
    (Brand::Jcb, "2131", "2131", &[15]),
    (Brand::UnionPay, "62", "62", &[14, 15, 16, 17, 18, 19]),
    (Brand::UnionPay, "81", "81", &[14, 15, 16, 17, 18, 19]),
    (
        Brand::Maestro,
        "50",
        "50",
        &[12, 13, 14, 15, 16, 17, 18, 19],
    ),
    (
        Brand::Maestro,
        "56",
        "59",
        &[12, 13, 14, 15, 16, 17, 18, 19],
    ),
    (Brand::Maestro, "6", "6", &[12, 13, 14, 15, 16, 17, 18, 19]),
    (Brand::RuPay, "6061", "6069", &[16]),
    (Brand::RuPay, "607", "608", &[16]),
    (Brand::RuPay, "8170", "8202", &[16]),
    (Brand::Mir, "2200", "2204", &[16, 17, 18, 19]),
    (Brand::Elo, "401178", "401179", &[16]),
    (Brand::Elo, "438935", "438935", &[16]),
    (Brand::Elo, "457631", "457632", &[16]),
    (Brand::Elo, "504175", "504175", &[16]),
    (Brand::Elo, "506699", "506778", &[16]),
    (Brand::Elo, "509000", "509999", &[16]),
    (Brand::Elo, "627780", "627780", &[16]),
    (Brand::Elo, "636297", "636297", &[16]),
    (Brand::Elo, "636368", "636368", &[16]),
    (Brand::Elo, "650031", "650033", &[16]),
    (Brand::Elo, "650035", "650051", &[16]),
    (Brand::Elo, "650405", "650439", &[16]),
    (Brand::Elo, "650485", "650538", &[16]),
    (Brand::Elo, "650541", "650598", &[16]),
    (Brand::Elo, "650700", "650718", &[16]),
    (Brand::Elo, "650720", "650727", &[16]),
    (Brand::Elo, "650901", "650978", &[16]),
    (Brand::Elo, "651652", "651679", &[16]),
    (Brand::Elo, "655000", "655019", &[16]),
    (Brand::Elo, "655021", "655058", &[16]),
    (Brand::Troy, "9792", "9792", &[16]),
    (Brand::Verve, "506099", "506198", &[16, 18, 19]),
    (Brand::Verve, "507865", "507964", &[16, 18, 19]),
    (Brand::Verve, "650002", "650027", &[16, 18, 19]),
    (Brand::Dankort, "5019", "5019", &[16]),
    (Brand::Uatp, "1", "1", &[15]),
    (Brand::Hipercard, "606282", "606282", &[16]),
    (Brand::Hipercard, "384", "384", &[16]),
    (Brand::Hiper, "637095", "637095", &[16]),
    (Brand::Hiper, "637568", "637568", &[16]),
    (Brand::Hiper, "637599", "637599", &[16]),
    (Brand::InterPayment, "636", "636", &[16, 17, 18, 19]),
    (Brand::InstaPayment, "637", "639", &[16]),
    (Brand::PayPak, "2205", "2205", &[16]),
    (Brand::Humo, "9860", "9860", &[16]),
    (Brand::Uzcard, "8600", "8600", &[16]),
    (Brand::Uzcard, "5614", "5614", &[16]),
    (Brand::EnRoute, "2014", "2014", &[15]),
    (Brand::EnRoute, "2149", "2149", &[15]),
];

/// The longest prefix that fits, by comparing text.
fn brand_model(digits: &str) -> Brand {
    MODEL
        .iter()
        .filter(|(_, first, last, lengths)| {
            let prefix = &digits[..first.len()];
            lengths.contains(&digits.len()) && *first <= prefix && prefix <= *last
        })
        .max_by_key(|(_, first, ..)| first.len())
        .map_or(Brand::Unknown, |(brand, ..)| *brand)
}

fn mask_model(digits: &str, bin: usize) -> String {
    let first = bin.min(digits.len() - 8);
    let hidden = digits.len() - first - 4;
    format!(
        "{}{}{}",
        &digits[..first],
        "*".repeat(hidden),
        &digits[digits.len() - 4..]
    )
}

#[test]
fn every_edge_of_every_range_agrees_with_the_model() {
    let mut seen = 0;
    for (_, first, last, _) in MODEL {
        let width = u32::try_from(first.len()).unwrap();
        for edge in [first, last] {
            let edge: u32 = edge.parse().unwrap();
            for prefix in edge.saturating_sub(1)..=edge + 1 {
                if prefix >= 10_u32.pow(width) {
                    continue;
                }
                for len in 8..=19 {
                    for fill in ["0", "9"] {
                        let prefix = format!("{prefix:0width$}", width = first.len());
                        let body = format!("{prefix}{}", fill.repeat(18))[..len - 1].to_owned();
                        let digits = with_check_digit(&body);
                        let brand = Pan::parse(digits.as_bytes()).unwrap().brand();
                        assert_eq!(brand, brand_model(&digits), "{digits}");
                        seen += 1;
                    }
                }
            }
        }
    }
    assert!(seen > 5000);
}

/// A card number that passes, of any length.
fn numbers() -> impl Strategy<Value = String> {
    "[0-9]{7,18}".prop_map(|body| with_check_digit(&body))
}

/// `digits` with `separator` behind each digit whose bit in `places` is set.
fn separated(digits: &str, places: u32, separator: char) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && places >> place & 1 == 1 {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

proptest! {
    #[test]
    fn brands_agree_with_the_model(digits in numbers()) {
        let pan = Pan::parse(digits.as_bytes()).unwrap();
        prop_assert_eq!(pan.brand(), brand_model(&digits));
    }

    #[test]
    fn separators_change_nothing(digits in numbers(), places: u32, dash: bool) {
        let text = separated(&digits, places, if dash { '-' } else { ' ' });
        prop_assert!(text.len() <= PAN_MAX_INPUT);
        let plain = Pan::parse(digits.as_bytes()).unwrap();
        let pan = Pan::parse(text.as_bytes()).unwrap();
        prop_assert!(bool::from(pan.ct_eq(&plain)));
        prop_assert_eq!(pan.expose(str::to_owned), digits);
    }

    #[test]
    fn two_kinds_of_separator_are_refused(digits in numbers(), at in 1_usize..7) {
        let text = format!("{} {}-{}", &digits[..at], &digits[at..=at], &digits[at + 1..]);
        prop_assert_eq!(Pan::parse(text.as_bytes()).unwrap_err(), PanError::Byte { at: at + 2 });
    }

    #[test]
    fn a_changed_digit_or_a_swap_of_neighbours_is_noticed(
        digits in numbers(), at: prop::sample::Index, other in 1_u8..10,
    ) {
        let mut changed = digits.clone().into_bytes();
        let place = at.index(changed.len());
        changed[place] = b'0' + (changed[place] - b'0' + other) % 10;
        prop_assert_eq!(Pan::parse(&changed).unwrap_err(), PanError::Luhn);
        let mut swapped = digits.clone().into_bytes();
        let place = at.index(swapped.len() - 1);
        swapped.swap(place, place + 1);
        let (a, b) = (swapped[place], swapped[place + 1]);
        // The one swap that the Luhn check is known to miss, and the one that is none.
        if a != b && !matches!((a, b), (b'0', b'9') | (b'9', b'0')) {
            prop_assert_eq!(Pan::parse(&swapped).unwrap_err(), PanError::Luhn);
        }
    }

    #[test]
    fn no_door_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        all_doors(&bytes);
    }

    #[test]
    fn no_door_panics_near_a_card(text in "[0-9 =?;%B^DF*-]{0,64}") {
        all_doors(text.as_bytes());
    }

    #[test]
    fn accepted_input_is_the_same_number_again(text in "[0-9 -]{8,25}") {
        if let Ok(pan) = Pan::parse(text.as_bytes()) {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            prop_assert!(luhn_model(&digits));
            prop_assert_eq!(pan.expose(str::to_owned), digits);
        }
    }

    #[test]
    fn every_door_reads_the_same_card(
        digits in numbers(),
        (year, month) in (0_u8..100, 1_u8..13),
        service in 0_u16..1000,
        sequence in 0_u8..100,
        discretionary in "[0-9]{0,6}",
    ) {
        let expiry = Expiry::new(year, month).unwrap();
        let tail = format!("{year:02}{month:02}{service:03}{discretionary}");
        let track1 = format!("%B{digits}^DOE/JANE^{tail}?");
        let track2 = format!(";{digits}={tail}?");
        let tag57 = bcd(&format!("{digits}D{tail}"));
        let tag5a = bcd(&digits);
        let mut emv = vec![0x57, u8::try_from(tag57.len()).unwrap()];
        emv.extend(&tag57);
        emv.extend([0x5f, 0x34, 1]);
        emv.extend(bcd(&format!("{sequence:02}")));
        emv.extend([0x5a, u8::try_from(tag5a.len()).unwrap()]);
        emv.extend(&tag5a);
        let plain = Pan::parse(digits.as_bytes()).unwrap();
        for card in [
            CardData::from_track1(track1.as_bytes(), &[]).unwrap(),
            CardData::from_track2(track2.as_bytes(), &[]).unwrap(),
            CardData::from_tag57(&tag57, &[]).unwrap(),
            CardData::from_emv(&emv, &[]).unwrap(),
        ] {
            prop_assert!(bool::from(card.pan.ct_eq(&plain)));
            prop_assert_eq!(card.expiry, Some(expiry));
            prop_assert_eq!(card.service_code, ServiceCode::new(service));
        }
        let card = CardData::from_tag5a(&tag5a, &[]).unwrap();
        prop_assert!(bool::from(card.pan.ct_eq(&plain)));
        let record = CardData::from_emv(&emv, &[]).unwrap().into_record();
        prop_assert_eq!(record.sequence, PanSequence::new(sequence));
        let back = CardRecord::from_bytes(&record.to_bytes()).unwrap();
        prop_assert!(bool::from(back.ct_eq(&record)));
    }

    #[test]
    fn truncation_keeps_the_limit_and_no_more(digits in numbers(), first in 0_u8..9, last in 0_u8..5) {
        let pan = Pan::parse(digits.as_bytes()).unwrap();
        let limit = truncation_limit(pan.brand(), digits.len());
        let format = TruncationFormat::new(first, last).unwrap();
        match pan.truncate(format) {
            Ok(stored) => {
                prop_assert!(first <= limit.first() && last <= limit.last());
                let (first, last) = (usize::from(first), usize::from(last));
                let removed = digits.len() - first - last;
                prop_assert!(removed >= 4);
                let model = format!(
                    "{}{}{}", &digits[..first], "*".repeat(removed), &digits[digits.len() - last..],
                );
                prop_assert_eq!(stored.as_str(), &model);
                prop_assert_eq!(model.parse::<TruncatedPan>(), Ok(stored));
            }
            Err(_) => prop_assert!(first > limit.first() || last > limit.last()),
        }
    }
}

fn all_doors(bytes: &[u8]) {
    let exempt = &Brand::LUHN_EXEMPT;
    let _ = Pan::parse(bytes);
    let _ = Pan::parse_exempting(bytes, exempt);
    let _ = luhn::passes(bytes);
    let _ = luhn::check_digit(bytes);
    let _ = CardData::from_track1(bytes, exempt);
    let _ = CardData::from_track2(bytes, exempt);
    let _ = CardData::from_tag57(bytes, exempt);
    let _ = CardData::from_tag5a(bytes, exempt);
    let _ = CardData::from_emv(bytes, exempt);
    if let Ok(text) = core::str::from_utf8(bytes) {
        let _ = text.parse::<Pan>();
        let _ = text.parse::<TruncatedPan>();
    }
}

/// Nibbles from text, padded with `F` to whole bytes.
fn bcd(text: &str) -> Vec<u8> {
    let padded = if text.len().is_multiple_of(2) {
        text.to_owned()
    } else {
        format!("{text}F")
    };
    (0..padded.len() / 2)
        .map(|at| u8::from_str_radix(&padded[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}
