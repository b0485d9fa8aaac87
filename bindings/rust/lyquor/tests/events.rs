//! Events in their order, restarts and their outcome, inboxes, listeners, what looks inside, and what is refused.

mod kit;

use kit::{eventually, Pair, ANY, PATIENCE};
use lyquor::{Driver, ErrorKind, Event, Inbox, Item, Lane, OnRestart, Options, Resume, Tag};
use std::collections::HashSet;
use std::time::Duration;

/// The next event that is wanted, from what hands out items.
macro_rules! await_event {
    ($next:expr, $event:pat => $value:expr) => {
        loop {
            if let Item::Event(_, $event) = $next {
                break $value;
            }
        }
    };
}

fn next(inbox: &mut Inbox) -> Item<'static> {
    inbox.recv_timeout(PATIENCE).unwrap()
}

fn item(ep: &mut lyquor::Endpoint) -> Item<'static> {
    ep.item(Some(PATIENCE)).unwrap().expect("it has not ended")
}

#[test]
fn events_and_messages_in_one_order() {
    let mut pair = Pair::new();
    pair.a.send(b"one").unwrap();
    pair.a.end().unwrap();
    let Item::Event(from, Event::Up(up)) = item(&mut pair.b) else { panic!("not up first") };
    assert_eq!(from, pair.b.handle());
    assert!(up.agent.starts_with("lyquor/") && up.local.starts_with("tcp://127.0.0.1:"), "{up:?}");
    assert_eq!((up.max_message, &up.remote), (1 << 20, &pair.b.address().unwrap()));
    assert!(matches!(item(&mut pair.b), Item::Message(message) if &*message == b"one"));
    assert!(matches!(item(&mut pair.b), Item::Event(_, Event::Ended)));
    pair.b.close(Duration::from_secs(5));
    let (reason, outcome) = await_event!(item(&mut pair.b), Event::Closed { reason, outcome } => (reason, outcome));
    assert_eq!(reason, None);
    assert_eq!(outcome.total().unwrap().received, 1);
    assert!(pair.b.item(None).unwrap().is_none());
}

#[test]
fn acknowledgements_are_told_on_request() {
    let mut pair = Pair::new();
    let acked = |ep: &mut lyquor::Endpoint| await_event!(item(ep), Event::Acked(error) => error);
    await_event!(item(&mut pair.a), Event::Up(up) => up);
    pair.a.ask_flush().unwrap();
    assert_eq!(acked(&mut pair.a), None, "nothing was sent");
    pair.a.send(b"one").unwrap();
    pair.a.ask_flush().unwrap();
    let one = pair.b.recv().unwrap();
    let soon = Some(Duration::from_millis(20));
    assert_eq!(pair.a.item(soon).unwrap_err().kind(), ErrorKind::TimedOut, "it is held");
    drop(one);
    assert_eq!(acked(&mut pair.a), None);
    pair.a.close(Duration::ZERO);
    pair.a.wait_closed(Some(PATIENCE)).unwrap();
    assert_eq!(pair.a.ask_flush().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn nobody_listens() {
    let driver = Driver::new().unwrap();
    let address = driver.listen(ANY).unwrap().address().unwrap(); // and is closed
    let mut ep = eventually_refused(&driver, &address);
    let error = ep.recv().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Refused, -13));
    assert!(error.to_string().starts_with("connection refused: ") && error.detail().is_some(), "{error}");
    assert_eq!(std::io::Error::from(error.clone()).kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(ep.recv().unwrap_err(), error, "it says so again");
    assert_eq!(ep.messages().count(), 1, "a loop ends");
    assert_eq!(ep.wait_up(None).unwrap_err().kind(), ErrorKind::Closed);
    let mut patient = driver.dial(&address).unwrap();
    let why = await_event!(item(&mut patient), Event::Down(reason) => reason.unwrap());
    assert_eq!(why.kind(), ErrorKind::Refused);
    assert_eq!(patient.wait_up(Some(Duration::from_millis(1))).unwrap_err().kind(), ErrorKind::TimedOut);
}

/// An endpoint that ended because nobody listens there: the listener that was closed may answer a little longer.
fn eventually_refused(driver: &Driver, address: &str) -> lyquor::Endpoint {
    let mut ended = None;
    eventually("nobody listens", || {
        let mut ep = driver.dial_with(address, &Options::new().resume(Resume::WithLink)).unwrap();
        let refused = ep.recv_timeout(PATIENCE).is_err_and(|error| error.kind() == ErrorKind::Refused);
        ended = Some(ep);
        refused
    });
    ended.unwrap()
}

#[test]
fn what_was_not_acknowledged_is_listed() {
    let mut pair = Pair::new();
    let (long, bulk) = (vec![0; 100_000], pair.a.tagged(Lane::Bulk));
    pair.a.tagged(5).send(b"seen").unwrap();
    let seen = pair.b.recv_timeout(PATIENCE).unwrap().unwrap(); // and not dropped
    for _ in 0..100 {
        bulk.try_send_owned(long.clone()).unwrap_or(0);
    }
    pair.a.close(Duration::ZERO);
    let outcome = await_event!(item(&mut pair.a), Event::Closed { outcome, .. } => outcome);
    let total = outcome.total().unwrap();
    assert_eq!(total.accepted, total.maybe_delivered + total.never_sent);
    assert_eq!(outcome.unacked().count() as u64, total.accepted);
    let first = outcome.unacked().next().unwrap();
    assert_eq!((first.tag, first.id, first.data, first.maybe_delivered), (Tag::from(5), 0, &b"seen"[..], true));
    assert!(outcome.unacked().skip(1).all(|left| left.tag.lane == Lane::Bulk && left.data == long));
    let lanes = outcome.lanes().unwrap();
    assert_eq!(lanes[Lane::Normal as usize].maybe_delivered, 1);
    drop(seen);
    // From another thread, and when all else is gone.
    drop(pair);
    std::thread::spawn(move || assert_eq!(outcome.unacked().next().unwrap().data, b"seen")).join().unwrap();
}

/// An endpoint whose peer is lost, and comes back as another.
fn restarted(options: &Options) -> (Driver, lyquor::Endpoint, lyquor::Endpoint) {
    let driver = Driver::new().unwrap();
    let mut second = driver.listen(ANY).unwrap();
    let first = Driver::new().unwrap();
    let mut listener = first.listen(ANY).unwrap();
    let ep = driver.dial_with(&listener.address().unwrap(), options).unwrap();
    let mut peer = listener.accept().unwrap();
    ep.send(b"lost?").unwrap();
    let _lost = peer.recv_timeout(PATIENCE).unwrap().unwrap();
    drop(listener);
    ep.switch(&second.address().unwrap()).unwrap();
    let successor = second.accept().unwrap();
    (driver, ep, successor)
}

#[test]
fn a_peer_restarts() {
    let (_driver, mut ep, mut successor) = restarted(&Options::new());
    let outcome = await_event!(item(&mut ep), Event::Restarted(outcome) => outcome);
    let left: Vec<_> = outcome.unacked().map(|left| (left.data, left.maybe_delivered)).collect();
    assert_eq!(left, [(&b"lost?"[..], true)]);
    ep.send(outcome.unacked().next().unwrap().data).unwrap();
    drop(outcome);
    assert_eq!(&*successor.recv_timeout(PATIENCE).unwrap().unwrap(), b"lost?");
}

#[test]
fn a_loop_goes_on_after_a_restart() {
    let (_driver, mut ep, successor) = restarted(&Options::new().on_restart(OnRestart::Drop));
    successor.send(b"new").unwrap();
    successor.end().unwrap();
    let got: Vec<_> = ep.messages().map(|message| message.map(|m| m.to_vec()).map_err(|e| e.kind())).collect();
    assert_eq!(got, [Err(ErrorKind::Restarted), Ok(b"new".to_vec())]);
}

#[test]
fn what_was_lost_is_sent_again() {
    let (_driver, _ep, mut successor) = restarted(&Options::new().on_restart(OnRestart::Resend));
    assert_eq!(&*successor.recv_timeout(PATIENCE).unwrap().unwrap(), b"lost?");
}

#[test]
fn an_inbox_of_many() {
    let driver = Driver::new().unwrap();
    let (mut served, mut dialled) = (driver.inbox().unwrap(), driver.inbox().unwrap());
    let listening = driver.listen_into("mem://many", &Options::new(), &served).unwrap();
    let clients: Vec<_> = (0..5)
        .map(|i: usize| {
            let client = driver.dial_into("mem://many", &Options::new(), &dialled).unwrap();
            client.set_token(i + 1).unwrap();
            client.send(i.to_string()).unwrap();
            client
        })
        .collect();
    let (mut accepted, mut said) = (HashSet::new(), HashSet::new());
    while said.len() < 5 {
        match next(&mut served) {
            Item::Event(handle, Event::Accepted { listener, .. }) => {
                assert_eq!(listener, listening.id());
                accepted.insert(handle);
            }
            Item::Message(message) => {
                message.endpoint().send([b"echo ", &message[..]].concat()).unwrap();
                said.insert(message.endpoint());
            }
            Item::Event(..) => {}
        }
    }
    assert_eq!(accepted, said);
    for _ in 0..5 {
        let message = loop {
            if let Item::Message(message) = next(&mut dialled) {
                break message;
            }
        };
        let number = message.endpoint().token() - 1;
        assert_eq!((&message[..], message.endpoint()), (format!("echo {number}").as_bytes(), clients[number]));
    }
    clients[0].close(Duration::ZERO);
    let closed = await_event!(next(&mut served), Event::Closed { reason, .. } => reason);
    assert_eq!(closed, None);
    drop((served, dialled));
    for client in &clients {
        client.close(Duration::ZERO);
        client.wait_closed(Some(PATIENCE)).unwrap();
    }
}

#[test]
fn several_threads_pull_from_one_inbox() {
    let driver = Driver::new().unwrap();
    let inbox = driver.inbox().unwrap();
    let mut listener = driver.listen(ANY).unwrap();
    let unbound = driver.dial_unbound(&listener.address().unwrap(), &Options::new()).unwrap();
    inbox.bind(unbound).unwrap();
    assert_eq!(inbox.bind(unbound).unwrap_err().kind(), ErrorKind::Busy);
    let peer = listener.accept().unwrap();
    let pullers: Vec<_> = (0..3)
        .map(|_| {
            let mut inbox = inbox.clone();
            std::thread::spawn(move || inbox.by_ref().filter(|item| matches!(item, Item::Message(_))).count())
        })
        .collect();
    for _ in 0..1000 {
        peer.send(b"x").unwrap();
    }
    peer.flush(Some(PATIENCE)).unwrap();
    driver.shutdown(Duration::ZERO).unwrap(); // ends loops over its inboxes
    assert_eq!(pullers.into_iter().map(|puller| puller.join().unwrap()).sum::<usize>(), 1000);
}

#[test]
fn timers_of_what_is_pulled() {
    let mut pair = Pair::new();
    let mut inbox = pair.driver.inbox().unwrap();
    let never = inbox.timer(Duration::from_secs(3600)).unwrap();
    drop(never);
    let due = inbox.timer(Duration::from_millis(1)).unwrap();
    assert!(matches!(next(&mut inbox), Item::Event(none, Event::Timer(id)) if none.id() == 0 && id == due.id()));
    let due = pair.b.timer(Duration::ZERO).unwrap();
    assert_eq!(await_event!(item(&mut pair.b), Event::Timer(id) => id), due.id());
}

#[test]
fn listeners() {
    let driver = Driver::new().unwrap();
    let mut listener = driver.listen(ANY).unwrap();
    let address = listener.address().unwrap();
    assert_eq!(listener.incoming(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(listener.incoming(Some(Duration::from_millis(1))).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(driver.listen(&address).unwrap_err().kind(), ErrorKind::Busy);
    let (refused, late) = (driver.dial(&address).unwrap(), driver.dial_unbound(&address, &Options::new()).unwrap());
    drop(listener.incoming(Some(PATIENCE)).unwrap());
    let mut inbox = driver.inbox().unwrap();
    let bound = listener.incoming(Some(PATIENCE)).unwrap().bind(&inbox).unwrap();
    bound.send(b"x").unwrap();
    let up = await_event!(next(&mut inbox), Event::Up(up) => up);
    assert_eq!(up.max_message, 1 << 20);
    // One of the two was closed, the other goes on, and nothing accepts any more.
    drop(listener);
    bound.close(Duration::ZERO);
    for handle in [refused.handle(), late] {
        handle.wait_closed(Some(PATIENCE)).unwrap();
    }
    driver.shutdown(Duration::ZERO).unwrap();
}

#[test]
fn looking_and_moving() {
    let mut pair = Pair::new();
    pair.a.set_worker(2).unwrap();
    pair.a.send(vec![0; 1000]).unwrap();
    pair.b.recv_timeout(PATIENCE).unwrap().unwrap();
    eventually("it has moved", || pair.a.counters().unwrap().worker == 2);
    eventually("it is counted", || pair.a.counters().unwrap().msgs_sent == 1);
    assert!(pair.driver.counters().unwrap().frames >= pair.driver.worker_counters(1).unwrap().frames);
    assert!(lyquor::process_counters().unwrap().handles > 3);
    pair.driver.explain().unwrap();
    assert_eq!(pair.a.address(), pair.listener.address());
    pair.b.quiesce(Some(PATIENCE)).unwrap();
    pair.a.send(b"waits").unwrap();
    assert_eq!(pair.b.recv_timeout(Duration::from_millis(10)).unwrap_err().kind(), ErrorKind::TimedOut);
    pair.b.resume().unwrap();
    assert_eq!(&*pair.b.recv_timeout(PATIENCE).unwrap().unwrap(), b"waits");
    pair.driver.quiesce(Some(PATIENCE)).unwrap();
    pair.driver.resume().unwrap();
    assert!(lyquor::has("tcp") && !lyquor::has("carrier pigeons") && !lyquor::has("\0"));
    assert_eq!(lyquor::version(), env!("CARGO_PKG_VERSION"));
    for text in [format!("{:?}", pair.a), format!("{:?}", pair.driver), format!("{:?}", pair.listener)] {
        assert!(text.contains("0x"), "{text}");
    }
}

#[test]
fn wrong_options_say_what_is_allowed() {
    let driver = Driver::new().unwrap();
    let wrong = [
        Options::new().worker(99),
        Options::new().outbox_bytes(1),
        Options::new().window_bytes(1),
        Options::new().max_message(1),
        Options::new().keepalive(Some(Duration::from_secs(1 << 20))),
        Options::new().connect_timeout(Duration::MAX),
    ];
    for options in &wrong {
        let errors = [driver.dial_with("mem://x", options).err(), driver.listen_with("mem://x", options).err()];
        for error in errors.map(Option::unwrap) {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.detail().is_some_and(|detail| !detail.is_empty()), "{options:?}");
        }
    }
    let builder = Driver::builder;
    let wrong = [
        (builder().workers(65), "workers"),
        (builder().memory_limit(5), "memory"),
        (builder().name("much too long"), "name"),
        (builder().name("\0"), "name"),
        (builder().workers(2).cpus(&[0]), "cpus"),
        (builder().busy_poll(Duration::from_secs(2)), "busy poll"),
    ];
    for (builder, word) in wrong {
        let error = builder.open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.detail().unwrap().contains(word), "{error}");
    }
    for address in ["nonsense://x", "tcp://127.0.0.1\0:1", ""] {
        let kind = driver.dial(address).unwrap_err().kind();
        assert!([ErrorKind::Address, ErrorKind::InvalidArgument].contains(&kind), "{address:?}");
    }
}

#[test]
fn right_options() {
    let options = Options::new()
        .worker(1)
        .outbox_bytes(1 << 20)
        .window_bytes(1 << 20)
        .max_message(2 << 20)
        .keepalive(None)
        .connect_timeout(Duration::from_secs(1))
        .resume(Resume::For(Duration::from_secs(3)));
    let driver = Driver::builder()
        .cpus(&[0])
        .name("test")
        .balance(false)
        .portable(true)
        .memory_limit(8 << 20)
        .busy_poll(Duration::from_micros(10));
    let driver = driver.open().unwrap();
    let mut listener = driver.listen_with(ANY, &options.clone().resume(Resume::ForEver)).unwrap();
    let a = driver.dial_with(&listener.address().unwrap(), &options).unwrap();
    a.send(b"x").unwrap();
    assert_eq!(&*listener.accept().unwrap().recv_timeout(PATIENCE).unwrap().unwrap(), b"x");
    driver.shutdown(Duration::ZERO).unwrap();
    assert_eq!(driver.dial("mem://x").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.counters().unwrap_err().kind(), ErrorKind::Closed);
}
