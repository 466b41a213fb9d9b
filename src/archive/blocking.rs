//! Archives for callers without a runtime: each call waits on its thread.
#![forbid(unsafe_code)]

use core::fmt;
use std::io::{Read, Seek};

use pollster::block_on;
use rand_core::TryCryptoRng;

use super::error::ArchiveError;
use super::export::Export;
use super::format::ArchiveHeader;
use super::reading::Contents;
use super::restore::restore;
use crate::keys::KeyRing;
use crate::vault::{Access, BlockingVault, SnapshotStore, Store};

/// [`Export`] without `async`.
pub struct BlockingExport<'a, S: SnapshotStore, R>(Export<'a, S, R>);

impl<S: SnapshotStore, R: TryCryptoRng + Send + 'static> BlockingVault<S, R> {
    /// # Errors
    /// See [`Vault::export`](crate::vault::Vault::export).
    pub fn export(
        &self,
        access: &Access,
        sealed_ring: Option<&[u8]>,
    ) -> Result<BlockingExport<'_, S, R>, ArchiveError> {
        block_on(self.vault().export(access, sealed_ring)).map(BlockingExport)
    }
}

impl<S: SnapshotStore, R: TryCryptoRng + Send + 'static> BlockingExport<'_, S, R> {
    /// See [`Export::header`].
    #[must_use]
    pub const fn header(&self) -> &ArchiveHeader {
        self.0.header()
    }

    /// See [`Export::rows`].
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.0.rows()
    }

    /// # Errors
    /// See [`Export::next`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend its items"
    )]
    pub fn next(&mut self) -> Result<Option<&[u8]>, ArchiveError> {
        block_on(self.0.next())
    }
}

impl<S: SnapshotStore, R> fmt::Debug for BlockingExport<'_, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// [`restore`] without `async`.
///
/// # Errors
/// See [`restore`].
pub fn restore_blocking<S: Store>(
    source: impl Read + Seek + Send,
    ring: &KeyRing,
    store: &S,
) -> Result<Contents, ArchiveError> {
    block_on(restore(source, ring, store))
}
