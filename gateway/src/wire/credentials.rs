//! The credentials in a CONNECT: unverified claims.

use std::borrow::Cow;

use super::json::{key_is, text};

/// Credentials as the server reads them: keys in any letter case, the last of several wins, `null` changes nothing, an empty text
/// is absent. No `Debug`: passwords and tokens are secrets.
#[derive(Clone, Default)]
pub struct Credentials<'a> {
    /// User name.
    pub user: Option<Cow<'a, str>>,
    /// Password.
    pub pass: Option<Present>,
    /// Token (`auth_token`).
    pub token: Option<Present>,
    /// Public nkey of a user.
    pub nkey: Option<Cow<'a, str>>,
    /// User JWT.
    pub jwt: Option<Cow<'a, str>>,
    /// Signature of the server's nonce, in base64.
    pub signature: Option<Cow<'a, str>>,
    /// One of them is not UTF-8; the server replaces the invalid bytes and so reads another text.
    pub has_invalid_utf8: bool,
}

/// A secret that is present; its value is not kept.
#[derive(Clone, Copy)]
pub struct Present;

impl Present {
    const fn of(text: &[u8]) -> Option<Self> {
        if text.is_empty() { None } else { Some(Self) }
    }
}

impl<'a> Credentials<'a> {
    /// Whether there are any.
    #[must_use]
    pub const fn is_any_given(&self) -> bool {
        self.user.is_some()
            || self.pass.is_some()
            || self.token.is_some()
            || self.nkey.is_some()
            || self.jwt.is_some()
            || self.signature.is_some()
            || self.has_invalid_utf8
    }

    /// Reads a member of a CONNECT.
    pub(super) fn read_member(&mut self, key: &[u8], value: &'a [u8]) {
        let Some(text) = text(value) else {
            return;
        };
        let is = |name: &str| key_is(key, name.as_bytes());
        if is("pass") {
            self.pass = Present::of(&text);
        } else if is("auth_token") {
            self.token = Present::of(&text);
        } else if is("user") {
            self.user = self.utf8(text);
        } else if is("nkey") {
            self.nkey = self.utf8(text);
        } else if is("jwt") {
            self.jwt = self.utf8(text);
        } else if is("sig") {
            self.signature = self.utf8(text);
        }
    }

    fn utf8(&mut self, text: Cow<'a, [u8]>) -> Option<Cow<'a, str>> {
        let read = match text {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        self.has_invalid_utf8 |= read.is_none();
        read.filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Buffer;
    use crate::wire::connect::Connect;

    fn read(json: &[u8]) -> Credentials<'_> {
        let mut options = Connect::default();
        let taken = options.apply(json, None, &mut Buffer::new());
        taken.expect("a CONNECT")
    }

    #[test]
    fn last_of_several_spellings_wins_and_null_changes_nothing() {
        let json = br#"{"user":"a","USER":"b","\u0075ser":null,"pass":"x","jwt":"","nkey":"U1","NKey":"U2"}"#;
        let credentials = read(json);
        assert_eq!(credentials.user.as_deref(), Some("b"));
        assert_eq!(credentials.nkey.as_deref(), Some("U2"));
        assert!(credentials.pass.is_some() && credentials.token.is_none());
        assert!(credentials.jwt.is_none() && credentials.signature.is_none());
    }

    #[test]
    fn escapes_are_resolved() {
        let json = br#"{"user":"pl\u0061nner","auth_token":"t","sig":"s"}"#;
        let credentials = read(json);
        assert_eq!(credentials.user.as_deref(), Some("planner"));
        assert!(credentials.token.is_some() && credentials.signature.is_some());
    }

    #[test]
    fn text_that_is_not_utf8_names_nobody() {
        let credentials = read(b"{\"user\":\"pl\xffanner\",\"pass\":\"x\"}");
        assert!(credentials.user.is_none() && credentials.has_invalid_utf8);
    }
}
