//! The password that is not in the connection string: from where PostgreSQL's own programs take
//! theirs.
#![forbid(unsafe_code)]

use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::super::store::StoreError;

const PASSWORD: &str = "PGPASSWORD";
const FILE: &str = "PGPASSFILE";
/// A longer password file is not read.
const MAX_FILE: u64 = 1 << 20;
const DEFAULT_PORT: u16 = 5432;

/// `PGPASSWORD`, else the first line that fits of the file that `PGPASSFILE` names, else of
/// `~/.pgpass`.
///
/// # Errors
/// [`StoreError::Io`] if the file that is named cannot be read, or others than its owner may.
pub(super) fn from_environment(config: &Config) -> Result<Option<Vec<u8>>, StoreError> {
    if let Some(password) = env::var_os(PASSWORD) {
        return Ok(Some(password.into_encoded_bytes()));
    }
    let (path, named) = match (env::var_os(FILE), env::var_os("HOME")) {
        (Some(path), _) => (PathBuf::from(path), true),
        (None, Some(home)) => (PathBuf::from(home).join(".pgpass"), false),
        (None, None) => return Ok(None),
    };
    match read(&path) {
        Ok(text) => Ok(find(&text, &Login::of(config))),
        Err(ErrorKind::NotFound) if !named => Ok(None),
        Err(kind) => Err(StoreError::Io(kind)),
    }
}

fn read(path: &Path) -> Result<String, ErrorKind> {
    let file = File::open(path).map_err(|error| error.kind())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let known = file.metadata().map_err(|error| error.kind())?;
        if known.is_file() && known.mode() & 0o077 != 0 {
            return Err(ErrorKind::PermissionDenied);
        }
    }
    let mut text = String::new();
    let read = file.take(MAX_FILE).read_to_string(&mut text);
    read.map_err(|error| error.kind())?;
    Ok(text)
}

/// Who connects to what.
struct Login {
    /// Each host by the names that a line may call it by, with its port.
    hosts: Vec<(Vec<String>, String)>,
    database: String,
    user: String,
}

impl Login {
    fn of(config: &Config) -> Self {
        let user = config
            .get_user()
            .map(str::to_owned)
            .or_else(|| env::var("USER").ok())
            .unwrap_or_default();
        let ports = config.get_ports();
        let port = |at: usize| {
            let port = ports.get(at).or_else(|| ports.first());
            port.unwrap_or(&DEFAULT_PORT).to_string()
        };
        let names = |host: &Host| match host {
            Host::Tcp(name) => vec![name.clone()],
            #[cfg(unix)]
            Host::Unix(folder) => vec![folder.display().to_string(), "localhost".to_owned()],
        };
        let hosts = config.get_hosts().iter().enumerate();
        Self {
            hosts: hosts.map(|(at, host)| (names(host), port(at))).collect(),
            database: config.get_dbname().unwrap_or(&user).to_owned(),
            user,
        }
    }

    fn fits(&self, [host, port, database, user]: [&str; 4]) -> bool {
        let is = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        is(database, &self.database)
            && is(user, &self.user)
            && self
                .hosts
                .iter()
                .any(|(names, number)| is(port, number) && names.iter().any(|name| is(host, name)))
    }
}

/// The password of the first line that fits: `host:port:database:user:password`, where `*` is any
/// and a backslash stands before a colon or a backslash that is part of a value.
fn find(text: &str, login: &Login) -> Option<Vec<u8>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(values)
        .find_map(|[host, port, database, user, password]| {
            let fits = login.fits([&host, &port, &database, &user]);
            fits.then(|| password.into_bytes())
        })
}

fn values(line: &str) -> Option<[String; 5]> {
    let mut values = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ':' if values.len() < 5 => values.push(String::new()),
            '\\' => values.last_mut()?.extend(letters.next()),
            letter => values.last_mut()?.push(letter),
        }
    }
    values.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let login = |connection: &str| Login::of(&connection.parse().unwrap());
        let text = "# comment\n\
            db1:5432:switch:other:no\n\
            short:line\n\
            db1:5433:switch:vault:by port\n\
            db2:*:*:vault:any: colon \\\\ stays\n\
            localhost:5432:back\\:slash:vault:local\n\
            *:*:*:*:last";
        for (connection, password) in [
            ("host=db1 port=5433 user=vault dbname=switch", "by port"),
            ("host=db2 user=vault dbname=x", "any: colon \\ stays"),
            ("host=db3,db2 user=vault dbname=x", "any: colon \\ stays"),
            ("host=/run/postgresql user=vault dbname=back:slash", "local"),
            ("host=db1 port=5434 user=vault dbname=switch", "last"),
        ] {
            let found = find(text, &login(connection)).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), password, "{connection}");
        }
        assert_eq!(
            find("db1:1:a:b:c", &login("host=db1 user=b dbname=a")),
            None
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_for_others_is_not_read() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let mode = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            file.as_file().set_permissions(permissions).unwrap();
            read(file.path())
        };
        assert_eq!(mode(0o600), Ok(String::new()));
        assert_eq!(mode(0o640), Err(ErrorKind::PermissionDenied));
    }
}
