//! Reads the built-in policies once, when fence is built, so that no run has to.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use fence_compiler::resolve::prepare;
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=builtin");
    let out = env::var("OUT_DIR")?;
    for entry in fs::read_dir("builtin")? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a policy's name is not text")?;
        let prepared =
            prepare(&read(name)?, &BuiltIn).map_err(|found| format!("{}: {found:?}", path.display()))?;
        fs::write(Path::new(&out).join(name).with_extension("prepared"), prepared)?;
    }
    Ok(())
}

fn read(name: &str) -> std::io::Result<Source> {
    Ok(Source {
        origin: Origin::BuiltIn(name.to_owned()),
        name: format!("<built-in {name}>"),
        text: fs::read_to_string(Path::new("builtin").join(name).with_extension("fence"))?,
    })
}

/// Finds what the built-in policies include: one another.
struct BuiltIn;

impl Loader for BuiltIn {
    fn load(&self, reference: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        match reference {
            Reference::Name(name) => {
                read(name).map_err(|error| LoadError::Unreadable { reason: error.to_string() })
            }
            Reference::Path(_) => Err(LoadError::NoDirectory),
        }
    }
}
