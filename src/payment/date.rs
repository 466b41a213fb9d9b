//! Calendar days, with and without a year.
//!
//! Receipts and messages name days as `MMDD`. Such a day means a date only against a known one,
//! across 31 December and, for 29 February, across up to eight years.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

use super::error::{self, Field, FieldError};
use crate::time::UnixSeconds;

/// Digits of `YYYYMMDD`.
pub const CLEARING_DATE_DIGITS: usize = 8;
/// Digits of `MMDD`.
pub const MONTH_DAY_DIGITS: usize = 4;
/// The first year of a [`Date`].
pub const DATE_MIN_YEAR: u16 = 1970;
/// The last year of a [`Date`].
pub const DATE_MAX_YEAR: u16 = 9999;

const SECONDS_A_DAY: u64 = 86_400;

/// A day of the Gregorian calendar, 1970 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day; `None` if the calendar has none such.
    #[must_use]
    pub const fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        if year < DATE_MIN_YEAR || year > DATE_MAX_YEAR {
            return None;
        }
        if day < 1 || day > days_in(month, is_leap(year)) {
            return None;
        }
        Some(Self { year, month, day })
    }

    /// Reads `YYYYMMDD`.
    ///
    /// # Errors
    /// [`FieldError`] if these are not eight digits or no day.
    pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
        if text.len() != CLEARING_DATE_DIGITS {
            return Err(FieldError::length(Field::Date, text.len()));
        }
        let number = error::digits(Field::Date, 0, text)?;
        Self::from_number(number).ok_or(FieldError::range(Field::Date, 0))
    }

    /// The day of `time` where clocks are `offset_minutes` ahead of UTC (480 in China); `None`
    /// before 1970 and after 9999.
    #[must_use]
    pub fn of(time: UnixSeconds, offset_minutes: i16) -> Option<Self> {
        let local = time.0.checked_add_signed(i64::from(offset_minutes) * 60)?;
        Self::from_days(u32::try_from(local / SECONDS_A_DAY).ok()?)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn days(self) -> u32 {
        let mut days = first_day(self.year as u32) + self.day as u32 - 1;
        let mut month = 1;
        while month < self.month {
            days += days_in(month, is_leap(self.year)) as u32;
            month += 1;
        }
        days
    }

    /// The day so many days after 1970-01-01; `None` after 9999.
    #[must_use]
    pub const fn from_days(days: u32) -> Option<Self> {
        // At most a year too late by the leap days, never too early.
        let guess = DATE_MIN_YEAR as u32 + days / 365;
        if guess > DATE_MAX_YEAR as u32 + 8 {
            return None;
        }
        let mut year = guess;
        while first_day(year) > days {
            year -= 1;
        }
        let mut day = days - first_day(year);
        let leap = is_leap_u32(year);
        let mut month = 1;
        while month < 12 && day >= days_in(month, leap) as u32 {
            day -= days_in(month, leap) as u32;
            month += 1;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a year below 10008 and a day of a month"
        )]
        Self::new(year as u16, month, day as u8 + 1)
    }

    /// The day `days` later; `None` after 9999.
    #[must_use]
    pub const fn plus_days(self, days: u32) -> Option<Self> {
        match self.days().checked_add(days) {
            Some(days) => Self::from_days(days),
            None => None,
        }
    }

    /// Days from `earlier` to this day; `None` if `earlier` is later.
    #[must_use]
    pub const fn days_since(self, earlier: Self) -> Option<u32> {
        self.days().checked_sub(earlier.days())
    }

    /// The year.
    #[must_use]
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// The day without its year.
    #[must_use]
    pub const fn month_day(self) -> MonthDay {
        MonthDay {
            month: self.month,
            day: self.day,
        }
    }

    /// `YYYYMMDD` as one number.
    pub(super) fn number(self) -> u32 {
        u32::from(self.year) * 10_000 + u32::from(self.month) * 100 + u32::from(self.day)
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        let year = u16::try_from(number / 10_000).ok()?;
        let month = u8::try_from(number / 100 % 100).ok()?;
        let day = u8::try_from(number % 100).ok()?;
        Self::new(year, month, day)
    }
}

impl fmt::Display for Date {
    /// `2026-12-31`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The day on which the centre clears a payment: set by the centre, not by a clock, and not the
/// same as the calendar day of the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClearingDate(pub Date);

impl ClearingDate {
    /// Reads `YYYYMMDD`.
    ///
    /// # Errors
    /// [`FieldError`] if these are not eight digits or no day.
    pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
        Date::parse(text).map(Self)
    }

    /// The eight digits `YYYYMMDD`.
    #[must_use]
    pub fn to_digits(self) -> [u8; CLEARING_DATE_DIGITS] {
        error::to_digits(u64::from(self.0.number()))
    }
}

impl fmt::Display for ClearingDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ClearingDate {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        Self::parse(text.as_bytes())
    }
}

/// A day without a year, `MMDD` as on receipts and in fields 13, 15 and 61. May be 29 February.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MonthDay {
    month: u8,
    day: u8,
}

impl MonthDay {
    /// `month` 1 to 12, `day` 1 to the month's last; `None` for others.
    #[must_use]
    pub const fn new(month: u8, day: u8) -> Option<Self> {
        if day < 1 || day > days_in(month, true) {
            return None;
        }
        Some(Self { month, day })
    }

    /// Reads `MMDD`.
    ///
    /// # Errors
    /// [`FieldError`] if these are not four digits or no day of any year.
    pub fn parse(text: &[u8]) -> Result<Self, FieldError> {
        if text.len() != MONTH_DAY_DIGITS {
            return Err(FieldError::length(Field::MonthDay, text.len()));
        }
        let number = error::digits(Field::MonthDay, 0, text)?;
        let month = u8::try_from(number / 100).unwrap_or(0);
        let day = u8::try_from(number % 100).unwrap_or(0);
        if days_in(month, true) == 0 {
            return Err(FieldError::range(Field::MonthDay, 0));
        }
        Self::new(month, day).ok_or(FieldError::range(Field::MonthDay, 2))
    }

    /// The four digits `MMDD`.
    #[must_use]
    pub fn to_digits(self) -> [u8; MONTH_DAY_DIGITS] {
        error::to_digits(u64::from(self.month) * 100 + u64::from(self.day))
    }

    /// The month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// The latest date with this month and day that is not after `reference`: the date of an
    /// original, seen from today. `None` only before 1970.
    ///
    /// Read on 2 January, `1231` is in the year before; 29 February is in the last leap year.
    #[must_use]
    pub const fn on_or_before(self, reference: Date) -> Option<Date> {
        let mut year = reference.year;
        while year >= DATE_MIN_YEAR {
            if let Some(date) = self.in_year(year)
                && date.days() <= reference.days()
            {
                return Some(date);
            }
            year -= 1;
        }
        None
    }

    /// The earliest date with this month and day that is not before `reference`. `None` only
    /// after 9999.
    #[must_use]
    pub const fn on_or_after(self, reference: Date) -> Option<Date> {
        let mut year = reference.year;
        while year <= DATE_MAX_YEAR {
            if let Some(date) = self.in_year(year)
                && date.days() >= reference.days()
            {
                return Some(date);
            }
            year += 1;
        }
        None
    }

    /// The date with this month and day that is closest to `reference`, the earlier of two: the
    /// clearing date of an answer, which may be tomorrow and so in the next year.
    #[must_use]
    pub const fn nearest(self, reference: Date) -> Option<Date> {
        match (self.on_or_before(reference), self.on_or_after(reference)) {
            (Some(before), Some(after)) => {
                if after.days() - reference.days() < reference.days() - before.days() {
                    Some(after)
                } else {
                    Some(before)
                }
            }
            (Some(only), None) | (None, Some(only)) => Some(only),
            (None, None) => None,
        }
    }

    const fn in_year(self, year: u16) -> Option<Date> {
        Date::new(year, self.month, self.day)
    }
}

impl fmt::Display for MonthDay {
    /// `12-31`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

impl fmt::Debug for MonthDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Days from 0001-01-01 to 1970-01-01.
const DAYS_BEFORE_1970: u32 = 719_162;

const fn is_leap(year: u16) -> bool {
    is_leap_u32(year as u32)
}

const fn is_leap_u32(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days of a month, 0 if there is no such month.
const fn days_in(month: u8, leap: bool) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

/// Days from 1970-01-01 to the first day of `year`, which is 1970 or later.
const fn first_day(year: u32) -> u32 {
    let before = year - 1;
    before * 365 + before / 4 - before / 100 + before / 400 - DAYS_BEFORE_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::parse(text.replace('-', "").as_bytes()).unwrap()
    }

    fn month_day(text: &str) -> MonthDay {
        MonthDay::parse(text.as_bytes()).unwrap()
    }

    /// Every day of the calendar, counted one by one.
    #[test]
    fn days_count_up_one_by_one() {
        let mut number = 0;
        for year in DATE_MIN_YEAR..=DATE_MAX_YEAR {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let feb = if leap { 29 } else { 28 };
            let months = [31, feb, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, last) in (1..).zip(months) {
                for day in 1..=last {
                    let date = Date::new(year, month, day).unwrap();
                    assert_eq!(date.days(), number, "{date}");
                    assert_eq!(Date::from_days(number), Some(date));
                    number += 1;
                }
                assert_eq!(Date::new(year, month, last + 1), None);
            }
        }
        assert_eq!(Date::from_days(number), None);
        assert_eq!(Date::from_days(u32::MAX), None);
        assert_eq!(Date::new(2026, 0, 1), None);
        assert_eq!(Date::new(2026, 13, 1), None);
        assert_eq!(Date::new(2026, 1, 0), None);
        assert_eq!(Date::new(1969, 12, 31), None);
    }

    #[test]
    fn days_of_times() {
        // 2026-12-31T16:00:00Z is midnight of the new year in China.
        let time = UnixSeconds(u64::from(date("2026-12-31").days()) * 86_400 + 16 * 3600);
        assert_eq!(Date::of(time, 480), Some(date("2027-01-01")));
        assert_eq!(
            Date::of(UnixSeconds(time.0 - 1), 480),
            Some(date("2026-12-31"))
        );
        assert_eq!(Date::of(time, 0), Some(date("2026-12-31")));
        assert_eq!(Date::of(UnixSeconds(0), -1), None);
        assert_eq!(Date::of(UnixSeconds(u64::MAX), 0), None);
        assert_eq!(Date::of(UnixSeconds(u64::MAX), 480), None);
        assert_eq!(
            Date::of(UnixSeconds(951_782_400), 0),
            Some(date("2000-02-29"))
        );
    }

    #[test]
    fn spans() {
        assert_eq!(date("2026-12-31").plus_days(1), Some(date("2027-01-01")));
        assert_eq!(date("2028-02-28").plus_days(1), Some(date("2028-02-29")));
        assert_eq!(date("2027-02-28").plus_days(1), Some(date("2027-03-01")));
        assert_eq!(date("2028-02-29").plus_days(365), Some(date("2029-02-28")));
        assert_eq!(date("2027-01-01").days_since(date("2026-12-31")), Some(1));
        assert_eq!(date("2026-12-31").days_since(date("2027-01-01")), None);
        assert_eq!(date("9999-12-31").plus_days(1), None);
        assert_eq!(date("9999-12-31").plus_days(u32::MAX), None);
    }

    #[test]
    fn a_day_without_a_year_is_in_the_past() {
        for (day, today, expected) in [
            ("1231", "2027-01-02", "2026-12-31"),
            ("1231", "2026-12-31", "2026-12-31"),
            ("1231", "2026-12-30", "2025-12-31"),
            ("0101", "2027-01-01", "2027-01-01"),
            ("0229", "2028-02-29", "2028-02-29"),
            ("0229", "2028-02-28", "2024-02-29"),
            ("0229", "2029-01-31", "2028-02-29"),
            ("0229", "2027-12-31", "2024-02-29"),
            ("0229", "2103-03-01", "2096-02-29"),
        ] {
            let found = month_day(day).on_or_before(date(today));
            assert_eq!(found, Some(date(expected)), "{day} seen from {today}");
        }
        assert_eq!(month_day("0229").on_or_before(date("1970-12-31")), None);
    }

    #[test]
    fn a_day_without_a_year_is_near() {
        for (day, today, expected) in [
            ("0101", "2026-12-31", "2027-01-01"),
            ("1231", "2027-01-01", "2026-12-31"),
            ("0229", "2028-03-01", "2028-02-29"),
            ("0229", "2028-02-28", "2028-02-29"),
            ("0301", "2027-02-28", "2027-03-01"),
            ("0702", "2026-12-31", "2026-07-02"),
        ] {
            let found = month_day(day).nearest(date(today));
            assert_eq!(found, Some(date(expected)), "{day} seen from {today}");
        }
        assert_eq!(
            month_day("0101").nearest(date("9999-12-31")),
            Some(date("9999-01-01"))
        );
    }

    /// Both searches against a walk from day to day.
    #[test]
    fn resolving_agrees_with_walking() {
        let start = date("2095-12-01").days();
        for today in (start..start + 800).filter_map(Date::from_days) {
            for day in ["0101", "0228", "0229", "0301", "1230", "1231"].map(month_day) {
                let is_it = |date: &Date| date.month_day() == day;
                let back = (0..=today.days())
                    .rev()
                    .filter_map(Date::from_days)
                    .find(is_it);
                assert_eq!(day.on_or_before(today), back);
                let ahead = (today.days()..).map_while(Date::from_days).find(is_it);
                assert_eq!(day.on_or_after(today), ahead);
            }
        }
    }

    #[test]
    fn texts() {
        use crate::payment::FieldProblem;
        assert_eq!(month_day("0229").to_digits(), *b"0229");
        assert_eq!(month_day("1231").to_string(), "12-31");
        let clearing: ClearingDate = "20261231".parse().unwrap();
        assert_eq!(clearing.to_digits(), *b"20261231");
        assert_eq!(clearing.to_string(), "2026-12-31");
        for (bad, problem) in [
            ("", FieldProblem::Length { found: 0 }),
            ("12310", FieldProblem::Length { found: 5 }),
            ("1a31", FieldProblem::Character { at: 1 }),
            ("0031", FieldProblem::Range { at: 0 }),
            ("1301", FieldProblem::Range { at: 0 }),
            ("0230", FieldProblem::Range { at: 2 }),
            ("1200", FieldProblem::Range { at: 2 }),
        ] {
            assert_eq!(
                MonthDay::parse(bad.as_bytes()).unwrap_err().problem,
                problem,
                "{bad}"
            );
        }
        for bad in [
            "20270229", "21000229", "19691231", "2026123", "2026-1-1", "20261301",
        ] {
            assert!(Date::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
