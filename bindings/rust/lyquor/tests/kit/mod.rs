//! What tests have in common.
#![allow(dead_code)] // each uses some of it

use lyquor::{Driver, Endpoint, Listener, Options};
use std::time::{Duration, Instant};

/// Longer than anything that succeeds takes, under valgrind too.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const ANY: &str = "tcp://127.0.0.1:0";

/// How often to do something: so often, or under valgrind a share of it.
pub fn many(n: u32) -> u32 {
    let preload = std::env::var("LD_PRELOAD").unwrap_or_default();
    if preload.contains("vgpreload") {
        n / 20
    } else {
        n
    }
}

/// Two endpoints of one driver that are joined.
pub struct Pair {
    pub a: Endpoint,
    pub b: Endpoint,
    pub listener: Listener,
    pub driver: Driver,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(&Options::new(), &Options::new())
    }

    /// Of which `a` was dialled with those options, `b` accepted with these.
    pub fn with(dialled: &Options, accepted: &Options) -> Self {
        let driver = Driver::new().unwrap();
        let mut listener = driver.listen_with(ANY, accepted).unwrap();
        let a = driver.dial_with(&listener.address().unwrap(), dialled).unwrap();
        let b = listener.incoming(Some(PATIENCE)).unwrap().accept().unwrap();
        Self { a, b, listener, driver }
    }
}

/// Waits until something is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
