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
    pub rows: u64,
    pub peak_mb: f64,
}

impl Measured {
    pub fn print(&self) -> String {
        format!("{} {} {} {}\n", self.cpu_seconds, self.wall_seconds, self.rows, self.peak_mb)
    }

    pub fn parse(text: &str) -> Self {
        let mut fields = text.split_whitespace().map(|f| f.parse::<f64>().expect("a number"));
        let mut next = || fields.next().expect("four numbers");
        Self { cpu_seconds: next(), wall_seconds: next(), rows: next() as u64, peak_mb: next() }
    }
}

/// Runs something once to warm up, then again and again.
pub fn measure(mut run: impl FnMut() -> u64) -> Measured {
    let rows = run();
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
        peak_mb: 0.0,
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
