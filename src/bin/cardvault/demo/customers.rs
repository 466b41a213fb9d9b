//! The demo's customers at the refund desk, one after the other.
#![forbid(unsafe_code)]

use cardvault::ledger::{Answer, Happened, Lookup, Payment, Source};
use cardvault::refund::{Action, Authority, PaymentState, Refusal};

use super::cards::{AMEX, MASTERCARD, SHOWN, UNIONPAY};
use super::desk::{Desk, Wish};
use super::paper::Paper;
use super::receipt::Receipt;
use super::{failed, pan, story, told};
use crate::failure::{Failure, Outcome};

impl Desk<'_> {
    /// On the day of the payments, before and after their batches are settled.
    pub(super) fn same_day(&mut self, paper: &Paper) -> Outcome<()> {
        story::set(1, 21, 30);
        paper.part("On the day, before the batches are settled")?;
        let sold = self.by_voucher("T0000003", 301)?;
        let wish = Wish {
            action: Action::Void,
            ..Wish::refund("58.00", "V-1", MASTERCARD)
        };
        let void = self.granted(paper, &sold, &wish)?;
        self.expect_state(&sold, PaymentState::Voided)?;

        story::pass(90);
        let mut settled = 0;
        for terminal in ["T0000001", "T0000002", "T0000003"] {
            let terminal = terminal.parse().map_err(story::field)?;
            let batch = sold.fields.batch;
            let marked =
                self.host
                    .ledger
                    .settle_batch(&self.host.shop, &terminal, batch, Source::Operator);
            settled += marked.map_err(failed("ledger"))?;
        }
        paper.part(&format!(
            "After the settlement of batch {}: {settled} payments",
            sold.fields.batch
        ))?;
        let sold = self.by_voucher("T0000002", 201)?;
        let wish = Wish {
            action: Action::Void,
            ..Wish::refund("35.00", "V-2", AMEX)
        };
        let refusal = self.refused(paper, &sold, &wish)?;
        told(
            refusal == Refusal::BatchSettled,
            "no void after the settlement",
        )?;
        let refund = self.granted(paper, &sold, &Wish::refund("35.00", "R-1", AMEX))?;
        self.expect_state(&sold, PaymentState::Refunded)?;
        let (voided, sold) = (self.by_voucher("T0000003", 301)?, self.reload(&sold)?);
        paper.receipts(&[
            Receipt::given_back(&voided, &void, Some(&mask(MASTERCARD)?))?,
            Receipt::given_back(&sold, &refund, Some(&mask(AMEX)?))?,
        ])
    }

    /// The day after.
    pub(super) fn next_day(&mut self, paper: &Paper) -> Outcome<()> {
        story::set(2, 10, 0);
        paper.part("The next day: with the card that paid, and with another one")?;
        let sold = self.by_voucher("T0000001", 101)?;
        let refusal = self.refused(paper, &sold, &Wish::refund("128.00", "R-2", UNIONPAY))?;
        told(refusal == Refusal::WrongCard, "another card gets nothing")?;
        self.granted(paper, &sold, &Wish::refund("128.00", "R-2", SHOWN))?;
        self.expect_state(&sold, PaymentState::Refunded)?;

        paper.part("In parts, and one too many; a double click")?;
        let sold = self.by_voucher("T0000001", 102)?;
        self.granted(paper, &sold, &Wish::refund("120.00", "R-3", UNIONPAY))?;
        let part = self.granted(paper, &sold, &Wish::refund("80.00", "R-4", UNIONPAY))?;
        let refusal = self.refused(paper, &sold, &Wish::refund("150.00", "R-5", UNIONPAY))?;
        let left = story::yuan("100.00")?;
        let exceeded =
            matches!(refusal, Refusal::TotalExceeded { left: found, .. } if found == left);
        told(exceeded, "no more than is left")?;
        let again = self.ask(&sold, &Wish::refund("80.00", "R-4", UNIONPAY))?;
        self.show(
            paper,
            &sold,
            &Wish::refund("80.00", "R-4", UNIONPAY),
            &again,
        )?;
        let first = again.is_ok_and(|again| again.repeated && again.record == part);
        told(first, "a double click gets the first answer")?;
        let given = self
            .reload(&sold)?
            .refunds
            .counted()
            .map_err(failed("ledger"))?;
        told(
            given == story::yuan("200.00")?,
            "a double click moves no money",
        )?;
        self.expect_state(&sold, PaymentState::PartlyRefunded)?;

        self.without_card(paper)?;
        let qr = self.qr(paper)?;
        paper.receipts(&[
            Receipt::given_back(&self.reload(&sold)?, &part, Some(&mask(UNIONPAY)?))?,
            qr,
        ])?;
        self.in_doubt(paper)
    }

    /// The card was lost: its token leads to it, for the host alone.
    fn without_card(&mut self, paper: &Paper) -> Outcome<()> {
        let sold = self.by_voucher("T0000002", 202)?;
        let token = sold
            .token
            .ok_or_else(|| Failure::keys("ledger", "no token"))?;
        paper.part("No card at hand: by the token, and a supervisor answers for it")?;
        let found = self.host.find(&Lookup::Token(token))?;
        told(found.id == sold.id, "the token finds the payment")?;
        let clerk = Wish {
            card: None,
            by: Authority::Clerk,
            ..Wish::refund("210.00", "R-6", SHOWN)
        };
        let refusal = self.refused(paper, &found, &clerk)?;
        let needed = Authority::Supervisor;
        told(
            refusal == Refusal::Authority { needed },
            "a clerk alone may not",
        )?;
        let supervisor = Wish {
            by: needed,
            ..clerk
        };
        self.granted(paper, &found, &supervisor)?;
        let card = self
            .host
            .vault
            .detokenize(&self.access, &self.host.shop, &token);
        let card = card.map_err(failed("vault"))?;
        paper.line(&format!(
            "   {token} gives the host {} for the message; the desk saw ****{:04}",
            card.pan.mask(),
            found.last_four.unwrap_or_default()
        ))
    }

    /// Known by its order number.
    fn qr(&mut self, paper: &Paper) -> Outcome<Receipt> {
        story::set(4, 10, 0);
        paper.part("Paid by QR code, two days later: by the order number")?;
        let order = "ORDER-20117".parse().map_err(story::field)?;
        let sold = self.host.find(&Lookup::Order(order))?;
        let wish = Wish {
            card: None,
            ..Wish::refund("45.00", "R-7", SHOWN)
        };
        let record = self.granted(paper, &sold, &wish)?;
        self.expect_state(&sold, PaymentState::Refunded)?;
        Receipt::given_back(&self.reload(&sold)?, &record, None)
    }

    /// No answer came: was the money taken?
    fn in_doubt(&mut self, paper: &Paper) -> Outcome<()> {
        paper.part("The customer entered the PIN, and no answer came: was the money taken?")?;
        let sold = self.by_voucher("T0000002", 203)?;
        let wish = Wish {
            card: None,
            ..Wish::refund("89.00", "R-8", SHOWN)
        };
        let refusal = self.refused(paper, &sold, &wish)?;
        told(
            refusal == Refusal::InDoubt,
            "a payment in doubt is not refunded",
        )?;
        let found = self.centre.inquire(&sold.fields);
        let answer: Answer = found.ok_or_else(|| Failure::keys("centre", "no such message"))?;
        let ledger = &self.host.ledger;
        let resolved = ledger.resolve(&self.host.shop, &sold.id, &answer, Source::Inquiry);
        let resolved = resolved.map_err(failed("ledger"))?;
        paper.line(&format!(
            "   the inquiry answers {}, RRN {}: the payment is {}",
            answer.response,
            answer.rrn.map(|rrn| rrn.to_string()).unwrap_or_default(),
            resolved.state
        ))?;
        told(
            resolved.state == PaymentState::Captured,
            "the inquiry resolves the doubt",
        )?;
        self.history(paper, &resolved)?;
        let reversed = self.by_voucher("T0000001", 104)?;
        self.history(paper, &reversed)?;
        told(
            reversed.state == PaymentState::Reversed,
            "the torn payment is reversed",
        )
    }

    /// What happened to a payment: evidence, of which every line was checked.
    fn history(&self, paper: &Paper, payment: &Payment) -> Outcome<()> {
        let entries = self.host.ledger.history(&self.host.shop, &payment.id);
        let entries = entries.map_err(failed("ledger"))?;
        paper.line(&format!(
            "   history of voucher {} at {}, each line bound to the one before:",
            payment.fields.voucher, payment.fields.terminal
        ))?;
        for entry in &entries {
            let what = match (entry.what, &entry.request) {
                (Happened::Recorded, _) => "recorded".to_owned(),
                (Happened::BatchSettled, _) => "batch settled".to_owned(),
                (Happened::Requested, Some(request)) => format!("{} asked for", request.action),
                (Happened::Request(_), Some(request)) => {
                    format!("{} {}", request.action, request.status)
                }
                _ => "outcome known".to_owned(),
            };
            let source = format!("{:?}", entry.source).to_lowercase();
            paper.line(&format!(
                "     {}  {what:<20} by the {source:<9} {}",
                story::stamp(entry.time)?,
                entry.state
            ))?;
        }
        let last = entries.last();
        told(
            last.is_some_and(|last| last.state == payment.state),
            "the history leads to the state",
        )
    }
}

fn mask(number: &str) -> Outcome<String> {
    Ok(pan(number)?.mask().as_str().to_owned())
}
