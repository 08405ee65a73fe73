//! `fence fmt`

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::diagnostic::render;
use fence_compiler::document::{Converted, Form, Unconverted, convert};
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

use super::arguments::{Fmt, FormName};
use super::screen::{Screen, Verbosity};
use crate::audit::visible;
use crate::load::{Trustees, read};

/// Writes policies in their canonical form, or in another.
pub(super) fn fmt(arguments: &Fmt, screen: Screen) -> anyhow::Result<u8> {
    let mut worst = 0;
    for file in &arguments.files {
        let code = match one(arguments, file, screen) {
            Ok(code) => code,
            Err(error) => {
                screen.say(&visible(&super::in_words(&format!("{error:#}"))));
                super::UNABLE
            }
        };
        worst = worst.max(code);
    }
    Ok(worst)
}

fn one(arguments: &Fmt, file: &OsStr, screen: Screen) -> anyhow::Result<u8> {
    let shown = visible(&file.to_string_lossy());
    let (target, text, from) = if file == "-" {
        let mut text = String::new();
        std::io::stdin().take(MOST + 1).read_to_string(&mut text).context("cannot read standard input")?;
        if text.len() as u64 > MOST {
            bail!("standard input is larger than a policy can be");
        }
        (None, text, form(arguments.stdin_form))
    } else {
        let real = Path::new(file).canonicalize().with_context(|| format!("cannot read `{shown}`"))?;
        let path = AbsolutePath::new(real.as_os_str().as_bytes()).context("a path that is not absolute")?;
        let text = read(&path, Trustees::Anybody).with_context(|| format!("cannot read `{shown}`"))?;
        (Some(real), text, Form::of(file.as_bytes()))
    };
    let to = arguments.to.map_or(from, form);
    let Some(Converted { text: written, comments_lost }) = converted(&text, from, to, file, screen)? else {
        return Ok(super::UNABLE);
    };
    if comments_lost > 0 && screen.verbosity > Verbosity::Quiet {
        let comments = if comments_lost == 1 { "comment is" } else { "comments are" };
        screen.say(&format!("{shown}: {comments_lost} {comments} left out, JSON has none"));
    }
    match target {
        _ if arguments.check && written != text => {
            screen.print(&format!("{shown}\n"))?;
            Ok(1)
        }
        _ if arguments.check => Ok(0),
        Some(target) if arguments.to.is_none() => {
            if written != text {
                replace(&target, &text, &written).with_context(|| format!("cannot write `{shown}`"))?;
            }
            Ok(0)
        }
        _ => {
            screen.print(&written)?;
            Ok(0)
        }
    }
}

/// The largest text on standard input.
const MOST: u64 = 16 * 1024 * 1024;

fn form(name: FormName) -> Form {
    match name {
        FormName::Fence => Form::Fence,
        FormName::Yaml => Form::Yaml,
        FormName::Json => Form::Json,
    }
}

/// The text in its form; `None` where mistakes were told instead.
fn converted(
    text: &str,
    from: Form,
    to: Form,
    file: &OsStr,
    screen: Screen,
) -> anyhow::Result<Option<Converted>> {
    match convert(text, from, to) {
        Ok(converted) => Ok(Some(converted)),
        Err(Unconverted::Mistakes(_)) => {
            let found = mistakes(text, from, file);
            screen.tell(&render::text(&found.diagnostics, &found.sources, screen.err));
            Ok(None)
        }
        Err(Unconverted::Differs) => Err(anyhow!(
            "`{}` says something that this form cannot hold, such as one name twice; nothing was written",
            visible(&file.to_string_lossy())
        )),
    }
}

/// What is wrong with a text by itself.
fn mistakes(text: &str, from: Form, file: &OsStr) -> fence_compiler::resolve::Resolved {
    struct Nothing;
    impl Loader for Nothing {
        fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
            Err(LoadError::NoDirectory)
        }
    }
    // The name says the form, whatever standard input is called.
    let name: &[u8] = match from {
        Form::Fence => b"/policy.fence",
        Form::Yaml => b"/policy.yaml",
        Form::Json => b"/policy.json",
    };
    let path = AbsolutePath::new(name).unwrap_or_else(AbsolutePath::root);
    let name = if file == "-" { "<standard input>".to_owned() } else { visible(&file.to_string_lossy()) };
    let main = Source { origin: Origin::File(path), name, text: text.to_owned() };
    let mut found = resolve(&Request { mains: vec![main], ..Request::default() }, &Nothing);
    // Only what keeps the text from being read: includes are not looked for here.
    found.diagnostics.retain(|found| found.code.name() < "E0202");
    found
}

/// Puts a new text in the place of a file in one step: at every moment there is the old one or the new one.
fn replace(path: &Path, old: &str, new: &str) -> anyhow::Result<()> {
    let known = fs::metadata(path)?;
    if known.permissions().mode() & 0o222 == 0 {
        bail!("it is read-only");
    }
    if known.nlink() > 1 {
        bail!("it has {} names, and a new file would part them", known.nlink());
    }
    let (folder, beside) = beside(path)?;
    let result = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&beside)?;
        file.write_all(new.as_bytes())?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (known.uid(), known.gid()) {
            std::os::unix::fs::fchown(&file, Some(known.uid()), Some(known.gid()))
                .context("its owner cannot be kept")?;
        }
        file.set_permissions(known.permissions())?;
        file.sync_all()?;
        if fs::read(path)? != old.as_bytes() {
            bail!("it was changed meanwhile");
        }
        fs::rename(&beside, path)?;
        Ok(())
    })();
    match result {
        Ok(()) => {
            // The name is on disk once its directory is; where that cannot be asked for, the file is whole all the same.
            let _ = fs::File::open(&folder).and_then(|folder| folder.sync_all());
            Ok(())
        }
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// A name beside a file that nothing has yet.
fn beside(path: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let folder = path.parent().context("it lies in no directory")?.to_owned();
    let name = path.file_name().context("it has no name")?;
    for number in 0..100 {
        let mut hidden = OsStr::new(".").to_owned();
        hidden.push(name);
        hidden.push(format!(".{}-{number}.tmp", std::process::id()));
        let beside = folder.join(hidden);
        if fs::symlink_metadata(&beside).is_err() {
            return Ok((folder, beside));
        }
    }
    bail!("too many unfinished files lie beside it")
}
