//! Verified entries of terminals' journals into vault and ledger, all or nothing.
#![forbid(unsafe_code)]

use core::fmt;

use rand_core::TryCryptoRng;

use super::draft::Draft;
use super::error::LedgerError;
use super::finding::Lookup;
use super::handle::{CONFLICT_TRIES, Ledger, MAX_PAGE};
use super::record::{NewPayment, Payment, PaymentId, RequestRecord, Source};
use super::recording::{add_new, check_entries};
use super::row::request_name;
use crate::card::{CardRecord, TruncatedPan};
use crate::journal::{Body, Identity, Verified};
use crate::keys::Domain;
use crate::payment::{Date, PaymentFieldsError, PaymentKind, Reference, RefundNumber, TerminalId};
use crate::refund::{Action, Authority, PaidBy, PaymentEvent, RefundEvent, RefundStatus};
use crate::token::Token;
use crate::vault::telemetry::{self, Call};
use crate::vault::{RingState, Store};

/// One entry that was verified.
#[derive(Debug)]
pub struct ImportEntry {
    /// The payment. Its token and last digits are filled in from the card.
    pub payment: NewPayment,
    /// The card, if the entry has one.
    pub card: Option<CardRecord>,
}

impl ImportEntry {
    /// The entry that a verified frame of `identity`'s journal is; `None` for a notice, which is
    /// no payment. The merchant's clock is `offset_minutes` ahead of UTC (480 in China): it names
    /// the day of the payment.
    ///
    /// A journal does not say that a phone paid: what is no QR payment counts as paid by card.
    ///
    /// # Errors
    /// [`EntryError`]: the terminal wrote something that no payment is.
    pub fn of(
        identity: &Identity,
        verified: Verified<'_>,
        offset_minutes: i16,
    ) -> Result<Option<Self>, EntryError> {
        let Body::Payment(part) = verified.frame.body else {
            return Ok(None);
        };
        let fields = part.fields().map_err(EntryError::Fields)?;
        let terminal = TerminalId::parse(identity.terminal()).ok();
        let terminal = terminal
            .filter(|terminal| *terminal == fields.terminal)
            .ok_or(EntryError::Terminal)?;
        let time = verified.frame.time;
        let token = match part.token {
            [] => None,
            token => Some(Token::from_bytes(token).map_err(|_| EntryError::Token)?),
        };
        let payment = NewPayment {
            id: PaymentId::Journal {
                terminal,
                epoch: identity.epoch(),
                sequence: verified.frame.sequence,
            },
            time,
            date: Date::of(time, offset_minutes).ok_or(EntryError::Time)?,
            paid_by: if fields.kind.is_qr() {
                PaidBy::Qr
            } else {
                PaidBy::Card
            },
            fields,
            token,
            last_four: part.truncated.as_ref().and_then(last_four),
        };
        Ok(Some(Self {
            payment,
            card: verified.card,
        }))
    }
}

/// The last four digits, if they were kept.
fn last_four(truncated: &TruncatedPan) -> Option<u16> {
    let text = truncated.as_str();
    let at = text.len().checked_sub(4)?;
    text.get(at..)?.parse().ok()
}

/// Why a verified frame is no entry that a ledger takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryError {
    /// The payment's fields are not readable.
    Fields(PaymentFieldsError),
    /// The payment was made at another terminal than the journal's.
    Terminal,
    /// The token is none.
    Token,
    /// The time is in no year that a date has.
    Time,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields(error) => error.fmt(f),
            Self::Terminal => f.write_str("payment of another terminal than the journal's"),
            Self::Token => f.write_str("the token is none"),
            Self::Time => f.write_str("the time is in no year that a date has"),
        }
    }
}

impl core::error::Error for EntryError {}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that the ledger did not have.
    pub new: usize,
    /// Entries that it had, with the same content.
    pub known: usize,
    /// Cards that the vault did not have.
    pub new_cards: usize,
    /// Entries that act on a payment and could not be applied to it. They are recorded, and tried
    /// again by each import that brings them again.
    pub unapplied: Vec<Unapplied>,
}

/// An entry that was recorded but changed no other payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unapplied {
    /// Its place among the entries, from 0.
    pub at: usize,
    /// Why.
    pub why: WhyUnapplied,
}

/// Why an entry that acts on a payment was not applied to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyUnapplied {
    /// No payment is what it refers to.
    NoOriginal,
    /// More than one payment is.
    Ambiguous,
    /// Its number stands for another request.
    NumberReused,
    /// With it, more than the original would be given back.
    TotalExceeded,
    /// The original's state, or what is pending for it, does not allow it.
    State,
    /// Its amount is zero, in another currency, or not the whole one, which a void and a reversal
    /// take back.
    Amount,
}

impl WhyUnapplied {
    /// The name in records and interfaces, such as `no-original`. Never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoOriginal => "no-original",
            Self::Ambiguous => "ambiguous",
            Self::NumberReused => "number-reused",
            Self::TotalExceeded => "total-exceeded",
            Self::State => "state",
            Self::Amount => "amount",
        }
    }
}

impl fmt::Display for WhyUnapplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOriginal => "no payment is what it refers to",
            Self::Ambiguous => "more than one payment is what it refers to",
            Self::NumberReused => "its number stands for another request",
            Self::TotalExceeded => "more than the payment would be given back",
            Self::State => "the payment's state does not allow it",
            Self::Amount => "its amount is not one that this takes back",
        })
    }
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// Takes over at most [`MAX_ENTRIES`](super::MAX_ENTRIES) verified entries: cards into the
    /// vault, under convergent tokens, payments into the ledger, and what voids, refunds,
    /// reversals and completions did to their originals. All of it in one transaction or none;
    /// the same entries again change nothing, but that what found no original before is applied
    /// once the original is there.
    ///
    /// # Errors
    /// [`LedgerError::OtherContent`] if an identity stands for another payment;
    /// [`LedgerError::TooMany`]; [`LedgerError::Conflict`]; [`LedgerError::Tampered`]; the
    /// vault's.
    pub async fn import(
        &self,
        domain: &Domain,
        entries: &[ImportEntry],
    ) -> Result<Imported, LedgerError> {
        let call = async {
            check_entries(entries.len())?;
            for _ in 0..CONFLICT_TRIES {
                let state = self.vault().state()?;
                let ids: Vec<_> = entries.iter().map(|entry| entry.payment.id).collect();
                let known = self.known(&state, domain, &ids).await?;
                let is_known: Vec<bool> = known.iter().map(Option::is_some).collect();
                let cards = entries.iter().zip(&is_known).filter(|(_, known)| !**known);
                let cards: Vec<_> = cards.filter_map(|(entry, _)| entry.card.as_ref()).collect();
                let staged = self.vault().stage(&state, domain, &cards).await?;
                let Some((tokens, mut writes)) = staged else {
                    continue;
                };
                let new_cards = writes.len();
                let mut tokens = tokens.into_iter();
                let payments: Vec<_> = entries
                    .iter()
                    .zip(&is_known)
                    .map(|(entry, known)| match &entry.card {
                        Some(card) if !known => NewPayment {
                            token: tokens.next(),
                            last_four: Some(card.pan.last_four()),
                            ..entry.payment
                        },
                        _ => entry.payment,
                    })
                    .collect();
                let mut draft = self.draft(&state, domain)?;
                let new = add_new(&mut draft, &payments, known, Source::Journal)?;
                let mut imported = Imported {
                    new,
                    known: entries.len() - new,
                    new_cards,
                    unapplied: Vec::new(),
                };
                let mut seen = std::collections::BTreeSet::new();
                for (at, (payment, known)) in payments.iter().zip(&is_known).enumerate() {
                    if seen.insert(payment.id)
                        && let Some(action) = action_of(payment.fields.kind)
                        && let Some(why) = self
                            .act(&state, domain, &mut draft, payment, action, *known)
                            .await?
                    {
                        imported.unapplied.push(Unapplied { at, why });
                    }
                }
                writes.extend(draft.writes()?);
                if self.apply(&state, writes).await? {
                    return Ok(imported);
                }
            }
            Err(LedgerError::Conflict)
        };
        telemetry::watch(Call::Import, domain, entries.len(), call).await
    }

    /// Applies an entry to its original; why not, if it cannot be. One that was `known` before
    /// is applied if it was not then.
    async fn act(
        &self,
        state: &RingState,
        domain: &Domain,
        draft: &mut Draft<'_>,
        entry: &NewPayment,
        action: Action,
        known: bool,
    ) -> Result<Option<WhyUnapplied>, LedgerError> {
        let approved = entry.fields.response.map(|code| match action {
            Action::Reversal => code.is_reversed(),
            _ => code.is_approved(),
        });
        // What was declined did nothing.
        if approved == Some(false) {
            return Ok(None);
        }
        let event = match approved {
            Some(_) => RefundEvent::Accepted,
            None => RefundEvent::NoAnswer,
        };
        let number = number_of(entry)?;
        if known {
            let asked = self.request_of(domain, &entry.fields.merchant, &number);
            match asked.await {
                Ok(_) => return Ok(None),
                Err(LedgerError::UnknownRequest) => {}
                Err(error) => return Err(error),
            }
        }
        let original = match self.original(domain, draft, entry, action).await? {
            Ok(original) => original,
            Err(why) => return Ok(Some(why)),
        };
        if draft.payment(&original).is_none() {
            draft.load_payment(self.read_payment(state, domain, &original).await?);
        }
        let now = self.vault().now();
        let record = RequestRecord {
            number,
            merchant: entry.fields.merchant,
            payment: original,
            action,
            amount: entry.fields.amount,
            status: RefundStatus::Requested,
            // A journal does not say who stood behind it.
            authority: Authority::Clerk,
            source: Source::Journal,
            terminal: entry.fields.terminal,
            requested: now,
            since: now,
            tries: 1,
            rrn: entry.fields.rrn,
        };
        let (merchant, number) = (&record.merchant, &record.number);
        let mut earlier = draft.request_like(&record).copied();
        if earlier.is_none() {
            match self.read_request(state, domain, merchant, number).await {
                Ok(read) => {
                    earlier = Some(read.value);
                    draft.load_request(read);
                }
                Err(LedgerError::UnknownRequest) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(earlier) = earlier {
            let same = earlier.payment == original && earlier.action == action;
            if !same || earlier.amount != record.amount {
                return Ok(Some(WhyUnapplied::NumberReused));
            }
            // The host asked for it, and the terminal tells how it ended, unless that is known.
            if earlier.status == RefundStatus::Failed {
                return Ok(Some(WhyUnapplied::State));
            }
            if earlier.status.after(action, event).is_ok() {
                draft.progress(&earlier, event, Source::Journal)?;
            }
            return Ok(None);
        }
        let payment = draft
            .payment(&original)
            .ok_or(LedgerError::UnknownPayment)?;
        if let Some(why) = refused(payment, &record, event) {
            return Ok(Some(why));
        }
        debug_assert_eq!(request_name(&record).requested, now);
        draft.ask(record, Source::Journal)?;
        draft.progress(&record, event, Source::Journal)?;
        Ok(None)
    }

    /// The payment that an entry refers to.
    async fn original(
        &self,
        domain: &Domain,
        draft: &Draft<'_>,
        entry: &NewPayment,
        action: Action,
    ) -> Result<Result<PaymentId, WhyUnapplied>, LedgerError> {
        let fields = &entry.fields;
        let (by, stan) = match fields.original {
            Some(Reference::Voucher(original)) => match (original.batch, original.voucher) {
                (Some(batch), Some(voucher)) => {
                    (Lookup::Voucher(fields.terminal, batch, voucher), None)
                }
                _ => return Ok(Err(WhyUnapplied::NoOriginal)),
            },
            Some(Reference::Rrn { rrn, date }) => match date.on_or_before(entry.date) {
                Some(date) => (Lookup::Rrn(rrn, date), None),
                None => return Ok(Err(WhyUnapplied::NoOriginal)),
            },
            Some(Reference::Order(order)) => (Lookup::Order(order), None),
            Some(Reference::Message(message)) => (
                Lookup::Batch(fields.terminal, fields.batch),
                Some(message.stan),
            ),
            None => return Ok(Err(WhyUnapplied::NoOriginal)),
        };
        let fits = |payment: &Payment| {
            by.names(payment)
                && is_original(payment.fields.kind, fields.kind, action)
                && payment.fields.merchant == fields.merchant
                && stan.is_none_or(|stan| payment.fields.stan == stan)
                && payment.id != entry.id
        };
        let mut found: Vec<PaymentId> = draft
            .payments()
            .filter(|payment| fits(payment))
            .map(|payment| payment.id)
            .collect();
        let mut after = None;
        loop {
            let page = self.find(domain, &by, after, MAX_PAGE).await?;
            let ids = page.items.iter().filter(|payment| fits(payment));
            found.extend(ids.map(|payment| payment.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(match found.as_slice() {
            [] => Err(WhyUnapplied::NoOriginal),
            [one] => Ok(*one),
            _ => Err(WhyUnapplied::Ambiguous),
        })
    }
}

/// What a kind of entry does to another payment.
fn action_of(kind: PaymentKind) -> Option<Action> {
    if kind.is_void() {
        Some(Action::Void)
    } else if kind.is_refund() {
        Some(Action::Refund)
    } else if kind == PaymentKind::Reversal {
        Some(Action::Reversal)
    } else if kind == PaymentKind::Completion {
        Some(Action::Completion)
    } else {
        None
    }
}

/// Whether an entry of kind `acting` can act on a payment of kind `original`.
fn is_original(original: PaymentKind, acting: PaymentKind, action: Action) -> bool {
    match action {
        Action::Void => original.void() == Some(acting),
        Action::Refund => original.refund() == Some(acting),
        Action::Completion => original == PaymentKind::PreAuthorization,
        // The reversal of a void or of a completion's void is left to the desk.
        _ => original.refund().is_some() || original == PaymentKind::PreAuthorization,
    }
}

/// Why what a terminal did cannot be recorded as done to `payment`.
fn refused(payment: &Payment, record: &RequestRecord, event: RefundEvent) -> Option<WhyUnapplied> {
    let (kind, whole) = (payment.fields.kind, payment.fields.amount);
    let takes_whole = matches!(record.action, Action::Void | Action::Reversal);
    if record.amount.is_zero()
        || record.amount.currency() != whole.currency()
        || takes_whole && record.amount != whole
    {
        return Some(WhyUnapplied::Amount);
    }
    if payment.pending.is_some() {
        return Some(WhyUnapplied::State);
    }
    let outcome = match record.action {
        Action::Refund => {
            let counted = payment.refunds.counted().ok();
            let total = counted.and_then(|counted| counted.checked_add(record.amount).ok());
            if total.is_none_or(|total| total.minor() > whole.minor()) {
                return Some(WhyUnapplied::TotalExceeded);
            }
            let status = match event {
                RefundEvent::Accepted => RefundStatus::Accepted,
                _ => RefundStatus::InDoubt,
            };
            let totals = payment.refunds.with(record.amount, status).ok()?;
            PaymentEvent::Refunds(totals.level(whole))
        }
        Action::Void => PaymentEvent::Voided,
        Action::Completion => PaymentEvent::Completed,
        _ => PaymentEvent::Reversed,
    };
    let follows = payment.state.after(kind, outcome).is_ok();
    (!follows).then_some(WhyUnapplied::State)
}

/// The number of an entry's request: the merchant's, or the entry's name. In hexadecimal digits
/// some terminals' ids would pass for card numbers.
fn number_of(entry: &NewPayment) -> Result<RefundNumber, LedgerError> {
    if let Some(number) = entry.fields.refund {
        return Ok(number);
    }
    // A terminal's id may have blanks, a number has none.
    let name = entry.id.to_string().replace('%', "%25").replace(' ', "%20");
    RefundNumber::parse(format!("J-{name}").as_bytes()).map_err(|_| LedgerError::Tampered)
}
