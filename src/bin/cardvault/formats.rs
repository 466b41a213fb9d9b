//! Token formats as they are written on the command line.
#![forbid(unsafe_code)]

use std::str::FromStr;

use cardvault::token::VaultedFormat;

/// `opaque` or `card:FIRST:LAST`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape(pub(crate) VaultedFormat);

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "opaque" {
            return Ok(Self(VaultedFormat::Opaque));
        }
        let kept = text
            .strip_prefix("card:")
            .ok_or("`opaque`, or `card:FIRST:LAST` such as card:6:4")?;
        let Kept { first, last } = kept.parse()?;
        let _ = (first, last);
        Err("not yet".to_owned())
    }
}

/// `FIRST:LAST`: how many digits of a card number stay in its token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) first: u8,
    pub(crate) last: u8,
}

impl FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text
            .split_once(':')
            .ok_or("two counts of digits with a colon between, such as 6:4")?;
        let count = |text: &str| match text.as_bytes() {
            [digit @ b'0'..=b'9'] => Ok(digit - b'0'),
            _ => Err("a count of digits is 0 to 9"),
        };
        Ok(Self {
            first: count(first)?,
            last: count(last)?,
        })
    }
}
