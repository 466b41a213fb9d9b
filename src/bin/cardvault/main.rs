//! The command `cardvault`: arguments, files and progress around the library's public face.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::string_slice))]

mod archive;
mod args;
mod arguments;
mod bulk;
mod demo;
mod desk;
mod failure;
mod files;
mod folder;
mod formats;
mod init;
mod inspect;
mod journal;
mod keys;
mod ledger;
mod letters;
mod listing;
mod policy;
mod progress;
mod purge;
mod refund;
mod rewrap;
mod rotate;
mod rotation;
mod rows;
mod secrets;
mod stats;
mod store;
mod table;
mod who;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::failure::{Exit, Failure, Outcome};

fn main() -> ExitCode {
    // Should there be a fault in the command itself: where, and nothing of what was read.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        say(&format!(
            "internal error at {}: please report it",
            place.unwrap_or_default()
        ));
    }));
    let arguments: Vec<_> = std::env::args_os().collect();
    // First of all: clap's own messages repeat arguments.
    let result = arguments::refuse_card_numbers(&arguments).and_then(|()| {
        // Exits by itself for --help, --version (0) and wrong usage (2).
        run(Cli::parse_from(arguments))
    });
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.is_quiet() {
                complain(&failure);
            }
            failure.exit().into()
        }
    }
}

fn run(cli: Cli) -> Outcome<Exit> {
    match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Tokenize(args) => bulk::tokenize(&args, cli.quiet),
        Command::Detokenize(args) => bulk::detokenize(&args, cli.quiet),
        Command::Mask(args) => bulk::mask(&args, cli.quiet),
        Command::Inspect(args) => inspect::run(&args),
        Command::Keys(command) => keys::run(&command, cli.quiet),
        Command::Policy(command) => policy::run(&command),
        Command::Stats(args) => stats::stats(&args),
        Command::Vault(command) => rewrap::run(&command, cli.quiet),
        Command::Export(args) => archive::export(&args, cli.quiet),
        Command::Import(args) => archive::import(&args, cli.quiet),
        Command::Journal(command) => journal::run(&command),
        Command::Refund(command) => refund::run(&command),
        Command::Ledger(command) => ledger::run(&command),
    }
}

/// One line to standard error; nobody is left to tell if that fails.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "cardvault: {line}");
}

/// Text to standard output.
pub(crate) fn show(text: &str) -> Outcome<()> {
    let shown = io::stdout().lock().write_all(text.as_bytes());
    shown.map_err(|error| Failure::io("standard output", &error))
}

fn complain(failure: &Failure) {
    let _ = writeln!(io::stderr(), "{failure}");
}
