//! Options of programs that take the next word as their value, where they stand before a subcommand.

/// What an option does with the word after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Leaves,
    /// It takes it as its value.
    Takes,
    /// Nobody knows.
    Unknown,
}

/// The options, by the program's name, sorted.
const TABLE: &[(&str, &[&str])] = &[
    ("cargo", &["--config", "-Z", "-C", "--color"]),
    ("docker", &["-H", "--host", "-c", "--context", "--config", "--log-level", "-l"]),
    ("gh", &["-R", "--repo"]),
    ("git", &["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env"]),
    ("go", &["-C"]),
    ("kubectl", &["-n", "--namespace", "--context", "--kubeconfig", "--cluster", "--user", "-s", "--server"]),
    ("make", &["-C", "-f"]),
    ("npm", &["--prefix", "-w", "--workspace", "-C"]),
    ("podman", &["-c", "--connection", "--log-level", "--root", "--runroot", "--url"]),
    ("systemctl", &["-H", "--host", "-M", "--machine", "--root"]),
];

/// What an option of a program does with the next word. An option that the table does not name may do either.
pub(super) fn next(program: &str, option: &str) -> Next {
    if option.contains('=') || option == "-" || option == "--" {
        return Next::Leaves;
    }
    match TABLE.iter().find(|(name, _)| *name == program) {
        Some((_, options)) if options.contains(&option) => Next::Takes,
        _ => Next::Unknown,
    }
}

/// Whether a word chooses a toolchain, as `cargo +nightly` does: it is no subcommand.
pub(super) fn is_toolchain(program: &str, word: &str) -> bool {
    ["cargo", "rustc", "rustdoc"].contains(&program) && word.starts_with('+')
}
