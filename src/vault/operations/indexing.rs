//! From one index version to the next, while others read and write.
//!
//! A ring that fills a version has every writer write it beside the one that is read; the guard, which
//! every write is checked against, says since when. [`Vault::fill_index`] puts what was there before
//! under the new version too, and notes in the store how far it came. At the end it raises the guard
//! to *filled*; only then is a ring let in that reads the new version. [`Vault::drop_index`] takes the
//! old entries away.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_core::TryCryptoRng;

use super::rows::open_row;
use super::{TRIES, Vault};
use crate::keys::{Domain, KeyError, KeyName, KeyUse};
use crate::token::Token;
use crate::vault::error::VaultError;
use crate::vault::fill::{FillNote, note_key};
use crate::vault::guard::Filling;
use crate::vault::request::{IndexDropped, IndexFill, LeftRow};
use crate::vault::ring_state::RingState;
use crate::vault::row::{Columns, RowParts, index_key, read_row_key, vault_end};
use crate::vault::store::{IndexKey, MAX_BATCH, Row, RowKey, Store, Write, WriteOutcome};
use crate::vault::telemetry::{self, Call};

/// Rows that [`Vault::index_rows`] reads at a time.
const PAGE: usize = 1000;

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Puts at most `limit` rows (at most [`MAX_BATCH`]) under the index version that the ring fills.
    /// Call it until [`IndexFill::done`]. The store notes how far it came, so any process goes on
    /// where another stopped; several at once do no harm.
    ///
    /// A pass that leaves no row ends with [`IndexFill::filled`]: the version may be activated.
    /// Rows that do not open are left and named. Delete their tokens and call again, which begins
    /// another pass, or leave them for good with [`Vault::fill_leaving`].
    ///
    /// # Errors
    /// [`VaultError::NotFilling`]; [`VaultError::Conflict`] while others fill too; the ring's and
    /// the store's. What was done stays: call again.
    pub async fn fill_index(&self, limit: usize) -> Result<IndexFill, VaultError> {
        let call = async {
            let limit = limit.clamp(1, MAX_BATCH);
            for _ in 0..TRIES {
                let (state, filling) = self.filling().await?;
                if filling.filled {
                    return Ok(IndexFill::ended(filling.version()));
                }
                let stored = self.note().await?;
                let note = stored
                    .as_ref()
                    .and_then(|row| FillNote::read(row, &filling));
                let note = note.unwrap_or_else(|| FillNote::start(&filling));
                if note.complete && note.left == 0 {
                    if self.end_filling(&state, stored).await? {
                        return Ok(IndexFill::ended(filling.version()));
                    }
                    continue;
                }
                let mut note = if note.complete {
                    FillNote::start(&filling)
                } else {
                    note
                };
                let page = self.store.scan(note.at, Some(vault_end()?), limit).await?;
                let seen = count(page.len());
                note.complete = page.len() < limit;
                note.at = page.last().map(|(key, _)| *key).or(note.at);
                let Some(moved) = self.reindex(&state, page, Moving::Filling).await? else {
                    continue;
                };
                note.seen += seen;
                note.left += count(moved.left.len());
                let Some(kept) = self.keep_note(&state, stored, note.to_row()?).await? else {
                    continue;
                };
                let mut step = IndexFill {
                    version: filling.version(),
                    seen,
                    left: moved.left,
                    seen_in_all: note.seen,
                    left_in_all: note.left,
                    done: note.complete,
                    filled: false,
                };
                if note.complete && note.left == 0 {
                    step.filled = self.end_filling(&state, Some(kept)).await?;
                    // Else the ring moved on at this very moment: the next step sees to it.
                    step.done = step.filled;
                }
                return Ok(step);
            }
            Err(VaultError::Conflict)
        };
        let step: Result<_, VaultError> = telemetry::watch(Call::FillIndex, None, 1, call).await;
        let step = step?;
        let left = count(step.left.len());
        let changed = step.seen.saturating_sub(left);
        let rows = [("seen", step.seen), ("changed", changed), ("left", left)];
        telemetry::step(Call::FillIndex, rows);
        Ok(step)
    }

    /// Says that the version that is being filled is, but for `left` rows: as many as the pass that
    /// has ended left. Once it is read, their cards are not found any more, and get new tokens.
    ///
    /// # Errors
    /// [`VaultError::FillUnfinished`], also for another number; [`VaultError::NotFilling`]; the
    /// store's.
    pub async fn fill_leaving(&self, left: u64) -> Result<(), VaultError> {
        let call = async {
            for _ in 0..TRIES {
                let (state, filling) = self.filling().await?;
                if filling.filled {
                    return Ok(());
                }
                let stored = self.note().await?;
                let note = stored
                    .as_ref()
                    .and_then(|row| FillNote::read(row, &filling));
                let note = note.unwrap_or_else(|| FillNote::start(&filling));
                if !note.complete || note.left != left {
                    return Err(VaultError::FillUnfinished { left: note.left });
                }
                if self.end_filling(&state, stored).await? {
                    return Ok(());
                }
            }
            Err(VaultError::Conflict)
        };
        telemetry::watch(Call::FillLeaving, None, 1, call).await
    }

    /// Takes up to `limit` rows (at most [`MAX_BATCH`]) behind `after` out of index versions that are
    /// no longer read, and seals them anew under the one that is. Needs no key of an old version.
    /// Call it with the cursor it gave until there is none.
    ///
    /// After a pass that left nothing no row stands under an old version, see
    /// [`Vault::index_rows`]. Rows that were left keep their entry until they are deleted.
    ///
    /// # Errors
    /// The ring's and the store's.
    pub async fn drop_index(
        &self,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<IndexDropped, VaultError> {
        let call = async {
            let limit = limit.clamp(1, MAX_BATCH);
            for _ in 0..TRIES {
                let state = self.state()?;
                let page = self.store.scan(after, Some(vault_end()?), limit).await?;
                let seen = count(page.len());
                let last = page.last().map(|(key, _)| *key);
                let cursor = last.filter(|_| page.len() == limit);
                if let Some(moved) = self.reindex(&state, page, Moving::Dropping).await? {
                    // By a ring that is behind, rows are where they are to be, or do not open.
                    if self.has_moved(&state).await? {
                        continue;
                    }
                    return Ok(IndexDropped {
                        seen,
                        moved: moved.moved,
                        left: moved.left,
                        cursor,
                    });
                }
            }
            Err(VaultError::Conflict)
        };
        let step: Result<_, VaultError> = telemetry::watch(Call::DropIndex, None, 1, call).await;
        let step = step?;
        let left = count(step.left.len());
        let rows = [("seen", step.seen), ("changed", step.moved), ("left", left)];
        telemetry::step(Call::DropIndex, rows);
        Ok(step)
    }

    /// How many rows say of themselves that they stand under which index version; reads every row.
    /// While a version is filled, all rows stand under that too. A version that is not in this map,
    /// is not read and is not being filled is not needed any more.
    ///
    /// # Errors
    /// The store's.
    pub async fn index_rows(&self) -> Result<BTreeMap<KeyName, u64>, VaultError> {
        let call = async {
            let mut rows = BTreeMap::new();
            let mut after = None;
            loop {
                let page = self.store.scan(after, Some(vault_end()?), PAGE).await?;
                for (_, row) in &page {
                    if let Ok(parts) = RowParts::read(row) {
                        let name = KeyName::new(KeyUse::Index, parts.columns.index_version);
                        *rows.entry(name).or_default() += 1;
                    }
                }
                after = page.last().map(|(key, _)| *key);
                if page.len() < PAGE {
                    return Ok(rows);
                }
            }
        };
        telemetry::watch(Call::IndexRows, None, 1, call).await
    }

    /// The ring in use and what it fills.
    async fn filling(&self) -> Result<(Arc<RingState>, Filling), VaultError> {
        for _ in 0..TRIES {
            let state = self.state()?;
            let filling = state.seen.filling().copied();
            // Without a write nothing else tells whether the ring is behind.
            if filling.is_none_or(|filling| filling.filled) && self.has_moved(&state).await? {
                continue;
            }
            return Ok((state, filling.ok_or(VaultError::NotFilling)?));
        }
        Err(VaultError::Conflict)
    }

    async fn note(&self) -> Result<Option<Row>, VaultError> {
        let rows = self.store.rows(vec![note_key()?]).await?;
        Ok(rows.into_iter().flatten().next())
    }

    /// Puts a note in the place of another. None if the ring moved on or somebody else wrote one.
    async fn keep_note(
        &self,
        state: &RingState,
        stored: Option<Row>,
        row: Row,
    ) -> Result<Option<Row>, VaultError> {
        let (token, fresh) = (note_key()?, row.clone());
        let write = match stored {
            Some(expected) => Write::Replace {
                token,
                expected,
                row,
            },
            None => Write::Insert {
                token,
                row,
                index: Vec::new(),
                unique: false,
            },
        };
        let outcomes = self.write(state, vec![write]).await?;
        let kept = outcomes.is_some_and(|outcomes| outcomes.iter().all(WriteOutcome::is_applied));
        Ok(kept.then_some(fresh))
    }

    /// Raises the guard to *filled*, if the note of a whole pass is still there, and takes it away.
    async fn end_filling(&self, state: &RingState, note: Option<Row>) -> Result<bool, VaultError> {
        let guard = state.seen.filled().to_guard()?;
        let writes = vec![
            Write::Delete {
                token: note_key()?,
                expected: note.ok_or(VaultError::Conflict)?,
                index: Vec::new(),
            },
            Write::Guard {
                expected: Some(state.guard.clone()),
                guard: guard.clone(),
            },
        ];
        let outcomes = self.write(state, vec![Write::All(writes)]).await?;
        let ended = matches!(outcomes.as_deref(), Some([WriteOutcome::All(_)]));
        if ended {
            self.follow(&guard).await?;
        }
        Ok(ended)
    }

    /// Moves rows. What others change meanwhile is read again and moved then. None if the ring moved
    /// on: then it is all to be done again.
    async fn reindex(
        &self,
        state: &RingState,
        page: Vec<(RowKey, Row)>,
        moving: Moving,
    ) -> Result<Option<Moved>, VaultError> {
        let mut done = Moved::default();
        let mut open = page;
        for _ in 0..TRIES {
            let (mut writes, mut keys) = (Vec::new(), Vec::new());
            for (key, row) in open {
                match self.reindexed(state, key, row, moving) {
                    Ok(None) => {}
                    Ok(Some(write)) => {
                        writes.push(write);
                        keys.push(key);
                    }
                    Err(why) => done.left.push(left(key, why)?),
                }
            }
            if writes.is_empty() {
                return Ok(Some(done));
            }
            let Some(outcomes) = self.write(state, writes).await? else {
                return Ok(None);
            };
            let mut changed = Vec::new();
            for (key, outcome) in keys.into_iter().zip(outcomes) {
                match outcome {
                    WriteOutcome::Linked => done.moved += 1,
                    // It was deleted meanwhile.
                    WriteOutcome::Missing => {}
                    WriteOutcome::Exists { token: other, .. } => {
                        let (_, token) = read_row_key(&other).map_err(|_| VaultError::Tampered)?;
                        done.left.push(left(key, VaultError::OtherToken { token })?);
                    }
                    _ => changed.push(key),
                }
            }
            if changed.is_empty() {
                return Ok(Some(done));
            }
            let rows = self.store.rows(changed.clone()).await?;
            let rows = changed.into_iter().zip(rows);
            open = rows.filter_map(|(key, row)| Some((key, row?))).collect();
        }
        for (key, _) in open {
            done.left.push(left(key, VaultError::Conflict)?);
        }
        Ok(Some(done))
    }

    /// The write that moves a row, if it is not where it is to be.
    fn reindexed(
        &self,
        state: &RingState,
        key: RowKey,
        row: Row,
        moving: Moving,
    ) -> Result<Option<Write>, VaultError> {
        let (domain, token) = read_row_key(&key).map_err(|_| VaultError::Tampered)?;
        let parts = RowParts::read(&row)?;
        let keys = state.domain(&domain)?;
        let at_home = parts.columns.index_version == keys.read_version()?;
        if at_home && moving == Moving::Dropping {
            return Ok(None);
        }
        let (columns, card) = open_row(state, &domain, &token, &row)?;
        let indexed = keys.index(&card.pan)?;
        let unique = columns.convergent;
        let (fresh, add, remove): (Row, Vec<IndexKey>, Vec<IndexKey>) = if at_home {
            let filled = indexed.keys.into_iter().skip(1);
            (row.clone(), filled.collect(), Vec::new())
        } else {
            let old = index_key(&domain, columns.index_version, parts.fingerprint)?;
            let columns = Columns {
                index_version: indexed.version,
                ..columns
            };
            let fingerprint = &indexed.fingerprint;
            let fresh = self.reseal_under(state, &domain, &token, fingerprint, columns, &card)?;
            (fresh, indexed.keys, vec![old])
        };
        Ok(Some(Write::Reindex {
            token: key,
            expected: row,
            row: fresh,
            add,
            remove,
            unique,
        }))
    }
}

impl IndexFill {
    /// There is nothing left to do.
    const fn ended(version: u32) -> Self {
        Self {
            version,
            seen: 0,
            left: Vec::new(),
            seen_in_all: 0,
            left_in_all: 0,
            done: true,
            filled: true,
        }
    }
}

/// What rows are moved for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moving {
    /// To be under the version that is filled too. What still stands under an older version than the
    /// one that is read is moved to that, so that a row never stands under more than three.
    Filling,
    /// To be under no version that is not read any more.
    Dropping,
}

#[derive(Default)]
struct Moved {
    moved: u64,
    left: Vec<LeftRow>,
}

/// A row that stays where it is, if that is for what the row is and not for what the ring or the
/// vault is.
fn left(key: RowKey, why: VaultError) -> Result<LeftRow, VaultError> {
    let token: Option<(Domain, Token)> = read_row_key(&key).ok();
    let why = match (why, token) {
        (VaultError::Key(KeyError::UnknownKey), Some((_, token))) => {
            VaultError::Unopenable { token }
        }
        (
            VaultError::Tampered
            | VaultError::NewerFormat { .. }
            | VaultError::OtherToken { .. }
            | VaultError::Conflict,
            _,
        ) => why,
        _ => return Err(why),
    };
    Ok(LeftRow { key, token, why })
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}
