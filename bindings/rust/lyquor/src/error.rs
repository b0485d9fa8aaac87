use crate::sys;
use std::ffi::{c_int, CStr};
use std::fmt;

/// What went wrong: its kind, the library's number for it, and often what exactly was wrong and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    code: c_int,
    detail: Option<Box<str>>,
}

/// The result of what may fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:ident,)*) => {
        /// Kinds of errors, and of reasons why an endpoint has ended. Later releases may add some.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
            /// The peer came back without what it had: [`Event::Restarted`](crate::Event::Restarted), as those see it
            /// who receive messages alone. The endpoint goes on.
            Restarted,
            /// A number that this release does not know.
            Other,
        }

        impl ErrorKind {
            fn of(code: c_int) -> Self {
                match code {
                    $(sys::$code => Self::$kind,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

kinds! {
    /// An argument is out of range; the detail names it.
    InvalidArgument = LYQ_EINVAL,
    /// Not a handle, or one of another kind.
    InvalidHandle = LYQ_EHANDLE,
    /// It is closed, or closing and takes no more.
    Closed = LYQ_ECLOSED,
    /// No room now, or nothing there.
    WouldBlock = LYQ_EAGAIN,
    /// Longer than the peer takes (1 MiB before it is up), or than `memory_limit`.
    TooLong = LYQ_EMSGSIZE,
    /// The time is over.
    TimedOut = LYQ_ETIMEDOUT,
    /// A signal handler ran. Functions of this crate wait on.
    Interrupted = LYQ_EINTR,
    /// The call would wait inside a callback.
    WouldDeadlock = LYQ_EDEADLK,
    /// In a child of `fork`, which cannot use what its parent has.
    Forked = LYQ_EFORKED,
    /// An address cannot be parsed, resolved, bound or reached in principle.
    Address = LYQ_EADDR,
    /// No memory is left.
    OutOfMemory = LYQ_ENOMEM,
    /// A limit is reached: handles, drivers, descriptors.
    Limit = LYQ_ELIMIT,
    /// Nobody listens there.
    Refused = LYQ_EREFUSED,
    /// There is no route to it.
    Unreachable = LYQ_EUNREACH,
    /// The connection broke, or the peer ended it without a word.
    Reset = LYQ_ERESET,
    /// No version in common.
    Version = LYQ_EVERSION,
    /// Not in this build or release.
    Unsupported = LYQ_ENOTSUP,
    /// A defect in lyquor; the log has more.
    Internal = LYQ_EINTERNAL,
    /// The address is in use, or there is a receiver already.
    Busy = LYQ_EBUSY,
    /// The peer broke the protocol, or is no lyquor.
    Protocol = LYQ_EPROTO,
}

impl Error {
    /// What kind it is of.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The library's number for it: one of `enum lyq_err`, below zero.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// What exactly was wrong, and what is allowed, if that is known.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    pub(crate) fn new(code: c_int, detail: impl Into<Box<str>>) -> Self {
        let detail = detail.into();
        Self { kind: ErrorKind::of(code), code, detail: (!detail.is_empty()).then_some(detail) }
    }

    pub(crate) fn plain(code: c_int) -> Self {
        Self { kind: ErrorKind::of(code), code, detail: None }
    }

    pub(crate) fn restarted() -> Self {
        Self { kind: ErrorKind::Restarted, ..Self::new(sys::LYQ_ERESET, "the peer came back without what it had") }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: any number may be asked about, and the text is static.
        let text = unsafe { CStr::from_ptr(sys::lyq_strerror(self.code)) };
        f.write_str(&text.to_string_lossy())?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind {
            ErrorKind::InvalidArgument | ErrorKind::InvalidHandle | ErrorKind::TooLong => Io::InvalidInput,
            ErrorKind::Closed => Io::BrokenPipe,
            ErrorKind::WouldBlock => Io::WouldBlock,
            ErrorKind::TimedOut => Io::TimedOut,
            ErrorKind::Interrupted => Io::Interrupted,
            ErrorKind::OutOfMemory => Io::OutOfMemory,
            ErrorKind::Refused => Io::ConnectionRefused,
            ErrorKind::Reset | ErrorKind::Restarted => Io::ConnectionReset,
            ErrorKind::Unsupported => Io::Unsupported,
            ErrorKind::Busy => Io::AddrInUse,
            ErrorKind::Protocol | ErrorKind::Version => Io::InvalidData,
            _ => Io::Other,
        };
        Self::new(kind, error)
    }
}

/// What was not accepted, and why: the data comes back.
#[derive(Clone, Debug)]
pub struct Unsent<T> {
    /// Why it was not accepted.
    pub error: Error,
    /// What was to be sent.
    pub data: T,
}

impl<T> From<Unsent<T>> for Error {
    fn from(unsent: Unsent<T>) -> Self {
        unsent.error
    }
}

impl<T> fmt::Display for Unsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T: fmt::Debug> std::error::Error for Unsent<T> {}

/// The result of a control call, with what the library says about it on this thread.
pub(crate) fn control(code: c_int) -> Result<usize> {
    if code >= 0 {
        return Ok(code as usize);
    }
    // SAFETY: never NULL, and valid until this thread's next call.
    let detail = unsafe { CStr::from_ptr(sys::lyq_detail()) };
    Err(Error::new(code, detail.to_string_lossy()))
}

/// The result of a call that tells no detail.
#[inline]
pub(crate) fn data(code: impl Into<i64>) -> Result<u64> {
    let code = code.into();
    if code >= 0 {
        return Ok(code as u64);
    }
    Err(Error::plain(code as c_int))
}
