use fence_compiler::question::Verdict;

use super::{EVENT_VERSION, Event, EventRule, EventSource, Timestamp};

fn hostile() -> Event {
    Event {
        event: EVENT_VERSION,
        time: Timestamp::from_unix_millis(1_795_000_000_123),
        source: EventSource::Preflight,
        action: "run".into(),
        item: "a\x1b[2Jb\n\u{202e}c\u{9b}".into(),
        verdict: Verdict::Denied,
        rules: vec![EventRule {
            file: "p\x07.fence".into(),
            line: 3,
            label: Some("x".into()),
            because: None,
        }],
        reason: None,
        address: None,
        pid: Some(7),
        program: Some("/bin/\x7f".into()),
    }
}

#[test]
fn a_line_for_a_person_holds_no_control_character() {
    let line = hostile().told();
    assert_eq!(line, "refused run a\\u{1b}[2Jb\\n\\u{202e}c\\u{9b}: p\\u{7}.fence:3 [x]");
}

#[test]
fn an_event_is_one_line_of_visible_json_and_comes_back_the_same() {
    let line = hostile().to_json_line();
    assert!(!line.chars().any(super::text::is_hidden), "{line}");
    assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), hostile());
}
