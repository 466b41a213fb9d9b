//! Rows sealed and opened.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rand_core::TryCryptoRng;

use super::Vault;
use crate::card::{CardRecord, RecordError};
use crate::fingerprint::FINGERPRINT_LEN;
use crate::keys::{Domain, KeyError, KeyId};
use crate::seal::{
    Binding, NonceSource, Opener, SEALED_RECORD_LEN, SealError, SealedRecord, Sealer, sealed_key_id,
};
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::error::VaultError;
use crate::vault::ring_state::{DomainKeys, RingState};
use crate::vault::row::{Columns, RowParts, build_row};
use crate::vault::store::{Row, Store};

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// The row anew, under the active version and in its next revision.
    pub(super) fn reseal(
        &self,
        state: &RingState,
        domain: &Domain,
        token: &Token,
        row: &Row,
        columns: Columns,
        card: &CardRecord,
    ) -> Result<Row, VaultError> {
        let fingerprint = *RowParts::read(row)?.fingerprint;
        self.reseal_under(state, domain, token, &fingerprint, columns, card)
    }

    /// The row of a card anew, under the active version, with this fingerprint.
    pub(super) fn reseal_under(
        &self,
        state: &RingState,
        domain: &Domain,
        token: &Token,
        fingerprint: &[u8; FINGERPRINT_LEN],
        columns: Columns,
        card: &CardRecord,
    ) -> Result<Row, VaultError> {
        let now = (self.clock)();
        let sealer = state.domain(domain)?.sealer(&state.ring, domain, now)?;
        let mut random = self.random.lock().map_err(|_| VaultError::Broken)?;
        seal_row(
            &sealer,
            &mut random.nonces,
            now,
            token,
            fingerprint,
            columns.next(),
            card,
        )
    }
}

pub(super) fn seal_row<R: TryCryptoRng>(
    sealer: &Sealer,
    nonces: &mut NonceSource<R>,
    now: UnixSeconds,
    token: &Token,
    fingerprint: &[u8; FINGERPRINT_LEN],
    columns: Columns,
    card: &CardRecord,
) -> Result<Row, VaultError> {
    let columns = columns.to_bytes();
    let binding = Binding {
        token: token.as_bytes(),
        fingerprint,
        columns: &columns,
    };
    let mut sealed: SealedRecord = [0; SEALED_RECORD_LEN];
    sealer.seal(card, &binding, now, nonces, &mut sealed)?;
    Ok(build_row(&columns, fingerprint, &sealed)?)
}

/// The columns and the card of a row, if it is what the vault wrote under this token.
pub(super) fn open_row(
    state: &RingState,
    domain: &Domain,
    token: &Token,
    row: &Row,
) -> Result<(Columns, CardRecord), VaultError> {
    RowOpener::new(state, *domain).open(token, row)
}

/// Opens rows of one domain. Most of them are under one key: it stays at hand.
pub(super) struct RowOpener<'a> {
    state: &'a RingState,
    domain: Domain,
    /// From the first row on: a domain without rows costs no derivation.
    keys: Option<Arc<DomainKeys>>,
    last: Option<(KeyId, Arc<Opener>)>,
}

impl<'a> RowOpener<'a> {
    pub(super) const fn new(state: &'a RingState, domain: Domain) -> Self {
        Self {
            state,
            domain,
            keys: None,
            last: None,
        }
    }

    pub(super) const fn domain(&self) -> &Domain {
        &self.domain
    }

    pub(super) fn keys(&mut self) -> Result<&DomainKeys, VaultError> {
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => self.state.domain(&self.domain)?,
        };
        Ok(self.keys.insert(keys))
    }

    /// The columns and the card of a row, if it is what the vault wrote under this token.
    pub(super) fn open(
        &mut self,
        token: &Token,
        row: &Row,
    ) -> Result<(Columns, CardRecord), VaultError> {
        let parts = RowParts::read(row)?;
        let opener = self.opener(&key_id(&parts)?)?;
        open_parts(opener, token, &parts)
    }

    /// Whether the ring has no key for the row's record.
    pub(super) fn lacks(&mut self, row: &Row) -> bool {
        let opener = RowParts::read(row)
            .and_then(|parts| key_id(&parts))
            .and_then(|id| self.opener(&id).map(|_| ()));
        opener == Err(VaultError::Key(KeyError::UnknownKey))
    }

    /// The opener for records under the key with this id.
    pub(super) fn opener(&mut self, id: &KeyId) -> Result<&Opener, VaultError> {
        let known = self.last.take().filter(|(known, _)| known == id);
        let opener = match known {
            Some((_, opener)) => opener,
            None => {
                let (state, domain) = (self.state, self.domain);
                self.keys()?.opener(&state.ring, &domain, id)?
            }
        };
        Ok(&self.last.insert((*id, opener)).1)
    }
}

/// The columns and the card of a row that was taken apart, with the opener of its key.
pub(super) fn open_parts(
    opener: &Opener,
    token: &Token,
    parts: &RowParts<'_>,
) -> Result<(Columns, CardRecord), VaultError> {
    let binding = Binding {
        token: token.as_bytes(),
        fingerprint: parts.fingerprint,
        columns: parts.column_bytes,
    };
    let card = opener.open(parts.sealed, &binding).map_err(not_opened)?;
    Ok((parts.columns, card))
}

/// What was opened, or none if that failed for what the row is and not for what the ring or the
/// vault is.
pub(super) fn opens<T>(opened: Result<T, VaultError>) -> Result<Option<T>, VaultError> {
    match opened {
        Err(
            VaultError::Tampered
            | VaultError::NewerFormat { .. }
            | VaultError::Key(KeyError::UnknownKey),
        ) => Ok(None),
        opened => opened.map(Some),
    }
}

/// The id of the key that a row's record is sealed under.
pub(super) fn key_id(parts: &RowParts<'_>) -> Result<KeyId, VaultError> {
    sealed_key_id(parts.sealed).map_err(not_opened)
}

/// The card version whose key in this domain has this id; none if the ring has no such key.
pub(super) fn version_of(
    state: &RingState,
    domain: &Domain,
    id: &KeyId,
) -> Result<Option<u32>, VaultError> {
    let opener = state.domain(domain)?.opener(&state.ring, domain, id);
    Ok(opens(opener)?.map(|opener| opener.name().version))
}

/// Why a record did not open.
const fn not_opened(error: SealError) -> VaultError {
    match error {
        SealError::Version { found } if found > 1 => VaultError::NewerFormat { found },
        SealError::Record(RecordError::Version { found }) => VaultError::NewerFormat { found },
        _ => VaultError::Tampered,
    }
}
