//! `journal`: a terminal's journal, written, uploaded, verified and taken into the ledger.
#![forbid(unsafe_code)]

pub(crate) mod args;
pub(crate) mod book;
pub(crate) mod entries;
mod host;
mod show;
mod terminal;
mod upload;

pub(crate) use self::upload::Opened;

use self::args::Journal;
use crate::failure::{Exit, Outcome};

pub(crate) fn run(command: &Journal) -> Outcome<Exit> {
    match command {
        Journal::Init(args) => host::init(args),
        Journal::Write(args) => terminal::write(args),
        Journal::Upload(args) => terminal::upload(args),
        Journal::Confirm(args) => terminal::confirm(args),
        Journal::Verify(args) => host::verify(args),
        Journal::Show(args) => show::show(args),
        Journal::Import(args) => host::import(args),
    }
}
