//! What the caller handed over: pointers become references here, after they were checked.

use core::ffi::c_char;
use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{Ordering, fence};

use super::result::{Refusal, cardvault_result};

/// The time of one call, in which the caller's promises hold: every pointer that is not null
/// points to memory of the length that was given with it, that memory may be read, and written
/// where the parameter is not `const`, and nobody else writes to it meanwhile.
pub(super) struct Call(());

/// The body of an exported function: runs the work with a [`Call`] and turns its outcome into a
/// result. With a place `at`, where the input is wrong is written there, unless it is null.
macro_rules! border {
    (|$call:ident| $work:expr) => {
        border!(core::ptr::null_mut(), |$call| $work)
    };
    ($at:expr, |$call:ident| $work:expr) => {{
        let at: *mut usize = $at;
        let work = |$call: &$crate::capi::call::Call| -> Result<(), $crate::capi::result::Refusal> {
            $work
        };
        // SAFETY: every exported function is `unsafe`: its caller keeps the rules at the head of
        // the header until it returns.
        unsafe { $crate::capi::call::run(at, work) }
    }};
}
pub(super) use border;

/// Runs a function's work. On builds with `std` a panic ends here; others abort.
///
/// # Safety
/// The caller keeps the promises of [`Call`] until this returns.
pub(super) unsafe fn run(
    at: *mut usize,
    work: impl FnOnce(&Call) -> Result<(), Refusal>,
) -> cardvault_result {
    let call = Call(());
    let place = match call.optional(at) {
        Ok(place) => place,
        Err(refusal) => return refusal.result,
    };
    match fenced(|| work(&call)) {
        Ok(()) => cardvault_result::OK,
        Err(refusal) => {
            if let Some(place) = place {
                place.set(refusal.at);
            }
            refusal.result
        }
    }
}

#[cfg(feature = "std")]
fn fenced(work: impl FnOnce() -> Result<(), Refusal>) -> Result<(), Refusal> {
    // An object that a panic left half changed is closed by its guard.
    let work = std::panic::AssertUnwindSafe(work);
    std::panic::catch_unwind(work).unwrap_or(Err(cardvault_result::PANICKED.into()))
}

#[cfg(not(feature = "std"))]
fn fenced(work: impl FnOnce() -> Result<(), Refusal>) -> Result<(), Refusal> {
    work()
}

impl Call {
    /// Input bytes; a null pointer stands for no bytes.
    pub(super) fn bytes(&self, at: *const u8, len: usize) -> Result<&[u8], Refusal> {
        if len == 0 {
            return Ok(&[]);
        }
        if at.is_null() {
            return Err(cardvault_result::NULL_POINTER.into());
        }
        if isize::try_from(len).is_err() {
            return Err(cardvault_result::LENGTH.into());
        }
        // SAFETY: not null, bytes need no alignment, the length fits an isize, and the caller
        // promises that so many bytes can be read while the call lasts.
        Ok(unsafe { core::slice::from_raw_parts(at, len) })
    }

    /// Bytes that are read and overwritten; a null pointer stands for no bytes. One in a call.
    #[expect(
        clippy::mut_from_ref,
        reason = "the call stands for memory of the caller's"
    )]
    pub(super) fn bytes_in_place(&self, at: *mut u8, len: usize) -> Result<&mut [u8], Refusal> {
        if self.bytes(at, len)?.is_empty() {
            return Ok(&mut []);
        }
        // SAFETY: as in `bytes`, and the caller promises that they can be written, that nobody
        // else does, and that no other parameter's memory overlaps them.
        Ok(unsafe { core::slice::from_raw_parts_mut(at, len) })
    }

    /// Input text as bytes.
    pub(super) fn text(&self, at: *const c_char, len: usize) -> Result<&[u8], Refusal> {
        self.bytes(at.cast(), len)
    }

    /// A copy of `N` input bytes.
    pub(super) fn array<const N: usize>(&self, at: *const u8) -> Result<[u8; N], Refusal> {
        let bytes = self.bytes(at, N)?;
        bytes
            .try_into()
            .map_err(|_| cardvault_result::LENGTH.into())
    }

    /// A copy of an input structure, whose every bit pattern is a value.
    pub(super) fn read<T: Plain>(&self, at: *const T) -> Result<T, Refusal> {
        check(at)?;
        // SAFETY: not null and aligned, the caller promises that it can be read, and any bytes
        // are a `Plain` value.
        Ok(unsafe { ptr::read(at) })
    }

    /// A copy of the input structures at `at`, one after the other into `out`.
    pub(super) fn read_all<T: Plain>(&self, at: *const T, out: &mut [T]) -> Result<(), Refusal> {
        for (index, place) in out.iter_mut().enumerate() {
            *place = self.read(at.wrapping_add(index))?;
        }
        Ok(())
    }

    /// Where one value is to be written.
    pub(super) fn out<T: Plain>(&self, at: *mut T) -> Result<Out<'_, T>, Refusal> {
        check(at)?;
        Ok(Out {
            at,
            call: PhantomData,
        })
    }

    /// Where one value is to be written unless the pointer is null.
    pub(super) fn optional<T: Plain>(&self, at: *mut T) -> Result<Option<Out<'_, T>>, Refusal> {
        if at.is_null() {
            return Ok(None);
        }
        self.out(at).map(Some)
    }

    /// Where at most `len` bytes are to be written.
    pub(super) fn room(&self, at: *mut u8, len: usize) -> Result<Room<'_>, Refusal> {
        if at.is_null() {
            return Err(cardvault_result::NULL_POINTER.into());
        }
        Ok(Room {
            at,
            len,
            call: PhantomData,
        })
    }

    /// Where a text and the zero behind it are to be written.
    pub(super) fn text_room(&self, at: *mut c_char, len: usize) -> Result<Room<'_>, Refusal> {
        self.room(at.cast(), len)
    }
}

/// Structures of the interface of which every bit pattern is a value: no `bool`, no enumeration,
/// no reference.
///
/// # Safety
/// The type is such a structure.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}
// SAFETY: integers.
unsafe impl Plain for usize {}

/// Checks what can be checked of a pointer.
pub(super) fn check<T>(at: *const T) -> Result<(), Refusal> {
    if at.is_null() {
        return Err(cardvault_result::NULL_POINTER.into());
    }
    if !at.is_aligned() {
        return Err(cardvault_result::ALIGNMENT.into());
    }
    Ok(())
}

/// A value of the caller's that was checked and is not written yet.
pub(super) struct Out<'c, T> {
    at: *mut T,
    call: PhantomData<&'c Call>,
}

impl<T: Plain> Out<'_, T> {
    pub(super) fn set(self, value: T) {
        // SAFETY: `Call::out` checked it, and the caller promises that it can be written.
        unsafe { ptr::write(self.at, value) }
    }
}

/// Bytes of the caller's that are not written yet.
pub(super) struct Room<'c> {
    at: *mut u8,
    len: usize,
    call: PhantomData<&'c Call>,
}

impl Room<'_> {
    /// Whether `needed` bytes have room.
    pub(super) fn holds(&self, needed: usize) -> Result<(), Refusal> {
        if self.len < needed {
            return Err(Refusal {
                result: cardvault_result::NO_ROOM,
                at: needed,
            });
        }
        Ok(())
    }

    /// Writes `bytes` to the front.
    pub(super) fn put(self, bytes: &[u8]) -> Result<(), Refusal> {
        self.holds(bytes.len())?;
        // SAFETY: not null, the caller promises that `self.len` bytes can be written, and `bytes`
        // are no more. `copy` allows that the two overlap.
        unsafe { ptr::copy(bytes.as_ptr(), self.at, bytes.len()) }
        Ok(())
    }

    /// Overwrites all of it with zeros.
    pub(super) fn wipe(self) -> Result<(), Refusal> {
        if isize::try_from(self.len).is_err() {
            return Err(cardvault_result::LENGTH.into());
        }
        for at in 0..self.len {
            // SAFETY: as in `put`. Volatile, so that it is not optimized away.
            unsafe { ptr::write_volatile(self.at.wrapping_add(at), 0) }
        }
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Writes `text` and a zero behind it.
    pub(super) fn put_text(self, text: &str) -> Result<(), Refusal> {
        self.holds(text.len().saturating_add(1))?;
        let end = self.at.wrapping_add(text.len());
        // SAFETY: as in `put`, for one byte more.
        unsafe {
            ptr::copy(text.as_ptr(), self.at, text.len());
            ptr::write(end, 0);
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_at_the_border() {
        // SAFETY: no pointer is used.
        let result = unsafe { run(ptr::null_mut(), |_| panic!("in the library")) };
        assert!(result == cardvault_result::PANICKED);
    }

    #[test]
    fn wrong_pointers_are_refused_and_lengths_are_kept() {
        let call = Call(());
        let word = [0_u64; 2];
        let unaligned = word.as_ptr().cast::<u8>().wrapping_add(1);
        let is = |refusal: Option<Refusal>, result| {
            assert!(refusal.is_some_and(|refusal| refusal.result == result));
        };
        is(
            call.read::<u64>(core::ptr::null()).err(),
            cardvault_result::NULL_POINTER,
        );
        is(
            call.read::<u64>(unaligned.cast()).err(),
            cardvault_result::ALIGNMENT,
        );
        is(
            call.bytes(core::ptr::null(), 1).err(),
            cardvault_result::NULL_POINTER,
        );
        is(
            call.bytes(unaligned, usize::MAX).err(),
            cardvault_result::LENGTH,
        );
        assert!(call.bytes(core::ptr::null(), 0).is_ok_and(<[u8]>::is_empty));
        let mut bytes = [9_u8; 4];
        let room = call.room(bytes.as_mut_ptr(), 3);
        is(
            room.and_then(|room| room.put_text("abc")).err(),
            cardvault_result::NO_ROOM,
        );
        assert_eq!(bytes, [9; 4]);
        let room = call.room(bytes.as_mut_ptr(), 3);
        assert!(room.and_then(|room| room.put_text("ab")).is_ok());
        assert_eq!(bytes, [b'a', b'b', 0, 9]);
    }
}
