//! Records from retired key versions to the active one.
#![forbid(unsafe_code)]

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use std::sync::Arc;

use rand_core::TryCryptoRng;

use super::rows::{RowOpener, key_id, open_parts, opens, version_of};
use super::{TRIES, Vault};
use crate::card::CardRecord;
use crate::fingerprint::FINGERPRINT_LEN;
use crate::keys::{KeyName, KeyUse};
use crate::seal::{Binding, NONCE_BATCH_MAX, SEALED_RECORD_LEN, Sealer};
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::access::{Access, AccessEvent, Operation};
use crate::vault::error::VaultError;
use crate::vault::request::{Rewrapped, UnderKey};
use crate::vault::ring_state::RingState;
use crate::vault::row::{COLUMNS_LEN, RowParts, build_row, read_row_key, vault_end};
use crate::vault::store::{MAX_BATCH, Row, RowKey, Store, Write, WriteOutcome};
use crate::vault::telemetry::{self, Call};

/// Rows of one batch of a rewrap, at most.
pub(in crate::vault) const REWRAP_PAGE: usize = 4_000;

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Seals records of retired versions anew under the active one: up to `limit` rows (at most
    /// [`MAX_BATCH`]) behind `after`. Tokens stay as they are. Call it with the cursor it gave
    /// until there is none; [`crate::vault::Rewrapping`] does that at a pace.
    ///
    /// A row that others change meanwhile is read again and keeps their change; one that they
    /// delete stays deleted.
    ///
    /// # Errors
    /// The store's; the ring's if it gives no key to seal under. What was moved before stays moved,
    /// and what was handed to the store may still be moved. Rows that do not open are counted and
    /// left as they are.
    pub async fn rewrap(
        &self,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Rewrapped, VaultError> {
        let limit = limit.clamp(1, MAX_BATCH);
        self.rewrap_pages(&[], after, limit).await
    }

    /// [`Vault::rewrap`] of the records under these card versions alone: a compromised one is not
    /// to wait for the others.
    ///
    /// # Errors
    /// As [`Vault::rewrap`].
    pub async fn rewrap_of(
        &self,
        versions: &[u32],
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Rewrapped, VaultError> {
        let limit = limit.clamp(1, MAX_BATCH);
        self.rewrap_where(after, limit, |version| versions.contains(&version))
            .await
    }

    /// As [`Vault::rewrap_of`], of any number of rows; of all versions if none is named.
    pub(in crate::vault) async fn rewrap_pages(
        &self,
        versions: &[u32],
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Rewrapped, VaultError> {
        let wanted = |version| versions.is_empty() || versions.contains(&version);
        self.rewrap_where(after, limit, wanted).await
    }

    /// The tokens of the records under one card version, among `limit` rows (at most
    /// [`MAX_BATCH`]) behind `after`: what a compromised version concerns. Each token is logged
    /// first. Call it with the cursor it gave until there is none; a page may be empty.
    ///
    /// # Errors
    /// [`VaultError::Log`]; [`VaultError::Key`] for a version that the ring does not have; the
    /// store's.
    pub async fn list_under(
        &self,
        access: &Access,
        version: u32,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<UnderKey, VaultError> {
        let call = async {
            let state = self.state()?;
            let name = KeyName::new(KeyUse::Card, version);
            state.ring.info(name)?;
            let asked = self.ask(access, Operation::List, None);
            if let Err(refused) = asked {
                let event = self.event(access, Operation::List, None, None, &asked);
                let key = Some(name);
                self.log.record(&[AccessEvent { key, ..event }])?;
                return Err(refused);
            }
            let limit = limit.clamp(1, MAX_BATCH);
            let page = self.store.scan(after, Some(vault_end()?), limit).await?;
            let mut under = UnderKey {
                seen: 0,
                tokens: Vec::new(),
                cursor: next(&page, limit),
            };
            for (key, row) in &page {
                under.seen += 1;
                let (Ok(named), Ok(parts)) = (read_row_key(key), RowParts::read(row)) else {
                    continue;
                };
                if let Ok(id) = key_id(&parts)
                    && version_of(&state, &named.0, &id)? == Some(version)
                {
                    under.tokens.push(named);
                }
            }
            let event = |domain: Option<_>, token| AccessEvent {
                key: Some(name),
                ..self.event(access, Operation::List, domain, token, &Ok(()))
            };
            let mut events: Vec<_> = under
                .tokens
                .iter()
                .map(|(domain, token)| event(Some(domain), Some(*token)))
                .collect();
            if events.is_empty() {
                events.push(event(None, None));
            }
            self.log.record(&events)?;
            drop(events);
            Ok(under)
        };
        telemetry::watch(Call::ListUnder, None, 1, call).await
    }

    /// Page by page; while the store commits one, the next is read, sealed and handed over.
    async fn rewrap_where(
        &self,
        after: Option<RowKey>,
        limit: usize,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Rewrapped, VaultError> {
        let call = async {
            let end = vault_end()?;
            let mut step = Rewrapped {
                seen: 0,
                moved: 0,
                left: 0,
                cursor: after,
            };
            let (mut open, mut under_way) = (limit.max(1), None);
            while open > 0 {
                let rows = open.min(REWRAP_PAGE);
                let page = self.store.scan(step.cursor, Some(end), rows).await?;
                open -= rows;
                step.seen += count(page.len());
                step.cursor = next(&page, rows);
                let state = self.state()?;
                let fresh = self.fresh_rows(&state, page, &wanted)?;
                let writes = !fresh.writes.is_empty();
                let moving = Box::pin(self.replace(state, fresh, &wanted));
                // What only reads is not begun early: it would wait with a connection of the store.
                let begun = if writes {
                    Begun::begin(moving).await
                } else {
                    Begun::Waiting(moving)
                };
                if let Some(before) = under_way.replace(begun) {
                    step.add(Begun::end(before).await?);
                }
                if step.cursor.is_none() {
                    break;
                }
            }
            if let Some(last) = under_way {
                step.add(Begun::end(last).await?);
            }
            Ok(step)
        };
        let step: Result<_, VaultError> = telemetry::watch(Call::Rewrap, None, 1, call).await;
        let step = step?;
        let rows = [
            ("seen", step.seen),
            ("changed", step.moved),
            ("left", step.left),
        ];
        telemetry::step(Call::Rewrap, rows);
        Ok(step)
    }

    /// Writes the rows. What others change meanwhile is read again and moved then.
    async fn replace(
        &self,
        mut state: Arc<RingState>,
        mut fresh: Fresh,
        wanted: &impl Fn(u32) -> bool,
    ) -> Result<Moved, VaultError> {
        let mut moved = Moved::default();
        let mut again = Vec::new();
        for _ in 0..TRIES {
            let Fresh {
                writes,
                keys,
                left,
                rest,
            } = fresh;
            again.clear();
            if writes.is_empty() {
                // A newer ring may have the key of a row that this one lacks.
                if left.is_empty() || !self.has_moved(&state).await? {
                    moved.left += count(left.len());
                    return Ok(moved);
                }
                again = left;
            } else if let Some(outcomes) = self.write(&state, writes).await? {
                moved.left += count(left.len());
                for (key, outcome) in keys.into_iter().zip(outcomes) {
                    match outcome {
                        WriteOutcome::Replaced => moved.moved += 1,
                        WriteOutcome::Changed => again.push(key),
                        // It was deleted.
                        _ => {}
                    }
                }
                if again.is_empty() {
                    return Ok(moved);
                }
            } else {
                // With a newer ring meanwhile: all of it again.
                again = keys;
                again.extend(left);
                again.extend(rest);
            }
            let found = self.store.rows(again.clone()).await?;
            let found = again.iter().copied().zip(found);
            let rows = found.filter_map(|(key, row)| Some((key, row?))).collect();
            state = self.state()?;
            fresh = self.fresh_rows(&state, rows, wanted)?;
        }
        moved.left += count(again.len());
        Ok(moved)
    }

    /// What puts those of the rows that are wanted under the active version, and those of them that
    /// do not open.
    fn fresh_rows(
        &self,
        state: &RingState,
        rows: Vec<(RowKey, Row)>,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Fresh, VaultError> {
        let now = (self.clock)();
        let mut fresh = Fresh {
            writes: Vec::with_capacity(rows.len()),
            keys: Vec::with_capacity(rows.len()),
            ..Fresh::default()
        };
        let mut opened = Opened::with_capacity(NONCE_BATCH_MAX);
        let mut current: Option<(RowOpener<'_>, Arc<Sealer>)> = None;
        for (key, row) in rows {
            let (Ok((domain, token)), Ok(parts)) = (read_row_key(&key), RowParts::read(&row))
            else {
                fresh.left.push(key);
                continue;
            };
            // Rows of one domain lie together.
            if current
                .as_ref()
                .is_none_or(|(in_domain, _)| *in_domain.domain() != domain)
            {
                if let Some((_, sealer)) = &current {
                    self.seal_opened(sealer, now, &mut opened, &mut fresh)?;
                }
                let mut in_domain = RowOpener::new(state, domain);
                let sealer = in_domain.keys()?.sealer(&state.ring, &domain, now)?;
                current = Some((in_domain, sealer));
            }
            let Some((in_domain, sealer)) = &mut current else {
                fresh.left.push(key);
                continue;
            };
            let Ok(id) = key_id(&parts) else {
                fresh.left.push(key);
                continue;
            };
            if id == *sealer.key_id() {
                fresh.rest.push(key);
                continue;
            }
            let Some(opener) = opens(in_domain.opener(&id))? else {
                fresh.left.push(key);
                continue;
            };
            if !wanted(opener.name().version) {
                fresh.rest.push(key);
                continue;
            }
            let Some((columns, card)) = opens(open_parts(opener, &token, &parts))? else {
                fresh.left.push(key);
                continue;
            };
            let (columns, fingerprint) = (columns.next().to_bytes(), *parts.fingerprint);
            opened.cards.push(OpenedCard {
                token,
                columns,
                fingerprint,
                card,
            });
            opened.rows.push((key, row));
            if opened.rows.len() == NONCE_BATCH_MAX {
                self.seal_opened(sealer, now, &mut opened, &mut fresh)?;
            }
        }
        if let Some((_, sealer)) = &current {
            self.seal_opened(sealer, now, &mut opened, &mut fresh)?;
        }
        Ok(fresh)
    }

    /// Seals what was opened, at most [`NONCE_BATCH_MAX`] rows of one domain.
    fn seal_opened(
        &self,
        sealer: &Sealer,
        now: UnixSeconds,
        opened: &mut Opened,
        fresh: &mut Fresh,
    ) -> Result<(), VaultError> {
        if opened.rows.is_empty() {
            return Ok(());
        }
        let cards = &opened.cards;
        let records: Vec<_> = cards.iter().map(|one| (&one.card, one.binding())).collect();
        let mut sealed = vec![[0; SEALED_RECORD_LEN]; records.len()];
        let mut random = self.random.lock().map_err(|_| VaultError::Broken)?;
        sealer.seal_batch(&records, now, &mut random.nonces, &mut sealed)?;
        drop(random);
        for ((key, expected), (one, sealed)) in opened.rows.drain(..).zip(cards.iter().zip(&sealed))
        {
            fresh.keys.push(key);
            fresh.writes.push(Write::Replace {
                token: key,
                expected,
                row: build_row(&one.columns, &one.fingerprint, sealed)?,
            });
        }
        // Where they lie, which wipes them.
        opened.cards.clear();
        Ok(())
    }
}

/// Records that were opened, to be sealed anew, and beside each the row that it stands in. A card
/// stays in its place until it is wiped: a move would leave a copy.
struct Opened {
    cards: Vec<OpenedCard>,
    rows: Vec<(RowKey, Row)>,
}

/// What is sealed together.
struct OpenedCard {
    token: Token,
    columns: [u8; COLUMNS_LEN],
    fingerprint: [u8; FINGERPRINT_LEN],
    card: CardRecord,
}

impl Opened {
    /// Room for so many; more would move the cards.
    fn with_capacity(capacity: usize) -> Self {
        Self {
            cards: Vec::with_capacity(capacity),
            rows: Vec::with_capacity(capacity),
        }
    }
}

impl OpenedCard {
    fn binding(&self) -> Binding<'_> {
        Binding {
            token: self.token.as_bytes(),
            fingerprint: &self.fingerprint,
            columns: &self.columns,
        }
    }
}

/// Rows to be written, and their keys; the keys of those that do not open, and of those that are
/// where they are to be.
#[derive(Default)]
struct Fresh {
    writes: Vec<Write>,
    keys: Vec<RowKey>,
    left: Vec<RowKey>,
    rest: Vec<RowKey>,
}

/// What became of rows.
#[derive(Default)]
struct Moved {
    moved: u64,
    left: u64,
}

impl Rewrapped {
    fn add(&mut self, moved: Moved) {
        self.moved += moved.moved;
        self.left += moved.left;
    }
}

/// A call that was polled once, so that the store is at work on it.
enum Begun<F: Future> {
    Waiting(Pin<Box<F>>),
    Ended(F::Output),
}

impl<F: Future> Begun<F> {
    async fn begin(mut call: Pin<Box<F>>) -> Self {
        match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
            Poll::Ready(output) => Self::Ended(output),
            Poll::Pending => Self::Waiting(call),
        }
    }

    async fn end(self) -> F::Output {
        match self {
            Self::Waiting(call) => call.await,
            Self::Ended(output) => output,
        }
    }
}

/// Where the next page begins, if there is one.
fn next(page: &[(RowKey, Row)], limit: usize) -> Option<RowKey> {
    let last = page.last().filter(|_| page.len() == limit);
    last.map(|(key, _)| *key)
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}
