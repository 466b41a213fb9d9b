//! Whose audit log it is, and the keys that follow from it.
//!
//! ```text
//! chain key = Expand(base key, CHAIN | epoch 4 | writer's name)
//! id        = Expand(chain key, ID), 8 bytes
//! ```
//!
//! [`crate::ratchet`] goes on from the chain key. Expand is HKDF-Expand with SHA-256 (RFC 5869).
#![forbid(unsafe_code)]

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::error::AuditError;
use super::frame::{Frame, Kind, put_frame};
use crate::keys::{AuditKey, AuditVerifyingKey, KeyRing, label};
use crate::ratchet::{self, Aggregate, Chain, Labels, PROOF_LEN};
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// The longest writer's name, in bytes. The shortest is 1.
pub const WRITER_MAX_LEN: usize = 32;
/// Length of the id that stands at the head of each file, in bytes.
pub const WRITER_ID_LEN: usize = 8;

/// Who writes a log: one process or instance, in one epoch, under one version of the base key. Not
/// secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Writer {
    name: String,
    epoch: u32,
    base_version: u32,
}

impl Writer {
    /// The writer of this name, 1 to [`WRITER_MAX_LEN`] ASCII letters, digits, dashes, dots and
    /// underscores, in its `epoch`, under this version of the base key.
    ///
    /// # Errors
    /// [`AuditError::Writer`] for another name.
    pub fn new(name: &str, epoch: u32, base_version: u32) -> Result<Self, AuditError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=WRITER_MAX_LEN).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(AuditError::Writer);
        }
        Ok(Self {
            name: name.to_owned(),
            epoch,
            base_version,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its epoch: raised whenever the writer gets a new chain key.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The version of the base key, as in `audit-1`.
    #[must_use]
    pub const fn base_version(&self) -> u32 {
        self.base_version
    }

    /// The writer's chain key, as who holds the base key makes it.
    pub(super) fn key(&self, ring: &KeyRing) -> Result<WriterKey, AuditError> {
        let base = ring.audit_key_of(self.base_version)?;
        Ok(WriterKey::derive(base.secret(), self.clone()))
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            epoch,
            base_version,
        } = self;
        write!(f, "{name} (epoch {epoch}, audit-{base_version})")
    }
}

/// What one writer gets for one epoch: all keys of its log follow from it. The writer forgets it
/// when the log is begun; who verifies derives it again.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct WriterKey {
    secret: Secret<32>,
    #[zeroize(skip)]
    writer: Writer,
}

impl AuditKey {
    /// The chain key of a writer for an epoch. Give each epoch of a writer out once.
    ///
    /// # Errors
    /// [`AuditError::Writer`]: see [`Writer::new`].
    pub fn writer_key(&self, name: &str, epoch: u32) -> Result<WriterKey, AuditError> {
        let writer = Writer::new(name, epoch, self.name().version)?;
        Ok(WriterKey::derive(self.secret(), writer))
    }
}

impl WriterKey {
    /// A chain key that was brought to the writer. The caller wipes its own copy.
    #[must_use]
    pub const fn new(secret: Secret<32>, writer: Writer) -> Self {
        Self { secret, writer }
    }

    /// The 32 bytes, for the one transport to the writer.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    /// Whose it is.
    #[must_use]
    pub const fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The id of the log that it begins.
    #[must_use]
    pub fn id(&self) -> [u8; WRITER_ID_LEN] {
        let mut id = [0; WRITER_ID_LEN];
        ratchet::derive(&self.secret, &[label::AUDIT_ID], &mut id);
        id
    }

    fn derive(base: &Secret<32>, writer: Writer) -> Self {
        let mut secret = Secret::zeroed();
        let epoch = writer.epoch.to_be_bytes();
        let info = [label::AUDIT_CHAIN, &epoch, writer.name.as_bytes()];
        ratchet::derive(base, &info, secret.expose_mut());
        Self { secret, writer }
    }
}

impl fmt::Debug for WriterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterKey({})", self.writer)
    }
}

/// The key of checkpoints.
pub(super) fn checkpoint_key(base: &AuditVerifyingKey) -> Secret<32> {
    let mut key = Secret::zeroed();
    ratchet::derive(base.secret(), &[label::AUDIT_CHECKPOINT], key.expose_mut());
    key
}

/// Where a log's keys stand: before frame `count`.
pub(super) struct Position {
    pub(super) chain: Chain<AuditLabels>,
    pub(super) aggregate: Aggregate,
    pub(super) count: u64,
}

impl Position {
    pub(super) fn begin(key: &WriterKey) -> Self {
        let (chain, aggregate) = ratchet::begin(&key.secret);
        Self {
            chain,
            aggregate,
            count: 0,
        }
    }

    /// A second one, for a way that may lead nowhere.
    pub(super) const fn copy(&self) -> Self {
        Self {
            chain: self.chain.copy(),
            aggregate: Aggregate(Secret::new(*self.aggregate.0.expose())),
            count: self.count,
        }
    }

    /// Steps over the frame if it is the one that belongs here.
    pub(super) fn take(&mut self, frame: &Frame<'_>) -> bool {
        if frame.sequence != self.count {
            return false;
        }
        let step = self.chain.prepare();
        if !frame.is_under(&step.entry_key()) {
            return false;
        }
        step.aggregate(&mut self.aggregate, frame.tag);
        step.next(&mut self.chain);
        self.count += 1;
        true
    }

    /// Steps over an opening that says that the frames between here and it were never written, or
    /// were dropped before anybody had relied on them.
    pub(super) fn take_opening(&mut self, frame: &Frame<'_>) -> Result<bool, AuditError> {
        let gap = frame.sequence.checked_sub(self.count);
        let Some(gap) = gap.filter(|gap| frame.explains(*gap)) else {
            return Ok(false);
        };
        let mut position = self.copy();
        position.skip(gap)?;
        if !position.take(frame) {
            return Ok(false);
        }
        *self = position;
        Ok(true)
    }

    /// Appends the next frame to `out` and steps over it.
    pub(super) fn put(
        &mut self,
        out: &mut Vec<u8>,
        kind: (Kind, bool),
        time: UnixSeconds,
        body: &[u8],
    ) -> Result<(), AuditError> {
        let next = self.count.checked_add(1).ok_or(AuditError::Over)?;
        let step = self.chain.prepare();
        let tag = put_frame(out, kind, self.count, time, body, &step.entry_key())?;
        step.aggregate(&mut self.aggregate, &tag);
        step.next(&mut self.chain);
        self.count = next;
        Ok(())
    }

    /// Steps over frames that are not there; the aggregate stays.
    pub(super) fn skip(&mut self, frames: u64) -> Result<(), AuditError> {
        self.count = self.count.checked_add(frames).ok_or(AuditError::Over)?;
        for _ in 0..frames {
            self.chain.advance();
        }
        Ok(())
    }

    /// Stands in a checkpoint for every frame before this.
    pub(super) fn proof(&self) -> [u8; PROOF_LEN] {
        self.chain.proof(self.count, &self.aggregate)
    }
}

/// Under which labels an audit log's ratchet steps.
pub(super) struct AuditLabels;

impl Labels for AuditLabels {
    const FIRST: &'static [u8] = label::AUDIT_FIRST;
    const START: &'static [u8] = label::AUDIT_START;
    const ENTRY: &'static [u8] = label::AUDIT_ENTRY;
    const NEXT: &'static [u8] = label::AUDIT_NEXT;
    const AGGREGATE: &'static [u8] = label::AUDIT_AGGREGATE;
    const RECEIPT: &'static [u8] = label::AUDIT_RECEIPT;
}
