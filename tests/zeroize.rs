//! Every secret type is wiped when dropped: asserted when compiled, and measured on freed memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use cardvault::card::{CardData, CardRecord, Pan, SensitiveData};
use cardvault::ff1::{Ff1, Item, Shape};
use cardvault::fingerprint::{FingerprintVerifier, Fingerprinter};
use cardvault::journal::ChainKey;
use cardvault::keys::{
    Component, Cryptoperiod, Domain, FingerprintKey, IrreversibleKey, JournalKey,
    JournalReadingKey, Kek, KeyRing, KeyUse, LedgerCheckingKey, LedgerKey, OpeningKey,
    RetiredFingerprintKey, RingMark, SealingKey, VaultlessKey, VaultlessOpeningKey,
};
use cardvault::seal::{Opener, Sealer};
use cardvault::token::{Candidate, Irreversible, Vaultless, VaultlessOpener};
use cardvault::{Secret, UnixSeconds};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::ZeroizeOnDrop;

/// Compiles only if each type wipes itself when dropped.
const fn wiped<T: ZeroizeOnDrop>() {}
const _: () = {
    wiped::<Secret<16>>();
    wiped::<Secret<32>>();
    wiped::<Pan>();
    wiped::<CardRecord>();
    wiped::<CardData>();
    wiped::<SensitiveData>();
    wiped::<Component>();
    wiped::<Kek>();
    wiped::<KeyRing>();
    wiped::<SealingKey>();
    wiped::<OpeningKey>();
    wiped::<FingerprintKey>();
    wiped::<RetiredFingerprintKey>();
    wiped::<VaultlessKey>();
    wiped::<VaultlessOpeningKey>();
    wiped::<IrreversibleKey>();
    wiped::<JournalKey>();
    wiped::<JournalReadingKey>();
    wiped::<ChainKey>();
    wiped::<LedgerKey>();
    wiped::<LedgerCheckingKey>();
    wiped::<Ff1>();
    wiped::<Shape>();
    wiped::<Item>();
    wiped::<Sealer>();
    wiped::<Opener>();
    wiped::<Fingerprinter>();
    wiped::<FingerprintVerifier>();
    wiped::<Irreversible>();
    wiped::<Vaultless>();
    wiped::<VaultlessOpener>();
    wiped::<Candidate>();
};

/// Bytes of a pattern that is looked for.
const PATTERN: usize = 8;
const PATTERNS: usize = 64;

thread_local! {
    /// Each byte inverted: a copy of this that lies on the stack, and comes into a block as its
    /// padding, is no pattern.
    static SOUGHT: Cell<Option<[[u8; PATTERN]; PATTERNS]>> = const { Cell::new(None) };
    static FREED: Cell<usize> = const { Cell::new(0) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, looking through each block of this thread before it is freed.
struct Watching;

// SAFETY: every call goes to the system's allocator unchanged; a block is read before it is freed.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that every byte that is read later was written.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(sought) = SOUGHT.get() {
            FREED.set(FREED.get() + 1);
            for start in 0..(layout.size() + 1).saturating_sub(PATTERN) {
                let part: [u8; PATTERN] =
                    std::array::from_fn(|at| unsafe { !block.add(start + at).read_volatile() });
                if part != [0; PATTERN] && sought.contains(&part) {
                    FOUND.set(FOUND.get() + 1);
                }
            }
        }
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Overwrites the stack behind its caller.
#[inline(never)]
fn scrub() {
    black_box(&mut [0_u8; 64 * 1024]);
}

/// How many blocks were freed while `work` ran, and how often a pattern stood in one.
fn watch(secret: &[Vec<u8>], work: impl FnOnce()) -> (usize, usize) {
    let mut sought = [[0; PATTERN]; PATTERNS];
    let windows = secret.iter().flat_map(|form| form.windows(PATTERN));
    for (slot, part) in sought.iter_mut().zip(windows) {
        *slot = std::array::from_fn(|at| !part[at]);
    }
    // Nor is what the test itself has left on the stack.
    scrub();
    FREED.set(0);
    FOUND.set(0);
    SOUGHT.set(Some(sought));
    work();
    SOUGHT.set(None);
    (FREED.get(), FOUND.get())
}

const DIGITS: &str = "4539148803436467";

/// The number as ASCII, as digit values in either order, and as BCD.
fn forms() -> Vec<Vec<u8>> {
    let ascii = DIGITS.as_bytes().to_vec();
    let values: Vec<u8> = ascii.iter().map(|byte| byte - b'0').collect();
    let bcd = values
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    let reversed = values.iter().rev().copied().collect();
    vec![ascii, values, reversed, bcd]
}

fn key() -> [u8; 32] {
    std::array::from_fn(|at| 57_u8.wrapping_mul(u8::try_from(at).unwrap() + 5))
}

/// Hands out [`key`] again and again.
struct FixedRng;

impl TryRng for FixedRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(7)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(7)
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
        for (to, from) in to.iter_mut().zip(key().iter().cycle()) {
            *to = *from;
        }
        Ok(())
    }
}

impl TryCryptoRng for FixedRng {}

/// A type's name, a call that drops one on the heap, and one that frees it without wiping.
type Case<'a> = (&'a str, &'a dyn Fn(), &'a dyn Fn());

/// Puts `value` on the heap, drops it and frees the block.
fn boxed<T>(value: T) {
    drop(black_box(Box::new(value)));
}

/// The same without running the value's `Drop`: what an ordinary type would leave behind.
fn leaked<T>(value: T) {
    drop(black_box(Box::new(std::mem::ManuallyDrop::new(value))));
}

#[test]
fn card_numbers_leave_no_trace_in_freed_memory() {
    let pan = common::pan(DIGITS);
    let record = CardRecord::new(pan.clone());
    let track = format!(";{DIGITS}=3012101?");
    let cases: [Case<'_>; 4] = [
        ("Pan", &|| boxed(pan.clone()), &|| leaked(pan.clone())),
        ("CardRecord", &|| boxed(record.clone()), &|| {
            leaked(record.clone())
        }),
        ("its bytes", &|| boxed(record.to_bytes()), &|| {
            leaked(record.to_bytes())
        }),
        (
            "SensitiveData",
            &|| boxed(SensitiveData::new(track.as_bytes()).unwrap()),
            &|| leaked(SensitiveData::new(track.as_bytes()).unwrap()),
        ),
    ];
    for (name, drop_it, leak_it) in cases {
        let (freed, found) = watch(&forms(), leak_it);
        assert!(
            freed > 0 && found > 0,
            "the watch misses a {name} that is not wiped"
        );
        let (freed, found) = watch(&forms(), drop_it);
        assert!(freed > 0);
        assert_eq!(found, 0, "{name} stays in freed memory");
    }
    let (_, found) = watch(&forms(), || drop(black_box(DIGITS.to_owned())));
    assert!(found > 0, "the watch misses a plain copy");
    // Exposing makes a copy on the stack alone.
    let (_, found) = watch(&forms(), || {
        pan.expose(|text| black_box(text).len());
        boxed(pan.mask());
    });
    assert_eq!(found, 0);
}

#[test]
fn keys_leave_no_trace_in_freed_memory() {
    let sought = [key().to_vec()];
    let ring = || {
        let now = UnixSeconds(1_800_000_000);
        let mut ring = KeyRing::new(RingMark::Development, &mut FixedRng).unwrap();
        let period = Cryptoperiod::default_of(KeyUse::Card);
        let name = ring.add(KeyUse::Card, period, now, &mut FixedRng).unwrap();
        ring.activate(name, now).unwrap();
        let domain = Domain::new(b"merchant-7").unwrap();
        boxed(ring.card_key(&domain, now).unwrap());
        ring
    };
    let cases: [Case<'_>; 3] = [
        ("Secret", &|| boxed(Secret::new(key())), &|| {
            leaked(Secret::new(key()))
        }),
        (
            "Component",
            &|| boxed(Component::random(&mut FixedRng).unwrap()),
            &|| {
                leaked(Component::random(&mut FixedRng).unwrap());
            },
        ),
        ("Ff1", &|| boxed(Ff1::new(&Secret::new(key()))), &|| {
            leaked(Ff1::new(&Secret::new(key())));
        }),
    ];
    for (name, drop_it, leak_it) in cases {
        let (freed, found) = watch(&sought, leak_it);
        assert!(
            freed > 0 && found > 0,
            "the watch misses a {name} that is not wiped"
        );
        let (freed, found) = watch(&sought, drop_it);
        assert!(freed > 0);
        assert_eq!(found, 0, "{name} stays in freed memory");
    }
    // The ring's own id is the generator's output too: only its roots are looked for.
    let roots = [key()[16..].to_vec()];
    let (freed, found) = watch(&roots, || leaked(ring()));
    assert!(freed > 0 && found > 0);
    let (_, found) = watch(&roots, || boxed(ring()));
    assert_eq!(found, 0, "a root stays in freed memory");
}

#[cfg(feature = "vault")]
#[test]
fn cards_that_leave_the_vault_leave_no_trace_in_freed_memory() {
    use cardvault::vault::{Access, BlockingVault, LineLog, Memory, Tokenize};
    use rand_chacha::rand_core::SeedableRng as _;
    let now = UnixSeconds::now();
    let ring = |more: &[KeyUse]| {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([7; 32]);
        let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
        for usage in KeyUse::ALL.iter().chain(more) {
            let period = Cryptoperiod::default_of(*usage);
            let name = ring.add(*usage, period, now, &mut rng).unwrap();
            ring.activate(name, now).unwrap();
        }
        ring
    };
    let log = LineLog::new(std::io::sink());
    let vault = BlockingVault::open(Memory::new(), ring(&[]), log).unwrap();
    let domain = Domain::new(b"merchant-7").unwrap();
    let access = Access::new("desk-3", "refund", "10.0.0.7").unwrap();
    let card = CardRecord::new(common::pan(DIGITS));
    let how = Tokenize::convergent();
    let cards = [card.clone(), card.clone()];
    let mut tokens = Vec::new();
    let (freed, found) = watch(&forms(), || {
        tokens.push(vault.tokenize(&domain, &card, &how).unwrap().token);
    });
    assert!(freed > 0);
    assert_eq!(found, 0, "tokenize leaves the card in freed memory");
    let takes: [(&str, &dyn Fn()); 3] = [
        ("tokenize_batch", &|| {
            vault.tokenize_batch(&domain, &cards, &how);
        }),
        ("find", &|| {
            vault.find(&access, &domain, &card.pan).unwrap();
        }),
        ("rewrap", &|| {
            vault.set_ring(ring(&[KeyUse::Card])).unwrap();
            assert!(vault.rewrap(None, 10).unwrap().moved > 0);
        }),
    ];
    for (name, call) in takes {
        let (freed, found) = watch(&forms(), call);
        assert!(freed > 0);
        assert_eq!(found, 0, "{name} leaves the card in freed memory");
    }
    let (freed, found) = watch(&forms(), || {
        drop(black_box(
            vault.detokenize(&access, &domain, &tokens[0]).unwrap(),
        ));
    });
    assert!(freed > 0);
    assert_eq!(found, 0, "detokenize leaves the card in freed memory");
    let asked = vec![tokens[0]; 100];
    let (freed, found) = watch(&forms(), || {
        for result in &vault.detokenize_batch(&access, &domain, &asked) {
            black_box(result.as_ref().unwrap().pan.mask());
        }
    });
    assert!(freed > 0);
    assert_eq!(found, 0, "a batch leaves cards in freed memory");
    vault.set_ring(ring(&[KeyUse::Card; 2])).unwrap();
    let held = futures(&vault, &domain, &access, &card, &tokens[0]);
    assert!(
        held.is_empty(),
        "{held:?}: a card lies where it was waited for"
    );
    // The watch sees what the documentation warns of.
    let (_, found) = watch(&forms(), || {
        let results = vault.detokenize_batch(&access, &domain, &asked);
        results
            .into_iter()
            .for_each(|result| drop(black_box(result)));
    });
    assert!(found > 0, "the watch misses a card that was moved out");
}

/// What each of these calls leaves in the freed memory of its future, which lies on the heap as
/// that of a task does. What lies on the stack can come into a future that is made there and moved,
/// and where it is not optimized the package of the cipher leaves its input there: calls that seal
/// are watched in optimized code.
#[cfg(feature = "vault")]
fn futures(
    vault: &cardvault::vault::BlockingVault<cardvault::vault::Memory>,
    domain: &Domain,
    access: &cardvault::vault::Access,
    card: &CardRecord,
    token: &cardvault::token::Token,
) -> Vec<&'static str> {
    use cardvault::vault::Tokenize;
    use pollster::block_on;

    fn waited<F: Future>(future: F) {
        let mut future = Box::pin(future);
        drop(black_box(block_on(future.as_mut())));
    }
    let vault = vault.vault();
    let how = Tokenize::convergent();
    let tokens = [*token];
    let cards = [card.clone(), card.clone()];
    let sealing = !cfg!(debug_assertions);
    let calls: [(&'static str, &dyn Fn()); 10] = [
        ("rewrap", &|| {
            waited(async {
                let moves = !sealing || vault.rewrap(None, 10).await.unwrap().moved > 0;
                assert!(moves);
                vault.count().await
            });
        }),
        ("detokenize", &|| {
            waited(vault.detokenize(access, domain, token))
        }),
        ("detokenize_batch", &|| {
            waited(vault.detokenize_batch(access, domain, &tokens));
        }),
        ("masked", &|| waited(vault.masked(access, domain, token))),
        ("metadata", &|| {
            waited(vault.metadata(access, domain, token))
        }),
        ("find", &|| waited(vault.find(access, domain, &card.pan))),
        ("tokenize", &|| waited(vault.tokenize(domain, card, &how))),
        ("check", &|| waited(vault.check(None, 10))),
        ("set_expiry", &|| {
            waited(vault.set_expiry(domain, token, Some(UnixSeconds(u64::MAX))));
        }),
        ("tokenize_batch", &|| {
            if sealing {
                waited(vault.tokenize_batch(domain, &cards, &how));
                waited(vault.tokenize_batch(domain, &cards, &Tokenize::fresh()));
            }
            waited(vault.count());
        }),
    ];
    let leaves = calls.into_iter().filter(|(_, call)| {
        let (freed, found) = watch(&forms(), call);
        assert!(freed > 0);
        found > 0
    });
    let leaves: Vec<_> = leaves.map(|(name, _)| name).collect();
    // The watch sees a future that keeps a card while it waits.
    let (_, found) = watch(&forms(), || {
        waited(async {
            let kept = std::mem::ManuallyDrop::new(black_box(card.clone()));
            std::future::ready(()).await;
            black_box(kept.pan.mask());
        });
    });
    assert!(found > 0, "the watch misses a card in a future");
    leaves
}
