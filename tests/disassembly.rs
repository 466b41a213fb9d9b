//! The compiler's assembly of FF1, digits and tokens holds no division, neither when built for
//! speed nor when built for size (where a `/` by a constant is not turned into a product).
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Parts of mangled names (v0) of the functions that work on card digits.
const WATCHED: [&str; 3] = ["3ff1", "6digits", "5token"];

/// Divides the number of a key generation, which is public.
const PUBLIC: &str = "residue_of_generation";

/// Division instructions of the common processors, and the library calls that stand for one.
const INSTRUCTIONS: [&str; 15] = [
    "div", "divb", "divw", "divl", "divq", "idiv", "idivb", "idivw", "idivl", "idivq", "udiv",
    "sdiv", "divu", "remu", "rem",
];
const CALLS: [&str; 9] = [
    "__udivti3",
    "__umodti3",
    "__divti3",
    "__modti3",
    "__udivdi3",
    "__umoddi3",
    "__udivmodti4",
    "__aeabi_uidiv",
    "__aeabi_uldivmod",
];

/// The lines of watched functions that divide, behind their function's name.
fn divisions(assembly: &str) -> (usize, Vec<String>) {
    let mut function = "";
    let mut watched = 0;
    let mut found = Vec::new();
    for line in assembly.lines() {
        if let Some(label) = line.strip_suffix(':') {
            if label.starts_with("_R") || label.starts_with("__R") {
                function = label;
                watched += usize::from(is_watched(label));
            }
            continue;
        }
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default();
        let divides =
            INSTRUCTIONS.contains(&instruction) || CALLS.iter().any(|call| line.contains(call));
        if divides && is_watched(function) {
            found.push(format!("{function}: {}", line.trim()));
        }
    }
    (watched, found)
}

fn is_watched(function: &str) -> bool {
    WATCHED.iter().any(|part| function.contains(part)) && !function.contains(PUBLIC)
}

fn assembly(opt_level: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target: PathBuf = root.join("target/disassembly").join(opt_level);
    // What an earlier build of other sources left would be read too.
    let deps = target.join("release/deps");
    for file in std::fs::read_dir(&deps).into_iter().flatten() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "s") {
            std::fs::remove_file(path).unwrap();
        }
    }
    // The mark makes cargo run the compiler even where it has a fresh result.
    let mark = std::process::id();
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .args([
            "rustc",
            "--quiet",
            "--release",
            "--lib",
            "--no-default-features",
            "--target-dir",
        ])
        .arg(&target)
        .args([
            "--",
            "--emit=asm",
            "-Csymbol-mangling-version=v0",
            "-Ccodegen-units=1",
        ])
        .arg(format!("-Cmetadata=run{mark}"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", opt_level)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env_remove("RUSTFLAGS")
        .status()
        .unwrap();
    assert!(
        status.success(),
        "the build at opt-level {opt_level} failed"
    );
    let mut text = String::new();
    for file in std::fs::read_dir(&deps).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("cardvault") && name.ends_with(".s") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    text
}

#[test]
fn no_division_in_ff1_digits_and_tokens() {
    for opt_level in ["3", "z"] {
        let text = assembly(opt_level);
        let (watched, found) = divisions(&text);
        assert!(
            watched >= 8,
            "only {watched} functions found: did the names change?"
        );
        assert!(
            text.contains("13encrypt_items"),
            "the batch is not in the library"
        );
        assert!(
            found.is_empty(),
            "at opt-level {opt_level}:\n{}",
            found.join("\n")
        );
    }
}

#[test]
fn a_planted_division_is_found() {
    let planted = "_RNvC9cardvault3ff1x:\n\tmovq %rax, %rcx\n\tdivq\t%rcx\n\tcallq\t__umodti3@PLT\n\
                   _RNvC9cardvault5vault:\n\tdivq\t%rcx\n";
    let (watched, found) = divisions(planted);
    assert_eq!((watched, found.len()), (1, 2));
}
