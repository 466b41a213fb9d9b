//! What happens to payments and requests after they were recorded: answers, inquiries, disputes
//! and settlements.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::draft::Draft;
use super::error::LedgerError;
use super::finding::Lookup;
use super::handle::{CONFLICT_TRIES, Ledger};
use super::record::{Answer, Payment, PaymentId, RequestRecord, Source};
use super::recording::MAX_ENTRIES;
use crate::keys::Domain;
use crate::payment::{BatchNumber, MerchantId, RefundNumber, Rrn, TerminalId};
use crate::refund::{BatchState, PaymentEvent, RefundEvent, RefundStatus};
use crate::vault::Store;
use crate::vault::telemetry::{self, Call};

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
    /// The completion of this pre-authorization was voided or reversed: its amount is held again,
    /// and can be voided, or completed anew under a new number. Only a captured pre-authorization
    /// can be told so.
    ///
    /// The completion is a payment of its own, with its own state; voiding it does not tell the
    /// hold, nor does this change the completion or the request under which it was asked for.
    /// Tell it when the void or reversal of the completion was accepted, or an inquiry shows that
    /// it never happened.
    CompletionUndone,
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
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
        let call = async {
            let target = match event {
                RefundEvent::Accepted => RefundStatus::Accepted,
                RefundEvent::Settled => RefundStatus::Settled,
                RefundEvent::Failed => RefundStatus::Failed,
                RefundEvent::NoAnswer => RefundStatus::InDoubt,
                RefundEvent::Resubmitted => return Err(LedgerError::Transition),
            };
            for _ in 0..CONFLICT_TRIES {
                let state = self.vault().state()?;
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
        };
        telemetry::watch(Call::Progress, domain, 1, call).await
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
        let call = async {
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
        };
        telemetry::watch(Call::Resolve, domain, 1, call).await
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
        let call = async {
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
        };
        telemetry::watch(Call::Change, domain, 1, call).await
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
        let call = async {
            let by = Lookup::Batch(*terminal, batch);
            let (mut after, mut settled, mut tries) = (None, 0, 0);
            loop {
                let state = self.vault().state()?;
                let key = by.index().key(domain)?;
                let (rows, next) = self.linked(key, after, None, MAX_ENTRIES).await?;
                let mut draft = self.draft(&state, domain)?;
                let mut marked = 0;
                for (key, row) in rows {
                    let read = self.open::<Payment>(&state, domain, key, row)?;
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
        };
        telemetry::watch(Call::SettleBatch, domain, 1, call).await
    }

    /// Works out a change of one payment until it can be written.
    async fn change_with(
        &self,
        domain: &Domain,
        id: &PaymentId,
        work: impl Fn(&mut Draft<'_>, &Payment) -> Result<(), LedgerError>,
    ) -> Result<Payment, LedgerError> {
        for _ in 0..CONFLICT_TRIES {
            let state = self.vault().state()?;
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
}
