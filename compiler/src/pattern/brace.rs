//! Alternatives in braces, expanded as text before anything else is read.

use super::ItemError;
use super::error::shown;
use super::glob::class_end;
use crate::diagnostic::Code;

/// How many texts one item may expand to.
pub(super) const MOST: usize = 1_000;

/// Expands `{a,b}` in a text, in the order in which the alternatives are written. Braces nest; those in a
/// class (`[{]`) are ordinary characters.
pub(super) fn expand(text: &str) -> Result<Vec<String>, ItemError> {
    let mut done = Vec::new();
    let mut waiting = vec![text.to_owned()];
    while let Some(next) = waiting.pop() {
        let Some(open) = find_open(&next) else {
            done.push(next);
            continue;
        };
        let Some((close, commas)) = find_close(&next, open) else {
            return Err(unclosed(text));
        };
        if commas.is_empty() {
            return Err(single(text, next.get(open..=close).unwrap_or("{}")));
        }
        let mut edges = vec![open];
        edges.extend(commas);
        edges.push(close);
        if done.len() + waiting.len() + edges.len() - 1 > MOST {
            return Err(ItemError::new(
                Code::TooManyAlternatives,
                0..text.len(),
                format!("the braces of `{}` stand for more than {MOST} paths", shown(text)),
            )
            .help("use `*`, or write several rules"));
        }
        let (before, after) = (next.get(..open).unwrap_or(""), next.get(close + 1..).unwrap_or(""));
        for pair in edges.windows(2).rev() {
            if let [from, to] = pair {
                waiting.push(format!("{before}{}{after}", next.get(from + 1..*to).unwrap_or("")));
            }
        }
    }
    Ok(done)
}

fn find_open(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        match c {
            '{' => return Some(at),
            '[' => at = class_end(text, at).unwrap_or(at + 1),
            c => at += c.len_utf8(),
        }
    }
    None
}

/// Finds the brace that closes the one at `open`, and the commas that belong to it.
fn find_close(text: &str, open: usize) -> Option<(usize, Vec<usize>)> {
    let mut depth = 0_usize;
    let mut commas = Vec::new();
    let mut at = open;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some((at, commas)),
            '}' => depth -= 1,
            ',' if depth == 1 => commas.push(at),
            '[' => {
                at = class_end(text, at).unwrap_or(at + 1);
                continue;
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    None
}

fn unclosed(text: &str) -> ItemError {
    let at = find_open(text).unwrap_or(0);
    ItemError::new(Code::BadPathPattern, at..at + 1, "`{` has no `}` that closes it")
        .help("alternatives are written `{a,b}`, in quotes")
        .help("a literal `{` is written `[{]`")
}

fn single(text: &str, braces: &str) -> ItemError {
    let at = text.find(braces).unwrap_or(0);
    ItemError::new(
        Code::BadPathPattern,
        at..at + braces.len().min(text.len() - at),
        format!("`{}` has no two alternatives", shown(braces)),
    )
    .help("alternatives are written `{a,b}`, in quotes")
    .help("a literal `{` is written `[{]`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_expand_in_the_order_of_writing() {
        for (text, texts) in [
            ("/a", &["/a"][..]),
            ("/{a,b}/{c,d}", &["/a/c", "/a/d", "/b/c", "/b/d"]),
            ("/{a,{b,c}d}", &["/a", "/bd", "/cd"]),
            ("/a{,.bak}", &["/a", "/a.bak"]),
            ("/[{],}/x", &["/[{],}/x"]),
            ("/{[,],b}", &["/[,]", "/b"]),
            ("/{ä,/ö}", &["/ä", "//ö"]),
        ] {
            assert_eq!(expand(text).unwrap(), texts, "{text}");
        }
    }

    #[test]
    fn what_braces_cannot_mean_is_an_error() {
        for text in ["/{a", "/{a}", "/{}", "/{a,{b}", "/{a,{b}}"] {
            assert_eq!(expand(text).unwrap_err().code, Code::BadPathPattern, "{text}");
        }
        let many = "{a,b}".repeat(10);
        assert_eq!(expand(&many).unwrap_err().code, Code::TooManyAlternatives);
        assert_eq!(expand(&"{a,b}".repeat(9)).unwrap().len(), 512);
        assert_eq!(expand(&"{a,b}".repeat(100_000)).unwrap_err().code, Code::TooManyAlternatives);
    }
}
