//! The test cards of the demo in the forms that readers give, and all their numbers.
#![forbid(unsafe_code)]

use super::published::{FAIL_LUHN, PUBLISHED};

/// A published UnionPay number with another last digit: the network has cards that fail Luhn.
pub(super) const UNIONPAY_FAILS_LUHN: &str = "6200000000000006";

/// The card that most steps show.
pub(super) const SHOWN: &str = "4508750015741019";

/// The customers' other cards.
pub(super) const UNIONPAY: &str = "6221261111117766";
pub(super) const MASTERCARD: &str = "5555555555554444";
pub(super) const AMEX: &str = "378282246310005";
pub(super) const JCB: &str = "3530111333300000";
pub(super) const DISCOVER: &str = "6011111111111117";
pub(super) const MAESTRO: &str = "6759649826438453";

/// One card as machines hand it over.
pub(super) const SPACED: &str = "4508 7500 1574 1019";
pub(super) const DASHED: &str = "4508-7500-1574-1019";
pub(super) const TRACK_1: &str = "%B4508750015741019^DOE/JANE^30121011234567890123?";
pub(super) const TRACK_2: &str = ";4508750015741019=30121011234567890?";
pub(super) const TAG_57: [u8; 19] = [
    0x45, 0x08, 0x75, 0x00, 0x15, 0x74, 0x10, 0x19, 0xd3, 0x01, 0x21, 0x01, 0x12, 0x34, 0x56, 0x78,
    0x90, 0x12, 0x3f,
];
pub(super) const TAG_5A: [u8; 8] = [0x45, 0x08, 0x75, 0x00, 0x15, 0x74, 0x10, 0x19];

/// Every number above: what the files are searched for.
pub(super) fn every_number() -> impl Iterator<Item = &'static str> {
    PUBLISHED
        .iter()
        .flat_map(|(_, numbers)| numbers.iter())
        .chain(FAIL_LUHN)
        .copied()
        .chain([UNIONPAY_FAILS_LUHN])
}
