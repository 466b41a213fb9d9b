//! Keys of a ring as a table and as JSON: how old they are, and when something is due.
#![forbid(unsafe_code)]

use cardvault::UnixSeconds;
use cardvault::keys::{Due, DueAction, KeyInfo, KeyRing, KeyState};
use serde_json::{Value, json};

use crate::desk::moment::{Clock, utc};
use crate::table::{Cell, Look, Side, Table, Tone, thousands};

/// What is due within so many days is pointed out.
pub(crate) const SOON_DAYS: u64 = 30;

/// Every version in a line, and what is due below.
pub(crate) fn table(ring: &KeyRing, now: UnixSeconds, look: Look) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(
        [Left, Left, Left, Right, Right, Left, Right, Left],
        // The days that are left say more than the dates.
        &[7, 5, 3, 2],
    );
    table.heads([
        "KEY", "STATE", "CHECK", "AGE", "SEALS", "UNTIL", "OPENS", "UNTIL",
    ]);
    for info in ring.versions() {
        let seals = info.not_after().filter(|_| info.state.may_seal());
        let opens = info.opens_until().filter(|_| info.may_open());
        let age = info.activated.filter(|_| info.may_open());
        let age = age.map(|at| days_of(days_between(at, now)));
        table.row([
            Cell::plain(info.name.to_string()),
            Cell::new(info.state.to_string(), tone(info.state)),
            Cell::plain(info.check_value.to_string()),
            Cell::plain(age.unwrap_or("-".to_owned())),
            left(seals, now),
            Cell::plain(date(seals)),
            left(opens, now),
            Cell::plain(date(opens)),
        ]);
    }
    let due = due(ring, now);
    let mut text = table.show(look);
    if !due.is_empty() {
        text.push('\n');
    }
    text + &due_lines(&due, now, look)
}

/// What is due, or will be soon.
pub(crate) fn due(ring: &KeyRing, now: UnixSeconds) -> Vec<Due> {
    ring.due(now, SOON_DAYS * UnixSeconds::DAY).collect()
}

/// A line for each.
pub(crate) fn due_lines(due: &[Due], now: UnixSeconds, look: Look) -> String {
    let mut table = Table::new([Side::Left, Side::Left, Side::Right, Side::Left], &[]);
    for due in due {
        table.row([
            Cell::plain(format!("due {}", due.name)),
            Cell::plain(date(Some(due.at))),
            left(Some(due.at), now),
            Cell::plain(action(due)),
        ]);
    }
    table.show(look)
}

/// What is to be done.
pub(crate) fn action(due: &Due) -> &'static str {
    match due.action {
        DueAction::Replace => "add and activate a new version",
        DueAction::Destroy => "rewrap, then destroy",
        _ => "see the manual",
    }
}

/// The ring and all its versions. Days are whole ones, negative once the time is over.
pub(crate) fn json(ring: &KeyRing, now: UnixSeconds) -> Value {
    json!({
        "ring": ring.id().to_string(),
        "mark": ring.mark().as_str(),
        "generation": ring.generation(),
        "keys": ring.versions().map(|info| key_json(info, now)).collect::<Vec<_>>(),
        "due": due(ring, now).iter().map(|due| due_json(due, now)).collect::<Vec<_>>(),
    })
}

fn key_json(info: &KeyInfo, now: UnixSeconds) -> Value {
    let seals = info.not_after().filter(|_| info.state.may_seal());
    let opens = info.opens_until().filter(|_| info.may_open());
    json!({
        "key": info.name.to_string(),
        "state": info.state.as_str(),
        "check_value": info.check_value.to_string(),
        "created": utc(info.created),
        "activated": info.activated.map(utc),
        "retired": info.retired.map(utc),
        "destroyed": info.destroyed.map(utc),
        "seals_until": info.not_after().map(utc),
        "opens_until": info.opens_until().map(utc),
        "age_days": info.activated.map(|at| days_between(at, now)),
        "seals_for_days": seals.map(|at| days_between(now, at)),
        "opens_for_days": opens.map(|at| days_between(now, at)),
    })
}

pub(crate) fn due_json(due: &Due, now: UnixSeconds) -> Value {
    json!({
        "key": due.name.to_string(),
        "at": utc(due.at),
        "in_days": days_between(now, due.at),
        "action": action(due),
    })
}

pub(crate) const fn tone(state: KeyState) -> Tone {
    match state {
        KeyState::Active => Tone::Good,
        KeyState::Suspended => Tone::Soon,
        KeyState::Compromised => Tone::Bad,
        KeyState::Deactivated | KeyState::Destroyed => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// The day in UTC, such as 2026-01-31; a dash for none.
pub(crate) fn date(at: Option<UnixSeconds>) -> String {
    let day = at.and_then(|at| Clock::UTC.date(at));
    day.map_or("-".to_owned(), |day| day.to_string())
}

/// How long it is until then.
fn left(at: Option<UnixSeconds>, now: UnixSeconds) -> Cell {
    let Some(at) = at else {
        return Cell::plain("-");
    };
    let days = days_between(now, at);
    let tone = if at <= now {
        Tone::Bad
    } else if days <= i64::try_from(SOON_DAYS).unwrap_or(i64::MAX) {
        Tone::Soon
    } else {
        Tone::Plain
    };
    Cell::new(days_of(days), tone)
}

/// Whole days, rounded down: negative as soon as `to` is before `from`.
fn days_between(from: UnixSeconds, to: UnixSeconds) -> i64 {
    let days = (i128::from(to.0) - i128::from(from.0)).div_euclid(i128::from(UnixSeconds::DAY));
    i64::try_from(days).unwrap_or(i64::MAX)
}

fn days_of(days: i64) -> String {
    let sign = if days < 0 { "-" } else { "" };
    format!("{sign}{} d", thousands(days.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use cardvault::SystemRandom;
    use cardvault::keys::{Cryptoperiod, KeyUse, RingMark};

    use super::*;

    /// Midnight of 2027-01-15.
    const START: UnixSeconds = UnixSeconds(1_799_971_200);

    /// Two card keys and an index key, with check values as stars.
    fn shown(after: u64, look: Look) -> String {
        let mut ring = KeyRing::new(RingMark::Production, &mut SystemRandom).unwrap();
        let mut add = |usage, seal: u64, open: u64, at: UnixSeconds| {
            let period =
                Cryptoperiod::new(seal * UnixSeconds::DAY, open * UnixSeconds::DAY).unwrap();
            let name = ring.add(usage, period, at, &mut SystemRandom).unwrap();
            ring.activate(name, at).unwrap();
        };
        add(KeyUse::Card, 365, 1_460, START);
        add(KeyUse::Index, 730, 1_825, START);
        add(KeyUse::Card, 365, 1_460, START.plus(100 * UnixSeconds::DAY));
        let period = Cryptoperiod::default_of(KeyUse::Card);
        ring.add(KeyUse::Card, period, START, &mut SystemRandom)
            .unwrap();
        let mut text = table(&ring, START.plus(after * UnixSeconds::DAY), look);
        for info in ring.versions() {
            text = text.replace(&info.check_value.to_string(), "******");
        }
        text
    }

    const PLAIN: Look = Look {
        width: usize::MAX,
        rich: false,
    };

    #[test]
    fn keys_in_a_table() {
        assert_eq!(
            shown(120, PLAIN),
            include_str!("../../../tests/golden/keys.txt")
        );
        let narrow = |width| shown(120, Look { width, ..PLAIN });
        assert_eq!(narrow(78), shown(120, PLAIN));
        let first = |text: &str| {
            text.lines()
                .next()
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(first(&narrow(77)), "KEY STATE CHECK AGE SEALS UNTIL OPENS");
        assert_eq!(first(&narrow(38)), "KEY STATE SEALS OPENS");
    }

    #[test]
    fn what_is_due_is_told_in_time() {
        // The active card key seals for 100 + 365 days, the retired one opens for 1,460.
        assert!(!shown(434, PLAIN).contains("due"));
        let soon = shown(436, PLAIN);
        assert!(
            soon.contains("due card-2  2028-04-24  29 d  add and activate a new version"),
            "{soon}"
        );
        let over = shown(
            467,
            Look {
                rich: true,
                ..PLAIN
            },
        );
        assert!(over.contains("\x1b[31m-2 d\x1b[0m"), "{over}");
        assert!(
            shown(1_450, PLAIN).contains("due card-1   2031-01-14    10 d  rewrap, then destroy")
        );
    }

    #[test]
    fn days_are_whole_ones() {
        let at = |seconds| START.plus(seconds);
        assert_eq!(days_between(START, at(UnixSeconds::DAY - 1)), 0);
        assert_eq!(days_between(START, at(UnixSeconds::DAY)), 1);
        assert_eq!(days_between(at(1), START), -1);
        assert_eq!([0, -1, 1_234].map(days_of), ["0 d", "-1 d", "1,234 d"]);
    }
}
