//! What the database reports: what to try again, for how long, and what to tell the caller.
#![forbid(unsafe_code)]

use core::error::Error as _;
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::time::Instant;

use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::error::SqlState;

use super::super::store::StoreError;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// How the client words that the server refused TLS.
const SERVER_WITHOUT_TLS: &str = "server does not support TLS";
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why an exchange with the database failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What the caller is told, if it stays at that.
    pub(super) error: StoreError,
    /// Whether it may go better on another try.
    again: bool,
}

impl Fault {
    /// No answer came in time.
    pub(super) const SLOW: Self = Self {
        error: StoreError::Io(ErrorKind::TimedOut),
        again: true,
    };

    /// Whether another try would go no better: the server has answered, and refused.
    pub(super) const fn is_refusal(self) -> bool {
        !self.again
    }

    /// The database holds what this crate would not have written, or lacks what it has.
    pub(super) const fn of(error: StoreError) -> Self {
        Self {
            error,
            again: false,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::of(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        error.code().map_or_else(|| of_line(&error), of_code)
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            // The second: lost between its first and its second exchange.
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::from(error)
            }
            PoolError::Timeout(_) => Self::SLOW,
            _ => Self::of(StoreError::Closed),
        }
    }
}

/// The line broke, or there is none that may be used.
fn of_line(error: &tokio_postgres::Error) -> Fault {
    let source = error.source();
    let tls = source
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::get_ref)
        .and_then(|inner| inner.downcast_ref());
    match (tls, source) {
        (Some(rustls::Error::InvalidCertificate(_)), _) => Fault::of(StoreError::Untrusted),
        (None, Some(source)) if source.to_string() == SERVER_WITHOUT_TLS => {
            Fault::of(StoreError::NoTls)
        }
        _ => Fault {
            error: StoreError::Io(ErrorKind::NotConnected),
            again: true,
        },
    }
}

fn of_code(code: &SqlState) -> Fault {
    let io = |kind| (StoreError::Io(kind), true);
    let (error, again) = match code.code() {
        // Serialization failure, deadlock: somebody else went first.
        "40001" | "40P01" => io(ErrorKind::WouldBlock),
        // A lock or a statement took too long.
        "55P03" | "57014" => io(ErrorKind::TimedOut),
        // Shut down, crashed, idle for too long.
        "57P01" | "57P02" | "57P05" | "25P03" => io(ErrorKind::NotConnected),
        // A standby: it may be promoted, or another host may be the primary.
        "25006" => io(ErrorKind::ReadOnlyFilesystem),
        "53100" => (StoreError::Full, false),
        // No such schema, table or column, or columns of other types.
        "3F000" | "42P01" | "42703" | "42804" | "42883" => (StoreError::NotAVault, false),
        other => match other.as_bytes().first_chunk() {
            // The line; starting up; out of connections.
            Some(&code) if other.starts_with("08") || matches!(other, "57P03" | "53300") => {
                (StoreError::Refused { code }, true)
            }
            Some(&code) => (StoreError::Refused { code }, false),
            None => (StoreError::Corrupt, false),
        },
    };
    Fault { error, again }
}

/// How long to wait for the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For one exchange.
    pub(super) exchange: Duration,
    /// For all tries together.
    pub(super) all: Duration,
}

impl Patience {
    pub(super) const fn pauses(self, start: Instant) -> Pauses {
        Pauses {
            start,
            all: self.all,
            pause: FIRST_PAUSE,
        }
    }
}

/// The pauses between tries, each twice the one before.
pub(super) struct Pauses {
    start: Instant,
    all: Duration,
    pause: Duration,
}

impl Pauses {
    /// How long to wait before the next try.
    ///
    /// # Errors
    /// The fault's, if there is to be none.
    pub(super) fn next(&mut self, fault: Fault, now: Instant) -> Result<Duration, StoreError> {
        let pause = self.pause;
        if !fault.again || now.duration_since(self.start) + pause > self.all {
            return Err(fault.error);
        }
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_end() {
        let start = Instant::now();
        let patience = Patience {
            exchange: Duration::ZERO,
            all: Duration::from_secs(2),
        };
        let mut pauses = patience.pauses(start);
        let mut now = start;
        let mut tries = 0;
        let end = loop {
            match pauses.next(Fault::SLOW, now) {
                Ok(pause) => now += pause,
                Err(error) => break error,
            }
            tries += 1;
        };
        assert_eq!(end, StoreError::Io(ErrorKind::TimedOut));
        assert!((8..20).contains(&tries), "{tries}");
        let now = patience
            .pauses(start)
            .next(Fault::of(StoreError::Full), start);
        assert_eq!(now, Err(StoreError::Full));
    }

    #[test]
    fn codes_become_errors() {
        let told = |code: &SqlState| (of_code(code).error, of_code(code).again);
        assert_eq!(told(&SqlState::DISK_FULL), (StoreError::Full, false));
        assert_eq!(
            told(&SqlState::UNDEFINED_TABLE),
            (StoreError::NotAVault, false)
        );
        assert!(told(&SqlState::T_R_SERIALIZATION_FAILURE).1);
        assert!(told(&SqlState::READ_ONLY_SQL_TRANSACTION).1);
        assert_eq!(
            told(&SqlState::INSUFFICIENT_PRIVILEGE),
            (StoreError::Refused { code: *b"42501" }, false)
        );
    }
}
