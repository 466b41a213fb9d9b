//! The metrics: their names in one table, and how they are counted.
#![forbid(unsafe_code)]

use core::time::Duration;

use metrics::{Key, Label, Level, Metadata, Unit, with_recorder};

use self::metric_names as name;
use super::Call;
use super::reason::Reason;
use super::watching::Outcome;
use crate::keys::{KeyInfo, KeyRing, KeyState, KeyUse};
use crate::time::UnixSeconds;

/// The names of all metrics. They stay as they are; new ones may come.
pub mod metric_names {
    /// See [`METRICS`](super::METRICS).
    pub const CALLS: &str = "cardvault_calls_total";
    /// See [`METRICS`](super::METRICS).
    pub const CALL_SECONDS: &str = "cardvault_call_seconds";
    /// See [`METRICS`](super::METRICS).
    pub const ITEMS: &str = "cardvault_items_total";
    /// See [`METRICS`](super::METRICS).
    pub const REFUSED: &str = "cardvault_refused_total";
    /// See [`METRICS`](super::METRICS).
    pub const FAILED: &str = "cardvault_failed_total";
    /// See [`METRICS`](super::METRICS).
    pub const GROUPS: &str = "cardvault_commits_total";
    /// See [`METRICS`](super::METRICS).
    pub const GROUP_CALLS: &str = "cardvault_commit_calls";
    /// See [`METRICS`](super::METRICS).
    pub const GROUP_WRITES: &str = "cardvault_commit_writes";
    /// See [`METRICS`](super::METRICS).
    pub const GROUP_SECONDS: &str = "cardvault_commit_seconds";
    /// See [`METRICS`](super::METRICS).
    pub const QUEUE_WRITES: &str = "cardvault_queue_writes";
    /// See [`METRICS`](super::METRICS).
    pub const RETRIES: &str = "cardvault_postgres_retries_total";
    /// See [`METRICS`](super::METRICS).
    pub const STEP_ROWS: &str = "cardvault_step_rows_total";
    /// See [`METRICS`](super::METRICS).
    pub const RINGS: &str = "cardvault_rings_total";
    /// See [`METRICS`](super::METRICS).
    pub const GUARD_MOVES: &str = "cardvault_guard_moves_total";
    /// See [`METRICS`](super::METRICS).
    pub const RING_GENERATION: &str = "cardvault_ring_generation";
    /// See [`METRICS`](super::METRICS).
    pub const KEYS: &str = "cardvault_keys";
    /// See [`METRICS`](super::METRICS).
    pub const KEY_VERSION: &str = "cardvault_key_version";
    /// See [`METRICS`](super::METRICS).
    pub const KEY_AGE: &str = "cardvault_key_age_seconds";
    /// See [`METRICS`](super::METRICS).
    pub const KEY_SEALS_FOR: &str = "cardvault_key_seals_for_seconds";
    /// See [`METRICS`](super::METRICS).
    pub const KEY_OPENS_FOR: &str = "cardvault_key_opens_for_seconds";
}

/// What is measured, how, and under which labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// How it is counted.
    pub kind: MetricKind,
    /// The names of its labels, in their order.
    pub labels: &'static [&'static str],
    /// What it says.
    pub about: &'static str,
}

/// How a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Stands at some value.
    Gauge,
    /// Values that are counted by their size.
    Histogram,
}

/// All metrics.
pub const METRICS: [Metric; 20] = [
    counter(
        name::CALLS,
        &["part", "call", "outcome"],
        "Calls of the vault, the ledger and the store that ended: done, refused, failed or cancelled",
    ),
    histogram(
        name::CALL_SECONDS,
        &["part", "call"],
        "How long calls took, in seconds",
    ),
    counter(
        name::ITEMS,
        &["part", "call", "outcome"],
        "Cards, tokens, entries or rows that the calls were about: done, refused or failed",
    ),
    counter(
        name::REFUSED,
        &["part", "call", "reason"],
        "Items that were refused for what was asked, by reason",
    ),
    counter(
        name::FAILED,
        &["part", "call", "reason"],
        "Items that failed for what is wrong with vault, ring or store, by reason",
    ),
    counter(
        name::GROUPS,
        &["outcome"],
        "Groups of calls that were committed together: done or failed",
    ),
    histogram(name::GROUP_CALLS, &[], "Calls that share one commit"),
    histogram(name::GROUP_WRITES, &[], "Writes of one commit"),
    histogram(
        name::GROUP_SECONDS,
        &[],
        "How long commits took, in seconds",
    ),
    gauge(
        name::QUEUE_WRITES,
        &[],
        "Writes that wait to be committed, of all stores of the process",
    ),
    counter(
        name::RETRIES,
        &["during", "reason"],
        "Exchanges with the database that are tried again",
    ),
    counter(
        name::STEP_ROWS,
        &["call", "rows"],
        "Rows that work in steps has seen, changed, and left as they were though due",
    ),
    counter(
        name::RINGS,
        &["how"],
        "Key rings that went into use: opened, or set while the vault was open",
    ),
    counter(
        name::GUARD_MOVES,
        &[],
        "Calls that met another guard than their ring's: some process has a newer ring",
    ),
    gauge(
        name::RING_GENERATION,
        &[],
        "The generation of the key ring in use",
    ),
    gauge(
        name::KEYS,
        &["use", "state"],
        "Key versions of the ring in use, by state",
    ),
    gauge(
        name::KEY_VERSION,
        &["use"],
        "The active key version; 0 if there is none",
    ),
    gauge(
        name::KEY_AGE,
        &["use"],
        "Seconds since the active key version was activated; 0 if there is none",
    ),
    gauge(
        name::KEY_SEALS_FOR,
        &["use"],
        "Seconds until the active key version may seal no more; negative once it is over; 0 if there is none",
    ),
    gauge(
        name::KEY_OPENS_FOR,
        &["use"],
        "Seconds until the first of the versions that still open is to be destroyed; negative once it is over",
    ),
];

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    about: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricKind::Counter,
        labels,
        about,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], about: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricKind::Gauge,
        labels,
        about,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    about: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricKind::Histogram,
        labels,
        about,
    }
}

impl Metric {
    /// The unit: by convention the name tells it.
    fn unit(&self) -> Unit {
        if self.name.ends_with("_seconds") {
            Unit::Seconds
        } else {
            Unit::Count
        }
    }
}

/// Tells the recorder what each metric is: call it once the recorder is installed.
pub fn describe_metrics() {
    for metric in METRICS {
        let (name, unit, about) = (metric.name.into(), Some(metric.unit()), metric.about.into());
        with_recorder(|recorder| match metric.kind {
            MetricKind::Counter => recorder.describe_counter(name, unit, about),
            MetricKind::Gauge => recorder.describe_gauge(name, unit, about),
            MetricKind::Histogram => recorder.describe_histogram(name, unit, about),
        });
    }
}

/// The keys of what is counted of each call, made at compile time.
pub(super) struct CallKeys {
    pub(super) seconds: Key,
    /// Done, refused, failed, cancelled.
    pub(super) calls: [Key; 4],
    /// Done, refused, failed.
    pub(super) items: [Key; 3],
}

macro_rules! call_keys {
    ($part:literal, $call:literal) => {{
        use super::metric::{CallKeys, metric_names as name};
        use metrics::{Key, Label};
        const PART: Label = Label::from_static_parts("part", $part);
        const CALL: Label = Label::from_static_parts("call", $call);
        static OF: [Label; 2] = [PART, CALL];
        static DONE: [Label; 3] = [PART, CALL, Label::from_static_parts("outcome", "done")];
        static REFUSED: [Label; 3] = [PART, CALL, Label::from_static_parts("outcome", "refused")];
        static FAILED: [Label; 3] = [PART, CALL, Label::from_static_parts("outcome", "failed")];
        static GONE: [Label; 3] = [PART, CALL, Label::from_static_parts("outcome", "cancelled")];
        static KEYS: CallKeys = CallKeys {
            seconds: Key::from_static_parts(name::CALL_SECONDS, &OF),
            calls: [
                Key::from_static_parts(name::CALLS, &DONE),
                Key::from_static_parts(name::CALLS, &REFUSED),
                Key::from_static_parts(name::CALLS, &FAILED),
                Key::from_static_parts(name::CALLS, &GONE),
            ],
            items: [
                Key::from_static_parts(name::ITEMS, &DONE),
                Key::from_static_parts(name::ITEMS, &REFUSED),
                Key::from_static_parts(name::ITEMS, &FAILED),
            ],
        };
        &KEYS
    }};
}
pub(super) use call_keys;

impl CallKeys {
    const fn call(&self, outcome: Outcome) -> &Key {
        let [done, refused, failed, cancelled] = &self.calls;
        match outcome {
            Outcome::Done => done,
            Outcome::Refused => refused,
            Outcome::Failed => failed,
            Outcome::Cancelled => cancelled,
        }
    }

    const fn item(&self, outcome: Outcome) -> &Key {
        let [done, refused, failed] = &self.items;
        match outcome {
            Outcome::Done => done,
            Outcome::Refused => refused,
            Outcome::Failed | Outcome::Cancelled => failed,
        }
    }
}

/// A call that ended.
pub(super) fn call(call: Call, outcome: Outcome, took: Duration) {
    let keys = call.keys();
    count(keys.call(outcome), 1);
    measure(&keys.seconds, took.as_secs_f64());
}

/// What became of some of what a call was about.
pub(super) fn items(call: Call, outcome: Outcome, reason: Option<Reason>, items: usize) {
    count(call.keys().item(outcome), items as u64);
    if let Some(reason) = reason {
        let name = if reason.failed {
            name::FAILED
        } else {
            name::REFUSED
        };
        let labels = [
            ("part", call.part()),
            ("call", call.name()),
            ("reason", reason.name),
        ];
        count(&key(name, labels), items as u64);
    }
}

/// A group of calls that was committed, or not.
#[cfg(any(feature = "embedded", feature = "postgres"))]
pub(super) fn group(calls: usize, writes: usize, took: Duration, done: bool) {
    static CALLS: Key = Key::from_static_name(name::GROUP_CALLS);
    static WRITES: Key = Key::from_static_name(name::GROUP_WRITES);
    static SECONDS: Key = Key::from_static_name(name::GROUP_SECONDS);
    let outcome = if done { "done" } else { "failed" };
    count(&key(name::GROUPS, [("outcome", outcome)]), 1);
    measure(&CALLS, calls as f64);
    measure(&WRITES, writes as f64);
    measure(&SECONDS, took.as_secs_f64());
}

/// Writes that were queued, or with a minus taken from the queue.
#[cfg(any(feature = "embedded", feature = "postgres"))]
pub(super) fn queue(writes: f64) {
    static QUEUE: Key = Key::from_static_name(name::QUEUE_WRITES);
    with_recorder(|recorder| recorder.register_gauge(&QUEUE, &METADATA).increment(writes));
}

#[cfg(feature = "postgres")]
pub(super) fn retry(during: &'static str, reason: &'static str) {
    count(
        &key(name::RETRIES, [("during", during), ("reason", reason)]),
        1,
    );
}

/// Rows of a step: what was done with how many.
pub(super) fn step(call: Call, rows: [(&'static str, u64); 3]) {
    for (what, rows) in rows {
        count(
            &key(name::STEP_ROWS, [("call", call.name()), ("rows", what)]),
            rows,
        );
    }
}

pub(super) fn guard_moved() {
    static MOVES: Key = Key::from_static_name(name::GUARD_MOVES);
    count(&MOVES, 1);
}

/// A ring went into use.
pub(super) fn ring(how: &'static str, ring: &KeyRing, now: UnixSeconds) {
    count(&key(name::RINGS, [("how", how)]), 1);
    keys(ring, now);
}

/// How the keys of the ring in use stand.
pub(crate) fn keys(ring: &KeyRing, now: UnixSeconds) {
    set(&key(name::RING_GENERATION, []), ring.generation() as f64);
    for usage in KeyUse::ALL {
        let of = || ring.versions().filter(move |info| info.name.usage == usage);
        if of().next().is_none() {
            continue;
        }
        for state in KeyState::ALL {
            let versions = of().filter(|info| info.state == state).count();
            let labels = [("use", usage.as_str()), ("state", state.as_str())];
            set(&key(name::KEYS, labels), versions as f64);
        }
        let active = of().find(|info| info.state == KeyState::Active);
        let left = |at: UnixSeconds| at.0 as f64 - now.0 as f64;
        let since = |info: &KeyInfo| info.activated.map(|at| now.0 as f64 - at.0 as f64);
        let opens = of().filter(|info| info.may_open());
        let opens = opens.filter_map(KeyInfo::opens_until).min();
        for (name, value) in [
            (
                name::KEY_VERSION,
                active.map(|info| f64::from(info.name.version)),
            ),
            (name::KEY_AGE, active.and_then(since)),
            (
                name::KEY_SEALS_FOR,
                active.and_then(KeyInfo::not_after).map(left),
            ),
            (name::KEY_OPENS_FOR, opens.map(left)),
        ] {
            let key = key(name, [("use", usage.as_str())]);
            set(&key, value.unwrap_or(0.0));
        }
    }
}

static METADATA: Metadata<'static> =
    Metadata::new("cardvault", Level::INFO, Some("cardvault::vault"));

fn count(key: &Key, more: u64) {
    with_recorder(|recorder| recorder.register_counter(key, &METADATA).increment(more));
}

fn measure(key: &Key, value: f64) {
    with_recorder(|recorder| recorder.register_histogram(key, &METADATA).record(value));
}

fn set(key: &Key, value: f64) {
    with_recorder(|recorder| recorder.register_gauge(key, &METADATA).set(value));
}

fn key<const N: usize>(name: &'static str, labels: [(&'static str, &'static str); N]) -> Key {
    let labels: Vec<_> = labels
        .into_iter()
        .map(|(key, value)| Label::from_static_parts(key, value))
        .collect();
    Key::from_parts(name, labels)
}
