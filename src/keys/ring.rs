//! The key ring: versions of each use, their states and periods, and the keys they give.
#![forbid(unsafe_code)]

use core::fmt;

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::check::{CHECK_VALUE_LEN, CheckValue};
use super::derived::{
    ArchiveKey, ArchiveReadingKey, Derived, FingerprintKey, IrreversibleKey, JournalKey,
    JournalReadingKey, KeyId, LedgerCheckingKey, LedgerKey, OpeningKey, RetiredFingerprintKey,
    SealingKey, VaultlessKey, VaultlessOpeningKey, derive, derive_root_check,
};
use super::domain::Domain;
use super::error::KeyError;
use super::name::{KeyName, KeyUse};
use super::state::KeyState;
use crate::secret::{RandomError, Secret};
use crate::time::UnixSeconds;

/// How many versions a ring holds, of all uses together. When it is full, the version that was
/// destroyed first makes room.
pub const MAX_KEYS: usize = 64;
/// Length of a [`RingId`], in bytes.
pub const RING_ID_LEN: usize = 16;
/// How many generations of the vaultless key open tokens at a time.
pub const VAULTLESS_GENERATIONS: usize = 2;
/// Generations of the vaultless key whose numbers differ by a multiple of this make tokens that
/// cannot be told apart: the non-zero Luhn residues.
pub const VAULTLESS_RESIDUES: u32 = 9;

/// How far the clocks of those who change and use a ring may be apart, in seconds.
pub const CLOCK_TOLERANCE: u64 = 60 * 60;

const YEAR: u64 = 365 * 24 * 60 * 60;

/// Whether a ring protects real cards. Part of every derivation: the two never share a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RingMark {
    /// Real cards. Stored only under a KEK from components or under a `KeyWrap`.
    Production,
    /// Test cards. May be stored under a passphrase.
    Development,
}

impl RingMark {
    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
        }
    }

    /// The number in byte formats and derivations: 1 or 2.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Production => 1,
            Self::Development => 2,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Production),
            2 => Some(Self::Development),
            _ => None,
        }
    }
}

impl fmt::Display for RingMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// 16 random bytes that name a ring through all its generations. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId([u8; RING_ID_LEN]);

impl RingId {
    /// An id as it was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; RING_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; RING_ID_LEN] {
        &self.0
    }
}

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingId({self})")
    }
}

/// How long a key is used, in seconds from its activation (SP 800-57 Part 1 section 5.3).
///
/// Card numbers must stay readable through disputes and refunds, so the recipient period is longer
/// than the originator period; both have an end (PCI DSS 3.7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cryptoperiod {
    originator: u64,
    recipient: u64,
}

impl Cryptoperiod {
    /// New data is protected for `originator` seconds and data is opened for `recipient` seconds,
    /// both from activation.
    ///
    /// # Errors
    /// [`KeyError::Cryptoperiod`] if `originator` is zero or `recipient` is shorter than it.
    pub const fn new(originator: u64, recipient: u64) -> Result<Self, KeyError> {
        if originator == 0 || recipient < originator {
            return Err(KeyError::Cryptoperiod);
        }
        Ok(Self {
            originator,
            recipient,
        })
    }

    /// The period of a use if the caller sets no other: card and journal keys protect for one
    /// year, as SP 800-57 suggests for a key that others are derived from, the others, whose change is
    /// felt outside, for the two years of a data key; each opens for three years more.
    #[must_use]
    pub const fn default_of(usage: KeyUse) -> Self {
        let originator = match usage {
            KeyUse::Card | KeyUse::Journal => YEAR,
            KeyUse::Index
            | KeyUse::Vaultless
            | KeyUse::Irreversible
            | KeyUse::Ledger
            | KeyUse::Archive => 2 * YEAR,
        };
        Self {
            originator,
            recipient: originator + 3 * YEAR,
        }
    }

    /// Seconds in which new data is protected.
    #[must_use]
    pub const fn originator(self) -> u64 {
        self.originator
    }

    /// Seconds in which data is opened.
    #[must_use]
    pub const fn recipient(self) -> u64 {
        self.recipient
    }
}

/// What may be known of one version of the ring: everything but its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Use and version.
    pub name: KeyName,
    /// The state.
    pub state: KeyState,
    /// An index version that is written beside the active one, to become active later.
    pub filling: bool,
    /// The check value of the root, kept when the root is destroyed.
    pub check_value: CheckValue,
    /// How long the key is used from its activation.
    pub period: Cryptoperiod,
    /// When the root was drawn.
    pub created: UnixSeconds,
    /// When it first became active.
    pub activated: Option<UnixSeconds>,
    /// When it was deactivated or found compromised, whichever came first.
    pub retired: Option<UnixSeconds>,
    /// When the root was wiped.
    pub destroyed: Option<UnixSeconds>,
}

impl KeyInfo {
    /// Whether it opens what it protected: its state allows it and it was active once.
    #[must_use]
    pub const fn may_open(&self) -> bool {
        self.state.may_open() && self.activated.is_some()
    }

    /// When it ceases to protect new data; `None` before activation.
    #[must_use]
    pub fn not_after(&self) -> Option<UnixSeconds> {
        self.activated
            .map(|since| since.plus(self.period.originator))
    }

    /// When it ceases to open data; `None` before activation. The ring does not enforce this end:
    /// what is still under the key must be re-encrypted or deleted, and the key destroyed.
    #[must_use]
    pub fn opens_until(&self) -> Option<UnixSeconds> {
        self.activated
            .map(|since| since.plus(self.period.recipient))
    }
}

/// A version whose period ends, as [`KeyRing::due`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which version.
    pub name: KeyName,
    /// What is to be done.
    pub action: DueAction,
    /// When the period ends or ended.
    pub at: UnixSeconds,
}

/// What a version is due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DueAction {
    /// Its originator period ends: activate a new version.
    Replace,
    /// Its recipient period ends: re-encrypt what is left under it, then destroy it.
    Destroy,
}

/// Which index versions are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexVersions {
    /// The active version: look-ups go by it, and every new row is written under it.
    pub read: u32,
    /// The version that is being filled: every new row is written under it too.
    pub also_write: Option<u32>,
}

/// Up to [`MAX_KEYS`] versions with a random root each. Roots are wiped on drop.
///
/// Each use has versions of its own, so that one is replaced without the others. At most one of a
/// use is active; it alone protects new data, in its originator period. Every change raises the
/// generation, by which a vault notices an older copy of the ring.
///
/// Destroying a version wipes its root here. A sealed copy of an earlier generation still holds
/// it: destroy those copies, or their KEK, too.
pub struct KeyRing {
    pub(super) mark: RingMark,
    pub(super) id: RingId,
    pub(super) generation: u64,
    /// The newest version of each use in the order of [`KeyUse::ALL`], so that none comes twice.
    pub(super) newest: [u32; KeyUse::ALL.len()],
    /// In no order: sorting would leave copies of roots behind.
    pub(super) entries: [Entry; MAX_KEYS],
}

/// One version, or room for one.
pub(super) struct Entry {
    pub(super) info: KeyInfo,
    /// All zero once it is destroyed.
    pub(super) root: Secret<32>,
}

impl Entry {
    /// Room for a version. All zeros, so that a blank ring is made in its place by one `memset`,
    /// and in a static takes no flash.
    const FREE: Self = Self {
        info: KeyInfo {
            name: KeyName::new(KeyUse::Card, 0),
            state: KeyState::PreActivation,
            filling: false,
            check_value: CheckValue::from_bytes([0; CHECK_VALUE_LEN]),
            period: Cryptoperiod {
                originator: 0,
                recipient: 0,
            },
            created: UnixSeconds(0),
            activated: None,
            retired: None,
            destroyed: None,
        },
        root: Secret::zeroed(),
    };

    /// Versions count from 1.
    pub(super) const fn is_free(&self) -> bool {
        self.info.name.version == 0
    }
}

impl KeyRing {
    /// An empty ring of generation 1 with a random id.
    ///
    /// # Errors
    /// [`KeyError::Random`] if the generator fails.
    pub fn new<R: TryCryptoRng + ?Sized>(mark: RingMark, rng: &mut R) -> Result<Self, KeyError> {
        let id = RingId(*Secret::random(rng)?.expose());
        Ok(Self::empty(mark, id, 1))
    }

    /// Memory for a ring that is opened into it, as by
    /// [`open_ring_with_kek_into`](crate::seal::open_ring_with_kek_into). Until then it is of
    /// generation 0 and without a key: it takes none and is not sealed.
    #[must_use]
    #[inline]
    pub const fn blank() -> Self {
        // All zeros, as `Entry::FREE`.
        const BLANK: KeyRing = KeyRing::empty(RingMark::Production, RingId([0; RING_ID_LEN]), 0);
        BLANK
    }

    /// Wipes every root and forgets the ring: it is as [`KeyRing::blank`] made it.
    pub fn clear(&mut self) {
        self.mark = RingMark::Production;
        self.id = RingId([0; RING_ID_LEN]);
        self.generation = 0;
        self.newest = [0; KeyUse::ALL.len()];
        for slot in &mut self.entries {
            // A root is wiped when it is dropped.
            *slot = Entry::FREE;
        }
    }

    /// Whether it protects real cards.
    #[must_use]
    pub const fn mark(&self) -> RingMark {
        self.mark
    }

    /// Its name through all generations.
    #[must_use]
    pub const fn id(&self) -> &RingId {
        &self.id
    }

    /// How often it was changed, from 1; 0 if it is blank.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Every version, by use and version.
    pub fn versions(&self) -> impl Iterator<Item = &KeyInfo> {
        self.in_order().map(|entry| &entry.info)
    }

    /// One version.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`].
    pub fn info(&self, name: KeyName) -> Result<&KeyInfo, KeyError> {
        self.entry(name).map(|entry| &entry.info)
    }

    /// The active version of a use.
    ///
    /// # Errors
    /// [`KeyError::NoActive`].
    pub fn active(&self, usage: KeyUse) -> Result<&KeyInfo, KeyError> {
        self.active_entry(usage).map(|entry| &entry.info)
    }

    /// The versions whose originator or recipient period has ended or ends within `within`
    /// seconds of `now`. A version in use whose activation lies more than [`CLOCK_TOLERANCE`] ahead
    /// is to be replaced now: the clock ran ahead then, and its period would last too long.
    pub fn due(&self, now: UnixSeconds, within: u64) -> impl Iterator<Item = Due> {
        let horizon = now.plus(within);
        let ahead = now.plus(CLOCK_TOLERANCE);
        self.versions().filter_map(move |info| {
            let in_use = matches!(info.state, KeyState::Active | KeyState::Suspended);
            if in_use && info.activated.is_some_and(|at| at > ahead) {
                let (name, action, at) = (info.name, DueAction::Replace, now);
                return Some(Due { name, action, at });
            }
            let action = match info.state {
                KeyState::Active | KeyState::Suspended
                    if info.not_after().is_some_and(|at| at <= horizon) =>
                {
                    DueAction::Replace
                }
                _ if info.may_open() => DueAction::Destroy,
                _ => return None,
            };
            let at = match action {
                DueAction::Replace => info.not_after(),
                DueAction::Destroy => info.opens_until(),
            };
            let name = info.name;
            at.filter(|&at| at <= horizon)
                .map(|at| Due { name, action, at })
        })
    }

    /// Draws the root of a new version, not yet active. If the ring is full, the version that was
    /// destroyed first is forgotten; its number is not used again.
    ///
    /// # Errors
    /// [`KeyError::Full`], [`KeyError::VersionsOver`], [`KeyError::Random`] if the generator
    /// fails or repeats a root of the ring.
    pub fn add<R: TryCryptoRng + ?Sized>(
        &mut self,
        usage: KeyUse,
        period: Cryptoperiod,
        now: UnixSeconds,
        rng: &mut R,
    ) -> Result<KeyName, KeyError> {
        let generation = self.next_generation()?;
        let place = usize::from(usage.number()) - 1;
        let newest = self.newest.get(place).copied().unwrap_or(u32::MAX);
        let version = newest
            .checked_add(1)
            .ok_or(KeyError::VersionsOver { usage })?;
        let name = KeyName::new(usage, version);
        let free = self.free_entry()?;
        let root = Secret::random(rng)?;
        let repeated = self
            .taken()
            .any(|entry| bool::from(entry.root.ct_eq(&root)));
        if repeated {
            return Err(KeyError::Random(RandomError::Repeated));
        }
        let info = KeyInfo {
            name,
            state: KeyState::PreActivation,
            filling: false,
            check_value: self.root_check(&root, name)?,
            period,
            created: now,
            activated: None,
            retired: None,
            destroyed: None,
        };
        if let Some(slot) = self.entries.get_mut(free) {
            *slot = Entry { info, root };
        }
        if let Some(slot) = self.newest.get_mut(place) {
            *slot = version;
        }
        self.generation = generation;
        Ok(name)
    }

    /// Puts a version into use. The version of the same use that was active is deactivated by the
    /// same call.
    ///
    /// An index version must have been filled beside the active one; the same goes for one that was
    /// suspended while another was written. Without an active or suspended one, as after a
    /// compromise, it becomes active empty; a vault that has rows refuses such a ring. Of the vaultless key the
    /// active generation and one before it are live; a third does not become active before the
    /// oldest is destroyed, since tokens name their generation by a Luhn residue alone.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Transition`], [`KeyError::NotFilled`],
    /// [`KeyError::GenerationsLive`], [`KeyError::Residue`], [`KeyError::CryptoperiodOver`] for a
    /// suspended version that came to its end; [`KeyError::Clock`] if `now` is more than
    /// [`CLOCK_TOLERANCE`] before the version was made: its period would end too early.
    pub fn activate(&mut self, name: KeyName, now: UnixSeconds) -> Result<(), KeyError> {
        let info = *self.allowed(name, KeyState::Active)?;
        let generation = self.next_generation()?;
        if info.not_after().is_some_and(|end| now >= end) {
            return Err(KeyError::CryptoperiodOver { name });
        }
        if now.plus(CLOCK_TOLERANCE) < info.created {
            return Err(KeyError::Clock { name });
        }
        let previous = self.active(name.usage).ok().map(|active| active.name);
        match name.usage {
            KeyUse::Index if !info.filling && self.has_other_index(name) => {
                return Err(KeyError::NotFilled { name });
            }
            KeyUse::Vaultless => self.check_live_generations(name)?,
            _ => {}
        }
        if let Some(previous) = previous {
            self.set_state(previous, KeyState::Deactivated, now);
        }
        self.set_state(name, KeyState::Active, now);
        self.generation = generation;
        Ok(())
    }

    /// Takes an active version out of use for the moment; it goes on opening.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Transition`].
    pub fn suspend(&mut self, name: KeyName, now: UnixSeconds) -> Result<(), KeyError> {
        self.change(name, KeyState::Suspended, now)
    }

    /// Retires a version without a new one: until another is activated nothing is sealed.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Transition`].
    pub fn deactivate(&mut self, name: KeyName, now: UnixSeconds) -> Result<(), KeyError> {
        self.change(name, KeyState::Deactivated, now)
    }

    /// Marks a version as known to others. It seals no more and opens what is to be re-encrypted.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Transition`].
    pub fn compromise(&mut self, name: KeyName, now: UnixSeconds) -> Result<(), KeyError> {
        self.change(name, KeyState::Compromised, now)
    }

    /// Wipes the root of a version. Nothing opens what was sealed under it any more.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Transition`] for a version in use: deactivate it
    /// first.
    pub fn destroy(&mut self, name: KeyName, now: UnixSeconds) -> Result<(), KeyError> {
        self.change(name, KeyState::Destroyed, now)
    }

    /// Begins to write a new index version beside the active one. [`KeyRing::activate`] makes it
    /// the one that is read; a vault refuses that while it has rows that do not stand under it.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::State`] if it is no index version before its
    /// activation, [`KeyError::NoActive`] if there is none beside which to fill it,
    /// [`KeyError::Filling`] if one is being filled already.
    pub fn begin_filling(&mut self, name: KeyName) -> Result<(), KeyError> {
        let info = self.info(name)?;
        if name.usage != KeyUse::Index || info.state != KeyState::PreActivation {
            return Err(KeyError::State {
                name,
                state: info.state,
            });
        }
        self.active(KeyUse::Index)?;
        if let Some(other) = self.filling() {
            return Err(KeyError::Filling { name: other });
        }
        let generation = self.next_generation()?;
        if let Some(entry) = self.entry_mut(name) {
            entry.info.filling = true;
        }
        self.generation = generation;
        Ok(())
    }

    /// Which index versions are read and written.
    ///
    /// # Errors
    /// [`KeyError::NoActive`].
    pub fn index_versions(&self) -> Result<IndexVersions, KeyError> {
        Ok(IndexVersions {
            read: self.active(KeyUse::Index)?.name.version,
            also_write: self.filling().map(|name| name.version),
        })
    }

    /// The live generations of the vaultless key, at most [`VAULTLESS_GENERATIONS`].
    pub fn vaultless_generations(&self) -> impl Iterator<Item = u32> {
        self.versions()
            .filter(|info| info.name.usage == KeyUse::Vaultless && info.may_open())
            .map(|info| info.name.version)
    }

    /// The key that seals card records of `domain` now.
    ///
    /// # Errors
    /// [`KeyError::NoActive`], [`KeyError::CryptoperiodOver`].
    pub fn card_key(&self, domain: &Domain, now: UnixSeconds) -> Result<SealingKey, KeyError> {
        self.originating(KeyUse::Card, domain, now)
            .map(SealingKey::new)
    }

    /// The key of `domain` that has this id. Derives the key of every card version that opens and
    /// compares each id in constant time: keep the key for further records.
    ///
    /// # Errors
    /// [`KeyError::UnknownKey`], also for records of a destroyed version: nothing is left that
    /// could recognise them.
    pub fn card_key_for(&self, domain: &Domain, id: &KeyId) -> Result<OpeningKey, KeyError> {
        for entry in self.taken() {
            if entry.info.name.usage == KeyUse::Card && entry.info.may_open() {
                let derived = self.derive(entry, domain)?;
                if bool::from(derived.id.ct_eq(id)) {
                    return Ok(OpeningKey::new(derived));
                }
            }
        }
        Err(KeyError::UnknownKey)
    }

    /// The key of `domain` that opens what this card version sealed.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Destroyed`], [`KeyError::State`] if it was never
    /// active.
    pub fn card_key_of(&self, domain: &Domain, version: u32) -> Result<OpeningKey, KeyError> {
        self.opening(KeyName::new(KeyUse::Card, version), domain)
            .map(OpeningKey::new)
    }

    /// The key that fingerprints cards of `domain`: of the active index version or the one that is
    /// being filled. Its originator period is not enforced, since without it no card can be found
    /// any more: [`KeyRing::due`] says when it is to be replaced.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Destroyed`], [`KeyError::State`] for any other
    /// version.
    pub fn fingerprint_key(
        &self,
        domain: &Domain,
        version: u32,
    ) -> Result<FingerprintKey, KeyError> {
        let entry = self.entry(KeyName::new(KeyUse::Index, version))?;
        if !entry.info.state.may_seal() && !entry.info.filling {
            return Err(refused(&entry.info));
        }
        self.derive(entry, domain).map(FingerprintKey::new)
    }

    /// The key that compares a card of `domain` with a fingerprint of an index version that may be
    /// retired.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Destroyed`], [`KeyError::State`] if it was never
    /// active.
    pub fn retired_fingerprint_key(
        &self,
        domain: &Domain,
        version: u32,
    ) -> Result<RetiredFingerprintKey, KeyError> {
        self.opening(KeyName::new(KeyUse::Index, version), domain)
            .map(RetiredFingerprintKey::new)
    }

    /// The key that makes vaultless tokens of `domain` now.
    ///
    /// # Errors
    /// [`KeyError::NoActive`], [`KeyError::CryptoperiodOver`].
    pub fn vaultless_key(
        &self,
        domain: &Domain,
        now: UnixSeconds,
    ) -> Result<VaultlessKey, KeyError> {
        self.originating(KeyUse::Vaultless, domain, now)
            .map(VaultlessKey::new)
    }

    /// The key that opens vaultless tokens of `domain` and of this generation.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Destroyed`], [`KeyError::State`] if it was never
    /// active.
    pub fn vaultless_key_of(
        &self,
        domain: &Domain,
        generation: u32,
    ) -> Result<VaultlessOpeningKey, KeyError> {
        self.opening(KeyName::new(KeyUse::Vaultless, generation), domain)
            .map(VaultlessOpeningKey::new)
    }

    /// The key that makes irreversible tokens of `domain` now.
    ///
    /// Another version gives other tokens for the same cards: give this use the period for which
    /// its tokens are to stay comparable.
    ///
    /// # Errors
    /// [`KeyError::NoActive`], [`KeyError::CryptoperiodOver`].
    pub fn irreversible_key(
        &self,
        domain: &Domain,
        now: UnixSeconds,
    ) -> Result<IrreversibleKey, KeyError> {
        self.originating(KeyUse::Irreversible, domain, now)
            .map(IrreversibleKey::new)
    }

    /// The key that gives terminals of `domain` the chain keys of their journals now.
    ///
    /// # Errors
    /// [`KeyError::NoActive`], [`KeyError::CryptoperiodOver`].
    pub fn journal_key(&self, domain: &Domain, now: UnixSeconds) -> Result<JournalKey, KeyError> {
        self.originating(KeyUse::Journal, domain, now)
            .map(JournalKey::new)
    }

    /// The key that reads journals of `domain` whose chain keys came from this version.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Destroyed`], [`KeyError::State`] if it was never
    /// active.
    pub fn journal_key_of(
        &self,
        domain: &Domain,
        version: u32,
    ) -> Result<JournalReadingKey, KeyError> {
        self.opening(KeyName::new(KeyUse::Journal, version), domain)
            .map(JournalReadingKey::new)
    }

    /// The key that binds rows of the ledger of `domain` now.
    ///
    /// # Errors
    /// [`KeyError::NoActive`], [`KeyError::CryptoperiodOver`].
    pub fn ledger_key(&self, domain: &Domain, now: UnixSeconds) -> Result<LedgerKey, KeyError> {
        self.originating(KeyUse::Ledger, domain, now)
            .map(LedgerKey::new)
    }

    /// The key that checks rows of the ledger of `domain` that this version bound.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Destroyed`], [`KeyError::State`] if it was never
    /// active.
    pub fn ledger_key_of(
        &self,
        domain: &Domain,
        version: u32,
    ) -> Result<LedgerCheckingKey, KeyError> {
        self.opening(KeyName::new(KeyUse::Ledger, version), domain)
            .map(LedgerCheckingKey::new)
    }

    /// The key that seals the archive of this id now.
    ///
    /// # Errors
    /// [`KeyError::NoActive`], also of a ring from before there were archives: add a version and
    /// activate it; [`KeyError::CryptoperiodOver`].
    pub fn archive_key(&self, archive: &Domain, now: UnixSeconds) -> Result<ArchiveKey, KeyError> {
        self.originating(KeyUse::Archive, archive, now)
            .map(ArchiveKey::new)
    }

    /// The key that opens the archive of this id that was sealed under this version.
    ///
    /// # Errors
    /// [`KeyError::UnknownVersion`], [`KeyError::Destroyed`], [`KeyError::State`] if it was never
    /// active.
    pub fn archive_key_of(
        &self,
        archive: &Domain,
        version: u32,
    ) -> Result<ArchiveReadingKey, KeyError> {
        self.opening(KeyName::new(KeyUse::Archive, version), archive)
            .map(ArchiveReadingKey::new)
    }

    #[inline]
    const fn empty(mark: RingMark, id: RingId, generation: u64) -> Self {
        Self {
            mark,
            id,
            generation,
            newest: [0; KeyUse::ALL.len()],
            entries: [const { Entry::FREE }; MAX_KEYS],
        }
    }

    /// The active key of `usage`, in its originator period.
    fn originating(
        &self,
        usage: KeyUse,
        domain: &Domain,
        now: UnixSeconds,
    ) -> Result<Derived, KeyError> {
        let entry = self.active_entry(usage)?;
        if entry.info.not_after().is_none_or(|end| now >= end) {
            return Err(KeyError::CryptoperiodOver {
                name: entry.info.name,
            });
        }
        self.derive(entry, domain)
    }

    /// The key of a version that opens.
    fn opening(&self, name: KeyName, domain: &Domain) -> Result<Derived, KeyError> {
        let entry = self.entry(name)?;
        if !entry.info.may_open() {
            return Err(refused(&entry.info));
        }
        self.derive(entry, domain)
    }

    fn derive(&self, entry: &Entry, domain: &Domain) -> Result<Derived, KeyError> {
        let not_after = entry.info.not_after().unwrap_or_default();
        derive(&entry.root, self.mark, entry.info.name, domain, not_after)
    }

    pub(super) fn root_check(
        &self,
        root: &Secret<32>,
        name: KeyName,
    ) -> Result<CheckValue, KeyError> {
        Ok(CheckValue::of(&derive_root_check(root, self.mark, name)?))
    }

    /// Every entry, in no order.
    pub(super) fn taken(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.is_free())
    }

    /// Every entry, by use and version.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Entry> {
        let mut last = None;
        core::iter::from_fn(move || {
            let next = self
                .taken()
                .filter(|entry| last.is_none_or(|last| entry.info.name > last))
                .min_by_key(|entry| entry.info.name)?;
            last = Some(next.info.name);
            Some(next)
        })
    }

    fn entry(&self, name: KeyName) -> Result<&Entry, KeyError> {
        self.taken()
            .find(|entry| entry.info.name == name)
            .ok_or(KeyError::UnknownVersion { name })
    }

    fn entry_mut(&mut self, name: KeyName) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|entry| !entry.is_free() && entry.info.name == name)
    }

    fn active_entry(&self, usage: KeyUse) -> Result<&Entry, KeyError> {
        self.taken()
            .find(|entry| entry.info.name.usage == usage && entry.info.state.may_seal())
            .ok_or(KeyError::NoActive { usage })
    }

    fn filling(&self) -> Option<KeyName> {
        self.versions()
            .find(|info| info.filling)
            .map(|info| info.name)
    }

    /// The version, if the table lets it become `to`.
    fn allowed(&self, name: KeyName, to: KeyState) -> Result<&KeyInfo, KeyError> {
        let info = self.info(name)?;
        if !info.state.may_become(to) {
            let from = info.state;
            return Err(KeyError::Transition { name, from, to });
        }
        Ok(info)
    }

    fn change(&mut self, name: KeyName, to: KeyState, now: UnixSeconds) -> Result<(), KeyError> {
        self.allowed(name, to)?;
        let generation = self.next_generation()?;
        self.set_state(name, to, now);
        self.generation = generation;
        Ok(())
    }

    /// Enters a state that was found to be allowed, with its time.
    fn set_state(&mut self, name: KeyName, state: KeyState, now: UnixSeconds) {
        let Some(entry) = self.entry_mut(name) else {
            return;
        };
        let info = &mut entry.info;
        info.state = state;
        info.filling = false;
        let time = match state {
            KeyState::Active => &mut info.activated,
            KeyState::Deactivated | KeyState::Compromised => &mut info.retired,
            KeyState::Destroyed => &mut info.destroyed,
            KeyState::PreActivation | KeyState::Suspended => return,
        };
        time.get_or_insert(now);
        if state == KeyState::Destroyed {
            entry.root.zeroize();
        }
    }

    /// Whether rows may stand under another index version that is in use or suspended.
    fn has_other_index(&self, name: KeyName) -> bool {
        self.taken().any(|entry| {
            entry.info.name.usage == KeyUse::Index
                && entry.info.name != name
                && matches!(entry.info.state, KeyState::Active | KeyState::Suspended)
        })
    }

    fn check_live_generations(&self, name: KeyName) -> Result<(), KeyError> {
        let mut others = self
            .vaultless_generations()
            .filter(|&version| version != name.version);
        let Some(oldest) = others.next() else {
            return Ok(());
        };
        let oldest = KeyName::new(KeyUse::Vaultless, oldest);
        if others.next().is_some() {
            return Err(KeyError::GenerationsLive { oldest });
        }
        if oldest.version % VAULTLESS_RESIDUES == name.version % VAULTLESS_RESIDUES {
            return Err(KeyError::Residue { name: oldest });
        }
        Ok(())
    }

    /// An entry to be overwritten: a free one, or the one that was destroyed first.
    fn free_entry(&self) -> Result<usize, KeyError> {
        if let Some(free) = self.entries.iter().position(Entry::is_free) {
            return Ok(free);
        }
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(at, entry)| Some((entry.info.destroyed?, at)))
            .min()
            .map(|(_, at)| at)
            .ok_or(KeyError::Full)
    }

    fn next_generation(&self) -> Result<u64, KeyError> {
        if self.generation == 0 {
            return Err(KeyError::Blank);
        }
        self.generation
            .checked_add(1)
            .ok_or(KeyError::GenerationsOver)
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        for entry in &mut self.entries {
            entry.root.zeroize();
        }
    }
}

impl zeroize::ZeroizeOnDrop for KeyRing {}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("mark", &self.mark)
            .field("id", &self.id)
            .field("generation", &self.generation)
            .field("versions", &self.versions().count())
            .finish_non_exhaustive()
    }
}

/// Why this version does not give the key asked for.
const fn refused(info: &KeyInfo) -> KeyError {
    let name = info.name;
    match info.state {
        KeyState::Destroyed => KeyError::Destroyed { name },
        state => KeyError::State { name, state },
    }
}
