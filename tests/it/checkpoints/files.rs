//! The files of checkpoints: damaged, truncated, swapped ones; those that are kept and those that go.

use std::path::PathBuf;

use millstream::Error;

use super::*;

/// A folder with the checkpoints of a job that was cancelled behind the last.
fn cancelled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start(&script(folder.path(), ""));
    for end in [100, 200, 300] {
        run.push_to(end);
        run.checkpoint_all();
    }
    run.job.cancel();
    let _ = run.engine.block_on(run.job.wait());
    folder
}

fn job_folder(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("insert-into_spent")
}

/// The newest checkpoint's folder.
fn newest(folder: &Path) -> PathBuf {
    files_of(&job_folder(folder)).into_iter().rfind(|c| c.join("manifest.json").exists()).unwrap()
}

fn files_of(checkpoint: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(checkpoint).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn finish(folder: &Path) -> Vec<String> {
    let mut run = Run::start(&script(folder, ""));
    run.push_to(400);
    drop(run.input);
    run.engine.block_on(run.job.wait()).unwrap();
    shown(&folder.join("spent"))
}

#[test]
fn only_as_many_as_wanted_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start(&script(folder.path(), "SET 'execution.checkpointing.num-retained' = '2';"));
    for end in 1..8 {
        run.push_to(end * 40);
        run.checkpoint();
    }
    let names: Vec<_> = files_of(&job_folder(folder.path()));
    let with_manifest = names.iter().filter(|n| n.join("manifest.json").exists()).count();
    assert_eq!(with_manifest, 2, "{names:?}");
}

/// A checkpoint of which any file is damaged in any way is passed over, never half restored.
#[test]
fn a_damaged_checkpoint_is_passed_over() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("flipped", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            std::fs::write(path, bytes).unwrap();
        }),
        ("truncated", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("empty", |path| std::fs::write(path, []).unwrap()),
        ("longer", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes.push(b'x');
            std::fs::write(path, bytes).unwrap();
        }),
        ("gone", |path| std::fs::remove_file(path).unwrap()),
    ];
    let reference = cancelled();
    let names: Vec<_> = files_of(&newest(reference.path())).iter().map(|p| p.file_name().unwrap().to_owned()).collect();
    assert!(names.len() >= 2, "{names:?}");
    let expected = undisturbed(400);
    for name in names {
        for (damage, damaged) in damages {
            let folder = cancelled();
            let newest = newest(folder.path());
            damaged(&newest.join(&name));
            let run = Run::start(&script(folder.path(), ""));
            let resumed = run.engine.block_on(run.job.resumed()).unwrap().unwrap();
            assert!(!newest.ends_with(format!("chk-{:08}", resumed.checkpoint)), "{damage} {name:?}");
            assert_eq!(
                resumed.report.iter().any(|line| line.contains("comes again")),
                damage != "gone" || name != "manifest.json"
            );
            drop(run);
            // What had been committed behind the checkpoint before comes twice, and nothing else does.
            let mut seen = finish(folder.path());
            seen.dedup();
            assert_eq!(seen, expected, "{damage} {name:?}");
        }
    }
}

#[test]
fn without_a_whole_checkpoint_a_job_does_not_begin_anew() {
    let folder = cancelled();
    for checkpoint in files_of(&job_folder(folder.path())) {
        std::fs::write(checkpoint.join("manifest.json"), "{}").unwrap();
    }
    let mut engine = Engine::new().unwrap();
    let text = script(folder.path(), "");
    let (declarations, insert) = text.rsplit_once(";\n").unwrap();
    engine.run(declarations, |_, _| Ok(())).unwrap();
    let _input = engine.input("payments").unwrap();
    let job = engine.run(insert, |_, _| Ok(())).unwrap().unwrap();
    let error = engine.block_on(job.wait()).unwrap_err();
    assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
    assert!(error.to_string().contains("no checkpoint there can be restored"), "{error}");
}

#[test]
fn a_savepoint_begins_another_job() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start(&script(folder.path(), ""));
    run.push_to(150);
    let address = format!("{}/savepoints", folder.path().display());
    let savepoint = run.engine.block_on(run.job.savepoint(&address)).unwrap();
    drop(run);
    let other = tempfile::tempdir().unwrap();
    let settings = format!("SET 'execution.state-recovery.path' = '{}';", savepoint.address);
    let run = Run::start(&script(other.path(), &settings));
    assert_eq!(run.next % 3, 0);
}
