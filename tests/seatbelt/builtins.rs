//! The profiles of the built-in policies, and what each must say.

use std::collections::{BTreeMap, BTreeSet};

use fence_compiler::diagnostic::{Code, Severity};
use fence_compiler::fidelity::Level;
use fence_compiler::lower::seatbelt::{Run, RunId};

use crate::agreement::Answers;
use crate::machine::{Lowered, RUN, TMP, files, host, lower, lower_for, policy};
use crate::profile::{Host, Request};

/// Words that stand in no profile, whatever the policy.
const NEVER: [&str; 10] = [
    "no-sandbox",
    "(allow default",
    "lsopen",
    "appleevent-send",
    "job-creation",
    "file-mount",
    "launchservicesd",
    "SecurityServer",
    "securityd",
    "#\"",
];

fn built_in(name: &str) -> Lowered {
    lower(policy(&format!("include {name}")), host(), files())
}

#[test]
fn every_built_in_policy_has_a_profile_that_says_nothing_forbidden() {
    for (name, _) in fence_policies::ALL {
        let lowered = built_in(name);
        let errors: Vec<_> =
            lowered.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let plan = lowered.plan();
        for word in NEVER {
            assert!(!plan.profile.contains(word), "{name}: {word}");
        }
        assert!(plan.bytes < 48 * 1024, "{name}: {}", plan.bytes);
        let remarks = plan.profile.lines().filter(|line| line.trim_start().starts_with(';'));
        assert!(remarks.clone().all(str::is_ascii), "{name}");
        assert!(plan.profile.starts_with("(version 1)\n"));
        // The same facts give the same bytes.
        assert_eq!(built_in(name).plan(), plan, "{name}");
        // Nothing goes out, no other process is seen, and no secret is handed out.
        let answers = Answers::new(lowered.profile());
        let refused = |operation: &str, request: &Request| {
            let said = answers.ask(operation, request);
            assert!(!said.some && !said.some_folded, "{name}: {operation} {request:?}: {said:?}");
        };
        refused("network-outbound", &Request::socket("remote", "tcp", Host::Other, 443));
        refused("network-outbound", &Request::socket("remote", "udp", Host::Other, 53));
        refused("network-outbound", &Request::path(b"/private/var/run/mDNSResponder"));
        refused("process-info-pidinfo", &Request::default());
        refused("signal", &Request::default());
        refused("sysctl-read", &Request::name("kern.procargs2"));
        refused("mach-lookup", &Request::name("com.apple.SecurityServer"));
        refused("mach-lookup", &Request::name("com.apple.coreservices.launchservicesd"));
        refused("file-write-setugid", &Request::path(b"/Users/ada/work/x"));
        refused("file-read-data", &Request::path(b"/Users/ada/.ssh/id_ed25519"));
        refused("file-write-data", &Request::path(b"/Users/ada/.zshrc"));
        refused("file-write-create", &Request::path(b"/Users/ada/work/policy.fence"));
    }
}

#[test]
fn the_default_policy_lets_work_go_on_and_nothing_else() {
    let lowered = built_in("default");
    let answers = Answers::new(lowered.profile());
    let work = "/Users/ada/work";
    for (operation, path, allowed) in [
        ("file-read-data", "/usr/bin/env", true),
        ("file-read-data", "/private/etc/hosts", true),
        ("file-read-data", "/Users/ada/dotfiles/vimrc", true),
        ("file-read-metadata", "/Users/ada/.vimrc", true),
        ("file-read-data", "/Users/ada/work/src/main.rs", true),
        ("file-write-data", "/Users/ada/work/src/main.rs", true),
        ("process-exec*", "/Users/ada/work/target/app", true),
        ("file-write-data", &format!("{TMP}/x"), true),
        ("process-exec*", "/usr/bin/env", true),
        ("file-read-data", "/dev/null", true),
        ("process-exec*", "/usr/bin/sudo", false),
        ("file-read-data", "/usr/bin/sudo", false),
        ("file-read-data", "/Users/ada/work/.env", false),
        ("file-read-data", "/Users/ada/work/.ENV", false),
        ("file-read-data", "/Users/ada/work/a/b/.env.local", false),
        ("file-read-data", "/Users/ada/work/deploy/server.key", false),
        ("file-write-data", "/Users/ada/work/.git/hooks/pre-commit", false),
        ("file-write-data", "/Users/ada/work/.git/Hooks/pre-commit", false),
        ("file-write-unlink", "/Users/ada/work/.git", false),
        ("file-write-unlink", work, false),
        ("file-write-data", "/usr/bin/env", false),
        ("file-read-data", "/Users/ada/Library/Keychains/login.keychain-db", false),
        ("file-read-data", "/Users/ada", false),
        ("file-read-metadata", "/Users/ada", true),
        ("file-read-data", "/private/tmp/other", false),
        ("file-read-data", "/dev/disk0", false),
        ("file-read-data", "/dev/ttys000", false),
    ] {
        let said = answers.ask(operation, &Request::path(path.as_bytes()));
        let fits = if allowed { said.all } else { !said.some && !said.some_folded };
        assert!(fits, "{operation} {path}: {said:?}\n{}", lowered.plan().profile);
    }
}

#[test]
fn the_profiles_of_the_built_in_policies() {
    let profiles: BTreeMap<&str, String> =
        fence_policies::ALL.iter().map(|(name, _)| (*name, built_in(name).plan().profile.clone())).collect();
    for (name, profile) in profiles {
        insta::assert_snapshot!(format!("profile_{}", name.replace('-', "_")), profile);
    }
}

#[test]
fn a_profile_that_is_too_large_is_an_error_that_names_its_largest_rules() {
    let items: Vec<String> = (0..800).map(|number| format!("$cwd/closed-{number}")).collect();
    let text = format!(
        "allow read write $cwd\ndeny read write {} as many\ndeny read $cwd/x as one",
        items.join(", ")
    );
    let lowered = lower(policy(&text), host(), files());
    let found = lowered.diagnostics.iter().find(|found| found.severity == Severity::Error).unwrap();
    assert_eq!(found.code, Code::ProfileTooLarge);
    let help = found.help.join("\n");
    let first = help.split("the largest parts are ").nth(1).unwrap();
    assert!(first.starts_with("many (policy.fence:2) with "), "{help}");
}

#[test]
fn services_are_opened_by_their_own_names() {
    let text = "on macos {\n  allow mach-register org.example.a\n  allow mach-lookup org.example.*\n  allow iokit IOSurfaceRootUserClient\n}";
    let lowered = lower(policy(text), host(), files());
    let answers = Answers::new(lowered.profile());
    for (operation, name, allowed) in [
        ("mach-register", "org.example.a", true),
        ("mach-register", "org.example.b", false),
        ("mach-lookup", "org.example.b", true),
        ("mach-lookup", "org.examplex", false),
        ("iokit-open", "IOSurfaceRootUserClient", true),
        ("iokit-open", "AppleKeyStoreUserClient", false),
    ] {
        let said = answers.ask(operation, &Request::name(name));
        let fits = if allowed { said.all } else { !said.some && !said.some_folded };
        assert!(fits, "{operation} {name}: {said:?}\n{}", lowered.plan().profile);
    }
}

#[test]
fn of_very_many_ports_only_those_are_listed_that_the_run_offers() {
    let run = Run { id: RunId::new(RUN).unwrap(), publish: BTreeSet::from([3000, 8080, 7000]) };
    let lowered = lower_for(run, policy("include dev-server"), host(), files());
    assert!(lowered.diagnostics.iter().all(|found| found.severity != Severity::Error));
    let answers = Answers::new(lowered.profile());
    for (port, open) in [(3000, true), (8080, true), (7000, false), (3001, false), (22, false)] {
        for operation in ["network-bind", "network-inbound"] {
            let said = answers.ask(operation, &Request::socket("local", "tcp", Host::Loopback, port));
            assert_eq!((said.all, said.some), (open, open), "{operation} {port}");
        }
    }
    let stricter = |what: &str| {
        let told = lowered.artifact.fidelity.iter();
        told.filter(|told| told.level == Level::Stricter)
            .flat_map(|told| &told.why)
            .any(|why| why.contains(what))
    };
    assert!(stricter("only those are opened that `--publish` names: `3000-3999`"));
}
