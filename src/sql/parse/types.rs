//! Flink's types.

use datafusion_sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryLength, CharacterLength, DataType, ExactNumberInfo, Ident, IntervalFields, ObjectName,
    StructBracketKind, StructField, TimezoneInfo,
};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::words::{Parsed, eat, fail_at, is_word, name, need, peek_text, text};
use crate::sql::ast::{RowField, TypeName};

/// How deep types may be nested.
const MAX_DEPTH: usize = 32;

/// A type, with `NOT NULL` of its parts but not its own.
pub(super) fn data_type(p: &mut Parser) -> Parsed<TypeName> {
    Reader { depth: 0, closed: 0 }.checked(p)
}

/// A type as sqlparser has it: `ROW` as a struct, `MULTISET<t>` as the custom type `MULTISET(t)`, `TIMESTAMP_LTZ(p)` as a custom type with
/// its precision, and without the NOT NULL of parts.
pub fn to_sqlparser(t: &TypeName) -> DataType {
    match t {
        TypeName::Simple(simple) => simple.clone(),
        TypeName::Array(element) => DataType::Array(ArrayElemTypeDef::AngleBracket(Box::new(to_sqlparser(element)))),
        TypeName::Multiset(element) => custom("MULTISET", vec![to_sqlparser(element).to_string()]),
        TypeName::Map(key, value) => DataType::Map(Box::new(to_sqlparser(key)), Box::new(to_sqlparser(value))),
        TypeName::Row(fields) => {
            let field = |f: &RowField| StructField {
                field_name: Some(f.name.clone()),
                field_type: to_sqlparser(&f.data_type),
                options: None,
            };
            DataType::Struct(fields.iter().map(field).collect(), StructBracketKind::AngleBrackets)
        }
        TypeName::TimestampLtz(precision) => custom("TIMESTAMP_LTZ", vec![precision.to_string()]),
        TypeName::NotNull(inner) => to_sqlparser(inner),
    }
}

fn custom(name: &str, modifiers: Vec<String>) -> DataType {
    DataType::Custom(ObjectName::from(vec![Ident::new(name)]), modifiers)
}

/// Reads one type. `>>` closes two types at once; the second closing is remembered in `closed`.
struct Reader {
    depth: usize,
    closed: usize,
}

impl Reader {
    fn checked(&mut self, p: &mut Parser) -> Parsed<TypeName> {
        let t = self.read(p)?;
        if self.closed > 0 {
            return fail_at(&p.get_current_token().clone(), "unexpected '>' behind the type");
        }
        Ok(t)
    }

    fn read(&mut self, p: &mut Parser) -> Parsed<TypeName> {
        self.depth += 1;
        let token = p.peek_token();
        if self.depth > MAX_DEPTH {
            return fail_at(&token, format!("types are nested more than {MAX_DEPTH} deep"));
        }
        let mut t = self.base(p)?;
        let mut wraps = 0;
        loop {
            let wrap = if eat(p, &["ARRAY"]) {
                TypeName::Array
            } else if eat(p, &["MULTISET"]) {
                TypeName::Multiset
            } else {
                break;
            };
            wraps += 1;
            if wraps + self.depth > MAX_DEPTH {
                return fail_at(&token, format!("types are nested more than {MAX_DEPTH} deep"));
            }
            t = wrap(Box::new(t));
        }
        self.depth -= 1;
        Ok(t)
    }

    /// A part of a type: with `NULL` or `NOT NULL`.
    fn part(&mut self, p: &mut Parser) -> Parsed<TypeName> {
        let t = self.read(p)?;
        if self.closed == 0 && eat(p, &["NOT", "NULL"]) {
            return Ok(TypeName::NotNull(Box::new(t)));
        }
        if self.closed == 0 {
            eat(p, &["NULL"]);
        }
        Ok(t)
    }

    fn base(&mut self, p: &mut Parser) -> Parsed<TypeName> {
        let token = p.next_token();
        let Token::Word(word) = &token.token else { return p.expected("a type", token) };
        let simple = match word.value.to_ascii_uppercase().as_str() {
            "ARRAY" => return self.angled(p, |r, p| Ok(TypeName::Array(Box::new(r.part(p)?)))),
            "MULTISET" => return self.angled(p, |r, p| Ok(TypeName::Multiset(Box::new(r.part(p)?)))),
            "MAP" => return self.angled(p, Self::map),
            "ROW" => return self.row(p),
            "TIMESTAMP" => return timestamp(p),
            "TIMESTAMP_LTZ" => return Ok(TypeName::TimestampLtz(precision(p, 9)?.unwrap_or(6))),
            "CHAR" | "CHARACTER" | "VARCHAR" => characters(p, &token)?,
            "BINARY" => DataType::Binary(length(p)?),
            "VARBINARY" => DataType::Varbinary(length(p)?.map(|n| BinaryLength::IntegerLength { length: n })),
            "DECIMAL" | "DEC" | "NUMERIC" => DataType::Decimal(decimal(p)?),
            "TIME" => time(p)?,
            "INTERVAL" => interval(p)?,
            "DOUBLE" => {
                eat(p, &["PRECISION"]);
                DataType::Double(ExactNumberInfo::None)
            }
            "RAW" => return fail_at(&token, "RAW types hold Java objects and are not supported"),
            other => fixed(other).map_or_else(|| unknown(&token, &word.value), Ok)?,
        };
        Ok(TypeName::Simple(simple))
    }

    fn angled(&mut self, p: &mut Parser, inside: fn(&mut Self, &mut Parser) -> Parsed<TypeName>) -> Parsed<TypeName> {
        p.expect_token(&Token::Lt)?;
        let t = inside(self, p)?;
        self.close(p)?;
        Ok(t)
    }

    fn close(&mut self, p: &mut Parser) -> Parsed<()> {
        if self.closed > 0 {
            self.closed -= 1;
        } else if p.consume_token(&Token::ShiftRight) {
            self.closed = 1;
        } else {
            p.expect_token(&Token::Gt)?;
        }
        Ok(())
    }

    fn map(&mut self, p: &mut Parser) -> Parsed<TypeName> {
        let key = self.part(p)?;
        p.expect_token(&Token::Comma)?;
        Ok(TypeName::Map(Box::new(key), Box::new(self.part(p)?)))
    }

    fn row(&mut self, p: &mut Parser) -> Parsed<TypeName> {
        let angled = p.consume_token(&Token::Lt);
        if !angled {
            p.expect_token(&Token::LParen)?;
        }
        let mut fields = vec![];
        loop {
            let name = name(p, "the name of a field")?;
            let data_type = self.part(p)?;
            if self.closed == 0 && peek_text(p) {
                text(p, "a comment")?;
            }
            fields.push(RowField { name, data_type });
            if self.closed > 0 || !p.consume_token(&Token::Comma) {
                break;
            }
        }
        if angled {
            self.close(p)?;
        } else if self.closed > 0 {
            return fail_at(&p.get_current_token().clone(), "unexpected '>' in a type");
        } else {
            p.expect_token(&Token::RParen)?;
        }
        Ok(TypeName::Row(fields))
    }
}

fn fixed(name: &str) -> Option<DataType> {
    Some(match name {
        "BOOLEAN" => DataType::Boolean,
        "TINYINT" => DataType::TinyInt(None),
        "SMALLINT" => DataType::SmallInt(None),
        "INT" | "INTEGER" => DataType::Int(None),
        "BIGINT" => DataType::BigInt(None),
        "FLOAT" => DataType::Float(ExactNumberInfo::None),
        "STRING" => DataType::String(None),
        "BYTES" => DataType::Bytes(None),
        "DATE" => DataType::Date,
        "NULL" => custom("NULL", vec![]),
        _ => return None,
    })
}

fn unknown<T>(token: &TokenWithSpan, name: &str) -> Parsed<T> {
    match crate::table::options::nearest(&name.to_ascii_uppercase(), NAMES) {
        Some(known) => fail_at(token, format!("unknown type {name}; did you mean {known}?")),
        None => fail_at(token, format!("unknown type {name}")),
    }
}

const NAMES: [&str; 25] = [
    "ARRAY",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "BYTES",
    "CHAR",
    "DATE",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "INTEGER",
    "INTERVAL",
    "MAP",
    "MULTISET",
    "NUMERIC",
    "ROW",
    "SMALLINT",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "VARBINARY",
    "VARCHAR",
];

/// `(n)`, at least 1.
fn length(p: &mut Parser) -> Parsed<Option<u64>> {
    if !p.consume_token(&Token::LParen) {
        return Ok(None);
    }
    let token = p.peek_token();
    let n = p.parse_literal_uint()?;
    if n == 0 || n > i32::MAX as u64 {
        return fail_at(&token, format!("a length is from 1 to {}, not {n}", i32::MAX));
    }
    p.expect_token(&Token::RParen)?;
    Ok(Some(n))
}

/// `(p)`, up to `max`.
fn precision(p: &mut Parser, max: u8) -> Parsed<Option<u8>> {
    if !p.consume_token(&Token::LParen) {
        return Ok(None);
    }
    let digits = digits(p, 0, max, "precision")?;
    p.expect_token(&Token::RParen)?;
    Ok(Some(digits))
}

fn digits(p: &mut Parser, min: u8, max: u8, what: &str) -> Parsed<u8> {
    let token = p.peek_token();
    let n = p.parse_literal_uint()?;
    match u8::try_from(n) {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        _ => fail_at(&token, format!("the {what} is from {min} to {max}, not {n}")),
    }
}

fn characters(p: &mut Parser, token: &TokenWithSpan) -> Parsed<DataType> {
    let varying = is_word(&token.token, "VARCHAR") || eat(p, &["VARYING"]);
    let length = length(p)?.map(|length| CharacterLength::IntegerLength { length, unit: None });
    Ok(if varying { DataType::Varchar(length) } else { DataType::Char(length) })
}

fn decimal(p: &mut Parser) -> Parsed<ExactNumberInfo> {
    if !p.consume_token(&Token::LParen) {
        return Ok(ExactNumberInfo::None);
    }
    let precision = digits(p, 1, 38, "precision of a DECIMAL")?;
    let info = if p.consume_token(&Token::Comma) {
        let scale = digits(p, 0, precision, "scale of a DECIMAL")?;
        ExactNumberInfo::PrecisionAndScale(precision.into(), scale.into())
    } else {
        ExactNumberInfo::Precision(precision.into())
    };
    p.expect_token(&Token::RParen)?;
    Ok(info)
}

fn time(p: &mut Parser) -> Parsed<DataType> {
    let precision = precision(p, 9)?.map(u64::from);
    if eat(p, &["WITHOUT"]) {
        need(p, &["TIME", "ZONE"])?;
    }
    Ok(DataType::Time(precision, TimezoneInfo::None))
}

fn timestamp(p: &mut Parser) -> Parsed<TypeName> {
    let precision = precision(p, 9)?;
    if eat(p, &["WITH", "LOCAL"]) {
        need(p, &["TIME", "ZONE"])?;
        return Ok(TypeName::TimestampLtz(precision.unwrap_or(6)));
    }
    let with = p.peek_token();
    if eat(p, &["WITH", "TIME", "ZONE"]) {
        return fail_at(&with, "TIMESTAMP WITH TIME ZONE is not supported; use TIMESTAMP_LTZ");
    }
    if eat(p, &["WITHOUT"]) {
        need(p, &["TIME", "ZONE"])?;
    }
    Ok(TypeName::Simple(DataType::Timestamp(precision.map(u64::from), TimezoneInfo::None)))
}

/// `INTERVAL DAY(2) TO SECOND(3)` and the like; the precision kept is that of the seconds.
fn interval(p: &mut Parser) -> Parsed<DataType> {
    use IntervalFields::{
        Day, DayToHour, DayToMinute, DayToSecond, Hour, HourToMinute, HourToSecond, Minute, MinuteToSecond, Month,
        Second, Year, YearToMonth,
    };
    let first = p.next_token();
    let leading = precision(p, 9)?;
    let Some(from) = unit(&first.token) else { return p.expected("YEAR, MONTH, DAY, HOUR, MINUTE or SECOND", first) };
    let to_token = p.peek_nth_token(1);
    let to = if eat(p, &["TO"]) {
        p.advance_token();
        unit(&to_token.token)
    } else {
        Some(from)
    };
    let fraction = if to == Some("SECOND") && from != "SECOND" { precision(p, 9)? } else { None };
    let fields = match (from, to.unwrap_or_default()) {
        ("YEAR", "YEAR") => Year,
        ("YEAR", "MONTH") => YearToMonth,
        ("MONTH", "MONTH") => Month,
        ("DAY", "DAY") => Day,
        ("DAY", "HOUR") => DayToHour,
        ("DAY", "MINUTE") => DayToMinute,
        ("DAY", "SECOND") => DayToSecond,
        ("HOUR", "HOUR") => Hour,
        ("HOUR", "MINUTE") => HourToMinute,
        ("HOUR", "SECOND") => HourToSecond,
        ("MINUTE", "MINUTE") => Minute,
        ("MINUTE", "SECOND") => MinuteToSecond,
        ("SECOND", "SECOND") => Second,
        _ => return fail_at(&to_token, format!("an interval cannot go from {from} to this unit")),
    };
    let precision = if from == "SECOND" { leading } else { fraction };
    Ok(DataType::Interval { fields: Some(fields), precision: precision.map(u64::from) })
}

fn unit(token: &Token) -> Option<&'static str> {
    ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"].into_iter().find(|unit| is_word(token, unit))
}
