//! The ledger: the host's record of payments and of what was done to them.
//!
//! A [`Ledger`] stands beside a [`Vault`](crate::vault::Vault) and shares its store, its key ring
//! and its transactions: a payment and its card's token, or a refund and the sum that it is
//! counted against, are written together or not at all. Payments are found by token, reference
//! number and date, voucher, order number, card or time; [`Ledger::request`] puts every void,
//! refund, reversal and completion before the rules of [`crate::refund`].
//!
//! No card number stands in its rows, and nothing that one could be found from: at most the last
//! four digits. A card is found through the vault, by its tokens.
//!
//! # What is noticed
//! Every row carries a tag under a ledger key of the ring, over its key and all its fields; a
//! payment's row holds the tag of its newest event, and each event that of the one before. A
//! changed or swapped row, and a missing, added or changed event, is noticed when it is used. Not
//! noticed here: a payment that was taken out with all its rows, or put back as a whole to an
//! earlier state; [reconciliation](reconcile) against journals and settlement files shows these.
//! Index entries carry no tag: one that leads to a wrong row is noticed, one that was taken away
//! hides a row from that look-up, but not from the range of its time.
#![forbid(unsafe_code)]

mod blocking;
mod counting;
mod draft;
mod error;
mod finding;
mod handle;
mod history;
mod import;
mod progress;
mod purging;
mod rebind;
pub mod reconcile;
mod record;
mod recording;
mod requests;
mod row;
pub mod watch;

pub use blocking::BlockingLedger;
pub use counting::LedgerStats;
pub use error::LedgerError;
pub use finding::Lookup;
pub use handle::{CONFLICT_TRIES, Cursor, Ledger, MAX_PAGE, Page};
pub use import::{EntryError, ImportEntry, Imported, Unapplied, WhyUnapplied};
pub use progress::Change;
pub use rebind::Rebound;
pub use record::{
    Answer, HOST_ID_LEN, Happened, HistoryEntry, HistoryRequest, NewPayment, Payment, PaymentId,
    PaymentIdError, RequestRecord, Source,
};
pub use recording::MAX_ENTRIES;
pub use requests::{DueRequest, Requested};
