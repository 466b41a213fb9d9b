//! A journal of 64 MB is verified in constant memory: reading allocates nothing.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    unsafe_code
)]

#[path = "support/counting.rs"]
mod counting;
#[path = "support/journal.rs"]
mod support;

use std::io::{Seek, Write};

use cardvault::journal::{
    BATTERY_LEN, BatteryState, FRAME_MAX_LEN, FromRead, Journal, MemoryFlash, PAYMENT_MAX_LEN,
    Position, Reading,
};
use support::{Host, card, entry, rng};

const UPLOAD_MIN: u64 = 64_000_000;
const PAGES: usize = 19_000;

/// Writes the upload to a file, so that nothing of it is in memory.
fn write(host: &Host, file: &mut std::fs::File) -> u64 {
    let mut flash = vec![0xFF; PAGES * 4096];
    let mut battery = [0; BATTERY_LEN];
    let flash = MemoryFlash::<32, 4096>::new(&mut flash);
    let store = BatteryState::new(&mut battery);
    let mut journal = Journal::create(flash, store, host.chain_key(1)).unwrap();
    let mut rng = rng(1);
    let record = card(0);
    let payment = [7; PAYMENT_MAX_LEN];
    let frame = 440;
    for _ in 0..UPLOAD_MIN / frame + 1 {
        journal
            .append(&entry(&payment, Some(&record)), &mut rng)
            .unwrap();
    }
    let mut out = [0; FRAME_MAX_LEN];
    let mut file = std::io::BufWriter::new(file);
    let mut upload = journal.upload().unwrap();
    while let Some(len) = upload.next(&mut out).unwrap() {
        file.write_all(&out[..len]).unwrap();
    }
    file.flush().unwrap();
    journal.count()
}

#[test]
fn sixty_four_megabytes() {
    let host = Host::new(1);
    let mut file = tempfile::tempfile().unwrap();
    let written = write(&host, &mut file);
    let len = file.metadata().unwrap().len();
    assert!(len >= UPLOAD_MIN, "{len} bytes");
    file.rewind().unwrap();

    let key = host.reading_key();
    let identity = Host::identity(1);
    let (peak, (structure, count, clean)) = counting::peak(|| {
        let mut reading = Reading::new(&key, &identity, &Position::START, FromRead(file)).unwrap();
        let mut count = 0;
        while let Some(verified) = reading.next() {
            verified.unwrap();
            count += 1;
        }
        let clean = reading.outcome().unwrap().clean;
        (size_of_val(&reading), count, clean)
    });
    assert!(clean);
    assert_eq!(count, written);
    eprintln!("{len} bytes, {count} entries: {peak} bytes allocated, structure of {structure}");
    assert_eq!(peak, 0);
    assert!(structure < 16 * 1024);
}
