//! Fingerprints and vaultless tokens, for hosts.

use core::ffi::c_char;

use subtle::ConstantTimeEq;

use super::call::{Call, border};
use super::card::cardvault_card;
use super::handle::{Handle, fits};
use super::result::{Refusal, cardvault_result};
use super::ring::cardvault_ring;
use crate::UnixSeconds;
use crate::card::CardRecord;
use crate::fingerprint::{FINGERPRINT_LEN, Fingerprint, Fingerprinter};
use crate::token::{
    KeepFirst, KeepLast, TOKEN_MAX_TEXT, Token, Vaultless, VaultlessFormat, VaultlessOpener,
};

/// Size of a fingerprinter, in bytes.
pub const CARDVAULT_FINGERPRINTER_SIZE: usize = 256;
/// Size of a maker of vaultless tokens, in bytes.
pub const CARDVAULT_VAULTLESS_SIZE: usize = 2560;
/// Length of a fingerprint, in bytes.
pub const CARDVAULT_FINGERPRINT_LEN: usize = 32;
/// Room for the text of any token, with the zero behind it.
pub const CARDVAULT_TOKEN_TEXT_SIZE: usize = 39;

const _: () = assert!(CARDVAULT_FINGERPRINT_LEN == FINGERPRINT_LEN);
const _: () = assert!(CARDVAULT_TOKEN_TEXT_SIZE == TOKEN_MAX_TEXT + 1);

/// HOST ONLY. Makes fingerprints of cards in one domain under one index version. In the caller's
/// memory, which must be zeroed before its first use; closing wipes it. Threads may share one.
#[repr(C, align(16))]
pub struct cardvault_fingerprinter {
    opaque: [u8; CARDVAULT_FINGERPRINTER_SIZE],
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_fingerprinter {
    type Inner = Fingerprinter;
    const KIND: usize = super::CARDVAULT_KIND_FINGERPRINTER as usize;
}

const _: () = fits::<cardvault_fingerprinter>();

/// HOST ONLY. Makes and opens vaultless tokens of one domain and format. In the caller's memory,
/// which must be zeroed before its first use; closing wipes it. Threads may share one.
#[repr(C, align(16))]
pub struct cardvault_vaultless {
    opaque: [u8; CARDVAULT_VAULTLESS_SIZE],
}

/// What lies in a [`cardvault_vaultless`].
pub(super) enum Maker {
    /// Under the active key.
    Active(Vaultless),
    /// Under an older key that is live: opens alone.
    Older(VaultlessOpener),
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_vaultless {
    type Inner = Maker;
    const KIND: usize = super::CARDVAULT_KIND_VAULTLESS as usize;
}

const _: () = fits::<cardvault_vaultless>();

impl Call {
    pub(super) fn token(&self, token: *const c_char, len: usize) -> Result<Token, Refusal> {
        let text = core::str::from_utf8(self.text(token, len)?);
        Ok(Token::parse(text.map_err(|_| cardvault_result::TOKEN)?)?)
    }
}

/// Digits that card-shaped tokens keep at their ends: `first` 0, 6 or 8, `last` 0 or 4.
pub(super) fn kept(first: u8, last: u8) -> Result<(KeepFirst, KeepLast), Refusal> {
    let first = match first {
        0 => KeepFirst::None,
        6 => KeepFirst::Six,
        8 => KeepFirst::Eight,
        _ => return Err(cardvault_result::VALUE.into()),
    };
    let last = match last {
        0 => KeepLast::None,
        4 => KeepLast::Four,
        _ => return Err(cardvault_result::VALUE.into()),
    };
    Ok((first, last))
}

/// HOST ONLY. Makes a fingerprinter for an index version of a domain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_fingerprinter_open(
    fingerprinter: *mut cardvault_fingerprinter,
    ring: *const cardvault_ring,
    domain: *const u8,
    domain_len: usize,
    version: u32,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(fingerprinter)?;
        let domain = call.domain(domain, domain_len)?;
        let ring = call.shared(ring)?;
        place.put(Fingerprinter::new(&ring.fingerprint_key(&domain, version)?));
        Ok(())
    })
}

/// HOST ONLY. Writes the fingerprint of a card's number: `CARDVAULT_FINGERPRINT_LEN` bytes. The
/// same card has the same fingerprint, also with another expiry. Constant time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_fingerprint(
    fingerprinter: *const cardvault_fingerprinter,
    card: *const cardvault_card,
    out: *mut u8,
    out_len: usize,
) -> cardvault_result {
    border!(|call| {
        let room = call.room(out, out_len)?;
        let card = call.shared(card)?;
        let found = call.shared(fingerprinter)?.fingerprint(&card.record.pan);
        room.put(found.as_bytes())
    })
}

/// HOST ONLY. Writes 1 to `equal` if the stored fingerprint is the card's, else 0. Constant time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_fingerprint_compare(
    fingerprinter: *const cardvault_fingerprinter,
    card: *const cardvault_card,
    stored: *const u8,
    stored_len: usize,
    equal: *mut u8,
) -> cardvault_result {
    border!(|call| {
        let equal = call.out(equal)?;
        let stored = call.fingerprint(stored, stored_len)?;
        let card = call.shared(card)?;
        let found = call.shared(fingerprinter)?.fingerprint(&card.record.pan);
        equal.set(found.ct_eq(&stored).unwrap_u8());
        Ok(())
    })
}

impl Call {
    fn fingerprint(&self, bytes: *const u8, len: usize) -> Result<Fingerprint, Refusal> {
        let bytes = self.bytes(bytes, len)?;
        let bytes = bytes.try_into().map_err(|_| cardvault_result::LENGTH)?;
        Ok(Fingerprint::from_bytes(bytes))
    }
}

/// Ends a fingerprinter and wipes its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_fingerprinter_close(
    fingerprinter: *mut cardvault_fingerprinter,
) -> cardvault_result {
    border!(|call| call.close(fingerprinter))
}

/// HOST ONLY. Makes a maker of tokens that keep the first 0, 6 or 8 and the last 0 or 4 digits of
/// numbers of at least `shortest` digits. `generation` 0: under the key that is active at `now`;
/// else it opens tokens of that generation and makes none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vaultless_open(
    vaultless: *mut cardvault_vaultless,
    ring: *const cardvault_ring,
    domain: *const u8,
    domain_len: usize,
    first: u8,
    last: u8,
    shortest: u8,
    generation: u32,
    now: u64,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(vaultless)?;
        let domain = call.domain(domain, domain_len)?;
        let (first, last) = kept(first, last)?;
        let format = VaultlessFormat::new(first, last, usize::from(shortest))?;
        let ring = call.shared(ring)?;
        place.put(if generation == 0 {
            let key = ring.vaultless_key(&domain, UnixSeconds(now))?;
            Maker::Active(Vaultless::new(format, &key))
        } else {
            let key = ring.vaultless_key_of(&domain, generation)?;
            Maker::Older(VaultlessOpener::new(format, &key))
        });
        Ok(())
    })
}

/// HOST ONLY. Writes a card's token and a zero: as many digits as the number has, which never pass
/// the Luhn check. `CARDVAULT_TOKEN_TEXT_SIZE` bytes are always enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vaultless_tokenize(
    vaultless: *const cardvault_vaultless,
    card: *const cardvault_card,
    out: *mut c_char,
    out_len: usize,
) -> cardvault_result {
    border!(|call| {
        let room = call.text_room(out, out_len)?;
        let card = call.shared(card)?;
        let maker = call.shared(vaultless)?;
        let Maker::Active(maker) = &*maker else {
            return Err(cardvault_result::KEY_STATE.into());
        };
        let token = maker.tokenize(&card.record.pan)?;
        room.put_text(token.text().as_str())
    })
}

/// HOST ONLY. Opens a token, and gives its card if the stored fingerprint is the card's; else
/// `CARDVAULT_RESULT_OTHER_CARD`: any digits open to some card number, so that a token alone proves
/// nothing. The caller closes the card.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vaultless_detokenize(
    vaultless: *const cardvault_vaultless,
    token: *const c_char,
    token_len: usize,
    fingerprinter: *const cardvault_fingerprinter,
    stored: *const u8,
    stored_len: usize,
    card: *mut cardvault_card,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(card)?;
        let token = call.token(token, token_len)?;
        let stored = call.fingerprint(stored, stored_len)?;
        let fingerprinter = call.shared(fingerprinter)?;
        let maker = call.shared(vaultless)?;
        let candidate = match &*maker {
            Maker::Active(maker) => maker.open(&token)?,
            Maker::Older(opener) => opener.open(&token)?,
        };
        let pan = candidate
            .confirm(|pan| fingerprinter.fingerprint(pan).ct_eq(&stored).into())
            .ok_or(cardvault_result::OTHER_CARD)?;
        place.put(CardRecord::new(pan).into());
        Ok(())
    })
}

/// Ends a maker of tokens and wipes its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vaultless_close(
    vaultless: *mut cardvault_vaultless,
) -> cardvault_result {
    border!(|call| call.close(vaultless))
}
