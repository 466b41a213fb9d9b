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

#[cfg(not(target_pointer_width = "64"))]
use narrow::run;
#[cfg(target_pointer_width = "64")]
use wide::run;

/// The remainder after so many more bits.
const fn shifted(mut crc: u32, bits: u32) -> u32 {
    let mut bit = 0;
    while bit < bits {
        crc = if crc & 1 == 1 {
            (crc >> 1) ^ 0xEDB8_8320
        } else {
            crc >> 1
        };
        bit += 1;
    }
    crc
}

/// Eight bytes at a time, with 8 KiB of tables.
#[cfg(target_pointer_width = "64")]
mod wide {
    use super::shifted;

    type Table = [u32; 256];

    pub(super) fn run(mut crc: u32, bytes: &[u8]) -> u32 {
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
            let mut n = 0;
            while n < 8 {
                crc = shifted(crc, 8);
                tables[n][byte] = crc;
                n += 1;
            }
            byte += 1;
            value += 1;
        }
        tables
    }
}

/// Four bits at a time, with 64 bytes of tables: for small processors.
#[cfg(any(test, not(target_pointer_width = "64")))]
mod narrow {
    use super::shifted;

    pub(super) fn run(crc: u32, bytes: &[u8]) -> u32 {
        bytes
            .iter()
            .fold(crc, |crc, &byte| step(step(crc ^ u32::from(byte))))
    }

    fn step(crc: u32) -> u32 {
        let [low, ..] = crc.to_le_bytes();
        let nibble = TABLE.get(usize::from(low & 0xF)).copied();
        (crc >> 4) ^ nibble.unwrap_or(0)
    }

    /// The CRC of each nibble.
    static TABLE: [u32; 16] = table();

    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, within the array"
    )]
    const fn table() -> [u32; 16] {
        let mut table = [0; 16];
        let mut at = 0;
        let mut value = 0_u32;
        while at < 16 {
            table[at] = shifted(value, 4);
            at += 1;
            value += 1;
        }
        table
    }
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
            proptest::prop_assert_eq!(!narrow::run(u32::MAX, &bytes), model(&bytes));
        }

        #[test]
        fn parts_are_one_text(one: Vec<u8>, other: Vec<u8>) {
            let whole = crc32(&[&one[..], &other].concat());
            proptest::prop_assert_eq!(crc32_of([&one, &other]), whole);
        }
    }
}
