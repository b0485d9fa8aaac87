//! The same for tasks: what waits is a future, or a stream.

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Item;
use crate::handle::Handle;
use crate::inbox::Inbox;
use crate::listener::Listener;
use crate::message::{Batch, Message};
use crate::wake;
use futures_core::Stream;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::{ready, Context, Poll};

impl Inbox {
    /// Calls what would block until it need not.
    fn poll<T>(&mut self, cx: &mut Context<'_>, mut take: impl FnMut(&mut Self) -> Result<T>) -> Poll<Result<T>> {
        match take(self) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if let Err(error) = self.wake_when_readable(cx.waker()) {
                    return Poll::Ready(Err(error));
                }
                // Another task may have pulled, and put it where no descriptor tells of it.
                match take(self) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                    other => Poll::Ready(other),
                }
            }
            other => Poll::Ready(other),
        }
    }

    /// The next item, awaited. Cancel safe: an item is lost in no case.
    ///
    /// # Errors
    /// `Closed`, with its driver.
    pub async fn recv_async(&mut self) -> Result<Item<'static>> {
        poll_fn(|cx| self.poll(cx, Inbox::try_recv)).await
    }

    /// Items, until the inbox is closed. Dropping the stream loses nothing.
    pub fn stream(&mut self) -> Items<'_> {
        Items { inbox: self }
    }
}

impl Endpoint {
    fn poll<T>(&mut self, cx: &mut Context<'_>, mut take: impl FnMut(&mut Self) -> Result<T>) -> Poll<Result<T>> {
        match take(self) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if let Err(error) = self.inbox().wake_when_readable(cx.waker()) {
                    return Poll::Ready(Err(error));
                }
                match take(self) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                    other => Poll::Ready(other),
                }
            }
            other => Poll::Ready(other),
        }
    }

    /// The next message, awaited; `None` if the peer sends no more. Cancel safe: a message is lost in no case.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_async(&mut self) -> Result<Option<Message<'static>>> {
        poll_fn(|cx| self.poll(cx, Endpoint::try_recv)).await
    }

    /// Messages that are there, up to 64 of them, or awaited; `None` if the peer sends no more. Cancel safe.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn batch_async(&mut self) -> Result<Option<Batch>> {
        poll_fn(|cx| self.poll(cx, |this| this.batch(Some(std::time::Duration::ZERO)))).await
    }

    /// The next message or event, awaited; `None` behind the last one. Cancel safe.
    ///
    /// # Errors
    /// `Closed`, with its driver.
    pub async fn item_async(&mut self) -> Result<Option<Item<'static>>> {
        poll_fn(|cx| self.poll(cx, |this| this.item(Some(std::time::Duration::ZERO)))).await
    }

    /// Messages, until the peer sends no more: the stream that [`messages`](Self::messages) is as an iterator. Dropping
    /// it loses nothing.
    pub fn stream(&mut self) -> MessageStream<'_> {
        MessageStream { endpoint: self, done: false }
    }
}

impl Listener {
    /// The next endpoint, awaited. Cancel safe.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accept_async(&mut self) -> Result<Endpoint> {
        loop {
            let next = poll_fn(|cx| self.poll_incoming(cx)).await?;
            match next.accept() {
                Err(error) if error.kind() == ErrorKind::Closed => {}
                other => return other,
            }
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<crate::Incoming>> {
        const NOW: Option<std::time::Duration> = Some(std::time::Duration::ZERO);
        match self.incoming(NOW) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if let Err(error) = self.lobby().wake_when_readable(cx.waker()) {
                    return Poll::Ready(Err(error));
                }
                match self.incoming(NOW) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                    other => Poll::Ready(other),
                }
            }
            other => Poll::Ready(other),
        }
    }
}

impl Handle {
    /// Copies a message, and waits for room only if there is none. Any task may do so, whether or not another receives
    /// from the endpoint. Cancel safe: a future that is dropped before it is ready has sent nothing.
    ///
    /// # Errors
    /// `TooLong`, `Closed`.
    pub fn send_async<T: AsRef<[u8]>>(self, message: T) -> Sending<T> {
        Sending { to: self, message }
    }
}

/// Sends a message: see [`Handle::send_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sending<T> {
    to: Handle,
    message: T,
}

impl<T: AsRef<[u8]> + Unpin> Future for Sending<T> {
    type Output = Result<u64>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        let full = |result: &Result<u64>| matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock);
        let result = self.to.try_send(&self.message);
        if !full(&result) {
            return Poll::Ready(result);
        }
        let core = wake::await_room(self.to, self.message.as_ref().len(), cx.waker());
        // The library tells that there is room after this, and whoever sees that wakes this task.
        let result = self.to.try_send(&self.message);
        if !full(&result) {
            return Poll::Ready(result);
        }
        match core.map(|core| core.look_for_room(cx.waker())) {
            Some(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    }
}

/// Items of an inbox: see [`Inbox::stream`].
#[derive(Debug)]
pub struct Items<'a> {
    inbox: &'a mut Inbox,
}

impl Stream for Items<'_> {
    type Item = Item<'static>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inbox.poll(cx, Inbox::try_recv).map(Result::ok)
    }
}

/// Messages of an endpoint: see [`Endpoint::stream`].
#[derive(Debug)]
pub struct MessageStream<'a> {
    endpoint: &'a mut Endpoint,
    done: bool,
}

impl Stream for MessageStream<'_> {
    type Item = Result<Message<'static>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let next = ready!(self.endpoint.poll(cx, Endpoint::try_recv)).transpose();
        self.done = match &next {
            Some(Ok(_)) => false,
            Some(Err(error)) => error.kind() != ErrorKind::Restarted,
            None => true,
        };
        Poll::Ready(next)
    }
}
