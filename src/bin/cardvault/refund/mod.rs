//! `refund`: voids, refunds and reversals at the desk, and what became of them.
#![forbid(unsafe_code)]

pub(crate) mod args;

use cardvault::UnixSeconds;
use cardvault::ledger::{
    Answer, DueRequest, LedgerError, Payment, RequestRecord, Requested, Source,
};
use cardvault::payment::{Amount, ClearingDate, Currency, Date, Par};
use cardvault::refund::{Action, CardMatch, Deadlines, Refusal, Request};
use serde_json::{Value, json};

use self::args::{Due, List, Refund, Resolve, Status, Whole};
use crate::desk::grid::facts;
use crate::desk::lookup::Look;
use crate::desk::show::{
    Requests, Waiting, amount_text, payment_facts, payment_json, request_facts, request_json,
    show_lines, show_refusal,
};
use crate::desk::{Desk, failure};
use crate::failure::{Exit, Failure, Outcome};

const HOUR: u64 = 3_600;

pub(crate) fn run(command: &Refund) -> Outcome<Exit> {
    match command {
        Refund::Request(args) => {
            let amount = args.amount.as_deref().map(|text| (text, args.currency));
            ask(&args.whole, Action::Refund, amount)
        }
        Refund::Void(args) => ask(args, Action::Void, None),
        Refund::Reverse(args) => ask(args, Action::Reversal, None),
        Refund::Resolve(args) => resolve(args),
        Refund::Status(args) => status(args),
        Refund::List(args) => list(args),
        Refund::Due(args) => due(args),
    }
}

fn ask(args: &Whole, action: Action, amount: Option<(&str, Option<Currency>)>) -> Outcome<Exit> {
    let today = args.today()?;
    let look = args.look.open()?;
    let desk = &look.desk;
    let Some(original) = look.original()? else {
        return show_refusal(&Refusal::NoOriginal, desk.json);
    };
    let request = Request {
        action,
        amount: match amount {
            Some((text, currency)) => read_amount(text, currency, &original)?,
            None => original.fields.amount,
        },
        number: args.ask.number,
        merchant: args.ask.merchant,
        terminal: args.ask.desk_terminal.unwrap_or(original.fields.terminal),
        card: compare(&look, &original, args.ask.par.as_ref())?,
        authority: args.ask.level.authority(),
        today,
        clearing: ClearingDate(args.ask.clearing.unwrap_or(today)),
    };
    let policy = args.ask.policy.policy();
    let asked = desk
        .ledger
        .request(&desk.domain, &original.id, &policy, &request);
    match asked {
        Ok(asked) => show_asked(&asked, desk),
        Err(LedgerError::Refused(refusal)) => show_refusal(&refusal, desk.json),
        Err(error) => Err(failure(error)),
    }
}

impl Whole {
    fn today(&self) -> Outcome<Date> {
        let by_clock = || self.look.desk.clock.utc_offset.date(UnixSeconds::now());
        let today = self.ask.today.or_else(by_clock);
        today.ok_or_else(|| Failure::usage("today", "the clock names no day").hint("give --today"))
    }
}

/// What was presented, against what paid.
fn compare(look: &Look<'_>, original: &Payment, par: Option<&Par>) -> Outcome<CardMatch> {
    let Some(pan) = &look.card else {
        return Ok(CardMatch::NotPresented);
    };
    let (desk, access) = (&look.desk, look.access()?);
    desk.ledger
        .compare(&access, &desk.domain, &original.id, pan, par)
        .map_err(failure)
}

fn read_amount(text: &str, currency: Option<Currency>, original: &Payment) -> Outcome<Amount> {
    let currency = currency.unwrap_or(original.fields.amount.currency());
    Amount::parse(text, currency).map_err(|error| {
        Failure::usage("--amount", error).hint(format!(
            "a number with at most {} digits behind the point for {currency}",
            currency.decimals()
        ))
    })
}

fn show_asked(asked: &Requested, desk: &Desk) -> Outcome<Exit> {
    let record = &asked.record;
    let payment = desk.ledger.payment(&desk.domain, &record.payment);
    let payment = payment.map_err(failure)?;
    let counted = payment.refunds.counted().ok();
    let left = counted.and_then(|counted| payment.fields.amount.checked_sub(counted).ok());
    let left = left.filter(|_| record.action == Action::Refund);
    if desk.json {
        let mut value = request_json(record);
        if let Value::Object(fields) = &mut value {
            fields.insert("repeated".to_owned(), asked.repeated.into());
            fields.insert("left".to_owned(), left.map(amount_text).into());
        }
        show_lines([value])?;
    } else {
        let next = if asked.repeated {
            "nothing is to be sent: it was asked before under this number"
        } else {
            "send it, then tell with `refund status --set` what became of it"
        };
        crate::show(&request_facts(record, desk.clock))?;
        crate::show(&facts(&[
            ("left     ", left.map(|left| left.to_string())),
            ("next     ", Some(next.to_owned())),
        ]))?;
    }
    Ok(Exit::Done)
}

fn resolve(args: &Resolve) -> Outcome<Exit> {
    let look = args.look.open()?;
    let desk = &look.desk;
    let Some(original) = look.original()? else {
        return show_refusal(&Refusal::NoOriginal, desk.json);
    };
    let answer = Answer {
        response: args.response,
        rrn: args.found_rrn,
        approval: args.found_approval,
        clearing: args.found_clearing.map(ClearingDate),
    };
    let payment = desk
        .ledger
        .resolve(&desk.domain, &original.id, &answer, args.source.source())
        .map_err(failure)?;
    if desk.json {
        show_lines([payment_json(&payment)])?;
    } else {
        crate::show(&payment_facts(&payment, desk.clock))?;
    }
    Ok(Exit::Done)
}

fn status(args: &Status) -> Outcome<Exit> {
    let desk = Desk::open(&args.desk)?;
    let (merchant, number) = (&args.merchant, &args.number);
    let record = match args.set {
        None => desk.ledger.request_of(&desk.domain, merchant, number),
        Some(set) => {
            let source: Source = args.source.source();
            desk.ledger.progress(
                &desk.domain,
                merchant,
                number,
                set.event(),
                source,
                args.rrn,
            )
        }
    };
    let record = record.map_err(failure)?;
    if desk.json {
        show_lines([request_json(&record)])?;
    } else {
        crate::show(&request_facts(&record, desk.clock))?;
    }
    Ok(Exit::Done)
}

fn list(args: &List) -> Outcome<Exit> {
    let look = args.look.open()?;
    let desk = &look.desk;
    let mut shown = Requests::new(desk, false);
    if args.look.which.is_given() {
        for payment in look.find()? {
            desk.pages(
                |after, _| desk.ledger.requests(&desk.domain, &payment.id, after),
                |records| shown.show(&plain(&records)),
            )?;
        }
        shown.finish(desk);
        return Ok(Exit::Done);
    }
    let (from, until) = args.range.on(desk.clock);
    desk.pages(
        |after, limit| {
            let domain = &desk.domain;
            desk.ledger
                .requests_between(domain, from, until, after, limit)
        },
        |records| shown.show(&plain(&records)),
    )?;
    shown.finish(desk);
    Ok(Exit::Done)
}

fn due(args: &Due) -> Outcome<Exit> {
    let desk = Desk::open(&args.desk)?;
    let mut shown = Requests::new(&desk, true);
    let (from, until) = args.range.on(desk.clock);
    let deadlines = Deadlines {
        review_seconds: u64::from(args.review_hours) * HOUR,
        completion_seconds: u64::from(args.completion_hours) * HOUR,
    };
    let wanted = |due: &DueRequest| due.record.requested >= from && (due.overdue || !args.overdue);
    let (mut waiting, mut late) = (0, 0);
    desk.pages(
        |after, limit| {
            let domain = &desk.domain;
            desk.ledger.due(domain, &deadlines, until, after, limit)
        },
        |found| {
            let rows: Vec<_> = found
                .iter()
                .filter(|due| wanted(due))
                .map(|due| (due.record, Some((due.due, due.overdue))))
                .collect();
            waiting += rows.len();
            late += found
                .iter()
                .filter(|due| wanted(due) && due.overdue)
                .count();
            shown.show(&rows)
        },
    )?;
    if desk.json {
        show_lines([json!({"waiting": waiting, "overdue": late})])?;
    } else {
        crate::show(&format!("{waiting} waiting, {late} of them overdue\n"))?;
    }
    Ok(Exit::Done)
}

fn plain(records: &[RequestRecord]) -> Vec<Waiting> {
    records.iter().map(|record| (*record, None)).collect()
}
