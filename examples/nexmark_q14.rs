//! Nexmark q14 with its function, which counts a character in a text, written in Rust. The public suite has it in Java, and names its
//! class in the script. The page `queries/nexmark/q14.sql` says the same with functions that are there, for the binary.

use std::sync::Arc;

use millstream::arrow::array::{Array, AsArray, Int64Array};
use millstream::arrow::datatypes::DataType;
use millstream::datafusion_common::Result;
use millstream::datafusion_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use millstream::engine::lines;
use millstream::{Engine, Error};

/// `count_char(text, character)`: how often a character is in a text; 0 where that is NULL.
pub fn count_char() -> ScalarUDF {
    let types = vec![DataType::Utf8, DataType::Utf8];
    create_udf("count_char", types, DataType::Int64, Volatility::Immutable, Arc::new(count))
}

fn count(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let columns = ColumnarValue::values_to_arrays(arguments)?;
    let (texts, characters) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let counts = texts.iter().zip(characters.iter()).map(|(text, character)| {
        let (Some(text), Some(character)) = (text, character.and_then(|c| c.as_bytes().first())) else { return 0 };
        text.bytes().filter(|byte| byte == character).count() as i64
    });
    let counts: Int64Array = counts.map(Some).collect();
    debug_assert_eq!(counts.len(), texts.len());
    Ok(ColumnarValue::Array(Arc::new(counts)))
}

/// The query, over a table of bids.
pub const QUERY: &str = "SELECT auction, bidder, 0.908 * price AS price,
  CASE
    WHEN HOUR(`dateTime`) >= 8 AND HOUR(`dateTime`) <= 18 THEN 'dayTime'
    WHEN HOUR(`dateTime`) <= 6 OR HOUR(`dateTime`) >= 20 THEN 'nightTime'
    ELSE 'otherTime'
  END AS bidTimeType,
  `dateTime`, extra, count_char(extra, 'c') AS c_counts
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000";

/// A few events of the auction house.
const BIDS: &str = "CREATE TABLE nexmark (
  event_type INT,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING>
) WITH ('connector' = 'nexmark', 'events.num' = '100');
CREATE VIEW bid AS
SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.`dateTime` AS `dateTime`, bid.extra AS extra
FROM nexmark WHERE event_type = 2;";

#[allow(dead_code, reason = "tests and the benchmark take the function alone")]
fn main() -> std::result::Result<(), Error> {
    let mut engine = Engine::new()?;
    engine.register_scalar(count_char());
    engine.declare(BIDS)?;
    let (job, mut results) = engine.query(QUERY)?;
    while let Some(changes) = results.blocking_next() {
        print!("{}", lines(&changes)?);
    }
    engine.block_on(job.wait()).map(|_| ())
}
