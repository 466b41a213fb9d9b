//! The command `cardvault`, as a person or a script runs it.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

#[path = "support/bench.rs"]
mod bench;
mod common;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bench::{Bench, PASSPHRASE, VISA, code, errors, finish, text};
use cardvault::journal::{
    FileFlash, FlashState, Journal, Position, Reading, Recovery, upload_identity,
};
use cardvault::seal::open_ring_with_passphrase;
use cardvault::vault::{Embedded, EmbeddedOptions, Row, Store, Write};
use pollster::block_on;

const AMEX: &str = "378282246310005";

/// Card numbers that pass Luhn, by a method of their own.
fn card(number: usize) -> String {
    let body = format!("4{number:014}");
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| match (at % 2, u32::from(byte - b'0')) {
            (0, digit @ 5..) => 2 * digit - 9,
            (0, digit) => 2 * digit,
            (_, digit) => digit,
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn cards(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "{}", card(number)).unwrap();
        text
    })
}

#[test]
fn a_csv_file_there_and_back() {
    let bench = Bench::new();
    let input = format!(
        "\u{feff}id,Card Number,note\r\n1,{VISA},\"a \"\"b\"\", c\"\r\n2,\"{AMEX}\", x \r\n\r\n3,{VISA},last"
    );
    bench.write("cards.csv", &input);
    let tokenized = bench.run(
        &[
            "tokenize",
            "v",
            "cards.csv",
            "-c",
            "Card Number",
            "-o",
            "tokens.csv",
        ],
        "",
    );
    assert_eq!(code(&tokenized), 0, "{}", errors(&tokenized));
    assert!(errors(&tokenized).contains("3 tokenized (1 had their token), 1 empty lines kept"));
    let tokens = bench.read("tokens.csv");
    let lines: Vec<_> = tokens.split("\r\n").collect();
    assert_eq!(lines[0], "id,Card Number,note");
    assert!(lines[1].starts_with("1,cvt_") && lines[1].ends_with(",\"a \"\"b\"\", c\""));
    assert!(lines[2].starts_with("2,cvt_") && lines[2].ends_with(", x "));
    assert_eq!((lines[3], lines.len()), ("", 5));
    assert!(lines[4].starts_with("3,cvt_") && lines[4].ends_with(",last"));
    assert_eq!(lines[1][2..34], lines[4][2..34], "one card has one token");

    let back = [
        "detokenize",
        "v",
        "tokens.csv",
        "-c",
        "2",
        "--header",
        "--purpose",
        "test",
    ];
    let back = bench.output(&back, "");
    assert_eq!(
        back,
        input
            .replace('\u{feff}', "")
            .replace(&format!("\"{AMEX}\""), AMEX)
    );
    let log = bench.output(&["audit", "show", "v", "--json"], "");
    assert_eq!(log.lines().count(), 3);
    assert!(log.contains("\"actor\":\"tester\"") && log.contains("\"purpose\":\"test\""));
    assert!(!log.contains(VISA));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        bench.write(".clear.csv.cardvault-draft", "left behind by another run");
        let clear = [
            "detokenize",
            "v",
            "tokens.csv",
            "--header",
            "-c",
            "2",
            "--purpose",
            "test",
        ];
        let clear = [&clear[..], &["-o", "clear.csv"]].concat();
        bench.output(&clear, "");
        let mode = fs::metadata(bench.path("clear.csv"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!((mode & 0o777, bench.read("clear.csv")), (0o600, back));
        symlink("elsewhere", bench.path(".clear.csv.cardvault-draft")).unwrap();
        bench.fails(4, "is no file", &clear);
        assert!(!bench.path("elsewhere").exists());
    }
}

/// A folder's policy is kept by every command, and its budgets by all of them together.
#[test]
fn a_folders_policy_is_kept() {
    let bench = Bench::new();
    let tokens = bench.output(&["tokenize", "v"], cards(3));
    bench.write(
        "v/policy.toml",
        r#"
        existing = "hidden"
        [[actor]]
        name = "desk-3"
        grants = [
            { may = ["detokenize"], domains = ["default"], purposes = ["chargeback *"] },
            { may = ["keys"] },
        ]
        budgets = { detokenize = "5 per day" }
        "#,
    );
    let table = "\
ACTOR   MAY                                                              DOMAINS  PURPOSES
desk-3  detokenize (5 per day)                                           default  chargeback *
desk-3  add-key, activate-key, retire-key, compromise-key, destroy-key  all      all
tokenize does not say whether a card was known
";
    let shown = bench.output(&["policy", "check", "v"], "");
    let squeezed = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(squeezed(&shown), squeezed(table));
    let open = [
        "detokenize",
        "v",
        "--origin=host-1",
        "--purpose=chargeback 7",
        "--actor",
    ];
    let desk = [&open[..], &["desk-3"]].concat();
    assert_eq!(bench.output(&desk, &tokens), cards(3));
    let more = bench.run(&desk, &tokens);
    assert_eq!(code(&more), 1, "{}", errors(&more));
    assert_eq!(
        text(&more).lines().filter(|line| !line.is_empty()).count(),
        2
    );
    assert!(errors(&more).contains("the budget is used up; it renews at "));
    // Vaultless tokens are under it too.
    let vaultless = bench.output(&["tokenize", "v", "--vaultless", "0:4"], cards(1));
    let spent = [&desk[..], &["--vaultless", "0:4"]].concat();
    assert_eq!(code(&bench.run(&spent, &vaultless)), 1);
    let other = [&open[..], &["desk-4"]].concat();
    let refused = bench.run(&other, &tokens);
    assert!(
        errors(&refused).contains("the policy does not grant this"),
        "{}",
        errors(&refused)
    );
    assert!(text(&refused).is_empty());
    let add = ["keys", "add", "v", "card"];
    bench.fails(3, "the policy does not grant this", &add);
    bench.output(&[&add[..], &["--actor", "desk-3"]].concat(), "");

    let log = bench.output(&["audit", "show", "v", "--lines"], "");
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(
        count("operation=detokenize outcome=granted actor=\"desk-3\""),
        5
    );
    assert_eq!(
        count("purpose=\"chargeback 7\" origin=\"host-1\" domain=\"default\""),
        10
    );
    assert_eq!(count(" refusal=budget-used-up"), 2);
    assert_eq!(
        count("operation=add-key outcome=granted actor=\"desk-3\""),
        1
    );
    assert_eq!(count(" key=card-2"), 2);
    assert!(count("operation=policy outcome=granted actor=\"tester\" purpose=\"policy.toml ") > 0);

    bench.write(
        "v/policy.toml",
        "[[actor]]\nname = \"x\"\ngrants = [{ may = [\"all\"] }]\n",
    );
    for arguments in [
        &desk[..],
        &["policy", "check", "v"],
        &["policy", "check", "v/policy.toml"],
    ] {
        bench.fails(4, "policy.toml: line 3: no such operation", arguments);
    }
}

#[test]
fn every_format_there_and_back_in_a_pipe() {
    let bench = Bench::new();
    let input = cards(500);
    let detokenize = ["detokenize", "v", "--purpose", "test", "--domain"];
    for (domain, extra) in [
        ("a", vec!["--format", "opaque"]),
        ("b", vec!["--format", "card:6:4"]),
        ("c", vec!["--format", "card:0:4", "--fresh"]),
        ("d", vec!["--vaultless", "0:4"]),
    ] {
        let mut arguments = vec!["tokenize", "v", "-", "--domain", domain];
        arguments.extend(&extra);
        let tokens = bench.output(&arguments, &input);
        assert_eq!(tokens.lines().count(), 500);
        for (token, card) in tokens.lines().zip(input.lines()) {
            assert_ne!(token, card);
            assert!(domain == "a" || token.ends_with(&card[12..]));
        }
        let mut arguments = detokenize.to_vec();
        arguments.push(domain);
        if domain == "d" {
            arguments.extend(&extra);
        }
        assert_eq!(bench.output(&arguments, &tokens), input, "{domain}");
    }
    assert_eq!(
        bench
            .output(&["audit", "show", "v", "--json"], "")
            .lines()
            .count(),
        4 * 500,
        "each access is logged"
    );
    let hashed = bench.output(&["tokenize", "v", "--irreversible"], &input);
    assert!(hashed.lines().all(|token| token.starts_with("cvh_")));
    assert_eq!(
        hashed,
        bench.output(&["tokenize", "v", "--irreversible"], &input)
    );
    let stats = bench.output(&["stats", "v", "--json"], "");
    assert!(
        stats.contains("\"tokens\": 1500") && stats.contains("\"card-1\": 1500"),
        "{stats}"
    );
    bench.fails(2, "10^5", &["tokenize", "v", "--vaultless", "6:4"]);
}

#[test]
fn bad_lines_are_named_and_never_shown() {
    let bench = Bench::new();
    let long = "9".repeat(70_000);
    let bad = [
        ("1,4111111111111112,luhn", "Luhn"),
        (
            "2,\u{ff14}\u{ff11}\u{ff11}\u{ff11},full-width",
            "not ASCII at offset 0",
        ),
        ("3,41111111\u{0}1111111,nul", "NUL byte at byte 10"),
        ("4,\"4111111111111111,open quote", "broken quotes at byte 2"),
        (
            "5,4111111111111111,more,columns",
            "line has 4 columns, not 3",
        ),
        ("6,4111111111111111", "line has 2 columns, not 3"),
        ("7,41111111111111114111111111111111,long", "32 digits"),
        ("8,,empty", "empty"),
        (&*format!("9,{long},x"), "longer than 65536 bytes"),
        (
            "10,cvt_aaaaaaaaaaaaaaaaaaaaaaaaaaaa,a token",
            "unexpected byte at offset 0",
        ),
    ];
    let mut input = format!("id,pan,note\n0,{VISA},good\n");
    for (line, _) in &bad {
        writeln!(input, "{line}").unwrap();
    }
    writeln!(input, "11,{AMEX},good").unwrap();
    bench.write("in.csv", input);
    let arguments = [
        "tokenize", "v", "in.csv", "-c", "pan", "-o", "out.csv", "--reject", "bad.csv",
    ];
    let output = bench.run(&arguments, "");
    assert_eq!(code(&output), 1, "{}", errors(&output));
    assert!(errors(&output).contains("2 tokenized, 10 rejected"));
    assert_eq!(bench.read("out.csv").lines().count(), 3);
    let rejected = bench.read("bad.csv");
    let rows: Vec<_> = rejected.lines().collect();
    assert_eq!((rows[0], rows.len()), ("line,reason", 11));
    for (at, (row, (_, reason))) in rows[1..].iter().zip(bad).enumerate() {
        assert!(row.starts_with(&format!("{},\"", at + 3)), "{row}");
        assert!(row.contains(reason), "{row}: {reason}");
    }
    for shown in [rejected, errors(&output)] {
        assert!(
            !shown.contains("4111") && !shown.contains("1111"),
            "{shown}"
        );
    }
    // Without a reject file the first ones are named on standard error.
    let output = bench.run(&["mask"], "4111111111111112\nx\n");
    assert_eq!((code(&output), text(&output)), (1, String::new()));
    assert!(errors(&output).contains("line 1: card number fails the Luhn check"));
}

#[test]
fn other_delimiters_and_plain_lines() {
    let bench = Bench::empty();
    let mask =
        |arguments: &[&str], input: &str| bench.output(&[&["mask"], arguments].concat(), input);
    assert_eq!(
        mask(&[], &format!(" {VISA}\t\n4111-1111-1111-1111\n")),
        "411111******1111\n".repeat(2)
    );
    assert_eq!(mask(&["--bin", "0"], VISA), "************1111");
    assert_eq!(
        mask(&["-c", "2", "-d", ";"], &format!("a;{VISA};b\n")),
        "a;411111******1111;b\n"
    );
    assert_eq!(
        mask(&["-c", "1", "-d", "tab"], &format!("{VISA}\tb\n")),
        "411111******1111\tb\n"
    );
    assert_eq!(
        mask(
            &["-c", "pan", "--append", "mask"],
            &format!("pan\n{VISA}\n")
        ),
        format!("pan,mask\n{VISA},411111******1111\n")
    );
    assert_eq!(mask(&["--csv"], ""), "");
    let admitted = mask(&["--admit-luhn-failures"], "6200000000000006\n");
    assert_eq!(admitted, "620000******0006\n");
    bench.fails(2, "not among the 1 columns", &["mask", "-c", "pan"]);
    bench.fails(2, "not among the 1 columns", &["mask", "-c", "0"]);
    bench.fails(2, "this is a folder", &["mask", "-o", "."]);
    bench.fails(4, "No such file", &["mask", "nowhere.csv"]);
}

#[test]
fn an_interrupted_run_is_run_again() {
    let bench = Bench::new();
    let count = 60_000;
    bench.write("cards.txt", cards(count));
    let arguments = ["tokenize", "v", "cards.txt", "-o", "tokens.txt"];
    let mut child = bench.command(&arguments).spawn().unwrap();
    // Kill it once some of the tokens are in the vault and before all of them are out.
    let draft = bench.path(".tokens.txt.cardvault-draft");
    while fs::metadata(&draft).map_or(0, |draft| draft.len()) == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "too fast to be interrupted"
        );
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !bench.path("tokens.txt").exists(),
        "half a file under its name"
    );
    let half = bench.read(".tokens.txt.cardvault-draft");
    let half: Vec<_> = half
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .collect();
    assert!(!half.is_empty() && half.len() < count);

    let again = bench.run(&arguments, "");
    assert_eq!(code(&again), 0, "{}", errors(&again));
    let tokens = bench.read("tokens.txt");
    assert_eq!(tokens.lines().count(), count);
    assert!(
        tokens.starts_with(&half.concat()),
        "another token for the same card"
    );
    assert!(!draft.exists());
    let stats = bench.output(&["stats", "v", "--json"], "");
    assert!(
        stats.contains(&format!("\"tokens\": {count}")),
        "second tokens: {stats}"
    );
}

#[test]
fn card_numbers_are_no_arguments() {
    let bench = Bench::empty();
    for arguments in [
        vec!["mask", VISA],
        vec!["inspect", "4111 1111 1111 1111"],
        vec!["tokenize", "v", "--domain=378282246310005"],
        vec!["detokenize", "v", "--purpose", "refund of 4111111111111111"],
        vec![VISA],
        vec!["mask", "cards-4111111111111111.csv"],
    ] {
        bench.fails(2, "looks like a card number", &arguments);
        let shown = errors(&bench.run(&arguments, ""));
        assert!(
            !shown.contains("4111") && !shown.contains("3782"),
            "{shown}"
        );
    }
}

#[test]
fn usage_is_told_and_help_lists_exit_codes() {
    let bench = Bench::empty();
    let help = bench.output(&["--help"], "");
    assert!(help.contains("Exit codes:") && help.contains("tokenize"));
    assert!(
        bench
            .output(&["tokenize", "--help"], "")
            .contains("reject file")
    );
    bench.fails(2, "--purpose", &["detokenize", "v"]);
    bench.fails(2, "Usage", &["mask", "--nonsense"]);
    bench.fails(4, "cardvault init", &["stats", "nowhere"]);
}

#[test]
fn life_of_a_key() {
    let bench = Bench::new();
    bench.output(&["tokenize", "v", "-o", "tokens"], cards(50));
    assert!(
        bench
            .output(&["keys", "add", "v", "card"], "")
            .starts_with("card-2 pre-activation")
    );
    bench.fails(
        3,
        "cannot become destroyed",
        &["keys", "destroy", "v", "index-1", "--unused"],
    );
    bench.output(&["keys", "activate", "v", "card-2"], "");
    let destroy = ["keys", "destroy", "v", "card-1"];
    bench.fails(3, "destroy card-1: 50 rows need card-1", &destroy);
    bench.fails(3, "records    50", &destroy);
    bench.fails(3, "`cardvault vault rewrap v`", &destroy);
    bench.fails(
        3,
        "vaultless-1 is active",
        &["keys", "destroy", "v", "vaultless-1"],
    );

    let rewrap = ["vault", "rewrap", "v"];
    let step = bench.output(
        &[&rewrap[..], &["--limit", "20", "--rate", "20"]].concat(),
        "",
    );
    assert_eq!(
        step,
        "20 rows seen, 20 sealed anew under card-2\nrun it again to go on\n"
    );
    let rest = bench.output(&rewrap, "");
    assert_eq!(rest, "50 rows seen, 50 sealed anew under card-2\n");

    bench.output(&["keys", "destroy", "v", "card-1"], "");
    let list = bench.output(&["keys", "list", "v"], "");
    let state = |key: &str| {
        let line = list.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (state("card-1"), state("card-2")),
        ("destroyed".into(), "active".into())
    );
    let back = bench.output(&["detokenize", "v", "tokens", "--purpose", "test"], "");
    assert_eq!(back, cards(50));
    let file = fs::read(bench.path("v/ring.cvk")).unwrap();
    for more in [&[][..], &["--compromised"]] {
        let retire = [&["keys", "retire", "v", "index-1"][..], more].concat();
        bench.fails(3, "`cardvault keys rotate v index` replaces it", &retire);
    }
    assert_eq!(fs::read(bench.path("v/ring.cvk")).unwrap(), file);
    bench.output(&["stats", "v"], "");
    bench.output(&["keys", "retire", "v", "card-2"], "");
    bench.fails(3, "no card key is active", &["tokenize", "v"]);
    bench.fails(3, "keys add FOLDER card", &["vault", "rewrap", "v"]);
    bench.fails(3, "no card-9", &["keys", "activate", "v", "card-9"]);
    bench.fails(4, "everything is granted", &["policy", "check", "v"]);
    bench.fails(4, "nothing says what may go", &["vault", "purge", "v"]);
    assert!(bench.output(&["keys", "check", "v"], "").contains("card-1"));
}

#[test]
fn an_older_ring_is_refused() {
    let bench = Bench::new();
    let old = fs::read(bench.path("v/ring.cvk")).unwrap();
    bench.output(&["keys", "add", "v", "card"], "");
    let new = fs::read(bench.path("v/ring.cvk")).unwrap();
    bench.write("v/ring.cvk", old);
    for arguments in [
        vec!["stats", "v"],
        vec!["tokenize", "v"],
        vec!["tokenize", "v", "--vaultless", "0:4"],
        vec!["keys", "add", "v", "card"],
        vec!["keys", "check", "v"],
    ] {
        bench.fails(3, "behind", &arguments);
    }
    bench.write("v/ring.cvk", new);
    bench.output(&["stats", "v"], "");
}

#[test]
fn a_ring_that_was_written_before_the_vault_knew_is_taken() {
    // What a cut between the two writes of a change leaves behind.
    let bench = Bench::new();
    bench.output(&["tokenize", "v", "-o", "tokens"], VISA);
    let vault = fs::read(bench.path("v/vault.redb")).unwrap();
    bench.output(&["keys", "add", "v", "card"], "");
    bench.output(&["keys", "activate", "v", "card-2"], "");
    bench.write("v/vault.redb", vault);
    let back = bench.output(&["detokenize", "v", "tokens", "--purpose", "test"], "");
    assert_eq!(back, VISA);
}

#[test]
fn a_backup_and_its_restore() {
    let bench = Bench::new();
    bench.output(&["tokenize", "v", "-o", "tokens"], cards(2000));
    let export = [
        "export",
        "v",
        "--origin=host-1",
        "--purpose",
        "nightly",
        "-o",
    ];
    let exported = bench.run(&[&export[..], &["b.cva"]].concat(), "");
    assert_eq!(code(&exported), 0, "{}", errors(&exported));
    assert!(errors(&exported).contains(": 2000 rows"));
    let show = ["audit", "show", "v", "--operation", "export"];
    let log = bench.output(&show, "");
    let shown: Vec<_> = log.lines().last().unwrap().split("  ").skip(1).collect();
    let expected = ["export", "granted", "tester", "nightly", "host-1", "*"];
    assert_eq!(
        shown
            .iter()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>(),
        expected
    );
    let quiet = bench.run(&[&export[..], &["-", "-q"]].concat(), "");
    assert!(quiet.stdout.starts_with(b"CVARCH\r\n"));
    assert!(!errors(&quiet).contains("rows"));

    let verified = bench.output(&["import", "b.cva", "--dry-run"], "");
    assert!(verified.contains("rows             2000\n") && verified.ends_with("verified\n"));
    let made = verified.lines().find_map(|line| line.strip_prefix("made"));
    let made = made.unwrap().trim().as_bytes();
    assert!(matches!(
        made,
        [
            b'2',
            ..,
            b'-',
            _,
            _,
            b'T',
            _,
            _,
            b':',
            _,
            _,
            b':',
            _,
            _,
            b'Z'
        ]
    ));
    let restored = bench.run(&["import", "b.cva", "deep/r"], "");
    assert_eq!(code(&restored), 0, "{}", errors(&restored));
    assert!(errors(&restored).contains("every record opens"));
    let back = ["detokenize", "deep/r", "tokens", "--purpose", "test"];
    assert_eq!(bench.output(&back, ""), cards(2000));
    bench.fails(3, "not empty", &["import", "b.cva", "deep/r"]);
    bench.fails(3, "not empty", &["import", "b.cva", "v"]);
    bench.output(&["init", "w", "--argon2-memory", "19456"], "");
    bench.fails(4, "is there already", &["import", "b.cva", "w"]);

    // What an interruption right at the beginning leaves.
    fs::create_dir(bench.path("half")).unwrap();
    fs::copy(bench.path("v/ring.cvk"), bench.path("half/ring.cvk")).unwrap();
    bench.output(&["import", "b.cva", "half"], "");

    let archive = fs::read(bench.path("b.cva")).unwrap();
    let mut changed = archive.clone();
    changed[archive.len() / 2] ^= 1;
    bench.write("changed", changed);
    bench.fails(3, "was changed", &["import", "changed", "n"]);
    bench.write("cut", &archive[..archive.len() - 1]);
    bench.fails(3, "the archive ends at byte", &["import", "cut", "n"]);
    bench.write("other", "something else");
    bench.fails(4, "not an archive", &["import", "other", "n"]);
    bench.fails(4, "No such file", &["import", "nowhere", "n"]);
    bench.fails(2, "FOLDER", &["import", "b.cva"]);
    assert!(!bench.path("n").exists(), "something was made of nothing");

    bench.output(&[&export[..], &["bare", "--without-ring"]].concat(), "");
    bench.fails(2, "carries no key ring", &["import", "bare", "n"]);
    bench.output(&["import", "bare", "n", "--ring", "v/ring.cvk"], "");
    bench.fails(
        3,
        "another key ring",
        &["import", "b.cva", "m", "--ring", "w/ring.cvk"],
    );
    bench.output(&["keys", "retire", "v", "archive-1"], "");
    let none = [&export[..], &["none"]].concat();
    bench.fails(3, "`cardvault keys add FOLDER archive`", &none);
    assert!(!bench.path("none").exists());
    bench.output(&["keys", "add", "v", "archive"], "");
    bench.output(&["keys", "activate", "v", "archive-2"], "");
    bench.output(&none, "");
    #[cfg(unix)]
    for name in ["b.cva", "deep/r/ring.cvk", "deep/r/vault.redb"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(bench.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn what_opens_the_ring_must_fit() {
    let bench = Bench::new();
    bench.write("wrong", "another passphrase\n");
    bench.write("right", format!("{PASSPHRASE}\r\n"));
    bench.write("short", "short");
    bench.fails(
        3,
        "does not open",
        &["stats", "v", "--passphrase-file", "wrong"],
    );
    bench.fails(
        3,
        "passphrase cannot have 5 bytes",
        &["stats", "v", "--passphrase-file", "short"],
    );
    bench.fails(
        4,
        "No such file",
        &["stats", "v", "--passphrase-file", "nowhere"],
    );
    bench.output(&["stats", "v", "--passphrase-file", "right"], "");
    let mut command = bench.command(&["stats", "v"]);
    command.env_remove("CARDVAULT_PASSPHRASE");
    let output = finish(command.spawn().unwrap(), b"");
    assert_eq!(code(&output), 2);
    assert!(errors(&output).contains("there is no terminal to ask on"));

    let ring = fs::read(bench.path("v/ring.cvk")).unwrap();
    bench.write("v/ring.cvk", &ring[..ring.len() - 1]);
    bench.fails(3, "put the newest backup", &["stats", "v"]);
    let mut flipped = ring.clone();
    *flipped.last_mut().unwrap() ^= 1;
    bench.write("v/ring.cvk", &flipped);
    bench.fails(3, "changed", &["stats", "v"]);
    bench.write("v/ring.cvk", "not a ring");
    bench.fails(3, "not a sealed key ring", &["stats", "v"]);
    bench.write("v/ring.cvk", &ring);
    let vault = fs::read(bench.path("v/vault.redb")).unwrap();
    bench.write("v/vault.redb", "not a vault");
    bench.fails(3, "not a vault", &["stats", "v"]);
    bench.write("v/vault.redb", vault);
    bench.fails(4, "is there already", &["init", "v"]);
    bench.output(&["stats", "v"], "");
}

#[test]
fn a_vault_is_open_once() {
    let bench = Bench::new();
    // Waits for its input with the vault open; unless another command had it just then.
    let mut held = None;
    for _ in 0..5 {
        let mut first = bench.command(&["tokenize", "v"]).spawn().unwrap();
        let stdin = first.stdin.take().unwrap();
        let refused = (0..200).any(|_| {
            thread::sleep(Duration::from_millis(10));
            let second = bench.run(&["stats", "v"], "");
            code(&second) == 3 && errors(&second).contains("another process has the vault open")
        });
        if refused && first.try_wait().unwrap().is_none() {
            held = Some((first, stdin));
            break;
        }
    }
    let (first, mut stdin) = held.expect("two processes had the vault open");
    stdin.write_all(VISA.as_bytes()).unwrap();
    drop(stdin);
    let first = first.wait_with_output().unwrap();
    assert_eq!(code(&first), 0);
    assert!(text(&first).starts_with("cvt_"));
}

#[test]
fn production_rings_need_their_components() {
    let bench = Bench::empty();
    let made = bench.run(
        &["init", "p", "--new-component", "a", "--new-component", "b"],
        "",
    );
    assert_eq!(code(&made), 0, "{}", errors(&made));
    assert!(!errors(&made).contains("development"));
    let kek = text(&made)
        .lines()
        .find_map(|line| line.strip_prefix("KEK    "))
        .unwrap()[..6]
        .to_owned();
    let with: &[&str] = &["--component-file", "a", "--component-file", "b"];
    let stats = bench.run(&[&["stats", "p"], with].concat(), "");
    assert_eq!(code(&stats), 0, "{}", errors(&stats));
    assert_eq!(
        errors(&stats),
        "",
        "a production ring is no development ring"
    );
    let check = bench.output(&[&["keys", "check"], with].concat(), "");
    assert!(check.contains(&format!("{kek}  KEK")), "{check}");

    bench.output(&["keys", "components", "c", "d"], "");
    bench.fails(
        3,
        &kek,
        &[
            "stats",
            "p",
            "--component-file",
            "c",
            "--component-file",
            "d",
        ],
    );
    bench.fails(
        3,
        "2 to 8 components",
        &["stats", "p", "--component-file", "a"],
    );
    bench.fails(
        3,
        "the same",
        &[
            "stats",
            "p",
            "--component-file",
            "a",
            "--component-file",
            "a",
        ],
    );
    bench.fails(2, &kek, &["stats", "p"]);
    bench.fails(4, "exists", &["keys", "components", "a", "e"]);
    let component = bench.read("a");
    bench.write(
        "a",
        component.replacen(|digit: char| digit.is_ascii_hexdigit(), "G", 1),
    );
    bench.fails(3, "hexadecimal", &[&["stats", "p"], with].concat());
    let log = audit_log(&bench, "p");
    #[cfg(unix)]
    for name in [
        "a",
        "p/ring.cvk",
        "p/vault.redb",
        &format!("{log}/00000000.cva"),
        &format!("{log}/state.cvs"),
    ] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(bench.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// The folder of the one audit log of a vault.
fn audit_log(bench: &Bench, vault: &str) -> String {
    let folder = format!("{vault}/audit");
    let mut entries = fs::read_dir(bench.path(&folder)).unwrap();
    let log = entries.next().unwrap().unwrap().file_name();
    assert!(entries.next().is_none());
    format!("{folder}/{}", log.to_str().unwrap())
}

#[test]
fn every_command_shows_that_a_ring_is_for_development() {
    let bench = Bench::new();
    for arguments in [
        vec!["stats", "v"],
        vec!["tokenize", "v", "-q"],
        vec!["detokenize", "v", "--purpose", "test"],
        vec!["keys", "list", "v"],
        vec!["keys", "check", "v"],
        vec!["keys", "add", "v", "card"],
        vec!["vault", "rewrap", "v"],
    ] {
        let shown = errors(&bench.run(&arguments, ""));
        assert!(
            shown.contains("development key ring"),
            "{arguments:?}: {shown}"
        );
    }
}

#[test]
fn inspect_tells_without_showing() {
    let bench = Bench::empty();
    let input = format!("{VISA}\n\n4111111111111112\n6200000000000006\nx\n");
    let output = bench.run(&["inspect"], &input);
    assert_eq!(code(&output), 1);
    let shown = text(&output);
    let rows: Vec<Vec<_>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1], ["1", "Visa", "16", "pass", "411111******1111"]);
    assert_eq!(rows[2], ["3", "Visa", "16", "FAIL", "411111******1112"]);
    assert_eq!(
        rows[3],
        ["4", "UnionPay", "16", "may", "fail", "620000******0006"]
    );
    assert!(shown.contains("5  card number has an unexpected byte at offset 0"));
    let json = text(&bench.run(&["inspect", "--json"], &input));
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["mask"], "411111******1111");
    assert!(!shown.contains(VISA) && !json.contains(VISA));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let bench = Bench::empty();
    let mut child = bench.command(&["mask"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = finish(child, cards(30_000).as_bytes());
    assert_eq!(errors(&output), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    let bench = Bench::empty();
    bench.fails(4, "make room", &["mask", "-o", "/dev/full"]);
    assert!(Path::new("/dev/full").exists());
}

/// One demo, kept: it takes seconds.
#[test]
fn demo_tells_its_story_and_keeps_what_it_shows() {
    let bench = Bench::empty();
    let output = bench.run(&["demo", "--keep", "d"], "");
    assert_eq!(code(&output), 0, "{}{}", text(&output), errors(&output));
    let shown = text(&output);
    for line in DEMO_LINES {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert!(!shown.contains('\x1b'), "colour in a pipe");
    assert!(shown.is_ascii() && shown.lines().count() <= 230);
    for (_, number) in common::passing() {
        assert!(!shown.contains(number), "the demo shows a clear number");
    }
    let receipts = shown.lines().filter(|line| line.starts_with("      |"));
    let widths = receipts
        .flat_map(|line| line.trim().split("    |"))
        .map(str::len);
    assert!(
        widths.clone().count() > 40 && widths.max() <= Some(36),
        "wider than paper"
    );
    for name in [
        "vault/vault.redb",
        "vault/ring.cvk",
        "tokens.csv",
        "settlement.csv",
    ] {
        assert!(bench.path("d").join(name).exists(), "{name}");
    }
    audit_log(&bench, "d/vault");
    assert!(!bench.path("d/control.bin").exists());
    bench.fails(4, "is there already", &["demo", "--keep", "d"]);
    kept_journals_are_read(&bench);
}

/// What the demo must have worked out, chapter by chapter.
const DEMO_LINES: [&str; 41] = [
    "1. The card",
    "74 published test numbers of 18 brands",
    "track 2  magnetic stripe  2030-12  101      450875******1019",
    "the same by the door for UnionPay  admitted as 620000******0006",
    "2. Tokens",
    "opened again 4 of 4",
    "75 have the same token; asked for fresh ones: 75 have another",
    "150 records moved: 160 under card-2; card-1 is destroyed",
    "today's ring: refused: no key of the ring fits",
    "3. The terminals",
    "Power fails while T0000001 writes 66.00 CNY",
    "torn entry: yes; lost entries: 0; still there: 3 of 3",
    "pending slot 555555******4444",
    "card numbers in it, of 78 known ones in every form: none",
    "keys, 0 of 4 cards open",
    "the host, with journal-1: 4 of 4 cards open",
    "4. The host",
    "journal entry 1 at byte 213: changed           3 of 4",
    "rolled back",
    "first  15 new payments, 0 known; 7 new cards; 0 that act on nothing known",
    "again  0 new payments, 15 known; 0 new cards",
    "12 captured, 1 in doubt, 1 reversed; held against the journals: 0 differences",
    "5. The refund desk",
    "refused: too late for a void: the batch is settled",
    "refused: not the card that paid",
    "refused: more than is left: 100.00 CNY",
    "accepted already, nothing is sent",
    "refused: needs a supervisor",
    "refused: the outcome of the payment is unknown",
    "reversal accepted    by the journal   reversed",
    "(300.00 CNY in the ledger, not 3000.00 CNY)",
    "5 small payments in a short time",
    "6. The switch's year",
    "index-1 destroyed: 74 of 74 cards keep their token",
    "the fourth mask: refused: the budget is used up; it renews at 20",
    "without a person's word: refused",
    "gone, as the log says; 0 faults",
    "a row taken out by hand: domain shop-1",
    "one bit of the log changed: command.",
    "found in 12 of 12 forms",
    "No clear card number was found in any file.",
];

/// Reads the uploads with the kept ring, and opens the cafe's journal where it was left.
fn kept_journals_are_read(bench: &Bench) {
    let sealed = fs::read(bench.path("d/vault/ring.cvk")).unwrap();
    let ring = open_ring_with_passphrase(&sealed, b"for published test cards only").unwrap();
    let key = ring.journal_key_of(&"fleet-1".parse().unwrap(), 1).unwrap();
    for (terminal, entries, cards) in [("T0000001", 6, 4), ("T0000002", 4, 3), ("T0000003", 6, 6)] {
        let upload = fs::read(bench.path(&format!("d/uploads/{terminal}.upload"))).unwrap();
        let (identity, first) = upload_identity(&upload).unwrap();
        assert_eq!((identity.terminal(), first), (terminal.as_bytes(), 0));
        let mut reading = Reading::new(&key, &identity, &Position::START, &upload[..]).unwrap();
        let (mut read, mut opened) = (0, 0);
        while let Some(item) = reading.next() {
            opened += usize::from(item.unwrap().card.is_some());
            read += 1;
        }
        assert_eq!((read, opened), (entries, cards), "{terminal}");
        assert!(reading.outcome().unwrap().clean, "{terminal}");

        if terminal != "T0000003" {
            let file = |part: &str, pages| {
                let path = bench.path(&format!("d/terminals/{terminal}.{part}"));
                FileFlash::open(path, pages).unwrap()
            };
            let state = FlashState::new(file("state", 4)).unwrap();
            let journal = Journal::open(file("log", 8), state).unwrap();
            assert_eq!(journal.count(), entries);
            assert_eq!(journal.recovery(), Recovery::default());
            assert!(journal.pending().unwrap().is_none());
        }
    }
}

#[test]
fn a_rotation_moves_records_and_goes_on_after_an_interruption() {
    let bench = Bench::new();
    bench.output(&["tokenize", "v", "-o", "tokens"], cards(300));
    let rotated = bench.output(&["keys", "rotate", "v"], "");
    assert_eq!(
        rotated,
        "card-2 is active\n300 rows seen, 300 sealed anew under card-2\n\
         nothing needs card-1: cardvault keys destroy v card-1\n"
    );
    let quiet = bench.run(&["keys", "rotate", "v", "--json", "-q"], "");
    let shown: serde_json::Value = serde_json::from_slice(&quiet.stdout).unwrap();
    assert_eq!(shown["key"], "card-3");
    assert_eq!((&shown["moved"], &shown["left"]), (&300.into(), &0.into()));
    assert_eq!(shown["retired"], serde_json::json!(["card-1", "card-2"]));

    // Killed while it moves: the same command goes on, with the same version.
    let mut child = bench
        .command(&["keys", "rotate", "v", "--rate", "30"])
        .spawn()
        .unwrap();
    let cursor = bench.path("v/rotation-card");
    while !fs::read_to_string(&cursor).is_ok_and(|text| text.len() > 100) {
        assert!(child.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read_to_string(&cursor).unwrap();
    assert!(text.starts_with("card-4\t"), "{text}");
    let rest = bench.output(&["keys", "rotate", "v"], "");
    assert!(
        rest.starts_with("card-4 is active: going on with it\n300 rows seen, "),
        "{rest}"
    );
    assert!(!cursor.exists());
    let json = bench.output(&["stats", "v", "--json"], "");
    assert!(json.contains("\"card-4\": 300"), "{json}");

    bench.write("v/rotation-card", "nonsense");
    bench.fails(4, "is damaged", &["vault", "rewrap", "v"]);
    fs::remove_file(&cursor).unwrap();
    bench.output(&["keys", "destroy", "v", "card-3"], "");
    let back = bench.output(&["detokenize", "v", "tokens", "--purpose", "test"], "");
    assert_eq!(back, cards(300));
}

#[test]
fn a_compromised_key_is_listed_moved_and_destroyed() {
    let bench = Bench::new();
    bench.output(
        &["tokenize", "v", "-o", "tokens", "--domain", "a,b"],
        cards(3),
    );
    let told = bench.output(&["keys", "retire", "v", "card-1", "--compromised"], "");
    assert!(told.starts_with("card-1 compromised\n"), "{told}");
    assert!(told.contains("cardvault keys rotate v card\n"), "{told}");
    let listed = bench.output(
        &["vault", "under", "v", "card-1", "--purpose", "incident 7"],
        "",
    );
    let tokens = bench.read("tokens");
    let mut wanted: Vec<_> = tokens
        .lines()
        .map(|token| format!("\"a,b\",{token}"))
        .collect();
    wanted.sort();
    let mut lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.remove(0), "domain,token");
    lines.sort_unstable();
    assert_eq!(lines, wanted);
    let log = bench.output(&["audit", "show", "v", "--lines"], "");
    let logged = log.lines().filter(|line| {
        line.contains("operation=list outcome=granted") && line.contains("purpose=\"incident 7\"")
    });
    assert_eq!(logged.count(), 3);
    // Each of the three is seen twice: what is compromised has a pass of its own.
    let rotated = bench.output(&["keys", "rotate", "v", "card"], "");
    assert!(
        rotated.contains("6 rows seen, 3 sealed anew under card-2\n"),
        "{rotated}"
    );
    bench.output(&["keys", "destroy", "v", "card-1"], "");
    bench.fails(
        2,
        "under card keys alone",
        &["vault", "under", "v", "index-1", "--purpose", "x"],
    );
}

#[test]
fn an_index_key_is_not_activated_before_it_is_filled() {
    let bench = Bench::new();
    bench.output(&["tokenize", "v", "-o", "tokens"], cards(60));
    let ring = fs::read(bench.path("v/ring.cvk")).unwrap();
    let mut child = bench
        .command(&["keys", "rotate", "v", "index", "--rate", "5"])
        .spawn()
        .unwrap();
    while fs::read(bench.path("v/ring.cvk")).unwrap() == ring {
        assert!(child.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    bench.fails(
        3,
        "`cardvault keys rotate FOLDER index` fills",
        &["keys", "activate", "v", "index-2"],
    );
    // The vault opens as before, and the rotation goes on.
    bench.output(&["stats", "v"], "");
    let rest = bench.output(&["keys", "rotate", "v", "index"], "");
    assert!(
        rest.starts_with("index-2 is active: going on with it\n60 rows seen, 60 sealed"),
        "{rest}"
    );
    let again = bench.run(&["tokenize", "v", "-o", "again"], cards(60));
    assert_eq!(
        (code(&again), bench.read("again")),
        (0, bench.read("tokens"))
    );
}

#[test]
fn rows_that_do_not_open_are_left_out_of_a_new_index_when_that_is_said() {
    let bench = Bench::new();
    bench.output(&["tokenize", "v", "-o", "tokens"], cards(5));
    {
        let store = Embedded::open(&bench.path("v"), &EmbeddedOptions::default()).unwrap();
        let (token, expected) = block_on(store.scan(None, None, 1)).unwrap().remove(0);
        let mut bytes = expected.as_bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let row = Row::new(&bytes).unwrap();
        let write = Write::Replace {
            token,
            expected,
            row,
        };
        block_on(store.write(None, vec![write])).unwrap();
    }
    let rotate = ["keys", "rotate", "v", "index"];
    bench.fails(3, "1 row cannot be put under index-2", &rotate);
    bench.fails(3, "cvt_", &rotate);
    bench.fails(3, "with `--leave 1`", &rotate);
    bench.fails(
        3,
        "1 row cannot",
        &[&rotate[..], &["--leave", "0"]].concat(),
    );
    bench.fails(
        2,
        "index keys alone",
        &["keys", "rotate", "v", "--leave", "1"],
    );
    let rest = bench.output(&[&rotate[..], &["--leave", "1"]].concat(), "");
    assert!(
        rest.contains("5 rows seen, 4 sealed anew under index-2\n1 left\n"),
        "{rest}"
    );
    assert!(!rest.contains("nothing needs"), "{rest}");
    assert!(!bench.path("v/rotation-index").exists());
    bench.fails(
        3,
        "1 row needs index-1",
        &["keys", "destroy", "v", "index-1"],
    );
    let again = bench.run(&["tokenize", "v", "-o", "again"], cards(5));
    assert!(
        errors(&again).contains("4 had their token"),
        "{}",
        errors(&again)
    );
}

#[test]
fn keys_of_other_uses_rotate() {
    let bench = Bench::new();
    bench.output(&["tokenize", "v", "-o", "tokens"], cards(40));
    for (usage, follows) in [
        ("journal", "next epoch"),
        ("ledger", "nothing needs ledger-1"),
        (
            "index",
            "40 sealed anew under index-2\nnothing needs index-1",
        ),
        ("audit", "begins a log under it"),
    ] {
        let rotated = bench.output(&["keys", "rotate", "v", usage], "");
        assert!(
            rotated.starts_with(&format!("{usage}-2 is active\n")),
            "{rotated}"
        );
        assert!(rotated.contains(follows), "{rotated}");
    }
    // Whatever seals or binds rows anew is asked for and logged, not for card keys alone.
    let log = bench.output(&["audit", "show", "v", "--operation", "rewrap"], "");
    for key in ["ledger-2", "index-2"] {
        let logged = |line: &str| line.contains("granted") && line.contains(key);
        assert!(log.lines().any(logged), "{log}");
    }
    bench.fails(
        2,
        "journals not yet uploaded",
        &["keys", "destroy", "v", "journal-1"],
    );
    bench.fails(
        2,
        "audit logs and checkpoints",
        &["keys", "destroy", "v", "audit-1"],
    );
    bench.output(&["keys", "destroy", "v", "index-1"], "");
    // What was logged under the older version is verified along with the rest.
    let logs = fs::read_dir(bench.path("v/audit")).unwrap();
    let begun = logs.filter(|log| log.as_ref().unwrap().path().join("state.cvs").exists());
    assert_eq!(begun.count(), 2);
    let verified = bench.output(&["audit", "verify", "v"], "");
    assert!(
        verified.starts_with("logs") && verified.contains(" 2\n"),
        "{verified}"
    );
    // Each card has its token still.
    let again = bench.run(&["tokenize", "v", "-o", "again"], cards(40));
    assert!(
        errors(&again).contains("40 had their token"),
        "{}",
        errors(&again)
    );
    assert_eq!(bench.read("again"), bench.read("tokens"));
}

#[test]
fn a_purge_is_tried_dry_confirmed_done_and_ends_with_the_key() {
    let bench = Bench::new();
    let input = cards(30);
    let expired = ["tokenize", "v", "-", "--valid-days", "0"];
    let gone = bench.output(&expired, &input);
    let kept = bench.output(&["tokenize", "v", "-", "--domain", "kept"], &input);
    let held = bench.output(&[&expired[..], &["--domain", "held"]].concat(), &input);
    let purge = ["vault", "purge", "v", "--policy", "policy.toml"];
    bench.fails(4, "policy.toml", &purge);
    bench.write("policy.toml", "[default]\nexpired_day = 1\n");
    bench.fails(
        4,
        "line 2: no such setting here; there are age_days,",
        &purge,
    );
    bench.write("policy.toml", "[default]\nexpired_days = 0\n");
    bench.write(
        "holds.toml",
        "[[hold]]\ndomain = \"held\"\nreason = \"case 7\"\n",
    );
    let purge = [&purge[..], &["--hold", "holds.toml"]].concat();
    let with = |more: &[&'static str]| [&purge[..], more].concat();
    let dry = bench.output(&with(&["--dry-run"]), "");
    assert_eq!(
        dry,
        "DOMAIN   OUTCOME   WHY      TOKENS\n\
         default  would go  expired  30\n\
         held     stays     held     30\n\
         kept     stays     not due  30\n\
         30 tokens would go\n"
    );
    assert!(
        !bench
            .output(&["audit", "show", "v", "--lines"], "")
            .contains("operation=purge")
    );
    // No token is older than today, so that none speaks for the clock.
    bench.fails(3, "no token speaks for that", &purge);
    bench.fails(3, "another day", &with(&["--today", "2020-01-01"]));
    bench.fails(3, "card-1: it is active", &with(&["--destroy", "card-1"]));
    bench.fails(2, "card keys", &with(&["--destroy", "index-1"]));
    bench.output(&["keys", "add", "v", "card"], "");
    bench.output(&["keys", "activate", "v", "card-2"], "");
    // The next period's records, and the one after it.
    bench.output(&["tokenize", "v", "-", "--domain", "later"], cards(5));
    bench.output(&["keys", "add", "v", "card"], "");
    bench.output(&["keys", "activate", "v", "card-3"], "");
    // Whichever of two days it is, should midnight pass meanwhile.
    let today = |more: &[&str]| {
        let days = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            / 86_400;
        let day = cardvault::payment::Date::from_days(u32::try_from(days).unwrap()).unwrap();
        let day = day.to_string();
        let arguments = [&purge[..], &["--today", &day], more].concat();
        bench.output(&arguments, "")
    };
    let done = today(&["--destroy", "card-1", "--actor", "officer"]);
    assert!(done.contains("default  gone     expired  30\n"), "{done}");
    assert!(done.contains("30 tokens purged\n60 records sealed anew, card-1 destroyed\n"));
    // Those of the period between go with its own key one day.
    let stats: serde_json::Value =
        serde_json::from_str(&bench.output(&["stats", "v", "--json"], "")).unwrap();
    assert_eq!(
        stats["keys"],
        serde_json::json!({ "card-2": 5, "card-3": 60 })
    );
    let log = bench.output(&["audit", "show", "v", "--lines"], "");
    let purged: Vec<_> = log
        .lines()
        .filter(|line| line.contains("operation=purge"))
        .collect();
    assert_eq!(purged.len(), 30);
    assert!(
        log.contains("operation=destroy-key outcome=granted actor=\"officer\""),
        "{log}"
    );
    let named: std::collections::BTreeSet<_> = purged
        .iter()
        .map(|line| line.split_once(" token=").unwrap().1)
        .collect();
    assert_eq!(named, gone.lines().collect());
    let who = "actor=\"officer\" purpose=\"retention\"";
    assert!(purged.iter().all(|line| line.contains(who)), "{log}");
    // Run twice: nothing more to do.
    let again: serde_json::Value =
        serde_json::from_str(&today(&["--destroy", "card-1", "--json"])).unwrap();
    assert_eq!(
        (&again["going"], &again["sealed_anew"]),
        (&0.into(), &serde_json::Value::Null)
    );
    let detokenize = ["detokenize", "v", "--purpose", "test", "--domain", "kept"];
    assert_eq!(bench.output(&detokenize, &kept), input);
    assert!(held.lines().count() == 30 && bench.output(&["stats", "v"], "").contains("65"));
}
