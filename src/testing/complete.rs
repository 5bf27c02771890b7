//! Writing what came out into a script, in the place of what was expected.

use super::program::Answer;
use super::script::Script;

/// The script with these answers; `None` where there are none in this file.
pub(super) fn completed(script: &Script, answers: &[Answer]) -> Option<String> {
    // What files that it includes should say, is not told here. A common beginning is run by every case: its first answer counts.
    let mut own: Vec<&Answer> = answers.iter().filter(|a| a.place.file == script.file).collect();
    own.sort_by_key(|a| a.from);
    own.dedup_by_key(|a| a.from);
    if own.is_empty() {
        return None;
    }
    let mut lines: Vec<&str> = script.text.lines().collect();
    for answer in own.into_iter().rev() {
        let until = (answer.from + answer.count).min(lines.len());
        let from = answer.from.min(until);
        lines.splice(from..until, answer.lines.iter().map(|l| l.trim_end()));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    Some(text)
}
