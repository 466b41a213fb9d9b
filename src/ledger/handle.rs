//! The ledger's handle: its vault and its keys, rows that are read, and groups that are written.
#![forbid(unsafe_code)]

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use rand_core::TryCryptoRng;

use super::draft::{Draft, Read};
use super::error::LedgerError;
use super::record::{Payment, PaymentId, RequestRecord};
use super::row::{Binder, Index, Kind, Stored, bound, end, key_version};
use crate::keys::{Domain, KeyError};
use crate::payment::{MerchantId, RefundNumber};
use crate::time::UnixSeconds;
use crate::vault::{
    Found, IndexKey, MAX_ALL, MAX_BATCH, RingState, Row, RowKey, Store, StoreError, SysRng, Vault,
    VaultError, Write, WriteOutcome,
};

/// How often a change is worked out anew because others changed the same rows. Each time one of
/// the others got on, so that many desks at one payment all get their turn.
pub const CONFLICT_TRIES: usize = 1_000;
/// The most payments or requests of one page.
pub const MAX_PAGE: usize = 1_000;
/// How many ledger keys are kept at hand.
const KEYS_AT_HAND: usize = 4_096;

/// Payments and what was done to them, in the store and the transactions of a [`Vault`].
///
/// Every call may be made from many threads and tasks at once. What a call has returned is
/// durable. Every row that a call uses is checked first.
pub struct Ledger<S, R = SysRng> {
    vault: Arc<Vault<S, R>>,
    keys: RwLock<Keys>,
}

/// Ledger keys of one generation of the ring.
#[derive(Default)]
struct Keys {
    generation: u64,
    binders: HashMap<(Domain, u32), Arc<Binder>>,
}

/// Where a page ends; give it back for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub(super) RowKey);

impl Cursor {
    /// The place as bytes, to go on from after a restart.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The place that [`Self::as_bytes`] gave.
    ///
    /// # Errors
    /// [`StoreError::Size`] for what no place is.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        RowKey::new(bytes).map(Self)
    }
}

/// Some of what was looked for, in the order of its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// The ledger beside `vault`. The ring needs an active ledger key.
    #[must_use]
    pub fn new(vault: Arc<Vault<S, R>>) -> Self {
        Self {
            vault,
            keys: RwLock::default(),
        }
    }

    /// The vault beside it.
    pub const fn vault(&self) -> &Arc<Vault<S, R>> {
        &self.vault
    }

    /// Those of `ids` that the ledger has.
    pub(super) async fn known(
        &self,
        state: &RingState,
        domain: &Domain,
        ids: &[PaymentId],
    ) -> Result<Vec<Option<Read<Payment>>>, LedgerError> {
        let keys = ids
            .iter()
            .map(|id| Index::Identity(id).key(domain))
            .collect::<Result<Vec<_>, _>>()?;
        let mut known = Vec::with_capacity(ids.len());
        for (ids, keys) in ids.chunks(MAX_BATCH).zip(keys.chunks(MAX_BATCH)) {
            let found = self.vault.store().find(keys.to_vec()).await?;
            for (id, found) in ids.iter().zip(found) {
                known.push(
                    self.unique(state, domain, Some(found), |payment: &Payment| {
                        payment.id == *id
                    })?,
                );
            }
        }
        Ok(known)
    }

    pub(super) async fn read_payment(
        &self,
        state: &RingState,
        domain: &Domain,
        id: &PaymentId,
    ) -> Result<Read<Payment>, LedgerError> {
        let mut known = self.known(state, domain, core::slice::from_ref(id)).await?;
        known.pop().flatten().ok_or(LedgerError::UnknownPayment)
    }

    pub(super) async fn read_request(
        &self,
        state: &RingState,
        domain: &Domain,
        merchant: &MerchantId,
        number: &RefundNumber,
    ) -> Result<Read<RequestRecord>, LedgerError> {
        let key = Index::Number(merchant, number).key(domain)?;
        let found = self.vault.store().find(vec![key]).await?.pop();
        self.unique(state, domain, found, |record: &RequestRecord| {
            record.is(merchant, number)
        })?
        .ok_or(LedgerError::UnknownRequest)
    }

    /// The row that an index key leads to alone, if it is the one that was asked for.
    pub(super) fn unique<T: Stored>(
        &self,
        state: &RingState,
        domain: &Domain,
        found: Option<Found>,
        is: impl FnOnce(&T) -> bool,
    ) -> Result<Option<Read<T>>, LedgerError> {
        let Some((key, row)) = found.and_then(|found| found.unique) else {
            return Ok(None);
        };
        let read = self.open(state, domain, key, row)?;
        if is(&read.value) {
            Ok(Some(read))
        } else {
            Err(LedgerError::Tampered)
        }
    }

    /// A row's content, if the row is what was bound there.
    pub(super) fn open<T: Stored>(
        &self,
        state: &RingState,
        domain: &Domain,
        key: RowKey,
        row: Row,
    ) -> Result<Read<T>, LedgerError> {
        let binder = self.binder_of(state, domain, T::KIND, &row)?;
        let value = binder.read(domain, &key, &row)?;
        Ok(Read { row, value })
    }

    /// The rows under an index key, read after the index: a row that went meanwhile is left out.
    pub(super) async fn linked(
        &self,
        key: IndexKey,
        after: Option<Cursor>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<(Vec<(RowKey, Row)>, Option<Cursor>), LedgerError> {
        let store = self.vault.store();
        let after = after.map(|cursor| cursor.0);
        let keys = store.others(key, after, end, limit).await?;
        let next = keys.last().filter(|_| keys.len() == limit);
        let next = next.map(|key| Cursor(*key));
        let rows = store.rows(keys.clone()).await?;
        let rows = keys.into_iter().zip(rows);
        let rows = rows.filter_map(|(key, row)| row.map(|row| (key, row)));
        Ok((rows.collect(), next))
    }

    /// Those whose row keys begin with a time from `from` to before `until`.
    pub(super) async fn between<T: Stored>(
        &self,
        domain: &Domain,
        from: UnixSeconds,
        until: UnixSeconds,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<T>, LedgerError> {
        let state = self.vault.state()?;
        let first = bound(T::KIND, domain, from)?;
        let last = if until.0 == u64::MAX {
            end(T::KIND, domain)?
        } else {
            bound(T::KIND, domain, until)?
        };
        let (rows, next) = self.rows_between(first, last, after, limit).await?;
        let open = |(key, row)| Ok(self.open(&state, domain, key, row)?.value);
        let items = rows
            .into_iter()
            .map(open)
            .collect::<Result<_, LedgerError>>()?;
        Ok(Page { items, next })
    }

    /// A page of the rows behind `first` and before `last`.
    pub(super) async fn rows_between(
        &self,
        first: RowKey,
        last: RowKey,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<(RowKey, Row)>, Option<Cursor>), LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let after = after.map_or(first, |cursor| cursor.0.max(first));
        let store = self.vault.store();
        let rows = store.scan(Some(after), Some(last), limit).await?;
        let next = rows.last().filter(|_| rows.len() == limit);
        let next = next.map(|(key, _)| Cursor(*key));
        Ok((rows, next))
    }

    /// The key that a row says it was bound under.
    pub(super) fn binder_of(
        &self,
        state: &RingState,
        domain: &Domain,
        kind: Kind,
        row: &Row,
    ) -> Result<Arc<Binder>, LedgerError> {
        let version = key_version(kind, row)?;
        let unknown = |result: &Result<_, LedgerError>| {
            use KeyError::UnknownVersion;
            matches!(
                result,
                Err(LedgerError::Vault(VaultError::Key(UnknownVersion { .. })))
            )
        };
        let mut binder = self.binder(state, domain, version);
        if unknown(&binder) {
            // The ring may have moved on since the call began.
            binder = self.binder(&*self.vault.state()?, domain, version);
        }
        if unknown(&binder) {
            // No key of this ring has that version: the row was changed.
            return Err(LedgerError::Tampered);
        }
        binder
    }

    pub(super) fn draft<'a>(
        &self,
        state: &RingState,
        domain: &'a Domain,
    ) -> Result<Draft<'a>, LedgerError> {
        let now = self.vault.now();
        let key = state.ring.ledger_key(domain, now)?;
        let binder = Binder::new(key.secret(), key.name().version);
        Ok(Draft::new(Arc::new(binder), domain, now))
    }

    /// Writes a group. `false`: something in it was changed by others meanwhile.
    pub(super) async fn apply(
        &self,
        state: &RingState,
        writes: Vec<Write>,
    ) -> Result<bool, LedgerError> {
        if writes.is_empty() {
            return Ok(true);
        }
        if writes.len() > MAX_ALL {
            return Err(LedgerError::TooMany { len: writes.len() });
        }
        let outcomes = self.vault.write(state, vec![Write::All(writes)]).await?;
        match outcomes.as_deref() {
            Some([WriteOutcome::All(_)]) => Ok(true),
            _ => Ok(false),
        }
    }

    fn binder(
        &self,
        state: &RingState,
        domain: &Domain,
        version: u32,
    ) -> Result<Arc<Binder>, LedgerError> {
        let generation = state.ring.generation();
        {
            let keys = self.keys.read().map_err(|_| VaultError::Broken)?;
            if keys.generation == generation
                && let Some(binder) = keys.binders.get(&(*domain, version))
            {
                return Ok(Arc::clone(binder));
            }
        }
        let key = state.ring.ledger_key_of(domain, version)?;
        let binder = Arc::new(Binder::new(key.secret(), version));
        let mut keys = self.keys.write().map_err(|_| VaultError::Broken)?;
        if keys.generation != generation || keys.binders.len() >= KEYS_AT_HAND {
            keys.binders.clear();
            keys.generation = generation;
        }
        keys.binders.insert((*domain, version), Arc::clone(&binder));
        Ok(binder)
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Ledger<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}
