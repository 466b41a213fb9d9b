//! The key ring at work: what a vault derives from it for each domain, once.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};

use super::error::VaultError;
use super::guard::RingSeen;
use super::row::index_key;
use super::store::{Guard, IndexKey};
use crate::card::Pan;
use crate::fingerprint::{FINGERPRINT_LEN, Fingerprinter};
use crate::keys::{Domain, KeyError, KeyId, KeyRing};
use crate::seal::{Opener, Sealer};
use crate::time::UnixSeconds;

/// How many domains' keys are kept at hand.
const DOMAINS_AT_HAND: usize = 4096;
/// How many retired keys of one domain are kept at hand: all that a ring can hold.
const OPENERS_AT_HAND: usize = crate::keys::MAX_KEYS;
/// How many ids that belong to no key of one domain are kept in mind.
const UNKNOWN_AT_HAND: usize = 1024;

/// The ring in use, and those that are about to be.
pub(super) struct Rings(RwLock<InUse>);

struct InUse {
    current: Arc<RingState>,
    /// Rings whose guard is being written: once a writer meets it there, it goes on with them.
    coming: Vec<Arc<RingState>>,
}

impl Rings {
    pub(super) const fn new(current: Arc<RingState>) -> Self {
        Self(RwLock::new(InUse {
            current,
            coming: Vec::new(),
        }))
    }

    pub(super) fn current(&self) -> Result<Arc<RingState>, VaultError> {
        let rings = self.0.read().map_err(|_| VaultError::Broken)?;
        Ok(Arc::clone(&rings.current))
    }

    /// Says that the guard of `ring` is about to be written.
    pub(super) fn announce(&self, ring: &Arc<RingState>) -> Result<(), VaultError> {
        let mut rings = self.0.write().map_err(|_| VaultError::Broken)?;
        rings.coming.push(Arc::clone(ring));
        Ok(())
    }

    /// Takes back what was announced.
    pub(super) fn withdraw(&self, ring: &Arc<RingState>) -> Result<(), VaultError> {
        let mut rings = self.0.write().map_err(|_| VaultError::Broken)?;
        rings.coming.retain(|other| !Arc::ptr_eq(other, ring));
        Ok(())
    }

    /// Puts `ring`, whose guard is written, into use, unless a newer one is.
    pub(super) fn install(&self, ring: &Arc<RingState>) -> Result<(), VaultError> {
        self.0
            .write()
            .map_err(|_| VaultError::Broken)?
            .install(ring);
        Ok(())
    }

    /// Goes over to what the store has seen: the ring in use or one that was announced, under this
    /// guard.
    ///
    /// # Errors
    /// Why the ring in use is not the one that the store has seen.
    pub(super) fn follow(&self, seen: &RingSeen, guard: &Guard) -> Result<(), VaultError> {
        let mut rings = self.0.write().map_err(|_| VaultError::Broken)?;
        if rings.current.guard == *guard {
            return Ok(());
        }
        if rings.current.seen.is_ring_of(seen) {
            rings.current = Arc::new(rings.current.under(*seen, guard.clone()));
            return Ok(());
        }
        let mut coming = rings.coming.iter();
        let ring = coming.find(|ring| ring.seen.is_ring_of(seen)).cloned();
        if let Some(ring) = ring {
            rings.install(&Arc::new(ring.under(*seen, guard.clone())));
        }
        seen.admits(&rings.current.seen)
    }
}

impl InUse {
    fn install(&mut self, ring: &Arc<RingState>) {
        let generation = self.current.seen.generation().max(ring.seen.generation());
        if ring.seen.generation() > self.current.seen.generation() {
            self.current = Arc::clone(ring);
        }
        self.coming
            .retain(|other| other.seen.generation() > generation);
    }
}

/// A ring, the guard that it writes under, and the keys that were derived so far.
pub(crate) struct RingState {
    pub(crate) ring: Arc<KeyRing>,
    pub(super) seen: RingSeen,
    pub(super) guard: Guard,
    domains: Arc<RwLock<HashMap<Domain, Arc<DomainKeys>>>>,
}

impl RingState {
    /// The ring as a vault sees it that has seen none before.
    pub(super) fn new(ring: KeyRing) -> Result<Self, VaultError> {
        let seen = RingSeen::of(&ring)?;
        let guard = seen.to_guard()?;
        Ok(Self {
            ring: Arc::new(ring),
            seen,
            guard,
            domains: Arc::default(),
        })
    }

    /// The same ring under the guard of a store, which says `seen`.
    pub(super) fn under(&self, seen: RingSeen, guard: Guard) -> Self {
        Self {
            ring: Arc::clone(&self.ring),
            seen,
            guard,
            domains: Arc::clone(&self.domains),
        }
    }

    /// The store's guard when it was last looked at.
    pub(crate) const fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(super) fn domain(&self, domain: &Domain) -> Result<Arc<DomainKeys>, VaultError> {
        let known = self
            .domains
            .read()
            .map_err(|_| VaultError::Broken)?
            .get(domain)
            .cloned();
        if let Some(keys) = known {
            return Ok(keys);
        }
        let keys = Arc::new(DomainKeys::derive(&self.ring, domain)?);
        let mut domains = self.domains.write().map_err(|_| VaultError::Broken)?;
        if domains.len() >= DOMAINS_AT_HAND {
            domains.clear();
        }
        domains.insert(*domain, Arc::clone(&keys));
        Ok(keys)
    }
}

/// The keys of one domain.
pub(super) struct DomainKeys {
    /// The index versions that new rows are written under; the first is the one that is read.
    index: Vec<Fingerprinter>,
    sealer: RwLock<Option<Arc<Sealer>>>,
    openers: RwLock<HashMap<KeyId, Arc<Opener>>>,
    /// A ring in use does not change: what no key has once, none has later.
    unknown: RwLock<HashSet<KeyId>>,
}

impl DomainKeys {
    fn derive(ring: &KeyRing, domain: &Domain) -> Result<Self, VaultError> {
        let versions = ring.index_versions()?;
        let index = core::iter::once(versions.read)
            .chain(versions.also_write)
            .map(|version| Ok(Fingerprinter::new(&ring.fingerprint_key(domain, version)?)))
            .collect::<Result<_, VaultError>>()?;
        Ok(Self {
            index,
            sealer: RwLock::default(),
            openers: RwLock::default(),
            unknown: RwLock::default(),
        })
    }

    /// The index version that is read.
    pub(super) fn read_version(&self) -> Result<u32, VaultError> {
        let read = self.index.first().ok_or(VaultError::Broken)?;
        Ok(read.version())
    }

    /// The sealer of the active version; refused once its originator period is over.
    pub(super) fn sealer(
        &self,
        ring: &KeyRing,
        domain: &Domain,
        now: UnixSeconds,
    ) -> Result<Arc<Sealer>, VaultError> {
        let known = self.sealer.read().map_err(|_| VaultError::Broken)?.clone();
        if let Some(sealer) = known.filter(|sealer| now < sealer.not_after()) {
            return Ok(sealer);
        }
        let sealer = Arc::new(Sealer::new(&ring.card_key(domain, now)?));
        *self.sealer.write().map_err(|_| VaultError::Broken)? = Some(Arc::clone(&sealer));
        Ok(sealer)
    }

    /// The opener for records under the key with this id.
    pub(super) fn opener(
        &self,
        ring: &KeyRing,
        domain: &Domain,
        id: &KeyId,
    ) -> Result<Arc<Opener>, VaultError> {
        let known = self
            .openers
            .read()
            .map_err(|_| VaultError::Broken)?
            .get(id)
            .cloned();
        if let Some(opener) = known {
            return Ok(opener);
        }
        let unknown = self.unknown.read().map_err(|_| VaultError::Broken)?;
        if unknown.contains(id) {
            return Err(KeyError::UnknownKey.into());
        }
        drop(unknown);
        let key = match ring.card_key_for(domain, id) {
            Err(KeyError::UnknownKey) => {
                let mut unknown = self.unknown.write().map_err(|_| VaultError::Broken)?;
                if unknown.len() >= UNKNOWN_AT_HAND {
                    unknown.clear();
                }
                unknown.insert(*id);
                return Err(KeyError::UnknownKey.into());
            }
            key => key?,
        };
        let opener = Arc::new(Opener::new(&key));
        let mut openers = self.openers.write().map_err(|_| VaultError::Broken)?;
        if openers.len() < OPENERS_AT_HAND {
            openers.insert(*id, Arc::clone(&opener));
        }
        Ok(opener)
    }

    /// The index keys of a card in each version that is written, the one that is read first, and
    /// the fingerprint behind that one.
    pub(super) fn index(&self, pan: &Pan) -> Result<Indexed, VaultError> {
        let mut keys = Vec::with_capacity(self.index.len());
        let mut first = None;
        for key in &self.index {
            let version = key.version();
            let fingerprint = *key.fingerprint(pan).as_bytes();
            first.get_or_insert((version, fingerprint));
            keys.push(index_key(key.domain(), version, &fingerprint)?);
        }
        let (version, fingerprint) = first.ok_or(VaultError::Broken)?;
        Ok(Indexed {
            keys,
            version,
            fingerprint,
        })
    }
}

/// Where a card stands in the index.
pub(super) struct Indexed {
    pub(super) keys: Vec<IndexKey>,
    /// The version that is read, and the card's fingerprint in it.
    pub(super) version: u32,
    pub(super) fingerprint: [u8; FINGERPRINT_LEN],
}
