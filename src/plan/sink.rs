//! Sinks: what they take, and what a query gives them.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::compile::{Compiler, about_table};
use super::table::StreamTable;
use crate::connector::{SinkChangelog, TableDescriptor};
use crate::operator::net::NetChanges;
use crate::runtime::circuit::{Changelog, Circuit, Node, NodeId, NodeKind, NodeNotes, SinkSpec};
use crate::runtime::late::LateColumn;
use crate::{Error, Result};

impl Compiler {
    /// The node that writes a query's rows to a table, or hands them to the one who asks.
    ///
    /// # Errors
    /// When the table does not take what the query's rows do.
    pub(super) fn sink(&mut self, input: NodeId, target: Option<&StreamTable>) -> Result<()> {
        let takes = match target {
            Some(table) => {
                let takes = table.connector.accepts(&table.descriptor);
                takes.map_err(|e| about_table(&table.descriptor, e))?
            }
            None => SinkChangelog::Retract,
        };
        let input = match self.circuit.node(input).notes.changelog {
            Changelog::Append => input,
            Changelog::Retract => self.fitted(input, target, takes)?,
        };
        let before = self.circuit.node(input);
        let (spec, schema) = match target {
            Some(t) => {
                let spec = SinkSpec::Table { table: Arc::clone(&t.descriptor), connector: Arc::clone(&t.connector) };
                (spec, sink_schema(t))
            }
            None => (SinkSpec::Result, Arc::clone(&before.schema)),
        };
        if schema.fields().len() != before.schema.fields().len() {
            return Err(Error::internal("a query with another number of columns than its table"));
        }
        let detail = target.map_or(String::new(), |t| format!("takes={}", shown(takes, &t.descriptor)));
        let notes = NodeNotes { detail, bound: None, ..before.notes.clone() };
        self.circuit.sinks.push(spec);
        let kind = NodeKind::Sink(self.circuit.sinks.len() - 1);
        self.circuit.add(Node { kind, inputs: vec![input], schema, notes });
        Ok(())
    }

    /// Writes the rows that operators drop as late to a table of the user's.
    ///
    /// # Errors
    /// When the table has a column that tells nothing of a late row.
    pub(super) fn late_sink(&mut self, table: &StreamTable) -> Result<()> {
        let schema = sink_schema(table);
        let column = |field: &FieldRef| {
            let known = LateColumn::ALL.into_iter().find(|c| c.name() == field.name());
            known.filter(|c| c.fits(field.data_type())).ok_or_else(|| {
                let all = LateColumn::ALL.map(|c| format!("{} {}", c.name(), c.types())).join(", ");
                let name = &table.descriptor.name;
                Error::Option(format!(
                    "table '{name}' cannot take late rows: its column '{}' of type {} is none of {all}",
                    field.name(),
                    field.data_type()
                ))
            })
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let notes = NodeNotes { detail: "what all operators drop as late".into(), net: true, ..NodeNotes::default() };
        let kind = NodeKind::Late(columns);
        let late = self.circuit.add(Node { kind, inputs: Vec::new(), schema, notes });
        self.sink(late, Some(table))
    }

    /// The net changes of each step, as the sink takes them.
    fn fitted(&mut self, input: NodeId, target: Option<&StreamTable>, takes: SinkChangelog) -> Result<NodeId> {
        let key = match (takes, target) {
            (SinkChangelog::Append, Some(table)) => return Err(self.only_new_rows(input, &table.descriptor)),
            (SinkChangelog::Upsert, Some(table)) => Some(self.written_key(input, table)?),
            (_, target) => {
                let keys = &self.circuit.node(input).notes.keys;
                // Whoever reads the table may follow its key.
                let declared = target.and_then(|table| self.written_key(input, table).ok());
                declared.or_else(|| keys.iter().min_by_key(|key| key.len()).cloned())
            }
        };
        let upsert = takes == SinkChangelog::Upsert;
        if !upsert && self.is_net_by(input, key.as_deref(), target) {
            return Ok(input);
        }
        let columns = self.circuit.node(input).schema.fields().len();
        let exchange = self.exchange(input, key.clone().unwrap_or_else(|| (0..columns).collect()));
        let before = self.circuit.node(exchange);
        let schema = Arc::clone(&before.schema);
        let notes = NodeNotes { detail: String::new(), net: true, ..before.notes.clone() };
        let factory = NetChanges::new(key, upsert);
        Ok(self.operator(factory, vec![exchange], schema, notes))
    }

    /// Whether a query's changes are net for whoever reads them: by the table's key, where it has one.
    fn is_net_by(&self, input: NodeId, key: Option<&[usize]>, target: Option<&StreamTable>) -> bool {
        let NodeNotes { net, keys, .. } = &self.circuit.node(input).notes;
        let has_key = target.is_some_and(|table| !table.descriptor.primary_key.is_empty());
        *net && (!has_key || keys.iter().all(|own| key.is_some_and(|key| own.iter().all(|c| key.contains(c)))))
    }

    /// Where among the query's columns the table's PRIMARY KEY stands; the query's rows must be unique by it.
    fn written_key(&self, input: NodeId, table: &StreamTable) -> Result<Vec<usize>> {
        let d = &table.descriptor;
        let written = sink_schema(table);
        let key = d.primary_key.iter().map(|k| Ok(written.index_of(d.schema.field(*k).name())?));
        let key = key.collect::<Result<Vec<_>>>()?;
        let names = key.iter().map(|k| written.field(*k).name().as_str()).collect::<Vec<_>>().join(", ");
        if key.is_empty() {
            let message = format!(
                "table '{}' ({}) takes changes by key; declare a PRIMARY KEY … NOT ENFORCED for it",
                d.name,
                about(d)
            );
            return Err(Error::Option(message));
        }
        let unique = self.circuit.node(input).notes.keys.iter().any(|own| own.iter().all(|c| key.contains(c)));
        if unique {
            return Ok(key);
        }
        Err(Error::Option(format!(
            "table '{}' ({}) takes changes by its PRIMARY KEY ({names}), and several of the query's rows may have the same; \
             group by these columns, keep one row of each by ROW_NUMBER(), or declare the query's own key as PRIMARY KEY",
            d.name,
            about(d)
        )))
    }

    fn only_new_rows(&self, input: NodeId, table: &TableDescriptor) -> Error {
        let way_out = match table.options.get("format") {
            Some(_) => "write to a table WITH 'format' = 'debezium-json'",
            None => "write to a table that takes changes",
        };
        Error::Option(format!(
            "table '{}' ({}) takes only new rows, and the query updates and deletes rows ({}); {way_out}, or use windows, whose \
             results do not change",
            table.name,
            about(table),
            cause(&self.circuit, input)
        ))
    }
}

/// Which node makes rows change: the first, going up from the sink, whose own input does not.
fn cause(circuit: &Circuit, mut id: NodeId) -> String {
    loop {
        let node = circuit.node(id);
        let changing = node.inputs.iter().find(|i| circuit.node(**i).notes.changelog == Changelog::Retract);
        match changing {
            Some(input) => id = *input,
            None => break,
        }
    }
    let detail = &circuit.node(id).notes.detail;
    match &circuit.node(id).kind {
        NodeKind::Source(i) => format!("those of table '{}' change", circuit.sources[*i].table.name),
        _ if detail.is_empty() => circuit.name(id),
        _ => format!("{}: {detail}", circuit.name(id)),
    }
}

/// A table's connector, and its format where it has one.
fn about(table: &TableDescriptor) -> String {
    let named = ["connector", "format"].iter().filter_map(|key| table.options.get(key));
    named.collect::<Vec<_>>().join(", ")
}

fn shown(takes: SinkChangelog, table: &TableDescriptor) -> String {
    let key =
        || table.primary_key.iter().map(|k| table.schema.field(*k).name().as_str()).collect::<Vec<_>>().join(", ");
    match takes {
        SinkChangelog::Append => "append".into(),
        SinkChangelog::Upsert => format!("upsert by ({})", key()),
        SinkChangelog::Retract => "retract".into(),
    }
}

/// The columns that are written: the connector's, less virtual metadata.
fn sink_schema(table: &StreamTable) -> SchemaRef {
    let d = &table.descriptor;
    let is_virtual = |i: usize| d.metadata.iter().any(|m| m.column == i && m.is_virtual);
    let fields = d.schema.fields().iter().enumerate().filter(|(i, _)| !is_virtual(*i)).map(|(_, f)| Arc::clone(f));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
