//! The vault's promises, over the store in memory: what it gives back, what it refuses, and that
//! no changed or swapped part of a row goes unnoticed.
#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cardvault::card::{Brand, CardRecord, Expiry, Pan};
use cardvault::keys::{Cryptoperiod, Domain, KeyError, KeyRing, KeyUse, RingMark};
use cardvault::token::Token;
use cardvault::vault::{
    Access, AccessEvent, AccessLog, AccessLogError, BlockingVault, LineLog, Memory, Metadata, Row,
    RowKey, Store, StoreError, Tokenize, Vault, VaultError, Write, WriteOutcome,
};
use cardvault::{SystemRandom, UnixSeconds};
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
    Access::new("desk-3", "refund").unwrap()
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
    assert_eq!(vault.exists(&shop(), &token), Ok(true));
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
    let metadata = vault.metadata(&shop(), &token).unwrap();
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
    assert_eq!(vault.exists(&shop(), &token), Ok(false));
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
            vault.metadata(&shop(), &token).map(drop),
            vault.find(&access(), &shop(), &card(VISA).pan).map(drop),
            vault.tokenize(&shop(), &card(VISA), &how).map(drop),
            vault.set_expiry(&shop(), &token, None),
        ] {
            let noticed = matches!(
                result,
                Err(VaultError::Tampered | VaultError::Key(KeyError::UnknownKey))
            );
            assert!(noticed, "bit {bit}: {result:?}");
        }
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
    let edges = [0, 1, 2, 3, 5, 13, 21, 25, 57, 58, 74, 98, 114, a.len()];
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
    let fingerprint = &other_row.as_bytes()[25..57];
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

/// Keeps its lines, or refuses to.
struct Lines(Mutex<Option<Vec<String>>>);

impl AccessLog for &'static Lines {
    fn record(&self, events: &[AccessEvent<'_>]) -> Result<(), AccessLogError> {
        let mut lines = self.0.lock().unwrap();
        let lines = lines.as_mut().ok_or(AccessLogError)?;
        lines.extend(events.iter().map(ToString::to_string));
        Ok(())
    }
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
            r#"time=1800000000 operation=detokenize outcome=granted actor="desk-3" purpose="refund" domain="shop-1" token={token}"#
        ),
        r#"time=1800000000 operation=find outcome=granted actor="desk-3" purpose="refund" domain="shop-1""#
            .to_owned(),
        format!(
            r#"time=1800000000 operation=detokenize outcome=refused actor="desk-3" purpose="refund" domain="shop-2" token={token}"#
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
    assert_eq!(vault.exists(&shop(), &token), Ok(true));
}

#[test]
fn an_actor_is_no_card_number() {
    for text in ["", "4111111111111111", "x\n", "4111 1111", &"x".repeat(65)] {
        assert!(Access::new(text, "refund").is_err(), "{text}");
        assert!(Access::new("desk-3", text).is_err(), "{text}");
    }
}

/// A store that fails each write.
struct Broken(Memory);

impl Store for Broken {
    async fn write(
        &self,
        _: Option<cardvault::vault::Guard>,
        writes: Vec<Write>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        match writes.as_slice() {
            [Write::Guard { .. }] => self.0.write(None, writes).await,
            _ => Err(StoreError::Full),
        }
    }
    async fn rows(&self, keys: Vec<RowKey>) -> Result<Vec<Option<Row>>, StoreError> {
        self.0.rows(keys).await
    }
    async fn find(
        &self,
        keys: Vec<cardvault::vault::IndexKey>,
    ) -> Result<Vec<cardvault::vault::Found>, StoreError> {
        self.0.find(keys).await
    }
    async fn others(
        &self,
        key: cardvault::vault::IndexKey,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<RowKey>, StoreError> {
        self.0.others(key, after, end, limit).await
    }
    async fn scan(
        &self,
        after: Option<RowKey>,
        end: Option<RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, Row)>, StoreError> {
        self.0.scan(after, end, limit).await
    }
    async fn guard(&self) -> Result<Option<cardvault::vault::Guard>, StoreError> {
        self.0.guard().await
    }
    async fn count(&self) -> Result<u64, StoreError> {
        self.0.count().await
    }
}

#[test]
fn a_failed_write_acknowledges_nothing() {
    let log = LineLog::new(std::io::sink());
    let vault = block_on(Vault::open(Broken(Memory::new()), ring(1), log))
        .unwrap()
        .blocking();
    let results =
        vault.tokenize_batch(&shop(), &[card(VISA), card(MASTERCARD)], &Tokenize::fresh());
    assert_eq!(results, [Err(VaultError::Store(StoreError::Full)); 2]);
}
