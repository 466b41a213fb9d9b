//! What a ledger does: payments in, found again, and acted on by the refund rules.
#![forbid(unsafe_code)]

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use rand_core::TryCryptoRng;

use super::draft::{Draft, Read};
use super::error::LedgerError;
use super::record::{Answer, HistoryEntry, NewPayment, Payment, PaymentId, RequestRecord, Source};
use super::row::{
    Binder, Index, Kind, bound, end, event_key, first_payment, key_version, last_payment,
    named_payment, origin, waits,
};
use crate::card::Pan;
use crate::keys::{Domain, KeyError};
use crate::payment::{
    BatchNumber, Date, MerchantId, OrderNumber, Par, RefundNumber, Rrn, TerminalId, Voucher,
};
use crate::refund::{
    Action, BatchState, CardMatch, Deadlines, Decision, Due, Earlier, PaymentEvent, PaymentState,
    Policy, RefundEvent, RefundStatus, RefundTotals, Request, decide,
};
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::{
    Access, Found, IndexKey, MAX_ALL, MAX_BATCH, RingState, Row, RowKey, Store, SysRng, Vault,
    VaultError, Write, WriteOutcome,
};

/// How often a change is worked out anew because others changed the same rows. Each time one of
/// the others got on, so that many desks at one payment all get their turn.
pub const CONFLICT_TRIES: usize = 1_000;
/// The most payments of one call to [`Ledger::record_batch`] and of one import.
pub const MAX_ENTRIES: usize = 400;
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

/// By what payments are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// The card's token.
    Token(Token),
    /// The reference number and the day: the merchant's or the clearing date.
    Rrn(Rrn, Date),
    /// What the receipt shows. More than one payment only where batch numbers came round.
    Voucher(TerminalId, BatchNumber, Voucher),
    /// The order number of a QR payment.
    Order(OrderNumber),
    /// A terminal's batch.
    Batch(TerminalId, BatchNumber),
    /// Payments whose outcome is unknown.
    InDoubt,
}

/// Where a page ends; give it back for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(RowKey);

/// Some of what was looked for, in the order of its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

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

/// A change of a payment that no request leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The cardholder disputes it.
    Disputed,
    /// The dispute ended for the merchant.
    DisputeWon,
    /// The dispute ended against the merchant.
    DisputeLost,
    /// The completion of this pre-authorization was voided or reversed.
    CompletionUndone,
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

    /// Records a payment. The same payment again is the same answer.
    ///
    /// # Errors
    /// [`LedgerError::OtherContent`] if its identity stands for another payment; the vault's.
    pub async fn record(
        &self,
        domain: &Domain,
        payment: &NewPayment,
        source: Source,
    ) -> Result<Payment, LedgerError> {
        self.record_batch(domain, core::slice::from_ref(payment), source)
            .await?;
        self.payment(domain, &payment.id).await
    }

    /// Records at most [`MAX_ENTRIES`] payments, all or none. How many were new.
    ///
    /// # Errors
    /// As [`Ledger::record`]; [`LedgerError::TooMany`].
    pub async fn record_batch(
        &self,
        domain: &Domain,
        payments: &[NewPayment],
        source: Source,
    ) -> Result<usize, LedgerError> {
        check_entries(payments.len())?;
        for _ in 0..CONFLICT_TRIES {
            let state = self.vault.state()?;
            let ids: Vec<_> = payments.iter().map(|payment| payment.id).collect();
            let known = self.known(&state, domain, &ids).await?;
            let mut draft = self.draft(&state, domain)?;
            let new = add_new(&mut draft, payments, known, source)?;
            if self.apply(&state, draft.writes()?).await? {
                return Ok(new);
            }
        }
        Err(LedgerError::Conflict)
    }

    /// The payment of this identity.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPayment`], [`LedgerError::Tampered`]; the vault's.
    pub async fn payment(&self, domain: &Domain, id: &PaymentId) -> Result<Payment, LedgerError> {
        let state = self.vault.state()?;
        let read = self.read_payment(&state, domain, id).await?;
        Ok(read.value)
    }

    /// Payments by what is known of them, oldest first, at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn find(
        &self,
        domain: &Domain,
        by: &Lookup,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Payment>, LedgerError> {
        let state = self.vault.state()?;
        let limit = limit.clamp(1, MAX_PAGE);
        let key = by.index().key(domain)?;
        let (rows, next) = self.linked(key, after, None, limit).await?;
        let mut items = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let read = self.open_payment(&state, domain, key, row)?;
            if by.names(&read.value) {
                items.push(read.value);
            } else if *by != Lookup::InDoubt {
                return Err(LedgerError::Tampered);
            }
            // Else it was resolved after the index was read.
        }
        Ok(Page { items, next })
    }

    /// The payments of a card, by the tokens that the vault has for it: of each token the oldest
    /// `limit`, at most [`MAX_PAGE`]. The access is logged by the vault.
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn find_card(
        &self,
        access: &Access,
        domain: &Domain,
        pan: &Pan,
        limit: usize,
    ) -> Result<Vec<Payment>, LedgerError> {
        let known = self.vault.find(access, domain, pan).await?;
        let mut payments = Vec::new();
        for token in known.tokens {
            let page = self
                .find(domain, &Lookup::Token(token), None, limit)
                .await?;
            payments.extend(page.items);
        }
        payments.sort_by_key(|payment| (payment.time, payment.id));
        Ok(payments)
    }

    /// The payments from `from` to before `until`, in the order of their time, at most `limit`
    /// and [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn payments(
        &self,
        domain: &Domain,
        from: UnixSeconds,
        until: UnixSeconds,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Payment>, LedgerError> {
        let state = self.vault.state()?;
        let (rows, next) = self
            .scanned(Kind::Payment, domain, from, until, after, limit)
            .await?;
        let open = |(key, row)| Ok(self.open_payment(&state, domain, key, row)?.value);
        let items = rows
            .into_iter()
            .map(open)
            .collect::<Result<_, LedgerError>>()?;
        Ok(Page { items, next })
    }

    /// What comparing a presented card with the one that paid gives. PARs decide where both are
    /// known; else the card numbers, through the payment's token. The access is logged.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPayment`], [`LedgerError::Tampered`]; the vault's.
    pub async fn compare(
        &self,
        access: &Access,
        domain: &Domain,
        id: &PaymentId,
        pan: &Pan,
        par: Option<&Par>,
    ) -> Result<CardMatch, LedgerError> {
        let payment = self.payment(domain, id).await?;
        if let (Some(original), Some(presented)) = (&payment.fields.par, par) {
            return Ok(if original == presented {
                CardMatch::ParSame
            } else {
                CardMatch::ParDifferent
            });
        }
        let Some(token) = &payment.token else {
            return Ok(CardMatch::Different);
        };
        Ok(match self.vault.is_card(access, domain, token, pan).await {
            Ok(true) => CardMatch::Same,
            // A token that was taken out of the vault can be compared with nothing.
            Ok(false) | Err(VaultError::UnknownToken) => CardMatch::Different,
            Err(error) => return Err(error.into()),
        })
    }

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
        for _ in 0..CONFLICT_TRIES {
            let state = self.vault.state()?;
            let number = Index::Number(&request.merchant, &request.number).key(domain)?;
            let keys = vec![Index::Identity(id).key(domain)?, number];
            // One read, so that both are of one moment.
            let mut found = self.vault.store().find(keys).await?.into_iter();
            let payment = self.unique_payment(&state, domain, id, found.next())?;
            let earlier = self.unique_request(
                &state,
                domain,
                &request.merchant,
                &request.number,
                found.next(),
            )?;
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
                    let now = self.vault.now();
                    let record = RequestRecord {
                        number: approved.number(),
                        merchant: request.merchant,
                        payment: *id,
                        action: approved.action(),
                        amount: approved.amount(),
                        status: RefundStatus::Requested,
                        authority: approved.authority(),
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
                        terminal: request.terminal,
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
    }

    /// Brings a request further: accepted, settled, failed, or no answer. An event that was told
    /// before changes nothing.
    ///
    /// # Errors
    /// [`LedgerError::UnknownRequest`]; [`LedgerError::Transition`] for an event that cannot
    /// follow, and for a resubmission, which is a request; [`LedgerError::Tampered`]; the
    /// vault's.
    pub async fn progress(
        &self,
        domain: &Domain,
        merchant: &MerchantId,
        number: &RefundNumber,
        event: RefundEvent,
        source: Source,
        rrn: Option<Rrn>,
    ) -> Result<RequestRecord, LedgerError> {
        let target = match event {
            RefundEvent::Accepted => RefundStatus::Accepted,
            RefundEvent::Settled => RefundStatus::Settled,
            RefundEvent::Failed => RefundStatus::Failed,
            RefundEvent::NoAnswer => RefundStatus::InDoubt,
            RefundEvent::Resubmitted => return Err(LedgerError::Transition),
        };
        for _ in 0..CONFLICT_TRIES {
            let state = self.vault.state()?;
            let read = self.read_request(&state, domain, merchant, number).await?;
            if read.value.status == target {
                return Ok(read.value);
            }
            let payment = self
                .read_payment(&state, domain, &read.value.payment)
                .await?;
            let mut draft = self.draft(&state, domain)?;
            draft.load_payment(payment);
            let record = RequestRecord {
                rrn: read.value.rrn.or(rrn),
                ..read.value
            };
            draft.load_request(read);
            let record = draft.progress(&record, event, source)?;
            if self.apply(&state, draft.writes()?).await? {
                return Ok(record);
            }
        }
        Err(LedgerError::Conflict)
    }

    /// Resolves a payment in doubt by what an inquiry or a settlement file says.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPayment`]; [`LedgerError::Transition`] if its outcome is known, and
    /// is another; [`LedgerError::Tampered`]; the vault's.
    pub async fn resolve(
        &self,
        domain: &Domain,
        id: &PaymentId,
        answer: &Answer,
        source: Source,
    ) -> Result<Payment, LedgerError> {
        let event = if answer.response.is_approved() {
            PaymentEvent::FoundApproved
        } else {
            PaymentEvent::FoundDeclined
        };
        self.change_with(domain, id, |draft, payment| {
            // Told before, with this outcome.
            if payment.fields.response == Some(answer.response) {
                return Ok(());
            }
            draft.learn(id, answer)?;
            draft.happen(id, event, source)
        })
        .await
    }

    /// Records a dispute, its end, or that a completion was undone.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPayment`]; [`LedgerError::Transition`]; [`LedgerError::Tampered`];
    /// the vault's.
    pub async fn change(
        &self,
        domain: &Domain,
        id: &PaymentId,
        change: Change,
        source: Source,
    ) -> Result<Payment, LedgerError> {
        self.change_with(domain, id, |draft, payment| {
            let level = payment.refunds.level(payment.fields.amount);
            let event = match change {
                Change::Disputed => PaymentEvent::Disputed,
                Change::DisputeWon => PaymentEvent::DisputeWon(level),
                Change::DisputeLost => PaymentEvent::DisputeLost,
                Change::CompletionUndone => PaymentEvent::CompletionUndone,
            };
            draft.happen(id, event, source)
        })
        .await
    }

    /// Marks every payment of a terminal's batch as settled: none of them can be voided any
    /// more. How many were marked; those that were before are left alone.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`]; [`LedgerError::Tampered`]; the vault's. Batches of more than
    /// [`MAX_ENTRIES`] payments are marked in several transactions: call again after an error.
    pub async fn settle_batch(
        &self,
        domain: &Domain,
        terminal: &TerminalId,
        batch: BatchNumber,
        source: Source,
    ) -> Result<usize, LedgerError> {
        let by = Lookup::Batch(*terminal, batch);
        let (mut after, mut settled, mut tries) = (None, 0, 0);
        loop {
            let state = self.vault.state()?;
            let key = by.index().key(domain)?;
            let (rows, next) = self.linked(key, after, None, MAX_ENTRIES).await?;
            let mut draft = self.draft(&state, domain)?;
            let mut marked = 0;
            for (key, row) in rows {
                let read = self.open_payment(&state, domain, key, row)?;
                let (id, batch) = (read.value.id, read.value.batch);
                if !by.names(&read.value) {
                    return Err(LedgerError::Tampered);
                }
                if batch == BatchState::Open {
                    draft.load_payment(read);
                    draft.settle_batch(&id, source)?;
                    marked += 1;
                }
            }
            if !self.apply(&state, draft.writes()?).await? {
                tries += 1;
                if tries == CONFLICT_TRIES {
                    return Err(LedgerError::Conflict);
                }
                continue;
            }
            settled += marked;
            match next {
                Some(_) => after = next,
                None => return Ok(settled),
            }
        }
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
        let state = self.vault.state()?;
        let read = self.read_request(&state, domain, merchant, number).await?;
        Ok(read.value)
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
        let state = self.vault.state()?;
        let key = Index::Requests(id).key(domain)?;
        let (rows, next) = self.linked(key, after, None, MAX_PAGE).await?;
        let mut items = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let read = self.open_request(&state, domain, key, row)?;
            if read.value.payment != *id {
                return Err(LedgerError::Tampered);
            }
            items.push(read.value);
        }
        Ok(Page { items, next })
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
        let state = self.vault.state()?;
        let (rows, next) = self
            .scanned(Kind::Request, domain, from, until, after, limit)
            .await?;
        let open = |(key, row)| Ok(self.open_request(&state, domain, key, row)?.value);
        let items = rows
            .into_iter()
            .map(open)
            .collect::<Result<_, LedgerError>>()?;
        Ok(Page { items, next })
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
        let state = self.vault.state()?;
        let (limit, now) = (limit.clamp(1, MAX_PAGE), self.vault.now());
        let last = bound(Kind::Request, domain, until)?;
        let key = Index::Open.key(domain)?;
        let (rows, next) = self.linked(key, after, Some(last), limit).await?;
        let mut items = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let record = self.open_request(&state, domain, key, row)?.value;
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
    }

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
        let state = self.vault.state()?;
        let payment = self.read_payment(&state, domain, id).await?.value;
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
                .map(|revision| event_key(domain, &payment, *revision))
                .collect::<Result<Vec<_>, _>>()?;
            let rows = self.vault.store().rows(keys.clone()).await?;
            for ((revision, key), row) in page.into_iter().zip(keys).zip(rows) {
                let row = row.ok_or(LedgerError::Tampered)?;
                let binder = self.binder_of(&state, domain, Kind::Event, &row)?;
                let (event, before, tag) = binder.read_event(revision, currency, &key, &row)?;
                if before != chain {
                    return Err(LedgerError::Tampered);
                }
                chain = tag;
                events.push(event);
            }
        }
        if chain == payment.evidence {
            Ok(events)
        } else {
            Err(LedgerError::Tampered)
        }
    }

    /// Checks a payment's whole record: its row, its history, and that its sums are those of its
    /// requests.
    ///
    /// # Errors
    /// [`LedgerError::Tampered`] if anything does not agree; [`LedgerError::UnknownPayment`];
    /// the vault's.
    pub async fn audit(&self, domain: &Domain, id: &PaymentId) -> Result<Payment, LedgerError> {
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
        let limit = limit.clamp(1, MAX_PAGE);
        let after = match after {
            Some(cursor) => cursor.0,
            None => first_payment()?,
        };
        let store = self.vault.store();
        let rows = store
            .scan(Some(after), Some(last_payment()?), limit)
            .await?;
        let next = rows.last().filter(|_| rows.len() == limit);
        let next = next.map(|(key, _)| Cursor(*key));
        let mut items = Vec::with_capacity(rows.len());
        for (key, _) in &rows {
            let (domain, id) = named_payment(key).ok_or(LedgerError::Tampered)?;
            self.audit(&domain, &id).await?;
            items.push((domain, id));
        }
        Ok(Page { items, next })
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

    /// Works out a change of one payment until it can be written.
    async fn change_with(
        &self,
        domain: &Domain,
        id: &PaymentId,
        work: impl Fn(&mut Draft<'_>, &Payment) -> Result<(), LedgerError>,
    ) -> Result<Payment, LedgerError> {
        for _ in 0..CONFLICT_TRIES {
            let state = self.vault.state()?;
            let read = self.read_payment(&state, domain, id).await?;
            let before = read.value;
            let mut draft = self.draft(&state, domain)?;
            draft.load_payment(read);
            work(&mut draft, &before)?;
            let after = *draft.payment(id).ok_or(LedgerError::UnknownPayment)?;
            if self.apply(&state, draft.writes()?).await? {
                return Ok(after);
            }
        }
        Err(LedgerError::Conflict)
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
                known.push(self.unique_payment(state, domain, id, Some(found))?);
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
        self.unique_request(state, domain, merchant, number, found)?
            .ok_or(LedgerError::UnknownRequest)
    }

    fn unique_payment(
        &self,
        state: &RingState,
        domain: &Domain,
        id: &PaymentId,
        found: Option<Found>,
    ) -> Result<Option<Read<Payment>>, LedgerError> {
        let Some((key, row)) = found.and_then(|found| found.unique) else {
            return Ok(None);
        };
        let read = self.open_payment(state, domain, key, row)?;
        if read.value.id == *id {
            Ok(Some(read))
        } else {
            Err(LedgerError::Tampered)
        }
    }

    fn unique_request(
        &self,
        state: &RingState,
        domain: &Domain,
        merchant: &MerchantId,
        number: &RefundNumber,
        found: Option<Found>,
    ) -> Result<Option<Read<RequestRecord>>, LedgerError> {
        let Some((key, row)) = found.and_then(|found| found.unique) else {
            return Ok(None);
        };
        let read = self.open_request(state, domain, key, row)?;
        if read.value.merchant == *merchant && read.value.number == *number {
            Ok(Some(read))
        } else {
            Err(LedgerError::Tampered)
        }
    }

    fn open_payment(
        &self,
        state: &RingState,
        domain: &Domain,
        key: RowKey,
        row: Row,
    ) -> Result<Read<Payment>, LedgerError> {
        let binder = self.binder_of(state, domain, Kind::Payment, &row)?;
        let value = binder.read_payment(domain, &key, &row)?;
        Ok(Read { key, row, value })
    }

    fn open_request(
        &self,
        state: &RingState,
        domain: &Domain,
        key: RowKey,
        row: Row,
    ) -> Result<Read<RequestRecord>, LedgerError> {
        let binder = self.binder_of(state, domain, Kind::Request, &row)?;
        let value = binder.read_request(domain, &key, &row)?;
        Ok(Read { key, row, value })
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

    async fn scanned(
        &self,
        kind: Kind,
        domain: &Domain,
        from: UnixSeconds,
        until: UnixSeconds,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<(RowKey, Row)>, Option<Cursor>), LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let first = bound(kind, domain, from)?;
        let after = after.map_or(first, |cursor| cursor.0.max(first));
        let last = if until.0 == u64::MAX {
            end(kind, domain)?
        } else {
            bound(kind, domain, until)?
        };
        let store = self.vault.store();
        let rows = store.scan(Some(after), Some(last), limit).await?;
        let next = rows.last().filter(|_| rows.len() == limit);
        let next = next.map(|(key, _)| Cursor(*key));
        Ok((rows, next))
    }

    /// The key that a row says it was bound under.
    fn binder_of(
        &self,
        state: &RingState,
        domain: &Domain,
        kind: Kind,
        row: &Row,
    ) -> Result<Arc<Binder>, LedgerError> {
        let version = key_version(kind, row)?;
        match self.binder(state, domain, version) {
            // No key of this ring has that version: the row was changed.
            Err(LedgerError::Vault(VaultError::Key(KeyError::UnknownVersion { .. }))) => {
                Err(LedgerError::Tampered)
            }
            binder => binder,
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

impl Lookup {
    pub(super) const fn index(&self) -> Index<'_> {
        match self {
            Self::Token(token) => Index::Token(token),
            Self::Rrn(rrn, date) => Index::Rrn(rrn, *date),
            Self::Voucher(terminal, batch, voucher) => Index::Voucher(terminal, *batch, *voucher),
            Self::Order(order) => Index::Order(order),
            Self::Batch(terminal, batch) => Index::Batch(terminal, *batch),
            Self::InDoubt => Index::InDoubt,
        }
    }

    /// Whether a payment is one that is looked for.
    pub(super) fn names(&self, payment: &Payment) -> bool {
        let fields = &payment.fields;
        match self {
            Self::Token(token) => payment.token.as_ref() == Some(token),
            Self::Rrn(rrn, date) => {
                let clearing = fields.clearing.map(|clearing| clearing.0);
                fields.rrn.as_ref() == Some(rrn)
                    && (payment.date == *date || clearing == Some(*date))
            }
            Self::Voucher(terminal, batch, voucher) => {
                fields.terminal == *terminal && fields.batch == *batch && fields.voucher == *voucher
            }
            Self::Order(order) => fields.order.as_ref() == Some(order),
            Self::Batch(terminal, batch) => fields.terminal == *terminal && fields.batch == *batch,
            Self::InDoubt => payment.state == PaymentState::InDoubt,
        }
    }
}

pub(super) const fn check_entries(len: usize) -> Result<(), LedgerError> {
    if len > MAX_ENTRIES {
        return Err(LedgerError::TooMany { len });
    }
    Ok(())
}

/// Puts those payments in the draft that are not known. How many.
pub(super) fn add_new(
    draft: &mut Draft<'_>,
    payments: &[NewPayment],
    known: Vec<Option<Read<Payment>>>,
    source: Source,
) -> Result<usize, LedgerError> {
    let mut new = 0;
    for (at, (payment, known)) in payments.iter().zip(known).enumerate() {
        let before = draft.payment(&payment.id).copied();
        match before.or(known.map(|read| read.value)) {
            Some(before) if before.origin == origin(payment)? => {}
            Some(_) => return Err(LedgerError::OtherContent { at }),
            None => {
                draft.record(payment, source)?;
                new += 1;
            }
        }
    }
    Ok(new)
}
