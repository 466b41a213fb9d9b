//! The terminal's side: a folder with `journal.flash` and `state.flash`, which stand in for its
//! flash.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::io::Write as _;
use std::path::Path;

use cardvault::SystemRandom;
use cardvault::journal::{
    ChainKey, Entry, FRAME_MAX_LEN, FileFlash, FileFlashError, FlashState, FlashStateError,
    Journal, JournalError, PAYMENT_MAX_LEN, RECEIPT_LEN, Receipt,
};

use super::args::{Confirm, Upload, Write};
use super::entries::{NewEntry, read_entries};
use crate::desk::grid::counted;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{Draft, Output, Readers, owner_folder};

const LOG_FILE: &str = "journal.flash";
const STATE_FILE: &str = "state.flash";
const STATE_PAGES: u32 = 4;
/// A page of the file that stands in for flash, in bytes.
const FLASH_PAGE: u64 = 4096;
/// Length of a receipt's file, in bytes: the count, big-endian, and the proof.
const RECEIPT_FILE_LEN: usize = 8 + RECEIPT_LEN;

type Terminal = Journal<FileFlash, FlashState<FileFlash>>;
type TerminalError = JournalError<FileFlashError, FlashStateError<FileFlashError>>;

/// Begins a journal in a folder, or a new epoch of the one there.
pub(super) fn create(folder: &Path, pages: u32, key: ChainKey) -> Outcome<()> {
    owner_folder(folder).map_err(Failure::at(folder))?;
    let flash = flash(&folder.join(LOG_FILE), pages)?;
    Journal::create(flash, state(folder)?, key).map_err(|error| failure(folder, &error))?;
    Ok(())
}

/// Whether a journal can be begun there.
pub(super) fn check_free(folder: &Path) -> Outcome<()> {
    if !folder.join(STATE_FILE).exists() {
        return Ok(());
    }
    let journal = open(folder)?;
    if journal.uploaded() < journal.count() {
        let waiting = journal.count() - journal.uploaded();
        return Err(Failure::files(
            folder.display().to_string(),
            format!("{} not confirmed by the host", counted(waiting, "entry")),
        )
        .hint("`journal upload`, `journal import --receipt` and `journal confirm` first"));
    }
    Ok(())
}

pub(super) fn write(args: &Write) -> Outcome<Exit> {
    let folder = &args.terminal_folder;
    let mut journal = open(folder)?;
    let entries = read_entries(args, journal.identity())?;
    let mut written = 0_u64;
    for entry in &entries {
        append(&mut journal, entry).map_err(|error| {
            crate::say(&format!(
                "{} written: go on with --from-line {}",
                counted(written, "payment"),
                entry.line
            ));
            failure(folder, &error)
        })?;
        written += 1;
    }
    crate::show(&format!(
        "{} written; the host lacks {}\n",
        counted(written, "payment"),
        journal.count() - journal.uploaded()
    ))?;
    Ok(Exit::Done)
}

pub(super) fn upload(args: &Upload) -> Outcome<Exit> {
    let folder = &args.terminal_folder;
    let mut journal = open(folder)?;
    let count = journal.count() - journal.uploaded();
    let mut output = Output::open(&args.output, Readers::Owner)?;
    let mut item = [0; FRAME_MAX_LEN];
    let mut upload = journal.upload().map_err(|error| failure(folder, &error))?;
    while let Some(len) = upload
        .next(&mut item)
        .map_err(|error| failure(folder, &error))?
    {
        output.write(item.get(..len).unwrap_or_default())?;
    }
    let piped = !output.is_file();
    output.finish()?;
    let done = format!("{} to {}", counted(count, "entry"), args.output.display());
    // The upload may be what standard output is for.
    if piped {
        crate::say(&done);
    } else {
        crate::show(&format!("{done}\n"))?;
    }
    Ok(Exit::Done)
}

pub(super) fn confirm(args: &Confirm) -> Outcome<Exit> {
    let folder = &args.terminal_folder;
    let bytes = fs::read(&args.receipt).map_err(Failure::at(&args.receipt))?;
    let receipt = bytes
        .split_first_chunk::<8>()
        .filter(|_| bytes.len() == RECEIPT_FILE_LEN)
        .and_then(|(count, proof)| {
            Some(Receipt {
                count: u64::from_be_bytes(*count),
                proof: proof.try_into().ok()?,
            })
        });
    let receipt = receipt.ok_or_else(|| {
        Failure::files(args.receipt.display().to_string(), "this is no receipt")
            .hint("`journal import --receipt FILE` writes one")
    })?;
    let mut journal = open(folder)?;
    // The receipt is for a trailer: made again, it is the same one as long as nothing was added.
    let mut item = [0; FRAME_MAX_LEN];
    let mut upload = journal.upload().map_err(|error| failure(folder, &error))?;
    while upload
        .next(&mut item)
        .map_err(|error| failure(folder, &error))?
        .is_some()
    {}
    journal
        .confirm(&receipt)
        .map_err(|error| failure(folder, &error))?;
    let held = counted(journal.uploaded(), "entry");
    crate::show(&format!("the host has {held}\n"))?;
    Ok(Exit::Done)
}

/// Writes a receipt for a terminal.
pub(super) fn write_receipt(path: &Path, receipt: &Receipt) -> Outcome<()> {
    let mut draft = Draft::begin(path, Readers::Owner)?;
    let written = draft
        .write_all(&receipt.count.to_be_bytes())
        .and_then(|()| draft.write_all(&receipt.proof));
    written.map_err(Failure::at(path))?;
    draft.place()
}

fn append(journal: &mut Terminal, entry: &NewEntry) -> Result<u64, TerminalError> {
    let mut payment = [0; PAYMENT_MAX_LEN];
    let len = entry.fields.write(&mut payment);
    let len = len.map_err(|_| JournalError::Payment {
        bytes: PAYMENT_MAX_LEN + 1,
    })?;
    let entry = Entry {
        time: entry.time,
        payment: payment.get(..len).unwrap_or_default(),
        truncated: entry.truncated,
        token: b"",
        card: entry.card.as_deref(),
    };
    journal.append(&entry, &mut SystemRandom)
}

fn open(folder: &Path) -> Outcome<Terminal> {
    let missing = || {
        Failure::files(folder.display().to_string(), "no journal is there")
            .hint("`cardvault journal init VAULT FOLDER --terminal ID` begins one")
    };
    let log = folder.join(LOG_FILE);
    let len = fs::metadata(&log).map_err(|_| missing())?.len();
    let pages = u32::try_from(len / FLASH_PAGE).map_err(|_| missing())?;
    let journal = Journal::open(flash(&log, pages)?, state(folder)?);
    let journal = journal.map_err(|error| match error {
        JournalError::NotProvisioned => missing(),
        error => failure(folder, &error),
    })?;
    let found = journal.recovery();
    if found.torn {
        crate::say("a torn entry was found: it was never acknowledged, and will be noted");
    }
    if let Some((first, count)) = found.lost {
        crate::say(&format!(
            "{} from {first} on cannot be read any more",
            counted(count, "entry")
        ));
    }
    Ok(journal)
}

fn state(folder: &Path) -> Outcome<FlashState<FileFlash>> {
    let path = folder.join(STATE_FILE);
    let flash = flash(&path, STATE_PAGES)?;
    FlashState::new(flash).map_err(|error| Failure::files(path.display().to_string(), error))
}

fn flash(path: &Path, pages: u32) -> Outcome<FileFlash> {
    FileFlash::open(path, pages).map_err(|error| match error {
        FileFlashError::Io(error) if error.kind() == io::ErrorKind::WouldBlock => Failure::files(
            path.display().to_string(),
            "another process has the journal open",
        )
        .hint("wait for it or stop it"),
        FileFlashError::Io(error) => Failure::at(path)(error),
        error => Failure::files(path.display().to_string(), error),
    })
}

fn failure(folder: &Path, error: &TerminalError) -> Failure {
    let failure = Failure::files(folder.display().to_string(), error);
    match error {
        JournalError::Full => failure
            .hint("`journal upload`, `journal import --receipt` and `journal confirm`, then go on"),
        JournalError::Receipt => {
            failure.hint("entries were written since the upload: upload and import again")
        }
        JournalError::Closed => failure.hint("begin a new epoch with `journal init`"),
        JournalError::State | JournalError::Store(_) => {
            failure.hint("the terminal's state is damaged: upload what is there, begin a new epoch")
        }
        _ => failure,
    }
}
