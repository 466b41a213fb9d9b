//! `keys rotate`: a new version of a key, in use, and what is under the older ones moved to it.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use cardvault::keys::{Cryptoperiod, KeyName, KeyRing, KeyState, KeyUse};
use cardvault::ledger::{BlockingLedger, Ledger, LedgerError, MAX_PAGE};
use cardvault::vault::{Embedded, RewrapProgress, Rewrapping, RewrapPace};
use cardvault::{SystemRandom, UnixSeconds};
use serde_json::{Value, json};

use crate::args::{Pace, Rotate};
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, FolderVault};
use crate::keys::{open_for_change, usage};
use crate::progress::{Unit, progress};
use crate::rewrap::{all_moved, move_records, moved_json, moved_text};
use crate::rotation::Rotation;

pub(crate) fn run(args: &Rotate, quiet: bool) -> Outcome<Exit> {
    let usage = usage("keys rotate", &args.usage)?;
    let (mut folder, vault, ring) = open_for_change(&args.vault)?;
    let rotation = Rotation::open(&folder, usage)?;
    let goes_on = rotation.unfinished.as_ref().map(|unfinished| unfinished.name);
    let active = ring.active(usage).ok().map(|info| info.name);
    let name = match (goes_on, active) {
        (Some(name), Some(active)) if name == active => name,
        _ => begin(&mut folder, &vault, ring, usage, &rotation)?,
    };
    let ring = folder.ring()?;
    if !args.json {
        let how = if goes_on == Some(name) { " again" } else { "" };
        crate::show(&format!("{name} is active{how}\n"))?;
    }
    let moved = match usage {
        KeyUse::Card => {
            let rotation = Rotation::open(&folder, usage)?;
            Some(move_records(&vault, rotation, name, &args.pace, u64::MAX, quiet)?.0)
        }
        KeyUse::Ledger => Some(rebind(&vault, &args.pace, quiet)?),
        _ => None,
    };
    if usage != KeyUse::Card && moved.is_none_or(|moved| moved.left == 0) {
        rotation.end()?;
    }
    show(args, &folder, &ring, name, moved.as_ref())?;
    moved.as_ref().map_or(Ok(Exit::Done), all_moved)
}

/// Draws a version and puts it into use. What is kept of it first lets an interrupted run go on
/// with this version and not draw another.
fn begin(
    folder: &mut Folder,
    vault: &FolderVault,
    mut ring: KeyRing,
    usage: KeyUse,
    rotation: &Rotation,
) -> Outcome<KeyName> {
    let now = UnixSeconds::now();
    let period = Cryptoperiod::default_of(usage);
    let name = ring.add(usage, period, now, &mut SystemRandom)?;
    ring.activate(name, now)?;
    rotation.keep(name, &Rewrapping::new(RewrapPace::FULL).cursor())?;
    folder.change_ring(vault, ring)?;
    Ok(name)
}

/// Binds the ledger's rows anew, all of them.
fn rebind(vault: &FolderVault, pace: &Pace, quiet: bool) -> Outcome<RewrapProgress> {
    let failed = |error: LedgerError| Failure::keys("rebind", error);
    let ledger: BlockingLedger<Embedded> = Ledger::new(vault.vault().clone()).blocking();
    let bar = progress(None, Unit::Rows, "ledger", quiet);
    let most = pace.rate.and_then(|rate| usize::try_from(rate.get()).ok());
    let limit = most.map_or(MAX_PAGE, |most| most.min(MAX_PAGE));
    let mut all = RewrapProgress::default();
    let mut after = None;
    loop {
        let start = Instant::now();
        let step = ledger.rebind(after, limit).map_err(failed)?;
        all.seen += step.seen;
        all.moved += step.moved;
        all.left += step.left;
        bar.set_position(all.seen);
        after = step.cursor;
        if after.is_none() {
            bar.finish_and_clear();
            return Ok(all);
        }
        if let Some(rate) = pace.rate {
            let rows = u32::try_from(step.seen).unwrap_or(u32::MAX);
            let due = Duration::from_secs(1) * rows / rate.get();
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
}

fn show(
    args: &Rotate,
    folder: &Folder,
    ring: &KeyRing,
    name: KeyName,
    moved: Option<&RewrapProgress>,
) -> Outcome<()> {
    let retired: Vec<_> = ring
        .versions()
        .filter(|info| info.name.usage == name.usage && info.name != name && info.may_open())
        .map(|info| (info.name, info.state))
        .collect();
    if args.json {
        let names: Vec<_> = retired.iter().map(|(name, _)| name.to_string()).collect();
        let mut shown = moved.map_or_else(|| json!({}), moved_json);
        if let Value::Object(fields) = &mut shown {
            fields.insert("key".to_owned(), name.to_string().into());
            fields.insert("retired".to_owned(), names.into());
        }
        return crate::show(&format!("{shown:#}\n"));
    }
    let mut text = moved.map_or_else(String::new, |moved| moved_text(moved, name));
    let folder = folder.path().display();
    let gone = |state| matches!(state, KeyState::Deactivated | KeyState::Compromised);
    match moved {
        Some(moved) if moved.left == 0 => {
            for (name, _) in retired.iter().filter(|(_, state)| gone(*state)) {
                text.push_str(&format!(
                    "nothing needs {name}: cardvault keys destroy {folder} {name}\n"
                ));
            }
        }
        Some(_) => {}
        None => text.push_str(follows(name.usage)),
    }
    crate::show(&text)
}

/// What follows from a new version of a use whose data lies elsewhere.
const fn follows(usage: KeyUse) -> &'static str {
    match usage {
        KeyUse::Vaultless => {
            "new tokens are of this generation; those of the one before it open until it is \
             destroyed\n"
        }
        KeyUse::Irreversible => {
            "a card gets another token from now on: older ones cannot be compared with new ones\n"
        }
        KeyUse::Journal => {
            "each terminal gets it with its next epoch; keep the older version until all have \
             uploaded\n"
        }
        KeyUse::Archive => {
            "the next archive is under it; keep the older version as long as its archives\n"
        }
        _ => "",
    }
}
