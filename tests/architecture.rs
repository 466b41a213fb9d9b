//! The direction of the house, read from the sources: imports only go down, ciphers stay in
//! their modules, every module forbids unsafe code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the crate's root and its level. The root file itself only declares.
const LEVELS: [(&str, u8); 23] = [
    ("secret", 0),
    ("codec", 0),
    ("time", 0),
    ("error", 0),
    ("mac", 0),
    ("card", 1),
    ("payment", 1),
    ("keys", 2),
    ("seal", 2),
    ("ff1", 2),
    ("fingerprint", 2),
    ("ratchet", 2),
    ("token", 3),
    ("journal", 3),
    ("refund", 3),
    ("scrub", 3),
    ("vault", 4),
    ("ledger", 4),
    ("archive", 4),
    ("audit", 4),
    ("capi", 5),
    ("bin", 5),
    ("manual", 5),
];

/// The edges between modules of one level.
const SIBLINGS: [(&str, &str); 9] = [
    ("seal", "keys"),
    ("fingerprint", "keys"),
    ("journal", "seal"),
    ("ledger", "vault"),
    ("archive", "vault"),
    ("audit", "vault"),
    ("codec", "error"),
    ("secret", "error"),
    ("mac", "secret"),
];

/// Edges that go down but that the house does not have.
const CLOSED: [(&str, &[&str]); 4] = [
    // FF1 knows digits and keys as bytes; nothing of cards or rings.
    ("ff1", &["secret", "card"]),
    // Plain values, and rules over them: no card number, no key.
    ("payment", &["codec", "time", "error"]),
    ("refund", &["codec", "time", "error", "payment"]),
    // Bytes in, bytes out.
    ("scrub", &["card"]),
];

/// Which modules may name a package.
const PACKAGES: [(&str, &[&str]); 12] = [
    ("aes_gcm", &["seal", "journal"]),
    ("xaes_256_gcm", &["seal", "journal"]),
    ("aes", &["ff1", "keys"]),
    ("cipher", &["ff1"]),
    // The journal tests its chain against it; the thief has tools of his own.
    ("hmac", &["mac", "journal", "bin"]),
    ("hkdf", &["keys", "ratchet"]),
    ("argon2", &["seal"]),
    ("redb", &["vault"]),
    ("getrandom", &["secret", "vault", "lib"]),
    ("clap", &["bin"]),
    ("metrics", &["vault"]),
    ("tracing", &["vault"]),
];

/// Files that may name a package outside its modules.
const EXEMPT: [(&str, &str); 1] = [
    // The demo's thief has tools of his own, and no way into the library's.
    ("bin/cardvault/demo/thief.rs", "aes_gcm"),
];

struct Source {
    /// The module below the root: `card`, `bin`, or `lib` for the root file.
    module: String,
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).unwrap();
                let first = inside.components().next().unwrap();
                let first = first.as_os_str().to_str().unwrap();
                found.push(Source {
                    module: first.trim_end_matches(".rs").to_owned(),
                    text: fs::read_to_string(&path).unwrap(),
                    path,
                });
            }
        }
    }
    assert!(found.len() > 10, "only {} sources found", found.len());
    found
}

/// The source without comments and without what follows its unit tests' mark.
fn code(text: &str) -> String {
    let text = text.split("\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// What stands behind each `crate::`, and behind the `super::` that reach the root.
fn imports(source: &Source) -> BTreeSet<String> {
    let code = code(&source.text);
    let mut names = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        // A group names several modules: `crate::{card::Pan, keys}`.
        if let Some(group) = part.strip_prefix('{') {
            names.extend(group_heads(group));
        } else {
            names.insert(head(part));
        }
    }
    let inside: Vec<_> = source
        .path
        .iter()
        .skip_while(|part| *part != "src")
        .collect();
    // src/seal.rs and src/card/mod.rs stand one step below the root.
    let is_mod = source.path.ends_with("mod.rs");
    let depth = inside.len() - 1 - usize::from(is_mod);
    let up = "super::".repeat(depth);
    for part in code.split(&up).skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            names.extend(group_heads(group));
        } else if !part.starts_with("super::") {
            names.insert(head(part));
        }
    }
    names
}

fn head(part: &str) -> String {
    let end = part.find(|c: char| !c.is_alphanumeric() && c != '_');
    part.chars().take(end.unwrap_or(part.len())).collect()
}

/// The first names of a group's members, at its outermost depth.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut member = String::new();
    let mut members = Vec::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(std::mem::take(&mut member)),
            _ => {}
        }
        if depth == 0 && c != ',' {
            member.push(c);
        }
    }
    members.push(member);
    let heads = members.iter().map(|member| head(member.trim()));
    heads.filter(|name| !name.is_empty()).collect()
}

fn level(module: &str) -> Option<u8> {
    LEVELS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, level)| *level)
}

/// Which module a name at the root comes from: itself, or what the root re-exports.
fn origin(name: &str, root: &str) -> String {
    if level(name).is_some() {
        return name.to_owned();
    }
    let code = code(root);
    let line = code
        .split(';')
        .find(|line| {
            line.contains("use ")
                && line
                    .split(|c: char| !c.is_alphanumeric())
                    .any(|w| w == name)
        })
        .unwrap_or_else(|| panic!("`{name}` is no module of the root and is not exported there"));
    head(
        line.split("use ")
            .nth(1)
            .unwrap()
            .trim_start_matches("crate::"),
    )
}

#[test]
fn imports_only_go_down() {
    let sources = sources();
    let root = &sources.iter().find(|s| s.module == "lib").unwrap().text;
    let mut edges = 0;
    // To the command `crate::` is the command: it sees the library as any other crate does.
    let inside = |source: &&Source| !matches!(source.module.as_str(), "lib" | "bin");
    for source in sources.iter().filter(inside) {
        let from = source.module.as_str();
        let path = source.path.display();
        let own = level(from).unwrap_or_else(|| panic!("{path}: a module without a level"));
        for name in imports(source) {
            let to = origin(&name, root);
            if to == from {
                continue;
            }
            edges += 1;
            let other = level(&to).unwrap_or_else(|| panic!("{path}: {to} has no level"));
            let down = other < own || SIBLINGS.contains(&(from, to.as_str()));
            assert!(
                down,
                "{path}: {from} (level {own}) imports {to} (level {other})"
            );
            if let Some((_, open)) = CLOSED.iter().find(|(module, _)| *module == from) {
                assert!(open.contains(&to.as_str()), "{path}: {from} imports {to}");
            }
        }
    }
    assert!(edges > 0, "no edge was found: the test reads nothing");
}

#[test]
fn the_command_takes_in_no_file_of_the_library() {
    for source in sources().iter().filter(|source| source.module == "bin") {
        let code = code(&source.text);
        let taken = ["#[path", "include!("]
            .iter()
            .any(|mark| code.contains(mark));
        assert!(!taken, "{}", source.path.display());
    }
}

#[test]
fn packages_stay_in_their_modules() {
    for source in sources() {
        let code = code(&source.text);
        for (package, modules) in PACKAGES {
            let exempt =
                |(file, named): &(&str, &str)| *named == package && source.path.ends_with(file);
            if !names_package(&code, package) || EXEMPT.iter().any(exempt) {
                continue;
            }
            assert!(
                modules.contains(&source.module.as_str()),
                "{}: {package} belongs to {modules:?}",
                source.path.display()
            );
        }
    }
}

/// Whether `package::` or `use package` stands in `code` as a whole word.
fn names_package(code: &str, package: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(package).any(|(at, _)| {
        let before = code.get(..at).unwrap();
        let after = code.get(at + package.len()..).unwrap();
        let whole = !before.ends_with(word) && !after.starts_with(word);
        // `super::aes::` would be a module of our own.
        let ours = before.ends_with("crate::") || before.ends_with("super::");
        whole && !ours && (after.starts_with("::") || before.ends_with("use "))
    })
}

#[test]
fn every_module_says_its_purpose_and_forbids_unsafe_code() {
    for source in sources() {
        let path = source.path.display();
        assert!(source.text.starts_with("//! "), "{path}: no first line");
        let head: Vec<_> = source.text.lines().take(120).collect();
        let forbids = head.contains(&"#![forbid(unsafe_code)]");
        let exempt = ["capi", "lib"].contains(&source.module.as_str());
        assert!(forbids || exempt, "{path}: unsafe code is not forbidden");
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""));
}

#[test]
fn sources_are_plain_ascii_without_open_ends() {
    let marks = ["TODO", "FIXME", "XXX:", "HACK"];
    for source in sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            let path = source.path.display();
            assert!(line.is_ascii(), "{path}:{number}: not ASCII");
            let open = marks.iter().any(|mark| line.contains(mark));
            assert!(!open, "{path}:{number}: an open end");
        }
    }
}

#[test]
fn the_reader_of_imports_sees_them() {
    let source = |path: &str, text: &str| Source {
        module: "card".to_owned(),
        path: PathBuf::from(path),
        text: text.to_owned(),
    };
    let found =
        |path: &str, text: &str| imports(&source(path, text)).into_iter().collect::<Vec<_>>();
    assert_eq!(
        found(
            "/x/src/card/pan.rs",
            "use crate::keys::KeyRing;\n// crate::vault\nfn f() { crate::seal::x() }"
        ),
        ["keys", "seal"]
    );
    assert_eq!(
        found("/x/src/card/pan.rs", "use super::super::vault::V;"),
        ["vault"]
    );
    assert_eq!(
        found("/x/src/card/mod.rs", "use super::vault::V;"),
        ["vault"]
    );
    assert_eq!(
        found("/x/src/seal.rs", "use super::{card::{Pan, X}, keys};"),
        ["card", "keys"]
    );
    assert_eq!(
        found(
            "/x/src/seal.rs",
            "use crate::{\n    card::{Pan, X},\n    Secret, keys::K,\n};"
        ),
        ["Secret", "card", "keys"]
    );
    assert!(names_package("use aes::Aes256;", "aes"));
    assert!(names_package("let x = aes::Aes256::new();", "aes"));
    assert!(!names_package("use xaes_256_gcm::X;", "aes"));
}
