//! Round trips.

use crate::{tell_closed, Arguments, Done, From, BESIDE_MAX, OUTBOX_MAX, WAIT};
use lyquor::{Driver, ErrorKind, Event, Handle, Item, Lane, Options, Result, Tag, Timer};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const PING: Tag = Tag::new(Lane::Urgent, 0);
const LONG: Tag = Tag::new(Lane::Bulk, 0);

pub fn listen(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
    let options = options.clone().max_message(BESIDE_MAX);
    if a.from == From::Callback {
        let (tell, done) = channel();
        let listening = driver.listen_fn(&a.address, &options, move |item| {
            if let Some(result) = answer(item) {
                let _ = tell.send(result);
            }
        })?;
        eprintln!("listening on {}", listening.address()?);
        return done.recv().unwrap_or(Ok(()));
    }
    let inbox = driver.inbox()?;
    let listening = driver.listen_into(&a.address, &options, &inbox)?;
    eprintln!("listening on {}", listening.address()?);
    #[cfg(feature = "tokio")]
    if a.from == From::Task {
        return crate::tasks::run(tasks::answer_all(inbox));
    }
    for item in inbox {
        if let Some(result) = answer(item) {
            return result;
        }
    }
    Ok(())
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

    fn counts(&self) -> bool {
        self.left <= self.count as u64
    }

    /// Notes that the message is back; whether another is to go.
    fn returned(&mut self) -> bool {
        let now = Instant::now();
        if self.counts() {
            self.all.push(now - self.sent);
        }
        self.left -= 1;
        self.sent = now;
        self.left > 0
    }
}

pub fn connect(a: &Arguments, driver: &Arc<Driver>, options: &Options) -> Result<()> {
    match a.from {
        From::Callback => connect_callback(a, driver, options),
        From::Thread | From::Batch => connect_thread(a, driver, options),
        #[cfg(feature = "tokio")]
        From::Task => crate::tasks::run(tasks::connect(a, driver, options)),
    }
}

fn connect_thread(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
    let message = vec![0u8; a.size as usize];
    let mut endpoint = driver.dial_with(&a.address, options)?;
    endpoint.wait_up(Some(WAIT))?;
    let ping = endpoint.tagged(PING);
    let mut trips = Trips::new(a.count);
    ping.try_send(&message)?;
    while endpoint.recv_timeout(WAIT)?.is_some() && trips.returned() {
        ping.try_send(&message)?;
    }
    report(a, trips, 0.0);
    Ok(())
}

#[cfg(feature = "tokio")]
mod tasks {
    use super::*;

    pub async fn answer_all(mut inbox: lyquor::Inbox) -> Result<()> {
        loop {
            if let Some(result) = answer(inbox.recv_async().await?) {
                return result;
            }
        }
    }

    pub async fn connect(a: &Arguments, driver: &Driver, options: &Options) -> Result<()> {
        let message = vec![0u8; a.size as usize];
        let mut endpoint = driver.dial_with(&a.address, options)?;
        endpoint.wait_up(Some(WAIT))?;
        let ping = endpoint.tagged(PING);
        let mut trips = Trips::new(a.count);
        ping.send_async(&message).await?;
        while endpoint.recv_async().await?.is_some() && trips.returned() {
            ping.send_async(&message).await?;
        }
        report(a, trips, 0.0);
        Ok(())
    }
}

// ---- From callback to callback, maybe beside long messages. All of it runs on the endpoint's worker.

/// The connecting side.
struct Pinger {
    driver: Arc<Driver>,
    message: Vec<u8>,
    every: Duration,
    tell: Sender<Done>,
    state: Mutex<State>,
    /// One long message; empty: none are sent.
    long: Arc<[u8]>,
}

struct State {
    trips: Trips,
    timer: Option<Timer>,
    beside: Beside,
}

/// Long messages: how many are out, and how many came back while round trips counted, from the first to the last.
#[derive(Default)]
struct Beside {
    out: u64,
    back: u64,
    span: Option<(Instant, Instant)>,
    filling: bool,
    over: bool,
}

/// A long message, which is dropped when the peer has consumed it.
struct Long {
    bytes: Arc<[u8]>,
    of: Option<(Arc<Pinger>, Handle)>,
}

impl AsRef<[u8]> for Long {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        if let Some((pinger, to)) = self.of.take() {
            pinger.long_is_back(to);
        }
    }
}

impl Pinger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn fail_if<T, E: Into<lyquor::Error>>(&self, result: Result<T, E>) {
        if let Err(error) = result {
            let _ = self.tell.send(Err(error.into()));
        }
    }

    /// The first thing that the endpoint's worker does.
    fn begin(self: &Arc<Self>, to: Handle) {
        self.fill(to);
        self.ping(to);
    }

    fn ping(&self, to: Handle) {
        self.state().trips.sent = Instant::now();
        self.fail_if(to.tagged(PING).try_send(&self.message));
    }

    /// Sends the message again, now or when it is time to.
    fn returned(self: &Arc<Self>, to: Handle) {
        let mut state = self.state();
        if !state.trips.returned() {
            state.beside.over = true;
            let _ = self.tell.send(Ok(()));
        } else if self.every.is_zero() {
            drop(state);
            self.fail_if(to.tagged(PING).try_send(&self.message));
        } else {
            let this = self.clone();
            match self.driver.timer(Some(to), self.every, move || this.ping(to)) {
                Ok(timer) => state.timer = Some(timer),
                Err(error) => self.fail_if(Err::<(), _>(error)),
            }
        }
    }

    /// Has the bulk lane hold as many long messages as it takes.
    fn fill(self: &Arc<Self>, to: Handle) {
        let size = self.long.len() as u64;
        self.state().beside.filling = true;
        loop {
            let mut state = self.state();
            let beside = &mut state.beside;
            if size == 0 || beside.over || (beside.out + 1) * size > OUTBOX_MAX / 2 {
                break;
            }
            beside.out += 1;
            drop(state);
            let long = Long { bytes: self.long.clone(), of: Some((self.clone(), to)) };
            if let Err(mut unsent) = to.tagged(LONG).try_send_owned(long) {
                unsent.data.of = None;
                self.state().beside.out -= 1;
                if unsent.error.kind() != ErrorKind::WouldBlock {
                    self.fail_if(Err::<(), _>(unsent.error));
                }
                break; // Event::Writable follows
            }
        }
        self.state().beside.filling = false;
    }

    fn long_is_back(self: &Arc<Self>, to: Handle) {
        let mut state = self.state();
        let counts = state.trips.counts();
        let beside = &mut state.beside;
        beside.out -= 1;
        if counts && !beside.over {
            let now = Instant::now();
            beside.back += u64::from(beside.span.is_some());
            beside.span = Some((beside.span.map_or(now, |(first, _)| first), now));
        }
        let more = !beside.over && !beside.filling; // what is short comes back at once, while it is sent
        drop(state);
        if more {
            self.fill(to);
        }
    }
}

fn connect_callback(a: &Arguments, driver: &Arc<Driver>, options: &Options) -> Result<()> {
    let (tell, done) = channel();
    let pinger = Arc::new(Pinger {
        driver: driver.clone(),
        message: vec![0; a.size as usize],
        every: Duration::from_micros(a.every),
        tell,
        state: Mutex::new(State { trips: Trips::new(a.count), timer: None, beside: Beside::default() }),
        long: vec![0; a.beside as usize].into(),
    });
    let outbox = if a.beside > 0 { OUTBOX_MAX } else { a.outbox };
    let this = pinger.clone();
    let to = driver.dial_fn(&a.address, &options.clone().outbox_bytes(outbox), move |item| match item {
        Item::Message(back) => this.returned(back.endpoint()),
        Item::Event(to, Event::Writable(_)) => this.fill(to),
        Item::Event(_, event) => tell_closed(&this.tell, event),
    })?;
    if to.wait_up(Some(WAIT)).is_ok() {
        let this = pinger.clone();
        let mut state = pinger.state(); // before it is due, which sets the next one
        state.timer = Some(driver.timer(Some(to), Duration::ZERO, move || this.begin(to))?);
    }
    done.recv().unwrap_or(Ok(()))?;
    let mut state = pinger.state();
    let (first, last) = state.beside.span.unwrap_or((state.trips.sent, state.trips.sent));
    let mb = (state.beside.back * a.beside) as f64 / 1e6 / (last - first).as_secs_f64().max(1e-9);
    let trips = std::mem::replace(&mut state.trips, Trips::new(0));
    drop(state);
    report(a, trips, mb);
    Ok(())
}

fn report(a: &Arguments, mut trips: Trips, beside_mb: f64) {
    let us = |duration: Duration| duration.as_secs_f64() * 1e6;
    let n = trips.all.len();
    let mean = us(trips.all.iter().sum::<Duration>()) / n as f64;
    trips.all.sort_unstable();
    let (p50, p99) = (us(trips.all[n / 2]), us(trips.all[n - 1 - n / 100]));
    let (from, size, count, beside) = (a.from.name(), a.size, a.count, a.beside);
    if a.json {
        println!(
            "{{\"role\":\"connect\",\"mode\":\"lat\",\"from\":\"{from}\",\"size\":{size},\"count\":{count},\
             \"p50_us\":{p50:.3},\"p99_us\":{p99:.3},\"mean_us\":{mean:.3},\"beside\":{beside},\
             \"beside_mb_per_s\":{beside_mb:.3}}}"
        );
    } else {
        println!(
            "round trip from {from}, size {size}, count {count}: median {p50:.1} us, 99 % below {p99:.1} us, mean \
             {mean:.1} us; beside messages of {beside}: {beside_mb:.1} MB/s"
        );
    }
}
