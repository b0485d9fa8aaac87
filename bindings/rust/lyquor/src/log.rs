use crate::error::{control, Result};
use crate::sys;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::sync::{Arc, PoisonError, RwLock};

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something failed that should not.
    Error,
    /// Something that a program's maker should know.
    Warn,
    /// Connections that come and go.
    Info,
    /// For those who look into lyquor itself.
    Debug,
}

type Logger = Arc<dyn Fn(Level, &str, &str) + Send + Sync>;

static LOGGER: RwLock<Option<(Level, Logger)>> = RwLock::new(None);

/// Has log lines of that level and above given to a closure, by any thread, also by two at once: the level, a short
/// stable name such as "accept.failed", and a text. By default they go nowhere. The last call counts; the closure
/// should return soon, and its panics are ignored.
///
/// # Errors
/// `Forked`.
pub fn set_logger(level: Level, logger: impl Fn(Level, &str, &str) + Send + Sync + 'static) -> Result<()> {
    let before = LOGGER.write().unwrap_or_else(PoisonError::into_inner).replace((level, Arc::new(logger)));
    drop(before); // not under the lock: it is the program's
                  // SAFETY: the function needs no context.
    control(unsafe { sys::lyq_set_logger(Some(line), ptr::null_mut(), None, level as c_int) }).map(drop)
}

/// Has log lines go nowhere.
///
/// # Errors
/// `Forked`.
pub fn clear_logger() -> Result<()> {
    let before = LOGGER.write().unwrap_or_else(PoisonError::into_inner).take();
    drop(before);
    // SAFETY: there is no function, and no context.
    control(unsafe { sys::lyq_set_logger(None, ptr::null_mut(), None, 0) }).map(drop)
}

/// Has log lines of that level and above go to the crate `log`, under the target "lyquor".
///
/// # Errors
/// `Forked`.
#[cfg(feature = "log")]
#[cfg_attr(docsrs, doc(cfg(feature = "log")))]
pub fn forward_to_log(level: Level) -> Result<()> {
    set_logger(level, |level, name, text| {
        let level = match level {
            Level::Error => ::log::Level::Error,
            Level::Warn => ::log::Level::Warn,
            Level::Info => ::log::Level::Info,
            Level::Debug => ::log::Level::Debug,
        };
        ::log::log!(target: "lyquor", level, "{name}: {text}");
    })
}

/// Has log lines of that level and above go to the crate `tracing`, under the target "lyquor", each with its name in
/// the field `id`.
///
/// # Errors
/// `Forked`.
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub fn forward_to_tracing(level: Level) -> Result<()> {
    set_logger(level, |level, id, text| match level {
        Level::Error => ::tracing::error!(target: "lyquor", id, "{text}"),
        Level::Warn => ::tracing::warn!(target: "lyquor", id, "{text}"),
        Level::Info => ::tracing::info!(target: "lyquor", id, "{text}"),
        Level::Debug => ::tracing::debug!(target: "lyquor", id, "{text}"),
    })
}

/// Gives a line to the logger, if it is of a level that it wants.
pub(crate) fn say(level: Level, name: &str, text: &str) {
    let logger = match &*LOGGER.read().unwrap_or_else(PoisonError::into_inner) {
        Some((most, logger)) if level <= *most => logger.clone(),
        _ => return,
    };
    let _ = catch_unwind(AssertUnwindSafe(|| logger(level, name, text)));
}

unsafe extern "C" fn line(_: *mut c_void, level: c_int, name: *const c_char, text: *const c_char) {
    let level = match level {
        0 => Level::Error,
        1 => Level::Warn,
        2 => Level::Info,
        _ => Level::Debug,
    };
    // SAFETY: both are strings that live until this returns.
    let (name, text) = unsafe { (CStr::from_ptr(name), CStr::from_ptr(text)) };
    say(level, &name.to_string_lossy(), &text.to_string_lossy());
}
