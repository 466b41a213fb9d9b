//! The demo's tokens of each format, and sealed records.
#![forbid(unsafe_code)]

use cardvault::SystemRandom;
use cardvault::card::{CardRecord, Expiry, Pan};
use cardvault::keys::{Domain, KeyRing};
use cardvault::seal::{Binding, NonceSource, Opener, SEALED_RECORD_LEN, Sealer};
use cardvault::token::{
    Irreversible, KeepFirst, KeepLast, Token, TokenizeError, VaultedFormat, Vaultless,
    VaultlessFormat,
};

use super::cards::SHOWN;
use super::paper::Paper;
use super::{domain, failed, pan, story, told};
use crate::failure::{Failure, Outcome};

const ONE_CARD_OF_EACH_LENGTH: [&str; 4] = [
    "4222222222222",
    "378282246310005",
    SHOWN,
    "6205500000000000004",
];

/// One card as tokens of each format, in two shops.
pub(super) fn formats(paper: &mut Paper, ring: &KeyRing, shop: &Domain) -> Outcome<()> {
    let card = pan(SHOWN)?;
    paper.chapter(
        "Tokens",
        "none passes Luhn, so none can be taken for a card; another shop gets other tokens",
    )?;
    paper.part(&format!("One card, {}, as tokens", card.mask()))?;
    let other = domain("shop-2")?;
    let now = story::now();
    let six_four = vaulted(KeepFirst::Six, KeepLast::Four)?;
    let last_four = vaulted(KeepFirst::None, KeepLast::Four)?;
    let format = VaultlessFormat::new(KeepFirst::None, KeepLast::Four, 16);
    let format = format.map_err(|error| Failure::usage("format", error))?;
    let rng = &mut SystemRandom;

    let vaultless = |shop: &Domain| -> Outcome<Vaultless> {
        Ok(Vaultless::new(format, &ring.vaultless_key(shop, now)?))
    };
    let irreversible = |shop: &Domain| -> Outcome<Irreversible> {
        Ok(Irreversible::new(&ring.irreversible_key(shop, now)?))
    };
    let mut rows = Vec::new();
    let mut row = |name: &str, back: &str, one: Result<Token, TokenizeError>, two| -> Outcome<()> {
        let token = |made: Result<Token, TokenizeError>| made.map_err(failed("token"));
        let (one, two) = (token(one)?.to_string(), token(two)?.to_string());
        // Random ones of few digits may meet once in a million.
        let random = back == "by the vault";
        told(random || one != two, "another shop has another token")?;
        for token in [&one, &two] {
            told(
                Pan::parse(token.as_bytes()).is_err(),
                "no token is a card number",
            )?;
        }
        rows.push([name.to_owned(), one, two, back.to_owned()]);
        Ok(())
    };
    row(
        "opaque",
        "by the vault",
        Token::opaque(rng),
        Token::opaque(rng),
    )?;
    row(
        "card-shaped, keeps 6+4",
        "by the vault",
        Token::card_shaped_for(&card, &six_four, rng),
        Token::card_shaped_for(&card, &six_four, rng),
    )?;
    row(
        "card-shaped, keeps 4",
        "by the vault",
        Token::card_shaped_for(&card, &last_four, rng),
        Token::card_shaped_for(&card, &last_four, rng),
    )?;
    row(
        "vaultless, keeps 4",
        "by the key, as a candidate",
        vaultless(shop)?.tokenize(&card),
        vaultless(&other)?.tokenize(&card),
    )?;
    row(
        "irreversible",
        "by nobody",
        irreversible(shop)?.tokenize(&card),
        irreversible(&other)?.tokenize(&card),
    )?;
    paper.table(["FORMAT", "SHOP 1", "SHOP 2", "CARD COMES BACK"], &rows)?;
    match VaultlessFormat::new(KeepFirst::Six, KeepLast::Four, 16) {
        Ok(_) => told(false, "too few values for a vaultless token"),
        Err(error) => paper.line(&format!("   vaultless, keeps 6+4: refused: {error}")),
    }
}

fn vaulted(first: KeepFirst, last: KeepLast) -> Outcome<VaultedFormat> {
    VaultedFormat::new(first, last, 16).map_err(|error| Failure::usage("format", error))
}

/// Cards of all lengths, sealed.
pub(super) fn sealing(paper: &Paper, ring: &KeyRing, shop: &Domain) -> Outcome<()> {
    let now = story::now();
    let sealer = Sealer::new(&ring.card_key(shop, now)?);
    let opener = Opener::new(&ring.card_key_of(shop, 1)?);
    let mut nonces = NonceSource::new(SystemRandom);
    let binding = |token| Binding {
        token,
        ..Binding::default()
    };
    let (mut digits, mut opened) = (Vec::new(), 0);
    let mut elsewhere = String::new();
    for number in ONE_CARD_OF_EACH_LENGTH {
        let card = CardRecord {
            expiry: Expiry::new(30, 12).ok(),
            ..CardRecord::new(pan(number)?)
        };
        let mut sealed = [0; SEALED_RECORD_LEN];
        let here = binding(b"row 1");
        let done = sealer.seal(&card, &here, now, &mut nonces, &mut sealed);
        done.map_err(failed("seal"))?;
        let back = opener.open(&sealed, &here).map_err(failed("seal"))?;
        let same = back.pan.mask().as_str() == card.pan.mask().as_str();
        opened += usize::from(same);
        digits.push(card.pan.digit_count().to_string());
        match opener.open(&sealed, &binding(b"row 2")) {
            Ok(_) => told(false, "a sealed record is tied to its row")?,
            Err(error) => elsewhere = error.to_string(),
        }
    }
    paper.part("Sealed card records (XAES-256-GCM): one length for all, each tied to its row")?;
    paper.line(&format!(
        "   cards of {} digits: {SEALED_RECORD_LEN} bytes each; opened again {opened} of {}",
        digits.join(", "),
        digits.len()
    ))?;
    paper.line(&format!("   in another row: {elsewhere}"))?;
    told(opened == digits.len(), "every sealed record opens")
}
