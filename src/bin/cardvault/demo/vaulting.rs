//! The demo's vault: tokens in and out, the audit log, a key rotation, a stolen backup.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use cardvault::SystemRandom;
use cardvault::audit::{Told, verify};
use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyName, KeyUse};
use cardvault::token::Token;
use cardvault::vault::{
    Access, BlockingVault, Embedded, EmbeddedOptions, FILE_NAME, RewrapPace, Rewrapping, Tokenize,
    Tokenized, VaultError,
};

use super::cards::{SHOWN, UNIONPAY_FAILS_LUHN};
use super::paper::Paper;
use super::{pan, records, story, told};
use crate::failure::{Failure, Outcome};
use crate::files::{Draft, Readers, owner_folder};
use crate::folder::{Folder, FolderVault};
use crate::keys::destroy_unneeded;

const CARD_1: KeyName = KeyName::new(KeyUse::Card, 1);

fn failed(error: VaultError) -> Failure {
    Failure::vault("vault", error)
}

fn all(results: Vec<Result<Tokenized, VaultError>>) -> Outcome<Vec<Tokenized>> {
    let all: Result<Vec<_>, _> = results.into_iter().collect();
    all.map_err(failed)
}

/// Tokenize, look up, detokenize.
pub(super) fn vault(paper: &Paper, folder: &Folder, shop: &Domain, out: &Path) -> Outcome<()> {
    paper.part("In a vault: durable when the call returns")?;
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
    paper.line(&format!(
        "   {count} cards in {millis:.1} ms; the same again: {same} have the same token; asked for fresh ones: {other} have another"
    ))?;
    told(
        same == count && other == count,
        "a card keeps its token unless a fresh one is asked",
    )?;
    write_tokens(&out.join("tokens.csv"), &cards, &first)?;

    let desk = access("refund-desk", "refund of voucher 000123")?;
    let found = vault.find(&desk, shop, &pan(SHOWN)?).map_err(failed)?;
    let shown: Vec<_> = found.tokens.iter().map(Token::to_string).collect();
    paper.line(&format!("   look-up by card: {}", shown.join("  ")))?;
    let token = found.tokens.first().copied();
    let token = token.ok_or_else(|| failed(VaultError::UnknownToken))?;
    let card = vault.detokenize(&desk, shop, &token).map_err(failed)?;
    paper.line(&format!("   detokenized: {}", card.pan.mask()))?;
    let elsewhere = super::domain("shop-2")?;
    match vault.detokenize(&desk, &elsewhere, &token) {
        Ok(_) => told(false, "a token is of one shop")?,
        Err(error) => paper.line(&format!("   the same token in shop-2: refused: {error}"))?,
    }
    match Access::new("refund-desk", "card 4508750015741019", "demo") {
        Ok(_) => told(false, "no card number in a purpose")?,
        Err(error) => paper.line(&format!(
            "   a card number as the purpose: refused: {error}"
        ))?,
    }
    let (mut accesses, mut faults, mut last) = (0_u64, 0_u64, String::new());
    let verified = verify(
        &folder.audit(),
        &folder.ring()?,
        &[],
        &mut |told| match told {
            Told::Event(_, event) => {
                accesses += 1;
                last = event.to_string();
            }
            _ => faults += 1,
        },
    );
    let verified = verified.map_err(|error| Failure::audit("audit log", error))?;
    paper.line(&format!(
        "   audit log: {} frames verified, {accesses} accesses, the last one:",
        verified.frames
    ))?;
    paper.line(&format!("     {last}"))?;
    told(faults == 0, "the audit log is whole")?;
    told(
        last.contains("refused") && last.contains(&token.to_string()),
        "every access is logged",
    )
}

/// A new key, the old one destroyed, and what an old backup is worth then.
pub(super) fn rotation(
    paper: &Paper,
    folder: &mut Folder,
    shop: &Domain,
    out: &Path,
) -> Outcome<()> {
    paper.part("The key is replaced and destroyed; tokens stay as they are")?;
    let backup = out.join("backup");
    owner_folder(&backup).map_err(Failure::at(&backup))?;
    let copied = fs::copy(folder.path().join(FILE_NAME), backup.join(FILE_NAME));
    copied.map_err(Failure::at(&backup))?;

    let old_ring = folder.ring()?;
    let mut ring = folder.ring()?;
    let vault = folder.vault(folder.ring()?)?;
    let desk = access("refund-desk", "refund of voucher 000124")?;
    let known = vault.find(&desk, shop, &pan(SHOWN)?).map_err(failed)?;
    let token = known.tokens.first().copied();
    let token = token.ok_or_else(|| failed(VaultError::UnknownToken))?;

    let now = story::now();
    let period = Cryptoperiod::default_of(KeyUse::Card);
    let name = ring.add(KeyUse::Card, period, now, &mut SystemRandom)?;
    ring.activate(name, now)?;
    folder.change_ring(&vault, ring)?;
    let cards = records()?;
    let fresh = cards.get(..10).unwrap_or_default();
    all(vault.tokenize_batch(shop, fresh, &Tokenize::fresh()))?;
    let card = vault.detokenize(&desk, shop, &token).map_err(failed)?;
    paper.line(&format!(
        "   {name} is active: {}; a record under card-1 still opens: {}",
        by_key(&vault)?,
        card.pan.mask()
    ))?;
    let mut ring = folder.ring()?;
    let path = folder.path().display().to_string();
    match destroy_unneeded(&vault, &mut ring, CARD_1, false, &path) {
        Ok(()) => told(false, "a key in use is not destroyed")?,
        Err(failure) => {
            paper.line(&format!(
                "   destroy card-1 now: refused: {}",
                failure.why()
            ))?;
        }
    }
    let mut rewrapping = Rewrapping::new(RewrapPace::FULL);
    let moved = vault.rewrap_all(&mut rewrapping, |_| ControlFlow::Continue(()));
    moved.map_err(failed)?;
    let moved = rewrapping.progress().moved;
    let left = by_key(&vault)?;
    destroy_unneeded(&vault, &mut ring, CARD_1, false, &path)?;
    folder.change_ring(&vault, ring)?;
    let card = vault.detokenize(&desk, shop, &token).map_err(failed)?;
    paper.line(&format!(
        "   rewrap: {moved} records moved: {left}; card-1 is destroyed; the token still gives {}",
        card.pan.mask()
    ))?;
    drop(vault);

    let store = Embedded::open(&backup, &EmbeddedOptions::default());
    let store = store.map_err(|error| failed(error.into()))?;
    let stolen =
        BlockingVault::open(store, folder.ring()?, folder.log(&folder.ring()?)?).map_err(failed)?;
    match stolen.detokenize(&desk, shop, &token) {
        Ok(_) => told(false, "a destroyed key opens nothing")?,
        Err(error) => paper.line(&format!(
            "   a stolen backup with today's ring: refused: {error}"
        ))?,
    }
    match folder.vault(old_ring) {
        Ok(_) => told(false, "an old ring is refused"),
        Err(failure) => paper.line(&format!(
            "   the vault with the ring of before: refused: {}",
            failure.why()
        )),
    }
}

pub(super) fn access(actor: &str, purpose: &str) -> Outcome<Access> {
    Access::new(actor, purpose, "demo").map_err(|error| Failure::usage("access", error))
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
