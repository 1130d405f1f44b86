//! What must not be read by those who read output: tokens, passwords, keys. They are known by the names of what holds
//! them, and addresses by their form.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

/// Stands for a secret.
pub const HIDDEN: &str = "***";

/// Shorter values stand for too much else to be hidden wherever they occur.
const LEAST: usize = 6;

/// Values that are hidden wherever they occur.
static KEPT: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Words that make a secret of what they name.
const SECRETS: [&str; 8] =
    ["secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials", "apikey"];
/// The same before `key`, which alone names many harmless things.
const KEYS: [&str; 14] = [
    "api",
    "access",
    "account",
    "private",
    "secret",
    "subscription",
    "storage",
    "signing",
    "encryption",
    "ssh",
    "auth",
    "client",
    "master",
    "shared",
];
/// Before `token`, they name tokens of a vocabulary.
const VOCABULARY: [&str; 26] = [
    "bos", "eos", "pad", "padding", "unk", "sep", "cls", "mask", "start", "end", "eot", "eom", "image",
    "audio", "video", "vision", "special", "stop", "think", "new", "prompt", "fim", "prefix", "suffix",
    "per", "tool",
];

/// Whether a key, an option or a variable of this name holds a secret: `hf_token`, `AZURE_CLIENT_SECRET`, `apiKey`; but
/// not `eos_token`, `max_new_tokens` or `cache_key`.
pub fn is_secret(name: &str) -> bool {
    let words = words(name);
    if words.iter().any(|word| SECRETS.contains(&word.as_str())) {
        return true;
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [.., before, "key"] => KEYS.contains(&before),
        [.., before, "token"] => !VOCABULARY.contains(&before),
        ["token"] => true,
        _ => false,
    }
}

/// The words of a name in snake, kebab or camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && after_small) {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().expect("never empty").extend(letter.to_lowercase());
        }
        after_small = letter.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Hides this value wherever it occurs from now on, unless it is a placeholder such as `<TOKEN>`, or too short.
pub fn keep(value: &str) {
    let value = value.trim();
    if value.len() < LEAST || (value.starts_with('<') && value.ends_with('>')) {
        return;
    }
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    if !kept.iter().any(|other| other == value) {
        kept.push(value.to_owned());
        // One may be part of another.
        kept.sort_by_key(|value| std::cmp::Reverse(value.len()));
    }
}

/// Hides the password in an address, or what stands for one, wherever it occurs.
pub fn keep_address(address: &str) {
    let Some((_, rest)) = address.split_once("://") else { return };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = host.rsplit_once('@') else { return };
    keep(user.split_once(':').map_or(user, |(_, password)| password));
}

/// The text without the values that are kept, and without user and password in addresses.
pub fn hidden(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for value in KEPT.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if text.contains(value.as_str()) {
            text = Cow::Owned(text.replace(value.as_str(), HIDDEN));
        }
    }
    match without_users(&text) {
        Some(text) => Cow::Owned(text),
        None => text,
    }
}

/// `https://user:password@host/` as `https://host/`; `None` if there is no such address.
fn without_users(text: &str) -> Option<String> {
    const SCHEME: &str = "://";
    let mut rest = text;
    let mut out = String::new();
    let mut found = false;
    while let Some(at) = rest.find(SCHEME) {
        let (before, after) = rest.split_at(at + SCHEME.len());
        out.push_str(before);
        let ends = |letter: char| letter.is_whitespace() || "/?#`\"'()<>".contains(letter);
        let end = after.find(ends).unwrap_or(after.len());
        let user = after[..end].rfind('@').map_or(0, |at| at + 1);
        found |= user > 0;
        rest = &after[user..];
    }
    out.push_str(rest);
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_secrets() {
        for name in [
            "token",
            "hf_token",
            "HF_TOKEN",
            "hubToken",
            "use_auth_token",
            "api_key",
            "apiKey",
            "OPENAI_API_KEY",
            "client_secret",
            "AWS_SECRET_ACCESS_KEY",
            "password",
            "db-password",
            "credential",
            "account_key",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "tokens",
            "special_tokens",
            "add_special_tokens",
            "max_new_tokens",
            "tokenizer",
            "eos_token",
            "pad_token",
            "bos_token_id",
            "key",
            "cache_key",
            "key_size",
            "keyvault_name",
            "num_key_value_heads",
            "cls_token",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn what_is_kept_is_not_told() {
        keep("hf_q7Zk2");
        keep("hf_q7Zk2longer");
        keep("<PLACEHOLDER>");
        keep("abc");
        assert_eq!(
            hidden("a hf_q7Zk2 b hf_q7Zk2longer, abc <PLACEHOLDER>"),
            "a *** b ***, abc <PLACEHOLDER>"
        );
    }

    #[test]
    fn addresses_lose_user_and_password() {
        let cases = [
            ("see http://me:pass@host:80/a?b@c, `ftp://u@h`", "see http://host:80/a?b@c, `ftp://h`"),
            ("https://host/a@b and me@host", "https://host/a@b and me@host"),
            ("x://", "x://"),
        ];
        for (text, expected) in cases {
            assert_eq!(hidden(text), expected);
        }
        keep_address("http://someone:p4sswrd@host");
        keep_address("http://host/nobody@nowhere");
        assert_eq!(hidden("someone p4sswrd host/nobody"), "someone *** host/nobody");
    }
}
