/// What a run is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) n: usize,
    pub(crate) brokers: u8,
    pub(crate) rounds: usize,
}

impl Setup {
    /// `1,000 topics on one broker`.
    pub(crate) fn title(self, what: &str) -> String {
        let brokers = match self.brokers {
            1 => "one broker".to_owned(),
            3 => "three brokers".to_owned(),
            other => format!("{other} brokers"),
        };
        format!("{} {what} on {brokers}", thousands(self.n))
    }
}

/// `10,000` for 10000.
pub(crate) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let told = [0, 999, 1_000, 10_000, 1_234_567].map(thousands);
        assert_eq!(told, ["0", "999", "1,000", "10,000", "1,234,567"]);
    }
}
