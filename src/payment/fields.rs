//! The compact record of a payment's fields, as a journal's clear header carries it.
//!
//! | bytes | field | encoding |
//! |---|---|---|
//! | 0 | version | 1 |
//! | 1 | kind | [`PaymentKind::code`] |
//! | 2..7 | amount in minor units | big-endian, at most 999999999999 |
//! | 7..9 | currency | ISO 4217 number, big-endian |
//! | 9..12 | trace number | big-endian |
//! | 12..15 | voucher number | big-endian |
//! | 15..18 | batch number | big-endian |
//! | 18..26 | terminal id | ASCII, filled with blanks |
//! | 26..41 | merchant id | ASCII, filled with blanks |
//! | then | reference number, approval code, response code, payment account reference | ASCII |
//! | then | clearing date | `YYYYMMDD` as a number, four bytes, big-endian |
//! | then | order number, refund number | ASCII |
//! | then | reference to the original | one byte of kind and its content, see below |
//!
//! Each field from the reference number on stands behind its length in one byte; an absent one
//! is the length 0. Every payment has one encoding: any other is refused.
//!
//! | reference | content |
//! |---|---|
//! | 1 | field 61 in packed BCD, a zero before its 29 digits: 15 bytes |
//! | 2 | field 90 in packed BCD: 21 bytes |
//! | 3 | reference number, 12 bytes, and `MMDD` in packed BCD, 2 bytes |
//! | 4 | order number, 1 to 64 bytes |
#![forbid(unsafe_code)]

use core::fmt;

use super::amount::Amount;
use super::currency::Currency;
use super::date::{ClearingDate, Date, MonthDay};
use super::error::Field;
use super::kind::PaymentKind;
use super::number::{BatchNumber, Stan, Voucher};
use super::reference::{FIELD61_LEN, FIELD90_LEN, OriginalMessage, OriginalVoucher, Reference};
use super::text::{
    APPROVAL_CODE_LEN, ApprovalCode, MERCHANT_ID_LEN, MerchantId, ORDER_NUMBER_MAX_LEN,
    OrderNumber, PAR_LEN, Par, REFUND_NUMBER_MAX_LEN, RESPONSE_CODE_LEN, RRN_LEN, RefundNumber,
    ResponseCode, Rrn, TERMINAL_ID_LEN, TerminalId,
};
use crate::codec::{CodecError, Reader, Writer};

/// The layout's version.
pub const PAYMENT_FIELDS_VERSION: u8 = 1;
/// Bytes of a record without any optional field.
pub const PAYMENT_FIELDS_MIN_LEN: usize = FIXED_LEN + OPTIONAL_FIELDS;
/// The most bytes of a record.
pub const PAYMENT_FIELDS_MAX_LEN: usize = PAYMENT_FIELDS_MIN_LEN
    + RRN_LEN
    + APPROVAL_CODE_LEN
    + RESPONSE_CODE_LEN
    + PAR_LEN
    + CLEARING_LEN
    + ORDER_NUMBER_MAX_LEN
    + REFUND_NUMBER_MAX_LEN
    + REFERENCE_MAX_LEN;

const FIXED_LEN: usize = 1 + 1 + 5 + 2 + 3 * 3 + TERMINAL_ID_LEN + MERCHANT_ID_LEN;
const OPTIONAL_FIELDS: usize = 8;
const CLEARING_LEN: usize = 4;
const REFERENCE_MAX_LEN: usize = 1 + ORDER_NUMBER_MAX_LEN;
const FIELD61_BCD_LEN: usize = FIELD61_LEN.div_ceil(2);
const FIELD90_BCD_LEN: usize = FIELD90_LEN / 2;

const REFERENCE_VOUCHER: u8 = 1;
const REFERENCE_MESSAGE: u8 = 2;
const REFERENCE_RRN: u8 = 3;
const REFERENCE_ORDER: u8 = 4;

/// What is recorded of a payment in clear. No card number, no cardholder data.
///
/// Which optional fields a kind must have is not checked here: a terminal records what it knows,
/// and an answer that never came has no approval code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PaymentFields {
    /// What the payment is.
    pub kind: PaymentKind,
    /// How much.
    pub amount: Amount,
    /// The trace number of its message.
    pub stan: Stan,
    /// The voucher number on its receipt.
    pub voucher: Voucher,
    /// The terminal's batch.
    pub batch: BatchNumber,
    /// The terminal.
    pub terminal: TerminalId,
    /// The merchant.
    pub merchant: MerchantId,
    /// The centre's reference number, once it answered.
    pub rrn: Option<Rrn>,
    /// The issuer's approval code.
    pub approval: Option<ApprovalCode>,
    /// The response code; absent while no answer came.
    pub response: Option<ResponseCode>,
    /// The payment account reference, where the card or phone gave one.
    pub par: Option<Par>,
    /// The day on which the centre clears the payment.
    pub clearing: Option<ClearingDate>,
    /// The merchant's order number of a QR payment.
    pub order: Option<OrderNumber>,
    /// The merchant's number of a refund.
    pub refund: Option<RefundNumber>,
    /// The payment that this one acts on.
    pub original: Option<Reference>,
}

impl PaymentFields {
    /// A payment without optional fields.
    #[must_use]
    pub const fn new(
        kind: PaymentKind,
        amount: Amount,
        numbers: (Stan, Voucher, BatchNumber),
        terminal: TerminalId,
        merchant: MerchantId,
    ) -> Self {
        let (stan, voucher, batch) = numbers;
        Self {
            kind,
            amount,
            stan,
            voucher,
            batch,
            terminal,
            merchant,
            rrn: None,
            approval: None,
            response: None,
            par: None,
            clearing: None,
            order: None,
            refund: None,
            original: None,
        }
    }

    /// Writes the record to the front of `out`, which needs at most
    /// [`PAYMENT_FIELDS_MAX_LEN`] bytes; the bytes written.
    ///
    /// # Errors
    /// [`CodecError::NoRoom`] if `out` is too short; its content is then undefined.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, CodecError> {
        let mut writer = Writer::new(out);
        writer.u8(PAYMENT_FIELDS_VERSION)?;
        writer.u8(self.kind.code())?;
        let [_, _, _, amount @ ..] = self.amount.minor().to_be_bytes();
        writer.put(&amount)?;
        writer.u16(self.amount.currency().numeric())?;
        for number in [self.stan.get(), self.voucher.get(), self.batch.get()] {
            let [_, number @ ..] = number.to_be_bytes();
            writer.put(&number)?;
        }
        writer.put(self.terminal.as_bytes())?;
        writer.put(self.merchant.as_bytes())?;
        writer.prefixed(self.rrn.as_ref().map_or(&[], |rrn| rrn.as_bytes()))?;
        writer.prefixed(self.approval.as_ref().map_or(&[], |code| code.as_bytes()))?;
        writer.prefixed(self.response.as_ref().map_or(&[], |code| code.as_bytes()))?;
        writer.prefixed(self.par.as_ref().map_or(&[], |par| par.as_bytes()))?;
        match self.clearing {
            Some(date) => writer.prefixed(&date.0.number().to_be_bytes())?,
            None => writer.prefixed(&[])?,
        }
        writer.prefixed(self.order.as_ref().map_or(&[], |order| order.as_bytes()))?;
        writer.prefixed(self.refund.as_ref().map_or(&[], |refund| refund.as_bytes()))?;
        self.write_original(&mut writer)?;
        Ok(writer.len())
    }

    /// Reads what [`PaymentFields::write`] wrote, all of `bytes`.
    ///
    /// # Errors
    /// [`PaymentFieldsError`] for a newer version and for every encoding that `write` never
    /// writes, with the offset.
    pub fn read(bytes: &[u8]) -> Result<Self, PaymentFieldsError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != PAYMENT_FIELDS_VERSION {
            return Err(PaymentFieldsError::Version { found: version });
        }
        let kind = field(&mut reader, Field::Kind, |reader| {
            Ok(PaymentKind::from_code(reader.u8()?))
        })?;
        let minor = big_endian::<5>(&mut reader)?;
        let at = reader.at();
        let currency = field(&mut reader, Field::Currency, |reader| {
            Ok(Currency::from_numeric(reader.u16()?).ok())
        })?;
        let amount = Amount::new(minor, currency).map_err(|_| PaymentFieldsError::Field {
            field: Field::Amount,
            at: at.saturating_sub(5),
        })?;
        let stan = number(&mut reader, Field::Stan, Stan::new)?;
        let voucher = number(&mut reader, Field::Voucher, Voucher::new)?;
        let batch = number(&mut reader, Field::Batch, BatchNumber::new)?;
        let terminal = field(&mut reader, Field::Terminal, |reader| {
            let text = reader.array::<TERMINAL_ID_LEN>()?;
            Ok(TerminalId::parse(&text).ok())
        })?;
        let merchant = field(&mut reader, Field::Merchant, |reader| {
            let text = reader.array::<MERCHANT_ID_LEN>()?;
            Ok(MerchantId::parse(&text).ok())
        })?;
        let payment = Self {
            kind,
            amount,
            stan,
            voucher,
            batch,
            terminal,
            merchant,
            rrn: optional(&mut reader, Field::Rrn, |text| Rrn::parse(text).ok())?,
            approval: optional(&mut reader, Field::Approval, |text| {
                ApprovalCode::parse(text).ok()
            })?,
            response: optional(&mut reader, Field::Response, |text| {
                ResponseCode::parse(text).ok()
            })?,
            par: optional(&mut reader, Field::Par, |text| Par::parse(text).ok())?,
            clearing: optional(&mut reader, Field::Date, |bytes| {
                let number = u32::from_be_bytes(bytes.try_into().ok()?);
                Date::from_number(u64::from(number)).map(ClearingDate)
            })?,
            order: optional(&mut reader, Field::Order, |text| {
                OrderNumber::parse(text).ok()
            })?,
            refund: optional(&mut reader, Field::Refund, |text| {
                RefundNumber::parse(text).ok()
            })?,
            original: optional(&mut reader, Field::Reference, read_original)?,
        };
        reader.finish()?;
        Ok(payment)
    }

    fn write_original(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        let Some(original) = self.original else {
            return writer.prefixed(&[]);
        };
        let mut content = [0; REFERENCE_MAX_LEN];
        let mut inner = Writer::new(&mut content);
        match original {
            Reference::Voucher(original) => {
                inner.u8(REFERENCE_VOUCHER)?;
                inner.put(&pack::<FIELD61_BCD_LEN>(&original.to_digits()))?;
            }
            Reference::Message(original) => {
                inner.u8(REFERENCE_MESSAGE)?;
                inner.put(&pack::<FIELD90_BCD_LEN>(&original.to_digits()))?;
            }
            Reference::Rrn { rrn, date } => {
                inner.u8(REFERENCE_RRN)?;
                inner.put(rrn.as_bytes())?;
                inner.put(&pack::<2>(&date.to_digits()))?;
            }
            Reference::Order(order) => {
                inner.u8(REFERENCE_ORDER)?;
                inner.put(order.as_bytes())?;
            }
        }
        let len = inner.len();
        writer.prefixed(content.get(..len).unwrap_or_default())
    }
}

impl fmt::Display for PaymentFields {
    /// `sale 12.34 CNY, voucher 000123, batch 000007, terminal T1, merchant M1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, voucher {}", self.kind, self.amount, self.voucher)?;
        write!(f, ", batch {}, terminal {}", self.batch, self.terminal)?;
        write!(f, ", merchant {}", self.merchant)
    }
}

/// Why bytes are no payment record. Names the place, never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PaymentFieldsError {
    /// The layout's version is not one that this crate reads.
    Version {
        /// The version found.
        found: u8,
    },
    /// The record ends early, or bytes follow it.
    Frame(CodecError),
    /// The field that begins at this offset, with its length if it is optional, is not allowed.
    Field {
        /// The field.
        field: Field,
        /// Offset in bytes.
        at: usize,
    },
}

impl From<CodecError> for PaymentFieldsError {
    fn from(error: CodecError) -> Self {
        Self::Frame(error)
    }
}

impl fmt::Display for PaymentFieldsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { found } => {
                write!(
                    f,
                    "payment record has version {found}, not {PAYMENT_FIELDS_VERSION}"
                )
            }
            Self::Frame(error) => write!(f, "payment record: {error}"),
            Self::Field { field, at } => {
                write!(f, "payment record: the {field} at byte {at} is not allowed")
            }
        }
    }
}

impl core::error::Error for PaymentFieldsError {}

fn field<T>(
    reader: &mut Reader<'_>,
    field: Field,
    read: impl FnOnce(&mut Reader<'_>) -> Result<Option<T>, CodecError>,
) -> Result<T, PaymentFieldsError> {
    let at = reader.at();
    read(reader)?.ok_or(PaymentFieldsError::Field { field, at })
}

fn number<T>(
    reader: &mut Reader<'_>,
    name: Field,
    new: impl FnOnce(u32) -> Option<T>,
) -> Result<T, PaymentFieldsError> {
    field(reader, name, |reader| {
        let number = big_endian::<3>(reader)?;
        Ok(u32::try_from(number).ok().and_then(new))
    })
}

fn optional<T>(
    reader: &mut Reader<'_>,
    name: Field,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, PaymentFieldsError> {
    field(reader, name, |reader| {
        let len = reader.u8()?;
        let content = reader.take(usize::from(len))?;
        if content.is_empty() {
            return Ok(Some(None));
        }
        Ok(parse(content).map(Some))
    })
}

fn big_endian<const N: usize>(reader: &mut Reader<'_>) -> Result<u64, CodecError> {
    let bytes: [u8; N] = reader.array()?;
    Ok(bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn read_original(content: &[u8]) -> Option<Reference> {
    let (&kind, content) = content.split_first()?;
    match kind {
        REFERENCE_VOUCHER => {
            let digits = unpack::<FIELD61_LEN>(content)?;
            Some(Reference::Voucher(OriginalVoucher::parse(&digits).ok()?))
        }
        REFERENCE_MESSAGE => {
            let digits = unpack::<FIELD90_LEN>(content)?;
            Some(Reference::Message(OriginalMessage::parse(&digits).ok()?))
        }
        REFERENCE_RRN => {
            let (rrn, date) = content.split_at_checked(RRN_LEN)?;
            Some(Reference::Rrn {
                rrn: Rrn::parse(rrn).ok()?,
                date: MonthDay::parse(&unpack::<4>(date)?).ok()?,
            })
        }
        REFERENCE_ORDER => Some(Reference::Order(OrderNumber::parse(content).ok()?)),
        _ => None,
    }
}

/// Packs digits two to a byte, at the right end of `N` bytes.
fn pack<const N: usize>(digits: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (place, pair) in out.iter_mut().rev().zip(digits.rchunks(2)) {
        *place = pair.iter().fold(0, |byte, digit| byte << 4 | (digit & 0xf));
    }
    out
}

/// The `N` digits of as few bytes as hold them; `None` for other lengths, for nibbles above 9
/// and for a pad that is not zero.
fn unpack<const N: usize>(packed: &[u8]) -> Option<[u8; N]> {
    if packed.len() != N.div_ceil(2) {
        return None;
    }
    let mut nibbles = packed.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    if N % 2 == 1 && nibbles.next() != Some(0) {
        return None;
    }
    let mut out = [0; N];
    for (place, nibble) in out.iter_mut().zip(nibbles) {
        if nibble > 9 {
            return None;
        }
        *place = b'0' + nibble;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option::of;
    use proptest::prelude::*;

    fn fields(kind: PaymentKind) -> PaymentFields {
        PaymentFields::new(
            kind,
            Amount::new(1234, Currency::CNY).unwrap(),
            (
                Stan::new(77).unwrap(),
                Voucher::new(123).unwrap(),
                BatchNumber::new(7).unwrap(),
            ),
            "T1".parse().unwrap(),
            "M0001".parse().unwrap(),
        )
    }

    fn write(payment: &PaymentFields) -> Vec<u8> {
        let mut out = [0xAA; PAYMENT_FIELDS_MAX_LEN];
        let len = payment.write(&mut out).unwrap();
        out[..len].to_vec()
    }

    /// The payments of the golden file, by name.
    fn golden() -> Vec<(&'static str, PaymentFields)> {
        let sale = PaymentFields {
            rrn: "251231000123".parse().ok(),
            approval: "A1B2C3".parse().ok(),
            response: Some(ResponseCode::APPROVED),
            par: "500183QK0VQ1J9OB05EBDTQHRHD8L".parse().ok(),
            clearing: "20261231".parse().ok(),
            ..fields(PaymentKind::Sale)
        };
        let void = PaymentFields {
            original: OriginalVoucher::parse(b"00000700012312310000048021000")
                .map(Reference::Voucher)
                .ok(),
            ..fields(PaymentKind::SaleVoid)
        };
        let refund = PaymentFields {
            refund: "R-2027-1".parse().ok(),
            original: Some(Reference::Rrn {
                rrn: "251231000123".parse().unwrap(),
                date: MonthDay::new(2, 29).unwrap(),
            }),
            ..fields(PaymentKind::Refund)
        };
        let reversal = PaymentFields {
            original: OriginalMessage::parse(b"020000012312312359590004802100000049990000")
                .map(Reference::Message)
                .ok(),
            ..fields(PaymentKind::Reversal)
        };
        let qr = PaymentFields {
            order: "ORDER-1".parse().ok(),
            ..fields(PaymentKind::QrPayment)
        };
        let longest = PaymentFields {
            amount: Amount::new(super::super::AMOUNT_MAX, Currency::KWD).unwrap(),
            order: OrderNumber::parse(&[b'o'; ORDER_NUMBER_MAX_LEN]).ok(),
            refund: RefundNumber::parse(&[b'r'; REFUND_NUMBER_MAX_LEN]).ok(),
            original: OrderNumber::parse(&[b'p'; ORDER_NUMBER_MAX_LEN])
                .map(Reference::Order)
                .ok(),
            kind: PaymentKind::QrRefund,
            ..sale
        };
        vec![
            (
                "bare pre-authorization",
                fields(PaymentKind::PreAuthorization),
            ),
            ("approved sale", sale),
            ("void by field 61", void),
            ("refund by reference number", refund),
            ("reversal by field 90", reversal),
            ("qr payment", qr),
            ("longest", longest),
        ]
    }

    #[test]
    fn is_frozen() {
        let written: String = golden()
            .iter()
            .map(|(name, payment)| {
                let hex: String = write(payment).iter().map(|b| format!("{b:02x}")).collect();
                format!("{name}: {hex}\n")
            })
            .collect();
        let frozen = include_str!("../../tests/golden/payment-fields-1.txt");
        let frozen: String = frozen
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(written, frozen);
        for (name, payment) in golden() {
            assert_eq!(PaymentFields::read(&write(&payment)), Ok(payment), "{name}");
        }
    }

    #[test]
    fn lengths() {
        assert_eq!((PAYMENT_FIELDS_MIN_LEN, PAYMENT_FIELDS_MAX_LEN), (49, 295));
        assert_eq!(
            write(&fields(PaymentKind::Sale)).len(),
            PAYMENT_FIELDS_MIN_LEN
        );
        let (_, longest) = golden()[6];
        let bytes = write(&longest);
        assert_eq!(bytes.len(), PAYMENT_FIELDS_MAX_LEN);
        for len in 0..bytes.len() {
            let mut out = vec![0; len];
            assert!(matches!(
                longest.write(&mut out),
                Err(CodecError::NoRoom { .. })
            ));
            let cut = PaymentFields::read(&bytes[..len]);
            assert!(matches!(
                cut,
                Err(PaymentFieldsError::Frame(CodecError::Truncated { at })) if at <= len
            ));
        }
        let mut more = bytes;
        more.push(0);
        assert_eq!(
            PaymentFields::read(&more),
            Err(PaymentFieldsError::Frame(CodecError::Trailing { at: 295 }))
        );
    }

    #[test]
    fn faults_have_their_place() {
        let good = write(&fields(PaymentKind::Sale));
        let with = |at: usize, new: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + new.len()].copy_from_slice(new);
            PaymentFields::read(&bytes).unwrap_err()
        };
        assert_eq!(with(0, &[2]), PaymentFieldsError::Version { found: 2 });
        for (at, new, field) in [
            (1, &[0][..], Field::Kind),
            (1, &[12], Field::Kind),
            (2, &[0xe8, 0xd4, 0xa5, 0x10, 0x00], Field::Amount),
            (7, &[0, 0], Field::Currency),
            (9, &[0x0f, 0x42, 0x40], Field::Stan),
            (12, &[0, 0, 0], Field::Voucher),
            (15, &[0x0f, 0x42, 0x40], Field::Batch),
            (18, b"  ", Field::Terminal),
            (26, b"\0", Field::Merchant),
        ] {
            assert_eq!(
                with(at, new),
                PaymentFieldsError::Field { field, at },
                "{at}"
            );
        }
        // Every length but none and the right one.
        for (place, len, field) in [
            (0, RRN_LEN, Field::Rrn),
            (1, APPROVAL_CODE_LEN, Field::Approval),
            (2, RESPONSE_CODE_LEN, Field::Response),
            (3, PAR_LEN, Field::Par),
        ] {
            for found in (1..=255).filter(|&found| found != len) {
                let at = FIXED_LEN + place;
                let mut bytes = good[..at].to_vec();
                bytes.push(u8::try_from(found).unwrap());
                bytes.extend(vec![b'1'; found]);
                bytes.extend(vec![0; OPTIONAL_FIELDS - place - 1]);
                let error = PaymentFields::read(&bytes).unwrap_err();
                assert_eq!(error, PaymentFieldsError::Field { field, at });
            }
        }
    }

    fn any_fields() -> impl Strategy<Value = PaymentFields> {
        let numbers = (0..=999_999_u32, 1..=999_999_u32, 1..=999_999_u32);
        let fixed = (
            0..11_usize,
            0..=super::super::AMOUNT_MAX,
            0..157_usize,
            numbers,
        );
        let ids = ("[!-~][ -~]{0,7}", "[!-~][ -~]{0,14}");
        let codes = (
            of("[0-9A-Za-z]{12}"),
            of("[0-9A-Za-z]{6}"),
            of("[0-9A-Za-z]{2}"),
            of("[0-9A-Z]{29}"),
        );
        let rest = (of(0..2_932_897_u32), of("[!-~]{1,64}"), of("[!-~]{1,64}"));
        let original = of(prop_oneof![
            "[0-9]{12}1[0-2][12][0-9][0-9]{13}".prop_map(|text| {
                Reference::Voucher(OriginalVoucher::parse(text.as_bytes()).unwrap())
            }),
            "[0-9]{10}1[0-2][12][0-9]1[0-9]([0-5][0-9]){2}[0-9]{22}".prop_map(|text| {
                Reference::Message(OriginalMessage::parse(text.as_bytes()).unwrap())
            }),
            ("[0-9A-Z]{12}", 1..=12_u8, 1..=29_u8).prop_map(|(rrn, month, day)| {
                Reference::Rrn {
                    rrn: rrn.parse().unwrap(),
                    date: MonthDay::new(month, day).unwrap(),
                }
            }),
            "[!-~]{1,64}".prop_map(|order| Reference::Order(order.parse().unwrap())),
        ]);
        (fixed, ids, codes, rest, original).prop_map(|(fixed, ids, codes, rest, original)| {
            let (kind, minor, currency, (stan, voucher, batch)) = fixed;
            let currency = Currency::all().nth(currency).unwrap();
            PaymentFields {
                kind: PaymentKind::ALL[kind],
                amount: Amount::new(minor, currency).unwrap(),
                stan: Stan::new(stan).unwrap(),
                voucher: Voucher::new(voucher).unwrap(),
                batch: BatchNumber::new(batch).unwrap(),
                terminal: ids.0.parse().unwrap(),
                merchant: ids.1.parse().unwrap(),
                rrn: codes.0.map(|text| text.parse().unwrap()),
                approval: codes.1.map(|text| text.parse().unwrap()),
                response: codes.2.map(|text| text.parse().unwrap()),
                par: codes.3.map(|text| text.parse().unwrap()),
                clearing: rest
                    .0
                    .map(|days| ClearingDate(Date::from_days(days).unwrap())),
                order: rest.1.map(|text| text.parse().unwrap()),
                refund: rest.2.map(|text| text.parse().unwrap()),
                original,
            }
        })
    }

    proptest! {
        #[test]
        fn reads_back_every_payment(payment in any_fields()) {
            let bytes = write(&payment);
            prop_assert_eq!(PaymentFields::read(&bytes), Ok(payment));
        }

        /// A changed byte is another payment or refused, never the same payment.
        #[test]
        fn accepts_only_what_it_writes(
            payment in any_fields(),
            place: prop::sample::Index,
            new: u8,
        ) {
            let mut bytes = write(&payment);
            *place.get_mut(&mut bytes) = new;
            if let Ok(read) = PaymentFields::read(&bytes) {
                prop_assert_eq!(write(&read), bytes);
            }
        }

        #[test]
        fn arbitrary_bytes(mut bytes: Vec<u8>) {
            let _ = PaymentFields::read(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = PAYMENT_FIELDS_VERSION;
            }
            if let Ok(read) = PaymentFields::read(&bytes) {
                prop_assert_eq!(write(&read), bytes);
            }
        }
    }

    /// Every value at every place of every golden payment.
    #[test]
    fn every_changed_byte_is_another_payment_or_refused() {
        for (_, payment) in golden() {
            let good = write(&payment);
            for place in 0..good.len() {
                let mut bytes = good.clone();
                for value in 0..=255 {
                    bytes[place] = value;
                    if let Ok(read) = PaymentFields::read(&bytes) {
                        assert_eq!(write(&read), bytes);
                        assert_eq!(read == payment, bytes == good);
                    }
                }
            }
        }
    }
}
