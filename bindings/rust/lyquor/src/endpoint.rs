use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Item, Turn};
use crate::handle::Handle;
use crate::inbox::Inbox;
use crate::message::{Batch, Message};
use crate::options::LINGER;
use crate::sys;
use crate::timer::Timer;
use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// A channel of messages to one remote program, which is received from by pulling.
///
/// It sends as its [`Handle`] does, to which it dereferences and of which any thread may have a copy; one thread at a
/// time receives. Dropping it closes it: what was sent is still delivered for up to five seconds, unless
/// [`close`](Handle::close) said something else before; nothing waits for that ([`Driver::shutdown`] does).
///
/// What was not handed out when it is dropped is not acknowledged: the peer learns of it as maybe delivered.
///
/// [`Driver::shutdown`]: crate::Driver::shutdown
pub struct Endpoint {
    handle: Handle,
    inbox: Inbox,
    /// The peer sends no more.
    ended: bool,
    /// Why it has ended, once that was handed out.
    over: Option<Option<Error>>,
}

impl Endpoint {
    pub(crate) fn new(handle: Handle, inbox: Inbox) -> Self {
        Self { handle, inbox, ended: false, over: None }
    }

    #[cfg(feature = "futures")]
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// A copy of its handle.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// The next message, waited for. `None` if the peer sends no more: it has said so, or the endpoint has ended in
    /// order.
    ///
    /// # Errors
    /// Why the endpoint has ended, if not in order; `Restarted`, after which it goes on; `Closed`, with its driver;
    /// `WouldDeadlock` inside a callback.
    #[inline]
    pub fn recv(&mut self) -> Result<Option<Message<'static>>> {
        self.message(None)
    }

    /// The next message, waited for no longer than that.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and `TimedOut`.
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Message<'static>>> {
        self.message(Some(limit)).map_err(|error| match error.code() {
            sys::LYQ_EAGAIN => Error::plain(sys::LYQ_ETIMEDOUT),
            _ => error,
        })
    }

    /// The next message, if there is one.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else as [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<Message<'static>>> {
        self.message(Some(Duration::ZERO))
    }

    #[inline]
    fn message(&mut self, limit: Option<Duration>) -> Result<Option<Message<'static>>> {
        match self.inbox.message() {
            None => self.await_message(limit),
            there => Ok(there),
        }
    }

    #[inline(never)]
    fn await_message(&mut self, limit: Option<Duration>) -> Result<Option<Message<'static>>> {
        self.wait_for(limit, Inbox::message)
    }

    /// Messages that are there, up to 64 of them, or waited for (`None`: for ever); `None` behind the last one. They
    /// are acknowledged together: the fastest way to pull.
    ///
    /// ```
    /// # let driver = lyquor::Driver::new()?;
    /// # let mut listener = driver.listen("mem://batch")?;
    /// # let alice = driver.dial("mem://batch")?;
    /// # let mut bob = listener.accept()?;
    /// # alice.send("hello")?;
    /// # alice.end()?;
    /// let mut bytes = 0;
    /// while let Some(messages) = bob.batch(None)? {
    ///     for message in &messages {
    ///         bytes += message.len();
    ///     }
    /// }
    /// # assert_eq!(bytes, 5);
    /// # Ok::<(), lyquor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout); `WouldBlock` if the limit is zero.
    pub fn batch(&mut self, limit: Option<Duration>) -> Result<Option<Batch>> {
        self.wait_for(limit, Inbox::batch)
    }

    /// Waits until messages can be taken, and sees to the events before them.
    fn wait_for<T>(&mut self, limit: Option<Duration>, take: impl Fn(&mut Inbox) -> Option<T>) -> Result<Option<T>> {
        let mut deadline = None; // read off the clock when it is needed
        loop {
            if let Some(taken) = take(&mut self.inbox) {
                return Ok(Some(taken));
            }
            if let Some(reason) = &self.over {
                return reason.clone().map_or(Ok(None), Err);
            }
            let left = match (limit, deadline) {
                _ if self.ended => Some(Duration::ZERO),
                (Some(_), Some(deadline)) => Some(Instant::saturating_duration_since(&deadline, Instant::now())),
                _ => limit,
            };
            match self.inbox.fill(left) {
                Err(error) if self.ended && error.kind() == ErrorKind::WouldBlock => return Ok(None),
                other => other?,
            }
            if let Some(event) = self.inbox.event() {
                match self.note(&event) {
                    Turn::End => return Ok(None),
                    Turn::Raise(error) => return Err(error),
                    Turn::Nothing if deadline.is_none() => {
                        deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
                    }
                    Turn::Nothing => {}
                }
            }
        }
    }

    fn note(&mut self, event: &Event<'_>) -> Turn {
        match event {
            Event::Ended => self.ended = true,
            Event::Restarted(_) => self.ended = false,
            Event::Closed { reason, .. } => self.over = Some(reason.clone()),
            _ => {}
        }
        event.turn()
    }

    /// The next message or event, waited for no longer than that (`None`: for ever); `None` behind the last one.
    ///
    /// # Errors
    /// `TimedOut`, `WouldBlock` if the limit is zero; `Closed`, with its driver; `WouldDeadlock` inside a callback.
    pub fn item(&mut self, limit: Option<Duration>) -> Result<Option<Item<'static>>> {
        if self.over.is_some() {
            return Ok(None);
        }
        let item = self.inbox.pull(limit)?;
        if let Item::Event(_, event) = &item {
            self.note(event);
        }
        Ok(Some(item))
    }

    /// Messages, waited for, until the peer sends no more. An error that ends the endpoint is the last thing that it
    /// hands out. `for message in &mut endpoint` does the same.
    pub fn messages(&mut self) -> Messages<'_> {
        Messages { endpoint: self, done: false }
    }

    /// Has an [`Event::Timer`] come after that delay.
    ///
    /// # Errors
    /// `Closed`, `Limit`.
    pub fn timer(&self, delay: Duration) -> Result<Timer> {
        self.inbox.timer_with(self.handle, delay)
    }
}

impl Deref for Endpoint {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.handle.close(LINGER);
    }
}

/// As an [`Inbox`]'s.
impl AsRawFd for Endpoint {
    fn as_raw_fd(&self) -> RawFd {
        self.inbox.as_raw_fd()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({:#x})", self.handle.id())
    }
}

/// Messages of an endpoint: see [`Endpoint::messages`].
#[derive(Debug)]
pub struct Messages<'a> {
    endpoint: &'a mut Endpoint,
    done: bool,
}

impl Iterator for Messages<'_> {
    type Item = Result<Message<'static>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.endpoint.recv().transpose();
        self.done = match &next {
            Some(Ok(_)) => false,
            Some(Err(error)) => error.kind() != ErrorKind::Restarted,
            None => true,
        };
        next
    }
}

impl<'a> IntoIterator for &'a mut Endpoint {
    type Item = Result<Message<'static>>;
    type IntoIter = Messages<'a>;

    fn into_iter(self) -> Messages<'a> {
        self.messages()
    }
}
