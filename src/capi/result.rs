//! How every function of the interface ends: one enumeration, with a text for each.

use core::ffi::{CStr, c_char};

use crate::card::{CardDataError, ExpiryError, PanError, RecordError, TruncationError};
use crate::journal::{FaultKind, JournalError, ReadError, SetUpError};
use crate::keys::{CeremonyError, ComponentError, DomainError, KeyError};
use crate::seal::{RingSealError, SealError};
use crate::token::{FormatError, OpenError, TokenError, TokenizeError};
use crate::{CodecError, RandomError};

use super::callbacks::{CallbackFailed, StateFailed};

/// How a function ended. Numbers never change their meaning; later releases add some.
///
/// After anything but `CARDVAULT_RESULT_OK` the outputs are as they were, unless the function
/// says otherwise.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(clippy::upper_case_acronyms, reason = "the header's names")]
pub enum cardvault_result {
    /// It was done.
    OK = 0,
    /// A pointer is null that must not be.
    NULL_POINTER = 1,
    /// A pointer is not aligned for what it points to.
    ALIGNMENT = 2,
    /// An input is too short or too long.
    LENGTH = 3,
    /// The output has fewer bytes than needed.
    NO_ROOM = 4,
    /// The object was not opened, was closed, or is a copy.
    NOT_OPEN = 5,
    /// Another call uses the object.
    BUSY = 6,
    /// A number or a flag is not allowed.
    VALUE = 7,
    /// The library failed: a fault of its own.
    PANICKED = 8,
    /// Nothing follows.
    END = 9,
    /// There is none.
    NOT_FOUND = 10,
    /// The random generator failed.
    RANDOM_FAILED = 20,
    /// The random generator repeated its last output.
    RANDOM_REPEATED = 21,
    /// The flash reported an error.
    FLASH_FAILED = 22,
    /// The memory of the state reported an error.
    STATE_FAILED = 23,
    /// The source of the upload reported an error.
    SOURCE_FAILED = 24,
    /// The receiver of the upload reported an error.
    SINK_FAILED = 25,
    /// Card number is empty.
    PAN_EMPTY = 40,
    /// Card number has too many bytes.
    PAN_TOO_LONG = 41,
    /// Card number has an unexpected byte.
    PAN_BYTE = 42,
    /// Card number has not 8 to 19 digits.
    PAN_LENGTH = 43,
    /// Card number fails the Luhn check.
    PAN_LUHN = 44,
    /// Card data has too many bytes.
    CARD_DATA_TOO_LONG = 45,
    /// Card data ends inside a field.
    CARD_DATA_TRUNCATED = 46,
    /// Card data has an unexpected byte.
    CARD_DATA_BYTE = 47,
    /// Card data has no valid expiry.
    CARD_DATA_EXPIRY = 48,
    /// The track's check character does not fit.
    CHECK_CHARACTER = 49,
    /// Two tags hold different card numbers or expiries.
    CONTRADICTION = 50,
    /// No tag holds a card number.
    NO_PAN = 51,
    /// The brand's rule lets fewer digits be kept.
    TRUNCATION = 52,
    /// The text is no truncated card number.
    TRUNCATED_TEXT = 53,
    /// A domain has 1 to 32 bytes.
    DOMAIN = 60,
    /// The key ring has no such version.
    UNKNOWN_VERSION = 61,
    /// No key of the ring fits: another domain or ring, damage, or a destroyed version.
    UNKNOWN_KEY = 62,
    /// No key of this use is active.
    NO_ACTIVE_KEY = 63,
    /// The state of the key does not allow this.
    KEY_STATE = 64,
    /// The key was destroyed.
    KEY_DESTROYED = 65,
    /// The cryptoperiod of the key is over.
    CRYPTOPERIOD_OVER = 66,
    /// The key ring is full.
    RING_FULL = 67,
    /// Versions or generations are counted to the end.
    NUMBERS_OVER = 68,
    /// A text is no component, or its check value does not fit.
    COMPONENT = 69,
    /// The components do not make a KEK: too few, one twice, or another check value.
    COMPONENTS = 70,
    /// Not a sealed key ring.
    NOT_A_RING = 71,
    /// Unknown version of a sealed key ring.
    RING_VERSION = 72,
    /// The sealed key ring was changed.
    RING_DAMAGED = 73,
    /// The key ring is sealed under something else.
    OTHER_KEK = 74,
    /// A sealed record has 73 bytes.
    RECORD_LENGTH = 80,
    /// Unknown version of a sealed record.
    RECORD_VERSION = 81,
    /// The sealed record names another key.
    OTHER_KEY = 82,
    /// The sealed record or a part of its row was changed.
    DAMAGED = 83,
    /// What was sealed is no card record.
    RECORD = 84,
    /// A part of the row is too long.
    BINDING = 85,
    /// The text is no token.
    TOKEN = 90,
    /// The token format keeps too many digits or names no length of a card number.
    TOKEN_FORMAT = 91,
    /// The token is of another kind.
    TOKEN_KIND = 92,
    /// The number has fewer digits than the token format takes.
    TOKEN_SHORT = 93,
    /// The token belongs to another generation of the key.
    TOKEN_GENERATION = 94,
    /// The card number fails the Luhn check and can have an opaque token alone.
    TOKEN_FAILS_LUHN = 95,
    /// Cards of this brand may fail the Luhn check: a token must not keep the IIN.
    TOKEN_IIN = 96,
    /// No token that may be used was found.
    TOKENS_USED_UP = 97,
    /// The token stands for another card than the fingerprint.
    OTHER_CARD = 98,
    /// The flash's words, pages or size do not suit the journal.
    GEOMETRY = 110,
    /// No journal was created in this state.
    NOT_PROVISIONED = 111,
    /// The state holds a journal that is not uploaded.
    IN_USE = 112,
    /// The journal's state holds values that are not allowed.
    STATE = 113,
    /// The payment fields are too long.
    PAYMENT = 114,
    /// The token is too long.
    TOKEN_LENGTH = 115,
    /// The journal is full: upload it first.
    FULL = 116,
    /// The flash does not keep what is written.
    WORN = 117,
    /// A write failed half way: open the journal again.
    POISONED = 118,
    /// The journal is closed.
    CLOSED = 119,
    /// A payment is open: write its outcome first.
    PENDING_OPEN = 120,
    /// The journal's numbers are used up: begin a new epoch.
    JOURNAL_OVER = 121,
    /// The receipt does not belong to the last trailer.
    RECEIPT = 122,
    /// A terminal id has 1 to 16 bytes.
    TERMINAL = 123,
    /// A batch is open: close it first.
    BATCH_OPEN = 124,
    /// The batch's copy of a card does not open.
    COPY = 125,
    /// No upload header.
    FAULT_HEADER = 140,
    /// Of another journal.
    FAULT_OTHER_JOURNAL = 141,
    /// Of another base key.
    FAULT_WRONG_KEY = 142,
    /// Bytes were changed.
    FAULT_FLIPPED = 143,
    /// A frame stands too early.
    FAULT_SWAPPED = 144,
    /// Frames are missing.
    FAULT_DROPPED = 145,
    /// Something stands where nothing belongs.
    FAULT_INSERTED = 146,
    /// A frame comes again.
    FAULT_REPLAYED = 147,
    /// The end is missing.
    FAULT_TRUNCATED = 148,
    /// What was verified before is missing or is another.
    FAULT_ROLLED_BACK = 149,
    /// Frames were lost after they were acknowledged.
    FAULT_LOST = 150,
    /// Genuine, with content that is not valid.
    FAULT_CONTENT = 151,
    /// The domain has no such token.
    UNKNOWN_TOKEN = 170,
    /// The token has expired.
    EXPIRED = 171,
    /// The card has a token of another shape.
    OTHER_FORMAT = 172,
    /// The row is not what the vault wrote.
    TAMPERED = 173,
    /// A newer release wrote this.
    NEWER_FORMAT = 174,
    /// No key of the ring opens the record under the card's token.
    UNOPENABLE = 175,
    /// The row was changed meanwhile; try again.
    CONFLICT = 176,
    /// The vault belongs to another key ring.
    OTHER_RING = 177,
    /// The key ring is behind one that the vault has seen.
    STALE_RING = 178,
    /// The vault's rows do not stand under the index version that the ring reads.
    INDEX_NOT_FILLED = 179,
    /// Actor, purpose or origin is not 1 to 64 printable characters, or looks like a card number.
    ACCESS = 180,
    /// The access log could not be written.
    LOG_FAILED = 181,
    /// A path is not UTF-8.
    PATH = 182,
    /// The vault's policy refuses this.
    REFUSED_BY_POLICY = 183,
    /// Another process has the store open.
    STORE_OPEN = 190,
    /// There is a store already.
    STORE_EXISTS = 191,
    /// No room is left on the medium.
    STORE_FULL = 192,
    /// The medium reported an error.
    STORE_FAILED = 193,
    /// A commit failed earlier: open the store again.
    STORE_POISONED = 194,
    /// The medium holds what no store has written.
    STORE_CORRUPT = 195,
    /// What is there is no store of a vault.
    NOT_A_STORE = 196,
    /// The restore of an archive into this vault has not ended.
    RESTORE_UNFINISHED = 197,
    /// A refusal that cannot happen did.
    INTERNAL = 255,
}

use cardvault_result as R;

/// The text of a result: plain ASCII that ends with a zero and is never freed. Any number may be
/// asked for.
#[unsafe(no_mangle)]
pub extern "C" fn cardvault_result_text(result: u32) -> *const c_char {
    let found = TEXTS.iter().find(|(code, _)| *code as u32 == result);
    found.map_or(c"unknown result", |(_, text)| text).as_ptr()
}

/// A result, and where the input is wrong or how much is needed.
#[derive(Clone, Copy)]
pub(super) struct Refusal {
    pub(super) result: cardvault_result,
    pub(super) at: usize,
}

impl From<cardvault_result> for Refusal {
    fn from(result: cardvault_result) -> Self {
        Self { result, at: 0 }
    }
}

impl From<RandomError> for Refusal {
    fn from(error: RandomError) -> Self {
        match error {
            RandomError::Failed => R::RANDOM_FAILED,
            RandomError::Repeated => R::RANDOM_REPEATED,
        }
        .into()
    }
}

impl From<PanError> for Refusal {
    fn from(error: PanError) -> Self {
        let (result, at) = match error {
            PanError::Empty => (R::PAN_EMPTY, 0),
            PanError::TooLong { bytes } => (R::PAN_TOO_LONG, bytes),
            PanError::Byte { at } => (R::PAN_BYTE, at),
            PanError::Length { digits } => (R::PAN_LENGTH, digits),
            PanError::Luhn => (R::PAN_LUHN, 0),
        };
        Self { result, at }
    }
}

impl From<CardDataError> for Refusal {
    fn from(error: CardDataError) -> Self {
        let (result, at) = match error {
            CardDataError::TooLong { bytes } => (R::CARD_DATA_TOO_LONG, bytes),
            CardDataError::Truncated { at } => (R::CARD_DATA_TRUNCATED, at),
            CardDataError::Byte { at } => (R::CARD_DATA_BYTE, at),
            CardDataError::Pan(error) => return error.into(),
            CardDataError::Expiry { at } => (R::CARD_DATA_EXPIRY, at),
            CardDataError::CheckCharacter => (R::CHECK_CHARACTER, 0),
            CardDataError::Contradiction => (R::CONTRADICTION, 0),
            CardDataError::NoPan => (R::NO_PAN, 0),
        };
        Self { result, at }
    }
}

impl From<TruncationError> for Refusal {
    fn from(error: TruncationError) -> Self {
        let (result, at) = match error {
            TruncationError::Forbidden { .. } => (R::TRUNCATION, 0),
            TruncationError::Length { characters } => (R::TRUNCATED_TEXT, characters),
            TruncationError::Byte { at } => (R::TRUNCATED_TEXT, at),
            TruncationError::TooMuchKept => (R::TRUNCATED_TEXT, 0),
        };
        Self { result, at }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownVersion { .. } => R::UNKNOWN_VERSION,
            KeyError::UnknownKey => R::UNKNOWN_KEY,
            KeyError::NoActive { .. } => R::NO_ACTIVE_KEY,
            KeyError::State { .. }
            | KeyError::Transition { .. }
            | KeyError::Clock { .. }
            | KeyError::NotFilled { .. }
            | KeyError::Filling { .. }
            | KeyError::GenerationsLive { .. }
            | KeyError::Residue { .. } => R::KEY_STATE,
            KeyError::Destroyed { .. } => R::KEY_DESTROYED,
            KeyError::CryptoperiodOver { .. } => R::CRYPTOPERIOD_OVER,
            KeyError::Cryptoperiod => R::VALUE,
            KeyError::Full => R::RING_FULL,
            KeyError::VersionsOver { .. } | KeyError::GenerationsOver => R::NUMBERS_OVER,
            KeyError::Random(error) => return error.into(),
            KeyError::Derivation => R::INTERNAL,
            KeyError::Blank => R::NOT_OPEN,
        }
        .into()
    }
}

impl From<RingSealError> for Refusal {
    fn from(error: RingSealError) -> Self {
        let (result, at) = match error {
            RingSealError::NotARing => (R::NOT_A_RING, 0),
            RingSealError::Version { .. } => (R::RING_VERSION, 0),
            RingSealError::Frame(_) | RingSealError::Damaged | RingSealError::Encoding(_) => {
                (R::RING_DAMAGED, 0)
            }
            RingSealError::OtherProtection { .. } | RingSealError::OtherKek { .. } => {
                (R::OTHER_KEK, 0)
            }
            RingSealError::NoRoom { needed } => (R::NO_ROOM, needed),
            RingSealError::Random(error) => return error.into(),
            RingSealError::Key(error) => return error.into(),
            RingSealError::OtherPassphrase
            | RingSealError::PassphraseInProduction
            | RingSealError::PassphraseLength { .. }
            | RingSealError::Cost
            | RingSealError::Memory
            | RingSealError::WrappedKey { .. }
            | RingSealError::Cipher => (R::INTERNAL, 0),
        };
        Self { result, at }
    }
}

impl From<SealError> for Refusal {
    fn from(error: SealError) -> Self {
        let (result, at) = match error {
            SealError::Length { bytes } => (R::RECORD_LENGTH, bytes),
            SealError::Version { .. } => (R::RECORD_VERSION, 0),
            SealError::OtherKey => (R::OTHER_KEY, 0),
            SealError::Damaged => (R::DAMAGED, 0),
            SealError::Record(_) => (R::RECORD, 0),
            SealError::Binding { bytes, .. } => (R::BINDING, bytes),
            SealError::CryptoperiodOver { .. } => (R::CRYPTOPERIOD_OVER, 0),
            SealError::Random(error) => return error.into(),
            SealError::Batch { .. } | SealError::Cipher => (R::INTERNAL, 0),
        };
        Self { result, at }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let at = match error {
            TokenError::Length { len } => len,
            TokenError::Symbol { at } => at,
            TokenError::Check
            | TokenError::UnusedBits
            | TokenError::DigitRun
            | TokenError::PassesLuhn
            | TokenError::Kind
            | TokenError::Digits => 0,
        };
        let result = R::TOKEN;
        Self { result, at }
    }
}

impl From<TokenizeError> for Refusal {
    fn from(error: TokenizeError) -> Self {
        match error {
            TokenizeError::Short { .. } => R::TOKEN_SHORT,
            TokenizeError::Truncation { .. } => R::TRUNCATION,
            TokenizeError::FailsLuhn => R::TOKEN_FAILS_LUHN,
            TokenizeError::ExemptIin => R::TOKEN_IIN,
            TokenizeError::Random(error) => return error.into(),
            TokenizeError::Draws => R::TOKENS_USED_UP,
        }
        .into()
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Kind => R::TOKEN_KIND,
            OpenError::Short { .. } => R::TOKEN_SHORT,
            OpenError::Generation { .. } => R::TOKEN_GENERATION,
        }
        .into()
    }
}

impl From<JournalError<CallbackFailed, StateFailed>> for Refusal {
    fn from(error: JournalError<CallbackFailed, StateFailed>) -> Self {
        let (result, at) = match error {
            JournalError::Flash(CallbackFailed) => (R::FLASH_FAILED, 0),
            JournalError::Store(StateFailed { worn: false }) => (R::STATE_FAILED, 0),
            JournalError::Store(StateFailed { worn: true }) => (R::WORN, 0),
            JournalError::Geometry => (R::GEOMETRY, 0),
            JournalError::NotProvisioned => (R::NOT_PROVISIONED, 0),
            JournalError::InUse => (R::IN_USE, 0),
            JournalError::State => (R::STATE, 0),
            JournalError::Payment { bytes } => (R::PAYMENT, bytes),
            JournalError::Token { bytes } => (R::TOKEN_LENGTH, bytes),
            JournalError::Full => (R::FULL, 0),
            JournalError::Worn { .. } => (R::WORN, 0),
            JournalError::Poisoned => (R::POISONED, 0),
            JournalError::Closed => (R::CLOSED, 0),
            JournalError::PendingOpen => (R::PENDING_OPEN, 0),
            JournalError::Over => (R::JOURNAL_OVER, 0),
            JournalError::BatchOpen => (R::BATCH_OPEN, 0),
            JournalError::Copy { .. } => (R::COPY, 0),
            JournalError::Random(error) => return error.into(),
            JournalError::Receipt => (R::RECEIPT, 0),
            JournalError::Cipher => (R::INTERNAL, 0),
        };
        Self { result, at }
    }
}

impl From<ReadError<CallbackFailed>> for Refusal {
    fn from(error: ReadError<CallbackFailed>) -> Self {
        match error {
            ReadError::Source(CallbackFailed) => R::SOURCE_FAILED.into(),
            ReadError::SetUp(error) => error.into(),
            ReadError::Fault(fault) => match fault.kind {
                FaultKind::Header => R::FAULT_HEADER,
                FaultKind::OtherJournal => R::FAULT_OTHER_JOURNAL,
                FaultKind::WrongKey => R::FAULT_WRONG_KEY,
                FaultKind::Flipped => R::FAULT_FLIPPED,
                FaultKind::Swapped => R::FAULT_SWAPPED,
                FaultKind::Dropped { .. } => R::FAULT_DROPPED,
                FaultKind::Inserted => R::FAULT_INSERTED,
                FaultKind::Replayed => R::FAULT_REPLAYED,
                FaultKind::Truncated => R::FAULT_TRUNCATED,
                FaultKind::RolledBack => R::FAULT_ROLLED_BACK,
                FaultKind::Lost { .. } => R::FAULT_LOST,
                FaultKind::Content => R::FAULT_CONTENT,
            }
            .into(),
        }
    }
}

/// Errors that become one result each, without a place.
macro_rules! plain {
    ($($error:ty => $result:ident,)*) => {$(
        impl From<$error> for Refusal {
            fn from(_: $error) -> Self {
                R::$result.into()
            }
        }
    )*};
}

plain! {
    ExpiryError => VALUE,
    RecordError => RECORD,
    DomainError => DOMAIN,
    ComponentError => COMPONENT,
    CeremonyError => COMPONENTS,
    SetUpError => TERMINAL,
    FormatError => TOKEN_FORMAT,
    CodecError => STATE,
}

const TEXTS: [(cardvault_result, &CStr); 112] = [
    (R::OK, c"it was done"),
    (R::NULL_POINTER, c"a pointer is null that must not be"),
    (
        R::ALIGNMENT,
        c"a pointer is not aligned for what it points to",
    ),
    (R::LENGTH, c"an input is too short or too long"),
    (R::NO_ROOM, c"the output has fewer bytes than needed"),
    (
        R::NOT_OPEN,
        c"the object was not opened, was closed, or is a copy",
    ),
    (R::BUSY, c"another call uses the object"),
    (R::VALUE, c"a number or a flag is not allowed"),
    (R::PANICKED, c"the library failed: a fault of its own"),
    (R::END, c"nothing follows"),
    (R::NOT_FOUND, c"there is none"),
    (R::RANDOM_FAILED, c"the random generator failed"),
    (
        R::RANDOM_REPEATED,
        c"the random generator repeated its last output",
    ),
    (R::FLASH_FAILED, c"the flash reported an error"),
    (
        R::STATE_FAILED,
        c"the memory of the state reported an error",
    ),
    (
        R::SOURCE_FAILED,
        c"the source of the upload reported an error",
    ),
    (
        R::SINK_FAILED,
        c"the receiver of the upload reported an error",
    ),
    (R::PAN_EMPTY, c"card number is empty"),
    (R::PAN_TOO_LONG, c"card number has too many bytes"),
    (R::PAN_BYTE, c"card number has an unexpected byte"),
    (R::PAN_LENGTH, c"card number has not 8 to 19 digits"),
    (R::PAN_LUHN, c"card number fails the Luhn check"),
    (R::CARD_DATA_TOO_LONG, c"card data has too many bytes"),
    (R::CARD_DATA_TRUNCATED, c"card data ends inside a field"),
    (R::CARD_DATA_BYTE, c"card data has an unexpected byte"),
    (R::CARD_DATA_EXPIRY, c"card data has no valid expiry"),
    (
        R::CHECK_CHARACTER,
        c"the track's check character does not fit",
    ),
    (
        R::CONTRADICTION,
        c"two tags hold different card numbers or expiries",
    ),
    (R::NO_PAN, c"no tag holds a card number"),
    (R::TRUNCATION, c"the brand's rule lets fewer digits be kept"),
    (R::TRUNCATED_TEXT, c"the text is no truncated card number"),
    (R::DOMAIN, c"a domain has 1 to 32 bytes"),
    (R::UNKNOWN_VERSION, c"the key ring has no such version"),
    (
        R::UNKNOWN_KEY,
        c"no key of the ring fits: another domain or ring, damage, or a destroyed version",
    ),
    (R::NO_ACTIVE_KEY, c"no key of this use is active"),
    (R::KEY_STATE, c"the state of the key does not allow this"),
    (R::KEY_DESTROYED, c"the key was destroyed"),
    (R::CRYPTOPERIOD_OVER, c"the cryptoperiod of the key is over"),
    (R::RING_FULL, c"the key ring is full"),
    (
        R::NUMBERS_OVER,
        c"versions or generations are counted to the end",
    ),
    (
        R::COMPONENT,
        c"a text is no component, or its check value does not fit",
    ),
    (
        R::COMPONENTS,
        c"the components do not make a KEK: too few, one twice, or another check value",
    ),
    (R::NOT_A_RING, c"not a sealed key ring"),
    (R::RING_VERSION, c"unknown version of a sealed key ring"),
    (R::RING_DAMAGED, c"the sealed key ring was changed"),
    (R::OTHER_KEK, c"the key ring is sealed under something else"),
    (R::RECORD_LENGTH, c"a sealed record has 73 bytes"),
    (R::RECORD_VERSION, c"unknown version of a sealed record"),
    (R::OTHER_KEY, c"the sealed record names another key"),
    (
        R::DAMAGED,
        c"the sealed record or a part of its row was changed",
    ),
    (R::RECORD, c"what was sealed is no card record"),
    (R::BINDING, c"a part of the row is too long"),
    (R::TOKEN, c"the text is no token"),
    (
        R::TOKEN_FORMAT,
        c"the token format keeps too many digits or names no length of a card number",
    ),
    (R::TOKEN_KIND, c"the token is of another kind"),
    (
        R::TOKEN_SHORT,
        c"the number has fewer digits than the token format takes",
    ),
    (
        R::TOKEN_GENERATION,
        c"the token belongs to another generation of the key",
    ),
    (
        R::TOKEN_FAILS_LUHN,
        c"the card number fails the Luhn check and can have an opaque token alone",
    ),
    (
        R::TOKEN_IIN,
        c"cards of this brand may fail the Luhn check: a token must not keep the IIN",
    ),
    (R::TOKENS_USED_UP, c"no token that may be used was found"),
    (
        R::OTHER_CARD,
        c"the token stands for another card than the fingerprint",
    ),
    (
        R::GEOMETRY,
        c"the flash's words, pages or size do not suit the journal",
    ),
    (R::NOT_PROVISIONED, c"no journal was created in this state"),
    (R::IN_USE, c"the state holds a journal that is not uploaded"),
    (
        R::STATE,
        c"the journal's state holds values that are not allowed",
    ),
    (R::PAYMENT, c"the payment fields are too long"),
    (R::TOKEN_LENGTH, c"the token is too long"),
    (R::FULL, c"the journal is full: upload it first"),
    (R::WORN, c"the flash does not keep what is written"),
    (
        R::POISONED,
        c"a write failed half way: open the journal again",
    ),
    (R::CLOSED, c"the journal is closed"),
    (
        R::PENDING_OPEN,
        c"a payment is open: write its outcome first",
    ),
    (
        R::JOURNAL_OVER,
        c"the journal's numbers are used up: begin a new epoch",
    ),
    (
        R::RECEIPT,
        c"the receipt does not belong to the last trailer",
    ),
    (R::TERMINAL, c"a terminal id has 1 to 16 bytes"),
    (R::BATCH_OPEN, c"a batch is open: close it first"),
    (R::COPY, c"the batch's copy of a card does not open"),
    (R::FAULT_HEADER, c"no upload header"),
    (R::FAULT_OTHER_JOURNAL, c"of another journal"),
    (R::FAULT_WRONG_KEY, c"of another base key"),
    (R::FAULT_FLIPPED, c"bytes were changed"),
    (R::FAULT_SWAPPED, c"a frame stands too early"),
    (R::FAULT_DROPPED, c"frames are missing"),
    (R::FAULT_INSERTED, c"something stands where nothing belongs"),
    (R::FAULT_REPLAYED, c"a frame comes again"),
    (R::FAULT_TRUNCATED, c"the end is missing"),
    (
        R::FAULT_ROLLED_BACK,
        c"what was verified before is missing or is another",
    ),
    (
        R::FAULT_LOST,
        c"frames were lost after they were acknowledged",
    ),
    (R::FAULT_CONTENT, c"genuine, with content that is not valid"),
    (R::UNKNOWN_TOKEN, c"the domain has no such token"),
    (R::EXPIRED, c"the token has expired"),
    (R::OTHER_FORMAT, c"the card has a token of another shape"),
    (R::TAMPERED, c"the row is not what the vault wrote"),
    (R::NEWER_FORMAT, c"a newer release wrote this"),
    (
        R::UNOPENABLE,
        c"no key of the ring opens the record under the card's token",
    ),
    (R::CONFLICT, c"the row was changed meanwhile; try again"),
    (R::OTHER_RING, c"the vault belongs to another key ring"),
    (
        R::STALE_RING,
        c"the key ring is behind one that the vault has seen",
    ),
    (
        R::INDEX_NOT_FILLED,
        c"the vault's rows do not stand under the index version that the ring reads",
    ),
    (
        R::ACCESS,
        c"actor, purpose or origin is not 1 to 64 printable characters, or looks like a card number",
    ),
    (R::LOG_FAILED, c"the access log could not be written"),
    (R::PATH, c"a path is not UTF-8"),
    (R::REFUSED_BY_POLICY, c"the vault's policy refuses this"),
    (R::STORE_OPEN, c"another process has the store open"),
    (R::STORE_EXISTS, c"there is a store already"),
    (R::STORE_FULL, c"no room is left on the medium"),
    (R::STORE_FAILED, c"the medium reported an error"),
    (
        R::STORE_POISONED,
        c"a commit failed earlier: open the store again",
    ),
    (
        R::STORE_CORRUPT,
        c"the medium holds what no store has written",
    ),
    (R::NOT_A_STORE, c"what is there is no store of a vault"),
    (
        R::RESTORE_UNFINISHED,
        c"the restore of an archive into this vault has not ended",
    ),
    (R::INTERNAL, c"a refusal that cannot happen did"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_plain_and_every_number_is_named_once() {
        for (place, (result, text)) in TEXTS.iter().enumerate() {
            assert!(
                text.to_bytes()
                    .iter()
                    .all(|byte| (b' '..=b'~').contains(byte))
            );
            let earlier = TEXTS.iter().take(place);
            assert!(
                earlier
                    .clone()
                    .all(|(other, _)| (*other as u32) < *result as u32)
            );
        }
    }
}
