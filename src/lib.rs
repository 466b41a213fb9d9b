//! Card data vault and tokenization.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(test, allow(clippy::string_slice))]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod card;
mod codec;
pub mod ff1;
pub mod fingerprint;
pub mod journal;
pub mod keys;
pub mod seal;
mod secret;
mod time;
#[cfg(feature = "vault")]
pub mod vault;

pub use codec::CodecError;
pub use secret::{RandomError, Secret};
pub use time::UnixSeconds;
