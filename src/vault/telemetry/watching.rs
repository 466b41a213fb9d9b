//! A call that is watched from its first poll to its end, also if its caller drops it.
#![forbid(unsafe_code)]

use core::future::{Future, poll_fn};
use core::pin::pin;
#[cfg(feature = "metrics")]
use std::time::Instant;

use super::Call;
use super::reason::{Reason, Told};
use crate::keys::Domain;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// For what was asked.
    Refused,
    /// For what is wrong with the vault.
    Failed,
    /// The caller dropped it before it ended.
    Cancelled,
}

impl Outcome {
    #[cfg(feature = "tracing")]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    const fn of(reason: Option<Reason>) -> Self {
        match reason {
            None => Self::Done,
            Some(Reason { failed: false, .. }) => Self::Refused,
            Some(Reason { failed: true, .. }) => Self::Failed,
        }
    }
}

/// Waits for `future`, which is a `call` about `items` things, inside a span, and counts it.
pub(crate) async fn watch<'a, F>(
    call: Call,
    domain: impl Into<Option<&'a Domain>>,
    items: usize,
    future: F,
) -> F::Output
where
    F: Future,
    F::Output: Told,
{
    let mut watched = Watched::begin(call, domain.into(), items);
    let mut future = pin!(future);
    let output = poll_fn(|context| {
        #[cfg(feature = "tracing")]
        let _inside = watched.span.enter();
        future.as_mut().poll(context)
    })
    .await;
    watched.end(&output);
    output
}

struct Watched {
    call: Call,
    items: usize,
    #[cfg(feature = "metrics")]
    begun: Instant,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    ended: bool,
}

impl Watched {
    #[cfg_attr(
        not(feature = "tracing"),
        expect(unused_variables, reason = "told in spans alone")
    )]
    fn begin(call: Call, domain: Option<&Domain>, items: usize) -> Self {
        Self {
            call,
            items,
            #[cfg(feature = "metrics")]
            begun: Instant::now(),
            #[cfg(feature = "tracing")]
            span: call.span(domain, items),
            ended: false,
        }
    }

    fn end(&mut self, output: &impl Told) {
        self.ended = true;
        let mut worst: Option<Reason> = None;
        let call = self.call;
        output.tell(self.items, |items, reason| {
            let outcome = Outcome::of(reason);
            #[cfg(feature = "metrics")]
            super::metric::items(call, outcome, reason, items);
            #[cfg(not(feature = "metrics"))]
            let _ = (call, items);
            let worse = match worst {
                None => true,
                Some(known) => !known.failed && outcome == Outcome::Failed,
            };
            if worse {
                worst = reason;
            }
        });
        self.tell(Outcome::of(worst), worst);
    }

    /// Tells how the whole call ended, and the first of the gravest reasons.
    fn tell(&self, outcome: Outcome, reason: Option<Reason>) {
        #[cfg(feature = "metrics")]
        super::metric::call(self.call, outcome, self.begun.elapsed());
        #[cfg(feature = "tracing")]
        super::event::ended(&self.span, self.call, outcome, reason);
        #[cfg(not(feature = "tracing"))]
        let _ = reason;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Outcome::Cancelled, None);
        }
    }
}
