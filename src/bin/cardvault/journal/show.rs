//! `journal show`: what verified frames say in clear.
#![forbid(unsafe_code)]

use cardvault::journal::{Body, Cause, Notice, PaymentPart};
use serde_json::{Value, json};

use super::args::Verify;
use super::upload::{Opened, Seen};
use crate::desk::grid::Grid;
use crate::desk::moment::{Clock, utc};
use crate::desk::show::{amount_text, kind_text, show_lines};
use crate::failure::{Exit, Outcome};

/// So many rows of a table are printed at once.
const ROWS: usize = 500;

pub(super) fn show(args: &Verify) -> Outcome<Exit> {
    let (opened, ..) = Opened::new(&args.desk, args.upload.clone())?;
    let (clock, json) = (args.desk.clock.utc_offset, args.desk.json);
    let mut grid = Grid::new([
        "ENTRY",
        "TIME",
        "KIND",
        "AMOUNT",
        "VOUCHER",
        "CARD",
        "REFERENCE",
        "RESPONSE",
    ]);
    let mut rows = Vec::with_capacity(ROWS);
    let report = opened.scan(|frame, _| {
        if json {
            return show_lines([frame_json(frame)]);
        }
        rows.push(frame_row(frame, clock));
        if rows.len() == ROWS {
            grid.rows(&rows)?;
            rows.clear();
        }
        Ok(())
    })?;
    grid.rows(&rows)?;
    if !json {
        crate::show("\n")?;
    }
    report.show(&opened, json, "verified")
}

fn frame_row(frame: &Seen<'_>, clock: Clock) -> [String; 8] {
    let none = || "-".to_owned();
    let mut row = [
        frame.sequence.to_string(),
        clock.show(frame.time),
        none(),
        none(),
        none(),
        none(),
        none(),
        none(),
    ];
    let [_, _, kind, amount, voucher, card, reference, answer] = &mut row;
    match &frame.body {
        Body::Notice(notice) => *kind = notice_text(notice),
        Body::Payment(part) => {
            *card = part.truncated.map_or(none(), |card| card.to_string());
            // Unreadable fields are a finding of the scan.
            if let Ok(fields) = part.fields() {
                *kind = fields.kind.to_string();
                *amount = fields.amount.to_string();
                *voucher = format!("{}/{}", fields.batch, fields.voucher);
                *reference = fields.rrn.map_or(none(), |rrn| rrn.to_string());
                *answer = fields
                    .response
                    .map_or("none".to_owned(), |code| code.to_string());
            }
        }
    }
    row
}

fn frame_json(frame: &Seen<'_>) -> Value {
    let mut value = match &frame.body {
        Body::Notice(notice) => json!({
            "notice": cause(notice.cause),
            "first": notice.first,
            "count": notice.count,
        }),
        Body::Payment(part) => part_json(part),
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("entry".to_owned(), frame.sequence.into());
        fields.insert("time".to_owned(), utc(frame.time).into());
    }
    value
}

fn part_json(part: &PaymentPart<'_>) -> Value {
    let fields = part.fields().ok();
    let fields = fields.as_ref();
    json!({
        "kind": fields.map(|fields| kind_text(fields.kind)),
        "amount": fields.map(|fields| amount_text(fields.amount)),
        "currency": fields.map(|fields| fields.amount.currency().to_string()),
        "batch": fields.map(|fields| fields.batch.to_string()),
        "voucher": fields.map(|fields| fields.voucher.to_string()),
        "merchant": fields.map(|fields| fields.merchant.to_string()),
        "rrn": fields.and_then(|fields| fields.rrn).map(|rrn| rrn.to_string()),
        "response": fields.and_then(|fields| fields.response).map(|code| code.to_string()),
        "order": fields.and_then(|fields| fields.order).map(|order| order.to_string()),
        "card": part.truncated,
        "has_card": part.has_card,
    })
}

fn notice_text(notice: &Notice) -> String {
    match notice.cause {
        Cause::Loss => format!(
            "notice: {} entries from {} on are lost",
            notice.count, notice.first
        ),
        other => format!("notice: {}", cause(other)),
    }
}

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Burn => "burned",
        Cause::Loss => "lost",
        Cause::Checkpoint => "checkpoint",
        Cause::Closing => "closing",
        _ => "other",
    }
}
