//! A join's step.

use super::alone::Presence;
use super::net;
use super::output::Output;
use super::pairs::{Phase, Touched};
use super::side::{Moment, Side};
use super::{CHECK_KEYS_FROM, Join, Role};
use crate::Result;
use crate::change::ChangeBatch;

impl Join {
    pub(super) fn step(&mut self, now: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.sides.iter_mut().for_each(|s| s.expire(now));
        if self.pending.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let mut presence = std::mem::take(&mut self.presence);
        presence.begin(self.whole());
        self.collect(0)?;
        self.collect(1)?;
        // Whether a side's keys are there matters to the other side's rows.
        let noted = [0, 1].map(|side| match self.sides[1 - side].role {
            Role::None => Vec::new(),
            _ => Presence::note(&self.sides[side]),
        });
        let mut touched = Touched::default();
        let mut output = Output::default();
        self.meet_all(&mut touched, &mut output)?;
        for (side, noted) in noted.into_iter().enumerate() {
            presence.compare(side, noted, &self.sides[side]);
        }
        for side in [0, 1] {
            self.stand_alone(side, &presence, &mut touched, &mut output)?;
        }
        self.presence = presence;
        // Where both sides change, one row more and one fewer to meet can come to the same.
        let both = self.sides.iter().all(|s| s.delta.len() > 0);
        if (self.layout.ambiguous || both) && !output.removed.is_empty() && !output.added.is_empty() {
            net::cancel(&mut output)?;
        }
        out.append(&mut output.removed);
        out.append(&mut output.added);
        self.sides.iter_mut().try_for_each(|s| s.settle(now))?;
        self.drop_dead_keys()
    }

    /// Goes through the pairs that the step takes away, then through those that it adds, and brings the lists up to date.
    fn meet_all(&mut self, touched: &mut Touched, output: &mut Output) -> Result<()> {
        let by_row = self.layout.condition.is_some();
        if by_row {
            self.sides.iter_mut().for_each(Side::forget_matches_of_new);
        }
        let meets = self.kind.pairs() || by_row;
        let removes = self.sides.iter().any(|s| !s.delta.weights.is_empty());
        // The more rows come last, to meet all of the other side's at once, with no copy of their columns where each meets one.
        let first = usize::from(self.sides[1].delta.len() < self.sides[0].delta.len());
        let second = 1 - first;
        if meets && removes {
            self.meet(Phase { side: first, added: false, other: Moment::Old }, touched, output)?;
            self.meet(Phase { side: second, added: false, other: Moment::Stayed }, touched, output)?;
        }
        self.sides.iter_mut().for_each(Side::unlist_gone);
        if meets {
            self.meet(Phase { side: first, added: true, other: Moment::Stayed }, touched, output)?;
        }
        self.sides[first].list_new();
        if meets {
            self.meet(Phase { side: second, added: true, other: Moment::New }, touched, output)?;
        }
        self.sides[second].list_new();
        Ok(())
    }

    /// Gives up the numbers of keys that no row has, once they may be most.
    fn drop_dead_keys(&mut self) -> Result<()> {
        if self.keys.len() < self.check_keys_at {
            return Ok(());
        }
        let sides = &self.sides;
        let is_live = |key: u32| sides.iter().any(|s| s.has(key));
        let live = (0..self.keys.len() as u32).filter(|key| is_live(*key)).count();
        if live < self.keys.len() / 2 {
            let remap = self.keys.retain(is_live)?;
            self.sides.iter_mut().for_each(|s| s.renumber_keys(&remap));
            self.null_key = self.null_key.and_then(|key| remap.get(key));
        }
        self.check_keys_at = (self.keys.len() * 2).max(CHECK_KEYS_FROM);
        Ok(())
    }
}
