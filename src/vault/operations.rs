//! What a vault does: cards in, tokens out, and back.
#![forbid(unsafe_code)]

use core::fmt;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use getrandom::SysRng;
use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use super::access::{Access, AccessEvent, AccessLog, Operation};
use super::error::VaultError;
use super::guard::RingSeen;
use super::request::{CardTokens, Checked, Metadata, Rewrapped, Tokenize, Tokenized, VaultStats};
use super::ring_state::{DomainKeys, RingState, Rings};
use super::row::{Columns, RowParts, build_row, index_key, read_row_key, row_key, vault_end};
use super::store::{
    Found, IndexKey, MAX_BATCH, Row, RowKey, Snapshot, SnapshotStore, Store, StoreError, Write,
    WriteOutcome,
};
use crate::card::{CardRecord, Pan, RecordError};
use crate::fingerprint::FINGERPRINT_LEN;
use crate::keys::{Domain, KeyError, KeyId, KeyRing};
use crate::seal::{
    Binding, NonceSource, SEALED_RECORD_LEN, SealError, SealedRecord, Sealer, sealed_key_id,
};
use crate::time::UnixSeconds;
use crate::token::Token;

/// How often a write is tried again: with another token while the drawn ones are taken, with what
/// is stored now while others change it, with the newer ring once there is one.
const TRIES: usize = 16;
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
    rings: Rings,
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
    /// if it has seen a newer generation of this one, [`VaultError::ForkedRing`] if it has seen
    /// another ring of this generation, [`VaultError::IndexNotFilled`] if it holds tokens and its
    /// index is another version than the one that the ring reads: this release does not fill a new
    /// index version. The ring's and the store's errors.
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
        admit(&store, &state).await?;
        let random = Randomness {
            nonces: NonceSource::new(random()),
            tokens: random(),
        };
        Ok(Self {
            store,
            log: Box::new(log),
            clock,
            random: Mutex::new(random),
            rings: Rings::new(Arc::new(state)),
        })
    }

    /// Goes on with `ring`: a newer generation of the ring that is in use. Calls that are under way
    /// go on, with the one or the other.
    ///
    /// # Errors
    /// As [`Vault::open`]; the vault then goes on with the ring that it has.
    pub async fn set_ring(&self, ring: KeyRing) -> Result<(), VaultError> {
        let state = Arc::new(RingState::new(ring)?);
        self.rings.announce(&state)?;
        let admitted = admit(&self.store, &state).await;
        match admitted {
            Ok(()) => self.rings.install(&state),
            Err(error) => {
                self.rings.withdraw(&state)?;
                Err(error)
            }
        }
    }

    /// A token for one card.
    ///
    /// Of a convergent token, [`Tokenized::existing`] tells the caller whether the domain knew the
    /// card. This is not logged: whoever may tokenize may find that out.
    ///
    /// # Errors
    /// Any [`VaultError`]; then the card has no token from this call. [`VaultError::Unopenable`]
    /// names the token to delete when the key of the card's record is gone.
    pub async fn tokenize(
        &self,
        domain: &Domain,
        card: &CardRecord,
        how: &Tokenize,
    ) -> Result<Tokenized, VaultError> {
        if how.convergent
            && let Some(token) = self.known_token(domain, card, how).await?
        {
            return Ok(Tokenized {
                token,
                existing: true,
            });
        }
        let results = self
            .tokenize_chunk(domain, core::slice::from_ref(card), how)
            .await;
        results
            .into_iter()
            .next()
            .unwrap_or(Err(VaultError::Broken))
    }

    /// A token for each card. See [`Vault::tokenize`].
    pub async fn tokenize_batch(
        &self,
        domain: &Domain,
        cards: &[CardRecord],
        how: &Tokenize,
    ) -> Vec<Result<Tokenized, VaultError>> {
        let mut results = Vec::with_capacity(cards.len());
        for chunk in cards.chunks(MAX_BATCH) {
            results.extend(self.tokenize_chunk(domain, chunk, how).await);
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
        for _ in 0..TRIES {
            let (key, row) = self.row(domain, token).await?;
            let state = self.state()?;
            let write = self.with_expiry(&state, domain, token, key, row, expires)?;
            if self.write_one(&state, write).await? {
                return Ok(());
            }
        }
        Err(VaultError::Conflict)
    }

    /// Takes a token out of the vault, also one whose row can no longer be opened or read. The
    /// access is logged first.
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

    /// Opens up to `limit` rows (at most [`MAX_BATCH`]) behind `after`, and looks each up by its
    /// card in the index: after a restore. Hands out no card. Call it with the cursor it gave until
    /// there is none.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] for the first row that is not what the vault wrote, or that the
    /// index does not lead to; the ring's and the store's errors. Rows whose key the ring does not
    /// have, because it was destroyed, are counted.
    pub async fn check(&self, after: Option<RowKey>, limit: usize) -> Result<Checked, VaultError> {
        let state = self.state()?;
        let limit = limit.clamp(1, MAX_BATCH);
        let page = self.store.scan(after, Some(vault_end()?), limit).await?;
        let mut step = Checked {
            seen: 0,
            unopenable: 0,
            cursor: page
                .last()
                .map(|(key, _)| *key)
                .filter(|_| page.len() == limit),
        };
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        for (key, row) in page {
            step.seen += 1;
            let (domain, token) = read_row_key(&key).map_err(|_| VaultError::Tampered)?;
            match open_row(&state, &domain, &token, &row) {
                Err(VaultError::Key(KeyError::UnknownKey)) => step.unopenable += 1,
                opened => {
                    let (columns, card) = opened?;
                    let index = state.domain(&domain)?.index(&card.pan)?;
                    rows.push((key, columns.convergent));
                    keys.extend(index.keys.first().copied());
                }
            }
        }
        for ((key, convergent), (index, found)) in rows
            .into_iter()
            .zip(keys.iter().zip(self.store.find(keys.clone()).await?))
        {
            let there = if convergent {
                found.unique.is_some_and(|(of, _)| of == key)
            } else {
                let more = found.more && !found.others.contains(&key);
                found.others.contains(&key) || (more && self.is_under(*index, key).await?)
            };
            // Unless it was deleted meanwhile.
            if !there
                && self
                    .store
                    .rows(vec![key])
                    .await?
                    .iter()
                    .any(Option::is_some)
            {
                return Err(VaultError::Tampered);
            }
        }
        Ok(step)
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
    /// The store's; the ring's if it gives no key to seal under, then nothing was moved by this
    /// step. Rows that do not open are counted and left as they are.
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
            match self.rewrapped(&state, &key, &row)? {
                Rewrap::There => {}
                Rewrap::Left => step.left += 1,
                Rewrap::Fresh(fresh) => writes.push(Write::Replace {
                    token: key,
                    expected: row,
                    row: fresh,
                }),
            }
        }
        if !writes.is_empty() {
            let moving = u64::try_from(writes.len()).unwrap_or(u64::MAX);
            match self.write(&state, writes).await? {
                // The ring moved on meanwhile: its next round takes these along.
                None => step.left += moving,
                Some(outcomes) => {
                    for outcome in outcomes {
                        match outcome {
                            WriteOutcome::Replaced => step.moved += 1,
                            _ => step.left += 1,
                        }
                    }
                }
            }
        }
        Ok(step)
    }

    /// The store, for instance to close it. The calls that are under way have ended: they borrow
    /// the vault.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
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
        self.rings.current()
    }

    /// Logs that an archive of the whole store was asked for.
    pub(crate) fn log_export(&self, access: &Access, granted: bool) -> Result<(), VaultError> {
        let event = AccessEvent {
            time: (self.clock)(),
            access,
            operation: Operation::Export,
            domain: None,
            token: None,
            granted,
        };
        Ok(self.log.record(&[event])?)
    }

    /// Gives the vault's randomness to `work`.
    pub(crate) fn with_random<T>(
        &self,
        work: impl FnOnce(&mut NonceSource<R>, &mut R) -> T,
    ) -> Result<T, VaultError> {
        let mut random = self.random.lock().map_err(|_| VaultError::Broken)?;
        let Randomness { nonces, tokens } = &mut *random;
        Ok(work(nonces, tokens))
    }

    /// The whole store as of one moment, and the ring whose guard it has.
    pub(crate) async fn snapshot(&self) -> Result<(Arc<RingState>, S::Snapshot), VaultError>
    where
        S: SnapshotStore,
    {
        for _ in 0..TRIES {
            let mut snapshot = self.store.snapshot().await?;
            let guard = snapshot.guard().await?.ok_or(VaultError::OtherRing)?;
            let state = self.state()?;
            if guard == state.guard {
                return Ok((state, snapshot));
            }
            self.rings.follow(&RingSeen::from_guard(&guard)?)?;
        }
        Err(VaultError::Conflict)
    }

    /// Whether the index has an entry for this row , however many there are.
    async fn is_under(&self, index: IndexKey, key: RowKey) -> Result<bool, VaultError> {
        let mut after = None;
        loop {
            let page = self.store.others(index, after, None, MAX_BATCH).await?;
            if page.contains(&key) {
                return Ok(true);
            }
            after = page.last().copied().filter(|_| page.len() == MAX_BATCH);
            if after.is_none() {
                return Ok(false);
            }
        }
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
            domain: Some(domain),
            token,
            granted,
        }
    }

    async fn rows(
        &self,
        domain: &Domain,
        tokens: &[Token],
    ) -> Result<Vec<Option<Row>>, VaultError> {
        let keys = tokens
            .iter()
            .map(|token| row_key(domain, token))
            .collect::<Result<_, _>>()?;
        Ok(self.store.rows(keys).await?)
    }

    async fn row(&self, domain: &Domain, token: &Token) -> Result<(RowKey, Row), VaultError> {
        let rows = self.rows(domain, core::slice::from_ref(token)).await?;
        let row = rows.into_iter().flatten().next();
        Ok((
            row_key(domain, token)?,
            row.ok_or(VaultError::UnknownToken)?,
        ))
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

    /// Writes under the ring's guard. `None` if the vault has a newer ring meanwhile: then nothing
    /// was written, and the whole is to be done again with that ring.
    pub(crate) async fn write(
        &self,
        state: &RingState,
        writes: Vec<Write>,
    ) -> Result<Option<Vec<WriteOutcome>>, VaultError> {
        match self.store.write(Some(state.guard.clone()), writes).await {
            Err(StoreError::GuardChanged) => {
                let guard = self.store.guard().await?.ok_or(VaultError::OtherRing)?;
                self.rings.follow(&RingSeen::from_guard(&guard)?)?;
                Ok(None)
            }
            result => Ok(Some(result?)),
        }
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

    /// The convergent token that a card has already, if there is nothing to be written for it.
    async fn known_token(
        &self,
        domain: &Domain,
        card: &CardRecord,
        how: &Tokenize,
    ) -> Result<Option<Token>, VaultError> {
        let indexed = self.state()?.domain(domain)?.index(&card.pan)?;
        let Some((key, row)) = self.indexed(&indexed.keys).await?.unique else {
            return Ok(None);
        };
        let known = self.existing(&*self.state()?, domain, card, how, &key, &row)?;
        Ok(Some(known.token).filter(|_| known.fresh.is_none()))
    }

    /// What the index holds under the first of these keys, which is the one that is read.
    async fn indexed(&self, keys: &[IndexKey]) -> Result<Found, VaultError> {
        let read = keys.first().copied().into_iter().collect();
        let found = self.store.find(read).await?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Up to [`MAX_BATCH`] cards, in rounds: what a round could not finish, because a token was
    /// taken or somebody else was faster, is done again in the next.
    async fn tokenize_chunk(
        &self,
        domain: &Domain,
        cards: &[CardRecord],
        how: &Tokenize,
    ) -> Vec<Result<Tokenized, VaultError>> {
        let mut chunk = Chunk {
            domain,
            cards,
            how,
            results: vec![Err(VaultError::Conflict); cards.len()],
            open: (0..cards.len()).collect(),
        };
        for _ in 0..TRIES {
            if chunk.open.is_empty() {
                break;
            }
            if let Err(error) = self.round(&mut chunk).await {
                // What is in keeps its token.
                for place in core::mem::take(&mut chunk.open) {
                    chunk.set(place, Err(error));
                }
            }
        }
        chunk.results
    }

    /// One round. After an error the open places are those that have no result.
    async fn round(&self, chunk: &mut Chunk<'_>) -> Result<(), VaultError> {
        let state = self.state()?;
        let (writes, written) = self.inserts(&state, chunk)?;
        if writes.is_empty() {
            return Ok(());
        }
        let Some(outcomes) = self.write(&state, writes).await? else {
            return Ok(());
        };
        chunk.open.clear();
        let mut renewals = Renewals::new();
        for ((place, token), outcome) in written.into_iter().zip(outcomes) {
            match outcome {
                WriteOutcome::Inserted => chunk.set(
                    place,
                    Ok(Tokenized {
                        token,
                        existing: false,
                    }),
                ),
                WriteOutcome::Exists { token: key, row } => {
                    self.known(&state, chunk, place, key, row, &mut renewals);
                }
                WriteOutcome::TokenTaken => {
                    chunk.set(place, Err(VaultError::TokensUsedUp));
                    chunk.open.push(place);
                }
                _ => chunk.set(place, Err(VaultError::Conflict)),
            }
        }
        self.renew(&state, chunk, renewals).await
    }

    /// A new row for each open card; a card that gets none has its error instead.
    fn inserts(
        &self,
        state: &RingState,
        chunk: &mut Chunk<'_>,
    ) -> Result<(Vec<Write>, Places), VaultError> {
        let keys = state.domain(chunk.domain)?;
        let sealer = keys.sealer(&state.ring, chunk.domain, (self.clock)())?;
        let mut writes = Vec::with_capacity(chunk.open.len());
        let mut written = Vec::with_capacity(chunk.open.len());
        for place in core::mem::take(&mut chunk.open) {
            let Some(card) = chunk.cards.get(place) else {
                continue;
            };
            match self.insert(&keys, &sealer, chunk.domain, card, chunk.how) {
                Ok((token, write)) => {
                    writes.push(write);
                    written.push((place, token));
                    chunk.open.push(place);
                }
                Err(error) => chunk.set(place, Err(error)),
            }
        }
        Ok((writes, written))
    }

    /// A card of the chunk that has its token already: the result, or a row to be renewed.
    fn known(
        &self,
        state: &RingState,
        chunk: &mut Chunk<'_>,
        place: usize,
        key: RowKey,
        row: Row,
        renewals: &mut Renewals,
    ) {
        let Some(card) = chunk.cards.get(place) else {
            return;
        };
        // Of several in one chunk each sees what the one before it left.
        let renewed = renewals.get(&key).and_then(|renewal| renewal.row.as_ref());
        let row_now = renewed.unwrap_or(&row);
        match self.existing(state, chunk.domain, card, chunk.how, &key, row_now) {
            Err(error) => chunk.set(place, Err(error)),
            Ok(known) => {
                let renewal = renewals.entry(key).or_insert_with(|| Renewal {
                    expected: row,
                    row: None,
                    places: Vec::new(),
                });
                if known.fresh.is_some() {
                    renewal.row = known.fresh;
                }
                renewal.places.push((place, known.token));
            }
        }
    }

    /// Writes the renewed rows together.
    async fn renew(
        &self,
        state: &RingState,
        chunk: &mut Chunk<'_>,
        renewals: Renewals,
    ) -> Result<(), VaultError> {
        let open = chunk.open.len();
        let mut writes = Vec::new();
        let mut written = Vec::new();
        for (key, renewal) in renewals {
            let Some(row) = renewal.row else {
                chunk.set_known(&renewal.places);
                continue;
            };
            writes.push(Write::Replace {
                token: key,
                expected: renewal.expected,
                row,
            });
            let places = renewal.places.iter().map(|(place, _)| *place);
            chunk.open.extend(places);
            written.push(renewal.places);
        }
        if writes.is_empty() {
            return Ok(());
        }
        let Some(outcomes) = self.write(state, writes).await? else {
            return Ok(());
        };
        chunk.open.truncate(open);
        for (places, outcome) in written.into_iter().zip(outcomes) {
            if outcome == WriteOutcome::Replaced {
                chunk.set_known(&places);
            } else {
                chunk
                    .open
                    .extend(places.into_iter().map(|(place, _)| place));
            }
        }
        Ok(())
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
            shape: how.shape.code(),
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
    fn existing(
        &self,
        state: &RingState,
        domain: &Domain,
        card: &CardRecord,
        how: &Tokenize,
        key: &RowKey,
        row: &Row,
    ) -> Result<Known, VaultError> {
        let (of, token) = read_row_key(key).map_err(|_| VaultError::Tampered)?;
        let (columns, known) = match open_row(state, domain, &token, row) {
            Err(VaultError::Key(KeyError::UnknownKey)) => {
                return Err(VaultError::Unopenable { token });
            }
            opened => opened?,
        };
        if of != *domain || !columns.convergent || !bool::from(known.pan.ct_eq(&card.pan)) {
            return Err(VaultError::Tampered);
        }
        if columns.shape != how.shape.code() {
            return Err(VaultError::OtherFormat);
        }
        let expires = if columns.is_expired((self.clock)()) {
            how.expires
        } else {
            how.expires.or(columns.expires)
        };
        let expiry = card.expiry.or(known.expiry);
        let sequence = card.sequence.or(known.sequence);
        let fresh =
            if (expires, expiry, sequence) == (columns.expires, known.expiry, known.sequence) {
                None
            } else {
                let columns = Columns { expires, ..columns };
                let mut now = known;
                (now.expiry, now.sequence) = (expiry, sequence);
                Some(self.reseal(state, domain, &token, row, columns, &now)?)
            };
        Ok(Known { token, fresh })
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

    async fn find_tokens(&self, domain: &Domain, pan: &Pan) -> Result<CardTokens, VaultError> {
        let indexed = self.state()?.domain(domain)?.index(pan)?;
        let found = self.indexed(&indexed.keys).await?;
        let others = self.store.rows(found.others.clone()).await?;
        let state = self.state()?;
        let rows = found.others.into_iter().zip(others);
        let rows = rows.filter_map(|(key, row)| row.map(|row| (key, row)));
        let mut tokens = CardTokens {
            more: found.more,
            ..CardTokens::default()
        };
        for (key, row) in found.unique.into_iter().chain(rows) {
            let (of, token) = read_row_key(&key).map_err(|_| VaultError::Tampered)?;
            let Some((_, card)) = opens(open_row(&state, domain, &token, &row))? else {
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
        let fingerprint = *RowParts::read(row)?.fingerprint;
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
    fn rewrapped(&self, state: &RingState, key: &RowKey, row: &Row) -> Result<Rewrap, VaultError> {
        let (Ok((domain, token)), Ok(parts)) = (read_row_key(key), RowParts::read(row)) else {
            return Ok(Rewrap::Left);
        };
        let keys = state.domain(&domain)?;
        let sealer = keys.sealer(&state.ring, &domain, (self.clock)())?;
        if key_id(&parts).is_ok_and(|id| id == *sealer.key_id()) {
            return Ok(Rewrap::There);
        }
        let Some((columns, card)) = opens(open_row(state, &domain, &token, row))? else {
            return Ok(Rewrap::Left);
        };
        self.reseal(state, &domain, &token, row, columns, &card)
            .map(Rewrap::Fresh)
    }
}

/// Cards that are tokenized together.
struct Chunk<'a> {
    domain: &'a Domain,
    cards: &'a [CardRecord],
    how: &'a Tokenize,
    results: Vec<Result<Tokenized, VaultError>>,
    /// The places of those that have no token yet and may get one.
    open: Vec<usize>,
}

impl Chunk<'_> {
    fn set(&mut self, place: usize, result: Result<Tokenized, VaultError>) {
        if let Some(slot) = self.results.get_mut(place) {
            *slot = result;
        }
    }

    fn set_known(&mut self, places: &[(usize, Token)]) {
        for &(place, token) in places {
            let existing = true;
            self.set(place, Ok(Tokenized { token, existing }));
        }
    }
}

/// A card's token, and its row anew if what is asked for differs from what is kept.
struct Known {
    token: Token,
    fresh: Option<Row>,
}

/// Places in a chunk, each with the token that its card gets or has.
type Places = Vec<(usize, Token)>;

/// Rows of cards that have their tokens, by row key.
type Renewals = BTreeMap<RowKey, Renewal>;

struct Renewal {
    expected: Row,
    /// What to put in its place, if anything.
    row: Option<Row>,
    /// Which cards of the chunk it is for.
    places: Places,
}

/// What a rewrap does with a row.
enum Rewrap {
    /// Nothing: it is under the active version.
    There,
    /// Nothing: it does not open.
    Left,
    /// Puts this in its place.
    Fresh(Row),
}

/// What was opened, or none if that failed for what the row is and not for what the ring or the
/// vault is.
fn opens<T>(opened: Result<T, VaultError>) -> Result<Option<T>, VaultError> {
    match opened {
        Err(
            VaultError::Tampered
            | VaultError::NewerFormat { .. }
            | VaultError::Key(KeyError::UnknownKey),
        ) => Ok(None),
        opened => opened.map(Some),
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Vault<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Raises the store's guard to the ring's, or says why this ring may not be used.
async fn admit<S: Store>(store: &S, state: &RingState) -> Result<(), VaultError> {
    for _ in 0..TRIES {
        let expected = store.guard().await?;
        if let Some(guard) = &expected {
            let seen = RingSeen::from_guard(guard)?;
            seen.admits(&state.seen)?;
            if seen == state.seen {
                return Ok(());
            }
            if let Err(error) = seen.check_index(&state.seen)
                && !store.scan(None, Some(vault_end()?), 1).await?.is_empty()
            {
                return Err(error);
            }
        }
        let write = Write::Guard {
            expected,
            guard: state.guard.clone(),
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
    let mut sealed: SealedRecord = [0; SEALED_RECORD_LEN];
    sealer.seal(card, &binding, now, nonces, &mut sealed)?;
    Ok(build_row(&columns, fingerprint, &sealed)?)
}

/// The id of the key that a row's record is sealed under.
fn key_id(parts: &RowParts<'_>) -> Result<KeyId, VaultError> {
    sealed_key_id(parts.sealed).map_err(not_opened)
}

/// Why a record did not open.
const fn not_opened(error: SealError) -> VaultError {
    match error {
        SealError::Version { found } if found > 1 => VaultError::NewerFormat { found },
        SealError::Record(RecordError::Version { found }) => VaultError::NewerFormat { found },
        _ => VaultError::Tampered,
    }
}

/// The columns and the card of a row, if it is what the vault wrote under this token.
fn open_row(
    state: &RingState,
    domain: &Domain,
    token: &Token,
    row: &Row,
) -> Result<(Columns, CardRecord), VaultError> {
    let parts = RowParts::read(row)?;
    let keys = state.domain(domain)?;
    let opener = keys.opener(&state.ring, domain, &key_id(&parts)?)?;
    let binding = Binding {
        token: token.as_bytes(),
        fingerprint: parts.fingerprint,
        columns: parts.column_bytes,
    };
    let card = opener.open(parts.sealed, &binding).map_err(not_opened)?;
    Ok((parts.columns, card))
}

/// All index keys that a row is known to stand under: the one it was written with and, if the card
/// can still be read, those of today. None of a row that cannot be read.
fn indexed_under(
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
