//! Where journals stand: `DIR/JOB/run-N/segment-S.journal`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::damaged;
use crate::{Error, Result};

const RUN: &str = "run-";
const SEGMENT: &str = "segment-";
const EXTENSION: &str = ".journal";

/// A segment's file and the number of its first step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub first_step: u64,
    pub path: PathBuf,
}

/// The name of a segment that begins with a step.
pub(super) fn segment_name(first_step: u64) -> String {
    format!("{SEGMENT}{first_step:016}{EXTENSION}")
}

/// Makes the folder of a job's next run; gives its number.
///
/// # Errors
/// When it cannot be made.
pub(super) fn new_run(job: &Path) -> Result<(u64, PathBuf)> {
    let failed = |e| Error::io(format!("creating a journal in '{}'", job.display()), e);
    fs::create_dir_all(job).map_err(failed)?;
    let mut run = runs(job).map_err(failed)?.last().map_or(0, |(run, _)| *run) + 1;
    loop {
        let folder = job.join(format!("{RUN}{run:08}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok((run, folder)),
            // Another has begun at the same time.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => run += 1,
            Err(e) => return Err(failed(e)),
        }
    }
}

/// The runs in a job's folder, the oldest first.
pub(super) fn runs(job: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    numbered(job, |name| name.strip_prefix(RUN))
}

/// The segments of a run, in order.
pub(super) fn segments(run: &Path) -> io::Result<Vec<SegmentFile>> {
    let found = numbered(run, |name| name.strip_prefix(SEGMENT)?.strip_suffix(EXTENSION))?;
    Ok(found.into_iter().map(|(first_step, path)| SegmentFile { first_step, path }).collect())
}

fn numbered(folder: &Path, digits: impl Fn(&str) -> Option<&str>) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(number) = name.to_str().and_then(&digits).and_then(|d| d.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The segments of the run that a folder means: a run's own, a job's, where the newest run is meant, or one that holds the folder of a
/// single job.
///
/// # Errors
/// When it means none.
pub(super) fn find(folder: &Path) -> Result<(PathBuf, Vec<SegmentFile>)> {
    let failed = |e| Error::io(format!("reading the journal '{}'", folder.display()), e);
    let own = segments(folder).map_err(failed)?;
    if !own.is_empty() {
        return Ok((folder.to_path_buf(), own));
    }
    if let Some((_, run)) = runs(folder).map_err(failed)?.pop() {
        return newest(&run);
    }
    let mut jobs = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() && runs(&path).map_err(failed)?.last().is_some() {
            jobs.push(path);
        }
    }
    jobs.sort_unstable();
    match jobs.as_slice() {
        [] => Err(damaged(folder.display().to_string(), "there is no journal in this folder")),
        [job] => match runs(job).map_err(failed)?.pop() {
            Some((_, run)) => newest(&run),
            None => Err(damaged(job.display().to_string(), "there is no journal in this folder")),
        },
        several => {
            let names: Vec<_> = several.iter().filter_map(|p| p.file_name()?.to_str()).collect();
            let reason = format!("there are the journals of several jobs; name one of them: {}", names.join(", "));
            Err(damaged(folder.display().to_string(), reason))
        }
    }
}

fn newest(run: &Path) -> Result<(PathBuf, Vec<SegmentFile>)> {
    let found = segments(run).map_err(|e| Error::io(format!("reading the journal '{}'", run.display()), e))?;
    match found.is_empty() {
        true => Err(damaged(run.display().to_string(), "the journal has no segments")),
        false => Ok((run.to_path_buf(), found)),
    }
}
