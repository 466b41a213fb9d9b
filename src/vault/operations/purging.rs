//! What has been kept long enough, found and taken out.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use rand_core::TryCryptoRng;

use super::changing::indexed_under;
use super::rows::{open_row, opens};
use super::{TRIES, Vault};
use crate::keys::{Domain, KeyError};
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::access::{Access, AccessEvent, Operation};
use crate::vault::error::VaultError;
use crate::vault::retention::{
    ApprovedPurge, AsOf, KeepRule, PurgeTally, Purged, Retention, RetentionError, Survey, Verdict,
};
use crate::vault::row::{Columns, RowParts, read_row_key, vault_end};
use crate::vault::store::{MAX_BATCH, Row, RowKey, Store, Write, WriteOutcome};
use crate::vault::telemetry::{self, Call};

/// A token whose time is over by its own row.
pub(crate) struct Candidate {
    pub(crate) domain: Domain,
    pub(crate) token: Token,
    pub(crate) verdict: Verdict,
    pub(crate) rule: KeepRule,
    /// The day on which it was made, since 1970.
    pub(crate) made: u64,
    key: RowKey,
    row: Row,
}

/// Some rows, looked at.
pub(crate) struct PurgePage {
    pub(crate) seen: u64,
    /// Those that are settled already.
    pub(crate) tally: PurgeTally,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) cursor: Option<RowKey>,
}

impl PurgePage {
    /// Those that go; the others are counted.
    pub(crate) fn going(&mut self) -> Vec<Candidate> {
        let (going, staying) = split(core::mem::take(&mut self.candidates));
        self.count(staying);
        going
    }

    /// Counts what became of these.
    pub(crate) fn count(&mut self, candidates: impl IntoIterator<Item = Candidate>) {
        for candidate in candidates {
            self.tally.count(candidate.domain, candidate.verdict);
        }
    }

    /// Takes the page into a survey.
    pub(crate) fn end(mut self, survey: &mut Survey) {
        let candidates = core::mem::take(&mut self.candidates);
        self.count(candidates);
        survey.take(self.seen, &self.tally, self.cursor);
    }
}

impl From<PurgePage> for Purged {
    fn from(page: PurgePage) -> Self {
        Self {
            seen: page.seen,
            tally: page.tally,
            cursor: page.cursor,
        }
    }
}

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Begins a purge that is tried dry, by the clock of now.
    ///
    /// # Errors
    /// [`RetentionError::NeedsLedger`], [`RetentionError::LedgerThere`],
    /// [`RetentionError::NoDay`]; the store's.
    pub async fn survey(&self, retention: Retention) -> Result<Survey, VaultError> {
        if retention.needs_ledger() {
            return Err(RetentionError::NeedsLedger.into());
        }
        self.refuse_beside_ledger().await?;
        self.begin_survey(retention, false)
    }

    /// Looks at up to `limit` rows more (at most [`MAX_BATCH`]) and writes nothing. Call it until
    /// [`Survey::is_done`].
    ///
    /// # Errors
    /// As [`Vault::survey`]; the ring's.
    pub async fn survey_step(&self, survey: &mut Survey, limit: usize) -> Result<(), VaultError> {
        let call = async {
            if survey.with_ledger {
                return Err(RetentionError::NeedsLedger.into());
            }
            self.survey_page(survey, limit).await?.end(survey);
            Ok(())
        };
        telemetry::watch(Call::SurveyStep, None, 1, call).await
    }

    /// Takes out what goes, of up to `limit` rows (at most [`MAX_BATCH`]) behind `after`. Call it
    /// with the cursor it gave until there is none. Each token is logged before it goes, and its
    /// row and index entries go together. A row that changed meanwhile stays. After an interruption
    /// begin again, with the last cursor or without one: what went is gone.
    ///
    /// # Errors
    /// As [`Vault::survey`]; [`RetentionError::ClockBack`]; [`VaultError::Refused`], if the policy
    /// does not grant each domain and a budget for all the tokens, and [`VaultError::Log`]: then
    /// nothing of this step went; the ring's.
    pub async fn purge(
        &self,
        access: &Access,
        approved: &ApprovedPurge,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Purged, VaultError> {
        let call = async {
            if approved.with_ledger {
                return Err(RetentionError::NeedsLedger.into());
            }
            self.refuse_beside_ledger().await?;
            let mut page = self.purge_page(approved, after, limit).await?;
            let going = page.going();
            page.count(self.purge_rows(access, going).await?);
            Ok(page.into())
        };
        let step: Result<Purged, VaultError> = telemetry::watch(Call::Purge, None, 1, call).await;
        let step = step?;
        telemetry::step(Call::Purge, step.told());
        Ok(step)
    }

    pub(crate) fn begin_survey(
        &self,
        retention: Retention,
        with_ledger: bool,
    ) -> Result<Survey, VaultError> {
        let as_of = AsOf::new(self.now())?;
        Ok(Survey::new(retention, as_of, with_ledger))
    }

    pub(crate) async fn survey_page(
        &self,
        survey: &mut Survey,
        limit: usize,
    ) -> Result<PurgePage, VaultError> {
        let after = survey.after;
        let rows = self.purge_scan(after, limit).await?;
        for (_, row) in &rows.0 {
            if let Ok(parts) = RowParts::read(row) {
                survey.witness(parts.columns.created);
            }
        }
        self.look(&survey.retention, survey.as_of, rows)
    }

    pub(crate) async fn purge_page(
        &self,
        approved: &ApprovedPurge,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<PurgePage, VaultError> {
        if self.now() < approved.as_of.time {
            return Err(RetentionError::ClockBack.into());
        }
        let rows = self.purge_scan(after, limit).await?;
        self.look(&approved.retention, approved.as_of, rows)
    }

    /// Logs these, and takes out those that are as they were read. Gives them back with what became
    /// of them.
    pub(crate) async fn purge_rows(
        &self,
        access: &Access,
        mut going: Vec<Candidate>,
    ) -> Result<Vec<Candidate>, VaultError> {
        if going.is_empty() {
            return Ok(going);
        }
        let state = self.state()?;
        let mut writes = Vec::with_capacity(going.len());
        for candidate in &going {
            let Candidate {
                domain, token, row, ..
            } = candidate;
            writes.push(Write::Delete {
                token: candidate.key,
                index: indexed_under(&state, domain, token, row)?,
                expected: row.clone(),
            });
        }
        let domains: BTreeSet<_> = going.iter().map(|candidate| candidate.domain).collect();
        let asked = self.ask_whole(access, Operation::Purge, &domains, going.len());
        if asked.is_err() {
            let event = |domain| self.event(access, Operation::Purge, domain, None, &asked);
            self.log
                .record(&domains.iter().map(event).collect::<Vec<_>>())?;
            return asked.map(|()| going);
        }
        self.log_purge(access, &going, true)?;
        let outcomes = self.write(&state, writes).await?.unwrap_or_default();
        let mut outcomes = outcomes.into_iter();
        let mut stayed = Vec::new();
        for (at, candidate) in going.iter_mut().enumerate() {
            // None at all if the ring moved on: the next pass takes these along.
            if outcomes.next() != Some(WriteOutcome::Deleted) {
                candidate.verdict = Verdict::Changed;
                stayed.push(at);
            }
        }
        let stayed = stayed.iter().filter_map(|at| going.get(*at));
        self.log_purge(access, stayed, false)?;
        Ok(going)
    }

    /// Puts one back that was taken out while a payment of it was recorded. It is sealed anew: its
    /// revision tells it from the row that went.
    pub(crate) async fn put_back(
        &self,
        access: &Access,
        candidate: &Candidate,
    ) -> Result<(), VaultError> {
        let Candidate {
            domain,
            token,
            key,
            row: gone,
            ..
        } = candidate;
        let mut convergent = RowParts::read(gone)?.columns.convergent;
        for _ in 0..TRIES {
            let state = self.state()?;
            let opened = match open_row(&state, domain, token, gone) {
                // No key opens it: it goes back as it was.
                Err(VaultError::Key(KeyError::UnknownKey)) => None,
                opened => Some(opened?),
            };
            let row = match opened {
                None => gone.clone(),
                Some((columns, card)) => {
                    let columns = Columns {
                        convergent,
                        ..columns
                    };
                    self.reseal(&state, domain, token, gone, columns, &card)?
                }
            };
            let insert = Write::Insert {
                token: *key,
                index: indexed_under(&state, domain, token, gone)?,
                row,
                unique: convergent,
            };
            match self.write(&state, vec![insert]).await?.as_deref() {
                Some([WriteOutcome::Inserted | WriteOutcome::TokenTaken]) => {
                    return self.log_purge(access, [candidate], false);
                }
                // The card has another token meanwhile: this one is one of its others now.
                Some([WriteOutcome::Exists { .. }]) => convergent = false,
                _ => {}
            }
        }
        Err(VaultError::Conflict)
    }

    fn log_purge<'a>(
        &self,
        access: &Access,
        candidates: impl IntoIterator<Item = &'a Candidate>,
        granted: bool,
    ) -> Result<(), VaultError> {
        let events = candidates.into_iter().map(|candidate| {
            let (domain, token) = (&candidate.domain, Some(candidate.token));
            AccessEvent {
                granted,
                ..self.event(access, Operation::Purge, domain, token, &Ok(()))
            }
        });
        let events: Vec<_> = events.collect();
        if !events.is_empty() {
            self.log.record(&events)?;
        }
        Ok(())
    }

    /// A vault without its ledger does not know which payments are open.
    async fn refuse_beside_ledger(&self) -> Result<(), VaultError> {
        let ledger = self.store.scan(Some(vault_end()?), None, 1).await?;
        if ledger.is_empty() {
            Ok(())
        } else {
            Err(RetentionError::LedgerThere.into())
        }
    }

    async fn purge_scan(
        &self,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<(Vec<(RowKey, Row)>, Option<RowKey>), VaultError> {
        let limit = limit.clamp(1, MAX_BATCH);
        let rows = self.store.scan(after, Some(vault_end()?), limit).await?;
        let cursor = rows.last().filter(|_| rows.len() == limit);
        let cursor = cursor.map(|(key, _)| *key);
        Ok((rows, cursor))
    }

    fn look(
        &self,
        retention: &Retention,
        as_of: AsOf,
        (rows, cursor): (Vec<(RowKey, Row)>, Option<RowKey>),
    ) -> Result<PurgePage, VaultError> {
        let state = self.state()?;
        let mut page = PurgePage {
            seen: 0,
            tally: PurgeTally::default(),
            candidates: Vec::new(),
            cursor,
        };
        for (key, row) in rows {
            page.seen += 1;
            let Ok((domain, token)) = read_row_key(&key) else {
                page.tally.count_unreadable();
                continue;
            };
            let rule = *retention.rule(&domain);
            let Ok(parts) = RowParts::read(&row) else {
                page.tally.count(domain, Verdict::Unclear);
                continue;
            };
            let Columns {
                created, expires, ..
            } = parts.columns;
            let mut verdict = rule.verdict(as_of, created, expires);
            if verdict.goes() && retention.is_held(&domain, &token) {
                verdict = Verdict::Held;
            }
            if verdict.goes() {
                // The times stand in the clear: they count only if the record is bound to them.
                // What no key opens any more was readable for nobody, and goes by what it says.
                let opened = match open_row(&state, &domain, &token, &row) {
                    Err(VaultError::Key(KeyError::UnknownKey)) => true,
                    opened => opens(opened)?.is_some(),
                };
                if !opened {
                    verdict = Verdict::Unclear;
                }
            }
            if verdict.goes() {
                page.candidates.push(Candidate {
                    domain,
                    token,
                    verdict,
                    rule,
                    made: created.0 / UnixSeconds::DAY,
                    key,
                    row,
                });
            } else {
                page.tally.count(domain, verdict);
            }
        }
        Ok(page)
    }
}

/// Those that go, and those that stay.
pub(crate) fn split(candidates: Vec<Candidate>) -> (Vec<Candidate>, Vec<Candidate>) {
    candidates
        .into_iter()
        .partition(|candidate| candidate.verdict.goes())
}
