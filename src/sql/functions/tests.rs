//! What Flink answers, asked once and kept.
