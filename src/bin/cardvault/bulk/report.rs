//! What a file command tells of itself: progress, rejected lines, and a summary.
#![forbid(unsafe_code)]

use std::path::Path;

use indicatif::ProgressBar;

use super::Done;
use crate::failure::{Exit, Outcome};
use crate::files::{Output, Readers};
use crate::progress::{Unit, progress};

/// So many rejected lines are named on standard error if there is no reject file.
const NAMED: u64 = 10;

pub(super) struct Report {
    rejects: Option<Output>,
    bar: ProgressBar,
    quiet: bool,
    accepted: u64,
    rejected: u64,
    empty: u64,
    existing: u64,
}

impl Report {
    pub(super) fn begin(rejects: Option<&Path>, bytes: Option<u64>, quiet: bool) -> Outcome<Self> {
        let mut rejects = rejects
            .map(|path| Output::open(path, Readers::Usual))
            .transpose()?;
        if let Some(rejects) = &mut rejects {
            rejects.write(b"line,reason\n")?;
        }
        Ok(Self {
            rejects,
            bar: progress(bytes, Unit::Bytes, "", quiet),
            quiet,
            accepted: 0,
            rejected: 0,
            empty: 0,
            existing: 0,
        })
    }

    pub(super) fn count(&mut self, done: &Done) -> Outcome<()> {
        self.accepted += done.accepted;
        self.empty += done.empty;
        self.existing += done.existing;
        for (line, reason) in &done.rejected {
            self.rejected += 1;
            match &mut self.rejects {
                Some(rejects) => {
                    let reason = reason.replace('"', "\"\"");
                    rejects.write(format!("{line},\"{reason}\"\n").as_bytes())?;
                }
                None if self.rejected <= NAMED => {
                    self.bar
                        .suspend(|| crate::say(&format!("line {line}: {reason}")));
                }
                None => {}
            }
        }
        self.bar.inc(u64::try_from(done.batch.len()).unwrap_or(0));
        Ok(())
    }

    /// Closes the reject file and says what was done.
    pub(super) fn finish(&mut self, done: &str) -> Outcome<()> {
        self.bar.finish_and_clear();
        let named = self.rejects.is_some();
        if let Some(rejects) = self.rejects.take() {
            rejects.finish()?;
        }
        if self.quiet {
            return Ok(());
        }
        let mut text = format!("{} {done}", self.accepted);
        if self.existing > 0 {
            text.push_str(&format!(" ({} had their token)", self.existing));
        }
        if self.rejected > 0 {
            text.push_str(&format!(", {} rejected", self.rejected));
            if !named {
                text.push_str(" (--reject FILE names them all)");
            }
        }
        if self.empty > 0 {
            text.push_str(&format!(", {} empty lines kept", self.empty));
        }
        crate::say(&text);
        Ok(())
    }

    pub(super) const fn exit(&self) -> Exit {
        if self.rejected > 0 {
            Exit::Rejected
        } else {
            Exit::Done
        }
    }
}
