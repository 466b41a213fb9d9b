/*
 * cardvault: card numbers, sealed records, the terminal's journal, and a host's tokens and vault.
 *
 * Made from src/capi of the crate by tests/capi/header: do not change it by hand.
 *
 * RULES FOR POINTERS. They hold for every function; what else a function asks for stands at it.
 *  1. A pointer that may be null is named so; data of length 0 may be null too. Any other null
 *     pointer gives CARDVAULT_RESULT_NULL_POINTER, one that is not aligned for its type
 *     CARDVAULT_RESULT_ALIGNMENT. Bytes and characters need no alignment.
 *  2. Memory behind a pointer has at least the length that is given with it, or the size of its
 *     type. Nobody else writes to it while the call lasts, and inputs do not overlap outputs.
 *  3. An output that is too short gives CARDVAULT_RESULT_NO_ROOM, and nothing is written. Nothing
 *     is ever written past a length. Texts that are written end with a zero that needs room too;
 *     texts that are read do not need one.
 *  4. No function keeps a pointer after it returned, but for the context of callbacks.
 *
 * OBJECTS (cardvault_card, cardvault_ring, ...) lie in the caller's memory, which is zeroed before
 * its first use (`cardvault_card card = {0};`) and aligned to CARDVAULT_HANDLE_ALIGN: from malloc and
 * calloc it may not be on 32-bit processors. The library allocates nothing (cardvault_vault
 * excepted).
 *  5. A function that makes an object overwrites what is there: close an object before its memory
 *     is used again. If it fails, there is no object, and nothing is to be closed.
 *  6. Closing wipes. A function that is given an object that was not opened, was closed, or was
 *     copied or moved to another address returns CARDVAULT_RESULT_NOT_OPEN.
 *  7. THREADS. Calls to which an object is `const` may run at the same time. Any other call has the
 *     object for itself: one that comes meanwhile, from another thread or from a callback, returns
 *     CARDVAULT_RESULT_BUSY. Memory must not be freed while a call uses it. On processors
 *     without compare-and-swap (Cortex-M0) interrupt handlers leave objects alone that the
 *     program uses.
 *
 * CALLBACKS return 0 if they did what was asked. They run on the thread of the call. They return: no
 * longjmp, no C++ exception.
 *
 * WIPING. What the library holds it wipes. What the caller holds is wiped by the caller, with
 * cardvault_wipe: tracks and EMV data once the authorization is done, inputs with card numbers,
 * clear numbers from cardvault_card_expose, components, chain keys.
 *
 * HOST ONLY functions need keys that no terminal may have: who has them can tell cards by their
 * fingerprints, open tokens, or read journals. A linker leaves out what is not called.
 *
 * No panic of the library crosses into C: builds with `std` return CARDVAULT_RESULT_PANICKED, others
 * stop in the handler of the program that owns the library.
 */

#if defined(_MSC_VER)
#define CARDVAULT_ALIGN(n) __declspec(align(n))
#else
#define CARDVAULT_ALIGN(n) __attribute__((aligned(n)))
#endif


#ifndef CARDVAULT_H
#define CARDVAULT_H

#include <stddef.h>
#include <stdint.h>

// How every opaque structure is aligned, in bytes.
#define CARDVAULT_HANDLE_ALIGN 16

// The objects by number, for programs that cannot use the structures of the header:
// `cardvault_card`.
#define CARDVAULT_KIND_CARD 1

// `cardvault_ring`.
#define CARDVAULT_KIND_RING 2

// `cardvault_sealer`.
#define CARDVAULT_KIND_SEALER 3

// `cardvault_opener`.
#define CARDVAULT_KIND_OPENER 4

// `cardvault_journal`.
#define CARDVAULT_KIND_JOURNAL 5

// `cardvault_fingerprinter`.
#define CARDVAULT_KIND_FINGERPRINTER 6

// `cardvault_vaultless`.
#define CARDVAULT_KIND_VAULTLESS 7

// `cardvault_reading`.
#define CARDVAULT_KIND_READING 8

// `cardvault_vault`, in builds with the embedded store.
#define CARDVAULT_KIND_VAULT 9

// Size of a card, in bytes.
#define CARDVAULT_CARD_SIZE 80

// The longest card number that is read, in bytes: every digit with a separator before it.
#define CARDVAULT_PAN_MAX_INPUT 37

// Room for any card number, masked or truncated number, with the zero behind it.
#define CARDVAULT_PAN_TEXT_SIZE 20

// A number of a brand that issued cards which fail the Luhn check (UnionPay, enRoute) is read
// also if it does. Not where a card-shaped token can come in: tokens fail Luhn by design.
#define CARDVAULT_LUHN_EXEMPT 1

// A mask shows the last four digits alone.
#define CARDVAULT_MASK_LAST4 0

// A mask shows the first six and last four digits.
#define CARDVAULT_MASK_BIN6 6

// A mask shows the first eight and last four digits.
#define CARDVAULT_MASK_BIN8 8

// Size of a key ring, in bytes.
#define CARDVAULT_RING_SIZE 8192

// Room for any sealed ring, in bytes.
#define CARDVAULT_SEALED_RING_MAX_LEN 8192

// Length of a check value, in bytes.
#define CARDVAULT_CHECK_VALUE_LEN 3

// The longest domain, in bytes. The shortest is 1.
#define CARDVAULT_DOMAIN_MAX_LEN 32

// Seals card records.
#define CARDVAULT_USE_CARD 1

// Fingerprints card numbers.
#define CARDVAULT_USE_INDEX 2

// Makes and opens vaultless tokens.
#define CARDVAULT_USE_VAULTLESS 3

// Makes irreversible tokens.
#define CARDVAULT_USE_IRREVERSIBLE 4

// Gives terminals the chain keys of their journals.
#define CARDVAULT_USE_JOURNAL 5

// Binds the rows of the ledger.
#define CARDVAULT_USE_LEDGER 6

// Seals archives of a vault and its ledger.
#define CARDVAULT_USE_ARCHIVE 7

// Gives writers of audit logs their chain keys.
#define CARDVAULT_USE_AUDIT 8

// A ring for test cards.
#define CARDVAULT_DEVELOPMENT 0

// A ring for real cards.
#define CARDVAULT_PRODUCTION 1

// Size of a sealer, in bytes.
#define CARDVAULT_SEALER_SIZE 1536

// Size of an opener, in bytes.
#define CARDVAULT_OPENER_SIZE 1536

// Length of a sealed card record, in bytes.
#define CARDVAULT_SEALED_RECORD_LEN 73

// Size of a journal, in bytes.
#define CARDVAULT_JOURNAL_SIZE 768

// Battery-backed memory that a state takes, in bytes.
#define CARDVAULT_BATTERY_LEN 512

// The shortest page of a flash that keeps a state, in bytes.
#define CARDVAULT_STATE_SLOT_LEN 256

// Length of a chain key, in bytes.
#define CARDVAULT_CHAIN_KEY_LEN 32

// The longest terminal id, in bytes. The shortest is 1.
#define CARDVAULT_TERMINAL_MAX_LEN 16

// The longest frame and the longest item of an upload, in bytes.
#define CARDVAULT_FRAME_MAX_LEN 512

// The longest payment fields of an entry, in bytes.
#define CARDVAULT_PAYMENT_MAX_LEN 320

// The longest token of an entry, in bytes.
#define CARDVAULT_ENTRY_TOKEN_MAX_LEN 32

// Length of a receipt's proof, in bytes.
#define CARDVAULT_RECEIPT_LEN 16

// A frame is a payment.
#define CARDVAULT_FRAME_PAYMENT 1

// A frame is a notice of the terminal about its own journal.
#define CARDVAULT_FRAME_NOTICE 2

// Why a notice was written: a frame was torn by a power cut.
#define CARDVAULT_CAUSE_BURN 1

// Why a notice was written: acknowledged frames cannot be read any more.
#define CARDVAULT_CAUSE_LOSS 2

// Why a notice was written: a checkpoint was asked for.
#define CARDVAULT_CAUSE_CHECKPOINT 3

// Why a notice was written: the epoch is over.
#define CARDVAULT_CAUSE_CLOSING 4

// Size of a fingerprinter, in bytes.
#define CARDVAULT_FINGERPRINTER_SIZE 256

// Size of a maker of vaultless tokens, in bytes.
#define CARDVAULT_VAULTLESS_SIZE 2560

// Length of a fingerprint, in bytes.
#define CARDVAULT_FINGERPRINT_LEN 32

// Room for the text of any token, with the zero behind it.
#define CARDVAULT_TOKEN_TEXT_SIZE 39

// Size of a reading, in bytes.
#define CARDVAULT_READING_SIZE 9216

// Length of a position, in bytes.
#define CARDVAULT_POSITION_LEN 40

// Size of a vault, in bytes.
#define CARDVAULT_VAULT_SIZE 64

// The store is made if it is not there.
#define CARDVAULT_VAULT_CREATE 1

// Another token each time, in place of the same for the same card.
#define CARDVAULT_TOKENIZE_FRESH 1

// A token of digits, in place of an opaque one.
#define CARDVAULT_TOKENIZE_CARD_SHAPED 2

// How a function ended. Numbers never change their meaning; later releases add some.
//
// After anything but `CARDVAULT_RESULT_OK` the outputs are as they were, unless the function
// says otherwise.
enum cardvault_result
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It was done.
    CARDVAULT_RESULT_OK = 0,
    // A pointer is null that must not be.
    CARDVAULT_RESULT_NULL_POINTER = 1,
    // A pointer is not aligned for what it points to.
    CARDVAULT_RESULT_ALIGNMENT = 2,
    // An input is too short or too long.
    CARDVAULT_RESULT_LENGTH = 3,
    // The output has fewer bytes than needed.
    CARDVAULT_RESULT_NO_ROOM = 4,
    // The object was not opened, was closed, or is a copy.
    CARDVAULT_RESULT_NOT_OPEN = 5,
    // Another call uses the object.
    CARDVAULT_RESULT_BUSY = 6,
    // A number or a flag is not allowed.
    CARDVAULT_RESULT_VALUE = 7,
    // The library failed: a fault of its own.
    CARDVAULT_RESULT_PANICKED = 8,
    // Nothing follows.
    CARDVAULT_RESULT_END = 9,
    // There is none.
    CARDVAULT_RESULT_NOT_FOUND = 10,
    // The random generator failed.
    CARDVAULT_RESULT_RANDOM_FAILED = 20,
    // The random generator repeated its last output.
    CARDVAULT_RESULT_RANDOM_REPEATED = 21,
    // The flash reported an error.
    CARDVAULT_RESULT_FLASH_FAILED = 22,
    // The memory of the state reported an error.
    CARDVAULT_RESULT_STATE_FAILED = 23,
    // The source of the upload reported an error.
    CARDVAULT_RESULT_SOURCE_FAILED = 24,
    // The receiver of the upload reported an error.
    CARDVAULT_RESULT_SINK_FAILED = 25,
    // Card number is empty.
    CARDVAULT_RESULT_PAN_EMPTY = 40,
    // Card number has too many bytes.
    CARDVAULT_RESULT_PAN_TOO_LONG = 41,
    // Card number has an unexpected byte.
    CARDVAULT_RESULT_PAN_BYTE = 42,
    // Card number has not 8 to 19 digits.
    CARDVAULT_RESULT_PAN_LENGTH = 43,
    // Card number fails the Luhn check.
    CARDVAULT_RESULT_PAN_LUHN = 44,
    // Card data has too many bytes.
    CARDVAULT_RESULT_CARD_DATA_TOO_LONG = 45,
    // Card data ends inside a field.
    CARDVAULT_RESULT_CARD_DATA_TRUNCATED = 46,
    // Card data has an unexpected byte.
    CARDVAULT_RESULT_CARD_DATA_BYTE = 47,
    // Card data has no valid expiry.
    CARDVAULT_RESULT_CARD_DATA_EXPIRY = 48,
    // The track's check character does not fit.
    CARDVAULT_RESULT_CHECK_CHARACTER = 49,
    // Two tags hold different card numbers or expiries.
    CARDVAULT_RESULT_CONTRADICTION = 50,
    // No tag holds a card number.
    CARDVAULT_RESULT_NO_PAN = 51,
    // The brand's rule lets fewer digits be kept.
    CARDVAULT_RESULT_TRUNCATION = 52,
    // The text is no truncated card number.
    CARDVAULT_RESULT_TRUNCATED_TEXT = 53,
    // A domain has 1 to 32 bytes.
    CARDVAULT_RESULT_DOMAIN = 60,
    // The key ring has no such version.
    CARDVAULT_RESULT_UNKNOWN_VERSION = 61,
    // No key of the ring fits: another domain or ring, damage, or a destroyed version.
    CARDVAULT_RESULT_UNKNOWN_KEY = 62,
    // No key of this use is active.
    CARDVAULT_RESULT_NO_ACTIVE_KEY = 63,
    // The state of the key does not allow this.
    CARDVAULT_RESULT_KEY_STATE = 64,
    // The key was destroyed.
    CARDVAULT_RESULT_KEY_DESTROYED = 65,
    // The cryptoperiod of the key is over.
    CARDVAULT_RESULT_CRYPTOPERIOD_OVER = 66,
    // The key ring is full.
    CARDVAULT_RESULT_RING_FULL = 67,
    // Versions or generations are counted to the end.
    CARDVAULT_RESULT_NUMBERS_OVER = 68,
    // A text is no component, or its check value does not fit.
    CARDVAULT_RESULT_COMPONENT = 69,
    // The components do not make a KEK: too few, one twice, or another check value.
    CARDVAULT_RESULT_COMPONENTS = 70,
    // Not a sealed key ring.
    CARDVAULT_RESULT_NOT_A_RING = 71,
    // Unknown version of a sealed key ring.
    CARDVAULT_RESULT_RING_VERSION = 72,
    // The sealed key ring was changed.
    CARDVAULT_RESULT_RING_DAMAGED = 73,
    // The key ring is sealed under something else.
    CARDVAULT_RESULT_OTHER_KEK = 74,
    // A sealed record has 73 bytes.
    CARDVAULT_RESULT_RECORD_LENGTH = 80,
    // Unknown version of a sealed record.
    CARDVAULT_RESULT_RECORD_VERSION = 81,
    // The sealed record names another key.
    CARDVAULT_RESULT_OTHER_KEY = 82,
    // The sealed record or a part of its row was changed.
    CARDVAULT_RESULT_DAMAGED = 83,
    // What was sealed is no card record.
    CARDVAULT_RESULT_RECORD = 84,
    // A part of the row is too long.
    CARDVAULT_RESULT_BINDING = 85,
    // The text is no token.
    CARDVAULT_RESULT_TOKEN = 90,
    // The token format keeps too many digits or names no length of a card number.
    CARDVAULT_RESULT_TOKEN_FORMAT = 91,
    // The token is of another kind.
    CARDVAULT_RESULT_TOKEN_KIND = 92,
    // The number has fewer digits than the token format takes.
    CARDVAULT_RESULT_TOKEN_SHORT = 93,
    // The token belongs to another generation of the key.
    CARDVAULT_RESULT_TOKEN_GENERATION = 94,
    // The card number fails the Luhn check and can have an opaque token alone.
    CARDVAULT_RESULT_TOKEN_FAILS_LUHN = 95,
    // Cards of this brand may fail the Luhn check: a token must not keep the IIN.
    CARDVAULT_RESULT_TOKEN_IIN = 96,
    // No token that may be used was found.
    CARDVAULT_RESULT_TOKENS_USED_UP = 97,
    // The token stands for another card than the fingerprint.
    CARDVAULT_RESULT_OTHER_CARD = 98,
    // The flash's words, pages or size do not suit the journal.
    CARDVAULT_RESULT_GEOMETRY = 110,
    // No journal was created in this state.
    CARDVAULT_RESULT_NOT_PROVISIONED = 111,
    // The state holds a journal that is not uploaded.
    CARDVAULT_RESULT_IN_USE = 112,
    // The journal's state holds values that are not allowed.
    CARDVAULT_RESULT_STATE = 113,
    // The payment fields are too long.
    CARDVAULT_RESULT_PAYMENT = 114,
    // The token is too long.
    CARDVAULT_RESULT_TOKEN_LENGTH = 115,
    // The journal is full: upload it first.
    CARDVAULT_RESULT_FULL = 116,
    // The flash does not keep what is written.
    CARDVAULT_RESULT_WORN = 117,
    // A write failed half way: open the journal again.
    CARDVAULT_RESULT_POISONED = 118,
    // The journal is closed.
    CARDVAULT_RESULT_CLOSED = 119,
    // A payment is open: write its outcome first.
    CARDVAULT_RESULT_PENDING_OPEN = 120,
    // The journal's numbers are used up: begin a new epoch.
    CARDVAULT_RESULT_JOURNAL_OVER = 121,
    // The receipt does not belong to the last trailer.
    CARDVAULT_RESULT_RECEIPT = 122,
    // A terminal id has 1 to 16 bytes.
    CARDVAULT_RESULT_TERMINAL = 123,
    // A batch is open: close it first.
    CARDVAULT_RESULT_BATCH_OPEN = 124,
    // The batch's copy of a card does not open.
    CARDVAULT_RESULT_COPY = 125,
    // No upload header.
    CARDVAULT_RESULT_FAULT_HEADER = 140,
    // Of another journal.
    CARDVAULT_RESULT_FAULT_OTHER_JOURNAL = 141,
    // Of another base key.
    CARDVAULT_RESULT_FAULT_WRONG_KEY = 142,
    // Bytes were changed.
    CARDVAULT_RESULT_FAULT_FLIPPED = 143,
    // A frame stands too early.
    CARDVAULT_RESULT_FAULT_SWAPPED = 144,
    // Frames are missing.
    CARDVAULT_RESULT_FAULT_DROPPED = 145,
    // Something stands where nothing belongs.
    CARDVAULT_RESULT_FAULT_INSERTED = 146,
    // A frame comes again.
    CARDVAULT_RESULT_FAULT_REPLAYED = 147,
    // The end is missing.
    CARDVAULT_RESULT_FAULT_TRUNCATED = 148,
    // What was verified before is missing or is another.
    CARDVAULT_RESULT_FAULT_ROLLED_BACK = 149,
    // Frames were lost after they were acknowledged.
    CARDVAULT_RESULT_FAULT_LOST = 150,
    // Genuine, with content that is not valid.
    CARDVAULT_RESULT_FAULT_CONTENT = 151,
    // The domain has no such token.
    CARDVAULT_RESULT_UNKNOWN_TOKEN = 170,
    // The token has expired.
    CARDVAULT_RESULT_EXPIRED = 171,
    // The card has a token of another shape.
    CARDVAULT_RESULT_OTHER_FORMAT = 172,
    // The row is not what the vault wrote.
    CARDVAULT_RESULT_TAMPERED = 173,
    // A newer release wrote this.
    CARDVAULT_RESULT_NEWER_FORMAT = 174,
    // No key of the ring opens the record under the card's token.
    CARDVAULT_RESULT_UNOPENABLE = 175,
    // The row was changed meanwhile; try again.
    CARDVAULT_RESULT_CONFLICT = 176,
    // The vault belongs to another key ring.
    CARDVAULT_RESULT_OTHER_RING = 177,
    // The key ring is behind one that the vault has seen.
    CARDVAULT_RESULT_STALE_RING = 178,
    // The vault's rows do not stand under the index version that the ring reads.
    CARDVAULT_RESULT_INDEX_NOT_FILLED = 179,
    // Actor, purpose or origin is not 1 to 64 printable characters, or looks like a card number.
    CARDVAULT_RESULT_ACCESS = 180,
    // The access log could not be written.
    CARDVAULT_RESULT_LOG_FAILED = 181,
    // A path is not UTF-8.
    CARDVAULT_RESULT_PATH = 182,
    // The vault's policy refuses this.
    CARDVAULT_RESULT_REFUSED_BY_POLICY = 183,
    // Another process has the store open.
    CARDVAULT_RESULT_STORE_OPEN = 190,
    // There is a store already.
    CARDVAULT_RESULT_STORE_EXISTS = 191,
    // No room is left on the medium.
    CARDVAULT_RESULT_STORE_FULL = 192,
    // The medium reported an error.
    CARDVAULT_RESULT_STORE_FAILED = 193,
    // A commit failed earlier: open the store again.
    CARDVAULT_RESULT_STORE_POISONED = 194,
    // The medium holds what no store has written.
    CARDVAULT_RESULT_STORE_CORRUPT = 195,
    // What is there is no store of a vault.
    CARDVAULT_RESULT_NOT_A_STORE = 196,
    // The restore of an archive into this vault has not ended.
    CARDVAULT_RESULT_RESTORE_UNFINISHED = 197,
    // A refusal that cannot happen did.
    CARDVAULT_RESULT_INTERNAL = 255,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cardvault_result cardvault_result;
#else
typedef uint32_t cardvault_result;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A card: the clear number, with expiry, sequence number and service code where they are known.
//
// In the caller's memory, which must be zeroed before its first use. Whoever makes one closes it
// with `cardvault_card_close`, which wipes it. Functions that take it as `const` may run at the
// same time.
typedef struct CARDVAULT_ALIGN(16) cardvault_card {
    uint8_t opaque[CARDVAULT_CARD_SIZE];
} cardvault_card;

// What is known of a card. Nothing here is secret.
typedef struct cardvault_card_info {
    // The last four digits as a number, 0 to 9999.
    uint16_t last_four;
    // The service code, 0 to 999, if `has_service_code`.
    uint16_t service_code;
    // How many digits the number has, 8 to 19.
    uint8_t digits;
    // The brand's code, for `cardvault_brand_name`; it never changes its meaning.
    uint8_t brand;
    // 1 if the number passes the Luhn check, else 0.
    uint8_t passes_luhn;
    // 1 if the expiry is known, else 0.
    uint8_t has_expiry;
    // The expiry's year, 0 to 99.
    uint8_t expiry_year;
    // The expiry's month, 1 to 12.
    uint8_t expiry_month;
    // 1 if the PAN sequence number is known, else 0.
    uint8_t has_sequence;
    // The PAN sequence number, 0 to 99.
    uint8_t sequence;
    // 1 if the service code is known, else 0.
    uint8_t has_service_code;
} cardvault_card_info;

// A key ring, open: it holds the roots of all keys.
//
// In the caller's memory, which must be zeroed before its first use. Close it as soon as the
// sealers, openers and the like that are needed were made; they do not need it any more. Closing
// wipes it. Functions that take it as `const` may run at the same time.
typedef struct CARDVAULT_ALIGN(16) cardvault_ring {
    uint8_t opaque[CARDVAULT_RING_SIZE];
} cardvault_ring;

// A text of a given length; no zero is needed behind it.
typedef struct cardvault_text {
    // The first character.
    const char *text;
    // How many characters there are.
    size_t len;
} cardvault_text;

// A random generator for keys and nonces: the hardware's or the operating system's.
//
// `fill` writes `len` random bytes to `out` and returns 0, or returns anything else if it cannot.
// One that has a state of its own must never give the same bytes again, not after a restart, a
// fork or a restored image either. One that stands still is noticed and refused.
typedef struct cardvault_random {
    // Handed to `fill` as it is.
    void *context;
    // Not null.
    int32_t (*fill)(void *context,
                    uint8_t *out,
                    size_t len);
} cardvault_random;

// Seals card records of one domain under one key. In the caller's memory, which must be zeroed
// before its first use; closing wipes it. One call at a time: each thread has its own.
typedef struct CARDVAULT_ALIGN(16) cardvault_sealer {
    uint8_t opaque[CARDVAULT_SEALER_SIZE];
} cardvault_sealer;

// What a record is sealed together with: the clear part of its row. A record opens with the same
// bytes alone. Each part may be null with length 0.
typedef struct cardvault_binding {
    // The row's token.
    const uint8_t *token;
    // At most 64.
    size_t token_len;
    // The row's fingerprint.
    const uint8_t *fingerprint;
    // At most 64.
    size_t fingerprint_len;
    // The row's other clear columns in one canonical encoding.
    const uint8_t *columns;
    // At most 128.
    size_t columns_len;
} cardvault_binding;

// Opens card records of one domain under one key; cannot seal. In the caller's memory, which must
// be zeroed before its first use; closing wipes it. Threads may share one.
typedef struct CARDVAULT_ALIGN(16) cardvault_opener {
    uint8_t opaque[CARDVAULT_OPENER_SIZE];
} cardvault_opener;

// The journal of one terminal in one epoch. In the caller's memory, which must be zeroed before
// its first use; closing wipes it. One call at a time.
//
// When `cardvault_journal_append` returns `CARDVAULT_RESULT_OK`, the entry survives a power cut,
// and nothing at the terminal opens its card any more. After `FLASH_FAILED`, `STATE_FAILED`,
// `WORN` or `POISONED`, close it and open it again: that is the only recovery there is, and the
// one after a power cut.
typedef struct CARDVAULT_ALIGN(16) cardvault_journal {
    uint8_t opaque[CARDVAULT_JOURNAL_SIZE];
} cardvault_journal;

// NOR flash for the journal: pages that are erased to `0xFF` as a whole, and words that are
// programmed once between two erases.
//
// Each function returns 0, or anything else if it failed. Offsets count from the beginning of the
// part of the flash that the journal has for itself. `read` may be asked for any offset and
// length, `write` for whole words, `erase` for whole pages: it erases `from` up to, not
// including, `to`. What was written must be in the flash when `write` returns, and likewise for
// `erase`. No function may use the journal that calls it.
typedef struct cardvault_flash {
    // Handed to each function as it is.
    void *context;
    // Size of the whole in bytes; at least two pages.
    uint32_t capacity;
    // Size of a page in bytes: a multiple of 64, at least 576 for the log and 256 for the state.
    uint32_t page_len;
    // Size of a word in bytes: 1, 2, 4, 8, 16 or 32.
    uint32_t word_len;
    // Not null.
    int32_t (*read)(void *context,
                    uint32_t offset,
                    uint8_t *out,
                    size_t len);
    // Not null.
    int32_t (*write)(void *context,
                     uint32_t offset,
                     const uint8_t *bytes,
                     size_t len);
    // Not null.
    int32_t (*erase)(void *context,
                     uint32_t from,
                     uint32_t to);
} cardvault_flash;

// Battery-backed memory of `CARDVAULT_BATTERY_LEN` bytes for the state of a journal: it can be
// written again and again, and what was overwritten is gone. Bytes are written in order.
//
// Each function returns 0, or anything else if it failed.
typedef struct cardvault_memory {
    // Handed to each function as it is.
    void *context;
    // Not null.
    int32_t (*read)(void *context,
                    size_t offset,
                    uint8_t *out,
                    size_t len);
    // Not null.
    int32_t (*write)(void *context,
                     size_t offset,
                     const uint8_t *bytes,
                     size_t len);
} cardvault_memory;

// Where a journal keeps its frames and its state. Everything is copied; the contexts must live
// as long as the journal.
typedef struct cardvault_storage {
    // The frames. Not null.
    const struct cardvault_flash *log;
    // The state in flash of its own; null if `state_memory` is given.
    const struct cardvault_flash *state_flash;
    // The state in battery-backed memory; null if `state_flash` is given.
    const struct cardvault_memory *state_memory;
} cardvault_storage;

// What a journal stands at, and what opening it found.
typedef struct cardvault_journal_status {
    // How many frames were acknowledged: the sequence number of the next one.
    uint64_t count;
    // How many of them the host has confirmed.
    uint64_t uploaded;
    // The first acknowledged frame at the end of the log that cannot be read.
    uint64_t lost_first;
    // How many cannot be read; 0 if all can. A notice will say so.
    uint64_t lost_count;
    // How many pages of the log have a damaged header.
    uint32_t damaged_pages;
    // The epoch.
    uint32_t epoch;
    // The version of the base key.
    uint32_t base_version;
    // 1 if a frame was torn by a power cut before it was acknowledged, else 0.
    uint8_t torn;
    // 1 if the closing entry was written, else 0.
    uint8_t closed;
    // Length of the terminal id.
    uint8_t terminal_len;
    // The terminal id.
    uint8_t terminal[CARDVAULT_TERMINAL_MAX_LEN];
} cardvault_journal_status;

// One payment event, to be written. The parts may be null with length 0.
typedef struct cardvault_entry {
    // The terminal's time, in seconds since 1970.
    uint64_t time;
    // The payment's fields, in clear.
    const uint8_t *payment;
    // At most `CARDVAULT_PAYMENT_MAX_LEN`.
    size_t payment_len;
    // The text of `cardvault_card_truncate`, in clear.
    const char *truncated;
    // Its length without a zero.
    size_t truncated_len;
    // The token that the host issued, in clear.
    const uint8_t *token;
    // At most `CARDVAULT_ENTRY_TOKEN_MAX_LEN`.
    size_t token_len;
    // The card, which the host alone can read; null if none was used.
    const struct cardvault_card *card;
} cardvault_entry;

// What a frame says in clear.
typedef struct cardvault_frame {
    // Its sequence number.
    uint64_t sequence;
    // The terminal's time, in seconds since 1970.
    uint64_t time;
    // In a notice, the first sequence number that it concerns.
    uint64_t first;
    // In a notice, how many it concerns.
    uint64_t count;
    // `CARDVAULT_FRAME_PAYMENT` or `CARDVAULT_FRAME_NOTICE`.
    uint32_t kind;
    // In a notice, one of the `CARDVAULT_CAUSE` numbers; else 0.
    uint32_t cause;
    // The payment's fields, inside the memory that the function names.
    const uint8_t *payment;
    // Their length.
    size_t payment_len;
    // The token, inside the same memory.
    const uint8_t *token;
    // Its length.
    size_t token_len;
    // The truncated card number with a zero behind it; empty if there is none.
    char truncated[20];
    // 1 if a card is sealed in it, else 0.
    uint8_t has_card;
} cardvault_frame;

// Takes the items of an upload, one after the other: 1 to `CARDVAULT_FRAME_MAX_LEN` bytes each.
// `take` returns 0, or anything else to end the upload. It may not use the journal.
typedef struct cardvault_sink {
    // Handed to `take` as it is.
    void *context;
    // Not null.
    int32_t (*take)(void *context,
                    const uint8_t *bytes,
                    size_t len);
} cardvault_sink;

// The host's word that it has every frame below a count.
typedef struct cardvault_receipt {
    // How many frames the host has, from 0.
    uint64_t count;
    // The proof.
    uint8_t proof[CARDVAULT_RECEIPT_LEN];
} cardvault_receipt;

// HOST ONLY. Makes fingerprints of cards in one domain under one index version. In the caller's
// memory, which must be zeroed before its first use; closing wipes it. Threads may share one.
typedef struct CARDVAULT_ALIGN(16) cardvault_fingerprinter {
    uint8_t opaque[CARDVAULT_FINGERPRINTER_SIZE];
} cardvault_fingerprinter;

// HOST ONLY. Makes and opens vaultless tokens of one domain and format. In the caller's memory,
// which must be zeroed before its first use; closing wipes it. Threads may share one.
typedef struct CARDVAULT_ALIGN(16) cardvault_vaultless {
    uint8_t opaque[CARDVAULT_VAULTLESS_SIZE];
} cardvault_vaultless;

// Whose journal it is. Not secret.
typedef struct cardvault_identity {
    // The epoch: raised whenever the terminal gets a new chain key.
    uint32_t epoch;
    // The version of the base key.
    uint32_t base_version;
    // Length of the terminal id, 1 to 16.
    uint8_t terminal_len;
    // The terminal id.
    uint8_t terminal[CARDVAULT_TERMINAL_MAX_LEN];
} cardvault_identity;

// HOST ONLY. Reads one upload from front to back. In the caller's memory, which must be zeroed
// before its first use; closing wipes it. One call at a time.
typedef struct CARDVAULT_ALIGN(16) cardvault_reading {
    uint8_t opaque[CARDVAULT_READING_SIZE];
} cardvault_reading;

// Gives the bytes of an upload: `give` fills the front of `out` with at most `len` bytes, writes
// how many to `given` (0 at the end) and returns 0, or anything else if it failed.
typedef struct cardvault_source {
    // Handed to `give` as it is.
    void *context;
    // Not null.
    int32_t (*give)(void *context,
                    uint8_t *out,
                    size_t len,
                    size_t *given);
} cardvault_source;

// A frame that was verified, or a fault.
typedef struct cardvault_verified {
    // What the frame says. Its pointers go into the reading and hold until the next call on it.
    // After a fault only the sequence number that was expected is there.
    struct cardvault_frame frame;
    // Offset in the upload, in bytes.
    uint64_t offset;
    // After `FAULT_DROPPED` and `FAULT_LOST`, how many frames are missing.
    uint64_t missing;
    // 1 if a frame with this number was verified before, else 0.
    uint8_t again;
    // 1 if `card` was made, else 0.
    uint8_t has_card;
} cardvault_verified;

// What an upload came to.
typedef struct cardvault_outcome {
    // For the terminal, once the entries are kept. After faults it tells the terminal to forget
    // what could not be read: a person's decision.
    struct cardvault_receipt receipt;
    // To be kept, once the entries are; the next upload is held against it.
    uint8_t position[CARDVAULT_POSITION_LEN];
    // 1 if no fault was found, else 0.
    uint8_t clean;
} cardvault_outcome;

// HOST ONLY, in builds with the embedded store. A vault of cards behind tokens, in a folder. In
// the caller's memory, which must be zeroed before its first use. Threads share one: what they
// write at the same time is committed together. `cardvault_vault_close` commits what is queued
// and closes the file; a process must call it before it forgets the memory.
typedef struct CARDVAULT_ALIGN(16) cardvault_vault {
    uint8_t opaque[CARDVAULT_VAULT_SIZE];
} cardvault_vault;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The text of a result: plain ASCII that ends with a zero and is never freed. Any number may be
// asked for.
const char *cardvault_result_text(uint32_t result);

// How many bytes an object of this kind takes; 0 for another number. The alignment is
// `CARDVAULT_HANDLE_ALIGN`.
size_t cardvault_handle_size(uint32_t kind);

// The alignment of every object, for programs that cannot use the header.
size_t cardvault_handle_align(void);

// The version of the library, such as `0.1.0`: ASCII that ends with a zero and is never freed.
const char *cardvault_version(void);

// Overwrites `len` bytes with zeros, so that the compiler cannot leave it out: for clear card
// numbers, key components and chain keys in the caller's memory. Null is allowed if `len` is 0.
cardvault_result cardvault_wipe(void *bytes,
                                size_t len);

// Reads a card number of 8 to 19 digits, plain or with single spaces or dashes between them, and
// checks it with Luhn. `flags`: 0 or `CARDVAULT_LUHN_EXEMPT`. `at` may be null; else it gets the
// offset of the first byte that is wrong, or the length that is.
//
// The caller wipes `input`.
cardvault_result cardvault_card_parse(struct cardvault_card *card,
                                      const uint8_t *input,
                                      size_t input_len,
                                      uint32_t flags,
                                      size_t *at);

// Reads track 1 in ASCII, with or without sentinels and check character. Discretionary data and
// the name are checked for form and dropped. The caller wipes `track` once the authorization is
// done.
cardvault_result cardvault_card_from_track1(struct cardvault_card *card,
                                            const uint8_t *track,
                                            size_t track_len,
                                            uint32_t flags,
                                            size_t *at);

// Reads track 2 in ASCII; otherwise as `cardvault_card_from_track1`.
cardvault_result cardvault_card_from_track2(struct cardvault_card *card,
                                            const uint8_t *track,
                                            size_t track_len,
                                            uint32_t flags,
                                            size_t *at);

// Reads BER-TLV data such as ISO 8583 field 55: tags 57, 5A, 5F24 and 5F34, templates included.
// Tags that hold the same thing must agree. The caller wipes `tlv`.
cardvault_result cardvault_card_from_emv(struct cardvault_card *card,
                                         const uint8_t *tlv,
                                         size_t tlv_len,
                                         uint32_t flags,
                                         size_t *at);

// Reads the value of EMV tag 57, track 2 equivalent data. The caller wipes `value`.
cardvault_result cardvault_card_from_tag57(struct cardvault_card *card,
                                           const uint8_t *value,
                                           size_t value_len,
                                           uint32_t flags,
                                           size_t *at);

// Reads the value of EMV tag 5A, the card number. The caller wipes `value`.
cardvault_result cardvault_card_from_tag5a(struct cardvault_card *card,
                                           const uint8_t *value,
                                           size_t value_len,
                                           uint32_t flags,
                                           size_t *at);

// Sets the expiry: year 0 to 99, month 1 to 12.
cardvault_result cardvault_card_set_expiry(struct cardvault_card *card,
                                           uint8_t year,
                                           uint8_t month);

// Sets the PAN sequence number, 0 to 99.
cardvault_result cardvault_card_set_sequence(struct cardvault_card *card,
                                             uint8_t sequence);

// What is known of a card and is not secret.
cardvault_result cardvault_card_describe(const struct cardvault_card *card,
                                         struct cardvault_card_info *info);

// The name of a brand by its code, such as `Visa`; `unknown` for a code that no brand has. ASCII
// that ends with a zero and is never freed.
const char *cardvault_brand_name(uint8_t brand);

// Writes the number as it may be displayed, such as `411111******1111`, and a zero. `bin` is one
// of the `CARDVAULT_MASK` numbers; a short number shows less of its BIN.
cardvault_result cardvault_card_mask(const struct cardvault_card *card,
                                     uint32_t bin,
                                     char *out,
                                     size_t out_len);

// Writes the number as it may be stored, with the first 0 to 8 and last 0 to 4 digits that the
// brand's rule allows to keep, and a zero. Use one format in one environment.
cardvault_result cardvault_card_truncate(const struct cardvault_card *card,
                                         uint8_t first,
                                         uint8_t last,
                                         char *out,
                                         size_t out_len);

// Writes the clear number and a zero: for the message to the host, an embosser, a reversal. The
// caller wipes `out` with `cardvault_wipe`.
cardvault_result cardvault_card_expose(const struct cardvault_card *card,
                                       char *out,
                                       size_t out_len);

// Writes 1 to `equal` if two cards have one number, else 0. Expiries are not compared: a renewed
// card is the same card. Constant time for numbers of one length.
cardvault_result cardvault_card_same_number(const struct cardvault_card *card,
                                            const struct cardvault_card *other,
                                            uint8_t *equal);

// Ends a card and wipes its memory.
cardvault_result cardvault_card_close(struct cardvault_card *card);

// Opens a ring that is sealed under a KEK of 2 to 8 components, each in its text form (16 groups
// of hexadecimal digits and a check value, as `cardvault init --new-component` prints it).
// `check_value` is the KEK's, of `CARDVAULT_CHECK_VALUE_LEN` bytes, or null.
//
// The caller wipes the components. Takes a copy of `sealed` on the stack, of
// `CARDVAULT_SEALED_RING_MAX_LEN` bytes; `cardvault_ring_open_in_place` does not.
cardvault_result cardvault_ring_open(struct cardvault_ring *ring,
                                     const uint8_t *sealed,
                                     size_t sealed_len,
                                     const struct cardvault_text *components,
                                     size_t count,
                                     const uint8_t *check_value);

// Opens a ring as `cardvault_ring_open` does, for firmware: on less than 4 KiB of stack. `sealed`
// is a copy in RAM, in which the ring is decrypted: the ciphertext in it is overwritten with zeros,
// unless the ring is refused before that. Keep the sealed ring elsewhere.
cardvault_result cardvault_ring_open_in_place(struct cardvault_ring *ring,
                                              uint8_t *sealed,
                                              size_t sealed_len,
                                              const struct cardvault_text *components,
                                              size_t count,
                                              const uint8_t *check_value);

// Ends a ring and wipes its memory.
cardvault_result cardvault_ring_close(struct cardvault_ring *ring);

// HOST ONLY. Makes an empty ring: `CARDVAULT_DEVELOPMENT` or `CARDVAULT_PRODUCTION`.
cardvault_result cardvault_ring_create(struct cardvault_ring *ring,
                                       uint32_t mark,
                                       const struct cardvault_random *random);

// HOST ONLY. Draws the root of a new version of a use, with the default cryptoperiod of that use,
// and writes its number to `version`. It protects nothing before it is activated.
cardvault_result cardvault_ring_add(struct cardvault_ring *ring,
                                    uint32_t usage,
                                    uint64_t now,
                                    const struct cardvault_random *random,
                                    uint32_t *version);

// HOST ONLY. Puts a version into use; the one before it is deactivated.
cardvault_result cardvault_ring_activate(struct cardvault_ring *ring,
                                         uint32_t usage,
                                         uint32_t version,
                                         uint64_t now);

// HOST ONLY. Seals a ring for storage under a KEK of 2 to 8 components, into `out`, and writes
// the length to `written`. `CARDVAULT_SEALED_RING_MAX_LEN` bytes are always enough.
cardvault_result cardvault_ring_seal(const struct cardvault_ring *ring,
                                     const struct cardvault_text *components,
                                     size_t count,
                                     const struct cardvault_random *random,
                                     uint8_t *out,
                                     size_t out_len,
                                     size_t *written);

// Makes a sealer with the active key of a domain. `random` is copied; its context must live as
// long as the sealer.
cardvault_result cardvault_sealer_open(struct cardvault_sealer *sealer,
                                       const struct cardvault_ring *ring,
                                       const uint8_t *domain,
                                       size_t domain_len,
                                       uint64_t now,
                                       const struct cardvault_random *random);

// Seals a card into `out`, of at least `CARDVAULT_SEALED_RECORD_LEN` bytes. `binding` may be
// null. `now` is held against the key's cryptoperiod.
cardvault_result cardvault_sealer_seal(struct cardvault_sealer *sealer,
                                       const struct cardvault_card *card,
                                       const struct cardvault_binding *binding,
                                       uint64_t now,
                                       uint8_t *out,
                                       size_t out_len);

// Ends a sealer and wipes its memory.
cardvault_result cardvault_sealer_close(struct cardvault_sealer *sealer);

// Makes an opener with the key of a domain that this sealed record names. It opens all records
// under the same key; for one under another key it says `CARDVAULT_RESULT_OTHER_KEY`.
cardvault_result cardvault_opener_open(struct cardvault_opener *opener,
                                       const struct cardvault_ring *ring,
                                       const uint8_t *domain,
                                       size_t domain_len,
                                       const uint8_t *sealed,
                                       size_t sealed_len);

// Opens a sealed record into `card`, which the caller closes.
cardvault_result cardvault_opener_unseal(const struct cardvault_opener *opener,
                                         const uint8_t *sealed,
                                         size_t sealed_len,
                                         const struct cardvault_binding *binding,
                                         struct cardvault_card *card);

// Ends an opener and wipes its memory.
cardvault_result cardvault_opener_close(struct cardvault_opener *opener);

// Begins a journal with the chain key that the host made for this terminal and epoch
// (`cardvault_chain_key`). `epoch` and `base_version` are the host's. The caller wipes its chain
// key afterwards: nothing at the terminal may hold it.
cardvault_result cardvault_journal_create(struct cardvault_journal *journal,
                                          const struct cardvault_storage *storage,
                                          const uint8_t *chain_key,
                                          const uint8_t *terminal,
                                          size_t terminal_len,
                                          uint32_t epoch,
                                          uint32_t base_version);

// Opens the journal after a start, whatever the end of the last run was. Writes no frame.
cardvault_result cardvault_journal_open(struct cardvault_journal *journal,
                                        const struct cardvault_storage *storage);

// Ends the object and wipes its memory; the journal itself stays in flash.
cardvault_result cardvault_journal_close(struct cardvault_journal *journal);

// What the journal stands at.
cardvault_result cardvault_journal_describe(const struct cardvault_journal *journal,
                                            struct cardvault_journal_status *status);

// Writes an entry, erases the pending slot in the same step, and writes the entry's sequence
// number to `sequence`, which may be null.
cardvault_result cardvault_journal_append(struct cardvault_journal *journal,
                                          const struct cardvault_entry *entry,
                                          const struct cardvault_random *random,
                                          uint64_t *sequence);

// Writes the entry of a payment whose outcome is not known: as `cardvault_journal_append`, but the
// pending slot stays as it is. After a power cut the entry has what a reversal names, and the slot
// the card that it needs.
cardvault_result cardvault_journal_append_in_doubt(struct cardvault_journal *journal,
                                                   const struct cardvault_entry *entry,
                                                   const struct cardvault_random *random,
                                                   uint64_t *sequence);

// Writes a checkpoint: the host can pick up the chain here behind a loss.
cardvault_result cardvault_journal_checkpoint(struct cardvault_journal *journal,
                                              uint64_t time,
                                              const struct cardvault_random *random);

// Writes the closing entry: the journal can still be uploaded, nothing can be appended.
cardvault_result cardvault_journal_finish(struct cardvault_journal *journal,
                                          uint64_t time,
                                          const struct cardvault_random *random);

// Keeps the card of a payment whose outcome is not known yet, under a key of its own: after a
// power cut the payment can be reversed. Whoever has the terminal can read this one card until
// the outcome is appended.
cardvault_result cardvault_journal_open_pending(struct cardvault_journal *journal,
                                                const struct cardvault_card *card,
                                                const struct cardvault_random *random);

// Gives the card of the open payment, which the caller closes; `CARDVAULT_RESULT_NOT_FOUND` if no
// payment is open.
cardvault_result cardvault_journal_pending(const struct cardvault_journal *journal,
                                           struct cardvault_card *card);

// Erases the pending slot without an entry: the payment was never sent.
cardvault_result cardvault_journal_clear_pending(struct cardvault_journal *journal);

// Opens a batch: until it is closed the terminal, and whoever has it, can open the cards of its
// entries. Off unless it is called; the manual of the journal says what a thief then gets.
cardvault_result cardvault_journal_open_batch(struct cardvault_journal *journal,
                                              const struct cardvault_random *random);

// Gives the card of an entry of the open batch, which the caller closes;
// `CARDVAULT_RESULT_NOT_FOUND` if no batch is open, or the entry is none of it or has no card.
cardvault_result cardvault_journal_batch_card(struct cardvault_journal *journal,
                                              uint64_t sequence,
                                              struct cardvault_card *card);

// Closes the open batch, if there is one: its key is erased, and no card of it opens any more.
cardvault_result cardvault_journal_close_batch(struct cardvault_journal *journal);

// Reads the clear part of one frame into `frame`, whose pointers go to `buffer`: at least
// `CARDVAULT_FRAME_MAX_LEN` bytes. `CARDVAULT_RESULT_NOT_FOUND` if the frame is not in the log.
cardvault_result cardvault_journal_read(struct cardvault_journal *journal,
                                        uint64_t sequence,
                                        uint8_t *buffer,
                                        size_t buffer_len,
                                        struct cardvault_frame *frame);

// Hands an upload to `sink`, item after item: everything that the host has not confirmed. One
// after the other the items are what `cardvault_reading_open` reads.
cardvault_result cardvault_journal_upload(struct cardvault_journal *journal,
                                          const struct cardvault_sink *sink);

// Takes the host's receipt for the last upload: the frames below may be erased when their pages
// are needed. Constant time.
cardvault_result cardvault_journal_confirm(struct cardvault_journal *journal,
                                           const struct cardvault_receipt *receipt);

// HOST ONLY. Makes a fingerprinter for an index version of a domain.
cardvault_result cardvault_fingerprinter_open(struct cardvault_fingerprinter *fingerprinter,
                                              const struct cardvault_ring *ring,
                                              const uint8_t *domain,
                                              size_t domain_len,
                                              uint32_t version);

// HOST ONLY. Writes the fingerprint of a card's number: `CARDVAULT_FINGERPRINT_LEN` bytes. The
// same card has the same fingerprint, also with another expiry. Constant time.
cardvault_result cardvault_fingerprint(const struct cardvault_fingerprinter *fingerprinter,
                                       const struct cardvault_card *card,
                                       uint8_t *out,
                                       size_t out_len);

// HOST ONLY. Writes 1 to `equal` if the stored fingerprint is the card's, else 0. Constant time.
cardvault_result cardvault_fingerprint_compare(const struct cardvault_fingerprinter *fingerprinter,
                                               const struct cardvault_card *card,
                                               const uint8_t *stored,
                                               size_t stored_len,
                                               uint8_t *equal);

// Ends a fingerprinter and wipes its memory.
cardvault_result cardvault_fingerprinter_close(struct cardvault_fingerprinter *fingerprinter);

// HOST ONLY. Makes a maker of tokens that keep the first 0, 6 or 8 and the last 0 or 4 digits of
// numbers of at least `shortest` digits. `generation` 0: under the key that is active at `now`;
// else it opens tokens of that generation and makes none.
cardvault_result cardvault_vaultless_open(struct cardvault_vaultless *vaultless,
                                          const struct cardvault_ring *ring,
                                          const uint8_t *domain,
                                          size_t domain_len,
                                          uint8_t first,
                                          uint8_t last,
                                          uint8_t shortest,
                                          uint32_t generation,
                                          uint64_t now);

// HOST ONLY. Writes a card's token and a zero: as many digits as the number has, which never pass
// the Luhn check. `CARDVAULT_TOKEN_TEXT_SIZE` bytes are always enough.
cardvault_result cardvault_vaultless_tokenize(const struct cardvault_vaultless *vaultless,
                                              const struct cardvault_card *card,
                                              char *out,
                                              size_t out_len);

// HOST ONLY. Opens a token, and gives its card if the stored fingerprint is the card's; else
// `CARDVAULT_RESULT_OTHER_CARD`: any digits open to some card number, so that a token alone proves
// nothing. The caller closes the card.
cardvault_result cardvault_vaultless_detokenize(const struct cardvault_vaultless *vaultless,
                                                const char *token,
                                                size_t token_len,
                                                const struct cardvault_fingerprinter *fingerprinter,
                                                const uint8_t *stored,
                                                size_t stored_len,
                                                struct cardvault_card *card);

// Ends a maker of tokens and wipes its memory.
cardvault_result cardvault_vaultless_close(struct cardvault_vaultless *vaultless);

// HOST ONLY. Makes the chain key of a terminal for an epoch, under the journal key of the domain
// that is active at `now`, into `out` (`CARDVAULT_CHAIN_KEY_LEN` bytes), and the number of that
// key into `base_version`. Give each epoch of a terminal out once. The caller wipes `out` once it
// was sent.
cardvault_result cardvault_chain_key(const struct cardvault_ring *ring,
                                     const uint8_t *domain,
                                     size_t domain_len,
                                     uint64_t now,
                                     const uint8_t *terminal,
                                     size_t terminal_len,
                                     uint32_t epoch,
                                     uint8_t *out,
                                     size_t out_len,
                                     uint32_t *base_version);

// HOST ONLY. The identity that an upload claims, from its first 64 bytes: to choose the key by.
// Nothing is verified. `CARDVAULT_RESULT_FAULT_HEADER` if there is none.
cardvault_result cardvault_upload_identity(const uint8_t *upload,
                                           size_t upload_len,
                                           struct cardvault_identity *identity);

// HOST ONLY. Begins to read the upload of a terminal, held against what was verified before:
// `since` has `CARDVAULT_POSITION_LEN` bytes, null before the first upload. `go_on` is 0 to stop at
// the first fault, 1 to report each. `source` is copied; its context must live as long as the
// reading.
cardvault_result cardvault_reading_open(struct cardvault_reading *reading,
                                        const struct cardvault_ring *ring,
                                        const uint8_t *domain,
                                        size_t domain_len,
                                        const struct cardvault_identity *identity,
                                        const uint8_t *since,
                                        const struct cardvault_source *source,
                                        uint32_t go_on);

// HOST ONLY. The next frame: `verified` is written after `CARDVAULT_RESULT_OK` and after every
// `CARDVAULT_RESULT_FAULT`; `card` is made if `verified->has_card` is 1, and the caller closes it.
// `CARDVAULT_RESULT_END` at the end.
cardvault_result cardvault_reading_next(struct cardvault_reading *reading,
                                        struct cardvault_verified *verified,
                                        struct cardvault_card *card);

// HOST ONLY. What the upload came to; `CARDVAULT_RESULT_NOT_FOUND` before its trailer was read, or
// if it has none.
cardvault_result cardvault_reading_outcome(const struct cardvault_reading *reading,
                                           struct cardvault_outcome *outcome);

// Ends a reading and wipes its memory.
cardvault_result cardvault_reading_close(struct cardvault_reading *reading);

// HOST ONLY. Opens the vault in a folder, with its access log in a file. `flags`: 0 or
// `CARDVAULT_VAULT_CREATE`. Paths are UTF-8. Takes the ring over: it is closed as soon as the store
// is open, also if the vault then refuses it.
cardvault_result cardvault_vault_open(struct cardvault_vault *vault,
                                      const char *folder,
                                      size_t folder_len,
                                      const char *log,
                                      size_t log_len,
                                      struct cardvault_ring *ring,
                                      uint32_t flags);

// HOST ONLY. Gives a card its token in a domain, durably, and writes its text and a zero to `out`,
// of at least `CARDVAULT_TOKEN_TEXT_SIZE` bytes: with fewer nothing is stored. `flags` are the `CARDVAULT_TOKENIZE`
// numbers added up; with `CARDVAULT_TOKENIZE_CARD_SHAPED` the token keeps the first 0, 6 or 8 and
// the last 0 or 4 digits, else both are 0. `expires` is 0, or the second from which on the token is
// refused. `existing`, which may be null, gets 1 if the card had the token before, else 0.
cardvault_result cardvault_vault_tokenize(const struct cardvault_vault *vault,
                                          const uint8_t *domain,
                                          size_t domain_len,
                                          const struct cardvault_card *card,
                                          uint32_t flags,
                                          uint8_t first,
                                          uint8_t last,
                                          uint64_t expires,
                                          char *out,
                                          size_t out_len,
                                          uint8_t *existing);

// HOST ONLY. Gives the card of a token, which the caller closes. Who asks, for what and from where
// stands in the access log before this returns: 1 to 64 printable characters each.
cardvault_result cardvault_vault_detokenize(const struct cardvault_vault *vault,
                                            const char *actor,
                                            size_t actor_len,
                                            const char *purpose,
                                            size_t purpose_len,
                                            const char *origin,
                                            size_t origin_len,
                                            const uint8_t *domain,
                                            size_t domain_len,
                                            const char *token,
                                            size_t token_len,
                                            struct cardvault_card *card);

// HOST ONLY. Removes a token and, if it was the card's last, what is kept of the card.
cardvault_result cardvault_vault_delete(const struct cardvault_vault *vault,
                                        const char *actor,
                                        size_t actor_len,
                                        const char *purpose,
                                        size_t purpose_len,
                                        const char *origin,
                                        size_t origin_len,
                                        const uint8_t *domain,
                                        size_t domain_len,
                                        const char *token,
                                        size_t token_len);

// Ends a vault: commits what is queued and closes the file. What was acknowledged is safe in any
// case.
cardvault_result cardvault_vault_close(struct cardvault_vault *vault);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CARDVAULT_H */
