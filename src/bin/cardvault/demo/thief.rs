//! Who stole a terminal and knows all of this crate but its keys: takes every 32 bytes of the
//! memory for a key, and follows each to where it could lead.
//!
//! He has tools of his own: the ciphers stand here, and not in the library's modules.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashSet};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;

const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const CRC_LEN: usize = 4;
const NONCE_AT: usize = 28;
const FLAGS_AT: usize = 40;

/// What came of it.
pub(super) struct Tries {
    /// How many different keys the memory could hold.
    pub(super) keys: usize,
    /// How many entries hold a card.
    pub(super) cards: usize,
    /// How many of them opened.
    pub(super) opened: usize,
}

/// Tries to open `frames`, the journal from its first entry on, with what stands in `memory`.
pub(super) fn open_all(memory: &[Vec<u8>], frames: &[Vec<u8>]) -> Tries {
    let frames: Vec<Parts<'_>> = frames.iter().filter_map(|frame| Parts::of(frame)).collect();
    let windows = memory.iter().flat_map(|bytes| bytes.array_windows());
    let keys: HashSet<&Key> = windows
        .filter(|key: &&Key| key.iter().any(|byte| *byte != key[0]))
        .collect();
    let mut opened = BTreeSet::new();
    for key in &keys {
        // As an entry's key, as a key of the ratchet, and as a terminal's chain key.
        let direct = frames.iter().enumerate();
        opened.extend(
            direct
                .filter(|(_, frame)| frame.opens(key))
                .map(|(at, _)| at),
        );
        for start in [**key, derive(key, "first")] {
            opened.extend(follow(start, &frames));
        }
    }
    let with_card = |frame: &&Parts<'_>| frame.has_card;
    let reached = opened.iter().filter_map(|at| frames.get(*at));
    Tries {
        keys: keys.len(),
        cards: frames.iter().filter(with_card).count(),
        opened: reached.filter(with_card).count(),
    }
}

type Key = [u8; KEY_LEN];

/// The entries that open if `start` is the ratchet's key of any of them: its steps lead to the
/// last one.
fn follow(start: Key, frames: &[Parts<'_>]) -> Vec<usize> {
    let mut steps = vec![start];
    for _ in frames {
        let Some(key) = steps.last() else { break };
        let opens = frames
            .last()
            .is_some_and(|last| last.opens(&derive(key, "entry")));
        if opens {
            let first = frames.len() - steps.len();
            let reached = (first..).zip(frames.iter().skip(first)).zip(&steps);
            let opened = reached.filter(|((_, frame), key)| frame.opens(&derive(key, "entry")));
            return opened.map(|((at, _), _)| at).collect();
        }
        steps.push(derive(key, "next"));
    }
    Vec::new()
}

/// HKDF-Expand to one block (RFC 5869) under a label of the journal.
fn derive(key: &Key, label: &str) -> Key {
    let mut block = [0; 64];
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let mut hmac = Hmac::<Sha256>::new(&block.into());
    hmac.update(format!("cardvault/1/journal-{label}\u{1}").as_bytes());
    hmac.finalize().into_bytes().into()
}

/// A frame, taken apart as the manual describes it.
struct Parts<'a> {
    clear: &'a [u8],
    nonce: [u8; 12],
    sealed: &'a [u8],
    tag: [u8; TAG_LEN],
    has_card: bool,
}

impl<'a> Parts<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        let has_card = frame.get(1) == Some(&1) && frame.get(FLAGS_AT)? & 1 == 1;
        let sealed_len = match frame.get(1)? {
            1 if has_card => 16,
            1 => 0,
            2 => 32,
            _ => return None,
        };
        let body = frame.get(..frame.len().checked_sub(CRC_LEN)?)?;
        let (body, tag) = body.split_last_chunk()?;
        let (clear, sealed) = body.split_at_checked(body.len().checked_sub(sealed_len)?)?;
        Some(Self {
            clear,
            nonce: *clear.get(NONCE_AT..)?.first_chunk()?,
            sealed,
            tag: *tag,
            has_card,
        })
    }

    fn opens(&self, key: &Key) -> bool {
        let mut text = self.sealed.to_vec();
        let cipher = Aes256Gcm::new(key.into());
        let (nonce, tag) = ((&self.nonce).into(), (&self.tag).into());
        cipher
            .decrypt_inout_detached(nonce, self.clear, text.as_mut_slice().into(), tag)
            .is_ok()
    }
}
