//! The host: it has the key ring, the vault and the ledger, and reads what terminals upload.
#![forbid(unsafe_code)]

use std::sync::Arc;

use cardvault::journal::{
    Body, Cause, ChainKey, Fault, Identity, Outcome as Upload, Position, ReadError, Reading,
};
use cardvault::keys::{Domain, KeyRing, KeyUse};
use cardvault::ledger::{
    BlockingLedger, ImportEntry, Imported, Ledger, Lookup, MAX_PAGE, Payment, RequestRecord,
};
use cardvault::payment::TerminalId;
use cardvault::vault::BlockingVault;
use cardvault::{SystemRandom, UnixSeconds};

use super::{domain, failed, story};
use crate::failure::{Failure, Outcome};
use crate::folder::{Folder, FolderVault};
use crate::store::FolderStore;

pub(super) struct Host {
    ring: KeyRing,
    pub(super) vault: FolderVault,
    pub(super) ledger: BlockingLedger<FolderStore>,
    pub(super) shop: Domain,
    fleet: Domain,
}

/// A notice of a terminal about its own journal.
#[derive(Clone, Copy)]
pub(super) struct Noted {
    pub(super) time: UnixSeconds,
    pub(super) terminal: TerminalId,
    pub(super) epoch: u32,
    pub(super) sequence: u64,
    pub(super) cause: Cause,
}

/// What one upload came to.
#[derive(Default)]
pub(super) struct Read {
    pub(super) entries: Vec<ImportEntry>,
    pub(super) notices: Vec<Noted>,
    pub(super) faults: Vec<Fault>,
    pub(super) outcome: Option<Upload>,
}

impl Read {
    /// How many cards were opened.
    pub(super) fn cards(&self) -> usize {
        let cards = self.entries.iter().filter(|entry| entry.card.is_some());
        cards.count()
    }

    /// Whether it is all there and nothing else.
    pub(super) fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.outcome.is_some_and(|outcome| outcome.clean)
    }
}

impl Host {
    /// Opens the folder's vault under the story's clock, and the ledger beside it.
    pub(super) fn open(folder: &Folder) -> Outcome<Self> {
        let store = folder.store()?;
        let random = || SystemRandom;
        let vault =
            BlockingVault::open_with(store, folder.ring()?, folder.log()?, random, story::now);
        let vault = vault.map_err(failed("vault"))?;
        Ok(Self {
            ring: folder.ring()?,
            ledger: Ledger::new(Arc::clone(vault.vault())).blocking(),
            vault,
            shop: domain(story::SHOP_DOMAIN)?,
            fleet: domain(story::FLEET_DOMAIN)?,
        })
    }

    /// What a new terminal is given.
    pub(super) fn chain_key(&self, terminal: &TerminalId) -> Outcome<ChainKey> {
        let base = self.ring.journal_key(&self.fleet, story::now())?;
        base.chain_key(terminal.as_bytes(), 1)
            .map_err(failed("chain key"))
    }

    /// Reads an upload to its end, faults or not.
    pub(super) fn read(
        &self,
        identity: &Identity,
        since: &Position,
        upload: &[u8],
    ) -> Outcome<Read> {
        let key = self
            .ring
            .journal_key_of(&self.fleet, identity.base_version())?;
        let terminal = TerminalId::parse(identity.terminal()).map_err(story::field)?;
        let epoch = identity.epoch();
        let mut read = Read::default();
        let mut reading = match Reading::new(&key, identity, since, upload) {
            Ok(reading) => reading,
            Err(ReadError::Fault(fault)) => {
                read.faults.push(fault);
                return Ok(read);
            }
            Err(error) => return Err(failed("upload")(error)),
        };
        reading.go_on();
        while let Some(item) = reading.next() {
            let verified = match item {
                Ok(verified) => verified,
                Err(ReadError::Fault(fault)) => {
                    read.faults.push(fault);
                    continue;
                }
                Err(error) => return Err(failed("upload")(error)),
            };
            if let Body::Notice(notice) = verified.frame.body {
                read.notices.push(Noted {
                    time: verified.frame.time,
                    terminal,
                    epoch,
                    sequence: verified.frame.sequence,
                    cause: notice.cause,
                });
            }
            let entry = ImportEntry::of(identity, verified, story::OFFSET_MINUTES);
            read.entries.extend(entry.map_err(failed("upload"))?);
        }
        read.outcome = reading.outcome();
        Ok(read)
    }

    pub(super) fn import(&self, entries: &[ImportEntry]) -> Outcome<Imported> {
        let imported = self.ledger.import(&self.shop, entries);
        imported.map_err(failed("import"))
    }

    /// The one payment that a look-up finds, apart from what acts on it.
    pub(super) fn find(&self, by: &Lookup) -> Outcome<Payment> {
        let page = self.ledger.find(&self.shop, by, None, MAX_PAGE);
        let found = page.map_err(failed("ledger"))?.items.into_iter();
        let mut payments = found.filter(|payment| !payment.fields.kind.has_original());
        match (payments.next(), payments.next()) {
            (Some(payment), None) => Ok(payment),
            (None, _) => Err(Failure::keys("ledger", "no such payment")),
            (Some(_), Some(_)) => Err(Failure::keys("ledger", "more than one payment")),
        }
    }

    /// Every payment of the story.
    pub(super) fn payments(&self) -> Outcome<Vec<Payment>> {
        let (from, until) = (UnixSeconds(0), story::now().plus(1));
        let page = self
            .ledger
            .payments(&self.shop, from, until, None, MAX_PAGE);
        Ok(page.map_err(failed("ledger"))?.items)
    }

    /// Everything that was asked back.
    pub(super) fn requests(&self) -> Outcome<Vec<RequestRecord>> {
        let (from, until) = (UnixSeconds(0), story::now().plus(1));
        let page = self
            .ledger
            .requests_between(&self.shop, from, until, None, MAX_PAGE);
        Ok(page.map_err(failed("ledger"))?.items)
    }

    /// The name of the key that terminals' keys come from.
    pub(super) fn journal_key(&self) -> Outcome<String> {
        let key = self.ring.journal_key(&self.fleet, story::now())?;
        debug_assert_eq!(key.name().usage, KeyUse::Journal);
        Ok(key.name().to_string())
    }
}
