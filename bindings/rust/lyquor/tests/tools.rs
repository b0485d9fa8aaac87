//! The examples perf and cat, with each other and with lyqperf and lyqcat, which are in the repository's `build`.

use std::ffi::{c_char, c_int, CStr};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// An example, beside this test's own program; or a tool in C.
fn tool(name: &str) -> PathBuf {
    let path = match name.strip_prefix("lyq") {
        Some(_) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../build").join(name),
        None => std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join(name),
    };
    assert!(path.exists(), "{} is missing: `make` builds the tools in C, `cargo test` the examples", path.display());
    path
}

fn start(name: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(tool(name));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Starts a listener, and reads where it listens.
fn listen(name: &str, arguments: &[&str]) -> (Child, String) {
    let mut child = start(name, arguments);
    let mut line = String::new();
    BufReader::with_capacity(1, child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{name}: {line}"));
    (child, address.to_string())
}

/// Gives a program its input, and waits for its end.
fn finish(mut child: Child, input: Vec<u8>) -> Output {
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    output
}

fn ended_well(name: &str, output: &Output) {
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The number behind a name in a line of JSON.
fn number(line: &str, name: &str) -> f64 {
    let from = line.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name}: {line}")) + name.len() + 3;
    line[from..].split([',', '}']).next().unwrap().parse().unwrap()
}

/// Runs both sides, and returns what the connector says.
fn measure(listener: &str, connector: &str, mode: &str, both: &[&str], more: &[&str]) -> String {
    let (child, address) = listen(listener, &[&[mode, "--json", "--listen", "tcp://127.0.0.1:0"], both].concat());
    let listening = std::thread::spawn(move || finish(child, Vec::new()));
    let connecting = start(connector, &[&[mode, "--json", "--connect", &address], both, more].concat());
    let output = finish(connecting, Vec::new());
    ended_well(connector, &output);
    ended_well(listener, &listening.join().unwrap());
    String::from_utf8(output.stdout).unwrap()
}

const PERFS: [(&str, &str); 3] = [("perf", "perf"), ("perf", "lyqperf"), ("lyqperf", "perf")];

#[test]
fn perf_counts_what_arrives() {
    for (listener, connector) in PERFS {
        let line = measure(listener, connector, "thr", &[], &["--size", "100", "--count", "20000", "--endpoints", "3"]);
        let got = ["messages", "bytes", "endpoints"].map(|name| number(&line, name));
        assert_eq!(got, [20_000.0, 2_000_000.0, 3.0], "{listener}, {connector}");
    }
}

#[test]
fn perf_receives_in_many_ways() {
    let ways = [
        "thread",
        "batch",
        #[cfg(feature = "tokio")]
        "task",
    ];
    for from in ways {
        let line = measure("perf", "perf", "thr", &["--from", from], &["--count", "20000", "--endpoints", "2"]);
        assert_eq!(["messages", "bytes"].map(|name| number(&line, name)), [20_000.0, 1_280_000.0], "{from}");
    }
    let line = measure("lyqperf", "perf", "thr", &["--from", "thread"], &["--count", "20000"]);
    assert_eq!(number(&line, "messages"), 20_000.0);
}

#[test]
fn perf_measures_beside_long_messages() {
    for (listener, connector) in PERFS {
        for long in ["300000", "100"] {
            let more = ["--count", "200", "--beside", long, "--every", "300"];
            let line = measure(listener, connector, "lat", &[], &more);
            assert!(number(&line, "beside_mb_per_s") > 0.0 && number(&line, "p50_us") > 0.0, "{line}");
        }
    }
    for arguments in [["--from", "thread", "--beside", "9"], ["--from", "thread", "--every", "9"]] {
        let refused = finish(start("perf", &[&["lat", "--listen", "mem://x"][..], &arguments].concat()), Vec::new());
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn perf_takes_its_time() {
    let start = std::time::Instant::now();
    measure("perf", "perf", "lat", &[], &["--count", "100", "--every", "5000"]);
    assert!(start.elapsed().as_millis() >= 110 * 5);
}

#[test]
fn perf_measures_round_trips() {
    for (listener, connector) in PERFS {
        let task = cfg!(feature = "tokio") && (listener, connector) == ("perf", "perf");
        for from in ["callback", "thread"].into_iter().chain(task.then_some("task")) {
            let line = measure(listener, connector, "lat", &["--from", from], &["--count", "300"]);
            let (p50, p99) = (number(&line, "p50_us"), number(&line, "p99_us"));
            assert!(0.0 < p50 && p50 <= p99, "{listener}, {connector}: {line}");
        }
    }
}

#[test]
fn cat_carries_both_ways() {
    let there: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect();
    let back: Vec<u8> = there.iter().rev().copied().collect();
    for (listener, dialler) in [("cat", "cat"), ("cat", "lyqcat"), ("lyqcat", "cat")] {
        let (a, address) = listen(listener, &["-l", "--stats", "tcp://127.0.0.1:0"]);
        let (input, output) = (back.clone(), there.clone());
        let a = std::thread::spawn(move || finish(a, input));
        let b = finish(start(dialler, &["--stats", &address]), output);
        let a = a.join().unwrap();
        ended_well(dialler, &b);
        ended_well(listener, &a);
        assert!(a.stdout == there && b.stdout == back, "{listener}, {dialler}: what came is not what was sent");
        let stats = String::from_utf8(b.stderr).unwrap();
        assert!(stats.contains("3000000 bytes; received"), "{stats}");
    }
}

#[test]
fn cat_sends_lines() {
    let (a, address) = listen("lyqcat", &["-l", "-m", "line", "tcp://127.0.0.1:0"]);
    let b = start("cat", &["-m", "line", "--stats", &address]);
    let a = std::thread::spawn(move || finish(a, b"back\n".to_vec()));
    let b = finish(b, b"one\n\nthree".to_vec());
    let a = a.join().unwrap();
    ended_well("cat", &b);
    assert_eq!((&*a.stdout, &*b.stdout), (&b"one\n\nthree\n"[..], &b"back\n"[..]));
    assert!(String::from_utf8(b.stderr).unwrap().contains("sent 3 messages, 8 bytes"));
}

// What std does not offer.
extern "C" {
    fn kill(process: c_int, signal: c_int) -> c_int;
    fn posix_openpt(flags: c_int) -> c_int;
    fn grantpt(terminal: c_int) -> c_int;
    fn unlockpt(terminal: c_int) -> c_int;
    fn ptsname_r(terminal: c_int, name: *mut c_char, size: usize) -> c_int;
}

fn signal(child: &Child, signal: c_int) {
    // SAFETY: it is a child of ours, which was not waited for.
    assert_eq!(unsafe { kill(child.id() as c_int, signal) }, 0);
}

/// Reads lines of standard error until one has that text.
fn await_line(child: &mut Child, text: &str) {
    let mut stderr = BufReader::with_capacity(1, child.stderr.as_mut().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended without saying {text:?}");
    }
}

fn said(child: &mut Child) -> String {
    let mut said = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn cat_ends_on_a_signal() {
    for (name, number) in [("SIGINT", 2), ("SIGTERM", 15)] {
        let (mut a, address) = listen("lyqcat", &["-l", "-v", "tcp://127.0.0.1:0"]);
        let mut b = start("cat", &["-v", "--stats", &address]);
        await_line(&mut a, "connected");
        await_line(&mut b, "connected");
        signal(&b, number);
        assert_eq!(b.wait().unwrap().code(), Some(128 + number), "{name}");
        assert!(said(&mut b).contains("sent 0 messages"));
        assert_eq!(a.wait().unwrap().code(), Some(2));
        assert!(said(&mut a).contains("connection reset"));
        let (mut alone, _) = listen("cat", &["-l", "tcp://127.0.0.1:0"]);
        signal(&alone, number);
        assert_eq!(alone.wait().unwrap().code(), Some(128 + number), "{name}, without a peer");
    }
}

#[test]
fn cat_is_quiet() {
    let (a, b) = loop {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // and is closed
        let address = format!("tcp://{free}");
        let mut a = start("cat", &["-l", "-q", &address]);
        drop(a.stdin.take());
        let b = loop {
            let b = finish(start("cat", &["--quiet", &address]), b"hello".to_vec());
            let refused = String::from_utf8_lossy(&b.stderr).contains("refused"); // it does not listen yet
            if !refused || a.try_wait().unwrap().is_some() {
                break b;
            }
        };
        if b.status.success() {
            break (a, b);
        }
        a.kill().unwrap(); // somebody else had the port
        a.wait().unwrap();
    };
    let a = a.wait_with_output().unwrap();
    ended_well("cat", &a);
    ended_well("cat", &b);
    assert_eq!((&*a.stdout, &*a.stderr, &*b.stderr), (&b"hello"[..], &b""[..], &b""[..]));
}

/// A terminal: our end, and theirs. No child inherits one unasked.
fn terminal() -> (File, File) {
    const RDWR_NOCTTY_CLOEXEC: c_int = 0o2 | 0o400 | 0o2000000;
    let mut name = [0; 64];
    // SAFETY: the descriptor is nobody else's, and the name has that room.
    let (ours, name) = unsafe {
        let ours = File::from_raw_fd(posix_openpt(RDWR_NOCTTY_CLOEXEC));
        assert_eq!((grantpt(ours.as_raw_fd()), unlockpt(ours.as_raw_fd())), (0, 0));
        assert_eq!(ptsname_r(ours.as_raw_fd(), name.as_mut_ptr(), name.len()), 0);
        (ours, CStr::from_ptr(name.as_ptr()).to_str().unwrap())
    };
    let theirs = File::options().read(true).write(true).custom_flags(0o400).open(name).unwrap();
    (ours, theirs)
}

#[test]
fn cat_shows_progress_on_a_terminal() {
    for quiet in [false, true] {
        let (mut a, address) = listen("lyqcat", &["-l", "tcp://127.0.0.1:0"]);
        let (mut ours, theirs) = terminal();
        let mut command = Command::new(tool("cat"));
        command.args([if quiet { "--quiet" } else { "--verbose" }, "--stats", &address]);
        let mut b = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(theirs).spawn().unwrap();
        drop(command); // its copy of the terminal
        b.stdin.as_mut().unwrap().write_all(&[7; 200_000]).unwrap();
        let (mut shown, mut some) = (String::new(), [0; 1000]);
        if !quiet {
            while !shown.contains("0.2 MB sent, 0.0 MB received") {
                let n = ours.read(&mut some).unwrap();
                shown += &String::from_utf8_lossy(&some[..n]);
            }
        }
        drop(b.stdin.take());
        drop(a.stdin.take());
        assert!(a.wait_with_output().unwrap().status.success() && b.wait().unwrap().success());
        while let Ok(n @ 1..) = ours.read(&mut some) {
            shown += &String::from_utf8_lossy(&some[..n]);
        }
        assert_eq!(shown.contains("MB received, "), !quiet, "{shown}");
        assert!(shown.contains("cat: sent ") && shown.contains("\r\x1b[Kcat: ") != quiet, "{shown}");
    }
}

#[test]
fn a_listening_cat_leaves_its_terminal_alone() {
    let (_ours, theirs) = terminal();
    let mut command = Command::new(tool("cat"));
    command.args(["-l", "tcp://127.0.0.1:0"]).stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut a = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, a.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let b = finish(start("lyqcat", &[line.trim().trim_start_matches("listening on ")]), b"hello".to_vec());
    ended_well("lyqcat", &b);
    let a = a.wait_with_output().unwrap(); // nobody ends what the terminal says
    ended_well("cat", &a);
    assert_eq!(a.stdout, b"hello");
}

#[test]
fn cat_says_what_is_wrong() {
    let refused = finish(start("cat", &["tcp://127.0.0.1:9"]), Vec::new());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused"));
    for arguments in [&[][..], &["a", "b"], &["-m", "block:0", "x"], &["--what"]] {
        for name in ["cat", "perf"] {
            let output = finish(start(name, arguments), Vec::new());
            assert_eq!(output.status.code(), Some(1), "{name} {arguments:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("usage"));
        }
    }
}

#[test]
fn the_peer_of_a_cat_that_is_killed_knows() {
    let (mut a, address) = listen("lyqcat", &["-l", "-v", "tcp://127.0.0.1:0"]);
    let mut b = start("cat", &["-v", &address]);
    let mut line = String::new();
    BufReader::with_capacity(1, b.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("connected"), "{line}");
    b.kill().unwrap();
    b.wait().unwrap();
    assert_eq!(a.wait().unwrap().code(), Some(2));
    let mut said = String::new();
    a.stderr.unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("connection reset"), "{said}");
}
