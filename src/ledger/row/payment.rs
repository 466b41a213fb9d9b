//! The row of a payment.
#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};

use super::key::{ID_LEN, Index, key_reader, put_id, read_id, row_key};
use super::{Kind, Stored};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::Domain;
use crate::ledger::error::LedgerError;
use crate::ledger::record::{NewPayment, Payment};
use crate::payment::{Amount, Date, PAYMENT_FIELDS_MAX_LEN, PaymentFields};
use crate::refund::{Action, BatchState, PaidBy, PaymentState, RefundTotals};
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::{IndexKey, RowKey};

const NO_LAST_FOUR: u16 = 0xffff;

impl Stored for Payment {
    const KIND: Kind = Kind::Payment;

    fn key(&self, domain: &Domain) -> Result<RowKey, LedgerError> {
        row_key(Kind::Payment, domain, |out| {
            out.u64(self.time.0)?;
            put_id(out, &self.id)
        })
    }

    fn unique(&self, domain: &Domain) -> Result<IndexKey, LedgerError> {
        Index::Identity(&self.id).key(domain)
    }

    fn links(&self, domain: &Domain) -> Result<Vec<IndexKey>, LedgerError> {
        let fields = &self.fields;
        let mut keys = vec![
            Index::Voucher(&fields.terminal, fields.batch, fields.voucher).key(domain)?,
            Index::Batch(&fields.terminal, fields.batch).key(domain)?,
        ];
        if let Some(token) = &self.token {
            keys.push(Index::Token(token).key(domain)?);
        }
        if let Some(rrn) = &fields.rrn {
            keys.push(Index::Rrn(rrn, self.date).key(domain)?);
            if let Some(clearing) = fields.clearing.filter(|date| date.0 != self.date) {
                keys.push(Index::Rrn(rrn, clearing.0).key(domain)?);
            }
        }
        if let Some(order) = &fields.order {
            keys.push(Index::Order(order).key(domain)?);
        }
        if self.state == PaymentState::InDoubt {
            keys.push(Index::InDoubt.key(domain)?);
        }
        Ok(keys)
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
        out.u32(self.revision)?;
        out.u8(self.state.code())?;
        out.u8(paid_by_code(self.paid_by))?;
        out.u8(batch_code(self.batch))?;
        out.u8(self.pending.map_or(0, Action::code))?;
        let totals = self.refunds;
        for amount in [totals.accepted, totals.requested, totals.in_doubt] {
            out.u64(amount.minor())?;
        }
        out.u32(totals.count)?;
        out.u32(self.date.days())?;
        out.u16(self.last_four.unwrap_or(NO_LAST_FOUR))?;
        out.put(&self.origin)?;
        out.put(&self.evidence)?;
        out.prefixed(self.token.as_ref().map_or(&[], |token| token.as_bytes()))?;
        let mut fields = [0; PAYMENT_FIELDS_MAX_LEN];
        let len = self.fields.write(&mut fields)?;
        out.u16(u16::try_from(len).unwrap_or(u16::MAX))?;
        out.put(fields.get(..len).unwrap_or_default())
    }

    fn read(domain: &Domain, key: &RowKey, mut reader: Reader<'_>) -> Option<Self> {
        let mut named = key_reader(Kind::Payment, domain, key)?;
        let time = UnixSeconds(named.u64().ok()?);
        let id = read_id(&mut named)?;
        named.finish().ok()?;
        let revision = reader.u32().ok()?;
        let state = PaymentState::from_code(reader.u8().ok()?)?;
        let paid_by = match reader.u8().ok()? {
            1 => PaidBy::Card,
            2 => PaidBy::Phone,
            3 => PaidBy::Qr,
            _ => return None,
        };
        let batch = match reader.u8().ok()? {
            1 => BatchState::Open,
            2 => BatchState::Settled,
            _ => return None,
        };
        let pending = match reader.u8().ok()? {
            0 => None,
            code => Some(Action::from_code(code)?),
        };
        let minor: [u64; 3] = [reader.u64().ok()?, reader.u64().ok()?, reader.u64().ok()?];
        let count = reader.u32().ok()?;
        let date = Date::from_days(reader.u32().ok()?)?;
        let last_four = match reader.u16().ok()? {
            NO_LAST_FOUR => None,
            digits if digits < 10_000 => Some(digits),
            _ => return None,
        };
        let origin = reader.array().ok()?;
        let evidence = reader.array().ok()?;
        let token = match usize::from(reader.u8().ok()?) {
            0 => None,
            len => Some(Token::from_bytes(reader.take(len).ok()?).ok()?),
        };
        let len = usize::from(reader.u16().ok()?);
        let fields = PaymentFields::read(reader.take(len).ok()?).ok()?;
        reader.finish().ok()?;
        let currency = fields.amount.currency();
        let [accepted, requested, in_doubt] = minor.map(|minor| Amount::new(minor, currency).ok());
        Some(Self {
            id,
            time,
            date,
            paid_by,
            fields,
            token,
            last_four,
            state,
            batch,
            pending,
            refunds: RefundTotals {
                accepted: accepted?,
                requested: requested?,
                in_doubt: in_doubt?,
                count,
            },
            revision,
            origin,
            evidence,
        })
    }
}

/// SHA-256 of what is recorded of a payment first.
pub(in crate::ledger) fn origin(new: &NewPayment) -> Result<[u8; 32], LedgerError> {
    let mut bytes = [0; ID_LEN + 8 + 4 + 1 + PAYMENT_FIELDS_MAX_LEN];
    let mut out = Writer::new(&mut bytes);
    let mut fields = [0; PAYMENT_FIELDS_MAX_LEN];
    let written = new.fields.write(&mut fields).and_then(|len| {
        put_id(&mut out, &new.id)?;
        out.u64(new.time.0)?;
        out.u32(new.date.days())?;
        out.u8(paid_by_code(new.paid_by))?;
        out.put(fields.get(..len).unwrap_or_default())
    });
    let len = out.len();
    written.map_err(|_| LedgerError::Tampered)?;
    Ok(Sha256::digest(bytes.get(..len).unwrap_or_default()).into())
}

const fn paid_by_code(paid_by: PaidBy) -> u8 {
    match paid_by {
        PaidBy::Card => 1,
        PaidBy::Phone => 2,
        PaidBy::Qr => 3,
    }
}

const fn batch_code(batch: BatchState) -> u8 {
    match batch {
        BatchState::Open => 1,
        BatchState::Settled => 2,
    }
}
