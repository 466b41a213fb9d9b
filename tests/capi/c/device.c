/* core.c as firmware: a Cortex-M3 on ARM's MPS2 board (AN385), as QEMU emulates it. Without a C
 * library. Text and exit code go through semihosting. */
#include "check.h"

extern uint32_t stack_top[], data_start[], data_end[], data_source[], bss_start[], bss_end[];
extern uint32_t stack_limit[];
void reset(void);

static uint32_t semihosting(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void stop(uint32_t code) {
    const uint32_t block[2] = {0x20026, code};
    semihosting(0x20, block);
    for (;;)
        ;
}

static void say(const char *text) { semihosting(0x04, text); }

static void say_number(uint32_t number) {
    char digits[11];
    char *at = digits + sizeof digits - 1;
    *at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    say(at);
}

static unsigned faults;

void failed(const char *file, int line, const char *what, uint32_t got) {
    say(file), say(":"), say_number((uint32_t)line), say(": "), say(what);
    say(" (got "), say_number(got), say(")\n");
    if (++faults == 20)
        stop(1);
}

/* The library's panic handler. */
void cardvault_panicked(void) {
    say("the library panicked\n");
    stop(101);
}

static void fault(void) {
    say("a fault of the processor\n");
    stop(102);
}

/* What the stack is filled with, to see how deep it went. */
#define PAINT 0x5AA5C33Cu

static void start(void) {
    check_core();
    uint32_t *deepest = stack_limit;
    while (*deepest == PAINT)
        deepest++;
    say("checks "), say_number(checks);
    say(", failed "), say_number(faults);
    say(", stack at most "), say_number((uint32_t)((uint8_t *)stack_top - (uint8_t *)deepest));
    say(" bytes\n");
    stop(faults != 0);
}

/* Not inlined: no variable of it may lie where it paints. */
__attribute__((naked)) void reset(void) {
    __asm__ volatile("ldr r0, =stack_limit\n"
                     "ldr r1, =stack_top\n"
                     "ldr r2, =0x5AA5C33C\n"
                     "1: cmp r0, r1\n"
                     "bhs 2f\n"
                     "str r2, [r0], #4\n"
                     "b 1b\n"
                     "2: b ready\n");
}

__attribute__((used)) void ready(void) {
    for (uint32_t *to = data_start, *from = data_source; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    start();
}

typedef void (*handler)(void);
__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)(void *)stack_top, reset, fault, fault, fault, fault, fault,
};
