//! Policies in memory: files by name, and the built-in ones.
#![allow(dead_code)]

use std::collections::BTreeMap;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::diagnostic::Diagnostic;
use fence_compiler::resolve::{Request, Resolved, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

/// Files by their name, all in one directory, beside the built-in policies.
#[derive(Clone, Debug, Default)]
pub struct Texts(pub BTreeMap<String, String>);

impl Texts {
    /// These files.
    pub fn new(files: &[(&str, &str)]) -> Texts {
        Texts(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    /// One of the files.
    pub fn source(&self, name: &str) -> Source {
        file(name, &self.0[name])
    }

    /// Resolves the union of some of them.
    pub fn resolve(&self, mains: &[&str]) -> Resolved {
        let mains = mains.iter().map(|name| self.source(name)).collect();
        resolve(&Request { mains, ..Request::default() }, self)
    }
}

impl Loader for Texts {
    fn load(&self, reference: Reference<'_>, from: &Origin) -> Result<Source, LoadError> {
        match reference {
            Reference::Name(name) => {
                fence_policies::get(name).map(|text| built_in(name, text)).ok_or_else(|| {
                    LoadError::UnknownName {
                        known: fence_policies::ALL.iter().map(|(name, _)| (*name).to_owned()).collect(),
                    }
                })
            }
            Reference::Path(_) if !matches!(from, Origin::File(_)) => Err(LoadError::NoDirectory),
            Reference::Path(path) => {
                let name = path.trim_start_matches("./");
                match self.0.get(name) {
                    Some(text) => Ok(file(name, text)),
                    None => Err(LoadError::Unreadable { reason: "no such file".to_owned() }),
                }
            }
        }
    }
}

/// A file of the directory.
pub fn file(name: &str, text: &str) -> Source {
    let path = AbsolutePath::new(format!("/policies/{name}").as_bytes()).expect("an absolute path");
    Source { origin: Origin::File(path), name: name.to_owned(), text: text.to_owned() }
}

/// A text given on the command line.
pub fn given(text: &str) -> Source {
    Source { origin: Origin::Given("--rule".to_owned()), name: "--rule".to_owned(), text: text.to_owned() }
}

/// A policy that comes with fence.
pub fn built_in(name: &str, text: &str) -> Source {
    Source {
        origin: Origin::BuiltIn(name.to_owned()),
        name: format!("<built-in {name}>"),
        text: text.to_owned(),
    }
}

/// Code and line of each finding, in order.
pub fn told(resolved: &Resolved) -> Vec<(&'static str, u32)> {
    let line = |found: &Diagnostic| {
        found.place.and_then(|place| resolved.sources.line_column(place)).map_or(0, |(line, _)| line)
    };
    resolved.diagnostics.iter().map(|found| (found.code.name(), line(found))).collect()
}
