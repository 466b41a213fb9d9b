//! The tables, how they are made and brought up to date, and every statement.
//!
//! | table | columns | holds |
//! |---|---|---|
//! | `store` | `one`, `format`, `guard`, `row_count` | one row: the state of the store, and the lock of its writers |
//! | `vault_row` | `token`, `content` | the rows |
//! | `unique_entry` | `index_key`, `token` | the one entry of an index key |
//! | `other_entry` | `index_key`, `token` | the other entries |
//! | `writer` | `id`, `sequence`, `at` | the newest group of each writer |
//!
//! Keys and rows are `bytea`, which orders by bytes, as keys do. The statements are plain SQL: no
//! function, trigger or extension.
#![forbid(unsafe_code)]

use deadpool_postgres::Client;

use super::super::store::StoreError;
use super::fault::Fault;
use super::reading::Read;

/// The format that this crate writes.
const FORMAT: i16 = 1;
/// PostgreSQL cuts longer names.
const MAX_SCHEMA: usize = 63;
/// Processes that make one store at the same moment disturb each other at most this often.
const TRIES: usize = 8;

/// Every statement, with the name of the schema in it.
pub(super) struct Sql {
    make: String,
    format: String,
    forget_writers: String,
    pub(super) lock: String,
    pub(super) sequence: String,
    pub(super) entries: String,
    pub(super) rows: String,
    pub(super) new_rows: String,
    pub(super) put_rows: String,
    pub(super) cut_rows: String,
    pub(super) new_entries: String,
    pub(super) put_entries: String,
    pub(super) cut_entries: String,
    pub(super) put_others: String,
    pub(super) cut_others: String,
    pub(super) state: String,
    pub(super) mark: String,
    pub(super) find: String,
    pub(super) others: String,
    pub(super) scan: String,
    pub(super) snapshot: String,
    pub(super) guard: String,
    pub(super) count: String,
}

impl Sql {
    /// # Errors
    /// [`StoreError::BadSetting`] for the name of a schema that would need quoting.
    pub(super) fn new(schema: &str) -> Result<Self, StoreError> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let starts_well = schema
            .bytes()
            .next()
            .is_some_and(|byte| !byte.is_ascii_digit());
        if !starts_well || schema.len() > MAX_SCHEMA || !schema.bytes().all(good) {
            return Err(StoreError::BadSetting);
        }
        let s = format!("\"{schema}\"");
        Ok(Self {
            // Few rows that change often need room in their page for their next versions.
            make: format!(
                "CREATE SCHEMA IF NOT EXISTS {s};
                CREATE TABLE {s}.store (
                    one boolean PRIMARY KEY DEFAULT true CHECK (one),
                    format smallint NOT NULL,
                    guard bytea,
                    row_count bigint NOT NULL
                ) WITH (fillfactor = 10);
                CREATE TABLE {s}.vault_row (token bytea PRIMARY KEY, content bytea NOT NULL);
                CREATE TABLE {s}.unique_entry (index_key bytea PRIMARY KEY, token bytea NOT NULL);
                CREATE TABLE {s}.other_entry (
                    index_key bytea NOT NULL,
                    token bytea NOT NULL,
                    PRIMARY KEY (index_key, token)
                );
                CREATE TABLE {s}.writer (
                    id bytea PRIMARY KEY,
                    sequence bigint NOT NULL,
                    at timestamptz NOT NULL
                ) WITH (fillfactor = 10);
                INSERT INTO {s}.store (format, row_count) VALUES ({FORMAT}, 0);"
            ),
            format: format!("SELECT format FROM {s}.store"),
            forget_writers: format!("DELETE FROM {s}.writer WHERE at < now() - interval '30 days'"),
            lock: format!("SELECT format, guard FROM {s}.store FOR UPDATE"),
            sequence: format!("SELECT sequence FROM {s}.writer WHERE id = $1"),
            entries: format!(
                "SELECT e.index_key, e.token, r.content FROM {s}.unique_entry e
                LEFT JOIN {s}.vault_row r ON r.token = e.token WHERE e.index_key = ANY($1)"
            ),
            rows: format!("SELECT token, content FROM {s}.vault_row WHERE token = ANY($1)"),
            new_rows: format!(
                "INSERT INTO {s}.vault_row (token, content)
                SELECT * FROM unnest($1::bytea[], $2::bytea[])"
            ),
            put_rows: format!(
                "INSERT INTO {s}.vault_row (token, content)
                SELECT * FROM unnest($1::bytea[], $2::bytea[])
                ON CONFLICT (token) DO UPDATE SET content = EXCLUDED.content"
            ),
            cut_rows: format!("DELETE FROM {s}.vault_row WHERE token = ANY($1)"),
            new_entries: format!(
                "INSERT INTO {s}.unique_entry (index_key, token)
                SELECT * FROM unnest($1::bytea[], $2::bytea[])"
            ),
            put_entries: format!(
                "INSERT INTO {s}.unique_entry (index_key, token)
                SELECT * FROM unnest($1::bytea[], $2::bytea[])
                ON CONFLICT (index_key) DO UPDATE SET token = EXCLUDED.token"
            ),
            cut_entries: format!("DELETE FROM {s}.unique_entry WHERE index_key = ANY($1)"),
            put_others: format!(
                "INSERT INTO {s}.other_entry (index_key, token)
                SELECT * FROM unnest($1::bytea[], $2::bytea[]) ON CONFLICT DO NOTHING"
            ),
            cut_others: format!(
                "DELETE FROM {s}.other_entry o
                USING unnest($1::bytea[], $2::bytea[]) AS cut (index_key, token)
                WHERE o.index_key = cut.index_key AND o.token = cut.token"
            ),
            state: format!(
                "UPDATE {s}.store SET guard = coalesce($1, guard), row_count = row_count + $2"
            ),
            mark: format!(
                "INSERT INTO {s}.writer (id, sequence, at) VALUES ($1, $2, now())
                ON CONFLICT (id) DO UPDATE SET sequence = EXCLUDED.sequence, at = EXCLUDED.at"
            ),
            find: format!(
                "SELECT k.at, e.token, r.content,
                    ARRAY(SELECT o.token FROM {s}.other_entry o WHERE o.index_key = k.index_key
                        ORDER BY o.token LIMIT $2)
                FROM unnest($1::bytea[]) WITH ORDINALITY AS k (index_key, at)
                LEFT JOIN {s}.unique_entry e ON e.index_key = k.index_key
                LEFT JOIN {s}.vault_row r ON r.token = e.token"
            ),
            others: format!(
                "SELECT token FROM {s}.other_entry
                WHERE index_key = $1 AND token > $2 AND token < $3 ORDER BY token LIMIT $4"
            ),
            scan: format!(
                "SELECT token, content FROM {s}.vault_row
                WHERE token > $1 AND token < $2 ORDER BY token LIMIT $3"
            ),
            // As long as it takes, and however slowly it is read.
            snapshot: format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
                SET LOCAL statement_timeout = 0;
                SET LOCAL idle_in_transaction_session_timeout = 0;
                DECLARE whole_rows NO SCROLL CURSOR FOR
                    SELECT token, content FROM {s}.vault_row ORDER BY token;
                DECLARE whole_entries NO SCROLL CURSOR FOR
                    SELECT index_key, token, other FROM (
                        SELECT index_key, token, false AS other FROM {s}.unique_entry
                        UNION ALL SELECT index_key, token, true FROM {s}.other_entry
                    ) AS entry
                    ORDER BY octet_length(index_key), index_key, other, token"
            ),
            guard: format!("SELECT guard FROM {s}.store"),
            count: format!("SELECT row_count FROM {s}.store"),
        })
    }
}

/// Says whether this crate can work with a store of `format`.
///
/// # Errors
/// [`StoreError::NewerFormat`], [`StoreError::NotAVault`].
pub(super) fn check_format(format: i16) -> Result<(), StoreError> {
    match u16::try_from(format) {
        Ok(found) if format > FORMAT => Err(StoreError::NewerFormat { found }),
        _ if format == FORMAT => Ok(()),
        _ => Err(StoreError::NotAVault),
    }
}

/// Looks that there is a store, or makes one; as `make` and `existing` allow.
pub(super) struct Opened {
    pub(super) make: bool,
    pub(super) existing: bool,
}

impl Read for Opened {
    type Output = Result<(), StoreError>;

    async fn ask(&self, client: &Client, sql: &Sql) -> Result<Self::Output, Fault> {
        for _ in 0..TRIES {
            match client
                .query_opt(&sql.format, &[])
                .await
                .map_err(Fault::from)
            {
                Ok(None) => return Ok(Err(StoreError::NotAVault)),
                Ok(Some(_)) if !self.existing => return Ok(Err(StoreError::AlreadyExists)),
                Ok(Some(row)) => {
                    let format = row
                        .try_get(0)
                        .map_err(|_| Fault::of(StoreError::NotAVault))?;
                    if let Err(error) = check_format(format) {
                        return Ok(Err(error));
                    }
                    client.execute(&sql.forget_writers, &[]).await?;
                    return Ok(Ok(()));
                }
                Err(fault) if fault.error == StoreError::NotAVault && self.make => {
                    // One transaction. It fails if another process makes the store meanwhile: then
                    // the store is there at the next look.
                    let made = client.batch_execute(&sql.make).await;
                    if made.is_ok() {
                        return Ok(Ok(()));
                    }
                    if let Err(error) = made
                        && !is_race(&error)
                    {
                        return Err(error.into());
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(Err(StoreError::NotAVault))
    }
}

/// Somebody else made what was to be made: a duplicate schema, table, or row of a catalogue.
fn is_race(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| matches!(code.code(), "42P06" | "42P07" | "23505"))
}
