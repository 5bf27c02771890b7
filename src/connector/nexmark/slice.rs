//! Which events stand in a batch: their numbers, kinds, times, and how far the ids have come.

use super::config::{EventKind, NexmarkConfig};
use super::random::{draw, root};

/// Tags the draw for an event's time; the fields' tags follow.
const TIME: u64 = 0;

/// The place of the next event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) number: u64,
    /// How many whole cycles of kinds lie before it.
    cycle: u64,
    /// Its place in its cycle.
    place: u64,
}

impl Cursor {
    pub(super) fn at(config: &NexmarkConfig, number: u64) -> Self {
        let length = config.cycle().max(1);
        Self { number, cycle: number / length, place: number % length }
    }

    fn step(&mut self, config: &NexmarkConfig) {
        self.number += 1;
        self.place += 1;
        if self.place == config.cycle() {
            (self.cycle, self.place) = (self.cycle + 1, 0);
        }
    }

    /// Goes on to the next event of `kind`, if this one is none.
    fn seek(&mut self, config: &NexmarkConfig, kind: EventKind) {
        let (first, count) = match kind {
            EventKind::Person => (0, config.persons),
            EventKind::Auction => (config.persons, config.auctions),
            EventKind::Bid => (config.persons + config.auctions, config.bids),
        };
        if count == 0 {
            self.number = u64::MAX;
        } else if self.place < first {
            self.number += first - self.place;
            self.place = first;
        } else if self.place >= first + count {
            self.number += config.cycle() - self.place + first;
            (self.cycle, self.place) = (self.cycle + 1, first);
        }
    }

    fn kind(&self, config: &NexmarkConfig) -> EventKind {
        if self.place < config.persons {
            EventKind::Person
        } else if self.place < config.persons + config.auctions {
            EventKind::Auction
        } else {
            EventKind::Bid
        }
    }
}

/// The events of a batch, column by column.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) kinds: Vec<EventKind>,
    /// What all that is drawn for the event begins with.
    pub(super) roots: Vec<u64>,
    pub(super) numbers: Vec<u64>,
    /// Event times in milliseconds since the epoch.
    pub(super) millis: Vec<i64>,
    /// The newest person and the newest auction at each event, counted from 0.
    pub(super) last_person: Vec<u64>,
    pub(super) last_auction: Vec<u64>,
    /// The rows of each kind.
    pub(super) rows: [Vec<u32>; 3],
}

impl Slice {
    /// Replaces the events by the next ones from `cursor`: at most `most`, below number `end`, perhaps of one kind only.
    pub(super) fn fill(
        &mut self,
        config: &NexmarkConfig,
        cursor: &mut Cursor,
        end: u64,
        most: usize,
        only: Option<EventKind>,
    ) {
        self.clear();
        while self.kinds.len() < most {
            if let Some(kind) = only {
                cursor.seek(config, kind);
            }
            if cursor.number >= end {
                break;
            }
            self.push(config, cursor);
            cursor.step(config);
        }
    }

    fn clear(&mut self) {
        self.kinds.clear();
        self.roots.clear();
        self.numbers.clear();
        self.millis.clear();
        self.last_person.clear();
        self.last_auction.clear();
        self.rows.iter_mut().for_each(Vec::clear);
    }

    #[inline]
    fn push(&mut self, config: &NexmarkConfig, at: &Cursor) {
        let kind = at.kind(config);
        let root = root(config.seed, at.number);
        let mut millis = event_millis(config, at.number);
        if config.out_of_order > 0 {
            millis -= (draw(root, TIME) % (config.out_of_order + 1)).cast_signed();
        }
        let auctions_here = (at.place + 1).saturating_sub(config.persons).min(config.auctions);
        let auctions = at.cycle * config.auctions + auctions_here;
        let persons = at.cycle * config.persons + (at.place + 1).min(config.persons);
        self.rows[kind as usize].push(self.kinds.len() as u32);
        self.kinds.push(kind);
        self.roots.push(root);
        self.numbers.push(at.number);
        self.millis.push(millis);
        self.last_person.push(persons.saturating_sub(1));
        self.last_auction.push(auctions.saturating_sub(1));
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }
}

/// The time of event `number`, before it is put out of order.
#[inline]
pub(super) fn event_millis(config: &NexmarkConfig, number: u64) -> i64 {
    config.base_time + (number * 1000 / config.rate).cast_signed()
}
