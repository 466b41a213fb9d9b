//! `cardvault audit` as a person runs it: accesses are shown, logs verified, and what somebody did
//! by hand is found against a checkpoint.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/bench.rs"]
mod bench;

use std::fs;
use std::path::{Path, PathBuf};

use bench::{Bench, VISA, code, errors, text};
use cardvault::audit::{AuditLog, AuditOptions};
use cardvault::vault::{Embedded, EmbeddedOptions, Item, Row, RowKey, Store, Write};
use pollster::block_on;

/// The folders of the vault's logs, in the order of their names.
fn logs(bench: &Bench) -> Vec<PathBuf> {
    let entries = fs::read_dir(bench.path("v/audit")).unwrap();
    let mut logs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    logs.sort();
    logs
}

fn hold(log: &Path) -> AuditLog {
    AuditLog::open(log, &AuditOptions::default()).unwrap()
}

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
        good.contains("rows compared  3\nverdict        whole\n") && !good.contains("fault"),
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
    assert!(line.ends_with("verdict        1 fault\n"), "{line}");
    let json = bench.run(&[&verify[..], &["--json"]].concat(), "");
    assert!(text(&json).contains("\"faults\": 1") && code(&json) == 1);
    by_hand(&bench, |store, _| {
        let (key, row) = taken.unwrap();
        block_on(store.write(None, vec![Write::Put(Item::Row(key, row))])).unwrap();
    });
    bench.output(&verify, "");

    // The log: changed, cut off, gone.
    let log = logs(&bench)[0].clone();
    let file = log.join("00000000.cva");
    let whole = fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[100] ^= 1;
    fs::write(&file, &changed).unwrap();
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
    fs::write(&file, &whole[..whole.len() - 38]).unwrap();
    bench.output(&["audit", "verify", "v"], "");
    fs::write(&file, &whole[..300]).unwrap();
    let found = text(&bench.run(&verify, ""));
    assert!(found.contains("the checkpoint saw"), "{found}");
    // The writer does not go on with it; a new log does.
    let stuck = bench.run(&["stats", "v"], "");
    assert_eq!(code(&stuck), 3);
    assert!(errors(&stuck).contains("audit renew"), "{}", errors(&stuck));
    bench.output(&["audit", "renew", "v"], "");
    bench.output(&["stats", "v"], "");
    let renewed = logs(&bench)[1].to_string_lossy().into_owned();
    assert_eq!(
        renewed.strip_suffix("-2"),
        log.to_str().unwrap().strip_suffix("-1")
    );
    fs::remove_dir_all(&log).unwrap();
    let found = text(&bench.run(&verify, ""));
    assert!(found.contains("the log is gone"), "{found}");
    bench.write("day-1", b"CVCHKPT\n and no more");
    bench.fails(4, "not a checkpoint", &verify);
}

#[test]
fn a_log_of_any_process_is_renewed() {
    let (bench, _) = used();
    let first = logs(&bench)[0].clone();
    // While a process writes the first log, another one has its own.
    let held = hold(&first);
    bench.output(&["stats", "v"], "");
    let second = logs(&bench).into_iter().find(|log| *log != first).unwrap();
    fs::write(second.join("state.cvs"), [0; 1024]).unwrap();
    bench.fails(3, "audit renew", &["stats", "v"]);
    bench.output(&["audit", "renew", "v"], "");
    bench.output(&["stats", "v"], "");
    assert_eq!(logs(&bench).len(), 3);
    drop(held);
    // A cut before the first state was whole, and so before any access.
    for log in logs(&bench) {
        fs::remove_dir_all(log).unwrap();
    }
    let cut = bench.path("v/audit/command.0-1");
    fs::create_dir_all(&cut).unwrap();
    fs::write(cut.join("state.cvs"), "").unwrap();
    bench.output(&["stats", "v"], "");
    assert!(bench.path("v/audit/command.0-2/state.cvs").exists());
}

#[test]
fn two_folders_of_one_ring_have_logs_of_their_own() {
    let (bench, _) = used();
    let first = logs(&bench)[0].clone();
    let set_aside = bench.path("aside");
    fs::rename(&first, &set_aside).unwrap();
    // As on another machine, with a copy of the ring.
    bench.output(&["stats", "v"], "");
    let second = logs(&bench)[0].clone();
    assert_ne!(first.file_name(), second.file_name());
    fs::rename(&set_aside, &first).unwrap();
    bench.output(&["audit", "verify", "v"], "");
}

#[test]
fn an_older_copy_is_found_whatever_was_done_to_it() {
    let (bench, tokens) = used();
    let log = logs(&bench)[0].clone();
    let names = ["00000000.cva", "state.cvs"];
    let old = names.map(|name| fs::read(log.join(name)).unwrap());
    detokenize(&bench, &tokens[1], "mallory");
    bench.output(&["audit", "checkpoint", "v", "-o", "day-1"], "");
    let rest = vec![7; 38_000];
    fs::write(log.join(names[0]), [&old[0][..], &rest].concat()).unwrap();
    fs::write(log.join(names[1]), &old[1]).unwrap();
    detokenize(&bench, &tokens[0], "mary");
    let found = bench.run(&["audit", "verify", "v", "--against", "day-1"], "");
    assert_eq!(code(&found), 1);
    let found = text(&found);
    assert!(found.contains("38000 bytes of an unfinished"), "{found}");
    assert!(found.contains("that the checkpoint saw"), "{found}");
}
