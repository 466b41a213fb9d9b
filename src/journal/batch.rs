//! The batch copy of an entry's card record: it stands in the log right behind the frame, under
//! the batch key, and the terminal opens it until the batch is closed.
//!
//! ```text
//!  0 12  prefix, kind 7
//! 12  8  sequence number
//! 20 16  sealed card record
//! 36 16  tag
//!        padding: zeros, until the length is a multiple of the word
//!     4  CRC
//!
//! sealed card record | tag = AES-256-GCM(batch key, the frame's nonce, card record, AAD = 0..20)
//! ```
#![forbid(unsafe_code)]

use super::aead::{self, NONCE_LEN, TAG_LEN};
use super::frame::{COPY_MAX_LEN, COPY_MIN_LEN, Item, Kind, PREFIX_LEN, prefix, put_crc};
use super::ratchet::JournalId;
use crate::card::CARD_RECORD_LEN;
use crate::codec::{Reader, Writer};
use crate::secret::Secret;

const SEALED_AT: usize = PREFIX_LEN + 8;

/// What a copy belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) journal: JournalId,
    pub(super) sequence: u64,
    /// The nonce of the frame before it, which is drawn for each frame that is written.
    pub(super) nonce: [u8; NONCE_LEN],
}

/// Length of a copy on flash with words of `word` bytes.
pub(super) fn copy_len(word: usize) -> usize {
    COPY_MIN_LEN.next_multiple_of(word.max(1)).min(COPY_MAX_LEN)
}

/// Makes the copy that takes up all of `out`.
pub(super) fn write_copy(
    out: &mut [u8],
    place: &Place,
    key: &Secret<32>,
    record: &[u8],
) -> Option<()> {
    let len = out.len();
    let (head, rest) = out.split_at_mut_checked(SEALED_AT)?;
    let mut writer = Writer::new(head);
    prefix(&mut writer, Kind::Copy, len, place.journal).ok()?;
    writer.u64(place.sequence).ok()?;
    let (sealed, rest) = rest.split_at_mut_checked(CARD_RECORD_LEN)?;
    let mut text = Secret::<CARD_RECORD_LEN>::zeroed();
    text.expose_mut()
        .copy_from_slice(record.first_chunk::<CARD_RECORD_LEN>()?);
    let tag = aead::seal(key, &place.nonce, head, text.expose_mut()).ok()?;
    sealed.copy_from_slice(text.expose());
    *rest.first_chunk_mut()? = tag;
    rest.get_mut(TAG_LEN..)?.fill(0);
    put_crc(out).ok()
}

/// Opens the copy that takes up all of `bytes`.
pub(super) fn open_copy(
    bytes: &[u8],
    place: &Place,
    key: &Secret<32>,
) -> Option<Secret<CARD_RECORD_LEN>> {
    let (item, rest) = Item::split(bytes)?;
    if item.kind != Kind::Copy || item.journal != place.journal || !rest.is_empty() {
        return None;
    }
    let (aad, _) = bytes.split_at_checked(SEALED_AT)?;
    let mut reader = Reader::new(item.before_crc().ok()?);
    reader.take(PREFIX_LEN).ok()?;
    let sequence = reader.u64().ok()?;
    let mut text = Secret::new(reader.array().ok()?);
    let tag = reader.array().ok()?;
    let rest = item.bytes.len().checked_sub(COPY_MIN_LEN)?;
    let padding = reader.take(rest).ok()?;
    if sequence != place.sequence || padding.iter().any(|&byte| byte != 0) {
        return None;
    }
    aead::open(key, &place.nonce, aad, text.expose_mut(), &tag).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_opens_in_its_place_alone() {
        let place = Place {
            journal: JournalId([7; 8]),
            sequence: 9,
            nonce: [3; NONCE_LEN],
        };
        let key = Secret::new([5; 32]);
        for word in [1, 4, 8, 16, 32] {
            let mut copy = [0xFF; COPY_MAX_LEN];
            let copy = &mut copy[..copy_len(word)];
            write_copy(copy, &place, &key, &[1; CARD_RECORD_LEN]).unwrap();
            let opened = open_copy(copy, &place, &key).unwrap();
            assert_eq!(opened.expose(), &[1; CARD_RECORD_LEN]);
            let others = [
                Place {
                    sequence: 8,
                    ..place
                },
                Place {
                    nonce: [4; NONCE_LEN],
                    ..place
                },
                Place {
                    journal: JournalId([8; 8]),
                    ..place
                },
            ];
            assert!(
                others
                    .iter()
                    .all(|other| open_copy(copy, other, &key).is_none())
            );
            assert!(open_copy(copy, &place, &Secret::new([6; 32])).is_none());
            for bit in 0..8 * copy.len() {
                copy[bit / 8] ^= 1 << (bit % 8);
                assert!(open_copy(copy, &place, &key).is_none(), "{bit}");
                // With the CRC put right: the tag or the padding tells.
                let mut forged = copy.to_vec();
                put_crc(&mut forged).unwrap();
                let crc = bit / 8 >= copy.len() - 4;
                assert!(crc || open_copy(&forged, &place, &key).is_none(), "{bit}");
                copy[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
