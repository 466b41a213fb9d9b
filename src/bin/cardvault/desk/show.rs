//! Payments, requests and refusals, for people and for programs.
#![forbid(unsafe_code)]

use cardvault::ledger::{HistoryEntry, Payment, RequestRecord};
use cardvault::payment::{Amount, PaymentKind};
use cardvault::refund::{Due, PaymentState, Refusal, Step};
use serde_json::{Value, json};

use super::Desk;
use super::grid::{Grid, facts};
use super::moment::{Clock, utc};
use crate::failure::{Exit, Outcome};

/// Payments as they are found.
pub(crate) struct Payments {
    grid: Grid<8>,
    clock: Clock,
    json: bool,
}

impl Payments {
    pub(crate) fn new(desk: &Desk) -> Self {
        Self {
            grid: Grid::new([
                "PAYMENT", "TIME", "KIND", "AMOUNT", "LEFT", "STATE", "VOUCHER", "CARD",
            ]),
            clock: desk.clock,
            json: desk.json,
        }
    }

    pub(crate) fn show(&mut self, payments: &[Payment]) -> Outcome<()> {
        if self.json {
            return show_lines(payments.iter().map(payment_json));
        }
        let rows: Vec<_> = payments
            .iter()
            .map(|payment| {
                let fields = &payment.fields;
                [
                    payment.id.to_string(),
                    self.clock.show(payment.time),
                    fields.kind.to_string(),
                    fields.amount.to_string(),
                    left(payment).map_or("-".to_owned(), |left| left.to_string()),
                    state(payment),
                    format!("{}/{}", fields.batch, fields.voucher),
                    card(payment).unwrap_or("-".to_owned()),
                ]
            })
            .collect();
        self.grid.rows(&rows)
    }

    /// Says so if nothing was found: silence may mean another domain.
    pub(crate) fn finish(&self, desk: &Desk) {
        if self.grid.is_empty() && !self.json {
            crate::say(&format!("no such payment in the domain {}", desk.domain));
        }
    }
}

/// Everything that is known of one payment.
pub(crate) fn payment_facts(payment: &Payment, clock: Clock) -> String {
    let fields = &payment.fields;
    let text = |value: Option<&dyn std::fmt::Display>| value.map(ToString::to_string);
    facts(&[
        ("payment", Some(payment.id.to_string())),
        ("kind", Some(fields.kind.to_string())),
        ("amount", Some(fields.amount.to_string())),
        ("state", Some(state(payment))),
        ("left", left(payment).map(|left| left.to_string())),
        ("time", Some(clock.show(payment.time))),
        ("day", Some(payment.date.to_string())),
        (
            "cleared",
            text(fields.clearing.as_ref().map(|day| day as _)),
        ),
        ("merchant", Some(fields.merchant.to_string())),
        ("terminal", Some(fields.terminal.to_string())),
        ("batch", Some(fields.batch.to_string())),
        ("voucher", Some(fields.voucher.to_string())),
        ("reference", text(fields.rrn.as_ref().map(|rrn| rrn as _))),
        (
            "approval",
            text(fields.approval.as_ref().map(|code| code as _)),
        ),
        (
            "response",
            text(fields.response.as_ref().map(|code| code as _)),
        ),
        ("order", text(fields.order.as_ref().map(|order| order as _))),
        ("card", card(payment)),
        ("token", payment.token.map(|token| token.to_string())),
    ])
}

pub(crate) fn payment_json(payment: &Payment) -> Value {
    let fields = &payment.fields;
    let text = |value: Option<&dyn std::fmt::Display>| value.map(ToString::to_string);
    json!({
        "payment": payment.id.to_string(),
        "time": utc(payment.time),
        "date": payment.date.to_string(),
        "kind": kind_text(fields.kind),
        "amount": amount_text(fields.amount),
        "currency": fields.amount.currency().alpha(),
        "left": left(payment).map(amount_text),
        "state": is_payment(payment).then(|| payment.state.as_str()),
        "pending": payment.pending.map(|action| action.as_str()),
        "merchant": fields.merchant.as_str(),
        "terminal": fields.terminal.as_str(),
        "batch": fields.batch.to_string(),
        "voucher": fields.voucher.to_string(),
        "stan": fields.stan.to_string(),
        "rrn": text(fields.rrn.as_ref().map(|rrn| rrn as _)),
        "approval": text(fields.approval.as_ref().map(|code| code as _)),
        "response": text(fields.response.as_ref().map(|code| code as _)),
        "clearing": text(fields.clearing.as_ref().map(|day| day as _)),
        "order": text(fields.order.as_ref().map(|order| order as _)),
        "last_four": payment.last_four.map(|digits| format!("{digits:04}")),
        "token": payment.token.map(|token| token.to_string()),
    })
}

/// Requests as they are found.
pub(crate) struct Requests {
    grid: Grid<8>,
    clock: Clock,
    json: bool,
}

/// A request, and what it waits for and whether that is late where it was asked for.
pub(crate) type Waiting = (RequestRecord, Option<(Due, bool)>);

impl Requests {
    /// With a column for what they wait for, or for the reference number.
    pub(crate) fn new(desk: &Desk, with_due: bool) -> Self {
        let last = if with_due { "DUE" } else { "REFERENCE" };
        Self {
            grid: Grid::new([
                "NUMBER",
                "ACTION",
                "AMOUNT",
                "STATUS",
                "REQUESTED",
                "BY",
                "PAYMENT",
                last,
            ]),
            clock: desk.clock,
            json: desk.json,
        }
    }

    pub(crate) fn show(&mut self, requests: &[Waiting]) -> Outcome<()> {
        if self.json {
            return show_lines(requests.iter().map(|(record, due)| {
                let mut value = request_json(record);
                if let (Value::Object(fields), Some((due, overdue))) = (&mut value, due) {
                    fields.insert("due".to_owned(), utc(due.at).into());
                    fields.insert("step".to_owned(), step(due).into());
                    fields.insert("overdue".to_owned(), (*overdue).into());
                }
                value
            }));
        }
        let rows: Vec<_> = requests
            .iter()
            .map(|(record, due)| {
                let last = match due {
                    Some((due, overdue)) => {
                        let late = if *overdue { ", overdue" } else { "" };
                        format!("{} by {}{late}", step(due), self.clock.show(due.at))
                    }
                    None => record.rrn.map_or("-".to_owned(), |rrn| rrn.to_string()),
                };
                [
                    record.number.to_string(),
                    record.action.to_string(),
                    record.amount.to_string(),
                    record.status.to_string(),
                    self.clock.show(record.requested),
                    record.authority.to_string(),
                    record.payment.to_string(),
                    last,
                ]
            })
            .collect();
        self.grid.rows(&rows)
    }

    /// Says so if nothing was found: silence may mean another domain.
    pub(crate) fn finish(&self, desk: &Desk) {
        if self.grid.is_empty() && !self.json {
            crate::say(&format!("no such request in the domain {}", desk.domain));
        }
    }
}

pub(crate) fn request_facts(record: &RequestRecord, clock: Clock) -> String {
    facts(&[
        ("number", Some(record.number.to_string())),
        ("action", Some(record.action.to_string())),
        ("amount", Some(record.amount.to_string())),
        ("status", Some(record.status.to_string())),
        ("payment", Some(record.payment.to_string())),
        ("merchant", Some(record.merchant.to_string())),
        ("terminal", Some(record.terminal.to_string())),
        ("by", Some(record.authority.to_string())),
        ("requested", Some(clock.show(record.requested))),
        ("tries", Some(record.tries.to_string())),
        ("reference", record.rrn.map(|rrn| rrn.to_string())),
    ])
}

pub(crate) fn request_json(record: &RequestRecord) -> Value {
    json!({
        "number": record.number.as_str(),
        "merchant": record.merchant.as_str(),
        "payment": record.payment.to_string(),
        "action": record.action.as_str(),
        "amount": amount_text(record.amount),
        "currency": record.amount.currency().alpha(),
        "status": record.status.as_str(),
        "authority": record.authority.as_str(),
        "terminal": record.terminal.as_str(),
        "requested": utc(record.requested),
        "tries": record.tries,
        "rrn": record.rrn.map(|rrn| rrn.to_string()),
    })
}

/// A payment's history.
pub(crate) fn show_history(entries: &[HistoryEntry], desk: &Desk) -> Outcome<()> {
    if desk.json {
        return show_lines(entries.iter().map(|entry| {
            json!({
                "revision": entry.revision,
                "time": utc(entry.time),
                "event": entry.what.to_string(),
                "source": entry.source.as_str(),
                "state": entry.state.as_str(),
                "request": entry.request.map(|request| json!({
                    "action": request.action.as_str(),
                    "amount": amount_text(request.amount),
                    "status": request.status.as_str(),
                    "authority": request.authority.as_str(),
                })),
            })
        }));
    }
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let request = entry.request.map(|request| {
                let (action, amount) = (request.action, request.amount);
                format!("{action} of {amount}, {}", request.authority)
            });
            [
                entry.revision.to_string(),
                desk.clock.show(entry.time),
                entry.what.to_string(),
                entry.source.to_string(),
                request.unwrap_or("-".to_owned()),
                entry.state.to_string(),
            ]
        })
        .collect();
    Grid::new(["NO", "LEARNED", "EVENT", "FROM", "REQUEST", "PAYMENT IS"]).rows(&rows)
}

/// The rules' answer: no, why not, and what to do.
pub(crate) fn show_refusal(refusal: &Refusal, json: bool) -> Outcome<Exit> {
    let left = match refusal {
        Refusal::TotalExceeded { left, .. } => Some(*left),
        _ => None,
    };
    if json {
        show_lines([json!({
            "refused": refusal.name(),
            "why": refusal.to_string(),
            "advice": refusal.advice(),
            "left": left.map(amount_text),
        })])?;
    } else {
        crate::show(&facts(&[
            ("refused", Some(refusal.name().to_owned())),
            ("why", Some(refusal.to_string())),
            ("left", left.map(|left| left.to_string())),
            ("do", Some(refusal.advice().to_owned())),
        ]))?;
    }
    Ok(Exit::Rejected)
}

/// One JSON object a line.
pub(crate) fn show_lines(values: impl IntoIterator<Item = Value>) -> Outcome<()> {
    let lines = values.into_iter().map(|value| format!("{value}\n"));
    crate::show(&lines.collect::<String>())
}

/// The amount as `--amount` takes it: without the currency.
pub(crate) fn amount_text(amount: Amount) -> String {
    let text = amount.to_string();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The kind as files and JSON have it: with dashes for blanks.
pub(crate) fn kind_text(kind: PaymentKind) -> String {
    kind.as_str().replace(' ', "-")
}

/// Whether it took or held money itself, and does not act on what did.
pub(super) fn is_payment(payment: &Payment) -> bool {
    let kind = payment.fields.kind;
    !kind.has_original() || kind == PaymentKind::Completion
}

/// What can still be refunded.
fn left(payment: &Payment) -> Option<Amount> {
    let took = matches!(
        payment.state,
        PaymentState::Captured | PaymentState::PartlyRefunded | PaymentState::Refunded
    );
    payment.fields.kind.refund().filter(|_| took)?;
    let counted = payment.refunds.counted().ok()?;
    payment.fields.amount.checked_sub(counted).ok()
}

fn state(payment: &Payment) -> String {
    if !is_payment(payment) {
        // It acts on a payment, which has the state.
        return match payment.fields.response {
            Some(code) if code.is_approved() => "approved".to_owned(),
            Some(_) => "declined".to_owned(),
            None => "no answer".to_owned(),
        };
    }
    match payment.pending {
        Some(action) => format!("{}, {action} open", payment.state),
        None => payment.state.to_string(),
    }
}

/// `*1111`: the last four digits, which is all that the ledger has.
fn card(payment: &Payment) -> Option<String> {
    payment.last_four.map(|digits| format!("*{digits:04}"))
}

/// What a request waits for.
pub(crate) fn step(due: &Due) -> &'static str {
    match due.step {
        Step::Review => "answer",
        Step::Completion => "settlement",
    }
}
