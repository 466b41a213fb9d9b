//! Nothing of the library: the start, a generator and the exit.
#![no_std]
#![no_main]

use cardvault_firmware::{machine, parts};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let done = parts::device();
    machine::exit(done.is_none().into())
}
