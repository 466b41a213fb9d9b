//! And card records sealed and opened under a key from a sealed ring.
#![no_std]
#![no_main]

use cardvault_firmware::{machine, parts};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let done = parts::card().and_then(|card| parts::seal(&card)).map(drop);
    machine::exit(done.is_some().into())
}
