//! What every format of messages must keep to, run by each.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::change::RowKind;
use crate::format::BATCH_ROWS;
use crate::format::conformance::{field, rows, schema, seed};

/// A format, its options, and the columns of random tables.
struct Case {
    format: &'static dyn MessageFormat,
    options: Options,
    table: SchemaRef,
}

impl Case {
    fn new(name: &str, pairs: &[(&str, &str)], without: &[&str]) -> Self {
        let all = schema(true);
        let kept = all.fields().iter().filter(|f| !without.contains(&f.name().as_str())).cloned();
        let mut options = Options::default();
        pairs.iter().for_each(|(k, v)| options.set(*k, *v));
        let case = Self {
            format: message_format(name, false).unwrap(),
            options,
            table: Arc::new(Schema::new(kept.collect::<Fields>())),
        };
        case.format.check(&case.table, &case.options).unwrap();
        case
    }

    fn decoder(&self, projection: &SchemaRef) -> Box<dyn MessageDecoder> {
        self.format.decoder(&self.table, Arc::clone(projection), &self.options).unwrap()
    }

    fn encode(&self, changes: &ChangeBatch) -> Messages {
        let mut out = Messages::default();
        self.format.encoder(&changes.schema(), &self.options).unwrap().encode(changes, &mut out).unwrap();
        assert_eq!(out.len(), changes.num_rows());
        assert_eq!(out.iter().map(|m| m.map_or(0, <[u8]>::len)).sum::<usize>(), out.size());
        out
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new("json", &[], &[]),
        Case::new("debezium-json", &[], &[]),
        Case::new("csv", &[], &["map"]),
        #[cfg(feature = "avro")]
        Case::new("avro", &[("avro.timestamp_mapping.legacy", "false")], &["ts9"]),
    ]
}

fn decode_all(decoder: &mut dyn MessageDecoder, messages: &Messages) {
    for message in messages.iter() {
        assert_eq!(decoder.decode(message.unwrap()).unwrap(), Decoded::Rows(1));
    }
}

fn check_rows(got: &RecordBatch, want: &RecordBatch, what: &str) {
    assert_eq!(got.num_rows(), want.num_rows(), "{what}");
    for (i, f) in want.schema().fields().iter().enumerate() {
        assert_eq!(got.column(i).as_ref(), want.column(i).as_ref(), "{what}: column {}", f.name());
    }
}

#[test]
fn what_is_written_is_read() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed());
    for case in cases() {
        let name = case.format.name();
        let all = rows(&case.table, 600, rng);
        let messages = case.encode(&ChangeBatch::append(all.clone()));
        let mut decoder = case.decoder(&case.table);
        decode_all(decoder.as_mut(), &messages);
        assert_eq!(decoder.pending(), 600);
        check_rows(&decoder.flush().unwrap().unwrap().rows, &all, name);
        assert_eq!(decoder.pending(), 0);
        assert!(decoder.flush().unwrap().is_none());

        let some = Arc::new(case.table.project(&[1, 8, 5]).unwrap());
        let mut decoder = case.decoder(&some);
        decode_all(decoder.as_mut(), &messages);
        check_rows(&decoder.flush().unwrap().unwrap().rows, &all.project(&[1, 8, 5]).unwrap(), name);

        let none = Arc::new(Schema::empty());
        let mut decoder = case.decoder(&none);
        decode_all(decoder.as_mut(), &messages);
        assert_eq!(decoder.flush().unwrap().unwrap().num_rows(), 600);

        let y_only = Fields::from(vec![field("y", DataType::Utf8)]);
        let nested = Arc::new(Schema::new(vec![field("row", DataType::Struct(y_only))]));
        let mut decoder = case.decoder(&nested);
        decode_all(decoder.as_mut(), &messages);
        let batch = decoder.flush().unwrap().unwrap().rows;
        let (got, want) = (batch.column(0).as_struct(), all.column_by_name("row").unwrap().as_struct());
        for i in (0..600).filter(|i| want.is_valid(*i)) {
            assert_eq!(got.column(0).as_string::<i32>().value(i), want.column(1).as_string::<i32>().value(i), "{name}");
        }
    }
}

/// A part of a batch is written as it would be alone.
#[test]
fn slices_are_written_as_wholes() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed());
    for case in cases() {
        let all = rows(&case.table, 90, rng);
        let whole = case.encode(&ChangeBatch::append(all.clone()));
        let part = case.encode(&ChangeBatch::append(all.slice(17, 40)));
        for i in 0..40 {
            assert_eq!(part.get(i), whole.get(17 + i), "{}, row {i}", case.format.name());
        }
    }
}

fn mutated(message: &[u8], rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.random()),
            2 => bytes
                .splice(at..at, (0..rng.random_range(1..12)).map(|_| [0xFF, 0x80, b'[', b'{', 0][at % 5]))
                .for_each(drop),
            3 => bytes.shuffle(rng),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = rng.random()),
        }
    }
    bytes
}

/// Random and damaged bytes between good messages: nobody panics, and what is bad or taken back leaves nothing behind.
#[test]
fn bad_messages_leave_nothing() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed());
    for case in cases() {
        let name = case.format.name();
        let all = rows(&case.table, 400, rng);
        let messages = case.encode(&ChangeBatch::append(all.clone()));
        let mut decoder = case.decoder(&case.table);
        let mut bad = 0;
        for message in messages.iter() {
            for _ in 0..rng.random_range(0..4) {
                let hostile = match rng.random_bool(0.3) {
                    true => (0..rng.random_range(0..60)).map(|_| rng.random()).collect(),
                    false => mutated(message.unwrap(), rng),
                };
                match decoder.decode(&hostile).unwrap() {
                    Decoded::Rows(_) => decoder.undo().unwrap(),
                    Decoded::Bad(reason) => {
                        assert!(!reason.is_empty());
                        bad += 1;
                    }
                    Decoded::Unprepared => panic!("{name} asks for nothing"),
                }
            }
            assert_eq!(decoder.decode(message.unwrap()).unwrap(), Decoded::Rows(1));
        }
        assert!(bad > 50, "{name}: {bad}");
        assert_eq!(decoder.pending(), 400, "{name}");
        check_rows(&decoder.flush().unwrap().unwrap().rows, &all, name);
    }
}

#[test]
fn a_decoder_is_full_in_time() {
    for case in cases() {
        let one = rows(&case.table, 1, &mut Xoshiro256PlusPlus::seed_from_u64(7));
        let messages = case.encode(&ChangeBatch::append(one));
        let mut decoder = case.decoder(&Arc::new(Schema::empty()));
        for _ in 0..BATCH_ROWS {
            assert!(!decoder.is_full());
            decoder.decode(messages.get(0).unwrap()).unwrap();
        }
        assert!(decoder.is_full());
        // One more does no harm.
        decoder.decode(messages.get(0).unwrap()).unwrap();
        assert_eq!(decoder.flush().unwrap().unwrap().num_rows(), BATCH_ROWS + 1);
        assert!(!decoder.is_full());
    }
}

#[test]
fn null_messages_say_nothing() {
    for case in cases() {
        let mut decoder = case.decoder(&case.table);
        assert_eq!(decoder.decode_null().unwrap(), Decoded::Rows(0));
        assert!(decoder.flush().unwrap().is_none());
    }
}

#[test]
fn append_only_formats_refuse_other_changes() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    for case in cases() {
        let mut changes = ChangeBatch::append(rows(&case.table, 2, rng));
        changes.kinds = Some([RowKind::Insert, RowKind::Delete].into());
        let mut out = Messages::default();
        let outcome = case.format.encoder(&case.table, &case.options).unwrap().encode(&changes, &mut out);
        match case.format.sink_changelog() {
            SinkChangelog::Append => {
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains("-D") && error.contains(case.format.name()), "{error}");
            }
            _ => assert_eq!(out.len(), 2),
        }
    }
}

fn one_column(name: &str, data_type: DataType) -> (SchemaRef, &'static dyn MessageFormat) {
    (Arc::new(Schema::new(vec![Field::new("a", data_type, true)])), message_format(name, false).unwrap())
}

fn outcomes(name: &str, pairs: &[(&str, &str)], messages: &[&str]) -> (Vec<Decoded>, Option<ChangeBatch>) {
    let (schema, format) = one_column(name, DataType::Utf8);
    let mut options = Options::default();
    pairs.iter().for_each(|(k, v)| options.set(*k, *v));
    let mut decoder = format.decoder(&schema, Arc::clone(&schema), &options).unwrap();
    let outcomes = messages.iter().map(|m| decoder.decode(m.as_bytes()).unwrap()).collect();
    (outcomes, decoder.flush().unwrap())
}

#[test]
fn a_message_of_json_may_have_lines() {
    let (outcomes, batch) = outcomes(
        "json",
        &[],
        &["{\n  \"a\":\n\t\"x\"\n}\n", "", " \n", "null", "{\"a\":1} {\"a\":2}", "\u{feff}{\"a\":\"\\n\"}"],
    );
    use Decoded::Rows;
    assert_eq!(outcomes[..4], [Rows(1), Rows(0), Rows(0), Rows(0)]);
    assert!(matches!(&outcomes[4], Decoded::Bad(r) if r.contains("the end of the message")), "{:?}", outcomes[4]);
    assert_eq!(batch.unwrap().rows.column(0).as_ref(), &StringArray::from(vec!["x", "\n"]));
}

#[test]
fn a_message_of_debezium_json_may_have_lines_and_two_rows() {
    let update = "{\"before\": {\n\"a\": \"x\"},\n\"after\": {\"a\":\n\"y\"}, \"op\": \"u\"}";
    let (outcomes, batch) = outcomes("debezium-json", &[], &[update, "{\"op\":\"d\",\"before\":null}"]);
    assert_eq!(outcomes[0], Decoded::Rows(2));
    assert!(matches!(&outcomes[1], Decoded::Bad(r) if r.contains("PRIMARY KEY")));
    let batch = batch.unwrap();
    assert_eq!((batch.kind(0), batch.kind(1)), (RowKind::UpdateBefore, RowKind::UpdateAfter));
}

#[test]
fn a_message_of_csv_is_one_record() {
    let (outcomes, batch) = outcomes("csv", &[], &["x", "y\n", "", "\"a\nb\"", "p\nq", "p,q", "\"open"]);
    use Decoded::Rows;
    assert_eq!(outcomes[..4], [Rows(1), Rows(1), Rows(1), Rows(1)]);
    assert!(outcomes[4..].iter().all(|o| matches!(o, Decoded::Bad(_))), "{outcomes:?}");
    assert_eq!(batch.unwrap().rows.column(0).as_ref(), &StringArray::from(vec!["x", "y", "", "a\nb"]));
}

#[test]
fn options_tell_whether_bad_messages_are_skipped() {
    for (name, key) in [("json", "json.ignore-parse-errors"), ("csv", "csv.ignore-parse-errors")] {
        let (schema, format) = one_column(name, DataType::Utf8);
        let mut options = Options::default();
        assert!(!format.decoder(&schema, Arc::clone(&schema), &options).unwrap().ignores_errors());
        options.set(key, "true");
        assert!(format.decoder(&schema, Arc::clone(&schema), &options).unwrap().ignores_errors());
    }
}

#[test]
fn unknown_formats_are_named() {
    assert!(message_format("jsno", false).unwrap_err().to_string().contains("did you mean 'json'?"));
    assert!(message_format("parquet", false).unwrap_err().to_string().contains("'debezium-json'"));
}

#[test]
fn prefixes_are_put_on_and_taken_off() {
    let mut options = Options::default();
    options.set("value.json.ignore-parse-errors", "true");
    options.set("topic", "t");
    assert_eq!(options.under("value.").get("json.ignore-parse-errors"), Some("true"));
    assert_eq!(options.under("value.").iter().count(), 1);
    let known =
        message_format("json", false).unwrap().options().into_iter().map(|o| o.under("value.")).collect::<Vec<_>>();
    assert!(known.iter().any(|o| o.matches("value.json.ignore-parse-errors")));
}
