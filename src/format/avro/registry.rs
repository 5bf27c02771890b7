//! A schema registry, asked by the HTTP interface of Confluent's.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::schema::MAX_TEXT;
use crate::table::Options;
use crate::{Error, Result};

pub(super) const URL: &str = "avro-confluent.url";
pub(super) const BASIC_SOURCE: &str = "avro-confluent.basic-auth.credentials-source";
pub(super) const BASIC_USER: &str = "avro-confluent.basic-auth.user-info";
pub(super) const BEARER_SOURCE: &str = "avro-confluent.bearer-auth.credentials-source";
pub(super) const BEARER_TOKEN: &str = "avro-confluent.bearer-auth.token";

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often each address is asked before that is an error, and how long to wait at first; the wait doubles.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How long an answer may be; a schema stands in it as a text.
const MAX_ANSWER: usize = 2 * MAX_TEXT;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Asks one registry, at any of its addresses.
pub(super) struct Registry {
    client: Client,
    urls: Vec<String>,
    auth: Auth,
}

enum Auth {
    None,
    Basic(String, String),
    Bearer(String),
}

#[derive(Deserialize)]
struct Stored {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Registry {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let urls = options.require(URL)?.split(',').map(|u| u.trim().trim_end_matches('/').to_owned());
        let urls: Vec<_> = urls.filter(|u| !u.is_empty()).collect();
        if let Some(other) = urls.iter().find(|u| !u.starts_with("http://") && !u.starts_with("https://")) {
            return Err(Error::Option(format!("option '{URL}': '{other}' begins with neither http:// nor https://")));
        }
        if urls.is_empty() {
            return Err(Error::Option(format!("option '{URL}' names no address")));
        }
        // The environment's proxies are none of a library's business.
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build();
        let client = client.map_err(|e| Error::Execution(format!("schema registry: {e}")))?;
        Ok(Self { client, urls, auth: Auth::new(options)? })
    }

    /// The text of an Avro schema; the inner error tells why there is none for this number.
    pub(super) async fn schema(&self, id: u32) -> Result<Result<String, String>> {
        let (status, body) = self.ask(|client, url| client.get(format!("{url}/schemas/ids/{id}"))).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Err(format!("the schema registry has no schema {id}")));
        }
        let stored: Stored = read(status, &body)?;
        Ok(match stored.kind.as_deref() {
            Some(kind) if kind != "AVRO" => Err(format!("the schema {id} of the registry is {kind}, not Avro")),
            _ if !stored.references.is_empty() => {
                Err(format!("the schema {id} refers to other subjects, which is not supported"))
            }
            _ => Ok(stored.schema),
        })
    }

    /// Registers a schema under a subject, unless it is already, and gives its number.
    pub(super) async fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let subject = escaped(subject);
        let body = json!({"schema": schema});
        let ask = |client: &Client, url: &str| client.post(format!("{url}/subjects/{subject}/versions")).json(&body);
        let (status, body) = self.ask(ask).await?;
        let registered: Registered = read(status, &body)?;
        Ok(registered.id)
    }

    /// Asks until there is an answer that another attempt would not change.
    async fn ask(&self, request: impl Fn(&Client, &str) -> RequestBuilder) -> Result<(StatusCode, Vec<u8>)> {
        let mut wait = FIRST_WAIT;
        let mut failure = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            for url in &self.urls {
                let request = self.auth.sign(request(&self.client, url)).header("Accept", MEDIA_TYPE);
                match answer(request).await {
                    Ok((status, _)) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                        failure = format!("{url}: {status}");
                    }
                    Ok(answer) => return Ok(answer),
                    Err(e) => failure = format!("{url}: {e}"),
                }
            }
        }
        Err(Error::Execution(format!("schema registry: {failure} (after {ATTEMPTS} attempts)")))
    }
}

impl Auth {
    fn new(options: &Options) -> Result<Self> {
        let only = |key: &str, known: &str| match options.get(key) {
            Some(other) if !other.eq_ignore_ascii_case(known) => {
                Err(Error::Option(format!("option '{key}' = '{other}': only {known} is supported")))
            }
            _ => Ok(()),
        };
        only(BASIC_SOURCE, "USER_INFO")?;
        only(BEARER_SOURCE, "STATIC_TOKEN")?;
        Ok(match (options.get(BASIC_USER), options.get(BEARER_TOKEN)) {
            (None, None) => Auth::None,
            (Some(user), None) => match user.split_once(':') {
                Some((user, password)) => Auth::Basic(user.to_owned(), password.to_owned()),
                None => return Err(Error::Option(format!("option '{BASIC_USER}': expected 'user:password'"))),
            },
            (None, Some(token)) => Auth::Bearer(token.to_owned()),
            (Some(_), Some(_)) => {
                return Err(Error::Option(format!("'{BASIC_USER}' and '{BEARER_TOKEN}' cannot both be set")));
            }
        })
    }

    fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Auth::None => request,
            Auth::Basic(user, password) => request.basic_auth(user, Some(password)),
            Auth::Bearer(token) => request.bearer_auth(token),
        }
    }
}

async fn answer(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), String> {
    let mut response: Response = request.send().await.map_err(|e| causes(&e))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| causes(&e))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("an answer of more than {} MiB", MAX_ANSWER >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

/// The client's errors say little themselves, and their causes much; the address is told already.
fn causes(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn read<'a, T: Deserialize<'a>>(status: StatusCode, body: &'a [u8]) -> Result<T> {
    if !status.is_success() {
        let reason = serde_json::from_slice::<Refusal>(body).map(|r| format!(": {}", r.message)).unwrap_or_default();
        return Err(Error::Execution(format!("schema registry: {status}{reason}")));
    }
    serde_json::from_slice(body).map_err(|e| Error::Execution(format!("schema registry: an answer that is none: {e}")))
}

/// A subject as a part of an address.
fn escaped(subject: &str) -> String {
    let mut out = String::new();
    for b in subject.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b.into()),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
