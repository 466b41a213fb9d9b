//! What is asked for: put before the rules, recorded, and listed.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::error::LedgerError;
use super::handle::{CONFLICT_TRIES, Cursor, Ledger, MAX_PAGE, Page};
use super::record::{Payment, PaymentId, RequestRecord, Source};
use super::row::{Index, Kind, bound, waits};
use crate::keys::Domain;
use crate::payment::{MerchantId, RefundNumber};
use crate::refund::{
    Deadlines, Decision, Due, Earlier, Policy, RefundEvent, RefundStatus, Request, decide,
};
use crate::time::UnixSeconds;
use crate::vault::Store;
use crate::vault::telemetry::{self, Call};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The request as it stands. If it was not repeated, send it.
    pub record: RequestRecord,
    /// It was asked before under this number: nothing is to be sent.
    pub repeated: bool,
}

/// A request that waits for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueRequest {
    /// The request.
    pub record: RequestRecord,
    /// For what, and until when.
    pub due: Due,
    /// Whether that time is over.
    pub overdue: bool,
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// Asks for a void, a refund, a reversal or a completion of the payment `id`. What the rules
    /// approve is recorded before it may be sent, in one transaction with the look at what is
    /// left: two desks at once never get more than the payment.
    ///
    /// The same request under the same number gets the first answer; only after a failure is it
    /// submitted again.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] with the rules' reason; [`LedgerError::Conflict`];
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn request(
        &self,
        domain: &Domain,
        id: &PaymentId,
        policy: &Policy,
        request: &Request,
    ) -> Result<Requested, LedgerError> {
        let call = async {
            for _ in 0..CONFLICT_TRIES {
                let state = self.vault().state()?;
                let number = Index::Number(&request.merchant, &request.number).key(domain)?;
                let keys = vec![Index::Identity(id).key(domain)?, number];
                // One read, so that both are of one moment.
                let mut found = self.vault().store().find(keys).await?.into_iter();
                let payment = self.unique(&state, domain, found.next(), |payment: &Payment| {
                    payment.id == *id
                })?;
                let earlier =
                    self.unique(&state, domain, found.next(), |record: &RequestRecord| {
                        record.is(&request.merchant, &request.number)
                    })?;
                let original = payment.as_ref().map(|read| read.value.original());
                let known = earlier.as_ref().map(|read| Earlier {
                    action: read.value.action,
                    amount: read.value.amount,
                    same_original: read.value.payment == *id,
                    status: read.value.status,
                });
                let approved = match decide(policy, original.as_ref(), request, known.as_ref())? {
                    Decision::Approved(approved) => approved,
                    Decision::Repeat(_) => {
                        let record = earlier.ok_or(LedgerError::Tampered)?.value;
                        return Ok(Requested {
                            record,
                            repeated: true,
                        });
                    }
                };
                let mut draft = self.draft(&state, domain)?;
                draft.load_payment(payment.ok_or(LedgerError::UnknownPayment)?);
                let record = match earlier {
                    None => {
                        let now = self.vault().now();
                        let record = RequestRecord {
                            number: approved.number(),
                            merchant: request.merchant,
                            payment: *id,
                            action: approved.action(),
                            amount: approved.amount(),
                            status: RefundStatus::Requested,
                            authority: approved.authority(),
                            source: Source::Desk,
                            terminal: request.terminal,
                            requested: now,
                            since: now,
                            tries: 1,
                            rrn: None,
                        };
                        draft.ask(record, Source::Desk)?;
                        record
                    }
                    Some(read) => {
                        draft.load_request(read.clone());
                        let before = RequestRecord {
                            authority: approved.authority(),
                            source: Source::Desk,
                            terminal: request.terminal,
                            // That was the failed one's.
                            rrn: None,
                            ..read.value
                        };
                        draft.progress(&before, RefundEvent::Resubmitted, Source::Desk)?
                    }
                };
                if self.apply(&state, draft.writes()?).await? {
                    return Ok(Requested {
                        record,
                        repeated: false,
                    });
                }
            }
            Err(LedgerError::Conflict)
        };
        telemetry::watch(Call::Request, domain, 1, call).await
    }

    /// The request under a merchant's number.
    ///
    /// # Errors
    /// [`LedgerError::UnknownRequest`], [`LedgerError::Tampered`]; the vault's.
    pub async fn request_of(
        &self,
        domain: &Domain,
        merchant: &MerchantId,
        number: &RefundNumber,
    ) -> Result<RequestRecord, LedgerError> {
        let call = async {
            let state = self.vault().state()?;
            let read = self.read_request(&state, domain, merchant, number).await?;
            Ok(read.value)
        };
        telemetry::watch(Call::RequestOf, domain, 1, call).await
    }

    /// What was asked for of a payment, oldest first: at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn requests(
        &self,
        domain: &Domain,
        id: &PaymentId,
        after: Option<Cursor>,
    ) -> Result<Page<RequestRecord>, LedgerError> {
        let call = async {
            let state = self.vault().state()?;
            let key = Index::Requests(id).key(domain)?;
            let (rows, next) = self.linked(key, after, None, MAX_PAGE).await?;
            let mut items = Vec::with_capacity(rows.len());
            for (key, row) in rows {
                let read = self.open::<RequestRecord>(&state, domain, key, row)?;
                if read.value.payment != *id {
                    return Err(LedgerError::Tampered);
                }
                items.push(read.value);
            }
            Ok(Page { items, next })
        };
        telemetry::watch(Call::Requests, domain, 1, call).await
    }

    /// What was asked for from `from` to before `until`, at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn requests_between(
        &self,
        domain: &Domain,
        from: UnixSeconds,
        until: UnixSeconds,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<RequestRecord>, LedgerError> {
        let call = async { self.between(domain, from, until, after, limit).await };
        telemetry::watch(Call::RequestsBetween, domain, 1, call).await
    }

    /// The requests that wait for something, of those that were asked for before `until`: oldest
    /// first, at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn due(
        &self,
        domain: &Domain,
        deadlines: &Deadlines,
        until: UnixSeconds,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<DueRequest>, LedgerError> {
        let call = async {
            let state = self.vault().state()?;
            let (limit, now) = (limit.clamp(1, MAX_PAGE), self.vault().now());
            let last = bound(Kind::Request, domain, until)?;
            let key = Index::Open.key(domain)?;
            let (rows, next) = self.linked(key, after, Some(last), limit).await?;
            let mut items = Vec::with_capacity(rows.len());
            for (key, row) in rows {
                let record = self.open::<RequestRecord>(&state, domain, key, row)?.value;
                let due = deadlines
                    .due(record.status, record.since)
                    .filter(|_| waits(&record));
                let overdue = deadlines
                    .overdue(record.status, record.since, now)
                    .is_some();
                // Else it ended after the index was read.
                if let Some(due) = due {
                    items.push(DueRequest {
                        record,
                        due,
                        overdue,
                    });
                }
            }
            Ok(Page { items, next })
        };
        telemetry::watch(Call::Due, domain, 1, call).await
    }
}
