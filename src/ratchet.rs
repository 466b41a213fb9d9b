//! Keys that go forward only: a chain of one-way steps, one step a frame, and the aggregate beside
//! it. The journal and the audit log each have one, under labels of their own.
//!
//! ```text
//! E[0]    = Expand(chain key, FIRST)          A[0] = Expand(chain key, START)
//! k[i]    = Expand(E[i], ENTRY)
//! A[i+1]  = Expand(E[i], AGGREGATE | A[i] | tag[i])
//! E[i+1]  = Expand(E[i], NEXT)
//! receipt = Expand(E[n], RECEIPT | n 8 | A[n]), 16 bytes
//! ```
//!
//! Expand is HKDF-Expand with SHA-256 (RFC 5869) and its first argument as the PRK. E does not
//! depend on what the frames hold, so that reading can go on behind one that is damaged; A does.
#![forbid(unsafe_code)]

use core::marker::PhantomData;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::Secret;

/// Length of an aggregate, in bytes.
pub(crate) const AGGREGATE_LEN: usize = 32;
/// Length of a receipt's proof, in bytes.
pub(crate) const PROOF_LEN: usize = 16;
/// Length of a frame's tag, in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// What one ratchet derives its keys under.
pub(crate) trait Labels {
    const FIRST: &'static [u8];
    const START: &'static [u8];
    const ENTRY: &'static [u8];
    const NEXT: &'static [u8];
    const AGGREGATE: &'static [u8];
    const RECEIPT: &'static [u8];
}

/// E\[n\]: what the next frame's key and everything after it comes from.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Chain<L> {
    key: Secret<32>,
    #[zeroize(skip)]
    labels: PhantomData<L>,
}

/// A\[n\]: worth every frame before n.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Aggregate(pub(crate) Secret<AGGREGATE_LEN>);

impl ConstantTimeEq for Aggregate {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// E\[0\] and A\[0\].
pub(crate) fn begin<L: Labels>(chain_key: &Secret<32>) -> (Chain<L>, Aggregate) {
    let prk = prk(chain_key);
    let mut chain = Chain::new(Secret::zeroed());
    let mut start = Aggregate(Secret::zeroed());
    expand(&prk, &[L::FIRST], chain.key.expose_mut());
    expand(&prk, &[L::START], start.0.expose_mut());
    (chain, start)
}

impl<L> Chain<L> {
    /// The chain at a key that was stored.
    pub(crate) const fn new(key: Secret<32>) -> Self {
        Self {
            key,
            labels: PhantomData,
        }
    }

    /// The key, to be stored.
    pub(crate) const fn key(&self) -> &Secret<32> {
        &self.key
    }

    /// A second one, for a way that may lead nowhere.
    pub(crate) const fn copy(&self) -> Self {
        Self::new(Secret::new(*self.key.expose()))
    }
}

impl<L: Labels> Chain<L> {
    /// The keys of frame n, prepared once.
    pub(crate) fn prepare(&self) -> Step<L> {
        Step(prk(&self.key), PhantomData)
    }

    /// E\[n + 1\].
    pub(crate) fn advance(&mut self) {
        self.prepare().next(self);
    }

    /// The proof that every frame below `count` is known. Only who is at that very count, or has
    /// the chain key, can make it.
    pub(crate) fn proof(&self, count: u64, aggregate: &Aggregate) -> [u8; PROOF_LEN] {
        let mut proof = [0; PROOF_LEN];
        let number = count.to_be_bytes();
        let info = [L::RECEIPT, &number, aggregate.0.expose().as_slice()];
        expand(&prk(&self.key), &info, &mut proof);
        proof
    }
}

/// E\[n\] as a prepared PRK. Wiped on drop by the hash's and the MAC's `zeroize`.
pub(crate) struct Step<L>(Hkdf<Sha256>, PhantomData<L>);

impl<L: Labels> Step<L> {
    /// k\[n\].
    #[inline]
    pub(crate) fn entry_key(&self) -> Secret<32> {
        let mut key = Secret::zeroed();
        expand(&self.0, &[L::ENTRY], key.expose_mut());
        key
    }

    /// A\[n\] becomes A\[n + 1\].
    #[inline]
    pub(crate) fn aggregate(&self, aggregate: &mut Aggregate, tag: &[u8; TAG_LEN]) {
        let mut next = Secret::zeroed();
        let info = [L::AGGREGATE, aggregate.0.expose().as_slice(), tag];
        expand(&self.0, &info, next.expose_mut());
        *aggregate.0.expose_mut() = *next.expose();
    }

    /// Writes E\[n + 1\] over E\[n\].
    #[inline]
    pub(crate) fn next(&self, chain: &mut Chain<L>) {
        expand(&self.0, &[L::NEXT], chain.key.expose_mut());
    }
}

/// One key from another: `Expand(from, info)`, of at most 32 bytes.
pub(crate) fn derive(from: &Secret<32>, info: &[&[u8]], out: &mut [u8]) {
    expand(&prk(from), info, out);
}

/// Not inlined: in the one copy the compiler sees that the other arm is never taken.
#[inline(never)]
fn prk(key: &Secret<32>) -> Hkdf<Sha256> {
    // A PRK of 32 bytes is long enough for SHA-256.
    Hkdf::from_prk(key.expose()).unwrap_or_else(|_| Hkdf::new(None, key.expose()))
}

/// At most 32 bytes, which one block gives.
#[inline]
fn expand(prk: &Hkdf<Sha256>, info: &[&[u8]], out: &mut [u8]) {
    if prk.expand_multi_info(info, out).is_err() {
        out.zeroize();
    }
}
