//! Moves the state of keys between an operator and the disk.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;

use super::StateMemory;
use super::allocator::release_free_memory;
use super::bloom::mix;
use super::cold::NodeState;
use super::recent::Recent;
use super::rows::Codecs;
use super::store::{Aside, ColdStore, Woken};
use crate::Result;
use crate::change::ChangeBatch;
use crate::operator::{Factory, Operator, OperatorStats, StepTime, run_once};
use crate::runtime::circuit::{Circuit, NodeId, NodeKind};
use crate::state::{Placement, StateTable, key_hashes};

/// One node's state on one worker: the keys that rows come for in memory, others on disk.
///
/// It stands between the worker and an operator that asks for the state of a key only in steps that bring rows of that key. A key
/// is known by the hash that the exchange before the operator deals by; keys of one hash go together.
pub(in crate::runtime) struct Pager {
    factory: Factory,
    /// By input: its key columns.
    keys: Vec<Vec<usize>>,
    codecs: Codecs,
    cold: ColdStore,
    recent: Recent,
    /// How many bytes the operator may hold.
    ceiling: usize,
    /// About how many bytes have come to the operator since it was last asked what it holds.
    grown: usize,
    /// The processing time of the last step.
    now: Option<i64>,
    /// How often keys were put aside, so that other keys go each time.
    round: u64,
    /// Whether the state has columns that cannot stand on disk.
    stuck: bool,
}

/// Who lets go of much gives the memory back whenever it is so many bytes.
const RELEASE_EVERY: usize = 4 << 20;
/// About how much more than itself a row takes in an operator.
const ROW_OVERHEAD: usize = 64;

impl Pager {
    /// For a node whose operator works key by key; `None` for others.
    pub fn of(circuit: &Circuit, id: NodeId, memory: &StateMemory, workers: usize) -> Option<Self> {
        let NodeKind::Operator(factory) = &circuit.node(id).kind else { return None };
        let keys = circuit.keys_apart(id)?;
        Some(Self {
            factory: Arc::clone(factory),
            keys,
            codecs: Codecs::default(),
            cold: ColdStore::new(&memory.dir),
            recent: Recent::default(),
            ceiling: memory.of_worker(workers),
            grown: 0,
            now: None,
            round: 0,
            stuck: false,
        })
    }

    /// Says how many bytes the operator may hold from now on.
    pub fn allow(&mut self, bytes: usize) {
        self.ceiling = bytes;
    }

    /// About how many bytes have come to the operator since this was last asked.
    pub fn take_grown(&mut self) -> usize {
        std::mem::take(&mut self.grown)
    }

    /// What it takes in memory beside the operator.
    pub fn memory(&self) -> usize {
        self.cold.memory() + self.recent.bytes()
    }

    /// What the operator holds, and what is on disk.
    pub fn stats(&self, operator: &dyn Operator) -> OperatorStats {
        let own = operator.stats();
        OperatorStats {
            state_rows: own.state_rows + self.cold.rows(),
            state_bytes: own.state_bytes + self.memory() as u64,
            ..own
        }
    }

    /// How many bytes of state are on disk.
    pub fn on_disk(&self) -> u64 {
        self.cold.bytes()
    }

    /// A step of the operator, with the state of the keys that rows come for. Where that is too much at once, the keys take turns: each
    /// has its rows in one turn, so what comes out is the same.
    pub fn step(
        &mut self,
        operator: &mut Box<dyn Operator>,
        inputs: Vec<Vec<ChangeBatch>>,
        time: &StepTime,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        self.now = Some(time.processing_time);
        self.grown += inputs.iter().flatten().map(|b| b.bytes() + b.num_rows() * ROW_OVERHEAD).sum::<usize>();
        if let Some(ttl) = self.factory.state_ttl() {
            self.cold.expire(time.processing_time, ttl);
        }
        if self.cold.is_empty() {
            return run_once(operator.as_mut(), inputs, time, out);
        }
        let hashes = self.hashes(&inputs)?;
        let mut touched: Vec<u64> = hashes.iter().flatten().flatten().copied().collect();
        touched.sort_unstable();
        touched.dedup();
        touched.iter().for_each(|hash| self.recent.note(*hash));
        let first = self.wake(operator.as_mut(), &touched)?;
        if first == touched.len() {
            return run_once(operator.as_mut(), inputs, time, out);
        }
        let (mut from, mut to) = (0, first);
        loop {
            let turn = touched[from]..=touched[to - 1];
            run_once(operator.as_mut(), rows_of(&inputs, &hashes, &turn)?, time, out)?;
            if to == touched.len() {
                return Ok(());
            }
            self.make_room(operator)?;
            from = to;
            to += self.wake(operator.as_mut(), &touched[from..])?;
        }
    }

    /// By input, batch and row.
    fn hashes(&self, inputs: &[Vec<ChangeBatch>]) -> Result<Vec<Vec<Vec<u64>>>> {
        let of = |(batches, keys): (&Vec<ChangeBatch>, &Vec<usize>)| {
            batches.iter().map(|batch| hashes_of(&batch.rows, keys)).collect::<Result<Vec<_>>>()
        };
        inputs.iter().zip(&self.keys).map(of).collect()
    }

    /// Brings keys back, in the order of their hashes, as far as they find room; gives how many were done, at least one.
    fn wake(&mut self, operator: &mut dyn Operator, hashes: &[u64]) -> Result<usize> {
        let room = self.ceiling / 4;
        let (mut woken, mut bytes, mut done) = (Woken::default(), 0usize, 0);
        let mut walk = self.cold.walk();
        for hash in hashes {
            bytes += walk.wake(*hash, &mut woken)?;
            done += 1;
            if bytes > room {
                break;
            }
        }
        self.grown += bytes * 2;
        if !woken.is_empty() {
            operator.restore(woken.take(&self.codecs)?)?;
        }
        Ok(done)
    }

    /// Puts keys aside where the operator holds more than it may.
    fn make_room(&mut self, operator: &mut Box<dyn Operator>) -> Result<()> {
        let held = operator.stats().state_bytes as usize;
        if held > self.ceiling { self.put_aside(operator, held - self.ceiling / 2) } else { Ok(()) }
    }

    /// Puts keys aside that hold about so many bytes, first those that no rows came for of late.
    ///
    /// # Errors
    /// When state cannot be handed out, or the disk does not take it.
    pub fn put_aside(&mut self, operator: &mut Box<dyn Operator>, bytes: usize) -> Result<()> {
        let held = operator.stats().state_bytes as usize;
        if self.stuck || held == 0 {
            return Ok(());
        }
        let tables = operator.snapshot()?;
        if let Some(name) = tables.iter().find(|t| !self.can_move(t)).map(|t| t.name.clone()) {
            log::warn!("state '{name}' of {} cannot be moved to disk, and stays in memory", self.factory.name());
            self.stuck = true;
            return Ok(());
        }
        *operator = self.factory.build()?;
        let keep = 1.0 - bytes.min(held) as f64 / held as f64;
        let choice = Choice::new(&self.recent, self.round, keep, &tables)?;
        let mut aside = Aside::default();
        let kept = tables.into_iter().map(|table| self.divide(table, &choice, &mut aside));
        let kept = kept.collect::<Result<Vec<_>>>()?;
        self.cold.put(aside, self.now, |hash| choice.keeps(hash))?;
        operator.restore(kept)?;
        self.recent.clear();
        self.round += 1;
        Ok(())
    }

    fn can_move(&mut self, table: &StateTable) -> bool {
        let (Placement::Key(keys), Some(rows)) = (&table.placement, table.rows.first()) else { return true };
        self.codecs.number(table, keys, rows.schema_ref()).is_some()
    }

    /// The part of a table that stays; each chunk is let go of when it has been divided.
    fn divide(&self, table: StateTable, choice: &Choice<'_>, aside: &mut Aside) -> Result<StateTable> {
        let StateTable { name, placement, rows } = table;
        let Placement::Key(keys) = &placement else { return Ok(StateTable { name, placement, rows }) };
        let (mut kept, mut divided) = (Vec::new(), 0);
        for chunk in rows {
            let hashes = hashes_of(&chunk, keys)?;
            let stays = BooleanBuffer::collect_bool(hashes.len(), |row| choice.keeps(hashes[row]));
            let count = stays.count_set_bits();
            if count < hashes.len() {
                let (number, codec) = self.codecs.named(&name)?;
                let goes = filter_record_batch(&chunk, &BooleanArray::new(!&stays, None))?;
                let hashes: Vec<u64> = hashes.iter().copied().filter(|hash| !choice.keeps(*hash)).collect();
                aside.add(number, codec, &goes, &hashes)?;
            }
            divided += chunk.get_array_memory_size();
            match count {
                0 => drop(chunk),
                _ if count == hashes.len() => kept.push(chunk),
                _ => {
                    kept.push(filter_record_batch(&chunk, &BooleanArray::new(stays, None))?);
                    drop(chunk);
                }
            }
            if divided > RELEASE_EVERY {
                release_free_memory();
                divided = 0;
            }
        }
        Ok(StateTable { name, placement, rows: kept })
    }

    /// The whole state, in memory and on disk.
    ///
    /// # Errors
    /// As [`Operator::snapshot`].
    pub fn freeze(&self, operator: &mut dyn Operator) -> Result<NodeState> {
        Ok(NodeState { tables: operator.snapshot()?, cold: self.cold.freeze(&self.codecs) })
    }

    /// Takes state over, piece by piece, so that no more of it is in memory than may be.
    ///
    /// # Errors
    /// As [`Operator::restore`], or when rows cannot be read.
    pub fn restore(&mut self, operator: &mut Box<dyn Operator>, state: NodeState) -> Result<()> {
        for StateTable { name, placement, rows } in state.tables {
            for chunk in rows {
                self.admit(
                    operator,
                    StateTable { name: name.clone(), placement: placement.clone(), rows: vec![chunk] },
                )?;
            }
        }
        for table in state.cold {
            for part in table.parts {
                part.read(&mut |chunk| {
                    let (name, placement) = (table.name.clone(), table.placement.clone());
                    self.admit(operator, StateTable { name, placement, rows: vec![chunk] })
                })?;
            }
        }
        Ok(())
    }

    fn admit(&mut self, operator: &mut Box<dyn Operator>, table: StateTable) -> Result<()> {
        if let (Placement::Key(keys), false) = (&table.placement, self.cold.is_empty()) {
            let hashes = table.rows.iter().map(|rows| hashes_of(rows, keys)).collect::<Result<Vec<_>>>()?;
            let mut touched: Vec<u64> = hashes.into_iter().flatten().collect();
            touched.sort_unstable();
            touched.dedup();
            let mut rest = touched.as_slice();
            while !rest.is_empty() {
                rest = &rest[self.wake(operator.as_mut(), rest)?..];
            }
        }
        operator.restore(vec![table])?;
        self.make_room(operator)
    }
}

/// Which keys stay in memory.
struct Choice<'a> {
    recent: &'a Recent,
    round: u64,
    /// Of the keys that rows came for of late, and of the others: up to which draw they stay.
    limits: [u64; 2],
}

impl<'a> Choice<'a> {
    /// That such a part of all rows stays.
    fn new(recent: &'a Recent, round: u64, keep: f64, tables: &[StateTable]) -> Result<Self> {
        let (mut all, mut late) = (0usize, 0usize);
        if !recent.is_empty() {
            for table in tables {
                let Placement::Key(keys) = &table.placement else { continue };
                for chunk in &table.rows {
                    all += chunk.num_rows();
                    late += hashes_of(chunk, keys)?.into_iter().filter(|hash| recent.has(*hash)).count();
                }
            }
        }
        let share = if all == 0 { 0.0 } else { late as f64 / all as f64 };
        let parts = match share < keep {
            true => [1.0, (keep - share) / (1.0 - share)],
            false => [keep / share, 0.0],
        };
        Ok(Self { recent, round, limits: parts.map(|part| (part * u64::MAX as f64) as u64) })
    }

    fn keeps(&self, hash: u64) -> bool {
        let draw = mix(hash.wrapping_add(self.round.wrapping_mul(0xd1b5_4a32_d192_ed03)));
        draw < self.limits[usize::from(!self.recent.has(hash))]
    }
}

fn hashes_of(rows: &RecordBatch, keys: &[usize]) -> Result<Vec<u64>> {
    let columns: Vec<ArrayRef> = keys.iter().map(|k| Arc::clone(rows.column(*k))).collect();
    let mut hashes = Vec::new();
    key_hashes(&columns, rows.num_rows(), &mut hashes)?;
    Ok(hashes)
}

/// The rows of some keys.
fn rows_of(
    inputs: &[Vec<ChangeBatch>],
    hashes: &[Vec<Vec<u64>>],
    turn: &std::ops::RangeInclusive<u64>,
) -> Result<Vec<Vec<ChangeBatch>>> {
    let of = |(batches, hashes): (&Vec<ChangeBatch>, &Vec<Vec<u64>>)| {
        let part = |(batch, hashes): (&ChangeBatch, &Vec<u64>)| {
            let rows = (0u32..).zip(hashes).filter(|(_, hash)| turn.contains(hash)).map(|(row, _)| row);
            batch.take(&UInt32Array::from_iter_values(rows))
        };
        batches.iter().zip(hashes).map(part).collect::<Result<Vec<_>>>()
    };
    inputs.iter().zip(hashes).map(of).collect()
}
