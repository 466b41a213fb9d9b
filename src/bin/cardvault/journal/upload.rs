//! A terminal's upload at the host: what it is verified with, and what that came to.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use cardvault::UnixSeconds;
use cardvault::journal::{
    Body, Fault, FaultKind, FromRead, HEADER_MAX_LEN, Identity, Outcome as Ending, Position,
    ReadError, Reading, Verified, upload_identity,
};
use cardvault::keys::JournalReadingKey;
use cardvault::ledger::reconcile::JournalLine;
use cardvault::ledger::{EntryError, ImportEntry};
use serde_json::{Value, json};

use super::book::Book;
use crate::desk::grid::{counted, facts};
use crate::desk::moment::Clock;
use crate::desk::show::show_lines;
use crate::desk::{Desk, DeskArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::folder::{Folder, show_mark};

/// So many faults are kept; the others are counted.
const FAULTS_KEPT: usize = 1_000;

/// An upload and what it is verified with.
pub(crate) struct Opened {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    key: JournalReadingKey,
    since: Position,
    clock: Clock,
    /// While it is open nobody else changes the book.
    _folder: Folder,
}

/// What an upload came to.
pub(crate) struct Report {
    payments: u64,
    notices: u64,
    /// Entries that the host had verified before.
    again: u64,
    first: Option<u64>,
    pub(super) faults: Vec<Finding>,
    /// How many faults there are.
    pub(super) count: u64,
    pub(super) ending: Option<Ending>,
}

/// A fault of the upload, or of an entry that is genuine.
pub(super) enum Finding {
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
        let folder = Folder::open_to_change(&args.vault)?;
        let ring = folder.ring()?;
        show_mark(&ring);
        let key = ring.journal_key_of(&args.domain, identity.base_version())?;
        // An old copy of the ring is refused here.
        let desk = Desk::over(&folder.vault(ring)?, args);
        let book = Book::open(folder.path())?;
        let opened = Self {
            since: book.position(&args.domain, &identity),
            clock: args.clock.utc_offset,
            key,
            path,
            identity,
            _folder: folder,
        };
        Ok((opened, desk, book))
    }

    /// Verifies everything, hands genuine frames over with the entries that they are, and goes on
    /// behind faults.
    pub(super) fn scan(
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
pub(super) struct Seen<'a> {
    pub(super) sequence: u64,
    pub(super) time: UnixSeconds,
    pub(super) body: Body<'a>,
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

    pub(super) fn facts(&self, opened: &Opened) -> Vec<(&'static str, Option<String>)> {
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

    pub(super) fn to_json(&self, opened: &Opened, verdict: &str) -> Value {
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
    pub(super) fn line(&self) -> String {
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
