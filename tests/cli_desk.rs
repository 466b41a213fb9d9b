//! The command's desk: a terminal's journal from the first entry to the ledger, and what the
//! refund desk does with it, as a person or a script runs it.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

#[path = "support/bench.rs"]
mod bench;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bench::{Bench, VISA, code, errors, text};
use serde_json::Value;

const MASTERCARD: &str = "5555555555554444";
const AMEX: &str = "378282246310005";
const UNIONPAY: &str = "6200000000000005";
const DAY: &str = include_str!("support/day.csv");
const TERMINAL: &str = "10000001";

/// Runs commands written as one line and keeps everything that they show.
struct Desk {
    bench: Bench,
    shown: RefCell<String>,
}

struct Answer {
    code: i32,
    out: String,
    errors: String,
}

impl Desk {
    /// A vault `v`, and the terminal's folder `t`.
    fn new() -> Self {
        let desk = Self {
            bench: Bench::new(),
            shown: RefCell::default(),
        };
        desk.bench.write("visa", format!("{VISA}\n"));
        desk.bench.write("mastercard", MASTERCARD);
        desk.bench.write("day.csv", DAY);
        desk.ok(&format!("journal init v t --terminal {TERMINAL} --pages 8"));
        desk
    }

    /// With the day of `day.csv` in the ledger and its upload in `up`.
    fn with_day() -> Self {
        let desk = Self::new();
        desk.ok("journal write t day.csv");
        desk.ok("journal upload t -o up");
        desk.no("journal import v up --receipt receipt");
        desk
    }

    fn run(&self, line: &str) -> Answer {
        let arguments: Vec<_> = line.split(' ').collect();
        let output = self.bench.run(&arguments, "");
        let answer = Answer {
            code: code(&output),
            out: text(&output),
            errors: errors(&output),
        };
        let errors = &answer.errors;
        assert!(!errors.contains("internal error"), "{line}: {errors}");
        write!(self.shown.borrow_mut(), "{}{errors}", answer.out).unwrap();
        answer
    }

    fn ends(&self, code: i32, line: &str) -> Answer {
        let answer = self.run(line);
        let shown = format!("{}{}", answer.out, answer.errors);
        assert_eq!(answer.code, code, "{line}: {shown}");
        answer
    }

    fn ok(&self, line: &str) -> String {
        self.ends(0, line).out
    }

    /// The answer is no, and stands on standard output.
    fn no(&self, line: &str) -> String {
        self.ends(1, line).out
    }

    fn refused(&self, reason: &str, line: &str) {
        let shown = self.no(line);
        let first = shown.lines().next().unwrap_or_default();
        let words: Vec<_> = first.split_whitespace().collect();
        assert_eq!(words, ["refused", reason], "{line}: {shown}");
        assert!(shown.contains("\ndo "), "{shown}");
    }

    fn fails(&self, code: i32, part: &str, line: &str) {
        let answer = self.ends(code, line);
        assert!(answer.errors.contains(part), "{line}: {}", answer.errors);
        assert_eq!(answer.out, "", "{line}");
    }

    fn json(&self, line: &str) -> Vec<Value> {
        let shown = self.run(&format!("{line} --json")).out;
        let lines = shown.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The names of the payments that are found.
    fn found(&self, by: &str) -> Vec<String> {
        let found = self.json(&format!("ledger find v {by}"));
        let name = |payment: &Value| payment["payment"].as_str().unwrap().to_owned();
        found.iter().map(name).collect()
    }
}

/// Wherever the test ends: no clear number in anything that was shown or written.
impl Drop for Desk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let inputs = ["visa", "mastercard"].map(|name| self.bench.path(name));
        let mut searched = 0;
        let mut folders = vec![self.bench.path("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let is_input = path
                    .extension()
                    .is_some_and(|end| end == "csv" || end == "jsonl");
                if path.is_dir() {
                    folders.push(path);
                } else if !is_input && !inputs.contains(&path) {
                    searched += 1;
                    check_no_card(&fs::read(&path).unwrap(), &path);
                }
            }
        }
        assert!(searched >= 6, "only {searched} files were searched");
        check_no_card(self.shown.borrow().as_bytes(), Path::new("what was shown"));
    }
}

fn check_no_card(bytes: &[u8], place: &Path) {
    for card in [VISA, MASTERCARD, AMEX, UNIONPAY] {
        let grouped: Vec<_> = card.as_bytes().chunks(4).collect();
        let digits = card.as_bytes().iter().map(|digit| digit - b'0');
        let even = if card.len() % 2 == 0 { None } else { Some(0xf) };
        let digits: Vec<u8> = digits.chain(even).collect();
        let packed: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect();
        for form in [card.as_bytes().to_vec(), grouped.join(&b' '), packed] {
            let found = bytes.windows(form.len()).any(|window| window == form);
            assert!(!found, "the card *{} in {}", &card[12..], place.display());
        }
    }
}

#[test]
fn a_terminals_day_comes_into_the_ledger_once() {
    let desk = Desk::new();
    assert!(
        desk.ok("journal write t day.csv")
            .contains("10 payments written")
    );
    assert!(desk.ok("journal upload t -o up").contains("10 entries"));
    let verified = desk.ok("journal verify v up");
    assert!(
        verified.contains("terminal 10000001, epoch 1, journal-1"),
        "{verified}"
    );
    assert!(
        verified.contains("10 payments, from entry 0 on\nfaults   none\n"),
        "{verified}"
    );
    let shown = desk.ok("journal show v up");
    let row = shown.lines().find(|line| line.starts_with("4 ")).unwrap();
    let row: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        row,
        [
            "4",
            "2025-03-14",
            "10:25:00",
            "sale",
            "80.00",
            "CNY",
            "000007/000005",
            "378282*****0005",
            "-",
            "none"
        ]
    );
    assert!(shown.contains("411111******1111") && shown.contains("620000******0005"));
    let json = desk.json("journal show v up");
    assert_eq!(json[6]["card"], "620000******0005");
    assert_eq!(json[6]["time"], "2025-03-14T02:40:00Z");

    let first = desk.json("journal import v up --receipt receipt");
    let sum = |value: &Value| {
        ["new", "known", "new_cards", "fault_count"].map(|name| value[name].as_u64().unwrap())
    };
    assert_eq!(sum(&first[0]), [10, 0, 4, 0]);
    assert_eq!(first[0]["unapplied"][0]["payment"], "10000001/1/9");
    assert_eq!(first[0]["unapplied"][0]["why"], "no-original");
    let rows = || desk.json("ledger find v --from 2025-03-14 --until 2025-03-15");
    let before = rows();
    assert_eq!(before.len(), 10);
    // The same again changes nothing; what has no original is still named.
    let again = desk.no("journal import v up");
    assert!(
        again.contains("10 verified before") && again.contains("known    10 payments"),
        "{again}"
    );
    assert_eq!(rows(), before);

    // The terminal may use the place again only with the host's receipt.
    desk.fails(
        4,
        "not confirmed by the host",
        "journal init v t --terminal 10000001",
    );
    desk.bench.write("other", [0; 24]);
    desk.fails(
        4,
        "does not belong to the last trailer",
        "journal confirm t other",
    );
    desk.fails(4, "this is no receipt", "journal confirm t up");
    assert!(
        desk.ok("journal confirm t receipt")
            .contains("the host has 10 entries")
    );

    // More on the same day, of which the host takes what it does not have.
    desk.bench.write("late.jsonl", small_sales(11, 2));
    desk.ok("journal write t late.jsonl --json-lines");
    desk.ok("journal upload t -o up2");
    let more = desk.ok("journal import v up2 --receipt receipt2");
    assert!(more.contains("2 payments, from entry 10 on"), "{more}");
    desk.ok("journal confirm t receipt2");
    assert_eq!(rows().len(), 12);
    // A new epoch has a number of its own, also after one that was left out.
    assert!(
        desk.ok("journal init v t --terminal 10000001")
            .contains("epoch     2")
    );
    desk.fails(
        2,
        "not behind 2",
        "journal init v t --terminal 10000001 --epoch 2",
    );
    assert!(
        desk.ok("journal init v t --terminal 10000001 --epoch 7")
            .contains("epoch     7")
    );
    desk.ok("journal write t late.jsonl --json-lines");
    desk.ok("journal upload t -o up3");
    desk.ok("journal import v up3");
    assert_eq!(desk.found("--payment 10000001/7/1"), ["10000001/7/1"]);
}

/// So many sales of 2.00 with one card, a minute apart, as JSON lines.
fn small_sales(first: u32, count: u32) -> String {
    (first..first + count).fold(String::new(), |mut text, number| {
        writeln!(
            text,
            r#"{{"time":"2025-03-14 12:{:02}:00","kind":"sale","amount":"2.00","currency":"156","stan":"{number:06}","voucher":"{number:06}","batch":"000007","merchant":"M1","card":"{VISA}","rrn":"0314120{number:05}","response":"00","clearing":"20250314","par":null}}"#,
            number % 60
        )
        .unwrap();
        text
    })
}

#[test]
fn a_faulty_upload_is_refused_and_the_fault_named() {
    let desk = Desk::new();
    desk.ok("journal write t day.csv");
    desk.ok("journal upload t -o up");
    let upload = fs::read(desk.bench.path("up")).unwrap();
    let with = |at: usize, flip: u8| {
        let mut bytes = upload.clone();
        bytes[at] ^= flip;
        bytes
    };
    let mut dropped = upload.clone();
    dropped.drain(400..1000);
    for (bytes, fault) in [
        (with(600, 1), "flipped"),
        (with(upload.len() - 20, 0x80), "truncated"),
        (upload[..upload.len() - 300].to_vec(), "truncated"),
        (upload[..upload.len() / 2].to_vec(), "truncated"),
        (dropped, "flipped"),
        ([&upload[..], &upload[..]].concat(), "inserted"),
    ] {
        desk.bench.write("bad", bytes);
        let verdict = desk.json("journal verify v bad");
        let found = verdict[0]["faults"].as_array().unwrap();
        assert!(!found.is_empty());
        let names = found.iter().map(|fault| fault["fault"].as_str().unwrap());
        let names: Vec<_> = names.collect();
        assert_eq!(names, [fault]);
        let shown = desk.no("journal import v bad --receipt receipt");
        assert!(shown.contains("fault: journal entry "), "{shown}");
    }
    assert_eq!(
        desk.found("--from 2025-01-01"),
        [""; 0],
        "something was imported"
    );
    assert!(!desk.bench.path("receipt").exists());
    // What is genuine, when a person says so.
    desk.bench.write("bad", with(600, 1));
    let taken = desk.no("journal import v bad --accept-faults");
    assert!(taken.contains("new      9 payments"), "{taken}");
    assert!(taken.contains("fault: journal entry 3 at byte "), "{taken}");
    // Another domain has other keys; another terminal's or a vault's own file is no upload.
    let other = desk.no("journal verify v up --domain other");
    assert!(other.contains("another base key"), "{other}");
    desk.fails(4, "no upload of a journal", "journal verify v day.csv");
    desk.fails(4, "no journal is there", "journal write v day.csv");
    // The whole upload comes after all, and an older one behind it is noticed.
    let whole = desk.no("journal import v up --receipt receipt");
    assert!(whole.contains("known    9 payments"), "{whole}");
    desk.ok("journal confirm t receipt");
    desk.bench.write("late.jsonl", small_sales(11, 1));
    desk.ok("journal write t late.jsonl --json-lines");
    desk.ok("journal upload t -o up2");
    desk.ok("journal import v up2");
    let old = desk.json("journal verify v up");
    assert_eq!(old[0]["faults"][0]["fault"], "rolled-back", "{old:?}");
    // A terminal whose journal was changed under it still uploads, and the host sees it.
    let mut flash = fs::read(desk.bench.path("t/journal.flash")).unwrap();
    let at = flash
        .windows(12)
        .position(|window| window == b"031412000011");
    flash[at.unwrap()] ^= 1;
    desk.bench.write("t/journal.flash", flash);
    desk.run("journal upload t -o up4");
    let seen = desk.json("journal verify v up4");
    assert_ne!(seen[0]["fault_count"], 0, "{seen:?}");
}

#[test]
fn payments_are_found_by_everything() {
    let desk = Desk::with_day();
    let name = |sequence: u32| format!("{TERMINAL}/1/{sequence}");
    for (by, sequences) in [
        (
            "--voucher 000001 --batch 000007 --terminal 10000001",
            &[0][..],
        ),
        ("--rrn 031410150001 --date 2025-03-14", &[0]),
        ("--order ORDER-20250314-1", &[2]),
        ("--payment 10000001/1/4", &[4]),
        ("--payment 10000001/2/4", &[]),
        ("--in-doubt", &[4]),
        (
            "--terminal 10000001 --batch 000007",
            &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        ),
        (
            "--from 2025-03-14T10:20:00+08:00 --until 2025-03-14T02:31:00Z",
            &[3, 4],
        ),
        ("--card visa --purpose complaint", &[0, 5, 8, 9]),
        ("--rrn 031410150001 --date 2025-03-15", &[]),
    ] {
        let expected: Vec<_> = sequences.iter().copied().map(name).collect();
        assert_eq!(desk.found(by), expected, "{by}");
    }
    let payment = &desk.json("ledger find v --payment 10000001/1/0")[0];
    let token = payment["token"].as_str().unwrap();
    assert_eq!(
        desk.found(&format!("--token {token}")),
        [0, 5, 8, 9].map(name)
    );
    assert_eq!(
        ["state", "left", "last_four", "clearing"].map(|field| payment[field].as_str().unwrap()),
        ["partly refunded", "95.00", "1111", "2025-03-14"]
    );
    let table = desk.ok("ledger find v --from 2025-03-14");
    let states: Vec<_> = table
        .lines()
        .skip(1)
        .map(|row| {
            let columns: Vec<_> = row.split("  ").filter(|text| !text.is_empty()).collect();
            columns[5].trim()
        })
        .collect();
    assert_eq!(
        states,
        [
            "partly refunded",
            "voided",
            "captured",
            "approved",
            "in doubt",
            "never approved",
            "captured",
            "captured",
            "approved",
            "approved"
        ]
    );
    // From standard input, too; and each look at a card is logged.
    let found = desk.bench.output(
        &["ledger", "find", "v", "--card", "-", "--purpose", "x"],
        VISA,
    );
    assert_eq!(found.lines().count(), 5);
    let show = ["audit", "show", "v", "--json", "--actor", "tester"];
    let log = desk.bench.output(&show, "");
    assert!(log.contains("\"purpose\":\"complaint\""), "{log}");
    desk.fails(
        2,
        "what is the card looked at for?",
        "ledger find v --card visa",
    );
    desk.fails(2, "which one?", "ledger find v");
    desk.fails(
        2,
        "more than one way",
        "ledger find v --order A --payment 10000001/1/0",
    );
    desk.fails(2, "--terminal", "ledger find v --voucher 000001");
    desk.fails(
        2,
        "as in 10000001/1/42",
        "ledger find v --payment 10000001/1",
    );
    desk.bench
        .write("two.csv", format!("{VISA}\n{MASTERCARD}\n"));
    desk.fails(
        4,
        "more than one card",
        "ledger find v --card two.csv --purpose x",
    );
    desk.bench.write("none.csv", "\n");
    desk.fails(
        4,
        "no card number",
        "ledger find v --card none.csv --purpose x",
    );
    for line in [
        "ledger find v --order 4111111111111111",
        "refund status v --number 4111111111111111 --merchant M1",
    ] {
        desk.fails(2, "looks like a card number", line);
    }
}

#[test]
fn refunds_are_given_once_and_never_too_much() {
    let desk = Desk::with_day();
    let ask =
        "refund request v --merchant M1 --today 2025-03-20 --purpose refund --policy unionpay";
    let sale = format!("{ask} --voucher 000001 --batch 000007 --terminal 10000001");
    // 100.00, of which the terminal refunded 5.00.
    desk.refused(
        "authority",
        &format!("{sale} --number R-1 --amount 30 --card visa"),
    );
    desk.refused(
        "wrong-card",
        &format!("{sale} --number R-1 --amount 30 --card mastercard --authority supervisor"),
    );
    desk.refused(
        "other-merchant",
        &format!("{sale} --number R-1 --amount 30 --authority supervisor").replace("M1", "M2"),
    );
    desk.refused(
        "mixed-currency",
        &format!("{sale} --number R-1 --amount 30 --currency USD"),
    );
    desk.refused("zero-amount", &format!("{sale} --number R-1 --amount 0.00"));
    desk.refused("no-original", &format!("{ask} --order NOBODY --number R-1"));
    desk.refused(
        "before-original",
        &format!("{sale} --number R-1").replace("2025-03-20", "2025-03-13"),
    );
    desk.refused(
        "window-over",
        &format!("{sale} --number R-1 --amount 1").replace("2025-03-20", "2026-03-20"),
    );
    let too_much = desk.no(&format!(
        "{sale} --number R-1 --amount 95.01 --authority supervisor"
    ));
    assert!(
        too_much.starts_with("refused  total-exceeded\n"),
        "{too_much}"
    );
    assert!(
        too_much.contains("left     95.00 CNY\ndo       Refund at most what is left."),
        "{too_much}"
    );

    let part = format!("{sale} --number R-1 --amount 30 --card visa --authority supervisor");
    let first = desk.ok(&part);
    assert!(
        first.contains("status     requested") && first.contains("left       65.00 CNY"),
        "{first}"
    );
    assert!(first.contains("next       send it"), "{first}");
    // A double click, and a retry after the answer.
    assert!(desk.ok(&part).contains("nothing is to be sent"));
    desk.ok("refund status v --merchant M1 --number R-1 --set accepted --rrn 032009000001");
    let again = &desk.json(&part)[0];
    assert_eq!(
        (&again["repeated"], &again["status"], &again["left"]),
        (&true.into(), &"accepted".into(), &"65.00".into())
    );
    desk.refused(
        "number-reused",
        &format!("{sale} --number R-1 --amount 31 --authority supervisor"),
    );
    // No card: by its token, with a supervisor.
    let token = desk.json("ledger find v --payment 10000001/1/0")[0]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let by_token = format!("{ask} --token {token} --number R-2 --amount 60");
    let several = desk.ends(2, &by_token);
    assert!(
        several.errors.contains("2 payments fit") && several.out.contains("10000001/1/5"),
        "{}",
        several.out
    );
    desk.refused(
        "authority",
        &format!("{ask} --payment 10000001/1/0 --number R-2 --amount 60"),
    );
    let by_name =
        format!("{ask} --payment 10000001/1/0 --number R-2 --amount 60 --authority supervisor");
    desk.ok(&by_name);
    // In doubt it counts, a failure frees it, and the same number is submitted again.
    desk.ok("refund status v --merchant M1 --number R-2 --set no-answer");
    let rest =
        format!("{ask} --payment 10000001/1/0 --number R-3 --amount 6 --authority supervisor");
    let open = desk.no(&rest);
    assert!(open.contains("with 60.00 CNY still open"), "{open}");
    desk.ok("refund status v --merchant M1 --number R-2 --set failed --source inquiry");
    desk.fails(
        3,
        "cannot follow",
        "refund status v --merchant M1 --number R-2 --set settled",
    );
    assert_eq!(desk.json(&by_name)[0]["tries"], 2);
    desk.ok("refund status v --merchant M1 --number R-2 --set settled --source settlement-file");
    desk.ok(&format!(
        "{ask} --payment 10000001/1/0 --number R-4 --amount 5 --authority supervisor"
    ));
    desk.ok("refund status v --merchant M1 --number R-4 --set accepted");
    desk.refused("already-refunded", &rest);
    // A refund, a declined sale, a hold.
    desk.refused(
        "refund-of-refund",
        &format!("{ask} --payment 10000001/1/8 --number R-5 --authority host"),
    );
    desk.refused(
        "never-approved",
        &format!("{ask} --payment 10000001/1/5 --number R-5"),
    );
    desk.refused(
        "already-completed",
        &format!("{ask} --payment 10000001/1/6 --number R-5"),
    );
    // In full.
    let full = desk.ok(&format!(
        "{ask} --rrn 031411020008 --date 20250314 --number R-6 --authority supervisor"
    ));
    assert!(
        full.contains("amount     180.00 CNY") && full.contains("left       0.00 CNY"),
        "{full}"
    );
    let json = desk.run(&format!("{rest} --json"));
    let value: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (json.code, &value["refused"]),
        (1, &"already-refunded".into())
    );

    let listed = desk.ok("refund list v --payment 10000001/1/0");
    let numbers: Vec<_> = listed
        .lines()
        .map(|row| row.split(' ').next().unwrap())
        .collect();
    assert_eq!(numbers, ["NUMBER", "T-1", "R-1", "R-2", "R-4"], "{listed}");
    assert!(listed.contains("032009000001"));
    let all = desk.json("refund list v");
    assert_eq!(all.len(), 7, "{all:?}");
    assert!(desk.json("refund list v --until 2025-03-14").is_empty());
    let history = desk.ok("ledger history v --payment 10000001/1/0");
    for event in [
        "recorded",
        "requested",
        "accepted",
        "no answer",
        "failed",
        "resubmitted",
        "settled",
        "refunded in full",
    ] {
        assert!(
            history.contains(&format!("  {event} ")),
            "{event}: {history}"
        );
    }
    assert!(
        history.contains("none missing or changed, and the sums agree"),
        "{history}"
    );
}

#[test]
fn voids_reversals_and_what_is_due() {
    let desk = Desk::with_day();
    let who = "--merchant M1 --authority supervisor --policy unionpay --purpose void";
    let sale = "--rrn 031410150001 --date 20250314";
    let qr = "--order ORDER-20250314-1";
    desk.refused(
        "already-voided",
        &format!("refund void v --payment 10000001/1/1 {who} --number V-1 --today 2025-03-14"),
    );
    desk.refused(
        "refunds-stand",
        &format!("refund void v {sale} {who} --number V-1 --today 2025-03-14"),
    );
    desk.refused(
        "batch-settled",
        &format!("refund void v {qr} {who} --number V-1 --today 2025-03-15"),
    );
    desk.refused(
        "other-terminal",
        &format!(
            "refund void v {qr} {who} --number V-1 --today 2025-03-14 --desk-terminal 10000002"
        ),
    );
    desk.refused(
        "void-instead",
        &format!("refund request v {qr} {who} --number V-1 --today 2025-03-14"),
    );
    let void = format!("refund void v {qr} {who} --number V-1 --today 2025-03-14");
    desk.ok(&void);
    desk.refused(
        "pending",
        &format!("refund request v {qr} {who} --number R-1 --today 2025-03-16"),
    );
    desk.ok("refund status v --merchant M1 --number V-1 --set accepted");
    assert_eq!(
        desk.json(&format!("ledger find v {qr}"))[0]["state"],
        "voided"
    );
    assert!(desk.ok(&void).contains("nothing is to be sent"));
    // A batch that is settled can be voided no more, on the day itself.
    let completion = "--rrn 031411020008 --date 20250314";
    assert_eq!(
        desk.ok("ledger settle-batch v --terminal 10000001 --batch 000007"),
        "10 payments marked as settled\n"
    );
    assert_eq!(
        desk.ok("ledger settle-batch v --terminal 10000001 --batch 000007"),
        "0 payments marked as settled\n"
    );
    desk.refused(
        "batch-settled",
        &format!("refund void v {completion} {who} --number V-2 --today 2025-03-14"),
    );

    // No answer came: not refunded but reversed, or resolved by an inquiry.
    let doubt = "--payment 10000001/1/4";
    desk.refused(
        "in-doubt",
        &format!("refund request v {doubt} {who} --number R-2 --today 2025-03-16"),
    );
    desk.refused(
        "not-in-doubt",
        &format!("refund reverse v {sale} --merchant M1 --number R-3"),
    );
    desk.ok(&format!(
        "refund reverse v {doubt} --merchant M1 --number R-3"
    ));
    let due = desk.ok("refund due v");
    assert!(
        due.contains("R-3     reversal") && due.contains("answer by"),
        "{due}"
    );
    // The terminal's refund was accepted and waits for its settlement.
    assert!(
        due.contains("T-1     refund") && due.contains("settlement by"),
        "{due}"
    );
    assert!(due.ends_with("2 waiting, 0 of them overdue\n"), "{due}");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let late = desk.json("refund due v --overdue --review-hours 0");
    assert_eq!(
        (late.len(), &late[0]["number"], &late[0]["overdue"]),
        (2, &"R-3".into(), &true.into())
    );
    assert_eq!(late[1]["overdue"], 1);
    assert_eq!(desk.json("refund due v --until 2025-03-14").len(), 1);
    desk.ok("refund status v --merchant M1 --number R-3 --set no-answer");
    let resolved = desk.ok(&format!(
        "refund resolve v {doubt} --response 00 --found-rrn 031410250005 --found-clearing 20250314"
    ));
    assert!(
        resolved.contains("state      captured, reversal open"),
        "{resolved}"
    );
    desk.ok("refund status v --merchant M1 --number R-3 --set accepted --source inquiry");
    assert_eq!(
        desk.json("ledger find v --rrn 031410250005 --date 2025-03-14")[0]["state"],
        "reversed"
    );
    desk.fails(
        3,
        "cannot follow",
        &format!("refund resolve v {doubt} --response 51"),
    );
    let history = desk.json(&format!("ledger history v {doubt}"));
    let told: Vec<_> = history[1..]
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "recorded",
            "batch settled",
            "requested",
            "no answer",
            "found approved",
            "accepted",
            "reversed"
        ]
    );
    desk.fails(
        3,
        "no request under this number",
        "refund status v --merchant M1 --number NOBODY",
    );
}

#[test]
fn reconciliation_names_each_difference() {
    let desk = Desk::with_day();
    assert!(
        desk.ok("ledger reconcile v --journal up")
            .contains("10 payments of the journal with 10 of the ledger: 0 differences")
    );
    // An entry that the ledger does not have, and a payment in doubt of which the file knows.
    desk.ok("journal confirm t receipt");
    desk.bench.write("late.jsonl", small_sales(11, 2));
    desk.ok("journal write t late.jsonl --json-lines");
    desk.ok("journal upload t -o up2");
    let missing = desk.json("ledger reconcile v --journal up2");
    let names: Vec<_> = missing[..2]
        .iter()
        .map(|one| {
            (
                one["difference"].as_str().unwrap(),
                one["payment"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            ("missing-in-ledger", "10000001/1/10"),
            ("missing-in-ledger", "10000001/1/11")
        ]
    );
    assert_eq!(missing[2]["differences"], 2);

    let head = "kind,amount,currency,merchant,terminal,clearing,batch,voucher,rrn,order,refund";
    let good = [
        "sale,100.00,CNY,M1,10000001,20250314,000007,000001,,,",
        "qr-payment,30.00,CNY,M1,10000001,20250314,,,,ORDER-20250314-1,",
        "completion,180.00,CNY,M1,10000001,2025-03-14,,,031411020008,,",
    ];
    let file = |rows: &[&str]| {
        desk.bench
            .write("settlement.csv", format!("{head}\n{}\n", rows.join("\n")))
    };
    file(&good);
    assert!(
        desk.ok("ledger reconcile v --settlement settlement.csv")
            .contains("0 differences")
    );
    file(&[
        "sale,90.00,CNY,M1,10000001,20250314,000007,000001,,,",
        "sale,90.00,CNY,M1,10000001,20250314,000007,000001,,,",
        "sale,50.00,CNY,M1,10000001,20250314,000007,000002,,,",
        "",
        "sale,80.00,CNY,M1,10000001,20250314,000007,000005,,,",
        "qr-payment,30.00,CNY,M2,10000001,20250315,,,031410170003,,",
        "refund,5.00,CNY,M1,10000001,20250314,,,,,T-1",
        "refund,5.00,CNY,M1,10000001,20250314,,,,,T-9",
    ]);
    let found = desk.json("ledger reconcile v --settlement settlement.csv --last-day 2025-03-14");
    let told: Vec<_> = found[..found.len() - 1]
        .iter()
        .map(|one| {
            (
                one["difference"].as_str().unwrap(),
                one["line"].as_u64(),
                one["payment"].as_str(),
                one["refund"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("amount", Some(2), Some("10000001/1/0"), None),
            ("duplicate", Some(3), Some("10000001/1/0"), None),
            ("moved-money", Some(4), Some("10000001/1/1"), None),
            ("in-doubt", Some(6), Some("10000001/1/4"), None),
            ("missing-in-ledger", Some(7), None, None),
            (
                "not-settled-yet",
                Some(8),
                Some("10000001/1/0"),
                Some("T-1")
            ),
            ("missing-in-ledger", Some(9), None, Some("T-9")),
            ("missing-in-file", None, Some("10000001/1/2"), None),
            ("missing-in-file", None, Some("10000001/1/7"), None),
        ]
    );
    let table = desk.no("ledger reconcile v --settlement settlement.csv");
    assert!(
        table.contains("100.00 CNY in the ledger, not 90.00 CNY"),
        "{table}"
    );
    for (row, fault) in [
        (
            "sale,1,CNY,M1,10000001,20250314,000007,,,,",
            "line 2: voucher: a batch without it",
        ),
        (
            "sale,1,CNY,M1,10000001,20250314,,,,,",
            "line 2: voucher: a payment needs voucher, order or rrn",
        ),
        (
            "refund,1,CNY,M1,10000001,20250314,,,,,",
            "line 2: refund: a refund needs its number or rrn",
        ),
        (
            "sale,1,CNY,M1,10000001,20250230,,,031411020008,,",
            "line 2: clearing: a day such as",
        ),
        ("sale,1,CNY,M1", "line 2: line has 4 columns, not 11"),
    ] {
        file(&[row]);
        desk.fails(4, fault, "ledger reconcile v --settlement settlement.csv");
    }
    desk.fails(2, "Usage", "ledger reconcile v");
}

#[test]
fn watch_shows_what_a_person_should_see() {
    let desk = Desk::new();
    desk.bench.write("small.jsonl", small_sales(1, 5));
    desk.ok("journal write t small.jsonl --json-lines");
    desk.bench
        .write("night.jsonl", small_sales(6, 1).replace(" 12:", " 03:"));
    desk.ok("journal write t night.jsonl --json-lines");
    desk.ok("journal upload t -o up");
    desk.ok("journal import v up");
    let told: Vec<_> = desk
        .json("ledger watch v")
        .iter()
        .map(|alert| alert["pattern"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["unusual-hour", "sequence-gap", "small-payments"]);
    let shown = desk.no("ledger watch v --from 2025-03-14T12:00:00+08:00");
    assert!(
        shown.contains("5 small payments in a short time"),
        "{shown}"
    );
    assert!(
        shown.ends_with("5 payments, 1 to be looked at\n"),
        "{shown}"
    );
    desk.ok("ledger watch v --from 2025-03-14T12:00:00+08:00 --small-of-card 6");
    desk.ok("ledger watch v --from 2025-03-14T12:00:00+08:00 --small 199");
    let help = desk.ok("ledger watch --help");
    for default in [
        "[default: 1000]",
        "[default: 5]",
        "[default: 30]",
        "[default: 600]",
        "[default: 86400]",
        "[default: 6]",
        "[default: 24]",
    ] {
        assert!(help.contains(default), "{default}");
    }
}

#[test]
fn bad_input_is_named_by_line_and_field_and_nothing_is_written() {
    let desk = Desk::new();
    let flash = || fs::read(desk.bench.path("t/journal.flash")).unwrap();
    let before = flash();
    let good = DAY.lines().nth(1).unwrap();
    let with = |old: &str, new: &str| {
        assert!(good.contains(old), "{old}");
        format!("{DAY}{}\n", good.replacen(old, new, 1))
    };
    for (text, fault) in [
        (
            with("10:15:00", "25:15:00"),
            "line 12: time: a time such as",
        ),
        (
            with(",sale,", ",gift,"),
            "line 12: kind: no kind of payment",
        ),
        (
            with("100.00", "100.001"),
            "line 12: amount: amount has a character at 6",
        ),
        (with("100.00", "-1"), "line 12: amount: "),
        (
            with("CNY", "XYZ"),
            "line 12: currency: currency is out of range",
        ),
        (
            with("000001", "00001"),
            "line 12: stan: trace number cannot have 5 characters",
        ),
        (
            with("4111 1111 1111 1111", "4111111111111112"),
            "line 12: card: card number fails the Luhn check",
        ),
        (with("4111 1111 1111 1111", "41111"), "line 12: card: "),
        (
            with("2812", "2813"),
            "line 12: expiry: expiry month is not 1 to 12",
        ),
        (
            with("4111 1111 1111 1111", ""),
            "line 12: card: an expiry or sequence number without it",
        ),
        (
            with("031410150001", "0314"),
            "line 12: rrn: reference number cannot have 4 characters",
        ),
        (
            with(",M1,", ",,"),
            "line 12: merchant: nothing stands there",
        ),
        (with("100.00", "\"100.00"), "line 12: broken quotes at byte"),
        (format!("{DAY}1,2\n"), "line 12: line has 2 columns, not 17"),
        (
            DAY.replacen("currency", "money", 1),
            "line 1: column 4 is unknown",
        ),
        (
            DAY.replacen(",currency", ",time", 1),
            "line 1: time: the column is there twice",
        ),
        (
            DAY.replacen("voucher:000007/000099", "voucher:7", 1),
            "line 11: original: voucher:BATCH",
        ),
    ] {
        desk.bench.write("bad.csv", &text);
        let answer = desk.ends(4, "journal write t bad.csv");
        assert!(answer.errors.contains(fault), "{fault}: {}", answer.errors);
        assert_eq!(answer.out, "");
    }
    for (text, fault) in [
        (
            "{\"time\":\"2025-03-14\"",
            "line 1: no JSON object of texts",
        ),
        (
            "{\"time\":\"2025-03-14\",\"pan\":\"4111111111111111\"}",
            "line 1: field 2 is unknown",
        ),
        ("{\"amount\":100}", "line 1: no JSON object of texts"),
        ("{\"card\":\"\\u0034111111111111111\"}", "without escapes"),
        (
            "{\"time\":\"2025-03-14\"}",
            "line 1: kind: nothing stands there",
        ),
    ] {
        desk.bench.write("bad.jsonl", text);
        desk.fails(4, fault, "journal write t bad.jsonl --json-lines");
    }
    assert_eq!(flash(), before, "half of it was written");
    // A full journal says how far it came, and goes on when there is room.
    let many: String = small_sales(11, 60).replace("12:", "13:");
    desk.bench.write("many.jsonl", many);
    desk.ok("journal init v t2 --terminal 10000002 --pages 2");
    let full = desk.ends(4, "journal write t2 many.jsonl --json-lines");
    assert!(
        full.errors.contains("the journal is full"),
        "{}",
        full.errors
    );
    let from = full.errors.split("--from-line ").nth(1).unwrap();
    let from = from.split_whitespace().next().unwrap();
    for line in [
        "journal upload t2 -o up",
        "journal import v up --receipt receipt",
        "journal confirm t2 receipt",
        &format!("journal write t2 many.jsonl --json-lines --from-line {from}"),
        "journal upload t2 -o up2",
        "journal import v up2",
    ] {
        desk.ok(line);
    }
    assert_eq!(desk.found("--from 2025-03-14").len(), 60);
    assert!(
        desk.ok("journal write --help")
            .contains("voucher:BATCH/VOUCHER")
    );
    assert!(
        desk.ok("ledger reconcile --help")
            .contains("missing-in-ledger")
    );
}

#[test]
fn a_terminals_own_void_has_a_number_that_no_card_has() {
    let desk = Desk::new();
    let head = "time,kind,amount,currency,stan,voucher,batch,merchant,card,response,original";
    let line = |at: u32, rest: &str| format!("2025-03-14 10:15:00,{rest},{at:06},{at:06},000007");
    // In hexadecimal digits T0000003 is 5430303030303033, which passes for a Mastercard.
    let rows = [
        line(1, "sale,5.00,CNY") + ",M1,4111111111111111,00,",
        line(2, "sale-void,5.00,CNY") + ",M1,,00,voucher:000007/000001",
    ];
    desk.bench
        .write("void.csv", format!("{head}\n{}\n", rows.join("\n")));
    desk.ok("journal init v t3 --terminal T0000003 --pages 8");
    desk.ok("journal write t3 void.csv");
    // A pipe to the host: nothing but the upload stands in it.
    let upload = desk.bench.run(&["journal", "upload", "t3", "-o", "-"], "");
    assert!(errors(&upload).contains("2 entries to -"));
    desk.bench.write("up3", &upload.stdout);
    desk.ok("journal import v up3");
    let kinds = desk.json("journal show v up3");
    assert_eq!(
        [&kinds[1]["kind"], &kinds[1]["currency"]],
        ["sale-void", "CNY"]
    );

    let listed = desk.json("refund list v");
    let number = listed[0]["number"].as_str().unwrap();
    assert_eq!(number, "J-T0000003/1/1");
    let asked = desk.ok(&format!("refund status v --merchant M1 --number {number}"));
    assert!(asked.contains("payment    T0000003/1/0\n"), "{asked}");
    let history = desk.ok("ledger history v --payment T0000003/1/1");
    assert!(history.contains("checked: 1 event, none"), "{history}");
}

#[test]
fn what_a_person_gets_wrong_is_answered_in_his_words() {
    let desk = Desk::with_day();
    let elsewhere = desk.ends(0, "ledger find v --from 2025-03-14 --domain shop-2");
    assert!(
        elsewhere
            .errors
            .contains("no such payment in the domain shop-2")
    );
    let elsewhere = desk.ends(0, "refund list v --domain shop-2");
    assert!(
        elsewhere
            .errors
            .contains("no such request in the domain shop-2")
    );
    let refund = "refund request v --payment 10000001/1/0 --merchant M1 --number R-1 --amount";
    for amount in ["-5", "5.123", "5,00"] {
        let answer = desk.ends(2, &format!("{refund} {amount}"));
        let shown = answer.errors;
        assert!(
            shown.contains("at most 2 digits behind the point for CNY"),
            "{shown}"
        );
    }
    let bad = desk
        .bench
        .run(&["journal", "write", "t"], format!("{}x\n", DAY));
    let shown = errors(&bad);
    assert!(
        shown.contains("standard input: 1 faulty line; nothing"),
        "{shown}"
    );
    // Another process has it open.
    let flash = fs::File::open(desk.bench.path("t/journal.flash")).unwrap();
    flash.lock().unwrap();
    desk.fails(
        4,
        "another process has the journal open",
        "journal write t day.csv",
    );
}
