//! What the system's log tells of a run, as it comes.

use fence::macos::Heard;

use crate::Case;
use crate::scene::{RUN, Scene};

pub const CASES: &[Case] = &[
    ("a_refusal_is_told_while_the_command_runs_and_leads_to_its_rule", at_once),
    ("lines_that_come_in_pieces_are_read_whole", slowly),
    ("what_is_no_line_about_this_run_is_left_out", garbage),
    ("the_same_again_is_told_a_few_times_and_of_very_many_not_each", many),
    ("a_log_that_ends_early_is_told", early),
    ("a_log_that_never_ends_ends_with_the_run", never),
    ("what_was_written_before_the_end_is_told", last_moment),
    ("without_anybody_who_listens_no_log_is_read", nobody),
    ("a_log_that_cannot_be_started_is_an_error", missing),
];

const RULES: &str = "allow read /w\ndeny read \"/w/a b\" as notes because \"they are private\"";

/// A line of `log stream` about this run, for `printf '%s\n'`.
fn line(operation: &str, target: &str, tag: &str) -> String {
    let text = format!("Sandbox: cat(7) deny(1) {operation} {target}\nfence:{RUN}:{tag}");
    serde_json::json!({ "eventMessage": text }).to_string()
}

fn told(heard: &[Heard]) -> Vec<String> {
    let line = |heard: &Heard| match heard {
        Heard::Told(told) => told.line(),
        Heard::Note(text) => format!("note: {text}"),
        Heard::Further(source, times) => format!("{times} more by {source:?}"),
    };
    heard.iter().map(line).collect()
}

const WAIT: &str = "n=0; while [ ! -e go ]; do sleep 0.01; n=$((n+1)); [ $n != 3000 ] || exit 9; done";

fn at_once() {
    let scene = Scene::new(RULES).with_log(&format!(
        "echo 'Filtering the log data using \"x\"'; printf '%s\\n' '{}' '{}'; exec sleep 300",
        line("file-read-data", "/w/a b", "1"),
        line("mach-lookup", "com.apple.x", "default"),
    ));
    let mut all = Vec::new();
    // The command goes on when the second refusal has been heard.
    let ended = scene.hear(WAIT, &mut |heard| {
        all.push(heard);
        if all.len() == 2 {
            scene.write("go", "");
        }
    });
    assert_eq!(ended.unwrap().outcome.exit_code(), 0);
    assert_eq!(
        told(&all),
        [
            "refused read /w/a b: test:4 [notes] because \"they are private\"; to allow it, add to the rule at test:4: except \"/w/a b\"",
            "refused mach-lookup com.apple.x: nothing allows it; to allow it, add: allow mach-lookup com.apple.x",
        ]
    );
    let arguments = scene.read("log.arguments");
    assert_eq!(
        arguments.lines().collect::<Vec<_>>(),
        ["stream", "--style", "ndjson", "--predicate", &format!("eventMessage CONTAINS \"fence:{RUN}:\"")]
    );
}

fn slowly() {
    let whole = line("file-read-data", "/w/a b", "1");
    let (one, two) = whole.split_at(40);
    let scene = Scene::new(RULES)
        .with_log(&format!("printf '%s' '{one}'; touch go; while [ ! -e on ]; do sleep 0.01; done; printf '%s\\n' '{two}'; exec sleep 300"));
    // The rest comes while the command runs, after the first half has lain there.
    let text = format!(
        "{WAIT}; touch on; n=0; while [ ! -e heard ]; do sleep 0.01; n=$((n+1)); [ $n != 3000 ] || exit 9; done"
    );
    let mut all = Vec::new();
    let ended = scene.hear(&text, &mut |heard| {
        all.push(heard);
        scene.write("heard", "");
    });
    assert_eq!(ended.unwrap().outcome.exit_code(), 0);
    assert_eq!(told(&all).len(), 1);
}

fn garbage() {
    let good = line("file-read-data", "/w/x", "default");
    let other = good.replace(RUN, "ffffffffffffffff");
    let text = format!(
        "printf '\\377\\376\\000\\n'; echo; echo '{{'; echo '[]'; echo '{{\"eventMessage\":7}}'; echo '{{\"eventMessage\":\"x\"}}'; printf '%s\\n' '{other}'; head -c 1000000 /dev/zero | tr '\\0' x; echo; printf '%s\\n' '{good}'; exec sleep 300"
    );
    let scene = Scene::new(RULES).with_log(&text);
    let mut all = Vec::new();
    let ended = scene.hear(WAIT, &mut |heard| {
        all.push(heard);
        scene.write("go", "");
    });
    assert_eq!(ended.unwrap().outcome.exit_code(), 0);
    assert_eq!(told(&all), ["refused read /w/x: nothing allows it; to allow it, add: allow read /w/x"]);
}

fn many() {
    let same = line("file-read-data", "/w/same", "default");
    let different = line("file-read-data", "/w/NUMBER", "default");
    let last = line("file-read-data", "/w/last", "1");
    let text = format!(
        "i=0; while [ $i -lt 100 ]; do printf '%s\\n' '{same}'; i=$((i+1)); done; seq 3000 | sed 's|.*|{}|'; printf '%s\\n' '{last}'; touch written; exec sleep 300",
        different.replace('\\', "\\\\").replace("NUMBER", "&"),
    );
    let scene = Scene::new(RULES).with_log(&text);
    let (ended, heard) = scene.run("while [ ! -e written ]; do sleep 0.01; done");
    assert_eq!(ended.unwrap().outcome.exit_code(), 0);
    let told = told(&heard);
    let count = |what: &str| told.iter().filter(|told| told.contains(what)).count();
    assert_eq!(count("/w/same"), 8);
    assert!(told.len() < 1100, "{}", told.len());
    // 3,000 and the last one, less the 1,023 that are kept apart beside `/w/same`.
    assert_eq!(told.last().unwrap(), "1978 more by Kernel");
}

fn early() {
    let one = line("file-read-data", "/w/x", "default");
    let scene = Scene::new(RULES).with_log(&format!("printf '%s\\n' '{one}'; exit 64"));
    let mut all = Vec::new();
    let ended = scene.hear(WAIT, &mut |heard| {
        all.push(heard);
        if all.len() == 2 {
            scene.write("go", "");
        }
    });
    assert_eq!(ended.unwrap().outcome.exit_code(), 0);
    let told = told(&all);
    assert!(told[0].starts_with("refused read /w/x"), "{told:?}");
    assert!(told[1].starts_with("note: `log stream` ended before the command"), "{told:?}");
}

fn never() {
    // It takes no notice of a request to end, and what it has started holds its output.
    let scene = Scene::new(RULES).with_log(
        "trap '' TERM HUP INT; echo $$ > log.pid; sleep 300 & echo $! > held.pid; while :; do sleep 1; done",
    );
    let (ended, heard) = scene.run("while [ ! -e held.pid ]; do sleep 0.01; done; exit 4");
    assert_eq!(ended.unwrap().outcome.exit_code(), 4);
    assert_eq!(told(&heard), Vec::<String>::new());
    crate::scene::await_end(scene.read("log.pid").trim());
    let held: i32 = scene.read("held.pid").trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(held), nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn last_moment() {
    let one = line("file-read-data", "/w/x", "default");
    let scene = Scene::new(RULES).with_log(&format!("printf '%s\\n' '{one}'; touch written; exec sleep 300"));
    let (ended, heard) = scene.run("while [ ! -e written ]; do sleep 0.01; done; exit 5");
    assert_eq!(ended.unwrap().outcome.exit_code(), 5);
    assert_eq!(told(&heard).len(), 1, "{heard:?}");
}

fn nobody() {
    let scene = Scene::new(RULES);
    assert_eq!(scene.events("exit 4").0, 4);
    assert!(!scene.at_name("log.arguments").exists());
}

fn missing() {
    let scene = Scene::new(RULES).with_log("exit 0");
    std::fs::remove_file(scene.at_name("log")).unwrap();
    let error = scene.run("touch ran").0.unwrap_err().to_string();
    assert!(error.contains("cannot start") && !scene.at_name("ran").exists(), "{error}");
}
