//! NOR flash in memory that is kept over a reset: a word can be programmed once between two
//! erases, and power can go in any step. A step is one programmed word or one erased page.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

/// Bytes of a word.
pub const WORD: usize = 4;
/// Bytes of a page.
pub const PAGE: usize = 2048;
/// Bytes of the log's chip.
pub const LOG_LEN: usize = 4 * PAGE;
/// Bytes of the state's chip.
pub const STATE_LEN: usize = 3 * PAGE;

/// The power supply.
pub trait Power {
    /// Begins a step; `true` if power goes in it.
    fn goes(&self) -> bool;

    /// Power has gone: a device does not return from here.
    fn off(&self);
}

/// What a chip of `LEN` bytes holds.
#[derive(Clone, Debug)]
pub struct Chip<const LEN: usize> {
    bytes: [u8; LEN],
    /// How often each byte was programmed since its page was erased.
    programmed: [u8; LEN],
}

impl<const LEN: usize> Chip<LEN> {
    /// A chip as it comes out of its package.
    pub const fn new() -> Self {
        Self {
            bytes: [0xFF; LEN],
            programmed: [0; LEN],
        }
    }
}

impl<const LEN: usize> Default for Chip<LEN> {
    fn default() -> Self {
        Self::new()
    }
}

/// A chip and its power.
#[derive(Debug)]
pub struct Nor<'a, P, const LEN: usize> {
    /// The chip.
    pub chip: &'a mut Chip<LEN>,
    /// The supply.
    pub power: &'a P,
}

/// Why the flash refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NorError {
    /// Power has gone.
    Off,
    /// A word was to be programmed twice.
    Twice,
    /// The call is wrong.
    Call(NorFlashErrorKind),
}

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<P, const LEN: usize> ErrorType for Nor<'_, P, LEN> {
    type Error = NorError;
}

impl<P: Power, const LEN: usize> Nor<'_, P, LEN> {
    fn part(&mut self, from: usize, to: usize) -> (&mut [u8], &mut [u8]) {
        let Chip { bytes, programmed } = &mut *self.chip;
        (&mut bytes[from..to], &mut programmed[from..to])
    }

    fn cut<T>(&self) -> Result<T, NorError> {
        self.power.off();
        Err(NorError::Off)
    }
}

impl<P: Power, const LEN: usize> ReadNorFlash for Nor<'_, P, LEN> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        check_read(self, offset, bytes.len()).map_err(NorError::Call)?;
        let from = offset as usize;
        bytes.copy_from_slice(self.part(from, from + bytes.len()).0);
        Ok(())
    }

    fn capacity(&self) -> usize {
        LEN
    }
}

impl<P: Power, const LEN: usize> NorFlash for Nor<'_, P, LEN> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        check_erase(self, from, to).map_err(NorError::Call)?;
        for page in from as usize / PAGE..to as usize / PAGE {
            let goes = self.power.goes();
            let (bytes, programmed) = self.part(page * PAGE, (page + 1) * PAGE);
            if goes {
                // Half of the page is erased, and the rest is as it was.
                bytes[..PAGE / 2].fill(0xFF);
                return self.cut();
            }
            bytes.fill(0xFF);
            programmed.fill(0);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        check_write(self, offset, bytes.len()).map_err(NorError::Call)?;
        for (from, word) in (offset as usize..).step_by(WORD).zip(bytes.chunks(WORD)) {
            let goes = self.power.goes();
            let (place, programmed) = self.part(from, from + WORD);
            if programmed.iter().any(|&times| times != 0) {
                return Err(NorError::Twice);
            }
            programmed.fill(1);
            for (place, byte) in place.iter_mut().zip(word) {
                // Some of the bits are programmed.
                *place = if goes { byte | 0x5A } else { *byte };
            }
            if goes {
                return self.cut();
            }
        }
        Ok(())
    }
}
