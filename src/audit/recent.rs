//! The newest accesses of the logs, without their verification.
#![forbid(unsafe_code)]

use std::path::Path;

use super::error::AuditError;
use super::event::{LoggedEvent, read_body};
use super::frame::{FileHead, Frame, Kind};
use super::medium::{file_name, files_in};
use super::verify::{log_folders, read_file};
use crate::time::UnixSeconds;

/// Hands the accesses from `since` on in the logs below `folder` to `sink`, log by log. Needs no
/// key, **verifies nothing**, and passes over what it cannot read: for counters of a process that
/// starts, not for an auditor. Reads no files from before that time.
///
/// # Errors
/// [`AuditError::Io`].
pub fn recent_events(
    folder: &Path,
    since: UnixSeconds,
    sink: &mut dyn FnMut(LoggedEvent),
) -> Result<(), AuditError> {
    for path in log_folders(folder)? {
        let mut files = Vec::new();
        for file in files_in(&path)?.into_iter().rev() {
            let bytes = read_file(&path.join(file_name(file)))?;
            let is_old = frames(&bytes)
                .next()
                .is_some_and(|frame| frame.time < since);
            files.push(file);
            if is_old {
                break;
            }
        }
        for file in files.into_iter().rev() {
            let bytes = read_file(&path.join(file_name(file)))?;
            for frame in frames(&bytes).filter(|frame| frame.kind == Kind::Events) {
                // What cannot be read is passed over.
                let _ = read_body(frame.body, &mut |event| {
                    if event.time >= since {
                        sink(event);
                    }
                });
            }
        }
    }
    Ok(())
}

/// What looks like frames, up to the first thing that does not.
fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut at = FileHead::read(bytes).map_or(bytes.len(), |(_, len)| len);
    std::iter::from_fn(move || {
        let frame = Frame::read(bytes.get(at..).unwrap_or_default()).ok()?;
        at += frame.len();
        Some(frame)
    })
}
