//! The command line.
#![forbid(unsafe_code)]

use std::num::NonZeroU32;
use std::path::PathBuf;

use cardvault::keys::{CheckValue, Domain, KeyName, KeyUse};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::audit::Audit;
use crate::formats::{Shape, Vaultless};
use crate::journal::args::Journal;
use crate::ledger::args::Ledger;
use crate::refund::args::Refund;
use crate::store::PlaceArgs;
use crate::who::{AccessArgs, KeyAccessArgs};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the answer is no: lines were rejected, the refund rules refused, a journal
     has a fault or entries that could not be applied, an audit log or a row
     was tampered with, a reconciliation found differences, a watch something
     to see, a purge tokens that it could not judge, or the demo a clear number
  2  wrong usage; nothing was done
  3  the vault, the key ring or a key refused; or the demo did not go as told
  4  a file could not be read or written, or is not in its format

Card numbers are read from files or standard input, never from arguments.";

const FILE_HELP: &str = "\
Input is one value a line, or CSV: with --csv, --column, --header or
--delimiter, or if the file's name ends in .csv or .tsv. A CSV record is one
line: a line break inside quotes is refused, so that no card number hides in a
field that swallowed a line. Bytes of other columns stay as they are. Empty
lines are kept. Bad lines are left out of the output and named, by line number
and reason and never by content, in the reject file.

Output files appear under their names when they are complete. After an
interruption run the same command again: a card that has its token keeps it
(but not with --fresh). Until then a draft stays beside the output,
.NAME.cardvault-draft; that of detokenize holds card numbers: delete it if you
do not run the command again.";

/// Card numbers in, tokens out: checks, masks, tokenizes and seals card numbers, takes in what
/// terminals wrote, and refunds payments.
#[derive(Debug, Parser)]
#[command(name = "cardvault", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole of it with published test cards in a temporary folder
    Demo(Demo),
    /// Make a vault: a folder with vault.redb, ring.cvk and audit logs
    Init(Init),
    /// Replace card numbers by tokens
    #[command(after_help = FILE_HELP)]
    Tokenize(Tokenize),
    /// Replace tokens by card numbers; each access is logged
    #[command(after_help = FILE_HELP)]
    Detokenize(Detokenize),
    /// Replace card numbers by masked ones; needs no vault
    #[command(after_help = FILE_HELP)]
    Mask(Mask),
    /// Show brand, length, Luhn check and mask of card numbers; needs no vault
    Inspect(Inspect),
    /// List and change the keys of a vault
    #[command(subcommand)]
    Keys(Keys),
    /// Show what a policy says of who may do what
    #[command(subcommand)]
    Policy(crate::policy::Policy),
    /// Count what a vault holds
    Stats(Stats),
    /// Work on all records of a vault: move them to the active key, list or purge them
    #[command(subcommand)]
    Vault(Vault),
    /// Write the whole vault, its ledger included, to one sealed file: a backup; it is logged
    Export(crate::archive::Export),
    /// Verify an archive and make a new vault of it
    Import(crate::archive::Import),
    /// Write a terminal's journal; verify, show and import it at the host
    #[command(subcommand)]
    Journal(Journal),
    /// Void, refund and reverse payments, and follow what became of it
    #[command(subcommand)]
    Refund(Refund),
    /// Verify who had access to what; make checkpoints, and find rows that are gone or back
    #[command(subcommand)]
    Audit(Audit),
    /// Find payments and their history; reconcile and watch them
    #[command(subcommand)]
    Ledger(Ledger),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Write everything to this new folder and keep it: vault, journals, uploads, settlement file
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
}

/// What opens the key ring.
#[derive(Debug, Args)]
pub(crate) struct Unlock {
    /// File with the passphrase of a development ring [else: CARDVAULT_PASSPHRASE, or a prompt]
    #[arg(long, value_name = "FILE", conflicts_with = "component_file")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// File with one component of a production ring's KEK; give each of them
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    pub(crate) component_file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The new vault's folder
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) unlock: Unlock,
    /// Draw a component of a new production KEK and write it to FILE; once for each custodian
    #[arg(
        long,
        value_name = "FILE",
        action = ArgAction::Append,
        conflicts_with_all = ["component_file", "passphrase_file"],
    )]
    pub(crate) new_component: Vec<PathBuf>,
    /// Refuse a KEK with another check value
    #[arg(long, value_name = "CHECK")]
    pub(crate) expect_kek: Option<CheckValue>,
    /// Memory of Argon2id, in KiB
    #[arg(long, hide = true, value_name = "KIB")]
    pub(crate) argon2_memory: Option<u32>,
    /// Passes of Argon2id
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) argon2_passes: Option<u32>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    /// The vault's folder
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) unlock: Unlock,
}

/// What is read and written, and which column of it.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Input file; - is standard input
    #[arg(default_value = "-")]
    pub(crate) input: PathBuf,
    /// Output file; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Write rejected lines' numbers and reasons to FILE, as CSV [else: the first few to stderr]
    #[arg(long, value_name = "FILE")]
    pub(crate) reject: Option<PathBuf>,
    /// The column with the values: its number from 1, or its name in the header
    #[arg(short, long, value_name = "NAME|N")]
    pub(crate) column: Option<String>,
    /// Input is CSV
    #[arg(long)]
    pub(crate) csv: bool,
    /// What stands between columns: one ASCII character, or `tab` [default: comma, tab for .tsv]
    #[arg(short, long, value_name = "CHAR", value_parser = delimiter)]
    pub(crate) delimiter: Option<u8>,
    /// The first line names the columns
    #[arg(long)]
    pub(crate) header: bool,
    /// Add the new values as a last column with this name; the column with the values stays
    #[arg(long, value_name = "NAME")]
    pub(crate) append: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CardArgs {
    /// Admit UnionPay and enRoute numbers that fail the Luhn check
    #[arg(long)]
    pub(crate) admit_luhn_failures: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tokenize {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    #[command(flatten)]
    pub(crate) files: FileArgs,
    #[command(flatten)]
    pub(crate) cards: CardArgs,
    /// The domain (merchant, tenant, fleet) that the tokens belong to
    #[arg(long, default_value = "default")]
    pub(crate) domain: Domain,
    /// Vaulted tokens: `opaque`, or `card:FIRST:LAST` with the digits kept, such as card:6:4
    #[arg(long, default_value = "opaque", conflicts_with_all = ["vaultless", "irreversible"])]
    pub(crate) format: Shape,
    /// Vaultless tokens (FF1) that keep so many first and last digits, such as 0:4
    #[arg(long, value_name = "FIRST:LAST", conflicts_with = "irreversible")]
    pub(crate) vaultless: Option<Vaultless>,
    /// Irreversible tokens (keyed hash)
    #[arg(long)]
    pub(crate) irreversible: bool,
    /// Another token each time, not the one that the card has
    #[arg(long, conflicts_with_all = ["vaultless", "irreversible"])]
    pub(crate) fresh: bool,
    /// The vault refuses the tokens after so many days
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["vaultless", "irreversible"])]
    pub(crate) valid_days: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Detokenize {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    #[command(flatten)]
    pub(crate) files: FileArgs,
    /// The domain that the tokens belong to
    #[arg(long, default_value = "default")]
    pub(crate) domain: Domain,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Tokens are vaultless ones that keep so many first and last digits. Nothing authenticates
    /// them: check what comes out against a fingerprint or a payment
    #[arg(long, value_name = "FIRST:LAST")]
    pub(crate) vaultless: Option<Vaultless>,
}

#[derive(Debug, Args)]
pub(crate) struct Mask {
    #[command(flatten)]
    pub(crate) files: FileArgs,
    #[command(flatten)]
    pub(crate) cards: CardArgs,
    /// Digits of the BIN that stay: 0, 6 or 8
    #[arg(long, default_value = "6", value_parser = ["0", "6", "8"])]
    pub(crate) bin: String,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Input file, one number a line; - is standard input
    #[arg(default_value = "-")]
    pub(crate) input: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Show every version: state, check value and times
    List(Listing),
    /// Show check values and what is due, of the ring or of component files alone
    Check(Check),
    /// Replace a key: draw a new version, put it into use, and move what is under the older ones
    ///
    /// After an interruption run the same command again: it goes on with the same new version.
    Rotate(Rotate),
    /// Draw a new version; it is not yet active
    Add(Add),
    /// Put a version into use and retire the one before it
    Activate(Change),
    /// Take a version out of use for good; it still opens what it sealed
    Retire(Retire),
    /// Wipe a version that nothing needs: nothing opens what was sealed under it any more
    ///
    /// Sealed copies of the ring of before, also those in archives, still hold the version: destroy
    /// those, or their KEK or passphrase, too.
    Destroy(Destroy),
    /// Draw components of a new KEK, one file for each custodian
    Components(Components),
}

#[derive(Debug, Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The vault's folder; without it, the component files are checked alone
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) unlock: Unlock,
    /// Also what is due within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub(crate) within_days: u32,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// What the key is for
    #[arg(value_name = "USE", value_parser = usage())]
    pub(crate) usage: KeyUse,
    /// Days in which it protects new data, from its activation [default: by use, see the manual]
    #[arg(long, value_name = "DAYS", requires = "open_days")]
    pub(crate) seal_days: Option<u32>,
    /// Days in which it opens data, from its activation
    #[arg(long, value_name = "DAYS", requires = "seal_days")]
    pub(crate) open_days: Option<u32>,
    #[command(flatten)]
    pub(crate) access: KeyAccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// The version, such as card-2
    pub(crate) name: KeyName,
    #[command(flatten)]
    pub(crate) access: KeyAccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Retire {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Others know the key, or may know it
    #[arg(long)]
    pub(crate) compromised: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Destroy {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Also a version whose use cannot be counted: vaultless, irreversible, journal,
    /// archive, audit
    #[arg(long)]
    pub(crate) unused: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Components {
    /// One new file for each custodian, 2 to 8
    #[arg(required = true, num_args = 2..=8, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// Seal records of retired keys anew under the active one, those of compromised keys first
    ///
    /// Tokens stay as they are. After an interruption run the same command again: it goes on from
    /// where it was.
    Rewrap(Rewrap),
    /// List domain and token of each record under a card key, as CSV; it is logged
    Under(Under),
    /// Take out the tokens that a retention policy no longer keeps; each is logged
    Purge(crate::purge::Purge),
}

/// How fast records are moved.
#[derive(Debug, Args)]
pub(crate) struct Pace {
    /// At most so many rows a second
    #[arg(long, value_name = "ROWS")]
    pub(crate) rate: Option<NonZeroU32>,
}

#[derive(Debug, Args)]
pub(crate) struct Rewrap {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// Stop after about so many rows
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<u64>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: KeyAccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Under {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// The version, such as card-1
    pub(crate) name: KeyName,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// What the key is for
    #[arg(value_name = "USE", default_value = "card", value_parser = usage())]
    pub(crate) usage: KeyUse,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// Of an index key: go on although up to so many rows do not open; their cards are not found
    /// any more, and get new tokens
    #[arg(long, value_name = "ROWS")]
    pub(crate) leave: Option<u64>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: KeyAccessArgs,
}

/// Every use that a key can have.
fn usage() -> impl TypedValueParser<Value = KeyUse> {
    let names = PossibleValuesParser::new(KeyUse::ALL.map(KeyUse::as_str));
    names.try_map(|name| {
        let mut all = KeyUse::ALL.into_iter();
        all.find(|usage| usage.as_str() == name)
            .ok_or("no such use")
    })
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte]
            if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n\0".contains(byte) =>
        {
            Ok(*byte)
        }
        _ => Err("one ASCII character that is no letter, digit or quote, or `tab`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    fn each(command: &mut Command, look: &mut impl FnMut(&mut Command)) {
        look(command);
        for inner in command.get_subcommands_mut() {
            each(inner, look);
        }
    }

    #[test]
    fn every_use_of_a_key_can_be_named() {
        for usage in KeyUse::ALL {
            for verb in ["add", "rotate"] {
                let line = ["cardvault", "keys", verb, "v", usage.as_str()];
                assert!(Cli::try_parse_from(line).is_ok(), "{line:?}");
            }
        }
    }

    #[test]
    fn help_fits_a_terminal_and_stands_under_its_heading() {
        let mut cli = Cli::command().term_width(80);
        cli.build();
        each(&mut cli, &mut |command| {
            let help = command.render_long_help().to_string();
            // Usage lines are not wrapped, nor are names of columns without a space.
            let wraps = |line: &&str| !line.starts_with("Usage: ") && line.trim().contains(' ');
            let mut lines = help.lines().filter(wraps);
            let long = lines.find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "{}", command.get_name());
            for arg in command.get_arguments() {
                let is_access = ["actor", "origin", "purpose"].contains(&arg.get_id().as_str());
                let heading = arg.get_help_heading() == Some("Access");
                assert!(!heading || is_access, "{} {arg}", command.get_name());
            }
        });
    }
}
