//! Both ways of sealing.
#![no_std]
#![no_main]

use cardvault::keys::KeyRing;
use cardvault_firmware::{machine, parts};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let done = parts::card().and_then(|card| {
        parts::seal(&card, &mut KeyRing::blank())?;
        parts::journal(&card)
    });
    machine::exit(done.is_some().into())
}
