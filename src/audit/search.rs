//! Finding the way back into a log behind a fault.
#![forbid(unsafe_code)]

use core::ops::Range;

use super::error::AuditError;
use super::frame::Frame;
use super::writer::Position;

/// What a search may cost, in bytes that are hashed.
pub(super) const SEARCH_BUDGET: u64 = 64 << 20;
/// What a frame costs at most to be tried first.
const NEAR: u64 = 2 << 20;
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
/// costs more than the budget finds none and leaves nothing of it.
pub(super) fn next_genuine(
    bytes: &[u8],
    from: &Position,
    budget: &mut u64,
) -> Result<Option<Found>, AuditError> {
    // What lies near is tried first: a changed sequence number leads far.
    let near = search(bytes, from, 0..NEAR, budget)?;
    if near.is_some() || *budget == 0 {
        return Ok(near);
    }
    search(bytes, from, NEAR..SEARCH_BUDGET + 1, budget)
}

/// [`next_genuine`] among the frames at this price.
fn search(
    bytes: &[u8],
    from: &Position,
    prices: Range<u64>,
    budget: &mut u64,
) -> Result<Option<Found>, AuditError> {
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
        if !prices.contains(&price) {
            continue;
        }
        let Some(left) = budget.checked_sub(price) else {
            *budget = 0;
            return Ok(None);
        };
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
        *budget = left;
    }
    Ok(None)
}
