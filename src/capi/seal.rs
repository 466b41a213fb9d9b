//! Sealing card records for storage, and opening them.

use super::call::{Call, Plain, border};
use super::callbacks::{Random, cardvault_random};
use super::card::cardvault_card;
use super::handle::{Handle, fits};
use super::result::{Refusal, cardvault_result};
use super::ring::cardvault_ring;
use crate::UnixSeconds;
use crate::seal::{Binding, NonceSource, Opener, SEALED_RECORD_LEN, Sealer, sealed_key_id};

/// Size of a sealer, in bytes.
pub const CARDVAULT_SEALER_SIZE: usize = 1536;
/// Size of an opener, in bytes.
pub const CARDVAULT_OPENER_SIZE: usize = 1536;
/// Length of a sealed card record, in bytes.
pub const CARDVAULT_SEALED_RECORD_LEN: usize = 73;

const _: () = assert!(CARDVAULT_SEALED_RECORD_LEN == SEALED_RECORD_LEN);

/// Seals card records of one domain under one key. In the caller's memory, which must be zeroed
/// before its first use; closing wipes it. One call at a time: each thread has its own.
#[repr(C, align(16))]
pub struct cardvault_sealer {
    opaque: [u8; CARDVAULT_SEALER_SIZE],
}

/// What lies in a [`cardvault_sealer`].
pub(super) struct Sealing {
    sealer: Sealer,
    nonces: NonceSource<Random>,
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_sealer {
    type Inner = Sealing;
    const KIND: usize = super::CARDVAULT_KIND_SEALER as usize;
}

const _: () = fits::<cardvault_sealer>();

/// Opens card records of one domain under one key; cannot seal. In the caller's memory, which must
/// be zeroed before its first use; closing wipes it. Threads may share one.
#[repr(C, align(16))]
pub struct cardvault_opener {
    opaque: [u8; CARDVAULT_OPENER_SIZE],
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_opener {
    type Inner = Opener;
    const KIND: usize = super::CARDVAULT_KIND_OPENER as usize;
}

const _: () = fits::<cardvault_opener>();

/// What a record is sealed together with: the clear part of its row. A record opens with the same
/// bytes alone. Each part may be null with length 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_binding {
    /// The row's token.
    pub token: *const u8,
    /// At most 64.
    pub token_len: usize,
    /// The row's fingerprint.
    pub fingerprint: *const u8,
    /// At most 64.
    pub fingerprint_len: usize,
    /// The row's other clear columns in one canonical encoding.
    pub columns: *const u8,
    /// At most 128.
    pub columns_len: usize,
}

// SAFETY: pointers that may be null and integers.
unsafe impl Plain for cardvault_binding {}

impl Call {
    /// A null pointer stands for an empty binding.
    fn binding(&self, at: *const cardvault_binding) -> Result<Binding<'_>, Refusal> {
        if at.is_null() {
            return Ok(Binding::default());
        }
        let binding = self.read(at)?;
        Ok(Binding {
            token: self.bytes(binding.token, binding.token_len)?,
            fingerprint: self.bytes(binding.fingerprint, binding.fingerprint_len)?,
            columns: self.bytes(binding.columns, binding.columns_len)?,
        })
    }
}

/// Makes a sealer with the active key of a domain. `random` is copied; its context must live as
/// long as the sealer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_sealer_open(
    sealer: *mut cardvault_sealer,
    ring: *const cardvault_ring,
    domain: *const u8,
    domain_len: usize,
    now: u64,
    random: *const cardvault_random,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(sealer)?;
        let random = call.random(random)?;
        let domain = call.domain(domain, domain_len)?;
        let ring = call.shared(ring)?;
        place.put(Sealing {
            sealer: Sealer::new(&ring.card_key(&domain, UnixSeconds(now))?),
            nonces: NonceSource::new(random),
        });
        Ok(())
    })
}

/// Seals a card into `out`, of at least `CARDVAULT_SEALED_RECORD_LEN` bytes. `binding` may be
/// null. `now` is held against the key's cryptoperiod.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_sealer_seal(
    sealer: *mut cardvault_sealer,
    card: *const cardvault_card,
    binding: *const cardvault_binding,
    now: u64,
    out: *mut u8,
    out_len: usize,
) -> cardvault_result {
    border!(|call| {
        let room = call.room(out, out_len)?;
        room.holds(SEALED_RECORD_LEN)?;
        let binding = call.binding(binding)?;
        let card = call.shared(card)?;
        let mut sealer = call.exclusive(sealer)?;
        let Sealing { sealer, nonces } = &mut *sealer;
        let mut sealed = [0; SEALED_RECORD_LEN];
        sealer.seal(
            &card.record,
            &binding,
            UnixSeconds(now),
            nonces,
            &mut sealed,
        )?;
        room.put(&sealed)
    })
}

/// Ends a sealer and wipes its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_sealer_close(sealer: *mut cardvault_sealer) -> cardvault_result {
    border!(|call| call.close(sealer))
}

/// Makes an opener with the key of a domain that this sealed record names. It opens all records
/// under the same key; for one under another key it says `CARDVAULT_RESULT_OTHER_KEY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_opener_open(
    opener: *mut cardvault_opener,
    ring: *const cardvault_ring,
    domain: *const u8,
    domain_len: usize,
    sealed: *const u8,
    sealed_len: usize,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(opener)?;
        let id = sealed_key_id(call.bytes(sealed, sealed_len)?)?;
        let domain = call.domain(domain, domain_len)?;
        let ring = call.shared(ring)?;
        place.put(Opener::new(&ring.card_key_for(&domain, &id)?));
        Ok(())
    })
}

/// Opens a sealed record into `card`, which the caller closes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_opener_unseal(
    opener: *const cardvault_opener,
    sealed: *const u8,
    sealed_len: usize,
    binding: *const cardvault_binding,
    card: *mut cardvault_card,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(card)?;
        let sealed = call.bytes(sealed, sealed_len)?;
        let binding = call.binding(binding)?;
        let record = call.shared(opener)?.open(sealed, &binding)?;
        place.put(record.into());
        Ok(())
    })
}

/// Ends an opener and wipes its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_opener_close(opener: *mut cardvault_opener) -> cardvault_result {
    border!(|call| call.close(opener))
}
