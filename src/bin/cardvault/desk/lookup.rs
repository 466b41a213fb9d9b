//! By what a payment is found: what its receipt shows, a token, an order, or a presented card.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use cardvault::card::Pan;
use cardvault::ledger::{LedgerError, Lookup, MAX_PAGE, Payment, PaymentId};
use cardvault::payment::{BatchNumber, Date, OrderNumber, Rrn, TerminalId, Voucher};
use cardvault::token::Token;
use cardvault::vault::Access;
use clap::Args;

use super::show::{Payments, is_payment};
use super::{Desk, DeskArgs, date_argument, failure, read_card};
use crate::failure::{Failure, Outcome};
use crate::who::CardAccessArgs;

/// The payment, by one of: its name, voucher + terminal + batch, reference number + date, order
/// number, token, or the card in a file.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The payment by its name, as `ledger find` shows it: TERMINAL/EPOCH/SEQUENCE
    #[arg(long, value_name = "NAME", help_heading = "Which payment")]
    pub(crate) payment: Option<PaymentId>,
    /// The voucher number on the receipt, six digits; with --batch and --terminal
    #[arg(long, value_name = "NUMBER", requires_all = ["batch", "terminal"], help_heading = "Which payment")]
    pub(crate) voucher: Option<Voucher>,
    /// The batch number on the receipt, six digits
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "terminal",
        help_heading = "Which payment"
    )]
    pub(crate) batch: Option<BatchNumber>,
    /// The terminal on the receipt
    #[arg(
        long,
        value_name = "ID",
        requires = "batch",
        help_heading = "Which payment"
    )]
    pub(crate) terminal: Option<TerminalId>,
    /// The reference number on the receipt; with --date
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "date",
        help_heading = "Which payment"
    )]
    pub(crate) rrn: Option<Rrn>,
    /// The day on the receipt, or the clearing day
    #[arg(long, value_parser = date_argument, requires = "rrn", help_heading = "Which payment")]
    pub(crate) date: Option<Date>,
    /// The order number of a QR payment
    #[arg(long, value_name = "NUMBER", help_heading = "Which payment")]
    pub(crate) order: Option<OrderNumber>,
    /// The card's token
    #[arg(long, value_parser = token, help_heading = "Which payment")]
    pub(crate) token: Option<Token>,
    /// The card that is presented: its number in FILE, or - for standard input. Compared with the
    /// card that paid; alone, the payment is looked for by it
    #[arg(long, value_name = "FILE", help_heading = "Which payment")]
    pub(crate) card: Option<PathBuf>,
}

/// A ledger, what is looked for in it, and who looks.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    pub(crate) desk: DeskArgs,
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) access: CardAccessArgs,
}

/// An open ledger with what is looked for in it.
pub(crate) struct Look<'a> {
    pub(crate) desk: Desk,
    /// The card that is presented.
    pub(crate) card: Option<Pan>,
    args: &'a LookArgs,
}

impl LookArgs {
    /// Reads the presented card and opens the ledger.
    pub(crate) fn open(&self) -> Outcome<Look<'_>> {
        Ok(Look {
            card: self.which.card.as_deref().map(read_card).transpose()?,
            desk: Desk::open(&self.desk)?,
            args: self,
        })
    }
}

/// What was asked for, once the parts are put together.
enum By {
    Name(PaymentId),
    Lookup(Lookup),
    Card,
}

impl Look<'_> {
    /// Every payment that fits.
    pub(crate) fn find(&self) -> Outcome<Vec<Payment>> {
        let by = self.args.which.by()?.ok_or_else(|| {
            Failure::usage("payment", "which one?").hint(
                "give --voucher with --batch and --terminal, --rrn with --date, --order, \
                 --token, --payment or --card FILE",
            )
        })?;
        let desk = &self.desk;
        match (by, &self.card) {
            (By::Name(id), _) => match desk.ledger.payment(&desk.domain, &id) {
                Ok(payment) => Ok(vec![payment]),
                Err(LedgerError::UnknownPayment) => Ok(Vec::new()),
                Err(error) => Err(failure(error)),
            },
            (By::Lookup(lookup), _) => {
                let mut found = Vec::new();
                desk.pages(
                    |after, limit| desk.ledger.find(&desk.domain, &lookup, after, limit),
                    |payments| {
                        found.extend(payments);
                        Ok(())
                    },
                )?;
                Ok(found)
            }
            (By::Card, Some(pan)) => desk
                .ledger
                .find_card(&self.access()?, &desk.domain, pan, MAX_PAGE)
                .map_err(failure),
            (By::Card, None) => Err(Failure::usage("card", "none was read")),
        }
    }

    /// The one payment that something is to be done to; `None` if the ledger has none such.
    pub(crate) fn original(&self) -> Outcome<Option<Payment>> {
        let mut found = self.find()?;
        // Voids and refunds are found by the same keys as what they act on.
        if found.iter().any(is_payment) {
            found.retain(is_payment);
        }
        match found.as_slice() {
            [] => Ok(None),
            [payment] => Ok(Some(*payment)),
            several => {
                Payments::new(&self.desk).show(several)?;
                Err(
                    Failure::usage("payment", format!("{} payments fit", several.len()))
                        .hint("say which one: --payment NAME, from the first column"),
                )
            }
        }
    }

    pub(crate) fn access(&self) -> Outcome<Access> {
        self.args.access.access()
    }
}

impl Which {
    /// Whether anything is named.
    pub(crate) fn is_given(&self) -> bool {
        self.by().is_ok_and(|by| by.is_some())
    }

    fn by(&self) -> Outcome<Option<By>> {
        let voucher = match (self.terminal, self.batch, self.voucher) {
            (Some(terminal), Some(batch), Some(voucher)) => {
                Some(Lookup::Voucher(terminal, batch, voucher))
            }
            (Some(terminal), Some(batch), None) => Some(Lookup::Batch(terminal, batch)),
            _ => None,
        };
        let rrn = self.rrn.zip(self.date);
        let by: Vec<By> = [
            self.payment.map(By::Name),
            voucher.map(By::Lookup),
            rrn.map(|(rrn, date)| By::Lookup(Lookup::Rrn(rrn, date))),
            self.order.map(|order| By::Lookup(Lookup::Order(order))),
            self.token.map(|token| By::Lookup(Lookup::Token(token))),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut by = by.into_iter();
        match (by.next(), by.next()) {
            (Some(_), Some(_)) => Err(Failure::usage("payment", "named in more than one way")
                .hint("give one of them, and --card FILE beside it if the card is there")),
            (Some(by), None) => Ok(Some(by)),
            _ => Ok(self.card.as_ref().map(|_| By::Card)),
        }
    }
}

/// For arguments that are a token.
pub(crate) fn token(text: &str) -> Result<Token, cardvault::token::TokenError> {
    Token::parse(text)
}
