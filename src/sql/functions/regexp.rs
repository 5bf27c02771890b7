//! Regular expressions. They are Rust's: no look-around and no back-references, and no expression takes exponential time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::expr::Like;
use datafusion_expr::{ColumnarValue, Expr, ScalarUDF, lit};
use regex::{Regex, RegexBuilder};

use super::define::Kind::{Int, Text};
use super::define::{Call, Column, Def, boolean, def, int, text};

/// How much memory a compiled expression may take, in bytes.
const LARGEST: usize = 1 << 20;

/// How many expressions of one batch are kept compiled.
const KEPT: usize = 64;

/// The functions of this file.
pub(super) fn functions() -> Vec<Def> {
    vec![
        def(&["regexp", "rlike"], &[Text, Text], boolean, |c| {
            Regexes::of(c, 1)?.bools(c, |re, s| !re.as_str().is_empty() && re.is_match(s))
        }),
        def(&["regexp_replace"], &[Text, Text, Text], text, replace),
        def(&["regexp_extract"], &[Text, Text, Int], text, extract).optional(2),
        def(&["regexp_extract_all"], &[Text, Text, Int], texts, extract_all).optional(2),
        def(&["regexp_count"], &[Text, Text], int, |c| {
            Regexes::of(c, 1)?.ints(c, |re, s| i32::try_from(re.find_iter(s).count()).ok())
        }),
        def(&["regexp_instr"], &[Text, Text], int, |c| {
            let place = |re: &Regex, s: &str| Some(s.get(..re.find(s)?.start())?.chars().count() + 1);
            Regexes::of(c, 1)?.ints(c, move |re, s| i32::try_from(place(re, s).unwrap_or(0)).ok())
        }),
        def(&["regexp_substr"], &[Text, Text], text, substr),
        similar_def(),
        like_def(),
    ]
}

const fn similar_def() -> Def {
    def(&["similar_to"], &[Text, Text, Text], boolean, similar_to).optional(2)
}

const fn like_def() -> Def {
    def(&["like_pattern"], &[Text, Text], text, like_patterns).optional(1)
}

/// The expressions of a call, compiled once each.
struct Regexes {
    texts: Column<arrow::array::StringArray>,
    compiled: std::cell::RefCell<HashMap<String, Option<Regex>>>,
}

impl Regexes {
    fn of(c: &Call, index: usize) -> Result<Self> {
        Ok(Self { texts: c.text(index)?, compiled: std::cell::RefCell::default() })
    }

    /// What a row's expression makes of it; nothing when it is not valid.
    fn with<T>(&self, row: usize, f: impl FnOnce(&Regex) -> Option<T>) -> Option<T> {
        let pattern = self.texts.get(row)?;
        let mut compiled = self.compiled.borrow_mut();
        if !compiled.contains_key(pattern) {
            if compiled.len() >= KEPT {
                compiled.clear();
            }
            compiled.insert(pattern.to_string(), compile(pattern));
        }
        f(compiled.get(pattern)?.as_ref()?)
    }

    fn bools(&self, c: &Call, f: impl Fn(&Regex, &str) -> bool) -> Result<ColumnarValue> {
        let s = c.text(0)?;
        c.bools(|i| {
            let s = s.get(i)?;
            self.with(i, |re| Some(f(re, s)))
        })
    }

    fn ints(&self, c: &Call, f: impl Fn(&Regex, &str) -> Option<i32>) -> Result<ColumnarValue> {
        let s = c.text(0)?;
        c.primitives::<Int32Type>(|i| {
            let s = s.get(i)?;
            self.with(i, |re| f(re, s))
        })
    }
}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).size_limit(LARGEST).nest_limit(100).build().ok()
}

/// The replacement is taken as it is: `$1` is no group.
fn replace(c: &Call) -> Result<ColumnarValue> {
    let (s, regexes, with) = (c.text(0)?, Regexes::of(c, 1)?, c.text(2)?);
    c.texts(|i| {
        let (s, with) = (s.get(i)?, with.get(i)?);
        regexes.with(i, |re| Some(re.replace_all(s, regex::NoExpand(with)).into_owned()))
    })
}

fn group(groups: &Option<Column<arrow::array::Int32Array>>, row: usize, default: usize) -> Option<usize> {
    match groups {
        Some(groups) => usize::try_from(groups.get(row)?).ok(),
        None => Some(default),
    }
}

fn extract(c: &Call) -> Result<ColumnarValue> {
    let (s, regexes, groups) = (c.text(0)?, Regexes::of(c, 1)?, c.optional::<Int32Type>(2)?);
    c.texts(|i| {
        let (s, group) = (s.get(i)?, group(&groups, i, 0)?);
        regexes.with(i, |re| Some(re.captures(s)?.get(group)?.as_str()))
    })
}

fn texts(_: &super::define::Given) -> Result<DataType> {
    Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))))
}

fn extract_all(c: &Call) -> Result<ColumnarValue> {
    let (s, regexes, groups) = (c.text(0)?, Regexes::of(c, 1)?, c.optional::<Int32Type>(2)?);
    let mut builder = ListBuilder::new(StringBuilder::new());
    for i in 0..c.rows {
        let found = s.get(i).zip(group(&groups, i, 1)).and_then(|(s, group)| {
            let of = |found: regex::Captures| Some(found.get(group)?.as_str().to_string());
            regexes.with(i, |re| (group < re.captures_len()).then(|| re.captures_iter(s).map(of).collect::<Vec<_>>()))
        });
        match found {
            Some(found) => builder.append_value(found),
            None => builder.append_null(),
        }
    }
    c.answer(Arc::new(builder.finish()))
}

fn substr(c: &Call) -> Result<ColumnarValue> {
    let (s, regexes) = (c.text(0)?, Regexes::of(c, 1)?);
    c.texts(|i| {
        let s = s.get(i)?;
        regexes.with(i, |re| Some(re.find(s)?.as_str()))
    })
}

/// `SIMILAR TO` as a call.
pub(super) fn similar(like: Like) -> Expr {
    let mut args = vec![*like.expr, *like.pattern];
    args.extend(like.escape_char.map(|c| lit(c.to_string())));
    let call = SIMILAR_TO.call(args);
    if like.negated { Expr::Not(Box::new(call)) } else { call }
}

static SIMILAR_TO: LazyLock<ScalarUDF> = LazyLock::new(|| similar_def().into_udf(&super::session::Session::default()));
static LIKE_PATTERN: LazyLock<ScalarUDF> = LazyLock::new(|| like_def().into_udf(&super::session::Session::default()));

fn similar_to(c: &Call) -> Result<ColumnarValue> {
    let (s, patterns, escapes) = (c.text(0)?, c.text(1)?, c.optional_text(2)?);
    let mut last: Option<(String, Option<Regex>)> = None;
    let mut rows = Vec::with_capacity(c.rows);
    for i in 0..c.rows {
        let escape = escapes.as_ref().and_then(|e| e.get(i)?.chars().next());
        let (Some(s), Some(pattern)) = (s.get(i), patterns.get(i)) else {
            rows.push(None);
            continue;
        };
        if last.as_ref().is_none_or(|(p, _)| p != pattern) {
            last = Some((pattern.to_string(), compile(&sql_regex(pattern, escape))));
        }
        rows.push(last.as_ref().and_then(|(_, re)| re.as_ref()).map(|re| re.is_match(s)));
    }
    c.bools(|i| rows.get(i).copied().flatten())
}

/// A pattern of SIMILAR TO as a regular expression.
fn sql_regex(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::from("(?s)^(?:");
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(ch) = chars.next() {
        if Some(ch) == escape {
            out.extend(chars.next().map(|next| regex::escape(&next.to_string())));
            continue;
        }
        in_class = match ch {
            '[' => true,
            ']' => false,
            _ => in_class,
        };
        match ch {
            '%' if !in_class => out.push_str(".*"),
            '_' if !in_class => out.push('.'),
            '.' | '^' | '$' | '\\' if !in_class => out.extend(['\\', ch]),
            _ => out.push(ch),
        }
    }
    out.push_str(")$");
    out
}

/// A pattern of LIKE for Arrow, whose escape character is the backslash.
pub(super) fn like_pattern(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(ch) = chars.next() {
        if Some(ch) == escape {
            out.push('\\');
            out.extend(chars.next());
        } else if ch == '\\' {
            out.push_str("\\\\");
        } else {
            out.push(ch);
        }
    }
    out
}

/// The same for a pattern that is no literal.
pub(super) fn like_pattern_call(pattern: Expr, escape: Option<char>) -> Expr {
    let mut args = vec![pattern];
    args.extend(escape.map(|c| Expr::Literal(ScalarValue::Utf8(Some(c.to_string())), None)));
    LIKE_PATTERN.call(args)
}

fn like_patterns(c: &Call) -> Result<ColumnarValue> {
    let (patterns, escapes) = (c.text(0)?, c.optional_text(1)?);
    c.texts(|i| {
        let escape = escapes.as_ref().and_then(|e| e.get(i)?.chars().next());
        Some(Cow::<str>::Owned(like_pattern(patterns.get(i)?, escape)))
    })
}
