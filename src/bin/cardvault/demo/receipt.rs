//! Receipts as a customer gets them: plain ASCII, 36 columns wide.
#![forbid(unsafe_code)]

use cardvault::UnixSeconds;
use cardvault::ledger::{Payment, RequestRecord};
use cardvault::payment::{PaymentFields, Rrn};
use cardvault::refund::Action;

use super::{failed, story};
use crate::failure::Outcome;

/// Columns between the edges of the paper.
const WIDTH: usize = 32;

pub(super) struct Receipt(Vec<String>);

impl Receipt {
    /// Of a payment. `card` is masked; a QR code has none.
    pub(super) fn payment(
        fields: &PaymentFields,
        time: UnixSeconds,
        card: Option<&str>,
    ) -> Outcome<Self> {
        let mut receipt = Self::begin(fields.kind.as_str());
        receipt.pair("TERMINAL", fields.terminal.as_str());
        receipt.pair("BATCH", fields.batch);
        receipt.pair("VOUCHER", fields.voucher);
        receipt.paid_with(fields, card);
        receipt.reference(fields.rrn);
        receipt.pair("DATE", story::stamp(time)?);
        receipt.end(fields.amount);
        Ok(receipt)
    }

    /// Of what was given back of `payment`, which is as it stands now.
    pub(super) fn given_back(
        payment: &Payment,
        record: &RequestRecord,
        card: Option<&str>,
    ) -> Outcome<Self> {
        let mut receipt = Self::begin(record.action.as_str());
        receipt.pair("TERMINAL", record.terminal.as_str());
        receipt.pair("NUMBER", record.number);
        receipt.pair("OF VOUCHER", payment.fields.voucher);
        receipt.paid_with(&payment.fields, card);
        receipt.reference(record.rrn);
        receipt.pair("DATE", story::stamp(record.requested)?);
        receipt.pair("PAID", payment.fields.amount);
        if record.action == Action::Refund {
            let given = payment.refunds.counted();
            let left = given.and_then(|given| payment.fields.amount.checked_sub(given));
            receipt.pair("LEFT", left.map_err(failed("ledger"))?);
        }
        receipt.end(record.amount);
        Ok(receipt)
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.0
    }

    fn begin(what: &str) -> Self {
        let mut receipt = Self(vec![format!(".{}.", "-".repeat(WIDTH + 2))]);
        receipt.line(&format!("{:^WIDTH$}", story::SHOP));
        receipt.line(&format!("{:^WIDTH$}", what.to_uppercase()));
        receipt
    }

    fn paid_with(&mut self, fields: &PaymentFields, card: Option<&str>) {
        match (&fields.order, card) {
            (Some(order), _) => self.pair("QR ORDER", order),
            (None, Some(card)) => self.pair("CARD", card),
            (None, None) => self.pair("CARD", "not read"),
        }
    }

    fn reference(&mut self, rrn: Option<Rrn>) {
        match rrn {
            Some(rrn) => self.pair("RRN", rrn),
            None => self.pair("RRN", "-"),
        }
    }

    fn pair(&mut self, name: &str, value: impl ToString) {
        let room = WIDTH.saturating_sub(name.len());
        self.line(&format!("{name}{:>room$}", value.to_string()));
    }

    fn line(&mut self, text: &str) {
        self.0.push(format!("| {text:<WIDTH$} |"));
    }

    fn end(&mut self, total: impl ToString) {
        self.pair("TOTAL", total);
        self.0.push(format!("'{}'", "-".repeat(WIDTH + 2)));
    }
}
