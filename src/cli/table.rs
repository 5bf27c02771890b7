//! Tables of text.

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
