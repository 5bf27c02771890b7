//! `datagen`: made-up rows for any schema, with Flink's options.
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `rows-per-second` | 10000 | the rate |
//! | `number-of-rows` | | ends after so many rows |
//! | `fields.#.kind` | random | `random` or `sequence` (numbers and texts); the table ends with its shortest sequence |
//! | `fields.#.min`, `fields.#.max` | the type's | bounds of random numbers, both included |
//! | `fields.#.max-past` | 0 | random timestamps lie up to this long before the present |
//! | `fields.#.length` | 100; ARRAY, MAP: 3 | of texts and bytes, and of collections |
//! | `fields.#.var-len` | false | lengths from 1 up to `length` |
//! | `fields.#.start`, `fields.#.end` | required | bounds of a sequence, both included |
//! | `fields.#.null-rate` | 0 | the part of values that are NULL |
//! | `seed` | by the clock | ours: the same seed gives the same rows (times excepted), however they are read |
//!
//! `#` is a column's name, or a path into it: `fields.r.a.min` for a field of a ROW, `fields.xs.element.max` for an
//! ARRAY's elements, `fields.m.key.length` and `fields.m.value.min` for a MAP's.

mod field;
mod source;
mod values;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{Connector, OptionKind, OptionSpec, Options, Sink, Source, TableDescriptor};
use crate::change::Clock;
use crate::{Error, Result};
use field::Plan;

/// The `datagen` connector.
#[derive(Debug, Clone)]
pub struct Datagen {
    clock: Arc<dyn Clock>,
}

impl Datagen {
    /// Takes the present for DATE, TIME and TIMESTAMP columns, and for the seed where none is given, from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Connector for Datagen {
    fn name(&self) -> &'static str {
        "datagen"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        use OptionKind::{Boolean, Double, Duration, Integer, Text};
        [
            ("rows-per-second", Integer),
            ("number-of-rows", Integer),
            ("seed", Integer),
            ("fields.#.kind", Text),
            ("fields.#.min", Text),
            ("fields.#.max", Text),
            ("fields.#.max-past", Duration),
            ("fields.#.length", Integer),
            ("fields.#.var-len", Boolean),
            ("fields.#.start", Integer),
            ("fields.#.end", Integer),
            ("fields.#.null-rate", Double),
        ]
        .map(|(key, kind)| OptionSpec::optional(key, kind))
        .into()
    }

    fn check(&self, table: &TableDescriptor) -> Result<()> {
        plan(table, 0).map(drop)
    }

    fn is_bounded(&self, table: &TableDescriptor) -> bool {
        plan(table, 0).is_ok_and(|p| p.rows.is_some())
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        let seed = table.options.integer("seed")?.unwrap_or_else(|| self.clock.now_millis()).cast_unsigned();
        let rows = plan(table, seed)?.rows;
        let columns = Plan::new(&table.options, &projection, seed).map_err(|e| in_table(table, e))?.columns;
        Ok(Box::new(source::DatagenSource::new(columns, projection, rate(table)?, rows, Arc::clone(&self.clock))))
    }

    fn can_write(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option(format!("table '{}': connector 'datagen' can only be read", table.name)))
    }
}

fn rate(table: &TableDescriptor) -> Result<u64> {
    match table.options.integer("rows-per-second")?.unwrap_or(10_000) {
        rate @ 1.. => Ok(rate.cast_unsigned()),
        rate => {
            Err(in_table(table, Error::Option(format!("option 'rows-per-second' = '{rate}': expected more than 0"))))
        }
    }
}

/// The whole table, with all of its options checked.
fn plan(table: &TableDescriptor, seed: u64) -> Result<Plan> {
    rate(table)?;
    let plan = Plan::new(&table.options, &table.schema, seed).and_then(|plan| {
        plan.check_all_used(&table.options)?;
        Ok(plan)
    });
    plan.map_err(|e| in_table(table, e))
}

fn in_table(table: &TableDescriptor, error: Error) -> Error {
    match error {
        Error::Option(m) => Error::Option(format!("table '{}': {m}", table.name)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
