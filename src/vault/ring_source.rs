//! Where a vault takes a newer key ring from.
#![forbid(unsafe_code)]

use crate::keys::KeyRing;

/// Gives the newest key ring that this process can get at: of a file, a secret store, a service.
///
/// A vault asks it when the store has seen a newer ring than it has, on the thread that polls the
/// call which noticed, so it may wait for a quick read only. Several calls may ask at once.
pub trait RingSource: Send + Sync + 'static {
    /// The newest ring, or none if it cannot be read now. What went wrong is for the source to tell:
    /// the call that asked fails with [`StaleRing`](super::VaultError::StaleRing).
    fn newest(&self) -> Option<KeyRing>;
}

impl<F: Fn() -> Option<KeyRing> + Send + Sync + 'static> RingSource for F {
    fn newest(&self) -> Option<KeyRing> {
        self()
    }
}
