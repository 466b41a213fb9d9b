//! The demo's terminals: three of them take payments, one loses power, one is stolen.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use cardvault::journal::{BatteryState, FileFlash, FlashState, Position, Recovery, StateStore};
use cardvault::payment::{OriginalMessage, PaymentFields, PaymentKind, Reference, ResponseCode};
use embedded_storage::nor_flash::NorFlash;

use super::cards::{AMEX, DISCOVER, JCB, MAESTRO, MASTERCARD, SHOWN, UNIONPAY, every_number};
use super::centre::Centre;
use super::chip::{Battery, Chip, Power};
use super::host::Host;
use super::paper::{Ink, Paper};
use super::receipt::Receipt;
use super::search::Search;
use super::thief;
use super::till::{Numbers, Open, Purchase, Till};
use super::{failed, story, told};
use crate::failure::{Failure, Outcome};
use crate::files::owner_folder;

const LOG_PAGES: usize = 8;
const STATE_PAGES: usize = 4;

/// The terminals at the end of their day.
pub(super) struct Fleet {
    pub(super) counter: Till<Chip, FlashState<Chip>>,
    pub(super) cafe: Till<FileFlash, FlashState<FileFlash>>,
    pub(super) stall: Till<Chip, BatteryState<Battery>>,
    /// What the cafe's terminal uploaded at noon.
    pub(super) noon: Vec<u8>,
    /// How many entries the journals have, and how many of them a card.
    chips: (Chip, Chip),
    stall_memory: (Chip, Battery),
    /// What the counter's memory held before its first payment.
    blank: Vec<Vec<u8>>,
}

/// Three terminals are given their keys and take a day's payments.
pub(super) fn day(
    paper: &mut Paper,
    host: &Host,
    centre: &mut Centre,
    folder: &Path,
) -> Outcome<Fleet> {
    story::set(1, 10, 0);
    let files = folder.join("terminals");
    owner_folder(&files).map_err(Failure::at(&files))?;
    paper.chapter(
        "The terminals",
        "each has one key of its own, replaced with every entry; it can write cards, not read them",
    )?;
    let power = Power::default();
    let chips = (Chip::new(LOG_PAGES, &power), Chip::new(STATE_PAGES, &power));
    let numbers = Numbers::new("T0000001", 100)?;
    let key = host.chain_key(&numbers.terminal)?;
    let state = FlashState::new(chips.1.clone()).map_err(failed("state"))?;
    let mut counter = Till::new(numbers, chips.0.clone(), state, key)?;
    let blank = vec![chips.0.image(), chips.1.image()];

    let open = |name: &str, pages| FileFlash::open(files.join(name), pages).map_err(failed(name));
    let numbers = Numbers::new("T0000002", 200)?;
    let key = host.chain_key(&numbers.terminal)?;
    let state = FlashState::new(open("T0000002.state", 4)?).map_err(failed("state"))?;
    let mut cafe = Till::new(numbers, open("T0000002.log", 8)?, state, key)?;

    let stall_memory = (Chip::new(LOG_PAGES, &Power::default()), Battery::new());
    let numbers = Numbers::new("T0000003", 300)?;
    let key = host.chain_key(&numbers.terminal)?;
    let state = BatteryState::new(stall_memory.1.clone());
    let mut stall = Till::new(numbers, stall_memory.0.clone(), state, key)?;

    let mut rows = Vec::new();
    let sale = take(
        &mut counter,
        centre,
        &mut rows,
        &Purchase::card("128.00", SHOWN),
    )?;
    let sold = story::now();
    take(
        &mut counter,
        centre,
        &mut rows,
        &Purchase::card("300.00", UNIONPAY),
    )?;
    let order = take(
        &mut counter,
        centre,
        &mut rows,
        &Purchase::qr("45.00", "ORDER-20117"),
    )?;
    let ordered = story::now();
    take(&mut cafe, centre, &mut rows, &Purchase::card("35.00", AMEX))?;
    take(&mut cafe, centre, &mut rows, &Purchase::card("210.00", JCB))?;
    let noon = cafe.items(0)?.concat();
    let lost = Purchase {
        answered: false,
        ..Purchase::card("89.00", DISCOVER)
    };
    take(&mut cafe, centre, &mut rows, &lost)?;
    take(
        &mut cafe,
        centre,
        &mut rows,
        &Purchase::qr("12.50", "ORDER-20118"),
    )?;
    take(
        &mut stall,
        centre,
        &mut rows,
        &Purchase::card("58.00", MASTERCARD),
    )?;
    for _ in 0..5 {
        take(
            &mut stall,
            centre,
            &mut rows,
            &Purchase::card("9.90", MAESTRO),
        )?;
    }
    story::pass(20);

    let media = [
        (
            counter.numbers,
            "NOR flash (simulated), state in flash pages",
        ),
        (cafe.numbers, "files, state in a file"),
        (
            stall.numbers,
            "NOR flash (simulated), state in battery-backed memory",
        ),
    ];
    for (numbers, medium) in media {
        paper.line(&format!("   {}  journal in {medium}", numbers.terminal))?;
    }
    paper.table(
        [
            "TERMINAL",
            "ENTRY",
            "VOUCHER",
            "KIND",
            "AMOUNT",
            "PAID WITH",
            "CENTRE",
        ],
        &rows,
    )?;
    let card = sale.card.map(|card| card.pan.mask());
    let card = card.as_ref().map(|mask| mask.as_str());
    paper.receipts(&[
        Receipt::payment(&sale.fields, sold, card)?,
        Receipt::payment(&order.fields, ordered, None)?,
    ])?;
    let counter = power_cut(paper, centre, counter, &chips, &power)?;
    Ok(Fleet {
        counter,
        cafe,
        stall,
        noon,
        chips,
        stall_memory,
        blank,
    })
}

/// One payment, as a row.
fn take<F: NorFlash, S: StateStore>(
    till: &mut Till<F, S>,
    centre: &mut Centre,
    rows: &mut Vec<[String; 7]>,
    purchase: &Purchase,
) -> Outcome<Open> {
    story::pass(1);
    let before = till.journal.count();
    let open = till.pay(centre, purchase)?;
    told(
        till.journal.count() == before + 1,
        "the entry is acknowledged",
    )?;
    let fields = &open.fields;
    let with = match (&open.card, fields.order) {
        (Some(card), _) => card.pan.mask().as_str().to_owned(),
        (None, Some(order)) => order.to_string(),
        (None, None) => "-".to_owned(),
    };
    let answer = match fields.response {
        Some(code) => format!(
            "{code} {}",
            fields.rrn.map(|rrn| rrn.to_string()).unwrap_or_default()
        ),
        None => "no answer".to_owned(),
    };
    rows.push([
        fields.terminal.to_string(),
        before.to_string(),
        fields.voucher.to_string(),
        fields.kind.to_string(),
        fields.amount.to_string(),
        with,
        answer,
    ]);
    Ok(open)
}

/// Power fails while an entry is written: the payment is reversed after the start.
fn power_cut(
    paper: &Paper,
    centre: &mut Centre,
    mut till: Till<Chip, FlashState<Chip>>,
    chips: &(Chip, Chip),
    power: &Power,
) -> Outcome<Till<Chip, FlashState<Chip>>> {
    const WORDS: usize = 21;
    let purchase = Purchase {
        answered: false,
        ..Purchase::card("66.00", MASTERCARD)
    };
    let open = till.send(centre, &purchase)?;
    let (acknowledged, before) = (till.journal.count(), chips.0.image());
    power.fail_after(WORDS);
    let error = match till.write(&open) {
        Ok(_) => return Err(Failure::keys("demo", "not as told: power fails in a write")),
        Err(error) => error,
    };
    // What is in memory is gone; the terminal keeps its numbers beside the journal.
    let (numbers, fields) = (till.numbers, open.fields);
    drop((till, open));
    let after = chips.0.image();
    let changed = before.iter().zip(&after).filter(|(old, new)| old != new);
    paper.part(&format!(
        "Power fails while {} writes {} with a card: {error}",
        numbers.terminal, fields.amount
    ))?;
    paper.line(&format!(
        "   in flash     {} bytes of the entry, {acknowledged} entries acknowledged",
        changed.count()
    ))?;

    power.restore();
    story::pass(3);
    let state = FlashState::new(chips.1.clone()).map_err(failed("state"))?;
    let mut till = Till::start(numbers, chips.0.clone(), state)?;
    let Recovery { torn, lost, .. } = till.journal.recovery();
    let kept = till.journal.count();
    paper.line(&format!(
        "   start        torn entry: {}; lost entries: {}; still there: {kept} of {acknowledged}",
        if torn { "yes" } else { "NO" },
        lost.map_or(0, |(_, count)| count),
    ))?;
    told(
        torn && lost.is_none() && kept == acknowledged,
        "the start finds one torn entry",
    )?;

    let pending = || till.journal.pending().map_err(failed("pending slot"));
    let (card, card_again) = (pending()?, pending()?);
    let shown = card
        .as_ref()
        .map(|card| card.pan.mask().as_str().to_owned());
    told(shown.is_some(), "the pending slot has the card")?;
    paper.line(&format!(
        "   pending slot {}: the one card that a terminal can read, until the outcome is known",
        shown.unwrap_or_default()
    ))?;
    let response = centre.reverse(&fields)?;
    let unknown = Open { fields, card };
    till.write(&unknown).map_err(failed("journal"))?;
    let reversal = Open {
        fields: reversal_of(&fields, response)?,
        card: card_again,
    };
    let entry = till.write(&reversal).map_err(failed("journal"))?;
    let pending = till.journal.pending().map_err(failed("pending slot"))?;
    paper.line(&format!(
        "   reversal     the centre answers {response}; entry {entry} says so; pending slot: {}",
        if pending.is_none() {
            "empty"
        } else {
            "STILL THERE"
        },
    ))?;
    told(
        response.is_reversed() && pending.is_none(),
        "the reversal ends the open payment",
    )?;
    Ok(till)
}

/// It copies its original's numbers and names it by its message.
fn reversal_of(fields: &PaymentFields, response: ResponseCode) -> Outcome<PaymentFields> {
    let message = fields.kind.message().map_or("0200", |message| message.mti);
    let original = OriginalMessage {
        mti: message.parse().map_err(story::field)?,
        stan: fields.stan,
        transmission: None,
        acquirer: None,
        forwarder: None,
    };
    Ok(PaymentFields {
        kind: PaymentKind::Reversal,
        response: Some(response),
        original: Some(Reference::Message(original)),
        ..*fields
    })
}

/// A thief has the counter's terminal with all that is in it.
pub(super) fn stolen(paper: &Paper, host: &Host, fleet: &Fleet, folder: &Path) -> Outcome<()> {
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
    let copy = |image: &Vec<u8>| Chip::holding(image.clone(), &power);
    let [log, state] = [&fleet.chips.0, &fleet.chips.1].map(|chip| copy(&chip.image()));
    let mut copied = Till::start(
        numbers,
        log,
        FlashState::new(state).map_err(failed("state"))?,
    )?;
    let items = copied.items(0)?;
    let frames = items
        .get(1..items.len().saturating_sub(1))
        .unwrap_or_default();
    let pending = copied.journal.pending().map_err(failed("pending slot"))?;
    let tries = thief::open_all(&memory, frames);
    let control = thief::open_all(&fleet.blank, frames);
    let identity = *copied.journal.identity();
    let read = host.read(&identity, &Position::START, &items.concat())?;
    let cards = read.cards();
    paper.line(&format!(
        "   every 32 bytes of it tried as a key: {} keys, {} of {cards} cards open",
        tries.keys, tries.opened
    ))?;
    paper.line(&format!(
        "   the same with its memory of before the first payment: {} keys, {} of {cards} cards open",
        control.keys, control.opened
    ))?;
    paper.line(&format!(
        "   the host, with {}: {cards} of {cards} cards open",
        host.journal_key()?
    ))?;
    let theft = tries.opened == 0 && pending.is_none();
    told(theft, "a stolen terminal opens no card of before")?;
    told(
        control.opened == cards && cards > 0,
        "the thief's tools work where the key still is",
    )?;
    told(
        read.is_clean(),
        "the host verifies the stolen terminal's journal",
    )?;
    let verdict = "   The key of each entry was gone when the entry was acknowledged.";
    paper.line(&paper.ink(Ink::Good, verdict))?;
    keep(fleet, folder)
}

/// Copies of what the terminals' chips hold go to files, as those of the cafe's are.
fn keep(fleet: &Fleet, folder: &Path) -> Outcome<()> {
    let files = folder.join("terminals");
    for (name, image) in [
        ("T0000001.log", fleet.chips.0.image()),
        ("T0000001.state", fleet.chips.1.image()),
        ("T0000003.log", fleet.stall_memory.0.image()),
        ("T0000003.battery", fleet.stall_memory.1.image()),
    ] {
        let path = files.join(name);
        fs::write(&path, image).map_err(Failure::at(&path))?;
    }
    Ok(())
}
