//! The ledger's rows and keys, byte by byte. Numbers are big-endian, times are seconds since
//! 1970, dates days since 1970-01-01.
//!
//! Every row begins with its version (1), its kind (1 payment, 2 request, 3 event) and the
//! version of the ledger key (4 bytes), and ends with a tag:
//!
//! ```text
//! tag = HMAC-SHA256(ledger key of the domain, 1 length of the row key | row key | row without tag)
//! ```
//!
//! It is checked whenever a row is used. The row key names the domain, so that no row stands in
//! for another, be it of another key, kind or domain.
//!
//! | payment | field | encoding |
//! |---|---|---|
//! | 6..10 | revision | how many events the history has |
//! | 10 | state | [`PaymentState::code`] |
//! | 11 | paid by | 1 card, 2 phone, 3 QR code |
//! | 12 | batch | 1 open, 2 settled |
//! | 13 | pending | [`Action::code`]; 0 none |
//! | 14..38 | refunds accepted, requested, in doubt | minor units, 8 bytes each |
//! | 38..42 | refunds counted | a number |
//! | 42..46 | date | the merchant's day |
//! | 46..48 | last four digits | a number; `FFFF` none |
//! | 48..80 | origin | SHA-256 of identity, time, date, means and fields as first recorded |
//! | 80..112 | evidence | the tag of the newest event |
//! | then | token | its bytes behind their length in one byte; 0 none |
//! | then | fields | [`PaymentFields`] behind their length in two bytes |
//!
//! | request | field | encoding |
//! |---|---|---|
//! | 6 | action | [`Action::code`] |
//! | 7 | status | [`RefundStatus::code`] |
//! | 8 | authority | [`Authority::code`] |
//! | 9..17 | amount | minor units |
//! | 17..19 | currency | numeric code |
//! | 19..27 | since | when its time began |
//! | 27..31 | tries | how often it was submitted |
//! | 31..39 | terminal | ASCII, filled with blanks |
//! | 39..54 | merchant | ASCII, filled with blanks |
//! | 54..75 | payment | identity |
//! | then | reference number, number | ASCII, each behind its length in one byte; 0 none |
//!
//! | event | field | encoding |
//! |---|---|---|
//! | 6..14 | time | when the ledger learned of it |
//! | 14 | what | 1 recorded, 2 payment, 3 batch settled, 4 requested, 5 request |
//! | 15 | detail | of 2 and 5: the event's number, in the order of its type; else 0 |
//! | 16 | source | [`Source::code`] |
//! | 17 | state | of the payment after it |
//! | 18..50 | before | the tag of the event before it; of the first the payment's origin |
//! | 50..85 | request | of 4 and 5 alone: action, status, authority, amount (8), requested (8), |
//! | | | digest (16) |
//!
//! An identity is 21 bytes: 1, terminal (8), epoch (4), sequence (8), or 2, the host's 16 bytes
//! and four zeros. A domain stands behind its length in one byte.
//!
//! | row key | content |
//! |---|---|
//! | `41` payment | domain, time (8), identity |
//! | `42` event | domain, time (8) and identity of the payment, revision (4) |
//! | `43` request | domain, when it was requested (8), first 16 bytes of the number's digest |
//!
//! | index key | content |
//! |---|---|
//! | `50` identity, unique | domain, identity |
//! | `51` token | domain, token |
//! | `52` reference number | domain, number (12), date (4): the payment's, and the clearing date |
//! | `53` voucher | domain, terminal (8), batch (4), voucher (4) |
//! | `54` order | domain, SHA-256 of the order number |
//! | `55` number, unique | domain, SHA-256 of merchant (15) and refund number |
//! | `56` requests | domain, identity of the payment |
//! | `57` open requests | domain |
//! | `58` in doubt | domain |
//! | `59` batch | domain, terminal (8), batch (4) |
#![forbid(unsafe_code)]

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::LedgerError;
use super::record::{
    Happened, HistoryEntry, HistoryRequest, NewPayment, Payment, PaymentId, RequestKey,
    RequestRecord, Source,
};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::Domain;
use crate::payment::{
    Amount, BatchNumber, Currency, Date, MERCHANT_ID_LEN, MerchantId, OrderNumber,
    PAYMENT_FIELDS_MAX_LEN, PaymentFields, RefundNumber, Rrn, TERMINAL_ID_LEN, TerminalId, Voucher,
};
use crate::refund::{
    Action, Authority, BatchState, PaidBy, PaymentEvent, PaymentState, RefundEvent, RefundLevel,
    RefundStatus, RefundTotals,
};
use crate::secret::Secret;
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::{IndexKey, MAX_KEY, MAX_ROW, Row, RowKey};

const VERSION: u8 = 1;
const TAG_LEN: usize = 32;
const ID_LEN: usize = 21;
const NO_LAST_FOUR: u16 = 0xffff;

/// The kind of a row, and the first byte of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Payment,
    Request,
    Event,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Payment => 1,
            Self::Request => 2,
            Self::Event => 3,
        }
    }

    pub(super) const fn space(self) -> u8 {
        match self {
            Self::Payment => 0x41,
            Self::Event => 0x42,
            Self::Request => 0x43,
        }
    }
}

/// A ledger key at work.
pub(super) struct Binder {
    hmac: Hmac<Sha256>,
    version: u32,
}

impl Binder {
    pub(super) fn new(key: &Secret<32>, version: u32) -> Self {
        // HMAC pads a short key with zeros to the hash's block (RFC 2104 section 2).
        let mut block = Secret::<64>::zeroed();
        for (to, from) in block.expose_mut().iter_mut().zip(key.expose()) {
            *to = *from;
        }
        Self {
            hmac: Hmac::new(block.expose().into()),
            version,
        }
    }

    fn tag(&self, key: &RowKey, body: &[u8]) -> [u8; TAG_LEN] {
        let mut hmac = self.hmac.clone();
        let key = key.as_bytes();
        hmac.update(&[u8::try_from(key.len()).unwrap_or(u8::MAX)]);
        hmac.update(key);
        hmac.update(body);
        hmac.finalize().into_bytes().into()
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

    /// What is in a row after its head, if the row is what was bound under this key.
    fn open<'a>(&self, key: &RowKey, row: &'a Row) -> Option<(&'a [u8], [u8; TAG_LEN])> {
        let (body, tag) = row.as_bytes().split_last_chunk::<TAG_LEN>()?;
        let good = self.tag(key, body).ct_eq(tag);
        bool::from(good).then_some((body, *tag))
    }
}

/// The version of the ledger key that a row names, if it is a row of this kind.
pub(super) fn key_version(kind: Kind, row: &Row) -> Result<u32, LedgerError> {
    let mut reader = Reader::new(row.as_bytes());
    match (reader.u8(), reader.u8(), reader.u32()) {
        (Ok(VERSION), Ok(code), Ok(version)) if code == kind.code() => Ok(version),
        _ => Err(LedgerError::Tampered),
    }
}

impl Binder {
    pub(super) fn payment(&self, key: &RowKey, payment: &Payment) -> Result<Row, LedgerError> {
        let (row, _) = self.bind(key, Kind::Payment, |out| {
            out.u32(payment.revision)?;
            out.u8(payment.state.code())?;
            out.u8(paid_by_code(payment.paid_by))?;
            out.u8(batch_code(payment.batch))?;
            out.u8(payment.pending.map_or(0, Action::code))?;
            let totals = payment.refunds;
            for amount in [totals.accepted, totals.requested, totals.in_doubt] {
                out.u64(amount.minor())?;
            }
            out.u32(totals.count)?;
            out.u32(payment.date.days())?;
            out.u16(payment.last_four.unwrap_or(NO_LAST_FOUR))?;
            out.put(&payment.origin)?;
            out.put(&payment.evidence)?;
            out.prefixed(payment.token.as_ref().map_or(&[], |token| token.as_bytes()))?;
            let mut fields = [0; PAYMENT_FIELDS_MAX_LEN];
            let len = payment.fields.write(&mut fields)?;
            out.u16(u16::try_from(len).unwrap_or(u16::MAX))?;
            out.put(fields.get(..len).unwrap_or_default())
        })?;
        Ok(row)
    }

    pub(super) fn read_payment(
        &self,
        domain: &Domain,
        key: &RowKey,
        row: &Row,
    ) -> Result<Payment, LedgerError> {
        let (body, _) = self.open(key, row).ok_or(LedgerError::Tampered)?;
        let (time, id) = read_payment_key(domain, key).ok_or(LedgerError::Tampered)?;
        payment_from(time, id, body).ok_or(LedgerError::Tampered)
    }

    pub(super) fn request(&self, key: &RowKey, record: &RequestRecord) -> Result<Row, LedgerError> {
        let (row, _) = self.bind(key, Kind::Request, |out| {
            out.u8(record.action.code())?;
            out.u8(record.status.code())?;
            out.u8(record.authority.code())?;
            out.u64(record.amount.minor())?;
            out.u16(record.amount.currency().numeric())?;
            out.u64(record.since.0)?;
            out.u32(record.tries)?;
            out.put(record.terminal.as_bytes())?;
            out.put(record.merchant.as_bytes())?;
            put_id(out, &record.payment)?;
            out.prefixed(record.rrn.as_ref().map_or(&[], |rrn| rrn.as_bytes()))?;
            out.prefixed(record.number.as_bytes())
        })?;
        Ok(row)
    }

    pub(super) fn read_request(
        &self,
        domain: &Domain,
        key: &RowKey,
        row: &Row,
    ) -> Result<RequestRecord, LedgerError> {
        let (body, _) = self.open(key, row).ok_or(LedgerError::Tampered)?;
        let named = read_request_key(domain, key).ok_or(LedgerError::Tampered)?;
        let record = request_from(named.requested, body).ok_or(LedgerError::Tampered)?;
        if request_digest(&record.merchant, &record.number) != named.digest {
            return Err(LedgerError::Tampered);
        }
        Ok(record)
    }

    /// The row of an event and its tag. `before` is the tag of the one before it.
    pub(super) fn event(
        &self,
        key: &RowKey,
        event: &HistoryEntry,
        before: &[u8; TAG_LEN],
    ) -> Result<(Row, [u8; TAG_LEN]), LedgerError> {
        self.bind(key, Kind::Event, |out| {
            let (what, detail) = happened_code(event.what);
            out.u64(event.time.0)?;
            out.put(&[what, detail, event.source.code(), event.state.code()])?;
            out.put(before)?;
            if let Some(request) = &event.request {
                out.u8(request.action.code())?;
                out.u8(request.status.code())?;
                out.u8(request.authority.code())?;
                out.u64(request.amount.minor())?;
                out.u64(request.key.requested.0)?;
                out.put(&request.key.digest)?;
            }
            Ok(())
        })
    }

    /// An event, the tag of the one before it, and its own.
    pub(super) fn read_event(
        &self,
        revision: u32,
        currency: Currency,
        key: &RowKey,
        row: &Row,
    ) -> Result<(HistoryEntry, [u8; TAG_LEN], [u8; TAG_LEN]), LedgerError> {
        let (body, tag) = self.open(key, row).ok_or(LedgerError::Tampered)?;
        let (event, before) = event_from(revision, currency, body).ok_or(LedgerError::Tampered)?;
        Ok((event, before, tag))
    }
}

/// SHA-256 of what is recorded of a payment first.
pub(super) fn origin(new: &NewPayment) -> Result<[u8; 32], LedgerError> {
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

/// The first half of the digest by which a request is known.
pub(super) fn request_digest(merchant: &MerchantId, number: &RefundNumber) -> [u8; 16] {
    let digest = number_digest(merchant, number);
    let mut half = [0; 16];
    half.iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    half
}

fn number_digest(merchant: &MerchantId, number: &RefundNumber) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(merchant.as_bytes());
    hash.update(number.as_bytes());
    hash.finalize().into()
}

// Keys.

pub(super) fn payment_key(
    domain: &Domain,
    time: UnixSeconds,
    id: &PaymentId,
) -> Result<RowKey, LedgerError> {
    key(Kind::Payment.space(), domain, |out| {
        out.u64(time.0)?;
        put_id(out, id)
    })
    .and_then(|bytes| Ok(RowKey::new(bytes.as_slice())?))
}

pub(super) fn event_key(
    domain: &Domain,
    payment: &Payment,
    revision: u32,
) -> Result<RowKey, LedgerError> {
    key(Kind::Event.space(), domain, |out| {
        out.u64(payment.time.0)?;
        put_id(out, &payment.id)?;
        out.u32(revision)
    })
    .and_then(|bytes| Ok(RowKey::new(bytes.as_slice())?))
}

pub(super) fn request_key(domain: &Domain, name: &RequestKey) -> Result<RowKey, LedgerError> {
    key(Kind::Request.space(), domain, |out| {
        out.u64(name.requested.0)?;
        out.put(&name.digest)
    })
    .and_then(|bytes| Ok(RowKey::new(bytes.as_slice())?))
}

/// Lies before every key of this kind and domain from `time` on, and behind those before.
pub(super) fn bound(kind: Kind, domain: &Domain, time: UnixSeconds) -> Result<RowKey, LedgerError> {
    key(kind.space(), domain, |out| out.u64(time.0))
        .and_then(|bytes| Ok(RowKey::new(bytes.as_slice())?))
}

/// Lies behind every key of this kind and domain.
pub(super) fn end(kind: Kind, domain: &Domain) -> Result<RowKey, LedgerError> {
    // One byte longer than any time that is all ones and has something behind it.
    key(kind.space(), domain, |out| {
        out.u64(u64::MAX)?;
        out.put(&[0xff; ID_LEN + 5])
    })
    .and_then(|bytes| Ok(RowKey::new(bytes.as_slice())?))
}

/// The index keys by which the ledger finds its rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Index<'a> {
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
    pub(super) fn key(&self, domain: &Domain) -> Result<IndexKey, LedgerError> {
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
            Self::Rrn(rrn, date) => {
                out.put(rrn.as_bytes())?;
                out.u32(date.days())
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

/// All index keys that name a payment, its identity left out.
pub(super) fn payment_links(
    domain: &Domain,
    payment: &Payment,
) -> Result<Vec<IndexKey>, LedgerError> {
    let fields = &payment.fields;
    let mut keys = vec![
        Index::Voucher(&fields.terminal, fields.batch, fields.voucher).key(domain)?,
        Index::Batch(&fields.terminal, fields.batch).key(domain)?,
    ];
    if let Some(token) = &payment.token {
        keys.push(Index::Token(token).key(domain)?);
    }
    if let Some(rrn) = &fields.rrn {
        keys.push(Index::Rrn(rrn, payment.date).key(domain)?);
        if let Some(clearing) = fields.clearing.filter(|date| date.0 != payment.date) {
            keys.push(Index::Rrn(rrn, clearing.0).key(domain)?);
        }
    }
    if let Some(order) = &fields.order {
        keys.push(Index::Order(order).key(domain)?);
    }
    if payment.state == PaymentState::InDoubt {
        keys.push(Index::InDoubt.key(domain)?);
    }
    Ok(keys)
}

/// All index keys that name a request, its number left out.
pub(super) fn request_links(
    domain: &Domain,
    record: &RequestRecord,
) -> Result<Vec<IndexKey>, LedgerError> {
    let mut keys = vec![Index::Requests(&record.payment).key(domain)?];
    if waits(record) {
        keys.push(Index::Open.key(domain)?);
    }
    Ok(keys)
}

/// Whether an outcome is still to come: of a refund the settlement, of others the acceptance.
pub(super) fn waits(record: &RequestRecord) -> bool {
    let accepted = record.status == RefundStatus::Accepted;
    record.status.is_open() && (record.action == Action::Refund || !accepted)
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

fn put_id(out: &mut Writer<'_>, id: &PaymentId) -> Result<(), CodecError> {
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

fn read_id(reader: &mut Reader<'_>) -> Option<PaymentId> {
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

/// The reader behind the domain of a key of this kind.
fn key_reader<'a>(kind: Kind, domain: &Domain, key: &'a RowKey) -> Option<Reader<'a>> {
    let mut reader = Reader::new(key.as_bytes());
    if reader.u8().ok()? != kind.space() {
        return None;
    }
    let len = usize::from(reader.u8().ok()?);
    (reader.take(len).ok()? == domain.as_bytes()).then_some(reader)
}

/// Lies before every payment's key, of any domain.
pub(super) fn first_payment() -> Result<RowKey, LedgerError> {
    Ok(RowKey::new(&[Kind::Payment.space()])?)
}

/// Lies behind every payment's key.
pub(super) fn last_payment() -> Result<RowKey, LedgerError> {
    Ok(RowKey::new(&[Kind::Payment.space() + 1])?)
}

/// The domain and the identity that a payment's key names.
pub(super) fn named_payment(key: &RowKey) -> Option<(Domain, PaymentId)> {
    let mut reader = Reader::new(key.as_bytes());
    reader.u8().ok()?;
    let len = usize::from(reader.u8().ok()?);
    let domain = Domain::new(reader.take(len).ok()?).ok()?;
    let (_, id) = read_payment_key(&domain, key)?;
    Some((domain, id))
}

fn read_payment_key(domain: &Domain, key: &RowKey) -> Option<(UnixSeconds, PaymentId)> {
    let mut reader = key_reader(Kind::Payment, domain, key)?;
    let time = UnixSeconds(reader.u64().ok()?);
    let id = read_id(&mut reader)?;
    reader.finish().ok()?;
    Some((time, id))
}

fn read_request_key(domain: &Domain, key: &RowKey) -> Option<RequestKey> {
    let mut reader = key_reader(Kind::Request, domain, key)?;
    let requested = UnixSeconds(reader.u64().ok()?);
    let digest = reader.array().ok()?;
    reader.finish().ok()?;
    Some(RequestKey { requested, digest })
}

// Rows.

/// A reader behind the head of a row whose tag was checked.
fn body_reader(body: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader::new(body);
    reader.take(6).ok()?;
    Some(reader)
}

fn payment_from(time: UnixSeconds, id: PaymentId, body: &[u8]) -> Option<Payment> {
    let mut reader = body_reader(body)?;
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
    Some(Payment {
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

fn request_from(requested: UnixSeconds, body: &[u8]) -> Option<RequestRecord> {
    let mut reader = body_reader(body)?;
    let action = Action::from_code(reader.u8().ok()?)?;
    let status = RefundStatus::from_code(reader.u8().ok()?)?;
    let authority = Authority::from_code(reader.u8().ok()?)?;
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
    Some(RequestRecord {
        number,
        merchant,
        payment,
        action,
        amount: Amount::new(minor, currency).ok()?,
        status,
        authority,
        terminal,
        requested,
        since,
        tries,
        rrn,
    })
}

fn event_from(
    revision: u32,
    currency: Currency,
    body: &[u8],
) -> Option<(HistoryEntry, [u8; TAG_LEN])> {
    let mut reader = body_reader(body)?;
    let time = UnixSeconds(reader.u64().ok()?);
    let (what, detail) = (reader.u8().ok()?, reader.u8().ok()?);
    let what = happened_from(what, detail)?;
    let source = Source::from_code(reader.u8().ok()?)?;
    let state = PaymentState::from_code(reader.u8().ok()?)?;
    let before = reader.array().ok()?;
    let request = match what {
        Happened::Requested | Happened::Request(_) => Some(HistoryRequest {
            action: Action::from_code(reader.u8().ok()?)?,
            status: RefundStatus::from_code(reader.u8().ok()?)?,
            authority: Authority::from_code(reader.u8().ok()?)?,
            amount: Amount::new(reader.u64().ok()?, currency).ok()?,
            key: RequestKey {
                requested: UnixSeconds(reader.u64().ok()?),
                digest: reader.array().ok()?,
            },
        }),
        _ => None,
    };
    reader.finish().ok()?;
    let event = HistoryEntry {
        revision,
        time,
        what,
        source,
        state,
        request,
    };
    Some((event, before))
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

/// Payment events in the order of their numbers, from 1.
const PAYMENT_EVENTS: [PaymentEvent; 14] = [
    PaymentEvent::FoundApproved,
    PaymentEvent::FoundDeclined,
    PaymentEvent::Reversed,
    PaymentEvent::Voided,
    PaymentEvent::Completed,
    PaymentEvent::CompletionUndone,
    PaymentEvent::Refunds(RefundLevel::None),
    PaymentEvent::Refunds(RefundLevel::Part),
    PaymentEvent::Refunds(RefundLevel::All),
    PaymentEvent::Disputed,
    PaymentEvent::DisputeWon(RefundLevel::None),
    PaymentEvent::DisputeWon(RefundLevel::Part),
    PaymentEvent::DisputeWon(RefundLevel::All),
    PaymentEvent::DisputeLost,
];

/// Request events in the order of their numbers, from 1.
const REQUEST_EVENTS: [RefundEvent; 5] = [
    RefundEvent::Accepted,
    RefundEvent::Settled,
    RefundEvent::Failed,
    RefundEvent::NoAnswer,
    RefundEvent::Resubmitted,
];

fn happened_code(what: Happened) -> (u8, u8) {
    let number =
        |place: Option<usize>| place.map_or(0, |place| u8::try_from(place + 1).unwrap_or(0));
    match what {
        Happened::Recorded => (1, 0),
        Happened::Payment(event) => (
            2,
            number(PAYMENT_EVENTS.iter().position(|known| *known == event)),
        ),
        Happened::BatchSettled => (3, 0),
        Happened::Requested => (4, 0),
        Happened::Request(event) => (
            5,
            number(REQUEST_EVENTS.iter().position(|known| *known == event)),
        ),
    }
}

fn happened_from(what: u8, detail: u8) -> Option<Happened> {
    let place = usize::from(detail).checked_sub(1);
    match (what, place) {
        (1, None) => Some(Happened::Recorded),
        (2, Some(place)) => PAYMENT_EVENTS.get(place).map(|e| Happened::Payment(*e)),
        (3, None) => Some(Happened::BatchSettled),
        (4, None) => Some(Happened::Requested),
        (5, Some(place)) => REQUEST_EVENTS.get(place).map(|e| Happened::Request(*e)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{ClearingDate, PaymentKind, ResponseCode, Stan};

    fn key() -> Binder {
        let key = Secret::new(core::array::from_fn(|at| u8::try_from(at).unwrap()));
        Binder::new(&key, 0x0102_0304)
    }

    fn domain() -> Domain {
        "merchant-7".parse().unwrap()
    }

    fn payment() -> Payment {
        let currency = Currency::CNY;
        let amount = |minor| Amount::new(minor, currency).unwrap();
        let numbers = (
            Stan::new(77).unwrap(),
            Voucher::new(123).unwrap(),
            BatchNumber::new(7).unwrap(),
        );
        let terminal: TerminalId = "T1".parse().unwrap();
        let merchant = "M0001".parse().unwrap();
        let mut fields =
            PaymentFields::new(PaymentKind::Sale, amount(1234), numbers, terminal, merchant);
        fields.rrn = Some("251231000123".parse().unwrap());
        fields.response = Some(ResponseCode::APPROVED);
        fields.clearing = Some(ClearingDate(Date::new(2026, 12, 31).unwrap()));
        fields.order = Some("ORDER-1".parse().unwrap());
        let new = NewPayment {
            id: PaymentId::Journal {
                terminal,
                epoch: 3,
                sequence: 42,
            },
            time: UnixSeconds(1_798_700_000),
            date: Date::new(2026, 12, 31).unwrap(),
            paid_by: PaidBy::Phone,
            fields,
            token: None,
            last_four: None,
        };
        Payment {
            id: new.id,
            time: new.time,
            date: new.date,
            paid_by: new.paid_by,
            fields,
            token: Some(Token::from_bytes(&[&[1], [0xab; 16].as_slice()].concat()).unwrap()),
            last_four: Some(1117),
            state: PaymentState::PartlyRefunded,
            batch: BatchState::Settled,
            pending: None,
            refunds: RefundTotals {
                accepted: amount(100),
                requested: amount(20),
                in_doubt: amount(3),
                count: 4,
            },
            revision: 9,
            origin: origin(&new).unwrap(),
            evidence: [0xe5; 32],
        }
    }

    fn record() -> RequestRecord {
        RequestRecord {
            number: "R-2026-1".parse().unwrap(),
            merchant: "M0001".parse().unwrap(),
            payment: PaymentId::Host([0xc0; 16]),
            action: Action::Refund,
            amount: Amount::new(20, Currency::CNY).unwrap(),
            status: RefundStatus::InDoubt,
            authority: Authority::Supervisor,
            terminal: "T1".parse().unwrap(),
            requested: UnixSeconds(1_798_800_000),
            since: UnixSeconds(1_798_800_009),
            tries: 2,
            rrn: None,
        }
    }

    fn event() -> HistoryEntry {
        let record = record();
        HistoryEntry {
            revision: 9,
            time: UnixSeconds(1_798_800_010),
            what: Happened::Request(RefundEvent::NoAnswer),
            source: Source::Centre,
            state: PaymentState::PartlyRefunded,
            request: Some(HistoryRequest {
                action: record.action,
                amount: record.amount,
                status: record.status,
                authority: record.authority,
                key: request_name(),
            }),
        }
    }

    fn request_name() -> RequestKey {
        let record = record();
        RequestKey {
            requested: record.requested,
            digest: request_digest(&record.merchant, &record.number),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The golden file is checked by another implementation, tests/golden/check_ledger.py.
    #[test]
    fn the_layout_is_frozen() {
        let (binder, domain, payment, record) = (key(), domain(), payment(), record());
        let payment_key = payment_key(&domain, payment.time, &payment.id).unwrap();
        let payment_row = binder.payment(&payment_key, &payment).unwrap();
        let request_key = request_key(&domain, &request_name()).unwrap();
        let request_row = binder.request(&request_key, &record).unwrap();
        let event_key = event_key(&domain, &payment, 9).unwrap();
        let (event_row, tag) = binder.event(&event_key, &event(), &payment.origin).unwrap();
        let token = payment.token.unwrap();
        let fields = payment.fields;
        let mut lines = vec![
            ("payment key", hex(payment_key.as_bytes())),
            ("payment", hex(payment_row.as_bytes())),
            ("request key", hex(request_key.as_bytes())),
            ("request", hex(request_row.as_bytes())),
            ("event key", hex(event_key.as_bytes())),
            ("event", hex(event_row.as_bytes())),
        ];
        for (name, index) in [
            ("identity", Index::Identity(&payment.id)),
            ("token", Index::Token(&token)),
            (
                "reference number",
                Index::Rrn(&fields.rrn.unwrap(), payment.date),
            ),
            (
                "voucher",
                Index::Voucher(&fields.terminal, fields.batch, fields.voucher),
            ),
            ("order", Index::Order(&fields.order.unwrap())),
            ("number", Index::Number(&record.merchant, &record.number)),
            ("requests", Index::Requests(&record.payment)),
            ("open", Index::Open),
            ("in doubt", Index::InDoubt),
            ("batch", Index::Batch(&fields.terminal, fields.batch)),
        ] {
            lines.push((name, hex(index.key(&domain).unwrap().as_bytes())));
        }
        let text: String = lines
            .iter()
            .map(|(name, hex)| format!("{name}: {hex}\n"))
            .collect();
        let golden = include_str!("../../tests/golden/ledger-rows-1.txt");
        let golden: String = golden
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(text == golden, "ledger-rows-1.txt is now:\n{text}");
        let read = binder.read_payment(&domain, &payment_key, &payment_row);
        assert_eq!(read, Ok(payment));
        let read = binder.read_request(&domain, &request_key, &request_row);
        assert_eq!(read, Ok(record));
        let read = binder.read_event(9, Currency::CNY, &event_key, &event_row);
        assert_eq!(read, Ok((event(), payment.origin, tag)));
    }

    #[test]
    fn the_largest_rows_fit() {
        let mut payment = payment();
        let text = "x".repeat(64);
        let fields = &mut payment.fields;
        fields.order = Some(text.parse().unwrap());
        fields.refund = Some(text.parse().unwrap());
        fields.approval = Some("A1B2C3".parse().unwrap());
        fields.par = Some("Q1J4Z28RKA1EBL470G9XYG90R5D3E".parse().unwrap());
        fields.original = Some(crate::payment::Reference::Order(text.parse().unwrap()));
        let token = [&[1], [0xab; 16].as_slice()].concat();
        payment.token = Some(Token::from_bytes(&token).unwrap());
        let domain = Domain::new(&[b'd'; 32]).unwrap();
        let key = payment_key(&domain, payment.time, &payment.id).unwrap();
        let row = super::tests::key().payment(&key, &payment).unwrap();
        assert!(row.as_bytes().len() <= MAX_ROW);
        assert!(event_key(&domain, &payment, u32::MAX).is_ok());
        assert!(end(Kind::Event, &domain).unwrap() > event_key(&domain, &payment, 1).unwrap());
        let mut record = record();
        record.number = text.parse().unwrap();
        record.rrn = payment.fields.rrn;
        let name = request_name();
        let key = request_key(&domain, &name).unwrap();
        assert!(super::tests::key().request(&key, &record).is_ok());
        for index in [
            Index::Rrn(&record.rrn.unwrap(), payment.date),
            Index::Order(&payment.fields.order.unwrap()),
            Index::Number(&record.merchant, &record.number),
            Index::Identity(&payment.id),
        ] {
            assert!(index.key(&domain).is_ok());
        }
    }

    #[test]
    fn events_have_numbers_of_their_own() {
        let mut codes = std::collections::BTreeSet::new();
        let payment = PAYMENT_EVENTS.map(Happened::Payment);
        let request = REQUEST_EVENTS.map(Happened::Request);
        let others = [
            Happened::Recorded,
            Happened::BatchSettled,
            Happened::Requested,
        ];
        for what in payment.iter().chain(&request).chain(&others) {
            let (code, detail) = happened_code(*what);
            assert!(codes.insert((code, detail)));
            assert_eq!(happened_from(code, detail), Some(*what));
        }
        for what in 0..=255 {
            for detail in 0..=255 {
                let known = codes.contains(&(what, detail));
                assert_eq!(
                    happened_from(what, detail).is_some(),
                    known,
                    "{what} {detail}"
                );
            }
        }
        for (code, source) in (1..).zip(Source::ALL) {
            assert_eq!(
                (source.code(), Source::from_code(code)),
                (code, Some(source))
            );
        }
        assert_eq!((Source::from_code(0), Source::from_code(7)), (None, None));
    }
}
