//! No card number in an argument: the shell's history and the list of processes would hold it.
#![forbid(unsafe_code)]

use std::ffi::OsString;

use cardvault::card::{Brand, PAN_MAX_DIGITS, Pan};

use crate::failure::{Failure, Outcome};

/// A run of digits inside a longer argument counts as a card number from this length on; shorter
/// ones are dates and counters too often.
const RUN_MIN_DIGITS: usize = 13;

/// Options whose values are numbers of another kind, with how many digits: one in ten of those
/// passes the Luhn check by chance. No card number but American Express's has so few.
const OTHER_NUMBERS: [(&str, usize); 14] = [
    ("--terminal", 8),
    ("--desk-terminal", 8),
    ("--date", 8),
    ("--today", 8),
    ("--clearing", 8),
    ("--found-clearing", 8),
    ("--first-day", 8),
    ("--last-day", 8),
    ("--from", 8),
    ("--since", 8),
    ("--until", 8),
    ("--rrn", 12),
    ("--found-rrn", 12),
    ("--merchant", 15),
];
/// Options whose values may be long numbers of the merchant's own: refused only if a brand has
/// such a card number.
const OWN_NUMBERS: [&str; 2] = ["--order", "--number"];

/// Refuses arguments that hold a card number, without repeating it.
pub(crate) fn refuse_card_numbers(arguments: &[OsString]) -> Outcome<()> {
    let mut before: &[u8] = b"";
    for (place, argument) in arguments.iter().enumerate() {
        let argument = argument.as_encoded_bytes();
        let (option, value) = split_option(before, argument);
        before = argument;
        if !is_other_number(option, value) && holds_card_number(option, argument) {
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

/// The option that a value belongs to: the one before it, or the one in the same argument.
fn split_option<'a>(before: &'a [u8], argument: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let equals = argument.iter().position(|&byte| byte == b'=');
    match equals.and_then(|at| argument.split_at_checked(at)) {
        Some((option, value)) if option.starts_with(b"--") => {
            (option, value.get(1..).unwrap_or_default())
        }
        _ => (before, argument),
    }
}

fn is_other_number(option: &[u8], value: &[u8]) -> bool {
    let mut known = OTHER_NUMBERS.iter();
    let known = known.find(|(name, _)| name.as_bytes() == option);
    let digits = || value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let plain = || {
        value
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'-')
    };
    known.is_some_and(|(_, len)| digits() == *len && plain())
        && !Pan::parse(value).is_ok_and(|pan| pan.brand() == Brand::AmericanExpress)
}

fn holds_card_number(option: &[u8], argument: &[u8]) -> bool {
    let value = argument
        .iter()
        .position(|&byte| byte == b'=')
        .and_then(|at| argument.get(at + 1..));
    let whole = is_card_number(argument) || value.is_some_and(is_card_number);
    let own = OWN_NUMBERS.iter().any(|name| name.as_bytes() == option);
    (whole && !own) || has_card_run(argument)
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

    fn refuse(arguments: &[&str]) -> bool {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        refuse_card_numbers(&arguments).is_err()
    }

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
            assert!(refuse(&[argument]), "{argument}");
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
            assert!(!refuse(&[argument]), "{argument}");
        }
    }

    #[test]
    fn other_numbers_are_taken_behind_their_options() {
        // Each of them passes the Luhn check.
        for (option, value) in [
            ("--rrn", "112233445561"),
            ("--date", "2026-11-29"),
            ("--today", "20261129"),
            ("--terminal", "10000008"),
            ("--merchant", "302310148160003"),
            ("--order", "2026112200000015"),
            ("--number", "2026112200000015"),
        ] {
            let joined = format!("{option}={value}");
            assert!(!refuse(&[option, value]), "{option} {value}");
            assert!(!refuse(&[&joined]), "{joined}");
            assert!(refuse(&["--column", value]), "{value} passes Luhn");
            assert!(refuse(&[option, "x", value]), "{value} behind another one");
        }
        for option in OTHER_NUMBERS
            .iter()
            .map(|(option, _)| *option)
            .chain(OWN_NUMBERS)
        {
            for card in ["4111111111111111", "378282246310005", "5555-5555-5555-4444"] {
                assert!(refuse(&[option, card]), "{option} {card}");
                assert!(refuse(&[&format!("{option}={card}")]), "{option}={card}");
            }
        }
    }
}
