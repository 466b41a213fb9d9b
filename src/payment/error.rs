//! Why a payment's field was refused: which field, what and where, never its content.
#![forbid(unsafe_code)]

use core::fmt;

/// A field of a payment, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The amount.
    Amount,
    /// The currency code.
    Currency,
    /// The kind of payment.
    Kind,
    /// A message type indicator.
    Mti,
    /// The authorization method in field 61.
    Method,
    /// The system trace audit number, field 11.
    Stan,
    /// The retrieval reference number, field 37.
    Rrn,
    /// The voucher number.
    Voucher,
    /// The batch number.
    Batch,
    /// The terminal id, field 41.
    Terminal,
    /// The merchant id, field 42.
    Merchant,
    /// The approval code, field 38.
    Approval,
    /// The response code, field 39.
    Response,
    /// An institution's identification code, fields 32 and 33.
    Institution,
    /// The payment account reference, EMV tag 9F24.
    Par,
    /// The merchant's order number of a QR payment.
    Order,
    /// The merchant's number of a refund.
    Refund,
    /// A date with a year.
    Date,
    /// A date without a year.
    MonthDay,
    /// A transmission date and time, field 7.
    Transmission,
    /// The original's reference, field 61.
    OriginalVoucher,
    /// The original's data elements, field 90.
    OriginalMessage,
    /// The reference to the original in a payment record.
    Reference,
}

impl Field {
    /// The name in lower case, as error texts show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Kind => "kind",
            Self::Mti => "message type",
            Self::Method => "authorization method",
            Self::Stan => "trace number",
            Self::Rrn => "reference number",
            Self::Voucher => "voucher number",
            Self::Batch => "batch number",
            Self::Terminal => "terminal id",
            Self::Merchant => "merchant id",
            Self::Approval => "approval code",
            Self::Response => "response code",
            Self::Institution => "institution code",
            Self::Par => "payment account reference",
            Self::Order => "order number",
            Self::Refund => "refund number",
            Self::Date => "date",
            Self::MonthDay => "month and day",
            Self::Transmission => "transmission time",
            Self::OriginalVoucher => "field 61",
            Self::OriginalMessage => "field 90",
            Self::Reference => "reference",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldProblem {
    /// It has this many characters, which is too few or too many.
    Length {
        /// Characters found.
        found: usize,
    },
    /// The character at this offset is not allowed.
    Character {
        /// Offset in characters.
        at: usize,
    },
    /// The characters are allowed, their value from this offset on is not.
    Range {
        /// Offset in characters.
        at: usize,
    },
}

/// Why a field was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field.
    pub field: Field,
    /// What is wrong with it, and where.
    pub problem: FieldProblem,
}

impl FieldError {
    pub(super) const fn length(field: Field, found: usize) -> Self {
        Self {
            field,
            problem: FieldProblem::Length { found },
        }
    }

    pub(super) const fn character(field: Field, at: usize) -> Self {
        Self {
            field,
            problem: FieldProblem::Character { at },
        }
    }

    pub(super) const fn range(field: Field, at: usize) -> Self {
        Self {
            field,
            problem: FieldProblem::Range { at },
        }
    }

    /// The same fault `by` characters further on, in the field around this one.
    pub(super) const fn within(self, field: Field, by: usize) -> Self {
        match self.problem {
            FieldProblem::Character { at } => Self::character(field, by.saturating_add(at)),
            FieldProblem::Range { at } => Self::range(field, by.saturating_add(at)),
            FieldProblem::Length { .. } => Self::range(field, by),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field;
        match self.problem {
            FieldProblem::Length { found } => {
                write!(f, "{field} cannot have {found} characters")
            }
            FieldProblem::Character { at } => {
                write!(f, "{field} has a character at {at} that is not allowed")
            }
            FieldProblem::Range { at } => {
                write!(f, "{field} is out of range from character {at}")
            }
        }
    }
}

impl core::error::Error for FieldError {}

/// Reads decimal digits of at most 18 places; `base` is their offset in `field`.
pub(super) fn digits(field: Field, base: usize, text: &[u8]) -> Result<u64, FieldError> {
    if text.is_empty() || text.len() > 18 {
        return Err(FieldError::length(field, text.len()));
    }
    let mut value = 0;
    for (at, &byte) in text.iter().enumerate() {
        if !byte.is_ascii_digit() {
            return Err(FieldError::character(field, base.saturating_add(at)));
        }
        value = value * 10 + u64::from(byte - b'0');
    }
    Ok(value)
}

/// Writes the last `N` decimal digits of `value`.
pub(super) fn to_digits<const N: usize>(mut value: u64) -> [u8; N] {
    let mut out = [b'0'; N];
    for place in out.iter_mut().rev() {
        *place = u8::try_from(value % 10).map_or(b'0', |digit| b'0' + digit);
        value /= 10;
    }
    out
}
