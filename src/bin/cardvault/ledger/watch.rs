//! `ledger watch`: the library's watch over the ledger's payments, in the order of their time.
#![forbid(unsafe_code)]

use cardvault::ledger::watch::{Alert, Pattern, Seen, Subject, Watch};
use serde_json::json;

use super::args;
use crate::desk::Desk;
use crate::desk::grid::Grid;
use crate::desk::moment::utc;
use crate::desk::show::show_lines;
use crate::failure::{Exit, Outcome};

pub(super) fn run(args: &args::Watch) -> Outcome<Exit> {
    let limits = args.limits();
    let desk = Desk::open(&args.desk)?;
    let (from, until) = args.range.on(desk.clock);
    let mut watch = Watch::new(limits);
    let mut grid = Grid::new(["TIME", "OF", "PATTERN"]);
    let (mut seen, mut told) = (0, 0);
    desk.pages(
        |after, limit| {
            let domain = &desk.domain;
            desk.ledger.payments(domain, from, until, after, limit)
        },
        |payments| {
            seen += payments.len();
            let alerts: Vec<_> = payments
                .iter()
                .flat_map(|payment| watch.observe(&Seen::from(payment)))
                .collect();
            told += alerts.len();
            if desk.json {
                return show_lines(alerts.iter().map(alert_json));
            }
            let row = |alert: &Alert| {
                let pattern = alert.pattern.to_string();
                [desk.clock.show(alert.time), subject(alert), pattern]
            };
            grid.rows(&alerts.iter().map(row).collect::<Vec<_>>())
        },
    )?;
    if !desk.json {
        crate::show(&format!("{seen} payments, {told} to be looked at\n"))?;
    }
    Ok(if told == 0 {
        Exit::Done
    } else {
        Exit::Rejected
    })
}

fn subject(alert: &Alert) -> String {
    match alert.subject {
        Subject::Token(token) => format!("card {token}"),
        Subject::Terminal(terminal) => format!("terminal {terminal}"),
    }
}

fn alert_json(alert: &Alert) -> serde_json::Value {
    let (pattern, count, hour, expected, found) = match alert.pattern {
        Pattern::SmallPayments { count } => ("small-payments", Some(count), None, None, None),
        Pattern::Refunds { count } => ("refunds", Some(count), None, None, None),
        Pattern::UnusualHour { hour } => ("unusual-hour", None, Some(hour), None, None),
        Pattern::SequenceGap { expected, found } => {
            ("sequence-gap", None, None, Some(expected), Some(found))
        }
        _ => ("other", None, None, None, None),
    };
    let (token, terminal) = match alert.subject {
        Subject::Token(token) => (Some(token.to_string()), None),
        Subject::Terminal(terminal) => (None, Some(terminal.to_string())),
    };
    json!({
        "time": utc(alert.time), "pattern": pattern, "token": token, "terminal": terminal,
        "count": count, "hour": hour, "expected": expected, "found": found,
    })
}
