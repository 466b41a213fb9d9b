//! A call that is watched from its first poll to its end, also if its caller drops it.
#![forbid(unsafe_code)]

use core::pin::Pin;
use core::task::{Context, Poll};
#[cfg(feature = "metrics")]
use std::time::Instant;

use pin_project_lite::pin_project;

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

/// `future`, which is a `call` about `items` things, inside a span and counted.
pub(crate) fn watch<'a, F: Future>(
    call: Call,
    domain: impl Into<Option<&'a Domain>>,
    items: usize,
    future: F,
) -> Watching<'a, F> {
    Watching {
        future,
        call,
        domain: domain.into(),
        items,
        watched: None,
    }
}

pin_project! {
    /// Holds the future once: an `async fn` would keep what it was given beside what it polls.
    pub(crate) struct Watching<'a, F> {
        #[pin]
        future: F,
        call: Call,
        domain: Option<&'a Domain>,
        items: usize,
        // From the first poll on. Dropped behind the future.
        watched: Option<Watched>,
    }
}

impl<F> Future for Watching<'_, F>
where
    F: Future,
    F::Output: Told,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let (call, domain, items) = (*this.call, *this.domain, *this.items);
        let begin = || Watched::begin(call, domain, items);
        let watched = this.watched.get_or_insert_with(begin);
        let polled = {
            #[cfg(feature = "tracing")]
            let _inside = watched.span.enter();
            this.future.poll(context)
        };
        if let Poll::Ready(output) = &polled {
            watched.end(output);
        }
        polled
    }
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
