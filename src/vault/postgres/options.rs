//! How a store on PostgreSQL is reached.
#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::ClientConfig;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::store::StoreError;
use super::fault::Patience;
use super::password;

/// The schema, unless told otherwise.
const SCHEMA: &str = "cardvault";
/// The most connections, unless told otherwise: one that writes, the others read.
const CONNECTIONS: usize = 8;
const EXCHANGE: Duration = Duration::from_secs(30);
const ALL_TRIES: Duration = Duration::from_secs(60);

/// How a store on PostgreSQL is reached, and how long to wait for it.
///
/// `Debug` shows neither user nor password.
#[derive(Clone)]
pub struct PostgresOptions {
    config: Config,
    tls: Option<Arc<ClientConfig>>,
    schema: String,
    connections: usize,
    patience: Patience,
}

impl PostgresOptions {
    /// A connection string: `host=db1,db2 user=vault dbname=switch`, or
    /// `postgresql://vault@db1,db2/switch`, with the keywords of libpq that `tokio_postgres::Config` knows.
    /// Name all hosts of a cluster with `target_session_attrs=read-write`, so that the primary is
    /// found after a failover.
    ///
    /// # Errors
    /// [`StoreError::BadSetting`].
    pub fn new(connection: &str) -> Result<Self, StoreError> {
        let config = connection.parse().map_err(|_| StoreError::BadSetting)?;
        Ok(Self {
            config,
            tls: None,
            schema: SCHEMA.to_owned(),
            connections: CONNECTIONS,
            patience: Patience {
                exchange: EXCHANGE,
                all: ALL_TRIES,
            },
        })
    }

    /// Whether the connection string holds a password.
    #[must_use]
    pub fn holds_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Takes the password from where PostgreSQL's own programs take it, unless the connection
    /// string holds one: from the variable `PGPASSWORD`, else from the first line that fits of the
    /// file that `PGPASSFILE` names, else of `~/.pgpass`. There may be none.
    ///
    /// # Errors
    /// [`StoreError::Io`] if that file cannot be read, or if others than its owner may read it.
    pub fn password_from_environment(mut self) -> Result<Self, StoreError> {
        if !self.holds_password()
            && let Some(password) = password::from_environment(&self.config)?
        {
            self.config.password(password);
        }
        Ok(self)
    }

    /// Requires TLS on every connection. Without, only hosts on this machine are connected to,
    /// unless the connection string says `sslmode=disable`.
    #[must_use]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.config.ssl_mode(SslMode::Require);
        self.tls = Some(config);
        self
    }

    /// The schema that holds the store, `cardvault` unless set: 1 to 63 of `a` to `z`, `0` to `9`
    /// and `_`, not a digit first.
    #[must_use]
    pub fn in_schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.schema);
        self
    }

    /// The most connections, 8 unless set; at least 2, since one writes.
    #[must_use]
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most.max(2);
        self
    }

    /// How long to wait for one answer, 30 s unless set, and how long to go on trying when the
    /// database is away or busy, 60 s unless set.
    #[must_use]
    pub fn timeouts(mut self, answer: Duration, all_tries: Duration) -> Self {
        self.patience = Patience {
            exchange: answer,
            all: all_tries,
        };
        self
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    pub(super) const fn patience(&self) -> Patience {
        self.patience
    }

    /// # Errors
    /// [`StoreError::NoTls`].
    pub(super) fn pool(&self) -> Result<Pool, StoreError> {
        let mut config = self.config.clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(self.patience.exchange);
        }
        if config.get_application_name().is_none() {
            config.application_name("cardvault");
        }
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = match &self.tls {
            Some(tls) => {
                let connector = MakeRustlsConnect::new(ClientConfig::clone(tls));
                Manager::from_config(config, connector, recycling)
            }
            None if self.is_local() || config.get_ssl_mode() == SslMode::Disable => {
                Manager::from_config(config, NoTls, recycling)
            }
            None => return Err(StoreError::NoTls),
        };
        // A server must not hold the lock for a client that is gone, nor acknowledge what is not
        // on its disk (and on that of a standby, where it has one that it waits for).
        let millis = self.patience.exchange.as_millis();
        let settings = format!(
            "SET statement_timeout = {millis}; SET lock_timeout = {millis}; \
             SET idle_in_transaction_session_timeout = {millis}; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
        );
        let hook = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let settings = settings.clone();
            Box::pin(async move {
                client
                    .batch_execute(&settings)
                    .await
                    .map_err(HookError::Backend)
            })
        });
        Pool::builder(manager)
            .max_size(self.connections)
            .wait_timeout(Some(self.patience.exchange))
            .create_timeout(Some(self.patience.exchange))
            .runtime(Runtime::Tokio1)
            .post_create(hook)
            .build()
            .map_err(|_| StoreError::BadSetting)
    }

    /// Whether no byte leaves this machine.
    fn is_local(&self) -> bool {
        let named = |host: &Host| match host {
            Host::Tcp(name) => {
                name == "localhost" || name.parse().is_ok_and(|host: IpAddr| host.is_loopback())
            }
            #[cfg(unix)]
            Host::Unix(_) => true,
        };
        let addresses = self.config.get_hostaddrs();
        self.config.get_hosts().iter().all(named) && addresses.iter().all(IpAddr::is_loopback)
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("hosts", &self.config.get_hosts())
            .field("schema", &self.schema)
            .field("tls", &self.tls.is_some())
            .field("connections", &self.connections)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_the_machine_only_when_told() {
        let pool = |connection: &str| PostgresOptions::new(connection).unwrap().pool().map(|_| ());
        for local in [
            "host=localhost",
            "host=/run/postgresql",
            "host=127.0.0.1,::1",
        ] {
            assert_eq!(pool(local), Ok(()), "{local}");
        }
        for remote in [
            "host=db.example",
            "host=localhost,10.0.0.1",
            "host=localhost hostaddr=10.0.0.1",
            "postgresql://user:secret@db.example/switch?sslmode=prefer",
        ] {
            assert_eq!(pool(remote), Err(StoreError::NoTls), "{remote}");
        }
        assert_eq!(pool("host=db.example sslmode=disable"), Ok(()));
    }

    #[test]
    fn debug_shows_no_password() {
        let options = PostgresOptions::new("postgresql://mary:secret@db.example/switch").unwrap();
        let shown = format!("{options:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("mary"),
            "{shown}"
        );
        assert!(shown.contains("db.example"));
        let refused = PostgresOptions::new("no such thing").err();
        assert_eq!(refused, Some(StoreError::BadSetting));
    }
}
