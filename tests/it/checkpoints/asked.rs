//! Checkpoints that somebody asks for.

use futures::future::join;

use super::*;

#[test]
fn without_a_folder_there_are_savepoints_only() {
    let folder = tempfile::tempdir().unwrap();
    let text = script(folder.path(), "");
    let (_, text) = text.split_once(";\n").unwrap();
    let mut run = Run::start(text);
    run.push_to(10);
    let refused = run.engine.block_on(run.job.checkpoint()).unwrap_err().to_string();
    assert!(refused.contains("'execution.checkpointing.dir'"), "{refused}");
    let kept = folder.path().join("kept");
    let savepoint = run.engine.block_on(run.job.savepoint(&kept.display().to_string())).unwrap();
    assert!(Path::new(&savepoint.address).join("manifest.json").is_file(), "{savepoint:?}");
}

#[test]
fn a_savepoint_that_cannot_be_written_is_no_failure_of_the_job() {
    for own in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let text = script(folder.path(), "");
        let mut run = Run::start(if own { &text } else { text.split_once(";\n").unwrap().1 });
        run.push_to(200);
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        let nowhere = file.join("below");
        let refused = run.engine.block_on(run.job.savepoint(&nowhere.display().to_string())).unwrap_err().to_string();
        assert!(refused.contains("below"), "{refused}");
        let good = folder.path().join("good");
        run.engine.block_on(run.job.savepoint(&good.display().to_string())).unwrap();
        run.push_to(400);
        drop(run.input);
        run.engine.block_on(run.job.wait()).unwrap();
        assert_eq!(shown(&folder.path().join("spent")), undisturbed(400));
    }
}

/// Whoever asks while the job comes to its end gets an answer, whatever it is.
#[test]
fn who_asks_at_the_end_is_answered() {
    for round in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let Run { engine, job, input, .. } = Run::start(&script(folder.path(), ""));
        if round % 2 == 0 {
            drop(input);
        } else {
            job.cancel();
        }
        let (asked, _) = engine.block_on(join(job.checkpoint(), job.wait()));
        if let Err(e) = asked {
            assert!(e.to_string().contains("ended before the checkpoint"), "{e}");
        }
    }
}
