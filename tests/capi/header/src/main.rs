//! Makes the C header from the sources of `src/capi`, or compares the one that is there.
//!
//!     cardvault-header          writes src/capi/cardvault.h
//!     cardvault-header --check  fails if src/capi/cardvault.h is another

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use cbindgen::{Builder, Config};

/// In the order of the header.
const SOURCES: [&str; 10] = [
    "result",
    "callbacks",
    "util",
    "card",
    "ring",
    "seal",
    "journal",
    "token",
    "reading",
    "vault",
];

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../src/capi");
    let header = folder.join("cardvault.h");
    let mut config = Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml");
    config.header = Some(fs::read_to_string(folder.join("header.txt")).expect("header.txt"));
    let sources = SOURCES.map(|name| folder.join(name).with_extension("rs"));
    let builder = sources
        .iter()
        .fold(Builder::new().with_config(config), |builder, source| {
            builder.with_src(source)
        });
    let mut made = Vec::new();
    builder
        .generate()
        .expect("cbindgen reads the sources")
        .write(&mut made);
    if env::args().nth(1).as_deref() != Some("--check") {
        fs::write(header, made).expect("cardvault.h can be written");
        return ExitCode::SUCCESS;
    }
    if fs::read(header).is_ok_and(|there| there == made) {
        return ExitCode::SUCCESS;
    }
    eprintln!("src/capi/cardvault.h is not what tests/capi/header makes: run it and commit");
    ExitCode::FAILURE
}
