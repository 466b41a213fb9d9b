//! Flash in memory: for tests, simulations and what is to be uploaded at once.
#![forbid(unsafe_code)]

use core::fmt;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Bytes that behave as flash with words of `WORD` and pages of `PAGE` bytes; a word that was
/// written can be written again, which real flash does not allow.
pub struct MemoryFlash<'a, const WORD: usize, const PAGE: usize> {
    bytes: &'a mut [u8],
}

/// Without the bytes: a state store over them holds the journal's keys.
impl<const WORD: usize, const PAGE: usize> fmt::Debug for MemoryFlash<'_, WORD, PAGE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFlash")
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl<'a, const WORD: usize, const PAGE: usize> MemoryFlash<'a, WORD, PAGE> {
    /// Uses `bytes` as they are.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    fn part(&mut self, from: u32, len: usize) -> Result<&mut [u8], NorFlashErrorKind> {
        let from = usize::try_from(from).map_err(|_| NorFlashErrorKind::OutOfBounds)?;
        // In two steps, so that the compiler sees the length.
        self.bytes
            .get_mut(from..)
            .and_then(|rest| rest.get_mut(..len))
            .ok_or(NorFlashErrorKind::OutOfBounds)
    }
}

impl<const WORD: usize, const PAGE: usize> ErrorType for MemoryFlash<'_, WORD, PAGE> {
    type Error = NorFlashErrorKind;
}

impl<const WORD: usize, const PAGE: usize> ReadNorFlash for MemoryFlash<'_, WORD, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(self.part(offset, bytes.len())?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WORD: usize, const PAGE: usize> NorFlash for MemoryFlash<'_, WORD, PAGE> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        let len = usize::try_from(to - from).unwrap_or(usize::MAX);
        self.part(from, len)?.fill(u8::MAX);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        self.part(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }
}
