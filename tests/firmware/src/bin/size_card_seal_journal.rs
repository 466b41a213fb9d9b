//! Both ways of sealing.
#![no_std]
#![no_main]

use cardvault_firmware::{machine, parts};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let done = parts::card().and_then(|card| {
        parts::seal(&card)?;
        parts::journal(&card)
    });
    machine::exit(done.is_some().into())
}
