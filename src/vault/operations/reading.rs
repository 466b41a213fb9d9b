//! Tokens in, cards out; and what else is told of a token.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use super::rows::{RowOpener, open_row, opens};
use super::{TRIES, Vault};
use crate::card::{CardRecord, MaskedPan, Pan};
use crate::keys::Domain;
use crate::token::Token;
use crate::vault::access::{Access, Operation};
use crate::vault::error::VaultError;
use crate::vault::request::{CardTokens, Metadata};
use crate::vault::ring_state::RingState;
use crate::vault::row::{Columns, read_row_key};
use crate::vault::store::{Found, MAX_BATCH, Row, Store};
use crate::vault::telemetry::{self, Call};

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// The card behind one token. The access is logged before the card is handed out.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::Expired`], [`VaultError::Tampered`],
    /// [`VaultError::Refused`], [`VaultError::Log`]; the ring's and the store's errors.
    pub async fn detokenize(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
    ) -> Result<CardRecord, VaultError> {
        let call = self.read(access, Operation::Detokenize, domain, token, |row| {
            self.open_live(&mut RowOpener::new(&*self.state()?, *domain), token, row)
        });
        telemetry::watch(Call::Detokenize, domain, 1, call).await
    }

    /// The card behind each token. The accesses are logged before a card is handed out. Where a
    /// budget ends, the cards before it are given and the others refused.
    ///
    /// The cards wipe themselves where they are when the vector is dropped. Read them in place, by
    /// reference: to move one out of the vector leaves a copy in its memory that nobody wipes.
    pub async fn detokenize_batch(
        &self,
        access: &Access,
        domain: &Domain,
        tokens: &[Token],
    ) -> Vec<Result<CardRecord, VaultError>> {
        let call = self.read_batch(
            access,
            Operation::Detokenize,
            domain,
            tokens,
            |opener, token, row| self.open_live(opener, token, row),
        );
        telemetry::watch(Call::DetokenizeBatch, domain, tokens.len(), call).await
    }

    /// The masked number of the card behind one token: the 6-digit BIN and the last four. The
    /// access is logged before it is handed out.
    ///
    /// # Errors
    /// As [`Vault::detokenize`].
    pub async fn masked(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
    ) -> Result<MaskedPan, VaultError> {
        let call = self.read(access, Operation::Masked, domain, token, |row| {
            self.mask_live(&mut RowOpener::new(&*self.state()?, *domain), token, row)
        });
        telemetry::watch(Call::Masked, domain, 1, call).await
    }

    /// The masked number of the card behind each token: as [`Vault::detokenize_batch`].
    pub async fn masked_batch(
        &self,
        access: &Access,
        domain: &Domain,
        tokens: &[Token],
    ) -> Vec<Result<MaskedPan, VaultError>> {
        let call = self.read_batch(
            access,
            Operation::Masked,
            domain,
            tokens,
            |opener, token, row| self.mask_live(opener, token, row),
        );
        telemetry::watch(Call::MaskedBatch, domain, tokens.len(), call).await
    }

    /// The tokens of a card, expired ones included. The access is logged first: whoever may ask
    /// can find out whether a number is in the vault. Rows that do not open are named apart.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if the index names a row of another card, [`VaultError::Refused`],
    /// [`VaultError::Log`]; the ring's and the store's errors.
    pub async fn find(
        &self,
        access: &Access,
        domain: &Domain,
        pan: &Pan,
    ) -> Result<CardTokens, VaultError> {
        let call = async {
            let found = match self.ask(access, Operation::Find, Some(domain)) {
                Ok(()) => self.find_tokens(domain, pan).await,
                Err(refused) => Err(refused),
            };
            let tokens = found
                .as_ref()
                .map(|found| (found.tokens.as_slice(), found.unopenable.as_slice()))
                .unwrap_or_default();
            let mut events: Vec<_> = tokens
                .0
                .iter()
                .chain(tokens.1)
                .map(|token| self.event(access, Operation::Find, domain, Some(*token), &found))
                .collect();
            if events.is_empty() {
                events.push(self.event(access, Operation::Find, domain, None, &found));
            }
            self.log.record(&events)?;
            found
        };
        telemetry::watch(Call::Find, domain, 1, call).await
    }

    /// Whether the domain has this token, expired or not. The access, an [`Operation::Count`], is
    /// logged first.
    ///
    /// # Errors
    /// [`VaultError::Refused`], [`VaultError::Log`]; the store's.
    pub async fn exists(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
    ) -> Result<bool, VaultError> {
        let call = async {
            let row = match self.ask(access, Operation::Count, Some(domain)) {
                Ok(()) => self.row(domain, token).await,
                Err(refused) => Err(refused),
            };
            let exists = match row {
                Ok(_) => Ok(true),
                Err(VaultError::UnknownToken) => Ok(false),
                Err(error) => Err(error),
            };
            self.log.record(&[self.event(
                access,
                Operation::Count,
                domain,
                Some(*token),
                &exists,
            )])?;
            exists
        };
        telemetry::watch(Call::Exists, domain, 1, call).await
    }

    /// What is kept in the clear of the card behind a token, expired or not; checked against the
    /// sealed record. The access, an [`Operation::Masked`], is logged first.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::Tampered`], [`VaultError::Refused`],
    /// [`VaultError::Log`]; the ring's and the store's errors.
    pub async fn metadata(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
    ) -> Result<Metadata, VaultError> {
        let call = self.read(access, Operation::Masked, domain, token, |row| {
            let (columns, _) = open_row(&*self.state()?, domain, token, row)?;
            let Columns {
                convergent,
                brand,
                last_four,
                created,
                expires,
                ..
            } = columns;
            Ok(Metadata {
                brand,
                last_four,
                created,
                expires,
                convergent,
            })
        });
        telemetry::watch(Call::Metadata, domain, 1, call).await
    }

    /// Whether a token stands for this card. The access is logged first.
    pub(crate) async fn is_card(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
        pan: &Pan,
    ) -> Result<bool, VaultError> {
        self.read(access, Operation::Find, domain, token, |row| {
            let (_, card) = open_row(&*self.state()?, domain, token, row)?;
            Ok(card.pan.ct_eq(pan).into())
        })
        .await
    }

    /// What `open` makes of a token's row, logged.
    async fn read<T>(
        &self,
        access: &Access,
        operation: Operation,
        domain: &Domain,
        token: &Token,
        open: impl Fn(&Row) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        // No future holds the card: it is opened after the last wait.
        let row = match self.ask(access, operation, Some(domain)) {
            Ok(()) => self.row(domain, token).await,
            Err(refused) => Err(refused),
        };
        let result = row.and_then(|(_, row)| open(&row));
        self.log
            .record(&[self.event(access, operation, domain, Some(*token), &result)])?;
        result
    }

    /// What `open` makes of each token's row, logged.
    async fn read_batch<T>(
        &self,
        access: &Access,
        operation: Operation,
        domain: &Domain,
        tokens: &[Token],
        open: impl Fn(&mut RowOpener<'_>, &Token, &Row) -> Result<T, VaultError>,
    ) -> Vec<Result<T, VaultError>> {
        // Never grows: what a grown vector leaves behind is not wiped.
        let mut results = Vec::with_capacity(tokens.len());
        let asked = self.ask_many(access, operation, Some(domain), tokens.len());
        let (count, refused) = match asked {
            Ok(asked) => (asked.count, asked.refusal.map(VaultError::Refused)),
            Err(error) => (0, Some(error)),
        };
        for chunk in tokens.get(..count).unwrap_or(tokens).chunks(MAX_BATCH) {
            let rows = self.rows(domain, chunk).await;
            let opened = rows.and_then(|rows| {
                let state = self.state()?;
                let mut opener = RowOpener::new(&state, *domain);
                results.extend(chunk.iter().zip(rows).map(|(token, row)| {
                    open(&mut opener, token, &row.ok_or(VaultError::UnknownToken)?)
                }));
                Ok(())
            });
            if let Err(error) = opened {
                results.extend(chunk.iter().map(|_| Err(error)));
            }
        }
        if let Some(refused) = refused {
            results.resize_with(tokens.len(), || Err(refused));
        }
        match self.log_batch(access, operation, domain, tokens, &results) {
            Ok(()) => results,
            Err(error) => tokens.iter().map(|_| Err(error)).collect(),
        }
    }

    /// The masked number of a row's card, unless the token has expired.
    fn mask_live(
        &self,
        opener: &mut RowOpener<'_>,
        token: &Token,
        row: &Row,
    ) -> Result<MaskedPan, VaultError> {
        // By reference: a card that is moved leaves a copy that nobody wipes.
        match &self.open_live(opener, token, row) {
            Ok(card) => Ok(card.pan.mask()),
            Err(error) => Err(*error),
        }
    }

    /// The card of a row, unless the token has expired.
    fn open_live(
        &self,
        opener: &mut RowOpener<'_>,
        token: &Token,
        row: &Row,
    ) -> Result<CardRecord, VaultError> {
        let (columns, card) = opener.open(token, row)?;
        // The clock is asked for those that expire alone.
        if columns.expires.is_some() && columns.is_expired((self.clock)()) {
            Err(VaultError::Expired)
        } else {
            Ok(card)
        }
    }

    async fn find_tokens(&self, domain: &Domain, pan: &Pan) -> Result<CardTokens, VaultError> {
        for _ in 0..TRIES {
            let state = self.state()?;
            let indexed = state.domain(domain)?.index(pan)?;
            let found = self.indexed(&indexed.keys).await?;
            let others = self.store.rows(found.others.clone()).await?;
            // The index of a ring that is behind lacks some or all of the card's entries.
            if !self.has_moved(&state).await? {
                return opened(&state, domain, pan, found, others);
            }
        }
        Err(VaultError::Conflict)
    }
}

/// The tokens of a card, of what the index holds for it and the rows of its others.
fn opened(
    state: &RingState,
    domain: &Domain,
    pan: &Pan,
    found: Found,
    others: Vec<Option<Row>>,
) -> Result<CardTokens, VaultError> {
    let rows = found.others.into_iter().zip(others);
    let rows = rows.filter_map(|(key, row)| row.map(|row| (key, row)));
    let mut tokens = CardTokens {
        more: found.more,
        ..CardTokens::default()
    };
    for (key, row) in found.unique.into_iter().chain(rows) {
        let (of, token) = read_row_key(&key).map_err(|_| VaultError::Tampered)?;
        let Some((_, card)) = opens(open_row(state, domain, &token, &row))? else {
            tokens.unopenable.push(token);
            continue;
        };
        if of != *domain || !bool::from(card.pan.ct_eq(pan)) {
            return Err(VaultError::Tampered);
        }
        tokens.tokens.push(token);
    }
    Ok(tokens)
}
