//! What can go wrong at the terminal.
#![forbid(unsafe_code)]

use core::fmt;

use super::frame::{PAYMENT_MAX_LEN, TOKEN_MAX_LEN};
use super::ratchet::TERMINAL_MAX_LEN;
use crate::secret::RandomError;

/// Why no key for a journal was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetUpError {
    /// A terminal id has 1 to [`TERMINAL_MAX_LEN`] bytes.
    Terminal {
        /// How many there are.
        bytes: usize,
    },
}

impl fmt::Display for SetUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal { bytes } => {
                write!(
                    f,
                    "terminal id has {bytes} bytes, not 1 to {TERMINAL_MAX_LEN}"
                )
            }
        }
    }
}

impl core::error::Error for SetUpError {}

/// Why the journal did not do what was asked. `F` is the flash's error, `S` the state store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalError<F, S> {
    /// The flash reported an error.
    Flash(F),
    /// The state store reported an error.
    Store(S),
    /// The flash's words, pages or size do not suit the format.
    Geometry,
    /// The state store is empty: create a journal first.
    NotProvisioned,
    /// The state store holds a journal with entries that the host does not have.
    InUse,
    /// The state is whole but holds values that the format does not allow.
    State,
    /// The payment fields are longer than [`PAYMENT_MAX_LEN`].
    Payment {
        /// Their length in bytes.
        bytes: usize,
    },
    /// The token is longer than [`TOKEN_MAX_LEN`].
    Token {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Every page holds frames that the host has not confirmed, or of the open batch. Nothing was
    /// written.
    Full,
    /// Bytes read back are not the ones written, in the frame at this offset of the flash.
    Worn {
        /// Offset in bytes.
        offset: u32,
    },
    /// An earlier call failed half way: open the journal again.
    Poisoned,
    /// The closing entry was written.
    Closed,
    /// A payment is open already: write its outcome first.
    PendingOpen,
    /// A batch is open under a batch key: close it first.
    BatchOpen,
    /// The batch copy of this entry's card does not open.
    Copy {
        /// Its sequence number.
        sequence: u64,
    },
    /// The sequence numbers or page numbers are used up.
    Over,
    /// The generator failed or repeated itself.
    Random(RandomError),
    /// The receipt is not the one for the last trailer that was asked for.
    Receipt,
    /// The cipher refused. Not reached.
    Cipher,
}

impl<F: fmt::Debug, S: fmt::Debug> fmt::Display for JournalError<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => write!(f, "the journal's flash failed: {error:?}"),
            Self::Store(error) => write!(f, "the journal's state store failed: {error:?}"),
            Self::Geometry => f.write_str("the flash's geometry does not suit the journal"),
            Self::NotProvisioned => f.write_str("no journal was created in this state store"),
            Self::InUse => f.write_str("the state store holds a journal that is not uploaded"),
            Self::State => f.write_str("the journal's state holds values that are not allowed"),
            Self::Payment { bytes } => write!(
                f,
                "payment fields have {bytes} bytes, not at most {PAYMENT_MAX_LEN}"
            ),
            Self::Token { bytes } => {
                write!(f, "token has {bytes} bytes, not at most {TOKEN_MAX_LEN}")
            }
            Self::Full => f.write_str("the journal is full: upload it first"),
            Self::Worn { offset } => write!(f, "flash does not keep what is written at {offset}"),
            Self::Poisoned => f.write_str("a write failed half way: open the journal again"),
            Self::Closed => f.write_str("the journal is closed"),
            Self::PendingOpen => f.write_str("a payment is open: write its outcome first"),
            Self::BatchOpen => f.write_str("a batch is open: close it first"),
            Self::Copy { sequence } => {
                write!(f, "the batch copy of entry {sequence} does not open")
            }
            Self::Over => f.write_str("the journal's numbers are used up: begin a new epoch"),
            Self::Random(error) => error.fmt(f),
            Self::Receipt => f.write_str("the receipt does not belong to the last trailer"),
            Self::Cipher => f.write_str("the cipher refused"),
        }
    }
}

impl<F: fmt::Debug, S: fmt::Debug> core::error::Error for JournalError<F, S> {}
