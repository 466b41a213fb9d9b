//! Memory that a reset leaves as it is, and power that a test can cut.

use core::cell::Cell;

use crate::day::Cut;
use crate::machine;
use crate::nor::Power;

/// What the test keeps over a reset, behind a mark that says that it was set up.
#[derive(Debug)]
pub struct Kept<T> {
    mark: u32,
    value: T,
}

const MARK: u32 = 0x4B45_5054;

impl<T> Kept<T> {
    /// Not set up.
    pub const fn new(value: T) -> Self {
        Self { mark: 0, value }
    }

    /// The value; `initial` after the machine was switched on for the first time.
    pub fn get(&mut self, initial: T) -> &mut T {
        if self.mark != MARK {
            self.value = initial;
            self.mark = MARK;
        }
        &mut self.value
    }
}

/// Counts steps down to the cut, and then resets the machine.
#[derive(Debug, Default)]
pub struct Supply {
    left: Cell<Option<u32>>,
}

impl Power for Supply {
    fn goes(&self) -> bool {
        match self.left.get() {
            Some(0) => true,
            Some(steps) => {
                self.left.set(Some(steps - 1));
                false
            }
            None => false,
        }
    }

    fn off(&self) {
        machine::reset()
    }
}

impl Cut for Supply {
    fn arm(&self, steps: Option<u32>) {
        self.left.set(steps);
    }
}
