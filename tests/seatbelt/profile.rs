//! Evaluates a profile: the rules of the static subset, under each reading that public evidence leaves open.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use unicode_normalization::UnicodeNormalization;

use crate::reader::{Node, RawEnd, read};
use crate::regex::Regex;
use crate::table::{BuiltIn, Table};

/// Which rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// The last matching rule that names exactly the operation; only without one, its parent's.
    TwoLevels,
    /// The last matching rule of the operation or of anything above it.
    LastMatch,
}

/// One way to read what public evidence leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub precedence: Precedence,
    /// Whether operations that fall back to none are allowed by default, or fall back to `default`.
    pub open_by_default: bool,
    /// Whether `file-link` and `file-clone` fall back to `file-write*`.
    pub links_are_writes: bool,
    /// Whether names are compared without case and normalisation.
    pub fold: bool,
    /// Whether `subpath` matches the path itself.
    pub subpath_itself: bool,
    /// Whether `localhost` matches 0.0.0.0.
    pub localhost_is_any: bool,
}

impl Reading {
    /// Every combination.
    pub fn all() -> Vec<Reading> {
        (0..64u8)
            .map(|bits| Reading {
                precedence: if bits & 1 == 0 { Precedence::TwoLevels } else { Precedence::LastMatch },
                open_by_default: bits & 2 == 0,
                links_are_writes: bits & 4 != 0,
                fold: bits & 8 != 0,
                subpath_itself: bits & 16 == 0,
                localhost_is_any: bits & 32 != 0,
            })
            .collect()
    }

    /// What most of the evidence says.
    pub fn likely() -> Reading {
        Reading {
            precedence: Precedence::TwoLevels,
            open_by_default: true,
            links_are_writes: false,
            fold: false,
            subpath_itself: true,
            localhost_is_any: false,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: Option<Vec<u8>>,
    pub name: Option<String>,
    pub socket: Option<Socket>,
    /// Whether the target is a process of the same sandbox.
    pub same_sandbox: bool,
    pub extension: Option<String>,
}

/// An Internet socket.
#[derive(Clone, Debug)]
pub struct Socket {
    pub side: &'static str,
    pub protocol: &'static str,
    pub host: Host,
    pub port: u16,
}

/// What a filter can tell of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    Loopback,
    Unspecified,
    Other,
}

impl Request {
    pub fn path(path: &[u8]) -> Request {
        Request { path: Some(path.to_vec()), ..Request::default() }
    }

    pub fn name(name: &str) -> Request {
        Request { name: Some(name.to_owned()), ..Request::default() }
    }

    pub fn socket(side: &'static str, protocol: &'static str, host: Host, port: u16) -> Request {
        Request { socket: Some(Socket { side, protocol, host, port }), ..Request::default() }
    }
}

/// The rules that name an operation, then those that name what it falls back to, and so on.
pub type Levels = Vec<Vec<usize>>;

/// The operation, and the two readings that its levels hang on.
type LevelsKey = (&'static str, bool, bool);

/// A profile, read.
#[derive(Clone, Debug)]
pub struct Profile {
    rules: Vec<Rule>,
    levels: RefCell<BTreeMap<LevelsKey, Rc<Levels>>>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub allows: bool,
    pub operations: Vec<String>,
    pub filters: Vec<Filter>,
    pub message: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Filter {
    Literal(Spelled),
    Subpath(Spelled),
    Prefix(Spelled),
    /// As it is written, and as it is compared where names are folded.
    Regex([Regex; 2]),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    SameSandbox,
    Name(String),
    NamePrefix(String),
    NameRegex(Regex),
    Extension(String),
    Socket {
        side: String,
        protocol: String,
        address: String,
    },
}

/// A path as it is written, and as it is compared where names are folded.
#[derive(Clone, Debug)]
pub struct Spelled([Vec<u8>; 2]);

impl Spelled {
    fn new(text: Vec<u8>) -> Spelled {
        let folded = folded(&text);
        Spelled([text, folded])
    }

    fn in_reading(&self, reading: Reading) -> &[u8] {
        &self.0[usize::from(reading.fold)]
    }
}

impl Profile {
    pub fn of(rules: Vec<Rule>) -> Profile {
        Profile { rules, levels: RefCell::default() }
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Reads a profile. Whatever the static subset does not know is an error.
    pub fn new(text: &str, parameters: &BTreeMap<&str, &str>, table: &Table) -> Result<Profile, String> {
        Profile::with_raw_strings(text, parameters, table, RawEnd::FirstQuote)
    }

    pub fn with_raw_strings(
        text: &str,
        parameters: &BTreeMap<&str, &str>,
        table: &Table,
        raw: RawEnd,
    ) -> Result<Profile, String> {
        let forms = read(text, raw)?;
        let mut forms = forms.iter();
        let version = Node::List(vec![Node::Word("version".into()), Node::Word("1".into())]);
        if forms.next() != Some(&version) {
            return Err("`(version 1)` comes first".into());
        }
        let rules = forms.map(|form| rule(form, parameters, table)).collect::<Result<_, _>>()?;
        Ok(Profile::of(rules))
    }

    /// Whether an operation is allowed, in one reading.
    pub fn allows(&self, table: &Table, operation: &str, request: &Request, reading: Reading) -> bool {
        let matching = self.matching(request, reading);
        self.decided(table, operation, &matching, reading).0
    }

    /// The same, and the message of the rule that decided.
    pub fn decided(
        &self,
        table: &Table,
        operation: &str,
        matching: &[bool],
        reading: Reading,
    ) -> (bool, Option<&str>) {
        let levels = self.levels(table, operation, reading.open_by_default, reading.links_are_writes);
        match last(&levels, matching, reading.precedence) {
            Some(index) => (self.rules[index].allows, self.rules[index].message.as_deref()),
            None => (table.built_in(operation) == BuiltIn::Allow, None),
        }
    }

    /// The rules that name an operation, those that name what it falls back to, and so on; found once.
    pub fn levels(
        &self,
        table: &Table,
        operation: &str,
        open_by_default: bool,
        links_are_writes: bool,
    ) -> Rc<Levels> {
        let operation = table.name(operation).unwrap_or_else(|| panic!("{operation}"));
        let key = (operation, links_are_writes, open_by_default);
        let mut known = self.levels.borrow_mut();
        let levels = known.entry(key).or_insert_with(|| {
            let mut chain = table.chain(operation);
            if links_are_writes && matches!(operation, "file-link" | "file-clone") {
                chain.extend(table.chain("file-write*"));
            }
            if !open_by_default && chain.last() != Some(&"default") {
                chain.push("default");
            }
            let named = |name: &&str| -> Vec<usize> {
                let names = |rule: &Rule| rule.operations.iter().any(|named| named == name);
                (0..self.rules.len()).filter(|index| names(&self.rules[*index])).collect()
            };
            Rc::new(chain.iter().map(named).collect())
        });
        Rc::clone(levels)
    }

    /// Which rules' filters match.
    pub fn matching(&self, request: &Request, reading: Reading) -> Vec<bool> {
        let asked = Asked::new(request, reading);
        self.rules
            .iter()
            .map(|rule| rule.filters.is_empty() || rule.filters.iter().any(|filter| asked.by(filter)))
            .collect()
    }
}

/// The rule that decides, of those that match.
pub fn last(levels: &Levels, matching: &[bool], precedence: Precedence) -> Option<usize> {
    let last = |wanted: &[usize]| wanted.iter().rev().copied().find(|index| matching[*index]);
    match precedence {
        Precedence::TwoLevels => levels.iter().find_map(|level| last(level)),
        Precedence::LastMatch => levels.iter().filter_map(|level| last(level)).max(),
    }
}

/// A request in a reading, prepared once.
struct Asked<'a> {
    request: &'a Request,
    reading: Reading,
    path: Option<Vec<u8>>,
}

impl<'a> Asked<'a> {
    fn new(request: &'a Request, reading: Reading) -> Asked<'a> {
        let path = request.path.as_ref().map(|path| if reading.fold { folded(path) } else { path.clone() });
        Asked { request, reading, path }
    }

    fn by(&self, filter: &Filter) -> bool {
        let path = |is: &dyn Fn(&[u8]) -> bool| self.path.as_deref().is_some_and(is);
        let name = |is: &dyn Fn(&str) -> bool| self.request.name.as_deref().is_some_and(is);
        match filter {
            Filter::Literal(text) => path(&|path| path == text.in_reading(self.reading)),
            Filter::Subpath(text) => path(&|path| {
                let text = text.in_reading(self.reading);
                let below =
                    text == b"/" || path.strip_prefix(text).is_some_and(|rest| rest.starts_with(b"/"));
                if path == text { self.reading.subpath_itself } else { below }
            }),
            Filter::Prefix(text) => path(&|path| path.starts_with(text.in_reading(self.reading))),
            Filter::Regex(regexes) => {
                let regex = &regexes[usize::from(self.reading.fold)];
                path(&|path| regex.is_in(path, self.reading.fold))
            }
            Filter::All(filters) => filters.iter().all(|filter| self.by(filter)),
            Filter::Any(filters) => filters.iter().any(|filter| self.by(filter)),
            Filter::Not(filter) => !self.by(filter),
            Filter::SameSandbox => self.request.same_sandbox,
            Filter::Name(text) => name(&|name| name == text),
            Filter::NamePrefix(text) => name(&|name| name.starts_with(text)),
            Filter::NameRegex(regex) => name(&|name| regex.is_in(name.as_bytes(), false)),
            Filter::Extension(text) => self.request.extension.as_deref() == Some(text),
            Filter::Socket { side, protocol, address } => self.socket(side, protocol, address),
        }
    }

    fn socket(&self, side: &str, protocol: &str, address: &str) -> bool {
        let Some(socket) = &self.request.socket else { return false };
        let (host, port) = address.rsplit_once(':').expect("a host and a port");
        // An outbound socket has a local side as well, which is always on this machine.
        let local_of_outbound = side == "local" && socket.side == "remote" && port == "*";
        let host = match host {
            "*" => true,
            "localhost" => {
                socket.host == Host::Loopback
                    || (socket.host == Host::Unspecified && self.reading.localhost_is_any)
            }
            other => panic!("a filter knows `*` and `localhost`, not {other}"),
        };
        local_of_outbound
            || (side == socket.side
                && (protocol == "ip" || protocol == socket.protocol)
                && host
                && (port == "*" || port.parse() == Ok(socket.port)))
    }
}

fn folded(path: &[u8]) -> Vec<u8> {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    match std::str::from_utf8(path) {
        Ok(text) => text
            .nfd()
            .flat_map(char::to_lowercase)
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect::<String>()
            .nfc()
            .collect::<String>()
            .into_bytes(),
        Err(_) => path.to_ascii_lowercase(),
    }
}

/// The text of an expression with its characters outside ASCII folded; the letters of ASCII fold while matching.
fn composed(text: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) => text
            .nfc()
            .flat_map(|c| if c.is_ascii() { vec![c] } else { c.to_lowercase().collect() })
            .collect::<String>()
            .into_bytes(),
        Err(_) => text.to_vec(),
    }
}

fn rule(form: &Node, parameters: &BTreeMap<&str, &str>, table: &Table) -> Result<Rule, String> {
    let Node::List(parts) = form else { return Err(format!("{form:?} is no rule")) };
    let mut parts = parts.iter();
    let allows = match parts.next() {
        Some(Node::Word(word)) if word == "allow" => true,
        Some(Node::Word(word)) if word == "deny" => false,
        other => return Err(format!("{other:?} begins no rule")),
    };
    let mut rule = Rule { allows, operations: Vec::new(), filters: Vec::new(), message: None };
    for part in parts {
        match part {
            Node::Word(word) if table.has(word) => rule.operations.push(word.clone()),
            Node::Word(word) => return Err(format!("`{word}` is no operation of this release")),
            Node::List(parts) if parts.first() == Some(&Node::Word("with".into())) => match &parts[1..] {
                [Node::Word(word), Node::Text(text)] if word == "message" => {
                    rule.message = Some(String::from_utf8(text.clone()).map_err(|e| e.to_string())?);
                }
                [Node::Word(word)] if word == "report" || word == "no-log" => {}
                other => return Err(format!("the modifier {other:?}")),
            },
            other => rule.filters.push(filter(other, parameters)?),
        }
    }
    if rule.operations.is_empty() {
        return Err("a rule without an operation".into());
    }
    Ok(rule)
}

fn filter(node: &Node, parameters: &BTreeMap<&str, &str>) -> Result<Filter, String> {
    let Node::List(parts) = node else { return Err(format!("{node:?} is no filter")) };
    let [Node::Word(word), arguments @ ..] = &parts[..] else { return Err(format!("{node:?} is no filter")) };
    let each = || arguments.iter().map(|node| filter(node, parameters)).collect::<Result<Vec<_>, _>>();
    let one = || match arguments {
        [node] => text(node, parameters),
        _ => Err(format!("`{word}` takes one text")),
    };
    let name = || one().and_then(|text| String::from_utf8(text).map_err(|e| e.to_string()));
    Ok(match word.as_str() {
        "literal" => Filter::Literal(Spelled::new(one()?)),
        "subpath" => Filter::Subpath(Spelled::new(one()?)),
        "prefix" => Filter::Prefix(Spelled::new(one()?)),
        "regex" => {
            let text = one()?;
            Filter::Regex([Regex::new(&text)?, Regex::new(&composed(&text))?])
        }
        "require-all" => Filter::All(each()?),
        "require-any" => Filter::Any(each()?),
        "require-not" => match each()?.as_slice() {
            [inner] => Filter::Not(Box::new(inner.clone())),
            _ => return Err("`require-not` takes one filter".into()),
        },
        "target" => match arguments {
            [Node::Word(word)] if word == "same-sandbox" || word == "self" => Filter::SameSandbox,
            [Node::Word(word)] if word == "others" => Filter::Not(Box::new(Filter::SameSandbox)),
            other => return Err(format!("the target {other:?}")),
        },
        "global-name"
        | "sysctl-name"
        | "ipc-posix-name"
        | "iokit-user-client-class"
        | "iokit-registry-entry-class" => Filter::Name(name()?),
        "global-name-prefix" | "sysctl-name-prefix" => Filter::NamePrefix(name()?),
        "global-name-regex" => Filter::NameRegex(Regex::new(&one()?)?),
        "extension" => Filter::Extension(name()?),
        "remote" | "local" => match arguments {
            [Node::Word(protocol), address] => Filter::Socket {
                side: word.clone(),
                protocol: protocol.clone(),
                address: String::from_utf8(text(address, parameters)?).map_err(|e| e.to_string())?,
            },
            [Node::Word(protocol)] => {
                Filter::Socket { side: word.clone(), protocol: protocol.clone(), address: "*:*".into() }
            }
            other => return Err(format!("the socket filter {other:?}")),
        },
        other => return Err(format!("the filter `{other}`")),
    })
}

fn text(node: &Node, parameters: &BTreeMap<&str, &str>) -> Result<Vec<u8>, String> {
    match node {
        Node::Text(text) => Ok(text.clone()),
        Node::List(parts) => match &parts[..] {
            [Node::Word(word), Node::Text(name)] if word == "param" => {
                let name = std::str::from_utf8(name).map_err(|e| e.to_string())?;
                parameters
                    .get(name)
                    .map(|value| value.as_bytes().to_vec())
                    .ok_or_else(|| format!("the parameter `{name}` has no value"))
            }
            other => Err(format!("{other:?} is no text")),
        },
        other => Err(format!("{other:?} is no text")),
    }
}
