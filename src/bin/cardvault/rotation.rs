//! How far a rotation is: the file `rotation-card` or `rotation-ledger` in the vault's folder, from
//! before the ring changes until all records are under the new version.
//!
//! One line: the version that becomes active, and for card keys behind a tab the cursor in letters
//! `a` to `p`, one for four bits.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use cardvault::keys::{KeyName, KeyUse};

use crate::failure::{Failure, Outcome};
use crate::files::{Draft, Readers};
use crate::folder::Folder;
use crate::letters::{from_letters, letters};

pub(crate) struct Rotation {
    path: PathBuf,
    /// What an earlier run left.
    pub(crate) unfinished: Option<Unfinished>,
}

pub(crate) struct Unfinished {
    pub(crate) name: KeyName,
    pub(crate) cursor: Vec<u8>,
}

impl Rotation {
    pub(crate) fn open(folder: &Folder, usage: KeyUse) -> Outcome<Self> {
        let path = folder.path().join(format!("rotation-{usage}"));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let unfinished = None;
                return Ok(Self { path, unfinished });
            }
            Err(error) => return Err(Failure::at(&path)(error)),
        };
        let unfinished = read(&text).filter(|unfinished| unfinished.name.usage == usage);
        if unfinished.is_none() {
            return Err(
                Failure::files(path.display().to_string(), "is damaged or something else").hint(
                    "delete it and run `cardvault vault rewrap FOLDER`: what is done stays done",
                ),
            );
        }
        Ok(Self { path, unfinished })
    }

    /// Keeps where the rotation to `name` is; durable when it returns.
    pub(crate) fn keep(&self, name: KeyName, cursor: &[u8]) -> Outcome<()> {
        let mut draft = Draft::begin(&self.path, Readers::Owner)?;
        writeln!(draft, "{name}\t{}", letters(cursor)).map_err(Failure::at(&self.path))?;
        draft.place()
    }

    /// It came to its end.
    pub(crate) fn end(self) -> Outcome<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::at(&self.path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn read(text: &str) -> Option<Unfinished> {
    let (name, cursor) = text.strip_suffix('\n')?.split_once('\t')?;
    Some(Unfinished {
        name: name.parse().ok()?,
        cursor: from_letters(cursor)?,
    })
}
