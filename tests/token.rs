//! Tokens of every format through the public API.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use cardvault::card::{Brand, Pan, TruncationFormat};
use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
use cardvault::token::{
    Irreversible, KeepFirst, KeepLast, OpenError, TOKEN_MAX_LEN, TOKEN_MAX_TEXT, Token, TokenError,
    TokenKind, TokenizeError, VaultedFormat, Vaultless, VaultlessFormat, VaultlessOpener,
};
use cardvault::{Secret, UnixSeconds};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// Published test cards that pass Luhn, one of a brand.
const CARDS: [&str; 12] = [
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
    "3530111333300000",
    "6200000000000005",
    "6205500000000000004",
    "6759649826438453",
    "2200000000000004",
    "135492354874528",
    "6799990100000000019",
];

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn ring(usage: KeyUse) -> KeyRing {
    let mut rng = rng(1);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    let name = ring
        .add(usage, Cryptoperiod::default_of(usage), NOW, &mut rng)
        .unwrap();
    ring.activate(name, NOW).unwrap();
    ring
}

fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}

fn pan(text: &str) -> Pan {
    Pan::parse_exempting(text.as_bytes(), &Brand::LUHN_EXEMPT).unwrap()
}

fn passes_luhn(token: &Token) -> bool {
    cardvault::card::luhn::passes(token.text().as_str().as_bytes())
}

#[test]
fn vaultless_tokens_open_to_their_card_until_their_generation_is_gone() {
    let mut ring = ring(KeyUse::Vaultless);
    let shop = domain("shop");
    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 14).unwrap();
    let first = Vaultless::new(format, &ring.vaultless_key(&shop, NOW).unwrap());
    let tokens: Vec<Token> = CARDS
        .iter()
        .map(|card| first.tokenize(&pan(card)).unwrap())
        .collect();
    for (card, token) in CARDS.iter().zip(&tokens) {
        let text = token.text();
        assert_eq!(text.as_str().len(), card.len());
        assert_eq!(text.as_str()[card.len() - 4..], card[card.len() - 4..]);
        assert!(!passes_luhn(token));
        let found = first
            .open(token)
            .unwrap()
            .confirm(|pan| pan.expose(|digits| digits == *card));
        assert!(found.is_some());
        let doubted = first.open(token).unwrap().confirm(|_| false);
        assert!(doubted.is_none());
    }
    // Another domain: other tokens, and the same token opens to another card.
    let other = Vaultless::new(format, &ring.vaultless_key(&domain("other"), NOW).unwrap());
    for (card, token) in CARDS.iter().zip(&tokens) {
        assert_ne!(other.tokenize(&pan(card)).unwrap(), *token);
        let found = other
            .open(token)
            .unwrap()
            .confirm(|pan| pan.expose(|digits| digits == *card));
        assert!(found.is_none());
    }
    // The next generation makes other tokens; the old ones still open under the old key.
    let period = Cryptoperiod::default_of(KeyUse::Vaultless);
    let name = ring
        .add(KeyUse::Vaultless, period, NOW, &mut rng(9))
        .unwrap();
    ring.activate(name, NOW).unwrap();
    let second = Vaultless::new(format, &ring.vaultless_key(&shop, NOW).unwrap());
    assert_eq!((first.generation(), second.generation()), (1, 2));
    let old = VaultlessOpener::new(format, &ring.vaultless_key_of(&shop, 1).unwrap());
    for (card, token) in CARDS.iter().zip(&tokens) {
        assert_eq!(
            second.open(token).err(),
            Some(OpenError::Generation { residue: 1 })
        );
        assert_ne!(second.tokenize(&pan(card)).unwrap(), *token);
        let found = old
            .open(token)
            .unwrap()
            .confirm(|pan| pan.expose(|digits| digits == *card));
        assert!(found.is_some());
    }
}

#[test]
fn vaultless_refuses_what_it_cannot_do() {
    let ring = ring(KeyUse::Vaultless);
    let key = ring.vaultless_key(&domain("shop"), NOW).unwrap();
    let last_four = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).unwrap();
    let maker = Vaultless::new(last_four, &key);
    let fails_luhn = pan("6200000000000001");
    assert_eq!(maker.tokenize(&fails_luhn), Err(TokenizeError::FailsLuhn));
    let amex = pan("378282246310005");
    assert_eq!(
        maker.tokenize(&amex),
        Err(TokenizeError::Short { digits: 15 })
    );
    let six_four = VaultlessFormat::new(KeepFirst::Six, KeepLast::Four, 17).unwrap();
    let maker = Vaultless::new(six_four, &key);
    assert_eq!(
        maker.tokenize(&pan("6205500000000000004")),
        Err(TokenizeError::ExemptIin)
    );
    let token = maker.tokenize(&pan("6799990100000000019")).unwrap();
    assert!(token.text().as_str().starts_with("679999"));
    let eight = VaultlessFormat::new(KeepFirst::Eight, KeepLast::Four, 19).unwrap();
    let limit = TruncationFormat::FIRST_6_LAST_4;
    let refused = Vaultless::new(eight, &key).tokenize(&pan("6799990100000000019"));
    assert_eq!(refused, Err(TokenizeError::Truncation { limit }));
    let opaque = Token::opaque(&mut rng(3)).unwrap();
    assert_eq!(maker.open(&opaque).err(), Some(OpenError::Kind));
    let short: Token = "4111111111111112".parse().unwrap();
    assert_eq!(
        maker.open(&short).err(),
        Some(OpenError::Short { digits: 16 })
    );
}

#[test]
fn vaulted_tokens_keep_what_they_may_and_are_no_cards() {
    let mut rng = rng(2);
    for card in CARDS.into_iter().chain(["201400000000009"]) {
        let pan = pan(card);
        for (first, last) in [
            (KeepFirst::None, KeepLast::None),
            (KeepFirst::None, KeepLast::Four),
            (KeepFirst::Six, KeepLast::Four),
            (KeepFirst::Eight, KeepLast::Four),
        ] {
            let shortest = if first == KeepFirst::Eight { 16 } else { 14 };
            let format = VaultedFormat::new(first, last, shortest).unwrap();
            for _ in 0..200 {
                let token = match Token::card_shaped_for(&pan, &format, &mut rng) {
                    Ok(token) => token,
                    Err(TokenizeError::Truncation { limit }) => {
                        assert!(limit.first() < first.digits());
                        break;
                    }
                    Err(TokenizeError::Short { .. }) => {
                        assert!(card.len() < shortest);
                        break;
                    }
                    Err(error) => panic!("{card}: {error}"),
                };
                let text = token.text();
                let text = text.as_str();
                assert_eq!(text.len(), card.len());
                assert_ne!(text, card);
                assert!(!passes_luhn(&token));
                // Under the widest door for card numbers it is none.
                assert!(Pan::parse_exempting(text.as_bytes(), &Brand::LUHN_EXEMPT).is_err());
                let kept = usize::from(last.digits());
                assert_eq!(text[text.len() - kept..], card[card.len() - kept..]);
                if !pan.brand().may_fail_luhn() {
                    let kept = usize::from(first.digits());
                    assert_eq!(text[..kept], card[..kept]);
                }
            }
        }
    }
}

#[test]
fn vaulted_tokens_are_not_for_numbers_that_fail_luhn() {
    let format = VaultedFormat::new(KeepFirst::None, KeepLast::Four, 16).unwrap();
    assert_eq!(
        Token::card_shaped_for(&pan("6200000000000001"), &format, &mut rng(2)),
        Err(TokenizeError::FailsLuhn)
    );
}

#[test]
fn vaulted_digits_are_uniform() {
    let mut rng = rng(4);
    let format = VaultedFormat::new(KeepFirst::Six, KeepLast::Four, 16).unwrap();
    let pan = pan(CARDS[0]);
    let mut counts = [[0_u32; 10]; 6];
    for _ in 0..20_000 {
        let token = Token::card_shaped_for(&pan, &format, &mut rng).unwrap();
        for (count, byte) in counts
            .iter_mut()
            .zip(&token.text().as_str().as_bytes()[6..12])
        {
            count[usize::from(byte - b'0')] += 1;
        }
    }
    // 2,000 each, standard deviation 42.
    assert!(
        counts
            .iter()
            .flatten()
            .all(|count| (1_780..2_220).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn a_generator_that_fails_or_repeats_gives_an_error() {
    struct Stuck(u8);
    impl rand_core::TryRng for Stuck {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(self.0);
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Stuck {}
    let format = VaultedFormat::new(KeepFirst::None, KeepLast::None, 16).unwrap();
    assert!(matches!(
        Token::opaque(&mut Stuck(0)),
        Err(TokenizeError::Random(_))
    ));
    // 0x00...: digits in a row; 0xff: no digit at all; 0x11: the card itself.
    let ones = pan("1111111111111117");
    assert!(matches!(
        Token::card_shaped_for(&ones, &format, &mut Stuck(0xff)),
        Err(TokenizeError::Random(_))
    ));
    // 0x62 draws 6262..., which begins like a UnionPay number.
    assert_eq!(
        Token::card_shaped_for(&ones, &format, &mut Stuck(0x62)),
        Err(TokenizeError::Draws)
    );
}

#[test]
fn opaque_tokens_have_two_forms_and_no_long_run_of_digits() {
    let mut rng = rng(5);
    for _ in 0..5_000 {
        let token = Token::opaque(&mut rng).unwrap();
        let text = token.text();
        assert_eq!(text.as_str().len(), 32);
        let longest = text
            .as_str()
            .split(|c: char| !c.is_ascii_digit())
            .map(str::len)
            .max();
        assert!(longest.unwrap() < 8, "{token}");
        assert_eq!(Token::parse(text.as_str()), Ok(token));
        assert_eq!(Token::from_bytes(token.as_bytes()), Ok(token));
        assert_eq!(token.kind(), TokenKind::Opaque);
    }
}

#[test]
fn irreversible_tokens_are_of_the_card_and_the_domain() {
    let ring = ring(KeyUse::Irreversible);
    let shop = Irreversible::new(&ring.irreversible_key(&domain("shop"), NOW).unwrap());
    let other = Irreversible::new(&ring.irreversible_key(&domain("other"), NOW).unwrap());
    let token = shop.tokenize(&pan(CARDS[0])).unwrap();
    assert_eq!(token, shop.tokenize(&pan("4111 1111 1111 1111")).unwrap());
    assert_ne!(token, shop.tokenize(&pan(CARDS[1])).unwrap());
    assert_ne!(token, other.tokenize(&pan(CARDS[0])).unwrap());
    assert_eq!(token.text().as_str().len(), TOKEN_MAX_TEXT);
    assert_eq!(token.as_bytes().len(), TOKEN_MAX_LEN);
    assert_eq!(Token::parse(token.text().as_str()), Ok(token));
    // UnionPay numbers that fail Luhn have one too.
    assert!(shop.tokenize(&pan("6200000000000001")).is_ok());
}

#[test]
fn what_is_no_token_is_refused() {
    let cases = [
        ("", TokenError::Length { len: 0 }),
        ("4111111111111111", TokenError::PassesLuhn),
        ("1234567", TokenError::Length { len: 7 }),
        ("12345678901234567890", TokenError::Length { len: 20 }),
        ("4111 1111 1111 1112", TokenError::Symbol { at: 4 }),
        ("cvt_", TokenError::Length { len: 4 }),
        ("cvx_0000", TokenError::Symbol { at: 0 }),
        (
            "CVT_00000000000000000000000000",
            TokenError::Symbol { at: 0 },
        ),
        (
            "cvt_abcdefghabcdefghabcdefghaui0",
            TokenError::Symbol { at: 29 },
        ),
        ("cvt_abcdefghabcdefghabcdefghabcd", TokenError::Check),
        ("cvt_0000000000000000000000000000", TokenError::DigitRun),
        ("\u{ff14}\u{ff11}111111", TokenError::Symbol { at: 0 }),
    ];
    for (text, error) in cases {
        assert_eq!(Token::parse(text), Err(error), "{text}");
    }
    let long = "1".repeat(1 << 20);
    assert_eq!(
        Token::parse(&long),
        Err(TokenError::Length { len: 1 << 20 })
    );
    let card = [
        2, 0x41, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0xff, 0xff,
    ];
    assert_eq!(Token::from_bytes(&card), Err(TokenError::PassesLuhn));
    let mut token = card;
    token[8] = 0x12;
    assert_eq!(
        Token::from_bytes(&token).unwrap().to_string(),
        "4111111111111112"
    );
    for (at, byte) in [(1, 0xa1), (8, 0xf2), (10, 0xf0), (10, 0x11)] {
        let mut wrong = token;
        wrong[at] = byte;
        assert_eq!(Token::from_bytes(&wrong), Err(TokenError::Digits), "{at}");
    }
    assert_eq!(
        Token::from_bytes(&token[..10]),
        Err(TokenError::Length { len: 10 })
    );
    assert_eq!(Token::from_bytes(&[]), Err(TokenError::Length { len: 0 }));
    assert_eq!(Token::from_bytes(&[0; 17]), Err(TokenError::Kind));
    assert_eq!(Token::from_bytes(&[4; 17]), Err(TokenError::Kind));
    let mut seven = [0xff; 11];
    seven[..5].copy_from_slice(&[2, 0x12, 0x34, 0x56, 0x7f]);
    assert_eq!(Token::from_bytes(&seven), Err(TokenError::Digits));
    let mut zeros = [0; 17];
    zeros[0] = 1;
    assert_eq!(Token::from_bytes(&zeros), Err(TokenError::DigitRun));
}

/// A token of any kind, from random bytes.
fn any_token() -> impl Strategy<Value = Token> {
    (any::<[u8; 21]>(), 1_u8..=3, 8_usize..=19).prop_filter_map("no token", |(bytes, kind, len)| {
        let mut bytes = bytes;
        bytes[0] = kind;
        if kind == 2 {
            let digits: String = bytes[1..=len]
                .iter()
                .map(|b| char::from(b'0' + b % 10))
                .collect();
            return Token::parse(&digits).ok();
        }
        Token::from_bytes(&bytes[..if kind == 1 { 17 } else { 21 }]).ok()
    })
}

proptest! {
    #[test]
    fn both_forms_come_back(token in any_token()) {
        prop_assert_eq!(Token::parse(token.text().as_str()), Ok(token));
        prop_assert_eq!(Token::from_bytes(token.as_bytes()), Ok(token));
        prop_assert_eq!(format!("{token}"), token.to_string());
        #[cfg(feature = "serde")]
        {
            let json = serde_json::to_string(&token).unwrap();
            prop_assert_eq!(&json, &format!("\"{token}\""));
            prop_assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), token);
        }
    }

    #[test]
    fn whatever_is_read_has_one_form(text in ".{0,40}", bytes: Vec<u8>) {
        if let Ok(token) = Token::parse(&text) {
            prop_assert_eq!(token.to_string(), text);
        }
        if let Ok(token) = Token::from_bytes(&bytes) {
            prop_assert_eq!(token.as_bytes(), bytes);
        }
    }

    #[test]
    fn a_wrong_symbol_and_an_exchange_are_noticed(seed: u8, at in 4_usize..32, by in 1_usize..32) {
        const ALPHABET: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let token = Token::opaque(&mut rng(seed)).unwrap();
        let good = token.text();
        let mut text = good.as_str().as_bytes().to_vec();
        let value = ALPHABET.iter().position(|&symbol| symbol == text[at]).unwrap();
        text[at] = ALPHABET[(value + by) % 32];
        prop_assert!(Token::parse(core::str::from_utf8(&text).unwrap()).is_err());
        let mut text = good.as_str().as_bytes().to_vec();
        if at > 4 && text[at] != text[at - 1] {
            text.swap(at, at - 1);
            prop_assert!(Token::parse(core::str::from_utf8(&text).unwrap()).is_err());
        }
    }
}

/// Hands out n, n + 1, n + 2 and so on; the next time from n + 1 on.
struct Counting(u8);

impl rand_core::TryRng for Counting {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for (byte, value) in bytes.iter_mut().zip(self.0..) {
            *byte = value;
        }
        self.0 += 1;
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Counting {}

/// One line for each token of the golden file: kind, digits kept, card, text, binary form.
fn golden_tokens() -> String {
    // The id of the ring is a0 a1 a2 and so on, the first root a1 a2 a3.
    let mut random = Counting(0xa0);
    let mut ring = KeyRing::new(RingMark::Production, &mut random).unwrap();
    let domain = domain("merchant-7");
    let mut lines = String::new();
    let mut line = |kind: &str, kept: &str, card: &str, token: Token| {
        let hex: String = token
            .as_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        lines += &format!("{kind} {kept} {card} {token} {hex}\n");
    };
    let opaque = Token::opaque(&mut Counting(0xa0)).unwrap();
    line("opaque", "-", "-", opaque);
    let usages = [KeyUse::Irreversible, KeyUse::Vaultless, KeyUse::Vaultless];
    for usage in usages {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, NOW, &mut random).unwrap();
        ring.activate(name, NOW).unwrap();
        if usage == KeyUse::Irreversible {
            let hash = Irreversible::new(&ring.irreversible_key(&domain, NOW).unwrap());
            for card in CARDS {
                line(
                    "irreversible",
                    "-",
                    card,
                    hash.tokenize(&pan(card)).unwrap(),
                );
            }
            continue;
        }
        let key = ring.vaultless_key(&domain, NOW).unwrap();
        for (first, last) in [
            (KeepFirst::None, KeepLast::None),
            (KeepFirst::None, KeepLast::Four),
            (KeepFirst::Six, KeepLast::Four),
        ] {
            let kept = first.digits() + last.digits();
            let format = VaultlessFormat::new(first, last, usize::from(kept).max(1) + 7).unwrap();
            let maker = Vaultless::new(format, &key);
            let kept = format!("{}+{}", first.digits(), last.digits());
            for card in CARDS {
                if let Ok(token) = maker.tokenize(&pan(card)) {
                    line(
                        &format!("vaultless-{}", maker.generation()),
                        &kept,
                        card,
                        token,
                    );
                }
            }
        }
    }
    lines
}

#[test]
fn tokens_are_those_of_the_golden_file() {
    let lines = golden_tokens();
    let golden: String = include_str!("golden/tokens.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(golden == lines, "tokens.txt is now:\n{lines}");
    for line in lines.lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        let token = Token::parse(columns[3]).unwrap();
        let bytes: Vec<u8> = (0..columns[4].len() / 2)
            .map(|at| u8::from_str_radix(&columns[4][2 * at..2 * at + 2], 16).unwrap())
            .collect();
        assert_eq!(Token::from_bytes(&bytes), Ok(token));
        assert_eq!(token.text().as_str(), columns[3]);
    }
}

#[test]
fn debug_shows_no_card() {
    let ring = ring(KeyUse::Vaultless);
    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16).unwrap();
    let maker = Vaultless::new(format, &ring.vaultless_key(&domain("shop"), NOW).unwrap());
    let token = maker.tokenize(&pan(CARDS[0])).unwrap();
    let candidate = maker.open(&token).unwrap();
    assert_eq!(format!("{candidate:?}"), "Candidate(..)");
    assert_eq!(format!("{maker:?}"), "Vaultless(generation 1)");
    let _ = Secret::<32>::zeroed();
}
