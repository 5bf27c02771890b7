//! The driver, workers, exchange, clock, metrics.
