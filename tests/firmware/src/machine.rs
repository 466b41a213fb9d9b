//! The machine below the tests: ARM's MPS2 board with a Cortex-M3 (AN385) as QEMU emulates it.
//! Start, semihosting, a timer that counts instructions, and the reset.

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

// The vector table, and the start: data and zeros, then `main`. What `.noinit` holds is left as it
// is.
global_asm!(
    r#"
    .section .vectors, "a"
    .word stack_top
    .word reset
    .rept 13
    .word fault
    .endr
    .word power_cut

    .section .text.start, "ax"
    .thumb_func
    .global reset
reset:
    ldr r0, =data_start
    ldr r1, =data_end
    ldr r2, =data_source
1:  cmp r0, r1
    bhs 2f
    ldr r3, [r2], #4
    str r3, [r0], #4
    b 1b
2:  ldr r0, =bss_start
    ldr r1, =bss_end
    movs r2, #0
3:  cmp r0, r1
    bhs 4f
    str r2, [r0], #4
    b 3b
4:  bl main
    b fault

    .thumb_func
fault:
    ldr r0, =0x20
    ldr r1, =fault_exit
    bkpt 0xab
    b .
fault_exit:
    .word 0x20026
    .word 102

    // The system timer's interrupt: the processor is reset.
    .thumb_func
power_cut:
    ldr r0, =0xE000ED0C
    ldr r1, =0x05FA0004
    str r1, [r0]
    b .
    "#
);

const SYS_WRITE_CHARACTER: u32 = 0x03;
const SYS_EXIT_EXTENDED: u32 = 0x20;
const APPLICATION_EXIT: u32 = 0x20026;

/// Exit code of a panic. A fault of the processor is 102.
const PANICKED: u32 = 101;

fn semihosting(operation: u32, argument: *const u32) -> u32 {
    let result;
    // SAFETY: the debugger reads what `argument` points to, which each caller keeps alive.
    unsafe {
        asm!("bkpt 0xab", inout("r0") operation => result, in("r1") argument);
    }
    result
}

/// Ends the run with this exit code.
pub fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code];
    semihosting(SYS_EXIT_EXTENDED, block.as_ptr());
    loop {}
}

/// The text of the run.
#[derive(Debug)]
pub struct Console;

impl core::fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            let character = u32::from(byte);
            semihosting(SYS_WRITE_CHARACTER, &raw const character);
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    #[cfg(feature = "diagnostics")]
    {
        use core::fmt::Write;
        let _ = writeln!(Console, "{info}");
    }
    let _ = info;
    exit(PANICKED)
}

/// Resets the processor, as the return of power does. Memory stays as it is.
pub fn reset() -> ! {
    const AIRCR: *mut u32 = 0xE000_ED0C as *mut u32;
    const SYSTEM_RESET_REQUEST: u32 = 0x05FA_0004;
    // SAFETY: the register is there on every Cortex-M.
    unsafe { AIRCR.write_volatile(SYSTEM_RESET_REQUEST) };
    loop {}
}

/// Lets power go when about so many instructions have run from here on: not at the end of a step,
/// but wherever the program then is.
pub fn reset_after(instructions: u32) {
    const RELOAD: *mut u32 = 0xE000_E014 as *mut u32;
    const VALUE: *mut u32 = 0xE000_E018 as *mut u32;
    const WITH_INTERRUPT: u32 = 7;
    no_reset();
    // SAFETY: the system timer is there on every Cortex-M3, and its interrupt does not return.
    unsafe {
        RELOAD.write_volatile(ticks_of(instructions));
        VALUE.write_volatile(0);
        SYSTEM_TIMER.write_volatile(WITH_INTERRUPT);
    }
}

/// Power stays.
pub fn no_reset() {
    // SAFETY: as above.
    unsafe { SYSTEM_TIMER.write_volatile(0) };
}

const SYSTEM_TIMER: *mut u32 = 0xE000_E010 as *mut u32;

/// Under `-icount shift=8` an instruction takes 256 ns, and a tick 40 ns: 6.4 ticks.
const TICKS_OF_FIVE_INSTRUCTIONS: u32 = 32;

const fn ticks_of(instructions: u32) -> u32 {
    instructions * TICKS_OF_FIVE_INSTRUCTIONS / 5
}

const fn instructions_of(ticks: u32) -> u32 {
    (ticks * 5 + TICKS_OF_FIVE_INSTRUCTIONS / 2) / TICKS_OF_FIVE_INSTRUCTIONS
}

/// A number that the compiler does not know and the machine takes as 0: the timer's, which stands.
pub fn unknown_zero() -> u32 {
    // SAFETY: the register is there, and reading it changes nothing.
    unsafe { Timer::VALUE.read_volatile() }
}

/// The board's first timer, which counts down at 25 MHz.
#[derive(Debug)]
pub struct Timer;

impl Timer {
    const CONTROL: *mut u32 = 0x4000_0000 as *mut u32;
    const VALUE: *mut u32 = 0x4000_0004 as *mut u32;
    const RELOAD: *mut u32 = 0x4000_0008 as *mut u32;

    /// Starts it.
    pub fn start() {
        // SAFETY: the registers are there, and no interrupt is enabled.
        unsafe {
            Self::RELOAD.write_volatile(u32::MAX);
            Self::VALUE.write_volatile(u32::MAX);
            Self::CONTROL.write_volatile(1);
        }
    }

    fn value() -> u32 {
        // SAFETY: as above.
        unsafe { Self::VALUE.read_volatile() }
    }

    /// How many instructions `work` takes, with the call.
    #[inline(never)]
    pub fn instructions(work: &mut dyn FnMut()) -> u32 {
        let before = Self::value();
        work();
        instructions_of(before.wrapping_sub(Self::value()))
    }
}

/// How many bytes of static memory the image has: data and zeros.
pub fn static_memory() -> u32 {
    let (start, end): (u32, u32);
    // SAFETY: addresses that the linker sets; no memory is touched.
    unsafe {
        asm!(
            "ldr {start}, =data_start",
            "ldr {end}, =bss_end",
            start = out(reg) start,
            end = out(reg) end,
        );
    }
    end - start
}

/// How many bytes of stack `work` takes, with the call.
#[inline(never)]
pub fn stack_of(work: &mut dyn FnMut()) -> u32 {
    const PAINT: u32 = 0xC5C5_C5C5;
    let (low, top): (*const u32, u32);
    // SAFETY: what lies below the stack pointer is nobody's; no interrupt is enabled.
    unsafe {
        asm!(
            "ldr {low}, =stack_limit",
            "mov {at}, {low}",
            "2: cmp {at}, sp",
            "bhs 3f",
            "str {paint}, [{at}], #4",
            "b 2b",
            "3: mov {top}, sp",
            low = out(reg) low,
            at = out(reg) _,
            top = out(reg) top,
            paint = in(reg) PAINT,
        );
    }
    work();
    let mut deepest = low;
    // SAFETY: the stack's memory, up to the frame of this function.
    while (deepest as u32) < top && unsafe { deepest.read_volatile() } == PAINT {
        deepest = deepest.wrapping_add(1);
    }
    top - deepest as u32
}
