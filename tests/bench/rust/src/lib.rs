//! What the programs have in common: arguments, as peer.h takes them, and the line of JSON.

use std::process::exit;
use std::time::{Duration, Instant};

/// What a run is.
pub struct Arguments {
    pub latency: bool,
    pub listen: bool,
    /// HOST:PORT.
    pub address: String,
    pub size: usize,
    pub count: u64,
}

impl Arguments {
    /// Those of the process: thr|lat --listen|--connect tcp://HOST:PORT --size BYTES --count MESSAGES.
    pub fn read() -> Self {
        let mut words = std::env::args().skip(1);
        let (mut mode, mut role, mut size, mut count) = (None, None, None, None);
        while let Some(word) = words.next() {
            match word.as_str() {
                "thr" | "lat" => mode = Some(word == "lat"),
                "--listen" | "--connect" => role = words.next().map(|address| (word == "--listen", address)),
                "--size" => size = words.next().and_then(|size| size.parse().ok()),
                "--count" => count = words.next().and_then(|count| count.parse().ok()),
                _ => {}
            }
        }
        let (Some(latency), Some((listen, address)), Some(size), Some(count)) = (mode, role, size, count) else {
            eprintln!("usage: thr|lat --listen|--connect tcp://HOST:PORT --size BYTES --count MESSAGES");
            exit(2);
        };
        let address = address.trim_start_matches("tcp://").to_string();
        Self { latency, listen, address, size, count }
    }

    /// How many round trips come before those that count.
    pub fn warm(&self) -> u64 {
        self.count / 10
    }

    /// Prints what the receiver saw behind its first message.
    pub fn print_rate(&self, first: Instant) {
        let (messages, seconds) = (self.count - 1, first.elapsed().as_secs_f64());
        let bytes = messages * self.size as u64;
        println!("{{\"messages\":{messages},\"bytes\":{bytes},\"seconds\":{seconds:.6}}}");
    }

    /// Prints the median and the 99th percentile of round trips, the first of which do not count.
    pub fn print_trips(&self, trips: &[Duration]) {
        let mut trips = trips[self.warm() as usize..].to_vec();
        trips.sort_unstable();
        let n = trips.len();
        let us = |duration: Duration| duration.as_secs_f64() * 1e6;
        let (p50, p99) = (us(trips[n / 2]), us(trips[n - 1 - n / 100]));
        println!("{{\"messages\":{n},\"p50_us\":{p50:.3},\"p99_us\":{p99:.3}}}");
    }
}
