//! What changes come to.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::Hash;

use super::RowKind;
use crate::{Error, Result};

/// The rows that stand after some changes, in the order in which they came; an updated row stays in its place.
#[derive(Debug, Clone)]
pub struct Folded<R> {
    /// By number.
    rows: BTreeMap<u64, R>,
    /// By row the numbers under which it stands.
    places: HashMap<R, Vec<u64>>,
    next: u64,
    /// The place of the row that a `-U` has just taken away.
    vacant: Option<u64>,
}

impl<R> Default for Folded<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), places: HashMap::new(), next: 0, vacant: None }
    }
}

impl<R: Clone + Eq + Hash + Debug> Folded<R> {
    /// How many rows stand.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none stands.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, in the order in which they came.
    pub fn rows(&self) -> impl Iterator<Item = &R> {
        self.rows.values()
    }

    /// Applies one change.
    ///
    /// # Errors
    /// When a row goes that is not there.
    pub fn apply(&mut self, kind: RowKind, row: R) -> Result<()> {
        let vacant = self.vacant.take();
        if kind.is_addition() {
            let place = vacant.filter(|_| kind == RowKind::UpdateAfter).unwrap_or(self.next);
            self.next = self.next.max(place + 1);
            self.places.entry(row.clone()).or_default().push(place);
            self.rows.insert(place, row);
            return Ok(());
        }
        let Some(place) = self.places.get_mut(&row).and_then(Vec::pop) else {
            return Err(Error::internal(format!("a row goes that is not there: {row:?}")));
        };
        if self.places.get(&row).is_some_and(Vec::is_empty) {
            self.places.remove(&row);
        }
        self.rows.remove(&place);
        self.vacant = Some(place).filter(|_| kind == RowKind::UpdateBefore);
        Ok(())
    }

    /// Hands out the rows; none stand then.
    pub fn take(&mut self) -> Vec<R> {
        std::mem::take(self).rows.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

    #[test]
    fn changes_fold_to_the_rows_that_stand() {
        let mut folded = Folded::default();
        let row = |text: &str| text.to_string();
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
        assert_eq!(folded.rows().count(), 3);
        assert_eq!(folded.take(), [row("c"), row("b"), row("d")]);
        assert!(folded.is_empty());
    }
}
