//! Throughput and round trip between two processes: `lyqperf` in Rust, with which it talks.
//!
//! thr: the connector opens N endpoints, sends COUNT messages over them from one thread, ends them, and waits until the
//! listener has told on each how many arrived. The listener copies nothing. What a run is, the connector tells in a
//! first message on channel PLAN of each endpoint, so that the listener needs no arguments.
//! lat: one message at a time goes there and back in the urgent lane, from callback to callback, or between threads or
//! tasks that pull; with --beside while long messages fill the bulk lane, each sent again as soon as the peer has
//! consumed one.

mod latency;
mod throughput;

use lyquor::{Driver, Event, Options, Result, Resume};
use std::process::exit;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::time::Duration;

const USAGE: &str = "\
usage: perf thr --listen ADDRESS | --connect ADDRESS [OPTION...]    messages and bytes per second
       perf lat --listen ADDRESS | --connect ADDRESS [OPTION...]    round trip of one message at a time

Start the listener first; with port 0 it says on standard error where it listens. Both report, then exit.

  --size BYTES        of a message, 1 to 1048576 (64 if not given); thr, lat: of the connector
  --count MESSAGES    in all (1000000; lat 100000); of the connector
  --endpoints N       to spread the messages over, 1 to 4096 (1); thr: of the connector
  --from WHERE        where messages are received, and lat: answered: callback (default), thread, batch (a thread that
                      takes many at once), or task (of tokio, if built with that; as connector it sends, too); both
                      sides take it
  --beside BYTES      lat: messages of so many bytes fill the bulk lane meanwhile, 1 to 33554432; of the connector
  --every US          lat: a round trip begins no sooner than that after the last one did (0); of the connector
  --workers N         threads of the driver (2)
  --busy-poll US      how long an idle worker looks for work before it sleeps (0)
  --outbox BYTES      cap on what waits to be sent or acknowledged, for each endpoint (the library's default)
  --json              print one line of JSON instead of words
  --help, --version

Exit status: 0 done; 1 wrong usage; 2 failed.
";

const WAIT: Duration = Duration::from_secs(10);
const BESIDE_MAX: u64 = 32 << 20;
const OUTBOX_MAX: u64 = 128 << 20;

/// Where messages are received.
#[derive(Clone, Copy, PartialEq)]
enum From {
    Callback,
    Thread,
    Batch,
    #[cfg(feature = "tokio")]
    Task,
}

impl From {
    fn name(self) -> &'static str {
        match self {
            From::Callback => "callback",
            From::Thread => "thread",
            From::Batch => "batch",
            #[cfg(feature = "tokio")]
            From::Task => "task",
        }
    }
}

#[derive(Clone)]
struct Arguments {
    latency: bool,
    listen: bool,
    address: String,
    size: u64,
    count: u64,
    endpoints: u64,
    from: From,
    workers: u64,
    busy_poll: u64,
    outbox: u64,
    beside: u64,
    every: u64,
    json: bool,
}

fn refuse(text: &str) -> ! {
    eprint!("perf: {text}\n\n{USAGE}");
    exit(1)
}

fn parse() -> Arguments {
    let mut words = std::env::args().skip(1);
    let (mut mode, mut role) = (None, None);
    let mut a = Arguments {
        latency: false,
        listen: false,
        address: String::new(),
        size: 64,
        count: 0,
        endpoints: 1,
        from: From::Callback,
        workers: 2,
        busy_poll: 0,
        outbox: 0,
        beside: 0,
        every: 0,
        json: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| refuse(&format!("{word} needs a value")));
        let number = |value: String, min: u64, max: u64| match value.parse() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => refuse(&format!("{value}: a number from {min} to {max} is allowed")),
        };
        match word.as_str() {
            "thr" | "lat" if mode.is_none() => mode = Some(word == "lat"),
            "--listen" | "--connect" if role.is_none() => {
                role = Some(word == "--listen");
                a.address = value();
            }
            "--size" => a.size = number(value(), 1, 1 << 20),
            "--count" => a.count = number(value(), 1, 1 << 40),
            "--endpoints" => a.endpoints = number(value(), 1, 4096),
            "--workers" => a.workers = number(value(), 1, 64),
            "--busy-poll" => a.busy_poll = number(value(), 0, 1_000_000),
            "--outbox" => a.outbox = number(value(), 64 << 10, OUTBOX_MAX),
            "--from" => match value().as_str() {
                "callback" => a.from = From::Callback,
                "thread" => a.from = From::Thread,
                "batch" => a.from = From::Batch,
                #[cfg(feature = "tokio")]
                "task" => a.from = From::Task,
                _ => refuse("--from callback, thread, batch or, with the feature tokio, task is allowed"),
            },
            "--beside" => a.beside = number(value(), 1, BESIDE_MAX),
            "--every" => a.every = number(value(), 0, 1_000_000),
            "--json" => a.json = true,
            "--help" => {
                print!("{USAGE}");
                exit(0)
            }
            "--version" => {
                println!("perf {}", lyquor::version());
                exit(0)
            }
            _ => refuse(&format!("{word} is not allowed here")),
        }
    }
    (a.latency, a.listen) = match (mode, role) {
        (Some(mode), Some(role)) => (mode, role),
        _ => refuse("thr or lat is required, and --listen ADDRESS or --connect ADDRESS"),
    };
    if a.from != From::Callback && (a.beside > 0 || a.every > 0) {
        refuse("--beside and --every are for --from callback");
    }
    if a.count == 0 {
        a.count = if a.latency { 100_000 } else { 1_000_000 };
    }
    a
}

fn main() {
    let arguments = parse();
    if let Err(error) = run(&arguments) {
        eprintln!("perf: {}: {error}", arguments.address);
        exit(2);
    }
}

fn run(a: &Arguments) -> Result<()> {
    let driver = Driver::builder().workers(a.workers as u32).busy_poll(Duration::from_micros(a.busy_poll)).open()?;
    let driver = Arc::new(driver);
    // A run that lost its connection is no measurement.
    let options = Options::new().resume(Resume::WithLink).outbox_bytes(a.outbox);
    match (a.latency, a.listen) {
        (false, true) => throughput::listen(a, &driver, &options)?,
        (false, false) => throughput::connect(a, &driver, &options)?,
        (true, true) => latency::listen(a, &driver, &options)?,
        (true, false) => latency::connect(a, &driver, &options)?,
    }
    driver.shutdown(Duration::from_secs(1))
}

/// What callbacks tell the main thread: that the run is over, or why it failed.
type Done = Result<()>;

fn tell_closed(done: &Sender<Done>, event: Event<'_>) {
    if let Event::Closed { reason: Some(error), .. } = event {
        let _ = done.send(Err(error));
    }
}

#[cfg(feature = "tokio")]
mod tasks {
    /// Runs a task, and those that it spawns.
    pub fn run<T>(task: impl std::future::Future<Output = T>) -> T {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(task)
    }
}
