//! What the caller provides as functions: randomness, flash, memory for the state, and both ends
//! of an upload.

use core::ffi::c_void;
use core::fmt;

use rand_core::{TryCryptoRng, TryRng};

use super::call::{Call, Plain};
use super::result::{Refusal, cardvault_result};
use crate::Secret;
use crate::journal::{
    BatteryMemory, BatteryState, FlashState, FlashStateError, PagedFlash, STATE_LEN, Source,
    StateStore,
};

/// A random generator for keys and nonces: the hardware's or the operating system's.
///
/// `fill` writes `len` random bytes to `out` and returns 0, or returns anything else if it cannot.
/// One that has a state of its own must never give the same bytes again, not after a restart, a
/// fork or a restored image either. One that stands still is noticed and refused.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_random {
    /// Handed to `fill` as it is.
    pub context: *mut c_void,
    /// Not null.
    pub fill: Option<unsafe extern "C" fn(context: *mut c_void, out: *mut u8, len: usize) -> i32>,
}

/// NOR flash for the journal: pages that are erased to `0xFF` as a whole, and words that are
/// programmed once between two erases.
///
/// Each function returns 0, or anything else if it failed. Offsets count from the beginning of the
/// part of the flash that the journal has for itself. `read` may be asked for any offset and
/// length, `write` for whole words, `erase` for whole pages: it erases `from` up to, not
/// including, `to`. What was written must be in the flash when `write` returns, and likewise for
/// `erase`. No function may use the journal that calls it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_flash {
    /// Handed to each function as it is.
    pub context: *mut c_void,
    /// Size of the whole in bytes; at least two pages.
    pub capacity: u32,
    /// Size of a page in bytes: a multiple of 64, at least 576 for the log and 256 for the state.
    pub page_len: u32,
    /// Size of a word in bytes: 1, 2, 4, 8, 16 or 32.
    pub word_len: u32,
    /// Not null.
    pub read: Option<
        unsafe extern "C" fn(context: *mut c_void, offset: u32, out: *mut u8, len: usize) -> i32,
    >,
    /// Not null.
    pub write: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            offset: u32,
            bytes: *const u8,
            len: usize,
        ) -> i32,
    >,
    /// Not null.
    pub erase: Option<unsafe extern "C" fn(context: *mut c_void, from: u32, to: u32) -> i32>,
}

/// Battery-backed memory of `CARDVAULT_BATTERY_LEN` bytes for the state of a journal: it can be
/// written again and again, and what was overwritten is gone. Bytes are written in order.
///
/// Each function returns 0, or anything else if it failed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_memory {
    /// Handed to each function as it is.
    pub context: *mut c_void,
    /// Not null.
    pub read: Option<
        unsafe extern "C" fn(context: *mut c_void, offset: usize, out: *mut u8, len: usize) -> i32,
    >,
    /// Not null.
    pub write: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            offset: usize,
            bytes: *const u8,
            len: usize,
        ) -> i32,
    >,
}

/// Takes the items of an upload, one after the other: 1 to `CARDVAULT_FRAME_MAX_LEN` bytes each.
/// `take` returns 0, or anything else to end the upload. It may not use the journal.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_sink {
    /// Handed to `take` as it is.
    pub context: *mut c_void,
    /// Not null.
    pub take:
        Option<unsafe extern "C" fn(context: *mut c_void, bytes: *const u8, len: usize) -> i32>,
}

/// Gives the bytes of an upload: `give` fills the front of `out` with at most `len` bytes, writes
/// how many to `given` (0 at the end) and returns 0, or anything else if it failed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_source {
    /// Handed to `give` as it is.
    pub context: *mut c_void,
    /// Not null.
    pub give: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            out: *mut u8,
            len: usize,
            given: *mut usize,
        ) -> i32,
    >,
}

// SAFETY: integers and pointers that may be null.
unsafe impl Plain for cardvault_random {}
// SAFETY: as above.
unsafe impl Plain for cardvault_flash {}
// SAFETY: as above.
unsafe impl Plain for cardvault_memory {}
// SAFETY: as above.
unsafe impl Plain for cardvault_sink {}
// SAFETY: as above.
unsafe impl Plain for cardvault_source {}

/// A function of the caller's returned something else than 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallbackFailed;

impl fmt::Display for CallbackFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function of the caller failed")
    }
}

impl core::error::Error for CallbackFailed {}

fn done(returned: i32) -> Result<(), CallbackFailed> {
    if returned == 0 {
        Ok(())
    } else {
        Err(CallbackFailed)
    }
}

fn given<T>(function: Option<T>) -> Result<T, Refusal> {
    function.ok_or(cardvault_result::NULL_POINTER.into())
}

/// [`cardvault_random`], checked.
pub(super) struct Random {
    context: *mut c_void,
    fill: unsafe extern "C" fn(*mut c_void, *mut u8, usize) -> i32,
}

impl Call {
    pub(super) fn random(&self, at: *const cardvault_random) -> Result<Random, Refusal> {
        let random = self.read(at)?;
        Ok(Random {
            context: random.context,
            fill: given(random.fill)?,
        })
    }

    pub(super) fn flash(&self, at: *const cardvault_flash) -> Result<Flash, Refusal> {
        let flash = self.read(at)?;
        Ok(Flash {
            read: given(flash.read)?,
            write: given(flash.write)?,
            erase: given(flash.erase)?,
            context: flash.context,
            capacity: flash.capacity,
            page_len: flash.page_len,
            word_len: flash.word_len,
        })
    }

    pub(super) fn battery(&self, at: *const cardvault_memory) -> Result<Battery, Refusal> {
        let memory = self.read(at)?;
        Ok(Battery {
            context: memory.context,
            read: given(memory.read)?,
            write: given(memory.write)?,
        })
    }

    pub(super) fn sink(&self, at: *const cardvault_sink) -> Result<Sink, Refusal> {
        let sink = self.read(at)?;
        Ok(Sink {
            context: sink.context,
            take: given(sink.take)?,
        })
    }

    pub(super) fn source(&self, at: *const cardvault_source) -> Result<Giver, Refusal> {
        let source = self.read(at)?;
        Ok(Giver {
            context: source.context,
            give: given(source.give)?,
        })
    }
}

impl TryRng for Random {
    type Error = CallbackFailed;

    fn try_next_u32(&mut self) -> Result<u32, CallbackFailed> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, CallbackFailed> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), CallbackFailed> {
        // SAFETY: the caller promises a function of this type; `out` can be written.
        done(unsafe { (self.fill)(self.context, out.as_mut_ptr(), out.len()) })
    }
}

impl TryCryptoRng for Random {}

/// [`cardvault_flash`], checked.
pub(super) struct Flash {
    context: *mut c_void,
    capacity: u32,
    page_len: u32,
    word_len: u32,
    read: unsafe extern "C" fn(*mut c_void, u32, *mut u8, usize) -> i32,
    write: unsafe extern "C" fn(*mut c_void, u32, *const u8, usize) -> i32,
    erase: unsafe extern "C" fn(*mut c_void, u32, u32) -> i32,
}

/// A length from C as one of Rust; more than memory can have is refused by every limit.
fn size(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

impl PagedFlash for Flash {
    type Error = CallbackFailed;

    fn read_len(&self) -> usize {
        1
    }

    fn word_len(&self) -> usize {
        size(self.word_len)
    }

    fn page_len(&self) -> usize {
        size(self.page_len)
    }

    fn capacity(&self) -> usize {
        size(self.capacity)
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), CallbackFailed> {
        // SAFETY: the caller promises a function of this type; `out` can be written.
        done(unsafe { (self.read)(self.context, offset, out.as_mut_ptr(), out.len()) })
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), CallbackFailed> {
        // SAFETY: the caller promises a function of this type; `bytes` can be read.
        done(unsafe { (self.write)(self.context, offset, bytes.as_ptr(), bytes.len()) })
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), CallbackFailed> {
        // SAFETY: the caller promises a function of this type.
        done(unsafe { (self.erase)(self.context, from, to) })
    }
}

/// [`cardvault_memory`], checked.
pub(super) struct Battery {
    context: *mut c_void,
    read: unsafe extern "C" fn(*mut c_void, usize, *mut u8, usize) -> i32,
    write: unsafe extern "C" fn(*mut c_void, usize, *const u8, usize) -> i32,
}

impl BatteryMemory for Battery {
    type Error = CallbackFailed;

    fn read(&mut self, offset: usize, out: &mut [u8]) -> Result<(), CallbackFailed> {
        // SAFETY: the caller promises a function of this type; `out` can be written.
        done(unsafe { (self.read)(self.context, offset, out.as_mut_ptr(), out.len()) })
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), CallbackFailed> {
        // SAFETY: the caller promises a function of this type; `bytes` can be read.
        done(unsafe { (self.write)(self.context, offset, bytes.as_ptr(), bytes.len()) })
    }
}

/// Where a journal's state is kept.
pub(super) enum State {
    Battery(BatteryState<Battery>),
    Flash(FlashState<Flash>),
}

/// Why a state was not loaded or kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateFailed {
    /// The memory works but does not keep what is written.
    pub(super) worn: bool,
}

impl From<CallbackFailed> for StateFailed {
    fn from(_: CallbackFailed) -> Self {
        Self { worn: false }
    }
}

impl From<FlashStateError<CallbackFailed>> for StateFailed {
    fn from(error: FlashStateError<CallbackFailed>) -> Self {
        Self {
            worn: matches!(error, FlashStateError::Worn { .. }),
        }
    }
}

impl State {
    pub(super) fn in_flash(flash: Flash) -> Result<Self, Refusal> {
        let state = FlashState::new(flash).map_err(|_| cardvault_result::GEOMETRY)?;
        Ok(Self::Flash(state))
    }

    pub(super) const fn in_battery(memory: Battery) -> Self {
        Self::Battery(BatteryState::new(memory))
    }
}

impl StateStore for State {
    type Error = StateFailed;

    fn load(&mut self, out: &mut Secret<STATE_LEN>) -> Result<bool, StateFailed> {
        match self {
            Self::Battery(state) => Ok(state.load(out)?),
            Self::Flash(state) => Ok(state.load(out)?),
        }
    }

    fn store(&mut self, new: &Secret<STATE_LEN>) -> Result<(), StateFailed> {
        match self {
            Self::Battery(state) => Ok(state.store(new)?),
            Self::Flash(state) => Ok(state.store(new)?),
        }
    }
}

/// [`cardvault_sink`], checked.
pub(super) struct Sink {
    context: *mut c_void,
    take: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> i32,
}

impl Sink {
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        // SAFETY: the caller promises a function of this type; `bytes` can be read.
        done(unsafe { (self.take)(self.context, bytes.as_ptr(), bytes.len()) })
            .map_err(|CallbackFailed| cardvault_result::SINK_FAILED.into())
    }
}

/// [`cardvault_source`], checked.
pub(super) struct Giver {
    context: *mut c_void,
    give: unsafe extern "C" fn(*mut c_void, *mut u8, usize, *mut usize) -> i32,
}

impl Source for Giver {
    type Error = CallbackFailed;

    fn read(&mut self, out: &mut [u8]) -> Result<usize, CallbackFailed> {
        let mut given = 0;
        // SAFETY: the caller promises a function of this type; `out` and `given` can be written.
        done(unsafe { (self.give)(self.context, out.as_mut_ptr(), out.len(), &raw mut given) })?;
        if given > out.len() {
            return Err(CallbackFailed);
        }
        Ok(given)
    }
}
