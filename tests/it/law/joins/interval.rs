//! Interval joins: how they are written, and what they answer.

use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::case::Kind;
use super::data::{Consumed, Row, Values};

/// A random interval join.
#[derive(Debug, Clone)]
pub struct Interval {
    pub kind: Kind,
    /// The least and the greatest `l.ts - r.ts` that matches, in milliseconds.
    pub least: i64,
    pub most: i64,
    pub equal_keys: bool,
    /// `l.v < r.v` as well.
    pub residual: bool,
    /// Counted by windows of so many milliseconds of `l.ts`, behind the join.
    pub windows: Option<i64>,
    spelling: u32,
}

impl Interval {
    pub fn random(kind: Kind, rng: &mut Xoshiro256PlusPlus) -> Self {
        let ends = [-7000, -2500, -1000, -1, 0, 1, 1000, 3000, 10_000];
        let mut end = || ends[rng.random_range(0..ends.len())];
        let (a, b) = (end(), end());
        let empty = rng.random_bool(0.05);
        let (least, most) = if (a <= b) != empty { (a, b) } else { (b, a) };
        let counted = matches!(kind, Kind::Inner | Kind::Left) && rng.random_bool(0.3);
        Self {
            kind,
            least,
            most,
            equal_keys: rng.random_bool(0.8),
            residual: rng.random_bool(0.3),
            windows: counted.then(|| *[1000, 5000].get(rng.random_range(0..2)).unwrap()),
            spelling: rng.random_range(0..6),
        }
    }

    /// The query, and a view that it reads.
    pub fn sql(&self) -> Vec<String> {
        let mut on = vec![self.bounds()];
        if self.equal_keys {
            on.insert(0, "l.k = r.k".into());
        }
        if self.residual {
            on.push("l.v < r.v".into());
        }
        let on = on.join(" AND ");
        let query = match (self.kind, self.windows) {
            (Kind::Semi, _) => format!("SELECT l.id FROM l WHERE EXISTS (SELECT * FROM r WHERE {on})"),
            (Kind::Anti, _) => format!("SELECT l.id FROM l WHERE NOT EXISTS (SELECT * FROM r WHERE {on})"),
            (Kind::Inner, None) if self.spelling % 2 == 1 => format!("SELECT l.id, r.id FROM l, r WHERE {on}"),
            (kind, None) => format!("SELECT l.id, r.id FROM l {} JOIN r ON {on}", kind.words()),
            (kind, Some(size)) => {
                let join = format!("SELECT l.ts AS lts, r.id AS rid FROM l {} JOIN r ON {on}", kind.words());
                let counted = format!(
                    "SELECT window_start, COUNT(*), COUNT(rid) FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(lts), INTERVAL '{}' SECOND)) \
                     GROUP BY window_start, window_end",
                    size / 1000
                );
                return vec![format!("CREATE VIEW j AS {join}"), counted];
            }
        };
        vec![query]
    }

    fn bounds(&self) -> String {
        let plus = |millis: i64| match millis {
            0 => String::new(),
            _ => format!(
                " {} INTERVAL '{}.{:03}' SECOND",
                if millis < 0 { "-" } else { "+" },
                millis.abs() / 1000,
                millis.abs() % 1000
            ),
        };
        let (least, most) = (self.least, self.most);
        match self.spelling {
            _ if least == most && self.spelling < 3 => format!("l.ts = r.ts{}", plus(least)),
            0 | 1 => format!("l.ts BETWEEN r.ts{} AND r.ts{}", plus(least), plus(most)),
            2 => format!("r.ts BETWEEN l.ts{} AND l.ts{}", plus(-most), plus(-least)),
            3 => format!("l.ts > r.ts{} AND r.ts{} > l.ts", plus(least - 1), plus(most + 1)),
            4 => format!("l.ts{} >= r.ts AND r.ts >= l.ts{}", plus(-least), plus(-most)),
            _ => format!("l.ts{} <= r.ts AND l.ts{} > r.ts + INTERVAL '1' SECOND", plus(-most), plus(1001 - least)),
        }
    }

    /// By how much the right row can be later than the left that it matches, and the left than the right.
    fn span(&self, side: usize) -> i64 {
        if side == 0 { -self.least } else { self.most }
    }

    fn delay(&self) -> i64 {
        (self.span(0).max(self.span(1)) + 1).max(0)
    }

    /// The watermark at which a row is let go.
    fn end(&self, row: &Row) -> i64 {
        row.ts + (self.span(row.side) + 1).max(0)
    }

    /// Whether a row is held when another comes behind it.
    fn holds(&self, row: &Row, next: &Row) -> bool {
        let until = row.ts + self.span(row.side);
        // One that is on time could as well have come behind the late one.
        (!row.is_late() || row.mark < until) && (!next.is_late() || next.mark <= until || next.mark < row.ts)
    }

    fn meets(&self, left: &Row, right: &Row) -> bool {
        let apart = left.ts - right.ts;
        let (first, next) = if left.id < right.id { (left, right) } else { (right, left) };
        // Which of two late rows comes first at one watermark is not told.
        let tie = left.is_late() && right.is_late() && left.mark == right.mark;
        self.least <= apart
            && apart <= self.most
            && (!self.equal_keys || (left.k.is_some() && left.k == right.k))
            && (!self.residual || left.v.zip(right.v).is_some_and(|(l, r)| l < r))
            && self.holds(first, next)
            && (!tie || self.holds(next, first))
    }

    /// The watermark that a pair is behind, if one of its rows is late.
    fn mark(rows: &[&Row]) -> Option<i64> {
        rows.iter().filter(|r| r.is_late()).map(|r| r.mark).max()
    }

    pub fn answer(&self, consumed: &Consumed) -> Vec<Values> {
        let of = |side: usize| consumed.rows.iter().filter(move |r| r.side == side);
        // Each with `l.ts` and the watermark behind the join that it is behind.
        let mut found: Vec<(Option<&Row>, Option<&Row>, Option<i64>)> = Vec::new();
        let mut matched = std::collections::HashSet::new();
        for left in of(0) {
            for right in of(1).filter(|right| self.meets(left, right)) {
                let new = matched.insert(left.id);
                matched.insert(right.id);
                if self.kind.pairs() || (self.kind == Kind::Semi && new) {
                    let right = self.kind.pairs().then_some(right);
                    found.push((Some(left), right, right.and_then(|r| Self::mark(&[left, r]))));
                }
            }
        }
        for row in &consumed.rows {
            let held = (!self.equal_keys || row.k.is_some()) && self.end(row) > consumed.watermark;
            if self.kind.gives_alone(row.side) && !held && !matched.contains(&row.id) {
                let mark = Self::mark(&[row]).filter(|mark| mark - self.delay() >= row.ts);
                let [left, right] = if row.side == 0 { [Some(row), None] } else { [None, Some(row)] };
                found.push((left, right, mark));
            }
        }
        let mut rows: Vec<Values> = match self.windows {
            Some(size) => self.counted(&found, size, consumed.watermark),
            None => found.iter().map(|(l, r, _)| self.values(*l, *r)).collect(),
        };
        rows.sort();
        rows
    }

    fn values(&self, left: Option<&Row>, right: Option<&Row>) -> Values {
        let ids = [left, right].map(|r| r.map(|r| r.id));
        if self.kind.both() { ids.to_vec() } else { vec![ids[0]] }
    }

    fn counted(&self, found: &[(Option<&Row>, Option<&Row>, Option<i64>)], size: i64, watermark: i64) -> Vec<Values> {
        let behind = |mark: i64| if mark == i64::MAX { mark } else { mark.saturating_sub(self.delay()) };
        let mut counts = std::collections::BTreeMap::<i64, [i64; 2]>::new();
        for (left, right, mark) in found {
            let start = left.unwrap().ts.div_euclid(size) * size;
            let last = start + size - 1;
            if mark.is_none_or(|mark| last > behind(mark)) && last <= behind(watermark) {
                let counts = counts.entry(start).or_default();
                counts[0] += 1;
                counts[1] += i64::from(right.is_some());
            }
        }
        counts.into_iter().map(|(start, [all, pairs])| vec![Some(start), Some(all), Some(pairs)]).collect()
    }

    /// How many rows may be held.
    pub fn bound(&self, consumed: &Consumed) -> u64 {
        consumed.rows.iter().filter(|r| self.end(r) > consumed.watermark).count() as u64
    }
}
