//! What every store must do, whatever it keeps its rows in. A test binary names a way to make an
//! empty store and runs each check through `conformance_suite!`.

use core::future::Future;
use core::ops::Deref;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use cardvault::vault::{
    Found, Guard, IndexKey, MAX_BATCH, MAX_FOUND, MAX_INDEX_KEYS, MAX_KEY, Part, Row, RowKey,
    Store, StoreError, Write, WriteOutcome,
};
use pollster::block_on;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Makes one `#[test]` of each check; `$make` makes a new, empty store (or a handle on one).
#[macro_export]
macro_rules! conformance_suite {
    ($make:expr) => {
        $crate::conformance_suite!(@ $make;
            empty_store, outcomes, batch_order, refused_changes_nothing, two_index_versions,
            others_are_many, delete_takes_entries, guards, limits, dangling_index,
            index_keys_do_not_mix, scan_pages, one_winner_among_64, compare_and_swap_races,
            reads_see_whole_batches, dropped_callers, dropped_among_living, model);
    };
    (@ $make:expr; $($check:ident),*) => {
        $(
            #[test]
            fn $check() {
                $crate::conformance::$check(&$make);
            }
        )*
    };
}

pub fn token(n: usize) -> RowKey {
    RowKey::new(format!("domain/token-{n:08}").as_bytes()).unwrap()
}

pub fn index(n: usize) -> IndexKey {
    IndexKey::new(format!("domain/v1/{n:08}").as_bytes()).unwrap()
}

pub fn row(text: &str) -> Row {
    Row::new(text.as_bytes()).unwrap()
}

pub fn insert(token: RowKey, row: Row, index: &[IndexKey], unique: bool) -> Write {
    Write::Insert {
        token,
        row,
        index: index.to_vec(),
        unique,
    }
}

fn guard(text: &str) -> Guard {
    Guard::new(text.as_bytes()).unwrap()
}

fn write(store: &impl Store, writes: Vec<Write>) -> Vec<WriteOutcome> {
    block_on(store.write(None, writes)).unwrap()
}

fn one(store: &impl Store, change: Write) -> WriteOutcome {
    let mut outcomes = write(store, vec![change]);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

fn get(store: &impl Store, key: RowKey) -> Option<Row> {
    block_on(store.rows(vec![key])).unwrap().remove(0)
}

fn find(store: &impl Store, key: IndexKey) -> Found {
    block_on(store.find(vec![key])).unwrap().remove(0)
}

fn all(store: &impl Store) -> Vec<(RowKey, Row)> {
    let mut rows = Vec::new();
    loop {
        let page = block_on(store.scan(rows.last().map(|(key, _)| *key), 7)).unwrap();
        let end = page.len() < 7;
        rows.extend(page);
        if end {
            return rows;
        }
    }
}

pub fn empty_store<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = make();
    assert_eq!(block_on(store.count()), Ok(0));
    assert_eq!(block_on(store.guard()), Ok(None));
    assert_eq!(block_on(store.rows(vec![token(1)])), Ok(vec![None]));
    assert_eq!(block_on(store.rows(vec![])), Ok(vec![]));
    assert_eq!(
        block_on(store.find(vec![index(1)])),
        Ok(vec![Found::default()])
    );
    assert_eq!(block_on(store.scan(None, 10)), Ok(vec![]));
    assert_eq!(block_on(store.write(None, vec![])), Ok(vec![]));
}

pub fn outcomes<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let (a, b) = (row("a"), row("b"));
    let unique = |t, r: &Row, i| insert(token(t), r.clone(), &[index(i)], true);
    let replace = |t, expected: &Row, row: &Row| Write::Replace {
        token: token(t),
        expected: expected.clone(),
        row: row.clone(),
    };
    let delete = |t, expected: &Row, i| Write::Delete {
        token: token(t),
        expected: expected.clone(),
        index: vec![index(i)],
    };
    assert_eq!(one(store, unique(1, &a, 1)), WriteOutcome::Inserted);
    let winner = WriteOutcome::Exists {
        token: token(1),
        row: a.clone(),
    };
    assert_eq!(one(store, unique(2, &b, 1)), winner);
    assert_eq!(one(store, unique(1, &a, 1)), winner);
    assert_eq!(one(store, unique(1, &b, 2)), WriteOutcome::TokenTaken);
    let other = insert(token(1), b.clone(), &[index(1)], false);
    assert_eq!(one(store, other), WriteOutcome::TokenTaken);
    assert_eq!(one(store, replace(1, &b, &a)), WriteOutcome::Changed);
    assert_eq!(one(store, replace(2, &a, &b)), WriteOutcome::Missing);
    assert_eq!(one(store, replace(1, &a, &b)), WriteOutcome::Replaced);
    assert_eq!(get(store, token(1)), Some(b.clone()));
    assert_eq!(one(store, delete(1, &a, 1)), WriteOutcome::Changed);
    assert_eq!(one(store, delete(2, &b, 1)), WriteOutcome::Missing);
    assert_eq!(find(store, index(1)).unique, Some((token(1), b.clone())));
    assert_eq!(block_on(store.count()), Ok(1));
    assert_eq!(one(store, delete(1, &b, 1)), WriteOutcome::Deleted);
    assert_eq!(get(store, token(1)), None);
    assert_eq!(find(store, index(1)), Found::default());
    assert_eq!(block_on(store.count()), Ok(0));
    // An empty row is a row, and the longest keys are keys.
    let longest = [insert(
        RowKey::new(&[0xff; MAX_KEY]).unwrap(),
        row(""),
        &[IndexKey::new(&[0xff; MAX_KEY]).unwrap()],
        true,
    )];
    assert_eq!(write(store, longest.to_vec()), [WriteOutcome::Inserted]);
    assert_eq!(
        get(store, RowKey::new(&[0xff; MAX_KEY]).unwrap()),
        Some(row(""))
    );
}

pub fn batch_order<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let (a, b, c) = (row("a"), row("b"), row("c"));
    let unique = |t, r: &Row| insert(token(t), r.clone(), &[index(1)], true);
    let outcomes = write(
        store,
        vec![
            unique(9, &a),
            unique(1, &b),
            Write::Replace {
                token: token(9),
                expected: a.clone(),
                row: b.clone(),
            },
            unique(1, &b),
            Write::Replace {
                token: token(9),
                expected: a.clone(),
                row: c.clone(),
            },
            Write::Delete {
                token: token(9),
                expected: b.clone(),
                index: vec![index(1)],
            },
            Write::Delete {
                token: token(9),
                expected: b.clone(),
                index: vec![index(1)],
            },
            unique(1, &c),
            insert(token(1), a.clone(), &[index(2)], false),
            insert(token(2), a.clone(), &[index(1)], false),
        ],
    );
    let exists = |row: &Row| WriteOutcome::Exists {
        token: token(9),
        row: row.clone(),
    };
    assert_eq!(
        outcomes,
        [
            WriteOutcome::Inserted,
            exists(&a),
            WriteOutcome::Replaced,
            exists(&b),
            WriteOutcome::Changed,
            WriteOutcome::Deleted,
            WriteOutcome::Missing,
            WriteOutcome::Inserted,
            WriteOutcome::TokenTaken,
            WriteOutcome::Inserted,
        ]
    );
    assert_eq!(all(store), [(token(1), c.clone()), (token(2), a)]);
    let found = find(store, index(1));
    assert_eq!(
        found,
        Found {
            unique: Some((token(1), c)),
            others: vec![token(2)],
            more: false
        }
    );
}

pub fn refused_changes_nothing<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let (a, b) = (row("a"), row("b"));
    write(store, vec![insert(token(1), a.clone(), &[index(1)], true)]);
    let outcomes = write(
        store,
        vec![
            insert(token(1), b.clone(), &[index(2)], true),
            insert(token(1), b.clone(), &[index(3)], false),
            insert(token(2), b.clone(), &[index(1)], true),
            insert(token(3), b.clone(), &[index(4)], true),
            Write::Replace {
                token: token(1),
                expected: b.clone(),
                row: b.clone(),
            },
            Write::Delete {
                token: token(1),
                expected: b.clone(),
                index: vec![index(1)],
            },
        ],
    );
    assert_eq!(outcomes[3], WriteOutcome::Inserted);
    assert_eq!(all(store), [(token(1), a.clone()), (token(3), b)]);
    assert_eq!(find(store, index(1)).unique, Some((token(1), a)));
    assert_eq!(find(store, index(2)), Found::default());
    assert_eq!(find(store, index(3)), Found::default());
}

pub fn two_index_versions<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let a = row("a");
    let winner = WriteOutcome::Exists {
        token: token(1),
        row: a.clone(),
    };
    // Before the rotation under 1, during it under 1 and 2, after it under 2.
    assert_eq!(
        one(store, insert(token(1), a.clone(), &[index(1)], true)),
        WriteOutcome::Inserted
    );
    assert_eq!(find(store, index(2)), Found::default());
    assert_eq!(
        one(
            store,
            insert(token(2), row("b"), &[index(1), index(2)], true)
        ),
        winner
    );
    assert_eq!(find(store, index(2)).unique, Some((token(1), a.clone())));
    assert_eq!(
        one(store, insert(token(2), row("b"), &[index(2)], true)),
        winner
    );
    // The other way round, and both in one batch.
    assert_eq!(
        one(
            store,
            insert(token(2), row("b"), &[index(3), index(1)], true)
        ),
        winner
    );
    assert_eq!(find(store, index(3)).unique, Some((token(1), a.clone())));
    let both = [index(4), index(5)];
    let outcomes = write(
        store,
        vec![
            insert(token(4), a.clone(), &both, true),
            insert(token(5), a.clone(), &[index(5)], true),
            insert(token(6), a.clone(), &[index(6), index(6)], true),
            insert(token(7), a.clone(), &[index(6), index(4)], true),
        ],
    );
    let exists = |t| WriteOutcome::Exists {
        token: token(t),
        row: a.clone(),
    };
    let expected = [
        WriteOutcome::Inserted,
        exists(4),
        WriteOutcome::Inserted,
        exists(6),
    ];
    assert_eq!(outcomes, expected);
    let delete = Write::Delete {
        token: token(4),
        expected: a.clone(),
        index: both.to_vec(),
    };
    assert_eq!(one(store, delete), WriteOutcome::Deleted);
    assert_eq!(find(store, index(4)), Found::default());
    assert_eq!(find(store, index(5)), Found::default());
}

pub fn others_are_many<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let fresh = |t| insert(token(t), row("r"), &[index(1), index(2)], false);
    write(store, vec![insert(token(500), row("u"), &[index(1)], true)]);
    write(store, (0..MAX_FOUND).rev().map(fresh).collect());
    let tokens: Vec<_> = (0..MAX_FOUND).map(token).collect();
    let found = block_on(store.find(vec![index(1), index(2), index(3)])).unwrap();
    let unique = Some((token(500), row("u")));
    assert_eq!(
        found[0],
        Found {
            unique,
            others: tokens.clone(),
            more: false
        }
    );
    assert_eq!(
        found[1],
        Found {
            unique: None,
            others: tokens.clone(),
            more: false
        }
    );
    assert_eq!(found[2], Found::default());
    write(store, vec![fresh(MAX_FOUND)]);
    assert_eq!(
        find(store, index(2)),
        Found {
            unique: None,
            others: tokens,
            more: true
        }
    );
    // A unique insert looks at unique entries alone.
    let late = insert(token(501), row("v"), &[index(2)], true);
    assert_eq!(one(store, late), WriteOutcome::Inserted);
    assert_eq!(find(store, index(2)).unique, Some((token(501), row("v"))));
}

pub fn delete_takes_entries<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let r = row("r");
    write(
        store,
        vec![
            insert(token(1), r.clone(), &[index(1)], true),
            insert(token(2), r.clone(), &[index(1), index(2)], false),
            insert(token(3), r.clone(), &[index(1)], false),
        ],
    );
    // What another row has under the same keys stays.
    let delete = |t, keys: &[IndexKey]| Write::Delete {
        token: token(t),
        expected: r.clone(),
        index: keys.to_vec(),
    };
    assert_eq!(
        one(store, delete(2, &[index(1), index(2)])),
        WriteOutcome::Deleted
    );
    let found = find(store, index(1));
    assert_eq!(found.unique, Some((token(1), r.clone())));
    assert_eq!(found.others, [token(3)]);
    assert_eq!(find(store, index(2)), Found::default());
    assert_eq!(one(store, delete(1, &[index(1)])), WriteOutcome::Deleted);
    assert_eq!(find(store, index(1)).unique, None);
    assert_eq!(find(store, index(1)).others, [token(3)]);
    // Its token and its place in the index are free again.
    let again = insert(token(1), row("s"), &[index(1)], true);
    assert_eq!(one(store, again), WriteOutcome::Inserted);
}

pub fn guards<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let (one_, two) = (guard("generation 1"), guard("generation 2"));
    let set = |expected: Option<&Guard>, guard: &Guard| Write::Guard {
        expected: expected.cloned(),
        guard: guard.clone(),
    };
    let entry = |t| insert(token(t), row("r"), &[index(t)], true);
    // Nothing is stored: who believes in a guard is refused.
    let refused = block_on(store.write(Some(one_.clone()), vec![entry(1)]));
    assert_eq!(refused, Err(StoreError::GuardChanged));
    assert_eq!(
        one(store, set(Some(&one_), &two)),
        WriteOutcome::GuardChanged(None)
    );
    assert_eq!(one(store, set(None, &one_)), WriteOutcome::Guarded);
    assert_eq!(
        one(store, set(None, &two)),
        WriteOutcome::GuardChanged(Some(one_.clone()))
    );
    assert_eq!(block_on(store.guard()), Ok(Some(one_.clone())));
    let right = block_on(store.write(Some(one_.clone()), vec![entry(2)]));
    assert_eq!(right, Ok(vec![WriteOutcome::Inserted]));
    // In one batch: the guard at its start counts, and later writes see the new one.
    let outcomes = block_on(store.write(
        Some(one_.clone()),
        vec![set(Some(&one_), &two), entry(3), set(Some(&one_), &two)],
    ));
    let changed = WriteOutcome::GuardChanged(Some(two.clone()));
    assert_eq!(
        outcomes,
        Ok(vec![WriteOutcome::Guarded, WriteOutcome::Inserted, changed])
    );
    let stale = block_on(store.write(Some(one_.clone()), vec![entry(4), set(Some(&two), &one_)]));
    assert_eq!(stale, Err(StoreError::GuardChanged));
    assert_eq!(
        block_on(store.write(Some(one_), vec![])),
        Err(StoreError::GuardChanged)
    );
    assert_eq!(block_on(store.guard()), Ok(Some(two)));
    let tokens: Vec<_> = all(store).into_iter().map(|(key, _)| key).collect();
    assert_eq!(tokens, [token(2), token(3)]);
    // Who believes in none may write.
    assert_eq!(one(store, entry(5)), WriteOutcome::Inserted);
}

pub fn limits<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let size = |part, len| StoreError::Size { part, len };
    let delete = |keys| Write::Delete {
        token: token(1),
        expected: row(""),
        index: keys,
    };
    for (keys, is_delete, good) in [
        (0, false, false),
        (MAX_INDEX_KEYS + 1, false, false),
        (0, true, true),
        (MAX_INDEX_KEYS + 1, true, false),
    ] {
        let keys: Vec<_> = (0..keys).map(index).collect();
        let len = keys.len();
        let change = if is_delete {
            delete(keys)
        } else {
            insert(token(2), row(""), &keys, true)
        };
        let first = insert(token(3), row(""), &[index(9)], false);
        let result = block_on(store.write(None, vec![first, change]));
        if good {
            let outcomes = [WriteOutcome::Inserted, WriteOutcome::Missing];
            assert_eq!(result.as_deref(), Ok(outcomes.as_slice()));
        } else {
            assert_eq!(result, Err(size(Part::IndexKeys, len)));
        }
    }
    assert_eq!(block_on(store.count()), Ok(1));
    let len = MAX_BATCH + 1;
    let many = vec![delete(vec![]); len];
    assert_eq!(
        block_on(store.write(None, many)),
        Err(size(Part::Batch, len))
    );
    assert_eq!(
        block_on(store.rows(vec![token(1); len])),
        Err(size(Part::Batch, len))
    );
    assert_eq!(
        block_on(store.find(vec![index(1); len])),
        Err(size(Part::Batch, len))
    );
    let most = block_on(store.rows(vec![token(3); MAX_BATCH])).unwrap();
    assert!(most.len() == MAX_BATCH && most.iter().all(Option::is_some));
}

pub fn dangling_index<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let r = row("r");
    write(store, vec![insert(token(1), r.clone(), &[index(1)], true)]);
    // A writer that forgets the index key leaves its entry behind.
    let forgetful = Write::Delete {
        token: token(1),
        expected: r.clone(),
        index: vec![],
    };
    assert_eq!(one(store, forgetful), WriteOutcome::Deleted);
    // An entry that names no row is none, and the next one takes its place.
    assert_eq!(find(store, index(1)), Found::default());
    let both = [index(1), index(2)];
    write(store, vec![insert(token(2), r.clone(), &[index(2)], true)]);
    let outcome = one(store, insert(token(3), r.clone(), &both, true));
    let winner = WriteOutcome::Exists {
        token: token(2),
        row: r.clone(),
    };
    assert_eq!(outcome, winner);
    let found = Some((token(2), r.clone()));
    assert_eq!(find(store, index(1)).unique, found);
    let forgetful = Write::Delete {
        token: token(2),
        expected: r.clone(),
        index: vec![],
    };
    let fresh = insert(token(4), r.clone(), &both, true);
    let outcomes = write(store, vec![forgetful, fresh]);
    assert_eq!(outcomes, [WriteOutcome::Deleted, WriteOutcome::Inserted]);
    let found = Some((token(4), r));
    assert_eq!(find(store, index(1)).unique, found);
    assert_eq!(find(store, index(2)).unique, found);
    assert_eq!(block_on(store.count()), Ok(1));
}

pub fn index_keys_do_not_mix<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let key = |bytes: &[u8]| IndexKey::new(bytes).unwrap();
    let name = |bytes: &[u8]| RowKey::new(bytes).unwrap();
    let keys: [&[u8]; 6] = [b"a", b"ab", b"abc", b"b", b"a\0", &[1]];
    let tokens: [&[u8]; 6] = [b"b", b"bc", b"c", b"ab", b"\0", b"a"];
    let mut writes = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        writes.push(insert(name(token), row("r"), &[key(keys[at])], false));
        let unique = [b"u".as_slice(), token].concat();
        writes.push(insert(name(&unique), row("r"), &[key(keys[at])], true));
    }
    assert!(
        write(store, writes)
            .iter()
            .all(|outcome| *outcome == WriteOutcome::Inserted)
    );
    for (at, token) in tokens.iter().enumerate() {
        let found = find(store, key(keys[at]));
        assert_eq!(found.others, [name(token)]);
        assert_eq!(
            found.unique.unwrap().0.as_bytes(),
            [b"u".as_slice(), token].concat()
        );
    }
}

pub fn scan_pages<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    // Keys that are prefixes of each other, and bytes over 0x7f, in byte order.
    let mut keys: Vec<Vec<u8>> = vec![vec![0], vec![0, 0], vec![0, 1], vec![0x7f], vec![0x80]];
    keys.extend((0..40).map(|n| vec![0x90, n]));
    keys.extend([vec![0xff], vec![0xff; 80]]);
    let named = |bytes: &Vec<u8>| (RowKey::new(bytes).unwrap(), Row::new(bytes).unwrap());
    let expected: Vec<_> = keys.iter().map(named).collect();
    let writes = expected.iter().rev();
    let writes = writes.map(|(key, row)| insert(*key, row.clone(), &[index(1)], false));
    write(store, writes.collect());
    for limit in [1, 2, 5, 46, 47, 48, usize::MAX] {
        let mut seen: Vec<(RowKey, Row)> = Vec::new();
        loop {
            let page = block_on(store.scan(seen.last().map(|(key, _)| *key), limit)).unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, expected, "in pages of {limit}");
    }
    assert_eq!(block_on(store.scan(None, 0)), Ok(vec![]));
    let between = RowKey::new(&[0x90, 3, 1]).unwrap();
    assert_eq!(
        block_on(store.scan(Some(between), 1)),
        Ok(vec![named(&vec![0x90, 4])])
    );
    assert_eq!(block_on(store.count()), Ok(47));
}

pub fn one_winner_among_64<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    const CALLERS: usize = 64;
    let store = &*make();
    for round in 0..8 {
        let start = Barrier::new(CALLERS);
        let results: Vec<_> = thread::scope(|scope| {
            let caller = |n: usize| {
                let start = &start;
                scope.spawn(move || {
                    // Every other one knows the next index version too.
                    let both = [index(2 * round), index(2 * round + 1)];
                    let keys = &both[..1 + n % 2];
                    let mine = token(round * CALLERS + n);
                    start.wait();
                    (
                        mine,
                        one(store, insert(mine, row(&n.to_string()), keys, true)),
                    )
                })
            };
            let callers: Vec<_> = (0..CALLERS).map(caller).collect();
            callers
                .into_iter()
                .map(|caller| caller.join().unwrap())
                .collect()
        });
        let inserted = |outcome: &&(RowKey, WriteOutcome)| outcome.1 == WriteOutcome::Inserted;
        let winners: Vec<_> = results.iter().filter(inserted).collect();
        assert_eq!(winners.len(), 1);
        let winner = winners[0].0;
        let winners_row = get(store, winner).unwrap();
        for (mine, outcome) in &results {
            if *mine != winner {
                let expected = WriteOutcome::Exists {
                    token: winner,
                    row: winners_row.clone(),
                };
                assert_eq!(*outcome, expected);
                assert_eq!(get(store, *mine), None);
            }
        }
        for key in [index(2 * round), index(2 * round + 1)] {
            let found = find(store, key);
            assert_eq!(found.unique, Some((winner, winners_row.clone())));
            assert!(found.others.is_empty());
        }
        assert_eq!(block_on(store.count()), Ok(round as u64 + 1));
    }
}

pub fn compare_and_swap_races<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    const CALLERS: usize = 8;
    const ROUNDS: usize = 20;
    let store = &*make();
    write(
        store,
        vec![insert(token(1), row("start"), &[index(1)], true)],
    );
    let together = Barrier::new(CALLERS);
    for round in 0..ROUNDS {
        let swap = |caller: usize| {
            // All have read before the first writes.
            let expected = get(store, token(1)).unwrap();
            together.wait();
            let mine = row(&format!("{round} {caller}"));
            let swap = Write::Replace {
                token: token(1),
                expected,
                row: mine.clone(),
            };
            (mine, one(store, swap))
        };
        let results: Vec<_> = thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|n| {
                    scope.spawn({
                        let swap = &swap;
                        move || swap(n)
                    })
                })
                .collect();
            callers
                .into_iter()
                .map(|caller| caller.join().unwrap())
                .collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results
            .into_iter()
            .partition(|(_, outcome)| *outcome == WriteOutcome::Replaced);
        assert_eq!(won.len(), 1);
        assert!(
            lost.iter()
                .all(|(_, outcome)| *outcome == WriteOutcome::Changed)
        );
        assert_eq!(get(store, token(1)).as_ref(), Some(&won[0].0));
    }
}

pub fn reads_see_whole_batches<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let pair = |text: &str| {
        vec![
            insert(token(1), row(text), &[index(1)], true),
            insert(token(2), row(text), &[index(1)], false),
        ]
    };
    write(store, pair("0"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let rows = block_on(store.rows(vec![token(1), token(2)])).unwrap();
                    assert_eq!(rows[0], rows[1]);
                    assert!(rows[0].is_some());
                    let scanned = block_on(store.scan(None, 2)).unwrap();
                    assert_eq!(scanned[0].1, scanned[1].1);
                }
            });
        }
        for n in 0..100 {
            let swap = |t| Write::Replace {
                token: token(t),
                expected: row(&n.to_string()),
                row: row(&(n + 1).to_string()),
            };
            assert_eq!(
                write(store, vec![swap(1), swap(2)]),
                [const { WriteOutcome::Replaced }; 2]
            );
            // A caller sees its own write once it is acknowledged.
            assert_eq!(get(store, token(1)), Some(row(&(n + 1).to_string())));
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Polls a write once and drops it.
fn begin_and_drop(store: &impl Store, writes: Vec<Write>) {
    let mut context = Context::from_waker(Waker::noop());
    let mut future = pin!(store.write(None, writes));
    let _ = future.as_mut().poll(&mut context);
}

/// Each row is there with both of its index entries, or neither it nor they are.
fn assert_whole(store: &impl Store, tokens: core::ops::Range<usize>, unique: bool) -> usize {
    let mut there = 0;
    for n in tokens {
        let stored = get(store, token(n));
        there += usize::from(stored.is_some());
        for key in [index(2 * n), index(2 * n + 1)] {
            let found = find(store, key);
            if unique {
                let expected = stored.clone().map(|row| (token(n), row));
                assert_eq!(found.unique, expected, "row {n}");
            } else {
                assert_eq!(
                    found.others.contains(&token(n)),
                    stored.is_some(),
                    "row {n}"
                );
            }
        }
    }
    there
}

pub fn dropped_callers<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    const ROUNDS: usize = 300;
    let store = &*make();
    for unique in [true, false] {
        let base = if unique { 0 } else { 100_000 };
        for n in base..base + ROUNDS {
            let keys = [index(2 * n), index(2 * n + 1)];
            begin_and_drop(store, vec![insert(token(n), row("r"), &keys, unique)]);
            if n % 10 == 0 {
                // Some are committing while the next is dropped.
                write(
                    store,
                    vec![insert(token(n + 50_000), row("s"), &[index(9)], false)],
                );
            }
        }
        // The store is in order of arrival, so that this one is the last.
        write(
            store,
            vec![insert(token(base + 49_999), row("s"), &[index(9)], false)],
        );
        let there = assert_whole(store, base..base + ROUNDS, unique);
        assert!(there <= ROUNDS);
    }
    let rows = all(store).len() as u64;
    assert_eq!(block_on(store.count()), Ok(rows));
}

pub fn dropped_among_living<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    const CALLERS: usize = 8;
    const STEPS: usize = 40;
    let store = &*make();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            scope.spawn(move || {
                for step in 0..STEPS {
                    let n = caller * STEPS + step;
                    let keys = [index(2 * n), index(2 * n + 1)];
                    let batch = vec![insert(token(n), row("r"), &keys, true)];
                    if caller % 2 == 0 {
                        assert_eq!(write(store, batch), [WriteOutcome::Inserted]);
                    } else {
                        begin_and_drop(store, batch);
                    }
                }
            });
        }
    });
    write(
        store,
        vec![insert(
            token(1_000_000),
            row("s"),
            &[index(1_000_000)],
            false,
        )],
    );
    for caller in 0..CALLERS {
        let range = caller * STEPS..(caller + 1) * STEPS;
        let there = assert_whole(store, range, true);
        if caller % 2 == 0 {
            assert_eq!(there, STEPS);
        }
    }
}

/// The store as a list of rows and a list of entries, slow and plain.
#[derive(Clone, Default)]
struct Model {
    rows: BTreeMap<u8, u8>,
    /// Index key, unique, token.
    entries: Vec<(u8, bool, u8)>,
    guard: Option<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Insert {
        token: u8,
        row: u8,
        index: Vec<u8>,
        unique: bool,
    },
    Replace {
        token: u8,
        expected: u8,
        row: u8,
    },
    Delete {
        token: u8,
        expected: u8,
    },
    Guard {
        expected: Option<u8>,
        guard: u8,
    },
}

impl Model {
    fn unique(&self, key: u8) -> Option<u8> {
        self.entries
            .iter()
            .find(|entry| entry.0 == key && entry.1)
            .map(|entry| entry.2)
    }

    fn step(&mut self, step: &Step) -> WriteOutcome {
        match *step {
            Step::Insert {
                token,
                row,
                ref index,
                unique,
            } => {
                if unique && let Some(winner) = index.iter().find_map(|key| self.unique(*key)) {
                    for key in index {
                        if self.unique(*key).is_none() {
                            self.entries.push((*key, true, winner));
                        }
                    }
                    let row = small_row(self.rows[&winner]);
                    return WriteOutcome::Exists {
                        token: small_token(winner),
                        row,
                    };
                }
                if self.rows.contains_key(&token) {
                    return WriteOutcome::TokenTaken;
                }
                self.rows.insert(token, row);
                for key in index {
                    self.entries.push((*key, unique, token));
                }
                WriteOutcome::Inserted
            }
            Step::Replace {
                token,
                expected,
                row,
            } => match self.rows.get_mut(&token) {
                None => WriteOutcome::Missing,
                Some(stored) if *stored != expected => WriteOutcome::Changed,
                Some(stored) => {
                    *stored = row;
                    WriteOutcome::Replaced
                }
            },
            Step::Delete { token, expected } => match self.rows.get(&token) {
                None => WriteOutcome::Missing,
                Some(stored) if *stored != expected => WriteOutcome::Changed,
                Some(_) => {
                    self.rows.remove(&token);
                    self.entries.retain(|entry| entry.2 != token);
                    WriteOutcome::Deleted
                }
            },
            Step::Guard { expected, guard } => {
                if self.guard != expected {
                    return WriteOutcome::GuardChanged(self.guard.map(small_guard));
                }
                self.guard = Some(guard);
                WriteOutcome::Guarded
            }
        }
    }

    /// The index keys a careful writer names: at most two, so that all of a row's entries go.
    fn keys_of(&self, token: u8) -> Vec<u8> {
        let mut keys: Vec<u8> = self
            .entries
            .iter()
            .filter(|entry| entry.2 == token)
            .map(|entry| entry.0)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

fn small_token(n: u8) -> RowKey {
    RowKey::new(&[b't', n]).unwrap()
}

fn small_index(n: u8) -> IndexKey {
    IndexKey::new(&[b'i', n]).unwrap()
}

fn small_row(n: u8) -> Row {
    Row::new(&[n; 3]).unwrap()
}

fn small_guard(n: u8) -> Guard {
    Guard::new(&[n; 2]).unwrap()
}

fn step() -> impl Strategy<Value = Step> {
    // Index keys come in pairs, as two versions of one fingerprint do.
    let index = (0u8..4, 0u8..4).prop_map(|(card, which)| match which {
        0 => vec![2 * card],
        1 => vec![2 * card + 1],
        2 => vec![2 * card, 2 * card + 1],
        _ => vec![2 * card + 1, 2 * card],
    });
    prop_oneof![
        6 => (0u8..12, 0u8..3, index, any::<bool>())
            .prop_map(|(token, row, index, unique)| Step::Insert { token, row, index, unique }),
        3 => (0u8..12, 0u8..3, 0u8..3)
            .prop_map(|(token, expected, row)| Step::Replace { token, expected, row }),
        3 => (0u8..12, 0u8..3).prop_map(|(token, expected)| Step::Delete { token, expected }),
        1 => (prop::option::of(0u8..2), 0u8..2)
            .prop_map(|(expected, guard)| Step::Guard { expected, guard }),
    ]
}

fn to_write(model: &Model, step: &Step) -> Write {
    match *step {
        Step::Insert {
            token,
            row,
            ref index,
            unique,
        } => insert(
            small_token(token),
            small_row(row),
            &index.iter().copied().map(small_index).collect::<Vec<_>>(),
            unique,
        ),
        Step::Replace {
            token,
            expected,
            row,
        } => Write::Replace {
            token: small_token(token),
            expected: small_row(expected),
            row: small_row(row),
        },
        Step::Delete { token, expected } => Write::Delete {
            token: small_token(token),
            expected: small_row(expected),
            index: model.keys_of(token).into_iter().map(small_index).collect(),
        },
        Step::Guard { expected, guard } => Write::Guard {
            expected: expected.map(small_guard),
            guard: small_guard(guard),
        },
    }
}

pub fn model<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let batches = prop::collection::vec(
        (
            prop::option::weighted(0.2, 0u8..2),
            prop::collection::vec(step(), 0..12),
        ),
        1..8,
    );
    let config = Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&batches, |batches| {
        let store = make();
        let mut model = Model::default();
        for (under, steps) in batches {
            let mut next = model.clone();
            let mut writes = Vec::new();
            let mut expected = Vec::new();
            for step in &steps {
                writes.push(to_write(&next, step));
                expected.push(next.step(step));
            }
            let outcomes = block_on(store.write(under.map(small_guard), writes));
            if under.is_some() && under != model.guard {
                prop_assert_eq!(outcomes, Err(StoreError::GuardChanged));
            } else {
                prop_assert_eq!(outcomes, Ok(expected));
                model = next;
            }
        }
        let rows: Vec<_> = model
            .rows
            .iter()
            .map(|(key, row)| (small_token(*key), small_row(*row)))
            .collect();
        prop_assert_eq!(block_on(store.count()), Ok(rows.len() as u64));
        prop_assert_eq!(all(&*store), rows);
        prop_assert_eq!(block_on(store.guard()), Ok(model.guard.map(small_guard)));
        let found = block_on(store.find((0..8).map(small_index).collect())).unwrap();
        for (key, found) in (0u8..8).zip(found) {
            let unique = model.unique(key);
            let unique = unique.map(|token| (small_token(token), small_row(model.rows[&token])));
            let mut others: Vec<_> = model
                .entries
                .iter()
                .filter(|e| e.0 == key && !e.1)
                .collect();
            others.sort();
            others.dedup();
            let others = others
                .into_iter()
                .map(|entry| small_token(entry.2))
                .collect();
            prop_assert_eq!(
                found,
                Found {
                    unique,
                    others,
                    more: false
                }
            );
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
