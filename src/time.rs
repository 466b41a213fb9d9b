//! Points in time, handed in by the caller: the core has no clock.
#![forbid(unsafe_code)]

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// Seconds of a day.
    pub const DAY: u64 = 24 * 60 * 60;

    /// The system's clock now. The last second that can be named if it stands before 1970: with a
    /// clock that is plainly wrong every key and every token is past its time.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn now() -> Self {
        Self::of(std::time::SystemTime::now())
    }

    #[cfg(feature = "std")]
    fn of(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(u64::MAX, |duration| duration.as_secs()))
    }

    /// This time plus `seconds`, at most the last that can be named.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::UnixSeconds;
    use core::time::Duration;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_clock_before_1970_is_past_every_time() {
        assert_eq!(UnixSeconds::of(UNIX_EPOCH), UnixSeconds(0));
        let later = UNIX_EPOCH + Duration::from_secs(5);
        assert_eq!(UnixSeconds::of(later), UnixSeconds(5));
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(UnixSeconds::of(before), UnixSeconds(u64::MAX));
    }
}
