//! Files that are there as a whole or not at all.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The owner alone.
    Owner,
    /// Whom the user's file mask lets.
    Usual,
}

/// A file that is written beside its place and put there when it is complete.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    beside: PathBuf,
    placed: bool,
}

impl Draft {
    /// Begins to write what is to be at `path`. What an interrupted run left there is overwritten.
    pub(crate) fn begin(path: &Path, readers: Readers) -> Outcome<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| Failure::usage(path.display().to_string(), "not a file's name"))?;
        let mut draft = std::ffi::OsString::from(".");
        draft.push(name);
        draft.push(".cardvault-draft");
        let beside = path.with_file_name(draft);
        // Somebody else's link here would send what is written to a place of his choice.
        if fs::symlink_metadata(&beside).is_ok_and(|known| !known.is_file()) {
            return Err(
                Failure::files(beside.display().to_string(), "is there and is no file")
                    .hint("take it away"),
            );
        }
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        if readers == Readers::Owner {
            for_owner(&mut options);
        }
        let file = options.open(&beside).map_err(Failure::at(path))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                Failure::files(path.display().to_string(), "another run is writing it")
                    .hint("wait for it, or choose another name")
            }
            TryLockError::Error(error) => Failure::at(path)(error),
        })?;
        file.set_len(0).map_err(Failure::at(path))?;
        if readers == Readers::Owner {
            // What an interrupted run left may have been for others to read.
            restrict(&file).map_err(Failure::at(path))?;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            beside,
            placed: false,
        })
    }

    /// Puts the file in its place; after a power cut it is there, or what was there before.
    pub(crate) fn place(mut self) -> Outcome<()> {
        let placed = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.beside, &self.path));
        placed.map_err(Failure::at(&self.path))?;
        self.placed = true;
        sync_folder_of(&self.path).map_err(Failure::at(&self.path))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing can be done if it stays; the next run overwrites it.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Where a file command writes.
#[derive(Debug)]
pub(crate) enum Output {
    File(Draft),
    Stream(PathBuf, Box<dyn WriteDebug>),
}

/// A stream that can be named in an error.
pub(crate) trait WriteDebug: Write + std::fmt::Debug {}

impl<W: Write + std::fmt::Debug> WriteDebug for W {}

impl Output {
    /// `-` is standard output; a device or a pipe is written as it comes.
    pub(crate) fn open(path: &Path, readers: Readers) -> Outcome<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stream(
                "standard output".into(),
                Box::new(io::stdout()),
            ));
        }
        match fs::metadata(path) {
            Ok(known) if known.is_dir() => Err(Failure::usage(
                path.display().to_string(),
                "this is a folder, not a file",
            )),
            Ok(known) if !known.is_file() => {
                let file = File::options().write(true).open(path);
                let file = file.map_err(Failure::at(path))?;
                Ok(Self::Stream(path.to_owned(), Box::new(file)))
            }
            _ => Draft::begin(path, readers).map(Self::File),
        }
    }

    pub(crate) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self {
            Self::File(draft) => draft.write_all(bytes).map_err(Failure::at(&draft.path)),
            Self::Stream(path, stream) => stream.write_all(bytes).map_err(Failure::at(path)),
        }
    }

    pub(crate) fn finish(self) -> Outcome<()> {
        match self {
            Self::File(draft) => draft.place(),
            Self::Stream(path, mut stream) => stream.flush().map_err(Failure::at(&path)),
        }
    }
}

/// Lets the owner alone read what is created.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn restrict(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let _ = file;
    Ok(())
}

/// Makes a folder, if it is not there, that the owner alone can read.
pub(crate) fn owner_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the names in the folder of `path` durable.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(()); // Other systems do not open folders as files.
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
