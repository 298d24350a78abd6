/// Reads bytes per second: `50000000`, `50MB`, `50MB/s`, `64MiB/s`; `0`, or `none`, is no limit.
///
/// # Errors
/// With the text and what would be right.
pub(super) fn byte_rate(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("\"{text}\" is no rate: write bytes per second as 50MB/s, 64MiB/s or 50000000; 0 is none");
    let number = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    if number == "none" {
        return Ok(0);
    }
    let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &number[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
    // Kafka's rates are signed.
    number.checked_mul(factor).filter(|rate| i64::try_from(*rate).is_ok()).ok_or_else(wrong)
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
