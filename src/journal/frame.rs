//! The bytes of frames and of the other items of an upload; the layouts stand in the manual.
#![forbid(unsafe_code)]

use super::aead::{NONCE_LEN, TAG_LEN};
use super::crc::{CRC_LEN, crc32};
use super::ratchet::{AGGREGATE_LEN, Identity, JOURNAL_ID_LEN, JournalId, TERMINAL_MAX_LEN};
use crate::card::{CARD_RECORD_LEN, PAN_MAX_DIGITS, TruncatedPan};
use crate::codec::{CodecError, Reader, Writer};
use crate::payment::{PAYMENT_FIELDS_MAX_LEN, PaymentFields, PaymentFieldsError};
use crate::time::UnixSeconds;

/// The longest payment fields, in bytes.
pub const PAYMENT_MAX_LEN: usize = 320;
/// The longest token, in bytes.
pub const TOKEN_MAX_LEN: usize = 32;
/// The longest frame, in bytes; a multiple of every word size.
pub const FRAME_MAX_LEN: usize = 512;
/// The longest word of a flash, in bytes: a frame is padded to whole words.
pub const WORD_MAX_LEN: usize = 32;
/// Length of an upload's trailer, in bytes.
pub const TRAILER_LEN: usize = PREFIX_LEN + 8 + AGGREGATE_LEN + CRC_LEN;
/// The longest upload header, in bytes.
pub const HEADER_MAX_LEN: usize = PREFIX_LEN + 4 + 4 + 8 + 1 + TERMINAL_MAX_LEN + CRC_LEN;
/// Length of a gap, in bytes.
pub const GAP_LEN: usize = PREFIX_LEN + 8 + 8 + CRC_LEN;

/// The longest batch copy of a card record, in bytes.
pub(super) const COPY_MAX_LEN: usize = 64;
/// The shortest one: without padding.
pub(super) const COPY_MIN_LEN: usize = PREFIX_LEN + 8 + CARD_RECORD_LEN + TAG_LEN + CRC_LEN;
pub(super) const VERSION: u8 = 1;
pub(super) const PREFIX_LEN: usize = 2 + 2 + JOURNAL_ID_LEN;
pub(super) const PAGE_HEADER_LEN: usize = PREFIX_LEN + 8 + 8 + CRC_LEN;
const HEAD_LEN: usize = PREFIX_LEN + 8 + 8 + NONCE_LEN;
const FLAG_CARD: u8 = 1;
const PADDING_MAX: usize = WORD_MAX_LEN - 1;

const _: () = assert!(PAGE_HEADER_LEN == WORD_MAX_LEN && HEAD_LEN == 40);
const _: () = assert!(
    HEAD_LEN
        + (3 + PAYMENT_MAX_LEN)
        + (1 + PAN_MAX_DIGITS)
        + (1 + TOKEN_MAX_LEN)
        + PADDING_MAX
        + AGGREGATE_LEN
        + TAG_LEN
        + CRC_LEN
        <= FRAME_MAX_LEN
);
const _: () = assert!(FRAME_MAX_LEN.is_multiple_of(WORD_MAX_LEN));
const _: () = assert!(COPY_MIN_LEN.next_multiple_of(WORD_MAX_LEN) == COPY_MAX_LEN);
const _: () = assert!(PAYMENT_FIELDS_MAX_LEN <= PAYMENT_MAX_LEN);

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Payment,
    Notice,
    Header,
    Trailer,
    Gap,
    Page,
    Copy,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Payment,
        Self::Notice,
        Self::Header,
        Self::Trailer,
        Self::Gap,
        Self::Page,
        Self::Copy,
    ];

    const fn number(self) -> u8 {
        match self {
            Self::Payment => 1,
            Self::Notice => 2,
            Self::Header => 3,
            Self::Trailer => 4,
            Self::Gap => 5,
            Self::Page => 6,
            Self::Copy => 7,
        }
    }

    /// Whether it stands in the log alone, never in an upload.
    pub(super) const fn is_local(self) -> bool {
        matches!(self, Self::Page | Self::Copy)
    }

    pub(super) const fn is_frame(self) -> bool {
        matches!(self, Self::Payment | Self::Notice)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Why a notice was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Bytes that no state acknowledged were found behind the end of the log: a frame was torn by
    /// a power cut. The notice has its number.
    Burn,
    /// Acknowledged frames cannot be read any more.
    Loss,
    /// The caller asked for a checkpoint.
    Checkpoint,
    /// The epoch is over; nothing follows.
    Closing,
}

impl Cause {
    const fn number(self) -> u8 {
        match self {
            Self::Burn => 1,
            Self::Loss => 2,
            Self::Checkpoint => 3,
            Self::Closing => 4,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Burn),
            2 => Some(Self::Loss),
            3 => Some(Self::Checkpoint),
            4 => Some(Self::Closing),
            _ => None,
        }
    }
}

/// A notice's clear part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Why it was written.
    pub cause: Cause,
    /// The first sequence number that it concerns.
    pub first: u64,
    /// How many it concerns.
    pub count: u64,
}

/// A payment's clear part, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentPart<'a> {
    /// The payment's fields in their canonical encoding, at most [`PAYMENT_MAX_LEN`] bytes.
    pub payment: &'a [u8],
    /// The truncated card number.
    pub truncated: Option<TruncatedPan>,
    /// The token that the host issued, at most [`TOKEN_MAX_LEN`] bytes; empty if there is none.
    pub token: &'a [u8],
    /// Whether a card record is sealed in the frame.
    pub has_card: bool,
}

/// What a frame says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A payment.
    Payment(PaymentPart<'a>),
    /// A notice of the terminal about its own journal.
    Notice(Notice),
}

/// A frame's clear part. Whether it is genuine is known to the host alone, after verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its journal.
    pub journal: JournalId,
    /// Its sequence number.
    pub sequence: u64,
    /// The terminal's time.
    pub time: UnixSeconds,
    /// What it says.
    pub body: Body<'a>,
}

impl<'a> Frame<'a> {
    /// Reads the frame that takes up the whole of `bytes`.
    ///
    /// # Errors
    /// [`CodecError`] for anything that no terminal writes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let (item, rest) = Item::split(bytes).ok_or(CodecError::Invalid { at: 0 })?;
        if !rest.is_empty() {
            return Err(CodecError::Trailing {
                at: item.bytes.len(),
            });
        }
        Self::of(&item)
    }

    /// Reads the frame that an item is.
    pub(super) fn of(item: &Item<'a>) -> Result<Self, CodecError> {
        let mut reader = Reader::new(item.before_crc()?);
        reader.take(PREFIX_LEN)?;
        let sequence = reader.u64()?;
        let time = UnixSeconds(reader.u64()?);
        reader.take(NONCE_LEN)?;
        let body = match item.kind {
            Kind::Payment => Body::Payment(PaymentPart::read(&mut reader)?),
            Kind::Notice => Body::Notice(Notice::read(&mut reader)?),
            _ => return Err(CodecError::Invalid { at: 1 }),
        };
        let sealed_len = body.sealed_len();
        let at = reader.at();
        let rest = item
            .bytes
            .len()
            .checked_sub(at + sealed_len + TAG_LEN + CRC_LEN)
            .filter(|&padding| padding <= PADDING_MAX)
            .ok_or(CodecError::Invalid { at })?;
        if reader.take(rest)?.iter().any(|&byte| byte != 0) {
            return Err(CodecError::Invalid { at });
        }
        reader.take(sealed_len + TAG_LEN)?;
        reader.finish()?;
        Ok(Self {
            journal: item.journal,
            sequence,
            time,
            body,
        })
    }
}

impl<'a> PaymentPart<'a> {
    /// The payment's fields.
    ///
    /// # Errors
    /// [`PaymentFieldsError`] if the terminal wrote other bytes.
    pub fn fields(&self) -> Result<PaymentFields, PaymentFieldsError> {
        PaymentFields::read(self.payment)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, CodecError> {
        let at = reader.at();
        let flags = reader.u8()?;
        if flags & !FLAG_CARD != 0 {
            return Err(CodecError::Invalid { at });
        }
        let at = reader.at();
        let len = usize::from(reader.u16()?);
        if len > PAYMENT_MAX_LEN {
            return Err(CodecError::Invalid { at });
        }
        let payment = reader.take(len)?;
        let at = reader.at();
        let truncated = match prefixed(reader)? {
            [] => None,
            text => Some(
                core::str::from_utf8(text)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or(CodecError::Invalid { at })?,
            ),
        };
        let at = reader.at();
        let token = prefixed(reader)?;
        if token.len() > TOKEN_MAX_LEN {
            return Err(CodecError::Invalid { at });
        }
        Ok(Self {
            payment,
            truncated,
            token,
            has_card: flags & FLAG_CARD != 0,
        })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        writer.u8(if self.has_card { FLAG_CARD } else { 0 })?;
        let invalid = CodecError::NoRoom { at: writer.len() };
        writer.u16(u16::try_from(self.payment.len()).map_err(|_| invalid)?)?;
        writer.put(self.payment)?;
        let truncated = self.truncated.as_ref().map_or("", TruncatedPan::as_str);
        writer.prefixed(truncated.as_bytes())?;
        writer.prefixed(self.token)
    }
}

impl Notice {
    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let at = reader.at();
        let cause = Cause::from_number(reader.u8()?).ok_or(CodecError::Invalid { at })?;
        Ok(Self {
            cause,
            first: reader.u64()?,
            count: reader.u64()?,
        })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        writer.u8(self.cause.number())?;
        writer.u64(self.first)?;
        writer.u64(self.count)
    }
}

impl Body<'_> {
    pub(super) const fn has_card(&self) -> bool {
        matches!(self, Self::Payment(part) if part.has_card)
    }

    pub(super) const fn sealed_len(&self) -> usize {
        match self {
            Self::Payment(part) if part.has_card => CARD_RECORD_LEN,
            Self::Payment(_) => 0,
            Self::Notice(_) => AGGREGATE_LEN,
        }
    }

    /// The length of a frame with this body in whole words.
    pub(super) fn frame_len(&self, word: usize) -> usize {
        let body = match self {
            Self::Payment(part) => {
                let truncated = part.truncated.as_ref().map_or("", TruncatedPan::as_str);
                5 + part.payment.len() + truncated.len() + part.token.len()
            }
            Self::Notice(_) => 17,
        };
        let least = HEAD_LEN + body + self.sealed_len() + TAG_LEN + CRC_LEN;
        least.next_multiple_of(word.max(1))
    }
}

/// What of a frame the host needs to verify it. The body is read when the frame is genuine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) sequence: u64,
    pub(super) is_notice: bool,
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) aad: &'a [u8],
    pub(super) sealed: &'a [u8],
    pub(super) tag: [u8; TAG_LEN],
}

impl<'a> Envelope<'a> {
    /// The envelope of an item; `None` if it is no frame.
    pub(super) fn of(item: &Item<'a>) -> Option<Self> {
        let is_notice = match item.kind {
            Kind::Payment => false,
            Kind::Notice => true,
            _ => return None,
        };
        let mut reader = Reader::new(item.before_crc().ok()?);
        reader.take(PREFIX_LEN).ok()?;
        let (sequence, _) = (reader.u64().ok()?, reader.u64().ok()?);
        let nonce = reader.array().ok()?;
        let sealed_len = if is_notice {
            AGGREGATE_LEN
        } else if reader.u8().ok()? & FLAG_CARD != 0 {
            CARD_RECORD_LEN
        } else {
            0
        };
        let (rest, tag) = item.before_crc().ok()?.split_last_chunk()?;
        let at = rest.len().checked_sub(sealed_len)?;
        let (aad, sealed) = rest.split_at_checked(at)?;
        Some(Self {
            sequence,
            is_notice,
            nonce,
            aad,
            sealed,
            tag: *tag,
        })
    }
}

/// Writes everything of a frame before its sealed part; returns how many bytes.
pub(super) fn write_clear(
    out: &mut [u8],
    len: usize,
    journal: JournalId,
    (sequence, time, nonce): (u64, UnixSeconds, &[u8; NONCE_LEN]),
    body: &Body<'_>,
) -> Result<usize, CodecError> {
    let kind = match body {
        Body::Payment(_) => Kind::Payment,
        Body::Notice(_) => Kind::Notice,
    };
    let end = len
        .checked_sub(body.sealed_len() + TAG_LEN + CRC_LEN)
        .ok_or(CodecError::NoRoom { at: 0 })?;
    let out = out.get_mut(..end).ok_or(CodecError::NoRoom { at: 0 })?;
    let mut writer = Writer::new(out);
    prefix(&mut writer, kind, len, journal)?;
    writer.u64(sequence)?;
    writer.u64(time.0)?;
    writer.put(nonce)?;
    match body {
        Body::Payment(part) => part.write(&mut writer)?,
        Body::Notice(notice) => notice.write(&mut writer)?,
    }
    let at = writer.len();
    out.get_mut(at..).unwrap_or_default().fill(0);
    Ok(end)
}

/// Puts the CRC behind an item that is whole but for it.
pub(super) fn put_crc(item: &mut [u8]) -> Result<(), CodecError> {
    let (before, crc) = item
        .split_last_chunk_mut::<CRC_LEN>()
        .ok_or(CodecError::NoRoom { at: 0 })?;
    *crc = crc32(before).to_be_bytes();
    Ok(())
}

/// Any item whose prefix and CRC are right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    pub(super) journal: JournalId,
    pub(super) bytes: &'a [u8],
}

impl<'a> Item<'a> {
    /// The item at the front of `bytes` and what follows it.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (kind, len) = look(bytes)?;
        let (own, rest) = bytes.split_at_checked(len)?;
        let (before, crc) = own.split_last_chunk::<CRC_LEN>()?;
        if crc32(before).to_be_bytes() != *crc {
            return None;
        }
        let mut reader = Reader::new(own);
        reader.take(4).ok()?;
        let journal = JournalId(reader.array().ok()?);
        Some((
            Self {
                kind,
                journal,
                bytes: own,
            },
            rest,
        ))
    }

    /// An item whose CRC was checked before.
    pub(super) fn trusted(bytes: &'a [u8]) -> Option<Self> {
        let (kind, _) = look(bytes)?;
        let (_, rest) = bytes.split_first_chunk::<4>()?;
        let journal = JournalId(*rest.first_chunk()?);
        Some(Self {
            kind,
            journal,
            bytes,
        })
    }

    pub(super) fn before_crc(&self) -> Result<&'a [u8], CodecError> {
        self.bytes
            .split_last_chunk::<CRC_LEN>()
            .map(|(before, _)| before)
            .ok_or(CodecError::Truncated { at: 0 })
    }

    fn two_numbers(&self) -> Option<(u64, u64)> {
        let mut reader = Reader::new(self.before_crc().ok()?);
        reader.take(PREFIX_LEN).ok()?;
        let numbers = (reader.u64().ok()?, reader.u64().ok()?);
        reader.finish().ok()?;
        Some(numbers)
    }

    /// First sequence number and count of a gap.
    pub(super) fn gap(&self) -> Option<(u64, u64)> {
        if self.kind == Kind::Gap {
            self.two_numbers()
        } else {
            None
        }
    }

    /// Number and first sequence number of a page.
    pub(super) fn page(&self) -> Option<(u64, u64)> {
        if self.kind == Kind::Page {
            self.two_numbers()
        } else {
            None
        }
    }

    /// Count and aggregate of a trailer.
    pub(super) fn trailer(&self) -> Option<(u64, [u8; AGGREGATE_LEN])> {
        if self.kind != Kind::Trailer {
            return None;
        }
        let mut reader = Reader::new(self.before_crc().ok()?);
        reader.take(PREFIX_LEN).ok()?;
        let fields = (reader.u64().ok()?, reader.array().ok()?);
        reader.finish().ok()?;
        Some(fields)
    }

    /// Identity and first sequence number of an upload header.
    pub(super) fn header(&self) -> Option<(Identity, u64)> {
        if self.kind != Kind::Header {
            return None;
        }
        let mut reader = Reader::new(self.before_crc().ok()?);
        reader.take(PREFIX_LEN).ok()?;
        let (base_version, epoch) = (reader.u32().ok()?, reader.u32().ok()?);
        let first = reader.u64().ok()?;
        let terminal = prefixed(&mut reader).ok()?;
        reader.finish().ok()?;
        let identity = Identity::new(terminal, epoch, base_version).ok()?;
        Some((identity, first))
    }
}

/// Kind and length of what may be an item at the front of `bytes`; checks no CRC.
pub(super) fn look(bytes: &[u8]) -> Option<(Kind, usize)> {
    let (&[version, kind, high, low], _) = bytes.split_first_chunk::<4>()?;
    let kind = Kind::from_number(kind)?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let range = match kind {
        Kind::Payment | Kind::Notice => HEAD_LEN + TAG_LEN + CRC_LEN..=FRAME_MAX_LEN,
        Kind::Header => HEADER_MAX_LEN - TERMINAL_MAX_LEN..=HEADER_MAX_LEN,
        Kind::Trailer => TRAILER_LEN..=TRAILER_LEN,
        Kind::Gap | Kind::Page => GAP_LEN..=GAP_LEN,
        Kind::Copy => COPY_MIN_LEN..=COPY_MAX_LEN,
    };
    (version == VERSION && range.contains(&len)).then_some((kind, len))
}

pub(super) fn write_header(
    out: &mut [u8; HEADER_MAX_LEN],
    journal: JournalId,
    identity: &Identity,
    first: u64,
) -> Result<usize, CodecError> {
    let terminal = identity.terminal();
    let len = HEADER_MAX_LEN - TERMINAL_MAX_LEN + terminal.len();
    let out = out.get_mut(..len).ok_or(CodecError::NoRoom { at: 0 })?;
    let mut writer = Writer::new(out);
    prefix(&mut writer, Kind::Header, len, journal)?;
    writer.u32(identity.base_version)?;
    writer.u32(identity.epoch)?;
    writer.u64(first)?;
    writer.prefixed(terminal)?;
    put_crc(out)?;
    Ok(len)
}

pub(super) fn write_trailer(
    journal: JournalId,
    count: u64,
    aggregate: &[u8; AGGREGATE_LEN],
) -> Result<[u8; TRAILER_LEN], CodecError> {
    let mut out = [0; TRAILER_LEN];
    let mut writer = Writer::new(&mut out);
    prefix(&mut writer, Kind::Trailer, TRAILER_LEN, journal)?;
    writer.u64(count)?;
    writer.put(aggregate)?;
    put_crc(&mut out)?;
    Ok(out)
}

pub(super) fn write_gap(
    journal: JournalId,
    first: u64,
    count: u64,
) -> Result<[u8; GAP_LEN], CodecError> {
    write_two_numbers(Kind::Gap, journal, first, count)
}

pub(super) fn write_page(
    journal: JournalId,
    number: u64,
    first: u64,
) -> Result<[u8; PAGE_HEADER_LEN], CodecError> {
    write_two_numbers(Kind::Page, journal, number, first)
}

fn write_two_numbers(
    kind: Kind,
    journal: JournalId,
    one: u64,
    other: u64,
) -> Result<[u8; GAP_LEN], CodecError> {
    let mut out = [0; GAP_LEN];
    let mut writer = Writer::new(&mut out);
    prefix(&mut writer, kind, GAP_LEN, journal)?;
    writer.u64(one)?;
    writer.u64(other)?;
    put_crc(&mut out)?;
    Ok(out)
}

pub(super) fn prefix(
    writer: &mut Writer<'_>,
    kind: Kind,
    len: usize,
    journal: JournalId,
) -> Result<(), CodecError> {
    writer.u8(VERSION)?;
    writer.u8(kind.number())?;
    writer.u16(u16::try_from(len).map_err(|_| CodecError::NoRoom { at: 2 })?)?;
    writer.put(&journal.0)
}

fn prefixed<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], CodecError> {
    let len = usize::from(reader.u8()?);
    reader.take(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_read(mut bytes: Vec<u8>, kind in 0_u8..8, fixed: bool) {
            if fixed && bytes.len() >= 20 {
                // Past the prefix and the CRC, into the fields.
                let len = bytes.len();
                bytes[0] = VERSION;
                bytes[1] = kind;
                bytes[2..4].copy_from_slice(&u16::try_from(len).unwrap_or(0).to_be_bytes());
                let _ = put_crc(&mut bytes);
            }
            let _ = Frame::parse(&bytes);
            if let Some((item, _)) = Item::split(&bytes) {
                let _ = (item.gap(), item.page(), item.trailer(), item.header());
            }
        }
    }

    #[test]
    fn items_read_back() {
        let journal = JournalId([7; 8]);
        let identity = Identity::new(b"T1", 2, 3).unwrap();
        let mut out = [0; HEADER_MAX_LEN];
        let len = write_header(&mut out, journal, &identity, 9).unwrap();
        let (item, rest) = Item::split(&out[..len]).unwrap();
        assert_eq!((item.header(), rest.len()), (Some((identity, 9)), 0));
        let trailer = write_trailer(journal, 5, &[1; 32]).unwrap();
        assert_eq!(
            Item::split(&trailer).unwrap().0.trailer(),
            Some((5, [1; 32]))
        );
        let gap = write_gap(journal, 5, 6).unwrap();
        assert_eq!(Item::split(&gap).unwrap().0.gap(), Some((5, 6)));
        let page = write_page(journal, 5, 6).unwrap();
        assert_eq!(Item::split(&page).unwrap().0.page(), Some((5, 6)));
        assert_eq!(Item::split(&page).unwrap().0.gap(), None);
    }
}
