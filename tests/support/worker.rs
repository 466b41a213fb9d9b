//! Processes that a test starts of itself and hears: each runs one test of the same program and
//! says `ack ...` lines.
#![allow(dead_code, reason = "each test uses its part")]
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Set for the processes that a test starts: what they are told.
const WORKER: &str = "CARDVAULT_TEST_WORKER";

/// What this process was told, if a test started it.
pub(crate) fn told() -> Option<String> {
    std::env::var(WORKER).ok()
}

/// Says a line to the test that started this process.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\nack {line}").unwrap();
    out.flush().unwrap();
}

/// A process that works until it is killed or told to stop.
pub(crate) struct Worker {
    child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Worker {
    /// Runs `test` of this program in another process.
    pub(crate) fn start(test: &str, told: String) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(WORKER, told)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(ack) = line.strip_prefix("ack ") {
                    let _ = send.send(ack.to_owned());
                }
            }
        });
        Self { child, lines }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Still at work, unless it was killed; then it is.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
