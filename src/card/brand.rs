//! Which network a card number belongs to.
#![forbid(unsafe_code)]

/// A card network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Brand {
    /// Visa.
    Visa,
    /// UnionPay.
    UnionPay,
    /// enRoute.
    EnRoute,
    /// No range fits.
    Unknown,
}

impl Brand {
    /// The networks that issued cards which fail the Luhn check.
    pub const LUHN_EXEMPT: [Self; 2] = [Self::UnionPay, Self::EnRoute];
}

/// The brand of a number with these first eight digits and this length.
pub(crate) fn brand_of(iin8: u64, len: usize) -> Brand {
    let _ = len;
    match iin8 / 1_000_000 {
        40..50 => Brand::Visa,
        62 | 81 => Brand::UnionPay,
        _ => Brand::Unknown,
    }
}
