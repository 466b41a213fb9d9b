//! The journal at the terminal: writing entries, the pending slot, uploads.
#![forbid(unsafe_code)]

use core::fmt;

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::aead::{self, NONCE_LEN, TAG_LEN};
use super::batch::{Place, copy_len, open_copy, write_copy};
use super::error::JournalError;
use super::flash::PagedFlash;
use super::frame::{
    Body, COPY_MAX_LEN, Cause, Envelope, FRAME_MAX_LEN, Frame, HEADER_MAX_LEN, Item, Notice,
    PAGE_HEADER_LEN, PAYMENT_MAX_LEN, PaymentPart, TOKEN_MAX_LEN, put_crc, write_clear, write_gap,
    write_header, write_trailer,
};
use super::pages::{Found, Log, Sought};
use super::ratchet::{ChainKey, Identity, JournalId, Receipt, receipt};
use super::state::{End, Pending, STATE_LEN, State, StateStore};
use crate::card::{CardRecord, TruncatedPan};
use crate::secret::{RandomError, Secret};
use crate::time::UnixSeconds;

/// One payment event, to be written.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The terminal's time.
    pub time: UnixSeconds,
    /// The payment's fields as [`PaymentFields::write`](crate::payment::PaymentFields::write) gives
    /// them, at most [`PAYMENT_MAX_LEN`] bytes. They name the original, where there is one. In
    /// clear.
    pub payment: &'a [u8],
    /// The truncated card number, in the one format of the environment. In clear.
    pub truncated: Option<TruncatedPan>,
    /// The token that the host issued, at most [`TOKEN_MAX_LEN`] bytes; empty if there is none.
    /// In clear.
    pub token: &'a [u8],
    /// The card, if one was used. Only the host can read it.
    pub card: Option<&'a CardRecord>,
}

/// What an entry does to the pending slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Erased,
    Kept,
}

/// What opening a journal found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of a frame that was never acknowledged stand behind the end. A burn notice will say
    /// so.
    pub torn: bool,
    /// First number and count of acknowledged frames at the end of the log that cannot be read. A
    /// loss notice will say so.
    pub lost: Option<(u64, u64)>,
    /// How many pages of the log have a header that is not the one written. Frames in them are
    /// still looked for.
    pub damaged_pages: u32,
}

/// The journal of one terminal in one epoch: frames in the flash `F`, keys in the store `S`.
///
/// When [`Journal::append`] returns, the entry survives a power cut, and nothing at the terminal
/// opens its card any more; unless [`Journal::open_batch`] was called, then until
/// [`Journal::close_batch`] returns.
pub struct Journal<F, S> {
    log: Log<F>,
    store: S,
    state: State,
    /// The state as it is stored, written over each time.
    bytes: Secret<STATE_LEN>,
    due: Recovery,
    /// No frame was written since the journal was opened: a word behind the end may read blank
    /// and not be.
    started: bool,
    poisoned: bool,
    /// The receipt for the last trailer that was given out.
    expected: Option<Receipt>,
}

/// First sequence number and count.
type Range = (u64, u64);

type Result<T, F, S> =
    core::result::Result<T, JournalError<<F as PagedFlash>::Error, <S as StateStore>::Error>>;

impl<F: PagedFlash, S: StateStore> Journal<F, S> {
    /// Begins a journal and forgets `key`. What the flash held of an earlier one is erased as
    /// its pages come into use.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if the store holds a journal with frames that the host has not
    /// confirmed, with an open payment or an open batch, [`JournalError::Geometry`], and errors of
    /// the store.
    pub fn create(flash: F, mut store: S, key: ChainKey) -> Result<Self, F, S> {
        let log = Log::new(flash)?;
        let mut bytes = Secret::zeroed();
        if store.load(&mut bytes).map_err(JournalError::Store)? {
            let old = State::decode(&bytes).map_err(|_| JournalError::State)?;
            if old.uploaded < old.count || old.pending.is_some() || old.batch.is_some() {
                return Err(JournalError::InUse);
            }
        }
        let (chain, aggregate) = key.begin();
        let state = State {
            identity: *key.identity(),
            journal: key.journal_id(),
            closed: false,
            count: 0,
            chain,
            aggregate,
            end: None,
            uploaded: 0,
            nonce: [0; NONCE_LEN],
            batch: None,
            key: Secret::zeroed(),
            pending: None,
        };
        drop(key);
        let mut journal = Self {
            log,
            store,
            state,
            bytes,
            due: Recovery::default(),
            started: true,
            poisoned: false,
            expected: None,
        };
        journal.keep()?;
        Ok(journal)
    }

    /// Opens the journal after a start, whatever the end of the last run was. Writes no frame.
    ///
    /// # Errors
    /// [`JournalError::NotProvisioned`], [`JournalError::State`], [`JournalError::Geometry`], and
    /// errors of the flash and the store.
    pub fn open(flash: F, mut store: S) -> Result<Self, F, S> {
        let mut log = Log::new(flash)?;
        let mut bytes = Secret::zeroed();
        if !store.load(&mut bytes).map_err(JournalError::Store)? {
            return Err(JournalError::NotProvisioned);
        }
        let state = State::decode(&bytes).map_err(|_| JournalError::State)?;
        let mut due = Recovery::default();
        if let Some(end) = state.end {
            let word = length(log.word());
            if end.offset > log.page_len() || !end.offset.is_multiple_of(word) {
                return Err(JournalError::State);
            }
            due.torn = !log.is_blank(end)?;
            due.lost = lost_in_last_page(&mut log, &state, end)?;
            due.damaged_pages = damaged_pages(&mut log, &state, end)?;
        }
        Ok(Self {
            log,
            store,
            state,
            bytes,
            due,
            started: true,
            poisoned: false,
            expected: None,
        })
    }

    /// What opening found and no notice says yet.
    #[must_use]
    pub const fn recovery(&self) -> Recovery {
        self.due
    }

    /// Whose journal it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.state.identity
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> JournalId {
        self.state.journal
    }

    /// How many frames were acknowledged: the sequence number of the next one.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.state.count
    }

    /// How many frames the host has confirmed.
    #[must_use]
    pub const fn uploaded(&self) -> u64 {
        self.state.uploaded
    }

    /// Whether the closing entry was written.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.state.closed
    }

    /// Writes an entry and gives its sequence number. The pending slot is erased by the same
    /// step. Notices that are due are written before it.
    ///
    /// # Errors
    /// [`JournalError::Payment`], [`JournalError::Token`], [`JournalError::Full`],
    /// [`JournalError::Closed`], [`JournalError::Over`] and [`JournalError::Random`] leave the
    /// journal as it was; after any other error it is opened again.
    pub fn append<R: TryCryptoRng + ?Sized>(
        &mut self,
        entry: &Entry<'_>,
        rng: &mut R,
    ) -> Result<u64, F, S> {
        self.append_and(Slot::Erased, entry, rng)
    }

    /// Writes the entry of a payment whose outcome is not known, and gives its sequence number: as
    /// [`Journal::append`], but the pending slot stays as it is. After a power cut the entry has
    /// what a reversal names, and the slot the card that it needs.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_in_doubt<R: TryCryptoRng + ?Sized>(
        &mut self,
        entry: &Entry<'_>,
        rng: &mut R,
    ) -> Result<u64, F, S> {
        self.append_and(Slot::Kept, entry, rng)
    }

    fn append_and<R: TryCryptoRng + ?Sized>(
        &mut self,
        slot: Slot,
        entry: &Entry<'_>,
        rng: &mut R,
    ) -> Result<u64, F, S> {
        if entry.payment.len() > PAYMENT_MAX_LEN {
            let bytes = entry.payment.len();
            return Err(JournalError::Payment { bytes });
        }
        if entry.token.len() > TOKEN_MAX_LEN {
            let bytes = entry.token.len();
            return Err(JournalError::Token { bytes });
        }
        self.write_due(entry.time, rng)?;
        let body = Body::Payment(PaymentPart {
            payment: entry.payment,
            truncated: entry.truncated,
            token: entry.token,
            has_card: entry.card.is_some(),
        });
        let record = entry.card.map(CardRecord::to_bytes);
        let text: &[u8] = record.as_ref().map_or(&[], |record| record.expose());
        self.write(entry.time, &body, text, slot, rng)
    }

    /// Writes a checkpoint: the host can pick up the aggregate here behind a loss.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn checkpoint<R: TryCryptoRng + ?Sized>(
        &mut self,
        time: UnixSeconds,
        rng: &mut R,
    ) -> Result<u64, F, S> {
        self.write_due(time, rng)?;
        self.write_notice(Cause::Checkpoint, (self.state.count, 0), time, rng)
    }

    /// Writes the closing entry. The journal can still be uploaded; nothing can be appended.
    ///
    /// # Errors
    /// As [`Journal::append`]; [`JournalError::PendingOpen`], [`JournalError::BatchOpen`].
    pub fn close<R: TryCryptoRng + ?Sized>(
        &mut self,
        time: UnixSeconds,
        rng: &mut R,
    ) -> Result<u64, F, S> {
        if self.state.pending.is_some() {
            return Err(JournalError::PendingOpen);
        }
        if self.state.batch.is_some() {
            return Err(JournalError::BatchOpen);
        }
        self.write_due(time, rng)?;
        self.write_notice(Cause::Closing, (self.state.count, 0), time, rng)
    }

    /// Keeps the card of a payment whose outcome is not known yet, under a key of its own (or the
    /// batch key, if a batch is open): after a power cut the payment can be reversed. Whoever has
    /// the terminal can read this one card until the outcome is written.
    ///
    /// # Errors
    /// [`JournalError::PendingOpen`] if there is one, [`JournalError::Closed`],
    /// [`JournalError::Random`], and errors of the store.
    pub fn open_pending<R: TryCryptoRng + ?Sized>(
        &mut self,
        card: &CardRecord,
        rng: &mut R,
    ) -> Result<(), F, S> {
        self.usable()?;
        if self.state.pending.is_some() {
            return Err(JournalError::PendingOpen);
        }
        // A key that is drawn for this one record uses any nonce once.
        let mut nonce = [0; NONCE_LEN];
        if self.state.batch.is_some() {
            nonce = self.draw_nonce(rng)?;
            self.state.nonce = nonce;
        } else {
            let key = Secret::<32>::random(rng).map_err(JournalError::Random)?;
            // The keys of earlier slots are erased, so that a generator that stands still is
            // noticed by a second draw.
            let again = Secret::<32>::random(rng).map_err(JournalError::Random)?;
            if bool::from(key.ct_eq(&again)) {
                return Err(JournalError::Random(RandomError::Repeated));
            }
            self.state.key = key;
        }
        let mut text = card.to_bytes();
        let aad = self.state.journal.0;
        let tag = aead::seal(&self.state.key, &nonce, &aad, text.expose_mut())
            .map_err(|_| JournalError::Cipher)?;
        self.state.pending = Some(Pending {
            nonce,
            sealed: *text.expose(),
            tag,
        });
        self.keep()
    }

    /// The card of the open payment; `None` if no payment is open.
    ///
    /// # Errors
    /// [`JournalError::State`] if the slot does not open.
    pub fn pending(&self) -> Result<Option<CardRecord>, F, S> {
        let Some(pending) = &self.state.pending else {
            return Ok(None);
        };
        let mut text = Secret::new(pending.sealed);
        let aad = self.state.journal.0;
        aead::open(
            &self.state.key,
            &pending.nonce,
            &aad,
            text.expose_mut(),
            &pending.tag,
        )
        .map_err(|_| JournalError::State)?;
        CardRecord::from_bytes(&text)
            .map(Some)
            .map_err(|_| JournalError::State)
    }

    /// Erases the pending slot without an entry: the payment was never sent.
    ///
    /// # Errors
    /// [`JournalError::Poisoned`], and errors of the store.
    pub fn clear_pending(&mut self) -> Result<(), F, S> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if self.state.pending.is_some() {
            self.state.forget_pending();
            self.keep()?;
        }
        Ok(())
    }

    /// Opens a batch under a batch key: from here on the terminal can read the cards of its own
    /// entries, for voids without the card and for a batch upload, until the batch is closed.
    /// **Whoever steals the terminal meanwhile reads them too.** Off unless this is called; the
    /// [manual](crate::manual::journal) says what it costs.
    ///
    /// The log must have room for the whole batch: no page with an entry of it is reclaimed.
    ///
    /// # Errors
    /// [`JournalError::BatchOpen`] if there is one, [`JournalError::PendingOpen`],
    /// [`JournalError::Closed`], [`JournalError::Geometry`] if a page cannot hold the longest
    /// entry with the copy of its card, [`JournalError::Random`], and errors of the store.
    pub fn open_batch<R: TryCryptoRng + ?Sized>(&mut self, rng: &mut R) -> Result<(), F, S> {
        self.usable()?;
        if self.state.batch.is_some() {
            return Err(JournalError::BatchOpen);
        }
        if self.state.pending.is_some() {
            return Err(JournalError::PendingOpen);
        }
        if self.log.flash.page_len() < PAGE_HEADER_LEN + FRAME_MAX_LEN + COPY_MAX_LEN {
            return Err(JournalError::Geometry);
        }
        self.state.key = Secret::random(rng).map_err(JournalError::Random)?;
        self.state.batch = Some(self.state.count);
        self.keep()
    }

    /// The first sequence number of the open batch; `None` if no batch is open.
    #[must_use]
    pub const fn batch(&self) -> Option<u64> {
        self.state.batch
    }

    /// The card of an entry of the open batch; `None` if no batch is open, if the entry is not of
    /// it or cannot be read any more, and if it has no card.
    ///
    /// # Errors
    /// [`JournalError::Copy`] if the copy of the card does not open, [`JournalError::Poisoned`],
    /// and errors of the flash.
    pub fn batch_card(&mut self, sequence: u64) -> Result<Option<CardRecord>, F, S> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if self.state.batch.is_none_or(|first| sequence < first) {
            return Ok(None);
        }
        let mut buffer = [0; FRAME_MAX_LEN];
        let place = locate(&mut self.log, &self.state, sequence)?;
        let found = find(&mut self.log, &self.state, place, sequence, &mut buffer)?;
        let Some(found) = found.filter(|found| found.sequence == sequence) else {
            return Ok(None);
        };
        let item = Item::trusted(buffer.get(..found.len).unwrap_or_default());
        let frame = item.as_ref().and_then(Envelope::of);
        let Some(frame) = frame.filter(|frame| !frame.is_notice && !frame.sealed.is_empty()) else {
            return Ok(None);
        };
        let place = Place {
            journal: self.state.journal,
            sequence,
            nonce: frame.nonce,
        };
        let refused = || JournalError::Copy { sequence };
        let mut copy = [0; COPY_MAX_LEN];
        let copy = copy
            .get_mut(..copy_len(self.log.word()))
            .ok_or_else(refused)?;
        let at = found.behind();
        if at.offset.saturating_add(length(copy.len())) > self.log.page_len() {
            return Err(refused());
        }
        let address = self.log.address(at);
        self.log
            .flash
            .read(address, copy)
            .map_err(JournalError::Flash)?;
        let record = open_copy(copy, &place, &self.state.key).ok_or_else(refused)?;
        CardRecord::from_bytes(&record)
            .map(Some)
            .map_err(|_| refused())
    }

    /// Closes the batch, once it is settled, and erases its key: when this returns, nothing at
    /// the terminal opens its cards any more. Does nothing if no batch is open.
    ///
    /// # Errors
    /// [`JournalError::PendingOpen`], [`JournalError::Poisoned`], and errors of the store: the
    /// batch may then still be open, and is closed again after the next start.
    pub fn close_batch(&mut self) -> Result<(), F, S> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if self.state.batch.is_none() {
            return Ok(());
        }
        if self.state.pending.is_some() {
            return Err(JournalError::PendingOpen);
        }
        self.state.batch = None;
        self.state.key.zeroize();
        self.keep()
    }

    /// Reads one frame's clear part; `None` if it is not in the log (any more).
    ///
    /// # Errors
    /// Errors of the flash.
    pub fn read<'b>(
        &mut self,
        sequence: u64,
        buffer: &'b mut [u8; FRAME_MAX_LEN],
    ) -> Result<Option<Frame<'b>>, F, S> {
        let place = locate(&mut self.log, &self.state, sequence)?;
        let found = find(&mut self.log, &self.state, place, sequence, buffer)?;
        match found {
            Some(found) if found.sequence == sequence => {
                let bytes = buffer.get(..found.len).unwrap_or_default();
                Ok(Frame::parse(bytes).ok())
            }
            _ => Ok(None),
        }
    }

    /// Begins an upload of everything that the host has not confirmed.
    ///
    /// # Errors
    /// [`JournalError::Poisoned`], and errors of the flash.
    pub fn upload(&mut self) -> Result<Upload<'_, F, S>, F, S> {
        let first = self.state.uploaded;
        self.upload_from(first)
    }

    /// Begins an upload from `first`, at most the count; what is not in the log any more is
    /// reported as a gap.
    ///
    /// # Errors
    /// As [`Journal::upload`].
    pub fn upload_from(&mut self, first: u64) -> Result<Upload<'_, F, S>, F, S> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let first = first.min(self.state.count);
        let place = locate(&mut self.log, &self.state, first)?;
        Ok(Upload {
            journal: self,
            first,
            next: first,
            place,
            stage: Stage::Header,
        })
    }

    /// Takes the host's receipt for the last trailer that was given out: the frames below may be
    /// erased when their pages are needed. Constant time.
    ///
    /// # Errors
    /// [`JournalError::Receipt`] for any other receipt, [`JournalError::Poisoned`], and errors of
    /// the store.
    pub fn confirm(&mut self, receipt: &Receipt) -> Result<(), F, S> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let expected = self.expected.as_ref().ok_or(JournalError::Receipt)?;
        let same = expected.proof.ct_eq(&receipt.proof);
        if expected.count != receipt.count || !bool::from(same) {
            return Err(JournalError::Receipt);
        }
        if expected.count > self.state.uploaded {
            self.state.uploaded = expected.count;
            self.keep()?;
        }
        Ok(())
    }

    /// Gives flash and store back.
    #[must_use]
    pub fn into_parts(self) -> (F, S) {
        (self.log.flash, self.store)
    }

    fn usable(&self) -> Result<(), F, S> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if self.state.closed {
            return Err(JournalError::Closed);
        }
        Ok(())
    }

    /// Stores the state.
    fn keep(&mut self) -> Result<(), F, S> {
        self.poisoned = true;
        self.state
            .encode(&mut self.bytes)
            .map_err(|_| JournalError::State)?;
        self.store.store(&self.bytes).map_err(JournalError::Store)?;
        self.poisoned = false;
        Ok(())
    }

    fn write_due<R: TryCryptoRng + ?Sized>(
        &mut self,
        time: UnixSeconds,
        rng: &mut R,
    ) -> Result<(), F, S> {
        if let Some(lost) = self.due.lost {
            self.write_notice(Cause::Loss, lost, time, rng)?;
            self.due.lost = None;
        }
        if self.due.torn {
            self.write_notice(Cause::Burn, (self.state.count, 0), time, rng)?;
            self.due.torn = false;
        }
        Ok(())
    }

    fn write_notice<R: TryCryptoRng + ?Sized>(
        &mut self,
        cause: Cause,
        (first, count): (u64, u64),
        time: UnixSeconds,
        rng: &mut R,
    ) -> Result<u64, F, S> {
        let aggregate = Secret::new(*self.state.aggregate.0.expose());
        let body = Body::Notice(Notice {
            cause,
            first,
            count,
        });
        self.write(time, &body, aggregate.expose(), Slot::Kept, rng)
    }

    /// The steps of the manual's state machine.
    fn write<R: TryCryptoRng + ?Sized>(
        &mut self,
        time: UnixSeconds,
        body: &Body<'_>,
        text: &[u8],
        slot: Slot,
        rng: &mut R,
    ) -> Result<u64, F, S> {
        self.usable()?;
        let sequence = self.state.count;
        let count = sequence.checked_add(1).ok_or(JournalError::Over)?;
        let len = body.frame_len(self.log.word());
        let copied = self.state.batch.is_some() && body.has_card();
        let copy_len = if copied { copy_len(self.log.word()) } else { 0 };
        let (end, fresh) = self.place(len + copy_len)?;
        let nonce = self.draw_nonce(rng)?;

        // Step 1: derive, seal, and step on. From here an error needs a fresh start.
        self.poisoned = true;
        let mut frame = [0; FRAME_MAX_LEN];
        let bytes = frame.get_mut(..len).ok_or(JournalError::Cipher)?;
        let journal = self.state.journal;
        let clear_len = write_clear(bytes, len, journal, (sequence, time, &nonce), body)
            .map_err(|_| JournalError::Cipher)?;
        let step = self.state.chain.prepare();
        let tag = seal(bytes, clear_len, text, &step.entry_key(), &nonce);
        let tag = tag.ok_or(JournalError::Cipher)?;
        let mut copy = [0; COPY_MAX_LEN];
        let copy = copy.get_mut(..copy_len).unwrap_or_default();
        if copied {
            let place = Place {
                journal,
                sequence,
                nonce,
            };
            write_copy(copy, &place, &self.state.key, text).ok_or(JournalError::Cipher)?;
        }
        step.aggregate(&mut self.state.aggregate, &tag);
        step.next(&mut self.state.chain);
        drop(step);

        // Step 2: the frame, and its card's batch copy behind it.
        if fresh {
            self.log.open_page(end.page, journal, sequence)?;
        }
        self.log.program(end, bytes)?;
        let mut behind = end.plus(len);
        if copied {
            self.log.program(behind, copy)?;
            behind = behind.plus(copy_len);
        }

        // Steps 3 and 4: the state, and its predecessor's end.
        self.state.count = count;
        self.state.nonce = nonce;
        self.state.end = Some(behind);
        match body {
            Body::Payment(_) => {}
            Body::Notice(notice) => self.state.closed = notice.cause == Cause::Closing,
        }
        if slot == Slot::Erased {
            self.state.forget_pending();
        }
        self.expected = None;
        self.keep()?;
        self.started = false;
        Ok(sequence)
    }

    /// A nonce that is not the last one again.
    fn draw_nonce<R: TryCryptoRng + ?Sized>(&self, rng: &mut R) -> Result<[u8; NONCE_LEN], F, S> {
        let mut nonce = [0; NONCE_LEN];
        rng.try_fill_bytes(&mut nonce)
            .map_err(|_| JournalError::Random(RandomError::Failed))?;
        if nonce == self.state.nonce {
            return Err(JournalError::Random(RandomError::Repeated));
        }
        Ok(nonce)
    }

    /// Where `len` bytes go that stand in one page, and whether a page is opened for them.
    fn place(&mut self, len: usize) -> Result<(End, bool), F, S> {
        let word = length(self.log.word());
        let len = length(len);
        if let Some(end) = self.state.end
            && !self.due.torn
            && self.due.lost.is_none()
        {
            let skip = if self.started { word } else { 0 };
            let offset = end.offset.saturating_add(skip);
            let end = End { offset, ..end };
            if offset.saturating_add(len) <= self.log.page_len() {
                if self.started {
                    // Kept first: should power go in the very next word, the start after this
                    // one must not come to the same word again.
                    self.state.end = Some(end);
                    self.keep()?;
                    self.started = false;
                }
                return Ok((end, false));
            }
        }
        let page = match self.state.end {
            Some(end) => end.page.checked_add(1).ok_or(JournalError::Over)?,
            None => 0,
        };
        let offset = length(PAGE_HEADER_LEN);
        if offset.saturating_add(len) > self.log.page_len() {
            return Err(JournalError::Geometry);
        }
        self.check_reclaim(page)?;
        Ok((End { page, offset }, true))
    }

    /// Whether the page whose place `page` takes holds nothing that the host lacks, and nothing
    /// of the open batch.
    fn check_reclaim(&mut self, page: u64) -> Result<(), F, S> {
        let (Some(old), Some(end)) = (page.checked_sub(self.log.pages()), self.state.end) else {
            return Ok(());
        };
        let journal = self.state.journal;
        let below = self
            .log
            .bound_of(old, end.page, journal, self.state.count)?;
        let kept = self.state.batch.unwrap_or(u64::MAX);
        if below > self.state.uploaded.min(kept) {
            return Err(JournalError::Full);
        }
        Ok(())
    }
}

impl<F, S> fmt::Debug for Journal<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("identity", &self.state.identity)
            .field("count", &self.state.count)
            .field("uploaded", &self.state.uploaded)
            .finish_non_exhaustive()
    }
}

/// An upload under way. Items come one at a time; sent one after the other they are the upload.
#[derive(Debug)]
pub struct Upload<'j, F, S> {
    journal: &'j mut Journal<F, S>,
    first: u64,
    next: u64,
    place: End,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Frames,
    Done,
}

impl<F: PagedFlash, S: StateStore> Upload<'_, F, S> {
    /// Puts the next item to the front of `out` and gives its length; `None` behind the trailer.
    ///
    /// # Errors
    /// Errors of the flash; the call can be repeated.
    pub fn next(&mut self, out: &mut [u8; FRAME_MAX_LEN]) -> Result<Option<usize>, F, S> {
        match self.stage {
            Stage::Done => Ok(None),
            Stage::Header => {
                let state = &self.journal.state;
                let mut header = [0; HEADER_MAX_LEN];
                let len = write_header(&mut header, state.journal, &state.identity, self.first)
                    .map_err(|_| JournalError::State)?;
                self.stage = Stage::Frames;
                Ok(Some(copy(header.get(..len).unwrap_or_default(), out)))
            }
            Stage::Frames if self.next >= self.journal.state.count => self.trailer(out).map(Some),
            Stage::Frames => self.frame(out).map(Some),
        }
    }

    fn frame(&mut self, out: &mut [u8; FRAME_MAX_LEN]) -> Result<usize, F, S> {
        let Journal { log, state, .. } = &mut *self.journal;
        let found = find(log, state, self.place, self.next, out)?;
        match found {
            Some(found) if found.sequence == self.next => {
                self.place = found.behind();
                self.next = found.sequence.saturating_add(1);
                Ok(found.len)
            }
            // The frame behind the gap is found again by the next call.
            other => {
                let until = other.map_or(state.count, |found| found.sequence);
                let gap = write_gap(state.journal, self.next, until.saturating_sub(self.next))
                    .map_err(|_| JournalError::State)?;
                self.next = until;
                Ok(copy(&gap, out))
            }
        }
    }

    fn trailer(&mut self, out: &mut [u8; FRAME_MAX_LEN]) -> Result<usize, F, S> {
        let state = &self.journal.state;
        let trailer = write_trailer(state.journal, state.count, state.aggregate.0.expose())
            .map_err(|_| JournalError::State)?;
        self.journal.expected = Some(receipt(&state.chain, state.count, &state.aggregate));
        self.stage = Stage::Done;
        Ok(copy(&trailer, out))
    }
}

/// A length within a page, which fits.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn copy(item: &[u8], out: &mut [u8; FRAME_MAX_LEN]) -> usize {
    if let Some(place) = out.get_mut(..item.len()) {
        place.copy_from_slice(item);
    }
    item.len()
}

/// Seals `text` behind the clear part and puts tag and CRC there.
fn seal(
    frame: &mut [u8],
    clear_len: usize,
    text: &[u8],
    key: &Secret<32>,
    nonce: &[u8; NONCE_LEN],
) -> Option<[u8; TAG_LEN]> {
    let (aad, rest) = frame.split_at_mut_checked(clear_len)?;
    let (sealed, rest) = rest.split_at_mut_checked(text.len())?;
    sealed.copy_from_slice(text);
    let Ok(tag) = aead::seal(key, nonce, aad, sealed) else {
        sealed.zeroize();
        return None;
    };
    *rest.first_chunk_mut()? = tag;
    put_crc(frame).ok()?;
    Some(tag)
}

/// The page in which a frame stands, as far as the headers say.
fn locate<F: PagedFlash, S>(
    log: &mut Log<F>,
    state: &State,
    sequence: u64,
) -> core::result::Result<End, JournalError<F::Error, S>> {
    let offset = length(PAGE_HEADER_LEN);
    let last = state.end.map_or(0, |end| end.page);
    let oldest = last.saturating_add(1).saturating_sub(log.pages());
    // Newest first: what is asked for is mostly new.
    for page in (oldest..=last).rev() {
        if let Some(first) = log.first_of(page, state.journal)?
            && first <= sequence
        {
            return Ok(End { page, offset });
        }
    }
    Ok(End {
        page: oldest,
        offset,
    })
}

/// The first frame from `sequence` on that stands at `place` or behind it.
fn find<F: PagedFlash, S>(
    log: &mut Log<F>,
    state: &State,
    place: End,
    sequence: u64,
    buffer: &mut [u8; FRAME_MAX_LEN],
) -> core::result::Result<Option<Found>, JournalError<F::Error, S>> {
    let Some(end) = state.end else {
        return Ok(None);
    };
    let mut place = place;
    while place.page <= end.page {
        let last = place.page == end.page;
        let limit = if last { end.offset } else { log.page_len() };
        let below = log.bound_of(place.page, end.page, state.journal, state.count)?;
        let sought = Sought {
            journal: state.journal,
            from: sequence,
            below,
        };
        if sequence < below
            && let Some(found) = log.find_in_page(place, limit, &sought, buffer)?
        {
            return Ok(Some(found));
        }
        place = End {
            page: place.page.saturating_add(1),
            offset: length(PAGE_HEADER_LEN),
        };
    }
    Ok(None)
}

/// How many pages that belong to the log have no readable header. The oldest one is not counted
/// once the host has it: a cut can have come while its place was made ready for the next page.
fn damaged_pages<F: PagedFlash, S>(
    log: &mut Log<F>,
    state: &State,
    end: End,
) -> core::result::Result<u32, JournalError<F::Error, S>> {
    let pages = log.pages();
    let oldest = end.page.saturating_add(1).saturating_sub(pages);
    let mut damaged = 0;
    for page in oldest..=end.page {
        if log.first_of(page, state.journal)?.is_some() {
            continue;
        }
        let below = log.bound_of(page, end.page, state.journal, state.count)?;
        let reused = page == oldest && end.page.saturating_add(1) >= pages;
        if !reused || below > state.uploaded {
            damaged += 1;
        }
    }
    Ok(damaged)
}

/// The acknowledged frames that are missing from the last page.
fn lost_in_last_page<F: PagedFlash, S>(
    log: &mut Log<F>,
    state: &State,
    end: End,
) -> core::result::Result<Option<Range>, JournalError<F::Error, S>> {
    let mut buffer = [0; FRAME_MAX_LEN];
    let mut place = End {
        offset: length(PAGE_HEADER_LEN),
        ..end
    };
    let mut expected = log.first_of(end.page, state.journal)?;
    let mut lost: Option<Range> = None;
    let mut note = |from: u64, below: u64| {
        let first = lost.map_or(from, |(first, _)| first);
        lost = Some((first, below.saturating_sub(first)));
    };
    loop {
        let sought = Sought {
            journal: state.journal,
            from: expected.unwrap_or(0),
            below: state.count,
        };
        let found = log.find_in_page(place, end.offset, &sought, &mut buffer)?;
        let Some(found) = found else {
            break;
        };
        if let Some(from) = expected.filter(|&from| from < found.sequence) {
            note(from, found.sequence);
        }
        expected = Some(found.sequence.saturating_add(1));
        place = found.behind();
    }
    // The last page holds the last frame at least.
    let expected = expected.unwrap_or(state.count.saturating_sub(1));
    if expected < state.count {
        note(expected, state.count);
    }
    Ok(lost)
}
