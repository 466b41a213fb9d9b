//! What a vault does: cards in, tokens out, and back.
#![forbid(unsafe_code)]

mod admitting;
mod changing;
mod indexing;
mod inspecting;
mod needing;
mod purging;
mod reading;
mod rewrapping;
mod rows;
mod tokenizing;

pub(crate) use needing::has_been_used;
pub(crate) use purging::{Candidate, split as split_candidates};
pub(super) use rewrapping::REWRAP_PAGE;

use core::fmt;
use std::sync::{Arc, Mutex};

use getrandom::SysRng;
use rand_core::TryCryptoRng;

use self::rows::RowOpener;
use super::access::AccessLog;
use super::error::VaultError;
use super::guard::RingSeen;
use super::policy::Gate;
use super::ring_source::RingSource;
use super::ring_state::{RingState, Rings};
use super::row::{row_key, vault_end};
use super::store::{
    Found, Guard, IndexKey, Row, RowKey, Snapshot, SnapshotStore, Store, StoreError, Write,
    WriteOutcome,
};
use super::telemetry::{self, Call};
use crate::keys::{Domain, KeyRing};
use crate::seal::NonceSource;
use crate::time::UnixSeconds;
use crate::token::Token;

/// How often a write is tried again: with another token while the drawn ones are taken, with what
/// is stored now while others change it, with the newer ring once there is one.
const TRIES: usize = 16;
/// Card records under tokens, in a store, sealed under a key ring.
///
/// Every call may be made from many threads and tasks at once; a returned token is durable. A
/// batch gives a result for each of its items, in their order; [`MAX_BATCH`](super::MAX_BATCH) items go into one
/// transaction, more go into several.
pub struct Vault<S, R = SysRng> {
    store: S,
    log: Box<dyn AccessLog>,
    gate: Gate,
    clock: fn() -> UnixSeconds,
    random: Mutex<Randomness<R>>,
    rings: Rings,
    source: Option<Box<dyn RingSource>>,
}

/// Nonces for records, and what tokens are drawn from.
struct Randomness<R> {
    nonces: NonceSource<R>,
    tokens: R,
}

impl<S: Store> Vault<S> {
    /// Opens the vault in `store` with `ring`, the system's random generator and clock. An empty
    /// store becomes a vault of this ring.
    ///
    /// # Errors
    /// [`VaultError::OtherRing`] if the store belongs to another ring, [`VaultError::StaleRing`]
    /// if it has seen a newer generation of this one, [`VaultError::ForkedRing`] if it has seen
    /// another ring of this generation, [`VaultError::IndexNotFilled`] if it holds tokens and the
    /// ring reads another index version than before, which was not filled: see
    /// [`Vault::fill_index`]. The ring's and the store's errors.
    pub async fn open(store: S, ring: KeyRing, log: impl AccessLog) -> Result<Self, VaultError> {
        Self::open_with(store, ring, log, || SysRng, UnixSeconds::now).await
    }
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// [`Vault::open`] with another random generator and clock.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub async fn open_with(
        store: S,
        ring: KeyRing,
        log: impl AccessLog,
        random: fn() -> R,
        clock: fn() -> UnixSeconds,
    ) -> Result<Self, VaultError> {
        Self::open_by(store, ring, None, log, random, clock).await
    }

    /// [`Vault::open_with`] a source of newer rings: as [`Vault::with_ring_source`], but the source
    /// is asked also if the store has seen a newer ring than `ring` when the vault is opened.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub async fn open_with_source(
        store: S,
        ring: KeyRing,
        source: impl RingSource,
        log: impl AccessLog,
        random: fn() -> R,
        clock: fn() -> UnixSeconds,
    ) -> Result<Self, VaultError> {
        Self::open_by(store, ring, Some(Box::new(source)), log, random, clock).await
    }

    async fn open_by(
        store: S,
        ring: KeyRing,
        source: Option<Box<dyn RingSource>>,
        log: impl AccessLog,
        random: fn() -> R,
        clock: fn() -> UnixSeconds,
    ) -> Result<Self, VaultError> {
        let admitted = admit_newest(&store, RingState::new(ring)?, source.as_deref());
        let state = telemetry::watch(Call::Open, None, 1, admitted).await?;
        telemetry::ring_in_use("opened", &state.ring, clock());
        let random = Randomness {
            nonces: NonceSource::new(random()),
            tokens: random(),
        };
        Ok(Self {
            store,
            log: Box::new(log),
            gate: Gate::default(),
            clock,
            random: Mutex::new(random),
            rings: Rings::new(Arc::new(state)),
            source,
        })
    }

    /// The vault with a source of newer rings. When a call meets a store that has seen a newer ring
    /// than the vault has, the vault takes that from the source and the call goes on; without a
    /// source, or if it gives no newer ring, the call fails with [`VaultError::StaleRing`].
    #[must_use]
    pub fn with_ring_source(self, source: impl RingSource) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..self
        }
    }

    /// Goes on with `ring`: a newer generation of the ring that is in use. Calls that are under way
    /// go on, with the one or the other.
    ///
    /// # Errors
    /// As [`Vault::open`]; the vault then goes on with the ring that it has.
    pub async fn set_ring(&self, ring: KeyRing) -> Result<(), VaultError> {
        let state = Arc::new(RingState::new(ring)?);
        self.rings.announce(&state)?;
        let admitted = admit(&self.store, &state);
        match telemetry::watch(Call::SetRing, None, 1, admitted).await {
            Ok(state) => {
                self.rings.install(&Arc::new(state))?;
                telemetry::ring_in_use("set", &self.state()?.ring, (self.clock)());
                Ok(())
            }
            Err(error) => {
                self.rings.withdraw(&state)?;
                Err(error)
            }
        }
    }

    /// The store, for instance to close it. The calls that are under way have ended: they borrow
    /// the vault.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }

    /// The store, for what shares its transactions.
    pub(crate) const fn store(&self) -> &S {
        &self.store
    }

    /// The time by the vault's clock.
    pub(crate) fn now(&self) -> UnixSeconds {
        (self.clock)()
    }

    /// Sets the gauges of the keys' ages and of the time that is left to them, which opening the
    /// vault and [`Vault::set_ring`] set too: call it from time to time, or before they are read.
    ///
    /// # Errors
    /// [`VaultError::Broken`].
    #[cfg(feature = "metrics")]
    pub fn measure_keys(&self) -> Result<(), VaultError> {
        telemetry::measure_keys(&self.state()?.ring, (self.clock)());
        Ok(())
    }

    pub(crate) fn state(&self) -> Result<Arc<RingState>, VaultError> {
        self.rings.current()
    }

    /// Gives the vault's randomness to `work`.
    pub(crate) fn with_random<T>(
        &self,
        work: impl FnOnce(&mut NonceSource<R>, &mut R) -> T,
    ) -> Result<T, VaultError> {
        let mut random = self.random.lock().map_err(|_| VaultError::Broken)?;
        let Randomness { nonces, tokens } = &mut *random;
        Ok(work(nonces, tokens))
    }

    /// The whole store as of one moment, and the ring whose guard it has.
    pub(crate) async fn snapshot(&self) -> Result<(Arc<RingState>, S::Snapshot), VaultError>
    where
        S: SnapshotStore,
    {
        for _ in 0..TRIES {
            let mut snapshot = self.store.snapshot().await?;
            let guard = snapshot.guard().await?.ok_or(VaultError::OtherRing)?;
            let state = self.state()?;
            if guard == state.guard {
                return Ok((state, snapshot));
            }
            self.follow(&guard).await?;
        }
        Err(VaultError::Conflict)
    }

    /// Whether the store has another guard than the one of `state`: then the vault has gone over to
    /// its ring, and what was found under `state` is to be looked for again. If it has not, what was
    /// read before this call was the newest ring's too.
    ///
    /// # Errors
    /// [`VaultError::StaleRing`] if the newer ring is not to be had.
    pub(crate) async fn has_moved(&self, state: &RingState) -> Result<bool, VaultError> {
        let guard = self.store.guard().await?.ok_or(VaultError::OtherRing)?;
        if guard == state.guard {
            return Ok(false);
        }
        self.follow(&guard).await?;
        Ok(true)
    }

    /// Goes over to the ring and the guard that the store has seen.
    async fn follow(&self, guard: &Guard) -> Result<(), VaultError> {
        telemetry::guard_moved();
        let stale = match self.rings.follow(&RingSeen::from_guard(guard)?, guard) {
            Err(stale @ VaultError::StaleRing { .. }) => stale,
            followed => return followed,
        };
        let source = self.source.as_ref().ok_or(stale)?;
        self.set_ring(source.newest().ok_or(stale)?).await
    }

    /// Writes under the ring's guard. `None` if the vault has a newer ring meanwhile: then nothing
    /// was written, and the whole is to be done again with that ring.
    pub(crate) async fn write(
        &self,
        state: &RingState,
        writes: Vec<Write>,
    ) -> Result<Option<Vec<WriteOutcome>>, VaultError> {
        match self.store.write(Some(state.guard.clone()), writes).await {
            Err(StoreError::GuardChanged) => {
                let guard = self.store.guard().await?.ok_or(VaultError::OtherRing)?;
                self.follow(&guard).await?;
                Ok(None)
            }
            result => Ok(Some(result?)),
        }
    }

    async fn rows(
        &self,
        domain: &Domain,
        tokens: &[Token],
    ) -> Result<Vec<Option<Row>>, VaultError> {
        let keys = tokens
            .iter()
            .map(|token| row_key(domain, token))
            .collect::<Result<Vec<_>, _>>()?;
        for _ in 0..TRIES {
            let state = self.state()?;
            let rows = self.store.rows(keys.clone()).await?;
            // A newer ring may have the key of a row that this one lacks.
            let lacking = {
                let mut opener = RowOpener::new(&state, *domain);
                rows.iter().flatten().any(|row| opener.lacks(row))
            };
            if !lacking || !self.has_moved(&state).await? {
                return Ok(rows);
            }
        }
        Err(VaultError::Conflict)
    }

    async fn row(&self, domain: &Domain, token: &Token) -> Result<(RowKey, Row), VaultError> {
        let rows = self.rows(domain, core::slice::from_ref(token)).await?;
        let row = rows.into_iter().flatten().next();
        Ok((
            row_key(domain, token)?,
            row.ok_or(VaultError::UnknownToken)?,
        ))
    }

    /// What the index holds under the first of these keys, which is the one that is read.
    async fn indexed(&self, keys: &[IndexKey]) -> Result<Found, VaultError> {
        let read = keys.first().copied().into_iter().collect();
        let found = self.store.find(read).await?;
        Ok(found.into_iter().next().unwrap_or_default())
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Vault<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// [`admit`], with a newer ring of the source's if the store has seen one.
async fn admit_newest<S: Store>(
    store: &S,
    mut state: RingState,
    source: Option<&dyn RingSource>,
) -> Result<RingState, VaultError> {
    loop {
        let stale = match admit(store, &state).await {
            Err(stale @ VaultError::StaleRing { .. }) => stale,
            admitted => return admitted,
        };
        let newest = source.and_then(RingSource::newest).ok_or(stale)?;
        let newest = RingState::new(newest)?;
        if newest.seen.generation() <= state.seen.generation() {
            return Err(stale);
        }
        state = newest;
    }
}

/// Raises the store's guard to the ring's, or says why this ring may not be used. The ring under the
/// guard that the store has then.
async fn admit<S: Store>(store: &S, state: &RingState) -> Result<RingState, VaultError> {
    for _ in 0..TRIES {
        let expected = store.guard().await?;
        let (mut next, mut not_filled) = (state.seen, None);
        if let Some(guard) = &expected {
            let seen = RingSeen::from_guard(guard)?;
            match seen.followed_by(&state.seen) {
                Ok(followed) if seen.says(&followed) => {
                    return Ok(state.under(seen, guard.clone()));
                }
                Ok(followed) => next = followed,
                // While there is nothing to find, each version is as good as filled.
                Err(error @ VaultError::IndexNotFilled { .. }) => not_filled = Some(error),
                Err(error) => return Err(error),
            }
        }
        let guard = next.to_guard()?;
        let new = guard.clone();
        let write = match not_filled {
            None => Write::Guard {
                expected,
                guard: new,
            },
            Some(_) => Write::GuardOfEmpty {
                expected,
                guard: new,
                end: vault_end()?,
            },
        };
        match (&*store.write(None, vec![write]).await?, not_filled) {
            ([WriteOutcome::Guarded], _) => return Ok(state.under(next, guard)),
            ([WriteOutcome::NotEmpty], Some(error)) => return Err(error),
            _ => {}
        }
    }
    Err(VaultError::Conflict)
}
