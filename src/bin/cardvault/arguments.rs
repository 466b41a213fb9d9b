//! No card number in an argument: the shell's history and the list of processes would hold it.
#![forbid(unsafe_code)]

use std::ffi::OsString;

use cardvault::card::{Brand, PAN_MAX_DIGITS, Pan};

use crate::failure::{Failure, Outcome};

/// A run of digits inside a longer argument counts as a card number from this length on; shorter
/// ones are dates and counters too often.
const RUN_MIN_DIGITS: usize = 13;

/// Refuses arguments that hold a card number, without repeating it.
pub(crate) fn refuse_card_numbers(arguments: &[OsString]) -> Outcome<()> {
    for (place, argument) in arguments.iter().enumerate() {
        if holds_card_number(argument.as_encoded_bytes()) {
            return Err(Failure::usage(
                format!("argument {place}"),
                "this looks like a card number, and card numbers are not taken as arguments",
            )
            .hint(
                "give it in a file or on standard input; the shell's history and the list of \
                 processes may hold what you typed: clear them",
            ));
        }
    }
    Ok(())
}

fn holds_card_number(argument: &[u8]) -> bool {
    let value = argument
        .iter()
        .position(|&byte| byte == b'=')
        .and_then(|at| argument.get(at + 1..));
    is_card_number(argument) || value.is_some_and(is_card_number) || has_card_run(argument)
}

/// Any number that the library takes as one, also those that may fail the Luhn check.
fn is_card_number(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    Pan::parse(text).is_ok()
        || Pan::parse_exempting(text, &Brand::LUHN_EXEMPT)
            .is_ok_and(|pan| pan.digit_count() >= RUN_MIN_DIGITS)
}

/// A card number with other text around it, as in a file's name.
fn has_card_run(argument: &[u8]) -> bool {
    argument
        .split(|byte| !matches!(byte, b'0'..=b'9' | b' ' | b'-'))
        .map(|run| run.trim_ascii())
        .map(|run| trim(run, b'-'))
        .filter(|run| run.len() >= RUN_MIN_DIGITS && run.len() < 2 * PAN_MAX_DIGITS)
        .any(|run| {
            Pan::parse(run).is_ok_and(|pan| {
                pan.digit_count() >= RUN_MIN_DIGITS && pan.brand() != Brand::Unknown
            })
        })
}

fn trim(mut run: &[u8], byte: u8) -> &[u8] {
    while let Some(rest) = run.strip_prefix(&[byte]) {
        run = rest;
    }
    while let Some(rest) = run.strip_suffix(&[byte]) {
        run = rest;
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_seen() {
        for argument in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            " 4111111111111111 ",
            "--column=4111111111111111",
            "cards-4111111111111111.csv",
            "--purpose=refund of 378282246310005 today",
            "6759649826438453",
        ] {
            assert!(holds_card_number(argument.as_bytes()), "{argument}");
        }
    }

    #[test]
    fn other_arguments_are_not() {
        for argument in [
            "tokenize",
            "--column=3",
            "card:6:4",
            "cards-2026-01-03.csv",
            "cards-20260103.csv",
            "20260103120000.csv",
            "voucher 000123",
            "4111111111111112",
            "",
        ] {
            assert!(!holds_card_number(argument.as_bytes()), "{argument}");
        }
    }
}
