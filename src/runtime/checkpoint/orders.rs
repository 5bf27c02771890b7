//! Orders to a job that runs in another process, left in its folder: what `millstream savepoint` does.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::coordinate::{Durable, Request};
use super::store::{ANSWER, CheckpointStore, ORDER};
use crate::{Error, Result};

/// How often a job looks for orders: on the local disk, and elsewhere, where looking costs money.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];
/// How often the answer is looked for.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// An order: a checkpoint now, and perhaps a copy of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    to: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// The checkpoint's number and address.
    done: Option<(u64, String)>,
    failed: Option<String>,
}

/// Asks the job whose folder this is, in whatever process it runs, for a checkpoint; with `to` for one that is written whole to
/// that address, too. Waits for so long at most.
///
/// # Errors
/// When the job does not answer in that time, or could not do it.
pub async fn ask(store: &CheckpointStore, to: Option<&str>, patience: Duration) -> Result<Durable> {
    let name = format!("{:016x}", RandomState::new().build_hasher().finish());
    let json = |order: &Order| serde_json::to_vec(order).map_err(|e| Error::internal(format!("writing an order: {e}")));
    store.put_order(&name, ORDER, json(&Order { to: to.map(str::to_string) })?).await?;
    let answered = tokio::time::timeout(patience, answer(store, &name)).await;
    let _ = store.remove_order(&name, ORDER).await;
    let _ = store.remove_order(&name, ANSWER).await;
    match answered {
        Ok(answer) => answer,
        Err(_) => Err(Error::Checkpoint {
            place: store.address(),
            reason: format!("no running job has answered within {} s", patience.as_secs()),
        }),
    }
}

async fn answer(store: &CheckpointStore, name: &str) -> Result<Durable> {
    loop {
        match store.order(name, ANSWER).await {
            Ok(bytes) => {
                let failed = |reason: String| Error::Checkpoint { place: store.address(), reason };
                let answer: Answer = serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))?;
                return match (answer.done, answer.failed) {
                    (Some((id, address)), _) => Ok(Durable { id, address }),
                    (None, reason) => Err(failed(reason.unwrap_or_else(|| "the job gave no reason".into()))),
                };
            }
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                tokio::time::sleep(ASK_EVERY).await;
            }
            Err(e) => return Err(e),
        }
    }
}

/// Looks for orders as long as the job runs, and hands them to it.
pub(in crate::runtime) async fn heed(store: CheckpointStore, hand_over: Arc<dyn Fn(Request) + Send + Sync>) {
    let every = if store.is_local() { LOOK_EVERY[0] } else { LOOK_EVERY[1] };
    loop {
        tokio::time::sleep(every).await;
        let orders = match store.orders().await {
            Ok(orders) => orders,
            Err(e) => {
                log::warn!("looking for orders to the job: {e}");
                continue;
            }
        };
        for name in orders {
            if let Err(e) = carry_out(&store, &name, &hand_over).await {
                log::warn!("an order to the job: {e}");
            }
        }
    }
}

async fn carry_out(store: &CheckpointStore, name: &str, hand_over: &Arc<dyn Fn(Request) + Send + Sync>) -> Result<()> {
    let bytes = store.order(name, ORDER).await?;
    store.remove_order(name, ORDER).await?;
    let outcome = match serde_json::from_slice::<Order>(&bytes) {
        Ok(Order { to }) => {
            let (reply, durable) = oneshot::channel();
            hand_over(Request { to, reply });
            let ended = |_| Error::Execution("the job ended before the checkpoint was taken".into());
            durable.await.map_err(ended).and_then(|durable| durable)
        }
        Err(e) => Err(Error::Option(format!("the order cannot be read: {e}"))),
    };
    let answer = match outcome {
        Ok(Durable { id, address }) => Answer { done: Some((id, address)), failed: None },
        Err(e) => Answer { done: None, failed: Some(e.to_string()) },
    };
    let bytes = serde_json::to_vec(&answer).map_err(|e| Error::internal(format!("writing an answer: {e}")))?;
    store.put_order(name, ANSWER, bytes).await
}
