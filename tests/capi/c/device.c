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

/* What the free stack is filled with, to see how deep a call went. */
#define PAINT 0x5AA5C33Cu

/* Says how much stack `work` takes. */
__attribute__((noinline)) static void measure(const char *name, void (*work)(void)) {
    uint32_t *top = (uint32_t *)__builtin_frame_address(0) - 32;
    for (uint32_t *at = stack_limit; at < top; at++)
        *at = PAINT;
    work();
    uint32_t *deepest = stack_limit;
    while (deepest < top && *deepest == PAINT)
        deepest++;
    say(name), say(" "), say_number((uint32_t)((uint8_t *)top - (uint8_t *)deepest)), say("; ");
}

static cardvault_card card, opened;
static cardvault_ring ring;
static cardvault_sealer sealer;
static cardvault_opener opener;
static cardvault_journal journal;
static uint8_t sealed[CARDVAULT_SEALED_RECORD_LEN];

static void parse(void) {
    static const uint8_t track2[] = ";4111111111111111=30121011234567890?";
    CHECK_IS(cardvault_card_from_track2(&card, track2, sizeof track2 - 1, 0, NULL), OK);
}
static void open_ring(void) {
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, sizeof golden_ring_kek, components, 2, NULL), OK);
}
static void close_ring(void) { CHECK_IS(cardvault_ring_close(&ring), OK); }
static uint8_t ring_copy[sizeof golden_ring_kek];
static void open_ring_in_place(void) {
    CHECK_IS(cardvault_ring_open_in_place(&ring, ring_copy, sizeof ring_copy, components, 2, NULL), OK);
}
static void open_sealer(void) {
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, &counting), OK);
}
static void seal(void) {
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, NULL, NOW, sealed, sizeof sealed), OK);
}
static void open_opener(void) {
    CHECK_IS(cardvault_opener_open(&opener, &ring, domain, 10, sealed, sizeof sealed), OK);
}
static void unseal(void) {
    CHECK_IS(cardvault_opener_unseal(&opener, sealed, sizeof sealed, NULL, &opened), OK);
}
static void open_journal(void) {
    CHECK_IS(cardvault_journal_open(&journal, &device.storage), OK);
}
static void append(void) {
    cardvault_entry entry = {.time = NOW, .card = &card};
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), OK);
}
static void open_pending(void) {
    CHECK_IS(cardvault_journal_open_pending(&journal, &card, &counting), OK);
}

static void measure_stack(void) {
    const uint8_t *key = golden_journal_chain_key;
    say("stack in bytes: ");
    measure("track", parse);
    measure("ring", open_ring);
    measure("ring closed", close_ring);
    for (size_t at = 0; at < sizeof ring_copy; at++)
        ring_copy[at] = golden_ring_kek[at];
    measure("ring in place", open_ring_in_place);
    measure("sealer", open_sealer);
    measure("seal", seal);
    measure("opener", open_opener);
    measure("unseal", unseal);
    device_new(&device, 0);
    CHECK_IS(cardvault_journal_create(&journal, &device.storage, key, domain, 10, 1, 1), OK);
    CHECK_IS(cardvault_journal_close(&journal), OK);
    measure("journal", open_journal);
    measure("append", append);
    measure("pending", open_pending);
    say("\n");
}

static void start(void) {
    check_core();
    say_number(checks), say(" checks, "), say_number(faults), say(" failed\n");
    measure_stack();
    stop(faults != 0);
}

void reset(void) {
    for (uint32_t *to = data_start, *from = data_source; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    start();
}

/* The vector table: the first stack, the start, and what goes wrong. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {stack_top, {reset, fault, fault, fault, fault, fault}};
