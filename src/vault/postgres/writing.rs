//! How a group of batches becomes one transaction.
//!
//! Two exchanges: lock and read all that the group looks at, then write what was decided and commit.
//! The statements of each are sent at once.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use deadpool_postgres::{Client, Object};
use futures_util::future::{join, join_all, try_join5};
use getrandom::SysRng;
use rand_core::TryRng;
use tokio::time::{sleep, timeout};
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::super::queue::{Answer, Job, decide};
use super::super::staged::{Base, Staged};
use super::super::store::{Guard, IndexKey, Item, Row, RowKey, StoreError, Write};
use super::super::telemetry;
use super::Shared;
use super::fault::Fault;
use super::reading::{column, content, guard, row_key};
use super::schema::{Sql, check_format};

/// The length of a writer's name, in bytes.
const WRITER_LEN: usize = 16;

/// Commits one group after the other.
pub(super) struct Committer {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    /// Whose groups these are.
    name: [u8; WRITER_LEN],
    /// The number of the newest group that was sent.
    sequence: i64,
}

impl Committer {
    /// # Errors
    /// [`StoreError::Io`] if the system's generator fails.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let mut name = [0; WRITER_LEN];
        SysRng
            .try_fill_bytes(&mut name)
            .map_err(|_| StoreError::Io(ErrorKind::Other))?;
        Ok(Self {
            shared,
            connection: None,
            name,
            sequence: 0,
        })
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Commits what the jobs change. An error is the whole group's.
    pub(super) async fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Answer>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let patience = self.shared.patience;
        let mut pauses = patience.pauses(Instant::now());
        let wanted = Wanted::of(jobs);
        let mut doubt = None;
        loop {
            let fault =
                match timeout(patience.exchange, self.attempt(jobs, &wanted, &mut doubt)).await {
                    Ok(Ok(answers)) => return Ok(answers),
                    Ok(Err(fault)) => fault,
                    Err(_) => Fault::SLOW,
                };
            // It may be in the middle of a transaction: not back into the pool.
            if let Some(connection) = self.connection.take() {
                drop(Object::take(connection.client));
            }
            match pauses.next(fault, Instant::now()) {
                Ok(pause) => {
                    telemetry::retried("commit", fault.error, pause);
                    sleep(pause).await;
                }
                Err(error) if doubt.is_some() && !error.may_be_applied() => {
                    return Err(StoreError::Io(ErrorKind::NotConnected));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One try. `doubt` is the try before, if it is not known whether it was committed.
    async fn attempt(
        &mut self,
        jobs: &[Job],
        wanted: &Wanted<'_>,
        doubt: &mut Option<Sent>,
    ) -> Result<Vec<Answer>, Fault> {
        if self.connection.is_none() {
            self.connection = Some(Connection::new(&self.shared).await?);
        }
        let connection = self.connection.as_ref().ok_or(StoreError::Closed)?;
        let asked = doubt.as_ref().map(|_| &self.name);
        let (stored, sequence) = connection.begin(wanted, asked).await?;
        if let Some(sent) = doubt.as_ref() {
            if sequence.is_some_and(|newest| newest >= sent.sequence) {
                // It was committed; but where a standby is waited for, perhaps not there yet. What
                // is committed behind it is.
                self.sequence += 1;
                connection
                    .write(&Staged::default(), &stored, &[], &self.name, self.sequence)
                    .await?;
                return Ok(sent.answers.clone());
            }
            *doubt = None;
        }
        let (staged, answers) = decide(jobs, |staged, job| {
            staged.batch(&stored, job.under.as_ref(), &job.writes)
        })?;
        if staged.is_empty() {
            connection.client.batch_execute("ROLLBACK").await?;
            return Ok(answers);
        }
        self.sequence += 1;
        *doubt = Some(Sent {
            answers: answers.clone(),
            sequence: self.sequence,
        });
        let sent = connection.write(&staged, &stored, &wanted.new, &self.name, self.sequence);
        match sent.await {
            Ok(()) => Ok(answers),
            Err(fault) => {
                if fault.is_refusal() {
                    // A statement failed, so the commit behind it did nothing.
                    *doubt = None;
                }
                Err(fault)
            }
        }
    }
}

/// A group whose commit was sent, and has not been heard of.
struct Sent {
    answers: Vec<Answer>,
    sequence: i64,
}

/// What a group looks at.
struct Wanted<'a> {
    tokens: Vec<&'a [u8]>,
    index: Vec<&'a [u8]>,
    /// Rows that may come in, as they are asked for; some perhaps twice.
    new: Vec<RowKey>,
    /// Whether there are rows before this key; asked seldom.
    end: Option<RowKey>,
}

impl<'a> Wanted<'a> {
    fn of(jobs: &'a [Job]) -> Self {
        let mut tokens = BTreeSet::new();
        let mut keys = BTreeSet::new();
        let mut new = Vec::new();
        let mut end = None;
        let writes = jobs.iter().flat_map(|job| job.writes.iter());
        let singles = writes.flat_map(|write| match write {
            Write::All(group) => group.as_slice(),
            write => core::slice::from_ref(write),
        });
        for write in singles {
            if let Write::Insert { token, .. } | Write::Put(Item::Row(token, _)) = write {
                new.push(*token);
            }
            match write {
                Write::Insert { token, index, .. } | Write::Delete { token, index, .. } => {
                    tokens.insert(token.as_bytes());
                    keys.extend(index.iter().map(IndexKey::as_bytes));
                }
                Write::Reindex {
                    token, add, remove, ..
                } => {
                    tokens.insert(token.as_bytes());
                    keys.extend(add.iter().chain(remove).map(IndexKey::as_bytes));
                }
                Write::Replace { token, .. } | Write::Link { token, .. } => {
                    tokens.insert(token.as_bytes());
                }
                Write::Put(Item::Row(token, _)) => {
                    tokens.insert(token.as_bytes());
                }
                Write::Put(Item::Unique(key, _)) => {
                    keys.insert(key.as_bytes());
                }
                // Of several the last: with a row before another one there is one before it, too.
                Write::GuardOfEmpty { end: of, .. } => end = end.max(Some(*of)),
                Write::Put(Item::Other(..)) | Write::Guard { .. } | Write::All(_) => {}
            }
        }
        Self {
            tokens: tokens.into_iter().collect(),
            index: keys.into_iter().collect(),
            new,
            end,
        }
    }
}

/// What was stored when the lock was taken, as far as the group looks at it.
#[derive(Default)]
struct Stored {
    rows: HashMap<RowKey, Result<Row, StoreError>>,
    unique: HashMap<IndexKey, Result<RowKey, StoreError>>,
    guard: Option<Guard>,
    /// Whether there are rows before the key that was asked for.
    has_rows: bool,
}

impl Base for Stored {
    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.rows.get(key).cloned().transpose()
    }

    fn unique(&self, key: &IndexKey) -> Result<Option<RowKey>, StoreError> {
        self.unique.get(key).copied().transpose()
    }

    fn guard(&self) -> Result<Option<Guard>, StoreError> {
        Ok(self.guard.clone())
    }

    fn has_rows(&self, _: &RowKey) -> Result<bool, StoreError> {
        Ok(self.has_rows)
    }
}

/// The connection that writes, with its statements.
struct Connection {
    client: Client,
    statements: Statements,
}

struct Statements {
    lock: Statement,
    sequence: Statement,
    entries: Statement,
    rows: Statement,
    scan: Statement,
    new_rows: Statement,
    put_rows: Statement,
    cut_rows: Statement,
    new_entries: Statement,
    put_entries: Statement,
    cut_entries: Statement,
    put_others: Statement,
    cut_others: Statement,
    state: Statement,
    mark: Statement,
}

impl Statements {
    async fn prepare(client: &Client, sql: &Sql) -> Result<Self, Fault> {
        Ok(Self {
            lock: client.prepare_cached(&sql.lock).await?,
            sequence: client.prepare_cached(&sql.sequence).await?,
            entries: client.prepare_cached(&sql.entries).await?,
            rows: client.prepare_cached(&sql.rows).await?,
            scan: client.prepare_cached(&sql.scan).await?,
            new_rows: client.prepare_cached(&sql.new_rows).await?,
            put_rows: client.prepare_cached(&sql.put_rows).await?,
            cut_rows: client.prepare_cached(&sql.cut_rows).await?,
            new_entries: client.prepare_cached(&sql.new_entries).await?,
            put_entries: client.prepare_cached(&sql.put_entries).await?,
            cut_entries: client.prepare_cached(&sql.cut_entries).await?,
            put_others: client.prepare_cached(&sql.put_others).await?,
            cut_others: client.prepare_cached(&sql.cut_others).await?,
            state: client.prepare_cached(&sql.state).await?,
            mark: client.prepare_cached(&sql.mark).await?,
        })
    }
}

impl Connection {
    async fn new(shared: &Shared) -> Result<Self, Fault> {
        let client = shared.pool.get().await?;
        let statements = Statements::prepare(&client, &shared.sql).await?;
        Ok(Self { client, statements })
    }

    /// Takes the lock, and reads what the group looks at and, if one is asked for, the number of a
    /// writer's newest group.
    async fn begin(
        &self,
        wanted: &Wanted<'_>,
        writer: Option<&[u8; WRITER_LEN]>,
    ) -> Result<(Stored, Option<i64>), Fault> {
        let (client, of) = (&self.client, &self.statements);
        // Sent in this order. Each sees what was committed when it began: behind the lock, all.
        let ((), state, sequence, entries, rows) = try_join5(
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
            client.query_opt(&of.lock, &[]),
            async {
                match writer {
                    Some(writer) => client.query_opt(&of.sequence, &[&writer.as_slice()]).await,
                    None => Ok(None),
                }
            },
            client.query(&of.entries, &[&wanted.index]),
            client.query(&of.rows, &[&wanted.tokens]),
        )
        .await?;
        let state = state.ok_or(StoreError::NotAVault)?;
        check_format(column(&state, 0)?)?;
        let mut stored = Stored {
            guard: guard(column(&state, 1)?)?,
            ..Stored::default()
        };
        for row in &rows {
            stored
                .rows
                .insert(row_key(column(row, 0)?)?, content(column(row, 1)?));
        }
        for row in &entries {
            let key = IndexKey::new(column(row, 0)?).map_err(|_| StoreError::Corrupt)?;
            let token = row_key(column(row, 1)?);
            if let (Ok(token), Some(row)) = (token, column::<Option<&[u8]>>(row, 2)?) {
                stored.rows.insert(token, content(row));
            }
            stored.unique.insert(key, token);
        }
        if let Some(end) = &wanted.end {
            let before: &[u8] = &[];
            let rows = client
                .query(&of.scan, &[&before, &end.as_bytes(), &1_i64])
                .await?;
            stored.has_rows = !rows.is_empty();
        }
        let sequence = sequence.map(|row| column(&row, 0)).transpose()?;
        Ok((stored, sequence))
    }

    /// Writes what was decided, and commits.
    async fn write(
        &self,
        staged: &Staged,
        stored: &Stored,
        order: &[RowKey],
        writer: &[u8; WRITER_LEN],
        sequence: i64,
    ) -> Result<(), Fault> {
        let of = &self.statements;
        // Behind the lock, what was not there a moment ago is not there now: it is put without
        // looking for a conflict, which would cost a second way through the index.
        let mut changes = Changes::default();
        let mut more = 0_i64;
        let mut new = HashMap::new();
        for (token, row) in &staged.rows {
            let was = stored.rows.contains_key(token);
            match row {
                Some(row) if was => changes.put_rows.push(token.as_bytes(), row.as_bytes()),
                Some(row) => {
                    new.insert(token, row);
                    more += 1;
                }
                None if was => {
                    changes.cut_rows.push(token.as_bytes());
                    more -= 1;
                }
                None => {}
            }
        }
        // What came in together is likely to be read together: it stays together on the pages.
        let asked = order.iter().filter_map(|token| new.remove_entry(token));
        let asked: Vec<_> = asked.collect();
        for (token, row) in asked.into_iter().chain(new) {
            changes.new_rows.push(token.as_bytes(), row.as_bytes());
        }
        for (key, token) in &staged.unique {
            let was = stored.unique.contains_key(key);
            match token {
                Some(token) => {
                    let pairs = if was {
                        &mut changes.put_entries
                    } else {
                        &mut changes.new_entries
                    };
                    pairs.push(key.as_bytes(), token.as_bytes());
                }
                None => changes.cut_entries.push(key.as_bytes()),
            }
        }
        for ((key, token), there) in &staged.others {
            let pairs = if *there {
                &mut changes.put_others
            } else {
                &mut changes.cut_others
            };
            pairs.push(key.as_bytes(), token.as_bytes());
        }
        let guard = staged.guard.as_ref().map(Guard::as_bytes);
        let writer = writer.as_slice();
        let pairs = |pairs: &Pairs<'_>| !pairs.0.is_empty();
        let Changes {
            new_rows,
            put_rows,
            cut_rows,
            new_entries,
            put_entries,
            cut_entries,
            put_others,
            cut_others,
        } = &changes;
        let statements: [(&Statement, bool, &[&(dyn ToSql + Sync)]); 10] = [
            (&of.new_rows, pairs(new_rows), &[&new_rows.0, &new_rows.1]),
            (&of.put_rows, pairs(put_rows), &[&put_rows.0, &put_rows.1]),
            (&of.cut_rows, !cut_rows.is_empty(), &[cut_rows]),
            (
                &of.new_entries,
                pairs(new_entries),
                &[&new_entries.0, &new_entries.1],
            ),
            (
                &of.put_entries,
                pairs(put_entries),
                &[&put_entries.0, &put_entries.1],
            ),
            (&of.cut_entries, !cut_entries.is_empty(), &[cut_entries]),
            (
                &of.put_others,
                pairs(put_others),
                &[&put_others.0, &put_others.1],
            ),
            (
                &of.cut_others,
                pairs(cut_others),
                &[&cut_others.0, &cut_others.1],
            ),
            (&of.state, more != 0 || guard.is_some(), &[&guard, &more]),
            (&of.mark, true, &[&writer, &sequence]),
        ];
        let client = &self.client;
        let needed = statements.into_iter().filter(|(_, needed, _)| *needed);
        let sent = join_all(needed.map(|(statement, _, values)| client.execute(statement, values)));
        // A commit behind a statement that failed rolls back and reports no error of its own.
        let (sent, committed) = join(sent, client.batch_execute("COMMIT")).await;
        for result in sent {
            result?;
        }
        committed?;
        Ok(())
    }
}

/// Keys and values, side by side.
#[derive(Default)]
struct Pairs<'a>(Vec<&'a [u8]>, Vec<&'a [u8]>);

impl<'a> Pairs<'a> {
    fn push(&mut self, first: &'a [u8], second: &'a [u8]) {
        self.0.push(first);
        self.1.push(second);
    }
}

#[derive(Default)]
struct Changes<'a> {
    new_rows: Pairs<'a>,
    put_rows: Pairs<'a>,
    cut_rows: Vec<&'a [u8]>,
    new_entries: Pairs<'a>,
    put_entries: Pairs<'a>,
    cut_entries: Vec<&'a [u8]>,
    put_others: Pairs<'a>,
    cut_others: Pairs<'a>,
}
