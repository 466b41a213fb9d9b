//! Bytes as letters `a` to `p`, one for four bits: no digits, so that none of it can be taken for a
//! card number.
#![forbid(unsafe_code)]

pub(crate) fn letters(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .map(|nibble| char::from(b'a' + nibble))
        .collect()
}

pub(crate) fn from_letters(text: &str) -> Option<Vec<u8>> {
    let nibble = |letter: u8| match letter {
        b'a'..=b'p' => Some(letter - b'a'),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| Some((nibble(high)? << 4) | nibble(low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_were_written() {
        let bytes = [0, 1, 0x7f, 0xff, b'4'];
        assert_eq!(letters(&bytes), "aaabhpppde");
        assert_eq!(from_letters("aaabhpppde").unwrap(), bytes);
        for bad in ["a", "aq", "AA", "41", "aaabhpppd"] {
            assert!(from_letters(bad).is_none(), "{bad}");
        }
    }
}
