//! JSON: JSON_VALUE, JSON_QUERY, JSON_EXISTS and IS JSON over paths such as `lax $.a.b[0]`.
//!
//! The clauses behind a path come as further arguments, texts all of them: `ON EMPTY`, then `ON ERROR`. A path without
//! a mode is strict.

use datafusion_common::{Result, exec_err};
use datafusion_expr::ColumnarValue;
use serde_json::Value;

use super::define::Kind::{Any, Text};
use super::define::{Call, Column, Def, boolean, def, text};

/// The functions of this file.
pub(super) fn functions() -> Vec<Def> {
    vec![
        def(&["json_value"], &[Text, Text, Text, Text], text, json_value).optional(2),
        def(&["json_query"], &[Text, Text, Text, Text, Text], text, json_query).optional(2),
        def(&["json_exists"], &[Text, Text, Text], boolean, json_exists).optional(2),
        def(&["is_json", "__is_json"], &[Text, Text], boolean, is_json).optional(1),
        def(&["json_quote"], &[Text], text, |c| {
            let s = c.text(0)?;
            c.texts(|i| Some(Value::from(s.get(i)?).to_string()))
        }),
        def(&["json_unquote"], &[Text], text, json_unquote),
        def(&["json_string"], &[Any], text, json_string),
    ]
}

/// A path into a document.
struct Path {
    lax: bool,
    steps: Vec<Step>,
}

enum Step {
    Field(String),
    Index(usize),
    All,
}

impl Path {
    fn new(path: &str) -> Option<Self> {
        let path = path.trim();
        let (lax, path) = match path.split_once(char::is_whitespace) {
            Some((mode, rest)) if mode.eq_ignore_ascii_case("lax") => (true, rest.trim()),
            Some((mode, rest)) if mode.eq_ignore_ascii_case("strict") => (false, rest.trim()),
            _ => (false, path),
        };
        let mut rest = path.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = Step::first(rest)?;
            steps.push(step);
            rest = after;
        }
        Some(Self { lax, steps })
    }

    /// What the path leads to: nothing where it leads nowhere; the values and whether they were asked for with `*`.
    fn follow<'a>(&self, document: &'a Value) -> Option<(Vec<&'a Value>, bool)> {
        let mut found = vec![document];
        let mut many = false;
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                match step {
                    Step::Field(name) => next.extend(value.get(name)),
                    Step::Index(index) => next.extend(value.get(index)),
                    Step::All => match value {
                        Value::Array(items) => next.extend(items),
                        Value::Object(fields) => next.extend(fields.values()),
                        _ => {}
                    },
                }
            }
            many |= matches!(step, Step::All);
            found = next;
        }
        (many || !found.is_empty()).then_some((found, many))
    }
}

impl Step {
    fn first(path: &str) -> Option<(Self, &str)> {
        if let Some(rest) = path.strip_prefix('.') {
            if let Some(rest) = rest.strip_prefix('*') {
                return Some((Step::All, rest));
            }
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, rest) = rest.split_at_checked(end)?;
            return (!name.is_empty()).then(|| (Step::Field(name.to_string()), rest));
        }
        let rest = path.strip_prefix('[')?;
        for quote in ['\'', '"'] {
            if let Some(quoted) = rest.strip_prefix(quote) {
                let (name, rest) = quoted.split_once(quote)?;
                return Some((Step::Field(name.to_string()), rest.strip_prefix(']')?));
            }
        }
        let (index, rest) = rest.split_once(']')?;
        match index.trim() {
            "*" => Some((Step::All, rest)),
            index => Some((Step::Index(index.parse().ok()?), rest)),
        }
    }
}

/// What a path came to.
enum Outcome<'a> {
    /// Nothing is there, and that is no fault.
    Empty,
    /// The document or the way through it is at fault.
    Fault,
    /// What is there; whether it was asked for with `*`.
    Found(Vec<&'a Value>, bool),
}

/// Document, path and the place of the clauses of a call.
struct Query {
    documents: Column<arrow::array::StringArray>,
    paths: Column<arrow::array::StringArray>,
    constant: Option<Path>,
}

impl Query {
    fn of(c: &Call) -> Result<Self> {
        let paths = c.text(1)?;
        let constant = match paths.constant() {
            Some(path) => match Path::new(path) {
                Some(path) => Some(path),
                None => return exec_err!("'{path}' is no JSON path that is known"),
            },
            None => None,
        };
        Ok(Self { documents: c.text(0)?, paths, constant })
    }

    /// Hands the outcome for a row on; nothing where an argument is NULL.
    fn with<T>(&self, row: usize, f: impl FnOnce(Outcome) -> T) -> Option<T> {
        let (document, path) = (self.documents.get(row)?, self.paths.get(row)?);
        let own;
        let path = match &self.constant {
            Some(path) => path,
            None => {
                own = Path::new(path)?;
                &own
            }
        };
        let Ok(document) = serde_json::from_str::<Value>(document) else { return Some(f(Outcome::Fault)) };
        Some(f(match path.follow(&document) {
            Some((found, many)) => Outcome::Found(found, many),
            None if path.lax => Outcome::Empty,
            None => Outcome::Fault,
        }))
    }
}

/// A clause: `NULL`, `ERROR`, `DEFAULT x`, `EMPTY ARRAY`, `EMPTY OBJECT`, `TRUE`, `FALSE`, `UNKNOWN`.
fn clause(c: &Call, index: usize) -> Result<String> {
    let text = c.optional_text(index)?;
    Ok(text.and_then(|t| t.get(0).map(String::from)).unwrap_or_default())
}

/// What a clause stands for; fails for `ERROR`.
fn instead(clause: &str, what: &str) -> Result<Option<String>> {
    match clause {
        "ERROR" => exec_err!("{what} is not allowed"),
        "EMPTY ARRAY" => Ok(Some("[]".into())),
        "EMPTY OBJECT" => Ok(Some("{}".into())),
        other => Ok(other.strip_prefix("DEFAULT ").map(String::from)),
    }
}

/// Answers row by row; the first failure ends it.
fn answer(c: &Call, f: impl Fn(usize) -> Result<Option<String>>) -> Result<ColumnarValue> {
    let rows = (0..c.rows).map(f).collect::<Result<Vec<_>>>()?;
    c.texts(|i| rows.get(i).cloned().flatten())
}

/// `JSON_VALUE(document, path[, on empty[, on error]])`: a scalar as text.
fn json_value(c: &Call) -> Result<ColumnarValue> {
    let (query, empty, error) = (Query::of(c)?, clause(c, 2)?, clause(c, 3)?);
    answer(c, |i| {
        let one = |outcome: Outcome| match outcome {
            Outcome::Found(found, false) => match found.first() {
                None | Some(Value::Null) => instead(&empty, "an empty result of JSON_VALUE"),
                Some(Value::Array(_) | Value::Object(_)) => instead(&error, "a result of JSON_VALUE that is no scalar"),
                Some(Value::String(s)) => Ok(Some(s.clone())),
                Some(scalar) => Ok(Some(scalar.to_string())),
            },
            Outcome::Empty => instead(&empty, "an empty result of JSON_VALUE"),
            Outcome::Found(..) | Outcome::Fault => instead(&error, "an error of JSON_VALUE"),
        };
        query.with(i, one).unwrap_or(Ok(None))
    })
}

/// `JSON_QUERY(document, path[, wrapper[, on empty[, on error]]])`: an array or an object as text; the wrapper is
/// `WITHOUT`, `CONDITIONAL` or `UNCONDITIONAL`.
fn json_query(c: &Call) -> Result<ColumnarValue> {
    let (query, wrapper) = (Query::of(c)?, clause(c, 2)?);
    let (empty, error) = (clause(c, 3)?, clause(c, 4)?);
    answer(c, |i| {
        let one = |outcome: Outcome| match outcome {
            Outcome::Found(found, many) => {
                let items = || Value::Array(found.iter().map(|v| (*v).clone()).collect());
                let value = if many { items() } else { found.first().copied().cloned().unwrap_or_default() };
                match (wrapper.as_str(), value) {
                    ("UNCONDITIONAL", v) => Ok(Some(Value::Array(vec![v]).to_string())),
                    (_, Value::Null) => instead(&empty, "an empty result of JSON_QUERY"),
                    (_, v @ (Value::Array(_) | Value::Object(_))) => Ok(Some(v.to_string())),
                    ("CONDITIONAL", v) => Ok(Some(Value::Array(vec![v]).to_string())),
                    _ => instead(&error, "a scalar as the result of JSON_QUERY"),
                }
            }
            Outcome::Empty => instead(&empty, "an empty result of JSON_QUERY"),
            Outcome::Fault => instead(&error, "an error of JSON_QUERY"),
        };
        query.with(i, one).unwrap_or(Ok(None))
    })
}

/// `JSON_EXISTS(document, path[, on error])`.
fn json_exists(c: &Call) -> Result<ColumnarValue> {
    let (query, error) = (Query::of(c)?, clause(c, 2)?);
    let failure = std::cell::Cell::new(false);
    let answer = c.bools(|i| {
        query.with(i, |outcome| match (outcome, error.as_str()) {
            (Outcome::Found(found, _), _) => Some(!found.is_empty()),
            (Outcome::Empty, _) | (Outcome::Fault, "" | "FALSE") => Some(false),
            (Outcome::Fault, "TRUE") => Some(true),
            (Outcome::Fault, "ERROR") => {
                failure.set(true);
                None
            }
            (Outcome::Fault, _) => None,
        })?
    })?;
    if failure.get() { exec_err!("an error of JSON_EXISTS is not allowed") } else { Ok(answer) }
}

/// `is_json(text[, kind])`, never NULL; the kind is `VALUE`, `SCALAR`, `ARRAY` or `OBJECT`.
fn is_json(c: &Call) -> Result<ColumnarValue> {
    let (s, kind) = (c.text(0)?, clause(c, 1)?);
    c.bools(|i| {
        let Some(s) = s.get(i) else { return Some(false) };
        let Ok(value) = serde_json::from_str::<Value>(s) else { return Some(false) };
        Some(match kind.as_str() {
            "ARRAY" => value.is_array(),
            "OBJECT" => value.is_object(),
            "SCALAR" => !value.is_array() && !value.is_object(),
            _ => true,
        })
    })
}

fn json_unquote(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.texts(|i| {
        let s = s.get(i)?;
        Some(match serde_json::from_str::<Value>(s) {
            Ok(Value::String(inner)) => inner,
            _ => s.to_string(),
        })
    })
}

/// A value as JSON, by Arrow's own encoder.
fn json_string(c: &Call) -> Result<ColumnarValue> {
    let array = c.full_array(0)?;
    let options = arrow::json::EncoderOptions::default();
    let field = std::sync::Arc::new(arrow::datatypes::Field::new("value", array.data_type().clone(), true));
    let mut encoder = arrow::json::writer::make_encoder(&field, &array, &options)?;
    let mut rows = Vec::with_capacity(c.rows);
    for row in 0..c.rows {
        let mut bytes = Vec::new();
        let valid = arrow::array::Array::is_valid(&array, row);
        if valid {
            encoder.encode(row, &mut bytes);
        }
        rows.push(if valid { String::from_utf8(bytes).ok() } else { None });
    }
    c.texts(|i| rows.get(i).cloned().flatten())
}
