//! The whole store as of one moment: one transaction that only reads, and a cursor for the rows and
//! one for the entries.
#![forbid(unsafe_code)]

use core::fmt;
use std::sync::Arc;

use deadpool_postgres::{Client, Object};

use super::super::store::{Guard, IndexKey, Item, MAX_BATCH, Snapshot, SnapshotStore, StoreError};
use super::fault::Fault;
use super::reading::{column, content, guard, row_key};
use super::{Postgres, Shared};

/// A [`Postgres`] as of one moment. It holds a connection, and keeps the server from clearing away
/// what is changed meanwhile.
pub struct PostgresSnapshot {
    /// In the middle of a transaction: not back into the pool.
    client: Option<Client>,
    guard: Option<Guard>,
    rows_are_through: bool,
}

impl SnapshotStore for Postgres {
    type Snapshot = PostgresSnapshot;

    async fn snapshot(&self) -> Result<PostgresSnapshot, StoreError> {
        let runtime = self.runtime.as_ref().ok_or(StoreError::Closed)?;
        let shared = Arc::clone(&self.shared);
        let task = runtime.spawn(async move {
            let begun = PostgresSnapshot::begin(&shared).await;
            begun.map_err(|fault| fault.error)
        });
        task.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl PostgresSnapshot {
    async fn begin(shared: &Shared) -> Result<Self, Fault> {
        let client = shared.pool.get().await?;
        let mut snapshot = Self {
            client: Some(client),
            guard: None,
            rows_are_through: false,
        };
        let client = snapshot.client()?;
        client.batch_execute(&shared.sql.snapshot).await?;
        let row = client.query_opt(&shared.sql.guard, &[]).await?;
        let row = row.ok_or(StoreError::NotAVault)?;
        let guard = guard(column(&row, 0)?)?;
        snapshot.guard = guard;
        Ok(snapshot)
    }

    fn client(&self) -> Result<&Client, StoreError> {
        self.client.as_ref().ok_or(StoreError::Closed)
    }

    async fn fetch(&mut self, limit: usize) -> Result<Vec<Item>, Fault> {
        let mut items = Vec::new();
        if !self.rows_are_through {
            let fetch = format!("FETCH {limit} FROM whole_rows");
            for row in self.client()?.query(&fetch, &[]).await? {
                let key = row_key(column(&row, 0)?)?;
                items.push(Item::Row(key, content(column(&row, 1)?)?));
            }
            self.rows_are_through = items.len() < limit;
        }
        if items.len() < limit {
            let fetch = format!("FETCH {} FROM whole_entries", limit - items.len());
            for row in self.client()?.query(&fetch, &[]).await? {
                let index = IndexKey::new(column(&row, 0)?).map_err(|_| StoreError::Corrupt)?;
                let key = row_key(column(&row, 1)?)?;
                items.push(if column(&row, 2)? {
                    Item::Other(index, key)
                } else {
                    Item::Unique(index, key)
                });
            }
        }
        Ok(items)
    }
}

impl Snapshot for PostgresSnapshot {
    async fn guard(&mut self) -> Result<Option<Guard>, StoreError> {
        Ok(self.guard.clone())
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Item>, StoreError> {
        let fetched = self.fetch(limit.min(MAX_BATCH)).await;
        fetched.map_err(|fault| fault.error)
    }
}

impl Drop for PostgresSnapshot {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

impl fmt::Debug for PostgresSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSnapshot").finish_non_exhaustive()
    }
}
