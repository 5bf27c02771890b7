//! Tables of text.

use std::collections::{BTreeMap, HashMap};

use millstream::change::RowKind;
use millstream::{Error, Result};

/// The rows that stand after some changes, in the order in which they came; an updated row stays in its place.
#[derive(Default)]
pub struct Folded {
    /// By number.
    rows: BTreeMap<u64, Vec<String>>,
    /// By row the numbers under which it stands.
    places: HashMap<Vec<String>, Vec<u64>>,
    next: u64,
    /// The place of the row that a `-U` has just taken away.
    vacant: Option<u64>,
}

impl Folded {
    /// How many rows stand.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Applies one change.
    ///
    /// # Errors
    /// When a row goes that is not there.
    pub fn apply(&mut self, kind: RowKind, row: Vec<String>) -> Result<()> {
        let vacant = self.vacant.take();
        if kind.is_addition() {
            let place = vacant.filter(|_| kind == RowKind::UpdateAfter).unwrap_or(self.next);
            self.next = self.next.max(place + 1);
            self.places.entry(row.clone()).or_default().push(place);
            self.rows.insert(place, row);
            return Ok(());
        }
        let Some(place) = self.places.get_mut(&row).and_then(Vec::pop) else {
            return Err(Error::internal(format!("a row goes that is not there: [{}]", row.join(", "))));
        };
        if self.places.get(&row).is_some_and(Vec::is_empty) {
            self.places.remove(&row);
        }
        self.rows.remove(&place);
        self.vacant = Some(place).filter(|_| kind == RowKind::UpdateBefore);
        Ok(())
    }

    /// Hands out the rows; none stand then.
    pub fn take(&mut self) -> Vec<Vec<String>> {
        std::mem::take(self).rows.into_values().collect()
    }
}

/// Rows under their columns' names, as SQL clients draw them.
pub fn draw(columns: &[String], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|r| r.get(i)).chain(columns.get(i));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let rule = format!("+{}\n", widths.iter().map(|w| format!("{}+", "-".repeat(w + 2))).collect::<String>());
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(c, w)| {
            let pad = w.saturating_sub(c.chars().count());
            format!(" {c}{} |", " ".repeat(pad))
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let body: String = rows.iter().map(|r| line(r)).collect();
    format!("{rule}{}{rule}{body}{rule}", line(columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

    #[test]
    fn changes_fold_to_the_rows_that_stand() {
        let mut folded = Folded::default();
        let row = |text: &str| vec![text.to_string()];
        let changes = [
            (Insert, "a"),
            (Insert, "b"),
            (Insert, "b"),
            (UpdateBefore, "a"),
            (UpdateAfter, "c"),
            (Delete, "b"),
            (UpdateAfter, "d"),
        ];
        for (kind, text) in changes {
            folded.apply(kind, row(text)).unwrap();
        }
        assert!(folded.apply(Delete, row("a")).is_err());
        assert_eq!(folded.len(), 3);
        assert_eq!(folded.take(), [row("c"), row("b"), row("d")]);
        assert_eq!(folded.len(), 0);
    }
}
