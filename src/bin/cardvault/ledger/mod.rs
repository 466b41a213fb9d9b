//! `ledger`: payments found, their history, reconciled and watched.
#![forbid(unsafe_code)]

pub(crate) mod args;
mod reconcile;
pub(crate) mod settlement;
mod watch;

use cardvault::ledger::{Lookup, Source};
use cardvault::refund::Refusal;
use serde_json::json;

use self::args::{Find, History, Ledger, SettleBatch};
use crate::desk::grid::counted;
use crate::desk::show::{
    Payments, payment_facts, payment_json, show_history, show_lines, show_refusal,
};
use crate::desk::{Desk, failure};
use crate::failure::{Exit, Failure, Outcome};

pub(crate) fn run(command: &Ledger) -> Outcome<Exit> {
    match command {
        Ledger::Find(args) => find(args),
        Ledger::History(args) => history(args),
        Ledger::SettleBatch(args) => settle_batch(args),
        Ledger::Reconcile(args) => reconcile::run(args),
        Ledger::Watch(args) => watch::run(args),
    }
}

fn find(args: &Find) -> Outcome<Exit> {
    let ways = [
        args.look.which.is_given(),
        args.in_doubt,
        args.range.is_given(),
    ];
    if ways.into_iter().filter(|given| *given).count() > 1 {
        return Err(Failure::usage(
            "payments",
            "looked for in more than one way",
        ));
    }
    let look = args.look.open()?;
    let desk = &look.desk;
    let mut shown = Payments::new(desk);
    if args.in_doubt {
        desk.pages(
            |after, limit| {
                let domain = &desk.domain;
                desk.ledger.find(domain, &Lookup::InDoubt, after, limit)
            },
            |payments| shown.show(&payments),
        )?;
    } else if args.range.is_given() {
        let (from, until) = args.range.on(desk.clock);
        desk.pages(
            |after, limit| {
                let domain = &desk.domain;
                desk.ledger.payments(domain, from, until, after, limit)
            },
            |payments| shown.show(&payments),
        )?;
    } else {
        shown.show(&look.find()?)?;
    }
    shown.finish(desk);
    Ok(Exit::Done)
}

fn history(args: &History) -> Outcome<Exit> {
    let look = args.look.open()?;
    let desk = &look.desk;
    let Some(found) = look.original()? else {
        return show_refusal(&Refusal::NoOriginal, desk.json);
    };
    let (domain, id) = (&desk.domain, &found.id);
    let payment = desk.ledger.audit(domain, id).map_err(failure)?;
    let entries = desk.ledger.history(domain, id).map_err(failure)?;
    if desk.json {
        show_lines([payment_json(&payment)])?;
        show_history(&entries, desk)?;
    } else {
        crate::show(&payment_facts(&payment, desk.clock))?;
        crate::show("\n")?;
        show_history(&entries, desk)?;
        crate::show(&format!(
            "\nchecked: {}, none missing or changed, and the sums agree\n",
            counted(entries.len(), "event")
        ))?;
    }
    Ok(Exit::Done)
}

fn settle_batch(args: &SettleBatch) -> Outcome<Exit> {
    let desk = Desk::open(&args.desk)?;
    let settled =
        desk.ledger
            .settle_batch(&desk.domain, &args.terminal, args.batch, Source::Operator);
    let settled = settled.map_err(failure)?;
    if desk.json {
        show_lines([json!({"settled": settled})])?;
    } else {
        let settled = counted(settled, "payment");
        crate::show(&format!("{settled} marked as settled\n"))?;
    }
    Ok(Exit::Done)
}
