//! The vault for callers without a runtime: each call waits on its thread.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use pollster::block_on;
use rand_core::TryCryptoRng;

use super::access::{Access, AccessLog, Operation};
use super::error::VaultError;
use super::operations::Vault;
use super::policy::{AccessPolicy, Spent};
use super::request::{
    CardTokens, Checked, Elsewhere, IndexDropped, IndexFill, Metadata, Needed, Rewrapped, Tokenize,
    Tokenized, UnderKey, VaultStats,
};
use super::retention::{ApprovedPurge, Purged, Retention, Survey};
use super::store::{RowKey, Store};
use crate::card::{CardRecord, MaskedPan, Pan};
use crate::keys::{Domain, KeyName, KeyRing};
use crate::time::UnixSeconds;
use crate::token::Token;

/// [`Vault`] without `async`: see there for each call. Many threads may share one; what they
/// write at the same time is committed together.
#[derive(Debug)]
pub struct BlockingVault<S, R = getrandom::SysRng>(Arc<Vault<S, R>>);

macro_rules! blocking {
    ($($(#[$docs:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        $(#[$docs])*
        pub fn $name(&self, $($argument: $type),*) -> $result {
            block_on(self.0.$name($($argument),*))
        }
    )*};
}

impl<S: Store> BlockingVault<S> {
    /// # Errors
    /// See [`Vault::open`].
    pub fn open(store: S, ring: KeyRing, log: impl AccessLog) -> Result<Self, VaultError> {
        block_on(Vault::open(store, ring, log)).map(|vault| Self(Arc::new(vault)))
    }
}

impl<S: Store, R: TryCryptoRng + Send + 'static> BlockingVault<S, R> {
    /// # Errors
    /// See [`Vault::open_with`].
    pub fn open_with(
        store: S,
        ring: KeyRing,
        log: impl AccessLog,
        random: fn() -> R,
        clock: fn() -> UnixSeconds,
    ) -> Result<Self, VaultError> {
        block_on(Vault::open_with(store, ring, log, random, clock))
            .map(|vault| Self(Arc::new(vault)))
    }

    /// See [`Vault::into_store`]; `None` while a ledger shares the vault.
    #[must_use]
    pub fn into_store(self) -> Option<S> {
        Arc::into_inner(self.0).map(Vault::into_store)
    }

    blocking! {
        /// # Errors
        /// See [`Vault::set_ring`].
        set_ring(ring: KeyRing) -> Result<(), VaultError>;
        /// # Errors
        /// See [`Vault::tokenize`].
        tokenize(domain: &Domain, card: &CardRecord, how: &Tokenize) -> Result<Tokenized, VaultError>;
        /// See [`Vault::tokenize_batch`].
        tokenize_batch(domain: &Domain, cards: &[CardRecord], how: &Tokenize) -> Vec<Result<Tokenized, VaultError>>;
        /// # Errors
        /// See [`Vault::detokenize`].
        detokenize(access: &Access, domain: &Domain, token: &Token) -> Result<CardRecord, VaultError>;
        /// See [`Vault::detokenize_batch`].
        detokenize_batch(access: &Access, domain: &Domain, tokens: &[Token]) -> Vec<Result<CardRecord, VaultError>>;
        /// # Errors
        /// See [`Vault::masked`].
        masked(access: &Access, domain: &Domain, token: &Token) -> Result<MaskedPan, VaultError>;
        /// See [`Vault::masked_batch`].
        masked_batch(access: &Access, domain: &Domain, tokens: &[Token]) -> Vec<Result<MaskedPan, VaultError>>;
        /// # Errors
        /// See [`Vault::find`].
        find(access: &Access, domain: &Domain, pan: &Pan) -> Result<CardTokens, VaultError>;
        /// # Errors
        /// See [`Vault::exists`].
        exists(access: &Access, domain: &Domain, token: &Token) -> Result<bool, VaultError>;
        /// # Errors
        /// See [`Vault::metadata`].
        metadata(access: &Access, domain: &Domain, token: &Token) -> Result<Metadata, VaultError>;
        /// # Errors
        /// See [`Vault::set_expiry`].
        set_expiry(domain: &Domain, token: &Token, expires: Option<UnixSeconds>) -> Result<(), VaultError>;
        /// # Errors
        /// See [`Vault::delete`].
        delete(access: &Access, domain: &Domain, token: &Token) -> Result<(), VaultError>;
        /// # Errors
        /// See [`Vault::stats`].
        stats() -> Result<VaultStats, VaultError>;
        /// # Errors
        /// See [`Vault::count`].
        count() -> Result<u64, VaultError>;
        /// # Errors
        /// See [`Vault::count_in`].
        count_in(access: &Access, domain: &Domain) -> Result<u64, VaultError>;
        /// # Errors
        /// See [`Vault::check`].
        check(after: Option<RowKey>, limit: usize) -> Result<Checked, VaultError>;
        /// # Errors
        /// See [`Vault::fill_index`].
        fill_index(limit: usize) -> Result<IndexFill, VaultError>;
        /// # Errors
        /// See [`Vault::fill_leaving`].
        fill_leaving(left: u64) -> Result<(), VaultError>;
        /// # Errors
        /// See [`Vault::drop_index`].
        drop_index(after: Option<RowKey>, limit: usize) -> Result<IndexDropped, VaultError>;
        /// # Errors
        /// See [`Vault::index_rows`].
        index_rows() -> Result<BTreeMap<KeyName, u64>, VaultError>;
        /// # Errors
        /// See [`Vault::rewrap`].
        rewrap(after: Option<RowKey>, limit: usize) -> Result<Rewrapped, VaultError>;
        /// # Errors
        /// See [`Vault::rewrap_of`].
        rewrap_of(versions: &[u32], after: Option<RowKey>, limit: usize) -> Result<Rewrapped, VaultError>;
        /// # Errors
        /// See [`Vault::list_under`].
        list_under(access: &Access, version: u32, after: Option<RowKey>, limit: usize) -> Result<UnderKey, VaultError>;
        /// # Errors
        /// See [`Vault::needed`].
        needed(name: KeyName) -> Result<Needed, VaultError>;
        /// # Errors
        /// See [`Vault::destroy_key`].
        destroy_key(ring: &mut KeyRing, name: KeyName, elsewhere: Elsewhere) -> Result<(), VaultError>;
        /// # Errors
        /// See [`Vault::survey`].
        survey(retention: Retention) -> Result<Survey, VaultError>;
        /// # Errors
        /// See [`Vault::survey_step`].
        survey_step(survey: &mut Survey, limit: usize) -> Result<(), VaultError>;
        /// # Errors
        /// See [`Vault::purge`].
        purge(access: &Access, approved: &ApprovedPurge, after: Option<RowKey>, limit: usize) -> Result<Purged, VaultError>;
    }

    /// # Errors
    /// See [`Vault::set_policy`].
    pub fn set_policy(
        &self,
        access: &Access,
        policy: AccessPolicy,
        spent: &[Spent],
    ) -> Result<(), VaultError> {
        self.0.set_policy(access, policy, spent)
    }

    /// # Errors
    /// See [`Vault::record`].
    pub fn record(
        &self,
        access: &Access,
        operation: Operation,
        domain: Option<&Domain>,
        key: Option<KeyName>,
    ) -> Result<(), VaultError> {
        self.0.record(access, operation, domain, key)
    }

    /// The vault itself, for callers that can wait without a thread and for a ledger beside it.
    pub const fn vault(&self) -> &Arc<Vault<S, R>> {
        &self.0
    }
}

impl<S, R> Vault<S, R> {
    /// This vault for callers without a runtime.
    pub fn blocking(self) -> BlockingVault<S, R> {
        BlockingVault(Arc::new(self))
    }
}
