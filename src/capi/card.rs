//! Card numbers: reading, showing and truncating them.

use core::ffi::c_char;

use super::call::{Call, Plain, border};
use super::handle::{Handle, fits};
use super::result::{Refusal, cardvault_result};
use crate::card::{
    Brand, CARD_RECORD_LEN, CardData, CardRecord, Expiry, MaskBin, PAN_MAX_DIGITS, PAN_MAX_INPUT,
    Pan, PanSequence, ServiceCode, TruncationFormat,
};
use subtle::ConstantTimeEq;

/// Size of a card, in bytes.
pub const CARDVAULT_CARD_SIZE: usize = 80;
/// The longest card number that is read, in bytes: every digit with a separator before it.
pub const CARDVAULT_PAN_MAX_INPUT: usize = 37;
/// Room for any card number, masked or truncated number, with the zero behind it.
pub const CARDVAULT_PAN_TEXT_SIZE: usize = 20;
/// A number of a brand that issued cards which fail the Luhn check (UnionPay, enRoute) is read
/// also if it does. Not where a card-shaped token can come in: tokens fail Luhn by design.
pub const CARDVAULT_LUHN_EXEMPT: u32 = 1;
/// A mask shows the last four digits alone.
pub const CARDVAULT_MASK_LAST4: u32 = 0;
/// A mask shows the first six and last four digits.
pub const CARDVAULT_MASK_BIN6: u32 = 6;
/// A mask shows the first eight and last four digits.
pub const CARDVAULT_MASK_BIN8: u32 = 8;

const _: () = assert!(CARDVAULT_PAN_MAX_INPUT == PAN_MAX_INPUT);
const _: () = assert!(CARDVAULT_PAN_TEXT_SIZE == PAN_MAX_DIGITS + 1);
const _: () = assert!(CARD_RECORD_LEN == 16);

/// A card: the clear number, with expiry, sequence number and service code where they are known.
///
/// In the caller's memory, which must be zeroed before its first use. Whoever makes one closes it
/// with `cardvault_card_close`, which wipes it. Functions that take it as `const` may run at the
/// same time.
#[repr(C, align(16))]
pub struct cardvault_card {
    opaque: [u8; CARDVAULT_CARD_SIZE],
}

/// What lies in a [`cardvault_card`].
pub(super) struct Card {
    pub(super) record: CardRecord,
    service_code: Option<ServiceCode>,
}

// SAFETY: `fits` below; the number is this kind's.
unsafe impl Handle for cardvault_card {
    type Inner = Card;
    const KIND: usize = super::CARDVAULT_KIND_CARD as usize;
}

const _: () = fits::<cardvault_card>();

impl From<CardRecord> for Card {
    fn from(record: CardRecord) -> Self {
        Self {
            record,
            service_code: None,
        }
    }
}

/// What is known of a card. Nothing here is secret.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct cardvault_card_info {
    /// The last four digits as a number, 0 to 9999.
    pub last_four: u16,
    /// The service code, 0 to 999, if `has_service_code`.
    pub service_code: u16,
    /// How many digits the number has, 8 to 19.
    pub digits: u8,
    /// The brand's code, for `cardvault_brand_name`; it never changes its meaning.
    pub brand: u8,
    /// 1 if the number passes the Luhn check, else 0.
    pub passes_luhn: u8,
    /// 1 if the expiry is known, else 0.
    pub has_expiry: u8,
    /// The expiry's year, 0 to 99.
    pub expiry_year: u8,
    /// The expiry's month, 1 to 12.
    pub expiry_month: u8,
    /// 1 if the PAN sequence number is known, else 0.
    pub has_sequence: u8,
    /// The PAN sequence number, 0 to 99.
    pub sequence: u8,
    /// 1 if the service code is known, else 0.
    pub has_service_code: u8,
}

// SAFETY: integers.
unsafe impl Plain for cardvault_card_info {}

fn exempt(flags: u32) -> Result<&'static [Brand], Refusal> {
    match flags {
        0 => Ok(&[]),
        CARDVAULT_LUHN_EXEMPT => Ok(&Brand::LUHN_EXEMPT),
        _ => Err(cardvault_result::VALUE.into()),
    }
}

type Reader = fn(&[u8], &[Brand]) -> Result<CardData, Refusal>;

fn read_card(
    call: &Call,
    card: *mut cardvault_card,
    (input, len): (*const u8, usize),
    flags: u32,
    read: Reader,
) -> Result<(), Refusal> {
    let place = call.place(card)?;
    let data = read(call.bytes(input, len)?, exempt(flags)?)?;
    place.put(Card {
        service_code: data.service_code,
        record: data.into_record(),
    });
    Ok(())
}

/// Reads a card number of 8 to 19 digits, plain or with single spaces or dashes between them, and
/// checks it with Luhn. `flags`: 0 or `CARDVAULT_LUHN_EXEMPT`. `at` may be null; else it gets the
/// offset of the first byte that is wrong, or the length that is.
///
/// The caller wipes `input`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_parse(
    card: *mut cardvault_card,
    input: *const u8,
    input_len: usize,
    flags: u32,
    at: *mut usize,
) -> cardvault_result {
    let number: Reader = |input, exempt| {
        let pan = Pan::parse_exempting(input, exempt)?;
        Ok(CardData {
            pan,
            expiry: None,
            sequence: None,
            service_code: None,
        })
    };
    border!(at, |call| read_card(
        call,
        card,
        (input, input_len),
        flags,
        number
    ))
}

/// Reads track 1 in ASCII, with or without sentinels and check character. Discretionary data and
/// the name are checked for form and dropped. The caller wipes `track` once the authorization is
/// done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_from_track1(
    card: *mut cardvault_card,
    track: *const u8,
    track_len: usize,
    flags: u32,
    at: *mut usize,
) -> cardvault_result {
    let reader: Reader = |track, exempt| Ok(CardData::from_track1(track, exempt)?);
    border!(at, |call| read_card(
        call,
        card,
        (track, track_len),
        flags,
        reader
    ))
}

/// Reads track 2 in ASCII; otherwise as `cardvault_card_from_track1`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_from_track2(
    card: *mut cardvault_card,
    track: *const u8,
    track_len: usize,
    flags: u32,
    at: *mut usize,
) -> cardvault_result {
    let reader: Reader = |track, exempt| Ok(CardData::from_track2(track, exempt)?);
    border!(at, |call| read_card(
        call,
        card,
        (track, track_len),
        flags,
        reader
    ))
}

/// Reads BER-TLV data such as ISO 8583 field 55: tags 57, 5A, 5F24 and 5F34, templates included.
/// Tags that hold the same thing must agree. The caller wipes `tlv`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_from_emv(
    card: *mut cardvault_card,
    tlv: *const u8,
    tlv_len: usize,
    flags: u32,
    at: *mut usize,
) -> cardvault_result {
    let reader: Reader = |tlv, exempt| Ok(CardData::from_emv(tlv, exempt)?);
    border!(at, |call| read_card(
        call,
        card,
        (tlv, tlv_len),
        flags,
        reader
    ))
}

/// Reads the value of EMV tag 57, track 2 equivalent data. The caller wipes `value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_from_tag57(
    card: *mut cardvault_card,
    value: *const u8,
    value_len: usize,
    flags: u32,
    at: *mut usize,
) -> cardvault_result {
    let reader: Reader = |value, exempt| Ok(CardData::from_tag57(value, exempt)?);
    border!(at, |call| read_card(
        call,
        card,
        (value, value_len),
        flags,
        reader
    ))
}

/// Reads the value of EMV tag 5A, the card number. The caller wipes `value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_from_tag5a(
    card: *mut cardvault_card,
    value: *const u8,
    value_len: usize,
    flags: u32,
    at: *mut usize,
) -> cardvault_result {
    let reader: Reader = |value, exempt| Ok(CardData::from_tag5a(value, exempt)?);
    border!(at, |call| read_card(
        call,
        card,
        (value, value_len),
        flags,
        reader
    ))
}

/// Sets the expiry: year 0 to 99, month 1 to 12.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_set_expiry(
    card: *mut cardvault_card,
    year: u8,
    month: u8,
) -> cardvault_result {
    border!(|call| {
        let mut card = call.exclusive(card)?;
        card.record.expiry = Some(Expiry::new(year, month)?);
        Ok(())
    })
}

/// Sets the PAN sequence number, 0 to 99.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_set_sequence(
    card: *mut cardvault_card,
    sequence: u8,
) -> cardvault_result {
    border!(|call| {
        let mut card = call.exclusive(card)?;
        let sequence = PanSequence::new(sequence).ok_or(cardvault_result::VALUE)?;
        card.record.sequence = Some(sequence);
        Ok(())
    })
}

/// What is known of a card and is not secret.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_describe(
    card: *const cardvault_card,
    info: *mut cardvault_card_info,
) -> cardvault_result {
    border!(|call| {
        let info = call.out(info)?;
        let card = call.shared(card)?;
        let pan = &card.record.pan;
        let expiry = card.record.expiry;
        let sequence = card.record.sequence;
        let service_code = card.service_code;
        info.set(cardvault_card_info {
            last_four: pan.last_four(),
            service_code: service_code.map_or(0, ServiceCode::get),
            digits: u8::try_from(pan.digit_count()).unwrap_or(0),
            brand: pan.brand().code(),
            passes_luhn: u8::from(pan.passes_luhn()),
            has_expiry: u8::from(expiry.is_some()),
            expiry_year: expiry.map_or(0, Expiry::year),
            expiry_month: expiry.map_or(0, Expiry::month),
            has_sequence: u8::from(sequence.is_some()),
            sequence: sequence.map_or(0, PanSequence::get),
            has_service_code: u8::from(service_code.is_some()),
        });
        Ok(())
    })
}

/// The name of a brand by its code, such as `Visa`; `unknown` for a code that no brand has. ASCII
/// that ends with a zero and is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn cardvault_brand_name(brand: u8) -> *const c_char {
    let other = if brand < 128 { c"unknown" } else { c"domestic" };
    BRAND_NAMES
        .get(usize::from(brand))
        .copied()
        .unwrap_or(other)
        .as_ptr()
}

/// By code.
const BRAND_NAMES: [&core::ffi::CStr; 24] = [
    c"unknown",
    c"Visa",
    c"Mastercard",
    c"American Express",
    c"Discover",
    c"Diners Club",
    c"JCB",
    c"UnionPay",
    c"Maestro",
    c"RuPay",
    c"Mir",
    c"Elo",
    c"Troy",
    c"Verve",
    c"Dankort",
    c"UATP",
    c"Hipercard",
    c"Hiper",
    c"InterPayment",
    c"InstaPayment",
    c"PayPak",
    c"Humo",
    c"Uzcard",
    c"enRoute",
];

/// Writes the number as it may be displayed, such as `411111******1111`, and a zero. `bin` is one
/// of the `CARDVAULT_MASK` numbers; a short number shows less of its BIN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_mask(
    card: *const cardvault_card,
    bin: u32,
    out: *mut c_char,
    out_len: usize,
) -> cardvault_result {
    border!(|call| {
        let room = call.text_room(out, out_len)?;
        let bin = match bin {
            CARDVAULT_MASK_LAST4 => MaskBin::Hidden,
            CARDVAULT_MASK_BIN6 => MaskBin::Six,
            CARDVAULT_MASK_BIN8 => MaskBin::Eight,
            _ => return Err(cardvault_result::VALUE.into()),
        };
        let card = call.shared(card)?;
        room.put_text(card.record.pan.mask_with(bin).as_str())
    })
}

/// Writes the number as it may be stored, with the first 0 to 8 and last 0 to 4 digits that the
/// brand's rule allows to keep, and a zero. Use one format in one environment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_truncate(
    card: *const cardvault_card,
    first: u8,
    last: u8,
    out: *mut c_char,
    out_len: usize,
) -> cardvault_result {
    border!(|call| {
        let room = call.text_room(out, out_len)?;
        let format = TruncationFormat::new(first, last).ok_or(cardvault_result::VALUE)?;
        let card = call.shared(card)?;
        room.put_text(card.record.pan.truncate(format)?.as_str())
    })
}

/// Writes the clear number and a zero: for the message to the host, an embosser, a reversal. The
/// caller wipes `out` with `cardvault_wipe`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_expose(
    card: *const cardvault_card,
    out: *mut c_char,
    out_len: usize,
) -> cardvault_result {
    border!(|call| {
        let room = call.text_room(out, out_len)?;
        let card = call.shared(card)?;
        card.record.pan.expose(|digits| room.put_text(digits))
    })
}

/// Writes 1 to `equal` if two cards have one number, else 0. Expiries are not compared: a renewed
/// card is the same card. Constant time for numbers of one length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_same_number(
    card: *const cardvault_card,
    other: *const cardvault_card,
    equal: *mut u8,
) -> cardvault_result {
    border!(|call| {
        let equal = call.out(equal)?;
        let (card, other) = (call.shared(card)?, call.shared(other)?);
        equal.set(card.record.pan.ct_eq(&other.record.pan).unwrap_u8());
        Ok(())
    })
}

/// Ends a card and wipes its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cardvault_card_close(card: *mut cardvault_card) -> cardvault_result {
    border!(|call| call.close(card))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_brands() {
        for (code, name) in (0..).zip(BRAND_NAMES) {
            let brand = Brand::from_code(code).map(Brand::name);
            assert_eq!(brand, name.to_str().ok());
        }
        assert_eq!(Brand::from_code(24), None);
    }
}
