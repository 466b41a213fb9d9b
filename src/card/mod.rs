//! What is on a card: the number, its brand, what may be shown and what may be stored of it.
#![forbid(unsafe_code)]

mod brand;
mod data;
pub(crate) mod digits;
mod emv;
mod expiry;
pub mod luhn;
mod mask;
pub(crate) mod packed;
mod pan;
mod record;
mod track;
mod truncation;

pub use brand::{Brand, BrandTable, IIN_DIGITS, IinRange, IinRangeError};
pub use data::{CardData, CardDataError, SENSITIVE_MAX_LEN, SensitiveData};
pub use digits::{PAN_MAX_DIGITS, PAN_MIN_DIGITS};
pub use emv::{EMV_MAX_DEPTH, EMV_MAX_LEN, TAG5A_MAX_LEN, TAG57_MAX_LEN};
pub use expiry::{Expiry, ExpiryError, PanSequence, ServiceCode};
pub use mask::{MASK_LAST, MASK_MIN_HIDDEN, MaskBin, MaskedPan};
pub use pan::{PAN_MAX_INPUT, Pan, PanError};
pub use record::{CARD_RECORD_LEN, CardRecord, RecordError};
pub use track::{NAME_LEN, TRACK1_MAX_LEN, TRACK2_MAX_LEN};
pub use truncation::{
    TRUNCATION_MAX_FIRST, TRUNCATION_MAX_LAST, TRUNCATION_MIN_REMOVED, TruncatedPan,
    TruncationError, TruncationFormat, truncation_limit,
};
