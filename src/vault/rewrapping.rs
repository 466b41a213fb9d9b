//! A rewrap of a whole vault: what is urgent first, at a pace, to be stopped at any step and gone
//! on with later.
#![forbid(unsafe_code)]

use core::num::NonZeroU32;
use core::ops::ControlFlow;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use rand_core::TryCryptoRng;

use super::blocking::BlockingVault;
use super::error::VaultError;
use super::operations::{REWRAP_PAGE, Vault};
use super::store::{MAX_KEY, RowKey, Store};
use crate::codec::{CodecError, Reader};
use crate::keys::{KeyRing, KeyState, KeyUse, MAX_KEYS};

/// The longest cursor of a [`Rewrapping`], in bytes.
pub const MAX_REWRAP_CURSOR: usize = HEAD_LEN + 4 * MAX_KEYS + MAX_KEY;

/// Version, pass, target, rows seen, moved and left, number of urgent versions.
const HEAD_LEN: usize = 1 + 1 + 4 + 3 * 8 + 1;
const VERSION: u8 = 1;
/// Rows of a step without others to look after: some transactions, each prepared while the one
/// before it is committed.
const FULL_STEP: usize = 5 * REWRAP_PAGE;
/// Rows of the first step beside others, and of the smallest.
const SMALL_STEP: usize = 64;

/// How fast a rewrap goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewrapPace {
    rows_per_second: Option<NonZeroU32>,
    beside_others: bool,
}

impl RewrapPace {
    /// As fast as the store goes: others wait behind large batches.
    pub const FULL: Self = Self {
        rows_per_second: None,
        beside_others: false,
    };
    /// In batches so small that a commit takes at most about a quarter longer than the smallest
    /// one, and with a rest of the same length behind each, in which others get their turn: who
    /// comes in the middle of one waits about as long for it as for his own.
    pub const BESIDE_OTHERS: Self = Self {
        rows_per_second: None,
        beside_others: true,
    };

    /// At most so many rows a second, on the average.
    #[must_use]
    pub const fn at_most(self, rows_per_second: NonZeroU32) -> Self {
        Self {
            rows_per_second: Some(rows_per_second),
            ..self
        }
    }
}

/// How far a rewrap is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RewrapProgress {
    /// How many rows were looked at: twice each if there are compromised versions.
    pub seen: u64,
    /// How many there are to look at: a bound, which counts a ledger's rows too, until the end.
    pub total: u64,
    /// How many records were sealed anew under the active version.
    pub moved: u64,
    /// How many could not be: see [`super::Rewrapped::left`].
    pub left: u64,
    /// Whether the records under compromised versions are what is moved now.
    pub urgent: bool,
}

/// Seals all records of a vault anew under the active card version, step by step.
///
/// If versions are compromised, the records under those are moved first, in a pass of their own.
/// If another version becomes active meanwhile, or one is compromised, it starts again; records
/// that are where they should be are only read. Memory is bounded by a step's.
///
/// ```
/// # use cardvault::vault::*;
/// # fn rewrap(vault: &BlockingVault<Memory>) -> Result<(), VaultError> {
/// let mut rewrapping = Rewrapping::new(RewrapPace::BESIDE_OTHERS);
/// vault.rewrap_all(&mut rewrapping, |rewrapping| {
///     // Keep rewrapping.cursor() somewhere: Rewrapping::resume goes on from there.
///     core::ops::ControlFlow::Continue(())
/// })?;
/// assert_eq!(rewrapping.progress().left, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Rewrapping {
    pace: RewrapPace,
    /// What it is about; none before the first step.
    plan: Option<Plan>,
    after: Option<RowKey>,
    progress: RewrapProgress,
    is_done: bool,
    /// Rows of the next step beside others.
    rows: usize,
    /// About how long the smallest step takes.
    floor: Option<Duration>,
    rest: Duration,
}

/// Where records go to, and those that go first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    target: u32,
    urgent: Vec<u32>,
}

impl Rewrapping {
    /// From the first row on.
    #[must_use]
    pub fn new(pace: RewrapPace) -> Self {
        Self {
            pace,
            plan: None,
            after: None,
            progress: RewrapProgress::default(),
            is_done: false,
            rows: SMALL_STEP,
            floor: None,
            rest: Duration::ZERO,
        }
    }

    /// From where another one was, by its [`Rewrapping::cursor`].
    ///
    /// # Errors
    /// [`CodecError`] for what is no cursor.
    pub fn resume(pace: RewrapPace, cursor: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(cursor);
        if reader.u8()? != VERSION {
            return Err(CodecError::Invalid { at: 0 });
        }
        let urgent = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::Invalid { at: 1 }),
        };
        let target = reader.u32()?;
        let (seen, moved, left) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let count = reader.u8()?;
        let versions = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
        let at = reader.at();
        let after = match cursor.get(at..) {
            None | Some([]) => None,
            Some(key) => Some(RowKey::new(key).map_err(|_| CodecError::Invalid { at })?),
        };
        Ok(Self {
            plan: (target > 0).then_some(Plan {
                target,
                urgent: versions,
            }),
            after,
            progress: RewrapProgress {
                seen,
                total: 0,
                moved,
                left,
                urgent,
            },
            ..Self::new(pace)
        })
    }

    /// Where it is, as at most [`MAX_REWRAP_CURSOR`] bytes: version 1, whether it is in the pass
    /// of the compromised versions, the active version (4), rows seen, moved and left (8 each),
    /// the number of compromised versions and each of them (4), and the row's key. Big-endian.
    #[must_use]
    pub fn cursor(&self) -> Vec<u8> {
        let progress = &self.progress;
        let (target, urgent) = match &self.plan {
            Some(plan) => (plan.target, plan.urgent.as_slice()),
            None => (0, [].as_slice()),
        };
        let mut bytes = vec![VERSION, u8::from(progress.urgent)];
        bytes.extend(target.to_be_bytes());
        for count in [progress.seen, progress.moved, progress.left] {
            bytes.extend(count.to_be_bytes());
        }
        // No ring has more than MAX_KEYS.
        bytes.push(u8::try_from(urgent.len()).unwrap_or(u8::MAX));
        bytes.extend(urgent.iter().flat_map(|version| version.to_be_bytes()));
        if let Some(after) = &self.after {
            bytes.extend(after.as_bytes());
        }
        bytes
    }

    /// How far it is.
    #[must_use]
    pub const fn progress(&self) -> &RewrapProgress {
        &self.progress
    }

    /// The version that it moves records to; none before the first step.
    #[must_use]
    pub fn target(&self) -> Option<u32> {
        self.plan.as_ref().map(|plan| plan.target)
    }

    /// Whether it went through all rows.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// How long to wait before the next step, to keep the pace: at most about a second.
    #[must_use]
    pub const fn rest(&self) -> Duration {
        self.rest
    }

    /// Goes on with some rows. Gives whether there are more.
    ///
    /// # Errors
    /// As [`Vault::rewrap`]. The next step then takes the same rows.
    pub async fn step<S: Store, R: TryCryptoRng + Send + 'static>(
        &mut self,
        vault: &Vault<S, R>,
    ) -> Result<bool, VaultError> {
        let plan = Plan::of(&vault.state()?.ring)?;
        let goes_on = self.plan.as_ref().is_some_and(|old| old.covers(&plan));
        if !goes_on {
            let pace = self.pace;
            *self = Self::new(pace);
            self.progress.urgent = !plan.urgent.is_empty();
        }
        if self.progress.total == 0 {
            let passes = 1 + u64::from(!plan.urgent.is_empty());
            self.progress.total = vault.count().await?.saturating_mul(passes);
        }
        let limit = self.limit();
        let start = Instant::now();
        let versions: &[u32] = if self.progress.urgent {
            &plan.urgent
        } else {
            &[]
        };
        let step = vault.rewrap_pages(versions, self.after, limit).await?;
        self.keep_pace(step.seen, start.elapsed());
        let progress = &mut self.progress;
        progress.seen += step.seen;
        progress.moved += step.moved;
        progress.left += step.left;
        progress.total = progress.total.max(progress.seen);
        self.after = step.cursor;
        self.plan = Some(plan);
        if self.after.is_none() {
            if progress.urgent {
                progress.urgent = false;
                // The next pass meets them again.
                progress.left = 0;
            } else {
                progress.total = progress.seen;
                // With another ring meanwhile it starts again.
                let now = Plan::of(&vault.state()?.ring)?;
                self.is_done = self.plan.as_ref().is_some_and(|plan| plan.covers(&now));
            }
        }
        Ok(!self.is_done)
    }

    /// Rows of the next step.
    fn limit(&self) -> usize {
        let rows = if self.pace.beside_others {
            self.rows
        } else {
            FULL_STEP
        };
        let most = self.pace.rows_per_second;
        let most = most.and_then(|rate| usize::try_from(rate.get()).ok());
        rows.min(most.unwrap_or(rows))
    }

    /// Finds the rest after a step and the rows of the next one.
    fn keep_pace(&mut self, rows: u64, took: Duration) {
        self.rest = Duration::ZERO;
        if self.pace.beside_others {
            let floor = match self.floor {
                // Rises slowly, should the store have become slower.
                Some(floor) => took.min(floor + floor / 64),
                None => took,
            };
            self.floor = Some(floor);
            self.rows = if took > floor + floor / 4 {
                (self.rows / 2).max(SMALL_STEP)
            } else {
                (self.rows + self.rows / 8).min(REWRAP_PAGE)
            };
            self.rest = took.min(Duration::from_secs(1));
        }
        if let Some(rate) = self.pace.rows_per_second {
            let rows = u32::try_from(rows).unwrap_or(u32::MAX);
            let due = Duration::from_secs(1) * rows / rate.get();
            self.rest = self.rest.max(due.saturating_sub(took));
        }
    }
}

impl Plan {
    fn of(ring: &KeyRing) -> Result<Self, VaultError> {
        let urgent = ring.versions().filter(|info| {
            info.name.usage == KeyUse::Card
                && info.state == KeyState::Compromised
                && info.activated.is_some()
        });
        Ok(Self {
            target: ring.active(KeyUse::Card)?.name.version,
            urgent: urgent.map(|info| info.name.version).collect(),
        })
    }

    /// Whether what went by this plan need not start again by `now`.
    fn covers(&self, now: &Self) -> bool {
        self.target == now.target
            && now
                .urgent
                .iter()
                .all(|version| self.urgent.contains(version))
    }
}

impl<S: Store, R: TryCryptoRng + Send + 'static> BlockingVault<S, R> {
    /// Goes on with `rewrapping` to its end, or until `tell`, which is called after each step,
    /// breaks. Sleeps to keep the pace.
    ///
    /// # Errors
    /// See [`Rewrapping::step`].
    pub fn rewrap_all(
        &self,
        rewrapping: &mut Rewrapping,
        mut tell: impl FnMut(&Rewrapping) -> ControlFlow<()>,
    ) -> Result<(), VaultError> {
        while pollster::block_on(rewrapping.step(self.vault()))? {
            if tell(rewrapping).is_break() {
                return Ok(());
            }
            thread::sleep(rewrapping.rest());
        }
        let _ = tell(rewrapping);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let mut rewrapping = Rewrapping::new(RewrapPace::FULL);
        let none = rewrapping.cursor();
        assert_eq!(
            Rewrapping::resume(RewrapPace::FULL, &none)
                .unwrap()
                .cursor(),
            none
        );
        rewrapping.plan = Some(Plan {
            target: 7,
            urgent: (1..=64).collect(),
        });
        rewrapping.after = Some(RowKey::new(&[9; MAX_KEY]).unwrap());
        rewrapping.progress = RewrapProgress {
            seen: 3,
            total: 0,
            moved: 2,
            left: 1,
            urgent: true,
        };
        let cursor = rewrapping.cursor();
        assert_eq!(cursor.len(), MAX_REWRAP_CURSOR);
        let again = Rewrapping::resume(RewrapPace::FULL, &cursor).unwrap();
        assert_eq!(again.cursor(), cursor);
        for len in 0..HEAD_LEN + 4 * MAX_KEYS {
            assert!(
                Rewrapping::resume(RewrapPace::FULL, &cursor[..len]).is_err(),
                "{len}"
            );
        }
        let mut long = cursor.clone();
        long.push(9);
        assert!(Rewrapping::resume(RewrapPace::FULL, &long).is_err());
        for at in [0, 1] {
            let mut other = cursor.clone();
            other[at] = 9;
            assert!(Rewrapping::resume(RewrapPace::FULL, &other).is_err());
        }
    }

    #[test]
    fn a_pace_keeps_its_rate_and_yields() {
        let second = Duration::from_secs(1);
        let rate = NonZeroU32::new(100).unwrap();
        let mut slow = Rewrapping::new(RewrapPace::FULL.at_most(rate));
        assert_eq!(slow.limit(), 100);
        slow.keep_pace(50, second / 10);
        assert_eq!(slow.rest(), second * 4 / 10);
        let mut full = Rewrapping::new(RewrapPace::FULL);
        full.keep_pace(50, second);
        assert_eq!((full.limit(), full.rest()), (FULL_STEP, Duration::ZERO));

        // A step takes 4 ms and 10 us a row: it grows until that is about twice the smallest one's.
        let mut beside = Rewrapping::new(RewrapPace::BESIDE_OTHERS);
        let cost = |rows: usize| Duration::from_micros(4_000 + 10 * rows as u64);
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            let took = cost(beside.limit());
            longest = longest.max(took);
            beside.keep_pace(1, took);
            assert_eq!(beside.rest(), took);
        }
        assert!(beside.limit() > 80, "{}", beside.limit());
        assert!(longest < cost(SMALL_STEP) * 5 / 2, "{longest:?}");
    }
}
