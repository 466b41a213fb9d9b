//! What the terminal keeps between two frames, and the stores that can forget its predecessor.
#![forbid(unsafe_code)]

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::aead::{NONCE_LEN, TAG_LEN};
use super::ratchet::{
    AGGREGATE_LEN, Aggregate, Chain, Identity, JOURNAL_ID_LEN, JournalId, TERMINAL_MAX_LEN,
};
use crate::card::CARD_RECORD_LEN;
use crate::codec::{CodecError, Reader, Writer};
use crate::secret::Secret;

/// Length of a state, in bytes.
pub const STATE_LEN: usize = 224;

/// Keeps one state, in memory that can forget.
///
/// Power can go at any point of any call. Whatever happens, [`StateStore::load`] then gives either
/// the last state whose `store` returned or the one that was being stored.
pub trait StateStore {
    /// What the memory reports.
    type Error: core::fmt::Debug;

    /// Reads the newest whole state into `out` and wipes every other trace of a state. `false`
    /// if there is none.
    ///
    /// # Errors
    /// What the memory reports.
    fn load(&mut self, out: &mut Secret<STATE_LEN>) -> Result<bool, Self::Error>;

    /// Keeps `state` and then makes the one before it unreadable. When this returns, `state`
    /// survives a power cut and nothing of the one before is left.
    ///
    /// # Errors
    /// What the memory reports. Either state may then be the one that is loaded.
    fn store(&mut self, state: &Secret<STATE_LEN>) -> Result<(), Self::Error>;
}

impl<S: StateStore> StateStore for &mut S {
    type Error = S::Error;

    fn load(&mut self, out: &mut Secret<STATE_LEN>) -> Result<bool, Self::Error> {
        S::load(self, out)
    }

    fn store(&mut self, state: &Secret<STATE_LEN>) -> Result<(), Self::Error> {
        S::store(self, state)
    }
}

const VERSION: u8 = 1;
const CLOSED: u8 = 1;
const PENDING: u8 = 2;
const NO_PAGE: u8 = 4;
const BATCH: u8 = 8;
const NONCE_AT: usize = 36;
const BATCH_AT: usize = NONCE_AT + NONCE_LEN;
const END_AT: usize = 128;
const KEY_AT: usize = 160;
const PENDING_AT: usize = KEY_AT + 32;
const PENDING_LEN: usize = CARD_RECORD_LEN + TAG_LEN;

const _: () = assert!(PENDING_AT + PENDING_LEN == STATE_LEN);

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The page's number; its place is the number modulo the count of pages.
    pub(super) page: u64,
    /// Offset in the page.
    pub(super) offset: u32,
}

impl End {
    /// So many bytes behind it, in its page.
    pub(super) fn plus(self, len: usize) -> Self {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        Self {
            offset: self.offset.saturating_add(len),
            ..self
        }
    }
}

/// The open payment's card record under [`State::key`].
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Pending {
    /// Zeros if the key is the slot's own, which is drawn for this one record.
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) sealed: [u8; CARD_RECORD_LEN],
    pub(super) tag: [u8; TAG_LEN],
}

/// The state, taken apart.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct State {
    #[zeroize(skip)]
    pub(super) identity: Identity,
    #[zeroize(skip)]
    pub(super) journal: JournalId,
    pub(super) closed: bool,
    pub(super) count: u64,
    pub(super) chain: Chain,
    pub(super) aggregate: Aggregate,
    #[zeroize(skip)]
    pub(super) end: Option<End>,
    pub(super) uploaded: u64,
    pub(super) nonce: [u8; NONCE_LEN],
    /// The first sequence number of the batch that is open under a batch key.
    #[zeroize(skip)]
    pub(super) batch: Option<u64>,
    /// The batch key, or without one the pending slot's; zeros without either.
    pub(super) key: Secret<32>,
    pub(super) pending: Option<Pending>,
}

impl State {
    /// Empties the pending slot and wipes what only it needed.
    pub(super) fn forget_pending(&mut self) {
        // In place: a value that is moved out leaves its bytes behind.
        self.pending = None;
        if self.batch.is_none() {
            self.key.zeroize();
        }
    }

    /// Writes the state over `out`.
    pub(super) fn encode(&self, out: &mut Secret<STATE_LEN>) -> Result<(), CodecError> {
        let mut writer = Writer::new(out.expose_mut());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        writer.u8(VERSION)?;
        writer.u8(flag(self.closed, CLOSED)
            | flag(self.pending.is_some(), PENDING)
            | flag(self.end.is_none(), NO_PAGE)
            | flag(self.batch.is_some(), BATCH))?;
        writer.u8(self.identity.terminal_len)?;
        writer.put(&self.identity.terminal)?;
        writer.u8(0)?;
        writer.put(&self.journal.0)?;
        writer.u32(self.identity.base_version)?;
        writer.u32(self.identity.epoch)?;
        let pending = self.pending.as_ref();
        writer.put(pending.map_or(&[0; NONCE_LEN], |pending| &pending.nonce))?;
        writer.u64(self.batch.unwrap_or(0))?;
        writer.u64(self.count)?;
        writer.put(self.chain.key().expose())?;
        writer.put(self.aggregate.0.expose())?;
        let end = self.end.unwrap_or(End { page: 0, offset: 0 });
        writer.u64(end.page)?;
        writer.u32(end.offset)?;
        writer.u64(self.uploaded)?;
        writer.put(&self.nonce)?;
        writer.put(self.key.expose())?;
        match pending {
            Some(pending) => {
                writer.put(&pending.sealed)?;
                writer.put(&pending.tag)
            }
            None => writer.put(&[0; PENDING_LEN]),
        }
    }

    pub(super) fn decode(bytes: &Secret<STATE_LEN>) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes.expose());
        let invalid = |at: usize| CodecError::Invalid { at };
        if reader.u8()? != VERSION {
            return Err(invalid(0));
        }
        let flags = reader.u8()?;
        if flags & !(CLOSED | PENDING | NO_PAGE | BATCH) != 0 {
            return Err(invalid(1));
        }
        let len = usize::from(reader.u8()?);
        let padded: [u8; TERMINAL_MAX_LEN] = reader.array()?;
        let (terminal, padding) = padded.split_at_checked(len).ok_or(invalid(2))?;
        let zero = reader.u8()?;
        if zero != 0 || !is_zero(padding) {
            return Err(invalid(3));
        }
        let journal: [u8; JOURNAL_ID_LEN] = reader.array()?;
        let (base_version, epoch) = (reader.u32()?, reader.u32()?);
        let identity = Identity::new(terminal, epoch, base_version).map_err(|_| invalid(2))?;
        let (is_pending, is_batch) = (flags & PENDING != 0, flags & BATCH != 0);
        let slot_nonce = reader.array()?;
        if !(is_pending && is_batch) && slot_nonce != [0; NONCE_LEN] {
            return Err(invalid(NONCE_AT));
        }
        let first = reader.u64()?;
        let count = reader.u64()?;
        if first > if is_batch { count } else { 0 } {
            return Err(invalid(BATCH_AT));
        }
        let mut key = Secret::zeroed();
        let mut aggregate = Aggregate(Secret::zeroed());
        key.expose_mut().copy_from_slice(reader.take(32)?);
        let chain = Chain::new(key);
        let worth = reader.take(AGGREGATE_LEN)?;
        aggregate.0.expose_mut().copy_from_slice(worth);
        let end = End {
            page: reader.u64()?,
            offset: reader.u32()?,
        };
        let uploaded = reader.u64()?;
        let nonce = reader.array()?;
        if uploaded > count {
            return Err(invalid(140));
        }
        // Its successor has a number too.
        if end.page == u64::MAX {
            return Err(invalid(END_AT));
        }
        let mut key = Secret::zeroed();
        key.expose_mut().copy_from_slice(reader.take(32)?);
        if !is_pending && !is_batch && !is_zero(key.expose()) {
            return Err(invalid(KEY_AT));
        }
        let pending = Pending {
            nonce: slot_nonce,
            sealed: reader.array()?,
            tag: reader.array()?,
        };
        let is_empty = is_zero(&pending.sealed) && is_zero(&pending.tag);
        if !is_pending && !is_empty {
            return Err(invalid(PENDING_AT));
        }
        reader.finish()?;
        Ok(Self {
            identity,
            journal: JournalId(journal),
            closed: flags & CLOSED != 0,
            count,
            chain,
            aggregate,
            end: (flags & NO_PAGE == 0).then_some(end),
            uploaded,
            nonce,
            batch: is_batch.then_some(first),
            key,
            pending: is_pending.then_some(pending),
        })
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
