//! What a stage of a pipeline may take, and how often it is tried: `threads`, `memory`, `timeout` and
//! `retries` beside its config. They say how it runs, never what it makes, and are in no key.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use pft_stage::yaml::{Data, Node};

/// The limits of one stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Threads that it is given; its share of the cores without it.
    pub threads: Option<usize>,
    /// Memory that it needs, in bytes: stages that need more than there is run one after another.
    pub memory: Option<u64>,
    /// After this time it is stopped.
    pub timeout: Option<Duration>,
    /// How many times it is started again after a failure that another attempt may mend.
    pub retries: u32,
}

/// The keys of a stage that this module reads.
pub(crate) const KEYS: [&str; 4] = ["threads", "memory", "timeout", "retries"];

impl Limits {
    /// Reads the limits of a stage.
    ///
    /// # Errors
    /// Line and message of the first that is wrong.
    pub(crate) fn read(node: &Node) -> Result<Self, (u64, String)> {
        let whole = |key: &str| match node.get(key) {
            None => Ok(None),
            Some(value) => number(value)
                .filter(|number| number.fract() == 0.0 && (0.0..1e6).contains(number))
                .map(|number| Some(number as u32))
                .ok_or((value.line, format!("`{key}` must be a whole number"))),
        };
        let measured = |key: &str, units: &[(&str, f64)], example: &str| match node.get(key) {
            None => Ok(None),
            Some(value) => measure(value, units).map(Some).ok_or((
                value.line,
                format!("`{key}` must be a positive amount such as {example}"),
            )),
        };
        let threads = whole("threads")?.map(|threads| threads.max(1) as usize);
        let memory = measured("memory", &BYTES, "8 GB")?.map(|bytes| bytes as u64);
        let timeout = measured("timeout", &SECONDS, "90 min or 6 h")?;
        let timeout = timeout.map(Duration::from_secs_f64);
        Ok(Self { threads, memory, timeout, retries: whole("retries")?.unwrap_or(0) })
    }
}

const SECONDS: [(&str, f64); 5] =
    [("s", 1.0), ("min", 60.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];
const BYTES: [(&str, f64); 7] = [
    ("B", 1.0),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

fn number(node: &Node) -> Option<f64> {
    match &node.data {
        Data::Number(number) => number.as_f64(),
        _ => None,
    }
}

fn measure(node: &Node, units: &[(&str, f64)]) -> Option<f64> {
    let amount = match &node.data {
        Data::String(text) => parse_amount(text, units)?,
        _ => number(node)?,
    };
    (amount > 0.0 && amount < 1e18).then_some(amount)
}

fn parse_amount(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (amount, unit) = text.split_at(end);
    let factor = match unit.trim() {
        "" => 1.0,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    Some(amount.parse::<f64>().ok()? * factor)
}

/// An amount of bytes of a command line, such as `50 GB`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    parse_amount(text, &BYTES).map(|bytes| bytes as u64).ok_or("an amount such as 50GB".to_string())
}

/// A time of a command line, such as `30d`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let seconds = parse_amount(text, &SECONDS).filter(|seconds| *seconds < 1e12);
    seconds.map(Duration::from_secs_f64).ok_or("a time such as 12h or 30d".to_string())
}

/// What the machine has, shared out among the stages that run.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    memory: u64,
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Used {
    stages: usize,
    threads: usize,
    memory: u64,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cores, memory: memory(), used: Mutex::default(), freed: Condvar::new() }
    }

    pub(crate) fn cores(&self) -> usize {
        self.cores
    }

    /// Waits until what a stage declares is free. One that declares more than there is runs alone.
    pub(crate) fn share(&self, limits: Limits) -> Share<'_> {
        let threads = limits.threads.unwrap_or(0).min(self.cores);
        let memory = limits.memory.unwrap_or(0).min(self.memory);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while used.stages > 0
            && (used.threads + threads > self.cores || used.memory + memory > self.memory)
        {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        used.stages += 1;
        used.threads += threads;
        used.memory += memory;
        Share { machine: self, threads, memory }
    }
}

/// A stage's part of the machine, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    machine: &'a Machine,
    threads: usize,
    memory: u64,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut used = self.machine.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.stages -= 1;
        used.threads -= self.threads;
        used.memory -= self.memory;
        self.machine.freed.notify_all();
    }
}

/// The machine's memory in bytes: what the control group allows, where that is less.
fn memory() -> u64 {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = file("/proc/meminfo");
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let allowed = file("/sys/fs/cgroup/memory.max").trim().parse().unwrap_or(u64::MAX);
    kilobytes.map_or(u64::MAX, |kilobytes| kilobytes * 1024).min(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        let read = |text: &str| Limits::read(&pft_stage::yaml::parse(text).unwrap());
        let limits = read("{ timeout: 90 min, memory: 1.5 GB, threads: 2, retries: 3 }").unwrap();
        assert_eq!(limits.timeout, Some(Duration::from_secs(5400)));
        assert_eq!(limits.memory, Some(1_500_000_000));
        assert_eq!((limits.threads, limits.retries), (Some(2), 3));
        assert_eq!(read("{ timeout: 30 }").unwrap().timeout, Some(Duration::from_secs(30)));
        for wrong in
            ["{ timeout: soon }", "{ memory: -1 }", "{ retries: 1.5 }", "{ threads: many }"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stages_that_need_more_than_there_is_run_one_after_another() {
        let machine =
            Machine { cores: 2, memory: 100, used: Mutex::default(), freed: Condvar::new() };
        let large = Limits { memory: Some(500), ..Limits::default() };
        let most = Mutex::new((0, 0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _share = machine.share(large);
                    most.lock().unwrap().0 += 1;
                    std::thread::sleep(Duration::from_millis(2));
                    let mut most = most.lock().unwrap();
                    most.1 = most.1.max(most.0);
                    most.0 -= 1;
                });
            }
        });
        assert_eq!(most.lock().unwrap().1, 1);
    }
}
