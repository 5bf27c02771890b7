//! The fields of persons, auctions and bids, a column at a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringBuilder, TimestampMillisecondArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};

use super::config::{EventKind, NexmarkConfig};
use super::price::Prices;
use super::random::{draw, high, low};
use super::slice::{Slice, event_millis};
use super::texts::{self, Texts};

const FIRST_PERSON: u64 = 1000;
const FIRST_AUCTION: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// So many of the newest persons bid and sell.
const ACTIVE_PERSONS: u64 = 1000;
/// So many of the newest auctions get bids.
const OPEN_AUCTIONS: u64 = 100;
/// Some ids are used before their person or auction appears.
const LEAD: u64 = 10;
/// The hot one is the first among so many.
const HOT_GROUP: u64 = 100;
/// The bytes of a number or a time in what an event's size counts.
const NUMBER_SIZE: usize = 8;

/// Tags for what is drawn; 0 is taken by the time.
#[derive(Debug, Clone, Copy)]
enum Draw {
    Auction = 1,
    Bidder,
    Price,
    Channel,
    Extra,
    Seller,
    Category,
    InitialBid,
    Reserve,
    Expires,
    ItemName,
    Description,
    Name,
    Email,
    CreditCard,
    City,
    State,
}

/// Makes columns from the events of a slice.
#[derive(Debug)]
pub(super) struct Columns {
    config: NexmarkConfig,
    texts: Texts,
    prices: Prices,
}

/// The events of one kind in a slice, and the NULLs where the others are.
struct Rows<'a> {
    slice: &'a Slice,
    rows: &'a [u32],
    nulls: Option<NullBuffer>,
}

impl Columns {
    pub(super) fn new(config: NexmarkConfig, channels_wanted: bool) -> Self {
        Self { texts: Texts::new(config.seed, channels_wanted), prices: Prices::new(), config }
    }

    /// The `event_type` of each event.
    pub(super) fn event_type(slice: &Slice) -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(slice.kinds.iter().map(|k| *k as i32)))
    }

    /// The NULLs in columns of `kind`; none where all events are of that kind.
    pub(super) fn nulls(slice: &Slice, kind: EventKind) -> Option<NullBuffer> {
        let all = slice.rows[kind as usize].len() == slice.len();
        (!all).then(|| NullBuffer::new(BooleanBuffer::collect_bool(slice.len(), |i| slice.kinds[i] == kind)))
    }

    /// One field of the events of `kind`, NULL in the rows of others; `None` when there is no such field.
    pub(super) fn field(
        &self,
        slice: &Slice,
        kind: EventKind,
        name: &str,
        nulls: Option<&NullBuffer>,
    ) -> Option<ArrayRef> {
        let rows = Rows { slice, rows: &slice.rows[kind as usize], nulls: nulls.cloned() };
        match (kind, name) {
            (_, "dateTime") => Some(rows.times(|i| slice.millis[i])),
            (EventKind::Person, _) => self.person(&rows, name),
            (EventKind::Auction, _) => self.auction(&rows, name),
            (EventKind::Bid, _) => self.bid(&rows, name),
        }
    }

    fn person(&self, rows: &Rows<'_>, name: &str) -> Option<ArrayRef> {
        let s = rows.slice;
        Some(match name {
            "id" => rows.longs(|i| s.last_person[i] + FIRST_PERSON),
            "name" => rows.written(16, |out, i| texts::name(out, rows.draw(i, Draw::Name))),
            "emailAddress" => rows.written(16, |out, i| texts::email(out, rows.draw(i, Draw::Email))),
            "creditCard" => rows.written(19, |out, i| texts::credit_card(out, rows.draw(i, Draw::CreditCard))),
            "city" => rows.copied(12, |i| texts::city(rows.draw(i, Draw::City))),
            "state" => rows.copied(2, |i| texts::state(rows.draw(i, Draw::State))),
            "extra" => rows.written(self.config.person_size, |out, i| self.person_extra(out, rows, i)),
            _ => return None,
        })
    }

    fn person_extra(&self, out: &mut String, rows: &Rows<'_>, i: usize) {
        // The other texts are written only for their length.
        texts::name(out, rows.draw(i, Draw::Name));
        texts::email(out, rows.draw(i, Draw::Email));
        texts::credit_card(out, rows.draw(i, Draw::CreditCard));
        out.push_str(texts::city(rows.draw(i, Draw::City)));
        out.push_str(texts::state(rows.draw(i, Draw::State)));
        let size = NUMBER_SIZE + out.len();
        out.clear();
        out.push_str(self.texts.extra(rows.draw(i, Draw::Extra), size, self.config.person_size));
    }

    fn auction(&self, rows: &Rows<'_>, name: &str) -> Option<ArrayRef> {
        let s = rows.slice;
        let initial = |i: usize| self.prices.draw(s.roots[i], Draw::InitialBid as u64);
        Some(match name {
            "id" => rows.longs(|i| s.last_auction[i] + FIRST_AUCTION),
            "itemName" => rows.written(12, |out, i| item_name(out, rows, i)),
            "description" => rows.written(52, |out, i| description(out, rows, i)),
            "initialBid" => rows.longs(|i| initial(i).cast_unsigned()),
            "reserve" => {
                rows.longs(|i| (initial(i) + self.prices.draw(s.roots[i], Draw::Reserve as u64)).cast_unsigned())
            }
            "expires" => rows.times(|i| s.millis[i] + self.length(rows, i)),
            "seller" => rows.longs(|i| self.seller(rows, i)),
            "category" => rows.longs(|i| FIRST_CATEGORY + high(rows.draw(i, Draw::Category), CATEGORIES)),
            "extra" => rows.written(self.config.auction_size, |out, i| self.auction_extra(out, rows, i)),
            _ => return None,
        })
    }

    fn auction_extra(&self, out: &mut String, rows: &Rows<'_>, i: usize) {
        item_name(out, rows, i);
        description(out, rows, i);
        let size = 6 * NUMBER_SIZE + out.len();
        out.clear();
        out.push_str(self.texts.extra(rows.draw(i, Draw::Extra), size, self.config.auction_size));
    }

    /// How long an auction is open: on average until as many others have opened as are to be open at a time.
    fn length(&self, rows: &Rows<'_>, i: usize) -> i64 {
        let config = &self.config;
        let number = rows.slice.numbers[i];
        let ahead = OPEN_AUCTIONS * config.cycle() / config.auctions.max(1);
        let horizon = event_millis(config, number + ahead) - event_millis(config, number);
        1 + (rows.draw(i, Draw::Expires) % (2 * horizon).max(1).cast_unsigned()).cast_signed()
    }

    fn seller(&self, rows: &Rows<'_>, i: usize) -> u64 {
        let (drawn, newest) = (rows.draw(i, Draw::Seller), rows.slice.last_person[i]);
        let hot = high(drawn, self.config.hot_sellers) > 0;
        FIRST_PERSON + if hot { newest / HOT_GROUP * HOT_GROUP } else { some_person(drawn, newest) }
    }

    fn bid(&self, rows: &Rows<'_>, name: &str) -> Option<ArrayRef> {
        let s = rows.slice;
        Some(match name {
            "auction" => rows.longs(|i| {
                let (drawn, newest) = (rows.draw(i, Draw::Auction), s.last_auction[i]);
                let hot = high(drawn, self.config.hot_auctions) > 0;
                FIRST_AUCTION + if hot { newest / HOT_GROUP * HOT_GROUP } else { some_auction(drawn, newest) }
            }),
            "bidder" => rows.longs(|i| {
                let (drawn, newest) = (rows.draw(i, Draw::Bidder), s.last_person[i]);
                let hot = high(drawn, self.config.hot_bidders) > 0;
                // The second of its group, for the first is the hot seller.
                FIRST_PERSON + if hot { newest / HOT_GROUP * HOT_GROUP + 1 } else { some_person(drawn, newest) }
            }),
            "price" => rows.longs(|i| self.prices.draw(s.roots[i], Draw::Price as u64).cast_unsigned()),
            "channel" => rows.copied(10, |i| self.texts.channel(rows.draw(i, Draw::Channel)).0),
            "url" => rows.copied(72, |i| self.texts.channel(rows.draw(i, Draw::Channel)).1),
            "extra" => {
                let (size, average) = (4 * NUMBER_SIZE, self.config.bid_size);
                rows.copied(average, |i| self.texts.extra(rows.draw(i, Draw::Extra), size, average))
            }
            _ => return None,
        })
    }
}

/// One of the active persons, or one who is about to appear.
fn some_person(drawn: u64, newest: u64) -> u64 {
    let persons = newest + 1;
    let active = persons.min(ACTIVE_PERSONS);
    persons - active + low(drawn, active + LEAD)
}

/// One of the open auctions, or one that is about to appear.
fn some_auction(drawn: u64, newest: u64) -> u64 {
    let oldest = newest.saturating_sub(OPEN_AUCTIONS);
    oldest + low(drawn, newest - oldest + 1 + LEAD)
}

fn item_name(out: &mut String, rows: &Rows<'_>, i: usize) {
    texts::word(out, &mut super::random::Draws::new(rows.draw(i, Draw::ItemName)), 20, ' ');
}

fn description(out: &mut String, rows: &Rows<'_>, i: usize) {
    texts::word(out, &mut super::random::Draws::new(rows.draw(i, Draw::Description)), 100, ' ');
}

impl Rows<'_> {
    #[inline]
    fn draw(&self, row: usize, field: Draw) -> u64 {
        draw(self.slice.roots[row], field as u64)
    }

    fn values(&self, value: impl Fn(usize) -> i64) -> Vec<i64> {
        if self.nulls.is_none() {
            return (0..self.slice.len()).map(value).collect();
        }
        let mut values = vec![0; self.slice.len()];
        for row in self.rows {
            values[*row as usize] = value(*row as usize);
        }
        values
    }

    fn longs(&self, value: impl Fn(usize) -> u64) -> ArrayRef {
        Arc::new(Int64Array::new(self.values(|i| value(i).cast_signed()).into(), self.nulls.clone()))
    }

    fn times(&self, value: impl Fn(usize) -> i64) -> ArrayRef {
        Arc::new(TimestampMillisecondArray::new(self.values(value).into(), self.nulls.clone()))
    }

    /// Texts that lie ready, of about `size` bytes.
    fn copied<'a>(&self, size: usize, text: impl Fn(usize) -> &'a str) -> ArrayRef {
        self.texts(size, |out, i| out.append_value(text(i)))
    }

    /// Texts that are put together, of about `size` bytes.
    fn written(&self, size: usize, write: impl Fn(&mut String, usize)) -> ArrayRef {
        let mut text = String::with_capacity(size);
        self.texts(size, |out, i| {
            text.clear();
            write(&mut text, i);
            out.append_value(&text);
        })
    }

    fn texts(&self, size: usize, mut append: impl FnMut(&mut StringBuilder, usize)) -> ArrayRef {
        let mut out = StringBuilder::with_capacity(self.slice.len(), self.rows.len() * (size + size / 8));
        let mut next = 0;
        for row in self.rows.iter().map(|r| *r as usize) {
            if row > next {
                out.append_nulls(row - next);
            }
            append(&mut out, row);
            next = row + 1;
        }
        out.append_nulls(self.slice.len() - next);
        Arc::new(out.finish())
    }
}
