//! The command over PostgreSQL: every command does there what it does in a folder, and many run at
//! the same time.
#![cfg(all(feature = "cli", feature = "postgres"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

#[path = "support/bench.rs"]
mod bench;
#[path = "support/cluster.rs"]
mod cluster;
#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

use std::fs;
use std::process::Output;

use bench::{Bench, VISA, code, errors, finish, text};

use crate::cluster::Cluster;

const CARDS: &str = "4111111111111111\n5555555555554444\n378282246310005\n";
const DAY: &str = include_str!("support/day.csv");

/// What there is to do with a vault, from its first day on. The files are the test's own.
const LIFE: &[&str] = &[
    "tokenize v cards -o tokens",
    "tokenize v cards -o again",
    "tokenize v cards --format card:6:4 --domain shop",
    "tokenize v cards --valid-days 3 --fresh",
    "detokenize v tokens --purpose test",
    "stats v",
    "stats v --json",
    "keys list v",
    "keys list v --json",
    "keys check v",
    "journal init v t --terminal 10000001 --pages 8",
    "journal write t day.csv",
    "journal upload t -o up",
    "journal verify v up",
    "journal import v up --receipt receipt",
    "journal import v up",
    "journal confirm t receipt",
    "ledger find v --from 2025-03-14",
    "ledger find v --card visa --purpose refund",
    "refund request v --merchant M1 --today 2025-03-20 --purpose refund --policy unionpay \
     --voucher 000001 --batch 000007 --terminal 10000001 --number R-1 --amount 30 --card visa \
     --authority supervisor",
    "refund request v --merchant M1 --today 2025-03-20 --purpose refund --policy unionpay \
     --voucher 000001 --batch 000007 --terminal 10000001 --number R-2 --amount 90 --card visa \
     --authority supervisor",
    "refund status v --merchant M1 --number R-1 --set accepted",
    "refund list v --payment 10000001/1/0",
    "ledger history v --payment 10000001/1/0",
    "export v --purpose nightly -o b.cva",
    "import b.cva --dry-run",
    "import b.cva v",
    // Last, since a ring that was changed takes longer to open.
    "keys add v card",
    "keys activate v card-2",
    "rewrap v",
    "keys destroy v card-1",
    "detokenize v tokens --purpose test",
    "keys destroy v card-2",
];

/// A schema for each test.
fn init(cluster: &Cluster, bench: &Bench, folder: &str, schema: &str) -> Output {
    let connection = cluster.connection();
    let place = ["--postgres", &connection, "--schema", schema];
    let init = ["init", folder, "--argon2-memory", "19456"];
    bench.run(&[&init[..], &place].concat(), "")
}

fn good(output: &Output) {
    assert_eq!(code(output), 0, "{}", errors(output));
}

/// What is shown, with `#` for each word that has a digit: tokens, keys, numbers and times; and
/// without the size of the folder's file.
fn shape(text: &str) -> String {
    let is_size = |line: &&str| line.contains(" on disk") || line.contains("bytes_on_disk");
    let text: Vec<_> = text.lines().filter(|line| !is_size(line)).collect();
    let text = text.join("\n");
    let word = |word: &str| match word.contains(|letter: char| letter.is_ascii_digit()) {
        true => "#".to_owned(),
        false => word.to_owned(),
    };
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(word)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn every_command_does_what_it_does_in_a_folder() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let (in_folder, in_database) = (Bench::new(), Bench::empty());
    good(&init(cluster, &in_database, "v", "life"));
    for bench in [&in_folder, &in_database] {
        bench.write("cards", CARDS);
        bench.write("visa", VISA);
        bench.write("day.csv", DAY);
    }
    for line in LIFE {
        let arguments: Vec<_> = line.split_whitespace().collect();
        let [one, other] = [&in_folder, &in_database].map(|bench| bench.run(&arguments, ""));
        let shown = (errors(&one), errors(&other));
        assert_eq!(code(&one), code(&other), "{line}: {shown:?}");
        assert_eq!(shape(&text(&one)), shape(&text(&other)), "{line}");
        assert_eq!(shape(&shown.0), shape(&shown.1), "{line}");
        if line.starts_with("detokenize") {
            assert_eq!(text(&other), CARDS);
        }
    }
    assert_eq!(in_database.read("tokens"), in_database.read("again"));
    let rows = |bench: &Bench| bench.output(&["stats", "v", "--json"], "");
    assert_eq!(shape(&rows(&in_folder)), shape(&rows(&in_database)));
    assert!(!in_database.path("v/vault.redb").exists());

    // Out of the database and into a folder, and the other way round.
    in_database.output(&["import", "b.cva", "r"], "");
    assert!(in_database.path("r/vault.redb").exists());
    let connection = cluster.connection();
    let place = ["--postgres", &connection, "--schema", "restored"];
    let import = ["import", "b.cva", "d"];
    in_database.output(&[&import[..], &place].concat(), "");
    for folder in ["r", "d"] {
        let back = ["detokenize", folder, "tokens", "--purpose", "test"];
        assert_eq!(in_database.output(&back, ""), CARDS, "{folder}");
    }
    let inside = cluster.sql("SELECT count(*) > 10 FROM restored.vault_row");
    assert_eq!(inside, "t");
}

#[test]
fn what_is_wrong_with_a_database_is_named() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let bench = Bench::empty();
    let connection = cluster.connection();
    let refused = |exit, part: &str, connection: &str, more: &[&str]| {
        let init = [
            "init",
            "n",
            "--argon2-memory",
            "19456",
            "--postgres",
            connection,
        ];
        bench.fails(exit, part, &[&init[..], more].concat());
        assert!(!bench.path("n").exists(), "something was made of nothing");
    };
    refused(
        2,
        "a password in the connection",
        &(connection.clone() + " password=x"),
        &[],
    );
    refused(2, "not well-formed", "no such thing", &[]);
    refused(
        3,
        "not well-formed",
        &connection,
        &["--schema", "Robert'); DROP"],
    );
    refused(3, "needs TLS", "host=db.example.test user=vault", &[]);
    refused(
        3,
        "SQLSTATE 28000",
        &connection.replace("=cardvault", "=nobody"),
        &[],
    );
    bench.fails(2, "--postgres", &["init", "n", "--schema", "x"]);
    // In place of the password that the server does not ask for, one that cannot be read.
    bench.write("passwords", "*:*:*:*:secret\n");
    let mut command = bench.command(&["init", "n", "--postgres", &connection]);
    let command = command.env("PGPASSFILE", bench.path("passwords"));
    let output = finish(command.spawn().unwrap(), b"");
    assert_eq!(code(&output), 4);
    assert!(errors(&output).contains("chmod 600"), "{}", errors(&output));

    good(&init(cluster, &bench, "v", "named"));
    let twice = init(cluster, &bench, "w", "named");
    assert_eq!(code(&twice), 3);
    assert!(errors(&twice).contains("already") && errors(&twice).contains("another --schema"));
    assert!(!bench.path("w").exists());
    let file = bench.read("v/database");
    assert!(file.starts_with("cardvault database 1\nconnection host=127.0.0.1 "));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let known = fs::metadata(bench.path("v/database")).unwrap();
        assert_eq!(known.permissions().mode() & 0o777, 0o600);
    }
    bench.write("v/database", &file[..30]);
    bench.fails(4, "damaged or something else", &["stats", "v"]);
    bench.write("v/database", file.replace("named", "nothing"));
    bench.fails(3, "not a vault's store", &["stats", "v"]);
    bench.write(
        "v/database",
        file.replace("port=", "port=1 connect_timeout=1 port="),
    );
    let gone = bench.run(&["stats", "v"], "");
    assert_ne!(code(&gone), 0);
    bench.write("v/database", &file);
    bench.output(&["stats", "v"], "");
}

/// A password that the server asks for, from the variable or the file.
#[test]
fn the_password_comes_from_the_environment() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    cluster.sql("CREATE ROLE asked LOGIN PASSWORD 'pass:word'");
    cluster.sql("GRANT CREATE ON DATABASE postgres TO asked");
    let rules = cluster.sql("SHOW hba_file");
    let text = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("host all asked all scram-sha-256\n{text}")).unwrap();
    cluster.sql("SELECT pg_reload_conf()");
    let bench = Bench::empty();
    let connection = cluster.connection().replace("=cardvault", "=asked");
    let init = [
        "init",
        "v",
        "--argon2-memory",
        "19456",
        "--postgres",
        &connection,
    ];
    bench.write(
        "passwords",
        "other:*:*:*:no\n127.0.0.1:*:postgres:asked:pass\\:word\n",
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let own = fs::Permissions::from_mode(0o600);
        fs::set_permissions(bench.path("passwords"), own).unwrap();
    }
    let run = |arguments: &[&str], name: &str, value: &std::ffi::OsStr| {
        let mut command = bench.command(arguments);
        command.env_remove("PGPASSWORD").env_remove("PGPASSFILE");
        finish(command.env(name, value).spawn().unwrap(), VISA.as_bytes())
    };
    let wrong = run(&init, "PGPASSWORD", "wrong".as_ref());
    assert_eq!(code(&wrong), 3);
    assert!(errors(&wrong).contains("28P01") && errors(&wrong).contains("PGPASSFILE"));
    good(&run(&init, "PGPASSWORD", "pass:word".as_ref()));
    let path = bench.path("passwords");
    good(&run(&["tokenize", "v"], "PGPASSFILE", path.as_os_str()));
    assert!(!bench.read("v/database").contains("word"));
    let shown = run(
        &["audit", "show", "v", "--lines"],
        "PGPASSFILE",
        path.as_os_str(),
    );
    good(&shown);
    assert!(!bench::text(&shown).contains("word"));
}

/// Commands of one folder, all at once: two that change the ring come one after the other.
#[test]
fn many_commands_at_once_and_no_ring_that_forks() {
    const EACH: usize = 3;
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let bench = Bench::empty();
    good(&init(cluster, &bench, "v", "at_once"));
    bench.write("cards", CARDS);
    let start = |arguments: &[&str]| bench.command(arguments).spawn().unwrap();
    let mut running = Vec::new();
    for _ in 0..EACH {
        running.push(start(&["keys", "add", "v", "card"]));
        running.push(start(&["tokenize", "v", "cards"]));
    }
    let mut names = Vec::new();
    for (at, child) in running.into_iter().enumerate() {
        let output = finish(child, b"");
        if at % 2 == 0 {
            good(&output);
            names.push(text(&output).split(' ').next().unwrap().to_owned());
        } else if code(&output) != 0 {
            // A command that read the ring before it changed: named, and done again.
            assert!(errors(&output).contains("behind"), "{}", errors(&output));
        }
    }
    names.sort();
    assert_eq!(names, ["card-2", "card-3", "card-4"]);
    let tokens = bench.output(&["tokenize", "v", "cards"], "");
    assert_eq!(bench.output(&["tokenize", "v", "cards"], ""), tokens);
    let list = bench.output(&["keys", "list", "v"], "");
    let made = list.lines().filter(|line| line.starts_with("card-"));
    assert_eq!(made.count(), 1 + EACH, "{list}");
}

/// Two folders of one database, each with its copy of the ring: the vault takes one change, and the
/// other folder's ring is as it was.
#[test]
fn two_folders_of_one_database_do_not_fork() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let bench = Bench::empty();
    good(&init(cluster, &bench, "a", "folders"));
    fs::create_dir(bench.path("b")).unwrap();
    let copy = |name: &str, from: &str, to: &str| {
        fs::copy(
            bench.path(&format!("{from}/{name}")),
            bench.path(&format!("{to}/{name}")),
        )
    };
    copy("ring.cvk", "a", "b").unwrap();
    copy("database", "a", "b").unwrap();
    let adding = ["a", "b"].map(|folder| {
        let add = ["keys", "add", folder, "card"];
        bench.command(&add).spawn().unwrap()
    });
    let outputs = adding.map(|child| finish(child, b""));
    let lost: Vec<_> = (0..2).filter(|at| code(&outputs[*at]) != 0).collect();
    assert_eq!(lost.len(), 1, "{outputs:?}");
    let said = errors(&outputs[lost[0]]);
    assert!(
        said.contains("behind") || said.contains("another key ring of"),
        "{said}"
    );
    let (won, lost) = if lost[0] == 0 { ("b", "a") } else { ("a", "b") };
    // The one that lost is behind, no more: the newest ring makes it whole.
    bench.fails(3, "is behind", &["stats", lost]);
    copy("ring.cvk", won, lost).unwrap();
    for folder in [won, lost] {
        bench.output(&["stats", folder], "");
        assert!(
            bench
                .output(&["keys", "list", folder], "")
                .contains("card-2")
        );
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_database_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = tls::Certificates::make(folder.path(), "right", "localhost");
    let other = tls::Certificates::make(folder.path(), "other", "localhost");
    let cluster = Cluster::start_with(&[], |data| {
        for (from, to) in [(&made.server, "s.pem"), (&made.key, "s.key")] {
            fs::copy(from, data.join(to)).unwrap();
            cluster::give(&data.join(to));
        }
        let rules = data.join("pg_hba.conf");
        fs::write(rules, "hostssl all all all trust\n").unwrap();
        ["ssl=on", "ssl_cert_file=s.pem", "ssl_key_file=s.key"]
            .map(str::to_owned)
            .to_vec()
    });
    let Some(cluster) = cluster else { return };
    let bench = Bench::empty();
    let connection = cluster
        .connection()
        .replace("127.0.0.1", "localhost hostaddr=127.0.0.1");
    let place = |authority: &std::path::Path| {
        let mut arguments = vec!["init", "v", "--argon2-memory", "19456", "--postgres"];
        arguments.extend([&connection, "--authorities"]);
        let authority = authority.to_str().unwrap();
        bench.run(&[&arguments[..], &[authority]].concat(), "")
    };
    let refused = place(&other.authority);
    assert_eq!(code(&refused), 3);
    assert!(
        errors(&refused).contains("not trusted"),
        "{}",
        errors(&refused)
    );
    let none = place(&made.key);
    assert_eq!(code(&none), 4, "{}", errors(&none));
    good(&place(&made.authority));
    bench.write("cards", CARDS);
    bench.output(&["tokenize", "v", "cards"], "");
    assert!(bench.read("v/database").contains("\nauthorities /"));
}
