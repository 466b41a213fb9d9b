//! The domain: the merchant, tenant or terminal fleet that a key and a token belong to.
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

/// The longest domain, in bytes.
pub const DOMAIN_MAX_LEN: usize = 32;

/// 1 to 32 bytes that name a merchant, a tenant or a terminal fleet. Any bytes; not secret.
///
/// Each domain has its own keys: tokens and fingerprints of two domains cannot be matched.
///
/// The text form shows printable ASCII as it is, a backslash as `\\` and every other byte as
/// `\x` and two lower hexadecimal digits. [`FromStr`] reads that form, and takes any other UTF-8
/// text as its bytes.
///
/// ```
/// use cardvault::keys::Domain;
///
/// let domain: Domain = "merchant-7".parse()?;
/// assert_eq!(domain.as_bytes(), b"merchant-7");
/// assert_eq!(Domain::new(b"a\x00\\")?.to_string(), r"a\x00\\");
/// # Ok::<(), cardvault::keys::DomainError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    bytes: [u8; DOMAIN_MAX_LEN],
    len: u8,
}

impl Domain {
    /// Takes 1 to 32 bytes.
    ///
    /// # Errors
    /// [`DomainError::Length`] for any other count.
    pub fn new(name: &[u8]) -> Result<Self, DomainError> {
        let refused = DomainError::Length { bytes: name.len() };
        let len = u8::try_from(name.len()).map_err(|_| refused)?;
        if len == 0 {
            return Err(refused);
        }
        let mut bytes = [0; DOMAIN_MAX_LEN];
        bytes
            .get_mut(..name.len())
            .ok_or(refused)?
            .copy_from_slice(name);
        Ok(Self { bytes, len })
    }

    /// The bytes, 1 to 32 of them.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.len))
            .unwrap_or(&self.bytes)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.as_bytes() {
            match byte {
                b'\\' => f.write_str(r"\\")?,
                b' '..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, r"\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({self})")
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let mut bytes = [0; DOMAIN_MAX_LEN];
        let mut len = 0;
        let mut rest = text.as_bytes().iter().copied().enumerate();
        while let Some((at, byte)) = rest.next() {
            let byte = if byte == b'\\' {
                let escape = DomainError::Escape { at };
                match rest.next() {
                    Some((_, b'\\')) => b'\\',
                    Some((_, b'x')) => {
                        let mut digit = || {
                            let (_, digit) = rest.next().ok_or(escape)?;
                            hex_digit(digit).ok_or(escape)
                        };
                        (digit()? << 4) | digit()?
                    }
                    _ => return Err(escape),
                }
            } else {
                byte
            };
            if let Some(slot) = bytes.get_mut(len) {
                *slot = byte;
            }
            len += 1;
        }
        Self::new(bytes.get(..len).ok_or(DomainError::Length { bytes: len })?)
    }
}

/// Why bytes or a text are no domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DomainError {
    /// There are not 1 to 32 bytes.
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// A backslash is not followed by a backslash or by `x` and two lower hexadecimal digits.
    Escape {
        /// The backslash's offset in bytes.
        at: usize,
    },
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => {
                write!(f, "a domain has 1 to {DOMAIN_MAX_LEN} bytes, not {bytes}")
            }
            Self::Escape { at } => write!(f, "unreadable escape in the domain at byte {at}"),
        }
    }
}

impl core::error::Error for DomainError {}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths() {
        assert_eq!(Domain::new(b""), Err(DomainError::Length { bytes: 0 }));
        assert!(Domain::new(&[7; 32]).is_ok());
        for bytes in [33, 255, 256, 257, 300] {
            let refused = Err(DomainError::Length { bytes });
            assert_eq!(Domain::new(&vec![b'a'; bytes]), refused);
            assert_eq!("a".repeat(bytes).parse::<Domain>(), refused);
        }
        assert_eq!("".parse::<Domain>(), Err(DomainError::Length { bytes: 0 }));
    }

    #[test]
    fn broken_escapes_have_a_position() {
        for (text, at) in [
            (r"\", 0),
            (r"ab\y", 2),
            (r"a\x0", 1),
            (r"\x0g", 0),
            (r"\xAB", 0),
        ] {
            assert_eq!(
                text.parse::<Domain>(),
                Err(DomainError::Escape { at }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_zero_byte_at_the_end_counts() {
        assert_ne!(Domain::new(b"a").unwrap(), Domain::new(b"a\0").unwrap());
    }

    proptest! {
        #[test]
        fn text_round_trip(bytes in proptest::collection::vec(any::<u8>(), 1..=32)) {
            let domain = Domain::new(&bytes).unwrap();
            prop_assert_eq!(domain.as_bytes(), &bytes[..]);
            let text = domain.to_string();
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(text.parse::<Domain>(), Ok(domain));
        }
    }
}
