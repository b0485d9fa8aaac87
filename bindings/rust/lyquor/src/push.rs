//! Callbacks: what stands between the library's workers and closures. No panic leaves it.

use crate::error::Result;
use crate::event::{Item, DATA};
use crate::log;
use crate::message::Message;
use crate::sys::{lyq_fn, lyq_msg, lyq_recv_fn};
use std::ffi::{c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// What a callback returns: whether it took the item. `()` is `Flow::Continue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It took it.
    Continue,
    /// It did not take the message. That one comes again, with what is behind it, after
    /// [`Handle::resume`](crate::Handle::resume) or, if a send on this endpoint said `WouldBlock`, with its
    /// `Event::Writable`. Events count as taken.
    Pause,
    /// The endpoint is to be closed at once.
    Close,
}

impl From<()> for Flow {
    fn from((): ()) -> Self {
        Flow::Continue
    }
}

/// A callback as C knows it. Unless it is given away, its context has to be dropped here.
pub(crate) struct Push {
    pub recv: lyq_recv_fn,
    pub ctx: *mut c_void,
    pub drop: lyq_fn,
}

/// A closure of one endpoint, which is never called twice at once.
#[repr(align(2))] // see message::Owner
struct Exclusive<F> {
    callback: F,
    /// It panicked: nobody knows what state it is in, so it is not called any more.
    failed: bool,
}

/// A closure of many endpoints.
#[repr(align(2))]
struct Shared<F>(F);

impl Push {
    /// For one endpoint.
    pub fn exclusive<F, R>(callback: F) -> Self
    where
        F: FnMut(Item<'_>) -> R + Send + 'static,
        R: Into<Flow>,
    {
        Self::of(Exclusive { callback, failed: false }, Some(receive_exclusive::<F, R>))
    }

    /// For all that a listener accepts, on several workers at once.
    pub fn shared<F, R>(callback: F) -> Self
    where
        F: Fn(Item<'_>) -> R + Send + Sync + 'static,
        R: Into<Flow>,
    {
        Self::of(Shared(callback), Some(receive_shared::<F, R>))
    }

    fn of<T>(context: T, recv: lyq_recv_fn) -> Self {
        Self { recv, ctx: Box::into_raw(Box::new(context)).cast(), drop: Some(discard::<T>) }
    }

    /// Gives the context away if the call that was to take it has succeeded.
    pub fn given<T>(self, result: Result<T>) -> Result<T> {
        if result.is_ok() {
            std::mem::forget(self);
        }
        result
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        if let Some(discard) = self.drop {
            // SAFETY: nobody was given the context.
            unsafe { discard(self.ctx) };
        }
    }
}

unsafe extern "C" fn discard<T>(ctx: *mut c_void) {
    // SAFETY: it was made by Box::into_raw, and this is called once.
    let context = unsafe { Box::from_raw(ctx.cast::<T>()) };
    guarded("a callback's drop", || drop(context));
}

unsafe extern "C" fn receive_exclusive<F, R>(ctx: *mut c_void, m: *const lyq_msg, n: usize) -> c_int
where
    F: FnMut(Item<'_>) -> R,
    R: Into<Flow>,
{
    // SAFETY: it is what `exclusive` boxed, and this is never entered twice at once for one endpoint.
    let this = unsafe { &mut *ctx.cast::<Exclusive<F>>() };
    if this.failed {
        return n as c_int;
    }
    // SAFETY: the library gives so many items, which live until this returns.
    let taken = unsafe { serve(ctx, m, n, &mut this.callback) };
    this.failed = taken.is_none();
    taken.unwrap_or(CLOSE)
}

unsafe extern "C" fn receive_shared<F, R>(ctx: *mut c_void, m: *const lyq_msg, n: usize) -> c_int
where
    F: Fn(Item<'_>) -> R,
    R: Into<Flow>,
{
    // SAFETY: it is what `shared` boxed, and may be used by several threads.
    let Shared(callback) = unsafe { &*ctx.cast::<Shared<F>>() };
    // SAFETY: the library gives so many items, which live until this returns.
    unsafe { serve(ctx, m, n, &mut |item: Item<'_>| callback(item)) }.unwrap_or(CLOSE)
}

/// What a callback returns to have its endpoint closed.
const CLOSE: c_int = -1;

/// Calls back with each item, and says how many were taken; `None`: it panicked.
///
/// # Safety
/// `m` points to `n` items, which live until this returns.
#[inline]
unsafe fn serve<R: Into<Flow>>(
    ctx: *mut c_void,
    m: *const lyq_msg,
    n: usize,
    callback: &mut impl FnMut(Item<'_>) -> R,
) -> Option<c_int> {
    // SAFETY: as above.
    let items = unsafe { std::slice::from_raw_parts(m, n) };
    guarded("a callback", move || {
        for (i, item) in items.iter().enumerate() {
            #[cfg(feature = "futures")]
            note(item);
            // SAFETY: the closure takes it for any lifetime, so that it cannot keep it.
            let shown = unsafe { Message::shown(item, ctx) };
            // Two calls, so that of an item no more is written than a message has.
            let flow = match item.kind {
                DATA => callback(Item::Message(shown)),
                _ => callback(Item::event(shown)),
            };
            match flow.into() {
                Flow::Continue => {}
                Flow::Pause => return i as c_int,
                Flow::Close => return CLOSE,
            }
        }
        n as c_int
    })
}

/// Wakes tasks that wait for room.
#[cfg(feature = "futures")]
#[inline]
fn note(item: &lyq_msg) {
    use crate::{sys, wake};
    match item.kind.into() {
        sys::LYQ_DATA => {}
        sys::LYQ_UP | sys::LYQ_ACCEPTED => wake::pushed(item.ep.id),
        sys::LYQ_WRITABLE => wake::room(item.ep, false),
        sys::LYQ_CLOSED => wake::room(item.ep, true),
        _ => {}
    }
}

/// Calls what belongs to the program; a panic is reported as a log line, and goes no further. (The panic hook has been
/// called by then, which by default says where it was on standard error.)
#[inline]
pub(crate) fn guarded<T>(what: &str, call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            report(what, payload);
            None
        }
    }
}

#[cold]
fn report(what: &str, payload: Box<dyn std::any::Any + Send>) {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "of an unknown kind",
    };
    log::say(log::Level::Error, "callback.panicked", &format!("{what} panicked: {text}"));
    // Its drop may panic as well.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
}
