//! Changes that are worked out but not written: rows read, rows to be, and the events between.
//!
//! A draft becomes one group of writes, each row replaced only if it is still the one that was
//! read. What several changes do to one payment adds up.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::LedgerError;
use super::record::{
    Answer, Happened, HistoryEntry, HistoryRequest, NewPayment, Payment, PaymentId, RequestKey,
    RequestRecord, Source,
};
use super::row::{Binder, Stored, event_key, origin, request_name};
use crate::keys::Domain;
use crate::refund::{
    Action, BatchState, PaymentEvent, PaymentState, RefundEvent, RefundLevel, RefundStatus,
    RefundTotals,
};
use crate::time::UnixSeconds;
use crate::vault::{IndexKey, Row, RowKey, Write};

/// A row as it was read.
#[derive(Clone)]
pub(super) struct Read<T> {
    pub(super) row: Row,
    pub(super) value: T,
}

struct Slot<T> {
    before: Option<Read<T>>,
    value: T,
}

pub(super) struct Draft<'a> {
    binder: Arc<Binder>,
    domain: &'a Domain,
    now: UnixSeconds,
    payments: BTreeMap<PaymentId, Slot<Payment>>,
    requests: BTreeMap<RequestKey, Slot<RequestRecord>>,
    events: Vec<(RowKey, Row)>,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(binder: Arc<Binder>, domain: &'a Domain, now: UnixSeconds) -> Self {
        Self {
            binder,
            domain,
            now,
            payments: BTreeMap::new(),
            requests: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn load_payment(&mut self, read: Read<Payment>) {
        let value = read.value;
        self.payments.entry(value.id).or_insert(Slot {
            before: Some(read),
            value,
        });
    }

    pub(super) fn load_request(&mut self, read: Read<RequestRecord>) {
        let value = read.value;
        self.requests.entry(request_name(&value)).or_insert(Slot {
            before: Some(read),
            value,
        });
    }

    pub(super) fn payment(&self, id: &PaymentId) -> Option<&Payment> {
        self.payments.get(id).map(|slot| &slot.value)
    }

    /// A request among those of this draft, by what is unique of it.
    pub(super) fn request_like(&self, record: &RequestRecord) -> Option<&RequestRecord> {
        let mut requests = self.requests.values().map(|slot| &slot.value);
        requests.find(|known| known.is(&record.merchant, &record.number))
    }

    /// The payments that this draft adds or changes.
    pub(super) fn payments(&self) -> impl Iterator<Item = &Payment> {
        self.payments.values().map(|slot| &slot.value)
    }

    /// Puts a payment in that the ledger does not have.
    pub(super) fn record(&mut self, new: &NewPayment, source: Source) -> Result<(), LedgerError> {
        let origin = origin(new)?;
        let answer = new.fields.response.map(|code| code.is_approved());
        let value = Payment {
            id: new.id,
            time: new.time,
            date: new.date,
            paid_by: new.paid_by,
            fields: new.fields,
            token: new.token,
            last_four: new.last_four.filter(|digits| *digits < 10_000),
            state: PaymentState::first(new.fields.kind, answer),
            batch: BatchState::Open,
            pending: None,
            refunds: RefundTotals::none(new.fields.amount),
            revision: 0,
            origin,
            evidence: origin,
        };
        let before = None;
        self.payments.insert(new.id, Slot { before, value });
        self.tell(&new.id, Happened::Recorded, source, None)
    }

    /// Puts a request in that the ledger does not have, and counts it against its payment.
    pub(super) fn ask(&mut self, record: RequestRecord, source: Source) -> Result<(), LedgerError> {
        let payment = self.payment_mut(&record.payment)?;
        if record.action == Action::Refund {
            payment.refunds = payment.refunds.with(record.amount, record.status)?;
        } else {
            payment.pending = Some(record.action);
        }
        let slot = Slot {
            before: None,
            value: record,
        };
        self.requests.insert(request_name(&record), slot);
        self.tell(&record.payment, Happened::Requested, source, Some(&record))
    }

    /// Brings a request further, with what that does to its payment, unless that is over.
    pub(super) fn progress(
        &mut self,
        record: &RequestRecord,
        event: RefundEvent,
        source: Source,
    ) -> Result<RequestRecord, LedgerError> {
        let mut next = *record;
        next.status = record.status.after(record.action, event)?;
        match event {
            RefundEvent::Accepted => next.since = self.now,
            RefundEvent::Resubmitted => {
                next.since = self.now;
                next.tries = record.tries.saturating_add(1);
            }
            _ => {}
        }
        let payment = self.payment_mut(&record.payment)?;
        let is_over = is_over(payment);
        let happened = if record.action == Action::Refund {
            count(payment, record, next.status)?
        } else {
            conclude(payment, record, next.status)?
        };
        let happened = happened.filter(|_| !is_over);
        if let Some(event) = happened {
            payment.state = payment.state.after(payment.fields.kind, event)?;
        }
        if let Some(slot) = self.requests.get_mut(&request_name(record)) {
            slot.value = next;
        }
        self.tell(
            &record.payment,
            Happened::Request(event),
            source,
            Some(&next),
        )?;
        if let Some(event) = happened {
            self.tell(&record.payment, Happened::Payment(event), source, None)?;
        }
        Ok(next)
    }

    /// Changes where a payment stands.
    pub(super) fn happen(
        &mut self,
        id: &PaymentId,
        event: PaymentEvent,
        source: Source,
    ) -> Result<(), LedgerError> {
        let payment = self.payment_mut(id)?;
        payment.state = payment.state.after(payment.fields.kind, event)?;
        self.tell(id, Happened::Payment(event), source, None)
    }

    /// Adds what an answer says to a payment's fields where nothing stood.
    pub(super) fn learn(&mut self, id: &PaymentId, answer: &Answer) -> Result<(), LedgerError> {
        let fields = &mut self.payment_mut(id)?.fields;
        fields.response = Some(answer.response);
        fields.rrn = fields.rrn.or(answer.rrn);
        fields.approval = fields.approval.or(answer.approval);
        fields.clearing = fields.clearing.or(answer.clearing);
        Ok(())
    }

    pub(super) fn settle_batch(
        &mut self,
        id: &PaymentId,
        source: Source,
    ) -> Result<(), LedgerError> {
        self.payment_mut(id)?.batch = BatchState::Settled;
        self.tell(id, Happened::BatchSettled, source, None)
    }

    /// The group of writes. Empty if nothing was changed.
    pub(super) fn writes(self) -> Result<Vec<Write>, LedgerError> {
        let mut writes = Vec::new();
        for slot in self.payments.values() {
            slot.write(&self.binder, self.domain, &mut writes)?;
        }
        for slot in self.requests.values() {
            slot.write(&self.binder, self.domain, &mut writes)?;
        }
        for (token, row) in self.events {
            writes.push(Write::Insert {
                token,
                row,
                index: Vec::new(),
                unique: false,
            });
        }
        Ok(writes)
    }

    fn payment_mut(&mut self, id: &PaymentId) -> Result<&mut Payment, LedgerError> {
        let slot = self.payments.get_mut(id);
        slot.map(|slot| &mut slot.value)
            .ok_or(LedgerError::UnknownPayment)
    }

    /// Appends an event to a payment's history.
    fn tell(
        &mut self,
        id: &PaymentId,
        what: Happened,
        source: Source,
        request: Option<&RequestRecord>,
    ) -> Result<(), LedgerError> {
        let (now, domain, binder) = (self.now, self.domain, Arc::clone(&self.binder));
        let payment = self.payment_mut(id)?;
        let revision = payment
            .revision
            .checked_add(1)
            .ok_or(LedgerError::TooMany { len: usize::MAX })?;
        let event = HistoryEntry {
            revision,
            time: now,
            what,
            source,
            state: payment.state,
            request: request.map(|record| HistoryRequest {
                action: record.action,
                amount: record.amount,
                status: record.status,
                authority: record.authority,
                key: request_name(record),
            }),
        };
        let key = event_key(domain, payment, revision)?;
        let (row, tag) = binder.event(&key, &event, &payment.evidence)?;
        payment.revision = revision;
        payment.evidence = tag;
        self.events.push((key, row));
        Ok(())
    }
}

/// Whether nothing is left of a payment, whatever becomes of its requests: it was taken back as a
/// whole, never approved, or lost in a dispute, which refunded what its refunds had not.
fn is_over(payment: &Payment) -> bool {
    match payment.state {
        PaymentState::Voided | PaymentState::Reversed | PaymentState::NeverApproved => true,
        PaymentState::Refunded => payment.refunds.level(payment.fields.amount) != RefundLevel::All,
        _ => false,
    }
}

/// Counts a refund under another status; what that does to the payment.
fn count(
    payment: &mut Payment,
    record: &RequestRecord,
    status: RefundStatus,
) -> Result<Option<PaymentEvent>, LedgerError> {
    let before = payment.refunds;
    let after = without(before, record)?.with(record.amount, status)?;
    payment.refunds = after;
    if before.accepted == after.accepted {
        return Ok(None);
    }
    let level = after.level(payment.fields.amount);
    Ok(Some(PaymentEvent::Refunds(level)))
}

/// The totals as if this refund did not count.
fn without(totals: RefundTotals, record: &RequestRecord) -> Result<RefundTotals, LedgerError> {
    let mut totals = totals;
    let sum = match record.status {
        RefundStatus::Accepted | RefundStatus::Settled => &mut totals.accepted,
        RefundStatus::Requested => &mut totals.requested,
        RefundStatus::InDoubt => &mut totals.in_doubt,
        RefundStatus::Failed => return Ok(totals),
    };
    *sum = sum.checked_sub(record.amount)?;
    totals.count = totals.count.checked_sub(1).ok_or(LedgerError::Tampered)?;
    Ok(totals)
}

/// What another status of a void, reversal or completion does to the payment.
fn conclude(
    payment: &mut Payment,
    record: &RequestRecord,
    status: RefundStatus,
) -> Result<Option<PaymentEvent>, LedgerError> {
    let done = |status| matches!(status, RefundStatus::Accepted | RefundStatus::Settled);
    payment.pending = match status {
        RefundStatus::Requested | RefundStatus::InDoubt => Some(record.action),
        _ => None,
    };
    match (done(record.status), done(status), record.action) {
        (false, true, Action::Void) => Ok(Some(PaymentEvent::Voided)),
        (false, true, Action::Reversal) => Ok(Some(PaymentEvent::Reversed)),
        (false, true, Action::Completion) => Ok(Some(PaymentEvent::Completed)),
        // What was done is not undone by a later word: the rules let no event lead there.
        (true, false, _) => Err(LedgerError::Transition),
        _ => Ok(None),
    }
}

impl<T: Stored> Slot<T> {
    /// Adds the writes that make the rows what they are to be.
    fn write(
        &self,
        binder: &Binder,
        domain: &Domain,
        writes: &mut Vec<Write>,
    ) -> Result<(), LedgerError> {
        let token = self.value.key(domain)?;
        let links = self.value.links(domain)?;
        let Some(before) = &self.before else {
            let row = binder.row(&token, &self.value)?;
            let index = vec![self.value.unique(domain)?];
            writes.push(Write::Insert {
                token,
                row,
                index,
                unique: true,
            });
            writes.push(Write::Link {
                token,
                add: links,
                remove: Vec::new(),
            });
            return Ok(());
        };
        if before.value == self.value {
            return Ok(());
        }
        writes.push(Write::Replace {
            token,
            expected: before.row.clone(),
            row: binder.row(&token, &self.value)?,
        });
        let old = before.value.links(domain)?;
        let missing = |from: &[IndexKey], keys: &[IndexKey]| -> Vec<IndexKey> {
            let keys = keys.iter().filter(|key| !from.contains(key));
            keys.copied().collect()
        };
        let (add, remove) = (missing(&old, &links), missing(&links, &old));
        if !add.is_empty() || !remove.is_empty() {
            writes.push(Write::Link { token, add, remove });
        }
        Ok(())
    }
}
