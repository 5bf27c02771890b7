//! Which files a path means.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::{Error, Result};

/// How deep directories are searched, lest a link to a parent be followed for ever.
const MAX_DEPTH: usize = 64;

/// Where a table's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// A file, or a directory with all below it.
    Path(PathBuf),
    /// All that match a pattern.
    Pattern(String),
}

/// A file to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// Milliseconds since the epoch.
    pub(super) modified: i64,
}

impl Location {
    /// What the option `path` says.
    pub(super) fn parse(path: &str) -> Result<Self> {
        let local = match path.split_once(':') {
            Some(("file", rest)) if rest.starts_with("//") => &rest[2..],
            Some(("file", rest)) => rest,
            Some((scheme, rest)) if rest.starts_with("//") => {
                let message =
                    format!("the scheme '{scheme}' in path '{path}'; only local files can be read and written");
                return Err(Error::Unsupported(message));
            }
            _ => path,
        };
        if local.is_empty() {
            return Err(Error::Option("option 'path' is empty".into()));
        }
        if !local.contains(['*', '?', '[']) || Path::new(local).exists() {
            return Ok(Location::Path(local.into()));
        }
        let pattern = glob::Pattern::new(local);
        pattern.map_err(|e| Error::Option(format!("path '{path}' is no pattern: {e}")))?;
        Ok(Location::Pattern(local.to_owned()))
    }

    /// The directory that a sink writes into.
    pub(super) fn directory(self) -> Result<PathBuf> {
        match self {
            Location::Path(path) if path.exists() && !path.is_dir() => {
                let message = format!("path '{}' is a file; a table that is written needs a directory", path.display());
                Err(Error::Option(message))
            }
            Location::Path(path) => Ok(path),
            Location::Pattern(pattern) => {
                Err(Error::Option(format!("path '{pattern}' is a pattern; a table that is written needs a directory")))
            }
        }
    }

    /// The files that are there now, sorted by path, less the hidden ones.
    ///
    /// # Errors
    /// When the path is not there or cannot be read. A pattern may match nothing.
    pub(super) fn files(&self) -> Result<Vec<Found>> {
        let mut files = Vec::new();
        match self {
            Location::Path(path) => {
                let metadata = path.metadata().map_err(|e| Error::io(format!("reading '{}'", path.display()), e))?;
                collect(path, &metadata, 0, &mut files)?;
            }
            Location::Pattern(pattern) => {
                let plain = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
                let paths =
                    glob::glob_with(pattern, plain).map_err(|e| Error::Option(format!("path '{pattern}': {e}")))?;
                for path in paths {
                    let path = path.map_err(|e| Error::io(format!("reading '{}'", e.path().display()), e.into()))?;
                    collect_below(&path, 0, &mut files)?;
                }
            }
        }
        files.sort();
        files.dedup();
        Ok(files)
    }
}

/// A file or directory met by search: skipped when hidden, or gone by the time it is looked at.
fn collect_below(path: &Path, depth: usize, files: &mut Vec<Found>) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
    if name.starts_with(['.', '_']) {
        return Ok(());
    }
    match path.metadata() {
        Ok(metadata) => collect(path, &metadata, depth, files),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(format!("reading '{}'", path.display()), e)),
    }
}

fn collect(path: &Path, metadata: &std::fs::Metadata, depth: usize, files: &mut Vec<Found>) -> Result<()> {
    if !metadata.is_dir() {
        let since_epoch = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let modified = since_epoch.map_or(0, |d| d.as_millis() as i64);
        files.push(Found { path: path.to_owned(), size: metadata.len(), modified });
        return Ok(());
    }
    if depth >= MAX_DEPTH {
        return Err(Error::Option(format!("'{}' is nested more than {MAX_DEPTH} directories deep", path.display())));
    }
    let context = || format!("listing '{}'", path.display());
    for entry in path.read_dir().map_err(|e| Error::io(context(), e))? {
        let entry = entry.map_err(|e| Error::io(context(), e))?;
        collect_below(&entry.path(), depth + 1, files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes() {
        assert_eq!(Location::parse("file:///a/b").unwrap(), Location::Path("/a/b".into()));
        assert_eq!(Location::parse("file:/a/b").unwrap(), Location::Path("/a/b".into()));
        assert_eq!(Location::parse("a/b").unwrap(), Location::Path("a/b".into()));
        assert_eq!(Location::parse("/a/*.json").unwrap(), Location::Pattern("/a/*.json".into()));
        assert!(Location::parse("s3://b/c").unwrap_err().to_string().contains("'s3'"));
        assert!(Location::parse("").is_err());
        assert!(Location::parse("/a/[b").is_err());
    }

    #[test]
    fn order_and_hidden_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.json", "a/z.json", "a/.hidden", "_SUCCESS", ".tmp/x.json", "c.csv"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let names = |path: &str| -> Vec<String> {
            let files = Location::parse(&format!("{}{path}", dir.path().display())).unwrap().files().unwrap();
            files.iter().map(|f| f.path.strip_prefix(dir.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names(""), ["a/z.json", "b.json", "c.csv"]);
        assert_eq!(names("/*.json"), ["b.json"]);
        assert_eq!(names("/*/*"), ["a/z.json"]);
        assert_eq!(names("/none*"), Vec::<String>::new());
    }
}
