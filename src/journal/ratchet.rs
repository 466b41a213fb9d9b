//! The journal's keys: from the base key to a terminal's chain key, from which [`crate::ratchet`]
//! goes on.
//!
//! ```text
//! chain key = Expand(base key, CHAIN | epoch 4 | terminal id)
//! id        = Expand(chain key, ID), 8 bytes
//! ```
//!
//! Expand is HKDF-Expand with SHA-256 (RFC 5869) and its first argument as the PRK.
#![forbid(unsafe_code)]

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::error::SetUpError;
use crate::keys::label;
use crate::keys::{JournalKey, JournalReadingKey};
use crate::ratchet::{self, Labels};
use crate::secret::Secret;

pub(super) use crate::ratchet::Aggregate;

/// The journal's ratchet.
pub(super) type Chain = ratchet::Chain<JournalLabels>;

/// Length of a [`JournalId`], in bytes.
pub const JOURNAL_ID_LEN: usize = 8;
/// The longest terminal id, in bytes. The shortest is 1.
pub const TERMINAL_MAX_LEN: usize = 16;
/// Length of a [`Receipt`], in bytes.
pub const RECEIPT_LEN: usize = ratchet::PROOF_LEN;
/// Length of an aggregate, in bytes.
pub const AGGREGATE_LEN: usize = ratchet::AGGREGATE_LEN;

/// Names one journal: a terminal in one epoch under one base key. Derived, not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub(super) [u8; JOURNAL_ID_LEN]);

impl JournalId {
    /// The 8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; JOURNAL_ID_LEN] {
        &self.0
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalId({self})")
    }
}

/// Whose journal it is. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    pub(super) terminal: [u8; TERMINAL_MAX_LEN],
    pub(super) terminal_len: u8,
    pub(super) epoch: u32,
    pub(super) base_version: u32,
}

impl Identity {
    /// The terminal with this id, 1 to [`TERMINAL_MAX_LEN`] bytes, in its `epoch`, under this
    /// version of the base key.
    ///
    /// # Errors
    /// [`SetUpError::Terminal`] for another length.
    pub fn new(terminal: &[u8], epoch: u32, base_version: u32) -> Result<Self, SetUpError> {
        let refused = SetUpError::Terminal {
            bytes: terminal.len(),
        };
        let mut padded = [0; TERMINAL_MAX_LEN];
        let place = padded.get_mut(..terminal.len()).ok_or(refused)?;
        if place.is_empty() {
            return Err(refused);
        }
        place.copy_from_slice(terminal);
        Ok(Self {
            terminal: padded,
            terminal_len: u8::try_from(terminal.len()).map_err(|_| refused)?,
            epoch,
            base_version,
        })
    }

    /// The terminal's id.
    #[must_use]
    pub fn terminal(&self) -> &[u8] {
        self.terminal
            .get(..usize::from(self.terminal_len))
            .unwrap_or_default()
    }

    /// The epoch: raised whenever the terminal gets a new chain key.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The version of the base key, as in `journal-1`.
    #[must_use]
    pub const fn base_version(&self) -> u32 {
        self.base_version
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Identity({}, epoch {}, journal-{})",
            self.terminal().escape_ascii(),
            self.epoch,
            self.base_version
        )
    }
}

/// What one terminal gets for one epoch: everything that its journal is sealed with follows from
/// it. The terminal forgets it when the journal is created; the host derives it again.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ChainKey {
    secret: Secret<32>,
    #[zeroize(skip)]
    identity: Identity,
}

impl JournalKey {
    /// The chain key of a terminal for an epoch. Give each epoch of a terminal out once.
    ///
    /// # Errors
    /// [`SetUpError::Terminal`] unless the id has 1 to [`TERMINAL_MAX_LEN`] bytes.
    pub fn chain_key(&self, terminal: &[u8], epoch: u32) -> Result<ChainKey, SetUpError> {
        let identity = Identity::new(terminal, epoch, self.name().version)?;
        ChainKey::derive(self.secret(), identity)
    }
}

impl ChainKey {
    /// A chain key that was brought to the terminal. The caller wipes its own copy.
    #[must_use]
    pub const fn new(secret: Secret<32>, identity: Identity) -> Self {
        Self { secret, identity }
    }

    /// The 32 bytes, for the one transport to the terminal.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    /// Whose it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The id of the journal that it begins.
    #[must_use]
    pub fn journal_id(&self) -> JournalId {
        let mut id = [0; JOURNAL_ID_LEN];
        ratchet::derive(&self.secret, &[label::JOURNAL_ID], &mut id);
        JournalId(id)
    }

    pub(super) fn for_reading(
        base: &JournalReadingKey,
        identity: Identity,
    ) -> Result<Self, SetUpError> {
        Self::derive(base.secret(), identity)
    }

    fn derive(base: &Secret<32>, identity: Identity) -> Result<Self, SetUpError> {
        let mut secret = Secret::zeroed();
        let epoch = identity.epoch.to_be_bytes();
        let info = [label::JOURNAL_CHAIN, &epoch, identity.terminal()];
        ratchet::derive(base, &info, secret.expose_mut());
        Ok(Self { secret, identity })
    }

    /// E\[0\] and A\[0\].
    pub(super) fn begin(&self) -> (Chain, Aggregate) {
        ratchet::begin(&self.secret)
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainKey({:?})", self.identity)
    }
}

/// The host's word that it has every frame below a count. Only the host and the terminal at that
/// very count can make it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// How many frames the host has, from 0.
    pub count: u64,
    /// The proof.
    pub proof: [u8; RECEIPT_LEN],
}

/// The receipt for every frame below `count`.
pub(super) fn receipt(chain: &Chain, count: u64, aggregate: &Aggregate) -> Receipt {
    let proof = chain.proof(count, aggregate);
    Receipt { count, proof }
}

/// Under which labels a journal's ratchet steps.
pub(super) struct JournalLabels;

impl Labels for JournalLabels {
    const FIRST: &'static [u8] = label::JOURNAL_FIRST;
    const START: &'static [u8] = label::JOURNAL_START;
    const ENTRY: &'static [u8] = label::JOURNAL_ENTRY;
    const NEXT: &'static [u8] = label::JOURNAL_NEXT;
    const AGGREGATE: &'static [u8] = label::JOURNAL_AGGREGATE;
    const RECEIPT: &'static [u8] = label::JOURNAL_RECEIPT;
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    /// HKDF-Expand of one block, written out.
    fn model(key: &[u8], info: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        info.iter().for_each(|part| mac.update(part));
        mac.update(&[1]);
        mac.finalize().into_bytes().into()
    }

    /// A label, put together here so that no second file holds one.
    fn text(name: &str) -> Vec<u8> {
        ["cardvault", "1", &["journal", name].join("-")]
            .join("/")
            .into_bytes()
    }

    #[test]
    fn follows_the_written_derivation() {
        let identity = Identity::new(b"T0000001", 7, 3).unwrap();
        let base = Secret::new([5; 32]);
        let key = ChainKey::derive(&base, identity).unwrap();
        let chain = model(&[5; 32], &[&text("chain"), &[0, 0, 0, 7], b"T0000001"]);
        assert_eq!(key.expose(), &chain);
        let id = model(&chain, &[&text("id")]);
        assert_eq!(key.journal_id().as_bytes(), &id[..8]);
        let (mut chain_state, mut aggregate) = key.begin();
        let mut e = model(&chain, &[&text("first")]);
        let mut a = model(&chain, &[&text("start")]);
        for tag in [[1; 16], [2; 16]] {
            let step = chain_state.prepare();
            let k = model(&e, &[&text("entry")]);
            assert_eq!(step.entry_key().expose(), &k);
            step.aggregate(&mut aggregate, &tag);
            a = model(&e, &[&text("aggregate"), &a, &tag]);
            assert_eq!(aggregate.0.expose(), &a);
            step.next(&mut chain_state);
            e = model(&e, &[&text("next")]);
            assert_eq!(chain_state.key().expose(), &e);
        }
        let receipt = receipt(&chain_state, 2, &aggregate);
        let proof = model(&e, &[&text("receipt"), &[0, 0, 0, 0, 0, 0, 0, 2], &a]);
        assert_eq!((receipt.count, &receipt.proof[..]), (2, &proof[..16]));
    }

    #[test]
    fn terminals_and_epochs_share_no_key() {
        let base = Secret::new([5; 32]);
        let key = |terminal: &[u8], epoch| {
            let identity = Identity::new(terminal, epoch, 1).unwrap();
            *ChainKey::derive(&base, identity).unwrap().expose()
        };
        let keys = [key(b"A", 1), key(b"A", 2), key(b"B", 1), key(b"A\0", 1)];
        for (at, one) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(one));
        }
        for len in [0, 17] {
            assert_eq!(
                Identity::new(&[b'x'; 17][..len], 1, 1).err(),
                Some(SetUpError::Terminal { bytes: len })
            );
        }
    }
}
