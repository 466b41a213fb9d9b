//! How much a ledger holds.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::error::LedgerError;
use super::handle::{Ledger, MAX_PAGE};
use super::row::{Kind, first_of, last_of};
use crate::vault::Store;
use crate::vault::telemetry::{self, Call};

/// What a ledger holds, of all domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerStats {
    /// How many payments there are.
    pub payments: u64,
    /// How many requests: voids, refunds, reversals and completions.
    pub requests: u64,
    /// How many events in the histories of all payments.
    pub events: u64,
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// Counts what the ledger holds; reads every row, but checks none.
    ///
    /// # Errors
    /// The store's.
    pub async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        let call = async {
            Ok(LedgerStats {
                payments: self.rows_of(Kind::Payment).await?,
                requests: self.rows_of(Kind::Request).await?,
                events: self.rows_of(Kind::Event).await?,
            })
        };
        telemetry::watch(Call::LedgerStats, None, 1, call).await
    }

    async fn rows_of(&self, kind: Kind) -> Result<u64, LedgerError> {
        let (first, last) = (first_of(kind)?, last_of(kind)?);
        let (mut count, mut after) = (0, None);
        loop {
            let (rows, next) = self.rows_between(first, last, after, MAX_PAGE).await?;
            count += u64::try_from(rows.len()).unwrap_or(u64::MAX);
            after = next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }
}
