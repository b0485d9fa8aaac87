//! Every function of `lyquor.h` is used by this crate, which is how programs reach it; and what has to be thread-safe
//! is.

use lyquor::{
    Batch, Driver, Endpoint, Error, Event, Handle, Inbox, Item, Listener, Listening, Message, Options, Timer,
};
use std::path::Path;

/// The names of functions in the bindings, which are held against the header by tests of their own.
fn functions() -> Vec<String> {
    let bindings = include_str!("../../lyquor-sys/src/lib.rs");
    let foreign = &bindings[bindings.find("extern \"C\" {").expect("the functions")..];
    let names = foreign.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
    names.map(|line| line[..line.find('(').unwrap()].to_string()).collect()
}

#[test]
fn every_function_is_reached() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = std::fs::read_dir(source).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let code: String = files.collect();
    let all = functions();
    assert!(all.len() > 40, "{all:?}");
    let missing: Vec<_> = all.iter().filter(|name| !code.contains(&format!("sys::{name}("))).collect();
    assert!(missing.is_empty(), "not reached: {missing:?}");
}

#[test]
fn send_and_sync() {
    fn both<T: Send + Sync + 'static>() {}
    both::<Driver>();
    both::<Endpoint>();
    both::<Handle>();
    both::<Inbox>();
    both::<Listener>();
    both::<Listening>();
    both::<Message<'static>>();
    both::<Batch>();
    both::<Event<'static>>();
    both::<Item<'static>>();
    both::<Timer>();
    both::<Options>();
    both::<Error>();
}
