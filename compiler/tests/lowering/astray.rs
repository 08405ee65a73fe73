//! Which links would bring what lies beneath their targets to closed names.

use fence_compiler::paths::PathRules;
use fence_compiler::policy::PathAction;
use fence_compiler::question::Platform;
use fence_compiler::world::World;

use super::machine::path;
use super::written::policy;

const POLICY: &str = "
    allow write /w except /w/z/*/q
    deny write /w/a/*/key
    deny write **/.git/config
";

#[test]
fn a_link_leads_astray_where_a_pattern_goes_on_beneath_it_and_not_beneath_its_target() {
    let world = World::test_default(Platform::Linux);
    let rules = PathRules::new(&policy(POLICY), &world, world.clone());
    let astray = |link: &str, target: Option<&str>, action| {
        rules.leads_astray(&path(link), target.map(path).as_ref(), &[action])
    };
    for (link, target, expected) in [
        ("/w/link", Some("/w/other"), false),
        ("/w/a/link", Some("/w/other"), true),
        ("/w/a/link", Some("/w/a/other"), false),
        ("/w/a/link", Some("/w/a"), true),
        // What is closed itself stays so.
        ("/w/a/link", Some("/w/a/b/key"), false),
        ("/w/.git/config", Some("/w/other"), false),
        ("/w/.git", Some("/w/other"), true),
        ("/w/.git", Some("/w/x/.git"), false),
        ("/w/x/y/.git", Some("/w/.git/z"), true),
        ("/w/z/link", Some("/w/other"), true),
        // Nothing is written there.
        ("/w/.git", Some("/srv/other"), false),
        ("/w/.git", Some("/"), true),
        // It may lead to anything.
        ("/w/link", None, false),
        ("/w/a/link", None, true),
        ("/w/.git", None, true),
    ] {
        assert_eq!(astray(link, target, PathAction::Write), expected, "{link} {target:?}");
        assert!(!astray(link, target, PathAction::Read), "{link} {target:?}");
    }
}
