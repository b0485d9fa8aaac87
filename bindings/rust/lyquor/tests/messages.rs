//! Sending in all its ways, receiving by pulling, and what acknowledges.

mod kit;

use kit::{eventually, Pair, ANY, PATIENCE};
use lyquor::{Driver, ErrorKind, Event, Item, Lane, Message, Options, Tag};
use std::io::{IoSlice, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

fn next(ep: &mut lyquor::Endpoint) -> Message<'static> {
    ep.recv_timeout(PATIENCE).unwrap().expect("a message")
}

#[test]
fn one_message() {
    let mut pair = Pair::new();
    let urgent = pair.a.tagged(Tag::new(Lane::Urgent, 7));
    assert_eq!(pair.a.send(b"zero").unwrap(), 0);
    assert_eq!(pair.a.try_send("one").unwrap(), 1);
    assert_eq!(urgent.send_timeout(vec![1; 3], PATIENCE).unwrap(), 0);
    let mut got: Vec<_> = (0..3).map(|_| next(&mut pair.b)).collect();
    got.sort_by_key(|message| message.tag().channel);
    assert_eq!([&*got[0], &*got[1], &*got[2]], [b"zero", &b"one"[..], &[1, 1, 1]]);
    assert_eq!(got[2].tag(), Tag::new(Lane::Urgent, 7));
    assert_eq!((got[0].id(), got[1].id()), (0, 1));
    assert_eq!(got[2].endpoint(), pair.b.handle());
    got[2].endpoint().send("back").unwrap();
    let back = next(&mut pair.a);
    assert_eq!((back.as_ref(), back.tag()), (&b"back"[..], Tag::new(Lane::Urgent, 7)));
    assert!(format!("{back:?}").contains("back"));
}

#[test]
fn every_way_to_send() {
    let mut pair = Pair::new();
    let long = vec![7u8; 200_000];
    let dropped = Arc::new(AtomicUsize::new(0));
    let receiver = std::thread::spawn(move || {
        let got: Vec<_> = pair.b.messages().map(|message| message.unwrap().to_vec()).collect();
        (pair.b, got)
    });
    pair.a.try_send_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")]).unwrap();
    pair.a.send_vectored(&[IoSlice::new(&long), IoSlice::new(&long)]).unwrap();
    pair.a.try_send_ttl(b"soon", Duration::from_secs(60)).unwrap();
    pair.a.try_send_owned(Lent(vec![1; 10], dropped.clone())).unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 1, "what is short is copied");
    pair.a.send_owned(Lent(long.clone(), dropped.clone())).unwrap();
    pair.a.try_send_with(6, |room| write!(room, "{}", 12345).unwrap()).unwrap();
    pair.a.try_send_with(3, |room| assert!(room.write_all(b"four").is_err() && room.left() == 0)).unwrap();
    pair.a.try_send_with(0, |_| {}).unwrap();
    pair.a.try_send(b"").unwrap();
    pair.a.end().unwrap();
    let (_b, got) = receiver.join().unwrap();
    let double = [long.as_slice(), &long].concat();
    let want: [&[u8]; 9] = [b"abcd", &double, b"soon", &[1; 10], &long, b"12345", b"fou", b"", b""];
    assert_eq!(got, want);
    pair.a.flush(Some(PATIENCE)).unwrap();
    eventually("what was lent is dropped", || dropped.load(Ordering::SeqCst) == 2);
    assert_eq!(pair.a.send(b"x").unwrap_err().kind(), ErrorKind::Closed);
    let unsent = pair.a.try_send_owned(Lent(long.clone(), dropped.clone())).unwrap_err();
    assert_eq!((unsent.error.kind(), &unsent.data.0), (ErrorKind::Closed, &long));
    assert_eq!(unsent.to_string(), "closed");
}

/// A buffer that counts its drops.
#[derive(Debug)]
struct Lent(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_claim_is_committed_when_its_filler_panics() {
    let mut pair = Pair::new();
    let a = pair.a.handle();
    let filler = std::thread::spawn(move || {
        let _ = a.try_send_with(100, |room| {
            room.write_all(b"so far").unwrap();
            panic!("as it should");
        });
    });
    assert!(filler.join().is_err());
    pair.a.send(b"next").unwrap();
    assert_eq!([&*next(&mut pair.b), &*next(&mut pair.b)], [&b"so far"[..], b"next"]);
}

#[test]
fn long_messages_are_aligned() {
    let mut pair = Pair::new();
    pair.a.send(vec![1; 100_000]).unwrap();
    pair.a.send(b"short").unwrap();
    assert_eq!(next(&mut pair.b).as_ptr() as usize % 64, 0);
    assert_eq!(next(&mut pair.b).as_ptr() as usize % 8, 0);
}

#[test]
fn a_full_outbox() {
    let mut pair = Pair::with(&Options::new().outbox_bytes(65536), &Options::new().window_bytes(65536));
    let block = [0u8; 10_000];
    let mut sent = 0;
    let full = loop {
        match pair.a.try_send(block) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    assert_eq!(pair.a.send_timeout(block, Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::TimedOut);
    let limit = Some(Duration::from_millis(5));
    assert_eq!(pair.a.wait_room(10_000, limit).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(pair.a.explain().unwrap().starts_with("NORMAL: "));
    let a = pair.a.handle();
    let sender = std::thread::spawn(move || {
        a.send(block).unwrap();
        a.send_vectored(&[IoSlice::new(&block)]).unwrap();
        a.send_owned(vec![1; 10_000]).unwrap();
    });
    for _ in 0..sent + 3 {
        assert_eq!(next(&mut pair.b).len(), 10_000);
    }
    sender.join().unwrap();
    a.wait_room(10_000, Some(PATIENCE)).unwrap();
}

#[test]
fn dropping_acknowledges() {
    let mut pair = Pair::new();
    pair.a.send(b"one").unwrap();
    let one = next(&mut pair.b);
    let soon = Some(Duration::from_millis(20));
    assert_eq!(pair.a.flush(soon).unwrap_err().kind(), ErrorKind::TimedOut);
    drop(one);
    pair.a.flush(Some(PATIENCE)).unwrap();
    pair.a.send(b"two").unwrap();
    next(&mut pair.b).ack().unwrap();
    pair.a.flush(Some(PATIENCE)).unwrap();
}

/// Sends so many, and waits until they are there to be pulled at once.
fn send_all_before(pair: &mut Pair, n: u64) {
    let before = pair.b.counters().unwrap().msgs_received;
    for i in 0..n {
        pair.a.send(i.to_le_bytes()).unwrap();
    }
    eventually("all are there", || pair.b.counters().unwrap().msgs_received == before + n);
}

/// What the sender knows once the receiver is gone: how many were acknowledged, and how many maybe delivered.
fn account(sender: &mut lyquor::Endpoint) -> (u64, u64) {
    loop {
        if let Item::Event(_, Event::Closed { outcome, .. }) = sender.item(Some(PATIENCE)).unwrap().expect("the end") {
            let total = outcome.total().unwrap();
            return (total.acknowledged, total.maybe_delivered);
        }
    }
}

#[test]
fn what_was_not_handed_out_is_not_acknowledged() {
    let mut pair = Pair::new();
    pair.a.send(b"seen").unwrap();
    next(&mut pair.b);
    pair.a.flush(Some(PATIENCE)).unwrap();
    send_all_before(&mut pair, 9);
    next(&mut pair.b); // with which the others were pulled
    drop(pair.b);
    let (acknowledged, maybe_delivered) = account(&mut pair.a);
    assert!((1..=2).contains(&acknowledged) && acknowledged + maybe_delivered == 10, "{acknowledged}");
}

#[test]
fn what_an_inbox_has_not_handed_out_its_clones_do() {
    let driver = Driver::new().unwrap();
    let mut inbox = driver.inbox().unwrap();
    let mut clone = inbox.clone();
    let listening = driver.listen_into(ANY, &Options::new(), &inbox).unwrap();
    let mut a = driver.dial(&listening.address().unwrap()).unwrap();
    let message = |inbox: &mut lyquor::Inbox| loop {
        match inbox.recv_timeout(PATIENCE).unwrap() {
            Item::Message(message) => break message,
            Item::Event(..) => {}
        }
    };
    a.send(b"seen").unwrap();
    let from = message(&mut clone).endpoint();
    (1..10).for_each(|i| assert_eq!(a.send(b"x").unwrap(), i));
    eventually("all are there", || from.counters().unwrap().msgs_received == 10);
    assert_eq!(message(&mut clone).id(), 1);
    drop(clone); // which has pulled all
    for id in 2..6 {
        assert_eq!(message(&mut inbox).id(), id);
    }
    a.flush(Some(Duration::from_millis(20))).unwrap_err();
    drop(inbox);
    from.close(Duration::ZERO);
    assert_eq!(account(&mut a), (6, 4));
}

/// A thread that waits, because nothing is left to pull, is given what a clone leaves then.
#[test]
fn what_a_clone_leaves_finds_a_thread_that_waits() {
    let driver = Driver::new().unwrap();
    let mut inbox = driver.inbox().unwrap();
    let mut clone = inbox.clone();
    let listening = driver.listen_into(ANY, &Options::new(), &inbox).unwrap();
    let a = driver.dial(&listening.address().unwrap()).unwrap();
    let message = |inbox: &mut lyquor::Inbox| {
        inbox.find_map(|item| match item {
            Item::Message(message) => Some(message),
            Item::Event(..) => None,
        })
    };
    a.send(b"seen").unwrap();
    let from = message(&mut clone).unwrap().endpoint();
    (1..3).for_each(|i| assert_eq!(a.send(b"x").unwrap(), i));
    eventually("all are there", || from.counters().unwrap().msgs_received == 3);
    assert_eq!(message(&mut clone).unwrap().id(), 1); // with which the other was pulled
    let waits = std::thread::Builder::new().name("waits".into());
    let waits = waits.spawn(move || message(&mut inbox).map(|message| message.id())).unwrap();
    eventually("it sleeps", || sleeps("waits"));
    drop(clone);
    assert_eq!(waits.join().unwrap(), Some(2));
}

/// Whether the kernel says that a thread of that name waits for something.
fn sleeps(name: &str) -> bool {
    std::fs::read_dir("/proc/self/task").unwrap().flatten().any(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default(); // it may have ended
        stat.contains(&format!(" ({name}) S "))
    })
}

#[test]
fn batches() {
    let mut pair = Pair::new();
    send_all_before(&mut pair, 5);
    assert_eq!(next(&mut pair.b).id(), 0);
    let (mut batches, mut numbers) = (Vec::new(), Vec::new());
    while numbers.len() < 4 {
        let batch = pair.b.batch(Some(PATIENCE)).unwrap().expect("messages"); // most often all of them
        assert_eq!(batch.len(), batch.iter().len());
        numbers.extend(batch.iter().map(|message| u64::from_le_bytes(message[..].try_into().unwrap())));
        assert!(batch.iter().all(|message| message.endpoint() == pair.b.handle()));
        batches.push(batch);
    }
    assert_eq!(numbers, [1, 2, 3, 4]);
    let kept = batches[0].iter().next().unwrap().keep().unwrap();
    assert_eq!(pair.a.flush(Some(Duration::from_millis(20))).unwrap_err().kind(), ErrorKind::TimedOut);
    std::thread::spawn(|| drop(batches)).join().unwrap();
    pair.a.flush(Some(PATIENCE)).unwrap();
    assert_eq!(pair.b.batch(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::WouldBlock);
    let soon = Some(Duration::from_millis(1));
    assert_eq!(pair.b.batch(soon).unwrap_err().kind(), ErrorKind::TimedOut);
    pair.a.send(b"last").unwrap();
    pair.a.end().unwrap();
    let last = pair.b.batch(None).unwrap().expect("a message");
    assert!(pair.b.batch(None).unwrap().is_none() && pair.b.batch(None).unwrap().is_none());
    drop(pair);
    assert_eq!((&*kept, &*last.iter().next().unwrap()), (&1u64.to_le_bytes()[..], &b"last"[..]));
}

#[test]
fn many_that_are_kept() {
    let mut pair = Pair::new();
    let sender = pair.a.handle();
    let sending = std::thread::spawn(move || (0..1000u64).all(|i| sender.send(i.to_le_bytes()).unwrap() == i));
    let mut kept = Vec::new();
    for i in 0..1000u64 {
        let message = next(&mut pair.b);
        assert_eq!(*message, i.to_le_bytes());
        if i % 3 == 0 {
            kept.push(message); // where others that were pulled with it are dropped
        }
    }
    assert!(sending.join().unwrap());
    assert!(kept.iter().zip(0..).all(|(message, i): (_, u64)| **message == (3 * i).to_le_bytes()));
    let halves = kept.split_off(100);
    std::thread::spawn(move || drop(halves)).join().unwrap();
    drop(kept);
    pair.a.flush(Some(PATIENCE)).unwrap();
}

#[test]
fn acknowledging_by_hand() {
    let mut pair = Pair::with(&Options::new(), &Options::new().manual_ack(true));
    pair.a.send(b"one").unwrap();
    pair.a.send(b"two").unwrap();
    let (one, two) = (next(&mut pair.b), next(&mut pair.b));
    assert_eq!(pair.b.ack(two.id() + 1).unwrap_err().kind(), ErrorKind::InvalidArgument);
    drop(one);
    assert_eq!(pair.a.flush(Some(Duration::from_millis(20))).unwrap_err().kind(), ErrorKind::TimedOut);
    two.ack().unwrap();
    pair.a.flush(Some(PATIENCE)).unwrap();
}

#[test]
fn messages_outlive_everything() {
    let mut pair = Pair::new();
    pair.a.send(b"short").unwrap();
    pair.a.send(vec![3; 100_000]).unwrap();
    let kept = [next(&mut pair.b), next(&mut pair.b)];
    pair.driver.shutdown(Duration::ZERO).unwrap();
    drop(pair);
    let kept = std::thread::spawn(move || {
        assert_eq!((&*kept[0], &*kept[1]), (&b"short"[..], &[3; 100_000][..]));
        kept
    });
    drop(kept.join().unwrap());
}

#[test]
fn dropping_an_endpoint_delivers_what_was_sent() {
    for _ in 0..20 {
        let mut pair = Pair::new();
        for i in 0..100u32 {
            pair.a.send(i.to_le_bytes()).unwrap();
        }
        drop(pair.a);
        let got: Vec<_> = pair.b.messages().map(|m| u32::from_le_bytes(m.unwrap()[..].try_into().unwrap())).collect();
        assert!(got.iter().copied().eq(0..100), "{got:?}");
    }
}

#[test]
fn dropping_a_driver_delivers_what_was_sent() {
    let driver = Driver::new().unwrap();
    let mut listener = driver.listen(ANY).unwrap();
    let other = Driver::new().unwrap();
    let a = other.dial(&listener.address().unwrap()).unwrap();
    for _ in 0..100 {
        a.send(b"x").unwrap();
    }
    drop((a, other));
    assert_eq!(listener.accept().unwrap().messages().count(), 100);
}

#[test]
fn receiving_with_limits() {
    let mut pair = Pair::new();
    assert_eq!(pair.b.recv_timeout(Duration::from_millis(1)).unwrap_err().kind(), ErrorKind::TimedOut);
    eventually("its events are pulled", || pair.b.try_recv().is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    pair.a.send(b"x").unwrap();
    eventually("a message", || pair.b.try_recv().is_ok_and(|message| &*message.unwrap() == b"x"));
    pair.a.close(Duration::from_secs(5));
    assert!(pair.b.recv().unwrap().is_none() && pair.b.try_recv().unwrap().is_none());
    pair.b.wait_closed(Some(PATIENCE)).unwrap();
    assert_eq!(pair.b.messages().count(), 0);
}

#[test]
fn a_descriptor_polls_readable() {
    use std::os::fd::{AsRawFd, BorrowedFd};
    let mut pair = Pair::new();
    // SAFETY: the endpoint keeps it open.
    let fd = unsafe { BorrowedFd::borrow_raw(pair.b.as_raw_fd()) };
    assert!(fd.try_clone_to_owned().is_ok());
    while pair.b.try_recv().is_ok() {}
    pair.a.send(b"x").unwrap();
    assert_eq!(&*next(&mut pair.b), b"x");
}

#[test]
fn too_long() {
    let pair = Pair::new();
    pair.a.wait_up(Some(PATIENCE)).unwrap();
    assert_eq!(pair.a.try_send(vec![0; (1 << 20) + 1]).unwrap_err().kind(), ErrorKind::TooLong);
}
