//! The key ceremony: full-length components, held by different people, that make the
//! key-encrypting key (PCI DSS 3.6.1.2, 3.7.6).
#![forbid(unsafe_code)]

use core::fmt;

use rand_core::TryCryptoRng;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::check::{CHECK_VALUE_LEN, CheckValue};
use crate::secret::{RandomError, Secret};

/// Length of a component and of the KEK, in bytes.
pub const COMPONENT_LEN: usize = 32;
/// The fewest components that make a KEK.
pub const COMPONENTS_MIN: usize = 2;
/// The most components that make a KEK.
pub const COMPONENTS_MAX: usize = 8;
/// Length of a component's text form, in bytes.
pub const COMPONENT_TEXT_LEN: usize = GROUPS * (GROUP + 1) + 2 + 2 * CHECK_VALUE_LEN;

/// Digits in a group of the text form.
const GROUP: usize = 4;
const GROUPS: usize = 2 * COMPONENT_LEN / GROUP;

/// One person's part of the KEK: as long as the KEK itself, so that it tells nothing of it.
///
/// Its text form is 16 groups of four upper-case hexadecimal digits, each followed by one space,
/// then `/`, a space and the check value of the component. Only that form is read.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Component(Secret<COMPONENT_LEN>);

impl Component {
    /// Draws a component.
    ///
    /// # Errors
    /// [`RandomError`].
    pub fn random<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, RandomError> {
        Secret::random(rng).map(Self)
    }

    /// Reads the text form. Constant time for text that is accepted.
    ///
    /// # Errors
    /// [`ComponentError`] with the offset of the first byte that is wrong, or with the two check
    /// values.
    pub fn parse(text: &[u8]) -> Result<Self, ComponentError> {
        let text: &[u8; COMPONENT_TEXT_LEN] = text
            .try_into()
            .map_err(|_| ComponentError::Length { bytes: text.len() })?;
        let mut component = Self(Secret::zeroed());
        let mut check = [0; CHECK_VALUE_LEN];
        let bytes = component.0.expose_mut().iter_mut().chain(&mut check);
        let mut at = 0;
        for (index, byte) in bytes.enumerate() {
            let (high, low) = (hex_digit(text, at)?, hex_digit(text, at + 1)?);
            *byte = (high << 4) | low;
            at += 2;
            let separator: &[u8] = match index {
                _ if index + 1 == COMPONENT_LEN => b" / ",
                _ if index < COMPONENT_LEN && at % (GROUP + 1) == GROUP => b" ",
                _ => b"",
            };
            for expected in separator {
                if text.get(at) != Some(expected) {
                    return Err(ComponentError::Separator { at });
                }
                at += 1;
            }
        }
        let written = CheckValue::from_bytes(check);
        let computed = component.check_value();
        if written != computed {
            return Err(ComponentError::CheckValue { written, computed });
        }
        if bool::from(component.0.ct_eq(&Secret::zeroed())) {
            return Err(ComponentError::Zero);
        }
        Ok(component)
    }

    /// Hands the text form to `use_it`, to be printed or written down, and wipes it afterwards.
    pub fn expose_text<T>(&self, use_it: impl FnOnce(&str) -> T) -> T {
        let mut text = Zeroizing::new([b' '; COMPONENT_TEXT_LEN]);
        let groups = self.0.expose().as_chunks::<{ GROUP / 2 }>().0;
        let places = text.chunks_mut(GROUP + 1);
        for (group, place) in groups.iter().zip(places) {
            for (byte, pair) in group.iter().zip(place.chunks_mut(2)) {
                pair.copy_from_slice(&hex_pair(*byte));
            }
        }
        let mut tail = text.iter_mut().skip(GROUPS * (GROUP + 1));
        let check = self.check_value().to_bytes().map(hex_pair);
        for (place, byte) in tail.by_ref().zip(b"/ ".iter().chain(check.as_flattened())) {
            *place = *byte;
        }
        use_it(core::str::from_utf8(text.as_slice()).unwrap_or_default())
    }

    /// The check value of the component itself.
    #[must_use]
    pub fn check_value(&self) -> CheckValue {
        CheckValue::of(&self.0)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Component({})", self.check_value())
    }
}

/// The key-encrypting key that a production ring is stored under.
///
/// It is the exclusive or of its components: whoever lacks one of them knows nothing of it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Kek(Secret<COMPONENT_LEN>);

impl Kek {
    /// Joins 2 to 8 components. Constant time.
    ///
    /// `expected` is the check value that the first ceremony wrote down; that one passes `None`
    /// and writes down [`Kek::check_value`].
    ///
    /// # Errors
    /// [`CeremonyError`]: too few or too many components, one twice (the two cancel out), an
    /// all-zero KEK, or another check value than expected.
    pub fn combine(
        components: &[Component],
        expected: Option<CheckValue>,
    ) -> Result<Self, CeremonyError> {
        let given = components.len();
        if !(COMPONENTS_MIN..=COMPONENTS_MAX).contains(&given) {
            return Err(CeremonyError::Count { given });
        }
        let mut kek = Self(Secret::zeroed());
        for (second, component) in components.iter().enumerate() {
            for (first, earlier) in components.iter().take(second).enumerate() {
                if bool::from(earlier.0.ct_eq(&component.0)) {
                    return Err(CeremonyError::Equal { first, second });
                }
            }
            for (byte, part) in kek.0.expose_mut().iter_mut().zip(component.0.expose()) {
                *byte ^= part;
            }
        }
        if bool::from(kek.0.ct_eq(&Secret::zeroed())) {
            return Err(CeremonyError::Zero);
        }
        let computed = kek.check_value();
        match expected {
            Some(expected) if expected != computed => {
                Err(CeremonyError::CheckValue { expected, computed })
            }
            _ => Ok(kek),
        }
    }

    /// The check value of the KEK.
    #[must_use]
    pub fn check_value(&self) -> CheckValue {
        CheckValue::of(&self.0)
    }

    pub(crate) const fn secret(&self) -> &Secret<COMPONENT_LEN> {
        &self.0
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({})", self.check_value())
    }
}

/// Why a text is no component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ComponentError {
    /// The text has not [`COMPONENT_TEXT_LEN`] bytes.
    Length {
        /// How many it has.
        bytes: usize,
    },
    /// A byte is no upper-case hexadecimal digit.
    Digit {
        /// Its offset in bytes.
        at: usize,
    },
    /// A byte is not the separator that belongs there.
    Separator {
        /// Its offset in bytes.
        at: usize,
    },
    /// The digits do not give the check value behind them: a digit is mistyped.
    CheckValue {
        /// The one in the text.
        written: CheckValue,
        /// The one of the digits.
        computed: CheckValue,
    },
    /// Every digit is 0.
    Zero,
}

impl fmt::Display for ComponentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => {
                write!(
                    f,
                    "a component has {COMPONENT_TEXT_LEN} bytes of text, not {bytes}"
                )
            }
            Self::Digit { at } => write!(
                f,
                "the component has no upper-case hexadecimal digit at byte {at}"
            ),
            Self::Separator { at } => {
                write!(f, "the component has another separator at byte {at}")
            }
            Self::CheckValue { written, computed } => write!(
                f,
                "the component has the check value {computed}, not {written}: a digit is mistyped"
            ),
            Self::Zero => f.write_str("the component is all zero"),
        }
    }
}

impl core::error::Error for ComponentError {}

/// Why components make no KEK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CeremonyError {
    /// There are not 2 to 8 components.
    Count {
        /// How many there are.
        given: usize,
    },
    /// A component was given twice.
    Equal {
        /// Where it stands, counted from 0.
        first: usize,
        /// Where it stands again.
        second: usize,
    },
    /// The components cancel out.
    Zero,
    /// The KEK is not the expected one.
    CheckValue {
        /// The one asked for.
        expected: CheckValue,
        /// The one of the components.
        computed: CheckValue,
    },
}

impl fmt::Display for CeremonyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { given } => write!(
                f,
                "a KEK has {COMPONENTS_MIN} to {COMPONENTS_MAX} components, not {given}"
            ),
            Self::Equal { first, second } => {
                write!(
                    f,
                    "components {} and {} are the same",
                    first + 1,
                    second + 1
                )
            }
            Self::Zero => f.write_str("the components cancel out"),
            Self::CheckValue { expected, computed } => {
                write!(f, "the KEK has the check value {computed}, not {expected}")
            }
        }
    }
}

impl core::error::Error for CeremonyError {}

/// The value of an upper-case hexadecimal digit; only whether it is one shows in the time.
fn hex_digit(text: &[u8; COMPONENT_TEXT_LEN], at: usize) -> Result<u8, ComponentError> {
    let refused = ComponentError::Digit { at };
    let byte = *text.get(at).ok_or(refused)?;
    // An offset above the range wraps below it, and the other way round.
    let decimal = byte.wrapping_sub(b'0');
    let letter = byte.wrapping_sub(b'A');
    let is_decimal = below(decimal, 10);
    let is_letter = below(letter, 6);
    let value = u8::conditional_select(&letter.wrapping_add(10), &decimal, is_decimal);
    if bool::from(is_decimal | is_letter) {
        Ok(value)
    } else {
        Err(refused)
    }
}

/// The two upper-case hexadecimal digits of a byte, without a table.
fn hex_pair(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf].map(|digit| {
        u8::conditional_select(&(b'A' - 10 + digit), &(b'0' + digit), below(digit, 10))
    })
}

/// Whether `value < limit`, for limits up to 128.
fn below(value: u8, limit: u8) -> subtle::Choice {
    subtle::Choice::from(((u16::from(value).wrapping_sub(u16::from(limit))) >> 15) as u8)
}
