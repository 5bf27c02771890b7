//! What a session lends its functions: its time zone and the step's clock.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::timezone::Tz;

use crate::change::StepClock;
use crate::{Error, Result};

/// A session's time zone and clock.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The zone as written, as it stands in the types of TIMESTAMP_LTZ columns.
    pub(super) zone: Arc<str>,
    /// The zone; none is UTC.
    pub(super) tz: Option<Tz>,
    /// The time of the step.
    pub(super) clock: StepClock,
}

impl Session {
    /// A session in a zone.
    ///
    /// # Errors
    /// When there is no such zone.
    pub(super) fn new(zone: &str, clock: StepClock) -> Result<Self> {
        let tz = zone.parse().map_err(|_| Error::Option(format!("there is no time zone {zone}")))?;
        Ok(Self { zone: zone.into(), tz: Some(tz), clock })
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone
    }
}

impl Eq for Session {}

impl Hash for Session {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.zone.hash(state);
    }
}

impl Default for Session {
    fn default() -> Self {
        Self { zone: "UTC".into(), tz: None, clock: StepClock::default() }
    }
}
