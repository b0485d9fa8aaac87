//! A thread ends while its thread-local values hold everything that this crate has. Their destructors run when Rust has
//! taken down the thread's signal stack; a call that entered Go there could end the process.

mod kit;

use kit::{eventually, ANY, PATIENCE};
use lyquor::{Driver, Endpoint, Inbox, Item, Listener, Message, Options, Timer};
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

type All = (Message<'static>, Vec<Item<'static>>, Timer, Endpoint, Endpoint, Inbox, Listener, Driver, Count);

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Count;

impl Drop for Count {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, SeqCst);
    }
}

thread_local! {
    static KEPT: RefCell<Option<All>> = const { RefCell::new(None) };
}

fn everything() -> All {
    let driver = Driver::builder().workers(1).open().unwrap();
    let mut listener = driver.listen(ANY).unwrap();
    let mut inbox = driver.inbox().unwrap();
    let mut second = driver.listen(ANY).unwrap();
    let a = driver.dial(&listener.address().unwrap()).unwrap();
    let mut b = listener.accept().unwrap();
    driver.dial_into(&second.address().unwrap(), &Options::new(), &inbox).unwrap();
    let other = second.accept().unwrap();
    a.send(b"kept").unwrap();
    other.send(b"kept").unwrap();
    let items = (0..2).map(|_| inbox.recv_timeout(PATIENCE).unwrap()).collect();
    let timer = driver.timer(None, Duration::from_secs(3600), || ()).unwrap();
    let message = b.recv_timeout(PATIENCE).unwrap().unwrap();
    (message, items, timer, a, b, inbox, listener, driver, Count)
}

#[test]
fn a_thread_ends_with_everything_in_a_thread_local() {
    const THREADS: usize = 40;
    // Others keep the Go runtime busy meanwhile, so that it has reasons to send signals to threads.
    for _ in 0..THREADS / 4 {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    KEPT.with(|kept| *kept.borrow_mut() = Some(everything()));
                    lyquor::process_counters().unwrap(); // enters Go, as any control call does
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    eventually("all destructors ran", || DROPPED.load(SeqCst) == THREADS);
    eventually("nothing is left", || lyquor::process_counters().unwrap().handles == 0);
}
