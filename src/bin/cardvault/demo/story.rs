//! Where and when the demo plays: one shop in China in the week before today, and its clock.
#![forbid(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cardvault::UnixSeconds;
use cardvault::payment::{Amount, ClearingDate, Currency, Date, FieldError, MerchantId};

use crate::failure::{Failure, Outcome};

/// The name on the receipts.
pub(super) const SHOP: &str = "HARBOUR BOOKS";
/// The domain of the shop's tokens and payments.
pub(super) const SHOP_DOMAIN: &str = "harbour-books";
/// The domain of its terminals' journals.
pub(super) const FLEET_DOMAIN: &str = "fleet-1";
/// How far the shop's clock is ahead of UTC.
pub(super) const OFFSET_MINUTES: i16 = 480;

const DAY: u64 = 86_400;
/// The story ends before today, so that the keys which it makes can be used today.
const DAYS_BACK: u64 = 8;

static CLOCK: AtomicU64 = AtomicU64::new(0);

/// Midnight in the shop before the first day.
fn first() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    let ahead = u64::from(OFFSET_MINUTES.unsigned_abs()) * 60;
    *FIRST.get_or_init(|| {
        let today = (UnixSeconds::now().0.saturating_add(ahead)) / DAY;
        (today.saturating_sub(DAYS_BACK) * DAY).saturating_sub(ahead)
    })
}

/// Puts the clock to a time of the story's days, which count from 0.
pub(super) fn set(day: u64, hour: u64, minute: u64) {
    CLOCK.store(
        first() + day * DAY + hour * 3_600 + minute * 60,
        Ordering::Relaxed,
    );
}

/// Lets `minutes` pass.
pub(super) fn pass(minutes: u64) {
    CLOCK.fetch_add(minutes * 60, Ordering::Relaxed);
}

/// What the shop's clock shows.
pub(super) fn now() -> UnixSeconds {
    UnixSeconds(CLOCK.load(Ordering::Relaxed))
}

/// The shop's day at `time`.
pub(super) fn date(time: UnixSeconds) -> Outcome<Date> {
    Date::of(time, OFFSET_MINUTES).ok_or_else(|| Failure::usage("clock", "no day of the calendar"))
}

/// The day that the centre clears now: the calendar's.
pub(super) fn clearing() -> Outcome<ClearingDate> {
    date(now()).map(ClearingDate)
}

/// As receipts show a time.
pub(super) fn stamp(time: UnixSeconds) -> Outcome<String> {
    let minutes = (time.0 / 60).saturating_add_signed(i64::from(OFFSET_MINUTES)) % (24 * 60);
    let day = date(time)?;
    Ok(format!("{day} {:02}:{:02}", minutes / 60, minutes % 60))
}

/// An amount as a clerk enters it.
pub(super) fn yuan(text: &str) -> Outcome<Amount> {
    Amount::parse(text, Currency::CNY).map_err(field)
}

/// The shop, as its acquirer knows it.
pub(super) fn merchant() -> Outcome<MerchantId> {
    "HARBOURBOOKS001".parse().map_err(field)
}

/// What a field of a payment does not take.
pub(super) fn field(error: FieldError) -> Failure {
    Failure::usage("payment", error)
}
