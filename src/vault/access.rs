//! Who reaches for card data, and why: stated with each such call and logged before the answer.
#![forbid(unsafe_code)]

use core::fmt;
use std::sync::Mutex;

use crate::keys::Domain;
use crate::time::UnixSeconds;
use crate::token::Token;

/// The longest actor and the longest purpose, in bytes.
pub const ACCESS_TEXT_MAX: usize = 64;

/// Who asks and for what, as asserted by the host program (PCI DSS v4.0.1, 10.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    actor: String,
    purpose: String,
}

impl Access {
    /// `actor` and `purpose` have 1 to [`ACCESS_TEXT_MAX`] bytes of printable ASCII, and no eight
    /// digits: a card number has no business here.
    ///
    /// # Errors
    /// [`AccessError`] names the part that is not like that.
    pub fn new(actor: &str, purpose: &str) -> Result<Self, AccessError> {
        if !is_plain(actor) {
            return Err(AccessError::Actor);
        }
        if !is_plain(purpose) {
            return Err(AccessError::Purpose);
        }
        Ok(Self {
            actor: actor.to_owned(),
            purpose: purpose.to_owned(),
        })
    }

    /// Who asks.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// For what.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }
}

fn is_plain(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (1..=ACCESS_TEXT_MAX).contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && digits < crate::card::PAN_MIN_DIGITS
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A card number for a token.
    Detokenize,
    /// The tokens of a card.
    Find,
    /// Removal of a token.
    Delete,
}

impl Operation {
    /// The operation's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detokenize => "detokenize",
            Self::Find => "find",
            Self::Delete => "delete",
        }
    }
}

/// One access, with its outcome.
#[derive(Clone, Debug)]
pub struct AccessEvent<'a> {
    /// When.
    pub time: UnixSeconds,
    /// Who, and for what.
    pub access: &'a Access,
    /// What was asked.
    pub operation: Operation,
    /// In which domain.
    pub domain: &'a Domain,
    /// The token that was named or found; none where a card was not found.
    pub token: Option<Token>,
    /// Whether it was granted.
    pub granted: bool,
}

impl fmt::Display for AccessEvent<'_> {
    /// One line of `name=value` pairs; texts in quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "time={} operation={} outcome={} actor={:?} purpose={:?} domain={:?}",
            self.time.0,
            self.operation.as_str(),
            if self.granted { "granted" } else { "refused" },
            self.access.actor,
            self.access.purpose,
            self.domain.to_string(),
        )?;
        match self.token {
            Some(token) => write!(f, " token={token}"),
            None => Ok(()),
        }
    }
}

/// Where accesses are written down. The vault hands out nothing that could not be logged.
pub trait AccessLog: Send + Sync + 'static {
    /// Writes all of `events` down, durably, before it returns.
    ///
    /// # Errors
    /// [`AccessLogError`]: the caller of the vault gets this in place of the card.
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError>;
}

/// The log could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLogError;

impl fmt::Display for AccessLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the access log could not be written")
    }
}

impl core::error::Error for AccessLogError {}

/// Appends each event as a line to `W`, a file for instance, and flushes.
#[derive(Debug)]
pub struct LineLog<W>(Mutex<W>);

impl<W: std::io::Write + Send + 'static> LineLog<W> {
    /// Logs to `writer`.
    pub const fn new(writer: W) -> Self {
        Self(Mutex::new(writer))
    }
}

impl<W: std::io::Write + Send + 'static> AccessLog for LineLog<W> {
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        let mut writer = self.0.lock().map_err(|_| AccessLogError)?;
        let mut lines = String::new();
        for event in events {
            fmt::Write::write_fmt(&mut lines, format_args!("{event}\n"))
                .map_err(|_| AccessLogError)?;
        }
        writer
            .write_all(lines.as_bytes())
            .map_err(|_| AccessLogError)?;
        writer.flush().map_err(|_| AccessLogError)
    }
}

/// Why an [`Access`] was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The actor is empty, too long, not printable ASCII, or looks like a card number.
    Actor,
    /// The purpose is empty, too long, not printable ASCII, or looks like a card number.
    Purpose,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self {
            Self::Actor => "actor",
            Self::Purpose => "purpose",
        };
        write!(
            f,
            "{part} must be 1 to {ACCESS_TEXT_MAX} printable ASCII characters with fewer than 8 digits"
        )
    }
}

impl core::error::Error for AccessError {}
