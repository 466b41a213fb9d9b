//! What is on a card: the number, its brand, what may be shown and what may be stored of it.
#![forbid(unsafe_code)]

mod brand;
pub(crate) mod digits;
mod pan;

pub use brand::Brand;
pub use digits::{PAN_MAX_DIGITS, PAN_MIN_DIGITS};
pub use pan::{PAN_MAX_INPUT, Pan, PanError};
