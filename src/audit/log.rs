//! The writer of an audit log.
#![forbid(unsafe_code)]

use core::fmt;
use std::path::Path;
use std::sync::{Condvar, Mutex};

use super::error::AuditError;
use super::event::bodies;
use super::frame::{FileHead, Frame, Kind, MIN_FRAME};
use super::medium::{Folder, Medium, file_name};
use super::search::{SEARCH_BUDGET, next_genuine};
use super::state::State;
use super::writer::{Position, Writer, WriterKey};
use crate::time::UnixSeconds;
use crate::vault::{AccessEvent, AccessLog, AccessLogError};

/// The longest file of a log, in bytes.
pub const MAX_AUDIT_FILE: u64 = 16 << 20;
/// After how many bytes the state is saved again.
pub const DEFAULT_UNSAVED: u64 = 1 << 20;

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub struct AuditOptions {
    /// From this many bytes on another file is begun; at least 1 and at most [`MAX_AUDIT_FILE`].
    pub file_len: u64,
    /// After this many bytes the state is saved again: who takes the disk can forge at most what
    /// was written since, and an opening reads it again.
    pub unsaved: u64,
    /// The clock of openings and endings.
    pub clock: fn() -> UnixSeconds,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            file_len: MAX_AUDIT_FILE,
            unsaved: DEFAULT_UNSAVED,
            clock: UnixSeconds::now,
        }
    }
}

/// A tamper-evident access log in a folder of its own: a chain of frames, each under a key that is
/// gone once the next one is written. See [`crate::manual::audit`].
///
/// One process writes it. Calls that meet share one write and one sync. When it is dropped it says
/// in the log that it ended.
#[derive(Debug)]
pub struct AuditLog(Group<Folder>);

impl AuditLog {
    /// Begins a log in a new or empty folder. The key is used up: only who has the base key can
    /// make it again.
    ///
    /// # Errors
    /// [`AuditError::Exists`], [`AuditError::AlreadyOpen`], [`AuditError::Io`].
    pub fn create(
        folder: &Path,
        key: WriterKey,
        options: &AuditOptions,
    ) -> Result<Self, AuditError> {
        let core = Core::create(Folder::create(folder)?, &key, options)?;
        drop(key);
        Ok(Self(Group::new(core)))
    }

    /// Goes on with the log in `folder`. No key is needed: the state there has it. What a cut left
    /// unfinished is dropped, and the log says so.
    ///
    /// # Errors
    /// [`AuditError::NoLog`], [`AuditError::AlreadyOpen`], [`AuditError::State`] and
    /// [`AuditError::Damaged`] if the log is not what its writer left there, [`AuditError::Io`].
    pub fn open(folder: &Path, options: &AuditOptions) -> Result<Self, AuditError> {
        let core = Core::open(Folder::open(folder)?, options)?;
        Ok(Self(Group::new(core)))
    }

    /// Whose log it is.
    #[must_use]
    pub const fn writer(&self) -> &Writer {
        &self.0.writer
    }

    /// Ends the log in order, as dropping it does, and says whether that is on disk.
    ///
    /// # Errors
    /// [`AuditError::Io`], [`AuditError::Poisoned`].
    pub fn close(self) -> Result<(), AuditError> {
        self.0.close()
    }
}

impl AccessLog for AuditLog {
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        self.0.record(events)
    }
}

/// Callers that meet are written together: one of them writes for all that wait.
pub(super) struct Group<M: Medium> {
    writer: Writer,
    clock: fn() -> UnixSeconds,
    shared: Mutex<Shared<M>>,
    turn: Condvar,
}

struct Shared<M: Medium> {
    /// Away while somebody writes, and for good after a failure.
    core: Option<Core<M>>,
    /// Bodies to be written, and how many ever were to be.
    queue: Vec<Vec<u8>>,
    queued: u64,
    /// How many are durable.
    done: u64,
    failed: bool,
}

impl<M: Medium> Group<M> {
    pub(super) fn new(core: Core<M>) -> Self {
        Self {
            writer: core.state.writer.clone(),
            clock: core.options.clock,
            shared: Mutex::new(Shared {
                core: Some(core),
                queue: Vec::new(),
                queued: 0,
                done: 0,
                failed: false,
            }),
            turn: Condvar::new(),
        }
    }

    pub(super) fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        let mut bodies = bodies(events);
        let count = u64::try_from(bodies.len()).map_err(|_| AccessLogError)?;
        let mut shared = self.shared.lock().map_err(|_| AccessLogError)?;
        shared.queue.append(&mut bodies);
        shared.queued += count;
        let mine = shared.queued;
        loop {
            if shared.done >= mine {
                return Ok(());
            }
            if shared.failed {
                return Err(AccessLogError);
            }
            let Some(mut core) = shared.core.take() else {
                shared = self.turn.wait(shared).map_err(|_| AccessLogError)?;
                continue;
            };
            let work = core::mem::take(&mut shared.queue);
            let until = shared.queued;
            drop(shared);
            let written = core.write(Kind::Events, (self.clock)(), &work);
            shared = self.shared.lock().map_err(|_| AccessLogError)?;
            match written {
                Ok(()) => {
                    shared.core = Some(core);
                    shared.done = until;
                }
                Err(_) => shared.failed = true,
            }
            self.turn.notify_all();
        }
    }

    pub(super) fn close(&self) -> Result<(), AuditError> {
        let mut shared = self.shared.lock().map_err(|_| AuditError::Poisoned)?;
        let core = shared.core.take().ok_or(AuditError::Poisoned);
        shared.failed = true;
        drop(shared);
        core?.close()
    }
}

impl<M: Medium> Drop for Group<M> {
    fn drop(&mut self) {
        // Nobody can be told; the next opening says that the log was not ended.
        let _ = self.close();
    }
}

impl<M: Medium> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

/// The one who writes.
pub(super) struct Core<M> {
    medium: M,
    state: State,
    options: AuditOptions,
    /// How many bytes were written since the state was saved.
    unsaved: u64,
}

impl<M: Medium> Core<M> {
    pub(super) fn create(
        mut medium: M,
        key: &WriterKey,
        options: &AuditOptions,
    ) -> Result<Self, AuditError> {
        // A cut may have left the state's file, or half a state, and nothing behind it.
        let begun = match State::load(&mut medium) {
            Ok(_) => true,
            Err(AuditError::State | AuditError::NoLog) => medium.read(&file_name(0))?.is_some(),
            Err(error) => return Err(error),
        };
        if begun {
            return Err(AuditError::Exists);
        }
        let mut state = State {
            writer: key.writer().clone(),
            id: key.id(),
            saves: 0,
            position: Position::begin(key),
            file: 0,
            len: 0,
        };
        state.save(&mut medium)?;
        medium.sync_names()?;
        Self::opened(medium, state, options, 0, 0)
    }

    pub(super) fn open(mut medium: M, options: &AuditOptions) -> Result<Self, AuditError> {
        let mut state = State::load(&mut medium)?;
        let dropped = state.walk(&mut medium)?;
        // Frames may have stood in what was dropped. Their keys are not used again.
        let frames = dropped.div_ceil(MIN_FRAME as u64);
        state.position.skip(frames)?;
        Self::opened(medium, state, options, dropped, frames)
    }

    fn opened(
        medium: M,
        state: State,
        options: &AuditOptions,
        dropped: u64,
        frames: u64,
    ) -> Result<Self, AuditError> {
        let mut core = Self {
            medium,
            state,
            options: *options,
            unsaved: 0,
        };
        let body = [dropped.to_be_bytes(), frames.to_be_bytes()].concat();
        core.write(Kind::Opened, (options.clock)(), &[body])?;
        Ok(core)
    }

    /// Writes a frame for each body, and makes them durable.
    pub(super) fn write(
        &mut self,
        kind: Kind,
        time: UnixSeconds,
        bodies: &[Vec<u8>],
    ) -> Result<(), AuditError> {
        let most = self.options.file_len.clamp(1, MAX_AUDIT_FILE);
        let mut bytes = Vec::new();
        let mut first = true;
        for body in bodies {
            let frame = (MIN_FRAME + body.len()) as u64;
            let len = self.state.len + bytes.len() as u64;
            if self.state.len + bytes.len() as u64 > 0 && len + frame > most {
                self.append(&bytes)?;
                bytes.clear();
                first = true;
                self.state.file = self.state.file.checked_add(1).ok_or(AuditError::Over)?;
                self.state.len = 0;
            }
            if self.state.len == 0 && bytes.is_empty() {
                let head = FileHead {
                    writer: self.state.writer.clone(),
                    id: self.state.id,
                    file: self.state.file,
                    first: self.state.position.count,
                };
                bytes = head.to_bytes()?;
            }
            self.state
                .position
                .put(&mut bytes, (kind, first), time, body)?;
            first = false;
        }
        self.append(&bytes)?;
        if self.unsaved >= self.options.unsaved {
            self.save()?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), AuditError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let name = file_name(self.state.file);
        self.medium.write(&name, self.state.len, bytes)?;
        self.medium.sync(&name)?;
        if self.state.len == 0 {
            self.medium.sync_names()?;
        }
        self.state.len += bytes.len() as u64;
        self.unsaved += bytes.len() as u64;
        Ok(())
    }

    fn save(&mut self) -> Result<(), AuditError> {
        self.state.save(&mut self.medium)?;
        self.unsaved = 0;
        Ok(())
    }

    fn close(mut self) -> Result<(), AuditError> {
        self.write(Kind::Closed, (self.options.clock)(), &[Vec::new()])?;
        self.save()
    }
}

impl State {
    /// Steps over the frames behind the saved state, to the end of the log. Cuts off what is not
    /// whole there, and says how many bytes that were.
    fn walk(&mut self, medium: &mut impl Medium) -> Result<u64, AuditError> {
        loop {
            let name = file_name(self.file);
            let bytes = medium.read(&name)?.unwrap_or_default();
            let mut at = usize::try_from(self.len).map_err(|_| AuditError::Over)?;
            let damaged = |at: usize| AuditError::Damaged {
                file: self.file,
                at: at as u64,
            };
            if bytes.len() < at {
                return Err(damaged(bytes.len()));
            }
            let head = FileHead::read(&bytes);
            let is_head = |(head, len): &(FileHead, usize)| {
                let own =
                    head.id == self.id && head.file == self.file && head.writer == self.writer;
                // An opening may have left out numbers, and begun a file with that.
                let gap = head.first.checked_sub(self.position.count);
                let opening = Frame::read(bytes.get(*len..).unwrap_or_default());
                let follows = gap == Some(0)
                    || opening.is_ok_and(|frame| gap.is_some_and(|gap| frame.explains(gap)));
                own && (at > 0 || follows)
            };
            let head = head.ok().filter(is_head);
            match &head {
                Some((_, len)) if at == 0 => at = *len,
                None if at > 0 => return Err(damaged(0)),
                _ => {}
            }
            if head.is_some() {
                while let Ok(frame) = Frame::read(bytes.get(at..).unwrap_or_default()) {
                    if !self.position.take(&frame) && !self.position.take_opening(&frame)? {
                        break;
                    }
                    at += frame.len();
                }
            }
            let next = self.file.checked_add(1).ok_or(AuditError::Over)?;
            let more = medium.read(&file_name(next))?.is_some();
            self.len = at as u64;
            if at == bytes.len() && head.is_some() && more {
                self.file = next;
                self.len = 0;
                continue;
            }
            if more {
                return Err(damaged(at));
            }
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(0);
            }
            // A file's head is written along with its first frame.
            let unfinished = usize::from(at == 0);
            let is_long = bytes.len() as u64 > MAX_AUDIT_FILE;
            if is_long || writes_in(rest, &self.position)? > unfinished {
                return Err(damaged(at));
            }
            medium.cut(&name, self.len)?;
            medium.sync(&name)?;
            return Ok(rest.len() as u64);
        }
    }
}

/// How many writes begin in what is not whole. An unfinished write has nothing genuine behind it
/// but frames of its own. More than there can be, if somebody put in too much to be searched.
fn writes_in(rest: &[u8], position: &Position) -> Result<usize, AuditError> {
    let (mut at, mut from, mut writes) = (0, position.copy(), 0);
    let mut budget = SEARCH_BUDGET;
    while let Some(found) = next_genuine(rest.get(at..).unwrap_or_default(), &from, &mut budget)? {
        writes += usize::from(found.first);
        // Past its first byte.
        at += found.at + 1;
        from = found.position;
        from.skip(1)?;
    }
    Ok(if budget == 0 { usize::MAX } else { writes })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::{self, ErrorKind};
    use std::sync::Arc;

    use super::super::{Finding, Severity, Told, verify};
    use super::*;
    use crate::keys::{Cryptoperiod, KeyRing, KeyUse, RingMark};
    use crate::vault::{Access, Operation};
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    /// A folder in memory that can lose power.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<Files>>);

    #[derive(Clone, Default)]
    struct Files {
        /// What is durable.
        kept: BTreeMap<String, Vec<u8>>,
        /// Whose names are durable.
        named: BTreeSet<String>,
        /// What is not, in order.
        pending: Vec<(String, Change)>,
        /// How many calls are left before power goes; none: no end.
        left: Option<usize>,
        calls: usize,
        syncs: usize,
    }

    #[derive(Clone)]
    enum Change {
        Write(usize, Vec<u8>),
        Cut(usize),
    }

    impl Change {
        fn apply(&self, bytes: &mut Vec<u8>) {
            match self {
                Self::Write(at, new) => {
                    let end = at + new.len();
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[*at..end].copy_from_slice(new);
                }
                Self::Cut(len) => bytes.resize(*len, 0),
            }
        }
    }

    impl Files {
        fn call(&mut self) -> io::Result<()> {
            self.calls += 1;
            match &mut self.left {
                Some(0) => Err(ErrorKind::BrokenPipe.into()),
                Some(left) => {
                    *left -= 1;
                    Ok(())
                }
                None => Ok(()),
            }
        }

        fn now(&self, name: &str) -> Option<Vec<u8>> {
            let changes = self.pending.iter().filter(|(of, _)| of == name);
            let mut bytes = self.kept.get(name).cloned();
            for (_, change) in changes {
                change.apply(bytes.get_or_insert_default());
            }
            bytes
        }
    }

    impl Medium for Disk {
        fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(self.0.lock().unwrap().now(name))
        }

        fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
            let mut files = self.0.lock().unwrap();
            // Power goes in the middle of a write too.
            let gone = files.call();
            let change = Change::Write(usize::try_from(at).unwrap(), bytes.to_vec());
            files.pending.push((name.to_owned(), change));
            gone
        }

        fn cut(&mut self, name: &str, len: u64) -> io::Result<()> {
            let mut files = self.0.lock().unwrap();
            files.call()?;
            let change = Change::Cut(usize::try_from(len).unwrap());
            files.pending.push((name.to_owned(), change));
            Ok(())
        }

        fn sync(&mut self, name: &str) -> io::Result<()> {
            let mut files = self.0.lock().unwrap();
            files.call()?;
            files.syncs += 1;
            let now = files.now(name).unwrap_or_default();
            files.kept.insert(name.to_owned(), now);
            files.pending.retain(|(of, _)| of != name);
            Ok(())
        }

        fn sync_names(&mut self) -> io::Result<()> {
            let mut files = self.0.lock().unwrap();
            files.call()?;
            files.named = files.kept.keys().cloned().collect();
            let pending: Vec<_> = files.pending.iter().map(|(of, _)| of.clone()).collect();
            files.named.extend(pending);
            Ok(())
        }
    }

    /// How much of what was not durable a power cut leaves.
    #[derive(Clone, Copy, Debug)]
    enum Left {
        Nothing,
        All,
        /// The first half of the last write.
        Front,
        /// The second half of the last write, behind zeros.
        Back,
        /// Its length alone: zeros.
        Zeros,
    }

    const LEFT: [Left; 5] = [
        Left::Nothing,
        Left::All,
        Left::Front,
        Left::Back,
        Left::Zeros,
    ];

    impl Disk {
        /// What is there when power is back. Files whose names were not durable are gone unless
        /// everything is left.
        fn after(&self, left: Left) -> Self {
            let files = self.0.lock().unwrap().clone();
            let mut kept = files.kept.clone();
            let last = files.pending.len().saturating_sub(1);
            for (place, (name, change)) in files.pending.iter().enumerate() {
                let change = match (change, left) {
                    (_, Left::Nothing) => continue,
                    (Change::Write(at, bytes), Left::Front) if place == last => {
                        Change::Write(*at, bytes[..bytes.len() / 2].to_vec())
                    }
                    (Change::Write(at, bytes), Left::Back) if place == last => {
                        let mut bytes = bytes.clone();
                        let half = bytes.len() / 2;
                        bytes[..half].fill(0);
                        Change::Write(*at, bytes)
                    }
                    (Change::Write(at, bytes), Left::Zeros) if place == last => {
                        Change::Write(*at, vec![0; bytes.len()])
                    }
                    (change, _) => change.clone(),
                };
                change.apply(kept.entry(name.clone()).or_default());
            }
            let mut named = files.named;
            if matches!(left, Left::Nothing) {
                kept.retain(|name, _| named.contains(name));
            }
            named.extend(kept.keys().cloned());
            Self(Arc::new(Mutex::new(Files {
                kept,
                named,
                ..Files::default()
            })))
        }

        fn give(&self, calls: Option<usize>) -> usize {
            let mut files = self.0.lock().unwrap();
            files.left = calls;
            files.calls
        }

        fn has_state(&self) -> bool {
            State::load(&mut self.clone()).is_ok()
        }

        /// Puts the files into a folder, for the verifier.
        fn lay_out(&self, folder: &Path) {
            std::fs::create_dir_all(folder).unwrap();
            let files = self.0.lock().unwrap();
            let names: BTreeSet<_> = files
                .kept
                .keys()
                .chain(files.pending.iter().map(|(of, _)| of))
                .collect();
            for name in names {
                std::fs::write(folder.join(name), files.now(name).unwrap()).unwrap();
            }
        }
    }

    fn ring() -> KeyRing {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
        let period = Cryptoperiod::default_of(KeyUse::Audit);
        let name = ring.add(KeyUse::Audit, period, NOW, &mut rng).unwrap();
        ring.activate(name, NOW).unwrap();
        ring
    }

    const OPTIONS: AuditOptions = AuditOptions {
        file_len: 500,
        unsaved: 400,
        clock: || NOW,
    };

    /// Records batches of accesses, numbered in their times; how many were acknowledged.
    fn write(group: &Group<Disk>, batches: &[u64], first: u64) -> u64 {
        let access = Access::new("desk", "test", "host").unwrap();
        let mut next = first;
        for len in batches {
            let events: Vec<_> = (next..next + len)
                .map(|n| AccessEvent {
                    time: UnixSeconds(n),
                    access: &access,
                    operation: Operation::Find,
                    domain: None,
                    token: None,
                    key: None,
                    granted: true,
                    refusal: None,
                })
                .collect();
            if group.record(&events).is_err() {
                break;
            }
            next += len;
        }
        next - first
    }

    const BATCHES: [u64; 7] = [1, 2, 1, 1, 3, 1, 1];

    fn begun(disk: &Disk, key: &WriterKey) -> u64 {
        match Core::create(disk.clone(), key, &OPTIONS) {
            Ok(core) => write(&Group::new(core), &BATCHES, 0),
            Err(_) => 0,
        }
    }

    /// Opens what a cut left, or begins anew what was not begun, and writes one access more.
    fn go_on(disk: &Disk, key: &WriterKey) -> Result<u64, AuditError> {
        let core = if disk.has_state() {
            Core::open(disk.clone(), &OPTIONS)?
        } else {
            Core::create(disk.clone(), key, &OPTIONS)?
        };
        Ok(write(&Group::new(core), &[1], 1_000))
    }

    /// Every acknowledged access is there, in order and once, with nothing but notes beside it.
    fn check(disk: &Disk, ring: &KeyRing, acknowledged: u64, case: &str) {
        let folder = tempfile::tempdir().unwrap();
        disk.lay_out(&folder.path().join("w"));
        let (mut times, mut faults) = (Vec::new(), Vec::new());
        verify(folder.path(), ring, &[], &mut |told| match told {
            Told::Event(_, event) => times.push(event.time.0),
            Told::Finding(finding) if finding.severity() == Severity::Fault => {
                faults.push(finding);
            }
            Told::Finding(_) => {}
        })
        .unwrap();
        assert_eq!(faults, Vec::<Finding>::new(), "{case}");
        let old: Vec<_> = times.iter().copied().filter(|time| *time < 1_000).collect();
        let expected: Vec<_> = (0..old.len() as u64).collect();
        assert_eq!(old, expected, "{case}");
        assert!(old.len() as u64 >= acknowledged, "{case}: {acknowledged}");
        assert_eq!(times.last(), Some(&1_000), "{case}");
    }

    #[test]
    fn what_was_acknowledged_survives_a_power_cut_at_every_call() {
        let ring = ring();
        let key = ring.audit_key(NOW).unwrap().writer_key("w", 1).unwrap();
        let whole = Disk::default();
        assert_eq!(begun(&whole, &key), BATCHES.iter().sum::<u64>());
        let calls = whole.give(None);
        assert!(calls > 30, "{calls}");
        for cut in 0..calls {
            let disk = Disk::default();
            disk.give(Some(cut));
            let acknowledged = begun(&disk, &key);
            for left in LEFT {
                let case = format!("cut {cut}, {left:?} left");
                let before = disk.after(left);
                let disk = before.after(Left::All);
                assert_eq!(go_on(&disk, &key), Ok(1), "{case}");
                check(&disk, &ring, acknowledged, &case);
                // Power goes again while it is opened.
                let opening = disk.give(None);
                for again in (cut % 5..opening).step_by(5) {
                    let disk = before.after(Left::All);
                    disk.give(Some(again));
                    let _ = go_on(&disk, &key);
                    let disk = disk.after(left);
                    let case = format!("{case}, then cut {again}");
                    assert_eq!(go_on(&disk, &key), Ok(1), "{case}");
                    check(&disk, &ring, acknowledged, &case);
                }
            }
        }
    }

    #[test]
    fn a_call_costs_one_sync() {
        let key = ring().audit_key(NOW).unwrap().writer_key("w", 1).unwrap();
        let disk = Disk::default();
        let options = AuditOptions {
            clock: || NOW,
            ..AuditOptions::default()
        };
        let group = Group::new(Core::create(disk.clone(), &key, &options).unwrap());
        let before = disk.0.lock().unwrap().syncs;
        assert_eq!(write(&group, &[100; 50], 0), 5_000);
        assert_eq!(disk.0.lock().unwrap().syncs - before, 50);
    }

    #[test]
    fn a_failed_write_fails_all_that_follow_until_the_log_is_opened_anew() {
        let key = ring().audit_key(NOW).unwrap().writer_key("w", 1).unwrap();
        let disk = Disk::default();
        let group = Group::new(Core::create(disk.clone(), &key, &OPTIONS).unwrap());
        disk.give(Some(1));
        assert_eq!(write(&group, &[1], 0), 0);
        disk.give(None);
        assert_eq!(write(&group, &[1], 0), 0);
        assert_eq!(group.close(), Err(AuditError::Poisoned));
        drop(group);
        assert_eq!(go_on(&disk, &key), Ok(1));
    }
}
