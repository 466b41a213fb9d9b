//! The demo's back office: what is due, the settlement file, and the watch.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use cardvault::ledger::reconcile::{Difference, Disagreement, SettlementRow, with_settlement};
use cardvault::ledger::watch::{Limits, Seen, Watch};
use cardvault::ledger::{MAX_PAGE, Source};
use cardvault::payment::Amount;
use cardvault::refund::{Deadlines, RefundEvent};

use super::centre::Centre;
use super::host::{Host, Noted};
use super::paper::Paper;
use super::{failed, story, told};
use crate::desk::show::step;
use crate::failure::{Failure, Outcome};
use crate::ledger::settlement;

/// The refunds that wait for their settlement, and since when too long. How many they are.
pub(super) fn due(paper: &Paper, host: &Host) -> Outcome<usize> {
    story::set(5, 9, 0);
    let until = story::now().plus(1);
    let page = host
        .ledger
        .due(&host.shop, &Deadlines::DEFAULT, until, None, MAX_PAGE);
    let items = page.map_err(failed("ledger"))?.items;
    let late = items.iter().filter(|due| due.overdue).count();
    let total = sum(items.iter().map(|due| due.record.amount))?;
    paper.part(&format!(
        "{}: {} refunds of {total} wait for settlement, {late} for more than 72 hours",
        story::stamp(story::now())?,
        items.len()
    ))?;
    for due in &items {
        paper.line(&format!(
            "   {:<4} {:>10}  {}, {} by {}{}",
            due.record.number.to_string(),
            due.record.amount.to_string(),
            due.record.status,
            step(&due.due),
            story::stamp(due.due.at)?,
            if due.overdue { ", overdue" } else { "" }
        ))?;
    }
    told(
        late > 0 && late < items.len(),
        "some refunds are overdue, and some are not",
    )?;
    Ok(items.len())
}

/// A settlement file with one wrong line is held against the ledger, in which `due` refunds wait
/// for it.
pub(super) fn reconcile(
    paper: &Paper,
    host: &Host,
    centre: &Centre,
    folder: &Path,
    due: usize,
) -> Outcome<()> {
    story::set(6, 8, 0);
    let path = folder.join("settlement.csv");
    let mut rows = centre.rows();
    let wrong = 1;
    if let Some(row) = rows.get_mut(wrong) {
        row.amount = story::yuan("3000.00")?;
    }
    fs::write(&path, settlement::text(&rows)).map_err(Failure::at(&path))?;
    let read = settlement::read(&path)?.into_iter();
    let (lines, rows): (Vec<u64>, Vec<SettlementRow>) = read.unzip();

    let differences = against(host, &rows)?;
    let waiting = |difference: &&Difference| difference.what == Disagreement::NotSettledYet;
    let settled: Vec<_> = differences.iter().filter(waiting).collect();
    let merchant = story::merchant()?;
    for difference in &settled {
        let Some(number) = difference.refund else {
            continue;
        };
        let (event, source) = (RefundEvent::Settled, Source::SettlementFile);
        let done = host
            .ledger
            .progress(&host.shop, &merchant, &number, event, source, None);
        done.map_err(failed("ledger"))?;
    }
    paper.part(&format!(
        "The settlement file, {} rows: {} refunds that the ledger had as accepted are settled now",
        rows.len(),
        settled.len()
    ))?;
    told(settled.len() == due, "the file settles what was due")?;
    let left = against(host, &rows)?;
    for difference in &left {
        let line = difference.row.and_then(|row| lines.get(row));
        let line = line
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        paper.line(&format!("   left over: {line}{}", difference.what))?;
    }
    let one = matches!(left.as_slice(), [Difference { row: Some(row), what: Disagreement::Amount { .. }, .. }] if *row == wrong);
    told(one, "the wrong row is the one difference")?;
    let until = story::now().plus(1);
    let page = host
        .ledger
        .due(&host.shop, &Deadlines::DEFAULT, until, None, MAX_PAGE);
    told(
        page.map_err(failed("ledger"))?.items.is_empty(),
        "nothing is due any more",
    )
}

fn against(host: &Host, rows: &[SettlementRow]) -> Outcome<Vec<Difference>> {
    Ok(with_settlement(&host.payments()?, &host.requests()?, rows))
}

/// Patterns in the payments, by tokens and terminals.
pub(super) fn watch(paper: &Paper, host: &Host, notices: &[Noted]) -> Outcome<()> {
    let payments = host.payments()?;
    let mut watch = Watch::new(Limits::DEFAULT);
    let mut alerts = Vec::new();
    let mut notices = notices.iter().peekable();
    for payment in &payments {
        let seen = Seen::from(payment);
        while let Some(notice) = notices.next_if(|notice| notice.time <= seen.time) {
            watch.notice(notice.terminal, notice.epoch, notice.sequence, notice.time);
        }
        alerts.extend(watch.observe(&seen));
    }
    paper.part(&format!(
        "Watch, over {} payments and no card number",
        payments.len()
    ))?;
    for alert in &alerts {
        paper.line(&format!(
            "   {}  {}: {}",
            story::stamp(alert.time)?,
            alert.subject,
            alert.pattern
        ))?;
    }
    told(alerts.len() == 1, "watch raises one alert")
}

/// The sum of amounts in one currency.
fn sum(amounts: impl Iterator<Item = Amount>) -> Outcome<Amount> {
    let mut total = story::yuan("0")?;
    for amount in amounts {
        total = total.checked_add(amount).map_err(failed("amount"))?;
    }
    Ok(total)
}
