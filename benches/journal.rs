//! Appending and verifying an entry against its cryptography alone, in the same run.
//!
//! The bare work is what an entry cannot do without: one `Aes256Gcm::new` and seal of
//! the same bytes with the header as associated data, one PRK set-up, two HKDF expands, the CRC
//! and one HMAC. Prints the ratios and fails above [`LIMIT`]: `cargo bench --bench journal`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use cardvault::card::{CardRecord, Pan, TruncationFormat};
use cardvault::journal::{
    BATTERY_LEN, BatteryState, Entry, FRAME_MAX_LEN, Journal, MemoryFlash, Position, Reading,
    STATE_LEN, StateStore,
};
use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::{Secret, UnixSeconds};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::Sha256;

/// The most that a call may take, as a multiple of the bare work.
const LIMIT: f64 = 1.3;
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
/// So few that a round mostly fits between two switches to other processes.
const ENTRIES: usize = 200;
const ROUNDS: usize = 1_001;
const PAGES: usize = 32;
/// A sale: kind, amount, STAN, RRN, voucher, batch, ids, codes.
const PAYMENT: [u8; 72] = [0x5a; 72];

/// A state in memory that is overwritten.
struct Plain(Secret<STATE_LEN>);

impl StateStore for Plain {
    type Error = Infallible;

    fn load(&mut self, out: &mut Secret<STATE_LEN>) -> Result<bool, Infallible> {
        out.expose_mut().copy_from_slice(self.0.expose());
        Ok(self.0.expose()[0] != 0)
    }

    fn store(&mut self, state: &Secret<STATE_LEN>) -> Result<(), Infallible> {
        self.0.expose_mut().copy_from_slice(state.expose());
        Ok(())
    }
}

struct Fixture {
    ring: KeyRing,
    domain: Domain,
    record: CardRecord,
    flash: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::from_seed([1; 32]);
        let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
        let period = Cryptoperiod::default_of(KeyUse::Journal);
        let name = ring.add(KeyUse::Journal, period, NOW, &mut rng).unwrap();
        ring.activate(name, NOW).unwrap();
        Self {
            ring,
            domain: "fleet-1".parse().unwrap(),
            record: CardRecord::new(Pan::parse(b"4111111111111111").unwrap()),
            flash: vec![0xFF; PAGES * 4096],
        }
    }

    /// Appends to an empty journal; the time of one entry in nanoseconds, and the upload.
    fn append<S: StateStore>(&mut self, store: S, upload: &mut Vec<u8>) -> f64
    where
        S::Error: core::fmt::Debug,
    {
        let mut rng = ChaCha8Rng::from_seed([2; 32]);
        let base = self.ring.journal_key(&self.domain, NOW).unwrap();
        let key = base.chain_key(b"T0000001", 1).unwrap();
        let flash = MemoryFlash::<8, 4096>::new(&mut self.flash);
        let mut journal = Journal::create(flash, store, key).unwrap();
        let entry = Entry {
            time: NOW,
            payment: &PAYMENT,
            truncated: Some(
                self.record
                    .pan
                    .truncate(TruncationFormat::FIRST_6_LAST_4)
                    .unwrap(),
            ),
            token: b"cvt_0123456789abcdef",
            card: Some(&self.record),
        };
        let begin = Instant::now();
        for _ in 0..ENTRIES {
            journal.append(black_box(&entry), &mut rng).unwrap();
        }
        let time = per_entry(begin.elapsed());
        upload.clear();
        let mut out = [0; FRAME_MAX_LEN];
        let mut sending = journal.upload().unwrap();
        while let Some(len) = sending.next(&mut out).unwrap() {
            upload.extend_from_slice(&out[..len]);
        }
        time
    }

    fn verify(&self, upload: &[u8]) -> f64 {
        let key = self.ring.journal_key_of(&self.domain, 1).unwrap();
        let identity = cardvault::journal::Identity::new(b"T0000001", 1, 1).unwrap();
        let mut reading = Reading::new(&key, &identity, &Position::START, upload).unwrap();
        let mut count = 0;
        let begin = Instant::now();
        while let Some(verified) = reading.next() {
            black_box(verified.unwrap());
            count += 1;
        }
        let time = per_entry(begin.elapsed());
        assert_eq!(count, ENTRIES);
        assert!(reading.outcome().unwrap().clean);
        time
    }
}

/// What one entry cannot do without; `len` is the frame's length.
fn bare(len: usize) -> f64 {
    let aad = vec![0x11; len - 36];
    let whole = vec![0x22; len - 4];
    let mut prk = [7; 32];
    let mut aggregate = [8; 32];
    let tables = crc_tables();
    let nonce = [9; 12];
    let begin = Instant::now();
    for _ in 0..ENTRIES {
        let hkdf = Hkdf::<Sha256>::from_prk(black_box(&prk)).unwrap();
        let mut key = [0; 32];
        hkdf.expand(b"cardvault/1/journal-entry", &mut key).unwrap();
        hkdf.expand(b"cardvault/1/journal-next", &mut prk).unwrap();
        let cipher = Aes256Gcm::new((&key).into());
        let mut text = [3; 16];
        let tag = cipher
            .encrypt_inout_detached((&nonce).into(), black_box(&aad), text.as_mut_slice().into())
            .unwrap();
        black_box(&text);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(&aggregate);
        mac.update(&tag);
        aggregate = mac.finalize().into_bytes().into();
        black_box(crc(&tables, black_box(&whole)));
    }
    black_box(aggregate);
    per_entry(begin.elapsed())
}

fn per_entry(time: Duration) -> f64 {
    time.as_nanos() as f64 / ENTRIES as f64
}

type Tables = [[u32; 256]; 8];

fn crc_tables() -> Tables {
    let mut tables = [[0; 256]; 8];
    for byte in 0..256_u32 {
        let crc = (0..8).fold(byte, |crc, _| (crc >> 1) ^ ((crc & 1) * 0xEDB8_8320));
        tables[0][byte as usize] = crc;
    }
    for n in 1..8 {
        for byte in 0..256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
        }
    }
    tables
}

fn crc(tables: &Tables, bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        let word = (u64::from_le_bytes(*eight) ^ u64::from(crc)).to_be_bytes();
        crc = (0..8).fold(0, |sum, n| sum ^ tables[n][usize::from(word[n])]);
    }
    for byte in rest {
        crc = (crc >> 8) ^ tables[0][usize::from(crc.to_le_bytes()[0] ^ byte)];
    }
    !crc
}

/// The tenth part of the rounds that was disturbed least, by its slowest.
fn quick(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 10]
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut fixture = Fixture::new();
    let mut upload = Vec::new();
    fixture.append(Plain(Secret::zeroed()), &mut upload);
    let len = (upload.len() - 100) / ENTRIES;
    let (mut bares, mut appends, mut batteries, mut verifies) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // Side by side, so that a busy machine slows all of them.
    for _ in 0..ROUNDS {
        bares.push(bare(len));
        appends.push(fixture.append(Plain(Secret::zeroed()), &mut upload));
        let mut battery = [0; BATTERY_LEN];
        batteries.push(fixture.append(BatteryState::new(&mut battery), &mut upload));
        verifies.push(fixture.verify(&upload));
    }
    let bare = quick(bares);
    println!("frames of {len} bytes; bare work {bare:.0} ns an entry");
    let mut failed = false;
    for (name, times, limited) in [
        ("append, state in memory", appends, true),
        ("append, state in battery-backed memory", batteries, false),
        ("verify", verifies, true),
    ] {
        let time = quick(times);
        let ratio = time / bare;
        println!("{name}: {time:.0} ns, {ratio:.2} times the bare work");
        failed |= limited && ratio > LIMIT;
    }
    assert!(!failed, "above {LIMIT}");
}
