//! Payments in.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::draft::{Draft, Read};
use super::error::LedgerError;
use super::handle::{CONFLICT_TRIES, Ledger};
use super::record::{NewPayment, Payment, Source};
use super::row::origin;
use crate::keys::Domain;
use crate::vault::Store;
use crate::vault::telemetry::{self, Call};

/// The most payments of one call to [`Ledger::record_batch`] and of one import.
pub const MAX_ENTRIES: usize = 400;

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// Records a payment. The same payment again is the same answer. What acts on another payment,
    /// such as a refund, is recorded and not applied: that is what [`Ledger::request`] and
    /// [`Ledger::import`] are for.
    ///
    /// # Errors
    /// [`LedgerError::OtherContent`] if its identity stands for another payment; the vault's.
    pub async fn record(
        &self,
        domain: &Domain,
        payment: &NewPayment,
        source: Source,
    ) -> Result<Payment, LedgerError> {
        let call = async {
            self.record_batch(domain, core::slice::from_ref(payment), source)
                .await?;
            self.payment(domain, &payment.id).await
        };
        telemetry::watch(Call::Record, domain, 1, call).await
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
        let call = async {
            check_entries(payments.len())?;
            for _ in 0..CONFLICT_TRIES {
                let state = self.vault().state()?;
                let ids: Vec<_> = payments.iter().map(|payment| payment.id).collect();
                let known = self.known(&state, domain, &ids).await?;
                let mut draft = self.draft(&state, domain)?;
                let new = add_new(&mut draft, payments, known, source)?;
                if self.apply(&state, draft.writes()?).await? {
                    return Ok(new);
                }
            }
            Err(LedgerError::Conflict)
        };
        telemetry::watch(Call::RecordBatch, domain, payments.len(), call).await
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
