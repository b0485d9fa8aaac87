//! How tasks wait, under any executor: a thread of ours watches the descriptors of inboxes.

use crate::handle::Handle;
use crate::inbox::Core;
use crate::sys::lyq_endpoint;
use std::collections::HashMap;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
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
        room.watched = true;
        // Without receiver nobody is told of room: that is rare, and a thread is good enough.
        std::thread::spawn(move || {
            let _ = to.wait_room(size, Some(Duration::from_secs(1)));
            self::room(lyq_endpoint { id: to.id() }, true);
        });
    }
    core
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
pub(crate) fn forget_dead() {
    let mut woken = Vec::new();
    rooms().retain(|_, room| {
        let lives = room.core.strong_count() > 0 || room.pushed || room.watched;
        if !lives {
            woken.append(&mut room.wakers);
        }
        lives
    });
    woken.into_iter().for_each(Waker::wake);
}

// ---- The watcher.

/// A descriptor that is watched, and the tasks to wake when it is readable.
pub(crate) struct Watch {
    fd: OwnedFd,
    wakers: Mutex<Vec<Waker>>,
}

impl Watch {
    /// Of a copy of a descriptor.
    pub fn new(fd: RawFd) -> io::Result<Arc<Self>> {
        // SAFETY: the library keeps it open as long as the inbox is; if that is closed just now, the copy is not used.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
        let watch = Arc::new(Self { fd, wakers: Mutex::default() });
        Watcher::get()?.add(&watch)?;
        Ok(watch)
    }

    /// Has a task woken once, when the descriptor is readable, now or later.
    pub fn wake_when_readable(&self, waker: &Waker) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        drop(wakers);
        if Watcher::get().and_then(|watcher| watcher.arm(self)).is_err() {
            self.wake(); // it looks again
        }
    }

    /// Wakes all tasks.
    pub fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(watcher) = Watcher::get() {
            watcher.remove(self);
        }
        self.wake(); // nobody else will
    }
}

/// The thread that watches.
struct Watcher {
    epoll: OwnedFd,
    watched: Mutex<HashMap<RawFd, Weak<Watch>>>,
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

    fn watched(&self) -> MutexGuard<'_, HashMap<RawFd, Weak<Watch>>> {
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

    fn add(&self, watch: &Arc<Watch>) -> io::Result<()> {
        self.watched().insert(watch.fd.as_raw_fd(), Arc::downgrade(watch));
        self.control(EPOLL_CTL_ADD, watch.fd.as_raw_fd(), EPOLLONESHOT)
    }

    fn arm(&self, watch: &Watch) -> io::Result<()> {
        self.control(EPOLL_CTL_MOD, watch.fd.as_raw_fd(), EPOLLIN | EPOLLONESHOT)
    }

    fn remove(&self, watch: &Watch) {
        self.watched().remove(&watch.fd.as_raw_fd());
        // Explicitly: the library's copy keeps what the descriptor stands for, and epoll goes by that.
        let _ = self.control(EPOLL_CTL_DEL, watch.fd.as_raw_fd(), 0);
    }

    fn watch(&self) {
        const MAX: usize = 64;
        let mut events = [EpollEvent { events: 0, data: 0 }; MAX];
        loop {
            // SAFETY: there is room for so many.
            let n = unsafe { epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), MAX as c_int, -1) };
            for event in &events[..usize::try_from(n).unwrap_or(0)] {
                // Not under the lock: dropping the last reference takes it.
                let watch = self.watched().get(&(event.data as RawFd)).and_then(Weak::upgrade);
                if let Some(watch) = watch {
                    watch.wake();
                }
            }
        }
    }
}
