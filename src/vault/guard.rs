//! The guard: which ring a vault belongs to, the newest state of it that the vault has seen, and
//! how far a new index version is filled.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | version: 2 |
//! | 1 | mark: 1 production, 2 development |
//! | 2..18 | ring id |
//! | 18..26 | ring generation, big-endian |
//! | 26..30 | index version that is read, big-endian |
//! | 30..33 | check value of its key |
//! | 33..37 | index version that is being filled, big-endian; 0: none, and all zeros to 49 |
//! | 37..40 | check value of its key |
//! | 40 | 1: every row stands under it; 0: not yet |
//! | 41..49 | ring generation since which every writer writes it, big-endian |
//! | 49..65 | commitment to the ring, see [`KeyRing::commitment`] |
//!
//! Version 1 ends its index with byte 30 and has the commitment in 30..46. It stays in a store until
//! the vault sees another ring, or one that fills an index version.
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
use crate::keys::{
    CHECK_VALUE_LEN, KeyName, KeyRing, KeyUse, RING_COMMITMENT_LEN, RING_ID_LEN, RingMark,
};

const GUARD_LEN: usize = 65;
const VERSION: u8 = 2;
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
    read: IndexSeen,
    filling: Option<Filling>,
    commitment: [u8; RING_COMMITMENT_LEN],
}

/// An index version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IndexSeen {
    version: u32,
    /// Tells apart keys of copies of the ring that were changed apart; not known of version 1.
    check: Option<[u8; CHECK_VALUE_LEN]>,
}

/// An index version that is written beside the one that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filling {
    index: IndexSeen,
    /// The generation of the ring since which every writer writes it.
    pub(super) since: u64,
    /// Whether every row stands under it.
    pub(super) filled: bool,
}

impl Filling {
    pub(super) const fn version(&self) -> u32 {
        self.index.version
    }
}

impl RingSeen {
    /// What `ring` is now, in a vault that has seen none before.
    pub(super) fn of(ring: &KeyRing) -> Result<Self, VaultError> {
        let versions = ring.index_versions()?;
        let generation = ring.generation();
        Ok(Self {
            mark: ring.mark(),
            ring: *ring.id().as_bytes(),
            generation,
            read: IndexSeen::of(ring, versions.read),
            filling: versions.also_write.map(|version| Filling {
                index: IndexSeen::of(ring, version),
                since: generation,
                filled: false,
            }),
            commitment: ring.commitment(),
        })
    }

    /// Whether a vault that has seen `self` may be opened with `ring`, but for the index.
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

    /// What a vault that has seen `self` has seen once it goes on with `ring`, of which nothing is
    /// filled yet. A version that goes on being filled keeps what is filled of it.
    ///
    /// # Errors
    /// Those of [`Self::admits`]; [`VaultError::ForkedRing`] if a version is another key than it
    /// was; [`VaultError::IndexNotFilled`] if `ring` reads a version that was not filled.
    pub(super) fn followed_by(&self, ring: &Self) -> Result<Self, VaultError> {
        self.admits(ring)?;
        let filled = self.filling.filter(|filling| filling.filled);
        let same = |index: IndexSeen, was: IndexSeen| {
            if index.is_of(&was) {
                Ok(())
            } else {
                Err(VaultError::ForkedRing {
                    generation: ring.generation,
                })
            }
        };
        let readable = [Some(self.read), filled.map(|filling| filling.index)];
        let mut readable = readable.into_iter().flatten();
        let was = readable.find(|was| was.version == ring.read.version);
        let not_filled = VaultError::IndexNotFilled {
            reads: ring.read.version,
            filled: self.read.version,
        };
        same(ring.read, was.ok_or(not_filled)?)?;
        let mut next = *ring;
        if let (Some(filling), Some(was)) = (&mut next.filling, self.filling)
            && filling.version() == was.version()
        {
            same(filling.index, was.index)?;
            (filling.since, filling.filled) = (was.since, was.filled);
        }
        Ok(next)
    }

    /// Whether both are of one and the same state of a ring.
    pub(super) fn is_ring_of(&self, other: &Self) -> bool {
        (self.ring, self.mark, self.generation, self.commitment)
            == (other.ring, other.mark, other.generation, other.commitment)
    }

    /// Whether a store needs no other guard than the one of `self`, once it is `next`.
    pub(super) fn says(&self, next: &Self) -> bool {
        self.is_ring_of(next)
            && self.filling == next.filling
            && self.read.version == next.read.version
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The index version that is being filled.
    pub(super) const fn filling(&self) -> Option<&Filling> {
        self.filling.as_ref()
    }

    /// The same with the version that is being filled filled.
    pub(super) fn filled(mut self) -> Self {
        if let Some(filling) = &mut self.filling {
            filling.filled = true;
        }
        self
    }

    pub(super) fn to_guard(self) -> Result<Guard, StoreError> {
        let mut bytes = [0; GUARD_LEN];
        let mut writer = Writer::new(&mut bytes);
        let filling = self.filling.as_ref();
        let index = filling.map(|filling| filling.index);
        let written = writer
            .u8(VERSION)
            .and_then(|()| writer.u8(self.mark.number()))
            .and_then(|()| writer.put(&self.ring))
            .and_then(|()| writer.u64(self.generation))
            .and_then(|()| self.read.write(&mut writer))
            .and_then(|()| index.unwrap_or(IndexSeen::NONE).write(&mut writer))
            .and_then(|()| writer.u8(filling.is_some_and(|filling| filling.filled).into()))
            .and_then(|()| writer.u64(filling.map_or(0, |filling| filling.since)))
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
        let version = reader.u8()?;
        if version == 0 || version > VERSION {
            return Err(CodecError::Invalid { at: 0 });
        }
        let mark = RingMark::from_number(reader.u8()?).ok_or(CodecError::Invalid { at: 1 })?;
        let ring = reader.array()?;
        let generation = reader.u64()?;
        let (read, filling) = if version == 1 {
            let (version, check) = (reader.u32()?, None);
            (IndexSeen { version, check }, None)
        } else {
            (IndexSeen::read(&mut reader)?, Filling::read(&mut reader)?)
        };
        let commitment = reader.array()?;
        reader.finish()?;
        Ok(Self {
            mark,
            ring,
            generation,
            read,
            filling,
            commitment,
        })
    }
}

impl IndexSeen {
    const NONE: Self = Self {
        version: 0,
        check: Some([0; CHECK_VALUE_LEN]),
    };

    fn of(ring: &KeyRing, version: u32) -> Self {
        let name = KeyName::new(KeyUse::Index, version);
        let mut versions = ring.versions();
        let info = versions.find(|info| info.name == name);
        Self {
            version,
            check: info.map(|info| info.check_value.to_bytes()),
        }
    }

    /// Whether both are the same key, as far as is known.
    fn is_of(&self, other: &Self) -> bool {
        let differ = matches!((self.check, other.check), (Some(a), Some(b)) if a != b);
        self.version == other.version && !differ
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        writer.u32(self.version)?;
        writer.put(&self.check.unwrap_or_default())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (version, check) = (reader.u32()?, Some(reader.array()?));
        Ok(Self { version, check })
    }
}

impl Filling {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, CodecError> {
        let index = IndexSeen::read(reader)?;
        let at = reader.at();
        let filled = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::Invalid { at }),
        };
        let since = reader.u64()?;
        if index.version > 0 {
            return Ok(Some(Self {
                index,
                since,
                filled,
            }));
        }
        if index != IndexSeen::NONE || filled || since > 0 {
            return Err(CodecError::Invalid { at });
        }
        Ok(None)
    }
}
