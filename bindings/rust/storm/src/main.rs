//! The storm of tests/chaos/storm.c in Rust, either end of it: it sends numbered messages on three lanes, receives
//! those of another storm, and counts what is lost, twice, out of order or damaged. message.h there says what a
//! message is.

use lyquor::{Driver, ErrorKind, Event, Handle, Inbox, Item, Lane, Message, Options, Result, Resume, Tag};
use std::collections::BTreeSet;
use std::io::Read;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::Arc;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

// As in storm.c.
const START: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(60);
const SEND: Duration = Duration::from_millis(100);
const OUTBOX: u64 = 1 << 20;
const MIX: u64 = 8;
/// Lanes that are used: all but the low one.
const LANES: u64 = 3;

// ---- Messages.

const MAGIC: u32 = 0x6d72_6f74;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const HEAD: usize = 32;

fn mix64(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// What the messages of one direction and lane have in common.
fn flow_of(seed: u64, from_dialler: bool, lane: Lane) -> u64 {
    mix64(mix64(seed).wrapping_add(u64::from(from_dialler) << 8 | lane as u64).wrapping_add(1))
}

fn key_of(flow: u64, number: u64) -> u64 {
    mix64(flow.wrapping_add(number.wrapping_mul(GOLDEN)))
}

fn head(key: u64, lane: Lane, number: u64, size: usize, last: bool) -> [u8; HEAD] {
    let size = size as u64;
    let sum = mix64(mix64(key ^ size).wrapping_add(u64::from(MAGIC) << 32 | (lane as u64) << 8 | u64::from(last)));
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&MAGIC.to_le_bytes());
    head[4] = lane as u8;
    head[5] = last.into();
    for (i, word) in [number, size, sum].into_iter().enumerate() {
        head[8 * (i + 1)..8 * (i + 2)].copy_from_slice(&word.to_le_bytes());
    }
    head
}

/// The words behind the head, of which the last may be cut off.
fn words(key: u64) -> impl Iterator<Item = [u8; 8]> {
    (0u64..).map(move |i| {
        let x = key.wrapping_add(i).wrapping_mul(GOLDEN);
        (x ^ x >> 32).to_le_bytes()
    })
}

fn make(flow: u64, lane: Lane, number: u64, size: usize, last: bool) -> Vec<u8> {
    let key = key_of(flow, number);
    let mut message = Vec::with_capacity(size + 8);
    message.extend(head(key, lane, number, size, last));
    words(key).take((size - HEAD).div_ceil(8)).for_each(|word| message.extend(word));
    message.truncate(size);
    message
}

/// Checks a message that came as that one of its lane against what it says that it is; whether it is the last.
fn read(message: &[u8], tag: Tag, number: u64, flow: u64) -> Option<bool> {
    let (key, last) = (key_of(flow, number), *message.get(5)? == 1);
    let content = message.strip_prefix(&head(key, tag.lane, number, message.len(), last))?;
    let good = content.chunks(8).zip(words(key)).all(|(got, word)| got == &word[..got.len()]);
    (good && number as u16 == tag.channel).then_some(last)
}

// ---- The account.

/// What arrived on one lane, held against what should have: every number once, in order.
#[derive(Default)]
struct Account {
    next: u64,
    received: u64,
    duplicated: u64,
    reordered: u64,
    last: u64,
    missing: BTreeSet<u64>,
}

impl Account {
    fn enter(&mut self, number: u64, last: bool) {
        self.received += 1;
        self.last += u64::from(last);
        if number >= self.next {
            self.missing.extend(self.next..number.min(self.next + 100_000));
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
    }
}

/// What is known of the run.
#[derive(Default)]
struct Report {
    lanes: [Account; Lane::ALL.len()],
    misframed: u64,
    strays: u64,
    ups: u64,
    downs: u64,
    restarts: u64,
    bytes: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    silence: Duration,
}

impl Report {
    fn book(&mut self, message: &Message<'_>, seed: u64, from_dialler: bool) {
        let (now, lane) = (Instant::now(), message.tag().lane);
        self.first.get_or_insert(now);
        self.silence = self.silence.max(now - self.last.unwrap_or(now));
        self.last = Some(now);
        self.bytes += message.len() as u64;
        match read(message, message.tag(), message.id(), flow_of(seed, from_dialler, lane)) {
            Some(last) => self.lanes[lane as usize].enter(message.id(), last),
            None => self.misframed += 1,
        }
    }

    /// Each lane that is used has had its last message.
    fn is_whole(&self) -> bool {
        self.lanes.iter().map(|lane| lane.last).sum::<u64>() == LANES
    }

    /// Prints the line of JSON that storm.c prints; whether nothing is wrong with it.
    fn print(&self, role: &str, sent: u64, moves: u64, complete: bool) -> bool {
        let sum = |of: fn(&Account) -> u64| self.lanes.iter().map(of).sum::<u64>();
        let lost = sum(|lane| lane.missing.len() as u64);
        let (received, duplicated, reordered) = (sum(|l| l.received), sum(|l| l.duplicated), sum(|l| l.reordered));
        let seconds = self.first.zip(self.last).map_or(0.0, |(first, last)| (last - first).as_secs_f64()) + 1e-9;
        let bulk = &self.lanes[Lane::Bulk as usize];
        println!(
            "{{\"role\":\"{role}\",\"sent\":{sent},\"received\":{received},\"lost\":{lost},\
             \"duplicated\":{duplicated},\"reordered\":{reordered},\"misframed\":{},\"strays\":{},\"huge\":{},\
             \"ups\":{},\"downs\":{},\"restarts\":{},\"moves\":{moves},\"switches\":0,\"bytes_per_s\":{:.0},\
             \"seconds\":{seconds:.3},\"longest_silence_ms\":{:.0},\"complete\":{complete}}}",
            self.misframed,
            self.strays,
            bulk.received - bulk.last,
            self.ups,
            self.downs,
            self.restarts,
            self.bytes as f64 / seconds,
            self.silence.as_secs_f64() * 1000.0,
        );
        complete && lost + duplicated + reordered + self.misframed + self.strays + self.restarts == 0
    }
}

// ---- Sending: a thread for each lane.

struct Sender {
    to: Handle,
    options: Arguments,
    over: AtomicBool,
    sent: AtomicU64,
    /// Messages that the library has, and may read.
    lent: AtomicU64,
}

impl Sender {
    fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// Sends a message, waiting for room as long as the storm goes on, and so long. False: its number is free.
    fn offer(&self, lane: Lane, number: u64, message: &[u8], more: Duration) -> bool {
        let (to, until) = (self.to.tagged(Tag::new(lane, number as u16)), Instant::now() + more);
        loop {
            match to.send_timeout(message, SEND) {
                Ok(id) => assert_eq!(id, number, "the number of a message of {lane:?}"),
                Err(error) if error.kind() == ErrorKind::Closed => return false,
                Err(error) if error.kind() != ErrorKind::TimedOut => panic!("{lane:?}: {error}"),
                Err(_) if self.is_over() && Instant::now() >= until => return false,
                Err(_) => continue,
            }
            return true;
        }
    }

    fn send_lane(self: Arc<Self>, lane: Lane) {
        let flow = flow_of(self.options.seed, !self.options.listen, lane);
        let mut sent = match lane {
            Lane::Bulk => self.send_huge(lane, flow),
            _ => self.send_mixed(lane, flow),
        };
        sent += u64::from(self.offer(lane, sent, &make(flow, lane, sent, HEAD, true), SETTLE));
        self.sent.fetch_add(sent, SeqCst);
    }

    /// Sends without pause: small messages, and on the normal lane also some up to the large size.
    fn send_mixed(&self, lane: Lane, flow: u64) -> u64 {
        for number in 0.. {
            let (dice, large) = (mix64(key_of(flow, number)), self.options.large);
            let size = match lane {
                Lane::Normal if dice % MIX == 0 => large - (dice >> 32) % (large / 2),
                _ => self.options.small,
            };
            let message = make(flow, lane, number, size as usize, false);
            if self.is_over() || !self.offer(lane, number, &message, Duration::ZERO) {
                return number;
            }
        }
        unreachable!("numbers do not end")
    }

    /// Lends a message of the huge size now and then.
    fn send_huge(self: &Arc<Self>, lane: Lane, flow: u64) -> u64 {
        let (mut number, mut due) = (0, Instant::now());
        while !self.is_over() {
            if Instant::now() < due {
                sleep(Duration::from_millis(1));
                continue;
            }
            let to = self.to.tagged(Tag::new(lane, number as u16));
            self.lent.fetch_add(1, SeqCst);
            let bytes = make(flow, lane, number, self.options.huge as usize, false);
            let mut message = Lent { bytes, of: self.clone() };
            loop {
                match to.try_send_owned(message) {
                    Ok(id) => break assert_eq!(id, number, "the number of a huge message"),
                    Err(unsent) if unsent.error.kind() == ErrorKind::Closed || self.is_over() => return number,
                    Err(unsent) if unsent.error.kind() == ErrorKind::WouldBlock => message = unsent.data,
                    Err(unsent) => panic!("a huge message: {}", unsent.error),
                }
                sleep(Duration::from_millis(1));
            }
            number += 1;
            due += Duration::from_millis(self.options.huge_every_ms);
        }
        number
    }

    /// Waits for what was lent.
    fn has_all_back(&self) -> bool {
        let end = Instant::now() + SETTLE;
        while self.lent.load(SeqCst) > 0 && Instant::now() < end {
            sleep(Duration::from_millis(1));
        }
        self.lent.load(SeqCst) == 0
    }

    /// Has the endpoint go from worker to worker.
    fn keep_moving(&self) {
        for k in 0.. {
            if self.is_over() {
                return;
            }
            let _ = self.to.set_worker(1 + k % 2);
            sleep(Duration::from_secs(1) / self.options.moves as u32);
        }
    }
}

/// A message that is lent: when it is given back it is spoiled, so that whoever still sends from it sends damage.
struct Lent {
    bytes: Vec<u8>,
    of: Arc<Sender>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.bytes.iter_mut().step_by(4096).for_each(|byte| *byte ^= 0xff);
        self.of.lent.fetch_sub(1, SeqCst);
    }
}

// ---- The run.

/// One end of the storm.
struct Storm {
    options: Arguments,
    inbox: Inbox,
    report: Report,
    /// What carries it: what was dialled, or the first that brings a message. A listener may have accepted others,
    /// whose connections were cut before their dialler knew of them.
    carrier: Option<Handle>,
    /// Why the carrier has ended.
    closed: Option<String>,
}

impl Storm {
    fn take(&mut self, item: Item<'_>) {
        let report = &mut self.report;
        match item {
            Item::Message(message) => {
                let carrier = *self.carrier.get_or_insert(message.endpoint());
                if message.endpoint() == carrier {
                    report.book(&message, self.options.seed, self.options.listen);
                } else {
                    report.strays += 1;
                }
            }
            Item::Event(_, Event::Up(_)) => report.ups += 1,
            Item::Event(_, Event::Down(_)) => report.downs += 1,
            Item::Event(_, Event::Restarted(_)) => report.restarts += 1,
            Item::Event(from, Event::Closed { reason, .. }) if self.carrier == Some(from) => {
                self.closed = Some(reason.map_or("closed".to_string(), |reason| reason.to_string()));
            }
            Item::Event(..) => {}
        }
    }

    /// Takes what comes until something is so, for no longer than that; whether it is.
    fn take_until(&mut self, limit: Duration, so: impl Fn(&Report) -> bool) -> Result<bool> {
        let end = Instant::now() + limit;
        while !so(&self.report) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.closed.is_some() {
                return Ok(false);
            }
            match self.inbox.recv_timeout(left) {
                Ok(item) => self.take(item),
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sends and receives until all is over; whether nothing is wrong.
    fn blow(&mut self, driver: &Driver) -> Result<bool> {
        let listen = self.options.listen;
        let begun = |report: &Report| if listen { report.bytes > 0 } else { report.ups > 0 };
        if !self.take_until(START, begun)? {
            eprintln!("storm: no connection was made in time: {:?}", self.closed);
            exit(2);
        }
        let to = self.carrier.expect("it has begun").tagged(Tag::default());
        let sender = Arc::new(Sender {
            to,
            options: self.options.clone(),
            over: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            lent: AtomicU64::new(0),
        });
        let start = |work: fn(Arc<Sender>)| {
            let sender = sender.clone();
            spawn(move || work(sender))
        };
        let mut threads = vec![
            start(|sender| sender.send_lane(Lane::Normal)),
            start(|sender| sender.send_lane(Lane::Urgent)),
            start(|sender| sender.send_lane(Lane::Bulk)),
        ];
        if self.options.moves > 0 {
            threads.push(start(|sender| sender.keep_moving()));
        }
        self.take_until(Duration::from_secs(self.options.seconds), |_| false)?;
        sender.over.store(true, SeqCst);
        let whole = self.take_until(SETTLE, Report::is_whole)?;
        threads.into_iter().for_each(|thread| thread.join().expect("a sender"));
        let complete = whole && to.flush(Some(SETTLE)).is_ok() && sender.has_all_back();
        let role = if self.options.listen { "listen" } else { "connect" };
        let good = self.report.print(role, sender.sent.load(SeqCst), driver.counters()?.moves, complete);
        if !complete {
            for (lane, account) in self.report.lanes.iter().enumerate() {
                eprintln!("storm: lane {lane}: {} received, {} would be next", account.received, account.next);
            }
            let lives = self.closed.as_deref().unwrap_or("it lives");
            eprintln!("storm: {lives}\nstorm: what is to be sent:\n{}", to.explain().unwrap_or_default());
        }
        Ok(good)
    }
}

fn run(options: Arguments) -> Result<bool> {
    let driver = Driver::new()?;
    let inbox = driver.inbox()?;
    let mut endpoint = Options::new().outbox_bytes(OUTBOX).max_message(options.huge.max(1 << 20));
    if options.keepalive_ms > 0 {
        endpoint = endpoint.keepalive(Some(Duration::from_millis(options.keepalive_ms)));
    }
    let (mut carrier, mut listening) = (None, Vec::new());
    if options.listen {
        for address in options.addresses.iter() {
            listening.push(driver.listen_into(address, &endpoint, &inbox)?);
            eprintln!("listening on {}", listening.last().expect("it").address()?);
        }
    } else {
        carrier = Some(driver.dial_into(&options.addresses[0], &endpoint.resume(Resume::ForEver), &inbox)?);
    }
    let hold = options.hold;
    let mut storm = Storm { options, inbox, report: Report::default(), carrier, closed: None };
    let good = storm.blow(&driver)?;
    if hold {
        std::io::stdin().read_to_end(&mut Vec::new()).expect("standard input");
    }
    driver.shutdown(Duration::from_secs(5))?;
    Ok(good)
}

// ---- The command line.

#[derive(Clone)]
struct Arguments {
    listen: bool,
    /// Of `--listen` or `--connect`, and of `--also`, where a dialler does not go.
    addresses: Vec<String>,
    hold: bool,
    seconds: u64,
    seed: u64,
    small: u64,
    large: u64,
    huge: u64,
    huge_every_ms: u64,
    keepalive_ms: u64,
    moves: u64,
}

const USAGE: &str = "usage: storm --listen ADDRESS | --connect ADDRESS [OPTION...], as storm.c but for --switches";

fn parse() -> Option<Arguments> {
    let mut a = Arguments {
        listen: false,
        addresses: Vec::new(),
        hold: false,
        seconds: 10,
        seed: 1,
        small: 64,
        large: 20480,
        huge: 64 << 20,
        huge_every_ms: 10000,
        keepalive_ms: 0,
        moves: 0,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = match word.as_str() {
            "--hold" | "--json" => {
                a.hold |= word == "--hold";
                continue;
            }
            "--listen" | "--connect" | "--also" => {
                a.listen |= word == "--listen";
                a.addresses.push(words.next()?);
                continue;
            }
            "--seconds" => &mut a.seconds,
            "--seed" => &mut a.seed,
            "--small" => &mut a.small,
            "--large" => &mut a.large,
            "--huge" => &mut a.huge,
            "--huge-every-ms" => &mut a.huge_every_ms,
            "--keepalive-ms" => &mut a.keepalive_ms,
            "--moves" => &mut a.moves,
            _ => return None,
        };
        *number = words.next()?.parse().ok()?;
    }
    (!a.addresses.is_empty()).then_some(a)
}

fn main() {
    let Some(options) = parse() else {
        eprintln!("{USAGE}");
        exit(2)
    };
    match run(options) {
        Ok(good) => exit((!good).into()),
        Err(error) => {
            eprintln!("storm: {error}");
            exit(2)
        }
    }
}

/// A storm that sees nothing proves nothing.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_that_changes_is_noticed() {
        let (tag, flow) = (Tag::new(Lane::Normal, 5), flow_of(7, true, Lane::Normal));
        for size in [32, 33, 39, 40, 64, 191, 4096] {
            let mut message = make(flow, Lane::Normal, 5, size, false);
            assert_eq!(read(&message, tag, 5, flow), Some(false));
            for i in 0..size {
                message[i] ^= 0x10;
                assert_eq!(read(&message, tag, 5, flow), None, "byte {i} of {size}");
                message[i] ^= 0x10;
            }
            assert_eq!(read(&message[..size - 1], tag, 5, flow), None);
            assert_eq!(read(&message, tag, 6, flow), None);
            assert_eq!(read(&message, Tag::new(Lane::Normal, 6), 5, flow), None);
            assert_eq!(read(&message, Tag::new(Lane::Urgent, 5), 5, flow), None);
            assert_eq!(read(&message, tag, 5, flow_of(7, false, Lane::Normal)), None);
        }
    }

    #[test]
    fn what_is_not_in_order_is_counted() {
        let mut account = Account::default();
        for number in [0, 1, 5, 3, 3, 2, 1, 6, 9] {
            account.enter(number, number == 9);
        }
        assert_eq!(account.missing, [4, 7, 8].into());
        let counts = [account.received, account.reordered, account.duplicated, account.last, account.next];
        assert_eq!(counts, [9, 2, 2, 1, 10]);
    }
}
