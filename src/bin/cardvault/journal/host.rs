//! The host's side: journals begun, and uploads verified and taken into vault and ledger.
#![forbid(unsafe_code)]

use cardvault::UnixSeconds;
use cardvault::journal::Position;
use cardvault::ledger::{ImportEntry, MAX_ENTRIES, PaymentId, WhyUnapplied};
use serde_json::{Value, json};

use super::args::{Import, Init, Verify};
use super::book::Book;
use super::terminal;
use super::upload::{Finding, Opened, Report};
use crate::desk::grid::{counted, facts};
use crate::desk::show::show_lines;
use crate::desk::{Desk, failure};
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, show_mark};

pub(super) fn init(args: &Init) -> Outcome<Exit> {
    terminal::check_free(&args.terminal_folder)?;
    let folder = Folder::open_to_change(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let key = ring.journal_key(&args.domain, UnixSeconds::now())?;
    // An old copy of the ring is refused here; while it is open nobody else changes the book.
    let _vault = folder.vault(ring)?;
    let mut book = Book::open(folder.path())?;
    let terminal = args.terminal.as_str().as_bytes();
    let last = book.last_epoch(&args.domain, terminal);
    let epoch = match args.epoch {
        Some(epoch) if epoch > last => epoch,
        Some(epoch) => {
            return Err(Failure::usage(
                "epoch",
                format!("{epoch} is not behind {last}, the last that was begun"),
            )
            .hint("an epoch's key is given out once: leave --epoch out to begin the next one"));
        }
        None => last
            .checked_add(1)
            .ok_or_else(|| Failure::usage("epoch", "there is none left"))?,
    };
    let key = key
        .chain_key(terminal, epoch)
        .map_err(|error| Failure::usage("terminal", error))?;
    let identity = *key.identity();
    // First the book: should power go now, this epoch is left out and never given out twice.
    book.keep(&args.domain, &identity, Position::START)?;
    terminal::create(&args.terminal_folder, args.pages, key)?;
    crate::show(&facts(&[
        ("terminal", Some(args.terminal.to_string())),
        ("epoch", Some(epoch.to_string())),
        ("key", Some(format!("journal-{}", identity.base_version()))),
        ("folder", Some(args.terminal_folder.display().to_string())),
    ]))?;
    Ok(Exit::Done)
}

pub(super) fn verify(args: &Verify) -> Outcome<Exit> {
    let (opened, ..) = Opened::new(&args.desk, args.upload.clone())?;
    let report = opened.scan(|_, _| Ok(()))?;
    report.show(&opened, args.desk.json, "verified")
}

pub(super) fn import(args: &Import) -> Outcome<Exit> {
    let (opened, desk, mut book) = Opened::new(&args.verify.desk, args.verify.upload.clone())?;
    // All of it is verified before any of it is written.
    let report = opened.scan(|_, _| Ok(()))?;
    if report.count > 0 && !args.accept_faults {
        report.show(&opened, desk.json, "refused")?;
        crate::say("nothing was imported; --accept-faults takes what is genuine");
        return Ok(Exit::Rejected);
    }
    let mut sums = Sums::default();
    let mut entries = Vec::with_capacity(MAX_ENTRIES);
    let again = opened.scan(|_, entry| {
        entries.extend(entry);
        if entries.len() == MAX_ENTRIES {
            sums.take(&desk, &entries)?;
            entries.clear();
        }
        Ok(())
    })?;
    sums.take(&desk, &entries)?;
    if (again.count, again.ending) != (report.count, report.ending) {
        return Err(Failure::files(
            opened.path.display().to_string(),
            "changed while it was imported",
        )
        .hint("what was imported is genuine: run the same command again"));
    }
    if let Some(ending) = report.ending {
        book.keep(&desk.domain, &opened.identity, ending.position)?;
        if let Some(path) = &args.receipt {
            terminal::write_receipt(path, &ending.receipt)?;
        }
    } else if args.receipt.is_some() {
        crate::say("no receipt: the upload has no end");
    }
    sums.show(&report, &opened, desk.json)
}

/// What an import did.
#[derive(Default)]
struct Sums {
    new: usize,
    known: usize,
    cards: usize,
    unapplied: Vec<(PaymentId, WhyUnapplied)>,
}

impl Sums {
    fn take(&mut self, desk: &Desk, entries: &[ImportEntry]) -> Outcome<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let done = desk.ledger.import(&desk.domain, entries).map_err(failure)?;
        self.new += done.new;
        self.known += done.known;
        self.cards += done.new_cards;
        let unapplied = done.unapplied.iter();
        self.unapplied.extend(unapplied.filter_map(|unapplied| {
            let entry = entries.get(unapplied.at)?;
            Some((entry.payment.id, unapplied.why))
        }));
        Ok(())
    }

    fn show(&self, report: &Report, opened: &Opened, json: bool) -> Outcome<Exit> {
        if json {
            let unapplied: Vec<_> = self
                .unapplied
                .iter()
                .map(|(id, why)| json!({"payment": id.to_string(), "why": why.name()}))
                .collect();
            let mut value = report.to_json(opened, "imported");
            if let Value::Object(fields) = &mut value {
                fields.insert("new".to_owned(), self.new.into());
                fields.insert("known".to_owned(), self.known.into());
                fields.insert("new_cards".to_owned(), self.cards.into());
                fields.insert("unapplied".to_owned(), unapplied.into());
            }
            show_lines([value])?;
        } else {
            let new = format!(
                "{}, {}",
                counted(self.new, "payment"),
                counted(self.cards, "card")
            );
            let mut lines = report.facts(opened);
            lines.push(("new", Some(new)));
            lines.push(("known", Some(counted(self.known, "payment"))));
            crate::show(&facts(&lines))?;
            crate::show(&report.faults.iter().map(Finding::line).collect::<String>())?;
            for (id, why) in &self.unapplied {
                crate::show(&format!("not applied: {id}: {why}\n"))?;
            }
        }
        Ok(if self.unapplied.is_empty() && report.count == 0 {
            Exit::Done
        } else {
            Exit::Rejected
        })
    }
}
