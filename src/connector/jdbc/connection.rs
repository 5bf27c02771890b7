//! Connections to a server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
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
    /// Held by the request that connects: the others wait for what comes of it.
    connecting: tokio::sync::Mutex<()>,
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
        Ok(Self {
            config,
            table: table.to_string(),
            shared: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        })
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

    /// The shared connection; a new one where there is none or it is broken. Until [`Lease::answered`] the lease is taken for
    /// a request that was given up, behind which others must not queue: it takes the connection away.
    pub async fn lease(&self) -> Result<Lease<'_>> {
        if let Some(client) = self.known() {
            return Ok(self.leased(client));
        }
        let _turn = self.connecting.lock().await;
        if let Some(client) = self.known() {
            return Ok(self.leased(client));
        }
        let client = Arc::new(self.connect().await?);
        *self.slot() = Some(Arc::clone(&client));
        Ok(self.leased(client))
    }

    fn known(&self) -> Option<Arc<Client>> {
        self.slot().clone().filter(|client| !client.is_closed())
    }

    fn leased(&self, client: Arc<Client>) -> Lease<'_> {
        Lease { server: self, client, state: Asked::Open }
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
    state: Asked,
}

/// What has become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Open,
    Answered,
    Failed,
}

impl Lease<'_> {
    /// The request was answered, or failed.
    pub fn answered<T, E>(mut self, answer: std::result::Result<T, E>) -> std::result::Result<T, E> {
        self.state = if answer.is_ok() { Asked::Answered } else { Asked::Failed };
        answer
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.state == Asked::Answered {
            return;
        }
        let mut slot = self.server.slot();
        if slot.as_ref().is_some_and(|client| Arc::ptr_eq(client, &self.client)) {
            *slot = None;
        }
        // What was given up is not to go on at the server.
        if self.state == Asked::Open
            && let Ok(tasks) = Handle::try_current()
        {
            let cancel = self.client.cancel_token();
            tasks.spawn(async move {
                if let Err(e) = cancel.cancel_query(NoTls).await {
                    log::debug!("a request to PostgreSQL could not be cancelled: {e}");
                }
            });
        }
    }
}
