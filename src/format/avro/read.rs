//! Avro's binary encoding, read value by value.

use super::schema::{Schema, Type, TypeId};

/// How deep values may be nested; only types that name themselves reach it.
const MAX_DEPTH: u32 = 500;

/// Items that take no bytes and are accepted all the same, in one message.
const EMPTY_ITEMS: usize = 1024;

/// Bytes to be read. Every length in them is held against what is left.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// How many items of arrays and maps may still come.
    items: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, items: bytes.len() + EMPTY_ITEMS, depth: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(format!("{count} bytes should follow, and there are {}", self.rest.len())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "too short".into())
    }

    pub(super) fn boolean(&mut self) -> Result<bool, String> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("{other} is no truth value")),
        }
    }

    pub(super) fn long(&mut self) -> Result<i64, String> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(i + 1..).unwrap_or_default();
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("a number that does not end, or is too large".into())
    }

    pub(super) fn int(&mut self) -> Result<i32, String> {
        let long = self.long()?;
        long.try_into().map_err(|_| format!("{long} is no int"))
    }

    pub(super) fn float(&mut self) -> Result<f32, String> {
        self.array().map(f32::from_le_bytes)
    }

    pub(super) fn double(&mut self) -> Result<f64, String> {
        self.array().map(f64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| format!("a length of {length}"))?)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "no valid UTF-8".into())
    }

    /// How many items the next block of an array or map has; 0 at its end.
    pub(super) fn block(&mut self) -> Result<usize, String> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        self.items = self.items.checked_sub(count).ok_or_else(|| format!("{count} items in so few bytes"))?;
        Ok(count)
    }

    /// Goes into a value's parts.
    pub(super) fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(format!("nested more than {MAX_DEPTH} deep")) } else { Ok(()) }
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Which branch of a union follows.
    pub(super) fn branch<'b, T>(&mut self, branches: &'b [T]) -> Result<&'b T, String> {
        let index = self.long()?;
        let branch = usize::try_from(index).ok().and_then(|i| branches.get(i));
        branch.ok_or_else(|| format!("branch {index} of a union of {}", branches.len()))
    }

    /// Reads over a value.
    pub(super) fn skip(&mut self, schema: &Schema, id: TypeId) -> Result<(), String> {
        self.enter()?;
        match schema.get(id) {
            Type::Null => {}
            Type::Boolean => drop(self.boolean()?),
            Type::Int(_) | Type::Long(_) | Type::Enum(_) => drop(self.long()?),
            Type::Float => drop(self.take(4)?),
            Type::Double => drop(self.take(8)?),
            Type::Bytes(_) | Type::Text => drop(self.bytes()?),
            Type::Fixed(size, _) => drop(self.take(*size)?),
            Type::Array(item) => loop {
                match self.block()? {
                    0 => break,
                    count => (0..count).try_for_each(|_| self.skip(schema, *item))?,
                }
            },
            Type::Map(value) => loop {
                match self.block()? {
                    0 => break,
                    count => (0..count).try_for_each(|_| {
                        self.bytes()?;
                        self.skip(schema, *value)
                    })?,
                }
            },
            Type::Union(branches) => {
                let branch = *self.branch(branches)?;
                self.skip(schema, branch)?;
            }
            Type::Record(fields) => fields.iter().try_for_each(|f| self.skip(schema, f.id))?,
        }
        self.leave();
        Ok(())
    }
}
