//! The answers of the pattern queries, found by going through each bidder's bids in an auction one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};

#[derive(Debug, Clone, Copy)]
struct Bid {
    price: i64,
    ts: i64,
}

/// What becomes of a match that begins at a bid.
enum Found {
    /// It ends with the bid at this place; then the columns behind the auction and the bidder, and where the next may begin.
    Match { row: Vec<Value>, next: usize },
    /// There is none.
    None,
    /// It waits for more bids, and holds up those that begin later.
    Open,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Time(i64),
    Number(i64),
}

/// The answer of a query, as rows.
pub fn answer(query: &str, bids: &RecordBatch) -> RecordBatch {
    let find: fn(&[Bid], usize) -> Found = match query {
        "pattern_q0_falls_and_rises" => falls_and_rises,
        "pattern_q1_average" => |bids, from| below_average(bids, from, false),
        "pattern_q2_average_from_each" => |bids, from| below_average(bids, from, true),
        _ => price_drop,
    };
    let mut rows: Vec<(i64, i64, Vec<Value>)> = Vec::new();
    for ((auction, bidder), bids) in by_bidder(bids) {
        let mut from = 0;
        while from < bids.len() {
            match find(&bids, from) {
                Found::Match { row, next } => {
                    rows.push((auction, bidder, row));
                    from = next;
                }
                Found::None => from += 1,
                Found::Open => break,
            }
        }
    }
    to_batch(&rows)
}

/// The bids of each auction and bidder, in the order of their times, those of one time in the order of arrival.
fn by_bidder(bids: &RecordBatch) -> BTreeMap<(i64, i64), Vec<Bid>> {
    let whole = |name: &str| bids.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
    let (auction, bidder, price) = (whole("auction"), whole("bidder"), whole("price"));
    let ts = bids.column_by_name("dateTime").unwrap().as_primitive::<TimestampMillisecondType>();
    let mut found: BTreeMap<(i64, i64), Vec<Bid>> = BTreeMap::new();
    for row in 0..bids.num_rows() {
        let bid = Bid { price: price.value(row), ts: ts.value(row) };
        found.entry((auction.value(row), bidder.value(row))).or_default().push(bid);
    }
    found.values_mut().for_each(|bids| bids.sort_by_key(|b| b.ts));
    found
}

/// `START_ROW PRICE_DOWN+ PRICE_UP`: a bid that is below the one before goes down; the first that is not must be above the last
/// but one that went down.
fn falls_and_rises(bids: &[Bid], from: usize) -> Found {
    let falls = |at: &usize| bids[*at].price < bids[at - 1].price;
    let up = (from + 1..bids.len()).find(|at| !falls(at));
    match up {
        None => Found::Open,
        Some(up) if up > from + 2 && bids[up].price > bids[up - 2].price => {
            let row = [from, up - 1, up].map(|at| Value::Time(bids[at].ts)).to_vec();
            Found::Match { row, next: up }
        }
        Some(_) => Found::None,
    }
}

/// `A+ B`: bids as long as the average of their prices stays below 10,000, and one more.
fn below_average(bids: &[Bid], from: usize, to_next: bool) -> Found {
    let mut sum = 0;
    for at in from..bids.len() {
        let before = sum;
        sum += bids[at].price;
        if sum / ((at - from) as i64 + 1) < 10_000 {
            continue;
        }
        if at == from {
            return Found::None;
        }
        let average = before / (at - from) as i64;
        let row = vec![Value::Time(bids[from].ts), Value::Time(bids[at - 1].ts), Value::Number(average)];
        return Found::Match { row, next: if to_next { from + 1 } else { at + 1 } };
    }
    Found::Open
}

/// `A B* C WITHIN 5 s`: a bid more than 50 below the first, and none between that is as low.
fn price_drop(bids: &[Bid], from: usize) -> Found {
    let limit = bids[from].price - 50;
    for (at, bid) in bids.iter().enumerate().skip(from + 1) {
        if bid.ts - bids[from].ts >= 5_000 || bid.price == limit {
            return Found::None;
        }
        if bid.price < limit {
            let row = vec![Value::Time(bid.ts), Value::Number(bids[from].price - bid.price)];
            return Found::Match { row, next: at + 1 };
        }
    }
    // At the end of the input the five seconds are over.
    Found::None
}

fn to_batch(rows: &[(i64, i64, Vec<Value>)]) -> RecordBatch {
    let whole =
        |of: fn(&(i64, i64, Vec<Value>)) -> i64| Arc::new(rows.iter().map(|r| Some(of(r))).collect::<Int64Array>());
    let mut columns: Vec<ArrayRef> = vec![whole(|r| r.0), whole(|r| r.1)];
    for at in 0..rows.first().map_or(0, |r| r.2.len()) {
        let values = rows.iter().map(|r| match r.2[at] {
            Value::Time(v) | Value::Number(v) => Some(v),
        });
        columns.push(match rows[0].2[at] {
            Value::Time(_) => Arc::new(values.collect::<TimestampMillisecondArray>()),
            Value::Number(_) => Arc::new(values.collect::<Int64Array>()),
        });
    }
    RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c))).unwrap()
}
