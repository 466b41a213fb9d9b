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
    Found, Guard, IndexKey, Item, MAX_ALL, MAX_BATCH, MAX_FOUND, MAX_INDEX_KEYS, MAX_KEY, Part,
    Row, RowKey, Snapshot, SnapshotStore, Store, StoreError, Write, WriteOutcome,
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
            others_are_many, delete_takes_entries, guards, guards_of_empty, limits, dangling_index,
            index_keys_do_not_mix, scan_pages, scan_ends, links, reindexed, others_in_pages, groups,
            group_limits, one_winner_among_64, compare_and_swap_races,
            reads_see_whole_batches, replaced_in_order, replaced_in_order_races, dropped_callers,
            dropped_among_living, model, puts);
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

/// The same for stores that give snapshots.
#[macro_export]
macro_rules! snapshot_suite {
    ($make:expr) => {
        $crate::conformance_suite!(@ $make;
            snapshots_are_of_one_moment, snapshots_are_in_order, snapshots_of_nothing);
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
        let page = block_on(store.scan(rows.last().map(|(key, _)| *key), None, 7)).unwrap();
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
    assert_eq!(block_on(store.scan(None, None, 10)), Ok(vec![]));
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

pub fn guards_of_empty<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let (one_, two) = (guard("generation 1"), guard("generation 2"));
    let set = |expected: Option<&Guard>, guard: &Guard, end| Write::GuardOfEmpty {
        expected: expected.cloned(),
        guard: guard.clone(),
        end: token(end),
    };
    let entry = |t| insert(token(t), row("r"), &[index(t)], true);
    assert_eq!(one(store, entry(5)), WriteOutcome::Inserted);
    assert_eq!(one(store, set(None, &one_, 6)), WriteOutcome::NotEmpty);
    assert_eq!(block_on(store.guard()), Ok(None));
    // What stands behind is another's.
    assert_eq!(one(store, set(None, &one_, 5)), WriteOutcome::Guarded);
    let changed = WriteOutcome::GuardChanged(Some(one_.clone()));
    assert_eq!(one(store, set(None, &two, 5)), changed);
    // A row of the same batch counts, before it and behind it in the batch, and in a group.
    let outcomes = write(store, vec![entry(3), set(Some(&one_), &two, 5)]);
    assert_eq!(outcomes, [WriteOutcome::Inserted, WriteOutcome::NotEmpty]);
    let group = Write::All(vec![entry(2), set(Some(&one_), &two, 3)]);
    let refused = WriteOutcome::Refused {
        at: 1,
        outcome: Box::new(WriteOutcome::NotEmpty),
    };
    assert_eq!(one(store, group), refused);
    let outcomes = write(store, vec![set(Some(&one_), &two, 3), entry(2)]);
    assert_eq!(outcomes, [WriteOutcome::Guarded, WriteOutcome::Inserted]);
    assert_eq!(block_on(store.guard()), Ok(Some(two)));
}

pub fn limits<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let size = |part, len| StoreError::Size { part, len };
    let delete = |keys| Write::Delete {
        token: token(1),
        expected: row(""),
        index: keys,
    };
    let over = MAX_INDEX_KEYS + 1;
    for (keys, is_delete, good) in [
        (0, false, false),
        (over, false, false),
        (0, true, true),
        (over, true, false),
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
            let page = block_on(store.scan(seen.last().map(|(key, _)| *key), None, limit)).unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, expected, "in pages of {limit}");
    }
    assert_eq!(block_on(store.scan(None, None, 0)), Ok(vec![]));
    let between = RowKey::new(&[0x90, 3, 1]).unwrap();
    assert_eq!(
        block_on(store.scan(Some(between), None, 1)),
        Ok(vec![named(&vec![0x90, 4])])
    );
    assert_eq!(block_on(store.count()), Ok(47));
}

pub fn scan_ends<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let writes = (0..20).map(|n| insert(token(n), row("r"), &[], false));
    write(store, writes.collect());
    let bounds: Vec<_> = [None]
        .into_iter()
        .chain((0..20).step_by(3).map(Some))
        .collect();
    for after in &bounds {
        for end in &bounds {
            let scanned = block_on(store.scan(after.map(token), end.map(token), 7)).unwrap();
            let first = after.map_or(0, |after| after + 1);
            let expected: Vec<_> = (first..end.unwrap_or(20)).take(7).map(token).collect();
            let keys: Vec<_> = scanned.into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, expected, "after {after:?} before {end:?}");
        }
    }
}

pub fn links<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let link = |t, add: &[usize], remove: &[usize]| Write::Link {
        token: token(t),
        add: add.iter().copied().map(index).collect(),
        remove: remove.iter().copied().map(index).collect(),
    };
    let named = |i| find(store, index(i)).others;
    assert_eq!(one(store, link(1, &[1], &[])), WriteOutcome::Missing);
    assert_eq!(find(store, index(1)), Found::default());
    write(store, vec![insert(token(1), row("r"), &[index(1)], true)]);
    assert_eq!(one(store, link(1, &[1, 2, 3], &[])), WriteOutcome::Linked);
    assert_eq!(one(store, link(1, &[3], &[2, 4])), WriteOutcome::Linked);
    assert_eq!(one(store, link(1, &[5], &[5])), WriteOutcome::Linked);
    for (i, expected) in [(1, 1), (2, 0), (3, 1), (4, 0), (5, 1)] {
        assert_eq!(named(i), vec![token(1); expected], "{i}");
    }
    // A unique entry stays, whatever is taken away.
    assert_eq!(one(store, link(1, &[], &[1])), WriteOutcome::Linked);
    let found = find(store, index(1));
    assert_eq!(found.unique, Some((token(1), row("r"))));
    assert_eq!(found.others, []);
    let delete = Write::Delete {
        token: token(1),
        expected: row("r"),
        index: [1, 3, 5].map(index).to_vec(),
    };
    assert_eq!(one(store, delete), WriteOutcome::Deleted);
    for i in 1..6 {
        assert_eq!(find(store, index(i)), Found::default(), "{i}");
    }
}

pub fn reindexed<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let reindex = |t, was: &str, is: &str, add: &[usize], remove: &[usize], unique| {
        let write = Write::Reindex {
            token: token(t),
            expected: row(was),
            row: row(is),
            add: add.iter().copied().map(index).collect(),
            remove: remove.iter().copied().map(index).collect(),
            unique,
        };
        one(store, write)
    };
    let owner = |i| find(store, index(i)).unique.map(|(token, _)| token);
    let named = |i| find(store, index(i)).others;
    // Nothing of it without its row, or with another one.
    assert_eq!(
        reindex(1, "r", "s", &[2], &[1], true),
        WriteOutcome::Missing
    );
    write(store, vec![insert(token(1), row("r"), &[index(1)], true)]);
    assert_eq!(
        reindex(1, "q", "s", &[2], &[1], true),
        WriteOutcome::Changed
    );
    assert_eq!((owner(1), owner(2)), (Some(token(1)), None));
    // Beside the old entry, again, and then in its place with another row.
    for _ in 0..2 {
        assert_eq!(reindex(1, "r", "r", &[2], &[], true), WriteOutcome::Linked);
        assert_eq!((owner(1), owner(2)), (Some(token(1)), Some(token(1))));
    }
    assert_eq!(reindex(1, "r", "s", &[2], &[1], true), WriteOutcome::Linked);
    assert_eq!((owner(1), owner(2)), (None, Some(token(1))));
    assert_eq!(get(store, token(1)), Some(row("s")));
    // Who is there stays, also behind another key, and nothing else of the write is done.
    write(store, vec![insert(token(2), row("t"), &[index(3)], true)]);
    let there = WriteOutcome::Exists {
        token: token(1),
        row: row("s"),
    };
    assert_eq!(reindex(2, "t", "u", &[4, 2], &[3], true), there);
    assert_eq!((owner(3), owner(4)), (Some(token(2)), None));
    assert_eq!(get(store, token(2)), Some(row("t")));
    // Removed first.
    assert_eq!(reindex(2, "t", "t", &[3], &[3], true), WriteOutcome::Linked);
    assert_eq!(owner(3), Some(token(2)));
    // An entry that names no row is none.
    let delete = Write::Delete {
        token: token(1),
        expected: row("s"),
        index: Vec::new(),
    };
    assert_eq!(one(store, delete), WriteOutcome::Deleted);
    assert_eq!(reindex(2, "t", "t", &[2], &[], true), WriteOutcome::Linked);
    assert_eq!(owner(2), Some(token(2)));
    // Entries that are not unique go beside whatever is there; both kinds are removed.
    write(store, vec![insert(token(3), row("v"), &[index(5)], false)]);
    let outcome = reindex(3, "v", "w", &[2, 6], &[5], false);
    assert_eq!(outcome, WriteOutcome::Linked);
    assert_eq!((owner(2), named(2)), (Some(token(2)), vec![token(3)]));
    assert_eq!((named(5), named(6)), (vec![], vec![token(3)]));
    assert_eq!(reindex(2, "t", "t", &[], &[2], false), WriteOutcome::Linked);
    assert_eq!((owner(2), named(2)), (None, vec![token(3)]));
    // Each sees what the ones before it did, and a group does all or nothing.
    let step = |t, was: &str, add: &[usize]| Write::Reindex {
        token: token(t),
        expected: row(was),
        row: row("x"),
        add: add.iter().copied().map(index).collect(),
        remove: Vec::new(),
        unique: true,
    };
    let there = WriteOutcome::Exists {
        token: token(2),
        row: row("x"),
    };
    assert_eq!(
        write(store, vec![step(2, "t", &[7]), step(3, "w", &[7])]),
        [WriteOutcome::Linked, there.clone()]
    );
    let refused = WriteOutcome::Refused {
        at: 1,
        outcome: Box::new(there),
    };
    let group = Write::All(vec![step(2, "x", &[8]), step(3, "w", &[8])]);
    assert_eq!(one(store, group), refused);
    assert_eq!(owner(8), None);
    let many: Vec<_> = (0..=MAX_INDEX_KEYS).collect();
    let refused = block_on(store.write(None, vec![step(2, "x", &many)]));
    assert_eq!(
        refused,
        Err(StoreError::Size {
            part: Part::IndexKeys,
            len: MAX_INDEX_KEYS + 1
        })
    );
}

pub fn others_in_pages<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let count = MAX_FOUND + 20;
    let fresh = (0..count).map(|n| insert(token(n), row("r"), &[index(1), index(3)], false));
    write(store, fresh.collect());
    write(
        store,
        vec![insert(token(900), row("u"), &[index(1), index(2)], true)],
    );
    for limit in [1, 7, count, count + 1, usize::MAX] {
        let mut seen = Vec::new();
        loop {
            let after = seen.last().copied();
            let page = block_on(store.others(index(1), after, None, limit)).unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, (0..count).map(token).collect::<Vec<_>>(), "{limit}");
    }
    let between = |after, end| block_on(store.others(index(1), after, end, 1000)).unwrap();
    assert_eq!(
        between(Some(token(3)), Some(token(6))),
        [token(4), token(5)]
    );
    assert_eq!(between(None, Some(token(2))), [token(0), token(1)]);
    assert_eq!(between(Some(token(6)), Some(token(6))), []);
    assert_eq!(between(Some(token(7)), Some(token(6))), []);
    assert_eq!(between(Some(token(count)), None), []);
    assert_eq!(block_on(store.others(index(2), None, None, 10)), Ok(vec![]));
    assert_eq!(block_on(store.others(index(9), None, None, 10)), Ok(vec![]));
    assert_eq!(block_on(store.others(index(1), None, None, 0)), Ok(vec![]));
}

pub fn groups<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let (a, b) = (row("a"), row("b"));
    let unique = |t, r: &Row, i| insert(token(t), r.clone(), &[index(i)], true);
    let replace = |t, expected: &Row, row: &Row| Write::Replace {
        token: token(t),
        expected: expected.clone(),
        row: row.clone(),
    };
    let link = |t, i| Write::Link {
        token: token(t),
        add: vec![index(i)],
        remove: vec![],
    };
    let refused = |at, outcome| WriteOutcome::Refused {
        at,
        outcome: Box::new(outcome),
    };
    // Each sees the ones before it, within its group and before it.
    let outcomes = write(
        store,
        vec![
            unique(1, &a, 1),
            Write::All(vec![
                unique(2, &a, 2),
                replace(2, &a, &b),
                link(2, 7),
                replace(1, &a, &b),
            ]),
            replace(1, &b, &a),
        ],
    );
    let applied = WriteOutcome::All(vec![
        WriteOutcome::Inserted,
        WriteOutcome::Replaced,
        WriteOutcome::Linked,
        WriteOutcome::Replaced,
    ]);
    assert_eq!(
        outcomes,
        [WriteOutcome::Inserted, applied, WriteOutcome::Replaced]
    );
    let before = (all(store), find(store, index(7)));
    assert_eq!(before.0, [(token(1), a.clone()), (token(2), b.clone())]);
    assert_eq!(before.1.others, [token(2)]);
    // One refusal and nothing of the group is there, whatever its kind and its place.
    let winner = WriteOutcome::Exists {
        token: token(1),
        row: a.clone(),
    };
    let delete = |t, expected: &Row| Write::Delete {
        token: token(t),
        expected: expected.clone(),
        index: vec![index(2), index(7)],
    };
    let guarded = |expected| Write::Guard {
        expected,
        guard: guard("g"),
    };
    for (write_refused, outcome) in [
        (unique(3, &a, 1), winner),
        (unique(1, &a, 3), WriteOutcome::TokenTaken),
        (replace(1, &b, &a), WriteOutcome::Changed),
        (replace(4, &b, &a), WriteOutcome::Missing),
        (delete(2, &a), WriteOutcome::Changed),
        (link(4, 1), WriteOutcome::Missing),
        (
            guarded(Some(guard("other"))),
            WriteOutcome::GuardChanged(None),
        ),
    ] {
        // A guard is set last, so that the refused one still sees none.
        let mut good = vec![
            replace(1, &a, &b),
            unique(5, &a, 5),
            link(1, 8),
            delete(2, &b),
        ];
        if !matches!(
            write_refused,
            Write::Guard { .. } | Write::Replace { .. } | Write::Delete { .. }
        ) {
            good = vec![unique(5, &a, 5), link(5, 8), delete(2, &b)];
        }
        for at in [0, good.len()] {
            let mut group = good.clone();
            if at > 0
                && !matches!(
                    write_refused,
                    Write::Insert { .. } | Write::Link { .. } | Write::Guard { .. }
                )
            {
                group = vec![unique(5, &a, 5), link(5, 8)];
            }
            let at = at.min(group.len());
            group.insert(at, write_refused.clone());
            let outcomes = write(store, vec![Write::All(group), unique(9, &a, 9)]);
            assert_eq!(outcomes[0], refused(at, outcome.clone()));
            assert_eq!(outcomes[1], WriteOutcome::Inserted);
            let gone = Write::Delete {
                token: token(9),
                expected: a.clone(),
                index: vec![index(9)],
            };
            assert_eq!(one(store, gone), WriteOutcome::Deleted);
            assert_eq!((all(store), find(store, index(7))), before);
            for i in [3, 5, 8] {
                assert_eq!(find(store, index(i)), Found::default());
            }
            assert_eq!(block_on(store.guard()), Ok(None));
        }
    }
    // A batch under another guard leaves its groups alone.
    let group = vec![Write::All(vec![unique(5, &a, 5)])];
    let under = block_on(store.write(Some(guard("x")), group));
    assert_eq!(under, Err(StoreError::GuardChanged));
    assert_eq!(all(store), before.0);
}

pub fn group_limits<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let size = |part, len| Err(StoreError::Size { part, len });
    let plain = |n: usize| insert(token(n), row("r"), &[], false);
    let many = |from: usize, to: usize| Write::All((from..to).map(plain).collect());
    let write = |writes| block_on(store.write(None, writes));
    assert_eq!(write(vec![Write::All(vec![])]), size(Part::All, 0));
    assert_eq!(
        write(vec![many(0, MAX_ALL + 1)]),
        size(Part::All, MAX_ALL + 1)
    );
    let nested = Write::All(vec![plain(1), Write::All(vec![plain(2), plain(3)])]);
    assert_eq!(write(vec![nested]), size(Part::Nested, 2));
    let keys: Vec<_> = (0..=MAX_INDEX_KEYS).map(index).collect();
    let crowded = Write::All(vec![insert(token(1), row("r"), &keys, true)]);
    assert_eq!(write(vec![crowded]), size(Part::IndexKeys, keys.len()));
    for (add, remove) in [(keys.clone(), vec![]), (vec![], keys.clone())] {
        let link = Write::Link {
            token: token(1),
            add,
            remove,
        };
        assert_eq!(write(vec![link]), size(Part::IndexKeys, keys.len()));
    }
    // The writes of groups count one by one.
    let over = vec![many(0, MAX_ALL), many(0, MAX_ALL), plain(1)];
    assert_eq!(write(over), size(Part::Batch, 2 * MAX_ALL + 1));
    assert_eq!(2 * MAX_ALL, MAX_BATCH);
    assert_eq!(block_on(store.count()), Ok(0));
    let most = write(vec![many(0, MAX_ALL), many(MAX_ALL, MAX_BATCH)]).unwrap();
    assert!(most.iter().all(WriteOutcome::is_applied));
    assert_eq!(block_on(store.count()), Ok(MAX_BATCH as u64));
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
                    let scanned = block_on(store.scan(None, None, 2)).unwrap();
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

/// A pass over the rows: some as expected, some changed, some gone, near each other and far apart.
pub fn replaced_in_order<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    const ROWS: usize = 400;
    let store = &*make();
    let (old, new) = (row("old"), row("new"));
    let inserts = (0..ROWS).filter(|n| n % 7 != 3);
    let inserts = inserts.map(|n| insert(token(n), row(&n.to_string()), &[], false));
    write(store, inserts.collect());
    let mut stored: BTreeMap<usize, Row> = all(store)
        .into_iter()
        .zip((0..ROWS).filter(|n| n % 7 != 3))
        .map(|((_, row), n)| (n, row))
        .collect();
    for (round, stride) in [1, 2, 4, 9, 40, 1].into_iter().enumerate() {
        // One gap in the middle, and beyond the last row.
        let keys = (round..ROWS + 3).filter(|n| n % stride == 0 && !(100..170).contains(n));
        let (mut writes, mut outcomes) = (Vec::new(), Vec::new());
        for n in keys {
            let there = stored.get(&n).cloned();
            let expected = match there {
                Some(ref there) if n % 5 != round % 5 => there.clone(),
                _ => old.clone(),
            };
            outcomes.push(match there {
                None => WriteOutcome::Missing,
                Some(there) if there == expected => WriteOutcome::Replaced,
                Some(_) => WriteOutcome::Changed,
            });
            if outcomes.last() == Some(&WriteOutcome::Replaced) {
                stored.insert(n, new.clone());
            }
            writes.push(Write::Replace {
                token: token(n),
                expected,
                row: new.clone(),
            });
        }
        for outcome in [
            WriteOutcome::Missing,
            WriteOutcome::Changed,
            WriteOutcome::Replaced,
        ] {
            assert!(outcomes.contains(&outcome) || stride == 40);
        }
        assert_eq!(write(store, writes), outcomes, "every {stride}");
        let now: Vec<_> = stored
            .iter()
            .map(|(n, row)| (token(*n), row.clone()))
            .collect();
        assert_eq!(all(store), now, "every {stride}");
    }
    // Against the order, and one row twice.
    let replace = |n: usize, expected: &Row, row: &Row| Write::Replace {
        token: token(n),
        expected: expected.clone(),
        row: row.clone(),
    };
    let (first, second) = (row("first"), row("second"));
    for n in [11, 30] {
        let stored = stored[&n].clone();
        assert_eq!(
            one(store, replace(n, &stored, &old)),
            WriteOutcome::Replaced
        );
    }
    let back = vec![
        replace(30, &old, &first),
        replace(11, &old, &first),
        replace(11, &first, &second),
        replace(11, &first, &old),
    ];
    let outcomes = write(store, back);
    assert_eq!(outcomes[..3], [const { WriteOutcome::Replaced }; 3]);
    assert_eq!(outcomes[3], WriteOutcome::Changed);
    assert_eq!(get(store, token(11)), Some(second.clone()));
    assert_eq!(get(store, token(30)), Some(first.clone()));
    let twice = vec![
        replace(11, &second, &first),
        replace(11, &first, &old),
        replace(30, &first, &old),
    ];
    assert_eq!(write(store, twice), [const { WriteOutcome::Replaced }; 3]);
}

/// Such passes beside each other: each row counts exactly the steps that were told to be taken.
pub fn replaced_in_order_races<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    const ROWS: usize = 30;
    let store = &*make();
    let counter = |n: u32| row(&n.to_string());
    let inserts = (0..ROWS).map(|n| insert(token(n), counter(0), &[], false));
    write(store, inserts.collect());
    let start = Barrier::new(8);
    let taken: Vec<Vec<u32>> = thread::scope(|scope| {
        let passing: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut taken = vec![0; ROWS];
                    start.wait();
                    for _ in 0..20 {
                        let keys = (0..ROWS).map(token).collect();
                        let found = block_on(store.rows(keys)).unwrap();
                        let step = |(n, found): (usize, Option<Row>)| {
                            let expected = found.unwrap();
                            let text = core::str::from_utf8(expected.as_bytes()).unwrap();
                            let row = counter(text.parse::<u32>().unwrap() + 1);
                            Write::Replace {
                                token: token(n),
                                expected,
                                row,
                            }
                        };
                        let steps = found.into_iter().enumerate().map(step).collect();
                        for (taken, outcome) in taken.iter_mut().zip(write(store, steps)) {
                            match outcome {
                                WriteOutcome::Replaced => *taken += 1,
                                outcome => assert_eq!(outcome, WriteOutcome::Changed),
                            }
                        }
                    }
                    taken
                })
            })
            .collect();
        passing.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for (n, (_, row)) in all(store).into_iter().enumerate() {
        let sum = taken.iter().map(|taken| taken[n]).sum();
        assert_eq!(row, counter(sum), "row {n}");
    }
}

pub fn puts<S: Store, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let put = |item| one(store, Write::Put(item));
    assert_eq!(put(Item::Unique(index(1), token(1))), WriteOutcome::Put);
    assert_eq!(find(store, index(1)), Found::default());
    assert_eq!(put(Item::Other(index(1), token(1))), WriteOutcome::Put);
    assert_eq!(put(Item::Row(token(1), row("a"))), WriteOutcome::Put);
    let found = |unique: &str| Found {
        unique: Some((token(1), row(unique))),
        others: vec![token(1)],
        more: false,
    };
    assert_eq!(find(store, index(1)), found("a"));
    // In the place of what is there.
    assert_eq!(put(Item::Row(token(1), row("b"))), WriteOutcome::Put);
    assert_eq!(find(store, index(1)), found("b"));
    put(Item::Row(token(2), row("c")));
    put(Item::Unique(index(1), token(2)));
    assert_eq!(find(store, index(1)).unique, Some((token(2), row("c"))));
    // Seen by those behind it in the batch, and taken back with its group.
    let outcomes = write(
        store,
        vec![
            Write::Put(Item::Row(token(3), row("d"))),
            insert(token(3), row("e"), &[index(3)], false),
            Write::All(vec![
                Write::Put(Item::Row(token(4), row("f"))),
                insert(token(3), row("e"), &[index(3)], false),
            ]),
        ],
    );
    assert_eq!(outcomes[..2], [WriteOutcome::Put, WriteOutcome::TokenTaken]);
    assert!(matches!(outcomes[2], WriteOutcome::Refused { at: 1, .. }));
    assert_eq!(get(store, token(4)), None);
    let refused = store.write(
        Some(guard("g")),
        vec![Write::Put(Item::Row(token(5), row("g")))],
    );
    assert_eq!(block_on(refused), Err(StoreError::GuardChanged));
    assert_eq!(block_on(store.count()), Ok(3));
}

fn next(snapshot: &mut impl Snapshot, limit: usize) -> Vec<Item> {
    block_on(snapshot.next(limit)).unwrap()
}

pub fn snapshots_are_of_one_moment<S: SnapshotStore, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let rows = (0..20).map(|n| insert(token(n), row("a"), &[index(n)], n % 2 == 0));
    let set = Write::Guard {
        expected: None,
        guard: guard("one"),
    };
    write(store, rows.chain([set]).collect());
    let mut snapshot = block_on(store.snapshot()).unwrap();
    assert_eq!(next(&mut snapshot, 3).len(), 3);
    // Every kind of change, before and behind where it is read.
    let replace = |n| Write::Replace {
        token: token(n),
        expected: row("a"),
        row: row("b"),
    };
    let delete = |n| Write::Delete {
        token: token(n),
        expected: row("a"),
        index: vec![index(n)],
    };
    let link = |n| Write::Link {
        token: token(n),
        add: vec![index(99)],
        remove: vec![index(n)],
    };
    let set = Write::Guard {
        expected: Some(guard("one")),
        guard: guard("two"),
    };
    let changes = vec![
        replace(0),
        replace(10),
        delete(1),
        delete(11),
        link(13),
        link(3),
        set,
        insert(token(5000), row("c"), &[index(5000)], true),
        Write::Put(Item::Row(token(17), row("d"))),
    ];
    assert!(write(store, changes).iter().all(WriteOutcome::is_applied));
    let mut items = Vec::new();
    loop {
        let page = next(&mut snapshot, 5);
        let end = page.len() < 5;
        items.extend(page);
        if end {
            break;
        }
    }
    assert_eq!(block_on(snapshot.guard()), Ok(Some(guard("one"))));
    let rows = (3..20).map(|n| Item::Row(token(n), row("a")));
    let entries = (0..20).map(|n| match n % 2 {
        0 => Item::Unique(index(n), token(n)),
        _ => Item::Other(index(n), token(n)),
    });
    assert_eq!(items, rows.chain(entries).collect::<Vec<_>>());
    assert_eq!(next(&mut snapshot, 5), []);
    let mut now = block_on(store.snapshot()).unwrap();
    assert_eq!(block_on(now.guard()), Ok(Some(guard("two"))));
    assert_eq!(next(&mut now, 1), [Item::Row(token(0), row("b"))]);
}

pub fn snapshots_are_in_order<S: SnapshotStore, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let key = |text: &str| RowKey::new(text.as_bytes()).unwrap();
    let index = |text: &str| IndexKey::new(text.as_bytes()).unwrap();
    let order = [
        Item::Row(key("a"), row("")),
        Item::Row(key("aa"), row("2")),
        Item::Row(key("b"), row("3")),
        Item::Unique(index("b"), key("zz")),
        Item::Other(index("b"), key("a")),
        Item::Other(index("b"), key("aa")),
        Item::Other(index("c"), key("a")),
        Item::Unique(index("aa"), key("a")),
        Item::Other(index("aa"), key("b")),
        Item::Other(index("ab"), key("a")),
        Item::Unique(index("aaa"), key("a")),
    ];
    let writes = order.iter().rev().cloned().map(Write::Put).collect();
    write(store, writes);
    for limit in 1..=order.len() + 1 {
        let mut snapshot = block_on(store.snapshot()).unwrap();
        assert_eq!(next(&mut snapshot, 0), []);
        let mut items = Vec::new();
        loop {
            let page = next(&mut snapshot, limit);
            assert!(page.len() <= limit);
            let end = page.len() < limit;
            items.extend(page);
            if end {
                break;
            }
        }
        assert_eq!(items, order, "pages of {limit}");
    }
    for (at, item) in order.iter().enumerate() {
        for (other, before) in order.iter().enumerate() {
            let unique =
                matches!((item, before), (Item::Unique(a, _), Item::Unique(b, _)) if a == b);
            assert_eq!(item.follows(before), other < at && !unique);
        }
    }
    let second = Item::Unique(index("aa"), key("b"));
    assert!(!second.follows(&order[7]));
}

pub fn snapshots_of_nothing<S: SnapshotStore, H: Deref<Target = S>>(make: &impl Fn() -> H) {
    let store = &*make();
    let mut snapshot = block_on(store.snapshot()).unwrap();
    write(store, vec![Write::Put(Item::Row(token(1), row("a")))]);
    assert_eq!(next(&mut snapshot, 10), []);
    assert_eq!(block_on(snapshot.guard()), Ok(None));
}

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
    Link {
        token: u8,
        add: Vec<u8>,
        remove: Vec<u8>,
    },
    Reindex {
        token: u8,
        expected: u8,
        row: u8,
        add: Vec<u8>,
        remove: Vec<u8>,
        unique: bool,
    },
    Guard {
        expected: Option<u8>,
        guard: u8,
    },
    All(Vec<Self>),
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
            Step::Link {
                token,
                ref add,
                ref remove,
            } => {
                if !self.rows.contains_key(&token) {
                    return WriteOutcome::Missing;
                }
                self.entries
                    .retain(|&(key, unique, of)| unique || of != token || !remove.contains(&key));
                self.entries
                    .extend(add.iter().map(|key| (*key, false, token)));
                WriteOutcome::Linked
            }
            Step::Reindex {
                token,
                expected,
                row,
                ref add,
                ref remove,
                unique,
            } => {
                match self.rows.get(&token) {
                    None => return WriteOutcome::Missing,
                    Some(stored) if *stored != expected => return WriteOutcome::Changed,
                    Some(_) => {}
                }
                let mut rivals = add.iter().filter_map(|key| self.unique(*key));
                if unique && let Some(winner) = rivals.find(|other| *other != token) {
                    let row = small_row(self.rows[&winner]);
                    return WriteOutcome::Exists {
                        token: small_token(winner),
                        row,
                    };
                }
                self.rows.insert(token, row);
                self.entries
                    .retain(|&(key, _, of)| of != token || !remove.contains(&key));
                for key in add {
                    if !self.entries.contains(&(*key, unique, token)) {
                        self.entries.push((*key, unique, token));
                    }
                }
                WriteOutcome::Linked
            }
            Step::All(ref steps) => {
                let mut next = self.clone();
                let mut outcomes = Vec::new();
                for (at, step) in steps.iter().enumerate() {
                    let outcome = next.step(step);
                    if !outcome.is_applied() {
                        return WriteOutcome::Refused {
                            at,
                            outcome: Box::new(outcome),
                        };
                    }
                    outcomes.push(outcome);
                }
                *self = next;
                WriteOutcome::All(outcomes)
            }
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
    let link = prop::collection::vec(0u8..8, 0..3);
    let (add, remove) = (link.clone(), link.clone());
    let reindex = (0u8..12, 0u8..3, 0u8..3, add, remove, any::<bool>());
    prop_oneof![
        3 => reindex.prop_map(|(token, expected, row, add, remove, unique)| Step::Reindex {
            token, expected, row, add, remove, unique
        }),
        2 => (0u8..12, link.clone(), link)
            .prop_map(|(token, add, remove)| Step::Link { token, add, remove }),
        6 => (0u8..12, 0u8..3, index, any::<bool>())
            .prop_map(|(token, row, index, unique)| Step::Insert { token, row, index, unique }),
        3 => (0u8..12, 0u8..3, 0u8..3)
            .prop_map(|(token, expected, row)| Step::Replace { token, expected, row }),
        3 => (0u8..12, 0u8..3).prop_map(|(token, expected)| Step::Delete { token, expected }),
        1 => (prop::option::of(0u8..2), 0u8..2)
            .prop_map(|(expected, guard)| Step::Guard { expected, guard }),
    ]
}

/// Steps, some of them in groups.
fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => step(),
        1 => prop::collection::vec(step(), 1..5).prop_map(Step::All),
    ]
}

fn to_write(model: &Model, step: &Step) -> Write {
    match *step {
        Step::Link {
            token,
            ref add,
            ref remove,
        } => Write::Link {
            token: small_token(token),
            add: add.iter().copied().map(small_index).collect(),
            remove: remove.iter().copied().map(small_index).collect(),
        },
        Step::Reindex {
            token,
            expected,
            row,
            ref add,
            ref remove,
            unique,
        } => Write::Reindex {
            token: small_token(token),
            expected: small_row(expected),
            row: small_row(row),
            add: add.iter().copied().map(small_index).collect(),
            remove: remove.iter().copied().map(small_index).collect(),
            unique,
        },
        Step::All(ref steps) => {
            let mut next = model.clone();
            let mut writes = Vec::new();
            for step in steps {
                writes.push(to_write(&next, step));
                next.step(step);
            }
            Write::All(writes)
        }
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
            prop::collection::vec(steps(), 0..12),
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
