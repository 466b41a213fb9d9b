//! The state in pages of flash that can only be programmed once between two erases.
//!
//! A ring of pages with one slot each. A new state goes to the next page and is read back; then
//! the page before is erased and read as blank. So each state costs one erase, and the wear is
//! the same on every page.
#![forbid(unsafe_code)]

use core::fmt;

use super::flash::PagedFlash;
use super::slot::{SLOT_LEN, Slot};
use super::state::{STATE_LEN, StateStore};
use crate::secret::Secret;

/// The fewest pages that a state needs.
pub const STATE_PAGES_MIN: u32 = 2;

const CHUNK: usize = 64;

/// A state store over all of `F`: a partition of at least [`STATE_PAGES_MIN`] pages, each at
/// least [`SLOT_LEN`] bytes long, with words of at most 32 bytes.
pub struct FlashState<F> {
    flash: F,
    /// Where the newest state stands; `None` before it was looked for or if there is none.
    newest: Option<Newest>,
    looked: bool,
    /// So many of the next pages are erased even if they read blank: the last erase of any of
    /// them may have been cut.
    doubtful: u32,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    page: u32,
    generation: u64,
}

/// Without the flash: it holds the journal's keys.
impl<F> fmt::Debug for FlashState<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlashState")
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

/// Why flash does not keep a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlashStateError<E> {
    /// The flash reported an error.
    Flash(E),
    /// Words, pages or size do not suit.
    Geometry,
    /// The page does not keep what is written to it, or is not blank when it was erased.
    Worn {
        /// Its place.
        page: u32,
    },
    /// Generations are counted to the end.
    Over,
}

impl<E: fmt::Debug> fmt::Display for FlashStateError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => write!(f, "the state's flash failed: {error:?}"),
            Self::Geometry => f.write_str("the flash's geometry does not suit the state"),
            Self::Worn { page } => write!(f, "page {page} of the state does not keep its bytes"),
            Self::Over => f.write_str("the generations of the state are used up"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for FlashStateError<E> {}

impl<F: PagedFlash> FlashState<F> {
    /// Takes the flash over; nothing is read yet.
    ///
    /// # Errors
    /// [`FlashStateError::Geometry`].
    pub fn new(flash: F) -> Result<Self, FlashStateError<F::Error>> {
        let (word, page) = (flash.word_len(), flash.page_len());
        let suits = page >= SLOT_LEN
            && word > 0
            && flash.read_len() > 0
            && SLOT_LEN.is_multiple_of(word)
            && page.is_multiple_of(CHUNK)
            && CHUNK.is_multiple_of(flash.read_len())
            && u32::try_from(flash.capacity()).is_ok()
            && flash.capacity() / page >= STATE_PAGES_MIN as usize;
        if !suits {
            return Err(FlashStateError::Geometry);
        }
        Ok(Self {
            flash,
            newest: None,
            looked: false,
            doubtful: u32::MAX,
        })
    }

    /// Gives the flash back.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.flash
    }

    fn pages(&self) -> u32 {
        let pages = self.flash.capacity().checked_div(self.flash.page_len());
        let pages = pages.and_then(|pages| u32::try_from(pages).ok());
        pages.unwrap_or(STATE_PAGES_MIN).max(STATE_PAGES_MIN)
    }

    /// Offset of a page. Pages are within the capacity, which fits.
    fn offset(&self, page: u32) -> u32 {
        page.saturating_mul(u32::try_from(self.flash.page_len()).unwrap_or(u32::MAX))
    }

    /// Reads into the caller's slot: two on the way would double the stack.
    fn read(&mut self, page: u32, slot: &mut Slot) -> Result<(), FlashStateError<F::Error>> {
        self.flash
            .read(self.offset(page), slot.0.expose_mut())
            .map_err(FlashStateError::Flash)
    }

    fn is_blank(&mut self, page: u32) -> Result<bool, FlashStateError<F::Error>> {
        let mut chunk = Secret::<CHUNK>::zeroed();
        let mut at = self.offset(page);
        let end = self.offset(page + 1);
        while at < end {
            self.flash
                .read(at, chunk.expose_mut())
                .map_err(FlashStateError::Flash)?;
            if chunk.expose().iter().any(|&byte| byte != u8::MAX) {
                return Ok(false);
            }
            at += 64;
        }
        Ok(true)
    }

    fn erase(&mut self, page: u32) -> Result<(), FlashStateError<F::Error>> {
        self.flash
            .erase(self.offset(page), self.offset(page + 1))
            .map_err(FlashStateError::Flash)?;
        if !self.is_blank(page)? {
            return Err(FlashStateError::Worn { page });
        }
        Ok(())
    }

    /// Finds the newest slot; says whether anything else was found, and erases that.
    fn look(&mut self) -> Result<bool, FlashStateError<F::Error>> {
        self.newest = None;
        let mut slot = Slot::empty();
        for page in 0..self.pages() {
            self.read(page, &mut slot)?;
            if let Some(generation) = slot.generation()
                && self.newest.is_none_or(|best| generation > best.generation)
            {
                self.newest = Some(Newest { page, generation });
            }
        }
        let mut unclean = false;
        for page in 0..self.pages() {
            if self.newest.is_none_or(|best| best.page != page) && !self.is_blank(page)? {
                unclean = true;
                self.erase(page)?;
            }
        }
        self.looked = true;
        self.doubtful = self.pages();
        Ok(unclean)
    }

    fn write(&mut self, state: &Secret<STATE_LEN>) -> Result<(), FlashStateError<F::Error>> {
        let (page, generation) = match self.newest {
            Some(newest) => (
                (newest.page + 1).checked_rem(self.pages()).unwrap_or(0),
                newest.generation,
            ),
            None => (0, 0),
        };
        let generation = generation.checked_add(1).ok_or(FlashStateError::Over)?;
        // Until this has gone through, a later call looks at the flash first.
        self.looked = false;
        if self.doubtful > 0 || !self.is_blank(page)? {
            self.erase(page)?;
        }
        let slot = Slot::new(generation, state);
        self.flash
            .write(self.offset(page), slot.0.expose())
            .map_err(FlashStateError::Flash)?;
        let mut back = Slot::empty();
        self.read(page, &mut back)?;
        if back.0.expose() != slot.0.expose() {
            return Err(FlashStateError::Worn { page });
        }
        if let Some(old) = self.newest {
            self.erase(old.page)?;
        }
        self.newest = Some(Newest { page, generation });
        self.looked = true;
        self.doubtful = self.doubtful.saturating_sub(1);
        Ok(())
    }
}

impl<F: PagedFlash> StateStore for FlashState<F> {
    type Error = FlashStateError<F::Error>;

    fn load(&mut self, out: &mut Secret<STATE_LEN>) -> Result<bool, Self::Error> {
        let unclean = self.look()?;
        let Some(newest) = self.newest else {
            return Ok(false);
        };
        let mut slot = Slot::empty();
        self.read(newest.page, &mut slot)?;
        slot.state(out);
        drop(slot);
        if unclean {
            // The cut may have hit the newest slot in its last word: what reads well now may not
            // hold. A fresh copy does.
            self.write(out)?;
        }
        Ok(true)
    }

    fn store(&mut self, state: &Secret<STATE_LEN>) -> Result<(), Self::Error> {
        if !self.looked {
            self.look()?;
        }
        self.write(state)
    }
}
