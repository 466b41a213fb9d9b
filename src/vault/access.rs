//! Who reaches for card data, and why: stated with each such call and logged before the answer.
#![forbid(unsafe_code)]

use core::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;

use super::policy::PolicyReason;
use crate::card::{Brand, Pan};
use crate::keys::{Domain, KeyName};
use crate::time::UnixSeconds;
use crate::token::Token;

/// The longest actor, purpose and origin, in bytes.
pub const ACCESS_TEXT_MAX: usize = 64;

/// What a line of a log is expected to take, in bytes.
const LINE: usize = 192;

/// From this many digits in a row on a text is refused, whatever they are.
const REFUSED_DIGITS: usize = 13;

/// Who asks, for what and from where, as asserted by the host program: the vault believes it (PCI
/// DSS v4.0.1, 10.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    actor: String,
    purpose: String,
    origin: String,
}

impl Access {
    /// `actor`, `purpose` and `origin` (the host, address or terminal that the request came from)
    /// have 1 to [`ACCESS_TEXT_MAX`] bytes of printable ASCII each, and hold nothing that looks like a
    /// card number: no run of 13 or more digits, single spaces and dashes between them not
    /// counted, and no run of 8 to 12 digits that passes the Luhn check and is of a known brand.
    /// Dates, times, addresses and short order numbers are fine.
    ///
    /// # Errors
    /// [`AccessError`] names the part that is not like that.
    pub fn new(actor: &str, purpose: &str, origin: &str) -> Result<Self, AccessError> {
        if !is_plain(actor) {
            return Err(AccessError::Actor);
        }
        if !is_plain(purpose) {
            return Err(AccessError::Purpose);
        }
        if !is_plain(origin) {
            return Err(AccessError::Origin);
        }
        Ok(Self {
            actor: actor.to_owned(),
            purpose: purpose.to_owned(),
            origin: origin.to_owned(),
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

    /// From where.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

/// What an actor, a purpose and an origin must be like.
pub(super) fn is_plain(text: &str) -> bool {
    (1..=ACCESS_TEXT_MAX).contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !has_run(text.as_bytes(), |run| {
            run.len() >= REFUSED_DIGITS || is_card_number(run)
        })
}

/// Whether a text holds the number of a card of a known brand, apart from other digits.
#[cfg(feature = "tracing")]
pub(super) fn has_card_number(text: &[u8]) -> bool {
    has_run(text, is_card_number)
}

/// Whether a run of digits, single spaces and dashes between them left out, is like this.
fn has_run(text: &[u8], is: impl Fn(&[u8]) -> bool) -> bool {
    let mut run = Vec::with_capacity(text.len());
    let mut gap = false;
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                gap = false;
                run.push(*byte);
            }
            b' ' | b'-' if !gap => gap = true,
            _ => {
                if is(&run) {
                    return true;
                }
                gap = false;
                run.clear();
            }
        }
    }
    is(&run)
}

fn is_card_number(digits: &[u8]) -> bool {
    Pan::parse(digits).is_ok_and(|pan| pan.brand() != Brand::Unknown)
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A card number for a token.
    Detokenize,
    /// The masked card number for a token.
    Masked,
    /// The tokens of a card, or whether a token stands for it.
    Find,
    /// How many tokens there are, or whether there is one.
    Count,
    /// Removal of a token.
    Delete,
    /// Removal of what a retention policy no longer keeps.
    Purge,
    /// An archive of the whole store.
    Export,
    /// Records sealed anew under the active key.
    Rewrap,
    /// A new key version.
    AddKey,
    /// A key version put to use.
    ActivateKey,
    /// A key version taken out of use.
    RetireKey,
    /// A key version marked as compromised.
    CompromiseKey,
    /// A key version destroyed.
    DestroyKey,
    /// A policy taken on.
    Policy,
    /// The tokens under a key version.
    List,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 15] = [
        Self::Detokenize,
        Self::Masked,
        Self::Find,
        Self::Count,
        Self::Delete,
        Self::Purge,
        Self::Export,
        Self::Rewrap,
        Self::List,
        Self::AddKey,
        Self::ActivateKey,
        Self::RetireKey,
        Self::CompromiseKey,
        Self::DestroyKey,
        Self::Policy,
    ];

    /// Those with keys.
    pub const KEYS: [Self; 5] = [
        Self::AddKey,
        Self::ActivateKey,
        Self::RetireKey,
        Self::CompromiseKey,
        Self::DestroyKey,
    ];

    /// The operation's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detokenize => "detokenize",
            Self::Masked => "masked",
            Self::Find => "find",
            Self::Count => "count",
            Self::Delete => "delete",
            Self::Purge => "purge",
            Self::Export => "export",
            Self::Rewrap => "rewrap",
            Self::AddKey => "add-key",
            Self::ActivateKey => "activate-key",
            Self::RetireKey => "retire-key",
            Self::CompromiseKey => "compromise-key",
            Self::DestroyKey => "destroy-key",
            Self::Policy => "policy",
            Self::List => "list",
        }
    }
}

/// One access, with its outcome.
#[derive(Clone, Debug)]
pub struct AccessEvent<'a> {
    /// When.
    pub time: UnixSeconds,
    /// Who, for what, and from where.
    pub access: &'a Access,
    /// What was asked.
    pub operation: Operation,
    /// In which domain; none: in all of them.
    pub domain: Option<&'a Domain>,
    /// The token that was named or found; none where a card was not found.
    pub token: Option<Token>,
    /// The key version that was named, if any.
    pub key: Option<KeyName>,
    /// Whether it was granted.
    pub granted: bool,
    /// Why the policy refused it, if that did.
    pub refusal: Option<PolicyReason>,
}

impl fmt::Display for AccessEvent<'_> {
    /// One line of `name=value` pairs; texts in quotes, all domains as a star without.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "time={} operation={} outcome={} actor={:?} purpose={:?} origin={:?}",
            self.time.0,
            self.operation.as_str(),
            if self.granted { "granted" } else { "refused" },
            self.access.actor,
            self.access.purpose,
            self.access.origin,
        )?;
        match self.domain {
            Some(domain) => write!(f, " domain={:?}", domain.to_string())?,
            None => f.write_str(" domain=*")?,
        }
        if let Some(token) = self.token {
            write!(f, " token={token}")?;
        }
        if let Some(key) = self.key {
            write!(f, " key={key}")?;
        }
        match self.refusal {
            Some(refusal) => write!(f, " refusal={}", refusal.as_str()),
            None => Ok(()),
        }
    }
}

/// Where accesses are written down: calls that hand out a card or an archive, name a card's tokens
/// or remove one. The vault hands out nothing that could not be logged.
pub trait AccessLog: Send + Sync + 'static {
    /// Writes all of `events` down, durably, before it returns.
    ///
    /// # Errors
    /// [`AccessLogError`]: the caller of the vault gets this in place of the card.
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError>;
}

/// A log that several vaults share, or that its opener keeps a hold on.
impl<L: AccessLog> AccessLog for std::sync::Arc<L> {
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        (**self).record(events)
    }
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

/// Appends each event as a line to `W` and flushes it: the lines are as durable as `W` makes them
/// when it is flushed. For a file take [`FileLog`].
#[derive(Debug)]
pub struct LineLog<W>(Mutex<W>);

impl<W: Write + Send + 'static> LineLog<W> {
    /// Logs to `writer`.
    pub const fn new(writer: W) -> Self {
        Self(Mutex::new(writer))
    }
}

impl<W: Write + Send + 'static> AccessLog for LineLog<W> {
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        let mut writer = self.0.lock().map_err(|_| AccessLogError)?;
        let lines = lines(events);
        writer
            .write_all(lines.as_bytes())
            .map_err(|_| AccessLogError)?;
        writer.flush().map_err(|_| AccessLogError)
    }
}

/// Appends each event as a line to a file, and syncs the file before the vault goes on.
#[derive(Debug)]
pub struct FileLog(Mutex<Appending>);

#[derive(Debug)]
struct Appending {
    file: File,
    /// Whether the last line may lack its end.
    torn: bool,
}

impl FileLog {
    /// Opens the file at `path`, to append to it, or makes it; on Unix the owner alone may read
    /// one that is made. If the last line lacks its end, as after a crash, it gets one.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let mut torn = false;
        if file.seek(SeekFrom::End(0))? == 0 {
            sync_parent(path)?;
        } else {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            torn = last != *b"\n";
        }
        Ok(Self(Mutex::new(Appending { file, torn })))
    }
}

impl AccessLog for FileLog {
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        let mut log = self.0.lock().map_err(|_| AccessLogError)?;
        log.append(lines(events)).map_err(|_| AccessLogError)
    }
}

impl Appending {
    fn append(&mut self, mut lines: String) -> io::Result<()> {
        if self.torn {
            lines.insert(0, '\n');
        }
        self.torn = true;
        self.file.write_all(lines.as_bytes())?;
        self.file.sync_data()?;
        self.torn = false;
        Ok(())
    }
}

fn lines(events: &[AccessEvent<'_>]) -> String {
    let mut lines = String::with_capacity(events.len().saturating_mul(LINE));
    for event in events {
        // A String takes everything.
        let _ = writeln!(lines, "{event}");
    }
    lines
}

/// Makes a new file's name durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Why an [`Access`] was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The actor is empty, too long, not printable ASCII, or looks like a card number.
    Actor,
    /// The purpose is empty, too long, not printable ASCII, or looks like a card number.
    Purpose,
    /// The origin is empty, too long, not printable ASCII, or looks like a card number.
    Origin,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self {
            Self::Actor => "actor",
            Self::Purpose => "purpose",
            Self::Origin => "origin",
        };
        write!(
            f,
            "{part} must be 1 to {ACCESS_TEXT_MAX} printable ASCII characters without a card number"
        )
    }
}

impl core::error::Error for AccessError {}
