//! Keys: the ring of versions, what they may be used for and when, and the keys derived from them.
//!
//! A ring holds for each [`KeyUse`] a row of versions, each with its own random root. From a root,
//! HKDF-SHA256 derives one key for each [`Domain`]. Only the active version of a use protects new
//! data; see [`KeyState`].
//!
//! ```
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! use cardvault::UnixSeconds;
//! use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
//!
//! # let mut rng = ChaCha20Rng::from_seed([7; 32]);
//! let now = UnixSeconds(1_800_000_000);
//! let mut ring = KeyRing::new(RingMark::Development, &mut rng)?;
//! let first = ring.add(KeyUse::Card, Cryptoperiod::default_of(KeyUse::Card), now, &mut rng)?;
//! ring.activate(first, now)?;
//!
//! let domain: Domain = "merchant-7".parse()?;
//! let key = ring.card_key(&domain, now)?;
//! assert_eq!(key.name().to_string(), "card-1");
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod ceremony;
mod check;
mod commitment;
mod derived;
mod domain;
mod encoding;
mod error;
pub(crate) mod label;
mod name;
mod ring;
mod state;

pub use ceremony::{
    COMPONENT_LEN, COMPONENT_TEXT_LEN, COMPONENTS_MAX, COMPONENTS_MIN, CeremonyError, Component,
    ComponentError, Kek,
};
pub use check::{CHECK_VALUE_LEN, CheckValue, CheckValueError};
pub use commitment::RING_COMMITMENT_LEN;
pub use derived::{
    ArchiveKey, ArchiveReadingKey, FingerprintKey, IrreversibleKey, JournalKey, JournalReadingKey,
    KEY_ID_LEN, KeyId, LedgerCheckingKey, LedgerKey, OpeningKey, RetiredFingerprintKey, SealingKey,
    VaultlessKey, VaultlessOpeningKey,
};
pub use domain::{DOMAIN_MAX_LEN, Domain, DomainError};
pub use error::KeyError;
pub use name::{KeyName, KeyNameError, KeyUse};
pub use ring::{
    CLOCK_TOLERANCE, Cryptoperiod, Due, DueAction, IndexVersions, KeyInfo, KeyRing, MAX_KEYS,
    RING_ID_LEN, RingId, RingMark, VAULTLESS_GENERATIONS, VAULTLESS_RESIDUES,
};
pub use state::KeyState;

pub(crate) use derived::{RingProtector, ring_sealing_key};
pub(crate) use encoding::{MAX_ENCODED_RING, decode_into, encode, encoded_len};
