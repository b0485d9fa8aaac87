//! Closures that workers call: what they get, what they return, their panics, their end; timers.

mod kit;

use kit::{eventually, many, ANY, PATIENCE};
use lyquor::{Driver, Endpoint, ErrorKind, Event, Flow, Handle, Item, Listener, Message, Options};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Two endpoints: one that a closure serves, and one that is pulled.
fn served<F, R>(callback: F) -> (Driver, Listener, Handle, Endpoint)
where
    F: FnMut(Item<'_>) -> R + Send + 'static,
    R: Into<Flow>,
{
    let driver = Driver::new().unwrap();
    let mut listener = driver.listen(ANY).unwrap();
    let handle = driver.dial_fn(&listener.address().unwrap(), &Options::new(), callback).unwrap();
    let peer = listener.incoming(Some(PATIENCE)).unwrap().accept().unwrap();
    (driver, listener, handle, peer)
}

fn get<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(PATIENCE).unwrap()
}

/// Says when it is dropped.
struct Tell(Arc<AtomicBool>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn tell() -> (Tell, Arc<AtomicBool>) {
    let told = Arc::new(AtomicBool::new(false));
    (Tell(told.clone()), told)
}

#[test]
fn an_echo() {
    let driver = Driver::new().unwrap();
    let echo = |item: Item<'_>| match item {
        Item::Message(message) => match message.endpoint().try_send(&message) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Flow::Pause, // comes again when there is room
            _ => Flow::Continue,
        },
        Item::Event(..) => Flow::Continue,
    };
    let listening = driver.listen_fn(ANY, &Options::new().outbox_bytes(65536), echo).unwrap();
    let mut ep = driver.dial(&listening.address().unwrap()).unwrap();
    let to = ep.handle();
    let sender = std::thread::spawn(move || {
        for i in 0..many(50_000) {
            to.send([i.to_le_bytes(); 16].concat()).unwrap();
        }
        to.end().unwrap();
    });
    for i in 0..many(50_000) {
        assert_eq!(ep.recv().unwrap().unwrap()[..4], i.to_le_bytes());
    }
    sender.join().unwrap();
}

#[test]
fn what_a_callback_keeps() {
    let (to, kept) = channel();
    let (driver, _listener, _handle, peer) = served(move |item| {
        if let Item::Message(message) = item {
            to.send(message.keep().unwrap()).unwrap();
        }
    });
    peer.send(b"short").unwrap();
    peer.send(vec![5; 300_000]).unwrap();
    peer.flush(Some(PATIENCE)).unwrap(); // acknowledged, though they are kept
    let kept: Vec<Message<'static>> = (0..2).map(|_| get(&kept)).collect();
    driver.shutdown(Duration::ZERO).unwrap();
    assert_eq!((&*kept[0], &*kept[1]), (&b"short"[..], &[5; 300_000][..]));
    let again = kept.into_iter().map(|message| message.keep().unwrap());
    assert_eq!(again.map(|message| message.len()).sum::<usize>(), 300_005);
}

#[test]
fn pausing_and_resuming() {
    let (to, got) = channel();
    let open = Arc::new(AtomicBool::new(false));
    let may = open.clone();
    let (_driver, _listener, handle, peer) = served(move |item| {
        let Item::Message(message) = item else { return Flow::Continue };
        if message[0] == 3 && !may.load(SeqCst) {
            to.send(99).unwrap();
            return Flow::Pause;
        }
        to.send(message[0]).unwrap();
        Flow::Continue
    });
    for i in 0..6u8 {
        peer.send([i]).unwrap();
    }
    assert_eq!((0..4).map(|_| get(&got)).collect::<Vec<_>>(), [0, 1, 2, 99]);
    assert_eq!(peer.flush(Some(Duration::from_millis(20))).unwrap_err().kind(), ErrorKind::TimedOut);
    open.store(true, SeqCst);
    handle.resume().unwrap();
    assert_eq!((0..3).map(|_| get(&got)).collect::<Vec<_>>(), [3, 4, 5]);
    peer.flush(Some(PATIENCE)).unwrap();
}

#[test]
fn a_callback_closes() {
    let (tell, told) = tell();
    let (_driver, _listener, handle, mut peer) = served(move |item| {
        let _ = &tell;
        if matches!(item, Item::Message(_)) {
            return Flow::Close;
        }
        Flow::Continue
    });
    peer.send(b"go").unwrap();
    handle.wait_closed(Some(PATIENCE)).unwrap();
    assert!(peer.recv_timeout(PATIENCE).unwrap().is_none(), "it ends in order");
    eventually("the closure is dropped", || told.load(SeqCst));
}

#[test]
fn a_panic_closes_that_endpoint_only() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    lyquor::set_logger(lyquor::Level::Error, move |_, name, text| {
        log.lock().unwrap().push(format!("{name}: {text}"));
    })
    .unwrap();
    let driver = Driver::new().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (tell, told) = tell();
    let mut listener = driver.listen(ANY).unwrap();
    let after = Arc::new(AtomicUsize::new(0));
    let (count, late) = (calls.clone(), after.clone());
    let mut over = false;
    let callback = move |item: Item<'_>| {
        let _ = &tell;
        late.fetch_add(over.into(), SeqCst);
        if let Item::Message(message) = item {
            count.fetch_add(1, SeqCst);
            over = message[0] == 3;
            assert!(!over, "three is too much");
        }
    };
    let bad = driver.dial_fn(&listener.address().unwrap(), &Options::new(), callback).unwrap();
    let mut peer = listener.accept().unwrap();
    let good = driver.dial_fn(&listener.address().unwrap(), &Options::new(), |_| {}).unwrap();
    let other = listener.accept().unwrap();
    for i in 0..9u8 {
        let _ = peer.send([i]);
    }
    bad.wait_closed(Some(PATIENCE)).unwrap();
    while let Ok(Some(_)) = peer.recv_timeout(PATIENCE) {}
    eventually("the closure is dropped", || told.load(SeqCst));
    assert_eq!((calls.load(SeqCst), after.load(SeqCst)), (4, 0), "it is not called any more");
    other.send(b"as ever").unwrap();
    other.flush(Some(PATIENCE)).unwrap();
    good.wait_up(Some(PATIENCE)).unwrap();
    let lines = lines.lock().unwrap();
    assert!(lines.iter().any(|line| line == "callback.panicked: a callback panicked: three is too much"), "{lines:?}");
    lyquor::clear_logger().unwrap();
}

#[test]
fn a_shared_callback_goes_on_after_a_panic() {
    let driver = Driver::new().unwrap();
    let closed = Arc::new(AtomicUsize::new(0));
    let (tell, told) = tell();
    let count = closed.clone();
    let listening = driver
        .listen_fn(ANY, &Options::new(), move |item: Item<'_>| {
            let _ = &tell;
            match item {
                Item::Message(message) => assert_eq!(message[0], 0),
                Item::Event(_, Event::Closed { .. }) => drop(count.fetch_add(1, SeqCst)),
                Item::Event(..) => {}
            }
        })
        .unwrap();
    let address = listening.address().unwrap();
    let (bad, good) = (driver.dial(&address).unwrap(), driver.dial(&address).unwrap());
    bad.send([1]).unwrap();
    bad.wait_closed(Some(PATIENCE)).unwrap();
    good.send([0]).unwrap();
    good.flush(Some(PATIENCE)).unwrap();
    assert_eq!(closed.load(SeqCst), 1, "it is told of the end");
    drop((good, listening));
    eventually("the closure is dropped", || told.load(SeqCst));
    assert_eq!(closed.load(SeqCst), 2);
}

#[test]
fn panics_in_drops_are_caught() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("as it should");
        }
    }
    impl AsRef<[u8]> for Bad {
        fn as_ref(&self) -> &[u8] {
            &[0; 100_000]
        }
    }
    let bad = Bad;
    let (driver, _listener, handle, mut peer) = served(move |_| {
        let _ = &bad;
    });
    handle.try_send_owned(Bad).unwrap_or_else(|_| panic!("it is accepted"));
    assert_eq!(peer.recv().unwrap().unwrap().len(), 100_000);
    handle.flush(Some(PATIENCE)).unwrap();
    handle.close(Duration::ZERO);
    drop(peer);
    driver.shutdown(Duration::ZERO).unwrap();
}

#[test]
fn everything_is_dropped_inside_a_callback() {
    let driver = Arc::new(Driver::new().unwrap());
    let mut listener = driver.listen(ANY).unwrap();
    let address = listener.address().unwrap();
    let (a, b) = (driver.dial(&address).unwrap(), driver.dial(&address).unwrap());
    let mut bound = (listener.accept().unwrap(), listener.accept().unwrap());
    a.send(b"kept").unwrap();
    b.send(b"kept").unwrap(); // either of them may have been accepted first
    let message = bound.0.recv_timeout(PATIENCE).unwrap().unwrap();
    let timer = driver.timer(None, PATIENCE, || ()).unwrap();
    let (tell, told) = tell();
    let other = Driver::new().unwrap();
    let mut things = Some((a, b, bound, message, timer, other, driver.inbox().unwrap(), driver.clone(), tell));
    let watch = Driver::new().unwrap();
    let mut at = watch.listen(ANY).unwrap();
    let handle = driver
        .dial_fn(&at.address().unwrap(), &Options::new(), move |item| {
            if matches!(item, Item::Message(_)) {
                drop(things.take()); // neither waits nor deadlocks
            }
        })
        .unwrap();
    let peer = at.accept().unwrap();
    peer.send(b"drop it").unwrap();
    eventually("all is dropped", || told.load(SeqCst));
    peer.flush(Some(PATIENCE)).unwrap();
    drop((listener, driver)); // the last of it: the driver that calls back closes
    handle.wait_closed(Some(PATIENCE)).unwrap();
}

#[test]
fn nothing_waits_inside_a_callback() {
    let (to, got) = channel();
    let driver = Arc::new(Driver::new().unwrap());
    let mut inbox = driver.inbox().unwrap();
    let inside = driver.clone();
    let mut listener = driver.listen(ANY).unwrap();
    let _handle = driver
        .dial_fn(&listener.address().unwrap(), &Options::new(), move |item| {
            let Item::Message(message) = item else { return };
            let ep = message.endpoint();
            ep.try_send(b"nobody takes it").unwrap();
            let would = [
                ep.flush(None).err(),
                ep.wait_closed(None).err(),
                ep.quiesce(None).err(),
                inside.quiesce(None).err(),
                inside.wait_closed(None).err(),
                inside.listen(ANY).err(),
                inbox.recv().err(),
            ];
            to.send(would.map(|error| error.map(|error| error.kind()))).unwrap();
        })
        .unwrap();
    let peer = listener.accept().unwrap();
    peer.send(b"try").unwrap();
    assert_eq!(get(&got), [Some(ErrorKind::WouldDeadlock); 7]);
}

#[test]
fn a_receiver_that_comes_later() {
    let driver = Driver::new().unwrap();
    let mut listener = driver.listen(ANY).unwrap();
    let handle = driver.dial_unbound(&listener.address().unwrap(), &Options::new()).unwrap();
    let incoming = listener.incoming(Some(PATIENCE)).unwrap();
    assert!(incoming.remote().starts_with("tcp://127.0.0.1:"));
    let (to, got) = channel();
    let peer = incoming.on_recv(move |item| {
        if let Item::Message(message) = item {
            to.send(message.to_vec()).unwrap();
        }
    });
    let peer = peer.unwrap();
    handle.send(b"one way").unwrap();
    assert_eq!(get(&got), b"one way");
    peer.send(b"waits").unwrap();
    let (to, got) = channel();
    let later = move |item: Item<'_>| {
        if let Item::Message(message) = item {
            to.send(message.to_vec()).unwrap();
        }
    };
    handle.on_recv(later.clone()).unwrap();
    assert_eq!(get(&got), b"waits");
    assert_eq!(handle.on_recv(later).unwrap_err().kind(), ErrorKind::Busy);
}

#[test]
fn timers() {
    let (to, got) = channel();
    let (driver, _listener, handle, _peer) = served(|_| {});
    let (one, two) = (to.clone(), to.clone());
    let first = driver.timer(None, Duration::ZERO, move || one.send(1).unwrap()).unwrap();
    assert_eq!(get(&got), 1);
    let start = driver.now().unwrap();
    let second = driver.timer(Some(handle), Duration::from_millis(5), move || two.send(2).unwrap()).unwrap();
    assert_eq!(get(&got), 2);
    assert!(driver.now().unwrap() - start >= Duration::from_millis(5) && first.id() != second.id());
    let (tell, told) = tell();
    let never = driver.timer(None, Duration::from_secs(3600), move || drop((tell, to))).unwrap();
    assert!(!told.load(SeqCst));
    drop(never);
    assert!(told.load(SeqCst), "a timer that is cancelled forgets its closure");
    let _bad = driver.timer(Some(handle), Duration::ZERO, || panic!("as it should")).unwrap();
    handle.wait_closed(Some(PATIENCE)).unwrap();
    driver.shutdown(Duration::ZERO).unwrap();
    assert_eq!(driver.timer(None, Duration::ZERO, || ()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn timers_that_are_cancelled_when_they_are_due() {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let driver = Driver::new().unwrap();
    let (called, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let timers = many(2000) as usize;
    for i in 0..timers {
        let (count, calls) = (Count(dropped.clone()), called.clone());
        let delay = Duration::from_micros(i as u64 % 50);
        let timer = driver.timer(None, delay, move || {
            let _ = &count;
            calls.fetch_add(1, SeqCst);
        });
        std::thread::sleep(Duration::from_micros(i as u64 % 7));
        drop(timer.unwrap());
    }
    eventually("each closure is dropped", || dropped.load(SeqCst) == timers);
    assert!(called.load(SeqCst) <= timers);
    driver.shutdown(Duration::ZERO).unwrap();
    assert_eq!(dropped.load(SeqCst), timers, "once");
}

#[test]
fn tokens() {
    let (to, got) = channel();
    let (_driver, _listener, handle, peer) = served(move |item| {
        if let Item::Message(message) = item {
            to.send(message.endpoint().token()).unwrap();
        }
    });
    peer.send(b"x").unwrap();
    assert_eq!(get(&got), 0);
    handle.set_token(42).unwrap();
    peer.send(b"x").unwrap();
    assert_eq!(get(&got), 42);
}

#[test]
fn what_cannot_be_opened_drops_its_callback() {
    let driver = Driver::new().unwrap();
    let (tell, told) = tell();
    let refused = driver.dial_fn("nonsense://x", &Options::new(), move |_| {
        let _ = &tell;
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Address);
    assert!(told.load(SeqCst));
}
