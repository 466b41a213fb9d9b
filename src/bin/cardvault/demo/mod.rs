//! `demo`: published test cards through the whole of it, and a search for what leaked.
//!
//! What it shows it has worked out: should anything go otherwise than it is told, the demo ends
//! with an error.
#![forbid(unsafe_code)]

mod books;
mod cards;
mod centre;
mod chip;
mod customers;
mod desk;
mod host;
mod leaks;
mod outage;
mod paper;
mod published;
mod reading;
mod receipt;
mod search;
mod story;
mod terminals;
mod theft;
mod thief;
mod till;
mod tokens;
mod uploads;
mod vaulting;
mod year;

use std::env;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Instant;

use cardvault::card::{CardRecord, Pan};
use cardvault::keys::{Domain, RingMark};
use cardvault::seal::Argon2Cost;

use self::centre::Centre;
use self::desk::Desk;
use self::host::Host;
use self::paper::{Ink, Paper};
use self::published::PUBLISHED;
use crate::args::Demo;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::owner_folder;
use crate::folder::{Folder, show_mark};
use crate::init::new_ring;
use crate::secrets::Protector;
use crate::store;

const PASSPHRASE: &[u8] = b"for published test cards only";

pub(crate) fn run(args: &Demo) -> Outcome<Exit> {
    let began = Instant::now();
    let place = Place::new(args.keep.as_deref())?;
    let mut paper = Paper::new();
    story::set(0, 9, 0);
    paper.line("cardvault: card numbers in, tokens out, and no clear number on disk.")?;
    paper
        .line("All cards are published test numbers; the vault is under a development key ring.")?;

    reading::published(&mut paper)?;
    reading::forms(&paper)?;
    reading::refusals(&paper)?;

    let ring = new_ring(RingMark::Development, story::now())?;
    show_mark(&ring);
    let protector = Protector::Passphrase(PASSPHRASE.to_vec().into());
    let vault_path = place.path.join("vault");
    let mut folder = Folder::create(
        &vault_path,
        store::Place::Folder,
        &ring,
        protector,
        Argon2Cost::DEFAULT,
    )?;
    let shop = domain("shop-1")?;
    tokens::formats(&mut paper, &ring, &shop)?;
    tokens::sealing(&paper, &ring, &shop)?;
    drop(ring);
    vaulting::vault(&paper, &folder, &shop, &place.path)?;
    vaulting::rotation(&paper, &mut folder, &shop, &place.path)?;

    payments(&mut paper, &folder, &place.path)?;
    year::year(&mut paper, &mut folder, &shop)?;
    let clean = leaks::search(&mut paper, &place.path)?;

    paper.line("")?;
    if let Some(kept) = &args.keep {
        paper.line(&format!(
            "Kept in {}: passphrase `{}`, domain {}.",
            kept.display(),
            text(PASSPHRASE),
            story::SHOP_DOMAIN
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

/// Terminals, host and refund desk.
fn payments(paper: &mut Paper, folder: &Folder, place: &Path) -> Outcome<()> {
    let host = Host::open(folder)?;
    let mut centre = Centre::default();
    let mut fleet = terminals::day(paper, &host, &mut centre, place)?;
    theft::stolen(paper, &host, &fleet)?;
    let notices = uploads::evening(paper, &host, &mut fleet, place)?;
    fleet.keep(place)?;
    paper.chapter(
        "The refund desk",
        "finds a payment by voucher, token or order number; no clear card number is stored for it",
    )?;
    let mut desk = Desk::open(&host, &mut centre)?;
    desk.same_day(paper)?;
    desk.next_day(paper)?;
    let due = books::due(paper, &host)?;
    books::reconcile(paper, &host, &centre, place, due)?;
    books::watch(paper, &host, &notices)
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

/// Ends the demo unless it went as it was told.
fn told(so: bool, what: &str) -> Outcome<()> {
    match so {
        true => Ok(()),
        false => Err(Failure::keys("demo", format!("not as told: {what}"))),
    }
}

/// For `map_err` on what the library refused to do.
fn failed<E: Display>(what: &str) -> impl Fn(E) -> Failure {
    move |error| Failure::keys(what, error)
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
