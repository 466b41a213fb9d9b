//! Every label that a key is derived under. No other file holds one.
//!
//! A label says what the derived key is for. Labels are distinct and none begins another, so that
//! no two purposes can meet in one key, and they are frozen: a changed label is another key.
#![forbid(unsafe_code)]

/// HKDF-Extract's salt for every root and every ring-protecting key.
pub(super) const EXTRACT: &[u8] = b"cardvault/1/extract";
/// Seals card records.
pub(super) const CARD: &[u8] = b"cardvault/1/card";
/// Fingerprints card numbers.
pub(super) const FINGERPRINT: &[u8] = b"cardvault/1/fingerprint";
/// Makes vaultless tokens.
pub(super) const VAULTLESS: &[u8] = b"cardvault/1/vaultless";
/// Makes irreversible tokens.
pub(super) const IRREVERSIBLE: &[u8] = b"cardvault/1/irreversible";
/// The base key that the chain keys of terminals are derived from.
pub(super) const JOURNAL: &[u8] = b"cardvault/1/journal-base";
/// Binds the rows of the ledger.
pub(super) const LEDGER: &[u8] = b"cardvault/1/ledger";
/// Seals archives.
pub(super) const ARCHIVE: &[u8] = b"cardvault/1/archive";
/// The base key that the chain keys of audit logs are derived from.
pub(super) const AUDIT: &[u8] = b"cardvault/1/audit-base";
/// Names a derived key and commits to it.
pub(super) const KEY_ID: &[u8] = b"cardvault/1/key-id";
/// Gives a root's check value.
pub(super) const ROOT_CHECK: &[u8] = b"cardvault/1/root-check";
/// Seals a key ring under a KEK.
pub(super) const RING_KEK: &[u8] = b"cardvault/1/ring-under-kek";
/// Seals a key ring under a key that a `KeyWrap` wrapped.
pub(super) const RING_WRAPPED: &[u8] = b"cardvault/1/ring-under-wrapped-key";
/// Seals a development key ring under a passphrase.
pub(super) const RING_PASSPHRASE: &[u8] = b"cardvault/1/ring-under-passphrase";
/// Commits to what may be known of a ring.
pub(super) const RING_COMMITMENT: &[u8] = b"cardvault/1/ring-commitment";

// The journal's ratchet.

/// From the base key to a terminal's chain key.
pub(crate) const JOURNAL_CHAIN: &[u8] = b"cardvault/1/journal-chain";
/// From a chain key to the name that stands in every frame.
pub(crate) const JOURNAL_ID: &[u8] = b"cardvault/1/journal-id";
/// From a chain key to the first key of the ratchet.
pub(crate) const JOURNAL_FIRST: &[u8] = b"cardvault/1/journal-first";
/// From a chain key to the aggregate over nothing.
pub(crate) const JOURNAL_START: &[u8] = b"cardvault/1/journal-start";
/// From a ratchet key to the key of its frame.
pub(crate) const JOURNAL_ENTRY: &[u8] = b"cardvault/1/journal-entry";
/// From a ratchet key to the next one.
pub(crate) const JOURNAL_NEXT: &[u8] = b"cardvault/1/journal-next";
/// Takes a frame into the aggregate.
pub(crate) const JOURNAL_AGGREGATE: &[u8] = b"cardvault/1/journal-aggregate";
/// Says that the host has every frame before a ratchet key.
pub(crate) const JOURNAL_RECEIPT: &[u8] = b"cardvault/1/journal-receipt";

// The audit log's ratchet, in the same steps.

/// From the base key to a writer's chain key.
pub(crate) const AUDIT_CHAIN: &[u8] = b"cardvault/1/audit-chain";
/// From a chain key to the name that stands at the head of each file.
pub(crate) const AUDIT_ID: &[u8] = b"cardvault/1/audit-id";
/// From a chain key to the first key of the ratchet.
pub(crate) const AUDIT_FIRST: &[u8] = b"cardvault/1/audit-first";
/// From a chain key to the aggregate over nothing.
pub(crate) const AUDIT_START: &[u8] = b"cardvault/1/audit-start";
/// From a ratchet key to the key of its frame.
pub(crate) const AUDIT_ENTRY: &[u8] = b"cardvault/1/audit-entry";
/// From a ratchet key to the next one.
pub(crate) const AUDIT_NEXT: &[u8] = b"cardvault/1/audit-next";
/// Takes a frame into the aggregate.
pub(crate) const AUDIT_AGGREGATE: &[u8] = b"cardvault/1/audit-aggregate";
/// Stands in a checkpoint for every frame before a ratchet key.
pub(crate) const AUDIT_RECEIPT: &[u8] = b"cardvault/1/audit-receipt";
/// From the base key to the key of checkpoints.
pub(crate) const AUDIT_CHECKPOINT: &[u8] = b"cardvault/1/audit-checkpoint";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&[u8]; 32] = [
        EXTRACT,
        CARD,
        FINGERPRINT,
        VAULTLESS,
        IRREVERSIBLE,
        KEY_ID,
        ROOT_CHECK,
        RING_KEK,
        RING_WRAPPED,
        RING_PASSPHRASE,
        RING_COMMITMENT,
        JOURNAL,
        LEDGER,
        ARCHIVE,
        JOURNAL_CHAIN,
        JOURNAL_ID,
        JOURNAL_FIRST,
        JOURNAL_START,
        JOURNAL_ENTRY,
        JOURNAL_NEXT,
        JOURNAL_AGGREGATE,
        JOURNAL_RECEIPT,
        AUDIT,
        AUDIT_CHAIN,
        AUDIT_ID,
        AUDIT_FIRST,
        AUDIT_START,
        AUDIT_ENTRY,
        AUDIT_NEXT,
        AUDIT_AGGREGATE,
        AUDIT_RECEIPT,
        AUDIT_CHECKPOINT,
    ];

    #[test]
    fn no_label_begins_another() {
        for (i, one) in ALL.iter().enumerate() {
            for (j, other) in ALL.iter().enumerate() {
                assert!(i == j || !other.starts_with(one), "{i} begins {j}");
            }
        }
    }

    #[test]
    fn the_list_is_whole() {
        let constants = include_str!("label.rs")
            .lines()
            .filter(|line| line.starts_with("pub(") && line.contains(") const "))
            .count();
        assert_eq!(constants, ALL.len());
    }

    #[test]
    fn labels_stand_in_this_file_alone() {
        // The demo's thief has read the manual, and no way into the library.
        const APART: [&str; 2] = ["keys/label.rs", "bin/cardvault/demo/thief.rs"];
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![sources];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !APART.iter().any(|file| path.ends_with(file)) {
                    let text = std::fs::read_to_string(&path).unwrap_or_default();
                    assert!(!text.contains("cardvault/1/"), "{}", path.display());
                }
            }
        }
    }
}
