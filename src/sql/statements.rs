//! What has been declared and set in a session, as the statements that did it.

/// So many bytes of statements are kept at most.
const MOST_BYTES: usize = 16 << 20;
/// Between two statements; a statement may end in a comment.
const END: &str = "\n;\n";

/// The statements that made a session what it is, in order: carried out again in a new one, they make the same.
#[derive(Debug, Clone, Default)]
pub struct Statements {
    text: String,
    /// Whether there were more than are kept.
    overflowed: bool,
}

impl Statements {
    pub(super) fn add(&mut self, statement: &str) {
        self.overflowed |= self.text.len() + statement.len() > MOST_BYTES;
        if !self.overflowed {
            self.text.push_str(statement);
            self.text.push_str(END);
        }
    }

    /// As [`Statements::add`], of a setting that no statement set.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        let quoted = |text: &str| text.replace('\'', "''");
        self.add(&format!("SET '{}' = '{}'", quoted(key), quoted(value)));
    }

    /// How far they go; see [`Statements::with`].
    pub fn end(&self) -> usize {
        self.text.len()
    }

    /// The statements as a script, with others among them, each behind a place that [`Statements::end`] named. `None` where there were too
    /// many to be kept.
    pub fn with(&self, others: &[(usize, String)]) -> Option<String> {
        if self.overflowed {
            return None;
        }
        let mut script = String::with_capacity(self.text.len());
        let mut from = 0;
        for (at, other) in others {
            script.push_str(self.text.get(from..*at)?);
            script.push_str(other);
            script.push_str(END);
            from = *at;
        }
        script.push_str(self.text.get(from..)?);
        Some(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_become_a_script_again() {
        let mut statements = Statements::default();
        statements.add("CREATE TABLE a -- the first");
        let first = statements.end();
        statements.set("it's", "a 'b'");
        let others = [(first, "INSERT 1".to_string()), (statements.end(), "INSERT 2".to_string())];
        let script = statements.with(&others).unwrap();
        let expected = ["CREATE TABLE a -- the first", "INSERT 1", "SET 'it''s' = 'a ''b'''", "INSERT 2", ""];
        assert_eq!(script.split(END).collect::<Vec<_>>(), expected);
        statements.add(&" ".repeat(MOST_BYTES));
        assert_eq!(statements.with(&[]), None);
    }
}
