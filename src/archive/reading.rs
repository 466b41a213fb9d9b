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

#[cfg(test)]
mod tests {
    use super::super::format::{put_bound, put_item};
    use super::*;
    use crate::codec::Writer;
    use crate::keys::{Cryptoperiod, Domain, KeyId, KeyUse, RingMark};
    use crate::seal::{ChunkSealer, NonceSource};
    use crate::vault::{Guard, IndexKey, Row, RowKey};
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn ring() -> KeyRing {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let mut ring = KeyRing::new(RingMark::Production, &mut rng).unwrap();
        for usage in [KeyUse::Index, KeyUse::Archive] {
            let period = Cryptoperiod::default_of(usage);
            let name = ring.add(usage, period, NOW, &mut rng).unwrap();
            ring.activate(name, NOW).unwrap();
        }
        ring
    }

    /// The guard of a vault that has seen this ring.
    fn guard(ring: &KeyRing) -> Guard {
        use crate::vault::{LineLog, Memory, Store, Vault};
        let log = LineLog::new(std::io::sink());
        let vault = pollster::block_on(Vault::open(Memory::new(), self::ring(), log)).unwrap();
        assert_eq!(ring.commitment(), self::ring().commitment());
        pollster::block_on(vault.store().guard()).unwrap().unwrap()
    }

    /// An archive whose chunks hold these texts, sealed as a faulty or malicious holder of the key
    /// could.
    fn forged(texts: &[(ChunkKind, Vec<u8>)], change: impl Fn(&mut ArchiveHeader)) -> Vec<u8> {
        let ring = ring();
        let id = [9; 16];
        let key = ring.archive_key(&Domain::new(&id).unwrap(), NOW).unwrap();
        let mut header = ArchiveHeader {
            mark: ring.mark(),
            ring: *ring.id(),
            generation: ring.generation(),
            id: ArchiveId::from_bytes(id),
            time: NOW,
            key: key.name(),
            sealed_ring: None,
            key_id: *key.id(),
            guard: guard(&ring),
        };
        change(&mut header);
        let mut archive = header.to_bytes().unwrap();
        let digest = digest(&archive);
        let mut nonces = NonceSource::new(ChaCha20Rng::from_seed([8; 32]));
        for (number, (kind, text)) in (0..).zip(texts) {
            let mut bound = [0; BOUND_LEN];
            let mut writer = Writer::new(&mut bound);
            put_bound(&mut writer, *kind, text.len(), number, &header.id).unwrap();
            let mut text = text.clone();
            let sealer = ChunkSealer::new(&key);
            let aad = aad(&digest, &bound);
            let (nonce, tag) = sealer.seal(&mut nonces, &aad, &mut text).unwrap();
            for part in [&bound[..], &nonce, &text, &tag] {
                archive.extend_from_slice(part);
            }
        }
        archive
    }

    fn text(items: &[Item]) -> Vec<u8> {
        let mut bytes = vec![0; CHUNK_TEXT_MAX];
        let mut writer = Writer::new(&mut bytes);
        for item in items {
            put_item(&mut writer, item).unwrap();
        }
        let len = writer.len();
        bytes.truncate(len);
        bytes
    }

    fn totals(items: &[Item]) -> Vec<u8> {
        let mut totals = Totals::default();
        items.iter().for_each(|item| totals.count(item));
        totals.to_bytes().to_vec()
    }

    fn row(key: &[u8], len: usize) -> Item {
        Item::Row(RowKey::new(key).unwrap(), Row::new(&vec![1; len]).unwrap())
    }

    fn entry(index: &[u8], key: &[u8], unique: bool) -> Item {
        let (index, key) = (IndexKey::new(index).unwrap(), RowKey::new(key).unwrap());
        if unique {
            Item::Unique(index, key)
        } else {
            Item::Other(index, key)
        }
    }

    fn of(items: &[Item], last: &[Item]) -> Result<Contents, ArchiveError> {
        let texts = [
            (ChunkKind::Items, text(items)),
            (ChunkKind::Totals, totals(last)),
        ];
        verify(&forged(&texts, |_| {})[..], &ring())
    }

    fn is_content(result: Result<Contents, ArchiveError>) -> bool {
        matches!(result, Err(ArchiveError::Content { .. }))
    }

    #[test]
    fn what_no_writer_puts_is_refused_though_it_is_sealed() {
        let good = [
            row(b"a", 3),
            row(b"b", 0),
            entry(b"x", b"b", true),
            entry(b"x", b"a", false),
        ];
        assert!(of(&good, &good).is_ok());
        for at in 0..good.len() {
            for other in at + 1..good.len() {
                let mut swapped = good.clone();
                swapped.swap(at, other);
                assert!(is_content(of(&swapped, &good)), "{at} and {other}");
            }
            let mut twice = good.to_vec();
            twice.insert(at, good[at].clone());
            assert!(is_content(of(&twice, &twice)), "{at} twice");
            let mut fewer = good.to_vec();
            fewer.remove(at);
            assert!(of(&fewer, &fewer).is_ok());
            assert!(is_content(of(&fewer, &good)), "{at} is missing");
            assert!(is_content(of(&good, &fewer)), "{at} is too many");
        }
        let second = [entry(b"x", b"a", true), entry(b"x", b"b", true)];
        assert!(is_content(of(&second, &second)));
    }

    #[test]
    fn texts_that_are_no_items_are_refused() {
        let good = text(&[row(b"a", 3)]);
        let ends = totals(&[row(b"a", 3)]);
        let of = |items: Vec<u8>, ends: Vec<u8>| {
            let texts = [(ChunkKind::Items, items), (ChunkKind::Totals, ends)];
            verify(&forged(&texts, |_| {})[..], &ring())
        };
        assert!(of(good.clone(), ends.clone()).is_ok());
        for len in 0..good.len() {
            assert!(is_content(of(good[..len].to_vec(), ends.clone())), "{len}");
        }
        for bad in [
            vec![0, 1, b'a', 1, b'b'],
            vec![4, 1, b'a', 1, b'b'],
            vec![1, 0, 0, 0],
            vec![1, 81],
            vec![2, 0, 1, b'a'],
            vec![2, 1, b'a', 0],
            [&[1, 1, b'a', 2, 1][..], &[0; 513]].concat(),
            [&good[..], &[0]].concat(),
        ] {
            assert!(is_content(of(bad.clone(), ends.clone())), "{bad:?}");
        }
        for len in [0, 31, 33] {
            let mut other = ends.clone();
            other.resize(len, 0);
            assert!(is_content(of(good.clone(), other)), "{len}");
        }
    }

    #[test]
    fn a_chunk_takes_what_fits() {
        let items: Vec<_> = (0_u16..200).map(|n| row(&n.to_be_bytes(), 500)).collect();
        let fit = CHUNK_TEXT_MAX / item_len(&items[0]);
        let cut_at = |fit: usize| {
            let texts = [
                (ChunkKind::Items, text(&items[..fit])),
                (ChunkKind::Items, text(&items[fit..])),
                (ChunkKind::Totals, totals(&items)),
            ];
            verify(&forged(&texts, |_| {})[..], &ring())
        };
        assert!(cut_at(fit).is_ok());
        assert!(is_content(cut_at(fit - 1)));
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let ends = [(ChunkKind::Totals, totals(&[]))];
        let of = |change: fn(&mut ArchiveHeader)| verify(&forged(&ends, change)[..], &ring());
        assert!(of(|_| {}).is_ok());
        assert!(is_content(of(|header| header.generation -= 1)));
        assert!(of(|header| header.guard = Guard::new(b"guard").unwrap()).is_err());
        assert!(of(|header| header.key.version = 0).is_err());
        assert!(of(|header| header.key.version = 2).is_err());
        let other = ArchiveError::OtherKey;
        assert_eq!(
            of(|header| header.key_id = KeyId::from_bytes([0; 16])),
            Err(other)
        );
    }
}
