//! The rules of giving money back: voids, refunds, reversals and completions, decided over plain
//! values.
//!
//! Nothing here sees a card number, reads a clock or keeps a record. The ledger looks up the
//! original payment and an earlier request under the same refund number, calls [`decide`] inside
//! its transaction, and records what was [`Approved`].
#![forbid(unsafe_code)]

mod deadline;
mod decide;
mod policy;
mod refusal;
mod request;
mod state;
mod status;

pub use deadline::{
    COMPLETION_SECONDS, Deadlines, Due, INQUIRY_DELAYS_SECONDS, REVIEW_SECONDS, Step,
};
pub use decide::{Approved, Decision, decide};
pub use policy::Policy;
pub use refusal::Refusal;
pub use request::{
    Action, Authority, BatchState, CardMatch, Earlier, Original, PaidBy, RefundTotals, Request,
};
pub use state::{PaymentEvent, PaymentState, RefundLevel};
pub use status::{RefundEvent, RefundStatus};

use core::fmt;

/// The event cannot follow on the state: the record would tell a story that never happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalTransition;

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event cannot follow on this state")
    }
}

impl core::error::Error for IllegalTransition {}
