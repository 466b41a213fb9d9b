//! Fixed-size secret bytes: wiped when dropped, compared in constant time, never printed.
#![forbid(unsafe_code)]

use core::fmt;
use rand_core::TryCryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes: a root, a derived key, a component, a passphrase's key.
///
/// Wiped when dropped. Has no `Clone`, so that every copy is written out where it is made;
/// `Debug` names the length alone; equality is [`ConstantTimeEq`].
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes over `bytes`. The caller wipes any copy that it keeps.
    #[must_use]
    pub const fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// All-zero bytes, to be filled in place.
    #[must_use]
    pub const fn zeroed() -> Self {
        Self([0; N])
    }

    /// Draws `N` bytes from `rng`.
    ///
    /// # Errors
    /// [`RandomError`] if the generator fails, or if it gives nothing but zeros, which for
    /// 16 bytes and more means a generator that does not work.
    pub fn random<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, RandomError> {
        let mut secret = Self::zeroed();
        rng.try_fill_bytes(&mut secret.0)
            .map_err(|_| RandomError::Failed)?;
        if bool::from(secret.0.ct_eq(&[0; N])) {
            return Err(RandomError::Failed);
        }
        Ok(secret)
    }

    /// The bytes, for the one operation that needs them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be written in place.
    pub const fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> ConstantTimeEq for Secret<N> {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({N} bytes)")
    }
}

/// Whether two arrays of whole words differ, as a number that is 0 if they do not. Looks at
/// every byte, whatever they are.
#[inline]
pub(crate) fn difference<const N: usize>(one: &[u8; N], other: &[u8; N]) -> u64 {
    const { assert!(N.is_multiple_of(8)) };
    let pairs = one.as_chunks::<8>().0.iter().zip(other.as_chunks().0);
    pairs.fold(0, |differ, (one, other)| {
        differ | (u64::from_ne_bytes(*one) ^ u64::from_ne_bytes(*other))
    })
}

/// Why no randomness could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RandomError {
    /// The generator reported a failure or gave a constant.
    Failed,
    /// The generator gave the same bytes twice in a row.
    Repeated,
}

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the random generator failed",
            Self::Repeated => "the random generator repeated its last output",
        })
    }
}

impl core::error::Error for RandomError {}
