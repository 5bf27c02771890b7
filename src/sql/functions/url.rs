//! Parts of texts that have a form: PARSE_URL, SPLIT_INDEX, SPLIT, STR_TO_MAP.

use std::sync::Arc;

use arrow::array::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use datafusion_common::Result;
use datafusion_expr::ColumnarValue;
use regex::Regex;

use super::define::Kind::{Any, Int, Text};
use super::define::{Call, Def, Given, def, is_text, text};

/// The functions of this file.
pub(super) fn functions() -> Vec<Def> {
    vec![
        def(&["parse_url"], &[Text, Text, Text], text, parse_url).optional(2),
        def(&["split_index"], &[Text, Any, Int], text, split_index),
        def(&["split"], &[Text, Text], texts, split),
        def(&["str_to_map"], &[Text, Text, Text], text_map, str_to_map).optional(1),
    ]
}

fn texts(_: &Given) -> Result<DataType> {
    Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))))
}

fn text_map(_: &Given) -> Result<DataType> {
    let entry = [Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    Ok(DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry.into_iter().collect()), false)), false))
}

/// A URL cut into its parts.
struct Url<'a> {
    protocol: &'a str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn new(url: &'a str) -> Option<Self> {
        let (protocol, rest) = url.split_once(':')?;
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(r, f)| (r, Some(f)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?,
            None => ("", rest),
        };
        let valid = protocol.bytes().all(|b| b.is_ascii_alphanumeric()) && !protocol.is_empty();
        valid.then_some(Self { protocol, authority, path, query, fragment })
    }

    fn part(&self, name: &str) -> Option<String> {
        let user = self.authority.rsplit_once('@');
        Some(match name {
            "HOST" => {
                let host = user.map_or(self.authority, |(_, host)| host);
                host.rsplit_once(':').map_or(host, |(host, _)| host).to_string()
            }
            "PATH" => self.path.to_string(),
            "QUERY" => self.query?.to_string(),
            "REF" => self.fragment?.to_string(),
            "PROTOCOL" => self.protocol.to_string(),
            "AUTHORITY" => self.authority.to_string(),
            "USERINFO" => user?.0.to_string(),
            "FILE" => [self.path, self.query.map_or("", |_| "?"), self.query.unwrap_or("")].concat(),
            _ => return None,
        })
    }

    fn parameter(&self, key: &str) -> Option<String> {
        let pairs = self.query?.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(k, _)| *k == key).map(|(_, v)| v.to_string()).next()
    }
}

fn parse_url(c: &Call) -> Result<ColumnarValue> {
    let (urls, parts, keys) = (c.text(0)?, c.text(1)?, c.optional_text(2)?);
    c.texts(|i| {
        let (url, part) = (Url::new(urls.get(i)?)?, parts.get(i)?);
        match &keys {
            Some(keys) if part == "QUERY" => url.parameter(keys.get(i)?),
            Some(_) => None,
            None => url.part(part),
        }
    })
}

/// The separator may be the code of a character.
fn split_index(c: &Call) -> Result<ColumnarValue> {
    let (s, index) = (c.text(0)?, c.primitive::<Int32Type>(2)?);
    if is_text(&c.type_of(1)?) {
        let separators = c.text(1)?;
        return c.texts(|i| piece(s.get(i)?, separators.get(i)?, index.get(i)?));
    }
    let (codes, constant) = c.array(1)?;
    let codes = arrow::compute::cast(&codes, &DataType::Int64)?;
    let codes = super::define::Column::new(arrow::array::AsArray::as_primitive::<Int64Type>(&codes).clone(), constant);
    c.texts(|i| {
        let separator = char::from_u32(u32::try_from(codes.get(i)?).ok()?)?;
        piece(s.get(i)?, separator.encode_utf8(&mut [0; 4]), index.get(i)?)
    })
}

fn piece<'a>(s: &'a str, separator: &str, index: i32) -> Option<&'a str> {
    let index = usize::try_from(index).ok()?;
    if s.is_empty() {
        return None;
    }
    if separator.is_empty() {
        return if index == 0 { Some(s) } else { None };
    }
    match separator.as_bytes() {
        [byte] => piece_by_byte(s, *byte, index),
        _ => s.split(separator).nth(index),
    }
}

/// Most separators are one byte, most texts short: going through the bytes is cheaper than making a search ready.
fn piece_by_byte(s: &str, separator: u8, index: usize) -> Option<&str> {
    let mut found = s.bytes().enumerate().filter(|(_, b)| *b == separator).map(|(at, _)| at);
    let start = if index == 0 { 0 } else { found.nth(index - 1)? + 1 };
    s.get(start..found.next().unwrap_or(s.len()))
}

fn split(c: &Call) -> Result<ColumnarValue> {
    let (s, separators) = (c.text(0)?, c.text(1)?);
    let mut builder = ListBuilder::new(StringBuilder::new());
    for i in 0..c.rows {
        match s.get(i).zip(separators.get(i)) {
            Some((s, "")) => builder.append_value(s.chars().map(|ch| Some(ch.to_string()))),
            Some((s, separator)) => builder.append_value(s.split(separator).map(Some)),
            None => builder.append_null(),
        }
    }
    c.answer(Arc::new(builder.finish()))
}

/// The delimiters are regular expressions.
fn str_to_map(c: &Call) -> Result<ColumnarValue> {
    let (s, pairs, keys) = (c.text(0)?, c.optional_text(1)?, c.optional_text(2)?);
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for i in 0..c.rows {
        let delimiter = |given: &Option<super::define::Column<arrow::array::StringArray>>, default: &str| match given {
            Some(given) => Regex::new(given.get(i)?).ok(),
            None => Regex::new(default).ok(),
        };
        let parts = s.get(i).zip(delimiter(&pairs, ",")).zip(delimiter(&keys, "="));
        let Some(((s, pairs), keys)) = parts else {
            builder.append(false)?;
            continue;
        };
        let mut found = indexmap::IndexMap::new();
        for pair in pairs.split(s) {
            let mut sides = keys.splitn(pair, 2);
            if let Some(key) = sides.next() {
                found.insert(key, sides.next());
            }
        }
        for (key, value) in found {
            builder.keys().append_value(key);
            builder.values().append_option(value);
        }
        builder.append(true)?;
    }
    c.answer(Arc::new(builder.finish()))
}
