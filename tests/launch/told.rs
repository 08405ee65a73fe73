//! What is refused before the command runs, each in one sentence.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use fence_compiler::plan::{MaskKind, Writing};

use crate::Case;
use crate::plan::{mask, path, tree};
use crate::world::{Ran, World};

pub const CASES: &[Case] = &[
    ("a_missing_source_is_named", missing_source),
    ("a_program_that_cannot_run_is_told_apart", exec),
    ("refused_namespaces_are_explained", namespaces),
    ("a_directory_is_no_standard_descriptor", directory),
    ("a_standard_file_is_not_reopened_with_more_rights", reopening),
    ("standard_files_can_be_reopened_as_they_are", as_they_are),
    ("a_link_in_the_way_of_a_source_is_refused", link),
    ("a_directory_that_is_missing_to_start_in_is_named", start),
];

/// Checks that a run was refused with this code and exactly one sentence that holds these words.
fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "expected `{word}`: {ran:?}");
    }
}

fn missing_source(world: &World) {
    let mut plan = world.plan();
    plan.mounts.push(tree("/var/tmp/no such directory", Writing::Refused));
    let words = ["`/var/tmp/no such directory`", "ENOENT", "run it again"];
    refused(&world.shell(&plan, "true"), 125, &words);
}

fn exec(world: &World) {
    use std::os::unix::fs::PermissionsExt;
    let script = |name: &str, text: &str, mode| {
        let file = world.write(name, text);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    for (program, code, words) in [
        ("/usr/bin/no-such-program".to_owned(), 127, "no such file"),
        (script("plain", "x", 0o644), 126, "not executable"),
        (script("lost", "#!/no/such/interpreter\n", 0o755), 126, "interpreter"),
        (script("text", "echo hello\n", 0o755), 126, "`#!`"),
    ] {
        let ran = Ran::new(world.launch(&world.plan(), &[&program]).output().unwrap());
        refused(&ran, code, &[&program, words]);
    }
    let mut plan = world.plan();
    plan.landlock.rules.retain(|rule| rule.path != path("/usr"));
    refused(
        &Ran::new(world.launch(&plan, &["/usr/bin/true"]).output().unwrap()),
        126,
        &["/usr/bin/true", "exec"],
    );
}

fn namespaces(world: &World) {
    // A user namespace in which no further one may be made.
    let plan = world.launch(&world.plan(), &["/bin/true"]);
    let words: Vec<_> = [plan.get_program()].into_iter().chain(plan.get_args()).collect();
    let text = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", text, "sh"]);
    if world.user == crate::world::User::Ordinary && nix::unistd::geteuid().is_root() {
        println!("skipped: the ordinary user is made by root here, which the limit does not bind");
        return;
    }
    let ran = Ran::new(command.args(words).current_dir(&world.workspace).output().unwrap());
    refused(&ran, 125, &["namespaces", "ENOSPC", "user.max_user_namespaces"]);
}

fn directory(world: &World) {
    let mut command = world.launch(&world.plan(), &["/bin/true"]);
    let here = File::open(&world.workspace).unwrap();
    let ran = Ran::new(command.stdin(Stdio::from(OwnedFd::from(here))).output().unwrap());
    refused(&ran, 125, &["standard input", "directory", "/dev/null"]);
}

/// What a shell text yields with a file as its standard input.
fn with_input(world: &World, plan: &fence_compiler::plan::LinuxPlan, file: File, text: &str) -> Ran {
    let mut command = world.launch(plan, &["/bin/sh", "-c", text]);
    Ran::new(command.stdin(Stdio::from(file)).output().unwrap())
}

fn reopening(world: &World) {
    let file = world.write("config", "secret");
    let open = || File::open(&file).unwrap();
    let mut plan = world.plan();
    // The control: a file that the plan lets the command write anyway.
    with_input(world, &plan, open(), "cat; echo more > /proc/self/fd/0").fine();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "more\n");
    plan.mounts.push(mask(&file, MaskKind::File));
    refused(&with_input(world, &plan, open(), "cat"), 125, &["standard input", "config", "cat "]);
    // Outside of every rule, Landlock refuses it.
    let outside = world.outside.join("file");
    std::fs::write(&outside, "kept").unwrap();
    std::fs::set_permissions(&outside, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let ran =
        with_input(world, &world.plan(), File::open(&outside).unwrap(), "cat; echo more > /proc/self/fd/0");
    ran.refused("Permission denied");
    assert_eq!((ran.out.as_str(), std::fs::read_to_string(&outside).unwrap().as_str()), ("kept", "kept"));
}

fn as_they_are(world: &World) {
    let outside = world.outside.join("file");
    std::fs::write(&outside, "text").unwrap();
    std::fs::set_permissions(&outside, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let plan = world.plan();
    assert_eq!(with_input(world, &plan, File::open(&outside).unwrap(), "cat /dev/stdin").fine(), "text");
    let mut command =
        world.launch(&plan, &["/bin/sh", "-c", "echo new > /dev/stdout; echo newer > /dev/stdout"]);
    command.stdout(Stdio::from(File::create(&outside).unwrap()));
    assert!(command.status().unwrap().success());
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "newer\n");
}

fn link(world: &World) {
    let link = world.workspace.join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let mut plan = world.plan();
    plan.mounts.push(tree(link.join("ssl"), Writing::Refused));
    refused(&world.shell(&plan, "true"), 125, &["link/ssl", "ELOOP", "a link now stands in the way"]);
}

fn start(world: &World) {
    let mut plan = world.plan();
    plan.cwd = path(world.workspace.join("nowhere"));
    refused(&world.shell(&plan, "true"), 125, &["nowhere", "ENOENT", "-C"]);
}
