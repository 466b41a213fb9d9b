//! The ledger's rows and the keys of its rows and index. Their layout, byte by byte, is in
//! `src/manual/ledger.md`, which is compiled as [`crate::manual::ledger`].
//!
//! A row is a head (version, kind, version of the ledger key), what its kind holds, and a tag over
//! its key and all of it, which is checked whenever the row is used.
#![forbid(unsafe_code)]

mod binding;
mod event;
mod key;
mod payment;
mod request;

pub(super) use binding::{Binder, key_version};
pub(super) use event::key as event_key;
pub(super) use key::{Index, bound, domain_of, end, first_of, last_of, named_payment};
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
            source: Source::Desk,
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
