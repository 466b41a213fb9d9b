//! Published test cards, shared by the integration tests.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

use cardvault::card::{Brand, Pan};

#[path = "../../src/bin/cardvault/demo/published.rs"]
mod published;

pub(crate) use published::FAIL_LUHN;
use published::PUBLISHED;

/// Two numbers that Verve publishes lie outside the ranges that it made public: they have the brand
/// of the wider range.
const OUTSIDE_VERVE: [&str; 2] = ["5060666666666666666", "507850785078507812"];

/// Every published card that passes Luhn, with the brand that the table gives it.
pub(crate) fn passing() -> impl Iterator<Item = (Brand, &'static str)> {
    PUBLISHED.iter().flat_map(|(brand, numbers)| {
        numbers
            .iter()
            .map(|number| match OUTSIDE_VERVE.contains(number) {
                true => (Brand::Maestro, *number),
                false => (*brand, *number),
            })
    })
}

/// The number as a [`Pan`], whatever the Luhn check says of the exempt brands.
pub(crate) fn pan(digits: &str) -> Pan {
    Pan::parse_exempting(digits.as_bytes(), &Brand::LUHN_EXEMPT).unwrap()
}

/// The Luhn check as a clerk would do it.
pub(crate) fn luhn_model(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0') * if place % 2 == 1 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// `body` with the check digit behind it, by trying all ten.
pub(crate) fn with_check_digit(body: &str) -> String {
    ('0'..='9')
        .map(|check| format!("{body}{check}"))
        .find(|number| luhn_model(number))
        .unwrap()
}
