//! And vaultless tokens.
#![no_std]
#![no_main]

use cardvault::keys::KeyRing;
use cardvault_firmware::{machine, parts};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let done = parts::card().and_then(|card| {
        let mut ring = KeyRing::blank();
        parts::seal(&card, &mut ring)?;
        parts::journal(&card)?;
        parts::vaultless(&card, &ring)
    });
    machine::exit(done.is_some().into())
}
