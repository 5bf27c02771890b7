//! Tables that are asked by key: requests under way, and answers that wait for their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Probes;
use super::assemble::{Known, ProbeKeys, RowBytes};
use super::cache::Cache;
use super::pursuit::Pursuit;
use super::request::{Manner, request};
use crate::connector::lookup::{CacheOptions, Found, Lookup};
use crate::operator::OperatorStats;
use crate::operator::lookup_join::Answer;
use crate::runtime::circuit::LookupSpec;
use crate::{Error, Result};

/// Asks a table for what the probes of one look-up need.
pub(in crate::runtime) struct Asking {
    lookup: Arc<dyn Lookup>,
    manner: Manner,
    runtime: Handle,
    /// Where the probes' key columns stand, and what they are called in the table.
    key_columns: Vec<usize>,
    keys: SchemaRef,
    key_bytes: RowConverter,
    projection: SchemaRef,
    cache: Option<(Cache, RowBytes)>,
    requests: JoinSet<(u64, Result<Found>)>,
    /// By the number of the probes.
    under_way: BTreeMap<u64, UnderWay>,
    /// When probes are to be asked for again, and their numbers.
    waiting: BTreeSet<(i64, u64)>,
    ready: BTreeMap<u64, Answer>,
    /// The number of the first probes that have not been looked at.
    next: u64,
    /// The number of the first probes that have no answer yet.
    first: u64,
}

/// Probes for which an answer is waited for.
struct UnderWay {
    keys: ProbeKeys,
    known: Known,
    pursuit: Pursuit,
}

impl Asking {
    pub fn open(spec: &LookupSpec, cache: Option<CacheOptions>, max_retries: u32, runtime: &Handle) -> Result<Self> {
        let lookup = spec.connector.lookup(&spec.table, Arc::clone(&spec.keys), Arc::clone(&spec.projection))?;
        let fields = spec.keys.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let row_bytes =
            |options| Ok::<_, Error>((Cache::new(options), RowBytes::try_new(Arc::clone(&spec.projection))?));
        Ok(Self {
            lookup: Arc::from(lookup),
            manner: Manner { table: spec.table.name.clone(), policy: spec.policy, max_retries },
            runtime: runtime.clone(),
            key_columns: spec.join.keys.clone(),
            keys: Arc::clone(&spec.keys),
            key_bytes: RowConverter::new(fields)?,
            projection: Arc::clone(&spec.projection),
            cache: cache.map(row_bytes).transpose()?,
            requests: JoinSet::new(),
            under_way: BTreeMap::new(),
            waiting: BTreeSet::new(),
            ready: BTreeMap::new(),
            next: 0,
            first: 0,
        })
    }

    /// The number of the first probes that have not been looked at.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// When the clock is waited for: something is to be asked for again, or given up, then.
    pub fn next_timer(&self) -> Option<i64> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// Asks again for what has waited long enough.
    ///
    /// # Errors
    /// When that has lasted too long.
    pub fn ask_again(&mut self, now: i64) -> Result<()> {
        let timeout = self.manner.policy.timeout;
        while let Some((_, number)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            let Some(UnderWay { pursuit, .. }) = self.under_way.get(&number) else { continue };
            if pursuit.deadline(timeout) <= now {
                return Err(pursuit.timed_out(&self.manner.table, timeout));
            }
            let keys = pursuit.request()?;
            self.request(number, keys);
        }
        Ok(())
    }

    fn request(&mut self, number: u64, keys: RecordBatch) {
        let (lookup, manner) = (Arc::clone(&self.lookup), self.manner.clone());
        self.requests.spawn_on(async move { (number, request(lookup, keys, manner).await) }, &self.runtime);
    }

    /// Looks at more probes as long as not too many are under way or wait for their turn.
    pub fn ask(&mut self, probes: impl Iterator<Item = Probes>, now: i64) -> Result<()> {
        for probes in probes {
            if self.next - self.first >= self.manner.policy.capacity as u64 {
                break;
            }
            self.begin(probes, now)?;
        }
        Ok(())
    }

    /// What the cache holds.
    pub fn cached(&self) -> OperatorStats {
        self.cache.as_ref().map_or_else(OperatorStats::default, |(cache, _)| cache.stats())
    }

    fn begin(&mut self, probes: Probes, now: i64) -> Result<()> {
        let rows = &probes.rows.rows;
        let columns: Vec<ArrayRef> = self.key_columns.iter().map(|c| Arc::clone(rows.column(*c))).collect();
        let keys = ProbeKeys::of(&self.key_bytes, &columns, rows.num_rows())?;
        let mut known = Known::default();
        for key in 0..keys.first.len() as u32 {
            match self.cache.as_mut().and_then(|(cache, _)| cache.get(keys.key(key), now)) {
                Some(rows) => known.cached.push((key, rows)),
                None => known.asked.push(key),
            }
        }
        self.next = probes.number + 1;
        if known.asked.is_empty() {
            let answer = self.answer(&keys, &known, None)?;
            self.ready.insert(probes.number, answer);
            return Ok(());
        }
        let asked = keys.columns(&columns, &self.keys, &known.asked)?;
        let pursuit = Pursuit::new(asked.clone(), self.manner.policy.retry_miss, now);
        self.under_way.insert(probes.number, UnderWay { keys, known, pursuit });
        self.request(probes.number, asked);
        Ok(())
    }

    /// Takes what has come; true when there was anything.
    pub fn receive(&mut self, context: &mut Context<'_>, now: i64) -> Result<bool> {
        let mut any = false;
        while let Poll::Ready(Some(finished)) = self.requests.poll_join_next(context) {
            any = true;
            let gone = |e| Error::internal(format!("a look-up in table '{}' is gone: {e}", self.manner.table));
            let (number, found) = finished.map_err(gone)?;
            self.finish(number, found?, now)?;
        }
        Ok(any)
    }

    fn finish(&mut self, number: u64, found: Found, now: i64) -> Result<()> {
        let Some(mut under_way) = self.under_way.remove(&number) else {
            return Err(Error::internal("an answer to a request that was not made"));
        };
        if let Some(at) = under_way.pursuit.take(found, self.manner.policy.retry_miss, now)? {
            let deadline = under_way.pursuit.deadline(self.manner.policy.timeout);
            self.waiting.insert((at.min(deadline), number));
            self.under_way.insert(number, under_way);
            return Ok(());
        }
        let UnderWay { keys, known, pursuit } = under_way;
        let answer = self.answer(&keys, &known, pursuit.found())?;
        if let (Some((cache, bytes)), Some(found)) = (&mut self.cache, pursuit.found()) {
            for (key, rows) in known.asked.iter().zip(bytes.by_key(found, known.asked.len())?) {
                cache.put(keys.key(*key), rows, now);
            }
        }
        self.ready.insert(number, answer);
        Ok(())
    }

    fn answer(&self, keys: &ProbeKeys, known: &Known, found: Option<&Found>) -> Result<Answer> {
        let bytes = self.cache.as_ref().map(|(_, bytes)| bytes);
        known.answer(&keys.of, keys.first.len(), found, bytes, &self.projection)
    }

    /// The answers whose turn it is, in the order of the probes.
    pub fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.ready.remove(&self.first) {
            self.first += 1;
            answers.push(answer);
        }
        answers
    }
}
