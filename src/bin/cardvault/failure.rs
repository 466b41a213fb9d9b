//! What ends the command early: what was done, why it failed, and what to do about it.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use cardvault::archive::ArchiveError;
use cardvault::audit::AuditError;
use cardvault::keys::{CeremonyError, ComponentError, KeyError, KeyState};
use cardvault::seal::RingSealError;
use cardvault::vault::{RetentionError, StoreError, VaultError};

/// How the command ends, as `--help` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Rejected,
    Usage,
    Vault,
    Files,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Rejected => 1,
            Exit::Usage => 2,
            Exit::Vault => 3,
            Exit::Files => 4,
        })
    }
}

/// Shown as `cardvault: what: why` and a line with the hint.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    why: String,
    lines: Vec<String>,
    hint: Option<String>,
    quiet: bool,
}

/// What a step of the command returns.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    fn new(exit: Exit, what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            exit,
            what: what.into(),
            why: why.to_string(),
            lines: Vec::new(),
            hint: None,
            quiet: false,
        }
    }

    pub(crate) fn usage(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, what, why)
    }

    pub(crate) fn files(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(Exit::Files, what, why)
    }

    pub(crate) fn keys(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(Exit::Vault, what, why)
    }

    /// For `map_err` on what was done to the file at `path`.
    pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        let what = path.display().to_string();
        move |error| Self::io(what.clone(), &error)
    }

    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        let failure = Self::new(Exit::Files, what, error);
        match error.kind() {
            // Who reads our output has seen enough: nothing to say.
            io::ErrorKind::BrokenPipe => Self {
                quiet: true,
                ..failure
            },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                failure.hint("nothing was lost: make room and run the same command again")
            }
            io::ErrorKind::AlreadyExists => failure.hint("choose another name or move it away"),
            _ => failure,
        }
    }

    pub(crate) fn vault(what: impl Into<String>, error: VaultError) -> Self {
        let what = what.into();
        if let VaultError::Key(key) = error {
            // The same key says the same wherever it fails.
            return Self {
                what,
                ..Self::from(key)
            };
        }
        let failure = Self::new(Exit::Vault, what, error);
        match hint_of(error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    pub(crate) fn archive(what: impl Into<String>, error: ArchiveError) -> Self {
        match error {
            ArchiveError::Vault(VaultError::Key(error @ KeyError::NoActive { .. })) => error.into(),
            ArchiveError::Vault(error @ VaultError::StaleRing { .. }) => {
                Self::new(Exit::Vault, what, error)
                    .hint("give the newest ring file with --ring, or the one that goes along")
            }
            ArchiveError::Vault(error) => Self::vault(what, error),
            ArchiveError::Io(kind) => Self::io(what, &kind.into()),
            ArchiveError::NotAnArchive => {
                Self::files(what, error).hint("`cardvault export` writes one")
            }
            _ => {
                let failure = Self::new(Exit::Vault, what, error);
                match error {
                    ArchiveError::Version { .. } => failure.hint("use a newer cardvault"),
                    ArchiveError::OtherRing | ArchiveError::OtherMark { .. } => {
                        failure.hint("give the ring file of the vault that was exported")
                    }
                    ArchiveError::NotEmpty | ArchiveError::OtherRestore => {
                        failure.hint("choose a new folder")
                    }
                    ArchiveError::Truncated { .. }
                    | ArchiveError::OutOfPlace { .. }
                    | ArchiveError::OtherArchive { .. }
                    | ArchiveError::Damaged { .. }
                    | ArchiveError::Trailing { .. } => {
                        failure.hint("nothing was restored: take another copy of the archive")
                    }
                    _ => failure,
                }
            }
        }
    }

    pub(crate) fn audit(what: impl Into<String>, error: AuditError) -> Self {
        match error {
            AuditError::Io(kind) => Self::io(what, &kind.into()),
            AuditError::Vault(error) => Self::vault(what, error),
            AuditError::Key(error) => error.into(),
            AuditError::NotACheckpoint => {
                Self::files(what, error).hint("`cardvault audit checkpoint` writes one")
            }
            AuditError::Damaged { .. } | AuditError::State => Self::new(Exit::Vault, what, error)
                .hint(
                    "`cardvault audit verify FOLDER` says what is wrong; `cardvault audit renew \
                     FOLDER` leaves this log as it is and begins a new one",
                ),
            AuditError::AlreadyOpen => Self::new(Exit::Vault, what, error)
                .hint("another process has the vault open: wait for it or stop it"),
            AuditError::Changed { .. } | AuditError::Content { .. } | AuditError::Header(_) => {
                Self::new(Exit::Vault, what, error).hint("take another copy of the checkpoint")
            }
            AuditError::OtherRing | AuditError::OtherMark { .. } => {
                Self::new(Exit::Vault, what, error)
                    .hint("a checkpoint is read with the ring that it was made with")
            }
            AuditError::Version { .. } => {
                Self::new(Exit::Vault, what, error).hint("use a newer cardvault")
            }
            _ => Self::new(Exit::Vault, what, error),
        }
    }

    pub(crate) fn ring(what: impl Into<String>, error: RingSealError) -> Self {
        let failure = Self::new(Exit::Vault, what, error);
        match error {
            RingSealError::OtherPassphrase => failure.hint("try the passphrase again"),
            RingSealError::OtherKek { .. } => {
                failure.hint("give the component files of the ceremony that made this ring")
            }
            RingSealError::NotARing
            | RingSealError::Frame(_)
            | RingSealError::Damaged
            | RingSealError::Encoding(_) => {
                failure.hint("the file is damaged or cut off: put the newest backup of it back")
            }
            RingSealError::Version { .. } => failure.hint("use a newer cardvault"),
            RingSealError::PassphraseLength { .. } => {
                failure.hint("a passphrase has 12 to 1024 bytes")
            }
            _ => failure,
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A hint, if there is none yet.
    #[must_use]
    pub(crate) fn or_hint(self, hint: &'static str) -> Self {
        if self.hint.is_some() {
            return self;
        }
        self.hint(hint)
    }

    /// Lines between what went wrong and the hint.
    #[must_use]
    pub(crate) fn with_lines(mut self, lines: Vec<String>) -> Self {
        self.lines = lines;
        self
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// Whether there is nothing to say.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.quiet
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cardvault: {}: {}", self.what, self.why)?;
        for line in &self.lines {
            write!(f, "\n  {line}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let failure = Self::keys("key ring", error);
        match error {
            KeyError::CryptoperiodOver { name }
            | KeyError::Transition {
                name,
                from: KeyState::Active,
                ..
            } => failure.hint(format!(
                "`cardvault keys add` a new {} version and `keys activate` it",
                name.usage
            )),
            KeyError::NoActive { usage } => failure.hint(format!(
                "`cardvault keys add FOLDER {usage}`, then `keys activate`"
            )),
            KeyError::Clock { .. } => {
                failure.hint("set the clock; `cardvault keys list` shows the times")
            }
            KeyError::UnknownVersion { .. } => {
                failure.hint("`cardvault keys list` shows the versions")
            }
            _ => failure,
        }
    }
}

impl From<ComponentError> for Failure {
    fn from(error: ComponentError) -> Self {
        Self::keys("component", error)
    }
}

impl From<CeremonyError> for Failure {
    fn from(error: CeremonyError) -> Self {
        Self::keys("components", error)
    }
}

fn hint_of(error: VaultError) -> Option<&'static str> {
    Some(match error {
        VaultError::StaleRing { .. } => {
            "this is an old copy of the key ring: put the newest ring.cvk back; or another command \
             changed it just now: run this one again"
        }
        VaultError::ForkedRing { .. } => {
            "two copies of the key ring were changed apart: put the one that the vault knows back"
        }
        VaultError::IndexNotFilled { .. } => {
            "`cardvault keys rotate FOLDER index` fills an index version and activates it then; if \
             this comes with every command, put the ring.cvk from before back"
        }
        VaultError::NewerFormat { .. } => "use a newer cardvault",
        VaultError::RestoreUnfinished => {
            "run the same `cardvault import` again, or import into a new folder"
        }
        VaultError::Retention(RetentionError::Clock { .. }) => {
            "nothing went: see that the clock is right, then say which day it is with --today DATE"
        }
        VaultError::Retention(RetentionError::NoDay | RetentionError::ClockBack) => {
            "set the clock right"
        }
        VaultError::OtherRing => "put the ring.cvk that was made with this vault back",
        VaultError::Refused(_) => "ask who keeps the vault's policy",
        VaultError::Log(_) => {
            "see that the audit log can be written: nothing is handed out without it"
        }
        VaultError::Store(StoreError::AlreadyOpen) => {
            "another process has the vault open: wait for it or stop it"
        }
        VaultError::Store(StoreError::Full) => {
            "nothing was lost: make room and run the same command again"
        }
        VaultError::Store(StoreError::Poisoned) => {
            "what was acknowledged is safe: run the same command again"
        }
        VaultError::Store(StoreError::NewerFormat { .. }) => "use a newer cardvault",
        VaultError::Store(StoreError::Corrupt | StoreError::NotAVault) => {
            "vault.redb, or the database, is damaged or something else: put the newest backup back"
        }
        VaultError::Store(StoreError::Io(
            io::ErrorKind::NotConnected | io::ErrorKind::TimedOut,
        )) => "what was acknowledged is safe: see that the database runs, and run it again",
        VaultError::Store(StoreError::Io(io::ErrorKind::NotFound)) => {
            "is this a vault's folder? `cardvault init FOLDER` makes one"
        }
        _ => return None,
    })
}
