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

mod binding;
mod event;
mod key;
mod payment;
mod request;

pub(super) use binding::{Binder, key_version};
pub(super) use event::key as event_key;
pub(super) use key::{Index, bound, end};
pub(super) use payment::origin;
pub(super) use request::{name as request_name, waits};

use super::error::LedgerError;
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::Domain;
use crate::vault::{IndexKey, RowKey};

/// The length of a tag, in bytes.
const TAG_LEN: usize = 32;

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

/// What stands in a row of its own and is found through the index: payments and requests.
pub(super) trait Stored: Copy + PartialEq {
    /// The kind of its rows.
    const KIND: Kind;

    /// The key of its row.
    fn key(&self, domain: &Domain) -> Result<RowKey, LedgerError>;

    /// The index key that leads to it alone.
    fn unique(&self, domain: &Domain) -> Result<IndexKey, LedgerError>;

    /// All other index keys that lead to it.
    fn links(&self, domain: &Domain) -> Result<Vec<IndexKey>, LedgerError>;

    /// Writes what stands between the head and the tag of its row.
    fn write(&self, out: &mut Writer<'_>) -> Result<(), CodecError>;

    /// Reads it back, if it is what stands under `key`.
    fn read(domain: &Domain, key: &RowKey, body: Reader<'_>) -> Option<Self>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::{
        Happened, HistoryEntry, HistoryRequest, NewPayment, Payment, PaymentId, RequestRecord,
        Source,
    };
    use crate::payment::{
        Amount, BatchNumber, ClearingDate, Currency, Date, PaymentFields, PaymentKind,
        ResponseCode, Stan, TerminalId, Voucher,
    };
    use crate::refund::{
        Action, Authority, BatchState, PaidBy, PaymentState, RefundEvent, RefundStatus,
        RefundTotals,
    };
    use crate::secret::Secret;
    use crate::time::UnixSeconds;
    use crate::token::Token;
    use crate::vault::MAX_ROW;

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
                key: request_name(&record),
            }),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The golden file is checked by another implementation, tests/golden/check_ledger.py.
    #[test]
    fn the_layout_is_frozen() {
        let (binder, domain, payment, record) = (key(), domain(), payment(), record());
        let payment_key = payment.key(&domain).unwrap();
        let payment_row = binder.row(&payment_key, &payment).unwrap();
        let request_key = record.key(&domain).unwrap();
        let request_row = binder.row(&request_key, &record).unwrap();
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
        let golden = include_str!("../../../tests/golden/ledger-rows-1.txt");
        let golden: String = golden
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(text == golden, "ledger-rows-1.txt is now:\n{text}");
        let read = binder.read(&domain, &payment_key, &payment_row);
        assert_eq!(read, Ok(payment));
        let read = binder.read(&domain, &request_key, &request_row);
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
        let key = payment.key(&domain).unwrap();
        let row = super::tests::key().row(&key, &payment).unwrap();
        assert!(row.as_bytes().len() <= MAX_ROW);
        assert!(event_key(&domain, &payment, u32::MAX).is_ok());
        assert!(end(Kind::Event, &domain).unwrap() > event_key(&domain, &payment, 1).unwrap());
        let mut record = record();
        record.number = text.parse().unwrap();
        record.rrn = payment.fields.rrn;
        let key = record.key(&domain).unwrap();
        assert!(super::tests::key().row(&key, &record).is_ok());
        for index in [
            Index::Rrn(&record.rrn.unwrap(), payment.date),
            Index::Order(&payment.fields.order.unwrap()),
            Index::Number(&record.merchant, &record.number),
            Index::Identity(&payment.id),
        ] {
            assert!(index.key(&domain).is_ok());
        }
    }
}
