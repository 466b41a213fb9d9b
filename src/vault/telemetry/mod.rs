//! What an operator sees of a vault, a ledger and their store: spans and events through `tracing`,
//! counters, gauges and histograms through `metrics`. Each is there with its feature; without
//! both, nothing in here makes code.
//!
//! Told are calls and domains, counts, durations and reasons: no card data, no token, no key, and
//! nobody's texts.
#![forbid(unsafe_code)]

mod call;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod event;
#[cfg(feature = "metrics")]
mod metric;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod reason;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod watching;

pub(crate) use call::Call;
#[cfg(all(any(feature = "metrics", feature = "tracing"), feature = "postgres"))]
pub(crate) use event::retried;
#[cfg(all(
    any(feature = "metrics", feature = "tracing"),
    any(feature = "embedded", feature = "postgres")
))]
pub(crate) use event::{Group, queued, unqueued};
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) use event::{guard_moved, ring_in_use, step};
#[cfg(feature = "metrics")]
pub(crate) use metric::keys as measure_keys;
#[cfg(feature = "metrics")]
pub use metric::{METRICS, Metric, MetricKind, describe_metrics, metric_names};
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) use reason::Reason;
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) use watching::watch;

#[cfg(not(any(feature = "metrics", feature = "tracing")))]
pub(crate) use off::*;

/// The same without anybody who looks.
#[cfg(not(any(feature = "metrics", feature = "tracing")))]
mod off {
    use super::Call;
    use crate::keys::{Domain, KeyRing};
    use crate::time::UnixSeconds;

    #[inline(always)]
    pub(crate) fn watch<'a, F: Future>(
        _: Call,
        _: impl Into<Option<&'a Domain>>,
        _: usize,
        future: F,
    ) -> F {
        future
    }

    #[inline(always)]
    pub(crate) const fn ring_in_use(_: &'static str, _: &KeyRing, _: UnixSeconds) {}

    #[inline(always)]
    pub(crate) const fn guard_moved() {}

    #[inline(always)]
    pub(crate) const fn step(_: Call, _: [(&'static str, u64); 3]) {}

    #[cfg(any(feature = "embedded", feature = "postgres"))]
    pub(crate) use commits::*;

    #[cfg(any(feature = "embedded", feature = "postgres"))]
    mod commits {
        #[inline(always)]
        pub(crate) const fn queued(_: usize) {}

        #[inline(always)]
        pub(crate) const fn unqueued(_: usize) {}

        pub(crate) struct Group;

        impl Group {
            #[inline(always)]
            pub(crate) const fn begin(_: usize, _: impl Fn() -> usize + Copy) -> Self {
                Self
            }

            #[inline(always)]
            pub(crate) const fn end(self, _: bool) {}
        }
    }

    #[cfg(feature = "postgres")]
    #[inline(always)]
    pub(crate) const fn retried(
        _: &'static str,
        _: crate::vault::StoreError,
        _: core::time::Duration,
    ) {
    }
}
