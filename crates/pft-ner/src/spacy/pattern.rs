//! Python's regular expressions, for a backtracking engine that knows look-around.

use fancy_regex::Regex;

/// Compiles a pattern of Python's `re`. Only what differs in syntax is rewritten: an opening
/// bracket inside a character class, which here would start a nested class.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    let pattern = pattern.strip_prefix("(?u)").unwrap_or(pattern);
    let mut rewritten = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => {
                rewritten.push(c);
                rewritten.extend(characters.next());
            }
            '[' if in_class => rewritten.push_str(r"\["),
            '[' => {
                in_class = true;
                rewritten.push(c);
                if characters.next_if_eq(&'^').is_some() {
                    rewritten.push('^');
                }
                if characters.next_if_eq(&']').is_some() {
                    rewritten.push_str(r"\]");
                }
            }
            ']' => {
                in_class = false;
                rewritten.push(c);
            }
            '&' | '~' if in_class => {
                rewritten.push('\\');
                rewritten.push(c);
            }
            _ => rewritten.push(c),
        }
    }
    Regex::new(&rewritten).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_keep_pythons_meaning() {
        let regex = compile(r"(?<=[a[&&])[]x]+$").unwrap();
        assert!(regex.is_match("[]x").unwrap());
        assert!(regex.is_match("a]").unwrap());
        assert!(!regex.is_match("b]").unwrap());
    }
}
