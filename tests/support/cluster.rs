//! A PostgreSQL server of the test's own: in a temporary folder, as an ordinary user, on a free
//! port of this machine. It ends with the process that started it.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// The user that the server runs as if the test runs as root, which PostgreSQL refuses.
const NOBODY: &str = "65534";
const START: Duration = Duration::from_secs(60);

/// A running server.
pub struct Cluster {
    pub port: u16,
    /// Waits for the end of its standard input, then stops the server and removes the folder.
    keeper: Child,
}

impl Cluster {
    /// The server that the tests of one process share; none if PostgreSQL is not installed, which
    /// continuous integration does not let pass.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Makes and starts a server.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL is not installed"
            );
            eprintln!("LEFT OUT: PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("cardvault-postgres-")
            .tempdir()
            .unwrap()
            .keep();
        if is_root() {
            run(Command::new("chown").args([NOBODY]).arg(&folder));
        }
        let data = folder.join("data");
        run(ordinary(&programs.join("initdb"))
            .args([
                "-A",
                "trust",
                "-U",
                "cardvault",
                "-E",
                "UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(&data));
        let port = free_port();
        let keeper = keep(&programs, &folder, &data, port, &[]);
        let cluster = Self { port, keeper };
        cluster.wait(&programs);
        Some(cluster)
    }

    /// What to connect with.
    pub fn connection(&self) -> String {
        self.connection_by(self.port)
    }

    /// The same, by another port that leads there.
    pub fn connection_by(&self, port: u16) -> String {
        format!("host=127.0.0.1 port={port} user=cardvault dbname=postgres")
    }

    fn wait(&self, programs: &Path) {
        let start = Instant::now();
        loop {
            let ready = Command::new(programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .unwrap();
            if ready.success() {
                return;
            }
            assert!(start.elapsed() < START, "the server does not start");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Starts the server under a shell that outlives this process just long enough to clean up.
fn keep(programs: &Path, folder: &Path, data: &Path, port: u16, more: &[&str]) -> Child {
    let script = r#"
        folder=$1; shift
        "$@" >"$folder/log" 2>&1 &
        server=$!
        cat >/dev/null
        kill -INT $server 2>/dev/null
        wait $server
        rm -rf "$folder"
    "#;
    let server = ordinary(&programs.join("postgres"));
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(folder);
    command.arg(server.get_program()).args(server.get_args());
    command.arg("-D").arg(data).args(["-p", &port.to_string()]);
    command.arg("-k").arg(folder);
    command.args([
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "max_connections=200",
    ]);
    for setting in more {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::piped()).spawn().unwrap()
}

/// The folder with the server's programs: the newest of Debian's, or what `pg_config` names.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        let text = String::from_utf8_lossy(&output.stdout);
        found.push(PathBuf::from(text.trim()));
    }
    found.sort();
    found.retain(|folder| folder.join("initdb").exists());
    found.pop()
}

/// A command as an ordinary user.
fn ordinary(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.starts_with(b"0")
}

fn run(command: &mut Command) {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut errors = child.stderr.take().unwrap();
    errors.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
}

/// Free at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
