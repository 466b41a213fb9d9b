//! The guard: which ring a vault belongs to and the newest state of it that the vault has seen.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | version: 1 |
//! | 1 | mark: 1 production, 2 development |
//! | 2..18 | ring id |
//! | 18..26 | ring generation, big-endian |
//! | 26..30 | index version that is read, big-endian |
//! | 30..46 | commitment to the ring, see [`KeyRing::commitment`] |
//!
//! While a store is filled from an archive its guard is another one, that no vault is opened with:
//!
//! | bytes | field |
//! |---|---|
//! | 0 | 255 |
//! | 1..33 | SHA-256 of the archive's header |
#![forbid(unsafe_code)]

use super::error::VaultError;
use super::store::{Guard, StoreError};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::{KeyRing, RING_COMMITMENT_LEN, RING_ID_LEN, RingMark};

const GUARD_LEN: usize = 46;
const VERSION: u8 = 1;
/// In the place of a version that no release will have.
const RESTORING: u8 = 0xff;
/// Length of an archive's name in the guard, in bytes.
const DIGEST_LEN: usize = 32;

/// The guard of a store that is being filled from the archive with this header.
pub(crate) fn restoring(header: &[u8; DIGEST_LEN]) -> Result<Guard, StoreError> {
    let mut bytes = [RESTORING; 1 + DIGEST_LEN];
    for (to, from) in bytes.iter_mut().skip(1).zip(header) {
        *to = *from;
    }
    Guard::new(&bytes)
}

/// Whether a store with this guard is being filled from an archive.
pub(crate) fn is_restoring(guard: &Guard) -> bool {
    guard.as_bytes().first() == Some(&RESTORING)
}

/// The generation of the ring that a vault with this guard has seen, if it may be opened with
/// `ring` as far as the guard tells.
///
/// # Errors
/// Why it may not: see [`Vault::open`](super::Vault::open).
pub(crate) fn admitted(guard: &Guard, ring: &KeyRing) -> Result<u64, VaultError> {
    let seen = RingSeen::from_guard(guard)?;
    seen.admits(&RingSeen::of(ring)?)?;
    Ok(seen.generation)
}

/// What the vault knows of its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingSeen {
    mark: RingMark,
    ring: [u8; RING_ID_LEN],
    generation: u64,
    index_version: u32,
    commitment: [u8; RING_COMMITMENT_LEN],
}

impl RingSeen {
    /// What `ring` is now.
    pub(super) fn of(ring: &KeyRing) -> Result<Self, VaultError> {
        Ok(Self {
            mark: ring.mark(),
            ring: *ring.id().as_bytes(),
            generation: ring.generation(),
            index_version: ring.index_versions()?.read,
            commitment: ring.commitment(),
        })
    }

    /// Whether a vault that has seen `self` may be opened with `ring`.
    pub(super) fn admits(&self, ring: &Self) -> Result<(), VaultError> {
        if self.ring != ring.ring || self.mark != ring.mark {
            return Err(VaultError::OtherRing);
        }
        if ring.generation < self.generation {
            return Err(VaultError::StaleRing {
                ring: ring.generation,
                seen: self.generation,
            });
        }
        if ring.generation == self.generation && ring.commitment != self.commitment {
            return Err(VaultError::ForkedRing {
                generation: ring.generation,
            });
        }
        Ok(())
    }

    /// Whether the index that a vault which has seen `self` filled is the one that `ring` reads.
    pub(super) const fn check_index(&self, ring: &Self) -> Result<(), VaultError> {
        if self.index_version == ring.index_version {
            Ok(())
        } else {
            Err(VaultError::IndexNotFilled {
                reads: ring.index_version,
                filled: self.index_version,
            })
        }
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn to_guard(self) -> Result<Guard, StoreError> {
        let mut bytes = [0; GUARD_LEN];
        let mut writer = Writer::new(&mut bytes);
        let written = writer
            .u8(VERSION)
            .and_then(|()| writer.u8(self.mark.number()))
            .and_then(|()| writer.put(&self.ring))
            .and_then(|()| writer.u64(self.generation))
            .and_then(|()| writer.u32(self.index_version))
            .and_then(|()| writer.put(&self.commitment));
        written.map_err(|_| StoreError::Corrupt)?;
        Guard::new(&bytes)
    }

    /// # Errors
    /// [`VaultError::RestoreUnfinished`], [`VaultError::NewerFormat`], [`StoreError::Corrupt`].
    pub(super) fn from_guard(guard: &Guard) -> Result<Self, VaultError> {
        if is_restoring(guard) {
            return Err(VaultError::RestoreUnfinished);
        }
        if let Some(&found) = guard.as_bytes().first()
            && found > VERSION
        {
            return Err(VaultError::NewerFormat { found });
        }
        Self::read(guard.as_bytes()).map_err(|_| VaultError::Store(StoreError::Corrupt))
    }

    fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(CodecError::Invalid { at: 0 });
        }
        let mark = RingMark::from_number(reader.u8()?).ok_or(CodecError::Invalid { at: 1 })?;
        let ring = reader.array()?;
        let generation = reader.u64()?;
        let index_version = reader.u32()?;
        let commitment = reader.array()?;
        reader.finish()?;
        Ok(Self {
            mark,
            ring,
            generation,
            index_version,
            commitment,
        })
    }
}
