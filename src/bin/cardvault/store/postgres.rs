//! A vault's data in PostgreSQL: which database, and how it is reached.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardvault::vault::{Postgres, PostgresOptions, StoreError};
use clap::Args;

use super::DATABASE_FILE;
use crate::failure::{Failure, Outcome};
use crate::files::{Draft, Readers};

const FIRST_LINE: &str = "cardvault database 1";
const SCHEMA: &str = "cardvault";
/// How long to wait for one answer, and to go on trying: somebody waits for the command.
const ANSWER: Duration = Duration::from_secs(30);
const ALL_TRIES: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Args)]
pub(super) struct DatabaseArgs {
    /// Keep the data in PostgreSQL, not in the folder: `host=db1,db2 user=vault dbname=switch` or a
    /// URL. The password comes from PGPASSWORD, PGPASSFILE or ~/.pgpass, each time
    #[arg(long, value_name = "CONNECTION")]
    postgres: Option<String>,
    /// The schema there, which is made
    #[arg(long, value_name = "NAME", default_value = SCHEMA, requires = "postgres")]
    schema: String,
    /// Speak TLS, and trust a server with a certificate of these authorities: a file in PEM, such as
    /// /etc/ssl/certs/ca-certificates.crt
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "postgres")]
    authorities: Option<PathBuf>,
}

impl DatabaseArgs {
    pub(super) fn database(&self) -> Outcome<Option<Database>> {
        let Some(connection) = &self.postgres else {
            return Ok(None);
        };
        #[cfg(feature = "tls")]
        let authorities = match &self.authorities {
            None => None,
            // It is looked for from other folders later.
            Some(path) => Some(path.canonicalize().map_err(Failure::at(path))?),
        };
        #[cfg(not(feature = "tls"))]
        let authorities = None;
        let database = Database {
            connection: connection.clone(),
            schema: self.schema.clone(),
            authorities,
        };
        // The file has a line for each.
        let lines = [&database.connection, &database.schema];
        if lines.iter().any(|text| text.contains(['\n', '\r'])) {
            return Err(Failure::usage("--postgres", StoreError::BadSetting));
        }
        database.options()?;
        Ok(Some(database))
    }
}

/// A schema of a database.
pub(crate) struct Database {
    connection: String,
    schema: String,
    authorities: Option<PathBuf>,
}

impl Database {
    /// Reads the file at `path`, which holds `text`.
    pub(super) fn read(path: &Path, text: &str) -> Outcome<Self> {
        let mut lines = text.lines();
        let first = lines.next();
        let (mut connection, mut schema, mut authorities) = (None, None, None);
        let mut good = first == Some(FIRST_LINE);
        for line in lines {
            match line.split_once(' ') {
                Some(("connection", rest)) => connection = Some(rest.to_owned()),
                Some(("schema", rest)) => schema = Some(rest.to_owned()),
                Some(("authorities", rest)) => authorities = Some(PathBuf::from(rest)),
                _ => good = false,
            }
        }
        match (connection, schema) {
            (Some(connection), Some(schema)) if good => Ok(Self {
                connection,
                schema,
                authorities,
            }),
            _ => Err(
                Failure::files(path.display().to_string(), "is damaged or something else")
                    .hint("put the newest backup of it back"),
            ),
        }
    }

    /// Writes the file into the vault's folder.
    pub(super) fn write(&self, folder: &Path) -> Outcome<()> {
        let path = folder.join(DATABASE_FILE);
        let mut draft = Draft::begin(&path, Readers::Owner)?;
        let mut text = format!(
            "{FIRST_LINE}\nconnection {}\nschema {}\n",
            self.connection, self.schema
        );
        if let Some(authorities) = &self.authorities {
            text.push_str(&format!("authorities {}\n", authorities.display()));
        }
        draft
            .write_all(text.as_bytes())
            .map_err(Failure::at(&path))?;
        draft.place()
    }

    /// Looks that the database answers and has no store in the schema.
    pub(super) fn check_free(&self) -> Outcome<()> {
        match Postgres::open(&self.options()?) {
            Err(StoreError::NotAVault) => Ok(()),
            Err(error) => Err(self.failure(error)),
            Ok(_) => Err(self.failure(StoreError::AlreadyExists)),
        }
    }

    pub(super) fn create(&self) -> Outcome<Postgres> {
        Postgres::create(&self.options()?).map_err(|error| self.failure(error))
    }

    pub(super) fn open(&self) -> Outcome<Postgres> {
        Postgres::open(&self.options()?).map_err(|error| self.failure(error))
    }

    pub(super) fn open_or_create(&self) -> Outcome<Postgres> {
        Postgres::open_or_create(&self.options()?).map_err(|error| self.failure(error))
    }

    fn options(&self) -> Outcome<PostgresOptions> {
        let options = PostgresOptions::new(&self.connection);
        let options = options
            .map_err(|error| Failure::usage("--postgres", error).hint("see `cardvault init -h`"))?;
        if options.holds_password() {
            return Err(Failure::usage(
                "--postgres",
                "a password in the connection would lie in the folder and in lists of processes",
            )
            .hint("leave it out: PGPASSWORD, PGPASSFILE or ~/.pgpass holds it"));
        }
        let options = options
            .password_from_environment()
            .map_err(|error| self.password_failure(error))?;
        let options = options.in_schema(&self.schema).timeouts(ANSWER, ALL_TRIES);
        self.with_tls(options)
    }

    #[cfg(feature = "tls")]
    fn with_tls(&self, options: PostgresOptions) -> Outcome<PostgresOptions> {
        match &self.authorities {
            Some(path) => Ok(options.tls(super::tls::config(path)?)),
            None => Ok(options),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn with_tls(&self, options: PostgresOptions) -> Outcome<PostgresOptions> {
        match &self.authorities {
            Some(_) => Err(Failure::usage(
                self.to_string(),
                "this database is reached by TLS, and this command was built without it",
            )
            .hint("build it with --features cli,postgres,tls")),
            None => Ok(options),
        }
    }

    fn password_failure(&self, error: StoreError) -> Failure {
        let what = "password file";
        match error {
            StoreError::Io(ErrorKind::PermissionDenied) => {
                Failure::files(what, "may be read by others, or not by you")
                    .hint("chmod 600 what PGPASSFILE names, or ~/.pgpass")
            }
            StoreError::Io(kind) => Failure::files(what, kind),
            error => self.failure(error),
        }
    }

    fn failure(&self, error: StoreError) -> Failure {
        let failure = Failure::vault(self.to_string(), error.into());
        match error {
            StoreError::AlreadyExists => failure.hint("choose another --schema"),
            StoreError::NotAVault => {
                failure.hint("is this the database, and the schema, of `init`?")
            }
            StoreError::Corrupt => failure.hint("put the newest backup of the database back"),
            StoreError::NoTls => failure.hint(
                "give --authorities FILE (in a build with the feature tls), or sslmode=disable in \
                 the connection if the network is trusted",
            ),
            StoreError::Untrusted => failure.hint(
                "name the server as its certificate does, and its authority with --authorities",
            ),
            StoreError::Refused { code } if code.starts_with(b"28") => {
                failure.hint("see user and password: PGPASSWORD, PGPASSFILE or ~/.pgpass")
            }
            StoreError::Io(ErrorKind::NotConnected | ErrorKind::TimedOut) => {
                failure.hint("does the server run, and is the connection right?")
            }
            _ => failure,
        }
    }
}

/// The schema alone: who reads an error may see no name of a host.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL, schema {}", self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DATABASE_FILE);
        let database = Database {
            connection: "host=db1 user='a b'".to_owned(),
            schema: "cards".to_owned(),
            authorities: Some("/etc/ssl/a file.pem".into()),
        };
        database.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read = Database::read(&path, &text).unwrap();
        assert_eq!(read.connection, database.connection);
        assert_eq!(read.schema, database.schema);
        assert_eq!(read.authorities, database.authorities);
        for bad in [
            "",
            "something else\n",
            &text.replace("schema", "password"),
            &text.replace("connection", ""),
            &text[..FIRST_LINE.len() + 1],
        ] {
            assert!(Database::read(&path, bad).is_err(), "{bad}");
        }
    }
}
