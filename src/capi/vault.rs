//! The vault over the embedded store.

use core::ffi::c_char;
use std::path::Path;

use super::call::{Call, border};
use super::card::cardvault_card;
use super::handle::{Handle, fits};
use super::result::{Refusal, cardvault_result};
use super::ring::cardvault_ring;
use super::token::kept;
use crate::UnixSeconds;
use crate::token::VaultedFormat;
use crate::vault::{
    Access, AccessError, BlockingVault, Embedded, EmbeddedOptions, FileLog, StoreError, Tokenize,
    VaultError,
};

/// Size of a vault, in bytes.
pub const CARDVAULT_VAULT_SIZE: usize = 64;
/// The store is made if it is not there.
pub const CARDVAULT_VAULT_CREATE: u32 = 1;
/// Another token each time, in place of the same for the same card.
pub const CARDVAULT_TOKENIZE_FRESH: u32 = 1;
/// A token of digits, in place of an opaque one.
pub const CARDVAULT_TOKENIZE_CARD_SHAPED: u32 = 2;

/// HOST ONLY, in builds with the embedded store. A vault of cards behind tokens, in a folder. In
/// the caller's memory, which must be zeroed before its first use. Threads share one: what they
/// write at the same time is committed together. `cardvault_vault_close` commits what is queued
/// and closes the file; a process must call it before it forgets the memory.
#[repr(C, align(16))]
pub struct cardvault_vault {
    opaque: [u8; CARDVAULT_VAULT_SIZE],
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_vault {
    type Inner = BlockingVault<Embedded>;
    const KIND: usize = super::CARDVAULT_KIND_VAULT as usize;
}

const _: () = fits::<cardvault_vault>();

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::AlreadyOpen => cardvault_result::STORE_OPEN,
            StoreError::AlreadyExists => cardvault_result::STORE_EXISTS,
            StoreError::Full => cardvault_result::STORE_FULL,
            // Settings, TLS and refusals are the store's on PostgreSQL, which C does not have.
            StoreError::Io(_)
            | StoreError::BadSetting
            | StoreError::NoTls
            | StoreError::Untrusted
            | StoreError::Refused { .. } => cardvault_result::STORE_FAILED,
            StoreError::Poisoned | StoreError::Closed => cardvault_result::STORE_POISONED,
            StoreError::Corrupt => cardvault_result::STORE_CORRUPT,
            StoreError::NewerFormat { .. } => cardvault_result::NEWER_FORMAT,
            StoreError::NotAVault => cardvault_result::NOT_A_STORE,
            StoreError::GuardChanged => cardvault_result::CONFLICT,
            StoreError::Size { .. } => cardvault_result::LENGTH,
        }
        .into()
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::UnknownToken => cardvault_result::UNKNOWN_TOKEN,
            VaultError::Expired => cardvault_result::EXPIRED,
            VaultError::OtherFormat => cardvault_result::OTHER_FORMAT,
            VaultError::Tampered => cardvault_result::TAMPERED,
            VaultError::NewerFormat { .. } => cardvault_result::NEWER_FORMAT,
            VaultError::Unopenable { .. } => cardvault_result::UNOPENABLE,
            VaultError::TokensUsedUp => cardvault_result::TOKENS_USED_UP,
            VaultError::Conflict => cardvault_result::CONFLICT,
            VaultError::OtherRing => cardvault_result::OTHER_RING,
            VaultError::StaleRing { .. } | VaultError::ForkedRing { .. } => {
                cardvault_result::STALE_RING
            }
            VaultError::IndexNotFilled { .. }
            | VaultError::NotFilling
            | VaultError::FillUnfinished { .. } => cardvault_result::INDEX_NOT_FILLED,
            VaultError::OtherToken { .. } => cardvault_result::CONFLICT,
            VaultError::KeyNeeded { .. } | VaultError::KeyElsewhere { .. } => {
                cardvault_result::KEY_STATE
            }
            VaultError::RestoreUnfinished => cardvault_result::RESTORE_UNFINISHED,
            VaultError::Broken => cardvault_result::STORE_POISONED,
            VaultError::Key(error) => return error.into(),
            VaultError::Seal(error) => return error.into(),
            VaultError::Token(error) => return error.into(),
            VaultError::Random(error) => return error.into(),
            VaultError::Store(error) => return error.into(),
            VaultError::Refused(_) | VaultError::Retention(_) => {
                cardvault_result::REFUSED_BY_POLICY
            }
            VaultError::Log(_) => cardvault_result::LOG_FAILED,
        }
        .into()
    }
}

impl From<AccessError> for Refusal {
    fn from(_: AccessError) -> Self {
        cardvault_result::ACCESS.into()
    }
}

impl Call {
    fn utf8(
        &self,
        (text, len): (*const c_char, usize),
        refused: cardvault_result,
    ) -> Result<&str, Refusal> {
        let text = core::str::from_utf8(self.text(text, len)?);
        text.map_err(|_| refused.into())
    }

    fn access(
        &self,
        [actor, purpose, origin]: [(*const c_char, usize); 3],
    ) -> Result<Access, Refusal> {
        let refused = cardvault_result::ACCESS;
        let (actor, purpose) = (self.utf8(actor, refused)?, self.utf8(purpose, refused)?);
        Ok(Access::new(actor, purpose, self.utf8(origin, refused)?)?)
    }
}

/// HOST ONLY. Opens the vault in a folder, with its access log in a file. `flags`: 0 or
/// `CARDVAULT_VAULT_CREATE`. Paths are UTF-8. Takes the ring over: it is closed as soon as the store
/// is open, also if the vault then refuses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vault_open(
    vault: *mut cardvault_vault,
    folder: *const c_char,
    folder_len: usize,
    log: *const c_char,
    log_len: usize,
    ring: *mut cardvault_ring,
    flags: u32,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(vault)?;
        let refused = cardvault_result::PATH;
        let folder = Path::new(call.utf8((folder, folder_len), refused)?);
        let log = Path::new(call.utf8((log, log_len), refused)?);
        if flags > CARDVAULT_VAULT_CREATE {
            return Err(cardvault_result::VALUE.into());
        }
        let log = FileLog::open(log).map_err(|_| cardvault_result::LOG_FAILED)?;
        let options = EmbeddedOptions::default();
        let made = (flags == CARDVAULT_VAULT_CREATE).then(|| Embedded::create(folder, &options));
        let store = match made {
            None | Some(Err(StoreError::AlreadyExists)) => Embedded::open(folder, &options)?,
            Some(made) => made?,
        };
        let ring = call.take(ring)?;
        place.put(BlockingVault::open(store, ring, log)?);
        Ok(())
    })
}

/// HOST ONLY. Gives a card its token in a domain, durably, and writes its text and a zero to `out`,
/// of at least `CARDVAULT_TOKEN_TEXT_SIZE` bytes: with fewer nothing is stored. `flags` are the `CARDVAULT_TOKENIZE`
/// numbers added up; with `CARDVAULT_TOKENIZE_CARD_SHAPED` the token keeps the first 0, 6 or 8 and
/// the last 0 or 4 digits, else both are 0. `expires` is 0, or the second from which on the token is
/// refused. `existing`, which may be null, gets 1 if the card had the token before, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vault_tokenize(
    vault: *const cardvault_vault,
    domain: *const u8,
    domain_len: usize,
    card: *const cardvault_card,
    flags: u32,
    first: u8,
    last: u8,
    expires: u64,
    out: *mut c_char,
    out_len: usize,
    existing: *mut u8,
) -> cardvault_result {
    border!(|call| {
        let room = call.text_room(out, out_len)?;
        room.holds(super::CARDVAULT_TOKEN_TEXT_SIZE)?;
        let existing = call.optional(existing)?;
        let domain = call.domain(domain, domain_len)?;
        let card = call.shared(card)?;
        let mut how = if flags & CARDVAULT_TOKENIZE_FRESH == 0 {
            Tokenize::convergent()
        } else {
            Tokenize::fresh()
        };
        let shaped = flags & CARDVAULT_TOKENIZE_CARD_SHAPED != 0;
        if flags > 3 || (!shaped && (first, last) != (0, 0)) {
            return Err(cardvault_result::VALUE.into());
        }
        if shaped {
            let (first, last) = kept(first, last)?;
            let shortest = card.record.pan.digit_count();
            how = how.card_shaped(VaultedFormat::new(first, last, shortest)?);
        }
        if expires != 0 {
            how = how.expiring(UnixSeconds(expires));
        }
        let given = call.shared(vault)?.tokenize(&domain, &card.record, &how)?;
        room.put_text(given.token.text().as_str())?;
        if let Some(existing) = existing {
            existing.set(u8::from(given.existing));
        }
        Ok(())
    })
}

/// HOST ONLY. Gives the card of a token, which the caller closes. Who asks, for what and from where
/// stands in the access log before this returns: 1 to 64 printable characters each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vault_detokenize(
    vault: *const cardvault_vault,
    actor: *const c_char,
    actor_len: usize,
    purpose: *const c_char,
    purpose_len: usize,
    origin: *const c_char,
    origin_len: usize,
    domain: *const u8,
    domain_len: usize,
    token: *const c_char,
    token_len: usize,
    card: *mut cardvault_card,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(card)?;
        let who = [
            (actor, actor_len),
            (purpose, purpose_len),
            (origin, origin_len),
        ];
        let access = call.access(who)?;
        let domain = call.domain(domain, domain_len)?;
        let token = call.token(token, token_len)?;
        let record = call.shared(vault)?.detokenize(&access, &domain, &token)?;
        place.put(record.into());
        Ok(())
    })
}

/// HOST ONLY. Removes a token and, if it was the card's last, what is kept of the card.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vault_delete(
    vault: *const cardvault_vault,
    actor: *const c_char,
    actor_len: usize,
    purpose: *const c_char,
    purpose_len: usize,
    origin: *const c_char,
    origin_len: usize,
    domain: *const u8,
    domain_len: usize,
    token: *const c_char,
    token_len: usize,
) -> cardvault_result {
    border!(|call| {
        let who = [
            (actor, actor_len),
            (purpose, purpose_len),
            (origin, origin_len),
        ];
        let access = call.access(who)?;
        let domain = call.domain(domain, domain_len)?;
        let token = call.token(token, token_len)?;
        call.shared(vault)?.delete(&access, &domain, &token)?;
        Ok(())
    })
}

/// Ends a vault: commits what is queued and closes the file. What was acknowledged is safe in any
/// case.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_vault_close(vault: *mut cardvault_vault) -> cardvault_result {
    border!(|call| {
        if let Some(store) = call.take(vault)?.into_store() {
            store.close()?;
        }
        Ok(())
    })
}
