//! The memory of a terminal that loses power at a chosen word, and of which a thief takes a copy.
//!
//! Flash keeps the rules of NOR flash: a page is erased as a whole, and a word is programmed once.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use cardvault::journal::{BATTERY_LEN, BatteryMemory, MemoryFlash};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

const WORD: usize = 4;
const PAGE: usize = 4096;

/// A terminal's power supply. Its chips share it.
#[derive(Clone, Default)]
pub(super) struct Power {
    /// Words until it fails; `None` if it holds.
    left: Rc<Cell<Option<usize>>>,
    off: Rc<Cell<bool>>,
}

impl Power {
    /// Power fails when so many more words were programmed.
    pub(super) fn fail_after(&self, words: usize) {
        self.left.set(Some(words));
    }

    pub(super) fn restore(&self) {
        self.left.set(None);
        self.off.set(false);
    }

    fn check(&self) -> Result<(), ChipError> {
        match self.off.get() {
            true => Err(ChipError::PowerCut),
            false => Ok(()),
        }
    }

    /// One word more; `false` if power fails in it.
    fn word(&self) -> bool {
        match self.left.get() {
            None => true,
            Some(0) => {
                self.off.set(true);
                false
            }
            Some(left) => {
                self.left.set(Some(left - 1));
                true
            }
        }
    }
}

/// A flash chip; what it holds is still there when the terminal is not.
#[derive(Clone)]
pub(super) struct Chip {
    bytes: Rc<RefCell<Vec<u8>>>,
    power: Power,
}

impl Chip {
    pub(super) fn new(pages: usize, power: &Power) -> Self {
        Self::holding(vec![u8::MAX; pages * PAGE], power)
    }

    /// A chip with this content: a copy of another one.
    pub(super) fn holding(bytes: Vec<u8>, power: &Power) -> Self {
        Self {
            bytes: Rc::new(RefCell::new(bytes)),
            power: power.clone(),
        }
    }

    /// Everything that it holds.
    pub(super) fn image(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut MemoryFlash<'_, WORD, PAGE>) -> Result<T, NorFlashErrorKind>,
    ) -> Result<T, ChipError> {
        self.power.check()?;
        let mut bytes = self.bytes.borrow_mut();
        work(&mut MemoryFlash::new(&mut bytes)).map_err(ChipError::Call)
    }
}

/// What a chip reports.
#[derive(Clone, Copy, Debug)]
pub(super) enum ChipError {
    PowerCut,
    /// A programmed word was to be programmed again.
    NotErased,
    Call(NorFlashErrorKind),
}

impl NorFlashError for ChipError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Call(kind) => *kind,
            Self::PowerCut | Self::NotErased => NorFlashErrorKind::Other,
        }
    }
}

impl ErrorType for Chip {
    type Error = ChipError;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        self.with(|flash| flash.read(offset, bytes))
    }

    fn capacity(&self) -> usize {
        self.bytes.borrow().len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.with(|flash| flash.erase(from, to))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        for (at, word) in (offset..).step_by(WORD).zip(bytes.chunks(WORD)) {
            let mut old = [0; WORD];
            self.read(at, &mut old)?;
            if old != [u8::MAX; WORD] {
                return Err(ChipError::NotErased);
            }
            if self.power.word() {
                self.with(|flash| flash.write(at, word))?;
                continue;
            }
            // Some of the word's bits were programmed.
            let half: Vec<u8> = word.iter().map(|byte| byte | 0x5a).collect();
            let mut bytes = self.bytes.borrow_mut();
            let mut flash = MemoryFlash::<WORD, PAGE>::new(&mut bytes);
            flash.write(at, &half).map_err(ChipError::Call)?;
            return Err(ChipError::PowerCut);
        }
        Ok(())
    }
}

/// Battery-backed memory.
#[derive(Clone)]
pub(super) struct Battery(Rc<RefCell<[u8; BATTERY_LEN]>>);

impl Battery {
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new([0; BATTERY_LEN])))
    }

    pub(super) fn image(&self) -> Vec<u8> {
        self.0.borrow().to_vec()
    }
}

impl BatteryMemory for Battery {
    type Error = std::convert::Infallible;

    fn read(&mut self, offset: usize, out: &mut [u8]) -> Result<(), Self::Error> {
        let mut memory = self.0.borrow_mut();
        BatteryMemory::read(&mut &mut *memory, offset, out)
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Self::Error> {
        let mut memory = self.0.borrow_mut();
        BatteryMemory::write(&mut &mut *memory, offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_fails_in_a_word_and_words_are_programmed_once() {
        let power = Power::default();
        let mut chip = Chip::new(1, &power);
        power.fail_after(2);
        let cut = chip.write(0, &[0; 16]);
        assert!(matches!(cut, Err(ChipError::PowerCut)));
        let mut read = [0; 4];
        assert!(matches!(chip.read(0, &mut read), Err(ChipError::PowerCut)));
        power.restore();
        let torn = [[0; 8].as_slice(), &[0x5a; 4], &[u8::MAX; 4]].concat();
        assert_eq!(chip.image().get(..16), Some(&*torn));
        let again = chip.write(8, &[0; 4]);
        assert!(matches!(again, Err(ChipError::NotErased)));
        chip.write(12, &[7; 4]).unwrap();
        chip.erase(0, 4096).unwrap();
        assert_eq!(chip.image(), [u8::MAX; 4096]);
    }
}
