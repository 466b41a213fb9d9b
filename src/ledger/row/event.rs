//! The row of an event.
#![forbid(unsafe_code)]

use super::key::{put_id, row_key};
use super::{Kind, TAG_LEN};
use crate::codec::{CodecError, Reader, Writer};
use crate::keys::Domain;
use crate::ledger::error::LedgerError;
use crate::ledger::record::{Happened, HistoryEntry, HistoryRequest, Payment, RequestKey, Source};
use crate::payment::{Amount, Currency};
use crate::refund::{
    Action, Authority, PaymentEvent, PaymentState, RefundEvent, RefundLevel, RefundStatus,
};
use crate::time::UnixSeconds;
use crate::vault::RowKey;

/// The key of an event of a payment.
pub(in crate::ledger) fn key(
    domain: &Domain,
    payment: &Payment,
    revision: u32,
) -> Result<RowKey, LedgerError> {
    row_key(Kind::Event, domain, |out| {
        out.u64(payment.time.0)?;
        put_id(out, &payment.id)?;
        out.u32(revision)
    })
}

/// `before` is the tag of the event before it.
pub(super) fn write(
    out: &mut Writer<'_>,
    event: &HistoryEntry,
    before: &[u8; TAG_LEN],
) -> Result<(), CodecError> {
    let (what, detail) = happened_code(event.what);
    out.u64(event.time.0)?;
    out.put(&[what, detail, event.source.code(), event.state.code()])?;
    out.put(before)?;
    if let Some(request) = &event.request {
        out.u8(request.action.code())?;
        out.u8(request.status.code())?;
        out.u8(request.authority.code())?;
        out.u64(request.amount.minor())?;
        out.u64(request.key.requested.0)?;
        out.put(&request.key.digest)?;
    }
    Ok(())
}

/// An event, and the tag of the one before it.
pub(super) fn read(
    revision: u32,
    currency: Currency,
    mut reader: Reader<'_>,
) -> Option<(HistoryEntry, [u8; TAG_LEN])> {
    let time = UnixSeconds(reader.u64().ok()?);
    let (what, detail) = (reader.u8().ok()?, reader.u8().ok()?);
    let what = happened_from(what, detail)?;
    let source = Source::from_code(reader.u8().ok()?)?;
    let state = PaymentState::from_code(reader.u8().ok()?)?;
    let before = reader.array().ok()?;
    let request = match what {
        Happened::Requested | Happened::Request(_) => Some(HistoryRequest {
            action: Action::from_code(reader.u8().ok()?)?,
            status: RefundStatus::from_code(reader.u8().ok()?)?,
            authority: Authority::from_code(reader.u8().ok()?)?,
            amount: Amount::new(reader.u64().ok()?, currency).ok()?,
            key: RequestKey {
                requested: UnixSeconds(reader.u64().ok()?),
                digest: reader.array().ok()?,
            },
        }),
        _ => None,
    };
    reader.finish().ok()?;
    let event = HistoryEntry {
        revision,
        time,
        what,
        source,
        state,
        request,
    };
    Some((event, before))
}

/// Payment events in the order of their numbers, from 1.
const PAYMENT_EVENTS: [PaymentEvent; 14] = [
    PaymentEvent::FoundApproved,
    PaymentEvent::FoundDeclined,
    PaymentEvent::Reversed,
    PaymentEvent::Voided,
    PaymentEvent::Completed,
    PaymentEvent::CompletionUndone,
    PaymentEvent::Refunds(RefundLevel::None),
    PaymentEvent::Refunds(RefundLevel::Part),
    PaymentEvent::Refunds(RefundLevel::All),
    PaymentEvent::Disputed,
    PaymentEvent::DisputeWon(RefundLevel::None),
    PaymentEvent::DisputeWon(RefundLevel::Part),
    PaymentEvent::DisputeWon(RefundLevel::All),
    PaymentEvent::DisputeLost,
];

/// Request events in the order of their numbers, from 1.
const REQUEST_EVENTS: [RefundEvent; 5] = [
    RefundEvent::Accepted,
    RefundEvent::Settled,
    RefundEvent::Failed,
    RefundEvent::NoAnswer,
    RefundEvent::Resubmitted,
];

fn happened_code(what: Happened) -> (u8, u8) {
    let number =
        |place: Option<usize>| place.map_or(0, |place| u8::try_from(place + 1).unwrap_or(0));
    match what {
        Happened::Recorded => (1, 0),
        Happened::Payment(event) => (
            2,
            number(PAYMENT_EVENTS.iter().position(|known| *known == event)),
        ),
        Happened::BatchSettled => (3, 0),
        Happened::Requested => (4, 0),
        Happened::Request(event) => (
            5,
            number(REQUEST_EVENTS.iter().position(|known| *known == event)),
        ),
    }
}

fn happened_from(what: u8, detail: u8) -> Option<Happened> {
    let place = usize::from(detail).checked_sub(1);
    match (what, place) {
        (1, None) => Some(Happened::Recorded),
        (2, Some(place)) => PAYMENT_EVENTS.get(place).map(|e| Happened::Payment(*e)),
        (3, None) => Some(Happened::BatchSettled),
        (4, None) => Some(Happened::Requested),
        (5, Some(place)) => REQUEST_EVENTS.get(place).map(|e| Happened::Request(*e)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_numbers_of_their_own() {
        let mut codes = std::collections::BTreeSet::new();
        let payment = PAYMENT_EVENTS.map(Happened::Payment);
        let request = REQUEST_EVENTS.map(Happened::Request);
        let others = [
            Happened::Recorded,
            Happened::BatchSettled,
            Happened::Requested,
        ];
        for what in payment.iter().chain(&request).chain(&others) {
            let (code, detail) = happened_code(*what);
            assert!(codes.insert((code, detail)));
            assert_eq!(happened_from(code, detail), Some(*what));
        }
        for what in 0..=255 {
            for detail in 0..=255 {
                let known = codes.contains(&(what, detail));
                assert_eq!(
                    happened_from(what, detail).is_some(),
                    known,
                    "{what} {detail}"
                );
            }
        }
        for (code, source) in (1..).zip(Source::ALL) {
            assert_eq!(
                (source.code(), Source::from_code(code)),
                (code, Some(source))
            );
        }
        assert_eq!((Source::from_code(0), Source::from_code(7)), (None, None));
    }
}
