//! Tests for streaming SQL: rows, watermarks and the clock go in by hand, and nothing sleeps.
//!
//! Two ways lead here. [`TestDriver`] is for tests in Rust. A [`Script`] is a text file, in the format of
//! [sqllogictest](https://www.sqlite.org/sqllogictest/) with records for what streams have more than tables; `millstream test FILE…`
//! runs such files, and so does [`Script::run`]. One that can be copied to begin with:
//!
//! ```
//! # use millstream::testing::{Options, Script};
//! # let script = r#"
//! ## What a card spends in a minute.
//! statement ok
//! CREATE TABLE payments (
//!   card STRING, amount INT, ts TIMESTAMP(3),
//!   WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
//! ) WITH ('connector' = 'channel')
//!
//! query spent
//! SELECT card, window_start, SUM(amount) AS total
//! FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
//! GROUP BY card, window_start, window_end
//!
//! ## Rows go in: one step. Times without a date are those of 2024-01-01.
//! push payments
//! a, 10, 00:00:01
//! b,  5, 00:00:20
//! {"card": "a", "amount": 7, "ts": "2024-01-01 00:00:30"}
//!
//! ## The window is open: nothing has come out.
//! changes spent
//! ----
//!
//! watermark payments 00:01:00
//!
//! changes spent rowsort
//! ----
//! +I[a, 2024-01-01T00:00, 17]
//! +I[b, 2024-01-01T00:00, 5]
//!
//! ## Too late: the window is closed.
//! push payments
//! a, 100, 00:00:59
//!
//! late 1
//!
//! ## The rows that stand: no late one among them.
//! table spent
//! ----
//! a, 2024-01-01T00:00, 17
//! b, 2024-01-01T00:00, 5
//!
//! state WindowAggregate <= 0
//!
//! tolerates disorder payments
//! # "#;
//! let report = Script::parse("spent.slt", script)?.run(&Options::default());
//! assert!(report.passed(), "{:#?}", report.failures);
//! # Ok::<(), millstream::Error>(())
//! ```
//!
//! # Statements and queries
//!
//! | record | meaning |
//! | --- | --- |
//! | `statement ok` and SQL | Declarations and settings take effect. An INSERT (or a statement set) runs; what it writes is looked at under the name of its table. |
//! | `statement error [REGEX]` and SQL | The statement is refused; the regex is found in the message. |
//! | `query [TYPES] [NAME]` and SQL | The query runs. `TYPES`, letters of `T` text, `I` integer, `R` decimal or floating, `?` anything, are checked. |
//! | … `----` and rows | These rows stand at this point of the script: `a, 17`. Their order does not count: a table has none. |
//! | `query error [REGEX]` and SQL | The query is refused, or has failed on what has gone in so far. |
//! | `query` and `EXPLAIN …`, `SHOW …`, `DESCRIBE …` | `----` and the lines that these give. |
//! | `script FILE` | The statements of an SQL file, a script as it runs in production: its INSERTs run as one job. |
//!
//! Every query sees all that goes in from the beginning of the script, wherever it stands in it. Tables are fed by name, whatever
//! connector they are declared with; nothing is opened.
//!
//! # What goes in
//!
//! | record | meaning |
//! | --- | --- |
//! | `push TABLE` and rows | Rows, as one step, a line each: `a, 10, 00:00:01`, or `{"card": "a", …}`, or a change as it is printed, `-D[a, 10]`; in tables that change `+I`, `-U`, `+U`, `-D` may stand before a row. `null` is NULL. Text with commas is quoted. |
//! | `watermark TABLE TIME` | The table's watermark is moved on. |
//! | `clock +10 s`, `clock '2024-01-01 00:01:00'` | The clock is moved on: processing time. It stands at 2024-01-01 00:00:00 UTC at first. |
//! | `idle TABLE`, `active TABLE` | Nobody waits for the table's watermark, until rows come; or does again. |
//! | `end`, `end TABLE` | All input ends, or that of one table. |
//! | `step` and any of these lines | All of them as one step. |
//!
//! Each stands at the beginning of a line, and ends with it or with a blank line. Times are UTC.
//!
//! # What is looked at
//!
//! | record | meaning |
//! | --- | --- |
//! | `changes [NAME] [rowsort]`, `----` and changes | The changes since they were looked at last, as `+I[a, 17]`; in this order, unless `rowsort` stands there. |
//! | `table [NAME]`, `----` and rows | The rows that stand. |
//! | `late COUNT [NAME]` | How many rows came too late so far. |
//! | `state OPERATOR <= ROWS [NAME]` | How many rows of state the operators of that name hold, as `EXPLAIN` calls them. |
//!
//! Without a name the last query or INSERT above is meant. The table that `millstream.late-rows.sink` names is looked at
//! under its own name, for the last query above.
//!
//! # Modes
//!
//! A script is run in many ways, and its expectations hold in all of them: as it is `written`; cut into steps of single `rows`;
//! `merged` into as few steps as can be; divided among `workers`; `restored`, that is thrown away and rebuilt from a snapshot after every
//! step, on another number of workers. Where steps are cut otherwise, net changes may be others on their way: `changes` then must come to
//! the same in sum.
//!
//! `tolerates disorder [TABLE …]` says that the order of the tables' rows does not matter: they are shuffled, by several seeds, as far
//! as the watermark allows without making a row late. `tolerates duplicates [TABLE …]` says that a row may come more than once. With
//! `modes written, workers` a script names the only modes that are sound for it.
//!
//! # Cases
//!
//! `subtest NAME` begins a case: it is run with what stands before the first subtest, and without the other subtests. Of sqllogictest
//! there are also `include`, `halt`, `skipif` and `onlyif` (by the label `millstream`) and `control sortmode`.
//! `millstream test --complete FILE` writes what came out into the file.

mod action;
mod check;
mod complete;
mod desk;
mod disorder;
mod driver;
mod mode;
mod program;
mod report;
mod rows;
mod running;
mod script;
mod time;

pub use driver::{TestDriver, TestSnapshot};
pub use mode::{Kind as ModeKind, Mode};
pub use report::{Failure, Options, Report};
pub use script::{Place, Script};
