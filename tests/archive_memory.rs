//! An archive is made, verified and restored in constant memory.
#![cfg(feature = "embedded")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    unsafe_code
)]

#[path = "support/counting.rs"]
mod counting;
#[path = "support/desk.rs"]
mod desk;

use std::io::{BufWriter, Seek, Write as _};
use std::sync::Arc;

use cardvault::archive::{restore_blocking, verify};
use cardvault::vault::{
    Embedded, EmbeddedOptions, IndexKey, Item, ROW_LEN, Row, RowKey, Store, Write,
};
use counting::peak;
use pollster::block_on;

/// The engine's cache of pages: what it is told to take, the rest is ours.
const CACHE: usize = 1 << 20;

fn store(folder: &tempfile::TempDir) -> Arc<Embedded> {
    let options = EmbeddedOptions {
        cache: CACHE,
        ..EmbeddedOptions::default()
    };
    Arc::new(Embedded::create(&folder.path().join("vault"), &options).unwrap())
}

fn items(n: u64) -> [Item; 2] {
    let key = RowKey::new(format!("\x06shop-1 token {n:016}").as_bytes()).unwrap();
    let index = IndexKey::new(format!("\x06shop-1 index {n:016}").as_bytes()).unwrap();
    let row = Row::new(&[7; ROW_LEN]).unwrap();
    [Item::Row(key, row), Item::Unique(index, key)]
}

/// The peaks of export, verification and restore, and the length of the archive.
fn measure(rows: u64) -> ([usize; 3], u64) {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let from = store(&folders[0]);
    let vault = desk::open(Arc::clone(&from));
    for start in (0..rows).step_by(5000) {
        let writes = (start..rows.min(start + 5000))
            .flat_map(items)
            .map(Write::Put);
        block_on(from.write(None, writes.collect())).unwrap();
    }
    let mut file = tempfile::tempfile().unwrap();
    let (exported, ()) = peak(|| {
        let mut file = BufWriter::new(&mut file);
        let mut export = vault.export(&desk::access(), None).unwrap();
        while let Some(bytes) = export.next().unwrap() {
            file.write_all(bytes).unwrap();
        }
        file.flush().unwrap();
    });
    let ring = desk::ring();
    file.rewind().unwrap();
    let (verified, contents) = peak(|| verify(&file, &ring).unwrap());
    assert_eq!(contents.rows, rows);
    let to = store(&folders[1]);
    file.rewind().unwrap();
    let (restored, again) = peak(|| restore_blocking(&file, &ring, &to).unwrap());
    assert_eq!(contents, again);
    ([exported, verified, restored], contents.bytes)
}

#[test]
fn ten_times_the_rows_in_the_same_memory() {
    let (small, short) = measure(4_000);
    let (large, long) = measure(40_000);
    eprintln!("{short} bytes: {small:?} bytes held; {long} bytes: {large:?}");
    assert!(long > 9 * short);
    let [exported, verified, restored] = large;
    assert!(exported < CACHE + (1 << 20), "export holds {exported}");
    assert!(verified < 1 << 18, "verification holds {verified}");
    assert!(restored < 16 << 20, "restore holds {restored}");
}
