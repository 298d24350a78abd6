//! What the API server does to admission warnings: it cuts each at 256 characters, drops the rest beyond 4,096 in all, and
//! drops one with a control character altogether. So we bound them ourselves, and say that there are more.

/// Characters of one warning.
const LENGTH: usize = 256;
/// 15 full ones and the last one stay below 4,096 characters.
const COUNT: usize = 15;

pub(crate) fn bounded(warnings: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = warnings.iter().take(COUNT).map(|warning| line(warning)).collect();
    if warnings.len() > COUNT {
        kept.push(format!("and {} more warnings", warnings.len() - COUNT));
    }
    kept
}

fn line(warning: &str) -> String {
    let mut line: String =
        warning.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LENGTH + 1).collect();
    if let Some((at, _)) = line.char_indices().nth(LENGTH) {
        line.truncate(at);
        line.pop();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_warnings_are_cut_and_many_are_counted() {
        let kept = bounded(&vec!["ä".repeat(1000); 1000]);
        assert_eq!(kept.len(), COUNT + 1);
        assert_eq!(kept[0].chars().count(), LENGTH);
        assert_eq!(kept[COUNT], "and 985 more warnings");
        assert!(kept.iter().map(|line| line.chars().count()).sum::<usize>() <= 4096);
        assert_eq!(bounded(&["x".repeat(LENGTH)]), ["x".repeat(LENGTH)]);
    }

    #[test]
    fn control_characters_become_spaces() {
        assert_eq!(bounded(&["a\nb\u{7}".to_owned()]), ["a b "]);
    }
}
