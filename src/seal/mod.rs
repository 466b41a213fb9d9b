//! Sealing: card records and key rings as authenticated ciphertexts.
//!
//! This module is the only caller of XAES-256-GCM. Its nonces are 192 random bits, so that no
//! counter has to survive a restart, a fork, a restored image or a second machine.
#![forbid(unsafe_code)]

mod cipher;
mod nonce;
#[cfg(feature = "passphrase")]
mod passphrase;
mod record;
mod ring;

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
    open_ring_with_kek, open_ring_with_wrap, seal_ring_with_kek, seal_ring_with_wrap,
};
