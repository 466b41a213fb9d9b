//! The frames of an audit log and the heads of its files, byte by byte as
//! [`crate::manual::audit`] lays them out.
#![forbid(unsafe_code)]

use subtle::ConstantTimeEq;

use super::error::AuditError;
use super::log::MAX_AUDIT_FILE;
use super::writer::{WRITER_ID_LEN, WRITER_MAX_LEN, Writer};
use crate::codec::{CodecError, Reader, Writer as Bytes};
use crate::mac::Mac;
use crate::ratchet::TAG_LEN;
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// The longest frame, in bytes.
pub const MAX_FRAME: usize = 1 << 20;
/// The shortest frame, in bytes.
pub(super) const MIN_FRAME: usize = HEAD_LEN + TAG_LEN;
/// The longest body of a frame, in bytes.
pub(super) const MAX_BODY: usize = MAX_FRAME - MIN_FRAME;
/// The longest head of a file, in bytes.
pub(super) const MAX_FILE_HEAD: usize = FILE_HEAD_LEN + WRITER_MAX_LEN;

/// The most frames that may have stood in an unfinished write.
const MAX_DROPPED: u64 = MAX_AUDIT_FILE.div_ceil(MIN_FRAME as u64);
const HEAD_LEN: usize = 4 + 1 + 1 + 8 + 8;
const FILE_HEAD_LEN: usize = 8 + 1 + 4 + 4 + WRITER_ID_LEN + 4 + 8 + 1;
const MAGIC: &[u8; 8] = b"CVAUDIT\n";
const VERSION: u8 = 1;
/// With the kind: the frame begins a write.
const FIRST: u8 = 0x80;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Accesses.
    Events,
    /// The writer began to write: 8 bytes of the unfinished write that it dropped, 8 of the frames
    /// that might have stood there.
    Opened,
    /// The writer ended in order.
    Closed,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Events => 1,
            Self::Opened => 2,
            Self::Closed => 3,
        }
    }
}

/// A frame taken apart. Nothing of it is believed before [`Frame::is_under`].
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    /// Whether it begins a write: all before it was durable then.
    pub(super) first: bool,
    pub(super) sequence: u64,
    pub(super) time: UnixSeconds,
    pub(super) body: &'a [u8],
    pub(super) tag: &'a [u8; TAG_LEN],
    signed: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the front of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let invalid = |at| CodecError::Invalid { at };
        let len = usize::try_from(reader.u32()?).map_err(|_| invalid(0))?;
        if !(MIN_FRAME..=MAX_FRAME).contains(&len) {
            return Err(invalid(0));
        }
        if reader.u8()? != VERSION {
            return Err(invalid(4));
        }
        let kind = reader.u8()?;
        let first = kind & FIRST != 0;
        let kind = match kind & !FIRST {
            1 => Kind::Events,
            2 => Kind::Opened,
            3 => Kind::Closed,
            _ => return Err(invalid(5)),
        };
        let sequence = reader.u64()?;
        let time = UnixSeconds(reader.u64()?);
        let body = reader.take(len - MIN_FRAME)?;
        let signed = bytes.get(..reader.at()).unwrap_or_default();
        let at = reader.at();
        let tag = reader.take(TAG_LEN)?;
        Ok(Self {
            kind,
            first,
            sequence,
            time,
            body,
            tag: tag.try_into().map_err(|_| invalid(at))?,
            signed,
        })
    }

    /// Its length in bytes.
    pub(super) const fn len(&self) -> usize {
        self.signed.len() + TAG_LEN
    }

    /// Whether its tag is the one under `key`. Constant time.
    pub(super) fn is_under(&self, key: &Secret<32>) -> bool {
        tag(key, self.signed).ct_eq(self.tag).into()
    }

    /// What an opening dropped: bytes, and frames that might have stood there.
    pub(super) fn dropped(&self) -> Result<(u64, u64), CodecError> {
        let mut reader = Reader::new(self.body);
        let dropped = (reader.u64()?, reader.u64()?);
        reader.finish()?;
        Ok(dropped)
    }
}

impl Frame<'_> {
    /// Whether it is an opening that dropped so many frames.
    pub(super) fn explains(&self, gap: u64) -> bool {
        let dropped = |(_, frames)| frames == gap && frames <= MAX_DROPPED;
        self.kind == Kind::Opened && gap > 0 && self.dropped().is_ok_and(dropped)
    }
}

/// Appends a frame to `out`; returns its tag.
pub(super) fn put_frame(
    out: &mut Vec<u8>,
    (kind, first): (Kind, bool),
    sequence: u64,
    time: UnixSeconds,
    body: &[u8],
    key: &Secret<32>,
) -> Result<[u8; TAG_LEN], AuditError> {
    let len = MIN_FRAME + body.len();
    let len = u32::try_from(len).ok().filter(|_| len <= MAX_FRAME);
    let len = len.ok_or(AuditError::Over)?;
    let start = out.len();
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&[VERSION, kind.number() | if first { FIRST } else { 0 }]);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&time.0.to_be_bytes());
    out.extend_from_slice(body);
    let tag = tag(key, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&tag);
    Ok(tag)
}

fn tag(key: &Secret<32>, signed: &[u8]) -> [u8; TAG_LEN] {
    let mut tag = [0; TAG_LEN];
    for (to, from) in tag.iter_mut().zip(Mac::new(key).tag(&[signed])) {
        *to = from;
    }
    tag
}

/// What stands at the front of each file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) writer: Writer,
    pub(super) id: [u8; WRITER_ID_LEN],
    /// The number of the file, from 0.
    pub(super) file: u32,
    /// The sequence number of its first frame.
    pub(super) first: u64,
}

impl FileHead {
    /// Reads the head at the front of `bytes`, and says how long it is.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), CodecError> {
        let mut reader = Reader::new(bytes);
        let invalid = |at| CodecError::Invalid { at };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(invalid(0));
        }
        if reader.u8()? != VERSION {
            return Err(invalid(8));
        }
        let (base_version, epoch) = (reader.u32()?, reader.u32()?);
        let id = reader.array()?;
        let (file, first) = (reader.u32()?, reader.u64()?);
        let at = reader.at();
        let len = usize::from(reader.u8()?);
        let name = core::str::from_utf8(reader.take(len)?).map_err(|_| invalid(at))?;
        let writer = Writer::new(name, epoch, base_version).map_err(|_| invalid(at))?;
        let head = Self {
            writer,
            id,
            file,
            first,
        };
        Ok((head, reader.at()))
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = [0; MAX_FILE_HEAD];
        let mut writer = Bytes::new(&mut bytes);
        writer.put(MAGIC)?;
        writer.u8(VERSION)?;
        writer.u32(self.writer.base_version())?;
        writer.u32(self.writer.epoch())?;
        writer.put(&self.id)?;
        writer.u32(self.file)?;
        writer.u64(self.first)?;
        writer.prefixed(self.writer.name().as_bytes())?;
        let len = writer.len();
        Ok(bytes.get(..len).unwrap_or_default().to_vec())
    }
}
