//! `cardvault audit` as a person runs it: accesses are shown, logs verified, and what somebody did
//! by hand is found against a checkpoint.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/bench.rs"]
mod bench;

use std::fs;

use bench::{Bench, VISA, code, errors, text};
use cardvault::vault::{Embedded, EmbeddedOptions, Item, Row, RowKey, Store, Write};
use pollster::block_on;

const LOG: &str = "v/audit/command-1/00000000.cva";

/// A vault with three tokens, one of which was looked at.
fn used() -> (Bench, Vec<String>) {
    let bench = Bench::new();
    let cards = format!("{VISA}\n5555555555554444\n378282246310005\n");
    let tokens = bench.output(&["tokenize", "v"], cards);
    let tokens: Vec<String> = tokens.lines().map(str::to_owned).collect();
    detokenize(&bench, &tokens[0], "mary");
    (bench, tokens)
}

fn detokenize(bench: &Bench, token: &str, actor: &str) {
    let who = [
        "--actor",
        actor,
        "--purpose",
        "refund 17",
        "--origin",
        "till-2",
    ];
    bench.output(&[&["detokenize", "v"], &who[..]].concat(), token);
}

/// Changes the vault's store past the vault.
fn by_hand(bench: &Bench, work: impl FnOnce(&Embedded, Vec<(RowKey, Row)>)) {
    let store = Embedded::open(&bench.path("v"), &EmbeddedOptions::default()).unwrap();
    let rows = block_on(store.scan(None, None, 100)).unwrap();
    work(&store, rows);
    store.close().unwrap();
}

#[test]
fn accesses_are_shown_as_a_table_and_as_json() {
    let (bench, tokens) = used();
    detokenize(&bench, &tokens[1], "paul");
    let shown = bench.output(&["audit", "show", "v"], "");
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("TIME ") && lines[0].ends_with("TOKEN OR KEY"));
    let words: Vec<_> = lines[1].split("  ").map(str::trim).collect();
    let expected = [
        "detokenize",
        "granted",
        "mary",
        "refund 17",
        "till-2",
        "default",
        &tokens[0],
    ];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    assert_eq!(words[1..], expected);
    assert_eq!(lines.len(), 3);
    for filter in [
        ["--actor", "paul"],
        ["--token", tokens[1].as_str()],
        ["--since", "2020-01-01"],
        ["--operation", "detokenize"],
    ] {
        let shown = bench.output(
            &[&["audit", "show", "v", "--json"], &filter[..]].concat(),
            "",
        );
        assert!(shown.contains(&format!("\"token\":\"{}\"", tokens[1])));
        let only = filter[0] == "--actor" || filter[0] == "--token";
        assert_eq!(
            shown.lines().count(),
            if only { 1 } else { 2 },
            "{filter:?}"
        );
    }
    for filter in [["--until", "2020-01-01"], ["--operation", "find"]] {
        let shown = bench.output(&[&["audit", "show", "v"], &filter[..]].concat(), "");
        assert_eq!(shown, "");
    }
}

#[test]
fn what_was_done_by_hand_is_found() {
    let (bench, tokens) = used();
    let verify = ["audit", "verify", "v", "--against", "day-1"];
    bench.output(&["audit", "checkpoint", "v", "-o", "day-1"], "");
    let good = bench.output(&verify, "");
    assert!(
        good.contains("rows compared  3\n") && !good.contains("fault"),
        "{good}"
    );
    detokenize(&bench, &tokens[2], "mary");
    bench.output(&verify, "");

    // A row taken out, and put back.
    let mut taken = None;
    by_hand(&bench, |store, rows| {
        let (token, expected) = rows[0].clone();
        taken = Some(rows[0].clone());
        let index = Vec::new();
        let delete = Write::Delete {
            token,
            expected,
            index,
        };
        block_on(store.write(None, vec![delete])).unwrap();
    });
    let found = bench.run(&verify, "");
    assert_eq!(code(&found), 1);
    let line = text(&found);
    assert!(line.contains("fault: domain default, token cvt_"), "{line}");
    assert!(line.contains("gone, and no deletion was logged"), "{line}");
    let json = bench.run(&[&verify[..], &["--json"]].concat(), "");
    assert!(text(&json).contains("\"faults\": 1") && code(&json) == 1);
    by_hand(&bench, |store, _| {
        let (key, row) = taken.unwrap();
        block_on(store.write(None, vec![Write::Put(Item::Row(key, row))])).unwrap();
    });
    bench.output(&verify, "");

    // The log: changed, cut off, gone.
    let whole = fs::read(bench.path(LOG)).unwrap();
    let mut changed = whole.clone();
    changed[100] ^= 1;
    bench.write(LOG, &changed);
    let found = bench.run(&["audit", "verify", "v"], "");
    assert_eq!(code(&found), 1);
    assert!(
        text(&found).contains("00000000.cva byte"),
        "{}",
        text(&found)
    );
    assert_eq!(code(&bench.run(&["audit", "show", "v"], "")), 1);
    let refused = ["audit", "checkpoint", "v", "-o", "day-2"];
    assert_eq!(code(&bench.run(&refused, "")), 1);
    assert!(!bench.path("day-2").exists());
    bench.write(LOG, &whole[..whole.len() - 38]);
    bench.output(&["audit", "verify", "v"], "");
    bench.write(LOG, &whole[..300]);
    let found = text(&bench.run(&verify, ""));
    assert!(found.contains("the checkpoint saw"), "{found}");
    // The writer does not go on with it; a new log does.
    let stuck = bench.run(&["stats", "v"], "");
    assert_eq!(code(&stuck), 3);
    assert!(errors(&stuck).contains("audit renew"), "{}", errors(&stuck));
    bench.output(&["audit", "renew", "v"], "");
    bench.output(&["stats", "v"], "");
    assert!(bench.path("v/audit/command-2/state.cvs").exists());
    fs::remove_dir_all(bench.path("v/audit/command-1")).unwrap();
    let found = text(&bench.run(&verify, ""));
    assert!(found.contains("the log is gone"), "{found}");
    bench.write("day-1", b"CVCHKPT\n and no more");
    bench.fails(4, "not a checkpoint", &verify);
}
