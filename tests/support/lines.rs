//! An access log in memory.
#![forbid(unsafe_code)]

use std::sync::Mutex;

use cardvault::vault::{AccessEvent, AccessLog, AccessLogError};

/// Keeps its lines, or refuses to.
pub(crate) struct Lines(pub(crate) Mutex<Option<Vec<String>>>);

impl AccessLog for &'static Lines {
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        let mut lines = self.0.lock().unwrap();
        let lines = lines.as_mut().ok_or(AccessLogError)?;
        lines.extend(events.iter().map(ToString::to_string));
        Ok(())
    }
}
