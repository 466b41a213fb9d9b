//! Reading an archive from front to back, every byte of it checked.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read};

use super::error::ArchiveError;
use super::export::aad;
use super::format::{
    ArchiveHeader, ArchiveId, BOUND_LEN, CHUNK_TEXT_MAX, ChunkKind, DIGEST_LEN, HEAD_LEN, Head,
    Totals, digest, item_len, read_item,
};
use crate::codec::Reader;
use crate::keys::KeyRing;
use crate::seal::{CHUNK_TAG_LEN, ChunkOpener};
use crate::time::UnixSeconds;
use crate::vault::{Item, admitted};

/// What a whole archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// Which archive it is.
    pub id: ArchiveId,
    /// When it was made.
    pub time: UnixSeconds,
    /// The generation of the ring that it was made with.
    pub generation: u64,
    /// Rows of vault and ledger.
    pub rows: u64,
    /// Index entries.
    pub entries: u64,
    /// The length of the archive, in bytes.
    pub bytes: u64,
}

/// Reads an archive to its end and notices every change. Writes nothing.
///
/// Takes as much memory as one chunk and a header. Reads whole chunks, and a few bytes between them:
/// buffer a slow source.
///
/// # Errors
/// [`ArchiveError`] for the first thing that is not as it was written.
pub fn verify(source: impl Read, ring: &KeyRing) -> Result<Contents, ArchiveError> {
    let mut archive = ArchiveReader::new(source, ring)?;
    let mut text = Vec::new();
    while archive.next(&mut text, |_| {})? {}
    Ok(archive.contents())
}

/// An archive that is being read.
pub(super) struct ArchiveReader<R> {
    source: R,
    header: ArchiveHeader,
    digest: [u8; DIGEST_LEN],
    opener: ChunkOpener,
    /// Bytes read so far.
    at: u64,
    /// The number of the next chunk.
    chunk: u64,
    totals: Totals,
    last: Option<Item>,
    /// The length of the text before.
    before: usize,
    /// What the archive says must be so once its header is known to be right.
    generation: Result<u64, ArchiveError>,
}

impl<R: Read> ArchiveReader<R> {
    pub(super) fn new(mut source: R, ring: &KeyRing) -> Result<Self, ArchiveError> {
        let mut bytes = Vec::new();
        let header = ArchiveHeader::read_into(&mut source, &mut bytes)?;
        header.check(ring)?;
        let key = ring.archive_key_of(&header.id.domain()?, header.key.version)?;
        if *key.id() != header.key_id {
            return Err(ArchiveError::OtherKey);
        }
        let generation = admitted(&header.guard, ring).map_err(ArchiveError::Vault);
        Ok(Self {
            source,
            digest: digest(&bytes),
            opener: ChunkOpener::new(&key),
            at: length(bytes.len()),
            chunk: 0,
            totals: Totals::default(),
            last: None,
            before: 0,
            generation,
            header,
        })
    }

    pub(super) const fn header(&self) -> &ArchiveHeader {
        &self.header
    }

    pub(super) const fn digest(&self) -> &[u8; DIGEST_LEN] {
        &self.digest
    }

    pub(super) const fn contents(&self) -> Contents {
        Contents {
            id: self.header.id,
            time: self.header.time,
            generation: self.header.generation,
            rows: self.totals.rows,
            entries: self.totals.unique.saturating_add(self.totals.others),
            bytes: self.at,
        }
    }

    /// Reads the next chunk and gives its items; `false` at the end, which was checked.
    pub(super) fn next(
        &mut self,
        text: &mut Vec<u8>,
        mut take: impl FnMut(Item),
    ) -> Result<bool, ArchiveError> {
        let (chunk, at) = (self.chunk, self.at);
        let mut head_bytes = [0; HEAD_LEN];
        self.read(&mut head_bytes)?;
        let head = Head::read(&head_bytes).map_err(|_| ArchiveError::Damaged { chunk, at })?;
        if head.id != self.header.id {
            return Err(ArchiveError::OtherArchive { chunk, at });
        }
        if head.number != chunk {
            let found = head.number;
            return Err(ArchiveError::OutOfPlace { chunk, found, at });
        }
        text.clear();
        text.resize(head.rest(), 0);
        self.read(text)?;
        self.open(&head, &head_bytes, text)
            .ok_or(ArchiveError::Damaged { chunk, at })?;
        if chunk == 0 && self.generation? != self.header.generation {
            return Err(ArchiveError::Content { chunk, at });
        }
        let content = ArchiveError::Content { chunk, at };
        self.chunk = chunk.checked_add(1).ok_or(content)?;
        match head.kind {
            ChunkKind::Items => self.items(text, &mut take).ok_or(content).map(|()| true),
            ChunkKind::Totals if text[..] == self.totals.to_bytes() => self.end().map(|()| false),
            ChunkKind::Totals => Err(content),
        }
    }

    /// Leaves the clear text alone in `text`.
    fn open(&self, head: &Head, bytes: &[u8; HEAD_LEN], text: &mut Vec<u8>) -> Option<()> {
        let tag: [u8; CHUNK_TAG_LEN] = *text.last_chunk()?;
        text.truncate(head.len);
        let bound: &[u8; BOUND_LEN] = bytes.first_chunk()?;
        let aad = aad(&self.digest, bound);
        self.opener.open(&head.nonce, &aad, text, &tag).ok()
    }

    /// The items of a text; none if a writer would not have put them so.
    fn items(&mut self, text: &[u8], take: &mut impl FnMut(Item)) -> Option<()> {
        let mut reader = Reader::new(text);
        loop {
            let first = reader.at() == 0;
            let item = read_item(&mut reader).ok()?;
            let follows = self.last.as_ref().is_none_or(|last| item.follows(last));
            // The chunk before had no room for this one.
            let full = !first || self.chunk == 1 || self.before + item_len(&item) > CHUNK_TEXT_MAX;
            if !follows || !full {
                return None;
            }
            self.totals.count(&item);
            take(item.clone());
            self.last = Some(item);
            if reader.at() == text.len() {
                self.before = text.len();
                return Some(());
            }
        }
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut more = [0];
        loop {
            match self.source.read(&mut more) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(ArchiveError::Trailing { at: self.at }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Io(error.kind())),
            }
        }
    }

    fn read(&mut self, out: &mut [u8]) -> Result<(), ArchiveError> {
        let mut rest = out;
        while !rest.is_empty() {
            match self.source.read(rest) {
                Ok(0) => {
                    let (chunk, at) = (self.chunk, self.at);
                    return Err(ArchiveError::Truncated { chunk, at });
                }
                Ok(read) => {
                    self.at = self.at.saturating_add(length(read));
                    rest = rest.get_mut(read..).unwrap_or_default();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Io(error.kind())),
            }
        }
        Ok(())
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
