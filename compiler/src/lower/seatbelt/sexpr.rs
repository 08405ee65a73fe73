//! The text of a profile: a tree, and the one printer that writes it down.
//!
//! Nothing else makes profile text. A string of the policy or the machine enters the tree as a [`Quoted`], which
//! exists only where the printer can write it so that Seatbelt's reader reads back the same bytes.

/// A text that can stand in a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quoted(String);

/// Why a text cannot stand in a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unquotable {
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// It holds a control character.
    #[error("it holds a control character")]
    Control,
    /// It is longer than any path of macOS.
    #[error("it is longer than 1,023 bytes, the longest path of macOS")]
    TooLong,
}

/// `PATH_MAX` of macOS is 1,024 with the NUL at the end.
const LONGEST: usize = 1023;

impl Quoted {
    /// Takes bytes that the printer can write.
    ///
    /// # Errors
    /// They are not UTF-8, or hold a control character.
    pub fn new(bytes: &[u8]) -> Result<Quoted, Unquotable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unquotable::NotText)?;
        if text.chars().any(char::is_control) {
            return Err(Unquotable::Control);
        }
        Ok(Quoted(text.to_owned()))
    }

    /// The empty text.
    pub fn empty() -> Quoted {
        Quoted(String::new())
    }

    /// The same for a path, which macOS limits in length.
    ///
    /// # Errors
    /// They are no text, hold a control character, or are too long.
    pub fn path(bytes: &[u8]) -> Result<Quoted, Unquotable> {
        if bytes.len() > LONGEST {
            return Err(Unquotable::TooLong);
        }
        Quoted::new(bytes)
    }

    /// Writes the text as a string of the profile's reader: `\` and `"` with a backslash before them, everything
    /// else as it is.
    fn print(&self, out: &mut String) {
        out.push('"');
        for c in self.0.chars() {
            if matches!(c, '\\' | '"') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
    }
}

/// A node of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A word of the profile language.
    Word(&'static str),
    /// A text.
    Text(Quoted),
    /// A number.
    Number(u32),
    /// A list on one line.
    List(Vec<Form>),
    /// A remark on a line of its own, in ASCII.
    Remark(String),
}

impl Form {
    /// A filter with one text.
    pub fn filter(word: &'static str, text: Quoted) -> Form {
        Form::List(vec![Form::Word(word), Form::Text(text)])
    }

    fn print(&self, out: &mut String) {
        match self {
            Form::Word(word) => out.push_str(word),
            Form::Text(text) => text.print(out),
            Form::Number(number) => out.push_str(&number.to_string()),
            Form::List(forms) => {
                out.push('(');
                for (index, form) in forms.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    form.print(out);
                }
                out.push(')');
            }
            Form::Remark(text) => {
                out.push_str("; ");
                out.push_str(text);
            }
        }
    }
}

/// A remark: what is not printable ASCII becomes `?`, so that no character of a policy can end the line.
pub fn remark(text: &str) -> Form {
    let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    Form::Remark(text.chars().map(printable).collect())
}

/// What stands at the top of a profile, one a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// An empty line and a heading.
    Heading(&'static str),
    /// A remark.
    Remark(Form),
    /// A rule: its head on the first line, each filter on one of its own.
    Rule {
        /// Whose it is in messages about size: the label or place of a policy's rule, or what fence calls it.
        owner: String,
        /// The action and the operations.
        head: Vec<Form>,
        /// The filters, and remarks between them.
        filters: Vec<Form>,
    },
}

impl Statement {
    /// How many bytes of it the profile's compiler reads: all but remarks and what is there for the eye.
    pub fn bytes(&self) -> usize {
        let mut out = String::new();
        if let Statement::Rule { head, filters, .. } = self {
            for form in head.iter().chain(filters).filter(|form| !matches!(form, Form::Remark(_))) {
                form.print(&mut out);
                out.push('\n');
            }
        }
        out.len()
    }
}

/// The longest line that lists stand in whole.
const WIDTH: usize = 110;

/// Writes a form at the end of a line that is indented as far; a long list of lists has a line for each.
fn lay_out(form: &Form, indent: usize, out: &mut String) {
    let mut flat = String::new();
    form.print(&mut flat);
    match form {
        Form::List(forms)
            if indent + flat.chars().count() > WIDTH
                && forms.iter().any(|form| matches!(form, Form::List(_))) =>
        {
            out.push('(');
            for (index, form) in forms.iter().enumerate() {
                if index > 0 {
                    out.push('\n');
                    out.extend(std::iter::repeat_n(' ', indent + 2));
                }
                lay_out(form, indent + 2, out);
            }
            out.push(')');
        }
        _ => out.push_str(&flat),
    }
}

/// Writes a profile down.
pub fn print(statements: &[Statement]) -> String {
    let mut out = String::from("(version 1)\n");
    for statement in statements {
        match statement {
            Statement::Heading(text) => {
                out.push_str("\n;;; ");
                out.push_str(text);
            }
            Statement::Remark(form) => form.print(&mut out),
            Statement::Rule { head, filters, .. } => {
                out.push('(');
                for (index, form) in head.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    form.print(&mut out);
                }
                for form in filters {
                    out.push_str("\n  ");
                    lay_out(form, 2, &mut out);
                }
                // A remark ends with its line.
                out.push_str(if matches!(filters.last(), Some(Form::Remark(_))) { "\n)" } else { ")" });
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> String {
        let mut out = String::new();
        Form::Text(Quoted::new(text.as_bytes()).unwrap()).print(&mut out);
        out
    }

    #[test]
    fn a_text_is_quoted_and_nothing_else_changes() {
        for (text, shown) in [
            ("/a b", r#""/a b""#),
            (r#"/a"b"#, r#""/a\"b""#),
            (r"/a\n", r#""/a\\n""#),
            (r#"#"x""#, r##""#\"x\"""##),
            ("/é;()", "\"/é;()\""),
        ] {
            assert_eq!(printed(text), shown);
        }
        for refused in [&b"/a\nb"[..], b"/\x1b", b"/\xff", "/\u{85}".as_bytes(), b"\0"] {
            assert!(Quoted::new(refused).is_err(), "{refused:?}");
        }
        assert_eq!(Quoted::path(&[b'a'; 1024]), Err(Unquotable::TooLong));
        assert!(Quoted::path(&[b'a'; 1023]).is_ok());
    }

    #[test]
    fn long_lists_of_lists_have_a_line_for_each() {
        let path = |name: &str| Form::filter("literal", Quoted::new(format!("/{name}").as_bytes()).unwrap());
        let any = |name: &str| Form::List(vec![Form::Word("require-any"), path(name), path("b")]);
        let all = |name: &str| {
            let not = Form::List(vec![Form::Word("require-not"), path("c")]);
            let list = vec![Form::Word("require-all"), any(name), not];
            let head = vec![Form::Word("allow"), Form::Word("file-read*")];
            let owner = String::new();
            print(&[Statement::Rule { owner, head, filters: vec![Form::List(list)] }])
        };
        let short = "(version 1)\n(allow file-read*\n  (require-all (require-any (literal \"/a\") (literal \"/b\")) \
                     (require-not (literal \"/c\"))))\n";
        assert_eq!(all("a"), short);
        let long = "a".repeat(90);
        let expected = format!(
            "(version 1)\n(allow file-read*\n  (require-all\n    (require-any\n      (literal \"/{long}\")\n      (literal \"/b\"))\n    \
             (require-not (literal \"/c\"))))\n"
        );
        assert_eq!(all(&long), expected);
    }

    #[test]
    fn a_remark_stays_on_its_line_and_is_no_rule() {
        let rule = Statement::Rule {
            owner: String::new(),
            head: vec![Form::Word("deny"), Form::Word("file-read*")],
            filters: vec![
                remark("a\n(allow default) é"),
                Form::filter("literal", Quoted::new(b"/a").unwrap()),
            ],
        };
        let text = print(std::slice::from_ref(&rule));
        assert_eq!(text, "(version 1)\n(deny file-read*\n  ; a?(allow default) ?\n  (literal \"/a\"))\n");
        assert_eq!(rule.bytes(), "deny\nfile-read*\n(literal \"/a\")\n".len());
    }
}
