//! The static library for firmware in C, `libcardvault.a`: the crate without `std`, and the panic
//! handler that such a library must have.
//!
//! The firmware provides `void cardvault_panicked(void)`, which does not return: it stops or resets
//! the device. The library's own code never calls it; loops in its dependencies could, had they a
//! fault.
#![no_std]

use core::panic::PanicInfo;

// Linked for its exported functions.
use library as _;

unsafe extern "C" {
    fn cardvault_panicked() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: the firmware defines it as the header of this file says.
    unsafe { cardvault_panicked() }
}
