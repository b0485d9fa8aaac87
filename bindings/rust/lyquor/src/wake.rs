//! How tasks wait, under any executor: a thread of ours watches the descriptors of inboxes.

use crate::handle::Handle;
use crate::inbox::Core;
use crate::sys::lyq_endpoint;
use std::collections::HashMap;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
#[cfg(feature = "tokio")]
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
#[cfg(feature = "tokio")]
use std::task::{Context, Poll};
use std::task::{Wake, Waker};
use std::time::Duration;

// ---- Room: tasks that wait until they may send.

/// Of each endpoint that somebody waits for or receives from.
#[derive(Default)]
struct Room {
    /// Where its items go, if they are pulled: whoever waits for room looks there for `Event::Writable`.
    core: Weak<Core>,
    /// They go to a callback.
    pushed: bool,
    /// They go nowhere, and a thread waits.
    watched: bool,
    wakers: Vec<Waker>,
}

static ROOMS: LazyLock<Mutex<HashMap<u64, Room>>> = LazyLock::new(Mutex::default);

fn rooms() -> MutexGuard<'static, HashMap<u64, Room>> {
    ROOMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes where the items of an endpoint go.
pub(crate) fn enroll(ep: u64, core: &Arc<Core>) {
    rooms().entry(ep).or_default().core = Arc::downgrade(core);
}

/// Notes that the items of an endpoint go to a callback.
pub(crate) fn pushed(ep: u64) {
    rooms().entry(ep).or_default().pushed = true;
}

/// Has a task woken when there may be room again. Returns the inbox where the endpoint's items go, if they do: the task
/// has to look there.
pub(crate) fn await_room(to: Handle, size: usize, waker: &Waker) -> Option<Arc<Core>> {
    let mut rooms = rooms();
    let room = rooms.entry(to.id()).or_default();
    if !room.wakers.iter().any(|other| other.will_wake(waker)) {
        room.wakers.push(waker.clone());
    }
    let core = room.core.upgrade();
    if core.is_none() && !room.pushed && !room.watched {
        // Without receiver nobody is told of room: that is rare, and a thread is good enough.
        let thread = std::thread::Builder::new().spawn(move || {
            let _ = to.wait_room(size, Some(Duration::from_secs(1)));
            waited(to.id());
        });
        room.watched = thread.is_ok();
        if thread.is_err() {
            waker.wake_by_ref(); // it tries again
        }
    }
    core
}

/// Has tasks try again that wait for room on an endpoint without receiver. It may have one by now.
fn waited(ep: u64) {
    let mut rooms = rooms();
    let Some(room) = rooms.get_mut(&ep) else { return };
    room.watched = false;
    let wakers = std::mem::take(&mut room.wakers);
    if !room.pushed && room.core.strong_count() == 0 {
        rooms.remove(&ep);
    }
    drop(rooms);
    wakers.into_iter().for_each(Waker::wake);
}

/// Wakes the tasks that wait for room: there is some, or the endpoint has ended and is forgotten.
pub(crate) fn room(ep: lyq_endpoint, ended: bool) {
    let wakers = {
        let mut rooms = rooms();
        match (ended, rooms.get_mut(&ep.id)) {
            (true, _) => rooms.remove(&ep.id).map(|room| room.wakers),
            (false, room) => room.map(|room| std::mem::take(&mut room.wakers)),
        }
    };
    wakers.into_iter().flatten().for_each(Waker::wake);
}

/// Forgets endpoints whose inbox is gone; tasks that looked there for room have to look elsewhere.
pub(crate) fn forget(endpoints: impl IntoIterator<Item = u64>) {
    for ep in endpoints {
        let gone = rooms().get(&ep).is_some_and(|room| room.core.strong_count() == 0);
        if gone {
            room(lyq_endpoint { id: ep }, true);
        }
    }
}

// ---- The watcher.

/// A descriptor that is watched, and the tasks to wake when it is readable. Whoever waits looks for what he waits for
/// after he has said so here.
pub(crate) struct Watch {
    #[cfg(feature = "tokio")]
    tokio: Option<tokio::io::unix::AsyncFd<Arc<OwnedFd>>>,
    fd: Arc<OwnedFd>,
    tasks: Arc<Waiting>,
    ours: OnceLock<io::Result<()>>,
}

/// The tasks that wait.
#[derive(Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

impl Waiting {
    fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Watch {
    /// Of a copy of a descriptor.
    pub fn new(fd: RawFd) -> io::Result<Self> {
        // SAFETY: the library keeps it open as long as the inbox is; if that is closed just now, the copy is not used.
        let fd = Arc::new(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
        Ok(Self {
            #[cfg(feature = "tokio")]
            tokio: in_tokio(fd.clone()),
            fd,
            tasks: Arc::default(),
            ours: OnceLock::new(),
        })
    }

    /// Has a task woken once, when the descriptor is readable from now on, or sooner.
    pub fn wake_when_readable(&self, waker: &Waker) {
        let mut wakers = self.tasks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        drop(wakers);
        #[cfg(feature = "tokio")]
        if self.tokio.as_ref().is_some_and(|fd| self.ask_tokio(fd)) {
            return;
        }
        let fd = self.fd.as_raw_fd();
        let armed = Watcher::get().and_then(|watcher| match self.ours.get_or_init(|| watcher.add(fd, &self.tasks)) {
            Ok(()) => watcher.arm(fd),
            Err(error) => Err(error.kind().into()),
        });
        if armed.is_err() {
            self.wake(); // they look again
        }
    }

    /// False if the runtime is gone.
    #[cfg(feature = "tokio")]
    fn ask_tokio(&self, fd: &tokio::io::unix::AsyncFd<Arc<OwnedFd>>) -> bool {
        let all = Waker::from(self.tasks.clone());
        let mut cx = Context::from_waker(&all);
        // What it remembers may be old: whoever waits has found nothing since, and looks once more after this.
        for _ in 0..2 {
            match fd.poll_read_ready(&mut cx) {
                Poll::Pending => return true,
                Poll::Ready(Ok(mut ready)) => ready.clear_ready(),
                Poll::Ready(Err(_)) => return false,
            }
        }
        self.wake();
        true
    }

    /// Wakes all tasks.
    pub fn wake(&self) {
        self.tasks.wake_all();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let (Some(Ok(())), Ok(watcher)) = (self.ours.get(), Watcher::get()) {
            watcher.remove(self.fd.as_raw_fd());
        }
        self.wake(); // nobody else will
    }
}

/// Has the tokio runtime watch, if there is one here that watches descriptors.
#[cfg(feature = "tokio")]
#[allow(deprecated)] // with_interest: what replaces it is new, and the descriptor is owned
fn in_tokio(fd: Arc<OwnedFd>) -> Option<tokio::io::unix::AsyncFd<Arc<OwnedFd>>> {
    use tokio::io::{unix::AsyncFd, Interest};
    tokio::runtime::Handle::try_current().ok()?;
    // A runtime that was built without enable_io panics.
    catch_unwind(AssertUnwindSafe(|| AsyncFd::with_interest(fd, Interest::READABLE))).ok()?.ok()
}

/// The thread that watches.
struct Watcher {
    epoll: OwnedFd,
    watched: Mutex<HashMap<RawFd, Arc<Waiting>>>,
}

#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
struct EpollEvent {
    events: u32,
    data: u64,
}

// What std does not offer. The numbers are Linux's, on all platforms that the library knows.
extern "C" {
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, what: c_int, fd: c_int, event: *mut EpollEvent) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut EpollEvent, max: c_int, timeout: c_int) -> c_int;
}
const EPOLL_CLOEXEC: c_int = 0o2000000;
const EPOLL_CTL_ADD: c_int = 1;
const EPOLL_CTL_DEL: c_int = 2;
const EPOLL_CTL_MOD: c_int = 3;
const EPOLLIN: u32 = 1;
const EPOLLONESHOT: u32 = 1 << 30;

impl Watcher {
    /// Starts it when it is used for the first time. It lives as long as the process.
    fn get() -> io::Result<&'static Self> {
        static WATCHER: LazyLock<io::Result<&'static Watcher>> = LazyLock::new(|| {
            // SAFETY: it takes no pointers.
            let epoll = unsafe { epoll_create1(EPOLL_CLOEXEC) };
            if epoll < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: it was just opened, and is nobody else's.
            let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
            let watcher: &'static Watcher = Box::leak(Box::new(Watcher { epoll, watched: Mutex::default() }));
            std::thread::Builder::new().name("lyq-watch".to_string()).spawn(|| watcher.watch())?;
            Ok(watcher)
        });
        match &*WATCHER {
            Ok(watcher) => Ok(watcher),
            Err(error) => Err(error.kind().into()),
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<RawFd, Arc<Waiting>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self, what: c_int, fd: RawFd, events: u32) -> io::Result<()> {
        let mut event = EpollEvent { events, data: fd as u64 };
        // SAFETY: the event lives until the call returns.
        match unsafe { epoll_ctl(self.epoll.as_raw_fd(), what, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn add(&self, fd: RawFd, tasks: &Arc<Waiting>) -> io::Result<()> {
        self.watched().insert(fd, tasks.clone());
        self.control(EPOLL_CTL_ADD, fd, EPOLLONESHOT)
    }

    fn arm(&self, fd: RawFd) -> io::Result<()> {
        self.control(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT)
    }

    fn remove(&self, fd: RawFd) {
        self.watched().remove(&fd);
        // Explicitly: the library's copy keeps what the descriptor stands for, and epoll goes by that.
        let _ = self.control(EPOLL_CTL_DEL, fd, 0);
    }

    fn watch(&self) {
        const MAX: usize = 64;
        let mut events = [EpollEvent { events: 0, data: 0 }; MAX];
        loop {
            // SAFETY: there is room for so many.
            let n = unsafe { epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), MAX as c_int, -1) };
            for event in &events[..usize::try_from(n).unwrap_or(0)] {
                let tasks = self.watched().get(&(event.data as RawFd)).cloned();
                if let Some(tasks) = tasks {
                    tasks.wake_all(); // not under the lock
                }
            }
        }
    }
}
