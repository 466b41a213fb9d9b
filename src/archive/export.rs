//! Making an archive: the store as of one moment, chunk by chunk.
#![forbid(unsafe_code)]

use core::fmt;
use core::mem;
use std::collections::VecDeque;

use rand_core::TryCryptoRng;

use super::error::ArchiveError;
use super::format::{
    ArchiveHeader, ArchiveId, BOUND_LEN, CHUNK_TEXT_MAX, ChunkKind, DIGEST_LEN, HEAD_LEN, Totals,
    digest, item_len, put_bound, put_item,
};
use crate::codec::Writer;
use crate::seal::ChunkSealer;
use crate::secret::Secret;
use crate::vault::telemetry::{self, Call};
use crate::vault::{Access, Item, Snapshot, SnapshotStore, Vault};

/// Items that are asked of the snapshot at a time.
const PAGE: usize = 256;

impl<S: SnapshotStore, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Begins an archive of the whole store as of now, the ledger's rows included. Others go on
    /// writing. The access is logged first.
    ///
    /// With `sealed_ring`, the ring that the vault uses as it is stored, a restore needs nothing
    /// else but what opens that.
    ///
    /// # Errors
    /// [`KeyError::NoActive`](crate::keys::KeyError::NoActive) if the ring has no key for
    /// archives: add and activate one; [`ArchiveError::OtherSealedRing`];
    /// [`ArchiveError::SealedRing`]; the vault's.
    pub async fn export(
        &self,
        access: &Access,
        sealed_ring: Option<&[u8]>,
    ) -> Result<Export<'_, S, R>, ArchiveError> {
        let call = async {
            let asked = self.ask_export(access);
            let export = match asked {
                Ok(()) => self.begin_export(sealed_ring).await,
                Err(error) => Err(error.into()),
            };
            self.log_export(access, &asked, export.is_ok())?;
            export
        };
        telemetry::watch(Call::Export, None, 1, call).await
    }

    async fn begin_export(
        &self,
        sealed_ring: Option<&[u8]>,
    ) -> Result<Export<'_, S, R>, ArchiveError> {
        let id = self.with_random(|_, rng| Secret::random(rng))??;
        let id = ArchiveId::from_bytes(*id.expose());
        let (state, snapshot) = self.snapshot().await?;
        let (ring, time) = (&state.ring, self.now());
        let key = ring.archive_key(&id.domain()?, time)?;
        let header = ArchiveHeader {
            mark: ring.mark(),
            ring: *ring.id(),
            generation: ring.generation(),
            id,
            time,
            key: key.name(),
            sealed_ring: sealed_ring.map(<[u8]>::to_vec),
            key_id: *key.id(),
            guard: state.guard().clone(),
        };
        header.check_ring()?;
        let bytes = header.to_bytes()?;
        Ok(Export {
            vault: self,
            digest: digest(&bytes),
            header,
            sealer: ChunkSealer::new(&key),
            snapshot,
            stage: Stage::Header,
            pending: VecDeque::new(),
            number: 0,
            totals: Totals::default(),
            out: bytes,
        })
    }
}

/// An archive under way.
pub struct Export<'a, S: SnapshotStore, R> {
    vault: &'a Vault<S, R>,
    header: ArchiveHeader,
    digest: [u8; DIGEST_LEN],
    sealer: ChunkSealer,
    snapshot: S::Snapshot,
    stage: Stage,
    /// Items that were read and are in no chunk yet.
    pending: VecDeque<Item>,
    number: u64,
    totals: Totals,
    /// What was handed out last.
    out: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    /// The snapshot has more.
    Reading,
    /// The snapshot is through.
    Emptying,
    Done,
    Broken,
}

impl<S: SnapshotStore, R: TryCryptoRng + Send + 'static> Export<'_, S, R> {
    /// What the archive says of itself.
    #[must_use]
    pub const fn header(&self) -> &ArchiveHeader {
        &self.header
    }

    /// How many rows are in the archive so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.totals.rows
    }

    /// The next bytes of the archive; none at its end. What came before the end is no archive.
    ///
    /// # Errors
    /// [`ArchiveError::Random`]; the store's. After an error, and after a future of this call was
    /// dropped before its end, every further call is [`ArchiveError::Broken`].
    pub async fn next(&mut self) -> Result<Option<&[u8]>, ArchiveError> {
        let mut stage = mem::replace(&mut self.stage, Stage::Broken);
        match stage {
            Stage::Broken => return Err(ArchiveError::Broken),
            Stage::Done => {
                self.stage = Stage::Done;
                return Ok(None);
            }
            Stage::Header => {
                self.stage = Stage::Reading;
                return Ok(Some(&self.out));
            }
            Stage::Reading | Stage::Emptying => {}
        }
        self.out.clear();
        self.out.resize(HEAD_LEN, 0);
        loop {
            while let Some(item) = self.pending.front() {
                let (at, len) = (self.out.len(), item_len(item));
                if at - HEAD_LEN + len > CHUNK_TEXT_MAX {
                    self.seal(ChunkKind::Items)?;
                    self.stage = stage;
                    return Ok(Some(&self.out));
                }
                self.out.resize(at + len, 0);
                let room = self.out.get_mut(at..).unwrap_or_default();
                put_item(&mut Writer::new(room), item).map_err(ArchiveError::Header)?;
                self.totals.count(item);
                self.pending.pop_front();
            }
            if stage == Stage::Emptying {
                break;
            }
            let page = self.snapshot.next(PAGE).await?;
            if page.len() < PAGE {
                stage = Stage::Emptying;
            }
            self.pending.extend(page);
        }
        if self.out.len() > HEAD_LEN {
            self.seal(ChunkKind::Items)?;
            self.stage = Stage::Emptying;
        } else {
            self.out.extend_from_slice(&self.totals.to_bytes());
            self.seal(ChunkKind::Totals)?;
            self.stage = Stage::Done;
        }
        Ok(Some(&self.out))
    }

    /// Seals the text in `out` behind its head, and completes both.
    fn seal(&mut self, kind: ChunkKind) -> Result<(), ArchiveError> {
        let len = self.out.len() - HEAD_LEN;
        let mut bound = [0; BOUND_LEN];
        let mut writer = Writer::new(&mut bound);
        put_bound(&mut writer, kind, len, self.number, &self.header.id)
            .map_err(ArchiveError::Header)?;
        let aad = aad(&self.digest, &bound);
        let text = self.out.get_mut(HEAD_LEN..).unwrap_or_default();
        let (nonce, tag) = self
            .vault
            .with_random(|nonces, _| self.sealer.seal(nonces, &aad, text))??;
        let mut writer = Writer::new(&mut self.out);
        let head = writer.put(&bound).and_then(|()| writer.put(&nonce));
        head.map_err(ArchiveError::Header)?;
        self.out.extend_from_slice(&tag);
        self.number = self.number.saturating_add(1);
        Ok(())
    }
}

/// What a chunk's text is bound to.
pub(super) fn aad(
    digest: &[u8; DIGEST_LEN],
    bound: &[u8; BOUND_LEN],
) -> [u8; DIGEST_LEN + BOUND_LEN] {
    let mut aad = [0; DIGEST_LEN + BOUND_LEN];
    for (to, from) in aad.iter_mut().zip(digest.iter().chain(bound)) {
        *to = *from;
    }
    aad
}

impl<S: SnapshotStore, R> fmt::Debug for Export<'_, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("id", &self.header.id)
            .field("chunks", &self.number)
            .finish_non_exhaustive()
    }
}
