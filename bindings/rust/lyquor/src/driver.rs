use crate::counters::WorkerCounters;
use crate::endpoint::Endpoint;
use crate::error::{control, Error, Result};
use crate::event::Item;
use crate::handle::{self, c_string, Handle};
use crate::inbox::Inbox;
use crate::listener::{Listener, Listening};
use crate::options::{milliseconds, Options, LINGER};
use crate::push::{Flow, Push};
use crate::sys::{self, lyq_driver, lyq_driver_opt, lyq_endpoint, lyq_endpoint_opt, lyq_listener};
use crate::timer::Timer;
use std::ffi::c_int;
use std::fmt;
use std::ptr;
use std::time::Duration;

/// A pool of worker threads. One is enough for a program; threads share it by reference or in an `Arc`.
///
/// Dropping it closes it, with all its endpoints, listeners and inboxes: what was sent is still delivered for up to
/// five seconds. Nothing waits for that; a program that is about to end calls [`shutdown`](Self::shutdown).
pub struct Driver {
    raw: lyq_driver,
}

/// Options of a driver: see [`Driver::builder`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct DriverBuilder {
    workers: u32,
    busy_poll: Duration,
    memory_limit: u64,
    cpus: Vec<c_int>,
    name: Option<String>,
    flags: c_int,
}

impl DriverBuilder {
    /// Threads, 1 to 64; 2 by default.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// How long a worker that ran out of work keeps looking before it sleeps: up to a second. It looks for 40 µs on its
    /// own, but only while that keeps paying.
    pub fn busy_poll(mut self, duration: Duration) -> Self {
        self.busy_poll = duration;
        self
    }

    /// Bytes of memory that all outboxes and blocks being read into take, and by which windows grow together: 1 MiB at
    /// least, 1 GiB by default.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// The CPU that each worker is bound to; as many as there are workers.
    pub fn cpus(mut self, cpus: &[u32]) -> Self {
        self.cpus = cpus.iter().map(|cpu| c_int::try_from(*cpu).unwrap_or(c_int::MAX)).collect();
        self
    }

    /// Prefix of the threads' names, at most 10 bytes; "lyq" by default.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_string());
        self
    }

    /// Whether endpoints go from workers that are busy to others, unless they were placed by number; they do by
    /// default.
    pub fn balance(mut self, balance: bool) -> Self {
        self.flags = if balance { self.flags & !sys::LYQ_NO_BALANCE } else { self.flags | sys::LYQ_NO_BALANCE };
        self
    }

    /// Poll through Go's own net, not epoll: slower; for tests.
    pub fn portable(mut self, portable: bool) -> Self {
        self.flags = if portable { self.flags | sys::LYQ_PORTABLE } else { self.flags & !sys::LYQ_PORTABLE };
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// `InvalidArgument`, `Limit`; `Version` if the library that was loaded is older than this crate.
    pub fn open(self) -> Result<Driver> {
        // SAFETY: it takes nothing.
        let version = unsafe { sys::lyq_abi_version() };
        if version < sys::LYQ_ABI_VERSION {
            let text = format!("liblyquor has ABI version {version}; {} or later is needed", sys::LYQ_ABI_VERSION);
            return Err(Error::new(sys::LYQ_EVERSION, text));
        }
        let workers = match (self.workers, self.cpus.len()) {
            (workers, 0) => workers,
            (0, cpus) => cpus as u32,
            (workers, cpus) if workers as usize == cpus => workers,
            (workers, cpus) => {
                let text = format!("{cpus} cpus are given for {workers} workers; one each is needed");
                return Err(Error::new(sys::LYQ_EINVAL, text));
            }
        };
        let name = self.name.as_deref().map(|name| c_string("the name", name)).transpose()?;
        let options = lyq_driver_opt {
            workers,
            busy_poll_us: u32::try_from(self.busy_poll.as_micros()).unwrap_or(u32::MAX),
            flags: self.flags as u32,
            cpus: if self.cpus.is_empty() { ptr::null() } else { self.cpus.as_ptr() },
            name: name.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
            memory_limit: self.memory_limit,
            ..sys::LYQ_DEFAULTS()
        };
        let mut raw = lyq_driver { id: 0 };
        // SAFETY: what the options point to lives until the call returns; there are as many CPUs as workers.
        control(unsafe { sys::lyq_driver_open(&options, &mut raw) })?;
        Ok(Driver { raw })
    }
}

impl Driver {
    /// Starts one with the defaults.
    ///
    /// # Errors
    /// As [`DriverBuilder::open`].
    pub fn new() -> Result<Self> {
        Self::builder().open()
    }

    /// Options of a driver, which [`open`](DriverBuilder::open) starts.
    pub fn builder() -> DriverBuilder {
        DriverBuilder::default()
    }

    // ---- Dialling. Each returns at once, and messages may be sent at once.

    /// Opens an endpoint to an address, to be pulled from: `tcp://127.0.0.1:7000`, `mem://name` inside this process, or
    /// `fd://N` for a connected stream socket. It is tried again and again until somebody answers there.
    ///
    /// # Errors
    /// `Address` if it cannot be parsed; `Closed`, `Limit`.
    pub fn dial(&self, address: &str) -> Result<Endpoint> {
        self.dial_with(address, &Options::new())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`dial`](Self::dial), and `InvalidArgument`, which names the option.
    pub fn dial_with(&self, address: &str, options: &Options) -> Result<Endpoint> {
        let inbox = self.inbox()?;
        let handle = self.dial_into(address, options, &inbox)?;
        Ok(Endpoint::new(handle, inbox))
    }

    /// Opens an endpoint whose items go to a callback, on a worker.
    ///
    /// It is never called twice at once, and should take less than a millisecond: it holds up other endpoints of its
    /// worker. A message is acknowledged when it has taken it: see [`Flow`]. Functions that would wait fail inside it,
    /// all others may be called. If it panics, the endpoint is closed, and it is not called any more; others notice
    /// nothing. It is dropped, by a worker, behind the endpoint's last item.
    ///
    /// The endpoint lives until it is [closed](Handle::close), or its driver, or by its peer.
    ///
    /// # Errors
    /// As [`dial_with`](Self::dial_with); the callback is dropped.
    pub fn dial_fn<F, R>(&self, address: &str, options: &Options, callback: F) -> Result<Handle>
    where
        F: FnMut(Item<'_>) -> R + Send + 'static,
        R: Into<Flow>,
    {
        let push = Push::exclusive(callback);
        let options = lyq_endpoint_opt { recv: push.recv, ctx: push.ctx, drop: push.drop, ..options.raw() };
        // SAFETY: the callback's context lives until its drop is called.
        push.given(unsafe { self.dial_raw(address, &options) })
    }

    /// Opens an endpoint whose items go to an inbox. It lives until it is [closed](Handle::close), or its driver, or by
    /// its peer.
    ///
    /// # Errors
    /// As [`dial_with`](Self::dial_with).
    pub fn dial_into(&self, address: &str, options: &Options, inbox: &Inbox) -> Result<Handle> {
        // SAFETY: there is no callback.
        let handle = unsafe { self.dial_raw(address, &lyq_endpoint_opt { inbox: inbox.raw(), ..options.raw() }) }?;
        inbox.enroll(handle);
        Ok(handle)
    }

    /// Opens an endpoint without receiver: to send only, or to be given one later by [`Handle::on_recv`] or
    /// [`Inbox::bind`]. Until then a window of what its peer sends is held; it ends when its peer does.
    ///
    /// # Errors
    /// As [`dial_with`](Self::dial_with).
    pub fn dial_unbound(&self, address: &str, options: &Options) -> Result<Handle> {
        // SAFETY: there is no callback.
        unsafe { self.dial_raw(address, &options.raw()) }
    }

    /// # Safety
    /// Callback and context of the options belong together, until drop is called.
    unsafe fn dial_raw(&self, address: &str, options: &lyq_endpoint_opt) -> Result<Handle> {
        let address = c_string("the address", address)?;
        let mut ep = lyq_endpoint { id: 0 };
        // SAFETY: all pointers live until the call returns; what is said above.
        control(unsafe { sys::lyq_dial(self.raw, address.as_ptr(), options, &mut ep) })?;
        Ok(Handle::new(ep))
    }

    // ---- Listening.

    /// Listens at an address: `tcp://127.0.0.1:7000`, `tcp://[::]:0` (any port: [`Listening::address`] tells),
    /// `mem://name` inside this process, or `fd://N` for a socket that listens already. May wait for a name to be
    /// resolved.
    ///
    /// # Errors
    /// `Address`, `Busy`, `Closed`, `Limit`; `WouldDeadlock` inside a callback.
    pub fn listen(&self, address: &str) -> Result<Listener> {
        self.listen_with(address, &Options::new())
    }

    /// The same, with options for the endpoints that it accepts.
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and `InvalidArgument`, which names the option.
    pub fn listen_with(&self, address: &str, accepted: &Options) -> Result<Listener> {
        let lobby = self.inbox()?;
        // SAFETY: there is no callback.
        let listening =
            unsafe { self.listen_raw(address, &lyq_endpoint_opt { lobby: lobby.raw(), ..accepted.raw() }) }?;
        Ok(Listener::new(listening, lobby, self.raw))
    }

    /// Accepts every endpoint, with one callback for all of them: it may be called on several workers at once, but
    /// never twice at once for one endpoint. Else it is as that of [`dial_fn`](Self::dial_fn): if it panics, that
    /// endpoint is closed, with which it is still called then; it is dropped behind the last item of all.
    /// ([`Incoming::on_recv`](crate::Incoming::on_recv) gives each endpoint a callback of its own.)
    ///
    /// # Errors
    /// As [`listen_with`](Self::listen_with); the callback is dropped.
    pub fn listen_fn<F, R>(&self, address: &str, accepted: &Options, callback: F) -> Result<Listening>
    where
        F: Fn(Item<'_>) -> R + Send + Sync + 'static,
        R: Into<Flow>,
    {
        let push = Push::shared(callback);
        let accepted = lyq_endpoint_opt { recv: push.recv, ctx: push.ctx, drop: push.drop, ..accepted.raw() };
        // SAFETY: the callback's context lives until its drop is called.
        push.given(unsafe { self.listen_raw(address, &accepted) })
    }

    /// Accepts every endpoint, into an inbox: the first item of each is [`Event::Accepted`](crate::Event::Accepted).
    ///
    /// # Errors
    /// As [`listen_with`](Self::listen_with).
    pub fn listen_into(&self, address: &str, accepted: &Options, inbox: &Inbox) -> Result<Listening> {
        // SAFETY: there is no callback.
        unsafe { self.listen_raw(address, &lyq_endpoint_opt { inbox: inbox.raw(), ..accepted.raw() }) }
    }

    /// # Safety
    /// Callback and context of the options belong together, until drop is called.
    unsafe fn listen_raw(&self, address: &str, accepted: &lyq_endpoint_opt) -> Result<Listening> {
        let address = c_string("the address", address)?;
        let mut raw = lyq_listener { id: 0 };
        // SAFETY: all pointers live until the call returns; what is said above.
        control(unsafe { sys::lyq_listen(self.raw, address.as_ptr(), accepted, &mut raw) })?;
        Ok(Listening::new(raw))
    }

    // ---- All else.

    /// Opens an inbox for the items of many endpoints.
    ///
    /// # Errors
    /// `Closed`, `Limit`.
    pub fn inbox(&self) -> Result<Inbox> {
        Inbox::open(self.raw)
    }

    /// Calls back once after that delay, on a worker; never at the same time as a callback of that endpoint, if one is
    /// given. A panic closes it. (For an endpoint that is pulled an [`Event::Timer`](crate::Event::Timer) comes
    /// instead, and nothing is called.)
    ///
    /// # Errors
    /// `Closed`, `Limit`; the callback is dropped.
    pub fn timer(
        &self,
        with: Option<Handle>,
        delay: Duration,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<Timer> {
        Timer::call(self.raw, with, delay, callback)
    }

    /// Its clock: the time since some start, never backwards.
    ///
    /// # Errors
    /// `Closed`.
    pub fn now(&self) -> Result<Duration> {
        // SAFETY: it takes no pointers.
        let now = unsafe { sys::lyq_now(self.raw) };
        u64::try_from(now).map(Duration::from_nanos).map_err(|_| Error::plain(now as c_int))
    }

    /// What its endpoints wait for, in words.
    ///
    /// # Errors
    /// `Closed`.
    pub fn explain(&self) -> Result<String> {
        handle::explain(self.raw.id)
    }

    /// The sums of its workers' counters.
    ///
    /// # Errors
    /// `Closed`.
    pub fn counters(&self) -> Result<WorkerCounters> {
        // SAFETY: the array has so many elements.
        WorkerCounters::read(|out, n| unsafe { sys::lyq_counters(self.raw.id, out, n) })
    }

    /// The counters of one worker, from 1.
    ///
    /// # Errors
    /// `InvalidArgument`, `Closed`.
    pub fn worker_counters(&self, worker: u32) -> Result<WorkerCounters> {
        // SAFETY: the array has so many elements.
        WorkerCounters::read(|out, n| unsafe { sys::lyq_worker_counters(self.raw, worker, out, n) })
    }

    /// Stops callbacks of all its endpoints, and waits until none runs: none begins until [`resume`](Self::resume).
    ///
    /// # Errors
    /// As [`Handle::quiesce`].
    pub fn quiesce(&self, limit: Option<Duration>) -> Result<()> {
        handle::quiesce(self.raw.id, limit)
    }

    /// Delivers again after [`quiesce`](Self::quiesce).
    ///
    /// # Errors
    /// `Closed`.
    pub fn resume(&self) -> Result<()> {
        // SAFETY: it takes no pointers.
        control(unsafe { sys::lyq_resume(self.raw.id) }).map(drop)
    }

    /// Ends it, with all its endpoints, listeners and inboxes; never waits. What was sent is still delivered for so
    /// long. May be called again: the shortest time counts.
    pub fn close(&self, linger: Duration) {
        // SAFETY: it takes no pointers.
        unsafe { sys::lyq_close(self.raw.id, milliseconds(linger, -1)) };
    }

    /// Waits until it has ended after [`close`](Self::close).
    ///
    /// # Errors
    /// `TimedOut`; `WouldDeadlock` inside a callback.
    pub fn wait_closed(&self, limit: Option<Duration>) -> Result<()> {
        handle::wait_for(self.raw.id, sys::LYQ_CLOSED, limit)
    }

    /// Closes it, and waits until all is delivered, or for so long and two seconds more.
    ///
    /// # Errors
    /// As [`wait_closed`](Self::wait_closed).
    pub fn shutdown(&self, linger: Duration) -> Result<()> {
        self.close(linger);
        self.wait_closed(linger.checked_add(Duration::from_secs(2)))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.close(LINGER);
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Driver({:#x})", self.raw.id)
    }
}
