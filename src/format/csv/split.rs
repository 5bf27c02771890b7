//! Bytes to the values of a record.

use super::Dialect;

/// Where the bytes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RecordStart,
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote within quotes: the end of the value, or the first of two that mean one.
    QuoteEnd,
    Escape {
        quoted: bool,
    },
    /// To the end of the line nothing counts.
    Ignored {
        bad: bool,
    },
}

/// What a step through the bytes ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The bytes are used up.
    More,
    /// A record is complete.
    Record,
    /// A line is over that was no record, because of text behind a closing quote.
    Bad,
}

/// Cuts bytes into records and values, however they come in pieces.
pub(super) struct Splitter {
    dialect: Dialect,
    state: State,
    /// The values of the record, one after another, without their quotes and escapes.
    pub(super) text: Vec<u8>,
    /// Where each value ends, and whether it was quoted.
    pub(super) ends: Vec<(usize, bool)>,
    quoted: bool,
    /// The line of the last byte, from 1.
    line: u64,
    /// The line on which the record began.
    pub(super) record_line: u64,
}

impl Splitter {
    pub(super) fn new(dialect: Dialect) -> Self {
        let (text, ends) = (Vec::new(), Vec::new());
        Self { dialect, state: State::RecordStart, text, ends, quoted: false, line: 1, record_line: 1 }
    }

    /// Goes on to the next event; returns how many bytes were taken. After an event the record's values stay until
    /// the next step.
    pub(super) fn step(&mut self, bytes: &[u8]) -> (usize, Event) {
        if self.state == State::RecordStart {
            self.text.clear();
            self.ends.clear();
        }
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if self.state == State::Plain {
                let run = self.plain_run(&bytes[at..]);
                if run > 0 {
                    self.text.extend_from_slice(&bytes[at..at + run]);
                    at += run;
                    continue;
                }
            }
            at += 1;
            if let Some(event) = self.byte(byte) {
                return (at, event);
            }
        }
        (at, Event::More)
    }

    /// No more bytes come: whether they left a record.
    pub(super) fn finish(&mut self) -> Event {
        let state = std::mem::replace(&mut self.state, State::RecordStart);
        match state {
            State::RecordStart | State::Ignored { bad: false } => Event::More,
            State::Ignored { bad: true } | State::Quoted | State::Escape { .. } => Event::Bad,
            State::FieldStart | State::Plain | State::QuoteEnd => {
                self.end_field();
                Event::Record
            }
        }
    }

    fn plain_run(&self, bytes: &[u8]) -> usize {
        let d = &self.dialect;
        let is_special = |b: &u8| *b == d.delimiter || *b == b'\n' || Some(*b) == d.escape;
        bytes.iter().position(is_special).unwrap_or(bytes.len())
    }

    fn byte(&mut self, byte: u8) -> Option<Event> {
        if self.state == State::RecordStart {
            self.record_line = self.line;
        }
        self.line += u64::from(byte == b'\n');
        let is_escape = Some(byte) == self.dialect.escape && self.dialect.escape != self.dialect.quote;
        match self.state {
            State::RecordStart if byte == b'\n' || byte == b'\r' => None,
            State::RecordStart if byte == b'#' && self.dialect.comments => self.go(State::Ignored { bad: false }),
            State::RecordStart | State::FieldStart if Some(byte) == self.dialect.quote => {
                self.quoted = true;
                self.go(State::Quoted)
            }
            State::RecordStart | State::FieldStart | State::Plain => self.plain(byte, is_escape),
            State::Quoted if is_escape => self.go(State::Escape { quoted: true }),
            State::Quoted if Some(byte) == self.dialect.quote => self.go(State::QuoteEnd),
            State::Quoted => self.push(byte, State::Quoted),
            State::QuoteEnd if Some(byte) == self.dialect.quote => self.push(byte, State::Quoted),
            State::QuoteEnd => self.behind_quote(byte),
            State::Escape { quoted } => self.push(unescaped(byte), if quoted { State::Quoted } else { State::Plain }),
            State::Ignored { bad } if byte == b'\n' => {
                self.state = State::RecordStart;
                bad.then_some(Event::Bad)
            }
            State::Ignored { .. } => None,
        }
    }

    fn plain(&mut self, byte: u8, is_escape: bool) -> Option<Event> {
        match byte {
            b'\n' => self.end_record(),
            _ if byte == self.dialect.delimiter => {
                self.end_field();
                self.go(State::FieldStart)
            }
            _ if is_escape => self.go(State::Escape { quoted: false }),
            _ => self.push(byte, State::Plain),
        }
    }

    fn behind_quote(&mut self, byte: u8) -> Option<Event> {
        match byte {
            b'\n' => self.end_record(),
            b' ' | b'\r' => None,
            _ if byte == self.dialect.delimiter => {
                self.end_field();
                self.go(State::FieldStart)
            }
            _ => self.go(State::Ignored { bad: true }),
        }
    }

    fn go(&mut self, state: State) -> Option<Event> {
        self.state = state;
        None
    }

    fn push(&mut self, byte: u8, state: State) -> Option<Event> {
        self.text.push(byte);
        self.go(state)
    }

    fn end_record(&mut self) -> Option<Event> {
        self.end_field();
        self.state = State::RecordStart;
        Some(Event::Record)
    }

    fn end_field(&mut self) {
        let start = self.ends.last().map_or(0, |e| e.0);
        // A carriage return before the line end is a part of the line end.
        if !self.quoted && self.text.len() > start && self.text.last() == Some(&b'\r') {
            self.text.pop();
        }
        self.ends.push((self.text.len(), std::mem::take(&mut self.quoted)));
    }

    /// Stands at the beginning of bytes that are one record.
    pub(super) fn restart(&mut self) {
        (self.state, self.quoted) = (State::RecordStart, false);
        (self.line, self.record_line) = (1, 1);
    }

    /// A record of one empty value, which no bytes can say within a file.
    pub(super) fn empty_record(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.ends.push((0, false));
    }

    /// Forgets the record under way.
    pub(super) fn abandon(&mut self) {
        self.quoted = false;
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}
