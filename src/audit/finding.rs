//! What verification finds, and where.
#![forbid(unsafe_code)]

use core::fmt;

use super::writer::Writer;
use crate::keys::Domain;
use crate::time::UnixSeconds;
use crate::token::Token;

/// A place in a writer's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose log.
    pub writer: Writer,
    /// The number of the file.
    pub file: u32,
    /// Where in it, in bytes.
    pub at: u64,
    /// The sequence number of the frame that belongs there.
    pub sequence: u64,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// What happens in a log that is whole, and that a reader may want to know.
    Note,
    /// The log or the vault is not what was written.
    Fault,
}

/// One finding about a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// These bytes are no frame of this writer: they were changed, or put in.
    Damaged {
        /// Where they begin.
        place: Place,
        /// How many.
        bytes: u64,
    },
    /// What the log ends with is no whole frame: a write that is under way or was cut off, or a
    /// last frame that was changed.
    Unfinished {
        /// Where it begins.
        place: Place,
        /// How many bytes.
        bytes: u64,
    },
    /// Frames are not there: they were taken out, or damaged beyond recognition.
    Missing {
        /// Where they belong.
        place: Place,
        /// How many.
        frames: u64,
    },
    /// A genuine frame that does not belong here: moved, or repeated.
    OutOfPlace {
        /// Where it is.
        place: Place,
        /// Its sequence number.
        found: u64,
    },
    /// The head of a file is not what the writer wrote, or the file is another's.
    Head {
        /// The file.
        place: Place,
    },
    /// Files are not there.
    FilesMissing {
        /// Where the first of them belongs.
        place: Place,
        /// How many.
        files: u32,
    },
    /// A genuine frame that holds what no writer of this format writes.
    Content {
        /// The frame.
        place: Place,
    },
    /// The log ends before a frame that the checkpoint has seen: it was cut off, or an older copy
    /// was put in its place.
    Truncated {
        /// Whose log.
        writer: Writer,
        /// How many frames it has.
        frames: u64,
        /// How many the checkpoint saw.
        seen: u64,
    },
    /// What stands before the checkpoint's place is not what the checkpoint saw: the log was
    /// written anew, or an older copy was put in its place and written on.
    Rewritten {
        /// Whose log.
        writer: Writer,
        /// How many frames the checkpoint saw.
        seen: u64,
    },
    /// A log that the checkpoint has seen is not there.
    LogMissing {
        /// Whose.
        writer: Writer,
        /// How many frames the checkpoint saw.
        seen: u64,
    },
    /// Another folder has a log of this writer too: one of them is a copy, or was written with a
    /// copied state.
    Twice {
        /// Whose.
        writer: Writer,
    },
    /// No key of the ring verifies this log.
    NoKey {
        /// Whose.
        writer: Writer,
    },
    /// A folder whose files no writer's head can be read of.
    Unreadable {
        /// The folder's name.
        folder: String,
    },
    /// The writer's clock went back.
    ClockBack {
        /// From which frame on.
        place: Place,
        /// By how many seconds.
        seconds: u64,
    },
    /// The writer dropped an unfinished write when it was opened: a crash or a power cut, or
    /// somebody changed the end of the log before.
    Dropped {
        /// The opening.
        place: Place,
        /// How many bytes.
        bytes: u64,
    },
    /// The writer was opened without having ended in order before.
    NotClosed {
        /// The opening.
        place: Place,
    },
}

impl Finding {
    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::ClockBack { .. } | Self::Dropped { .. } | Self::NotClosed { .. } => {
                Severity::Note
            }
            _ => Severity::Fault,
        }
    }

    /// Whose log it is about, if that is known.
    #[must_use]
    pub const fn writer(&self) -> Option<&Writer> {
        match self {
            Self::Damaged { place, .. }
            | Self::Unfinished { place, .. }
            | Self::Missing { place, .. }
            | Self::OutOfPlace { place, .. }
            | Self::Head { place }
            | Self::FilesMissing { place, .. }
            | Self::Content { place }
            | Self::ClockBack { place, .. }
            | Self::Dropped { place, .. }
            | Self::NotClosed { place } => Some(&place.writer),
            Self::Truncated { writer, .. }
            | Self::Rewritten { writer, .. }
            | Self::LogMissing { writer, .. }
            | Self::Twice { writer }
            | Self::NoKey { writer } => Some(writer),
            Self::Unreadable { .. } => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            writer,
            file,
            at,
            sequence,
        } = self;
        write!(
            f,
            "{writer}, frame {sequence}, file {file:08}.cva byte {at}"
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { place, bytes } => {
                write!(
                    f,
                    "{place}: {bytes} bytes are no frame of this writer: changed or put in"
                )
            }
            Self::Unfinished { place, bytes } => write!(
                f,
                "{place}: the last {bytes} bytes are no whole frame: a write under way or cut off, \
                 or a changed last frame"
            ),
            Self::Missing { place, frames } => write!(f, "{place}: {frames} frames are missing"),
            Self::OutOfPlace { place, found } => {
                write!(f, "{place}: frame {found} is here, moved or repeated")
            }
            Self::Head { place } => write!(f, "{place}: the file's head was changed"),
            Self::FilesMissing { place, files } => {
                write!(f, "{place}: {files} files are missing from here on")
            }
            Self::Content { place } => write!(f, "{place}: the frame holds what is not allowed"),
            Self::Truncated {
                writer,
                frames,
                seen,
            } => write!(
                f,
                "{writer}: the log has {frames} frames, the checkpoint saw {seen}: cut off, or an \
                 older copy"
            ),
            Self::Rewritten { writer, seen } => write!(
                f,
                "{writer}: the first {seen} frames are not those that the checkpoint saw"
            ),
            Self::LogMissing { writer, seen } => write!(
                f,
                "{writer}: the log is gone; the checkpoint saw {seen} frames of it"
            ),
            Self::Twice { writer } => {
                write!(f, "{writer}: two folders have this log: one is a copy")
            }
            Self::NoKey { writer } => {
                write!(
                    f,
                    "{writer}: the key ring has no key that verifies this log"
                )
            }
            Self::Unreadable { folder } => {
                write!(
                    f,
                    "{folder}: no head of a file can be read: not a log, or changed"
                )
            }
            Self::ClockBack { place, seconds } => {
                write!(f, "{place}: the clock went back by {seconds} s")
            }
            Self::Dropped { place, bytes } => write!(
                f,
                "{place}: {bytes} bytes of an unfinished write were dropped when the log was opened"
            ),
            Self::NotClosed { place } => {
                write!(f, "{place}: opened without having ended in order before")
            }
        }
    }
}

/// One finding about a row of a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFinding {
    /// The row's domain and token; none if its key is no row's key.
    pub row: Option<(Domain, Token)>,
    /// What is wrong.
    pub fault: RowFault,
}

/// What is wrong with a row of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowFault {
    /// The checkpoint has it, the vault does not, and no deletion was logged since.
    Deleted,
    /// Its deletion was logged, and it is there: it was put back, or the deletion failed after it
    /// was logged.
    Back {
        /// When the deletion was logged.
        deleted: UnixSeconds,
    },
    /// It is older than the checkpoint, which does not have it: it was put back or put in.
    PutIn {
        /// When it was made, as it says.
        created: UnixSeconds,
    },
    /// It is an older copy of itself.
    RolledBack {
        /// Its revision.
        revision: u32,
        /// The revision that the checkpoint saw.
        seen: u32,
    },
    /// It is another than the checkpoint saw, in the same revision.
    Changed {
        /// The revision.
        revision: u32,
    },
    /// It is no row of this version.
    Unreadable,
}

impl fmt::Display for RowFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.row {
            Some((domain, token)) => write!(f, "domain {domain}, token {token}: ")?,
            None => f.write_str("a row under a key that is none: ")?,
        }
        match self.fault {
            RowFault::Deleted => f.write_str("gone, and no deletion was logged"),
            RowFault::Back { deleted } => write!(
                f,
                "there, though its deletion was logged at {}: put back, or the deletion failed; \
                 delete it again",
                deleted.0
            ),
            RowFault::PutIn { created } => write!(
                f,
                "made at {}, before the checkpoint, which does not have it: put back or put in",
                created.0
            ),
            RowFault::RolledBack { revision, seen } => write!(
                f,
                "rolled back: revision {revision}, the checkpoint saw {seen}"
            ),
            RowFault::Changed { revision } => {
                write!(
                    f,
                    "changed by hand: revision {revision} is not the one seen"
                )
            }
            RowFault::Unreadable => f.write_str("is no row of this version"),
        }
    }
}
