//! Tokens that are drawn: opaque ones, and card-shaped ones whose card the vault keeps.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{KeepLast, OPAQUE_LEN, Token, TokenKind, TokenizeError, VaultedFormat};
use crate::card::digits::Digits;
use crate::card::{PAN_MAX_DIGITS, Pan};
use crate::secret::{RandomError, Secret};

/// How often a token that may not be used is drawn anew, before the draw is given up.
pub const TOKEN_MAX_DRAWS: usize = 64;

impl Token {
    /// Draws an opaque token. A text with eight digits in a row is drawn anew.
    ///
    /// # Errors
    /// [`TokenizeError::Random`] if the generator fails; [`TokenizeError::Draws`] after
    /// [`TOKEN_MAX_DRAWS`] tokens that may not be used.
    pub fn opaque<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, TokenizeError> {
        for _ in 0..TOKEN_MAX_DRAWS {
            let payload = Secret::<OPAQUE_LEN>::random(rng)?;
            let token = Self::new(TokenKind::Opaque, payload.expose());
            if !token.text().has_digit_run() {
                return Ok(token);
            }
        }
        Err(TokenizeError::Draws)
    }

    /// Draws a card-shaped token for `pan`, which the vault must keep: the store refuses a token
    /// that is taken, and the caller draws again.
    ///
    /// Keeps the digits that `format` names, except that a number of a brand whose cards may fail
    /// Luhn loses its IIN. The token fails Luhn, differs from `pan`, and does not begin like a
    /// number of such a brand.
    ///
    /// # Errors
    /// [`TokenizeError::Short`] and [`TokenizeError::Truncation`] if `pan` does not fit `format`;
    /// [`TokenizeError::FailsLuhn`]; [`TokenizeError::Random`]; [`TokenizeError::Draws`] after [`TOKEN_MAX_DRAWS`] tokens that
    /// may not be used.
    pub fn card_shaped_for<R: TryCryptoRng + ?Sized>(
        pan: &Pan,
        format: &VaultedFormat,
        rng: &mut R,
    ) -> Result<Self, TokenizeError> {
        format.check(pan)?;
        if !pan.passes_luhn() {
            return Err(TokenizeError::FailsLuhn);
        }
        let first = if pan.in_luhn_exempt_range() {
            0
        } else {
            usize::from(format.first().digits())
        };
        let last = usize::from(KeepLast::digits(format.last()));
        let len = pan.digit_count();
        for _ in 0..TOKEN_MAX_DRAWS {
            let mut values = Zeroizing::new(pan.digits().right_aligned());
            let digits = values
                .last_chunk_mut::<PAN_MAX_DIGITS>()
                .and_then(|values| values.get_mut(PAN_MAX_DIGITS.saturating_sub(len)..))
                .unwrap_or_default();
            let free = digits.get_mut(first..len.saturating_sub(last));
            draw_digits(free.unwrap_or_default(), rng)?;
            let Some(token) = Digits::from_values(digits).and_then(Pan::from_digits) else {
                continue;
            };
            let same = bool::from(token.digits().ct_eq(pan.digits()));
            if same || token.in_luhn_exempt_range() {
                continue;
            }
            if let Ok(token) = Self::card_shaped(token.digits().packed(), len) {
                return Ok(token);
            }
        }
        Err(TokenizeError::Draws)
    }
}

/// Fills `digits` with uniform digit values.
fn draw_digits<R: TryCryptoRng + ?Sized>(
    digits: &mut [u8],
    rng: &mut R,
) -> Result<(), TokenizeError> {
    let mut filled = 0;
    for _ in 0..TOKEN_MAX_DRAWS {
        let bytes = Secret::<32>::random(rng)?;
        // Nibbles of 10 and more are left out, so that every digit is equally likely.
        let nibbles = bytes
            .expose()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15]);
        let free = digits.get_mut(filled..).unwrap_or_default();
        for (to, from) in free.iter_mut().zip(nibbles.filter(|&nibble| nibble < 10)) {
            *to = from;
            filled += 1;
        }
        if filled == digits.len() {
            return Ok(());
        }
    }
    Err(TokenizeError::Random(RandomError::Failed))
}
