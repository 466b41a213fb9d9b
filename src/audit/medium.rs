//! Where a log's files lie.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::AuditError;
use super::log::MAX_AUDIT_FILE;

/// The state's file.
pub(super) const STATE_FILE: &str = "state.cvs";
/// How the names of the log's files end.
const ENDING: &str = ".cva";

/// The name of the log's file of this number.
pub(super) fn file_name(file: u32) -> String {
    format!("{file:08}{ENDING}")
}

/// The number of a log's file, if it is one's name.
pub(super) fn file_number(name: &str) -> Option<u32> {
    let file = name.strip_suffix(ENDING)?.parse().ok()?;
    (file_name(file) == name).then_some(file)
}

/// A folder of files, as the writer needs it. What [`Medium::sync`] covered is durable.
pub(super) trait Medium: Send + 'static {
    /// What the file holds, at most a byte more than [`MAX_AUDIT_FILE`]; none if it is not there.
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes into the file, which is made if it is not there.
    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to this length.
    fn cut(&mut self, name: &str, len: u64) -> io::Result<()>;

    /// Makes what the file holds durable.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Makes the names of new files durable.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// A folder on disk, locked by its state's file.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    state: File,
    /// The log's file that was written last.
    open: Option<(String, File)>,
}

impl Folder {
    /// Makes the folder, for the owner alone, or takes an empty one.
    pub(super) fn create(path: &Path) -> Result<Self, AuditError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            sync_folder(parent)?;
        }
        let mut options = options();
        options.create(true);
        let folder = Self::lock(path, options.open(path.join(STATE_FILE))?)?;
        Ok(folder)
    }

    /// The folder of a log that was begun.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let state = options().open(path.join(STATE_FILE));
        let state = state.map_err(|error| match error.kind() {
            ErrorKind::NotFound => AuditError::NoLog,
            kind => AuditError::Io(kind),
        })?;
        Self::lock(path, state)
    }

    fn lock(path: &Path, state: File) -> Result<Self, AuditError> {
        state.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => AuditError::AlreadyOpen,
            TryLockError::Error(error) => error.into(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            state,
            open: None,
        })
    }

    /// The file of this name; made if it is not there and is to be written.
    fn file(&mut self, name: &str, make: bool) -> io::Result<&mut File> {
        if name == STATE_FILE {
            return Ok(&mut self.state);
        }
        let known = self.open.take().filter(|(open, _)| open == name);
        let known = match known {
            Some(known) => known,
            None => {
                let mut options = options();
                options.create(make);
                (name.to_owned(), options.open(self.path.join(name))?)
            }
        };
        Ok(&mut self.open.insert(known).1)
    }
}

impl Medium for Folder {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match self.file(name, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        file.take(MAX_AUDIT_FILE + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(name, true)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }

    fn cut(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.file(name, true)?.set_len(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name, false)?.sync_data()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        sync_folder(&self.path)
    }
}

/// Reads and writes; on Unix the owner alone may read what is made.
fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Whether a writer has the log in this folder open.
pub(super) fn is_open(path: &Path) -> bool {
    let state = File::open(path.join(STATE_FILE));
    state.is_ok_and(|state| matches!(state.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The numbers of the log's files in a folder, in order.
pub(super) fn files_in(path: &Path) -> io::Result<Vec<u32>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        files.extend(entry?.file_name().to_str().and_then(file_number));
    }
    files.sort_unstable();
    Ok(files)
}
