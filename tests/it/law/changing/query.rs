//! Queries that can be taken apart: for shrinking.

use std::fmt::{self, Display, Write};

/// A query, as a view or at the end.
#[derive(Debug, Clone)]
pub enum Query {
    Select(Select),
    /// The parts, with `UNION ALL` or the like between them.
    Set(&'static str, Vec<Select>),
    /// A query over one that ranks: the columns, the inner query, the condition on the rank.
    Ranked(Vec<Item>, Select, String),
    /// As it stands.
    Text(String),
}

#[derive(Debug, Clone, Default)]
pub struct Select {
    pub distinct: bool,
    pub items: Vec<Item>,
    pub from: Vec<Source>,
    /// Joined by AND.
    pub filter: Vec<String>,
    pub group: Vec<String>,
    pub sets: Sets,
    /// Joined by AND.
    pub having: Vec<String>,
    pub order: Vec<String>,
    pub limit: Option<usize>,
    pub offset: usize,
}

/// What stands around the keys of GROUP BY.
#[derive(Debug, Clone, Default)]
pub enum Sets {
    #[default]
    Plain,
    Rollup,
    Cube,
    /// Sets of keys by their places.
    Listed(Vec<Vec<usize>>),
}

/// A column of the result.
#[derive(Debug, Clone)]
pub struct Item {
    pub expr: String,
    pub name: String,
    /// Whether its last digits are up to the order of the rows.
    pub inexact: bool,
}

/// A relation that is read.
#[derive(Debug, Clone)]
pub struct Source {
    /// A table or view, or a query in parentheses.
    pub relation: String,
    pub alias: String,
    /// How it is joined to those before it.
    pub join: &'static str,
    /// Joined by AND.
    pub on: Vec<String>,
}

impl Query {
    /// For each column whether its last digits are up to the order of the rows.
    pub fn inexact(&self) -> Vec<bool> {
        let items = match self {
            Query::Select(select) => &select.items,
            Query::Set(_, parts) => &parts[0].items,
            Query::Ranked(items, ..) => items,
            Query::Text(_) => return Vec::new(),
        };
        items.iter().map(|i| i.inexact).collect()
    }

    /// The same a little simpler, in ways that may or may not have a meaning.
    pub fn simpler(&self) -> Vec<Query> {
        match self {
            Query::Text(_) => Vec::new(),
            Query::Select(select) => select.simpler().into_iter().map(Query::Select).collect(),
            Query::Set(op, parts) => {
                let mut found: Vec<Query> = parts.iter().cloned().map(Query::Select).collect();
                for (i, part) in parts.iter().enumerate() {
                    if parts.len() > 2 {
                        let left = parts.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, p)| p.clone());
                        found.push(Query::Set(op, left.collect()));
                    }
                    for simpler in part.simpler() {
                        let mut parts = parts.clone();
                        parts[i] = simpler;
                        found.push(Query::Set(op, parts));
                    }
                }
                let least = parts.iter().map(|p| p.items.len()).min().unwrap_or(0);
                for gone in (0..least).filter(|_| least > 1) {
                    let mut parts = parts.clone();
                    parts.iter_mut().for_each(|p| drop(p.items.remove(gone)));
                    found.push(Query::Set(op, parts));
                }
                found
            }
            Query::Ranked(items, inner, condition) => {
                let mut found = vec![Query::Select(inner.clone())];
                for items in without_each(items) {
                    found.push(Query::Ranked(items, inner.clone(), condition.clone()));
                }
                for inner in inner.simpler() {
                    found.push(Query::Ranked(items.clone(), inner, condition.clone()));
                }
                found
            }
        }
    }
}

impl Select {
    fn simpler(&self) -> Vec<Select> {
        let mut found = Vec::new();
        let mut with = |change: &dyn Fn(&mut Select)| {
            let mut select = self.clone();
            change(&mut select);
            found.push(select);
        };
        if self.distinct {
            with(&|s| s.distinct = false);
        }
        if self.offset > 0 {
            with(&|s| s.offset = 0);
        }
        if self.limit.is_some() && self.offset == 0 {
            with(&|s| (s.limit, s.order) = (None, Vec::new()));
        }
        if !matches!(self.sets, Sets::Plain) {
            with(&|s| s.sets = Sets::Plain);
        }
        for filter in without_each(&self.filter).into_iter().chain((!self.filter.is_empty()).then(Vec::new)) {
            with(&|s| s.filter = filter.clone());
        }
        for having in without_each(&self.having).into_iter().chain((self.having.len() == 1).then(Vec::new)) {
            with(&|s| s.having = having.clone());
        }
        for from in without_each(&self.from) {
            with(&|s| {
                s.from = from.clone();
                s.from[0].join = "";
                s.from[0].on = Vec::new();
            });
        }
        for (i, source) in self.from.iter().enumerate() {
            if !source.join.is_empty() && source.join != "JOIN" && source.join != "CROSS JOIN" {
                with(&|s| s.from[i].join = "JOIN");
            }
            for on in without_each(&source.on) {
                with(&|s| s.from[i].on = on.clone());
            }
        }
        for items in without_each(&self.items) {
            with(&|s| s.items = items.clone());
        }
        for group in without_each(&self.group) {
            with(&|s| s.group = group.clone());
        }
        found
    }
}

/// The list with one left out, for each one; never empty.
fn without_each<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    let without = |i: usize| list.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, t)| t.clone()).collect();
    if list.len() < 2 { Vec::new() } else { (0..list.len()).map(without).collect() }
}

impl Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Query::Text(text) => f.write_str(text),
            Query::Select(select) => select.fmt(f),
            Query::Set(op, parts) => {
                let parts: Vec<String> = parts.iter().map(Select::to_string).collect();
                f.write_str(&parts.join(&format!(" {op} ")))
            }
            Query::Ranked(items, inner, condition) => {
                write!(f, "SELECT {} FROM ({inner}) WHERE {condition}", listed(items))
            }
        }
    }
}

fn listed(items: &[Item]) -> String {
    items.iter().map(Item::to_string).collect::<Vec<_>>().join(", ")
}

impl Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.expr == self.name { f.write_str(&self.name) } else { write!(f, "{} AS {}", self.expr, self.name) }
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SELECT {}{} FROM ", if self.distinct { "DISTINCT " } else { "" }, listed(&self.items))?;
        for source in &self.from {
            if !source.join.is_empty() {
                write!(f, " {} ", source.join)?;
            }
            write!(f, "{} AS {}", source.relation, source.alias)?;
            clause(f, " ON ", &source.on, " AND ")?;
        }
        clause(f, " WHERE ", &self.filter, " AND ")?;
        match &self.sets {
            _ if self.group.is_empty() => {}
            Sets::Plain => clause(f, " GROUP BY ", &self.group, ", ")?,
            Sets::Rollup => write!(f, " GROUP BY ROLLUP({})", self.group.join(", "))?,
            Sets::Cube => write!(f, " GROUP BY CUBE({})", self.group.join(", "))?,
            Sets::Listed(sets) => {
                let key = |i: &usize| self.group.get(*i).cloned();
                let sets =
                    sets.iter().map(|s| format!("({})", s.iter().filter_map(key).collect::<Vec<_>>().join(", ")));
                write!(f, " GROUP BY GROUPING SETS({})", sets.collect::<Vec<_>>().join(", "))?;
            }
        }
        clause(f, " HAVING ", &self.having, " AND ")?;
        clause(f, " ORDER BY ", &self.order, ", ")?;
        if let Some(limit) = self.limit {
            write!(f, " LIMIT {limit}")?;
        }
        if self.offset > 0 { write!(f, " OFFSET {}", self.offset) } else { Ok(()) }
    }
}

fn clause(f: &mut fmt::Formatter<'_>, word: &str, parts: &[String], between: &str) -> fmt::Result {
    let mut text = String::new();
    for (i, part) in parts.iter().enumerate() {
        write!(text, "{}{part}", if i == 0 { word } else { between })?;
    }
    f.write_str(&text)
}
