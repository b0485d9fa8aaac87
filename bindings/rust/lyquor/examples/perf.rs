//! Throughput and round trip between two processes: `lyqperf` in Rust, with which it talks.
//!
//! thr: the connector opens N endpoints, sends COUNT messages over them from one thread, ends them, and waits until the
//! listener has told on each how many arrived. The listener counts in its callback and copies nothing. What a run is,
//! the connector tells in a first message on channel PLAN of each endpoint, so that the listener needs no arguments.
//! lat: one message at a time goes there and back in the urgent lane, from callback to callback, or between threads
//! that pull.

use lyquor::{Driver, ErrorKind, Event, Handle, Incoming, Item, Lane, Options, Result, Resume, Tag};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: perf thr --listen ADDRESS | --connect ADDRESS [OPTION...]    messages and bytes per second
       perf lat --listen ADDRESS | --connect ADDRESS [OPTION...]    round trip of one message at a time

Start the listener first; with port 0 it says on standard error where it listens. Both report, then exit.

  --size BYTES        of a message, 1 to 1048576 (64 if not given); thr, lat: of the connector
  --count MESSAGES    in all (1000000; lat 100000); of the connector
  --endpoints N       to spread the messages over, 1 to 4096 (1); thr: of the connector
  --from WHERE        lat: callback (default) or thread: where messages are answered; both sides take it
  --workers N         threads of the driver (2)
  --busy-poll US      how long an idle worker looks for work before it sleeps (0)
  --outbox BYTES      cap on what waits to be sent or acknowledged, for each endpoint (the library's default)
  --json              print one line of JSON instead of words
  --help

Exit status: 0 done; 1 wrong usage; 2 failed.
";

const PLAN: Tag = Tag::new(Lane::Normal, 1);
const REPORT: Tag = Tag::new(Lane::Normal, 2);
const PING: Tag = Tag::new(Lane::Urgent, 0);
const WAIT: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Arguments {
    latency: bool,
    listen: bool,
    address: String,
    size: u64,
    count: u64,
    endpoints: u64,
    from_thread: bool,
    workers: u64,
    busy_poll: u64,
    outbox: u64,
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
        from_thread: false,
        workers: 2,
        busy_poll: 0,
        outbox: 0,
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
            "--outbox" => a.outbox = number(value(), 64 << 10, 128 << 20),
            "--from" => match value().as_str() {
                "thread" => a.from_thread = true,
                "callback" => a.from_thread = false,
                _ => refuse("--from callback or --from thread is allowed"),
            },
            "--json" => a.json = true,
            "--help" => {
                print!("{USAGE}");
                exit(0)
            }
            _ => refuse(&format!("{word} is not allowed here")),
        }
    }
    (a.latency, a.listen) = match (mode, role) {
        (Some(mode), Some(role)) => (mode, role),
        _ => refuse("thr or lat is required, and --listen ADDRESS or --connect ADDRESS"),
    };
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
    // A run that lost its connection is no measurement.
    let options = Options::new().resume(Resume::WithLink).outbox_bytes(a.outbox);
    match (a.latency, a.listen) {
        (false, true) => throughput_listen(a, &driver, &options)?,
        (false, false) => throughput_connect(a, &driver, &options)?,
        (true, true) => latency_listen(a, &driver, &options)?,
        (true, false) => latency_connect(a, &driver, &options)?,
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

/// Ends the process if a run counted something else than was sent.
fn check(counted: u64, wanted: u64) {
    if counted != wanted {
        eprintln!("perf: {counted} messages were counted instead of {wanted}");
        exit(2);
    }
}

// ---- Throughput.

/// What the connector tells first, as lyqperf does: endpoints, messages, bytes of each.
#[derive(Clone, Copy, Default)]
struct Plan([u64; 3]);

impl Plan {
    fn bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn read(bytes: &[u8]) -> Self {
        let mut plan = Plan::default();
        for (number, bytes) in plan.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        plan
    }
}

/// What all endpoints together have received.
#[derive(Default)]
struct Tally {
    plan: Plan,
    messages: u64,
    bytes: u64,
    ended: u64,
    /// From the first message to the last end.
    span: Option<(Instant, Instant)>,
}

fn throughput_listen(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let (tell, done) = channel();
    let mut listener = driver.listen_with(&a.address, options)?;
    eprintln!("listening on {}", listener.address()?);
    let all = tally.clone();
    std::thread::spawn(move || {
        while let Ok(incoming) = listener.incoming(None) {
            let _ = count(incoming, all.clone(), tell.clone());
        }
    });
    done.recv().unwrap_or(Ok(()))?;
    let tally = tally.lock().unwrap();
    let span = tally.span.map_or(Duration::ZERO, |(first, last)| last - first);
    report_throughput(a, driver, tally.plan, tally.messages, tally.bytes, span)?;
    check(tally.messages, tally.plan.0[1]);
    Ok(())
}

/// Counts the messages of one endpoint where nobody else does, and adds them up at its end.
fn count(incoming: Incoming, tally: Arc<Mutex<Tally>>, tell: Sender<Done>) -> Result<Handle> {
    let (mut messages, mut bytes, mut first) = (0, 0, None);
    incoming.on_recv(move |item| match item {
        Item::Message(message) if message.tag() == Tag::default() => {
            if messages == 0 {
                first = Some(Instant::now());
            }
            messages += 1;
            bytes += message.len() as u64;
        }
        Item::Message(message) => tally.lock().unwrap().plan = Plan::read(&message),
        Item::Event(from, Event::Ended) => {
            let now = Instant::now();
            let mut tally = tally.lock().unwrap();
            tally.messages += messages;
            tally.bytes += bytes;
            tally.ended += 1;
            let (start, _) = tally.span.unwrap_or((now, now));
            tally.span = Some((start.min(first.unwrap_or(now)), now));
            let _ = from.tagged(REPORT).try_send(tally.messages.to_le_bytes());
            let _ = from.end();
            if tally.ended == tally.plan.0[0] {
                let _ = tell.send(Ok(()));
            }
        }
        Item::Event(_, event) => tell_closed(&tell, event),
    })
}

fn throughput_connect(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
    let (tell, done) = channel();
    let counted = Arc::new(AtomicU64::new(0));
    let plan = Plan([a.endpoints, a.count, a.size]);
    let mut endpoints = Vec::new();
    for _ in 0..a.endpoints {
        let (tell, counted) = (tell.clone(), counted.clone());
        endpoints.push(driver.dial_fn(&a.address, options, move |item| match item {
            Item::Message(message) => {
                let messages = u64::from_le_bytes(message[..].try_into().unwrap_or_default());
                counted.fetch_max(messages, Relaxed);
                let _ = tell.send(Ok(()));
            }
            Item::Event(_, event) => tell_closed(&tell, event),
        })?);
    }
    for endpoint in &endpoints {
        endpoint.wait_up(Some(WAIT))?;
        endpoint.tagged(PLAN).send(plan.bytes())?;
    }
    let start = Instant::now();
    send_all(&endpoints, a)?;
    for endpoint in &endpoints {
        endpoint.end()?;
    }
    for _ in &endpoints {
        done.recv().unwrap_or(Ok(()))?;
    }
    let messages = counted.load(Relaxed);
    report_throughput(a, driver, plan, messages, messages * a.size, start.elapsed())?;
    check(messages, a.count);
    Ok(())
}

/// Spreads the messages over the endpoints in turn. One that is full is passed over; when all are, it waits.
fn send_all(endpoints: &[Handle], a: &Arguments) -> Result<()> {
    let message = vec![0u8; a.size as usize];
    let (mut at, mut full, mut sent) = (0, 0, 0);
    while sent < a.count {
        let result = match full < endpoints.len() {
            true => endpoints[at].try_send(&message),
            false => endpoints[at].send_timeout(&message, WAIT),
        };
        match result {
            Ok(_) => (full, sent) = (0, sent + 1),
            Err(error) if error.kind() == ErrorKind::WouldBlock => full += 1,
            Err(error) => return Err(error),
        }
        at += 1;
        if at == endpoints.len() {
            at = 0;
        }
    }
    Ok(())
}

fn report_throughput(
    a: &Arguments,
    driver: &Driver,
    plan: Plan,
    messages: u64,
    bytes: u64,
    span: Duration,
) -> Result<()> {
    let w = driver.counters()?;
    let (seconds, calls) = (span.as_secs_f64().max(1e-9), w.reads + w.writes + w.polls + w.wakes);
    let (rate, mb) = (messages as f64 / seconds, bytes as f64 / seconds / 1e6);
    let Plan([endpoints, count, size]) = plan;
    let (reads, writes, sleeps) = (w.reads, w.writes, w.sleeps);
    if a.json {
        let role = if a.listen { "listen" } else { "connect" };
        println!(
            "{{\"role\":\"{role}\",\"mode\":\"thr\",\"size\":{size},\"count\":{count},\"messages\":{messages},\
             \"bytes\":{bytes},\"seconds\":{seconds:.6},\"messages_per_s\":{rate:.0},\"mb_per_s\":{mb:.3},\
             \"endpoints\":{endpoints},\"reads\":{reads},\"writes\":{writes},\"sleeps\":{sleeps},\"syscalls\":{calls}}}"
        );
    } else {
        let role = if a.listen { "received" } else { "sent" };
        println!(
            "{role}: size {size}, count {count}: {messages} messages, {bytes} bytes in {seconds:.3} s: {rate:.0} \
             messages/s, {mb:.1} MB/s; {endpoints} endpoints, {reads} reads, {writes} writes, {sleeps} sleeps, \
             {calls} system calls"
        );
    }
    Ok(())
}

// ---- Round trips.

fn latency_listen(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
    let options = options.clone().max_message(32 << 20);
    if a.from_thread {
        let inbox = driver.inbox()?;
        let listening = driver.listen_into(&a.address, &options, &inbox)?;
        eprintln!("listening on {}", listening.address()?);
        for item in inbox {
            if let Some(result) = answer(item) {
                return result;
            }
        }
        return Ok(());
    }
    let (tell, done) = channel();
    let listening = driver.listen_fn(&a.address, &options, move |item| {
        if let Some(result) = answer(item) {
            let _ = tell.send(result);
        }
    })?;
    eprintln!("listening on {}", listening.address()?);
    done.recv().unwrap_or(Ok(()))
}

/// Sends an urgent message back where it came from. When the peer has gone the run is over.
fn answer(item: Item<'_>) -> Option<Done> {
    match item {
        Item::Message(message) if message.tag() == PING => message.endpoint().try_send(&message).err().map(Err),
        Item::Event(from, Event::Ended) => {
            let _ = from.end(); // the peer may have closed by now
            None
        }
        Item::Event(_, Event::Closed { reason, .. }) => Some(reason.map_or(Ok(()), Err)),
        _ => None,
    }
}

/// The times of round trips, but for the first tenth.
struct Trips {
    all: Vec<Duration>,
    left: u64,
    count: usize,
    sent: Instant,
}

impl Trips {
    fn new(count: u64) -> Self {
        Self {
            all: Vec::with_capacity(count as usize),
            left: count + count / 10,
            count: count as usize,
            sent: Instant::now(),
        }
    }

    /// Notes that the message is back; whether another is to go.
    fn returned(&mut self) -> bool {
        let now = Instant::now();
        self.left -= 1;
        if self.left < self.count as u64 {
            self.all.push(now - self.sent);
        }
        self.sent = now;
        self.left > 0
    }
}

fn latency_connect(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
    let message = vec![0u8; a.size as usize];
    let mut trips = Trips::new(a.count);
    if a.from_thread {
        let mut endpoint = driver.dial_with(&a.address, options)?;
        endpoint.wait_up(Some(WAIT))?;
        let ping = endpoint.tagged(PING);
        trips.sent = Instant::now();
        ping.try_send(&message)?;
        while endpoint.recv_timeout(WAIT)?.is_some() && trips.returned() {
            ping.try_send(&message)?;
        }
        report_latency(a, trips);
        return Ok(());
    }
    let (tell, done) = channel();
    let first = message.clone();
    let mut trips = Some(trips);
    let handle = driver.dial_fn(&a.address, options, move |item| match item {
        Item::Message(back) => {
            let more = trips.as_mut().is_some_and(Trips::returned);
            if more {
                let _ = back.endpoint().try_send(&message);
            } else if let Some(trips) = trips.take() {
                let _ = tell.send(Ok(trips));
            }
        }
        Item::Event(_, Event::Closed { reason: Some(error), .. }) => drop(tell.send(Err(error))),
        Item::Event(..) => {}
    })?;
    if handle.wait_up(Some(WAIT)).is_ok() {
        handle.tagged(PING).try_send(first)?;
    }
    let trips = done.recv().expect("the callback is there")?;
    report_latency(a, trips);
    Ok(())
}

fn report_latency(a: &Arguments, mut trips: Trips) {
    let us = |duration: Duration| duration.as_secs_f64() * 1e6;
    let n = trips.all.len();
    let mean = us(trips.all.iter().sum::<Duration>()) / n as f64;
    trips.all.sort_unstable();
    let (p50, p99) = (us(trips.all[n / 2]), us(trips.all[n - 1 - n / 100]));
    let from = if a.from_thread { "thread" } else { "callback" };
    let (size, count) = (a.size, a.count);
    if a.json {
        println!(
            "{{\"role\":\"connect\",\"mode\":\"lat\",\"from\":\"{from}\",\"size\":{size},\"count\":{count},\
             \"p50_us\":{p50:.3},\"p99_us\":{p99:.3},\"mean_us\":{mean:.3}}}"
        );
    } else {
        println!(
            "round trip from {from}, size {size}, count {count}: median {p50:.1} us, 99 % below {p99:.1} us, mean \
             {mean:.1} us"
        );
    }
}
