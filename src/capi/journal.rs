//! The terminal's journal: over the caller's flash and memory for the state.

use core::ffi::c_char;

use super::call::{Call, Plain, border};
use super::callbacks::{
    Flash, State, cardvault_flash, cardvault_memory, cardvault_random, cardvault_sink,
};
use super::card::cardvault_card;
use super::handle::{Handle, fits};
use super::result::{Refusal, cardvault_result};
use crate::card::TruncatedPan;
use crate::journal::{
    BATTERY_LEN, Body, Cause, ChainKey, Entry, FRAME_MAX_LEN, Frame, Identity, Journal,
    PAYMENT_MAX_LEN, RECEIPT_LEN, Receipt, SLOT_LEN, TERMINAL_MAX_LEN, TOKEN_MAX_LEN,
};
use crate::{Secret, UnixSeconds};

/// Size of a journal, in bytes.
pub const CARDVAULT_JOURNAL_SIZE: usize = 768;
/// Battery-backed memory that a state takes, in bytes.
pub const CARDVAULT_BATTERY_LEN: usize = 512;
/// The shortest page of a flash that keeps a state, in bytes.
pub const CARDVAULT_STATE_SLOT_LEN: usize = 256;
/// Length of a chain key, in bytes.
pub const CARDVAULT_CHAIN_KEY_LEN: usize = 32;
/// The longest terminal id, in bytes. The shortest is 1.
pub const CARDVAULT_TERMINAL_MAX_LEN: usize = 16;
/// The longest frame and the longest item of an upload, in bytes.
pub const CARDVAULT_FRAME_MAX_LEN: usize = 512;
/// The longest payment fields of an entry, in bytes.
pub const CARDVAULT_PAYMENT_MAX_LEN: usize = 320;
/// The longest token of an entry, in bytes.
pub const CARDVAULT_ENTRY_TOKEN_MAX_LEN: usize = 32;
/// Length of a receipt's proof, in bytes.
pub const CARDVAULT_RECEIPT_LEN: usize = 16;
/// A frame is a payment.
pub const CARDVAULT_FRAME_PAYMENT: u32 = 1;
/// A frame is a notice of the terminal about its own journal.
pub const CARDVAULT_FRAME_NOTICE: u32 = 2;
/// Why a notice was written: a frame was torn by a power cut.
pub const CARDVAULT_CAUSE_BURN: u32 = 1;
/// Why a notice was written: acknowledged frames cannot be read any more.
pub const CARDVAULT_CAUSE_LOSS: u32 = 2;
/// Why a notice was written: a checkpoint was asked for.
pub const CARDVAULT_CAUSE_CHECKPOINT: u32 = 3;
/// Why a notice was written: the epoch is over.
pub const CARDVAULT_CAUSE_CLOSING: u32 = 4;

const _: () = assert!(CARDVAULT_BATTERY_LEN == BATTERY_LEN);
const _: () = assert!(CARDVAULT_STATE_SLOT_LEN == SLOT_LEN);
const _: () = assert!(CARDVAULT_TERMINAL_MAX_LEN == TERMINAL_MAX_LEN);
const _: () = assert!(CARDVAULT_FRAME_MAX_LEN == FRAME_MAX_LEN);
const _: () = assert!(CARDVAULT_PAYMENT_MAX_LEN == PAYMENT_MAX_LEN);
const _: () = assert!(CARDVAULT_ENTRY_TOKEN_MAX_LEN == TOKEN_MAX_LEN);
const _: () = assert!(CARDVAULT_RECEIPT_LEN == RECEIPT_LEN);

/// The journal of one terminal in one epoch. In the caller's memory, which must be zeroed before
/// its first use; closing wipes it. One call at a time.
///
/// When `cardvault_journal_append` returns `CARDVAULT_RESULT_OK`, the entry survives a power cut,
/// and nothing at the terminal opens its card any more. After `FLASH_FAILED`, `STATE_FAILED`,
/// `WORN` or `POISONED`, close it and open it again: that is the only recovery there is, and the
/// one after a power cut.
#[repr(C, align(16))]
pub struct cardvault_journal {
    opaque: [u8; CARDVAULT_JOURNAL_SIZE],
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_journal {
    type Inner = Journal<Flash, State>;
    const KIND: usize = super::CARDVAULT_KIND_JOURNAL as usize;
}

const _: () = fits::<cardvault_journal>();

/// Where a journal keeps its frames and its state. Everything is copied; the contexts must live
/// as long as the journal.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_storage {
    /// The frames. Not null.
    pub log: *const cardvault_flash,
    /// The state in flash of its own; null if `state_memory` is given.
    pub state_flash: *const cardvault_flash,
    /// The state in battery-backed memory; null if `state_flash` is given.
    pub state_memory: *const cardvault_memory,
}

/// One payment event, to be written. The parts may be null with length 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_entry {
    /// The terminal's time, in seconds since 1970.
    pub time: u64,
    /// The payment's fields, in clear.
    pub payment: *const u8,
    /// At most `CARDVAULT_PAYMENT_MAX_LEN`.
    pub payment_len: usize,
    /// The text of `cardvault_card_truncate`, in clear.
    pub truncated: *const c_char,
    /// Its length without a zero.
    pub truncated_len: usize,
    /// The token that the host issued, in clear.
    pub token: *const u8,
    /// At most `CARDVAULT_ENTRY_TOKEN_MAX_LEN`.
    pub token_len: usize,
    /// The card, which the host alone can read; null if none was used.
    pub card: *const cardvault_card,
}

/// What a journal stands at, and what opening it found.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct cardvault_journal_status {
    /// How many frames were acknowledged: the sequence number of the next one.
    pub count: u64,
    /// How many of them the host has confirmed.
    pub uploaded: u64,
    /// The first acknowledged frame at the end of the log that cannot be read.
    pub lost_first: u64,
    /// How many cannot be read; 0 if all can. A notice will say so.
    pub lost_count: u64,
    /// How many pages of the log have a damaged header.
    pub damaged_pages: u32,
    /// The epoch.
    pub epoch: u32,
    /// The version of the base key.
    pub base_version: u32,
    /// 1 if a frame was torn by a power cut before it was acknowledged, else 0.
    pub torn: u8,
    /// 1 if the closing entry was written, else 0.
    pub closed: u8,
    /// Length of the terminal id.
    pub terminal_len: u8,
    /// The terminal id.
    pub terminal: [u8; CARDVAULT_TERMINAL_MAX_LEN],
}

/// The host's word that it has every frame below a count.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct cardvault_receipt {
    /// How many frames the host has, from 0.
    pub count: u64,
    /// The proof.
    pub proof: [u8; CARDVAULT_RECEIPT_LEN],
}

/// What a frame says in clear.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_frame {
    /// Its sequence number.
    pub sequence: u64,
    /// The terminal's time, in seconds since 1970.
    pub time: u64,
    /// In a notice, the first sequence number that it concerns.
    pub first: u64,
    /// In a notice, how many it concerns.
    pub count: u64,
    /// `CARDVAULT_FRAME_PAYMENT` or `CARDVAULT_FRAME_NOTICE`.
    pub kind: u32,
    /// In a notice, one of the `CARDVAULT_CAUSE` numbers; else 0.
    pub cause: u32,
    /// The payment's fields, inside the memory that the function names.
    pub payment: *const u8,
    /// Their length.
    pub payment_len: usize,
    /// The token, inside the same memory.
    pub token: *const u8,
    /// Its length.
    pub token_len: usize,
    /// The truncated card number with a zero behind it; empty if there is none.
    pub truncated: [c_char; 20],
    /// 1 if a card is sealed in it, else 0.
    pub has_card: u8,
}

// SAFETY: pointers that may be null.
unsafe impl Plain for cardvault_storage {}
// SAFETY: pointers that may be null and integers.
unsafe impl Plain for cardvault_entry {}
// SAFETY: integers.
unsafe impl Plain for cardvault_journal_status {}
// SAFETY: integers.
unsafe impl Plain for cardvault_receipt {}
// SAFETY: pointers that may be null and integers.
unsafe impl Plain for cardvault_frame {}

impl cardvault_frame {
    /// A sequence number alone.
    pub(super) const fn nothing(sequence: u64) -> Self {
        Self {
            sequence,
            time: 0,
            first: 0,
            count: 0,
            kind: 0,
            cause: 0,
            payment: core::ptr::null(),
            payment_len: 0,
            token: core::ptr::null(),
            token_len: 0,
            truncated: [0; 20],
            has_card: 0,
        }
    }

    /// What `frame` says; its pointers go to where `frame` was read from.
    pub(super) fn of(frame: &Frame<'_>) -> Self {
        let mut out = Self::nothing(frame.sequence);
        out.time = frame.time.0;
        match &frame.body {
            Body::Payment(part) => {
                out.kind = CARDVAULT_FRAME_PAYMENT;
                out.payment = part.payment.as_ptr();
                out.payment_len = part.payment.len();
                out.token = part.token.as_ptr();
                out.token_len = part.token.len();
                out.has_card = u8::from(part.has_card);
                if let Some(truncated) = &part.truncated {
                    let text = truncated.as_str().bytes();
                    for (place, byte) in out.truncated.iter_mut().zip(text) {
                        *place = c_char::from_ne_bytes([byte]);
                    }
                }
            }
            Body::Notice(notice) => {
                out.kind = CARDVAULT_FRAME_NOTICE;
                out.first = notice.first;
                out.count = notice.count;
                out.cause = match notice.cause {
                    Cause::Burn => CARDVAULT_CAUSE_BURN,
                    Cause::Loss => CARDVAULT_CAUSE_LOSS,
                    Cause::Checkpoint => CARDVAULT_CAUSE_CHECKPOINT,
                    Cause::Closing => CARDVAULT_CAUSE_CLOSING,
                };
            }
        }
        out
    }
}

impl Call {
    fn storage(&self, at: *const cardvault_storage) -> Result<(Flash, State), Refusal> {
        let storage = self.read(at)?;
        let log = self.flash(storage.log)?;
        let state = match (
            storage.state_flash.is_null(),
            storage.state_memory.is_null(),
        ) {
            (false, true) => State::in_flash(self.flash(storage.state_flash)?)?,
            (true, false) => State::in_battery(self.battery(storage.state_memory)?),
            (true, true) => return Err(cardvault_result::NULL_POINTER.into()),
            (false, false) => return Err(cardvault_result::VALUE.into()),
        };
        Ok((log, state))
    }

    pub(super) fn identity(
        &self,
        (terminal, terminal_len): (*const u8, usize),
        epoch: u32,
        base_version: u32,
    ) -> Result<Identity, Refusal> {
        let terminal = self.bytes(terminal, terminal_len)?;
        Ok(Identity::new(terminal, epoch, base_version)?)
    }
}

/// Begins a journal with the chain key that the host made for this terminal and epoch
/// (`cardvault_chain_key`). `epoch` and `base_version` are the host's. The caller wipes its chain
/// key afterwards: nothing at the terminal may hold it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_create(
    journal: *mut cardvault_journal,
    storage: *const cardvault_storage,
    chain_key: *const u8,
    terminal: *const u8,
    terminal_len: usize,
    epoch: u32,
    base_version: u32,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(journal)?;
        let (log, state) = call.storage(storage)?;
        let identity = call.identity((terminal, terminal_len), epoch, base_version)?;
        let key = ChainKey::new(Secret::new(call.array(chain_key)?), identity);
        place.put(Journal::create(log, state, key)?);
        Ok(())
    })
}

/// Opens the journal after a start, whatever the end of the last run was. Writes no frame.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_open(
    journal: *mut cardvault_journal,
    storage: *const cardvault_storage,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(journal)?;
        let (log, state) = call.storage(storage)?;
        place.put(Journal::open(log, state)?);
        Ok(())
    })
}

/// Ends the object and wipes its memory; the journal itself stays in flash.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_close(
    journal: *mut cardvault_journal,
) -> cardvault_result {
    border!(|call| call.close(journal))
}

/// What the journal stands at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_describe(
    journal: *const cardvault_journal,
    status: *mut cardvault_journal_status,
) -> cardvault_result {
    border!(|call| {
        let status = call.out(status)?;
        let journal = call.shared(journal)?;
        let identity = journal.identity();
        let recovery = journal.recovery();
        let (lost_first, lost_count) = recovery.lost.unwrap_or_default();
        let mut terminal = [0; CARDVAULT_TERMINAL_MAX_LEN];
        for (to, from) in terminal.iter_mut().zip(identity.terminal()) {
            *to = *from;
        }
        status.set(cardvault_journal_status {
            count: journal.count(),
            uploaded: journal.uploaded(),
            lost_first,
            lost_count,
            damaged_pages: recovery.damaged_pages,
            epoch: identity.epoch(),
            base_version: identity.base_version(),
            torn: u8::from(recovery.torn),
            closed: u8::from(journal.is_closed()),
            terminal_len: u8::try_from(identity.terminal().len()).unwrap_or(0),
            terminal,
        });
        Ok(())
    })
}

/// Writes an entry, erases the pending slot in the same step, and writes the entry's sequence
/// number to `sequence`, which may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_append(
    journal: *mut cardvault_journal,
    entry: *const cardvault_entry,
    random: *const cardvault_random,
    sequence: *mut u64,
) -> cardvault_result {
    border!(|call| call.append(journal, entry, random, sequence, false))
}

/// Writes the entry of a payment whose outcome is not known: as `cardvault_journal_append`, but the
/// pending slot stays as it is. After a power cut the entry has what a reversal names, and the slot
/// the card that it needs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_append_in_doubt(
    journal: *mut cardvault_journal,
    entry: *const cardvault_entry,
    random: *const cardvault_random,
    sequence: *mut u64,
) -> cardvault_result {
    border!(|call| call.append(journal, entry, random, sequence, true))
}

impl Call {
    fn append(
        &self,
        journal: *mut cardvault_journal,
        entry: *const cardvault_entry,
        random: *const cardvault_random,
        sequence: *mut u64,
        in_doubt: bool,
    ) -> Result<(), Refusal> {
        let sequence = self.optional(sequence)?;
        let entry = self.read(entry)?;
        let truncated = match self.text(entry.truncated, entry.truncated_len)? {
            [] => None,
            text => {
                let text = core::str::from_utf8(text);
                let text = text.map_err(|_| cardvault_result::TRUNCATED_TEXT)?;
                Some(text.parse::<TruncatedPan>()?)
            }
        };
        let card = if entry.card.is_null() {
            None
        } else {
            Some(self.shared(entry.card)?)
        };
        let entry = Entry {
            time: UnixSeconds(entry.time),
            payment: self.bytes(entry.payment, entry.payment_len)?,
            truncated,
            token: self.bytes(entry.token, entry.token_len)?,
            card: card.as_ref().map(|card| &card.record),
        };
        let mut random = self.random(random)?;
        let mut journal = self.exclusive(journal)?;
        let number = if in_doubt {
            journal.append_in_doubt(&entry, &mut random)?
        } else {
            journal.append(&entry, &mut random)?
        };
        if let Some(sequence) = sequence {
            sequence.set(number);
        }
        Ok(())
    }
}

/// Writes a checkpoint: the host can pick up the chain here behind a loss.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_checkpoint(
    journal: *mut cardvault_journal,
    time: u64,
    random: *const cardvault_random,
) -> cardvault_result {
    border!(|call| {
        let mut random = call.random(random)?;
        let mut journal = call.exclusive(journal)?;
        journal.checkpoint(UnixSeconds(time), &mut random)?;
        Ok(())
    })
}

/// Writes the closing entry: the journal can still be uploaded, nothing can be appended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_finish(
    journal: *mut cardvault_journal,
    time: u64,
    random: *const cardvault_random,
) -> cardvault_result {
    border!(|call| {
        let mut random = call.random(random)?;
        let mut journal = call.exclusive(journal)?;
        journal.close(UnixSeconds(time), &mut random)?;
        Ok(())
    })
}

/// Keeps the card of a payment whose outcome is not known yet, under a key of its own: after a
/// power cut the payment can be reversed. Whoever has the terminal can read this one card until
/// the outcome is appended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_open_pending(
    journal: *mut cardvault_journal,
    card: *const cardvault_card,
    random: *const cardvault_random,
) -> cardvault_result {
    border!(|call| {
        let mut random = call.random(random)?;
        let card = call.shared(card)?;
        let mut journal = call.exclusive(journal)?;
        journal.open_pending(&card.record, &mut random)?;
        Ok(())
    })
}

/// Gives the card of the open payment, which the caller closes; `CARDVAULT_RESULT_NOT_FOUND` if no
/// payment is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_pending(
    journal: *const cardvault_journal,
    card: *mut cardvault_card,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(card)?;
        let pending = call.shared(journal)?.pending()?;
        place.put(pending.ok_or(cardvault_result::NOT_FOUND)?.into());
        Ok(())
    })
}

/// Erases the pending slot without an entry: the payment was never sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_clear_pending(
    journal: *mut cardvault_journal,
) -> cardvault_result {
    border!(|call| {
        call.exclusive(journal)?.clear_pending()?;
        Ok(())
    })
}

/// Opens a batch: until it is closed the terminal, and whoever has it, can open the cards of its
/// entries. Off unless it is called; the manual of the journal says what a thief then gets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_open_batch(
    journal: *mut cardvault_journal,
    random: *const cardvault_random,
) -> cardvault_result {
    border!(|call| {
        let mut random = call.random(random)?;
        call.exclusive(journal)?.open_batch(&mut random)?;
        Ok(())
    })
}

/// Gives the card of an entry of the open batch, which the caller closes;
/// `CARDVAULT_RESULT_NOT_FOUND` if no batch is open, or the entry is none of it or has no card.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_batch_card(
    journal: *mut cardvault_journal,
    sequence: u64,
    card: *mut cardvault_card,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(card)?;
        let found = call.exclusive(journal)?.batch_card(sequence)?;
        place.put(found.ok_or(cardvault_result::NOT_FOUND)?.into());
        Ok(())
    })
}

/// Closes the open batch, if there is one: its key is erased, and no card of it opens any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_close_batch(
    journal: *mut cardvault_journal,
) -> cardvault_result {
    border!(|call| {
        call.exclusive(journal)?.close_batch()?;
        Ok(())
    })
}

/// Reads the clear part of one frame into `frame`, whose pointers go to `buffer`: at least
/// `CARDVAULT_FRAME_MAX_LEN` bytes. `CARDVAULT_RESULT_NOT_FOUND` if the frame is not in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_read(
    journal: *mut cardvault_journal,
    sequence: u64,
    buffer: *mut u8,
    buffer_len: usize,
    frame: *mut cardvault_frame,
) -> cardvault_result {
    border!(|call| {
        let out = call.out(frame)?;
        let room = call.room(buffer, buffer_len)?;
        room.holds(FRAME_MAX_LEN)?;
        let mut bytes = [0; FRAME_MAX_LEN];
        let mut journal = call.exclusive(journal)?;
        let found = journal.read(sequence, &mut bytes)?;
        let mut frame = cardvault_frame::of(&found.ok_or(cardvault_result::NOT_FOUND)?);
        let start = bytes.as_ptr().addr();
        for part in [&mut frame.payment, &mut frame.token] {
            if !part.is_null() {
                *part = buffer.wrapping_add(part.addr().wrapping_sub(start));
            }
        }
        room.put(&bytes)?;
        out.set(frame);
        Ok(())
    })
}

/// Hands an upload to `sink`, item after item: everything that the host has not confirmed. One
/// after the other the items are what `cardvault_reading_open` reads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_upload(
    journal: *mut cardvault_journal,
    sink: *const cardvault_sink,
) -> cardvault_result {
    border!(|call| {
        let mut sink = call.sink(sink)?;
        let mut journal = call.exclusive(journal)?;
        let mut upload = journal.upload()?;
        let mut item = [0; FRAME_MAX_LEN];
        while let Some(len) = upload.next(&mut item)? {
            sink.take(item.get(..len).unwrap_or_default())?;
        }
        Ok(())
    })
}

/// Takes the host's receipt for the last upload: the frames below may be erased when their pages
/// are needed. Constant time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_journal_confirm(
    journal: *mut cardvault_journal,
    receipt: *const cardvault_receipt,
) -> cardvault_result {
    border!(|call| {
        let receipt = call.read(receipt)?;
        call.exclusive(journal)?.confirm(&Receipt {
            count: receipt.count,
            proof: receipt.proof,
        })?;
        Ok(())
    })
}
