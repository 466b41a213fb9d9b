//! What a writer keeps to go on with: the keys of a frame that is not written yet, in two slots of
//! one file, the newer of which holds.
#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::error::AuditError;
use super::medium::{Medium, STATE_FILE};
use super::writer::{Position, WRITER_ID_LEN, WRITER_MAX_LEN, Writer};
use crate::codec::{CodecError, Reader, Writer as Bytes};
use crate::ratchet::{AGGREGATE_LEN, Aggregate, Chain};
use crate::secret::Secret;

/// Length of a slot, in bytes. Each has a sector of its own.
const SLOT_LEN: usize = 512;
const VERSION: u8 = 1;
const CHECK_LEN: usize = 16;
/// What the check covers.
const CHECKED_LEN: usize = SLOT_LEN - CHECK_LEN;

/// Where a writer stands.
pub(super) struct State {
    pub(super) writer: Writer,
    pub(super) id: [u8; WRITER_ID_LEN],
    /// How often the state was saved.
    pub(super) saves: u64,
    pub(super) position: Position,
    /// The file of the next frame, and where in it.
    pub(super) file: u32,
    pub(super) len: u64,
}

impl State {
    /// The newest whole state.
    pub(super) fn load(medium: &mut impl Medium) -> Result<Self, AuditError> {
        let bytes = medium.read(STATE_FILE)?.ok_or(AuditError::NoLog)?;
        let bytes = Zeroizing::new(bytes);
        let slots = bytes.as_chunks::<SLOT_LEN>().0.iter().take(2);
        let states = slots.filter_map(|slot| Self::read(slot).ok());
        states
            .max_by_key(|state| state.saves)
            .ok_or(AuditError::State)
    }

    /// Saves the state over the older slot, and then wipes the other one.
    pub(super) fn save(&mut self, medium: &mut impl Medium) -> Result<(), AuditError> {
        self.saves += 1;
        let mut bytes = Zeroizing::new([0; SLOT_LEN]);
        self.write(&mut bytes)?;
        let (slot, other) = if self.saves.is_multiple_of(2) {
            (0, SLOT_LEN as u64)
        } else {
            (SLOT_LEN as u64, 0)
        };
        medium.write(STATE_FILE, slot, bytes.as_slice())?;
        medium.sync(STATE_FILE)?;
        medium.write(STATE_FILE, other, &[0; SLOT_LEN])?;
        medium.sync(STATE_FILE)?;
        Ok(())
    }

    fn write(&self, out: &mut [u8; SLOT_LEN]) -> Result<(), CodecError> {
        let mut writer = Bytes::new(out);
        writer.u8(VERSION)?;
        writer.u64(self.saves)?;
        writer.u32(self.writer.base_version())?;
        writer.u32(self.writer.epoch())?;
        writer.put(&self.id)?;
        writer.u32(self.file)?;
        writer.u64(self.len)?;
        writer.u64(self.position.count)?;
        writer.put(self.position.chain.key().expose())?;
        writer.put(self.position.aggregate.0.expose())?;
        writer.prefixed(self.writer.name().as_bytes())?;
        let check = check(out);
        let at = out.get_mut(CHECKED_LEN..).unwrap_or_default();
        at.copy_from_slice(&check);
        Ok(())
    }

    fn read(slot: &[u8; SLOT_LEN]) -> Result<Self, CodecError> {
        let invalid = |at| CodecError::Invalid { at };
        let found = slot.get(CHECKED_LEN..).unwrap_or_default();
        if !bool::from(check(slot).as_slice().ct_eq(found)) {
            return Err(invalid(CHECKED_LEN));
        }
        let mut reader = Reader::new(slot);
        if reader.u8()? != VERSION {
            return Err(invalid(0));
        }
        let saves = reader.u64()?;
        let (base_version, epoch) = (reader.u32()?, reader.u32()?);
        let id = reader.array()?;
        let (file, len, count) = (reader.u32()?, reader.u64()?, reader.u64()?);
        let (mut key, mut aggregate) = (Secret::zeroed(), Secret::zeroed());
        key.expose_mut().copy_from_slice(reader.take(32)?);
        let worth = reader.take(AGGREGATE_LEN)?;
        aggregate.expose_mut().copy_from_slice(worth);
        let at = reader.at();
        let name_len = usize::from(reader.u8()?);
        if name_len > WRITER_MAX_LEN {
            return Err(invalid(at));
        }
        let name = core::str::from_utf8(reader.take(name_len)?).map_err(|_| invalid(at))?;
        let writer = Writer::new(name, epoch, base_version).map_err(|_| invalid(at))?;
        Ok(Self {
            writer,
            id,
            saves,
            position: Position {
                chain: Chain::new(key),
                aggregate: Aggregate(aggregate),
                count,
            },
            file,
            len,
        })
    }
}

/// Tells a torn slot from a whole one; not a MAC, since who could change the slot has the keys.
fn check(slot: &[u8; SLOT_LEN]) -> [u8; CHECK_LEN] {
    let checked = slot.get(..CHECKED_LEN).unwrap_or_default();
    let digest: [u8; 32] = Sha256::digest(checked).into();
    let mut check = [0; CHECK_LEN];
    for (to, from) in check.iter_mut().zip(digest) {
        *to = from;
    }
    check
}
