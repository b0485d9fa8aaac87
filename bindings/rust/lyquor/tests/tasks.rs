//! Futures and streams, under several executors.
#![cfg(feature = "futures")]

mod kit;

use futures::executor::{block_on, ThreadPool};
use futures::future::{join, select, Either};
use futures::task::SpawnExt;
use futures::StreamExt;
use kit::{many, Pair, ANY, PATIENCE};
use lyquor::{Driver, Endpoint, ErrorKind, Flow, Handle, Item, Options};
use std::pin::pin;
use std::time::Duration;

/// Endpoints that hold little, so that senders have to wait.
fn narrow() -> Pair {
    Pair::with(&Options::new().outbox_bytes(65536), &Options::new().outbox_bytes(65536).window_bytes(65536))
}

fn count() -> u32 {
    many(20_000)
}

#[test]
fn batches() {
    let mut pair = narrow();
    let to = pair.a.handle();
    let receive = async {
        let mut next = 0;
        while let Some(messages) = pair.b.batch_async().await.unwrap() {
            for message in &messages {
                assert_eq!(number(&message), next);
                next += 1;
            }
        }
        next
    };
    let send = async {
        for i in 0..1000 {
            to.send_async(payload(i)).await.unwrap();
        }
        to.end().unwrap();
    };
    assert_eq!(block_on(join(send, receive)).1, 1000);
}

fn payload(i: u32) -> Vec<u8> {
    [i.to_le_bytes(); 50].concat()
}

fn number(message: &[u8]) -> u32 {
    u32::from_le_bytes(message[..4].try_into().unwrap())
}

/// Sends all numbers.
async fn send_all(to: Handle) {
    for i in 0..count() {
        to.send_async(payload(i)).await.unwrap();
    }
    to.end().unwrap();
}

/// Receives them, in order, by a thread.
fn receive_all(ep: &mut Endpoint) {
    let got = ep.messages().map(|message| number(&message.unwrap()));
    assert!(got.eq(0..count()));
}

/// Sends all numbers, and gets them back in order, in one task or two.
async fn there_and_back(mut pair: Pair) {
    let back = pair.b.handle();
    let send = send_all(pair.a.handle());
    let echo = async {
        let mut messages = pair.b.stream();
        while let Some(message) = messages.next().await {
            back.send_async(message.unwrap()).await.unwrap();
        }
        back.end().unwrap();
    };
    let receive = async {
        let mut next = 0;
        while let Some(message) = pair.a.recv_async().await.unwrap() {
            assert_eq!(number(&message), next);
            next += 1;
        }
        assert_eq!(next, count());
    };
    join(join(send, echo), receive).await;
}

#[test]
fn one_thread() {
    block_on(there_and_back(narrow()));
}

#[test]
fn several_threads() {
    let pool = ThreadPool::builder().pool_size(3).create().unwrap();
    let all: Vec<_> = (0..3).map(|_| pool.spawn_with_handle(there_and_back(narrow())).unwrap()).collect();
    all.into_iter().for_each(block_on);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokio_with_threads() {
    tokio::spawn(there_and_back(narrow())).await.unwrap();
}

#[tokio::test]
async fn tokio_on_one_thread() {
    tokio::time::timeout(PATIENCE, there_and_back(narrow())).await.unwrap();
}

#[test]
fn a_runtime_that_does_not_watch_descriptors() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(there_and_back(narrow()));
}

#[test]
fn a_runtime_that_has_gone() {
    let mut pair = Pair::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut nothing = pin!(pair.b.recv_async());
        assert!(futures::poll!(nothing.as_mut()).is_pending());
    });
    drop(runtime);
    let to = pair.a.handle();
    let sender = std::thread::spawn(move || block_on(to.send_async("late")).unwrap());
    assert_eq!(&*block_on(pair.b.recv_async()).unwrap().unwrap(), b"late");
    sender.join().unwrap();
}

#[test]
fn a_sender_that_nobody_receives_for() {
    let mut pair = narrow();
    let receiver = std::thread::spawn(move || receive_all(&mut pair.b));
    block_on(send_all(pair.a.handle()));
    receiver.join().unwrap();
}

/// Sends all numbers from an endpoint that is dialled like that.
fn send_from(dial: impl FnOnce(&Driver, &str, &Options) -> lyquor::Result<Handle>) {
    let driver = Driver::new().unwrap();
    let mut listener = driver.listen(ANY).unwrap();
    let to = dial(&driver, &listener.address().unwrap(), &Options::new().outbox_bytes(65536)).unwrap();
    let mut peer = listener.accept().unwrap();
    let receiver = std::thread::spawn(move || receive_all(&mut peer));
    block_on(send_all(to));
    receiver.join().unwrap();
}

#[test]
fn a_sender_whose_endpoint_calls_back() {
    send_from(|driver, address, options| driver.dial_fn(address, options, |_| Flow::Continue));
}

#[test]
fn a_sender_without_receiver() {
    send_from(|driver, address, options| driver.dial_unbound(address, options));
}

#[test]
fn a_receiver_that_blocks_beside_a_sender_that_awaits() {
    let mut pair = narrow();
    let to = pair.a.handle();
    let mut b = pair.b;
    let echo = std::thread::spawn(move || {
        for message in &mut b {
            let message = message.unwrap();
            message.endpoint().send(&message).unwrap();
        }
        b.end().unwrap();
    });
    let receiver = std::thread::spawn(move || receive_all(&mut pair.a));
    block_on(send_all(to));
    echo.join().unwrap();
    receiver.join().unwrap();
}

#[test]
fn cancelling_loses_nothing() {
    let mut pair = Pair::new();
    block_on(async {
        for i in 0..200u32 {
            let peer = pair.b.handle();
            let sender = async move { peer.send_async(payload(i)).await.unwrap() };
            // Whichever is ready first: the other is dropped, half done.
            let first = match select(pin!(pair.a.recv_async()), pin!(sender)).await {
                Either::Left((message, _)) => message.unwrap(),
                Either::Right(_) => None,
            };
            let got = match first {
                Some(message) => message,
                None => pair.a.recv_async().await.unwrap().unwrap(),
            };
            assert_eq!(number(&got), i);
        }
    });
}

#[test]
fn accepting_and_an_inbox() {
    block_on(async {
        let driver = Driver::new().unwrap();
        let mut listener = driver.listen(ANY).unwrap();
        let mut inbox = driver.inbox().unwrap();
        let address = listener.address().unwrap();
        let dial = async { driver.dial_into(&address, &Options::new(), &inbox).unwrap() };
        let (peer, handle) = join(listener.accept_async(), dial).await;
        let peer = peer.unwrap();
        peer.send_async("for the inbox").await.unwrap();
        let mut items = inbox.stream();
        let message = loop {
            if let Item::Message(message) = items.next().await.unwrap() {
                break message;
            }
        };
        assert_eq!((&*message, message.endpoint()), (&b"for the inbox"[..], handle));
    });
}

#[test]
fn a_sender_whose_receiver_is_dropped() {
    for _ in 0..20 {
        let pair = narrow();
        let a = pair.a.handle();
        while a.try_send(payload(0)).is_ok() {}
        let sender = std::thread::spawn(move || block_on(a.send_async(payload(0))));
        drop(pair.a);
        assert_eq!(sender.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[test]
fn the_end_wakes_everybody() {
    let mut pair = narrow();
    let (a, driver) = (pair.a.handle(), pair.driver);
    while a.try_send(payload(0)).is_ok() {}
    let sender = std::thread::spawn(move || block_on(a.send_async(payload(0))));
    let receiver = std::thread::spawn(move || block_on(pair.a.recv_async()).map(|message| message.is_none()));
    let mut inbox = driver.inbox().unwrap();
    let items = std::thread::spawn(move || block_on(inbox.recv_async()).map(drop));
    let mut listener = pair.listener;
    let accept = std::thread::spawn(move || block_on(listener.accept_async()).map(drop));
    driver.shutdown(Duration::ZERO).unwrap();
    assert_eq!(sender.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(items.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(accept.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    // Its last item, or the end of its inbox.
    assert!(receiver.join().unwrap().unwrap_or_else(|error| error.kind() == ErrorKind::Closed));
}
