//! No name becomes another rule: it is a literal in the profile, byte for byte, or an error.

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::diagnostic::Code;
use fence_compiler::host::FileFacts;
use fence_compiler::lower::seatbelt::Quoted;

use crate::machine::{host, lower, policy, read};
use crate::profile::{Filter, Reading, Request};
use crate::reader::{Node, RawEnd};
use crate::table::catalina;

/// Names that break profiles which are pasted together.
fn names() -> Vec<Vec<u8>> {
    let parts = [
        "\"",
        "\\",
        "\\\\",
        "\\\"",
        "\"\\",
        "#\"",
        "\"#",
        "#\"a\"",
        "(",
        ")",
        "()",
        ")(",
        ";",
        "; x",
        ";)",
        "#|",
        "|#",
        "'",
        "`",
        ",",
        ",@",
        "[",
        "]",
        "[a]",
        "[!a]",
        "[^a]",
        "{",
        "}",
        "{1,2}",
        "*",
        "**",
        "?",
        "+",
        "|",
        "^",
        "$",
        "..x",
        "\\n",
        "\\t",
        "\\r",
        "\\x41",
        "\\x2f",
        "\\101",
        "\\u0041",
        "\\u{41}",
        "\\U00000041",
        "%s",
        "%2f",
        "${HOME}",
        "$HOME",
        "$(id)",
        "~",
        "-D",
        "-f",
        "--",
        "(?:a)",
        "(?i)a",
        "\\d",
        "\\.",
        "\\/",
        "a b",
        " a",
        "a ",
        "é",
        "e\u{301}",
        "É",
        "ß",
        "ﬀ",
        "K",
        "日本",
        "\u{1f512}",
        "\u{200b}",
        "\u{202e}x",
        "\u{feff}",
        "\u{2028}",
        "x\") (allow default) (deny file-read* (literal \"y",
        "x\"))(allow default)(deny default (literal \"",
        "\\\") (allow default) ;",
        "\\\\\") (allow default) ;",
        "x\";(allow default)",
        "\"(param \"TMP\")\"",
        "(param \"PROXY\")",
        "(with no-sandbox)",
        "(import \"system.sb\")",
        "(version 1)",
        "#t",
        "#f",
        "#\\a",
        "#x41",
        "nil",
        "0",
        "-1",
        "1e9",
        "CON",
        "a\u{300}\u{301}",
        "ı",
        "ſ",
        "::",
        "a:b",
        "=",
        "a=b",
        "&",
        "&&",
        "<x>",
        "!",
        "@",
        "\u{a0}",
        "\u{7f}x",
        "a\nb",
        "\n",
        "a\r",
        "\t",
        "a\tb",
        "\u{1b}[31m",
        "\u{85}",
        "\u{0}x",
    ];
    let mut names: Vec<Vec<u8>> = parts
        .iter()
        .map(|part| part.replace('\0', "\u{1}").into_bytes())
        .filter(|name| !name.contains(&b'/'))
        .collect();
    names.push(vec![0xff]);
    names.push(b"a\xc3".to_vec());
    names.push(vec![b'a'; 1023 - "/Users/ada/".len()]);
    names.push(vec![b'a'; 1024 - "/Users/ada/".len()]);
    names
}

#[test]
fn a_name_is_a_literal_or_an_error() {
    let names = names();
    assert!(names.len() >= 100, "{}", names.len());
    let policy = policy("allow read write $cwd\ndeny read write $cwd/s");
    let shape = {
        let mut plain = host();
        plain.cwd = AbsolutePath::new(b"/Users/ada/plain").unwrap();
        let lowered = lower(policy.clone(), plain, FileFacts::default());
        shape(&lowered.plan().profile)
    };
    let table = catalina();
    let mut refused = 0;
    for name in &names {
        let shown = String::from_utf8_lossy(name).into_owned();
        let mut here = host();
        here.cwd = AbsolutePath::new(b"/Users/ada").unwrap().join(name);
        let cwd = here.cwd.clone();
        let lowered = lower(policy.clone(), here, FileFacts::default());
        let is_refusal = |code| matches!(code, Code::NotInAProfile | Code::NoValueToClose);
        if lowered.diagnostics.iter().any(|found| is_refusal(found.code)) {
            refused += 1;
            continue;
        }
        assert_eq!(lowered.diagnostics, [], "{shown}");
        assert_eq!(self::shape(&lowered.plan().profile), shape, "{shown}");
        let profile = read(&lowered.plan().profile);
        let asked = |at: &AbsolutePath| {
            profile.allows(table, "file-read-data", &Request::path(at.as_bytes()), Reading::likely())
        };
        assert!(asked(&cwd) && asked(&cwd.join(b"x")), "{shown}");
        assert!(!asked(&cwd.join(b"s")) && !asked(&cwd.join(b"S")), "{shown}");
        assert!(!asked(&cwd.parent().unwrap().join(b"other")), "{shown}");
    }
    assert_eq!(refused, names.iter().filter(|name| cannot(name)).count());
}

/// Whether no profile holds a name: what is told is told for a reason.
fn cannot(name: &[u8]) -> bool {
    match std::str::from_utf8(name) {
        Ok(text) => {
            text.chars().any(char::is_control) || name.len() + "/Users/ada/".len() > 1023 - "/s".len()
        }
        Err(_) => true,
    }
}

/// The words of a profile: everything but its texts, so that no text can have become a form.
fn shape(profile: &str) -> Vec<String> {
    fn words(node: &Node, shape: &mut Vec<String>) {
        match node {
            Node::Word(word) => shape.push(word.clone()),
            Node::Text(_) => shape.push("\"\"".to_owned()),
            Node::List(parts) => {
                shape.push("(".to_owned());
                parts.iter().for_each(|part| words(part, shape));
                shape.push(")".to_owned());
            }
        }
    }
    let mut shape = Vec::new();
    for form in crate::reader::read(profile, RawEnd::FirstQuote).unwrap() {
        words(&form, &mut shape);
    }
    shape
}

/// Every text that is accepted is read back as it was, whichever way raw strings end: there are none.
#[test]
fn every_accepted_text_is_read_back() {
    let mut texts: Vec<Vec<u8>> = names();
    texts.extend((' '..='~').map(|c| c.to_string().into_bytes()));
    texts.extend(('\u{a1}'..'\u{500}').map(|c| format!("{c}\\{c}\"").into_bytes()));
    for text in texts {
        let accepted = Quoted::new(&text).is_ok();
        let is_plain = std::str::from_utf8(&text).is_ok_and(|text| !text.chars().any(char::is_control));
        assert_eq!(accepted, is_plain, "{text:?}");
    }
    let lowered =
        lower(policy("allow read \"/srv/q\\\"u\\\\o\", \"/srv/#\\\"\""), host(), FileFacts::default());
    let profile = &lowered.plan().profile;
    assert!(!profile.contains("(regex #\""), "{profile}");
    for raw in [RawEnd::FirstQuote, RawEnd::UnescapedQuote] {
        let found =
            crate::profile::Profile::with_raw_strings(profile, &Default::default(), catalina(), raw).unwrap();
        let request = Request::path(b"/srv/q\"u\\o");
        assert!(found.allows(catalina(), "file-read-data", &request, Reading::likely()));
        assert!(found.rules().iter().all(|rule| !matches!(rule.filters.first(), Some(Filter::Prefix(_)))));
    }
}
