//! From a root to the keys that the constructions use; the only caller of HKDF in this module.
//!
//! For a root, a use, a version and a domain (SHA-256 throughout, RFC 5869):
//!
//! ```text
//! PRK = HKDF-Extract(salt = EXTRACT, IKM = root)
//! key = HKDF-Expand(PRK, info, 32)
//! id  = HKDF-Expand(key, KEY_ID, 16)
//!
//! info: 1 length of the label | label | 1 mark | 1 use | 4 version, big-endian
//!       | 1 length of the domain | domain
//! ```
#![forbid(unsafe_code)]

use core::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::domain::Domain;
use super::error::KeyError;
use super::label;
use super::name::{KeyName, KeyUse};
use super::ring::{RingId, RingMark};
use crate::secret::{Secret, difference};
use crate::time::UnixSeconds;

/// Length of a [`KeyId`], in bytes.
pub const KEY_ID_LEN: usize = 16;

/// Names one derived key: 16 bytes derived from that key itself. Not secret.
///
/// Who knows the id of a key commits to the key: to find two keys with one id takes about 2^64
/// derivations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID_LEN]);

impl KeyId {
    /// An id as it stands in a record.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    #[inline]
    pub const fn as_bytes(&self) -> &[u8; KEY_ID_LEN] {
        &self.0
    }
}

impl ConstantTimeEq for KeyId {
    #[inline]
    fn ct_eq(&self, other: &Self) -> Choice {
        // Two words take a fraction of the time of sixteen bytes, and each record is compared.
        difference(&self.0, &other.0).ct_eq(&0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A derived key and what everybody may know of it.
macro_rules! derived_key {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name(Derived);

        impl $name {
            /// The version that it was derived from.
            #[must_use]
            pub const fn name(&self) -> KeyName {
                self.0.name
            }

            /// The domain that it was derived for.
            #[must_use]
            pub const fn domain(&self) -> &Domain {
                &self.0.domain
            }

            #[allow(dead_code, reason = "some keys are used by modules behind features alone")]
            pub(crate) const fn secret(&self) -> &Secret<32> {
                &self.0.secret
            }

            pub(super) const fn new(derived: Derived) -> Self {
                Self(derived)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}, {})"), self.0.name, self.0.domain)
            }
        }
    };
}

derived_key! {
    /// The key of an active version, that may seal card records until [`SealingKey::not_after`].
    SealingKey
}

derived_key! {
    /// A key that opens card records. It can come from a retired version and cannot seal.
    OpeningKey
}

derived_key! {
    /// The key of the active index version, or of the one that is being filled: writes and reads
    /// the index.
    FingerprintKey
}

derived_key! {
    /// The key of a retired index version: compares fingerprints that were stored before.
    RetiredFingerprintKey
}

derived_key! {
    /// The key of the active vaultless generation: makes tokens and opens them.
    VaultlessKey
}

derived_key! {
    /// The key of a live vaultless generation: opens tokens and makes none.
    VaultlessOpeningKey
}

derived_key! {
    /// The key of the active version that makes irreversible tokens.
    IrreversibleKey
}

derived_key! {
    /// The base key of the active version for journals: gives terminals their chain keys.
    JournalKey
}

derived_key! {
    /// The base key of a version for journals that may be retired: reads journals.
    JournalReadingKey
}

derived_key! {
    /// The key of the active version that binds rows of the ledger.
    LedgerKey
}

derived_key! {
    /// The key of a version that may be retired: checks rows of the ledger.
    LedgerCheckingKey
}

derived_key! {
    /// The key that seals one archive, of the active version. Its domain is the archive's id.
    ArchiveKey
}

derived_key! {
    /// The base key of the active version for audit logs: gives writers their chain keys.
    AuditKey
}

derived_key! {
    /// The base key of a version for audit logs that may be retired: verifies logs and
    /// checkpoints.
    AuditVerifyingKey
}

derived_key! {
    /// The key that opens one archive, of a version that may be retired. Its domain is the
    /// archive's id.
    ArchiveReadingKey
}

impl ArchiveKey {
    /// The id that goes into the archive's header.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.0.id
    }
}

impl ArchiveReadingKey {
    /// The id that the archive's header must name.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.0.id
    }
}

impl SealingKey {
    /// The id that goes into each record.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.0.id
    }

    /// When its originator period ends: from this second on it seals nothing.
    #[must_use]
    pub const fn not_after(&self) -> UnixSeconds {
        self.0.not_after
    }
}

impl OpeningKey {
    /// The id of the records that it opens.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.0.id
    }
}

impl VaultlessKey {
    /// The key generation that a token's Luhn residue names: the version.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.0.name.version
    }
}

impl VaultlessOpeningKey {
    /// The key generation that a token's Luhn residue names: the version.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.0.name.version
    }
}

/// What every derived key consists of.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Derived {
    secret: Secret<32>,
    #[zeroize(skip)]
    pub(super) id: KeyId,
    #[zeroize(skip)]
    name: KeyName,
    #[zeroize(skip)]
    domain: Domain,
    #[zeroize(skip)]
    not_after: UnixSeconds,
}

/// The key of `name` for `domain`.
pub(super) fn derive(
    root: &Secret<32>,
    mark: RingMark,
    name: KeyName,
    domain: &Domain,
    not_after: UnixSeconds,
) -> Result<Derived, KeyError> {
    let label = match name.usage {
        KeyUse::Card => label::CARD,
        KeyUse::Index => label::FINGERPRINT,
        KeyUse::Vaultless => label::VAULTLESS,
        KeyUse::Irreversible => label::IRREVERSIBLE,
        KeyUse::Journal => label::JOURNAL,
        KeyUse::Ledger => label::LEDGER,
        KeyUse::Archive => label::ARCHIVE,
        KeyUse::Audit => label::AUDIT,
    };
    let secret = expand_root(root, label, mark, name, domain.as_bytes())?;
    let id = id_of(&secret)?;
    Ok(Derived {
        secret,
        id,
        name,
        domain: *domain,
        not_after,
    })
}

/// The key whose check value stands for a root: derived from it, for no domain.
pub(super) fn derive_root_check(
    root: &Secret<32>,
    mark: RingMark,
    name: KeyName,
) -> Result<Secret<32>, KeyError> {
    expand_root(root, label::ROOT_CHECK, mark, name, &[])
}

/// What a sealed ring is protected with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingProtector {
    Kek,
    WrappedKey,
    #[cfg_attr(
        not(feature = "passphrase"),
        expect(dead_code, reason = "made with the feature alone")
    )]
    Passphrase,
}

/// The key that seals one ring, and its id:
///
/// ```text
/// key = HKDF-Expand(HKDF-Extract(EXTRACT, protecting key), info, 32)
/// info: 1 length of the label | label | 1 mark | 16 ring id
/// ```
pub(crate) fn ring_sealing_key(
    protector: RingProtector,
    protecting: &Secret<32>,
    mark: RingMark,
    ring: &RingId,
    generation: u64,
) -> Result<(Secret<32>, KeyId), KeyError> {
    let label = match protector {
        RingProtector::Kek => label::RING_KEK,
        RingProtector::WrappedKey => label::RING_WRAPPED,
        RingProtector::Passphrase => label::RING_PASSPHRASE,
    };
    let secret = extract_and_expand(
        protecting,
        &[
            &length(label),
            label,
            &[mark.number()],
            ring.as_bytes(),
            &generation.to_be_bytes(),
        ],
    )?;
    let id = id_of(&secret)?;
    Ok((secret, id))
}

fn expand_root(
    root: &Secret<32>,
    label: &[u8],
    mark: RingMark,
    name: KeyName,
    domain: &[u8],
) -> Result<Secret<32>, KeyError> {
    extract_and_expand(
        root,
        &[
            &length(label),
            label,
            &[mark.number(), name.usage.number()],
            &name.version.to_be_bytes(),
            &length(domain),
            domain,
        ],
    )
}

fn extract_and_expand(from: &Secret<32>, info: &[&[u8]]) -> Result<Secret<32>, KeyError> {
    let (mut prk, hkdf) = Hkdf::<Sha256>::extract(Some(label::EXTRACT), from.expose());
    prk.as_mut_slice().zeroize();
    let mut key = Secret::zeroed();
    hkdf.expand_multi_info(info, key.expose_mut())
        .map_err(|_| KeyError::Derivation)?;
    Ok(key)
}

fn id_of(key: &Secret<32>) -> Result<KeyId, KeyError> {
    let hkdf = Hkdf::<Sha256>::from_prk(key.expose()).map_err(|_| KeyError::Derivation)?;
    let mut id = [0; KEY_ID_LEN];
    hkdf.expand(label::KEY_ID, &mut id)
        .map_err(|_| KeyError::Derivation)?;
    Ok(KeyId(id))
}

/// The length of a label or a domain, both of which are at most 32 bytes long.
fn length(part: &[u8]) -> [u8; 1] {
    [u8::try_from(part.len()).unwrap_or(u8::MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wiped<T: ZeroizeOnDrop>() {}
    const _: () = wiped::<Derived>();

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn of(usage: KeyUse, version: u32, mark: RingMark, domain: &[u8]) -> Derived {
        let root = Secret::new(core::array::from_fn(|at| u8::try_from(at).unwrap()));
        let name = KeyName::new(usage, version);
        let domain = Domain::new(domain).unwrap();
        derive(&root, mark, name, &domain, UnixSeconds(0)).unwrap()
    }

    /// Computed by `hmac` of Python's standard library from the formula at the head of this file.
    #[test]
    fn agrees_with_another_implementation() {
        for (usage, expected, id) in [
            (
                KeyUse::Card,
                "14b583c84d81c9b0fd0344ef7e4a88745b1bd20872c8fd14b79d5fbb7fae1f3b",
                "ced199d49e09f1983f8ad65c931b7eb5",
            ),
            (
                KeyUse::Index,
                "cd8506f85b99223cd126eafdc334a3f62cf0b1e37e984b834a43a630338691c8",
                "2b6c0522012a9bb4efbffc124e6000a4",
            ),
            (
                KeyUse::Vaultless,
                "b816c7a9bb30698390611baaefb9b4a8ee643bd75dbbb458dc035723ad9bbfb3",
                "2ad6b6712b6114f2364c3083a987888f",
            ),
            (
                KeyUse::Irreversible,
                "d2da783394783ed16696e24f6209a146b8891b513784cccf39a1abb74340aca6",
                "86f759c000051025ff80d0f693ab8da8",
            ),
            (
                KeyUse::Ledger,
                "af680ee72af30ddf3c6c7dc242eafaaa5dca7b7f524d2913ef8e7f8e75618889",
                "58543b710192dcef4b4ac9a03a609348",
            ),
            (
                KeyUse::Archive,
                "c3a5f902f2c5f201af58428cd92867d4acd091cf445baa4dda1637564ad9eeda",
                "6bbcdcc5b798b1a9d090c2f766728244",
            ),
        ] {
            let key = of(usage, 0x0102_0304, RingMark::Production, b"merchant-7");
            assert_eq!(hex(key.secret.expose()), expected, "{usage}");
            assert_eq!(hex(key.id.as_bytes()), id, "{usage}");
        }
        let root = Secret::new(core::array::from_fn(|at| u8::try_from(at).unwrap()));
        let name = KeyName::new(KeyUse::Card, 1);
        let check = derive_root_check(&root, RingMark::Development, name).unwrap();
        assert_eq!(
            hex(check.expose()),
            "d2afb1540688e8a433573d59d9bbb8a5ab4629834567e02de36fa750e05ed9a1"
        );
    }

    #[test]
    fn every_input_changes_the_key() {
        let mut keys = std::collections::BTreeSet::new();
        let mut count = 0;
        for usage in KeyUse::ALL {
            for version in [1, 2, 256] {
                for mark in [RingMark::Production, RingMark::Development] {
                    for domain in [&b"a"[..], b"b", b"aa", b"a\0", &[b'a'; 32]] {
                        let key = of(usage, version, mark, domain);
                        keys.insert(hex(key.secret.expose()));
                        keys.insert(hex(key.id.as_bytes()));
                        count += 2;
                    }
                }
            }
        }
        assert_eq!(keys.len(), count);
    }
}
