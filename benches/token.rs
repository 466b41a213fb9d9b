//! Vaultless tokens from the text of card numbers, distinct cards and tweaks, against bare FF1 of
//! the crate `fpe`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes::Aes256;
use cardvault::UnixSeconds;
use cardvault::card::{Pan, luhn};
use cardvault::keys::{Cryptoperiod, KeyRing, KeyUse, RingMark};
use cardvault::token::{Irreversible, KeepFirst, KeepLast, Token, Vaultless, VaultlessFormat};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use fpe::ff1::{FF1, FlexibleNumeralString};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const BATCH: u64 = 256;

fn ring() -> KeyRing {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for usage in [KeyUse::Vaultless, KeyUse::Irreversible] {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, NOW, &mut rng).unwrap();
        ring.activate(name, NOW).unwrap();
    }
    ring
}

/// The last four are kept and differ, and with them the tweaks.
fn vaultless() -> Vaultless {
    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).unwrap();
    let key = ring().vaultless_key(&"shop".parse().unwrap(), NOW).unwrap();
    Vaultless::new(format, &key)
}

fn cards(count: u64) -> Vec<String> {
    (0..count)
        .map(|i| {
            let payload = format!("4{:014}", i * 6_700_417_987 % 100_000_000_000_000);
            let check = luhn::check_digit(payload.as_bytes()).unwrap();
            format!("{payload}{check}")
        })
        .collect()
}

fn tokenize_all(
    maker: &Vaultless,
    cards: &[String],
    pans: &mut Vec<Pan>,
    tokens: &mut [Option<Token>],
) {
    pans.clear();
    pans.extend(
        cards
            .iter()
            .map(|card| Pan::parse(card.as_bytes()).unwrap()),
    );
    maker.tokenize_batch(pans, |at, token| tokens[at] = token.ok());
}

/// `fpe` over as many digits as it is asked for, with a tweak as long as ours.
fn peer(digits: u16) -> impl FnMut() {
    let fpe = FF1::<Aes256>::new(&[7; 32], 10).unwrap();
    let numerals = FlexibleNumeralString::from((0..digits).map(|i| i % 10).collect::<Vec<u16>>());
    move || {
        black_box(fpe.encrypt(black_box(b"nine byte"), &numerals).is_ok());
    }
}

fn bench(c: &mut Criterion) {
    let maker = vaultless();
    let mut group = c.benchmark_group("vaultless token of 16 digits");
    group.bench_function("fpe, 16 digits", |b| b.iter(peer(16)));
    let cards = cards(BATCH);
    let mut turn = cards.iter().cycle();
    group.bench_function("parse and tokenize one", |b| {
        b.iter(|| {
            let pan = Pan::parse(turn.next().unwrap().as_bytes()).unwrap();
            maker.tokenize(&pan)
        });
    });
    let mut pans = Vec::new();
    let mut tokens = vec![None; cards.len()];
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function(BenchmarkId::new("parse and tokenize", BATCH), |b| {
        b.iter(|| tokenize_all(&maker, &cards, &mut pans, &mut tokens));
    });
    tokenize_all(&maker, &cards, &mut pans, &mut tokens);
    let made: Vec<Token> = tokens.iter().copied().map(Option::unwrap).collect();
    group.bench_function(BenchmarkId::new("open", BATCH), |b| {
        b.iter(|| maker.open_batch(&made, |_, candidate| drop(black_box(candidate))));
    });
    group.finish();

    let key = ring()
        .irreversible_key(&"shop".parse().unwrap(), NOW)
        .unwrap();
    let hash = Irreversible::new(&key);
    c.bench_function("irreversible token", |b| {
        b.iter(|| hash.tokenize(black_box(&pans[0])))
    });
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    c.bench_function("opaque token", |b| b.iter(|| Token::opaque(&mut rng)));
    let text = Token::opaque(&mut rng).unwrap().text();
    c.bench_function("opaque token, parse", |b| {
        b.iter(|| Token::parse(black_box(text.as_str())))
    });
}

/// The shortest of many runs, per number: what the machine can do when it is left alone. A run is
/// short, so that some are not interrupted.
fn shortest(per_call: u32, mut call: impl FnMut()) -> f64 {
    let calls = if per_call == 1 { 32 } else { 4 };
    let mut best = Duration::MAX;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e9 / f64::from(calls * per_call)
}

fn ratios() {
    let maker = vaultless();
    let cards = cards(BATCH);
    let mut pans = Vec::new();
    let mut tokens = vec![None; cards.len()];
    let peer_16 = shortest(1, peer(16));
    let peer_11 = shortest(1, peer(11));
    let mut turn = cards.iter().cycle();
    let one = shortest(1, || {
        let pan = Pan::parse(turn.next().unwrap().as_bytes()).unwrap();
        black_box(maker.tokenize(&pan).is_ok());
    });
    let batch = shortest(256, || tokenize_all(&maker, &cards, &mut pans, &mut tokens));
    println!("vaultless token from the text of 16 digits, ns a number (shortest run)");
    println!("  fpe 0.7, 16 digits  {peer_16:8.1}   what the goals are stated against");
    println!("  fpe 0.7, 11 digits  {peer_11:8.1}   as many as are encrypted here");
    for (name, time, goal) in [("one at a time", one, 12.0), ("batch of 256", batch, 80.0)] {
        let (to_16, to_11) = (peer_16 / time, peer_11 / time);
        let verdict = if to_16 >= goal { "reached" } else { "MISSED" };
        println!(
            "  {name:<18}  {time:8.1}   {to_16:6.1} times fpe at 16 digits, {to_11:.1} at 11 \
             (goal {goal} at 16: {verdict})"
        );
    }
}

criterion_group!(benches, bench);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    ratios();
}
