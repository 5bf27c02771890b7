//! CPU time, wall time and memory of this process, as the kernel counts them.

use std::time::Instant;

/// A query is repeated until it has used so much CPU.
const CPU_SECONDS: f64 = 2.0;
/// The unit in which the kernel gives CPU time to programs: a hundredth of a second on Linux.
const TICK: f64 = 0.01;

/// What one run of a query took, in the mean.
#[derive(Debug, Default)]
pub struct Measured {
    pub cpu_seconds: f64,
    pub wall_seconds: f64,
    /// The rows of the answer.
    pub rows: i64,
    pub peak_mb: f64,
    /// CPU seconds to make the input, where that is part of the run.
    pub input_seconds: f64,
    /// Each operator at the end.
    pub operators: Vec<Operator>,
}

/// An operator at the end of a run.
#[derive(Debug)]
pub struct Operator {
    pub name: String,
    pub rows_in: u64,
    pub rows_out: u64,
    /// Time spent in it, by the clock.
    pub seconds: f64,
    pub state_rows: u64,
    pub state_bytes: u64,
}

impl Measured {
    pub fn print(&self) -> String {
        let Self { cpu_seconds, wall_seconds, rows, peak_mb, input_seconds, operators } = self;
        let mut text = format!("{cpu_seconds}\t{wall_seconds}\t{rows}\t{peak_mb}\t{input_seconds}\n");
        for o in operators {
            let Operator { name, rows_in, rows_out, seconds, state_rows, state_bytes } = o;
            text.push_str(&format!("{rows_in}\t{rows_out}\t{seconds}\t{state_rows}\t{state_bytes}\t{name}\n"));
        }
        text
    }

    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let mut fields = lines.next().expect("a line").split('\t').map(|f| f.parse::<f64>().expect("a number"));
        let mut next = || fields.next().expect("five numbers");
        let (cpu_seconds, wall_seconds, rows) = (next(), next(), next() as i64);
        let (peak_mb, input_seconds) = (next(), next());
        let operators = lines.map(Operator::parse).collect();
        Self { cpu_seconds, wall_seconds, rows, peak_mb, input_seconds, operators }
    }
}

impl Operator {
    fn parse(line: &str) -> Self {
        let mut fields = line.splitn(6, '\t');
        let mut text = || fields.next().expect("six fields");
        let number = |t: &str| t.parse::<f64>().expect("a number");
        let (rows_in, rows_out, seconds) = (number(text()) as u64, number(text()) as u64, number(text()));
        let (state_rows, state_bytes) = (number(text()) as u64, number(text()) as u64);
        Self { name: text().to_string(), rows_in, rows_out, seconds, state_rows, state_bytes }
    }
}

/// Runs something once to warm up, then again and again; what takes long in itself, once.
pub fn measure(mut run: impl FnMut() -> i64) -> Measured {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let rows = run();
    let first = cpu_seconds() - cpu;
    if first >= CPU_SECONDS {
        return Measured {
            cpu_seconds: first,
            wall_seconds: wall.elapsed().as_secs_f64(),
            rows,
            ..Measured::default()
        };
    }
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let mut times = 0;
    while cpu_seconds() - cpu < CPU_SECONDS {
        assert_eq!(run(), rows, "a run with another number of rows");
        times += 1;
    }
    let times = f64::from(times);
    Measured {
        cpu_seconds: (cpu_seconds() - cpu) / times,
        wall_seconds: wall.elapsed().as_secs_f64() / times,
        rows,
        ..Measured::default()
    }
}

/// CPU time of all threads of this process, those that have ended too.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux's account of this process");
    // The name in brackets may hold anything; user and system time are the 12th and 13th field behind it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields[i].parse::<f64>().expect("a number of ticks");
    (ticks(11) + ticks(12)) * TICK
}

/// The most memory that this process has held so far, in MB.
pub fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux's account of this process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}
