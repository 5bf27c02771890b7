//! Random tables and their changelogs: rows that come, change and go, valid at every prefix.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Schema};
use millstream::change::{ChangeBatch, RowKind};
use rand::Rng;

use super::Random;

/// What can be done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Big,
    Text,
    Double,
    Decimal,
    Bool,
    Date,
    Time,
    /// Only carried along: lists, and floats whose last digits are up to the order of the rows.
    Opaque,
}

impl Kind {
    pub const ALL: [Kind; 8] =
        [Kind::Int, Kind::Big, Kind::Text, Kind::Double, Kind::Decimal, Kind::Bool, Kind::Date, Kind::Time];

    /// The kind of a column that was planned.
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int32 => Kind::Int,
            DataType::Int64 => Kind::Big,
            DataType::Utf8 => Kind::Text,
            DataType::Float64 => Kind::Double,
            DataType::Decimal128(..) => Kind::Decimal,
            DataType::Boolean => Kind::Bool,
            DataType::Date32 => Kind::Date,
            DataType::Timestamp(..) => Kind::Time,
            _ => Kind::Opaque,
        }
    }

    pub fn sql(self) -> &'static str {
        match self {
            Kind::Int => "INT",
            Kind::Big => "BIGINT",
            Kind::Text => "STRING",
            Kind::Double => "DOUBLE",
            Kind::Decimal => "DECIMAL(10, 2)",
            Kind::Bool => "BOOLEAN",
            Kind::Date => "DATE",
            Kind::Time | Kind::Opaque => "TIMESTAMP(3)",
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Big | Kind::Double | Kind::Decimal)
    }
}

/// How a table's rows change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They only come.
    Append,
    /// They come and go, each given whole.
    Retract,
    /// They come under a key; what was there before is not given.
    Upsert,
}

impl Mode {
    /// What is written in WITH.
    fn option(self) -> &'static str {
        match self {
            Mode::Append => "",
            Mode::Retract => ", 'changelog.mode' = 'retract'",
            Mode::Upsert => ", 'changelog.mode' = 'upsert'",
        }
    }
}

/// What the watermark of a timed table is behind its times, in milliseconds: more than its rows ever are.
const DELAY: i64 = 10_000;

/// A table before it is declared.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub ddl: String,
    /// The column `id`, where there is one, has no value twice at the same time.
    pub unique: bool,
    pub mode: Mode,
    /// Whether it has a column `ts` of distinct event times; none is late.
    pub timed: bool,
    /// How many changes it has at most.
    pub size: usize,
}

impl Table {
    pub fn random(name: &str, size: usize, timed: bool, rng: &mut Random) -> Self {
        let unique = rng.random_bool(0.65);
        let mode = match rng.random_range(0..10) {
            _ if timed => Mode::Append,
            0..4 => Mode::Append,
            4 | 5 if unique => Mode::Upsert,
            _ => Mode::Retract,
        };
        let mut columns = Vec::new();
        if unique {
            columns.push("id BIGINT NOT NULL".to_string());
        }
        for i in 0..rng.random_range(1..=5) {
            let kind = match rng.random_range(0..10) {
                0..2 => Kind::Int,
                2..4 => Kind::Big,
                4..6 => Kind::Text,
                _ => Kind::ALL[rng.random_range(0..Kind::ALL.len())],
            };
            let null = if rng.random_bool(0.2) { " NOT NULL" } else { "" };
            columns.push(format!("{name}{i} {}{null}", kind.sql()));
        }
        if timed {
            columns.push("ts TIMESTAMP(3)".into());
            columns.push(format!("WATERMARK FOR ts AS ts - INTERVAL '{}' SECOND", DELAY / 1000));
        }
        if mode == Mode::Upsert || (unique && rng.random_bool(0.5)) {
            columns.push("PRIMARY KEY (id) NOT ENFORCED".into());
        }
        let option = mode.option();
        let ddl = format!("CREATE TABLE {name} ({}) WITH ('connector' = 'channel'{option})", columns.join(", "));
        Self { name: name.into(), ddl, unique, mode, timed, size }
    }

    /// A table of few columns: `id`, a number and a text that may be NULL.
    pub fn fixed(name: &str, mode: Mode) -> Self {
        let key = if mode == Mode::Upsert { ", PRIMARY KEY (id) NOT ENFORCED" } else { "" };
        let columns = format!("id BIGINT NOT NULL, n BIGINT, x STRING{key}");
        let ddl = format!("CREATE TABLE {name} ({columns}) WITH ('connector' = 'channel'{})", mode.option());
        Self { name: name.into(), ddl, unique: true, mode, timed: false, size: 20 }
    }

    /// A changelog for the columns that the connector gives.
    pub fn log(&self, schema: &Arc<Schema>, rng: &mut Random) -> Log {
        let count = match rng.random_range(0..12) {
            0 => 0,
            1..4 => rng.random_range(1..=4),
            _ => rng.random_range(1..=self.size),
        };
        let mut drawn = Drawn { upsert: self.mode == Mode::Upsert, ..Drawn::default() };
        let changing = self.mode != Mode::Append;
        let last = if changing { rng.random_range(0..3) } else { 0 };
        while drawn.versions.len() < count {
            let ends = last == 0 && changing && drawn.versions.len() * 4 > count * 3;
            match rng.random_range(0..10) {
                0..3 if changing && !drawn.alive.is_empty() => drawn.update(rng),
                3..5 if changing => drawn.delete(rng),
                5..8 if ends => drawn.delete(rng),
                _ => drawn.insert(rng),
            }
        }
        while last == 1 && !drawn.alive.is_empty() && rng.random_bool(0.98) {
            drawn.delete(rng);
        }
        let few = *[2, 3, 6, 40].get(rng.random_range(0..4)).unwrap_or(&3);
        let pool = schema.fields().iter().map(|field| match field.name().as_str() {
            "ts" if self.timed => times(field.data_type(), drawn.entities.len(), rng),
            "id" => Arc::new(Int64Array::from_iter_values(drawn.entities.iter().map(|e| *e as i64))) as ArrayRef,
            _ => values(field.data_type(), field.is_nullable(), drawn.entities.len(), few, rng),
        });
        let pool = RecordBatch::try_new(Arc::clone(schema), pool.collect()).unwrap();
        let picked = UInt32Array::from_iter_values(drawn.versions.iter().map(|v| *v as u32));
        let rows = take_record_batch(&pool, &picked).unwrap();
        let entities = drawn.versions.iter().map(|v| drawn.entities[*v]).collect();
        Log { rows, kinds: drawn.kinds, lives: drawn.lives, entities, changing }
    }
}

/// Changes while they are being drawn.
#[derive(Default)]
struct Drawn {
    /// Whether what was before an update is left out.
    upsert: bool,
    /// For each version of a row what it is a version of.
    entities: Vec<usize>,
    /// For each change its version, its kind, and the life of the row that it belongs to.
    versions: Vec<usize>,
    kinds: Vec<RowKind>,
    lives: Vec<usize>,
    /// Versions that stand, with their lives.
    alive: Vec<(usize, usize)>,
    dead: Vec<usize>,
    lived: usize,
    known: usize,
}

impl Drawn {
    fn change(&mut self, version: usize, kind: RowKind, life: usize) {
        self.versions.push(version);
        self.kinds.push(kind);
        self.lives.push(life);
    }

    fn version(&mut self, entity: usize) -> usize {
        self.entities.push(entity);
        self.entities.len() - 1
    }

    fn insert(&mut self, rng: &mut Random) {
        let again = !self.dead.is_empty() && rng.random_bool(0.3);
        let entity = if again { self.dead.swap_remove(0) } else { self.known };
        self.known += usize::from(!again);
        let version = self.version(entity);
        let life = self.lived;
        self.lived += 1;
        self.change(version, RowKind::Insert, life);
        self.alive.push((version, life));
    }

    fn update(&mut self, rng: &mut Random) {
        let at = rng.random_range(0..self.alive.len());
        let (old, life) = self.alive[at];
        // Now and then to what it was.
        let new = if rng.random_bool(0.1) { old } else { self.version(self.entities[old]) };
        let kind = match self.upsert {
            true if rng.random_bool(0.5) => RowKind::Insert,
            true => RowKind::UpdateAfter,
            false => {
                self.change(old, RowKind::UpdateBefore, life);
                RowKind::UpdateAfter
            }
        };
        self.change(new, kind, life);
        self.alive[at].0 = new;
    }

    fn delete(&mut self, rng: &mut Random) {
        if self.alive.is_empty() {
            return self.insert(rng);
        }
        let (version, life) = self.alive.swap_remove(rng.random_range(0..self.alive.len()));
        self.change(version, RowKind::Delete, life);
        self.dead.push(self.entities[version]);
    }
}

/// The changes of a table, in order.
#[derive(Debug, Clone)]
pub struct Log {
    /// What comes or goes.
    pub rows: RecordBatch,
    pub kinds: Vec<RowKind>,
    /// For each change the row that lives from an insert to a delete.
    lives: Vec<usize>,
    entities: Vec<usize>,
    changing: bool,
}

impl Log {
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    pub fn changes(&self) -> ChangeBatch {
        let kinds = self.changing.then(|| self.kinds.clone().into());
        ChangeBatch { rows: self.rows.clone(), kinds, watermarks: None }
    }

    /// Where the watermark of a timed table stands after some changes.
    pub fn watermark(&self, changes: usize) -> i64 {
        let latest = self.millis().and_then(|ts| (0..changes).map(|i| ts.value(i)).max());
        latest.map_or(i64::MIN, |latest| latest - DELAY)
    }

    fn millis(&self) -> Option<TimestampMillisecondArray> {
        self.rows.column_by_name("ts")?.as_any().downcast_ref().cloned()
    }

    /// What stands after some changes, of timed tables up to a time.
    pub fn standing(&self, changes: usize, until: i64) -> RecordBatch {
        let ts = self.millis();
        let is_due = |row: usize| ts.as_ref().is_none_or(|ts| ts.value(row) <= until);
        let mut of_life = std::collections::BTreeMap::new();
        for change in 0..changes {
            match self.kinds[change].is_addition() {
                true => of_life.insert(self.lives[change], change as u32),
                false => of_life.remove(&self.lives[change]),
            };
        }
        let due = of_life.into_values().filter(|row| is_due(*row as usize));
        take_record_batch(&self.rows, &UInt32Array::from_iter_values(due)).unwrap()
    }

    /// The changes for which `keep` holds of the change's place.
    fn filtered(&self, keep: impl Fn(usize) -> bool) -> Self {
        let places: Vec<usize> = (0..self.len()).filter(|i| keep(*i)).collect();
        let picked = UInt32Array::from_iter_values(places.iter().map(|i| *i as u32));
        Self {
            rows: take_record_batch(&self.rows, &picked).unwrap(),
            kinds: places.iter().map(|i| self.kinds[*i]).collect(),
            lives: places.iter().map(|i| self.lives[*i]).collect(),
            entities: places.iter().map(|i| self.entities[*i]).collect(),
            changing: self.changing,
        }
    }

    /// Smaller ones, all valid: without the end, without some rows' lives, without the last change of a row.
    pub fn smaller(&self) -> Vec<Self> {
        let mut lives: Vec<usize> = self.lives.clone();
        lives.sort_unstable();
        lives.dedup();
        let mut found = Vec::new();
        if self.len() > 1 {
            let half = self.len() / 2;
            found.push(self.filtered(|i| i < half));
        }
        let mut part = lives.len().div_ceil(2);
        while part > 0 && found.len() < 70 {
            for gone in lives.chunks(part) {
                found.push(self.filtered(|i| !gone.contains(&self.lives[i])));
            }
            part /= 2;
        }
        if self.len() <= 30 {
            for life in lives {
                let Some(last) = (0..self.len()).rev().find(|i| self.lives[*i] == life) else { continue };
                let before = (0..last).rev().find(|i| self.lives[*i] == life);
                let before = before.filter(|i| self.kinds[*i] == RowKind::UpdateBefore);
                found.push(self.filtered(|i| i != last && Some(i) != before));
            }
        }
        found.retain(|log| log.len() < self.len());
        found
    }
}

/// Distinct times that go on, now and then with a step back.
fn times(data_type: &DataType, rows: usize, rng: &mut Random) -> ArrayRef {
    let gap = [20, 500, 4000][rng.random_range(0..3)];
    let mut taken = std::collections::HashSet::new();
    let drawn = (0..rows as i64).map(|i| {
        let back = if rng.random_bool(0.3) { rng.random_range(0..DELAY) } else { 0 };
        let mut time = i * gap - back;
        while !taken.insert(time) {
            time += 1;
        }
        time
    });
    cast(&Int64Array::from_iter_values(drawn), data_type).unwrap()
}

/// Random values: few distinct ones, skewed, some NULL.
fn values(data_type: &DataType, nullable: bool, rows: usize, few: i64, rng: &mut Random) -> ArrayRef {
    let nulls = if nullable { [0.0, 0.1, 0.4][rng.random_range(0..3)] } else { 0.0 };
    let drawn: Vec<Option<i64>> = (0..rows)
        .map(|_| {
            let value = if rng.random_bool(0.4) { 0 } else { rng.random_range(-1..few) };
            (!rng.random_bool(nulls)).then_some(value)
        })
        .collect();
    let text = |v: i64| match v {
        -1 => String::new(),
        5 => "long enough for no view to hold it in place".to_string(),
        v => char::from(b'a' + (v % 26) as u8).to_string(),
    };
    match data_type {
        DataType::Boolean => Arc::new(drawn.into_iter().map(|v| v.map(|v| v > 0)).collect::<BooleanArray>()),
        DataType::Int32 => Arc::new(drawn.into_iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(drawn.into_iter().collect::<Int64Array>()),
        // Sums of eighths are exact.
        DataType::Float64 => Arc::new(drawn.into_iter().map(|v| v.map(|v| v as f64 / 8.0)).collect::<Float64Array>()),
        DataType::Decimal128(precision, scale) => {
            let values: Decimal128Array = drawn.into_iter().map(|v| v.map(|v| i128::from(v) * 25)).collect();
            Arc::new(values.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Utf8 => Arc::new(drawn.into_iter().map(|v| v.map(text)).collect::<StringArray>()),
        DataType::Date32 => {
            cast(&drawn.into_iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>(), data_type).unwrap()
        }
        DataType::Timestamp(..) => {
            cast(&drawn.into_iter().map(|v| v.map(|v| v * 500)).collect::<Int64Array>(), data_type).unwrap()
        }
        other => panic!("no random values of type {other}"),
    }
}
