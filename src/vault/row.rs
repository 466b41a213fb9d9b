//! The vault's rows and keys, byte by byte.
//!
//! A row, [`ROW_LEN`] bytes:
//!
//! | bytes | field | encoding |
//! |---|---|---|
//! | 0 | version | 2 |
//! | 1 | flags | bit 0: the domain's one token for its card; bit 1: it expires; all others 0 |
//! | 2 | brand | [`Brand::code`] |
//! | 3..5 | last four digits | packed BCD |
//! | 5 | shape of the token | 0: opaque; else 1 + 16 x first digits kept + last digits kept |
//! | 6..14 | created | seconds since 1970, big-endian |
//! | 14..22 | expires | the same; 0 without its flag |
//! | 22..26 | index version | big-endian |
//! | 26..30 | revision | big-endian; 1 in a new row, one more each time the row is sealed anew |
//! | 30..62 | fingerprint | of the whole number, in that index version |
//! | 62..135 | sealed card record | see [`crate::seal`] |
//!
//! A row of version 1 has no revision, which counts as 0, and is 131 bytes long; it is read and not
//! written. The revision tells an older row that was put back from the newer one: see
//! [`crate::manual::audit`].
//!
//! Bytes 0 to 30 are the clear columns; a writer that keeps 0, 6 or 8 first and 0 or 4 last digits
//! writes no other shape than 0x01, 0x05, 0x61, 0x65, 0x81 or 0x85. They, the fingerprint, the domain and the token are bound
//! to the sealed record, so that none of them can be changed or swapped unnoticed.
//!
//! A row key is the domain behind its length in one byte, and the token's bytes. An index key is
//! the domain behind its length, the index version (4 bytes) and the fingerprint.
#![forbid(unsafe_code)]

use super::error::VaultError;
use super::store::{IndexKey, Row, RowKey, StoreError};
use crate::card::Brand;
use crate::codec::{CodecError, Reader, Writer};
use crate::fingerprint::FINGERPRINT_LEN;
use crate::keys::{DOMAIN_MAX_LEN, Domain};
use crate::seal::{SEALED_RECORD_LEN, SealedRecord};
use crate::time::UnixSeconds;
use crate::token::{TOKEN_MAX_LEN, Token, VaultedFormat};

/// The length of a row, in bytes.
pub const ROW_LEN: usize = COLUMNS_LEN + FINGERPRINT_LEN + SEALED_RECORD_LEN;
/// The length of the clear columns, in bytes.
pub(super) const COLUMNS_LEN: usize = 30;

const VERSION: u8 = 2;
const VERSION_1: u8 = 1;
const COLUMNS_1_LEN: usize = 26;
const CONVERGENT: u8 = 1;
const EXPIRES: u8 = 2;

/// What of a row is in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) convergent: bool,
    pub(super) brand: Brand,
    pub(super) last_four: u16,
    pub(super) shape: ShapeCode,
    pub(super) created: UnixSeconds,
    pub(super) expires: Option<UnixSeconds>,
    pub(super) index_version: u32,
    pub(super) revision: u32,
}

/// What a token looks like, in one byte: see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShapeCode(u8);

impl ShapeCode {
    pub(super) const OPAQUE: Self = Self(0);

    pub(super) const fn card(format: &VaultedFormat) -> Self {
        Self(format.first().digits() << 4 | format.last().digits() | 1)
    }

    const fn read(code: u8) -> Option<Self> {
        match code {
            0 | 0x01 | 0x05 | 0x61 | 0x65 | 0x81 | 0x85 => Some(Self(code)),
            _ => None,
        }
    }
}

/// A row taken apart.
pub(super) struct RowParts<'a> {
    pub(super) columns: Columns,
    pub(super) column_bytes: &'a [u8],
    pub(super) fingerprint: &'a [u8; FINGERPRINT_LEN],
    pub(super) sealed: &'a SealedRecord,
}

impl Columns {
    pub(super) fn to_bytes(self) -> [u8; COLUMNS_LEN] {
        let [c0, c1, c2, c3, c4, c5, c6, c7] = self.created.0.to_be_bytes();
        let [e0, e1, e2, e3, e4, e5, e6, e7] = self.expires.map_or(0, |at| at.0).to_be_bytes();
        let [i0, i1, i2, i3] = self.index_version.to_be_bytes();
        let [r0, r1, r2, r3] = self.revision.to_be_bytes();
        let [l0, l1] = last_four_bcd(self.last_four);
        let expires = u8::from(self.expires.is_some()) * EXPIRES;
        let flags = (u8::from(self.convergent) * CONVERGENT) | expires;
        let brand = self.brand.code();
        let shape = self.shape.0;
        [
            VERSION, flags, brand, l0, l1, shape, c0, c1, c2, c3, c4, c5, c6, c7, e0, e1, e2, e3,
            e4, e5, e6, e7, i0, i1, i2, i3, r0, r1, r2, r3,
        ]
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        let flags = reader.u8()?;
        if flags & !(CONVERGENT | EXPIRES) != 0 {
            return Err(CodecError::Invalid { at: 1 });
        }
        let brand = Brand::from_code(reader.u8()?).ok_or(CodecError::Invalid { at: 2 })?;
        let last_four = last_four_from_bcd(reader.array()?).ok_or(CodecError::Invalid { at: 3 })?;
        let shape = ShapeCode::read(reader.u8()?).ok_or(CodecError::Invalid { at: 5 })?;
        let created = UnixSeconds(reader.u64()?);
        let expires = match (flags & EXPIRES != 0, reader.u64()?) {
            (true, at) => Some(UnixSeconds(at)),
            (false, 0) => None,
            (false, _) => return Err(CodecError::Invalid { at: 14 }),
        };
        let index_version = reader.u32()?;
        let revision = match version {
            VERSION_1 => 0,
            _ => reader.u32()?,
        };
        reader.finish()?;
        let convergent = flags & CONVERGENT != 0;
        Ok(Self {
            convergent,
            brand,
            last_four,
            shape,
            created,
            expires,
            index_version,
            revision,
        })
    }

    /// The revision of a row that is sealed for the first time.
    pub(super) const FIRST_REVISION: u32 = 1;

    /// These columns for the row that takes the place of this one.
    pub(super) const fn next(self) -> Self {
        Self {
            revision: self.revision.saturating_add(1),
            ..self
        }
    }

    pub(super) fn is_expired(&self, now: UnixSeconds) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

impl<'a> RowParts<'a> {
    /// # Errors
    /// [`VaultError::NewerFormat`], [`VaultError::Tampered`].
    pub(super) fn read(row: &'a Row) -> Result<Self, VaultError> {
        match row.as_bytes().first() {
            Some(&found) if found > VERSION => return Err(VaultError::NewerFormat { found }),
            Some(&VERSION) => Self::read_parts(row.as_bytes(), COLUMNS_LEN),
            Some(&VERSION_1) => Self::read_parts(row.as_bytes(), COLUMNS_1_LEN),
            _ => Err(CodecError::Invalid { at: 0 }),
        }
        .map_err(|_| VaultError::Tampered)
    }

    fn read_parts(bytes: &'a [u8], columns_len: usize) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let column_bytes = reader.take(columns_len)?;
        let columns = Columns::from_bytes(column_bytes)?;
        let invalid = CodecError::Invalid { at: columns_len };
        let fingerprint = reader
            .take(FINGERPRINT_LEN)?
            .try_into()
            .map_err(|_| invalid)?;
        let sealed = reader
            .take(SEALED_RECORD_LEN)?
            .try_into()
            .map_err(|_| invalid)?;
        reader.finish()?;
        Ok(Self {
            columns,
            column_bytes,
            fingerprint,
            sealed,
        })
    }
}

pub(super) fn build_row(
    columns: &[u8; COLUMNS_LEN],
    fingerprint: &[u8; FINGERPRINT_LEN],
    sealed: &SealedRecord,
) -> Result<Row, StoreError> {
    let mut bytes = [0; ROW_LEN];
    let mut writer = Writer::new(&mut bytes);
    let written = writer
        .put(columns)
        .and_then(|()| writer.put(fingerprint))
        .and_then(|()| writer.put(sealed));
    written.map_err(|_| StoreError::Corrupt)?;
    Row::new(&bytes)
}

/// The key of the row of a token.
pub(crate) fn row_key(domain: &Domain, token: &Token) -> Result<RowKey, StoreError> {
    let mut bytes = [0; 1 + DOMAIN_MAX_LEN + TOKEN_MAX_LEN];
    let mut writer = Writer::new(&mut bytes);
    let written = writer
        .prefixed(domain.as_bytes())
        .and_then(|()| writer.put(token.as_bytes()));
    let len = writer.len();
    written.map_err(|_| StoreError::Corrupt)?;
    RowKey::new(bytes.get(..len).unwrap_or_default())
}

/// All row keys of a domain, and of no other, stand between these two.
pub(super) fn domain_range(domain: &Domain) -> Result<(RowKey, RowKey), StoreError> {
    let mut bytes = [0xff; 1 + DOMAIN_MAX_LEN + TOKEN_MAX_LEN];
    let mut writer = Writer::new(&mut bytes);
    let written = writer.prefixed(domain.as_bytes());
    let len = writer.len();
    written.map_err(|_| StoreError::Corrupt)?;
    // A token's first byte is its form: none is all ones.
    let end = bytes.get(..len + TOKEN_MAX_LEN).unwrap_or_default();
    let start = end.get(..len).unwrap_or_default();
    Ok((RowKey::new(start)?, RowKey::new(end)?))
}

/// Where the rows of cards end and the vault's notes and the ledger's rows begin.
pub(crate) fn vault_end() -> Result<RowKey, StoreError> {
    super::fill::notes_begin()
}

/// The revision of a row, and when it was made, as it says; none if it is no row. Its seal is not
/// looked at.
pub(crate) fn row_facts(row: &Row) -> Option<(u32, UnixSeconds)> {
    let columns = RowParts::read(row).ok()?.columns;
    Some((columns.revision, columns.created))
}

/// The domain and token that a row key names.
pub(crate) fn read_row_key(key: &RowKey) -> Result<(Domain, Token), CodecError> {
    let mut reader = Reader::new(key.as_bytes());
    let len = usize::from(reader.u8()?);
    let domain = Domain::new(reader.take(len)?).map_err(|_| CodecError::Invalid { at: 1 })?;
    let at = reader.at();
    let rest = key.as_bytes().get(at..).unwrap_or_default();
    let token = Token::from_bytes(rest).map_err(|_| CodecError::Invalid { at })?;
    Ok((domain, token))
}

pub(super) fn index_key(
    domain: &Domain,
    index_version: u32,
    fingerprint: &[u8; FINGERPRINT_LEN],
) -> Result<IndexKey, StoreError> {
    let mut bytes = [0; 1 + DOMAIN_MAX_LEN + 4 + FINGERPRINT_LEN];
    let mut writer = Writer::new(&mut bytes);
    let written = writer
        .prefixed(domain.as_bytes())
        .and_then(|()| writer.u32(index_version))
        .and_then(|()| writer.put(fingerprint));
    let len = writer.len();
    written.map_err(|_| StoreError::Corrupt)?;
    IndexKey::new(bytes.get(..len).unwrap_or_default())
}

/// Four digits in packed BCD. They may be displayed: not secret.
fn last_four_bcd(number: u16) -> [u8; 2] {
    let pair = |number: u16| u8::try_from(number / 10 * 16 + number % 10).unwrap_or(0);
    [pair(number / 100 % 100), pair(number % 100)]
}

fn last_four_from_bcd(bytes: [u8; 2]) -> Option<u16> {
    let mut number = 0;
    for byte in bytes {
        let (tens, ones) = (u16::from(byte >> 4), u16::from(byte & 0xf));
        if tens > 9 || ones > 9 {
            return None;
        }
        number = number * 100 + tens * 10 + ones;
    }
    Some(number)
}
