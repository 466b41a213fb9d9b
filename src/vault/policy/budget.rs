//! So many in so much time.
//!
//! The time slides: in no stretch of a budget's length is more granted than its number. What was
//! granted is kept by slices of that length, and a slice counts until all of it is out of the
//! stretch that ends now.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use super::fault::PolicyFault;
use crate::time::UnixSeconds;
use crate::vault::access::Operation;

/// The longest time of a budget, in seconds.
pub const MAX_BUDGET_SECONDS: u32 = 366 * DAY;

/// Slices of a budget's time, at most one more: what one costs in memory, and how exactly it
/// renews.
const SLICES: u64 = 64;

/// What a clock says that stands before 1970: see [`UnixSeconds::now`].
const NO_TIME: UnixSeconds = UnixSeconds(u64::MAX);

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;
const UNITS: [(u32, &str); 4] = [
    (DAY, "day"),
    (HOUR, "hour"),
    (MINUTE, "minute"),
    (1, "second"),
];

/// At most so many in any stretch of so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    most: u32,
    seconds: u32,
}

impl Budget {
    /// At most `most` in any `seconds`.
    ///
    /// # Errors
    /// [`PolicyFault::ZeroBudget`], [`PolicyFault::LongBudget`].
    pub const fn new(most: u32, seconds: u32) -> Result<Self, PolicyFault> {
        if most == 0 || seconds == 0 {
            return Err(PolicyFault::ZeroBudget);
        }
        if seconds > MAX_BUDGET_SECONDS {
            return Err(PolicyFault::LongBudget);
        }
        Ok(Self { most, seconds })
    }

    /// How many.
    #[must_use]
    pub const fn most(self) -> u32 {
        self.most
    }

    /// In how many seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// The seconds of a slice. Short times have slices of a second, which are exact.
    fn slice(self) -> u64 {
        u64::from(self.seconds).div_ceil(SLICES)
    }

    /// The slice that a time falls into.
    fn slice_of(self, time: UnixSeconds) -> u64 {
        time.0.checked_div(self.slice()).unwrap_or_default()
    }

    /// The last second of a slice.
    fn end_of(self, slice: u64) -> UnixSeconds {
        let next = slice.saturating_add(1).saturating_mul(self.slice());
        UnixSeconds(next.saturating_sub(1))
    }

    /// From when on what was granted in a slice no longer counts.
    fn renews(self, slice: u64) -> UnixSeconds {
        self.end_of(slice).plus(u64::from(self.seconds))
    }
}

impl fmt::Display for Budget {
    /// As it is read: `500 per day`, `20 per 5 minutes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: u32| self.seconds.checked_rem(unit) == Some(0);
        let mut units = UNITS.into_iter();
        let (unit, name) = units
            .find(|(unit, _)| whole(*unit))
            .unwrap_or((1, "second"));
        match self.seconds.checked_div(unit) {
            Some(1) => write!(f, "{} per {name}", self.most),
            count => write!(f, "{} per {} {name}s", self.most, count.unwrap_or_default()),
        }
    }
}

impl FromStr for Budget {
    type Err = PolicyFault;

    fn from_str(text: &str) -> Result<Self, PolicyFault> {
        let refused = PolicyFault::Budget;
        let number = |text: &str| text.parse::<u32>().map_err(|_| refused);
        let words: Vec<_> = text.split(' ').collect();
        let (most, count, unit) = match words.as_slice() {
            [most, "per", unit] => (number(most)?, 1, *unit),
            [most, "per", count, units] => {
                let unit = units.strip_suffix('s').ok_or(refused)?;
                (number(most)?, number(count)?, unit)
            }
            _ => return Err(refused),
        };
        let (seconds, _) = UNITS
            .into_iter()
            .find(|(_, name)| *name == unit)
            .ok_or(refused)?;
        let seconds = seconds.checked_mul(count).ok_or(PolicyFault::LongBudget)?;
        Self::new(most, seconds)
    }
}

/// What was used of a budget: as a vault tells it, or as an access log shows it, to be told to
/// the vault of a new process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// By whom.
    pub actor: String,
    /// Of which operation's budget.
    pub operation: Operation,
    /// When, or a little later.
    pub time: UnixSeconds,
    /// How many.
    pub count: u64,
}

/// What was granted of one budget, as far back as it counts.
#[derive(Debug)]
pub(super) struct Used {
    budget: Budget,
    slices: BTreeMap<u64, u64>,
    /// The newest time that was seen: it never goes back.
    newest: UnixSeconds,
}

impl Used {
    pub(super) const fn new(budget: Budget) -> Self {
        Self {
            budget,
            slices: BTreeMap::new(),
            newest: UnixSeconds(0),
        }
    }

    /// How many of `count` are granted now; if not all, from when on some are again.
    pub(super) fn ask(&mut self, count: usize, now: UnixSeconds) -> (usize, Option<UnixSeconds>) {
        if now == NO_TIME {
            return (0, Some(NO_TIME));
        }
        let left = self.left(now);
        let granted = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        if granted > 0 {
            self.add(self.newest, u64::try_from(granted).unwrap_or(u64::MAX));
        }
        let refused = granted < count;
        let oldest = self.slices.first_key_value().filter(|_| refused);
        let budget = self.budget;
        (granted, oldest.map(|(slice, _)| budget.renews(*slice)))
    }

    /// Grants all of `count` now, or says from when on it would; the last time there is if never.
    pub(super) fn ask_whole(&mut self, count: usize, now: UnixSeconds) -> Result<(), UnixSeconds> {
        if now == NO_TIME {
            return Err(NO_TIME);
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let mut left = self.left(now);
        if count <= left {
            self.add(self.newest, count);
            return Ok(());
        }
        let enough = self.slices.iter().find(|(_, used)| {
            left = left.saturating_add(**used);
            count <= left
        });
        let enough = enough.filter(|_| count <= u64::from(self.budget.most));
        Err(enough.map_or(NO_TIME, |(slice, _)| self.budget.renews(*slice)))
    }

    /// How many are left, now that this is the time.
    fn left(&mut self, now: UnixSeconds) -> u64 {
        // A clock that goes back gives nothing back.
        self.newest = self.newest.max(now);
        let (budget, now) = (self.budget, self.newest);
        self.slices.retain(|slice, _| budget.renews(*slice) > now);
        let used = self.slices.values();
        let used = used.fold(0, |sum: u64, count| sum.saturating_add(*count));
        u64::from(budget.most).saturating_sub(used)
    }

    /// Counts what was granted at this time.
    pub(super) fn add(&mut self, time: UnixSeconds, count: u64) {
        self.newest = self.newest.max(time);
        let granted = self.slices.entry(self.budget.slice_of(time)).or_default();
        *granted = granted.saturating_add(count);
    }

    /// What counts, each at the last second that it can be of, at most the newest one seen.
    pub(super) fn spent(&self) -> impl Iterator<Item = (UnixSeconds, u64)> {
        let time = |slice| self.budget.end_of(slice).min(self.newest);
        self.slices
            .iter()
            .map(move |(slice, count)| (time(*slice), *count))
    }

    /// The same under another budget.
    pub(super) fn under(self, budget: Budget) -> Self {
        if budget == self.budget {
            return self;
        }
        let mut used = Self::new(budget);
        used.newest = self.newest;
        for (time, count) in self.spent() {
            used.add(time, count);
        }
        used
    }
}
