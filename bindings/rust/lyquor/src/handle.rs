use crate::counters::EndpointCounters;
use crate::error::{control, data, Error, Result, Unsent};
use crate::event::Item;
use crate::options::{milliseconds, timeout};
use crate::push::{Flow, Push};
use crate::sys::{self, lyq_buf, lyq_endpoint};
use crate::tag::{Lane, Tag};
use std::ffi::{c_int, c_void, CString};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// A copy of an endpoint's handle: it sends and controls, and does not receive, nor keep the endpoint open.
///
/// Any thread may use it, at any time, callbacks included: once the endpoint has ended, calls return `Closed`. Two are
/// equal if they are of the same endpoint. None of the functions that send, end, close, acknowledge, wait or resume
/// enters the Go runtime: they may be called by destructors of threads.
#[derive(Clone, Copy)]
pub struct Handle {
    ep: lyq_endpoint,
    tag: Tag,
    token: usize,
}

/// Messages up to this size are copied rather than lent: that is faster than to be told when to free them.
const COPIED: usize = 64 << 10;

impl Handle {
    #[inline]
    pub(crate) fn new(ep: lyq_endpoint) -> Self {
        Self { ep, tag: Tag { lane: Lane::Normal, channel: 0 }, token: 0 }
    }

    /// The endpoint's number in this process, by which `lyquor.h` knows it; 0: none.
    #[inline]
    pub fn id(self) -> u64 {
        self.ep.id
    }

    /// The same endpoint, by a handle that sends with that tag.
    #[inline]
    pub fn tagged(mut self, tag: impl Into<Tag>) -> Self {
        self.tag = tag.into();
        self
    }

    /// What [`set_token`](Self::set_token) had said when the item came that this handle is from; else 0.
    #[inline]
    pub fn token(self) -> usize {
        self.token
    }

    #[inline]
    pub(crate) fn with_token(mut self, token: usize) -> Self {
        self.token = token;
        self
    }

    // ---- Sending. The result is the message's number in its lane, counted from 0.

    /// Copies a message and returns at once.
    ///
    /// # Errors
    /// `WouldBlock`: there is no room now, and [`Event::Writable`](crate::Event::Writable) follows. `TooLong`,
    /// `Closed`.
    #[inline]
    pub fn try_send(self, message: impl AsRef<[u8]>) -> Result<u64> {
        let message = message.as_ref();
        // SAFETY: the slice lives until the call returns, which has copied it.
        data(unsafe { sys::lyq_send(self.ep, self.tag.raw(), message.as_ptr().cast(), message.len()) })
    }

    /// Copies a message, and waits for room if there is none.
    ///
    /// # Errors
    /// `TooLong`, `Closed`; `WouldDeadlock` if it would wait inside a callback.
    pub fn send(self, message: impl AsRef<[u8]>) -> Result<u64> {
        self.send_until(message.as_ref(), None)
    }

    /// The same, waiting no longer than that.
    ///
    /// # Errors
    /// As [`send`](Self::send), and `TimedOut`.
    pub fn send_timeout(self, message: impl AsRef<[u8]>, limit: Duration) -> Result<u64> {
        self.send_until(message.as_ref(), Some(limit))
    }

    fn send_until(self, message: &[u8], limit: Option<Duration>) -> Result<u64> {
        let (at, size) = (message.as_ptr().cast(), message.len());
        // SAFETY: the slice lives until the call returns, which has copied it.
        wait(limit, |ms| unsafe { sys::lyq_send_wait(self.ep, self.tag.raw(), at, size, ms) })
    }

    /// Copies a message that is worth sending for so long only: if no connection was given a byte of it by then, it is
    /// withdrawn, and counted as such. Its number stays its own.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_ttl(self, message: impl AsRef<[u8]>, ttl: Duration) -> Result<u64> {
        let (message, ttl) = (message.as_ref(), milliseconds(ttl, c_int::MAX).max(1));
        // SAFETY: the slice lives until the call returns, which has copied it.
        data(unsafe { sys::lyq_send_ttl(self.ep, self.tag.raw(), message.as_ptr().cast(), message.len(), ttl) })
    }

    /// Copies one message from several pieces.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_vectored(self, parts: &[IoSlice<'_>]) -> Result<u64> {
        const { assert!(size_of::<IoSlice<'_>>() == size_of::<lyq_buf>()) };
        // SAFETY: an IoSlice is laid out as struct iovec on Unix, as lyq_buf is: a pointer and a size.
        data(unsafe { sys::lyq_sendv(self.ep, self.tag.raw(), parts.as_ptr().cast(), parts.len()) })
    }

    /// The same, waiting for room if there is none.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_vectored(self, parts: &[IoSlice<'_>]) -> Result<u64> {
        loop {
            match self.try_send_vectored(parts) {
                Err(error) if error.code() == sys::LYQ_EAGAIN => {
                    self.wait_room(parts.iter().map(|part| part.len()).sum(), None)?;
                }
                other => return other,
            }
        }
    }

    /// Sends a message without copying it: it is dropped, by a worker, once it is acknowledged or given up. Up to
    /// 64 KiB it is copied and dropped at once, which is faster.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); the message comes back.
    pub fn try_send_owned<T: AsRef<[u8]> + Send + 'static>(self, message: T) -> Result<u64, Unsent<T>> {
        if message.as_ref().len() <= COPIED {
            return self.try_send(&message).map_err(|error| Unsent { error, data: message });
        }
        unsafe extern "C" fn free<T>(hint: *mut c_void) {
            // SAFETY: it was made by Box::into_raw, and this is called once.
            let message = unsafe { Box::from_raw(hint.cast::<T>()) };
            crate::push::guarded("a message's drop", || drop(message));
        }
        let hint = Box::into_raw(Box::new(message));
        // SAFETY: what it points to stays where it is, untouched, until `free`.
        let bytes = unsafe { (*hint).as_ref() };
        let (at, size) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: as above; `free` drops what was boxed.
        match data(unsafe { sys::lyq_send_lent(self.ep, self.tag.raw(), at, size, Some(free::<T>), hint.cast()) }) {
            Ok(id) => Ok(id),
            // SAFETY: nothing was lent, and `free` will not be called.
            Err(error) => Err(Unsent { error, data: *unsafe { Box::from_raw(hint) } }),
        }
    }

    /// The same, waiting for room if there is none.
    ///
    /// # Errors
    /// As [`send`](Self::send); the message comes back.
    pub fn send_owned<T: AsRef<[u8]> + Send + 'static>(self, message: T) -> Result<u64, Unsent<T>> {
        let mut message = message;
        loop {
            match self.try_send_owned(message) {
                Err(Unsent { error, data }) if error.code() == sys::LYQ_EAGAIN => {
                    if let Err(error) = self.wait_room(data.as_ref().len(), None) {
                        return Err(Unsent { error, data });
                    }
                    message = data;
                }
                other => return other,
            }
        }
    }

    /// Sends a message of at most `size` bytes that is built where it is sent from: `fill` writes it into the room that
    /// it is given. Later messages of the lane wait for it. If `fill` panics, what it has written is sent.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); then `fill` was not called.
    pub fn try_send_with(self, size: usize, fill: impl FnOnce(&mut Room<'_>)) -> Result<u64> {
        let mut claim = Claim::open(self, size)?;
        fill(&mut claim.room());
        claim.commit()
    }

    /// Waits until a message of that size is likely to find room, after `WouldBlock`; another sender may be faster.
    ///
    /// # Errors
    /// `TooLong`, `Closed`, `TimedOut`; `WouldDeadlock` inside a callback.
    pub fn wait_room(self, size: usize, limit: Option<Duration>) -> Result<()> {
        // SAFETY: it takes no pointers.
        wait(limit, |ms| unsafe { sys::lyq_wait_room(self.ep, self.tag.raw(), size, ms) }.into()).map(drop)
    }

    /// No more messages to the peer behind those accepted; it gets [`Event::Ended`](crate::Event::Ended). Receiving
    /// goes on.
    ///
    /// # Errors
    /// `Closed`.
    pub fn end(self) -> Result<()> {
        // SAFETY: it takes no pointers.
        data(unsafe { sys::lyq_end(self.ep) }).map(drop)
    }

    /// Ends it; never waits. What was sent is still delivered for so long ([`Duration::MAX`]: as long as it takes).
    /// May be called again: the shortest time counts.
    pub fn close(self, linger: Duration) {
        // SAFETY: it takes no pointers.
        unsafe { sys::lyq_close(self.ep.id, milliseconds(linger, -1)) };
    }

    // ---- Waiting. `None` is for ever; a signal does not end it.

    /// Waits until there is a connection.
    ///
    /// # Errors
    /// `Closed` if there will be none; `TimedOut`; `WouldDeadlock` inside a callback.
    pub fn wait_up(self, limit: Option<Duration>) -> Result<()> {
        wait_for(self.ep.id, sys::LYQ_UP, limit)
    }

    /// Waits until the peer has consumed all that was sent before.
    ///
    /// # Errors
    /// `Reset` if the peer has restarted, and some of it was reported or dropped; else as [`wait_up`](Self::wait_up).
    pub fn flush(self, limit: Option<Duration>) -> Result<()> {
        wait_for(self.ep.id, sys::LYQ_ACKED, limit)
    }

    /// The same for who does not wait: [`Event::Acked`](crate::Event::Acked) comes when [`flush`](Self::flush) would
    /// return, or `Closed` before that. Who asks again before that came gets another behind it, which several such
    /// calls may share.
    ///
    /// # Errors
    /// `Closed`.
    pub fn ask_flush(self) -> Result<()> {
        // SAFETY: it takes no pointers.
        data(unsafe { sys::lyq_flush(self.ep) }).map(drop)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// `TimedOut`; `WouldDeadlock` inside a callback.
    pub fn wait_closed(self, limit: Option<Duration>) -> Result<()> {
        wait_for(self.ep.id, sys::LYQ_CLOSED, limit)
    }

    /// Stops its callbacks, and waits until none runs: none begins until [`resume`](Self::resume). Nothing is read
    /// meanwhile.
    ///
    /// # Errors
    /// `TimedOut`, which leaves them stopping; `Closed`; `WouldDeadlock` inside a callback.
    pub fn quiesce(self, limit: Option<Duration>) -> Result<()> {
        quiesce(self.ep.id, limit)
    }

    // ---- Control.

    /// Delivers again after [`quiesce`](Self::quiesce), or after a callback that returned [`Flow::Pause`].
    ///
    /// # Errors
    /// `Closed`.
    pub fn resume(self) -> Result<()> {
        // SAFETY: it takes no pointers.
        data(unsafe { sys::lyq_resume(self.ep.id) }).map(drop)
    }

    /// With [`manual_ack`](crate::Options::manual_ack): acknowledges all messages of the lane that this handle's tag
    /// names, up to the one with that number.
    ///
    /// # Errors
    /// `InvalidArgument` if no such message was received yet, or it does not acknowledge by hand; `Closed`.
    pub fn ack(self, id: u64) -> Result<()> {
        // SAFETY: it takes no pointers.
        data(unsafe { sys::lyq_ack(self.ep, self.tag.raw(), id) }).map(drop)
    }

    /// Has an endpoint that was dialled live at another address from now on. Nothing is lost where the same driver
    /// answers. Never waits; the last call counts.
    ///
    /// # Errors
    /// `InvalidArgument` for one that was accepted, or that ends with its connection; `Address`; `Closed`.
    pub fn switch(self, address: &str) -> Result<()> {
        let address = c_string("address", address)?;
        // SAFETY: the string lives until the call returns.
        control(unsafe { sys::lyq_switch(self.ep, address.as_ptr()) }).map(drop)
    }

    /// Has the driver's worker of that number, from 1, drive it from now on; 0: the library chooses, now and later.
    ///
    /// # Errors
    /// `InvalidArgument`, `Closed`.
    pub fn set_worker(self, worker: u32) -> Result<()> {
        let worker = c_int::try_from(worker).unwrap_or(c_int::MAX);
        // SAFETY: it takes no pointers.
        control(unsafe { sys::lyq_set_worker(self.ep, worker) }).map(drop)
    }

    /// The program's own number for this endpoint, which handles of its items say from the next item on
    /// ([`token`](Self::token)).
    ///
    /// # Errors
    /// `Closed`.
    pub fn set_token(self, token: usize) -> Result<()> {
        // SAFETY: it is a number, of which nobody makes a pointer.
        control(unsafe { sys::lyq_set_ctx(self.ep.id, token as *mut c_void, None) }).map(drop)
    }

    /// Gives an endpoint that was opened without receiver its callback: see
    /// [`Driver::dial_fn`](crate::Driver::dial_fn).
    ///
    /// # Errors
    /// `Busy` if it has a receiver; `Closed`.
    pub fn on_recv<F, R>(self, callback: F) -> Result<()>
    where
        F: FnMut(Item<'_>) -> R + Send + 'static,
        R: Into<Flow>,
    {
        let push = Push::exclusive(callback);
        // SAFETY: the callback's context lives until its drop is called.
        let result = unsafe { sys::lyq_on_recv(self.ep.id, -1, push.recv, push.ctx, push.drop) };
        push.given(control(result)).map(drop)
    }

    /// A line for each lane that has something queued: how much, and why the oldest waits.
    ///
    /// # Errors
    /// `Closed`.
    pub fn explain(self) -> Result<String> {
        explain(self.ep.id)
    }

    /// The peer's address, in the form that [`dial`](crate::Driver::dial) takes.
    ///
    /// # Errors
    /// `Closed`.
    pub fn address(self) -> Result<String> {
        address(self.ep.id)
    }

    /// What it has sent and received, and holds now.
    ///
    /// # Errors
    /// `Closed`.
    pub fn counters(self) -> Result<EndpointCounters> {
        // SAFETY: the array has so many elements.
        EndpointCounters::read(|out, n| unsafe { sys::lyq_counters(self.ep.id, out, n) })
    }
}

/// Room for a message: see [`Handle::try_send_with`]. Writing more than it holds fails as with a full slice.
#[derive(Debug)]
pub struct Room<'a> {
    memory: &'a mut [MaybeUninit<u8>],
    used: &'a mut usize,
}

impl Room<'_> {
    /// How many bytes may still be written.
    pub fn left(&self) -> usize {
        self.memory.len() - *self.used
    }
}

impl std::io::Write for Room<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = bytes.len().min(self.left());
        // SAFETY: so many bytes are there behind those used, and nobody else knows of them.
        unsafe { self.memory.as_mut_ptr().add(*self.used).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), n) };
        *self.used += n;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A claim, which is committed in any case: what waits for it would wait for ever.
struct Claim {
    ep: lyq_endpoint,
    raw: sys::lyq_claim,
    used: usize,
    open: bool,
}

impl Claim {
    fn open(to: Handle, size: usize) -> Result<Self> {
        let mut raw = sys::lyq_claim { data: std::ptr::null_mut(), size: 0, reserved: [0; 3] };
        // SAFETY: it fills the claim, or fails.
        data(unsafe { sys::lyq_claim_open(to.ep, to.tag.raw(), size, &mut raw) })?;
        Ok(Self { ep: to.ep, raw, used: 0, open: true })
    }

    fn room(&mut self) -> Room<'_> {
        let memory = match self.raw.size {
            0 => &mut [][..],
            // SAFETY: that memory is the claim's until it is committed.
            size => unsafe { std::slice::from_raw_parts_mut(self.raw.data.cast(), size) },
        };
        Room { memory, used: &mut self.used }
    }

    fn commit(&mut self) -> Result<u64> {
        self.open = false;
        // SAFETY: the claim is open, `used` bytes of it are written, and it is committed once.
        data(unsafe { sys::lyq_commit(self.ep, &mut self.raw, self.used) })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.open {
            let _ = self.commit();
        }
    }
}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        self.ep.id == other.ep.id
    }
}

impl Eq for Handle {}

impl Hash for Handle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ep.id.hash(state);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:#x})", self.ep.id)
    }
}

// ---- What is done to handles of several kinds.

/// Makes a call that waits until it is done, the time is over, or it fails; a signal does not end it.
pub(crate) fn wait(limit: Option<Duration>, mut call: impl FnMut(c_int) -> i64) -> Result<u64> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut left = limit;
    loop {
        match call(timeout(left)) {
            code if code == i64::from(sys::LYQ_EINTR) => {
                left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                if left.is_some_and(|left| left.is_zero()) {
                    return Err(Error::plain(sys::LYQ_ETIMEDOUT));
                }
            }
            code => return data(code),
        }
    }
}

pub(crate) fn wait_for(id: u64, until: c_int, limit: Option<Duration>) -> Result<()> {
    // SAFETY: it takes no pointers.
    wait(limit, |ms| unsafe { sys::lyq_wait(id, until, ms) }.into()).map(drop)
}

pub(crate) fn quiesce(id: u64, limit: Option<Duration>) -> Result<()> {
    // SAFETY: it takes no pointers.
    wait(limit, |ms| unsafe { sys::lyq_quiesce(id, ms) }.into()).map(drop)
}

pub(crate) fn c_string(what: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(sys::LYQ_EINVAL, format!("{what} holds a zero byte: {text:?}")))
}

pub(crate) fn explain(id: u64) -> Result<String> {
    let mut text = vec![0u8; 1024];
    loop {
        // SAFETY: there is room for so many bytes.
        let size = control(unsafe { sys::lyq_explain(id, text.as_mut_ptr().cast(), text.len()) })?;
        if size < text.len() {
            text.truncate(size);
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        text.resize(size + 1024, 0); // it may be longer by then
    }
}

pub(crate) fn address(id: u64) -> Result<String> {
    let mut text = [0u8; 1024];
    // SAFETY: there is room for so many bytes.
    let size = control(unsafe { sys::lyq_address(id, text.as_mut_ptr().cast(), text.len()) })?;
    Ok(String::from_utf8_lossy(&text[..size]).into_owned())
}
