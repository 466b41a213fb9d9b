//! AES-256-GCM (SP 800-38D) under the key of one frame.
#![forbid(unsafe_code)]

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};

use crate::secret::Secret;

/// Length of the authentication tag, in bytes.
pub(super) const TAG_LEN: usize = 16;
/// Length of the nonce, in bytes.
pub(super) const NONCE_LEN: usize = 12;

/// The tag is not the right one, or the text is too long for the cipher.
#[derive(Debug)]
pub(super) struct CipherError;

/// Encrypts `text` in place and returns the tag.
#[inline]
pub(super) fn seal(
    key: &Secret<32>,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
) -> Result<[u8; TAG_LEN], CipherError> {
    Aes256Gcm::new(key.expose().into())
        .encrypt_inout_detached(nonce.into(), aad, text.into())
        .map(Into::into)
        .map_err(|_| CipherError)
}

/// Checks the tag in constant time, then decrypts `text` in place.
#[inline]
pub(super) fn open(
    key: &Secret<32>,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), CipherError> {
    Aes256Gcm::new(key.expose().into())
        .decrypt_inout_detached(nonce.into(), aad, text.into(), tag.into())
        .map_err(|_| CipherError)
}
