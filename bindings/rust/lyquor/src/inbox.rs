use crate::error::{control, data, Error, Result};
use crate::event::Item;
use crate::handle::{wait, Handle};
use crate::message::Message;
use crate::sys::{self, lyq_driver, lyq_inbox, lyq_msg};
use crate::timer::Timer;
use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// A queue of the items of many endpoints, which take turns. It is what [`Driver::inbox`](crate::Driver::inbox) opens;
/// [`Driver::dial_into`](crate::Driver::dial_into), [`Driver::listen_into`](crate::Driver::listen_into) and
/// [`bind`](Self::bind) fill it.
///
/// Several threads pull from one inbox by clones of it, each item going to one of them. It is closed when the last clone
/// is dropped; endpoints bound to it receive nothing more then, and should be closed.
#[derive(Clone)]
pub struct Inbox {
    batch: Batch,
    core: Arc<Core>,
}

struct Core {
    inbox: lyq_inbox,
    driver: lyq_driver,
}

impl Drop for Core {
    fn drop(&mut self) {
        // SAFETY: it takes no pointers.
        unsafe { sys::lyq_close(self.inbox.id, 0) };
    }
}

impl Inbox {
    pub(crate) fn open(driver: lyq_driver) -> Result<Self> {
        let mut inbox = lyq_inbox { id: 0 };
        // SAFETY: it fills `inbox`.
        control(unsafe { sys::lyq_inbox_open(driver, &mut inbox) })?;
        Ok(Self { core: Arc::new(Core { inbox, driver }), batch: Batch::default() })
    }

    pub(crate) fn raw(&self) -> lyq_inbox {
        self.core.inbox
    }

    /// The next item, waited for.
    ///
    /// # Errors
    /// `Closed`, with its driver; `WouldDeadlock` inside a callback.
    pub fn recv(&mut self) -> Result<Item<'static>> {
        self.pull(None)
    }

    /// The next item, waited for no longer than that.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and `TimedOut`.
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Item<'static>> {
        self.pull(Some(limit)).map_err(|error| match error.code() {
            sys::LYQ_EAGAIN => Error::plain(sys::LYQ_ETIMEDOUT),
            _ => error,
        })
    }

    /// The next item, if there is one.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; `Closed`.
    pub fn try_recv(&mut self) -> Result<Item<'static>> {
        self.pull(Some(Duration::ZERO))
    }

    #[inline]
    pub(crate) fn pull(&mut self, limit: Option<Duration>) -> Result<Item<'static>> {
        loop {
            if let Some(item) = self.batch.next() {
                return Ok(Item::of(item));
            }
            self.batch.fill(self.core.inbox, limit)?;
        }
    }

    /// Has everything of an endpoint that was opened without receiver come here.
    ///
    /// # Errors
    /// `Busy` if it has a receiver; `Closed`.
    pub fn bind(&self, endpoint: Handle) -> Result<()> {
        // SAFETY: it takes no pointers.
        control(unsafe { sys::lyq_inbox_bind(self.raw(), endpoint.id(), -1) }).map(drop)
    }

    /// Has an [`Event::Timer`](crate::Event::Timer) come after that delay; at once if it is zero, to wake a thread that
    /// waits here.
    ///
    /// # Errors
    /// `Closed`, `Limit`.
    pub fn timer(&self, delay: Duration) -> Result<Timer> {
        Timer::event(self.core.driver, self.raw().id, delay)
    }

    pub(crate) fn timer_with(&self, with: Handle, delay: Duration) -> Result<Timer> {
        Timer::event(self.core.driver, with.id(), delay)
    }
}

/// A descriptor that polls readable while something is there that no thread has pulled yet. Receiving re-arms it, which
/// pulls up to 64 items at once: poll when `try_recv` says `WouldBlock`. Never read or close it. -1 once it is closed.
impl AsRawFd for Inbox {
    fn as_raw_fd(&self) -> RawFd {
        // SAFETY: it takes no pointers.
        unsafe { sys::lyq_inbox_fd(self.raw()) }.max(-1)
    }
}

/// Hands out items until the inbox is closed.
impl Iterator for Inbox {
    type Item = Item<'static>;

    fn next(&mut self) -> Option<Item<'static>> {
        self.recv().ok()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox({:#x})", self.raw().id)
    }
}

/// Items that were pulled and not handed out.
#[derive(Default)]
struct Batch {
    items: Vec<lyq_msg>,
    next: usize,
}

// SAFETY: it owns its items, which any thread may read and release.
unsafe impl Send for Batch {}
// SAFETY: by reference it does nothing.
unsafe impl Sync for Batch {}

const BATCH: usize = 64;

impl Batch {
    #[inline]
    fn next(&mut self) -> Option<Message<'static>> {
        let raw = *self.items.get(self.next)?;
        self.next += 1;
        // SAFETY: it came from lyq_recv, and is not looked at again.
        Some(unsafe { Message::owned(raw) })
    }

    fn fill(&mut self, from: lyq_inbox, limit: Option<Duration>) -> Result<()> {
        debug_assert_eq!(self.next, self.items.len());
        self.items.clear();
        self.next = 0;
        self.items.reserve_exact(BATCH);
        let to = self.items.as_mut_ptr();
        // SAFETY: there is room for so many.
        let pull = |ms| i64::from(unsafe { sys::lyq_recv(from, to, BATCH, ms) });
        let n = match limit {
            Some(Duration::ZERO) => data(pull(0)),
            _ => wait(limit, pull),
        }?;
        // SAFETY: so many were filled.
        unsafe { self.items.set_len(n as usize) };
        Ok(())
    }
}

impl Clone for Batch {
    /// What was pulled is handed out by one of them.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let left = &self.items[self.next..];
        if !left.is_empty() {
            // SAFETY: these were pulled, and not handed out.
            unsafe { sys::lyq_release(left.as_ptr(), left.len()) };
        }
    }
}
