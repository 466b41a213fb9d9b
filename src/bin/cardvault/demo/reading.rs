//! The demo's first chapter: card numbers read, told apart, masked, and refused.
#![forbid(unsafe_code)]

use std::fmt::Display;

use cardvault::card::{Brand, CardData, Pan};
use subtle::ConstantTimeEq;

use super::cards::{DASHED, SHOWN, SPACED, TAG_5A, TAG_57, TRACK_1, TRACK_2, UNIONPAY_FAILS_LUHN};
use super::paper::Paper;
use super::published::{FAIL_LUHN, PUBLISHED};
use super::{pan, told};
use crate::failure::{Failure, Outcome};

const MASKS_A_LINE: usize = 3;

/// Parse, brand, mask.
pub(super) fn published(paper: &mut Paper) -> Outcome<()> {
    paper.chapter(
        "The card",
        "length and check digit, brand by the longest prefix, a mask that hides four digits or more",
    )?;
    let mut masks = Vec::new();
    let mut lengths = Vec::new();
    let (mut read, mut others) = (0, 0);
    for (brand, numbers) in PUBLISHED {
        for (at, number) in numbers.iter().enumerate() {
            let pan = pan(number)?;
            let mask = pan.mask();
            told(mask.as_str() != *number, "a mask hides digits")?;
            read += 1;
            others += usize::from(pan.brand() != *brand);
            lengths.push(pan.digit_count());
            if at == 0 {
                masks.push(format!("{:<16} {mask:<20}", pan.brand().to_string()));
            }
        }
    }
    let (shortest, longest) = (lengths.iter().min(), lengths.iter().max());
    paper.part(&format!(
        "{read} published test numbers of {} brands, {} to {} digits; {others} have the brand of a wider range",
        PUBLISHED.len(),
        shortest.unwrap_or(&0),
        longest.unwrap_or(&0),
    ))?;
    for line in masks.chunks(MASKS_A_LINE) {
        paper.line(format!("   {}", line.concat()).trim_end())?;
    }
    Ok(())
}

/// One card, as different machines hand it over.
pub(super) fn forms(paper: &Paper) -> Outcome<()> {
    paper
        .part("One card in seven forms: discretionary data, names and codes have no place to go")?;
    let shown = pan(SHOWN)?;
    let row = |form: &str, source: &str, card: Result<CardData, String>| -> Outcome<[String; 5]> {
        let card = card.map_err(|error| Failure::usage("published card", error))?;
        let same = bool::from(card.pan.ct_eq(&shown));
        told(same, "every form gives the same card")?;
        let dash = || "-".to_owned();
        let expiry = card.expiry.map_or_else(dash, |expiry| {
            format!("20{:02}-{:02}", expiry.year(), expiry.month())
        });
        let service = card
            .service_code
            .map_or_else(dash, |code| format!("{:03}", code.get()));
        let mask = card.pan.mask().as_str().to_owned();
        Ok([form.to_owned(), source.to_owned(), expiry, service, mask])
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
    let track_1 = read(CardData::from_track1(TRACK_1.as_bytes(), &[]));
    let track_2 = read(CardData::from_track2(TRACK_2.as_bytes(), &[]));
    let rows = [
        row("plain", "16 digits", plain(SHOWN))?,
        row("spaced", "19 characters", plain(SPACED))?,
        row("dashed", "19 characters", plain(DASHED))?,
        row("track 1", "magnetic stripe", track_1)?,
        row("track 2", "magnetic stripe", track_2)?,
        row("tag 57", "chip", read(CardData::from_tag57(&TAG_57, &[])))?,
        row("tag 5A", "chip", read(CardData::from_tag5a(&TAG_5A, &[])))?,
    ];
    paper.table(["FORM", "FROM", "EXPIRY", "SERVICE", "READ AS"], &rows)
}

/// What is refused, and what the second door admits.
pub(super) fn refusals(paper: &Paper) -> Outcome<()> {
    paper.part("Refused: reasons name a kind, a place or a length, never content")?;
    let mut rows = Vec::new();
    let mut row = |what: &str, answer: Result<Pan, String>, admitted: bool| -> Outcome<()> {
        told(answer.is_ok() == admitted, what)?;
        let answer = match answer {
            Ok(pan) => format!("admitted as {}", pan.mask()),
            Err(error) => error,
        };
        rows.push([what.to_owned(), answer]);
        Ok(())
    };
    for (what, input) in [
        (
            "published, fails Luhn",
            FAIL_LUHN.first().copied().unwrap_or_default(),
        ),
        ("a letter", "4111x11111111111"),
        ("full-width digits", "\u{ff14}\u{ff11}\u{ff11}\u{ff11}"),
        ("20 digits", "41111111111111111111"),
        ("spaces and dashes", "4111 1111-1111 1111"),
        ("UnionPay, other check digit", UNIONPAY_FAILS_LUHN),
    ] {
        row(what, text(Pan::parse(input.as_bytes())), false)?;
    }
    let exempt = Pan::parse_exempting(UNIONPAY_FAILS_LUHN.as_bytes(), &Brand::LUHN_EXEMPT);
    row("the same by the door for UnionPay", text(exempt), true)?;
    let track = TRACK_2.replace("=3012", "=3013");
    let track = CardData::from_track2(track.as_bytes(), &[]).map(|card| card.pan);
    row("track 2 with month 13", text(track), false)?;
    paper.table(["INPUT", "ANSWER"], &rows)
}

fn text<E: Display>(result: Result<Pan, E>) -> Result<Pan, String> {
    result.map_err(|error| error.to_string())
}
