//! A file that behaves as flash, so that journal and state can be kept in files.
//!
//! Every write and erase is on the disk before it returns. Whether erased bytes are gone from the
//! medium is up to what lies below: behind a file system that copies, or an SSD, old keys may
//! stay readable to who takes the disk apart.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

const WORD: usize = 4;
const PAGE: usize = 4096;

/// A file as flash with words of 4 and pages of 4096 bytes.
#[derive(Debug)]
pub struct FileFlash {
    file: File,
    len: usize,
}

/// What the file reported.
#[derive(Debug)]
pub enum FileFlashError {
    /// The call does not fit the file.
    Flash(NorFlashErrorKind),
    /// The operating system's error.
    Io(std::io::Error),
}

impl std::fmt::Display for FileFlashError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flash(kind) => kind.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FileFlashError {}

impl NorFlashError for FileFlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Flash(kind) => *kind,
            Self::Io(_) => NorFlashErrorKind::Other,
        }
    }
}

impl From<NorFlashErrorKind> for FileFlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        Self::Flash(kind)
    }
}

impl From<std::io::Error> for FileFlashError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl FileFlash {
    /// Opens the file, locks it and, if it is new or shorter, makes it `pages` pages long.
    ///
    /// # Errors
    /// The operating system's; [`FileFlashError::Flash`] if `pages` is too large.
    pub fn open(path: impl AsRef<Path>, pages: u32) -> Result<Self, FileFlashError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.try_lock().map_err(std::io::Error::from)?;
        let len = u32::try_from(PAGE)
            .ok()
            .and_then(|page| pages.checked_mul(page))
            .ok_or(NorFlashErrorKind::OutOfBounds)?;
        let mut flash = Self {
            len: usize::try_from(len).map_err(|_| NorFlashErrorKind::OutOfBounds)?,
            file,
        };
        let old = flash.file.metadata()?.len();
        flash.file.seek(SeekFrom::Start(old))?;
        let mut missing = u64::from(len).saturating_sub(old);
        while missing > 0 {
            let part = usize::try_from(missing).unwrap_or(PAGE).min(PAGE);
            flash
                .file
                .write_all(BLANK.get(..part).unwrap_or_default())?;
            missing -= part as u64;
        }
        flash.file.sync_all()?;
        Ok(flash)
    }

    /// How many pages the file has.
    #[must_use]
    pub const fn pages(&self) -> usize {
        self.len / PAGE
    }
}

static BLANK: [u8; PAGE] = [u8::MAX; PAGE];

impl ErrorType for FileFlash {
    type Error = FileFlashError;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        self.file.seek(SeekFrom::Start(u64::from(offset)))?;
        self.file.read_exact(bytes)?;
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.len
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        self.file.seek(SeekFrom::Start(u64::from(from)))?;
        for _ in (from..to).step_by(PAGE) {
            self.file.write_all(&BLANK)?;
        }
        self.file.sync_data()?;
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        self.file.seek(SeekFrom::Start(u64::from(offset)))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        Ok(())
    }
}
