//! Finds liblyquor, or builds it: see the crate's documentation.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

const WAYS: &str = "\
liblyquor was not found. There are three ways:
  - install it (`make install` in the repository), so that `pkg-config --libs lyquor` finds it;
  - or set LYQUOR_DIR to where it was installed, or LYQUOR_LIB_DIR to the directory that holds liblyquor.so;
  - or enable the feature `vendored`, which builds it with Go and a C compiler.";

/// Cargo shows this, and nothing is built.
fn fail(text: &str) -> ! {
    eprintln!("\nlyquor-sys: {text}\n");
    exit(1)
}

/// An environment variable; another value of it makes the script run again.
fn setting(name: &str) -> Option<String> {
    println!("cargo:rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn feature(name: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{name}")).is_some()
}

fn target(what: &str) -> String {
    env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default()
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if setting("DOCS_RS").is_some() {
        return; // documentation is built, not linked
    }
    if target("POINTER_WIDTH") != "64" || target("ENDIAN") != "little" {
        fail("lyquor needs a 64-bit little-endian target");
    }
    if target("OS") == "linux" && target("ENV") != "gnu" {
        fail("lyquor needs glibc: Go's runtime cannot be loaded as a library of a program that uses musl");
    }
    let found = named().or_else(|| feature("VENDORED").then(vendored)).or_else(installed);
    link(&found.unwrap_or_else(|| fail(WAYS)));
}

/// The directory that the program's builder names.
fn named() -> Option<PathBuf> {
    let (name, directory) = match setting("LYQUOR_LIB_DIR") {
        Some(directory) => ("LYQUOR_LIB_DIR", PathBuf::from(directory)),
        None => ("LYQUOR_DIR", PathBuf::from(setting("LYQUOR_DIR")?).join("lib")),
    };
    let library = directory.join(library());
    if !library.exists() {
        fail(&format!("{name} is set, but there is no {}\n{WAYS}", library.display()));
    }
    Some(directory)
}

fn library() -> &'static str {
    if feature("STATIC") {
        "liblyquor.a"
    } else {
        "liblyquor.so"
    }
}

/// What pkg-config says. It knows about the machine that builds, so it is not asked about another.
fn installed() -> Option<PathBuf> {
    let cross = env::var("HOST") != env::var("TARGET");
    let program = setting("PKG_CONFIG").unwrap_or_else(|| "pkg-config".to_string());
    setting("PKG_CONFIG_PATH");
    if cross && setting("PKG_CONFIG_ALLOW_CROSS").is_none() && setting("PKG_CONFIG_SYSROOT_DIR").is_none() {
        return None;
    }
    // Before 1.0 only the same minor version is compatible.
    let minor = env::var("CARGO_PKG_VERSION_MINOR").ok()?.parse::<u32>().ok()?;
    let fits = Command::new(&program)
        .args(["--exists", &format!("lyquor >= 0.{minor}"), &format!("lyquor < 0.{}", minor + 1)])
        .status()
        .is_ok_and(|status| status.success());
    let output = Command::new(&program).args(["--variable=libdir", "lyquor"]).output().ok()?;
    let directory = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (fits && directory.join(library()).exists()).then_some(directory)
}

fn link(directory: &Path) {
    println!("cargo:rustc-link-search=native={}", directory.display());
    println!("cargo:libdir={}", directory.display());
    println!("cargo:version={}", env!("CARGO_PKG_VERSION"));
    println!("cargo:rerun-if-changed={}", directory.join(library()).display());
    if feature("STATIC") {
        println!("cargo:rustc-link-lib=static=lyquor");
        println!("cargo:rustc-link-lib=pthread");
    } else {
        println!("cargo:rustc-link-lib=dylib=lyquor");
    }
}

// ---- Building it.

/// Builds liblyquor.a as the Makefile does: one object in which everything but the API is local, so that a program may
/// hold another Go library, or names like ours.
fn vendored() -> PathBuf {
    let root = source();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let at = |name: &str| out.join(name).into_os_string();
    for part in ["capi", "engine", "include", "go.mod", "go.sum"] {
        println!("cargo:rerun-if-changed={}", root.join(part).display());
    }
    let arch = match target("ARCH").as_str() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => fail(&format!("the feature vendored builds for x86_64 and aarch64, not for {other}")),
    };
    let mut go = Command::new(setting("GO").unwrap_or_else(|| "go".to_string()));
    go.current_dir(&root)
        .args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-archive", "-ldflags=-s -w", "-o"])
        .args([at("go.a"), "./capi".into()])
        .envs([("CGO_ENABLED", "1"), ("GOOS", "linux"), ("GOARCH", arch)])
        // Go does not look at headers outside a package when it decides whether that is stale.
        .env("CGO_CFLAGS", format!("-O2 -g -DLYQ_HEADERS_STAMP={}", stamp(&root)));
    run(&mut go);
    let tool = |name: &str| Command::new(setting(&name.to_uppercase()).unwrap_or_else(|| name.to_string()));
    run(tool("ld").args(["-r", "-d", "--whole-archive"]).arg(at("go.a")).arg("-o").arg(at("lyquor.o")));
    run(tool("objcopy").args(["--wildcard", "--keep-global-symbol=lyq_*"]).arg(at("lyquor.o")));
    let _ = std::fs::remove_file(out.join("liblyquor.a"));
    run(tool("ar").arg("rcsD").arg(at("liblyquor.a")).arg(at("lyquor.o")));
    out
}

fn run(command: &mut Command) {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("the feature vendored: {name} failed with {status}")),
        Err(error) => {
            fail(&format!("the feature vendored needs {name}, besides Go, a C compiler and binutils: {error}\n{WAYS}"))
        }
    }
}

/// The sources: the repository's, or those in the package.
fn source() -> PathBuf {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    for root in [here.join("../../.."), here.join("source")] {
        if root.join("capi/main.go").exists() && root.join("go.mod").exists() {
            return root;
        }
    }
    fail("the feature vendored: the package holds no sources of liblyquor")
}

/// A number that changes with the headers (FNV-1a).
fn stamp(root: &Path) -> u32 {
    let mut sum = 0x811c_9dc5u32;
    for directory in ["include", "capi"] {
        let entries = std::fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
        let mut headers: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        headers.retain(|path| path.extension().is_some_and(|extension| extension == "h"));
        headers.sort();
        for byte in headers.iter().filter_map(|path| std::fs::read(path).ok()).flatten() {
            sum = (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    sum
}
