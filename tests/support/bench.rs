//! The command in a folder of its own, as a person or a script runs it.
#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use tempfile::TempDir;

pub(crate) const PASSPHRASE: &str = "for test cards only";
pub(crate) const VISA: &str = "4111111111111111";

/// A folder for one test, with a development vault `v` that opens fast.
pub(crate) struct Bench(TempDir);

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self::empty();
        let init = bench.run(&["init", "v", "--argon2-memory", "19456"], "");
        assert_eq!(code(&init), 0, "{}", errors(&init));
        bench
    }

    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardvault"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("CARDVAULT_PASSPHRASE", PASSPHRASE)
            .env("USER", "tester")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
        finish(self.command(arguments).spawn().unwrap(), input.as_ref())
    }

    /// Runs it and wants it to end well.
    pub(crate) fn output(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> String {
        let output = self.run(arguments, input);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", errors(&output));
        text(&output)
    }

    /// Runs it and wants it to fail so, with an error that has `part` in it.
    pub(crate) fn fails(&self, exit: i32, part: &str, arguments: &[&str]) {
        let output = self.run(arguments, VISA);
        let errors = errors(&output);
        assert_eq!(code(&output), exit, "{arguments:?}: {errors}");
        assert!(errors.contains(part), "{arguments:?}: {errors}");
        assert!(
            !errors.contains("panicked") && !errors.contains("internal error"),
            "{errors}"
        );
        assert_eq!(text(&output), "", "{arguments:?}");
    }
}

pub(crate) fn finish(mut child: Child, input: &[u8]) -> Output {
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = thread::spawn(move || {
        let _ = stdin.write_all(&input); // It may have ended already.
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
