//! Who may do what: the policy in force, and what the host program itself does with the vault.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use rand_core::TryCryptoRng;

use super::Vault;
use crate::keys::{Domain, KeyName};
use crate::time::UnixSeconds;
use crate::token::Token;
use crate::vault::access::{Access, AccessEvent, Operation};
use crate::vault::error::VaultError;
use crate::vault::policy::{AccessPolicy, Admitted, Spent};
use crate::vault::store::Store;

impl<S: Store, R: TryCryptoRng + Send + 'static> Vault<S, R> {
    /// Puts a policy in force, in place of the one before it, which must grant
    /// [`Operation::Policy`]. Without one, everything is granted. Logged first.
    ///
    /// What was used of budgets counts on. It is kept in this process alone: at its start hand in
    /// as `spent` what the access log holds since the longest budget's time, or what
    /// [`Vault::spent`] gave at the end of the last one; else a restart renews all budgets.
    ///
    /// # Errors
    /// [`VaultError::Refused`], [`VaultError::Log`]; the policy before then stays in force.
    pub fn set_policy(
        &self,
        access: &Access,
        policy: AccessPolicy,
        spent: &[Spent],
    ) -> Result<(), VaultError> {
        self.record(access, Operation::Policy, None, None)?;
        self.gate.set(policy, spent, self.now())
    }

    /// What was used of the budgets of the policy in force, as far back as it counts.
    ///
    /// # Errors
    /// [`VaultError::Broken`].
    pub fn spent(&self) -> Result<Vec<Spent>, VaultError> {
        self.gate.spent()
    }

    /// Asks the policy for an operation that the host program is about to do itself, such as one
    /// with keys, and logs it: call it first.
    ///
    /// # Errors
    /// [`VaultError::Refused`]: do not do it; [`VaultError::Log`] likewise.
    pub fn record(
        &self,
        access: &Access,
        operation: Operation,
        domain: Option<&Domain>,
        key: Option<KeyName>,
    ) -> Result<(), VaultError> {
        let asked = self.ask(access, operation, domain);
        let event = self.event(access, operation, domain, None, &asked);
        self.log.record(&[AccessEvent { key, ..event }])?;
        asked
    }

    /// [`Vault::record`] for each of some tokens that the host program opens itself: vaultless ones.
    pub fn record_batch(
        &self,
        access: &Access,
        operation: Operation,
        domain: &Domain,
        tokens: &[Token],
    ) -> Vec<Result<(), VaultError>> {
        let asked = self.ask_many(access, operation, Some(domain), tokens.len());
        let results: Vec<_> = (0..tokens.len())
            .map(|at| match asked {
                Ok(Admitted { count, .. }) if at < count => Ok(()),
                Ok(Admitted { refusal, .. }) => Err(refusal.map_or(VaultError::Broken, Into::into)),
                Err(error) => Err(error),
            })
            .collect();
        match self.log_batch(access, operation, domain, tokens, &results) {
            Ok(()) => results,
            Err(error) => tokens.iter().map(|_| Err(error)).collect(),
        }
    }

    /// Logs what became of each token.
    pub(super) fn log_batch<T>(
        &self,
        access: &Access,
        operation: Operation,
        domain: &Domain,
        tokens: &[Token],
        results: &[Result<T, VaultError>],
    ) -> Result<(), VaultError> {
        let time = self.now();
        let events: Vec<_> = tokens
            .iter()
            .zip(results)
            .map(|(token, result)| event(time, access, operation, domain, Some(*token), result))
            .collect();
        Ok(self.log.record(&events)?)
    }

    /// Asks the policy for one operation. The caller logs what comes of it.
    pub(super) fn ask(
        &self,
        access: &Access,
        operation: Operation,
        domain: Option<&Domain>,
    ) -> Result<(), VaultError> {
        match self.ask_many(access, operation, domain, 1)?.refusal {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Asks for `count` of an operation at once: the first ones may be granted, and others not.
    pub(super) fn ask_many(
        &self,
        access: &Access,
        operation: Operation,
        domain: Option<&Domain>,
        count: usize,
    ) -> Result<Admitted, VaultError> {
        self.gate.ask(access, operation, domain, count, self.now())
    }

    /// Asks for `count` of an operation in these domains together: all are granted, or none is and
    /// no budget is touched.
    pub(super) fn ask_whole(
        &self,
        access: &Access,
        operation: Operation,
        domains: &BTreeSet<Domain>,
        count: usize,
    ) -> Result<(), VaultError> {
        self.gate
            .ask_whole(access, operation, domains, count, self.now())
    }

    /// Asks for an archive of the whole store.
    pub(crate) fn ask_export(&self, access: &Access) -> Result<(), VaultError> {
        self.ask(access, Operation::Export, None)
    }

    /// Logs that an archive was asked for, and whether it was begun.
    pub(crate) fn log_export(
        &self,
        access: &Access,
        asked: &Result<(), VaultError>,
        granted: bool,
    ) -> Result<(), VaultError> {
        let event = self.event(access, Operation::Export, None, None, asked);
        Ok(self.log.record(&[AccessEvent { granted, ..event }])?)
    }

    /// What is logged of an access with this result.
    pub(super) fn event<'a, T>(
        &self,
        access: &'a Access,
        operation: Operation,
        domain: impl Into<Option<&'a Domain>>,
        token: Option<Token>,
        result: &Result<T, VaultError>,
    ) -> AccessEvent<'a> {
        event(self.now(), access, operation, domain, token, result)
    }
}

/// What is logged of an access that came to this.
fn event<'a, T>(
    time: UnixSeconds,
    access: &'a Access,
    operation: Operation,
    domain: impl Into<Option<&'a Domain>>,
    token: Option<Token>,
    result: &Result<T, VaultError>,
) -> AccessEvent<'a> {
    AccessEvent {
        time,
        access,
        operation,
        domain: domain.into(),
        token,
        key: None,
        granted: result.is_ok(),
        refusal: match result {
            Err(VaultError::Refused(refusal)) => Some(refusal.reason()),
            _ => None,
        },
    }
}
