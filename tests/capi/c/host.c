/* What a host calls: everything of core.c, and fingerprints, tokens, readings of uploads, the
 * vault, and objects that threads share.
 *
 *     host FOLDER     FOLDER is empty; the vault is made there
 *     host            without the vault; what threads share is objects alone
 *
 * Without CARDVAULT_EMBEDDED the library has no vault. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"

static unsigned faults;

void failed(const char *file, int line, const char *what, uint32_t got) {
    fprintf(stderr, "%s:%d: %s (got %u: %s)\n", file, line, what, got, cardvault_result_text(got));
    if (++faults == 20)
        exit(1);
}

static cardvault_ring ring;
static cardvault_fingerprinter fingerprinter;
static cardvault_vaultless vaultless;
static cardvault_reading reading;

static void card_of(cardvault_card *card, const char *pan) {
    CHECK_IS(cardvault_card_parse(card, (const uint8_t *)pan, strlen(pan), 0, NULL), OK);
}

static void check_fingerprints(void) {
    cardvault_card card = {0};
    uint8_t print[33], equal = 9;
    card_of(&card, "4111111111111111");
    CHECK_IS(cardvault_ring_open(&ring, golden_ring_kek, sizeof golden_ring_kek, components, 2, NULL), OK);
    CHECK_IS(cardvault_fingerprinter_open(&fingerprinter, &ring, domain, 10, 9), UNKNOWN_VERSION);
    CHECK_IS(cardvault_fingerprint(&fingerprinter, &card, print, 32), NOT_OPEN);
    CHECK_IS(cardvault_fingerprinter_open(&fingerprinter, &ring, domain, 10, 1), OK);
    memset(print, CANARY, sizeof print);
    CHECK_IS(cardvault_fingerprint(&fingerprinter, &card, print, 31), NO_ROOM);
    CHECK(print[0] == CANARY);
    CHECK_IS(cardvault_fingerprint(&fingerprinter, &card, print, 32), OK);
    CHECK(memcmp(print, golden_fingerprint, 32) == 0 && print[32] == CANARY);
    CHECK_IS(cardvault_fingerprint_compare(&fingerprinter, &card, print, 32, &equal), OK);
    CHECK(equal == 1);
    print[31] ^= 1;
    CHECK_IS(cardvault_fingerprint_compare(&fingerprinter, &card, print, 32, &equal), OK);
    CHECK(equal == 0);
    CHECK_IS(cardvault_fingerprint_compare(&fingerprinter, &card, print, 31, &equal), LENGTH);
    CHECK_IS(cardvault_fingerprint_compare(&fingerprinter, &card, print, 32, NULL), NULL_POINTER);
    CHECK_IS(cardvault_fingerprinter_close(&fingerprinter), OK);
    CHECK_IS(cardvault_ring_close(&ring), OK);
    CHECK_IS(cardvault_card_close(&card), OK);
}

/* The generator of tests/token.rs: a draw counts on from the number of the draw. */
static int32_t count_up(void *context, uint8_t *out, size_t len) {
    uint8_t *first = context;
    for (size_t at = 0; at < len; at++)
        out[at] = (uint8_t)(*first + at);
    (*first)++;
    return 0;
}

/* The ring of tokens.txt, and each of its vaultless tokens. */
static void check_tokens(void) {
    uint8_t first = 0xa0, print[32];
    cardvault_random random = {&first, count_up};
    uint32_t version = 0;
    char token[CARDVAULT_TOKEN_TEXT_SIZE + 1];
    cardvault_card card = {0}, back = {0};
    unsigned made = 0;

    CHECK_IS(cardvault_ring_create(&ring, 2, &random), VALUE);
    CHECK_IS(cardvault_ring_create(&ring, CARDVAULT_PRODUCTION, &random), OK);
    CHECK_IS(cardvault_ring_add(&ring, 0, NOW, &random, &version), VALUE);
    CHECK_IS(cardvault_ring_add(&ring, 9, NOW, &random, &version), VALUE);
    CHECK_IS(cardvault_ring_add(&ring, CARDVAULT_USE_IRREVERSIBLE, NOW, &random, &version), OK);
    CHECK_IS(cardvault_ring_activate(&ring, CARDVAULT_USE_IRREVERSIBLE, 2, NOW), UNKNOWN_VERSION);
    CHECK_IS(cardvault_vaultless_open(&vaultless, &ring, domain, 10, 0, 4, 16, 0, NOW), NO_ACTIVE_KEY);
    for (uint32_t generation = 1; generation <= 2; generation++) {
        CHECK_IS(cardvault_ring_add(&ring, CARDVAULT_USE_VAULTLESS, NOW, &random, &version), OK);
        CHECK(version == generation);
        CHECK_IS(cardvault_ring_activate(&ring, CARDVAULT_USE_VAULTLESS, version, NOW), OK);
        for (size_t at = 0; at < sizeof golden_tokens / sizeof *golden_tokens; at++) {
            const char *const *line = golden_tokens[at];
            if ((uint32_t)(line[0][strlen("vaultless-")] - '0') != generation)
                continue;
            uint8_t head = (uint8_t)(line[1][0] - '0'), tail = (uint8_t)(line[1][2] - '0');
            uint8_t shortest = (uint8_t)((head + tail > 1 ? head + tail : 1) + 7);
            CHECK_IS(cardvault_vaultless_open(&vaultless, &ring, domain, 10, head, tail, shortest, 0, NOW), OK);
            card_of(&card, line[2]);
            memset(token, CANARY, sizeof token);
            CHECK_IS(cardvault_vaultless_tokenize(&vaultless, &card, token, strlen(line[3])), NO_ROOM);
            CHECK((uint8_t)token[0] == CANARY);
            CHECK_IS(cardvault_vaultless_tokenize(&vaultless, &card, token, strlen(line[3]) + 1), OK);
            CHECK(strcmp(token, line[3]) == 0 && (uint8_t)token[strlen(token) + 1] == CANARY);
            CHECK_IS(cardvault_card_close(&card), OK);
            CHECK_IS(cardvault_vaultless_close(&vaultless), OK);
            made++;
        }
    }
    CHECK(made > 20);

    /* A token opens to its card alone, and only with the card's fingerprint. */
    CHECK_IS(cardvault_ring_add(&ring, CARDVAULT_USE_INDEX, NOW, &random, &version), OK);
    CHECK_IS(cardvault_ring_activate(&ring, CARDVAULT_USE_INDEX, version, NOW), OK);
    CHECK_IS(cardvault_fingerprinter_open(&fingerprinter, &ring, domain, 10, version), OK);
    CHECK_IS(cardvault_vaultless_open(&vaultless, &ring, domain, 10, 6, 4, 16, 0, NOW), TOKEN_FORMAT);
    CHECK_IS(cardvault_vaultless_open(&vaultless, &ring, domain, 10, 5, 4, 16, 0, NOW), VALUE);
    CHECK_IS(cardvault_vaultless_open(&vaultless, &ring, domain, 10, 0, 4, 16, 0, NOW), OK);
    card_of(&card, "4111111111111111");
    CHECK_IS(cardvault_fingerprint(&fingerprinter, &card, print, sizeof print), OK);
    CHECK_IS(cardvault_vaultless_tokenize(&vaultless, &card, token, sizeof token), OK);
    CHECK_IS(cardvault_vaultless_detokenize(&vaultless, token, 16, &fingerprinter, print, 32, &back), OK);
    uint8_t equal = 0;
    CHECK_IS(cardvault_card_same_number(&card, &back, &equal), OK);
    CHECK(equal == 1);
    CHECK_IS(cardvault_card_close(&back), OK);
    print[0] ^= 1;
    CHECK_IS(cardvault_vaultless_detokenize(&vaultless, token, 16, &fingerprinter, print, 32, &back), OTHER_CARD);
    CHECK_IS(cardvault_vaultless_detokenize(&vaultless, token, 15, &fingerprinter, print, 32, &back), TOKEN_SHORT);
    CHECK_IS(cardvault_vaultless_detokenize(&vaultless, "4111111111111111", 16, &fingerprinter, print, 32, &back), TOKEN);
    CHECK_IS(cardvault_vaultless_detokenize(&vaultless, token, SIZE_MAX, &fingerprinter, print, 32, &back), LENGTH);
    CHECK_IS(cardvault_card_close(&back), NOT_OPEN);
    CHECK_IS(cardvault_vaultless_close(&vaultless), OK);
    CHECK_IS(cardvault_vaultless_open(&vaultless, &ring, domain, 10, 0, 4, 16, 1, NOW), OK);
    CHECK_IS(cardvault_vaultless_tokenize(&vaultless, &card, token, sizeof token), KEY_STATE);
    CHECK_IS(cardvault_vaultless_detokenize(&vaultless, token, 16, &fingerprinter, print, 32, &back), TOKEN_GENERATION);
    CHECK_IS(cardvault_vaultless_close(&vaultless), OK);
    CHECK_IS(cardvault_fingerprinter_close(&fingerprinter), OK);
    CHECK_IS(cardvault_card_close(&card), OK);

    /* Sealed, and opened again. */
    static uint8_t sealed[CARDVAULT_SEALED_RING_MAX_LEN];
    size_t len = 0;
    CHECK_IS(cardvault_ring_seal(&ring, components, 2, &counting, sealed, 16, &len), NO_ROOM);
    CHECK(sealed[0] == 0 && len == 0);
    CHECK_IS(cardvault_ring_seal(&ring, components, 2, &counting, sealed, sizeof sealed, &len), OK);
    CHECK_IS(cardvault_ring_close(&ring), OK);
    CHECK_IS(cardvault_ring_open(&ring, sealed, len, components, 2, NULL), OK);
    CHECK_IS(cardvault_ring_close(&ring), OK);
}

struct bytes {
    const uint8_t *at;
    size_t len;
    size_t step; /* at most so many at once */
    unsigned calls, fail_at;
    int lies;
};

static int32_t give(void *context, uint8_t *out, size_t len, size_t *given) {
    struct bytes *from = context;
    if (++from->calls == from->fail_at)
        return 1;
    size_t now = len < from->step ? len : from->step;
    if (now > from->len)
        now = from->len;
    memcpy(out, from->at, now);
    from->at += now;
    from->len -= now;
    *given = from->lies ? len + 1 : now;
    return 0;
}

static uint32_t open_reading(struct bytes *upload, const uint8_t *since, uint32_t go_on) {
    cardvault_identity identity;
    CHECK_IS(cardvault_upload_identity(golden_journal_upload, 64, &identity), OK);
    CHECK(identity.epoch == 1 && identity.base_version == 1 && identity.terminal_len == 8);
    cardvault_source source = {upload, give};
    return cardvault_reading_open(&reading, &ring, fleet, 7, &identity, since, &source, go_on);
}

static void check_readings(void) {
    static const uint16_t last_four[4] = {1111, 0, 0, 4};
    uint8_t key[CARDVAULT_CHAIN_KEY_LEN];
    uint32_t version = 0;
    cardvault_verified verified;
    cardvault_card card = {0};
    cardvault_card_info info;
    cardvault_outcome outcome;

    CHECK_IS(cardvault_ring_open(&ring, golden_journal_ring, sizeof golden_journal_ring, components, 2, NULL), OK);
    CHECK_IS(cardvault_chain_key(&ring, fleet, 7, NOW, (const uint8_t *)"T0000001", 8, 1, key, 31, &version), NO_ROOM);
    CHECK_IS(cardvault_chain_key(&ring, fleet, 7, NOW, (const uint8_t *)"T0000001", 8, 1, key, 32, &version), OK);
    CHECK(version == 1 && memcmp(key, golden_journal_chain_key, 32) == 0);
    CHECK_IS(cardvault_wipe(key, sizeof key), OK);

    for (size_t step = 1; step < 2000; step = step * 3 + 1) {
        struct bytes upload = {golden_journal_upload, sizeof golden_journal_upload, step, 0, 0, 0};
        CHECK_IS(open_reading(&upload, NULL, 0), OK);
        for (unsigned at = 0; at < 4; at++) {
            CHECK_IS(cardvault_reading_outcome(&reading, &outcome), NOT_FOUND);
            CHECK_IS(cardvault_reading_next(&reading, &verified, &card), OK);
            CHECK(verified.frame.sequence == at && verified.has_card == (last_four[at] != 0));
            if (verified.has_card) {
                CHECK_IS(cardvault_card_describe(&card, &info), OK);
                CHECK(info.last_four == last_four[at]);
                CHECK_IS(cardvault_card_close(&card), OK);
            }
        }
        CHECK_IS(cardvault_reading_next(&reading, &verified, &card), END);
        CHECK_IS(cardvault_reading_outcome(&reading, &outcome), OK);
        CHECK(outcome.clean == 1 && outcome.receipt.count == 4);
        CHECK_IS(cardvault_reading_close(&reading), OK);
        CHECK_IS(cardvault_reading_next(&reading, &verified, &card), NOT_OPEN);
    }

    /* The same upload again is one that was verified before; a changed one is found out. */
    struct bytes again = {golden_journal_upload, sizeof golden_journal_upload, 512, 0, 0, 0};
    CHECK_IS(open_reading(&again, outcome.position, 0), OK);
    CHECK_IS(cardvault_reading_next(&reading, &verified, &card), OK);
    CHECK(verified.again == 1);
    CHECK_IS(cardvault_card_close(&card), OK);
    CHECK_IS(cardvault_reading_close(&reading), OK);
    static uint8_t changed[sizeof golden_journal_upload];
    memcpy(changed, golden_journal_upload, sizeof changed);
    changed[200] ^= 1;
    struct bytes flipped = {changed, sizeof changed, 512, 0, 0, 0};
    CHECK_IS(open_reading(&flipped, NULL, 1), OK);
    CHECK_IS(cardvault_reading_next(&reading, &verified, &card), OK);
    CHECK_IS(cardvault_card_close(&card), OK);
    CHECK_IS(cardvault_reading_next(&reading, &verified, &card), FAULT_FLIPPED);
    CHECK(verified.frame.sequence == 1 && verified.has_card == 0 && verified.offset > 0);
    CHECK_IS(cardvault_reading_next(&reading, &verified, &card), OK);
    CHECK_IS(cardvault_reading_close(&reading), OK);

    /* A source that fails at any call, or says that it gave more than there was room for. */
    unsigned n = 0;
    for (n = 1;; n++) {
        struct bytes upload = {golden_journal_upload, sizeof golden_journal_upload, 100, 0, n, 0};
        uint32_t result = open_reading(&upload, NULL, 0);
        while (result == CARDVAULT_RESULT_OK) {
            result = cardvault_reading_next(&reading, &verified, &card);
            if (result == CARDVAULT_RESULT_OK && verified.has_card)
                CHECK_IS(cardvault_card_close(&card), OK);
        }
        cardvault_reading_close(&reading);
        if (upload.calls < n) {
            CHECK_IS(result, END);
            break;
        }
        CHECK_IS(result, SOURCE_FAILED);
    }
    CHECK(n > 5);
    struct bytes liar = {golden_journal_upload, sizeof golden_journal_upload, 100, 0, 0, 1};
    CHECK_IS(open_reading(&liar, NULL, 0), SOURCE_FAILED);
    CHECK_IS(open_reading(&again, NULL, 2), VALUE);
    cardvault_identity wrong = {1, 1, 17, {0}};
    cardvault_source source = {&again, give};
    CHECK_IS(cardvault_reading_open(&reading, &ring, fleet, 7, &wrong, NULL, &source, 0), TERMINAL);
    CHECK_IS(cardvault_reading_open(&reading, &ring, fleet, 7, NULL, NULL, &source, 0), NULL_POINTER);
    CHECK_IS(cardvault_upload_identity(changed, 10, &wrong), FAULT_HEADER);
    CHECK_IS(cardvault_upload_identity(NULL, 10, &wrong), NULL_POINTER);
    CHECK_IS(cardvault_ring_close(&ring), OK);
}

/* ---- The vault, and threads ------------------------------------------------------------------ */

#ifdef CARDVAULT_EMBEDDED
static cardvault_vault vault;
#endif
static cardvault_opener opener;
static cardvault_sealer shared_sealer;
static cardvault_card shared_card;
static int with_vault;
#define THREADS 4
#define ROUNDS 25

static int32_t system_random(void *context, uint8_t *out, size_t len) {
    FILE *random = context;
    return fread(out, 1, len, random) == len ? 0 : 1;
}

static void make_ring(FILE *random_file) {
    cardvault_random random = {random_file, system_random};
    /* The vault looks at the system's clock. */
    const uint64_t now = (uint64_t)time(NULL);
    uint32_t version;
    CHECK_IS(cardvault_ring_create(&ring, CARDVAULT_DEVELOPMENT, &random), OK);
    for (uint32_t usage = CARDVAULT_USE_CARD; usage <= CARDVAULT_USE_LEDGER; usage++) {
        CHECK_IS(cardvault_ring_add(&ring, usage, now, &random, &version), OK);
        CHECK_IS(cardvault_ring_activate(&ring, usage, version, now), OK);
    }
}

struct worker {
    pthread_t thread;
    char pan[20];
    char token[CARDVAULT_TOKEN_TEXT_SIZE];
    unsigned busy, wrong;
};

/* The objects that threads may share give what they should; the sealer that they may not share is
 * either theirs or busy. */
static void *work(void *argument) {
    struct worker *me = argument;
    cardvault_card card = {0}, back = {0};
    char token[CARDVAULT_TOKEN_TEXT_SIZE], pan[CARDVAULT_PAN_TEXT_SIZE];
    uint8_t sealed[CARDVAULT_SEALED_RECORD_LEN], print[32];
    uint32_t result = cardvault_card_parse(&card, (const uint8_t *)me->pan, strlen(me->pan), 0, NULL);
    me->wrong += result != CARDVAULT_RESULT_OK;
    for (int round = 0; round < ROUNDS; round++) {
        result = cardvault_fingerprint(&fingerprinter, &shared_card, print, sizeof print);
        me->wrong += result != CARDVAULT_RESULT_OK;
        result = cardvault_opener_unseal(&opener, golden_sealed_record, 73, NULL, &back);
        me->wrong += result != CARDVAULT_RESULT_OTHER_KEY;
        result = cardvault_sealer_seal(&shared_sealer, &shared_card, NULL, (uint64_t)time(NULL), sealed, sizeof sealed);
        if (result == CARDVAULT_RESULT_BUSY)
            me->busy++;
        else
            me->wrong += result != CARDVAULT_RESULT_OK;
        if (result == CARDVAULT_RESULT_OK) {
            result = cardvault_opener_unseal(&opener, sealed, sizeof sealed, NULL, &back);
            me->wrong += result != CARDVAULT_RESULT_OK;
            cardvault_card_close(&back);
        }
        if (!with_vault)
            continue;
#ifdef CARDVAULT_EMBEDDED
        result = cardvault_vault_tokenize(&vault, domain, 10, &card, 0, 0, 0, 0, token, sizeof token, NULL);
        me->wrong += result != CARDVAULT_RESULT_OK;
        if (round == 0)
            memcpy(me->token, token, sizeof token);
        me->wrong += strcmp(me->token, token) != 0;
        result = cardvault_vault_detokenize(&vault, "desk-1", 6, "test", 4, "h", 1, domain, 10, token, strlen(token), &back);
        me->wrong += result != CARDVAULT_RESULT_OK;
        cardvault_card_expose(&back, pan, sizeof pan);
        me->wrong += strcmp(pan, me->pan) != 0;
        cardvault_card_close(&back);
#else
        (void)token, (void)pan;
#endif
    }
    cardvault_card_close(&card);
    return NULL;
}

/* With a fingerprinter, a sealer and an opener, and a vault if there is one. */
static void run_threads(void) {
    card_of(&shared_card, "5555555555554444");

    struct worker workers[THREADS] = {0};
    static const char *const pans[THREADS] = {"4111111111111111", "5555555555554444", "378282246310005", "6011111111111117"};
    for (int at = 0; at < THREADS; at++) {
        strcpy(workers[at].pan, pans[at]);
        CHECK(pthread_create(&workers[at].thread, NULL, work, &workers[at]) == 0);
    }
    for (int at = 0; at < THREADS; at++) {
        pthread_join(workers[at].thread, NULL);
        CHECK(workers[at].wrong == 0);
    }
    CHECK_IS(cardvault_card_close(&shared_card), OK);
}

/* Objects that threads share, without a vault. */
static void check_threads(void) {
    cardvault_card card = {0};
    uint8_t sealed[CARDVAULT_SEALED_RECORD_LEN];
    FILE *random_file = fopen("/dev/urandom", "rb");
    cardvault_random random = {random_file, system_random};
    const uint64_t now = (uint64_t)time(NULL);
    make_ring(random_file);
    card_of(&card, "4111111111111111");
    CHECK_IS(cardvault_fingerprinter_open(&fingerprinter, &ring, domain, 10, 1), OK);
    CHECK_IS(cardvault_sealer_open(&shared_sealer, &ring, domain, 10, now, &random), OK);
    CHECK_IS(cardvault_sealer_seal(&shared_sealer, &card, NULL, now, sealed, sizeof sealed), OK);
    CHECK_IS(cardvault_opener_open(&opener, &ring, domain, 10, sealed, sizeof sealed), OK);
    CHECK_IS(cardvault_ring_close(&ring), OK);
    run_threads();
    CHECK_IS(cardvault_fingerprinter_close(&fingerprinter), OK);
    CHECK_IS(cardvault_sealer_close(&shared_sealer), OK);
    CHECK_IS(cardvault_opener_close(&opener), OK);
    CHECK_IS(cardvault_card_close(&card), OK);
    fclose(random_file);
}

#ifdef CARDVAULT_EMBEDDED
static void check_vault(const char *folder) {
    char log[4096];
    const size_t folder_len = strlen(folder);
    const uint64_t now = (uint64_t)time(NULL);
    snprintf(log, sizeof log, "%s/access.log", folder);
    const size_t log_len = strlen(log);
    FILE *random_file = fopen("/dev/urandom", "rb");
    CHECK(random_file != NULL);

    make_ring(random_file);
    CHECK_IS(cardvault_vault_open(&vault, folder, folder_len, log, log_len, &ring, 0), STORE_FAILED);
    CHECK_IS(cardvault_vault_open(&vault, "\xff", 1, log, log_len, &ring, 0), PATH);
    CHECK_IS(cardvault_vault_open(&vault, NULL, 1, log, log_len, &ring, 0), NULL_POINTER);
    CHECK_IS(cardvault_vault_open(&vault, folder, folder_len, folder, folder_len, &ring, 0), LOG_FAILED);
    CHECK_IS(cardvault_vault_open(&vault, folder, folder_len, log, log_len, &ring, 2), VALUE);
    static uint8_t sealed_ring[CARDVAULT_SEALED_RING_MAX_LEN];
    size_t len;
    CHECK_IS(cardvault_ring_seal(&ring, components, 2, &counting, sealed_ring, sizeof sealed_ring, &len), OK);
    CHECK_IS(cardvault_vault_open(&vault, folder, folder_len, log, log_len, &ring, CARDVAULT_VAULT_CREATE), OK);
    CHECK_IS(cardvault_ring_close(&ring), NOT_OPEN);

    cardvault_card card = {0}, back = {0};
    char token[CARDVAULT_TOKEN_TEXT_SIZE + 4];
    uint8_t existing = 9;
    card_of(&card, "4111111111111111");
    memset(token, CANARY, sizeof token);
    CHECK_IS(cardvault_vault_tokenize(&vault, domain, 10, &card, 0, 0, 0, 0, token, CARDVAULT_TOKEN_TEXT_SIZE - 1, NULL), NO_ROOM);
    CHECK((uint8_t)token[0] == CANARY);
    CHECK_IS(cardvault_vault_tokenize(&vault, domain, 10, &card, 4, 0, 0, 0, token, sizeof token, NULL), VALUE);
    CHECK_IS(cardvault_vault_tokenize(&vault, domain, 10, &card, 0, 6, 4, 0, token, sizeof token, NULL), VALUE);
    CHECK_IS(cardvault_vault_tokenize(&vault, domain, 0, &card, 0, 0, 0, 0, token, sizeof token, NULL), DOMAIN);
    CHECK_IS(cardvault_vault_tokenize(&vault, domain, 10, &card, 0, 0, 0, 0, token, CARDVAULT_TOKEN_TEXT_SIZE, &existing), OK);
    CHECK(existing == 0 && strncmp(token, "cvt_", 4) == 0);
    CHECK((uint8_t)token[CARDVAULT_TOKEN_TEXT_SIZE] == CANARY);
    CHECK_IS(cardvault_vault_tokenize(&vault, domain, 10, &card, 0, 0, 0, 0, token, sizeof token, &existing), OK);
    CHECK(existing == 1);
    CHECK_IS(cardvault_vault_detokenize(&vault, "", 0, "x", 1, "h", 1, domain, 10, token, strlen(token), &back), ACCESS);
    CHECK_IS(cardvault_vault_detokenize(&vault, "a", 1, "4111111111111111", 16, "h", 1, domain, 10, token, strlen(token), &back), ACCESS);
    CHECK_IS(cardvault_vault_detokenize(&vault, "a", 1, "x", 1, "h", 1, fleet, 7, token, strlen(token), &back), UNKNOWN_TOKEN);
    CHECK_IS(cardvault_vault_detokenize(&vault, "a", 1, "x", 1, "h", 1, domain, 10, token, strlen(token), &back), OK);
    CHECK_IS(cardvault_card_close(&back), OK);

    /* Closed and opened again, by another ring, and by the same one. */
    CHECK_IS(cardvault_vault_close(&vault), OK);
    CHECK_IS(cardvault_vault_detokenize(&vault, "a", 1, "x", 1, "h", 1, domain, 10, token, strlen(token), &back), NOT_OPEN);
    CHECK_IS(cardvault_vault_close(&vault), NOT_OPEN);
    make_ring(random_file);
    CHECK_IS(cardvault_vault_open(&vault, folder, folder_len, log, log_len, &ring, 0), OTHER_RING);
    CHECK_IS(cardvault_ring_open(&ring, sealed_ring, len, components, 2, NULL), OK);
    CHECK_IS(cardvault_fingerprinter_open(&fingerprinter, &ring, domain, 10, 1), OK);
    cardvault_random random = {random_file, system_random};
    uint8_t sealed[CARDVAULT_SEALED_RECORD_LEN];
    CHECK_IS(cardvault_sealer_open(&shared_sealer, &ring, domain, 10, now, &random), OK);
    CHECK_IS(cardvault_sealer_seal(&shared_sealer, &card, NULL, now, sealed, sizeof sealed), OK);
    CHECK_IS(cardvault_opener_open(&opener, &ring, domain, 10, sealed, sizeof sealed), OK);
    CHECK_IS(cardvault_vault_open(&vault, folder, folder_len, log, log_len, &ring, CARDVAULT_VAULT_CREATE), OK);
    run_threads();
    CHECK_IS(cardvault_vault_delete(&vault, "a", 1, "x", 1, "h", 1, domain, 10, token, strlen(token)), OK);
    CHECK_IS(cardvault_vault_detokenize(&vault, "a", 1, "x", 1, "h", 1, domain, 10, token, strlen(token), &back), UNKNOWN_TOKEN);
    CHECK_IS(cardvault_vault_tokenize(&vault, domain, 10, &card, CARDVAULT_TOKENIZE_CARD_SHAPED, 6, 4, 0, token, sizeof token, NULL), OK);
    CHECK(strlen(token) == 16 && strncmp(token, "411111", 6) == 0);
    CHECK_IS(cardvault_vault_tokenize(&vault, domain, 10, &card, CARDVAULT_TOKENIZE_FRESH, 0, 0, 1, token, sizeof token, NULL), OK);
    CHECK_IS(cardvault_vault_detokenize(&vault, "a", 1, "x", 1, "h", 1, domain, 10, token, strlen(token), &back), EXPIRED);
    CHECK_IS(cardvault_vault_close(&vault), OK);
    CHECK_IS(cardvault_fingerprinter_close(&fingerprinter), OK);
    CHECK_IS(cardvault_sealer_close(&shared_sealer), OK);
    CHECK_IS(cardvault_opener_close(&opener), OK);
    CHECK_IS(cardvault_card_close(&card), OK);
    fclose(random_file);
}
#endif

int main(int count, char **arguments) {
    check_core();
    check_fingerprints();
    check_tokens();
    check_readings();
    check_threads();
#ifdef CARDVAULT_EMBEDDED
    with_vault = count == 2;
    if (with_vault)
        check_vault(arguments[1]);
#else
    (void)count, (void)arguments;
#endif
    printf("%u checks, %u failed\n", checks, faults);
    return faults != 0;
}
