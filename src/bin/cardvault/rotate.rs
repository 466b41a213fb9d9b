//! `keys rotate`: a new version of a key, in use, and what is under the older ones moved to it.
#![forbid(unsafe_code)]

use std::thread;
use std::time::{Duration, Instant};

use cardvault::keys::{Cryptoperiod, KeyName, KeyRing, KeyState, KeyUse};
use cardvault::ledger::{BlockingLedger, Ledger, LedgerError, MAX_PAGE};
use cardvault::vault::{LeftRow, MAX_BATCH, Operation, RewrapPace, RewrapProgress, Rewrapping};
use cardvault::{SystemRandom, UnixSeconds};
use serde_json::{Value, json};

use crate::args::{Pace, Rotate};
use crate::desk::grid::counted;
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, FolderVault};
use crate::keys::{open_for_change, record};
use crate::progress::{Unit, progress};
use crate::rewrap::{all_moved, move_records, moved_json, moved_text};
use crate::rotation::Rotation;
use crate::store::FolderStore;

/// How many of the rows that are left are named.
const LEFT_SHOWN: usize = 20;

pub(crate) fn run(args: &Rotate, quiet: bool) -> Outcome<Exit> {
    let usage = args.usage;
    if args.leave.is_some() && usage != KeyUse::Index {
        return Err(Failure::usage(
            "keys rotate",
            "--leave is for index keys alone",
        ));
    }
    let leave = args.leave.unwrap_or(0);
    let (mut folder, vault, ring) = open_for_change(&args.vault)?;
    let rotation = Rotation::open(&folder, usage)?;
    let unfinished = rotation
        .unfinished
        .as_ref()
        .map(|unfinished| unfinished.name);
    let in_use = |name: &KeyName| {
        let info = ring.info(*name);
        info.is_ok_and(|info| info.filling || info.state == KeyState::Active)
    };
    let name = match unfinished.filter(in_use) {
        Some(name) => name,
        None => begin(&mut folder, &vault, ring, usage, &rotation, args)?,
    };
    if matches!(usage, KeyUse::Card | KeyUse::Index | KeyUse::Ledger) {
        record(&vault, &args.access, Operation::Rewrap, name)?;
    }
    if usage == KeyUse::Index {
        fill(&mut folder, &vault, name, args, quiet)?;
    }
    let ring = folder.ring()?;
    if !args.json {
        let how = if unfinished == Some(name) {
            ": going on with it"
        } else {
            ""
        };
        crate::show(&format!("{name} is active{how}\n"))?;
    }
    let moved = match usage {
        KeyUse::Card => {
            let rotation = Rotation::open(&folder, usage)?;
            Some(move_records(&vault, rotation, name, &args.pace, u64::MAX, quiet)?.0)
        }
        KeyUse::Ledger => Some(rebind(&vault, &args.pace, quiet)?),
        KeyUse::Index => Some(drop_old(&vault, &args.pace, quiet)?),
        _ => None,
    };
    let enough = moved.is_none_or(|moved| moved.left <= leave);
    if usage != KeyUse::Card && enough {
        rotation.end()?;
    }
    show(args, &folder, &ring, name, moved.as_ref())?;
    match &moved {
        Some(moved) if !enough => all_moved(moved),
        _ => Ok(Exit::Done),
    }
}

/// Draws a version and puts it into use; an index version is filled first. What is kept of it lets
/// an interrupted run go on with this version and not draw another.
fn begin(
    folder: &mut Folder,
    vault: &FolderVault,
    mut ring: KeyRing,
    usage: KeyUse,
    rotation: &Rotation,
    args: &Rotate,
) -> Outcome<KeyName> {
    let filling = ring.versions().find(|info| info.filling);
    if let Some(name) = filling.map(|info| info.name)
        && name.usage == usage
    {
        return Ok(name);
    }
    let now = UnixSeconds::now();
    let period = Cryptoperiod::default_of(usage);
    let name = ring.add(usage, period, now, &mut SystemRandom)?;
    record(vault, &args.access, Operation::AddKey, name)?;
    if usage == KeyUse::Index {
        ring.begin_filling(name)?;
    } else {
        ring.activate(name, now)?;
        record(vault, &args.access, Operation::ActivateKey, name)?;
    }
    rotation.keep(name, &Rewrapping::new(RewrapPace::FULL).cursor())?;
    folder.change_ring(vault, ring)?;
    Ok(name)
}

/// Puts every row under an index version, and has that read then. The vault notes how far it came.
fn fill(
    folder: &mut Folder,
    vault: &FolderVault,
    name: KeyName,
    args: &Rotate,
    quiet: bool,
) -> Outcome<()> {
    let mut ring = folder.ring()?;
    if ring.info(name)?.state == KeyState::Active {
        return Ok(());
    }
    let failed = |error| Failure::vault("index", error);
    let rows = vault.count().map_err(failed)?;
    let bar = progress(Some(rows), Unit::Rows, "filling", quiet);
    let (mut left, mut shown) = (0, Vec::new());
    let filled = args.pace.each(MAX_BATCH, |limit| {
        let step = vault.fill_index(limit).map_err(failed)?;
        bar.set_position(step.seen_in_all);
        left = step.left_in_all;
        let more = LEFT_SHOWN - shown.len();
        shown.extend(step.left.iter().take(more).map(left_line));
        Ok((step.seen, !step.done))
    });
    bar.finish_and_clear();
    filled?;
    if left > args.leave.unwrap_or(0) {
        let rows = counted(left, "row");
        let failure = Failure::keys("index", format!("{rows} cannot be put under {name}"));
        return Err(failure.with_lines(shown).hint(format!(
            "delete these tokens and run this again; or leave them: with `--leave {left}` their \
             cards are not found any more, and get new tokens"
        )));
    }
    if left > 0 {
        vault.fill_leaving(left).map_err(failed)?;
    }
    ring.activate(name, UnixSeconds::now())?;
    record(vault, &args.access, Operation::ActivateKey, name)?;
    folder.change_ring(vault, ring)
}

fn left_line(row: &LeftRow) -> String {
    match &row.token {
        Some((domain, token)) => format!("{domain}  {token}  {}", row.why),
        None => format!("a row that names no token: {}", row.why),
    }
}

/// Takes every row out of the index versions that are not read any more.
fn drop_old(vault: &FolderVault, pace: &Pace, quiet: bool) -> Outcome<RewrapProgress> {
    let bar = progress(None, Unit::Rows, "index", quiet);
    let mut all = RewrapProgress::default();
    let mut after = None;
    pace.each(MAX_BATCH, |limit| {
        let step = vault.drop_index(after, limit);
        let step = step.map_err(|error| Failure::vault("index", error))?;
        all.seen += step.seen;
        all.moved += step.moved;
        all.left += counted_len(step.left.len());
        bar.set_position(all.seen);
        after = step.cursor;
        Ok((step.seen, after.is_some()))
    })?;
    bar.finish_and_clear();
    Ok(all)
}

fn counted_len(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Binds the ledger's rows anew, all of them.
fn rebind(vault: &FolderVault, pace: &Pace, quiet: bool) -> Outcome<RewrapProgress> {
    let failed = |error: LedgerError| Failure::keys("rebind", error);
    let ledger: BlockingLedger<FolderStore> = Ledger::new(vault.vault().clone()).blocking();
    let bar = progress(None, Unit::Rows, "ledger", quiet);
    let mut all = RewrapProgress::default();
    let mut after = None;
    pace.each(MAX_PAGE, |limit| {
        let step = ledger.rebind(after, limit).map_err(failed)?;
        all.seen += step.seen;
        all.moved += step.moved;
        all.left += step.left;
        bar.set_position(all.seen);
        after = step.cursor;
        Ok((step.seen, after.is_some()))
    })?;
    bar.finish_and_clear();
    Ok(all)
}

impl Pace {
    /// Takes steps of at most `most` rows, until one says that there are no more.
    fn each(
        &self,
        most: usize,
        mut step: impl FnMut(usize) -> Outcome<(u64, bool)>,
    ) -> Outcome<()> {
        let rate = self.rate.and_then(|rate| usize::try_from(rate.get()).ok());
        let limit = rate.map_or(most, |rate| rate.min(most));
        loop {
            let start = Instant::now();
            let (seen, more) = step(limit)?;
            if !more {
                return Ok(());
            }
            if let Some(rate) = self.rate {
                let rows = u32::try_from(seen).unwrap_or(u32::MAX);
                let due = Duration::from_secs(1) * rows / rate.get();
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
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
        KeyUse::Audit => {
            "the next command begins a log under it; keep the older version as long as its logs and \
             checkpoints\n"
        }
        _ => "",
    }
}
