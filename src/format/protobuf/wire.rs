//! Protocol Buffers' encoding, field by field.

use std::ops::Range;

/// How deep groups may be nested; they are only read over.
const MAX_GROUPS: usize = 100;

/// What a field has on the wire. Bytes are told by their place in the message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Raw {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Range<usize>),
}

/// Goes through a message. Every length is held against what is left.
pub(super) struct Wire<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Wire<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next field's number and value; `None` at the end. Groups are read over.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Raw)>, String> {
        while self.at < self.bytes.len() {
            let (number, kind) = self.tag()?;
            match kind {
                3 => self.skip_group(number)?,
                4 => return Err("the end of a group that has not begun".into()),
                kind => return self.value(kind).map(|raw| Some((number, raw))),
            }
        }
        Ok(None)
    }

    fn tag(&mut self) -> Result<(u32, u32), String> {
        let tag = self.varint()?;
        match u32::try_from(tag) {
            Ok(tag) if tag >> 3 > 0 => Ok((tag >> 3, tag & 7)),
            _ => Err(format!("{tag} begins no field")),
        }
    }

    fn value(&mut self, kind: u32) -> Result<Raw, String> {
        Ok(match kind {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(self.fixed64()?),
            2 => {
                let length = self.varint()?;
                let end = usize::try_from(length).ok().and_then(|l| self.at.checked_add(l));
                match end.filter(|end| *end <= self.bytes.len()) {
                    Some(end) => Raw::Bytes(std::mem::replace(&mut self.at, end)..end),
                    None => return Err(format!("{length} bytes should follow, and there are {}", self.rest().len())),
                }
            }
            5 => Raw::Fixed32(self.fixed32()?),
            other => return Err(format!("the wire type {other}, which is none")),
        })
    }

    fn skip_group(&mut self, number: u32) -> Result<(), String> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            match self.tag()? {
                (n, 3) if open.len() < MAX_GROUPS => open.push(n),
                (_, 3) => return Err(format!("groups nested more than {MAX_GROUPS} deep")),
                (n, 4) if n == innermost => drop(open.pop()),
                (_, 4) => return Err("the end of another group than has begun".into()),
                (_, kind) => {
                    self.value(kind)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for (i, byte) in self.rest().iter().enumerate().take(10) {
            if i == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err("a number that does not end, or is too large".into())
    }

    pub(super) fn fixed64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn fixed32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let array = self.rest().first_chunk::<N>().copied().ok_or("a number that is cut off")?;
        self.at += N;
        Ok(array)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

/// Appends a number of any length.
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field's number and wire type.
pub(super) fn put_tag(number: u32, kind: u32, out: &mut Vec<u8>) {
    put_varint(u64::from(number << 3 | kind), out);
}

/// Appends what `write` writes, behind its length.
pub(super) fn put_sized<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = out.len();
    write(out)?;
    let mut length = (out.len() - start) as u64;
    // The length stands before what it measures: room is made for it, of as many bytes as it takes.
    let mut header = [0u8; 10];
    let mut size = 0;
    for place in &mut header {
        *place = length as u8 & 0x7F;
        size += 1;
        length >>= 7;
        if length == 0 {
            break;
        }
        *place |= 0x80;
    }
    let end = out.len();
    out.resize(end + size, 0);
    out.copy_within(start..end, start + size);
    if let (Some(room), Some(header)) = (out.get_mut(start..start + size), header.get(..size)) {
        room.copy_from_slice(header);
    }
    Ok(())
}
