//! Sealing: card records, key rings and archives as authenticated ciphertexts.
//!
//! This module is the only caller of XAES-256-GCM. Its nonces are 192 random bits, so that no
//! counter has to survive a restart, a fork, a restored image or a second machine.
//!
//! ```
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! # use cardvault::UnixSeconds;
//! # use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
//! use cardvault::card::{CardRecord, Pan};
//! use cardvault::seal::{Binding, NonceSource, Opener, SEALED_RECORD_LEN, Sealer, sealed_key_id};
//!
//! # let mut rng = ChaCha20Rng::from_seed([7; 32]);
//! # let now = UnixSeconds(1_800_000_000);
//! # let mut ring = KeyRing::new(RingMark::Development, &mut rng)?;
//! # let first = ring.add(KeyUse::Card, Cryptoperiod::default_of(KeyUse::Card), now, &mut rng)?;
//! # ring.activate(first, now)?;
//! # let domain: Domain = "merchant-7".parse()?;
//! let record = CardRecord::new(Pan::parse(b"4111111111111111")?);
//! let binding = Binding { token: b"tok_1", ..Binding::default() };
//! let mut sealed = [0; SEALED_RECORD_LEN];
//! let sealer = Sealer::new(&ring.card_key(&domain, now)?);
//! sealer.seal(&record, &binding, now, &mut NonceSource::new(&mut rng), &mut sealed)?;
//!
//! let key = ring.card_key_for(&domain, &sealed_key_id(&sealed)?)?;
//! let opened = Opener::new(&key).open(&sealed, &binding)?;
//! assert_eq!(opened.pan.digit_count(), 16);
//! assert!(Opener::new(&key).open(&sealed, &Binding::default()).is_err());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "vault")]
mod chunk;
mod cipher;
mod nonce;
#[cfg(feature = "passphrase")]
mod passphrase;
mod record;
mod ring;

#[cfg(feature = "vault")]
pub(crate) use chunk::{CHUNK_TAG_LEN, ChunkOpener, ChunkSealer};
pub use nonce::{NONCE_BATCH_MAX, NONCE_LEN, NonceSource};
#[cfg(feature = "passphrase")]
pub use passphrase::{
    ARGON2_SALT_LEN, Argon2Cost, PASSPHRASE_MAX_LEN, PASSPHRASE_MIN_LEN, open_ring_with_passphrase,
    seal_ring_with_passphrase,
};
pub use record::{
    BINDING_COLUMNS_MAX, BINDING_FINGERPRINT_MAX, BINDING_TOKEN_MAX, Binding, BindingField, Opener,
    SEALED_RECORD_LEN, SealError, SealedRecord, Sealer, sealed_key_id,
};
pub use ring::{
    KeyWrap, MAX_SEALED_RING, Protection, RingHeader, RingSealError, WRAPPED_KEY_MAX, WrapError,
    open_ring_with_kek, open_ring_with_kek_into, open_ring_with_wrap, open_ring_with_wrap_into,
    seal_ring_with_kek, seal_ring_with_wrap,
};
