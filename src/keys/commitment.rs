//! A commitment to all that may be known of a ring, by which two copies are told apart.
#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};

use super::label::RING_COMMITMENT;
use super::name::KeyUse;
use super::ring::{KeyInfo, KeyRing};
use crate::time::UnixSeconds;

/// Length of [`KeyRing::commitment`], in bytes.
pub const RING_COMMITMENT_LEN: usize = 16;

impl KeyRing {
    /// The leftmost 16 bytes of SHA-256 over a label and the ring's mark, id, generation and
    /// versions with their states, times, periods and check values. Not secret, and says nothing
    /// of the roots beyond their check values: it tells copies of one generation apart.
    ///
    /// ```text
    /// label | mark (1) | id (16) | generation (8)
    /// for each use that has versions: use (1) | newest version (4)
    /// 0 (1)
    /// for each version, by use and version:
    ///   use (1) | version (4) | state (1) | filling (1) | check value (3)
    ///   originator (8) | recipient (8) | created (8)
    ///   activated, retired, destroyed: whether (1) and when, else zeros (8)
    /// ```
    #[must_use]
    pub fn commitment(&self) -> [u8; RING_COMMITMENT_LEN] {
        let mut hash = Sha256::new()
            .chain_update(RING_COMMITMENT)
            .chain_update([self.mark.number()])
            .chain_update(self.id.as_bytes())
            .chain_update(self.generation.to_be_bytes());
        // A use without a version is left out: a new use changes no ring that does not have it.
        for (usage, newest) in KeyUse::ALL.into_iter().zip(self.newest) {
            if newest > 0 {
                hash.update([usage.number()]);
                hash.update(newest.to_be_bytes());
            }
        }
        hash.update([0]);
        for info in self.versions() {
            add(&mut hash, info);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let mut commitment = [0; RING_COMMITMENT_LEN];
        for (to, from) in commitment.iter_mut().zip(hash) {
            *to = from;
        }
        commitment
    }
}

fn add(hash: &mut Sha256, info: &KeyInfo) {
    hash.update([info.name.usage.number()]);
    hash.update(info.name.version.to_be_bytes());
    hash.update([info.state.number(), u8::from(info.filling)]);
    hash.update(info.check_value.to_bytes());
    hash.update(info.period.originator().to_be_bytes());
    hash.update(info.period.recipient().to_be_bytes());
    hash.update(info.created.0.to_be_bytes());
    for time in [info.activated, info.retired, info.destroyed] {
        hash.update([u8::from(time.is_some())]);
        hash.update(time.map_or(0, |UnixSeconds(at)| at).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cryptoperiod, RingMark};
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn every_change_that_may_be_known_changes_it() {
        let now = UnixSeconds(1_800_000_000);
        let ring = || {
            let mut rng = ChaCha20Rng::from_seed([3; 32]);
            let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
            let period = Cryptoperiod::default_of(KeyUse::Card);
            let name = ring.add(KeyUse::Card, period, now, &mut rng).unwrap();
            (ring, name)
        };
        type Change = fn(&mut KeyInfo);
        let changes: [Change; 9] = [
            |info| info.name.version += 1,
            |info| info.name.usage = KeyUse::Index,
            |info| info.state = super::super::KeyState::Active,
            |info| info.filling = true,
            |info| info.check_value = super::super::CheckValue::from_bytes([1, 2, 3]),
            |info| info.period = Cryptoperiod::new(5, 6).unwrap(),
            |info| info.created = UnixSeconds(1),
            |info| info.activated = Some(UnixSeconds(0)),
            |info| info.retired = Some(UnixSeconds(0)),
        ];
        let (good, _) = ring();
        let mut seen = std::vec![good.commitment()];
        assert_eq!(ring().0.commitment(), good.commitment());
        for change in changes {
            let (mut ring, name) = ring();
            let entry = ring.entries.iter_mut().filter(|entry| !entry.is_free());
            for entry in entry.filter(|entry| entry.info.name == name) {
                change(&mut entry.info);
            }
            let changed = ring.commitment();
            assert!(!seen.contains(&changed));
            seen.push(changed);
        }
        let (mut ring, _) = ring();
        ring.generation += 1;
        assert!(!seen.contains(&ring.commitment()));
    }
}
