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
const SYMBOL_BITS: u32 = 5;
const SYMBOL_MAX: u8 = 31;
const NO_SYMBOL: u8 = 0xff;
const POLYNOMIAL: u16 = 0x233;
const CRC_MAX: u16 = 0x3ff;

/// Writes `payload`, taken as one big-endian number, and its check to `out`, which decides how
/// many symbols there are.
pub(super) fn encode(payload: &[u8], out: &mut [u8]) {
    let (symbols, check) = out.split_at_mut(out.len().saturating_sub(CHECK_SYMBOLS));
    // The lowest bits are those to come; the first symbol begins with zeros.
    let (mut bits, mut count) = (0_u32, unused_bits(symbols.len(), payload.len()));
    let mut bytes = payload.iter();
    let mut crc = 0;
    for symbol in symbols {
        if count < SYMBOL_BITS {
            bits = bits << 8 | bytes.next().map_or(0, |byte| u32::from(*byte));
            count += 8;
        }
        count -= SYMBOL_BITS;
        let value = low_byte(bits >> count) & SYMBOL_MAX;
        crc = crc_10(crc, value);
        *symbol = symbol_of(value);
    }
    let crc = u32::from(crc);
    for (symbol, shift) in check.iter_mut().zip([SYMBOL_BITS, 0]) {
        *symbol = symbol_of(low_byte(crc >> shift) & SYMBOL_MAX);
    }
}

/// Reads what [`encode`] wrote into `payload`. `offset` is where `text` stands in the token, for
/// the position of an error.
pub(super) fn decode(text: &[u8], offset: usize, payload: &mut [u8]) -> Result<(), TokenError> {
    let symbols = text.len().saturating_sub(CHECK_SYMBOLS);
    let unused = unused_bits(symbols, payload.len());
    payload.fill(0);
    let (mut bits, mut count) = (0_u32, 0);
    let mut bytes = payload.iter_mut();
    let mut crc = 0;
    let mut first = 0;
    for (at, byte) in text.iter().enumerate() {
        let value = value_of(*byte).ok_or(TokenError::Symbol { at: offset + at })?;
        crc = crc_10(crc, value);
        if at == 0 {
            first = value;
            count += SYMBOL_BITS - unused;
        } else {
            count += SYMBOL_BITS;
        }
        bits = bits << SYMBOL_BITS | u32::from(value);
        if count >= 8
            && let Some(byte) = bytes.next()
        {
            count -= 8;
            *byte = low_byte(bits >> count);
        }
    }
    // A payload with its own CRC behind it leaves zero.
    if crc != 0 {
        return Err(TokenError::Check);
    }
    if u32::from(first) >> (SYMBOL_BITS - unused) != 0 {
        return Err(TokenError::UnusedBits);
    }
    if has_digit_run(text) {
        return Err(TokenError::DigitRun);
    }
    Ok(())
}

/// The bits of the first symbol that no payload of so many bytes needs.
fn unused_bits(symbols: usize, payload: usize) -> u32 {
    let bits = (5 * symbols).saturating_sub(8 * payload);
    u32::try_from(bits).unwrap_or(0).min(SYMBOL_BITS)
}

/// Whether [`DIGIT_RUN`] digits stand in a row.
pub(super) fn has_digit_run(text: &[u8]) -> bool {
    let mut run = 0;
    text.iter().any(|byte| {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        run >= DIGIT_RUN
    })
}

/// The remainder after one more symbol.
fn crc_10(crc: u16, symbol: u8) -> u16 {
    let top = low_byte(u32::from(crc) >> SYMBOL_BITS) ^ symbol;
    let feedback = CRC_OF_SYMBOL.get(usize::from(top)).copied().unwrap_or(0);
    (crc << SYMBOL_BITS & CRC_MAX) ^ feedback
}

/// The remainder of each symbol with ten zero bits behind it.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const CRC_OF_SYMBOL: [u16; 32] = {
    let mut table = [0; 32];
    let mut symbol = 0_u16;
    while symbol < 32 {
        let (mut crc, mut bit) = (symbol << SYMBOL_BITS, 0);
        while bit < SYMBOL_BITS {
            let feedback = crc >> 9 & 1;
            crc = (crc << 1 & CRC_MAX) ^ (POLYNOMIAL * feedback);
            bit += 1;
        }
        table[symbol as usize] = crc;
        symbol += 1;
    }
    table
};

/// The value of each symbol in ASCII; [`NO_SYMBOL`] for what is none.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const VALUES: [u8; 128] = {
    let mut table = [NO_SYMBOL; 128];
    let mut value = 0_u8;
    while value <= SYMBOL_MAX {
        table[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    table
};

fn symbol_of(value: u8) -> u8 {
    ALPHABET.get(usize::from(value)).copied().unwrap_or(b'0')
}

fn value_of(symbol: u8) -> Option<u8> {
    let value = VALUES.get(usize::from(symbol)).copied()?;
    (value != NO_SYMBOL).then_some(value)
}

fn low_byte(bits: u32) -> u8 {
    let [low, ..] = bits.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_10_gives_the_published_check_value() {
        // CRC-10/ATM of "123456789" is 0x199: 72 bits, fed in behind three zero bits.
        let bits = b"123456789"
            .iter()
            .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let crc = (0..15).rev().fold(0, |crc, symbol| {
            crc_10(crc, u8::try_from(bits >> (5 * symbol) & 31).unwrap())
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
