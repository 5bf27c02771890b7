//! Reading JSON text, value by value.

use std::borrow::Cow;

/// How deep values may be nested; also what Flink's parser takes.
const MAX_DEPTH: u32 = 1000;

/// Why a record cannot be read.
pub(super) type Reason = String;

/// A place in a text that holds records, one a line, or only one. No value reaches over the end of its line where there are
/// several.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Whether the whole text is one record, and line ends in it are blanks.
    whole: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, whole: false }
    }

    /// The beginning of a text that is one record.
    pub(super) fn whole(text: &'a str) -> Self {
        Self { whole: true, ..Self::new(text) }
    }

    /// The beginning of a part of this text.
    pub(super) fn within(&self, part: &'a str) -> Self {
        Self { whole: self.whole, ..Self::new(part) }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes over the mark that some editors put before UTF-8.
    pub(super) fn skip_byte_order_mark(&mut self) {
        self.at += if self.rest().starts_with('\u{feff}') { 3 } else { 0 };
    }

    /// Goes behind the end of the line.
    pub(super) fn next_line(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |n| n + 1);
        self.depth = 0;
    }

    /// The next byte that is no blank; `\n` at the end of the line or the text.
    pub(super) fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b) = bytes.get(self.at) {
            match b {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' if self.whole => self.at += 1,
                b => return *b,
            }
        }
        b'\n'
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Reason> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(&format!("'{}'", byte as char))) }
    }

    /// What stands here instead of what should.
    pub(super) fn unexpected(&mut self, wanted: &str) -> Reason {
        let found = match self.peek() {
            b'\n' => "the end of the record".into(),
            _ => match self.text.get(self.at..).and_then(|t| t.chars().next()) {
                Some(c) => format!("'{c}'"),
                None => "something else".into(),
            },
        };
        format!("expected {wanted}, found {found}")
    }

    /// Goes into an object or array.
    pub(super) fn enter(&mut self) -> Result<(), Reason> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(format!("nested more than {MAX_DEPTH} deep")) } else { Ok(()) }
    }

    /// Between two members or elements: whether another follows; the closing byte is taken.
    pub(super) fn another(&mut self, close: u8, first: bool) -> Result<bool, Reason> {
        if self.take(close) {
            self.depth -= 1;
            return Ok(false);
        }
        if !first && !self.take(b',') {
            return Err(self.unexpected(&format!("',' or '{}'", close as char)));
        }
        Ok(true)
    }

    /// A member's name and the colon.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, Reason> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a name in quotes"));
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// A string; stands on its opening quote.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Reason> {
        self.at += 1;
        let start = self.at;
        self.plain_chars();
        match self.text.as_bytes().get(self.at) {
            Some(b'"') => {
                let text = self.slice(start);
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            _ => self.escaped(start).map(Cow::Owned),
        }
    }

    fn escaped(&mut self, start: usize) -> Result<String, Reason> {
        let mut out = self.slice(start).to_owned();
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(b'\n') | None => return Err("the record ends within a string".into()),
                Some(b'\r') if matches!(self.text.as_bytes().get(self.at + 1), Some(b'\n') | None) => {
                    return Err("the record ends within a string".into());
                }
                Some(control) => return Err(format!("control character 0x{control:02x} within a string")),
            }
            let from = self.at;
            self.plain_chars();
            out.push_str(self.slice(from));
        }
    }

    fn escape(&mut self) -> Result<char, Reason> {
        self.at += 1;
        let code = self.text.as_bytes().get(self.at).copied().unwrap_or(b'\n');
        if code == b'u' {
            self.at += 1;
            return self.unicode();
        }
        let c = match code {
            b'"' | b'\\' | b'/' => code as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return Err(self.unexpected("an escape after '\\'")),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, Reason> {
        let high = self.hex4()?;
        let code = if (0xD800..0xDC00).contains(&high) && self.rest().starts_with("\\u") {
            self.at += 2;
            let low = self.hex4()?;
            if !(0xDC00..0xE000).contains(&low) {
                return Err("half a surrogate pair".into());
            }
            0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| "half a surrogate pair".into())
    }

    fn hex4(&mut self) -> Result<u32, Reason> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        value.ok_or_else(|| "expected four hexadecimal digits after '\\u'".into())
    }

    /// A number as it is written; stands on its first byte.
    pub(super) fn number(&mut self) -> Result<&'a str, Reason> {
        let start = self.at;
        self.at += usize::from(self.byte() == b'-');
        let first = self.byte();
        let whole = self.digits();
        if whole == 0 || first == b'0' && whole > 1 {
            return Err("a number without digits or with leading zeros".into());
        }
        if self.byte() == b'.' {
            self.at += 1;
            if self.digits() == 0 {
                return Err("a number without digits after its point".into());
            }
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), b'+' | b'-'));
            if self.digits() == 0 {
                return Err("a number without digits in its exponent".into());
            }
        }
        Ok(self.slice(start))
    }

    fn digits(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let n = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += n;
        n
    }

    /// `true`, `false` or `null`.
    pub(super) fn literal(&mut self) -> Result<&'static str, Reason> {
        match ["true", "false", "null"].into_iter().find(|l| self.rest().starts_with(l)) {
            Some(literal) => {
                self.at += literal.len();
                Ok(literal)
            }
            None => Err(self.unexpected("a value")),
        }
    }

    /// Whether `null` stands here; it is taken.
    pub(super) fn take_null(&mut self) -> bool {
        let found = self.peek() == b'n' && self.rest().starts_with("null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// Reads over a value, and hands its text, token by token and so without blanks, to `each`.
    pub(super) fn walk(&mut self, each: &mut impl FnMut(&str)) -> Result<(), Reason> {
        match self.peek() {
            b'{' => {
                self.enter()?;
                each("{");
                let mut first = true;
                while self.another(b'}', first)? {
                    if !first {
                        each(",");
                    }
                    first = false;
                    let start = (self.peek(), self.at).1;
                    self.key()?;
                    each(self.slice(start).trim_end_matches(':').trim_end());
                    each(":");
                    self.walk(each)?;
                }
                each("}");
            }
            b'[' => {
                self.enter()?;
                each("[");
                let mut first = true;
                while self.another(b']', first)? {
                    if !first {
                        each(",");
                    }
                    first = false;
                    self.walk(each)?;
                }
                each("]");
            }
            byte => {
                let start = self.at;
                match byte {
                    b'"' => drop(self.string()?),
                    b'-' | b'0'..=b'9' => drop(self.number()?),
                    _ => drop(self.literal()?),
                }
                each(self.slice(start));
            }
        }
        Ok(())
    }

    /// Reads over a value.
    pub(super) fn skip(&mut self) -> Result<(), Reason> {
        self.walk(&mut |_| ())
    }

    /// Reads over a value and gives its text; `None` for null.
    pub(super) fn text_of_value(&mut self) -> Result<Option<&'a str>, Reason> {
        if self.take_null() {
            return Ok(None);
        }
        self.peek();
        let start = self.at;
        self.skip()?;
        Ok(Some(self.slice(start)))
    }

    /// Goes over characters that stand for themselves, eight at a time.
    fn plain_chars(&mut self) {
        let bytes = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let (words, tail) = bytes.as_chunks::<8>();
        for (i, word) in words.iter().enumerate() {
            let marks = special(u64::from_le_bytes(*word));
            if marks != 0 {
                self.at += i * 8 + (marks.trailing_zeros() / 8) as usize;
                return;
            }
        }
        let plain = tail.iter().take_while(|b| **b >= 0x20 && **b != b'"' && **b != b'\\').count();
        self.at += words.len() * 8 + plain;
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(b'\n')
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn slice(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }
}

/// The high bit of each byte that is a quote, a backslash or a control character. Bytes above the first such one may be
/// marked wrongly, for the subtractions borrow; the first never is.
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let zero = |w: u64| w.wrapping_sub(ONES) & !w;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}
