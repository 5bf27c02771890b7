//! `SHOW` and `DESCRIBE`.

use arrow::datatypes::Field;
use datafusion_sql::sqlparser::ast::ObjectName;

use super::ast::{ColumnDef, ColumnKind, CreateTable, CreateView, Show};
use super::catalog::{Catalog, CatalogTable, Relation, simple_name};
use super::functions::Functions;
use super::place::{OrPlace, Place, unknown};
use super::planner::Planner;
use super::session::Outcome;
use super::show_create;
use super::types::{flink_name, flink_name_of};
use crate::Result;

/// `SHOW …`
pub(super) fn show(
    show: &Show,
    catalog: &Catalog,
    functions: &Functions,
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<Outcome> {
    let listed = |title: &str, names: Vec<String>| Outcome::Rows {
        columns: vec![title.into()],
        rows: names.into_iter().map(|n| vec![n]).collect(),
    };
    let views = catalog.iter().filter(|(_, r)| matches!(r, Relation::View(_)));
    Ok(match show {
        Show::Tables => listed("table name", catalog.names().map(String::from).collect()),
        Show::Views => listed("view name", views.map(|(n, _)| n.to_string()).collect()),
        Show::Functions => listed("function name", functions.names().map(str::to_lowercase).collect()),
        Show::Columns(name) => columns(name, "field", catalog, planner, place)?,
        Show::CreateTable(name) => match find(name, catalog, place)? {
            (bare, Relation::Table(table)) => listed("result", vec![show_create::table(bare, table)]),
            (bare, Relation::View(_)) => return Err(wrong_kind(bare, "view", "table", name, place)),
        },
        Show::CreateView(name) => match find(name, catalog, place)? {
            (bare, Relation::View(view)) => listed("result", vec![show_create::view(bare, view)]),
            (bare, Relation::Table(_)) => return Err(wrong_kind(bare, "table", "view", name, place)),
        },
    })
}

/// `DESCRIBE name`
pub(super) fn describe(
    name: &ObjectName,
    catalog: &Catalog,
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<Outcome> {
    columns(name, "name", catalog, planner, place)
}

fn wrong_kind(bare: &str, is: &str, wanted: &str, name: &ObjectName, place: &Place<'_>) -> crate::Error {
    place.error(place.span_of(name), format!("'{bare}' is a {is}, not a {wanted}"))
}

fn find<'a>(name: &'a ObjectName, catalog: &'a Catalog, place: &Place<'_>) -> Result<(&'a str, &'a Relation)> {
    let span = place.span_of(name);
    let bare = simple_name(name).at(place, span)?.value.as_str();
    match catalog.get(bare) {
        Some(relation) => Ok((bare, relation)),
        None => Err(place.error(span, unknown("table", bare, catalog.names()))),
    }
}

fn columns(
    name: &ObjectName,
    first: &str,
    catalog: &Catalog,
    planner: &Planner<'_>,
    place: &Place<'_>,
) -> Result<Outcome> {
    let mut rows = match find(name, catalog, place)?.1 {
        Relation::Table(table) => table_columns(table),
        Relation::View(view) => view_columns(view, planner, place)?,
    };
    let mut columns: Vec<String> =
        [first, "type", "null", "key", "extras", "watermark", "comment"].map(String::from).into();
    if rows.iter().all(|r| r.last().is_some_and(String::is_empty)) {
        columns.pop();
        rows.iter_mut().for_each(|r| drop(r.pop()));
    }
    Ok(Outcome::Rows { columns, rows })
}

fn view_columns(view: &CreateView, planner: &Planner<'_>, place: &Place<'_>) -> Result<Vec<Vec<String>>> {
    let plan = planner.view(view).and_then(|plan| planner.analyze(plan));
    let plan = plan.map_err(|e| planner.explain(&e, place))?;
    Ok(plan.schema().fields().iter().map(|f| row(f, flink_name_of(f.data_type()), Extra::default())).collect())
}

fn table_columns(table: &CatalogTable) -> Vec<Vec<String>> {
    let fields = table.table.schema.fields();
    let Some(definition) = &table.definition else {
        return fields.iter().map(|f| row(f, flink_name_of(f.data_type()), Extra::default())).collect();
    };
    let described = fields.iter().zip(&definition.columns).map(|(field, column)| {
        let type_name = match &column.kind {
            ColumnKind::Physical { data_type, .. } | ColumnKind::Metadata { data_type, .. } => flink_name(data_type),
            ColumnKind::Computed(_) => flink_name_of(field.data_type()),
        };
        row(field, type_name, extra(column, definition))
    });
    described.collect()
}

/// What stands beside a column's name and type.
#[derive(Default)]
struct Extra {
    key: String,
    extras: String,
    watermark: String,
    comment: String,
}

fn extra(column: &ColumnDef, definition: &CreateTable) -> Extra {
    let keyed = definition.primary_key.iter().any(|k| k.value == column.name.value);
    let keys: Vec<_> = definition.primary_key.iter().map(|k| k.value.as_str()).collect();
    let watermark = definition.watermark.as_ref().filter(|w| w.column.value == column.name.value);
    Extra {
        key: if keyed { format!("PRI({})", keys.join(", ")) } else { String::new() },
        extras: match &column.kind {
            ColumnKind::Physical { .. } => String::new(),
            ColumnKind::Computed(expr) => format!("AS {expr}"),
            ColumnKind::Metadata { from, is_virtual, .. } => show_create::metadata(from.as_deref(), *is_virtual),
        },
        watermark: watermark.map(|w| w.expr.to_string()).unwrap_or_default(),
        comment: column.comment.clone().unwrap_or_default(),
    }
}

fn row(field: &Field, type_name: String, extra: Extra) -> Vec<String> {
    let null = if field.is_nullable() { "TRUE" } else { "FALSE" };
    vec![field.name().clone(), type_name, null.into(), extra.key, extra.extras, extra.watermark, extra.comment]
}
