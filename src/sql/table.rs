//! `CREATE TABLE` to a resolved table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion_common::{DFSchema, ToDFSchema};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_sql::sqlparser::ast::Ident;
use datafusion_sql::sqlparser::tokenizer::Span;

use super::ast::{ColumnDef, ColumnKind, CreateTable, SqlOption, TypeName, WatermarkDef};
use super::catalog::CatalogTable;
use super::place::{OrPlace, Place, unknown};
use super::planner::Planner;
use super::types::arrow_type;
use crate::Result;
use crate::connector::{Connector, Connectors, MetadataColumn, OptionSpec, Options, TableDescriptor};
use crate::error::Position;
use crate::plan::{ColumnOrigin, StreamTable, TableWatermark};
use crate::table::WatermarkOptions;

/// Resolves a declaration whose `LIKE` has been merged in already.
///
/// # Errors
/// Whatever is wrong with it, at its place.
pub(super) fn resolve(
    definition: &CreateTable,
    name: &str,
    connectors: &Connectors,
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<StreamTable> {
    let (connector, options) = connector_and_options(definition, connectors, place)?;
    check_names(definition, place)?;
    let columns = connector_columns(definition, connector.as_ref(), planner, place)?;
    let schema = Arc::new(Schema::new(columns.fields));
    let (fields, origins) = all_columns(definition, &schema, planner, place)?;
    let watermark = match &definition.watermark {
        Some(w) => Some(watermark(w, &schema, &fields, &origins, planner, place)?),
        None => None,
    };
    let descriptor = TableDescriptor {
        name: name.to_string(),
        partition_keys: indices(&definition.partitioned_by, &schema, "partition key", place)?,
        primary_key: indices(&definition.primary_key, &schema, "primary key", place)?,
        schema,
        metadata: columns.metadata,
        options,
    };
    Ok(StreamTable {
        descriptor: Arc::new(descriptor),
        connector,
        schema: Arc::new(Schema::new(fields)),
        origins,
        watermark,
        time_zone: Arc::clone(planner.zone()),
    })
}

/// A table with some options in the place of its own.
pub(super) fn hinted_table(
    table: &CatalogTable,
    options: &[(&str, &str)],
    connectors: &Connectors,
    planner: &Planner<'_>,
) -> Result<StreamTable> {
    let place = Place::new("", Position { line: 1, column: 1 });
    let name = &table.table.descriptor.name;
    let Some(definition) = &table.definition else {
        // The program's own table has no declaration beside its options.
        let mut descriptor = TableDescriptor::clone(&table.table.descriptor);
        options.iter().for_each(|(key, value)| descriptor.options.set(*key, *value));
        descriptor.options.check(&specs(table.table.connector.as_ref(), &descriptor.options))?;
        return Ok(StreamTable { descriptor: Arc::new(descriptor), ..StreamTable::clone(&table.table) });
    };
    let mut definition = definition.clone();
    definition.options.retain(|o| options.iter().all(|(key, _)| o.key != *key));
    definition.options.extend(options.iter().map(|(key, value)| SqlOption {
        key: key.to_string(),
        value: value.to_string(),
        position: place.start(),
    }));
    resolve(&definition, name, connectors, planner, &place)
}

/// The options that a table may have: its connector's, and those of its watermark.
fn specs(connector: &dyn Connector, options: &Options) -> Vec<OptionSpec> {
    connector.options(options).into_iter().chain(WatermarkOptions::specs()).collect()
}

fn connector_and_options(
    definition: &CreateTable,
    connectors: &Connectors,
    place: &Place<'_>,
) -> Result<(Arc<dyn Connector>, Options)> {
    let Some(named) = definition.options.iter().find(|o| o.key == "connector") else {
        let names = connectors.names().collect::<Vec<_>>().join("', '");
        let message = format!("the table needs WITH ('connector' = …); there are '{names}'");
        return Err(place.error(span_of(definition), message));
    };
    let Some(connector) = connectors.get(&named.value) else {
        let mut message = unknown("connector", &named.value, connectors.names());
        if !message.contains("did you mean") {
            message.push_str(&format!("; there are '{}'", connectors.names().collect::<Vec<_>>().join("', '")));
        }
        return Err(option_error(place, named, message));
    };
    let mut options = Options::default();
    for option in &definition.options {
        options.set(&option.key, &option.value);
    }
    let checked = options.check(&specs(connector.as_ref(), &options));
    checked.and_then(|()| WatermarkOptions::read(&options)).map_err(|e| match culprit(&e, &definition.options) {
        Some(option) => option_error(place, option, e.to_string()),
        None => place.error(span_of(definition), e.to_string()),
    })?;
    Ok((Arc::clone(connector), options))
}

/// The option that a connector's complaint is about.
fn culprit<'a>(error: &crate::Error, options: &'a [SqlOption]) -> Option<&'a SqlOption> {
    let message = error.to_string();
    let named = message.split('\'').nth(1)?;
    options.iter().find(|o| o.key == named)
}

fn option_error(place: &Place<'_>, option: &SqlOption, message: impl Into<String>) -> crate::Error {
    place.error_at(option.position, option.key.chars().count() + 2, message)
}

fn span_of(definition: &CreateTable) -> Span {
    definition.name.0.last().and_then(|p| p.as_ident()).map_or_else(Span::empty, |i| i.span)
}

fn check_names(definition: &CreateTable, place: &Place<'_>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for column in &definition.columns {
        if !seen.insert(column.name.value.as_str()) {
            let message = format!("the column '{}' is declared twice", column.name.value);
            return Err(place.error(column.name.span, message));
        }
    }
    if seen.is_empty() {
        return Err(place.error(span_of(definition), "a table needs at least one column"));
    }
    Ok(())
}

struct ConnectorColumns {
    fields: Vec<FieldRef>,
    metadata: Vec<MetadataColumn>,
}

/// Physical columns first, metadata columns behind them.
fn connector_columns(
    definition: &CreateTable,
    connector: &dyn Connector,
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<ConnectorColumns> {
    let (mut fields, mut metadata) = (Vec::new(), Vec::new());
    for column in &definition.columns {
        if let ColumnKind::Physical { data_type, nullable } = &column.kind {
            let keyed = definition.primary_key.iter().any(|k| k.value == column.name.value);
            fields.push(field(column, data_type, *nullable && !keyed, planner, place)?);
        }
    }
    for column in &definition.columns {
        let ColumnKind::Metadata { data_type, nullable, from, is_virtual } = &column.kind else { continue };
        let key = from.clone().unwrap_or_else(|| column.name.value.clone());
        check_metadata(&key, column, connector, place)?;
        metadata.push(MetadataColumn { column: fields.len(), key, is_virtual: *is_virtual });
        fields.push(field(column, data_type, *nullable, planner, place)?);
    }
    Ok(ConnectorColumns { fields, metadata })
}

fn check_metadata(key: &str, column: &ColumnDef, connector: &dyn Connector, place: &Place<'_>) -> Result<()> {
    let known = connector.metadata();
    if known.iter().any(|(k, _)| *k == key) {
        return Ok(());
    }
    let message = if known.is_empty() {
        format!("the connector '{}' has no metadata columns", connector.name())
    } else {
        unknown(&format!("metadata key of the connector '{}'", connector.name()), key, known.iter().map(|(k, _)| *k))
    };
    Err(place.error(column.name.span, message))
}

fn field(
    column: &ColumnDef,
    data_type: &TypeName,
    nullable: bool,
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<FieldRef> {
    let (arrow, may_be_null) = arrow_type(data_type, planner.zone()).at(place, column.name.span)?;
    Ok(Arc::new(Field::new(&column.name.value, arrow, nullable && may_be_null)))
}

/// All columns in the order of the DDL, and where each comes from.
fn all_columns(
    definition: &CreateTable,
    connector: &Arc<Schema>,
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<(Vec<FieldRef>, Vec<ColumnOrigin>)> {
    let scope = Arc::clone(connector).to_dfschema().map_err(|e| place.planning(&e, &[]))?;
    let (mut fields, mut origins) = (Vec::new(), Vec::new());
    for column in &definition.columns {
        let name = &column.name.value;
        if let ColumnKind::Computed(sql) = &column.kind {
            let expr = planner.expression(sql, &scope, place)?;
            let (data_type, nullable) = type_of(&expr, &scope, place)?;
            fields.push(Arc::new(Field::new(name, data_type, nullable)));
            origins.push(ColumnOrigin::Computed(expr));
        } else {
            let index = connector.index_of(name).map_err(|e| place.error(column.name.span, e.to_string()))?;
            fields.push(Arc::clone(&connector.fields()[index]));
            origins.push(ColumnOrigin::Connector(index));
        }
    }
    Ok((fields, origins))
}

fn type_of(expr: &Expr, scope: &DFSchema, place: &Place<'_>) -> Result<(DataType, bool)> {
    let (_, field) = expr.to_field(scope).map_err(|e| place.planning(&e, &[]))?;
    Ok((field.data_type().clone(), field.is_nullable()))
}

fn watermark(
    definition: &WatermarkDef,
    connector: &Arc<Schema>,
    fields: &[FieldRef],
    origins: &[ColumnOrigin],
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<TableWatermark> {
    let name = &definition.column.value;
    let Some(column) = fields.iter().position(|f| f.name() == name) else {
        let message = unknown("column", name, fields.iter().map(|f| f.name().as_str()));
        return Err(place.error(definition.column.span, message));
    };
    let is_rowtime = |t: &DataType| matches!(t, DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _));
    if !is_rowtime(fields[column].data_type()) {
        let message = format!(
            "the watermark's column '{name}' must be TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p at most 3, it is {}",
            super::types::flink_name_of(fields[column].data_type())
        );
        return Err(place.error(definition.column.span, message));
    }
    let scope = Schema::new(fields.to_vec()).to_dfschema().map_err(|e| place.planning(&e, &[]))?;
    let expr = planner.expression(&definition.expr, &scope, place)?;
    let expr = inline_computed(expr, fields, origins).map_err(|e| place.planning(&e, &[]))?;
    let scope = Arc::clone(connector).to_dfschema().map_err(|e| place.planning(&e, &[]))?;
    let (data_type, _) = type_of(&expr, &scope, place)?;
    if !matches!(data_type, DataType::Timestamp(..)) {
        let message = format!("the watermark must be a timestamp, it is {}", super::types::flink_name_of(&data_type));
        return Err(place.error(definition.column.span, message));
    }
    Ok(TableWatermark { column, expr })
}

/// Puts the expressions of computed columns in the place of their names.
fn inline_computed(expr: Expr, fields: &[FieldRef], origins: &[ColumnOrigin]) -> datafusion_common::Result<Expr> {
    use datafusion_common::tree_node::{Transformed, TreeNode};
    let transformed = expr.transform_up(|e| {
        let Expr::Column(column) = &e else { return Ok(Transformed::no(e)) };
        let origin = fields.iter().position(|f| *f.name() == column.name).and_then(|i| origins.get(i));
        match origin {
            Some(ColumnOrigin::Computed(inner)) => Ok(Transformed::yes(inner.clone())),
            _ => Ok(Transformed::no(e)),
        }
    })?;
    Ok(transformed.data)
}

fn indices(names: &[Ident], schema: &Schema, what: &str, place: &Place<'_>) -> Result<Vec<usize>> {
    let index = |name: &Ident| {
        schema.index_of(&name.value).map_err(|_| {
            let known = schema.fields().iter().map(|f| f.name().as_str());
            place.error(name.span, format!("{} in the {what}", unknown("column", &name.value, known)))
        })
    };
    names.iter().map(index).collect()
}
