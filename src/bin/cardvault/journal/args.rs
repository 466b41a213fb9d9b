//! The arguments of `journal`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use cardvault::keys::Domain;
use cardvault::payment::TerminalId;
use clap::{Args, Subcommand};

use crate::args::{CardArgs, VaultArgs};
use crate::desk::{ClockArgs, DeskArgs};

const ENTRY_HELP: &str = "\
Input is CSV, whose first line names the columns, or with --json-lines one object a line whose
fields have the same names and are texts. Every name is known and stands there once:

  time      2026-11-22T10:15:00+08:00; without an offset, on the merchant's clock
  kind      sale, sale-void, refund, pre-authorization, pre-authorization-void, completion,
            completion-void, reversal, qr-payment, qr-void, qr-refund
  amount    12.34, in the currency's own decimals
  currency  CNY or 156; three letters or digits of ISO 4217
  stan      trace number, six digits
  voucher   voucher number, six digits
  batch     batch number, six digits
  merchant  merchant id, up to 15 characters
  card      card number; empty if no card was used
These may be left out:
  expiry    YYMM        psn       sequence number of the card, 0 to 99
  rrn       reference number, 12 characters
  approval  six characters
  response  two characters; empty while no answer came: the payment is in doubt
  clearing  the clearing day, 2026-11-22 or 20261122
  par       payment account reference
  order     order number of a QR payment
  refund    the merchant's number of a refund
  original  what this acts on: voucher:BATCH/VOUCHER, rrn:NUMBER/MMDD, order:NUMBER, or
            message:MTI/STAN

A faulty line is named by number and field, never by content, and nothing is written.

  time,kind,amount,currency,stan,voucher,batch,merchant,card,rrn,response,clearing,original
  2026-11-22 10:15:00,sale,100.00,CNY,000001,000001,000007,M1,CARD,112210150001,00,20261122,
  2026-11-22 10:20:00,sale-void,100.00,CNY,000002,000002,000007,M1,,112210200002,00,20261122,\
voucher:000007/000001";

const BOOK_HELP: &str = "\
What the host has verified of each journal stands in the file `journals` in the vault's folder: an
upload is held against it, so that one that was cut, sent before or rolled back is noticed.";

#[derive(Debug, Subcommand)]
pub(crate) enum Journal {
    /// Begin a terminal's journal: a folder that stands in for its flash
    ///
    /// The terminal gets a chain key of its own from the vault's ring, for one epoch, and nothing
    /// else: from what lies in its folder no earlier card can be read.
    Init(Init),
    /// Write payments to a terminal's journal; needs no vault
    #[command(after_help = ENTRY_HELP)]
    Write(Write),
    /// Take what the host does not have yet out of a terminal's journal; needs no vault
    Upload(Upload),
    /// Tell a terminal what the host has: its place may then be used again; needs no vault
    Confirm(Confirm),
    /// Verify an upload and name every fault and its place
    #[command(after_help = BOOK_HELP)]
    Verify(Verify),
    /// Show a verified upload; card numbers are truncated
    Show(Verify),
    /// Take a verified upload into vault and ledger
    ///
    /// The whole upload is verified before anything of it is written, and one with a fault is
    /// refused. The same upload again changes nothing. Entries are written in groups of 400: after
    /// an interruption run the same command again.
    #[command(after_help = BOOK_HELP)]
    Import(Import),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// The terminal's folder
    pub(crate) terminal_folder: PathBuf,
    /// The terminal's id, up to eight characters
    #[arg(long, value_name = "ID")]
    pub(crate) terminal: TerminalId,
    /// The epoch, from 1 [default: the one behind the last that was begun]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) epoch: Option<u32>,
    /// The domain (merchant, tenant, fleet) that the terminal belongs to
    #[arg(long, default_value = "default")]
    pub(crate) domain: Domain,
    /// Pages of 4 KiB for entries; about 17 entries fit on a page
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    pub(crate) pages: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Write {
    /// The terminal's folder
    pub(crate) terminal_folder: PathBuf,
    /// Input file; - is standard input
    #[arg(default_value = "-")]
    pub(crate) input: PathBuf,
    /// Input is one JSON object a line
    #[arg(long)]
    pub(crate) json_lines: bool,
    #[command(flatten)]
    pub(crate) clock: ClockArgs,
    #[command(flatten)]
    pub(crate) cards: CardArgs,
    /// Begin with this line of the input: what stands before it was written
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    pub(crate) from_line: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// The terminal's folder
    pub(crate) terminal_folder: PathBuf,
    /// Output file; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// The terminal's folder
    pub(crate) terminal_folder: PathBuf,
    /// The receipt that `journal import` wrote
    pub(crate) receipt: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) desk: DeskArgs,
    /// The upload
    pub(crate) upload: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) verify: Verify,
    /// Write the receipt for the terminal to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    /// Take what is genuine in an upload with faults. With the receipt the terminal forgets the
    /// rest
    #[arg(long)]
    pub(crate) accept_faults: bool,
}
