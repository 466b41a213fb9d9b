//! The demo's vault: tokens in and out, the access log, a key rotation, a stolen backup.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::time::Instant;

use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyName, KeyUse};
use cardvault::token::Token;
use cardvault::vault::{
    Access, BlockingVault, Embedded, EmbeddedOptions, FILE_NAME, MAX_BATCH, Tokenize, Tokenized,
    VaultError,
};
use cardvault::{SystemRandom, UnixSeconds};
use std::io::Write;

use super::cards::{SHOWN, UNIONPAY_FAILS_LUHN};
use super::paper::Paper;
use super::{pan, records};
use crate::failure::{Failure, Outcome};
use crate::files::{Draft, Readers, owner_folder};
use crate::folder::{Folder, FolderVault};
use crate::keys::refuse_if_used;

const CARD_1: KeyName = KeyName::new(KeyUse::Card, 1);

fn failed(error: VaultError) -> Failure {
    Failure::vault("vault", error)
}

fn all(results: Vec<Result<Tokenized, VaultError>>) -> Outcome<Vec<Tokenized>> {
    let all: Result<Vec<_>, _> = results.into_iter().collect();
    all.map_err(failed)
}

/// Tokenize, look up, detokenize.
pub(super) fn vault(paper: &mut Paper, folder: &Folder, shop: &Domain, out: &Path) -> Outcome<()> {
    paper.step(
        "Keep them in a vault",
        "durable when the call returns; the same card has the same token, unless a fresh one is asked",
    )?;
    let vault = folder.vault(folder.ring()?)?;
    let mut cards = records()?;
    let exempt = Pan::parse_exempting(
        UNIONPAY_FAILS_LUHN.as_bytes(),
        &cardvault::card::Brand::LUHN_EXEMPT,
    );
    let exempt = exempt.map_err(|error| Failure::usage("published number", error))?;
    cards.push(CardRecord::new(exempt));
    let began = Instant::now();
    let first = all(vault.tokenize_batch(shop, &cards, &Tokenize::convergent()))?;
    let millis = began.elapsed().as_secs_f64() * 1000.0;
    let again = all(vault.tokenize_batch(shop, &cards, &Tokenize::convergent()))?;
    let same = first
        .iter()
        .zip(&again)
        .filter(|(one, two)| one.token == two.token);
    let same = same.count();
    let fresh = all(vault.tokenize_batch(shop, &cards, &Tokenize::fresh()))?;
    let other = first
        .iter()
        .zip(&fresh)
        .filter(|(one, two)| one.token != two.token);
    let other = other.count();
    let count = cards.len();
    paper.line(&format!("   tokenized {count} cards in {millis:.1} ms"))?;
    paper.line(&format!(
        "   the same cards again: {same} of {count} have the same token"
    ))?;
    paper.line(&format!(
        "   asked for fresh ones: {other} of {count} have another"
    ))?;
    write_tokens(&out.join("tokens.csv"), &cards, &first)?;
    paper.line("   written to tokens.csv: brand, mask, token")?;

    paper.step(
        "Find a card, and get it back",
        "each access names who asks and for what, and is in the log before the answer",
    )?;
    let desk = access("refund-desk", "refund of voucher 000123")?;
    let found = vault.find(&desk, shop, &pan(SHOWN)?).map_err(failed)?;
    let shown: Vec<_> = found.tokens.iter().map(Token::to_string).collect();
    paper.line(&format!("   look-up by card: {}", shown.join("  ")))?;
    if let Some(token) = found.tokens.first() {
        let card = vault.detokenize(&desk, shop, token).map_err(failed)?;
        paper.line(&format!("   detokenized: {}", card.pan.mask()))?;
        let elsewhere = super::domain("shop-2")?;
        if let Err(error) = vault.detokenize(&desk, &elsewhere, token) {
            paper.line(&format!("   the same token in shop-2: refused: {error}"))?;
        }
    }
    if let Err(error) = Access::new("refund-desk", "card 4508750015741019") {
        paper.line(&format!(
            "   a card number as the purpose: refused: {error}"
        ))?;
    }
    paper.line("   access.log:")?;
    for line in folder.log_text()?.lines() {
        paper.line(&format!("     {line}"))?;
    }
    Ok(())
}

/// A new key, the old one destroyed, and what an old backup is worth then.
pub(super) fn rotation(
    paper: &mut Paper,
    folder: &mut Folder,
    shop: &Domain,
    out: &Path,
) -> Outcome<()> {
    paper.step(
        "Rotate the key",
        "tokens stay as they are; records move to the new key, then the old one is destroyed",
    )?;
    let backup = out.join("backup");
    owner_folder(&backup).map_err(Failure::at(&backup))?;
    let copied = fs::copy(folder.path().join(FILE_NAME), backup.join(FILE_NAME));
    copied.map_err(Failure::at(&backup))?;
    paper.line("   the vault's file is copied to backup/")?;

    let old_ring = folder.ring()?;
    let mut ring = folder.ring()?;
    let vault = folder.vault(folder.ring()?)?;
    let desk = access("refund-desk", "refund of voucher 000124")?;
    let known = vault.find(&desk, shop, &pan(SHOWN)?).map_err(failed)?;
    let token = known.tokens.first().copied();
    let token = token.ok_or_else(|| failed(VaultError::UnknownToken))?;

    let now = UnixSeconds::now();
    let period = Cryptoperiod::default_of(KeyUse::Card);
    let name = ring.add(KeyUse::Card, period, now, &mut SystemRandom)?;
    ring.activate(name, now)?;
    folder.change_ring(&vault, ring)?;
    let cards = records()?;
    let fresh = cards.get(..10).unwrap_or_default();
    all(vault.tokenize_batch(shop, fresh, &Tokenize::fresh()))?;
    paper.line(&format!("   {name} is active: {}", by_key(&vault)?))?;
    let card = vault.detokenize(&desk, shop, &token).map_err(failed)?;
    paper.line(&format!(
        "   a record under card-1 still opens: {}",
        card.pan.mask()
    ))?;
    if let Err(failure) = refuse_if_used(&vault, CARD_1, false) {
        paper.line(&format!(
            "   destroy card-1 now: refused: {}",
            failure.why()
        ))?;
    }
    let mut after = None;
    let mut moved = 0;
    loop {
        let step = vault.rewrap(after, MAX_BATCH).map_err(failed)?;
        moved += step.moved;
        after = step.cursor;
        if after.is_none() {
            break;
        }
    }
    paper.line(&format!(
        "   rewrap: {moved} records moved: {}",
        by_key(&vault)?
    ))?;
    refuse_if_used(&vault, CARD_1, false)?;
    let mut ring = folder.ring()?;
    ring.destroy(CARD_1, UnixSeconds::now())?;
    folder.change_ring(&vault, ring)?;
    let card = vault.detokenize(&desk, shop, &token).map_err(failed)?;
    paper.line(&format!(
        "   card-1 is destroyed; the token still gives {}",
        card.pan.mask()
    ))?;
    drop(vault);

    paper.step(
        "A stolen backup",
        "with the ring of today nothing in the old file opens; the ring of then is refused",
    )?;
    let store = Embedded::open(&backup, &EmbeddedOptions::default());
    let store = store.map_err(|error| failed(error.into()))?;
    let stolen = BlockingVault::open(store, folder.ring()?, folder.log()?).map_err(failed)?;
    let result = stolen.detokenize(&desk, shop, &token);
    paper.line(&format!(
        "   backup/vault.redb with today's ring: {}",
        match &result {
            Ok(_) => "OPENED".to_owned(),
            Err(error) => format!("refused: {error}"),
        }
    ))?;
    if let Err(failure) = folder.vault(old_ring) {
        paper.line(&format!(
            "   vault.redb with the old ring: refused: {}",
            failure.why()
        ))?;
    }
    if result.is_ok() {
        return Err(Failure::keys("demo", "a destroyed key opened a record"));
    }
    Ok(())
}

fn access(actor: &str, purpose: &str) -> Outcome<Access> {
    Access::new(actor, purpose).map_err(|error| Failure::usage("access", error))
}

fn by_key(vault: &FolderVault) -> Outcome<String> {
    let stats = vault.stats().map_err(failed)?;
    let keys = stats.by_key.iter();
    let keys: Vec<_> = keys
        .map(|(key, count)| format!("{count} under {key}"))
        .collect();
    Ok(keys.join(", "))
}

fn write_tokens(path: &Path, cards: &[CardRecord], tokens: &[Tokenized]) -> Outcome<()> {
    let mut draft = Draft::begin(path, Readers::Usual)?;
    let mut text = "brand,mask,token\n".to_owned();
    for (card, tokenized) in cards.iter().zip(tokens) {
        let (brand, mask) = (card.pan.brand(), card.pan.mask());
        text.push_str(&format!("{brand},{mask},{}\n", tokenized.token));
    }
    draft
        .write_all(text.as_bytes())
        .map_err(Failure::at(path))?;
    draft.place()
}
