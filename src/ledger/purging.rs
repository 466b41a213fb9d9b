//! Which payments keep a token, and a purge that asks them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use rand_core::TryCryptoRng;

use super::error::LedgerError;
use super::handle::{Ledger, MAX_PAGE};
use super::record::{Payment, RequestRecord};
use super::row::{Index, waits};
use crate::keys::KeyError;
use crate::refund::{BatchState, PaymentState};
use crate::time::UnixSeconds;
use crate::vault::telemetry::{self, Call};
use crate::vault::{
    Access, ApprovedPurge, AsOf, Candidate, IndexKey, KeepRule, MAX_FOUND, Purged, Retention, Row,
    RowKey, Store, Survey, VaultError, Verdict, split_candidates,
};

impl<S: Store, R: TryCryptoRng + Send + 'static> Ledger<S, R> {
    /// Begins a purge of the vault that is tried dry, by the clock of now.
    ///
    /// # Errors
    /// [`RetentionError::NoDay`](crate::vault::RetentionError::NoDay).
    #[expect(clippy::unused_async, reason = "as the vault's, whose place it takes")]
    pub async fn survey(&self, retention: Retention) -> Result<Survey, LedgerError> {
        Ok(self.vault().begin_survey(retention, true)?)
    }

    /// [`Vault::survey_step`](crate::vault::Vault::survey_step), with a look at the payments.
    ///
    /// # Errors
    /// The vault's. Rows of the ledger that do not open keep their tokens, and are counted.
    pub async fn survey_step(&self, survey: &mut Survey, limit: usize) -> Result<(), LedgerError> {
        let call = async {
            let mut page = self.vault().survey_page(survey, limit).await?;
            self.judge(survey.as_of, &mut page.candidates).await?;
            page.end(survey);
            Ok(())
        };
        telemetry::watch(Call::LedgerSurveyStep, None, 1, call).await
    }

    /// [`Vault::purge`](crate::vault::Vault::purge), with a look at the payments: no token goes
    /// while a payment of it is open, disputed or refundable. They are looked at once more when the
    /// tokens are out, and what was used meanwhile is put back.
    ///
    /// # Errors
    /// The vault's.
    pub async fn purge(
        &self,
        access: &Access,
        approved: &ApprovedPurge,
        after: Option<RowKey>,
        limit: usize,
    ) -> Result<Purged, LedgerError> {
        let call = async {
            let vault = self.vault();
            let mut page = vault.purge_page(approved, after, limit).await?;
            self.judge(approved.as_of, &mut page.candidates).await?;
            let going = page.going();
            let done = vault.purge_rows(access, going).await?;
            let (mut gone, stayed) = split_candidates(done);
            self.judge(approved.as_of, &mut gone).await?;
            for candidate in &mut gone {
                if !candidate.verdict.goes() {
                    vault.put_back(access, candidate).await?;
                    candidate.verdict = Verdict::Changed;
                }
            }
            page.count(gone.into_iter().chain(stayed));
            Ok(page.into())
        };
        let step: Result<Purged, LedgerError> =
            telemetry::watch(Call::LedgerPurge, None, 1, call).await;
        let step = step?;
        telemetry::step(Call::LedgerPurge, step.told());
        Ok(step)
    }

    /// The verdict on each, now that the payments are asked. Bounded: the payments of at most
    /// [`MAX_FOUND`] tokens are read at a time, at most [`MAX_FOUND`] of each.
    async fn judge(&self, as_of: AsOf, candidates: &mut [Candidate]) -> Result<(), LedgerError> {
        for chunk in candidates.chunks_mut(MAX_FOUND) {
            let keys = chunk
                .iter()
                .map(|candidate| Index::Token(&candidate.token).key(&candidate.domain))
                .collect::<Result<Vec<_>, _>>()?;
            let mut stands: Vec<_> = chunk.iter().map(Standing::of).collect();
            let mut refunded = Vec::new();
            self.each_linked(&keys, |at, key, row| {
                let (Some(candidate), Some(stand)) = (chunk.get(at), stands.get_mut(at)) else {
                    return Ok(());
                };
                if stand.keeps.is_some() {
                    return Ok(());
                }
                let read = row.map(|row| {
                    let state = self.vault().state()?;
                    self.open::<Payment>(&state, &candidate.domain, key, row)
                });
                match sound(read)?.filter(|read| read.value.token == Some(candidate.token)) {
                    Some(read) => {
                        stand.see(as_of, &candidate.rule, &read.value);
                        if stand.keeps.is_none() && read.value.refunds.count > 0 {
                            refunded.push((at, candidate.domain, read.value.id));
                        }
                    }
                    None => stand.keeps = Some(Verdict::Unclear),
                }
                Ok(())
            })
            .await?;
            for requests in refunded.chunks(MAX_FOUND) {
                let keys = requests
                    .iter()
                    .map(|(_, domain, id)| Index::Requests(id).key(domain))
                    .collect::<Result<Vec<_>, _>>()?;
                self.each_linked(&keys, |place, key, row| {
                    let Some((at, domain, id)) = requests.get(place) else {
                        return Ok(());
                    };
                    let read = row.map(|row| {
                        let state = self.vault().state()?;
                        self.open::<RequestRecord>(&state, domain, key, row)
                    });
                    let read = sound(read)?.filter(|read| read.value.payment == *id);
                    if let Some(stand) = stands.get_mut(*at) {
                        match read {
                            Some(read) => stand.see_request(&read.value),
                            None => stand.keeps = Some(Verdict::Unclear),
                        }
                    }
                    Ok(())
                })
                .await?;
            }
            for (candidate, stand) in chunk.iter_mut().zip(stands) {
                candidate.verdict = stand.verdict(as_of, candidate);
            }
        }
        Ok(())
    }

    /// Hands over what every one of at most [`MAX_FOUND`] index keys leads to, with the key's
    /// place.
    async fn each_linked(
        &self,
        keys: &[IndexKey],
        mut take: impl FnMut(usize, RowKey, Option<Row>) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let store = self.vault().store();
        let found = store.find(keys.to_vec()).await?;
        let mut places = Vec::new();
        let mut more = BTreeMap::new();
        for (at, found) in found.into_iter().enumerate() {
            if let (true, Some(last)) = (found.more, found.others.last()) {
                more.insert(at, *last);
            }
            places.extend(found.others.into_iter().map(|key| (at, key)));
        }
        let rows = store.rows(places.iter().map(|(_, key)| *key).collect());
        for ((at, key), row) in places.into_iter().zip(rows.await?) {
            take(at, key, row)?;
        }
        for (at, last) in more {
            let Some(index) = keys.get(at) else { continue };
            let mut after = Some(last);
            while after.is_some() {
                let page = store.others(*index, after, None, MAX_PAGE).await?;
                after = page.last().copied().filter(|_| page.len() == MAX_PAGE);
                let rows = store.rows(page.clone()).await?;
                for (key, row) in page.into_iter().zip(rows) {
                    take(at, key, row)?;
                }
            }
        }
        Ok(())
    }
}

/// What the payments of a token say so far.
struct Standing {
    /// Why it stays.
    keeps: Option<Verdict>,
    /// The last day that counts, since 1970.
    last: u64,
}

impl Standing {
    const fn of(candidate: &Candidate) -> Self {
        Self {
            keeps: None,
            last: candidate.made,
        }
    }

    fn see(&mut self, as_of: AsOf, rule: &KeepRule, payment: &Payment) {
        let refunds = payment.refunds;
        let waits = payment.pending.is_some()
            || !refunds.requested.is_zero()
            || !refunds.in_doubt.is_zero();
        let takes = payment.fields.kind.refund().is_some();
        let clearing = payment.fields.clearing.map(|clearing| clearing.0);
        let last = payment.date.max(clearing.unwrap_or(payment.date));
        self.last = self.last.max(u64::from(last.days()));
        let took = matches!(
            payment.state,
            PaymentState::Captured | PaymentState::PartlyRefunded | PaymentState::Refunded
        );
        let unsettled = clearing.is_none() && payment.batch == BatchState::Open;
        let until = u64::from(payment.date.days()) + u64::from(rule.refund_days);
        self.keeps = match payment.state {
            PaymentState::Disputed => Some(Verdict::Disputed),
            PaymentState::Held | PaymentState::InDoubt => Some(Verdict::Open),
            _ if waits || (takes && took && unsettled) => Some(Verdict::Open),
            PaymentState::Captured | PaymentState::PartlyRefunded
                if takes && u64::from(as_of.today.days()) <= until =>
            {
                Some(Verdict::Refundable)
            }
            _ => None,
        };
    }

    fn see_request(&mut self, request: &RequestRecord) {
        if waits(request) {
            self.keeps = Some(Verdict::Open);
        }
        self.last = self.last.max(request.since.0 / UnixSeconds::DAY);
    }

    fn verdict(&self, as_of: AsOf, candidate: &Candidate) -> Verdict {
        match self.keeps {
            Some(keeps) => keeps,
            None if candidate.verdict != Verdict::Settled
                || candidate.rule.is_settled(as_of, self.last) =>
            {
                candidate.verdict
            }
            None => Verdict::NotDue,
        }
    }
}

/// None for a row that is not there or cannot be judged for what it is; an error for what the ring
/// or the store is.
fn sound<T>(read: Option<Result<T, LedgerError>>) -> Result<Option<T>, LedgerError> {
    match read {
        None
        | Some(Err(
            LedgerError::Tampered | LedgerError::Vault(VaultError::Key(KeyError::Destroyed { .. })),
        )) => Ok(None),
        Some(read) => read.map(Some),
    }
}
