//! The embedded durable store: one file, and one thread that commits for all callers.
//!
//! Callers queue their batches. The committing thread takes what is queued, up to
//! [`MAX_GROUP`](super::MAX_GROUP) writes, decides it in the order of arrival against the last committed state, and
//! writes the changes in one transaction of the engine: one commit, synced, for the whole group. Only
//! then is each caller answered. Reads take a snapshot and wait for nobody.
//!
//! After a failed commit nobody knows what the medium holds. The whole group gets the error, every
//! later call [`StoreError::Poisoned`], until the store is opened again.
#![forbid(unsafe_code)]

mod tables;

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use redb::StorageBackend;
use redb::backends::FileBackend;

use self::tables::{Snapshot, Tables, fenced, from_database};
use super::queue::{Answer, Job, MAX_QUEUED, Queue, decide};
use super::store::{
    self, Found, Guard, IndexKey, Item, MAX_BATCH, Row, RowKey, SnapshotStore, Store, StoreError,
    Write, WriteOutcome, check_count,
};
use super::telemetry::{self, Call};

/// The name of the store's file in its folder.
pub const FILE_NAME: &str = "vault.redb";
/// The memory that caches the file's pages unless told otherwise, in bytes.
pub const DEFAULT_CACHE: usize = 256 << 20;

/// A [`Store`] in one file, for one process at a time.
///
/// Dropping it commits what is queued and closes the file.
pub struct Embedded {
    // First, so that the thread has ended before the file is closed.
    writer: Writer,
    shared: Arc<Shared>,
}

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// The memory that caches the file's pages, in bytes.
    pub cache: usize,
    /// Whether to read the whole file first and compare its checksums. Without, damage is noticed
    /// when the page is read or the row is opened.
    pub check: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            cache: DEFAULT_CACHE,
            check: false,
        }
    }
}

impl Embedded {
    /// Makes a new store in `folder`, which is made if it is not there. On Unix only the owner may
    /// read the folder and the file that this makes.
    ///
    /// The file appears under its name when it is complete, or not at all.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`]; [`StoreError::Full`]; [`StoreError::Io`].
    pub fn create(folder: &Path, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        let path = folder.join(FILE_NAME);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(StoreError::AlreadyExists);
        }
        private_folder(folder).map_err(from_io)?;
        let (draft, file) = draft(folder).map_err(from_io)?;
        let made = fill_draft(file).and_then(|()| {
            // A link, unlike a rename, does not replace what another process made meanwhile.
            fs::hard_link(&draft, &path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => StoreError::AlreadyExists,
                kind => StoreError::from_io(kind),
            })
        });
        let removed = fs::remove_file(&draft).map_err(from_io);
        made?;
        removed?;
        sync_folder(folder).map_err(from_io)?;
        Self::open(folder, options)
    }

    /// Opens the store in `folder`, also after a crash at once.
    ///
    /// # Errors
    /// [`StoreError::AlreadyOpen`]; [`StoreError::NotAVault`]; [`StoreError::NewerFormat`];
    /// [`StoreError::Corrupt`]; [`StoreError::Io`], for instance if there is no file.
    pub fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        let path = folder.join(FILE_NAME);
        check_magic(&path)?;
        let tables = fenced(|| Tables::open(builder(options).open(&path).map_err(from_database)?))?;
        Self::start(tables)
    }

    /// Opens or makes a store on a backend of the caller's, which may misbehave: for fault tests.
    ///
    /// # Errors
    /// As [`Self::open`], [`StoreError::AlreadyOpen`] excepted: the caller sees to that.
    #[doc(hidden)]
    pub fn on_backend(
        backend: impl StorageBackend,
        options: &EmbeddedOptions,
    ) -> Result<Self, StoreError> {
        let tables = fenced(|| {
            let db = builder(options)
                .create_with_backend(backend)
                .map_err(from_database)?;
            Tables::open_or_create(db)
        })?;
        Self::start(tables)
    }

    /// Commits what is queued, closes the file, and says how that went.
    ///
    /// # Errors
    /// What the medium reports. What was acknowledged is safe in any case.
    pub fn close(self) -> Result<(), StoreError> {
        let Self { writer, shared } = self;
        drop(writer);
        match Arc::into_inner(shared) {
            Some(shared) => fenced(|| shared.tables.close()),
            None => Ok(()),
        }
    }

    fn start(tables: Tables) -> Result<Self, StoreError> {
        let queue = Queue::new(MAX_QUEUED);
        let shared = Arc::new(Shared {
            tables,
            queue,
            poisoned: AtomicBool::new(false),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            let name = "cardvault-store".to_owned();
            thread::Builder::new()
                .name(name)
                .spawn(move || shared.commit_all())
                .map_err(from_io)?
        };
        let writer = Writer {
            thread: Some(thread),
            shared: Arc::clone(&shared),
        };
        Ok(Self { writer, shared })
    }

    async fn read<T: Send>(
        &self,
        call: Call,
        items: usize,
        work: impl FnOnce(&Snapshot) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let read = async {
            self.shared.alive()?;
            fenced(|| work(&self.shared.tables.snapshot()?))
        };
        telemetry::watch(call, None, items, read).await
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poisoned = self.shared.poisoned.load(Ordering::Acquire);
        f.debug_struct("Embedded")
            .field("poisoned", &poisoned)
            .finish_non_exhaustive()
    }
}

impl Store for Embedded {
    async fn write(
        &self,
        under: Option<Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        self.shared.alive()?;
        let items = writes.len();
        let write = self.shared.queue.submit(under, writes);
        telemetry::watch(Call::StoreWrite, None, items, write).await
    }

    async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Option<Row>>, StoreError> {
        self.read(Call::StoreRows, keys.len(), |snapshot| snapshot.rows(&keys))
            .await
    }

    async fn find(&self, keys: Vec<IndexKey>) -> Result<Vec<Found>, StoreError> {
        check_count(keys.len())?;
        self.read(Call::StoreFind, keys.len(), |snapshot| {
            keys.iter().map(|key| snapshot.find(key)).collect()
        })
        .await
    }

    async fn others(
        &self,
        key: IndexKey,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<RowKey>, StoreError> {
        let limit = limit.min(MAX_BATCH);
        self.read(Call::StoreOthers, 1, |snapshot| {
            snapshot.others(&key, after.as_ref(), end.as_ref(), limit)
        })
        .await
    }

    async fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        let limit = limit.min(MAX_BATCH);
        self.read(Call::StoreScan, 1, |snapshot| {
            snapshot.scan(after.as_ref(), end.as_ref(), limit)
        })
        .await
    }

    async fn guard(&self) -> Result<Option<Guard>, StoreError> {
        self.read(Call::StoreGuard, 1, super::staged::Base::guard)
            .await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.read(Call::StoreCount, 1, Snapshot::count).await
    }
}

impl SnapshotStore for Embedded {
    type Snapshot = EmbeddedSnapshot;

    async fn snapshot(&self) -> Result<EmbeddedSnapshot, StoreError> {
        self.shared.alive()?;
        Ok(EmbeddedSnapshot {
            snapshot: fenced(|| self.shared.tables.snapshot())?,
            last: None,
            rows_are_through: false,
            shared: Arc::clone(&self.shared),
        })
    }
}

/// An [`Embedded`] as of one moment. While it is there, the file stays open, and the room of what
/// is changed meanwhile is not used again.
pub struct EmbeddedSnapshot {
    // First, so that it has ended before the file is closed.
    snapshot: Snapshot,
    /// Behind what to go on.
    last: Option<Item>,
    rows_are_through: bool,
    shared: Arc<Shared>,
}

impl store::Snapshot for EmbeddedSnapshot {
    async fn guard(&mut self) -> Result<Option<Guard>, StoreError> {
        self.shared.alive()?;
        fenced(|| super::staged::Base::guard(&self.snapshot))
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Item>, StoreError> {
        self.shared.alive()?;
        let limit = limit.min(MAX_BATCH);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let items = fenced(|| self.read(limit))?;
        if let Some(last) = items.last() {
            self.last = Some(last.clone());
        }
        self.rows_are_through |= !matches!(items.get(limit - 1), Some(Item::Row(..)));
        Ok(items)
    }
}

impl EmbeddedSnapshot {
    fn read(&self, limit: usize) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        let mut after = self.last.as_ref();
        if !self.rows_are_through {
            let row = match after {
                Some(Item::Row(key, _)) => Some(*key),
                _ => None,
            };
            let rows = self.snapshot.scan(row.as_ref(), None, limit)?;
            items.extend(rows.into_iter().map(|(key, row)| Item::Row(key, row)));
            after = None;
        }
        items.extend(self.snapshot.entries(after, limit - items.len())?);
        Ok(items)
    }
}

impl fmt::Debug for EmbeddedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedSnapshot").finish_non_exhaustive()
    }
}

struct Shared {
    tables: Tables,
    queue: Queue,
    poisoned: AtomicBool,
}

impl Shared {
    fn alive(&self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            Err(StoreError::Poisoned)
        } else {
            Ok(())
        }
    }

    /// The committing thread.
    fn commit_all(&self) {
        self.queue.serve(|jobs| {
            let answers = self.alive().and_then(|()| self.commit(jobs));
            if answers.is_err() {
                self.poisoned.store(true, Ordering::Release);
            }
            answers
        });
    }

    /// Decides all jobs and commits what they change. An error is the whole group's.
    fn commit(&self, jobs: &[Job]) -> Result<Vec<Answer>, StoreError> {
        let snapshot = fenced(|| self.tables.snapshot())?;
        let (staged, answers) = decide(jobs, |staged, job| {
            fenced(|| staged.batch(&snapshot, job.under.as_ref(), &job.writes))
        })?;
        drop(snapshot);
        if !staged.is_empty() {
            fenced(|| self.tables.commit(&staged))?;
        }
        Ok(answers)
    }
}

/// Ends the committing thread when it is dropped.
struct Writer {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.take() {
            // An answer may drop the last handle on the store, in that thread itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn builder(options: &EmbeddedOptions) -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder
        .set_cache_size(options.cache)
        .set_check_integrity_on_open(options.check);
    builder
}

/// Tells a file that is none of the engine's from one that is damaged.
fn check_magic(path: &Path) -> Result<(), StoreError> {
    const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";
    let mut found = [0; MAGIC.len()];
    let mut file = File::open(path).map_err(from_io)?;
    match io::Read::read_exact(&mut file, &mut found) {
        Ok(()) if found == *MAGIC => Ok(()),
        Ok(()) => Err(StoreError::NotAVault),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(StoreError::NotAVault),
        Err(error) => Err(from_io(error)),
    }
}

/// A new file beside the store's, readable by the owner alone.
fn draft(folder: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{FILE_NAME}.{process}-{number}.new"));
        let mut open = OpenOptions::new();
        open.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        match open.open(&path) {
            // Left by a process of the same number that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path, file)),
        }
    }
}

/// Makes an empty store in the file and syncs it.
fn fill_draft(file: File) -> Result<(), StoreError> {
    fenced(|| {
        let backend = FileBackend::new(file).map_err(from_database)?;
        let db = redb::Builder::new()
            .create_with_backend(backend)
            .map_err(from_database)?;
        Tables::create(db)?.close()
    })
}

/// Makes the folder and those above it that are not there, and makes each one's name durable.
fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let named = made_in(folder);
    builder.create(folder)?;
    named.into_iter().try_for_each(sync_folder)
}

/// The folders that get a new entry when `folder` is made with those above it.
fn made_in(folder: &Path) -> Vec<&Path> {
    let mut named = Vec::new();
    let mut missing = folder;
    while !missing.as_os_str().is_empty() && !missing.exists() {
        let above = missing.parent().unwrap_or(missing);
        named.push(if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        });
        if above == missing {
            break;
        }
        missing = above;
    }
    named
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

fn from_io(error: io::Error) -> StoreError {
    StoreError::from_io(error.kind())
}

#[cfg(test)]
mod tests {
    use pollster::block_on;
    use tempfile::tempdir;

    use super::*;

    fn create(folder: &Path) -> Result<Embedded, StoreError> {
        Embedded::create(folder, &EmbeddedOptions::default())
    }

    fn open(folder: &Path) -> Result<Embedded, StoreError> {
        Embedded::open(folder, &EmbeddedOptions::default())
    }

    fn insert(text: &str) -> Write {
        Write::Insert {
            token: RowKey::new(text.as_bytes()).unwrap(),
            row: Row::new(text.as_bytes()).unwrap(),
            index: vec![IndexKey::new(text.as_bytes()).unwrap()],
            unique: true,
        }
    }

    #[test]
    fn a_store_is_made_once_and_open_once() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("deep/vault");
        assert_eq!(
            open(&path).err(),
            Some(StoreError::Io(io::ErrorKind::NotFound))
        );
        let store = create(&path).unwrap();
        assert_eq!(open(&path).err(), Some(StoreError::AlreadyOpen));
        assert_eq!(create(&path).err(), Some(StoreError::AlreadyExists));
        block_on(store.write(None, vec![insert("a")])).unwrap();
        assert_eq!(store.close(), Ok(()));
        assert_eq!(create(&path).err(), Some(StoreError::AlreadyExists));
        let checked = EmbeddedOptions {
            check: true,
            ..EmbeddedOptions::default()
        };
        for options in [EmbeddedOptions::default(), checked] {
            let store = Embedded::open(&path, &options).unwrap();
            assert_eq!(block_on(store.count()), Ok(1));
        }
        // Nothing else is left in the folder.
        let names: Vec<_> = fs::read_dir(&path)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [FILE_NAME]);
    }

    #[test]
    fn each_folder_that_is_made_is_named_durably() {
        let folder = tempdir().unwrap();
        let base = folder.path();
        let path = base.join("a/b/c");
        assert_eq!(made_in(&path), [&base.join("a/b"), &base.join("a"), base]);
        fs::create_dir(base.join("a")).unwrap();
        assert_eq!(made_in(&path), [base.join("a/b"), base.join("a")]);
        assert!(made_in(base).is_empty());
        assert_eq!(made_in(Path::new("not-there")), [Path::new(".")]);
    }

    #[test]
    fn makers_at_once_make_one_store() {
        let folder = tempdir().unwrap();
        let made: Vec<_> = thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| create(folder.path())))
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().unwrap())
                .collect()
        });
        assert_eq!(made.iter().filter(|result| result.is_ok()).count(), 1);
        let refused = [StoreError::AlreadyExists, StoreError::AlreadyOpen];
        assert!(
            made.iter()
                .filter_map(|result| result.as_ref().err())
                .all(|e| refused.contains(e))
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempdir().unwrap();
        let path = folder.path().join("vault");
        drop(create(&path).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(FILE_NAME)), 0o600);
    }

    #[test]
    fn other_files_are_told_from_damaged_ones_and_left_alone() {
        let folder = tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        for other in [
            b"".as_slice(),
            b"redb",
            b"not a database, but long enough to be one",
        ] {
            fs::write(&path, other).unwrap();
            assert_eq!(open(folder.path()).err(), Some(StoreError::NotAVault));
            assert_eq!(create(folder.path()).err(), Some(StoreError::AlreadyExists));
            assert_eq!(fs::read(&path).unwrap(), other);
        }
        fs::remove_file(&path).unwrap();
        // The engine's, but not ours.
        drop(redb::Database::create(&path).unwrap());
        assert_eq!(open(folder.path()).err(), Some(StoreError::NotAVault));
        fs::remove_file(&path).unwrap();
        let store = create(folder.path()).unwrap();
        block_on(store.write(None, vec![insert("a")])).unwrap();
        drop(store);
        let whole = fs::read(&path).unwrap();
        for len in [9, 300, 4096, whole.len() / 2] {
            fs::write(&path, whole.get(..len).unwrap()).unwrap();
            let error = open(folder.path()).err();
            let named = [
                StoreError::Corrupt,
                StoreError::Io(io::ErrorKind::UnexpectedEof),
            ];
            assert!(
                error.is_some_and(|error| named.contains(&error)),
                "{len}: {error:?}"
            );
        }
    }

    #[test]
    fn a_waker_that_panics_takes_no_answer_from_others() {
        use core::task::Context;
        use std::task::Wake;

        struct Panicking;

        impl Wake for Panicking {
            fn wake(self: Arc<Self>) {
                std::panic::resume_unwind(Box::new("deliberate"));
            }
        }

        let folder = tempdir().unwrap();
        let store = create(folder.path()).unwrap();
        let waker = Arc::new(Panicking).into();
        let mut bad = Box::pin(store.write(None, vec![insert("a")]));
        // It may be answered before it has left its waker.
        let _ = bad.as_mut().poll(&mut Context::from_waker(&waker));
        for name in ["b", "c"] {
            let outcome = block_on(store.write(None, vec![insert(name)]));
            assert_eq!(outcome, Ok(vec![WriteOutcome::Inserted]));
        }
        assert_eq!(block_on(bad), Ok(vec![WriteOutcome::Inserted]));
    }

    #[test]
    fn a_waker_may_drop_the_last_handle() {
        use core::pin::Pin;
        use core::task::Context;
        use core::time::Duration;
        use std::sync::{Mutex, mpsc};
        use std::task::Wake;

        type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

        /// An executor that drops a task when it is woken.
        struct Dropping(Mutex<Option<Task>>, Mutex<mpsc::Sender<()>>);

        impl Wake for Dropping {
            fn wake(self: Arc<Self>) {
                drop(self.0.lock().unwrap().take());
                self.1.lock().unwrap().send(()).unwrap();
            }
        }

        let folder = tempdir().unwrap();
        let store = create(folder.path()).unwrap();
        let mut task: Task = Box::pin(async move {
            let _ = store.write(None, vec![insert("a")]).await;
        });
        let (sender, woken) = mpsc::channel();
        let dropping = Arc::new(Dropping(Mutex::new(None), Mutex::new(sender)));
        // The task is in its place before the committing thread can look for it there.
        let mut place = dropping.0.lock().unwrap();
        let waker = Arc::clone(&dropping).into();
        let pending = task
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending();
        *place = Some(task);
        drop(place);
        if pending {
            woken.recv().unwrap();
        } else {
            drop(dropping.0.lock().unwrap().take());
        }
        let reopened = (0..500).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            open(folder.path()).ok()
        });
        assert_eq!(block_on(reopened.unwrap().count()), Ok(1));
    }
}
