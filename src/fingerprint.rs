//! Fingerprints: the keyed one-way index by which a card is found again (PCI DSS 3.5.1.1).
//!
//! ```text
//! fingerprint = HMAC-SHA256(key, PAN)
//! PAN: 10 bytes, packed BCD from the left, padded with F
//! ```
//!
//! The whole number goes in and nothing else: a renewed card, with its new expiry, is the same
//! card. The key belongs to a domain and an index version, so that fingerprints of two domains say
//! nothing of each other.
#![forbid(unsafe_code)]

use core::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::card::Pan;
use crate::keys::{Domain, FingerprintKey, RetiredFingerprintKey};
use crate::mac::{MAC_LEN, Mac};
use crate::secret::Secret;

/// Length of a [`Fingerprint`], in bytes.
pub const FINGERPRINT_LEN: usize = MAC_LEN;

/// The fingerprint of a card number in one domain and index version.
///
/// Who holds the key finds the number behind it by trying: keep it where card data may be kept.
/// Equality is [`ConstantTimeEq`].
#[derive(Clone, Copy)]
pub struct Fingerprint([u8; FINGERPRINT_LEN]);

impl Fingerprint {
    /// A fingerprint as it was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; FINGERPRINT_LEN]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    #[inline]
    pub const fn as_bytes(&self) -> &[u8; FINGERPRINT_LEN] {
        &self.0
    }
}

impl ConstantTimeEq for Fingerprint {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// Makes fingerprints under one key, prepared once.
pub struct Fingerprinter {
    mac: Mac,
    domain: Domain,
    version: u32,
}

impl Fingerprinter {
    /// Prepares the key.
    #[must_use]
    pub fn new(key: &FingerprintKey) -> Self {
        Self::prepare(key.secret(), *key.domain(), key.name().version)
    }

    /// The domain whose cards it fingerprints.
    #[must_use]
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The index version that the fingerprints belong to.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The fingerprint of a card number. Constant time for every number.
    #[must_use]
    pub fn fingerprint(&self, pan: &Pan) -> Fingerprint {
        let mut message = pan.digits().to_bcd();
        let tag = self.mac.tag(&[&message]);
        message.zeroize();
        Fingerprint(tag)
    }

    /// The fingerprints of `pans` in their order; as many as the shorter of the two slices holds.
    pub fn fingerprint_batch(&self, pans: &[Pan], out: &mut [Fingerprint]) {
        for (pan, place) in pans.iter().zip(out) {
            *place = self.fingerprint(pan);
        }
    }

    fn prepare(key: &Secret<32>, domain: Domain, version: u32) -> Self {
        Self {
            mac: Mac::new(key),
            domain,
            version,
        }
    }
}

impl ZeroizeOnDrop for Fingerprinter where Mac: ZeroizeOnDrop {}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprinter(index-{}, {})", self.version, self.domain)
    }
}

/// Compares cards with fingerprints of an index version that is read no more.
#[derive(Debug)]
pub struct FingerprintVerifier(Fingerprinter);

impl FingerprintVerifier {
    /// Prepares the key.
    #[must_use]
    pub fn new(key: &RetiredFingerprintKey) -> Self {
        Self(Fingerprinter::prepare(
            key.secret(),
            *key.domain(),
            key.name().version,
        ))
    }

    /// Whether `stored` is the fingerprint of `pan`. Constant time.
    #[must_use]
    pub fn matches(&self, pan: &Pan, stored: &Fingerprint) -> Choice {
        self.0.fingerprint(pan).ct_eq(stored)
    }
}

impl ZeroizeOnDrop for FingerprintVerifier where Fingerprinter: ZeroizeOnDrop {}
