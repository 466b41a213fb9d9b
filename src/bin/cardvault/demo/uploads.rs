//! The demo's host: uploads verified, tampered ones caught, entries taken over once.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cardvault::journal::{FaultKind, Identity, Position, StateStore};
use cardvault::ledger::ImportEntry;
use cardvault::ledger::reconcile::{JournalLine, with_journal};
use embedded_storage::nor_flash::NorFlash;

use super::host::{Host, Noted, Read};
use super::paper::Paper;
use super::terminals::Fleet;
use super::till::Till;
use super::{failed, story, told};
use crate::failure::{Failure, Outcome};
use crate::files::owner_folder;

/// Where the amount stands in a payment's frame, and its length.
const AMOUNT_AT: usize = 40 + 3 + 2;
const AMOUNT_LEN: usize = 5;

/// Uploads everything and takes it over; what the terminals say of their own journals.
pub(super) fn evening(
    paper: &mut Paper,
    host: &Host,
    fleet: &mut Fleet,
    folder: &Path,
) -> Outcome<Vec<Noted>> {
    story::set(1, 21, 0);
    paper.chapter(
        "The host",
        "it derives every key again, verifies every entry, and takes cards and payments over once",
    )?;
    let uploads = folder.join("uploads");
    owner_folder(&uploads).map_err(Failure::at(&uploads))?;
    let mut rows = Vec::new();
    let mut all = Read::default();
    let cafe = fleet.cafe.items(0)?;
    let stall = fleet.stall.items(0)?.concat();
    let identity = *fleet.cafe.journal.identity();
    receive(host, &mut fleet.counter, &uploads, &mut rows, &mut all)?;
    receive(host, &mut fleet.cafe, &uploads, &mut rows, &mut all)?;
    receive(host, &mut fleet.stall, &uploads, &mut rows, &mut all)?;
    paper.table(
        [
            "UPLOAD OF",
            "BYTES",
            "PAYMENTS",
            "NOTICES",
            "CARDS OPENED",
            "FAULTS",
            "RECEIPT",
        ],
        &rows,
    )?;
    tampered(paper, host, &identity, &cafe, &fleet.noon, &stall)?;
    taken_over(paper, host, &all.entries)?;
    Ok(all.notices)
}

/// One upload, from the terminal to the receipt that goes back.
fn receive<F: NorFlash, S: StateStore>(
    host: &Host,
    till: &mut Till<F, S>,
    uploads: &Path,
    rows: &mut Vec<[String; 7]>,
    all: &mut Read,
) -> Outcome<()> {
    let identity = *till.journal.identity();
    let upload = till.items(till.journal.uploaded())?.concat();
    let path = uploads.join(format!("{}.upload", till.numbers.terminal));
    fs::write(&path, &upload).map_err(Failure::at(&path))?;
    let upload = fs::read(&path).map_err(Failure::at(&path))?;
    let read = host.read(&identity, &Position::START, &upload)?;
    told(read.is_clean(), "an honest upload has no fault")?;
    let outcome = read
        .outcome
        .ok_or_else(|| Failure::keys("upload", "no trailer"))?;
    till.confirm(&outcome.receipt)?;
    rows.push([
        till.numbers.terminal.to_string(),
        upload.len().to_string(),
        read.entries.len().to_string(),
        match read.notices.as_slice() {
            [] => "-".to_owned(),
            notices => notices
                .iter()
                .map(|notice| format!("{:?}", notice.cause).to_lowercase())
                .collect(),
        },
        read.cards().to_string(),
        read.faults.len().to_string(),
        format!(
            "taken: {} of {}",
            till.journal.uploaded(),
            till.journal.count()
        ),
    ]);
    all.entries.extend(read.entries);
    all.notices.extend(read.notices);
    Ok(())
}

/// One way of lying about a journal, and what is to be found.
struct Lie {
    what: &'static str,
    upload: Vec<u8>,
    since: Position,
    kind: FaultKind,
    sequence: u64,
}

/// The cafe's upload, changed in every way that helps somebody.
fn tampered(
    paper: &Paper,
    host: &Host,
    identity: &Identity,
    items: &[Vec<u8>],
    noon: &[u8],
    other: &[u8],
) -> Outcome<()> {
    let start = Position::START;
    let honest = host.read(identity, &start, &items.concat())?;
    let evening = honest.outcome.map(|outcome| outcome.position);
    let lie = |what, kind, sequence, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut items = items.to_vec();
        change(&mut items);
        Lie {
            what,
            upload: items.concat(),
            since: start,
            kind,
            sequence,
        }
    };
    // The header is item 0; entry 1 is item 2.
    let lies = [
        lie(
            "entry 1: 2.10 instead of 210.00, checksum mended",
            FaultKind::Flipped,
            1,
            &|items| {
                if let Some(frame) = items.get_mut(2) {
                    set_amount(frame, 210);
                }
            },
        ),
        lie(
            "entry 1 taken out",
            FaultKind::Dropped { count: 1 },
            1,
            &|items| {
                items.remove(2);
            },
        ),
        lie("entries 1 and 2 swapped", FaultKind::Swapped, 1, &|items| {
            items.swap(2, 3)
        }),
        lie(
            "entry 0 put in once more",
            FaultKind::Replayed,
            2,
            &|items| {
                items.insert(3, items.get(1).cloned().unwrap_or_default());
            },
        ),
        lie(
            "entry 3 and the trailer cut off",
            FaultKind::Truncated,
            3,
            &|items| {
                items.truncate(4);
            },
        ),
        Lie {
            what: "the upload of noon, sent in the evening",
            upload: noon.to_vec(),
            since: evening.unwrap_or(start),
            kind: FaultKind::RolledBack,
            sequence: 2,
        },
        Lie {
            what: "the upload of another terminal",
            upload: other.to_vec(),
            since: start,
            kind: FaultKind::OtherJournal,
            sequence: 0,
        },
    ];
    let mut rows = Vec::new();
    let mut missed = None;
    for lie in lies {
        let read = host.read(identity, &lie.since, &lie.upload)?;
        let fault = read.faults.first();
        let found =
            fault.is_some_and(|fault| (fault.kind, fault.sequence) == (lie.kind, lie.sequence));
        if !found || read.is_clean() {
            missed = Some(lie.what);
        }
        rows.push([
            lie.what.to_owned(),
            fault.map_or("NOTHING".to_owned(), ToString::to_string),
            format!("{} of {}", read.entries.len(), honest.entries.len()),
        ]);
    }
    paper.part(&format!(
        "Lies about the journal of {}",
        identity.terminal().escape_ascii()
    ))?;
    paper.table(["WHAT WAS DONE", "WHAT THE HOST SAYS", "STILL READ"], &rows)?;
    told(missed.is_none(), missed.unwrap_or_default())
}

/// Changes the amount, and the checksum with it.
fn set_amount(frame: &mut [u8], minor: u64) {
    let amount = minor.to_be_bytes();
    let amount = amount.iter().skip(8 - AMOUNT_LEN);
    for (place, byte) in frame.iter_mut().skip(AMOUNT_AT).zip(amount) {
        *place = *byte;
    }
    if let Some((before, crc)) = frame.split_last_chunk_mut() {
        *crc = crc32(before).to_be_bytes();
    }
}

/// IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Verified entries go into vault and ledger, and once only.
fn taken_over(paper: &Paper, host: &Host, entries: &[ImportEntry]) -> Outcome<()> {
    paper.part("What was verified goes into vault and ledger")?;
    let rows = || host.vault.count().map_err(failed("vault"));
    let first = host.import(entries)?;
    let between = rows()?;
    let again = host.import(entries)?;
    let after = rows()?;
    for (when, imported) in [("first ", &first), ("again ", &again)] {
        paper.line(&format!(
            "   {when} {} new payments, {} known; {} new cards; {} that act on nothing known",
            imported.new,
            imported.known,
            imported.new_cards,
            imported.unapplied.len()
        ))?;
    }
    paper.line(&format!("   rows in the store: {between}, then {after}"))?;
    told(
        first.new == entries.len() && first.unapplied.is_empty(),
        "every entry is taken over",
    )?;
    let nothing = again.new + again.new_cards == 0 && between == after;
    told(nothing, "the second import changes nothing")?;

    let payments = host.payments()?;
    let mut states = BTreeMap::<&str, usize>::new();
    for payment in payments
        .iter()
        .filter(|payment| !payment.fields.kind.has_original())
    {
        *states.entry(payment.state.as_str()).or_default() += 1;
    }
    let states: Vec<_> = states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let lines: Vec<_> = entries
        .iter()
        .map(|entry| JournalLine {
            id: entry.payment.id,
            fields: entry.payment.fields,
        })
        .collect();
    let differences = with_journal(&payments, &lines);
    paper.line(&format!(
        "   in the ledger: {}; held against the journals: {} differences",
        states.join(", "),
        differences.len()
    ))?;
    told(differences.is_empty(), "ledger and journals agree")
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
