//! The log on flash: a ring of pages, each with a header and frames.
#![forbid(unsafe_code)]

use super::error::JournalError;
use super::flash::PagedFlash;
use super::frame::{
    Envelope, FRAME_MAX_LEN, Item, PAGE_HEADER_LEN, PREFIX_LEN, WORD_MAX_LEN, look, write_page,
};
use super::ratchet::JournalId;
use super::state::End;

/// The fewest pages of a log.
pub const LOG_PAGES_MIN: u32 = 2;

/// Bytes by which read-back and blank checks go.
const CHUNK: usize = 64;
/// What tells one frame from another: the prefix and the sequence number.
const HEAD_LEN: usize = PREFIX_LEN + 8;

/// The ring of pages over all of `F`.
#[derive(Debug)]
pub(super) struct Log<F> {
    pub(super) flash: F,
}

/// Which frames are looked for, and how far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    pub(super) journal: JournalId,
    /// The first sequence number that will do.
    pub(super) from: u64,
    /// The first that will not.
    pub(super) below: u64,
}

/// A frame that was found, at the front of the caller's buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) at: End,
    pub(super) len: usize,
}

impl Found {
    /// The place behind the frame.
    pub(super) fn behind(&self) -> End {
        self.at.plus(self.len)
    }
}

impl<F: PagedFlash> Log<F> {
    pub(super) fn new<S>(flash: F) -> Result<Self, JournalError<F::Error, S>> {
        let (word, page) = (flash.word_len(), flash.page_len());
        let suits = word > 0
            && flash.read_len() > 0
            && WORD_MAX_LEN.is_multiple_of(word)
            && word.is_multiple_of(flash.read_len())
            && page.is_multiple_of(CHUNK)
            && page >= PAGE_HEADER_LEN + FRAME_MAX_LEN
            && u32::try_from(flash.capacity()).is_ok()
            && flash.capacity() / page >= LOG_PAGES_MIN as usize;
        if suits {
            Ok(Self { flash })
        } else {
            Err(JournalError::Geometry)
        }
    }

    pub(super) fn pages(&self) -> u64 {
        let pages = self.flash.capacity().checked_div(self.flash.page_len());
        // A log of no pages is not made.
        pages.unwrap_or(1).max(1) as u64
    }

    /// The page's number modulo the count of pages. A device erases fewer than 2^32 pages in its
    /// life, and divides 32 bits in one instruction; above that it goes bit by bit.
    fn place(&self, page: u64) -> u32 {
        let pages = u32::try_from(self.pages()).unwrap_or(u32::MAX);
        if let Ok(page) = u32::try_from(page) {
            return page.checked_rem(pages).unwrap_or(0);
        }
        (0..u64::BITS).rev().fold(0, |rest, bit| {
            let doubled = u64::from(rest) * 2 + (page >> bit & 1);
            let pages = u64::from(pages);
            let rest = if doubled < pages {
                doubled
            } else {
                doubled - pages
            };
            u32::try_from(rest).unwrap_or(0)
        })
    }

    pub(super) fn page_len(&self) -> u32 {
        u32::try_from(self.flash.page_len()).unwrap_or(u32::MAX)
    }

    pub(super) fn word(&self) -> usize {
        self.flash.word_len().max(1)
    }

    /// The offset in flash; pages are within the capacity, which fits.
    pub(super) fn address(&self, at: End) -> u32 {
        self.place(at.page)
            .saturating_mul(self.page_len())
            .saturating_add(at.offset)
    }

    /// The first sequence number of a page, if its header can be read and is this page's.
    pub(super) fn first_of<S>(
        &mut self,
        page: u64,
        journal: JournalId,
    ) -> Result<Option<u64>, JournalError<F::Error, S>> {
        let mut header = [0; PAGE_HEADER_LEN];
        let at = self.address(End { page, offset: 0 });
        self.flash
            .read(at, &mut header)
            .map_err(JournalError::Flash)?;
        let item = Item::split(&header).map(|(item, _)| item);
        Ok(item
            .filter(|item| item.journal == journal)
            .and_then(|item| item.page())
            .filter(|(number, _)| *number == page)
            .map(|(_, first)| first))
    }

    /// The first sequence number that is not in `page`: that of the next page with a readable
    /// header up to `last`, or `count`.
    pub(super) fn bound_of<S>(
        &mut self,
        page: u64,
        last: u64,
        journal: JournalId,
        count: u64,
    ) -> Result<u64, JournalError<F::Error, S>> {
        for later in page.saturating_add(1)..=last {
            if let Some(first) = self.first_of(later, journal)? {
                return Ok(first.min(count));
            }
        }
        Ok(count)
    }

    /// Whether everything from `at` to the end of its page is blank.
    pub(super) fn is_blank<S>(&mut self, at: End) -> Result<bool, JournalError<F::Error, S>> {
        let mut chunk = [0; CHUNK];
        let mut offset = at.offset;
        while offset < self.page_len() {
            let left = usize::try_from(self.page_len() - offset).unwrap_or(CHUNK);
            let part = chunk.get_mut(..left.min(CHUNK)).unwrap_or_default();
            let address = self.address(End { offset, ..at });
            self.flash
                .read(address, part)
                .map_err(JournalError::Flash)?;
            if part.iter().fold(u8::MAX, |all, byte| all & byte) != u8::MAX {
                return Ok(false);
            }
            offset += 64;
        }
        Ok(true)
    }

    /// Erases the place of a page and writes its header.
    pub(super) fn open_page<S>(
        &mut self,
        page: u64,
        journal: JournalId,
        first: u64,
    ) -> Result<(), JournalError<F::Error, S>> {
        let from = self.address(End { page, offset: 0 });
        self.flash
            .erase(from, from.saturating_add(self.page_len()))
            .map_err(JournalError::Flash)?;
        if !self.is_blank(End { page, offset: 0 })? {
            return Err(JournalError::Worn { offset: from });
        }
        let header = write_page(journal, page, first).map_err(|_| JournalError::Geometry)?;
        self.program(End { page, offset: 0 }, &header)
    }

    /// Programs whole words and reads them back.
    pub(super) fn program<S>(
        &mut self,
        at: End,
        bytes: &[u8],
    ) -> Result<(), JournalError<F::Error, S>> {
        let address = self.address(at);
        self.flash
            .write(address, bytes)
            .map_err(JournalError::Flash)?;
        let mut back = [0; CHUNK];
        let mut offset = address;
        for part in bytes.chunks(CHUNK) {
            let back = back.get_mut(..part.len()).unwrap_or_default();
            self.flash.read(offset, back).map_err(JournalError::Flash)?;
            if back != part {
                return Err(JournalError::Worn { offset: address });
            }
            offset = offset.saturating_add(64);
        }
        Ok(())
    }

    /// The first frame that will do from `at` up to `limit` in its page. Looks at every word and
    /// passes over what is no frame.
    pub(super) fn find_in_page<S>(
        &mut self,
        at: End,
        limit: u32,
        sought: &Sought,
        buffer: &mut [u8; FRAME_MAX_LEN],
    ) -> Result<Option<Found>, JournalError<F::Error, S>> {
        let mut offset = at.offset;
        while offset < limit {
            let left = usize::try_from(limit - offset).unwrap_or(FRAME_MAX_LEN);
            let window = buffer
                .get_mut(..left.min(FRAME_MAX_LEN))
                .unwrap_or_default();
            let address = self.address(End { offset, ..at });
            self.flash
                .read(address, window)
                .map_err(JournalError::Flash)?;
            if let Some((sequence, len)) = front(window, sought) {
                let at = End { offset, ..at };
                return Ok(Some(Found { sequence, at, len }));
            }
            offset = offset.saturating_add(next_word(window, self.word(), sought));
        }
        Ok(None)
    }
}

/// The frame that stands at the front of `window`, if it will do.
fn front(window: &[u8], sought: &Sought) -> Option<(u64, usize)> {
    let (item, _) = Item::split(window)?;
    let frame = Envelope::of(&item).filter(|_| item.journal == sought.journal)?;
    (sought.from..sought.below)
        .contains(&frame.sequence)
        .then_some((frame.sequence, item.bytes.len()))
}

/// How far it is to the next word that may begin a frame, at least one word. The last bytes of
/// the window cannot be judged and begin the next one.
fn next_word(window: &[u8], word: usize, sought: &Sought) -> u32 {
    let mut at = word;
    while let Some(part) = window.get(at..) {
        let whole = part.len() >= HEAD_LEN;
        if !whole || may_begin(part, sought) {
            break;
        }
        at += word;
    }
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn may_begin(part: &[u8], sought: &Sought) -> bool {
    let journal = part.get(4..PREFIX_LEN);
    look(part).is_some_and(|(kind, _)| kind.is_frame())
        && journal == Some(sought.journal.as_bytes().as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbers_modulo_the_count_of_pages() {
        for pages in [2_usize, 3, 7, 100] {
            let mut bytes = vec![0; 512 * pages];
            let log = Log {
                flash: super::super::MemoryFlash::<4, 512>::new(&mut bytes),
            };
            for page in [
                0,
                1,
                99,
                1 << 31,
                1 << 32,
                (1 << 32) + 5,
                u64::MAX - 1,
                u64::MAX,
            ] {
                assert_eq!(u64::from(log.place(page)), page % pages as u64, "{page}");
            }
        }
    }

    #[test]
    fn blank_words_are_passed_over_at_once() {
        let sought = Sought {
            journal: JournalId([1; 8]),
            from: 0,
            below: 9,
        };
        let blank = [u8::MAX; FRAME_MAX_LEN];
        for word in [1_usize, 4, 8, 32] {
            let step = next_word(&blank, word, &sought) as usize;
            assert!(step > FRAME_MAX_LEN - HEAD_LEN - word && step <= FRAME_MAX_LEN);
            assert_eq!(next_word(&blank[..word], word, &sought) as usize, word);
        }
    }
}
