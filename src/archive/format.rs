//! The bytes of an archive: header, heads of chunks, items, totals. See
//! [`manual::archive`](crate::manual::archive).
#![forbid(unsafe_code)]

use core::fmt;
use std::io::{ErrorKind, Read};

use sha2::{Digest, Sha256};

use super::error::ArchiveError;
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::{
    Domain, KEY_ID_LEN, KeyError, KeyId, KeyName, KeyUse, RING_ID_LEN, RingId, RingMark,
};
use crate::seal::{CHUNK_TAG_LEN, MAX_SEALED_RING, NONCE_LEN, RingHeader};
use crate::time::UnixSeconds;
use crate::vault::{Guard, IndexKey, Item, MAX_GUARD, MAX_KEY, MAX_ROW, Row, RowKey};

/// Length of an [`ArchiveId`], in bytes.
pub const ARCHIVE_ID_LEN: usize = 16;
/// The longest text of a chunk, in bytes.
pub const CHUNK_TEXT_MAX: usize = 1 << 16;
/// The longest header, in bytes.
pub const MAX_ARCHIVE_HEADER: usize = FIXED_LEN + MAX_GUARD + 2 + MAX_SEALED_RING;

const MAGIC: [u8; 8] = *b"CVARCH\r\n";
const FORMAT: u8 = 1;
/// Magic to the length of the guard.
const FIXED_LEN: usize = 8 + 1 + 1 + RING_ID_LEN + 8 + ARCHIVE_ID_LEN + 8 + 4 + KEY_ID_LEN + 1;
/// Kind to archive id of a chunk: what its text is bound to beside the header.
pub(super) const BOUND_LEN: usize = 1 + 4 + 8 + ARCHIVE_ID_LEN;
/// What stands before a chunk's text.
pub(super) const HEAD_LEN: usize = BOUND_LEN + NONCE_LEN;
/// Length of the digest of a header, in bytes.
pub(super) const DIGEST_LEN: usize = 32;
/// The longest item, in bytes: it fits into a chunk.
pub(super) const ITEM_MAX: usize = 1 + 1 + MAX_KEY + 2 + MAX_ROW;
/// The text of the last chunk, in bytes.
pub(super) const TOTALS_LEN: usize = 32;

const _: () = assert!(ITEM_MAX >= 3 + 2 * MAX_KEY && ITEM_MAX <= CHUNK_TEXT_MAX);
const _: () = assert!(MAX_SEALED_RING < 1 << 16 && MAX_GUARD < 1 << 8);

/// 16 random bytes that name an archive. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId([u8; ARCHIVE_ID_LEN]);

impl ArchiveId {
    /// An id as it was written down.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ARCHIVE_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ARCHIVE_ID_LEN] {
        &self.0
    }

    /// What the archive's key is derived for.
    pub(super) fn domain(&self) -> Result<Domain, ArchiveError> {
        // An id is as long as a domain may be.
        Domain::new(&self.0).map_err(|_| ArchiveError::OtherKey)
    }
}

impl fmt::Display for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveId({self})")
    }
}

/// What an archive says of itself. Not authenticated before a chunk of it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveHeader {
    /// Whether the ring that it was made with protects real cards.
    pub mark: RingMark,
    /// That ring.
    pub ring: RingId,
    /// The ring's generation.
    pub generation: u64,
    /// Which archive it is.
    pub id: ArchiveId,
    /// When it was made.
    pub time: UnixSeconds,
    /// The key that it is sealed under.
    pub key: KeyName,
    /// The ring, sealed, if it goes along.
    pub sealed_ring: Option<Vec<u8>>,
    pub(super) key_id: KeyId,
    pub(super) guard: Guard,
}

impl ArchiveHeader {
    /// Reads the header in front of an archive, at most [`MAX_ARCHIVE_HEADER`] bytes.
    ///
    /// # Errors
    /// [`ArchiveError`] for everything that can be seen without a key.
    pub fn read(source: &mut impl Read) -> Result<Self, ArchiveError> {
        let mut bytes = Vec::new();
        Self::read_into(source, &mut bytes)
    }

    /// Reads a header and leaves its bytes in `bytes`.
    pub(super) fn read_into(
        source: &mut impl Read,
        bytes: &mut Vec<u8>,
    ) -> Result<Self, ArchiveError> {
        bytes.clear();
        append(source, bytes, MAGIC.len()).map_err(|error| match error {
            ArchiveError::Header(_) => ArchiveError::NotAnArchive,
            error => error,
        })?;
        if *bytes != MAGIC {
            return Err(ArchiveError::NotAnArchive);
        }
        append(source, bytes, 1)?;
        if let Some(&found) = bytes.last()
            && found != FORMAT
        {
            return Err(ArchiveError::Version { found });
        }
        append(source, bytes, FIXED_LEN - MAGIC.len() - 1)?;
        let guard_len = usize::from(bytes.last().copied().unwrap_or_default());
        if !(1..=MAX_GUARD).contains(&guard_len) {
            let at = FIXED_LEN - 1;
            return Err(ArchiveError::Header(CodecError::Invalid { at }));
        }
        append(source, bytes, guard_len + 2)?;
        let ring_len = bytes.last_chunk().map_or(0, |len| u16::from_be_bytes(*len));
        let ring_len = usize::from(ring_len);
        if ring_len > MAX_SEALED_RING {
            let at = bytes.len() - 2;
            return Err(ArchiveError::Header(CodecError::Invalid { at }));
        }
        append(source, bytes, ring_len)?;
        let header = Self::parse(bytes).map_err(ArchiveError::Header)?;
        header.check_ring()?;
        Ok(header)
    }

    fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.take(MAGIC.len() + 1)?;
        let at = reader.at();
        let mark = RingMark::from_number(reader.u8()?).ok_or(CodecError::Invalid { at })?;
        let ring = RingId::from_bytes(reader.array()?);
        let generation = reader.u64()?;
        let id = ArchiveId(reader.array()?);
        let time = UnixSeconds(reader.u64()?);
        let key = KeyName::new(KeyUse::Archive, reader.u32()?);
        let key_id = KeyId::from_bytes(reader.array()?);
        let len = usize::from(reader.u8()?);
        let at = reader.at();
        let guard = Guard::new(reader.take(len)?).map_err(|_| CodecError::Invalid { at })?;
        let sealed_ring = match usize::from(reader.u16()?) {
            0 => None,
            len => Some(reader.take(len)?.to_vec()),
        };
        reader.finish()?;
        Ok(Self {
            mark,
            ring,
            generation,
            id,
            time,
            key,
            sealed_ring,
            key_id,
            guard,
        })
    }

    /// Whether the ring that goes along is the one that the header names.
    pub(super) fn check_ring(&self) -> Result<(), ArchiveError> {
        let Some(sealed) = &self.sealed_ring else {
            return Ok(());
        };
        let ring = RingHeader::read(sealed).map_err(ArchiveError::SealedRing)?;
        if (ring.mark, ring.id, ring.generation) != (self.mark, self.ring, self.generation) {
            return Err(ArchiveError::OtherSealedRing);
        }
        Ok(())
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = vec![0; MAX_ARCHIVE_HEADER];
        let mut writer = Writer::new(&mut bytes);
        self.write(&mut writer).map_err(ArchiveError::Header)?;
        let len = writer.len();
        bytes.truncate(len);
        Ok(bytes)
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        writer.put(&MAGIC)?;
        writer.u8(FORMAT)?;
        writer.u8(self.mark.number())?;
        writer.put(self.ring.as_bytes())?;
        writer.u64(self.generation)?;
        writer.put(&self.id.0)?;
        writer.u64(self.time.0)?;
        writer.u32(self.key.version)?;
        writer.put(self.key_id.as_bytes())?;
        writer.prefixed(self.guard.as_bytes())?;
        put_long(writer, self.sealed_ring.as_deref().unwrap_or_default())
    }

    /// The error for a ring that this archive was not made with, or an older one.
    pub(super) fn check(&self, ring: &crate::keys::KeyRing) -> Result<(), ArchiveError> {
        if self.mark != ring.mark() {
            let archive = self.mark;
            return Err(ArchiveError::OtherMark { archive });
        }
        if self.ring != *ring.id() {
            return Err(ArchiveError::OtherRing);
        }
        if ring.generation() < self.generation {
            let (ring, seen) = (ring.generation(), self.generation);
            let stale = crate::vault::VaultError::StaleRing { ring, seen };
            return Err(stale.into());
        }
        if self.key.version == 0 {
            let name = self.key;
            return Err(KeyError::UnknownVersion { name }.into());
        }
        Ok(())
    }
}

/// The digest of a header's bytes, by which chunks are bound to it.
pub(super) fn digest(header: &[u8]) -> [u8; DIGEST_LEN] {
    Sha256::digest(header).into()
}

/// What is in the head of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkKind {
    Items,
    Totals,
}

impl ChunkKind {
    const fn number(self) -> u8 {
        match self {
            Self::Items => 1,
            Self::Totals => 2,
        }
    }
}

/// The part of a chunk's head that its text is bound to.
pub(super) fn put_bound(
    writer: &mut Writer<'_>,
    kind: ChunkKind,
    len: usize,
    number: u64,
    id: &ArchiveId,
) -> Result<(), CodecError> {
    let at = writer.len();
    writer.u8(kind.number())?;
    writer.u32(u32::try_from(len).map_err(|_| CodecError::Invalid { at })?)?;
    writer.u64(number)?;
    writer.put(&id.0)
}

/// A chunk's head taken apart.
pub(super) struct Head {
    pub(super) kind: ChunkKind,
    pub(super) len: usize,
    pub(super) number: u64,
    pub(super) id: ArchiveId,
    pub(super) nonce: [u8; NONCE_LEN],
}

impl Head {
    pub(super) fn read(bytes: &[u8; HEAD_LEN]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let kind = match reader.u8()? {
            1 => ChunkKind::Items,
            2 => ChunkKind::Totals,
            _ => return Err(CodecError::Invalid { at: 0 }),
        };
        let invalid = CodecError::Invalid { at: 1 };
        let len = usize::try_from(reader.u32()?).map_err(|_| invalid)?;
        if len > CHUNK_TEXT_MAX {
            return Err(invalid);
        }
        Ok(Self {
            kind,
            len,
            number: reader.u64()?,
            id: ArchiveId(reader.array()?),
            nonce: reader.array()?,
        })
    }

    /// What follows the head, in bytes.
    pub(super) const fn rest(&self) -> usize {
        self.len + CHUNK_TAG_LEN
    }
}

/// How many bytes an item has.
pub(super) fn item_len(item: &Item) -> usize {
    match item {
        Item::Row(key, row) => 4 + key.as_bytes().len() + row.as_bytes().len(),
        Item::Unique(index, key) | Item::Other(index, key) => {
            3 + index.as_bytes().len() + key.as_bytes().len()
        }
    }
}

pub(super) fn put_item(writer: &mut Writer<'_>, item: &Item) -> Result<(), CodecError> {
    match item {
        Item::Row(key, row) => {
            writer.u8(1)?;
            writer.prefixed(key.as_bytes())?;
            put_long(writer, row.as_bytes())
        }
        Item::Unique(index, key) => put_entry(writer, 2, index, key),
        Item::Other(index, key) => put_entry(writer, 3, index, key),
    }
}

fn put_entry(
    writer: &mut Writer<'_>,
    kind: u8,
    index: &IndexKey,
    key: &RowKey,
) -> Result<(), CodecError> {
    writer.u8(kind)?;
    writer.prefixed(index.as_bytes())?;
    writer.prefixed(key.as_bytes())
}

/// A part behind its length in two bytes.
fn put_long(writer: &mut Writer<'_>, part: &[u8]) -> Result<(), CodecError> {
    let at = writer.len();
    writer.u16(u16::try_from(part.len()).map_err(|_| CodecError::NoRoom { at })?)?;
    writer.put(part)
}

pub(super) fn read_item(reader: &mut Reader<'_>) -> Result<Item, CodecError> {
    let at = reader.at();
    let invalid = CodecError::Invalid { at };
    let kind = reader.u8()?;
    if kind == 1 {
        let key = short(reader)?;
        let key = RowKey::new(key).map_err(|_| invalid)?;
        let len = usize::from(reader.u16()?);
        let row = Row::new(reader.take(len)?).map_err(|_| invalid)?;
        return Ok(Item::Row(key, row));
    }
    let index = IndexKey::new(short(reader)?).map_err(|_| invalid)?;
    let key = RowKey::new(short(reader)?).map_err(|_| invalid)?;
    match kind {
        2 => Ok(Item::Unique(index, key)),
        3 => Ok(Item::Other(index, key)),
        _ => Err(invalid),
    }
}

fn short<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], CodecError> {
    let len = usize::from(reader.u8()?);
    reader.take(len)
}

/// How much an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) unique: u64,
    pub(super) others: u64,
    pub(super) text: u64,
}

impl Totals {
    pub(super) fn count(&mut self, item: &Item) {
        let count = match item {
            Item::Row(..) => &mut self.rows,
            Item::Unique(..) => &mut self.unique,
            Item::Other(..) => &mut self.others,
        };
        *count = count.saturating_add(1);
        let len = u64::try_from(item_len(item)).unwrap_or(u64::MAX);
        self.text = self.text.saturating_add(len);
    }

    pub(super) fn to_bytes(self) -> [u8; TOTALS_LEN] {
        let mut bytes = [0; TOTALS_LEN];
        let numbers = [self.rows, self.unique, self.others, self.text];
        for (to, from) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *to = from.to_be_bytes();
        }
        bytes
    }
}

/// Reads `len` bytes of a header behind those that are there.
fn append(source: &mut impl Read, bytes: &mut Vec<u8>, len: usize) -> Result<(), ArchiveError> {
    let at = bytes.len();
    bytes.resize(at + len, 0);
    let room = bytes.get_mut(at..).unwrap_or_default();
    source.read_exact(room).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => ArchiveError::Header(CodecError::Truncated { at }),
        kind => ArchiveError::Io(kind),
    })
}
