//! The C interface: the functions of the header `cardvault.h`, over the crate's public API alone.
//!
//! Rust programs have no use for it. The header is made from these files by cbindgen; the comments
//! of the items below are its text, and [`manual::c`](crate::manual::c) is the guide.
//!
//! All `unsafe` of the crate stands here: `call` (pointers of the caller), `handle` (objects in
//! the caller's memory) and `callbacks` (functions of the caller), and one block in each exported
//! function, which states that the caller keeps the rules at the head of the header.
#![allow(
    unsafe_code,
    reason = "pointers come from C; each block has its reason"
)]
#![allow(
    non_camel_case_types,
    missing_debug_implementations,
    reason = "the header's names; and what holds keys shows nothing, not even to a debugger's print"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the rules for pointers stand once, at the head of the header"
)]

mod call;
mod callbacks;
mod card;
mod handle;
mod journal;
mod reading;
mod result;
mod ring;
mod seal;
mod token;
mod util;
#[cfg(feature = "embedded")]
mod vault;

pub use callbacks::{
    cardvault_flash, cardvault_memory, cardvault_random, cardvault_sink, cardvault_source,
};
pub use card::*;
pub use journal::*;
pub use reading::*;
pub use result::{cardvault_result, cardvault_result_text};
pub use ring::*;
pub use seal::*;
pub use token::*;
pub use util::*;
#[cfg(feature = "embedded")]
pub use vault::*;

// What the header lets threads share.
const _: () = {
    const fn shared<H: handle::Handle<Inner: Sync>>() {}
    shared::<cardvault_card>();
    shared::<cardvault_ring>();
    shared::<cardvault_opener>();
    shared::<cardvault_fingerprinter>();
    shared::<cardvault_vaultless>();
    #[cfg(feature = "embedded")]
    shared::<cardvault_vault>();
};
