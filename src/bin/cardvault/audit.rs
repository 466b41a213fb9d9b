//! `audit`: verify the logs of a vault and its rows, make checkpoints, show accesses.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use cardvault::UnixSeconds;
use cardvault::audit::{
    Checkpoint, Finding, LogPosition, LoggedEvent, RowFinding, Severity, Told, Verified,
    compare_rows_blocking, verify, write_checkpoint_blocking,
};
use cardvault::keys::KeyRing;
use cardvault::payment::Date;
use cardvault::token::Token;
use clap::{ArgAction, Args, Subcommand};
use serde_json::{Value, json};

use crate::args::VaultArgs;
use crate::desk::date_argument;
use crate::desk::grid::{Grid, counted, facts};
use crate::desk::lookup::token;
use crate::desk::moment::{Clock, utc};
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{Draft, Readers};
use crate::folder::{Folder, renew_logs, show_mark};

/// Rows of a table that are laid out together.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Verify every log, and against checkpoints what was cut off, rolled back, deleted or put back
    Verify(Verify),
    /// Write down where every log and every row stands: keep it elsewhere
    Checkpoint(MakeCheckpoint),
    /// Show accesses as a table
    Show(Show),
    /// Leave logs that cannot go on as they are, and begin new ones beside them
    Renew(VaultArgs),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    vault: VaultArgs,
    /// A checkpoint that was made earlier and kept elsewhere; give as many as there are
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    against: Vec<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MakeCheckpoint {
    #[command(flatten)]
    vault: VaultArgs,
    /// The checkpoint's file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Of the logs alone, without the vault's rows
    #[arg(long)]
    logs_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    vault: VaultArgs,
    /// Only what this one asked
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this operation, such as detokenize
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// Only what this token was named in
    #[arg(long, value_parser = token)]
    token: Option<Token>,
    /// From this day on, in UTC
    #[arg(long, value_name = "DAY", value_parser = date_argument)]
    since: Option<Date>,
    /// Up to this day, in UTC
    #[arg(long, value_name = "DAY", value_parser = date_argument)]
    until: Option<Date>,
    /// As JSON, one object a line
    #[arg(long)]
    json: bool,
    /// As lines of name=value pairs
    #[arg(long, conflicts_with = "json")]
    lines: bool,
}

pub(crate) fn run(command: &Audit, quiet: bool) -> Outcome<Exit> {
    match command {
        Audit::Verify(args) => verify_all(args),
        Audit::Checkpoint(args) => checkpoint(args, quiet),
        Audit::Show(args) => show(args),
        Audit::Renew(args) => renew(args),
    }
}

/// What is wrong, as it is shown.
struct Line {
    severity: Severity,
    text: String,
    what: Value,
}

impl Line {
    fn log(finding: &Finding) -> Self {
        let writer = finding.writer();
        Self {
            severity: finding.severity(),
            text: finding.to_string(),
            what: json!({
                "writer": writer.map(|writer| writer.name()),
                "epoch": writer.map(|writer| writer.epoch()),
            }),
        }
    }

    fn row(finding: &RowFinding) -> Self {
        let row = finding.row.as_ref();
        Self {
            severity: Severity::Fault,
            text: finding.to_string(),
            what: json!({
                "domain": row.map(|(domain, _)| domain.to_string()),
                "token": row.map(|(_, token)| token.to_string()),
            }),
        }
    }

    const fn severity(&self) -> &'static str {
        match self.severity {
            Severity::Fault => "fault",
            Severity::Note => "note",
        }
    }

    fn json(&self) -> Value {
        let mut value = self.what.clone();
        if let Value::Object(fields) = &mut value {
            fields.insert("severity".to_owned(), self.severity().into());
            fields.insert("finding".to_owned(), self.text.clone().into());
        }
        value
    }
}

fn verify_all(args: &Verify) -> Outcome<Exit> {
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let mut lines = Vec::new();
    let mut checkpoints = Vec::with_capacity(args.against.len());
    let mut known: Vec<LogPosition> = Vec::new();
    for path in &args.against {
        let (checkpoint, logs) = open_checkpoint(path, &ring)?;
        known.extend(logs);
        checkpoints.push((path, checkpoint));
    }
    let mut note = |line: Line| {
        if !args.json {
            crate::show(&format!("{}: {}\n", line.severity(), line.text))?;
        } else {
            lines.push(line.json());
        }
        Ok(())
    };
    let verified = verify_logs(&folder, &ring, &known, &mut note)?;
    let (mut rows, mut faults) = (0, verified.faults);
    if checkpoints.iter().any(|(_, made)| made.header().has_rows) {
        let store = folder.store()?;
        for (path, mut checkpoint) in checkpoints {
            if !checkpoint.header().has_rows {
                continue;
            }
            let mut shown = Ok(());
            let mut sink = |finding: RowFinding| {
                if shown.is_ok() {
                    shown = note(Line::row(&finding));
                }
            };
            let audit = folder.audit();
            let compared = compare_rows_blocking(&store, &mut checkpoint, &audit, &ring, &mut sink);
            let failed = |error| Failure::audit(path.display().to_string(), error);
            let compared = compared.map_err(failed)?;
            shown?;
            rows += compared.rows;
            faults += compared.faults;
        }
    }
    if args.json {
        let value = json!({
            "logs": verified.logs,
            "frames": verified.frames,
            "accesses": verified.events,
            "rows_compared": rows,
            "faults": faults,
            "findings": lines,
        });
        crate::show(&format!("{value:#}\n"))?;
    } else {
        summary(&verified, args.against.len(), rows, faults)?;
    }
    Ok(if faults == 0 {
        Exit::Done
    } else {
        Exit::Rejected
    })
}

fn summary(verified: &Verified, checkpoints: usize, rows: u64, faults: u64) -> Outcome<()> {
    let whole = faults == 0;
    let verdict = if whole {
        "whole".to_owned()
    } else {
        counted(faults, "fault")
    };
    crate::show(&facts(&[
        ("logs", Some(verified.logs.to_string())),
        ("frames", Some(verified.frames.to_string())),
        ("accesses", Some(verified.events.to_string())),
        ("checkpoints", Some(checkpoints.to_string())),
        ("rows compared", (rows > 0).then(|| rows.to_string())),
        ("verdict", Some(verdict)),
    ]))?;
    if checkpoints == 0 {
        crate::say(
            "without a checkpoint nobody can tell whether the end of a log was cut off, or a row \
             was deleted or rolled back: give one with --against",
        );
    }
    Ok(())
}

fn verify_logs(
    folder: &Folder,
    ring: &KeyRing,
    known: &[LogPosition],
    note: &mut dyn FnMut(Line) -> Outcome<()>,
) -> Outcome<Verified> {
    let mut shown = Ok(());
    let path = folder.audit();
    let verified = verify(&path, ring, known, &mut |told| {
        if let (Told::Finding(finding), true) = (told, shown.is_ok()) {
            shown = note(Line::log(&finding));
        }
    });
    let verified = verified.map_err(|error| Failure::audit(path.display().to_string(), error))?;
    shown?;
    Ok(verified)
}

type Source = BufReader<File>;

fn open_checkpoint(path: &Path, ring: &KeyRing) -> Outcome<(Checkpoint<Source>, Vec<LogPosition>)> {
    let failed = |error| Failure::audit(path.display().to_string(), error);
    let file = File::open(path).map_err(Failure::at(path))?;
    let mut checkpoint = Checkpoint::open(BufReader::new(file), ring).map_err(failed)?;
    let logs = checkpoint.logs().map_err(failed)?;
    Ok((checkpoint, logs))
}

fn checkpoint(args: &MakeCheckpoint, quiet: bool) -> Outcome<Exit> {
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    // In the folder: nobody writes meanwhile.
    let store = folder.store()?;
    let mut note = |line: Line| crate::show(&format!("{}: {}\n", line.severity(), line.text));
    let verified = verify_logs(&folder, &ring, &[], &mut note)?;
    if verified.faults > 0 {
        crate::say("a log has a fault: no checkpoint is made of it");
        return Ok(Exit::Rejected);
    }
    let out = Draft::begin(&args.output, Readers::Owner)?;
    let rows = (!args.logs_only).then_some(&store);
    let now = UnixSeconds::now();
    let written = write_checkpoint_blocking(out, &ring, now, verified.positions, rows);
    let failed = |error| Failure::audit(args.output.display().to_string(), error);
    let (out, totals) = written.map_err(failed)?;
    out.place()?;
    if !quiet {
        crate::say(&format!(
            "checkpoint of {} and {}: keep it where nobody who can change the vault can change it",
            counted(totals.logs, "log"),
            counted(totals.rows, "row"),
        ));
    }
    Ok(Exit::Done)
}

fn show(args: &Show) -> Outcome<Exit> {
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let mut grid = Grid::new([
        "TIME",
        "OPERATION",
        "OUTCOME",
        "ACTOR",
        "PURPOSE",
        "ORIGIN",
        "DOMAIN",
        "TOKEN OR KEY",
    ]);
    let (mut page, mut shown) = (Vec::with_capacity(PAGE), Ok(()));
    let path = folder.audit();
    let verified = verify(&path, &ring, &[], &mut |told| {
        let Told::Event(writer, event) = told else {
            return;
        };
        if shown.is_err() || !args.wants(&event) {
            return;
        }
        if args.lines {
            shown = crate::show(&format!("{event}\n"));
        } else if args.json {
            shown = crate::show(&format!("{}\n", event_json(writer.name(), &event)));
        } else {
            page.push(columns(event));
            if page.len() == PAGE {
                shown = grid.rows(&page);
                page.clear();
            }
        }
    });
    let verified = verified.map_err(|error| Failure::audit(path.display().to_string(), error))?;
    shown?;
    grid.rows(&page)?;
    if verified.faults > 0 {
        crate::say("a log has a fault: `cardvault audit verify` says which");
        return Ok(Exit::Rejected);
    }
    Ok(Exit::Done)
}

impl Show {
    fn wants(&self, event: &LoggedEvent) -> bool {
        let at = Clock::UTC.date(event.time);
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is(&self.actor, &event.actor)
            && is(&self.operation, &event.operation)
            && self.token.is_none_or(|token| event.token == Some(token))
            && self.since.is_none_or(|since| at >= Some(since))
            && self
                .until
                .is_none_or(|until| at.is_some_and(|at| at <= until))
    }
}

fn columns(event: LoggedEvent) -> [String; 8] {
    let outcome = match (event.granted, &event.refusal) {
        (true, _) => "granted".to_owned(),
        (false, Some(refusal)) => format!("refused: {refusal}"),
        (false, None) => "refused".to_owned(),
    };
    let token = event.token.map(|token| token.to_string());
    [
        Clock::UTC.show(event.time),
        event.operation,
        outcome,
        event.actor,
        event.purpose,
        event.origin,
        event
            .domain
            .map_or("*".to_owned(), |domain| domain.to_string()),
        token.or(event.key).unwrap_or_default(),
    ]
}

fn event_json(writer: &str, event: &LoggedEvent) -> Value {
    json!({
        "writer": writer,
        "time": utc(event.time),
        "operation": event.operation,
        "granted": event.granted,
        "refusal": event.refusal,
        "actor": event.actor,
        "purpose": event.purpose,
        "origin": event.origin,
        "domain": event.domain.map(|domain| domain.to_string()),
        "token": event.token.map(|token| token.to_string()),
        "key": event.key,
    })
}

fn renew(args: &VaultArgs) -> Outcome<Exit> {
    let folder = Folder::open(args)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    // In the folder: nobody else begins one meanwhile.
    let store = folder.store()?;
    for writer in renew_logs(&folder.audit(), &ring)? {
        crate::say(&format!("a new log: {writer}"));
    }
    drop(store);
    Ok(Exit::Done)
}
