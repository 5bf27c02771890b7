//! The records that sqllogictest does not have: what goes in, and what is to be seen of it.

use std::sync::Arc;

use super::{Item, Lines, Place, Record};
use crate::testing::mode::Kind;
use crate::testing::time::{millis, span};
use crate::{Error, Result};

/// The first word of each.
const WORDS: [&str; 14] = [
    "push",
    "step",
    "watermark",
    "clock",
    "idle",
    "active",
    "end",
    "changes",
    "table",
    "late",
    "state",
    "tolerates",
    "modes",
    "script",
];
/// Those that go on to the next blank line.
const BLOCKS: [&str; 4] = ["push", "step", "changes", "table"];
/// Records of sqllogictest that are one line.
const FOREIGN_LINES: [&str; 9] =
    ["include", "halt", "subtest", "sleep", "skipif", "onlyif", "connection", "control", "hash-threshold"];

/// One thing that goes in.
#[derive(Debug, Clone)]
pub(in crate::testing) enum Command {
    /// Rows for a table, a line each with its number.
    Push {
        table: String,
        rows: Vec<(usize, String)>,
    },
    Watermark {
        table: String,
        millis: i64,
    },
    Clock(ClockMove),
    Idle(String),
    Active(String),
    /// A table's input, or all.
    End(Option<String>),
}

/// How the clock is moved.
#[derive(Debug, Clone, Copy)]
pub(in crate::testing) enum ClockMove {
    By(i64),
    To(i64),
}

/// Takes our records out of a script. Gives them, and the script with blank lines where they stood.
pub(super) fn scan(file: &Arc<str>, lines: &[&str]) -> Result<(Vec<Record>, String)> {
    let mut records = Vec::new();
    let mut rest: Vec<&str> = Vec::with_capacity(lines.len());
    while let Some(first) = lines.get(rest.len()) {
        let at = rest.len();
        let word = first.split_whitespace().next().unwrap_or_default();
        let until_blank = lines[at..].iter().take_while(|l| !l.trim().is_empty()).count().max(1);
        let own = WORDS.contains(&word);
        let length = match () {
            () if own && !BLOCKS.contains(&word) => 1,
            () if own => until_blank,
            () if word.starts_with('#') || FOREIGN_LINES.contains(&word) => 1,
            () if is_error_in_lines(&lines[at..]) => until_two_blanks(&lines[at..]),
            () => until_blank,
        };
        if own {
            let block = Block { file, at, lines: &lines[at..at + length] };
            records.push(Record { place: block.place(at), item: block.item(word)? });
        }
        rest.extend(lines[at..at + length].iter().map(|l| if own { "" } else { *l }));
    }
    Ok((records, rest.join("\n")))
}

/// Whether a block is an expected error whose text stands below it and may have blank lines.
fn is_error_in_lines(lines: &[&str]) -> bool {
    matches!(lines[0].trim(), "statement error" | "query error")
        && lines.iter().take_while(|l| !l.is_empty()).any(|l| *l == "----")
}

fn until_two_blanks(lines: &[&str]) -> usize {
    let blank = |at: usize| lines.get(at).is_none_or(|l| l.is_empty());
    (0..lines.len()).find(|at| blank(*at) && blank(at + 1)).unwrap_or(lines.len())
}

/// A record of ours: its lines and where they stand.
struct Block<'a> {
    file: &'a Arc<str>,
    /// The first line's number, from 0.
    at: usize,
    lines: &'a [&'a str],
}

impl Block<'_> {
    fn place(&self, at: usize) -> Place {
        Place { file: Arc::clone(self.file), line: at + 1 }
    }

    fn error(&self, at: usize, message: impl Into<String>) -> Error {
        Error::record(self.place(at).to_string(), message)
    }

    fn item(&self, word: &str) -> Result<Item> {
        let words: Vec<&str> = self.lines[0].split_whitespace().skip(1).collect();
        let owned = |w: &[&str]| w.first().map(|w| w.to_string());
        Ok(match (word, &words[..]) {
            ("changes", [names @ .., "rowsort"]) if names.len() < 2 => {
                Item::Changes { name: owned(names), any_order: true, expected: self.expected()? }
            }
            ("changes", names) if names.len() < 2 => {
                Item::Changes { name: owned(names), any_order: false, expected: self.expected()? }
            }
            ("table", names) if names.len() < 2 => Item::Table { name: owned(names), expected: self.expected()? },
            ("late", [count, names @ ..]) if names.len() < 2 => {
                Item::Late { name: owned(names), count: self.number(count)? }
            }
            ("state", [operator, "<=", most, names @ ..]) if names.len() < 2 => {
                Item::State { operator: operator.to_string(), name: owned(names), most: self.number(most)? }
            }
            ("tolerates", [what @ ("disorder" | "duplicates"), tables @ ..]) => {
                let tables = tables.iter().map(|t| t.trim_end_matches(',').to_string()).collect();
                Item::Tolerates { disorder: *what == "disorder", tables }
            }
            ("modes", names) if !names.is_empty() => {
                let kinds = names.iter().map(|n| Kind::named(n.trim_end_matches(',')));
                Item::Modes(kinds.collect::<Result<_>>().map_err(|e| self.error(self.at, e.to_string()))?)
            }
            ("script", [path]) => Item::Load(path.to_string()),
            ("step", []) => Item::Step(self.commands(1)?),
            (command, _) if Self::is_command(command) => Item::Step(self.commands(0)?),
            _ => return Err(self.unreadable(self.at)),
        })
    }

    fn is_command(word: &str) -> bool {
        ["push", "watermark", "clock", "idle", "active", "end"].contains(&word)
    }

    /// The commands from a line on; rows follow their `push`.
    fn commands(&self, from: usize) -> Result<Vec<(Place, Command)>> {
        let mut commands: Vec<(Place, Command)> = Vec::new();
        for (line, at) in self.lines.iter().zip(self.at..).skip(from) {
            let line = line.trim();
            let word = line.split_whitespace().next().unwrap_or_default();
            // Behind a push that stands by itself there are rows only.
            let is_command = Self::is_command(word) && (from == 1 || at == self.at);
            match commands.last_mut() {
                _ if line.starts_with('#') => {}
                Some((_, Command::Push { rows, .. })) if !is_command => rows.push((at, line.to_string())),
                _ => commands.push((self.place(at), self.command(line, at)?)),
            }
        }
        Ok(commands)
    }

    fn command(&self, line: &str, at: usize) -> Result<Command> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let (table, time) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let here = |e: Error| self.error(at, e.to_string());
        let table = || table.to_string();
        Ok(match (word, rest.is_empty(), time.is_empty()) {
            ("push", false, true) => Command::Push { table: table(), rows: Vec::new() },
            ("watermark", false, false) => Command::Watermark { table: table(), millis: millis(time).map_err(here)? },
            ("clock", false, _) => Command::Clock(match rest.strip_prefix('+') {
                Some(by) => ClockMove::By(span(by).map_err(here)?),
                None => ClockMove::To(millis(rest).map_err(here)?),
            }),
            ("idle", false, true) => Command::Idle(table()),
            ("active", false, true) => Command::Active(table()),
            ("end", true, _) => Command::End(None),
            ("end", false, true) => Command::End(Some(table())),
            _ => return Err(self.unreadable(at)),
        })
    }

    /// The lines behind `----`.
    fn expected(&self) -> Result<Lines> {
        match self.lines.get(1) {
            Some(line) if line.trim() == "----" => {
                Ok(Lines { lines: self.lines[2..].iter().map(|l| l.to_string()).collect(), from: self.at + 2 })
            }
            _ => Err(self.error(self.at + 1, "expected ----, and behind it what is expected")),
        }
    }

    fn number(&self, text: &str) -> Result<u64> {
        text.parse().map_err(|_| self.error(self.at, format!("'{text}' is no whole number")))
    }

    fn unreadable(&self, at: usize) -> Error {
        let line = self.lines.get(at - self.at).copied().unwrap_or_default().trim();
        let form = match line.split_whitespace().next().unwrap_or_default() {
            "push" => "push TABLE, and below it rows",
            "step" => "step, and below it push, watermark, clock, idle, active and end",
            "watermark" => "watermark TABLE '2024-01-01 00:00:10'",
            "clock" => "clock +10 s, or clock '2024-01-01 00:00:10'",
            "idle" | "active" => "idle TABLE, active TABLE",
            "end" => "end, or end TABLE",
            "changes" => "changes [NAME] [rowsort]",
            "table" => "table [NAME]",
            "late" => "late COUNT [NAME]",
            "state" => "state OPERATOR <= ROWS [NAME]",
            "tolerates" => "tolerates disorder [TABLE …], or tolerates duplicates [TABLE …]",
            "modes" => "modes MODE …",
            "script" => "script FILE",
            _ => "push, watermark, clock, idle, active or end",
        };
        self.error(at, format!("'{line}' cannot be read; expected: {form}"))
    }
}
