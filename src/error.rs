//! What can go wrong, told to the one who can mend it.

use std::sync::Arc;

use datafusion_common::DataFusionError;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a script was refused or a job ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The SQL text is wrong, or asks for what is not there; says where.
    #[error("{0}")]
    Sql(Box<SqlError>),
    /// A table's or a session's options are wrong.
    #[error("{0}")]
    Option(String),
    /// A record from outside cannot be read; names its place (file and line, or partition and offset) and the reason.
    #[error("{place}: {reason}")]
    Record {
        /// Where the record stands.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading or writing outside the process failed.
    #[error("{context}: {source}")]
    Io {
        /// What was being read or written.
        context: String,
        /// The operating system's answer.
        source: Arc<std::io::Error>,
    },
    /// The query failed while it ran: a division by zero, a cast that does not fit, a NULL event time.
    #[error("{0}")]
    Execution(String),
    /// Code in an operator or a function panicked; the job ended, the process lives.
    #[error("panic in {place}: {message}")]
    Panic {
        /// The operator or connector that ran.
        place: String,
        /// What the panic said.
        message: String,
    },
    /// What was asked for is valid and not there yet.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// State would grow without a bound, which the session refuses.
    #[error("refused: {message}")]
    Unbounded {
        /// The clause that keeps the state.
        sql: String,
        /// Which state, and what would bound it.
        message: String,
    },
    /// A checkpoint cannot be restored or written: it is damaged, of a later version, or another run's.
    #[error("checkpoint {place}: {reason}")]
    Checkpoint {
        /// The checkpoint or the file of it.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A journal cannot be read, replayed or written.
    #[error("journal {place}: {reason}")]
    Journal {
        /// The journal or the file of it.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A rule of our own was broken: a bug.
    #[error("internal error (please report it): {0}")]
    Internal(String),
}

/// An error in SQL text, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong, and where it helps, what would be right.
    pub message: String,
    /// The place: line and column, both from 1, counted in characters.
    pub position: Option<Position>,
    /// The whole line that `position` points into.
    pub line_text: String,
    /// How many characters from `position` on are to be underlined; at least 1.
    pub length: usize,
}

/// A place in a text: line and column, both from 1, counted in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(Position { line, column }) = self.position else {
            return f.write_str(&self.message);
        };
        let gutter = line.to_string().len();
        // Tabs are kept, so that the marks stand below what they mark.
        let indent: String = self
            .line_text
            .chars()
            .take(column.saturating_sub(1) as usize)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "line {line}, column {column}: {}", self.message)?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {}", self.line_text)?;
        write!(f, "{:gutter$} | {indent}{}", "", "^".repeat(self.length.max(1)))
    }
}

impl Error {
    /// An I/O failure and what was being done.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io { context: context.into(), source: Arc::new(source) }
    }

    /// A record that cannot be read.
    pub fn record(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Record { place: place.into(), reason: reason.into() }
    }

    /// A caught panic and where it was.
    pub fn panic(place: impl Into<String>, payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Error::Panic { place: place.into(), message: text.unwrap_or_else(|| "no message".into()) }
    }

    /// A broken rule of our own.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::Internal(message.into())
    }
}

impl From<SqlError> for Error {
    fn from(e: SqlError) -> Self {
        Error::Sql(Box::new(e))
    }
}

impl From<DataFusionError> for Error {
    fn from(e: DataFusionError) -> Self {
        match e.find_root() {
            DataFusionError::NotImplemented(m) => Error::Unsupported(m.clone()),
            DataFusionError::Internal(m) => Error::Internal(m.clone()),
            DataFusionError::ArrowError(e, _) => Error::Execution(arrow_message(e)),
            root => Error::Execution(root.strip_backtrace()),
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Self {
        Error::Execution(arrow_message(&e))
    }
}

/// What Arrow says, without the name of its error's kind where that adds nothing.
fn arrow_message(e: &arrow::error::ArrowError) -> String {
    use arrow::error::ArrowError;
    match e {
        ArrowError::DivideByZero => "division by zero".into(),
        ArrowError::ComputeError(m) | ArrowError::CastError(m) | ArrowError::ArithmeticOverflow(m) => m.clone(),
        other => other.to_string(),
    }
}
