//! `vault purge`: what a retention policy no longer keeps is counted and taken out, and the key
//! version of its period destroyed.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardvault::UnixSeconds;
use cardvault::keys::{KeyName, KeyRing, KeyState, KeyUse};
use cardvault::ledger::{BlockingLedger, Ledger};
use cardvault::payment::Date;
use cardvault::vault::{
    Access, ApprovedPurge, MAX_BATCH, Operation, PurgeTally, Retention, RetentionFileError, Survey,
    VaultError, Verdict,
};
use clap::Args;
use serde_json::{Value, json};

use crate::args::VaultArgs;
use crate::desk::grid::{Grid, counted};
use crate::desk::moment::utc;
use crate::desk::{date_argument, failure};
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, FolderVault, show_mark};
use crate::keys::destroy_unneeded;
use crate::progress::{Unit, progress};
use crate::store::FolderStore;
use crate::who::WhoArgs;

/// The policy's name in a vault's folder.
const POLICY_FILE: &str = "retention.toml";
/// Rows that one step takes: so long do others wait at most.
const STEP: usize = 1_000;

#[derive(Debug, Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// The retention policy [default: retention.toml in the folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// A file with more holds: tokens and domains that stay whatever the policy says
    #[arg(long, value_name = "FILE")]
    pub(crate) hold: Vec<PathBuf>,
    /// Count what would go and why, and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// The day that it is, in UTC, for a clock that the vault's tokens do not speak for
    #[arg(long, value_name = "DATE", value_parser = date_argument)]
    pub(crate) today: Option<Date>,
    /// Then seal what is left under this retired card key anew, and destroy the key
    #[arg(long, value_name = "KEY", conflicts_with = "dry_run")]
    pub(crate) destroy: Option<KeyName>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) who: WhoArgs,
    /// For what; goes to the audit log with each token
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "retention",
        help_heading = "Access"
    )]
    pub(crate) purpose: String,
}

pub(crate) fn run(args: &Purge, quiet: bool) -> Outcome<Exit> {
    let access = args.who.access(&args.purpose)?;
    let retention = read_policy(args)?;
    let mut folder = match args.destroy {
        Some(_) => Folder::open_to_change(&args.vault)?,
        None => Folder::open(&args.vault)?,
    };
    let ring = folder.ring()?;
    show_mark(&ring);
    let destroy = match args.destroy {
        Some(name) => is_to_be_destroyed(&ring, name)?.then_some(name),
        None => None,
    };
    let vault = folder.vault(ring)?;
    let ledger = Ledger::new(Arc::clone(vault.vault())).blocking();
    let rows = vault.count().map_err(failed)?;
    let survey = survey(&ledger, retention, rows, quiet)?;
    let as_of = survey.as_of();
    let mut tally = survey.tally().clone();
    if !args.dry_run {
        let approved = survey.approve(args.today);
        let approved = approved.map_err(|error| failed(error.into()))?;
        tally = purge(&ledger, &access, &approved, rows, quiet)?;
    }
    let moved = match destroy {
        Some(name) => Some(destroy_version(
            &mut folder,
            &vault,
            &access,
            name,
            rows,
            quiet,
        )?),
        None => None,
    };
    if args.json {
        let shown = shown_json(args, as_of, &tally, moved);
        crate::show(&format!("{shown:#}\n"))?;
    } else {
        show_text(args, &tally, moved)?;
    }
    Ok(
        if tally.of(Verdict::Unclear) + tally.of(Verdict::Changed) + tally.unreadable() > 0 {
            Exit::Rejected
        } else {
            Exit::Done
        },
    )
}

fn failed(error: VaultError) -> Failure {
    Failure::vault("purge", error)
}

fn read_policy(args: &Purge) -> Outcome<Retention> {
    let default = args.vault.folder.join(POLICY_FILE);
    let path = args.policy.as_ref().unwrap_or(&default);
    let named = |path: &Path, error: RetentionFileError| {
        Failure::files(path.display().to_string(), error).hint("the manual has a policy by example")
    };
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::at(path)(error)
            .hint("nothing says what may go: write it, or give --policy FILE; the manual has one"),
        _ => Failure::at(path)(error),
    })?;
    let mut retention = Retention::from_toml(&text).map_err(|error| named(path, error))?;
    for path in &args.hold {
        let text = fs::read_to_string(path).map_err(Failure::at(path))?;
        let added = retention.add_holds(&text);
        added.map_err(|error| named(path, error))?;
    }
    Ok(retention)
}

/// Whether the version can be destroyed, or is destroyed already.
fn is_to_be_destroyed(ring: &KeyRing, name: KeyName) -> Outcome<bool> {
    let what = format!("destroy {name}");
    if name.usage != KeyUse::Card {
        return Err(Failure::usage(what, "cards are sealed under card keys")
            .hint("`cardvault keys destroy` is for the others"));
    }
    match ring.info(name)?.state {
        KeyState::Destroyed => Ok(false),
        state if state.may_become(KeyState::Destroyed) => Ok(true),
        state => Err(Failure::keys(what, format!("it is {state}"))
            .hint("`cardvault keys add FOLDER card` and `keys activate` begin the next period")),
    }
}

fn survey(
    ledger: &BlockingLedger<FolderStore>,
    retention: Retention,
    rows: u64,
    quiet: bool,
) -> Outcome<Survey> {
    let bar = progress(Some(rows), Unit::Rows, "looking", quiet);
    let mut survey = ledger.survey(retention).map_err(failure)?;
    while !survey.is_done() {
        let step = ledger.survey_step(&mut survey, MAX_BATCH);
        step.map_err(failure)?;
        bar.set_position(survey.seen());
    }
    bar.finish_and_clear();
    Ok(survey)
}

fn purge(
    ledger: &BlockingLedger<FolderStore>,
    access: &Access,
    approved: &ApprovedPurge,
    rows: u64,
    quiet: bool,
) -> Outcome<PurgeTally> {
    let bar = progress(Some(rows), Unit::Rows, "purging", quiet);
    let (mut after, mut tally) = (None, PurgeTally::default());
    loop {
        let step = ledger.purge(access, approved, after, STEP);
        let step = step.map_err(|error| {
            failure(error).hint("what went is gone: run the same command again")
        })?;
        bar.inc(step.seen);
        tally.add(&step.tally);
        after = step.cursor;
        if after.is_none() {
            bar.finish_and_clear();
            return Ok(tally);
        }
    }
}

/// Moves what is left under the version to the active one, and destroys it. Gives how many records
/// were moved.
fn destroy_version(
    folder: &mut Folder,
    vault: &FolderVault,
    access: &Access,
    name: KeyName,
    rows: u64,
    quiet: bool,
) -> Outcome<u64> {
    let record = |operation| {
        let recorded = vault.record(access, operation, None, Some(name));
        recorded.map_err(|error| Failure::vault(operation.as_str(), error))
    };
    record(Operation::Rewrap)?;
    let bar = progress(Some(rows), Unit::Rows, "sealing anew", quiet);
    let (mut after, mut moved) = (None, 0);
    loop {
        // This version alone: the records of later periods stay under theirs.
        let step = vault.rewrap_of(&[name.version], after, STEP);
        let step = step.map_err(failed)?;
        moved += step.moved;
        bar.inc(step.seen);
        after = step.cursor;
        if after.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    let mut ring = folder.ring()?;
    let path = folder.path().display().to_string();
    destroy_unneeded(vault, &mut ring, name, false, &path)?;
    record(Operation::DestroyKey)?;
    folder.change_ring(vault, ring)?;
    Ok(moved)
}

fn show_text(args: &Purge, tally: &PurgeTally, moved: Option<u64>) -> Outcome<()> {
    let word = |verdict: Verdict| match (verdict.goes(), args.dry_run) {
        (true, true) => "would go",
        (true, false) => "gone",
        (false, _) => "stays",
    };
    let rows: Vec<_> = tally
        .counts()
        .map(|(domain, verdict, count)| {
            [
                domain.to_string(),
                word(verdict).to_owned(),
                verdict.to_string(),
                count.to_string(),
            ]
        })
        .collect();
    Grid::new(["DOMAIN", "OUTCOME", "WHY", "TOKENS"]).rows(&rows)?;
    let done = if args.dry_run { "would go" } else { "purged" };
    let mut text = format!("{} {done}\n", counted(tally.going(), "token"));
    if tally.of(Verdict::Changed) > 0 {
        text.push_str("some changed meanwhile: run it again\n");
    }
    if tally.of(Verdict::Unclear) > 0 {
        text.push_str(
            "some are unclear: their rows, or their payments', are not what was written\n",
        );
    }
    if tally.unreadable() > 0 {
        text.push_str(&format!(
            "{} are not the vault's\n",
            counted(tally.unreadable(), "row")
        ));
    }
    match (args.destroy, moved) {
        (Some(name), Some(moved)) => text.push_str(&format!(
            "{} sealed anew, {name} destroyed\n\
             older copies of the ring file, and archives that carry it, still hold {name}: destroy them too\n",
            counted(moved, "record")
        )),
        (Some(name), None) => text.push_str(&format!("{name} was destroyed before\n")),
        _ => {}
    }
    crate::show(&text)
}

fn shown_json(args: &Purge, as_of: UnixSeconds, tally: &PurgeTally, moved: Option<u64>) -> Value {
    let tokens: Vec<_> = tally
        .counts()
        .map(|(domain, verdict, count)| {
            json!({
                "domain": domain.to_string(),
                "goes": verdict.goes(),
                "why": verdict.as_str(),
                "tokens": count,
            })
        })
        .collect();
    json!({
        "as_of": utc(as_of),
        "dry_run": args.dry_run,
        "going": tally.going(),
        "tokens": tokens,
        "unreadable": tally.unreadable(),
        "destroyed": args.destroy.map(|name| name.to_string()),
        "sealed_anew": moved,
    })
}
