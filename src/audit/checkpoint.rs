//! Checkpoints: what every log, and if wanted every row of a vault, was at one moment. Byte by byte
//! in [`crate::manual::audit`].
#![forbid(unsafe_code)]

use core::fmt;
use std::io::{ErrorKind, Read, Write};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::AuditError;
use super::verify::LogPosition;
use super::writer::{WRITER_MAX_LEN, Writer, checkpoint_key};
use crate::codec::{CodecError, Reader, Writer as Bytes};
use crate::keys::{KeyRing, RING_ID_LEN, RingId, RingMark};
use crate::mac::{MAC_LEN, Mac};
use crate::secret::Secret;
use crate::time::UnixSeconds;
use crate::vault::{MAX_KEY, Row, RowKey, row_facts};

/// The most bytes of a checkpoint's part.
pub const MAX_CHECKPOINT_PART: usize = 1 << 16;
/// Length of a row's digest in a checkpoint, in bytes.
pub const ROW_DIGEST_LEN: usize = 16;

const MAGIC: &[u8; 8] = b"CVCHKPT\n";
const VERSION: u8 = 1;
const HEADER_LEN: usize = 8 + 1 + 1 + RING_ID_LEN + 8 + 4 + 8 + 1;
const PART_HEAD_LEN: usize = 1 + 4;
const MAX_ITEM: usize = 1 + 1 + WRITER_MAX_LEN + 4 + 4 + 8 + 8 + 16 + MAX_KEY;

/// What may be known of a checkpoint without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// The mark of the ring that it was made with.
    pub mark: RingMark,
    /// That ring.
    pub ring: RingId,
    /// Its generation.
    pub generation: u64,
    /// The version of the audit key.
    pub base_version: u32,
    /// When it was made.
    pub time: UnixSeconds,
    /// Whether it holds the rows of a vault.
    pub has_rows: bool,
}

impl CheckpointHeader {
    fn to_bytes(self) -> Result<[u8; HEADER_LEN], CodecError> {
        let mut bytes = [0; HEADER_LEN];
        let mut writer = Bytes::new(&mut bytes);
        writer.put(MAGIC)?;
        writer.u8(VERSION)?;
        writer.u8(self.mark.number())?;
        writer.put(self.ring.as_bytes())?;
        writer.u64(self.generation)?;
        writer.u32(self.base_version)?;
        writer.u64(self.time.0)?;
        writer.u8(u8::from(self.has_rows))?;
        Ok(bytes)
    }

    fn read(bytes: &[u8; HEADER_LEN]) -> Result<Self, AuditError> {
        let mut reader = Reader::new(bytes);
        let at = |at| AuditError::Header(CodecError::Invalid { at });
        if reader.take(MAGIC.len()).ok() != Some(MAGIC) {
            return Err(AuditError::NotACheckpoint);
        }
        let found = reader.u8()?;
        if found != VERSION {
            return Err(AuditError::Version { found });
        }
        let mark = RingMark::from_number(reader.u8()?).ok_or(at(9))?;
        Ok(Self {
            mark,
            ring: RingId::from_bytes(reader.array()?),
            generation: reader.u64()?,
            base_version: reader.u32()?,
            time: UnixSeconds(reader.u64()?),
            has_rows: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(at(HEADER_LEN - 1)),
            },
        })
    }
}

/// One row of a vault, as a checkpoint holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowEntry {
    /// The row's key.
    pub key: RowKey,
    /// Its revision; 0 for rows of version 1 and for what is no row.
    pub revision: u32,
    /// The leftmost bytes of SHA-256 over the row.
    pub digest: [u8; ROW_DIGEST_LEN],
}

impl RowEntry {
    /// The entry of a row.
    #[must_use]
    pub fn of(key: RowKey, row: &Row) -> Self {
        let hash: [u8; 32] = Sha256::digest(row.as_bytes()).into();
        let mut digest = [0; ROW_DIGEST_LEN];
        for (to, from) in digest.iter_mut().zip(hash) {
            *to = from;
        }
        let revision = row_facts(row).map_or(0, |(revision, _)| revision);
        Self {
            key,
            revision,
            digest,
        }
    }
}

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointItem {
    /// Where a log was. All of them come first, in the order of their writers.
    Log(LogPosition),
    /// What a row was, in the order of their keys.
    Row(RowEntry),
}

impl CheckpointItem {
    fn follows(&self, before: &Self) -> bool {
        match (before, self) {
            (Self::Log(before), Self::Log(log)) => before.writer < log.writer,
            (Self::Log(_), Self::Row(_)) => true,
            (Self::Row(before), Self::Row(row)) => before.key < row.key,
            (Self::Row(_), Self::Log(_)) => false,
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), AuditError> {
        let mut bytes = [0; MAX_ITEM];
        let mut writer = Bytes::new(&mut bytes);
        match self {
            Self::Log(log) => {
                writer.u8(1)?;
                writer.prefixed(log.writer.name().as_bytes())?;
                writer.u32(log.writer.epoch())?;
                writer.u32(log.writer.base_version())?;
                writer.put(&log.id)?;
                writer.u64(log.frames)?;
                writer.put(&log.proof)?;
            }
            Self::Row(row) => {
                writer.u8(2)?;
                writer.prefixed(row.key.as_bytes())?;
                writer.u32(row.revision)?;
                writer.put(&row.digest)?;
            }
        }
        let len = writer.len();
        out.extend_from_slice(bytes.get(..len).unwrap_or_default());
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let at = reader.at();
        let invalid = CodecError::Invalid { at };
        let kind = reader.u8()?;
        let len = usize::from(reader.u8()?);
        let name = reader.take(len)?;
        match kind {
            1 => {
                let name = core::str::from_utf8(name).map_err(|_| invalid)?;
                let (epoch, base_version) = (reader.u32()?, reader.u32()?);
                Ok(Self::Log(LogPosition {
                    writer: Writer::new(name, epoch, base_version).map_err(|_| invalid)?,
                    id: reader.array()?,
                    frames: reader.u64()?,
                    proof: reader.array()?,
                }))
            }
            2 => Ok(Self::Row(RowEntry {
                key: RowKey::new(name).map_err(|_| invalid)?,
                revision: reader.u32()?,
                digest: reader.array()?,
            })),
            _ => Err(invalid),
        }
    }
}

/// How much a checkpoint holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointTotals {
    /// How many logs.
    pub logs: u64,
    /// How many rows.
    pub rows: u64,
}

impl CheckpointTotals {
    fn count(&mut self, item: &CheckpointItem) {
        match item {
            CheckpointItem::Log(_) => self.logs += 1,
            CheckpointItem::Row(_) => self.rows += 1,
        }
    }

    const fn to_bytes(self) -> [[u8; 8]; 2] {
        [self.logs.to_be_bytes(), self.rows.to_be_bytes()]
    }
}

/// The MACs of a checkpoint's parts: each covers the one before.
struct Macs {
    mac: Mac,
    last: [u8; MAC_LEN],
    part: u64,
}

impl Macs {
    fn new(key: &Secret<32>, header: &[u8]) -> Self {
        let mac = Mac::new(key);
        let last = mac.tag(&[header]);
        Self { mac, last, part: 0 }
    }

    fn next(&mut self, head: &[u8], text: &[u8]) -> [u8; MAC_LEN] {
        let part = self.part.to_be_bytes();
        self.last = self.mac.tag(&[&self.last, &part, head, text]);
        self.part += 1;
        self.last
    }
}

const ITEMS: u8 = 1;
const TOTALS: u8 = 2;

/// Writes a checkpoint as it comes: never more than a part of it is in memory.
pub struct CheckpointWriter<W> {
    out: W,
    macs: Macs,
    text: Vec<u8>,
    before: Option<CheckpointItem>,
    totals: CheckpointTotals,
}

impl<W: Write> CheckpointWriter<W> {
    /// Begins a checkpoint with the active audit key of `ring`.
    ///
    /// # Errors
    /// [`AuditError::Key`], [`AuditError::Io`].
    pub fn begin(
        mut out: W,
        ring: &KeyRing,
        time: UnixSeconds,
        has_rows: bool,
    ) -> Result<Self, AuditError> {
        let base_version = ring.audit_key(time)?.name().version;
        let header = CheckpointHeader {
            mark: ring.mark(),
            ring: *ring.id(),
            generation: ring.generation(),
            base_version,
            time,
            has_rows,
        };
        let key = checkpoint_key(&ring.audit_key_of(base_version)?);
        let header = header.to_bytes()?;
        out.write_all(&header)?;
        Ok(Self {
            out,
            macs: Macs::new(&key, &header),
            text: Vec::with_capacity(MAX_CHECKPOINT_PART),
            before: None,
            totals: CheckpointTotals::default(),
        })
    }

    /// Adds an item: logs in the order of their writers, then rows in the order of their keys.
    ///
    /// # Errors
    /// [`AuditError::Content`] out of order, [`AuditError::Io`].
    pub fn put(&mut self, item: CheckpointItem) -> Result<(), AuditError> {
        if self
            .before
            .as_ref()
            .is_some_and(|before| !item.follows(before))
        {
            return Err(AuditError::Content {
                part: self.macs.part,
            });
        }
        if self.text.len() + MAX_ITEM > MAX_CHECKPOINT_PART {
            self.part(ITEMS)?;
        }
        item.write(&mut self.text)?;
        self.totals.count(&item);
        self.before = Some(item);
        Ok(())
    }

    /// Ends it. What was written is not made durable: that is up to the caller.
    ///
    /// # Errors
    /// [`AuditError::Io`].
    pub fn finish(mut self) -> Result<(W, CheckpointTotals), AuditError> {
        if !self.text.is_empty() {
            self.part(ITEMS)?;
        }
        self.text.extend(self.totals.to_bytes().as_flattened());
        self.part(TOTALS)?;
        self.out.flush()?;
        Ok((self.out, self.totals))
    }

    fn part(&mut self, kind: u8) -> Result<(), AuditError> {
        let mut head = [0; PART_HEAD_LEN];
        let mut writer = Bytes::new(&mut head);
        writer.u8(kind)?;
        writer.u32(u32::try_from(self.text.len()).map_err(|_| AuditError::Over)?)?;
        let mac = self.macs.next(&head, &self.text);
        self.out.write_all(&head)?;
        self.out.write_all(&self.text)?;
        self.out.write_all(&mac)?;
        self.text.clear();
        Ok(())
    }
}

impl<W> fmt::Debug for CheckpointWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointWriter")
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

/// Reads a checkpoint as it comes. Nothing of a part is handed out before its MAC is checked; only
/// with the last one is it certain that nothing was cut off.
pub struct Checkpoint<R> {
    source: R,
    header: CheckpointHeader,
    macs: Macs,
    text: Vec<u8>,
    at: usize,
    before: Option<CheckpointItem>,
    /// An item that was looked at and not taken.
    next: Option<CheckpointItem>,
    totals: CheckpointTotals,
    ended: bool,
}

impl<R: Read> Checkpoint<R> {
    /// Opens a checkpoint with the ring that it was made with, of any generation that has its key.
    ///
    /// # Errors
    /// [`AuditError::NotACheckpoint`], [`AuditError::Version`], [`AuditError::Header`],
    /// [`AuditError::OtherRing`], [`AuditError::OtherMark`], [`AuditError::Key`],
    /// [`AuditError::Io`].
    pub fn open(mut source: R, ring: &KeyRing) -> Result<Self, AuditError> {
        let mut bytes = [0; HEADER_LEN];
        source
            .read_exact(&mut bytes)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => AuditError::NotACheckpoint,
                kind => AuditError::Io(kind),
            })?;
        let header = CheckpointHeader::read(&bytes)?;
        if header.mark != ring.mark() {
            let checkpoint = header.mark;
            return Err(AuditError::OtherMark { checkpoint });
        }
        if header.ring != *ring.id() {
            return Err(AuditError::OtherRing);
        }
        let key = checkpoint_key(&ring.audit_key_of(header.base_version)?);
        Ok(Self {
            source,
            header,
            macs: Macs::new(&key, &bytes),
            text: Vec::new(),
            at: 0,
            before: None,
            next: None,
            totals: CheckpointTotals::default(),
            ended: false,
        })
    }

    /// What it says of itself.
    #[must_use]
    pub const fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// The logs. Call it first.
    ///
    /// # Errors
    /// As [`Checkpoint::next`].
    pub fn logs(&mut self) -> Result<Vec<LogPosition>, AuditError> {
        let mut logs = Vec::new();
        loop {
            match self.next()? {
                Some(CheckpointItem::Log(log)) => logs.push(log),
                other => {
                    self.next = other;
                    return Ok(logs);
                }
            }
        }
    }

    /// The next item; none at the end.
    ///
    /// # Errors
    /// [`AuditError::Changed`], [`AuditError::Content`], [`AuditError::Io`]. Ask no more after one.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would go on after an error"
    )]
    pub fn next(&mut self) -> Result<Option<CheckpointItem>, AuditError> {
        if let Some(item) = self.next.take() {
            return Ok(Some(item));
        }
        while !self.ended && self.at == self.text.len() {
            self.part()?;
        }
        if self.ended {
            return Ok(None);
        }
        let content = AuditError::Content {
            part: self.macs.part.saturating_sub(1),
        };
        let mut reader = Reader::new(self.text.get(self.at..).unwrap_or_default());
        let item = CheckpointItem::read(&mut reader).map_err(|_| content)?;
        self.at += reader.at();
        let before = self.before.as_ref();
        let is_row = matches!(item, CheckpointItem::Row(_));
        if before.is_some_and(|before| !item.follows(before)) || (is_row && !self.header.has_rows) {
            return Err(content);
        }
        self.totals.count(&item);
        self.before = Some(item.clone());
        Ok(Some(item))
    }

    /// Reads one part.
    fn part(&mut self) -> Result<(), AuditError> {
        let part = self.macs.part;
        let mut head = [0; PART_HEAD_LEN];
        self.fill(&mut head)?;
        let mut reader = Reader::new(&head);
        let (kind, len) = (reader.u8()?, reader.u32()?);
        let len = usize::try_from(len).map_err(|_| AuditError::Over)?;
        if len > MAX_CHECKPOINT_PART {
            return Err(AuditError::Changed { part });
        }
        let mut text = vec![0; len];
        self.fill(&mut text)?;
        let mut found = [0; MAC_LEN];
        self.fill(&mut found)?;
        if !bool::from(self.macs.next(&head, &text).ct_eq(&found)) {
            return Err(AuditError::Changed { part });
        }
        let content = AuditError::Content { part };
        match kind {
            ITEMS if !text.is_empty() => {}
            TOTALS => {
                let mut more = [0];
                let is_end = matches!(self.source.read(&mut more), Ok(0));
                if text != self.totals.to_bytes().as_flattened() || !is_end {
                    return Err(content);
                }
                self.ended = true;
                text.clear();
            }
            _ => return Err(content),
        }
        self.text = text;
        self.at = 0;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), AuditError> {
        let part = self.macs.part;
        self.source
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => AuditError::Changed { part },
                kind => AuditError::Io(kind),
            })
    }
}

impl<R> fmt::Debug for Checkpoint<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
