//! What a join must answer, worked out from all rows anew.

use std::collections::BTreeMap;

use super::Case;
use crate::change::RowKind;
use crate::operator::join::JoinKind;

/// A key and a value.
pub type Row = (Option<i64>, Option<i64>);

/// A row that comes or goes.
#[derive(Debug, Clone)]
pub struct Change {
    pub row: Row,
    pub kind: RowKind,
}

/// Rows, each with how often it is there.
pub type Folded = BTreeMap<Vec<Option<i64>>, i64>;

/// Applies a change.
pub fn fold(folded: &mut Folded, row: &[Option<i64>], kind: RowKind) -> Result<(), String> {
    let count = folded.entry(row.to_vec()).or_default();
    *count += if kind.is_addition() { 1 } else { -1 };
    match *count {
        ..0 => Err(format!("{row:?} is taken away before it came")),
        0 => {
            folded.remove(row);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The rows of both sides, and what was given out so far.
pub struct Model<'a> {
    case: &'a Case,
    sides: [Vec<Row>; 2],
    given: Folded,
}

impl<'a> Model<'a> {
    pub fn new(case: &'a Case) -> Self {
        Self { case, sides: [Vec::new(), Vec::new()], given: Folded::new() }
    }

    pub fn apply(&mut self, side: usize, change: &Change) {
        let rows = &mut self.sides[side];
        if change.kind.is_addition() {
            rows.push(change.row);
        } else {
            let at = rows.iter().position(|r| *r == change.row).unwrap();
            rows.swap_remove(at);
        }
    }

    /// Folds what a step gave, and compares with the answer; nothing may be given that changes nothing.
    pub fn check(&mut self, out: &[(Vec<Option<i64>>, RowKind)]) -> Result<(), String> {
        let mut net: BTreeMap<Vec<Option<i64>>, i64> = BTreeMap::new();
        for (row, kind) in out {
            fold(&mut self.given, row, *kind)?;
            *net.entry(row.clone()).or_default() += if kind.is_addition() { 1 } else { -1 };
        }
        let changes: i64 = net.values().map(|n| n.abs()).sum();
        if changes != out.len() as i64 {
            return Err(format!("more is given than the net change: {out:?}"));
        }
        let answer = self.answer();
        match answer == self.given {
            true => Ok(()),
            false => Err(format!("{:?} is given, {answer:?} is right, of {:?}", self.given, self.sides)),
        }
    }

    fn matches(&self, left: &Row, right: &Row) -> bool {
        let keys = match (left.0, right.0) {
            (None, None) => self.case.nulls_equal,
            (l, r) => l == r,
        };
        let values = || match (left.1, right.1) {
            (Some(v), Some(w)) => v < w,
            _ => false,
        };
        keys && (!self.case.condition || values())
    }

    /// Whether `k NOT IN` the right side's keys is true.
    fn not_in(&self, left: &Row) -> bool {
        let unequal = |right: &Row| matches!((left.0, right.0), (Some(l), Some(r)) if l != r);
        self.sides[1].iter().all(unequal)
    }

    fn answer(&self) -> Folded {
        let [lefts, rights] = &self.sides;
        let mut rows: Vec<Vec<Option<i64>>> = Vec::new();
        for left in lefts {
            let matching: Vec<&Row> = rights.iter().filter(|r| self.matches(left, r)).collect();
            let own = vec![left.0, left.1];
            match self.case.kind {
                JoinKind::Semi if !matching.is_empty() => rows.push(own),
                JoinKind::Anti if matching.is_empty() => rows.push(own),
                JoinKind::NotIn if self.not_in(left) => rows.push(own),
                JoinKind::Mark => rows.push(vec![left.0, left.1, Some(i64::from(!matching.is_empty()))]),
                JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn => {}
                _ => {
                    rows.extend(matching.iter().map(|r| vec![left.0, left.1, r.0, r.1]));
                    if matching.is_empty() && matches!(self.case.kind, JoinKind::Left | JoinKind::Full) {
                        rows.push(vec![left.0, left.1, None, None]);
                    }
                }
            }
        }
        if matches!(self.case.kind, JoinKind::Right | JoinKind::Full) {
            let alone = rights.iter().filter(|r| !lefts.iter().any(|l| self.matches(l, r)));
            rows.extend(alone.map(|r| vec![None, None, r.0, r.1]));
        }
        let mut folded = Folded::new();
        for row in rows {
            let row = self.case.columns.iter().filter_map(|c| row.get(*c)).copied().collect();
            *folded.entry(row).or_default() += 1;
        }
        folded
    }
}
