//! What a case comes to before it is run: circuits, and what goes in and is looked at, in order.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use sqllogictest::{ExpectedError, RecordKind, TestErrorKind, default_normalizer};

use super::action::Action;
use super::desk::{Desk, Planned, unknown_output};
use super::mode::Kind;
use super::report::Failure;
use super::rows::rows_of;
use super::running::Running;
use super::script::{Case, ClockMove, Command, Item, Lines, Place, QueryExpected, Record, beside};
use super::time::START;
use crate::runtime::circuit::{NodeKind, SinkSpec};
use crate::runtime::{Circuit, SourceState};
use crate::{Error, Result};

/// A case, planned.
#[derive(Default)]
pub(super) struct Program {
    pub circuits: Vec<Started>,
    pub ops: Vec<Op>,
    /// What was wrong already when statements were carried out.
    pub failures: Vec<Failure>,
    /// How many expectations there were and held.
    pub checks: usize,
    /// Tables that tolerate disorder, and duplicates; one named `*` stands for all.
    pub disorder: BTreeSet<String>,
    pub duplicates: BTreeSet<String>,
    /// The only modes that are sound, where the script says so.
    pub modes: Option<Vec<Kind>>,
    /// What `--complete` would write: line numbers from 0 and text.
    pub answers: Vec<Answer>,
}

/// A circuit that runs from the beginning on.
pub(super) struct Started {
    pub circuit: Arc<Circuit>,
    pub place: Place,
    pub sql: String,
}

/// What happens next.
#[derive(Clone)]
pub(super) enum Op {
    Step(Vec<Action>),
    Check(Arc<Check>),
}

/// Something that is looked at.
pub(super) struct Check {
    pub place: Place,
    pub circuit: usize,
    pub sink: usize,
    /// For messages: the query, or what is looked at.
    pub about: String,
    pub what: What,
}

pub(super) enum What {
    Table(Lines),
    Changes { expected: Lines, any_order: bool },
    Late(u64),
    State { operator: String, most: u64 },
    Fails(ExpectedError),
}

/// What a script should say in the place of some of its lines.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub place: Place,
    /// The first line, from 0, and how many.
    pub from: usize,
    pub count: usize,
    pub lines: Vec<String>,
}

/// A case on its way to a program.
struct Planning {
    desk: Desk,
    program: Program,
    now: i64,
    /// What can be looked at: name, circuit and sink.
    outputs: Vec<(Option<String>, usize, usize)>,
}

impl Program {
    /// Carries out what is declared, and plans what is to run.
    pub fn of(case: &Case, desk: Desk) -> Self {
        let mut planning = Planning { desk, program: Program::default(), now: START, outputs: Vec::new() };
        for record in &case.records {
            if let Err(failure) = planning.record(record) {
                // What follows would fail for the same reason.
                planning.program.failures.push(failure);
                break;
            }
        }
        planning.program
    }

    /// Whether a kind of modes is sound here.
    pub fn admits(&self, kind: Kind) -> bool {
        match kind {
            _ if self.circuits.is_empty() => kind == Kind::Written,
            Kind::Disorder if self.disorder.is_empty() => false,
            Kind::Duplicates if self.duplicates.is_empty() => false,
            _ => self.modes.as_ref().is_none_or(|modes| modes.contains(&kind)),
        }
    }
}

impl Planning {
    fn record(&mut self, record: &Record) -> Result<(), Failure> {
        let place = &record.place;
        let here = |e: Error| Failure::new(place, e.to_string());
        match &record.item {
            Item::Statement { sql, fails } => self.statement(place, sql, fails.as_ref()),
            Item::Query { sql, name, types, expected } => self.query(place, sql, name.as_deref(), types, expected),
            Item::Load(path) => {
                let path = beside(&place.file, path);
                let text = std::fs::read_to_string(Path::new(&path));
                let text = text.map_err(|e| Failure::new(place, format!("reading {path}: {e}")))?;
                let planned = self.desk.carry_out(&text);
                let planned = planned.map_err(|e| Failure::new(place, format!("in {path}: {e}")))?;
                self.start(place, &path, planned, None);
                Ok(())
            }
            Item::Step(commands) => {
                let actions = commands.iter().map(|(place, command)| self.action(place, command));
                let actions = actions.collect::<Result<_, _>>()?;
                self.program.ops.push(Op::Step(actions));
                Ok(())
            }
            Item::Changes { name, any_order, expected } => {
                let what = What::Changes { expected: expected.clone(), any_order: *any_order };
                self.check(place, name.as_deref(), "the changes", what).map_err(here)
            }
            Item::Table { name, expected } => {
                self.check(place, name.as_deref(), "the table", What::Table(expected.clone())).map_err(here)
            }
            Item::Late { name, count } => {
                self.check(place, name.as_deref(), "late rows", What::Late(*count)).map_err(here)
            }
            Item::State { operator, name, most } => {
                let what = What::State { operator: operator.clone(), most: *most };
                self.check(place, name.as_deref(), "state", what).map_err(here)
            }
            Item::Tolerates { disorder, tables } => self.tolerates(*disorder, tables).map_err(here),
            Item::Modes(modes) => {
                self.program.modes = Some(modes.clone());
                Ok(())
            }
        }
    }

    fn statement(&mut self, place: &Place, sql: &str, fails: Option<&ExpectedError>) -> Result<(), Failure> {
        match (self.desk.carry_out(sql), fails) {
            (Ok(planned), None) => {
                self.start(place, sql, planned, None);
                Ok(())
            }
            (Err(e), Some(expected)) => {
                self.hold_error(place, sql, &e, expected, RecordKind::Statement);
                Ok(())
            }
            (Ok(_), Some(_)) => Err(went_well(place, sql, RecordKind::Statement)),
            (Err(e), None) => Err(failed(place, sql, e, RecordKind::Statement)),
        }
    }

    fn query(
        &mut self,
        place: &Place,
        sql: &str,
        name: Option<&str>,
        types: &str,
        expected: &QueryExpected,
    ) -> Result<(), Failure> {
        let planned = match (self.desk.carry_out(sql), expected) {
            (Err(e), QueryExpected::Error(error)) => {
                self.hold_error(place, sql, &e, error, RecordKind::Query);
                return Ok(());
            }
            (Err(e), _) => return Err(failed(place, sql, e, RecordKind::Query)),
            (Ok(planned), _) => planned,
        };
        if let Some(rows) = &planned.rows {
            self.hold_rows(place, sql, rows, expected);
            return Ok(());
        }
        let [circuit] = &planned.circuits[..] else { return Err(Failure::new(place, "one query is expected")) };
        if let Some(wrong) = result_schema(circuit).and_then(|schema| misses(types, &schema)) {
            self.program.failures.push(Failure::new(place, format!("{wrong}\n[SQL] {sql}")));
        }
        self.start(place, sql, planned, name);
        let what = match expected {
            QueryExpected::Nothing => return Ok(()),
            QueryExpected::Rows(expected) => What::Table(expected.clone()),
            QueryExpected::Error(error) => What::Fails(error.clone()),
        };
        self.check(place, None, sql, what).map_err(|e| Failure::new(place, e.to_string()))
    }

    /// Has circuits run; what comes out is asked for by `name`, else by the names of the tables that are written.
    fn start(&mut self, place: &Place, sql: &str, planned: Planned, name: Option<&str>) {
        for circuit in planned.circuits {
            let number = self.program.circuits.len();
            // What a query gives is meant without a name, not the table beside it that takes late rows.
            let mut sinks: Vec<_> = Running::sinks(&circuit).collect();
            sinks.sort_by_key(|(_, table)| table.is_none());
            for (sink, table) in sinks {
                let name = if sink == 0 { name.or(table) } else { table.or(name) };
                self.outputs.push((name.map(str::to_string), number, sink));
            }
            let circuit = Arc::new(circuit);
            self.program.circuits.push(Started { circuit, place: place.clone(), sql: sql.to_string() });
        }
    }

    fn hold_error(&mut self, place: &Place, sql: &str, e: &Error, expected: &ExpectedError, kind: RecordKind) {
        if expected.is_match(&e.to_string(), None) {
            self.program.checks += 1;
            return;
        }
        self.program.failures.push(other_error(place, sql, e, expected, kind.clone()));
        self.program.answers.push(error_answer(place, e, &kind));
    }

    /// Rows that a statement gives at once: SHOW, DESCRIBE, EXPLAIN.
    fn hold_rows(&mut self, place: &Place, sql: &str, rows: &[String], expected: &QueryExpected) {
        match expected {
            QueryExpected::Nothing => {}
            QueryExpected::Error(_) => self.program.failures.push(went_well(place, sql, RecordKind::Query)),
            QueryExpected::Rows(expected) if normal(rows) == normal(&expected.lines) => self.program.checks += 1,
            QueryExpected::Rows(expected) => {
                self.program.failures.push(mismatch(place, sql, &expected.lines, rows));
                self.program.answers.push(Answer::lines(place, expected, rows.to_vec()));
            }
        }
    }

    fn check(&mut self, place: &Place, name: Option<&str>, about: &str, what: What) -> Result<()> {
        let found = match name {
            None => self.outputs.last(),
            Some(name) => self.outputs.iter().rev().find(|(n, ..)| n.as_deref() == Some(name)),
        };
        let Some((_, circuit, sink)) = found else {
            let known = self.outputs.iter().filter_map(|(n, ..)| n.as_deref());
            return Err(match name {
                Some(name) => unknown_output(name, known),
                None => Error::Option("no query runs yet whose rows could be looked at".into()),
            });
        };
        let about = name.map_or(about.to_string(), |name| format!("{about} of {name}"));
        let check = Check { place: place.clone(), circuit: *circuit, sink: *sink, about, what };
        self.program.ops.push(Op::Check(Arc::new(check)));
        Ok(())
    }

    fn action(&mut self, place: &Place, command: &Command) -> Result<Action, Failure> {
        let here = |e: Error| Failure::new(place, e.to_string());
        let table = |name: &String| self.desk.table(name).map(|_| name.clone()).map_err(here);
        Ok(match command {
            Command::Push { table, rows } => {
                let found = self.desk.table(table).map_err(here)?;
                let lines: Vec<&str> = rows.iter().map(|(_, row)| row.as_str()).collect();
                let parsed = rows_of(&found, &lines).map_err(|(line, e)| {
                    let place = rows.get(line).map_or(place.clone(), |(at, _)| place.at(at + 1));
                    Failure::new(&place, format!("{e}\n[row] {}", lines.get(line).unwrap_or(&"")))
                })?;
                Action::Rows(table.clone(), parsed)
            }
            Command::Watermark { table, millis } => {
                self.desk.timed_table(table).map_err(here)?;
                Action::Watermark(table.clone(), *millis)
            }
            Command::Clock(moved) => {
                let to = match moved {
                    ClockMove::By(by) => self.now.saturating_add(*by),
                    ClockMove::To(to) => *to,
                };
                if to < self.now {
                    return Err(Failure::new(place, "the clock goes forward only"));
                }
                self.now = to;
                Action::Clock(to)
            }
            Command::Idle(name) => Action::Stands(Some(table(name)?), SourceState::Idle),
            Command::Active(name) => Action::Stands(Some(table(name)?), SourceState::Active),
            Command::End(Some(name)) => Action::Stands(Some(table(name)?), SourceState::Ended),
            Command::End(None) => Action::Stands(None, SourceState::Ended),
        })
    }

    fn tolerates(&mut self, disorder: bool, tables: &[String]) -> Result<()> {
        let set = if disorder { &mut self.program.disorder } else { &mut self.program.duplicates };
        if tables.is_empty() {
            set.insert(ALL_TABLES.to_string());
        }
        for table in tables {
            self.desk.table(table)?;
            set.insert(table.clone());
        }
        Ok(())
    }
}

/// Stands for all tables among those that tolerate something.
pub(super) const ALL_TABLES: &str = "*";

impl Answer {
    /// Other expected lines.
    pub fn lines(place: &Place, expected: &Lines, lines: Vec<String>) -> Self {
        Self { place: place.clone(), from: expected.from, count: expected.lines.len(), lines }
    }

    /// Another first line of a record.
    pub fn head(place: &Place, line: String) -> Self {
        Self { place: place.clone(), from: place.line - 1, count: 1, lines: vec![line] }
    }
}

/// The columns of a bare query's result.
fn result_schema(circuit: &Circuit) -> Option<SchemaRef> {
    let node = circuit.nodes.iter().find(|n| matches!(n.kind, NodeKind::Sink(_)))?;
    matches!(circuit.sinks.first(), Some(SinkSpec::Result)).then(|| Arc::clone(&node.schema))
}

/// What is wrong with the columns, as a query's types say they should be.
fn misses(types: &str, schema: &SchemaRef) -> Option<String> {
    let columns = schema.fields();
    if !types.is_empty() && types.len() != columns.len() {
        return Some(format!("the query has {} columns, and {} are expected ({types})", columns.len(), types.len()));
    }
    let wrong = types.chars().zip(columns).find(|(letter, field)| match letter {
        'I' => !field.data_type().is_integer(),
        'R' => !field.data_type().is_floating() && !matches!(field.data_type(), DataType::Decimal128(..)),
        'T' => field.data_type().is_numeric(),
        _ => false,
    });
    wrong.map(|(letter, field)| format!("column '{}' is {}, not {letter}", field.name(), field.data_type()))
}

/// Lines as they are compared: spaces at the ends do not count, nor how many there are between words.
pub(super) fn normal(lines: &[String]) -> Vec<String> {
    lines.iter().map(default_normalizer).collect()
}

/// A failure in the library's words.
pub(super) fn mismatch(place: &Place, about: &str, expected: &[String], actual: &[String]) -> Failure {
    let kind = TestErrorKind::QueryResultMismatch {
        sql: about.to_string(),
        expected: normal(expected).join("\n"),
        actual: normal(actual).join("\n"),
    };
    Failure::new(place, kind.to_string().trim_end().to_string())
}

pub(super) fn failed(place: &Place, sql: &str, e: Error, kind: RecordKind) -> Failure {
    let kind = TestErrorKind::Fail { sql: sql.to_string(), err: Arc::new(e), kind };
    Failure::new(place, kind.to_string())
}

pub(super) fn went_well(place: &Place, sql: &str, kind: RecordKind) -> Failure {
    Failure::new(place, TestErrorKind::Ok { sql: sql.to_string(), kind }.to_string())
}

pub(super) fn other_error(place: &Place, sql: &str, e: &Error, expected: &ExpectedError, kind: RecordKind) -> Failure {
    let kind = TestErrorKind::ErrorMismatch {
        sql: sql.to_string(),
        err: Arc::new(e.clone()),
        expected_err: expected.to_string(),
        kind,
        actual_sqlstate: None,
    };
    Failure::new(place, kind.to_string())
}

/// The first line of a record that expects this error.
pub(super) fn error_answer(place: &Place, e: &Error, kind: &RecordKind) -> Answer {
    let message = e.to_string();
    let first = message.lines().next().unwrap_or_default();
    let expected = ExpectedError::from_actual_error(None, first);
    let regex = match &expected {
        ExpectedError::Inline(regex) => regex.as_str().to_string(),
        _ => String::new(),
    };
    Answer::head(place, format!("{kind} error {regex}"))
}
