//! Keys, rows and multisets against plain collections, under random changes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::change::RowKind;

type Row = (Option<i64>, String, Option<u64>);

fn schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    let fields = vec![field("a", DataType::Int64), field("b", DataType::Utf8), field("c", DataType::Float64)];
    Arc::new(Schema::new(fields))
}

fn random_rows(count: usize, rng: &mut Xoshiro256PlusPlus) -> RecordBatch {
    let a: Int64Array = (0..count).map(|_| rng.random_bool(0.9).then(|| rng.random_range(0..4))).collect();
    let b = StringArray::from_iter_values((0..count).map(|_| ["x", "", "yy"][rng.random_range(0..3)]));
    let c: Float64Array =
        (0..count).map(|_| rng.random_bool(0.8).then(|| [f64::NAN, 0.5][rng.random_range(0..2)])).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(a), Arc::new(b), Arc::new(c)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn plain(rows: &RecordBatch) -> Vec<Row> {
    let (a, b, c) = (rows.column(0), rows.column(1), rows.column(2));
    let a = a.as_primitive::<Int64Type>();
    let c = c.as_primitive::<Float64Type>();
    let row = |i| {
        let c = c.is_valid(i).then(|| c.value(i).to_bits());
        (a.is_valid(i).then(|| a.value(i)), b.as_string::<i32>().value(i).to_string(), c)
    };
    (0..rows.num_rows()).map(row).collect()
}

#[test]
fn rows_are_found_by_number() {
    for seed in 0..40 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut store = row_store(schema());
        let mut model: Vec<(Row, bool)> = Vec::new();
        for _ in 0..30 {
            let count = [0, 1, 2, 30, 3000][rng.random_range(0..5)];
            let rows = random_rows(count, &mut rng);
            assert_eq!(store.append(&rows).unwrap() as usize, model.len(), "seed {seed}");
            model.extend(plain(&rows).into_iter().map(|r| (r, true)));
            for _ in 0..rng.random_range(0..=model.len()) {
                let id = rng.random_range(0..model.len());
                store.remove(id as u32);
                model[id].1 = false;
            }
            if rng.random_bool(0.2) {
                let remap = store.compact().unwrap();
                let mut left: Vec<Option<(Row, bool)>> = model.into_iter().map(Some).collect();
                remap.apply(&mut left);
                model = left.into_iter().flatten().collect();
                assert!(model.iter().all(|(_, live)| *live), "seed {seed}");
            }
            assert_eq!(store.len(), model.iter().filter(|(_, live)| *live).count(), "seed {seed}");
            if model.is_empty() {
                continue;
            }
            let ids: Vec<u32> = (0..50).map(|_| rng.random_range(0..model.len() as u32)).collect();
            let taken = store.take(&ids).unwrap();
            let expected: Vec<Row> = ids.iter().map(|id| model[*id as usize].0.clone()).collect();
            assert_eq!(plain(&taken), expected, "seed {seed}");
            let at: Vec<u32> = (0..50).map(|_| rng.random_range(0..50)).collect();
            let equal = store.equal(&ids, &taken, &at).unwrap();
            let expected: Vec<bool> =
                at.iter().zip(&expected).map(|(at, row)| expected[*at as usize] == *row).collect();
            assert_eq!(equal, expected, "seed {seed}");
        }
        let frozen: Vec<Row> = store.freeze().unwrap().iter().flat_map(plain).collect();
        let live: Vec<Row> = model.into_iter().filter(|(_, live)| *live).map(|(row, _)| row).collect();
        assert_eq!(frozen, live, "seed {seed}");
    }
}

#[test]
fn a_few_rows_of_many_chunks() {
    let numbers = |ids: &[i64]| {
        let a: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        RecordBatch::try_from_iter([("a", a)]).unwrap()
    };
    let mut store = row_store(numbers(&[]).schema());
    for chunk in 0..300 {
        store.append(&numbers(&(chunk * 2048..(chunk + 1) * 2048).collect::<Vec<_>>())).unwrap();
    }
    for ids in [&[614_399, 5, 300_000, 6][..], &[2048], &[]] {
        let expected = numbers(&ids.iter().map(|id| i64::from(*id)).collect::<Vec<_>>());
        assert_eq!(store.take(ids).unwrap(), expected);
        let at: Vec<u32> = (0..ids.len() as u32).collect();
        assert_eq!(store.equal(ids, &expected, &at).unwrap(), vec![true; ids.len()]);
    }
    assert!(store.take(&[1, 614_400]).is_err());
}

#[test]
fn keys_have_one_number_each() {
    for seed in 0..40 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut keys = Keys::try_new(schema()).unwrap();
        let mut model: HashMap<Row, u32> = HashMap::new();
        let mut ids = Vec::new();
        for _ in 0..20 {
            let rows = random_rows(rng.random_range(0..40), &mut rng);
            keys.intern(rows.columns(), rows.num_rows(), &mut ids).unwrap();
            for (row, id) in plain(&rows).into_iter().zip(&ids) {
                assert_eq!(*model.entry(row).or_insert(*id), *id, "seed {seed}");
            }
            assert_eq!(keys.len(), model.len(), "seed {seed}");
            let taken = RecordBatch::try_new(schema(), keys.take(&ids).unwrap()).unwrap();
            assert_eq!(plain(&taken), plain(&rows), "seed {seed}");
            if rng.random_bool(0.2) {
                let kept = rng.random_range(1..4);
                let remap = keys.retain(|id| id % kept == 0).unwrap();
                model = model.into_iter().filter_map(|(row, id)| Some((row, remap.get(id)?))).collect();
                assert_eq!(keys.len(), model.len(), "seed {seed}");
            }
        }
        let frozen: Vec<Row> = keys.freeze().unwrap().iter().flat_map(plain).collect();
        assert!(frozen.iter().enumerate().all(|(id, row)| model[row] as usize == id), "seed {seed}");
    }
}

#[test]
fn packed_keys_have_one_number_each() {
    for seed in 0..60 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let types = [DataType::Int8, DataType::Int32, DataType::Int64, DataType::Date32, DataType::Int16];
        let count = rng.random_range(1..4);
        let fields = (0..count).map(|i| Field::new(format!("k{i}"), types[rng.random_range(0..5)].clone(), true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut keys = Keys::try_new(Arc::clone(&schema)).unwrap();
        let mut model: HashMap<String, u32> = HashMap::new();
        let mut ids = Vec::new();
        let nulls_from = rng.random_range(0..10);
        for round in 0..15 {
            let rows = rng.random_range(0..60);
            let mut column = |field: &Field| {
                let values: Int64Array = (0..rows)
                    .map(|_| (round < nulls_from || rng.random_bool(0.8)).then(|| rng.random_range(-2..3)))
                    .collect();
                // Whatever stands below a NULL: arrow's cast leaves it there.
                let narrow = arrow::compute::cast(&values, &DataType::Int32).unwrap();
                arrow::compute::cast(&narrow, field.data_type()).unwrap()
            };
            let columns: Vec<ArrayRef> = schema.fields().iter().map(|f| column(f)).collect();
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
            keys.intern(batch.columns(), rows, &mut ids).unwrap();
            let taken = RecordBatch::try_new(Arc::clone(&schema), keys.take(&ids).unwrap()).unwrap();
            let text = |rows: &RecordBatch, row| format!("{:?}", rows.slice(row, 1).columns());
            for (row, id) in ids.iter().enumerate() {
                assert_eq!(*model.entry(text(&batch, row)).or_insert(*id), *id, "seed {seed}");
                assert_eq!(text(&taken, row), text(&batch, row), "seed {seed}");
            }
            assert_eq!(keys.len(), model.len(), "seed {seed}");
            let mut found = Vec::new();
            keys.find(batch.columns(), rows, &mut found).unwrap();
            assert_eq!(found, ids, "seed {seed}");
            if rng.random_bool(0.2) {
                let remap = keys.retain(|id| id % 3 != 0).unwrap();
                model = model.into_iter().filter_map(|(row, id)| Some((row, remap.get(id)?))).collect();
                keys.find(batch.columns(), rows, &mut found).unwrap();
                for (row, id) in found.iter().enumerate() {
                    let known = model.get(&text(&batch, row)).copied();
                    assert!(known.is_none_or(|known| known == *id), "seed {seed}");
                    // A key without a number may be left without.
                    if *id != GONE {
                        model.insert(text(&batch, row), *id);
                    }
                }
            }
        }
        assert_eq!(keys.freeze().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), model.len());
    }
}

#[test]
fn packed_keys_are_found_among_many() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let fields = [Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int32, true)];
    for width in [1, 2] {
        let mut keys = Keys::try_new(Arc::new(Schema::new(fields[..width].to_vec()))).unwrap();
        let mut model: HashMap<(i64, i32), u32> = HashMap::new();
        let mut ids = Vec::new();
        for round in 0..20 {
            let rows = rng.random_range(1..3000);
            let a: Vec<i64> = (0..rows).map(|_| rng.random_range(0..20_000)).collect();
            let b: Vec<i32> = (0..rows).map(|_| if width == 1 { 0 } else { rng.random_range(0..3) }).collect();
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Int64Array::from(a.clone())), Arc::new(Int32Array::from(b.clone()))];
            keys.intern(&columns[..width], rows, &mut ids).unwrap();
            for (key, id) in a.into_iter().zip(b).zip(&ids) {
                let next = model.len() as u32;
                assert_eq!(*model.entry(key).or_insert(next), *id, "round {round}");
            }
            assert_eq!(keys.len(), model.len());
        }
    }
}

#[test]
fn without_columns_there_is_one_key() {
    let mut keys = Keys::try_new(Arc::new(Schema::empty())).unwrap();
    let mut ids = vec![7];
    keys.intern(&[], 3, &mut ids).unwrap();
    assert_eq!((ids, keys.len(), keys.take(&[0]).unwrap().len()), (vec![0, 0, 0], 1, 0));
    assert_eq!(keys.freeze().unwrap()[0].num_rows(), 1);
}

/// Random changes, also of rows that are not there if `lenient`.
fn prove_multiset(seed: u64, mut multiset: Multiset, lenient: bool) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut model: HashMap<Row, u32> = HashMap::new();
    let mut entries = Vec::new();
    for _ in 0..25 {
        let rows = random_rows(rng.random_range(0..60), &mut rng);
        let mut kept: Vec<u32> = Vec::new();
        let mut kinds = Vec::new();
        for (i, row) in plain(&rows).into_iter().enumerate() {
            let weight = model.entry(row).or_default();
            let takes_away = rng.random_bool(0.5);
            if takes_away && *weight == 0 && !lenient {
                continue;
            }
            kept.push(i as u32);
            kinds.push(if takes_away { RowKind::Delete } else { RowKind::Insert });
            *weight = if takes_away { weight.saturating_sub(1) } else { *weight + 1 };
        }
        let rows = take_record_batch(&rows, &UInt32Array::from(kept)).unwrap();
        multiset.change(&rows, Some(&kinds.into()), &mut entries).unwrap();
        for (row, entry) in plain(&rows).into_iter().zip(&entries) {
            if *entry != GONE {
                assert_eq!(multiset.weight(*entry), model[&row], "seed {seed}");
                assert_eq!(plain(&multiset.rows().take(&[*entry]).unwrap()), [row], "seed {seed}");
            }
        }
        if rng.random_bool(0.2) {
            multiset.compact().unwrap();
        }
    }
    let (frozen, weights) = multiset.freeze().unwrap();
    let frozen: Vec<Row> = frozen.iter().flat_map(plain).collect();
    model.retain(|_, weight| *weight > 0);
    assert_eq!((frozen.len(), multiset.len()), (model.len(), model.len()), "seed {seed}");
    assert!(frozen.iter().zip(&weights).all(|(row, weight)| model[row] == *weight), "seed {seed}");
}

#[test]
fn multisets_count_rows() {
    for seed in 0..60 {
        prove_multiset(seed, Multiset::new(schema()), false);
        prove_multiset(seed, Multiset::new(schema()).lenient(), true);
    }
}

#[test]
fn multisets_bear_colliding_hashes() {
    for seed in 0..60 {
        prove_multiset(seed, Multiset::new(schema()).with_hash_bits(seed % 4), false);
    }
}

/// 0.0 and -0.0 are different rows of one hash.
#[test]
fn zeros_of_both_signs_are_told_apart() {
    let rows = |zero: f64| {
        let a: ArrayRef = Arc::new(Int64Array::from_iter_values((0..8192).map(|i| i / 2)));
        let sign = |i: usize| if i.is_multiple_of(2) { zero } else { -zero };
        let c: ArrayRef = Arc::new(Float64Array::from_iter_values((0..8192).map(sign)));
        RecordBatch::try_from_iter([("a", a), ("c", c)]).unwrap()
    };
    let mut multiset = Multiset::new(rows(0.0).schema());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    multiset.change(&rows(0.0), None, &mut first).unwrap();
    multiset.change(&rows(-0.0), None, &mut second).unwrap();
    assert_eq!((multiset.len(), multiset.entries()), (8192, 8192));
    let swapped: Vec<u32> = second.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    assert_eq!(first, swapped);
}

#[test]
fn what_never_came_cannot_go() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let rows = random_rows(1, &mut rng);
    let mut multiset = Multiset::new(schema());
    let error = multiset.change(&rows, Some(&[RowKind::Delete].into()), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("never came: a = "), "{error}");
}

#[test]
fn a_million_equal_rows_are_one_entry() {
    let b: ArrayRef = Arc::new(Int64Array::from(vec![7; 100_000]));
    let rows = RecordBatch::try_from_iter([("b", b)]).unwrap();
    let mut multiset = Multiset::new(rows.schema());
    let mut entries = Vec::new();
    (0..10).for_each(|_| multiset.change(&rows, None, &mut entries).unwrap());
    assert_eq!((multiset.weight(0), multiset.entries()), (1_000_000, 1));
}
