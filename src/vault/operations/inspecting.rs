//! What a vault holds, and whether it is whole.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::rows::{key_id, open_row};
use super::{TRIES, Vault};
use crate::keys::{Domain, KeyError};
use crate::time::UnixSeconds;
use crate::vault::access::{Access, Operation};
use crate::vault::error::VaultError;
use crate::vault::request::{Checked, VaultStats};
use crate::vault::ring_state::RingState;
use crate::vault::row::{RowParts, domain_range, read_row_key, vault_end};
use crate::vault::store::{IndexKey, MAX_BATCH, Row, RowKey, Store};
use crate::vault::telemetry::{self, Call};

/// Rows that [`Vault::stats`] reads at a time.
const PAGE: usize = 1000;

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Counts what the vault holds; reads every row.
    ///
    /// # Errors
    /// The store's.
    pub async fn stats(&self) -> Result<VaultStats, VaultError> {
        let call = async {
            let state = self.state()?;
            let now = (self.clock)();
            let mut stats = VaultStats::default();
            let mut after = None;
            loop {
                let page = self.store.scan(after, Some(vault_end()?), PAGE).await?;
                let full = page.len() == PAGE;
                after = page.last().map(|(key, _)| *key);
                for (key, row) in &page {
                    stats.tokens += 1;
                    count(&state, key, row, now, &mut stats);
                }
                if !full {
                    return Ok(stats);
                }
            }
        };
        telemetry::watch(Call::Stats, None, 1, call).await
    }

    /// Opens up to `limit` rows (at most [`MAX_BATCH`]) behind `after`, and looks each up by its
    /// card in the index: after a restore. Hands out no card. Call it with the cursor it gave until
    /// there is none.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] for the first row that is not what the vault wrote, or that the
    /// index does not lead to; the ring's and the store's errors. Rows whose key the ring does not
    /// have, because it was destroyed, are counted.
    pub async fn check(&self, after: Option<RowKey>, limit: usize) -> Result<Checked, VaultError> {
        let call = async {
            for _ in 0..TRIES {
                let state = self.state()?;
                let checked = self.check_with(&state, after, limit).await;
                // By a ring that is behind, good rows look bad.
                let good = matches!(&checked, Ok(step) if step.unopenable == 0);
                if good || !self.has_moved(&state).await? {
                    return checked;
                }
            }
            Err(VaultError::Conflict)
        };
        let step: Result<_, VaultError> = telemetry::watch(Call::Check, None, 1, call).await;
        let step = step?;
        let rows = [
            ("seen", step.seen),
            ("changed", 0),
            ("left", step.unopenable),
        ];
        telemetry::step(Call::Check, rows);
        Ok(step)
    }

    async fn check_with(
        &self,
        state: &RingState,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Checked, VaultError> {
        let limit = limit.clamp(1, MAX_BATCH);
        let page = self.store.scan(after, Some(vault_end()?), limit).await?;
        let mut step = Checked {
            seen: 0,
            unopenable: 0,
            cursor: page
                .last()
                .map(|(key, _)| *key)
                .filter(|_| page.len() == limit),
        };
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        for (key, row) in page {
            step.seen += 1;
            let (domain, token) = read_row_key(&key).map_err(|_| VaultError::Tampered)?;
            match open_row(state, &domain, &token, &row) {
                Err(VaultError::Key(KeyError::UnknownKey)) => step.unopenable += 1,
                opened => {
                    let (columns, card) = opened?;
                    let index = state.domain(&domain)?.index(&card.pan)?;
                    rows.push((key, columns.convergent));
                    keys.extend(index.keys.first().copied());
                }
            }
        }
        for ((key, convergent), (index, found)) in rows
            .into_iter()
            .zip(keys.iter().zip(self.store.find(keys.clone()).await?))
        {
            let there = if convergent {
                found.unique.is_some_and(|(of, _)| of == key)
            } else {
                let more = found.more && !found.others.contains(&key);
                found.others.contains(&key) || (more && self.is_under(*index, key).await?)
            };
            // Unless it was deleted meanwhile.
            if !there
                && self
                    .store
                    .rows(vec![key])
                    .await?
                    .iter()
                    .any(Option::is_some)
            {
                return Err(VaultError::Tampered);
            }
        }
        Ok(step)
    }

    /// How many rows the store has, without reading them: one for each token, and those of a
    /// ledger.
    ///
    /// # Errors
    /// The store's.
    pub async fn count(&self) -> Result<u64, VaultError> {
        let call = async { Ok(self.store.count().await?) };
        telemetry::watch(Call::Count, None, 1, call).await
    }

    /// How many tokens a domain has, expired ones included; reads its rows. The access is logged
    /// first.
    ///
    /// # Errors
    /// [`VaultError::Refused`], [`VaultError::Log`]; the store's.
    pub async fn count_in(&self, access: &Access, domain: &Domain) -> Result<u64, VaultError> {
        let call = async {
            let counted = match self.ask(access, Operation::Count, Some(domain)) {
                Ok(()) => {
                    let (start, end) = domain_range(domain)?;
                    self.count_rows(Some(start), end, |_, _| Ok(true)).await
                }
                Err(refused) => Err(refused),
            };
            self.log
                .record(&[self.event(access, Operation::Count, domain, None, &counted)])?;
            counted
        };
        telemetry::watch(Call::CountIn, domain, 1, call).await
    }

    /// Whether the index has an entry for this row , however many there are.
    async fn is_under(&self, index: IndexKey, key: RowKey) -> Result<bool, VaultError> {
        let mut after = None;
        loop {
            let page = self.store.others(index, after, None, MAX_BATCH).await?;
            if page.contains(&key) {
                return Ok(true);
            }
            after = page.last().copied().filter(|_| page.len() == MAX_BATCH);
            if after.is_none() {
                return Ok(false);
            }
        }
    }
}

fn count(state: &RingState, key: &RowKey, row: &Row, now: UnixSeconds, stats: &mut VaultStats) {
    let domain = read_row_key(key).map(|(domain, _)| domain);
    if let Ok(domain) = domain {
        *stats.by_domain.entry(domain).or_default() += 1;
    }
    let Ok(parts) = RowParts::read(row) else {
        stats.unreadable += 1;
        return;
    };
    stats.expired += u64::from(parts.columns.is_expired(now));
    stats.convergent += u64::from(parts.columns.convergent);
    *stats.by_brand.entry(parts.columns.brand).or_default() += 1;
    let version = parts.columns.index_version;
    *stats.by_index.entry(version).or_default() += 1;
    let opener = domain.map_err(|_| VaultError::Tampered).and_then(|domain| {
        state
            .domain(&domain)?
            .opener(&state.ring, &domain, &key_id(&parts)?)
    });
    match opener {
        Ok(opener) => *stats.by_key.entry(opener.name()).or_default() += 1,
        Err(_) => stats.unreadable += 1,
    }
}
