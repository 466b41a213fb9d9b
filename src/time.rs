//! Points in time, handed in by the caller: the core has no clock.
#![forbid(unsafe_code)]

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The system's clock now; 0 if it stands before 1970.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |duration| duration.as_secs()))
    }

    /// This time plus `seconds`, at most the last that can be named.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}
