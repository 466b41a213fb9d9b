//! How a row is bound to its key: the tag behind it.
#![forbid(unsafe_code)]

use subtle::ConstantTimeEq;

use super::{Kind, Stored, TAG_LEN, event};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::Domain;
use crate::ledger::error::LedgerError;
use crate::ledger::record::HistoryEntry;
use crate::mac::Mac;
use crate::payment::Currency;
use crate::secret::Secret;
use crate::vault::{MAX_ROW, Row, RowKey};

const VERSION: u8 = 1;
/// Version, kind and key version.
const HEAD_LEN: usize = 6;

/// A ledger key at work.
pub(in crate::ledger) struct Binder {
    mac: Mac,
    version: u32,
}

impl Binder {
    pub(in crate::ledger) fn new(key: &Secret<32>, version: u32) -> Self {
        Self {
            mac: Mac::new(key),
            version,
        }
    }

    /// The row of a payment or a request.
    pub(in crate::ledger) fn row<T: Stored>(
        &self,
        key: &RowKey,
        value: &T,
    ) -> Result<Row, LedgerError> {
        let (row, _) = self.bind(key, T::KIND, |out| value.write(out))?;
        Ok(row)
    }

    /// What a row of a payment or a request says.
    pub(in crate::ledger) fn read<T: Stored>(
        &self,
        domain: &Domain,
        key: &RowKey,
        row: &Row,
    ) -> Result<T, LedgerError> {
        let (body, _) = self.open(key, row).ok_or(LedgerError::Tampered)?;
        T::read(domain, key, body).ok_or(LedgerError::Tampered)
    }

    /// The row of an event and its tag. `before` is the tag of the one before it.
    pub(in crate::ledger) fn event(
        &self,
        key: &RowKey,
        event: &HistoryEntry,
        before: &[u8; TAG_LEN],
    ) -> Result<(Row, [u8; TAG_LEN]), LedgerError> {
        self.bind(key, Kind::Event, |out| event::write(out, event, before))
    }

    /// An event, the tag of the one before it, and its own.
    pub(in crate::ledger) fn read_event(
        &self,
        revision: u32,
        currency: Currency,
        key: &RowKey,
        row: &Row,
    ) -> Result<(HistoryEntry, [u8; TAG_LEN], [u8; TAG_LEN]), LedgerError> {
        let (body, tag) = self.open(key, row).ok_or(LedgerError::Tampered)?;
        let (event, before) = event::read(revision, currency, body).ok_or(LedgerError::Tampered)?;
        Ok((event, before, tag))
    }

    fn bind(
        &self,
        key: &RowKey,
        kind: Kind,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<(Row, [u8; TAG_LEN]), LedgerError> {
        let mut bytes = [0; MAX_ROW];
        let mut writer = Writer::new(&mut bytes);
        let written = writer
            .u8(VERSION)
            .and_then(|()| writer.u8(kind.code()))
            .and_then(|()| writer.u32(self.version))
            .and_then(|()| fill(&mut writer));
        written.map_err(|_| LedgerError::Tampered)?;
        let len = writer.len();
        let tag = self.tag(key, bytes.get(..len).unwrap_or_default());
        let mut writer = Writer::new(bytes.get_mut(len..).unwrap_or_default());
        writer.put(&tag).map_err(|_| LedgerError::Tampered)?;
        Ok((
            Row::new(bytes.get(..len + TAG_LEN).unwrap_or_default())?,
            tag,
        ))
    }

    /// What stands between a row's head and its tag, and the tag, if the row is what was bound
    /// under this key.
    fn open<'a>(&self, key: &RowKey, row: &'a Row) -> Option<(Reader<'a>, [u8; TAG_LEN])> {
        let (body, tag) = row.as_bytes().split_last_chunk::<TAG_LEN>()?;
        let good = self.tag(key, body).ct_eq(tag);
        if !bool::from(good) {
            return None;
        }
        Some((Reader::new(body.get(HEAD_LEN..)?), *tag))
    }

    fn tag(&self, key: &RowKey, body: &[u8]) -> [u8; TAG_LEN] {
        let key = key.as_bytes();
        let len = u8::try_from(key.len()).unwrap_or(u8::MAX);
        self.mac.tag(&[&[len], key, body])
    }
}

/// The version of the ledger key that a row names, if it is a row of this kind.
pub(in crate::ledger) fn key_version(kind: Kind, row: &Row) -> Result<u32, LedgerError> {
    let mut reader = Reader::new(row.as_bytes());
    match (reader.u8(), reader.u8(), reader.u32()) {
        (Ok(VERSION), Ok(code), Ok(version)) if code == kind.code() => Ok(version),
        _ => Err(LedgerError::Tampered),
    }
}
