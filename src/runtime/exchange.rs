//! Where workers meet: in each step every worker sends one message to every other, and takes one from each.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::change::ChangeBatch;
use crate::state::Partitioner;
use crate::{Error, Result};

type Message = Vec<ChangeBatch>;

/// One worker's end of one exchange.
pub(super) struct Exchange {
    worker: usize,
    keys: Vec<usize>,
    partitioner: Partitioner,
    to: Vec<SyncSender<Message>>,
    from: Vec<Receiver<Message>>,
}

impl Exchange {
    /// The ends of one exchange for `workers` workers.
    pub fn mesh(workers: usize, keys: &[usize]) -> Vec<Self> {
        let (mut to, mut from): (Vec<Vec<_>>, Vec<Vec<_>>) = (Vec::new(), Vec::new());
        from.resize_with(workers, Vec::new);
        for _ in 0..workers {
            let mut senders = Vec::new();
            for receivers in &mut from {
                // Room for one message a step: a worker never waits to send.
                let (sender, receiver) = sync_channel(1);
                senders.push(sender);
                receivers.push(receiver);
            }
            to.push(senders);
        }
        let ends = to.into_iter().zip(from).enumerate();
        ends.map(|(worker, (to, from))| Self {
            worker,
            keys: keys.to_vec(),
            partitioner: Partitioner::new(workers),
            to,
            from,
        })
        .collect()
    }

    /// Gives away the rows that belong to others and takes those that belong here, in the order of the workers.
    ///
    /// # Errors
    /// [`Error::Internal`] when another worker has failed and is gone.
    pub fn swap(&mut self, batches: Vec<ChangeBatch>) -> Result<Vec<ChangeBatch>> {
        let mut messages: Vec<Message> = vec![Vec::new(); self.to.len()];
        for batch in batches {
            let keys: Vec<_> = self.keys.iter().map(|k| batch.rows.column(*k).clone()).collect();
            for (message, rows) in messages.iter_mut().zip(self.partitioner.rows(&keys, batch.num_rows())?) {
                if rows.len() == batch.num_rows() {
                    message.push(batch.clone());
                } else if !rows.is_empty() {
                    message.push(batch.take(&rows)?);
                }
            }
        }
        let gone = || Error::internal(GONE);
        let own = std::mem::take(&mut messages[self.worker]);
        for (to, message) in messages.into_iter().enumerate() {
            if to != self.worker {
                self.to[to].send(message).map_err(|_| gone())?;
            }
        }
        let mut own = Some(own);
        let mut received = Vec::new();
        for (worker, from) in self.from.iter().enumerate() {
            match worker == self.worker {
                true => received.extend(own.take().unwrap_or_default()),
                false => received.extend(from.recv().map_err(|_| gone())?),
            }
        }
        Ok(received)
    }
}

/// What a worker says that lost another; the other's own error is the one to report.
pub(super) const GONE: &str = "another worker is gone";
