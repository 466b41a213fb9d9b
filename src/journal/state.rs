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
const PENDING_AT: usize = 160;

const _: () = assert!(PENDING_AT + 32 + CARD_RECORD_LEN + TAG_LEN == STATE_LEN);

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The page's number; its place is the number modulo the count of pages.
    pub(super) page: u64,
    /// Offset in the page.
    pub(super) offset: u32,
}

/// The open payment's card record under its own key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Pending {
    pub(super) key: Secret<32>,
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
    pub(super) pending: Option<Pending>,
}

impl State {
    /// Writes the state over `out`.
    pub(super) fn encode(&self, out: &mut Secret<STATE_LEN>) -> Result<(), CodecError> {
        let mut writer = Writer::new(out.expose_mut());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        writer.u8(VERSION)?;
        writer.u8(flag(self.closed, CLOSED)
            | flag(self.pending.is_some(), PENDING)
            | flag(self.end.is_none(), NO_PAGE))?;
        writer.u8(self.identity.terminal_len)?;
        writer.put(&self.identity.terminal)?;
        writer.u8(0)?;
        writer.put(&self.journal.0)?;
        writer.u32(self.identity.base_version)?;
        writer.u32(self.identity.epoch)?;
        writer.put(&[0; 20])?;
        writer.u64(self.count)?;
        writer.put(self.chain.0.expose())?;
        writer.put(self.aggregate.0.expose())?;
        let end = self.end.unwrap_or(End { page: 0, offset: 0 });
        writer.u64(end.page)?;
        writer.u32(end.offset)?;
        writer.u64(self.uploaded)?;
        writer.put(&self.nonce)?;
        match &self.pending {
            Some(pending) => {
                writer.put(pending.key.expose())?;
                writer.put(&pending.sealed)?;
                writer.put(&pending.tag)
            }
            None => writer.put(&[0; STATE_LEN - PENDING_AT]),
        }
    }

    pub(super) fn decode(bytes: &Secret<STATE_LEN>) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes.expose());
        let invalid = |at: usize| CodecError::Invalid { at };
        if reader.u8()? != VERSION {
            return Err(invalid(0));
        }
        let flags = reader.u8()?;
        if flags & !(CLOSED | PENDING | NO_PAGE) != 0 {
            return Err(invalid(1));
        }
        let len = usize::from(reader.u8()?);
        let padded: [u8; TERMINAL_MAX_LEN] = reader.array()?;
        let (terminal, padding) = padded.split_at_checked(len).ok_or(invalid(2))?;
        let zero = reader.u8()?;
        if zero != 0 || padding.iter().any(|&byte| byte != 0) {
            return Err(invalid(3));
        }
        let journal: [u8; JOURNAL_ID_LEN] = reader.array()?;
        let (base_version, epoch) = (reader.u32()?, reader.u32()?);
        let identity = Identity::new(terminal, epoch, base_version).map_err(|_| invalid(2))?;
        if reader.array()? != [0; 20] {
            return Err(invalid(36));
        }
        let count = reader.u64()?;
        let mut chain = Chain(Secret::zeroed());
        let mut aggregate = Aggregate(Secret::zeroed());
        chain.0.expose_mut().copy_from_slice(reader.take(32)?);
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
        let mut pending = Pending {
            key: Secret::zeroed(),
            sealed: [0; CARD_RECORD_LEN],
            tag: [0; TAG_LEN],
        };
        pending.key.expose_mut().copy_from_slice(reader.take(32)?);
        pending.sealed = reader.array()?;
        pending.tag = reader.array()?;
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
            pending: (flags & PENDING != 0).then_some(pending),
        })
    }
}
