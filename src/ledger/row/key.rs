//! The keys of rows and of the index.
#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};

use super::Kind;
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::Domain;
use crate::ledger::error::LedgerError;
use crate::ledger::record::PaymentId;
use crate::payment::{
    BatchNumber, Date, MerchantId, OrderNumber, RefundNumber, Rrn, TERMINAL_ID_LEN, TerminalId,
    Voucher,
};
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::{IndexKey, MAX_KEY, RowKey};

/// The length of an identity in keys and rows, in bytes.
pub(super) const ID_LEN: usize = 21;

/// The index keys by which the ledger finds its rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) enum Index<'a> {
    Identity(&'a PaymentId),
    Token(&'a Token),
    Rrn(&'a Rrn, Date),
    Voucher(&'a TerminalId, BatchNumber, Voucher),
    Order(&'a OrderNumber),
    Number(&'a MerchantId, &'a RefundNumber),
    Requests(&'a PaymentId),
    Open,
    InDoubt,
    Batch(&'a TerminalId, BatchNumber),
}

impl Index<'_> {
    pub(in crate::ledger) fn key(&self, domain: &Domain) -> Result<IndexKey, LedgerError> {
        let space = match self {
            Self::Identity(_) => 0x50,
            Self::Token(_) => 0x51,
            Self::Rrn(..) => 0x52,
            Self::Voucher(..) => 0x53,
            Self::Order(_) => 0x54,
            Self::Number(..) => 0x55,
            Self::Requests(_) => 0x56,
            Self::Open => 0x57,
            Self::InDoubt => 0x58,
            Self::Batch(..) => 0x59,
        };
        key(space, domain, |out| match self {
            Self::Identity(id) | Self::Requests(id) => put_id(out, id),
            Self::Token(token) => out.put(token.as_bytes()),
            // The day first: the latest payments share pages, however many there are.
            Self::Rrn(rrn, date) => {
                out.u32(date.days())?;
                out.put(rrn.as_bytes())
            }
            Self::Voucher(terminal, batch, voucher) => {
                out.put(terminal.as_bytes())?;
                out.u32(batch.get())?;
                out.u32(voucher.get())
            }
            Self::Order(order) => out.put(&Sha256::digest(order.as_bytes())),
            Self::Number(merchant, number) => out.put(&number_digest(merchant, number)),
            Self::Open | Self::InDoubt => Ok(()),
            Self::Batch(terminal, batch) => {
                out.put(terminal.as_bytes())?;
                out.u32(batch.get())
            }
        })
        .and_then(|bytes| Ok(IndexKey::new(bytes.as_slice())?))
    }
}

/// Lies before every key of this kind and domain from `time` on, and behind those before.
pub(in crate::ledger) fn bound(
    kind: Kind,
    domain: &Domain,
    time: UnixSeconds,
) -> Result<RowKey, LedgerError> {
    row_key(kind, domain, |out| out.u64(time.0))
}

/// Lies behind every key of this kind and domain.
pub(in crate::ledger) fn end(kind: Kind, domain: &Domain) -> Result<RowKey, LedgerError> {
    // One byte longer than any time that is all ones and has something behind it.
    row_key(kind, domain, |out| {
        out.u64(u64::MAX)?;
        out.put(&[0xff; ID_LEN + 5])
    })
}

/// The domain and the identity that a payment's key names.
pub(in crate::ledger) fn named_payment(key: &RowKey) -> Option<(Domain, PaymentId)> {
    let mut reader = Reader::new(key.as_bytes());
    reader.u8().ok()?;
    let len = usize::from(reader.u8().ok()?);
    let domain = Domain::new(reader.take(len).ok()?).ok()?;
    reader.u64().ok()?;
    let id = read_id(&mut reader)?;
    reader.finish().ok()?;
    Some((domain, id))
}

/// Lies before every key of this kind, of any domain.
pub(in crate::ledger) fn first_of(kind: Kind) -> Result<RowKey, LedgerError> {
    Ok(RowKey::new(&[kind.space()])?)
}

/// Lies behind every key of this kind, of any domain.
pub(in crate::ledger) fn last_of(kind: Kind) -> Result<RowKey, LedgerError> {
    Ok(RowKey::new(&[kind.space() + 1])?)
}

/// The domain that a row's key names.
pub(in crate::ledger) fn domain_of(key: &RowKey) -> Option<Domain> {
    let mut reader = Reader::new(key.as_bytes());
    reader.u8().ok()?;
    let len = usize::from(reader.u8().ok()?);
    Domain::new(reader.take(len).ok()?).ok()
}

/// The key of a row of this kind.
pub(super) fn row_key(
    kind: Kind,
    domain: &Domain,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), CodecError>,
) -> Result<RowKey, LedgerError> {
    let bytes = key(kind.space(), domain, fill)?;
    Ok(RowKey::new(bytes.as_slice())?)
}

/// The reader behind the domain of a key of this kind.
pub(super) fn key_reader<'a>(kind: Kind, domain: &Domain, key: &'a RowKey) -> Option<Reader<'a>> {
    let mut reader = Reader::new(key.as_bytes());
    if reader.u8().ok()? != kind.space() {
        return None;
    }
    let len = usize::from(reader.u8().ok()?);
    (reader.take(len).ok()? == domain.as_bytes()).then_some(reader)
}

pub(super) fn put_id(out: &mut Writer<'_>, id: &PaymentId) -> Result<(), CodecError> {
    match id {
        PaymentId::Journal {
            terminal,
            epoch,
            sequence,
        } => {
            out.u8(1)?;
            out.put(terminal.as_bytes())?;
            out.u32(*epoch)?;
            out.u64(*sequence)
        }
        PaymentId::Host(id) => {
            out.u8(2)?;
            out.put(id)?;
            out.put(&[0; 4])
        }
    }
}

pub(super) fn read_id(reader: &mut Reader<'_>) -> Option<PaymentId> {
    match reader.u8().ok()? {
        1 => Some(PaymentId::Journal {
            terminal: TerminalId::parse(&reader.array::<TERMINAL_ID_LEN>().ok()?).ok()?,
            epoch: reader.u32().ok()?,
            sequence: reader.u64().ok()?,
        }),
        2 => {
            let id = reader.array().ok()?;
            (reader.array().ok()? == [0; 4]).then_some(PaymentId::Host(id))
        }
        _ => None,
    }
}

/// SHA-256 by which a request is known.
pub(super) fn number_digest(merchant: &MerchantId, number: &RefundNumber) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(merchant.as_bytes());
    hash.update(number.as_bytes());
    hash.finalize().into()
}

struct Key {
    bytes: [u8; MAX_KEY],
    len: usize,
}

impl Key {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn key(
    space: u8,
    domain: &Domain,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), CodecError>,
) -> Result<Key, LedgerError> {
    let mut bytes = [0; MAX_KEY];
    let mut out = Writer::new(&mut bytes);
    let written = out
        .u8(space)
        .and_then(|()| out.prefixed(domain.as_bytes()))
        .and_then(|()| fill(&mut out));
    let len = out.len();
    written.map_err(|_| LedgerError::Tampered)?;
    Ok(Key { bytes, len })
}
