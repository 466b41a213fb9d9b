//! What a batch does to a store: decides each write against what is stored and what was staged
//! before it, and collects the changes in key order. It writes nothing itself.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::store::{Guard, IndexKey, Item, Part, Row, RowKey, StoreError, Write, WriteOutcome};

/// What is stored.
pub(super) trait Base {
    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError>;
    fn unique(&self, key: &IndexKey) -> Result<Option<RowKey>, StoreError>;
    fn guard(&self) -> Result<Option<Guard>, StoreError>;
    /// Whether there is a row before this key.
    fn has_rows(&self, end: &RowKey) -> Result<bool, StoreError>;

    /// What is there, beside what each of these, whose keys ascend, expects.
    fn compare(&self, replacements: &[&Replacement<'_>]) -> Result<Vec<Beside>, StoreError> {
        let compare = |replacement: &&Replacement<'_>| {
            let stored = self.row(replacement.token)?;
            Ok(replacement.beside(stored.as_ref().map(Row::as_bytes)))
        };
        replacements.iter().map(compare).collect()
    }
}

/// A [`Write::Replace`].
pub(super) struct Replacement<'a> {
    pub(super) token: &'a RowKey,
    expected: &'a Row,
    row: &'a Row,
}

impl Replacement<'_> {
    /// What is there, beside what is expected.
    pub(super) fn beside(&self, stored: Option<&[u8]>) -> Beside {
        match stored {
            None => Beside::Nothing,
            Some(stored) if stored == self.expected.as_bytes() => Beside::TheSame,
            Some(_) => Beside::Another,
        }
    }
}

/// What is there, beside what is expected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    Another,
    TheSame,
}

impl Beside {
    const fn outcome(self) -> WriteOutcome {
        match self {
            Self::Nothing => WriteOutcome::Missing,
            Self::Another => WriteOutcome::Changed,
            Self::TheSame => WriteOutcome::Replaced,
        }
    }
}

/// Changes that were decided on but not written.
#[derive(Default)]
pub(super) struct Staged {
    /// The new row, or none.
    pub(super) rows: BTreeMap<RowKey, Option<Row>>,
    /// The new unique entry, or none.
    pub(super) unique: BTreeMap<IndexKey, Option<RowKey>>,
    /// Whether this other entry is to be there.
    pub(super) others: BTreeMap<(IndexKey, RowKey), bool>,
    /// The new guard.
    pub(super) guard: Option<Guard>,
}

impl Staged {
    /// Decides a batch whose sizes were checked.
    ///
    /// # Errors
    /// [`StoreError::GuardChanged`] with nothing staged. Any other error leaves part of the batch
    /// staged: throw the whole away.
    pub(super) fn batch(
        &mut self,
        base: &impl Base,
        under: Option<&Guard>,
        writes: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        if under.is_some() && self.guard(base)?.as_ref() != under {
            return Err(StoreError::GuardChanged);
        }
        if let Some(replacements) = in_order(writes) {
            return self.replace_all(base, &replacements);
        }
        writes
            .iter()
            .map(|write| match write {
                Write::All(group) => self.all(base, group),
                write => self.decide(base, write),
            })
            .collect()
    }

    /// The replacements of one batch, whose keys ascend: read in one walk, and staged as a whole.
    fn replace_all(
        &mut self,
        base: &impl Base,
        replacements: &[Replacement<'_>],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(replacements.len());
        let mut fresh = Vec::with_capacity(replacements.len());
        let unstaged = |it: &&Replacement<'_>| !self.rows.contains_key(it.token);
        let unstaged: Vec<_> = replacements.iter().filter(unstaged).collect();
        let mut stored = base.compare(&unstaged)?.into_iter();
        for replacement in replacements {
            let found = match self.rows.get(replacement.token) {
                Some(staged) => replacement.beside(staged.as_ref().map(Row::as_bytes)),
                None => stored.next().ok_or(StoreError::Corrupt)?,
            };
            if found == Beside::TheSame {
                fresh.push((*replacement.token, Some(replacement.row.clone())));
            }
            outcomes.push(found.outcome());
        }
        // To put two trees together costs as much as both.
        if fresh.len() < self.rows.len() {
            self.rows.extend(fresh);
        } else {
            self.rows.append(&mut fresh.into_iter().collect());
        }
        Ok(outcomes)
    }

    /// Decides a group on a layer of its own, which is taken over if every write is applied.
    fn all(&mut self, base: &impl Base, group: &[Write]) -> Result<WriteOutcome, StoreError> {
        let mut layer = Self::default();
        let mut outcomes = Vec::with_capacity(group.len());
        let below = Layered { staged: self, base };
        for (at, write) in group.iter().enumerate() {
            let outcome = layer.decide(&below, write)?;
            if !outcome.is_applied() {
                return Ok(WriteOutcome::Refused {
                    at,
                    outcome: Box::new(outcome),
                });
            }
            outcomes.push(outcome);
        }
        self.take(layer);
        Ok(WriteOutcome::All(outcomes))
    }

    /// Puts the changes of a layer on these.
    fn take(&mut self, layer: Self) {
        self.rows.extend(layer.rows);
        self.unique.extend(layer.unique);
        self.others.extend(layer.others);
        self.guard = layer.guard.or(self.guard.take());
    }

    #[cfg(any(feature = "embedded", feature = "postgres"))]
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.unique.is_empty()
            && self.others.is_empty()
            && self.guard.is_none()
    }

    fn decide(&mut self, base: &impl Base, write: &Write) -> Result<WriteOutcome, StoreError> {
        match write {
            Write::Insert {
                token,
                row,
                index,
                unique,
            } => {
                if *unique && let Some(winner) = self.winner(base, index)? {
                    return Ok(winner);
                }
                if self.row(base, token)?.is_some() {
                    return Ok(WriteOutcome::TokenTaken);
                }
                self.rows.insert(*token, Some(row.clone()));
                for key in index {
                    if *unique {
                        self.unique.insert(*key, Some(*token));
                    } else {
                        self.others.insert((*key, *token), true);
                    }
                }
                Ok(WriteOutcome::Inserted)
            }
            Write::Replace {
                token,
                expected,
                row,
            } => {
                let replacement = Replacement {
                    token,
                    expected,
                    row,
                };
                let stored = self.row(base, token)?;
                let found = replacement.beside(stored.as_ref().map(Row::as_bytes));
                if found == Beside::TheSame {
                    self.rows.insert(*token, Some(row.clone()));
                }
                Ok(found.outcome())
            }
            Write::Delete {
                token,
                expected,
                index,
            } => match self.row(base, token)? {
                None => Ok(WriteOutcome::Missing),
                Some(stored) if stored != *expected => Ok(WriteOutcome::Changed),
                Some(_) => {
                    self.rows.insert(*token, None);
                    self.unlist(base, token, index)?;
                    Ok(WriteOutcome::Deleted)
                }
            },
            Write::Link { token, add, remove } => {
                if self.row(base, token)?.is_none() {
                    return Ok(WriteOutcome::Missing);
                }
                for (keys, there) in [(remove, false), (add, true)] {
                    for key in keys {
                        self.others.insert((*key, *token), there);
                    }
                }
                Ok(WriteOutcome::Linked)
            }
            Write::Reindex {
                token,
                expected,
                row,
                add,
                remove,
                unique,
            } => match self.row(base, token)? {
                None => Ok(WriteOutcome::Missing),
                Some(stored) if stored != *expected => Ok(WriteOutcome::Changed),
                Some(_) => {
                    if *unique && let Some(winner) = self.rival(base, token, add)? {
                        return Ok(winner);
                    }
                    if row != expected {
                        self.rows.insert(*token, Some(row.clone()));
                    }
                    self.unlist(base, token, remove)?;
                    for key in add {
                        if !*unique {
                            self.others.insert((*key, *token), true);
                        } else if self.unique(base, key)? != Some(*token) {
                            self.unique.insert(*key, Some(*token));
                        }
                    }
                    Ok(WriteOutcome::Linked)
                }
            },
            Write::Guard { expected, guard } => {
                let stored = self.guard(base)?;
                if stored != *expected {
                    return Ok(WriteOutcome::GuardChanged(stored));
                }
                self.guard = Some(guard.clone());
                Ok(WriteOutcome::Guarded)
            }
            Write::GuardOfEmpty {
                expected,
                guard,
                end,
            } => {
                let stored = self.guard(base)?;
                if stored != *expected {
                    return Ok(WriteOutcome::GuardChanged(stored));
                }
                if self.has_rows(base, end)? {
                    return Ok(WriteOutcome::NotEmpty);
                }
                self.guard = Some(guard.clone());
                Ok(WriteOutcome::Guarded)
            }
            Write::Put(item) => {
                match item {
                    Item::Row(key, row) => drop(self.rows.insert(*key, Some(row.clone()))),
                    Item::Unique(index, key) => drop(self.unique.insert(*index, Some(*key))),
                    Item::Other(index, key) => drop(self.others.insert((*index, *key), true)),
                }
                Ok(WriteOutcome::Put)
            }
            // Sizes were checked, so this is a group within a group that slipped through.
            Write::All(inner) => Err(StoreError::Size {
                part: Part::Nested,
                len: inner.len(),
            }),
        }
    }

    /// The row that has the unique entry already; its entry is added where it is missing. An entry
    /// that names no row is none.
    fn winner(
        &mut self,
        base: &impl Base,
        index: &[IndexKey],
    ) -> Result<Option<WriteOutcome>, StoreError> {
        let mut winner = None;
        let mut missing = Vec::new();
        for key in index {
            let named = match self.unique(base, key)? {
                None => None,
                Some(token) => self.row(base, &token)?.map(|row| (token, row)),
            };
            match named {
                None => missing.push(*key),
                named => winner = winner.or(named),
            }
        }
        let Some((token, row)) = winner else {
            return Ok(None);
        };
        for key in missing {
            self.unique.insert(key, Some(token));
        }
        Ok(Some(WriteOutcome::Exists { token, row }))
    }

    /// Another row that has a unique entry under one of these keys, the first of them.
    fn rival(
        &self,
        base: &impl Base,
        token: &RowKey,
        index: &[IndexKey],
    ) -> Result<Option<WriteOutcome>, StoreError> {
        for key in index {
            if let Some(other) = self.unique(base, key)?
                && other != *token
                && let Some(row) = self.row(base, &other)?
            {
                return Ok(Some(WriteOutcome::Exists { token: other, row }));
            }
        }
        Ok(None)
    }

    /// Takes the row's entries of both kinds away.
    fn unlist(
        &mut self,
        base: &impl Base,
        token: &RowKey,
        index: &[IndexKey],
    ) -> Result<(), StoreError> {
        for key in index {
            if self.unique(base, key)? == Some(*token) {
                self.unique.insert(*key, None);
            }
            self.others.insert((*key, *token), false);
        }
        Ok(())
    }

    fn row(&self, base: &impl Base, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.rows
            .get(key)
            .map_or_else(|| base.row(key), |staged| Ok(staged.clone()))
    }

    fn unique(&self, base: &impl Base, key: &IndexKey) -> Result<Option<RowKey>, StoreError> {
        self.unique
            .get(key)
            .map_or_else(|| base.unique(key), |staged| Ok(*staged))
    }

    fn guard(&self, base: &impl Base) -> Result<Option<Guard>, StoreError> {
        self.guard
            .as_ref()
            .map_or_else(|| base.guard(), |staged| Ok(Some(staged.clone())))
    }

    fn has_rows(&self, base: &impl Base, end: &RowKey) -> Result<bool, StoreError> {
        let mut staged = self.rows.range(..end);
        Ok(staged.any(|(_, row)| row.is_some()) || base.has_rows(end)?)
    }
}

/// The replacements of a batch, if there are several and nothing else in it, in the order of their
/// keys, as those of a pass over the rows are.
fn in_order(writes: &[Write]) -> Option<Vec<Replacement<'_>>> {
    let [Write::Replace { .. }, Write::Replace { .. }, ..] = writes else {
        return None;
    };
    let mut replacements: Vec<Replacement<'_>> = Vec::with_capacity(writes.len());
    for write in writes {
        match write {
            Write::Replace {
                token,
                expected,
                row,
            } if replacements.last().is_none_or(|last| last.token < token) => {
                replacements.push(Replacement {
                    token,
                    expected,
                    row,
                });
            }
            _ => return None,
        }
    }
    Some(replacements)
}

/// What is stored once the staged changes are.
struct Layered<'a, B> {
    staged: &'a Staged,
    base: &'a B,
}

impl<B: Base> Base for Layered<'_, B> {
    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.staged.row(self.base, key)
    }

    fn unique(&self, key: &IndexKey) -> Result<Option<RowKey>, StoreError> {
        self.staged.unique(self.base, key)
    }

    fn guard(&self) -> Result<Option<Guard>, StoreError> {
        self.staged.guard(self.base)
    }

    fn has_rows(&self, end: &RowKey) -> Result<bool, StoreError> {
        self.staged.has_rows(self.base, end)
    }
}
