//! Cards in, tokens out.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use super::rows::{RowOpener, open_row, seal_row};
use super::{TRIES, Vault};
use crate::card::CardRecord;
use crate::keys::{Domain, KeyError};
use crate::seal::Sealer;
use crate::token::Token;
use crate::vault::error::VaultError;
use crate::vault::request::{Tokenize, Tokenized};
use crate::vault::ring_state::{DomainKeys, RingState};
use crate::vault::row::{Columns, read_row_key, row_key};
use crate::vault::store::{IndexKey, MAX_BATCH, Row, RowKey, Store, Write, WriteOutcome};
use crate::vault::telemetry::{self, Call};

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// A token for one card.
    ///
    /// Of a convergent token, [`Tokenized::existing`] tells the caller whether the domain knew the
    /// card, unless the policy hides it. This is not logged: whoever may tokenize may find that
    /// out.
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
        let call = async {
            if how.convergent
                && let Some(token) = self.known_token(domain, card, how).await?
            {
                return Ok(Tokenized {
                    token,
                    existing: !self.gate.hides_existing()?,
                });
            }
            let results = self
                .tokenize_chunk(domain, core::slice::from_ref(card), how)
                .await;
            results
                .into_iter()
                .next()
                .unwrap_or(Err(VaultError::Broken))
        };
        telemetry::watch(Call::Tokenize, domain, 1, call).await
    }

    /// A token for each card. See [`Vault::tokenize`].
    pub async fn tokenize_batch(
        &self,
        domain: &Domain,
        cards: &[CardRecord],
        how: &Tokenize,
    ) -> Vec<Result<Tokenized, VaultError>> {
        let call = async {
            let mut results = Vec::with_capacity(cards.len());
            for chunk in cards.chunks(MAX_BATCH) {
                results.extend(self.tokenize_chunk(domain, chunk, how).await);
            }
            results
        };
        telemetry::watch(Call::TokenizeBatch, domain, cards.len(), call).await
    }

    /// The convergent token of each card, and the writes that make those that are new. The
    /// writes are the caller's to apply, all or none; a refused one means to ask again. So does
    /// none: the vault has a newer ring meanwhile.
    pub(crate) async fn stage(
        &self,
        state: &RingState,
        domain: &Domain,
        cards: &[&CardRecord],
    ) -> Result<Option<(Vec<Token>, Vec<Write>)>, VaultError> {
        let how = Tokenize::convergent();
        let keys = state.domain(domain)?;
        let mut read = Vec::with_capacity(cards.len());
        for card in cards {
            read.extend(keys.index(&card.pan)?.keys.first().copied());
        }
        let found = self.store.find(read.clone()).await?;
        let mut rows = found.iter().filter_map(|found| found.unique.as_ref());
        let mut opener = RowOpener::new(state, *domain);
        let lacking = rows.any(|(_, row)| opener.lacks(row));
        if lacking && self.has_moved(state).await? {
            return Ok(None);
        }
        let mut staged: HashMap<IndexKey, Token> = HashMap::new();
        let (mut tokens, mut writes) = (Vec::with_capacity(cards.len()), Vec::new());
        for ((card, index), found) in cards.iter().zip(read).zip(found) {
            let token = match (staged.get(&index), found.unique) {
                (Some(token), _) => *token,
                (None, Some((key, row))) => {
                    let (of, token) = read_row_key(&key).map_err(|_| VaultError::Tampered)?;
                    let (columns, known) = opener.open(&token, &row)?;
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
        Ok(Some((tokens, writes)))
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
        // A ring that is behind may fail: whoever writes finds out.
        let known = self.existing(&*self.state()?, domain, card, how, &key, &row);
        let known = known.ok().filter(|known| known.fresh.is_none());
        Ok(known.map(|known| known.token))
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
        self.without_existing(chunk.results)
    }

    /// The results as the policy lets them be told.
    fn without_existing(
        &self,
        mut results: Vec<Result<Tokenized, VaultError>>,
    ) -> Vec<Result<Tokenized, VaultError>> {
        // A gate that cannot be asked hides.
        if self.gate.hides_existing().unwrap_or(true) {
            for tokenized in results.iter_mut().flatten() {
                tokenized.existing = false;
            }
        }
        results
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
            revision: Columns::FIRST_REVISION,
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
