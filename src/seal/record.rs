//! Sealed card records.
//!
//! ```text
//!  offset  size
//!       0     1  format version, 1
//!       1    16  key id
//!      17    24  nonce
//!      41    16  ciphertext of the card record
//!      57    16  tag
//!
//! ciphertext | tag = XAES-256-GCM(key, nonce, card record, AAD)
//! AAD: each field behind its length in one byte:
//!      version (1) | key id (16) | domain (1-32) | token | fingerprint | columns
//! ```
//!
//! The key id is derived from the key and is compared before anything is opened: a record opens
//! under one key alone. The associated data ties a record to its row: in another row, or with a
//! changed column beside it, it does not open.
#![forbid(unsafe_code)]

use core::fmt;

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use super::cipher::{Cipher, TAG_LEN};
use super::nonce::{NONCE_BATCH_MAX, NONCE_LEN, Nonce, NonceSource};
use crate::card::{CARD_RECORD_LEN, CardRecord, RecordError};
use crate::codec::Writer;
use crate::keys::{DOMAIN_MAX_LEN, Domain, KEY_ID_LEN, KeyId, KeyName, OpeningKey, SealingKey};
use crate::secret::{RandomError, Secret};
use crate::time::UnixSeconds;

/// Length of a sealed card record, in bytes.
pub const SEALED_RECORD_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN + CARD_RECORD_LEN + TAG_LEN;
/// The longest token that a record is tied to, in bytes.
pub const BINDING_TOKEN_MAX: usize = 64;
/// The longest fingerprint field that a record is tied to, in bytes.
pub const BINDING_FINGERPRINT_MAX: usize = 64;
/// The most bytes of clear columns that a record is tied to.
pub const BINDING_COLUMNS_MAX: usize = 128;

/// A sealed card record as it is stored.
pub type SealedRecord = [u8; SEALED_RECORD_LEN];

const FORMAT: u8 = 1;
const AAD_MAX: usize = 2
    + (1 + KEY_ID_LEN)
    + (1 + DOMAIN_MAX_LEN)
    + (1 + BINDING_TOKEN_MAX)
    + (1 + BINDING_FINGERPRINT_MAX)
    + (1 + BINDING_COLUMNS_MAX);

const _: () = assert!(SEALED_RECORD_LEN == 73);
// Each length fits the one byte before its field.
const _: () = assert!(BINDING_TOKEN_MAX < 256 && BINDING_FINGERPRINT_MAX < 256);
const _: () = assert!(BINDING_COLUMNS_MAX < 256);

/// What a record is sealed together with: the clear part of its row. May be empty where a row has
/// no such part; the same bytes are given to open it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Binding<'a> {
    /// The row's token, at most [`BINDING_TOKEN_MAX`] bytes.
    pub token: &'a [u8],
    /// The row's fingerprint, at most [`BINDING_FINGERPRINT_MAX`] bytes.
    pub fingerprint: &'a [u8],
    /// The row's other clear columns in one canonical encoding, at most [`BINDING_COLUMNS_MAX`]
    /// bytes.
    pub columns: &'a [u8],
}

/// Seals card records of one domain under one key, prepared once.
pub struct Sealer {
    cipher: Cipher,
    prefix: Prefix,
    name: KeyName,
    not_after: UnixSeconds,
}

impl Sealer {
    /// Prepares the key.
    #[must_use]
    pub fn new(key: &SealingKey) -> Self {
        Self {
            cipher: Cipher::new(key.secret()),
            prefix: Prefix::new(key.id(), key.domain()),
            name: key.name(),
            not_after: key.not_after(),
        }
    }

    /// The version that it seals under.
    #[must_use]
    pub const fn name(&self) -> KeyName {
        self.name
    }

    /// The id that it writes into each record.
    #[must_use]
    pub const fn key_id(&self) -> &KeyId {
        &self.prefix.id
    }

    /// From this second on it seals nothing.
    #[must_use]
    pub const fn not_after(&self) -> UnixSeconds {
        self.not_after
    }

    /// Seals one record into `out`, which is untouched on failure. Constant time.
    ///
    /// # Errors
    /// [`SealError::CryptoperiodOver`], [`SealError::Binding`], [`SealError::Random`].
    pub fn seal<R: TryCryptoRng>(
        &self,
        record: &CardRecord,
        binding: &Binding<'_>,
        now: UnixSeconds,
        nonces: &mut NonceSource<R>,
        out: &mut SealedRecord,
    ) -> Result<(), SealError> {
        self.check_period(now)?;
        binding.check()?;
        let mut nonce = [[0; NONCE_LEN]];
        nonces.draw(&mut nonce)?;
        let [nonce] = nonce;
        *out = self.seal_one(record, binding, nonce)?;
        Ok(())
    }

    /// Seals up to [`NONCE_BATCH_MAX`] records, each with its binding, with one draw of nonces.
    /// `out` is untouched on failure.
    ///
    /// # Errors
    /// As [`Sealer::seal`]; [`SealError::Batch`] for more records or another count of outputs.
    pub fn seal_batch<R: TryCryptoRng>(
        &self,
        records: &[(&CardRecord, Binding<'_>)],
        now: UnixSeconds,
        nonces: &mut NonceSource<R>,
        out: &mut [SealedRecord],
    ) -> Result<(), SealError> {
        let mut drawn = [[0; NONCE_LEN]; NONCE_BATCH_MAX];
        let drawn = match drawn.get_mut(..records.len()) {
            Some(drawn) if out.len() == records.len() => drawn,
            _ => {
                return Err(SealError::Batch {
                    records: records.len(),
                });
            }
        };
        self.check_period(now)?;
        for (_, binding) in records {
            binding.check()?;
        }
        nonces.draw(drawn)?;
        for (((record, binding), nonce), place) in records.iter().zip(drawn).zip(out) {
            *place = self.seal_one(record, binding, *nonce)?;
        }
        Ok(())
    }

    #[inline]
    fn check_period(&self, now: UnixSeconds) -> Result<(), SealError> {
        if now >= self.not_after {
            return Err(SealError::CryptoperiodOver { name: self.name });
        }
        Ok(())
    }

    /// Seals with a nonce that was drawn for this record.
    #[inline]
    fn seal_one(
        &self,
        record: &CardRecord,
        binding: &Binding<'_>,
        nonce: Nonce,
    ) -> Result<SealedRecord, SealError> {
        let mut aad = self.prefix.aad;
        let aad = self.prefix.complete(binding, &mut aad)?;
        let mut text = record.to_bytes();
        let tag = self
            .cipher
            .seal(&nonce, aad, text.expose_mut())
            .map_err(|_| SealError::Cipher)?;
        let mut sealed = [0; SEALED_RECORD_LEN];
        let mut writer = Writer::new(&mut sealed);
        let parts: [&[u8]; 5] = [
            &[FORMAT],
            self.prefix.id.as_bytes(),
            &nonce,
            text.expose(),
            &tag,
        ];
        for part in parts {
            writer.put(part).map_err(|_| SealError::Cipher)?;
        }
        Ok(sealed)
    }
}

impl ZeroizeOnDrop for Sealer where Cipher: ZeroizeOnDrop {}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({}, {})", self.name, self.prefix.domain)
    }
}

/// Opens card records of one domain under one key, prepared once. Cannot seal.
pub struct Opener {
    cipher: Cipher,
    prefix: Prefix,
    name: KeyName,
}

impl Opener {
    /// Prepares the key.
    #[must_use]
    pub fn new(key: &OpeningKey) -> Self {
        Self {
            cipher: Cipher::new(key.secret()),
            prefix: Prefix::new(key.id(), key.domain()),
            name: key.name(),
        }
    }

    /// The version whose records it opens.
    #[must_use]
    pub const fn name(&self) -> KeyName {
        self.name
    }

    /// The id of the records that it opens.
    #[must_use]
    pub const fn key_id(&self) -> &KeyId {
        &self.prefix.id
    }

    /// Opens one record. Constant time for records that open.
    ///
    /// # Errors
    /// [`SealError::Length`], [`SealError::Version`], [`SealError::OtherKey`],
    /// [`SealError::Binding`], [`SealError::Damaged`], [`SealError::Record`].
    pub fn open(&self, sealed: &[u8], binding: &Binding<'_>) -> Result<CardRecord, SealError> {
        let (id, rest) = split(sealed)?;
        if !bool::from(id.ct_eq(&self.prefix.id)) {
            return Err(SealError::OtherKey);
        }
        binding.check()?;
        let mut aad = self.prefix.aad;
        let aad = self.prefix.complete(binding, &mut aad)?;
        let mut text = Secret::<CARD_RECORD_LEN>::new(rest.text);
        self.cipher
            .open(&rest.nonce, aad, text.expose_mut(), &rest.tag)
            .map_err(|_| SealError::Damaged)?;
        CardRecord::from_bytes(&text).map_err(SealError::Record)
    }
}

impl ZeroizeOnDrop for Opener where Cipher: ZeroizeOnDrop {}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({}, {})", self.name, self.prefix.domain)
    }
}

/// The key id of a sealed record, by which [`KeyRing::card_key_for`] finds its key.
///
/// # Errors
/// [`SealError::Length`], [`SealError::Version`].
///
/// [`KeyRing::card_key_for`]: crate::keys::KeyRing::card_key_for
pub fn sealed_key_id(sealed: &[u8]) -> Result<KeyId, SealError> {
    split(sealed).map(|(id, _)| id)
}

/// Why a card record was not sealed or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The sealed record has not [`SEALED_RECORD_LEN`] bytes.
    Length {
        /// How many it has.
        bytes: usize,
    },
    /// The sealed record has a format version that this release does not read.
    Version {
        /// The version.
        found: u8,
    },
    /// The sealed record names another key than the one given.
    OtherKey,
    /// The sealed record, its domain or a part of its row was changed.
    Damaged,
    /// What was sealed is no card record.
    Record(RecordError),
    /// A part of the row is longer than a record can be tied to.
    Binding {
        /// Which part.
        field: BindingField,
        /// Its length in bytes.
        bytes: usize,
    },
    /// There are more records than [`NONCE_BATCH_MAX`], or another count of outputs.
    Batch {
        /// How many records.
        records: usize,
    },
    /// The time in which the key may seal is over.
    CryptoperiodOver {
        /// The version.
        name: KeyName,
    },
    /// No nonce could be drawn.
    Random(RandomError),
    /// The cipher refused the length of its input. Not reached.
    Cipher,
}

/// A part of a [`Binding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingField {
    /// The token.
    Token,
    /// The fingerprint.
    Fingerprint,
    /// The other clear columns.
    Columns,
}

impl fmt::Display for BindingField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Fingerprint => "fingerprint",
            Self::Columns => "columns",
        })
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => write!(
                f,
                "a sealed record has {SEALED_RECORD_LEN} bytes, not {bytes}"
            ),
            Self::Version { found } => write!(f, "unknown sealed record version {found}"),
            Self::OtherKey => f.write_str("the sealed record names another key"),
            Self::Damaged => f.write_str("the sealed record or a part of its row was changed"),
            Self::Record(error) => error.fmt(f),
            Self::Binding { field, bytes } => {
                write!(
                    f,
                    "the {field} of a sealed record cannot have {bytes} bytes"
                )
            }
            Self::Batch { records } => write!(
                f,
                "a batch of {records} records, more than {NONCE_BATCH_MAX} or not as many outputs"
            ),
            Self::CryptoperiodOver { name } => {
                write!(
                    f,
                    "the cryptoperiod of {name} is over: activate a new version"
                )
            }
            Self::Random(error) => error.fmt(f),
            Self::Cipher => f.write_str("the cipher refused the length of its input"),
        }
    }
}

impl core::error::Error for SealError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Record(error) => Some(error),
            Self::Random(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RandomError> for SealError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

/// The fields of the associated data that are the same for every record of a key.
struct Prefix {
    id: KeyId,
    domain: Domain,
    /// Associated data that ends behind the prefix, to be copied and completed.
    aad: [u8; AAD_MAX],
    len: usize,
}

impl Prefix {
    fn new(id: &KeyId, domain: &Domain) -> Self {
        let mut aad = [0; AAD_MAX];
        let mut writer = Writer::new(&mut aad);
        let parts: [&[u8]; 3] = [&[FORMAT], id.as_bytes(), domain.as_bytes()];
        for part in parts {
            // AAD_MAX is the sum of the longest parts.
            let _ = writer.prefixed(part);
        }
        let len = writer.len();
        Self {
            id: *id,
            domain: *domain,
            aad,
            len,
        }
    }

    /// The whole associated data in `out`, a copy of `self.aad`.
    #[inline]
    fn complete<'o>(
        &self,
        binding: &Binding<'_>,
        out: &'o mut [u8; AAD_MAX],
    ) -> Result<&'o [u8], SealError> {
        let room = out.get_mut(self.len..).ok_or(SealError::Cipher)?;
        let mut writer = Writer::new(room);
        writer
            .prefixed(binding.token)
            .and_then(|()| writer.prefixed(binding.fingerprint))
            .and_then(|()| writer.prefixed(binding.columns))
            .map_err(|_| SealError::Cipher)?;
        let len = self.len + writer.len();
        out.get(..len).ok_or(SealError::Cipher)
    }
}

impl Binding<'_> {
    #[inline]
    fn check(&self) -> Result<(), SealError> {
        for (field, part, max) in [
            (BindingField::Token, self.token, BINDING_TOKEN_MAX),
            (
                BindingField::Fingerprint,
                self.fingerprint,
                BINDING_FINGERPRINT_MAX,
            ),
            (BindingField::Columns, self.columns, BINDING_COLUMNS_MAX),
        ] {
            if part.len() > max {
                let bytes = part.len();
                return Err(SealError::Binding { field, bytes });
            }
        }
        Ok(())
    }
}

/// What follows the key id.
struct Rest {
    nonce: Nonce,
    text: [u8; CARD_RECORD_LEN],
    tag: [u8; TAG_LEN],
}

#[inline]
fn split(sealed: &[u8]) -> Result<(KeyId, Rest), SealError> {
    let bytes = sealed.len();
    let whole: &SealedRecord = sealed.try_into().map_err(|_| SealError::Length { bytes })?;
    let cut = || -> Option<(u8, KeyId, Rest)> {
        let (format, rest) = whole.split_first()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (text, tag) = rest.split_first_chunk()?;
        let rest = Rest {
            nonce: *nonce,
            text: *text,
            tag: *tag.first_chunk()?,
        };
        Some((*format, KeyId::from_bytes(*id), rest))
    };
    match cut() {
        Some((FORMAT, id, rest)) => Ok((id, rest)),
        Some((found, ..)) => Err(SealError::Version { found }),
        None => Err(SealError::Length { bytes }),
    }
}
