//! Objects in the caller's memory: made, lent, and wiped when they are closed.
//!
//! An object begins with a mark that is made of its kind and of its address, so that memory that
//! was never opened, was closed, or was copied from elsewhere is refused; and with a count of the
//! calls that use it, so that it is not changed or closed under one of them.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use super::call::{Call, check};
use super::result::{Refusal, cardvault_result};

/// One of the header's opaque structures.
///
/// # Safety
/// The structure is at least as large and as strictly aligned as [`Held`] of `Inner`; `KIND` is
/// that of no other structure.
pub(super) unsafe trait Handle {
    /// What lies in it.
    type Inner;
    /// Tells the structures apart.
    const KIND: usize;
}

/// What lies in the memory of an opaque structure.
#[repr(C)]
pub(super) struct Held<T> {
    mark: AtomicUsize,
    users: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// Fails to compile if `H` cannot hold its object.
pub(super) const fn fits<H: Handle>() {
    assert!(size_of::<Held<H::Inner>>() <= size_of::<H>());
    assert!(align_of::<Held<H::Inner>>() <= align_of::<H>());
}

/// Nobody uses the object.
const FREE: usize = 0;
/// One call has it for itself.
const TAKEN: usize = usize::MAX;

fn mark<H: Handle>(at: *const Held<H::Inner>) -> usize {
    const SALT: usize = 0x5ea1_c0de;
    (at.addr() ^ SALT.rotate_left(7)).wrapping_add(H::KIND.wrapping_mul(0x0101_0101)) | 1
}

impl Call {
    /// Checks memory in which an object is to be made.
    pub(super) fn place<H: Handle>(&self, at: *mut H) -> Result<Place<'_, H>, Refusal> {
        check(at)?;
        Ok(Place {
            at: at.cast(),
            call: PhantomData,
        })
    }

    /// An object that other calls may use at the same time.
    pub(super) fn shared<H: Handle>(&self, at: *const H) -> Result<Shared<'_, H>, Refusal> {
        let held = open::<H>(at)?;
        enter(&held.users)?;
        let shared = Shared { held };
        // It may have been closed before the call was counted.
        still_open::<H>(held)?;
        Ok(shared)
    }

    /// An object that this call alone uses.
    pub(super) fn exclusive<H: Handle>(&self, at: *mut H) -> Result<Exclusive<'_, H>, Refusal> {
        let held = open::<H>(at)?;
        take(&held.users)?;
        let exclusive = Exclusive { held };
        still_open::<H>(held)?;
        Ok(exclusive)
    }

    /// Ends an object and wipes its memory.
    pub(super) fn close<H: Handle>(&self, at: *mut H) -> Result<(), Refusal> {
        self.exclusive(at)?.end();
        Ok(())
    }

    /// Takes an object out and wipes the memory in which it was.
    #[cfg(feature = "embedded")]
    pub(super) fn take<H: Handle>(&self, at: *mut H) -> Result<H::Inner, Refusal> {
        Ok(self.exclusive(at)?.empty())
    }
}

fn open<'c, H: Handle>(at: *const H) -> Result<&'c Held<H::Inner>, Refusal> {
    check(at)?;
    let at = at.cast::<Held<H::Inner>>();
    // SAFETY: not null and aligned; the caller promises memory of an `H`, zeroed or used as one,
    // which is large enough (`Handle`). The two counters are integers, and the value is only
    // looked at once the mark says that it is there. The reference lives no longer than the call:
    // the callers tie it to theirs.
    let held: &'c Held<H::Inner> = unsafe { &*at };
    still_open::<H>(held)?;
    Ok(held)
}

fn still_open<H: Handle>(held: &Held<H::Inner>) -> Result<(), Refusal> {
    if held.mark.load(Ordering::Acquire) != mark::<H>(held) {
        return Err(cardvault_result::NOT_OPEN.into());
    }
    Ok(())
}

#[cfg(target_has_atomic = "ptr")]
fn swap(users: &AtomicUsize, from: usize, to: usize) -> Result<(), usize> {
    users
        .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
        .map(|_| ())
}

/// For processors without compare-and-swap, which have one core: a call that is interrupted here
/// by another on the same object is what the header forbids.
#[cfg(not(target_has_atomic = "ptr"))]
fn swap(users: &AtomicUsize, from: usize, to: usize) -> Result<(), usize> {
    let now = users.load(Ordering::Acquire);
    if now != from {
        return Err(now);
    }
    users.store(to, Ordering::Release);
    Ok(())
}

/// The compiler makes the value in its place when that is a parameter.
#[inline(never)]
fn write<T>(place: &mut MaybeUninit<T>, make: impl FnOnce() -> T) {
    place.write(make());
}

fn take(users: &AtomicUsize) -> Result<(), Refusal> {
    swap(users, FREE, TAKEN).map_err(|_| cardvault_result::BUSY.into())
}

fn enter(users: &AtomicUsize) -> Result<(), Refusal> {
    let mut now = users.load(Ordering::Acquire);
    while now < TAKEN - 1 {
        match swap(users, now, now + 1) {
            Ok(()) => return Ok(()),
            Err(other) => now = other,
        }
    }
    Err(cardvault_result::BUSY.into())
}

fn leave(users: &AtomicUsize) {
    let mut now = users.load(Ordering::Acquire);
    while let Err(other) = swap(users, now, now.wrapping_sub(1)) {
        now = other;
    }
}

/// Memory for an object, checked.
pub(super) struct Place<'c, H: Handle> {
    at: *mut Held<H::Inner>,
    call: PhantomData<&'c Call>,
}

impl<'c, H: Handle> Place<'c, H> {
    /// Makes the object where it lies, so that it takes no stack: `fill` goes on with what `first`
    /// makes. If that fails, the memory is wiped and holds no object.
    #[inline]
    pub(super) fn fill(
        self,
        first: impl FnOnce() -> H::Inner,
        fill: impl FnOnce(&mut H::Inner) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut object = self.taken(first);
        let filled = fill(&mut object);
        if filled.is_err() {
            object.end();
        }
        filled
    }

    /// Makes the object. What was there is overwritten without a look.
    #[inline]
    pub(super) fn put(self, value: H::Inner) {
        drop(self.taken(|| value));
    }

    /// Makes the object, which nobody else uses before the result is dropped.
    #[inline]
    fn taken(self, make: impl FnOnce() -> H::Inner) -> Exclusive<'c, H> {
        let mark = mark::<H>(self.at);
        // SAFETY: `Call::place` checked it, the structure is large enough (`Handle`), and the
        // caller promises that nobody else uses memory that holds no open object. Field by field,
        // so that a large value takes no stack once more.
        unsafe {
            write(&mut *(*self.at).value.get(), make);
            ptr::write(&raw mut (*self.at).users, AtomicUsize::new(TAKEN));
            ptr::write(&raw mut (*self.at).mark, AtomicUsize::new(mark));
            Exclusive { held: &*self.at }
        }
    }
}

/// An object that others may read.
pub(super) struct Shared<'c, H: Handle> {
    held: &'c Held<H::Inner>,
}

impl<H: Handle> Deref for Shared<'_, H> {
    type Target = H::Inner;

    fn deref(&self) -> &H::Inner {
        // SAFETY: the mark says that a value was put there, and while the call is counted among
        // the users no other has it for itself, so that it is neither changed nor closed.
        unsafe { (*self.held.value.get()).assume_init_ref() }
    }
}

impl<H: Handle> Drop for Shared<'_, H> {
    fn drop(&mut self) {
        leave(&self.held.users);
    }
}

/// An object that nobody else uses.
pub(super) struct Exclusive<'c, H: Handle> {
    held: &'c Held<H::Inner>,
}

impl<H: Handle> Exclusive<'_, H> {
    /// Takes the value out, wipes its memory, and leaves no open object.
    #[cfg(feature = "embedded")]
    fn empty(&mut self) -> H::Inner {
        self.held.mark.store(0, Ordering::Release);
        let place = self.held.value.get();
        // SAFETY: as in `end`.
        let inner = unsafe { (*place).assume_init_read() };
        self.wipe();
        inner
    }

    /// Ends the object where it lies, wipes its memory, and leaves no open object.
    fn end(&mut self) {
        self.held.mark.store(0, Ordering::Release);
        // SAFETY: the value is there, this call has it for itself, and it is there no more for
        // anybody from now on: the mark is gone.
        unsafe { (*self.held.value.get()).assume_init_drop() }
        self.wipe();
    }

    /// Wipes the memory of a value that is there no more.
    fn wipe(&mut self) {
        let place = self.held.value.get();
        let bytes = place.cast::<MaybeUninit<u8>>();
        for at in 0..size_of::<H::Inner>() {
            // SAFETY: inside the memory of the value, which holds nothing now. Volatile, so that
            // the wiping is not optimized away.
            unsafe { ptr::write_volatile(bytes.wrapping_add(at), MaybeUninit::new(0)) }
        }
        fence(Ordering::SeqCst);
    }
}

impl<H: Handle> Deref for Exclusive<'_, H> {
    type Target = H::Inner;

    fn deref(&self) -> &H::Inner {
        // SAFETY: the mark says that a value is there, and this call has it for itself.
        unsafe { (*self.held.value.get()).assume_init_ref() }
    }
}

impl<H: Handle> DerefMut for Exclusive<'_, H> {
    fn deref_mut(&mut self) -> &mut H::Inner {
        // SAFETY: as in `deref`.
        unsafe { (*self.held.value.get()).assume_init_mut() }
    }
}

impl<H: Handle> Drop for Exclusive<'_, H> {
    fn drop(&mut self) {
        // A panic may have left it half changed: nobody uses it again.
        #[cfg(feature = "std")]
        if std::thread::panicking() && still_open::<H>(self.held).is_ok() {
            self.end();
        }
        self.held.users.store(FREE, Ordering::Release);
    }
}
