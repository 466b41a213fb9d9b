//! Reading and writing of byte formats: big-endian, bounds checked, no trailing bytes.
#![forbid(unsafe_code)]

use core::fmt;

/// Reads a byte format from front to back. [`Reader::finish`] refuses what is left over.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The offset of the next byte, for an error's position.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let end = self
            .at
            .checked_add(len)
            .ok_or(CodecError::Truncated { at: self.at })?;
        let part = self
            .bytes
            .get(self.at..end)
            .ok_or(CodecError::Truncated { at: self.at })?;
        self.at = end;
        Ok(part)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn finish(self) -> Result<(), CodecError> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(CodecError::Trailing { at: self.at })
        }
    }
}

/// Writes a byte format into the caller's memory.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been written.
    pub(crate) const fn len(&self) -> usize {
        self.at
    }

    pub(crate) fn put(&mut self, part: &[u8]) -> Result<(), CodecError> {
        let end = self
            .at
            .checked_add(part.len())
            .ok_or(CodecError::NoRoom { at: self.at })?;
        self.bytes
            .get_mut(self.at..end)
            .ok_or(CodecError::NoRoom { at: self.at })?
            .copy_from_slice(part);
        self.at = end;
        Ok(())
    }

    pub(crate) fn u8(&mut self, value: u8) -> Result<(), CodecError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u16(&mut self, value: u16) -> Result<(), CodecError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> Result<(), CodecError> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> Result<(), CodecError> {
        self.put(&value.to_be_bytes())
    }

    /// A part of at most 255 bytes behind its length in one byte.
    pub(crate) fn prefixed(&mut self, part: &[u8]) -> Result<(), CodecError> {
        let len = u8::try_from(part.len()).map_err(|_| CodecError::NoRoom { at: self.at })?;
        self.u8(len)?;
        self.put(part)
    }
}

/// What is wrong with the frame of a byte format, and at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The input ends inside a field that begins at this offset.
    Truncated {
        /// Offset in bytes.
        at: usize,
    },
    /// Bytes follow the last field, from this offset.
    Trailing {
        /// Offset in bytes.
        at: usize,
    },
    /// The output has no room for the field at this offset.
    NoRoom {
        /// Offset in bytes.
        at: usize,
    },
    /// The field at this offset holds a value that the format does not allow.
    Invalid {
        /// Offset in bytes.
        at: usize,
    },
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at } => write!(f, "input ends inside the field at byte {at}"),
            Self::Trailing { at } => write!(f, "bytes left over from byte {at}"),
            Self::NoRoom { at } => write!(f, "output has no room for the field at byte {at}"),
            Self::Invalid { at } => write!(f, "the field at byte {at} is not allowed"),
        }
    }
}

impl core::error::Error for CodecError {}
