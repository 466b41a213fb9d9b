//! A vault's rows into a checkpoint, and against one.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use pollster::block_on;

use super::checkpoint::{Checkpoint, CheckpointItem, CheckpointTotals, CheckpointWriter, RowEntry};
use super::error::AuditError;
use super::event::LoggedEvent;
use super::finding::{RowFault, RowFinding};
use super::verify::{LogPosition, Told, verify};
use super::writer::Writer;
use crate::keys::KeyRing;
use crate::time::UnixSeconds;
use crate::vault::{
    Item, MAX_BATCH, Operation, Row, RowKey, Snapshot, SnapshotStore, read_row_key, row_facts,
    row_key, vault_end,
};

/// How far the clocks of writers, and the moments of a log and of the rows beside it, may lie
/// apart, in seconds.
pub const CLOCK_SLACK: u64 = 600;

/// Deletions that are kept in memory at a time.
const WINDOW: usize = 1 << 18;

/// Writes a checkpoint of these logs and of the rows of `store`, if one is given. Take the logs'
/// positions first: see [`verify`]. Constant memory.
///
/// # Errors
/// [`AuditError::Key`], [`AuditError::Io`]; the store's.
pub async fn write_checkpoint<S: SnapshotStore, W: Write>(
    out: W,
    ring: &KeyRing,
    time: UnixSeconds,
    mut logs: Vec<LogPosition>,
    store: Option<&S>,
) -> Result<(W, CheckpointTotals), AuditError> {
    let mut writer = CheckpointWriter::begin(out, ring, time, store.is_some())?;
    logs.sort_by(|one, other| one.writer.cmp(&other.writer));
    for log in logs {
        writer.put(CheckpointItem::Log(log))?;
    }
    if let Some(store) = store {
        let mut rows = Rows::of(store).await?;
        while let Some((key, row)) = rows.next().await? {
            writer.put(CheckpointItem::Row(RowEntry::of(key, &row)))?;
        }
    }
    writer.finish()
}

/// [`write_checkpoint`] without `async`.
///
/// # Errors
/// See [`write_checkpoint`].
pub fn write_checkpoint_blocking<S: SnapshotStore, W: Write>(
    out: W,
    ring: &KeyRing,
    time: UnixSeconds,
    logs: Vec<LogPosition>,
    store: Option<&S>,
) -> Result<(W, CheckpointTotals), AuditError> {
    block_on(write_checkpoint(out, ring, time, logs, store))
}

/// How many rows were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows of the vault.
    pub rows: u64,
    /// Rows of the checkpoint.
    pub known: u64,
    /// What was found.
    pub faults: u64,
}

/// Compares the rows of `store` with those of a checkpoint, and both with the deletions that the
/// logs in `folder` hold. Call [`Checkpoint::logs`] first, and verify the logs against them:
/// only a genuine log excuses a row that is gone. Constant memory, in the order of the rows' keys.
///
/// # Errors
/// [`AuditError::Changed`], [`AuditError::Content`] of the checkpoint; the store's.
pub async fn compare_rows<S: SnapshotStore, R: Read>(
    store: &S,
    checkpoint: &mut Checkpoint<R>,
    folder: &Path,
    ring: &KeyRing,
    sink: &mut dyn FnMut(RowFinding),
) -> Result<Compared, AuditError> {
    let mut compared = Compared::default();
    let mut rows = Rows::of(store).await?;
    let mut deleted = Deletions::after(None, folder, ring)?;
    let since = UnixSeconds(checkpoint.header().time.0.saturating_sub(CLOCK_SLACK));
    let mut row = rows.next().await?;
    let mut known = next_row(checkpoint)?;
    loop {
        let key = match (&row, &known) {
            (None, None) => return Ok(compared),
            (Some((key, _)), None) => *key,
            (None, Some(known)) => known.key,
            (Some((key, _)), Some(known)) => (*key).min(known.key),
        };
        if deleted.until.is_some_and(|until| key > until) {
            deleted = Deletions::after(deleted.until, folder, ring)?;
        }
        let here = row.as_ref().filter(|(at, _)| *at == key);
        let seen = known.filter(|known| known.key == key);
        let gone = deleted.gone.get(&key).and_then(Gone::at);
        let (took_row, took_known) = (here.is_some(), seen.is_some());
        if let Some(fault) = judge(here.map(|(_, row)| row), seen.as_ref(), gone, since) {
            compared.faults += 1;
            sink(RowFinding {
                row: read_row_key(&key).ok(),
                fault,
            });
        }
        if took_row {
            compared.rows += 1;
            row = rows.next().await?;
        }
        if took_known {
            compared.known += 1;
            known = next_row(checkpoint)?;
        }
    }
}

/// [`compare_rows`] without `async`.
///
/// # Errors
/// See [`compare_rows`].
pub fn compare_rows_blocking<S: SnapshotStore, R: Read>(
    store: &S,
    checkpoint: &mut Checkpoint<R>,
    folder: &Path,
    ring: &KeyRing,
    sink: &mut dyn FnMut(RowFinding),
) -> Result<Compared, AuditError> {
    block_on(compare_rows(store, checkpoint, folder, ring, sink))
}

/// What is wrong with the row under one key: as it is now, as the checkpoint has it, when its
/// deletion was logged last, and what was made before `since` the checkpoint must have.
fn judge(
    here: Option<&Row>,
    seen: Option<&RowEntry>,
    gone: Option<UnixSeconds>,
    since: UnixSeconds,
) -> Option<RowFault> {
    let Some(row) = here else {
        // Its deletion may have been under way when the checkpoint was made.
        let excused = seen.is_none() || gone.is_some_and(|at| at >= since);
        return (!excused).then_some(RowFault::Deleted);
    };
    let Some((revision, created)) = row_facts(row) else {
        return Some(RowFault::Unreadable);
    };
    if let Some(deleted) = gone.filter(|at| *at >= created) {
        return Some(RowFault::Back { deleted });
    }
    let Some(seen) = seen else {
        return (created < since).then_some(RowFault::PutIn { created });
    };
    let digest = RowEntry::of(seen.key, row).digest;
    if revision < seen.revision {
        let seen = seen.revision;
        Some(RowFault::RolledBack { revision, seen })
    } else if revision == seen.revision && digest != seen.digest {
        Some(RowFault::Changed { revision })
    } else {
        None
    }
}

fn next_row<R: Read>(checkpoint: &mut Checkpoint<R>) -> Result<Option<RowEntry>, AuditError> {
    loop {
        match checkpoint.next()? {
            Some(CheckpointItem::Log(_)) => {}
            Some(CheckpointItem::Row(row)) => return Ok(Some(row)),
            None => return Ok(None),
        }
    }
}

/// The vault's rows of a store as of one moment.
struct Rows<S> {
    snapshot: S,
    page: std::vec::IntoIter<Item>,
    end: RowKey,
    ended: bool,
}

impl<S: Snapshot> Rows<S> {
    async fn of<T: SnapshotStore<Snapshot = S>>(store: &T) -> Result<Self, AuditError> {
        Ok(Self {
            snapshot: store.snapshot().await?,
            page: Vec::new().into_iter(),
            end: vault_end()?,
            ended: false,
        })
    }

    async fn next(&mut self) -> Result<Option<(RowKey, Row)>, AuditError> {
        loop {
            match self.page.next() {
                Some(Item::Row(key, row)) if key < self.end => return Ok(Some((key, row))),
                // The ledger's rows and the index come behind the vault's rows.
                Some(_) => self.ended = true,
                None if self.ended => return Ok(None),
                None => {
                    let page = self.snapshot.next(MAX_BATCH).await?;
                    self.ended = page.len() < MAX_BATCH;
                    self.page = page.into_iter();
                }
            }
            if self.ended && self.page.len() == 0 {
                return Ok(None);
            }
        }
    }
}

/// What the logs say of the end of one row.
#[derive(Clone, Copy, Default)]
struct Gone {
    /// The last deletion.
    deleted: Option<UnixSeconds>,
    /// The last purge in the log that is read.
    purged: Option<UnixSeconds>,
    /// Purges in that log of which it does not say that the row stayed.
    purges: u32,
}

impl Gone {
    /// When the row went last.
    fn at(&self) -> Option<UnixSeconds> {
        let purged = self.purged.filter(|_| self.purges > 0);
        self.deleted.max(purged)
    }

    /// What another log says does not take back what this one said.
    fn settle(&mut self) {
        *self = Self {
            deleted: self.at(),
            ..Self::default()
        };
    }

    fn take(&mut self, what: Removal, time: UnixSeconds) {
        match what {
            Removal::Delete => self.deleted = self.deleted.max(Some(time)),
            Removal::Purge => {
                self.purged = self.purged.max(Some(time));
                self.purges = self.purges.saturating_add(1);
            }
            Removal::Stayed => self.purges = self.purges.saturating_sub(1),
        }
    }
}

/// What an access says of a row's end.
#[derive(Clone, Copy)]
enum Removal {
    Delete,
    /// To be taken back by the next one, if the row stayed.
    Purge,
    Stayed,
}

impl Removal {
    /// A deletion that was refused was never begun; a purge that was, and names a token, had been
    /// granted before.
    fn of(event: &LoggedEvent) -> Option<Self> {
        let is = |operation: Operation| event.operation == operation.as_str();
        match event.granted {
            true if is(Operation::Delete) => Some(Self::Delete),
            true if is(Operation::Purge) => Some(Self::Purge),
            false if is(Operation::Purge) => Some(Self::Stayed),
            _ => None,
        }
    }
}

/// What was deleted and purged, as far as memory goes.
struct Deletions {
    gone: BTreeMap<RowKey, Gone>,
    /// The last key that these are whole for; none: all.
    until: Option<RowKey>,
}

impl Deletions {
    fn after(after: Option<RowKey>, folder: &Path, ring: &KeyRing) -> Result<Self, AuditError> {
        let mut found = Self {
            gone: BTreeMap::new(),
            until: None,
        };
        let mut log: Option<Writer> = None;
        verify(folder, ring, &[], &mut |told| {
            let Told::Event(writer, event) = told else {
                return;
            };
            if log.as_ref() != Some(writer) {
                found.gone.values_mut().for_each(Gone::settle);
                log = Some(writer.clone());
            }
            let (Some(domain), Some(token)) = (&event.domain, &event.token) else {
                return;
            };
            if let (Some(what), Ok(key)) = (Removal::of(&event), row_key(domain, token)) {
                found.note(key, what, event.time, after);
            }
        })?;
        Ok(found)
    }

    fn note(&mut self, key: RowKey, what: Removal, time: UnixSeconds, after: Option<RowKey>) {
        let behind = after.is_some_and(|after| key <= after);
        if behind || self.until.is_some_and(|until| key > until) {
            return;
        }
        self.gone.entry(key).or_default().take(what, time);
        if self.gone.len() > WINDOW {
            self.gone.pop_last();
            self.until = self.gone.last_key_value().map(|(key, _)| *key);
        }
    }
}
