//! The arguments of `ledger`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use cardvault::ledger::watch::Limits;
use cardvault::payment::{BatchNumber, Date, TerminalId};
use clap::{Args, Subcommand};

use crate::desk::lookup::LookArgs;
use crate::desk::{DeskArgs, RangeArgs, date_argument};

const SETTLEMENT_HELP: &str = "\
A settlement file is CSV whose first line names the columns:

  kind      sale, completion, qr-payment, refund, qr-refund; others move no money
  amount    12.34
  currency  CNY or 156
  merchant  merchant id
  terminal  terminal id
  clearing  the clearing day, 2026-11-22 or 20261122
These may be left out, but a payment needs voucher and batch, order or rrn, and a refund needs
refund or rrn:
  batch     six digits             voucher   six digits
  rrn       12 characters          order     order number of a QR payment
  refund    the merchant's number of a refund

What the ledger has of the file's merchants and clearing days is held against it. Each difference
is named: missing-in-ledger, missing-in-file, missing-in-journal, duplicate, ambiguous, kind,
amount, merchant, terminal, numbers, reference-number, clearing-date, outcome, in-doubt,
moved-money, not-settled-yet.";

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Find payments by what is known of them, or all of a range of time
    Find(Find),
    /// Show one payment and everything that happened to it, checked, as evidence
    History(History),
    /// Mark a terminal's batch as settled: nothing in it can be voided any more
    SettleBatch(SettleBatch),
    /// Hold the ledger against a journal or a settlement file and name each difference
    #[command(after_help = SETTLEMENT_HELP)]
    Reconcile(Reconcile),
    /// Look through payments for what a person should see: frequent small payments, repeated
    /// refunds, unusual hours, gaps in a journal's numbers
    Watch(Watch),
}

#[derive(Debug, Args)]
pub(crate) struct Find {
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// Payments whose outcome is unknown
    #[arg(long)]
    pub(crate) in_doubt: bool,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SettleBatch {
    #[command(flatten)]
    pub(crate) desk: DeskArgs,
    /// The terminal
    #[arg(long, value_name = "ID")]
    pub(crate) terminal: TerminalId,
    /// Its batch, six digits
    #[arg(long, value_name = "NUMBER")]
    pub(crate) batch: BatchNumber,
}

#[derive(Debug, Args)]
#[group(id = "against", required = true, multiple = false, args = ["journal", "settlement"])]
pub(crate) struct Reconcile {
    #[command(flatten)]
    pub(crate) desk: DeskArgs,
    /// An upload of a terminal's journal
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// A centre's settlement file
    #[arg(long, value_name = "FILE")]
    pub(crate) settlement: Option<PathBuf>,
    /// The file's first clearing day [default: the earliest that stands in it]
    #[arg(long, value_name = "DAY", value_parser = date_argument, conflicts_with = "journal")]
    pub(crate) first_day: Option<Date>,
    /// The file's last clearing day [default: the latest that stands in it]
    #[arg(long, value_name = "DAY", value_parser = date_argument, conflicts_with = "journal")]
    pub(crate) last_day: Option<Date>,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) desk: DeskArgs,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// A payment of at most this many minor units is small, in whatever currency
    #[arg(long, value_name = "UNITS", default_value_t = Limits::DEFAULT.small_minor)]
    pub(crate) small: u64,
    /// So many small payments with one card within --small-seconds
    #[arg(long, value_name = "COUNT", default_value_t = Limits::DEFAULT.small_of_token)]
    pub(crate) small_of_card: u16,
    /// So many small payments at one terminal within --small-seconds
    #[arg(long, value_name = "COUNT", default_value_t = Limits::DEFAULT.small_of_terminal)]
    pub(crate) small_of_terminal: u16,
    /// The time in which small payments are counted
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.small_seconds)]
    pub(crate) small_seconds: u64,
    /// So many refunds to one card within --refund-seconds
    #[arg(long, value_name = "COUNT", default_value_t = Limits::DEFAULT.refunds_of_token)]
    pub(crate) refunds_of_card: u16,
    /// So many refunds at one terminal within --refund-seconds
    #[arg(long, value_name = "COUNT", default_value_t = Limits::DEFAULT.refunds_of_terminal)]
    pub(crate) refunds_of_terminal: u16,
    /// The time in which refunds are counted
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.refund_seconds)]
    pub(crate) refund_seconds: u64,
    /// The first usual hour of the merchant's day
    #[arg(long, value_name = "HOUR", default_value_t = Limits::DEFAULT.opens,
          value_parser = clap::value_parser!(u8).range(0..=23))]
    pub(crate) opens: u8,
    /// The first hour that is not usual any more; before --opens it is on the next day
    #[arg(long, value_name = "HOUR", default_value_t = Limits::DEFAULT.closes,
          value_parser = clap::value_parser!(u8).range(1..=24))]
    pub(crate) closes: u8,
}

impl Watch {
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            small_minor: self.small,
            small_of_token: self.small_of_card,
            small_of_terminal: self.small_of_terminal,
            small_seconds: self.small_seconds,
            refunds_of_token: self.refunds_of_card,
            refunds_of_terminal: self.refunds_of_terminal,
            refund_seconds: self.refund_seconds,
            opens: self.opens,
            closes: self.closes,
            offset_minutes: self.desk.clock.utc_offset.0,
        }
    }
}
