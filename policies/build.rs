//! Reads the built-in policies once, when fence is built, so that no run has to.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=builtin");
    let out = env::var("OUT_DIR")?;
    for entry in fs::read_dir("builtin")? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a policy's name is not text")?;
        let parsed = fence_grammar::parse(&fs::read_to_string(&path)?);
        if let Some(error) = parsed.errors.first() {
            return Err(format!("{}: {error:?}", path.display()).into());
        }
        fs::write(Path::new(&out).join(name).with_extension("tree"), postcard::to_stdvec(&parsed.file)?)?;
    }
    Ok(())
}
