//! What a vault needs of a store: batches of writes in one durable transaction, and reads.
//!
//! A store sees opaque bytes. It knows no card, no key and no format: it keeps *rows* under row
//! keys, an *index* from index keys to row keys, and one *guard*. What each write does, and to
//! what, is written down at [`Write`]; the conformance suite runs the same checks on every store.
//!
//! The first byte of a row key or an index key says whose it is: the length of a domain, 1 to 32,
//! for the vault's cards, what lies between them and [`LEDGER_SPACE`] for the vault's own notes,
//! [`LEDGER_SPACE`] and above for the ledger's.
#![forbid(unsafe_code)]

use core::cmp::Ordering;
use core::fmt::{self, Write as _};
use core::future::Future;
use core::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;

/// The longest [`RowKey`] and [`IndexKey`], in bytes.
pub const MAX_KEY: usize = 80;
/// The longest [`Row`], in bytes.
pub const MAX_ROW: usize = 512;
/// The longest [`Guard`], in bytes.
pub const MAX_GUARD: usize = 128;
/// The most index keys that one write names. A vault's row stands under at most three: the index
/// version that it was written under, the one that is read and the one that is being filled; a
/// ledger's under each of a payment's numbers.
pub const MAX_INDEX_KEYS: usize = 8;
/// The most writes of one group.
pub const MAX_ALL: usize = 5_000;
/// Row keys and index keys from this byte on are the ledger's.
pub const LEDGER_SPACE: u8 = 0x40;
/// The most writes of one batch, keys of one read, and rows of one page of a scan.
pub const MAX_BATCH: usize = 10_000;
/// The most row keys that one index key yields beside its unique one.
pub const MAX_FOUND: usize = 100;

/// Rows, an index over them and a guard, with atomic durable batches.
///
/// Every call may be made from many threads and tasks at once. Dropping a returned future is
/// always allowed; a write whose future was dropped either happens as a whole or not at all.
pub trait Store: Send + Sync + 'static {
    /// Applies `writes` in order, each seeing the ones before it, in one durable transaction, and
    /// says for each what became of it.
    ///
    /// A refused write changes nothing and does not disturb its neighbours. With `under`, the
    /// guard that the writer believes in, the batch is refused as a whole if the stored one is
    /// another, or is absent.
    ///
    /// # Errors
    /// [`StoreError::GuardChanged`]; [`StoreError::Size`] for more than [`MAX_BATCH`] writes or a
    /// wrong number of index keys; and what the medium reports. After an error nothing of the batch
    /// is applied, or, where [`StoreError::may_be_applied`] says so, nothing or all of it.
    fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> impl Future<Output = Result<Vec<WriteOutcome>, StoreError>> + Send;

    /// The rows under `keys`, in their order, as of one moment.
    ///
    /// # Errors
    /// [`StoreError::Size`] for more than [`MAX_BATCH`] keys; what the medium reports.
    fn rows(
        &self,
        keys: Vec<RowKey>,
    ) -> impl Future<Output = Result<Vec<Option<Row>>, StoreError>> + Send;

    /// What the index holds under `keys`, in their order, as of one moment.
    ///
    /// # Errors
    /// [`StoreError::Size`] for more than [`MAX_BATCH`] keys; what the medium reports.
    fn find(
        &self,
        keys: Vec<IndexKey>,
    ) -> impl Future<Output = Result<Vec<Found>, StoreError>> + Send;

    /// What the index holds beside the unique entry under `key`: at most `limit` row keys (and at
    /// most [`MAX_BATCH`]) after `after` and before `end`, in key order. Fewer, though not
    /// `limit == 0`, means that the end was reached.
    ///
    /// # Errors
    /// What the medium reports.
    fn others(
        &self,
        key: IndexKey,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<RowKey>, StoreError>> + Send;

    /// At most `limit` rows (and at most [`MAX_BATCH`]) with keys after `after` and before `end`,
    /// in key order. Fewer, though not `limit == 0`, means that the end was reached.
    ///
    /// # Errors
    /// What the medium reports.
    fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(RowKey, Row)>, StoreError>> + Send;

    /// The stored guard, if one was ever set.
    ///
    /// # Errors
    /// What the medium reports.
    fn guard(&self) -> impl Future<Output = Result<Option<Guard>, StoreError>> + Send;

    /// The number of rows, without counting them one by one.
    ///
    /// # Errors
    /// What the medium reports.
    fn count(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A store that can be read as a whole as of one moment, over as many calls as that takes.
pub trait SnapshotStore: Store {
    /// All of the store as of one moment.
    type Snapshot: Snapshot;

    /// All of the store as of now. Later writes do not change it and do not wait for it.
    ///
    /// # Errors
    /// What the medium reports.
    fn snapshot(&self) -> impl Future<Output = Result<Self::Snapshot, StoreError>> + Send;
}

/// A store as of one moment, read from front to back.
pub trait Snapshot: Send + 'static {
    /// The guard, if one was ever set.
    ///
    /// # Errors
    /// What the medium reports.
    fn guard(&mut self) -> impl Future<Output = Result<Option<Guard>, StoreError>> + Send;

    /// The next `limit` items, at most [`MAX_BATCH`], in the order of [`Item`]. Fewer, though not
    /// `limit == 0`, means that the end was reached.
    ///
    /// # Errors
    /// What the medium reports. Ask no more after an error.
    fn next(&mut self, limit: usize) -> impl Future<Output = Result<Vec<Item>, StoreError>> + Send;
}

/// A store that several vaults or other readers share.
impl<S: Store> Store for Arc<S> {
    fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> impl Future<Output = Result<Vec<WriteOutcome>, StoreError>> + Send {
        (**self).write(under, writes)
    }

    fn rows(
        &self,
        keys: Vec<RowKey>,
    ) -> impl Future<Output = Result<Vec<Option<Row>>, StoreError>> + Send {
        (**self).rows(keys)
    }

    fn find(
        &self,
        keys: Vec<IndexKey>,
    ) -> impl Future<Output = Result<Vec<Found>, StoreError>> + Send {
        (**self).find(keys)
    }

    fn others(
        &self,
        key: IndexKey,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<RowKey>, StoreError>> + Send {
        (**self).others(key, after, end, limit)
    }

    fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(RowKey, Row)>, StoreError>> + Send {
        (**self).scan(after, end, limit)
    }

    fn guard(&self) -> impl Future<Output = Result<Option<Guard>, StoreError>> + Send {
        (**self).guard()
    }

    fn count(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        (**self).count()
    }
}

impl<S: SnapshotStore> SnapshotStore for Arc<S> {
    type Snapshot = S::Snapshot;

    fn snapshot(&self) -> impl Future<Output = Result<S::Snapshot, StoreError>> + Send {
        (**self).snapshot()
    }
}

/// One thing that a store holds.
///
/// Their order: rows before entries; rows by their keys; entries by the length of the index key,
/// the index key, the unique one first, and then by row key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A row.
    Row(RowKey, Row),
    /// The unique entry of an index key. It may name a row that is not there, and is then none.
    Unique(IndexKey, RowKey),
    /// Another entry of an index key.
    Other(IndexKey, RowKey),
}

impl Item {
    /// Whether this may stand behind `before`: later in the order, and not a second unique entry.
    #[must_use]
    pub fn follows(&self, before: &Self) -> bool {
        let unique = |item: &Self| match item {
            Self::Unique(index, _) => Some(*index),
            _ => None,
        };
        let second = unique(self).is_some_and(|index| unique(before) == Some(index));
        !second && before.place() < self.place()
    }

    fn place(&self) -> (usize, &[u8], bool, &[u8]) {
        match self {
            Self::Row(key, _) => (0, &[], false, key.as_bytes()),
            Self::Unique(index, key) => {
                let index = index.as_bytes();
                (index.len(), index, false, key.as_bytes())
            }
            Self::Other(index, key) => {
                let index = index.as_bytes();
                (index.len(), index, true, key.as_bytes())
            }
        }
    }
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Puts a new row under a new row key, and its key under each index key.
    ///
    /// An index key holds at most one *unique* entry, and any number of others. A unique entry that
    /// names a row which is not there is none, and the next one takes its place. A unique insert
    /// looks at its index keys in order: the first that has a unique entry already decides, the
    /// outcome is [`WriteOutcome::Exists`] with what it names, and all that is written is the
    /// winner's unique entry under those of the other index keys that have none.
    Insert {
        /// The row's key.
        token: RowKey,
        /// The row.
        row: Row,
        /// One to [`MAX_INDEX_KEYS`] index keys.
        index: Vec<IndexKey>,
        /// Whether this is to be the one row that its index keys name.
        unique: bool,
    },
    /// Puts `row` in the place of `expected`.
    Replace {
        /// The row's key.
        token: RowKey,
        /// The row as the writer read it.
        expected: Row,
        /// The new row.
        row: Row,
    },
    /// Takes out the row, if it is `expected`, and its entries under the index keys.
    Delete {
        /// The row's key.
        token: RowKey,
        /// The row as the writer read it.
        expected: Row,
        /// At most [`MAX_INDEX_KEYS`]: all that the row was inserted under.
        index: Vec<IndexKey>,
    },
    /// Adds and takes away entries of a row that are not unique. Adding one that is there and
    /// taking away one that is not changes nothing.
    Link {
        /// The row's key.
        token: RowKey,
        /// At most [`MAX_INDEX_KEYS`]: the keys that are to name the row.
        add: Vec<IndexKey>,
        /// At most [`MAX_INDEX_KEYS`]: the keys that are to name it no more, done first.
        remove: Vec<IndexKey>,
    },
    /// Puts `row` in the place of `expected` and moves its entries, or does nothing of it.
    ///
    /// If a unique entry is to be added where another row has one already, the outcome is
    /// [`WriteOutcome::Exists`] with what the first such entry names. An entry that names a row
    /// which is not there is none.
    Reindex {
        /// The row's key.
        token: RowKey,
        /// The row as the writer read it.
        expected: Row,
        /// The new row, which may be the expected one.
        row: Row,
        /// At most [`MAX_INDEX_KEYS`]: the keys that are to name the row.
        add: Vec<IndexKey>,
        /// At most [`MAX_INDEX_KEYS`]: the keys that are to name it no more, done first.
        remove: Vec<IndexKey>,
        /// Whether the added entries are unique ones.
        unique: bool,
    },
    /// Puts `guard` in the place of `expected`.
    Guard {
        /// The guard as the writer read it.
        expected: Option<Guard>,
        /// The new guard.
        guard: Guard,
    },
    /// As [`Write::Guard`], if there is no row before `end` besides. Rows that the same batch takes
    /// out may count still.
    GuardOfEmpty {
        /// The guard as the writer read it.
        expected: Option<Guard>,
        /// The new guard.
        guard: Guard,
        /// Behind the rows that it is about.
        end: RowKey,
    },
    /// Puts a row or an index entry as it is, in the place of what is there: to fill a store with
    /// what a snapshot gave. Nothing is looked at.
    Put(Item),
    /// All of these, in their order, or none of them: 1 to [`MAX_ALL`] writes, no group among
    /// them.
    All(Vec<Self>),
}

/// What became of one [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The row is in.
    Inserted,
    /// A unique entry was there before; this is what it names.
    Exists {
        /// The winner's key.
        token: RowKey,
        /// The winner's row.
        row: Row,
    },
    /// Another row has this key; nothing was written.
    TokenTaken,
    /// The row was replaced.
    Replaced,
    /// The row was taken out.
    Deleted,
    /// The row is not the expected one; nothing was written.
    Changed,
    /// There is no row under this key; nothing was written.
    Missing,
    /// The guard was set.
    Guarded,
    /// The row's entries are as they were to be.
    Linked,
    /// The item is in.
    Put,
    /// The guard is not the expected one but this; nothing was written.
    GuardChanged(Option<Guard>),
    /// The guard is the expected one, but there are rows; nothing was written.
    NotEmpty,
    /// Every write of the group was applied, with these outcomes.
    All(Vec<Self>),
    /// One write of the group was refused, so none was applied.
    Refused {
        /// The place of the first refused one in the group, from 0.
        at: usize,
        /// What became of it.
        outcome: Box<Self>,
    },
}

impl WriteOutcome {
    /// Whether the write did what it was to do.
    #[must_use]
    pub const fn is_applied(&self) -> bool {
        match self {
            Self::Inserted
            | Self::Replaced
            | Self::Deleted
            | Self::Guarded
            | Self::Linked
            | Self::Put
            | Self::All(_) => true,
            Self::Exists { .. }
            | Self::TokenTaken
            | Self::Changed
            | Self::Missing
            | Self::GuardChanged(_)
            | Self::NotEmpty
            | Self::Refused { .. } => false,
        }
    }
}

/// What the index holds under one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The unique entry, with its row; none if its row is not there.
    pub unique: Option<(RowKey, Row)>,
    /// The others, in key order, at most [`MAX_FOUND`].
    pub others: Vec<RowKey>,
    /// Whether there are more others.
    pub more: bool,
}

/// Names a row: the canonical bytes of a domain and a token, 1 to [`MAX_KEY`] bytes.
#[derive(Clone, Copy)]
pub struct RowKey(Short);

/// Names index entries: the canonical bytes of a domain, an index version and a fingerprint, 1 to
/// [`MAX_KEY`] bytes.
#[derive(Clone, Copy)]
pub struct IndexKey(Short);

/// One row, 0 to [`MAX_ROW`] bytes. Clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Row(Arc<[u8]>);

/// What every writer must agree on with the store, 0 to [`MAX_GUARD`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Guard(Box<[u8]>);

/// Why a store could not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// This or another process has the store open.
    AlreadyOpen,
    /// There is a store in this place already.
    AlreadyExists,
    /// No room is left on the medium.
    Full,
    /// The medium reported an error.
    Io(io::ErrorKind),
    /// A commit failed earlier: what is on the medium is known again once the store is reopened.
    Poisoned,
    /// The store was closed, or its committing thread ended before it answered.
    Closed,
    /// The medium holds what no store has written.
    Corrupt,
    /// A newer version of this crate wrote the store.
    NewerFormat {
        /// The version of its format.
        found: u16,
    },
    /// What is there is something else than a vault's store.
    NotAVault,
    /// The stored guard is not the one that the writer believes in.
    GuardChanged,
    /// A connection string, or the name of a schema, is not what it should be.
    BadSetting,
    /// The database is on another machine and no TLS to it was set, or TLS was, and the server
    /// speaks none.
    NoTls,
    /// The database's server shows no certificate that is trusted: it is of another authority, for
    /// another name, or out of date.
    Untrusted,
    /// The database refused.
    Refused {
        /// Its SQLSTATE: five ASCII letters and digits, see appendix A of PostgreSQL's manual.
        code: [u8; 5],
    },
    /// Something is too long, too short, or too many.
    Size {
        /// What.
        part: Part,
        /// Its length in bytes, or the number of items.
        len: usize,
    },
}

/// What [`StoreError::Size`] speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// A [`RowKey`]: 1 to [`MAX_KEY`] bytes.
    RowKey,
    /// An [`IndexKey`]: 1 to [`MAX_KEY`] bytes.
    IndexKey,
    /// A [`Row`]: at most [`MAX_ROW`] bytes.
    Row,
    /// A [`Guard`]: at most [`MAX_GUARD`] bytes.
    Guard,
    /// The number of index keys of one write: at most [`MAX_INDEX_KEYS`].
    IndexKeys,
    /// The number of items of one call, those of groups counted one by one: at most
    /// [`MAX_BATCH`].
    Batch,
    /// The number of writes of one group: 1 to [`MAX_ALL`].
    All,
    /// A group within a group; its length is that of the inner one.
    Nested,
}

impl RowKey {
    /// A key of these bytes.
    ///
    /// # Errors
    /// [`StoreError::Size`].
    pub fn new(bytes: &[u8]) -> Result<Self, StoreError> {
        Short::new(bytes).map(Self).ok_or(StoreError::Size {
            part: Part::RowKey,
            len: bytes.len(),
        })
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl IndexKey {
    /// A key of these bytes.
    ///
    /// # Errors
    /// [`StoreError::Size`].
    pub fn new(bytes: &[u8]) -> Result<Self, StoreError> {
        Short::new(bytes).map(Self).ok_or(StoreError::Size {
            part: Part::IndexKey,
            len: bytes.len(),
        })
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Row {
    /// A row of these bytes.
    ///
    /// # Errors
    /// [`StoreError::Size`].
    pub fn new(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.len() > MAX_ROW {
            return Err(StoreError::Size {
                part: Part::Row,
                len: bytes.len(),
            });
        }
        Ok(Self(bytes.into()))
    }

    /// The row's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Guard {
    /// A guard of these bytes.
    ///
    /// # Errors
    /// [`StoreError::Size`].
    pub fn new(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.len() > MAX_GUARD {
            return Err(StoreError::Size {
                part: Part::Guard,
                len: bytes.len(),
            });
        }
        Ok(Self(bytes.into()))
    }

    /// The guard's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl StoreError {
    /// Whether a write that failed with this may be applied all the same, as a whole: the commit
    /// failed under way, or its outcome could not be told. After every other error it is not.
    #[must_use]
    pub const fn may_be_applied(self) -> bool {
        matches!(
            self,
            Self::Full | Self::Io(_) | Self::Poisoned | Self::Closed | Self::Corrupt
        )
    }
}

/// Checks the sizes of a batch that the types do not.
///
/// # Errors
/// [`StoreError::Size`] with [`Part::Batch`], [`Part::IndexKeys`], [`Part::All`] or
/// [`Part::Nested`].
pub(super) fn check_batch(writes: &[Write]) -> Result<(), StoreError> {
    check_count(writes.iter().map(weight).sum())?;
    let size = |part, len| Err(StoreError::Size { part, len });
    for write in writes {
        let Write::All(group) = write else {
            check_index_keys(write)?;
            continue;
        };
        if group.is_empty() || group.len() > MAX_ALL {
            return size(Part::All, group.len());
        }
        for write in group {
            if let Write::All(inner) = write {
                return size(Part::Nested, inner.len());
            }
            check_index_keys(write)?;
        }
    }
    Ok(())
}

/// How many writes a write is: a group is as many as it holds.
pub(super) fn weight(write: &Write) -> usize {
    match write {
        Write::All(group) => group.len(),
        _ => 1,
    }
}

fn check_index_keys(write: &Write) -> Result<(), StoreError> {
    let (least, len) = match write {
        Write::Insert { index, unique, .. } => (usize::from(*unique), index.len()),
        Write::Delete { index, .. } => (0, index.len()),
        Write::Link { add, remove, .. } | Write::Reindex { add, remove, .. } => {
            (0, add.len().max(remove.len()))
        }
        Write::Replace { .. }
        | Write::Guard { .. }
        | Write::GuardOfEmpty { .. }
        | Write::Put(_)
        | Write::All(_) => return Ok(()),
    };
    if len < least || len > MAX_INDEX_KEYS {
        return Err(StoreError::Size {
            part: Part::IndexKeys,
            len,
        });
    }
    Ok(())
}

/// Checks the number of items of a call.
///
/// # Errors
/// [`StoreError::Size`] with [`Part::Batch`].
pub(super) fn check_count(len: usize) -> Result<(), StoreError> {
    if len > MAX_BATCH {
        Err(StoreError::Size {
            part: Part::Batch,
            len,
        })
    } else {
        Ok(())
    }
}

#[cfg(feature = "embedded")]
impl StoreError {
    /// The error for what the operating system reports.
    pub(super) fn from_io(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            other => Self::Io(other),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyOpen => f.write_str("the store is open already"),
            Self::AlreadyExists => f.write_str("there is a store already"),
            Self::Full => f.write_str("no room is left on the store's medium"),
            Self::Io(kind) => write!(f, "the store's medium failed: {kind}"),
            Self::Poisoned => f.write_str("an earlier commit failed; open the store again"),
            Self::Closed => f.write_str("the store is closed"),
            Self::Corrupt => f.write_str("the store is corrupt"),
            Self::NewerFormat { found } => {
                write!(f, "the store has the newer format version {found}")
            }
            Self::NotAVault => f.write_str("this is not a vault's store"),
            Self::GuardChanged => f.write_str("the store's guard has changed"),
            Self::BadSetting => f.write_str("the store's connection or schema is not well-formed"),
            Self::NoTls => f.write_str("the database needs TLS, and there is none to it"),
            Self::Untrusted => f.write_str("the database's certificate is not trusted"),
            Self::Refused { code } => {
                f.write_str("the database refused with SQLSTATE ")?;
                code.iter()
                    .try_for_each(|&byte| f.write_char(char::from(byte)))
            }
            Self::Size { part, len } => match part {
                Part::RowKey => write!(f, "a row key of {len} bytes (1 to {MAX_KEY})"),
                Part::IndexKey => write!(f, "an index key of {len} bytes (1 to {MAX_KEY})"),
                Part::Row => write!(f, "a row of {len} bytes (at most {MAX_ROW})"),
                Part::Guard => write!(f, "a guard of {len} bytes (at most {MAX_GUARD})"),
                Part::IndexKeys => write!(f, "{len} index keys (at most {MAX_INDEX_KEYS})"),
                Part::Batch => write!(f, "{len} items in one call (at most {MAX_BATCH})"),
                Part::All => write!(f, "{len} writes in one group (1 to {MAX_ALL})"),
                Part::Nested => write!(f, "a group of {len} writes within a group"),
            },
        }
    }
}

impl core::error::Error for StoreError {}

/// At most [`MAX_KEY`] bytes in place.
#[derive(Clone, Copy)]
struct Short {
    len: u8,
    bytes: [u8; MAX_KEY],
}

impl Short {
    fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_KEY];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        let len = u8::try_from(from.len()).ok()?;
        (len > 0).then_some(Self { len, bytes })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Order, equality and hash by the bytes; `Debug` without them.
macro_rules! by_bytes {
    ($($name:ident)*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }
        impl Eq for $name {}
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_bytes().cmp(other.as_bytes())
            }
        }
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_bytes().hash(state);
            }
        }
    )*};
}

macro_rules! debug_length {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.as_bytes().len())
            }
        }
    )*};
}

by_bytes!(RowKey IndexKey);
debug_length!(RowKey IndexKey Row Guard);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_at_the_door() {
        for len in 0..=MAX_KEY + 2 {
            let bytes = vec![7; len];
            let good = (1..=MAX_KEY).contains(&len);
            let error = |part| StoreError::Size { part, len };
            match (RowKey::new(&bytes), IndexKey::new(&bytes)) {
                (Ok(row), Ok(index)) if good => {
                    assert_eq!(row.as_bytes(), bytes);
                    assert_eq!(index.as_bytes(), bytes);
                }
                (row, index) => {
                    assert!(!good);
                    assert_eq!(row.err(), Some(error(Part::RowKey)));
                    assert_eq!(index.err(), Some(error(Part::IndexKey)));
                }
            }
        }
        assert!(Row::new(&[0; MAX_ROW]).is_ok() && Row::new(&[0; MAX_ROW + 1]).is_err());
        assert!(Guard::new(&[0; MAX_GUARD]).is_ok() && Guard::new(&[0; MAX_GUARD + 1]).is_err());
    }

    #[test]
    fn keys_order_as_their_bytes() {
        let key = |bytes: &[u8]| RowKey::new(bytes).unwrap();
        assert!(key(b"a") < key(b"aa"));
        assert!(key(b"aa") < key(b"b"));
        assert!(key(&[1]) < key(&[1, 0]));
        assert_ne!(key(&[1]), key(&[1, 0]));
    }

    #[test]
    fn debug_and_display_show_no_content() {
        let row = Row::new(b"4111111111111111").unwrap();
        assert_eq!(format!("{row:?}"), "Row(16 bytes)");
        let key = IndexKey::new(b"4111111111111111").unwrap();
        assert_eq!(format!("{key:?}"), "IndexKey(16 bytes)");
    }
}
