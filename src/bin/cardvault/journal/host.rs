//! The host's side: uploads verified, shown, and taken into vault and ledger.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use cardvault::UnixSeconds;
use cardvault::journal::{
    Body, Cause, Fault, FaultKind, FromRead, HEADER_MAX_LEN, Identity, Notice, Outcome as Ending,
    PaymentPart, Position, ReadError, Reading, Verified, upload_identity,
};
use cardvault::keys::JournalReadingKey;
use cardvault::ledger::reconcile::JournalLine;
use cardvault::ledger::{EntryError, ImportEntry, MAX_ENTRIES, PaymentId, WhyUnapplied};
use serde_json::{Value, json};

use super::args::{Import, Init, Verify};
use super::book::Book;
use super::terminal;
use crate::desk::grid::{Grid, counted, facts};
use crate::desk::moment::{Clock, utc};
use crate::desk::show::{amount_text, show_lines};
use crate::desk::{Desk, DeskArgs, failure};
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, show_mark};

/// So many faults are kept; the others are counted.
const FAULTS_KEPT: usize = 1_000;
/// So many rows of a table are printed at once.
const ROWS: usize = 500;

pub(super) fn init(args: &Init) -> Outcome<Exit> {
    terminal::check_free(&args.terminal_folder)?;
    let folder = Folder::open(&args.vault)?;
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

pub(super) fn show(args: &Verify) -> Outcome<Exit> {
    let (opened, ..) = Opened::new(&args.desk, args.upload.clone())?;
    let (clock, json) = (args.desk.utc_offset, args.desk.json);
    let mut grid = Grid::new([
        "ENTRY",
        "TIME",
        "KIND",
        "AMOUNT",
        "VOUCHER",
        "CARD",
        "REFERENCE",
        "ANSWER",
    ]);
    let mut rows = Vec::with_capacity(ROWS);
    let report = opened.scan(|frame, _| {
        if json {
            return show_lines([frame_json(frame)]);
        }
        rows.push(frame_row(frame, clock));
        if rows.len() == ROWS {
            grid.rows(&rows)?;
            rows.clear();
        }
        Ok(())
    })?;
    grid.rows(&rows)?;
    if !json {
        crate::show("\n")?;
    }
    report.show(&opened, json, "verified")
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

/// An upload and what it is verified with.
pub(crate) struct Opened {
    path: PathBuf,
    identity: Identity,
    key: JournalReadingKey,
    since: Position,
    clock: Clock,
}

/// What an upload came to.
pub(crate) struct Report {
    payments: u64,
    notices: u64,
    /// Entries that the host had verified before.
    again: u64,
    first: Option<u64>,
    faults: Vec<Finding>,
    /// How many faults there are.
    count: u64,
    ending: Option<Ending>,
}

/// A fault of the upload, or of an entry that is genuine.
enum Finding {
    Fault(Fault),
    Entry(u64, EntryError),
}

impl Opened {
    /// The upload, the ledger of its vault, and what was verified before.
    pub(crate) fn new(args: &DeskArgs, path: PathBuf) -> Outcome<(Self, Desk, Book)> {
        let mut front = Vec::with_capacity(HEADER_MAX_LEN);
        let file = File::open(&path).map_err(Failure::at(&path))?;
        let read = file.take(HEADER_MAX_LEN as u64).read_to_end(&mut front);
        read.map_err(Failure::at(&path))?;
        let (identity, _) = upload_identity(&front).ok_or_else(|| {
            Failure::files(
                path.display().to_string(),
                "no upload of a journal begins here",
            )
            .hint("`journal upload` writes one")
        })?;
        let folder = Folder::open(&args.vault)?;
        let ring = folder.ring()?;
        show_mark(&ring);
        let key = ring.journal_key_of(&args.domain, identity.base_version())?;
        // An old copy of the ring is refused here; while it is open nobody else changes the book.
        let desk = Desk::over(&folder.vault(ring)?, args);
        let book = Book::open(folder.path())?;
        let opened = Self {
            since: book.position(&args.domain, &identity),
            clock: args.utc_offset,
            key,
            path,
            identity,
        };
        Ok((opened, desk, book))
    }

    /// Verifies everything, hands genuine frames over with the entries that they are, and goes on
    /// behind faults.
    fn scan(
        &self,
        mut take: impl FnMut(&Seen<'_>, Option<ImportEntry>) -> Outcome<()>,
    ) -> Outcome<Report> {
        let mut report = Report::new();
        let file = File::open(&self.path).map_err(Failure::at(&self.path))?;
        let source = FromRead(file);
        let mut reading = match Reading::new(&self.key, &self.identity, &self.since, source) {
            Ok(reading) => reading,
            Err(ReadError::Fault(fault)) => {
                report.find(Finding::Fault(fault));
                return Ok(report);
            }
            Err(error) => return Err(self.failure(error)),
        };
        reading.go_on();
        while let Some(item) = reading.next() {
            let verified = match item {
                Ok(verified) => verified,
                Err(ReadError::Fault(fault)) => {
                    report.find(Finding::Fault(fault));
                    continue;
                }
                Err(error) => return Err(self.failure(error)),
            };
            let seen = Seen {
                sequence: verified.frame.sequence,
                time: verified.frame.time,
                body: verified.frame.body,
            };
            report.see(&verified);
            match ImportEntry::of(&self.identity, verified, self.clock.0) {
                Ok(entry) => take(&seen, entry)?,
                Err(error) => report.find(Finding::Entry(seen.sequence, error)),
            }
        }
        report.ending = reading.outcome();
        Ok(report)
    }

    /// The genuine payments of an upload, to be reconciled, and the first and last of their times.
    pub(crate) fn lines(&self) -> Outcome<(Vec<JournalLine>, (UnixSeconds, UnixSeconds), Report)> {
        let mut lines = Vec::new();
        let (mut first, mut last) = (UnixSeconds(u64::MAX), UnixSeconds(0));
        let report = self.scan(|_, entry| {
            if let Some(ImportEntry { payment, .. }) = entry {
                first = first.min(payment.time);
                last = last.max(payment.time);
                lines.push(JournalLine {
                    id: payment.id,
                    fields: payment.fields,
                });
            }
            Ok(())
        })?;
        Ok((lines, (first, last), report))
    }

    fn failure(&self, error: ReadError<std::io::Error>) -> Failure {
        match error {
            ReadError::Source(error) => Failure::at(&self.path)(error),
            error => Failure::keys(self.path.display().to_string(), error),
        }
    }
}

/// A genuine frame's clear part.
struct Seen<'a> {
    sequence: u64,
    time: UnixSeconds,
    body: Body<'a>,
}

impl Report {
    const fn new() -> Self {
        Self {
            payments: 0,
            notices: 0,
            again: 0,
            first: None,
            faults: Vec::new(),
            count: 0,
            ending: None,
        }
    }

    pub(crate) const fn has_faults(&self) -> bool {
        self.count > 0
    }

    fn see(&mut self, verified: &Verified<'_>) {
        match verified.frame.body {
            Body::Payment(_) => self.payments += 1,
            Body::Notice(_) => self.notices += 1,
        }
        self.again += u64::from(verified.again);
        self.first.get_or_insert(verified.frame.sequence);
    }

    fn find(&mut self, finding: Finding) {
        self.count += 1;
        if self.faults.len() < FAULTS_KEPT {
            self.faults.push(finding);
        }
    }

    pub(crate) fn show(&self, opened: &Opened, json: bool, verdict: &str) -> Outcome<Exit> {
        if json {
            show_lines([self.to_json(opened, verdict)])?;
        } else {
            crate::show(&facts(&self.facts(opened)))?;
            crate::show(&self.faults.iter().map(Finding::line).collect::<String>())?;
        }
        Ok(if self.count == 0 {
            Exit::Done
        } else {
            Exit::Rejected
        })
    }

    fn facts(&self, opened: &Opened) -> Vec<(&'static str, Option<String>)> {
        let identity = &opened.identity;
        let terminal = String::from_utf8_lossy(identity.terminal());
        let (epoch, version) = (identity.epoch(), identity.base_version());
        let mut entries = counted(self.payments, "payment");
        if self.notices > 0 {
            entries.push_str(&format!(", {}", counted(self.notices, "notice")));
        }
        if let Some(first) = self.first {
            entries.push_str(&format!(", from entry {first} on"));
        }
        if self.again > 0 {
            entries.push_str(&format!(", {} verified before", self.again));
        }
        let faults = match self.count {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        vec![
            (
                "journal",
                Some(format!(
                    "terminal {terminal}, epoch {epoch}, journal-{version}"
                )),
            ),
            ("entries", Some(entries)),
            ("faults", Some(faults)),
        ]
    }

    fn to_json(&self, opened: &Opened, verdict: &str) -> Value {
        let faults: Vec<_> = self.faults.iter().map(Finding::to_json).collect();
        json!({
            "verdict": verdict,
            "terminal": String::from_utf8_lossy(opened.identity.terminal()),
            "epoch": opened.identity.epoch(),
            "key": format!("journal-{}", opened.identity.base_version()),
            "first": self.first,
            "payments": self.payments,
            "notices": self.notices,
            "verified_before": self.again,
            "fault_count": self.count,
            "faults": faults,
        })
    }
}

impl Finding {
    fn line(&self) -> String {
        match self {
            Self::Fault(fault) => {
                let why = match fault.kind {
                    FaultKind::WrongKey => ": other ring, or other --domain?",
                    _ => "",
                };
                format!("fault: {fault}{why}\n")
            }
            Self::Entry(sequence, error) => format!("fault: journal entry {sequence}: {error}\n"),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Fault(fault) => json!({
                "fault": fault.kind.name(),
                "sequence": fault.sequence,
                "offset": fault.offset,
                "count": match fault.kind {
                    FaultKind::Dropped { count } | FaultKind::Lost { count } => Some(count),
                    _ => None,
                },
            }),
            Self::Entry(sequence, error) => json!({
                "fault": "content",
                "sequence": sequence,
                "why": error.to_string(),
            }),
        }
    }
}

fn frame_row(frame: &Seen<'_>, clock: Clock) -> [String; 8] {
    let none = || "-".to_owned();
    let mut row = [
        frame.sequence.to_string(),
        clock.show(frame.time),
        none(),
        none(),
        none(),
        none(),
        none(),
        none(),
    ];
    let [_, _, kind, amount, voucher, card, reference, answer] = &mut row;
    match &frame.body {
        Body::Notice(notice) => *kind = notice_text(notice),
        Body::Payment(part) => {
            *card = part.truncated.map_or(none(), |card| card.to_string());
            // Unreadable fields are a finding of the scan.
            if let Ok(fields) = part.fields() {
                *kind = fields.kind.to_string();
                *amount = fields.amount.to_string();
                *voucher = format!("{}/{}", fields.batch, fields.voucher);
                *reference = fields.rrn.map_or(none(), |rrn| rrn.to_string());
                *answer = fields
                    .response
                    .map_or("none".to_owned(), |code| code.to_string());
            }
        }
    }
    row
}

fn frame_json(frame: &Seen<'_>) -> Value {
    let mut value = match &frame.body {
        Body::Notice(notice) => json!({
            "notice": cause(notice.cause),
            "first": notice.first,
            "count": notice.count,
        }),
        Body::Payment(part) => part_json(part),
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("entry".to_owned(), frame.sequence.into());
        fields.insert("time".to_owned(), utc(frame.time).into());
    }
    value
}

fn part_json(part: &PaymentPart<'_>) -> Value {
    let fields = part.fields().ok();
    let fields = fields.as_ref();
    json!({
        "kind": fields.map(|fields| fields.kind.as_str()),
        "amount": fields.map(|fields| amount_text(fields.amount)),
        "currency": fields.map(|fields| fields.amount.currency().numeric()),
        "batch": fields.map(|fields| fields.batch.to_string()),
        "voucher": fields.map(|fields| fields.voucher.to_string()),
        "merchant": fields.map(|fields| fields.merchant.to_string()),
        "rrn": fields.and_then(|fields| fields.rrn).map(|rrn| rrn.to_string()),
        "response": fields.and_then(|fields| fields.response).map(|code| code.to_string()),
        "order": fields.and_then(|fields| fields.order).map(|order| order.to_string()),
        "card": part.truncated,
        "has_card": part.has_card,
    })
}

fn notice_text(notice: &Notice) -> String {
    match notice.cause {
        Cause::Loss => format!(
            "notice: {} entries from {} on are lost",
            notice.count, notice.first
        ),
        other => format!("notice: {}", cause(other)),
    }
}

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Burn => "burned",
        Cause::Loss => "lost",
        Cause::Checkpoint => "checkpoint",
        Cause::Closing => "closing",
        _ => "other",
    }
}
