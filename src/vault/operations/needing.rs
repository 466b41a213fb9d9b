//! What still needs a key version, and its end once nothing does.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rand_core::TryCryptoRng;

use super::rows::{key_id, version_of};
use super::{TRIES, Vault};
use crate::keys::{KeyError, KeyInfo, KeyName, KeyRing, KeyState, KeyUse};
use crate::vault::error::VaultError;
use crate::vault::guard::RingSeen;
use crate::vault::request::{Elsewhere, Needed};
use crate::vault::ring_state::RingState;
use crate::vault::row::{RowParts, read_row_key, vault_end};
use crate::vault::store::{MAX_BATCH, Row, RowKey, Store};
use crate::vault::telemetry::{self, Call};

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// How many rows of this store need a key version: records under a card version, rows whose
    /// fingerprint is of an index version. Reads every row. For ledger versions ask
    /// [`crate::ledger::Ledger::needed`].
    ///
    /// The count only falls, and zero stays zero, once the version is neither active nor
    /// suspended in the ring that the store has seen: every writer that would still use it has an
    /// older ring, and the store refuses that.
    ///
    /// # Errors
    /// [`VaultError::Key`] for a version that the ring does not have; [`VaultError::StaleRing`];
    /// the store's.
    pub async fn needed(&self, name: KeyName) -> Result<Needed, VaultError> {
        let call = async {
            let state = self.seen_state().await?;
            if !has_been_used(&state.ring, name)? {
                return Ok(Needed::of(name, Some(0)));
            }
            let rows = match name.usage {
                KeyUse::Card => {
                    let is = |key: &RowKey, row: &Row| is_under(&state, name, key, row);
                    Some(self.count_rows(None, vault_end()?, is).await?)
                }
                KeyUse::Index => {
                    let is = |_: &RowKey, row: &Row| {
                        let row = RowParts::read(row);
                        Ok(row.is_ok_and(|row| row.columns.index_version == name.version))
                    };
                    Some(self.count_rows(None, vault_end()?, is).await?)
                }
                KeyUse::Vaultless
                | KeyUse::Irreversible
                | KeyUse::Journal
                | KeyUse::Ledger
                | KeyUse::Archive
                | KeyUse::Audit => None,
            };
            Ok(Needed::of(name, rows))
        };
        telemetry::watch(Call::Needed, None, 1, call).await
    }

    /// Wipes a version of `ring`, which is a copy of the ring in use, if nothing needs it. Store
    /// the ring and give it to [`Vault::set_ring`] then.
    ///
    /// What it protects outside of the store nobody can count: journals that were not uploaded,
    /// archives, vaultless and irreversible tokens. `elsewhere` says whether the caller knows
    /// that there is nothing of that. For ledger versions take
    /// [`crate::ledger::Ledger::destroy_key`].
    ///
    /// # Errors
    /// [`VaultError::KeyNeeded`], [`VaultError::KeyElsewhere`]; [`VaultError::StaleRing`] or
    /// [`VaultError::ForkedRing`] for a ring that is not the one in use; [`VaultError::Key`] for a
    /// version that is in use or was destroyed; the store's. The ring is then as it was.
    pub async fn destroy_key(
        &self,
        ring: &mut KeyRing,
        name: KeyName,
        elsewhere: Elsewhere,
    ) -> Result<(), VaultError> {
        let call = async {
            self.check_destroyable(ring, name).await?;
            let needed = self.needed(name).await?;
            self.destroy_unneeded(ring, needed, elsewhere)
        };
        telemetry::watch(Call::DestroyKey, None, 1, call).await
    }

    /// Refuses a ring that is not the one in use, and a version in use.
    pub(crate) async fn check_destroyable(
        &self,
        ring: &KeyRing,
        name: KeyName,
    ) -> Result<(), VaultError> {
        let state = self.seen_state().await?;
        state.seen.admits(&RingSeen::of(ring)?)?;
        // What the store has seen counts: a newer ring says nothing of what others may write.
        state.ring.info(name).and_then(destroyable)?;
        Ok(ring.info(name).and_then(destroyable)?)
    }

    /// Wipes a version if this is nothing.
    pub(crate) fn destroy_unneeded(
        &self,
        ring: &mut KeyRing,
        needed: Needed,
        elsewhere: Elsewhere,
    ) -> Result<(), VaultError> {
        let name = needed.name;
        match (needed.rows, elsewhere) {
            (Some(0), _) | (None, Elsewhere::Unneeded) => {}
            (Some(rows), _) => return Err(VaultError::KeyNeeded { name, rows }),
            (None, Elsewhere::Unknown) => return Err(VaultError::KeyElsewhere { name }),
        }
        Ok(ring.destroy(name, (self.clock)())?)
    }

    /// How many rows after `after` and before `end` are like this.
    pub(crate) async fn count_rows(
        &self,
        mut after: Option<RowKey>,
        end: RowKey,
        is: impl Fn(&RowKey, &Row) -> Result<bool, VaultError>,
    ) -> Result<u64, VaultError> {
        const PAGE: usize = MAX_BATCH / 10;
        let mut count = 0;
        loop {
            let page = self.store.scan(after, Some(end), PAGE).await?;
            for (key, row) in &page {
                count += u64::from(is(key, row)?);
            }
            after = page.last().map(|(key, _)| *key);
            if page.len() < PAGE {
                return Ok(count);
            }
        }
    }

    /// The ring in use, if it is the one that the store has seen.
    pub(crate) async fn seen_state(&self) -> Result<Arc<RingState>, VaultError> {
        for _ in 0..TRIES {
            let state = self.state()?;
            if !self.has_moved(&state).await? {
                return Ok(state);
            }
        }
        Err(VaultError::Conflict)
    }
}

/// Whether something can be under a version.
pub(crate) fn has_been_used(ring: &KeyRing, name: KeyName) -> Result<bool, VaultError> {
    let info = ring.info(name)?;
    Ok(info.activated.is_some() || info.filling)
}

/// Refuses to destroy a version in use.
const fn destroyable(info: &KeyInfo) -> Result<(), KeyError> {
    let (name, from, to) = (info.name, info.state, KeyState::Destroyed);
    if from.may_become(to) {
        Ok(())
    } else {
        Err(KeyError::Transition { name, from, to })
    }
}

/// Whether a row's record is sealed under this card version.
fn is_under(state: &RingState, name: KeyName, key: &RowKey, row: &Row) -> Result<bool, VaultError> {
    let (Ok((domain, _)), Ok(parts)) = (read_row_key(key), RowParts::read(row)) else {
        return Ok(false);
    };
    let Ok(id) = key_id(&parts) else {
        return Ok(false);
    };
    Ok(version_of(state, &domain, &id)? == Some(name.version))
}
