//! `demo`: published test cards through the whole of it, and a search for what leaked.
#![forbid(unsafe_code)]

mod cards;
mod paper;
mod published;
mod reading;
mod search;
mod tokens;
mod vaulting;

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Instant;

use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Domain, RingMark};
use cardvault::seal::Argon2Cost;

use self::cards::{SHOWN, every_number};
use self::paper::{Ink, Paper};
use self::published::PUBLISHED;
use self::search::{Form, Found, Search, control};
use crate::args::Demo;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{Draft, Readers, owner_folder};
use crate::folder::{Folder, show_mark};
use crate::init::new_ring;
use crate::secrets::Protector;

const PASSPHRASE: &[u8] = b"for published test cards only";

pub(crate) fn run(args: &Demo) -> Outcome<Exit> {
    let began = Instant::now();
    let place = Place::new(args.keep.as_deref())?;
    let mut paper = Paper::new();
    paper.line("cardvault: card numbers in, tokens out, and no clear number on disk.")?;
    paper
        .line("All cards are published test numbers; the vault is under a development key ring.")?;

    reading::published(&mut paper)?;
    reading::forms(&mut paper)?;
    reading::refusals(&mut paper)?;

    let ring = new_ring(RingMark::Development)?;
    show_mark(&ring);
    let protector = Protector::Passphrase(PASSPHRASE.to_vec().into());
    let vault_path = place.path.join("vault");
    let mut folder = Folder::create(&vault_path, &ring, protector, Argon2Cost::DEFAULT)?;
    let shop = domain("shop-1")?;

    tokens::formats(&mut paper, &ring, &shop)?;
    tokens::sealing(&mut paper, &ring, &shop)?;
    drop(ring);
    vaulting::vault(&mut paper, &folder, &shop, &place.path)?;
    vaulting::rotation(&mut paper, &mut folder, &shop, &place.path)?;
    let clean = leaks(&mut paper, &place.path)?;

    paper.line("")?;
    if let Some(kept) = &args.keep {
        paper.line(&format!(
            "Kept in {}: passphrase `{}`.",
            kept.display(),
            text(PASSPHRASE)
        ))?;
    }
    let seconds = began.elapsed().as_secs_f32();
    let verdict = if clean {
        paper.ink(Ink::Good, "No clear card number was found in any file.")
    } else {
        paper.ink(Ink::Bad, "The search failed: see above.")
    };
    paper.line(&format!("{verdict} ({seconds:.1} s)"))?;
    Ok(if clean { Exit::Done } else { Exit::Rejected })
}

/// The demo's folder; removed with all that is in it unless it is to be kept.
struct Place {
    path: PathBuf,
    kept: bool,
}

impl Place {
    fn new(keep: Option<&Path>) -> Outcome<Self> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => {
                let nanos = std::time::UNIX_EPOCH
                    .elapsed()
                    .map_or(0, |at| at.subsec_nanos());
                env::temp_dir().join(format!("cardvault-demo-{}-{nanos}", process::id()))
            }
        };
        if fs::symlink_metadata(&path).is_ok() {
            return Err(
                Failure::files(path.display().to_string(), "is there already")
                    .hint("name a new folder"),
            );
        }
        owner_folder(&path).map_err(Failure::at(&path))?;
        Ok(Self {
            path,
            kept: keep.is_some(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            // What stays holds test cards alone.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Searches every file for every number, and a control file that has one of them.
fn leaks(paper: &mut Paper, folder: &Path) -> Outcome<bool> {
    paper.step(
        "Search for clear numbers",
        "every file that was written, in every form; a control file shows that the search works",
    )?;
    let numbers: Vec<&str> = every_number().collect();
    let search = Search::new(&numbers);
    let mut clean = true;
    let mut rows = Vec::new();
    let mut bytes = 0;
    let files = files_under(folder)?;
    for path in &files {
        let content = fs::read(path).map_err(Failure::at(path))?;
        let found = search.run(&content);
        clean &= found.is_empty();
        bytes += content.len();
        let name = path.strip_prefix(folder).unwrap_or(path);
        rows.push([
            name.display().to_string(),
            content.len().to_string(),
            tell(&found),
        ]);
    }

    let path = folder.join("control.bin");
    let (planted, places) = control(SHOWN);
    let mut draft = Draft::begin(&path, Readers::Owner)?;
    let written = draft.write_all(&planted);
    written.map_err(Failure::at(&path))?;
    draft.place()?;
    let content = fs::read(&path).map_err(Failure::at(&path))?;
    let removed = fs::remove_file(&path);
    removed.map_err(Failure::at(&path))?;
    let found = search.run(&content);
    let shown = numbers.iter().position(|number| *number == SHOWN);
    let missed: Vec<_> = places
        .iter()
        .filter(|(form, place)| {
            let found = shown.and_then(|shown| found.get(&(shown, *form)));
            !found.is_some_and(|at| at.iter().any(|at| place.contains(at)))
        })
        .map(|(form, _)| form.name())
        .collect();
    let only_planted = found.keys().all(|(number, _)| Some(*number) == shown);
    rows.push([
        "control.bin (one number planted)".to_owned(),
        content.len().to_string(),
        format!(
            "found in {} of {} forms",
            Form::ALL.len() - missed.len(),
            Form::ALL.len()
        ),
    ]);
    paper.table(["FILE", "BYTES", "CLEAR NUMBERS"], &rows)?;
    paper.line(&format!(
        "   {} files, {bytes} bytes, {} numbers in {} forms: {} needles",
        files.len(),
        numbers.len(),
        Form::ALL.len(),
        search.len(),
    ))?;
    paper.line(&format!(
        "   ({} more in BCD are mostly zeros, as every counter is, and are not looked for)",
        search.vague(),
    ))?;
    let forms: Vec<_> = Form::ALL.into_iter().map(Form::name).collect();
    paper.line(&format!("   forms: {}", forms.join(", ")))?;
    if !missed.is_empty() || !only_planted {
        let text = format!("   the control was missed as {}", missed.join(", "));
        paper.line(&paper.ink(Ink::Bad, &text))?;
        clean = false;
    }
    Ok(clean)
}

/// Which forms were found; never the number.
fn tell(found: &Found) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    let forms: Vec<_> = found
        .iter()
        .map(|((_, form), places)| format!("{} as {}", places.len(), form.name()))
        .collect();
    format!("FOUND {}", forms.join(", "))
}

fn files_under(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Failure::at(&folder))? {
            let path = entry.map_err(Failure::at(&folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A published number. They are all well-formed.
fn pan(number: &str) -> Outcome<Pan> {
    Pan::parse(number.as_bytes()).map_err(|error| Failure::usage("published number", error))
}

/// All published cards that pass Luhn.
fn records() -> Outcome<Vec<CardRecord>> {
    PUBLISHED
        .iter()
        .flat_map(|(_, numbers)| numbers.iter())
        .map(|number| Ok(CardRecord::new(pan(number)?)))
        .collect()
}

fn domain(name: &str) -> Outcome<Domain> {
    name.parse()
        .map_err(|error| Failure::usage("domain", error))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
