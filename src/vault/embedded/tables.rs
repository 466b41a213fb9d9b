//! The tables of the file: their layout, reading a snapshot, and writing staged changes.
//!
//! | table | key | value |
//! |---|---|---|
//! | `rows` | row key | row |
//! | `index` | length of the index key (1 byte), index key | row key of the unique entry |
//! | `index` | length of the index key (1 byte), index key, row key | empty: one of the others |
//! | `meta` | `format` | `CVSTORE` and a zero byte, version (2 bytes, big-endian) |
//! | `meta` | `guard` | guard |
#![forbid(unsafe_code)]

use core::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{
    CommitError, Database, DatabaseError, Durability, ReadOnlyTable, ReadTransaction,
    ReadableDatabase, ReadableTable, ReadableTableMetadata, SetDurabilityError, StorageError,
    TableDefinition, TableError, TransactionError, WriteTransaction,
};

use super::super::staged::{Base, Beside, Replacement, Staged};
use super::super::store::{
    Found, Guard, IndexKey, Item, MAX_FOUND, MAX_KEY, MAX_ROW, Row, RowKey, StoreError, check_count,
};

type Bytes = &'static [u8];

const ROWS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("rows");
const INDEX: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("index");
const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");

const FORMAT: &str = "format";
const GUARD: &str = "guard";
const MAGIC: &[u8; 8] = b"CVSTORE\0";
const FORMAT_VERSION: u16 = 1;
/// Steps of a walk from one wanted row to the next: beyond, it is faster to begin anew.
const MAX_STEPS: usize = 8;

/// The engine, with tables in it that are this store's.
pub(super) struct Tables {
    db: Database,
}

/// The tables as of one moment. Writers do not disturb it, nor wait for it.
pub(super) struct Snapshot {
    rows: ReadOnlyTable<Bytes, Bytes>,
    index: ReadOnlyTable<Bytes, Bytes>,
    transaction: ReadTransaction,
}

/// Runs `work`, which calls the engine; the engine may panic on a file that was tampered with.
///
/// # Errors
/// Those of `work`, and [`StoreError::Corrupt`] for a panic.
pub(super) fn fenced<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(StoreError::Corrupt))
}

impl Tables {
    /// Makes the tables in a new database.
    pub(super) fn create(db: Database) -> Result<Self, StoreError> {
        let transaction = begin_durable(&db)?;
        {
            transaction.open_table(ROWS).map_err(from_table)?;
            transaction.open_table(INDEX).map_err(from_table)?;
            let mut meta = transaction.open_table(META).map_err(from_table)?;
            let stamp = [MAGIC.as_slice(), &FORMAT_VERSION.to_be_bytes()].concat();
            meta.insert(FORMAT, stamp.as_slice())
                .map_err(from_storage)?;
        }
        transaction.commit().map_err(from_commit)?;
        Ok(Self { db })
    }

    /// Takes the tables of a database that has them.
    pub(super) fn open(db: Database) -> Result<Self, StoreError> {
        {
            let transaction = db.begin_read().map_err(from_transaction)?;
            let meta = match transaction.open_table(META) {
                Err(TableError::Storage(error)) => return Err(from_storage(error)),
                Err(_) => return Err(StoreError::NotAVault),
                Ok(meta) => meta,
            };
            let stamp = ReadableTable::get(&meta, FORMAT).map_err(from_storage)?;
            let stamp = stamp.ok_or(StoreError::NotAVault)?;
            match stamp.value().split_at_checked(MAGIC.len()) {
                Some((magic, version)) if magic == MAGIC => match version.try_into() {
                    Ok(version) => match u16::from_be_bytes(version) {
                        FORMAT_VERSION => {}
                        found if found > FORMAT_VERSION => {
                            return Err(StoreError::NewerFormat { found });
                        }
                        _ => return Err(StoreError::NotAVault),
                    },
                    Err(_) => return Err(StoreError::NotAVault),
                },
                _ => return Err(StoreError::NotAVault),
            }
        }
        let tables = Self { db };
        tables.snapshot()?;
        Ok(tables)
    }

    /// Makes the tables in a database that has none, else takes the ones that it has.
    pub(super) fn open_or_create(db: Database) -> Result<Self, StoreError> {
        let empty = {
            let transaction = db.begin_read().map_err(from_transaction)?;
            transaction
                .list_tables()
                .map_err(from_storage)?
                .next()
                .is_none()
        };
        if empty {
            Self::create(db)
        } else {
            Self::open(db)
        }
    }

    /// Closes the file and says whether that went well, as dropping does not.
    pub(super) fn close(self) -> Result<(), StoreError> {
        self.db.close().map_err(from_database)
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let transaction = self.db.begin_read().map_err(from_transaction)?;
        Ok(Snapshot {
            rows: transaction.open_table(ROWS).map_err(from_table)?,
            index: transaction.open_table(INDEX).map_err(from_table)?,
            transaction,
        })
    }

    /// Writes all changes in one durable transaction, in key order: neighbours share pages.
    pub(super) fn commit(&self, staged: &Staged) -> Result<(), StoreError> {
        let transaction = begin_durable(&self.db)?;
        {
            let mut rows = transaction.open_table(ROWS).map_err(from_table)?;
            for (key, row) in &staged.rows {
                match row {
                    Some(row) => rows.insert(key.as_bytes(), row.as_bytes()),
                    None => rows.remove(key.as_bytes()),
                }
                .map_err(from_storage)?;
            }
        }
        {
            let mut index = transaction.open_table(INDEX).map_err(from_table)?;
            for (key, token) in &staged.unique {
                let entry = Entry::unique(key);
                match token {
                    Some(token) => index.insert(entry.as_bytes(), token.as_bytes()),
                    None => index.remove(entry.as_bytes()),
                }
                .map_err(from_storage)?;
            }
            for ((key, token), there) in &staged.others {
                let entry = Entry::other(key, token);
                if *there {
                    index.insert(entry.as_bytes(), [].as_slice())
                } else {
                    index.remove(entry.as_bytes())
                }
                .map_err(from_storage)?;
            }
        }
        if let Some(guard) = &staged.guard {
            let mut meta = transaction.open_table(META).map_err(from_table)?;
            meta.insert(GUARD, guard.as_bytes()).map_err(from_storage)?;
        }
        transaction.commit().map_err(from_commit)
    }
}

impl Snapshot {
    pub(super) fn rows(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        check_count(keys.len())?;
        // In the order of the table, where neighbours share pages.
        let mut order: Vec<_> = keys.iter().enumerate().collect();
        order.sort_unstable_by_key(|(_, key)| *key);
        let mut rows = vec![None; keys.len()];
        for (at, key) in order {
            if let Some(place) = rows.get_mut(at) {
                *place = self.row(key)?;
            }
        }
        Ok(rows)
    }

    pub(super) fn find(&self, key: &IndexKey) -> Result<Found, StoreError> {
        let prefix = Entry::unique(key);
        let prefix = prefix.as_bytes();
        let mut found = Found::default();
        let range = (Bound::Included(prefix), Bound::Unbounded);
        for entry in ReadableTable::range::<&[u8]>(&self.index, range).map_err(from_storage)? {
            let (name, value) = entry.map_err(from_storage)?;
            let Some(token) = name.value().strip_prefix(prefix) else {
                break;
            };
            if token.is_empty() {
                let token = row_key(value.value())?;
                found.unique = self.row(&token)?.map(|row| (token, row));
            } else if found.others.len() == MAX_FOUND {
                found.more = true;
                break;
            } else {
                found.others.push(row_key(token)?);
            }
        }
        Ok(found)
    }

    pub(super) fn others(
        &self,
        key: &IndexKey,
        after: Option<&RowKey>,
        end: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<RowKey>, StoreError> {
        if nothing_between(after, end) {
            return Ok(Vec::new());
        }
        let unique = Entry::unique(key);
        let prefix = unique.as_bytes();
        let start = after.map(|token| Entry::other(key, token));
        // Behind the unique entry, which is the prefix itself.
        let start = start.as_ref().map_or(prefix, Entry::as_bytes);
        let end = end.map(|token| Entry::other(key, token));
        let end = end
            .as_ref()
            .map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_bytes()));
        let range = (Bound::Excluded(start), end);
        let entries = ReadableTable::range::<&[u8]>(&self.index, range).map_err(from_storage)?;
        let mut tokens = Vec::new();
        for entry in entries.take(limit) {
            let (name, _) = entry.map_err(from_storage)?;
            let Some(token) = name.value().strip_prefix(prefix) else {
                break;
            };
            tokens.push(row_key(token)?);
        }
        Ok(tokens)
    }

    pub(super) fn scan(
        &self,
        after: Option<&RowKey>,
        end: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        if nothing_between(after, end) {
            return Ok(Vec::new());
        }
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes()));
        let end = end.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes()));
        let range = (start, end);
        let entries = ReadableTable::range::<&[u8]>(&self.rows, range).map_err(from_storage)?;
        let mut rows = Vec::with_capacity(limit);
        for entry in entries.take(limit) {
            let (key, value) = entry.map_err(from_storage)?;
            rows.push((row_key(key.value())?, row(value.value())?));
        }
        Ok(rows)
    }

    /// At most `limit` index entries behind `after`, in the order of [`Item`], which is the
    /// table's.
    pub(super) fn entries(
        &self,
        after: Option<&Item>,
        limit: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let after = after.map(|item| match item {
            Item::Unique(index, _) => Entry::unique(index),
            Item::Other(index, key) => Entry::other(index, key),
            // Behind every row.
            Item::Row(..) => Entry::EMPTY,
        });
        let start = after.as_ref().unwrap_or(&Entry::EMPTY).as_bytes();
        let range = (Bound::Excluded(start), Bound::Unbounded);
        let entries = ReadableTable::range::<&[u8]>(&self.index, range).map_err(from_storage)?;
        entries
            .take(limit)
            .map(|entry| {
                let (name, value) = entry.map_err(from_storage)?;
                item(name.value(), value.value()).ok_or(StoreError::Corrupt)
            })
            .collect()
    }

    pub(super) fn count(&self) -> Result<u64, StoreError> {
        self.rows.len().map_err(from_storage)
    }
}

impl Base for Snapshot {
    /// In one walk over the rows, which begins anew behind a gap.
    fn compare(&self, replacements: &[&Replacement<'_>]) -> Result<Vec<Beside>, StoreError> {
        let ([first, ..], [.., last]) = (replacements, replacements) else {
            return Ok(Vec::new());
        };
        let walk = |from: &RowKey| {
            let range = from.as_bytes()..=last.token.as_bytes();
            ReadableTable::range::<&[u8]>(&self.rows, range).map_err(from_storage)
        };
        let mut entries = walk(first.token)?;
        let mut entry = entries.next().transpose().map_err(from_storage)?;
        let mut found = Vec::with_capacity(replacements.len());
        for replacement in replacements {
            let key = replacement.token.as_bytes();
            let mut steps = 0;
            while let Some((name, _)) = &entry
                && name.value() < key
            {
                if steps == MAX_STEPS {
                    entries = walk(replacement.token)?;
                }
                entry = entries.next().transpose().map_err(from_storage)?;
                steps += 1;
            }
            let stored = entry.as_ref().filter(|(name, _)| name.value() == key);
            let stored = stored.map(|(_, stored)| stored.value());
            if stored.is_some_and(|stored| stored.len() > MAX_ROW) {
                return Err(StoreError::Corrupt);
            }
            found.push(replacement.beside(stored));
        }
        Ok(found)
    }

    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        let stored = ReadableTable::get(&self.rows, key.as_bytes()).map_err(from_storage)?;
        stored.map(|value| row(value.value())).transpose()
    }

    fn unique(&self, key: &IndexKey) -> Result<Option<RowKey>, StoreError> {
        let entry = Entry::unique(key);
        let stored = ReadableTable::get(&self.index, entry.as_bytes()).map_err(from_storage)?;
        stored.map(|value| row_key(value.value())).transpose()
    }

    fn guard(&self) -> Result<Option<Guard>, StoreError> {
        let meta = self.transaction.open_table(META).map_err(from_table)?;
        let stored = ReadableTable::get(&meta, GUARD).map_err(from_storage)?;
        stored
            .map(|value| Guard::new(value.value()).map_err(|_| StoreError::Corrupt))
            .transpose()
    }

    fn has_rows(&self, end: &RowKey) -> Result<bool, StoreError> {
        let mut rows =
            ReadableTable::range::<&[u8]>(&self.rows, ..end.as_bytes()).map_err(from_storage)?;
        Ok(rows.next().transpose().map_err(from_storage)?.is_some())
    }
}

/// A transaction whose commit returns when it is durable. It syncs twice: first what it wrote,
/// then the switch over to it, so that a crash leaves nothing to walk through and repair.
fn begin_durable(db: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = db.begin_write().map_err(from_transaction)?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(from_durability)?;
    // Implies the commit in two phases.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// A key of the index table.
struct Entry {
    bytes: [u8; 1 + 2 * MAX_KEY],
    len: usize,
}

impl Entry {
    const EMPTY: Self = Self {
        bytes: [0; 1 + 2 * MAX_KEY],
        len: 0,
    };

    fn unique(key: &IndexKey) -> Self {
        let mut entry = Self::EMPTY;
        // At most MAX_KEY, which one byte holds.
        entry.push(&[u8::try_from(key.as_bytes().len()).unwrap_or(u8::MAX)]);
        entry.push(key.as_bytes());
        entry
    }

    fn other(key: &IndexKey, token: &RowKey) -> Self {
        let mut entry = Self::unique(key);
        entry.push(token.as_bytes());
        entry
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
            self.len = end;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What an entry of the index table says.
fn item(name: &[u8], value: &[u8]) -> Option<Item> {
    let (len, rest) = name.split_first()?;
    let (index, token) = rest.split_at_checked(usize::from(*len))?;
    let index = IndexKey::new(index).ok()?;
    match (token, value) {
        ([], value) => Some(Item::Unique(index, RowKey::new(value).ok()?)),
        (token, []) => Some(Item::Other(index, RowKey::new(token).ok()?)),
        _ => None,
    }
}

/// The engine takes a range that ends before it begins for a mistake.
fn nothing_between(after: Option<&RowKey>, end: Option<&RowKey>) -> bool {
    matches!((after, end), (Some(after), Some(end)) if after >= end)
}

fn row_key(bytes: &[u8]) -> Result<RowKey, StoreError> {
    RowKey::new(bytes).map_err(|_| StoreError::Corrupt)
}

fn row(bytes: &[u8]) -> Result<Row, StoreError> {
    Row::new(bytes).map_err(|_| StoreError::Corrupt)
}

pub(super) fn from_storage(error: StorageError) -> StoreError {
    match error {
        StorageError::Io(error) => StoreError::from_io(error.kind()),
        StorageError::PreviousIo | StorageError::LockPoisoned(_) => StoreError::Poisoned,
        StorageError::DatabaseClosed => StoreError::Closed,
        StorageError::Unsupported => StoreError::Io(std::io::ErrorKind::Unsupported),
        _ => StoreError::Corrupt,
    }
}

pub(super) fn from_database(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::AlreadyOpen
        }
        DatabaseError::UpgradeRequired(_) => StoreError::NotAVault,
        DatabaseError::Storage(error) => from_storage(error),
        _ => StoreError::Corrupt,
    }
}

fn from_table(error: TableError) -> StoreError {
    match error {
        TableError::Storage(error) => from_storage(error),
        _ => StoreError::Corrupt,
    }
}

fn from_transaction(error: TransactionError) -> StoreError {
    match error {
        TransactionError::Storage(error) => from_storage(error),
        _ => StoreError::Corrupt,
    }
}

fn from_commit(error: CommitError) -> StoreError {
    match error {
        CommitError::Storage(error) => from_storage(error),
        _ => StoreError::Corrupt,
    }
}

fn from_durability(_: SetDurabilityError) -> StoreError {
    StoreError::Corrupt
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::super::super::store::Write;
    use super::*;

    fn memory() -> Database {
        redb::Builder::new()
            .create_with_backend(InMemoryBackend::new())
            .unwrap()
    }

    /// All of a table, as the engine has it.
    fn dump(db: &Database, table: TableDefinition<'_, Bytes, Bytes>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let table = db.begin_read().unwrap().open_table(table).unwrap();
        let entries = ReadableTable::iter(&table).unwrap().map(Result::unwrap);
        entries
            .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
            .collect()
    }

    fn stamp(db: &Database, key: &str, value: &[u8]) {
        let transaction = db.begin_write().unwrap();
        transaction
            .open_table(META)
            .unwrap()
            .insert(key, value)
            .unwrap();
        transaction.commit().unwrap();
    }

    #[test]
    fn the_layout_is_frozen() {
        let tables = Tables::create(memory()).unwrap();
        let snapshot = tables.snapshot().unwrap();
        let index = |bytes: &[u8]| IndexKey::new(bytes).unwrap();
        let insert = |token: &[u8], unique| Write::Insert {
            token: RowKey::new(token).unwrap(),
            row: Row::new(b"sealed").unwrap(),
            index: vec![index(b"i1"), index(b"i20")],
            unique,
        };
        let guard = Guard::new(b"generation").unwrap();
        let mut staged = Staged::default();
        let writes = [
            insert(b"u", true),
            insert(b"o", false),
            Write::Guard {
                expected: None,
                guard: guard.clone(),
            },
        ];
        staged.batch(&snapshot, None, &writes).unwrap();
        tables.commit(&staged).unwrap();
        let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        let rows = dump(&tables.db, ROWS);
        assert_eq!(rows, [entry(b"o", b"sealed"), entry(b"u", b"sealed")]);
        assert_eq!(
            dump(&tables.db, INDEX),
            [
                entry(b"\x02i1", b"u"),
                entry(b"\x02i1o", b""),
                entry(b"\x03i20", b"u"),
                entry(b"\x03i20o", b""),
            ]
        );
        let meta = tables.db.begin_read().unwrap().open_table(META).unwrap();
        let meta = |key| {
            ReadableTable::get(&meta, key)
                .unwrap()
                .unwrap()
                .value()
                .to_vec()
        };
        assert_eq!(meta("format"), b"CVSTORE\0\0\x01");
        assert_eq!(meta("guard"), guard.as_bytes());
    }

    #[test]
    fn the_stamp_is_read_first() {
        let open = |stamps: &[(&str, &[u8])]| {
            let db = memory();
            stamps
                .iter()
                .for_each(|(key, value)| stamp(&db, key, value));
            Tables::open(db).err()
        };
        let newer = Some(StoreError::NewerFormat { found: 2 });
        assert_eq!(open(&[("format", b"CVSTORE\0\0\x02")]), newer);
        let newer = Some(StoreError::NewerFormat { found: 0xffff });
        assert_eq!(open(&[("format", b"CVSTORE\0\xff\xff")]), newer);
        for other in [
            b"CVSTORE\0\0\0".as_slice(),
            b"CVSTORE\0\0",
            b"CVSTORE\0\0\x01\0",
            b"CVSTORE",
            b"XVSTORE\0\0\x01",
            b"",
        ] {
            assert_eq!(open(&[("format", other)]), Some(StoreError::NotAVault));
        }
        assert_eq!(open(&[("guard", b"g")]), Some(StoreError::NotAVault));
        assert_eq!(open(&[]), Some(StoreError::NotAVault));
        // The right stamp over no tables.
        assert_eq!(
            open(&[("format", b"CVSTORE\0\0\x01")]),
            Some(StoreError::Corrupt)
        );
    }

    #[test]
    fn a_panic_of_the_engine_is_an_error() {
        let result: Result<(), _> = fenced(|| panic!("deliberate"));
        assert_eq!(result, Err(StoreError::Corrupt));
    }
}
