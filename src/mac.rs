//! HMAC-SHA256 (FIPS 198-1) under a key that is prepared once.
//!
//! The hash works where its state lies: the type of the package hands itself over by value when it
//! ends, and the message's last block, such as a card number, stays behind where it was.
#![forbid(unsafe_code)]

use hmac::KeyInit;
use hmac::block_api::HmacCore;
use hmac::digest::block_api::{Buffer, FixedOutputCore, UpdateCore};
use sha2::Sha256;
use zeroize::ZeroizeOnDrop;

use crate::secret::Secret;

/// Length of a tag, in bytes.
pub(crate) const MAC_LEN: usize = 32;
/// Length of the hash's block, in bytes.
const BLOCK_LEN: usize = 64;

/// A prepared key.
pub(crate) struct Mac(HmacCore<Sha256>);

impl Mac {
    /// Prepares the key.
    pub(crate) fn new(key: &Secret<32>) -> Self {
        // HMAC pads a short key with zeros to the hash's block (RFC 2104 section 2).
        let mut block = Secret::<BLOCK_LEN>::zeroed();
        for (to, from) in block.expose_mut().iter_mut().zip(key.expose()) {
            *to = *from;
        }
        Self(HmacCore::new(block.expose().into()))
    }

    /// The tag of the parts, one behind the other. Constant time for parts of one length.
    #[inline]
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; MAC_LEN] {
        let mut core = self.0.clone();
        let mut buffer = Buffer::<HmacCore<Sha256>>::default();
        for part in parts {
            buffer.digest_blocks(part, |blocks| core.update_blocks(blocks));
        }
        let mut tag = [0; MAC_LEN];
        core.finalize_fixed_core(&mut buffer, (&mut tag).into());
        tag
    }
}

// Two states of the hash, which wipe themselves as it does.
impl ZeroizeOnDrop for Mac where Sha256: ZeroizeOnDrop {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_package_s_own() {
        use hmac::{Hmac, Mac as _};
        let message: Vec<u8> = (0..=255).cycle().take(300).collect();
        for key in [0, 7, 0xff] {
            let mac = Mac::new(&Secret::new([key; 32]));
            for len in [0, 1, 10, 31, 55, 56, 63, 64, 65, 119, 120, 128, 300] {
                let message = &message[..len];
                let mut other = Hmac::<Sha256>::new_from_slice(&[key; 32]).unwrap();
                other.update(message);
                let (first, rest) = message.split_at(len / 3);
                let tag = other.finalize().into_bytes();
                assert_eq!(mac.tag(&[first, rest]), tag[..], "{len}");
            }
        }
    }
}
