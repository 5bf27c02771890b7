//! How texts are written in bytes.

use crate::{Error, Result};

/// A charset, under its name in Java.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// By a mark at the beginning, without one big-endian; written with the mark.
    Utf16,
    Utf16Be,
    Utf16Le,
}

impl Charset {
    pub(super) const NAMES: [(&'static str, Charset); 6] = [
        ("UTF-8", Charset::Utf8),
        ("US-ASCII", Charset::Ascii),
        ("ISO-8859-1", Charset::Latin1),
        ("UTF-16", Charset::Utf16),
        ("UTF-16BE", Charset::Utf16Be),
        ("UTF-16LE", Charset::Utf16Le),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, charset)| charset)
    }

    /// The text of some bytes, which may be put into `text`. Unlike Java's, it replaces nothing: what is no text is an error.
    pub(super) fn decode<'a>(self, bytes: &'a [u8], text: &'a mut String) -> Result<&'a str, String> {
        text.clear();
        match self {
            Charset::Utf8 => return std::str::from_utf8(bytes).map_err(|_| "no valid UTF-8".into()),
            Charset::Ascii if bytes.is_ascii() => return std::str::from_utf8(bytes).map_err(|e| e.to_string()),
            Charset::Ascii => return Err("no valid US-ASCII".into()),
            Charset::Latin1 => text.extend(bytes.iter().map(|b| char::from(*b))),
            Charset::Utf16 => match bytes {
                [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes, text)?,
                [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes, text)?,
                _ => utf16(bytes, u16::from_be_bytes, text)?,
            },
            Charset::Utf16Be => utf16(bytes, u16::from_be_bytes, text)?,
            Charset::Utf16Le => utf16(bytes, u16::from_le_bytes, text)?,
        }
        Ok(text)
    }

    /// Appends the bytes of a text.
    ///
    /// # Errors
    /// When the charset lacks a character.
    pub(super) fn encode(self, text: &str, out: &mut Vec<u8>) -> Result<()> {
        let lacking = |name: &str| Error::Execution(format!("raw: the charset {name} cannot express '{text}'"));
        match self {
            Charset::Utf8 => out.extend_from_slice(text.as_bytes()),
            Charset::Ascii if text.is_ascii() => out.extend_from_slice(text.as_bytes()),
            Charset::Ascii => return Err(lacking("US-ASCII")),
            Charset::Latin1 => {
                for c in text.chars() {
                    out.push(u8::try_from(u32::from(c)).map_err(|_| lacking("ISO-8859-1"))?);
                }
            }
            Charset::Utf16 => {
                out.extend_from_slice(&[0xFE, 0xFF]);
                text.encode_utf16().for_each(|unit| out.extend_from_slice(&unit.to_be_bytes()));
            }
            Charset::Utf16Be => text.encode_utf16().for_each(|unit| out.extend_from_slice(&unit.to_be_bytes())),
            Charset::Utf16Le => text.encode_utf16().for_each(|unit| out.extend_from_slice(&unit.to_le_bytes())),
        }
        Ok(())
    }
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16, text: &mut String) -> Result<(), String> {
    let (units, []) = bytes.as_chunks::<2>() else { return Err("UTF-16 of an odd number of bytes".into()) };
    for c in char::decode_utf16(units.iter().map(|u| unit(*u))) {
        text.push(c.map_err(|_| "no valid UTF-16")?);
    }
    Ok(())
}
