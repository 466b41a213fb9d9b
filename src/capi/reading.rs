//! The host's side of the journal: chain keys for terminals, and reading uploads.

use super::call::{Plain, border};
use super::callbacks::{Giver, cardvault_source};
use super::card::cardvault_card;
use super::handle::{Handle, fits};
use super::journal::{CARDVAULT_TERMINAL_MAX_LEN, cardvault_frame, cardvault_receipt};
use super::result::{Refusal, cardvault_result};
use super::ring::cardvault_ring;
use crate::UnixSeconds;
use crate::journal::{FaultKind, POSITION_LEN, Position, ReadError, Reading, upload_identity};

/// Size of a reading, in bytes.
pub const CARDVAULT_READING_SIZE: usize = 9216;
/// Length of a position, in bytes.
pub const CARDVAULT_POSITION_LEN: usize = 40;

const _: () = assert!(CARDVAULT_POSITION_LEN == POSITION_LEN);

/// HOST ONLY. Reads one upload from front to back. In the caller's memory, which must be zeroed
/// before its first use; closing wipes it. One call at a time.
#[repr(C, align(16))]
pub struct cardvault_reading {
    opaque: [u8; CARDVAULT_READING_SIZE],
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_reading {
    type Inner = Reading<Giver>;
    const KIND: usize = super::CARDVAULT_KIND_READING as usize;
}

const _: () = fits::<cardvault_reading>();

/// Whose journal it is. Not secret.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct cardvault_identity {
    /// The epoch: raised whenever the terminal gets a new chain key.
    pub epoch: u32,
    /// The version of the base key.
    pub base_version: u32,
    /// Length of the terminal id, 1 to 16.
    pub terminal_len: u8,
    /// The terminal id.
    pub terminal: [u8; CARDVAULT_TERMINAL_MAX_LEN],
}

/// A frame that was verified, or a fault.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_verified {
    /// What the frame says. Its pointers go into the reading and hold until the next call on it.
    /// After a fault only the sequence number that was expected is there.
    pub frame: cardvault_frame,
    /// Offset in the upload, in bytes.
    pub offset: u64,
    /// After `FAULT_DROPPED` and `FAULT_LOST`, how many frames are missing.
    pub missing: u64,
    /// 1 if a frame with this number was verified before, else 0.
    pub again: u8,
    /// 1 if `card` was made, else 0.
    pub has_card: u8,
}

/// What an upload came to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_outcome {
    /// For the terminal, once the entries are kept. After faults it tells the terminal to forget
    /// what could not be read: a person's decision.
    pub receipt: cardvault_receipt,
    /// To be kept, once the entries are; the next upload is held against it.
    pub position: [u8; CARDVAULT_POSITION_LEN],
    /// 1 if no fault was found, else 0.
    pub clean: u8,
}

// SAFETY: integers.
unsafe impl Plain for cardvault_identity {}
// SAFETY: integers and pointers.
unsafe impl Plain for cardvault_verified {}
// SAFETY: integers.
unsafe impl Plain for cardvault_outcome {}

/// HOST ONLY. Makes the chain key of a terminal for an epoch, under the journal key of the domain
/// that is active at `now`, into `out` (`CARDVAULT_CHAIN_KEY_LEN` bytes), and the number of that
/// key into `base_version`. Give each epoch of a terminal out once. The caller wipes `out` once it
/// was sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_chain_key(
    ring: *const cardvault_ring,
    domain: *const u8,
    domain_len: usize,
    now: u64,
    terminal: *const u8,
    terminal_len: usize,
    epoch: u32,
    out: *mut u8,
    out_len: usize,
    base_version: *mut u32,
) -> cardvault_result {
    border!(|call| {
        let room = call.room(out, out_len)?;
        let base_version = call.out(base_version)?;
        let domain = call.domain(domain, domain_len)?;
        let terminal = call.bytes(terminal, terminal_len)?;
        let ring = call.shared(ring)?;
        let key = ring.journal_key(&domain, UnixSeconds(now))?;
        let chain_key = key.chain_key(terminal, epoch)?;
        room.put(chain_key.expose())?;
        base_version.set(chain_key.identity().base_version());
        Ok(())
    })
}

/// HOST ONLY. The identity that an upload claims, from its first 64 bytes: to choose the key by.
/// Nothing is verified. `CARDVAULT_RESULT_FAULT_HEADER` if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_upload_identity(
    upload: *const u8,
    upload_len: usize,
    identity: *mut cardvault_identity,
) -> cardvault_result {
    border!(|call| {
        let out = call.out(identity)?;
        let found = upload_identity(call.bytes(upload, upload_len)?);
        let (found, _) = found.ok_or(cardvault_result::FAULT_HEADER)?;
        let mut identity = cardvault_identity {
            epoch: found.epoch(),
            base_version: found.base_version(),
            terminal_len: u8::try_from(found.terminal().len()).unwrap_or(0),
            terminal: [0; CARDVAULT_TERMINAL_MAX_LEN],
        };
        for (to, from) in identity.terminal.iter_mut().zip(found.terminal()) {
            *to = *from;
        }
        out.set(identity);
        Ok(())
    })
}

/// HOST ONLY. Begins to read the upload of a terminal, held against what was verified before:
/// `since` has `CARDVAULT_POSITION_LEN` bytes, null before the first upload. `go_on` is 0 to stop at
/// the first fault, 1 to report each. `source` is copied; its context must live as long as the
/// reading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_reading_open(
    reading: *mut cardvault_reading,
    ring: *const cardvault_ring,
    domain: *const u8,
    domain_len: usize,
    identity: *const cardvault_identity,
    since: *const u8,
    source: *const cardvault_source,
    go_on: u32,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(reading)?;
        let domain = call.domain(domain, domain_len)?;
        let whose = call.read(identity)?;
        let terminal = whose.terminal.get(..usize::from(whose.terminal_len));
        let terminal = terminal.ok_or(cardvault_result::TERMINAL)?;
        let terminal = (terminal.as_ptr(), terminal.len());
        let identity = call.identity(terminal, whose.epoch, whose.base_version)?;
        let since = if since.is_null() {
            Position::START
        } else {
            Position::from_bytes(&call.array(since)?)
        };
        if go_on > 1 {
            return Err(cardvault_result::VALUE.into());
        }
        let source = call.source(source)?;
        let ring = call.shared(ring)?;
        let key = ring.journal_key_of(&domain, whose.base_version)?;
        let mut made = Reading::new(&key, &identity, &since, source)?;
        if go_on == 1 {
            made.go_on();
        }
        place.put(made);
        Ok(())
    })
}

/// HOST ONLY. The next frame: `verified` is written after `CARDVAULT_RESULT_OK` and after every
/// `CARDVAULT_RESULT_FAULT`; `card` is made if `verified->has_card` is 1, and the caller closes it.
/// `CARDVAULT_RESULT_END` at the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_reading_next(
    reading: *mut cardvault_reading,
    verified: *mut cardvault_verified,
    card: *mut cardvault_card,
) -> cardvault_result {
    border!(|call| {
        let out = call.out(verified)?;
        let place = call.place(card)?;
        let mut reading = call.exclusive(reading)?;
        match reading.next() {
            None => Err(cardvault_result::END.into()),
            Some(Ok(found)) => {
                out.set(cardvault_verified {
                    frame: cardvault_frame::of(&found.frame),
                    offset: found.offset,
                    missing: 0,
                    again: u8::from(found.again),
                    has_card: u8::from(found.card.is_some()),
                });
                if let Some(card) = found.card {
                    place.put(card.into());
                }
                Ok(())
            }
            Some(Err(error)) => {
                if let ReadError::Fault(fault) = error {
                    let missing = match fault.kind {
                        FaultKind::Dropped { count } | FaultKind::Lost { count } => count,
                        _ => 0,
                    };
                    out.set(cardvault_verified {
                        frame: cardvault_frame::nothing(fault.sequence),
                        offset: fault.offset,
                        missing,
                        again: 0,
                        has_card: 0,
                    });
                }
                Err(Refusal::from(error))
            }
        }
    })
}

/// HOST ONLY. What the upload came to; `CARDVAULT_RESULT_NOT_FOUND` before its trailer was read, or
/// if it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_reading_outcome(
    reading: *const cardvault_reading,
    outcome: *mut cardvault_outcome,
) -> cardvault_result {
    border!(|call| {
        let out = call.out(outcome)?;
        let outcome = call.shared(reading)?.outcome();
        let outcome = outcome.ok_or(cardvault_result::NOT_FOUND)?;
        out.set(cardvault_outcome {
            receipt: cardvault_receipt {
                count: outcome.receipt.count,
                proof: outcome.receipt.proof,
            },
            position: outcome.position.to_bytes(),
            clean: u8::from(outcome.clean),
        });
        Ok(())
    })
}

/// Ends a reading and wipes its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_reading_close(
    reading: *mut cardvault_reading,
) -> cardvault_result {
    border!(|call| call.close(reading))
}
