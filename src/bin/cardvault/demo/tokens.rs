//! The demo's tokens of each format, and sealed records.
#![forbid(unsafe_code)]

use cardvault::card::{CardRecord, Expiry, Pan};
use cardvault::keys::{Domain, KeyRing};
use cardvault::seal::{Binding, NonceSource, Opener, SEALED_RECORD_LEN, Sealer};
use cardvault::token::{
    Irreversible, KeepFirst, KeepLast, Token, TokenizeError, VaultedFormat, Vaultless,
    VaultlessFormat,
};
use cardvault::{SystemRandom, UnixSeconds};

use super::cards::SHOWN;
use super::paper::Paper;
use super::{domain, pan};
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
    paper.step(
        &format!("Tokens for {}", card.mask()),
        "none passes Luhn, so none can be taken for a card; another shop gets other tokens",
    )?;
    let other = domain("shop-2")?;
    let now = UnixSeconds::now();
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
        let token = |made: Result<Token, TokenizeError>| {
            made.map_err(|error| Failure::keys("token", error))
        };
        let (one, two) = (token(one)?, token(two)?);
        rows.push([
            name.to_owned(),
            one.to_string(),
            two.to_string(),
            back.to_owned(),
        ]);
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

    if let Err(error) = VaultlessFormat::new(KeepFirst::Six, KeepLast::Four, 16) {
        paper.line(&format!("   vaultless, keeps 6+4: refused: {error}"))?;
    }
    let token = vaultless(shop)?.tokenize(&card);
    let token = token.map_err(|error| Failure::keys("token", error))?;
    if let Err(error) = Pan::parse(token.to_string().as_bytes()) {
        paper.line(&format!(
            "   a token given as a card number: refused: {error}"
        ))?;
    }
    Ok(())
}

fn vaulted(first: KeepFirst, last: KeepLast) -> Outcome<VaultedFormat> {
    VaultedFormat::new(first, last, 16).map_err(|error| Failure::usage("format", error))
}

/// Cards of all lengths, sealed.
pub(super) fn sealing(paper: &mut Paper, ring: &KeyRing, shop: &Domain) -> Outcome<()> {
    paper.step(
        "Seal card records (XAES-256-GCM)",
        "all have one length, and each is tied to its row: elsewhere it does not open",
    )?;
    let now = UnixSeconds::now();
    let failed = |error: cardvault::seal::SealError| Failure::keys("seal", error);
    let sealer = Sealer::new(&ring.card_key(shop, now)?);
    let opener = Opener::new(&ring.card_key_of(shop, 1)?);
    let mut nonces = NonceSource::new(SystemRandom);
    let binding = |token| Binding {
        token,
        ..Binding::default()
    };
    let mut rows = Vec::new();
    for number in ONE_CARD_OF_EACH_LENGTH {
        let card = CardRecord {
            expiry: Expiry::new(30, 12).ok(),
            ..CardRecord::new(pan(number)?)
        };
        let mut sealed = [0; SEALED_RECORD_LEN];
        let here = binding(b"row 1");
        let done = sealer.seal(&card, &here, now, &mut nonces, &mut sealed);
        done.map_err(failed)?;
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        let ends = (hex.get(..8), hex.get(hex.len() - 16..));
        let opened = opener.open(&sealed, &here).map_err(failed)?;
        let elsewhere = match opener.open(&sealed, &binding(b"row 2")) {
            Ok(_) => "OPENED".to_owned(),
            Err(error) => error.to_string(),
        };
        rows.push([
            format!("{}", card.pan.digit_count()),
            format!("{} hex digits", hex.len()),
            format!(
                "{}..{}",
                ends.0.unwrap_or_default(),
                ends.1.unwrap_or_default()
            ),
            opened.pan.mask().as_str().to_owned(),
            elsewhere,
        ]);
    }
    paper.table(
        ["DIGITS", "SEALED", "FROM..TO", "OPENED", "IN ANOTHER ROW"],
        &rows,
    )
}
