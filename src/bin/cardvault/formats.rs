//! Token formats as they are written on the command line.
#![forbid(unsafe_code)]

use std::str::FromStr;

use cardvault::card::PAN_MIN_DIGITS;
use cardvault::token::{FormatError, KeepFirst, KeepLast, VaultedFormat, VaultlessFormat};
use cardvault::vault::Tokenize;

/// A format that is meant for numbers of this length takes shorter ones as far as it can.
const USUAL_DIGITS: usize = 16;

/// `opaque` or `card:FIRST:LAST`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Opaque,
    Card(VaultedFormat),
}

impl Shape {
    pub(crate) const fn apply(self, how: Tokenize) -> Tokenize {
        match self {
            Self::Opaque => how,
            Self::Card(format) => how.card_shaped(format),
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "opaque" {
            return Ok(Self::Opaque);
        }
        let kept = text
            .strip_prefix("card:")
            .ok_or("`opaque`, or `card:FIRST:LAST` such as card:6:4")?;
        let kept = kept.parse::<Kept>()?;
        let format = widest(|shortest| VaultedFormat::new(kept.first, kept.last, shortest));
        format.map(Self::Card).map_err(|error| error.to_string())
    }
}

/// `FIRST:LAST`: how many digits of a card number stay in its token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    first: KeepFirst,
    last: KeepLast,
}

impl FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = "first 0, 6 or 8 and last 0 or 4, such as 6:4";
        let (first, last) = text.split_once(':').ok_or(known)?;
        Ok(Self {
            first: match first {
                "0" => KeepFirst::None,
                "6" => KeepFirst::Six,
                "8" => KeepFirst::Eight,
                _ => return Err(known.to_owned()),
            },
            last: match last {
                "0" => KeepLast::None,
                "4" => KeepLast::Four,
                _ => return Err(known.to_owned()),
            },
        })
    }
}

/// A vaultless format, `FIRST:LAST`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vaultless(pub(crate) VaultlessFormat);

impl FromStr for Vaultless {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kept = text.parse::<Kept>()?;
        let format = widest(|shortest| VaultlessFormat::new(kept.first, kept.last, shortest));
        format.map(Self).map_err(|error| error.to_string())
    }
}

/// The format that takes the shortest numbers it can, and at least those of 16 digits.
fn widest<F>(make: impl Fn(usize) -> Result<F, FormatError>) -> Result<F, FormatError> {
    for shortest in PAN_MIN_DIGITS..USUAL_DIGITS {
        if let Ok(format) = make(shortest) {
            return Ok(format);
        }
    }
    make(USUAL_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_they_can() {
        let shortest = |text: &str| match text.parse() {
            Ok(Shape::Card(format)) => format.shortest(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(shortest("card:6:4"), 14);
        assert_eq!(shortest("card:0:4"), 8);
        assert_eq!(shortest("card:8:4"), 16);
        assert!(matches!("opaque".parse(), Ok(Shape::Opaque)));
        assert_eq!("0:4".parse::<Vaultless>().unwrap().0.shortest(), 11);
        for bad in ["6:4", "8:0:1", "7:4", "6", "", "6:4 "] {
            assert!(bad.parse::<Vaultless>().is_err(), "{bad}");
            assert!(format!("card{bad}").parse::<Shape>().is_err(), "{bad}");
        }
    }
}
