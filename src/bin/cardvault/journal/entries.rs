//! Payments for a terminal's journal, from CSV or JSON lines.
#![forbid(unsafe_code)]

use cardvault::UnixSeconds;
use cardvault::card::{CardRecord, Expiry, PanSequence, TruncatedPan, TruncationFormat};
use cardvault::journal::Identity;
use cardvault::payment::{
    Amount, BatchNumber, ClearingDate, Currency, FieldError, MonthDay, Mti, OriginalMessage,
    OriginalVoucher, PaymentFields, PaymentKind, Reference, Rrn, Stan, TerminalId, Voucher,
};

use super::args::Write;
use crate::bulk::CardReading;
use crate::desk::moment::{Clock, Moment, day};
use crate::desk::show::kind_text;
use crate::failure::{Failure, Outcome};
use crate::rows::{self, Columns, Fault, Fields};

const COLUMNS: Columns = Columns {
    required: &[
        "time", "kind", "amount", "currency", "stan", "voucher", "batch", "merchant", "card",
    ],
    optional: &[
        "expiry", "psn", "rrn", "approval", "response", "clearing", "par", "order", "refund",
        "original",
    ],
};

/// An entry that is to be written.
pub(super) struct NewEntry {
    pub(super) line: u64,
    pub(super) time: UnixSeconds,
    pub(super) fields: PaymentFields,
    pub(super) truncated: Option<TruncatedPan>,
    /// Boxed: a list of entries that grows would leave copies behind.
    pub(super) card: Option<Box<CardRecord>>,
}

/// All entries of the input, or none.
pub(super) fn read_entries(args: &Write, identity: &Identity) -> Outcome<Vec<NewEntry>> {
    let terminal = TerminalId::parse(identity.terminal())
        .map_err(|error| Failure::files(args.terminal_folder.display().to_string(), error))?;
    let reading = CardReading {
        admit_luhn_failures: args.cards.admit_luhn_failures,
    };
    let mut entries = rows::read(&args.input, &COLUMNS, args.json_lines, |fields| {
        entry(fields, terminal, args.clock.utc_offset, reading)
    })?;
    entries.retain(|entry| entry.line >= args.from_line);
    Ok(entries)
}

fn entry(
    row: &Fields<'_>,
    terminal: TerminalId,
    clock: Clock,
    reading: CardReading,
) -> Result<NewEntry, Fault> {
    let time: Moment = row.required("time", str::parse)?;
    let kind = row.required("kind", kind)?;
    let amount = amount(row)?;
    let numbers: (Stan, Voucher, BatchNumber) = (
        row.required("stan", str::parse)?,
        row.required("voucher", str::parse)?,
        row.required("batch", str::parse)?,
    );
    let merchant = row.required("merchant", str::parse)?;
    let mut fields = PaymentFields::new(kind, amount, numbers, terminal, merchant);
    fields.rrn = row.optional("rrn", str::parse)?;
    fields.approval = row.optional("approval", str::parse)?;
    fields.response = row.optional("response", str::parse)?;
    fields.clearing = row.optional("clearing", |text| day(text).map(ClearingDate))?;
    fields.par = row.optional("par", str::parse)?;
    fields.order = row.optional("order", str::parse)?;
    fields.refund = row.optional("refund", str::parse)?;
    fields.original = row.optional("original", original)?;
    let card = card(row, reading)?;
    // What no rule lets be shown is not shown at all: one format in one journal.
    let truncated = card
        .as_ref()
        .and_then(|card| card.pan.truncate(TruncationFormat::FIRST_6_LAST_4).ok());
    Ok(NewEntry {
        line: row.line(),
        time: time.on(clock),
        fields,
        truncated,
        card,
    })
}

/// The fields `amount` and `currency`.
pub(crate) fn amount(row: &Fields<'_>) -> Result<Amount, Fault> {
    let currency: Currency = row.required("currency", str::parse)?;
    row.required("amount", |text| Amount::parse(text, currency))
}

/// A kind of payment, as [`kind_text`] writes it.
pub(crate) fn kind(text: &str) -> Result<PaymentKind, &'static str> {
    let mut kinds = PaymentKind::ALL.into_iter();
    kinds
        .find(|kind| kind_text(*kind) == text)
        .ok_or("no kind of payment; --help lists them")
}

fn card(row: &Fields<'_>, reading: CardReading) -> Result<Option<Box<CardRecord>>, Fault> {
    let expiry = row.optional("expiry", |text| {
        let yymm = text.as_bytes().try_into();
        let yymm = yymm.map_err(|_| "expiry is not YYMM".to_owned())?;
        Expiry::from_yymm(yymm).map_err(|error| error.to_string())
    })?;
    let sequence = row.optional("psn", |text| {
        let number = text.parse().ok().and_then(PanSequence::new);
        number.ok_or("a card's sequence number is 0 to 99")
    })?;
    let Some(number) = row.bytes("card") else {
        if expiry.is_some() || sequence.is_some() {
            return Err(Fault::of("card", "an expiry or sequence number without it"));
        }
        return Ok(None);
    };
    let pan = reading
        .pan(number)
        .map_err(|fault| Fault::of("card", fault))?;
    Ok(Some(Box::new(CardRecord {
        expiry,
        sequence,
        ..CardRecord::new(pan)
    })))
}

/// What an entry acts on, such as `voucher:000007/000001`.
fn original(text: &str) -> Result<Reference, String> {
    let known = "voucher:BATCH/VOUCHER, rrn:NUMBER/MMDD, order:NUMBER or message:MTI/STAN";
    let (form, content) = text.split_once(':').ok_or(known)?;
    let pair = || content.split_once('/').ok_or_else(|| known.to_owned());
    let named = |error: FieldError| error.to_string();
    Ok(match form {
        "voucher" => {
            let (batch, voucher) = pair()?;
            Reference::Voucher(OriginalVoucher {
                batch: Some(batch.parse().map_err(named)?),
                voucher: Some(voucher.parse().map_err(named)?),
                ..OriginalVoucher::default()
            })
        }
        "rrn" => {
            let (rrn, date) = pair()?;
            Reference::Rrn {
                rrn: rrn.parse::<Rrn>().map_err(named)?,
                date: MonthDay::parse(date.as_bytes()).map_err(named)?,
            }
        }
        "order" => Reference::Order(content.parse().map_err(named)?),
        "message" => {
            let (mti, stan) = pair()?;
            Reference::Message(OriginalMessage {
                mti: mti.parse::<Mti>().map_err(named)?,
                stan: stan.parse().map_err(named)?,
                transmission: None,
                acquirer: None,
                forwarder: None,
            })
        }
        _ => return Err(known.to_owned()),
    })
}
