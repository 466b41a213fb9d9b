//! Sealed key rings: the only form in which a ring is stored.
//!
//! ```text
//!  offset  size
//!       0     8  magic, "CVRING\r\n"
//!       8     1  format version, 1
//!       9     1  mark: 1 production, 2 development
//!      10     1  protection: 1 KEK, 2 wrapped key, 3 passphrase
//!      11    16  ring id
//!      27     8  generation, big-endian
//!      35     2  length p of the parameters, big-endian
//!      37     p  parameters
//!                  1: check value of the KEK (3)
//!                  2: the key as the `KeyWrap` wrapped it (1 to 512)
//!                  3: memory in KiB (4) | passes (4) | lanes (4) | salt (16)
//!    37+p    16  id of the sealing key
//!    53+p    24  nonce
//!    77+p     2  length n of the ciphertext, big-endian
//!    79+p     n  ciphertext of the encoded ring
//!  79+p+n    16  tag
//!
//! ciphertext | tag = XAES-256-GCM(sealing key, nonce, encoded ring, AAD = bytes 0 to 79+p)
//! ```
//!
//! The sealing key is derived from the KEK, from the wrapped key, which is drawn anew for every
//! sealing, or from the passphrase through Argon2id; mark and ring id go into the derivation. Its
//! id is compared before anything is opened, so that one sealed ring opens under one key alone.
#![forbid(unsafe_code)]

use core::fmt;

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::cipher::{Cipher, TAG_LEN};
use super::nonce::{NONCE_LEN, Nonce};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::{
    CHECK_VALUE_LEN, CheckValue, KEY_ID_LEN, Kek, KeyError, KeyId, KeyRing, MAX_ENCODED_RING,
    RING_ID_LEN, RingId, RingMark, RingProtector, decode_into, encode, encoded_len,
    ring_sealing_key,
};
use crate::secret::{RandomError, Secret};

/// The longest wrapped key, in bytes.
pub const WRAPPED_KEY_MAX: usize = 512;
/// The longest sealed ring, in bytes: a buffer of this size holds any.
pub const MAX_SEALED_RING: usize = MAX_HEADER + MAX_ENCODED_RING + TAG_LEN;

const MAGIC: [u8; 8] = *b"CVRING\r\n";
const FORMAT: u8 = 1;
/// What a `KeyWrap` is given as context: magic to generation.
const CONTEXT_LEN: usize = MAGIC.len() + 3 + RING_ID_LEN + 8;
const MAX_HEADER: usize = CONTEXT_LEN + 2 + WRAPPED_KEY_MAX + KEY_ID_LEN + NONCE_LEN + 2;

/// What a sealed ring is protected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protection {
    /// A key-encrypting key from a ceremony.
    Kek {
        /// Its check value.
        check_value: CheckValue,
    },
    /// A key that a [`KeyWrap`] wrapped.
    WrappedKey,
    /// A passphrase; development rings only.
    Passphrase,
}

/// What a sealed ring says of itself. Not authenticated before the ring is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingHeader {
    /// Whether it protects real cards.
    pub mark: RingMark,
    /// Which ring it is.
    pub id: RingId,
    /// Which generation of the ring.
    pub generation: u64,
    /// What opens it.
    pub protection: Protection,
}

impl RingHeader {
    /// Reads the header of a sealed ring.
    ///
    /// # Errors
    /// [`RingSealError`] for everything that can be seen without a key.
    pub fn read(sealed: &[u8]) -> Result<Self, RingSealError> {
        let parts = Parts::read(sealed)?;
        Ok(Self {
            mark: parts.mark,
            id: parts.id,
            generation: parts.generation,
            protection: match parts.parameters {
                Parameters::Kek(check_value) => Protection::Kek { check_value },
                Parameters::WrappedKey(_) => Protection::WrappedKey,
                Parameters::Passphrase(_) => Protection::Passphrase,
            },
        })
    }
}

/// A hardware security module or key management service that wraps keys and never shows its own.
pub trait KeyWrap {
    /// Why it did not.
    type Error: core::error::Error;

    /// Wraps `key` and writes the result to the front of `out`; returns how many bytes, from 1.
    ///
    /// `context` is authenticated with it where the module can do that.
    ///
    /// # Errors
    /// The module's own.
    fn wrap_key(
        &mut self,
        key: &Secret<32>,
        context: &[u8],
        out: &mut [u8; WRAPPED_KEY_MAX],
    ) -> Result<usize, Self::Error>;

    /// Gives back the key that was wrapped with the same context.
    ///
    /// # Errors
    /// The module's own.
    fn unwrap_key(&mut self, wrapped: &[u8], context: &[u8]) -> Result<Secret<32>, Self::Error>;
}

/// Seals `ring` under a KEK into `out`; returns how many bytes. `out` is untouched on failure. While
/// it works the ring is in `out` in clear: no memory that others read.
///
/// # Errors
/// [`RingSealError::NoRoom`], [`RingSealError::Random`].
pub fn seal_ring_with_kek<R: TryCryptoRng + ?Sized>(
    ring: &KeyRing,
    kek: &Kek,
    rng: &mut R,
    out: &mut [u8],
) -> Result<usize, RingSealError> {
    seal_ring(
        ring,
        RingProtector::Kek,
        &kek.check_value().to_bytes(),
        kek.secret(),
        rng,
        out,
    )
}

/// Seals `ring` under a fresh key that `wrap` wraps, into `out`; returns how many bytes. `out` is
/// untouched on failure.
///
/// # Errors
/// [`WrapError::Wrap`] with the module's error, else as [`seal_ring_with_kek`];
/// [`RingSealError::WrappedKey`] if the module says that it wrote no or too many bytes.
pub fn seal_ring_with_wrap<W: KeyWrap + ?Sized, R: TryCryptoRng + ?Sized>(
    ring: &KeyRing,
    wrap: &mut W,
    rng: &mut R,
    out: &mut [u8],
) -> Result<usize, WrapError<W::Error>> {
    let key = Secret::random(rng).map_err(RingSealError::Random)?;
    let mut context = [0; CONTEXT_LEN];
    put_context(
        &mut Writer::new(&mut context),
        ring,
        RingProtector::WrappedKey,
    )
    .map_err(RingSealError::Frame)?;
    let mut wrapped = [0; WRAPPED_KEY_MAX];
    let bytes = wrap
        .wrap_key(&key, &context, &mut wrapped)
        .map_err(WrapError::Wrap)?;
    let wrapped = wrapped
        .get(..bytes)
        .filter(|wrapped| !wrapped.is_empty())
        .ok_or(RingSealError::WrappedKey { bytes })?;
    Ok(seal_ring(
        ring,
        RingProtector::WrappedKey,
        wrapped,
        &key,
        rng,
        out,
    )?)
}

/// Opens a ring that was sealed under a KEK. The ring and a copy of what was sealed lie on the
/// stack: where that is short, take [`open_ring_with_kek_into`].
///
/// # Errors
/// [`RingSealError`]: among others [`RingSealError::OtherKek`] with both check values.
pub fn open_ring_with_kek(sealed: &[u8], kek: &Kek) -> Result<KeyRing, RingSealError> {
    unlock_with_kek(sealed, kek)?.open(sealed)
}

/// Opens a ring that was sealed under a KEK into memory of the caller's, such as
/// [`KeyRing::blank`]. What `ring` held is wiped; on failure it is blank.
///
/// `sealed` is a copy in memory, in which the ring is decrypted: the ciphertext in it is
/// overwritten with zeros, unless the ring is refused before it is decrypted.
///
/// # Errors
/// As [`open_ring_with_kek`].
pub fn open_ring_with_kek_into(
    sealed: &mut [u8],
    kek: &Kek,
    ring: &mut KeyRing,
) -> Result<(), RingSealError> {
    ring.clear();
    unlock_with_kek(sealed, kek)?.open_into(sealed, ring)
}

fn unlock_with_kek(sealed: &[u8], kek: &Kek) -> Result<Unlocked, RingSealError> {
    let parts = Parts::read(sealed)?;
    let Parameters::Kek(expected) = parts.parameters else {
        return Err(parts.other_protection());
    };
    let given = kek.check_value();
    if given != expected {
        return Err(RingSealError::OtherKek { expected, given });
    }
    parts.unlock(RingProtector::Kek, kek.secret(), RingSealError::Damaged)
}

/// Opens a ring that was sealed under a key that `wrap` wrapped.
///
/// # Errors
/// [`WrapError::Wrap`] with the module's error, else [`WrapError::Ring`].
pub fn open_ring_with_wrap<W: KeyWrap + ?Sized>(
    sealed: &[u8],
    wrap: &mut W,
) -> Result<KeyRing, WrapError<W::Error>> {
    Ok(unlock_with_wrap(sealed, wrap)?.open(sealed)?)
}

/// Opens a ring that was sealed under a key that `wrap` wrapped into memory of the caller's, as
/// [`open_ring_with_kek_into`] does.
///
/// # Errors
/// As [`open_ring_with_wrap`].
pub fn open_ring_with_wrap_into<W: KeyWrap + ?Sized>(
    sealed: &mut [u8],
    wrap: &mut W,
    ring: &mut KeyRing,
) -> Result<(), WrapError<W::Error>> {
    ring.clear();
    Ok(unlock_with_wrap(sealed, wrap)?.open_into(sealed, ring)?)
}

fn unlock_with_wrap<W: KeyWrap + ?Sized>(
    sealed: &[u8],
    wrap: &mut W,
) -> Result<Unlocked, WrapError<W::Error>> {
    let parts = Parts::read(sealed)?;
    let Parameters::WrappedKey(wrapped) = parts.parameters else {
        return Err(parts.other_protection().into());
    };
    let context = sealed
        .get(..CONTEXT_LEN)
        .ok_or(RingSealError::Frame(CodecError::Truncated { at: 0 }))?;
    let key = wrap.unwrap_key(wrapped, context).map_err(WrapError::Wrap)?;
    Ok(parts.unlock(RingProtector::WrappedKey, &key, RingSealError::Damaged)?)
}

/// Why a ring was not sealed or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingSealError {
    /// The bytes are no sealed ring.
    NotARing,
    /// The sealed ring has a format version that this release does not read.
    Version {
        /// The version.
        found: u8,
    },
    /// The frame is cut off, goes on behind its end, or holds a value that is not allowed.
    Frame(CodecError),
    /// The ring is protected otherwise than by what was given to open it.
    OtherProtection {
        /// What it is protected by.
        protection: Protection,
    },
    /// The ring is sealed under another KEK.
    OtherKek {
        /// The check value that the ring names.
        expected: CheckValue,
        /// The check value of the KEK given.
        given: CheckValue,
    },
    /// The passphrase is another one, or the ring's salt or cost was changed.
    OtherPassphrase,
    /// Only a development ring may be protected by a passphrase.
    PassphraseInProduction,
    /// The passphrase is too short or too long.
    PassphraseLength {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The cost of Argon2id is below the minima or above the maxima.
    Cost,
    /// There is no memory for Argon2id.
    Memory,
    /// The ring was changed.
    Damaged,
    /// What was sealed is no key ring.
    Encoding(CodecError),
    /// The output has fewer bytes than needed.
    NoRoom {
        /// How many are needed.
        needed: usize,
    },
    /// The `KeyWrap` returned a count of bytes that is not 1 to [`WRAPPED_KEY_MAX`].
    WrappedKey {
        /// The count.
        bytes: usize,
    },
    /// The generator failed.
    Random(RandomError),
    /// The ring to be sealed is blank: [`KeyError::Blank`]. No other error is reached.
    Key(KeyError),
    /// The cipher refused the length of its input. Not reached.
    Cipher,
}

impl fmt::Display for RingSealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARing => f.write_str("not a sealed key ring"),
            Self::Version { found } => write!(f, "unknown version {found} of a sealed key ring"),
            Self::Frame(error) => write!(f, "sealed key ring: {error}"),
            Self::OtherProtection { protection } => match protection {
                Protection::Kek { check_value } => {
                    write!(f, "the key ring is sealed under the KEK {check_value}")
                }
                Protection::WrappedKey => f.write_str("the key ring is sealed by a key module"),
                Protection::Passphrase => f.write_str("the key ring is sealed by a passphrase"),
            },
            Self::OtherKek { expected, given } => write!(
                f,
                "the key ring is sealed under the KEK {expected}, not under {given}"
            ),
            Self::OtherPassphrase => f.write_str("the passphrase does not open the key ring"),
            Self::PassphraseInProduction => {
                f.write_str("a production key ring is not protected by a passphrase")
            }
            Self::PassphraseLength { bytes } => {
                write!(f, "a passphrase cannot have {bytes} bytes")
            }
            Self::Cost => f.write_str("the cost of Argon2id is out of range"),
            Self::Memory => f.write_str("no memory for Argon2id"),
            Self::Damaged => f.write_str("the sealed key ring was changed"),
            Self::Encoding(error) => write!(f, "what was sealed is no key ring: {error}"),
            Self::NoRoom { needed } => write!(f, "a sealed key ring needs {needed} bytes"),
            Self::WrappedKey { bytes } => {
                write!(f, "the key module returned a wrapped key of {bytes} bytes")
            }
            Self::Random(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::Cipher => f.write_str("the cipher refused the length of its input"),
        }
    }
}

impl core::error::Error for RingSealError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Frame(error) | Self::Encoding(error) => Some(error),
            Self::Random(error) => Some(error),
            Self::Key(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RandomError> for RingSealError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

/// Why a ring was not sealed or opened with a [`KeyWrap`], whose own error is `E`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrapError<E> {
    /// The module's error.
    Wrap(E),
    /// Anything else.
    Ring(RingSealError),
}

impl<E: fmt::Display> fmt::Display for WrapError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrap(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for WrapError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Wrap(error) => Some(error),
            Self::Ring(error) => Some(error),
        }
    }
}

impl<E> From<RingSealError> for WrapError<E> {
    fn from(error: RingSealError) -> Self {
        Self::Ring(error)
    }
}

/// Seals `ring` under the key that follows from `protecting`. It is encoded and encrypted in `out`.
pub(super) fn seal_ring<R: TryCryptoRng + ?Sized>(
    ring: &KeyRing,
    protector: RingProtector,
    parameters: &[u8],
    protecting: &Secret<32>,
    rng: &mut R,
    out: &mut [u8],
) -> Result<usize, RingSealError> {
    if ring.generation() == 0 {
        return Err(RingSealError::Key(KeyError::Blank));
    }
    let (key, id) = ring_sealing_key(
        protector,
        protecting,
        ring.mark(),
        ring.id(),
        ring.generation(),
    )
    .map_err(RingSealError::Key)?;
    let mut nonce: Nonce = [0; NONCE_LEN];
    rng.try_fill_bytes(&mut nonce)
        .map_err(|_| RandomError::Failed)?;
    if nonce == [0; NONCE_LEN] {
        return Err(RandomError::Failed.into());
    }

    let header_len = CONTEXT_LEN + 2 + parameters.len() + KEY_ID_LEN + NONCE_LEN + 2;
    let text_len = encoded_len(ring);
    let needed = header_len + text_len + TAG_LEN;
    let out = out
        .get_mut(..needed)
        .ok_or(RingSealError::NoRoom { needed })?;
    let sealed = put_sealed(out, header_len, ring, &key, &nonce, |writer| {
        put_header(writer, ring, protector, parameters, &id, &nonce, text_len)
    });
    if sealed.is_err() {
        // Not reached. The roots may lie there in clear.
        out.zeroize();
    }
    sealed.map(|()| needed)
}

/// Fills `out`, which has the right length.
fn put_sealed(
    out: &mut [u8],
    header_len: usize,
    ring: &KeyRing,
    key: &Secret<32>,
    nonce: &Nonce,
    put_header: impl FnOnce(&mut Writer<'_>) -> Result<(), CodecError>,
) -> Result<(), RingSealError> {
    let (header, rest) = out
        .split_at_mut_checked(header_len)
        .ok_or(RingSealError::Cipher)?;
    let (text, tag) = rest
        .split_last_chunk_mut::<TAG_LEN>()
        .ok_or(RingSealError::Cipher)?;
    put_header(&mut Writer::new(header)).map_err(RingSealError::Frame)?;
    encode(ring, text).map_err(RingSealError::Encoding)?;
    *tag = encrypt(key, nonce, header, text)?;
    Ok(())
}

// The cipher takes most of the stack: a frame of its own, which is gone when keys are derived.
#[inline(never)]
fn encrypt(
    key: &Secret<32>,
    nonce: &Nonce,
    header: &[u8],
    text: &mut [u8],
) -> Result<[u8; TAG_LEN], RingSealError> {
    Cipher::new(key)
        .seal(nonce, header, text)
        .map_err(|_| RingSealError::Cipher)
}

fn put_header(
    writer: &mut Writer<'_>,
    ring: &KeyRing,
    protector: RingProtector,
    parameters: &[u8],
    id: &KeyId,
    nonce: &Nonce,
    text_len: usize,
) -> Result<(), CodecError> {
    put_context(writer, ring, protector)?;
    put_length(writer, parameters.len())?;
    writer.put(parameters)?;
    writer.put(id.as_bytes())?;
    writer.put(nonce)?;
    put_length(writer, text_len)
}

fn put_context(
    writer: &mut Writer<'_>,
    ring: &KeyRing,
    protector: RingProtector,
) -> Result<(), CodecError> {
    writer.put(&MAGIC)?;
    writer.u8(FORMAT)?;
    writer.u8(ring.mark().number())?;
    writer.u8(match protector {
        RingProtector::Kek => KIND_KEK,
        RingProtector::WrappedKey => KIND_WRAPPED_KEY,
        RingProtector::Passphrase => KIND_PASSPHRASE,
    })?;
    writer.put(ring.id().as_bytes())?;
    writer.u64(ring.generation())
}

fn put_length(writer: &mut Writer<'_>, len: usize) -> Result<(), CodecError> {
    let at = writer.len();
    writer.u16(u16::try_from(len).map_err(|_| CodecError::Invalid { at })?)
}

const KIND_KEK: u8 = 1;
const KIND_WRAPPED_KEY: u8 = 2;
const KIND_PASSPHRASE: u8 = 3;
/// Length of the parameters of a passphrase, in bytes.
pub(super) const PASSPHRASE_PARAMETERS_LEN: usize = 28;

/// A sealed ring taken apart.
pub(super) struct Parts<'a> {
    pub(super) mark: RingMark,
    id: RingId,
    generation: u64,
    pub(super) parameters: Parameters<'a>,
    key_id: KeyId,
    nonce: Nonce,
    header_len: usize,
    text_len: usize,
    tag: [u8; TAG_LEN],
}

/// What the protection needs besides its secret.
pub(super) enum Parameters<'a> {
    Kek(CheckValue),
    WrappedKey(&'a [u8]),
    #[cfg_attr(
        not(feature = "passphrase"),
        expect(dead_code, reason = "read with the feature alone")
    )]
    Passphrase([u8; PASSPHRASE_PARAMETERS_LEN]),
}

impl<'a> Parts<'a> {
    pub(super) fn read(sealed: &'a [u8]) -> Result<Self, RingSealError> {
        let mut reader = Reader::new(sealed);
        if reader.array().ok() != Some(MAGIC) {
            return Err(RingSealError::NotARing);
        }
        let found = reader.u8().map_err(RingSealError::Frame)?;
        if found != FORMAT {
            return Err(RingSealError::Version { found });
        }
        Self::read_format_1(reader).map_err(RingSealError::Frame)
    }

    fn read_format_1(mut reader: Reader<'a>) -> Result<Self, CodecError> {
        let at = reader.at();
        let mark = RingMark::from_number(reader.u8()?).ok_or(CodecError::Invalid { at })?;
        let kind_at = reader.at();
        let kind = reader.u8()?;
        let id = RingId::from_bytes(reader.array()?);
        let generation = reader.u64()?;
        let at = reader.at();
        let invalid = CodecError::Invalid { at };
        let len = usize::from(reader.u16()?);
        let parameters = match kind {
            KIND_KEK if len == CHECK_VALUE_LEN => {
                Parameters::Kek(CheckValue::from_bytes(reader.array()?))
            }
            KIND_WRAPPED_KEY if (1..=WRAPPED_KEY_MAX).contains(&len) => {
                Parameters::WrappedKey(reader.take(len)?)
            }
            KIND_PASSPHRASE if len == PASSPHRASE_PARAMETERS_LEN => {
                Parameters::Passphrase(reader.array()?)
            }
            KIND_KEK | KIND_WRAPPED_KEY | KIND_PASSPHRASE => return Err(invalid),
            _ => return Err(CodecError::Invalid { at: kind_at }),
        };
        let key_id = KeyId::from_bytes(reader.array()?);
        let nonce = reader.array()?;
        let at = reader.at();
        let text_len = usize::from(reader.u16()?);
        if text_len > MAX_ENCODED_RING {
            return Err(CodecError::Invalid { at });
        }
        let header_len = reader.at();
        reader.take(text_len)?;
        let tag = reader.array()?;
        reader.finish()?;
        Ok(Self {
            mark,
            id,
            generation,
            parameters,
            key_id,
            nonce,
            header_len,
            text_len,
            tag,
        })
    }

    pub(super) fn other_protection(&self) -> RingSealError {
        let protection = match self.parameters {
            Parameters::Kek(check_value) => Protection::Kek { check_value },
            Parameters::WrappedKey(_) => Protection::WrappedKey,
            Parameters::Passphrase(_) => Protection::Passphrase,
        };
        RingSealError::OtherProtection { protection }
    }

    /// Derives the key that follows from `protecting`; `other_key` says what it means that this is
    /// not the sealing key.
    pub(super) fn unlock(
        &self,
        protector: RingProtector,
        protecting: &Secret<32>,
        other_key: RingSealError,
    ) -> Result<Unlocked, RingSealError> {
        let (key, id) =
            ring_sealing_key(protector, protecting, self.mark, &self.id, self.generation)
                .map_err(RingSealError::Key)?;
        if !bool::from(id.ct_eq(&self.key_id)) {
            return Err(other_key);
        }
        Ok(Unlocked {
            key,
            mark: self.mark,
            id: self.id,
            generation: self.generation,
            nonce: self.nonce,
            header_len: self.header_len,
            text_len: self.text_len,
            tag: self.tag,
        })
    }
}

/// The sealing key of a sealed ring, and what it takes to open that ring in place.
pub(super) struct Unlocked {
    key: Secret<32>,
    mark: RingMark,
    id: RingId,
    generation: u64,
    nonce: Nonce,
    header_len: usize,
    text_len: usize,
    tag: [u8; TAG_LEN],
}

impl Unlocked {
    /// Opens a copy of the same sealed ring.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<KeyRing, RingSealError> {
        let (header, rest) = sealed
            .split_at_checked(self.header_len)
            .ok_or(RingSealError::Cipher)?;
        let from = rest.get(..self.text_len).ok_or(RingSealError::Cipher)?;
        let mut text = Secret::<MAX_ENCODED_RING>::zeroed();
        let text = text
            .expose_mut()
            .get_mut(..self.text_len)
            .ok_or(RingSealError::Cipher)?;
        text.copy_from_slice(from);
        let mut ring = KeyRing::blank();
        self.open_text(header, text, &mut ring)?;
        Ok(ring)
    }

    /// Opens the same sealed ring in its memory, into a ring that is blank.
    pub(super) fn open_into(
        &self,
        sealed: &mut [u8],
        ring: &mut KeyRing,
    ) -> Result<(), RingSealError> {
        let (header, rest) = sealed
            .split_at_mut_checked(self.header_len)
            .ok_or(RingSealError::Cipher)?;
        let text = rest.get_mut(..self.text_len).ok_or(RingSealError::Cipher)?;
        self.open_text(header, text, ring)
    }

    fn open_text(
        &self,
        header: &[u8],
        text: &mut [u8],
        ring: &mut KeyRing,
    ) -> Result<(), RingSealError> {
        self.decrypt(header, text)?;
        let decoded = decode_into(text, ring);
        text.zeroize();
        decoded.map_err(RingSealError::Encoding)?;
        // The header is authenticated, so that only a faulty writer can disagree with itself.
        if (ring.mark(), ring.id(), ring.generation()) != (self.mark, &self.id, self.generation) {
            ring.clear();
            return Err(RingSealError::Damaged);
        }
        Ok(())
    }

    // As `encrypt`.
    #[inline(never)]
    fn decrypt(&self, header: &[u8], text: &mut [u8]) -> Result<(), RingSealError> {
        Cipher::new(&self.key)
            .open(&self.nonce, header, text, &self.tag)
            .map_err(|_| RingSealError::Damaged)
    }
}
