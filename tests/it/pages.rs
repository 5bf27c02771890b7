//! The pages of `docs/`: what they show is what their scripts in `queries/` say and give. A page's SQL blocks are together the
//! script of its name, and its text blocks are what that script printed; that it prints it still, `cli.rs` holds.

use std::path::Path;

/// Pages, scripts and committed answers go by one name.
pub(crate) const PAGES: [&str; 6] =
    ["card_fraud", "credit_decision", "money_laundering", "personalisation", "price_and_stock", "smart_home"];

fn read(path: String) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The fenced blocks of a language, one after another.
fn blocks(page: &str, language: &str) -> String {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The lines that say something: no comments, none that are empty.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("--")).collect()
}

#[test]
fn pages_show_their_scripts_and_what_these_print() {
    for name in PAGES {
        let page = read(format!("docs/{name}.md"));
        assert_eq!(lines(&blocks(&page, "sql")), lines(&read(format!("queries/{name}.sql"))), "{name}");
        assert_eq!(blocks(&page, "text"), read(format!("queries/expected/{name}.txt")), "{name}");
    }
}
