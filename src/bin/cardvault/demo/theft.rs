//! The demo's theft: what a stolen terminal's memory gives away, and to whom.
#![forbid(unsafe_code)]

use cardvault::journal::{FlashState, Position};

use super::cards::every_number;
use super::chip::{Chip, Power};
use super::host::Host;
use super::paper::{Ink, Paper};
use super::search::Search;
use super::terminals::Fleet;
use super::till::Till;
use super::{failed, thief, told};
use crate::failure::Outcome;

/// A thief has the counter's terminal with all that is in it.
pub(super) fn stolen(paper: &Paper, host: &Host, fleet: &Fleet) -> Outcome<()> {
    let memory = vec![fleet.chips.0.image(), fleet.chips.1.image()];
    let bytes: usize = memory.iter().map(Vec::len).sum();
    let numbers = fleet.counter.numbers;
    paper.part(&format!(
        "{} is stolen, with all {bytes} bytes of its flash",
        numbers.terminal
    ))?;

    let known: Vec<&str> = every_number().collect();
    let search = Search::new(&known);
    let found = memory.iter().filter(|image| !search.run(image).is_empty());
    let found = found.count();
    paper.line(&format!(
        "   card numbers in it, of {} known ones in every form: {}",
        known.len(),
        if found == 0 { "none" } else { "FOUND" },
    ))?;
    told(found == 0, "no number in the stolen memory")?;

    // He switches a copy on: the terminal's own software reads the clear parts, and no card.
    let power = Power::default();
    let copy = |chip: &Chip| Chip::holding(chip.image(), &power);
    let state = FlashState::new(copy(&fleet.chips.1)).map_err(failed("state"))?;
    let mut copied = Till::start(numbers, copy(&fleet.chips.0), state)?;
    let items = copied.items(0)?;
    let frames = items
        .get(1..items.len().saturating_sub(1))
        .unwrap_or_default();
    let pending = copied.journal.pending().map_err(failed("pending slot"))?;
    let tries = thief::open_all(&memory, frames);
    let control = thief::open_all(&fleet.blank, frames);
    let identity = *copied.journal.identity();
    let read = host.read(&identity, &Position::START, &items.concat())?;
    let cards = tries.cards;
    paper.line(&format!(
        "   every 32 bytes of it tried as a key: {} keys, {} of {cards} cards open",
        tries.keys, tries.opened
    ))?;
    paper.line(&format!(
        "   the same with its memory of before the first payment: {} keys, {} of {cards} cards open",
        control.keys, control.opened
    ))?;
    paper.line(&format!(
        "   the host, with {}: {} of {cards} cards open",
        host.journal_key()?,
        read.cards()
    ))?;
    let theft = tries.opened == 0 && pending.is_none();
    told(theft, "a stolen terminal opens no card of before")?;
    told(
        control.opened == cards && cards > 0,
        "the thief's tools work where the key still is",
    )?;
    told(
        read.is_clean() && read.cards() == cards,
        "the host verifies the stolen terminal's journal and opens its cards",
    )?;
    let verdict = "   The key of each entry was gone when the entry was acknowledged.";
    paper.line(&paper.ink(Ink::Good, verdict))
}
