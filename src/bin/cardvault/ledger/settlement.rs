//! A centre's settlement file: one movement of money a line, as `ledger reconcile --help` tells.
#![forbid(unsafe_code)]

use std::path::Path;

use cardvault::ledger::reconcile::SettlementRow;
use cardvault::payment::ClearingDate;

use crate::desk::moment::day;
use crate::desk::show::{amount_text, kind_text};
use crate::failure::Outcome;
use crate::journal::entries::{amount, kind};
use crate::rows::{self, Columns, Fault, Fields};

const COLUMNS: Columns = Columns {
    required: &[
        "kind", "amount", "currency", "merchant", "terminal", "clearing",
    ],
    optional: &["batch", "voucher", "rrn", "order", "refund"],
};

/// The movements, each with the number of its line.
pub(crate) fn read(path: &Path) -> Outcome<Vec<(u64, SettlementRow)>> {
    rows::read(path, &COLUMNS, false, |fields| {
        Ok((fields.line(), movement(fields)?))
    })
}

/// The file's text.
pub(crate) fn text(rows: &[SettlementRow]) -> String {
    let head = [COLUMNS.required, COLUMNS.optional].concat().join(",");
    let lines = rows
        .iter()
        .map(|row| format!("{}\n", columns(row).join(",")));
    format!("{head}\n{}", lines.collect::<String>())
}

/// In the order of [`COLUMNS`]. No value has a comma or a quote in it.
fn columns(row: &SettlementRow) -> [String; 11] {
    let (batch, voucher) = row.voucher.unzip();
    [
        kind_text(row.kind),
        amount_text(row.amount),
        row.amount.currency().to_string(),
        row.merchant.to_string(),
        row.terminal.to_string(),
        row.clearing.to_string(),
        optional(batch),
        optional(voucher),
        optional(row.rrn),
        optional(row.order),
        optional(row.refund),
    ]
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn movement(row: &Fields<'_>) -> Result<SettlementRow, Fault> {
    let batch = row.optional("batch", str::parse)?;
    let voucher = row.optional("voucher", str::parse)?;
    let voucher = match (batch, voucher) {
        (Some(batch), Some(voucher)) => Some((batch, voucher)),
        (None, None) => None,
        (Some(_), None) => return Err(Fault::of("voucher", "a batch without it")),
        (None, Some(_)) => return Err(Fault::of("batch", "a voucher number without it")),
    };
    let row = SettlementRow {
        kind: row.required("kind", kind)?,
        amount: amount(row)?,
        merchant: row.required("merchant", str::parse)?,
        terminal: row.required("terminal", str::parse)?,
        voucher,
        rrn: row.optional("rrn", str::parse)?,
        order: row.optional("order", str::parse)?,
        refund: row.optional("refund", str::parse)?,
        clearing: row.required("clearing", |text| day(text).map(ClearingDate))?,
    };
    if row.kind.is_refund() {
        if row.refund.is_none() && row.rrn.is_none() {
            return Err(Fault::of("refund", "a refund needs its number or rrn"));
        }
    } else if row.kind.refund().is_some()
        && row.voucher.is_none()
        && row.order.is_none()
        && row.rrn.is_none()
    {
        return Err(Fault::of(
            "voucher",
            "a payment needs voucher, order or rrn",
        ));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardvault::payment::{Amount, BatchNumber, Currency, PaymentKind, Voucher};

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let sale = SettlementRow {
            kind: PaymentKind::Sale,
            amount: Amount::parse("12.30", Currency::CNY).unwrap(),
            merchant: "M1".parse().unwrap(),
            terminal: "T1".parse().unwrap(),
            voucher: BatchNumber::new(7).zip(Voucher::new(123)),
            rrn: "261115000001".parse().ok(),
            order: None,
            refund: None,
            clearing: "20261115".parse().unwrap(),
        };
        let refund = SettlementRow {
            kind: PaymentKind::QrRefund,
            voucher: None,
            order: "ORDER-1".parse().ok(),
            refund: "R-1".parse().ok(),
            ..sale
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text(&[sale, refund])).unwrap();
        assert_eq!(read(file.path()).unwrap(), [(2, sale), (3, refund)]);
    }
}
