//! Filters: from a place to what a rule of the profile matches.

use std::collections::{BTreeMap, BTreeSet};

use super::places::{Place, is_beneath};
use super::sexpr::{Form, Quoted, Unquotable};
use super::spelling::{
    escaped, every_spelling, letter, may_begin_inside_a_ligature, may_end_inside_a_ligature,
};
use crate::bytes::AbsolutePath;
use crate::pattern::{Component, Glob, GlobPiece, Grounded};

/// Whether an expression matches just what the pattern means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It does.
    Exact,
    /// It opens less, or closes more.
    Stricter,
}

/// The filters of something, and how they fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Any of them matches.
    pub forms: Vec<Form>,
    /// How.
    pub fit: Fit,
}

/// The end of a path that covers what is beneath too.
const END: &str = "(/|$)";

/// What opens a place: its own spelling and no other.
pub fn opening(place: &Place) -> Result<Filters, Unquotable> {
    let Grounded { prefix, rest } = &place.0;
    if rest.is_empty() {
        return Ok(Filters { forms: both(prefix)?, fit: Fit::Exact });
    }
    let mut text = String::from("^");
    text.push_str(&literally(prefix)?);
    let mut fit = Fit::Exact;
    for component in rest {
        let (part, fits) = opening_component(component);
        text.push_str(&part);
        fit = fit.max(fits);
    }
    text.push_str(END);
    Ok(Filters { forms: vec![Form::filter("regex", Quoted::new(text.as_bytes())?)], fit })
}

/// One filter that any of these satisfies; `None` if there is none.
pub fn any(mut forms: Vec<Form>) -> Option<Form> {
    match forms.len() {
        0 => None,
        1 => forms.pop(),
        _ => {
            forms.insert(0, Form::Word("require-any"));
            Some(Form::List(forms))
        }
    }
}

/// A path and what is beneath; some readings of `subpath` leave the path itself out.
pub fn both(path: &AbsolutePath) -> Result<Vec<Form>, Unquotable> {
    let text = Quoted::path(path.as_bytes())?;
    Ok(vec![Form::filter("literal", text.clone()), Form::filter("subpath", text)])
}

/// What closes a place: in every spelling, as far as something is open around it. What is open is spelled as it is
/// there, so only what lies below it needs other spellings.
pub fn closing(place: &Place, open: &[&Place]) -> Result<Filters, Unquotable> {
    let ground = &place.0;
    let mut forms = Vec::new();
    if ground.rest.is_empty() {
        forms.extend(both(&ground.prefix)?);
    }
    let mut fit = Fit::Exact;
    let mut texts = BTreeSet::new();
    for around in &topmost(open, &ground.prefix) {
        if ground.rest.is_empty() && around.is_within(&ground.prefix) {
            continue;
        }
        if ground.rest.is_empty() && is_beneath(around, &ground.prefix) {
            forms.extend(both(around)?);
            continue;
        }
        let (text, fits) = spelled(ground, around)?;
        fit = fit.max(fits);
        texts.insert(text);
    }
    for text in texts {
        forms.push(Form::filter("regex", Quoted::new(text.as_bytes())?));
    }
    Ok(Filters { forms, fit })
}

/// What closes many programs at once.
#[derive(Debug, Default)]
pub struct Programs {
    /// The filters.
    pub forms: Vec<Form>,
    /// The items that close more than their names.
    pub wider: BTreeSet<String>,
}

/// What closes the files of programs: those that lie in the same directories share an expression, because there are
/// as many of them as directories times names.
pub fn programs(places: &[&(Place, String)], open: &[&Place]) -> Result<Programs, (String, Unquotable)> {
    let mut found = Programs::default();
    let mut directories: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (place, text) in places {
        let fit = match apart(place, open).map_err(|why| (text.clone(), why))? {
            Some((around, name, fit)) => {
                directories.entry(name).or_default().extend(around);
                fit
            }
            None => {
                let filters = closing(place, open).map_err(|why| (text.clone(), why))?;
                found.forms.extend(filters.forms);
                filters.fit
            }
        };
        if fit == Fit::Stricter {
            found.wider.insert(text.clone());
        }
    }
    let mut names: BTreeMap<BTreeSet<String>, Vec<String>> = BTreeMap::new();
    for (name, around) in directories {
        names.entry(around).or_default().push(name);
    }
    for (around, names) in names {
        let around: Vec<String> = around.into_iter().collect();
        let text = format!("^({})/({}){END}", around.join("|"), names.join("|"));
        let text = Quoted::new(text.as_bytes()).map_err(|why| (text.clone(), why))?;
        found.forms.push(Form::filter("regex", text));
    }
    Ok(found)
}

/// The expressions of the directory that holds a place, one for each open place around it, and that of its name;
/// `None` where something is open below the place itself, or its name is a pattern.
fn apart(place: &Place, open: &[&Place]) -> Result<Option<(Vec<String>, String, Fit)>, Unquotable> {
    let Grounded { prefix, rest } = &place.0;
    let (Some(directory), Some(name), []) = (prefix.parent(), prefix.name(), rest.as_slice()) else {
        return Ok(None);
    };
    let around = topmost(open, prefix);
    if around.is_empty() || around.iter().any(|open| is_beneath(open, prefix)) {
        return Ok(None);
    }
    let (name, mut fit) = closing_name(std::str::from_utf8(name).map_err(|_| Unquotable::NotText)?);
    let mut directories = Vec::new();
    for open in &around {
        let (text, fits) = spelled_path(&directory, open)?;
        fit = fit.max(fits);
        directories.push(text);
    }
    Ok(Some((directories, name, fit)))
}

/// What matches directories on the way to a closed place, so that none of them is moved: the literal ones that
/// something writable holds.
pub fn on_the_way(path: &AbsolutePath, open: &[&Place]) -> Result<Vec<Form>, Unquotable> {
    let mut forms = vec![Form::filter("literal", Quoted::path(path.as_bytes())?)];
    let ground = Grounded { prefix: path.clone(), rest: Vec::new() };
    for around in &topmost(open, path) {
        if !around.is_within(path) && !is_beneath(around, path) {
            let (text, _) = spelled(&ground, around)?;
            let text = text.strip_suffix(END).unwrap_or(&text).to_owned() + "$";
            forms.push(Form::filter("regex", Quoted::new(text.as_bytes())?));
        }
    }
    Ok(forms)
}

/// What matches the directories that the beginning of a pattern names.
pub fn pattern_on_the_way(ground: &Grounded, open: &[&Place]) -> Result<Vec<Form>, Unquotable> {
    let mut texts = BTreeSet::new();
    for around in &topmost(open, &ground.prefix) {
        let (text, _) = spelled(ground, around)?;
        texts.insert(text.strip_suffix(END).unwrap_or(&text).to_owned() + "$");
    }
    texts.into_iter().map(|text| Ok(Form::filter("regex", Quoted::new(text.as_bytes())?))).collect()
}

/// The literal beginnings of what is open and may meet a path, less those that lie in another of them.
fn topmost(open: &[&Place], path: &AbsolutePath) -> BTreeSet<AbsolutePath> {
    let near: BTreeSet<AbsolutePath> = open
        .iter()
        .map(|place| place.0.prefix.clone())
        .filter(|prefix| is_beneath(prefix, path) || is_beneath(path, prefix))
        .collect();
    let lies_in_another = |one: &AbsolutePath| near.iter().any(|two| one != two && one.is_within(two));
    near.iter().filter(|one| !lies_in_another(one)).cloned().collect()
}

/// The expression of a closing pattern below something open: that as it is, the rest in every spelling.
fn spelled(ground: &Grounded, around: &AbsolutePath) -> Result<(String, Fit), Unquotable> {
    let mut fit = Fit::Exact;
    let mut text = String::new();
    let mut rest = ground.rest.as_slice();
    match rest {
        [Component::AnyDepth, after @ ..] if ground.prefix.is_root() => rest = after,
        _ => {
            let (path, fits) = spelled_path(&ground.prefix, around)?;
            text = format!("^{path}");
            fit = fits;
        }
    }
    for component in rest {
        let (part, fits) = closing_component(component);
        text.push_str(&part);
        fit = fit.max(fits);
    }
    text.push_str(END);
    Ok((text, fit))
}

/// A path below something open: that as it is, the names behind it in every spelling.
fn spelled_path(path: &AbsolutePath, around: &AbsolutePath) -> Result<(String, Fit), Unquotable> {
    let mut fit = Fit::Exact;
    let mut text = String::new();
    for (name, open) in path.components().zip(around.components().map(Some).chain(std::iter::repeat(None))) {
        text.push('/');
        if let Some(open) = open {
            text.push_str(&escaped(std::str::from_utf8(open).map_err(|_| Unquotable::NotText)?));
            continue;
        }
        let (part, fits) = closing_name(std::str::from_utf8(name).map_err(|_| Unquotable::NotText)?);
        text.push_str(&part);
        fit = fit.max(fits);
    }
    Ok((text, fit))
}

/// The names of a path as they are.
fn literally(path: &AbsolutePath) -> Result<String, Unquotable> {
    let mut text = String::new();
    for name in path.components() {
        text.push('/');
        text.push_str(&escaped(std::str::from_utf8(name).map_err(|_| Unquotable::NotText)?));
    }
    Ok(text)
}

/// Any number of names.
const ANY_DEPTH: &str = "(/[^/]+)*";
/// Any characters of one name.
const STAR: &str = "[^/]*";
/// A whole name.
const NAME: &str = "/[^/]+";
/// One character that every reading takes for one.
const ONE: &str = "[ -.0-~]";
/// A name that holds a character which some readings take for several.
const UNUSUAL: &str = "[^/]*[^ -~][^/]*";

fn opening_component(component: &Component) -> (String, Fit) {
    match component {
        Component::AnyDepth => (ANY_DEPTH.to_owned(), Fit::Exact),
        Component::Literal(name) => (format!("/{}", escaped(name)), Fit::Exact),
        Component::Glob(glob) if is_any_name(glob) => (NAME.to_owned(), Fit::Exact),
        Component::Glob(Glob(pieces)) => {
            let mut text = String::from("/");
            let mut fit = Fit::Exact;
            for piece in pieces {
                match piece {
                    GlobPiece::Literal(name) => text.push_str(&escaped(name)),
                    GlobPiece::Star => text.push_str(STAR),
                    GlobPiece::One => {
                        text.push_str(ONE);
                        fit = Fit::Stricter;
                    }
                    GlobPiece::Class { negated, ranges } => {
                        let taken = |c: char| within(ranges, c) != *negated;
                        text.push_str(&ascii_class(taken));
                        fit = Fit::Stricter;
                    }
                }
            }
            (text, fit)
        }
    }
}

/// Whether a pattern is every name: none is empty, so that `/*` is not `/` itself.
fn is_any_name(Glob(pieces): &Glob) -> bool {
    pieces.iter().all(|piece| matches!(piece, GlobPiece::Star))
}

fn within(ranges: &[(char, char)], c: char) -> bool {
    ranges.iter().any(|(from, to)| *from <= c && c <= *to)
}

/// The printable ASCII characters of a class but `/`, one by one; one that matches nothing if there is none.
fn ascii_class(taken: impl Fn(char) -> bool) -> String {
    let found: Vec<String> =
        (' '..='~').filter(|c| *c != '/' && taken(*c)).map(|c| escaped(c.encode_utf8(&mut [0; 4]))).collect();
    match found.as_slice() {
        // A name ends before a slash, so two of them never stand there.
        [] => "//".to_owned(),
        found => format!("({})", found.join("|")),
    }
}

fn closing_component(component: &Component) -> (String, Fit) {
    let (text, fit) = match component {
        Component::AnyDepth => return (ANY_DEPTH.to_owned(), Fit::Exact),
        Component::Literal(name) => closing_name(name),
        Component::Glob(glob) if is_any_name(glob) => return (NAME.to_owned(), Fit::Exact),
        Component::Glob(glob) => closing_glob(glob),
    };
    (format!("/{text}"), fit)
}

/// A name in every spelling; where those are too many, every name with a character outside ASCII too.
fn closing_name(name: &str) -> (String, Fit) {
    match every_spelling(name) {
        Some(text) => (text, Fit::Exact),
        None if name.is_ascii() => {
            let plain: String = name.chars().map(letter).collect();
            (format!("({plain}|{UNUSUAL})"), Fit::Stricter)
        }
        None => (format!("({}|{UNUSUAL})", escaped(name)), Fit::Stricter),
    }
}

/// A pattern of names in every spelling. Where a wildcard stands for a part of a character, or beside one that is
/// written together with others, every name with a character outside ASCII is closed too.
fn closing_glob(Glob(pieces): &Glob) -> (String, Fit) {
    let mut text = String::new();
    let mut fit = Fit::Exact;
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            GlobPiece::Star => text.push_str(STAR),
            GlobPiece::One => {
                text.push_str(ONE);
                fit = Fit::Stricter;
            }
            GlobPiece::Class { negated, ranges } => {
                let taken = |c: char| within(ranges, c) != *negated;
                let either =
                    |c: char| taken(c) || taken(c.to_ascii_lowercase()) || taken(c.to_ascii_uppercase());
                text.push_str(&ascii_class(either));
                fit = Fit::Stricter;
            }
            GlobPiece::Literal(name) => {
                let cut = (index > 0 && may_begin_inside_a_ligature(name))
                    || (index + 1 < pieces.len() && may_end_inside_a_ligature(name));
                match every_spelling(name).filter(|_| name.is_ascii()) {
                    Some(spellings) => text.push_str(&spellings),
                    None => text.extend(name.chars().map(letter)),
                }
                if cut || !name.is_ascii() || every_spelling(name).is_none() {
                    fit = Fit::Stricter;
                }
            }
        }
    }
    match fit {
        Fit::Exact => (text, fit),
        Fit::Stricter => (format!("({text}|{UNUSUAL})"), fit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;
    use crate::pattern::{PathPattern, Variable};

    fn place(text: &str) -> Place {
        let values = BTreeMap::from([(Variable::Home, b"/Users/ada".to_vec())]);
        let pattern = &PathPattern::parse(text, &scope()).unwrap()[0];
        Place(pattern.ground(&values).unwrap())
    }

    fn shown(filters: &Filters) -> Vec<String> {
        let print = |form: &Form| match form {
            Form::List(parts) => format!("{:?}", parts[1]),
            other => format!("{other:?}"),
        };
        filters
            .forms
            .iter()
            .map(print)
            .map(|text| text.replace("Text(Quoted(", "").replace("))", ""))
            .collect()
    }

    #[test]
    fn what_opens_is_spelled_as_it_is() {
        assert_eq!(shown(&opening(&place("/a.b/c")).unwrap()), ["\"/a.b/c\"", "\"/a.b/c\""]);
        assert_eq!(shown(&opening(&place("/*")).unwrap()), ["\"^/[^/]+(/|$)\""]);
        let glob = opening(&place("/a.b/**/x*")).unwrap();
        assert_eq!(shown(&glob), ["\"^/a\\\\.b(/[^/]+)*/x[^/]*(/|$)\""]);
    }

    #[test]
    fn what_closes_is_spelled_in_every_way_below_what_is_open() {
        let open = [place("/Users/ada/work")];
        let around: Vec<&Place> = open.iter().collect();
        let found = closing(&place("~/work/.env"), &around).unwrap();
        assert_eq!(shown(&found)[2], "\"^/Users/ada/work/\\\\.[eE][nN][vV](/|$)\"");
        let anywhere = closing(&place("**/.env"), &around).unwrap();
        assert_eq!(shown(&anywhere), ["\"/\\\\.[eE][nN][vV](/|$)\""]);
        let programs = ["/usr/bin/su", "/usr/sbin/su", "/usr/bin/doas", "/usr/sbin/doas", "/opt/x"];
        let told: Vec<(Place, String)> =
            programs.map(|text| (place(text), text.to_owned())).into_iter().collect();
        let around = [place("/usr"), place("/opt/x/y")];
        let found = super::programs(&told.iter().collect::<Vec<_>>(), &around.iter().collect::<Vec<_>>());
        let shared =
            "^(/usr/([sS]|ſ)[bB]([iI]|ı)[nN]|/usr/[bB]([iI]|ı)[nN])/(([sS]|ſ)[uU]|[dD][oO][aA]([sS]|ſ))(/|$)";
        let forms = found.unwrap().forms;
        assert_eq!(forms.len(), 3);
        assert_eq!(forms[2], Form::filter("regex", Quoted::new(shared.as_bytes()).unwrap()));
        // What is open in another spelling of the closed path lies in it.
        let other = [place("/users/ada/WORK/x")];
        let found = closing(&place("~/work"), &other.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(shown(&found)[2], "\"/users/ada/WORK/x\"");
    }
}
