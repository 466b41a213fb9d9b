//! CRC-32 (IEEE 802.3, reflected): finds torn and worn bytes where no key is at hand.
#![forbid(unsafe_code)]

/// Bytes of the remainder.
pub(super) const CRC_LEN: usize = 4;

/// The CRC of `bytes`.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    crc32_of([bytes])
}

/// The CRC of `parts`, one behind the other.
pub(super) fn crc32_of<const N: usize>(parts: [&[u8]; N]) -> u32 {
    !parts.into_iter().fold(u32::MAX, run)
}

#[inline]
fn run(mut crc: u32, bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        let word = u64::from_le_bytes(*eight) ^ u64::from(crc);
        crc = TABLES
            .iter()
            .zip(word.to_be_bytes())
            .fold(0, |sum, (table, byte)| sum ^ look_up(table, byte));
    }
    if let Some(table) = TABLES.first() {
        for &byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = (crc >> 8) ^ look_up(table, low ^ byte);
        }
    }
    crc
}

type Table = [u32; 256];

/// Table n gives the CRC of a byte that n zero bytes follow.
static TABLES: [Table; 8] = tables();

#[inline]
fn look_up(table: &Table, byte: u8) -> u32 {
    table.get(usize::from(byte)).copied().unwrap_or(0)
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, within the arrays"
)]
const fn tables() -> [Table; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    let mut value = 0_u32;
    while byte < 256 {
        let mut crc = value;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
        value += 1;
    }
    let mut n = 1;
    while n < 8 {
        byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bit at a time.
    fn model(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for &byte in bytes {
            for bit in 0..8 {
                let feedback = (crc ^ u32::from(byte >> bit)) & 1;
                crc = (crc >> 1) ^ (feedback * 0xEDB8_8320);
            }
        }
        !crc
    }

    #[test]
    fn check_value_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_definition(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(crc32(&bytes), model(&bytes));
        }

        #[test]
        fn parts_are_one_text(one: Vec<u8>, other: Vec<u8>) {
            let whole = crc32(&[&one[..], &other].concat());
            proptest::prop_assert_eq!(crc32_of([&one, &other]), whole);
        }
    }
}
