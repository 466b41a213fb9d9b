//! What can go wrong with an archive.
#![forbid(unsafe_code)]

use core::fmt;
use std::io;

use crate::codec::CodecError;
use crate::keys::{KeyError, RingMark};
use crate::seal::{RingSealError, SealError};
use crate::secret::RandomError;
#[cfg(any(feature = "metrics", feature = "tracing"))]
use crate::vault::telemetry::Reason;
use crate::vault::{StoreError, VaultError};

/// Why no archive was made, or one was not accepted. Chunks are counted from 0; positions are
/// offsets in the archive, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The bytes are no archive.
    NotAnArchive,
    /// A format version that this release does not read.
    Version {
        /// The version.
        found: u8,
    },
    /// The header is cut off or holds a value that is not allowed.
    Header(CodecError),
    /// The sealed ring that is to go along, or that the archive carries, is not what the archive's
    /// ring is sealed as.
    SealedRing(RingSealError),
    /// The sealed ring is another ring, or of another generation, than the one that the vault uses.
    OtherSealedRing,
    /// The archive was made with a ring of the other mark.
    OtherMark {
        /// The mark of the archive's ring.
        archive: RingMark,
    },
    /// The archive was made with another ring.
    OtherRing,
    /// The header names another key than the one that it says to derive: it was changed.
    OtherKey,
    /// The archive ends inside or before this chunk.
    Truncated {
        /// The chunk.
        chunk: u64,
        /// Where the archive ends.
        at: u64,
    },
    /// Another chunk of the archive stands in this one's place: chunks were swapped, left out or
    /// repeated.
    OutOfPlace {
        /// The chunk that belongs here.
        chunk: u64,
        /// The number of the one that is here.
        found: u64,
        /// Where it begins.
        at: u64,
    },
    /// A chunk of another archive.
    OtherArchive {
        /// The chunk.
        chunk: u64,
        /// Where it begins.
        at: u64,
    },
    /// The chunk was changed, or what it is bound to: its head, its place, the header.
    Damaged {
        /// The chunk.
        chunk: u64,
        /// Where it begins.
        at: u64,
    },
    /// The chunk is as it was sealed, and holds what no writer of this format puts there.
    Content {
        /// The chunk.
        chunk: u64,
        /// Where it begins.
        at: u64,
    },
    /// Bytes follow on the last chunk.
    Trailing {
        /// Where they begin.
        at: u64,
    },
    /// The archive was changed while it was read for the second time.
    ChangedMeanwhile,
    /// The store to be filled holds something already.
    NotEmpty,
    /// The store was begun to be filled from another archive.
    OtherRestore,
    /// Something else wrote to the store while it was filled.
    StoreChanged,
    /// The export failed before, or its future was dropped: begin a new one.
    Broken,
    /// The archive could not be read.
    Io(io::ErrorKind),
    /// No nonce or id could be drawn.
    Random(RandomError),
    /// The cipher refused the length of its input. Not reached.
    Cipher,
    /// The vault, its ring or the store failed.
    Vault(VaultError),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnArchive => f.write_str("not an archive"),
            Self::Version { found } => write!(f, "unknown version {found} of an archive"),
            Self::Header(error) => write!(f, "the archive's header: {error}"),
            Self::SealedRing(error) => write!(f, "the archive's key ring: {error}"),
            Self::OtherSealedRing => {
                f.write_str("the sealed key ring is not the one that the archive is made with")
            }
            Self::OtherMark { archive } => {
                write!(f, "the archive was made with a {archive} key ring")
            }
            Self::OtherRing => f.write_str("the archive was made with another key ring"),
            Self::OtherKey => f.write_str("the archive's header names another key: it was changed"),
            Self::Truncated { chunk, at } => {
                write!(
                    f,
                    "the archive ends at byte {at}, in or before chunk {chunk}"
                )
            }
            Self::OutOfPlace { chunk, found, at } => {
                write!(
                    f,
                    "chunk {found} is in the place of chunk {chunk} at byte {at}"
                )
            }
            Self::OtherArchive { chunk, at } => write!(
                f,
                "a chunk of another archive is in the place of chunk {chunk} at byte {at}"
            ),
            Self::Damaged { chunk: 0, at } => {
                write!(f, "the header, or chunk 0 at byte {at}, was changed")
            }
            Self::Damaged { chunk, at } => write!(f, "chunk {chunk} at byte {at} was changed"),
            Self::Content { chunk, at } => {
                write!(f, "chunk {chunk} at byte {at} holds what is not allowed")
            }
            Self::Trailing { at } => {
                write!(f, "bytes left over behind the archive, from byte {at}")
            }
            Self::ChangedMeanwhile => f.write_str("the archive was changed while it was read"),
            Self::NotEmpty => f.write_str("the store to be filled is not empty"),
            Self::OtherRestore => {
                f.write_str("the store was begun to be filled from another archive")
            }
            Self::StoreChanged => f.write_str("something else wrote to the store meanwhile"),
            Self::Broken => f.write_str("this export failed or was interrupted"),
            Self::Io(kind) => write!(f, "the archive could not be read: {kind}"),
            Self::Random(error) => error.fmt(f),
            Self::Cipher => f.write_str("the cipher refused the length of its input"),
            Self::Vault(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ArchiveError {}

impl From<VaultError> for ArchiveError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<StoreError> for ArchiveError {
    fn from(error: StoreError) -> Self {
        Self::Vault(VaultError::Store(error))
    }
}

impl From<KeyError> for ArchiveError {
    fn from(error: KeyError) -> Self {
        Self::Vault(VaultError::Key(error))
    }
}

impl From<RandomError> for ArchiveError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl From<SealError> for ArchiveError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Random(error) => Self::Random(error),
            _ => Self::Cipher,
        }
    }
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
impl From<ArchiveError> for Reason {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Vault(error) => error.into(),
            ArchiveError::Io(_) => Self::failed("archive-io"),
            ArchiveError::Random(_) => Self::failed("random"),
            ArchiveError::Broken => Self::failed("broken"),
            _ => Self::failed("archive"),
        }
    }
}
