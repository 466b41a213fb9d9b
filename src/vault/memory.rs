//! The store in memory: for tests, demonstrations and short-lived work. Durable as the process.
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::staged::{Base, Staged};
use super::store::{
    Found, Guard, IndexKey, MAX_BATCH, MAX_FOUND, Row, RowKey, Store, StoreError, Write,
    WriteOutcome, check_batch, check_count,
};

/// A [`Store`] in memory. Every call is answered at the first poll.
#[derive(Default)]
pub struct Memory {
    state: RwLock<State>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing in here panics while it holds the lock, so a poisoned one is as good.
    fn read(&self) -> RwLockReadGuard<'_, State> {
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
        let outcomes = staged.batch(&*state, under.as_ref(), &writes)?;
        state.take(staged);
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

    async fn scan(
        &self,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.read();
        let rows = state
            .rows
            .range((start, Bound::Unbounded))
            .take(limit.min(MAX_BATCH));
        Ok(rows.map(|(key, row)| (*key, row.clone())).collect())
    }

    async fn guard(&self) -> Result<Option<Guard>, StoreError> {
        Ok(self.read().guard.clone())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.read().rows.len()).unwrap_or(u64::MAX))
    }
}

#[derive(Default)]
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
}
