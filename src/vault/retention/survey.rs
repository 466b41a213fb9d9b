//! A purge tried dry: what would go, and the approval without which nothing goes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::{AsOf, Retention, RetentionError, Verdict};
use crate::keys::Domain;
use crate::payment::Date;
use crate::time::UnixSeconds;
use crate::vault::store::RowKey;

/// How many tokens of which domain have which verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeTally {
    counts: BTreeMap<(Domain, Verdict), u64>,
    unreadable: u64,
}

impl PurgeTally {
    /// The counts above zero, domain by domain.
    pub fn counts(&self) -> impl Iterator<Item = (&Domain, Verdict, u64)> {
        self.counts
            .iter()
            .map(|((domain, verdict), count)| (domain, *verdict, *count))
    }

    /// How many tokens of all domains have this verdict.
    #[must_use]
    pub fn of(&self, verdict: Verdict) -> u64 {
        let counts = self.counts().filter(|(_, other, _)| *other == verdict);
        counts.map(|(_, _, count)| count).sum()
    }

    /// How many tokens go.
    #[must_use]
    pub fn going(&self) -> u64 {
        let counts = self.counts().filter(|(_, verdict, _)| verdict.goes());
        counts.map(|(_, _, count)| count).sum()
    }

    /// How many rows name no domain and token: they are not the vault's, and stay.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Adds what another step counted.
    pub fn add(&mut self, step: &Self) {
        for (key, count) in &step.counts {
            *self.counts.entry(*key).or_default() += count;
        }
        self.unreadable += step.unreadable;
    }

    pub(crate) fn count(&mut self, domain: Domain, verdict: Verdict) {
        *self.counts.entry((domain, verdict)).or_default() += 1;
    }

    pub(in crate::vault) const fn count_unreadable(&mut self) {
        self.unreadable += 1;
    }
}

/// A purge tried dry: goes over every token and writes nothing. It judges by one moment, that of
/// its beginning.
#[derive(Clone, Debug)]
pub struct Survey {
    pub(crate) retention: Retention,
    pub(crate) as_of: AsOf,
    pub(crate) with_ledger: bool,
    pub(crate) after: Option<RowKey>,
    pub(crate) seen: u64,
    done: bool,
    tally: PurgeTally,
    witnessed: bool,
    newest: Option<UnixSeconds>,
}

impl Survey {
    pub(in crate::vault) const fn new(
        retention: Retention,
        as_of: AsOf,
        with_ledger: bool,
    ) -> Self {
        Self {
            retention,
            as_of,
            with_ledger,
            after: None,
            seen: 0,
            done: false,
            tally: PurgeTally {
                counts: BTreeMap::new(),
                unreadable: 0,
            },
            witnessed: false,
            newest: None,
        }
    }

    /// The moment that it judges by, and the purge after it.
    #[must_use]
    pub const fn as_of(&self) -> UnixSeconds {
        self.as_of.time
    }

    /// How many rows it has looked at.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// What would go and what would stay, as far as it has come.
    #[must_use]
    pub const fn tally(&self) -> &PurgeTally {
        &self.tally
    }

    /// Whether it has come to its end.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Leave to purge what would go.
    ///
    /// A clock that jumped ahead would let everything go. So the vault itself has to speak for the
    /// day: some token must have been made between one and two times the policy's clock days
    /// before. A clock that jumped by more than twice those days within the last of them finds
    /// none, also if tokens were made since it jumped. Where none was made for another reason,
    /// `confirmed` says which day it is, in UTC: a person's word in place of the vault's.
    ///
    /// # Errors
    /// [`RetentionError::Unfinished`], [`RetentionError::Clock`], [`RetentionError::OtherDay`].
    pub fn approve(self, confirmed: Option<Date>) -> Result<ApprovedPurge, RetentionError> {
        if !self.done {
            return Err(RetentionError::Unfinished);
        }
        let shows = Date::of(self.as_of.time, 0).ok_or(RetentionError::NoDay)?;
        match confirmed {
            Some(day) if day != shows => return Err(RetentionError::OtherDay { shows }),
            None if !self.witnessed && self.tally.going() > 0 => {
                let newest = self.newest.and_then(|time| Date::of(time, 0));
                return Err(RetentionError::Clock { shows, newest });
            }
            _ => {}
        }
        Ok(ApprovedPurge {
            retention: self.retention,
            as_of: self.as_of,
            with_ledger: self.with_ledger,
        })
    }

    /// Takes in one step.
    pub(crate) fn take(&mut self, seen: u64, tally: &PurgeTally, cursor: Option<RowKey>) {
        self.seen += seen;
        self.tally.add(tally);
        self.after = cursor;
        self.done = cursor.is_none();
    }

    /// Takes in when a token was made.
    pub(in crate::vault) fn witness(&mut self, created: UnixSeconds) {
        let now = self.as_of.time.0;
        let span = u64::from(self.retention.clock_days) * UnixSeconds::DAY;
        if created.0 <= now {
            self.newest = self.newest.max(Some(created));
        }
        let age = now.checked_sub(created.0);
        self.witnessed |= age.is_some_and(|age| (span..=2 * span).contains(&age));
    }
}

/// The proof that a survey came to its end and that the clock is believed: what a purge judges by.
/// Nothing but [`Survey::approve`] makes one.
#[derive(Clone, Debug)]
pub struct ApprovedPurge {
    pub(crate) retention: Retention,
    pub(crate) as_of: AsOf,
    pub(crate) with_ledger: bool,
}

impl ApprovedPurge {
    /// The moment that it judges by.
    #[must_use]
    pub const fn as_of(&self) -> UnixSeconds {
        self.as_of.time
    }
}

/// What one step of a purge did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// How many rows were looked at.
    pub seen: u64,
    /// What went, and what stayed and why.
    pub tally: PurgeTally,
    /// Where the next step goes on; none at the end.
    pub cursor: Option<RowKey>,
}

impl Purged {
    /// What an event says of it.
    pub(crate) fn told(&self) -> [(&'static str, u64); 3] {
        let (gone, changed) = (self.tally.going(), self.tally.of(Verdict::Changed));
        [("seen", self.seen), ("changed", gone), ("left", changed)]
    }
}
