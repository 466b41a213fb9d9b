//! `keys`: list, check, add, activate, retire, destroy, and components of a KEK; `keys rotate` is
//! in [`crate::rotate`].
#![forbid(unsafe_code)]

use cardvault::keys::{Cryptoperiod, Kek, KeyName, KeyRing, KeyUse};
use cardvault::ledger::{Ledger, LedgerError};
use cardvault::vault::{Elsewhere, Operation, VaultError};
use cardvault::{SystemRandom, UnixSeconds};
use serde_json::Value;

use crate::args::{Add, Change, Check, Components, Destroy, Keys, Listing, Retire};
use crate::desk::grid::Grid;
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, FolderVault, show_mark};
use crate::listing;
use crate::rewrap::compromised_hint;
use crate::rotate;
use crate::secrets::{draw_components, read_component};
use crate::table::Look;
use crate::who::KeyAccessArgs;

pub(crate) fn run(command: &Keys, quiet: bool) -> Outcome<Exit> {
    match command {
        Keys::Rotate(args) => return rotate::run(args, quiet),
        Keys::List(args) => list(args),
        Keys::Check(args) => check(args),
        Keys::Add(args) => add(args),
        Keys::Activate(args) => activate(args),
        Keys::Retire(args) => retire(args),
        Keys::Destroy(args) => destroy(args),
        Keys::Components(args) => components(args),
    }?;
    Ok(Exit::Done)
}

fn list(args: &Listing) -> Outcome<()> {
    let ring = Folder::open(&args.vault)?.ring()?;
    show_mark(&ring);
    if args.json {
        return crate::show(&format!("{:#}\n", listing::json(&ring, UnixSeconds::now())));
    }
    crate::show(&format!(
        "ring {} {} generation {}\n\n",
        ring.id(),
        ring.mark(),
        ring.generation()
    ))?;
    crate::show(&listing::table(
        &ring,
        UnixSeconds::now(),
        Look::of_stdout(),
    ))
}

fn check(args: &Check) -> Outcome<()> {
    let Some(folder) = &args.folder else {
        return check_components(args);
    };
    let folder = Folder::open_at(folder, &args.unlock)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    // An old copy of the ring is refused here.
    drop(folder.vault(folder.ring()?)?);
    let within = u64::from(args.within_days).saturating_mul(UnixSeconds::DAY);
    let due: Vec<_> = ring.due(UnixSeconds::now(), within).collect();
    if args.json {
        let now = UnixSeconds::now();
        let due: Vec<_> = due.iter().map(|due| listing::due_json(due, now)).collect();
        let mut value = listing::json(&ring, now);
        if let Value::Object(fields) = &mut value {
            fields.insert("due".to_owned(), due.into());
        }
        return crate::show(&format!("{value:#}\n"));
    }
    let mut text = String::new();
    for info in ring.versions() {
        text.push_str(&format!(
            "{:<16} {}\n",
            info.name.to_string(),
            info.check_value
        ));
    }
    for due in &due {
        text.push_str(&format!(
            "due {} {}: {}\n",
            listing::date(Some(due.at)),
            due.name,
            listing::action(due)
        ));
    }
    crate::show(&text)
}

fn check_components(args: &Check) -> Outcome<()> {
    let files = &args.unlock.component_file;
    if files.is_empty() {
        return Err(Failure::usage("keys check", "nothing to check")
            .hint("give a vault's folder, or --component-file FILE"));
    }
    let mut components = Vec::with_capacity(files.len());
    let mut text = String::new();
    for path in files {
        let component = read_component(path)?;
        text.push_str(&format!(
            "{}  {}\n",
            component.check_value(),
            path.display()
        ));
        components.push(component);
    }
    if components.len() > 1 {
        let kek = Kek::combine(&components, None)?;
        text.push_str(&format!("{}  KEK\n", kek.check_value()));
    }
    crate::show(&text)
}

fn add(args: &Add) -> Outcome<()> {
    let usage = args.usage;
    let days = |days: u32| u64::from(days).saturating_mul(UnixSeconds::DAY);
    let period = match (args.seal_days, args.open_days) {
        (Some(seal), Some(open)) => Cryptoperiod::new(days(seal), days(open))?,
        _ => Cryptoperiod::default_of(usage),
    };
    let (mut folder, vault, mut ring) = open_for_change(&args.vault)?;
    let name = ring.add(usage, period, UnixSeconds::now(), &mut SystemRandom)?;
    record(&vault, &args.access, Operation::AddKey, name)?;
    let info = *ring.info(name)?;
    folder.change_ring(&vault, ring)?;
    crate::show(&format!("{name} {} {}\n", info.state, info.check_value))
}

fn activate(args: &Change) -> Outcome<()> {
    change(args, Operation::ActivateKey, |ring, name, now| {
        Ok(ring.activate(name, now)?)
    })
}

fn retire(args: &Retire) -> Outcome<()> {
    let name = args.change.name;
    if !args.compromised {
        return change(&args.change, Operation::RetireKey, |ring, name, now| {
            Ok(ring.deactivate(name, now)?)
        });
    }
    change(&args.change, Operation::CompromiseKey, |ring, name, now| {
        Ok(ring.compromise(name, now)?)
    })?;
    let folder = Folder::open(&args.change.vault)?;
    let path = folder.path().display().to_string();
    crate::show(&compromised_hint(&folder.ring()?, name, &path))
}

fn destroy(args: &Destroy) -> Outcome<()> {
    let name = args.change.name;
    let (mut folder, vault, mut ring) = open_for_change(&args.change.vault)?;
    let path = folder.path().display().to_string();
    // Asked before anything is counted: a refused actor learns nothing.
    record(&vault, &args.change.access, Operation::DestroyKey, name)?;
    destroy_unneeded(&vault, &mut ring, name, args.unused, &path)?;
    folder.change_ring(&vault, ring)?;
    crate::show(&format!(
        "{name} destroyed; destroy older copies of the ring file, and archives that carry it, too\n"
    ))
}

/// No version goes while something needs it.
pub(crate) fn destroy_unneeded(
    vault: &FolderVault,
    ring: &mut KeyRing,
    name: KeyName,
    unused: bool,
    folder: &str,
) -> Outcome<()> {
    let elsewhere = if unused {
        Elsewhere::Unneeded
    } else {
        Elsewhere::Unknown
    };
    let what = format!("destroy {name}");
    let ledger = Ledger::new(vault.vault().clone()).blocking();
    let LedgerError::Vault(error) = (match ledger.destroy_key(ring, name, elsewhere) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    }) else {
        return Err(Failure::keys(what, "the ledger refused"));
    };
    let table = |needed: &str, count: String| {
        let row = [needed.to_owned(), count];
        Grid::new(["NEEDED BY", "COUNT"]).lines(&[row])
    };
    let (thing, then) = needed_by(name.usage);
    match error {
        VaultError::KeyNeeded { rows, .. } => Err(Failure::keys(what, error)
            .with_lines(table(thing, rows.to_string()))
            .hint(format!("{}{folder}{}", then.0, then.1))),
        VaultError::KeyElsewhere { .. } => Err(Failure::usage(what, error)
            .with_lines(table(thing, "unknown".to_owned()))
            .hint("if nothing of it is in use any more, say so with --unused")),
        _ => Err(Failure::vault(what, error)),
    }
}

/// What is under keys of this use, and the command that moves it, before and behind the folder.
const fn needed_by(usage: KeyUse) -> (&'static str, (&'static str, &'static str)) {
    match usage {
        KeyUse::Card => ("records", ("`cardvault vault rewrap ", "`")),
        KeyUse::Index => ("rows", ("`cardvault keys rotate ", " index`")),
        KeyUse::Ledger => ("ledger rows", ("`cardvault keys rotate ", " ledger`")),
        KeyUse::Vaultless => ("vaultless tokens", ("", "")),
        KeyUse::Irreversible => ("irreversible tokens", ("", "")),
        KeyUse::Journal => ("journals not yet uploaded", ("", "")),
        KeyUse::Archive => ("archives", ("", "")),
        KeyUse::Audit => ("audit logs and checkpoints", ("", "")),
        _ => ("what it protects", ("", "")),
    }
}

fn components(args: &Components) -> Outcome<()> {
    let components = draw_components(&args.files)?;
    let kek = Kek::combine(&components, None)?;
    let mut text = String::new();
    for (component, path) in components.iter().zip(&args.files) {
        text.push_str(&format!(
            "{}  {}\n",
            component.check_value(),
            path.display()
        ));
    }
    text.push_str(&format!("{}  KEK\n", kek.check_value()));
    crate::show(&text)
}

fn change(
    args: &Change,
    operation: Operation,
    how: impl FnOnce(&mut KeyRing, KeyName, UnixSeconds) -> Outcome<()>,
) -> Outcome<()> {
    let (mut folder, vault, mut ring) = open_for_change(&args.vault)?;
    how(&mut ring, args.name, UnixSeconds::now())?;
    let state = ring.info(args.name)?.state;
    record(&vault, &args.access, operation, args.name)?;
    folder.change_ring(&vault, ring)?;
    crate::show(&format!("{} {state}\n", args.name))
}

/// Asks the policy, and logs what is about to be done with a key.
pub(crate) fn record(
    vault: &FolderVault,
    who: &KeyAccessArgs,
    operation: Operation,
    name: KeyName,
) -> Outcome<()> {
    let access = who.access(operation.as_str())?;
    vault
        .record(&access, operation, None, Some(name))
        .map_err(|error| Failure::vault(operation.as_str(), error))
}

/// The vault is open while its ring changes: see [`crate::folder`].
pub(crate) fn open_for_change(
    args: &crate::args::VaultArgs,
) -> Outcome<(Folder, FolderVault, KeyRing)> {
    let folder = Folder::open_to_change(args)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let vault = folder.vault(folder.ring()?)?;
    Ok((folder, vault, ring))
}
