//! What a vault does: cards in, tokens out, and back.
#![forbid(unsafe_code)]

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use getrandom::SysRng;
use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use super::access::{Access, AccessEvent, AccessLog, Operation};
use super::error::VaultError;
use super::guard::RingSeen;
use super::request::{CardTokens, Metadata, Rewrapped, Tokenize, Tokenized, VaultStats};
use super::ring_state::{DomainKeys, RingState};
use super::row::{Columns, RowParts, build_row, index_key, read_row_key, row_key, vault_end};
use super::store::{IndexKey, MAX_BATCH, Row, RowKey, Store, StoreError, Write, WriteOutcome};
use crate::card::{CardRecord, Pan};
use crate::fingerprint::FINGERPRINT_LEN;
use crate::keys::{Domain, KeyId, KeyRing};
use crate::seal::{Binding, NonceSource, SEALED_RECORD_LEN, Sealer, sealed_key_id};
use crate::time::UnixSeconds;
use crate::token::Token;

/// How often a token is drawn for a card while the drawn ones are taken.
const DRAWS: usize = 16;
/// How often a guard is written again while others change it.
const GUARD_TRIES: usize = 16;
/// Rows that [`Vault::stats`] reads at a time.
const PAGE: usize = 1000;

/// Card records under tokens, in a store, sealed under a key ring.
///
/// Every call may be made from many threads and tasks at once; a returned token is durable. A
/// batch gives a result for each of its items, in their order; [`MAX_BATCH`] items go into one
/// transaction, more go into several.
pub struct Vault<S, R = SysRng> {
    store: S,
    log: Box<dyn AccessLog>,
    clock: fn() -> UnixSeconds,
    random: Mutex<Randomness<R>>,
    state: RwLock<Arc<RingState>>,
}

/// Nonces for records, and what tokens are drawn from.
struct Randomness<R> {
    nonces: NonceSource<R>,
    tokens: R,
}

impl<S: Store> Vault<S> {
    /// Opens the vault in `store` with `ring`, the system's random generator and clock. An empty
    /// store becomes a vault of this ring.
    ///
    /// # Errors
    /// [`VaultError::OtherRing`] if the store belongs to another ring, [`VaultError::StaleRing`]
    /// if it has seen a newer generation of this one; the ring's and the store's errors.
    pub async fn open(store: S, ring: KeyRing, log: impl AccessLog) -> Result<Self, VaultError> {
        Self::open_with(store, ring, log, || SysRng, UnixSeconds::now).await
    }
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// [`Vault::open`] with another random generator and clock.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub async fn open_with(
        store: S,
        ring: KeyRing,
        log: impl AccessLog,
        random: fn() -> R,
        clock: fn() -> UnixSeconds,
    ) -> Result<Self, VaultError> {
        let state = RingState::new(ring)?;
        admit(&store, &state.ring).await?;
        let random = Randomness {
            nonces: NonceSource::new(random()),
            tokens: random(),
        };
        Ok(Self {
            store,
            log: Box::new(log),
            clock,
            random: Mutex::new(random),
            state: RwLock::new(Arc::new(state)),
        })
    }

    /// Goes on with `ring`: a newer generation of the ring that is in use.
    ///
    /// # Errors
    /// As [`Vault::open`]; the vault then goes on with the ring that it has.
    pub async fn set_ring(&self, ring: KeyRing) -> Result<(), VaultError> {
        let state = RingState::new(ring)?;
        admit(&self.store, &state.ring).await?;
        *self.state.write().map_err(|_| VaultError::Broken)? = Arc::new(state);
        Ok(())
    }

    /// A token for one card.
    ///
    /// # Errors
    /// Any [`VaultError`]; then the card has no token from this call.
    pub async fn tokenize(
        &self,
        domain: &Domain,
        card: &CardRecord,
        how: &Tokenize,
    ) -> Result<Tokenized, VaultError> {
        if how.convergent
            && let Some(known) = self.known_token(domain, card, how).await?
        {
            return Ok(known);
        }
        let results = self
            .tokenize_batch(domain, core::slice::from_ref(card), how)
            .await;
        results
            .into_iter()
            .next()
            .unwrap_or(Err(VaultError::Broken))
    }

    /// A token for each card.
    pub async fn tokenize_batch(
        &self,
        domain: &Domain,
        cards: &[CardRecord],
        how: &Tokenize,
    ) -> Vec<Result<Tokenized, VaultError>> {
        let mut results = Vec::with_capacity(cards.len());
        for chunk in cards.chunks(MAX_BATCH) {
            match self.tokenize_chunk(domain, chunk, how).await {
                Ok(chunk) => results.extend(chunk),
                Err(error) => results.extend(chunk.iter().map(|_| Err(error))),
            }
        }
        results
    }

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
        let results = self
            .detokenize_batch(access, domain, core::slice::from_ref(token))
            .await;
        results
            .into_iter()
            .next()
            .unwrap_or(Err(VaultError::Broken))
    }

    /// The card behind each token. The accesses are logged before a card is handed out.
    pub async fn detokenize_batch(
        &self,
        access: &Access,
        domain: &Domain,
        tokens: &[Token],
    ) -> Vec<Result<CardRecord, VaultError>> {
        let mut results = Vec::with_capacity(tokens.len());
        for chunk in tokens.chunks(MAX_BATCH) {
            match self.detokenize_chunk(domain, chunk).await {
                Ok(cards) => results.extend(cards),
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
    /// can find out whether a number is in the vault.
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
            .map(|found| found.tokens.as_slice())
            .unwrap_or_default();
        let mut events: Vec<_> = tokens
            .iter()
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
        let (key, row) = self.row(domain, token).await?;
        let state = self.state()?;
        let (columns, card) = open_row(&state, domain, token, &row)?;
        let columns = Columns { expires, ..columns };
        let replacement = self.reseal(&state, domain, token, &row, columns, &card)?;
        let write = Write::Replace {
            token: key,
            expected: row,
            row: replacement,
        };
        self.write_one(&state, write).await
    }

    /// Takes a token out of the vault, also one that can no longer be opened. The access is
    /// logged first.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::Conflict`], [`VaultError::Log`]; the store's.
    pub async fn delete(
        &self,
        access: &Access,
        domain: &Domain,
        token: &Token,
    ) -> Result<(), VaultError> {
        let row = self.row(domain, token).await;
        let granted = row.is_ok();
        self.log
            .record(&[self.event(access, Operation::Delete, domain, Some(*token), granted)])?;
        let (key, row) = row?;
        let state = self.state()?;
        let index = indexed_under(&state, domain, token, &row)?;
        self.write_one(
            &state,
            Write::Delete {
                token: key,
                expected: row,
                index,
            },
        )
        .await
    }

    /// Counts what the vault holds; reads every row.
    ///
    /// # Errors
    /// The store's.
    pub async fn stats(&self) -> Result<VaultStats, VaultError> {
        let state = self.state()?;
        let now = (self.clock)();
        let mut stats = VaultStats::default();
        let mut after = None;
        loop {
            let page = self.store.scan(after, Some(vault_end()?), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(key, _)| *key);
            for (key, row) in &page {
                stats.tokens += 1;
                count(&state, key, row, now, &mut stats);
            }
            if !full {
                return Ok(stats);
            }
        }
    }

    /// How many rows the store has, without reading them: one for each token, and those of a
    /// ledger.
    ///
    /// # Errors
    /// The store's.
    pub async fn count(&self) -> Result<u64, VaultError> {
        Ok(self.store.count().await?)
    }

    /// Seals records of retired versions anew under the active one: up to `limit` rows (at most
    /// [`MAX_BATCH`]) behind `after`. Tokens stay as they are. Call it with the cursor it gave
    /// until there is none.
    ///
    /// # Errors
    /// The store's. Rows that cannot be opened are counted and left as they are.
    pub async fn rewrap(
        &self,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Rewrapped, VaultError> {
        let state = self.state()?;
        let limit = limit.clamp(1, MAX_BATCH);
        let page = self.store.scan(after, Some(vault_end()?), limit).await?;
        let mut step = Rewrapped {
            seen: 0,
            moved: 0,
            left: 0,
            cursor: None,
        };
        if page.len() == limit {
            step.cursor = page.last().map(|(key, _)| *key);
        }
        let mut writes = Vec::new();
        for (key, row) in page {
            step.seen += 1;
            match self.rewrapped(&state, &key, &row) {
                Ok(None) => {}
                Ok(Some(fresh)) => {
                    writes.push(Write::Replace {
                        token: key,
                        expected: row,
                        row: fresh,
                    });
                }
                Err(VaultError::Tampered | VaultError::Key(_)) => step.left += 1,
                Err(error) => return Err(error),
            }
        }
        if !writes.is_empty() {
            for outcome in self.write(&state, writes).await? {
                match outcome {
                    WriteOutcome::Replaced => step.moved += 1,
                    _ => step.left += 1,
                }
            }
        }
        Ok(step)
    }

    /// The store, for what shares its transactions.
    pub(crate) const fn store(&self) -> &S {
        &self.store
    }

    /// The time by the vault's clock.
    pub(crate) fn now(&self) -> UnixSeconds {
        (self.clock)()
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

    /// The convergent token of each card, and the writes that make those that are new. The
    /// writes are the caller's to apply, all or none; a refused one means to ask again.
    pub(crate) async fn stage(
        &self,
        state: &RingState,
        domain: &Domain,
        cards: &[&CardRecord],
    ) -> Result<(Vec<Token>, Vec<Write>), VaultError> {
        let how = Tokenize::convergent();
        let keys = state.domain(domain)?;
        let mut read = Vec::with_capacity(cards.len());
        for card in cards {
            read.extend(keys.index(&card.pan)?.keys.first().copied());
        }
        let found = self.store.find(read.clone()).await?;
        let mut staged: HashMap<IndexKey, Token> = HashMap::new();
        let (mut tokens, mut writes) = (Vec::with_capacity(cards.len()), Vec::new());
        for ((card, index), found) in cards.iter().zip(read).zip(found) {
            let token = match (staged.get(&index), found.unique) {
                (Some(token), _) => *token,
                (None, Some((key, row))) => {
                    let (of, token) = read_row_key(&key).map_err(|_| VaultError::Tampered)?;
                    let (columns, known) = open_row(state, domain, &token, &row)?;
                    let same = bool::from(known.pan.ct_eq(&card.pan));
                    if of != *domain || !columns.convergent || !same {
                        return Err(VaultError::Tampered);
                    }
                    token
                }
                (None, None) => {
                    let sealer = keys.sealer(&state.ring, domain, (self.clock)())?;
                    let (token, write) = self.insert(&keys, &sealer, domain, card, &how)?;
                    writes.push(write);
                    token
                }
            };
            staged.insert(index, token);
            tokens.push(token);
        }
        Ok((tokens, writes))
    }

    pub(crate) fn state(&self) -> Result<Arc<RingState>, VaultError> {
        Ok(Arc::clone(
            &*self.state.read().map_err(|_| VaultError::Broken)?,
        ))
    }

    fn event<'a>(
        &self,
        access: &'a Access,
        operation: Operation,
        domain: &'a Domain,
        token: Option<Token>,
        granted: bool,
    ) -> AccessEvent<'a> {
        AccessEvent {
            time: (self.clock)(),
            access,
            operation,
            domain,
            token,
            granted,
        }
    }

    async fn row(&self, domain: &Domain, token: &Token) -> Result<(RowKey, Row), VaultError> {
        let key = row_key(domain, token)?;
        let rows = self.store.rows(vec![key]).await?;
        let row = rows
            .into_iter()
            .flatten()
            .next()
            .ok_or(VaultError::UnknownToken)?;
        Ok((key, row))
    }

    /// Writes under the ring's guard.
    pub(crate) async fn write(
        &self,
        state: &RingState,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, VaultError> {
        match self.store.write(Some(state.guard.clone()), writes).await {
            Err(StoreError::GuardChanged) => {
                let guard = self.store.guard().await?.ok_or(VaultError::OtherRing)?;
                RingSeen::from_guard(&guard)?.admits(&RingSeen::of(&state.ring)?)?;
                Err(VaultError::Conflict)
            }
            result => Ok(result?),
        }
    }

    async fn write_one(&self, state: &RingState, write: Write) -> Result<(), VaultError> {
        match self.write(state, vec![write]).await?.as_slice() {
            [WriteOutcome::Replaced | WriteOutcome::Deleted] => Ok(()),
            [WriteOutcome::Missing] => Err(VaultError::UnknownToken),
            _ => Err(VaultError::Conflict),
        }
    }

    /// The convergent token that a card has already, found without writing.
    async fn known_token(
        &self,
        domain: &Domain,
        card: &CardRecord,
        how: &Tokenize,
    ) -> Result<Option<Tokenized>, VaultError> {
        let state = self.state()?;
        let indexed = state.domain(domain)?.index(&card.pan)?;
        let read = indexed.keys.first().copied().into_iter().collect();
        let found = self
            .store
            .find(read)
            .await?
            .into_iter()
            .next()
            .unwrap_or_default();
        let Some((key, row)) = found.unique else {
            return Ok(None);
        };
        self.existing(&state, domain, card, how, &key, row)
            .await
            .map(Some)
    }

    async fn tokenize_chunk(
        &self,
        domain: &Domain,
        cards: &[CardRecord],
        how: &Tokenize,
    ) -> Result<Vec<Result<Tokenized, VaultError>>, VaultError> {
        let state = self.state()?;
        let keys = state.domain(domain)?;
        let sealer = keys.sealer(&state.ring, domain, (self.clock)())?;
        let mut results = vec![Err(VaultError::TokensUsedUp); cards.len()];
        let mut open: Vec<usize> = (0..cards.len()).collect();
        for _ in 0..DRAWS {
            let mut writes = Vec::with_capacity(open.len());
            let mut written = Vec::with_capacity(open.len());
            for place in open.drain(..) {
                let Some((card, result)) = cards.get(place).zip(results.get_mut(place)) else {
                    continue;
                };
                match self.insert(&keys, &sealer, domain, card, how) {
                    Ok((token, write)) => {
                        writes.push(write);
                        written.push((place, token));
                    }
                    Err(error) => *result = Err(error),
                }
            }
            if writes.is_empty() {
                break;
            }
            let outcomes = self.write(&state, writes).await?;
            for ((place, token), outcome) in written.into_iter().zip(outcomes) {
                let Some((card, result)) = cards.get(place).zip(results.get_mut(place)) else {
                    continue;
                };
                match outcome {
                    WriteOutcome::Inserted => {
                        *result = Ok(Tokenized {
                            token,
                            existing: false,
                        })
                    }
                    WriteOutcome::Exists { token: key, row } => {
                        *result = self.existing(&state, domain, card, how, &key, row).await;
                    }
                    WriteOutcome::TokenTaken => open.push(place),
                    _ => *result = Err(VaultError::Conflict),
                }
            }
        }
        Ok(results)
    }

    /// A new row for a card.
    fn insert(
        &self,
        keys: &DomainKeys,
        sealer: &Sealer,
        domain: &Domain,
        card: &CardRecord,
        how: &Tokenize,
    ) -> Result<(Token, Write), VaultError> {
        let now = (self.clock)();
        let indexed = keys.index(&card.pan)?;
        let columns = Columns {
            convergent: how.convergent,
            brand: card.pan.brand(),
            last_four: card.pan.last_four(),
            created: now,
            expires: how.expires,
            index_version: indexed.version,
        };
        let mut random = self.random.lock().map_err(|_| VaultError::Broken)?;
        let token = how.shape.draw(&card.pan, &mut random.tokens)?;
        let row = seal_row(
            sealer,
            &mut random.nonces,
            now,
            &token,
            &indexed.fingerprint,
            columns,
            card,
        )?;
        drop(random);
        let key = row_key(domain, &token)?;
        let write = Write::Insert {
            token: key,
            row,
            index: indexed.keys,
            unique: how.convergent,
        };
        Ok((token, write))
    }

    /// A card that has its token already: the row must hold that very card.
    async fn existing(
        &self,
        state: &RingState,
        domain: &Domain,
        card: &CardRecord,
        how: &Tokenize,
        key: &RowKey,
        row: Row,
    ) -> Result<Tokenized, VaultError> {
        let (of, token) = read_row_key(key).map_err(|_| VaultError::Tampered)?;
        let (columns, known) = open_row(state, domain, &token, &row)?;
        if of != *domain || !columns.convergent || !bool::from(known.pan.ct_eq(&card.pan)) {
            return Err(VaultError::Tampered);
        }
        if !how.shape.describes(&token) {
            return Err(VaultError::OtherFormat);
        }
        if columns.is_expired((self.clock)()) {
            let columns = Columns {
                expires: how.expires,
                ..columns
            };
            let renewed = self.reseal(state, domain, &token, &row, columns, &known)?;
            let write = Write::Replace {
                token: *key,
                expected: row,
                row: renewed,
            };
            self.write_one(state, write).await?;
        }
        Ok(Tokenized {
            token,
            existing: true,
        })
    }

    async fn detokenize_chunk(
        &self,
        domain: &Domain,
        tokens: &[Token],
    ) -> Result<Vec<Result<CardRecord, VaultError>>, VaultError> {
        let keys = tokens
            .iter()
            .map(|token| row_key(domain, token))
            .collect::<Result<_, _>>()?;
        let rows = self.store.rows(keys).await?;
        let state = self.state()?;
        let now = (self.clock)();
        let open = |(token, row): (&Token, Option<Row>)| {
            let row = row.ok_or(VaultError::UnknownToken)?;
            let (columns, card) = open_row(&state, domain, token, &row)?;
            if columns.is_expired(now) {
                Err(VaultError::Expired)
            } else {
                Ok(card)
            }
        };
        Ok(tokens.iter().zip(rows).map(open).collect())
    }

    async fn find_tokens(&self, domain: &Domain, pan: &Pan) -> Result<CardTokens, VaultError> {
        let state = self.state()?;
        let indexed = state.domain(domain)?.index(pan)?;
        let read = indexed.keys.first().copied().into_iter().collect();
        let found = self
            .store
            .find(read)
            .await?
            .into_iter()
            .next()
            .unwrap_or_default();
        let others = self.store.rows(found.others.clone()).await?;
        let rows = found.others.into_iter().zip(others);
        let rows = rows.filter_map(|(key, row)| row.map(|row| (key, row)));
        let mut tokens = Vec::new();
        for (key, row) in found.unique.into_iter().chain(rows) {
            let (of, token) = read_row_key(&key).map_err(|_| VaultError::Tampered)?;
            let (_, card) = open_row(&state, domain, &token, &row)?;
            if of != *domain || !bool::from(card.pan.ct_eq(pan)) {
                return Err(VaultError::Tampered);
            }
            tokens.push(token);
        }
        Ok(CardTokens {
            tokens,
            more: found.more,
        })
    }

    /// The row anew, under the active version.
    fn reseal(
        &self,
        state: &RingState,
        domain: &Domain,
        token: &Token,
        row: &Row,
        columns: Columns,
        card: &CardRecord,
    ) -> Result<Row, VaultError> {
        let fingerprint = *RowParts::read(row)
            .map_err(|_| VaultError::Tampered)?
            .fingerprint;
        let now = (self.clock)();
        let sealer = state.domain(domain)?.sealer(&state.ring, domain, now)?;
        let mut random = self.random.lock().map_err(|_| VaultError::Broken)?;
        seal_row(
            &sealer,
            &mut random.nonces,
            now,
            token,
            &fingerprint,
            columns,
            card,
        )
    }

    /// The row under the active version, if it is not there yet.
    fn rewrapped(
        &self,
        state: &RingState,
        key: &RowKey,
        row: &Row,
    ) -> Result<Option<Row>, VaultError> {
        let (domain, token) = read_row_key(key).map_err(|_| VaultError::Tampered)?;
        let parts = RowParts::read(row).map_err(|_| VaultError::Tampered)?;
        let keys = state.domain(&domain)?;
        let sealer = keys.sealer(&state.ring, &domain, (self.clock)())?;
        if key_id(&parts)? == *sealer.key_id() {
            return Ok(None);
        }
        let (columns, card) = open_row(state, &domain, &token, row)?;
        self.reseal(state, &domain, &token, row, columns, &card)
            .map(Some)
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Vault<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Raises the store's guard to `ring`, or says why this ring may not be used.
async fn admit<S: Store>(store: &S, ring: &KeyRing) -> Result<(), VaultError> {
    let ours = RingSeen::of(ring)?;
    for _ in 0..GUARD_TRIES {
        let expected = store.guard().await?;
        if let Some(guard) = &expected {
            let seen = RingSeen::from_guard(guard)?;
            seen.admits(&ours)?;
            if seen == ours {
                return Ok(());
            }
        }
        let write = Write::Guard {
            expected,
            guard: ours.to_guard()?,
        };
        if store.write(None, vec![write]).await? == [WriteOutcome::Guarded] {
            return Ok(());
        }
    }
    Err(VaultError::Conflict)
}

fn seal_row<R: TryCryptoRng>(
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
    let mut sealed = [0; SEALED_RECORD_LEN];
    sealer.seal(card, &binding, now, nonces, &mut sealed)?;
    Ok(build_row(&columns, fingerprint, &sealed)?)
}

/// The id of the key that a row's record is sealed under.
fn key_id(parts: &RowParts<'_>) -> Result<KeyId, VaultError> {
    sealed_key_id(parts.sealed).map_err(|_| VaultError::Tampered)
}

/// The columns and the card of a row, if it is what the vault wrote under this token.
fn open_row(
    state: &RingState,
    domain: &Domain,
    token: &Token,
    row: &Row,
) -> Result<(Columns, CardRecord), VaultError> {
    let parts = RowParts::read(row).map_err(|_| VaultError::Tampered)?;
    let keys = state.domain(domain)?;
    let opener = keys.opener(&state.ring, domain, &key_id(&parts)?)?;
    let binding = Binding {
        token: token.as_bytes(),
        fingerprint: parts.fingerprint,
        columns: parts.column_bytes,
    };
    let card = opener
        .open(parts.sealed, &binding)
        .map_err(|_| VaultError::Tampered)?;
    Ok((parts.columns, card))
}

/// All index keys that a row may stand under: the one it was written with and, if the card can
/// still be read, those of today.
fn indexed_under(
    state: &RingState,
    domain: &Domain,
    token: &Token,
    row: &Row,
) -> Result<Vec<IndexKey>, VaultError> {
    let parts = RowParts::read(row).map_err(|_| VaultError::Tampered)?;
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

fn count(state: &RingState, key: &RowKey, row: &Row, now: UnixSeconds, stats: &mut VaultStats) {
    let Ok(parts) = RowParts::read(row) else {
        stats.unreadable += 1;
        return;
    };
    stats.expired += u64::from(parts.columns.is_expired(now));
    stats.convergent += u64::from(parts.columns.convergent);
    *stats.by_brand.entry(parts.columns.brand).or_default() += 1;
    let opener = read_row_key(key)
        .map_err(|_| VaultError::Tampered)
        .and_then(|(domain, _)| {
            state
                .domain(&domain)?
                .opener(&state.ring, &domain, &key_id(&parts)?)
        });
    match opener {
        Ok(opener) => *stats.by_key.entry(opener.name()).or_default() += 1,
        Err(_) => stats.unreadable += 1,
    }
}
