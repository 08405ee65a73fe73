//! Commands: what a start is called, and where the words of a pattern may stand.

use super::options::{self, Next};
use super::{Covers, PathAsked};
use crate::bytes::AbsolutePath;
use crate::fold;
use crate::pattern::Variable;
use crate::pattern::glob::Case;
use crate::pattern::{
    CommandPattern, Component, Glob, GlobPiece, NamePattern, PathPattern, Polarity, ProgramPattern,
    WordPattern,
};
use crate::question::{Platform, Start};
use crate::world::{TooManyLinks, World};

/// The start of a program that is asked about.
#[derive(Clone, Debug)]
pub struct StartAsked<'a> {
    platform: Platform,
    start: &'a Start,
    /// The names of the start without a multicall's applet.
    names: Vec<String>,
    /// The file as asked for and as resolved, where they are paths.
    files: Vec<PathAsked<'a>>,
    file: FileKnown,
}

/// Whether it is known which file is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKnown {
    Yes,
    OnlyItsName,
}

/// Binaries that are many programs, by the name they are called with.
const MULTICALL: &[&str] = &["busybox", "coreutils", "toybox"];

impl<'a> StartAsked<'a> {
    /// Resolves the files of a start in their world.
    ///
    /// # Errors
    /// One of them leads over too many links.
    pub fn new(world: &'a World, start: &'a Start) -> Result<StartAsked<'a>, TooManyLinks> {
        let mut files = Vec::new();
        let cwd = world.variables.get(&Variable::Cwd).and_then(|cwd| AbsolutePath::new(cwd));
        if start.asked.contains('/') && (start.asked.starts_with('/') || cwd.is_some()) {
            let cwd = cwd.unwrap_or_else(AbsolutePath::root);
            files.push(PathAsked::from(world, &cwd, start.asked.as_bytes())?);
        }
        if let Some(resolved) = &start.resolved {
            files.push(PathAsked::new(world, resolved)?);
        }
        let mut names = vec![base(&start.asked).to_owned(), called(start).to_owned()];
        for object in files.iter().flat_map(PathAsked::objects) {
            names.extend(object.name().map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        names.sort_unstable();
        names.dedup();
        let file = if files.is_empty() { FileKnown::OnlyItsName } else { FileKnown::Yes };
        Ok(StartAsked { platform: world.platform, start, names, files, file })
    }

    /// Whether the file is a binary that is many programs: then the name decides, not the file.
    #[must_use]
    pub fn is_multicall(&self) -> bool {
        self.names.iter().any(|name| MULTICALL.contains(&name.as_str()))
    }

    fn words(&self) -> &[String] {
        self.start.argv.get(1..).unwrap_or(&[])
    }

    /// What `git` is asked for by a start of one of its parts: `git-push` is `git push`.
    fn subcommands(&self) -> impl Iterator<Item = Vec<String>> {
        let parts = self.names.iter().filter_map(|name| name.strip_prefix("git-"));
        parts.map(|part| [part.to_owned()].into_iter().chain(self.words().iter().cloned()).collect())
    }

    fn closes(&self, pattern: &CommandPattern) -> bool {
        // What an option takes is told by the name that the pattern means, not by what else the start is called.
        let fits = |names: &[&str], words: &[String]| {
            let meant: Vec<&str> =
                names.iter().copied().filter(|name| self.name_closes(&pattern.program, name)).collect();
            !meant.is_empty() && words_close(&pattern.words, &meant, words)
        };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        match &pattern.program {
            ProgramPattern::AnyCommand => true,
            ProgramPattern::Path(path) => {
                self.file_closes(path)
                    && words_close(&pattern.words, pattern.program.name().as_slice(), self.words())
            }
            ProgramPattern::Name(_) => {
                fits(&names, self.words())
                    || self.subcommands().any(|words| fits(&["git"], &words))
                    || applet(self.start).is_some_and(|(applet, words)| fits(&[applet], words))
            }
        }
    }

    fn name_closes(&self, program: &ProgramPattern, name: &str) -> bool {
        let ProgramPattern::Name(NamePattern(glob)) = program else { return false };
        glob.matches(name.as_bytes())
            || (self.platform == Platform::MacOs
                && fold::FORMS
                    .iter()
                    .any(|form| fold::glob(glob, *form).matches_in(&form(name.as_bytes()), Case::Either)))
    }

    /// A file of which only the name is known may be any file of that name.
    fn file_closes(&self, path: &PathPattern) -> bool {
        let by_name = match path.components.last() {
            Some(Component::Literal(name)) => self.names.iter().any(|known| known == name),
            Some(Component::Glob(glob)) => self.names.iter().any(|known| glob.matches(known.as_bytes())),
            Some(Component::AnyDepth) | None => true,
        };
        self.files.iter().any(|file| file.covers(path, Polarity::Closing))
            || (self.file == FileKnown::OnlyItsName && by_name)
    }

    fn opens(&self, pattern: &CommandPattern) -> bool {
        let program = match &pattern.program {
            ProgramPattern::AnyCommand => return true,
            // A multicall binary reached under an applet's name is that applet; called by its own, itself.
            ProgramPattern::Name(name) => {
                let called = called(self.start);
                let multicall = takes_applet(called) || MULTICALL.contains(&called);
                self.names
                    .iter()
                    .all(|known| name.matches(known) || (!multicall && MULTICALL.contains(&known.as_str())))
                    && name.matches(base(&self.start.asked))
            }
            ProgramPattern::Path(path) => {
                let called = base(self.start.argv.first().unwrap_or(&self.start.asked));
                self.file == FileKnown::Yes
                    && self.files.iter().all(|file| file.covers(path, Polarity::Opening))
                    && (called == base(&self.start.asked)
                        || self
                            .files
                            .iter()
                            .flat_map(PathAsked::objects)
                            .any(|object| object.name() == Some(called.as_bytes())))
            }
        };
        program && words_open(pattern, self.words())
    }
}

impl Covers<CommandPattern> for StartAsked<'_> {
    fn covers(&self, pattern: &CommandPattern, polarity: Polarity) -> bool {
        match polarity {
            Polarity::Opening => self.opens(pattern),
            Polarity::Closing => self.closes(pattern),
        }
    }
}

/// What a start calls its program, as a multicall binary reads it: without the `-` of a login shell.
fn called(start: &Start) -> &str {
    let first = start.argv.first().unwrap_or(&start.asked);
    base(first.strip_prefix('-').unwrap_or(first))
}

/// The names that a start is given by its words: what is asked for, what that is called, and a multicall binary's applet.
pub(crate) fn spoken_names(start: &Start) -> impl Iterator<Item = &str> {
    [base(&start.asked), called(start)].into_iter().chain(applet(start).map(|(applet, _)| applet))
}

/// The applet that a multicall binary is asked for in its arguments, and the words after it.
fn applet(start: &Start) -> Option<(&str, &[String])> {
    let called = [base(&start.asked), called(start)];
    let (first, rest) = start.argv.get(1..)?.split_first()?;
    if called.contains(&"coreutils") {
        let applet = first
            .strip_prefix("--coreutils-prog=")
            .or_else(|| first.strip_prefix("--coreutils-prog-shebang="))?;
        return Some((base(applet), rest));
    }
    if !called.iter().any(|name| takes_applet(name)) {
        return None;
    }
    // `busybox busybox touch` is `touch`.
    let (mut applet, mut words) = (base(first), rest);
    while let Some((next, rest)) = words.split_first().filter(|_| takes_applet(applet)) {
        (applet, words) = (base(next), rest);
    }
    Some((applet, words))
}

/// Whether a binary under this name is told by its first argument which program it is.
fn takes_applet(name: &str) -> bool {
    name.starts_with("busybox") || name.starts_with("toybox")
}

/// The last component of a program as it is spelled.
fn base(program: &str) -> &str {
    let trimmed = program.trim_end_matches('/');
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

/// Whether these are the words of an opening pattern: all of them, in order, nothing skipped.
fn words_open(pattern: &CommandPattern, words: &[String]) -> bool {
    (words.len() == pattern.words.len() || (pattern.open_ended && words.len() > pattern.words.len()))
        && pattern.words.iter().zip(words).all(|(pattern, word)| word_opens(pattern.glob(), word))
}

/// Whether a word certainly is what an opening pattern means: a wildcard takes no `:`, no `=` and no leading `-`,
/// so it never stands for a `HOST:PATH`, a `NAME=VALUE` or an option.
fn word_opens(glob: &Glob, word: &str) -> bool {
    let written = |c: char| {
        let count = |piece: &GlobPiece| match piece {
            GlobPiece::Literal(text) => text.matches(c).count(),
            _ => 0,
        };
        glob.0.iter().map(count).sum::<usize>()
    };
    glob.matches(word.as_bytes())
        && [':', '='].iter().all(|c| word.matches(*c).count() == written(*c))
        && (!word.starts_with('-') || matches!(glob.0.first(), Some(GlobPiece::Literal(_))))
}

/// Whether a command begins with the words of a closing pattern, whatever may be skipped between them.
pub(crate) fn words_close(pattern: &[WordPattern], names: &[&str], words: &[String]) -> bool {
    let in_order = words.len() >= pattern.len()
        && pattern.iter().zip(words).all(|(pattern, word)| pattern.glob().matches(word.as_bytes()));
    in_order || (options_close(pattern, words) && positions_close(pattern, names, words))
}

/// Whether each word that matches anywhere does.
fn options_close(pattern: &[WordPattern], words: &[String]) -> bool {
    pattern.iter().all(|pattern| match pattern {
        WordPattern::Anywhere(option) => {
            words.iter().any(|word| option_closes(option, word)) || is_spread(option, words)
        }
        WordPattern::Positional(_) => true,
    })
}

/// Whether a word is an option in one of its spellings: with a value behind `=`, abbreviated, in a cluster.
fn option_closes(option: &Glob, word: &str) -> bool {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    if option.matches(word.as_bytes()) || (name.starts_with('-') && option.matches(name.as_bytes())) {
        return true;
    }
    let Some(literal) = option.as_literal() else { return false };
    if let Some(before) = literal.strip_suffix('=') {
        return (word.starts_with(literal))
            || (literal.starts_with('-') && (name == before || abbreviates(name, before)));
    }
    match literal.strip_prefix('-') {
        Some(rest) if rest.starts_with('-') => abbreviates(name, literal),
        Some(letters) if letters.chars().count() == 1 => {
            cluster(word).is_some_and(|cluster| cluster.contains(letters))
        }
        Some(letters) => {
            value.is_none() && word.strip_prefix('-').is_some_and(|rest| same_letters(letters, rest))
        }
        None => false,
    }
}

/// Whether a long option is written short, as `getopt_long` lets it be.
fn abbreviates(name: &str, option: &str) -> bool {
    name.len() > 2 && name.starts_with("--") && option.starts_with(name)
}

/// Whether the letters of a cluster such as `-rf` stand in any clusters: `-r -f`, `-rvf`, `-rv -f`. A word with a
/// letter twice, such as `-exec`, is no cluster.
fn is_spread(option: &Glob, words: &[String]) -> bool {
    let letters = option.as_literal().and_then(|literal| literal.strip_prefix('-')).unwrap_or("");
    let once = |letter: char| letters.matches(letter).count() == 1;
    !letters.is_empty()
        && letters.chars().all(|letter| {
            letter.is_ascii_alphanumeric()
                && once(letter)
                && words.iter().any(|word| cluster(word).is_some_and(|cluster| cluster.contains(letter)))
        })
}

/// The letters of a word that may be several options of one letter each.
fn cluster(word: &str) -> Option<&str> {
    let letters = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?;
    letters.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

/// Whether `-fr` has the letters of `-rf`.
fn same_letters(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    one.len() == other.len() && sorted(one) == sorted(other)
}

/// Whether the words in their place stand in this order at the beginning, only what may be skipped between.
fn positions_close(pattern: &[WordPattern], names: &[&str], words: &[String]) -> bool {
    let mut reached = Reached { options: vec![false; words.len() + 1], behind: vec![false; words.len() + 1] };
    if let Some(first) = reached.options.first_mut() {
        *first = true;
    }
    let mut before = None;
    let mut subcommand = Subcommand::NotYet;
    for piece in pattern {
        let option = before.replace(piece);
        let WordPattern::Positional(glob) = piece else { continue };
        if let Some(WordPattern::Anywhere(option)) = option
            && has_value(option, glob, words)
        {
            continue;
        }
        reached.skip(names, words, subcommand);
        reached = Reached {
            options: step(&reached.options, glob, words),
            behind: step(&reached.behind, glob, words),
        };
        subcommand = Subcommand::Seen;
    }
    reached.options.contains(&true) || reached.behind.contains(&true)
}

/// The places behind the words that match where one may stand.
fn step(reached: &[bool], glob: &Glob, words: &[String]) -> Vec<bool> {
    let fits = reached.iter().zip(words).map(|(reached, word)| *reached && glob.matches(word.as_bytes()));
    std::iter::once(false).chain(fits).collect()
}

/// Whether a word in its place has been matched: the table of options is about what stands before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subcommand {
    NotYet,
    Seen,
}

/// Where the next word of a pattern may stand.
struct Reached {
    /// Where a word may still be an option.
    options: Vec<bool>,
    /// Behind a `--` that ended the options. One that is an option's value ends nothing.
    behind: Vec<bool>,
}

impl Reached {
    /// Adds the places that are reached by skipping: options, and the words that they take. Behind `--` nothing is.
    fn skip(&mut self, names: &[&str], words: &[String], subcommand: Subcommand) {
        for (at, word) in words.iter().enumerate() {
            if self.options.get(at) != Some(&true) {
                continue;
            }
            if word == "--" {
                reach(&mut self.behind, at + 1);
            } else if word.starts_with('-') {
                // A program of which no name is known may be any.
                for name in names.iter().chain(names.is_empty().then_some(&"")) {
                    match options::next(name, word) {
                        Next::Leaves => reach(&mut self.options, at + 1),
                        Next::Takes if subcommand == Subcommand::NotYet => reach(&mut self.options, at + 2),
                        Next::Takes | Next::Unknown => {
                            reach(&mut self.options, at + 1);
                            reach(&mut self.options, at + 2);
                        }
                    }
                }
            } else if subcommand == Subcommand::NotYet
                && names.iter().any(|name| options::is_toolchain(name, word))
            {
                reach(&mut self.options, at + 1);
            }
        }
    }
}

fn reach(places: &mut [bool], at: usize) {
    if let Some(place) = places.get_mut(at) {
        *place = true;
    }
}

/// Whether an option of a pattern stands with the value that follows it there: `-v X`, `-vX`, `--volume=X`.
fn has_value(option: &Glob, value: &Glob, words: &[String]) -> bool {
    let literal = option.as_literal().unwrap_or("");
    if !literal.starts_with('-') || literal.ends_with('=') {
        return false;
    }
    let apart = words
        .iter()
        .zip(words.iter().skip(1))
        .any(|(word, next)| option_closes(option, word) && value.matches(next.as_bytes()));
    let glued = words.iter().any(|word| match word.split_once('=') {
        Some((name, given)) if option_closes(option, name) && value.matches(given.as_bytes()) => true,
        _ => literal.chars().count() == 2 && ends_cluster(literal, value, word),
    });
    apart || glued
}

/// Whether the letter of an option stands in a cluster, and what is behind it there is the value: `-mX`, `-BmX`.
fn ends_cluster(option: &str, value: &Glob, word: &str) -> bool {
    let letters = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric());
    let Some(letter) = option.strip_prefix('-') else { return false };
    let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.starts_with('-')) else {
        return false;
    };
    cluster.match_indices(letter).any(|(at, letter)| {
        let (before, rest) =
            (cluster.get(..at).unwrap_or(""), cluster.get(at + letter.len()..).unwrap_or(""));
        letters(before) && value.matches(rest.as_bytes())
    })
}
