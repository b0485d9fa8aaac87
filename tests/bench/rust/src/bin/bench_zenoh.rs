//! zenoh from peer to peer over TCP, as its examples measure: a subscriber with a callback, a publisher that blocks
//! where there is no room, so that nothing is dropped (it is reliable by default), and for round trips does not gather
//! messages. It scouts for nobody.

use lyquor_bench::Arguments;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use zenoh::pubsub::Publisher;
use zenoh::qos::CongestionControl;
use zenoh::{Config, Result, Session, Wait};

const THERE: &str = "bench/there";
const BACK: &str = "bench/back";

fn main() -> Result<()> {
    let a = Arguments::read();
    let session = zenoh::open(config(&a)?).wait()?;
    match (a.latency, a.listen) {
        (false, true) => receive(&a, &session)?,
        (false, false) => send(&a, &session)?,
        (true, true) => answer(&session)?,
        (true, false) => ask(&a, &session)?,
    }
    session.close().wait()
}

fn config(a: &Arguments) -> Result<Config> {
    let mut config = Config::default();
    let endpoints = format!("[\"tcp/{}\"]", a.address);
    config.insert_json5("mode", "\"peer\"")?;
    config.insert_json5("scouting/multicast/enabled", "false")?;
    config.insert_json5("scouting/gossip/enabled", "false")?;
    config.insert_json5("listen/endpoints", if a.listen { &endpoints } else { "[]" })?;
    config.insert_json5("connect/endpoints", if a.listen { "[]" } else { &endpoints })?;
    Ok(config)
}

/// A publisher, once somebody subscribes.
fn publisher<'a>(session: &'a Session, key: &'static str, at_once: bool) -> Result<Publisher<'a>> {
    let publisher =
        session.declare_publisher(key).congestion_control(CongestionControl::Block).express(at_once).wait()?;
    while !publisher.matching_status().wait()?.matching() {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(publisher)
}

fn receive(a: &Arguments, session: &Session) -> Result<()> {
    let (tell, done) = channel();
    let (mut left, mut first) = (a.count, None);
    let _subscriber = session
        .declare_subscriber(THERE)
        .callback_mut(move |_| {
            first.get_or_insert_with(Instant::now);
            left -= 1;
            if left == 0 {
                let _ = tell.send(first);
            }
        })
        .wait()?;
    let first = done.recv()?.expect("there was one");
    a.print_rate(first);
    publisher(session, BACK, true)?.put("all").wait() // until which the sender stays
}

fn send(a: &Arguments, session: &Session) -> Result<()> {
    let all = session.declare_subscriber(BACK).wait()?;
    let publisher = publisher(session, THERE, false)?;
    let data = zenoh::bytes::ZBytes::from(vec![0u8; a.size]);
    for _ in 0..a.count {
        publisher.put(data.clone()).wait()?;
    }
    all.recv().map(drop)
}

fn answer(session: &Session) -> Result<()> {
    let back = session.declare_publisher(BACK).congestion_control(CongestionControl::Block).express(true).wait()?;
    let (tell, over) = channel();
    // One that is empty is the last.
    let _subscriber = session
        .declare_subscriber(THERE)
        .callback(move |sample| match sample.payload().is_empty() {
            false => back.put(sample.payload().clone()).wait().expect("it is sent"),
            true => tell.send(()).expect("it is awaited"),
        })
        .wait()?;
    Ok(over.recv()?)
}

fn ask(a: &Arguments, session: &Session) -> Result<()> {
    let subscriber = session.declare_subscriber(BACK).wait()?;
    let publisher = publisher(session, THERE, true)?;
    let (data, mut trips) = (zenoh::bytes::ZBytes::from(vec![0u8; a.size]), Vec::new());
    for _ in 0..a.warm() + a.count {
        let start = Instant::now();
        publisher.put(data.clone()).wait()?;
        subscriber.recv()?;
        trips.push(start.elapsed());
    }
    a.print_trips(&trips);
    publisher.put("").wait()
}
