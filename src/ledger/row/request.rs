//! The row of a request.
#![forbid(unsafe_code)]

use super::key::{Index, key_reader, number_digest, put_id, read_id, row_key};
use super::{Kind, Stored};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::Domain;
use crate::ledger::error::LedgerError;
use crate::ledger::record::{RequestKey, RequestRecord, Source};
use crate::payment::{
    Amount, Currency, MERCHANT_ID_LEN, MerchantId, RefundNumber, Rrn, TERMINAL_ID_LEN, TerminalId,
};
use crate::refund::{Action, Authority, RefundStatus};
use crate::time::UnixSeconds;
use crate::vault::{IndexKey, RowKey};

impl Stored for RequestRecord {
    const KIND: Kind = Kind::Request;

    fn key(&self, domain: &Domain) -> Result<RowKey, LedgerError> {
        let name = name(self);
        row_key(Kind::Request, domain, |out| {
            out.u64(name.requested.0)?;
            out.put(&name.digest)
        })
    }

    fn unique(&self, domain: &Domain) -> Result<IndexKey, LedgerError> {
        Index::Number(&self.merchant, &self.number).key(domain)
    }

    fn links(&self, domain: &Domain) -> Result<Vec<IndexKey>, LedgerError> {
        let mut keys = vec![Index::Requests(&self.payment).key(domain)?];
        if waits(self) {
            keys.push(Index::Open.key(domain)?);
        }
        Ok(keys)
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
        out.u8(self.action.code())?;
        out.u8(self.status.code())?;
        out.u8(self.authority.code())?;
        out.u8(self.source.code())?;
        out.u64(self.amount.minor())?;
        out.u16(self.amount.currency().numeric())?;
        out.u64(self.since.0)?;
        out.u32(self.tries)?;
        out.put(self.terminal.as_bytes())?;
        out.put(self.merchant.as_bytes())?;
        put_id(out, &self.payment)?;
        out.prefixed(self.rrn.as_ref().map_or(&[], |rrn| rrn.as_bytes()))?;
        out.prefixed(self.number.as_bytes())
    }

    fn read(domain: &Domain, key: &RowKey, mut reader: Reader<'_>) -> Option<Self> {
        let action = Action::from_code(reader.u8().ok()?)?;
        let status = RefundStatus::from_code(reader.u8().ok()?)?;
        let authority = Authority::from_code(reader.u8().ok()?)?;
        let source = Source::from_code(reader.u8().ok()?)?;
        let minor = reader.u64().ok()?;
        let currency = Currency::from_numeric(reader.u16().ok()?).ok()?;
        let since = UnixSeconds(reader.u64().ok()?);
        let tries = reader.u32().ok()?;
        let terminal = TerminalId::parse(&reader.array::<TERMINAL_ID_LEN>().ok()?).ok()?;
        let merchant = MerchantId::parse(&reader.array::<MERCHANT_ID_LEN>().ok()?).ok()?;
        let payment = read_id(&mut reader)?;
        let rrn = match usize::from(reader.u8().ok()?) {
            0 => None,
            len => Some(Rrn::parse(reader.take(len).ok()?).ok()?),
        };
        let len = usize::from(reader.u8().ok()?);
        let number = RefundNumber::parse(reader.take(len).ok()?).ok()?;
        reader.finish().ok()?;
        let named = read_key(domain, key)?;
        let record = Self {
            number,
            merchant,
            payment,
            action,
            amount: Amount::new(minor, currency).ok()?,
            status,
            authority,
            source,
            terminal,
            requested: named.requested,
            since,
            tries,
            rrn,
        };
        (name(&record) == named).then_some(record)
    }
}

/// Names a request's row: when it was asked for, and half the digest by which it is known.
pub(in crate::ledger) fn name(record: &RequestRecord) -> RequestKey {
    let digest = number_digest(&record.merchant, &record.number);
    let mut half = [0; 16];
    half.iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    RequestKey {
        requested: record.requested,
        digest: half,
    }
}

/// Whether an outcome is still to come: of a refund the settlement, of others the acceptance.
pub(in crate::ledger) fn waits(record: &RequestRecord) -> bool {
    let accepted = record.status == RefundStatus::Accepted;
    record.status.is_open() && (record.action == Action::Refund || !accepted)
}

fn read_key(domain: &Domain, key: &RowKey) -> Option<RequestKey> {
    let mut reader = key_reader(Kind::Request, domain, key)?;
    let requested = UnixSeconds(reader.u64().ok()?);
    let digest = reader.array().ok()?;
    reader.finish().ok()?;
    Some(RequestKey { requested, digest })
}
