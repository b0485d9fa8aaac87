use crate::error::{control, Result};
use crate::handle::Handle;
use crate::push::guarded;
use crate::sys::{self, lyq_driver, lyq_timer};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A timer, which is cancelled when this is dropped, unless it is due by then. A closure that was not called is dropped
/// with it. Dropping never waits.
#[derive(Debug)]
#[must_use = "a timer that is dropped is cancelled"]
pub struct Timer {
    raw: lyq_timer,
    /// Of its closure in the table; 0 if it has none.
    number: usize,
}

/// What is to be called, and what it goes with: C frees nothing of a timer that is cancelled, so it knows a number
/// only.
type Table = HashMap<usize, (Handle, Box<dyn FnOnce() + Send>)>;

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);
static NUMBER: AtomicUsize = AtomicUsize::new(1);

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timer {
    /// What [`Event::Timer`](crate::Event::Timer) of it says.
    pub fn id(&self) -> u64 {
        self.raw.id
    }

    /// Of an inbox or an endpoint that is pulled: an event goes there.
    pub(crate) fn event(driver: lyq_driver, with: u64, delay: Duration) -> Result<Self> {
        let raw = open(driver, with, delay, None, 0)?;
        Ok(Self { raw, number: 0 })
    }

    /// Calls back.
    pub(crate) fn call(
        driver: lyq_driver,
        with: Option<Handle>,
        delay: Duration,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let with = with.unwrap_or(Handle::new(sys::lyq_endpoint { id: 0 }));
        table().insert(number, (with, Box::new(callback)));
        // It may be due, and gone from the table, before this returns.
        let mut timer = Self { raw: lyq_timer { id: 0 }, number };
        timer.raw = open(driver, with.id(), delay, Some(due), number)?;
        Ok(timer)
    }
}

fn open(driver: lyq_driver, with: u64, delay: Duration, f: sys::lyq_fn, number: usize) -> Result<lyq_timer> {
    let mut timer = lyq_timer { id: 0 };
    let at = match i64::try_from(delay.as_nanos()) {
        Ok(0) => 0,
        // SAFETY: it takes no pointers.
        delay => unsafe { sys::lyq_now(driver) }.saturating_add(delay.unwrap_or(i64::MAX)),
    };
    // SAFETY: the context is a number, of which nobody makes a pointer.
    control(unsafe { sys::lyq_timer_open(driver, with, at, f, number as *mut c_void, &mut timer) })?;
    Ok(timer)
}

unsafe extern "C" fn due(number: *mut c_void) {
    let Some((with, callback)) = table().remove(&(number as usize)) else { return };
    if guarded("a timer", callback).is_none() {
        with.close(Duration::ZERO);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: it takes no pointers.
        unsafe { sys::lyq_close(self.raw.id, 0) };
        let callback = table().remove(&self.number);
        drop(callback); // not under the lock: it is the program's
    }
}
