//! The laws must notice operators that lose a retraction, double a change, turn its sign round or forget what they held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::UInt32Array;
use millstream::Result;
use millstream::change::{ChangeBatch, RowKind};
use millstream::operator::{Factory, Operator, OperatorFactory, OperatorStats, StepTime};
use millstream::runtime::circuit::NodeKind;
use millstream::state::StateTable;

use super::case::Case;
use super::check::PASSING;

/// Operators that hold nothing between two steps.
const STEPWISE: &[&str] = &["NetChanges"];

/// What a faulty operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Does not see the last row that goes.
    DropsRetraction,
    /// Takes a batch of one row twice.
    Doubles,
    /// Lets a row that goes come.
    WrongSign,
    /// Hands out no state.
    Forgets,
}

#[derive(Debug)]
struct FaultyFactory(Factory, Wrong);

struct Faulty(Box<dyn Operator>, Wrong);

impl OperatorFactory for FaultyFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Faulty(self.0.build()?, self.1)))
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }
}

impl Faulty {
    fn spoil(&self, batch: ChangeBatch) -> Result<ChangeBatch> {
        let Some(kinds) = &batch.kinds else { return Ok(batch) };
        let Some(gone) = kinds.iter().rposition(|k| !k.is_addition()) else { return Ok(batch) };
        match self.1 {
            Wrong::DropsRetraction => {
                let left = (0..kinds.len()).filter(|i| *i != gone).map(|i| i as u32);
                batch.take(&UInt32Array::from_iter_values(left))
            }
            Wrong::WrongSign => {
                let turned = |(i, kind): (usize, &RowKind)| if i == gone { RowKind::Insert } else { *kind };
                let kinds = kinds.iter().enumerate().map(turned).collect();
                Ok(ChangeBatch { kinds: Some(kinds), ..batch })
            }
            _ => Ok(batch),
        }
    }
}

impl Operator for Faulty {
    fn push(&mut self, input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        if self.1 == Wrong::Doubles && batch.num_rows() == 1 {
            self.0.push(input, batch.clone(), out)?;
        }
        let batch = self.spoil(batch)?;
        self.0.push(input, batch, out)
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.0.advance(time, out)
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let mut tables = self.0.snapshot()?;
        if self.1 == Wrong::Forgets {
            tables.iter_mut().for_each(|t| t.rows.clear());
        }
        Ok(tables)
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        self.0.restore(tables)
    }

    fn stats(&self) -> OperatorStats {
        self.0.stats()
    }
}

fn spoiled(case: &Case, operator: &str, wrong: Wrong) -> Case {
    case.clone().with_circuit(|circuit| {
        for node in &mut circuit.nodes {
            if let NodeKind::Operator(factory) = &mut node.kind
                && factory.name() == operator
            {
                *factory = Arc::new(FaultyFactory(Arc::clone(factory), wrong));
            }
        }
    })
}

/// Whether there is anything for a fault to do.
fn applies(wrong: Wrong, operator: &str, case: &Case) -> bool {
    match wrong {
        Wrong::DropsRetraction | Wrong::WrongSign => case.changes_at(operator),
        // A row that comes again under its key is no fault.
        Wrong::Doubles => !["ChangelogNormalize", "Deduplicate"].contains(&operator),
        Wrong::Forgets => !STEPWISE.contains(&operator),
    }
}

#[test]
fn faulty_operators_are_noticed() {
    let mut by_operator: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in (100_000..101_000).filter_map(|seed| Case::random(seed).ok()) {
        for operator in case.operators().into_iter().collect::<BTreeSet<_>>() {
            by_operator.entry(operator).or_default().push(case.clone());
        }
    }
    by_operator.retain(|operator, _| !PASSING.contains(&operator.as_str()));
    let mut noticed = 0;
    for (operator, cases) in by_operator {
        for wrong in [Wrong::DropsRetraction, Wrong::Doubles, Wrong::WrongSign, Wrong::Forgets] {
            let cases: Vec<&Case> = cases.iter().filter(|case| applies(wrong, &operator, case)).take(60).collect();
            if cases.len() < 10 {
                continue;
            }
            let found = cases.iter().filter(|case| spoiled(case, &operator, wrong).failure().is_some()).take(2).count();
            assert!(found >= 2, "{wrong:?} in {operator} is noticed in {found} of {} cases only", cases.len());
            noticed += 1;
        }
    }
    assert!(noticed >= 20, "only {noticed} faults were tried");
}
