//! Connections to a server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use crate::{Error, Result};

/// After so long a server that does not answer is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server, and the connection that requests share.
pub(super) struct Server {
    config: Config,
    /// The table that it is asked for, for messages.
    table: String,
    shared: Mutex<Option<Arc<Client>>>,
}

impl Server {
    pub fn try_new(url: &str, user: Option<&str>, password: Option<&str>, table: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::Option(format!("option 'url' = '{url}': {why}; expected jdbc:postgresql://host:port/database"))
        };
        let address = url.strip_prefix("jdbc:").ok_or_else(|| wrong("it does not begin with jdbc:"))?;
        if !address.starts_with("postgresql://") {
            return Err(wrong("PostgreSQL is the one database that there is"));
        }
        let mut config: Config = address.parse().map_err(|e: tokio_postgres::Error| wrong(&e.to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        user.iter().for_each(|user| _ = config.user(*user));
        password.iter().for_each(|password| _ = config.password(*password));
        config.application_name("millstream");
        config.options("-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex");
        config.connect_timeout(CONNECT_TIMEOUT);
        Ok(Self { config, table: table.to_string(), shared: Mutex::default() })
    }

    /// A connection of the caller's own.
    pub async fn connect(&self) -> Result<Client> {
        let (client, connection) = self.config.connect(NoTls).await.map_err(|e| self.failed(&e))?;
        #[allow(clippy::disallowed_methods, reason = "it ends with its client, whose requests it carries")]
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                log::debug!("a connection to PostgreSQL ended: {e}");
            }
        });
        Ok(client)
    }

    /// The shared connection; a new one where there is none or it is broken. Until [`Lease::done`] the lease is taken for
    /// a request that was given up, behind which others must not queue: it takes the connection away.
    pub async fn lease(&self) -> Result<Lease<'_>> {
        let known = self.slot().clone().filter(|client| !client.is_closed());
        let client = match known {
            Some(client) => client,
            None => {
                let client = Arc::new(self.connect().await?);
                *self.slot() = Some(Arc::clone(&client));
                client
            }
        };
        Ok(Lease { server: self, client, done: false })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        // A connection is whole whatever happened to the one who held it.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a server said, under the table's name.
    pub fn failed(&self, error: &tokio_postgres::Error) -> Error {
        let said = match error.as_db_error() {
            Some(db) => db.message().to_string(),
            None => match std::error::Error::source(error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            },
        };
        Error::Execution(format!("table '{}': PostgreSQL: {said}", self.table))
    }
}

/// The shared connection, for one request.
pub(super) struct Lease<'a> {
    server: &'a Server,
    pub client: Arc<Client>,
    done: bool,
}

impl Lease<'_> {
    /// The request was answered.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut slot = self.server.slot();
        if slot.as_ref().is_some_and(|client| Arc::ptr_eq(client, &self.client)) {
            *slot = None;
        }
    }
}
