//! The refund desk: puts a customer's wish before the rules, tells what they say, and sends what
//! they grant.
#![forbid(unsafe_code)]

use cardvault::ledger::{LedgerError, Lookup, Payment, RequestRecord, Requested, Source};
use cardvault::payment::{BatchNumber, Rrn, TerminalId, Voucher};
use cardvault::refund::{
    Action, Authority, CardMatch, PaidBy, PaymentState, Policy, RefundEvent, RefundStatus, Refusal,
    Request,
};
use cardvault::vault::Access;

use super::centre::Centre;
use super::host::Host;
use super::paper::Paper;
use super::{failed, pan, story, told};
use crate::failure::{Failure, Outcome};

/// The desk, with what it has at hand.
pub(super) struct Desk<'a> {
    pub(super) host: &'a Host,
    pub(super) centre: &'a mut Centre,
    pub(super) access: Access,
}

/// What a customer wants.
pub(super) struct Wish {
    pub(super) action: Action,
    pub(super) amount: &'static str,
    pub(super) number: &'static str,
    /// The card that is presented.
    pub(super) card: Option<&'static str>,
    pub(super) by: Authority,
}

impl Wish {
    pub(super) const fn refund(
        amount: &'static str,
        number: &'static str,
        card: &'static str,
    ) -> Self {
        Self {
            action: Action::Refund,
            amount,
            number,
            card: Some(card),
            by: Authority::Supervisor,
        }
    }
}

/// What the rules said.
pub(super) type Said = Result<Requested, Refusal>;

impl<'a> Desk<'a> {
    pub(super) fn open(host: &'a Host, centre: &'a mut Centre) -> Outcome<Self> {
        let access = Access::new("refund-desk", "refunds of the day", "demo");
        let access = access.map_err(failed("access"))?;
        Ok(Self {
            host,
            centre,
            access,
        })
    }

    /// Asks, and wants it granted and taken on by the centre.
    pub(super) fn granted(
        &mut self,
        paper: &Paper,
        payment: &Payment,
        wish: &Wish,
    ) -> Outcome<RequestRecord> {
        let said = self.ask(payment, wish)?;
        let Ok(requested) = said else {
            self.show(paper, payment, wish, &said)?;
            return Err(Failure::keys("demo", "not as told: the request is granted"));
        };
        let rrn = match wish.action {
            Action::Void => self.centre.void(payment)?,
            _ => self.centre.refund(payment, &requested.record)?,
        };
        let record = self.progress(&requested.record, RefundEvent::Accepted, Some(rrn))?;
        let said = Ok(Requested {
            record,
            repeated: requested.repeated,
        });
        self.show(paper, payment, wish, &said)?;
        told(
            !requested.repeated && record.status == RefundStatus::Accepted,
            "the centre takes it on",
        )?;
        Ok(record)
    }

    /// Asks, and wants it refused.
    pub(super) fn refused(
        &mut self,
        paper: &Paper,
        payment: &Payment,
        wish: &Wish,
    ) -> Outcome<Refusal> {
        let said = self.ask(payment, wish)?;
        self.show(paper, payment, wish, &said)?;
        said.err()
            .ok_or_else(|| Failure::keys("demo", "not as told: the request is refused"))
    }

    pub(super) fn ask(&self, payment: &Payment, wish: &Wish) -> Outcome<Said> {
        story::pass(2);
        let (ledger, shop) = (&self.host.ledger, &self.host.shop);
        let card = match wish.card {
            Some(number) => ledger
                .compare(&self.access, shop, &payment.id, &pan(number)?, None)
                .map_err(failed("ledger"))?,
            None => CardMatch::NotPresented,
        };
        let request = Request {
            action: wish.action,
            amount: story::yuan(wish.amount)?,
            number: wish.number.parse().map_err(story::field)?,
            merchant: payment.fields.merchant,
            terminal: payment.fields.terminal,
            card,
            authority: wish.by,
            today: story::date(story::now())?,
            clearing: story::clearing()?,
        };
        let policy = match payment.paid_by {
            PaidBy::Qr => Policy::QR_WALLET,
            _ => Policy::UNIONPAY_CARD_PRESENT,
        };
        match ledger.request(shop, &payment.id, &policy, &request) {
            Ok(requested) => Ok(Ok(requested)),
            Err(LedgerError::Refused(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(failed("ledger")(error)),
        }
    }

    fn progress(
        &self,
        record: &RequestRecord,
        event: RefundEvent,
        rrn: Option<Rrn>,
    ) -> Outcome<RequestRecord> {
        let (merchant, number) = (&record.merchant, &record.number);
        let (ledger, shop) = (&self.host.ledger, &self.host.shop);
        let done = ledger.progress(shop, merchant, number, event, Source::Centre, rrn);
        done.map_err(failed("ledger"))
    }

    /// One line, and what the clerk can do if it is refused.
    pub(super) fn show(
        &self,
        paper: &Paper,
        payment: &Payment,
        wish: &Wish,
        said: &Said,
    ) -> Outcome<()> {
        let with = match (wish.card, payment.paid_by) {
            (Some(number), _) => format!("card ****{:04}", pan(number)?.last_four()),
            (None, PaidBy::Qr) => "order".to_owned(),
            (None, _) => "no card".to_owned(),
        };
        let asked = format!(
            "{} of {}: {} {}, {with}, {}, {}",
            payment.fields.voucher,
            payment.fields.amount,
            wish.action,
            wish.amount,
            wish.by,
            wish.number
        );
        let now = self.reload(payment)?;
        let answer = match said {
            Ok(Requested {
                record,
                repeated: false,
            }) => format!("{}: {}", record.status, now.state),
            Ok(Requested {
                record,
                repeated: true,
            }) => format!("{} already, nothing is sent", record.status),
            Err(refusal) => format!("refused: {refusal}"),
        };
        paper.line(&format!("   {asked:<67} {answer}"))?;
        match said {
            Ok(_) => Ok(()),
            Err(refusal) => paper.line(&format!("       -> {}", refusal.advice())),
        }
    }

    /// The payment of a receipt: its terminal, and its voucher in the batch of the day.
    pub(super) fn by_voucher(&self, terminal: &str, voucher: u32) -> Outcome<Payment> {
        let terminal: TerminalId = terminal.parse().map_err(story::field)?;
        let numbers = (BatchNumber::new(7), Voucher::new(voucher));
        let (Some(batch), Some(voucher)) = numbers else {
            return Err(Failure::usage("voucher", "number out of range"));
        };
        self.host.find(&Lookup::Voucher(terminal, batch, voucher))
    }

    pub(super) fn reload(&self, payment: &Payment) -> Outcome<Payment> {
        let found = self.host.ledger.payment(&self.host.shop, &payment.id);
        found.map_err(failed("ledger"))
    }

    pub(super) fn expect_state(&self, payment: &Payment, state: PaymentState) -> Outcome<()> {
        let audited = self.host.ledger.audit(&self.host.shop, &payment.id);
        let found = audited.map_err(failed("ledger"))?.state;
        told(found == state, state.as_str())
    }
}
