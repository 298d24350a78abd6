use super::*;

fn problems(text: &str) -> Vec<String> {
    let problems = TopicRules::parse(text).expect_err(text);
    problems.iter().map(ToString::to_string).collect()
}

/// A mistake, and what has to be told of it: path, value, and what would be right.
const MISTAKES: [(&str, &[&str]); 57] = [
    (
        "limits: { producer-byte-rate: { max: fast } }",
        &["limits.producer-byte-rate.max: \"fast\": bytes per second such as 10MB/s"],
    ),
    (
        "limits: { consumer-byte-rate: { max: 0 } }",
        &["limits.consumer-byte-rate.max: \"0\": bytes per second"],
    ),
    (
        "limits: { request-percentage: { min: 50, max: 10% } }",
        &["limits.request-percentage: ", "min is greater than max"],
    ),
    (
        "defaults: { request-percentage: -1 }",
        &["defaults.request-percentage: \"-1\": a percentage of the time of one broker thread"],
    ),
    ("limit: {}", &["limit: no key of a policy here; did you mean limits?"]),
    ("- limits", &["file: \"- limits\": a mapping"]),
    ("just text", &["file: \"just text\": a mapping"]),
    ("limits: [", &["YAML: ", "line 2 column 1"]),
    ("limits: {}\nlimits: {}", &["YAML: duplicate entry with key \"limits\""]),
    ("namespaces:\n  shop: {}\n  shop: {}", &["YAML: namespaces: duplicate entry with key \"shop\""]),
    ("7: {}", &["file: \"7\": a key that is text"]),
    ("limits: 3", &["limits: \"3\": a mapping"]),
    (
        "limits: { partition: { max: 3 } }",
        &["limits.partition: ", "did you mean partitions? known are partitions, replication-factor"],
    ),
    ("limits: { partitions: 3 }", &["limits.partitions: \"3\": a mapping"]),
    (
        "limits: { partitions: { maximum: 3 } }",
        &["limits.partitions.maximum: ", "known are min, max, action"],
    ),
    (
        "limits: { partitions: { max: \"3\" } }",
        &["limits.partitions.max: \"3\": a whole number, without quotes"],
    ),
    ("limits: { partitions: { max: 1.5 } }", &["limits.partitions.max: \"1.5\": a whole number"]),
    ("limits: { partitions: { max: 0 } }", &["limits.partitions.max: \"0\": ", "1 or more"]),
    ("limits: { partitions: { max: 3000000000 } }", &["limits.partitions.max: \"3000000000\""]),
    ("limits: { partitions: { action: warn } }", &["limits.partitions: \"action: warn\": limits nothing"]),
    (
        "limits: { partitions: { min: 6, max: 3 } }",
        &["limits.partitions: \"min: 6, max: 3\": min is greater than max"],
    ),
    (
        "limits: { partitions: { max: 3, action: deny } }",
        &["limits.partitions.action: \"deny\": one of refuse, warn, adjust"],
    ),
    (
        "limits: { replication-factor: { min: 40000 } }",
        &["limits.replication-factor.min: \"40000\"", "32767"],
    ),
    ("limits: { retention: { max: 7 } }", &["limits.retention.max: \"7\": a duration such as 7d"]),
    (
        "limits: { retention: { max: unlimited } }",
        &["limits.retention.max: \"unlimited\": ", "leave the bound out"],
    ),
    (
        "limits: { retention-bytes: { max: 5GB } }",
        &["limits.retention-bytes.max: \"5GB\": a number of bytes such as"],
    ),
    ("limits: { retention-bytes: { max: -1 } }", &["limits.retention-bytes.max: \"-1\""]),
    ("limits: { name: shop.* }", &["limits.name: \"shop.*\": a mapping"]),
    ("limits: { name: {} }", &["limits.name.pattern: is missing"]),
    ("limits: { name: { pattern: 7 } }", &["limits.name.pattern: \"7\": a regular expression"]),
    (
        "limits: { name: { pattern: 'shop(' } }",
        &["limits.name.pattern: \"shop(\": no regular expression: unclosed group"],
    ),
    (
        "limits: { name: { pattern: 'a)|(b' } }",
        &["limits.name.pattern: \"a)|(b\": no regular expression: unopened group"],
    ),
    (
        "limits: { name: { pattern: '((a{1000}){1000}){1000}' } }",
        &["limits.name.pattern: \"((a{1000}){1000}){1000}\": no regular expression: ", "size limit"],
    ),
    (
        "limits: { name: { pattern: a, action: adjust } }",
        &["limits.name.action: \"adjust\": one of refuse, warn"],
    ),
    (
        "limits: { retention-disk-share: { max: 101% } }",
        &["limits.retention-disk-share.max: \"101%\": a percentage of the brokers' disk"],
    ),
    ("limits: { topics: {} }", &["limits.topics.max: is missing"]),
    ("limits: { topics: { max: -1 } }", &["limits.topics.max: \"-1\": a whole number, 0 or more"]),
    (
        "limits: { topics: { max: 1, action: adjust } }",
        &["limits.topics.action: \"adjust\": one of refuse, warn"],
    ),
    ("limits: { topics: { min: 1 } }", &["limits.topics.min: ", "known are max, action"]),
    (
        "limits: { total-partitions: { max: 10 } }",
        &["defaults.partitions: is needed by limits.total-partitions"],
    ),
    (
        "{ defaults: { partitions: 1 }, limits: { total-bytes: { max: 10Gi } } }",
        &["defaults.replication-factor: is needed by limits.total-bytes"],
    ),
    (
        "limits: { properties: { min.insync.replica: { min: 2 } } }",
        &["limits.properties.min.insync.replica: ", "did you mean min.insync.replicas?"],
    ),
    ("limits: { properties: { preallocate: {} } }", &["limits.properties.preallocate: ", "limits nothing"]),
    (
        "limits: { properties: { preallocate: { forbidden: yes please } } }",
        &["limits.properties.preallocate.forbidden: \"yes please\": true or false"],
    ),
    (
        "limits: { properties: { preallocate: { forbidden: true, required: true } } }",
        &["limits.properties.preallocate: ", "keep forbidden or the rest"],
    ),
    (
        "limits: { properties: { min.insync.replicas: { min: two } } }",
        &["limits.properties.min.insync.replicas.min: \"two\": a number, without quotes"],
    ),
    (
        "limits: { properties: { min.insync.replicas: { min: 0 } } }",
        &["limits.properties.min.insync.replicas.min: \"0\": a whole number from 1"],
    ),
    (
        "limits: { properties: { preallocate: { min: 1 } } }",
        &["limits.properties.preallocate.min: \"1\": true or false"],
    ),
    (
        "limits: { properties: { segment.ms: { min: 10, max: 5 } } }",
        &["limits.properties.segment.ms: ", "min 10 is greater than max 5"],
    ),
    (
        "limits: { properties: { compression.type: { one-of: zstd } } }",
        &["limits.properties.compression.type.one-of: \"zstd\": a list of values"],
    ),
    (
        "limits: { properties: { compression.type: { one-of: [zstd, zip] } } }",
        &["limits.properties.compression.type.one-of[1]: \"zip\": one of producer"],
    ),
    (
        "limits: { properties: { compression.type: { one-of: [zstd], action: adjust } } }",
        &["limits.properties.compression.type: ", "adjust is for min, max and forbidden"],
    ),
    ("limits: { properties: { retention.ms: { max: 5 } } }", &["use limits.retention"]),
    (
        "defaults: { properties: { retention.ms: 5 } }",
        &["defaults.properties.retention.ms: write it as retention"],
    ),
    (
        "defaults: { properties: { compression.type: [zstd] } }",
        &["defaults.properties.compression.type: \"- zstd\": a value of this key"],
    ),
    ("namespaces: { Shop: {} }", &["namespaces.Shop: \"Shop\": the name of a namespace, or prefix*"]),
    ("namespaces: { 'a*b': {} }", &["namespaces.a*b: \"a*b\": the name of a namespace, or prefix*"]),
];

#[test]
fn every_mistake_is_told_with_its_path_its_value_and_what_would_be_right() {
    for (text, says) in MISTAKES {
        let told = problems(text).join("\n");
        for part in says {
            assert!(told.contains(part), "{text}: \"{part}\" is missing in: {told}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = problems("limits:\n  partitions: { max: many }\n  topics: { max: few }\ndefault: {}\n");
    let paths: Vec<&str> = told.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(paths, ["default", "limits.partitions.max", "limits.topics.max"]);
}

#[test]
fn a_default_that_a_limit_forbids_is_a_mistake_wherever_the_two_meet() {
    for (text, told) in [
        (
            "{ defaults: { partitions: 6 }, limits: { partitions: { max: 3 } } }",
            "defaults.partitions: \"6\": a default has to keep to limits.partitions",
        ),
        (
            "{ defaults: { replication-factor: 1 }, limits: { replication-factor: { min: 2 } } }",
            "defaults.replication-factor: \"1\"",
        ),
        (
            "{ defaults: { retention: unlimited }, limits: { retention: { max: 7d } } }",
            "defaults.retention: \"-1\"",
        ),
        (
            "{ defaults: { properties: { retention.bytes: 5 } }, limits: { retention-bytes: { min: 1Ki } } }",
            "defaults.properties.retention.bytes: \"5\"",
        ),
        (
            "{ defaults: { properties: { preallocate: true } }, limits: { properties: { preallocate: { forbidden: true } } } }",
            "defaults.properties.preallocate: \"true\"",
        ),
        (
            "{ defaults: { partitions: 6 }, namespaces: { team-*: { limits: { partitions: { max: 3 } } } } }",
            "namespaces.team-*.defaults.partitions: \"6\": a default has to keep to namespaces.team-*.limits.partitions",
        ),
        (
            "namespaces: { t*: { defaults: { partitions: 6 } }, team-*: { limits: { partitions: { max: 3 } } } }",
            "namespaces.team-*.defaults.partitions: \"6\"",
        ),
        (
            "{ limits: { partitions: { max: 3 } }, namespaces: { big: { defaults: { partitions: 9 } } } }",
            "namespaces.big.defaults.partitions: \"9\": a default has to keep to limits.partitions",
        ),
        (
            "{ defaults: { producer-byte-rate: 20MB/s }, limits: { producer-byte-rate: { max: 10MB/s } } }",
            "defaults.producer-byte-rate: \"20MB/s\": a default has to keep to limits.producer-byte-rate",
        ),
    ] {
        let all = problems(text).join("\n");
        assert!(all.contains(told), "{text}: {all}");
    }
    let lifted = "{ defaults: { partitions: 6 }, namespaces: { t: { defaults: { partitions: null }, limits: { partitions: { max: 3 } } } } }";
    assert!(TopicRules::parse(lifted).is_ok());
}

#[test]
fn an_empty_file_says_nothing_and_an_endless_one_is_not_read() {
    for text in ["", "# nothing yet\n", "limits:\ndefaults:\nnamespaces:\n", "{}"] {
        assert_eq!(TopicRules::parse(text).unwrap(), TopicRules::default(), "{text:?}");
    }
    assert!(problems(&"#".repeat(TopicRules::LONGEST + 1))[0].contains("bytes long"));
    // Nine levels of nine aliases each would be 387 million strings.
    let mut bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..9 {
        let line = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{line}]\n"));
    }
    assert!(problems(&bomb)[0].contains("repetition limit"), "{}", problems(&bomb)[0]);
    let deep = format!("limits: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(problems(&deep)[0].contains("recursion limit"), "{}", problems(&deep)[0]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(limits|defaults|namespaces|partitions|max|name|pattern|null|[0-9]{1,20}|[-:{}\\[\\]&*!|>'\", \n]){0,24}") {
        let _ = TopicRules::parse(&text).map_err(|problems| problems.to_string());
    }
}
