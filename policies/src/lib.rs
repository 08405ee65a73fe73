//! The policies that come with fence, as texts and as what the compiler makes of them.
//!
//! They are ordinary policies: `include base` reads the same text as `include "./base.fence"` would. Each
//! carries tests of its own, and every one of its rules is decided by at least one of them.
#![forbid(unsafe_code)]

/// Names a policy once: its text, and what the build script made of it.
macro_rules! built_in {
    ($($name:literal,)*) => {
        /// Every built-in policy, by name: the name and the text. Sorted by name.
        pub const ALL: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../builtin/", $name, ".fence")))),*];

        const PREPARED: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".prepared")))),*];
    };
}

built_in! {
    "agent-claude",
    "agent-codex",
    "agent-gemini",
    "base",
    "cargo",
    "ci",
    "code",
    "code-hosts",
    "code-strict",
    "default",
    "dev-server",
    "git-readonly",
    "metadata",
    "models",
    "npm",
    "persistence",
    "pip",
    "registries",
    "registry-debian",
    "registry-go",
    "registry-java",
    "registry-npm",
    "registry-python",
    "registry-ruby",
    "registry-rust",
    "releases",
    "secrets",
    "system-commands",
    "telemetry",
}

/// Returns the text of the built-in policy with this name.
///
/// `user` is none of them: it is the person's own policy, a file.
#[must_use]
pub fn get(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns what the compiler made of the built-in policy with this name when fence was built: for
/// `fence_compiler::source::Loader::prepared`.
#[must_use]
pub fn prepared(name: &str) -> Option<&'static [u8]> {
    PREPARED.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use fence_compiler::diagnostic::Diagnostic;
    use fence_compiler::policy::Policy;
    use fence_compiler::resolve::{Request, resolve};
    use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

    use super::*;

    #[test]
    fn names_are_sorted_and_each_stands_once() {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_text_is_found_by_its_name_alone() {
        for (name, text) in ALL {
            assert_eq!(get(name), Some(*text));
        }
        for other in ["user", "", "Base", "base.fence", "nothing"] {
            assert_eq!(get(other), None, "{other}");
        }
    }

    /// The built-in policies, as they were prepared or as texts.
    struct Library {
        reading: Reading,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Reading {
        Prepared,
        Text,
    }

    impl Loader for Library {
        fn load(&self, reference: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
            match reference {
                Reference::Name(name) if get(name).is_some() => Ok(source(name)),
                Reference::Name(_) => Err(LoadError::UnknownName { known: vec!["base".to_owned()] }),
                Reference::Path(_) => Err(LoadError::NoDirectory),
            }
        }

        fn prepared(&self, source: &Source) -> Option<&'static [u8]> {
            match &source.origin {
                Origin::BuiltIn(name) if self.reading == Reading::Prepared => prepared(name),
                _ => None,
            }
        }
    }

    fn source(name: &str) -> Source {
        Source {
            origin: Origin::BuiltIn(name.to_owned()),
            name: format!("<built-in {name}>"),
            text: get(name).unwrap().to_owned(),
        }
    }

    fn given(text: &str) -> Source {
        Source { origin: Origin::Given(text.to_owned()), name: "<given>".to_owned(), text: text.to_owned() }
    }

    fn resolved(request: &Request, reading: Reading) -> (Policy, Vec<Diagnostic>, Policy) {
        let resolved = resolve(request, &Library { reading });
        let alone = resolved.alone();
        (resolved.policy, resolved.diagnostics, alone)
    }

    #[test]
    fn a_prepared_policy_means_what_its_text_means() {
        let mut mains: Vec<Vec<Source>> = ALL.iter().map(|(name, _)| vec![source(name)]).collect();
        mains.push(ALL.iter().map(|(name, _)| source(name)).collect());
        for text in [
            "include default\nallow read ~/.ssh/id_rsa, ~/work\nnever read write ~/.cargo\n",
            "include default without any-command, dotenv, settings because \"closed\"\nallow run git\n",
            "include base without nothing-here because \"x\"\ninclude secrets without ssh-keys because \"x\"\n",
            "include default without npm-token\ninclude secrets\n",
            "include nobody\ninclude default\ntest \"t\" { allow read ~/x by dotenv }\n",
            "include default\nset env LC_ALL = C\ndeny env PATH\nlimit time 1h\n",
        ] {
            mains.push(vec![given(text)]);
            mains.push(vec![source("default"), given(text)]);
            mains.push(vec![given(text), source("base")]);
        }
        let no_set = Vec::new;
        let mut requests: Vec<Request> =
            mains.into_iter().map(|mains| Request { mains, set: no_set(), above: Vec::new() }).collect();
        let mains = vec![source("default")];
        let set = vec![("x".to_owned(), "y".to_owned())];
        requests.push(Request { mains: mains.clone(), set, above: Vec::new() });
        for above in [source("secrets"), given("include secrets\nnever read ~/x\n")] {
            requests.push(Request { mains: mains.clone(), set: no_set(), above: vec![above] });
        }
        for request in requests {
            let prepared = resolved(&request, Reading::Prepared);
            assert_eq!(prepared, resolved(&request, Reading::Text), "{request:?}");
        }
    }

    #[test]
    fn each_text_begins_with_the_version_and_its_own_name() {
        for (name, text) in ALL {
            let mut statements = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            assert_eq!(statements.next(), Some("fence 1"), "{name}");
            let header = statements.next().unwrap_or_default();
            assert!(header.starts_with(&format!("policy {name} \"")), "{name}: {header}");
        }
    }
}
