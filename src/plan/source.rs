//! Sources: how their rows change, and what makes whole changes of keyed ones.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::DFSchema;
use datafusion_expr::logical_plan::TableScan;

use super::compile::{CompileOptions, Compiler, about_table};
use crate::connector::{Connector, SourceChangelog, TableDescriptor};
use crate::operator::normalize::ChangelogNormalize;
use crate::runtime::circuit::{Changelog, Node, NodeId, NodeKind, NodeNotes, SourceSpec};
use crate::runtime::{Bound, Held};
use crate::{Error, Result};

/// A table that is read.
pub(super) struct Read {
    table: Arc<TableDescriptor>,
    /// Gives its changes as they are read.
    node: NodeId,
    /// Gives whole changes, once something asks for them.
    whole: Option<NodeId>,
    /// Whether every change is to be given, in place of a step's net ones.
    each_change: bool,
}

/// How a table's rows change.
fn changelog(table: &TableDescriptor, connector: &dyn Connector) -> Result<SourceChangelog> {
    let changelog = connector.changelog(table).map_err(|e| about_table(table, e))?;
    if changelog == SourceChangelog::Upsert && table.primary_key.is_empty() {
        let message =
            format!("table '{}': its rows take each other's place by key; it needs a PRIMARY KEY", table.name);
        return Err(Error::Option(message));
    }
    Ok(changelog)
}

/// Whether a table's changes must be completed from the last row of each key.
pub(super) fn is_normalised(
    table: &TableDescriptor,
    connector: &dyn Connector,
    options: &CompileOptions,
) -> Result<bool> {
    Ok(match changelog(table, connector)? {
        SourceChangelog::Append => false,
        SourceChangelog::Upsert => true,
        SourceChangelog::Retract => options.cdc_events_duplicate && !table.primary_key.is_empty(),
    })
}

impl Compiler {
    /// The node that gives a table's rows, and the schema of what is read of it.
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<(NodeId, Arc<DFSchema>)> {
        let (spec, rowtime) = self.scans.source(scan)?;
        let schema = Arc::new(DFSchema::try_from(Arc::clone(&spec.projection))?);
        if let Some(known) = self.read.iter().position(|r| Arc::ptr_eq(&r.table, &spec.table)) {
            return Ok((self.changes_of(known)?, schema));
        }
        let table = Arc::clone(&spec.table);
        let connector = Arc::clone(&spec.connector);
        let changes = match changelog(&table, connector.as_ref())? {
            SourceChangelog::Append => Changelog::Append,
            SourceChangelog::Retract | SourceChangelog::Upsert => Changelog::Retract,
        };
        let each_change = spec.watermark.is_some();
        let node = self.source(spec, rowtime, changes);
        let normalised = is_normalised(&table, connector.as_ref(), &self.options)?;
        let whole = if normalised { None } else { Some(node) };
        self.read.push(Read { table, node, whole, each_change });
        Ok((self.changes_of(self.read.len() - 1)?, schema))
    }

    /// The node that gives the changes of a table that is read: whole, or as they were read.
    fn changes_of(&mut self, read: usize) -> Result<NodeId> {
        let Read { node, whole, each_change, .. } = &self.read[read];
        let (node, each_change) = (*node, *each_change);
        if self.as_read {
            return Ok(node);
        }
        let whole = match whole {
            Some(known) => *known,
            None => self.normalize(node, each_change)?,
        };
        self.read[read].whole = Some(whole);
        Ok(whole)
    }

    /// A node that reads; its PRIMARY KEY is a key where it says which row a change is of.
    pub(super) fn source(&mut self, spec: SourceSpec, rowtime: Option<usize>, changelog: Changelog) -> NodeId {
        let schema = Arc::clone(&spec.projection);
        let columns = schema.fields().iter().map(|f| column_text(f)).collect::<Vec<_>>().join(", ");
        let keys = if changelog == Changelog::Append { None } else { primary_key(&spec) };
        let notes = NodeNotes {
            detail: format!("connector={}, columns=[{columns}]", spec.connector.name()),
            rowtimes: rowtime.into_iter().collect(),
            changelog,
            keys: keys.into_iter().collect(),
            ..NodeNotes::default()
        };
        self.circuit.sources.push(spec);
        let kind = NodeKind::Source(self.circuit.sources.len() - 1);
        self.circuit.add(Node { kind, inputs: vec![], schema, notes })
    }

    /// Puts behind a source what keeps the last row of each key and gives whole changes. Where the table has a watermark,
    /// every change is given with the watermark that it came at, so that what is late does not hang on steps.
    fn normalize(&mut self, source: NodeId, each_change: bool) -> Result<NodeId> {
        let Some(key) = self.circuit.node(source).notes.keys.first().cloned() else {
            return Err(Error::internal("a keyed source that does not read its key"));
        };
        let exchange = self.exchange(source, key.clone());
        let before = self.circuit.node(exchange);
        let schema = Arc::clone(&before.schema);
        let names: Vec<&str> = key.iter().map(|k| schema.field(*k).name().as_str()).collect();
        let state_ttl = self.options.state_ttl;
        let notes = NodeNotes {
            detail: format!("key=[{}]", names.join(", ")),
            bound: Some(Bound::of([Held::at_most(1, "row").per(names.iter().copied()).ttl(state_ttl)])),
            net: !each_change,
            ..before.notes.clone()
        };
        let factory = ChangelogNormalize::new(Arc::clone(&schema), key, state_ttl, each_change);
        Ok(self.operator(factory, vec![exchange], schema, notes))
    }
}

/// Where among the columns that are read the PRIMARY KEY stands, if all of it is.
fn primary_key(spec: &SourceSpec) -> Option<Vec<usize>> {
    let key = spec.table.primary_key.iter().map(|k| spec.projection.index_of(spec.table.schema.field(*k).name()).ok());
    key.collect::<Option<Vec<_>>>().filter(|key| !key.is_empty())
}

/// A column that is read; of a ROW the fields that are.
fn column_text(field: &Field) -> String {
    match field.data_type() {
        DataType::Struct(parts) => {
            let parts = parts.iter().map(|p| column_text(p)).collect::<Vec<_>>().join(", ");
            format!("{} ROW<{parts}>", field.name())
        }
        _ => field.name().clone(),
    }
}
