//! `export` and `import`: a vault and its ledger as one sealed file, and back.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};

use cardvault::archive::{ArchiveHeader, Contents, restore_blocking, verify};
use cardvault::ledger::Ledger;
use cardvault::vault::MAX_BATCH;
use clap::Args;

use crate::args::{Unlock, VaultArgs};
use crate::desk::grid::{counted, facts};
use crate::desk::moment::utc;
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{Output, Readers};
use crate::folder::{Folder, FolderVault, read_ring, show_mark};
use crate::progress::{Unit, progress};
use crate::store::{Place, PlaceArgs};
use crate::who::AccessArgs;

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// The archive; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Leave the sealed key ring out: a restore then needs a copy of ring.cvk
    #[arg(long)]
    pub(crate) without_ring: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The archive
    pub(crate) archive: PathBuf,
    /// The new vault's folder; after an interruption run the same command again
    #[arg(required_unless_present = "dry_run")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) unlock: Unlock,
    /// This ring file, not the ring that the archive carries
    #[arg(long, value_name = "FILE")]
    pub(crate) ring: Option<PathBuf>,
    /// Verify the archive and restore nothing
    #[arg(long, conflicts_with = "folder")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

pub(crate) fn export(args: &Export, quiet: bool) -> Outcome<Exit> {
    let access = args.access.access()?;
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let vault = folder.vault(ring)?;
    let failed = |error| Failure::archive("export", error);
    let carried = (!args.without_ring).then(|| folder.sealed_ring());
    let mut output = Output::open(&args.output, Readers::Owner)?;
    let bar = progress(None, Unit::Bytes, "exporting", quiet);
    let mut export = vault.export(&access, carried).map_err(failed)?;
    while let Some(bytes) = export.next().map_err(failed)? {
        bar.inc(length(bytes));
        output.write(bytes)?;
    }
    output.finish()?;
    bar.finish_and_clear();
    if !quiet {
        let header = export.header();
        crate::say(&format!(
            "archive {} of ring generation {}: {}",
            header.id,
            header.generation,
            counted(export.rows(), "row")
        ));
    }
    Ok(Exit::Done)
}

pub(crate) fn import(args: &Import, quiet: bool) -> Outcome<Exit> {
    let path = &args.archive;
    let what = path.display().to_string();
    let failed = |error| Failure::archive(what.clone(), error);
    let mut file = File::open(path).map_err(Failure::at(path))?;
    let header = ArchiveHeader::read(&mut BufReader::new(&file)).map_err(failed)?;
    file.rewind().map_err(Failure::at(path))?;
    let bytes = file.metadata().map_err(Failure::at(path))?.len();
    let into = args.folder.as_deref().unwrap_or(Path::new(""));
    let folder = folder_of(args, into, header)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    // Before anything is made; what was changed since then is noticed again.
    let bar = progress(Some(bytes), Unit::Bytes, "verifying", quiet);
    let contents = verify(bar.wrap_read(BufReader::new(&file)), &ring).map_err(failed)?;
    bar.finish_and_clear();
    if args.dry_run {
        return show(&contents, "verified");
    }
    file.rewind().map_err(Failure::at(path))?;
    let store = folder.store_to_fill()?;
    let bar = progress(Some(bytes), Unit::Bytes, "restoring", quiet);
    let source = bar.wrap_read(BufReader::new(file));
    let contents = restore_blocking(source, &ring, &store).map_err(failed)?;
    bar.finish_and_clear();
    let vault = folder.vault_in(store, ring)?;
    check(&vault, &contents, quiet)?;
    show(&contents, "restored")
}

/// The new folder with the ring that goes with it.
fn folder_of(args: &Import, into: &Path, header: ArchiveHeader) -> Outcome<Folder> {
    let (sealed, what) = match (&args.ring, header.sealed_ring) {
        (Some(path), _) => (read_ring(path)?, path.display().to_string()),
        (None, Some(sealed)) => (sealed, args.archive.display().to_string()),
        (None, None) => {
            let what = args.archive.display().to_string();
            return Err(Failure::usage(what, "this archive carries no key ring")
                .hint("give a copy of the vault's ring.cvk with --ring FILE"));
        }
    };
    let place = match args.place.place()? {
        // What an interrupted run left says where the data is.
        Place::Folder if args.folder.is_some() => Place::of(into)?,
        place => place,
    };
    Folder::with_ring(into, place, sealed, what, &args.unlock)
}

/// Opens every record and audits every payment.
fn check(vault: &FolderVault, contents: &Contents, quiet: bool) -> Outcome<()> {
    let bar = progress(Some(contents.rows), Unit::Rows, "checking", quiet);
    let (mut after, mut unopenable) = (None, 0);
    loop {
        let step = vault.check(after, MAX_BATCH);
        let step = step.map_err(|error| Failure::vault("check", error))?;
        bar.inc(step.seen);
        unopenable += step.unopenable;
        after = step.cursor;
        if after.is_none() {
            break;
        }
    }
    let ledger = Ledger::new(vault.vault().clone()).blocking();
    let (mut after, mut payments) = (None, 0);
    loop {
        let page = ledger.audit_page(after, MAX_BATCH);
        let page = page.map_err(|error| Failure::keys("audit", error))?;
        payments += page.items.len();
        bar.inc(length(&page.items));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    if unopenable > 0 {
        let records = counted(unopenable, "record");
        crate::say(&format!("{records} under destroyed keys"));
    }
    if !quiet {
        let payments = counted(payments, "payment");
        crate::say(&format!("every record opens, {payments} audited"));
    }
    Ok(())
}

fn show(contents: &Contents, done: &str) -> Outcome<Exit> {
    crate::show(&facts(&[
        ("archive", Some(contents.id.to_string())),
        ("made", Some(utc(contents.time))),
        ("ring generation", Some(contents.generation.to_string())),
        ("rows", Some(contents.rows.to_string())),
        ("index entries", Some(contents.entries.to_string())),
    ]))?;
    crate::show(&format!("{done}\n"))?;
    Ok(Exit::Done)
}

fn length<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
