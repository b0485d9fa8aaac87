//! Throughput.

use crate::{tell_closed, Arguments, Done, From, WAIT};
use lyquor::{Driver, Endpoint, ErrorKind, Event, Handle, Incoming, Item, Lane, Listener, Options, Result, Tag};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PLAN: Tag = Tag::new(Lane::Normal, 1);
const REPORT: Tag = Tag::new(Lane::Normal, 2);

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

/// What one endpoint has received, where nobody else counts.
#[derive(Default)]
struct Count {
    messages: u64,
    bytes: u64,
    first: Option<Instant>,
}

impl Count {
    #[inline]
    fn add(&mut self, message: &[u8]) {
        if self.messages == 0 {
            self.first = Some(Instant::now());
        }
        self.messages += 1;
        self.bytes += message.len() as u64;
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

impl Tally {
    /// Notes what a run is; returns how many endpoints it has.
    fn begin(&mut self, plan: &[u8]) -> u64 {
        self.plan = Plan::read(plan);
        self.plan.0[0]
    }

    /// Adds what an endpoint has received, tells it the sum, and says whether it was the last.
    fn ended(&mut self, from: Handle, count: &Count) -> bool {
        let now = Instant::now();
        self.messages += count.messages;
        self.bytes += count.bytes;
        self.ended += 1;
        let (start, _) = self.span.unwrap_or((now, now));
        self.span = Some((start.min(count.first.unwrap_or(now)), now));
        let _ = from.tagged(REPORT).try_send(self.messages.to_le_bytes());
        let _ = from.end();
        self.ended == self.plan.0[0]
    }
}

pub fn listen(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut listener = driver.listen_with(&a.address, options)?;
    eprintln!("listening on {}", listener.address()?);
    match a.from {
        From::Callback => count_in_callbacks(listener, &tally)?,
        From::Thread => count_in_threads(&mut listener, &tally, count_in_loop)?,
        From::Batch => count_in_threads(&mut listener, &tally, count_in_batches)?,
        #[cfg(feature = "tokio")]
        From::Task => crate::tasks::run(tasks::count(&mut listener, &tally))?,
    }
    let tally = tally.lock().unwrap();
    let span = tally.span.map_or(Duration::ZERO, |(first, last)| last - first);
    report(a, driver, tally.plan, tally.messages, tally.bytes, span)?;
    check(tally.messages, tally.plan.0[1]);
    Ok(())
}

fn count_in_callbacks(mut listener: Listener, tally: &Arc<Mutex<Tally>>) -> Result<()> {
    let (tell, done) = channel();
    let tally = tally.clone();
    std::thread::spawn(move || {
        while let Ok(incoming) = listener.incoming(None) {
            let _ = count_in_callback(incoming, tally.clone(), tell.clone());
        }
    });
    done.recv().unwrap_or(Ok(()))
}

fn count_in_callback(incoming: Incoming, tally: Arc<Mutex<Tally>>, tell: Sender<Done>) -> Result<Handle> {
    let mut count = Count::default();
    incoming.on_recv(move |item| match item {
        Item::Message(message) if message.tag() == Tag::default() => count.add(&message),
        Item::Message(message) => drop(tally.lock().unwrap().begin(&message)),
        Item::Event(from, Event::Ended) => {
            if tally.lock().unwrap().ended(from, &count) {
                let _ = tell.send(Ok(()));
            }
        }
        Item::Event(_, event) => tell_closed(&tell, event),
    })
}

/// How a thread counts the messages of one endpoint.
type Loop = fn(&mut Endpoint, &mut Count) -> Result<()>;

fn count_in_threads(listener: &mut Listener, tally: &Arc<Mutex<Tally>>, receive: Loop) -> Result<()> {
    let mut threads = Vec::new();
    let mut endpoints = 1;
    while (threads.len() as u64) < endpoints {
        let mut endpoint = listener.accept()?;
        let tally = tally.clone();
        if let Some(plan) = endpoint.recv_timeout(WAIT)? {
            endpoints = tally.lock().unwrap().begin(&plan);
        }
        threads.push(std::thread::spawn(move || {
            let mut count = Count::default();
            receive(&mut endpoint, &mut count)?;
            tally.lock().unwrap().ended(endpoint.handle(), &count);
            Ok(())
        }));
    }
    threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
}

fn count_in_loop(endpoint: &mut Endpoint, count: &mut Count) -> Result<()> {
    for message in endpoint {
        count.add(&message?);
    }
    Ok(())
}

fn count_in_batches(endpoint: &mut Endpoint, count: &mut Count) -> Result<()> {
    while let Some(messages) = endpoint.batch(None)? {
        for message in &messages {
            count.add(&message);
        }
    }
    Ok(())
}

pub fn connect(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
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
    match a.from {
        From::Callback | From::Thread | From::Batch => send_all(&endpoints, a)?,
        #[cfg(feature = "tokio")]
        From::Task => crate::tasks::run(tasks::send_all(&endpoints, a))?,
    }
    for endpoint in &endpoints {
        endpoint.end()?;
    }
    for _ in &endpoints {
        done.recv().unwrap_or(Ok(()))?;
    }
    let messages = counted.load(Relaxed);
    report(a, driver, plan, messages, messages * a.size, start.elapsed())?;
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

#[cfg(feature = "tokio")]
mod tasks {
    use super::*;

    pub async fn count(listener: &mut Listener, tally: &Arc<Mutex<Tally>>) -> Result<()> {
        let mut tasks = Vec::new();
        let mut endpoints = 1;
        while (tasks.len() as u64) < endpoints {
            let mut endpoint = listener.accept_async().await?;
            let tally = tally.clone();
            if let Some(plan) = endpoint.recv_async().await? {
                endpoints = tally.lock().unwrap().begin(&plan);
            }
            tasks.push(tokio::spawn(async move { count_one(endpoint, &tally).await }));
        }
        for task in tasks {
            task.await.expect("it does not panic")?;
        }
        Ok(())
    }

    async fn count_one(mut endpoint: Endpoint, tally: &Mutex<Tally>) -> Result<()> {
        let mut count = Count::default();
        while let Some(message) = endpoint.recv_async().await? {
            count.add(&message);
        }
        tally.lock().unwrap().ended(endpoint.handle(), &count);
        Ok(())
    }

    pub async fn send_all(endpoints: &[Handle], a: &Arguments) -> Result<()> {
        let message = vec![0u8; a.size as usize];
        let mut turn = endpoints.iter().cycle();
        for _ in 0..a.count {
            turn.next().expect("there is one").send_async(&message).await?;
        }
        Ok(())
    }
}

/// Ends the process if a run counted something else than was sent.
fn check(counted: u64, wanted: u64) {
    if counted != wanted {
        eprintln!("perf: {counted} messages were counted instead of {wanted}");
        exit(2);
    }
}

fn report(a: &Arguments, driver: &Driver, plan: Plan, messages: u64, bytes: u64, span: Duration) -> Result<()> {
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
