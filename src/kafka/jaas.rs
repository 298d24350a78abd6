use std::collections::BTreeMap;

use topicops_contract::Password;

/// The login of a `sasl.jaas.config`: one login module with its options, as Java reads it.
#[derive(Clone, Debug)]
pub(super) struct Jaas {
    /// The module's class name.
    pub(super) module: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Password>,
    /// All other options.
    pub(super) options: BTreeMap<String, Password>,
}

impl Jaas {
    /// Reads `class flag key=value …;`. Error texts never hold any part of the input, for a password may be there.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut tokens = Tokens(text.chars().peekable());
        let module = tokens.word().ok_or("begins with the class name of a login module")??;
        let flag = tokens.word().ok_or("a control flag (required) follows the login module")??;
        if !["required", "requisite", "sufficient", "optional"]
            .iter()
            .any(|known| flag.eq_ignore_ascii_case(known))
        {
            return Err("a control flag (required) follows the login module");
        }
        let mut jaas = Self { module, username: None, password: None, options: BTreeMap::new() };
        loop {
            if tokens.symbol(';') {
                break;
            }
            let key = tokens.word().ok_or("ends with a semicolon")??;
            if !tokens.symbol('=') {
                return Err("an option has the form key=\"value\"");
            }
            let value = tokens.word().ok_or("an option has the form key=\"value\"")??;
            match key.as_str() {
                "username" => jaas.username = Some(value),
                "password" => jaas.password = Some(Password::new(value)),
                "tokenauth" if value.eq_ignore_ascii_case("true") => {
                    return Err("logins by delegation token are not supported");
                }
                _ => {
                    jaas.options.insert(key, Password::new(value));
                }
            }
        }
        if tokens.rest_is_blank() {
            Ok(jaas)
        } else {
            Err("holds one login module, and nothing after its semicolon")
        }
    }
}

/// Words, quoted words and symbols, told apart as `java.io.StreamTokenizer` does for Kafka's `JaasConfig`.
struct Tokens<'a>(std::iter::Peekable<std::str::Chars<'a>>);

impl Tokens<'_> {
    fn skip_blanks(&mut self) {
        while self.0.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn symbol(&mut self, symbol: char) -> bool {
        self.skip_blanks();
        self.0.next_if_eq(&symbol).is_some()
    }

    fn rest_is_blank(&mut self) -> bool {
        self.skip_blanks();
        self.0.peek().is_none()
    }

    /// `None` at the end of the text.
    fn word(&mut self) -> Option<Result<String, &'static str>> {
        self.skip_blanks();
        match *self.0.peek()? {
            quote @ ('"' | '\'') => {
                self.0.next();
                Some(self.quoted(quote))
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = self.0.next_if(|c| {
                    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '$' | '/' | '+' | '@' | ':')
                }) {
                    word.push(c);
                }
                Some(if word.is_empty() {
                    Err("holds a character that must stand in quotes")
                } else {
                    Ok(word)
                })
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
        const UNCLOSED: &str = "a quoted value does not end";
        let mut value = String::new();
        loop {
            match self.0.next().ok_or(UNCLOSED)? {
                c if c == quote => return Ok(value),
                '\n' | '\r' => return Err(UNCLOSED),
                '\\' => match self.0.next().ok_or(UNCLOSED)? {
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    't' => value.push('\t'),
                    'f' => value.push('\u{c}'),
                    'b' => value.push('\u{8}'),
                    'a' => value.push('\u{7}'),
                    'v' => value.push('\u{b}'),
                    first @ '0'..='7' => value.push(self.octal(first)),
                    other => value.push(other),
                },
                c => value.push(c),
            }
        }
    }

    /// Up to three octal digits, the first of them at most 3 for three, as in Java and C.
    fn octal(&mut self, first: char) -> char {
        let mut code = first.to_digit(8).unwrap_or(0);
        let longest = if first <= '3' { 3 } else { 2 };
        for _ in 1..longest {
            match self.0.next_if(|c| c.is_digit(8)).and_then(|c| c.to_digit(8)) {
                Some(digit) => code = code * 8 + digit,
                None => break,
            }
        }
        char::from_u32(code).unwrap_or('\u{fffd}')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use topicops_contract::{ClientEndpoint, ClientSecret};

    use super::*;

    fn login(text: &str) -> (Option<String>, Option<String>) {
        let jaas = Jaas::parse(text).unwrap();
        (jaas.username, jaas.password.map(|password| password.reveal().to_owned()))
    }

    #[test]
    fn quoting_follows_javas_stream_tokenizer() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            login(r#"M required username="a b" password="x\"y\\z\n\101";"#),
            (some("a b"), some("x\"y\\z\nA"))
        );
        assert_eq!(
            login("a.b.M required\n  username=alice\n  password='it\"s';\n"),
            (some("alice"), some("it\"s"))
        );
        assert_eq!(login("M required;"), (None, None));
    }

    #[test]
    fn broken_texts_are_refused_without_showing_them() {
        for text in [
            "",
            "M",
            "M sometimes hunter2;",
            "M required username=\"alice\" password=\"hunter2\"",
            "M required password=\"hunter2;",
            "M required password hunter2;",
            "M required password=hunter2; N required;",
            "M required password=#hunter2;",
            "M required tokenauth=\"true\" password=\"hunter2\";",
        ] {
            let error = Jaas::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn debug_does_not_show_the_password() {
        let shown = format!("{:?}", Jaas::parse("M required username=u password=hunter2;").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_the_secret_says_is_read_back(
            username in "[\u{20}-\u{7e}\n\täß]{1,12}", password in "[\u{20}-\u{7e}\n\t€]{1,12}",
        ) {
            let secret = ClientSecret {
                username: username.clone(),
                password: Password::new(password.as_str()),
                endpoint: ClientEndpoint {
                    bootstrap_servers: "kafka:9093".to_owned(),
                    security_protocol: "SASL_SSL".to_owned(),
                    sasl_mechanism: "SCRAM-SHA-512".to_owned(),
                    truststore_pem: None,
                },
                group_id: "g".to_owned(),
            };
            prop_assert_eq!(login(&secret.data()["sasl.jaas.config"]), (Some(username), Some(password)));
        }
    }
}
