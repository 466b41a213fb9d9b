//! And card records sealed and opened under a key from a sealed ring.
#![no_std]
#![no_main]

use cardvault::keys::KeyRing;
use cardvault_firmware::{machine, parts};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let mut ring = KeyRing::blank();
    let done = parts::card().and_then(|card| parts::seal(&card, &mut ring));
    machine::exit(done.is_some().into())
}
