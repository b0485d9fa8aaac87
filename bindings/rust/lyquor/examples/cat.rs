//! netcat for lyquor: joins standard input and output to one endpoint, dialled or accepted. It is `lyqcat` in Rust, but
//! for its progress.
//!
//! One thread reads standard input and sends; the main thread receives and writes. Neither waits for the other, so that
//! both directions run at once, and each is slowed down only by its own peer: what is not written is not dropped, and
//! what is not dropped stops the sender.

use lyquor::{Driver, Endpoint, ErrorKind, Event, Handle, Item, Options, Resume};
use std::io::{self, BufRead, Read, Write};
use std::process::{exit, ExitCode};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
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
  -h, --help             print this
  -V, --version          print the version

The end of the input ends this direction alone; cat exits when both have ended, or when the peer closes.

Exit status: 0 done; 1 wrong usage; 2 no connection, or one that ended before everything was sent or received;
3 standard input or output failed. After a signal the peer sees a broken connection.
";

const MESSAGE_MAX: usize = 1 << 20; // what every lyquor takes without asking
const BUFFER: u64 = 8 << 20; // of each direction: room for a scheduler's time slice at several GB/s

#[derive(Default)]
struct Arguments {
    address: Option<String>,
    listen: bool,
    lines: bool,
    block: usize,
    stats: bool,
    verbose: bool,
}

/// Why it ends other than well: the exit status, and what to say.
struct Failure(u8, String);

impl From<lyquor::Error> for Failure {
    fn from(error: lyquor::Error) -> Self {
        Failure(2, error.to_string())
    }
}

/// Messages and bytes of one direction.
#[derive(Clone, Copy, Default)]
struct Account(u64, u64);

fn say(text: impl std::fmt::Display) {
    eprintln!("cat: {text}");
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(status, text)) => {
            say(text);
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

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address = arguments.address.as_deref().unwrap_or_default();
    let driver = Arc::new(Driver::builder().workers(1).open()?);
    let options = Options::new().outbox_bytes(BUFFER).window_bytes(BUFFER).resume(Resume::WithLink);
    let (mut endpoint, listener) = if arguments.listen {
        let mut listener = driver.listen_with(address, &options)?;
        eprintln!("listening on {}", listener.address()?);
        (listener.accept()?, Some(listener))
    } else {
        (driver.dial_with(address, &options)?, None)
    };
    let mut peer = Peer::new(arguments);
    let result = peer.await_up(&mut endpoint).and_then(|()| {
        drop(listener); // one peer is served
        let input = start_input(&driver, endpoint.handle(), arguments);
        peer.serve(&mut endpoint, &input)
    });
    if arguments.stats {
        peer.print_stats();
    }
    if let Err(Failure(status, text)) = result {
        // The peer is not told of an orderly end: it sees the broken connection that it is.
        say(text);
        exit(status.into());
    }
    Ok(driver.shutdown(Duration::ZERO)?)
}

/// What became of the input.
type Input = (Result<(), Failure>, Account);

/// Reads standard input on a thread of its own.
fn start_input(driver: &Arc<Driver>, to: Handle, arguments: &Arguments) -> Receiver<Input> {
    let (lines, block, driver) = (arguments.lines, arguments.block, driver.clone());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut sent = Account::default();
        let result = read_input(to, lines, block, &mut sent);
        if result.is_ok() {
            let _ = to.end();
        }
        let _ = tell.send((result, sent));
        let _wake = driver.timer(Some(to), Duration::ZERO, || ()); // the main thread looks
        loop {
            std::thread::park();
        }
    });
    told
}

/// Sends standard input to its end.
fn read_input(to: Handle, lines: bool, block: usize, sent: &mut Account) -> Result<(), Failure> {
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
        sent.0 += 1;
        sent.1 += buffer.len() as u64;
    }
}

/// The other side, as the main thread sees it.
struct Peer<'a> {
    arguments: &'a Arguments,
    name: String,
    started: Instant,
    received: Account,
    /// Once all of the input is.
    sent: Option<Account>,
    ended: bool,
}

impl<'a> Peer<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        let name = arguments.address.clone().unwrap_or_default();
        Self { arguments, name, started: Instant::now(), received: Account::default(), sent: None, ended: false }
    }

    fn note(&self, text: &str) {
        if self.arguments.verbose {
            say(text);
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
        self.started = Instant::now();
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
                    endpoint.item(None)?
                }
                other => other?,
            };
            match item {
                Some(Item::Message(message)) => {
                    output.write_all(&message).map_err(failed)?;
                    if self.arguments.lines {
                        output.write_all(b"\n").map_err(failed)?;
                    }
                    self.received.0 += 1;
                    self.received.1 += message.len() as u64;
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
            if self.ended && self.sent.is_some() {
                endpoint.close(Duration::MAX); // it ends when all that was sent is there
            }
        }
        output.flush().map_err(failed)?;
        self.look_at_input(input)?;
        match self.sent {
            Some(_) => Ok(()),
            None => Err(self.lost("the peer closed before all input was sent")),
        }
    }

    fn look_at_input(&mut self, input: &Receiver<Input>) -> Result<(), Failure> {
        let Ok((result, sent)) = input.try_recv() else { return Ok(()) };
        self.sent = Some(sent);
        result
    }

    fn print_stats(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let Account(sent, sent_bytes) = self.sent.unwrap_or_default();
        let Account(received, received_bytes) = self.received;
        say(format_args!(
            "sent {sent} messages, {sent_bytes} bytes; received {received} messages, {received_bytes} bytes; \
             {seconds:.3} s, {:.1} MB/s",
            (sent_bytes + received_bytes) as f64 / 1e6 / seconds
        ));
    }
}
