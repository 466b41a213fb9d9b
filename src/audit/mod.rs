//! The tamper-evident access log, its checkpoints, and their verification.
//!
//! [`AuditLog`] is a [`crate::vault::AccessLog`]: one chain per writer, each frame under a key that
//! is gone once the next one is written. [`verify`] reads the logs of a folder with the key ring,
//! and finds what was changed, moved, repeated or cut off. What only an earlier look can tell - a
//! log that was rolled back as a whole, a row of the vault that is gone or back - is found against
//! a checkpoint: see [`crate::manual::audit`].
#![forbid(unsafe_code)]

mod checkpoint;
mod error;
mod event;
mod finding;
mod frame;
mod log;
mod medium;
mod recent;
mod rows;
mod search;
mod state;
mod verify;
mod writer;

pub use checkpoint::{
    Checkpoint, CheckpointHeader, CheckpointItem, CheckpointTotals, CheckpointWriter,
    MAX_CHECKPOINT_PART, ROW_DIGEST_LEN, RowEntry,
};
pub use error::AuditError;
pub use event::LoggedEvent;
pub use finding::{Finding, Place, RowFault, RowFinding, Severity};
pub use frame::MAX_FRAME;
pub use log::{AuditLog, AuditOptions, DEFAULT_UNSAVED, MAX_AUDIT_FILE};
pub use recent::recent_events;
pub use rows::{
    CLOCK_SLACK, Compared, compare_rows, compare_rows_blocking, write_checkpoint,
    write_checkpoint_blocking,
};
pub use verify::{LogPosition, Told, Verified, verify};
pub use writer::{WRITER_ID_LEN, WRITER_MAX_LEN, Writer, WriterKey};
