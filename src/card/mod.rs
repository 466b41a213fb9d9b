//! What is on a card: the number, its brand, what may be shown and what may be stored of it.
#![forbid(unsafe_code)]

mod brand;
pub(crate) mod digits;
mod expiry;
pub mod luhn;
mod mask;
mod pan;
mod record;
mod truncation;

pub use brand::{Brand, BrandTable, IIN_DIGITS, IinRange, IinRangeError};
pub use digits::{PAN_MAX_DIGITS, PAN_MIN_DIGITS};
pub use expiry::{Expiry, ExpiryError, PanSequence, ServiceCode};
pub use mask::{MASK_LAST, MASK_MIN_HIDDEN, MaskBin, MaskedPan};
pub use pan::{PAN_MAX_INPUT, Pan, PanError};
pub use record::{CARD_RECORD_LEN, CardRecord, RecordError};
pub use truncation::{
    TRUNCATION_MAX_FIRST, TRUNCATION_MAX_LAST, TRUNCATION_MIN_REMOVED, TruncatedPan,
    TruncationError, TruncationFormat, truncation_limit,
};
