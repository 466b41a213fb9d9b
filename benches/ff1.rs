//! FF1 over 16 digits under AES-256: one at a time and in batches, against the crate `fpe`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes::Aes256;
use cardvault::Secret;
use cardvault::ff1::{Ff1, Item};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use fpe::ff1::{FF1, FlexibleNumeralString};

const KEY: [u8; 32] = [0x2b; 32];
const TWEAK: [u8; 8] = *b"merchant";
const DIGITS: usize = 16;

/// Distinct numbers under distinct tweaks.
fn items(ff1: &Ff1, count: u64) -> Vec<Item> {
    let shape = ff1.shape(DIGITS, TWEAK.len()).unwrap();
    (0..count)
        .map(|i| {
            let halves = [i * 7_919 % 100_000_000, i * 104_729 % 100_000_000];
            ff1.item(&shape, &i.to_be_bytes(), halves).unwrap()
        })
        .collect()
}

fn peer() -> (FF1<Aes256>, FlexibleNumeralString) {
    let numerals: Vec<u16> = (0..16).map(|i| i % 10).collect();
    (FF1::new(&KEY, 10).unwrap(), numerals.into())
}

fn bench(c: &mut Criterion) {
    let ff1 = Ff1::new(&Secret::new(KEY));
    let shape = ff1.shape(DIGITS, TWEAK.len()).unwrap();
    let mut group = c.benchmark_group("ff1 16 digits");
    let (fpe, numerals) = peer();
    group.bench_function("fpe", |b| {
        b.iter(|| fpe.encrypt(black_box(&TWEAK), &numerals))
    });
    let mut digits = [4_u8; DIGITS];
    group.bench_function("one, digits", |b| {
        b.iter(|| ff1.encrypt(black_box(&TWEAK), &mut digits));
    });
    let mut item = items(&ff1, 1).remove(0);
    group.bench_function("one, halves", |b| {
        b.iter(|| ff1.encrypt_item(&shape, black_box(&mut item)));
    });
    for count in [8, 64, 256] {
        let mut many = items(&ff1, count);
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("batch", count), |b| {
            b.iter(|| ff1.encrypt_items(&shape, black_box(&mut many)));
        });
    }
    group.finish();
}

/// The shortest of many runs, per number: what the machine can do when it is left alone.
fn shortest(per_run: u32, mut run: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let start = Instant::now();
        for _ in 0..64 {
            run();
        }
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e9 / f64::from(64 * per_run)
}

fn ratios() {
    let ff1 = Ff1::new(&Secret::new(KEY));
    let shape = ff1.shape(DIGITS, TWEAK.len()).unwrap();
    let (fpe, numerals) = peer();
    let mut item = items(&ff1, 1).remove(0);
    let mut many = items(&ff1, 256);
    let peer = shortest(1, || {
        black_box(fpe.encrypt(black_box(&TWEAK), &numerals).is_ok());
    });
    let one = shortest(1, || ff1.encrypt_item(&shape, black_box(&mut item)));
    let batch = shortest(256, || ff1.encrypt_items(&shape, black_box(&mut many)));
    println!("bare FF1, 16 digits, AES-256, nanoseconds a number (shortest run)");
    println!("  fpe 0.7        {peer:8.1}");
    println!(
        "  one at a time  {one:8.1}   {:6.1} times fpe (goal 14)",
        peer / one
    );
    println!(
        "  batch of 256   {batch:8.1}   {:6.1} times fpe (goal 120)",
        peer / batch
    );
}

criterion_group!(benches, bench);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    ratios();
}
