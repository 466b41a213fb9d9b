//! The text of tokens: Crockford's base32 in lower case, with two symbols of a CRC-10 behind.
//!
//! The polynomial is x^10 + x^9 + x^5 + x^4 + x + 1 (CRC-10/ATM) over the payload's symbols, five
//! bits each. A wrong symbol and an exchange of two neighbours change at most ten bits in a row,
//! which a CRC of ten bits always notices.
#![forbid(unsafe_code)]

use super::TokenError;

/// Length of the check, in symbols.
pub(super) const CHECK_SYMBOLS: usize = 2;
/// From this many digits in a row on, a text could be taken for a card number.
pub(super) const DIGIT_RUN: usize = 8;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const POLYNOMIAL: u16 = 0x233;

/// Writes `payload`, taken as one big-endian number, and its check to `out`, which decides how
/// many symbols there are.
pub(super) fn encode(payload: &[u8], out: &mut [u8]) {
    let (symbols, check) = out.split_at_mut(out.len().saturating_sub(CHECK_SYMBOLS));
    let bits = 5 * symbols.len();
    let skipped = bits.saturating_sub(8 * payload.len());
    let mut crc = 0;
    for (at, symbol) in symbols.iter_mut().enumerate() {
        let mut value = 0;
        for bit in 5 * at..5 * at + 5 {
            value = value << 1
                | bit
                    .checked_sub(skipped)
                    .map_or(0, |bit| bit_of(payload, bit));
        }
        crc = crc_10(crc, value);
        *symbol = symbol_of(value);
    }
    for (symbol, shift) in check.iter_mut().zip([5, 0]) {
        *symbol = symbol_of((crc >> shift).to_le_bytes()[0] & 31);
    }
}

/// Reads what [`encode`] wrote into `payload`. `offset` is where `text` stands in the token, for
/// the position of an error.
pub(super) fn decode(text: &[u8], offset: usize, payload: &mut [u8]) -> Result<(), TokenError> {
    let symbols = text.len().saturating_sub(CHECK_SYMBOLS);
    let skipped = (5 * symbols).saturating_sub(8 * payload.len());
    payload.fill(0);
    let mut crc = 0;
    let mut unused = 0;
    for (at, byte) in text.iter().enumerate() {
        let value = value_of(*byte).ok_or(TokenError::Symbol { at: offset + at })?;
        crc = crc_10(crc, value);
        if at >= symbols {
            continue;
        }
        for (place, bit) in (5 * at..5 * at + 5).enumerate() {
            let one = value >> (4 - place) & 1;
            match bit.checked_sub(skipped) {
                Some(bit) => set_bit(payload, bit, one),
                None => unused |= one,
            }
        }
    }
    // A payload with its own CRC behind it leaves zero.
    if crc != 0 {
        return Err(TokenError::Check);
    }
    if unused != 0 {
        return Err(TokenError::UnusedBits);
    }
    if has_digit_run(text) {
        return Err(TokenError::DigitRun);
    }
    Ok(())
}

/// Whether [`DIGIT_RUN`] digits stand in a row.
pub(super) fn has_digit_run(text: &[u8]) -> bool {
    let mut run = 0;
    text.iter().any(|byte| {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        run >= DIGIT_RUN
    })
}

/// The remainder after five more bits.
fn crc_10(crc: u16, symbol: u8) -> u16 {
    (0..5).rev().fold(crc, |crc, shift| {
        let feedback = (crc >> 9 ^ u16::from(symbol >> shift)) & 1;
        ((crc << 1) ^ (POLYNOMIAL * feedback)) & 0x3ff
    })
}

fn symbol_of(value: u8) -> u8 {
    ALPHABET.get(usize::from(value)).copied().unwrap_or(b'0')
}

fn value_of(symbol: u8) -> Option<u8> {
    let at = ALPHABET.iter().position(|&known| known == symbol)?;
    u8::try_from(at).ok()
}

/// Bit `at` of `bytes`, counted from the first byte's top bit.
fn bit_of(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1)
}

fn set_bit(bytes: &mut [u8], at: usize, one: u8) {
    if let Some(byte) = bytes.get_mut(at / 8) {
        *byte |= one << (7 - at % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_10_gives_the_published_check_value() {
        // CRC-10/ATM of "123456789" is 0x199: 72 bits, fed in behind three zero bits.
        let bytes = b"123456789";
        let crc = (0..15_usize).fold(0, |crc, symbol| {
            let value = (5 * symbol..5 * symbol + 5).fold(0, |value, bit| {
                value << 1 | bit.checked_sub(3).map_or(0, |bit| bit_of(bytes, bit))
            });
            crc_10(crc, value)
        });
        assert_eq!(crc, 0x199);
    }

    #[test]
    fn every_wrong_symbol_and_every_exchange_of_neighbours_is_noticed() {
        let mut payload = [0; 16];
        for seed in 0..20_u8 {
            for (at, byte) in payload.iter_mut().enumerate() {
                *byte = seed
                    .wrapping_mul(91)
                    .wrapping_add(u8::try_from(at).unwrap() << 4);
            }
            let mut text = [0; 28];
            encode(&payload, &mut text);
            let mut back = [0; 16];
            assert_eq!(decode(&text, 4, &mut back), Ok(()));
            assert_eq!(back, payload);
            for at in 0..28 {
                for &symbol in ALPHABET.iter().filter(|&&symbol| symbol != text[at]) {
                    let mut wrong = text;
                    wrong[at] = symbol;
                    assert_eq!(decode(&wrong, 4, &mut back), Err(TokenError::Check));
                }
                if at > 0 && text[at] != text[at - 1] {
                    let mut wrong = text;
                    wrong.swap(at, at - 1);
                    assert_eq!(decode(&wrong, 4, &mut back), Err(TokenError::Check));
                }
            }
        }
    }

    #[test]
    fn other_encodings_are_refused() {
        let mut text = [0; 28];
        encode(&[0xab; 16], &mut text);
        let mut back = [0; 16];
        let mut upper = text;
        upper.make_ascii_uppercase();
        assert!(matches!(
            decode(&upper, 0, &mut back),
            Err(TokenError::Symbol { .. })
        ));
        // A set bit above the 128, with a check that fits.
        let mut wider = [0; 28];
        encode(&[0xff; 17], &mut wider);
        assert_eq!(decode(&wider, 0, &mut back), Err(TokenError::UnusedBits));
        assert!(has_digit_run(b"a12345678") && !has_digit_run(b"1234567a8"));
    }
}
