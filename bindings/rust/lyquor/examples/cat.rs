//! netcat for lyquor: joins standard input and output to one endpoint, dialled or accepted. It is `lyqcat` in Rust.
//!
//! One thread reads standard input and sends; the main thread receives and writes. Neither waits for the other, so that
//! both directions run at once, and each is slowed down only by its own peer: what is not written is not dropped, and
//! what is not dropped stops the sender. A third one waits for signals.

use lyquor::{Driver, Endpoint, ErrorKind, Event, Handle, Item, Options, Resume};
use std::ffi::c_int;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::{exit, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: cat ADDRESS            connect, send standard input, write what comes to standard output
       cat -l ADDRESS         listen, serve one peer in the same way, exit

ADDRESS is tcp://HOST:PORT (port 0: any free one), or fd://N for an open socket.

  -l, --listen           listen instead of connecting; says on standard error where
  -m, --messages=KIND    what a message is:
                           block[:SIZE]  what one read gives, at most SIZE bytes (65536 if not given)
                           line          a line; the newline is taken off, and put back on output
      --stats            print one line about the transfer at the end
  -v, --verbose          say when the peer is there and when it has ended
  -q, --quiet            print nothing but errors and --stats
  -h, --help             print this
  -V, --version          print the version

The end of the input ends this direction alone; cat exits when both have ended, or when the peer closes.
A listener whose input is a terminal and whose output is not does not read the terminal.

Exit status: 0 done; 1 wrong usage; 2 no connection, or one that ended before everything was sent or received;
3 standard input or output failed; 128 plus its number after SIGINT or SIGTERM, which the peer sees as a broken
connection.
";

const MESSAGE_MAX: usize = 1 << 20; // what every lyquor takes without asking
const BUFFER: u64 = 8 << 20; // of each direction: room for a scheduler's time slice at several GB/s
const OFTEN: u64 = 256; // messages between two looks at the clock
const TICK: Duration = Duration::from_millis(500); // how often progress is shown

#[derive(Default)]
struct Arguments {
    address: Option<String>,
    listen: bool,
    lines: bool,
    block: usize,
    stats: bool,
    verbose: bool,
    quiet: bool,
}

/// Why it ends other than well: the exit status, and what to say.
struct Failure(u8, String);

impl From<lyquor::Error> for Failure {
    fn from(error: lyquor::Error) -> Self {
        Failure(2, error.to_string())
    }
}

/// Messages and bytes of one direction.
#[derive(Default)]
struct Account {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Account {
    fn add(&self, message: &[u8]) {
        self.messages.fetch_add(1, Relaxed);
        self.bytes.fetch_add(message.len() as u64, Relaxed);
    }
}

/// What was moved so far, which each thread may look at.
#[derive(Default)]
struct Transfer {
    sent: Account,
    received: Account,
    /// When there was a connection.
    started: OnceLock<Instant>,
    /// The line on standard error is one of progress.
    shown: AtomicBool,
}

impl Transfer {
    /// Prints one line on standard error, over that of progress if there is one.
    fn say(&self, text: impl std::fmt::Display) {
        let over = if self.shown.swap(false, Relaxed) { "\r\x1b[K" } else { "" };
        eprintln!("{over}cat: {text}");
    }

    fn show_progress(&self) {
        let (sent, received) = (self.sent.bytes.load(Relaxed), self.received.bytes.load(Relaxed));
        let (sent, received) = (sent as f64 / 1e6, received as f64 / 1e6);
        let seconds = self.seconds().max(1e-9);
        self.shown.store(true, Relaxed);
        eprint!("\r\x1b[K{sent:.1} MB sent, {received:.1} MB received, {:.1} MB/s", (sent + received) / seconds);
    }

    fn print_stats(&self) {
        let Self { sent, received, .. } = self;
        let (seconds, sent_bytes, received_bytes) =
            (self.seconds(), sent.bytes.load(Relaxed), received.bytes.load(Relaxed));
        let rate = (sent_bytes + received_bytes) as f64 / 1e6 / seconds.max(1e-9);
        self.say(format_args!(
            "sent {} messages, {sent_bytes} bytes; received {} messages, {received_bytes} bytes; {seconds:.3} s, \
             {rate:.1} MB/s",
            sent.messages.load(Relaxed),
            received.messages.load(Relaxed)
        ));
    }

    fn seconds(&self) -> f64 {
        self.started.get().map_or(0.0, |started| started.elapsed().as_secs_f64())
    }
}

// ---- Signals.

/// As C lays it out on Linux.
#[repr(C)]
struct SignalSet([u64; 16]);

// What std does not offer.
extern "C" {
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, before: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
}
const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
const SIG_BLOCK: c_int = 0;
const SIG_UNBLOCK: c_int = 1;

/// Has a thread wait for a signal, which ends the program; another one does so in any case. No other thread is begun
/// before this.
fn end_on_signal(transfer: &Arc<Transfer>, stats: bool) {
    let mut set = SignalSet([0; 16]);
    // SAFETY: the set lives until the calls return.
    unsafe {
        sigemptyset(&mut set);
        sigaddset(&mut set, SIGINT);
        sigaddset(&mut set, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &set, std::ptr::null_mut());
    }
    let transfer = transfer.clone();
    std::thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: both live until the calls return.
        unsafe {
            sigwait(&set, &mut signal);
            pthread_sigmask(SIG_UNBLOCK, &set, std::ptr::null_mut());
        }
        if stats {
            transfer.print_stats();
        } else if transfer.shown.load(Relaxed) {
            eprintln!();
        }
        exit(128 + signal);
    });
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let transfer = Arc::new(Transfer::default());
    end_on_signal(&transfer, arguments.stats);
    match run(&arguments, &transfer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(status, text)) => {
            transfer.say(text);
            ExitCode::from(status)
        }
    }
}

/// Reads the command line; an error is the status to exit with.
fn parse() -> Result<Arguments, ExitCode> {
    let mut arguments = Arguments { block: 64 << 10, ..Arguments::default() };
    let wrong = |text: String| {
        eprint!("cat: {text}\n\n{USAGE}");
        ExitCode::from(1)
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-l" | "--listen" => arguments.listen = true,
            "--stats" => arguments.stats = true,
            "-v" | "--verbose" => arguments.verbose = true,
            "-q" | "--quiet" => arguments.quiet = true,
            "-h" | "--help" => {
                print!("{USAGE}");
                return Err(ExitCode::SUCCESS);
            }
            "-V" | "--version" => {
                println!("cat {}", lyquor::version());
                return Err(ExitCode::SUCCESS);
            }
            "-m" | "--messages" => {
                let kind = words.next().unwrap_or_default();
                messages(&mut arguments, &kind).map_err(wrong)?;
            }
            word if word.starts_with("--messages=") => {
                messages(&mut arguments, &word["--messages=".len()..]).map_err(wrong)?;
            }
            word if word.starts_with('-') || arguments.address.is_some() => {
                return Err(wrong(format!("{word} is not allowed here")));
            }
            word => arguments.address = Some(word.to_string()),
        }
    }
    match arguments.address {
        Some(_) => Ok(arguments),
        None => Err(wrong("an address is missing".to_string())),
    }
}

fn messages(arguments: &mut Arguments, kind: &str) -> Result<(), String> {
    let size = kind.strip_prefix("block:").map(|size| size.parse().unwrap_or(0));
    match (kind, size) {
        ("line", _) => arguments.lines = true,
        ("block", _) => {}
        (_, Some(size @ 1..=MESSAGE_MAX)) => arguments.block = size,
        _ => return Err(format!("-m {kind}: line, block or block:SIZE is allowed, SIZE from 1 to {MESSAGE_MAX}")),
    }
    Ok(())
}

fn run(arguments: &Arguments, transfer: &Arc<Transfer>) -> Result<(), Failure> {
    let address = arguments.address.as_deref().unwrap_or_default();
    let driver = Arc::new(Driver::builder().workers(1).open()?);
    let options = Options::new().outbox_bytes(BUFFER).window_bytes(BUFFER).resume(Resume::WithLink);
    let (mut endpoint, listener) = if arguments.listen {
        let mut listener = driver.listen_with(address, &options)?;
        if !arguments.quiet {
            eprintln!("listening on {}", listener.address()?);
        }
        (listener.accept()?, Some(listener))
    } else {
        (driver.dial_with(address, &options)?, None)
    };
    let mut peer = Peer::new(arguments, transfer);
    let result = peer.await_up(&mut endpoint).and_then(|()| {
        drop(listener); // one peer is served
        let input = start_input(&driver, endpoint.handle(), arguments, transfer)?;
        peer.serve(&mut endpoint, &input)
    });
    if let Err(Failure(_, text)) = &result {
        transfer.say(text);
    }
    if arguments.stats {
        transfer.print_stats();
    }
    if let Err(Failure(status, _)) = result {
        // The peer is not told of an orderly end: it sees the broken connection that it is.
        exit(status.into());
    }
    Ok(driver.shutdown(Duration::ZERO)?)
}

/// What became of the input.
type Input = Result<(), Failure>;

/// Reads standard input on a thread of its own; a listener's that is a terminal only if its output is one.
fn start_input(
    driver: &Arc<Driver>,
    to: Handle,
    arguments: &Arguments,
    transfer: &Arc<Transfer>,
) -> Result<Receiver<Input>, Failure> {
    let (tell, told) = channel();
    if arguments.listen && io::stdin().is_terminal() && !io::stdout().is_terminal() {
        to.end()?;
        let _ = tell.send(Ok(()));
        return Ok(told);
    }
    let (lines, block, driver, transfer) = (arguments.lines, arguments.block, driver.clone(), transfer.clone());
    std::thread::spawn(move || {
        let result = read_input(to, lines, block, &transfer.sent);
        let all = result.is_ok();
        let _ = tell.send(result); // before the peer may close because of what follows
        if all {
            let _ = to.end();
        }
        let _wake = driver.timer(Some(to), Duration::ZERO, || ()); // the main thread looks
        loop {
            std::thread::park();
        }
    });
    Ok(told)
}

/// Sends standard input to its end.
fn read_input(to: Handle, lines: bool, block: usize, sent: &Account) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure(3, format!("standard input: {error}"));
    let mut input = io::stdin().lock();
    let mut buffer = Vec::new();
    loop {
        if lines {
            buffer.clear();
            let n = input.by_ref().take(MESSAGE_MAX as u64 + 1).read_until(b'\n', &mut buffer).map_err(failed)?;
            if n == 0 {
                return Ok(());
            }
            if buffer.last() == Some(&b'\n') {
                buffer.pop();
            } else if buffer.len() > MESSAGE_MAX {
                return Err(Failure(3, "standard input: a line is longer than 1048576 bytes".to_string()));
            }
        } else {
            buffer.resize(block, 0);
            let n = input.read(&mut buffer).map_err(failed)?;
            if n == 0 {
                return Ok(());
            }
            buffer.truncate(n);
        }
        to.send(&buffer)?;
        sent.add(&buffer);
    }
}

/// The other side, as the main thread sees it.
struct Peer<'a> {
    arguments: &'a Arguments,
    transfer: &'a Transfer,
    name: String,
    /// When progress is to be shown next; `None`: never.
    tick: Option<Instant>,
    /// All of the input is.
    sent: bool,
    ended: bool,
}

impl<'a> Peer<'a> {
    fn new(arguments: &'a Arguments, transfer: &'a Transfer) -> Self {
        let name = arguments.address.clone().unwrap_or_default();
        let tick = (!arguments.quiet && io::stderr().is_terminal()).then(Instant::now);
        Self { arguments, transfer, name, tick, sent: false, ended: false }
    }

    fn note(&self, text: &str) {
        if self.arguments.verbose {
            self.transfer.say(text);
        }
    }

    fn lost(&self, why: impl std::fmt::Display) -> Failure {
        Failure(2, format!("{}: {why}", self.name))
    }

    /// Waits until there is a connection; nothing comes before.
    fn await_up(&mut self, endpoint: &mut Endpoint) -> Result<(), Failure> {
        loop {
            match endpoint.item(None)? {
                Some(Item::Event(_, Event::Up(_))) => break,
                Some(Item::Event(_, Event::Closed { reason, .. })) => {
                    return Err(self.lost(reason.map_or("it has gone".to_string(), |error| error.to_string())));
                }
                _ => {}
            }
        }
        self.name = endpoint.address().unwrap_or_else(|_| self.name.clone());
        let _ = self.transfer.started.set(Instant::now());
        self.note(&format!("connected: {}", self.name));
        Ok(())
    }

    /// Writes what comes, until both sides have ended.
    fn serve(&mut self, endpoint: &mut Endpoint, input: &Receiver<Input>) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure(3, format!("standard output: {error}"));
        let mut output = io::BufWriter::with_capacity(128 << 10, io::stdout().lock());
        loop {
            // What was gathered is written before this thread may wait.
            let item = match endpoint.item(Some(Duration::ZERO)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    output.flush().map_err(failed)?;
                    self.await_item(endpoint)?
                }
                other => other?,
            };
            match item {
                Some(Item::Message(message)) => {
                    output.write_all(&message).map_err(failed)?;
                    if self.arguments.lines {
                        output.write_all(b"\n").map_err(failed)?;
                    }
                    self.transfer.received.add(&message);
                    if self.transfer.received.messages.load(Relaxed) % OFTEN == 0 {
                        self.show_progress();
                    }
                    continue;
                }
                Some(Item::Event(_, Event::Ended)) => {
                    self.note(&format!("{} sends no more", self.name));
                    self.ended = true;
                }
                Some(Item::Event(_, Event::Closed { reason: Some(error), .. })) => return Err(self.lost(error)),
                Some(Item::Event(_, Event::Closed { reason: None, .. })) | None => break,
                Some(_) => {}
            }
            self.look_at_input(input)?;
            if self.ended && self.sent {
                endpoint.close(Duration::MAX); // it ends when all that was sent is there
            }
        }
        output.flush().map_err(failed)?;
        self.look_at_input(input)?;
        match self.sent {
            true => Ok(()),
            false => Err(self.lost("the peer closed before all input was sent")),
        }
    }

    /// Waits for an item, and shows progress meanwhile.
    fn await_item(&mut self, endpoint: &mut Endpoint) -> Result<Option<Item<'static>>, Failure> {
        loop {
            self.show_progress();
            match endpoint.item(self.tick.map(|_| TICK)) {
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                other => return Ok(other?),
            }
        }
    }

    fn show_progress(&mut self) {
        let now = Instant::now();
        if self.tick.is_some_and(|tick| tick <= now) {
            self.tick = Some(now + TICK);
            self.transfer.show_progress();
        }
    }

    fn look_at_input(&mut self, input: &Receiver<Input>) -> Result<(), Failure> {
        if let Ok(result) = input.try_recv() {
            self.sent = true;
            result?;
        }
        Ok(())
    }
}
