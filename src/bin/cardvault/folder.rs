//! A vault's folder: `vault.redb` or, if the data lies elsewhere, `database`; the sealed key ring in
//! `ring.cvk`, the audit logs in `audit`, `policy.toml` if somebody put one there, and once a
//! terminal's journal was begun `journals`.
//!
//! A change of the ring writes the new ring file first and tells the vault after it. The vault's
//! guard remembers the newest generation it has seen and takes any newer one, so a cut between
//! the two leaves a ring that the next opening accepts; the other order could leave a vault that
//! waits for a generation which was never written. Whoever changes the ring has the folder to
//! himself, by the store in it, which only one process has open, or by the lock beside `database`:
//! two changes never start from one generation, and an old copy of the ring is refused before it is
//! changed. Of two folders of one database the vault takes one's change; the other's ring is put
//! back.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use cardvault::audit::{AuditError, AuditLog, AuditOptions, Writer};
use cardvault::keys::{AuditKey, KeyRing, RingMark};
use cardvault::seal::{
    Argon2Cost, MAX_SEALED_RING, Protection, RingHeader, open_ring_with_kek,
    open_ring_with_passphrase, seal_ring_with_kek, seal_ring_with_passphrase,
};
use cardvault::vault::{
    AccessEvent, AccessLog, AccessLogError, BlockingVault, FileLog, VaultError,
};
use cardvault::{SystemRandom, UnixSeconds};

use rand_core::TryRng;

use crate::args::{Unlock, VaultArgs};
use crate::failure::{Failure, Outcome};
use crate::files::{Draft, Readers, owner_folder};
use crate::letters::letters;
use crate::policy::enforce;
use crate::secrets::Protector;
use crate::store::{FolderStore, Place};

const RING_FILE: &str = "ring.cvk";
/// Of a ring without an audit key.
const LOG_FILE: &str = "access.log";
const AUDIT_FOLDER: &str = "audit";
/// What this command's logs are called; what was drawn, a dash and the epoch follow.
const WRITER: &str = "command";

/// The vault as this command uses it.
pub(crate) type FolderVault = BlockingVault<FolderStore>;

/// A folder whose key ring can be opened.
pub(crate) struct Folder {
    path: PathBuf,
    place: Place,
    protector: Protector,
    sealed: Vec<u8>,
    /// The audit log, while something of this folder has it open.
    log: Mutex<Weak<AuditLog>>,
    /// While it is held no other command changes the folder's files.
    _lock: Option<File>,
}

impl Folder {
    /// Reads the sealed ring and gets what opens it.
    pub(crate) fn open(args: &VaultArgs) -> Outcome<Self> {
        Self::open_at(&args.folder, &args.unlock)
    }

    /// As [`Self::open`], and keeps other commands from changing the folder's files meanwhile.
    pub(crate) fn open_to_change(args: &VaultArgs) -> Outcome<Self> {
        let lock = Place::of(&args.folder)?.lock(&args.folder)?;
        let folder = Self::open(args)?;
        Ok(Self {
            _lock: lock,
            ..folder
        })
    }

    pub(crate) fn open_at(path: &Path, unlock: &Unlock) -> Outcome<Self> {
        let file = path.join(RING_FILE);
        let sealed = read_ring(&file)?;
        let place = Place::of(path)?;
        Self::with_ring(path, place, sealed, file.display().to_string(), unlock)
    }

    /// A folder for a sealed ring that came from `what`.
    pub(crate) fn with_ring(
        path: &Path,
        place: Place,
        sealed: Vec<u8>,
        what: String,
        unlock: &Unlock,
    ) -> Outcome<Self> {
        let header = RingHeader::read(&sealed).map_err(|error| Failure::ring(&*what, error))?;
        let protector = match header.protection {
            Protection::Passphrase if !unlock.component_file.is_empty() => {
                return Err(Failure::usage(what, "this ring is under a passphrase"));
            }
            Protection::Passphrase => unlock.passphrase(false)?,
            Protection::Kek { check_value } => {
                if unlock.component_file.is_empty() {
                    return Err(Failure::usage(
                        what,
                        format!("this ring is under the KEK {check_value}"),
                    )
                    .hint("give --component-file FILE once for each of its components"));
                }
                unlock.kek(None)?
            }
            _ => {
                return Err(Failure::keys(
                    what,
                    "the ring is under a key module, which this command does not speak to",
                ));
            }
        };
        Ok(Self {
            path: path.to_owned(),
            place,
            protector,
            sealed,
            log: Mutex::default(),
            _lock: None,
        })
    }

    /// A new folder with a vault of `ring`.
    pub(crate) fn create(
        path: &Path,
        place: Place,
        ring: &KeyRing,
        protector: Protector,
        cost: Argon2Cost,
    ) -> Outcome<Self> {
        let file = path.join(RING_FILE);
        if fs::symlink_metadata(&file).is_ok() {
            return Err(
                Failure::files(file.display().to_string(), "is there already")
                    .hint("this folder has a vault or the rest of one: choose another"),
            );
        }
        place.check_free(path)?;
        owner_folder(path).map_err(Failure::at(path))?;
        let mut folder = Self {
            path: path.to_owned(),
            place,
            protector,
            sealed: Vec::new(),
            log: Mutex::default(),
            _lock: None,
        };
        folder.store_ring(ring, cost)?;
        let store = folder.place.create(path)?;
        folder.vault_in(store, folder.ring()?)?;
        Ok(folder)
    }

    /// The ring, opened anew: a vault keeps the one that it is given.
    pub(crate) fn ring(&self) -> Outcome<KeyRing> {
        let ring = match &self.protector {
            Protector::Passphrase(passphrase) => {
                open_ring_with_passphrase(&self.sealed, passphrase)
            }
            Protector::Kek(kek) => open_ring_with_kek(&self.sealed, kek),
        };
        ring.map_err(|error| Failure::ring(self.path.join(RING_FILE).display().to_string(), error))
    }

    /// Opens the vault with the ring, and remembers the ring's generation in it.
    pub(crate) fn vault(&self, ring: KeyRing) -> Outcome<FolderVault> {
        self.vault_in(self.store()?, ring)
    }

    /// The folder's store.
    pub(crate) fn store(&self) -> Outcome<FolderStore> {
        self.place.open(&self.path)
    }

    /// Replaces the ring file and then tells the open vault, in this order: see above. A ring that
    /// the vault does not take is never left in the file: no later command could open the vault.
    pub(crate) fn change_ring(&mut self, vault: &FolderVault, ring: KeyRing) -> Outcome<()> {
        if let Err(error) = ring.index_versions() {
            let rotate = format!("`cardvault keys rotate {} index`", self.path.display());
            return Err(Failure::from(error).hint(format!(
                "no card is found without one: {rotate} replaces it, then it can be retired"
            )));
        }
        let before = self.sealed.clone();
        self.store_ring(&ring, Argon2Cost::DEFAULT)?;
        let told = vault.set_ring(ring);
        // What a failed store has taken nobody knows; the newer ring opens in either case.
        let refused = !matches!(told, Ok(()) | Err(VaultError::Store(_)));
        if refused {
            write_ring(&self.path.join(RING_FILE), &before)?;
            self.sealed = before;
        }
        told.map_err(|error| self.failure(error))
    }

    /// The ring as it is stored.
    pub(crate) fn sealed_ring(&self) -> &[u8] {
        &self.sealed
    }

    /// The folder's store, to be filled from an archive: a new one, or the one that an interrupted
    /// run left. The ring file is written first.
    pub(crate) fn store_to_fill(&self) -> Outcome<FolderStore> {
        let file = self.path.join(RING_FILE);
        match read_ring(&file) {
            Ok(known) if known == self.sealed => {}
            Ok(_) => {
                return Err(
                    Failure::files(file.display().to_string(), "is there already")
                        .hint("this folder has another vault or the rest of one: choose another"),
                );
            }
            Err(_) => {
                self.place.check_free(&self.path)?;
                owner_folder(&self.path).map_err(Failure::at(&self.path))?;
                write_ring(&file, &self.sealed)?;
            }
        }
        self.place.open_or_create(&self.path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the logs lie.
    pub(crate) fn audit(&self) -> PathBuf {
        self.path.join(AUDIT_FOLDER)
    }

    /// Where accesses are written down.
    pub(crate) fn log(&self, ring: &KeyRing) -> Outcome<FolderLog> {
        let broken = || Failure::keys("audit log", "a thread died while it held the log");
        let mut open = self.log.lock().map_err(|_| broken())?;
        if let Some(log) = open.upgrade() {
            return Ok(FolderLog::Audit(log));
        }
        let Some(log) = open_log(&self.audit(), ring)? else {
            let path = self.path.join(LOG_FILE);
            let log = FileLog::open(&path).map_err(Failure::at(&path))?;
            crate::say("no audit key in the ring: accesses go to access.log, without tags");
            return Ok(FolderLog::Lines(log));
        };
        *open = Arc::downgrade(&log);
        Ok(FolderLog::Audit(log))
    }

    /// The vault in `store`, which is this folder's, under the folder's policy.
    pub(crate) fn vault_in(&self, store: FolderStore, ring: KeyRing) -> Outcome<FolderVault> {
        let log = self.log(&ring)?;
        let vault = BlockingVault::open(store, ring, log);
        let vault = vault.map_err(|error| self.failure(error))?;
        enforce(&self.path, &self.path.join(LOG_FILE), &self.audit(), &vault)?;
        Ok(vault)
    }

    fn store_ring(&mut self, ring: &KeyRing, cost: Argon2Cost) -> Outcome<()> {
        let path = self.path.join(RING_FILE);
        let mut sealed = vec![0; MAX_SEALED_RING];
        let rng = &mut SystemRandom;
        let len = match &self.protector {
            Protector::Passphrase(passphrase) => {
                seal_ring_with_passphrase(ring, passphrase, cost, rng, &mut sealed)
            }
            Protector::Kek(kek) => seal_ring_with_kek(ring, kek, rng, &mut sealed),
        };
        let len = len.map_err(|error| Failure::ring(path.display().to_string(), error))?;
        sealed.truncate(len);
        write_ring(&path, &sealed)?;
        self.sealed = sealed;
        Ok(())
    }

    fn failure(&self, error: VaultError) -> Failure {
        Failure::vault(self.path.display().to_string(), error)
    }
}

/// The log of a vault's folder.
#[derive(Debug)]
pub(crate) enum FolderLog {
    Audit(Arc<AuditLog>),
    Lines(FileLog),
}

impl AccessLog for FolderLog {
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        match self {
            Self::Audit(log) => log.record(events),
            Self::Lines(log) => log.record(events),
        }
    }
}

/// A log of this folder that no other process has open, the newest of its name, or a new one; none
/// if the ring has no key to begin one.
fn open_log(folder: &Path, ring: &KeyRing) -> Outcome<Option<Arc<AuditLog>>> {
    for (writer, epoch) in newest_logs(folder)? {
        match open_log_of(folder, ring, &writer, epoch)? {
            Opened::Busy => {}
            Opened::Log(log) => return Ok(Some(log)),
            Opened::NoKey => return Ok(None),
        }
    }
    match ring.audit_key(UnixSeconds::now()) {
        Ok(key) => begin_anew(folder, &key).map(|log| Some(Arc::new(log))),
        Err(_) => Ok(None),
    }
}

enum Opened {
    Log(Arc<AuditLog>),
    /// Another process writes it.
    Busy,
    NoKey,
}

fn open_log_of(folder: &Path, ring: &KeyRing, writer: &str, epoch: u32) -> Outcome<Opened> {
    let active = ring.audit_key(UnixSeconds::now()).ok();
    let path = log_path(folder, writer, epoch);
    match AuditLog::open(&path, &AuditOptions::default()) {
        Err(AuditError::AlreadyOpen) => return Ok(Opened::Busy),
        // A cut came before the state was whole, and so before any access.
        Err(AuditError::State) if !has_frames(&path) => {}
        Err(error) => return Err(Failure::audit(path.display().to_string(), error)),
        Ok(log) => {
            let version = log.writer().base_version();
            let is_newer = |key: &AuditKey| key.name().version > version;
            if !active.as_ref().is_some_and(is_newer) {
                return Ok(Opened::Log(Arc::new(log)));
            }
        }
    }
    let Some(key) = active else {
        return Ok(Opened::NoKey);
    };
    match begin_log(folder, &key, writer, epoch.saturating_add(1)) {
        Err(AuditError::AlreadyOpen | AuditError::Exists) => Ok(Opened::Busy),
        begun => begun
            .map(|log| Opened::Log(Arc::new(log)))
            .map_err(|error| Failure::audit(folder.display().to_string(), error)),
    }
}

/// Begins a log of a new epoch.
fn begin_log(
    folder: &Path,
    key: &AuditKey,
    writer: &str,
    epoch: u32,
) -> Result<AuditLog, AuditError> {
    let key = key.writer_key(writer, epoch)?;
    AuditLog::create(
        &log_path(folder, writer, epoch),
        key,
        &AuditOptions::default(),
    )
}

/// Begins a log under a name that was never used: another folder may have a copy of the ring, and
/// would draw the same keys under the same name.
fn begin_anew(folder: &Path, key: &AuditKey) -> Outcome<AuditLog> {
    let failed = |error| Failure::audit(folder.display().to_string(), error);
    let mut drawn = [0; 8];
    SystemRandom
        .try_fill_bytes(&mut drawn)
        .map_err(|_| Failure::keys("audit log", "the system gave no random bytes"))?;
    let name = format!("{WRITER}.{}", letters(&drawn));
    begin_log(folder, key, &name, 1).map_err(failed)
}

/// Leaves the logs that cannot go on as they are, and begins the next epoch of each; of the first
/// one if all can go on. Says whose.
pub(crate) fn renew_logs(folder: &Path, ring: &KeyRing) -> Outcome<Vec<Writer>> {
    let key = ring.audit_key(UnixSeconds::now())?;
    let logs = newest_logs(folder)?;
    let mut stuck = Vec::new();
    for (writer, epoch) in &logs {
        let path = log_path(folder, writer, *epoch);
        match AuditLog::open(&path, &AuditOptions::default()) {
            Ok(_) | Err(AuditError::AlreadyOpen) => {}
            Err(AuditError::State | AuditError::NoLog | AuditError::Damaged { .. }) => {
                stuck.push((writer, *epoch));
            }
            Err(error) => return Err(Failure::audit(path.display().to_string(), error)),
        }
    }
    if stuck.is_empty() {
        stuck.extend(logs.iter().take(1).map(|(writer, epoch)| (writer, *epoch)));
    }
    let mut renewed = Vec::new();
    for (writer, epoch) in stuck {
        let log = begin_log(folder, &key, writer, epoch.saturating_add(1))
            .map_err(|error| Failure::audit(folder.display().to_string(), error))?;
        renewed.push(log.writer().clone());
    }
    if renewed.is_empty() {
        renewed.push(begin_anew(folder, &key)?.writer().clone());
    }
    Ok(renewed)
}

fn log_path(folder: &Path, writer: &str, epoch: u32) -> PathBuf {
    folder.join(format!("{writer}-{epoch}"))
}

/// The newest epoch of each writer whose logs were begun here, in the order of their names.
fn newest_logs(folder: &Path) -> Outcome<BTreeMap<String, u32>> {
    let mut newest = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(newest),
        Err(error) => return Err(Failure::at(folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(Failure::at(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((writer, epoch)) = name.and_then(|name| name.rsplit_once('-')) else {
            continue;
        };
        let Some(epoch) = epoch.parse().ok().filter(|_| writer.starts_with(WRITER)) else {
            continue;
        };
        // A cut may have left a folder with nothing in it.
        let is_begun = fs::read_dir(&path).is_ok_and(|mut files| files.next().is_some());
        if is_begun && log_path(folder, writer, epoch) == path {
            let known = newest.entry(writer.to_owned()).or_insert(epoch);
            *known = epoch.max(*known);
        }
    }
    Ok(newest)
}

fn has_frames(path: &Path) -> bool {
    let is_state = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "cvs"))
    };
    !fs::read_dir(path).is_ok_and(|mut files| files.all(is_state))
}

/// A development ring holds no real cards: every command says so.
pub(crate) fn show_mark(ring: &KeyRing) {
    if ring.mark() == RingMark::Development {
        crate::say("development key ring: for test cards, not for real ones");
    }
}

fn write_ring(path: &Path, sealed: &[u8]) -> Outcome<()> {
    let mut draft = Draft::begin(path, Readers::Owner)?;
    draft.write_all(sealed).map_err(Failure::at(path))?;
    draft.place()
}

pub(crate) fn read_ring(path: &Path) -> Outcome<Vec<u8>> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::files(path.display().to_string(), error)
            .hint("is this a vault's folder? `cardvault init FOLDER` makes one"),
        _ => Failure::at(path)(error),
    })?;
    let mut sealed = Vec::new();
    let most = MAX_SEALED_RING as u64 + 1;
    let read = file.take(most).read_to_end(&mut sealed);
    read.map_err(Failure::at(path))?;
    Ok(sealed)
}
