//! npm, pip, curl and Python with Landlock alone: what they are allowed to reach they reach through the proxy of the run.

use super::harness::{Ending, Scene, Suite};
use super::{OTHER, Said, Test, add_for_everybody, npm_registry, reachable, rule_for, run, succeeded};

/// Adds the tests for each person.
pub(super) fn add(suite: &mut Suite) {
    let tests: [(&str, Test); 2] = [
        ("npm installs from its registry with Landlock alone, and nothing else is reached", npm),
        ("pip downloads from its index with Landlock alone", pip),
    ];
    add_for_everybody(suite, &tests);
}

/// Runs a text for the shell under a policy with Landlock alone; what is written beside the workspace is the run's own.
fn inside(scene: &Scene, policy: &str, rule: &str, text: &str) -> Said {
    let fence = scene.fence().display().to_string();
    let text = format!("export HOME=$TMPDIR npm_config_cache=$TMPDIR/cache; {text}");
    let words =
        [&fence, "run", "--backend", "landlock", "-p", policy, "--rule", rule, "--", "/bin/sh", "-c", &text];
    run(scene, &words, &[])
}

fn npm(scene: &Scene) -> Result<(), String> {
    let Some(registry) = npm_registry(scene)? else { return Ok(()) };
    let policy = scene.policy("include base\nallow read write exec $workspace, $tmp\n").display().to_string();
    let rule = rule_for(&registry);
    let install = "npm init -y > /dev/null && npm install --no-audit --no-fund is-number express";
    succeeded(&inside(scene, &policy, &rule, install))?;
    for name in ["is-number", "express"] {
        if !scene.path(&format!("{{work}}/node_modules/{name}/package.json")).exists() {
            return Err(format!("`{name}` was not installed"));
        }
    }
    let url = format!("{registry}is-number");
    let python = format!("python3 -c \"import urllib.request as u; print(u.urlopen('{url}').status)\"");
    for text in [python, format!("curl -s -o /dev/null -w '%{{http_code}}\\n' {url}")] {
        let said = inside(scene, &policy, &rule, &text);
        if said.0 != Ending::Code(0) || !said.1.lines().any(|line| line == "200") {
            return Err(format!("{text}: {said:?}"));
        }
    }
    // Past the proxy, no name is found; through it, no rule allows another one.
    let past = inside(scene, &policy, &rule, &format!("curl -s --noproxy '*' {url}"));
    let other = inside(scene, &policy, &rule, &format!("curl -sf https://{OTHER}/"));
    let told = format!("to allow it, add: allow connect {OTHER}:443");
    if succeeded(&past).is_ok() || succeeded(&other).is_ok() || !other.1.contains(&told) {
        return Err(format!("{past:?}\n{other:?}"));
    }
    Ok(())
}

fn pip(scene: &Scene) -> Result<(), String> {
    if !reachable(&run(scene, &["/usr/bin/python3", "-m", "venv", "v"], &[]))? {
        return Ok(());
    }
    let asked = run(scene, &["./v/bin/pip", "config", "get", "global.index-url"], &[]);
    let rule = match asked {
        (Ending::Code(0), url) => rule_for(url.lines().next().unwrap_or_default()),
        _ => "allow connect localhost:1".to_owned(),
    };
    let download = "./v/bin/pip download -q --no-deps --retries 0 -d";
    if !reachable(&run(scene, &["/bin/sh", "-c", &format!("{download} got six")], &[]))? {
        return Ok(());
    }
    let text = format!("{download} $TMPDIR/got six && ls $TMPDIR/got");
    let said = inside(scene, "pip", &rule, &text);
    succeeded(&said)?;
    if said.1.contains("six-") { Ok(()) } else { Err(said.1) }
}
