#include "cardvault.h"

/* The board's own. Each returns 0 if it did what it was asked. */
int32_t board_random(void *context, uint8_t *out, size_t len);
int32_t board_flash_read(void *context, uint32_t offset, uint8_t *out, size_t len);
int32_t board_flash_write(void *context, uint32_t offset, const uint8_t *bytes, size_t len);
int32_t board_flash_erase(void *context, uint32_t from, uint32_t to);
int32_t board_battery_read(void *context, size_t offset, uint8_t *out, size_t len);
int32_t board_battery_write(void *context, size_t offset, const uint8_t *bytes, size_t len);
int board_authorize(const char *pan);

static const cardvault_random random_source = {NULL, board_random};
static const cardvault_flash log_flash = {
    .capacity = 64 * 1024,
    .page_len = 4096,
    .word_len = 4,
    .read = board_flash_read,
    .write = board_flash_write,
    .erase = board_flash_erase,
};
static const cardvault_memory battery = {NULL, board_battery_read, board_battery_write};
static const cardvault_storage storage = {&log_flash, NULL, &battery};
static cardvault_journal journal;

/* At every start. The first one ever calls cardvault_journal_create with the host's chain key. */
cardvault_result start(void) {
    return cardvault_journal_open(&journal, &storage);
}

/* A payment by magnetic stripe. `fields` is what the payment is made of. */
cardvault_result pay(uint8_t *track2, size_t len, const uint8_t *fields, size_t fields_len,
                     uint64_t now) {
    cardvault_card card = {0};
    cardvault_result result = cardvault_card_from_track2(&card, track2, len, 0, NULL);
    if (result != CARDVAULT_RESULT_OK)
        return result;
    /* From here a power cut leaves a card that the next start can reverse. */
    result = cardvault_journal_open_pending(&journal, &card, &random_source);
    char pan[CARDVAULT_PAN_TEXT_SIZE], truncated[CARDVAULT_PAN_TEXT_SIZE] = "";
    if (result == CARDVAULT_RESULT_OK)
        result = cardvault_card_expose(&card, pan, sizeof pan);
    if (result == CARDVAULT_RESULT_OK) {
        int approved = board_authorize(pan);
        (void)cardvault_wipe(pan, sizeof pan);
        if (approved)
            result = cardvault_card_truncate(&card, 6, 4, truncated, sizeof truncated);
    }
    if (result == CARDVAULT_RESULT_OK) {
        size_t shown = 0;
        while (truncated[shown] != 0)
            shown++;
        cardvault_entry entry = {
            .time = now,
            .payment = fields,
            .payment_len = fields_len,
            .truncated = truncated,
            .truncated_len = shown,
            .card = &card,
        };
        result = cardvault_journal_append(&journal, &entry, &random_source, NULL);
    }
    (void)cardvault_card_close(&card);
    (void)cardvault_wipe(track2, len);
    return result;
}
