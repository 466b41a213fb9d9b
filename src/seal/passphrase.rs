//! Development key rings under a passphrase.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand_core::TryCryptoRng;
use zeroize::Zeroize;

use super::ring::{PASSPHRASE_PARAMETERS_LEN, Parameters, Parts, RingSealError, seal_ring};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::{KeyRing, RingMark, RingProtector};
use crate::secret::Secret;

/// The shortest passphrase, in bytes.
pub const PASSPHRASE_MIN_LEN: usize = 12;
/// The longest passphrase, in bytes.
pub const PASSPHRASE_MAX_LEN: usize = 1024;
/// Length of the salt, in bytes.
pub const ARGON2_SALT_LEN: usize = 16;

/// The cost of Argon2id (RFC 9106): of guessing a passphrase, and of opening a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Cost {
    /// The least memory, in KiB.
    pub const MIN_MEMORY_KIB: u32 = 19 * 1024;
    /// The most memory, in KiB: a changed header must not ask for all there is.
    pub const MAX_MEMORY_KIB: u32 = 1024 * 1024;
    /// The fewest passes.
    pub const MIN_PASSES: u32 = 2;
    /// The most passes.
    pub const MAX_PASSES: u32 = 16;
    /// The fewest lanes.
    pub const MIN_LANES: u32 = 1;
    /// The most lanes.
    pub const MAX_LANES: u32 = 4;

    /// 64 MiB, 3 passes, 1 lane.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };

    /// A cost within the minima and maxima.
    ///
    /// # Errors
    /// [`RingSealError::Cost`].
    pub const fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, RingSealError> {
        let within = Self::MIN_MEMORY_KIB <= memory_kib
            && memory_kib <= Self::MAX_MEMORY_KIB
            && Self::MIN_PASSES <= passes
            && passes <= Self::MAX_PASSES
            && Self::MIN_LANES <= lanes
            && lanes <= Self::MAX_LANES;
        if !within {
            return Err(RingSealError::Cost);
        }
        Ok(Self {
            memory_kib,
            passes,
            lanes,
        })
    }
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Seals a development ring under a passphrase into `out`; returns how many bytes. `out` is
/// untouched on failure.
///
/// # Errors
/// [`RingSealError::PassphraseInProduction`], [`RingSealError::PassphraseLength`],
/// [`RingSealError::Memory`], [`RingSealError::NoRoom`], [`RingSealError::Random`].
pub fn seal_ring_with_passphrase<R: TryCryptoRng + ?Sized>(
    ring: &KeyRing,
    passphrase: &[u8],
    cost: Argon2Cost,
    rng: &mut R,
    out: &mut [u8],
) -> Result<usize, RingSealError> {
    check(ring.mark(), passphrase)?;
    let salt = *Secret::<ARGON2_SALT_LEN>::random(rng)?.expose();
    let key = stretch(passphrase, cost, &salt)?;
    let mut parameters = [0; PASSPHRASE_PARAMETERS_LEN];
    put_parameters(&mut Writer::new(&mut parameters), cost, &salt).map_err(RingSealError::Frame)?;
    seal_ring(ring, RingProtector::Passphrase, &parameters, &key, rng, out)
}

/// Opens a development ring that was sealed under a passphrase.
///
/// # Errors
/// [`RingSealError`]: among others [`RingSealError::OtherPassphrase`], and
/// [`RingSealError::Cost`] for a header that asks for more than the maxima or less than the
/// minima.
pub fn open_ring_with_passphrase(
    sealed: &[u8],
    passphrase: &[u8],
) -> Result<KeyRing, RingSealError> {
    let parts = Parts::read(sealed)?;
    let Parameters::Passphrase(parameters) = parts.parameters else {
        return Err(parts.other_protection());
    };
    check(parts.mark, passphrase)?;
    let mut reader = Reader::new(&parameters);
    let mut number = || reader.u32().map_err(RingSealError::Frame);
    let cost = Argon2Cost::new(number()?, number()?, number()?)?;
    let salt = reader.array().map_err(RingSealError::Frame)?;
    let key = stretch(passphrase, cost, &salt)?;
    parts
        .unlock(
            RingProtector::Passphrase,
            &key,
            RingSealError::OtherPassphrase,
        )?
        .open(sealed)
}

fn check(mark: RingMark, passphrase: &[u8]) -> Result<(), RingSealError> {
    if mark != RingMark::Development {
        return Err(RingSealError::PassphraseInProduction);
    }
    if !(PASSPHRASE_MIN_LEN..=PASSPHRASE_MAX_LEN).contains(&passphrase.len()) {
        return Err(RingSealError::PassphraseLength {
            bytes: passphrase.len(),
        });
    }
    Ok(())
}

fn put_parameters(
    writer: &mut Writer<'_>,
    cost: Argon2Cost,
    salt: &[u8; ARGON2_SALT_LEN],
) -> Result<(), CodecError> {
    writer.u32(cost.memory_kib)?;
    writer.u32(cost.passes)?;
    writer.u32(cost.lanes)?;
    writer.put(salt)
}

/// Argon2id, version 0x13, in memory that is wiped afterwards.
fn stretch(
    passphrase: &[u8],
    cost: Argon2Cost,
    salt: &[u8; ARGON2_SALT_LEN],
) -> Result<Secret<32>, RingSealError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|_| RingSealError::Cost)?;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| RingSealError::Memory)?;
    memory.resize(params.block_count(), Block::new());
    let mut key = Secret::zeroed();
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, key.expose_mut(), &mut memory);
    memory.iter_mut().for_each(Zeroize::zeroize);
    result.map(|()| key).map_err(|_| RingSealError::Cost)
}
