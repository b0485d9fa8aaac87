use crate::error::{control, data, Error, Result};
use crate::event::{Event, Item, DATA};
use crate::handle::{wait, Handle};
use crate::message::{Batch, Message};
use crate::shelf::Shelf;
use crate::sys::{self, lyq_driver, lyq_inbox, lyq_msg};
use crate::timer::Timer;
#[cfg(feature = "futures")]
use crate::wake;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A queue of the items of many endpoints, which take turns. It is what [`Driver::inbox`](crate::Driver::inbox) opens;
/// [`Driver::dial_into`](crate::Driver::dial_into), [`Driver::listen_into`](crate::Driver::listen_into) and
/// [`bind`](Self::bind) fill it.
///
/// Several threads pull from one inbox by clones of it, each item going to one of them. Up to 64 are pulled at once;
/// what a clone has not handed out when it is dropped the others do. It is closed when the last clone is dropped;
/// endpoints bound to it receive nothing more then, and should be closed: what was not handed out is not acknowledged.
#[derive(Clone)]
pub struct Inbox {
    pulled: Pulled,
    core: Arc<Core>,
}

pub(crate) struct Core {
    inbox: lyq_inbox,
    driver: lyq_driver,
    /// What was pulled by clones that are gone, or by tasks that wait for room.
    stash: Mutex<VecDeque<Pulled>>,
    #[cfg(feature = "futures")]
    tasks: Tasks,
}

impl Drop for Core {
    fn drop(&mut self) {
        #[cfg(feature = "futures")]
        self.forget();
        // SAFETY: it takes no pointers.
        unsafe { sys::lyq_close(self.inbox.id, 0) };
    }
}

impl Inbox {
    pub(crate) fn open(driver: lyq_driver) -> Result<Self> {
        let mut inbox = lyq_inbox { id: 0 };
        // SAFETY: it fills `inbox`.
        control(unsafe { sys::lyq_inbox_open(driver, &mut inbox) })?;
        let core = Core {
            inbox,
            driver,
            stash: Mutex::default(),
            #[cfg(feature = "futures")]
            tasks: Tasks::default(),
        };
        Ok(Self { core: Arc::new(core), pulled: Pulled::default() })
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

    /// The next item, if it was pulled and is a message.
    #[inline]
    pub(crate) fn message(&mut self) -> Option<Message<'static>> {
        self.pulled.message()
    }

    /// The messages up to the next event, if some were pulled.
    pub(crate) fn batch(&mut self) -> Option<Batch> {
        self.pulled.batch()
    }

    /// The next item, if it was pulled and is an event.
    pub(crate) fn event(&mut self) -> Option<Event<'static>> {
        match self.pulled.items().first()?.kind {
            DATA => None,
            _ => match Item::event(self.pulled.next()?) {
                Item::Event(_, event) => Some(event),
                Item::Message(_) => None,
            },
        }
    }

    /// Has items there that were pulled: those that were, or others, waited for.
    pub(crate) fn fill(&mut self, limit: Option<Duration>) -> Result<()> {
        match self.pulled.items() {
            [] => Core::fill(&self.core, &mut self.pulled, limit),
            _ => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn pull(&mut self, limit: Option<Duration>) -> Result<Item<'static>> {
        loop {
            if let Some(item) = self.pulled.next() {
                let item = Item::of(item);
                if let Item::Event(handle, Event::Accepted { .. }) = &item {
                    self.enroll(*handle);
                }
                return Ok(item);
            }
            Core::fill(&self.core, &mut self.pulled, limit)?;
        }
    }

    /// Has everything of an endpoint that was opened without receiver come here.
    ///
    /// # Errors
    /// `Busy` if it has a receiver; `Closed`.
    pub fn bind(&self, endpoint: Handle) -> Result<()> {
        // SAFETY: it takes no pointers.
        control(unsafe { sys::lyq_inbox_bind(self.raw(), endpoint.id(), -1) })?;
        self.enroll(endpoint);
        Ok(())
    }

    /// Notes that the items of an endpoint come here, for tasks that wait for room.
    pub(crate) fn enroll(&self, _endpoint: Handle) {
        #[cfg(feature = "futures")]
        Core::enroll(&self.core, _endpoint.id());
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

impl Drop for Inbox {
    fn drop(&mut self) {
        if !self.pulled.items().is_empty() {
            self.core.stash().push_front(std::mem::take(&mut self.pulled));
            #[cfg(feature = "futures")]
            self.core.wake(); // other clones
        }
    }
}

impl Core {
    fn stash(&self) -> MutexGuard<'_, VecDeque<Pulled>> {
        self.stash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is stashed, else pulls. While there are clones, what one leaves when it is dropped has to be found
    /// without the library's help.
    fn refill(this: &Arc<Self>, to: &mut Pulled, limit: Option<Duration>) -> Result<()> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut left = limit;
        loop {
            let stashed = this.stash().pop_front();
            if let Some(stashed) = stashed {
                *to = stashed;
                return Ok(());
            }
            let part = match left {
                _ if Arc::strong_count(this) == 1 => left,
                Some(left) => Some(left.min(LOOK)),
                None => Some(LOOK),
            };
            match to.fill(this.inbox, part) {
                Err(error) if part != left && matches!(error.code(), sys::LYQ_EAGAIN | sys::LYQ_ETIMEDOUT) => {}
                result => {
                    #[cfg(feature = "futures")]
                    this.note(to);
                    return result;
                }
            }
            left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        }
    }

    #[cfg(not(feature = "futures"))]
    fn fill(this: &Arc<Self>, to: &mut Pulled, limit: Option<Duration>) -> Result<()> {
        Self::refill(this, to, limit)
    }
}

#[cfg(feature = "futures")]
mod tasks {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::{OnceLock, RwLock};
    use std::task::Waker;

    /// What tasks need of an inbox.
    #[derive(Default)]
    pub(crate) struct Tasks {
        /// Whoever receives holds it, shared, from looking at the stash until it has pulled, so that the order is kept;
        /// whoever waits for room, and pulls into the stash, holds it alone.
        turn: RwLock<()>,
        watch: OnceLock<wake::Watch>,
        /// Somebody could not look for room because others were receiving.
        missed: AtomicBool,
        /// The endpoints whose items come here.
        endpoints: Mutex<HashSet<u64>>,
    }

    impl Core {
        fn endpoints(&self) -> MutexGuard<'_, HashSet<u64>> {
            self.tasks.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(super) fn enroll(this: &Arc<Self>, ep: u64) {
            this.endpoints().insert(ep);
            wake::enroll(ep, this);
        }

        /// It is dropped.
        pub(super) fn forget(&self) {
            let endpoints = std::mem::take(&mut *self.endpoints());
            wake::forget(endpoints);
        }

        /// Wakes tasks that wait for room, if an item says that there is some: at once, not when it is handed out.
        pub(super) fn note(&self, pulled: &Pulled) {
            for item in pulled.items() {
                match item.kind.into() {
                    sys::LYQ_WRITABLE => wake::room(item.ep, false),
                    sys::LYQ_CLOSED => {
                        self.endpoints().remove(&item.ep.id);
                        wake::room(item.ep, true);
                    }
                    _ => {}
                }
            }
        }

        pub(super) fn fill(this: &Arc<Self>, to: &mut Pulled, limit: Option<Duration>) -> Result<()> {
            let turn = this.tasks.turn.read().unwrap_or_else(PoisonError::into_inner);
            let result = Self::refill(this, to, limit);
            drop(turn);
            this.make_up();
            result
        }

        /// Wakes the tasks that wait here.
        pub(super) fn wake(&self) {
            self.tasks.watch.get().into_iter().for_each(wake::Watch::wake);
        }

        fn watch(&self) -> Result<&wake::Watch> {
            if let Some(watch) = self.tasks.watch.get() {
                return Ok(watch);
            }
            // SAFETY: it takes no pointers.
            let fd = || data(unsafe { sys::lyq_inbox_fd(self.inbox) });
            let watch = wake::Watch::new(fd()? as RawFd);
            fd()?; // if it is closed by now, that number may have been another's
            let watch = watch.map_err(|error| Error::new(sys::LYQ_ELIMIT, error.to_string()))?;
            Ok(self.tasks.watch.get_or_init(|| watch))
        }

        /// Has a task woken when something is here that was not there before the call.
        pub(crate) fn wake_when_readable(&self, waker: &Waker) -> Result<()> {
            self.watch()?.wake_when_readable(waker);
            Ok(())
        }

        /// Has a task woken when something comes, and pulls what is here, for `Event::Writable` may be among it. If
        /// others receive just now, they see it, and wake the task when they are done.
        pub(crate) fn look_for_room(&self, waker: &Waker) -> Result<()> {
            let watch = self.watch()?;
            watch.wake_when_readable(waker);
            self.tasks.missed.store(true, SeqCst); // before the attempt, so that who is in the way sees it after it
            if let Ok(_turn) = self.tasks.turn.try_write() {
                self.tasks.missed.store(false, SeqCst);
                if self.stash_all()? {
                    watch.wake(); // those that receive
                }
            } else {
                return Ok(());
            }
            self.make_up();
            Ok(())
        }

        /// Pulls what is here; whether there was something.
        fn stash_all(&self) -> Result<bool> {
            let mut some = false;
            loop {
                let mut pulled = Pulled::default();
                match pulled.fill(self.inbox, Some(Duration::ZERO)) {
                    Ok(()) => self.note(&pulled),
                    Err(error) if error.code() == sys::LYQ_EAGAIN => return Ok(some),
                    Err(error) => return Err(error),
                }
                self.stash().push_back(pulled);
                some = true;
            }
        }

        /// Wakes those that could not look for room because of the caller, who has let go of the stash.
        fn make_up(&self) {
            if self.tasks.missed.load(SeqCst) && self.tasks.missed.swap(false, SeqCst) {
                self.wake();
            }
        }
    }

    impl Inbox {
        pub(crate) fn wake_when_readable(&self, waker: &Waker) -> Result<()> {
            self.core.wake_when_readable(waker)
        }
    }
}

#[cfg(feature = "futures")]
use tasks::Tasks;

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
struct Pulled {
    shelf: Option<Shelf>,
    next: usize,
    end: usize,
}

/// How many are pulled at once.
const MANY: usize = 64;

/// How long a thread that waits leaves alone what a clone may have left.
const LOOK: Duration = Duration::from_millis(20);

impl Pulled {
    #[inline]
    fn items(&self) -> &[lyq_msg] {
        match &self.shelf {
            // SAFETY: so many were pulled, and not handed out.
            Some(shelf) => unsafe {
                slice::from_raw_parts(shelf.items().as_ptr().add(self.next), self.end - self.next)
            },
            None => &[],
        }
    }

    #[inline]
    fn next(&mut self) -> Option<Message<'static>> {
        let raw = NonNull::from(self.items().first()?);
        self.next += 1;
        // SAFETY: it came from lyq_recv, is not looked at again, and its place was taken.
        self.shelf.as_ref().map(|shelf| unsafe { Message::owned(raw, shelf.claim()) })
    }

    /// The next item, if it is a message.
    #[inline]
    fn message(&mut self) -> Option<Message<'static>> {
        match self.items().first()?.kind {
            DATA => self.next(),
            _ => None,
        }
    }

    /// The messages up to the next event, if there are any.
    fn batch(&mut self) -> Option<Batch> {
        let items = self.items();
        let (first, n) = (NonNull::from(items.first()?), items.iter().take_while(|item| item.kind == DATA).count());
        if n == 0 {
            return None;
        }
        self.next += n;
        // SAFETY: they came from lyq_recv, are not looked at again, and their places were taken.
        self.shelf.as_ref().map(|shelf| unsafe { Batch::new(first, n, shelf.claim_all(n)) })
    }

    fn fill(&mut self, from: lyq_inbox, limit: Option<Duration>) -> Result<()> {
        debug_assert_eq!(self.next, self.end);
        // One whose items were kept is theirs.
        let shelf = self.shelf.take().filter(Shelf::is_free).unwrap_or_else(|| Shelf::new(MANY));
        let to = shelf.items().as_ptr();
        // SAFETY: there is room for so many.
        let pull = |ms| i64::from(unsafe { sys::lyq_recv(from, to, MANY, ms) });
        let n = match limit {
            Some(Duration::ZERO) => data(pull(0)),
            _ => wait(limit, pull),
        };
        let end = *n.as_ref().unwrap_or(&0) as usize;
        shelf.take(end);
        *self = Self { shelf: Some(shelf), next: 0, end };
        n.map(drop)
    }
}

impl Clone for Pulled {
    /// What was pulled is handed out by one of them.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        let left = self.items();
        if left.is_empty() {
            return;
        }
        // SAFETY: they came from lyq_recv, and nobody was given them.
        unsafe { sys::lyq_discard(left.as_ptr(), left.len()) };
        if let Some(shelf) = &self.shelf {
            // SAFETY: their places were taken, and not claimed.
            drop(unsafe { shelf.claim_all(left.len()) });
        }
    }
}
