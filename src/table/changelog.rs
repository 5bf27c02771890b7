//! How the rows of tables change, at the edges.

/// How the rows of a table change that is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceChangelog {
    /// Rows only come: batches have no kinds.
    #[default]
    Append,
    /// Rows come and go. What goes (`-U`, `-D`) is given whole, as it came, and never before it came.
    Retract,
    /// Each row takes the place of the last one with its PRIMARY KEY (`+I`, `+U`), or takes that away (`-D`): then only
    /// the key is looked at. The table must have a PRIMARY KEY.
    Upsert,
}

/// Which changes a table takes that is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SinkChangelog {
    /// New rows only.
    #[default]
    Append,
    /// Rows that take the place of the last one with their PRIMARY KEY (`+I`, `+U`), or take that away (`-D`); `-U` is left out.
    Upsert,
    /// All changes.
    Retract,
}
