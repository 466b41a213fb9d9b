//! Rows under a retired ledger key, bound anew under the active one, so that the retired one can be
//! destroyed.
//!
//! A payment and all of its events are bound anew together or not at all, since each event's tag
//! stands in the next one. A row that does not open, or a history that does not agree, is left as
//! it is: nothing that was changed gets a good tag.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::draft::Read;
use super::error::LedgerError;
use super::handle::{Cursor, Ledger, MAX_PAGE};
use super::record::{Payment, RequestRecord};
use super::row::{Binder, Kind, domain_of, first_of, key_version, last_of};
use crate::keys::{Domain, KeyError, KeyName, KeyRing, KeyUse};
#[cfg(doc)]
use crate::vault::Vault;
use crate::vault::telemetry::{self, Call};
use crate::vault::{
    Elsewhere, MAX_ALL, MAX_BATCH, Needed, RingState, Row, RowKey, Store, VaultError, Write,
    WriteOutcome, has_been_used,
};

/// What one step of [`Ledger::rebind`] did. A payment counts as one with its history, a request
/// as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebound {
    /// How many were looked at.
    pub seen: u64,
    /// How many were bound anew under the active version.
    pub moved: u64,
    /// How many could not be: they are not what the ledger wrote, their key is destroyed, they
    /// changed meanwhile, or their history has more than 4,999 events.
    pub left: u64,
    /// Where the next step goes on; none at the end.
    pub cursor: Option<Cursor>,
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// Binds the rows of at most `limit` payments or requests after `after` anew under the active
    /// ledger key of their domains, of all domains; [`MAX_PAGE`] at most. What is there already is
    /// left alone. Start without a cursor, and go on with the one returned until there is none.
    ///
    /// Once a whole pass has `left` nothing, no row needs an older version, and those versions can
    /// be destroyed. The history is as before; only its tags are others.
    ///
    /// # Errors
    /// The vault's. What was committed before stays: give the same cursor again.
    pub async fn rebind(
        &self,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Rebound, LedgerError> {
        let call = async {
            let state = self.vault().state()?;
            let limit = limit.clamp(1, MAX_PAGE);
            let requests = first_of(Kind::Request)?;
            let after = after.map_or_else(|| first_of(Kind::Payment), |cursor| Ok(cursor.0))?;
            let (kind, end) = if after < requests {
                (Kind::Payment, last_of(Kind::Payment)?)
            } else {
                (Kind::Request, last_of(Kind::Request)?)
            };
            let page = self
                .vault()
                .store()
                .scan(Some(after), Some(end), limit)
                .await?;
            let mut step = Rebound {
                seen: 0,
                moved: 0,
                left: 0,
                cursor: match page.last() {
                    Some((key, _)) if page.len() == limit => Some(Cursor(*key)),
                    _ => (kind == Kind::Payment).then_some(Cursor(requests)),
                },
            };
            let (mut groups, mut weight) = (Vec::new(), 0);
            for (key, row) in page {
                step.seen += 1;
                let writes = match domain_of(&key) {
                    Some(domain) => sound(self.rebound(&state, &domain, kind, key, row).await)?,
                    None => None,
                };
                let Some(writes) = writes.filter(|writes| writes.len() <= MAX_ALL) else {
                    step.left += 1;
                    continue;
                };
                if weight + writes.len() > MAX_BATCH {
                    self.rebind_groups(&state, core::mem::take(&mut groups), &mut step)
                        .await?;
                    weight = 0;
                }
                if !writes.is_empty() {
                    weight += writes.len();
                    groups.push(Write::All(writes));
                }
            }
            self.rebind_groups(&state, groups, &mut step).await?;
            Ok(step)
        };
        let step: Result<_, LedgerError> = telemetry::watch(Call::Rebind, None, 1, call).await;
        let step = step?;
        let rows = [
            ("seen", step.seen),
            ("changed", step.moved),
            ("left", step.left),
        ];
        telemetry::step(Call::Rebind, rows);
        Ok(step)
    }

    /// [`Vault::needed`], also for ledger versions: how many rows of payments, requests and events
    /// are bound under it.
    ///
    /// # Errors
    /// As [`Vault::needed`].
    pub async fn needed(&self, name: KeyName) -> Result<Needed, LedgerError> {
        let call = async {
            let vault = self.vault();
            if name.usage != KeyUse::Ledger {
                return Ok(vault.needed(name).await?);
            }
            if !has_been_used(&vault.seen_state().await?.ring, name)? {
                return Ok(Needed::of(name, Some(0)));
            }
            let mut rows = 0;
            for kind in [Kind::Payment, Kind::Event, Kind::Request] {
                let is = |_: &RowKey, row: &Row| Ok(key_version(kind, row) == Ok(name.version));
                let (first, last) = (first_of(kind)?, last_of(kind)?);
                rows += vault.count_rows(Some(first), last, is).await?;
            }
            Ok(Needed::of(name, Some(rows)))
        };
        telemetry::watch(Call::LedgerNeeded, None, 1, call).await
    }

    /// [`Vault::destroy_key`], also for ledger versions.
    ///
    /// # Errors
    /// As [`Vault::destroy_key`].
    pub async fn destroy_key(
        &self,
        ring: &mut KeyRing,
        name: KeyName,
        elsewhere: Elsewhere,
    ) -> Result<(), LedgerError> {
        let call = async {
            let vault = self.vault();
            vault.check_destroyable(ring, name).await?;
            let needed = self.needed(name).await?;
            Ok(vault.destroy_unneeded(ring, needed, elsewhere)?)
        };
        telemetry::watch(Call::LedgerDestroyKey, None, 1, call).await
    }

    /// Writes groups, each by itself, and counts them.
    async fn rebind_groups(
        &self,
        state: &RingState,
        groups: Vec<Write>,
        step: &mut Rebound,
    ) -> Result<(), LedgerError> {
        if groups.is_empty() {
            return Ok(());
        }
        let count = u64::try_from(groups.len()).unwrap_or(u64::MAX);
        let outcomes = self.vault().write(state, groups).await?;
        let moved = outcomes.into_iter().flatten();
        let moved = moved.filter(WriteOutcome::is_applied).count();
        let moved = u64::try_from(moved).unwrap_or(u64::MAX);
        step.moved += moved;
        // The others changed, or the ring moved on: the next pass takes them along.
        step.left += count.saturating_sub(moved);
        Ok(())
    }

    /// What binds a payment or a request anew: nothing if it is there already.
    async fn rebound(
        &self,
        state: &RingState,
        domain: &Domain,
        kind: Kind,
        key: RowKey,
        row: Row,
    ) -> Result<Vec<Write>, LedgerError> {
        let active = state.ring.ledger_key(domain, self.vault().now())?;
        let version = active.name().version;
        let binder = Binder::new(active.secret(), version);
        let is_there = |kind, row: &Row| key_version(kind, row) == Ok(version);
        let replace = |token, expected, row| Write::Replace {
            token,
            expected,
            row,
        };
        if kind == Kind::Request {
            if is_there(kind, &row) {
                return Ok(Vec::new());
            }
            let read: Read<RequestRecord> = self.open(state, domain, key, row)?;
            let fresh = binder.row(&key, &read.value)?;
            return Ok(vec![replace(key, read.row, fresh)]);
        }
        let read: Read<Payment> = self.open(state, domain, key, row)?;
        let events = self.events(state, domain, &read.value).await?;
        let mut rows = events.iter().map(|(_, event)| &event.row);
        if is_there(kind, &read.row) && rows.all(|row| is_there(Kind::Event, row)) {
            return Ok(Vec::new());
        }
        let mut payment = read.value;
        payment.evidence = payment.origin;
        let mut writes = Vec::with_capacity(events.len() + 1);
        for (key, event) in events {
            let (fresh, tag) = binder.event(&key, &event.value, &payment.evidence)?;
            payment.evidence = tag;
            writes.push(replace(key, event.row, fresh));
        }
        writes.push(replace(key, read.row, binder.row(&key, &payment)?));
        Ok(writes)
    }
}

/// None for rows that cannot be bound anew for what they are; an error for what the ring or the
/// store is.
fn sound<T>(result: Result<T, LedgerError>) -> Result<Option<T>, LedgerError> {
    match result {
        Err(
            LedgerError::Tampered | LedgerError::Vault(VaultError::Key(KeyError::Destroyed { .. })),
        ) => Ok(None),
        result => result.map(Some),
    }
}
