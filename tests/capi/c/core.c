/* What a terminal calls, checked against the golden files, and with wrong input everywhere. */
#include "check.h"

unsigned checks;

static const char component_a[] =
    "0001 0203 0405 0607 0809 0A0B 0C0D 0E0F 1011 1213 1415 1617 1819 1A1B 1C1D 1E1F / 377822";
static const char component_b[] =
    "8087 8E95 9CA3 AAB1 B8BF C6CD D4DB E2E9 F0F7 FE05 0C13 1A21 282F 363D 444B 5259 / 957740";
const cardvault_text components[2] = {
    {component_a, sizeof component_a - 1},
    {component_b, sizeof component_b - 1},
};
static const uint8_t kek_check_value[3] = {0xBA, 0x50, 0x32};
const uint8_t domain[10] = "merchant-7";
const uint8_t fleet[7] = "fleet-1";
static const uint8_t terminal[8] = "T0000001";

static const uint8_t pan[] = "4111111111111111";
#define PAN pan, 16
static const uint8_t track2[] = ";4111111111111111=30121011234567890?";
#define TRACK2 track2, sizeof track2 - 1

/* ---- Generators ------------------------------------------------------------------------------ */

static uint32_t counter;

static int32_t count(void *context, uint8_t *out, size_t len) {
    (void)context;
    /* A step of a 32-bit xorshift for each byte; the counter makes draws differ. */
    uint32_t state = ++counter * 2654435761u + 1;
    for (size_t at = 0; at < len; at++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        out[at] = (uint8_t)state;
    }
    return 0;
}

static int32_t stand_still(void *context, uint8_t *out, size_t len) {
    memset(out, *(const uint8_t *)context, len);
    return 0;
}

static int32_t refuse(void *context, uint8_t *out, size_t len) {
    (void)context, (void)out, (void)len;
    return -1;
}

/* Says that it worked and writes nothing. */
static int32_t pretend(void *context, uint8_t *out, size_t len) {
    (void)context, (void)out, (void)len;
    return 0;
}

/* Gives what was drawn when a golden file was made. */
struct replay {
    const uint8_t *bytes[4];
    size_t lens[4];
    unsigned next;
};

static int32_t replay(void *context, uint8_t *out, size_t len) {
    struct replay *tape = context;
    if (tape->next >= 4 || tape->lens[tape->next] != len) {
        /* The second draw of a pending slot: anything else. */
        return count(NULL, out, len);
    }
    memcpy(out, tape->bytes[tape->next++], len);
    return 0;
}

static uint8_t still = 7;
const cardvault_random counting = {NULL, count};
static const cardvault_random standing_still = {&still, stand_still};
static const cardvault_random refusing = {NULL, refuse};
static const cardvault_random pretending = {NULL, pretend};
static const cardvault_random without = {NULL, NULL};

/* ---- A device -------------------------------------------------------------------------------- */

struct device device;

/* Whether this call is the one that fails. A callback that uses its own journal is refused. */
static int fails(struct device *d) {
    if (d->reenter != NULL) {
        cardvault_entry entry = {.time = NOW};
        d->reentered = cardvault_journal_append(d->reenter, &entry, &counting, NULL);
    }
    d->calls++;
    return d->calls == d->fail_at;
}

static int inside(uint32_t offset, size_t len) {
    return offset <= PAGE * PAGES && len <= PAGE * PAGES - offset;
}

static int32_t read_part(struct device *d, const uint8_t *from, uint32_t at, uint8_t *out, size_t len) {
    CHECK(inside(at, len));
    if (fails(d))
        return 1;
    memcpy(out, from + at, len);
    return 0;
}

static int32_t write_part(struct device *d, uint8_t *to, uint32_t at, const uint8_t *bytes, size_t len) {
    CHECK(inside(at, len) && at % 4 == 0 && len % 4 == 0);
    int failing = fails(d);
    /* A write that fails has done half of its work. */
    size_t whole = failing ? len / 2 : len;
    int blank = 1;
    for (size_t i = 0; i < whole; i++) {
        blank &= to[at + i] == 0xFF;
        to[at + i] &= bytes[i];
    }
    CHECK(blank);
    return failing;
}

static int32_t erase_part(struct device *d, uint8_t *pages, uint32_t from, uint32_t to) {
    CHECK(from % PAGE == 0 && to % PAGE == 0 && from < to && to <= PAGE * PAGES);
    int failing = fails(d);
    memset(pages + from, 0xFF, failing ? (to - from) / 2 : to - from);
    return failing;
}

static int32_t log_read(void *d, uint32_t at, uint8_t *out, size_t len) {
    return read_part(d, ((struct device *)d)->log, at, out, len);
}
static int32_t log_write(void *d, uint32_t at, const uint8_t *bytes, size_t len) {
    return write_part(d, ((struct device *)d)->log, at, bytes, len);
}
static int32_t log_erase(void *d, uint32_t from, uint32_t to) {
    return erase_part(d, ((struct device *)d)->log, from, to);
}
static int32_t state_read(void *d, uint32_t at, uint8_t *out, size_t len) {
    return read_part(d, ((struct device *)d)->state_pages, at, out, len);
}
static int32_t state_write(void *d, uint32_t at, const uint8_t *bytes, size_t len) {
    return write_part(d, ((struct device *)d)->state_pages, at, bytes, len);
}
static int32_t state_erase(void *d, uint32_t from, uint32_t to) {
    return erase_part(d, ((struct device *)d)->state_pages, from, to);
}
static int32_t battery_read(void *context, size_t at, uint8_t *out, size_t len) {
    struct device *d = context;
    CHECK(at <= sizeof d->battery && len <= sizeof d->battery - at);
    if (fails(d))
        return 1;
    memcpy(out, d->battery + at, len);
    return 0;
}
static int32_t battery_write(void *context, size_t at, const uint8_t *bytes, size_t len) {
    struct device *d = context;
    CHECK(at <= sizeof d->battery && len <= sizeof d->battery - at);
    int failing = fails(d);
    memcpy(d->battery + at, bytes, failing ? len / 2 : len);
    return failing;
}

void device_new(struct device *d, int state_in_flash) {
    memset(d, 0, sizeof *d);
    memset(d->log, 0xFF, sizeof d->log);
    memset(d->state_pages, 0xFF, sizeof d->state_pages);
    d->state_in_flash = state_in_flash;
    d->log_flash = (cardvault_flash){d, PAGE * PAGES, PAGE, 4, log_read, log_write, log_erase};
    d->state_flash = (cardvault_flash){d, PAGE * PAGES, PAGE, 4, state_read, state_write, state_erase};
    d->memory = (cardvault_memory){d, battery_read, battery_write};
    d->storage = (cardvault_storage){&d->log_flash, NULL, NULL};
    if (state_in_flash)
        d->storage.state_flash = &d->state_flash;
    else
        d->storage.state_memory = &d->memory;
}

/* ---- Cards ----------------------------------------------------------------------------------- */

static int same(const void *one, const void *other, size_t len) {
    return memcmp(one, other, len) == 0;
}

static void check_results(void) {
    static const char ok[] = "it was done";
    CHECK(same(cardvault_result_text(CARDVAULT_RESULT_OK), ok, sizeof ok));
    static const char unknown[] = "unknown result";
    CHECK(same(cardvault_result_text(0xFFFFFFFF), unknown, sizeof unknown));
    for (uint32_t result = 0; result < 300; result++)
        CHECK(strlen(cardvault_result_text(result)) > 5);
    CHECK(strlen(cardvault_version()) >= 5);
}

static void check_sizes(void) {
    CHECK(cardvault_handle_size(CARDVAULT_KIND_CARD) == sizeof(cardvault_card));
    CHECK(cardvault_handle_size(CARDVAULT_KIND_RING) == sizeof(cardvault_ring));
    CHECK(cardvault_handle_size(CARDVAULT_KIND_SEALER) == sizeof(cardvault_sealer));
    CHECK(cardvault_handle_size(CARDVAULT_KIND_OPENER) == sizeof(cardvault_opener));
    CHECK(cardvault_handle_size(CARDVAULT_KIND_JOURNAL) == sizeof(cardvault_journal));
    CHECK(cardvault_handle_size(CARDVAULT_KIND_FINGERPRINTER) == sizeof(cardvault_fingerprinter));
    CHECK(cardvault_handle_size(CARDVAULT_KIND_VAULTLESS) == sizeof(cardvault_vaultless));
    CHECK(cardvault_handle_size(CARDVAULT_KIND_READING) == sizeof(cardvault_reading));
    CHECK(cardvault_handle_size(0) == 0 && cardvault_handle_size(0xFFFFFFFF) == 0);
    CHECK(cardvault_handle_align() == CARDVAULT_HANDLE_ALIGN);
    CHECK(_Alignof(cardvault_card) == CARDVAULT_HANDLE_ALIGN);
}

static void check_cards(void) {
    cardvault_card card = {0}, other = {0};
    char text[CARDVAULT_PAN_TEXT_SIZE];
    cardvault_card_info info;
    uint8_t equal = 9;
    size_t at = 99;

    CHECK_IS(cardvault_card_parse(&card, (const uint8_t *)"4111 1111-1111 1111", 19, 0, &at), PAN_BYTE);
    CHECK(at == 9);
    CHECK_IS(cardvault_card_parse(&card, (const uint8_t *)"4111111111111112", 16, 0, NULL), PAN_LUHN);
    CHECK_IS(cardvault_card_mask(&card, CARDVAULT_MASK_BIN6, text, sizeof text), NOT_OPEN);
    CHECK_IS(cardvault_card_parse(&card, PAN, 0, NULL), OK);
    CHECK_IS(cardvault_card_mask(&card, CARDVAULT_MASK_BIN6, text, sizeof text), OK);
    CHECK(same(text, "411111******1111", 17));
    CHECK_IS(cardvault_card_mask(&card, CARDVAULT_MASK_BIN8, text, sizeof text), OK);
    CHECK(same(text, "41111111****1111", 17));
    CHECK_IS(cardvault_card_mask(&card, CARDVAULT_MASK_LAST4, text, sizeof text), OK);
    CHECK(same(text, "************1111", 17));
    CHECK_IS(cardvault_card_mask(&card, 7, text, sizeof text), VALUE);
    CHECK_IS(cardvault_card_truncate(&card, 8, 4, text, sizeof text), OK);
    CHECK(same(text, "41111111****1111", 17));
    CHECK_IS(cardvault_card_truncate(&card, 9, 4, text, sizeof text), VALUE);
    CHECK_IS(cardvault_card_expose(&card, text, sizeof text), OK);
    CHECK(same(text, "4111111111111111", 17));
    CHECK_IS(cardvault_wipe(text, sizeof text), OK);
    CHECK(text[0] == 0 && text[15] == 0);
    CHECK_IS(cardvault_card_describe(&card, &info), OK);
    CHECK(info.digits == 16 && info.last_four == 1111 && info.passes_luhn == 1);
    CHECK(same(cardvault_brand_name(info.brand), "Visa", 5) && info.has_expiry == 0);
    CHECK_IS(cardvault_card_set_expiry(&card, 30, 13), VALUE);
    CHECK_IS(cardvault_card_set_expiry(&card, 30, 12), OK);
    CHECK_IS(cardvault_card_set_sequence(&card, 100), VALUE);
    CHECK_IS(cardvault_card_set_sequence(&card, 1), OK);

    CHECK_IS(cardvault_card_from_track2(&other, TRACK2, 0, NULL), OK);
    CHECK_IS(cardvault_card_describe(&other, &info), OK);
    CHECK(info.expiry_year == 30 && info.expiry_month == 12 && info.service_code == 101);
    CHECK_IS(cardvault_card_same_number(&card, &other, &equal), OK);
    CHECK(equal == 1);
    CHECK_IS(cardvault_card_same_number(&card, &card, &equal), OK);
    CHECK_IS(cardvault_card_close(&other), OK);
    static const uint8_t track1[] = "%B4111111111111111^DOE/JANE^30121011234567890?";
    CHECK_IS(cardvault_card_from_track1(&other, track1, sizeof track1 - 1, 0, NULL), OK);
    CHECK_IS(cardvault_card_close(&other), OK);
    static const uint8_t emv[] = "\x70\x11\x5a\x08\x41\x11\x11\x11\x11\x11\x11\x11\x5f\x24\x03\x30\x12\x31\x00";
    CHECK_IS(cardvault_card_from_emv(&other, emv, 19, 0, &at), OK);
    CHECK_IS(cardvault_card_close(&other), OK);
    CHECK_IS(cardvault_card_from_tag5a(&other, emv + 4, 8, 0, NULL), OK);
    CHECK_IS(cardvault_card_close(&other), OK);
    static const uint8_t tag57[] = "\x41\x11\x11\x11\x11\x11\x11\x11\xd3\x01\x21\x01\x1f";
    CHECK_IS(cardvault_card_from_tag57(&other, tag57, 13, 0, NULL), OK);
    CHECK_IS(cardvault_card_close(&other), OK);

    /* A UnionPay number that fails Luhn. */
    static const uint8_t exempt[] = "6200000000000000";
    CHECK_IS(cardvault_card_parse(&other, exempt, 16, 0, NULL), PAN_LUHN);
    CHECK_IS(cardvault_card_parse(&other, exempt, 16, CARDVAULT_LUHN_EXEMPT, NULL), OK);
    CHECK_IS(cardvault_card_same_number(&card, &other, &equal), OK);
    CHECK(equal == 0);
    CHECK_IS(cardvault_card_parse(&other, exempt, 16, 2, NULL), VALUE);
    CHECK_IS(cardvault_card_close(&other), OK);

    /* Use after close, and copies. */
    CHECK_IS(cardvault_card_close(&other), NOT_OPEN);
    memcpy(&other, &card, sizeof card);
    CHECK_IS(cardvault_card_expose(&other, text, sizeof text), NOT_OPEN);
    memset(&other, 0, sizeof other);
    CHECK_IS(cardvault_card_close(&card), OK);
    CHECK_IS(cardvault_card_expose(&card, text, sizeof text), NOT_OPEN);
    CHECK_IS(cardvault_card_same_number(&card, &card, &equal), NOT_OPEN);
    uint8_t any = 0;
    for (size_t i = 0; i < sizeof card.opaque; i++)
        any |= card.opaque[i];
    CHECK(any == 0);
}

typedef cardvault_result (*reader)(cardvault_card *, const uint8_t *, size_t, uint32_t, size_t *);

/* Every length and pointer that is wrong, for each function that reads a card. */
static void check_wrong_input(void) {
    static const reader readers[] = {
        cardvault_card_parse,      cardvault_card_from_track1, cardvault_card_from_track2,
        cardvault_card_from_tag57, cardvault_card_from_tag5a,  cardvault_card_from_emv,
    };
    static uint8_t long_input[5000];
    memset(long_input, '4', sizeof long_input);
    cardvault_card cards[2] = {{{0}}, {{0}}};
    cardvault_card *unaligned = (cardvault_card *)(void *)(cards[0].opaque + 1);
    size_t places[2];
    size_t *unaligned_place = (size_t *)(void *)((uint8_t *)places + 1);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        reader read = readers[i];
        CHECK_IS(read(NULL, PAN, 0, NULL), NULL_POINTER);
        CHECK_IS(read(unaligned, PAN, 0, NULL), ALIGNMENT);
        CHECK_IS(read(cards, NULL, 16, 0, NULL), NULL_POINTER);
        CHECK_IS(read(cards, PAN, 0, unaligned_place), ALIGNMENT);
        CHECK_IS(read(cards, pan, SIZE_MAX, 0, NULL), LENGTH);
        CHECK(read(cards, NULL, 0, 0, NULL) != CARDVAULT_RESULT_OK);
        CHECK(read(cards, long_input, sizeof long_input, 0, NULL) != CARDVAULT_RESULT_OK);
        for (size_t len = 0; len < 64; len++)
            if (read(cards, long_input, len, 0, NULL) == CARDVAULT_RESULT_OK)
                CHECK_IS(cardvault_card_close(cards), OK);
        uint8_t any = 0;
        for (size_t byte = 0; byte < sizeof cards; byte++)
            any |= cards[byte / sizeof *cards].opaque[byte % sizeof *cards];
        CHECK(any == 0);
    }
    CHECK_IS(cardvault_card_close(NULL), NULL_POINTER);
    CHECK_IS(cardvault_card_close(unaligned), ALIGNMENT);
    CHECK_IS(cardvault_wipe(NULL, 1), NULL_POINTER);
    CHECK_IS(cardvault_wipe(NULL, 0), OK);
    CHECK_IS(cardvault_wipe(long_input, SIZE_MAX), LENGTH);
    CHECK(long_input[0] == '4');
}

/* Outputs that are one byte short, and exact: no byte behind them changes. */
static void check_short_outputs(void) {
    cardvault_card card = {0};
    char text[24];
    CHECK_IS(cardvault_card_parse(&card, PAN, 0, NULL), OK);
    for (int which = 0; which < 3; which++) {
        for (size_t len = 0; len <= 18; len++) {
            memset(text, CANARY, sizeof text);
            uint32_t result = which == 0   ? cardvault_card_mask(&card, 6, text, len)
                              : which == 1 ? cardvault_card_truncate(&card, 6, 4, text, len)
                                           : cardvault_card_expose(&card, text, len);
            if (len < 17)
                CHECK_IS(result, NO_ROOM);
            else
                CHECK_IS(result, OK);
            for (size_t at = len < 17 ? 0 : 17; at < sizeof text; at++)
                CHECK((uint8_t)text[at] == CANARY);
        }
        uint32_t result = which == 0   ? cardvault_card_mask(&card, 6, NULL, 20)
                          : which == 1 ? cardvault_card_truncate(&card, 6, 4, NULL, 20)
                                       : cardvault_card_expose(&card, NULL, 20);
        CHECK_IS(result, NULL_POINTER);
    }
    CHECK_IS(cardvault_card_describe(&card, NULL), NULL_POINTER);
    CHECK_IS(cardvault_card_same_number(&card, NULL, NULL), NULL_POINTER);
    CHECK_IS(cardvault_card_close(&card), OK);
}

/* ---- Sealing --------------------------------------------------------------------------------- */

static cardvault_ring ring;
static cardvault_sealer sealer;
static cardvault_opener opener;

static const uint8_t fingerprint_column[32] = {
    0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,
    0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,
};
static const cardvault_binding binding = {
    (const uint8_t *)"tok_0123456789", 14, fingerprint_column, 32, (const uint8_t *)"visa 1111", 9,
};

/* Opened in its own memory: the ciphertext is gone, but not when the ring was refused. */
static void check_ring_in_place(void) {
    static uint8_t copy[sizeof golden_ring_kek];
    const size_t len = sizeof copy, end = sizeof copy - 16;
    for (size_t at = 0; at < len; at++)
        copy[at] = golden_ring_kek[at];
    CHECK_IS(cardvault_ring_open_in_place(&ring, NULL, len, components, 2, NULL), NULL_POINTER);
    CHECK_IS(cardvault_ring_open_in_place(NULL, copy, len, components, 2, NULL), NULL_POINTER);
    CHECK_IS(cardvault_ring_open_in_place(&ring, copy, len, components, 1, NULL), COMPONENTS);
    CHECK_IS(cardvault_ring_open_in_place(&ring, NULL, 0, components, 2, NULL), NOT_A_RING);
    CHECK_IS(cardvault_ring_open_in_place(&ring, copy, len - 1, components, 2, NULL), RING_DAMAGED);
    copy[len - 1] ^= 1;
    CHECK_IS(cardvault_ring_open_in_place(&ring, copy, len, components, 2, NULL), RING_DAMAGED);
    copy[len - 1] ^= 1;
    CHECK_IS(cardvault_ring_close(&ring), NOT_OPEN);
    for (size_t at = 0; at < sizeof ring; at++)
        CHECK(((const uint8_t *)&ring)[at] == 0);
    for (size_t at = 0; at < len; at++)
        CHECK(copy[at] == golden_ring_kek[at]);
    CHECK_IS(cardvault_ring_open_in_place(&ring, copy, len, components, 2, kek_check_value), OK);
    CHECK(copy[end - 1] == 0 && copy[end - 2] == 0 && copy[end - 3] == 0 && copy[end - 4] == 0);
    CHECK_IS(cardvault_opener_open(&opener, &ring, domain, 10, golden_sealed_record, 73), OK);
    CHECK_IS(cardvault_opener_close(&opener), OK);
    CHECK_IS(cardvault_ring_close(&ring), OK);
}

static void check_sealing(void) {
    cardvault_card card = {0}, opened = {0};
    uint8_t sealed[CARDVAULT_SEALED_RECORD_LEN + 8], equal = 0;
    cardvault_card_info info;

    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, sizeof golden_ring_kek, components, 2, kek_check_value), OK);
    CHECK_IS(cardvault_opener_open(&opener, &ring, domain, 10, golden_sealed_record, 73), OK);
    CHECK_IS(cardvault_opener_unseal(&opener, golden_sealed_record, 73, &binding, &opened), OK);
    CHECK_IS(cardvault_card_describe(&opened, &info), OK);
    CHECK(info.last_four == 1111 && info.expiry_year == 30 && info.sequence == 1);

    /* With the nonce that was drawn for it, the record is the golden one. */
    struct replay tape = {{golden_sealed_record + 17}, {24}, 0};
    cardvault_random replaying = {&tape, replay};
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, &replaying), OK);
    memset(sealed, CANARY, sizeof sealed);
    CHECK_IS(cardvault_sealer_seal(&sealer, &opened, &binding, NOW, sealed, 72), NO_ROOM);
    for (size_t at = 0; at < sizeof sealed; at++)
        CHECK(sealed[at] == CANARY);
    CHECK_IS(cardvault_sealer_seal(&sealer, &opened, &binding, NOW, sealed, 73), OK);
    CHECK(same(sealed, golden_sealed_record, 73));
    for (size_t at = 73; at < sizeof sealed; at++)
        CHECK(sealed[at] == CANARY);

    /* What was changed does not open. */
    CHECK_IS(cardvault_card_close(&opened), OK);
    sealed[72] ^= 1;
    CHECK_IS(cardvault_opener_unseal(&opener, sealed, 73, &binding, &opened), DAMAGED);
    sealed[72] ^= 1;
    CHECK_IS(cardvault_opener_unseal(&opener, sealed, 73, NULL, &opened), DAMAGED);
    CHECK_IS(cardvault_opener_unseal(&opener, sealed, 72, &binding, &opened), RECORD_LENGTH);
    CHECK_IS(cardvault_opener_unseal(&opener, sealed, SIZE_MAX, &binding, &opened), LENGTH);
    CHECK_IS(cardvault_opener_unseal(&opener, NULL, 73, &binding, &opened), NULL_POINTER);
    CHECK_IS(cardvault_opener_unseal(&opener, sealed, 73, &binding, NULL), NULL_POINTER);
    CHECK_IS(cardvault_card_describe(&opened, &info), NOT_OPEN);
    sealed[1] ^= 1;
    CHECK_IS(cardvault_opener_unseal(&opener, sealed, 73, &binding, &opened), OTHER_KEY);
    cardvault_binding too_long = binding;
    too_long.token_len = 65;
    too_long.token = golden_ring_kek;
    CHECK_IS(cardvault_card_parse(&card, PAN, 0, NULL), OK);
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, &too_long, NOW, sealed, 73), BINDING);
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, &binding, UINT64_MAX, sealed, 73), CRYPTOPERIOD_OVER);
    CHECK_IS(cardvault_sealer_close(&sealer), OK);
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, &binding, NOW, sealed, 73), NOT_OPEN);

    /* Generators that fail, stand still, or write nothing; one that works never repeats a nonce. */
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, &without), NULL_POINTER);
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, NULL), NULL_POINTER);
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, &refusing), OK);
    memset(sealed, CANARY, sizeof sealed);
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, &binding, NOW, sealed, 73), RANDOM_FAILED);
    CHECK(sealed[0] == CANARY && sealed[72] == CANARY);
    CHECK_IS(cardvault_sealer_close(&sealer), OK);
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, &pretending), OK);
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, &binding, NOW, sealed, 73), RANDOM_REPEATED);
    CHECK_IS(cardvault_sealer_close(&sealer), OK);
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, &standing_still), OK);
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, &binding, NOW, sealed, 73), OK);
    memset(sealed, CANARY, sizeof sealed);
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, &binding, NOW, sealed, 73), RANDOM_REPEATED);
    CHECK(sealed[0] == CANARY && sealed[72] == CANARY);
    CHECK_IS(cardvault_sealer_close(&sealer), OK);
    static uint8_t nonces[20][24];
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, &counting), OK);
    for (size_t i = 0; i < 20; i++) {
        CHECK_IS(cardvault_sealer_seal(&sealer, &card, NULL, NOW, sealed, 73), OK);
        memcpy(nonces[i], sealed + 17, 24);
        for (size_t earlier = 0; earlier < i; earlier++)
            CHECK(!same(nonces[earlier], nonces[i], 24));
    }
    CHECK_IS(cardvault_opener_unseal(&opener, sealed, 73, NULL, &opened), OK);
    CHECK_IS(cardvault_card_same_number(&card, &opened, &equal), OK);
    CHECK(equal == 1);
    CHECK_IS(cardvault_card_close(&opened), OK);
    CHECK_IS(cardvault_card_close(&card), OK);
    CHECK_IS(cardvault_sealer_seal(&sealer, &card, NULL, NOW, sealed, 73), NOT_OPEN);
    CHECK_IS(cardvault_sealer_close(&sealer), OK);

    /* Rings and domains that are wrong. */
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 0, NOW, &counting), DOMAIN);
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, golden_ring_kek, 33, NOW, &counting), DOMAIN);
    CHECK_IS(cardvault_opener_open(&opener, &ring, fleet, 7, golden_sealed_record, 73), UNKNOWN_KEY);
    CHECK_IS(cardvault_opener_unseal(&opener, golden_sealed_record, 73, &binding, &opened), OK);
    CHECK_IS(cardvault_card_close(&opened), OK);
    CHECK_IS(cardvault_opener_close(&opener), OK);
    CHECK_IS(cardvault_opener_unseal(&opener, golden_sealed_record, 73, &binding, &opened), NOT_OPEN);
    CHECK_IS(cardvault_ring_close(&ring), OK);
    CHECK_IS(cardvault_sealer_open(&sealer, &ring, domain, 10, NOW, &counting), NOT_OPEN);
    cardvault_text swapped[2] = {components[0], components[0]};
    const size_t len = sizeof golden_ring_kek;
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len, swapped, 2, NULL), COMPONENTS);
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len, components, 1, NULL), COMPONENTS);
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len, components, 0, NULL), COMPONENTS);
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len, components, SIZE_MAX, NULL), COMPONENTS);
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len, components, 2, fleet), COMPONENTS);
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len, NULL, 2, NULL), NULL_POINTER);
    swapped[1].text = NULL;
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len, swapped, 2, NULL), NULL_POINTER);
    swapped[1].text = component_b;
    swapped[1].len--;
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len, swapped, 2, NULL), COMPONENT);
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, len - 1, components, 2, NULL), RING_DAMAGED);
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, 0, components, 2, NULL), NOT_A_RING);
    CHECK_IS(cardvault_ring_close(&ring), NOT_OPEN);
    check_ring_in_place();
}

/* ---- The journal ----------------------------------------------------------------------------- */

static cardvault_journal journal;
/* Where the nonce of a frame stands. */
#define NONCE_AT 28

struct upload {
    uint8_t bytes[1600];
    size_t len;
    unsigned items;
    unsigned fail_at;
};
static struct upload upload;

static int32_t take(void *context, const uint8_t *bytes, size_t len) {
    struct upload *to = context;
    CHECK(len > 0 && len <= CARDVAULT_FRAME_MAX_LEN && len <= sizeof to->bytes - to->len);
    if (++to->items == to->fail_at)
        return 1;
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
    return 0;
}

static cardvault_entry entry_of(const void *payment, size_t len, const cardvault_card *card) {
    cardvault_entry entry = {.time = NOW, .payment = payment, .payment_len = len, .card = card};
    entry.token = (const uint8_t *)"cvt_1";
    entry.token_len = 5;
    return entry;
}

static void create(struct device *d) {
    CHECK_IS(cardvault_journal_create(&journal, &d->storage, golden_journal_chain_key, terminal, 8, 1, 1), OK);
}

/* The writer of tests/journal.rs, call for call: with the nonces that were drawn there, flash,
 * state and upload are the golden ones, byte for byte. */
static void check_journal_golden(void) {
    static const uint8_t sevens[CARDVAULT_PAYMENT_MAX_LEN] = {
#define TEN 7, 7, 7, 7, 7, 7, 7, 7, 7, 7
#define EIGHTY TEN, TEN, TEN, TEN, TEN, TEN, TEN, TEN
        EIGHTY, EIGHTY, EIGHTY, EIGHTY};
    cardvault_card visa = {0}, union_pay = {0}, amex = {0};
    char truncated[CARDVAULT_PAN_TEXT_SIZE];
    cardvault_journal_status status;
    uint64_t sequence = 99;

    CHECK_IS(cardvault_card_parse(&visa, PAN, 0, NULL), OK);
    CHECK_IS(cardvault_card_parse(&union_pay, (const uint8_t *)"6205500000000000004", 19, 0, NULL), OK);
    CHECK_IS(cardvault_card_parse(&amex, (const uint8_t *)"378282246310005", 15, 0, NULL), OK);
    device_new(&device, 0);
    create(&device);

    /* Frames follow the page's header of 32 bytes; each says its length at its third byte. */
    struct replay tape = {{0}, {12, 12, 12, 12}, 0};
    size_t at = 32;
    for (size_t i = 0; i < 4; i++) {
        /* Behind the third frame a start left one blank word. */
        if (i == 3)
            at += 4;
        tape.bytes[i] = golden_journal_page + at + NONCE_AT;
        at += (size_t)golden_journal_page[at + 2] << 8 | golden_journal_page[at + 3];
    }
    CHECK(at == sizeof golden_journal_page);
    cardvault_random replaying = {&tape, replay};

    cardvault_entry entry = entry_of("first", 5, &visa);
    CHECK_IS(cardvault_card_truncate(&visa, 6, 4, truncated, sizeof truncated), OK);
    entry.truncated = truncated;
    entry.truncated_len = 16;
    CHECK_IS(cardvault_journal_append(&journal, &entry, &replaying, &sequence), OK);
    CHECK(sequence == 0);
    entry = entry_of("second", 6, NULL);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &replaying, &sequence), OK);
    CHECK_IS(cardvault_journal_checkpoint(&journal, NOW, &replaying), OK);
    CHECK_IS(cardvault_journal_close(&journal), OK);
    CHECK_IS(cardvault_journal_open(&journal, &device.storage), OK);
    entry = entry_of(sevens, sizeof sevens, &union_pay);
    CHECK_IS(cardvault_card_truncate(&union_pay, 6, 4, truncated, sizeof truncated), OK);
    entry.truncated = truncated;
    entry.truncated_len = 19;
    CHECK_IS(cardvault_journal_append(&journal, &entry, &replaying, &sequence), OK);
    CHECK(sequence == 3);
    CHECK(same(device.log, golden_journal_page, sizeof golden_journal_page));

    tape = (struct replay){{golden_journal_state + 8 + 160}, {32}, 0};
    CHECK_IS(cardvault_journal_open_pending(&journal, &amex, &replaying), OK);
    CHECK_IS(cardvault_journal_open_pending(&journal, &amex, &replaying), PENDING_OPEN);
    const size_t slot = sizeof golden_journal_state;
    CHECK(same(device.battery, golden_journal_state, slot) ||
          same(device.battery + slot, golden_journal_state, slot));
    upload = (struct upload){.len = 0};
    cardvault_sink sink = {&upload, take};
    CHECK_IS(cardvault_journal_upload(&journal, &sink), OK);
    CHECK(upload.len == sizeof golden_journal_upload);
    CHECK(same(upload.bytes, golden_journal_upload, upload.len));

    CHECK_IS(cardvault_journal_describe(&journal, &status), OK);
    CHECK(status.count == 4 && status.uploaded == 0 && status.torn == 0 && status.lost_count == 0);
    CHECK(status.epoch == 1 && status.base_version == 1 && status.terminal_len == 8);
    cardvault_card pending = {0};
    cardvault_card_info info;
    CHECK_IS(cardvault_journal_pending(&journal, &pending), OK);
    CHECK_IS(cardvault_card_describe(&pending, &info), OK);
    CHECK(info.last_four == 5 && info.digits == 15);
    CHECK_IS(cardvault_card_close(&pending), OK);

    /* What is clear can be read again. */
    uint8_t buffer[CARDVAULT_FRAME_MAX_LEN];
    cardvault_frame frame;
    CHECK_IS(cardvault_journal_read(&journal, 0, buffer, sizeof buffer - 1, &frame), NO_ROOM);
    CHECK_IS(cardvault_journal_read(&journal, 0, buffer, sizeof buffer, &frame), OK);
    CHECK(frame.kind == CARDVAULT_FRAME_PAYMENT && frame.payment_len == 5 && frame.has_card == 1);
    CHECK(same(frame.payment, "first", 5) && same(frame.truncated, "411111******1111", 17));
    CHECK(frame.payment >= buffer && frame.payment < buffer + sizeof buffer);
    CHECK_IS(cardvault_journal_read(&journal, 2, buffer, sizeof buffer, &frame), OK);
    CHECK(frame.kind == CARDVAULT_FRAME_NOTICE && frame.cause == CARDVAULT_CAUSE_CHECKPOINT);
    CHECK_IS(cardvault_journal_read(&journal, 4, buffer, sizeof buffer, &frame), NOT_FOUND);

    cardvault_receipt receipt = {.count = 4};
    CHECK_IS(cardvault_journal_confirm(&journal, &receipt), RECEIPT);
    CHECK_IS(cardvault_journal_finish(&journal, NOW, &counting), PENDING_OPEN);
    entry = entry_of("doubt", 5, NULL);
    CHECK_IS(cardvault_journal_append_in_doubt(&journal, &entry, &counting, NULL), OK);
    CHECK_IS(cardvault_journal_pending(&journal, &pending), OK);
    CHECK_IS(cardvault_card_close(&pending), OK);
    CHECK_IS(cardvault_journal_clear_pending(&journal), OK);
    CHECK_IS(cardvault_journal_pending(&journal, &pending), NOT_FOUND);

    /* A batch: its entries' cards open until it is closed. */
    CHECK_IS(cardvault_journal_open_batch(&journal, &counting), OK);
    CHECK_IS(cardvault_journal_open_batch(&journal, &counting), BATCH_OPEN);
    entry = entry_of("batch", 5, &amex);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, &sequence), OK);
    CHECK_IS(cardvault_journal_batch_card(&journal, sequence, &pending), OK);
    CHECK_IS(cardvault_card_describe(&pending, &info), OK);
    CHECK(info.last_four == 5 && info.digits == 15);
    CHECK_IS(cardvault_card_close(&pending), OK);
    CHECK_IS(cardvault_journal_batch_card(&journal, 0, &pending), NOT_FOUND);
    CHECK_IS(cardvault_journal_finish(&journal, NOW, &counting), BATCH_OPEN);
    CHECK_IS(cardvault_journal_close_batch(&journal), OK);
    CHECK_IS(cardvault_journal_batch_card(&journal, sequence, &pending), NOT_FOUND);
    CHECK_IS(cardvault_journal_finish(&journal, NOW, &counting), OK);
    entry = entry_of("late", 4, NULL);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), CLOSED);
    CHECK_IS(cardvault_journal_close(&journal), OK);
    CHECK_IS(cardvault_card_close(&visa), OK);
    CHECK_IS(cardvault_card_close(&union_pay), OK);
    CHECK_IS(cardvault_card_close(&amex), OK);
}

static void check_journal_input(void) {
    cardvault_card card = {0};
    cardvault_entry entry = entry_of("x", 1, NULL);
    cardvault_journal_status status;
    static uint8_t long_part[1000];
    cardvault_storage *storage = &device.storage;
    const uint8_t *key = golden_journal_chain_key;

    device_new(&device, 0);
    CHECK_IS(cardvault_journal_open(&journal, storage), NOT_PROVISIONED);
    device.calls = 0;
    CHECK_IS(cardvault_journal_create(NULL, storage, key, terminal, 8, 1, 1), NULL_POINTER);
    CHECK_IS(cardvault_journal_create(&journal, NULL, key, terminal, 8, 1, 1), NULL_POINTER);
    CHECK_IS(cardvault_journal_create(&journal, storage, NULL, terminal, 8, 1, 1), NULL_POINTER);
    CHECK_IS(cardvault_journal_create(&journal, storage, key, NULL, 8, 1, 1), NULL_POINTER);
    CHECK_IS(cardvault_journal_create(&journal, storage, key, terminal, 0, 1, 1), TERMINAL);
    CHECK_IS(cardvault_journal_create(&journal, storage, key, long_part, 17, 1, 1), TERMINAL);
    CHECK_IS(cardvault_journal_create(&journal, storage, key, long_part, SIZE_MAX, 1, 1), LENGTH);
    cardvault_storage neither = {&device.log_flash, NULL, NULL};
    CHECK_IS(cardvault_journal_create(&journal, &neither, key, terminal, 8, 1, 1), NULL_POINTER);
    cardvault_storage both = {&device.log_flash, &device.state_flash, &device.memory};
    CHECK_IS(cardvault_journal_create(&journal, &both, key, terminal, 8, 1, 1), VALUE);
    CHECK(device.calls == 0);
    static const uint32_t geometries[][3] = {
        {0, 0, 0}, {8192, 4096, 0}, {8192, 4096, 3},   {8192, 4096, 64}, {8192, 0, 4},
        {8192, 100, 4}, {4096, 4096, 4}, {8192, 64, 4}, {0xFFFFFFFF, 0xFFFFFFFF, 4}, {8192, 512, 4},
    };
    for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++) {
        cardvault_flash flash = device.log_flash;
        flash.capacity = geometries[i][0], flash.page_len = geometries[i][1], flash.word_len = geometries[i][2];
        cardvault_storage odd = {&flash, NULL, &device.memory};
        CHECK_IS(cardvault_journal_create(&journal, &odd, key, terminal, 8, 1, 1), GEOMETRY);
        if (i < 7 && i != 3) {
            odd = (cardvault_storage){&device.log_flash, &flash, NULL};
            CHECK_IS(cardvault_journal_create(&journal, &odd, key, terminal, 8, 1, 1), GEOMETRY);
        }
        cardvault_flash holes[3] = {device.log_flash, device.log_flash, device.log_flash};
        holes[0].read = NULL, holes[1].write = NULL, holes[2].erase = NULL;
        odd = (cardvault_storage){&holes[i % 3], NULL, &device.memory};
        CHECK_IS(cardvault_journal_create(&journal, &odd, key, terminal, 8, 1, 1), NULL_POINTER);
    }
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), NOT_OPEN);
    CHECK(device.calls == 0);

    create(&device);
    unsigned before = device.calls;
    CHECK_IS(cardvault_journal_append(NULL, &entry, &counting, NULL), NULL_POINTER);
    CHECK_IS(cardvault_journal_append(&journal, NULL, &counting, NULL), NULL_POINTER);
    CHECK_IS(cardvault_journal_append(&journal, &entry, NULL, NULL), NULL_POINTER);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &without, NULL), NULL_POINTER);
    uint64_t numbers[2];
    uint64_t *odd_number = (uint64_t *)(void *)((uint8_t *)numbers + 1);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, odd_number), ALIGNMENT);
    entry.card = &card;
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), NOT_OPEN);
    entry = entry_of(long_part, CARDVAULT_PAYMENT_MAX_LEN + 1, NULL);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), PAYMENT);
    entry = entry_of(NULL, 1, NULL);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), NULL_POINTER);
    entry = entry_of(long_part, SIZE_MAX, NULL);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), LENGTH);
    entry = entry_of("x", 1, NULL);
    entry.token = long_part, entry.token_len = CARDVAULT_ENTRY_TOKEN_MAX_LEN + 1;
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), TOKEN_LENGTH);
    entry = entry_of("x", 1, NULL);
    entry.truncated = "4111111111111111", entry.truncated_len = 16;
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), TRUNCATED_TEXT);
    entry = entry_of("x", 1, NULL);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &refusing, NULL), RANDOM_FAILED);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &pretending, NULL), RANDOM_REPEATED);
    CHECK(device.calls == before);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &standing_still, NULL), OK);
    CHECK_IS(cardvault_journal_append(&journal, &entry, &standing_still, NULL), RANDOM_REPEATED);
    CHECK_IS(cardvault_card_parse(&card, PAN, 0, NULL), OK);
    CHECK_IS(cardvault_journal_open_pending(&journal, &card, &standing_still), RANDOM_REPEATED);
    CHECK_IS(cardvault_journal_open_pending(&journal, &card, &refusing), RANDOM_FAILED);
    CHECK_IS(cardvault_journal_open_pending(&journal, &card, &pretending), RANDOM_FAILED);
    CHECK_IS(cardvault_journal_describe(&journal, NULL), NULL_POINTER);
    CHECK_IS(cardvault_journal_create(&journal, storage, key, terminal, 8, 1, 1), IN_USE);

    /* A copy of a journal would draw the same keys. */
    static cardvault_journal copy;
    memcpy(&copy, &journal, sizeof copy);
    CHECK_IS(cardvault_journal_append(&copy, &entry, &counting, NULL), NOT_OPEN);

    /* A callback that uses the journal that calls it. */
    device.reenter = &journal;
    CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), OK);
    CHECK(device.reentered == CARDVAULT_RESULT_BUSY);
    device.reenter = NULL;

    /* A receiver that fails leaves the journal as it was. */
    for (unsigned n = 1; n <= 4; n++) {
        upload = (struct upload){.fail_at = n};
        cardvault_sink sink = {&upload, take};
        CHECK_IS(cardvault_journal_upload(&journal, &sink), SINK_FAILED);
    }
    cardvault_sink nobody = {NULL, NULL};
    CHECK_IS(cardvault_journal_upload(&journal, &nobody), NULL_POINTER);
    CHECK_IS(cardvault_journal_upload(&journal, NULL), NULL_POINTER);
    CHECK_IS(cardvault_journal_describe(&journal, &status), OK);
    CHECK(status.count == 2);
    CHECK_IS(cardvault_journal_close(&journal), OK);
    CHECK_IS(cardvault_journal_describe(&journal, &status), NOT_OPEN);
    CHECK_IS(cardvault_card_close(&card), OK);
}

/* The nonces of every frame that was ever programmed, also of those that were torn. */
static uint8_t nonces[400][12];
static unsigned nonce_count;

static int32_t log_write_watched(void *context, uint32_t at, const uint8_t *bytes, size_t len) {
    if (len > NONCE_AT + 12 && nonce_count < 400) {
        memcpy(nonces[nonce_count++], bytes + NONCE_AT, 12);
    }
    return log_write(context, at, bytes, len);
}

/* A payment whose n-th call of flash or state fails, for every n; then a start. */
static void check_failing_storage(int state_in_flash) {
    cardvault_card card = {0};
    cardvault_entry entry = entry_of("paid", 4, &card);
    cardvault_journal_status status;
    unsigned n = 0, failures = 0;
    CHECK_IS(cardvault_card_parse(&card, PAN, 0, NULL), OK);
    nonce_count = 0;
    for (n = 1;; n++) {
        device_new(&device, state_in_flash);
        device.log_flash.write = log_write_watched;
        create(&device);
        CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), OK);
        CHECK_IS(cardvault_journal_close(&journal), OK);

        device.calls = 0;
        device.fail_at = n;
        uint64_t acknowledged = 1;
        uint32_t result = cardvault_journal_open(&journal, &device.storage);
        if (result == CARDVAULT_RESULT_OK) {
            result = cardvault_journal_open_pending(&journal, &card, &counting);
            if (result == CARDVAULT_RESULT_OK) {
                result = cardvault_journal_append(&journal, &entry, &counting, NULL);
                acknowledged += result == CARDVAULT_RESULT_OK;
            }
            if (result != CARDVAULT_RESULT_OK)
                CHECK(cardvault_journal_append(&journal, &entry, &counting, NULL) != CARDVAULT_RESULT_OK ||
                      ++acknowledged);
            CHECK_IS(cardvault_journal_close(&journal), OK);
        }
        if (device.calls < n) {
            CHECK_IS(result, OK);
            break;
        }
        failures++;
        CHECK(result == CARDVAULT_RESULT_FLASH_FAILED || result == CARDVAULT_RESULT_STATE_FAILED);

        /* Nothing that was acknowledged is lost, and the journal goes on. */
        device.fail_at = 0;
        CHECK_IS(cardvault_journal_open(&journal, &device.storage), OK);
        CHECK_IS(cardvault_journal_describe(&journal, &status), OK);
        CHECK(status.count == acknowledged || status.count == acknowledged + 1);
        CHECK(status.lost_count == 0);
        CHECK_IS(cardvault_journal_append(&journal, &entry, &counting, NULL), OK);
        upload = (struct upload){.len = 0};
        cardvault_sink sink = {&upload, take};
        CHECK_IS(cardvault_journal_upload(&journal, &sink), OK);
        CHECK_IS(cardvault_journal_close(&journal), OK);
    }
    CHECK(failures > 10);
    unsigned repeated = 0;
    for (unsigned one = 0; one < nonce_count; one++)
        for (unsigned other = one + 1; other < nonce_count; other++)
            repeated += same(nonces[one], nonces[other], 12);
    CHECK(nonce_count > 20 && repeated == 0);
    CHECK_IS(cardvault_card_close(&card), OK);
}

void check_core(void) {
    check_results();
    check_sizes();
    check_cards();
    check_wrong_input();
    check_short_outputs();
    check_sealing();
    check_journal_golden();
    check_journal_input();
    check_failing_storage(0);
    check_failing_storage(1);
}
