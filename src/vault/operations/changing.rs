//! What changes a row that is there, or takes it out.
#![forbid(unsafe_code)]

use rand_core::TryCryptoRng;

use super::rows::open_row;
use super::{TRIES, Vault};
use crate::keys::Domain;
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::access::{Access, Operation};
use crate::vault::error::VaultError;
use crate::vault::ring_state::RingState;
use crate::vault::row::{Columns, RowParts, index_key};
use crate::vault::store::{IndexKey, Row, RowKey, Store, Write, WriteOutcome};
use crate::vault::telemetry::{self, Call};

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Changes from when on a token is refused; none: never.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::Conflict`], [`VaultError::Tampered`]; the
    /// ring's and the store's errors.
    pub async fn set_expiry(
        &self,
        domain: &Domain,
        token: &Token,
        expires: Option<UnixSeconds>,
    ) -> Result<(), VaultError> {
        let call = async {
            for _ in 0..TRIES {
                let (key, row) = self.row(domain, token).await?;
                let state = self.state()?;
                let write = self.with_expiry(&state, domain, token, key, row, expires)?;
                if self.write_one(&state, write).await? {
                    return Ok(());
                }
            }
            Err(VaultError::Conflict)
        };
        telemetry::watch(Call::SetExpiry, domain, 1, call).await
    }

    /// Takes a token out of the vault, also one whose row can no longer be opened or read. The
    /// access is logged first.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::Refused`], [`VaultError::Conflict`],
    /// [`VaultError::Log`]; the store's.
    pub async fn delete(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
    ) -> Result<(), VaultError> {
        let call = async {
            let row = match self.ask(access, Operation::Delete, Some(domain)) {
                Ok(()) => self.row(domain, token).await,
                Err(refused) => Err(refused),
            };
            self.log.record(&[self.event(
                access,
                Operation::Delete,
                domain,
                Some(*token),
                &row,
            )])?;
            let (key, mut row) = row?;
            for _ in 0..TRIES {
                let state = self.state()?;
                let write = Write::Delete {
                    token: key,
                    index: indexed_under(&state, domain, token, &row)?,
                    expected: row,
                };
                if self.write_one(&state, write).await? {
                    return Ok(());
                }
                (_, row) = self.row(domain, token).await?;
            }
            Err(VaultError::Conflict)
        };
        telemetry::watch(Call::Delete, domain, 1, call).await
    }

    /// The write that gives a row another expiry.
    fn with_expiry(
        &self,
        state: &RingState,
        domain: &Domain,
        token: &Token,
        key: RowKey,
        row: Row,
        expires: Option<UnixSeconds>,
    ) -> Result<Write, VaultError> {
        let (columns, card) = open_row(state, domain, token, &row)?;
        let columns = Columns { expires, ..columns };
        let replacement = self.reseal(state, domain, token, &row, columns, &card)?;
        Ok(Write::Replace {
            token: key,
            expected: row,
            row: replacement,
        })
    }

    /// Whether the one write was done; if not, it is to be made again of what is stored now.
    async fn write_one(&self, state: &RingState, write: Write) -> Result<bool, VaultError> {
        let outcomes = self.write(state, vec![write]).await?;
        match outcomes.as_deref() {
            Some([WriteOutcome::Replaced | WriteOutcome::Deleted]) => Ok(true),
            Some([WriteOutcome::Missing]) => Err(VaultError::UnknownToken),
            _ => Ok(false),
        }
    }
}

/// All index keys that a row is known to stand under: the one it was written with and, if the card
/// can still be read, those of today. None of a row that cannot be read.
pub(super) fn indexed_under(
    state: &RingState,
    domain: &Domain,
    token: &Token,
    row: &Row,
) -> Result<Vec<IndexKey>, VaultError> {
    let Ok(parts) = RowParts::read(row) else {
        return Ok(Vec::new());
    };
    let mut index = vec![index_key(
        domain,
        parts.columns.index_version,
        parts.fingerprint,
    )?];
    if let Ok((_, card)) = open_row(state, domain, token, row) {
        for key in state.domain(domain)?.index(&card.pan)?.keys {
            if !index.contains(&key) {
                index.push(key);
            }
        }
    }
    Ok(index)
}
