//! The laws must notice faults: wrong references, and operators that drop, hurry or forget.

use std::sync::Arc;

use millstream::Result;
use millstream::change::{ChangeBatch, Watermark};
use millstream::operator::{Factory, Operator, OperatorFactory, OperatorStats, StepTime};
use millstream::runtime::circuit::NodeKind;
use millstream::state::StateTable;

use super::case::{Case, Family};
use super::reference::Fault;
use super::{CARRIED, WINDOWED};

/// What a faulty operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Loses the last row of a batch of more than five.
    DropsRow,
    /// Takes the watermark for later than it is.
    FiresEarly,
    /// Hands out no state.
    Forgets,
    /// Takes a batch of one row twice.
    Doubles,
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

impl Operator for Faulty {
    fn push(&mut self, input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let rows = batch.num_rows();
        if self.1 == Wrong::Doubles && rows == 1 {
            self.0.push(input, batch.clone(), out)?;
        }
        let kept = if self.1 == Wrong::DropsRow && rows > 5 { rows - 1 } else { rows };
        self.0.push(input, batch.slice(0, kept), out)
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut time = time.clone();
        if self.1 == Wrong::FiresEarly && time.watermark != Watermark::MIN {
            time.watermark = Watermark(time.watermark.0.saturating_add(1000));
        }
        self.0.advance(&time, out)
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

/// How many of some cases fail with a fault in one operator.
fn noticed(family: &Family, operator: &str, wrong: Wrong) -> usize {
    let cases = (1000..1030).filter_map(|seed| Case::random(family, seed).ok());
    let faulty = cases.map(|case| {
        case.with_circuit(|circuit| {
            for node in &mut circuit.nodes {
                if let NodeKind::Operator(factory) = &mut node.kind
                    && factory.name() == operator
                {
                    *factory = Arc::new(FaultyFactory(Arc::clone(factory), wrong));
                }
            }
        })
    });
    faulty.filter(|case| case.failure(Fault::None).is_some()).count()
}

#[test]
fn faulty_operators_are_noticed() {
    for wrong in [Wrong::DropsRow, Wrong::FiresEarly, Wrong::Forgets, Wrong::Doubles] {
        for family in [&WINDOWED, &CARRIED] {
            let found = noticed(family, "WindowAggregate", wrong);
            assert!(found >= 3, "{wrong:?} is noticed in {found} of 30 cases of '{}' only", family.name);
        }
    }
}

#[test]
fn wrong_references_are_noticed() {
    for fault in [Fault::KeepsLate, Fault::ClosesEarly, Fault::ClosesLate] {
        let cases = (1000..1060).filter_map(|seed| Case::random(&WINDOWED, seed).ok());
        let found = cases.filter(|case| case.failure(fault).is_some()).count();
        assert!(found >= 3, "{fault:?} is noticed in {found} of 60 cases only");
    }
}

#[test]
fn failing_cases_shrink() {
    let cases = (1000..1030).filter_map(|seed| Case::random(&WINDOWED, seed).ok());
    let failing = cases.filter_map(|c| c.failure(Fault::KeepsLate).map(|f| (c, f)));
    let (case, failure) = failing.max_by_key(|(c, _)| c.row_count()).unwrap();
    let before = case.row_count();
    let (case, failure) = case.shrunk(failure, Fault::KeepsLate);
    assert!(case.row_count() <= 3 && case.row_count() < before, "{before} rows became {}: {failure}", case.row_count());
    assert!(case.to_string().contains("CREATE TABLE t"), "{case}");
}
