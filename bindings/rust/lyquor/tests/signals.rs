//! Signals to threads that wait: nothing that waits ends because a handler ran.

mod kit;

use kit::{Pair, PATIENCE};
use lyquor::{Driver, Endpoint, ErrorKind, Handle, Item, Options};
use std::ffi::c_int;
use std::os::unix::thread::{JoinHandleExt, RawPthread};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::Once;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

extern "C" {
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn siginterrupt(number: c_int, interrupt: c_int) -> c_int;
    fn pthread_kill(thread: RawPthread, number: c_int) -> c_int;
}
const SIGUSR1: c_int = 10;

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

/// What a wait says whose thread is interrupted again and again before something ends it.
fn interrupted<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static, end: impl FnOnce()) -> T {
    static ONCE: Once = Once::new();
    // SAFETY: the handler touches an atomic only. The signal interrupts system calls, as it does without SA_RESTART.
    ONCE.call_once(|| unsafe {
        signal(SIGUSR1, handle);
        siginterrupt(SIGUSR1, 1);
    });
    let waiter = spawn(wait);
    let interrupt = || {
        // SAFETY: the thread is not joined yet.
        unsafe { pthread_kill(waiter.as_pthread_t(), SIGUSR1) };
        sleep(Duration::from_millis(2));
    };
    let before = HANDLED.load(SeqCst);
    (0..10).for_each(|_| interrupt());
    end();
    while !waiter.is_finished() {
        interrupt();
    }
    assert!(HANDLED.load(SeqCst) > before);
    waiter.join().unwrap()
}

#[test]
fn receiving() {
    let mut pair = Pair::new();
    let mut sent = None;
    let got = interrupted(move || pair.b.recv(), || sent = pair.a.send("here").ok());
    assert_eq!(sent, Some(0));
    assert_eq!(&*got.unwrap().unwrap(), b"here");
}

#[test]
fn receiving_for_a_while() {
    let mut pair = Pair::new();
    let (limit, start) = (Duration::from_millis(100), Instant::now());
    let got = interrupted(move || pair.b.recv_timeout(limit), || ());
    assert_eq!(got.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= limit);
}

#[test]
fn an_inbox() {
    let driver = Driver::new().unwrap();
    let inbox = driver.inbox().unwrap();
    let (mut waits, mut timer) = (inbox.clone(), None);
    let got = interrupted(move || waits.recv(), || timer = inbox.timer(Duration::ZERO).ok());
    assert!(matches!(got.unwrap(), Item::Event(..)));
}

#[test]
fn accepting() {
    let mut pair = Pair::new();
    let (address, mut dialled) = (pair.listener.address().unwrap(), None);
    let got = interrupted(move || pair.listener.accept(), || dialled = pair.driver.dial(&address).ok());
    assert!(got.is_ok() && dialled.is_some());
}

/// Has an endpoint wait whose outbox is full, until its peer receives.
fn with_a_full_outbox(wait: impl FnOnce(Handle) -> lyquor::Result<()> + Send + 'static) {
    let narrow = Options::new().outbox_bytes(65536).window_bytes(65536);
    let Pair { a, b, listener: _listener, driver: _driver } = Pair::with(&narrow, &narrow);
    let to = a.handle();
    while to.try_send([0; 1000]).is_ok() {}
    let receive = |mut b: Endpoint| spawn(move || b.messages().count());
    interrupted(move || wait(to), || drop(receive(b))).unwrap();
}

#[test]
fn sending() {
    with_a_full_outbox(|a| a.send([0; 1000]).map(drop));
    with_a_full_outbox(|a| a.wait_room(1000, None));
    with_a_full_outbox(|a| a.flush(None));
}

#[test]
fn a_connection_and_an_end() {
    let driver = Driver::new().unwrap();
    let ep = driver.dial_unbound("mem://later", &Options::new()).unwrap();
    let mut listener = None;
    interrupted(move || ep.wait_up(None), || listener = driver.listen("mem://later").ok()).unwrap();
    interrupted(move || ep.wait_closed(None), || ep.close(Duration::ZERO)).unwrap();
}

#[test]
fn a_callback_that_runs() {
    let (go, gone) = channel::<()>();
    let (tell, told) = channel();
    let mut pair = Pair::new();
    let callback = move |item: Item<'_>| {
        if matches!(item, Item::Message(_)) {
            tell.send(()).unwrap();
            let _ = gone.recv();
        }
    };
    let served = pair.driver.dial_fn(&pair.listener.address().unwrap(), &Options::new(), callback).unwrap();
    let peer = pair.listener.accept().unwrap();
    peer.send("wait").unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    interrupted(move || served.quiesce(None), || drop(go)).unwrap();
}
