//! `inspect`: what can be told of card numbers without showing them.
#![forbid(unsafe_code)]

use cardvault::card::{Brand, Pan};
use serde_json::json;

use crate::args::Inspect;
use crate::bulk::{Line, Source};
use crate::failure::{Exit, Outcome};

pub(crate) fn run(args: &Inspect) -> Outcome<Exit> {
    let every_brand: Vec<Brand> = (0..=u8::MAX).filter_map(Brand::from_code).collect();
    let mut source = Source::open(&args.input)?;
    let mut exit = Exit::Done;
    if !args.json {
        crate::show(&format!(
            "{:>6}  {:<16} {:>6}  {:<8}  MASK\n",
            "LINE", "BRAND", "DIGITS", "LUHN"
        ))?;
    }
    while let Some(batch) = source.next_batch(None)? {
        let mut text = String::new();
        for line in batch.lines() {
            let number = line.number();
            let parsed = match line {
                Line::Text { text, .. } if text.trim_ascii().is_empty() => continue,
                Line::Text { text, .. } => Pan::parse_exempting(text.trim_ascii(), &every_brand)
                    .map_err(|error| error.to_string()),
                Line::TooLong { .. } => Err(Source::too_long()),
            };
            let shown = match &parsed {
                Ok(pan) => describe(number, pan, args.json),
                Err(reason) if args.json => {
                    format!("{}\n", json!({"line": number, "refused": reason}))
                }
                Err(reason) => format!("{number:>6}  {reason}\n"),
            };
            text.push_str(&shown);
            if parsed.is_err() {
                exit = Exit::Rejected;
            }
        }
        crate::show(&text)?;
    }
    Ok(exit)
}

fn describe(line: u64, pan: &Pan, as_json: bool) -> String {
    let (brand, mask) = (pan.brand(), pan.mask());
    if as_json {
        let value = json!({
            "line": line,
            "brand": brand.to_string(),
            "digits": pan.digit_count(),
            "luhn": pan.passes_luhn(),
            "may_fail_luhn": brand.may_fail_luhn(),
            "mask": mask.as_str(),
        });
        return format!("{value}\n");
    }
    let luhn = match (pan.passes_luhn(), brand.may_fail_luhn()) {
        (true, _) => "pass",
        (false, true) => "may fail",
        (false, false) => "FAIL",
    };
    format!(
        "{line:>6}  {:<16} {:>6}  {luhn:<8}  {mask}\n",
        brand.to_string(),
        pan.digit_count()
    )
}
