//! Runs the examples of docs/rust.md, in their order.

#[cfg(test)]
mod tests {
    include!(concat!(env!("OUT_DIR"), "/tutorial.rs"));

    #[test]
    fn the_tutorial_runs() {
        tutorial().unwrap();
    }
}
