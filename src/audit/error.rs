//! What can go wrong with an audit log or a checkpoint.
#![forbid(unsafe_code)]

use core::fmt;
use std::io;

use super::writer::WRITER_MAX_LEN;
use crate::codec::CodecError;
use crate::keys::{KeyError, RingMark};
use crate::vault::{StoreError, VaultError};

/// Why an audit log was not begun, opened or read, or a checkpoint not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditError {
    /// The name is no writer's name.
    Writer,
    /// There is a log in this folder already.
    Exists,
    /// There is no log in this folder.
    NoLog,
    /// This or another process has the log open.
    AlreadyOpen,
    /// No whole state of the writer is there: begin a new epoch.
    State,
    /// The log is not what its writer left: begin a new epoch, and verify the old one.
    Damaged {
        /// The file, from 0.
        file: u32,
        /// Where in it, in bytes.
        at: u64,
    },
    /// A write failed before: what is in the files is known again once the log is opened anew.
    Poisoned,
    /// A frame too many or too long. Not reached.
    Over,
    /// The bytes are no checkpoint.
    NotACheckpoint,
    /// A format version that this release does not read.
    Version {
        /// The version.
        found: u8,
    },
    /// A checkpoint's header is cut off or holds a value that is not allowed.
    Header(CodecError),
    /// The checkpoint was made with another ring.
    OtherRing,
    /// The checkpoint was made with a ring of the other mark.
    OtherMark {
        /// The mark of the checkpoint's ring.
        checkpoint: RingMark,
    },
    /// The checkpoint was changed or cut off.
    Changed {
        /// The part, from 0.
        part: u64,
    },
    /// The part is as it was made, and holds what no writer of this format puts there.
    Content {
        /// The part, from 0.
        part: u64,
    },
    /// The ring gave no key.
    Key(KeyError),
    /// The medium failed.
    Io(io::ErrorKind),
    /// The vault or its store failed.
    Vault(VaultError),
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer => write!(
                f,
                "a writer's name is 1 to {WRITER_MAX_LEN} letters, digits, dashes, dots or underscores"
            ),
            Self::Exists => f.write_str("there is an audit log already"),
            Self::NoLog => f.write_str("there is no audit log"),
            Self::AlreadyOpen => f.write_str("the audit log is open already"),
            Self::State => f.write_str("the audit log's state is lost: begin a new epoch"),
            Self::Damaged { file, at } => write!(
                f,
                "the audit log was changed in file {file} at byte {at}: verify it, and begin a new \
                 epoch"
            ),
            Self::Poisoned => f.write_str("an earlier write failed; open the audit log again"),
            Self::Over => f.write_str("a frame of the audit log is too long or one too many"),
            Self::NotACheckpoint => f.write_str("not a checkpoint"),
            Self::Version { found } => write!(f, "unknown version {found} of the format"),
            Self::Header(error) => write!(f, "the checkpoint's header: {error}"),
            Self::OtherRing => f.write_str("the checkpoint was made with another key ring"),
            Self::OtherMark { checkpoint } => {
                write!(f, "the checkpoint was made with a {checkpoint} key ring")
            }
            Self::Changed { part: 0 } => {
                f.write_str("the checkpoint's header or part 0 was changed or is cut off")
            }
            Self::Changed { part } => {
                write!(f, "part {part} of the checkpoint was changed or is cut off")
            }
            Self::Content { part } => {
                write!(f, "part {part} of the checkpoint holds what is not allowed")
            }
            Self::Key(error) => error.fmt(f),
            Self::Io(kind) => write!(f, "the medium failed: {kind}"),
            Self::Vault(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AuditError {}

impl From<KeyError> for AuditError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<io::Error> for AuditError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl From<VaultError> for AuditError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Vault(error.into())
    }
}

/// What was to be written does not fit its room. Not reached.
impl From<CodecError> for AuditError {
    fn from(_: CodecError) -> Self {
        Self::Over
    }
}
