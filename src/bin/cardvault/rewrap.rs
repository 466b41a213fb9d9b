//! `vault`: records of retired keys, moved and listed; `vault purge` is in [`crate::purge`].
#![forbid(unsafe_code)]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use cardvault::keys::{KeyName, KeyRing, KeyUse};
use cardvault::vault::{MAX_BATCH, Operation, RewrapPace, RewrapProgress, Rewrapping, VaultError};
use serde_json::{Value, json};

use crate::args::{Pace, Rewrap, Under, Vault};
use crate::desk::grid::counted;
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, FolderVault, show_mark};
use crate::keys::record;
use crate::progress::{Unit, progress};
use crate::purge;
use crate::rotation::Rotation;

/// How often the place is kept from which an interrupted run goes on.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Off a terminal a rewrap says after so many rows where it stands.
const REPORT_ROWS: u64 = 1_000_000;

pub(crate) fn run(command: &Vault, quiet: bool) -> Outcome<Exit> {
    match command {
        Vault::Rewrap(args) => rewrap(args, quiet),
        Vault::Under(args) => under(args),
        Vault::Purge(args) => purge::run(args, quiet),
    }
}

fn rewrap(args: &Rewrap, quiet: bool) -> Outcome<Exit> {
    // Two at once would write the place to go on from in turns.
    let folder = Folder::open_to_change(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let name = ring.active(KeyUse::Card)?.name;
    let rotation = Rotation::open(&folder, KeyUse::Card)?;
    let vault = folder.vault(ring)?;
    record(&vault, &args.access, Operation::Rewrap, name)?;
    let limit = args.limit.unwrap_or(u64::MAX);
    let (progress, is_done) = move_records(&vault, rotation, name, &args.pace, limit, quiet)?;
    if args.json {
        let mut shown = moved_json(&progress);
        if let Value::Object(fields) = &mut shown {
            fields.insert("key".to_owned(), name.to_string().into());
            fields.insert("done".to_owned(), is_done.into());
        }
        crate::show(&format!("{shown:#}\n"))?;
    } else {
        crate::show(&moved_text(&progress, name))?;
        if !is_done {
            crate::show("run it again to go on\n")?;
        }
    }
    all_moved(&progress)
}

/// Moves records to the active version `name`, from where an earlier run was on, and keeps the
/// place. Gives how far it came and whether that is the end.
pub(crate) fn move_records(
    vault: &FolderVault,
    rotation: Rotation,
    name: KeyName,
    pace: &Pace,
    limit: u64,
    quiet: bool,
) -> Outcome<(RewrapProgress, bool)> {
    let failed = |error: VaultError| {
        Failure::vault("rewrap", error).or_hint("run the same command again: it goes on from here")
    };
    let pace = pace
        .rate
        .map_or(RewrapPace::FULL, |rate| RewrapPace::FULL.at_most(rate));
    let unfinished = rotation.unfinished.as_ref();
    let mut rewrapping = unfinished
        .filter(|unfinished| unfinished.name == name)
        .and_then(|unfinished| Rewrapping::resume(pace, &unfinished.cursor).ok())
        .unwrap_or_else(|| Rewrapping::new(pace));
    let from = rewrapping.progress().seen;
    let bar = progress(Some(from), Unit::Rows, "", quiet);
    let (mut kept, mut reported, mut trouble) = (Instant::now(), from, None);
    let moved = vault.rewrap_all(&mut rewrapping, |rewrapping| {
        let progress = rewrapping.progress();
        bar.set_message(if progress.urgent { "compromised" } else { "" });
        bar.set_length(progress.total);
        bar.set_position(progress.seen);
        if bar.is_hidden() && !quiet && progress.seen - reported >= REPORT_ROWS {
            reported = progress.seen;
            crate::say(&format!("{reported} rows"));
        }
        if kept.elapsed() >= KEEP_EVERY {
            kept = Instant::now();
            trouble = rotation.keep(name, &rewrapping.cursor()).err();
        }
        if trouble.is_some() || progress.seen.saturating_sub(from) >= limit {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let is_done = rewrapping.is_done();
    if is_done {
        rotation.end()?;
    } else {
        rotation.keep(name, &rewrapping.cursor())?;
    }
    moved.map_err(failed)?;
    Ok((*rewrapping.progress(), is_done))
}

pub(crate) fn moved_text(progress: &RewrapProgress, name: KeyName) -> String {
    let rows = counted(progress.seen, "row");
    let mut text = format!("{rows} seen, {} sealed anew under {name}\n", progress.moved);
    if progress.left > 0 {
        text.push_str(&format!("{} left\n", progress.left));
    }
    text
}

pub(crate) fn moved_json(progress: &RewrapProgress) -> Value {
    json!({
        "rows": progress.seen,
        "moved": progress.moved,
        "left": progress.left,
    })
}

/// Records that stay under retired versions are a failure.
pub(crate) fn all_moved(progress: &RewrapProgress) -> Outcome<Exit> {
    if progress.left == 0 {
        return Ok(Exit::Done);
    }
    Err(Failure::keys(
        "rewrap",
        format!(
            "{} do not open and were left",
            counted(progress.left, "record")
        ),
    )
    .hint("`cardvault stats` counts what no key opens; `cardvault import` of a backup restores it"))
}

fn under(args: &Under) -> Outcome<Exit> {
    let name = args.name;
    let what = format!("vault under {name}");
    if name.usage != KeyUse::Card {
        return Err(Failure::usage(what, "tokens are under card keys alone"));
    }
    let access = args.access.access()?;
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let vault = folder.vault(ring)?;
    let mut after = None;
    let mut text = String::from("domain,token\n");
    loop {
        let page = vault
            .list_under(&access, name.version, after, MAX_BATCH)
            .map_err(|error| Failure::vault(&*what, error))?;
        for (domain, token) in &page.tokens {
            text.push_str(&format!("{},{token}\n", csv(&domain.to_string())));
        }
        crate::show(&core::mem::take(&mut text))?;
        after = page.cursor;
        if after.is_none() {
            return Ok(Exit::Done);
        }
    }
}

/// A field of a CSV line.
fn csv(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// What to do about a compromised version.
pub(crate) fn compromised_hint(ring: &KeyRing, name: KeyName, folder: &str) -> String {
    match name.usage {
        KeyUse::Card if ring.active(KeyUse::Card).is_ok() => format!(
            "move its records: cardvault vault rewrap {folder}\n\
             list its tokens:  cardvault vault under {folder} {name} --purpose TEXT\n"
        ),
        KeyUse::Card => format!(
            "move its records: cardvault keys rotate {folder} card\n\
             list its tokens:  cardvault vault under {folder} {name} --purpose TEXT\n"
        ),
        usage => format!("replace it: cardvault keys rotate {folder} {usage}\n"),
    }
}
