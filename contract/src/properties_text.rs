use std::collections::BTreeMap;

use crate::{Problem, Problems};

/// Java properties text, as in `.properties` files, but UTF-8: escapes, continuation lines and comments as
/// `java.util.Properties` reads them (the crate java-properties 2.0 knows no surrogate pairs and miswrites control
/// characters, so it is not used). A key given twice with different values is a mistake here, where Java silently takes the last.
#[derive(Debug)]
pub struct PropertiesText;

impl PropertiesText {
    /// Reads all pairs. `key` names the text in the problems.
    pub fn parse(key: &str, text: &str) -> Result<BTreeMap<String, String>, Problems> {
        let mut pairs: BTreeMap<String, String> = BTreeMap::new();
        let mut problems = Problems::new();
        for (number, line) in logical_lines(text) {
            let (name, value) = match split(&line) {
                Ok(pair) => pair,
                Err(expected) => {
                    problems.push(Problem::new(format!("{key}: line {number}"), &line, expected));
                    continue;
                }
            };
            match pairs.get(&name) {
                Some(before) if *before != value => problems.push(Problem::new(
                    format!("{key}: {name}"),
                    &value,
                    format!("given twice with different values, before as \"{before}\"; keep one"),
                )),
                _ => {
                    pairs.insert(name, value);
                }
            }
        }
        problems.into_result(pairs)
    }

    /// Writes pairs so that [`PropertiesText::parse`] and `java.util.Properties` read the same again: printable ASCII,
    /// other characters as `\uXXXX`, one pair a line.
    pub fn render<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut text = String::new();
        for (key, value) in pairs {
            for character in key.chars() {
                if matches!(character, ' ' | '=' | ':' | '#' | '!') {
                    text.push('\\');
                }
                push_escaped(&mut text, character);
            }
            text.push('=');
            for (index, character) in value.chars().enumerate() {
                if index == 0 && character == ' ' {
                    text.push('\\');
                }
                push_escaped(&mut text, character);
            }
            text.push('\n');
        }
        text
    }
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// The lines with their number, comments and blank lines left out, those that end in a lone backslash joined with the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    for (index, natural) in unified.split('\n').enumerate() {
        let line = natural.trim_start_matches(BLANKS);
        if !continued && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let goes_on = backslashes % 2 == 1;
        let content = if goes_on { &line[..line.len() - 1] } else { line };
        match lines.last_mut() {
            Some((_, last)) if continued => last.push_str(content),
            _ => lines.push((index + 1, content.to_owned())),
        }
        continued = goes_on;
    }
    lines
}

/// Key and value of a logical line: the key ends at the first unescaped `=`, `:` or blank.
fn split(line: &str) -> Result<(String, String), String> {
    let mut escaped = false;
    let end = line
        .find(|c: char| {
            let ends = !escaped && (matches!(c, '=' | ':') || BLANKS.contains(&c));
            escaped = !escaped && c == '\\';
            ends
        })
        .unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    if key.is_empty() {
        return Err("begins with '=' or ':' and so has no key".to_owned());
    }
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(BLANKS);
    Ok((unescape(key)?, unescape(value)?))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            push(&mut units, character);
            continue;
        }
        match characters.next() {
            Some('n') => push(&mut units, '\n'),
            Some('r') => push(&mut units, '\r'),
            Some('t') => push(&mut units, '\t'),
            Some('f') => push(&mut units, '\u{c}'),
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                let unit = (digits.len() == 4).then(|| u16::from_str_radix(&digits, 16).ok()).flatten();
                units.push(
                    unit.ok_or_else(|| format!("\\u{digits} is no escape: \\u takes four hex digits"))?,
                );
            }
            Some(other) => push(&mut units, other),
            None => {}
        }
    }
    String::from_utf16(&units).map_err(|_| "holds half of a surrogate pair (\\ud800 to \\udfff)".to_owned())
}

fn push(units: &mut Vec<u16>, character: char) {
    units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
}

/// Java reads `.properties` files as Latin-1 unless told otherwise, so nothing beyond ASCII may stand in them.
fn push_escaped(text: &mut String, character: char) {
    match character {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        ' '..='~' => text.push(character),
        other => {
            let mut units = [0; 2];
            for unit in other.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_comments_and_continuations_are_read_as_java_reads_them() {
        let text =
            "# comment\n! another\nretention.ms = 1000\ncleanup.policy:\\\n   compact\na\\ b=c\\u00e4\n";
        let pairs = PropertiesText::parse("properties", text).unwrap();
        assert_eq!(pairs["retention.ms"], "1000");
        assert_eq!(pairs["cleanup.policy"], "compact");
        assert_eq!(pairs["a b"], "cä");
    }

    #[test]
    fn a_key_given_twice_is_a_mistake_only_when_the_values_differ() {
        assert!(PropertiesText::parse("properties", "a=1\na=1").is_ok());
        let problems = PropertiesText::parse("properties", "a=1\na=2").unwrap_err();
        assert!(problems.to_string().contains("given twice"), "{problems}");
    }

    #[test]
    fn broken_escapes_are_told_with_their_line() {
        let problems = PropertiesText::parse("properties", "a=1\nb=\\u12").unwrap_err();
        assert!(problems.to_string().contains("line 2"), "{problems}");
    }

    proptest! {
        #[test]
        fn parse_of_render_is_identity(pairs in proptest::collection::btree_map(".{1,12}", ".{0,30}", 0..8)) {
            let text = PropertiesText::render(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            prop_assert!(text.is_ascii());
            prop_assert_eq!(PropertiesText::parse("properties", &text).unwrap(), pairs);
        }
    }
}
