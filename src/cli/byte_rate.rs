use topicops_contract::ByteRate;

/// Reads bytes per second: `50000000`, `50MB`, `50MB/s`, `64MiB/s`; `0`, or `none`, is no limit.
///
/// # Errors
/// With the text and what would be right.
pub(super) fn byte_rate(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("\"{text}\" is no rate: write bytes per second as 50MB/s, 64MiB/s or 50000000; 0 is none");
    if text.trim() == "none" {
        return Ok(0);
    }
    // Kafka's rates are signed.
    ByteRate::read(text).filter(|rate| i64::try_from(*rate).is_ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_and_without_units() {
        for (text, rate) in [
            ("0", 0),
            ("none", 0),
            ("1000", 1000),
            ("50MB/s", 50_000_000),
            ("64 MiB/s", 64 << 20),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(byte_rate(text), Ok(rate), "{text}");
        }
        for text in ["", "fast", "-1", "5 apples", "5mb", "99999999999GB", "1.5MB"] {
            assert!(byte_rate(text).is_err_and(|error| error.contains(text)), "{text}");
        }
    }
}
