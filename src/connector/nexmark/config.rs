//! The options of a `nexmark` table.

use chrono::{DateTime, NaiveDateTime};

use crate::connector::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};

/// Events are numbered below this, so that no time computed from a number overflows.
const MOST_EVENTS: u64 = 1 << 53;

/// 2015-07-15T00:00:00Z, the time that the generator's first publication begins at.
const DEFAULT_BASE_TIME: i64 = 1_436_918_400_000;

/// The kinds of events, in the order of their numbers in `event_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A person enters: 0.
    Person,
    /// Someone puts something up for auction: 1.
    Auction,
    /// Someone bids: 2.
    Bid,
}

/// What is generated: everything that the events depend on, besides their numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct NexmarkConfig {
    /// Events of another seed have other ids, prices and texts, at the same times.
    pub seed: u64,
    /// How many events there are, of all kinds together; 0: they do not end.
    pub events: u64,
    /// Events a second of event time.
    pub rate: u64,
    /// The time of the first event, in milliseconds since the epoch.
    pub base_time: i64,
    /// Events may carry a time up to this many milliseconds before the one that is their turn's.
    pub out_of_order: u64,
    /// Of `persons + auctions + bids` events in a row, so many are persons.
    pub persons: u64,
    /// As `persons`: auctions.
    pub auctions: u64,
    /// As `persons`: bids.
    pub bids: u64,
    /// All but one of so many bids are for the hot auction.
    pub hot_auctions: u64,
    /// All but one of so many bids are by the hot bidder.
    pub hot_bidders: u64,
    /// All but one of so many auctions are by the hot seller.
    pub hot_sellers: u64,
    /// The average size of a person in bytes, reached by its `extra`.
    pub person_size: usize,
    /// The average size of an auction in bytes, reached by its `extra`.
    pub auction_size: usize,
    /// The average size of a bid in bytes, reached by its `extra`.
    pub bid_size: usize,
}

impl Default for NexmarkConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            events: 0,
            rate: 10_000,
            base_time: DEFAULT_BASE_TIME,
            out_of_order: 0,
            persons: 1,
            auctions: 3,
            bids: 46,
            hot_auctions: 2,
            hot_bidders: 4,
            hot_sellers: 4,
            person_size: 200,
            auction_size: 500,
            bid_size: 100,
        }
    }
}

impl NexmarkConfig {
    /// Reads a table's options.
    ///
    /// # Errors
    /// [`Error::Option`] when a value is outside of what makes sense.
    pub fn from_options(options: &Options) -> Result<Self> {
        let default = Self::default();
        let read = |key: &str, default: u64, most: u64| -> Result<u64> {
            match options.integer(key)? {
                None => Ok(default),
                Some(v) => u64::try_from(v).ok().filter(|v| *v <= most).ok_or_else(|| {
                    Error::Option(format!("option '{key}' = '{v}': expected a number from 0 to {most}"))
                }),
            }
        };
        let positive = |key: &str, default: u64| -> Result<u64> {
            match read(key, default, 1_000_000_000)? {
                0 => Err(Error::Option(format!("option '{key}' = '0': expected a number above 0"))),
                v => Ok(v),
            }
        };
        let size = |key: &str, default: usize| -> Result<usize> {
            match options.memory(key)? {
                None => Ok(default),
                Some(v) => usize::try_from(v).ok().filter(|v| *v <= MOST_BYTES).ok_or_else(|| {
                    Error::Option(format!("option '{key}' = '{v}': expected at most {MOST_BYTES} bytes"))
                }),
            }
        };
        let rate_key = if options.get("first-event.rate").is_some() { "first-event.rate" } else { "next-event.rate" };
        let mut events = read("events.num", default.events, MOST_EVENTS)?;
        if let Some(stop) = options.integer("stop-at")?.and_then(|v| u64::try_from(v).ok()) {
            events = if events == 0 { stop.min(MOST_EVENTS) } else { stop.min(events) };
        }
        let config = Self {
            seed: options.integer("seed")?.unwrap_or_default().cast_unsigned(),
            events,
            rate: positive(rate_key, default.rate)?,
            base_time: base_time(options)?.unwrap_or(default.base_time),
            out_of_order: read("out-of-order", default.out_of_order, 1_000_000_000_000)?,
            persons: read("person.proportion", default.persons, 1_000_000)?,
            auctions: read("auction.proportion", default.auctions, 1_000_000)?,
            bids: read("bid.proportion", default.bids, 1_000_000)?,
            hot_auctions: positive("bid.hot-ratio.auctions", default.hot_auctions)?,
            hot_bidders: positive("bid.hot-ratio.bidders", default.hot_bidders)?,
            hot_sellers: positive("auction.hot-ratio.sellers", default.hot_sellers)?,
            person_size: size("person.avg-size", default.person_size)?,
            auction_size: size("auction.avg-size", default.auction_size)?,
            bid_size: size("bid.avg-size", default.bid_size)?,
        };
        match config.cycle() {
            0 => Err(Error::Option("the proportions of persons, auctions and bids are all 0".into())),
            _ => Ok(config),
        }
    }

    /// After so many events the kinds repeat.
    pub(super) fn cycle(&self) -> u64 {
        self.persons + self.auctions + self.bids
    }

    /// The number behind the last event.
    pub(super) fn end(&self) -> u64 {
        if self.events == 0 { MOST_EVENTS } else { self.events.min(MOST_EVENTS) }
    }
}

/// An event's text is no longer than some of these.
const MOST_BYTES: usize = 16 << 10;

fn base_time(options: &Options) -> Result<Option<i64>> {
    let Some(text) = options.get("base-time").map(str::trim) else { return Ok(None) };
    let millis = text.parse::<i64>().ok();
    let zoned = || DateTime::parse_from_rfc3339(text).ok().map(|t| t.timestamp_millis());
    let plain = || {
        let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        let parsed = formats.iter().find_map(|f| NaiveDateTime::parse_from_str(text, f).ok());
        parsed.map(|t| t.and_utc().timestamp_millis())
    };
    match millis.or_else(zoned).or_else(plain) {
        // The year 275760: what milliseconds mean everywhere; leaves room for all that is added.
        Some(t) if t.unsigned_abs() <= 8_640_000_000_000_000 => Ok(Some(t)),
        _ => {
            Err(Error::Option(format!("option 'base-time' = '{text}': expected a time such as '2024-01-01 00:00:00'")))
        }
    }
}

/// All option keys.
pub(super) fn specs() -> Vec<OptionSpec> {
    use OptionKind::{Boolean, Duration, Integer, Memory, Text};
    [
        ("events.num", Integer),
        ("stop-at", Integer),
        ("keep-alive", Boolean),
        ("first-event.rate", Integer),
        ("next-event.rate", Integer),
        ("rate.limited", Boolean),
        ("max-emit-speed", Boolean),
        ("rate.shape", Text),
        ("rate.period", Duration),
        ("person.proportion", Integer),
        ("auction.proportion", Integer),
        ("bid.proportion", Integer),
        ("person.avg-size", Memory),
        ("auction.avg-size", Memory),
        ("bid.avg-size", Memory),
        ("bid.hot-ratio.auctions", Integer),
        ("bid.hot-ratio.bidders", Integer),
        ("auction.hot-ratio.sellers", Integer),
        ("table-type", Text),
        ("seed", Integer),
        ("out-of-order", Integer),
        ("base-time", Text),
    ]
    .map(|(key, kind)| OptionSpec::optional(key, kind))
    .into()
}
