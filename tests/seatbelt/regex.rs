//! The regular expressions of profiles: a search, not anchored, over bytes.
//!
//! `^ $ . [] [^] * + ? | ()` and a backslash before any of them. Anything else that another dialect knows is an
//! error here, so that no test rests on it: `(?:`, `{n}`, `\d`.

/// An expression, read.
#[derive(Clone, Debug)]
pub struct Regex(Node);

#[derive(Clone, Debug)]
enum Node {
    Empty,
    Start,
    End,
    Any,
    Byte(u8),
    Class { negated: bool, ranges: Vec<(u8, u8)> },
    Both(Box<Node>, Box<Node>),
    Either(Box<Node>, Box<Node>),
    Many { inner: Box<Node>, least: u32, most: Option<u32> },
}

impl Regex {
    pub fn new(text: &[u8]) -> Result<Regex, String> {
        let mut parser = Parser { text, at: 0 };
        let node = parser.either()?;
        if parser.at < text.len() {
            return Err(format!("`)` closes nothing in `{}`", String::from_utf8_lossy(text)));
        }
        Ok(Regex(node))
    }

    /// Whether it matches somewhere in a text.
    pub fn is_in(&self, text: &[u8], fold: bool) -> bool {
        let matcher = Matcher { text, fold };
        (0..=text.len()).any(|start| matcher.matches(&self.0, start, &mut |_| true))
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn either(&mut self) -> Result<Node, String> {
        let mut left = self.sequence()?;
        while self.peek() == Some(b'|') {
            self.at += 1;
            left = Node::Either(Box::new(left), Box::new(self.sequence()?));
        }
        Ok(left)
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut left = Node::Empty;
        while let Some(byte) = self.peek() {
            if matches!(byte, b'|' | b')') {
                break;
            }
            let atom = self.atom(byte)?;
            let atom = self.repeated(atom)?;
            left =
                if matches!(left, Node::Empty) { atom } else { Node::Both(Box::new(left), Box::new(atom)) };
        }
        Ok(left)
    }

    fn repeated(&mut self, atom: Node) -> Result<Node, String> {
        let (least, most) = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => return Err("`{` is no part of the dialect".into()),
            _ => return Ok(atom),
        };
        self.at += 1;
        Ok(Node::Many { inner: Box::new(atom), least, most })
    }

    fn atom(&mut self, byte: u8) -> Result<Node, String> {
        self.at += 1;
        Ok(match byte {
            b'^' => Node::Start,
            b'$' => Node::End,
            b'.' => Node::Any,
            b'(' => {
                if self.peek() == Some(b'?') {
                    return Err("`(?` is no part of the dialect".into());
                }
                let inner = self.either()?;
                if self.peek() != Some(b')') {
                    return Err("`(` has no end".into());
                }
                self.at += 1;
                inner
            }
            b'[' => self.class()?,
            b'*' | b'+' | b'?' => return Err("a repetition of nothing".into()),
            b'{' => return Err("`{` is no part of the dialect".into()),
            b'\\' => {
                let next = self.peek().ok_or("a backslash at the end")?;
                if next.is_ascii_alphanumeric() {
                    return Err(format!("`\\{}` is no part of the dialect", next as char));
                }
                self.at += 1;
                Node::Byte(next)
            }
            byte => Node::Byte(byte),
        })
    }

    fn class(&mut self) -> Result<Node, String> {
        let negated = self.peek() == Some(b'^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        loop {
            let low = self.peek().ok_or("`[` has no end")?;
            self.at += 1;
            if low == b']' && !ranges.is_empty() {
                return Ok(Node::Class { negated, ranges });
            }
            let ranged = self.peek() == Some(b'-') && self.text.get(self.at + 1).is_some_and(|b| *b != b']');
            let high = if ranged {
                self.at += 2;
                self.text[self.at - 1]
            } else {
                low
            };
            ranges.push((low, high));
        }
    }
}

struct Matcher<'a> {
    text: &'a [u8],
    fold: bool,
}

impl Matcher<'_> {
    fn same(&self, one: u8, two: u8) -> bool {
        one == two || (self.fold && one.eq_ignore_ascii_case(&two))
    }

    fn matches(&self, node: &Node, at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
        let next = self.text.get(at).copied();
        match node {
            Node::Empty => then(at),
            Node::Start => at == 0 && then(at),
            Node::End => at == self.text.len() && then(at),
            Node::Any => next.is_some() && then(at + 1),
            Node::Byte(byte) => next.is_some_and(|next| self.same(*byte, next)) && then(at + 1),
            Node::Class { negated, ranges } => {
                let held = |byte: u8| ranges.iter().any(|(low, high)| *low <= byte && byte <= *high);
                let taken = |byte: u8| {
                    let any =
                        self.fold && (held(byte.to_ascii_lowercase()) || held(byte.to_ascii_uppercase()));
                    (held(byte) || any) != *negated
                };
                next.is_some_and(taken) && then(at + 1)
            }
            Node::Both(first, second) => {
                self.matches(first, at, &mut |middle| self.matches(second, middle, &mut *then))
            }
            Node::Either(first, second) => {
                self.matches(first, at, &mut *then) || self.matches(second, at, &mut *then)
            }
            Node::Many { inner, least, most } => {
                if *least > 0 {
                    let less = most.map(|most| most - 1);
                    let rest = Node::Many { inner: inner.clone(), least: least - 1, most: less };
                    return self.matches(inner, at, &mut |middle| self.matches(&rest, middle, &mut *then));
                }
                if then(at) {
                    return true;
                }
                if *most == Some(0) {
                    return false;
                }
                let less = most.map(|most| most - 1);
                let rest = Node::Many { inner: inner.clone(), least: 0, most: less };
                self.matches(inner, at, &mut |middle| middle > at && self.matches(&rest, middle, &mut *then))
            }
        }
    }
}

#[test]
fn expressions_match_as_in_posix() {
    for (regex, yes, no) in [
        ("a.c", &["abc", "xabcx"][..], &["ac"][..]),
        ("^/a(/|$)", &["/a", "/a/b"], &["/ab", "x/a"]),
        ("^/[^/]*\\.rs$", &["/x.rs", "/.rs"], &["/a/x.rs", "/xrs"]),
        ("^(/[^/]+)*/b$", &["/b", "/a/b", "/a/a/b"], &["/ab", "b"]),
        ("^[xX]+y?$", &["xX", "xy"], &["y", "xyy"]),
        ("^[]a]$", &["]", "a"], &["b"]),
        ("a|b", &["xbx"], &["c"]),
    ] {
        let found = Regex::new(regex.as_bytes()).unwrap();
        for text in yes {
            assert!(found.is_in(text.as_bytes(), false), "{regex} {text}");
        }
        for text in no {
            assert!(!found.is_in(text.as_bytes(), false), "{regex} {text}");
        }
    }
    for refused in ["(?:a)", "a{2}", "\\d", "*a", "[a", "(a", "a)"] {
        assert!(Regex::new(refused.as_bytes()).is_err(), "{refused}");
    }
}
