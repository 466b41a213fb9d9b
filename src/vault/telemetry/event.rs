//! What happens beside the calls themselves: rings, guards, commits, retries and steps.
#![forbid(unsafe_code)]

#[cfg(feature = "tracing")]
use core::fmt;
#[cfg(any(feature = "embedded", feature = "postgres"))]
use std::time::Instant;

use super::Call;
#[cfg(feature = "tracing")]
use super::reason::Reason;
#[cfg(feature = "tracing")]
use super::watching::Outcome;
#[cfg(feature = "tracing")]
use crate::keys::Domain;
use crate::keys::KeyRing;
use crate::time::UnixSeconds;
#[cfg(feature = "tracing")]
use crate::vault::access::has_card_number;

/// A domain as spans tell it: one that is a card number is not told.
#[cfg(feature = "tracing")]
pub(super) struct Shown<'d>(pub(super) &'d Domain);

#[cfg(feature = "tracing")]
impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if has_card_number(self.0.as_bytes()) {
            f.write_str("(a card number)")
        } else {
            self.0.fmt(f)
        }
    }
}

/// Writes the end of a call into its span, and an event if it was not done.
#[cfg(feature = "tracing")]
pub(super) fn ended(span: &tracing::Span, call: Call, outcome: Outcome, reason: Option<Reason>) {
    span.record("outcome", outcome.name());
    if let Some(reason) = reason {
        span.record("reason", reason.name);
    }
    let (part, call) = (call.part(), call.name());
    let reason = reason.map(|reason| reason.name);
    span.in_scope(|| match outcome {
        Outcome::Done => {}
        // The store's failures are told with the calls that they spoil.
        Outcome::Failed if part != "store" => {
            tracing::warn!(target: "cardvault", part, call, reason, "failed");
        }
        outcome => {
            tracing::debug!(target: "cardvault", part, call, reason, "{}", outcome.name());
        }
    });
}

/// A ring went into use: how.
pub(crate) fn ring_in_use(how: &'static str, ring: &KeyRing, now: UnixSeconds) {
    #[cfg(feature = "metrics")]
    super::metric::ring(how, ring, now);
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "cardvault",
        how,
        generation = ring.generation(),
        mark = ring.mark().as_str(),
        keys_due = ring.due(now, 0).count(),
        "key ring in use"
    );
}

/// A call met another guard than its ring's: some process has a newer ring.
pub(crate) fn guard_moved() {
    #[cfg(feature = "metrics")]
    super::metric::guard_moved();
    #[cfg(feature = "tracing")]
    tracing::info!(target: "cardvault", "the guard has moved on");
}

/// A step of work over many rows: what was done with how many.
pub(crate) fn step(call: Call, rows: [(&'static str, u64); 3]) {
    #[cfg(feature = "metrics")]
    super::metric::step(call, rows);
    #[cfg(feature = "tracing")]
    {
        let [(_, seen), (_, changed), (_, left)] = rows;
        tracing::debug!(target: "cardvault", call = call.name(), seen, changed, left, "step");
    }
}

/// Writes that a caller queued.
#[cfg(any(feature = "embedded", feature = "postgres"))]
pub(crate) fn queued(writes: usize) {
    #[cfg(feature = "metrics")]
    super::metric::queue(writes as f64);
    #[cfg(not(feature = "metrics"))]
    let _ = writes;
}

/// Writes that are queued no more.
#[cfg(any(feature = "embedded", feature = "postgres"))]
pub(crate) fn unqueued(writes: usize) {
    #[cfg(feature = "metrics")]
    super::metric::queue(-(writes as f64));
    #[cfg(not(feature = "metrics"))]
    let _ = writes;
}

/// Calls that are committed together.
#[cfg(any(feature = "embedded", feature = "postgres"))]
pub(crate) struct Group {
    calls: usize,
    writes: usize,
    begun: Instant,
}

#[cfg(any(feature = "embedded", feature = "postgres"))]
impl Group {
    pub(crate) fn begin(calls: usize, writes: impl Fn() -> usize) -> Self {
        Self {
            calls,
            writes: writes(),
            begun: Instant::now(),
        }
    }

    pub(crate) fn end(self, done: bool) {
        let Self {
            calls,
            writes,
            begun,
        } = self;
        // All of its callers were gone.
        if calls == 0 {
            return;
        }
        let took = begun.elapsed();
        #[cfg(feature = "metrics")]
        super::metric::group(calls, writes, took, done);
        #[cfg(feature = "tracing")]
        {
            let seconds = took.as_secs_f64();
            if done {
                tracing::trace!(target: "cardvault", calls, writes, seconds, "committed");
            } else {
                tracing::error!(target: "cardvault", calls, writes, seconds, "not committed");
            }
        }
    }
}

/// An exchange with the database did not come to its end, and is tried again after a pause.
#[cfg(feature = "postgres")]
pub(crate) fn retried(
    during: &'static str,
    error: crate::vault::StoreError,
    pause: core::time::Duration,
) {
    let reason = super::Reason::from(error).name;
    #[cfg(feature = "metrics")]
    super::metric::retry(during, reason);
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "cardvault",
        during,
        reason,
        pause_seconds = pause.as_secs_f64(),
        "the database is asked again"
    );
    let _ = (during, reason, pause);
}
