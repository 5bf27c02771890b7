//! An engine inside a program: declare a table, feed it, query it.

use std::sync::Arc;

use millstream::Engine;
use millstream::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream::engine::lines;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut engine = Engine::new()?;
    engine.execute("CREATE TABLE orders (item STRING, amount BIGINT) WITH ('connector' = 'channel')")?;
    let orders = engine.input("orders")?;
    let (job, mut results) = engine.query("SELECT UPPER(item), amount * 2 FROM orders WHERE amount > 1")?;

    let item: ArrayRef = Arc::new(StringArray::from(vec!["tea", "milk", "rice"]));
    let amount: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    orders.blocking_push(RecordBatch::try_from_iter([("item", item), ("amount", amount)])?)?;
    let changes = results.blocking_next().ok_or("the job has ended")?;
    print!("{}", lines(&changes)?);

    assert_eq!(lines(&changes)?, "+I[MILK, 4]\n+I[RICE, 6]\n");
    drop(orders); // The table's input ends, and with it the job.
    assert!(results.blocking_next().is_none());
    engine.block_on(job.wait())?;
    Ok(())
}
