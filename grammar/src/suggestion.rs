//! The nearest of the words that could have been meant.

/// Finds the candidate that `word` is most likely a misspelling of, if one is close enough.
///
/// Swapped neighbours count as one mistake. A word of up to three characters may differ by one, one of up to
/// seven by two, a longer one by three. Case is ignored. Of equally near candidates one of the same length
/// wins, then the first. A candidate equal to `word` is no suggestion.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length == 0 || length > LONGEST {
        return None;
    }
    let farthest = (length / 2).clamp(1, if length > 7 { 3 } else { 2 });
    let folded = word.to_lowercase();
    let mut best: Option<((usize, usize), &str)> = None;
    for candidate in candidates {
        let other_length = candidate.chars().count();
        let by_length = other_length.abs_diff(length);
        if candidate == word || by_length > farthest {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
        let shares_a_letter = distance < other_length.max(length);
        if distance <= farthest
            && shares_a_letter
            && best.is_none_or(|(nearest, _)| (distance, by_length) < nearest)
        {
            best = Some(((distance, by_length), candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Words beyond this many characters are nobody's misspelling; the bound keeps comparing cheap.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["allow", "deny", "never", "to", "as", "connect-time", "mach-lookup"];
        let table = [
            ("alow", Some("allow")),
            ("allwo", Some("allow")),
            ("Allow", Some("allow")),
            ("ALLOW", Some("allow")),
            ("dney", Some("deny")),
            ("nver", Some("never")),
            ("connect_time", Some("connect-time")),
            ("mach-lokup", Some("mach-lookup")),
            ("ot", Some("to")),
            ("a", Some("as")),
            ("x", None),
            ("allow", None),
            ("", None),
            ("permit", None),
            ("xy", None),
            ("git", None),
        ];
        for (word, expected) in table {
            assert_eq!(did_you_mean(word, words), expected, "{word}");
        }
    }

    #[test]
    fn of_two_equally_near_the_first_wins() {
        assert_eq!(did_you_mean("bat", ["cat", "hat"]), Some("cat"));
        assert_eq!(did_you_mean("bat", ["hat", "cat"]), Some("hat"));
        assert_eq!(did_you_mean("tset", ["set", "test"]), Some("test"), "one of the same length is nearer");
    }
}
