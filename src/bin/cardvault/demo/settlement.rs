//! The centre's settlement file: one row for each movement of money, as CSV without quotes.
#![forbid(unsafe_code)]

use std::str::FromStr;

use cardvault::ledger::reconcile::SettlementRow;
use cardvault::payment::{
    Amount, BatchNumber, ClearingDate, Currency, FieldError, PaymentKind, Voucher,
};

use super::story;
use crate::failure::{Failure, Outcome};

const HEAD: &str = "kind,amount,merchant,terminal,batch,voucher,rrn,order,refund,clearing";

pub(super) fn write(rows: &[SettlementRow]) -> String {
    let mut text = format!("{HEAD}\n");
    for row in rows {
        let (batch, voucher) = row
            .voucher
            .map_or_else(Default::default, |(batch, voucher)| {
                (batch.to_string(), voucher.to_string())
            });
        let digits = row.clearing.to_digits();
        let columns = [
            row.kind.as_str().to_owned(),
            row.amount.minor().to_string(),
            row.merchant.to_string(),
            row.terminal.to_string(),
            batch,
            voucher,
            optional(row.rrn),
            optional(row.order),
            optional(row.refund),
            String::from_utf8_lossy(&digits).into_owned(),
        ];
        text.push_str(&columns.join(","));
        text.push('\n');
    }
    text
}

pub(super) fn read(text: &str) -> Outcome<Vec<SettlementRow>> {
    text.lines().skip(1).map(row).collect()
}

fn row(line: &str) -> Outcome<SettlementRow> {
    let columns: Vec<&str> = line.split(',').collect();
    let [
        kind,
        minor,
        merchant,
        terminal,
        batch,
        voucher,
        rrn,
        order,
        refund,
        clearing,
    ] = columns[..]
    else {
        return Err(Failure::usage("settlement file", "not ten columns"));
    };
    let bad = |what: &'static str| move || Failure::usage("settlement file", what);
    let kind = PaymentKind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind);
    let minor = minor.parse().ok();
    let amount = minor.and_then(|minor| Amount::new(minor, Currency::CNY).ok());
    let voucher = match (batch, voucher) {
        ("", "") => None,
        _ => Some((
            BatchNumber::parse(batch.as_bytes()).map_err(story::field)?,
            Voucher::parse(voucher.as_bytes()).map_err(story::field)?,
        )),
    };
    Ok(SettlementRow {
        kind: kind.ok_or_else(bad("no such kind"))?,
        amount: amount.ok_or_else(bad("no amount"))?,
        merchant: merchant.parse().map_err(story::field)?,
        terminal: terminal.parse().map_err(story::field)?,
        voucher,
        rrn: known(rrn)?,
        order: known(order)?,
        refund: known(refund)?,
        clearing: ClearingDate::parse(clearing.as_bytes()).map_err(story::field)?,
    })
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn known<T: FromStr<Err = FieldError>>(text: &str) -> Outcome<Option<T>> {
    match text {
        "" => Ok(None),
        _ => text.parse().map(Some).map_err(story::field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let sale = SettlementRow {
            kind: PaymentKind::Sale,
            amount: story::yuan("12.30").unwrap(),
            merchant: story::merchant().unwrap(),
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
        let text = write(&[sale, refund]);
        assert_eq!(read(&text).unwrap(), [sale, refund]);
        for bad in [
            "sale",
            "sale,x,M,T,,,,,,20261115",
            "sail,1,M,T,,,,,,20261115",
        ] {
            assert!(read(&format!("{HEAD}\n{bad}")).is_err(), "{bad}");
        }
    }
}
