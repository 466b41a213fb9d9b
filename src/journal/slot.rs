//! One state behind a generation and a CRC, as both stores keep it.
//!
//! ```text
//!   0    8  generation, from 1
//!   8  224  state
//! 232   20  zero
//! 252    4  CRC-32 of everything before it
//! ```
#![forbid(unsafe_code)]

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::crc::{CRC_LEN, crc32, crc32_of};
use super::state::STATE_LEN;
use crate::secret::Secret;

/// Length of a slot, in bytes.
pub const SLOT_LEN: usize = 256;

pub(super) const STATE_AT: usize = 8;
pub(super) const ZERO_AT: usize = STATE_AT + STATE_LEN;
const TAIL_LEN: usize = SLOT_LEN - ZERO_AT;
const CRC_AT: usize = SLOT_LEN - CRC_LEN;

const _: () = assert!(ZERO_AT <= CRC_AT);

/// The bytes of a slot.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Slot(pub(super) Secret<SLOT_LEN>);

impl Slot {
    pub(super) const fn empty() -> Self {
        Self(Secret::zeroed())
    }

    pub(super) fn new(generation: u64, state: &Secret<STATE_LEN>) -> Self {
        let mut slot = Self::empty();
        let (head, tail) = Self::around(generation, state);
        let bytes = slot.0.expose_mut();
        if let Some(place) = bytes.first_chunk_mut() {
            *place = head;
        }
        if let Some(place) = bytes.get_mut(STATE_AT..ZERO_AT) {
            place.copy_from_slice(state.expose());
        }
        if let Some(place) = bytes.last_chunk_mut() {
            *place = tail;
        }
        slot
    }

    /// What stands in a slot before the state and behind it.
    pub(super) fn around(
        generation: u64,
        state: &Secret<STATE_LEN>,
    ) -> ([u8; STATE_AT], [u8; TAIL_LEN]) {
        let head = generation.to_be_bytes();
        let mut tail = [0; TAIL_LEN];
        if let Some((zero, crc)) = tail.split_last_chunk_mut::<CRC_LEN>() {
            *crc = crc32_of([&head, state.expose(), zero]).to_be_bytes();
        }
        (head, tail)
    }

    /// The generation, if the slot is whole.
    pub(super) fn generation(&self) -> Option<u64> {
        let bytes = self.0.expose();
        let generation = u64::from_be_bytes(*bytes.first_chunk()?);
        let (before, crc) = bytes.split_last_chunk()?;
        let zero = bytes.get(ZERO_AT..CRC_AT)?;
        let whole = generation != 0
            && crc32(before).to_be_bytes() == *crc
            && zero.iter().all(|&byte| byte == 0);
        whole.then_some(generation)
    }

    pub(super) fn state(&self, out: &mut Secret<STATE_LEN>) {
        if let Some(state) = self.0.expose().get(STATE_AT..ZERO_AT) {
            out.expose_mut().copy_from_slice(state);
        }
    }
}
