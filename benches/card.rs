//! Card numbers against the peers that a user could take instead; prints the ratios at the end.
//!
//! `cargo bench --bench card`
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use cardvault::card::{Pan, luhn};
use criterion::{BatchSize, Criterion};

/// How many different numbers are read in turn, so that no branch is learned by heart.
const NUMBERS: usize = 1024;

/// Timed runs of each piece; the fastest counts.
const RUNS: usize = 50;

fn main() {
    let numbers = numbers();
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("Pan::parse and brand", |b| {
        cycle(b, &numbers, parse);
    });
    criterion.bench_function("card-validate", |b| {
        cycle(b, &numbers, validate);
    });
    criterion.bench_function("luhn::passes", |b| {
        cycle(b, &numbers, |number| luhn::passes(number));
    });
    criterion.bench_function("luhn3::decimal::valid", |b| {
        cycle(b, &numbers, |number| luhn3::decimal::valid(number));
    });
    criterion.final_summary();

    let ours = fastest(&numbers, parse);
    let peer = fastest(&numbers, validate);
    println!(
        "ratio: Pan::parse with brand is {:.1} times card-validate (at least 10)",
        peer / ours
    );
    let ours = fastest(&numbers, |number| luhn::passes(number));
    let peer = fastest(&numbers, |number| luhn3::decimal::valid(number));
    println!(
        "ratio: luhn::passes is {:.2} times luhn3::decimal::valid (at least 1)",
        peer / ours
    );
}

fn parse(number: &[u8; 16]) -> bool {
    Pan::parse(number).is_ok_and(|pan| {
        black_box(pan.brand());
        true
    })
}

fn validate(number: &[u8; 16]) -> bool {
    let text = core::str::from_utf8(number).unwrap();
    card_validate::Validate::from(text).is_ok()
}

fn cycle<T>(b: &mut criterion::Bencher<'_>, numbers: &[[u8; 16]], work: impl Fn(&[u8; 16]) -> T) {
    let mut next = numbers.iter().cycle();
    b.iter_batched(
        || next.next().unwrap(),
        |number| work(black_box(number)),
        BatchSize::SmallInput,
    );
}

/// Nanoseconds for one number, in the fastest run.
fn fastest<T>(numbers: &[[u8; 16]], work: impl Fn(&[u8; 16]) -> T) -> f64 {
    let run = || {
        let start = Instant::now();
        for number in numbers {
            black_box(work(black_box(number)));
        }
        start.elapsed()
    };
    let best = (0..RUNS).map(|_| run()).min().unwrap_or(Duration::MAX);
    best.as_secs_f64() * 1e9 / numbers.len() as f64
}

/// Visa and Mastercard numbers that pass, by a fixed sequence.
fn numbers() -> Vec<[u8; 16]> {
    let mut state = 7_u64;
    (0..NUMBERS)
        .map(|n| {
            let mut number = [b'0'; 16];
            for digit in &mut number {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *digit = b'0' + u8::try_from((state >> 33) % 10).unwrap();
            }
            if n % 2 == 0 {
                number[0] = b'4';
            } else {
                number[..2].copy_from_slice(b"53");
            }
            number[15] = b'0' + luhn::check_digit(&number[..15]).unwrap();
            assert!(
                parse(&number) && validate(&number),
                "both take the same numbers"
            );
            number
        })
        .collect()
}
