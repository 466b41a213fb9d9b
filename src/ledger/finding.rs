//! Payments found again: by what is known of them, by card, and by time.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::error::LedgerError;
use super::handle::{Cursor, Ledger, MAX_PAGE, Page};
use super::record::{Payment, PaymentId};
use super::row::Index;
use crate::card::Pan;
use crate::keys::Domain;
use crate::payment::{BatchNumber, Date, OrderNumber, Par, Rrn, TerminalId, Voucher};
use crate::refund::{CardMatch, PaymentState};
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::telemetry::{self, Call};
use crate::vault::{Access, Store, VaultError};

/// By what payments are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// The card's token.
    Token(Token),
    /// The reference number and the day: the merchant's or the clearing date.
    Rrn(Rrn, Date),
    /// What the receipt shows. More than one payment only where batch numbers came round.
    Voucher(TerminalId, BatchNumber, Voucher),
    /// The order number of a QR payment.
    Order(OrderNumber),
    /// A terminal's batch.
    Batch(TerminalId, BatchNumber),
    /// Payments whose outcome is unknown.
    InDoubt,
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// The payment of this identity.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPayment`], [`LedgerError::Tampered`]; the vault's.
    pub async fn payment(&self, domain: &Domain, id: &PaymentId) -> Result<Payment, LedgerError> {
        let call = async {
            let state = self.vault().state()?;
            let read = self.read_payment(&state, domain, id).await?;
            Ok(read.value)
        };
        telemetry::watch(Call::Payment, domain, 1, call).await
    }

    /// Payments by what is known of them, oldest first, at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn find(
        &self,
        domain: &Domain,
        by: &Lookup,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Payment>, LedgerError> {
        let call = async {
            let state = self.vault().state()?;
            let limit = limit.clamp(1, MAX_PAGE);
            let key = by.index().key(domain)?;
            let (rows, next) = self.linked(key, after, None, limit).await?;
            let mut items = Vec::with_capacity(rows.len());
            for (key, row) in rows {
                let read = self.open::<Payment>(&state, domain, key, row)?;
                if by.names(&read.value) {
                    items.push(read.value);
                } else if *by != Lookup::InDoubt {
                    return Err(LedgerError::Tampered);
                }
                // Else it was resolved after the index was read.
            }
            Ok(Page { items, next })
        };
        telemetry::watch(Call::FindPayments, domain, 1, call).await
    }

    /// The payments of a card, by the tokens that the vault has for it: of each token the oldest
    /// `limit`, at most [`MAX_PAGE`]. The access is logged by the vault.
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn find_card(
        &self,
        access: &Access,
        domain: &Domain,
        pan: &Pan,
        limit: usize,
    ) -> Result<Vec<Payment>, LedgerError> {
        let call = async {
            let known = self.vault().find(access, domain, pan).await?;
            let mut payments = Vec::new();
            for token in known.tokens {
                let page = self
                    .find(domain, &Lookup::Token(token), None, limit)
                    .await?;
                payments.extend(page.items);
            }
            payments.sort_by_key(|payment| (payment.time, payment.id));
            Ok(payments)
        };
        telemetry::watch(Call::FindCard, domain, 1, call).await
    }

    /// The payments from `from` to before `until`, in the order of their time, at most `limit`
    /// and [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`LedgerError::Tampered`]; the vault's.
    pub async fn payments(
        &self,
        domain: &Domain,
        from: UnixSeconds,
        until: UnixSeconds,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Payment>, LedgerError> {
        let call = async { self.between(domain, from, until, after, limit).await };
        telemetry::watch(Call::Payments, domain, 1, call).await
    }

    /// What comparing a presented card with the one that paid gives. PARs decide where both are
    /// known; else the card numbers, through the payment's token. The access is logged.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPayment`], [`LedgerError::Tampered`]; the vault's.
    pub async fn compare(
        &self,
        access: &Access,
        domain: &Domain,
        id: &PaymentId,
        pan: &Pan,
        par: Option<&Par>,
    ) -> Result<CardMatch, LedgerError> {
        let call = async {
            let payment = self.payment(domain, id).await?;
            if let (Some(original), Some(presented)) = (&payment.fields.par, par) {
                return Ok(if original == presented {
                    CardMatch::ParSame
                } else {
                    CardMatch::ParDifferent
                });
            }
            let Some(token) = &payment.token else {
                return Ok(CardMatch::Different);
            };
            Ok(
                match self.vault().is_card(access, domain, token, pan).await {
                    Ok(true) => CardMatch::Same,
                    // A token that was taken out of the vault can be compared with nothing.
                    Ok(false) | Err(VaultError::UnknownToken) => CardMatch::Different,
                    Err(error) => return Err(error.into()),
                },
            )
        };
        telemetry::watch(Call::Compare, domain, 1, call).await
    }
}

impl Lookup {
    pub(super) const fn index(&self) -> Index<'_> {
        match self {
            Self::Token(token) => Index::Token(token),
            Self::Rrn(rrn, date) => Index::Rrn(rrn, *date),
            Self::Voucher(terminal, batch, voucher) => Index::Voucher(terminal, *batch, *voucher),
            Self::Order(order) => Index::Order(order),
            Self::Batch(terminal, batch) => Index::Batch(terminal, *batch),
            Self::InDoubt => Index::InDoubt,
        }
    }

    /// Whether a payment is one that is looked for.
    pub(super) fn names(&self, payment: &Payment) -> bool {
        let fields = &payment.fields;
        match self {
            Self::Token(token) => payment.token.as_ref() == Some(token),
            Self::Rrn(rrn, date) => {
                let clearing = fields.clearing.map(|clearing| clearing.0);
                fields.rrn.as_ref() == Some(rrn)
                    && (payment.date == *date || clearing == Some(*date))
            }
            Self::Voucher(terminal, batch, voucher) => {
                fields.terminal == *terminal && fields.batch == *batch && fields.voucher == *voucher
            }
            Self::Order(order) => fields.order.as_ref() == Some(order),
            Self::Batch(terminal, batch) => fields.terminal == *terminal && fields.batch == *batch,
            Self::InDoubt => payment.state == PaymentState::InDoubt,
        }
    }
}
