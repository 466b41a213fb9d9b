//! Flash as the journal uses it: words and pages whose lengths are known when the program runs.
#![forbid(unsafe_code)]

use embedded_storage::nor_flash::NorFlash;

/// NOR flash of any geometry. Every [`NorFlash`] is one; others can be made where word and page
/// are not known to the compiler.
///
/// A word is programmed once between two erases; an erased byte reads `0xFF`.
pub trait PagedFlash {
    /// What the flash reports.
    type Error: core::fmt::Debug;

    /// The unit of reading, in bytes.
    fn read_len(&self) -> usize;

    /// The unit of programming, in bytes.
    fn word_len(&self) -> usize;

    /// The unit of erasing, in bytes.
    fn page_len(&self) -> usize;

    /// The size of the whole, in bytes.
    fn capacity(&self) -> usize;

    /// Reads `out.len()` bytes from `offset`.
    ///
    /// # Errors
    /// What the flash reports.
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Self::Error>;

    /// Programs `bytes`, whole words, from `offset`.
    ///
    /// # Errors
    /// What the flash reports.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Erases the pages `from..to`, offsets in bytes.
    ///
    /// # Errors
    /// What the flash reports.
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error>;
}

impl<F: NorFlash> PagedFlash for F {
    type Error = F::Error;

    #[inline]
    fn read_len(&self) -> usize {
        F::READ_SIZE
    }

    #[inline]
    fn word_len(&self) -> usize {
        F::WRITE_SIZE
    }

    #[inline]
    fn page_len(&self) -> usize {
        F::ERASE_SIZE
    }

    #[inline]
    fn capacity(&self) -> usize {
        F::capacity(self)
    }

    #[inline]
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Self::Error> {
        F::read(self, offset, out)
    }

    #[inline]
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        F::write(self, offset, bytes)
    }

    #[inline]
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        F::erase(self, from, to)
    }
}
