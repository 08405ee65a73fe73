//! Reads profile text: the lexer of Seatbelt's Scheme, as far as profiles without programs need it.

/// A node as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Word(String),
    Text(Vec<u8>),
    List(Vec<Node>),
}

/// Where a raw string `#"…"` ends: sources disagree whether a quote behind a backslash ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawEnd {
    FirstQuote,
    UnescapedQuote,
}

/// Reads every form of a profile.
pub fn read(text: &str, raw: RawEnd) -> Result<Vec<Node>, String> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, raw };
    let mut forms = Vec::new();
    loop {
        reader.skip();
        if reader.at >= reader.bytes.len() {
            return Ok(forms);
        }
        forms.push(reader.form()?);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    raw: RawEnd,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b';' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn form(&mut self) -> Result<Node, String> {
        self.skip();
        match self.peek() {
            None => Err("the profile ends inside a form".into()),
            Some(b'(') => {
                self.at += 1;
                let mut forms = Vec::new();
                loop {
                    self.skip();
                    match self.peek() {
                        Some(b')') => {
                            self.at += 1;
                            return Ok(Node::List(forms));
                        }
                        None => return Err("a list has no end".into()),
                        _ => forms.push(self.form()?),
                    }
                }
            }
            Some(b')') => Err(format!("`)` at byte {} closes nothing", self.at)),
            Some(b'"') => {
                self.at += 1;
                self.cooked()
            }
            Some(b'#') if self.bytes.get(self.at + 1) == Some(&b'"') => {
                self.at += 2;
                self.raw_text()
            }
            Some(_) => {
                let start = self.at;
                while self.peek().is_some_and(|byte| !b" \t\n\r()\";".contains(&byte)) {
                    self.at += 1;
                }
                String::from_utf8(self.bytes[start..self.at].to_vec())
                    .map(Node::Word)
                    .map_err(|_| "a word is not text".into())
            }
        }
    }

    /// `\"`, `\\`, `\n`, `\t`, `\r`, `\xHH`, octal; any other `\c` is `c`.
    fn cooked(&mut self) -> Result<Node, String> {
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.peek() else { return Err("a string has no end".into()) };
            self.at += 1;
            match byte {
                b'"' => return Ok(Node::Text(text)),
                b'\\' => {
                    let Some(next) = self.peek() else { return Err("a string has no end".into()) };
                    self.at += 1;
                    match next {
                        b'n' => text.push(b'\n'),
                        b't' => text.push(b'\t'),
                        b'r' => text.push(b'\r'),
                        b'x' | b'X' => {
                            let digits = self.digits(2, 16);
                            text.push(digits.ok_or("`\\x` without digits")?);
                        }
                        b'0'..=b'7' => {
                            self.at -= 1;
                            text.push(self.digits(3, 8).ok_or("`\\` without digits")?);
                        }
                        other => text.push(other),
                    }
                }
                byte => text.push(byte),
            }
        }
    }

    fn digits(&mut self, most: usize, base: u32) -> Option<u8> {
        let mut value = None;
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|byte| (byte as char).to_digit(base)) else { break };
            value = Some(value.unwrap_or(0) * base + digit);
            self.at += 1;
        }
        value.map(|value| value as u8)
    }

    fn raw_text(&mut self) -> Result<Node, String> {
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.peek() else { return Err("a raw string has no end".into()) };
            self.at += 1;
            match byte {
                b'"' => return Ok(Node::Text(text)),
                b'\\' if self.raw == RawEnd::UnescapedQuote && self.peek() == Some(b'"') => {
                    text.extend(b"\\\"");
                    self.at += 1;
                }
                byte => text.push(byte),
            }
        }
    }
}

#[test]
fn strings_are_read_as_the_reader_of_seatbelt_does() {
    for (written, bytes) in [
        (r#""a\"b""#, &b"a\"b"[..]),
        (r#""a\\b""#, b"a\\b"),
        (r#""\n\t\r""#, b"\n\t\r"),
        (r#""\x41\101""#, b"AA"),
        (r#""\u0041""#, b"u0041"),
        (r##"#"a\.b""##, b"a\\.b"),
    ] {
        assert_eq!(read(written, RawEnd::FirstQuote), Ok(vec![Node::Text(bytes.to_vec())]), "{written}");
    }
    assert!(read("(a", RawEnd::FirstQuote).is_err());
    assert!(read("a)", RawEnd::FirstQuote).is_err());
    let escaped = r##"#"a\"b""##;
    assert_eq!(read(escaped, RawEnd::UnescapedQuote), Ok(vec![Node::Text(b"a\\\"b".to_vec())]));
    assert!(read(escaped, RawEnd::FirstQuote).is_err(), "the rest begins a string");
}
