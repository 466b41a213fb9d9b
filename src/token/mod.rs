//! Stub.
#![forbid(unsafe_code)]
use crate::card::Pan;
use crate::secret::{RandomError, Secret};
use core::fmt;
use rand_core::TryCryptoRng;
/// stub
pub const TOKEN_MAX_BYTES: usize = 32;
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token([u8; 17]);
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// stub
    Random(RandomError),
    /// stub
    Parse,
}
impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token")
    }
}
impl core::error::Error for TokenError {}
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
impl Token {
    /// stub
    pub fn to_bytes(&self) -> Bytes {
        Bytes(self.0)
    }
    /// stub
    pub fn from_bytes(b: &[u8]) -> Result<Self, TokenError> {
        Ok(Self(b.try_into().map_err(|_| TokenError::Parse)?))
    }
}
/// stub
#[derive(Debug)]
pub struct Bytes([u8; 17]);
impl Bytes {
    /// stub
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}
/// stub
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultedFormat {
    /// stub
    Opaque,
}
impl VaultedFormat {
    /// stub
    pub fn draw<R: TryCryptoRng + ?Sized>(
        &self,
        _pan: &Pan,
        rng: &mut R,
    ) -> Result<Token, TokenError> {
        let s = Secret::<16>::random(rng).map_err(TokenError::Random)?;
        let mut b = [1; 17];
        b[1..].copy_from_slice(s.expose());
        Ok(Token(b))
    }
    /// stub
    pub fn describes(&self, _t: &Token) -> bool {
        true
    }
}
