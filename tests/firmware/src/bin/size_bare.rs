//! Nothing of the library: the start and the exit.
#![no_std]
#![no_main]

use cardvault_firmware::machine;

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    machine::exit(machine::unknown_zero())
}
