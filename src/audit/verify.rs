//! Verifying the logs of a folder: every frame, its order, its place against checkpoints.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::error::AuditError;
use super::event::{LoggedEvent, read_body};
use super::finding::{Finding, Place, Severity};
use super::frame::{FileHead, Frame, Kind, MAX_FILE_HEAD};
use super::log::MAX_AUDIT_FILE;
use super::medium::{file_name, files_in, is_open};
use super::search::{SEARCH_BUDGET, next_genuine};
use super::writer::{Position, WRITER_ID_LEN, Writer, WriterKey};
use crate::codec::CodecError;
use crate::keys::KeyRing;
use crate::ratchet::PROOF_LEN;
use crate::time::UnixSeconds;

/// How far a gap between files may reach that is still stepped over, in frames.
const MAX_GAP: u64 = 1 << 26;
/// How many steps a log may cost to tell frames that were moved from damaged ones.
const MAX_STEPS: u64 = 1 << 24;
/// What the searches behind the faults of a log may cost together, in bytes that are hashed.
const MAX_SEARCH: u64 = 1 << 30;
/// How long a write under way is waited for before the file is looked at again.
const PAUSE: Duration = Duration::from_millis(5);
/// How often.
const MAX_LOOKS: u32 = 200;

/// What a log was when somebody looked: goes into a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Whose log.
    pub writer: Writer,
    /// The id at the head of its files.
    pub id: [u8; WRITER_ID_LEN],
    /// How many frames it has.
    pub frames: u64,
    /// Stands for all of them.
    pub proof: [u8; PROOF_LEN],
}

/// What is told while logs are verified.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told<'a> {
    /// An access, in a genuine frame.
    Event(&'a Writer, LoggedEvent),
    /// A finding.
    Finding(Finding),
}

/// How much was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The logs, as they are: those without a fault of their own.
    pub positions: Vec<LogPosition>,
    /// How many logs there are.
    pub logs: u64,
    /// How many genuine frames they have.
    pub frames: u64,
    /// How many accesses those hold.
    pub events: u64,
    /// How many findings are faults.
    pub faults: u64,
    /// How many are notes.
    pub notes: u64,
}

/// Verifies every log in the folders below `folder`, and `folder` itself if it is one, with the
/// base keys of `ring`, against the positions of checkpoints. Hands events, in each log's order,
/// and findings to `sink`. Reads one file at a time.
///
/// # Errors
/// [`AuditError::Io`] if a file cannot be read. What is wrong with a log is no error but a finding.
pub fn verify(
    folder: &Path,
    ring: &KeyRing,
    against: &[LogPosition],
    sink: &mut dyn FnMut(Told<'_>),
) -> Result<Verified, AuditError> {
    let mut verified = Verified::default();
    let mut seen: Vec<Writer> = Vec::new();
    for path in log_folders(folder)? {
        let mut reading = Reading {
            ring,
            against,
            verified: &mut verified,
            sink,
        };
        let Some(writer) = reading.log(&path)? else {
            continue;
        };
        if seen.contains(&writer) {
            verified.positions.retain(|log| log.writer != writer);
            let writer = writer.clone();
            tell(&mut verified, sink, Finding::Twice { writer });
        }
        seen.push(writer);
    }
    for known in against {
        if !seen.contains(&known.writer) {
            let finding = Finding::LogMissing {
                writer: known.writer.clone(),
                seen: known.frames,
            };
            tell(&mut verified, sink, finding);
        }
    }
    Ok(verified)
}

/// The folders that hold files of a log, in the order of their names.
pub(super) fn log_folders(folder: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let mut folders = vec![folder.to_owned()];
    let entries = match fs::read_dir(folder) {
        // No log was ever written.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    let mut logs = Vec::new();
    for folder in folders {
        if !files_in(&folder)?.is_empty() {
            logs.push(folder);
        }
    }
    Ok(logs)
}

fn tell(verified: &mut Verified, sink: &mut dyn FnMut(Told<'_>), finding: Finding) {
    match finding.severity() {
        Severity::Fault => verified.faults += 1,
        Severity::Note => verified.notes += 1,
    }
    sink(Told::Finding(finding));
}

struct Reading<'a> {
    ring: &'a KeyRing,
    against: &'a [LogPosition],
    verified: &'a mut Verified,
    sink: &'a mut dyn FnMut(Told<'_>),
}

/// One log while it is read.
struct Log {
    writer: Writer,
    id: [u8; WRITER_ID_LEN],
    key: WriterKey,
    position: Position,
    /// Whether the aggregate is that of all frames up to here.
    whole: bool,
    closed: bool,
    time: UnixSeconds,
    file: u32,
    steps_left: u64,
    search_left: u64,
}

impl Log {
    fn place(&self, at: usize) -> Place {
        Place {
            writer: self.writer.clone(),
            file: self.file,
            at: at as u64,
            sequence: self.position.count,
        }
    }
}

impl Log {
    /// As [`Position::take_opening`], within what the log may cost.
    fn take_opening(&mut self, frame: &Frame<'_>) -> Result<bool, AuditError> {
        let gap = frame.sequence.saturating_sub(self.position.count);
        let Some(left) = self.steps_left.checked_sub(gap) else {
            return Ok(false);
        };
        let taken = self.position.take_opening(frame)?;
        if !taken && frame.explains(gap) {
            self.steps_left = left;
        }
        Ok(taken)
    }
}

impl Reading<'_> {
    fn finding(&mut self, finding: Finding) {
        tell(self.verified, self.sink, finding);
    }

    /// One log; whose it is, if that can be told.
    fn log(&mut self, path: &Path) -> Result<Option<Writer>, AuditError> {
        self.verified.logs += 1;
        let files = files_in(path)?;
        let Some(head) = first_head(path, &files)? else {
            let folder = path.file_name().unwrap_or(path.as_os_str());
            self.finding(Finding::Unreadable {
                folder: folder.to_string_lossy().into_owned(),
            });
            return Ok(None);
        };
        let writer = head.writer;
        let Ok(key) = writer.key(self.ring) else {
            self.finding(Finding::NoKey {
                writer: writer.clone(),
            });
            return Ok(Some(writer));
        };
        let mut log = Log {
            writer: writer.clone(),
            id: key.id(),
            position: Position::begin(&key),
            key,
            whole: true,
            closed: true,
            time: UnixSeconds(0),
            file: 0,
            steps_left: MAX_STEPS,
            search_left: MAX_SEARCH,
        };
        let faults = self.verified.faults;
        self.compare(&log);
        let last = files.last().copied();
        for file in files {
            if let Some(missing) = file.checked_sub(log.file).filter(|missing| *missing > 0) {
                let place = log.place(0);
                self.finding(Finding::FilesMissing {
                    place,
                    files: missing,
                });
                log.whole = false;
                log.file = file;
            }
            let (folder, path, is_last) = (path, path.join(file_name(file)), Some(file) == last);
            let bytes = if is_last {
                read_last(folder, &path)?
            } else {
                read_file(&path)?
            };
            self.file(&mut log, &bytes, is_last)?;
            log.file = log.file.saturating_add(1);
        }
        let frames = log.position.count;
        for known in self.against {
            if known.writer == log.writer && known.frames > frames {
                self.finding(Finding::Truncated {
                    writer: log.writer.clone(),
                    frames,
                    seen: known.frames,
                });
            }
        }
        if self.verified.faults == faults {
            self.verified.positions.push(LogPosition {
                writer: writer.clone(),
                id: log.id,
                frames,
                proof: log.position.proof(),
            });
        }
        Ok(Some(writer))
    }

    /// One file of a log.
    fn file(&mut self, log: &mut Log, bytes: &[u8], is_last: bool) -> Result<(), AuditError> {
        let head = FileHead::read(bytes).ok();
        let good = head.as_ref().filter(|(head, _)| {
            head.writer == log.writer && head.id == log.id && head.file == log.file
        });
        let mut at = good.map_or(0, |(_, len)| *len);
        let first = good.map(|(head, _)| head.first);
        if is_last && matches!(FileHead::read(bytes), Err(CodecError::Truncated { .. })) {
            let (place, bytes) = (log.place(0), bytes.len() as u64);
            self.finding(Finding::Unfinished { place, bytes });
            log.whole = false;
            return Ok(());
        }
        let jumped = jump(log, first, bytes.get(at..).unwrap_or_default())?;
        match jumped {
            Some((_, 0)) => {}
            Some((position, frames)) => {
                let place = log.place(0);
                self.finding(Finding::Missing { place, frames });
                log.position = position;
                log.whole = false;
            }
            None => {
                let place = log.place(0);
                self.finding(Finding::Head { place });
            }
        }
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            let frame = Frame::read(rest).ok();
            let before = log.position.count;
            if let Some(frame) = &frame
                && (log.position.take(frame) || log.take_opening(frame)?)
            {
                self.left_out(log, before, frame.sequence);
                self.genuine(log, frame, at);
                at += frame.len();
                continue;
            }
            at += self.fault(log, rest, at, frame.as_ref(), is_last)?;
        }
        Ok(())
    }

    /// Bytes that are not the frame that belongs there; how many to go on behind.
    fn fault(
        &mut self,
        log: &mut Log,
        rest: &[u8],
        at: usize,
        frame: Option<&Frame<'_>>,
        is_last: bool,
    ) -> Result<usize, AuditError> {
        let place = log.place(at);
        // One that was here before, and is genuine?
        if let Some(frame) = frame
            && frame.sequence < log.position.count
            && is_genuine(log, frame)?
        {
            let found = frame.sequence;
            self.finding(Finding::OutOfPlace { place, found });
            return Ok(frame.len());
        }
        let mut budget = log.search_left.min(SEARCH_BUDGET);
        log.search_left -= budget;
        let found = next_genuine(rest, &log.position, &mut budget)?;
        log.search_left += budget;
        let Some(found) = found else {
            let bytes = rest.len() as u64;
            self.finding(if is_last {
                Finding::Unfinished { place, bytes }
            } else {
                Finding::Damaged { place, bytes }
            });
            log.whole = false;
            return Ok(rest.len());
        };
        if found.at > 0 {
            let bytes = found.at as u64;
            self.finding(Finding::Damaged { place, bytes });
        }
        let gap = found.position.count - log.position.count;
        if gap > 0 {
            let place = log.place(at);
            self.finding(Finding::Missing { place, frames: gap });
        }
        log.position = found.position;
        log.whole = false;
        Ok(found.at)
    }

    fn genuine(&mut self, log: &mut Log, frame: &Frame<'_>, at: usize) {
        let place = Place {
            sequence: frame.sequence,
            ..log.place(at)
        };
        self.verified.frames += 1;
        if frame.time < log.time {
            let seconds = log.time.0 - frame.time.0;
            let place = place.clone();
            self.finding(Finding::ClockBack { place, seconds });
        }
        log.time = frame.time;
        let read = match frame.kind {
            Kind::Events => {
                let (events, sink) = (&mut self.verified.events, &mut *self.sink);
                read_body(frame.body, &mut |event| {
                    *events += 1;
                    sink(Told::Event(&log.writer, event));
                })
            }
            Kind::Opened => self.opened(log, frame, &place),
            Kind::Closed if frame.body.is_empty() => Ok(()),
            Kind::Closed => Err(CodecError::Trailing { at: 0 }),
        };
        log.closed = frame.kind == Kind::Closed;
        if read.is_err() {
            self.finding(Finding::Content { place });
        }
        self.compare(log);
    }

    fn opened(&mut self, log: &Log, frame: &Frame<'_>, place: &Place) -> Result<(), CodecError> {
        let (bytes, _) = frame.dropped()?;
        if bytes > 0 {
            let place = place.clone();
            self.finding(Finding::Dropped { place, bytes });
        } else if !log.closed {
            let place = place.clone();
            self.finding(Finding::NotClosed { place });
        }
        Ok(())
    }

    /// An opening says that the frames between were never whole: a checkpoint that saw one of them
    /// knows better.
    fn left_out(&mut self, log: &Log, before: u64, until: u64) {
        let against = self.against;
        for known in against {
            if known.writer == log.writer && known.frames > before && known.frames <= until {
                self.finding(Finding::Rewritten {
                    writer: known.writer.clone(),
                    seen: known.frames,
                });
            }
        }
    }

    /// Compares the place that was reached with those of checkpoints.
    fn compare(&mut self, log: &Log) {
        let against = self.against;
        for known in against {
            if known.writer != log.writer || known.frames != log.position.count {
                continue;
            }
            let same = known.proof.ct_eq(&log.position.proof());
            if !log.whole || !bool::from(same) {
                self.finding(Finding::Rewritten {
                    writer: known.writer.clone(),
                    seen: known.frames,
                });
            }
        }
    }
}

/// Where a file begins in the chain, by its head and its first frame, and how many frames lie
/// before that; none if the head says otherwise than the frame.
fn jump(
    log: &Log,
    first: Option<u64>,
    frames: &[u8],
) -> Result<Option<(Position, u64)>, AuditError> {
    let mut position = log.position.copy();
    let Some(gap) = first.and_then(|first| first.checked_sub(position.count)) else {
        return Ok(None);
    };
    if gap == 0 {
        return Ok(Some((position, 0)));
    }
    let Ok(frame) = Frame::read(frames) else {
        return Ok(None);
    };
    if Some(frame.sequence) != first || gap > MAX_GAP {
        return Ok(None);
    }
    if frame.explains(gap) {
        return Ok(Some((position, 0)));
    }
    position.skip(gap)?;
    let genuine = position.copy().take(&frame);
    Ok(genuine.then_some((position, gap)))
}

/// Whether a frame of an earlier place is one of the log's.
fn is_genuine(log: &mut Log, frame: &Frame<'_>) -> Result<bool, AuditError> {
    let Some(left) = log.steps_left.checked_sub(frame.sequence) else {
        return Ok(false);
    };
    log.steps_left = left;
    let mut position = Position::begin(&log.key);
    position.skip(frame.sequence)?;
    Ok(position.take(frame))
}

/// The first head that can be read.
fn first_head(path: &Path, files: &[u32]) -> Result<Option<FileHead>, AuditError> {
    for file in files {
        let bytes = read_up_to(&path.join(file_name(*file)), MAX_FILE_HEAD as u64)?;
        if let Ok((head, _)) = FileHead::read(&bytes) {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// The file, as far as a writer may have written.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, AuditError> {
    read_up_to(path, MAX_AUDIT_FILE + 1)
}

fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, AuditError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file that a writer may be writing to: a write under way is given time to end.
fn read_last(folder: &Path, path: &Path) -> Result<Vec<u8>, AuditError> {
    let mut bytes = read_file(path)?;
    for _ in 0..MAX_LOOKS {
        if !ends_early(&bytes) || !is_open(folder) {
            break;
        }
        thread::sleep(PAUSE);
        bytes = read_file(path)?;
    }
    Ok(bytes)
}

/// Whether a head or a frame begins there that goes on behind the end.
fn ends_early(bytes: &[u8]) -> bool {
    let is_cut = |error| matches!(error, CodecError::Truncated { .. });
    let mut at = match FileHead::read(bytes) {
        Ok((_, len)) => len,
        Err(error) => return is_cut(error),
    };
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match Frame::read(rest) {
            Ok(frame) => at += frame.len(),
            Err(error) => return is_cut(error),
        }
    }
    false
}
