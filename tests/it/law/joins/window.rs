//! Window joins: how they are written, and what they answer.

use std::collections::{BTreeMap, HashSet};

use millstream::operator::window::{WindowKind, WindowSpec};
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::case::Kind;
use super::data::{Consumed, Row, Values};
use crate::law::reference::windows_of;

/// A random window join.
#[derive(Debug, Clone)]
pub struct Window {
    pub kind: Kind,
    pub spec: WindowSpec,
    pub equal_keys: bool,
    /// `l.v < r.v` as well.
    pub residual: bool,
    /// Both sides are counted by key and window first.
    pub aggregated: bool,
    /// The result is counted by window.
    pub stacked: bool,
}

/// A row of one side, in one of its windows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    side: usize,
    window: (i64, i64),
    k: Option<i64>,
    v: Option<i64>,
    /// The row's id, or how many rows were counted.
    id: i64,
    /// Tells rows apart.
    number: usize,
}

impl Window {
    pub fn random(kind: Kind, rng: &mut Xoshiro256PlusPlus) -> Self {
        let part = *[500, 1000, 3000].get(rng.random_range(0..3)).unwrap();
        let times = rng.random_range(1..4);
        let kind_of_window = match rng.random_range(0..4) {
            0 => WindowKind::Hop { size: part * times, slide: part },
            1 => WindowKind::Cumulate { size: part * times, step: part },
            _ => WindowKind::Tumble { size: part * times },
        };
        let aggregated = rng.random_bool(0.3);
        Self {
            kind,
            spec: WindowSpec { kind: kind_of_window, offset: 0 },
            equal_keys: rng.random_bool(0.8),
            residual: rng.random_bool(0.3),
            aggregated,
            stacked: matches!(kind, Kind::Inner | Kind::Left) && rng.random_bool(0.3),
        }
    }

    fn side(&self, name: &str) -> String {
        let span = |millis: i64| format!("INTERVAL '{}.{:03}' SECOND", millis / 1000, millis % 1000);
        let windows = match self.spec.kind {
            WindowKind::Tumble { size } => format!("TUMBLE(TABLE {name}, DESCRIPTOR(ts), {})", span(size)),
            WindowKind::Hop { size, slide } => {
                format!("HOP(TABLE {name}, DESCRIPTOR(ts), {}, {})", span(slide), span(size))
            }
            WindowKind::Cumulate { size, step } => {
                format!("CUMULATE(TABLE {name}, DESCRIPTOR(ts), {}, {})", span(step), span(size))
            }
        };
        match self.aggregated {
            false => format!("(SELECT * FROM TABLE({windows})) {name}"),
            true => format!(
                "(SELECT k, COUNT(*) AS id, SUM(v) AS v, window_start, window_end FROM TABLE({windows}) GROUP BY k, \
                 window_start, window_end) {name}"
            ),
        }
    }

    pub fn sql(&self) -> String {
        let mut on = "l.window_start = r.window_start AND l.window_end = r.window_end".to_string();
        if self.equal_keys {
            on.push_str(" AND l.k = r.k");
        }
        if self.residual {
            on.push_str(" AND l.v < r.v");
        }
        let (l, r) = (self.side("l"), self.side("r"));
        match self.kind {
            Kind::Semi => format!("SELECT l.id, l.window_start FROM {l} WHERE EXISTS (SELECT * FROM {r} WHERE {on})"),
            Kind::Anti => {
                format!("SELECT l.id, l.window_start FROM {l} WHERE NOT EXISTS (SELECT * FROM {r} WHERE {on})")
            }
            kind if self.stacked => format!(
                "SELECT ws, COUNT(*), COUNT(rid) FROM (SELECT l.window_start AS ws, l.window_end AS we, r.id AS rid FROM {l} {} \
                 JOIN {r} ON {on}) GROUP BY ws, we",
                kind.words()
            ),
            kind => {
                format!("SELECT l.id, l.window_start, r.id, r.window_start FROM {l} {} JOIN {r} ON {on}", kind.words())
            }
        }
    }

    /// Rows in windows that are open when they come.
    fn placed(&self, consumed: &Consumed) -> Vec<Placed> {
        let in_windows = consumed.rows.iter().flat_map(|row| {
            let open = move |w: &(i64, i64)| w.1 - 1 > row.mark;
            windows_of(&self.spec, row.ts).into_iter().filter(open).map(move |window| (row, window))
        });
        if !self.aggregated {
            let placed = |(number, (row, window)): (usize, (&Row, (i64, i64)))| Placed {
                side: row.side,
                window,
                k: row.k,
                v: row.v,
                id: row.id,
                number,
            };
            return in_windows.enumerate().map(placed).collect();
        }
        let mut groups: BTreeMap<_, (i64, Option<i64>)> = BTreeMap::new();
        for (row, window) in in_windows {
            let (count, sum) = groups.entry((row.side, window, row.k)).or_default();
            *count += 1;
            *sum = match (*sum, row.v) {
                (Some(sum), Some(v)) => Some(sum + v),
                (sum, v) => sum.or(v),
            };
        }
        let placed = |(number, ((side, window, k), (id, v)))| Placed { side, window, k, v, id, number };
        groups.into_iter().enumerate().map(placed).collect()
    }

    fn meets(&self, left: &Placed, right: &Placed) -> bool {
        left.window == right.window
            && (!self.equal_keys || (left.k.is_some() && left.k == right.k))
            && (!self.residual || left.v.zip(right.v).is_some_and(|(l, r)| l < r))
    }

    pub fn answer(&self, consumed: &Consumed) -> Vec<Values> {
        let closed = |p: &Placed| p.window.1 - 1 <= consumed.watermark;
        let placed: Vec<Placed> = self.placed(consumed).into_iter().filter(closed).collect();
        let of = |side: usize| placed.iter().filter(move |p| p.side == side);
        let mut found: Vec<(Option<&Placed>, Option<&Placed>)> = Vec::new();
        let mut matched = HashSet::new();
        for left in of(0) {
            for right in of(1).filter(|right| self.meets(left, right)) {
                matched.insert(right.number);
                let new = matched.insert(left.number);
                if self.kind.pairs() || (self.kind == Kind::Semi && new) {
                    found.push((Some(left), self.kind.pairs().then_some(right)));
                }
            }
        }
        for row in placed.iter().filter(|p| self.kind.gives_alone(p.side) && !matched.contains(&p.number)) {
            found.push(if row.side == 0 { (Some(row), None) } else { (None, Some(row)) });
        }
        let shown = |p: Option<&Placed>| [p.map(|p| p.id), p.map(|p| p.window.0)];
        let mut rows: Vec<Values> = match self.stacked {
            false => {
                let row = |(l, r): &(Option<&Placed>, Option<&Placed>)| match self.kind.both() {
                    true => [shown(*l), shown(*r)].concat(),
                    false => shown(*l).to_vec(),
                };
                found.iter().map(row).collect()
            }
            true => {
                let mut counts = BTreeMap::<(i64, i64), [i64; 2]>::new();
                for (left, right) in &found {
                    let counts = counts.entry(left.unwrap().window).or_default();
                    counts[0] += 1;
                    counts[1] += i64::from(right.is_some());
                }
                counts.into_iter().map(|((s, _), [all, pairs])| vec![Some(s), Some(all), Some(pairs)]).collect()
            }
        };
        rows.sort();
        rows
    }

    /// How many rows may be held.
    pub fn bound(&self, consumed: &Consumed) -> u64 {
        let open = self.placed(consumed).into_iter().filter(|p| p.window.1 - 1 > consumed.watermark);
        open.count() as u64
    }
}
