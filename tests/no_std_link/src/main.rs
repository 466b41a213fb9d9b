//! Links the core into a program without the standard library, without an allocator and with a
//! panic handler of its own, as firmware does, and runs it: the exit code is the first step that
//! gave a wrong result.
#![no_std]
#![no_main]

use core::ffi::{c_char, c_int};
use core::panic::PanicInfo;

use cardvault::card::{Brand, CardData, CardRecord, Expiry, Pan, TruncationFormat, luhn};
use cardvault::ff1::Ff1;
use cardvault::fingerprint::{FingerprintVerifier, Fingerprinter};
use cardvault::keys::{Component, Cryptoperiod, Domain, Kek, KeyRing, KeyUse, RingMark};
use cardvault::seal::{
    Binding, MAX_SEALED_RING, NonceSource, Opener, SEALED_RECORD_LEN, Sealer, open_ring_with_kek,
    seal_ring_with_kek,
};
use cardvault::token::{
    Irreversible, KeepFirst, KeepLast, Token, VaultedFormat, Vaultless, VaultlessFormat,
};
use cardvault::{Secret, UnixSeconds};
use rand_core::{TryCryptoRng, TryRng};
use subtle::ConstantTimeEq;

// memcpy and its kin, and the start of the program.
#[link(name = "c")]
unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe { abort() }
}

/// Named by core, which was compiled for unwinding; never called.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    unsafe { abort() }
}

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// Counts. A device hands in its hardware's generator.
struct Counter(u8);

impl TryRng for Counter {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        for byte in to {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

impl TryCryptoRng for Counter {}

#[unsafe(no_mangle)]
extern "C" fn main(arguments: c_int, _: *const *const c_char) -> c_int {
    // What depends on the call is not computed by the compiler.
    let steps: [fn(u8) -> Option<()>; 6] = [numbers, readers, records, ff1, keys, tokens];
    for (number, step) in (1..).zip(steps) {
        if step(arguments as u8).is_none() {
            return number;
        }
    }
    0
}

fn numbers(one: u8) -> Option<()> {
    let mut input = *b"4111 1111 1111 1110";
    *input.last_mut()? += one;
    let pan = Pan::parse(&input).ok()?;
    let mask = pan.mask();
    (mask.as_str() == "411111******1111" && pan.brand() == Brand::Visa).then_some(())?;
    let stored = pan.truncate(TruncationFormat::FIRST_8_LAST_4).ok()?;
    (stored.as_str() == "41111111****1111").then_some(())?;
    pan.expose(luhn_of).then_some(())?;
    Pan::parse(&[b'4'; 16]).is_err().then_some(())
}

fn luhn_of(digits: &str) -> bool {
    luhn::passes(digits.as_bytes())
}

fn readers(_: u8) -> Option<()> {
    let card = CardData::from_track2(b";4111111111111111=30121011234567890?", &[]).ok()?;
    (card.expiry == Expiry::new(30, 12).ok()).then_some(())?;
    let track1 = b"%B4111111111111111^DOE/JANE^30121011234567890?";
    CardData::from_track1(track1, &[]).ok()?;
    let emv = b"\x70\x0a\x5a\x08\x41\x11\x11\x11\x11\x11\x11\x11";
    let other = CardData::from_emv(emv, &Brand::LUHN_EXEMPT).ok()?;
    bool::from(other.pan.ct_eq(&card.pan)).then_some(())
}

fn records(_: u8) -> Option<()> {
    let record = CardRecord::new(Pan::parse(b"378282246310005").ok()?);
    let back = CardRecord::from_bytes(&record.to_bytes()).ok()?;
    bool::from(back.ct_eq(&record)).then_some(())
}

fn ff1(one: u8) -> Option<()> {
    let ff1 = Ff1::new(&Secret::new([one; 32]));
    let clear = [4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    let mut digits = clear;
    ff1.encrypt(b"tweak", &mut digits).ok()?;
    (digits != clear).then_some(())?;
    ff1.decrypt(b"tweak", &mut digits).ok()?;
    (digits == clear).then_some(())
}

/// A ring with one active version of each use.
fn ring(rng: &mut Counter) -> Option<KeyRing> {
    let mut ring = KeyRing::new(RingMark::Production, rng).ok()?;
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, NOW, rng).ok()?;
        ring.activate(name, NOW).ok()?;
    }
    Some(ring)
}

fn keys(one: u8) -> Option<()> {
    let mut rng = Counter(one);
    let components = [
        Component::random(&mut rng).ok()?,
        Component::random(&mut rng).ok()?,
    ];
    let kek = Kek::combine(&components, None).ok()?;
    let mut stored = [0; MAX_SEALED_RING];
    let len = seal_ring_with_kek(&ring(&mut rng)?, &kek, &mut rng, &mut stored).ok()?;
    let mut ring = open_ring_with_kek(stored.get(..len)?, &kek).ok()?;

    let domain = Domain::new(b"terminal-1").ok()?;
    let key = ring.card_key(&domain, NOW).ok()?;
    let record = CardRecord::new(Pan::parse(b"4111111111111111").ok()?);
    let binding = Binding::default();
    let mut sealed = [0; SEALED_RECORD_LEN];
    let mut nonces = NonceSource::new(&mut rng);
    Sealer::new(&key)
        .seal(&record, &binding, NOW, &mut nonces, &mut sealed)
        .ok()?;
    let opener = Opener::new(&ring.card_key_for(&domain, key.id()).ok()?);
    let opened = opener.open(&sealed, &binding).ok()?;
    bool::from(opened.ct_eq(&record)).then_some(())?;
    *sealed.last_mut()? ^= 1;
    opener.open(&sealed, &binding).is_err().then_some(())?;
    ring.deactivate(key.name(), NOW).ok()?;
    ring.card_key(&domain, NOW).is_err().then_some(())
}

fn tokens(one: u8) -> Option<()> {
    let mut rng = Counter(one);
    let ring = ring(&mut rng)?;
    let domain = Domain::new(b"terminal-1").ok()?;
    let pan = Pan::parse(b"4111111111111111").ok()?;

    let fingerprinter = Fingerprinter::new(&ring.fingerprint_key(&domain, 1).ok()?);
    let found = fingerprinter.fingerprint(&pan);
    bool::from(found.ct_eq(&fingerprinter.fingerprint(&pan))).then_some(())?;
    if let Ok(key) = ring.retired_fingerprint_key(&domain, 1) {
        let _ = FingerprintVerifier::new(&key).matches(&pan, &found);
    }

    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).ok()?;
    let vaultless = Vaultless::new(format, &ring.vaultless_key(&domain, NOW).ok()?);
    let token = vaultless.tokenize(&pan).ok()?;
    let candidate = vaultless.open(&token).ok()?;
    candidate.confirm(|opened| opened.ct_eq(&pan).into())?;
    let text = token.text();
    (Token::parse(text.as_str()).ok()? == token).then_some(())?;

    let key = ring.irreversible_key(&domain, NOW).ok()?;
    Irreversible::new(&key).tokenize(&pan).ok()?;
    Token::opaque(&mut rng).ok()?;
    let format = VaultedFormat::new(KeepFirst::Six, KeepLast::Four, 16).ok()?;
    Token::card_shaped_for(&pan, &format, &mut rng).ok()?;
    Some(())
}
