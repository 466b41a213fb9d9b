//! The key ring as bytes. They hold the roots and exist only inside a sealed ring.
//!
//! Integers are big-endian, times are seconds since 1970-01-01T00:00:00Z.
//!
//! ```text
//!  offset  size
//!       0     1  format version, 1
//!       1     1  mark: 1 production, 2 development
//!       2    16  ring id
//!      18     8  generation, from 1
//!      26    16  newest version of each use, 4 bytes each: card, index, vaultless, irreversible
//!      42     1  count n of entries, 0 to 64
//!      43   90n  entries, by use and version, none twice
//!
//!  entry
//!       0     1  use: 1 card, 2 index, 3 vaultless, 4 irreversible
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
//! two active versions of a use, a check value that is not the root's.
#![forbid(unsafe_code)]

use subtle::ConstantTimeEq;

use super::check::CheckValue;
use super::name::{KeyName, KeyUse};
use super::ring::{
    Cryptoperiod, Entry, KeyInfo, KeyRing, MAX_KEYS, RING_ID_LEN, RingId, RingMark,
    VAULTLESS_GENERATIONS,
};
use super::state::KeyState;
use crate::codec::{CodecError, Reader, Writer};
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// The most bytes that a ring has, in bytes.
pub(crate) const MAX_ENCODED_RING: usize = HEAD_LEN + MAX_KEYS * ENTRY_LEN;

const FORMAT: u8 = 1;
const HEAD_LEN: usize = 1 + 1 + RING_ID_LEN + 8 + 4 * KeyUse::ALL.len() + 1;
const ENTRY_LEN: usize = 90;

const FILLING: u8 = 1;
const ACTIVATED: u8 = 2;
const RETIRED: u8 = 4;
const DESTROYED: u8 = 8;

/// Writes `ring` to the front of `out`; returns how many bytes.
pub(crate) fn encode(
    ring: &KeyRing,
    out: &mut Secret<MAX_ENCODED_RING>,
) -> Result<usize, CodecError> {
    let mut writer = Writer::new(out.expose_mut());
    writer.u8(FORMAT)?;
    writer.u8(ring.mark.number())?;
    writer.put(ring.id.as_bytes())?;
    writer.u64(ring.generation)?;
    for newest in ring.newest {
        writer.u32(newest)?;
    }
    let count = ring.entries.iter().flatten().count();
    let invalid = CodecError::Invalid { at: writer.len() };
    writer.u8(u8::try_from(count).map_err(|_| invalid)?)?;
    for entry in ring.in_order() {
        encode_entry(entry, &mut writer)?;
    }
    Ok(writer.len())
}

/// Reads a ring that takes up the whole of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<KeyRing, CodecError> {
    let mut reader = Reader::new(bytes);
    let at = reader.at();
    if reader.u8()? != FORMAT {
        return Err(CodecError::Invalid { at });
    }
    let at = reader.at();
    let mark = RingMark::from_number(reader.u8()?).ok_or(CodecError::Invalid { at })?;
    let id = RingId::from_bytes(reader.array()?);
    let at = reader.at();
    let generation = reader.u64()?;
    if generation == 0 {
        return Err(CodecError::Invalid { at });
    }
    let mut ring = KeyRing::empty(mark, id, generation);
    for newest in &mut ring.newest {
        *newest = reader.u32()?;
    }
    let at = reader.at();
    let count = usize::from(reader.u8()?);
    if count > MAX_KEYS {
        return Err(CodecError::Invalid { at });
    }
    for index in 0..count {
        let at = reader.at();
        let entry = decode_entry(&mut reader)?;
        if !fits(&ring, &entry) {
            return Err(CodecError::Invalid { at });
        }
        if let Some(slot) = ring.entries.get_mut(index) {
            *slot = Some(entry);
        }
    }
    reader.finish()?;
    Ok(ring)
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
    let in_order = ring.entries.iter().flatten().all(|e| e.info.name < name);
    let one_active = !info.state.may_seal() || ring.active(name.usage).is_err();
    let one_filling = !info.filling || !ring.versions().any(|other| other.filling);
    let live = name.usage != KeyUse::Vaultless
        || !info.may_open()
        || ring.vaultless_generations().count() < VAULTLESS_GENERATIONS;
    let zero = bool::from(entry.root.ct_eq(&Secret::zeroed()));
    let root_fits = if info.state == KeyState::Destroyed {
        zero
    } else {
        let distinct = !ring
            .entries
            .iter()
            .flatten()
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
