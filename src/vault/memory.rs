//! The store in memory: for tests, demonstrations and short-lived work. Durable as the process.
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::staged::{Base, Staged};
use super::store::{
    Found, Guard, IndexKey, Item, MAX_BATCH, MAX_FOUND, Row, RowKey, Snapshot, SnapshotStore,
    Store, StoreError, Write, WriteOutcome, check_batch, check_count,
};

/// A [`Store`] in memory. Every call is answered at the first poll.
#[derive(Default)]
pub struct Memory {
    /// A snapshot shares it; the next write then works on a copy.
    state: RwLock<Arc<State>>,
}

/// A [`Memory`] as of one moment.
pub struct MemorySnapshot {
    state: Arc<State>,
    /// Behind which row to go on, once rows were read.
    row: Option<RowKey>,
    /// What is left of the index, last first, once the rows are through.
    index: Option<Vec<IndexKey>>,
    /// The entries of the index key that is read, last first.
    entries: Vec<Item>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing in here panics while it holds the lock, so a poisoned one is as good.
    fn read(&self) -> RwLockReadGuard<'_, Arc<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("rows", &self.read().rows.len())
            .finish()
    }
}

impl Store for Memory {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        check_batch(&writes)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut staged = Staged::default();
        let outcomes = staged.batch(&**state, under.as_ref(), &writes)?;
        Arc::make_mut(&mut state).take(staged);
        Ok(outcomes)
    }

    async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Option<Row>>, StoreError> {
        check_count(keys.len())?;
        let state = self.read();
        Ok(keys
            .iter()
            .map(|key| state.rows.get(key).cloned())
            .collect())
    }

    async fn find(&self, keys: Vec<IndexKey>) -> Result<Vec<Found>, StoreError> {
        check_count(keys.len())?;
        let state = self.read();
        Ok(keys.iter().map(|key| state.find(key)).collect())
    }

    async fn others(
        &self,
        key: IndexKey,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<RowKey>, StoreError> {
        let state = self.read();
        let (Some(range), Some(tokens)) = (range(after, end), state.others.get(&key)) else {
            return Ok(Vec::new());
        };
        let tokens = tokens.range(range).take(limit.min(MAX_BATCH));
        Ok(tokens.copied().collect())
    }

    async fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        let Some(range) = range(after, end) else {
            return Ok(Vec::new());
        };
        let state = self.read();
        let rows = state.rows.range(range).take(limit.min(MAX_BATCH));
        Ok(rows.map(|(key, row)| (*key, row.clone())).collect())
    }

    async fn guard(&self) -> Result<Option<Guard>, StoreError> {
        Ok(self.read().guard.clone())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.read().rows.len()).unwrap_or(u64::MAX))
    }
}

impl SnapshotStore for Memory {
    type Snapshot = MemorySnapshot;

    async fn snapshot(&self) -> Result<MemorySnapshot, StoreError> {
        Ok(MemorySnapshot {
            state: Arc::clone(&self.read()),
            row: None,
            index: None,
            entries: Vec::new(),
        })
    }
}

impl Snapshot for MemorySnapshot {
    async fn guard(&mut self) -> Result<Option<Guard>, StoreError> {
        Ok(self.state.guard.clone())
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Item>, StoreError> {
        let limit = limit.min(MAX_BATCH);
        let mut items = Vec::with_capacity(limit);
        if self.index.is_none() {
            if let Some(range) = range(self.row, None) {
                let rows = self.state.rows.range(range).take(limit);
                items.extend(rows.map(|(key, row)| Item::Row(*key, row.clone())));
            }
            if let Some(Item::Row(key, _)) = items.last() {
                self.row = Some(*key);
            }
            if items.len() == limit {
                return Ok(items);
            }
        }
        let state = &self.state;
        let index = self.index.get_or_insert_with(|| state.index_keys());
        while items.len() < limit {
            if let Some(entry) = self.entries.pop() {
                items.push(entry);
            } else if let Some(key) = index.pop() {
                self.entries = state.entries(&key);
            } else {
                break;
            }
        }
        Ok(items)
    }
}

impl fmt::Debug for MemorySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySnapshot")
            .field("rows", &self.state.rows.len())
            .finish_non_exhaustive()
    }
}

/// What lies between two keys, both left out; `None` if that is nothing.
fn range(after: Option<RowKey>, end: Option<RowKey>) -> Option<(Bound<RowKey>, Bound<RowKey>)> {
    if let (Some(after), Some(end)) = (&after, &end)
        && after >= end
    {
        return None;
    }
    let bound = |key: Option<RowKey>| key.map_or(Bound::Unbounded, Bound::Excluded);
    Some((bound(after), bound(end)))
}

#[derive(Clone, Default)]
struct State {
    rows: BTreeMap<RowKey, Row>,
    unique: BTreeMap<IndexKey, RowKey>,
    others: BTreeMap<IndexKey, BTreeSet<RowKey>>,
    guard: Option<Guard>,
}

impl State {
    fn take(&mut self, staged: Staged) {
        for (key, row) in staged.rows {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        for (key, token) in staged.unique {
            match token {
                Some(token) => self.unique.insert(key, token),
                None => self.unique.remove(&key),
            };
        }
        for ((key, token), there) in staged.others {
            let tokens = self.others.entry(key).or_default();
            if there {
                tokens.insert(token);
            } else {
                tokens.remove(&token);
            }
            if tokens.is_empty() {
                self.others.remove(&key);
            }
        }
        self.guard = staged.guard.or(self.guard.take());
    }

    /// Every index key that has entries, in the order of [`Item`], last first.
    fn index_keys(&self) -> Vec<IndexKey> {
        let keys: BTreeSet<_> = self.unique.keys().chain(self.others.keys()).collect();
        let mut keys: Vec<_> = keys.into_iter().copied().collect();
        keys.sort_by_key(|key| key.as_bytes().len());
        keys.reverse();
        keys
    }

    /// The entries of one index key, last first.
    fn entries(&self, key: &IndexKey) -> Vec<Item> {
        let others = self.others.get(key).into_iter().flatten().rev();
        let others = others.map(|token| Item::Other(*key, *token));
        let unique = self.unique.get(key);
        others
            .chain(unique.map(|token| Item::Unique(*key, *token)))
            .collect()
    }

    fn find(&self, key: &IndexKey) -> Found {
        let unique = self.unique.get(key);
        let others = self.others.get(key);
        Found {
            unique: unique.and_then(|token| Some((*token, self.rows.get(token)?.clone()))),
            others: others
                .into_iter()
                .flatten()
                .take(MAX_FOUND)
                .copied()
                .collect(),
            more: others.is_some_and(|tokens| tokens.len() > MAX_FOUND),
        }
    }
}

impl Base for State {
    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn unique(&self, key: &IndexKey) -> Result<Option<RowKey>, StoreError> {
        Ok(self.unique.get(key).copied())
    }

    fn guard(&self) -> Result<Option<Guard>, StoreError> {
        Ok(self.guard.clone())
    }

    fn has_rows(&self, end: &RowKey) -> Result<bool, StoreError> {
        Ok(self.rows.range(..end).next().is_some())
    }
}
