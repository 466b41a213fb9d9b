//! The acquirer's centre, as far as a terminal and a refund desk see it: it answers, remembers
//! what it answered, and sends a settlement file.
#![forbid(unsafe_code)]

use cardvault::ledger::reconcile::SettlementRow;
use cardvault::ledger::{Answer, Payment, RequestRecord};
use cardvault::payment::{PaymentFields, ResponseCode, Rrn, Stan, TerminalId};

use super::story;
use crate::failure::{Failure, Outcome};

#[derive(Default)]
pub(super) struct Centre {
    answered: u32,
    taken: Vec<Taken>,
}

/// Money that moved.
struct Taken {
    /// By what a terminal asks for its own message.
    message: Option<(TerminalId, Stan)>,
    answer: Option<Answer>,
    row: SettlementRow,
}

impl Centre {
    /// Approves a payment.
    pub(super) fn approve(&mut self, fields: &PaymentFields) -> Outcome<Answer> {
        let clearing = story::clearing()?;
        let rrn = self.number()?;
        let approval = format!("A{:05}", self.answered);
        let answer = Answer {
            response: ResponseCode::APPROVED,
            rrn: Some(rrn),
            approval: Some(approval.parse().map_err(story::field)?),
            clearing: Some(clearing),
        };
        self.taken.push(Taken {
            message: Some((fields.terminal, fields.stan)),
            answer: Some(answer),
            row: SettlementRow {
                kind: fields.kind,
                amount: fields.amount,
                merchant: fields.merchant,
                terminal: fields.terminal,
                voucher: Some((fields.batch, fields.voucher)),
                rrn: Some(rrn),
                order: fields.order,
                refund: None,
                clearing,
            },
        });
        Ok(answer)
    }

    /// Undoes a payment that it may have approved.
    pub(super) fn reverse(&mut self, fields: &PaymentFields) -> Outcome<ResponseCode> {
        let message = Some((fields.terminal, fields.stan));
        let before = self.taken.len();
        self.taken.retain(|taken| taken.message != message);
        let code = if self.taken.len() < before {
            "00"
        } else {
            "25"
        };
        code.parse().map_err(story::field)
    }

    /// What it answered to a message, if it ever saw it.
    pub(super) fn inquire(&self, fields: &PaymentFields) -> Option<Answer> {
        let message = Some((fields.terminal, fields.stan));
        let taken = self.taken.iter().find(|taken| taken.message == message);
        taken.and_then(|taken| taken.answer)
    }

    /// Takes a void on: the payment is never settled.
    pub(super) fn void(&mut self, payment: &Payment) -> Outcome<Rrn> {
        self.taken
            .retain(|taken| taken.row.rrn != payment.fields.rrn);
        self.number()
    }

    /// Takes a refund on.
    pub(super) fn refund(&mut self, payment: &Payment, record: &RequestRecord) -> Outcome<Rrn> {
        let kind = payment.fields.kind.refund();
        let rrn = self.number()?;
        self.taken.push(Taken {
            message: None,
            answer: None,
            row: SettlementRow {
                kind: kind.ok_or_else(|| Failure::usage("centre", "nothing to refund"))?,
                amount: record.amount,
                merchant: record.merchant,
                terminal: record.terminal,
                voucher: None,
                rrn: Some(rrn),
                order: payment.fields.order,
                refund: Some(record.number),
                clearing: story::clearing()?,
            },
        });
        Ok(rrn)
    }

    /// What it settled.
    pub(super) fn rows(&self) -> Vec<SettlementRow> {
        self.taken.iter().map(|taken| taken.row).collect()
    }

    /// A new reference number: the day, and a count.
    fn number(&mut self) -> Outcome<Rrn> {
        self.answered += 1;
        let day = story::clearing()?.0;
        let text = format!(
            "{:02}{:02}{:02}{:06}",
            day.year() % 100,
            day.month(),
            day.day(),
            self.answered
        );
        text.parse().map_err(story::field)
    }
}
