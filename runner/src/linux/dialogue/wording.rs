//! What a question looks like.
//!
//! What the command chose (names, arguments) may be made to look like another question. So each word is quoted as a shell would
//! need it, everything but printable ASCII is escaped, and so is a second blank; what is longer than a row ends with a mark and goes
//! on in a row that begins unlike any other, a blank between them escaped; and what has no room in the window is not asked at all.

use crate::asking::Question;
use crate::linux::sys::terminal::Size;

/// What can be answered.
const PROMPT: [&str; 2] = [
    "  allow it [o]nce or for this [r]un; refuse it [Enter], for this run [n],",
    "  or this and all else that would be asked [x]: ",
];
/// What a row ends with that is not the last of its line; no text ends so.
const GOES_ON: &str = " \\";
/// What the rest of a line begins with: deeper than any line.
const FURTHER: &str = "        ";
/// A blank where a row begins, which could else be none.
const BLANK: &str = "\\x20";
/// The narrowest window that is asked in, in columns.
const NARROWEST: u16 = 40;

/// A question and what can be answered, as they are shown in a window.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The question.
    pub(super) question: String,
    /// What can be answered; the answer is typed behind it.
    pub(super) prompt: String,
}

/// A question as it is shown in a window of this size; `None` if that has no room for all of it.
pub(super) fn shown(question: &Question, behind: usize, size: Size) -> Option<Shown> {
    if size.columns < NARROWEST {
        return None;
    }
    // The last column stays free: what terminals do behind it differs.
    let columns = usize::from(size.columns) - 1;
    let wants = if question.action == "connect" { "connect to" } else { "run" };
    let program = question.program.as_deref().map_or_else(|| "the command".to_owned(), quoted);
    let words: Vec<String> = question.words.iter().map(|word| quoted(word)).collect();
    let mut lines = vec![format!("fence: {program} wants to {wants} {}", words.join(" "))];
    lines.extend(question.file.as_deref().map(|file| format!("  the file is {}", quoted(file))));
    lines.extend(question.reasons.iter().map(|reason| format!("  {}", ascii(reason))));
    if behind > 0 {
        lines.push(format!("  ({behind} more questions wait)"));
    }
    let rows: Vec<String> = lines.iter().flat_map(|line| folded(line, columns)).collect();
    let prompt: Vec<String> = PROMPT.iter().flat_map(|line| folded(line, columns)).collect();
    // Above it lies the last line of what the command has shown, and the answer may begin a line.
    if rows.len() + prompt.len() + 2 > usize::from(size.lines) {
        return None;
    }
    Some(Shown { question: rows.join("\n") + "\n", prompt: prompt.join("\n") })
}

/// The rows that a line of ASCII takes.
fn folded(line: &str, columns: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let (mut begin, mut rest) = (String::new(), line);
    while begin.len() + rest.len() > columns {
        let room = columns.saturating_sub(begin.len() + GOES_ON.len());
        let Some((row, behind)) = rest.split_at_checked(room) else { break };
        // No row ends with a blank: it begins the next one.
        let row = row.trim_end_matches(' ');
        if row.is_empty() {
            break;
        }
        rest = rest.get(row.len()..).unwrap_or(behind);
        rows.push(format!("{begin}{row}{GOES_ON}"));
        begin = FURTHER.to_owned();
        if let Some(behind) = rest.strip_prefix(' ') {
            begin.push_str(BLANK);
            rest = behind;
        }
    }
    rows.push(format!("{begin}{rest}"));
    rows
}

/// A word as bash reads it.
fn quoted(word: &str) -> String {
    if !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c)) {
        return word.to_owned();
    }
    if ascii(word) == word && !word.contains(['\'', '\\']) {
        return format!("'{word}'");
    }
    format!("$'{}'", ascii(&word.replace('\\', "\\\\").replace('\'', "\\'")))
}

/// A text in printable ASCII without two blanks in a row: everything else is escaped.
fn ascii(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c) {
            0x20 if !shown.ends_with(' ') => shown.push(' '),
            0x21..=0x7e => shown.push(c),
            code @ 0..=0xff => shown.push_str(&format!("\\x{code:02x}")),
            code @ 0..=0xffff => shown.push_str(&format!("\\u{code:04x}")),
            code => shown.push_str(&format!("\\U{code:08x}")),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(words: &[&str]) -> Question {
        Question {
            number: 1,
            action: "run".to_owned(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            file: Some("/work/x".to_owned()),
            program: Some("/bin/sh".to_owned()),
            reasons: vec!["nothing allows it".to_owned()],
        }
    }

    const WINDOW: Size = Size { lines: 24, columns: 80 };

    #[test]
    fn a_word_is_quoted_where_a_shell_would_need_it() {
        for (word, told) in [
            ("a-b_c.d/e:f=g", "a-b_c.d/e:f=g"),
            ("", "''"),
            ("a b", "'a b'"),
            ("a  b", r"$'a \x20b'"),
            ("$HOME;x", "'$HOME;x'"),
            ("it's", r"$'it\'s'"),
            (r"a\nb", r"$'a\\nb'"),
            ("a\nb\x1b[2J\u{7f}", r"$'a\x0ab\x1b[2J\x7f'"),
            (
                "\u{a0}\u{2003}\u{202e}\u{2800}\u{3164}\u{ad}\u{e0041}",
                r"$'\xa0\u2003\u202e\u2800\u3164\xad\U000e0041'",
            ),
            ("\u{430}", r"$'\u0430'"),
        ] {
            assert_eq!(quoted(word), told, "{word:?}");
        }
    }

    #[test]
    fn no_row_begins_with_what_the_command_chose() {
        let fake = format!("{}fence: sh wants to run ls", "x".repeat(133));
        let asked = shown(&question(&["sh", "-c", &fake]), 2, WINDOW).unwrap();
        let rows: Vec<&str> = asked.question.lines().chain(asked.prompt.lines()).collect();
        assert!(rows.iter().all(|row| row.len() < 80), "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.starts_with("fence: ")).count(), 1, "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.starts_with(FURTHER)).count(), 2, "{rows:?}");
    }

    #[test]
    fn a_fold_hides_no_blank() {
        for fill in 30..100 {
            let fill = "x".repeat(fill);
            let rows = |words: &[&str]| shown(&question(words), 0, WINDOW).unwrap().question;
            let one = rows(&["expr", &format!("{fill}-rf"), "y"]);
            let two = rows(&["expr", &fill, "-rf", "y"]);
            let visible = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            assert_ne!(visible(&one), visible(&two));
            for text in [one, two] {
                let rows: Vec<&str> = text.lines().collect();
                assert!(rows.iter().all(|row| row.len() < 80 && !row.ends_with(' ')), "{rows:?}");
                for pair in rows.windows(2) {
                    assert_eq!(pair[0].ends_with(GOES_ON), pair[1].starts_with(FURTHER), "{rows:?}");
                    assert!(!pair[1].starts_with(&format!("{FURTHER} ")), "{rows:?}");
                }
                let whole = text.replace(&format!("{GOES_ON}\n{FURTHER}"), "").replace(BLANK, " ");
                assert!(whole.contains(&format!("{fill}-rf y")) || whole.contains(&format!("{fill} -rf y")));
            }
        }
    }

    #[test]
    fn everything_is_ascii_that_moves_no_cursor() {
        let question = Question {
            program: Some("/tmp/\x07x".to_owned()),
            file: Some("/work/\x1b]0;y\x07".to_owned()),
            reasons: vec!["p.fence:3: deny run \x1b]0;x\x07   \u{202e}".to_owned()],
            ..question(&["sh", "-c", "\x1b[2J\r\nfence: allowed\u{202e}"])
        };
        let asked = shown(&question, 0, WINDOW).unwrap();
        assert!(asked.question.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()), "{asked:?}");
        assert_eq!(asked.question.lines().count(), 3);
    }

    #[test]
    fn what_has_no_room_is_not_asked() {
        let long = "x".repeat(2000);
        assert_eq!(shown(&question(&["sh", "-c", &long]), 0, WINDOW), None);
        let short = question(&["sh"]);
        assert_eq!(shown(&short, 0, WINDOW).unwrap().question.lines().count(), 3);
        assert!(shown(&short, 0, Size { lines: 7, ..WINDOW }).is_some());
        assert_eq!(shown(&short, 0, Size { lines: 6, ..WINDOW }), None);
        assert_eq!(shown(&short, 0, Size { columns: 39, ..WINDOW }), None);
        assert_eq!(shown(&short, 0, Size { lines: 0, columns: 0 }), None);
    }
}
