//! Formats: bytes to batches and back.
