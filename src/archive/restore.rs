//! Filling an empty store from an archive.
#![forbid(unsafe_code)]

use std::io::{Read, Seek, SeekFrom};

use super::error::ArchiveError;
use super::reading::{ArchiveReader, Contents, verify};
use crate::keys::KeyRing;
use crate::vault::telemetry::{self, Call};
use crate::vault::{Guard, Store, StoreError, Write, WriteOutcome, is_restoring, restoring};

/// Items that are written together.
const BATCH: usize = 4_000;

/// Fills `store`, which must hold nothing, from the archive at the place where `source` stands.
///
/// The archive is read twice: first as [`verify`] reads it, then into the store. If anything is
/// wrong with it, nothing is written. Until the end the store has a guard with which no vault is
/// opened ([`VaultError::RestoreUnfinished`](crate::vault::VaultError::RestoreUnfinished)); after an
/// interruption, restore the same archive into it again. Takes as much memory as one batch of
/// items.
///
/// # Errors
/// Those of [`verify`]; [`ArchiveError::NotEmpty`]; [`ArchiveError::OtherRestore`];
/// [`ArchiveError::ChangedMeanwhile`]; [`ArchiveError::StoreChanged`]; the store's.
pub async fn restore<S: Store>(
    source: impl Read + Seek + Send,
    ring: &KeyRing,
    store: &S,
) -> Result<Contents, ArchiveError> {
    let call = async {
        let mut source = source;
        let io = |error: std::io::Error| ArchiveError::Io(error.kind());
        let start = source.stream_position().map_err(io)?;
        let header = ArchiveReader::new(&mut source, ring)?;
        let (marker, guard) = (restoring(header.digest())?, header.header().guard.clone());
        let begun = is_begun(store, &marker).await?;
        source.seek(SeekFrom::Start(start)).map_err(io)?;
        let contents = verify(&mut source, ring)?;
        source.seek(SeekFrom::Start(start)).map_err(io)?;

        let mut archive = ArchiveReader::new(&mut source, ring)?;
        if restoring(archive.digest())? != marker {
            return Err(ArchiveError::ChangedMeanwhile);
        }
        if !begun {
            set_guard(store, None, &marker)
                .await?
                .ok_or(ArchiveError::NotEmpty)?;
        }
        let mut text = Vec::new();
        let mut writes = Vec::with_capacity(BATCH);
        while archive.next(&mut text, |item| writes.push(Write::Put(item)))? {
            while writes.len() >= BATCH {
                let rest = writes.split_off(BATCH);
                put(store, &marker, core::mem::replace(&mut writes, rest)).await?;
            }
        }
        if !writes.is_empty() {
            put(store, &marker, writes).await?;
        }
        if archive.contents() != contents {
            return Err(ArchiveError::ChangedMeanwhile);
        }
        if store.count().await? != contents.rows {
            return Err(ArchiveError::StoreChanged);
        }
        // The last thing: now it is a vault.
        set_guard(store, Some(&marker), &guard)
            .await?
            .ok_or(ArchiveError::StoreChanged)?;
        Ok(contents)
    };
    telemetry::watch(Call::Restore, None, 1, call).await
}

/// Whether the store was begun to be filled from this archive; else it must be empty.
async fn is_begun<S: Store>(store: &S, marker: &Guard) -> Result<bool, ArchiveError> {
    match store.guard().await? {
        None if store.scan(None, None, 1).await?.is_empty() => Ok(false),
        Some(guard) if guard == *marker => Ok(true),
        Some(guard) if is_restoring(&guard) => Err(ArchiveError::OtherRestore),
        _ => Err(ArchiveError::NotEmpty),
    }
}

/// Puts a guard in the place of another, if it is the one that is there.
async fn set_guard<S: Store>(
    store: &S,
    expected: Option<&Guard>,
    guard: &Guard,
) -> Result<Option<()>, ArchiveError> {
    let write = Write::Guard {
        expected: expected.cloned(),
        guard: guard.clone(),
    };
    let outcomes = store.write(None, vec![write]).await?;
    Ok((outcomes == [WriteOutcome::Guarded]).then_some(()))
}

async fn put<S: Store>(store: &S, marker: &Guard, writes: Vec<Write>) -> Result<(), ArchiveError> {
    match store.write(Some(marker.clone()), writes).await {
        Ok(_) => Ok(()),
        Err(StoreError::GuardChanged) => Err(ArchiveError::StoreChanged),
        Err(error) => Err(error.into()),
    }
}
