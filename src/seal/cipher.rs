//! XAES-256-GCM (C2SP) behind fixed-size keys, nonces and tags.
#![forbid(unsafe_code)]

use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aead::{AeadInOut, KeyInit};
use zeroize::ZeroizeOnDrop;

use super::nonce::Nonce;
use crate::secret::Secret;

/// Length of the authentication tag, in bytes.
pub(super) const TAG_LEN: usize = 16;

/// A prepared key.
pub(super) struct Cipher(Xaes256Gcm);

/// The text is longer than the cipher takes, or the tag is not the right one.
#[derive(Debug)]
pub(super) struct CipherError;

impl Cipher {
    pub(super) fn new(key: &Secret<32>) -> Self {
        Self(Xaes256Gcm::new(key.expose().into()))
    }

    /// Encrypts `text` in place and returns the tag.
    #[inline]
    pub(super) fn seal(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CipherError> {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, text.into())
            .map(Into::into)
            .map_err(|_| CipherError)
    }

    /// Checks the tag in constant time, then decrypts `text` in place.
    #[inline]
    pub(super) fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CipherError> {
        self.0
            .decrypt_inout_detached(nonce.into(), aad, text.into(), tag.into())
            .map_err(|_| CipherError)
    }
}

impl ZeroizeOnDrop for Cipher where Xaes256Gcm: ZeroizeOnDrop {}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    /// The two vectors of the C2SP specification.
    #[test]
    fn published_vectors() {
        let cases: [(u8, &[u8], &str); 2] = [
            (
                1,
                b"",
                "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
            ),
            (
                3,
                b"c2sp.org/XAES-256-GCM",
                "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
            ),
        ];
        for (key, aad, sealed) in cases {
            let cipher = Cipher::new(&Secret::new([key; 32]));
            let mut text = *b"XAES-256-GCM";
            let tag = cipher
                .seal(b"ABCDEFGHIJKLMNOPQRSTUVWX", aad, &mut text)
                .unwrap();
            assert_eq!([&text[..], &tag].concat(), hex(sealed));
            cipher
                .open(b"ABCDEFGHIJKLMNOPQRSTUVWX", aad, &mut text, &tag)
                .unwrap();
            assert_eq!(&text, b"XAES-256-GCM");
        }
    }
}
