//! One channel of messages per peer, which outlives every connection: a message that was sent arrives once, in order,
//! or the program is told that it did not.
//!
//! ```
//! let driver = lyquor::Driver::new()?;
//! let mut listener = driver.listen("tcp://127.0.0.1:0")?;
//! let mut alice = driver.dial(&listener.address()?)?;
//! alice.send(b"hello")?;
//! alice.end()?; // no more from this side
//!
//! let mut bob = listener.accept()?;
//! for message in &mut bob {
//!     let message = message?;
//!     message.endpoint().send(&message)?;
//! }
//! assert_eq!(&*alice.recv()?.expect("an answer"), b"hello");
//! # Ok::<(), lyquor::Error>(())
//! ```
//!
//! A [`Driver`] is a pool of worker threads. [`Driver::dial`] and [`Listener::accept`] give an [`Endpoint`]: a channel
//! of messages to one remote program. What was sent is delivered over any number of lost connections; who dialled comes
//! back by itself. A full outbox is an error or a wait, never a drop, and a receiver that does not consume stops its
//! sender. [`Handle::explain`] says in a line why a message waits.
//!
//! # Receiving
//!
//! * By pulling: a loop over an [`Endpoint`], or over an [`Inbox`] that many endpoints share. A [`Message`] is read
//!   where it was received, and acknowledged when it is dropped. [`Endpoint::batch`] hands out many at once.
//! * By a closure that workers call: [`Driver::dial_fn`], [`Driver::listen_fn`], [`Incoming::on_recv`]. It borrows
//!   messages; each is acknowledged when it has taken it.
//!
//! [`Event`]s come in one order with messages: connections that come and go, a peer that has restarted and what it may
//! not have seen ([`Outcome`]), the end.
//!
//! # Threads
//!
//! Everything may be used by any thread, and inside callbacks, unless it says otherwise. Functions that would wait fail
//! with `WouldDeadlock` inside callbacks. Dropping anything never waits, and never enters the Go runtime: thread-local
//! values may hold endpoints and messages. After `fork` every call fails with `Forked` in the child.
//!
//! The library is linked, not loaded: see [`lyquor_sys`] for how it is found.
//!
//! # Features
//!
//! * `vendored`, `static`: how the library is linked, see [`lyquor_sys`].
//! * `futures`: what waits for tasks, under any executor: `Endpoint::recv_async` and `stream`, `Inbox::recv_async` and
//!   `stream`, `Listener::accept_async`, `Handle::send_async`. A thread of this crate watches descriptors for them.
//! * `tokio`: the same, without that thread for what is first awaited inside a tokio runtime (with `enable_io`): that
//!   runtime watches for it then, as for tokio's own sockets, and has to run for as long as it is awaited.
//! * `bytes`: a [`Message`] becomes `bytes::Bytes` without a copy. (`Bytes` are sent without one by
//!   [`Handle::send_owned`], which takes anything that owns its bytes.)
//! * `log`, `tracing`: `forward_to_log` and `forward_to_tracing` have the library's log lines go there.
#![cfg_attr(docsrs, feature(doc_cfg))]

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod counters;
mod driver;
mod endpoint;
mod error;
mod event;
mod handle;
mod inbox;
mod listener;
mod log;
mod message;
mod options;
mod push;
mod shelf;
mod tag;
#[cfg(feature = "futures")]
mod tasks;
mod timer;
#[cfg(feature = "futures")]
mod wake;

use lyquor_sys as sys;
use std::ffi::{CStr, CString};

pub use counters::{process_counters, EndpointCounters, ProcessCounters, WorkerCounters};
pub use driver::{Driver, DriverBuilder};
pub use endpoint::{Endpoint, Messages};
pub use error::{Error, ErrorKind, Result, Unsent};
pub use event::{Event, Item, LaneAccount, Left, Outcome, Unacked, Up};
pub use handle::{Handle, Room};
pub use inbox::Inbox;
pub use listener::{Incoming, Listener, Listening};
#[cfg(feature = "log")]
pub use log::forward_to_log;
#[cfg(feature = "tracing")]
pub use log::forward_to_tracing;
pub use log::{clear_logger, set_logger, Level};
pub use message::{Batch, Message, Shown};
pub use options::{OnRestart, Options, Resume};
pub use push::Flow;
pub use tag::{Lane, Tag};
#[cfg(feature = "futures")]
#[cfg_attr(docsrs, doc(cfg(feature = "futures")))]
pub use tasks::{Items, MessageStream, Sending};
pub use timer::Timer;

/// The release of the library that is linked, such as "0.1.0".
pub fn version() -> &'static str {
    // SAFETY: it takes nothing, and the text is static.
    unsafe { CStr::from_ptr(sys::lyq_version()) }.to_str().unwrap_or_default()
}

/// Whether the library that is linked has a capability: "tcp", "mem", "fd", "pull", "portable".
pub fn has(what: &str) -> bool {
    // SAFETY: the string lives until the call returns.
    CString::new(what).is_ok_and(|what| unsafe { sys::lyq_has(what.as_ptr()) } == 1)
}
