#include "cardvault.h"

#include <string.h>

/* The token of a card, from a vault that was opened at start and is shared by all threads. */
cardvault_result token_of(const cardvault_vault *vault, const char *shop, const uint8_t *pan,
                          size_t pan_len, char token[CARDVAULT_TOKEN_TEXT_SIZE]) {
    cardvault_card card = {0};
    cardvault_result result = cardvault_card_parse(&card, pan, pan_len, 0, NULL);
    if (result != CARDVAULT_RESULT_OK)
        return result;
    result = cardvault_vault_tokenize(vault, (const uint8_t *)shop, strlen(shop), &card, 0, 0, 0, 0,
                                      token, CARDVAULT_TOKEN_TEXT_SIZE, NULL);
    (void)cardvault_card_close(&card);
    return result;
}
