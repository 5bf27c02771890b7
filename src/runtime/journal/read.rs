//! Reading a journal: the steps of a run, in order.

use std::path::Path;

use super::damaged;
use super::decode::Decoder;
use super::encode::Recorded;
use super::files::{SegmentFile, find};
use super::frame::{Broken, Frame, Frames, Kind};
use super::header::{CheckpointMark, Header};
use crate::{Error, Result};

/// Reads a run's journal from its first segment on.
#[derive(Debug)]
pub struct JournalReader {
    segments: Vec<SegmentFile>,
    /// Which segment is open.
    at: usize,
    frames: Frames,
    decoder: Decoder,
    /// Of the first segment.
    header: Header,
    /// The number that the next step must have.
    next_step: u64,
    /// What a user should know of how it ends.
    note: Option<String>,
}

/// What stands in a journal.
#[derive(Debug)]
pub(super) enum Entry {
    /// A step: as [`Decoder::step`] gives it.
    Step(Recorded, Vec<bool>),
    Checkpoint(CheckpointMark),
}

impl JournalReader {
    /// Opens the journal that a folder means: a run's own, a job's, where the newest run is meant, or one that holds the folder of a
    /// single job.
    ///
    /// # Errors
    /// [`Error::Journal`] when there is none, or its header cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let (_, segments) = find(folder)?;
        let first = segments.first().ok_or_else(|| damaged(folder.display().to_string(), "there is no segment"))?;
        let (frames, header) = open_segment(first).map_err(|b| failed(first, b))?;
        let next_step = header.first_step;
        Ok(Self { segments, at: 0, frames, decoder: Decoder::default(), header, next_step, note: None })
    }

    /// What the first segment says of the run.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the journal ends in the middle of a frame, since the process was killed then: a sentence that says so.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The place of what is read, for messages.
    pub(super) fn place(&self) -> String {
        self.segments.get(self.at).map_or_else(String::new, |s| s.path.display().to_string())
    }

    /// The number that the next step has.
    pub(super) fn next_step(&self) -> u64 {
        self.next_step
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Journal`] when something else stands there.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            let frame = match self.frames.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => match self.next_segment()? {
                    true => continue,
                    false => return Ok(None),
                },
                Err(Broken::Torn) if self.is_last() => {
                    self.torn(self.at);
                    return Ok(None);
                }
                Err(broken) => return Err(failed(&self.segments[self.at], broken)),
            };
            if let Some(entry) = self.entry(frame).map_err(|reason| damaged(self.place(), reason))? {
                return Ok(Some(entry));
            }
        }
    }

    fn entry(&mut self, frame: Frame) -> Result<Option<Entry>, String> {
        match frame.kind {
            Kind::Header => Err("a second header".into()),
            Kind::Schema => self.decoder.schema(&frame).map(|()| None),
            Kind::Step => {
                let next = self.next_step;
                let (recorded, tables) = self.decoder.step(frame).map_err(|e| format!("step {next}: {e}"))?;
                if recorded.step != next {
                    return Err(format!("step {} stands where step {next} should", recorded.step));
                }
                self.next_step += 1;
                Ok(Some(Entry::Step(recorded, tables)))
            }
            Kind::Checkpoint => {
                let mark = serde_json::from_slice(frame.content());
                Ok(Some(Entry::Checkpoint(mark.map_err(|e| format!("the mark of a checkpoint: {e}"))?)))
            }
        }
    }

    /// Goes on to the next segment; false where there is none.
    fn next_segment(&mut self) -> Result<bool> {
        if self.is_last() {
            return Ok(false);
        }
        let next = &self.segments[self.at + 1];
        let (frames, header) = match open_segment(next) {
            Ok(opened) => opened,
            // The process was killed when it had just begun.
            Err(Broken::Torn) if self.at + 2 == self.segments.len() => {
                self.torn(self.at + 1);
                return Ok(false);
            }
            Err(broken) => return Err(failed(next, broken)),
        };
        let same = Header { first_step: self.header.first_step, ..header.clone() } == self.header;
        if !same {
            return Err(damaged(next.path.display().to_string(), "it is of another run than the segments before it"));
        }
        if header.first_step != self.next_step {
            let reason =
                format!("it begins with step {}, and step {} should be next", header.first_step, self.next_step);
            return Err(damaged(next.path.display().to_string(), reason));
        }
        (self.at, self.frames, self.decoder) = (self.at + 1, frames, Decoder::default());
        Ok(true)
    }

    fn is_last(&self) -> bool {
        self.at + 1 == self.segments.len()
    }

    fn torn(&mut self, segment: usize) {
        let place = self.segments[segment].path.display();
        let last = self.next_step - 1;
        self.note = Some(format!(
            "{place} ends in the middle of what was being written: step {last} is the last that is whole"
        ));
    }
}

fn open_segment(segment: &SegmentFile) -> Result<(Frames, Header), Broken> {
    let mut frames = Frames::open(&segment.path)?;
    let Some(frame) = frames.next()? else { return Err(Broken::Torn) };
    if frame.kind != Kind::Header {
        return Err(Broken::Damaged("it does not begin with a header".into()));
    }
    let header = Header::from_json(frame.content()).map_err(Broken::Damaged)?;
    if header.first_step != segment.first_step {
        let reason =
            format!("its header names {} as the first step, its name {}", header.first_step, segment.first_step);
        return Err(Broken::Damaged(reason));
    }
    Ok((frames, header))
}

fn failed(segment: &SegmentFile, broken: Broken) -> Error {
    let place = segment.path.display().to_string();
    match broken {
        Broken::Torn => damaged(place, "it ends too early"),
        Broken::Damaged(reason) => damaged(place, format!("it is damaged: {reason}")),
        Broken::Io(e) => Error::io(format!("reading '{place}'"), e),
    }
}
