//! Sealing and opening a card record against the bare cipher on the same bytes.
//!
//! Both draw their nonces from the system's generator, one by one or 64 at a time. Prints the
//! ratios at the end and fails above [`LIMIT`]: `cargo bench --bench seal --features system-random`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use cardvault::UnixSeconds;
use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyName, KeyRing, KeyUse, RingMark};
use cardvault::seal::{
    Binding, NONCE_BATCH_MAX, NONCE_LEN, NonceSource, Opener, SEALED_RECORD_LEN, Sealer,
};
use criterion::{Criterion, Throughput};
use getrandom::SysRng;
use rand_core::TryRng;
use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aead::{AeadInOut, KeyInit};

/// The most that a call may take, as a multiple of the bare cipher.
const LIMIT: f64 = 1.15;
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const BATCH: usize = NONCE_BATCH_MAX;
/// Version, key id, domain, token, fingerprint and columns with their lengths.
const AAD_LEN: usize = 2 + 17 + 11 + 15 + 33 + 17;

const BINDING: Binding<'static> = Binding {
    token: b"tok_0123456789",
    fingerprint: &[0x5a; 32],
    columns: b"visa 1111 180000",
};

struct Fixture {
    sealer: Sealer,
    opener: Opener,
    bare: Xaes256Gcm,
    aad: [u8; AAD_LEN],
    record: CardRecord,
}

impl Fixture {
    fn new() -> Self {
        let mut rng = SysRng;
        let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
        let period = Cryptoperiod::default_of(KeyUse::Card);
        ring.add(KeyUse::Card, period, NOW, &mut rng).unwrap();
        ring.activate(KeyName::new(KeyUse::Card, 1), NOW).unwrap();
        let domain: Domain = "merchant-7".parse().unwrap();
        let key = ring.card_key(&domain, NOW).unwrap();
        Self {
            sealer: Sealer::new(&key),
            opener: Opener::new(&ring.card_key_of(&domain, 1).unwrap()),
            bare: Xaes256Gcm::new(&[7; 32].into()),
            aad: [3; AAD_LEN],
            record: CardRecord::new(Pan::parse(b"4111111111111111").unwrap()),
        }
    }

    fn bare_seal(&self, nonce: &[u8; NONCE_LEN]) -> ([u8; 16], [u8; 16]) {
        let mut text = *black_box(&[0x41; 16]);
        let tag = self
            .bare
            .encrypt_inout_detached(
                nonce.into(),
                black_box(&self.aad[..]),
                text.as_mut_slice().into(),
            )
            .unwrap();
        (text, tag.into())
    }

    fn seal(&self, nonces: &mut NonceSource<SysRng>, out: &mut [u8; SEALED_RECORD_LEN]) {
        self.sealer
            .seal(black_box(&self.record), &BINDING, NOW, nonces, out)
            .unwrap();
    }
}

fn benches(c: &mut Criterion, fixture: &Fixture) {
    let mut nonces = NonceSource::new(SysRng);
    let mut out = [0; SEALED_RECORD_LEN];
    let mut group = c.benchmark_group("seal one");
    group.bench_function("cardvault", |b| {
        b.iter(|| fixture.seal(&mut nonces, black_box(&mut out)));
    });
    group.bench_function("bare", |b| b.iter(|| bare_one(fixture)));
    group.finish();

    let items = [(&fixture.record, BINDING); BATCH];
    let mut outs = [[0; SEALED_RECORD_LEN]; BATCH];
    let mut group = c.benchmark_group("seal batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("cardvault", |b| {
        b.iter(|| {
            fixture
                .sealer
                .seal_batch(black_box(&items), NOW, &mut nonces, &mut outs)
                .unwrap();
        });
    });
    group.bench_function("bare", |b| b.iter(|| bare_batch(fixture)));
    group.finish();

    let (nonce, text, tag) = sealed_bare(fixture);
    let mut group = c.benchmark_group("open one");
    group.bench_function("cardvault", |b| {
        b.iter(|| fixture.opener.open(black_box(&out), &BINDING).unwrap());
    });
    group.bench_function("bare", |b| {
        b.iter(|| bare_open(fixture, &nonce, &text, &tag))
    });
    group.finish();
}

fn bare_one(fixture: &Fixture) -> ([u8; 16], [u8; 16]) {
    let mut nonce = [0; NONCE_LEN];
    SysRng.try_fill_bytes(&mut nonce).unwrap();
    fixture.bare_seal(&nonce)
}

fn bare_batch(fixture: &Fixture) {
    let mut drawn = [[0; NONCE_LEN]; BATCH];
    SysRng.try_fill_bytes(drawn.as_flattened_mut()).unwrap();
    for nonce in &drawn {
        black_box(fixture.bare_seal(nonce));
    }
}

fn sealed_bare(fixture: &Fixture) -> ([u8; NONCE_LEN], [u8; 16], [u8; 16]) {
    let nonce = [9; NONCE_LEN];
    let (text, tag) = fixture.bare_seal(&nonce);
    (nonce, text, tag)
}

fn bare_open(
    fixture: &Fixture,
    nonce: &[u8; NONCE_LEN],
    text: &[u8; 16],
    tag: &[u8; 16],
) -> [u8; 16] {
    let mut text = *black_box(text);
    fixture
        .bare
        .decrypt_inout_detached(
            black_box(nonce).into(),
            black_box(&fixture.aad[..]),
            text.as_mut_slice().into(),
            tag.into(),
        )
        .unwrap();
    text
}

/// The median ratio of the times of two loops that take turns, so that both see the same machine.
fn ratio(mut ours: impl FnMut(), mut bare: impl FnMut()) -> f64 {
    const ROUNDS: usize = 201;
    const CALLS: usize = 2_000;
    let time = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        start.elapsed().max(Duration::from_nanos(1))
    };
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| time(&mut ours).as_secs_f64() / time(&mut bare).as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ROUNDS / 2).copied().unwrap_or(f64::MAX)
}

fn main() {
    let fixture = Fixture::new();
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion, &fixture);
    criterion.final_summary();

    let mut nonces = NonceSource::new(SysRng);
    let mut out = [0; SEALED_RECORD_LEN];
    let seal = ratio(
        || fixture.seal(&mut nonces, black_box(&mut out)),
        || {
            black_box(bare_one(&fixture));
        },
    );
    let items = [(&fixture.record, BINDING); 8];
    let mut outs = [[0; SEALED_RECORD_LEN]; 8];
    let mut nonces = NonceSource::new(SysRng);
    let batch = ratio(
        || {
            let sealer = &fixture.sealer;
            let sealed = sealer.seal_batch(black_box(&items), NOW, &mut nonces, &mut outs);
            black_box(sealed).unwrap();
        },
        || {
            let mut drawn = [[0; NONCE_LEN]; 8];
            SysRng.try_fill_bytes(drawn.as_flattened_mut()).unwrap();
            for nonce in &drawn {
                black_box(fixture.bare_seal(nonce));
            }
        },
    );
    let (nonce, text, tag) = sealed_bare(&fixture);
    let open = ratio(
        || {
            let opened = fixture.opener.open(black_box(&out), &BINDING);
            black_box(opened).unwrap();
        },
        || {
            black_box(bare_open(&fixture, &nonce, &text, &tag));
        },
    );
    for (name, ratio) in [("seal one", seal), ("seal 8", batch), ("open", open)] {
        println!("{name}: {ratio:.3} times the bare cipher, at most {LIMIT}");
        assert!(
            ratio <= LIMIT,
            "{name} takes {ratio:.3} times the bare cipher"
        );
    }
}
