//! The names that a policy gives: what they may look like, and what a wrong one was likely meant to be.

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// A rule's label.
    Label,
    /// The name of a policy.
    Policy,
    /// The name of a `let`.
    Variable,
}

impl Name {
    /// Whether a text is such a name: `a`-`z`, digits and the joint, a letter first.
    #[must_use]
    pub fn accepts(self, name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == self.joint())
    }

    /// The name that was likely meant, if it is one.
    #[must_use]
    pub fn mended(self, name: &str) -> Option<String> {
        let joint = self.joint().to_string();
        let name = name.trim_start_matches('$').to_lowercase().replace(['-', '_', ' ', '.', '/'], &joint);
        self.accepts(&name).then_some(name)
    }

    /// What it is called in a message, and the characters it may have.
    #[must_use]
    pub fn described(self) -> (&'static str, &'static str) {
        match self {
            Name::Label => ("label", "`a`-`z`, digits and `-`"),
            Name::Policy => ("policy name", "`a`-`z`, digits and `-`"),
            Name::Variable => ("variable name", "`a`-`z`, digits and `_`"),
        }
    }

    fn joint(self) -> char {
        if self == Name::Variable { '_' } else { '-' }
    }
}
