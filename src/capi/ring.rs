//! The key ring: opened from its sealed form; made and sealed at a host.

use core::array;
use core::ffi::c_char;

use super::call::{Call, Plain, border};
use super::callbacks::cardvault_random;
use super::handle::{Handle, Place, fits};
use super::result::{Refusal, cardvault_result};
use crate::UnixSeconds;
use crate::keys::{
    CHECK_VALUE_LEN, COMPONENTS_MAX, COMPONENTS_MIN, CheckValue, Component, Cryptoperiod, Domain,
    Kek, KeyName, KeyRing, KeyUse, RingMark,
};
use crate::seal::{MAX_SEALED_RING, RingHeader, open_ring_with_kek_into, seal_ring_with_kek};
use crate::secret::Secret;

/// Size of a key ring, in bytes.
pub const CARDVAULT_RING_SIZE: usize = 8192;
/// Room for any sealed ring, in bytes.
pub const CARDVAULT_SEALED_RING_MAX_LEN: usize = 8192;
/// Length of a check value, in bytes.
pub const CARDVAULT_CHECK_VALUE_LEN: usize = 3;
/// The longest domain, in bytes. The shortest is 1.
pub const CARDVAULT_DOMAIN_MAX_LEN: usize = 32;
/// Seals card records.
pub const CARDVAULT_USE_CARD: u32 = 1;
/// Fingerprints card numbers.
pub const CARDVAULT_USE_INDEX: u32 = 2;
/// Makes and opens vaultless tokens.
pub const CARDVAULT_USE_VAULTLESS: u32 = 3;
/// Makes irreversible tokens.
pub const CARDVAULT_USE_IRREVERSIBLE: u32 = 4;
/// Gives terminals the chain keys of their journals.
pub const CARDVAULT_USE_JOURNAL: u32 = 5;
/// Binds the rows of the ledger.
pub const CARDVAULT_USE_LEDGER: u32 = 6;
/// Seals archives of a vault and its ledger.
pub const CARDVAULT_USE_ARCHIVE: u32 = 7;
/// Gives writers of audit logs their chain keys.
pub const CARDVAULT_USE_AUDIT: u32 = 8;
/// A ring for test cards.
pub const CARDVAULT_DEVELOPMENT: u32 = 0;
/// A ring for real cards.
pub const CARDVAULT_PRODUCTION: u32 = 1;

const _: () = assert!(CARDVAULT_SEALED_RING_MAX_LEN >= MAX_SEALED_RING);
const _: () = assert!(CARDVAULT_CHECK_VALUE_LEN == CHECK_VALUE_LEN);
const _: () = assert!(CARDVAULT_DOMAIN_MAX_LEN == crate::keys::DOMAIN_MAX_LEN);

/// A key ring, open: it holds the roots of all keys.
///
/// In the caller's memory, which must be zeroed before its first use. Close it as soon as the
/// sealers, openers and the like that are needed were made; they do not need it any more. Closing
/// wipes it. Functions that take it as `const` may run at the same time.
#[repr(C, align(16))]
pub struct cardvault_ring {
    opaque: [u8; CARDVAULT_RING_SIZE],
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_ring {
    type Inner = KeyRing;
    const KIND: usize = super::CARDVAULT_KIND_RING as usize;
}

const _: () = fits::<cardvault_ring>();

/// A text of a given length; no zero is needed behind it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cardvault_text {
    /// The first character.
    pub text: *const c_char,
    /// How many characters there are.
    pub len: usize,
}

// SAFETY: a pointer that may be null and an integer.
unsafe impl Plain for cardvault_text {}

impl Call {
    pub(super) fn domain(&self, domain: *const u8, len: usize) -> Result<Domain, Refusal> {
        Ok(Domain::new(self.bytes(domain, len)?)?)
    }

    /// The KEK of 2 to 8 components in their text form.
    fn kek(
        &self,
        components: *const cardvault_text,
        count: usize,
        check_value: *const u8,
    ) -> Result<Kek, Refusal> {
        let none = cardvault_text {
            text: core::ptr::null(),
            len: 0,
        };
        if !(COMPONENTS_MIN..=COMPONENTS_MAX).contains(&count) {
            return Err(cardvault_result::COMPONENTS.into());
        }
        let mut texts = [none; COMPONENTS_MAX];
        let given = texts.get_mut(..count).ok_or(cardvault_result::COMPONENTS)?;
        self.read_all(components, given)?;
        let check_value = if check_value.is_null() {
            None
        } else {
            Some(CheckValue::from_bytes(self.array(check_value)?))
        };
        // The places behind the last component are filled with the first one, and cut off again.
        let first = texts.first().copied().unwrap_or(none);
        let parsed: [Result<Component, Refusal>; COMPONENTS_MAX] = array::from_fn(|place| {
            let text = texts.get(place).filter(|_| place < count).unwrap_or(&first);
            Ok(Component::parse(self.text(text.text, text.len)?)?)
        });
        let [a, b, c, d, e, f, g, h] = parsed;
        let all = [a?, b?, c?, d?, e?, f?, g?, h?];
        let components = all.get(..count).unwrap_or_default();
        Ok(Kek::combine(components, check_value)?)
    }
}

/// Opens a ring that is sealed under a KEK of 2 to 8 components, each in its text form (16 groups
/// of hexadecimal digits and a check value, as `cardvault init --new-component` prints it).
/// `check_value` is the KEK's, of `CARDVAULT_CHECK_VALUE_LEN` bytes, or null.
///
/// The caller wipes the components. Takes a copy of `sealed` on the stack, of
/// `CARDVAULT_SEALED_RING_MAX_LEN` bytes; `cardvault_ring_open_in_place` does not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_ring_open(
    ring: *mut cardvault_ring,
    sealed: *const u8,
    sealed_len: usize,
    components: *const cardvault_text,
    count: usize,
    check_value: *const u8,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(ring)?;
        let sealed = call.bytes(sealed, sealed_len)?;
        let kek = call.kek(components, count, check_value)?;
        // What is longer than the buffer is no sealed ring.
        RingHeader::read(sealed)?;
        let mut copy = Secret::<MAX_SEALED_RING>::zeroed();
        let copy = copy.expose_mut().get_mut(..sealed.len());
        let copy = copy.ok_or(cardvault_result::INTERNAL)?;
        copy.copy_from_slice(sealed);
        open_in_place(place, copy, &kek)
    })
}

/// Opens a ring as `cardvault_ring_open` does, for firmware: on less than 4 KiB of stack. `sealed`
/// is a copy in RAM, in which the ring is decrypted: the ciphertext in it is overwritten with zeros,
/// unless the ring is refused before that. Keep the sealed ring elsewhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_ring_open_in_place(
    ring: *mut cardvault_ring,
    sealed: *mut u8,
    sealed_len: usize,
    components: *const cardvault_text,
    count: usize,
    check_value: *const u8,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(ring)?;
        let kek = call.kek(components, count, check_value)?;
        open_in_place(place, call.bytes_in_place(sealed, sealed_len)?, &kek)
    })
}

fn open_in_place(
    place: Place<'_, cardvault_ring>,
    sealed: &mut [u8],
    kek: &Kek,
) -> Result<(), Refusal> {
    place.fill(KeyRing::blank, |ring| {
        Ok(open_ring_with_kek_into(sealed, kek, ring)?)
    })
}

/// Ends a ring and wipes its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_ring_close(ring: *mut cardvault_ring) -> cardvault_result {
    border!(|call| call.close(ring))
}

/// HOST ONLY. Makes an empty ring: `CARDVAULT_DEVELOPMENT` or `CARDVAULT_PRODUCTION`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_ring_create(
    ring: *mut cardvault_ring,
    mark: u32,
    random: *const cardvault_random,
) -> cardvault_result {
    border!(|call| {
        let place = call.place(ring)?;
        let mark = match mark {
            CARDVAULT_DEVELOPMENT => RingMark::Development,
            CARDVAULT_PRODUCTION => RingMark::Production,
            _ => return Err(cardvault_result::VALUE.into()),
        };
        place.put(KeyRing::new(mark, &mut call.random(random)?)?);
        Ok(())
    })
}

/// The use of a number of the header.
fn key_use(number: u32) -> Result<KeyUse, Refusal> {
    let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
    let found = index.and_then(|index| KeyUse::ALL.get(index).copied());
    found.ok_or(cardvault_result::VALUE.into())
}

/// HOST ONLY. Draws the root of a new version of a use, with the default cryptoperiod of that use,
/// and writes its number to `version`. It protects nothing before it is activated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_ring_add(
    ring: *mut cardvault_ring,
    usage: u32,
    now: u64,
    random: *const cardvault_random,
    version: *mut u32,
) -> cardvault_result {
    border!(|call| {
        let version = call.out(version)?;
        let usage = key_use(usage)?;
        let mut random = call.random(random)?;
        let mut ring = call.exclusive(ring)?;
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, UnixSeconds(now), &mut random)?;
        version.set(name.version);
        Ok(())
    })
}

/// HOST ONLY. Puts a version into use; the one before it is deactivated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_ring_activate(
    ring: *mut cardvault_ring,
    usage: u32,
    version: u32,
    now: u64,
) -> cardvault_result {
    border!(|call| {
        let name = KeyName::new(key_use(usage)?, version);
        call.exclusive(ring)?.activate(name, UnixSeconds(now))?;
        Ok(())
    })
}

/// HOST ONLY. Seals a ring for storage under a KEK of 2 to 8 components, into `out`, and writes
/// the length to `written`. `CARDVAULT_SEALED_RING_MAX_LEN` bytes are always enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_ring_seal(
    ring: *const cardvault_ring,
    components: *const cardvault_text,
    count: usize,
    random: *const cardvault_random,
    out: *mut u8,
    out_len: usize,
    written: *mut usize,
) -> cardvault_result {
    border!(|call| {
        let written = call.out(written)?;
        let room = call.room(out, out_len)?;
        let ring = call.shared(ring)?;
        let kek = call.kek(components, count, core::ptr::null())?;
        let mut sealed = [0; MAX_SEALED_RING];
        let len = seal_ring_with_kek(&ring, &kek, &mut call.random(random)?, &mut sealed)?;
        room.put(sealed.get(..len).unwrap_or_default())?;
        written.set(len);
        Ok(())
    })
}
