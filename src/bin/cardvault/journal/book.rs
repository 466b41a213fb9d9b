//! What the host has verified of each journal: the file `journals` in the vault's folder.
//!
//! One line for each journal, parts between tabs: domain, terminal, epoch, version of the base
//! key, count of entries, and the aggregate in letters `a` to `p`, one for four bits.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cardvault::journal::{Identity, POSITION_LEN, Position};
use cardvault::keys::Domain;

use crate::failure::{Failure, Outcome};
use crate::files::{Draft, Readers};
use crate::letters::{from_letters, letters};

const FILE: &str = "journals";
const FIRST_LINE: &str = "cardvault journals 1";

pub(crate) struct Book {
    path: PathBuf,
    known: Vec<Known>,
}

#[derive(Clone, Copy)]
struct Known {
    domain: Domain,
    identity: Identity,
    position: Position,
}

impl Book {
    pub(super) fn open(vault: &Path) -> Outcome<Self> {
        let path = vault.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    path,
                    known: Vec::new(),
                });
            }
            Err(error) => return Err(Failure::at(&path)(error)),
        };
        let mut lines = text.lines();
        let known: Option<Vec<_>> = match lines.next() {
            Some(FIRST_LINE) => lines.map(read_line).collect(),
            _ => None,
        };
        let known = known.ok_or_else(|| {
            Failure::files(path.display().to_string(), "is damaged or something else")
                .hint("put the newest backup of it back")
        })?;
        Ok(Self { path, known })
    }

    /// How far this journal was verified.
    pub(super) fn position(&self, domain: &Domain, identity: &Identity) -> Position {
        let found = self.known.iter().find(|known| known.is(domain, identity));
        found.map_or(Position::START, |known| known.position)
    }

    /// The last epoch of a terminal that was begun; 0 if none was.
    pub(super) fn last_epoch(&self, domain: &Domain, terminal: &[u8]) -> u32 {
        let known = self.known.iter();
        let epochs = known
            .filter(|known| known.domain == *domain && known.identity.terminal() == terminal)
            .map(|known| known.identity.epoch());
        epochs.max().unwrap_or(0)
    }

    /// Keeps a position.
    pub(super) fn keep(
        &mut self,
        domain: &Domain,
        identity: &Identity,
        position: Position,
    ) -> Outcome<()> {
        self.known.retain(|known| !known.is(domain, identity));
        self.known.push(Known {
            domain: *domain,
            identity: *identity,
            position,
        });
        let mut draft = Draft::begin(&self.path, Readers::Owner)?;
        let mut written = writeln!(draft, "{FIRST_LINE}");
        for known in &self.known {
            let line = known.line();
            written = written.and_then(|()| writeln!(draft, "{line}"));
        }
        written.map_err(Failure::at(&self.path))?;
        draft.place()
    }
}

impl Known {
    fn is(&self, domain: &Domain, identity: &Identity) -> bool {
        self.domain == *domain && self.identity == *identity
    }

    fn line(&self) -> String {
        let position = self.position.to_bytes();
        let aggregate = position.get(8..).unwrap_or_default();
        format!(
            "{}\t{}\t{}\t{}\t{}\t{}",
            self.domain,
            letters(self.identity.terminal()),
            self.identity.epoch(),
            self.identity.base_version(),
            self.position.count(),
            letters(aggregate),
        )
    }
}

fn read_line(line: &str) -> Option<Known> {
    let parts: Vec<_> = line.split('\t').collect();
    let [domain, terminal, epoch, version, count, aggregate] = parts.as_slice() else {
        return None;
    };
    let (terminal, aggregate) = (from_letters(terminal)?, from_letters(aggregate)?);
    let mut position = [0; POSITION_LEN];
    let (head, rest) = position.split_first_chunk_mut()?;
    *head = count.parse::<u64>().ok()?.to_be_bytes();
    if rest.len() != aggregate.len() {
        return None;
    }
    rest.copy_from_slice(&aggregate);
    Some(Known {
        domain: domain.parse().ok()?,
        identity: Identity::new(&terminal, epoch.parse().ok()?, version.parse().ok()?).ok()?,
        position: Position::from_bytes(&position),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (shop, other): (Domain, Domain) = ("shop 1".parse().unwrap(), r"\x09".parse().unwrap());
        let identity = |epoch| Identity::new(b"T 1\t", epoch, 1).unwrap();
        let position = |count: u8| {
            let mut bytes = [count; POSITION_LEN];
            bytes[..7].fill(0);
            Position::from_bytes(&bytes)
        };
        let mut book = Book::open(folder.path()).unwrap();
        for (domain, epoch, count) in [(shop, 1, 3), (other, 2, 5), (shop, 1, 9)] {
            book.keep(&domain, &identity(epoch), position(count))
                .unwrap();
        }
        let book = Book::open(folder.path()).unwrap();
        assert_eq!(book.position(&shop, &identity(1)), position(9));
        assert_eq!(book.position(&other, &identity(2)), position(5));
        assert_eq!(book.position(&shop, &identity(2)), Position::START);
        assert_eq!(book.last_epoch(&other, b"T 1\t"), 2);
        assert_eq!(book.last_epoch(&other, b"T 1"), 0);
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        for bad in [
            "",
            "other\n",
            &text.replace("\t1\t", "\tx\t"),
            &text[..text.len() - 3],
        ] {
            fs::write(&path, bad).unwrap();
            assert!(Book::open(folder.path()).is_err(), "{bad}");
        }
    }
}
