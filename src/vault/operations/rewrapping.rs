//! Records from retired key versions to the active one.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::rows::{key_id, open_row, opens, seal_row, version_of};
use super::{TRIES, Vault};
use crate::keys::{Domain, KeyName, KeyUse};
use crate::seal::Sealer;
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::access::{Access, AccessEvent, Operation};
use crate::vault::error::VaultError;
use crate::vault::request::{Rewrapped, UnderKey};
use crate::vault::ring_state::RingState;
use crate::vault::row::{RowParts, read_row_key, vault_end};
use crate::vault::store::{MAX_BATCH, Row, RowKey, Store, Write, WriteOutcome};
use crate::vault::telemetry::{self, Call};

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Seals records of retired versions anew under the active one: up to `limit` rows (at most
    /// [`MAX_BATCH`]) behind `after`. Tokens stay as they are. Call it with the cursor it gave
    /// until there is none; [`crate::vault::Rewrapping`] does that at a pace.
    ///
    /// A row that others change meanwhile is read again and keeps their change; one that they
    /// delete stays deleted.
    ///
    /// # Errors
    /// The store's; the ring's if it gives no key to seal under, then nothing was moved by this
    /// step. Rows that do not open are counted and left as they are.
    pub async fn rewrap(
        &self,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Rewrapped, VaultError> {
        self.rewrap_where(after, limit, |_| true).await
    }

    /// [`Vault::rewrap`] of the records under these card versions alone: a compromised one is not
    /// to wait for the others.
    ///
    /// # Errors
    /// As [`Vault::rewrap`].
    pub async fn rewrap_of(
        &self,
        versions: &[u32],
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Rewrapped, VaultError> {
        self.rewrap_where(after, limit, |version| versions.contains(&version))
            .await
    }

    /// The tokens of the records under one card version, among `limit` rows (at most
    /// [`MAX_BATCH`]) behind `after`: what a compromised version concerns. Each token is logged
    /// first. Call it with the cursor it gave until there is none; a page may be empty.
    ///
    /// # Errors
    /// [`VaultError::Log`]; [`VaultError::Key`] for a version that the ring does not have; the
    /// store's.
    pub async fn list_under(
        &self,
        access: &Access,
        version: u32,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<UnderKey, VaultError> {
        let call = self.list_under_unwatched(access, version, after, limit);
        telemetry::watch(Call::ListUnder, None, 1, call).await
    }

    async fn list_under_unwatched(
        &self,
        access: &Access,
        version: u32,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<UnderKey, VaultError> {
        let state = self.state()?;
        let name = KeyName::new(KeyUse::Card, version);
        state.ring.info(name)?;
        let asked = self.ask(access, Operation::List, None);
        if let Err(refused) = asked {
            let event = self.event(access, Operation::List, None, None, &asked);
            let key = Some(name);
            self.log.record(&[AccessEvent { key, ..event }])?;
            return Err(refused);
        }
        let limit = limit.clamp(1, MAX_BATCH);
        let page = self.store.scan(after, Some(vault_end()?), limit).await?;
        let mut under = UnderKey {
            seen: 0,
            tokens: Vec::new(),
            cursor: next(&page, limit),
        };
        for (key, row) in &page {
            under.seen += 1;
            let (Ok(named), Ok(parts)) = (read_row_key(key), RowParts::read(row)) else {
                continue;
            };
            if let Ok(id) = key_id(&parts)
                && version_of(&state, &named.0, &id)? == Some(version)
            {
                under.tokens.push(named);
            }
        }
        let event = |domain: Option<_>, token| AccessEvent {
            key: Some(name),
            ..self.event(access, Operation::List, domain, token, &Ok(()))
        };
        let mut events: Vec<_> = under
            .tokens
            .iter()
            .map(|(domain, token)| event(Some(domain), Some(*token)))
            .collect();
        if events.is_empty() {
            events.push(event(None, None));
        }
        self.log.record(&events)?;
        drop(events);
        Ok(under)
    }

    async fn rewrap_where(
        &self,
        after: Option<RowKey>,
        limit: usize,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Rewrapped, VaultError> {
        let call = self.rewrap_where_unwatched(after, limit, wanted);
        let step = telemetry::watch(Call::Rewrap, None, 1, call).await?;
        let rows = [
            ("seen", step.seen),
            ("changed", step.moved),
            ("left", step.left),
        ];
        telemetry::step(Call::Rewrap, rows);
        Ok(step)
    }

    async fn rewrap_where_unwatched(
        &self,
        after: Option<RowKey>,
        limit: usize,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Rewrapped, VaultError> {
        let limit = limit.clamp(1, MAX_BATCH);
        let page = self.store.scan(after, Some(vault_end()?), limit).await?;
        let mut step = Rewrapped {
            seen: u64::try_from(page.len()).unwrap_or(u64::MAX),
            moved: 0,
            left: 0,
            cursor: next(&page, limit),
        };
        let mut rows = page;
        for _ in 0..TRIES {
            let state = self.state()?;
            let (writes, left) = self.fresh_rows(&state, &rows, &wanted)?;
            if writes.is_empty() {
                step.left += left;
                return Ok(step);
            }
            // With a newer ring meanwhile: all of it again.
            let Some(outcomes) = self.write(&state, writes.clone()).await? else {
                continue;
            };
            step.left += left;
            let mut again = Vec::new();
            for (write, outcome) in writes.iter().zip(outcomes) {
                match (write, outcome) {
                    (_, WriteOutcome::Replaced) => step.moved += 1,
                    (Write::Replace { token, .. }, WriteOutcome::Changed) => again.push(*token),
                    // It was deleted.
                    _ => {}
                }
            }
            if again.is_empty() {
                return Ok(step);
            }
            let found = self.store.rows(again.clone()).await?;
            let found = again.into_iter().zip(found);
            rows = found.filter_map(|(key, row)| Some((key, row?))).collect();
        }
        step.left += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Ok(step)
    }

    /// What puts those of the rows that are wanted under the active version, and how many of them
    /// do not open.
    fn fresh_rows(
        &self,
        state: &RingState,
        rows: &[(RowKey, Row)],
        wanted: impl Fn(u32) -> bool,
    ) -> Result<(Vec<Write>, u64), VaultError> {
        let now = (self.clock)();
        let (mut writes, mut left) = (Vec::new(), 0);
        for (key, row) in rows {
            let (Ok((domain, token)), Ok(parts)) = (read_row_key(key), RowParts::read(row)) else {
                left += 1;
                continue;
            };
            let sealer = state.domain(&domain)?.sealer(&state.ring, &domain, now)?;
            let Ok(id) = key_id(&parts) else {
                left += 1;
                continue;
            };
            if id == *sealer.key_id() {
                continue;
            }
            match version_of(state, &domain, &id)? {
                Some(version) if !wanted(version) => continue,
                Some(_) => {}
                None => {
                    left += 1;
                    continue;
                }
            }
            match self.moved(state, &sealer, now, (&domain, &token), row)? {
                None => left += 1,
                Some(fresh) => writes.push(Write::Replace {
                    token: *key,
                    expected: row.clone(),
                    row: fresh,
                }),
            }
        }
        Ok((writes, left))
    }

    /// The row under the sealer's version; none if it does not open.
    fn moved(
        &self,
        state: &RingState,
        sealer: &Sealer,
        now: UnixSeconds,
        (domain, token): (&Domain, &Token),
        row: &Row,
    ) -> Result<Option<Row>, VaultError> {
        let Some((columns, card)) = opens(open_row(state, domain, token, row))? else {
            return Ok(None);
        };
        let fingerprint = *RowParts::read(row)?.fingerprint;
        let mut random = self.random.lock().map_err(|_| VaultError::Broken)?;
        let nonces = &mut random.nonces;
        seal_row(
            sealer,
            nonces,
            now,
            token,
            &fingerprint,
            columns.next(),
            &card,
        )
        .map(Some)
    }
}

/// Where the next page begins, if there is one.
fn next(page: &[(RowKey, Row)], limit: usize) -> Option<RowKey> {
    let last = page.last().filter(|_| page.len() == limit);
    last.map(|(key, _)| *key)
}
