//! Times and days as they are written in files and arguments.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use cardvault::UnixSeconds;
use cardvault::payment::Date;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The widest offset of a clock from UTC, in hours.
const OFFSET_MAX: i16 = 14;

/// How a merchant's clock stands: minutes ahead of UTC. Written `+08:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock(pub(crate) i16);

impl Clock {
    pub(crate) const UTC: Self = Self(0);

    /// The day on this clock.
    pub(crate) fn date(self, time: UnixSeconds) -> Option<Date> {
        Date::of(time, self.0)
    }

    /// When the day begins on this clock.
    pub(crate) fn midnight(self, date: Date) -> UnixSeconds {
        let local = u64::from(date.days()) * DAY;
        UnixSeconds(local.saturating_add_signed(-i64::from(self.0) * 60))
    }

    /// `2026-11-22 10:15:00` on this clock.
    pub(crate) fn show(self, time: UnixSeconds) -> String {
        match self.date(time) {
            Some(date) => {
                let [hour, minute, second] = time_of_day(self.local(time));
                format!("{date} {hour:02}:{minute:02}:{second:02}")
            }
            None => "-".to_owned(),
        }
    }

    fn local(self, time: UnixSeconds) -> u64 {
        time.0.saturating_add_signed(i64::from(self.0) * 60)
    }
}

/// `2026-11-22T02:15:00Z`, for programs.
pub(crate) fn utc(time: UnixSeconds) -> String {
    match Clock::UTC.show(time).split_once(' ') {
        Some((date, time)) => format!("{date}T{time}Z"),
        None => "-".to_owned(),
    }
}

fn time_of_day(seconds: u64) -> [u64; 3] {
    [
        seconds % DAY / HOUR,
        seconds % HOUR / MINUTE,
        seconds % MINUTE,
    ]
}

impl FromStr for Clock {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = "an offset from UTC of up to 14 hours, such as +08:00";
        if text == "Z" {
            return Ok(Self::UTC);
        }
        let (sign, rest) = match text.as_bytes() {
            [b'+', rest @ ..] => (1, rest),
            [b'-', rest @ ..] => (-1, rest),
            _ => return Err(known),
        };
        let &[h1, h2, b':', m1, m2] = rest else {
            return Err(known);
        };
        let (hours, minutes) = (two(h1, h2).ok_or(known)?, two(m1, m2).ok_or(known)?);
        if hours > OFFSET_MAX || minutes > 59 {
            return Err(known);
        }
        Ok(Self(sign * (hours * 60 + minutes)))
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// A point in time, on the merchant's clock unless it names another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    date: Date,
    second_of_day: u64,
    clock: Option<Clock>,
}

impl Moment {
    pub(crate) fn on(self, clock: Clock) -> UnixSeconds {
        let midnight = self.clock.unwrap_or(clock).midnight(self.date);
        midnight.plus(self.second_of_day)
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    /// A day, or a day and a time behind `T` or a blank, and then perhaps the clock.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = "a time such as 2026-11-22T10:15:00+08:00, 2026-11-22 10:15:00 or 2026-11-22";
        let Some((day, rest)) = text.split_once(['T', ' ']) else {
            return Ok(Self {
                date: day(text).map_err(|_| known)?,
                second_of_day: 0,
                clock: None,
            });
        };
        let (time, clock) = rest.split_at_checked(8).ok_or(known)?;
        let &[h1, h2, b':', m1, m2, b':', s1, s2] = time.as_bytes() else {
            return Err(known);
        };
        let part = |high, low, end: i16| {
            let value = two(high, low).filter(|value| *value < end);
            value
                .and_then(|value| u64::try_from(value).ok())
                .ok_or(known)
        };
        let (hour, minute, second) = (part(h1, h2, 24)?, part(m1, m2, 60)?, part(s1, s2, 60)?);
        Ok(Self {
            date: self::day(day).map_err(|_| known)?,
            second_of_day: hour * HOUR + minute * MINUTE + second,
            clock: match clock {
                "" => None,
                clock => Some(clock.parse().map_err(|_| known)?),
            },
        })
    }
}

/// A day: `2026-11-22` or `20261122`.
pub(crate) fn day(text: &str) -> Result<Date, &'static str> {
    let known = "a day such as 2026-11-22 or 20261122";
    let digits = match *text.as_bytes() {
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] => [y1, y2, y3, y4, m1, m2, d1, d2],
        [y1, y2, y3, y4, m1, m2, d1, d2] => [y1, y2, y3, y4, m1, m2, d1, d2],
        _ => return Err(known),
    };
    Date::parse(&digits).map_err(|_| known)
}

fn two(high: u8, low: u8) -> Option<i16> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i16::from(byte - b'0'));
    Some(10 * digit(high)? + digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_there_and_back() {
        let china: Clock = "+08:00".parse().unwrap();
        let at = |text: &str| text.parse::<Moment>().unwrap().on(china);
        assert_eq!(at("2027-01-15T16:00:00+08:00"), UnixSeconds(1_800_000_000));
        assert_eq!(at("2027-01-15T08:00:00Z"), UnixSeconds(1_800_000_000));
        assert_eq!(at("2027-01-15 16:00:00"), UnixSeconds(1_800_000_000));
        assert_eq!(at("20270115"), UnixSeconds(1_800_000_000 - 16 * HOUR));
        assert_eq!(at("2027-01-15T01:30:00-06:30"), at("2027-01-15T08:00:00Z"));
        assert_eq!(
            china.show(UnixSeconds(1_800_000_000)),
            "2027-01-15 16:00:00"
        );
        assert_eq!(utc(UnixSeconds(1_800_000_000)), "2027-01-15T08:00:00Z");
        assert_eq!(utc(UnixSeconds(u64::MAX)), "-");
        assert_eq!(
            (china.to_string(), Clock(-90).to_string()),
            ("+08:00".into(), "-01:30".into())
        );
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "2026",
            "2026-02-29",
            "2026-1-1",
            "2026-11-22T",
            "2026-11-22T24:00:00",
            "2026-11-22T10:15",
            "2026-11-22T10:15:00+8",
            "2026-11-22T10:15:00+15:00",
            "2026-11-22  10:15:00",
            "22.11.2026",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
