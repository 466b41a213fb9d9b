//! The terminal's journal: payments that a power cut does not lose and a thief cannot read.
//!
//! The terminal gets one [`ChainKey`] and writes with [`Journal`]: entries in clear, each with a
//! sealed card record, into NOR flash (or a file, [`FileFlash`]). Its key is replaced with every
//! entry and the old one erased, in a [`StateStore`]: pages of flash ([`FlashState`]) or
//! battery-backed memory ([`BatteryState`]). The host, which can derive every key again, reads uploads with
//! [`Reading`], verifies every frame and opens the cards. The format, the keys and what they reach
//! stand in the [manual](crate::manual::journal).
//!
//! ```
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! use cardvault::card::{CardRecord, Pan};
//! use cardvault::journal::{
//!     BATTERY_LEN, BatteryState, Entry, FRAME_MAX_LEN, Journal, MemoryFlash, Position, Reading,
//! };
//! use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
//! use cardvault::UnixSeconds;
//!
//! # let mut rng = ChaCha20Rng::from_seed([7; 32]);
//! // The host makes the terminal's chain key.
//! let now = UnixSeconds(1_800_000_000);
//! let mut ring = KeyRing::new(RingMark::Development, &mut rng)?;
//! let name = ring.add(KeyUse::Journal, Cryptoperiod::default_of(KeyUse::Journal), now, &mut rng)?;
//! ring.activate(name, now)?;
//! let fleet: Domain = "fleet-1".parse()?;
//! let key = ring.journal_key(&fleet, now)?.chain_key(b"T0000001", 1)?;
//! let identity = *key.identity();
//!
//! // The terminal writes an entry.
//! let mut battery = [0; BATTERY_LEN];
//! let mut flash = [0xFF; 8192];
//! let flash = MemoryFlash::<4, 4096>::new(&mut flash);
//! let mut journal = Journal::create(flash, BatteryState::new(&mut battery), key)?;
//! let card = CardRecord::new(Pan::parse(b"4111111111111111")?);
//! let entry = Entry { time: now, payment: b"fields", truncated: None, token: b"", card: Some(&card) };
//! journal.append(&entry, &mut rng)?;
//!
//! // It uploads, and the host reads.
//! let mut sent = Vec::new();
//! let mut item = [0; FRAME_MAX_LEN];
//! let mut upload = journal.upload()?;
//! while let Some(len) = upload.next(&mut item)? {
//!     sent.extend_from_slice(&item[..len]);
//! }
//! let key = ring.journal_key_of(&fleet, 1)?;
//! let mut reading = Reading::new(&key, &identity, &Position::START, &sent[..])?;
//! let entry = reading.next().ok_or("an entry")??;
//! assert_eq!(entry.card.ok_or("a card")?.pan.mask().as_str(), "411111******1111");
//! assert!(reading.next().is_none());
//! let outcome = reading.outcome().ok_or("a trailer")?;
//! assert!(outcome.clean);
//! journal.confirm(&outcome.receipt)?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod aead;
mod batch;
mod battery_state;
mod crc;
mod error;
#[cfg(feature = "std")]
mod file;
mod flash;
mod flash_state;
mod frame;
mod memory;
mod pages;
mod ratchet;
mod reading;
mod slot;
mod state;
mod writer;

pub use battery_state::{BATTERY_LEN, BatteryMemory, BatteryState};
pub use error::{JournalError, SetUpError};
#[cfg(feature = "std")]
pub use file::{FileFlash, FileFlashError};
pub use flash::PagedFlash;
pub use flash_state::{FlashState, FlashStateError, STATE_PAGES_MIN};
pub use frame::{
    Body, Cause, FRAME_MAX_LEN, Frame, GAP_LEN, HEADER_MAX_LEN, Notice, PAYMENT_MAX_LEN,
    PaymentPart, TOKEN_MAX_LEN, TRAILER_LEN, WORD_MAX_LEN,
};
pub use memory::MemoryFlash;
pub use pages::LOG_PAGES_MIN;
pub use ratchet::{
    AGGREGATE_LEN, ChainKey, Identity, JOURNAL_ID_LEN, JournalId, RECEIPT_LEN, Receipt,
    TERMINAL_MAX_LEN,
};
#[cfg(feature = "std")]
pub use reading::FromRead;
pub use reading::{
    Fault, FaultKind, Outcome, POSITION_LEN, Position, ReadError, Reading, STEPS_AHEAD_MAX, Source,
    Verified, upload_identity,
};
pub use slot::SLOT_LEN;
pub use state::{STATE_LEN, StateStore};
pub use writer::{Entry, Journal, Recovery, Upload};
