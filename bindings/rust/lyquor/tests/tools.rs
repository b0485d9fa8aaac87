//! The examples perf and cat, with each other and with lyqperf and lyqcat, which are in the repository's `build`.

use std::io::{BufRead, BufReader, Read, Write};
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
fn perf_measures_round_trips() {
    for (listener, connector) in PERFS {
        for from in ["callback", "thread"] {
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
