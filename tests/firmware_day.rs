//! What the firmware's image of a terminal's day wrote, read by the host.
//!
//! The step `firmware` of tests/run hands over what the device printed by the variable
//! `FIRMWARE_DAY`; without it the frozen text stands in for it. The same code runs here, too, so
//! that both ends give the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::cast_possible_truncation,
    unreachable_pub
)]

use std::cell::Cell;

use cardvault::journal::{Body, Cause, Identity, Position, Reading};
use cardvault::payment::{PaymentFields, PaymentKind};
use subtle::ConstantTimeEq;

#[path = "firmware/src/day.rs"]
mod day;
#[path = "firmware/src/nor.rs"]
mod nor;
#[allow(dead_code, reason = "the images use the rest")]
#[path = "firmware/src/random.rs"]
mod random;
#[path = "support/journal.rs"]
mod support;

use day::{Cut, Desk, PAYMENTS};
use nor::{Chip, Power};
use support::Host;

/// Power that goes by an error, where the device's is reset.
#[derive(Default)]
struct Supply {
    left: Cell<Option<u32>>,
}

impl Power for Supply {
    fn goes(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.and_then(|steps| steps.checked_sub(1)));
        left == Some(0)
    }

    fn off(&self) {}
}

impl Cut for Supply {
    fn arm(&self, steps: Option<u32>) {
        self.left.set(steps);
    }
}

/// The day on the host.
fn here() -> String {
    let (mut desk, mut log, mut state) = (Desk::default(), Chip::new(), Chip::new());
    let mut out = String::new();
    while !day::run(
        &mut desk,
        &mut log,
        &mut state,
        &Supply::default(),
        &mut out,
    ) {}
    out
}

/// The day on the device.
fn device() -> String {
    let frozen = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/firmware-day.txt");
    let path = std::env::var("FIRMWARE_DAY").unwrap_or_else(|_| frozen.to_owned());
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_device_and_the_host_write_the_same_bytes() {
    let here = here();
    assert!(device() == here, "firmware-day.txt is now:\n{here}");
}

#[test]
fn the_host_opens_what_the_device_wrote() {
    let mut sent = Vec::new();
    for line in device().lines() {
        if let Some(item) = line.strip_prefix("upload ") {
            let bytes = (0..item.len() / 2)
                .map(|at| u8::from_str_radix(&item[2 * at..2 * at + 2], 16).unwrap());
            sent.extend(bytes);
        }
    }
    let host = Host::new(1);
    assert_eq!(host.chain_key(day::EPOCH).expose(), &day::CHAIN_KEY);
    let identity = Identity::new(day::TERMINAL, day::EPOCH, day::BASE_VERSION).unwrap();
    let key = host.reading_key();
    let mut reading = Reading::new(&key, &identity, &Position::START, &sent[..]).unwrap();

    let mut payments = PAYMENTS.iter().enumerate();
    let mut notices = Vec::new();
    while let Some(item) = reading.next() {
        let verified = item.unwrap();
        let part = match verified.frame.body {
            Body::Payment(part) => part,
            Body::Notice(notice) => {
                notices.push((verified.frame.sequence, notice.cause));
                continue;
            }
        };
        let (at, payment) = payments.next().unwrap();
        // What was in doubt when power returned was reversed.
        let kind = match payment.cut {
            Some(day::IN_THE_FRAME) => PaymentKind::Reversal,
            _ => payment.kind,
        };
        let fields = PaymentFields::read(part.payment).unwrap();
        assert_eq!(fields, day::fields(kind, at, payment));
        let card = verified.card.unwrap();
        let presented = day::read(payment.reader);
        assert!(bool::from(card.ct_eq(&presented)), "payment {at}");
        let truncated = part.truncated.unwrap();
        assert_eq!(truncated.as_str(), presented.pan.mask().as_str());
    }
    assert!(payments.next().is_none());
    assert_eq!(notices, [(2, Cause::Burn), (6, Cause::Closing)]);
    let outcome = reading.outcome().unwrap();
    assert!(outcome.clean);
    assert_eq!(outcome.receipt.count, 7);
}

#[test]
fn no_line_shows_a_card_number() {
    let text = device();
    let receipts = text.lines().filter(|line| line.starts_with("receipt "));
    // The payment whose entry stood when power returned has no slip any more.
    assert_eq!(receipts.count(), PAYMENTS.len() - 1);
    for payment in &PAYMENTS {
        let card = day::read(payment.reader);
        assert!(!card.pan.expose(|digits| text.contains(digits)));
        assert!(text.contains(card.pan.mask().as_str()) || payment.cut == Some(day::IN_THE_STATE));
    }
}
