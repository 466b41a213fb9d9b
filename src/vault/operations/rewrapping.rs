//! Records from retired key versions to the active one.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::Vault;
use super::rows::{key_id, open_row, opens};
use crate::vault::error::VaultError;
use crate::vault::request::Rewrapped;
use crate::vault::ring_state::RingState;
use crate::vault::row::{RowParts, read_row_key, vault_end};
use crate::vault::store::{MAX_BATCH, Row, RowKey, Store, Write, WriteOutcome};
use crate::vault::telemetry::{self, Call};

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Seals records of retired versions anew under the active one: up to `limit` rows (at most
    /// [`MAX_BATCH`]) behind `after`. Tokens stay as they are. Call it with the cursor it gave
    /// until there is none.
    ///
    /// # Errors
    /// The store's; the ring's if it gives no key to seal under, then nothing was moved by this
    /// step. Rows that do not open are counted and left as they are.
    pub async fn rewrap(
        &self,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Rewrapped, VaultError> {
        let call = self.rewrap_unwatched(after, limit);
        let step = telemetry::watch(Call::Rewrap, None, 1, call).await?;
        let rows = [
            ("seen", step.seen),
            ("changed", step.moved),
            ("left", step.left),
        ];
        telemetry::step(Call::Rewrap, rows);
        Ok(step)
    }

    async fn rewrap_unwatched(
        &self,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Rewrapped, VaultError> {
        let state = self.state()?;
        let limit = limit.clamp(1, MAX_BATCH);
        let page = self.store.scan(after, Some(vault_end()?), limit).await?;
        let mut step = Rewrapped {
            seen: 0,
            moved: 0,
            left: 0,
            cursor: None,
        };
        if page.len() == limit {
            step.cursor = page.last().map(|(key, _)| *key);
        }
        let mut writes = Vec::new();
        for (key, row) in page {
            step.seen += 1;
            match self.rewrapped(&state, &key, &row)? {
                Rewrap::There => {}
                Rewrap::Left => step.left += 1,
                Rewrap::Fresh(fresh) => writes.push(Write::Replace {
                    token: key,
                    expected: row,
                    row: fresh,
                }),
            }
        }
        if !writes.is_empty() {
            let moving = u64::try_from(writes.len()).unwrap_or(u64::MAX);
            match self.write(&state, writes).await? {
                // The ring moved on meanwhile: its next round takes these along.
                None => step.left += moving,
                Some(outcomes) => {
                    for outcome in outcomes {
                        match outcome {
                            WriteOutcome::Replaced => step.moved += 1,
                            _ => step.left += 1,
                        }
                    }
                }
            }
        }
        Ok(step)
    }

    /// The row under the active version, if it is not there yet.
    fn rewrapped(&self, state: &RingState, key: &RowKey, row: &Row) -> Result<Rewrap, VaultError> {
        let (Ok((domain, token)), Ok(parts)) = (read_row_key(key), RowParts::read(row)) else {
            return Ok(Rewrap::Left);
        };
        let keys = state.domain(&domain)?;
        let sealer = keys.sealer(&state.ring, &domain, (self.clock)())?;
        if key_id(&parts).is_ok_and(|id| id == *sealer.key_id()) {
            return Ok(Rewrap::There);
        }
        let Some((columns, card)) = opens(open_row(state, &domain, &token, row))? else {
            return Ok(Rewrap::Left);
        };
        self.reseal(state, &domain, &token, row, columns, &card)
            .map(Rewrap::Fresh)
    }
}

/// What a rewrap does with a row.
enum Rewrap {
    /// Nothing: it is under the active version.
    There,
    /// Nothing: it does not open.
    Left,
    /// Puts this in its place.
    Fresh(Row),
}
