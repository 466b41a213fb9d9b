//! The vault: card records under tokens, sealed, in a store.
//!
//! [`Vault`] does the work over any [`Store`]: [`Memory`], or [`Embedded`] on disk with the
//! feature `embedded`. It is `async` without needing a runtime; [`BlockingVault`] is the
//! same for callers that rather wait.
//!
//! Concurrent calls are committed together, so many callers share one write to the medium. What
//! a call has returned is durable.
#![forbid(unsafe_code)]

mod access;
mod blocking;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod fill;
mod guard;
mod memory;
mod operations;
mod policy;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "embedded", feature = "postgres"))]
mod queue;
mod request;
mod retention;
mod rewrapping;
mod ring_source;
mod ring_state;
mod row;
mod staged;
mod store;
pub(crate) mod telemetry;

pub use access::{
    ACCESS_TEXT_MAX, Access, AccessError, AccessEvent, AccessLog, AccessLogError, FileLog, LineLog,
    Operation,
};
pub use blocking::BlockingVault;
#[cfg(feature = "embedded")]
pub use embedded::{DEFAULT_CACHE, Embedded, EmbeddedOptions, EmbeddedSnapshot, FILE_NAME};
pub use error::VaultError;
/// The generator of [`Vault::open`], for what stands beside a vault.
pub(crate) use getrandom::SysRng;
pub(crate) use guard::{admitted, is_restoring, restoring};
pub use memory::{Memory, MemorySnapshot};
pub use operations::Vault;
pub(crate) use operations::has_been_used;
pub(crate) use operations::{Candidate, split_candidates};
pub use policy::{
    AccessPolicy, Budget, Grant, MAX_BUDGET_SECONDS, MAX_POLICY_ACTORS, PolicyFault, PolicyReason,
    PolicyRefusal, Spent,
};
#[cfg(feature = "policy")]
pub use policy::{MAX_POLICY_LEN, PolicyError};
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresOptions, PostgresSnapshot};
#[cfg(any(feature = "embedded", feature = "postgres"))]
pub use queue::{MAX_GROUP, MAX_QUEUED};
pub use request::{
    CardTokens, Checked, Elsewhere, IndexDropped, IndexFill, LeftRow, Metadata, Needed, Rewrapped,
    Tokenize, Tokenized, UnderKey, VaultStats,
};
pub(crate) use retention::AsOf;
pub use retention::{
    ApprovedPurge, DEFAULT_CLOCK_DAYS, DEFAULT_REFUND_DAYS, KeepRule, PurgeTally, Purged,
    RETENTION_DAYS_MAX, Retention, RetentionError, Survey, Verdict,
};
#[cfg(feature = "policy")]
pub use retention::{RetentionFault, RetentionFileError};
pub use rewrapping::{MAX_REWRAP_CURSOR, RewrapPace, RewrapProgress, Rewrapping};
pub use ring_source::RingSource;
pub(crate) use ring_state::RingState;
pub use row::ROW_LEN;
pub(crate) use row::{read_row_key, row_facts, row_key, vault_end};
pub use store::{
    Found, Guard, IndexKey, Item, LEDGER_SPACE, MAX_ALL, MAX_BATCH, MAX_FOUND, MAX_GUARD,
    MAX_INDEX_KEYS, MAX_KEY, MAX_ROW, Part, Row, RowKey, Snapshot, SnapshotStore, Store,
    StoreError, Write, WriteOutcome,
};
#[cfg(feature = "metrics")]
pub use telemetry::{METRICS, Metric, MetricKind, describe_metrics, metric_names};
