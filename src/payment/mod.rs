//! What a payment is made of: its kind, amount, numbers, dates and references, in the forms of
//! ISO 8583 and as the compact record that journals carry in clear.
//!
//! No card number stands here, and no time of day: both belong to the entry around the payment.
#![forbid(unsafe_code)]

mod amount;
mod currency;
mod date;
mod error;
mod fields;
mod kind;
mod number;
mod reference;
mod text;

pub use amount::{AMOUNT_DIGITS, AMOUNT_MAX, Amount, AmountError};
pub use currency::{Currency, CurrencyError};
pub use date::{
    CLEARING_DATE_DIGITS, ClearingDate, DATE_MAX_YEAR, DATE_MIN_YEAR, Date, MONTH_DAY_DIGITS,
    MonthDay,
};
pub use error::{Field, FieldError, FieldProblem};
pub use fields::{
    PAYMENT_FIELDS_MAX_LEN, PAYMENT_FIELDS_MIN_LEN, PAYMENT_FIELDS_VERSION, PaymentFields,
    PaymentFieldsError,
};
pub use kind::{MessageFields, PaymentKind, REVERSAL_MTI};
pub use number::{BatchNumber, NUMBER_DIGITS, NUMBER_MAX, Stan, Voucher};
pub use reference::{
    AuthorizationMethod, FIELD61_LEN, FIELD90_LEN, OriginalMessage, OriginalVoucher, Reference,
    TRANSMISSION_TIME_DIGITS, TransmissionTime,
};
pub use text::{
    APPROVAL_CODE_LEN, ApprovalCode, INSTITUTION_LEN, Institution, MERCHANT_ID_LEN, MTI_LEN,
    MerchantId, Mti, ORDER_NUMBER_MAX_LEN, OrderNumber, PAR_LEN, Par, REFUND_NUMBER_MAX_LEN,
    RESPONSE_CODE_LEN, RRN_LEN, RefundNumber, ResponseCode, Rrn, TERMINAL_ID_LEN, TerminalId,
};
