/* What the programs of this folder check with, and the golden bytes that they check against. */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "cardvault.h"

/* A device without a C library has these from the static library. */
#if __STDC_HOSTED__
#include <string.h>
#else
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *one, const void *other, size_t len);
size_t strlen(const char *text);
#endif

/* Each program has its own: a host prints, a device writes through the debugger. */
void failed(const char *file, int line, const char *what, uint32_t got);

extern unsigned checks;

#define CHECK(condition) (checks++, (condition) ? (void)0 : failed(__FILE__, __LINE__, #condition, 0))
#define CHECK_IS(result, expected)                                                                 \
    do {                                                                                           \
        uint32_t got_ = (result);                                                                  \
        checks++;                                                                                  \
        if (got_ != CARDVAULT_RESULT_##expected)                                                   \
            failed(__FILE__, __LINE__, #result " is not " #expected, got_);                        \
    } while (0)

#define NOW 1800000000u

/* Bytes behind every output: nothing may be written past it. */
#define CANARY 0xC5

/* The published examples of tests/golden, made into golden.h by the test step. */
#include "golden.h"

/* What a device can run too: core.c */
void check_core(void);

/* The ring of ring-kek.hex, the components of its KEK, and its domain. */
extern const cardvault_text components[2];
extern const uint8_t domain[10];
extern const uint8_t fleet[7];

/* A generator for tests: never the same bytes twice. */
extern const cardvault_random counting;

/* Flash and battery-backed memory in RAM, whose n-th call can be made to fail. */
#define PAGE 4096u
#define PAGES 2u
struct device {
    uint8_t log[PAGE * PAGES];
    uint8_t battery[CARDVAULT_BATTERY_LEN];
    uint8_t state_pages[PAGE * PAGES];
    unsigned calls;
    unsigned fail_at; /* 0: never */
    int state_in_flash;
    cardvault_flash log_flash;
    cardvault_flash state_flash;
    cardvault_memory memory;
    cardvault_storage storage;
    cardvault_journal *reenter;
    uint32_t reentered;
};
void device_new(struct device *device, int state_in_flash);
extern struct device device;

#endif
