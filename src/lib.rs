//! Card data vault and tokenization: validates card numbers, masks them, tokenizes them and seals
//! them, from terminal firmware to switch services.
//!
//! # Where to begin
//! | You want to | Begin with |
//! |---|---|
//! | check, mask or truncate a card number, read a track or EMV data | [`card`] |
//! | make, rotate and destroy keys | [`keys`] |
//! | seal a card record for storage | [`seal`] |
//! | find a card again without storing it | [`fingerprint`] |
//! | stand in for a card number | [`token`] |
//! | keep cards durably behind tokens | `vault` (feature `vault`) |
//! | run it in a switch, for years | [`manual::switch`] |
//! | replace keys while it is at work | `vault::Rewrapping`, `manual::rotation` (feature `vault`) |
//! | say who may do what | `vault::AccessPolicy` (feature `vault`) |
//! | know who had access to what | `audit` (feature `vault`) |
//! | keep cards no longer than needed | `vault::Retention` (feature `vault`) |
//! | record payments, refund them and reconcile | `ledger` (feature `vault`), [`refund`] |
//! | back both up in one sealed file, and restore them | `archive` (feature `vault`) |
//! | read and write what a payment is made of | [`payment`] |
//! | decide on a void, a refund or a reversal | [`refund`] |
//! | keep a terminal's payments so that the host alone can read the cards | [`journal`] |
//! | call it from C | [`manual::c`] |
//! | know why it is as it is | [`manual`] |
//!
//! # A card in, a token out
//! ```
//! # #[cfg(feature = "vault")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use cardvault::card::{CardRecord, Pan};
//! use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
//! use cardvault::vault::{Access, BlockingVault, LineLog, Memory, Tokenize};
//! use cardvault::{SystemRandom, UnixSeconds};
//!
//! let mut ring = KeyRing::new(RingMark::Development, &mut SystemRandom)?;
//! let now = UnixSeconds::now();
//! for usage in KeyUse::ALL {
//!     let period = Cryptoperiod::default_of(usage);
//!     let name = ring.add(usage, period, now, &mut SystemRandom)?;
//!     ring.activate(name, now)?;
//! }
//! let log = LineLog::new(std::io::sink());
//! let vault = BlockingVault::open(Memory::new(), ring, log)?;
//!
//! let shop: Domain = "shop-1".parse()?;
//! let card = CardRecord::new(Pan::parse(b"4111 1111 1111 1111")?);
//! let token = vault.tokenize(&shop, &card, &Tokenize::convergent())?.token;
//!
//! let access = Access::new("refund-desk", "refund of voucher 000123", "desk-3")?;
//! let card = vault.detokenize(&access, &shop, &token)?;
//! assert_eq!(card.pan.mask().as_str(), "411111******1111");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "vault"))]
//! # fn main() {}
//! ```
//!
//! # Features
//! The core (`card`, `keys`, `seal`, `fingerprint`, `ff1`, `token`, `payment`, `refund`) is
//! `no_std`, allocates nothing and panics on no input. Features add to it and change nothing of
//! it:
//!
//! | Feature | Adds |
//! |---|---|
//! | `std` (default) | the system's clock; implies `alloc` |
//! | `alloc` | what needs a heap |
//! | `serde` | `Serialize` for what may be stored or shown; never for a card number |
//! | `system-random` | the operating system's random generator |
//! | `passphrase` | development rings under a passphrase (Argon2id) |
//! | `vault` | the vault, the ledger beside it and archives of both; a store in memory |
//! | `embedded` | the durable store on disk |
//! | `postgres` | the store on PostgreSQL, for many processes |
//! | `policy` | access policies read from TOML |
//! | `tracing` | spans and events of what the vault does, without card data |
//! | `metrics` | counters, gauges and histograms of the same |
//! | `capi` | the functions of the C header; with `embedded` also the vault's |
//! | `cli` | the command `cardvault`, over a folder; with `postgres` also over PostgreSQL |
//! | `tls` | with `cli`: the command speaks TLS to PostgreSQL |
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::string_slice))]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "vault")]
pub mod archive;
#[cfg(feature = "vault")]
pub mod audit;
#[cfg(feature = "capi")]
pub mod capi;
pub mod card;
mod codec;
pub mod ff1;
pub mod fingerprint;
pub mod journal;
pub mod keys;
#[cfg(feature = "vault")]
pub mod ledger;
mod mac;
pub mod manual;
pub mod payment;
mod ratchet;
pub mod refund;
pub mod seal;
mod secret;
mod time;
pub mod token;
#[cfg(feature = "vault")]
pub mod vault;

pub use codec::CodecError;
#[cfg(feature = "system-random")]
pub use getrandom::SysRng as SystemRandom;
pub use secret::{RandomError, Secret};
pub use time::UnixSeconds;

/// The examples of the README.
#[cfg(all(doctest, feature = "embedded"))]
#[doc = include_str!("../README.md")]
mod readme {}
