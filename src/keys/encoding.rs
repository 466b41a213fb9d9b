//! The key ring as bytes. They hold the roots and exist only inside a sealed ring.
//!
//! Integers are big-endian, times are seconds since 1970-01-01T00:00:00Z.
//!
//! ```text
//!  offset  size
//!       0     1  format version: 1 without the uses 7 and 8, 2 with a 7 and no 8, 3 with an 8
//!       1     1  mark: 1 production, 2 development
//!       2    16  ring id
//!      18     8  generation, from 1
//!      26     u  newest version of each use, 4 bytes each: card, index, vaultless, irreversible,
//!                journal, ledger; in versions 2 and 3 also archive, in version 3 also audit;
//!                the last of version 2 and of version 3 is not 0
//!    26+u     1  count n of entries, 0 to 64
//!    27+u   90n  entries, by use and version, none twice
//!
//!  entry
//!       0     1  use: 1 card, 2 index, 3 vaultless, 4 irreversible, 5 journal, 6 ledger,
//!                7 archive, 8 audit
//!       1     4  version, from 1 to the newest of the use
//!       5     1  state: 1 pre-activation, 2 active, 3 suspended, 4 deactivated, 5 compromised,
//!                6 destroyed
//!       6     1  flags: 1 being filled, 2 was activated, 4 was retired, 8 was destroyed
//!       7     3  check value of the root
//!      10     8  originator period in seconds
//!      18     8  recipient period in seconds
//!      26     8  time of making
//!      34     8  time of activation, 0 without its flag
//!      42     8  time of retiring, 0 without its flag
//!      50     8  time of destroying, 0 without its flag
//!      58    32  root, zeros once destroyed
//! ```
//!
//! A reader refuses everything else: values outside these ranges, flags that do not fit the state,
//! two active versions of a use, a check value that is not the root's. A ring is written in the lowest
//! version that has its uses, so that each ring has one encoding.
#![forbid(unsafe_code)]

use subtle::ConstantTimeEq;

use super::check::CheckValue;
use super::name::{KeyName, KeyUse};
use super::ring::{
    Cryptoperiod, Entry, KeyInfo, KeyRing, MAX_KEYS, RING_ID_LEN, RingId, RingMark,
    VAULTLESS_GENERATIONS, VAULTLESS_RESIDUES,
};
use super::state::KeyState;
use crate::codec::{CodecError, Reader, Writer};
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// The most bytes that a ring has, in bytes.
pub(crate) const MAX_ENCODED_RING: usize = HEAD_LEN + MAX_KEYS * ENTRY_LEN;

/// Each format version and how many uses it has: the first ones of the ring.
const FORMATS: [(u8, usize); 3] = [(1, USES_1), (2, 7), (3, KeyUse::ALL.len())];
const USES_1: usize = 6;
const HEAD_LEN: usize = 1 + 1 + RING_ID_LEN + 8 + 4 * KeyUse::ALL.len() + 1;
const ENTRY_LEN: usize = 90;

const FILLING: u8 = 1;
const ACTIVATED: u8 = 2;
const RETIRED: u8 = 4;
const DESTROYED: u8 = 8;

/// How many bytes [`encode`] writes.
pub(crate) fn encoded_len(ring: &KeyRing) -> usize {
    let (_, uses) = format_of(ring);
    let count = ring.taken().count();
    HEAD_LEN - 4 * (ring.newest.len() - uses) + count * ENTRY_LEN
}

/// Writes `ring` to the front of `out`; returns how many bytes. They hold the roots.
pub(crate) fn encode(ring: &KeyRing, out: &mut [u8]) -> Result<usize, CodecError> {
    let mut writer = Writer::new(out);
    let (format, uses) = format_of(ring);
    writer.u8(format)?;
    writer.u8(ring.mark.number())?;
    writer.put(ring.id.as_bytes())?;
    writer.u64(ring.generation)?;
    for newest in ring.newest.iter().take(uses) {
        writer.u32(*newest)?;
    }
    let count = ring.taken().count();
    let invalid = CodecError::Invalid { at: writer.len() };
    writer.u8(u8::try_from(count).map_err(|_| invalid)?)?;
    for entry in ring.in_order() {
        encode_entry(entry, &mut writer)?;
    }
    Ok(writer.len())
}

/// Reads a ring that takes up the whole of `bytes` into `ring`, which is blank on failure. What it
/// held is wiped.
pub(crate) fn decode_into(bytes: &[u8], ring: &mut KeyRing) -> Result<(), CodecError> {
    ring.clear();
    let read = read(bytes, ring);
    if read.is_err() {
        ring.clear();
    }
    read
}

/// The format version of a ring, and how many uses it writes.
fn format_of(ring: &KeyRing) -> (u8, usize) {
    let last = ring.newest.iter().rposition(|newest| *newest > 0);
    let uses = last.map_or(0, |last| last + 1);
    let [.., newest] = FORMATS;
    let fits = |(_, of): &(u8, usize)| *of >= uses;
    FORMATS.into_iter().find(fits).unwrap_or(newest)
}

/// Reads a ring into one that is blank, key by key.
fn read(bytes: &[u8], ring: &mut KeyRing) -> Result<(), CodecError> {
    let mut reader = Reader::new(bytes);
    let at = reader.at();
    let format = reader.u8()?;
    let known = FORMATS.into_iter().find(|(known, _)| *known == format);
    let (_, uses) = known.ok_or(CodecError::Invalid { at })?;
    let at = reader.at();
    ring.mark = RingMark::from_number(reader.u8()?).ok_or(CodecError::Invalid { at })?;
    ring.id = RingId::from_bytes(reader.array()?);
    let at = reader.at();
    ring.generation = reader.u64()?;
    if ring.generation == 0 {
        return Err(CodecError::Invalid { at });
    }
    let mut at = reader.at();
    for newest in ring.newest.iter_mut().take(uses) {
        at = reader.at();
        *newest = reader.u32()?;
    }
    if uses > USES_1 && ring.newest.get(uses - 1) == Some(&0) {
        return Err(CodecError::Invalid { at });
    }
    let at = reader.at();
    let count = usize::from(reader.u8()?);
    if count > MAX_KEYS {
        return Err(CodecError::Invalid { at });
    }
    for index in 0..count {
        let at = reader.at();
        let entry = decode_entry(&mut reader)?;
        if !fits(ring, &entry) {
            return Err(CodecError::Invalid { at });
        }
        if let Some(slot) = ring.entries.get_mut(index) {
            *slot = entry;
        }
    }
    reader.finish()
}

fn encode_entry(entry: &Entry, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    let info = &entry.info;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    writer.u8(info.name.usage.number())?;
    writer.u32(info.name.version)?;
    writer.u8(info.state.number())?;
    writer.u8(flag(info.filling, FILLING)
        | flag(info.activated.is_some(), ACTIVATED)
        | flag(info.retired.is_some(), RETIRED)
        | flag(info.destroyed.is_some(), DESTROYED))?;
    writer.put(&info.check_value.to_bytes())?;
    writer.u64(info.period.originator())?;
    writer.u64(info.period.recipient())?;
    writer.u64(info.created.0)?;
    for time in [info.activated, info.retired, info.destroyed] {
        writer.u64(time.unwrap_or_default().0)?;
    }
    writer.put(entry.root.expose())
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Entry, CodecError> {
    let at = reader.at();
    let usage = KeyUse::from_number(reader.u8()?).ok_or(CodecError::Invalid { at })?;
    let name = KeyName::new(usage, reader.u32()?);
    let at = reader.at();
    let state = KeyState::from_number(reader.u8()?).ok_or(CodecError::Invalid { at })?;
    let at = reader.at();
    let flags = reader.u8()?;
    if !flags_fit(name, state, flags) {
        return Err(CodecError::Invalid { at });
    }
    let check_value = CheckValue::from_bytes(reader.array()?);
    let at = reader.at();
    let period =
        Cryptoperiod::new(reader.u64()?, reader.u64()?).map_err(|_| CodecError::Invalid { at })?;
    let created = UnixSeconds(reader.u64()?);
    let mut time = |flag: u8| {
        let at = reader.at();
        let seconds = reader.u64()?;
        match (flags & flag != 0, seconds) {
            (true, _) => Ok(Some(UnixSeconds(seconds))),
            (false, 0) => Ok(None),
            (false, _) => Err(CodecError::Invalid { at }),
        }
    };
    let (activated, retired, destroyed) = (time(ACTIVATED)?, time(RETIRED)?, time(DESTROYED)?);
    let mut root = Secret::zeroed();
    root.expose_mut().copy_from_slice(reader.take(32)?);
    let info = KeyInfo {
        name,
        state,
        filling: flags & FILLING != 0,
        check_value,
        period,
        created,
        activated,
        retired,
        destroyed,
    };
    Ok(Entry { info, root })
}

/// Whether a key of this name can have come into this state with these flags.
fn flags_fit(name: KeyName, state: KeyState, flags: u8) -> bool {
    match state {
        KeyState::PreActivation => flags == 0 || (flags == FILLING && name.usage == KeyUse::Index),
        KeyState::Active | KeyState::Suspended => flags == ACTIVATED,
        KeyState::Deactivated => flags == ACTIVATED | RETIRED,
        KeyState::Compromised => matches!(flags & !ACTIVATED, RETIRED),
        KeyState::Destroyed => {
            // A key that was active was retired before it was destroyed.
            flags == DESTROYED
                || flags == RETIRED | DESTROYED
                || flags == ACTIVATED | RETIRED | DESTROYED
        }
    }
}

/// Whether `entry` may follow the entries that `ring` has so far.
fn fits(ring: &KeyRing, entry: &Entry) -> bool {
    let info = &entry.info;
    let name = info.name;
    let newest = ring
        .newest
        .get(usize::from(name.usage.number()) - 1)
        .copied()
        .unwrap_or(0);
    let in_order = ring.taken().all(|e| e.info.name < name);
    let one_active = !info.state.may_seal() || ring.active(name.usage).is_err();
    let one_filling = !info.filling || !ring.versions().any(|other| other.filling);
    let live = name.usage != KeyUse::Vaultless
        || !info.may_open()
        || (ring.vaultless_generations().count() < VAULTLESS_GENERATIONS
            && !ring
                .vaultless_generations()
                .any(|other| other % VAULTLESS_RESIDUES == name.version % VAULTLESS_RESIDUES));
    let zero = bool::from(entry.root.ct_eq(&Secret::zeroed()));
    let root_fits = if info.state == KeyState::Destroyed {
        zero
    } else {
        let distinct = !ring
            .taken()
            .any(|other| bool::from(other.root.ct_eq(&entry.root)));
        !zero && distinct && ring.root_check(&entry.root, name) == Ok(info.check_value)
    };
    (1..=newest).contains(&name.version)
        && in_order
        && one_active
        && one_filling
        && live
        && root_fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyError;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    /// Cards: destroyed, active. Index: active, being filled. Vaultless: deactivated, active,
    /// never active and compromised. Irreversible: suspended. Journal and ledger: active.
    fn ring() -> KeyRing {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
        for (usage, count) in KeyUse::ALL.into_iter().zip([2, 2, 3, 1, 1, 1]) {
            for _ in 0..count {
                let period = Cryptoperiod::default_of(usage);
                ring.add(usage, period, NOW, &mut rng).unwrap();
            }
            ring.activate(KeyName::new(usage, 1), NOW.plus(1)).unwrap();
        }
        let name = |usage, version| KeyName::new(usage, version);
        ring.activate(name(KeyUse::Card, 2), NOW.plus(2)).unwrap();
        ring.destroy(name(KeyUse::Card, 1), NOW.plus(3)).unwrap();
        ring.begin_filling(name(KeyUse::Index, 2)).unwrap();
        ring.activate(name(KeyUse::Vaultless, 2), NOW.plus(4))
            .unwrap();
        ring.compromise(name(KeyUse::Vaultless, 3), NOW.plus(5))
            .unwrap();
        ring.suspend(name(KeyUse::Irreversible, 1), NOW.plus(6))
            .unwrap();
        ring
    }

    fn bytes(ring: &KeyRing) -> Vec<u8> {
        let mut out = vec![0; MAX_ENCODED_RING];
        let len = encode(ring, &mut out).unwrap();
        assert_eq!(len, encoded_len(ring));
        out.truncate(len);
        out
    }

    /// Reads into a ring that holds another one; on failure nothing of either is left.
    fn decode(bytes: &[u8]) -> Result<KeyRing, CodecError> {
        let mut ring = ring_2();
        decode_into(bytes, &mut ring)
            .inspect_err(|_| assert!(is_blank(&ring)))
            .map(|()| ring)
    }

    fn is_blank(ring: &KeyRing) -> bool {
        let nothing = ring.taken().next().is_none();
        nothing && ring.newest == KeyRing::blank().newest && ring.generation == 0
    }

    /// The offset of an entry of [`ring`], by its place.
    const fn entry(place: usize) -> usize {
        51 + place * ENTRY_LEN
    }

    /// [`ring`] with a key for archives.
    fn ring_2() -> KeyRing {
        with(ring(), KeyUse::Archive)
    }

    /// The ring with an active key of another use.
    fn with(mut ring: KeyRing, usage: KeyUse) -> KeyRing {
        let mut rng = ChaCha20Rng::from_seed([3 + usage.number(); 32]);
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, NOW, &mut rng).unwrap();
        ring.activate(name, NOW).unwrap();
        ring
    }

    fn is_as(golden: &str, name: &str, ring: &KeyRing) {
        let golden: Vec<u8> = golden
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| line.as_bytes().chunks(2))
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let hex: String = bytes(ring)
            .chunks(30)
            .map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n")
            .collect();
        assert!(bytes(ring) == golden, "{name} is now:\n{hex}");
        assert_eq!(bytes(&decode(&golden).unwrap()), golden);
    }

    #[test]
    fn is_frozen() {
        let golden = include_str!("../../tests/golden/ring-encoding.hex");
        is_as(golden, "ring-encoding.hex", &ring());
        let golden = include_str!("../../tests/golden/ring-encoding-2.hex");
        is_as(golden, "ring-encoding-2.hex", &ring_2());
        let golden = include_str!("../../tests/golden/ring-encoding-3.hex");
        is_as(golden, "ring-encoding-3.hex", &with(ring(), KeyUse::Audit));
    }

    #[test]
    fn version_3_is_for_rings_with_a_key_for_audit_logs() {
        for ring in [ring(), ring_2()] {
            let (format, _) = format_of(&ring);
            let before = bytes(&ring).len();
            let whole = bytes(&with(ring, KeyUse::Audit));
            assert_eq!(whole[0], 3);
            let uses = 4 * usize::from(3 - format);
            assert_eq!(whole.len(), before + uses + ENTRY_LEN);
            decode(&whole).unwrap();
        }
        // A ring without one in version 3.
        let mut without = bytes(&ring_2());
        without[0] = 3;
        without.splice(54..54, [0; 4]);
        assert_eq!(decode(&without).err(), Some(CodecError::Invalid { at: 54 }));
        without[0] = 4;
        assert_eq!(decode(&without).err(), Some(CodecError::Invalid { at: 0 }));
    }

    #[test]
    fn version_2_is_for_rings_with_a_key_for_archives() {
        let whole = bytes(&ring_2());
        assert_eq!(whole[0], 2);
        assert_eq!(whole.len(), bytes(&ring()).len() + 4 + ENTRY_LEN);
        // A ring without one in version 2, and one with it in version 1.
        let mut without = bytes(&ring());
        without[0] = 2;
        without.splice(50..50, [0; 4]);
        assert_eq!(decode(&without).err(), Some(CodecError::Invalid { at: 50 }));
        let mut with = whole.clone();
        with[0] = 1;
        with.drain(50..54);
        let at = with.len() - ENTRY_LEN;
        assert_eq!(decode(&with).err(), Some(CodecError::Invalid { at }));
        for len in 0..whole.len() {
            let refused = decode(&whole[..len]).err();
            assert!(matches!(refused, Some(CodecError::Truncated { .. })));
        }
    }

    #[test]
    fn every_history_reads_back() {
        let mut random = ChaCha20Rng::from_seed([8; 32]);
        let mut ring = KeyRing::new(RingMark::Production, &mut random).unwrap();
        assert_eq!(bytes(&decode(&bytes(&ring)).unwrap()), bytes(&ring));
        let period = Cryptoperiod::new(5, 9).unwrap();
        let name = ring.add(KeyUse::Card, period, NOW, &mut random).unwrap();
        type Step = fn(&mut KeyRing, KeyName) -> Result<(), KeyError>;
        let steps: [Step; 6] = [
            |ring, name| ring.activate(name, NOW),
            |ring, name| ring.suspend(name, NOW),
            |ring, name| ring.activate(name, NOW),
            |ring, name| ring.deactivate(name, NOW),
            |ring, name| ring.compromise(name, NOW),
            |ring, name| ring.destroy(name, NOW),
        ];
        for step in steps {
            step(&mut ring, name).unwrap();
            assert_eq!(bytes(&decode(&bytes(&ring)).unwrap()), bytes(&ring));
        }
        // Destroyed before it was ever active, and after it was only compromised.
        for compromised in [false, true] {
            let name = ring.add(KeyUse::Card, period, NOW, &mut random).unwrap();
            if compromised {
                ring.compromise(name, NOW).unwrap();
            }
            ring.destroy(name, NOW).unwrap();
            assert_eq!(bytes(&decode(&bytes(&ring)).unwrap()), bytes(&ring));
        }
    }

    #[test]
    fn refuses_what_is_not_canonical() {
        let whole = bytes(&ring());
        let invalid = |at: usize, change: &[u8], position: usize| {
            let mut changed = whole.clone();
            changed[at..at + change.len()].copy_from_slice(change);
            let refused = decode(&changed).err();
            assert_eq!(
                refused,
                Some(CodecError::Invalid { at: position }),
                "at {at}"
            );
        };
        invalid(0, &[0], 0);
        invalid(0, &[4], 0);
        invalid(1, &[0], 1);
        invalid(1, &[3], 1);
        invalid(18, &[0; 8], 18);
        invalid(50, &[65], 50);
        // The newest version is below one that is there.
        invalid(26, &[0, 0, 0, 1], entry(1));
        invalid(entry(0), &[0], entry(0));
        invalid(entry(0), &[7], entry(0));
        invalid(entry(0) + 1, &[0, 0, 0, 0], entry(0));
        // The same name again, and a name before the last.
        invalid(entry(1) + 1, &[0, 0, 0, 1], entry(1));
        invalid(entry(7), &[1], entry(7));
        invalid(entry(1) + 5, &[7], entry(1) + 5);
        // Flags against states: every value but the right one.
        for (place, right) in [
            (0, vec![DESTROYED, RETIRED | DESTROYED, 14]),
            (1, vec![ACTIVATED]),
            (3, vec![0, FILLING]),
            (4, vec![ACTIVATED | RETIRED]),
            (6, vec![RETIRED, ACTIVATED | RETIRED]),
            (7, vec![ACTIVATED]),
        ] {
            for flags in (0..=255).filter(|flags| !right.contains(flags)) {
                invalid(entry(place) + 6, &[flags], entry(place) + 6);
            }
        }
        // A time without its flag.
        invalid(entry(1) + 42, &[0, 0, 0, 0, 0, 0, 0, 1], entry(1) + 42);
        invalid(entry(3) + 34, &[0, 0, 0, 0, 0, 0, 0, 1], entry(3) + 34);
        // The check value, the root, and the recipient period.
        invalid(entry(1) + 7, &[0, 0, 0], entry(1));
        invalid(entry(1) + 58, &[0; 32], entry(1));
        invalid(entry(0) + 58, &[1; 32], entry(0));
        invalid(entry(1) + 10, &[0; 8], entry(1) + 10);
        invalid(entry(1) + 18, &[0; 8], entry(1) + 10);
    }

    #[test]
    fn refuses_what_no_history_leads_to() {
        // Two active versions of a use: the second state and flags, with a fitting time.
        let mut two = bytes(&ring());
        two[entry(3) + 5..entry(3) + 7].copy_from_slice(&[2, ACTIVATED]);
        let at = entry(3);
        assert_eq!(decode(&two).err(), Some(CodecError::Invalid { at }));
        // Three live generations of the vaultless key.
        let mut three = bytes(&ring());
        three[entry(6) + 6] |= ACTIVATED;
        let at = entry(6);
        assert_eq!(decode(&three).err(), Some(CodecError::Invalid { at }));
        // Two index versions that are being filled.
        let mut rng = ChaCha20Rng::from_seed([9; 32]);
        let mut ring = ring();
        let period = Cryptoperiod::default_of(KeyUse::Index);
        ring.add(KeyUse::Index, period, NOW, &mut rng).unwrap();
        let mut filled = bytes(&ring);
        filled[entry(4) + 6] = FILLING;
        let at = entry(4);
        assert_eq!(decode(&filled).err(), Some(CodecError::Invalid { at }));
        // Entries out of order, each right in itself.
        let mut swapped = bytes(&ring);
        let (one, other) = swapped.split_at_mut(entry(2));
        one[entry(1)..].swap_with_slice(&mut other[..ENTRY_LEN]);
        let at = entry(2);
        assert_eq!(decode(&swapped).err(), Some(CodecError::Invalid { at }));
        // The same root twice.
        let mut same = bytes(&ring);
        let root = same[entry(1) + 58..][..32].to_vec();
        same[entry(2) + 58..][..32].copy_from_slice(&root);
        let at = entry(2);
        assert_eq!(decode(&same).err(), Some(CodecError::Invalid { at }));
    }

    #[test]
    fn other_lengths_are_refused() {
        let whole = bytes(&ring());
        for len in 0..whole.len() {
            let refused = decode(&whole[..len]).err();
            assert!(matches!(refused, Some(CodecError::Truncated { .. })));
        }
        let at = whole.len();
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(decode(&longer).err(), Some(CodecError::Trailing { at }));
    }

    proptest::proptest! {
        /// Whatever is read is written again as it was.
        #[test]
        fn one_encoding_for_each_ring(at in 0_usize..763, byte in 0_u8..=255) {
            let mut changed = bytes(&ring());
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            if let Ok(ring) = decode(&changed) {
                proptest::prop_assert_eq!(bytes(&ring), changed);
            }
        }
    }
}
