//! Statements as Millstream sees them. Queries are sqlparser's; all else is ours.

use datafusion_sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName, Query};

use crate::error::Position;

/// A statement and where it stands in its script.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// The statement.
    pub statement: Statement,
    /// Its own text, without the closing semicolon.
    pub text: String,
    /// Where that text begins in the script.
    pub start: Position,
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// `CREATE [TEMPORARY] TABLE`.
    CreateTable(Box<CreateTable>),
    /// `CREATE [TEMPORARY] VIEW`.
    CreateView(Box<CreateView>),
    /// `DROP [TEMPORARY] TABLE | VIEW`.
    Drop {
        /// Table or view.
        kind: RelationKind,
        /// Its name.
        name: ObjectName,
        /// `IF EXISTS`.
        if_exists: bool,
    },
    /// `ALTER TABLE name SET (…)` or `RESET (…)`.
    AlterTable {
        /// The table.
        name: ObjectName,
        /// Options to set.
        set: Vec<SqlOption>,
        /// Option keys to take away.
        reset: Vec<String>,
    },
    /// `INSERT INTO`.
    Insert(Box<Insert>),
    /// `EXECUTE STATEMENT SET BEGIN … END` (also `BEGIN STATEMENT SET; … END`).
    StatementSet(Vec<Insert>),
    /// A bare query (`SELECT`, `VALUES`, `WITH`, `TABLE`).
    Query(Box<Query>),
    /// `EXPLAIN`, of a query, an insert or a statement set.
    Explain(Box<Statement>),
    /// `SHOW …`.
    Show(Show),
    /// `DESCRIBE name` / `DESC name`.
    Describe(ObjectName),
    /// `SET 'key' = 'value'`; without a key: show all.
    Set(Option<(String, String)>),
    /// `RESET ['key']`.
    Reset(Option<String>),
}

/// A table or a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// A table.
    Table,
    /// A view.
    View,
}

/// What `SHOW` is to show.
#[derive(Debug, Clone, PartialEq)]
pub enum Show {
    /// `SHOW TABLES` (views included, as in Flink).
    Tables,
    /// `SHOW VIEWS`.
    Views,
    /// `SHOW FUNCTIONS`.
    Functions,
    /// `SHOW CREATE TABLE name`.
    CreateTable(ObjectName),
    /// `SHOW CREATE VIEW name`.
    CreateView(ObjectName),
    /// `SHOW COLUMNS FROM name`.
    Columns(ObjectName),
}

/// `'key' = 'value'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlOption {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where the key stands in the script.
    pub position: Position,
}

/// `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The table's name.
    pub name: ObjectName,
    /// `TEMPORARY`.
    pub temporary: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// The columns, in order.
    pub columns: Vec<ColumnDef>,
    /// `WATERMARK FOR column AS expr`.
    pub watermark: Option<WatermarkDef>,
    /// `PRIMARY KEY (…) NOT ENFORCED`.
    pub primary_key: Vec<Ident>,
    /// `COMMENT '…'`.
    pub comment: Option<String>,
    /// `PARTITIONED BY (…)`.
    pub partitioned_by: Vec<Ident>,
    /// `WITH (…)`.
    pub options: Vec<SqlOption>,
    /// `LIKE other (…)`.
    pub like: Option<LikeClause>,
}

/// A column of `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    /// Its name.
    pub name: Ident,
    /// What it is.
    pub kind: ColumnKind,
    /// `COMMENT '…'`.
    pub comment: Option<String>,
}

/// The three kinds of column.
#[allow(clippy::large_enum_variant, reason = "a table has few columns, and they live as long as its statement")]
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// `name TYPE [NOT NULL]`.
    Physical {
        /// The type.
        data_type: TypeName,
        /// Whether NULLs are allowed.
        nullable: bool,
    },
    /// `name TYPE METADATA [FROM 'key'] [VIRTUAL]`.
    Metadata {
        /// The type.
        data_type: TypeName,
        /// Whether NULLs are allowed.
        nullable: bool,
        /// `FROM 'key'`.
        from: Option<String>,
        /// `VIRTUAL`.
        is_virtual: bool,
    },
    /// `name AS expr`.
    Computed(Expr),
}

/// A type as written. ROW types keep the nullability and comments of their fields, which sqlparser's types do not.
#[derive(Debug, Clone, PartialEq)]
pub enum TypeName {
    /// A type without parts of its own.
    Simple(DataType),
    /// `ARRAY<element>`, `element ARRAY`.
    Array(Box<TypeName>),
    /// `MULTISET<element>`.
    Multiset(Box<TypeName>),
    /// `MAP<key, value>`.
    Map(Box<TypeName>, Box<TypeName>),
    /// `ROW<name TYPE [NOT NULL] ['comment'], …>`, also with parentheses.
    Row(Vec<RowField>),
    /// `TIMESTAMP_LTZ(p)` and `TIMESTAMP(p) WITH LOCAL TIME ZONE`.
    TimestampLtz(u8),
    /// `BYTES`, `STRING` and other names that are Flink's alone are mapped to [`TypeName::Simple`]; this is for
    /// `NOT NULL` behind an element type.
    NotNull(Box<TypeName>),
}

/// A field of a ROW type.
#[derive(Debug, Clone, PartialEq)]
pub struct RowField {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub data_type: TypeName,
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkDef {
    /// The rowtime column.
    pub column: Ident,
    /// The watermark that a row carries.
    pub expr: Expr,
}

/// `LIKE other (INCLUDING … | EXCLUDING … | OVERWRITING …)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LikeClause {
    /// The other table.
    pub table: ObjectName,
    /// The options, e.g. `(Excluding, Watermarks)`, in order.
    pub options: Vec<(LikeMode, LikeFeature)>,
}

/// How a feature of the other table is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikeMode {
    /// Taken; a clash is an error.
    Including,
    /// Not taken.
    Excluding,
    /// Taken; the new table's own wins.
    Overwriting,
}

/// A feature of a table that LIKE can take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikeFeature {
    /// All of them.
    All,
    /// Primary key.
    Constraints,
    /// Computed columns.
    Generated,
    /// Metadata columns.
    Metadata,
    /// `WITH` options.
    Options,
    /// `PARTITIONED BY`.
    Partitions,
    /// Watermark.
    Watermarks,
    /// Distribution (accepted; without meaning here).
    Distribution,
}

/// `CREATE VIEW`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// The view's name.
    pub name: ObjectName,
    /// `TEMPORARY`.
    pub temporary: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Column names; empty: the query's own.
    pub columns: Vec<Ident>,
    /// `COMMENT '…'`.
    pub comment: Option<String>,
    /// The query.
    pub query: Box<Query>,
    /// The query's text, for `SHOW CREATE VIEW`.
    pub text: String,
}

/// `INSERT INTO`.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// The table written to.
    pub table: ObjectName,
    /// The columns named; empty: all.
    pub columns: Vec<Ident>,
    /// `PARTITION (k = v, …)`.
    pub partition: Vec<(Ident, Expr)>,
    /// `OVERWRITE`.
    pub overwrite: bool,
    /// What is inserted.
    pub query: Box<Query>,
}
