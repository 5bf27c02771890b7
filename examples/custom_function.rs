//! Functions of one's own in SQL: a scalar and an aggregate, by DataFusion's traits and helpers.

use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, AsArray, Float64Array};
use millstream::arrow::datatypes::{DataType, Float64Type, Int64Type};
use millstream::datafusion_common::{Result, ScalarValue};
use millstream::datafusion_expr::{Accumulator, ColumnarValue, Volatility, create_udaf, create_udf};
use millstream::engine::lines;
use millstream::{Engine, Error};

/// Fahrenheit as Celsius, a column at a time.
fn celsius(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let columns = ColumnarValue::values_to_arrays(arguments)?;
    let celsius: Float64Array = columns[0].as_primitive::<Float64Type>().unary(|f| (f - 32.0) / 1.8);
    Ok(ColumnarValue::Array(Arc::new(celsius)))
}

/// The geometric mean. Its state, a sum of logarithms and a count, can be merged: so the engine computes it once a slice,
/// however many windows share the slice.
#[derive(Debug, Default)]
struct GeometricMean {
    logarithms: f64,
    count: i64,
}

impl Accumulator for GeometricMean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.logarithms += value.ln();
            self.count += 1;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::from(self.logarithms), ScalarValue::from(self.count)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let logarithms = states[0].as_primitive::<Float64Type>();
        let counts = states[1].as_primitive::<Int64Type>();
        self.logarithms += logarithms.iter().flatten().sum::<f64>();
        self.count += counts.iter().flatten().sum::<i64>();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mean = (self.count > 0).then(|| (self.logarithms / self.count as f64).exp());
        Ok(ScalarValue::Float64(mean))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let double = DataType::Float64;
    let mut engine = Engine::new()?;
    engine.register_scalar(create_udf(
        "celsius",
        vec![double.clone()],
        double.clone(),
        Volatility::Immutable,
        Arc::new(celsius),
    ));
    engine.register_aggregate(create_udaf(
        "geometric_mean",
        vec![double.clone()],
        Arc::new(double.clone()),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::<GeometricMean>::default())),
        Arc::new(vec![double, DataType::Int64]),
    ));

    let scalar = answer(&mut engine, "SELECT f, celsius(f) FROM (VALUES (32.0E0), (212.0E0)) AS t(f)")?;
    assert_eq!(scalar, "+I[32.0, 0.0]\n+I[212.0, 100.0]\n");

    engine.execute(READINGS)?;
    let windowed = answer(&mut engine, WINDOWED)?;
    assert_eq!(windowed, "+I[1970-01-01T00:00:02, 2.0]\n+I[1970-01-01T00:00:04, 8.0]\n+I[1970-01-01T00:00:06, 32.0]\n");
    Ok(())
}

/// Powers of four, one a second of event time: 1, 4, 16, 64.
const READINGS: &str = "CREATE TABLE readings (
  n BIGINT,
  power AS POWER(4, n),
  ts AS TO_TIMESTAMP_LTZ(n, 0),
  WATERMARK FOR ts AS ts
) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '3')";

/// The mean of the last four seconds, every two seconds.
const WINDOWED: &str = "SELECT window_end, ROUND(geometric_mean(power), 6)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '4' SECOND))
GROUP BY window_start, window_end";

/// Runs a bounded query and prints it with its answer.
fn answer(engine: &mut Engine, query: &str) -> Result<String, Error> {
    let (job, mut results) = engine.query(query)?;
    let mut text = String::new();
    while let Some(changes) = results.blocking_next() {
        text.push_str(&lines(&changes)?);
    }
    engine.block_on(job.wait())?;
    println!("{query}\n{text}");
    Ok(text)
}
