//! Finding the way back into a log behind a fault.
#![forbid(unsafe_code)]

use super::error::AuditError;
use super::frame::Frame;
use super::writer::Position;

/// What a search may cost, in bytes that are hashed.
const BUDGET: u64 = 64 << 20;
/// What one step of the ratchet costs.
const STEP: u64 = 512;

/// A genuine frame.
pub(super) struct Found {
    /// Where it begins.
    pub(super) at: usize,
    /// Before it.
    pub(super) position: Position,
    /// Whether it begins a write, so that all before it was durable when it was written.
    pub(super) first: bool,
}

/// The first genuine frame in `bytes`, of this place in the chain or of a later one. A search that
/// costs too much finds none.
pub(super) fn next_genuine(bytes: &[u8], from: &Position) -> Result<Option<Found>, AuditError> {
    let mut cost = 0;
    for at in 0..bytes.len() {
        let Ok(frame) = Frame::read(bytes.get(at..).unwrap_or_default()) else {
            continue;
        };
        let Some(steps) = frame.sequence.checked_sub(from.count) else {
            continue;
        };
        let price = steps
            .saturating_mul(STEP)
            .saturating_add(frame.len() as u64);
        if price > BUDGET - cost {
            continue;
        }
        let mut position = from.copy();
        position.skip(steps)?;
        if position.copy().take(&frame) {
            let first = frame.first;
            return Ok(Some(Found {
                at,
                position,
                first,
            }));
        }
        cost += price;
    }
    Ok(None)
}
