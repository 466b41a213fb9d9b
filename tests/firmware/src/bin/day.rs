//! A terminal's day on the device, over two power cuts. What it prints goes to the host's test.
#![no_std]
#![no_main]

use cardvault_firmware::day::{Desk, run};
use cardvault_firmware::kept::{Kept, Supply};
use cardvault_firmware::machine::{self, Console};
use cardvault_firmware::nor::{Chip, LOG_LEN, STATE_LEN};

struct Memory {
    desk: Desk,
    log: Chip<LOG_LEN>,
    state: Chip<STATE_LEN>,
}

const FRESH: Memory = Memory {
    desk: Desk {
        next: 0,
        begun: false,
        starts: 0,
    },
    log: Chip::new(),
    state: Chip::new(),
};

#[unsafe(link_section = ".noinit")]
static mut MEMORY: Kept<Memory> = Kept::new(FRESH);

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    // SAFETY: the one reference; nothing runs beside this function.
    let memory = unsafe { &mut *&raw mut MEMORY };
    let Memory { desk, log, state } = memory.get(FRESH);
    let over = run(desk, log, state, &Supply::default(), &mut Console);
    machine::exit((!over).into())
}
