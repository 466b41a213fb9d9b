//! A payment's history as evidence, and the check of its whole record.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::draft::Read;
use super::error::LedgerError;
use super::handle::{CONFLICT_TRIES, Cursor, Ledger, MAX_PAGE, Page};
use super::record::{HistoryEntry, Payment, PaymentId};
use super::row::{Kind, event_key, first_of, last_of, named_payment};
use crate::keys::Domain;
use crate::refund::{Action, RefundTotals};
use crate::vault::telemetry::{self, Call};
use crate::vault::{RingState, RowKey, Store};

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// The whole history of a payment, oldest first. Every event is checked, and that none is
    /// missing, added or out of its place.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPayment`], [`LedgerError::Tampered`]; the vault's.
    pub async fn history(
        &self,
        domain: &Domain,
        id: &PaymentId,
    ) -> Result<Vec<HistoryEntry>, LedgerError> {
        let call = async {
            for _ in 0..CONFLICT_TRIES {
                let state = self.vault().state()?;
                let read = self.read_payment(&state, domain, id).await?;
                match self.events(&state, domain, &read.value).await {
                    // Unless it was bound anew while it was read.
                    Err(LedgerError::Tampered)
                        if self.read_payment(&state, domain, id).await?.row != read.row => {}
                    events => return Ok(events?.into_iter().map(|(_, read)| read.value).collect()),
                }
            }
            Err(LedgerError::Conflict)
        };
        telemetry::watch(Call::History, domain, 1, call).await
    }

    /// Checks a payment's whole record: its row, its history, and that its sums are those of its
    /// requests.
    ///
    /// # Errors
    /// [`LedgerError::Tampered`] if anything does not agree; [`LedgerError::UnknownPayment`];
    /// the vault's.
    pub async fn audit(&self, domain: &Domain, id: &PaymentId) -> Result<Payment, LedgerError> {
        let call = async {
            for _ in 0..CONFLICT_TRIES {
                self.history(domain, id).await?;
                let payment = self.payment(domain, id).await?;
                let totals = self.totals(domain, &payment).await?;
                if totals == payment.refunds {
                    return Ok(payment);
                }
                // Unless it was changed while it was read.
                if self.payment(domain, id).await? == payment {
                    return Err(LedgerError::Tampered);
                }
            }
            Err(LedgerError::Conflict)
        };
        telemetry::watch(Call::Audit, domain, 1, call).await
    }

    /// [`Ledger::audit`] of the payments of all domains, at most `limit` and [`MAX_PAGE`] behind
    /// `after`, in the order of their domains and times: after a restore.
    ///
    /// # Errors
    /// As [`Ledger::audit`], for the first payment that does not agree: it is behind `after`.
    pub async fn audit_page(
        &self,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<(Domain, PaymentId)>, LedgerError> {
        let call = async {
            let (first, last) = (first_of(Kind::Payment)?, last_of(Kind::Payment)?);
            let (rows, next) = self.rows_between(first, last, after, limit).await?;
            let mut items = Vec::with_capacity(rows.len());
            for (key, _) in &rows {
                let (domain, id) = named_payment(key).ok_or(LedgerError::Tampered)?;
                self.audit(&domain, &id).await?;
                items.push((domain, id));
            }
            Ok(Page { items, next })
        };
        telemetry::watch(Call::AuditPage, None, 1, call).await
    }

    /// The events of a payment with their keys, oldest first: each follows on the one before it,
    /// and the payment on the last.
    pub(super) async fn events(
        &self,
        state: &RingState,
        domain: &Domain,
        payment: &Payment,
    ) -> Result<Vec<(RowKey, Read<HistoryEntry>)>, LedgerError> {
        let currency = payment.fields.amount.currency();
        let mut events = Vec::new();
        let mut chain = payment.origin;
        let mut revisions = 1..=payment.revision;
        loop {
            let page: Vec<u32> = revisions.by_ref().take(MAX_PAGE).collect();
            if page.is_empty() {
                break;
            }
            let keys = page
                .iter()
                .map(|revision| event_key(domain, payment, *revision))
                .collect::<Result<Vec<_>, _>>()?;
            let rows = self.vault().store().rows(keys.clone()).await?;
            for ((revision, key), row) in page.into_iter().zip(keys).zip(rows) {
                let row = row.ok_or(LedgerError::Tampered)?;
                let binder = self.binder_of(state, domain, Kind::Event, &row)?;
                let (value, before, tag) = binder.read_event(revision, currency, &key, &row)?;
                if before != chain {
                    return Err(LedgerError::Tampered);
                }
                chain = tag;
                events.push((key, Read { row, value }));
            }
        }
        // One more than the payment knows: its row is an older one.
        let behind = match payment.revision.checked_add(1) {
            Some(revision) => {
                let key = event_key(domain, payment, revision)?;
                self.vault().store().rows(vec![key]).await?.pop().flatten()
            }
            None => None,
        };
        if chain == payment.evidence && behind.is_none() {
            Ok(events)
        } else {
            Err(LedgerError::Tampered)
        }
    }

    /// The sums of a payment's requests.
    async fn totals(
        &self,
        domain: &Domain,
        payment: &Payment,
    ) -> Result<RefundTotals, LedgerError> {
        let mut totals = RefundTotals::none(payment.fields.amount);
        let mut after = None;
        loop {
            let page = self.requests(domain, &payment.id, after).await?;
            for record in &page.items {
                if record.action == Action::Refund {
                    totals = totals.with(record.amount, record.status)?;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(totals);
            }
        }
    }
}
