//! How far the filling of an index version has come, as the store keeps it.
//!
//! The note is a row of the store under [`note_key`], so that it is in the transactions and archives
//! that the rows are in:
//!
//! | bytes | field |
//! |---|---|
//! | 0 | version: 1 |
//! | 1..5 | index version that is being filled, big-endian |
//! | 5..13 | ring generation since which it is written, as in the guard |
//! | 13..21 | rows that were looked at |
//! | 21..29 | rows that were left |
//! | 29 | 1 once every row was looked at, else 0 |
//! | 30.. | key of the row that was looked at last; empty at first |
#![forbid(unsafe_code)]

use super::guard::Filling;
use super::store::{Row, RowKey, StoreError};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::DOMAIN_MAX_LEN;

const VERSION: u8 = 1;
const HEAD_LEN: usize = 30;

/// A pass over all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FillNote {
    version: u32,
    since: u64,
    pub(super) seen: u64,
    pub(super) left: u64,
    pub(super) complete: bool,
    pub(super) at: Option<RowKey>,
}

/// Where the vault's own notes begin: behind every domain's rows.
pub(super) fn notes_begin() -> Result<RowKey, StoreError> {
    let behind = u8::try_from(DOMAIN_MAX_LEN + 1).map_err(|_| StoreError::Corrupt)?;
    RowKey::new(&[behind])
}

/// Names the note of the index version that is being filled.
pub(super) fn note_key() -> Result<RowKey, StoreError> {
    let [begin] = *notes_begin()?.as_bytes() else {
        return Err(StoreError::Corrupt);
    };
    RowKey::new(&[begin, b'i'])
}

impl FillNote {
    /// A pass that has not begun.
    pub(super) const fn start(of: &Filling) -> Self {
        Self {
            version: of.version(),
            since: of.since,
            seen: 0,
            left: 0,
            complete: false,
            at: None,
        }
    }

    /// What a note says, if it is of this filling and not of an earlier one.
    pub(super) fn read(row: &Row, of: &Filling) -> Option<Self> {
        let note = Self::from_bytes(row.as_bytes()).ok()?;
        ((note.version, note.since) == (of.version(), of.since)).then_some(note)
    }

    pub(super) fn to_row(self) -> Result<Row, StoreError> {
        let at = self.at.as_ref().map_or(&[][..], RowKey::as_bytes);
        let mut bytes = vec![0; HEAD_LEN + at.len()];
        let mut writer = Writer::new(&mut bytes);
        let written = writer
            .u8(VERSION)
            .and_then(|()| writer.u32(self.version))
            .and_then(|()| writer.u64(self.since))
            .and_then(|()| writer.u64(self.seen))
            .and_then(|()| writer.u64(self.left))
            .and_then(|()| writer.u8(self.complete.into()))
            .and_then(|()| writer.put(at));
        written.map_err(|_| StoreError::Corrupt)?;
        Row::new(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(CodecError::Invalid { at: 0 });
        }
        let version = reader.u32()?;
        let since = reader.u64()?;
        let (seen, left) = (reader.u64()?, reader.u64()?);
        let complete = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::Invalid { at: HEAD_LEN - 1 }),
        };
        let at = match bytes.get(HEAD_LEN..) {
            None | Some([]) => None,
            Some(key) => Some(RowKey::new(key).map_err(|_| CodecError::Invalid { at: HEAD_LEN })?),
        };
        Ok(Self {
            version,
            since,
            seen,
            left,
            complete,
            at,
        })
    }
}
