//! The tables and views of a session, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{Ident, ObjectName};

use super::ast::{CreateTable, CreateView};
use crate::plan::StreamTable;

/// The catalog every session has, under Flink's name for it.
const CATALOG: &str = "default_catalog";
/// Its only database.
const DATABASE: &str = "default_database";

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Relation {
    /// A table.
    Table(Arc<CatalogTable>),
    /// A view.
    View(Arc<CreateView>),
}

impl Relation {
    /// What it is, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Relation::Table(_) => "table",
            Relation::View(_) => "view",
        }
    }

    /// The declaration of a table that has one.
    pub(super) fn definition(&self) -> Option<CreateTable> {
        match self {
            Relation::Table(table) => table.definition.clone(),
            Relation::View(_) => None,
        }
    }
}

/// A table and the DDL it came from.
#[derive(Debug)]
pub(super) struct CatalogTable {
    /// The declaration, with what `LIKE` brought in; `None` for tables that the embedding program registered.
    pub definition: Option<CreateTable>,
    /// The table resolved.
    pub table: Arc<StreamTable>,
}

/// Tables and views. Names are kept as written; `default_catalog.default_database.` in front of one is understood.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog(BTreeMap<String, Relation>);

impl Catalog {
    pub(super) fn get(&self, name: &str) -> Option<&Relation> {
        self.0.get(name)
    }

    pub(super) fn put(&mut self, name: String, relation: Relation) {
        self.0.insert(name, relation);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Relation)> {
        self.0.iter().map(|(name, relation)| (name.as_str(), relation))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The identifier that names a relation, its catalog and database taken off.
///
/// # Errors
/// When another catalog or database is named.
pub(super) fn simple_name(name: &ObjectName) -> Result<&Ident, String> {
    let parts: Vec<_> = name.0.iter().filter_map(|p| p.as_ident()).collect();
    let strange =
        |what: &str, part: &Ident, only: &str| Err(format!("unknown {what} '{part}'; there is only '{only}'"));
    match parts.as_slice() {
        [table] => Ok(table),
        [database, table] if database.value == DATABASE => Ok(table),
        [database, _] => strange("database", database, DATABASE),
        [catalog, database, table] if catalog.value == CATALOG && database.value == DATABASE => Ok(table),
        [catalog, database, _] if catalog.value == CATALOG => strange("database", database, DATABASE),
        [catalog, _, _] => strange("catalog", catalog, CATALOG),
        _ => Err(format!("'{name}' is no table name")),
    }
}

/// The same for names that DataFusion has taken apart.
pub(super) fn bare_name(catalog: Option<&str>, database: Option<&str>, table: &str) -> Result<String, String> {
    match (catalog.unwrap_or(CATALOG), database.unwrap_or(DATABASE)) {
        (CATALOG, DATABASE) => Ok(table.to_string()),
        (CATALOG, other) => Err(format!("unknown database '{other}'; there is only '{DATABASE}'")),
        (other, _) => Err(format!("unknown catalog '{other}'; there is only '{CATALOG}'")),
    }
}
