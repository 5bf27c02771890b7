use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use futures::FutureExt;

use super::{FilesystemConnector, filesystem};
use crate::change::ChangeBatch;
use crate::connector::{Connector, MetadataColumn, Options, Source, TableDescriptor};
use crate::{Error, Result};

fn table(path: &Path, format: &str, more: &[(&str, &str)]) -> TableDescriptor {
    let mut options = Options::default();
    options.set("connector", "filesystem");
    options.set("path", path.to_str().unwrap());
    options.set("format", format);
    more.iter().for_each(|(k, v)| options.set(*k, *v));
    TableDescriptor {
        name: "t".into(),
        schema: Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Utf8, true),
        ])),
        metadata: Vec::new(),
        options,
        partition_keys: Vec::new(),
        primary_key: Vec::new(),
    }
}

fn batch(values: std::ops::Range<i32>) -> ChangeBatch {
    let texts = StringArray::from_iter_values(values.clone().map(|v| format!("text {v}")));
    let a = Arc::new(Int32Array::from_iter_values(values));
    let schema = table(Path::new("/"), "json", &[]).schema;
    ChangeBatch::append(RecordBatch::try_new(schema, vec![a, Arc::new(texts)]).unwrap())
}

fn source(table: &TableDescriptor, projection: &SchemaRef) -> Result<Box<dyn Source>> {
    FilesystemConnector.source(table, Arc::clone(projection))
}

async fn read_all(table: &TableDescriptor, projection: &SchemaRef) -> Result<RecordBatch> {
    let mut source = source(table, projection)?;
    let mut batches = Vec::new();
    let mut bytes = 0;
    while let Some(b) = source.next().await? {
        bytes += b.bytes;
        batches.push(b.changes.rows);
    }
    assert_eq!(source.progress().fraction, Some(1.0));
    assert!(bytes > 0 || batches.is_empty());
    Ok(arrow::compute::concat_batches(projection, &batches)?)
}

fn ints(batch: &RecordBatch) -> Vec<i32> {
    batch.column(0).as_primitive::<Int32Type>().values().to_vec()
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_written_is_read() {
    for format in ["json", "csv", "parquet", "arrow"] {
        let dir = tempfile::tempdir().unwrap();
        let table = table(dir.path(), format, &[]);
        let mut sink = FilesystemConnector.sink(&table).unwrap();
        sink.write(batch(0..10)).await.unwrap();
        sink.flush().await.unwrap();
        sink.write(batch(10..20_000)).await.unwrap();
        assert!(names(dir.path()).iter().all(|n| n.starts_with('.')), "{format}: visible before its end");
        sink.close().await.unwrap();
        let [name] = &names(dir.path())[..] else { panic!("{format}: one file is wanted") };
        assert!(name.starts_with("part-") && name.ends_with(format));
        let rows = read_all(&table, &table.schema).await.unwrap();
        assert_eq!(rows, batch(0..20_000).rows, "{format}");
    }
}

#[tokio::test]
async fn files_roll_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let by_size = table(dir.path(), "json", &[("sink.rolling-policy.file-size", "1kb")]);
    let mut sink = FilesystemConnector.sink(&by_size).unwrap();
    for i in 0..5 {
        sink.write(batch(i * 100..i * 100 + 100)).await.unwrap();
    }
    assert_eq!(names(dir.path()).len(), 5);
    assert!(names(dir.path()).iter().all(|n| n.starts_with("part-")));
    sink.close().await.unwrap();
    let mut all = ints(&read_all(&by_size, &by_size.schema).await.unwrap());
    all.sort_unstable();
    assert_eq!(all, (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_sink_that_is_dropped_leaves_nothing() {
    for format in ["json", "csv", "parquet", "arrow"] {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = FilesystemConnector.sink(&table(dir.path(), format, &[])).unwrap();
        sink.write(batch(0..100_000)).await.unwrap();
        drop(sink);
        assert_eq!(names(dir.path()), Vec::<String>::new(), "{format}");
    }
}

#[tokio::test]
async fn bad_records_name_their_file_or_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.json"), "{\"a\":1}\nbad\n{\"a\":2}\n").unwrap();
    std::fs::write(dir.path().join("y.json"), "{\"a\":3}\nbad").unwrap();
    let strict = table(dir.path(), "json", &[]);
    let error = read_all(&strict, &strict.schema).await.unwrap_err().to_string();
    assert!(error.contains("x.json line 2: expected an object, found 'b'"), "{error}");

    let lenient = table(dir.path(), "json", &[("json.ignore-parse-errors", "true")]);
    let mut source = source(&lenient, &lenient.schema).unwrap();
    let mut rows = Vec::new();
    while let Some(b) = source.next().await.unwrap() {
        rows.extend(ints(&b.changes.rows));
    }
    assert_eq!(rows, [1, 2, 3]);
    assert_eq!(source.progress().skipped_records, 2);
}

#[tokio::test]
async fn partitions_are_directories() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = table(dir.path(), "json", &[]);
    table.partition_keys = vec![1];
    let texts = StringArray::from(vec![Some("x/y"), None, Some("x/y"), Some("z")]);
    let a = Arc::new(Int32Array::from(vec![1, 2, 3, 4]));
    let rows = RecordBatch::try_new(Arc::clone(&table.schema), vec![a, Arc::new(texts)]).unwrap();
    let mut sink = FilesystemConnector.sink(&table).unwrap();
    sink.write(ChangeBatch::append(rows)).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(names(dir.path()), ["b=__DEFAULT_PARTITION__", "b=x%2Fy", "b=z"]);
    let file = dir.path().join("b=z").join(&names(&dir.path().join("b=z"))[0]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"a\":4}\n");
}

#[tokio::test]
async fn hidden_partitions_are_read_like_flink_does() {
    let dir = tempfile::tempdir().unwrap();
    for (partition, value) in [("b=x%2Fy", 1), ("b=__DEFAULT_PARTITION__", 2), ("b=z", 3)] {
        std::fs::create_dir(dir.path().join(partition)).unwrap();
        std::fs::write(dir.path().join(partition).join("f"), format!("{{\"a\":{value}}}\n")).unwrap();
    }
    let mut table = table(dir.path(), "json", &[]);
    table.partition_keys = vec![1];
    let rows = read_all(&table, &table.schema).await.unwrap();
    let texts: Vec<_> = rows.column(1).as_string::<i32>().iter().collect();
    assert_eq!(ints(&rows), [2, 1, 3]);
    assert_eq!(texts, [None, Some("x/y"), Some("z")]);
    let only = Arc::new(table.schema.project(&[1]).unwrap());
    assert_eq!(read_all(&table, &only).await.unwrap().num_rows(), 3);
}

#[tokio::test]
async fn metadata_columns() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f.json"), "{\"a\":1}\n{\"a\":2}\n").unwrap();
    let mut table = table(dir.path(), "json", &[]);
    let mut fields = table.schema.fields().to_vec();
    for (key, data_type) in FilesystemConnector.metadata() {
        let (column, key) = (fields.len(), key.to_owned());
        fields.push(Arc::new(Field::new(key.replace('.', "_"), data_type, true)));
        table.metadata.push(MetadataColumn { column, key, is_virtual: true });
    }
    table.schema = Arc::new(Schema::new(fields));
    let rows = read_all(&table, &table.schema).await.unwrap();
    assert_eq!(rows.column(2).as_string::<i32>().value(1), dir.path().join("f.json").to_str().unwrap());
    assert_eq!(rows.column(3).as_string::<i32>().value(0), "f.json");
    assert_eq!(rows.column(4).as_primitive::<Int64Type>().values(), &[16, 16]);
    assert_eq!(rows.column(5).null_count(), 0);
    table.metadata[0].is_virtual = false;
    assert!(matches!(FilesystemConnector.sink(&table), Err(Error::Option(_))));
}

#[tokio::test]
async fn watching_takes_a_file_once_it_is_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, value: i32| std::fs::write(dir.path().join(name), format!("{{\"a\":{value}}}\n")).unwrap();
    write("1.json", 1);
    let table = table(dir.path(), "json", &[("source.monitor-interval", "1 ms")]);
    assert!(!FilesystemConnector.is_bounded(&table));
    let mut source = source(&table, &table.schema).unwrap();
    assert_eq!(ints(&source.next().await.unwrap().unwrap().changes.rows), [1]);
    assert_eq!(source.progress().fraction, None);

    // The end of a file is told of by a batch without rows.
    assert_eq!(source.next().await.unwrap().unwrap().changes.num_rows(), 0);
    assert_eq!(source.position().unwrap().offset, "end");
    write(".2.json", 2);
    write("_3.json", 3);
    let rename = async {
        tokio::task::yield_now().await;
        std::fs::rename(dir.path().join(".2.json"), dir.path().join("2.json")).unwrap();
    };
    let (next, ()) = tokio::join!(source.next(), rename);
    assert_eq!(ints(&next.unwrap().unwrap().changes.rows), [2]);
    assert_eq!(source.next().await.unwrap().unwrap().changes.num_rows(), 0);
    assert!(source.next().now_or_never().is_none());
}

#[tokio::test]
async fn patterns_order_and_row_counts() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in [("b.csv", 2), ("a.csv", 1), ("c.txt", 3)] {
        std::fs::write(dir.path().join(name), format!("{value},x\n{value},y")).unwrap();
    }
    let pattern = table(&dir.path().join("*.csv"), "csv", &[]);
    assert_eq!(ints(&read_all(&pattern, &pattern.schema).await.unwrap()), [1, 1, 2, 2]);
    let mut counted = source(&pattern, &Arc::new(Schema::empty())).unwrap();
    let first = counted.next().await.unwrap().unwrap().changes.rows;
    assert_eq!((first.num_rows(), first.num_columns()), (2, 0));
}

#[test]
fn wrong_tables_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let message = |path: &Path, format: &str, more: &[(&str, &str)]| {
        let table = table(path, format, more);
        match filesystem().source(&table, Arc::clone(&table.schema)) {
            Ok(_) => panic!("{path:?} {format} {more:?} was taken"),
            Err(e) => e.to_string(),
        }
    };
    assert!(message(&dir.path().join("none"), "json", &[]).contains("table 't': reading"));
    assert!(message(&dir.path().join("*.json"), "json", &[]).contains("no file matches"));
    assert!(message(dir.path(), "parket", &[]).contains("did you mean 'parquet'"));
    assert!(message(Path::new("hdfs://host/x"), "json", &[]).contains("scheme 'hdfs'"));
    assert!(message(dir.path(), "json", &[("source.monitor-interval", "0")]).contains("monitor-interval"));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(filesystem().sink(&table(&file, "json", &[])).is_err_and(|e| e.to_string().contains("is a file")));
    let typo = table(dir.path(), "json", &[("json.ignore-parse-error", "true")]);
    let known = filesystem().options(&typo.options);
    assert!(typo.options.check(&known).unwrap_err().to_string().contains("'json.ignore-parse-errors'"));
}
