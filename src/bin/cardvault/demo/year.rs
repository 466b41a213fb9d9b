//! The demo's year in a switch: a new index key, a desk with rights, a purge, and an audit that
//! finds what was done by hand.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Cursor;

use cardvault::audit::{
    Checkpoint, LogPosition, RowFinding, Told, compare_rows_blocking, verify,
    write_checkpoint_blocking,
};
use cardvault::card::CardRecord;
use cardvault::keys::{Cryptoperiod, Domain, KeyName, KeyRing, KeyUse};
use cardvault::ledger::{BlockingLedger, Ledger};
use cardvault::payment::Date;
use cardvault::token::Token;
use cardvault::vault::{
    AccessPolicy, BlockingVault, Item, KeepRule, MAX_BATCH, Retention, Store, Survey, Tokenize,
    Write,
};
use cardvault::{SystemRandom, UnixSeconds};
use pollster::block_on;

use super::cards::SHOWN;
use super::paper::Paper;
use super::vaulting::access;
use super::{domain, failed, pan, records, story, told};
use crate::failure::{Failure, Outcome};
use crate::folder::{Folder, FolderVault};
use crate::keys::destroy_unneeded;
use crate::store::FolderStore;

const INDEX_1: KeyName = KeyName::new(KeyUse::Index, 1);
/// Days after the settlement for which the books' cards are kept.
const KEPT_DAYS: u32 = 180;
/// The purge plays so many days from now.
const LATER_DAYS: u64 = 300;
const POLICY: &str = r#"
[[actor]]
name = "refund-desk"
grants = [{ may = ["masked"] }]
budgets = { masked = "3 per day" }
"#;

pub(super) fn year(paper: &mut Paper, folder: &mut Folder, shop: &Domain) -> Outcome<()> {
    paper.chapter(
        "The switch's year",
        "a new index key, a desk with rights, a purge, and an audit against a checkpoint",
    )?;
    index(paper, folder, shop)?;
    rights(paper, folder, shop)?;
    let checkpoint = checkpoint(folder)?;
    let purged = purge(paper, folder)?;
    audit(paper, folder, &checkpoint, purged)
}

/// Every card is found under another key, and keeps its token.
fn index(paper: &Paper, folder: &mut Folder, shop: &Domain) -> Outcome<()> {
    let vault = folder.vault(folder.ring()?)?;
    let before = tokens(&vault, shop)?;
    let mut ring = folder.ring()?;
    let period = Cryptoperiod::default_of(KeyUse::Index);
    let name = ring.add(KeyUse::Index, period, story::now(), &mut SystemRandom)?;
    ring.begin_filling(name)?;
    folder.change_ring(&vault, ring)?;
    let meanwhile = tokens(&vault, shop)?;
    let filled = loop {
        let step = vault.fill_index(MAX_BATCH).map_err(failed("index"))?;
        if step.done {
            break step.seen_in_all;
        }
    };
    let mut ring = folder.ring()?;
    ring.activate(name, story::now())?;
    folder.change_ring(&vault, ring)?;
    let mut after = None;
    loop {
        let step = vault
            .drop_index(after, MAX_BATCH)
            .map_err(failed("index"))?;
        after = step.cursor;
        if after.is_none() {
            break;
        }
    }
    let mut ring = folder.ring()?;
    let path = folder.path().display().to_string();
    destroy_unneeded(&vault, &mut ring, INDEX_1, false, &path)?;
    folder.change_ring(&vault, ring)?;
    let same = tokens(&vault, shop)?;
    let same = before.iter().zip(&same).filter(|(old, new)| old == new);
    let same = same.count();
    paper.line(&format!(
        "   {name} is filled from {filled} rows beside the callers, read, and {INDEX_1} destroyed: \
         {same} of {} cards keep their token",
        before.len()
    ))?;
    told(
        same == before.len() && meanwhile == before,
        "a card keeps its token under a new index key",
    )
}

/// The tokens that the published cards have.
fn tokens(vault: &FolderVault, shop: &Domain) -> Outcome<Vec<Token>> {
    let all = vault.tokenize_batch(shop, &records()?, &Tokenize::convergent());
    let all = all.into_iter().map(|one| one.map(|one| one.token));
    all.collect::<Result<_, _>>().map_err(failed("tokenize"))
}

/// A policy grants a desk masks, and not too many of them.
fn rights(paper: &Paper, folder: &Folder, shop: &Domain) -> Outcome<()> {
    let vault = folder.vault(folder.ring()?)?;
    let policy = AccessPolicy::from_toml(POLICY).map_err(failed("policy"))?;
    let officer = access("officer", "rights of the desk")?;
    let set = vault.set_policy(&officer, policy, &[]);
    set.map_err(failed("policy"))?;
    let card = CardRecord::new(pan(SHOWN)?);
    let token = vault.tokenize(shop, &card, &Tokenize::convergent());
    let token = token.map_err(failed("tokenize"))?.token;
    let desk = access("refund-desk", "a customer asks")?;
    let masks: Vec<_> = (0..4).map(|_| vault.masked(&desk, shop, &token)).collect();
    let full = vault.detokenize(&desk, shop, &token);
    let ([Ok(mask), Ok(_), Ok(_), Err(fourth)], Err(full)) = (&masks[..], full) else {
        return told(false, "a desk gets what it is granted, and no more");
    };
    paper.line(&format!(
        "   the desk may see 3 masks a day: {mask}; the whole number: refused: {full}"
    ))?;
    paper.line(&format!("   the fourth mask: refused: {fourth}"))
}

/// Where logs and rows stand now; it would be kept elsewhere.
fn checkpoint(folder: &Folder) -> Outcome<Vec<u8>> {
    let (ring, store) = (folder.ring()?, folder.store()?);
    let logs = verify(&folder.audit(), &ring, &[], &mut |_| {}).map_err(failed("audit log"))?;
    let now = UnixSeconds::now();
    let made = write_checkpoint_blocking(Vec::new(), &ring, now, logs.positions, Some(&store));
    Ok(made.map_err(failed("checkpoint"))?.0)
}

fn later() -> UnixSeconds {
    UnixSeconds::now().plus(LATER_DAYS * 86_400)
}

/// Cards of payments that were settled long ago go; gives how many tokens did.
fn purge(paper: &Paper, folder: &Folder) -> Outcome<u64> {
    let ring = folder.ring()?;
    let log = folder.log(&ring)?;
    let vault = BlockingVault::open_with(folder.store()?, ring, log, || SystemRandom, later);
    let vault = vault.map_err(failed("vault"))?;
    let ledger = Ledger::new(vault.vault().clone()).blocking();
    let books = domain(story::SHOP_DOMAIN)?;
    let surveyed = survey(&ledger, &books)?;
    let counts: Vec<_> = surveyed
        .tally()
        .counts()
        .filter(|(of, ..)| **of == books)
        .map(|(_, verdict, count)| format!("{count} {verdict}"))
        .collect();
    let going = surveyed.tally().going();
    paper.line(&format!(
        "   {LATER_DAYS} days later, {KEPT_DAYS} kept from the settlement: {}; {going} would go",
        counts.join(", ")
    ))?;
    match surveyed.approve(None) {
        Ok(_) => return told(false, "a clock alone lets nothing go").map(|()| 0),
        Err(error) => paper.line(&format!("   without a person's word: refused: {error}"))?,
    }
    let today = Date::of(later(), 0);
    let approved = survey(&ledger, &books)?.approve(today);
    let approved = approved.map_err(failed("purge"))?;
    let who = access("retention", "the yearly purge")?;
    let (mut after, mut purged) = (None, 0);
    loop {
        let step = ledger.purge(&who, &approved, after, MAX_BATCH);
        let step = step.map_err(failed("purge"))?;
        purged += step.tally.going();
        after = step.cursor;
        if after.is_none() {
            break;
        }
    }
    let again = survey(&ledger, &books)?.tally().going();
    told(
        purged == going && purged > 0 && again == 0,
        "what a survey says is what goes",
    )?;
    Ok(purged)
}

fn survey(ledger: &BlockingLedger<FolderStore>, books: &Domain) -> Outcome<Survey> {
    let mut retention = Retention::new(KeepRule::FOREVER).map_err(failed("retention"))?;
    let rule = KeepRule {
        settled_days: Some(KEPT_DAYS),
        ..KeepRule::FOREVER
    };
    let set = retention.set(*books, rule);
    set.map_err(failed("retention"))?;
    let mut survey = ledger.survey(retention).map_err(failed("survey"))?;
    while !survey.is_done() {
        let step = ledger.survey_step(&mut survey, MAX_BATCH);
        step.map_err(failed("survey"))?;
    }
    Ok(survey)
}

/// What was purged is no fault; what was done by hand is.
fn audit(paper: &Paper, folder: &Folder, checkpoint: &[u8], purged: u64) -> Outcome<()> {
    let store = folder.store()?;
    let (rows, logs, found) = compare(folder, &store, checkpoint)?;
    paper.line(&format!(
        "   audit of {rows} rows and {} against the checkpoint of before: {purged} gone, as the log says; {} faults",
        if logs.len() == 1 { "a log" } else { "logs" },
        found.len()
    ))?;
    told(found.is_empty(), "what was purged is no fault")?;

    let first = block_on(store.scan(None, None, 1)).map_err(failed("store"))?;
    let Some((key, row)) = first.first().cloned() else {
        return told(false, "rows are left");
    };
    let delete = Write::Delete {
        token: key,
        expected: row.clone(),
        index: Vec::new(),
    };
    block_on(store.write(None, vec![delete])).map_err(failed("store"))?;
    let (.., found) = compare(folder, &store, checkpoint)?;
    for fault in &found {
        paper.line(&format!("   a row taken out by hand: {fault}"))?;
    }
    told(found.len() == 1, "a row that is gone is found")?;
    let back = vec![Write::Put(Item::Row(key, row))];
    block_on(store.write(None, back)).map_err(failed("store"))?;
    told(
        compare(folder, &store, checkpoint)?.2.is_empty(),
        "a row that is back as it was is no fault",
    )?;
    changed_log(paper, folder, &logs)
}

/// How many rows were compared, where the logs stood, and what is wrong.
fn compare(
    folder: &Folder,
    store: &FolderStore,
    checkpoint: &[u8],
) -> Outcome<(u64, Vec<LogPosition>, Vec<String>)> {
    let ring = folder.ring()?;
    let mut checkpoint =
        Checkpoint::open(Cursor::new(checkpoint), &ring).map_err(failed("checkpoint"))?;
    let logs = checkpoint.logs().map_err(failed("checkpoint"))?;
    let mut found = log_faults(folder, &ring, &logs)?;
    let mut sink = |finding: RowFinding| found.push(finding.to_string());
    let compared = compare_rows_blocking(store, &mut checkpoint, &folder.audit(), &ring, &mut sink);
    let rows = compared.map_err(failed("audit"))?.rows;
    Ok((rows, logs, found))
}

/// One bit of the log is another one for a while.
fn changed_log(paper: &Paper, folder: &Folder, logs: &[LogPosition]) -> Outcome<()> {
    let audit = folder.audit();
    let mut entries = fs::read_dir(&audit).map_err(Failure::at(&audit))?;
    let Some(log) = entries.next() else {
        return told(false, "the vault has a log");
    };
    let path = log
        .map_err(Failure::at(&audit))?
        .path()
        .join("00000000.cva");
    let whole = fs::read(&path).map_err(Failure::at(&path))?;
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    if let Some(byte) = changed.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(&path, changed).map_err(Failure::at(&path))?;
    let found = log_faults(folder, &folder.ring()?, logs)?;
    fs::write(&path, whole).map_err(Failure::at(&path))?;
    match found.first() {
        Some(first) => paper.line(&format!("   one bit of the log changed: {first}")),
        None => told(false, "a changed log is found"),
    }
}

/// What is wrong with the logs.
fn log_faults(folder: &Folder, ring: &KeyRing, logs: &[LogPosition]) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    let verified = verify(&folder.audit(), ring, logs, &mut |told| {
        if let Told::Finding(finding) = told {
            found.push(finding.to_string());
        }
    });
    verified.map_err(failed("audit log"))?;
    Ok(found)
}
