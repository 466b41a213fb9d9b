//! Nothing that can be printed or serialized holds a clear card number or key bytes.
//!
//! Every public type is listed here with how it is held to that: the last test reads the sources
//! and fails for a type that is not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic
)]

mod common;

use std::error::Error;
use std::fmt::{Debug, Display};

use cardvault::card::{
    Brand, BrandTable, CardData, CardRecord, Expiry, IinRange, MaskBin, Pan, PanSequence,
    SensitiveData, ServiceCode, TruncatedPan, TruncationFormat,
};
use cardvault::ff1::Ff1;
use cardvault::fingerprint::Fingerprinter;
use cardvault::keys::{Component, Cryptoperiod, Domain, Kek, KeyName, KeyRing, KeyUse, RingMark};
use cardvault::seal::{
    Binding, MAX_SEALED_RING, NonceSource, Opener, RingHeader, SEALED_RECORD_LEN, Sealer,
    open_ring_with_kek, seal_ring_with_kek,
};
use cardvault::token::{
    Irreversible, KeepFirst, KeepLast, Token, VaultedFormat, Vaultless, VaultlessFormat,
};
use cardvault::{CodecError, RandomError, Secret, UnixSeconds};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// The longest run of a number's digits that may be seen: masks and truncations show up to eight.
const WINDOW: usize = 7;
const SHOWN_BY_RULE: usize = 8;

const DIGITS: &str = "4539148803436467";

/// What must not be found: a number in every form that a careless print gives it.
struct Forbidden(Vec<String>);

impl Forbidden {
    fn number(digits: &str) -> Self {
        let mut forms = Vec::new();
        for part in digits.as_bytes().windows(WINDOW) {
            let text = String::from_utf8(part.to_vec()).unwrap();
            let values: Vec<_> = part.iter().map(|byte| byte - b'0').collect();
            forms.push(text.chars().rev().collect());
            forms.push(list(part));
            forms.push(list(&values));
            forms.push(hex(part));
            forms.push(format!("{values:x?}").trim_matches(['[', ']']).to_owned());
            forms.push(text);
        }
        // Machine words of eight digit values, as a derived `Debug` would print them.
        for part in digits.as_bytes().windows(8) {
            let values: [u8; 8] = std::array::from_fn(|at| part[at] - b'0');
            forms.push(u64::from_le_bytes(values).to_string());
            forms.push(u64::from_be_bytes(values).to_string());
        }
        Self(forms)
    }

    fn key(bytes: &[u8]) -> Self {
        let mut forms = Vec::new();
        for part in bytes.windows(4) {
            forms.push(hex(part));
            forms.push(list(part));
            forms.push(format!("{part:x?}").trim_matches(['[', ']']).to_owned());
            let word: [u8; 4] = part.try_into().unwrap();
            forms.push(u32::from_le_bytes(word).to_string());
            forms.push(u32::from_be_bytes(word).to_string());
        }
        Self(forms)
    }

    fn in_text(&self, text: &str) -> Option<&str> {
        let lower = text.to_lowercase();
        // Separators between digits hide nothing.
        let joined: String = lower
            .chars()
            .filter(|c| !" -_.,\n\t".contains(*c))
            .collect();
        let spaced = lower.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0
            .iter()
            .find(|form| {
                [&lower, &joined, &spaced]
                    .iter()
                    .any(|text| text.contains(*form))
            })
            .map(String::as_str)
    }

    fn check(&self, what: &str, text: &str) {
        if let Some(form) = self.in_text(text) {
            panic!("{what} shows {form}: {text}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list(bytes: &[u8]) -> String {
    let list: Vec<_> = bytes.iter().map(u8::to_string).collect();
    list.join(", ")
}

/// Every way to print a value that can be printed.
fn debug_of(value: &impl Debug) -> String {
    format!("{value:?}\n{value:#?}\n{value:x?}")
}

/// Every way to print an error, with its causes.
fn error_of(error: &(impl Error + 'static)) -> String {
    let mut text = format!("{error}\n{}", debug_of(&error));
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("\n{error}\n{error:?}");
        cause = error.source();
    }
    text
}

#[test]
fn the_test_finds_what_it_looks_for() {
    let number = Forbidden::number(DIGITS);
    let ascii = DIGITS.as_bytes();
    let values: Vec<_> = ascii.iter().map(|byte| byte - b'0').collect();
    let word = u64::from_le_bytes(values[..8].try_into().unwrap());
    for text in [
        DIGITS.to_owned(),
        format!("card {} is bad", &DIGITS[3..10]),
        "4539 1488 0343 6467".to_owned(),
        "4539-1488-0343-6467".to_owned(),
        DIGITS.chars().rev().collect(),
        format!("{ascii:?}"),
        format!("{ascii:#?}"),
        format!("{values:?}"),
        format!("{values:#?}"),
        format!("{ascii:x?}").replace(", ", ""),
        format!("{word:?}"),
    ] {
        assert!(number.in_text(&text).is_some(), "missed: {text}");
    }
    assert_eq!(number.in_text("453914******6467"), None);
    let bytes: [u8; 32] = std::array::from_fn(|at| 200 - u8::try_from(at).unwrap());
    let key = Forbidden::key(&bytes);
    for text in [
        format!("{bytes:?}"),
        format!("{bytes:02x?}"),
        hex(&bytes).to_uppercase(),
    ] {
        assert!(key.in_text(&text).is_some(), "missed: {text}");
    }
}

#[test]
fn card_values_show_nothing() {
    let number = Forbidden::number(DIGITS);
    let pan = common::pan(DIGITS);
    number.check("Pan", &debug_of(&pan));
    assert_eq!(format!("{pan:?}"), "Pan(..)");
    number.check("Result<Pan>", &debug_of(&Pan::parse(DIGITS.as_bytes())));
    let data = CardData {
        pan: pan.clone(),
        expiry: Some(Expiry::new(30, 12).unwrap()),
        sequence: PanSequence::new(7),
        service_code: ServiceCode::new(101),
    };
    number.check("CardData", &debug_of(&data));
    let record = data.into_record();
    number.check("CardRecord", &debug_of(&record));
    number.check("the record's bytes", &debug_of(&record.to_bytes()));
    let track = format!(";{DIGITS}=30121011234567890?");
    let held = SensitiveData::new(track.as_bytes()).unwrap();
    number.check("SensitiveData", &debug_of(&held));
    for value in [
        debug_of(&pan.brand()),
        debug_of(&BrandTable::default()),
        debug_of(&IinRange::new(4539, 4539, 4, &[16], Brand::Visa)),
    ] {
        number.check("Brand", &value);
    }
}

#[test]
fn masks_and_truncations_show_what_the_rule_allows() {
    for (_, digits) in common::passing() {
        let pan = common::pan(digits);
        let mut texts = Vec::new();
        for bin in [MaskBin::Hidden, MaskBin::Six, MaskBin::Eight] {
            let mask = pan.mask_with(bin);
            texts.extend([mask.to_string(), debug_of(&mask), serialized(&mask)]);
        }
        for first in 0..=8 {
            for last in 0..=4 {
                let format = TruncationFormat::new(first, last).unwrap();
                if let Ok(stored) = pan.truncate(format) {
                    texts.extend([stored.to_string(), debug_of(&stored), serialized(&stored)]);
                }
            }
        }
        for text in texts {
            assert!(!text.contains(digits));
            let longest = digits
                .as_bytes()
                .windows(SHOWN_BY_RULE + 1)
                .any(|part| text.contains(core::str::from_utf8(part).unwrap()));
            assert!(!longest, "{text}");
            // Of each text in quotes or brackets at least four places are hidden.
            let shown = text.lines().next().unwrap();
            assert!(shown.matches('*').count() >= 4, "{shown}");
        }
    }
}

#[cfg(feature = "serde")]
fn serialized(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[cfg(not(feature = "serde"))]
fn serialized<T>(_: &T) -> String {
    "****".to_owned()
}

/// Inputs that hold the number and are refused by the doors of the card module.
fn wrong_inputs() -> Vec<Vec<u8>> {
    let wrong_check = format!("{}8", &DIGITS[..15]);
    let mut inputs: Vec<Vec<u8>> = [
        wrong_check.clone(),
        format!("{DIGITS} "),
        format!(" {DIGITS}"),
        format!("{DIGITS}{DIGITS}"),
        format!("{DIGITS}{DIGITS}{DIGITS}"),
        format!("card={DIGITS}"),
        format!("{}\u{0}", DIGITS),
        format!("{}x", DIGITS),
        format!("4539  {}", &DIGITS[4..]),
        "4539 1488-0343 6467".to_owned(),
        format!(";{DIGITS}"),
        format!(";{DIGITS}="),
        format!(";{DIGITS}=3013101?"),
        format!(";{DIGITS}=30x2101?"),
        format!(";{DIGITS}=3012101?99"),
        format!(";{DIGITS}=3012101?0"),
        format!(";{wrong_check}=3012101?"),
        format!("%B{DIGITS}"),
        format!("%B{DIGITS}^D^3012101?"),
        format!("%C{DIGITS}^DOE/JANE^3012101?"),
        format!("%B{DIGITS}^DOE/JANE^3013101?"),
        format!("%B{wrong_check}^DOE/JANE^3012101?"),
        format!("{}***{}", &DIGITS[..6], &DIGITS[9..]),
        format!("{}****", &DIGITS[..12]),
    ]
    .map(String::into_bytes)
    .to_vec();
    let bcd: Vec<u8> = (0..8)
        .map(|at| u8::from_str_radix(&DIGITS[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    for (before, after) in [
        (&[0x57, 0x08][..], &[][..]),
        (&[0x57, 0x0c], &[0xd3, 0x01, 0x32, 0x01]),
        (&[0x5a, 0x09], &[]),
        (&[0x5a, 0x84], &[]),
        (&[], &[0xd3, 0x01, 0x32]),
        (&[], &[0xff, 0xff, 0xff]),
        (&[0x70, 0x0a, 0x5a, 0x09], &[]),
    ] {
        inputs.push([before, &bcd, after].concat());
    }
    inputs
}

#[test]
fn errors_of_the_card_doors_hold_no_content() {
    let number = Forbidden::number(DIGITS);
    let mut refused = 0;
    let mut check = |what: &str, text: Option<String>| {
        if let Some(text) = text {
            refused += 1;
            number.check(what, &text);
        }
    };
    for input in wrong_inputs() {
        let input = input.as_slice();
        check("Pan::parse", Pan::parse(input).err().map(|e| error_of(&e)));
        let exempt = &Brand::LUHN_EXEMPT;
        check(
            "parse_exempting",
            Pan::parse_exempting(input, exempt)
                .err()
                .map(|e| error_of(&e)),
        );
        for read in [
            CardData::from_track1,
            CardData::from_track2,
            CardData::from_tag57,
            CardData::from_tag5a,
            CardData::from_emv,
        ] {
            check("CardData", read(input, exempt).err().map(|e| error_of(&e)));
        }
        if let Ok(text) = core::str::from_utf8(input) {
            check("FromStr", text.parse::<Pan>().err().map(|e| error_of(&e)));
            check(
                "TruncatedPan",
                text.parse::<TruncatedPan>().err().map(|e| error_of(&e)),
            );
        }
    }
    let record = CardRecord::new(common::pan(DIGITS));
    for at in 0..16 {
        for value in [0, 0xa0, 0xfa, 0xff] {
            let mut bytes = *record.to_bytes().expose();
            bytes[at] ^= value;
            let read = CardRecord::from_bytes(&Secret::new(bytes));
            check("CardRecord", read.err().map(|e| error_of(&e)));
        }
    }
    for first in 0..=8 {
        let format = TruncationFormat::new(first, 4).unwrap();
        let amex = common::pan("378282246310005");
        check(
            "truncate",
            amex.truncate(format).err().map(|e| error_of(&e)),
        );
    }
    for error in [
        error_of(&Expiry::new(30, 13).unwrap_err()),
        error_of(&Expiry::from_yymm(*b"30x2").unwrap_err()),
        error_of(&IinRange::new(5, 4, 1, &[16], Brand::Visa).unwrap_err()),
        error_of(&CodecError::Invalid { at: 3 }),
        error_of(&RandomError::Failed),
        error_of(&RandomError::Repeated),
    ] {
        check("error", Some(error));
    }
    assert!(refused > 200, "{refused}");
}

/// A generator whose draws are known again: what it hands out is the ring's roots.
fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([42; 32])
}

#[test]
fn secrets_and_keys_show_no_byte() {
    let bytes: [u8; 32] =
        std::array::from_fn(|at| 201_u8.wrapping_mul(u8::try_from(at).unwrap() + 3));
    let key = Forbidden::key(&bytes);
    let secret = Secret::new(bytes);
    key.check("Secret", &debug_of(&secret));
    key.check("Ff1", &debug_of(&Ff1::new(&secret)));

    let component = {
        let mut rng = FixedRng(bytes);
        Component::random(&mut rng).unwrap()
    };
    key.check("Component", &debug_of(&component));
    let text = component.expose_text(str::to_owned);
    assert!(
        key.in_text(&text).is_some(),
        "the component has a text that does hold it"
    );
    let other = Component::random(&mut rng()).unwrap();
    let kek = Kek::combine(&[component, other], None).unwrap();
    key.check("Kek", &debug_of(&kek));
    // Mistyped components.
    let mut refused = 0;
    for at in 0..text.len() {
        let mut wrong = text.clone().into_bytes();
        wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
        let error = Component::parse(&wrong).unwrap_err();
        key.check("ComponentError", &error_of(&error));
        refused += 1;
    }
    assert!(refused > 80);
    let error = Component::parse(&text.as_bytes()[1..]).unwrap_err();
    key.check("ComponentError", &error_of(&error));
}

/// Hands out the same bytes again and again.
struct FixedRng([u8; 32]);

impl rand_core::TryRng for FixedRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(7)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(7)
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        for (to, from) in to.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for FixedRng {}

#[test]
fn rings_and_derived_keys_show_no_root() {
    let root: [u8; 32] =
        std::array::from_fn(|at| 57_u8.wrapping_mul(u8::try_from(at).unwrap() + 5));
    let forbidden = Forbidden::key(&root);
    let now = UnixSeconds(1_800_000_000);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng()).unwrap();
    let domain: Domain = "merchant-7".parse().unwrap();
    for usage in KeyUse::ALL {
        // One root twice is refused: they differ in the last byte.
        let mut root = root;
        root[31] = usage as u8;
        let name = ring
            .add(
                usage,
                Cryptoperiod::default_of(usage),
                now,
                &mut FixedRng(root),
            )
            .unwrap();
        ring.activate(name, now).unwrap();
        for info in ring.versions() {
            forbidden.check("KeyInfo", &debug_of(info));
        }
    }
    let mut texts = vec![debug_of(&ring)];
    let sealing = ring.card_key(&domain, now).unwrap();
    texts.push(debug_of(&sealing));
    texts.push(debug_of(&ring.card_key_for(&domain, sealing.id()).unwrap()));
    texts.push(debug_of(&ring.card_key_of(&domain, 1).unwrap()));
    for text in texts {
        forbidden.check("key", &text);
    }
    let missing = KeyName::new(KeyUse::Card, 9);
    for error in [
        ring.activate(missing, now).unwrap_err(),
        ring.activate(KeyName::new(KeyUse::Card, 1), now)
            .unwrap_err(),
        ring.card_key_of(&domain, 9).unwrap_err(),
    ] {
        forbidden.check("KeyError", &error_of(&error));
    }
}

/// A ring with one active version of each use, the card key's root known.
fn ring_with(root: [u8; 32], now: UnixSeconds) -> KeyRing {
    let mut ring = KeyRing::new(RingMark::Development, &mut rng()).unwrap();
    for usage in KeyUse::ALL {
        let mut root = root;
        root[31] = usage as u8;
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut FixedRng(root)).unwrap();
        ring.activate(name, now).unwrap();
    }
    ring
}

const ROOT: [u8; 32] = *b"Qx7!vR2#kLm9$Tz4%Wp8^Yb3&Nc6*Hd1";
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

#[test]
fn sealers_and_tokens_show_nothing() {
    let (number, key) = (Forbidden::number(DIGITS), Forbidden::key(&ROOT));
    let check = |what: &str, text: &str| {
        number.check(what, text);
        key.check(what, text);
    };
    let ring = ring_with(ROOT, NOW);
    let domain: Domain = "merchant-7".parse().unwrap();
    let pan = common::pan(DIGITS);

    let sealing = ring.card_key(&domain, NOW).unwrap();
    let opening = ring.card_key_for(&domain, sealing.id()).unwrap();
    let (sealer, opener) = (Sealer::new(&sealing), Opener::new(&opening));
    let mut nonces = NonceSource::new(rng());
    let binding = Binding::default();
    let mut sealed = [0; SEALED_RECORD_LEN];
    let record = CardRecord::new(pan.clone());
    sealer
        .seal(&record, &binding, NOW, &mut nonces, &mut sealed)
        .unwrap();
    check("a sealed record", &(hex(&sealed) + &list(&sealed)));
    for text in [
        debug_of(&sealer),
        debug_of(&opener),
        debug_of(&nonces),
        debug_of(&binding),
    ] {
        check("a sealer", &text);
    }
    for at in 0..sealed.len() {
        let mut wrong = sealed;
        wrong[at] ^= 1;
        check(
            "SealError",
            &error_of(&opener.open(&wrong, &binding).unwrap_err()),
        );
        check(
            "SealError",
            &error_of(&opener.open(&sealed[..at], &binding).unwrap_err()),
        );
    }
    // The number given in the wrong place.
    let digits = DIGITS.repeat(20);
    for binding in [
        Binding {
            token: digits.as_bytes(),
            ..binding
        },
        Binding {
            fingerprint: digits.as_bytes(),
            ..binding
        },
        Binding {
            columns: digits.as_bytes(),
            ..binding
        },
        Binding {
            columns: DIGITS.as_bytes(),
            ..binding
        },
    ] {
        check(
            "SealError",
            &error_of(&opener.open(&sealed, &binding).unwrap_err()),
        );
    }
    check(
        "SealError",
        &error_of(&opener.open(DIGITS.as_bytes(), &binding).unwrap_err()),
    );

    let key_of_index = ring.fingerprint_key(&domain, 1).unwrap();
    let fingerprinter = Fingerprinter::new(&key_of_index);
    let fingerprint = fingerprinter.fingerprint(&pan);
    check("a fingerprint", &debug_of(&fingerprinter));
    assert_eq!(format!("{fingerprint:?}"), "Fingerprint(..)");
    check("a fingerprint", &hex(fingerprint.as_bytes()));

    let vaultless = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).unwrap();
    let vaultless = Vaultless::new(vaultless, &ring.vaultless_key(&domain, NOW).unwrap());
    let irreversible = Irreversible::new(&ring.irreversible_key(&domain, NOW).unwrap());
    let format = VaultedFormat::new(KeepFirst::Six, KeepLast::Four, 16).unwrap();
    for text in [
        debug_of(&vaultless),
        debug_of(&irreversible),
        debug_of(&format),
    ] {
        check("a tokenizer", &text);
    }
    let token = vaultless.tokenize(&pan).unwrap();
    check("Candidate", &debug_of(&vaultless.open(&token).unwrap()));
    let mut random = rng();
    for token in [
        token,
        irreversible.tokenize(&pan).unwrap(),
        Token::opaque(&mut random).unwrap(),
        Token::card_shaped_for(&pan, &format, &mut random).unwrap(),
    ] {
        check("Token", &prints(&token));
        check("TokenText", &debug_of(&token.text()));
        check("Token", &serialized(&token));
    }
    // A clear number where a token belongs, and a token where a number belongs.
    check("TokenError", &error_of(&Token::parse(DIGITS).unwrap_err()));
    check(
        "TokenError",
        &error_of(&Token::parse(&format!("cvo_{DIGITS}")).unwrap_err()),
    );
    check(
        "TokenError",
        &error_of(&Token::from_bytes(DIGITS.as_bytes()).unwrap_err()),
    );
    let short = common::pan("4222222222222");
    check(
        "TokenizeError",
        &error_of(&vaultless.tokenize(&short).unwrap_err()),
    );
}

#[test]
fn sealed_rings_show_nothing() {
    let key = Forbidden::key(&ROOT);
    let components = [
        Component::random(&mut rng()).unwrap(),
        Component::random(&mut FixedRng([9; 32])).unwrap(),
    ];
    let kek = Kek::combine(&components, None).unwrap();
    let mut sealed = [0; MAX_SEALED_RING];
    let ring = ring_with(ROOT, NOW);
    let len = seal_ring_with_kek(&ring, &kek, &mut rng(), &mut sealed).unwrap();
    let sealed = &sealed[..len];
    key.check("a sealed ring", &(hex(sealed) + &list(sealed)));
    key.check("RingHeader", &debug_of(&RingHeader::read(sealed)));
    for at in 0..sealed.len() {
        let mut wrong = sealed.to_vec();
        wrong[at] ^= 1;
        key.check(
            "RingSealError",
            &error_of(&open_ring_with_kek(&wrong, &kek).unwrap_err()),
        );
        let cut = open_ring_with_kek(&sealed[..at], &kek).unwrap_err();
        key.check("RingSealError", &error_of(&cut));
    }
}

#[cfg(feature = "vault")]
mod vault {
    use std::io::Write as _;
    use std::sync::{Arc, Mutex};

    use cardvault::SystemRandom;
    use cardvault::vault::{
        Access, IndexKey, LineLog, Memory, Row, RowKey, Store, Tokenize, Vault, Write,
    };
    use pollster::block_on;

    use super::*;

    /// A log that can be read afterwards.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_vault_shows_nothing() {
        let (number, key) = (Forbidden::number(DIGITS), Forbidden::key(&ROOT));
        let check = |what: &str, text: &str| {
            number.check(what, text);
            key.check(what, text);
        };
        let lines = Lines::default();
        let store = Arc::new(Memory::new());
        let open = |ring| {
            let log = LineLog::new(lines.clone());
            let opened = Vault::open_with(Arc::clone(&store), ring, log, || SystemRandom, || NOW);
            block_on(opened).map(Vault::blocking)
        };
        let vault = open(ring_with(ROOT, NOW)).unwrap();
        let domain: Domain = "merchant-7".parse().unwrap();
        let pan = common::pan(DIGITS);
        let record = CardRecord::new(pan.clone());
        let access = Access::new("desk-3", "refund").unwrap();
        let format = VaultedFormat::new(KeepFirst::Six, KeepLast::Four, 16).unwrap();
        for how in [
            Tokenize::convergent(),
            Tokenize::fresh(),
            Tokenize::fresh().card_shaped(format),
            Tokenize::fresh().expiring(NOW),
        ] {
            check("Tokenize", &debug_of(&how));
            let given = vault.tokenize(&domain, &record, &how).unwrap();
            check("Tokenized", &debug_of(&given));
            check(
                "a card",
                &debug_of(&vault.detokenize(&access, &domain, &given.token)),
            );
            check(
                "Metadata",
                &debug_of(&vault.metadata(&domain, &given.token)),
            );
        }
        check(
            "CardTokens",
            &debug_of(&vault.find(&access, &domain, &pan).unwrap()),
        );
        check("VaultStats", &debug_of(&vault.stats().unwrap()));
        check("Rewrapped", &debug_of(&vault.rewrap(None, 10).unwrap()));
        check("a vault", &debug_of(&vault));
        check("a store", &debug_of(&store));
        check("Access", &debug_of(&access));

        // What is stored, byte by byte.
        let rows = block_on(store.scan(None, 100)).unwrap();
        assert_eq!(rows.len(), 4);
        let mut wrong = Vec::new();
        for (key, row) in &rows {
            check("a row", &debug_of(&(key, row)));
            check("a row", &(hex(row.as_bytes()) + &list(row.as_bytes())));
            check("a key", &(hex(key.as_bytes()) + &list(key.as_bytes())));
            for at in 0..row.as_bytes().len() {
                let mut bytes = row.as_bytes().to_vec();
                bytes[at] ^= 1;
                wrong.push((*key, row.clone(), Row::new(&bytes).unwrap()));
            }
        }
        // Every changed byte of every row: the errors.
        let tokens = vault.find(&access, &domain, &pan).unwrap().tokens;
        let mut refused = 0;
        for (key, row, other) in wrong {
            let swap = |expected: &Row, row: &Row| {
                let (expected, row) = (expected.clone(), row.clone());
                let write = Write::Replace {
                    token: key,
                    expected,
                    row,
                };
                block_on(store.write(None, vec![write])).unwrap();
            };
            swap(&row, &other);
            for token in &tokens {
                if let Err(error) = vault.detokenize(&access, &domain, token) {
                    check("VaultError", &error_of(&error));
                    refused += 1;
                }
            }
            swap(&other, &row);
        }
        assert!(refused > 400, "{refused}");
        // Another ring, and a number as a token's or a store's key.
        let mut root = ROOT;
        root[0] ^= 1;
        if let Err(error) = open(ring_with(root, NOW)) {
            check("VaultError", &error_of(&error));
        }
        let long = DIGITS.repeat(100);
        check(
            "StoreError",
            &error_of(&RowKey::new(long.as_bytes()).unwrap_err()),
        );
        check(
            "StoreError",
            &error_of(&IndexKey::new(long.as_bytes()).unwrap_err()),
        );
        check(
            "StoreError",
            &error_of(&Row::new(long.as_bytes()).unwrap_err()),
        );
        check(
            "AccessError",
            &error_of(&Access::new(&long, "refund").unwrap_err()),
        );

        lines.clone().flush().unwrap();
        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("operation=detokenize"), "{log}");
        check("the access log", &log);
    }
}

fn prints<T: Display + Debug>(value: &T) -> String {
    format!("{value}\n{}", debug_of(value))
}

#[test]
fn names_print_as_themselves() {
    let number = Forbidden::number(DIGITS);
    let domain: Domain = "merchant-7".parse().unwrap();
    number.check("Domain", &prints(&domain));
    number.check("KeyName", &prints(&KeyName::new(KeyUse::Card, 1)));
}

/// Every public type of the crate. A new one is listed when a test above holds it to the rule, or
/// when nothing secret can come near it.
const LISTED: &[&str] = &[
    // card
    "Brand",
    "BrandTable",
    "CardData",
    "CardDataError",
    "CardRecord",
    "Expiry",
    "ExpiryError",
    "IinRange",
    "IinRangeError",
    "MaskBin",
    "MaskedPan",
    "Pan",
    "PanError",
    "PanSequence",
    "RecordError",
    "SensitiveData",
    "ServiceCode",
    "TruncatedPan",
    "TruncationError",
    "TruncationFormat",
    // what all share
    "CodecError",
    "RandomError",
    "Secret",
    "UnixSeconds",
    // keys
    "CeremonyError",
    "CheckValue",
    "CheckValueError",
    "Component",
    "ComponentError",
    "Cryptoperiod",
    "Domain",
    "DomainError",
    "Due",
    "DueAction",
    "FingerprintKey",
    "IndexVersions",
    "IrreversibleKey",
    "Kek",
    "KeyError",
    "KeyId",
    "KeyInfo",
    "KeyName",
    "KeyNameError",
    "KeyRing",
    "KeyState",
    "KeyUse",
    "OpeningKey",
    "RetiredFingerprintKey",
    "RingId",
    "RingMark",
    "SealingKey",
    "VaultlessKey",
    "VaultlessOpeningKey",
    // ff1
    "Ff1",
    "Ff1Error",
    "Item",
    "Shape",
    // seal and fingerprint
    "Argon2Cost",
    "Binding",
    "BindingField",
    "NonceSource",
    "Opener",
    "Protection",
    "RingHeader",
    "RingSealError",
    "SealError",
    "Sealer",
    "WrapError",
    "Fingerprint",
    "Fingerprinter",
    "FingerprintVerifier",
    // token
    "Candidate",
    "FormatError",
    "Irreversible",
    "KeepFirst",
    "KeepLast",
    "OpenError",
    "Rotation",
    "Token",
    "TokenError",
    "TokenFormat",
    "TokenKind",
    "TokenText",
    "TokenValues",
    "TokenizeError",
    "VaultedFormat",
    "Vaultless",
    "VaultlessFormat",
    "VaultlessOpener",
    // vault
    "Access",
    "AccessError",
    "AccessEvent",
    "AccessLogError",
    "BlockingVault",
    "CardTokens",
    "Embedded",
    "EmbeddedOptions",
    "Found",
    "Guard",
    "IndexKey",
    "FileLog",
    "LineLog",
    "Memory",
    "Metadata",
    "Operation",
    "Part",
    "Rewrapped",
    "Row",
    "RowKey",
    "StoreError",
    "Tokenize",
    "Tokenized",
    "Vault",
    "VaultError",
    "VaultStats",
    "Write",
    "WriteOutcome",
];

#[test]
fn every_public_type_is_listed() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut missing = Vec::new();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Plain values that no card number and no key can reach: the test of the
                // architecture holds these modules to it.
                if !["payment", "refund"]
                    .iter()
                    .any(|name| path.ends_with(name))
                {
                    folders.push(path);
                }
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines().map(str::trim_start) {
                let Some(rest) = ["pub struct ", "pub enum ", "pub union "]
                    .iter()
                    .find_map(|start| line.strip_prefix(start))
                else {
                    continue;
                };
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                seen += 1;
                if !name.is_empty() && !LISTED.contains(&name.as_str()) {
                    missing.push(format!("{name} in {}", path.display()));
                }
            }
        }
    }
    assert!(seen > 30);
    assert!(missing.is_empty(), "not held to the rule: {missing:#?}");
}
