//! Bindings to `liblyquor`, one for each name in `lyquor.h`, which is their manual: what a function means, which
//! threads may call it, who owns what. Programs use the crate `lyquor` instead, which is safe.
//!
//! # Where the library comes from
//!
//! * `LYQUOR_DIR`, the prefix of an installation, or `LYQUOR_LIB_DIR`, the directory of the library itself;
//! * else, with the feature `vendored`, it is built from its sources, which needs Go, a C compiler and binutils, and
//!   linked into the program;
//! * else `pkg-config` is asked.
//!
//! `liblyquor.so` is linked, or `liblyquor.a` with the feature `static`, which is part of `vendored`. A program finds
//! the former where the loader looks for it: in a system directory, by `LD_LIBRARY_PATH`, or by a path that was linked
//! into the program (`-C link-arg=-Wl,-rpath,DIRECTORY`). It cannot be opened later (`dlopen`): Go's runtime has to be
//! there before `main`, or the end of a thread may end the process.
//!
//! Crates that depend on this one directly get `DEP_LYQUOR_LIBDIR` and `DEP_LYQUOR_VERSION` in their build scripts.
#![no_std]
#![allow(missing_docs, non_camel_case_types, non_snake_case)]

use core::ffi::{c_char, c_int, c_void};

/// Of the header that these bindings were written after; [`lyq_abi_version`] is the library's, never smaller.
pub const LYQ_ABI_VERSION: u32 = 1;

pub type lyq_tag = u32;
pub type lyq_recv_fn = Option<unsafe extern "C" fn(ctx: *mut c_void, m: *const lyq_msg, n: usize) -> c_int>;
pub type lyq_fn = Option<unsafe extern "C" fn(ctx: *mut c_void)>;
pub type lyq_log_fn =
    Option<unsafe extern "C" fn(ctx: *mut c_void, level: c_int, id: *const c_char, text: *const c_char)>;

pub const fn LYQ_TAG(lane: c_int, channel: u16) -> lyq_tag {
    (lane as u32) << 16 | channel as u32
}

pub const fn LYQ_LANE(tag: lyq_tag) -> c_int {
    (tag >> 16 & 0xff) as c_int
}

pub const fn LYQ_CHANNEL(tag: lyq_tag) -> u16 {
    tag as u16
}

pub const fn LYQ_NUMBER(id: u64) -> u64 {
    id & 0xffff_ffff_ffff
}

/// `LYQ_DEFAULTS(T, name)`: options that are all zero, but for their size.
pub const fn LYQ_DEFAULTS<T: Options>() -> T {
    T::DEFAULTS
}

/// What [`LYQ_DEFAULTS`] is for.
pub trait Options: Sized {
    const DEFAULTS: Self;
}

impl Options for lyq_driver_opt {
    const DEFAULTS: Self = Self {
        struct_size: size_of::<Self>() as u32,
        workers: 0,
        busy_poll_us: 0,
        flags: 0,
        cpus: core::ptr::null(),
        name: core::ptr::null(),
        memory_limit: 0,
    };
}

impl Options for lyq_endpoint_opt {
    const DEFAULTS: Self = Self {
        struct_size: size_of::<Self>() as u32,
        worker: 0,
        outbox_bytes: 0,
        window_bytes: 0,
        max_message: 0,
        keepalive_ms: 0,
        connect_ms: 0,
        inbox: lyq_inbox { id: 0 },
        recv: None,
        ctx: core::ptr::null_mut(),
        drop: None,
        resume_ms: 0,
        on_restart: 0,
        ack: 0,
        lobby: lyq_inbox { id: 0 },
    };
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_driver {
    pub id: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_listener {
    pub id: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_endpoint {
    pub id: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_inbox {
    pub id: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_timer {
    pub id: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_msg {
    pub ep: lyq_endpoint,
    pub ctx: *mut c_void,
    pub data: *const u8,
    pub size: usize,
    pub id: u64,
    pub tag: lyq_tag,
    pub kind: u16,
    pub code: i16,
    pub token: u64,
    pub reserved: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_driver_opt {
    pub struct_size: u32,
    pub workers: u32,
    pub busy_poll_us: u32,
    pub flags: u32,
    pub cpus: *const c_int,
    pub name: *const c_char,
    pub memory_limit: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_endpoint_opt {
    pub struct_size: u32,
    pub worker: u32,
    pub outbox_bytes: u64,
    pub window_bytes: u64,
    pub max_message: u64,
    pub keepalive_ms: i32,
    pub connect_ms: i32,
    pub inbox: lyq_inbox,
    pub recv: lyq_recv_fn,
    pub ctx: *mut c_void,
    pub drop: lyq_fn,
    pub resume_ms: i32,
    pub on_restart: u32,
    pub ack: u32,
    pub lobby: lyq_inbox,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_buf {
    pub data: *const c_void,
    pub size: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_claim {
    pub data: *mut c_void,
    pub size: usize,
    pub reserved: [u64; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lyq_lane_account {
    pub accepted: u64,
    pub acknowledged: u64,
    pub maybe_delivered: u64,
    pub never_sent: u64,
    pub received: u64,
    pub withdrawn: u64,
    pub reserved: [u64; 2],
}

/// `enum lyq_lane`
pub const LYQ_NORMAL: c_int = 0;
pub const LYQ_URGENT: c_int = 1;
pub const LYQ_LOW: c_int = 2;
pub const LYQ_BULK: c_int = 3;

/// `enum lyq_err`
pub const LYQ_OK: c_int = 0;
pub const LYQ_EINVAL: c_int = -1;
pub const LYQ_EHANDLE: c_int = -2;
pub const LYQ_ECLOSED: c_int = -3;
pub const LYQ_EAGAIN: c_int = -4;
pub const LYQ_EMSGSIZE: c_int = -5;
pub const LYQ_ETIMEDOUT: c_int = -6;
pub const LYQ_EINTR: c_int = -7;
pub const LYQ_EDEADLK: c_int = -8;
pub const LYQ_EFORKED: c_int = -9;
pub const LYQ_EADDR: c_int = -10;
pub const LYQ_ENOMEM: c_int = -11;
pub const LYQ_ELIMIT: c_int = -12;
pub const LYQ_EREFUSED: c_int = -13;
pub const LYQ_EUNREACH: c_int = -14;
pub const LYQ_ERESET: c_int = -15;
pub const LYQ_EVERSION: c_int = -16;
pub const LYQ_ENOTSUP: c_int = -17;
pub const LYQ_EINTERNAL: c_int = -18;
pub const LYQ_EBUSY: c_int = -19;
pub const LYQ_EPROTO: c_int = -20;

/// `enum lyq_kind`
pub const LYQ_DATA: c_int = 0;
pub const LYQ_UP: c_int = 16;
pub const LYQ_ENDED: c_int = 17;
pub const LYQ_DOWN: c_int = 18;
pub const LYQ_WRITABLE: c_int = 19;
pub const LYQ_RESTARTED: c_int = 20;
pub const LYQ_ACCEPTED: c_int = 21;
pub const LYQ_ACKED: c_int = 22;
pub const LYQ_TIMER: c_int = 23;
pub const LYQ_CLOSED: c_int = 25;
pub const LYQ_NEVER_SENT: c_int = 32;
pub const LYQ_MAYBE_DELIVERED: c_int = 33;

/// `enum lyq_driver_flag`
pub const LYQ_PORTABLE: c_int = 1;
pub const LYQ_NO_BALANCE: c_int = 2;

/// `enum lyq_resume`
pub const LYQ_FOR_EVER: c_int = -1;
pub const LYQ_WITH_LINK: c_int = -2;

/// `enum lyq_ack_mode`
pub const LYQ_ACK_RETURN: c_int = 0;
pub const LYQ_ACK_MANUAL: c_int = 1;

/// `enum lyq_on_restart`
pub const LYQ_REPORT: c_int = 0;
pub const LYQ_RESEND: c_int = 1;
pub const LYQ_DROP: c_int = 2;

/// `enum lyq_counter`
pub const LYQ_C_MSGS_SENT: c_int = 0;
pub const LYQ_C_BYTES_SENT: c_int = 1;
pub const LYQ_C_MSGS_RECEIVED: c_int = 2;
pub const LYQ_C_BYTES_RECEIVED: c_int = 3;
pub const LYQ_C_QUEUED: c_int = 4;
pub const LYQ_C_QUEUED_BYTES: c_int = 5;
pub const LYQ_C_HELD_BYTES: c_int = 6;
pub const LYQ_C_RTT_NS: c_int = 7;
pub const LYQ_C_WORKER: c_int = 8;
pub const LYQ_C_WITHDRAWN: c_int = 9;
pub const LYQ_C_WINDOW_BYTES: c_int = 10;
pub const LYQ_C_OUTBOX_BYTES: c_int = 11;
pub const LYQ_C_COUNT: c_int = 12;

/// `enum lyq_worker_counter`
pub const LYQ_W_TURNS: c_int = 0;
pub const LYQ_W_WAKES: c_int = 1;
pub const LYQ_W_NOTICES: c_int = 2;
pub const LYQ_W_POLLS: c_int = 3;
pub const LYQ_W_SLEEPS: c_int = 4;
pub const LYQ_W_READS: c_int = 5;
pub const LYQ_W_WRITES: c_int = 6;
pub const LYQ_W_BYTES_READ: c_int = 7;
pub const LYQ_W_BYTES_WRITTEN: c_int = 8;
pub const LYQ_W_FRAMES: c_int = 9;
pub const LYQ_W_BUDGET_CUTS: c_int = 10;
pub const LYQ_W_TIMERS: c_int = 11;
pub const LYQ_W_TIMER_LATE_NS: c_int = 12;
pub const LYQ_W_SLOW_CALLBACKS: c_int = 13;
pub const LYQ_W_ENDPOINTS: c_int = 14;
pub const LYQ_W_MOVES: c_int = 15;
pub const LYQ_W_COUNT: c_int = 16;

/// `enum lyq_process_counter`
pub const LYQ_P_HANDLES: c_int = 0;
pub const LYQ_P_LOG_BYTES: c_int = 1;
pub const LYQ_P_BLOCK_BYTES: c_int = 2;
pub const LYQ_P_PARCELS: c_int = 3;
pub const LYQ_P_HEAP_BYTES: c_int = 4;
pub const LYQ_P_GOROUTINES: c_int = 5;
pub const LYQ_P_COUNT: c_int = 6;

unsafe extern "C" {
    pub fn lyq_abi_version() -> u32;
    pub fn lyq_version() -> *const c_char;
    pub fn lyq_has(what: *const c_char) -> c_int;
    pub fn lyq_strerror(err: c_int) -> *const c_char;
    pub fn lyq_detail() -> *const c_char;
    pub fn lyq_set_logger(fn_: lyq_log_fn, ctx: *mut c_void, drop: lyq_fn, level: c_int) -> c_int;
    pub fn lyq_close(id: u64, linger_ms: c_int) -> c_int;
    pub fn lyq_wait(id: u64, until: c_int, timeout_ms: c_int) -> c_int;
    pub fn lyq_quiesce(id: u64, timeout_ms: c_int) -> c_int;
    pub fn lyq_resume(id: u64) -> c_int;
    pub fn lyq_set_ctx(id: u64, ctx: *mut c_void, drop: lyq_fn) -> c_int;
    pub fn lyq_explain(id: u64, text: *mut c_char, size: usize) -> c_int;
    pub fn lyq_counters(id: u64, out: *mut u64, n: usize) -> c_int;
    pub fn lyq_worker_counters(d: lyq_driver, worker: u32, out: *mut u64, n: usize) -> c_int;
    pub fn lyq_process_counters(out: *mut u64, n: usize) -> c_int;
    pub fn lyq_address(id: u64, text: *mut c_char, size: usize) -> c_int;
    pub fn lyq_driver_open(opt: *const lyq_driver_opt, out: *mut lyq_driver) -> c_int;
    pub fn lyq_listen(
        d: lyq_driver,
        addr: *const c_char,
        accepted: *const lyq_endpoint_opt,
        out: *mut lyq_listener,
    ) -> c_int;
    pub fn lyq_dial(d: lyq_driver, addr: *const c_char, opt: *const lyq_endpoint_opt, out: *mut lyq_endpoint) -> c_int;
    pub fn lyq_set_worker(ep: lyq_endpoint, worker: c_int) -> c_int;
    pub fn lyq_switch(ep: lyq_endpoint, addr: *const c_char) -> c_int;
    pub fn lyq_on_recv(id: u64, channel: c_int, fn_: lyq_recv_fn, ctx: *mut c_void, drop: lyq_fn) -> c_int;
    pub fn lyq_end(ep: lyq_endpoint) -> c_int;
    pub fn lyq_flush(ep: lyq_endpoint) -> c_int;
    pub fn lyq_now(d: lyq_driver) -> i64;
    pub fn lyq_timer_open(
        d: lyq_driver,
        with: u64,
        at_ns: i64,
        fn_: lyq_fn,
        ctx: *mut c_void,
        out: *mut lyq_timer,
    ) -> c_int;
    pub fn lyq_send(ep: lyq_endpoint, tag: lyq_tag, data: *const c_void, size: usize) -> i64;
    pub fn lyq_send_ttl(ep: lyq_endpoint, tag: lyq_tag, data: *const c_void, size: usize, ttl_ms: c_int) -> i64;
    pub fn lyq_send_wait(ep: lyq_endpoint, tag: lyq_tag, data: *const c_void, size: usize, timeout_ms: c_int) -> i64;
    pub fn lyq_wait_room(ep: lyq_endpoint, tag: lyq_tag, size: usize, timeout_ms: c_int) -> c_int;
    pub fn lyq_sendv(ep: lyq_endpoint, tag: lyq_tag, parts: *const lyq_buf, n: usize) -> i64;
    pub fn lyq_send_lent(
        ep: lyq_endpoint,
        tag: lyq_tag,
        data: *const c_void,
        size: usize,
        free_fn: lyq_fn,
        hint: *mut c_void,
    ) -> i64;
    pub fn lyq_claim_open(ep: lyq_endpoint, tag: lyq_tag, size: usize, claim: *mut lyq_claim) -> c_int;
    pub fn lyq_commit(ep: lyq_endpoint, claim: *mut lyq_claim, size: usize) -> i64;
    pub fn lyq_account(m: *const lyq_msg, out: *mut lyq_lane_account) -> c_int;
    pub fn lyq_unacked(ep: lyq_endpoint, cursor: *mut u64, out: *mut lyq_msg, max: usize) -> c_int;
    pub fn lyq_ack(ep: lyq_endpoint, tag: lyq_tag, id: u64) -> c_int;
    pub fn lyq_inbox_open(d: lyq_driver, out: *mut lyq_inbox) -> c_int;
    pub fn lyq_inbox_bind(in_: lyq_inbox, id: u64, channel: c_int) -> c_int;
    pub fn lyq_inbox_fd(in_: lyq_inbox) -> c_int;
    pub fn lyq_recv(in_: lyq_inbox, m: *mut lyq_msg, max: usize, timeout_ms: c_int) -> c_int;
    pub fn lyq_release(m: *const lyq_msg, n: usize) -> c_int;
    pub fn lyq_discard(m: *const lyq_msg, n: usize) -> c_int;
    pub fn lyq_retain(m: *const lyq_msg, out: *mut lyq_msg) -> c_int;
}
