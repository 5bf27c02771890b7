//! A test script: the records of a file, by cases.

use std::path::Path;
use std::sync::Arc;

use sqllogictest::{
    ColumnType, Condition, Control, ExpectedError, ParseError, QueryExpect, Record as Foreign, SortMode,
    StatementExpect,
};

mod block;

pub(super) use block::{ClockMove, Command};

use super::mode::Kind;
use crate::{Error, Result};

/// The label by which `skipif` and `onlyif` know this engine.
const LABEL: &str = "millstream";
/// How deep scripts may include each other.
const MOST_INCLUDES: usize = 16;

/// A place in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A script that has been read. Nothing in it has been carried out.
///
/// What a script may hold is told in the [module's documentation](super).
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) file: Arc<str>,
    pub(super) text: String,
    pub(super) cases: Vec<Case>,
}

/// What is run by itself: a file's beginning and one of its subtests.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    /// The subtest's name, if it is one.
    pub name: Option<String>,
    pub records: Vec<Record>,
}

/// One record and its place.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub place: Place,
    pub item: Item,
}

/// What a record says.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// SQL that is carried out.
    Statement { sql: String, fails: Option<ExpectedError> },
    /// A query, and the rows that are to stand, or the error.
    Query { sql: String, name: Option<String>, types: String, expected: QueryExpected },
    /// A file of SQL that is carried out.
    Load(String),
    /// What goes in in one step.
    Step(Vec<(Place, Command)>),
    /// The changes that are to have come out.
    Changes { name: Option<String>, any_order: bool, expected: Lines },
    /// The rows that are to stand.
    Table { name: Option<String>, expected: Lines },
    /// How many rows are to have come too late.
    Late { name: Option<String>, count: u64 },
    /// How many rows operators of a kind may hold at most.
    State { operator: String, name: Option<String>, most: u64 },
    /// The result does not depend on the order, or on repetitions, of some tables' rows; of all tables' where none is named.
    Tolerates { disorder: bool, tables: Vec<String> },
    /// The only modes that are sound here.
    Modes(Vec<Kind>),
}

/// What a query is to come to.
#[derive(Debug, Clone)]
pub(super) enum QueryExpected {
    /// It is only started.
    Nothing,
    Rows(Lines),
    Error(ExpectedError),
}

/// Expected lines and where they stand: the number, from 0, of the first line behind `----`.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    pub lines: Vec<String>,
    pub from: usize,
}

/// A letter of a query's types. All are taken: a word of other letters than `TIR?` is the query's name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Letter(char);

impl ColumnType for Letter {
    fn from_char(value: char) -> Option<Self> {
        Some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

impl Script {
    /// Reads a script file.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Script::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
        Self::parse(&path.display().to_string(), text)
    }

    /// Reads a script. `file` is the name for messages; files that the script names are looked for beside it.
    ///
    /// # Errors
    /// [`Error::Record`] with the place of what is no record.
    pub fn parse(file: &str, text: impl Into<String>) -> Result<Self> {
        let (file, text): (Arc<str>, String) = (file.into(), text.into());
        let mut cases = vec![Case::default()];
        let mut end = Reading { cases: &mut cases, halted: false, sorts: false };
        end.read(&file, &text, 0)?;
        if let [common, subtests @ ..] = &mut cases[..]
            && !subtests.is_empty()
        {
            for case in subtests {
                case.records.splice(0..0, common.records.iter().cloned());
            }
            cases.remove(0);
        }
        Ok(Self { file, text, cases })
    }
}

/// A script on its way to cases.
struct Reading<'a> {
    cases: &'a mut Vec<Case>,
    /// `halt` was read: nothing more counts.
    halted: bool,
    /// `control sortmode rowsort` was read.
    sorts: bool,
}

impl Reading<'_> {
    fn read(&mut self, file: &Arc<str>, text: &str, depth: usize) -> Result<()> {
        let lines: Vec<&str> = text.lines().collect();
        let (own, rest) = block::scan(file, &lines)?;
        let foreign = sqllogictest::parse_with_name::<Letter>(&rest, Arc::clone(file)).map_err(|e| parse_error(&e))?;
        let mut own = own.into_iter().peekable();
        for record in foreign {
            let before = line_of(&record).unwrap_or(0);
            while let Some(record) = own.next_if(|r| r.place.line < before) {
                self.add(record);
            }
            self.take(record, file, &lines, depth)?;
            if self.halted {
                return Ok(());
            }
        }
        own.for_each(|record| self.add(record));
        Ok(())
    }

    fn add(&mut self, record: Record) {
        if let Some(case) = self.cases.last_mut() {
            case.records.push(record);
        }
    }

    /// Takes a record that the library has read.
    fn take(&mut self, record: Foreign<Letter>, file: &Arc<str>, lines: &[&str], depth: usize) -> Result<()> {
        let line = line_of(&record).unwrap_or(0);
        let place = Place { file: Arc::clone(file), line };
        let item = match record {
            Foreign::Statement { conditions, .. } | Foreign::Query { conditions, .. } if is_skipped(&conditions) => {
                return Ok(());
            }
            Foreign::Statement { sql, expected, retry: None, .. } => match expected {
                StatementExpect::Ok => Item::Statement { sql, fails: None },
                StatementExpect::Error(error) => Item::Statement { sql, fails: Some(error) },
                StatementExpect::Count(_) => return Err(refused(&place, "statement count")),
            },
            Foreign::Query { sql, expected, retry: None, .. } => self.query(sql, expected, line, lines),
            Foreign::Include { filename, .. } => return self.include(&filename, &place, depth),
            Foreign::Subtest { name, .. } => {
                self.cases.push(Case { name: Some(name), records: Vec::new() });
                return Ok(());
            }
            Foreign::Halt { .. } => {
                self.halted = true;
                return Ok(());
            }
            Foreign::Control(Control::SortMode(mode)) => {
                self.sorts = mode != SortMode::NoSort;
                return Ok(());
            }
            Foreign::Condition(_) | Foreign::Comment(_) | Foreign::Newline => return Ok(()),
            other => return Err(refused(&place, &other.to_string())),
        };
        self.add(Record { place, item });
        Ok(())
    }

    fn query(&self, sql: String, expected: QueryExpect<Letter>, line: usize, lines: &[&str]) -> Item {
        let (types, label, expected) = match expected {
            QueryExpect::Error(error) => (String::new(), None, QueryExpected::Error(error)),
            QueryExpect::Results { types, label, results, .. } => {
                let body = lines.iter().skip(line).take_while(|l| !l.is_empty());
                let expected = match body.clone().position(|l| *l == "----") {
                    Some(at) => QueryExpected::Rows(Lines { lines: results, from: line + at + 1 }),
                    None => QueryExpected::Nothing,
                };
                (types.iter().map(|t| t.0).collect::<String>(), label, expected)
            }
        };
        let is_types = types.chars().all(|c| "TIR?".contains(c));
        let (types, name) = if is_types { (types, label) } else { (String::new(), Some(types)) };
        Item::Query { sql, name, types, expected }
    }

    fn include(&mut self, pattern: &str, place: &Place, depth: usize) -> Result<()> {
        if depth == MOST_INCLUDES {
            return Err(Error::record(place.to_string(), "scripts include each other without end"));
        }
        let beside = beside(&place.file, pattern);
        let paths = glob::glob(&beside).map_err(|e| Error::record(place.to_string(), e.to_string()))?;
        let mut found = false;
        for path in paths {
            found = true;
            let path = path.map_err(|e| Error::record(place.to_string(), e.to_string()))?;
            let context = || format!("reading {}", path.display());
            let text = std::fs::read_to_string(&path).map_err(|e| Error::io(context(), e))?;
            self.read(&path.display().to_string().into(), &text, depth + 1)?;
        }
        if found { Ok(()) } else { Err(Error::record(place.to_string(), format!("there is no file {beside}"))) }
    }
}

/// A path that a script names, beside the script.
pub(super) fn beside(file: &str, path: &str) -> String {
    Path::new(file).with_file_name("").join(path).display().to_string()
}

fn is_skipped(conditions: &[Condition]) -> bool {
    conditions.iter().any(|c| match c {
        Condition::OnlyIf { label } => label != LABEL,
        Condition::SkipIf { label } => label == LABEL,
    })
}

fn line_of(record: &Foreign<Letter>) -> Option<usize> {
    let loc = match record {
        Foreign::Include { loc, .. }
        | Foreign::Statement { loc, .. }
        | Foreign::Query { loc, .. }
        | Foreign::System { loc, .. }
        | Foreign::Sleep { loc, .. }
        | Foreign::Subtest { loc, .. }
        | Foreign::Halt { loc }
        | Foreign::HashThreshold { loc, .. }
        | Foreign::Let { loc, .. } => loc,
        _ => return None,
    };
    Some(loc.line() as usize)
}

fn parse_error(e: &ParseError) -> Error {
    let loc = e.location();
    Error::record(format!("{}:{}", loc.file(), loc.line()), e.kind().to_string())
}

fn refused(place: &Place, what: &str) -> Error {
    let what = what.lines().next().unwrap_or_default();
    Error::record(
        place.to_string(),
        format!("'{what}' is not for streams: nothing sleeps here, and nothing is run outside"),
    )
}

impl Place {
    /// Another line of the same file.
    pub(super) fn at(&self, line: usize) -> Self {
        Self { file: Arc::clone(&self.file), line }
    }
}
