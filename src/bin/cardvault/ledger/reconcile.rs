//! `ledger reconcile`: the ledger against a terminal's upload or a centre's settlement file.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

use cardvault::UnixSeconds;
use cardvault::ledger::reconcile::{
    Difference, Disagreement, JournalLine, SettlementRow, with_journal, with_settlement,
};
use cardvault::ledger::{LedgerError, Payment, PaymentId, RequestRecord};
use cardvault::payment::{Date, MerchantId};
use serde_json::json;

use super::args::Reconcile;
use super::settlement;
use crate::desk::grid::{Grid, counted};
use crate::desk::show::show_lines;
use crate::desk::{Desk, failure};
use crate::failure::{Exit, Failure, Outcome};
use crate::journal::Opened;

/// A payment is looked for so many days before the first day of the file: refunds name theirs, and
/// a payment may be cleared late.
const DAYS_BEFORE: u64 = 32;
/// And so many days behind its last one: the clocks of merchant and centre differ.
const DAYS_BEHIND: u64 = 2;
const DAY: u64 = 86_400;

pub(super) fn run(args: &Reconcile) -> Outcome<Exit> {
    match (&args.journal, &args.settlement) {
        (Some(path), _) => journal(args, path),
        (_, Some(path)) => with_file(args, path),
        (None, None) => Err(Failure::usage("reconcile", "against what?")),
    }
}

fn journal(args: &Reconcile, path: &Path) -> Outcome<Exit> {
    let (opened, desk, _) = Opened::new(&args.desk, path.to_owned())?;
    let (lines, times, report) = opened.lines()?;
    if report.has_faults() {
        report.show(&opened, desk.json, "faulty")?;
    }
    let payments = of_journal(&desk, &lines, times)?;
    let differences = with_journal(&payments, &lines);
    let held = format!(
        "{} of the journal with {} of the ledger",
        counted(lines.len(), "payment"),
        payments.len()
    );
    let exit = show(&differences, &held, &desk, |_| None)?;
    Ok(if report.has_faults() {
        Exit::Rejected
    } else {
        exit
    })
}

/// What the ledger has of the upload's entries and between them.
fn of_journal(
    desk: &Desk,
    lines: &[JournalLine],
    (first, last): (UnixSeconds, UnixSeconds),
) -> Outcome<Vec<Payment>> {
    let mut wanted: BTreeSet<PaymentId> = lines.iter().map(|line| line.id).collect();
    let (Some(from), Some(to)) = (wanted.first().copied(), wanted.last().copied()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    desk.pages(
        |after, limit| {
            let domain = &desk.domain;
            desk.ledger
                .payments(domain, first, last.plus(1), after, limit)
        },
        |payments| {
            let own = payments.into_iter();
            // Names are in the order of their sequence numbers.
            found.extend(own.filter(|payment| (from..=to).contains(&payment.id)));
            Ok(())
        },
    )?;
    for payment in &found {
        wanted.remove(&payment.id);
    }
    for id in wanted {
        match desk.ledger.payment(&desk.domain, &id) {
            Ok(payment) => found.push(payment),
            Err(LedgerError::UnknownPayment) => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Ok(found)
}

/// The days and the merchants that a settlement file speaks of.
struct Scope {
    first: Date,
    last: Date,
    merchants: BTreeSet<MerchantId>,
}

fn with_file(args: &Reconcile, path: &Path) -> Outcome<Exit> {
    let read = settlement::read(path)?.into_iter();
    let (line_numbers, rows): (Vec<u64>, Vec<SettlementRow>) = read.unzip();
    let days = || rows.iter().map(|row| row.clearing.0);
    let first = args.first_day.or_else(|| days().min());
    let last = args.last_day.or_else(|| days().max());
    let (Some(first), Some(last)) = (first, last) else {
        return Err(
            Failure::files(path.display().to_string(), "no row stands there")
                .hint("for an empty file say --first-day and --last-day"),
        );
    };
    let scope = Scope {
        first,
        last,
        merchants: rows.iter().map(|row| row.merchant).collect(),
    };
    let desk = Desk::open(&args.desk)?;
    let (payments, requests) = around(&desk, &scope)?;
    let mut differences = with_settlement(&payments, &requests, &rows);
    differences.retain(|difference| {
        difference.what != Disagreement::MissingInFile
            || scope.speaks_of(difference, &payments, &requests, &desk)
    });
    let held = format!(
        "{}, clearing days {first} to {last}",
        counted(rows.len(), "row")
    );
    show(&differences, &held, &desk, |at| {
        line_numbers.get(at).copied()
    })
}

/// The payments and requests that a file's rows may speak of.
fn around(desk: &Desk, scope: &Scope) -> Outcome<(Vec<Payment>, Vec<RequestRecord>)> {
    let first = desk
        .clock
        .midnight(scope.first)
        .0
        .saturating_sub(DAYS_BEFORE * DAY);
    let (first, last) = (
        UnixSeconds(first),
        desk.clock.midnight(scope.last).plus(DAYS_BEHIND * DAY),
    );
    let (mut payments, mut requests) = (Vec::new(), Vec::new());
    let domain = &desk.domain;
    desk.pages(
        |after, limit| desk.ledger.payments(domain, first, last, after, limit),
        |page| {
            payments.extend(page);
            Ok(())
        },
    )?;
    // The time of a request is the host's, not the file's.
    let now = UnixSeconds(u64::MAX);
    desk.pages(
        |after, limit| {
            desk.ledger
                .requests_between(domain, first, now, after, limit)
        },
        |page| {
            requests.extend(page);
            Ok(())
        },
    )?;
    Ok((payments, requests))
}

impl Scope {
    /// Whether the file should have what the ledger has.
    fn speaks_of(
        &self,
        difference: &Difference,
        payments: &[Payment],
        requests: &[RequestRecord],
        desk: &Desk,
    ) -> bool {
        let (merchant, day) = if let Some(number) = difference.refund {
            let mut requests = requests.iter();
            let asked = requests.find(|record| {
                record.number == number && Some(record.payment) == difference.payment
            });
            match asked {
                Some(record) => (record.merchant, desk.clock.date(record.since)),
                None => return true,
            }
        } else {
            let mut payments = payments.iter();
            match payments.find(|payment| Some(payment.id) == difference.payment) {
                Some(payment) => {
                    let clearing = payment.fields.clearing.map(|clearing| clearing.0);
                    (
                        payment.fields.merchant,
                        Some(clearing.unwrap_or(payment.date)),
                    )
                }
                None => return true,
            }
        };
        let known = self.merchants.is_empty() || self.merchants.contains(&merchant);
        known && day.is_none_or(|day| (self.first..=self.last).contains(&day))
    }
}

fn show(
    differences: &[Difference],
    held: &str,
    desk: &Desk,
    line: impl Fn(usize) -> Option<u64>,
) -> Outcome<Exit> {
    if desk.json {
        show_lines(differences.iter().map(|difference| {
            json!({
                "difference": difference.what.name(),
                "line": difference.row.and_then(&line),
                "payment": difference.payment.map(|id| id.to_string()),
                "refund": difference.refund.map(|number| number.to_string()),
                "detail": detail(&difference.what),
            })
        }))?;
        show_lines([json!({"compared": held, "differences": differences.len()})])?;
    } else {
        let text = |value: Option<String>| value.unwrap_or("-".to_owned());
        let rows: Vec<_> = differences
            .iter()
            .map(|difference| {
                [
                    difference.what.name().to_owned(),
                    text(difference.row.and_then(&line).map(|line| line.to_string())),
                    text(difference.payment.map(|id| id.to_string())),
                    text(difference.refund.map(|number| number.to_string())),
                    text(detail(&difference.what)),
                ]
            })
            .collect();
        Grid::new(["DIFFERENCE", "LINE", "PAYMENT", "REFUND", "DETAIL"]).rows(&rows)?;
        crate::show(&format!(
            "compared {held}: {}\n",
            counted(differences.len(), "difference")
        ))?;
    }
    Ok(if differences.is_empty() {
        Exit::Done
    } else {
        Exit::Rejected
    })
}

fn detail(what: &Disagreement) -> Option<String> {
    match what {
        Disagreement::Amount { ledger, other } => {
            Some(format!("{ledger} in the ledger, not {other}"))
        }
        _ => None,
    }
}
