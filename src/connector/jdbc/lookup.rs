//! One statement for all keys of a request.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use tokio_postgres::types::ToSql;

use super::columns;
use super::connection::Server;
use crate::connector::lookup::{Found, Lookup};
use crate::{Error, Result};

pub(super) struct JdbcLookup {
    server: Server,
    statement: String,
    projection: SchemaRef,
}

impl JdbcLookup {
    pub fn try_new(server: Server, relation: &str, keys: &Schema, projection: SchemaRef) -> Result<Self> {
        Ok(Self { server, statement: statement(relation, keys, &projection)?, projection })
    }
}

/// Each key with its number among the request's, joined with the table; a key's rows in the order of their values.
fn statement(relation: &str, keys: &Schema, projection: &Schema) -> Result<String> {
    let fields = keys.fields();
    let arrays: Vec<String> = (1..=fields.len()).map(|i| format!("${i}::text[]")).collect();
    let names: Vec<String> = (0..fields.len()).map(|i| format!("k{i}")).collect();
    let equal = fields.iter().zip(&names).map(|(field, name)| {
        Ok(format!("t.{} = k.{name}::{}", columns::quoted(field.name()), columns::sql_type(field)?))
    });
    let equal = equal.collect::<Result<Vec<_>>>()?.join(" AND ");
    let selected: Vec<String> = projection.fields().iter().map(|field| columns::selected(field)).collect();
    let columns: Vec<String> = std::iter::once("k.n".to_string()).chain(selected).collect();
    let order: Vec<String> = (1..=columns.len()).map(|i| i.to_string()).collect();
    Ok(format!(
        "SELECT {} FROM unnest({}) WITH ORDINALITY AS k({}, n) JOIN {relation} AS t ON {equal} ORDER BY {}",
        columns.join(", "),
        arrays.join(", "),
        names.join(", "),
        order.join(", ")
    ))
}

#[async_trait]
impl Lookup for JdbcLookup {
    async fn lookup(&self, keys: &RecordBatch) -> Result<Found> {
        let texts = keys.columns().iter().map(columns::to_text).collect::<Result<Vec<_>>>()?;
        let lease = self.server.lease().await?;
        let parameters: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|t| t as &(dyn ToSql + Sync)).collect();
        let answer = lease.client.query(&self.statement, &parameters).await;
        let rows = lease.answered(answer).map_err(|e| self.server.failed(&e))?;
        let number = |row: &tokio_postgres::Row| {
            let ordinal: Option<i64> = row.try_get(0).ok();
            let number = ordinal.and_then(|n| u32::try_from(n - 1).ok());
            number.ok_or_else(|| Error::internal("an answer without the number of its key"))
        };
        let keys: UInt32Array = rows.iter().map(number).collect::<Result<Vec<_>>>()?.into();
        Ok(Found { rows: columns::from_rows(&rows, 1, &self.projection)?, keys })
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn one_statement_for_all_keys() {
        let keys = Schema::new(vec![Field::new("id", DataType::Int32, false)]);
        let columns = Schema::new(vec![Field::new("name", DataType::Utf8, true)]);
        assert_eq!(
            statement("\"s\".\"t\"", &keys, &columns).unwrap(),
            "SELECT k.n, (t.\"name\")::text FROM unnest($1::text[]) WITH ORDINALITY AS k(k0, n) JOIN \"s\".\"t\" AS t \
             ON t.\"id\" = k.k0::integer ORDER BY 1, 2"
        );
    }
}
