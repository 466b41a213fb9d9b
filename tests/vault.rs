//! The vault's promises, over the store in memory: what it gives back, what it refuses, and that
//! no changed or swapped part of a row goes unnoticed.
#![cfg(feature = "vault")]
#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::panic
)]

#[macro_use]
#[path = "support/forward.rs"]
mod forward;
#[path = "support/lines.rs"]
mod lines;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cardvault::card::{Brand, CardRecord, Expiry, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyError, KeyRing, KeyUse, RingMark};
use cardvault::token::Token;
use cardvault::vault::{
    Access, AccessLogError, BlockingVault, LineLog, Memory, Metadata, Row, RowKey, Store,
    StoreError, Tokenize, Vault, VaultError, Write, WriteOutcome,
};
use cardvault::{SystemRandom, UnixSeconds};
use lines::Lines;
use pollster::block_on;
use subtle::ConstantTimeEq;

const VISA: &str = "4111111111111111";
const MASTERCARD: &str = "5555555555554444";

type Shared = BlockingVault<Arc<Memory>>;

/// A ring with an active version of each use, drawn the same way each time it is called with
/// the same seed.
fn ring(seed: u8) -> KeyRing {
    use rand_chacha::rand_core::SeedableRng;
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([seed; 32]);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for usage in KeyUse::ALL {
        add(&mut ring, usage, &mut rng);
    }
    ring
}

fn add(ring: &mut KeyRing, usage: KeyUse, rng: &mut rand_chacha::ChaCha20Rng) {
    let now = UnixSeconds(NOW.load(Ordering::Relaxed));
    let name = ring
        .add(usage, Cryptoperiod::default_of(usage), now, rng)
        .unwrap();
    ring.activate(name, now).unwrap();
}

/// Ring 1 with a second card key.
fn rotated() -> KeyRing {
    use rand_chacha::rand_core::SeedableRng;
    let mut ring = ring(1);
    add(
        &mut ring,
        KeyUse::Card,
        &mut rand_chacha::ChaCha20Rng::from_seed([9; 32]),
    );
    ring
}

/// The time that vaults of this test see, unless they have a clock of their own.
static NOW: AtomicU64 = AtomicU64::new(1_800_000_000);

fn clock() -> UnixSeconds {
    UnixSeconds(NOW.load(Ordering::Relaxed))
}

fn open(store: &Arc<Memory>, ring: KeyRing) -> Result<Shared, VaultError> {
    open_at(store, ring, clock)
}

fn open_at(
    store: &Arc<Memory>,
    ring: KeyRing,
    clock: fn() -> UnixSeconds,
) -> Result<Shared, VaultError> {
    let log = LineLog::new(std::io::sink());
    block_on(Vault::open_with(
        Arc::clone(store),
        ring,
        log,
        || SystemRandom,
        clock,
    ))
    .map(Vault::blocking)
}

fn new_vault() -> (Arc<Memory>, Shared) {
    let store = Arc::new(Memory::new());
    let vault = open(&store, ring(1)).unwrap();
    (store, vault)
}

fn shop() -> Domain {
    "shop-1".parse().unwrap()
}

fn access() -> Access {
    Access::new("desk-3", "refund", "10.0.0.7").unwrap()
}

fn card(digits: &str) -> CardRecord {
    let pan = Pan::parse_exempting(digits.as_bytes(), &Brand::LUHN_EXEMPT).unwrap();
    CardRecord {
        pan,
        expiry: Some(Expiry::new(30, 12).unwrap()),
        sequence: None,
    }
}

fn same(a: &CardRecord, b: &CardRecord) -> bool {
    a.ct_eq(b).into()
}

fn rows(store: &Memory) -> Vec<(RowKey, Row)> {
    block_on(store.scan(None, None, 1000)).unwrap()
}

fn put(store: &Memory, key: RowKey, old: &Row, new: Row) {
    let write = Write::Replace {
        token: key,
        expected: old.clone(),
        row: new,
    };
    assert_eq!(
        block_on(store.write(None, vec![write])).unwrap(),
        [WriteOutcome::Replaced]
    );
}

#[test]
fn gives_back_the_card_and_one_token_a_card_and_domain() {
    let (_, vault) = new_vault();
    let other: Domain = "shop-2".parse().unwrap();
    let how = Tokenize::convergent();
    let first = vault.tokenize(&shop(), &card(VISA), &how).unwrap();
    assert!(!first.existing);
    let again = vault.tokenize(&shop(), &card(VISA), &how).unwrap();
    assert!(again.existing);
    assert_eq!(again.token, first.token);
    // A renewed card is the same card.
    let renewed = CardRecord::new(card(VISA).pan);
    assert_eq!(
        vault.tokenize(&shop(), &renewed, &how).unwrap().token,
        first.token
    );
    let elsewhere = vault.tokenize(&other, &card(VISA), &how).unwrap();
    assert_ne!(elsewhere.token, first.token);
    let fresh = vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap();
    assert_ne!(fresh.token, first.token);
    for (domain, token) in [
        (shop(), first.token),
        (other, elsewhere.token),
        (shop(), fresh.token),
    ] {
        assert!(same(
            &vault.detokenize(&access(), &domain, &token).unwrap(),
            &card(VISA)
        ));
    }
    let unknown = vault.detokenize(&access(), &other, &first.token);
    assert_eq!(unknown.map(drop), Err(VaultError::UnknownToken));
    assert_eq!(vault.count(), Ok(3));
}

#[test]
fn finds_the_tokens_of_a_card_and_of_no_other() {
    let (_, vault) = new_vault();
    let pan = card(VISA).pan;
    assert_eq!(vault.find(&access(), &shop(), &pan).unwrap().tokens, []);
    let fresh = vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap()
        .token;
    assert_eq!(
        vault.find(&access(), &shop(), &pan).unwrap().tokens,
        [fresh]
    );
    let convergent = vault
        .tokenize(&shop(), &card(VISA), &Tokenize::convergent())
        .unwrap()
        .token;
    vault
        .tokenize(&shop(), &card(MASTERCARD), &Tokenize::convergent())
        .unwrap();
    let found = vault.find(&access(), &shop(), &pan).unwrap();
    assert_eq!(
        (found.tokens.as_slice(), found.more),
        (&[convergent, fresh][..], false)
    );
}

#[test]
fn a_batch_has_a_result_for_each_item() {
    let (_, vault) = new_vault();
    let cards = [card(VISA), card(MASTERCARD), card(VISA)];
    let results = vault.tokenize_batch(&shop(), &cards, &Tokenize::convergent());
    let tokens: Vec<_> = results.iter().map(|result| result.unwrap()).collect();
    assert_eq!(tokens[0].token, tokens[2].token);
    assert_eq!(
        tokens.iter().map(|t| t.existing).collect::<Vec<_>>(),
        [false, false, true]
    );
    let (_, stranger) = new_vault();
    let strange = stranger
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap()
        .token;
    let asked = [tokens[1].token, strange, tokens[0].token];
    let results = vault.detokenize_batch(&access(), &shop(), &asked);
    assert!(same(results[0].as_ref().unwrap(), &cards[1]));
    assert_eq!(
        results[1].as_ref().map(drop).unwrap_err(),
        &VaultError::UnknownToken
    );
    assert!(same(results[2].as_ref().unwrap(), &cards[0]));
}

#[test]
fn tokens_expire_are_renewed_and_change_their_expiry() {
    static HERE: AtomicU64 = AtomicU64::new(1_800_000_000);
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, ring(1), || {
        UnixSeconds(HERE.load(Ordering::Relaxed))
    })
    .unwrap();
    let how = Tokenize::convergent().expiring(UnixSeconds(1_800_000_100));
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    HERE.store(1_800_000_099, Ordering::Relaxed);
    assert!(vault.detokenize(&access(), &shop(), &token).is_ok());
    HERE.store(1_800_000_100, Ordering::Relaxed);
    let expired = vault.detokenize(&access(), &shop(), &token);
    assert_eq!(expired.map(drop), Err(VaultError::Expired));
    assert_eq!(vault.exists(&access(), &shop(), &token), Ok(true));
    vault
        .set_expiry(&shop(), &token, Some(UnixSeconds(1_800_000_200)))
        .unwrap();
    assert!(vault.detokenize(&access(), &shop(), &token).is_ok());
    HERE.store(1_800_000_200, Ordering::Relaxed);
    assert_eq!(vault.stats().unwrap().expired, 1);
    let how = how.expiring(UnixSeconds(1_800_000_300));
    let again = vault.tokenize(&shop(), &card(VISA), &how).unwrap();
    assert_eq!((again.token, again.existing), (token, true));
    assert!(vault.detokenize(&access(), &shop(), &token).is_ok());
    let metadata = vault.metadata(&access(), &shop(), &token).unwrap();
    let expected = Metadata {
        brand: Brand::Visa,
        last_four: 1111,
        created: UnixSeconds(1_800_000_000),
        expires: Some(UnixSeconds(1_800_000_300)),
        convergent: true,
    };
    assert_eq!(metadata, expected);
}

#[test]
fn deleted_tokens_are_gone_from_rows_and_index() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    vault.delete(&access(), &shop(), &token).unwrap();
    assert_eq!(vault.exists(&access(), &shop(), &token), Ok(false));
    assert_eq!(
        vault
            .find(&access(), &shop(), &card(VISA).pan)
            .unwrap()
            .tokens,
        []
    );
    assert_eq!(rows(&store), []);
    assert_eq!(
        vault.delete(&access(), &shop(), &token),
        Err(VaultError::UnknownToken)
    );
    assert!(!vault.tokenize(&shop(), &card(VISA), &how).unwrap().existing);
}

#[test]
fn one_card_gets_one_token_however_many_ask() {
    let (_, vault) = new_vault();
    let tokens: Vec<Token> = std::thread::scope(|scope| {
        let ask = || {
            vault
                .tokenize(&shop(), &card(VISA), &Tokenize::convergent())
                .unwrap()
                .token
        };
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(vault.count(), Ok(1));
}

#[test]
fn every_flipped_bit_of_a_row_is_noticed() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    let (key, good) = rows(&store).remove(0);
    let mut before = good.clone();
    for bit in 0..8 * good.as_bytes().len() {
        let mut bytes = good.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let bad = Row::new(&bytes).unwrap();
        put(&store, key, &before, bad.clone());
        before = bad;
        for result in [
            vault.detokenize(&access(), &shop(), &token).map(drop),
            vault.metadata(&access(), &shop(), &token).map(drop),
            vault.tokenize(&shop(), &card(VISA), &how).map(drop),
            vault.set_expiry(&shop(), &token, None),
        ] {
            let noticed = matches!(
                result,
                Err(VaultError::Tampered
                    | VaultError::NewerFormat { .. }
                    | VaultError::Unopenable { .. }
                    | VaultError::Key(KeyError::UnknownKey))
            );
            assert!(noticed, "bit {bit}: {result:?}");
        }
        let found = vault.find(&access(), &shop(), &card(VISA).pan).unwrap();
        assert_eq!((found.tokens, found.unopenable), (vec![], vec![token]));
    }
    put(&store, key, &before, good);
    vault.detokenize(&access(), &shop(), &token).unwrap();
}

#[test]
fn swapped_rows_and_columns_are_noticed() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let visa = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    vault.tokenize(&shop(), &card(MASTERCARD), &how).unwrap();
    let both = rows(&store);
    let of_visa = both
        .iter()
        .position(|(key, _)| key.as_bytes().ends_with(tail(&visa)))
        .unwrap();
    let (key, good) = &both[of_visa];
    let (_, other) = &both[1 - of_visa];
    let (a, b) = (good.as_bytes(), other.as_bytes());
    // Every part of the other row in the place of this one's, and the whole of it.
    let edges = [
        0,
        1,
        2,
        3,
        5,
        6,
        14,
        22,
        26,
        30,
        62,
        63,
        79,
        103,
        119,
        a.len(),
    ];
    let mut before = good.clone();
    for (place, &start) in edges.iter().enumerate() {
        for &end in &edges[place + 1..] {
            let mixed = [&a[..start], &b[start..end], &a[end..]].concat();
            if mixed == a {
                continue;
            }
            let bad = Row::new(&mixed).unwrap();
            put(&store, *key, &before, bad.clone());
            before = bad;
            let result = vault.detokenize(&access(), &shop(), &visa).map(drop);
            assert_eq!(result, Err(VaultError::Tampered), "{start}..{end}");
        }
    }
}

/// The end of a token's bytes, by which its row is known.
fn tail(token: &Token) -> &'static [u8] {
    Box::leak(token.as_bytes().to_vec().into_boxed_slice())
}

#[test]
fn an_index_entry_of_another_card_is_noticed() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    vault.tokenize(&shop(), &card(VISA), &how).unwrap();
    let (key, row) = rows(&store).remove(0);
    // The Visa row, put under the other card's index key.
    let (other_store, other) = new_vault();
    other.tokenize(&shop(), &card(MASTERCARD), &how).unwrap();
    let (_, other_row) = rows(&other_store).remove(0);
    let fingerprint = &other_row.as_bytes()[30..62];
    let index = [&[6][..], b"shop-1", &[0, 0, 0, 1], fingerprint].concat();
    let index = cardvault::vault::IndexKey::new(&index).unwrap();
    let writes = vec![
        Write::Delete {
            token: key,
            expected: row.clone(),
            index: vec![],
        },
        Write::Insert {
            token: key,
            row,
            index: vec![index],
            unique: true,
        },
    ];
    block_on(store.write(None, writes)).unwrap();
    let result = vault.tokenize(&shop(), &card(MASTERCARD), &how);
    assert_eq!(result, Err(VaultError::Tampered));
    let result = vault.find(&access(), &shop(), &card(MASTERCARD).pan);
    assert_eq!(result, Err(VaultError::Tampered));
}

#[test]
fn records_move_to_the_active_key_and_the_destroyed_one_opens_nothing() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let old = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    let backup = rows(&store);
    vault.set_ring(rotated()).unwrap();
    vault.tokenize(&shop(), &card(MASTERCARD), &how).unwrap();
    let under = |vault: &Shared| {
        let by_key = vault.stats().unwrap().by_key;
        by_key
            .into_iter()
            .map(|(key, n)| format!("{key}:{n}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(under(&vault), ["card-1:1", "card-2:1"]);
    assert!(same(
        &vault.detokenize(&access(), &shop(), &old).unwrap(),
        &card(VISA)
    ));
    let mut cursor = None;
    let mut moved = 0;
    loop {
        let step = vault.rewrap(cursor, 1).unwrap();
        moved += step.moved;
        assert_eq!(step.left, 0);
        cursor = step.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(moved, 1);
    assert_eq!(under(&vault), ["card-2:2"]);
    let mut ring = rotated();
    ring.destroy("card-1".parse().unwrap(), clock()).unwrap();
    vault.set_ring(ring).unwrap();
    assert!(same(
        &vault.detokenize(&access(), &shop(), &old).unwrap(),
        &card(VISA)
    ));
    // The backup's row, put back: no key of the ring opens it any more.
    let now = rows(&store);
    let (_, row) = now.iter().find(|(key, _)| *key == backup[0].0).unwrap();
    put(&store, backup[0].0, row, backup[0].1.clone());
    let result = vault.detokenize(&access(), &shop(), &old).map(drop);
    assert_eq!(result, Err(VaultError::Key(KeyError::UnknownKey)));
    assert_eq!(vault.stats().unwrap().unreadable, 1);
    vault.delete(&access(), &shop(), &old).unwrap();
}

#[test]
fn refuses_an_older_and_another_ring() {
    let (store, vault) = new_vault();
    let newer = open(&store, rotated()).unwrap();
    // The vault that was open with the older ring writes nothing any more.
    let stale = vault.tokenize(&shop(), &card(VISA), &Tokenize::fresh());
    assert!(
        matches!(stale, Err(VaultError::StaleRing { .. })),
        "{stale:?}"
    );
    assert!(matches!(
        open(&store, ring(1)),
        Err(VaultError::StaleRing { .. })
    ));
    assert!(matches!(open(&store, ring(2)), Err(VaultError::OtherRing)));
    newer
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap();
    vault.set_ring(rotated()).unwrap();
    vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap();
}

#[test]
fn a_key_whose_time_is_over_seals_nothing() {
    static HERE: AtomicU64 = AtomicU64::new(1_800_000_000);
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, ring(1), || {
        UnixSeconds(HERE.load(Ordering::Relaxed))
    })
    .unwrap();
    let token = vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap()
        .token;
    HERE.fetch_add(100 * 366 * 24 * 60 * 60, Ordering::Relaxed);
    let result = vault.tokenize(&shop(), &card(VISA), &Tokenize::fresh());
    assert!(matches!(
        result,
        Err(VaultError::Key(KeyError::CryptoperiodOver { .. }))
    ));
    vault.detokenize(&access(), &shop(), &token).unwrap();
}

#[test]
fn nothing_is_handed_out_that_was_not_logged() {
    static LINES: Lines = Lines(Mutex::new(Some(Vec::new())));
    let store = Arc::new(Memory::new());
    let vault = block_on(Vault::open_with(
        store,
        ring(1),
        &LINES,
        || SystemRandom,
        clock,
    ))
    .unwrap();
    let vault = vault.blocking();
    let token = vault
        .tokenize(&shop(), &card(VISA), &Tokenize::convergent())
        .unwrap()
        .token;
    vault.detokenize(&access(), &shop(), &token).unwrap();
    vault
        .find(&access(), &shop(), &card(MASTERCARD).pan)
        .unwrap();
    let elsewhere: Domain = "shop-2".parse().unwrap();
    assert!(vault.detokenize(&access(), &elsewhere, &token).is_err());
    let lines = LINES.0.lock().unwrap().take().unwrap();
    let expected = [
        format!(
            r#"time=1800000000 operation=detokenize outcome=granted actor="desk-3" purpose="refund" origin="10.0.0.7" domain="shop-1" token={token}"#
        ),
        r#"time=1800000000 operation=find outcome=granted actor="desk-3" purpose="refund" origin="10.0.0.7" domain="shop-1""#
            .to_owned(),
        format!(
            r#"time=1800000000 operation=detokenize outcome=refused actor="desk-3" purpose="refund" origin="10.0.0.7" domain="shop-2" token={token}"#
        ),
    ];
    assert_eq!(lines, expected);
    // Now the log is broken.
    let result = vault.detokenize(&access(), &shop(), &token).map(drop);
    assert_eq!(result, Err(VaultError::Log(AccessLogError)));
    let result = vault.find(&access(), &shop(), &card(VISA).pan);
    assert_eq!(result, Err(VaultError::Log(AccessLogError)));
    let result = vault.delete(&access(), &shop(), &token);
    assert_eq!(result, Err(VaultError::Log(AccessLogError)));
    let result = vault.exists(&access(), &shop(), &token);
    assert_eq!(result, Err(VaultError::Log(AccessLogError)));
    // Nothing went.
    assert_eq!(vault.count(), Ok(1));
}

#[test]
fn an_actor_is_no_card_number() {
    let refused = [
        "",
        "x\n",
        &"x".repeat(65),
        "4111111111111111",
        "card 4111 1111-1111 1111.",
        "5555-5555-5555-4444",
        "no card, but 1234567890123",
        // Eight to twelve digits of a brand with the right check digit.
        "630400000000",
        "6304-0000 0000",
    ];
    for text in refused {
        assert!(Access::new(text, "refund", "x").is_err(), "{text}");
        assert!(Access::new("desk-3", text, "x").is_err(), "{text}");
        assert!(Access::new("desk-3", "refund", text).is_err(), "{text}");
    }
    let accepted = [
        "refund of 2026-11-21 23:14:38, order 1234567",
        "ticket 123456789012",
        "41 then  11 11 11 11",
        "630400000001",
        "62000005",
    ];
    for text in accepted {
        assert!(Access::new(text, text, text).is_ok(), "{text}");
    }
}

type Hook = Box<dyn Fn(&[Write]) -> Result<(), StoreError> + Send + Sync>;

/// A store that asks before each write, and says when it was done.
struct Hooked {
    store: Arc<Memory>,
    before: Hook,
    after: Hook,
}

impl Hooked {
    fn before(hook: impl Fn(&[Write]) -> Result<(), StoreError> + Send + Sync + 'static) -> Self {
        Self {
            store: Arc::new(Memory::new()),
            before: Box::new(hook),
            after: Box::new(|_| Ok(())),
        }
    }

    fn after(hook: impl Fn(&[Write]) -> Result<(), StoreError> + Send + Sync + 'static) -> Self {
        Self {
            store: Arc::new(Memory::new()),
            before: Box::new(|_| Ok(())),
            after: Box::new(hook),
        }
    }

    fn vault(self) -> BlockingVault<Self> {
        BlockingVault::open_with(
            self,
            ring(1),
            LineLog::new(std::io::sink()),
            || SystemRandom,
            clock,
        )
        .unwrap()
    }
}

impl Store for Hooked {
    async fn write(
        &self,
        under: Option<cardvault::vault::Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        (self.before)(&writes)?;
        let outcomes = self.store.write(under, writes.clone()).await?;
        (self.after)(&writes)?;
        Ok(outcomes)
    }
    forward!(rows find others scan guard count);
}

const fn is_guard(writes: &[Write]) -> bool {
    matches!(writes, [Write::Guard { .. }])
}

#[test]
fn a_failed_write_acknowledges_nothing() {
    let vault = Hooked::before(|writes| match is_guard(writes) {
        true => Ok(()),
        false => Err(StoreError::Full),
    })
    .vault();
    let results =
        vault.tokenize_batch(&shop(), &[card(VISA), card(MASTERCARD)], &Tokenize::fresh());
    assert_eq!(results, [Err(VaultError::Store(StoreError::Full)); 2]);
}

/// Finding tokens taken and renewing take a second write: its failure is not the first one's.
#[test]
fn a_later_failure_takes_no_acknowledged_token_away() {
    let writes = AtomicU64::new(0);
    let vault = Hooked::before(move |_| match writes.fetch_add(1, Ordering::Relaxed) {
        // The guard, the first card, the batch; then its renewal.
        0..3 => Ok(()),
        _ => Err(StoreError::Full),
    })
    .vault();
    let how = Tokenize::convergent();
    vault.tokenize(&shop(), &card(VISA), &how).unwrap();
    let renewed = expiring(VISA, 33);
    let results = vault.tokenize_batch(&shop(), &[card(MASTERCARD), renewed], &how);
    let token = results[0].unwrap().token;
    assert_eq!(results[1], Err(VaultError::Store(StoreError::Full)));
    let kept = vault.detokenize(&access(), &shop(), &token).unwrap();
    assert!(same(&kept, &card(MASTERCARD)));
}

fn expiring(digits: &str, year: u8) -> CardRecord {
    CardRecord {
        expiry: Some(Expiry::new(year, 12).unwrap()),
        ..card(digits)
    }
}

#[test]
fn a_renewed_card_keeps_its_token_and_gets_its_new_data() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    let now = |vault: &Shared| vault.detokenize(&access(), &shop(), &token).unwrap();
    let renewed = expiring(VISA, 33);
    let again = vault.tokenize(&shop(), &renewed, &how).unwrap();
    assert_eq!((again.token, again.existing), (token, true));
    assert!(same(&now(&vault), &renewed));
    // What is not given stays, and then nothing is written.
    let before = rows(&store);
    let number = CardRecord::new(card(VISA).pan);
    vault.tokenize(&shop(), &number, &how).unwrap();
    vault.tokenize_batch(&shop(), &[number, renewed.clone()], &how);
    assert_eq!(rows(&store), before);
    let numbered = CardRecord {
        sequence: Some(cardvault::card::PanSequence::new(2).unwrap()),
        ..CardRecord::new(card(VISA).pan)
    };
    vault.tokenize(&shop(), &numbered, &how).unwrap();
    assert_eq!(now(&vault).sequence, numbered.sequence);
    assert_eq!(now(&vault).expiry, renewed.expiry);
    // In a batch each sees what the one before it left.
    let cards = [
        expiring(VISA, 34),
        card(MASTERCARD),
        expiring(VISA, 35),
        CardRecord::new(card(VISA).pan),
    ];
    let results = vault.tokenize_batch(&shop(), &cards, &how);
    let existing: Vec<_> = results.iter().map(|r| r.unwrap().existing).collect();
    assert_eq!(existing, [true, false, true, true]);
    assert_eq!(now(&vault).expiry, cards[2].expiry);
    assert_eq!(now(&vault).sequence, numbered.sequence);
    let cards = [expiring(VISA, 36), cards[2].clone()];
    vault.tokenize_batch(&shop(), &cards, &how);
    assert_eq!(now(&vault).expiry, cards[1].expiry);
    // The token's own expiry applies as well.
    let at = UnixSeconds(1_900_000_000);
    vault
        .tokenize(&shop(), &card(VISA), &how.expiring(at))
        .unwrap();
    let expires = |vault: &Shared| vault.metadata(&access(), &shop(), &token).unwrap().expires;
    assert_eq!(expires(&vault), Some(at));
    vault.tokenize(&shop(), &card(VISA), &how).unwrap();
    assert_eq!(expires(&vault), Some(at));
}

#[test]
fn an_expired_token_is_renewed_for_all_who_ask_at_once() {
    let (_, vault) = new_vault();
    let how = Tokenize::convergent();
    let past = how.expiring(UnixSeconds(1));
    let token = vault.tokenize(&shop(), &card(VISA), &past).unwrap().token;
    let cards = [card(VISA), card(VISA), card(VISA)];
    for result in vault.tokenize_batch(&shop(), &cards, &how) {
        assert_eq!(result.unwrap().token, token);
    }
    for _ in 0..20 {
        vault
            .set_expiry(&shop(), &token, Some(UnixSeconds(1)))
            .unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| vault.tokenize(&shop(), &card(VISA), &how).unwrap());
            }
        });
        vault.detokenize(&access(), &shop(), &token).unwrap();
    }
}

#[test]
fn the_first_second_of_1970_is_an_expiry_and_not_none() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent().expiring(UnixSeconds(0));
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    let expired = vault.detokenize(&access(), &shop(), &token).map(drop);
    assert_eq!(expired, Err(VaultError::Expired));
    let expires = vault.metadata(&access(), &shop(), &token).unwrap().expires;
    assert_eq!(expires, Some(UnixSeconds(0)));
    // A row without the flag has zeros in the field, and its seal cannot say otherwise.
    vault.set_expiry(&shop(), &token, None).unwrap();
    let (_, row) = rows(&store).remove(0);
    assert_eq!(
        (row.as_bytes()[1], &row.as_bytes()[14..22]),
        (1, &[0; 8][..])
    );
}

#[test]
fn a_card_keeps_the_shape_of_its_token() {
    use cardvault::token::{KeepFirst, KeepLast, VaultedFormat};
    let (_, vault) = new_vault();
    let opaque = Tokenize::convergent();
    let shaped = |first, last| {
        let format = VaultedFormat::new(first, last, 16).unwrap();
        Tokenize::convergent().card_shaped(format)
    };
    let all = [
        opaque,
        shaped(KeepFirst::None, KeepLast::None),
        shaped(KeepFirst::None, KeepLast::Four),
        shaped(KeepFirst::Six, KeepLast::None),
        shaped(KeepFirst::Six, KeepLast::Four),
        shaped(KeepFirst::Eight, KeepLast::None),
        shaped(KeepFirst::Eight, KeepLast::Four),
    ];
    for (place, first) in all.iter().enumerate() {
        let domain: Domain = format!("shop-{place}").parse().unwrap();
        let token = vault.tokenize(&domain, &card(VISA), first).unwrap().token;
        for (other, how) in all.iter().enumerate() {
            let result = vault.tokenize(&domain, &card(VISA), how).map(|t| t.token);
            if other == place {
                assert_eq!(result, Ok(token));
            } else {
                assert_eq!(result, Err(VaultError::OtherFormat), "{place} {other}");
            }
        }
    }
}

#[test]
fn rows_that_cannot_be_read_can_be_deleted_and_lock_no_card_out() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 4] = [
        // The fingerprint's column: the index entry can no longer be named.
        |bytes| bytes[30] ^= 1,
        // No row of this version, none at all, and one of a newer version.
        |bytes| bytes[1] = 0xff,
        Vec::clear,
        |bytes| bytes[0] = 9,
    ];
    let mut token = token;
    for damage in damages {
        let (key, good) = rows(&store).remove(0);
        let mut bytes = good.as_bytes().to_vec();
        damage(&mut bytes);
        put(&store, key, &good, Row::new(&bytes).unwrap());
        assert!(vault.tokenize(&shop(), &card(VISA), &how).is_err());
        vault.delete(&access(), &shop(), &token).unwrap();
        let cards = [card(MASTERCARD), card(VISA)];
        let results = vault.tokenize_batch(&shop(), &cards, &how);
        let fresh = results[1].unwrap();
        assert!(results[0].is_ok() && !fresh.existing);
        let found = vault.find(&access(), &shop(), &card(VISA).pan).unwrap();
        assert_eq!(found.tokens, [fresh.token]);
        vault
            .delete(&access(), &shop(), &results[0].unwrap().token)
            .unwrap();
        token = fresh.token;
    }
}

#[test]
fn a_record_whose_key_is_gone_names_its_token() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    let other = vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap()
        .token;
    let mut newer = rotated();
    newer.destroy("card-1".parse().unwrap(), clock()).unwrap();
    let vault = {
        drop(vault);
        open(&store, newer).unwrap()
    };
    let refused = vault.tokenize(&shop(), &card(VISA), &how);
    assert_eq!(refused, Err(VaultError::Unopenable { token }));
    let results = vault.tokenize_batch(&shop(), &[card(VISA)], &how);
    assert_eq!(results, [Err(VaultError::Unopenable { token })]);
    let found = vault.find(&access(), &shop(), &card(VISA).pan).unwrap();
    assert_eq!(
        (found.tokens, found.unopenable),
        (vec![], vec![token, other])
    );
    for token in [token, other] {
        vault.delete(&access(), &shop(), &token).unwrap();
    }
    let fresh = vault.tokenize(&shop(), &card(VISA), &how).unwrap();
    assert!(!fresh.existing && fresh.token != token);
}

#[test]
fn a_rewrap_without_a_key_to_seal_under_is_an_error() {
    static HERE: AtomicU64 = AtomicU64::new(1_800_000_000);
    let store = Arc::new(Memory::new());
    let vault = open_at(&store, ring(1), || {
        UnixSeconds(HERE.load(Ordering::Relaxed))
    })
    .unwrap();
    vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap();
    vault.set_ring(rotated()).unwrap();
    HERE.fetch_add(100 * 366 * 24 * 60 * 60, Ordering::Relaxed);
    let result = vault.rewrap(None, 10).map(|step| step.left);
    let over = matches!(
        result,
        Err(VaultError::Key(KeyError::CryptoperiodOver { .. }))
    );
    assert!(over, "{result:?}");
    // A ring without an active card key.
    let mut ring = rotated();
    ring.deactivate("card-2".parse().unwrap(), clock()).unwrap();
    vault.set_ring(ring).unwrap();
    let result = vault.rewrap(None, 10).map(|step| step.left);
    let none = matches!(result, Err(VaultError::Key(KeyError::NoActive { .. })));
    assert!(none, "{result:?}");
}

/// Ring 1 with `more` further card keys, each of which raises the generation by two.
fn rotated_by(more: u8) -> KeyRing {
    use rand_chacha::rand_core::SeedableRng;
    let mut ring = ring(1);
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([9; 32]);
    for _ in 0..more {
        add(&mut ring, KeyUse::Card, &mut rng);
    }
    ring
}

#[test]
fn calls_go_on_while_the_ring_changes() {
    static VAULT: std::sync::OnceLock<BlockingVault<Hooked>> = std::sync::OnceLock::new();
    // As soon as the guard is there, and before the vault has gone over to the new ring.
    let vault = Hooked::after(|writes| {
        if is_guard(writes)
            && let Some(vault) = VAULT.get()
        {
            let fresh = vault.tokenize(&shop(), &card(VISA), &Tokenize::fresh());
            let token = fresh.unwrap().token;
            vault.set_expiry(&shop(), &token, None).unwrap();
            vault.delete(&access(), &shop(), &token).unwrap();
            vault
                .tokenize(&shop(), &card(VISA), &Tokenize::convergent())
                .unwrap();
        }
        Ok(())
    })
    .vault();
    let vault = VAULT.get_or_init(|| vault);
    vault.set_ring(rotated_by(1)).unwrap();
    assert_eq!(vault.count(), Ok(1));
    // And with threads.
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..200 {
                        vault
                            .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
                            .unwrap();
                    }
                })
            })
            .collect();
        for more in 2..12 {
            vault.set_ring(rotated_by(more)).unwrap();
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn of_two_rings_set_at_once_the_newer_stays() {
    static VAULT: std::sync::OnceLock<BlockingVault<Hooked>> = std::sync::OnceLock::new();
    static ONCE: AtomicU64 = AtomicU64::new(0);
    let vault = Hooked::after(|writes| {
        if is_guard(writes)
            && let Some(vault) = VAULT.get()
            && ONCE.fetch_add(1, Ordering::Relaxed) == 0
        {
            // Overtakes the call whose guard was just written.
            vault.set_ring(rotated_by(2)).unwrap();
        }
        Ok(())
    })
    .vault();
    let vault = VAULT.get_or_init(|| vault);
    vault.set_ring(rotated_by(1)).unwrap();
    vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap();
    let by_key = vault.stats().unwrap().by_key;
    let keys: Vec<_> = by_key.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["card-3"]);
}

#[test]
fn two_forks_of_a_ring_are_told_apart() {
    use rand_chacha::rand_core::SeedableRng;
    let (store, vault) = new_vault();
    let fork = || {
        let mut ring = ring(1);
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([10; 32]);
        add(&mut ring, KeyUse::Card, &mut rng);
        ring
    };
    let (one, other) = (rotated(), fork());
    let generation = one.generation();
    assert_eq!(generation, other.generation());
    vault.set_ring(one).unwrap();
    let forked = Some(VaultError::ForkedRing { generation });
    assert_eq!(vault.set_ring(other).err(), forked);
    assert_eq!(open(&store, fork()).err(), forked);
    vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap();
    open(&store, rotated()).unwrap();
}

#[test]
fn a_ring_whose_index_is_empty_is_refused() {
    use rand_chacha::rand_core::SeedableRng;
    let refilled = || {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([11; 32]);
        let mut ring = ring(1);
        let period = Cryptoperiod::default_of(KeyUse::Index);
        let name = ring.add(KeyUse::Index, period, clock(), &mut rng).unwrap();
        ring.begin_filling(name).unwrap();
        (ring, name)
    };
    let activated = || {
        let (mut ring, name) = refilled();
        ring.activate(name, clock()).unwrap();
        ring
    };
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    // Writing a second version beside the one that is read is no harm.
    vault.set_ring(refilled().0).unwrap();
    vault.tokenize(&shop(), &card(MASTERCARD), &how).unwrap();
    let refused = Some(VaultError::IndexNotFilled {
        reads: 2,
        filled: 1,
    });
    assert_eq!(vault.set_ring(activated()).err(), refused);
    assert_eq!(open(&store, activated()).err(), refused);
    // The vault goes on with what it has.
    assert_eq!(
        vault.tokenize(&shop(), &card(VISA), &how).unwrap().token,
        token
    );
    let (_, empty) = new_vault();
    empty.set_ring(activated()).unwrap();
    empty.tokenize(&shop(), &card(VISA), &how).unwrap();
}

#[test]
fn newer_formats_are_named() {
    let (store, vault) = new_vault();
    let how = Tokenize::convergent();
    let token = vault.tokenize(&shop(), &card(VISA), &how).unwrap().token;
    let (key, good) = rows(&store).remove(0);
    // The row's version and the sealed record's.
    for at in [0, 62] {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = 7;
        let newer = Row::new(&bytes).unwrap();
        put(&store, key, &good, newer.clone());
        let named = Err(VaultError::NewerFormat { found: 7 });
        assert_eq!(
            vault.detokenize(&access(), &shop(), &token).map(drop),
            named
        );
        assert_eq!(vault.tokenize(&shop(), &card(VISA), &how).map(drop), named);
        let step = vault.rewrap(None, 10).unwrap();
        assert_eq!((step.left, vault.stats().unwrap().unreadable), (1, 1));
        put(&store, key, &newer, good.clone());
    }
    let expected = block_on(store.guard()).unwrap();
    let mut bytes = expected.as_ref().unwrap().as_bytes().to_vec();
    bytes[0] = 3;
    let guard = cardvault::vault::Guard::new(&bytes).unwrap();
    block_on(store.write(None, vec![Write::Guard { expected, guard }])).unwrap();
    let named = Some(VaultError::NewerFormat { found: 3 });
    assert_eq!(open(&store, ring(1)).err(), named);
}

#[test]
fn the_store_comes_back_from_the_vault() {
    let log = LineLog::new(std::io::sink());
    let vault = BlockingVault::open(Memory::new(), ring_of_today(), log).unwrap();
    vault
        .tokenize(&shop(), &card(VISA), &Tokenize::fresh())
        .unwrap();
    assert_eq!(block_on(vault.into_store().unwrap().count()), Ok(1));
}

/// As ring 1, with periods that hold by the system's clock.
fn ring_of_today() -> KeyRing {
    let now = UnixSeconds::now();
    let mut ring = KeyRing::new(RingMark::Development, &mut SystemRandom).unwrap();
    for usage in KeyUse::ALL {
        let period = Cryptoperiod::default_of(usage);
        let name = ring.add(usage, period, now, &mut SystemRandom).unwrap();
        ring.activate(name, now).unwrap();
    }
    ring
}

#[test]
fn a_file_log_mends_a_torn_line_and_is_its_owners() {
    use cardvault::vault::FileLog;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let store = Arc::new(Memory::new());
    let run = || {
        let log = FileLog::open(&path).unwrap();
        let opened =
            BlockingVault::open_with(Arc::clone(&store), ring(1), log, || SystemRandom, clock);
        let vault = opened.unwrap();
        vault.find(&access(), &shop(), &card(VISA).pan).unwrap();
        vault.find(&access(), &shop(), &card(VISA).pan).unwrap();
    };
    let line = r#"time=1800000000 operation=find outcome=granted actor="desk-3" purpose="refund" origin="10.0.0.7" domain="shop-1""#;
    run();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{line}\n{line}\n"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // The machine went down in the middle of a line.
    std::fs::write(&path, text.get(..text.len() - 9).unwrap()).unwrap();
    run();
    let mended = std::fs::read_to_string(&path).unwrap();
    let torn = line.get(..line.len() - 8).unwrap();
    assert_eq!(mended, format!("{line}\n{torn}\n{line}\n{line}\n"));
    run();
    let whole = std::fs::read_to_string(&path).unwrap();
    assert_eq!(whole, format!("{mended}{line}\n{line}\n"));
    assert!(FileLog::open(folder.path()).is_err());
}

fn seeded() -> rand_chacha::ChaCha20Rng {
    use rand_chacha::rand_core::SeedableRng;
    rand_chacha::ChaCha20Rng::from_seed([42; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Of the uses that there were when the file was written.
fn golden_ring() -> KeyRing {
    use rand_chacha::rand_core::SeedableRng;
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([1; 32]);
    let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
    for usage in [
        KeyUse::Card,
        KeyUse::Index,
        KeyUse::Vaultless,
        KeyUse::Irreversible,
    ] {
        add(&mut ring, usage, &mut rng);
    }
    ring
}

#[test]
fn rows_keys_and_guard_are_as_they_were() {
    use cardvault::token::{KeepFirst, KeepLast, VaultedFormat};
    use cardvault::vault::{IndexKey, ROW_LEN};
    let golden = golden_rows(include_str!("golden/vault-2.hex"));
    let store = Arc::new(Memory::new());
    let log = || LineLog::new(std::io::sink());
    let vault = BlockingVault::open_with(Arc::clone(&store), golden_ring(), log(), seeded, || {
        UnixSeconds(1_800_000_000)
    })
    .unwrap();
    let format = VaultedFormat::new(KeepFirst::Six, KeepLast::Four, 16).unwrap();
    let shaped = Tokenize::fresh().card_shaped(format);
    let how = Tokenize::convergent().expiring(UnixSeconds(1_800_086_400));
    vault.tokenize(&shop(), &card(VISA), &how).unwrap();
    vault.tokenize(&shop(), &card(MASTERCARD), &shaped).unwrap();
    let mut written = Vec::new();
    for (key, row) in rows(&store) {
        assert_eq!(row.as_bytes().len(), ROW_LEN);
        written.push(("row-key", key.as_bytes().to_vec()));
        written.push(("row", row.as_bytes().to_vec()));
        let fingerprint = &row.as_bytes()[30..62];
        let index = [&[6][..], b"shop-1", &[0, 0, 0, 1], fingerprint].concat();
        let found = block_on(store.find(vec![IndexKey::new(&index).unwrap()])).unwrap();
        let named = found[0].unique.as_ref().map(|(key, _)| *key);
        assert_eq!(named.or(found[0].others.first().copied()), Some(key));
        written.push(("index-key", index));
    }
    // The guard of then had version 1.
    assert_eq!(written, golden[1..], "{}", shown(&written));
}

fn shown(lines: &[(&str, Vec<u8>)]) -> String {
    let lines = lines.iter();
    let lines = lines.map(|(name, value)| format!("{name} {}", hex(value)));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_guard_tells_how_far_an_index_version_is() {
    use rand_chacha::rand_core::SeedableRng;
    let rows_then = include_str!("golden/vault-2.hex");
    let (store, vault) = golden_vault(rows_then);
    let guard = || {
        let guard = block_on(store.guard()).unwrap().unwrap();
        guard.as_bytes().to_vec()
    };
    // It stays as it is until there is something new to say.
    assert_eq!(guard(), golden_rows(rows_then)[0].1);
    let now = UnixSeconds(1_800_000_000);
    let filling = || {
        let mut ring = golden_ring();
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([2; 32]);
        let period = Cryptoperiod::default_of(KeyUse::Index);
        let name = ring.add(KeyUse::Index, period, now, &mut rng).unwrap();
        ring.begin_filling(name).unwrap();
        (ring, name)
    };
    vault.set_ring(filling().0).unwrap();
    let mut written = vec![("guard", guard())];
    assert!(!vault.fill_index(1).unwrap().done);
    let (key, note) = rows(&store).pop().unwrap();
    written.push(("note-key", key.as_bytes().to_vec()));
    written.push(("note", note.as_bytes().to_vec()));
    while !vault.fill_index(1).unwrap().filled {}
    written.push(("guard", guard()));
    let (mut ring, name) = filling();
    ring.activate(name, now).unwrap();
    vault.set_ring(ring).unwrap();
    written.push(("guard", guard()));
    let golden = golden_rows(include_str!("golden/vault-guard-2.hex"));
    assert_eq!(written, golden, "{}", shown(&written));
    assert_eq!(vault.check(None, 10).unwrap().unopenable, 0);
}

#[test]
fn rows_of_every_version_are_read() {
    for golden in [
        include_str!("golden/vault.hex"),
        include_str!("golden/vault-2.hex"),
    ] {
        let (store, vault) = golden_vault(golden);
        for number in [VISA, MASTERCARD] {
            let found = vault.find(&access(), &shop(), &card(number).pan).unwrap();
            let kept = vault.detokenize(&access(), &shop(), &found.tokens[0]);
            assert!(same(&kept.unwrap(), &card(number)));
            vault.set_expiry(&shop(), &found.tokens[0], None).unwrap();
        }
        // What is written anew is of today's version.
        assert!(rows(&store).iter().all(|(_, row)| row.as_bytes()[0] == 2));
    }
}

/// Each time a row is sealed anew its revision goes up: an older one that is put back is told.
#[test]
fn a_row_counts_its_revisions() {
    let (store, vault) = golden_vault(include_str!("golden/vault.hex"));
    let revisions = || -> Vec<u32> {
        let revision = |row: &Row| match row.as_bytes()[0] {
            1 => 0,
            _ => u32::from_be_bytes(row.as_bytes()[26..30].try_into().unwrap()),
        };
        rows(&store).iter().map(|(_, row)| revision(row)).collect()
    };
    assert_eq!(revisions(), [0, 0]);
    let renewed = CardRecord {
        expiry: Some(Expiry::new(31, 5).unwrap()),
        ..card(VISA)
    };
    let how = Tokenize::convergent();
    let token = vault.tokenize(&shop(), &renewed, &how).unwrap().token;
    assert_eq!(revisions().iter().sum::<u32>(), 1);
    vault.set_expiry(&shop(), &token, None).unwrap();
    assert_eq!(revisions().iter().sum::<u32>(), 2);
    let mut ring = golden_ring();
    add(&mut ring, KeyUse::Card, &mut seeded());
    vault.set_ring(ring).unwrap();
    assert_eq!(vault.rewrap(None, 10).unwrap().moved, 2);
    assert_eq!(revisions().iter().sum::<u32>(), 4);
    let fresh = vault.tokenize(&shop(), &card(VISA), &Tokenize::fresh());
    let key = fresh.unwrap().token;
    let new = rows(&store);
    let (_, row) = new
        .iter()
        .find(|(at, _)| at.as_bytes().ends_with(tail(&key)))
        .unwrap();
    assert_eq!(row.as_bytes()[26..30], [0, 0, 0, 1]);
}

/// The names and values of a golden file.
fn golden_rows(text: &str) -> Vec<(&str, Vec<u8>)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, value)| (name, bytes(value)))
        .collect()
}

/// A vault of what a golden file holds.
fn golden_vault(text: &str) -> (Arc<Memory>, Shared) {
    use cardvault::vault::{Guard, IndexKey};
    let golden = golden_rows(text);
    let store = Arc::new(Memory::new());
    let value = |at: usize| golden[at].1.as_slice();
    let mut writes = vec![Write::Guard {
        expected: None,
        guard: Guard::new(value(0)).unwrap(),
    }];
    for at in [1, 4] {
        writes.push(Write::Insert {
            token: RowKey::new(value(at)).unwrap(),
            row: Row::new(value(at + 1)).unwrap(),
            index: vec![IndexKey::new(value(at + 2)).unwrap()],
            unique: value(at + 1)[1] & 1 != 0,
        });
    }
    block_on(store.write(None, writes)).unwrap();
    let vault = open(&store, golden_ring()).unwrap();
    (store, vault)
}
