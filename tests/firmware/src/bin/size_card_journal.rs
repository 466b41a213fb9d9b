//! Validation, mask, track parsing and the journal, which seals each card.
#![no_std]
#![no_main]

use cardvault_firmware::{machine, parts};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let done = parts::card().and_then(|card| parts::journal(&card));
    machine::exit(done.is_some().into())
}
