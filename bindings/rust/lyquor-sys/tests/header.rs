//! Holds the bindings against `lyquor.h`: every function, constant, type and struct, by what is written, and sizes,
//! offsets and values by what a C compiler makes of the header.

use lyquor_sys::*;
use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use std::process::Command;

const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/source/include");
const BINDINGS: &str = include_str!("../src/lib.rs");

/// What the header says, each thing as Rust would.
#[derive(Default)]
struct Header {
    functions: Vec<String>,
    types: Vec<String>,
    constants: Vec<(String, i64)>,
    structs: Vec<(String, Vec<(String, String)>)>,
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The statements of the header, without comments, preprocessor and `extern "C"`.
fn statements() -> Vec<String> {
    let mut text = std::fs::read_to_string(format!("{INCLUDE}/lyquor.h")).expect("the header");
    while let Some(start) = text.find("/*") {
        let end = start + text[start..].find("*/").expect("the end of a comment") + 2;
        text.replace_range(start..end, " ");
    }
    let keep = |line: &&str| !line.trim_start().starts_with(['#']) && !line.starts_with("extern");
    let text: String = text.lines().filter(keep).map(|line| format!("{line}\n")).collect();
    let (mut all, mut depth, mut now) = (Vec::new(), 0, String::new());
    for c in text.chars() {
        match c {
            '}' if depth == 0 => continue, // of extern "C"
            ';' if depth == 0 => all.push(words(&std::mem::take(&mut now))),
            _ => now.push(c),
        }
        depth += i32::from(c == '{') - i32::from(c == '}' && depth > 0);
    }
    all
}

fn rust_type(base: &str) -> &str {
    match base {
        "int" => "c_int",
        "int64_t" => "i64",
        "int32_t" => "i32",
        "int16_t" => "i16",
        "uint64_t" => "u64",
        "uint32_t" => "u32",
        "uint16_t" => "u16",
        "uint8_t" => "u8",
        "size_t" => "usize",
        "void" => "c_void",
        "char" => "c_char",
        other => other,
    }
}

/// Parts `const char *name[4]` into the name, with `_` behind if Rust wants the word for itself, and the type.
fn declaration(text: &str, parameter: bool) -> (String, String) {
    let (text, length) = match text.trim().split_once('[') {
        Some((text, length)) => (text, Some(length.trim_end_matches(']'))),
        None => (text.trim(), None),
    };
    let start = text.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    let (kind, name) = (text[..start].trim(), &text[start..]);
    let constant = kind.starts_with("const ");
    let base = rust_type(kind.trim_start_matches("const ").trim_end_matches(['*', ' ']));
    let pointer = kind.ends_with('*') || (parameter && length.is_some());
    let kind = match (pointer, length) {
        (true, _) => format!("{} {base}", if constant { "*const" } else { "*mut" }),
        (false, Some(length)) => format!("[{base}; {length}]"),
        (false, None) => base.to_string(),
    };
    let name = if ["in", "fn"].contains(&name) { format!("{name}_") } else { name.to_string() };
    (name, kind)
}

fn parameters(text: &str) -> String {
    let all = text.split(',').filter(|p| p.trim() != "void").map(|p| declaration(p, true));
    all.map(|(name, kind)| format!("{name}: {kind}")).collect::<Vec<_>>().join(", ")
}

fn result(kind: &str) -> String {
    match declaration(&format!("{kind} x"), false).1.as_str() {
        "c_void" => String::new(),
        kind => format!(" -> {kind}"),
    }
}

impl Header {
    fn read() -> Self {
        let mut header = Header::default();
        for statement in statements() {
            header.add(&statement);
        }
        assert!(header.functions.len() > 30 && header.structs.len() > 8 && header.constants.len() > 60);
        header
    }

    fn add(&mut self, statement: &str) {
        let body = |text: &str| text[text.find('{').unwrap() + 1..text.rfind('}').unwrap()].to_string();
        if statement.starts_with("enum ") {
            let mut next = 0;
            for one in body(statement).split(',').map(str::trim).filter(|one| !one.is_empty()) {
                let (name, value) = one.split_once('=').unwrap_or((one, ""));
                next = value.trim().parse().unwrap_or(next);
                self.constants.push((name.trim().to_string(), next));
                next += 1;
            }
        } else if let Some(rest) = statement.strip_prefix("typedef struct ") {
            let mut fields = Vec::new();
            for line in body(rest).split(';').map(str::trim).filter(|line| !line.is_empty()) {
                let mut parts = line.split(',');
                let first = parts.next().unwrap();
                let kind = &first[..first.rfind(' ').unwrap()];
                fields.push(declaration(first, false));
                fields.extend(parts.map(|name| declaration(&format!("{kind} {name}"), false)));
            }
            self.structs.push((rest[..rest.find(' ').unwrap()].to_string(), fields));
        } else if let Some((kind, rest)) = statement.strip_prefix("typedef ").and_then(|s| s.split_once("(*")) {
            let (name, rest) = rest.split_once(")(").unwrap();
            let (kind, taken) = (result(kind), parameters(rest.trim_end_matches(')')));
            self.types.push(format!("pub type {name} = Option<unsafe extern \"C\" fn({taken}){kind}>;"));
        } else if let Some((kind, name)) = statement.strip_prefix("typedef ").and_then(|s| s.split_once(' ')) {
            self.types.push(format!("pub type {name} = {};", rust_type(kind)));
        } else {
            let (head, taken) = statement.split_once('(').unwrap();
            let (name, kind) = declaration(head, false);
            let kind = if kind == "c_void" { String::new() } else { format!(" -> {kind}") };
            let taken = parameters(taken.trim_end_matches(')'));
            self.functions.push(format!("pub fn {name}({taken}){kind};"));
        }
    }
}

/// The bindings, as rustfmt has not seen them.
fn bindings() -> String {
    let code = BINDINGS.lines().filter(|line| !line.trim_start().starts_with("//"));
    words(&code.collect::<Vec<_>>().join(" ")).replace("( ", "(").replace(", )", ")")
}

#[test]
fn every_function_type_and_constant() {
    let (header, bindings) = (Header::read(), bindings());
    let mut wanted: Vec<String> = header.functions.iter().chain(&header.types).cloned().collect();
    wanted.extend(header.constants.iter().map(|(name, value)| format!("pub const {name}: c_int = {value};")));
    for (name, fields) in &header.structs {
        let fields: String = fields.iter().map(|(name, kind)| format!("pub {name}: {kind}, ")).collect();
        wanted.push(format!("pub struct {name} {{ {fields}}}"));
    }
    let missing: Vec<_> = wanted.iter().filter(|one| !bindings.contains(one.as_str())).collect();
    assert!(missing.is_empty(), "the bindings lack or say otherwise: {missing:#?}");
    let count = |what: &str| bindings.matches(what).count();
    assert_eq!(count("pub fn "), header.functions.len(), "functions");
    assert_eq!(count("pub type "), header.types.len(), "types");
    assert_eq!(count("pub struct "), header.structs.len(), "structs");
    assert_eq!(count("pub const LYQ_"), header.constants.len() + 1, "constants, and LYQ_ABI_VERSION");
}

/// What `sizeof` and `offsetof` are of each struct: "lyq_msg" and "lyq_msg.ep".
macro_rules! layout {
    ($($name:ident { $($field:ident)* })*) => {{
        let mut all = BTreeMap::new();
        $(
            all.insert(stringify!($name).to_string(), size_of::<$name>() as i64);
            $(all.insert(format!("{}.{}", stringify!($name), stringify!($field)), offset_of!($name, $field) as i64);)*
        )*
        all
    }};
}

#[test]
fn layout_and_values() {
    let ours = layout! {
        lyq_driver { id } lyq_listener { id } lyq_endpoint { id } lyq_inbox { id } lyq_timer { id }
        lyq_msg { ep ctx data size id tag kind code token reserved }
        lyq_driver_opt { struct_size workers busy_poll_us flags cpus name memory_limit }
        lyq_endpoint_opt {
            struct_size worker outbox_bytes window_bytes max_message keepalive_ms connect_ms inbox recv ctx drop
            resume_ms on_restart ack lobby
        }
        lyq_buf { data size }
        lyq_claim { data size reserved }
        lyq_lane_account { accepted acknowledged maybe_delivered never_sent received withdrawn reserved }
    };
    let header = Header::read();
    let mut program = "#include <stdio.h>\n#include <lyquor.h>\nint main(void) {\n".to_string();
    let mut ask = |name: &str, value: String| {
        program += &format!("printf(\"%s %lld\\n\", \"{name}\", (long long)({value}));\n");
    };
    for (name, fields) in &header.structs {
        ask(name, format!("sizeof({name})"));
        for (field, _) in fields {
            ask(&format!("{name}.{field}"), format!("offsetof({name}, {field})"));
        }
    }
    for (name, _) in &header.constants {
        ask(name, name.clone());
    }
    ask("LYQ_ABI_VERSION", "LYQ_ABI_VERSION".to_string());
    ask("LYQ_TAG", "LYQ_TAG(LYQ_BULK, 65534)".to_string());
    program += "return 0; }\n";
    let mut theirs = run(&program);
    for (name, value) in &header.constants {
        assert_eq!(theirs.remove(name), Some(*value), "{name}");
    }
    assert_eq!(theirs.remove("LYQ_ABI_VERSION"), Some(i64::from(LYQ_ABI_VERSION)));
    assert_eq!(theirs.remove("LYQ_TAG"), Some(i64::from(LYQ_TAG(LYQ_BULK, 65534))));
    assert_eq!(ours, theirs);
}

/// Compiles a C program and runs it; it prints names and numbers.
fn run(program: &str) -> BTreeMap<String, i64> {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let (source, binary) = (format!("{directory}/layout.c"), format!("{directory}/layout"));
    std::fs::write(&source, program).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_string());
    let made = Command::new(compiler).args(["-I", INCLUDE, &source, "-o", &binary]).status().unwrap();
    assert!(made.success(), "{source} does not compile");
    let output = String::from_utf8(Command::new(binary).output().unwrap().stdout).unwrap();
    let pairs = output.lines().map(|line| line.split_once(' ').unwrap());
    pairs.map(|(name, value)| (name.to_string(), value.parse().unwrap())).collect()
}

#[test]
fn tags() {
    let tag = LYQ_TAG(LYQ_LOW, 7);
    assert_eq!((LYQ_LANE(tag), LYQ_CHANNEL(tag)), (LYQ_LOW, 7));
    assert_eq!(LYQ_NUMBER(u64::MAX), (1 << 48) - 1);
}

#[test]
fn the_library_is_linked() {
    // SAFETY: these take nothing, and their results are static.
    let (abi, version) = unsafe { (lyq_abi_version(), std::ffi::CStr::from_ptr(lyq_version())) };
    assert!(abi >= LYQ_ABI_VERSION && !version.is_empty());
    let options = [LYQ_DEFAULTS::<lyq_driver_opt>().struct_size, LYQ_DEFAULTS::<lyq_endpoint_opt>().struct_size];
    assert_eq!(options.map(|size| size as usize), [size_of::<lyq_driver_opt>(), size_of::<lyq_endpoint_opt>()]);
}
