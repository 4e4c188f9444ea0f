//! What a CONNECT says of who the client is: claims, none of which the text itself proves.

use std::borrow::Cow;

use super::json::{means, text};

/// The credentials in a CONNECT, as the server reads them: keys in any letter case, the last of several wins, `null` changes nothing,
/// and an empty text is none. There is no `Debug`: passwords and tokens are secrets.
#[derive(Clone, Default)]
pub struct Credentials<'a> {
    /// A name, to go with a password.
    pub user: Option<Cow<'a, str>>,
    /// A password.
    pub pass: Option<Present>,
    /// A token.
    pub token: Option<Present>,
    /// A public user nkey.
    pub nkey: Option<Cow<'a, str>>,
    /// A user's JWT.
    pub jwt: Option<Cow<'a, str>>,
    /// A signature of the server's nonce, in base64.
    pub signature: Option<Cow<'a, str>>,
    /// Some of them was text that is not UTF-8: what the server makes of it is another text.
    pub unclear: bool,
}

/// A secret that is there and is nobody's business.
#[derive(Clone, Copy)]
pub struct Present;

impl Present {
    const fn of(text: &[u8]) -> Option<Self> {
        if text.is_empty() { None } else { Some(Self) }
    }
}

impl<'a> Credentials<'a> {
    /// Whether there is any, for the server to refuse.
    #[must_use]
    pub const fn are_given(&self) -> bool {
        self.user.is_some()
            || self.pass.is_some()
            || self.token.is_some()
            || self.nkey.is_some()
            || self.jwt.is_some()
            || self.signature.is_some()
            || self.unclear
    }

    /// Takes in a member of a CONNECT.
    pub(super) fn take(&mut self, key: &[u8], value: &'a [u8]) {
        let Some(text) = text(value) else {
            return;
        };
        let is = |name: &str| means(key, name.as_bytes());
        if is("pass") {
            self.pass = Present::of(&text);
        } else if is("auth_token") {
            self.token = Present::of(&text);
        } else if is("user") {
            self.user = self.clear(text);
        } else if is("nkey") {
            self.nkey = self.clear(text);
        } else if is("jwt") {
            self.jwt = self.clear(text);
        } else if is("sig") {
            self.signature = self.clear(text);
        }
    }

    fn clear(&mut self, text: Cow<'a, [u8]>) -> Option<Cow<'a, str>> {
        let read = match text {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        self.unclear |= read.is_none();
        read.filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Buffer;
    use crate::wire::connect::{Connect, Edits};

    fn read(json: &[u8]) -> Credentials<'_> {
        let mut options = Connect::default();
        let taken = options.take(json, &Edits::default(), &mut Buffer::new());
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
        assert!(credentials.user.is_none() && credentials.unclear);
    }
}
