//! The keys that `SET` knows.

pub(super) const PARALLELISM: &str = "parallelism.default";
pub(super) const TIME_ZONE: &str = "table.local-time-zone";
pub(super) const IDLE_TIMEOUT: &str = "table.exec.source.idle-timeout";
pub(super) const PIPELINE_NAME: &str = "pipeline.name";
pub(super) const STEP_ROWS: &str = "millstream.step.max-rows";
pub(super) const ALLOW_LATENESS: &str = "table.exec.emit.allow-lateness";
pub(super) const EARLY: &str = "table.exec.emit.early-fire.enabled";
pub(super) const EARLY_DELAY: &str = "table.exec.emit.early-fire.delay";
pub(super) const LATE: &str = "table.exec.emit.late-fire.enabled";
pub(super) const LATE_DELAY: &str = "table.exec.emit.late-fire.delay";
/// The setting that names the table for late rows.
pub(crate) const LATE_SINK: &str = "millstream.late-rows.sink";
pub(super) const STATE_TTL: &str = "table.exec.state.ttl";
pub(super) const CDC_DUPLICATES: &str = "table.exec.source.cdc-events-duplicate";
pub(super) const LOOKUP_CAPACITY: &str = "table.exec.async-lookup.buffer-capacity";
pub(super) const LOOKUP_TIMEOUT: &str = "table.exec.async-lookup.timeout";
pub(super) const LOOKUP_OUTPUT_MODE: &str = "table.exec.async-lookup.output-mode";

pub(super) const UNBOUNDED_STATE: &str = "millstream.state.unbounded";

pub(super) const MEMORY_LIMIT: &str = "state.memory.limit";
pub(super) const SCRATCH: &str = "io.tmp.dirs";

pub(super) const CHECKPOINT_DIR: &str = "execution.checkpointing.dir";
pub(super) const CHECKPOINT_INTERVAL: &str = "execution.checkpointing.interval";
pub(super) const CHECKPOINT_MIN_PAUSE: &str = "execution.checkpointing.min-pause";
pub(super) const CHECKPOINT_TIMEOUT: &str = "execution.checkpointing.timeout";
pub(super) const CHECKPOINTS_RETAINED: &str = "execution.checkpointing.num-retained";
pub(super) const CHECKPOINT_FAILURES: &str = "execution.checkpointing.tolerable-failed-checkpoints";
pub(super) const RECOVERY_PATH: &str = "execution.state-recovery.path";

pub(super) const JOURNAL_DIR: &str = "millstream.journal.dir";
pub(super) const JOURNAL_MAX_SIZE: &str = "millstream.journal.max-size";
pub(super) const JOURNAL_ON_ERROR: &str = "millstream.journal.on-error";

const OURS: &[&str] = &[
    MEMORY_LIMIT,
    SCRATCH,
    JOURNAL_DIR,
    JOURNAL_MAX_SIZE,
    JOURNAL_ON_ERROR,
    CHECKPOINT_DIR,
    CHECKPOINT_INTERVAL,
    CHECKPOINT_MIN_PAUSE,
    CHECKPOINT_TIMEOUT,
    CHECKPOINTS_RETAINED,
    CHECKPOINT_FAILURES,
    RECOVERY_PATH,
    PARALLELISM,
    TIME_ZONE,
    IDLE_TIMEOUT,
    PIPELINE_NAME,
    STEP_ROWS,
    STATE_TTL,
    CDC_DUPLICATES,
    UNBOUNDED_STATE,
    LATE_SINK,
    LOOKUP_CAPACITY,
    LOOKUP_TIMEOUT,
    LOOKUP_OUTPUT_MODE,
    ALLOW_LATENESS,
    EARLY,
    EARLY_DELAY,
    LATE,
    LATE_DELAY,
];

/// Whether Flink has the key. Whole families are taken by their prefix, for they are open-ended.
pub(super) fn is_flinks(key: &str) -> bool {
    FLINK.contains(&key) || FAMILIES.iter().any(|family| key.starts_with(family))
}

/// Whether the key is for the store that checkpoints are kept in.
pub(super) fn is_stores(key: &str) -> bool {
    key.starts_with("s3.") || key.starts_with("aws_")
}

/// Whether the key means something here or to Flink.
pub(super) fn is_known(key: &str) -> bool {
    OURS.contains(&key) || is_flinks(key) || is_stores(key)
}

/// All keys that have a name, for suggestions.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    OURS.iter().copied().chain(FLINK)
}

const FAMILIES: [&str; 19] = [
    "akka.",
    "blob.",
    "classloader.",
    "env.",
    "fs.",
    "high-availability.",
    "jobmanager.",
    "kubernetes.",
    "metrics.",
    "pekko.",
    "python.",
    "rest.",
    "restart-strategy.",
    "security.",
    "state.backend.rocksdb.",
    "state.backend.forst.",
    "taskmanager.",
    "web.",
    "yarn.",
];

const FLINK: [&str; 97] = [
    "execution.attached",
    "execution.batch-shuffle-mode",
    "execution.buffer-timeout",
    "execution.buffer-timeout.enabled",
    "execution.buffer-timeout.interval",
    "execution.checkpointing.aligned-checkpoint-timeout",
    "execution.checkpointing.checkpoints-after-tasks-finish",
    "execution.checkpointing.externalized-checkpoint-retention",
    "execution.checkpointing.incremental",
    "execution.checkpointing.interval-during-backlog",
    "execution.checkpointing.local-backup.enabled",
    "execution.checkpointing.max-concurrent-checkpoints",
    "execution.checkpointing.mode",
    "execution.checkpointing.savepoint-dir",
    "execution.checkpointing.storage",
    "execution.checkpointing.unaligned",
    "execution.checkpointing.unaligned.enabled",
    "execution.checkpointing.unaligned.forced",
    "execution.runtime-mode",
    "execution.savepoint.ignore-unclaimed-state",
    "execution.savepoint.path",
    "execution.savepoint-restore-mode",
    "execution.shutdown-on-attached-exit",
    "execution.sorted-inputs.enabled",
    "execution.state-recovery.claim-mode",
    "execution.state-recovery.ignore-unclaimed-state",
    "execution.target",
    "job.autogenerated-operator-names",
    "parallelism.max",
    "pipeline.auto-generate-uids",
    "pipeline.auto-watermark-interval",
    "pipeline.cached-files",
    "pipeline.classpaths",
    "pipeline.closure-cleaner-level",
    "pipeline.force-avro",
    "pipeline.force-kryo",
    "pipeline.generic-types",
    "pipeline.global-job-parameters",
    "pipeline.jars",
    "pipeline.max-parallelism",
    "pipeline.object-reuse",
    "pipeline.operator-chaining",
    "pipeline.operator-chaining.enabled",
    "pipeline.watermark-alignment.allow-unaligned-source-splits",
    "restart-strategy",
    "scheduler-mode",
    "slot.request.timeout",
    "sql-client.display.max-column-width",
    "sql-client.display.print-time-cost",
    "sql-client.display.color-schema",
    "sql-client.execution.max-table-result.rows",
    "sql-client.execution.result-mode",
    "sql-client.prompt",
    "sql-client.verbose",
    "state.backend",
    "state.backend.changelog.enabled",
    "state.backend.incremental",
    "state.backend.local-recovery",
    "state.backend.type",
    "state.checkpoint-storage",
    "state.checkpoints.dir",
    "state.checkpoints.num-retained",
    "state.savepoints.dir",
    "table.builtin-catalog-name",
    "table.builtin-database-name",
    "table.display.max-column-width",
    "table.dml-sync",
    "table.dynamic-table-options.enabled",
    "table.exec.deduplicate.insert-update-after-sensitive-enabled",
    "table.exec.disabled-operators",
    "table.exec.legacy-cast-behaviour",
    "table.exec.mini-batch.allow-latency",
    "table.exec.mini-batch.enabled",
    "table.exec.mini-batch.size",
    "table.exec.rank.topn-cache-size",
    "table.exec.resource.default-parallelism",
    "table.exec.simplify-operator-name-enabled",
    "table.exec.sink.keyed-shuffle",
    "table.exec.sink.not-null-enforcer",
    "table.exec.sink.rowtime-inserter",
    "table.exec.sink.type-length-enforcer",
    "table.exec.sink.upsert-materialize",
    "table.exec.uid.generation",
    "table.exec.window-agg.buffer-size-limit",
    "table.generated-code.max-length",
    "table.optimizer.agg-phase-strategy",
    "table.optimizer.bushy-join-reorder-threshold",
    "table.optimizer.distinct-agg.split.bucket-num",
    "table.optimizer.distinct-agg.split.enabled",
    "table.optimizer.incremental-agg-enabled",
    "table.optimizer.join-reorder-enabled",
    "table.optimizer.multiple-input-enabled",
    "table.optimizer.non-deterministic-update.strategy",
    "table.optimizer.reuse-source-enabled",
    "table.optimizer.reuse-sub-plan-enabled",
    "table.plan.compile.catalog-objects",
    "table.sql-dialect",
];
