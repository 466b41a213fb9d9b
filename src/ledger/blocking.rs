//! The ledger for callers without a runtime: each call waits on its thread.
#![forbid(unsafe_code)]

use pollster::block_on;
use rand_core::TryCryptoRng;

use super::counting::LedgerStats;
use super::error::LedgerError;
use super::finding::Lookup;
use super::handle::{Cursor, Ledger, Page};
use super::import::{ImportEntry, Imported};
use super::progress::Change;
use super::rebind::Rebound;
use super::record::{Answer, HistoryEntry, NewPayment, Payment, PaymentId, RequestRecord, Source};
use super::requests::{DueRequest, Requested};
use crate::card::Pan;
use crate::keys::{Domain, KeyName, KeyRing};
use crate::payment::{BatchNumber, MerchantId, Par, RefundNumber, Rrn, TerminalId};
use crate::refund::{CardMatch, Deadlines, Policy, RefundEvent, Request};
use crate::time::UnixSeconds;
use crate::vault::{
    Access, ApprovedPurge, Elsewhere, Needed, Purged, Retention, RowKey, Store, Survey, SysRng,
};

/// [`Ledger`] without `async`: see there for each call. Many threads may share one.
#[derive(Debug)]
pub struct BlockingLedger<S, R = SysRng>(Ledger<S, R>);

macro_rules! blocking {
    ($($(#[$docs:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        $(#[$docs])*
        pub fn $name(&self, $($argument: $type),*) -> Result<$result, LedgerError> {
            block_on(self.0.$name($($argument),*))
        }
    )*};
}

impl<S: Store, R: TryCryptoRng + Send + 'static> BlockingLedger<S, R> {
    blocking! {
        /// # Errors
        /// See [`Ledger::record`].
        record(domain: &Domain, payment: &NewPayment, source: Source) -> Payment;
        /// # Errors
        /// See [`Ledger::record_batch`].
        record_batch(domain: &Domain, payments: &[NewPayment], source: Source) -> usize;
        /// # Errors
        /// See [`Ledger::import`].
        import(domain: &Domain, entries: &[ImportEntry]) -> Imported;
        /// # Errors
        /// See [`Ledger::payment`].
        payment(domain: &Domain, id: &PaymentId) -> Payment;
        /// # Errors
        /// See [`Ledger::find`].
        find(domain: &Domain, by: &Lookup, after: Option<Cursor>, limit: usize) -> Page<Payment>;
        /// # Errors
        /// See [`Ledger::find_card`].
        find_card(access: &Access, domain: &Domain, pan: &Pan, limit: usize) -> Vec<Payment>;
        /// # Errors
        /// See [`Ledger::payments`].
        payments(domain: &Domain, from: UnixSeconds, until: UnixSeconds, after: Option<Cursor>, limit: usize) -> Page<Payment>;
        /// # Errors
        /// See [`Ledger::compare`].
        compare(access: &Access, domain: &Domain, id: &PaymentId, pan: &Pan, par: Option<&Par>) -> CardMatch;
        /// # Errors
        /// See [`Ledger::request`].
        request(domain: &Domain, id: &PaymentId, policy: &Policy, request: &Request) -> Requested;
        /// # Errors
        /// See [`Ledger::progress`].
        progress(domain: &Domain, merchant: &MerchantId, number: &RefundNumber, event: RefundEvent, source: Source, rrn: Option<Rrn>) -> RequestRecord;
        /// # Errors
        /// See [`Ledger::resolve`].
        resolve(domain: &Domain, id: &PaymentId, answer: &Answer, source: Source) -> Payment;
        /// # Errors
        /// See [`Ledger::change`].
        change(domain: &Domain, id: &PaymentId, change: Change, source: Source) -> Payment;
        /// # Errors
        /// See [`Ledger::settle_batch`].
        settle_batch(domain: &Domain, terminal: &TerminalId, batch: BatchNumber, source: Source) -> usize;
        /// # Errors
        /// See [`Ledger::request_of`].
        request_of(domain: &Domain, merchant: &MerchantId, number: &RefundNumber) -> RequestRecord;
        /// # Errors
        /// See [`Ledger::requests`].
        requests(domain: &Domain, id: &PaymentId, after: Option<Cursor>) -> Page<RequestRecord>;
        /// # Errors
        /// See [`Ledger::requests_between`].
        requests_between(domain: &Domain, from: UnixSeconds, until: UnixSeconds, after: Option<Cursor>, limit: usize) -> Page<RequestRecord>;
        /// # Errors
        /// See [`Ledger::due`].
        due(domain: &Domain, deadlines: &Deadlines, until: UnixSeconds, after: Option<Cursor>, limit: usize) -> Page<DueRequest>;
        /// # Errors
        /// See [`Ledger::history`].
        history(domain: &Domain, id: &PaymentId) -> Vec<HistoryEntry>;
        /// # Errors
        /// See [`Ledger::audit`].
        audit(domain: &Domain, id: &PaymentId) -> Payment;
        /// # Errors
        /// See [`Ledger::audit_page`].
        audit_page(after: Option<Cursor>, limit: usize) -> Page<(Domain, PaymentId)>;
        /// # Errors
        /// See [`Ledger::stats`].
        stats() -> LedgerStats;
        /// # Errors
        /// See [`Ledger::rebind`].
        rebind(after: Option<Cursor>, limit: usize) -> Rebound;
        /// # Errors
        /// See [`Ledger::needed`].
        needed(name: KeyName) -> Needed;
        /// # Errors
        /// See [`Ledger::destroy_key`].
        destroy_key(ring: &mut KeyRing, name: KeyName, elsewhere: Elsewhere) -> ();
        /// # Errors
        /// See [`Ledger::survey`].
        survey(retention: Retention) -> Survey;
        /// # Errors
        /// See [`Ledger::survey_step`].
        survey_step(survey: &mut Survey, limit: usize) -> ();
        /// # Errors
        /// See [`Ledger::purge`].
        purge(access: &Access, approved: &ApprovedPurge, after: Option<RowKey>, limit: usize) -> Purged;
    }

    /// The ledger itself, for callers that can wait without a thread.
    pub const fn ledger(&self) -> &Ledger<S, R> {
        &self.0
    }
}

impl<S, R> Ledger<S, R> {
    /// This ledger for callers without a runtime.
    pub const fn blocking(self) -> BlockingLedger<S, R> {
        BlockingLedger(self)
    }
}
