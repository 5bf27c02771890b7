//! Checkpoints in an S3-compatible store, by a server that `tests/run.sh` sets up.

use millstream::engine::JobEnd;

use super::*;

#[test]
fn a_job_goes_on_from_an_s3_store() {
    let server = std::env::var("MILLSTREAM_TEST_S3").expect("no S3 server: run the tests by tests/run.sh");
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().file_name().unwrap().to_string_lossy().replace('.', "");
    let settings = format!(
        "SET 'execution.checkpointing.dir' = 's3://checkpoints/{name}'; SET 's3.endpoint' = '{server}';
         SET 's3.endpoint.region' = 'us-east-1'; SET 's3.access-key' = 'a'; SET 's3.secret-key' = 'b';
         SET 's3.path.style.access' = 'true'; SET 'execution.checkpointing.num-retained' = '2';"
    );
    let text = script(folder.path(), &settings);
    for end in [70, 160, 290] {
        let mut run = Run::start(&text);
        run.push_to(end);
        run.checkpoint_all();
        run.job.suspend();
        assert_eq!(run.engine.block_on(run.job.wait()).unwrap(), JobEnd::Suspended);
    }
    let mut run = Run::start(&text);
    assert_eq!(run.next, 290);
    run.push_to(400);
    drop(run.input);
    assert_eq!(run.engine.block_on(run.job.wait()).unwrap(), JobEnd::Finished);
    assert_eq!(shown(&folder.path().join("spent")), undisturbed(400));
}
