//! Tokens in, cards out; and what else is told of a token.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use super::rows::{open_row, opens};
use super::{TRIES, Vault};
use crate::card::{CardRecord, Pan};
use crate::keys::Domain;
use crate::token::Token;
use crate::vault::access::{Access, Operation};
use crate::vault::error::VaultError;
use crate::vault::request::{CardTokens, Metadata};
use crate::vault::ring_state::RingState;
use crate::vault::row::{Columns, read_row_key, row_key};
use crate::vault::store::{Found, MAX_BATCH, Row, Store};

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// The card behind one token. The access is logged before the card is handed out.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::Expired`], [`VaultError::Tampered`],
    /// [`VaultError::Log`]; the ring's and the store's errors.
    pub async fn detokenize(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
    ) -> Result<CardRecord, VaultError> {
        // No future holds the card: it is opened after the last wait.
        let row = self.row(domain, token).await;
        let result = row.and_then(|(_, row)| self.open_live(domain, token, &row));
        let event = self.event(
            access,
            Operation::Detokenize,
            domain,
            Some(*token),
            result.is_ok(),
        );
        self.log.record(&[event])?;
        result
    }

    /// The card behind each token. The accesses are logged before a card is handed out.
    ///
    /// The cards wipe themselves where they are when the vector is dropped. Read them in place, by
    /// reference: to move one out of the vector leaves a copy in its memory that nobody wipes.
    pub async fn detokenize_batch(
        &self,
        access: &Access,
        domain: &Domain,
        tokens: &[Token],
    ) -> Vec<Result<CardRecord, VaultError>> {
        // Never grows: what a grown vector leaves behind is not wiped.
        let mut results = Vec::with_capacity(tokens.len());
        for chunk in tokens.chunks(MAX_BATCH) {
            match self.rows(domain, chunk).await {
                Ok(rows) => results.extend(chunk.iter().zip(rows).map(|(token, row)| {
                    let row = row.ok_or(VaultError::UnknownToken)?;
                    self.open_live(domain, token, &row)
                })),
                Err(error) => results.extend(chunk.iter().map(|_| Err(error))),
            }
        }
        let events: Vec<_> = tokens
            .iter()
            .zip(&results)
            .map(|(token, result)| {
                self.event(
                    access,
                    Operation::Detokenize,
                    domain,
                    Some(*token),
                    result.is_ok(),
                )
            })
            .collect();
        if let Err(error) = self.log.record(&events) {
            return tokens.iter().map(|_| Err(VaultError::Log(error))).collect();
        }
        results
    }

    /// The tokens of a card, expired ones included. The access is logged first: whoever may ask
    /// can find out whether a number is in the vault. Rows that do not open are named apart.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if the index names a row of another card, [`VaultError::Log`];
    /// the ring's and the store's errors.
    pub async fn find(
        &self,
        access: &Access,
        domain: &Domain,
        pan: &Pan,
    ) -> Result<CardTokens, VaultError> {
        let found = self.find_tokens(domain, pan).await;
        let granted = found.is_ok();
        let tokens = found
            .as_ref()
            .map(|found| (found.tokens.as_slice(), found.unopenable.as_slice()))
            .unwrap_or_default();
        let mut events: Vec<_> = tokens
            .0
            .iter()
            .chain(tokens.1)
            .map(|token| self.event(access, Operation::Find, domain, Some(*token), granted))
            .collect();
        if events.is_empty() {
            events.push(self.event(access, Operation::Find, domain, None, granted));
        }
        self.log.record(&events)?;
        found
    }

    /// Whether the domain has this token, expired or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn exists(&self, domain: &Domain, token: &Token) -> Result<bool, VaultError> {
        let rows = self.store.rows(vec![row_key(domain, token)?]).await?;
        Ok(rows.into_iter().flatten().next().is_some())
    }

    /// What is kept in the clear of the card behind a token, expired or not; checked against the
    /// sealed record.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::Tampered`]; the ring's and the store's errors.
    pub async fn metadata(&self, domain: &Domain, token: &Token) -> Result<Metadata, VaultError> {
        let (_, row) = self.row(domain, token).await?;
        let state = self.state()?;
        let (columns, _) = open_row(&state, domain, token, &row)?;
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
    }

    /// Whether a token stands for this card. The access is logged first.
    pub(crate) async fn is_card(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
        pan: &Pan,
    ) -> Result<bool, VaultError> {
        let opened = async {
            let (_, row) = self.row(domain, token).await?;
            open_row(&*self.state()?, domain, token, &row)
        };
        let opened = opened.await;
        self.log.record(&[self.event(
            access,
            Operation::Find,
            domain,
            Some(*token),
            opened.is_ok(),
        )])?;
        let (_, card) = opened?;
        Ok(card.pan.ct_eq(pan).into())
    }

    /// The card of a row, unless the token has expired.
    fn open_live(
        &self,
        domain: &Domain,
        token: &Token,
        row: &Row,
    ) -> Result<CardRecord, VaultError> {
        let (columns, card) = open_row(&*self.state()?, domain, token, row)?;
        if columns.is_expired((self.clock)()) {
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
