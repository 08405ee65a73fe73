//! `docs/security.md`: every attack of this suite, with what shows that it is one, and what it comes to by backend.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::harness::{Backend, Control, Difference, Expect, Group, Person, Suite, Then};

const HEAD: &str = "\
# What is attacked

Each row is a test that runs the built program: a sandbox is made, the attack is tried in it, and the home, the workspace and a
directory outside are compared before and after. The attack has to come to nothing, and its control, which shows that it is
one, to the opposite: without fence it succeeds, or without the one rule under test. Between the attacks stands ordinary work
that has to go on (*works* inside). A few rows have no control, and say why.

`.ci/run` runs all of them with fence's own backend, with bubblewrap (`--backend bwrap`) and with Landlock and seccomp alone
(`--backend landlock`), and fails if one does not come to what stands here; `cargo test --workspace` alone leaves the other backends out.
With fence's own backend they are run as root and as an ordinary person where the tests are run by root, and no row is expected to fail;
with the others as an ordinary person, and with `FENCE_TEST_BACKENDS=everybody` as root too. With the others a row *holds* as it does with fence's
own; or fence *does not start* it, because it would not be held, and says so; or it comes to something else, and a number leads to the
mechanism that is missing. This page is written by the suite, which fails too when it is stale. The cases are the files in
[tests/attacks/cases](../tests/attacks/cases), the differences are [tests/attacks/backends.yaml](../tests/attacks/backends.yaml). What
each part of the language comes to with each backend is in [fidelity.md](fidelity.md).
";

/// Adds the test that the page is not stale.
pub fn add(suite: &mut Suite, groups: Vec<(String, Group)>, differences: Vec<Difference>) {
    suite.add("docs/security.md has every attack", &Person::oneself(), move || {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
        let written = page(&groups, &differences);
        if std::env::var_os("FENCE_UPDATE").is_some() {
            return fs::write(&path, written).map_err(|error| error.to_string());
        }
        if fs::read_to_string(&path).is_ok_and(|kept| kept == written) {
            return Ok(());
        }
        Err("docs/security.md is stale: `FENCE_UPDATE=1 cargo test -p fence-sandbox --test attacks security.md` renews it"
            .to_owned())
    });
}

fn page(groups: &[(String, Group)], differences: &[Difference]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## What is missing with the other backends\n\n");
    for (number, difference) in (1..).zip(differences) {
        let backends: Vec<&str> = difference.backends.iter().map(|backend| told(*backend)).collect();
        let _ = writeln!(page, "{number}. {}: {}.", backends.join(" and "), difference.because);
    }
    for (name, group) in groups {
        let _ = write!(page, "\n## {}\n\n`{name}`\n", group.about);
        if !group.cases.is_empty() {
            page.push_str("\n| what holds | as | inside | control | bubblewrap | Landlock alone |\n| --- | --- | --- | --- | --- | --- |\n");
        }
        for case in &group.cases {
            let inside = match case.expect {
                Expect::Allowed => "works",
                Expect::Denied => "fails",
                Expect::Refused => "does not start",
            };
            let rule = case.rule.as_ref().or(group.rule.as_ref().filter(|_| case.policy.is_none()));
            let control = match (&case.control, rule, &case.unless) {
                (Some(Control::None(why)), ..) => format!("none: {why}"),
                (Some(Control::Policy(_)), ..) => "the opposite under another policy".to_owned(),
                (Some(Control::Unfenced), ..) | (Some(Control::WithoutRule) | None, None, None) => {
                    "succeeds without fence".to_owned()
                }
                (Some(Control::Sh(text)), ..) => format!("without fence, {} succeeds", code(text)),
                (_, Some(rule), _) => format!("the opposite without {}", code(rule)),
                (_, None, Some(line)) => format!("the opposite with {}", code(line)),
            };
            let _ = writeln!(
                page,
                "| {} | {} | {inside} | {} | {} | {} |",
                cell(&case.name),
                case.persons.join(", "),
                control.replace('|', "\\|"),
                by(Backend::Bwrap, &format!("{name}::{}", case.name), differences),
                by(Backend::Landlock, &format!("{name}::{}", case.name), differences),
            );
        }
        if !group.calls.is_empty() {
            page.push_str(
                "\nAsked with fence's own backend:\n\n| call | inside | outside |\n| --- | --- | --- |\n",
            );
        }
        for call in &group.calls {
            let _ = writeln!(
                page,
                "| {} | {} | {} |",
                code(&call.call),
                call.inside.join(" or "),
                call.outside.join(" or ")
            );
        }
    }
    page
}

/// What a backend is called here.
fn told(backend: Backend) -> &'static str {
    match backend {
        Backend::Bwrap => "bubblewrap",
        Backend::Landlock => "Landlock alone",
    }
}

/// What a case comes to with a backend.
fn by(backend: Backend, case: &str, differences: &[Difference]) -> String {
    let differs = |difference: &&Difference| {
        difference.backends.contains(&backend) && difference.cases.iter().any(|other| other == case)
    };
    let Some((number, difference)) = (1..).zip(differences).find(|(_, difference)| differs(difference))
    else {
        return "holds".to_owned();
    };
    if let Some(before) = difference.before_landlock {
        return format!("holds; before version {before} of Landlock see ({number})");
    }
    match difference.then {
        Then::DoesNotStart => format!("does not start ({number})"),
        Then::Differs => format!("differs ({number})"),
    }
}

/// A text as code in one cell.
fn code(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let ticks = if line.contains('`') { "``" } else { "`" };
    format!("{ticks}{}{ticks}", line.replace('|', "\\|"))
}

/// A sentence in one cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
