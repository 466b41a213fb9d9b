//! Where a folder's data lies: in the folder itself, or in a database that its file `database`
//! names.
//!
//! That file has no password in it; commands take it from where PostgreSQL's own programs do. Its
//! lines, each a word, a space and the rest:
//!
//! | word | the rest |
//! |---|---|
//! | `cardvault` | `database 1`: the first line |
//! | `connection` | a connection string of libpq's keywords, or a URL |
//! | `schema` | the schema that holds the store |
//! | `authorities` | a file of certificates in PEM that may vouch for the server; without it, no TLS |
#![forbid(unsafe_code)]

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use cardvault::vault::{
    Embedded, EmbeddedOptions, EmbeddedSnapshot, FILE_NAME, Found, Guard, IndexKey, Item, Row,
    RowKey, Snapshot, SnapshotStore, Store, StoreError, Write, WriteOutcome,
};
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::files::for_owner;

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "tls")]
mod tls;

pub(crate) const DATABASE_FILE: &str = "database";
const LOCK_FILE: &str = "lock";

/// A new vault's data, if it is not to lie in the folder.
#[derive(Debug, Default, Args)]
pub(crate) struct PlaceArgs {
    #[cfg(feature = "postgres")]
    #[command(flatten)]
    database: postgres::DatabaseArgs,
}

/// Where a vault's data lies.
pub(crate) enum Place {
    Folder,
    #[cfg(feature = "postgres")]
    Database(postgres::Database),
}

impl PlaceArgs {
    /// # Errors
    /// What is wrong with the connection.
    pub(crate) fn place(&self) -> Outcome<Place> {
        #[cfg(feature = "postgres")]
        if let Some(database) = self.database.database()? {
            return Ok(Place::Database(database));
        }
        Ok(Place::Folder)
    }
}

impl Place {
    /// The place of an existing vault's data.
    pub(crate) fn of(folder: &Path) -> Outcome<Self> {
        let path = folder.join(DATABASE_FILE);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Folder),
            Err(error) => Err(Failure::at(&path)(error)),
            #[cfg(feature = "postgres")]
            Ok(text) => postgres::Database::read(&path, &text).map(Self::Database),
            #[cfg(not(feature = "postgres"))]
            Ok(_) => Err(Failure::usage(
                path.display().to_string(),
                "this vault lies in a database, and this command was built without PostgreSQL",
            )
            .hint("build it with --features cli,postgres")),
        }
    }

    /// Looks that a new vault can be made here.
    pub(crate) fn check_free(&self, folder: &Path) -> Outcome<()> {
        let file = match self {
            Self::Folder => folder.join(FILE_NAME),
            #[cfg(feature = "postgres")]
            Self::Database(database) => {
                database.check_free()?;
                folder.join(DATABASE_FILE)
            }
        };
        if fs::symlink_metadata(&file).is_ok() {
            return Err(
                Failure::files(file.display().to_string(), "is there already")
                    .hint("this folder has a vault or the rest of one: choose another"),
            );
        }
        Ok(())
    }

    /// Makes a new store, behind a file that says where it is.
    pub(crate) fn create(&self, folder: &Path) -> Outcome<FolderStore> {
        match self {
            Self::Folder => embedded(folder, Embedded::create),
            #[cfg(feature = "postgres")]
            Self::Database(database) => {
                database.write(folder)?;
                database.create().map(FolderStore::Database)
            }
        }
    }

    /// The store of an existing vault.
    pub(crate) fn open(&self, folder: &Path) -> Outcome<FolderStore> {
        match self {
            Self::Folder => embedded(folder, Embedded::open),
            #[cfg(feature = "postgres")]
            Self::Database(database) => database.open().map(FolderStore::Database),
        }
    }

    /// The store that an interrupted run made, or a new one.
    pub(crate) fn open_or_create(&self, folder: &Path) -> Outcome<FolderStore> {
        match self {
            Self::Folder => embedded(folder, |folder, options| {
                match Embedded::create(folder, options) {
                    Err(StoreError::AlreadyExists) => Embedded::open(folder, options),
                    made => made,
                }
            }),
            #[cfg(feature = "postgres")]
            Self::Database(database) => {
                let file = folder.join(FILE_NAME);
                if fs::symlink_metadata(&file).is_ok() {
                    return Err(
                        Failure::files(file.display().to_string(), "is there already")
                            .hint("this folder holds its data itself: choose another"),
                    );
                }
                database.write(folder)?;
                database.open_or_create().map(FolderStore::Database)
            }
        }
    }

    /// Keeps other commands from changing the folder's own files, the key ring among them. A store
    /// in the folder does that by itself: only one command has it open.
    pub(crate) fn lock(&self, folder: &Path) -> Outcome<Option<File>> {
        if matches!(self, Self::Folder) {
            return Ok(None);
        }
        let path = folder.join(LOCK_FILE);
        let mut options = File::options();
        let file = for_owner(options.write(true).create(true).truncate(false)).open(&path);
        let file = file.map_err(Failure::at(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                crate::say("another command is changing this folder: waiting for it");
                file.lock().map_err(Failure::at(&path))?;
            }
            Err(TryLockError::Error(error)) => return Err(Failure::at(&path)(error)),
        }
        Ok(Some(file))
    }
}

fn embedded(
    folder: &Path,
    how: impl FnOnce(&Path, &EmbeddedOptions) -> Result<Embedded, StoreError>,
) -> Outcome<FolderStore> {
    let store = how(folder, &EmbeddedOptions::default());
    let store =
        store.map_err(|error| Failure::vault(folder.display().to_string(), error.into()))?;
    Ok(FolderStore::Folder(store))
}

/// A folder's store, wherever it lies.
#[derive(Debug)]
pub(crate) enum FolderStore {
    Folder(Embedded),
    #[cfg(feature = "postgres")]
    Database(cardvault::vault::Postgres),
}

/// The same call on the store that there is.
macro_rules! on {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            FolderStore::Folder($store) => $call,
            #[cfg(feature = "postgres")]
            FolderStore::Database($store) => $call,
        }
    };
}

impl Store for FolderStore {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        on!(self, store => store.write(under, writes).await)
    }

    async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Option<Row>>, StoreError> {
        on!(self, store => store.rows(keys).await)
    }

    async fn find(&self, keys: Vec<IndexKey>) -> Result<Vec<Found>, StoreError> {
        on!(self, store => store.find(keys).await)
    }

    async fn others(
        &self,
        key: IndexKey,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<RowKey>, StoreError> {
        on!(self, store => store.others(key, after, end, limit).await)
    }

    async fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        on!(self, store => store.scan(after, end, limit).await)
    }

    async fn guard(&self) -> Result<Option<Guard>, StoreError> {
        on!(self, store => store.guard().await)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        on!(self, store => store.count().await)
    }
}

/// A [`FolderStore`] as of one moment.
pub(crate) enum FolderSnapshot {
    Folder(Box<EmbeddedSnapshot>),
    #[cfg(feature = "postgres")]
    Database(Box<cardvault::vault::PostgresSnapshot>),
}

impl SnapshotStore for FolderStore {
    type Snapshot = FolderSnapshot;

    async fn snapshot(&self) -> Result<FolderSnapshot, StoreError> {
        match self {
            Self::Folder(store) => {
                let snapshot = store.snapshot().await?;
                Ok(FolderSnapshot::Folder(Box::new(snapshot)))
            }
            #[cfg(feature = "postgres")]
            Self::Database(store) => {
                let snapshot = store.snapshot().await?;
                Ok(FolderSnapshot::Database(Box::new(snapshot)))
            }
        }
    }
}

impl Snapshot for FolderSnapshot {
    async fn guard(&mut self) -> Result<Option<Guard>, StoreError> {
        match self {
            Self::Folder(snapshot) => snapshot.guard().await,
            #[cfg(feature = "postgres")]
            Self::Database(snapshot) => snapshot.guard().await,
        }
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Item>, StoreError> {
        match self {
            Self::Folder(snapshot) => snapshot.next(limit).await,
            #[cfg(feature = "postgres")]
            Self::Database(snapshot) => snapshot.next(limit).await,
        }
    }
}
