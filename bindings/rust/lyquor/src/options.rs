use crate::sys::{self, lyq_endpoint_opt};
use std::ffi::c_int;
use std::time::Duration;

/// How long what was sent may still be delivered after an endpoint, listener or driver was dropped.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// A duration as milliseconds for C, 1 at least if it is not zero; longer ones than C knows become `forever`.
pub(crate) fn milliseconds(duration: Duration, forever: c_int) -> c_int {
    let whole = duration.as_nanos().div_ceil(1_000_000);
    c_int::try_from(whole).unwrap_or(forever)
}

/// A timeout as milliseconds for C; `None` is for ever.
pub(crate) fn timeout(timeout: Option<Duration>) -> c_int {
    timeout.map_or(-1, |duration| milliseconds(duration, c_int::MAX))
}

/// How long an endpoint outlives a lost connection, or none at first: who dialled redials, who accepted waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// For so long.
    For(Duration),
    /// For ever, which is the default where it was dialled.
    ForEver,
    /// It ends with its connection.
    WithLink,
}

/// What becomes of messages that a peer which has restarted had not acknowledged. They are counted in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRestart {
    /// They are withdrawn, and listed by [`Outcome::unacked`](crate::Outcome::unacked). Without a receiver, which
    /// nobody could report to, they are sent to the new peer.
    #[default]
    Report,
    /// They are sent to the new peer, before what follows.
    Resend,
    /// They are withdrawn, and not listed.
    Drop,
}

/// Options of an endpoint, or of those that a listener accepts. Those that are not set have the library's defaults.
///
/// They are checked by what opens the endpoint, whose error names what is wrong and what is allowed.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Options {
    worker: u32,
    outbox_bytes: u64,
    window_bytes: u64,
    max_message: u64,
    keepalive_ms: c_int,
    connect_ms: c_int,
    resume_ms: c_int,
    on_restart: OnRestart,
    manual_ack: bool,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of the worker that it stays on, from 1; 0, the default: the library chooses, now and later.
    pub fn worker(mut self, worker: u32) -> Self {
        self.worker = worker;
        self
    }

    /// Cap on each lane's bytes that were accepted and not acknowledged: 64 KiB to 128 MiB (the default).
    pub fn outbox_bytes(mut self, bytes: u64) -> Self {
        self.outbox_bytes = bytes;
        self
    }

    /// Cap on what the peer may send in each lane beyond what was consumed: 64 KiB to 1 GiB; 128 MiB by default.
    pub fn window_bytes(mut self, bytes: u64) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// Longest message that is taken from the peer: 1 MiB (the default) to 1 GiB.
    pub fn max_message(mut self, bytes: u64) -> Self {
        self.max_message = bytes;
        self
    }

    /// Silence after which the peer is pinged, 15 seconds by default; three times that ends the connection. `None`:
    /// never.
    pub fn keepalive(mut self, silence: Option<Duration>) -> Self {
        self.keepalive_ms = silence.map_or(-1, |silence| milliseconds(silence, c_int::MAX));
        self
    }

    /// Bound on connecting, and again on the handshake: 10 seconds by default, at most 24 hours.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_ms = milliseconds(limit, c_int::MAX);
        self
    }

    /// How long it outlives a lost connection; 60 seconds by default where it was accepted, else for ever.
    pub fn resume(mut self, resume: Resume) -> Self {
        self.resume_ms = match resume {
            Resume::For(Duration::ZERO) | Resume::WithLink => sys::LYQ_WITH_LINK,
            Resume::For(duration) => milliseconds(duration, sys::LYQ_FOR_EVER),
            Resume::ForEver => sys::LYQ_FOR_EVER,
        };
        self
    }

    /// What becomes of messages that a peer which has restarted had not acknowledged.
    pub fn on_restart(mut self, what: OnRestart) -> Self {
        self.on_restart = what;
        self
    }

    /// Messages from the peer are acknowledged by [`Message::ack`](crate::Message::ack) and
    /// [`Handle::ack`](crate::Handle::ack) alone.
    pub fn manual_ack(mut self, manual: bool) -> Self {
        self.manual_ack = manual;
        self
    }

    pub(crate) fn raw(&self) -> lyq_endpoint_opt {
        let on_restart = match self.on_restart {
            OnRestart::Report => sys::LYQ_REPORT,
            OnRestart::Resend => sys::LYQ_RESEND,
            OnRestart::Drop => sys::LYQ_DROP,
        };
        lyq_endpoint_opt {
            worker: self.worker,
            outbox_bytes: self.outbox_bytes,
            window_bytes: self.window_bytes,
            max_message: self.max_message,
            keepalive_ms: self.keepalive_ms,
            connect_ms: self.connect_ms,
            resume_ms: self.resume_ms,
            on_restart: on_restart as u32,
            ack: if self.manual_ack { sys::LYQ_ACK_MANUAL } else { sys::LYQ_ACK_RETURN } as u32,
            ..sys::LYQ_DEFAULTS()
        }
    }
}
