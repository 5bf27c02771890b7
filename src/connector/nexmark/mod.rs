//! `nexmark`: the events of the public Nexmark benchmark's auction house: persons, auctions, bids.
//!
//! The options are those of the public connector for Flink, with its defaults:
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `events.num` | 0 | events of all kinds together; 0: they do not end |
//! | `stop-at` | | ends after so many events, if that is less |
//! | `keep-alive` | false | waits instead of ending |
//! | `first-event.rate` | 10000 | events a second of event time |
//! | `next-event.rate` | | the same, where `first-event.rate` is not given; otherwise without effect, as in the public one |
//! | `max-emit-speed` | true | as fast as events are taken; false: when they are due by their event time |
//! | `rate.limited` | false | true: the same as `max-emit-speed` = false |
//! | `person.proportion`, `auction.proportion`, `bid.proportion` | 1, 3, 46 | how many of each kind follow each other |
//! | `person.avg-size`, `auction.avg-size`, `bid.avg-size` | 200, 500, 100 | bytes, filled up by `extra` |
//! | `bid.hot-ratio.auctions`, `bid.hot-ratio.bidders`, `auction.hot-ratio.sellers` | 2, 4, 4 | all but one of so many go to the hot id |
//! | `rate.shape`, `rate.period` | | taken and without effect, as in the public one |
//!
//! Ours are:
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `seed` | 0 | other seeds give other events |
//! | `base-time` | 2015-07-15 00:00:00 | the first event's time: a time in UTC or milliseconds since the epoch; the public one takes the present |
//! | `out-of-order` | 0 | events are up to so many milliseconds earlier than their turn |
//! | `table-type` | all | `person`, `auction` or `bid`: only those events, with their fields as the table's columns |
//!
//! The same options give the same events in every run. Unlike in the public one, numbering begins with the first person,
//! and a bidder's id is not shifted by another 1000, so that it is a person's.

mod columns;
mod config;
mod generator;
mod price;
mod random;
mod slice;
mod source;
mod texts;

pub use config::{EventKind, NexmarkConfig};
pub use generator::Generator;

use arrow::datatypes::SchemaRef;

use super::{Connector, OptionSpec, Options, Sink, Source, TableDescriptor};
use crate::{Error, Result};

/// The `nexmark` connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nexmark;

impl Connector for Nexmark {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        config::specs()
    }

    fn check(&self, table: &TableDescriptor) -> Result<()> {
        generator(table, SchemaRef::clone(&table.schema)).map(drop)
    }

    fn is_bounded(&self, table: &TableDescriptor) -> bool {
        let keep_alive = table.options.boolean("keep-alive").ok().flatten().unwrap_or(false);
        !keep_alive && NexmarkConfig::from_options(&table.options).is_ok_and(|c| c.events > 0)
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        let (config, generator) = generator(table, projection)?;
        let options = &table.options;
        let limited =
            options.boolean("rate.limited")?.unwrap_or(false) || options.boolean("max-emit-speed")? == Some(false);
        let keep_alive = options.boolean("keep-alive")?.unwrap_or(false);
        Ok(Box::new(source::NexmarkSource::new(generator, limited.then_some(config.rate), keep_alive)))
    }

    fn can_write(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option(format!("table '{}': connector 'nexmark' can only be read", table.name)))
    }
}

fn generator(table: &TableDescriptor, schema: SchemaRef) -> Result<(NexmarkConfig, Generator)> {
    let in_table = |e| match e {
        Error::Option(m) => Error::Option(format!("table '{}': {m}", table.name)),
        other => other,
    };
    let config = NexmarkConfig::from_options(&table.options).map_err(in_table)?;
    let only = match table.options.get("table-type") {
        None | Some("all") => None,
        Some("person") => Some(EventKind::Person),
        Some("auction") => Some(EventKind::Auction),
        Some("bid") => Some(EventKind::Bid),
        Some(other) => {
            let message = format!("option 'table-type' = '{other}': expected all, person, auction or bid");
            return Err(in_table(Error::Option(message)));
        }
    };
    let generator = Generator::new(&config, only, schema, 0..u64::MAX).map_err(in_table)?;
    Ok((config, generator))
}

#[cfg(test)]
mod tests;
