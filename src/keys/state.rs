//! The states of a key and the one table of their transitions.
#![forbid(unsafe_code)]

use core::fmt;

/// The state of a key, with the names of NIST SP 800-57 Part 1 section 7.
///
/// | state | seals | opens |
/// |---|---|---|
/// | pre-activation | no | no |
/// | active | yes | yes |
/// | suspended | no | yes |
/// | deactivated | no | yes |
/// | compromised | no | yes, to re-encrypt what is left under it |
/// | destroyed | no | no |
///
/// A suspended key opens what it sealed before: to suspend is to stop new use while a suspicion is
/// looked into, not to stop the business. It alone may become active again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// Made, not yet used.
    PreActivation,
    /// In use; at most one of each use.
    Active,
    /// Out of use for the moment.
    Suspended,
    /// Retired: opens what it sealed and never seals again.
    Deactivated,
    /// Known or believed to be known to others. Never seals again.
    Compromised,
    /// The root is wiped; name, check value and times are kept.
    Destroyed,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::PreActivation,
        Self::Active,
        Self::Suspended,
        Self::Deactivated,
        Self::Compromised,
        Self::Destroyed,
    ];

    /// Whether a key in this state may go over to `next`: the whole table.
    ///
    /// No way leads back into use from deactivated, compromised or destroyed. A key that is in use
    /// or suspended is deactivated or compromised before it is destroyed, so that a slip destroys
    /// no live data.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (
                Self::PreActivation,
                Self::Active | Self::Compromised | Self::Destroyed
            ) | (
                Self::Active,
                Self::Suspended | Self::Deactivated | Self::Compromised
            ) | (
                Self::Suspended,
                Self::Active | Self::Deactivated | Self::Compromised
            ) | (Self::Deactivated, Self::Compromised | Self::Destroyed)
                | (Self::Compromised, Self::Destroyed)
        )
    }

    /// Whether new data may be protected.
    #[must_use]
    pub const fn may_seal(self) -> bool {
        matches!(self, Self::Active)
    }

    /// Whether data that was protected before may be opened or verified, if the key was ever active.
    #[must_use]
    pub const fn may_open(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Suspended | Self::Deactivated | Self::Compromised
        )
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreActivation => "pre-activation",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }

    /// The number of the state in byte formats: 1 to 6.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::PreActivation => 1,
            Self::Active => 2,
            Self::Suspended => 3,
            Self::Deactivated => 4,
            Self::Compromised => 5,
            Self::Destroyed => 6,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: from; columns: to; in the order of `ALL`.
    const TABLE: [&str; 6] = [
        ".a..cd", // pre-activation
        "..sxc.", // active
        ".a.xc.", // suspended
        "....cd", // deactivated
        ".....d", // compromised
        "......", // destroyed
    ];

    #[test]
    fn whole_table() {
        for (from, row) in KeyState::ALL.into_iter().zip(TABLE) {
            for (to, cell) in KeyState::ALL.into_iter().zip(row.chars()) {
                assert_eq!(from.may_become(to), cell != '.', "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_state_that_seals_also_opens_and_what_is_retired_never_seals() {
        for state in KeyState::ALL {
            assert!(!state.may_seal() || state.may_open());
            assert_eq!(KeyState::from_number(state.number()), Some(state));
        }
        let retired = [
            KeyState::Deactivated,
            KeyState::Compromised,
            KeyState::Destroyed,
        ];
        for from in retired {
            assert!(!from.may_seal());
            for to in KeyState::ALL {
                assert!(!from.may_become(to) || retired.contains(&to));
            }
        }
    }
}
