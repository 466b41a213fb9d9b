//! Chunks of an archive under the archive's key. What a chunk is bound to is the caller's to say.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::cipher::{Cipher, TAG_LEN};
use super::nonce::{NONCE_LEN, Nonce, NonceSource};
use super::record::SealError;
use crate::keys::{ArchiveKey, ArchiveReadingKey};

/// Length of a chunk's authentication tag, in bytes.
pub(crate) const CHUNK_TAG_LEN: usize = TAG_LEN;

/// Seals chunks.
pub(crate) struct ChunkSealer(Cipher);

/// Opens chunks.
pub(crate) struct ChunkOpener(Cipher);

impl ChunkSealer {
    pub(crate) fn new(key: &ArchiveKey) -> Self {
        Self(Cipher::new(key.secret()))
    }

    /// Encrypts `text` in place under a fresh nonce; returns the nonce and the tag.
    pub(crate) fn seal<R: TryCryptoRng>(
        &self,
        nonces: &mut NonceSource<R>,
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<(Nonce, [u8; CHUNK_TAG_LEN]), SealError> {
        let mut nonce = [[0; NONCE_LEN]];
        nonces.draw(&mut nonce)?;
        let [nonce] = nonce;
        let tag = self.0.seal(&nonce, aad, text);
        Ok((nonce, tag.map_err(|_| SealError::Cipher)?))
    }
}

impl ChunkOpener {
    pub(crate) fn new(key: &ArchiveReadingKey) -> Self {
        Self(Cipher::new(key.secret()))
    }

    /// Checks the tag in constant time, then decrypts `text` in place.
    pub(crate) fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; CHUNK_TAG_LEN],
    ) -> Result<(), SealError> {
        let opened = self.0.open(nonce, aad, text, tag);
        opened.map_err(|_| SealError::Damaged)
    }
}
