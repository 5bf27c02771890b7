//! Journals and checkpoints.

use super::*;

const COUNTS: &str = "SELECT customer, COUNT(*), SUM(id) FROM orders GROUP BY customer";

/// A run in which a checkpoint is taken now and then; what it gave, and whether it is to go on.
fn with_checkpoints(engine: &mut Engine, batches: i64, from: i64, size: i64, suspend: bool) -> Vec<ChangeBatch> {
    let input = engine.input("orders").unwrap();
    let (job, mut results) = engine.query(COUNTS).unwrap();
    let mut given = Vec::new();
    let (job, handle) = (&job, &*engine);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for batch in from..from + batches {
                input.blocking_push(rows(batch * size..(batch + 1) * size)).unwrap();
                if batch % 7 == 3 {
                    handle.block_on(job.checkpoint()).unwrap();
                }
            }
            if suspend {
                // A checkpoint is taken between steps, and so what was pushed may be behind it; the journal holds what was read.
                job.suspend();
                handle.block_on(job.wait()).unwrap();
            }
        });
        given.extend(std::iter::from_fn(|| results.blocking_next()));
    });
    engine.block_on(job.wait()).unwrap();
    given
}

#[test]
fn a_run_that_went_on_from_a_checkpoint_is_replayed_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoints");
    let journals = folder.path().join("journals");
    for workers in ["1", "2"] {
        let settings = [
            ("execution.checkpointing.dir", checkpoints.to_str().unwrap()),
            ("execution.checkpointing.num-retained", "100"),
            ("parallelism.default", workers),
        ];
        let (mut engine, _) = journaling(&journals, &settings);
        with_checkpoints(&mut engine, 20, 0, 5, true);
        let (mut engine, _) = journaling(&journals, &settings);
        let given = with_checkpoints(&mut engine, 20, 20, 5, true);
        assert!(!given.is_empty());
        let mut replay = Engine::new().unwrap().replay(&journals).unwrap();
        assert!(replay.checkpoint().is_some() && replay.began_behind() == 0);
        assert!(bytes(&replayed(&mut replay).unwrap()) == bytes(&given));
    }
    // Without it the replay begins with the next that is there, and not at all without any.
    let replay = Engine::new().unwrap().replay(&journals).unwrap();
    let needed = replay.checkpoint().unwrap().address.clone();
    std::fs::remove_dir_all(&needed).unwrap();
    let replay = Engine::new().unwrap().replay(&journals).unwrap();
    assert_ne!(replay.checkpoint().unwrap().address, needed);
    std::fs::remove_dir_all(&checkpoints).unwrap();
    let error = Engine::new().unwrap().replay(&journals).unwrap_err().to_string();
    assert!(error.contains("neither this nor a later one in the journal can be restored: "), "{error}");
    assert!(!checkpoints.exists());
}

/// The lines of each batch, sorted.
fn texts(batches: &[ChangeBatch]) -> Vec<Vec<String>> {
    let sorted = |batch: &ChangeBatch| {
        let text = millstream::engine::lines(batch).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        lines.sort_unstable();
        lines
    };
    batches.iter().map(sorted).collect()
}

#[test]
fn the_oldest_segments_go_when_a_checkpoint_stands_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let journals = folder.path().join("journals");
    let checkpoints = folder.path().join("checkpoints");
    let most = 300 << 10;
    let limit = most.to_string();
    let settings = [
        ("execution.checkpointing.dir", checkpoints.to_str().unwrap()),
        ("millstream.journal.max-size", limit.as_str()),
    ];
    let (mut engine, _) = journaling(&journals, &settings);
    let given = with_checkpoints(&mut engine, 57, 0, 1500, false);
    let mut replay = Engine::new().unwrap().replay(&journals).unwrap();
    assert!(replay.journal().header().first_step > 1);
    let run = journals.join("collect/run-00000001");
    let size: u64 = std::fs::read_dir(&run).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    // Beside the limit there may be what came behind the last checkpoint.
    assert!(size < 3 * most, "{size}");
    assert!(replay.began_behind() + 1 >= replay.journal().header().first_step);
    assert!(replay.checkpoint().unwrap().address.contains("/collect/chk-"));
    // Groups may have other numbers than in the state that was not restored, and so another order within a step.
    let again = texts(&replayed(&mut replay).unwrap());
    assert!(!again.is_empty() && texts(&given).ends_with(&again));

    // The next run of the job takes the place of this one's journal.
    std::fs::remove_dir_all(&checkpoints).unwrap();
    let (mut engine, _) = journaling(&journals, &settings);
    with_checkpoints(&mut engine, 57, 0, 1500, false);
    assert!(!run.exists());
}

#[test]
fn without_a_checkpoint_nothing_goes() {
    let folder = tempfile::tempdir().unwrap();
    // Small steps: a segment ends between two.
    let settings = [("millstream.journal.max-size", "1 kb"), ("millstream.step.max-rows", "100")];
    let (mut engine, clock) = journaling(folder.path(), &settings);
    let given = live(&mut engine, &clock, "SELECT id, customer, ts FROM orders", 20_000).unwrap();
    let run = folder.path().join("collect/run-00000001");
    assert!(std::fs::read_dir(&run).unwrap().count() > 2);
    assert!(bytes(&replayed(&mut Engine::new().unwrap().replay(&run).unwrap()).unwrap()) == bytes(&given));
}
