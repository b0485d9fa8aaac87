use crate::error::{control, Result};
use crate::sys;
use std::ffi::c_int;

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $count:ident: $($(#[$field_doc:meta])* $field:ident = $index:ident,)*) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $name {
            /// Has the library fill an array of so many.
            pub(crate) fn read(fill: impl FnOnce(*mut u64, usize) -> c_int) -> Result<Self> {
                let mut all = [0u64; sys::$count as usize];
                control(fill(all.as_mut_ptr(), all.len()))?;
                Ok(Self { $($field: all[sys::$index as usize],)* })
            }
        }
    };
}

counters! {
    /// What an endpoint has sent and received, and holds now.
    EndpointCounters, LYQ_C_COUNT:
    /// Messages given to a connection, each once, however often it is sent again.
    msgs_sent = LYQ_C_MSGS_SENT,
    /// Bytes on the wire.
    bytes_sent = LYQ_C_BYTES_SENT,
    /// Messages received.
    msgs_received = LYQ_C_MSGS_RECEIVED,
    /// Bytes received.
    bytes_received = LYQ_C_BYTES_RECEIVED,
    /// Messages accepted and not sent, now.
    queued = LYQ_C_QUEUED,
    /// Their bytes.
    queued_bytes = LYQ_C_QUEUED_BYTES,
    /// Bytes received and not released, now.
    held_bytes = LYQ_C_HELD_BYTES,
    /// Round trip of the last ping in nanoseconds; 0: none yet.
    rtt_ns = LYQ_C_RTT_NS,
    /// Number of the worker that it is on, from 1.
    worker = LYQ_C_WORKER,
    /// Messages whose time to live was over before they were sent.
    withdrawn = LYQ_C_WITHDRAWN,
    /// What `window_bytes` caps, now; of the lane that has most.
    window_bytes = LYQ_C_WINDOW_BYTES,
    /// What `outbox_bytes` caps, now; of the lane that has most.
    outbox_bytes = LYQ_C_OUTBOX_BYTES,
}

counters! {
    /// What a worker has done, or all of a driver's.
    WorkerCounters, LYQ_W_COUNT:
    /// Rounds of its loop.
    turns = LYQ_W_TURNS,
    /// Wakes that had to be written by producers.
    wakes = LYQ_W_WAKES,
    /// Endpoints that producers rang for; without `wakes`, the wakes that were avoided.
    notices = LYQ_W_NOTICES,
    /// System calls that ask what is ready.
    polls = LYQ_W_POLLS,
    /// How often it slept.
    sleeps = LYQ_W_SLEEPS,
    /// System calls that read.
    reads = LYQ_W_READS,
    /// System calls that write.
    writes = LYQ_W_WRITES,
    /// Bytes read.
    bytes_read = LYQ_W_BYTES_READ,
    /// Bytes written.
    bytes_written = LYQ_W_BYTES_WRITTEN,
    /// Frames.
    frames = LYQ_W_FRAMES,
    /// Endpoints whose turn ended because others waited.
    budget_cuts = LYQ_W_BUDGET_CUTS,
    /// Timers that were due.
    timers = LYQ_W_TIMERS,
    /// By how much, in all.
    timer_late_ns = LYQ_W_TIMER_LATE_NS,
    /// Callbacks that took longer than a millisecond.
    slow_callbacks = LYQ_W_SLOW_CALLBACKS,
    /// Endpoints, now.
    endpoints = LYQ_W_ENDPOINTS,
    /// Endpoints that came from other workers.
    moves = LYQ_W_MOVES,
}

counters! {
    /// What the library holds in this process now. What keeps growing is held by the program, or lost.
    ProcessCounters, LYQ_P_COUNT:
    /// Handles that take memory: open, or ended with items that are not released.
    handles = LYQ_P_HANDLES,
    /// Memory of outboxes, and of what is listed as not acknowledged.
    log_bytes = LYQ_P_LOG_BYTES,
    /// Blocks that are read into or hold what was received, and copies of long messages.
    block_bytes = LYQ_P_BLOCK_BYTES,
    /// Entries of the queues of inboxes.
    parcels = LYQ_P_PARCELS,
    /// What Go's collector found in use when it last ran.
    heap_bytes = LYQ_P_HEAP_BYTES,
    /// Goroutines.
    goroutines = LYQ_P_GOROUTINES,
}

/// What the library holds in this process now.
pub fn process_counters() -> Result<ProcessCounters> {
    // SAFETY: the array has so many elements.
    ProcessCounters::read(|out, n| unsafe { sys::lyq_process_counters(out, n) })
}
