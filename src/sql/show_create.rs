//! Declarations written back as SQL.

use datafusion_sql::sqlparser::ast::Ident;

use super::ast::{ColumnDef, ColumnKind, CreateTable, CreateView};
use super::catalog::CatalogTable;
use super::types::{flink_name, flink_name_of};

/// `SHOW CREATE TABLE`
pub(super) fn table(name: &str, table: &CatalogTable) -> String {
    match &table.definition {
        Some(definition) => declared(name, definition),
        None => {
            let column = |f: &arrow::datatypes::FieldRef| {
                let null = if f.is_nullable() { "" } else { " NOT NULL" };
                format!("  {} {}{null}", quoted(f.name()), flink_name_of(f.data_type()))
            };
            let columns: Vec<_> = table.table.schema.fields().iter().map(column).collect();
            let options = table.table.descriptor.options.iter().map(|(k, v)| option(k, v)).collect();
            format!("CREATE TABLE {} (\n{}\n){}", path(name), columns.join(",\n"), with(options))
        }
    }
}

/// `SHOW CREATE VIEW`
pub(super) fn view(name: &str, view: &CreateView) -> String {
    let columns = if view.columns.is_empty() { String::new() } else { format!(" ({})", names(&view.columns)) };
    let comment = view.comment.as_ref().map(|c| format!(" COMMENT {}", text(c))).unwrap_or_default();
    format!("CREATE {}VIEW {}{columns}{comment} AS {}", temporary(view.temporary), path(name), view.text)
}

/// The `METADATA` clause of a column.
pub(super) fn metadata(from: Option<&str>, is_virtual: bool) -> String {
    let from = from.map(|key| format!(" FROM {}", text(key))).unwrap_or_default();
    format!("METADATA{from}{}", if is_virtual { " VIRTUAL" } else { "" })
}

fn declared(name: &str, definition: &CreateTable) -> String {
    let mut lines: Vec<String> = definition.columns.iter().map(|c| format!("  {}", column(c))).collect();
    if let Some(w) = &definition.watermark {
        lines.push(format!("  WATERMARK FOR {} AS {}", quoted(&w.column.value), w.expr));
    }
    if !definition.primary_key.is_empty() {
        let label = definition.primary_key.iter().map(|k| k.value.as_str()).collect::<Vec<_>>().join("_");
        let keys = names(&definition.primary_key);
        lines.push(format!("  CONSTRAINT {} PRIMARY KEY ({keys}) NOT ENFORCED", quoted(&format!("PK_{label}"))));
    }
    let head = format!("CREATE {}TABLE {}", temporary(definition.temporary), path(name));
    let comment = definition.comment.as_ref().map(|c| format!(" COMMENT {}", text(c))).unwrap_or_default();
    let partitioned = match definition.partitioned_by.as_slice() {
        [] => String::new(),
        keys => format!("\nPARTITIONED BY ({})", names(keys)),
    };
    let options = definition.options.iter().map(|o| option(&o.key, &o.value)).collect();
    format!("{head} (\n{}\n){comment}{partitioned}{}", lines.join(",\n"), with(options))
}

fn column(column: &ColumnDef) -> String {
    let null = |nullable: bool| if nullable { "" } else { " NOT NULL" };
    let kind = match &column.kind {
        ColumnKind::Physical { data_type, nullable } => format!("{}{}", flink_name(data_type), null(*nullable)),
        ColumnKind::Metadata { data_type, nullable, from, is_virtual } => {
            format!("{}{} {}", flink_name(data_type), null(*nullable), metadata(from.as_deref(), *is_virtual))
        }
        ColumnKind::Computed(expr) => format!("AS {expr}"),
    };
    let comment = column.comment.as_ref().map(|c| format!(" COMMENT {}", text(c))).unwrap_or_default();
    format!("{} {kind}{comment}", quoted(&column.name.value))
}

fn with(options: Vec<String>) -> String {
    format!("\nWITH (\n{}\n)", options.join(",\n"))
}

fn option(key: &str, value: &str) -> String {
    format!("  {} = {}", text(key), text(value))
}

fn temporary(temporary: bool) -> &'static str {
    if temporary { "TEMPORARY " } else { "" }
}

fn path(name: &str) -> String {
    format!("`default_catalog`.`default_database`.{}", quoted(name))
}

fn names(idents: &[Ident]) -> String {
    idents.iter().map(|i| quoted(&i.value)).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
