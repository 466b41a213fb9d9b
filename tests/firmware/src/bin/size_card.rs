//! Validation, mask and track parsing.
#![no_std]
#![no_main]

use cardvault_firmware::{machine, parts};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let done = parts::card().map(drop);
    machine::exit(done.is_some().into())
}
