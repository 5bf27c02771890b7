//! What bounds the state of an operator, known before it runs.

use std::fmt;

use crate::change::TimeSpan;

/// What bounds an operator's state: everything it keeps, part by part. An operator without parts keeps nothing.
///
/// ```
/// use millstream::runtime::{Bound, Held};
///
/// let bound = Bound::of([Held::at_most(3, "row").per(["user"]).ttl(Some(60_000))]);
/// assert_eq!(bound.to_string(), "at most 3 rows per distinct (user), state TTL 1 min");
/// assert!(bound.unbounded().is_none());
///
/// let bound = Bound::of([Held::rows("the left input"), Held::rows("the right input").within(5_000, "interval")]);
/// assert!(bound.unbounded().is_some());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bound {
    /// What is kept.
    pub parts: Vec<Held>,
}

/// One part of what an operator keeps, and what limits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose rows: `left` or `right`; `None` where there is one input.
    pub side: Option<&'static str>,
    /// How much.
    pub count: Count,
    /// The key domain: columns, or what is computed of them, for each of whose distinct values that much is kept.
    pub keys: Vec<String>,
    /// For how long in event or processing time.
    pub lifetime: Lifetime,
    /// State TTL: milliseconds of processing time after which what no row has touched is let go.
    pub ttl: Option<i64>,
}

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// At most so many of something.
    AtMost(u64, &'static str),
    /// All rows of something, as long as they live.
    Rows(String),
}

/// How long something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifetime {
    /// Without a limit.
    Forever,
    /// Until the watermark, or the clock, closes its window; once for each slice where windows share slices. With the
    /// windows' description where it is known.
    Windows {
        /// Whether it is kept by slice.
        slices: bool,
        /// The windows, as `EXPLAIN` shows them.
        spec: Option<String>,
    },
    /// Until the watermark, or the clock, is so many milliseconds past its time; and from which clause that follows.
    Span(i64, &'static str),
    /// Until as many later rows of its key have come as are named, the first of which is so many milliseconds past its time;
    /// and from which clause that follows.
    SpanBefore {
        /// The milliseconds.
        millis: i64,
        /// The clause.
        clause: &'static str,
        /// How many rows.
        rows: u64,
    },
    /// Until the watermark has reached its time.
    Watermark,
    /// Until the bounded input ends.
    End,
    /// Until a request is free for it: no source is read as long as something waits for one.
    Request,
    /// As long as the job runs.
    Job,
}

impl Bound {
    /// A bound of some parts; equal ones are told once.
    pub fn of(parts: impl IntoIterator<Item = Held>) -> Self {
        let mut bound = Self::default();
        for part in parts {
            if !bound.parts.contains(&part) {
                bound.parts.push(part);
            }
        }
        bound
    }

    /// The first part that grows without a bound.
    pub fn unbounded(&self) -> Option<&Held> {
        self.parts.iter().find(|p| p.is_unbounded())
    }
}

impl Held {
    fn new(count: Count) -> Self {
        Self { side: None, count, keys: Vec::new(), lifetime: Lifetime::Forever, ttl: None }
    }

    /// At most `most` of something, such as "row".
    pub fn at_most(most: u64, unit: &'static str) -> Self {
        Self::new(Count::AtMost(most, unit))
    }

    /// All rows of something, such as "the input".
    pub fn rows(of: impl Into<String>) -> Self {
        Self::new(Count::Rows(of.into()))
    }

    /// For each distinct value of these columns.
    pub fn per(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Of one of two inputs.
    pub fn of_side(mut self, side: &'static str) -> Self {
        self.side = Some(side);
        self
    }

    /// Lives until so many milliseconds past its time, as a clause says.
    pub fn within(self, millis: i64, clause: &'static str) -> Self {
        self.lives(Lifetime::Span(millis, clause))
    }

    /// Lives that long.
    pub fn lives(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Has a state TTL, in milliseconds.
    pub fn ttl(mut self, ttl: Option<i64>) -> Self {
        self.ttl = ttl;
        self
    }

    fn is_unbounded(&self) -> bool {
        matches!(self.count, Count::Rows(_)) && self.lifetime == Lifetime::Forever && self.ttl.is_none()
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.is_empty() {
            return f.write_str("none");
        }
        for (i, part) in self.parts.iter().enumerate() {
            write!(f, "{}{part}", if i > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(side) = self.side {
            write!(f, "{side}: ")?;
        }
        match &self.count {
            _ if self.is_unbounded() => write!(f, "unbounded: grows with {}", self.what())?,
            Count::AtMost(..) => f.write_str(&self.what())?,
            Count::Rows(_) => write!(f, "rows of {}", self.what())?,
        }
        match &self.lifetime {
            Lifetime::Forever | Lifetime::Span(..) | Lifetime::SpanBefore { .. } => {}
            Lifetime::Watermark => f.write_str(" ahead of the watermark")?,
            Lifetime::End => f.write_str(", until it ends")?,
            Lifetime::Request => f.write_str(" until a request is free (no source is read meanwhile)")?,
            Lifetime::Job => f.write_str(", as long as the job runs")?,
            Lifetime::Windows { slices, spec } => {
                f.write_str(if *slices { " and slice of open windows" } else { " of open windows" })?;
                spec.iter().try_for_each(|spec| write!(f, ", {spec}"))?;
            }
        }
        self.ttl.map_or(Ok(()), |ttl| write!(f, ", state TTL {}", TimeSpan(ttl)))
    }
}

impl Held {
    /// What is kept, in words.
    fn what(&self) -> String {
        let mut text = match &self.count {
            Count::AtMost(1, unit) => format!("one {unit}"),
            Count::AtMost(most, unit) => format!("at most {most} {unit}s"),
            Count::Rows(of) => match (&self.lifetime, self.is_unbounded()) {
                (_, true) => format!("rows of {of}"),
                (Lifetime::Span(millis, clause), _) => format!("{of} of the last {} ({clause})", TimeSpan(*millis)),
                (Lifetime::SpanBefore { millis, clause, rows }, _) => {
                    let last = if *rows == 1 { "row".to_string() } else { format!("{rows} rows") };
                    format!("{of} of {} ({clause}) before the last {last}", TimeSpan(*millis))
                }
                _ => of.clone(),
            },
        };
        if !self.keys.is_empty() {
            text.push_str(&format!(" per distinct ({})", self.keys.join(", ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_in_words() {
        let windows = |slices| Lifetime::Windows { slices, spec: None };
        let cases = [
            (Held::at_most(1, "row"), "one row"),
            (
                Held::at_most(2, "row").per(["a", "b"]).lives(windows(false)),
                "at most 2 rows per distinct (a, b) of open windows",
            ),
            (
                Held::at_most(1, "group").per(["a"]).lives(windows(true)),
                "one group per distinct (a) and slice of open windows",
            ),
            (Held::rows("the input"), "unbounded: grows with rows of the input"),
            (Held::rows("the input").ttl(Some(1000)), "rows of the input, state TTL 1 s"),
            (Held::rows("the input").lives(Lifetime::Watermark), "rows of the input ahead of the watermark"),
            (Held::rows("the input").lives(Lifetime::End), "rows of the input, until it ends"),
            (
                Held::rows("the input").lives(Lifetime::Request),
                "rows of the input until a request is free (no source is read meanwhile)",
            ),
            (Held::rows("table 't'").lives(Lifetime::Job), "rows of table 't', as long as the job runs"),
            (
                Held::rows("it").of_side("left").within(90_000, "interval"),
                "left: rows of it of the last 1 min 30 s (interval)",
            ),
            (
                Held::rows("it").lives(Lifetime::SpanBefore { millis: 5_000, clause: "WITHIN", rows: 2 }).per(["a"]),
                "rows of it of 5 s (WITHIN) before the last 2 rows per distinct (a)",
            ),
        ];
        for (held, words) in cases {
            assert_eq!(held.to_string(), words);
        }
    }
}
