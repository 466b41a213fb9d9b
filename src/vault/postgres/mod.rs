//! The store on PostgreSQL: one database for the vaults of many processes.
//!
//! Callers queue their batches. One thread of each process takes what is queued, up to
//! [`MAX_GROUP`](super::MAX_GROUP) writes, and puts it into one transaction, whose first statement
//! locks the store's row of state. So the groups of all processes take turns: what a group reads
//! cannot change before it is committed, and no writer decides on what another is about to write.
//! Reads wait for nobody.
//!
//! A connection that is lost during a commit leaves open whether it happened. Every group therefore
//! writes its number beside the name of its writer, in the same transaction; on the next connection,
//! behind the lock, that number tells.
#![forbid(unsafe_code)]

mod fault;
mod options;
mod password;
mod reading;
mod schema;
mod snapshot;
mod writing;

use core::fmt;
use core::future::{Future as _, poll_fn};
use core::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use self::fault::{Fault, Patience};
pub use self::options::PostgresOptions;
use self::reading::{Count, Find, Others, Read, ReadGuard, Rows, Scan};
use self::schema::{Opened, Sql};
pub use self::snapshot::PostgresSnapshot;
use self::writing::Committer;
use super::queue::{MAX_QUEUED, Queue};
use super::store::{
    Found, Guard, IndexKey, MAX_BATCH, Row, RowKey, Store, StoreError, Write, WriteOutcome,
    check_count,
};
use super::telemetry::{self, Call};

/// Threads that carry the bytes of all connections.
const CARRIERS: usize = 2;
/// How often the runtime wakes up without need.
const TICK: Duration = Duration::from_secs(1);

/// A [`Store`] in a schema of a PostgreSQL database, for many processes at a time.
///
/// It brings its own runtime: its futures can be awaited in any other, or without one. Dropping it
/// commits what is queued and closes the connections.
pub struct Postgres {
    // First, so that the thread has ended before the runtime does.
    writer: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Postgres {
    /// Makes a new store in the schema that the options name, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`]; [`StoreError::NoTls`]; what the database reports.
    pub fn create(options: &PostgresOptions) -> Result<Self, StoreError> {
        Self::start(options, true, false)
    }

    /// Opens the store in the schema that the options name. A store of an older format is brought
    /// to this one; others go on reading and writing meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NotAVault`]; [`StoreError::NewerFormat`]; [`StoreError::NoTls`]; what the
    /// database reports.
    pub fn open(options: &PostgresOptions) -> Result<Self, StoreError> {
        Self::start(options, false, true)
    }

    /// Opens the store, or makes it if it is not there: for processes that start together.
    ///
    /// # Errors
    /// As [`Self::create`] and [`Self::open`].
    pub fn open_or_create(options: &PostgresOptions) -> Result<Self, StoreError> {
        Self::start(options, true, true)
    }

    /// Commits what is queued and closes the connections.
    pub fn close(self) {
        drop(self);
    }

    fn start(options: &PostgresOptions, make: bool, existing: bool) -> Result<Self, StoreError> {
        let sql = Sql::new(options.schema())?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(CARRIERS)
            .thread_name("cardvault-postgres")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Io(error.kind()))?;
        runtime.spawn(tick());
        let pool = options.pool()?;
        let shared = Arc::new(Shared {
            pool,
            sql,
            queue: Queue::new(MAX_QUEUED),
            patience: options.patience(),
        });
        let opened = runtime.block_on(shared.retry(&Opened { make, existing }))?;
        opened?;
        let mut committer = Committer::new(Arc::clone(&shared))?;
        let handle = runtime.handle().clone();
        let writer = thread::Builder::new()
            .name("cardvault-store".to_owned())
            .spawn(move || {
                let shared = Arc::clone(committer.shared());
                shared
                    .queue
                    .serve(|jobs| handle.block_on(committer.commit(jobs)));
            })
            .map_err(|error| StoreError::Io(error.kind()))?;
        Ok(Self {
            writer: Some(writer),
            shared,
            runtime: Some(runtime),
        })
    }

    /// Asks, with the timers and sockets of the store's own runtime.
    async fn read<Q: Read>(
        &self,
        call: Call,
        items: usize,
        query: Q,
    ) -> Result<Q::Output, StoreError> {
        let runtime = self.runtime.as_ref().ok_or(StoreError::Closed)?;
        let read = async move {
            let mut asking = pin!(self.shared.retry(&query));
            // In the caller's task: a hop to another thread and back is as long as a short read.
            poll_fn(|context| {
                let _inside = runtime.enter();
                asking.as_mut().poll(context)
            })
            .await
        };
        telemetry::watch(call, None, items, read).await
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("connections", &self.shared.pool.status().size)
            .finish_non_exhaustive()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take()
            // An answer may drop the last handle on the store, in that thread itself.
            && writer.thread().id() != thread::current().id()
        {
            let _ = writer.join();
        }
        if let Some(runtime) = self.runtime.take() {
            // Waiting would panic inside another runtime.
            runtime.shutdown_background();
        }
    }
}

impl Store for Postgres {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let items = writes.len();
        let write = self.shared.queue.submit(under, writes);
        telemetry::watch(Call::StoreWrite, None, items, write).await
    }

    async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Option<Row>>, StoreError> {
        check_count(keys.len())?;
        self.read(Call::StoreRows, keys.len(), Rows(keys)).await
    }

    async fn find(&self, keys: Vec<IndexKey>) -> Result<Vec<Found>, StoreError> {
        check_count(keys.len())?;
        self.read(Call::StoreFind, keys.len(), Find(keys)).await
    }

    async fn others(
        &self,
        key: IndexKey,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<RowKey>, StoreError> {
        self.read(
            Call::StoreOthers,
            1,
            Others {
                key,
                after,
                end,
                limit: limit.min(MAX_BATCH),
            },
        )
        .await
    }

    async fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        self.read(
            Call::StoreScan,
            1,
            Scan {
                after,
                end,
                limit: limit.min(MAX_BATCH),
            },
        )
        .await
    }

    async fn guard(&self) -> Result<Option<Guard>, StoreError> {
        self.read(Call::StoreGuard, 1, ReadGuard).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.read(Call::StoreCount, 1, Count).await
    }
}

/// Wakes up now and then. A time-out that ends later than the runtime's next one is set without
/// waking the thread that waits for bytes.
async fn tick() {
    loop {
        sleep(TICK).await;
    }
}

struct Shared {
    pool: Pool,
    sql: Sql,
    queue: Queue,
    patience: Patience,
}

impl Shared {
    /// Asks until there is an answer, or patience ends.
    async fn retry<Q: Read>(&self, query: &Q) -> Result<Q::Output, StoreError> {
        let mut pauses = self.patience.pauses(Instant::now());
        loop {
            let fault = match timeout(self.patience.exchange, self.ask(query)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::SLOW,
            };
            match pauses.next(fault, Instant::now()) {
                Ok(pause) => {
                    telemetry::retried("read", fault.error, pause);
                    sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn ask<Q: Read>(&self, query: &Q) -> Result<Q::Output, Fault> {
        let client = self.pool.get().await?;
        query.ask(&client, &self.sql).await
    }
}
