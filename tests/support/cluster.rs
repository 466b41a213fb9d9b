//! A PostgreSQL server of the test's own: in a temporary folder, as an ordinary user, on a free
//! port of this machine. It ends with the process that started it.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![forbid(unsafe_code)]

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
    programs: PathBuf,
    folder: PathBuf,
    pub port: u16,
    /// Waits for the end of its standard input, then stops the server and removes the folder.
    keeper: Child,
}

impl Cluster {
    /// The server that the tests of one process share; none if PostgreSQL is not installed.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Makes and starts a server.
    pub fn start() -> Option<Self> {
        Self::start_with(&[], |_| Vec::new())
    }

    /// The same; `initdb` gets the arguments `more`, and the server the settings that `prepare` gives
    /// for its folder of data.
    pub fn start_with(more: &[&str], prepare: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
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
            .args(["-A", "trust", "-U", "cardvault", "-E", "UTF8", "--no-sync"])
            .args(more)
            .arg("-D")
            .arg(&data));
        let port = free_port();
        let settings = prepare(&data);
        let keeper = keep(&programs, &folder, &data, port, &settings);
        let cluster = Self {
            programs,
            folder,
            port,
            keeper,
        };
        cluster.wait();
        Some(cluster)
    }

    /// Adds a standby, and has every commit wait until it is on the standby's disk too.
    pub fn standby(&self) -> Self {
        let folder = self.folder.join("standby");
        let data = folder.join("data");
        let port = free_port();
        std::fs::create_dir(&folder).unwrap();
        if is_root() {
            run(Command::new("chown").args([NOBODY]).arg(&folder));
        }
        run(ordinary(&self.programs.join("pg_basebackup"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "cardvault",
                "-p",
                &self.port.to_string(),
            ])
            .args(["-R", "-X", "stream", "-c", "fast", "-D"])
            .arg(&data));
        let keeper = keep(&self.programs, &folder, &data, port, &[]);
        let standby = Self {
            programs: self.programs.clone(),
            folder,
            port,
            keeper,
        };
        standby.wait();
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        let start = Instant::now();
        while !self
            .sql("SELECT sync_state FROM pg_stat_replication")
            .contains("sync")
        {
            assert!(start.elapsed() < START, "the standby does not follow");
            thread::sleep(Duration::from_millis(50));
        }
        standby
    }

    /// Ends the server as a power cut does: at once, whatever it is doing.
    pub fn kill(&self) {
        let file = self.folder.join("data/postmaster.pid");
        let content = std::fs::read_to_string(file).unwrap();
        let server = content.lines().next().unwrap().to_owned();
        // The sessions first: they would answer on.
        let _ = Command::new("pkill").args(["-9", "-P", &server]).status();
        let _ = Command::new("kill").args(["-9", &server]).status();
    }

    /// Ends the server, if it runs, as at once as a power cut does, and starts it again.
    pub fn restart(&self) {
        let start = Instant::now();
        loop {
            let done = ordinary(&self.programs.join("pg_ctl"))
                .args(["restart", "-s", "-w", "-m", "immediate", "-D"])
                .arg(self.folder.join("data"))
                .arg("-l")
                .arg(self.folder.join("log-again"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            if done.success() {
                return;
            }
            // The last session of a server that was killed may not have ended yet.
            assert!(start.elapsed() < START, "the server does not start again");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.sql("SELECT pg_promote()");
    }

    /// What the server's own command line answers.
    pub fn sql(&self, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "cardvault",
                "-p",
                &self.port.to_string(),
            ])
            .args([
                "-X",
                "-q",
                "-t",
                "-A",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                "postgres",
                "-c",
                sql,
            ])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What to connect with.
    pub fn connection(&self) -> String {
        self.connection_by(self.port)
    }

    /// The same, by another port that leads there.
    pub fn connection_by(&self, port: u16) -> String {
        format!("host=127.0.0.1 port={port} user=cardvault dbname=postgres")
    }

    fn wait(&self) {
        let start = Instant::now();
        loop {
            let ready = Command::new(self.programs.join("pg_isready"))
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
fn keep(programs: &Path, folder: &Path, data: &Path, port: u16, more: &[String]) -> Child {
    let script = r#"
        folder=$1; shift
        "$@" >"$folder/log" 2>&1 &
        cat >/dev/null
        server=$(head -n 1 "$folder/data/postmaster.pid" 2>/dev/null)
        kill -INT $server 2>/dev/null
        while kill -0 $server 2>/dev/null; do sleep 0.05; done
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

/// Gives a file to the user that the server runs as, who alone may then read it.
pub fn give(path: &Path) {
    if is_root() {
        run(Command::new("chown").arg(NOBODY).arg(path));
    }
    run(Command::new("chmod").arg("600").arg(path));
}

/// A command as the user that the server runs as.
pub fn ordinary(program: &Path) -> Command {
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
