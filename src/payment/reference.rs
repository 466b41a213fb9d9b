//! How a void, a refund, a completion or a reversal names the payment that it acts on.
#![forbid(unsafe_code)]

use core::fmt;

use super::date::MonthDay;
use super::error::{self, Field, FieldError};
use super::number::{BatchNumber, Stan, Voucher};
use super::text::{Institution, Mti, OrderNumber, Rrn};

/// Digits of [`OriginalVoucher`] in field 61: 6 + 6 + 4 + 2 + 11.
pub const FIELD61_LEN: usize = 29;
/// Digits of [`OriginalMessage`] in field 90: 4 + 6 + 10 + 11 + 11.
pub const FIELD90_LEN: usize = 42;
/// Digits of a transmission date and time, `MMDDhhmmss`.
pub const TRANSMISSION_TIME_DIGITS: usize = 10;

/// The key to an original payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reference {
    /// By what its receipt shows: field 61.
    Voucher(OriginalVoucher),
    /// By its message: field 90.
    Message(OriginalMessage),
    /// By its reference number, which is unique on one day only.
    Rrn {
        /// The original's field 37.
        rrn: Rrn,
        /// The original's date.
        date: MonthDay,
    },
    /// By its order number: QR payments.
    Order(OrderNumber),
}

/// The original's reference in field 61 (UnionPay): what is not known is filled with zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OriginalVoucher {
    /// The batch that the original is in, n6.
    pub batch: Option<BatchNumber>,
    /// The original's voucher number, n6.
    pub voucher: Option<Voucher>,
    /// The original's date, n4.
    pub date: Option<MonthDay>,
    /// How the original was authorized, n2.
    pub method: AuthorizationMethod,
    /// The institution that authorized it, n11.
    pub institution: Option<Institution>,
}

impl OriginalVoucher {
    /// Reads the 29 digits.
    ///
    /// # Errors
    /// [`FieldError`] with the place in field 61.
    pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
        let field = Field::OriginalVoucher;
        let mut parts = Parts::new(field, text, FIELD61_LEN)?;
        Ok(Self {
            batch: parts.optional(6, BatchNumber::parse)?,
            voucher: parts.optional(6, Voucher::parse)?,
            date: parts.optional(4, MonthDay::parse)?,
            method: parts.part(2, AuthorizationMethod::parse)?,
            institution: parts.optional(11, Institution::parse)?,
        })
    }

    /// The 29 digits.
    #[must_use]
    pub fn to_digits(&self) -> [u8; FIELD61_LEN] {
        let mut out = Digits::new();
        out.put(self.batch.map(BatchNumber::to_digits));
        out.put(self.voucher.map(Voucher::to_digits));
        out.put(self.date.map(MonthDay::to_digits));
        out.put(Some(self.method.to_digits()));
        out.put(self.institution.map(|code| *code.as_bytes()));
        out.digits
    }
}

/// How an original was authorized: the two digits in field 61, whose meaning the acquirer sets;
/// 00 if it is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthorizationMethod(u8);

impl AuthorizationMethod {
    /// `code` 0 to 99; `None` above.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        if code > 99 { None } else { Some(Self(code)) }
    }

    /// Reads two digits.
    ///
    /// # Errors
    /// [`FieldError`] if these are not two digits.
    pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
        if text.len() != 2 {
            return Err(FieldError::length(Field::Method, text.len()));
        }
        let code = error::digits(Field::Method, 0, text)?;
        let code = u8::try_from(code).ok().and_then(Self::new);
        code.ok_or(FieldError::range(Field::Method, 0))
    }

    /// The code, 0 to 99.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The two digits.
    #[must_use]
    pub fn to_digits(self) -> [u8; 2] {
        error::to_digits(u64::from(self.0))
    }
}

/// The original's data elements in field 90 (ISO 8583): what is not known is filled with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginalMessage {
    /// The original's message type, n4.
    pub mti: Mti,
    /// The original's field 11, n6.
    pub stan: Stan,
    /// The original's field 7, n10.
    pub transmission: Option<TransmissionTime>,
    /// The original's field 32, n11.
    pub acquirer: Option<Institution>,
    /// The original's field 33, n11.
    pub forwarder: Option<Institution>,
}

impl OriginalMessage {
    /// Reads the 42 digits.
    ///
    /// # Errors
    /// [`FieldError`] with the place in field 90.
    pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
        let mut parts = Parts::new(Field::OriginalMessage, text, FIELD90_LEN)?;
        Ok(Self {
            mti: parts.part(4, Mti::parse)?,
            stan: parts.part(6, Stan::parse)?,
            transmission: parts.optional(TRANSMISSION_TIME_DIGITS, TransmissionTime::parse)?,
            acquirer: parts.optional(11, Institution::parse)?,
            forwarder: parts.optional(11, Institution::parse)?,
        })
    }

    /// The 42 digits.
    #[must_use]
    pub fn to_digits(&self) -> [u8; FIELD90_LEN] {
        let mut out = Digits::new();
        out.put(Some(*self.mti.as_bytes()));
        out.put(Some(self.stan.to_digits()));
        out.put(self.transmission.map(TransmissionTime::to_digits));
        out.put(self.acquirer.map(|code| *code.as_bytes()));
        out.put(self.forwarder.map(|code| *code.as_bytes()));
        out.digits
    }
}

/// When a message was sent, field 7: a day without a year and a time of day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransmissionTime {
    day: MonthDay,
    hour: u8,
    minute: u8,
    second: u8,
}

impl TransmissionTime {
    /// `hour` 0 to 23, `minute` and `second` 0 to 59; `None` for others.
    #[must_use]
    pub const fn new(day: MonthDay, hour: u8, minute: u8, second: u8) -> Option<Self> {
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some(Self {
            day,
            hour,
            minute,
            second,
        })
    }

    /// Reads `MMDDhhmmss`.
    ///
    /// # Errors
    /// [`FieldError`] if these are not ten digits or no such time.
    pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
        let field = Field::Transmission;
        let mut parts = Parts::new(field, text, TRANSMISSION_TIME_DIGITS)?;
        let day = parts.part(4, MonthDay::parse)?;
        let mut two = || parts.part(2, |text| error::digits(field, 0, text));
        let time = [two()?, two()?, two()?].map(|part| u8::try_from(part).unwrap_or(u8::MAX));
        let [hour, minute, second] = time;
        Self::new(day, hour, minute, second).ok_or(FieldError::range(field, 4))
    }

    /// The ten digits `MMDDhhmmss`.
    #[must_use]
    pub fn to_digits(self) -> [u8; TRANSMISSION_TIME_DIGITS] {
        let mut out = Digits::new();
        out.put(Some(self.day.to_digits()));
        for part in [self.hour, self.minute, self.second] {
            out.put(Some(error::to_digits::<2>(u64::from(part))));
        }
        out.digits
    }

    /// The day.
    #[must_use]
    pub const fn day(self) -> MonthDay {
        self.day
    }

    /// Hour, minute and second.
    #[must_use]
    pub const fn time(self) -> [u8; 3] {
        [self.hour, self.minute, self.second]
    }
}

impl fmt::Display for OriginalVoucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.to_digits()).unwrap_or_default())
    }
}

impl fmt::Display for OriginalMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.to_digits()).unwrap_or_default())
    }
}

/// Takes a text of digits apart, part by part; errors are placed in the whole.
struct Parts<'a> {
    field: Field,
    text: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    fn new(field: Field, text: &'a [u8], len: usize) -> Result<Self, FieldError> {
        if text.len() != len {
            return Err(FieldError::length(field, text.len()));
        }
        if let Some(at) = text.iter().position(|byte| !byte.is_ascii_digit()) {
            return Err(FieldError::character(field, at));
        }
        Ok(Self { field, text, at: 0 })
    }

    fn part<T>(
        &mut self,
        len: usize,
        parse: impl Fn(&[u8]) -> Result<T, FieldError>,
    ) -> Result<T, FieldError> {
        let (part, rest) = self
            .text
            .split_at_checked(len)
            .ok_or(FieldError::range(self.field, self.at))?;
        let value = parse(part).map_err(|error| error.within(self.field, self.at))?;
        self.text = rest;
        self.at = self.at.saturating_add(len);
        Ok(value)
    }

    /// A part that is absent where it is all zeros.
    fn optional<T>(
        &mut self,
        len: usize,
        parse: impl Fn(&[u8]) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        self.part(len, |part| {
            if part.iter().all(|&byte| byte == b'0') {
                return Ok(None);
            }
            parse(part).map(Some)
        })
    }
}

/// Puts a text of digits together; an absent part is left as zeros.
struct Digits<const N: usize> {
    digits: [u8; N],
    at: usize,
}

impl<const N: usize> Digits<N> {
    const fn new() -> Self {
        Self {
            digits: [b'0'; N],
            at: 0,
        }
    }

    fn put<const LEN: usize>(&mut self, part: Option<[u8; LEN]>) {
        let places = self.digits.iter_mut().skip(self.at);
        for (place, byte) in places.zip(part.into_iter().flatten()) {
            *place = byte;
        }
        self.at = self.at.saturating_add(LEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::FieldProblem;

    #[test]
    fn field_61_by_hand() {
        let text = b"00000700012312310000048021000";
        let original = OriginalVoucher::parse(text).unwrap();
        assert_eq!(
            original,
            OriginalVoucher {
                batch: BatchNumber::new(7),
                voucher: Voucher::new(123),
                date: MonthDay::new(12, 31),
                method: AuthorizationMethod::default(),
                institution: Institution::parse(b"48021000").ok(),
            }
        );
        assert_eq!(original.to_digits(), *text);
        assert_eq!(original.to_string().as_bytes(), text);
        let empty = OriginalVoucher::parse(&[b'0'; 29]).unwrap();
        assert_eq!(empty, OriginalVoucher::default());
        let leap = OriginalVoucher::parse(b"00000000000002290300000000000").unwrap();
        assert_eq!(leap.date, MonthDay::new(2, 29));
        assert_eq!(leap.method.get(), 3);
    }

    #[test]
    fn field_90_by_hand() {
        let text = b"020000012312312359590004802100000049990000";
        let original = OriginalMessage::parse(text).unwrap();
        assert_eq!(original.mti.as_str(), "0200");
        assert_eq!(original.stan.get(), 123);
        let sent = original.transmission.unwrap();
        assert_eq!(Some(sent.day()), MonthDay::new(12, 31));
        assert_eq!(sent.time(), [23, 59, 59]);
        assert_eq!(original.acquirer.unwrap().as_str(), "00048021000");
        assert_eq!(original.forwarder.unwrap().as_str(), "00049990000");
        assert_eq!(original.to_digits(), *text);
    }

    #[test]
    fn faults_have_their_place() {
        let voucher = |text: &[u8]| OriginalVoucher::parse(text).unwrap_err();
        let good = *b"00000700012312310000048021000";
        for at in 0..FIELD61_LEN {
            let mut bad = good;
            bad[at] = b' ';
            assert_eq!(voucher(&bad).problem, FieldProblem::Character { at });
            assert_eq!(voucher(&bad).field, Field::OriginalVoucher);
        }
        assert_eq!(voucher(b"").problem, FieldProblem::Length { found: 0 });
        assert_eq!(
            voucher(b"00000700012313310000048021000").problem,
            FieldProblem::Range { at: 12 }
        );
        assert_eq!(
            voucher(b"00000700012302300000048021000").problem,
            FieldProblem::Range { at: 14 }
        );
        let message = |text: &[u8]| OriginalMessage::parse(text).unwrap_err().problem;
        assert_eq!(message(&[b'0'; 43]), FieldProblem::Length { found: 43 });
        assert_eq!(
            message(b"020000012312312459590004802100000049990000"),
            FieldProblem::Range { at: 14 }
        );
    }

    proptest::proptest! {
        /// Every accepted text is what its value writes.
        #[test]
        fn forms_read_back(a in "[0-9]{12}(0[1-9]|1[0-2])(0[1-9]|[12][0-9])[0-9]{13}",
            b in "[0-9]{10}(0{10}|(0[1-9]|1[0-2])(0[1-9]|[12][0-9])([01][0-9])[0-5][0-9][0-5][0-9])[0-9]{22}") {
            let original = OriginalVoucher::parse(a.as_bytes()).unwrap();
            proptest::prop_assert_eq!(original.to_string(), a);
            let original = OriginalMessage::parse(b.as_bytes()).unwrap();
            proptest::prop_assert_eq!(original.to_string(), b);
        }
    }
}
