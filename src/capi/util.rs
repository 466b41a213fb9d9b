//! What belongs to no object: the version, sizes of objects, wiping.

use core::ffi::{c_char, c_void};

use super::call::border;
use super::result::cardvault_result;
#[cfg(feature = "embedded")]
use super::vault::{CARDVAULT_VAULT_SIZE, cardvault_vault};
use super::{card, journal, reading, ring, seal, token};

/// How every opaque structure is aligned, in bytes.
pub const CARDVAULT_HANDLE_ALIGN: usize = 16;

/// The objects by number, for programs that cannot use the structures of the header:
/// `cardvault_card`.
pub const CARDVAULT_KIND_CARD: u32 = 1;
/// `cardvault_ring`.
pub const CARDVAULT_KIND_RING: u32 = 2;
/// `cardvault_sealer`.
pub const CARDVAULT_KIND_SEALER: u32 = 3;
/// `cardvault_opener`.
pub const CARDVAULT_KIND_OPENER: u32 = 4;
/// `cardvault_journal`.
pub const CARDVAULT_KIND_JOURNAL: u32 = 5;
/// `cardvault_fingerprinter`.
pub const CARDVAULT_KIND_FINGERPRINTER: u32 = 6;
/// `cardvault_vaultless`.
pub const CARDVAULT_KIND_VAULTLESS: u32 = 7;
/// `cardvault_reading`.
pub const CARDVAULT_KIND_READING: u32 = 8;
/// `cardvault_vault`, in builds with the embedded store.
pub const CARDVAULT_KIND_VAULT: u32 = 9;

/// How many bytes an object of this kind takes; 0 for another number. The alignment is
/// `CARDVAULT_HANDLE_ALIGN`.
#[unsafe(no_mangle)]
pub extern "C" fn cardvault_handle_size(kind: u32) -> usize {
    match kind {
        CARDVAULT_KIND_CARD => size_of::<card::cardvault_card>(),
        CARDVAULT_KIND_RING => size_of::<ring::cardvault_ring>(),
        CARDVAULT_KIND_SEALER => size_of::<seal::cardvault_sealer>(),
        CARDVAULT_KIND_OPENER => size_of::<seal::cardvault_opener>(),
        CARDVAULT_KIND_JOURNAL => size_of::<journal::cardvault_journal>(),
        CARDVAULT_KIND_FINGERPRINTER => size_of::<token::cardvault_fingerprinter>(),
        CARDVAULT_KIND_VAULTLESS => size_of::<token::cardvault_vaultless>(),
        CARDVAULT_KIND_READING => size_of::<reading::cardvault_reading>(),
        #[cfg(feature = "embedded")]
        CARDVAULT_KIND_VAULT => size_of::<cardvault_vault>(),
        _ => 0,
    }
}

/// The alignment of every object, for programs that cannot use the header.
#[unsafe(no_mangle)]
pub extern "C" fn cardvault_handle_align() -> usize {
    CARDVAULT_HANDLE_ALIGN
}

/// The version of the library, such as `0.1.0`: ASCII that ends with a zero and is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn cardvault_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Overwrites `len` bytes with zeros, so that the compiler cannot leave it out: for clear card
/// numbers, key components and chain keys in the caller's memory. Null is allowed if `len` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_wipe(bytes: *mut c_void, len: usize) -> cardvault_result {
    border!(|call| {
        if len == 0 {
            return Ok(());
        }
        call.room(bytes.cast(), len)?.wipe()
    })
}

#[cfg(feature = "embedded")]
const _: () = assert!(size_of::<cardvault_vault>() == CARDVAULT_VAULT_SIZE);
