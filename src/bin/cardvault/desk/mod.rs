//! What the commands over the ledger share: how it is opened, how a payment is named, and how
//! payments and requests are shown.
#![forbid(unsafe_code)]

pub(crate) mod grid;
pub(crate) mod lookup;
pub(crate) mod moment;
pub(crate) mod show;

use std::path::Path;
use std::sync::Arc;

use cardvault::SystemRandom;
use cardvault::UnixSeconds;
use cardvault::card::Pan;
use cardvault::keys::Domain;
use cardvault::ledger::{BlockingLedger, Cursor, Ledger, LedgerError, MAX_PAGE, Page};
use clap::Args;

use self::moment::{Clock, Moment, day};
use crate::args::VaultArgs;
use crate::bulk::{CardReading, Line, Source};
use crate::failure::{Failure, Outcome};
use crate::folder::{Folder, FolderVault, show_mark};
use crate::store::FolderStore;

/// Which ledger, and how it is shown.
#[derive(Debug, Args)]
pub(crate) struct DeskArgs {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// The domain (merchant, tenant, fleet) that the payments belong to
    #[arg(long, default_value = "default")]
    pub(crate) domain: Domain,
    #[command(flatten)]
    pub(crate) clock: ClockArgs,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// The merchant's clock.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ClockArgs {
    /// How far the merchant's clock is ahead of UTC
    #[arg(
        long,
        value_name = "OFFSET",
        default_value = "+08:00",
        allow_hyphen_values = true
    )]
    pub(crate) utc_offset: Clock,
}

/// A range of time.
#[derive(Debug, Args)]
pub(crate) struct RangeArgs {
    /// From this day or time on, such as 2026-11-22 or 2026-11-22T10:15:00+08:00
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Moment>,
    /// Up to before this day or time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
}

impl RangeArgs {
    pub(crate) const fn is_given(&self) -> bool {
        self.from.is_some() || self.until.is_some()
    }

    pub(crate) fn on(&self, clock: Clock) -> (UnixSeconds, UnixSeconds) {
        let from = self.from.map_or(UnixSeconds(0), |from| from.on(clock));
        let until = self.until.map(|until| until.on(clock));
        (from, until.unwrap_or(UnixSeconds(u64::MAX)))
    }
}

/// An open ledger.
pub(crate) struct Desk {
    pub(crate) ledger: BlockingLedger<FolderStore, SystemRandom>,
    pub(crate) domain: Domain,
    pub(crate) clock: Clock,
    pub(crate) json: bool,
}

impl Desk {
    pub(crate) fn open(args: &DeskArgs) -> Outcome<Self> {
        let folder = Folder::open(&args.vault)?;
        let ring = folder.ring()?;
        show_mark(&ring);
        Ok(Self::over(&folder.vault(ring)?, args))
    }

    /// The ledger beside an open vault.
    pub(crate) fn over(vault: &FolderVault, args: &DeskArgs) -> Self {
        Self {
            ledger: Ledger::new(Arc::clone(vault.vault())).blocking(),
            domain: args.domain,
            clock: args.clock.utc_offset,
            json: args.json,
        }
    }

    /// Hands over everything that `next` gives, page by page.
    pub(crate) fn pages<T>(
        &self,
        mut next: impl FnMut(Option<Cursor>, usize) -> Result<Page<T>, LedgerError>,
        mut take: impl FnMut(Vec<T>) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut after = None;
        loop {
            let page = next(after, MAX_PAGE).map_err(failure)?;
            take(page.items)?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// Why the ledger failed. Refusals by the rules are answers, and are shown by who asked.
pub(crate) fn failure(error: LedgerError) -> Failure {
    match error {
        LedgerError::Vault(error) => Failure::vault("ledger", error),
        LedgerError::Tampered => Failure::keys("ledger", error).hint(
            "put the newest backup back, and reconcile it with journals and settlement files",
        ),
        LedgerError::OtherContent { .. } => Failure::keys("ledger", error)
            .hint("two terminals use one id, or an epoch was given out twice"),
        LedgerError::Transition => Failure::keys("ledger", error)
            .hint("`ledger history` shows what happened to the payment"),
        LedgerError::UnknownRequest => {
            Failure::keys("ledger", error).hint("`refund list` shows the numbers that were used")
        }
        LedgerError::UnknownPayment => {
            Failure::keys("ledger", error).hint("`ledger find` shows payments and their names")
        }
        error => Failure::keys("ledger", error),
    }
}

/// The one card number in a file; `-` is standard input.
pub(crate) fn read_card(path: &Path) -> Outcome<Pan> {
    let what = || path.display().to_string();
    let mut source = Source::open(path)?;
    let mut card = None;
    while let Some(batch) = source.next_batch(None)? {
        for line in batch.lines() {
            let Line::Text { number, text, .. } = line else {
                return Err(Failure::files(what(), Source::too_long()));
            };
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let reading = CardReading {
                admit_luhn_failures: true,
            };
            let pan = reading
                .pan(text)
                .map_err(|fault| Failure::files(format!("{}, line {number}", what()), fault))?;
            if card.replace(pan).is_some() {
                return Err(Failure::files(what(), "more than one card number"));
            }
        }
    }
    card.ok_or_else(|| Failure::files(what(), "no card number stands there"))
}

/// For arguments that are a day.
pub(crate) fn date_argument(text: &str) -> Result<cardvault::payment::Date, &'static str> {
    day(text)
}
