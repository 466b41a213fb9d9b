//! Runs the core under Valgrind with the secrets marked as undefined memory: memcheck reports
//! each branch and each address that depends on one.
//!
//! What is secret of a card number are the digits between the IIN and the last four. Of each only
//! the three low bits are marked, so that the number is known to consist of digits (0 to 7) while
//! nothing is known of which: checks of the form cost no report, use of the value does.
//!
//! A function that accepts or refuses by the Luhn check has that one branch by its nature, and a
//! reader that looks at each byte asks of each whether it is a digit, a range check in which
//! memcheck cannot tell bits apart. Such cases name how many *decisions* they may make.
//! Everything else must make none. Leaky twins at the end must be reported, else the harness sees
//! nothing and fails.
//!
//! Run by `valgrind --expensive-definedness-checks=yes`, which follows carries bit by bit.

use std::ffi::c_void;
use std::hint::black_box;
use std::process::ExitCode;

use cardvault::card::{CardData, CardRecord, MaskBin, Pan, TruncationFormat, luhn};
use cardvault::ff1::Ff1;
use cardvault::fingerprint::Fingerprinter;
use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::seal::{Binding, NonceSource, Opener, SEALED_RECORD_LEN, Sealer};
use cardvault::token::{KeepFirst, KeepLast, Vaultless, VaultlessFormat};
use cardvault::{Secret, UnixSeconds};
use crabgrind::memcheck::{self, MemState};
use crabgrind::valgrind;
use rand_core::{TryCryptoRng, TryRng};
use subtle::ConstantTimeEq;

/// Digits 0 to 7 only, with lengths that take each way through the readers.
const NUMBERS: [&str; 5] = [
    "4111111111111111",
    "371111111111114",
    "30123400000000",
    "6304000000000000",
    "5000000000000000005",
];

fn main() -> ExitCode {
    if !valgrind::running_mode().is_valgrind() {
        eprintln!("this program proves nothing unless Valgrind runs it");
        return ExitCode::FAILURE;
    }
    let mut report = Report::default();
    for number in NUMBERS {
        card(&mut report, number);
    }
    ff1(&mut report);
    keys(&mut report);
    twins(&mut report);
    // The line that test readers look for.
    println!("{} passed, {} failed", report.passed, report.failed);
    if report.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Default)]
struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Runs `work`, which may make at most `decisions` branches on secrets.
    fn case<T>(&mut self, name: &str, decisions: usize, work: impl FnOnce() -> T) -> T {
        let (found, result) = reports(work);
        self.verdict(found <= decisions, name, found);
        result
    }

    /// Runs `work`, which leaks by design: it must be reported.
    fn leak<T>(&mut self, name: &str, work: impl FnOnce() -> T) {
        let (found, result) = reports(work);
        black_box(result);
        self.verdict(found > 0, name, found);
    }

    /// Fails unless nothing of `bytes` depends on a secret.
    fn public(&mut self, name: &str, bytes: &[u8]) {
        let clean = memcheck::check_mem_defined(address(bytes), bytes.len()).is_ok();
        self.verdict(clean, name, 0);
    }

    fn verdict(&mut self, good: bool, name: &str, found: usize) {
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("FAILED {name}: {found} branches or addresses depend on a secret");
        }
    }
}

fn reports<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = valgrind::count_errors();
    let result = black_box(work());
    (valgrind::count_errors() - before, result)
}

fn address(bytes: &[u8]) -> *const c_void {
    bytes.as_ptr().cast()
}

fn make_secret(bytes: &[u8]) {
    memcheck::mark_memory(address(bytes), bytes.len(), MemState::Undefined).unwrap();
}

/// The low three bits of each byte.
fn make_secret_digits(digits: &[u8]) {
    assert!(digits.iter().all(|digit| digit & 0xf < 8));
    memcheck::set_vbits(address(digits), &vec![0x07; digits.len()]).unwrap();
}

/// Ends the secrecy of a result that the caller may see.
fn declassify<T>(value: T) -> T {
    let value = black_box(value);
    let start = (&raw const value).cast();
    memcheck::mark_memory(start, size_of::<T>(), MemState::Defined).unwrap();
    black_box(value)
}

/// The digits between the IIN and the last four.
fn middle(len: usize) -> std::ops::Range<usize> {
    8..len - 4
}

/// ASCII whose middle digits are secret.
fn secret_ascii(number: &str) -> Vec<u8> {
    let ascii = number.as_bytes().to_vec();
    make_secret_digits(&ascii[middle(number.len())]);
    black_box(ascii)
}

fn secret_pan(number: &str) -> Pan {
    let ascii = secret_ascii(number);
    // The decision is made here and not counted.
    let _quiet = valgrind::disable_reporting();
    Pan::parse(&ascii).unwrap()
}

fn card(report: &mut Report, number: &str) {
    let ascii = secret_ascii(number);
    report.case("luhn::passes", 1, || declassify(luhn::passes(&ascii)));
    report.case("luhn::check_digit", 0, || {
        luhn::check_digit(&ascii[..ascii.len() - 1])
    });
    report.case("Pan::parse", 1, || Pan::parse(&ascii).unwrap());
    report.case("Pan::parse_exempting", 1, || {
        Pan::parse_exempting(&ascii, &[]).unwrap()
    });

    // Spaces in front of the secret part, behind it and inside it.
    let mut spaced = Vec::new();
    for (place, digit) in number.bytes().enumerate() {
        if place > 0 && place % 4 == 0 {
            spaced.push(b' ');
        }
        spaced.push(digit);
        if middle(number.len()).contains(&place) {
            make_secret_digits(&spaced[spaced.len() - 1..]);
        }
    }
    let spaced = black_box(spaced);
    let hidden = middle(number.len());
    report.case("Pan::parse with spaces", 1 + hidden.len(), || {
        Pan::parse(&spaced).unwrap()
    });

    let mut track = format!(";{number}=30121011234567890?").into_bytes();
    make_secret_digits(&track[hidden.start + 1..=hidden.end]);
    track = black_box(track);
    // The alphabet, and the end of the number.
    report.case("CardData::from_track2", 1 + 2 * hidden.len(), || {
        CardData::from_track2(&track, &[]).unwrap()
    });

    let pan = secret_pan(number);
    let same = secret_pan(number);
    report.case("Pan == Pan", 0, || declassify(pan.ct_eq(&same).unwrap_u8()));
    report.case("Pan::clone", 0, || pan.clone());
    report.case("Pan::passes_luhn", 0, || declassify(pan.passes_luhn()));
    report.case("Pan::brand", 0, || pan.brand());
    report.case("Pan::expose", 0, || {
        pan.expose(|digits| black_box(digits).len())
    });
    for bin in [MaskBin::Hidden, MaskBin::Six, MaskBin::Eight] {
        let mask = report.case("Pan::mask", 0, || pan.mask_with(bin));
        report.public("a mask", mask.as_str().as_bytes());
    }
    let format = TruncationFormat::FIRST_6_LAST_4;
    let stored = report.case("Pan::truncate", 0, || pan.truncate(format).unwrap());
    report.public("a truncated number", stored.as_str().as_bytes());

    let record = CardRecord::new(pan.clone());
    let bytes = report.case("CardRecord::to_bytes", 0, || record.to_bytes());
    // That the nibbles are digits and that the flags fit the number.
    report.case("CardRecord::from_bytes", 2, || {
        CardRecord::from_bytes(&bytes).unwrap()
    });
    report.case("CardRecord == CardRecord", 0, || {
        declassify(record.ct_eq(&record).unwrap_u8())
    });
}

fn secret_key() -> Secret<32> {
    let key = Secret::new(std::array::from_fn(|at| at as u8 ^ 0x5a));
    make_secret(key.expose());
    key
}

fn ff1(report: &mut Report) {
    let key = secret_key();
    let ff1 = report.case("Ff1::new", 0, || Ff1::new(&key));
    for len in 6..=19 {
        for tweak in [0, 7, 11, 40] {
            let tweak = vec![3; tweak];
            make_secret(&tweak);
            let mut digits: Vec<u8> = (0..len).map(|at| at % 8).collect();
            make_secret_digits(&digits);
            // That both halves are in range is a decision.
            report.case("Ff1::encrypt", 1, || {
                ff1.encrypt(&tweak, &mut digits).unwrap()
            });
            declassify_slice(&digits);
            digits.iter_mut().for_each(|digit| *digit %= 8);
            make_secret_digits(&digits);
            report.case("Ff1::decrypt", 1, || {
                ff1.decrypt(&tweak, &mut digits).unwrap()
            });
        }
    }
    let shape = ff1.shape(16, 11).unwrap();
    let halves = [12_345_678, 7_654_321];
    let mut items: Vec<_> = (0..70_u8)
        .map(|n| ff1.item(&shape, &[n; 11], halves).unwrap())
        .collect();
    report.case("Ff1::encrypt_items", 0, || {
        ff1.encrypt_items(&shape, &mut items)
    });
    report.case("Ff1::decrypt_items", 0, || {
        ff1.decrypt_items(&shape, &mut items)
    });
}

fn declassify_slice(bytes: &[u8]) {
    memcheck::mark_memory(address(bytes), bytes.len(), MemState::Defined).unwrap();
}

/// A generator whose every byte is secret: the roots of the ring come from it.
struct SecretRng(u8);

impl TryRng for SecretRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(7)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(7)
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        for byte in to.iter_mut() {
            self.0 = self.0.wrapping_mul(5).wrapping_add(3);
            *byte = self.0;
        }
        make_secret(to);
        Ok(())
    }
}

impl TryCryptoRng for SecretRng {}

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// A ring with secret roots. That no root is zero or comes twice are decisions, not counted here.
fn secret_ring() -> KeyRing {
    let _quiet = valgrind::disable_reporting();
    let mut ring = KeyRing::new(RingMark::Production, &mut SecretRng(1)).unwrap();
    for (seed, usage) in (2..).zip(KeyUse::ALL) {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, NOW, &mut SecretRng(seed)).unwrap();
        ring.activate(name, NOW).unwrap();
    }
    ring
}

fn keys(report: &mut Report) {
    let key = secret_key();
    let other = secret_key();
    report.case("Secret == Secret", 0, || {
        declassify(key.ct_eq(&other).unwrap_u8())
    });

    let ring = secret_ring();
    let domain = Domain::new(b"merchant-7").unwrap();
    let pan = secret_pan("4111111111111111");
    let key = report.case("KeyRing::card_key", 0, || {
        ring.card_key(&domain, NOW).unwrap()
    });
    // The id is public.
    declassify_slice(key.id().as_bytes());
    let sealer = report.case("Sealer::new", 0, || Sealer::new(&key));
    let record = CardRecord::new(pan.clone());
    let binding = Binding::default();
    let mut nonces = NonceSource::new(PublicRng);
    let mut sealed = [0; SEALED_RECORD_LEN];
    report.case("Sealer::seal", 0, || {
        sealer
            .seal(&record, &binding, NOW, &mut nonces, &mut sealed)
            .unwrap();
    });
    declassify_slice(&sealed);
    let key = {
        let _quiet = valgrind::disable_reporting();
        ring.card_key_of(&domain, 1).unwrap()
    };
    declassify_slice(key.id().as_bytes());
    let opener = report.case("Opener::new", 0, || Opener::new(&key));
    report.case("Opener::open", OPEN_DECISIONS, || {
        opener.open(&sealed, &binding).unwrap()
    });

    let key = report.case("KeyRing::fingerprint_key", 0, || {
        ring.fingerprint_key(&domain, 1).unwrap()
    });
    let fingerprinter = report.case("Fingerprinter::new", 0, || Fingerprinter::new(&key));
    let one = report.case("Fingerprinter::fingerprint", 0, || {
        fingerprinter.fingerprint(&pan)
    });
    let other = fingerprinter.fingerprint(&pan);
    report.case("Fingerprint == Fingerprint", 0, || {
        declassify(one.ct_eq(&other).unwrap_u8())
    });

    let key = ring.vaultless_key(&domain, NOW).unwrap();
    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).unwrap();
    let vaultless = report.case("Vaultless::new", 0, || Vaultless::new(format, &key));
    let token = report.case("Vaultless::tokenize", TOKENIZE_DECISIONS, || {
        vaultless.tokenize(&pan).unwrap()
    });
    let token = declassify(token);
    report.case("Vaultless::open", 0, || vaultless.open(&token).unwrap());
    let mut tokens = Vec::new();
    let pans = vec![pan; 70];
    report.case("Vaultless::tokenize_batch", 70 * TOKENIZE_DECISIONS, || {
        vaultless.tokenize_batch(&pans, |_, token| tokens.push(token.unwrap()));
    });
}

/// That the tag fits, twice as it is handed up, and the form of the record.
const OPEN_DECISIONS: usize = 9;
/// That the number passes Luhn, that its halves are in range, that the token does not pass Luhn,
/// and the unwrapping here.
const TOKENIZE_DECISIONS: usize = 4;

/// Counts: nonces are public.
struct PublicRng;

impl TryRng for PublicRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(7)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(7)
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        for (byte, value) in to.iter_mut().zip(1..) {
            *byte = value;
        }
        Ok(())
    }
}

impl TryCryptoRng for PublicRng {}

/// What an ordinary program does. Each must be reported.
fn twins(report: &mut Report) {
    let ascii = secret_ascii("4111111111111111");
    report.leak("a Luhn check that branches", || {
        let mut sum = 0;
        for (place, byte) in ascii.iter().rev().enumerate() {
            let mut digit = u32::from(byte - b'0');
            if place % 2 == 1 {
                digit *= 2;
                if black_box(digit) > 9 {
                    digit -= 9;
                    black_box(&digit);
                }
            }
            sum += digit;
        }
        declassify(sum % 10 == 0)
    });
    report.leak("a Luhn check by table", || {
        const DOUBLED: [u8; 10] = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
        let table = black_box(DOUBLED);
        let doubled = ascii.iter().rev().skip(1).step_by(2);
        let sum: u32 = doubled
            .map(|byte| u32::from(table[usize::from(byte & 7)]))
            .sum();
        declassify(sum)
    });
    let one = secret_ascii("4111111111111111");
    let other = secret_ascii("4111111111111111");
    report.leak("a comparison that stops early", || {
        declassify(one.iter().zip(&other).all(|(a, b)| black_box(*a) == *b))
    });
    let pan = secret_pan("4111111111111111");
    report.leak("a branch on a digit of a card number", || {
        pan.expose(|digits| black_box(digits.as_bytes()[9]) == b'1' && black_box(true))
    });
    let key = secret_key();
    report.leak("a table indexed by a key byte", || {
        let table: [u8; 256] = black_box(std::array::from_fn(|at| at as u8));
        table[usize::from(key.expose()[3])]
    });
    // What must be public and is not is seen too.
    let clean = memcheck::check_mem_defined(address(&ascii), ascii.len()).is_ok();
    report.verdict(!clean, "the watch over results", 0);
}
