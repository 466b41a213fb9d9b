//! How long card records are kept: a rule for each domain, legal holds, and the verdict on a token.
#![forbid(unsafe_code)]

#[cfg(feature = "policy")]
mod file;
mod survey;

#[cfg(feature = "policy")]
pub use file::{RetentionFault, RetentionFileError};
pub use survey::{ApprovedPurge, PurgeTally, Purged, Survey};

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::keys::Domain;
use crate::payment::Date;
use crate::time::UnixSeconds;
use crate::token::Token;

/// The longest time that a rule names, in days: a hundred years.
pub const RETENTION_DAYS_MAX: u32 = 36_525;
/// For how many days a payment counts as refundable unless the rule says another: the longest
/// window of the presets in [`crate::refund::Policy`].
pub const DEFAULT_REFUND_DAYS: u32 = 365;
/// How far a clock may have jumped unnoticed, in days, unless the policy says another: see
/// [`Survey::approve`].
pub const DEFAULT_CLOCK_DAYS: u32 = 14;

/// Where a day ends last: twelve hours behind UTC.
const LAST_CLOCK_MINUTES: i16 = -12 * 60;

/// When the tokens of a domain go. A token goes once one of these is over; with none of them it
/// is kept for ever.
///
/// Purged through a ledger, no token goes whose payments are open, disputed or refundable,
/// whichever of these is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepRule {
    /// Days after the token was made, at least 1.
    pub age_days: Option<u32>,
    /// Days after the token expired.
    pub expired_days: Option<u32>,
    /// Days after the settlement of the token's newest payment, at least 1; of a token without a
    /// payment after it was made. Needs a ledger.
    pub settled_days: Option<u32>,
    /// For how many days after a payment the ledger counts it as refundable.
    pub refund_days: u32,
}

impl KeepRule {
    /// Nothing goes.
    pub const FOREVER: Self = Self {
        age_days: None,
        expired_days: None,
        settled_days: None,
        refund_days: DEFAULT_REFUND_DAYS,
    };

    /// Whether nothing goes by it.
    #[must_use]
    pub const fn is_forever(&self) -> bool {
        self.age_days.is_none() && self.expired_days.is_none() && self.settled_days.is_none()
    }

    fn check(&self) -> Result<(), RetentionError> {
        let from = |least: u32, days: Option<u32>| {
            days.is_none_or(|days| (least..=RETENTION_DAYS_MAX).contains(&days))
        };
        let good = from(1, self.age_days)
            && from(0, self.expired_days)
            && from(1, self.settled_days)
            && self.refund_days <= RETENTION_DAYS_MAX;
        if good {
            Ok(())
        } else {
            Err(RetentionError::Days)
        }
    }

    /// The verdict by what stands in a token's own row.
    pub(super) fn verdict(
        &self,
        as_of: AsOf,
        created: UnixSeconds,
        expires: Option<UnixSeconds>,
    ) -> Verdict {
        let over = |since: UnixSeconds, days: u32| {
            let end = since.0.checked_add(u64::from(days) * UnixSeconds::DAY);
            end.is_some_and(|end| end <= as_of.time.0)
        };
        if self.age_days.is_some_and(|days| over(created, days)) {
            Verdict::Age
        } else if let (Some(days), Some(expires)) = (self.expired_days, expires)
            && over(expires, days)
        {
            Verdict::Expired
        } else if self.is_settled(as_of, created.0 / UnixSeconds::DAY) {
            Verdict::Settled
        } else {
            Verdict::NotDue
        }
    }

    /// Whether what was settled on `last`, a day since 1970, has been kept long enough.
    pub(crate) fn is_settled(&self, as_of: AsOf, last: u64) -> bool {
        self.settled_days.is_some_and(|days| {
            u64::from(as_of.today.days()) > last.saturating_add(u64::from(days))
        })
    }
}

/// A moment, and the day that it is in the last place on earth: nothing goes before its day is over
/// everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AsOf {
    pub(crate) time: UnixSeconds,
    pub(crate) today: Date,
}

impl AsOf {
    pub(super) fn new(time: UnixSeconds) -> Result<Self, RetentionError> {
        let today = Date::of(time, LAST_CLOCK_MINUTES).ok_or(RetentionError::NoDay)?;
        Ok(Self { time, today })
    }
}

/// What is kept for how long: a rule for all domains, others for some, and what a hold keeps
/// whatever the rules say.
///
/// ```
/// use cardvault::vault::{KeepRule, Retention};
///
/// let mut retention = Retention::new(KeepRule {
///     settled_days: Some(180),
///     ..KeepRule::FOREVER
/// })?;
/// retention.set("archive".parse().unwrap(), KeepRule::FOREVER)?;
/// retention.hold("shop-7".parse().unwrap(), None);
/// # Ok::<(), cardvault::vault::RetentionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    default: KeepRule,
    domains: BTreeMap<Domain, KeepRule>,
    held: BTreeSet<(Domain, Option<Token>)>,
    clock_days: u32,
}

impl Retention {
    /// One rule for all domains.
    ///
    /// # Errors
    /// [`RetentionError::Days`].
    pub fn new(default: KeepRule) -> Result<Self, RetentionError> {
        default.check()?;
        Ok(Self {
            default,
            domains: BTreeMap::new(),
            held: BTreeSet::new(),
            clock_days: DEFAULT_CLOCK_DAYS,
        })
    }

    /// Another rule for one domain.
    ///
    /// # Errors
    /// [`RetentionError::Days`].
    pub fn set(&mut self, domain: Domain, rule: KeepRule) -> Result<(), RetentionError> {
        rule.check()?;
        self.domains.insert(domain, rule);
        Ok(())
    }

    /// Keeps one token, or with none given all of the domain's, whatever the rules say: a legal
    /// hold.
    pub fn hold(&mut self, domain: Domain, token: Option<Token>) {
        self.held.insert((domain, token));
    }

    /// How far a clock may have jumped unnoticed, in days, 1 to [`RETENTION_DAYS_MAX`]: see
    /// [`Survey::approve`].
    ///
    /// # Errors
    /// [`RetentionError::Days`].
    pub fn set_clock_days(&mut self, days: u32) -> Result<(), RetentionError> {
        if !(1..=RETENTION_DAYS_MAX).contains(&days) {
            return Err(RetentionError::Days);
        }
        self.clock_days = days;
        Ok(())
    }

    /// The rule of a domain.
    #[must_use]
    pub fn rule(&self, domain: &Domain) -> &KeepRule {
        self.domains.get(domain).unwrap_or(&self.default)
    }

    /// Whether a token is held.
    #[must_use]
    pub fn is_held(&self, domain: &Domain, token: &Token) -> bool {
        self.held.contains(&(*domain, None)) || self.held.contains(&(*domain, Some(*token)))
    }

    /// Whether a rule asks for settlement dates.
    #[must_use]
    pub fn needs_ledger(&self) -> bool {
        let rules = self.domains.values().chain([&self.default]);
        { rules }.any(|rule| rule.settled_days.is_some())
    }
}

/// What becomes of a token, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Goes: it was made long enough ago.
    Age,
    /// Goes: it expired long enough ago.
    Expired,
    /// Goes: its newest payment was settled long enough ago.
    Settled,
    /// Stays: no time is over.
    NotDue,
    /// Stays: it is held.
    Held,
    /// Stays: a payment of it is in doubt, only held, not settled, or has a request without an
    /// outcome.
    Open,
    /// Stays: a payment of it is disputed.
    Disputed,
    /// Stays: a payment of it can still be refunded.
    Refundable,
    /// Stays: its row, or one of its payments', is not what was written there. To be looked into.
    Unclear,
    /// Stays: it, or its payments, changed while the purge ran.
    Changed,
}

impl Verdict {
    /// Every verdict, those by which a token goes first.
    pub const ALL: [Self; 10] = [
        Self::Age,
        Self::Expired,
        Self::Settled,
        Self::NotDue,
        Self::Held,
        Self::Open,
        Self::Disputed,
        Self::Refundable,
        Self::Unclear,
        Self::Changed,
    ];

    /// Whether the token goes.
    #[must_use]
    pub const fn goes(self) -> bool {
        matches!(self, Self::Age | Self::Expired | Self::Settled)
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Expired => "expired",
            Self::Settled => "settled",
            Self::NotDue => "not due",
            Self::Held => "held",
            Self::Open => "open payment",
            Self::Disputed => "disputed payment",
            Self::Refundable => "refundable payment",
            Self::Unclear => "unclear",
            Self::Changed => "changed meanwhile",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a retention policy was refused, or a purge under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionError {
    /// A number of days is zero where that means at once, or above [`RETENTION_DAYS_MAX`].
    Days,
    /// The clock stands at no day of the calendar.
    NoDay,
    /// The survey has not come to its end.
    Unfinished,
    /// Nothing that the vault holds speaks for the day that the clock shows: no token was made in
    /// the days before it that the policy names. To go on, confirm that day.
    Clock {
        /// The day that the clock shows, in UTC.
        shows: Date,
        /// The newest day before it on which a token was made, if any.
        newest: Option<Date>,
    },
    /// The day that was confirmed is not the one that the clock shows.
    OtherDay {
        /// The day that the clock shows, in UTC.
        shows: Date,
    },
    /// The clock stands before the moment that the purge is to judge by.
    ClockBack,
    /// The policy asks for settlement dates: purge through the ledger.
    NeedsLedger,
    /// The store holds a ledger, whose payments must have their say: purge through the ledger.
    LedgerThere,
}

impl fmt::Display for RetentionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days => write!(
                f,
                "days must be 1 to {RETENTION_DAYS_MAX}, after an expiry also 0"
            ),
            Self::NoDay => f.write_str("the clock stands at no day of the calendar"),
            Self::Unfinished => f.write_str("the survey has not come to its end"),
            Self::Clock { shows, newest } => {
                write!(f, "the clock shows {shows}, and no token speaks for that: ")?;
                match newest {
                    Some(newest) => write!(f, "the newest was made on {newest}"),
                    None => f.write_str("none was made before it"),
                }
            }
            Self::OtherDay { shows } => {
                write!(f, "the clock shows {shows}, another day than the confirmed")
            }
            Self::ClockBack => {
                f.write_str("the clock stands before the moment that the purge judges by")
            }
            Self::NeedsLedger => {
                f.write_str("the policy asks for settlement dates: purge through the ledger")
            }
            Self::LedgerThere => {
                f.write_str("the store holds a ledger: purge through it, so that payments count")
            }
        }
    }
}

impl core::error::Error for RetentionError {}
