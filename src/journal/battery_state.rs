//! The state in battery-backed memory, which can be overwritten: two slots, of which the old one
//! is overwritten with zeros.
#![forbid(unsafe_code)]

use core::fmt;

use super::slot::{SLOT_LEN, STATE_AT, Slot, ZERO_AT};
use super::state::{STATE_LEN, StateStore};
use crate::secret::Secret;

/// How much memory a state takes, in bytes.
pub const BATTERY_LEN: usize = 2 * SLOT_LEN;

/// Battery-backed memory: [`BATTERY_LEN`] bytes that can be written again and again. At a power
/// cut the byte being written is undefined and those after it are as they were.
pub trait BatteryMemory {
    /// What the memory reports.
    type Error: core::fmt::Debug;

    /// Reads `out.len()` bytes from `offset`.
    ///
    /// # Errors
    /// What the memory reports.
    fn read(&mut self, offset: usize, out: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes `bytes` from `offset`, in order.
    ///
    /// # Errors
    /// What the memory reports.
    fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Memory in the address space. Bytes outside the array do not exist: reading gives zeros.
impl BatteryMemory for &mut [u8; BATTERY_LEN] {
    type Error = core::convert::Infallible;

    fn read(&mut self, offset: usize, out: &mut [u8]) -> Result<(), Self::Error> {
        match self.get(offset..offset.saturating_add(out.len())) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => out.fill(0),
        }
        Ok(())
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Self::Error> {
        if let Some(place) = self.get_mut(offset..offset.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }
}

/// A state store over battery-backed memory.
pub struct BatteryState<M> {
    memory: M,
    /// Generation of the newest slot and which one it is, once it was looked for.
    newest: Option<(u64, bool)>,
}

/// Without the memory: it holds the journal's keys.
impl<M> fmt::Debug for BatteryState<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatteryState")
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

impl<M: BatteryMemory> BatteryState<M> {
    /// Takes the memory over; nothing is read yet.
    pub const fn new(memory: M) -> Self {
        Self {
            memory,
            newest: None,
        }
    }

    fn offset(second: bool) -> usize {
        if second { SLOT_LEN } else { 0 }
    }

    fn read(&mut self, second: bool) -> Result<Slot, M::Error> {
        let mut slot = Slot::empty();
        self.memory
            .read(Self::offset(second), slot.0.expose_mut())?;
        Ok(slot)
    }

    fn wipe(&mut self, second: bool) -> Result<(), M::Error> {
        self.memory.write(Self::offset(second), &[0; SLOT_LEN])
    }

    /// The newest slot; the other one is wiped.
    fn look(&mut self) -> Result<(u64, bool), M::Error> {
        let first = self.read(false)?.generation().unwrap_or(0);
        let second = self.read(true)?.generation().unwrap_or(0);
        let newest = (first.max(second), second > first);
        self.wipe(!newest.1)?;
        self.newest = Some(newest);
        Ok(newest)
    }
}

impl<M: BatteryMemory> StateStore for BatteryState<M> {
    type Error = M::Error;

    fn load(&mut self, out: &mut Secret<STATE_LEN>) -> Result<bool, Self::Error> {
        let (generation, second) = self.look()?;
        if generation == 0 {
            return Ok(false);
        }
        self.read(second)?.state(out);
        Ok(true)
    }

    fn store(&mut self, state: &Secret<STATE_LEN>) -> Result<(), Self::Error> {
        let (generation, second) = match self.newest.take() {
            Some(newest) => newest,
            None => self.look()?,
        };
        // At one state a nanosecond, 2^64 generations last 584 years.
        let newest = (generation.wrapping_add(1).max(1), !second);
        // From where it stands: a slot put together first would be one more copy to wipe.
        let (head, tail) = Slot::around(newest.0, state);
        let offset = Self::offset(newest.1);
        self.memory.write(offset, &head)?;
        self.memory.write(offset + STATE_AT, state.expose())?;
        self.memory.write(offset + ZERO_AT, &tail)?;
        self.wipe(second)?;
        self.newest = Some(newest);
        Ok(())
    }
}
