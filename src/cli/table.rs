//! Tables of text.

use std::collections::{BTreeMap, HashMap};

/// Rows of text as changes leave them, in the order in which they came.
#[derive(Debug, Default)]
pub struct Rows {
    rows: BTreeMap<u64, Vec<String>>,
    /// The places of equal rows.
    places: HashMap<Vec<String>, Vec<u64>>,
    next: u64,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn add(&mut self, row: Vec<String>) {
        self.places.entry(row.clone()).or_default().push(self.next);
        self.rows.insert(self.next, row);
        self.next += 1;
    }

    /// Takes away the last of the rows equal to `row`, if there is one.
    pub fn remove(&mut self, row: &[String]) {
        let Some(places) = self.places.get_mut(row) else { return };
        if let Some(place) = places.pop() {
            self.rows.remove(&place);
        }
        if places.is_empty() {
            self.places.remove(row);
        }
    }

    /// The rows; none are left.
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

    #[test]
    fn rows_stand_as_changes_leave_them() {
        let row = |text: &str| vec![text.to_string()];
        let mut rows = Rows::default();
        ["a", "b", "a", "c"].map(row).into_iter().for_each(|r| rows.add(r));
        ["a", "b", "never"].map(row).iter().for_each(|r| rows.remove(r));
        rows.add(row("b"));
        assert_eq!(rows.len(), 3);
        assert_eq!(rows.take(), ["a", "c", "b"].map(row));
        assert_eq!(rows.len(), 0);
    }
}
