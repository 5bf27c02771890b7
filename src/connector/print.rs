//! `print`: a sink that writes each change as a line, in Flink's form: `+I[1, a]`.
//!
//! | option | meaning |
//! | --- | --- |
//! | `print-identifier` | text in front of each line, followed by `> ` |
//! | `standard-error` | `true`: lines go to standard error instead of standard output |

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::text::write_row;
use super::{Connector, OptionKind, OptionSpec, Options, Sink, SinkChangelog, Source, TableDescriptor};
use crate::change::ChangeBatch;
use crate::{Error, Result};

/// Where lines go; shared, since several tables may print.
pub type Writer = Arc<Mutex<dyn Write + Send>>;

/// The `print` connector.
#[derive(Clone, Default)]
pub struct Print {
    writer: Option<Writer>,
}

impl Print {
    /// Prints to `writer` instead of the process's standard streams.
    pub fn to(writer: Writer) -> Self {
        Self { writer: Some(writer) }
    }
}

impl std::fmt::Debug for Print {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Print").field("own_writer", &self.writer.is_some()).finish()
    }
}

impl Connector for Print {
    fn name(&self) -> &'static str {
        "print"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        vec![
            OptionSpec::optional("print-identifier", OptionKind::Text),
            OptionSpec::optional("standard-error", OptionKind::Boolean),
        ]
    }

    fn can_read(&self) -> bool {
        false
    }

    fn accepts(&self, _table: &TableDescriptor) -> Result<SinkChangelog> {
        Ok(SinkChangelog::Retract)
    }

    fn source(&self, table: &TableDescriptor, _projection: SchemaRef) -> Result<Box<dyn Source>> {
        Err(Error::Option(format!("table '{}': connector 'print' can only be written", table.name)))
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        let writer = match &self.writer {
            Some(writer) => Arc::clone(writer),
            None if table.options.boolean("standard-error")?.unwrap_or(false) => {
                Arc::new(Mutex::new(std::io::stderr())) as Writer
            }
            None => Arc::new(Mutex::new(std::io::stdout())),
        };
        let identifier = table.options.get("print-identifier").filter(|id| !id.is_empty());
        let prefix = identifier.map(|id| format!("{id}> ")).unwrap_or_default();
        Ok(Box::new(PrintSink { writer, prefix, text: String::new() }))
    }
}

struct PrintSink {
    writer: Writer,
    prefix: String,
    text: String,
}

#[async_trait]
impl Sink for PrintSink {
    async fn write(&mut self, changes: ChangeBatch) -> Result<()> {
        self.text.clear();
        for row in 0..changes.num_rows() {
            self.text.push_str(&self.prefix);
            write_row(&mut self.text, changes.kind(row), &changes.rows, row)?;
            self.text.push('\n');
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(self.text.as_bytes()).and_then(|()| writer.flush()).map_err(|e| Error::io("print", e))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};

    use super::*;
    use crate::change::RowKind;

    #[tokio::test]
    async fn writes_a_line_for_each_change_with_its_kind() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let print = Print::to(Arc::clone(&out) as Writer);
        let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
        let rows = RecordBatch::try_from_iter([("a", a), ("b", b)]).unwrap();
        let mut options = Options::default();
        options.set("print-identifier", "id");
        let table = TableDescriptor {
            name: "p".into(),
            schema: rows.schema(),
            metadata: Vec::new(),
            options,
            partition_keys: Vec::new(),
            primary_key: Vec::new(),
        };
        let mut sink = print.sink(&table).unwrap();
        let kinds = Some([RowKind::UpdateBefore, RowKind::UpdateAfter].into());
        sink.write(ChangeBatch { rows, kinds, watermarks: None }).await.unwrap();
        sink.close().await.unwrap();
        let text = String::from_utf8(out.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "id> -U[1, x]\nid> +U[null, y]\n");
        assert!(print.source(&table, Arc::clone(&table.schema)).is_err());
    }
}
