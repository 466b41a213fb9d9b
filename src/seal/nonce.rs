//! Nonces: drawn when they are used, never kept.
//!
//! A nonce that waits in memory is used twice when the process forks or when an image of the
//! machine is started again. So a call that seals n records draws n nonces at once, uses them, and
//! returns with none left. What the source keeps is one nonce that was already used, to notice a
//! generator that stands still. A generator with a state of its own must notice forks and
//! restored images itself, as the system's generator does.
#![forbid(unsafe_code)]

use core::fmt;

use rand_core::TryCryptoRng;

use crate::secret::{RandomError, difference};

/// Length of a nonce, in bytes.
pub const NONCE_LEN: usize = 24;
/// The most nonces in one draw.
pub const NONCE_BATCH_MAX: usize = 64;

pub(super) type Nonce = [u8; NONCE_LEN];

/// Draws nonces from a generator and refuses one that repeats itself.
pub struct NonceSource<R> {
    generator: R,
    /// The first nonce of the last draw; zeros before it.
    last: Nonce,
}

impl<R: TryCryptoRng> NonceSource<R> {
    /// Takes the generator over; `&mut` of one will do.
    pub const fn new(generator: R) -> Self {
        Self {
            generator,
            last: [0; NONCE_LEN],
        }
    }

    /// Fills `nonces` with one draw.
    #[inline]
    pub(super) fn draw(&mut self, nonces: &mut [Nonce]) -> Result<(), RandomError> {
        self.generator
            .try_fill_bytes(nonces.as_flattened_mut())
            .map_err(|_| RandomError::Failed)?;
        let mut previous = &self.last;
        for nonce in &*nonces {
            if difference(nonce, previous) == 0 {
                return Err(RandomError::Repeated);
            }
            previous = nonce;
        }
        if let Some(first) = nonces.first() {
            self.last = *first;
        }
        Ok(())
    }
}

impl<R> fmt::Debug for NonceSource<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceSource").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::{Infallible, TryRng};

    /// Gives the bytes of `0` again and again, `period` of them.
    struct Cycle {
        period: u64,
        at: u64,
    }

    impl TryRng for Cycle {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(0)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            for byte in out {
                *byte = (self.at % self.period).wrapping_mul(37).to_le_bytes()[0] | 1;
                self.at += 1;
            }
            Ok(())
        }
    }
    impl TryCryptoRng for Cycle {}

    fn draws(period: u64, count: usize) -> Result<(), RandomError> {
        let mut source = NonceSource::new(Cycle { period, at: 0 });
        source.draw(&mut vec![[0; NONCE_LEN]; count])?;
        source.draw(&mut vec![[0; NONCE_LEN]; count])
    }

    #[test]
    fn one_draw_has_no_nonce_twice_in_a_row() {
        let mut source = NonceSource::new(Cycle { period: 24, at: 0 });
        assert_eq!(
            source.draw(&mut [[0; NONCE_LEN]; 2]),
            Err(RandomError::Repeated)
        );
    }

    #[test]
    fn repeating_generators_are_refused() {
        assert_eq!(draws(1, 1), Err(RandomError::Repeated));
        assert_eq!(draws(24, 1), Err(RandomError::Repeated));
        assert_eq!(draws(24, 2), Err(RandomError::Repeated));
        // The second draw is the first one again.
        assert_eq!(draws(96, 4), Err(RandomError::Repeated));
        assert_eq!(draws(97, 4), Ok(()));
    }

    #[test]
    fn zeros_are_refused_at_the_first_draw() {
        struct Zeros;
        impl TryRng for Zeros {
            type Error = Infallible;
            fn try_next_u32(&mut self) -> Result<u32, Infallible> {
                Ok(0)
            }
            fn try_next_u64(&mut self) -> Result<u64, Infallible> {
                Ok(0)
            }
            fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
                Ok(())
            }
        }
        impl TryCryptoRng for Zeros {}
        let mut source = NonceSource::new(Zeros);
        assert_eq!(
            source.draw(&mut [[0; NONCE_LEN]]),
            Err(RandomError::Repeated)
        );
    }
}
