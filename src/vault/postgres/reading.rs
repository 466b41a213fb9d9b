//! What is read of the database, each in one statement, so that it is as of one moment.
#![forbid(unsafe_code)]

use core::future::Future;
use std::collections::HashMap;

use deadpool_postgres::Client;

use super::super::store::{Found, Guard, IndexKey, MAX_FOUND, MAX_KEY, Row, RowKey, StoreError};
use super::fault::Fault;
use super::schema::Sql;

/// Behind every key.
const LAST: [u8; MAX_KEY + 1] = [0xff; MAX_KEY + 1];

/// A question that may be asked again if no answer came.
pub(super) trait Read: Send + Sync + 'static {
    type Output: Send;

    fn ask(
        &self,
        client: &Client,
        sql: &Sql,
    ) -> impl Future<Output = Result<Self::Output, Fault>> + Send;
}

pub(super) struct Rows(pub(super) Vec<RowKey>);

impl Read for Rows {
    type Output = Vec<Option<Row>>;

    async fn ask(&self, client: &Client, sql: &Sql) -> Result<Self::Output, Fault> {
        let statement = client.prepare_cached(&sql.rows).await?;
        let keys: Vec<&[u8]> = self.0.iter().map(RowKey::as_bytes).collect();
        let found = client.query(&statement, &[&keys]).await?;
        let mut rows = HashMap::with_capacity(found.len());
        for row in &found {
            rows.insert(row_key(column(row, 0)?)?, content(column(row, 1)?)?);
        }
        Ok(self.0.iter().map(|key| rows.get(key).cloned()).collect())
    }
}

pub(super) struct Find(pub(super) Vec<IndexKey>);

impl Read for Find {
    type Output = Vec<Found>;

    async fn ask(&self, client: &Client, sql: &Sql) -> Result<Self::Output, Fault> {
        let statement = client.prepare_cached(&sql.find).await?;
        let keys: Vec<&[u8]> = self.0.iter().map(IndexKey::as_bytes).collect();
        // One more, to see whether there are more.
        let most = number(MAX_FOUND + 1);
        let rows = client.query(&statement, &[&keys, &most]).await?;
        let mut found = vec![Found::default(); keys.len()];
        for row in &rows {
            let at: i64 = column(row, 0)?;
            let place = usize::try_from(at - 1)
                .ok()
                .and_then(|at| found.get_mut(at));
            let place = place.ok_or(StoreError::Corrupt)?;
            let token: Option<&[u8]> = column(row, 1)?;
            let stored: Option<&[u8]> = column(row, 2)?;
            if let (Some(token), Some(stored)) = (token, stored) {
                place.unique = Some((row_key(token)?, content(stored)?));
            }
            let others: Vec<&[u8]> = column(row, 3)?;
            place.more = others.len() > MAX_FOUND;
            place.others = others
                .into_iter()
                .take(MAX_FOUND)
                .map(row_key)
                .collect::<Result<_, _>>()?;
        }
        Ok(found)
    }
}

pub(super) struct Others {
    pub(super) key: IndexKey,
    pub(super) after: Option<RowKey>,
    pub(super) end: Option<RowKey>,
    pub(super) limit: usize,
}

impl Read for Others {
    type Output = Vec<RowKey>;

    async fn ask(&self, client: &Client, sql: &Sql) -> Result<Self::Output, Fault> {
        let statement = client.prepare_cached(&sql.others).await?;
        let (after, end) = between(self.after.as_ref(), self.end.as_ref());
        let key = self.key.as_bytes();
        let rows = client
            .query(&statement, &[&key, &after, &end, &number(self.limit)])
            .await?;
        rows.iter()
            .map(|row| Ok(row_key(column(row, 0)?)?))
            .collect()
    }
}

pub(super) struct Scan {
    pub(super) after: Option<RowKey>,
    pub(super) end: Option<RowKey>,
    pub(super) limit: usize,
}

impl Read for Scan {
    type Output = Vec<(RowKey, Row)>;

    async fn ask(&self, client: &Client, sql: &Sql) -> Result<Self::Output, Fault> {
        let statement = client.prepare_cached(&sql.scan).await?;
        let (after, end) = between(self.after.as_ref(), self.end.as_ref());
        let rows = client
            .query(&statement, &[&after, &end, &number(self.limit)])
            .await?;
        rows.iter()
            .map(|row| Ok((row_key(column(row, 0)?)?, content(column(row, 1)?)?)))
            .collect()
    }
}

pub(super) struct ReadGuard;

impl Read for ReadGuard {
    type Output = Option<Guard>;

    async fn ask(&self, client: &Client, sql: &Sql) -> Result<Self::Output, Fault> {
        let statement = client.prepare_cached(&sql.guard).await?;
        let row = client.query_opt(&statement, &[]).await?;
        Ok(guard(column(&row.ok_or(StoreError::NotAVault)?, 0)?)?)
    }
}

pub(super) struct Count;

impl Read for Count {
    type Output = u64;

    async fn ask(&self, client: &Client, sql: &Sql) -> Result<Self::Output, Fault> {
        let statement = client.prepare_cached(&sql.count).await?;
        let row = client.query_opt(&statement, &[]).await?;
        let count: i64 = column(&row.ok_or(StoreError::NotAVault)?, 0)?;
        Ok(u64::try_from(count).map_err(|_| StoreError::Corrupt)?)
    }
}

/// One column of an answer.
///
/// # Errors
/// [`StoreError::NotAVault`] if it is of another type.
pub(super) fn column<'a, T>(row: &'a tokio_postgres::Row, at: usize) -> Result<T, StoreError>
where
    T: tokio_postgres::types::FromSql<'a>,
{
    row.try_get(at).map_err(|_| StoreError::NotAVault)
}

pub(super) fn row_key(bytes: &[u8]) -> Result<RowKey, StoreError> {
    RowKey::new(bytes).map_err(|_| StoreError::Corrupt)
}

pub(super) fn content(bytes: &[u8]) -> Result<Row, StoreError> {
    Row::new(bytes).map_err(|_| StoreError::Corrupt)
}

pub(super) fn guard(bytes: Option<&[u8]>) -> Result<Option<Guard>, StoreError> {
    bytes
        .map(|bytes| Guard::new(bytes).map_err(|_| StoreError::Corrupt))
        .transpose()
}

/// The bytes between which, both left out, keys lie.
fn between<'a>(after: Option<&'a RowKey>, end: Option<&'a RowKey>) -> (&'a [u8], &'a [u8]) {
    (
        after.map_or(&[], RowKey::as_bytes),
        end.map_or(&LAST, RowKey::as_bytes),
    )
}

fn number(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
