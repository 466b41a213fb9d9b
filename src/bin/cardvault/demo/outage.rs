//! The demo's power cut: a payment that is torn while it is written, and its reversal.
#![forbid(unsafe_code)]

use cardvault::journal::{FlashState, Recovery};
use cardvault::payment::{OriginalMessage, PaymentFields, PaymentKind, Reference, ResponseCode};

use super::cards::MASTERCARD;
use super::centre::Centre;
use super::chip::{Chip, Power};
use super::paper::Paper;
use super::till::{Open, Purchase, Till};
use super::{failed, story, told};
use crate::failure::{Failure, Outcome};

/// Power fails while an entry is written: the payment is reversed after the start.
pub(super) fn power_cut(
    paper: &Paper,
    centre: &mut Centre,
    mut till: Till<Chip, FlashState<Chip>>,
    chips: &(Chip, Chip),
    power: &Power,
) -> Outcome<Till<Chip, FlashState<Chip>>> {
    const WORDS: usize = 21;
    let purchase = Purchase::card("66.00", MASTERCARD).unanswered();
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

    let card = till.journal.pending().map_err(failed("pending slot"))?;
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
        card: till.journal.pending().map_err(failed("pending slot"))?,
    };
    told(
        reversal.card.is_some(),
        "the slot keeps the card for the reversal",
    )?;
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
