use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringArray, UInt32Array,
};
use arrow::datatypes::{Int32Type, Schema};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::decode::Decoder;
use super::encode::{Encoder, Recorded};
use super::files::segment_name;
use super::frame::{Frames, Kind, MAGIC, begin, seal};
use crate::change::{ChangeBatch, RowKind, Watermark};
use crate::operator::lookup_join::{Answer, Pairs};
use crate::runtime::executor::{SourceState, StepInput, StepPartitions};
use crate::runtime::lookup::LookupInput;

fn rows(count: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter((0..count).map(|n| (n % 3 > 0).then_some(n))));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|n| "x".repeat(n as usize))));
    let doubles: ArrayRef =
        Arc::new(Float64Array::from_iter_values((0..count).map(|n| f64::from_bits(0x7ff8_0000_0000_0000 + n as u64))));
    let lists = (0..count).map(|n| Some((0..n as i32 % 4).map(Some).collect::<Vec<_>>()));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    RecordBatch::try_from_iter([("n", numbers), ("t", texts), ("d", doubles), ("l", lists)]).unwrap()
}

/// A step with everything that a step can have.
fn recorded(step: u64) -> Recorded {
    let count = 5 + step as usize;
    let no_columns = RecordBatchOptions::new().with_row_count(Some(7));
    let no_columns = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &no_columns).unwrap();
    let all = rows(count as i64 + 2);
    let changes = ChangeBatch {
        rows: all.slice(1, count),
        kinds: Some((0..count).map(|n| if n % 2 == 0 { RowKind::Insert } else { RowKind::Delete }).collect()),
        watermarks: Some(Int64Array::from_iter_values(0..count as i64)),
    };
    let pairs = Pairs { probes: UInt32Array::from(vec![0, 0, 2]), found: UInt32Array::from(vec![1, 0, 4]) };
    Recorded {
        step,
        after_snapshot: step.is_multiple_of(2),
        input: StepInput {
            batches: vec![
                vec![changes, ChangeBatch::append(rows(0))],
                Vec::new(),
                vec![ChangeBatch::append(no_columns)],
            ],
            sources: vec![SourceState::Active, SourceState::Ended, SourceState::Idle],
            watermarks: vec![Watermark(1), Watermark::MAX, Watermark::MIN],
            lookups: vec![LookupInput {
                read: vec![rows(2)],
                answers: vec![Answer { rows: rows(5), pairs }],
                ..LookupInput::default()
            }],
            partitions: vec![StepPartitions { of_batches: vec![1, 0], holds: vec![true, false] }],
            processing_time: -5,
        },
    }
}

/// A segment of some steps.
fn segment(steps: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let mut encoder = Encoder::try_new().unwrap();
    for step in 1..=steps {
        encoder
            .step(&recorded(step), |frame| {
                bytes.extend_from_slice(frame);
                Ok(())
            })
            .unwrap();
    }
    bytes
}

/// The steps of a segment, as text; and why it went no further.
fn read(bytes: &[u8]) -> (Vec<String>, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(segment_name(1));
    std::fs::write(&path, bytes).unwrap();
    let mut steps = Vec::new();
    let mut decoder = Decoder::default();
    let mut frames = match Frames::open(&path) {
        Ok(frames) => frames,
        Err(broken) => return (steps, Some(format!("{broken:?}"))),
    };
    loop {
        let read = match frames.next() {
            Ok(None) => return (steps, None),
            Err(broken) => Err(format!("{broken:?}")),
            Ok(Some(frame)) if frame.kind == Kind::Schema => decoder.schema(&frame),
            Ok(Some(frame)) => {
                decoder.step(frame).map(|(recorded, tables)| steps.push(format!("{recorded:?} {tables:?}")))
            }
        };
        if let Err(reason) = read {
            return (steps, Some(reason));
        }
    }
}

fn texts(steps: u64) -> Vec<String> {
    (1..=steps).map(|step| format!("{:?} {:?}", recorded(step), [false])).collect()
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(read(&segment(3)), (texts(3), None));
}

#[test]
fn a_segment_that_ends_anywhere_gives_the_steps_before() {
    let whole = segment(3);
    let expected = texts(3);
    for length in (0..whole.len()).step_by(7).chain(whole.len() - 20..whole.len()) {
        let (steps, reason) = read(&whole[..length]);
        assert!(expected.starts_with(&steps), "{length}");
        assert!(reason.is_none_or(|r| r == "Torn"), "{length}");
    }
}

#[test]
fn a_flipped_bit_is_noticed() {
    let whole = segment(3);
    let expected = texts(3);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    for _ in 0..400 {
        let mut bytes = whole.clone();
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
        let (steps, reason) = read(&bytes);
        assert!(expected.starts_with(&steps) && steps.len() < 3, "byte {at}");
        assert!(reason.is_some(), "byte {at}");
    }
}

/// Someone who knows the checksums can write anything. It is refused in words, or it is a step like another; no memory is taken for what
/// is only claimed, and nothing panics.
#[test]
fn hostile_frames_are_steps_or_refused() {
    let mut schema = Vec::new();
    let mut step = Vec::new();
    let mut encoder = Encoder::try_new().unwrap();
    encoder
        .step(&recorded(1), |frame| {
            let to = if frame[12] == Kind::Schema as u8 { &mut schema } else { &mut step };
            to.push(frame.to_vec());
            Ok(())
        })
        .unwrap();
    let frames: Vec<Vec<u8>> = schema.into_iter().chain(step).collect();
    let mut refused = 0;
    for seed in 0..3000 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut bytes = MAGIC.to_vec();
        for frame in &frames {
            let mut frame = frame.clone();
            for _ in 0..rng.random_range(0..3) {
                let at = rng.random_range(13..frame.len());
                match rng.random_range(0..4) {
                    0 => frame[at] = 0xff,
                    1 => frame[at] = rng.random(),
                    2 => {
                        let end = (at + 4).min(frame.len());
                        frame[at..end].fill(0xff);
                    }
                    _ => frame.truncate(at + 1),
                }
            }
            seal(&mut frame).unwrap();
            bytes.extend_from_slice(&frame);
        }
        refused += usize::from(read(&bytes).1.is_some());
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn lengths_that_are_only_claimed_take_no_memory() {
    let head = |length: u32| {
        let mut head = length.to_le_bytes().to_vec();
        head.extend_from_slice(&[0; 4]);
        let sum = crc32fast::hash(&head);
        head.extend_from_slice(&sum.to_le_bytes());
        head
    };
    for (length, expected) in [(1 << 29, "Torn"), (u32::MAX, "a frame of 4294967295 bytes"), (0, "a frame of 0 bytes")]
    {
        let reason = read(&[&MAGIC[..], &head(length)].concat()).1.unwrap();
        assert!(reason.contains(expected), "{reason}");
    }
    let mut list = Vec::new();
    begin(&mut list, Kind::Step);
    list.extend_from_slice(&[0; 17]);
    list.extend_from_slice(&u32::MAX.to_le_bytes());
    seal(&mut list).unwrap();
    let reason = read(&[&MAGIC[..], &list].concat()).1.unwrap();
    assert!(reason.contains("a list of 4294967295 entries is claimed"), "{reason}");
}
