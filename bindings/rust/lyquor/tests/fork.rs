//! After `fork` nothing works in the child, nothing harms it, and nothing changes for its parent.

mod kit;

use kit::{Pair, PATIENCE};
use lyquor::{ErrorKind, Result};
use std::ffi::c_int;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

extern "C" {
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
}

fn forked<T>(result: Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::Forked)
}

#[test]
fn a_child_of_fork() {
    let mut pair = Pair::new();
    let timer = pair.driver.timer(None, Duration::from_secs(3600), || ()).unwrap();
    pair.a.send("kept").unwrap();
    let kept = pair.b.recv_timeout(PATIENCE).unwrap().unwrap();
    // SAFETY: the child goes no further than this block.
    let child = unsafe { fork() };
    if child == 0 {
        let refused = [
            forked(pair.a.send("x")),
            forked(pair.a.flush(None)),
            forked(pair.a.end()),
            forked(pair.a.wait_up(None)),
            forked(pair.b.recv()),
            forked(pair.a.explain()),
            forked(pair.listener.accept()),
            forked(pair.driver.dial("mem://x")),
            forked(pair.driver.inbox()),
            forked(pair.driver.now()),
            forked(pair.driver.shutdown(Duration::ZERO)),
            forked(lyquor::Driver::new()),
            forked(lyquor::process_counters()),
        ];
        drop((kept, timer, pair));
        let held = refused.iter().take_while(|it| **it).count();
        // Another program's end: this one's would be that of the library and of valgrind, too.
        let _ = Command::new("sh").args(["-c", &format!("exit {held}")]).exec();
        std::process::abort();
    }
    let mut status = 0;
    // SAFETY: it fills the status.
    assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
    assert_eq!(status >> 8, 13, "so many calls were refused, then one was not: {status:#x}");
    drop(kept);
    pair.a.flush(Some(PATIENCE)).unwrap();
    pair.a.send("as ever").unwrap();
    assert_eq!(&*pair.b.recv_timeout(PATIENCE).unwrap().unwrap(), b"as ever");
}
