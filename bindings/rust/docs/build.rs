//! Makes one function of the examples in docs/rust.md, which go on from each other.

use std::path::Path;

const PAGE: &str = "../../../docs/rust.md";

fn main() {
    println!("cargo:rerun-if-changed={PAGE}");
    let page = std::fs::read_to_string(PAGE).expect(PAGE);
    let mut program = "pub fn tutorial() -> lyquor::Result<()> {\n".to_string();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```rust";
            program += &format!("// {PAGE}:{}\n", number + 1);
        } else if inside {
            program += &format!("{line}\n");
        }
    }
    program += "Ok(())\n}\n";
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("tutorial.rs"), program).expect("the program is written");
}
