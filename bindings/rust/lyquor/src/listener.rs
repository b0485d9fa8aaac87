use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Result};
use crate::event::{Event, Item};
use crate::handle::{self, Handle};
use crate::inbox::Inbox;
use crate::push::Flow;
use crate::sys::{self, lyq_driver, lyq_listener};
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

/// What listens at an address. Dropping it stops that; what it has accepted lives on.
pub struct Listening {
    raw: lyq_listener,
}

impl Listening {
    pub(crate) fn new(raw: lyq_listener) -> Self {
        Self { raw }
    }

    /// Its number in this process, by which [`Event::Accepted`] knows it.
    pub fn id(&self) -> u64 {
        self.raw.id
    }

    /// Where it listens, with the port that the system chose, in the form that [`dial`](crate::Driver::dial) takes.
    ///
    /// # Errors
    /// `Closed`, with its driver.
    pub fn address(&self) -> Result<String> {
        handle::address(self.raw.id)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // SAFETY: it takes no pointers.
        unsafe { sys::lyq_close(self.raw.id, 0) };
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listening({:#x})", self.raw.id)
    }
}

/// Accepts endpoints at one address. Dropping it ends those that nobody has accepted.
#[derive(Debug)]
pub struct Listener {
    listening: Listening,
    lobby: Inbox,
    driver: lyq_driver,
}

impl Listener {
    pub(crate) fn new(listening: Listening, lobby: Inbox, driver: lyq_driver) -> Self {
        Self { listening, lobby, driver }
    }

    #[cfg(feature = "futures")]
    pub(crate) fn lobby(&self) -> &Inbox {
        &self.lobby
    }

    /// The next endpoint, waited for.
    ///
    /// # Errors
    /// `Closed`, with its driver; `Limit`; `WouldDeadlock` inside a callback.
    pub fn accept(&mut self) -> Result<Endpoint> {
        loop {
            match self.incoming(None)?.accept() {
                // It has ended meanwhile: the next one.
                Err(error) if error.kind() == ErrorKind::Closed => {}
                other => return other,
            }
        }
    }

    /// The next endpoint that wants to be accepted, waited for no longer than that (`None`: for ever), for whoever does
    /// not want to pull from it, or not to accept it.
    ///
    /// # Errors
    /// `TimedOut`, `WouldBlock` if the limit is zero; `Closed`, with its driver; `WouldDeadlock` inside a callback.
    pub fn incoming(&mut self, limit: Option<Duration>) -> Result<Incoming> {
        loop {
            if let Item::Event(handle, Event::Accepted { remote, .. }) = self.lobby.pull(limit)? {
                return Ok(Incoming { handle, remote, driver: self.driver, taken: false });
            }
        }
    }
}

impl Deref for Listener {
    type Target = Listening;

    fn deref(&self) -> &Listening {
        &self.listening
    }
}

/// An endpoint that waits to be accepted, with what its peer sends. Dropping it closes it.
#[derive(Debug)]
#[must_use = "what is not accepted is closed"]
pub struct Incoming {
    handle: Handle,
    remote: String,
    driver: lyq_driver,
    taken: bool,
}

impl Incoming {
    /// The address of the peer's side.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// Accepts it, to be pulled from.
    ///
    /// # Errors
    /// `Closed` if it has ended meanwhile; `Limit`.
    pub fn accept(mut self) -> Result<Endpoint> {
        let inbox = Inbox::open(self.driver)?;
        inbox.bind(self.handle)?;
        self.taken = true;
        Ok(Endpoint::new(self.handle, inbox))
    }

    /// Accepts it, with a callback: see [`Driver::dial_fn`](crate::Driver::dial_fn).
    ///
    /// # Errors
    /// `Closed` if it has ended meanwhile.
    pub fn on_recv<F, R>(mut self, callback: F) -> Result<Handle>
    where
        F: FnMut(Item<'_>) -> R + Send + 'static,
        R: Into<Flow>,
    {
        self.handle.on_recv(callback)?;
        self.taken = true;
        Ok(self.handle)
    }

    /// Accepts it, into an inbox that others share.
    ///
    /// # Errors
    /// `Closed` if it has ended meanwhile, or the inbox.
    pub fn bind(mut self, inbox: &Inbox) -> Result<Handle> {
        inbox.bind(self.handle)?;
        self.taken = true;
        Ok(self.handle)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.taken {
            self.handle.close(Duration::ZERO);
        }
    }
}
