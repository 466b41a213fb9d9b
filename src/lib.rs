//! Card data vault and tokenization.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod card;
mod codec;
pub mod ff1;
mod secret;
mod time;

pub use codec::CodecError;
pub use secret::{RandomError, Secret};
pub use time::UnixSeconds;
