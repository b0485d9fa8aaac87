//! What features add: `bytes`, `log`, `tracing`.

mod kit;

#[cfg(feature = "bytes")]
#[test]
fn messages_become_bytes() {
    use bytes::Bytes;
    use kit::{Pair, PATIENCE};
    let mut pair = Pair::new();
    let sent = Bytes::from(vec![7; 100_000]);
    pair.a.send_owned(sent.clone()).unwrap();
    let message = pair.b.recv_timeout(PATIENCE).unwrap().unwrap();
    let at = message.as_ptr();
    let got = Bytes::from(message);
    assert!(got.as_ptr() == at && got == sent, "it is not copied");
    let part = got.slice(1..3);
    drop(got);
    let soon = std::time::Duration::from_millis(10);
    assert!(pair.a.flush(Some(soon)).is_err(), "a part of it is held");
    drop(part);
    pair.a.flush(Some(PATIENCE)).unwrap();
}

#[cfg(all(feature = "log", feature = "tracing"))]
#[test]
fn log_lines_are_forwarded() {
    use kit::eventually;
    use std::sync::Mutex;

    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Logger;
    impl log::Log for Logger {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            LINES.lock().unwrap().push(format!("log {} {}", record.target(), record.args()));
        }
        fn flush(&self) {}
    }

    struct Subscriber(&'static str);
    impl tracing::Subscriber for Subscriber {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            LINES.lock().unwrap().push(format!("{} {} {event:?}", self.0, event.metadata().target()));
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing::subscriber::set_global_default(Subscriber("tracing")).unwrap();
    let has = |word: &str| LINES.lock().unwrap().iter().any(|line| line.contains(word));

    lyquor::forward_to_log(lyquor::Level::Debug).unwrap();
    drop(kit::Pair::new());
    eventually("a line of log", || has("log lyquor "));
    lyquor::forward_to_tracing(lyquor::Level::Debug).unwrap();
    drop(kit::Pair::new());
    eventually("a line of tracing", || has("tracing lyquor "));
    lyquor::clear_logger().unwrap();
}
