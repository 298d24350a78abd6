/// The candidate that `text` was most likely meant to be, if one is near enough to be worth naming.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean x?" or a list of what there is.
pub(crate) fn suggestion(what: &str, text: &str, candidates: &[&str]) -> String {
    match nearest(text, candidates.iter().copied()) {
        Some(near) => format!("{what}; did you mean {near}?"),
        None => format!("{what}; known are {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_key_and_nonsense_finds_none() {
        assert_eq!(nearest("retention.sm", ["retention.ms", "segment.ms"]), Some("retention.ms"));
        assert_eq!(nearest("Partitions", ["partitions", "name"]), Some("partitions"));
        assert_eq!(nearest("qqqqqqqqqqqq", ["partitions", "name"]), None);
    }
}
