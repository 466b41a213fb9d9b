//! The demo's first steps: card numbers read, told apart, masked, and refused.
#![forbid(unsafe_code)]

use std::fmt::Display;

use cardvault::card::{Brand, CardData, Pan};
use subtle::ConstantTimeEq;

use super::cards::{DASHED, SHOWN, SPACED, TAG_5A, TAG_57, TRACK_1, TRACK_2, UNIONPAY_FAILS_LUHN};
use super::pan;
use super::paper::Paper;
use super::published::{FAIL_LUHN, PUBLISHED};
use crate::failure::{Failure, Outcome};

/// Parse, brand, mask.
pub(super) fn published(paper: &mut Paper) -> Outcome<()> {
    let count: usize = PUBLISHED.iter().map(|(_, numbers)| numbers.len()).sum();
    paper.step(
        &format!("Read {count} published test cards"),
        "length and check digit, brand by the longest prefix, and a mask that hides four or more",
    )?;
    let mut rows = Vec::new();
    for (brand, numbers) in PUBLISHED {
        let mut lengths = Vec::new();
        let mut masks = Vec::new();
        let mut others = Vec::new();
        for number in *numbers {
            let pan = pan(number)?;
            if pan.brand() != *brand {
                others.push(pan.brand().to_string());
            }
            if !lengths.contains(&pan.digit_count()) {
                lengths.push(pan.digit_count());
                masks.push(pan.mask().as_str().to_owned());
            }
        }
        let lengths: Vec<_> = lengths.iter().map(ToString::to_string).collect();
        rows.push([
            brand.to_string(),
            match others.as_slice() {
                [] => format!("all {}", numbers.len()),
                _ => format!(
                    "{} of {}, {} by its range",
                    numbers.len() - others.len(),
                    numbers.len(),
                    others.join(" and ")
                ),
            },
            lengths.join(" "),
            masks.join("  "),
        ]);
    }
    paper.table(
        [
            "BRAND",
            "RECOGNIZED",
            "DIGITS",
            "MASKED, ONE OF EACH LENGTH",
        ],
        &rows,
    )
}

/// One card, as different machines hand it over.
pub(super) fn forms(paper: &mut Paper) -> Outcome<()> {
    paper.step(
        "One card in seven forms",
        "what may be kept is read; discretionary data, names and codes have no place to go",
    )?;
    let shown = pan(SHOWN)?;
    let row = |form: &str, source: &str, card: Result<CardData, String>| -> Outcome<[String; 5]> {
        let card = card.map_err(|error| Failure::usage("published card", error))?;
        let same = bool::from(card.pan.ct_eq(&shown));
        let dash = || "-".to_owned();
        let expiry = card.expiry.map_or_else(dash, |expiry| {
            format!("20{:02}-{:02}", expiry.year(), expiry.month())
        });
        let service = card
            .service_code
            .map_or_else(dash, |code| format!("{:03}", code.get()));
        let same = if same { "same card" } else { "ANOTHER CARD" };
        Ok([
            form.to_owned(),
            source.to_owned(),
            expiry,
            service,
            same.to_owned(),
        ])
    };
    let plain = |text: &str| {
        let pan = Pan::parse(text.as_bytes()).map_err(|error| error.to_string());
        pan.map(|pan| CardData {
            pan,
            expiry: None,
            sequence: None,
            service_code: None,
        })
    };
    let read = |card: Result<CardData, cardvault::card::CardDataError>| {
        card.map_err(|error| error.to_string())
    };
    let rows = [
        row("plain", "16 digits", plain(SHOWN))?,
        row("spaced", "19 characters", plain(SPACED))?,
        row("dashed", "19 characters", plain(DASHED))?,
        row(
            "track 1",
            "magnetic stripe",
            read(CardData::from_track1(TRACK_1.as_bytes(), &[])),
        )?,
        row(
            "track 2",
            "magnetic stripe",
            read(CardData::from_track2(TRACK_2.as_bytes(), &[])),
        )?,
        row(
            "tag 57",
            "chip, track 2 equivalent",
            read(CardData::from_tag57(&TAG_57, &[])),
        )?,
        row(
            "tag 5A",
            "chip, number alone",
            read(CardData::from_tag5a(&TAG_5A, &[])),
        )?,
    ];
    paper.table(["FORM", "FROM", "EXPIRY", "SERVICE", "READ AS"], &rows)
}

/// What is refused, and what the second door admits.
pub(super) fn refusals(paper: &mut Paper) -> Outcome<()> {
    paper.step(
        "Refused, each with its reason",
        "reasons name a kind, a place or a length, never content",
    )?;
    let mut rows = Vec::new();
    for number in FAIL_LUHN.iter().chain([&UNIONPAY_FAILS_LUHN]) {
        let what = if *number == UNIONPAY_FAILS_LUHN {
            "UnionPay, other check digit".to_owned()
        } else {
            format!("published, {} digits, fails Luhn", number.len())
        };
        let first = verdict(Pan::parse(number.as_bytes()));
        let second = Pan::parse_exempting(number.as_bytes(), &Brand::LUHN_EXEMPT);
        rows.push([what, first, verdict(second)]);
    }
    let dash = || "-".to_owned();
    for (what, input) in [
        ("nothing", ""),
        ("letters", "4111x11111111111"),
        ("full-width digits", "\u{ff14}\u{ff11}\u{ff11}\u{ff11}"),
        ("a NUL byte", "4111111\x0011111111"),
        ("7 digits", "4111111"),
        ("20 digits", "41111111111111111111"),
        ("spaces and dashes", "4111 1111-1111 1111"),
    ] {
        rows.push([
            what.to_owned(),
            verdict(Pan::parse(input.as_bytes())),
            dash(),
        ]);
    }
    let track = TRACK_2.replace("=3012", "=3013");
    let track = CardData::from_track2(track.as_bytes(), &[]).map(|card| card.pan);
    rows.push(["track 2 with month 13".to_owned(), verdict(track), dash()]);
    paper.table(
        ["INPUT", "FIRST DOOR", "SECOND DOOR (UnionPay, enRoute)"],
        &rows,
    )
}

fn verdict<E: Display>(result: Result<Pan, E>) -> String {
    match result {
        Ok(pan) => format!("admitted as {}", pan.mask()),
        Err(error) => error.to_string(),
    }
}
