//! Strings. Positions count characters from 1; NULL in, NULL out.

use std::borrow::Cow;

use arrow::datatypes::{Int32Type, Int64Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion_common::Result;
use datafusion_expr::ColumnarValue;

use super::define::Kind::{Int, Text};
use super::define::{Call, Def, boolean, def, int, text};

/// The longest text that REPEAT, LPAD and RPAD make, in bytes.
const LONGEST: usize = 64 << 20;

/// The functions of this file.
pub(super) fn functions() -> Vec<Def> {
    vec![
        def(&["char_length", "character_length"], &[Text], int, char_length),
        def(&["position"], &[Text, Text], int, |c| find(c, 0, 1)),
        def(&["instr"], &[Text, Text], int, |c| find(c, 1, 0)),
        def(&["locate"], &[Text, Text, Int], int, |c| find(c, 0, 1)).optional(2),
        def(&["ltrim"], &[Text, Text], text, |c| trim(c, true, false)).optional(1),
        def(&["rtrim"], &[Text, Text], text, |c| trim(c, false, true)).optional(1),
        def(&["btrim", "trim"], &[Text, Text], text, |c| trim(c, true, true)).optional(1),
        def(&["repeat"], &[Text, Int], text, repeat),
        def(&["overlay"], &[Text, Text, Int, Int], text, overlay).optional(3),
        def(&["substring", "substr"], &[Text, Int, Int], text, substring).optional(2),
        def(&["replace"], &[Text, Text, Text], text, replace),
        def(&["translate"], &[Text, Text, Text], text, translate),
        def(&["to_base64"], &[Text], text, to_base64),
        def(&["from_base64"], &[Text], text, from_base64),
        def(&["ascii"], &[Text], int, ascii),
        def(&["chr"], &[super::define::Kind::BigInt], text, chr),
        def(&["lpad"], &[Text, Int, Text], text, |c| pad(c, true)),
        def(&["rpad"], &[Text, Int, Text], text, |c| pad(c, false)),
        def(&["initcap"], &[Text], text, initcap),
        def(&["concat"], &[Text], text, concat).variadic(),
        def(&["concat_ws"], &[Text], text, concat_ws).variadic(),
        def(&["reverse"], &[Text], text, reverse),
        def(&["left"], &[Text, Int], text, left),
        def(&["right"], &[Text, Int], text, right),
        def(&["startswith"], &[Text, Text], boolean, |c| compare(c, |s, p| s.starts_with(p))),
        def(&["endswith"], &[Text, Text], boolean, |c| compare(c, |s, p| s.ends_with(p))),
        def(&["is_alpha"], &[Text], boolean, |c| check(c, |s| s.chars().all(char::is_alphabetic))),
        def(&["is_digit"], &[Text], boolean, |c| check(c, |s| s.chars().all(char::is_numeric))),
        def(&["is_decimal"], &[Text], boolean, |c| check(c, |s| s.trim().parse::<f64>().is_ok_and(f64::is_finite))),
        def(&["url_encode"], &[Text], text, url_encode),
        def(&["url_decode"], &[Text], text, url_decode),
    ]
}

fn char_length(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.primitives::<Int32Type>(|i| s.get(i).map(count))
}

fn count(s: &str) -> i32 {
    let n = if s.is_ascii() { s.len() } else { s.chars().count() };
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// The byte where character number `n` (from 0) begins; the end if there is none.
fn byte_of(s: &str, n: usize) -> usize {
    if s.is_ascii() { n.min(s.len()) } else { s.char_indices().nth(n).map_or(s.len(), |(at, _)| at) }
}

fn find(c: &Call, needle: usize, hay: usize) -> Result<ColumnarValue> {
    let (needle, hay, from) = (c.text(needle)?, c.text(hay)?, c.optional::<Int32Type>(2)?);
    c.primitives::<Int32Type>(|i| {
        let (needle, hay) = (needle.get(i)?, hay.get(i)?);
        let from = match &from {
            Some(f) => f.get(i)?,
            None => 1,
        };
        let Ok(skipped) = usize::try_from(i64::from(from) - 1) else { return Some(0) };
        let start = byte_of(hay, skipped);
        let Some(at) = hay.get(start..).and_then(|rest| rest.find(needle)) else { return Some(0) };
        Some(hay.get(..start + at).map_or(0, count) + 1)
    })
}

fn trim(c: &Call, start: bool, end: bool) -> Result<ColumnarValue> {
    let (s, set) = (c.text(0)?, c.optional_text(1)?);
    c.texts(|i| {
        let mut s = s.get(i)?;
        let set = match &set {
            Some(set) => set.get(i)?,
            None => " ",
        };
        if start {
            s = s.trim_start_matches(|ch| set.contains(ch));
        }
        if end {
            s = s.trim_end_matches(|ch| set.contains(ch));
        }
        Some(s)
    })
}

fn repeat(c: &Call) -> Result<ColumnarValue> {
    let (s, n) = (c.text(0)?, c.primitive::<Int32Type>(1)?);
    c.texts(|i| {
        let (s, n) = (s.get(i)?, usize::try_from(n.get(i)?).unwrap_or(0));
        (s.len().saturating_mul(n) <= LONGEST).then(|| s.repeat(n))
    })
}

fn overlay(c: &Call) -> Result<ColumnarValue> {
    let (s, what, from, len) = (c.text(0)?, c.text(1)?, c.primitive::<Int32Type>(2)?, c.optional::<Int32Type>(3)?);
    c.texts(|i| {
        let (s, what, from) = (s.get(i)?, what.get(i)?, from.get(i)?);
        let len = match &len {
            Some(len) => len.get(i)?,
            None => count(what),
        };
        let Ok(at) = usize::try_from(i64::from(from) - 1) else { return Some(Cow::Borrowed(s)) };
        if i64::from(from) > i64::from(count(s)) {
            return Some(Cow::Borrowed(s));
        }
        let after = if len < 0 { usize::MAX } else { at + usize::try_from(len).unwrap_or(0) };
        let (head, tail) = (s.get(..byte_of(s, at))?, s.get(byte_of(s, after)..)?);
        Some(Cow::Owned([head, what, tail].concat()))
    })
}

fn substring(c: &Call) -> Result<ColumnarValue> {
    let (s, from, len) = (c.text(0)?, c.primitive::<Int32Type>(1)?, c.optional::<Int32Type>(2)?);
    c.texts(|i| {
        let (s, from) = (s.get(i)?, from.get(i)?);
        let len = match &len {
            Some(len) => usize::try_from(len.get(i)?).ok()?,
            None => usize::MAX,
        };
        let start = match usize::try_from(from) {
            Ok(from) => from.saturating_sub(1),
            Err(_) => match usize::try_from(i64::from(count(s)) + i64::from(from)) {
                Ok(start) => start,
                Err(_) => return Some(""),
            },
        };
        let rest = s.get(byte_of(s, start)..)?;
        rest.get(..byte_of(rest, len))
    })
}

fn replace(c: &Call) -> Result<ColumnarValue> {
    let (s, from, to) = (c.text(0)?, c.text(1)?, c.text(2)?);
    c.texts(|i| Some(s.get(i)?.replace(from.get(i)?, to.get(i)?)))
}

fn translate(c: &Call) -> Result<ColumnarValue> {
    let (s, from, to) = (c.text(0)?, c.text(1)?, c.text(2)?);
    c.texts(|i| {
        let (s, from, to) = (s.get(i)?, from.get(i)?, to.get(i)?);
        let other = |ch: char| match from.chars().position(|f| f == ch) {
            Some(at) => to.chars().nth(at),
            None => Some(ch),
        };
        Some(s.chars().filter_map(other).collect::<String>())
    })
}

fn to_base64(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.texts(|i| Some(STANDARD.encode(s.get(i)?)))
}

fn from_base64(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.texts(|i| String::from_utf8(STANDARD.decode(s.get(i)?.trim()).ok()?).ok())
}

/// The first byte, signed, as Flink answers it.
fn ascii(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.primitives::<Int32Type>(|i| Some(s.get(i)?.bytes().next().map_or(0, |b| i32::from(b.cast_signed()))))
}

fn chr(c: &Call) -> Result<ColumnarValue> {
    let n = c.primitive::<Int64Type>(0)?;
    c.texts(|i| {
        let n = n.get(i)?;
        let code = u8::try_from(n & 0xff).unwrap_or(0);
        Some(if n < 0 { String::new() } else { char::from(code).to_string() })
    })
}

fn pad(c: &Call, left: bool) -> Result<ColumnarValue> {
    let (s, len, with) = (c.text(0)?, c.primitive::<Int32Type>(1)?, c.text(2)?);
    c.texts(|i| {
        let (s, len, with) = (s.get(i)?, usize::try_from(len.get(i)?).ok()?, with.get(i)?);
        let missing = len.saturating_sub(s.chars().count());
        if with.is_empty() || missing.saturating_mul(4) > LONGEST {
            return None;
        }
        let padding: String = with.chars().cycle().take(missing).collect();
        let kept = s.get(..byte_of(s, len))?;
        Some(if left { padding + kept } else { [kept, &padding].concat() })
    })
}

fn initcap(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.texts(|i| {
        let mut inside = false;
        let one = |ch: char| {
            let cased = if inside { ch.to_ascii_lowercase() } else { ch.to_ascii_uppercase() };
            inside = ch.is_alphanumeric();
            cased
        };
        Some(s.get(i)?.chars().map(one).collect::<String>())
    })
}

fn concat(c: &Call) -> Result<ColumnarValue> {
    let parts = (0..c.len()).map(|i| c.text(i)).collect::<Result<Vec<_>>>()?;
    c.texts(|i| parts.iter().map(|p| p.get(i)).collect::<Option<String>>())
}

fn concat_ws(c: &Call) -> Result<ColumnarValue> {
    let separator = c.text(0)?;
    let parts = (1..c.len()).map(|i| c.text(i)).collect::<Result<Vec<_>>>()?;
    c.texts(|i| {
        let given: Vec<&str> = parts.iter().filter_map(|p| p.get(i)).collect();
        Some(given.join(separator.get(i)?))
    })
}

fn reverse(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.texts(|i| Some(s.get(i)?.chars().rev().collect::<String>()))
}

fn left(c: &Call) -> Result<ColumnarValue> {
    let (s, n) = (c.text(0)?, c.primitive::<Int32Type>(1)?);
    c.texts(|i| {
        let (s, n) = (s.get(i)?, usize::try_from(n.get(i)?).unwrap_or(0));
        s.get(..byte_of(s, n))
    })
}

fn right(c: &Call) -> Result<ColumnarValue> {
    let (s, n) = (c.text(0)?, c.primitive::<Int32Type>(1)?);
    c.texts(|i| {
        let (s, n) = (s.get(i)?, usize::try_from(n.get(i)?).unwrap_or(0));
        s.get(byte_of(s, s.chars().count().saturating_sub(n))..)
    })
}

fn compare(c: &Call, f: fn(&str, &str) -> bool) -> Result<ColumnarValue> {
    let (s, part) = (c.text(0)?, c.text(1)?);
    c.bools(|i| Some(f(s.get(i)?, part.get(i)?)))
}

/// False for NULL and for empty text.
fn check(c: &Call, f: fn(&str) -> bool) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.bools(|i| Some(s.get(i).is_some_and(|s| !s.is_empty() && f(s))))
}

fn url_encode(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.texts(|i| Some(s.get(i)?.bytes().map(encode_byte).collect::<String>()))
}

fn encode_byte(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => char::from(byte).to_string(),
        b' ' => "+".to_string(),
        _ => format!("%{byte:02X}"),
    }
}

fn url_decode(c: &Call) -> Result<ColumnarValue> {
    let s = c.text(0)?;
    c.texts(|i| decode(s.get(i)?))
}

/// Undoes the encoding of URLs; nothing when it is none.
pub(super) fn decode(s: &str) -> Option<String> {
    let mut bytes = s.bytes();
    let mut out = Vec::with_capacity(s.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit(bytes.next()?)? * 16 + digit(bytes.next()?)?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}
